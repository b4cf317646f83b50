"""Measures of pairs of sentences and of triplets: correlation with people, and whether the right one is nearer."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from studio.evaluation.metrics import F32, F64
from studio.evaluation.significance import Difference, minimal_detectable, resampled, swapped

SPEARMAN = "spearman"
"""The metric of pairs: the correlation of the cosines' ranks with those of the people's scores."""
COSINE = "cosine"
"""Each pair's own cosine: what `spearman` is computed from."""
ACCURACY = "accuracy"
"""The metric of triplets."""
_RESAMPLES = 2_000
"""Each has to be ranked anew, which is slow; so many place the ends of an interval well enough."""
_LEVEL = (0.025, 0.975)
_ROUNDING = 1e-12


def spearman(cosines: F32 | F64, scores: F64) -> float:
    """Spearman's rank correlation, equal values with their mean rank; nan if one side does not vary.

    Args:
        cosines: (pairs,) of a system.
        scores: (pairs,) of people.

    Raises:
        ValueError: they are not as many, or there are none.
    """
    mine, gold = _ranks(cosines, scores)
    return _pearson(mine, gold)


def accuracies(positive: F32 | F64, negative: F32 | F64) -> F64:
    """1 where the anchor is nearer to the positive than to the negative, else 0, so also where both are equally near.

    Args:
        positive: (triplets,) similarity of anchor and positive.
        negative: (triplets,) similarity of anchor and negative.
    """
    found: F64 = (positive > negative).astype(np.float64)
    return found


def spearman_interval(cosines: F32 | F64, scores: F64, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a correlation: the percentile interval over pairs, ranked anew in each resample.

    Args:
        cosines: (pairs,) of a system.
        scores: (pairs,) of people.
        seed: for the 2,000 resamples.

    Returns:
        Its ends; nan if one side does not vary.
    """
    mine, gold = _ranks(cosines, scores)
    blocks = resampled(len(mine), np.random.default_rng(seed), _RESAMPLES)
    found = np.concatenate([spearman_resampled(counts, mine, gold) for counts in blocks])
    low, high = _quantiles(found)
    return low, high


def spearman_difference(a: F32 | F64, b: F32 | F64, scores: F64, seed: int = 0) -> Difference:
    """Compare two systems, a with b, by their correlation with the same people's scores.

    The interval is the percentile bootstrap's over pairs, ranked anew in each resample. p is that of a paired
    randomisation test: the share of random swaps of the two systems' ranks, pair by pair, whose difference is at least
    as large; ranks and not cosines are swapped, as two models' cosines need not be on one scale (after Deutsch, Dror
    and Roth 2021, who standardise the scores). The minimal detectable difference is 2.80 times the bootstrap's
    standard error.

    Args:
        a: (pairs,) cosines of the one.
        b: (pairs,) cosines of the other.
        scores: (pairs,) of people.
        seed: for the 2,000 resamples and the 10,000 swaps.

    Raises:
        ValueError: they are not as many, or there are none.
    """
    (mine, gold), (theirs, _) = _ranks(a, scores), _ranks(b, scores)
    n, delta = len(mine), _pearson(mine, gold) - _pearson(theirs, gold)
    if not math.isfinite(delta):
        return Difference(math.nan, math.nan, math.nan, 1.0, n, math.nan)
    rng = np.random.default_rng(seed)
    found = np.concatenate(
        [
            spearman_resampled(counts, mine, gold) - spearman_resampled(counts, theirs, gold)
            for counts in resampled(n, rng, _RESAMPLES)
        ]
    )
    low, high = _quantiles(found)
    known = found[np.isfinite(found)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return Difference(delta, low, high, _randomisation(mine, theirs, gold, rng), n, minimal_detectable(spread))


def _ranks(values: F32 | F64, scores: F64) -> tuple[F64, F64]:
    if values.shape != scores.shape or values.ndim != 1 or not len(values):
        raise ValueError(f"values and scores of the same pairs are needed, not {values.shape} and {scores.shape}")
    # It takes a second to import, and most evaluations are of retrieval.
    from scipy import stats

    if not (np.isfinite(values).all() and np.isfinite(scores).all()):
        return np.full(len(values), math.nan), stats.rankdata(scores)
    return stats.rankdata(values), stats.rankdata(scores)


def _pearson(a: F64, b: F64) -> float:
    """nan where one side does not vary."""
    x, y = a - a.mean(), b - b.mean()
    whole = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / whole if whole > 0 else math.nan


def spearman_resampled(counts: F64, a: F64, b: F64) -> F64:
    """Spearman's correlation in resamples of pairs, ranked anew in each.

    Args:
        counts: (resamples, pairs) how often each has each pair.
        a: (pairs,) values of the one side, or their ranks.
        b: (pairs,) values of the other, or their ranks.

    Returns:
        float64 (resamples,); nan where one side does not vary.
    """
    x, y = (_resample_ranks(counts, values) for values in (a, b))
    n = counts.shape[1]
    # Ranks of a resample, equal ones at their mean, average (n + 1) / 2 whatever it holds.
    x -= (n + 1) / 2
    y -= (n + 1) / 2
    across = np.einsum("ij,ij,ij->i", counts, x, y)
    whole = np.sqrt(np.einsum("ij,ij,ij->i", counts, x, x) * np.einsum("ij,ij,ij->i", counts, y, y))
    result = np.full(len(counts), math.nan)
    np.divide(across, whole, out=result, where=whole > 0)
    return result


def _resample_ranks(counts: F64, values: F64) -> F64:
    """The rank that each pair's value has in each resample."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) > 0])
    held = np.add.reduceat(counts[:, order], starts, axis=1)
    middle = np.cumsum(held, axis=1) - held + (held + 1) / 2
    group = np.empty(len(values), np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(values)]))
    found: F64 = middle[:, group]
    return found


def _quantiles(found: F64) -> tuple[float, float]:
    """The interval, without the resamples in which nothing varied."""
    known = found[np.isfinite(found)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, _LEVEL)
    return float(low), float(high)


def _randomisation(a: F64, b: F64, gold: F64, rng: np.random.Generator) -> float:
    apart = a != b
    if not apart.any():
        return 1.0
    limit = abs(_pearson(a, gold) - _pearson(b, gold)) - _ROUNDING
    extreme, swaps = 0, 0
    for found in _swapped_differences(a, b, gold, rng):
        extreme += int((np.abs(found) >= limit).sum())
        swaps += len(found)
    return (extreme + 1) / (swaps + 1)


def _swapped_differences(a: F64, b: F64, gold: F64, rng: np.random.Generator) -> Iterator[F64]:
    # With a sign s for each pair, the one side has (a + b)/2 + s(a - b)/2 and the other the same with -s, so that sums
    # over pairs, and of squares, are those of halves plus and minus what the signs are multiplied with.
    centre = a.mean()
    middle, half = (a + b) / 2 - centre, (a - b) / 2
    y = gold - gold.mean()
    n, spread = len(a), math.sqrt(float(y @ y))
    squares = float(middle @ middle + half @ half)
    for signs in swapped(n, rng):
        total, product, mixed = signs @ half, signs @ (half * y), signs @ (2 * middle * half)
        sides = []
        for side in (1, -1):
            mean = (middle.sum() + side * total) / n
            varying = np.sqrt(np.maximum(squares + side * mixed - n * mean**2, 0)) * spread
            found = np.zeros(len(signs))
            np.divide(float(middle @ y) + side * product, varying, out=found, where=varying > 0)
            sides.append(found)
        yield sides[0] - sides[1]
