"""Exact nearest neighbours: the studio's blocked search beside plain NumPy and FAISS, and beside the machine's rate.

    python tests/benchmarks/neighbours.py [--queries 20000] [--passages 20000] [--dim 640] [--k 50] [--thresholds 1]

The machine's own rate is that of `torch.mm` on float32 matrices of 4096 × 4096, measured between parts of 25,000
queries, because other work on the machine moves it. A search multiplies queries × passages × dim numbers, twice that
many operations; its share of the rate says what selecting, counting and reading cost. "cpu share" is the same by
processor seconds: the one to read where others keep the machine busy, with OMP_NUM_THREADS=1, so that no thread waits
for another. NumPy (all scores of a block, `argpartition`) and FAISS (`IndexFlatIP`, where it is installed) get the
first queries only (`--subset`), and their answers are compared with the studio's. Vectors are clustered and of length
1, in memory-mapped files. "search MB" is how far the resident memory rose during the search (Linux only): pages of
those files count when they are first read, and so does the answer. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.models.neighbours import Neighbours, nearest, nearest_faiss, pair_scores

F32 = NDArray[np.float32]

_SQUARE = 4096
_RATE_SECONDS = 1.5
_ROWS = 8192
_PART = 25_000


class _Clock:
    """Seconds, and processor seconds of this process, since it was made."""

    def __init__(self) -> None:
        self._began = np.array([time.perf_counter(), time.process_time()])

    def read(self) -> NDArray[np.float64]:
        """Both as of now."""
        return np.array([time.perf_counter(), time.process_time()]) - self._began


def _rate() -> NDArray[np.float64]:
    """GFLOP of torch.mm a second and a processor second, now."""
    import torch

    left, right = torch.rand(_SQUARE, _SQUARE), torch.rand(_SQUARE, _SQUARE)
    product = torch.mm(left, right)
    rounds, clock = 0, _Clock()
    while clock.read()[0] < _RATE_SECONDS:
        torch.mm(left, right, out=product)
        rounds += 1
    rate: NDArray[np.float64] = 2 * _SQUARE**3 * rounds / clock.read() / 1e9
    return rate


def _vectors(path: Path, rows: int, centres: F32, seed: int) -> F32:
    """Write clustered unit vectors block by block; return them memory-mapped."""
    rng = np.random.default_rng(seed)
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (rows, centres.shape[1]))
    for low in range(0, rows, _ROWS):
        size = min(_ROWS, rows - low)
        noise = rng.standard_normal((size, centres.shape[1]), np.float32)
        block = centres[rng.integers(0, len(centres), size)] + noise
        mapped[low : low + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    mapped.flush()
    vectors: F32 = np.load(path, mmap_mode="r")
    return vectors


def _numpy(queries: F32, passages: F32, k: int) -> Neighbours:
    """What one would write: all scores of a block, argpartition, sort."""
    found = Neighbours.none(len(queries), k)
    kept = min(k, len(passages))
    for low in range(0, len(queries), 512):
        scores = queries[low : low + 512] @ passages.T
        chosen = np.argpartition(scores, len(passages) - kept, axis=1)[:, -kept:]
        values = np.take_along_axis(scores, chosen, axis=1)
        order = np.lexsort((chosen, -values), axis=1)
        found.scores[low : low + 512, :kept] = np.take_along_axis(values, order, axis=1)
        found.indices[low : low + 512, :kept] = np.take_along_axis(chosen, order, axis=1)
    return found


def _resident(what: str) -> float:
    """`VmRSS` (now) or `VmHWM` (highest) of this process, MB; NaN where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), float("nan"))


def _forget_peak() -> None:
    """Begin VmHWM anew at what is resident now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _measure(
    name: str, search: Callable[[slice], Neighbours], queries: int, options: argparse.Namespace, truth: list[Neighbours]
) -> list[Neighbours]:
    """Run one search a part of the queries at a time, print its line."""
    found, rates, seconds, grown = [], [_rate()], np.zeros(2), 0.0
    for low in range(0, queries, _PART):
        _forget_peak()
        resident, clock = _resident("VmRSS"), _Clock()
        found.append(search(slice(low, min(low + _PART, queries))))
        seconds += clock.read()
        grown = max(grown, _resident("VmHWM") - resident)
        rates.append(_rate())
    sgemm = np.mean(rates, axis=0)
    speed = 2 * queries * options.passages * options.dim / seconds / 1e9
    share = speed / sgemm
    alike = [
        (one.indices == other.indices[: len(one.indices)]).mean() for one, other in zip(found, truth, strict=False)
    ]
    same = f"{np.mean(alike):.4f}" if alike else "-"
    print(
        f"{name:<18}{queries:>9,}{seconds[0]:>9.1f}{seconds[0] * options.queries / queries:>11.0f}{speed[0]:>9.0f}"
        f"{sgemm[0]:>8.0f}{share[0]:>8.0%}{share[1]:>11.0%}{grown:>11,.0f}{same:>8}",
        flush=True,
    )
    return found


def main() -> None:
    """Read the options, make vectors, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=640)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--thresholds", type=int, default=1, help="columns counted in the same pass")
    parser.add_argument("--subset", type=int, default=2_000, help="queries that NumPy and FAISS get")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    centres = np.random.default_rng(0).standard_normal((2_000, options.dim)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        queries = _vectors(Path(folder) / "queries.npy", options.queries, centres, 1)
        passages = _vectors(Path(folder) / "passages.npy", options.passages, centres, 2)
        own = np.arange(options.queries)
        scores = pair_scores(queries, passages, own, own % options.passages)
        thresholds = np.repeat(scores[:, None], options.thresholds, axis=1)
        nearest(queries[:64], passages[:64], options.k, device=options.device)
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{options.queries:,} x {options.passages:,} x {options.dim}, top {options.k}, ", end="")
        print(f"{options.thresholds} thresholds a query, {os.cpu_count()} cores, load {load}")
        print(f"{'search':<18}{'queries':>9}{'seconds':>9}{'all, s':>11}{'GFLOP/s':>9}{'sgemm':>8}", end="")
        print(f"{'share':>8}{'cpu share':>11}{'search MB':>11}{'same':>8}")

        def studio(rows: slice) -> Neighbours:
            return nearest(queries[rows], passages, options.k, thresholds=thresholds[rows], device=options.device)

        truth = _measure("studio", studio, options.queries, options, [])
        subset = min(options.subset, options.queries)

        def plain(rows: slice) -> Neighbours:
            return _numpy(queries[rows], passages, options.k)

        def faiss(rows: slice) -> Neighbours:
            return nearest_faiss(queries[rows], passages, options.k)

        _measure("numpy argpartition", plain, subset, options, truth)
        if find_spec("faiss"):
            _measure("faiss IndexFlatIP", faiss, subset, options, truth)
        else:
            print("faiss IndexFlatIP  skipped: not installed (pip install faiss-cpu)")
        print(f"load {', '.join(f'{value:.1f}' for value in os.getloadavg())}; resident {_resident('VmRSS'):,.0f} MB")


if __name__ == "__main__":
    main()
