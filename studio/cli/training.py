"""`train`, `resume` and `eject`: make a run, start it, watch it to its end."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
import typer

from studio.cli.following import Ending, follow
from studio.cli.given import changes as read_changes
from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.errors import ConfigError, ExitCode, StudioError, UsageError
from studio.files import write_text
from studio.project.project import Project
from studio.runs.folder import RunFolder, existing_run, run_folder
from studio.runs.history import read_history
from studio.runs.plain import going_on
from studio.runs.state import State
from studio.training import ejecting
from studio.training.checkpoints import whence
from studio.training.data import Prepared
from studio.training.launch import SMOKE, create, enqueue, start
from studio.training.preflight import Item, preflight
from studio.training.presets import get_run_preset, starting
from studio.training.provenance import frozen
from studio.training.queue import ensure_dispatcher
from studio.training.smoke import smoke, smoke_spec
from studio.training.spec import RunSpec, changed, read_spec

_MAY_BE_NONE = ("lora", "prompts", "loss.margin", "model.revision")
"""Keys of the run spec that `none` takes away; elsewhere it is a word like others."""


class Asked(NamedTuple):
    """Which run: its name, what its spec starts from, and what is changed."""

    name: str = ""
    preset: str | None = None
    spec: Path | None = None
    changes: Sequence[str] = ()
    smoke: bool = False


class How(NamedTuple):
    """How a run is started and told of."""

    detach: bool = False
    queue: bool = False
    dry_run: bool = False
    force: bool = False
    yes: bool = False
    as_json: bool = False


def train(root: Path, asked: Asked, how: How) -> None:
    """`train`."""
    project = Project.open(root)
    spec = asked_spec(project, asked.preset, asked.spec, asked.changes)
    name = SMOKE if asked.smoke else asked.name or spec.preset or "run"
    if asked.smoke and asked.name not in ("", SMOKE):
        raise UsageError("--smoke runs as the run `smoke`.", remedy="leave --run out")
    run_folder(project.root, name)
    if how.dry_run:
        _dry_run(project, smoke_spec(spec) if asked.smoke else spec, name, how)
        return
    argv = ["harrier-studio", *sys.argv[1:]]
    with progress_bar() as progress:
        if asked.smoke:
            folder = smoke(project, spec, progress=progress, argv=argv)
        else:
            gate = Gate(project, name, how)
            folder = create(project, name, spec, progress=progress, argv=argv, approve=gate)
    _go(folder, how, resume=False, started=asked.smoke)


def resume(root: Path, name: str, how: How) -> None:
    """`resume`."""
    Project.open(root)
    _go(existing_run(root.resolve(), name), how, resume=True)


def eject(root: Path, name: str, slurm: bool, ssh: str | None, out: Path | None) -> None:
    """`eject`."""
    Project.open(root)
    folder = existing_run(root.resolve(), name)
    if slurm and ssh:
        raise UsageError("--slurm and --ssh write different files.", remedy="ask for one of them")
    text = ejecting.slurm(folder) if slurm else ejecting.ssh(folder, ssh) if ssh else ejecting.script(folder)
    if out is None and sys.stdout.isatty():
        for line in text.rstrip("\n").split("\n"):
            emit(line)
    elif out is None:
        # For a file or another program: every character as it is.
        sys.stdout.write(text)
    else:
        write_text(out, text)
        say(f"written to {out}")


def asked_spec(project: Project, preset: str | None, file: Path | None, settings: Sequence[str]) -> RunSpec:
    """The spec that a command line asks for.

    Without a preset or a file it is the preset that suits the project's model.

    Raises:
        UsageError: both a preset and a file are named, or there is no such preset.
        ConfigError: the file or a change cannot be used.
    """
    if preset and file:
        raise UsageError("A run starts from a preset or from a file, not from both.", remedy="leave one of them out")
    if file:
        base = read_spec(file)
    elif preset:
        base = get_run_preset(preset).spec
    else:
        _, base = starting(project.settings)
    given = read_changes(settings, "optimiser.lr=1e-5")
    given = {key: None if value == "none" and key in _MAY_BE_NONE else value for key, value in given.items()}
    return changed(base, given, "--set") if given else base


def emit_items(items: Sequence[Item]) -> None:
    """Print the checks before a run as a table, each remedy below what needs it."""
    emit_table(("check", "", "what was found"), [(item.code, item.status, item.message) for item in items])
    for item in items:
        if item.status != "pass" and item.remedy:
            emit(f"  {item.code}: {item.remedy}")


def item_reports(items: Sequence[Item]) -> list[dict[str, Any]]:
    """The checks for a JSON document."""
    return [
        {"code": item.code, "status": item.status, "message": item.message, "remedy": item.remedy} for item in items
    ]


class Gate:
    """Tells what a run that is about to be made has against it, and refuses it where a check fails.

    Of several runs, as in a matrix, each finding is told once.

    Args:
        project: the project.
        name: of the run; empty: of several.
        how: whether to ask, and whether to go on although a check fails.
    """

    def __init__(self, project: Project, name: str, how: How) -> None:
        self._project, self._name, self._how = project, name, how
        self._told: set[str] = set()

    def __call__(self, spec: RunSpec, prepared: Prepared) -> None:
        """Check a run; say what does not pass.

        Raises:
            ConfigError: a check fails.
            typer.Abort: the person does not want it so.
        """
        with progress_bar() as progress:
            items = preflight(self._project, spec, self._name, prepared=prepared, progress=progress)
        counts = Counter(item.status for item in items)
        for item in items:
            if item.status != "pass" and item.message not in self._told:
                self._told.add(item.message)
                say(f"{item.status}: {item.message}" + (f"\n  do: {item.remedy}" if item.remedy else ""))
        if self._name:
            say(f"checked: {counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail")
        if counts["fail"] and not self._how.force:
            failed = ", ".join(item.code for item in items if item.status == "fail")
            raise ConfigError(
                "The run was not started, and nothing was made.",
                why=f"these checks fail: {failed}",
                remedy="mend what they name, or start it as it is with --force",
            )
        may_ask = sys.stdin.isatty() and sys.stderr.isatty() and not self._how.yes
        if may_ask and (counts["warn"] or counts["fail"]):
            typer.confirm(f"Start the run `{self._name}`?", default=True, abort=True, err=True)


def _dry_run(project: Project, spec: RunSpec, name: str, how: How) -> None:
    with progress_bar() as progress:
        items = preflight(project, spec, name, progress=progress)
    folder = run_folder(project.root.resolve(), name)
    command = shlex.join(ejecting.command(folder, spec=spec))
    # A model that cannot be found is among the checks that fail; the rest of the spec is shown all the same.
    with suppress(StudioError):
        spec = frozen(spec, project)
    said = spec.model_dump(mode="json", exclude_none=True)
    if how.as_json:
        emit_json({"run": name, "checks": item_reports(items), "spec": said, "command": command})
    else:
        emit_items(items)
        emit()
        for line in tomlkit.dumps(said).rstrip().split("\n"):
            emit(line)
        emit()
        emit(f"worker: {command}")
        say("nothing was made or started")
    if any(item.status == "fail" for item in items):
        raise typer.Exit(ExitCode.FINDINGS)


def _go(folder: RunFolder, how: How, *, resume: bool, started: bool = False) -> None:
    """Start or queue a run, then follow it unless it is to go on alone."""
    process, before = None, 0 if started else read_history(folder).seq
    if started:
        pass
    elif how.queue:
        enqueue(folder)
        ensure_dispatcher(folder.project)
    else:
        process = start(folder, resume).process
    if resume:
        say(f"run `{folder.name}` {whence(folder.checkpoints)}")
    if not how.detach:
        tell_ending(follow(folder, quiet=how.as_json, after=before), how)
        return
    if how.as_json:
        report = {"run": folder.name, "folder": str(folder.root), "queued": how.queue}
        emit_json({**report, "process": process._asdict() if process else None})
    say(f"run `{folder.name}` {'waits in the queue' if how.queue else 'is started'}; {ways(folder, how.queue)}")


def ways(folder: RunFolder, waits: bool = False) -> str:
    """How to see a run and how to stop it, in words; or how to take it out of the queue where it `waits`."""
    where = shlex.join(["--project", str(folder.project)])
    return (
        f"see it: harrier-studio monitor {folder.name} {where}\n"
        f"{'take it out of the queue' if waits else 'stop it, with a checkpoint'}: "
        f"harrier-studio stop {folder.name} {where}"
    )


def tell_ending(ending: Ending, how: How) -> None:
    """Say how a run ended and exit with the code for it.

    Raises:
        typer.Exit: it did not end well (1), or the watching was interrupted (130).
    """
    if ending.interrupted:
        waits = ending.state is State.QUEUED
        words = "still waits in the queue" if waits else "goes on"
        say(f"\nrun `{ending.folder.name}` {words}; {ways(ending.folder, waits)}")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if how.as_json:
        emit_json(ending.report())
    if ending.state is State.STOPPED and not how.as_json:
        say(going_on(ending.folder))
    if not ending.well:
        raise typer.Exit(ExitCode.FINDINGS)
