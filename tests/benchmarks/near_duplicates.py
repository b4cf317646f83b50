"""Near-duplicates of a Parquet column: this studio beside a plain datasketch loop, in the same run.

    python tests/benchmarks/near_duplicates.py FILE.parquet --column passage [--rows N] [--threshold 0.7]

Truth is the exact prefix-filter join. Both sides get the same shingles (three words) and 128 permutations; the time of
each is from texts to pairs. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH

from studio.text.minhash import banding_for_recall, candidates, intersections, prefix_join, signatures
from studio.text.normalise import Level, normalised
from studio.text.ragged import Ragged
from studio.text.shingles import Spec, shingle

_SPEC, _PERMUTATIONS, _SEED = Spec("word", 3), 128, 1
Pairs = set[tuple[int, int]]


def _verified(sets: Ragged, found: np.ndarray, threshold: float) -> Pairs:
    shared = intersections(sets, found)
    jaccard = shared / np.maximum(sets.sizes[found].sum(axis=1) - shared, 1)
    return set(map(tuple, found[jaccard >= threshold].tolist()))


def studio_minhash(texts: list[str], threshold: float) -> Pairs:
    """Shingles, signatures, bands chosen for recall, exact verification."""
    sets = shingle(texts, _SPEC)
    signature = signatures(sets, _PERMUTATIONS, _SEED)
    found, _ = candidates(signature, banding_for_recall(_PERMUTATIONS, threshold), max_bucket=1000)
    return _verified(sets, found, threshold)


def studio_exact(texts: list[str], threshold: float) -> Pairs:
    """Every pair, by the prefix filter."""
    sets = shingle(texts, _SPEC)
    return _verified(sets, prefix_join(sets, threshold), threshold)


def datasketch_loop(texts: list[str], threshold: float) -> Pairs:
    """`MinHash.bulk` and `MinHashLSH` as their documentation shows; pairs are estimated, not verified."""
    words = (text.split() for text in texts)
    shingles = [[" ".join(w[i : i + 3]).encode() for i in range(max(1, len(w) - 2))] for w in words]
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    pairs: Pairs = set()
    for row, minhash in enumerate(MinHash.bulk(shingles, num_perm=_PERMUTATIONS, seed=_SEED)):
        pairs.update((int(other), row) for other in index.query(minhash))
        index.insert(str(row), minhash)
    return pairs


def main() -> None:
    """Run all three and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--column", default="passage")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threshold", type=float, default=0.7)
    options = parser.parse_args()
    column = pl.read_parquet(options.file, columns=[options.column]).head(options.rows or 2**62)
    texts = column.select(normalised(pl.first(), Level.SURFACE)).to_series().unique(maintain_order=True).to_list()
    runs: dict[str, Callable[[list[str], float], Pairs]] = {
        "studio, exact": studio_exact,
        "studio, minhash": studio_minhash,
        "datasketch": datasketch_loop,
    }
    truth: Pairs = set()
    print(f"{len(texts):,} distinct texts, threshold {options.threshold}")
    print(f"{'':18}{'seconds':>9}{'pairs':>10}{'precision':>11}{'recall':>8}{'peak MB':>9}")
    for name, run in runs.items():
        start = time.perf_counter()
        pairs = run(texts, options.threshold)
        seconds = time.perf_counter() - start
        truth = truth or pairs
        right = len(pairs & truth)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        precision, recall = right / max(len(pairs), 1), right / max(len(truth), 1)
        print(f"{name:18}{seconds:9.2f}{len(pairs):10,}{precision:11.3f}{recall:8.3f}{peak:9.0f}")


if __name__ == "__main__":
    main()
