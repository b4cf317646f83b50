"""The compiled kernels as the rest of the studio calls them: a column's Arrow bytes in, `Ragged` sets and pairs out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numba
import numpy as np
import polars as pl
import pyarrow as pa
from datasketch import MinHash
from numpy.typing import NDArray

from studio.progress import Progress, silent
from studio.text import compiled
from studio.text.folding import folding_tables
from studio.text.minhash import Banding, Pairs, Verified
from studio.text.normalise import Level, normalised
from studio.text.ragged import I64, U64, Ragged, fmix64, offsets_of
from studio.text.shingles import Spec, Texts

_ROWS_A_STEP = 250_000
_PLACES = 64


class CompiledTexts(Texts):
    """Texts cut by the compiled kernels, straight from the column's UTF-8 bytes."""

    def __init__(self, raw: pl.Series, level: Level = Level.SURFACE) -> None:
        self._folded, contextual = folding_tables(level)
        self._place = fmix64(np.arange(_PLACES, dtype=np.uint64))
        data, offsets = _bytes_of(raw)
        slow = compiled.needs_normalising(data, offsets, contextual)
        if slow.any():
            rows = pl.Series(np.flatnonzero(slow))
            brought = raw.gather(rows).to_frame().select(normalised(pl.first(), level)).to_series()
            data, offsets = _bytes_of(raw.clone().scatter(rows, brought))
        self._data, self._offsets = data, offsets
        self._rows: I64 = np.arange(len(raw))

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, index: I64) -> CompiledTexts:
        """The texts `index`, in that order; the bytes are shared."""
        taken = object.__new__(CompiledTexts)
        taken.__dict__.update(self.__dict__, _rows=self._rows[index])
        return taken

    def words(self) -> tuple[I64, U64]:
        """How many words each text has, and one hash over them in order."""
        counts, keys = compiled.word_stats(
            self._data, self._offsets, self._rows, self._folded, self._place, _parts(len(self))
        )
        return counts, keys

    def sequences(self) -> Ragged:
        """The hashes of each text's words, in order."""
        starts = offsets_of(self.words()[0])
        args = (self._data, self._offsets, self._rows, self._folded, self._place, starts, _parts(len(self)))
        return Ragged(compiled.word_sequences(*args), starts)

    def shingles(self, spec: Spec, progress: Progress = silent) -> Ragged:
        """Each text's set of shingles, hashed to 32 bits, sorted."""
        values, sizes = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
        for low, high in _steps(len(self)):
            rows = self._rows[low:high]
            by_word = spec.unit == "word"
            value, size = compiled.shingle_sets(
                self._data, self._offsets, rows, self._folded, self._place, by_word, spec.size, _parts(len(rows))
            )
            values.append(value)
            sizes.append(size)
            progress(f"cut {spec} shingles", high, len(self))
        return Ragged(np.concatenate(values), offsets_of(np.concatenate(sizes)))


def row_hash(sets: Ragged) -> U64:
    """One 64-bit hash a row, as `ragged.row_hash`."""
    keys: U64 = compiled.row_hash(sets.values.astype(np.uint32, copy=False), sets.offsets)
    return keys


def near_in_sets(
    sets: Ragged, floor: float, num_perm: int, seed: int, banding: Banding, max_bucket: int, progress: Progress = silent
) -> tuple[Verified, int]:
    """MinHash candidates of `sets`, verified on the spot; also how many buckets were capped (`minhash.candidates`)."""
    a, b = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations.astype(np.uint32)
    values = sets.values.astype(np.uint32, copy=False)
    keys = np.empty((banding.bands, len(sets)), np.uint32)
    signature = np.empty((min(len(sets), _ROWS_A_STEP), num_perm), np.uint32)
    # Only the keys of the bands are kept: a signature is a kilobyte a text.
    for low, high in _steps(len(sets)):
        block = signature[: high - low]
        compiled.signatures(values, sets.offsets[low : high + 1], a, b, _parts(high - low), block)
        compiled.band_keys(block, banding.rows, keys, low)
        progress("compute MinHash signatures", high, len(sets))
    threads = numba.get_num_threads()
    crowded = np.zeros((banding.bands, len(sets)), np.bool_)
    parts = []
    capped = 0
    for first in range(0, banding.bands, threads):
        stop = min(first + threads, banding.bands)
        reach = max(max_bucket // 4, 1)
        one, other, shared, cut = compiled.near_in_bands(
            keys, values, sets.offsets, first, stop, floor, max_bucket, reach, crowded
        )
        parts.append((one, other, shared))
        capped += int(cut)
        progress("match bands", stop, banding.bands)
    one, other, shared = (np.concatenate(column) for column in zip(*parts, strict=True))
    packed, where = np.unique((one.astype(np.uint64) << np.uint64(32)) | other.astype(np.uint64), return_index=True)
    pairs: Pairs = np.stack([packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
    return Verified(pairs, shared[where].astype(np.int64)), capped


def warm() -> Iterator[tuple[int, int]]:
    """Compile every kernel, or load it, on a column of three texts; yields (done, total) after each."""
    total = 4
    texts = CompiledTexts(pl.Series(["um dois três quatro", "um dois três cinco", "ação²"]))
    yield 1, total
    texts.sequences()
    yield 2, total
    sets = texts.shingles(Spec("word", 1))
    yield 3, total
    row_hash(sets)
    near_in_sets(sets, 0.5, 16, 1, Banding(2, 1), 8)
    yield 4, total


def _bytes_of(texts: pl.Series) -> tuple[NDArray[np.uint8], I64]:
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8), bounds


def _parts(rows: int) -> int:
    """Runs of rows a kernel works on at once: several a core, so that long texts in one do not hold up the rest."""
    return max(1, min(rows, 16 * (os.cpu_count() or 1)))


def _steps(rows: int) -> Iterator[tuple[int, int]]:
    for low in range(0, rows, _ROWS_A_STEP):
        yield low, min(low + _ROWS_A_STEP, rows)
