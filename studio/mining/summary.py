"""What the judges came to: counts, agreement, sampled precision, and the false negatives still to be expected."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import polars as pl

from studio.mining.agreement import agreement, sampled_precision
from studio.mining.judging import Queue
from studio.project.project import Project
from studio.project.verdicts import AMBIGUOUS_AFTER, State, verdicts

_SAMPLED = '"drawn": "sample"'


class JudgesAgreement(NamedTuple):
    """Two judges: how many candidates both judged (skips aside), the share on which they agree, and Cohen's κ."""

    one: str
    other: str
    both: int
    observed: float | None
    kappa: float | None


class JudgingSummary(NamedTuple):
    """What is judged and what that says.

    `judged`: candidates that somebody judged. `also_answers` … `disputed`: what they came to. `ambiguous`: queries that
    more than seven passages also answer. `judges`: verdicts of each. `sampled`, `precision`, `low`, `high`: of the
    candidates drawn by chance, the share that also answers (None of none) with its Wilson interval. `rests_on`: prior,
    few or judgements. `half`: the margin at which half the candidates also answer. `expected`: false negatives to
    expect among those still waiting.
    """

    judged: int
    also_answers: int
    does_not: int
    partly: int
    skipped: int
    disputed: int
    ambiguous: int
    judges: tuple[tuple[str, int], ...]
    agreements: tuple[JudgesAgreement, ...]
    sampled: int
    precision: float | None
    low: float
    high: float
    calibrated_on: int
    rests_on: str
    half: float | None
    expected: float


def summary(project: Project, queue: Queue) -> JudgingSummary:
    """Sum up the judgements in force of a project's queue."""
    given = verdicts(project.ledger.log(), project.ledger.targets())
    direct = queue.lines.filter("direct")
    states = dict(direct.group_by("state").len().iter_rows())
    by_judge = {
        judge: dict(zip(zip(part["query_id"], part["passage_id"], strict=True), part["verdict"], strict=True))
        for (judge,), part in given.partition_by("judge", as_dict=True, maintain_order=True).items()
    }
    compared = (
        (one, other, agreement(by_judge[one], by_judge[other])) for one, other in combinations(sorted(by_judge), 2)
    )
    drawn = given.filter(pl.col("evidence").fill_null("").str.contains(_SAMPLED, literal=True))
    drawn = drawn.select("query_id", "passage_id").unique()
    of_sample = queue.lines.join(drawn, on=["query_id", "passage_id"], how="semi")
    precision = sampled_precision(dict(of_sample.group_by("state").len().iter_rows())).full
    answers = queue.lines.filter(pl.col("state") == State.ALSO_ANSWERS.value).group_by("query").len()
    return JudgingSummary(
        judged=direct.height,
        also_answers=states.get(State.ALSO_ANSWERS.value, 0),
        does_not=states.get(State.DOES_NOT.value, 0),
        partly=states.get(State.PARTLY.value, 0),
        skipped=states.get(State.SKIPPED.value, 0),
        disputed=states.get(State.DISPUTED.value, 0),
        ambiguous=answers.filter(pl.col("len") > AMBIGUOUS_AFTER).height,
        judges=tuple((judge, len(said)) for judge, said in by_judge.items()),
        agreements=tuple(
            JudgesAgreement(one, other, both.n, both.observed, both.kappa) for one, other, both in compared
        ),
        sampled=precision.n,
        precision=precision.value,
        low=precision.interval[0],
        high=precision.interval[1],
        calibrated_on=queue.calibration.n,
        rests_on=queue.calibration.rests_on,
        half=queue.calibration.half,
        expected=float(queue.waiting()["probability"].sum()),
    )
