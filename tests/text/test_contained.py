import itertools
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text import contained
from studio.text.contained import Contained, contained_in, overlapping
from studio.text.ragged import Ragged, offsets_of

MANY = 10_000


def sets_of(rows: Sequence[set[int]]) -> Ragged:
    """Rows as sorted sets of spread 32-bit values."""
    values = [sorted(value * 0x9E3779B1 % 2**32 for value in row) for row in rows]
    flat = np.array([value for row in values for value in row], np.uint32)
    return Ragged(flat, offsets_of(np.array([len(row) for row in values], np.int64)))


def words_of(rows: Sequence[Sequence[int]]) -> Ragged:
    flat = np.array([word * 0x9E3779B97F4A7C15 % 2**64 for row in rows for word in row], np.uint64)
    return Ragged(flat, offsets_of(np.array([len(row) for row in rows], np.int64)))


def as_dict(found: Contained) -> dict[tuple[int, int], tuple[int, int]]:
    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    assert len(set(pairs)) == len(pairs)
    return dict(zip(pairs, zip(found.shared.tolist(), found.size.tolist(), strict=True), strict=True))


def all_contained(rows: Sequence[set[int]], percent: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Every pair, the smaller first; of two as large the later one lies in the earlier."""
    found = {}
    for i, j in itertools.permutations(range(len(rows)), 2):
        a, b = rows[i], rows[j]
        if a and (len(a), j) < (len(b), i) and 100 * len(a & b) >= percent * len(a):
            found[i, j] = (len(a & b), len(a))
    return found


rows_of_values = st.lists(st.sets(st.integers(0, 25), max_size=16), max_size=9) | st.lists(
    st.sets(st.integers(0, 9), min_size=3, max_size=9), max_size=9
)


@pytest.mark.parametrize("bits", [4, 12])
@settings(deadline=None, max_examples=200)
@given(rows=rows_of_values, percent=st.integers(50, 90))
def test_every_pair_that_a_plain_loop_finds_is_found_once(bits: int, rows: list[set[int]], percent: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contained, "_SLOT_BITS", bits)
        found = contained_in(sets_of(rows), percent / 100, MANY)
    assert as_dict(found) == all_contained(rows, percent)
    assert found.capped == 0


@settings(deadline=None, max_examples=8)
@given(rows=rows_of_values, percent=st.integers(50, 100))
def test_so_it_is_with_slots_of_the_size_in_use(rows: list[set[int]], percent: int) -> None:
    assert as_dict(contained_in(sets_of(rows), percent / 100, MANY)) == all_contained(rows, percent)


@pytest.mark.parametrize("rows", [[], [set()], [set(), set()], [{1}], [{1}, set()], [set(), {1, 2}, set()]])
def test_few_and_empty_sets_lie_in_nothing(rows: list[set[int]]) -> None:
    found = contained_in(sets_of(rows), 0.9, MANY)
    assert found.pairs.shape == (0, 2)
    assert (found.shared.tolist(), found.size.tolist(), found.capped) == ([], [], 0)


def test_equal_sets_come_once_the_later_in_the_earlier() -> None:
    assert as_dict(contained_in(sets_of([{1, 2, 3}] * 3), 0.9, MANY)) == {
        (1, 0): (3, 3),
        (2, 0): (3, 3),
        (2, 1): (3, 3),
    }


def test_a_share_of_exactly_the_threshold_is_enough() -> None:
    ten, nine = set(range(10)), set(range(1, 30))
    assert as_dict(contained_in(sets_of([ten, nine]), 0.9, MANY)) == {(0, 1): (9, 10)}
    assert as_dict(contained_in(sets_of([ten, nine - {9}]), 0.9, MANY)) == {}
    thirds = [set(range(3)), {0, 1, *range(50, 60)}]
    assert as_dict(contained_in(sets_of(thirds), 2 / 3, MANY)) == {(0, 1): (2, 3)}


def test_values_in_too_many_sets_are_not_followed_and_counted() -> None:
    rows = [{0, 1, *range(100 * i, 100 * i + 5)} for i in range(1, 7)] + [{0, 1}]
    followed = contained_in(sets_of(rows), 0.9, 7)
    assert (len(followed.pairs), followed.capped) == (6, 0)
    capped = contained_in(sets_of(rows), 0.9, 6)
    assert len(capped.pairs) == 0 and capped.capped > 0
    rare = contained_in(sets_of([*rows, {0, 1, 777}, {0, 777}]), 0.9, 6)
    assert as_dict(rare) == {(8, 7): (2, 2)}


def all_overlaps(rows: Sequence[Sequence[int]], minimum: int) -> dict[tuple[int, int], int]:
    """The longest proper end of one row that is a proper beginning of another, if it is long enough."""
    found = {}
    for i, j in itertools.permutations(range(len(rows)), 2):
        a, b = list(rows[i]), list(rows[j])
        lengths = [n for n in range(minimum, min(len(a), len(b))) if a[-n:] == b[:n]]
        if lengths:
            found[i, j] = max(lengths)
    return found


def found_overlaps(rows: Sequence[Sequence[int]], minimum: int, most: int = MANY) -> dict[tuple[int, int], int]:
    pairs, lengths = overlapping(words_of(rows), minimum, most)
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    return dict(zip([tuple(pair) for pair in pairs.tolist()], lengths.tolist(), strict=True))


windows = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 22)).map(lambda cut: [i % 17 for i in range(cut[0], sum(cut))]),
    max_size=7,
)
few_words = st.lists(st.lists(st.integers(0, 1), max_size=24), max_size=7)


@pytest.mark.parametrize("block", [3, 250_000])
@settings(deadline=None, max_examples=150)
@given(rows=windows | few_words, minimum=st.integers(8, 12))
def test_every_overlap_that_a_plain_loop_finds_is_found(block: int, rows: list[list[int]], minimum: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contained, "_SLOT_BITS", 6)
        patch.setattr(contained, "_ROWS_A_BLOCK", block)
        assert found_overlaps(rows, minimum) == all_overlaps(rows, minimum)


@settings(deadline=None, max_examples=15)
@given(rows=windows)
def test_so_it_is_with_overlaps_and_the_table_in_use(rows: list[list[int]]) -> None:
    assert found_overlaps(rows, 8) == all_overlaps(rows, 8)


def test_overlaps_of_less_than_eight_words_are_not_looked_for() -> None:
    rows = [list(range(20)), list(range(13, 40)), list(range(12, 40))]
    assert found_overlaps(rows, 2) == found_overlaps(rows, 8) == {(0, 2): 8}


def test_a_row_that_is_all_of_the_end_or_the_beginning_is_no_overlap() -> None:
    whole = list(range(30))
    assert found_overlaps([whole, whole[10:], whole[:20], whole], 8) == {(2, 1): 10}


def test_the_longest_of_several_overlaps_counts() -> None:
    assert found_overlaps([[7] * 12, [7] * 20], 8) == {(0, 1): 11, (1, 0): 11}


def test_beginnings_in_too_many_places_are_left_out() -> None:
    rows = [[*range(100 * i, 100 * i + 9), *range(10)] for i in range(1, 4)] + [list(range(40))]
    assert set(found_overlaps(rows, 8)) == {(0, 3), (1, 3), (2, 3)}
    many = [list(range(10)) + [100 + i] * 9 for i in range(5)]
    assert found_overlaps([[*range(50, 60), *range(10)], *many], 8, 5).keys() == {(0, i) for i in range(1, 6)}
    assert found_overlaps([[*range(50, 60), *range(10)], *many], 8, 4) == {}


def test_texts_that_repeat_a_word_cost_no_more_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contained, "_SLOT_BITS", 12)
    tracemalloc.start()
    try:
        assert found_overlaps([[7] * 3_000, [7] * 3_001], 30) == {(0, 1): 2_999, (1, 0): 2_999}
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rows", [[], [[]], [[1]], [[], [1] * 7, []], [list(range(50))]])
def test_few_and_short_rows_overlap_with_nothing(rows: list[list[int]]) -> None:
    pairs, lengths = overlapping(words_of(rows), 8, MANY)
    assert pairs.shape == (0, 2) and len(lengths) == 0
