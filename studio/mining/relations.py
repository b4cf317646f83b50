"""What the checks already know between a query and another row's passage, and what people judged of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from studio.mining.collection import Collection
from studio.project.curate import Curated, standing
from studio.project.evidence import Band, StoredEvidence
from studio.project.ledger import Decision
from studio.project.verdicts import State, settled, verdicts

_OF_PASSAGES = {"near_duplicates": "near_passage", "containment": "contained"}
_OF_QUERIES = {"near_queries": "near_query"}
SHARED_ANSWER = "shared_answer"
_LINE = ["query", "passage"]
_LARGEST_SHARED = 50
"""Queries or passages that one text may connect: a passage that a thousand queries have connects nothing."""

RELATIONS_SCHEMA = pl.Schema(
    {
        "query": pl.UInt32(),
        "passage": pl.UInt32(),
        "reason": pl.String(),
        "score": pl.Float64(),
        "certain": pl.Boolean(),
        "held_by": pl.String(),
    }
)
"""One line for each reason why a passage that is not its own may answer a query.

`reason`: near_passage (like a positive of the query), contained (one holds the other), near_query (it answers a like
query), shared_answer (it answers a query with which this one shares a positive). `certain`: of the auto band.
`held_by`: the guard that says they differ after all (numbers, names, …), else null."""


def relations(collection: Collection, evidence: Iterable[StoredEvidence], curated: Curated) -> pl.DataFrame:
    """Read the checks' edges as RELATIONS_SCHEMA; known positives are left out.

    Args:
        collection: the kept rows.
        evidence: what the checks found; only near_duplicates, containment and near_queries are read.
        curated: the outcomes that the collection was made of.
    """
    found = [_shared_answers(collection)]
    for stored in evidence:
        reason = _OF_PASSAGES.get(stored.check) or _OF_QUERIES.get(stored.check)
        if reason is None:
            continue
        side = "query" if stored.check in _OF_QUERIES else "passage"
        edges = stored.evidence.edges.filter((pl.col("band") != Band.IGNORE.value) & (pl.col("role") == side)).select(
            pl.col("a_id").alias("query_id"), pl.col("b_id").alias("passage_id"), "score", "band", "rejected_by"
        )
        ends = _ends(collection, standing(curated.rows, edges), side)
        found.append(_crossed(collection, ends, side, reason))
    joined = pl.concat(found).join(collection.own, on=_LINE, how="anti", maintain_order="left")
    # An edge that nothing holds apart says more than a stronger one that a guard does.
    free_first = joined.sort(
        *_LINE, "reason", pl.col("held_by").is_not_null(), "score", descending=[False, False, False, False, True]
    )
    return free_first.unique([*_LINE, "reason"], keep="first", maintain_order=True)


def judged(collection: Collection, log: Sequence[Decision], targets: pl.DataFrame, curated: Curated) -> pl.DataFrame:
    """What people settled of queries and passages: `query`, `passage` (numbers), `state`, `direct`, each pair once.

    Two rows of which one also answers the other's query are one answer group, so the other way round it is settled too,
    unless somebody judged that by itself (`direct`). Pairs that are known positives by now are left out.
    """
    pairs = standing(curated.rows, settled(verdicts(log, targets)))
    also = pairs.filter(pl.col("state") == State.ALSO_ANSWERS.value)
    turned = also.select(pl.col("passage_id").alias("query_id"), pl.col("query_id").alias("passage_id"), "state")
    both = pl.concat([pairs.with_columns(direct=pl.lit(value=True)), turned.with_columns(direct=pl.lit(value=False))])
    numbered = collection.numbered(both).select(*_LINE, "state", "direct")
    numbered = numbered.unique(_LINE, keep="first", maintain_order=True)
    return numbered.join(collection.own, on=_LINE, how="anti", maintain_order="left")


def _ends(collection: Collection, edges: pl.DataFrame, side: str) -> pl.DataFrame:
    """Number both ends of edges between two texts of one side: columns `a`, `b`, both ways round."""
    numbers = collection.rows.select("row_id", side)
    for column, name in (("query_id", "a"), ("passage_id", "b")):
        known = numbers.rename({"row_id": column, side: name})
        edges = edges.join(known, on=column, how="inner", maintain_order="left")
    edges = edges.filter(pl.col("a") != pl.col("b"))
    turned = edges.with_columns(pl.col("b").alias("a"), pl.col("a").alias("b"))
    return pl.concat([edges, turned])


def _crossed(collection: Collection, ends: pl.DataFrame, side: str, reason: str) -> pl.DataFrame:
    """From like passages a, b: the queries of a with b. From like queries a, b: a with the passages of b."""
    own = collection.own
    if side == "passage":
        pairs = ends.join(own.select("query", pl.col("passage").alias("a")), on="a").with_columns(passage="b")
    else:
        pairs = ends.join(own.select("passage", pl.col("query").alias("b")), on="b").with_columns(query="a")
    held = pl.when(pl.col("rejected_by").str.starts_with("guard_")).then(pl.col("rejected_by").str.slice(6))
    return pairs.select(
        "query",
        "passage",
        pl.lit(reason).alias("reason"),
        "score",
        (pl.col("band") == Band.AUTO.value).alias("certain"),
        held.alias("held_by"),
    ).cast(RELATIONS_SCHEMA)


def _shared_answers(collection: Collection) -> pl.DataFrame:
    """Two steps over known positives: the query shares a positive with another query, which has this passage too."""
    own = collection.own
    few = own.filter((pl.len().over("query") <= _LARGEST_SHARED) & (pl.len().over("passage") <= _LARGEST_SHARED))
    several = few.filter(pl.len().over("query") > 1)
    steps = several.join(few.rename({"query": "asking", "passage": "shared"}), left_on="passage", right_on="shared")
    steps = steps.filter(pl.col("asking") != pl.col("query")).select("query", "asking")
    reached = steps.unique().join(several, on="query").select(pl.col("asking").alias("query"), "passage")
    return (
        reached.unique()
        .select(
            "query",
            "passage",
            pl.lit(SHARED_ANSWER).alias("reason"),
            pl.lit(1.0).alias("score"),
            pl.lit(value=False).alias("certain"),
            pl.lit(None, dtype=pl.String).alias("held_by"),
        )
        .cast(RELATIONS_SCHEMA)
    )
