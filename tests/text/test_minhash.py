import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text import fast
from studio.text.minhash import (
    Banding,
    banding_for_recall,
    candidates,
    intersections,
    near_in_sets,
    prefix_join,
    signatures,
)
from studio.text.ragged import Ragged, offsets_of, row_hash

some_sets = st.lists(st.sets(st.integers(0, 40), max_size=25), min_size=2, max_size=25)


def ragged(sets: list[set[int]]) -> Ragged:
    values = np.array([value for one in sets for value in sorted(one)], np.uint32)
    return Ragged(values, offsets_of(np.array([len(one) for one in sets], np.int64)))


def jaccard(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def test_signatures_are_datasketchs_own() -> None:
    rng = np.random.default_rng(3)
    sets = [set(rng.integers(0, 2**32, size).tolist()) for size in (0, 1, 2, 7, 300)]
    ours = signatures(ragged(sets), num_perm=128, seed=5)
    for row, one in zip(ours, sets, strict=True):
        theirs = MinHash(num_perm=128, seed=5, hashfunc=lambda data: int.from_bytes(data, "little"))
        theirs.update_batch([value.to_bytes(4, "little") for value in one])
        np.testing.assert_array_equal(row, theirs.hashvalues)


@given(some_sets)
def test_intersections_are_exact(sets: list[set[int]]) -> None:
    pairs = np.array([(i, j) for j in range(len(sets)) for i in range(j)], np.int64)
    expected = [len(sets[i] & sets[j]) for i, j in pairs]
    assert intersections(ragged(sets), pairs).tolist() == expected


@settings(deadline=None)
@given(some_sets, st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]))
def test_the_exact_join_finds_every_pair(sets: list[set[int]], threshold: float) -> None:
    found = {tuple(pair) for pair in prefix_join(ragged(sets), threshold).tolist()}
    expected = {
        (i, j) for j in range(len(sets)) for i in range(j) if jaccard(sets[i], sets[j]) >= threshold and sets[i]
    }
    assert expected <= found
    assert all(i < j for i, j in found)


@pytest.mark.parametrize(("num_perm", "threshold"), [(256, 0.6), (128, 0.7), (128, 0.8), (64, 0.9)])
def test_bands_are_chosen_for_recall_and_fit_the_signature(num_perm: int, threshold: float) -> None:
    banding = banding_for_recall(num_perm, threshold)
    assert banding.probability(threshold) >= 0.98
    assert banding.bands * banding.rows <= num_perm


def test_the_probability_of_a_banding_is_what_happens() -> None:
    rng = np.random.default_rng(1)
    banding, wanted = Banding(16, 4), 0.5
    sets = []
    for _ in range(400):
        shared = rng.integers(0, 2**32, 100).tolist()
        sets += [set(shared + rng.integers(0, 2**32, 50).tolist()) for _ in range(2)]
    found, _ = candidates(signatures(ragged(sets), 64, seed=1), banding, max_bucket=1000)
    hits = sum(1 for i, j in found.tolist() if j == i + 1 and i % 2 == 0) / 400
    assert abs(hits - banding.probability(wanted)) < 0.08


def test_a_crowded_bucket_is_capped_and_said_so() -> None:
    sets = [{1, 2, 3}] * 50
    found, capped = candidates(signatures(ragged(sets), 16, seed=1), Banding(4, 4), max_bucket=10)
    assert capped == 4
    # The first quarter of ten meets all, the others their next two.
    assert len(found) == 49 + 48 + sum(min(2, 49 - i) for i in range(2, 50))


@settings(deadline=None)
@given(some_sets, st.sampled_from([0.3, 0.5, 0.8]), st.sampled_from([4, 8, 100]))
def test_compiled_kernels_find_what_numpy_finds(sets: list[set[int]], floor: float, max_bucket: int) -> None:
    rows = ragged(sets)
    np.testing.assert_array_equal(fast.row_hash(rows), row_hash(rows))
    for banding in (Banding(4, 4), Banding(16, 1)):
        ours, capped = near_in_sets(rows, floor, 16, 1, banding, max_bucket)
        theirs, also_capped = fast.near_in_sets(rows, floor, 16, 1, banding, max_bucket)
        np.testing.assert_array_equal(ours.pairs, theirs.pairs)
        np.testing.assert_array_equal(ours.shared, theirs.shared)
        assert capped == also_capped
