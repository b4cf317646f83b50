"""How long the texts are that a filter leaves: bins that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from studio.errors import UsageError
from studio.view.bench import Bench
from studio.view.find import conditions, counts, every
from studio.view.where import Where

UNITS = {"characters": "chars", "words": "words", "tokens": "tokens"}
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)

_TAIL = 0.995
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Histogram:
    """Lengths in bins: bin i counts `edges[i] <= length < edges[i + 1]`.

    All bins are equally wide, of 1, 2 or 5 times a power of ten; but where `more`, the last takes in the longest half
    per cent, as wide as that is. `over_limit`: texts longer than `limit` tokens (0 where there is no limit).
    `quantiles`: the length at each of QUANTILES. Without texts there are no bins, and no quantiles.
    """

    edges: list[int]
    counts: list[int]
    over_limit: int
    limit: int | None
    quantiles: dict[float, int]
    more: bool


def histogram(
    bench: Bench,
    where: Where,
    column: Literal["query", "positive"],
    unit: Literal["characters", "words", "tokens"],
    bins: int,
    limit: int | None = None,
    marked: np.ndarray | None = None,
) -> Histogram:
    """Count the lengths of `column` of the rows that `where` leaves, in at most `bins` bins.

    Bins are linear, not logarithmic: a bar twice as far to the right is a text twice as long, and the limit stands
    where one expects it.

    Args:
        limit: the most tokens a model reads of a text; counts for tokens only.
        marked: as for `find`.

    Raises:
        UsageError: tokens have not been counted, `bins` is less than 2, or as for `find`.
    """
    if bins < 2:
        raise UsageError("A histogram has at least two bins.", where=f"bins {bins}", remedy="ask for more")
    limit = limit if unit == "tokens" else None
    sizes = counts(bench, column, UNITS[unit])[every(bench, conditions(bench, where, marked))]
    sizes = sizes[sizes >= 0]
    if not len(sizes):
        return Histogram([], [], 0, limit, {}, more=False)
    at = np.quantile(sizes, (*QUANTILES, _TAIL), method="inverted_cdf").astype(int).tolist()
    quantiles, tail, longest = dict(zip(QUANTILES, at, strict=False)), at[-1], int(sizes.max())
    edges = _edges(int(sizes.min()), tail, bins)
    more = longest >= edges[-1]
    if more:
        edges = _edges(int(sizes.min()), tail, bins - 1)
        more = longest >= edges[-1]
        edges += [longest + 1] if more else []
    # `np.histogram` would count the last edge in.
    numbers = np.bincount(np.searchsorted(edges, sizes, side="right") - 1, minlength=len(edges) - 1)
    over = int((sizes > limit).sum()) if limit is not None else 0
    return Histogram(edges, numbers.tolist(), over, limit, quantiles, more)


def _edges(low: int, high: int, bins: int) -> list[int]:
    """Edges, multiples of one step, of at most `bins` bins that hold `low` and `high`."""
    power = 1
    while True:
        for step in (power * factor for factor in _STEPS):
            first, last = low // step, high // step
            if last - first < bins:
                return [step * place for place in range(first, last + 2)]
        power *= 10
