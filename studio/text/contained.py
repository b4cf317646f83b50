"""Texts inside other texts, and texts that overlap: the end of one is the beginning of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.progress import Progress, silent
from studio.text.minhash import Pairs, intersections
from studio.text.ragged import I64, U64, Ragged, fmix64, spans

_SLOT_BITS = 25
_HEAD_WORDS = 8
_PLACES_A_PAIR = 16
_ROWS_A_BLOCK = 250_000


@dataclass(frozen=True)
class Contained:
    """Row `pairs[k, 0]` lies in row `pairs[k, 1]`: `shared` of its `size` values are there too."""

    pairs: Pairs
    shared: I64
    size: I64
    capped: int
    """Values in so many sets that they were not followed."""


def contained_in(sets: Ragged, threshold: float, max_holders: int, progress: Progress = silent) -> Contained:
    """Pairs where the second set holds at least `threshold` of the first, smaller one.

    A set of n values of which ceil(t n) are elsewhere shares one of any n - ceil(t n) + 1 of its values with that
    place, so only its rarest so many are looked up (the prefix filter of Chaudhuri, Ganti and Kaushik 2006, "A
    primitive operator for similarity joins", with containment as the measure). Rarity is counted in hashed slots; a
    value that stands alone leads nowhere.
    """
    sizes = sets.sizes
    values = sets.values.astype(np.uint32, copy=False)
    slots = values >> np.uint32(32 - _SLOT_BITS)
    holders = np.bincount(slots, minlength=1 << _SLOT_BITS)
    prefix = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
    alone = np.add.reduceat(np.r_[holders[slots] == 1, False], sets.offsets[:-1]) * (sizes > 0) if len(sets) else sizes
    inner = np.flatnonzero(alone < prefix)
    progress("look for texts inside texts", 1, 4)
    rows, tokens, capped = _rarest(sets.take(inner), (prefix - alone)[inner], holders, max_holders)
    progress("look for texts inside texts", 2, 4)
    found = _holders(sets, slots, inner[rows], tokens)
    found = found[sizes[found[:, 1]] >= sizes[found[:, 0]]]
    found = found[(sizes[found[:, 1]] > sizes[found[:, 0]]) | (found[:, 0] > found[:, 1])]
    progress("look for texts inside texts", 3, 4)
    shared = intersections(sets, found)
    inside = shared >= threshold * sizes[found[:, 0]] - 1e-9
    progress("look for texts inside texts", 4, 4)
    return Contained(found[inside], shared[inside], sizes[found[inside, 0]], capped)


def _rarest(sets: Ragged, wanted: I64, holders: I64, max_holders: int) -> tuple[I64, NDArray[np.uint32], int]:
    """The `wanted` rarest values of each row that do not stand alone, as (row, value); those too common left out."""
    values = sets.values.astype(np.uint32, copy=False)
    count = holders[values >> np.uint32(32 - _SLOT_BITS)]
    shared = count > 1
    rows, values, count = sets.rows[shared], values[shared], count[shared]
    order = np.lexsort((count, rows))
    rows, values, count = rows[order], values[order], count[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    chosen = place < wanted[rows]
    few = count <= max_holders
    return rows[chosen & few], values[chosen & few], int((chosen & ~few).sum())


def _holders(sets: Ragged, slots: NDArray[np.uint32], rows: I64, tokens: NDArray[np.uint32]) -> Pairs:
    """Distinct pairs (row, other row that holds one of the row's tokens)."""
    asked = np.zeros(1 << _SLOT_BITS, bool)
    asked[tokens >> np.uint32(32 - _SLOT_BITS)] = True
    where = np.flatnonzero(asked[slots])
    held = sets.values[where].astype(np.uint32, copy=False)
    order = np.argsort(held, kind="stable")
    held, where = held[order], where[order]
    low, high = np.searchsorted(held, tokens, side="left"), np.searchsorted(held, tokens, side="right")
    other = where[spans(low, high - low)]
    one = np.repeat(rows, high - low)
    other = np.searchsorted(sets.offsets, other, side="right") - 1
    keys = np.unique((one.astype(np.uint64) << np.uint64(32)) | other.astype(np.uint64))
    pairs = np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
    others: Pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return others


def overlapping(words: Ragged, minimum: int, max_holders: int, progress: Progress = silent) -> tuple[Pairs, I64]:
    """Pairs where the last words of the first row are the first words of the second, and how many words.

    Args:
        words: each row's word hashes, in order.
        minimum: overlaps of fewer words are not reported; at least eight.
        max_holders: beginnings that stand in more places than this are left out.
    """
    minimum = max(minimum, _HEAD_WORDS)
    sizes = words.sizes
    begins = np.flatnonzero(sizes >= minimum)
    heads = _hashes(words.values, words.offsets[begins])
    order = np.argsort(heads, kind="stable")
    begins, heads = begins[order], heads[order]
    bloom = np.zeros(1 << _SLOT_BITS, bool)
    bloom[heads >> np.uint64(64 - _SLOT_BITS)] = True
    places, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for low in range(0, len(sizes), _ROWS_A_BLOCK):
        rows = np.arange(low, min(low + _ROWS_A_BLOCK, len(sizes)))
        # A window that leaves fewer than `minimum` words to the end of its text cannot be such an overlap.
        count = np.maximum(sizes[rows] - minimum, 0)
        at = spans(words.offsets[rows] + 1, count)
        hashes = _hashes(words.values, at)
        likely = bloom[hashes >> np.uint64(64 - _SLOT_BITS)]
        at, hashes = at[likely], hashes[likely]
        first, last = np.searchsorted(heads, hashes, side="left"), np.searchsorted(heads, hashes, side="right")
        few = (last > first) & (last - first <= max_holders)
        places.append(np.repeat(at[few], (last - first)[few]))
        owners.append(begins[spans(first[few], (last - first)[few])])
        progress("look for overlapping windows", int(rows[-1]) + 1, len(sizes))
    return _verified(words, np.concatenate(places), np.concatenate(owners))


def _hashes(values: U64, at: I64) -> U64:
    """Hash the `_HEAD_WORDS` values from each place on."""
    total = np.zeros(len(at), np.uint64)
    for step in range(_HEAD_WORDS):
        total = fmix64(total + values[at + step])
    return total


def _verified(words: Ragged, places: I64, owners: I64) -> tuple[Pairs, I64]:
    rows = np.searchsorted(words.offsets, places, side="right") - 1
    lengths = words.offsets[rows + 1] - places
    fits = (lengths < words.sizes[owners]) & (rows != owners)
    places, owners, rows, lengths = places[fits], owners[fits], rows[fits], lengths[fits]
    few = _first_places(rows, owners)
    places, owners, rows, lengths = places[few], owners[few], rows[few], lengths[few]
    same = words.values[spans(places, lengths)] == words.values[spans(words.offsets[owners], lengths)]
    starts = np.cumsum(lengths) - lengths
    equal = np.logical_and.reduceat(same, starts) if len(lengths) else np.empty(0, bool)
    pairs = np.stack([rows[equal], owners[equal]], axis=1)
    order = np.lexsort((-lengths[equal], pairs[:, 1], pairs[:, 0]))
    pairs, lengths = pairs[order], lengths[equal][order]
    longest = np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)] if len(pairs) else np.empty(0, bool)
    return pairs[longest], lengths[longest]


def _first_places(rows: I64, owners: I64) -> I64:
    """Positions of the first places of each pair of texts: one that repeats itself over and over has thousands."""
    order = np.lexsort((owners, rows))
    changes = (
        np.r_[True, (np.diff(rows[order]) != 0) | (np.diff(owners[order]) != 0)] if len(order) else np.empty(0, bool)
    )
    starts = np.flatnonzero(changes)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    first: I64 = np.sort(order[rank < _PLACES_A_PAIR])
    return first
