"""What people put before the judges themselves: a query and a passage that some system took for an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from studio.project.ledger import Action, Decision, in_force

ASKED_SCHEMA = pl.Schema(
    {
        "query_id": pl.String(),
        "passage_id": pl.String(),
        "score": pl.Float64(),
        "seq": pl.Int64(),
        "evidence": pl.String(),
    }
)
"""Each time in force that a query (a row that has it) and a passage (a row whose positive it is) were put to judges.

`score`: how far the system put the passage above the query's own positive, as a share of that one's score; at least
that far where it did not find the own positive. `evidence`: JSON of an `Outranked`, or null."""


class Outranked(BaseModel):
    """What a system said of a query and of a passage that nobody judged.

    Attributes:
        evaluation: name of the evaluation.
        system: name of the system in it.
        rank: of the passage, from 1.
        score: that the system gave it.
        gold_rank: of the best-ranked passage that answers; None: deeper than the ranking goes.
        gold_score: of that one; None as `gold_rank`.
        gold_id: the row whose passage that is; "" where no row has it.
        mrr: of the system in the evaluation, at 10: how far its word is to be trusted; 0: not known.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    evaluation: str
    system: str
    rank: int
    score: float
    gold_rank: int | None = None
    gold_score: float | None = None
    gold_id: str = ""
    mrr: float = 0.0

    @property
    def words(self) -> str:
        """Such as `bm25 in final: rank 1, own positive at 14`."""
        own = f"at {self.gold_rank}" if self.gold_rank else "not found"
        return f"{self.system} in {self.evaluation}: rank {self.rank}, own positive {own}"


def asked(log: Sequence[Decision], targets: pl.DataFrame) -> pl.DataFrame:
    """Read what was put to judges, and not taken back, out of a ledger: ASKED_SCHEMA, in the order it was asked."""
    seqs = [decision.seq for decision in in_force(log) if decision.action is Action.ASK]
    if not seqs:
        return pl.DataFrame(schema=ASKED_SCHEMA)
    found = targets.filter(pl.col("seq").is_in(seqs) & pl.col("keeper_id").is_not_null())
    return found.select(
        pl.col("row_id").alias("query_id"), pl.col("keeper_id").alias("passage_id"), "score", "seq", "evidence"
    )


def outranked(evidence: str | None) -> Outranked | None:
    """Open the evidence of an ASKED_SCHEMA line; None where there is none that can be read."""
    try:
        content: Any = json.loads(evidence or "null")
        return Outranked.model_validate(content)
    except (ValueError, RecursionError):
        return None
