"""The closed form is what is counted over batches that were drawn."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.mining import exposure as module
from studio.mining.batches import draw_batches
from studio.mining.conflicts import RowKeys
from studio.mining.exposure import (
    ANSWERS_SCHEMA,
    COMPARISON_SCHEMA,
    ROWS_SCHEMA,
    answer_counts,
    compare,
    expected,
    simulate,
)


def rows_of(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=ROWS_SCHEMA, orient="row")


def answers_of(weights: dict[tuple[int, int], float]) -> pl.DataFrame:
    return pl.DataFrame([(*pair, weight) for pair, weight in weights.items()], schema=ANSWERS_SCHEMA, orient="row")


def example() -> tuple[pl.DataFrame, pl.DataFrame]:
    """research/curation.md: 20,000 rows, 1,000 pairs with one answer and 200 groups of five."""
    group = np.r_[np.repeat(np.arange(1_000), 2), np.repeat(1_000 + np.arange(200), 5), 1_200 + np.arange(17_000)]
    rows = pl.DataFrame({"query": np.arange(20_000), "passage": np.arange(20_000)}, schema=ROWS_SCHEMA)
    members = rows.with_columns(group=pl.Series(group))
    answers = members.select("query", "group").join(members.select("passage", "group"), on="group")
    return rows, answers.select("query", "passage", weight=pl.lit(1.0))


def test_the_example_of_the_research() -> None:
    k = answer_counts(*example())
    assert k.sum() == 6_000 and sorted(set(k.tolist())) == [0, 1, 4]
    assert [round(expected(k, batch).per_batch, digits) for batch, digits in [(32, 3), (512, 1), (2048, 0)]] == [
        0.015,
        3.9,
        63,
    ]
    large = expected(k, 8_192)
    assert round(large.per_batch) == 1_007 and round(large.anchors_hit, 3) == 0.085
    assert expected(k, 1_024, devices=8, gather=True) == large
    assert expected(k, 512, devices=8) == expected(k, 512)
    assert (large.effective_batch, large.negatives) == (8_192, 8_191)
    assert large.per_epoch == pytest.approx(6_000 * 8_191 / 19_999)


def test_rows_are_counted_by_their_passages() -> None:
    rows = rows_of([(0, 0), (1, 0), (2, 1), (0, 0), (3, 2), (0, 3)])
    answers = answers_of({(0, 0): 1, (1, 0): 1, (2, 1): 1, (3, 2): 1, (0, 3): 1, (2, 2): 0.25, (3, 0): 0.5})
    # Row 0: passage 0 in two other rows and passage 3 in one. Row 4: half of the three rows of passage 0.
    assert answer_counts(rows, answers).tolist() == [3, 2, 0.25, 3, 1.5, 3]
    assert answer_counts(rows_of([(7, 7)]), answers).tolist() == [0]
    assert len(answer_counts(rows_of([]), answers)) == 0


def test_a_passage_of_many_rows_is_no_product_of_rows() -> None:
    rows = pl.DataFrame({"query": np.arange(200_000), "passage": np.zeros(200_000)}, schema=ROWS_SCHEMA)
    k = answer_counts(rows, rows.with_columns(weight=pl.lit(1.0)))
    assert (k == 199_999).all()
    assert expected(k, 128).anchors_hit == 1 and expected(k, 128).per_batch == pytest.approx(128 * 127)


@given(st.lists(st.integers(0, 9), min_size=10, max_size=10), st.integers(2, 10))
def test_the_chance_of_an_anchor_is_the_ratio_of_binomials(counts: list[int], batch: int) -> None:
    spared = [comb(9 - k, batch - 1) / comb(9, batch - 1) for k in counts]
    assert expected(np.array(counts, float), batch).anchors_hit == pytest.approx(1 - np.mean(spared))


def test_counts_that_are_no_whole_numbers_lie_between() -> None:
    hits = [expected(np.full(50, k), 20).anchors_hit for k in np.arange(0, 35, 0.25)]
    assert all(a <= b for a, b in pairwise(hits)) and hits[0] == 0 and max(hits) == 1
    # Two answers that are each one with probability a half: the truth is the mean over 0, 1 and 2 of them.
    truth = np.mean([expected(np.full(50, k), 20).anchors_hit for k in (0.0, 1.0, 1.0, 2.0)])
    assert truth <= expected(np.full(50, 1.0), 20).anchors_hit <= truth + 0.05


def test_there_is_nothing_to_meet_in_a_batch_of_one() -> None:
    for k, batch in [(np.zeros(0), 8), (np.ones(1), 8), (np.ones(9), 1)]:
        found = expected(k, batch)
        assert (found.per_batch, found.per_epoch, found.anchors_hit) == (0, 0, 0)
    assert expected(np.full(4, 3.0), 100).per_batch == 12
    with pytest.raises(ValueError, match="1 or more"):
        expected(np.ones(3), 0)


def plainly(
    rows: list[tuple[int, int]], weights: dict[tuple[int, int], float], batches: list[list[int]]
) -> tuple[float, float]:
    """Pairs and anchors hit in an epoch, as they are defined."""
    total, hit = 0.0, 0.0
    for batch in batches:
        spared = dict.fromkeys(batch, 1.0)
        for i, j in permutations(batch, 2):
            weight = weights.get((rows[i][0], rows[j][1]), 0.0)
            total += weight
            spared[i] *= 1 - weight
        hit += sum(1 - chance for chance in spared.values())
    return total, hit / sum(map(len, batches))


numbers = st.integers(0, 4)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20),
    st.dictionaries(st.tuples(numbers, numbers), st.sampled_from([0.25, 0.5, 1.0]), max_size=12),
    st.integers(2, 7),
)
def test_what_is_counted_is_what_is_defined(
    rows: list[tuple[int, int]], weights: dict[tuple[int, int], float], batch_size: int
) -> None:
    weights = weights | dict.fromkeys(rows, 1.0)
    batches = draw_batches(RowKeys.none(len(rows)), batch_size, (0, 0)).batches
    found = simulate(rows_of(rows), answers_of(weights), batches)
    total, hit = plainly(rows, weights, batches)
    assert found.per_epoch == pytest.approx(total)
    assert found.per_batch == pytest.approx(total / len(batches))
    assert found.anchors_hit == pytest.approx(hit)
    together = [batches[0] + batches[1], *batches[2:]] if len(batches) > 1 else batches
    gathered = simulate(rows_of(rows), answers_of(weights), batches[:2] if len(batches) > 1 else batches, across=2)
    assert gathered.per_batch == pytest.approx(plainly(rows, weights, together[:1])[0])
    assert gathered.effective_batch == len(together[0]) == gathered.negatives + 1


def test_parts_of_an_epoch_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, answers = example()
    batches = draw_batches(RowKeys.none(20_000), 512, (0, 0)).batches
    whole = simulate(rows, answers, batches)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 3_000)
    parts = simulate(rows, answers, batches)
    assert parts.per_epoch == pytest.approx(whole.per_epoch) and parts.anchors_hit == pytest.approx(whole.anchors_hit)
    assert simulate(rows, answers, []).per_epoch == 0


@pytest.mark.parametrize(("batch", "epochs"), [(64, 24), (512, 16), (2_048, 8)])
def test_the_closed_form_is_within_three_sigma_of_what_is_counted(batch: int, epochs: int) -> None:
    rows, answers = example()
    closed = expected(answer_counts(rows, answers), batch)
    drawn = [draw_batches(RowKeys.none(20_000), batch, (0, epoch), drop_last=True) for epoch in range(epochs)]
    found = [simulate(rows, answers, epoch.batches) for epoch in drawn]
    for name in ("per_batch", "anchors_hit"):
        counted = np.array([getattr(exposure, name) for exposure in found])
        sigma = counted.std(ddof=1) / np.sqrt(epochs)
        assert abs(counted.mean() - getattr(closed, name)) < 3 * sigma, name


def test_samplers_side_by_side() -> None:
    """Queries of one passage: NO_DUPLICATES keeps that passage apart, only the keys of all answers keep the others."""
    rows = rows_of([(i, i // 2) for i in range(2_000)])
    weights = {(i, i // 2): 1.0 for i in range(2_000)} | {(i, (i // 2 + 1) % 1_000): 1.0 for i in range(400)}
    answers = answers_of(weights)
    number = np.arange(2_000)
    text = RowKeys.of(2_000, number, number // 2)
    edges = np.array(list(weights))
    passage = number // 2
    all_rows = np.r_[number, edges[:, 0], *(np.flatnonzero(passage == p) for p in edges[:, 1])]
    count = [int((passage == p).sum()) for p in edges[:, 1]]
    all_codes = np.r_[number // 2, 5_000 + np.arange(len(edges)), np.repeat(5_000 + np.arange(len(edges)), count)]
    everything = RowKeys.of(2_000, all_rows, all_codes)
    samplers = {"random": RowKeys.none(2_000), "no_duplicates": text, "conflict_aware": everything}
    table = compare(rows, answers, samplers, 64, devices=2, gather=True)
    assert table.schema == COMPARISON_SCHEMA
    assert table["effective_batch"].to_list() == [128] * 4
    closed, random, no_duplicates, aware = table["per_batch"].to_list()
    assert random == pytest.approx(closed, rel=0.2)
    assert 0 < no_duplicates < random and aware == 0
    assert table["left_over"][1:].to_list() == [2_000 % 128] * 3
