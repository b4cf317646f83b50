"""Near-equal texts of a column: shingle sets, MinHash candidates or the exact join, and every pair verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.progress import Progress, silent
from studio.text import kernels
from studio.text.minhash import Pairs, Verified, banding_for_recall, near_in_sets, prefix_join, verified
from studio.text.normalise import Level, normalised
from studio.text.ragged import I64, U64, Ragged, offsets_of, row_hash, spans
from studio.text.shingles import PlainTexts, Spec, Texts

_TWINS = 8
_BYTES_A_VALUE = 20
Method = Literal["minhash", "exact"]


@dataclass(frozen=True)
class Sought:
    """What to look for: pairs with a Jaccard of at least `floor`, and how.

    `banded_for`: the Jaccard from which MinHash finds 98 of 100 pairs; below it, fewer. `exact` finds all.
    """

    floor: float
    banded_for: float
    method: Method = "minhash"
    num_perm: int = 256
    seed: int = 1
    max_bucket: int = 100


@dataclass(frozen=True)
class Near:
    """Verified pairs: `pairs` (n, 2) of rows, the smaller first; `shared` (n) and `sizes` (n, 2) of their sets."""

    pairs: Pairs
    shared: I64
    sizes: I64
    capped: int = 0
    """Crowded buckets whose rows were not compared all to all."""

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """Shared values over all values of both sets."""
        result: NDArray[np.float64] = self.shared / np.maximum(self.sizes.sum(axis=1) - self.shared, 1)
        return result

    @property
    def containment(self) -> NDArray[np.float64]:
        """Shared values over those of the smaller set."""
        result: NDArray[np.float64] = self.shared / np.maximum(self.sizes.min(axis=1), 1)
        return result

    def take(self, chosen: NDArray[np.bool_]) -> Near:
        """The pairs where `chosen`."""
        return Near(self.pairs[chosen], self.shared[chosen], self.sizes[chosen], self.capped)


def open_texts(raw: pl.Series, progress: Progress = silent, level: Level = Level.SURFACE) -> Texts:
    """Make a column ready to be cut: by compiled kernels where its size is worth them."""
    fast = kernels.fast(int(raw.str.len_bytes().sum() or 0), progress)
    return fast.CompiledTexts(raw, level) if fast else PlainTexts(raw, level)


def first_at_l2(texts: pl.Series, words: I64, keys: U64) -> I64:
    """Positions of texts that have words and are not equal at L2 to an earlier one.

    Only texts with the same words in the same order can be, so only those are brought to L2.

    Args:
        words: how many words each text has.
        keys: one hash a text over its words (`Texts.words`).
    """
    frame = pl.DataFrame({"text": texts, "key": keys, "words": words}).with_row_index("row").filter(pl.col("words") > 0)
    frame = frame.with_columns(pl.len().over("key").alias("alike"))
    repeated = frame.filter(pl.col("alike") > 1).select("row", normalised(pl.col("text"), Level.SURFACE))
    later = repeated.filter(~pl.col("text").is_first_distinct())["row"]
    return frame.filter(~pl.col("row").is_in(later.implode()))["row"].to_numpy().astype(np.int64)


def near_pairs(
    texts: pl.Series,
    spec: Spec,
    *,
    floor: float,
    num_perm: int = 256,
    seed: int = 1,
    method: Method = "minhash",
    progress: Progress = silent,
) -> Near:
    """Near-equal texts of a column, from `floor` up; MinHash finds 98 of 100 pairs at `floor` and more above it."""
    sought = Sought(floor, floor, method, num_perm, seed)
    return near_in(open_texts(texts, progress).shingles(spec, progress), sought, progress)


def near_in(sets: Ragged, sought: Sought, progress: Progress = silent) -> Near:
    """Verified pairs of sets. Equal sets are compared once; what is near to one of them is near to all of them.

    Of more than `_TWINS` equal sets only the first so many stand for themselves, the others come as pairs with the
    first alone. Empty sets are near to nothing.
    """
    distinct, twins = _collapsed(sets)
    alone = np.zeros(len(sets), bool)
    alone[distinct] = True
    chosen = sets if alone.all() else sets.keep(alone)
    found, capped = _found(chosen, sought, progress)
    one, other, shared = _spread(distinct[found.pairs], found.shared, twins, len(sets))
    pairs = np.stack([np.r_[one, twins[:, 0]], np.r_[other, twins[:, 1]]], axis=1)
    pairs.sort(axis=1)
    return Near(pairs, np.r_[shared, sets.sizes[twins[:, 0]]], sets.sizes[pairs], capped)


def _spread(pairs: Pairs, shared: I64, twins: Pairs, count: int) -> tuple[I64, I64, I64]:
    """Pairs of first sets, repeated for the sets that are equal to them; the two ends and what they share."""
    one, other = pairs[:, 0], pairs[:, 1]
    if len(twins) == 0:
        return one, other, shared
    # Each first set is a member of its own group.
    by_first = twins[np.argsort(twins[:, 0], kind="stable")]
    rank = np.arange(len(twins)) - np.searchsorted(by_first[:, 0], by_first[:, 0])
    few = by_first[rank < _TWINS - 1]
    groups = np.r_[np.arange(count), few[:, 0]]
    members = np.r_[np.arange(count), few[:, 1]]
    order = np.argsort(groups, kind="stable")
    members, sizes = members[order], np.bincount(groups, minlength=count)
    starts = offsets_of(sizes)[:-1]
    repeats = sizes[one] * sizes[other]
    place = spans(np.zeros(len(one), np.int64), repeats)
    width = np.repeat(sizes[other], repeats)
    return (
        members[np.repeat(starts[one], repeats) + place // width],
        members[np.repeat(starts[other], repeats) + place % width],
        np.repeat(shared, repeats),
    )


def _found(sets: Ragged, sought: Sought, progress: Progress) -> tuple[Verified, int]:
    if sought.method == "exact":
        return verified(sets, prefix_join(sets, sought.floor, progress), sought.floor, progress), 0
    banding = banding_for_recall(sought.num_perm, sought.banded_for)
    # A value costs NumPy more than a byte of text does: all the permutations, and its part in each band.
    fast = kernels.fast(_BYTES_A_VALUE * len(sets.values), progress)
    search = fast.near_in_sets if fast else near_in_sets
    return search(sets, sought.floor, sought.num_perm, sought.seed, banding, sought.max_bucket, progress)


def _collapsed(sets: Ragged) -> tuple[I64, Pairs]:
    """First row of each distinct set, and (first, other) for every row that repeats a set. Empty sets are left out."""
    fast = kernels.fast(8 * len(sets.values))
    filled = np.flatnonzero(sets.sizes)
    keys = (fast.row_hash if fast else row_hash)(sets)[filled]
    rows = pl.DataFrame({"key": keys}).with_row_index("row")
    first = rows.select(pl.col("row").first().over("key")).to_series().to_numpy().astype(np.int64)
    again = first != np.arange(len(keys))
    return filled[~again], np.stack([filled[first[again]], filled[again]], axis=1)
