"""Time the conflict-aware sampler against sentence-transformers' NO_DUPLICATES_HASHED, and count what each lets meet.

    python -m tests.benchmarks.sampler --rows 1000000 --batch 128

The rows are made up: a fifth are in answer groups of 2 to 6 passages; a twentieth have heavy passages, each of up to
1/200 of all rows; and for each hundredth row an edge joins a query to a passage that is not its own. "Prepared" is
what a sampler does once (hashes; keys), "drawn" one epoch, all batches taken, the best of three. The pairs of rows in
conflict that met in a batch are counted over three epochs, with the keys of all conflicts. Last, a fifth of the rows
share one passage; NO_DUPLICATES, which for each batch scans again what it put off, is given `--patience` seconds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from datasets import Dataset, disable_progress_bars
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler
from torch.utils.data import RandomSampler

from studio.mining.conflicts import EDGES_SCHEMA, GROUPS_SCHEMA, Conflicts, RowKeys
from studio.training.sampler import ConflictAwareBatchSampler, text_columns

_WORDS = 60
_EPOCHS = 3


class Drawing(NamedTuple):
    """What one epoch came to."""

    batches: int
    short: int
    left_over: int
    met: int
    finished: bool


def generate(rows: int, seed: int) -> tuple[Dataset, Conflicts]:
    """Rows with groups, heavy passages and edges, shuffled; the same for the same seed."""
    rng = np.random.default_rng(seed)
    grouped, heavy = rows // 5, rows // 20
    passage = np.arange(rows)
    rows_each = np.minimum(10 * (1 + rng.pareto(0.7, heavy)), rows // 200).astype(np.int64)
    passage[grouped : grouped + heavy] = grouped + np.repeat(np.arange(heavy), rows_each)[:heavy]
    sizes = rng.integers(2, 7, grouped)
    group = np.repeat(np.arange(grouped), sizes)[:grouped]
    shuffled = rng.permutation(passage)
    words = np.array([f"word{i}" for i in range(5_000)])
    body = [" ".join(words[rng.integers(5_000, size=_WORDS)]) for _ in range(997)]
    data = pl.DataFrame(
        {
            "query": [f"what is number {i} of {rows}?" for i in range(rows)],
            "positive": [f"passage {p}: {body[p % 997]}" for p in shuffled.tolist()],
        }
    )
    text = [f"passage {p}: {body[p % 997]}" for p in range(grouped)]
    ends = rng.integers(rows, size=(rows // 100, 2))
    edges = {"a": data["query"].gather(ends[:, 0]), "b": data["positive"].gather(ends[:, 1])}
    conflicts = Conflicts(
        pl.DataFrame({"text": text, "group": group}, schema=GROUPS_SCHEMA), pl.DataFrame(edges, schema=EDGES_SCHEMA)
    )
    return Dataset(data.to_arrow()), conflicts


def one_passage(rows: int) -> Dataset:
    """A fifth of the rows share one passage."""
    passages = [f"passage {i if i % 5 else 0}" for i in range(rows)]
    return Dataset.from_dict({"query": [f"query {i}" for i in range(rows)], "positive": passages})


def draw(batches: Iterable[list[int]], keys: RowKeys, size: int, patience: float = float("inf")) -> Drawing:
    """Take the batches of an epoch and count what meets in them; stop when patience is over."""
    batch_of = np.full(keys.rows, -1, np.int64)
    start, count, short, finished = time.perf_counter(), 0, 0, True
    for batch in batches:
        batch_of[batch] = count
        count += 1
        short += len(batch) < size
        if time.perf_counter() - start > patience:
            finished = False
            break
    held = batch_of[keys.holders] >= 0
    # Each pair of rows once, though it may share several keys.
    entries = pl.DataFrame(
        {"batch": batch_of[keys.holders[held]], "key": keys.keys[held], "row": keys.holders[held]}
    ).filter(pl.struct("batch", "key").is_duplicated())
    pairs = entries.join(entries, on=["batch", "key"], suffix="_other").filter(pl.col("row") < pl.col("row_other"))
    met = pairs.select("row", "row_other").unique().height
    return Drawing(count, short, int((batch_of < 0).sum()), met, finished)


def timed(batches: Iterable[list[int]]) -> float:
    """Seconds to take all batches of an epoch."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


def line(name: str, prepared: float, drawn: list[float], epochs: list[Drawing]) -> None:
    first, met = epochs[0], sum(epoch.met for epoch in epochs)
    print(
        f"{name:22}{prepared:>10.1f}{min(drawn):>9.2f}{prepared + min(drawn):>9.1f}{first.batches:>10,}"
        f"{first.short:>8,}{first.left_over:>11,}{met:>16,}",
        flush=True,
    )


def main() -> None:
    """Generate, draw, print a table a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--patience", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    disable_progress_bars()
    data, conflicts = generate(asked.rows, asked.seed)
    common: dict[str, Any] = {"batch_size": asked.batch, "drop_last": False, "seed": asked.seed}
    print(f"{asked.rows:,} rows, batches of {asked.batch}, {_EPOCHS} epochs; seconds\n")
    print(
        f"{'sampler':22}{'prepared':>10}{'drawn':>9}{'both':>9}{'batches':>10}{'short':>8}{'left over':>11}"
        f"{'met in 3 epochs':>16}"
    )
    start = time.perf_counter()
    ours = ConflictAwareBatchSampler(data, **common, conflicts=conflicts)
    # The sampler draws epoch 0 once for its length: that is drawing.
    built = time.perf_counter() - start
    start = time.perf_counter()
    keys = conflicts.keys(text_columns(data))
    prepared = time.perf_counter() - start
    random = DefaultBatchSampler(RandomSampler(data, generator=torch.Generator().manual_seed(0)), asked.batch, False)
    line("random", 0, [timed(random)], [draw(random, keys, asked.batch) for _ in range(_EPOCHS)])

    theirs = NoDuplicatesBatchSampler(data, **common, generator=torch.Generator(), precompute_hashes=True)
    start = time.perf_counter()
    theirs._build_hashes()
    hashed = time.perf_counter() - start
    their_times, their_epochs = [], []
    for epoch in range(_EPOCHS):
        theirs.set_epoch(epoch)
        their_times.append(timed(theirs))
        their_epochs.append(draw(theirs, keys, asked.batch))
    line("NO_DUPLICATES_HASHED", hashed, their_times, their_epochs)

    our_times, our_epochs = [], []
    for epoch in range(1, _EPOCHS + 1):
        ours.set_epoch(epoch)
        our_times.append(timed(ours))
        our_epochs.append(draw(ours, keys, asked.batch))
    line("conflict-aware", prepared, our_times, our_epochs)
    print(
        f"\ntime, ours / theirs: {(prepared + min(our_times)) / (hashed + min(their_times)):.2f} with preparation, "
        f"{min(our_times) / min(their_times):.2f} an epoch; our sampler was built (keys and epoch 0) in {built:.1f} s; "
        f"{len(keys.keys):,} entries of {len(keys.sizes):,} keys"
    )

    data = one_passage(asked.rows)
    print(f"\n{asked.rows // 5:,} of {asked.rows:,} rows share one passage")
    start = time.perf_counter()
    ours = ConflictAwareBatchSampler(data, **common)
    found = draw(ours, ours.keys, asked.batch)
    print(f"conflict-aware         {time.perf_counter() - start:.1f} s, keys and one epoch: {found}")
    theirs = NoDuplicatesBatchSampler(data, **common, generator=torch.Generator(), precompute_hashes=True)
    theirs._build_hashes()
    start = time.perf_counter()
    found = draw(theirs, ours.keys, asked.batch, asked.patience)
    print(f"NO_DUPLICATES_HASHED   {time.perf_counter() - start:.1f} s, one epoch without hashing: {found}")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
