"""Many short arrays in two flat ones: the layout every whole-column kernel here works on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Row i is `values[offsets[i]:offsets[i + 1]]`; `offsets` has one entry more than there are rows."""

    values: NDArray[np.unsignedinteger]
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> I64:
        """Length of each row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> I64:
        """Row index of each value."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def take(self, index: I64) -> Ragged:
        """Rows `index`, in that order."""
        sizes = self.sizes[index]
        return Ragged(self.values[spans(self.offsets[index], sizes)], offsets_of(sizes))

    def keep(self, chosen: NDArray[np.bool_]) -> Ragged:
        """The rows where `chosen`."""
        return Ragged(self.values[np.repeat(chosen, self.sizes)], offsets_of(self.sizes[chosen]))

    def slices(self, budget: int) -> Iterator[tuple[int, int]]:
        """Cut the rows into runs [low, high) of at most `budget` values each (a longer single row stands alone)."""
        low = 0
        while low < len(self):
            high = int(np.searchsorted(self.offsets, self.offsets[low] + budget, side="right")) - 1
            high = min(max(high, low + 1), len(self))
            yield low, high
            low = high


def offsets_of(sizes: I64) -> I64:
    """Offsets of rows of these sizes."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def spans(starts: I64, sizes: I64) -> I64:
    """Concatenate the ranges [start, start + size)."""
    total = int(sizes.sum())
    ends = np.cumsum(sizes)
    ranges: I64 = np.arange(total) + np.repeat(starts - (ends - sizes), sizes)
    return ranges


def sorted_unique(values: U32, rows: I64, count: int) -> Ragged:
    """Sort each row's values and drop repeats; `rows` names the row of each value, `count` how many rows there are."""
    keys = np.unique((rows.astype(np.uint64) << np.uint64(32)) | values)
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=count)
    return Ragged(keys.astype(np.uint32), offsets_of(sizes))


def concatenate(parts: Sequence[Ragged]) -> Ragged:
    """Put the rows of several parts one after another."""
    if not parts:
        return Ragged(np.empty(0, np.uint32), np.zeros(1, np.int64))
    return Ragged(
        np.concatenate([part.values for part in parts]), offsets_of(np.concatenate([part.sizes for part in parts]))
    )


def fmix64(h: U64) -> U64:
    """MurmurHash3's 64-bit finaliser, element-wise: a bijection that spreads every bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


def row_hash(rows: Ragged) -> U64:
    """One 64-bit hash a row, over its values in order and its length."""
    position = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.sizes)
    mixed = fmix64(rows.values.astype(np.uint64) ^ fmix64(position.astype(np.uint64)))
    total = np.zeros(len(rows), np.uint64)
    filled = rows.sizes > 0
    if filled.any():
        total[filled] = np.add.reduceat(mixed, rows.offsets[:-1][filled])
    return fmix64(total ^ fmix64(rows.sizes.astype(np.uint64)))
