"""No two rows of a batch share a key, every row is used once at most, and almost every row is used."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.mining.batches import Drawn, draw_batches
from studio.mining.conflicts import EDGES_SCHEMA, GROUPS_SCHEMA, Conflicts, RowKeys


def keys_of(rows: Sequence[Sequence[int]]) -> RowKeys:
    pairs = [(row, key) for row, own in enumerate(rows) for key in own]
    return RowKeys.of(
        len(rows), np.array([row for row, _ in pairs], np.int64), np.array([key for _, key in pairs], np.int64)
    )


def conflicts(keys: RowKeys, drawn: Drawn, across: int = 1) -> int:
    """How many keys are once too often in a batch (or in `across` of them)."""
    batch_of = np.full(keys.rows, -1, np.int64)
    for number, batch in enumerate(drawn.batches):
        batch_of[batch] = number // across
    entries = batch_of[keys.holders] >= 0
    met = batch_of[keys.holders][entries] * len(keys.sizes) + keys.keys[entries]
    return len(met) - len(np.unique(met))


def used(drawn: Drawn) -> list[int]:
    return [row for batch in drawn.batches for row in batch]


some_rows = st.lists(st.lists(st.integers(0, 7), max_size=3), max_size=60)


@given(some_rows, st.integers(1, 9), st.integers(0, 3), st.booleans(), st.integers(1, 3))
def test_no_batch_has_a_conflict_and_no_row_comes_twice(
    rows: list[list[int]], batch_size: int, epoch: int, drop_last: bool, across: int
) -> None:
    keys = keys_of(rows)
    drawn = draw_batches(keys, batch_size, (1, epoch), drop_last=drop_last, across=across)
    for start in range(0, len(drawn.batches), across):
        met = [row for batch in drawn.batches[start : start + across] for row in batch]
        assert keys.conflicts_between(met) == []
    assert conflicts(keys, drawn, across) == 0
    assert len(set(used(drawn))) == len(used(drawn)) == len(rows) - drawn.left_over
    assert drawn == draw_batches(keys, batch_size, (1, epoch), drop_last=drop_last, across=across)
    sizes = [len(batch) for batch in drawn.batches]
    assert sizes[: drawn.full] == [batch_size] * drawn.full
    assert sizes[drawn.full :] == sorted(sizes[drawn.full :], reverse=True)
    assert all(1 < size < batch_size for size in sizes[drawn.full :])
    if drop_last or across > 1:
        assert drawn.full == len(sizes) and len(sizes) % across == 0


@given(st.integers(0, 200), st.integers(1, 20), st.integers(1, 4))
def test_without_keys_every_row_is_used(rows: int, batch_size: int, across: int) -> None:
    drawn = draw_batches(RowKeys.none(rows), batch_size, (0, 0))
    alone = rows % batch_size == 1
    assert sorted(used(drawn))[: rows - alone] == sorted(used(drawn)) and drawn.left_over == alone
    assert draw_batches(RowKeys.none(rows), batch_size, (0, 0), drop_last=True).left_over == rows % batch_size
    assert draw_batches(RowKeys.none(rows), batch_size, (0, 0), across=across).left_over == (
        rows % (batch_size * across) if across > 1 else alone
    )


def test_epochs_and_seeds_differ_and_repeat() -> None:
    keys = keys_of([[i % 40] for i in range(400)])
    first = draw_batches(keys, 16, (0, 0)).batches
    assert first == draw_batches(keys, 16, (0, 0)).batches
    others = [draw_batches(keys, 16, seed).batches for seed in [(0, 1), (1, 0), (0, 0, 1)]]
    assert all(first != other for other in others) and others[0] != others[1]


def generated(rows: int, seed: int) -> tuple[Conflicts, list[pl.Series]]:
    """A fifth of the rows in groups, passages that repeat, and edges between queries and passages."""
    rng = np.random.default_rng(seed)
    query = pl.Series("query", [f"q{i}" for i in range(rows)])
    passage = pl.Series("positive", [f"p{min(i, rows // 2 + i // 3)}" for i in range(rows)])
    grouped = [f"p{i}" for i in range(rows // 5)]
    groups = pl.DataFrame({"text": grouped, "group": np.arange(rows // 5) // 4}, schema=GROUPS_SCHEMA)
    ends = rng.integers(rows, size=(rows // 4, 2))
    edges = pl.DataFrame({"a": query[ends[:, 0].tolist()], "b": passage[ends[:, 1].tolist()]}, schema=EDGES_SCHEMA)
    return Conflicts(groups, edges), [query, passage]


@pytest.mark.parametrize(("batch_size", "across"), [(8, 1), (64, 1), (256, 1), (32, 4)])
def test_three_epochs_have_no_conflict_and_use_almost_every_row(batch_size: int, across: int) -> None:
    given_conflicts, columns = generated(2_000, 3)
    keys = given_conflicts.keys(columns)
    for epoch in range(3):
        drawn = draw_batches(keys, batch_size, (0, epoch), across=across)
        assert conflicts(keys, drawn, across) == 0
        assert drawn.left_over < (batch_size * across if across > 1 else 2)
        random = draw_batches(RowKeys.none(2_000), batch_size, (0, epoch))
        assert conflicts(keys, random) > 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijkl"), st.sampled_from("abcdefghijkl"), st.sampled_from("abcdefghijkl")),
        max_size=40,
    ),
    st.integers(2, 6),
)
def test_no_text_is_twice_in_a_batch_in_any_column(rows: list[tuple[str, str, str]], batch_size: int) -> None:
    """The guarantee of NO_DUPLICATES, checked as it says it."""
    keys = Conflicts.none().keys([pl.Series([row[i] for row in rows], dtype=pl.String) for i in range(3)])
    for batch in draw_batches(keys, batch_size, (0, 0)).batches:
        seen: set[str] = set()
        for row in batch:
            assert seen.isdisjoint(rows[row])
            seen.update(rows[row])


def test_a_text_that_many_rows_share_is_once_in_every_batch() -> None:
    """One row in five has the same passage: as many of them are used as there are batches, other ones each epoch."""
    rows, batch_size = 50_000, 64
    keys = RowKeys.of(rows, np.arange(10_000), np.zeros(10_000, np.int64))
    start = time.perf_counter()
    epochs = [draw_batches(keys, batch_size, (0, epoch)) for epoch in range(3)]
    assert time.perf_counter() - start < 5
    for drawn in epochs:
        assert conflicts(keys, drawn) == 0
        # 40,000 others and one of the shared a batch, all batches full.
        assert drawn.full == 40_000 // (batch_size - 1)
        assert drawn.left_over == rows - len(used(drawn)) < 10_000 - drawn.full + 1
    taken = [{row for row in used(drawn) if row < 10_000} for drawn in epochs]
    assert len(taken[0] & taken[1]) < len(taken[0]) / 4


def test_rows_of_a_group_are_spread_over_the_whole_epoch() -> None:
    keys = RowKeys.of(4_000, np.arange(300), np.zeros(300, np.int64))
    drawn = draw_batches(keys, 10, (0, 0))
    at = [number for number, batch in enumerate(drawn.batches) if min(batch) < 300]
    assert len(at) == 300
    assert 170 < np.mean(at) < 230 and 95 < np.std(at) < 135


def test_every_row_meets_every_other_as_often_as_chance_has_it() -> None:
    met = np.zeros((12, 12))
    for epoch in range(3_000):
        for batch in draw_batches(RowKeys.none(12), 3, (0, epoch)).batches:
            met[np.ix_(batch, batch)] += 1
    apart = met[~np.eye(12, dtype=bool)] / 3_000
    assert abs(apart - 2 / 11).max() < 0.04


def test_where_every_row_has_two_keys_rows_change_places_until_all_fit() -> None:
    """Every query with every passage, 50 by 50: a batch is part of a permutation matrix; 78 of 32 are nearly all."""
    query, passage = np.divmod(np.arange(2_500), 50)
    keys = RowKeys.of(2_500, np.r_[:2_500, :2_500], np.r_[query, 100 + passage])
    drawn = draw_batches(keys, 32, (0, 0))
    assert conflicts(keys, drawn) == 0 and drawn.full >= 77 and drawn.left_over <= 8


def test_nested_keys_cost_nothing() -> None:
    """Rows of one passage, passages of one group: the group decides."""
    rows = np.arange(6_000)
    keys = RowKeys.of(6_000, np.r_[rows, rows], np.r_[rows // 5, 10_000 + rows // 50])
    drawn = draw_batches(keys, 100, (0, 0))
    assert conflicts(keys, drawn) == 0 and drawn.full == 60 and drawn.left_over == 0


def test_short_batches_are_drawn_while_they_are_worth_a_step() -> None:
    """Ten groups of a hundred rows: a batch has ten rows at most, whatever its size is to be."""
    keys = RowKeys.of(1_000, np.arange(1_000), np.arange(1_000) // 100)
    for batch_size in (16, 64):
        drawn = draw_batches(keys, batch_size, (0, 0))
        assert [len(batch) for batch in drawn.batches] == [10] * 100 and drawn.full == drawn.left_over == 0
        assert draw_batches(keys, batch_size, (0, 0), drop_last=True).batches == []
    # Two texts of 400 rows each beside 1,200 other rows: no tail of hundreds of batches of two.
    keys = RowKeys.of(2_000, np.arange(800), np.arange(800) // 400)
    drawn = draw_batches(keys, 32, (0, 0))
    assert drawn.full == 40 and len(drawn.batches) == 41
    assert len(drawn.batches[-1]) >= 2 and drawn.left_over == 2_000 - len(used(drawn))


def test_sizes_below_one_are_refused() -> None:
    for batch_size, across in [(0, 1), (4, 0)]:
        with pytest.raises(ValueError, match="must be 1 or more"):
            draw_batches(RowKeys.none(4), batch_size, (0, 0), across=across)
