"""MinHash over hashed sets: signatures equal to datasketch's, banding for candidates, exact Jaccard to verify."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.progress import Progress, silent
from studio.text.ragged import I64, U32, Ragged, fmix64, offsets_of, spans

Pairs = NDArray[np.int64]
"""Shape (n, 2): row indices, the smaller first, sorted, each pair once."""

_VALUES_A_BLOCK = 200_000
_PAIRS_A_BLOCK = 2_000_000
_KEYS_HELD = 20_000_000


@dataclass(frozen=True)
class Banding:
    """How signatures are cut: `bands` groups of `rows` values; texts that agree in one band are candidates."""

    bands: int
    rows: int

    def probability(self, jaccard: float) -> float:
        """Chance that two sets of this Jaccard become candidates: 1 - (1 - J^rows)^bands."""
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


def banding_for_recall(num_perm: int, threshold: float, recall: float = 0.98) -> Banding:
    """Choose the most selective banding of `num_perm` values that still finds `recall` of the pairs at `threshold`.

    Every candidate is verified exactly, so a false candidate costs time and nothing else; datasketch's optimiser
    weighs both errors alike and loses recall.
    """
    fitting = [Banding(num_perm // rows, rows) for rows in range(1, num_perm + 1)]
    good = [banding for banding in fitting if banding.probability(threshold) >= recall]
    return good[-1] if good else fitting[0]


def signatures(sets: Ragged, num_perm: int, seed: int, progress: Progress = silent) -> U32:
    """MinHash signatures, shape (rows, num_perm), with datasketch's own permutations (scheme affine32).

    An empty set has the all-ones signature, as in datasketch.
    """
    # Imported here: it brings scipy along, which takes long to import, and little that uses this module needs it.
    from datasketch import MinHash

    a, b = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations.astype(np.uint32)
    mixed = _fmix32(sets.values.astype(np.uint32))
    result = np.full((len(sets), num_perm), np.uint32(0xFFFFFFFF))
    for low, high in sets.slices(_VALUES_A_BLOCK):
        filled = np.flatnonzero(sets.sizes[low:high]) + low
        if len(filled):
            start, stop = sets.offsets[low], sets.offsets[high]
            hashed = mixed[start:stop] * a[:, None] + b[:, None]
            result[filled] = np.minimum.reduceat(hashed, sets.offsets[filled] - start, axis=1).T
        progress("compute MinHash signatures", high, len(sets))
    return result


@dataclass(frozen=True)
class Verified:
    """Pairs of sets and how many values each shares, exactly."""

    pairs: Pairs
    shared: I64


def near_in_sets(
    sets: Ragged, floor: float, num_perm: int, seed: int, banding: Banding, max_bucket: int, progress: Progress = silent
) -> tuple[Verified, int]:
    """Pairs of `sets` that MinHash finds, of an exact Jaccard from `floor` up; also how many buckets were capped."""
    signature = signatures(sets, num_perm, seed, progress)
    found, capped = candidates(signature, banding, max_bucket, progress)
    return verified(sets, found, floor, progress), capped


def verified(sets: Ragged, pairs: Pairs, floor: float, progress: Progress = silent) -> Verified:
    """Those of `pairs` whose exact Jaccard is at least `floor`."""
    shared = intersections(sets, pairs, progress)
    near = shared >= floor * (sets.sizes[pairs].sum(axis=1) - shared)
    return Verified(pairs[near], shared[near])


def candidates(signature: U32, banding: Banding, max_bucket: int, progress: Progress = silent) -> tuple[Pairs, int]:
    """Pairs of rows that agree in at least one band, and how many buckets were capped.

    A bucket of more than `max_bucket` rows is not compared all to all: each row meets the first quarter of so many
    rows of the bucket, which are the same in every band, and as many of its next ones.
    """
    parts: list[NDArray[np.uint64]] = []
    capped = 0
    for band, key in enumerate(band_keys(signature, banding)):
        for keys, cut in _collisions(key, max_bucket):
            parts.append(keys)
            capped += cut
        # The same pair collides in many bands: repeats are dropped now and then, not at every band.
        if sum(map(len, parts)) > _KEYS_HELD:
            parts = [np.unique(np.concatenate(parts))]
        progress("match bands", band + 1, banding.bands)
    return _unpack(np.unique(np.concatenate(parts))) if parts else _unpack(np.empty(0, np.uint64)), capped


def band_keys(signature: U32, banding: Banding) -> U32:
    """One 32-bit key a band and row, shape (bands, rows): rows that agree in a band have equal keys there.

    Now and then rows that do not agree have, too: one more candidate to verify.
    """
    keys = np.empty((banding.bands, len(signature)), np.uint32)
    for band in range(banding.bands):
        total = np.zeros(len(signature), np.uint64)
        for column in range(band * banding.rows, (band + 1) * banding.rows):
            total = total * np.uint64(0x9E3779B97F4A7C15) + signature[:, column]
        keys[band] = fmix64(total) >> np.uint64(32)
    return keys


def _collisions(key: NDArray[np.uint32], max_bucket: int) -> list[tuple[NDArray[np.uint64], int]]:
    """Packed pairs of rows with equal `key`, in blocks of bounded size."""
    reach = max(max_bucket // 4, 1)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(key) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(key)])
    many = sizes > 1
    starts, sizes = starts[many], sizes[many]
    position = spans(starts, sizes)
    following = np.repeat(starts + sizes, sizes) - position - 1
    limited = (np.repeat(sizes, sizes) > max_bucket) & (position - np.repeat(starts, sizes) >= reach)
    following[limited] = np.minimum(following[limited], reach)
    capped = int((sizes > max_bucket).sum())
    blocks = []
    for low, high in Ragged(np.empty(0, np.uint32), offsets_of(following)).slices(_PAIRS_A_BLOCK):
        here, count = position[low:high], following[low:high]
        blocks.append((_pack(np.repeat(order[here], count), order[spans(here + 1, count)]), 0))
    return [*blocks, (np.empty(0, np.uint64), capped)]


def prefix_join(sets: Ragged, threshold: float, progress: Progress = silent) -> Pairs:
    """Every pair that can reach `threshold`, without MinHash: the prefix filter of set-similarity joins.

    Two sets with Jaccard >= t share a value among the rarest n - ceil(t n) + 1 values of each (Bayardo, Ma and
    Srikant 2007, "Scaling up all pairs similarity search"). Sets whose sizes alone rule t out are left out.
    """
    values, inverse, frequency = np.unique(sets.values, return_inverse=True, return_counts=True)
    rarity = np.empty(len(values), np.int64)
    rarity[np.argsort(frequency, kind="stable")] = np.arange(len(values))
    rank = rarity[inverse]
    order = np.lexsort((rank, sets.rows))
    sizes = sets.sizes
    prefix = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
    chosen = order[spans(sets.offsets[:-1], prefix)]
    rows = np.repeat(np.arange(len(sets)), prefix)
    shared = frequency[inverse[chosen]] > 1
    by_size = np.lexsort((sizes[rows[shared]], rank[chosen][shared]))
    row, token = rows[shared][by_size], rank[chosen][shared][by_size]
    found: list[NDArray[np.uint64]] = []
    if len(row):
        starts = np.flatnonzero(np.r_[True, token[1:] != token[:-1]])
        group_end = np.repeat(np.r_[starts[1:], len(token)], np.diff(np.r_[starts, len(token)]))
        size_rank = token.astype(np.float64) * (sizes.max() + 1.0)
        limit = np.searchsorted(size_rank + sizes[row], size_rank + sizes[row] / threshold + 1e-6, side="right")
        following = np.minimum(limit, group_end) - np.arange(len(row)) - 1
        for low, high in Ragged(np.empty(0, np.uint32), offsets_of(following)).slices(_PAIRS_A_BLOCK):
            count = following[low:high]
            partner = row[spans(np.arange(low, high) + 1, count)]
            found.append(np.unique(_pack(np.repeat(row[low:high], count), partner)))
            progress("join prefixes", high, len(row))
    return _unpack(np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64))


def intersections(sets: Ragged, pairs: Pairs, progress: Progress = silent) -> I64:
    """Size of the intersection of each pair's sets, exactly: each value of the smaller is looked up in the larger."""
    result = np.zeros(len(pairs), np.int64)
    if not (len(pairs) and len(sets.values)):
        return result
    # Rows are in order and sorted within, so row and value together are one sorted array to search in.
    everything = _keys(sets.rows, sets.values)
    sizes = sets.sizes
    swap = sizes[pairs[:, 0]] > sizes[pairs[:, 1]]
    small, large = np.where(swap, pairs[:, 1], pairs[:, 0]), np.where(swap, pairs[:, 0], pairs[:, 1])
    work = Ragged(np.empty(0, np.uint32), offsets_of(sizes[small]))
    for low, high in work.slices(_PAIRS_A_BLOCK):
        wanted = sets.take(small[low:high])
        keys = _keys(large[low:high][wanted.rows], wanted.values)
        place = np.minimum(np.searchsorted(everything, keys), len(everything) - 1)
        found = wanted.rows[everything[place] == keys]
        result[low:high] = np.bincount(found, minlength=high - low)
        progress("verify candidates", high, len(pairs))
    return result


def _keys(rows: I64, values: NDArray[np.unsignedinteger]) -> NDArray[np.uint64]:
    return (rows.astype(np.uint64) << np.uint64(32)) | values.astype(np.uint64)


def _pack(one: I64, other: I64) -> NDArray[np.uint64]:
    low, high = np.minimum(one, other), np.maximum(one, other)
    return (low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64)


def _unpack(keys: NDArray[np.uint64]) -> Pairs:
    return np.stack([keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)


def _fmix32(h: U32) -> U32:
    """MurmurHash3's 32-bit finaliser: datasketch's pre-mix of the affine32 scheme."""
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))
