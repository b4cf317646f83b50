"""The scores of systems with their intervals, and how far two of them are apart over the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from studio.errors import UsageError
from studio.evaluation.metrics import F64, Flags
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.sets import SimilaritySet
from studio.evaluation.significance import Difference, mean_intervals, paired
from studio.evaluation.similarity import COSINE, SPEARMAN, spearman, spearman_difference, spearman_interval

EQUAL = 1e-9
"""Values of one query that differ by less are a tie: sums in another order differ in their last bits."""


class Score(NamedTuple):
    """A system by one metric: the mean over the queries, or the correlation, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Tally(NamedTuple):
    """On how many queries a system is better than another, as good, and worse."""

    wins: int
    ties: int
    losses: int


def intervals(
    evaluation: Evaluation, metrics: Sequence[str] = (), only: Flags | None = None, seed: int = 0
) -> dict[str, dict[str, Score]]:
    """The scores of every system by several metrics, each with its interval.

    Args:
        evaluation: the systems.
        metrics: which; empty: all of the evaluation.
        only: (queries,) which of them count; None: all.
        seed: for the resamples.

    Returns:
        system → metric → score; what a system has no values for is left out.

    Raises:
        UsageError: no query counts.
    """
    counted(evaluation, only)
    known = [
        (system, metric)
        for system in evaluation.systems
        for metric in metrics or evaluation.metrics
        if not valueless(system, metric)
    ]
    found: dict[str, dict[str, Score]] = {system.name: {} for system in evaluation.systems}
    evaluated = evaluation.evaluated
    if isinstance(evaluated, SimilaritySet):
        gold = _gold(evaluated, only)
        for system, metric in known:
            cosines = _chosen(system.values[COSINE], only)
            found[system.name][metric] = Score(spearman(cosines, gold), *spearman_interval(cosines, gold, seed))
        return found
    if known:
        values = np.stack([_chosen(system.values[metric], only) for system, metric in known], axis=1)
        for (system, metric), *score in zip(known, values.mean(axis=0), *mean_intervals(values, seed), strict=True):
            found[system.name][metric] = Score(*map(float, score))
    return found


def against(
    evaluation: Evaluation, a: SystemResult, b: SystemResult, metric: str, only: Flags | None = None, seed: int = 0
) -> tuple[Difference, Tally, tuple[float, float]]:
    """How far a is from b over the queries that count, on how many each is better, and both scores.

    Both have values of the metric.
    """
    if metric == SPEARMAN and isinstance(evaluation.evaluated, SimilaritySet):
        gold = _gold(evaluation.evaluated, only)
        mine, theirs = (_chosen(system.values[COSINE], only) for system in (a, b))
        # How near one pair is to what people said is no value of that pair alone, so there is nothing to tally.
        difference = spearman_difference(mine, theirs, gold, seed)
        return difference, Tally(0, 0, 0), (spearman(mine, gold), spearman(theirs, gold))
    mine, theirs = (_chosen(system.values[metric], only) for system in (a, b))
    return paired(mine, theirs, seed), tally(mine, theirs), (float(mine.mean()), float(theirs.mean()))


def tally(a: F64, b: F64) -> Tally:
    """Count on how many queries a is better than b, as good, and worse, by their values."""
    apart = a - b
    wins, losses = int((apart > EQUAL).sum()), int((apart < -EQUAL).sum())
    return Tally(wins, len(apart) - wins - losses, losses)


def valueless(system: SystemResult, metric: str) -> str:
    """Why there is nothing to compare a system by, or ""."""
    if system.error:
        return f"{system.name} could not be run"
    known = {SPEARMAN if name == COSINE else name for name in system.values}
    return "" if metric in known else f"{system.name} has no values of {metric}"


def undefined(evaluation: Evaluation, system: SystemResult, metric: str) -> str:
    """Why a system's score is no number."""
    evaluated = evaluation.evaluated
    if metric == SPEARMAN and isinstance(evaluated, SimilaritySet):
        if evaluated.pairs["score"].n_unique() < 2:
            return "there is no correlation: people gave every pair the same score"
        if not np.isfinite(system.values[COSINE]).all():
            return "there is no correlation: a cosine of it is no number"
        return "there is no correlation: it gives every pair the same cosine"
    return f"its {metric} is no number"


def counted(evaluation: Evaluation, only: Flags | None) -> int:
    """How many queries count.

    Raises:
        UsageError: none does.
    """
    size = evaluation.evaluated.size
    if only is not None and only.shape != (size,):
        raise ValueError(f"a flag for each of {size} queries is needed, not {only.shape}")
    n = size if only is None else int(only.sum())
    if not n:
        raise UsageError("No query is left to compare systems by.")
    return n


def _gold(evaluated: SimilaritySet, only: Flags | None) -> F64:
    return _chosen(evaluated.pairs["score"].to_numpy().astype(np.float64), only)


def _chosen(values: F64, only: Flags | None) -> F64:
    return values if only is None else values[only]
