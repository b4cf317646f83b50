"""`runs`, `monitor`, `stop` and `ask`: what runs do, seen from outside. Nothing here can hold up a run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from studio.cli.output import emit, emit_json, emit_table, say
from studio.errors import ExitCode, InputError, ProjectError, UsageError
from studio.runs import control
from studio.runs.events import Event
from studio.runs.folder import RunFolder, existing_run, run_folders
from studio.runs.history import Follower, History
from studio.runs.plain import duration, going_on, lines, report
from studio.runs.state import LIVE, Standing, State, standing
from studio.runs.stopping import stop as ladder
from studio.runs.summary import RunSummary, summaries
from studio.runs.tailing import LogReader
from studio.text.safe import json_safe

if TYPE_CHECKING:
    from studio.evaluation.summary import EvaluationSummary

LOOK_SECONDS = 0.5
"""How often a follower looks for what is new."""

_COLUMNS = (
    "run", "state", "done", "step", "time", "metric", "queries", "score", "baseline", "verdict", "p", "alerts",
)  # fmt: skip
_EVALUATION_COLUMNS = ("evaluation", "state", "set", "queries", "systems", "metric", "best", "score", "made (UTC)")
_LOG_LINES = 200
_RUNGS = {
    "request": "asked to save a checkpoint and end; SIGTERM",
    "sigterm": "SIGTERM sent; SIGKILL",
    "sigkill": "SIGKILL sent; giving up",
}


class How(NamedTuple):
    """How a run is watched."""

    plain: bool = False
    follow: bool = False
    log: bool = False
    as_json: bool = False


def runs(root: Path, as_json: bool, evaluations: bool = False) -> None:
    """`runs`; `evaluations`: with JSON, tell of them too."""
    project = _project(root)
    found = summaries(project)
    if as_json and not evaluations:
        emit_json([run._asdict() for run in found])
        return
    # Evaluations are read where they are asked for: whoever only watches runs waits for nothing else.
    from studio.evaluation.summary import evaluation_summaries

    measured = evaluation_summaries(project)
    if as_json:
        emit_json({"runs": [run._asdict() for run in found], "evaluations": [one._asdict() for one in measured]})
        return
    if found:
        _print_runs(found)
    else:
        say(f"no run yet; make one with: harrier-studio train --project {root}")
    if found and measured:
        emit()
    if measured:
        _print_evaluations(measured)


def _print_evaluations(found: list[EvaluationSummary]) -> None:
    emit_table(_EVALUATION_COLUMNS, [
        (
            one.name,
            f"{one.state}, {one.failed} failed" if one.failed else one.state,
            one.set,
            "" if one.queries is None else one.queries,
            one.systems,
            one.metric,
            one.best,
            _score(one.score),
            one.made[:16].replace("T", " "),
        )
        for one in found
    ])  # fmt: skip


def _print_runs(found: list[RunSummary]) -> None:
    emit_table(_COLUMNS, [
        (
            run.name,
            _doing(run),
            "" if run.share is None else f"{run.share:.0%}",
            run.step,
            duration(run.seconds) if run.seconds else "",
            run.main,
            "" if run.queries is None else run.queries,
            _score(run.score),
            _score(run.baseline),
            run.verdict,
            _score(run.p),
            run.alerts,
        )
        for run in found
    ])  # fmt: skip


def monitor(root: Path, name: str | None, how: How) -> None:
    """`monitor`."""
    if how.log and how.as_json:
        raise UsageError("--log prints text; there is no JSON of it.", remedy="leave one of them out")
    folder = _folder(root, name)
    if how.log:
        _log(folder, how.follow)
    elif how.follow and how.as_json:
        _follow_events(folder)
    elif how.follow:
        _follow_plainly(folder)
    elif how.as_json:
        emit_json(report(folder))
    elif not how.plain and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        # The interface is imported where it starts: no other command may need it.
        from studio.cli.opening import open_run

        open_run(folder.project, folder.name)
    else:
        for line in lines(folder):
            emit(line)


def stop(root: Path, name: str, after_request: float, after_term: float, as_json: bool) -> None:
    """`stop`."""
    folder = _folder(root, name)
    before = standing(folder).state
    live = before in LIVE or before is State.QUEUED
    on_terminal = sys.stderr.isatty()
    stood_on: list[str] = []
    try:
        for rung in ladder(folder, after_request, after_term):
            new = rung.name not in stood_on
            if new:
                stood_on.append(rung.name)
            if rung.name == "ended":
                break
            words = f"{_RUNGS[rung.name]} in {rung.left:.0f} s"
            if on_terminal:
                print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)
            elif new:
                say(words)
    except KeyboardInterrupt:
        say(f"\nno longer waiting; run `{folder.name}` stays asked to stop")
        raise
    finally:
        if on_terminal and stood_on not in ([], ["ended"]):
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    now = standing(folder)
    if as_json:
        said = {"run": folder.name, "was": before.value, "state": now.state.value, "why": now.why}
        emit_json({**said, "rungs": stood_on})
    elif live:
        say(f"run `{folder.name}` is {now.state.value}: {now.why}")
    else:
        say(f"run `{folder.name}` is {now.state.value} already: there is nothing to stop")
    if not as_json and now.state in (State.STOPPED, State.FAILED, State.LOST):
        say(going_on(folder))


def ask(root: Path, name: str, request: str) -> None:
    """`ask`."""
    folder = _folder(root, name)
    now = standing(folder)
    if now.state not in LIVE:
        raise UsageError(
            f"The run `{folder.name}` is not at work, so there is nobody to ask.",
            why=f"it is {now.state.value}: {now.why}",
            remedy=f"see it: harrier-studio monitor {folder.name} --project {folder.project}",
        )
    control.ask(folder, control.Request(request))
    say(f"run `{folder.name}` was asked to {request}; it does so at its next step")


def _project(root: Path) -> Path:
    """The project's folder; a run can be watched from anywhere, so nothing else of the project is opened."""
    if not (root / "studio.toml").exists():
        raise ProjectError(
            "There is no harrier-studio project here.", where=str(root), remedy="name one with --project"
        )
    return root.resolve()


def _folder(root: Path, name: str | None) -> RunFolder:
    project = _project(root)
    if name is not None:
        return existing_run(project, name)
    found = summaries(project)
    if not found:
        raise InputError(
            "There is no run to watch.", where=str(project), remedy=f"make one: harrier-studio train --project {root}"
        )
    if len(found) > 1:
        say(f"run `{found[0].name}`; the others are listed by: harrier-studio runs --project {root}")
    return next(folder for folder in run_folders(project) if folder.name == found[0].name)


def _follow_events(folder: RunFolder) -> None:
    def tell(events: list[Event], history: History) -> None:
        for event in events:
            record = {"seq": event.seq, "time": event.time, "step": event.step, "type": event.type, **event.fields}
            print(json_safe(json.dumps(record, ensure_ascii=False)))

    _end(_until_over(folder, tell).state)


def _follow_plainly(folder: RunFolder) -> None:
    from studio.cli.following import lines_of

    def tell(events: list[Event], history: History) -> None:
        for event in events:
            for line in lines_of(event, history):
                emit(line)

    said = _until_over(folder, tell)
    say(f"run `{folder.name}` is {said.state.value}: {said.why}")
    if said.state in (State.STOPPED, State.LOST):
        say(going_on(folder))
    _end(said.state)


def _log(folder: RunFolder, follow: bool) -> None:
    reader = LogReader(folder.console)

    def tell(events: list[Event], history: History) -> None:
        for line in reader.read():
            emit(line)

    if follow:
        state = _until_over(folder, tell).state
    else:
        for line in reader.read()[-_LOG_LINES:]:
            emit(line)
    if reader.unfinished:
        emit(reader.unfinished)
    if follow:
        _end(state)


def _until_over(folder: RunFolder, tell: Callable[[list[Event], History], None]) -> Standing:
    """Tell what is new until the run is over; return how it ended."""
    follower = Follower(folder)
    while True:
        # First the state, then what is new: what was said before the end is told after the end was seen.
        now = standing(folder, follower.history)
        tell(follower.read(), follower.history)
        sys.stdout.flush()
        if now.state not in LIVE and now.state is not State.QUEUED:
            return now
        time.sleep(LOOK_SECONDS)


def _end(state: State) -> None:
    if state is not State.DONE:
        raise typer.Exit(ExitCode.FINDINGS)


def _doing(run: RunSummary) -> str:
    if run.queued is not None:
        return f"queued ({run.queued})"
    said = run.state.value
    if run.state is State.RUNNING and run.phase:
        said = f"{said} ({run.phase})"
    if run.stale:
        said += ", silent"
    return f"{said}, diverged" if run.diverged is not None else said


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
