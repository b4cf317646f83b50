"""The command that sends what a system missed back to the rows. It imports the engine only when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from studio.cli.app import AsJson, ProjectDir

misses_app = typer.Typer()


class ToName(str, Enum):
    """Where a miss is sent, spelled here so that --help needs no engine."""

    pairs = "pairs"
    answers = "answers"


@misses_app.command()
def misses(
    evaluation: Annotated[str, typer.Argument(help="Name of an evaluation of the project.")],
    queries: Annotated[
        Optional[list[str]], typer.Argument(metavar="[QUERY]…", help="Ids of queries (default: the worst).")
    ] = None,
    project: ProjectDir = Path("."),
    system: Annotated[
        Optional[str], typer.Option(help="Whose misses (default: the evaluation's only system).", show_default=False)
    ] = None,
    against: Annotated[str, typer.Option(help="Another system: what was lost against it.", show_default=False)] = "",
    worst: Annotated[int, typer.Option(min=1, help="So many, the worst first.")] = 20,
    metric: Annotated[str, typer.Option(help="By which (default: the evaluation's).", show_default=False)] = "",
    send: Annotated[
        Optional[ToName],
        typer.Option(help="Send them to the pairs (tag missed) or to the false-negative queue.", show_default=False),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="With --send: all that are listed.")] = False,
    passage: Annotated[
        Optional[list[str]],
        typer.Option(help="With one QUERY: the retrieved passages that are meant (repeatable).", show_default=False),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option("--out", "-o", help="Write them as pairs with their evidence (JSON lines, for import)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the queries that a system missed, and send them to where a person decides.

    To `answers` goes each passage above the right one that nobody judged: `judge` then asks about it. To `pairs` goes
    the query's row, with the tag `missed` and a note. `decide --undo` takes back what was sent.
    """
    from studio.cli import missing

    to = send.value if send else None
    missing.misses(project, evaluation, queries or [], system, against, worst, metric, to, all_, passage, out, as_json)
