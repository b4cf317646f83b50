"""The commands that evaluate: evaluate, compare. Each imports the engine only when it runs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from studio.cli.app import AsJson, Negative, Positive, ProjectDir, Query, Score

evaluation_app = typer.Typer()


class SliceName(str, Enum):
    """What queries are sliced by, spelled here so that --help needs no engine."""

    length = "length"
    words = "words"
    language = "language"
    source = "source"
    tag = "tag"
    leaked = "leaked"


class ClassName(str, Enum):
    """Classes of systems, spelled here so that --help needs no engine."""

    dense = "dense"
    lexical = "lexical"
    hybrid = "hybrid"
    reranked = "reranked"
    unknown = "unknown"


class SelfHits(str, Enum):
    """What becomes of a passage with the query's own id."""

    keep = "keep"
    remove = "remove"


class KindName(str, Enum):
    """What a file's items can be."""

    retrieval = "retrieval"
    similarity = "similarity"
    triplets = "triplets"


Reference = Annotated[
    Optional[list[str]],
    typer.Option(metavar="SYSTEM", help="What the others of its class are compared with (one a class)."),
]
Metric = Annotated[str, typer.Option(help="What decides, such as ndcg@10 or recall@100.", show_default="ndcg@10")]
Markdown = Annotated[Optional[Path], typer.Option("--markdown", metavar="FILE", help="Write it as Markdown, too.")]
Html = Annotated[
    Optional[Path], typer.Option("--html", metavar="FILE", help="Write it as one HTML page with plots, too.")
]
By = Annotated[
    Optional[list[SliceName]], typer.Option("--by", help="Slices of the queries, too (repeatable).", show_default=False)
]
PerQuery = Annotated[bool, typer.Option("--per-query", help="With --json: every system's values by query, too.")]


@evaluation_app.command()
def evaluate(
    project: ProjectDir = Path("."),
    set_: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set",
            metavar="SET",
            help="held-out, held-out:SPLIT, run:NAME, a file or folder, a benchmark or dataset id (repeatable; "
            "default: held-out).",
        ),
    ] = None,
    system: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="SPEC",
            help="bm25, a model, run:NAME, 'rrf(A + B)', 'rerank(A, MODEL)', 'trec:FILE,class=dense'; before it "
            "'NAME: ' (repeatable).",
        ),
    ] = None,
    systems: Annotated[Optional[Path], typer.Option(metavar="FILE.toml", help="Systems as [[system]] tables.")] = None,
    ready: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME",
            help="Ready-made comparisons: default, dense, hybrid, reranked, truncated, quantised (repeatable).",
        ),
    ] = None,
    name: Annotated[
        Optional[str],
        typer.Option(help="What it is called (default: after the set). One that was interrupted goes on by its name."),
    ] = None,
    split: Annotated[Optional[str], typer.Option(help="Which split or part of the set.")] = None,
    queries: Annotated[int, typer.Option(min=0, help="At most so many queries, drawn by seed; 0: all.")] = 0,
    corpus: Annotated[int, typer.Option(min=0, help="At most so many passages, drawn by seed; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="For the drawing.")] = 0,
    revision: Annotated[Optional[str], typer.Option(help="Of a dataset on the hub.")] = None,
    self_hits: Annotated[
        Optional[SelfHits],
        typer.Option(help="A passage with the query's own id (default: as the set's authors do).", show_default=False),
    ] = None,
    query: Query = None,
    positive: Positive = None,
    negative: Negative = None,
    score: Score = None,
    kind: Annotated[
        Optional[KindName],
        typer.Option(help="What a file's items are (default: told by its columns).", show_default=False),
    ] = None,
    metric: Metric = "",
    no_operations: Annotated[
        bool, typer.Option("--no-operations", help="Do not measure what systems cost: much faster on small sets.")
    ] = False,
    reference: Reference = None,
    by: By = None,
    trec_run: Annotated[
        Optional[list[Path]],
        typer.Option("--trec-run", metavar="RUN", help="Score another tool's run; needs --qrels, and no project."),
    ] = None,
    qrels: Annotated[
        Optional[Path], typer.Option(metavar="QRELS", help="Who is relevant, for --trec-run: TREC, BEIR or JSONL.")
    ] = None,
    class_: Annotated[
        ClassName, typer.Option("--class", help="What made the runs of --trec-run; unknown is compared with nothing.")
    ] = ClassName.unknown,
    markdown: Markdown = None,
    html: Html = None,
    per_query: PerQuery = False,
    as_json: AsJson = False,
) -> None:
    """Measure systems on a set: one table, in which only equals are compared, with intervals and p-values.

    Everything is stored below evaluations/ of the project and can be opened again: harrier-studio compare NAME.
    Exit codes: 0 every system was measured, 1 one could not be run (the others stand), 2 the request makes no sense,
    3 the set cannot be used.
    """
    from studio.cli import evaluating, jobs, telling

    show = telling.Show(metric, tuple(reference or ()), tuple(one.value for one in by or ()), markdown, html,
                           per_query, as_json)  # fmt: skip
    if trec_run or qrels:
        if set_ or system or systems or ready or name:
            raise typer.BadParameter(
                "--trec-run is scored by itself; put trec:FILE among --system to compare in a project"
            )
        evaluating.evaluate_runs(tuple(trec_run or ()), qrels, class_.value, show)
        return
    evaluating.evaluate(
        project,
        evaluating.Wanted(tuple(set_ or ()), tuple(system or ()), systems, tuple(ready or ()), name, not no_operations),
        evaluating.Drawn(split, queries, corpus, seed, revision, self_hits.value if self_hits else None,
                         kind.value if kind else None, jobs.roles(query, positive, negative, score, None, None, None)),
        show,
    )  # fmt: skip


@evaluation_app.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="An evaluation, one of its systems (EVALUATION/SYSTEM), or a run."),
    ],
    project: ProjectDir = Path("."),
    metric: Metric = "",
    reference: Reference = None,
    by: By = None,
    queries: Annotated[
        bool, typer.Option("--queries", help="Two systems query by query: the worst regressions first.")
    ] = False,
    worst: Annotated[int, typer.Option(min=1, help="With --queries: so many; the best gains, too, with --json.")] = 10,
    markdown: Markdown = None,
    html: Html = None,
    per_query: PerQuery = False,
    as_json: AsJson = False,
) -> None:
    """Open evaluations and finished runs in one table; those on other queries, passages or judgements are refused.

    With --queries two systems of one class are laid side by side: EVALUATION/SYSTEM twice, or two runs, the new one
    first and its baseline second. Of more systems, --reference names the baseline.
    """
    from studio.cli import comparing, telling

    show = telling.Show(metric, tuple(reference or ()), tuple(one.value for one in by or ()), markdown, html,
                           per_query, as_json)  # fmt: skip
    comparing.compare(project, tuple(names), show, worst if queries else 0)
