"""Is one system better than another on the same queries, or is it chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

RESAMPLES = 10_000
_LEVEL = 0.05
_ALPHA_AND_POWER = 1.959964 + 0.841621
"""Standard normal quantiles: 5 % in both tails, and 80 % power."""
_VALUES_A_BLOCK = 4_000_000


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
    return Difference(
        delta, float(low), float(high), _randomisation(apart, rng), n, _ALPHA_AND_POWER * spread / math.sqrt(n)
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values of several comparisons (Holm 1979): below 5 % after it, all are at once with 95 % certainty."""
    adjusted, so_far = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        so_far = max(so_far, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = so_far
    return adjusted


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
    for rows in _blocks(len(signed)):
        signs = rng.integers(2, size=(rows, len(signed)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ signed) >= limit).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def _blocks(width: int) -> list[int]:
    """How many resamples to draw at once, so that memory stays small."""
    most = max(1, _VALUES_A_BLOCK // width)
    whole, rest = divmod(RESAMPLES, most)
    return [most] * whole + [rest] * bool(rest)
