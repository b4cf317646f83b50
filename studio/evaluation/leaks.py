"""Queries of a test that training has seen: asked there in the same or nearly the same words, or with their answer."""

from __future__ import annotations

import polars as pl

from studio.checks.base import configured
from studio.errors import ProjectError
from studio.evaluation.sets import RetrievalSet
from studio.mining.collection import Collection
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.evidence import Band
from studio.project.project import Project
from studio.text.equal import equal_at
from studio.text.normalise import Level

LEAKED = pl.Schema({"query_id": pl.String(), "why": pl.String()})
_TEST, _TRAIN = "test ", "train "
"""Put before ids, so that those of the test and those of training cannot meet."""


def leaked(
    evaluated: RetrievalSet,
    project: Project,
    trained: pl.Series | None = None,
    progress: Progress = silent,
    curated: Curated | None = None,
) -> pl.DataFrame:
    """Find the queries that training has seen.

    A query has leaked if a training query is equal to it at L2 or near to it for certain, or if a training positive is
    equal or near for certain to one of its relevant passages. What is near for certain is what the checks
    `near_queries` and `near_duplicates` say with the project's settings (their auto band): a shared number or name that
    differs keeps two texts apart.

    Args:
        evaluated: the test.
        project: whose rows train.
        trained: the ids of the rows that do; None: all kept rows of no protected and no leaked split.
        progress: told of each step.
        curated: the outcome of every row, if it is at hand; else the ledger is replayed.

    Returns:
        LEAKED, in the order of the queries: one line a query, with the most telling reason.
    """
    rows = _training(project, curated or project.curated(), trained)
    if rows.is_empty():
        return pl.DataFrame(schema=LEAKED)
    judged = evaluated.judged
    queries = judged.queries.select(id="query_id", text="text")
    relevant = judged.qrels.filter(pl.col("relevance") > 0).select("query_id", "passage_id")
    passages = judged.corpus.filter(pl.col("passage_id").is_in(relevant["passage_id"].implode()))
    asked = _repeated(queries, rows.select("row_id", text="query"), project, "near_queries", "query", progress)
    answered = _repeated(
        passages.select(id="passage_id", text="text"),
        rows.select("row_id", text="positive"),
        project,
        "near_duplicates",
        "positive",
        progress,
    )
    reasons = [
        asked.select(
            query_id="id",
            why=pl.format("the query {} that of training row {}", _likeness(), "row_id"),
            order=pl.when(pl.col("score").is_null()).then(0).otherwise(2),
        ),
        relevant.join(answered, left_on="passage_id", right_on="id").select(
            "query_id",
            why=pl.format("its passage {} {} that of training row {}", "passage_id", _likeness(), "row_id"),
            order=pl.when(pl.col("score").is_null()).then(1).otherwise(3),
        ),
    ]
    found = pl.concat(reasons).sort("order", "why").unique("query_id", keep="first", maintain_order=True)
    return judged.queries.select("query_id").join(found, on="query_id", maintain_order="left").select(LEAKED.names())


def _likeness() -> pl.Expr:
    near = pl.format("is near (Jaccard {}) to", pl.col("score").round(2))
    return pl.when(pl.col("score").is_null()).then(pl.lit("equals")).otherwise(near)


def _training(project: Project, curated: Curated, trained: pl.Series | None) -> pl.DataFrame:
    """`row_id`, `query` and `positive` of the rows that train."""
    if trained is None:
        try:
            trained = Collection.of(project, curated).training["row_id"]
        except ProjectError:  # no row is kept, so none trains
            return curated.rows.clear()
    return curated.rows.filter(pl.col("row_id").is_in(trained.implode())).select("row_id", "query", "positive")


def _repeated(
    tested: pl.DataFrame, trained: pl.DataFrame, project: Project, check: str, column: str, progress: Progress
) -> pl.DataFrame:
    """The tested texts that training has: `id`, `row_id` (the first such row), `score` (null: equal)."""
    both = pl.concat(
        [
            tested.select(pl.format(_TEST + "{}", "id").alias("row_id"), pl.col("text").alias(column)),
            trained.select(pl.format(_TRAIN + "{}", "row_id").alias("row_id"), pl.col("text").alias(column)),
        ]
    )
    both = both.with_columns(text=equal_at(both[column], Level.SURFACE, progress))
    of_test = both.filter(pl.col("row_id").str.starts_with(_TEST)).select(
        "text", id=pl.col("row_id").str.strip_prefix(_TEST)
    )
    first = both.filter(pl.col("row_id").str.starts_with(_TRAIN)).unique("text", keep="first", maintain_order=True)
    of_training = first.select("text", row_id=pl.col("row_id").str.strip_prefix(_TRAIN))
    equal = of_test.join(of_training, on="text", maintain_order="left").select(
        "id", "row_id", score=pl.lit(None, pl.Float64)
    )
    near = next(found for found in configured(project.settings, [check]) if found.name == check)
    edges = near.run(both.select("row_id", column), progress).edges.filter(pl.col("band") == Band.AUTO.value)
    numbers = both.select("row_id", "text")
    ends = edges.select("a_id", "b_id", "score")
    ends = pl.concat([ends, ends.select(a_id="b_id", b_id="a_id", score="score")])
    ends = ends.join(numbers.rename({"row_id": "a_id", "text": "a"}), on="a_id").join(
        numbers.rename({"row_id": "b_id", "text": "b"}), on="b_id"
    )
    alike = (
        of_test.join(ends.select(text="a", b="b", score="score"), on="text")
        .join(of_training, left_on="b", right_on="text")
        .select("id", "row_id", "score")
    )
    found = pl.concat([equal, alike]).sort("score", "id", "row_id", descending=[True, False, False], nulls_last=False)
    return found.unique("id", keep="first", maintain_order=True)
