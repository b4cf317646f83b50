"""Candidates that a person sent to be judged, because a system took them for an answer in an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from studio.mining.collection import Collection
from studio.mining.views import K
from studio.project.asked import Outranked, asked, outranked
from studio.project.curate import Curated, standing
from studio.project.ledger import Decision

MISSED = "missed"
"""Reason of these candidates, and tag of the rows whose query a system answered otherwise."""
_LINE = ["query", "passage"]
ASKED_LINES = pl.Schema(
    {
        "query_id": pl.String(),
        "passage_id": pl.String(),
        "score": pl.Float64(),
        "certain": pl.Boolean(),
        "own_id": pl.String(),
        "own": pl.Float64(),
        "margin": pl.Float64(),
        "at_least": pl.Boolean(),
        "support": pl.Float64(),
        "rank": pl.UInt32(),
        "own_rank": pl.UInt32(),
        "second_rank": pl.UInt32(),
        "bm25_rank": pl.UInt32(),
        "reasons": pl.List(pl.String()),
        "likeness": pl.Float64(),
        "held_by": pl.List(pl.String()),
        "cross": pl.Float64(),
        "cross_own": pl.Float64(),
        "asked": pl.List(pl.String()),
        "trust": pl.Float64(),
        "query": pl.UInt32(),
        "passage": pl.UInt32(),
    }
)
"""One line a query and passage, with the columns of `false_negatives.CANDIDATE_FIELDS` as the system saw them that was
sent first. `own`, `own_rank`: null where that did not find the own positive; then the margin is a bound (`at_least`).
`support`: of the one look that is known. `asked`: each time, in words. `trust`: of that system."""


def asked_lines(
    log: Sequence[Decision], targets: pl.DataFrame, curated: Curated, collection: Collection
) -> pl.DataFrame:
    """What people put before the judges, as ASKED_LINES; what is a known positive by now is left out.

    Args:
        log: the ledger.
        targets: its targets.
        curated: the outcomes; the row that stands for a removed one also stands for it here.
        collection: made of them; what has a row that is not kept is left out.
    """
    pairs = asked(log, targets)
    if pairs.is_empty():
        return pl.DataFrame(schema=ASKED_LINES)
    numbered = collection.numbered(standing(curated.rows, pairs))
    numbered = numbered.join(collection.own, on=_LINE, how="anti", maintain_order="left")
    grouped = numbered.group_by(_LINE, maintain_order=True).agg(
        pl.col("query_id").first(), pl.col("passage_id").first(), pl.col("score").first(), "evidence"
    )
    known = set(collection.rows["row_id"])
    lines = [_line(line, known) for line in grouped.iter_rows(named=True)]
    return pl.DataFrame(lines, schema=ASKED_LINES)


def _line(line: dict[str, object], known: set[str]) -> dict[str, object]:
    said = [found for text in line["evidence"] if (found := outranked(text))]  # type: ignore[attr-defined]
    first = said[0] if said else Outranked(evaluation="", system="", rank=1, score=0.0)
    return {
        "query_id": line["query_id"],
        "passage_id": line["passage_id"],
        "score": first.score,
        "certain": False,
        "own_id": first.gold_id if first.gold_id in known else line["query_id"],
        "own": first.gold_score,
        "margin": line["score"] or 0.0,
        "at_least": first.gold_score is None,
        "support": (K + 1) / (K + first.rank),
        "rank": first.rank,
        "own_rank": first.gold_rank,
        "reasons": [MISSED],
        "held_by": [],
        "asked": list(dict.fromkeys(found.words for found in said)) or ["sent to be judged"],
        "trust": first.mrr,
        "query": line["query"],
        "passage": line["passage"],
    }
