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


class Judgement(NamedTuple):
    """What a judge says of a query (a row that has it) and a passage (a row whose positive it is).

    `margin`: the candidate's relative margin, None of a pair that no search brought.
    """

    query_id: str
    passage_id: str
    verdict: Verdict
    margin: float | None = None


class Judged(NamedTuple):
    """What a sitting of judgements did: sequence numbers of its decisions, and the queries that are ambiguous by it.

    A judge who says the same again makes no decision.
    """

    seqs: list[int]
    ambiguous: tuple[str, ...]


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
    """Write one judgement to the ledger, as `judge_all` does."""
    return judge_all(ledger, [Judgement(query_id, passage_id, verdict, margin)], actor=actor, drawn=drawn)


def judge_all(
    ledger: Ledger, judgements: Sequence[Judgement], *, actor: str = "person", drawn: Drawn = "damage"
) -> Judged:
    """Write judgements to the ledger, as one step of undo. The caller holds the project's lock.

    The eighth passage that also answers a query tags its row `ambiguous_query`.

    Raises:
        UsageError: query and passage are of one row, whose passage is the query's own positive.
    """
    if any(judgement.query_id == judgement.passage_id for judgement in judgements):
        raise UsageError("This is the query's own positive.", remedy="judge a passage of another row")
    given = verdicts(ledger.log(), ledger.targets())
    mine = given.filter(pl.col("judge") == actor).select("query_id", "passage_id", "verdict")
    said = {(query_id, passage_id): verdict for query_id, passage_id, verdict in mine.iter_rows()}
    new = [one for one in judgements if said.get((one.query_id, one.passage_id)) != one.verdict]
    evidence = json.dumps({"drawn": drawn})
    steps = [
        (
            Action.JUDGE,
            f"judged: {one.verdict.value}",
            [Target(one.query_id, one.passage_id, one.margin, one.verdict.value, evidence)],
        )
        for one in new
    ]
    answers = {query_id: set(ids) for query_id, ids in _answers(given).iter_rows()}
    ambiguous = []
    for one in new:
        known = answers.setdefault(one.query_id, set())
        if one.verdict is Verdict.ALSO_ANSWERS and one.passage_id not in known:
            known.add(one.passage_id)
            if len(known) == AMBIGUOUS_AFTER + 1:
                ambiguous.append(one.query_id)
    if ambiguous:
        tagged = [Target(query_id, value=AMBIGUOUS_TAG) for query_id in ambiguous]
        steps.append((Action.TAG, f"more than {AMBIGUOUS_AFTER} passages also answer it", tagged))
    return Judged(ledger.append_step(steps, actor=actor), tuple(ambiguous))


def _answers(given: pl.DataFrame) -> pl.DataFrame:
    """The passages that also answer each query: `query_id`, and a list of ids."""
    return pairs_in_state(given, State.ALSO_ANSWERS).group_by("query_id").agg("passage_id")
