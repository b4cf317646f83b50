"""`open` and `demo`: the interface on a terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import typer

from studio.cleaning import check_project, import_project
from studio.cli.output import progress_bar, say
from studio.errors import ExitCode, InputError, UsageError
from studio.files import scratch_directory
from studio.project.project import SETTINGS_FILE
from studio.project.user import new_project_settings, user_settings
from studio.sample import sample_data

# The interface is imported where it starts: the commands beside it must not wait for it.


def open_studio(
    place: Path | None,
    panel: str,
    read_only: bool,
    plain: bool,
    tour: bool = False,
    theme: str | None = None,
) -> None:
    """`open`: the interface on a project, on a file to make a project of, or on its first screen.

    Args:
        place: a project, a file or a dataset folder; None is the project one stands in, if one does.
        panel: the panel to begin with.
        read_only: refuse every decision.
        plain: print the panel once instead.
        tour: begin with the tour.
        theme: instead of the person's own.

    Raises:
        UsageError: this is no terminal, or there is no such theme.
        InputError: there is nothing at `place`.
        ConfigError: the person's settings are wrong.
        typer.Exit: the interface failed.
    """
    found = resolved(place)
    if plain:
        _print(found, panel)
        return
    need_terminal()
    _run(found, panel, read_only, tour, theme)


def open_run(root: Path, run: str) -> None:
    """`monitor` on a terminal: the interface on the Runs panel, standing on a run.

    Args:
        root: the project.
        run: the run's name.

    Raises:
        ConfigError: the person's settings are wrong.
        typer.Exit: the interface failed.
    """
    _run(root, "runs", read_only=False, tour=False, theme=None, shown_run=run)


def demo(root: Path | None) -> None:
    """`demo` on a terminal: the sample project, checked, with the tour.

    Args:
        root: where to keep the project; None keeps it while the interface is open.

    Raises:
        UsageError: this is no terminal.
        StudioError: the project cannot be made.
    """
    need_terminal()
    with ExitStack() as stack:
        scratch = Path(tempfile.gettempdir()) / "harrier-studio-demo"
        place = root or stack.enter_context(scratch_directory(scratch)) / "sample"
        with progress_bar() as progress:
            project, _ = import_project(
                place, [sample_data() / "pairs.jsonl"], defaults=new_project_settings("sample"), progress=progress
            )
            check_project(project, progress=progress)
        _run(place, "pairs", read_only=False, tour=True, theme=None)
    say(f"project kept at {root}" if root else "keep it to look around: harrier-studio demo --project DIR")


def resolved(place: Path | None) -> Path | None:
    """The project, file or folder that is meant; None if there is none to open.

    Raises:
        InputError: there is nothing at `place`.
    """
    if place is None:
        return Path.cwd() if Path(SETTINGS_FILE).exists() else None
    found = Path(os.path.abspath(os.path.expanduser(place)))
    if not os.path.exists(found):
        raise InputError(
            "There is no such project, file or folder.",
            where=str(place),
            remedy="check the path; harrier-studio without a path shows the projects opened lately",
        )
    return found.parent if found.name == SETTINGS_FILE else found


def need_terminal() -> None:
    """Refuse to draw where nobody could see it.

    Raises:
        UsageError: standard input or output is no terminal, or one that cannot be drawn on.
    """
    streams = [name for name, stream in (("input", sys.stdin), ("output", sys.stdout)) if not stream.isatty()]
    if streams:
        why = f"standard {' and '.join(streams)} {'is' if len(streams) == 1 else 'are'} no terminal"
    elif os.environ.get("TERM") == "dumb":
        why = "TERM is `dumb`: this terminal cannot be drawn on"
    else:
        return
    raise UsageError(
        "The interface needs a terminal.",
        why=why,
        remedy="harrier-studio PROJECT --plain prints a panel as text, harrier-studio screenshot draws one to a file, "
        "and harrier-studio --help lists the commands that do everything without it",
    )


def _print(place: Path | None, panel: str) -> None:
    if place is None:
        raise UsageError("There is no project here to print.", remedy="name one: harrier-studio PROJECT --plain")
    from studio.cli import showing

    showing.show(panel, place, "", None, False)


def _run(place: Path | None, panel: str, read_only: bool, tour: bool, theme: str | None, shown_run: str = "") -> None:
    from studio.tui.app import StudioApp
    from studio.tui.preferences import themed

    settings = themed(user_settings(), theme)
    studio = StudioApp(place, panel=panel, read_only=read_only, tour=tour, shown_run=shown_run, settings=settings)
    studio.run()
    if studio.return_code and studio.return_code >= 128:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if studio.return_code:
        # What happened, and where the report is, is on the terminal already.
        raise typer.Exit(ExitCode.INTERNAL)
