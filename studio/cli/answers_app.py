"""The commands about who answers what: search, judge, exposure. Each imports the engine only when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from studio.cli.app import AsJson, ProjectDir

answers_app = typer.Typer()


class VerdictName(str, Enum):
    """Names of the verdicts, spelled here so that --help needs no engine."""

    also_answers = "also_answers"
    does_not = "does_not"
    partly = "partly"
    skip = "skip"


class MinerName(str, Enum):
    """Names of the miners."""

    dense = "dense"
    bm25 = "bm25"
    mixed = "mixed"


class FormName(str, Enum):
    """What a line of mined data holds."""

    triplet = "triplet"
    ntuple = "n-tuple"
    scored = "scored"


class TableName(str, Enum):
    """Formats of mined data."""

    parquet = "parquet"
    jsonl = "jsonl"


class ShortName(str, Enum):
    """What becomes of a row with fewer negatives than asked for, in n-tuples."""

    drop = "drop"
    keep = "keep"


Models = Annotated[
    Optional[list[str]],
    typer.Option("--model", help="Retriever to ask, by folder or hub id (repeatable; the first decides)."),
]
SearchSet = Annotated[
    Optional[list[str]], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting for this run (repeatable).")
]


@answers_app.command("false-negatives")
def false_negatives(
    project: ProjectDir = Path("."),
    model: Models = None,
    cross_encoder: Annotated[
        Optional[str], typer.Option(help="Let this cross-encoder read the nearest candidates too.")
    ] = None,
    set_: SearchSet = None,
    as_json: AsJson = False,
) -> None:
    """Look for passages that also answer another row's query, and for rows whose own positive is far away.

    What is embedded is kept, so that a second search or a stopped one goes on where it was. Nothing is decided; judge
    with `judge` or in panel 3.
    """
    from studio.cli import judging

    judging.false_negatives(project, model or [], cross_encoder, set_ or [], as_json)


@answers_app.command()
def judge(
    project: ProjectDir = Path("."),
    next_: Annotated[
        Optional[int],
        typer.Option("--next", metavar="N", min=1, help="Print the next N candidates (default 1).", show_default=False),
    ] = None,
    set_: Annotated[
        Optional[VerdictName], typer.Option("--set", help="The verdict on --query and --passage.", show_default=False)
    ] = None,
    query: Annotated[Optional[str], typer.Option(help="Row of the query: its number or row_id.")] = None,
    passage: Annotated[Optional[str], typer.Option(help="Row of the passage: its number or row_id.")] = None,
    source: Annotated[
        Optional[Path],
        typer.Option(
            "--from", metavar="FILE", help="Judge by JSON lines: query_id, passage_id, verdict (as --next --json has)."
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="In an order drawn by chance, as an estimate of precision needs it.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    judge_: Annotated[
        Optional[str], typer.Option("--judge", metavar="NAME", help="Who judges, when there are several.")
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Print counts, agreement, precision, calibration.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge the candidates of `false-negatives`, the costliest first: also_answers, does_not, partly or skip.

    A passage that also answers joins both rows into one answer group; no pair is deleted. `decide --undo` takes the
    latest judgement back.
    """
    from studio.cli import judging

    verdict = set_.value if set_ else None
    judging.judge(project, next_, verdict, query, passage, source, sample, seed, judge_, stats, as_json)


@answers_app.command()
def exposure(
    project: ProjectDir = Path("."),
    batch: Annotated[int, typer.Option(min=2, help="Rows a batch, on each device.")] = 128,
    devices: Annotated[int, typer.Option(min=1, help="Devices that train at once.")] = 1,
    gather: Annotated[
        bool, typer.Option("--gather", help="The devices share their passages (gather_across_devices).")
    ] = False,
    simulate: Annotated[
        Optional[int],
        typer.Option(min=1, metavar="EPOCHS", help="Also draw the batches and count.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many false negatives a batch will hold, before and after your decisions, with each sampler."""
    from studio.cli import judging

    judging.exposure(project, batch, devices, gather, simulate, as_json)


@answers_app.command()
def mine(
    project: ProjectDir = Path("."),
    miner: Annotated[Optional[MinerName], typer.Option(help="Who brings candidates.", show_default=False)] = None,
    model: Models = None,
    negatives: Annotated[
        Optional[int], typer.Option(min=1, help="Negatives a query (default 4).", show_default=False)
    ] = None,
    margin: Annotated[
        Optional[float], typer.Option(help="Relative margin to the own positive (default .05).", show_default=False)
    ] = None,
    set_: SearchSet = None,
    write: Annotated[bool, typer.Option("--write", help="Write them; else only the plan is printed.")] = False,
    out: Annotated[
        Optional[Path], typer.Option("--out", "-o", help="Folder to write (default: PROJECT/mined/NAME).")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the folder below PROJECT/mined.")] = "",
    form: Annotated[FormName, typer.Option(help="What a line holds.")] = FormName.triplet,
    fmt: Annotated[TableName, typer.Option("--format", "-f", help="Format of the data.")] = TableName.parquet,
    short: Annotated[ShortName, typer.Option(help="Rows with too few negatives, in n-tuples.")] = ShortName.drop,
    as_json: AsJson = False,
) -> None:
    """Mine hard negatives: what is near a query and answers it in no way that is known or suspected.

    Prints the plan first: how many negatives each margin yields, and why candidates were left out.
    """
    from studio.cli import mining

    table: Literal["parquet", "jsonl"] = "jsonl" if fmt is TableName.jsonl else "parquet"
    mining.mine(
        project, set_ or [], model or [], miner.value if miner else None, negatives, margin, out, name, form.value,
        table, short.value, write, as_json,
    )  # fmt: skip
