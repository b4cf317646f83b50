"""Time and memory of every check on the same rows, beside near_duplicates.

    python tests/benchmarks/checks.py FILE.parquet [--query query] [--passage passage] [--rows N]
    python tests/benchmarks/checks.py --generate 1000000 [--seed 1]

Generated rows: passages as in near_duplicates.py, their first words as queries, every tenth row in a test split. Peak
memory is the process's until then. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import polars as pl

from studio.checks.base import configured, counts_by_band
from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.project.evidence import Evidence
from studio.project.settings import ProjectSettings
from studio.text import kernels
from tests.benchmarks.near_generated import generate


def rows_of(queries: pl.Series, passages: pl.Series) -> pl.DataFrame:
    """The two columns as SNAPSHOT_SCHEMA."""
    number = pl.int_range(len(queries))
    frame = pl.DataFrame({"query": queries, "positive": passages}).with_columns(
        row_id=number.cast(pl.String).str.zfill(16),
        split=pl.when(number % 10 == 0).then(pl.lit("test")).otherwise(pl.lit("train")),
        source=pl.format("generated:{}", number),
        negatives=pl.lit([], pl.List(pl.String)),
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SNAPSHOT_SCHEMA.items() if name not in frame.columns]
    return frame.with_columns(missing).select(SNAPSHOT_SCHEMA.names()).cast(SNAPSHOT_SCHEMA)


def main() -> None:
    """Run each check once, those it needs before it, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--query", default="query")
    parser.add_argument("--passage", default="passage")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--generate", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.generate:
        passages = generate(options.generate, options.seed)
        pairs = rows_of(passages.str.split(" ").list.head(9).list.join(" ").alias("query"), passages)
    else:
        columns = pl.read_parquet(options.file, columns=[options.query, options.passage]).head(options.rows or 2**62)
        pairs = rows_of(columns[options.query], columns[options.passage])
    start = time.perf_counter()
    kernels.fast(2**62)
    print(
        f"{pairs.height:,} rows; compiled kernels ready after {time.perf_counter() - start:.1f} s (not counted below)"
    )
    print(f"{'check':18}{'seconds':>9}{'peak MB':>9}  found")
    found: dict[str, Evidence] = {}
    seconds: dict[str, float] = {}
    for item in configured(ProjectSettings(name="benchmark")):
        item.needed = {name: found[name] for name in item.needs}
        start = time.perf_counter()
        found[item.name] = item.run(pairs)
        seconds[item.name] = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        counts = ", ".join(
            f"{what} {band} {count:,}" for _, what, band, count in counts_by_band(found[item.name]).iter_rows()
        )
        print(f"{item.name:18}{seconds[item.name]:9.2f}{peak:9.0f}  {counts[:110]}", flush=True)
    near = seconds.pop("near_duplicates")
    print(
        f"all others together: {sum(seconds.values()):.1f} s, {sum(seconds.values()) / near:.1f} times near_duplicates"
    )


if __name__ == "__main__":
    main()
