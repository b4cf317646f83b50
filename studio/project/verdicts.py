"""What people judged of a query and another row's passage: each judge's latest word, and what they come to together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

import polars as pl

from studio.errors import UsageError
from studio.project.ledger import Action, Decision, Ledger, Target, in_force

AMBIGUOUS_AFTER = 7
"""A query that more passages than this also answer asks for nothing in particular; RLHN (arXiv 2505.16967) drops it."""
AMBIGUOUS_TAG = "ambiguous_query"

Drawn = Literal["damage", "sample"]
"""How a candidate came before its judge: as the costliest one, or by chance, as an estimate of precision needs it."""


class Verdict(StrEnum):
    """What a person says of a query and a passage that is not its own."""

    ALSO_ANSWERS = "also_answers"
    """It is a positive too: both rows become one answer group."""
    DOES_NOT = "does_not"
    """It may serve as a hard negative."""
    PARTLY = "partly"
    """Neither a positive nor a negative: it is left out of negatives."""
    SKIP = "skip"
    """The judge cannot tell."""


class State(StrEnum):
    """What the judges of a query and a passage come to."""

    UNDECIDED = "undecided"
    ALSO_ANSWERS = "also_answers"
    DOES_NOT = "does_not"
    PARTLY = "partly"
    SKIPPED = "skipped"
    """Nobody who looked could tell."""
    DISPUTED = "disputed"
    """The judges differ, which counts as not decided."""


VERDICTS_SCHEMA = pl.Schema(
    {
        "query_id": pl.String(),
        "passage_id": pl.String(),
        "judge": pl.String(),
        "verdict": pl.String(),
        "score": pl.Float64(),
        "evidence": pl.String(),
        "seq": pl.Int64(),
    }
)
"""The latest verdict of each judge on a query (a row that has it) and a passage (a row whose positive it is).

`judge`: the actor, `person` or `person:name`. `score`: the relative margin when it was judged. `evidence`: JSON with
`drawn` (a `Drawn`)."""


def verdicts(log: Sequence[Decision], targets: pl.DataFrame) -> pl.DataFrame:
    """Read the verdicts in force out of a ledger, as VERDICTS_SCHEMA, in the order they were given."""
    judging = {decision.seq: decision.actor for decision in in_force(log) if decision.action is Action.JUDGE}
    if not judging:
        return pl.DataFrame(schema=VERDICTS_SCHEMA)
    found = targets.filter(pl.col("seq").is_in(list(judging))).select(
        pl.col("row_id").alias("query_id"),
        pl.col("keeper_id").alias("passage_id"),
        pl.col("seq").replace_strict(judging, return_dtype=pl.String).alias("judge"),
        pl.col("value").alias("verdict"),
        "score",
        "evidence",
        "seq",
    )
    return found.unique(["query_id", "passage_id", "judge"], keep="last", maintain_order=True)


def settled(found: pl.DataFrame) -> pl.DataFrame:
    """What the judges come to: one line a query and passage, `query_id`, `passage_id`, `state` (a `State`).

    A skip is no opinion. Judges who differ leave the matter disputed until one of them judges anew.
    """
    opinions = pl.col("verdict").filter(pl.col("verdict") != Verdict.SKIP.value)
    states = found.group_by("query_id", "passage_id", maintain_order=True).agg(
        opinions.first().alias("opinion"), opinions.n_unique().alias("opinions")
    )
    return states.select(
        "query_id",
        "passage_id",
        pl.when(pl.col("opinions") == 0)
        .then(pl.lit(State.SKIPPED.value))
        .when(pl.col("opinions") > 1)
        .then(pl.lit(State.DISPUTED.value))
        .otherwise("opinion")
        .alias("state"),
    )


def pairs_in_state(found: pl.DataFrame, *states: State) -> pl.DataFrame:
    """The `query_id` and `passage_id` of what the judges settled as one of `states`."""
    return settled(found).filter(pl.col("state").is_in([state.value for state in states])).drop("state")


class Judged(NamedTuple):
    """What one judgement did: the sequence numbers of its decisions, and whether the query is now ambiguous."""

    seqs: list[int]
    ambiguous: bool


def _steps(
    log: Sequence[Decision],
    targets: pl.DataFrame,
    query_id: str,
    passage_id: str,
    verdict: Verdict,
    *,
    margin: float | None,
    drawn: Drawn,
) -> list[tuple[Action, str, list[Target]]]:
    """The decisions that a judgement comes to, as steps of `Ledger.append_step`.

    The eighth passage that also answers a query tags it `ambiguous_query` in the same step.
    """
    evidence = json.dumps({"drawn": drawn})
    target = Target(query_id, passage_id, margin, verdict.value, evidence)
    steps = [(Action.JUDGE, f"judged: {verdict.value}", [target])]
    if verdict is Verdict.ALSO_ANSWERS:
        given = settled(verdicts(log, targets)).filter(
            (pl.col("query_id") == query_id)
            & (pl.col("passage_id") != passage_id)
            & (pl.col("state") == State.ALSO_ANSWERS.value)
        )
        if given.height == AMBIGUOUS_AFTER:
            tagged = Target(query_id, value=AMBIGUOUS_TAG)
            steps.append((Action.TAG, f"more than {AMBIGUOUS_AFTER} passages also answer it", [tagged]))
    return steps


def judge(
    ledger: Ledger,
    query_id: str,
    passage_id: str,
    verdict: Verdict,
    *,
    actor: str = "person",
    margin: float | None = None,
    drawn: Drawn = "damage",
) -> Judged:
    """Write a judgement to the ledger. The caller holds the project's lock.

    Raises:
        UsageError: query and passage are of one row, whose passage is the query's own positive.
    """
    if query_id == passage_id:
        raise UsageError("This is the query's own positive.", remedy="judge a passage of another row")
    log, targets = ledger.log(), ledger.targets()
    steps = _steps(log, targets, query_id, passage_id, verdict, margin=margin, drawn=drawn)
    return Judged(ledger.append_step(steps, actor=actor), len(steps) > 1)
