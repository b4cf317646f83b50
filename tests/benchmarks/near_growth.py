"""How the cost of near-duplicates grows with the column: generated texts, one process a size, one table.

    python tests/benchmarks/near_growth.py 10000 100000 1000000 10000000

Three-word shingles, 128 permutations, threshold 0.7, as in near_duplicates.py; kernels loaded before the clock starts.
Ten million texts need some 16 GiB. Run by hand; it is no test.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from near_generated import generate

from studio.text import kernels
from studio.text.near import near_pairs
from studio.text.shingles import Spec


def main() -> None:
    """Print one line a size."""
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        _one(int(sys.argv[2]))
        return
    print(f"{'texts':>12}{'seconds':>9}{'texts/s':>11}{'peak MB':>9}{'pairs':>11}", flush=True)
    for size in sys.argv[1:]:
        subprocess.run([sys.executable, __file__, "--one", size], check=True)


def _one(size: int) -> None:
    texts = generate(size, seed=1)
    kernels.fast(int(texts.str.len_bytes().sum()))
    start = time.perf_counter()
    near = near_pairs(texts, Spec("word", 3), floor=0.7, num_perm=128)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size:12,}{seconds:9.2f}{size / seconds:11,.0f}{peak:9,.0f}{len(near.pairs):11,}")


if __name__ == "__main__":
    main()
