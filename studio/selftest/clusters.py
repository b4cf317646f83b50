"""B-cubed: how well predicted clusters fit true ones, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.project.groups import components

_RESAMPLES = 1000


@dataclass(frozen=True)
class Mean:
    """A mean over rows with its 95 % bootstrap interval (percentiles of 1,000 resamples of the rows)."""

    value: float
    interval: tuple[float, float]
    rows: int


@dataclass(frozen=True)
class BCubed:
    """B-cubed precision and recall (Bagga and Baldwin 1998) over the rows that are in a cluster on either side.

    Precision of a row: the share of its predicted cluster that is in its true cluster. Recall: the share of its true
    cluster that is in its predicted one.
    """

    precision: Mean
    recall: Mean


def b_cubed(rows: Sequence[str], predicted: Iterable[frozenset[str]], true: Iterable[frozenset[str]]) -> BCubed | None:
    """Compare clusters given as pairs of rows that belong together; None where neither side has a cluster."""
    index = {row: number for number, row in enumerate(rows)}
    ours, theirs = _labels(index, predicted), _labels(index, true)
    in_ours, in_theirs = np.bincount(ours)[ours], np.bincount(theirs)[theirs]
    both = ours * (theirs.max(initial=0) + 1) + theirs
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    together = counts[inverse]
    clustered = (in_ours > 1) | (in_theirs > 1)
    if not clustered.any():
        return None
    return BCubed(_mean((together / in_ours)[clustered]), _mean((together / in_theirs)[clustered]))


def _labels(index: Mapping[str, int], pairs: Iterable[frozenset[str]]) -> NDArray[np.int64]:
    ends = [[index[row] for row in pair] for pair in pairs if len(pair) == 2 and all(row in index for row in pair)]
    array = np.array(ends, np.int64).reshape(-1, 2)
    return components(len(index), [(array[:, 0], array[:, 1])])


def _mean(values: NDArray[np.float64]) -> Mean:
    draws = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Mean(float(values.mean()), (float(low), float(high)), len(values))
