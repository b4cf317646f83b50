"""Is one system better than another on the same queries, or is it chance?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

RESAMPLES = 10_000
_LEVEL = 0.05
_ALPHA_AND_POWER = 1.959964 + 0.841621
"""Standard normal quantiles: 5 % in both tails, and 80 % power."""
_VALUES_A_BLOCK = 400_000
"""What fits a processor's cache."""


class Difference(NamedTuple):
    """How much a system is above another, over paired queries.

    Attributes:
        delta: mean difference.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        p: two-sided p of the randomisation test.
        n: queries.
        minimal: the difference that so many queries, of such spread, would show in four of five experiments.
    """

    delta: float
    low: float
    high: float
    p: float
    n: int
    minimal: float


def paired(a: F64, b: F64, seed: int = 0) -> Difference:
    """Compare two systems, a with b, by their values for the same queries.

    p is Fisher's randomisation test: the share of random swaps of the two systems' values whose mean difference is at
    least as large, the observed one counted among them. The interval is the bootstrap's percentile interval over
    queries (Smucker, Allan and Carterette 2007 compare both). The minimal detectable difference is the paired t-test's,
    in its normal approximation: 2.80 · sd / √n for a two-sided test at 5 % with 80 % power.

    Args:
        a: (queries,) values of the one.
        b: (queries,) values of the other, in the same order.
        seed: for the 10,000 swaps and resamples.

    Raises:
        ValueError: the values are not as many, or there are none.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"values of the same queries are needed, not {a.shape} and {b.shape}")
    apart = a.astype(np.float64) - b
    n, delta = len(apart), float(apart.mean())
    if not math.isfinite(delta):
        return Difference(math.nan, math.nan, math.nan, 1.0, n, math.nan)
    rng = np.random.default_rng(seed)
    means = _bootstrap(apart, rng)
    low, high = np.quantile(means, (_LEVEL / 2, 1 - _LEVEL / 2))
    spread = float(apart.std(ddof=1)) if n > 1 else math.nan
    minimal = minimal_detectable(spread / math.sqrt(n))
    return Difference(delta, float(low), float(high), _randomisation(apart, rng), n, minimal)


def mean_intervals(values: F64, seed: int = 0) -> tuple[F64, F64]:
    """The 95 % bootstrap interval of each mean: the percentile interval over queries.

    Args:
        values: (queries, columns), such as a column a system or a metric; all are resampled alike.
        seed: for the 10,000 resamples.

    Returns:
        Lower and upper ends, (columns,) each; nan where a value is no number.

    Raises:
        ValueError: there are no queries.
    """
    if values.ndim != 2 or not len(values):
        raise ValueError(f"values of queries are needed, not {values.shape}")
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.concatenate([counts @ values / n for counts in resampled(n, rng)])
    low, high = np.quantile(means, (_LEVEL / 2, 1 - _LEVEL / 2), axis=0)
    # The sums of equal values differ in their last bits.
    same = (values == values[:1]).all(axis=0)
    return np.where(same, values[0], low), np.where(same, values[0], high)


def resampled(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Iterator[F64]:
    """How often each of n items is drawn in each resample: blocks of (resamples, n)."""
    for rows in _blocks(n, resamples):
        drawn = rng.integers(n, size=(rows, n), dtype=np.int64) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def swapped(n: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Iterator[F64]:
    """-1 or 1 for each of n items, at random: blocks of (resamples, n)."""
    for rows in _blocks(n, resamples):
        yield rng.integers(2, size=(rows, n), dtype=np.int8).astype(np.float64) * 2 - 1


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values of several comparisons (Holm 1979): below 5 % after it, all are at once with 95 % certainty."""
    adjusted, so_far = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        so_far = max(so_far, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = so_far
    return adjusted


def minimal_detectable(spread: float) -> float:
    """The difference that shows in four of five experiments at 5 %, two-sided, from the standard error of it."""
    return _ALPHA_AND_POWER * spread


def _bootstrap(apart: F64, rng: np.random.Generator) -> F64:
    """The mean difference of as many queries, drawn with replacement, for each resample."""
    n = len(apart)
    means = [apart[rng.integers(n, size=(rows, n), dtype=np.int32)].mean(axis=1) for rows in _blocks(n)]
    return np.concatenate(means)


def _randomisation(apart: F64, rng: np.random.Generator) -> float:
    # Queries on which both are equal have no sign to swap.
    signed = apart[apart != 0]
    if not len(signed):
        return 1.0
    # Sums in another order differ in their last bits; what is equal but for these counts as equal.
    limit = abs(signed.sum()) - 1e-9 * np.abs(signed).sum()
    extreme = 0
    for signs in swapped(len(signed), rng):
        extreme += int((np.abs(signs @ signed) >= limit).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def _blocks(width: int, resamples: int = RESAMPLES) -> list[int]:
    """How many resamples to draw at once, so that memory stays small."""
    # Small numbers are drawn four at a time: with whole fours in a block they are the same however large the blocks.
    most = max(4, _VALUES_A_BLOCK // width // 4 * 4)
    whole, rest = divmod(resamples, most)
    return [most] * whole + [rest] * bool(rest)
