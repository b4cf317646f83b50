from __future__ import annotations

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from studio.errors import Cancelled, InputError, UnavailableError, UsageError
from studio.models import neighbours
from studio.models.neighbours import Neighbours, nearest, nearest_faiss, pair_scores

F32 = NDArray[np.float32]


def _brute(queries: F32, passages: F32, k: int, thresholds: F32) -> Neighbours:
    scores = queries.astype(np.float64) @ passages.astype(np.float64).T
    found = Neighbours.none(len(queries), k, thresholds.shape[1])
    for row, line in enumerate(scores):
        order = np.lexsort((np.arange(len(line)), -line))[:k]
        found.scores[row, : len(order)] = line[order]
        found.indices[row, : len(order)] = order
        found.above[row] = (line[:, None] > thresholds[row]).sum(axis=0)
    return found


def _same(one: Neighbours, other: Neighbours) -> None:
    assert [one.scores.dtype, one.indices.dtype, one.above.dtype] == [np.float32, np.int32, np.int64]
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(one.above, other.above)


def _unit(rows: int, dim: int, seed: int) -> F32:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(
    st.integers(0, 7), st.integers(0, 23), st.integers(1, 5), st.integers(0, 30), st.integers(0, 3),
    st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_equals_brute_force_with_ties_whatever_the_blocks(
    queries: int, passages: int, dim: int, k: int, columns: int, height: int, width: int, seed: int
) -> None:
    # Products of small whole numbers are exact in float32, and many of them are equal.
    rng = np.random.default_rng(seed)
    q, p, t = (
        rng.integers(-2, 3, shape).astype(np.float32) for shape in ((queries, dim), (passages, dim), (queries, columns))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_CACHE_SIZED", (height, width))
        _same(nearest(q, p, k, thresholds=t, device="cpu"), _brute(q, p, k, t))


@pytest.mark.slow
def test_real_vectors_give_the_same_order_for_every_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    q, p = _unit(70, 48, 1), _unit(900, 48, 2)
    t = pair_scores(q, p, np.arange(70), np.arange(70))[:, None]
    # Own positives are rounded to float32: what float64 finds above them may be themselves.
    expected = _brute(q, p, 11, t + np.float32(1e-6))
    for tile in ((1, 7), (13, 64), (70, 11), (2048, 2048)):
        monkeypatch.setattr(neighbours, "_CACHE_SIZED", tile)
        found = nearest(q, p, 11, thresholds=t, device="cpu")
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.above, expected.above)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_blocks_bound_what_is_multiplied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    merged = neighbours._merged

    def spy(best: Any, where: Any, product: Any, chosen: Any, low: int) -> Any:
        sizes.append(tuple(product.shape))
        return merged(best, where, product, chosen, low)

    monkeypatch.setattr(neighbours, "_merged", spy)
    monkeypatch.setattr(neighbours, "_CACHE_SIZED", (10, 16))
    nearest(_unit(250, 8, 1), _unit(100, 8, 2), 5, device="cpu")
    assert max(sizes) == (10, 16)
    assert len(sizes) == 25 * 7


@pytest.mark.parametrize("dim", [8, 640, 3000])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_no_passage_outranks_itself_or_its_copy(dim: int, scale: float) -> None:
    p = _unit(600, dim, 3) * np.float32(scale)
    p = np.concatenate([p, p[:50]])
    q = p[:300] * np.float32(0.7)
    own = np.arange(300)
    for scores in (
        pair_scores(q, p, own, own),
        np.array([left @ right for left, right in zip(q, p, strict=False)], np.float32),
        (q[:, ::-1] @ p[:300, ::-1].T).diagonal(),
    ):
        assert (nearest(q, p, 1, thresholds=scores[:, None], device="cpu").above == 0).all()


def test_a_higher_score_counts_however_many_thresholds_there_are() -> None:
    p = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.5, 0.5]], np.float32)
    q = np.array([[1, 0], [0, 1]], np.float32)
    t = np.array([[0.5, 0.8999, -1], [1, np.inf, -np.inf]], np.float32)
    assert nearest(q, p, 0, thresholds=t, device="cpu").above.tolist() == [[2, 2, 4], [0, 0, 4]]


def test_reads_memory_mapped_and_narrower_vectors(tmp_path: Path) -> None:
    q, p = _unit(40, 16, 5), _unit(300, 16, 6)
    np.save(tmp_path / "q.npy", q)
    np.save(tmp_path / "p.npy", p)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "qp"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _same(nearest(*mapped, 7, device="cpu"), nearest(q, p, 7, device="cpu"))
    half = p.astype(np.float16)
    _same(nearest(q, half, 7, device="cpu"), nearest(q, half.astype(np.float32), 7, device="cpu"))
    _same(nearest(q, p[::-1], 7, device="cpu"), nearest(q, p[::-1].copy(), 7, device="cpu"))


def test_float32_is_kept_where_training_has_allowed_less() -> None:
    import torch

    seen: list[str] = []
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        nearest(
            _unit(3, 4, 1), _unit(3, 4, 2), 1, device="cpu",
            progress=lambda *_: seen.append(torch.get_float32_matmul_precision()),
        )  # fmt: skip
        assert seen == ["medium", "highest"]
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_tells_of_each_block_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CACHE_SIZED", (10, 16))
    told: list[tuple[str, int, int | None]] = []

    def stop(step: str, done: int, total: int | None) -> None:
        told.append((step, done, total))
        if done == 20:
            raise Cancelled

    with pytest.raises(Cancelled):
        nearest(_unit(25, 8, 1), _unit(100, 8, 2), 5, device="cpu", progress=stop)
    assert told == [("compare queries with passages", done, 25) for done in (0, 10, 20)]


def test_a_block_in_the_making_stops_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CACHE_SIZED", (64, 1))
    merged, slow = neighbours._merged, threading.Event()

    def slowly(*args: Any) -> Any:
        # The first block is done at once; from then on a block would take a minute and more.
        if slow.is_set():
            time.sleep(0.05)
        return merged(*args)

    def stop(step: str, done: int, total: int | None) -> None:
        if done:
            slow.set()
            time.sleep(0.2)
            raise Cancelled

    monkeypatch.setattr(neighbours, "_merged", slowly)
    start = time.perf_counter()
    with pytest.raises(Cancelled):
        nearest(_unit(512, 2, 1), _unit(2000, 2, 2), 1, device="cpu", progress=stop)
    assert time.perf_counter() - start < 30


def test_leaves_the_number_of_threads_as_it_was() -> None:
    import torch

    def elsewhere() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(torch.get_num_threads).result()

    before = torch.get_num_threads(), elsewhere()
    nearest(_unit(300, 8, 1), _unit(100, 8, 2), 5, device="cpu")
    assert (torch.get_num_threads(), elsewhere()) == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_names_the_vector_that_is_no_number(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CACHE_SIZED", (4, 4))
    good, bad = _unit(9, 8, 1), _unit(9, 8, 2)
    bad[7, 3] = value
    with pytest.raises(InputError, match="passage 7"):
        nearest(good, bad, 2, device="cpu")
    with pytest.raises(InputError, match="query 7"):
        nearest(bad, good, 2, device="cpu")


def test_refuses_what_does_not_belong_together() -> None:
    q, p = _unit(3, 4, 1), _unit(5, 4, 2)
    for call in (
        lambda: nearest(q, p[:, :3], 1),
        lambda: nearest(q[0], p, 1),
        lambda: nearest(q, p, -1),
        lambda: nearest(q, p, 1, thresholds=np.zeros(3, np.float32)),
        lambda: nearest(q, p, 1, thresholds=np.zeros((5, 1), np.float32)),
        lambda: pair_scores(q, p, np.array([0]), np.array([-1])),
        lambda: pair_scores(q, p, np.array([3]), np.array([0])),
        lambda: pair_scores(q, p, np.array([0, 1]), np.array([0])),
    ):
        with pytest.raises(UsageError):
            call()


def test_pair_scores_equal_the_products_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    q, p = _unit(30, 12, 1), _unit(50, 12, 2)
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, 30, 200), rng.integers(0, 50, 200)
    expected = (q.astype(np.float64) @ p.astype(np.float64).T)[rows, columns].astype(np.float32)
    for values in (1, 100, 4_000_000):
        monkeypatch.setattr(neighbours, "_VALUES_A_BLOCK", values)
        found = pair_scores(q, p, rows, columns)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-7, atol=1e-9)
    assert len(pair_scores(q, p[:0], rows[:0], columns[:0])) == 0


def test_faiss_agrees_or_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    q, p = _unit(40, 16, 5), _unit(300, 16, 6)
    if neighbours.find_spec("faiss"):
        found, own = nearest_faiss(q, p, 7), nearest(q, p, 7, device="cpu")
        np.testing.assert_array_equal(found.indices, own.indices)
        np.testing.assert_allclose(found.scores, own.scores, atol=1e-6)
        assert nearest_faiss(q, p[:3], 5).indices[:, 3:].tolist() == [[-1, -1]] * 40
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match="faiss-cpu"):
        nearest_faiss(q, p, 7)


def test_copies_of_a_passage_come_in_the_order_of_their_rows() -> None:
    p = np.repeat(_unit(1, 640, 1), 2 * neighbours._CACHE_SIZED[1] + 1, axis=0)
    found = nearest(_unit(20, 640, 2), p, 60, device="cpu")
    assert (found.indices == np.arange(60)).all()
