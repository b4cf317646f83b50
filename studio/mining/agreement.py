"""How far judgements can be trusted: two judges' agreement, sampled precision, and what a margin says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item", bound=Hashable)
F64 = npt.NDArray[np.float64]

_Z = 1.959964  # two-sided 95 %
_NOT_A_VERDICT = frozenset({"skip"})
_FAR = 1.0
"""Margins beyond ± this count as this: an own positive that scores near 0 makes a margin of any size."""
_FEW = 30
_GRID = 48
_ZOOMS = 4
_DEPTH = 18.0
"""Points this far below the peak, in log units, hold no mass worth keeping."""
_NODES = 801


def wilson(successes: int, n: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) when n is 0.

    Args:
        z: standard normal quantile; the default makes it a two-sided 95 % interval.

    Raises:
        ValueError: more successes than trials, or a negative number.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if not n:
        return 0.0, 1.0
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Agreement beyond chance of two judges (Cohen 1960): 1 is perfect, 0 what chance gives.

    Args:
        a: one judge's verdicts.
        b: the other's, on the same items in the same order.

    Returns:
        Kappa, or None where it is undefined: no items, or both judges gave one and the same verdict throughout.

    Raises:
        ValueError: the two are not of one length.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} verdicts against {len(b)}")
    n = len(a)
    ours, theirs = Counter(a), Counter(b)
    # Whole numbers, so that "undefined" is not decided by rounding.
    by_chance = sum(count * theirs[verdict] for verdict, count in ours.items())
    if by_chance == n * n:
        return None
    agreed = sum(one == other for one, other in zip(a, b, strict=True))
    return (agreed * n - by_chance) / (n * n - by_chance)


@dataclass(frozen=True)
class Agreement:
    """Two judges on the items that both judged.

    `n`: those items. `observed`: the share on which they agree, None of none; `interval`: its Wilson interval.
    `kappa`: None where undefined. `confusion`: how often the first judge's verdict (outer key) met the second's.
    """

    n: int
    observed: float | None
    interval: tuple[float, float]
    kappa: float | None
    confusion: dict[str, dict[str, int]]


def agreement(a: Mapping[Item, str], b: Mapping[Item, str], ignored: AbstractSet[str] = _NOT_A_VERDICT) -> Agreement:
    """Compare two judges' verdicts by item; items that one of them did not judge do not count.

    Args:
        ignored: verdicts that are none. A skip is no opinion, so two skips are no agreement.
    """
    both = [(a[item], b[item]) for item in a if item in b and a[item] not in ignored and b[item] not in ignored]
    ours, theirs = [one for one, _ in both], [other for _, other in both]
    agreed = sum(one == other for one, other in both)
    met = Counter(both)
    verdicts = sorted({*ours, *theirs})
    return Agreement(
        n=len(both),
        observed=agreed / len(both) if both else None,
        interval=wilson(agreed, len(both)),
        kappa=cohen_kappa(ours, theirs),
        confusion={one: {other: met[one, other] for other in verdicts} for one in verdicts},
    )


@dataclass(frozen=True)
class Precision:
    """`hits` of `n` judged; `value` is None of none; `interval` is Wilson's at 95 %."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return wilson(self.hits, self.n)


@dataclass(frozen=True)
class SampledPrecision:
    """Precision of a queue from a random sample of it: answers only, and with partial answers counted."""

    full: Precision
    with_partly: Precision


def sampled_precision(counts: Mapping[str, int]) -> SampledPrecision:
    """Precision from the number of verdicts of each kind; skips and unknown verdicts do not count.

    Only verdicts on a random sample belong here: the top of the queue is better than the rest of it.

    Args:
        counts: of `also_answers`, `partly`, `does_not`; a missing one is 0.

    Raises:
        ValueError: a negative count.
    """
    full, partly, none = (counts.get(verdict, 0) for verdict in ("also_answers", "partly", "does_not"))
    if min(full, partly, none) < 0:
        raise ValueError("a count of verdicts is negative")
    n = full + partly + none
    return SampledPrecision(Precision(full, n), Precision(full + partly, n))


@dataclass(frozen=True)
class Prior:
    """What is believed of P(also answers | margin) = sigmoid(at_zero + slope · margin) before anything is judged.

    `at_zero` ~ Normal(`centre`, `spread`) in logits; `slope` ~ Gamma(`shape`, mean `slope`), so never below 0.

    The default says about .32 at margin 0, .15 at −.1 and .08 at −.2: a passage that scores like the own positive is
    often an answer, one well below it seldom. It is no more than a start. Base rates do not carry over between sets:
    of the top hits of MS MARCO about 70 % also answer, while a Korean law team found .6 % full and 4.7 % partial
    answers. The spread is wide enough to reach both, so a few dozen judgements overrule it.
    """

    centre: float = -1.05
    spread: float = 1.5
    slope: float = 15.0
    shape: float = 2.5


@dataclass(frozen=True)
class Calibration:
    """P(also answers | margin), averaged over every logistic curve in proportion to its posterior weight.

    An average of rising curves rises, and it is less extreme than the best single curve: with few judgements it stays
    near the prior and its interval is wide; with many it becomes the fitted curve. Far from every judged margin it is
    still the prior's belief that answers rise with the margin; the interval says how little that rests on.

    `n`, `positives`: judgements, and those that say "also answers"; always show `n` beside a probability.
    `half`: the margin at which the probability is .5, None when that lies beyond ± 1.
    `log_loss`, `brier`: of each judgement as predicted from all the others (leave-one-out), None of none.
    `base_log_loss`, `base_brier`: the same for a forecast that knows no margin, only how many of the others also
    answer (plus one of each kind).
    """

    n: int
    positives: int
    prior: Prior
    half: float | None
    log_loss: float | None
    brier: float | None
    base_log_loss: float | None
    base_brier: float | None
    _curves: tuple[F64, F64, F64] = field(repr=False, compare=False)
    """Of each curve kept: its logit at margin 0, its slope, its weight; weights sum to 1."""
    _table: tuple[F64, F64] = field(repr=False, compare=False)

    @property
    def rests_on(self) -> str:
        """`prior`, `few` (under 30 judgements, or under five of one kind) or `judgements`."""
        if not self.n:
            return "prior"
        enough = self.n >= _FEW and min(self.positives, self.n - self.positives) >= 5
        return "judgements" if enough else "few"

    @property
    def trustworthy(self) -> bool:
        """Enough judgements, and the margin tells more than the base rate does by both losses."""
        if self.rests_on != "judgements" or self.brier is None or self.log_loss is None:
            return False
        return self.brier < (self.base_brier or 0.0) and self.log_loss < (self.base_log_loss or 0.0)

    def probability(self, margins: npt.ArrayLike) -> F64:
        """P(also answers) of each margin, in the shape of `margins`; NaN where the margin is NaN."""
        nodes, means = self._table
        return np.asarray(np.interp(np.asarray(margins, dtype=np.float64), nodes, means), dtype=np.float64)

    def interval(self, margins: npt.ArrayLike, level: float = 0.95) -> tuple[F64, F64]:
        """Lower and upper end of the credible interval of each margin's probability.

        Args:
            level: mass between the ends, in (0, 1).

        Raises:
            ValueError: a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"{level} is no level of an interval")
        given = np.asarray(margins, dtype=np.float64)
        nodes, _ = self._table
        at_zero, slopes, weights = self._curves
        logits = at_zero[:, None] + slopes[:, None] * nodes[None, :]
        order = np.argsort(logits, axis=0)
        below = np.cumsum(weights[order], axis=0)
        ends = []
        for share in ((1 - level) / 2, (1 + level) / 2):
            place = np.minimum((below < share).sum(axis=0), len(weights) - 1)
            column = np.arange(nodes.size)
            ends.append(np.interp(given, nodes, _sigmoid(logits[order[place, column], column])))
        return np.asarray(ends[0]), np.asarray(ends[1])


def calibrate(
    margins: npt.ArrayLike, answers: Sequence[bool] | npt.NDArray[np.bool_], prior: Prior | None = None
) -> Calibration:
    """Learn what a margin says from judgements: Bayesian logistic regression, its posterior summed over a grid.

    The margin is (s(query, candidate) − s(query, own positive)) / |s(query, own positive)|; larger is more likely an
    answer. Nothing is fitted to a point, so no number of judgements, separable or of one class, makes a curve
    overconfident, and none at all gives the prior itself. See `Prior` for what that says and why.

    Args:
        margins: one a judgement; beyond ± 1 they count as ± 1.
        answers: whether the judge said "also answers"; the caller decides what "partly" is.
        prior: the stated one when None.

    Raises:
        ValueError: unequal lengths, more than one axis, or a margin that is not finite.
    """
    x = np.asarray(margins, dtype=np.float64)
    y = np.asarray(answers, dtype=bool)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"margins of shape {x.shape} against answers of shape {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError("a margin is not a finite number")
    x = np.clip(x, -_FAR, _FAR)
    prior = prior or Prior()
    at_zero, slopes, weights = curves = _posterior(x, y, prior)
    # Nodes crowd around 0, where queues live and steep curves turn.
    reach = math.asinh(_FAR / 0.02)
    nodes = np.sinh(np.linspace(-reach, reach, _NODES)) * 0.02
    means = np.asarray([float(weights @ _sigmoid(at_zero + slopes * node)) for node in nodes])
    n, positives = int(y.size), int(y.sum())
    log_loss, brier = _leave_one_out(x, y, curves)
    base_log_loss, base_brier = _base_losses(n, positives)
    return Calibration(
        n, positives, prior, _half(nodes, means), log_loss, brier, base_log_loss, base_brier, curves, (nodes, means)
    )


def _posterior(x: F64, y: npt.NDArray[np.bool_], prior: Prior) -> tuple[F64, F64, F64]:
    """Curves and weights: a grid over (logit at the mean margin, log slope), zoomed onto where the mass is."""
    # At the mean margin the level and the slope hardly depend on each other; at 0 they may lie on one thin ridge.
    middle = float(x.mean()) if x.size else 0.0
    levels = np.linspace(-40.0, 40.0, _GRID * 2)
    logs = np.linspace(math.log(prior.slope / 200), math.log(prior.slope * 200), _GRID * 2)
    density = np.empty((0, 0))
    for zoom in range(_ZOOMS):
        density = _log_density(levels, logs, x - middle, y, middle, prior)
        if zoom < _ZOOMS - 1:
            kept = density > density.max() - _DEPTH
            levels, logs = _around(levels, kept.any(axis=1)), _around(logs, kept.any(axis=0))
    weights = np.exp(density - density.max())
    slopes = np.broadcast_to(np.exp(logs)[None, :], weights.shape)
    at_zero = levels[:, None] - slopes * middle
    keep = weights > math.exp(-_DEPTH)
    return at_zero[keep], slopes[keep].copy(), weights[keep] / weights[keep].sum()


def _log_density(levels: F64, logs: F64, x: F64, y: npt.NDArray[np.bool_], middle: float, prior: Prior) -> F64:
    """Log posterior, up to a constant, of each level (rows) and log slope (columns)."""
    slopes = np.exp(logs)
    at_zero = levels[:, None] - slopes[None, :] * middle
    density = -0.5 * ((at_zero - prior.centre) / prior.spread) ** 2
    density = density + prior.shape * logs[None, :] - prior.shape / prior.slope * slopes[None, :]
    for column, slope in enumerate(slopes):
        logits = levels[:, None] + slope * x[None, :]
        density[:, column] -= np.logaddexp(0.0, np.where(y, -logits, logits)).sum(axis=1)
    return np.asarray(density, dtype=np.float64)


def _around(values: F64, kept: npt.NDArray[np.bool_]) -> F64:
    """A new grid over the values kept, and one step more on each side."""
    places = np.flatnonzero(kept)
    low, high = max(int(places[0]) - 1, 0), min(int(places[-1]) + 1, values.size - 1)
    return np.linspace(values[low], values[high], _GRID)


def _leave_one_out(x: F64, y: npt.NDArray[np.bool_], curves: tuple[F64, F64, F64]) -> tuple[float | None, float | None]:
    """Log loss and Brier score of each judgement as the others foresee it.

    Taking judgement i out of the posterior divides each curve's weight by what the curve gave it, so
    P(y_i | others) = 1 / E[1 / P(y_i | curve)]: nothing is fitted again.
    """
    if not x.size:
        return None, None
    at_zero, slopes, weights = curves
    seen = np.empty(x.size)
    for i, (margin, answer) in enumerate(zip(x, y, strict=True)):
        logits = at_zero + slopes * margin
        seen[i] = 1.0 / float(weights @ (1.0 + np.exp(-logits if answer else logits)))
    return float(-np.log(seen).mean()), float(((1.0 - seen) ** 2).mean())


def _base_losses(n: int, positives: int) -> tuple[float | None, float | None]:
    """Leave-one-out losses of the base rate, with one judgement of each kind added."""
    if not n:
        return None, None
    log_loss = brier = 0.0
    for count in (positives, n - positives):
        if count:
            seen = count / (n + 1)  # (count − 1 + 1) / (n − 1 + 2)
            log_loss -= count * math.log(seen)
            brier += count * (1 - seen) ** 2
    return log_loss / n, brier / n


def _half(nodes: F64, means: F64) -> float | None:
    if not means[0] < 0.5 < means[-1]:
        return None
    return float(np.interp(0.5, means, nodes))


def _sigmoid(logits: F64) -> F64:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float64)
