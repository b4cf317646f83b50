"""Spearman's correlation, its interval and its difference, and the accuracy on triplets, against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from studio.evaluation import significance
from studio.evaluation.metrics import F64
from studio.evaluation.similarity import (
    accuracies,
    spearman,
    spearman_difference,
    spearman_interval,
    spearman_resampled,
)


def correlated(n: int, noise: float, seed: int) -> tuple[F64, F64]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 11, n) / 2
    return gold + rng.normal(0, noise, n), gold


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5)), min_size=2, max_size=30))
def test_it_is_scipys_whatever_is_equal(pairs: list[tuple[int, int]]) -> None:
    mine, gold = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    if len(set(mine)) == 1 or len(set(gold)) == 1:
        assert math.isnan(spearman(mine, gold)) and math.isnan(spearman_interval(mine, gold)[0])
    else:
        assert spearman(mine, gold) == pytest.approx(stats.spearmanr(mine, gold).statistic, abs=1e-12)


def test_the_interval_is_scipys_bootstrap() -> None:
    mine, gold = correlated(150, 1.5, 1)
    mine = np.round(mine, 1)
    theirs = stats.bootstrap(
        (mine, gold),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert spearman_interval(mine, gold) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_a_resample_is_ranked_anew() -> None:
    mine, gold = correlated(12, 1.5, 3)
    draws = np.random.default_rng(5).integers(12, size=(400, 12))
    counts = np.stack([np.bincount(draw, minlength=12) for draw in draws]).astype(np.float64)
    each = [stats.spearmanr(mine[draw], gold[draw]).statistic for draw in draws]
    assert spearman_resampled(counts, mine, gold) == pytest.approx(each, abs=1e-12)
    assert np.isnan(spearman_resampled(np.eye(12) * 12, mine, gold)).all()


def test_p_is_that_of_all_swaps_of_ranks() -> None:
    rng = np.random.default_rng(2)
    gold = rng.random(10)
    a, b = gold + rng.normal(0, 0.2, 10), (gold + rng.normal(0, 0.5, 10)) * 7 - 3
    ranks = [stats.rankdata(side) for side in (a, b)]
    observed = abs(spearman(a, gold) - spearman(b, gold))
    extreme = 0
    for swap in itertools.product((False, True), repeat=10):
        sides = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        found = [stats.pearsonr(side, stats.rankdata(gold)).statistic for side in sides]
        extreme += abs(found[0] - found[1]) >= observed - 1e-12
    found = spearman_difference(a, b, gold)
    assert found.p == pytest.approx(extreme / 2**10, abs=0.015)
    assert abs(found.delta) == pytest.approx(observed) and found.n == 10


def test_a_better_system_is_told_from_an_equal_one() -> None:
    (good, gold), (bad, _) = correlated(400, 0.5, 1), correlated(400, 3, 1)
    better = spearman_difference(good, bad * 100, gold)
    assert better.low > 0 and better.p < 0.001 and better.minimal < better.delta
    same = spearman_difference(good, good * 3 + 1, gold)
    assert (same.delta, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert spearman_difference(bad, good, gold).delta == -better.delta
    broken = spearman_difference(np.full(400, math.nan), good, gold)
    assert math.isnan(broken.delta) and broken.p == 1 and broken.n == 400
    with pytest.raises(ValueError, match="same pairs"):
        spearman(good, gold[:5])


def test_chance_is_found_as_often_as_it_says() -> None:
    low_p = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        gold = rng.random(60)
        a, b = (gold + rng.normal(0, 0.5, 60) for _ in range(2))
        low_p += spearman_difference(a, b, gold, seed).p < 0.05
    assert low_p <= 6


def test_a_tie_is_no_hit() -> None:
    found = accuracies(np.array([0.5, 0.5, 0.4, math.nan]), np.array([0.4, 0.5, 0.5, 0.1]))
    assert found.tolist() == [1, 0, 0, 0]


def test_many_pairs_take_little_memory() -> None:
    assert significance.RESAMPLES == sum(len(block) for block in significance.resampled(3_000, np.random.default_rng()))
    mine, gold = correlated(3_000, 1, 0)
    low, high = spearman_interval(mine, gold)
    assert low < spearman(mine, gold) < high < low + 0.05
