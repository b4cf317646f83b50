"""The commands that watch runs: runs, monitor, stop, ask. Each imports the engine only when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from studio.cli.app import AsJson, ProjectDir

runs_app = typer.Typer()


class RequestName(str, Enum):
    """What a run can be asked for without ending, spelled here so that --help needs no engine."""

    save = "save"
    evaluate = "evaluate"


RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name.")]


@runs_app.command()
def runs(
    project: ProjectDir = Path("."),
    evaluations: Annotated[
        bool, typer.Option("--evaluations", help="With --json: an object of runs and evaluations, not a list of runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs of a project: what each is doing, how far it is, and what it is worth so far; and its evaluations.

    An evaluation is opened again by: harrier-studio compare NAME.
    """
    from studio.cli import monitoring

    monitoring.runs(project, as_json, evaluations)


@runs_app.command()
def monitor(
    run: Annotated[
        Optional[str], typer.Argument(metavar="[RUN]", help="A run's name; default: the one at work, or the latest.")
    ] = None,
    project: ProjectDir = Path("."),
    plain: Annotated[
        bool, typer.Option("--plain", help="Print lines instead of opening the panel on a terminal.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what happens, from the beginning, until the run ends.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Print what the worker and its libraries print.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a run: on a terminal in the Runs panel, else as plain lines or JSON. Any number may watch at once.

    Watching never touches the run. With --follow --json each event is one line of JSON. With --follow the exit code is
    0 when the run is done, and 1 when it failed, was stopped or was lost.
    """
    from studio.cli import monitoring

    monitoring.monitor(project, run, monitoring.How(plain, follow, log, as_json))


@runs_app.command()
def stop(
    run: RunName,
    project: ProjectDir = Path("."),
    after_request: Annotated[
        float, typer.Option(min=0, help="Seconds until SIGTERM, when the request to stop is not answered.")
    ] = 60.0,
    after_term: Annotated[float, typer.Option(min=0, help="Seconds from SIGTERM until SIGKILL.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Stop a run: ask it to save a checkpoint and end, then SIGTERM, then SIGKILL. It can be resumed.

    A run that waits in the queue leaves it.
    """
    from studio.cli import monitoring

    monitoring.stop(project, run, after_request, after_term, as_json)


@runs_app.command()
def ask(
    run: RunName,
    request: Annotated[RequestName, typer.Argument(help="save: a checkpoint. evaluate: measure it.")],
    project: ProjectDir = Path("."),
) -> None:
    """Ask a run at work to save a checkpoint or to evaluate at its next step, and to go on."""
    from studio.cli import monitoring

    monitoring.ask(project, run, request.value)
