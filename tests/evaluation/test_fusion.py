from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.evaluation.fusion import reciprocal_ranks, weighted_sum, without
from studio.evaluation.results import Ranking

_LIST = st.dictionaries(st.integers(0, 9), st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0]), max_size=6)


def _ranking(lists: list[dict[int, float]], depth: int = 8) -> Ranking:
    """Each query's scores by passage, in order: equal ones by passage."""
    indices, scores = np.full((len(lists), depth), -1, np.int32), np.full((len(lists), depth), -np.inf, np.float32)
    for row, found in enumerate(lists):
        for place, (passage, score) in enumerate(sorted(found.items(), key=lambda item: (-item[1], item[0]))):
            indices[row, place], scores[row, place] = passage, score
    return Ranking(indices, scores)


def _listed(ranking: Ranking, row: int) -> list[int]:
    return [int(place) for place in ranking.indices[row] if place >= 0]


def _check(fused: Ranking, wanted: list[dict[int, float]], depth: int) -> None:
    for row, worth in enumerate(wanted):
        rounded = {passage: float(np.float32(score)) for passage, score in worth.items()}
        order = sorted(rounded, key=lambda passage: (-rounded[passage], passage))[:depth]
        assert fused.indices.shape == (len(wanted), depth)
        assert _listed(fused, row) == order
        np.testing.assert_allclose(fused.scores[row, : len(order)], [rounded[passage] for passage in order], rtol=1e-6)
        assert np.isneginf(fused.scores[row, len(order) :]).all()


@given(st.lists(st.tuples(_LIST, _LIST), min_size=1, max_size=4), st.integers(1, 12), st.integers(1, 80))
def test_reciprocal_ranks_are_those_of_a_plain_loop(queries: list[tuple[dict, dict]], depth: int, k: int) -> None:
    parts = [_ranking([query[part] for query in queries]) for part in (0, 1)]
    wanted: list[dict[int, float]] = []
    for row in range(len(queries)):
        worth: dict[int, float] = {}
        for part in parts:
            for rank, passage in enumerate(_listed(part, row), start=1):
                worth[passage] = worth.get(passage, 0.0) + 1 / (k + rank)
        wanted.append(worth)
    _check(reciprocal_ranks(parts, k, depth), wanted, depth)


@given(
    st.lists(st.tuples(_LIST, _LIST), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from([(), (1.0, 1.0), (0.75, 0.25), (0.0, 2.0), (6.0, 2.0)]),
)
def test_a_weighted_sum_is_that_of_a_plain_loop(
    queries: list[tuple[dict, dict]], depth: int, weights: tuple[float, ...]
) -> None:
    given_weights = weights or (1.0, 1.0)
    wanted: list[dict[int, float]] = []
    for query in queries:
        worth: dict[int, float] = {}
        for weight, found in zip(given_weights, query, strict=True):
            low, high = min(found.values(), default=0.0), max(found.values(), default=0.0)
            for passage, score in found.items():
                unit = (score - low) / (high - low) if high > low else 1.0
                worth[passage] = worth.get(passage, 0.0) + weight / sum(given_weights) * unit
        wanted.append(worth)
    parts = [_ranking([query[part] for query in queries]) for part in (0, 1)]
    _check(weighted_sum(parts, weights, depth), wanted, depth)


def test_weights_that_do_not_fit_and_rankings_of_other_queries_are_refused() -> None:
    one, two = _ranking([{1: 1.0}]), _ranking([{1: 1.0}, {2: 1.0}])
    for weights in ((1.0,), (1.0, -1.0), (0.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(UsageError, match="weights"):
            weighted_sum([one, one], weights)
    for rankings in ([], [one, two]):
        with pytest.raises(UsageError, match="same queries"):
            reciprocal_ranks(rankings)


@given(st.lists(st.tuples(_LIST, st.integers(-1, 9)), min_size=1, max_size=4), st.integers(1, 7))
def test_without_a_passage_those_below_it_move_up(queries: list[tuple[dict[int, float], int]], depth: int) -> None:
    lists, own = [query[0] for query in queries], [query[1] for query in queries]
    left = without(_ranking(lists), np.array(own, np.int32), depth)
    kept = [{passage: score for passage, score in found.items() if passage != out} for found, out in queries]
    wanted = _ranking(kept)
    np.testing.assert_array_equal(left.indices, wanted.indices[:, :depth])
    np.testing.assert_array_equal(left.scores, wanted.scores[:, :depth])
