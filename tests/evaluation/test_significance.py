"""Randomisation test, bootstrap interval and verdict against what is known of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from studio.evaluation.significance import Difference, holm, mean_intervals, paired, resampled
from studio.evaluation.verdict import Verdict, verdict

NONE = Difference(0, 0, 0, 1, 1, 0)


def test_p_is_that_of_all_swaps() -> None:
    a = np.array([0.9, 0.4, 0.8, 0.7, 0.3, 0.9, 0.6, 0.2, 0.5, 0.8])
    b = np.array([0.5, 0.5, 0.6, 0.7, 0.1, 0.4, 0.5, 0.3, 0.2, 0.6])
    apart = a - b
    swaps = np.array(list(itertools.product((-1, 1), repeat=len(a)))) @ apart
    exact = float((np.abs(swaps) >= abs(apart.sum()) - 1e-12).mean())
    found = paired(a, b)
    assert found.p == pytest.approx(exact, abs=0.01) and found.n == 10
    assert found.delta == pytest.approx(apart.mean())
    assert paired(b, a).delta == -found.delta and paired(a, b) == found
    assert paired(a, b, seed=1).p == pytest.approx(found.p, abs=0.01)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    held = low_p = 0
    for seed in range(60):
        a, b = rng.normal(0.1, 1, 40), rng.normal(0, 1, 40)
        found = paired(a, b, seed)
        held += found.low <= 0.1 <= found.high
        low_p += paired(a - 0.1, b, seed).p < 0.05
    assert 52 <= held <= 60 and low_p <= 8


def test_it_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(300)
    b = a - rng.normal(0.01, 0.1, 300)
    found = paired(a, b)
    theirs = stats.bootstrap((a - b,), np.mean, method="percentile", n_resamples=10_000, rng=rng).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.001)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)
    # The difference that 300 queries of this spread show with 80 % power, by the t-test's own distribution.
    shift = found.minimal / float((a - b).std(ddof=1)) * math.sqrt(300)
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, 299), 299, shift)
    assert power == pytest.approx(0.8, abs=0.01)


def test_equal_systems_single_queries_and_what_is_no_number() -> None:
    same = np.full(50, 0.5)
    assert paired(same, same) == Difference(0, 0, 0, 1, 50, 0)
    one = paired(np.array([1.0]), np.array([0.0]))
    assert (one.delta, one.low, one.high, one.p, one.n) == (1, 1, 1, 1, 1) and math.isnan(one.minimal)
    broken = paired(np.array([math.nan, 1]), np.array([0.5, 0.5]))
    assert math.isnan(broken.delta) and broken.p == 1
    for a, b in ((np.ones(2), np.ones(3)), (np.ones(0), np.ones(0))):
        with pytest.raises(ValueError, match="same queries"):
            paired(a, b)


def test_many_queries_take_little_memory_and_a_large_difference_a_small_p() -> None:
    a = np.random.default_rng(0).random(5_000)
    found = paired(a + 0.1, a * 1.0)
    assert found.p == pytest.approx(1 / 10_001) and found.low == pytest.approx(0.1) == found.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_of_bonferroni(ps: list[float]) -> None:
    adjusted = holm(ps)
    order = sorted(range(len(ps)), key=lambda at: ps[at])
    for level in (0.01, 0.05, 0.5):
        rejected = set()
        for place, at in enumerate(order):
            if ps[at] * (len(ps) - place) > level:
                break
            rejected.add(at)
        assert {at for at, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


@pytest.mark.parametrize(
    ("score", "baseline", "told"),
    [
        (0.617, 0.612, Verdict.WIN),
        (0.6169, 0.612, Verdict.MARGINAL),
        (0.612, 0.612, Verdict.MARGINAL),
        (0.1 + 0.2, 0.3, Verdict.MARGINAL),
        (0.3, 0.1 + 0.2, Verdict.MARGINAL),
        (0.6119, 0.612, Verdict.REGRESSION),
        (math.nan, 0.612, Verdict.REGRESSION),
    ],
)
def test_what_is_a_win(score: float, baseline: float, told: Verdict) -> None:
    assert verdict(score, baseline, NONE).verdict is told


def test_the_line_is_the_documented_one() -> None:
    found = verdict(0.655, 0.612, Difference(0.043, 0.021, 0.065, 0.0004, 500, 0.03))
    assert found.line == (
        "VERDICT: WIN | score=0.6550 | baseline=0.6120 | delta=+0.0430 | ci=[+0.0210,+0.0650] p=0.0004 n=500"
    )
    worse = verdict(0.5, 0.6, Difference(-0.1, -0.2, 0.01, 0.06, 40, 0.1)).line
    assert worse == (
        "VERDICT: REGRESSION | score=0.5000 | baseline=0.6000 | delta=-0.1000 | ci=[-0.2000,+0.0100] p=0.0600 n=40"
    )


def test_the_interval_of_each_mean_is_scipys() -> None:
    rng = np.random.default_rng(5)
    values = np.stack([rng.random(200), rng.random(200) < 0.3, np.full(200, 0.1)], axis=1)
    low, high = mean_intervals(values)
    for column in (0, 1):
        theirs = stats.bootstrap((values[:, column],), np.mean, method="percentile", rng=rng).confidence_interval
        assert (low[column], high[column]) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert low[2] == high[2] == 0.1
    values[3, 0] = math.nan
    low, high = mean_intervals(values)
    assert math.isnan(low[0]) and math.isnan(high[0]) and low[1] > 0
    with pytest.raises(ValueError, match="values of queries"):
        mean_intervals(values[:0])


def test_every_resample_has_as_many_items_as_there_are() -> None:
    counts = np.concatenate(list(resampled(7, np.random.default_rng(0), 50)))
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all()
    assert len({tuple(row) for row in counts}) > 30
