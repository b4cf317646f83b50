import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.near import Sought, near_in, near_pairs
from studio.text.ragged import Ragged, offsets_of
from studio.text.shingles import Spec

some_sets = st.lists(st.sets(st.integers(0, 12), max_size=8), max_size=8)


def ragged(sets: list[set[int]]) -> Ragged:
    values = np.array([value for one in sets for value in sorted(one)], np.uint32)
    return Ragged(values, offsets_of(np.array([len(one) for one in sets], np.int64)))


@pytest.mark.parametrize("mode", ["plain", "compiled"])
@settings(deadline=None)
@given(sets=some_sets, floor=st.sampled_from([0.3, 0.5, 1.0]))
def test_every_pair_is_found_also_of_sets_that_repeat(mode: str, sets: list[set[int]], floor: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARRIER_KERNELS", mode)
        near = near_in(ragged(sets), Sought(floor, floor, "exact"))
    found = {tuple(pair): score for pair, score in zip(near.pairs.tolist(), near.jaccard.tolist(), strict=True)}
    for i, j in itertools.combinations(range(len(sets)), 2):
        score = len(sets[i] & sets[j]) / len(sets[i] | sets[j]) if sets[i] else 0
        if sets[i] == sets[j]:
            # Equal sets come with the first of them.
            first = sets.index(sets[i])
            assert not sets[i] or first != i or found[i, j] == 1
        elif score >= floor:
            assert found[i, j] == pytest.approx(score)
        else:
            assert (i, j) not in found
    assert len(found) == len(near.pairs)


def test_of_very_many_equal_sets_only_some_stand_for_themselves() -> None:
    near = near_in(ragged([{1, 2, 3, 4}] * 100 + [{1, 2, 3, 5}]), Sought(0.5, 0.5, "exact"))
    assert len(near.pairs) == 99 + 8


@pytest.mark.parametrize("method", ["minhash", "exact"])
def test_raw_texts_are_compared_by_the_words_of_their_l2_form(method: str) -> None:
    texts = pl.Series(["Um dois, TRÊS quatro!", "um dois três quatro", "um dois três cinco", "nada disso"])
    near = near_pairs(texts, Spec("word", 1), floor=0.5, method=method)  # type: ignore[arg-type]
    assert {tuple(pair) for pair in near.pairs.tolist()} == {(0, 1), (0, 2), (1, 2)}
    assert sorted(near.jaccard.tolist()) == [0.6, 0.6, 1.0]
