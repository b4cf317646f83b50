"""Evaluating with cached vectors: search, all metrics and each query's values, beside the bare product and top-k.

    python tests/benchmarks/evaluation.py [--queries 1000] [--passages 100000] [--dim 640] [--k 100] [--rounds 9]

"bare" multiplies a block of queries with all passages by torch and takes the k best (`torch.topk`), as one would write
it; nothing is measured of what it finds. "evaluated" is what the studio does with the same vectors: the exact search
that lists equal scores as trec_eval does, and the metrics of every evaluation for each query, over graded judgements.
Both run in the same process, one after the other in turns, and the medians are compared: other work on the machine
moves single rounds. The target is a ratio of at most 1.3. "cpu" is the same by processor seconds. Run by hand; it is
no test.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from studio.evaluation.metrics import METRICS, Qrels, by_query, trec_order
from studio.models.neighbours import nearest

F32 = NDArray[np.float32]
_BLOCK = 512
_TARGET = 1.3


def _vectors(rows: int, centres: F32, seed: int) -> F32:
    """Clustered vectors of length 1."""
    rng = np.random.default_rng(seed)
    found = centres[rng.integers(0, len(centres), rows)] + rng.standard_normal((rows, centres.shape[1]), np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def _judgements(queries: int, passages: int, seed: int) -> pl.DataFrame:
    """From one to five judged passages a query, relevance from 0 to 3."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, queries)
    table = pl.DataFrame(
        {
            "query_id": [f"q{query}" for query in np.repeat(np.arange(queries), counts)],
            "passage_id": [f"p{passage}" for passage in rng.integers(0, passages, counts.sum())],
            "relevance": rng.integers(0, 4, counts.sum()).astype(np.float64),
        }
    )
    return table.unique(["query_id", "passage_id"], keep="first", maintain_order=True)


def _bare(queries: F32, passages: F32, k: int) -> None:
    """The product, a block of queries at a time, and the k best of each."""
    whole = torch.from_numpy(passages).T
    for low in range(0, len(queries), _BLOCK):
        torch.topk(torch.from_numpy(queries[low : low + _BLOCK]) @ whole, k, dim=1)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds and processor seconds."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    """Read the options, make vectors and judgements, measure in turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=640)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    centres = np.random.default_rng(0).standard_normal((2_000, options.dim)).astype(np.float32)
    queries, passages = _vectors(options.queries, centres, 1), _vectors(options.passages, centres, 2)
    query_ids = pl.Series([f"q{query}" for query in range(options.queries)])
    passage_ids = pl.Series([f"p{passage}" for passage in range(options.passages)])
    passage_ids = passage_ids[trec_order(passage_ids)]
    judgements = _judgements(options.queries, options.passages, 3)

    def search() -> NDArray[np.int32]:
        return nearest(queries, passages, options.k, device="cpu").indices

    def evaluated() -> None:
        ranked = search()
        by_query(ranked, Qrels.of(query_ids, passage_ids, judgements), METRICS)

    parts: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(queries, passages, options.k),
        "search alone": search,
        "evaluated": evaluated,
    }
    for work in parts.values():
        work()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(options.rounds):
        for name, work in parts.items():
            seconds[name].append(_timed(work))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"{options.queries:,} x {options.passages:,} x {options.dim}, top {options.k}, {len(METRICS)} metrics, "
        f"{options.rounds} rounds in turns, {torch.get_num_threads()} threads, {os.cpu_count()} cores, load {load}"
    )
    print(f"{'':<14}{'seconds':>9}{'best':>9}{'cpu':>9}{'ratio':>8}{'by cpu':>8}")
    bare = np.median(seconds["bare"], axis=0)
    for name, rounds in seconds.items():
        wall, cpu = np.median(rounds, axis=0)
        best = min(rounds)[0]
        print(f"{name:<14}{wall:>9.3f}{best:>9.3f}{cpu:>9.3f}{wall / bare[0]:>8.2f}{cpu / bare[1]:>8.2f}")
    ratios = [one[0] / other[0] for one, other in zip(seconds["evaluated"], seconds["bare"], strict=True)]
    print(f"evaluated / bare, median of the rounds: {np.median(ratios):.2f} (target: at most {_TARGET})")


if __name__ == "__main__":
    main()
