"""The passages nearest to each query: exact inner products in blocks, so memory never grows with queries × passages."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import repeat
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import Cancelled, InputError, UnavailableError, UsageError
from studio.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Vectors = NDArray[np.floating[Any]]
"""Rows of any floating type, in memory or memory-mapped; each block is brought to float32 as it is read."""

_STEP = "compare queries with passages"
_CACHE_SIZED = (1024, 1024)
"""Queries and passages multiplied at once on a core: 4 MB of scores, read again while they are in the cache."""
_DEVICE_SIZED = (8192, 32768)
"""The same on a graphics card, where a small product does not fill the machine: 1 GB of scores."""
_LANES = 64
"""Columns of a product come in multiples of this: a processor is a third slower where rows begin anywhere."""
_VALUES_A_BLOCK = 4_000_000


@dataclass(frozen=True)
class Neighbours:
    """The best passages of each query.

    Attributes:
        scores: (queries, k), descending; -inf where there are fewer than k passages.
        indices: (queries, k) rows of the passages; -1 where there is none. Equal scores: the lower row first.
        above: (queries, t): how many passages score above each threshold; t is 0 where none were asked for.
    """

    scores: F32
    indices: I32
    above: I64

    @classmethod
    def none(cls, queries: int, k: int, thresholds: int = 0) -> Neighbours:
        """The answer when nothing was found: to be filled in, or as it is."""
        scores = np.full((queries, k), -np.inf, np.float32)
        return cls(scores, np.full((queries, k), -1, np.int32), np.zeros((queries, thresholds), np.int64))


def nearest(
    queries: Vectors,
    passages: Vectors,
    k: int,
    *,
    thresholds: Vectors | None = None,
    device: str | None = None,
    progress: Progress = silent,
) -> Neighbours:
    """Find the k passages with the largest inner product with each query, exactly, and count those above thresholds.

    Scores are float32 products, never TF32 or bfloat16. A threshold is usually a query's own positive's score, and
    `above` + 1 its rank. The same product, summed in another order, differs in its last bits; so that no passage
    outranks itself or its copy, `above` counts only scores higher than the threshold by more than such rounding
    comes to: √dim · 2⁻²³ · |query| · |longest passage|, 3e-6 for unit vectors of 640.

    Args:
        queries: (queries, dim).
        passages: (passages, dim).
        k: passages to return; 0 only counts.
        thresholds: (queries, t), such as `pair_scores` of own positives.
        device: such as `cpu` or `cuda:1`; None takes CUDA, else Apple's MPS, else the processor.
        progress: told of each block of queries; what it raises stops the search.

    Raises:
        UsageError: k is negative, or the shapes do not belong together.
        InputError: a vector holds NaN or infinity.
    """
    _check_shapes(queries, passages, k, thresholds)
    wanted = np.empty((len(queries), 0), np.float32) if thresholds is None else thresholds
    result = Neighbours.none(len(queries), k, wanted.shape[1])
    progress(_STEP, 0, len(queries))
    if len(queries) and len(passages):
        import torch

        place = torch.device(device or _best_device())
        height, width = _CACHE_SIZED if place.type == "cpu" else _DEVICE_SIZED
        width = min(width, math.ceil(len(passages) / _LANES) * _LANES)
        threads = min(torch.get_num_threads(), math.ceil(len(queries) / _LANES)) if place.type == "cpu" else 1
        height = min(height, math.ceil(len(queries) / threads))

        def fill(low: int, longest: float, stop: Event) -> int:
            rows = slice(low, low + height)
            rounding = math.sqrt(passages.shape[1]) * 2.0**-23 * longest * _norms(queries[rows], low, "query")
            limits = (_tensor(wanted[rows]) + rounding[:, None]).to(place)
            found = _search(_tensor(queries[rows]).to(place), passages, k, limits, width, stop)
            result.scores[rows], result.indices[rows], result.above[rows] = (part.cpu().numpy() for part in found)
            return min(low + height, len(queries))

        with _full_precision(), _threads(threads) as (pool, stop):
            lows = range(0, len(passages), width)
            longest = max(float(_norms(passages[low : low + width], low, "passage").max()) for low in lows)
            for done in pool.map(fill, range(0, len(queries), height), repeat(longest), repeat(stop)):
                progress(_STEP, done, len(queries))
    return result


def nearest_faiss(queries: Vectors, passages: Vectors, k: int, *, progress: Progress = silent) -> Neighbours:
    """Find the k nearest passages with a flat FAISS index, where FAISS is installed.

    Exact too, and a cross-check of `nearest`; FAISS keeps a copy of all passages, and where more passages tie for the
    last place than fit, it chooses. `above` has no columns.

    Raises:
        UnavailableError: FAISS is not installed.
        UsageError: as `nearest`.
    """
    if find_spec("faiss") is None:
        raise UnavailableError(
            "FAISS is not installed.", remedy="run `pip install faiss-cpu`, or use `nearest`, which needs nothing"
        )
    faiss: Any = import_module("faiss")
    _check_shapes(queries, passages, k, None)
    index = faiss.IndexFlatIP(passages.shape[1])
    for low in range(0, len(passages), _CACHE_SIZED[1]):
        index.add(np.ascontiguousarray(passages[low : low + _CACHE_SIZED[1]], np.float32))
    result = Neighbours.none(len(queries), k)
    found = min(k, len(passages))
    for low in range(0, len(queries) if found else 0, _CACHE_SIZED[0]):
        rows = slice(low, low + _CACHE_SIZED[0])
        scores, indices = index.search(np.ascontiguousarray(queries[rows], np.float32), found)
        order = np.lexsort((indices, -scores), axis=1)
        result.scores[rows, :found] = np.take_along_axis(scores, order, axis=1)
        result.indices[rows, :found] = np.take_along_axis(indices, order, axis=1)
        progress(_STEP, min(rows.stop, len(queries)), len(queries))
    return result


def pair_scores(
    queries: Vectors, passages: Vectors, query_index: NDArray[np.integer[Any]], passage_index: NDArray[np.integer[Any]]
) -> F32:
    """Return the inner product of each listed pair, float32 (pairs,), summed in float64.

    Args:
        queries: (queries, dim).
        passages: (passages, dim).
        query_index: (pairs,) row of each pair's query.
        passage_index: (pairs,) row of each pair's passage.

    Raises:
        UsageError: the shapes do not belong together, or an index is not of a row.
    """
    _check_shapes(queries, passages, 0, None)
    if query_index.shape != passage_index.shape or query_index.ndim != 1:
        raise UsageError("A list of pairs needs as many queries as passages.")
    for rows, index in ((queries, query_index), (passages, passage_index)):
        # NumPy would read -1, which stands for "no neighbour", as the last row.
        if len(index) and not (0 <= index.min() and index.max() < len(rows)):
            raise UsageError("A pair names a row that is not there.", why=f"rows are 0 to {len(rows) - 1}")
    scores = np.empty(len(query_index), np.float32)
    size = max(1, _VALUES_A_BLOCK // max(1, queries.shape[1]))
    for low in range(0, len(scores), size):
        part = slice(low, low + size)
        left, right = queries[query_index[part]], passages[passage_index[part]]
        scores[part] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    return scores


@contextmanager
def _threads(count: int) -> Iterator[tuple[ThreadPoolExecutor, Event]]:
    """Threads that share out the processor, so that each does whole blocks by itself; and what makes them stop.

    Cores that share each product wait for the slowest of them a dozen times a tile. Where others use the machine too,
    that is most of the time.
    """
    import torch

    before, stop = torch.get_num_threads(), Event()
    pool = ThreadPoolExecutor(count, "neighbours", torch.set_num_threads, (max(1, before // count),))
    try:
        yield pool, stop
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        # What one thread sets for itself, torch gives to every thread begun later.
        torch.set_num_threads(before)


def _search(
    queries: Tensor, passages: Vectors, k: int, limits: Tensor, width: int, stop: Event
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, indices and counts of one block of queries, tile after tile of the passages.

    Raises:
        Cancelled: `stop` was set.
    """
    import torch

    rows, place = len(queries), queries.device
    best = torch.full((rows, k), -torch.inf, device=place)
    where = torch.full((rows, k), -1, dtype=torch.int32, device=place)
    above = torch.zeros(limits.shape, dtype=torch.int64, device=place)
    for low in range(0, len(passages), width):
        if stop.is_set():
            raise Cancelled
        tile = _tensor(passages[low : low + width]).to(place)
        # Every product has one shape: another is summed in another order, and copies of a passage would part.
        filled = torch.nn.functional.pad(tile, (0, 0, 0, width - len(tile))) if len(tile) < width else tile
        product = (queries @ filled.T)[:, : len(tile)]
        for column in range(limits.shape[1]):
            # Sums of 32 bits are six times as fast as torch's own 64 on a processor.
            above[:, column] += (product > limits[:, column, None]).sum(1, dtype=torch.int32)
        if k == 0:
            continue
        if low >= k:
            # A later passage has a higher row: with a score equal to the last one kept it comes after it.
            chosen = product > best[:, -1:]
        else:
            chosen = product >= product.topk(min(k, product.shape[1])).values[:, -1:]
        best, where = _merged(best, where, product, chosen, low)
    return best, where, above


def _merged(best: Tensor, where: Tensor, product: Tensor, chosen: Tensor, low: int) -> tuple[Tensor, Tensor]:
    """Merge the chosen scores of a tile, whose first passage is row `low`, into the best so far."""
    import torch

    row, column = chosen.nonzero(as_tuple=True)
    if not len(row):
        return best, where
    counts = torch.bincount(row, minlength=len(best))
    place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    scores = torch.full((len(best), int(counts.max())), -torch.inf, device=best.device)
    indices = torch.full(scores.shape, -1, dtype=torch.int32, device=best.device)
    scores[row, place] = product[row, column]
    indices[row, place] = (column + low).to(torch.int32)
    # What was there before has lower rows, and a stable sort leaves equals in order.
    scores, order = torch.cat([best, scores], 1).sort(dim=1, descending=True, stable=True)
    kept = best.shape[1]
    return scores[:, :kept], torch.cat([where, indices], 1).gather(1, order[:, :kept])


def _tensor(rows: Vectors) -> Tensor:
    """Share rows with torch; they are copied only if they are not float32 already."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(rows, np.float32))


def _norms(rows: Vectors, first: int, what: str) -> Tensor:
    """Return the length of each row.

    Raises:
        InputError: a row holds NaN or infinity.
    """
    norms = _tensor(rows).norm(dim=1)
    if not bool(norms.isfinite().all()):
        bad = first + int((~norms.isfinite()).nonzero()[0])
        raise InputError(
            "A vector holds a value that is no number.",
            where=f"{what} {bad}",
            why="NaN or infinity: the model's precision may be too low for it",
            remedy="encode again with float32; `doctor` shows whether the model works",
        )
    return norms


def _check_shapes(queries: Vectors, passages: Vectors, k: int, thresholds: Vectors | None) -> None:
    if k < 0:
        raise UsageError("The number of neighbours must not be negative.", why=f"it is {k}")
    if queries.ndim != 2 or passages.ndim != 2 or queries.shape[1] != passages.shape[1]:
        raise UsageError(
            "Queries and passages must be vectors of one length.",
            why=f"their shapes are {queries.shape} and {passages.shape}",
        )
    if thresholds is not None and (thresholds.ndim != 2 or len(thresholds) != len(queries)):
        raise UsageError("Thresholds need one row a query.", why=f"their shape is {thresholds.shape}")


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply in float32 proper, whatever the process has set for training (TF32, bfloat16)."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with warnings.catch_warnings():
            # A memory-mapped file is not writable, and nothing here writes.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            yield
    finally:
        torch.set_float32_matmul_precision(before)
