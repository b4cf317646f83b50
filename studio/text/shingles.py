"""Words and shingles of a whole column at once, as hashed sets. No Python string is made for a word."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.progress import Progress, silent
from studio.text.normalise import Level, normalised
from studio.text.ragged import I64, U64, Ragged, concatenate, fmix64, offsets_of, row_hash, sorted_unique, spans

_CHARACTERS_A_CHUNK = 4_000_000
_SPACE = 0x20
_WINDOW = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


@dataclass(frozen=True)
class Spec:
    """What a shingle is: `size` consecutive words, or characters of the words joined by single spaces."""

    unit: str
    size: int

    def __str__(self) -> str:
        return f"{self.unit}-{self.size}"


class Texts(ABC):
    """A column of texts that can be cut into words. Words are those of the normalised form, L2 unless said otherwise.

    A word is a run of letters, digits and the marks that combine with them.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, index: I64) -> Texts:
        """The texts `index`, in that order."""

    @abstractmethod
    def words(self) -> tuple[I64, U64]:
        """How many words each text has, and one hash over them in order: equal hashes, equal words."""

    @abstractmethod
    def sequences(self) -> Ragged:
        """The 64-bit hashes of each text's words, in order."""

    @abstractmethod
    def shingles(self, spec: Spec, progress: Progress = silent) -> Ragged:
        """Each text's set of shingles, hashed to 32 bits, sorted.

        A text with fewer than `spec.size` units has one shingle: all of it. A text without words has none.
        """


class PlainTexts(Texts):
    """Texts cut with whole-column NumPy."""

    def __init__(self, raw: pl.Series, level: Level = Level.SURFACE) -> None:
        frame = raw.to_frame().select(normalised(pl.first(), level))
        self._texts: Sequence[str] = frame.to_series().to_list()

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, index: I64) -> PlainTexts:
        """The texts `index`, in that order."""
        taken = object.__new__(PlainTexts)
        taken._texts = [self._texts[row] for row in index.tolist()]
        return taken

    def words(self) -> tuple[I64, U64]:
        """How many words each text has, and one hash over them in order."""
        counts, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for chunk in _chunks(self._texts):
            words = _words(chunk)
            counts.append(words.counts)
            keys.append(row_hash(_word_hashes(words)))
        return np.concatenate(counts), np.concatenate(keys)

    def sequences(self) -> Ragged:
        """The 64-bit hashes of each text's words, in order."""
        return concatenate([_word_hashes(_words(chunk)) for chunk in _chunks(self._texts)])

    def shingles(self, spec: Spec, progress: Progress = silent) -> Ragged:
        """Each text's set of shingles, hashed to 32 bits, sorted."""
        parts, done = [], 0
        for chunk in _chunks(self._texts):
            words = _words(chunk)
            units = _word_hashes(words) if spec.unit == "word" else _spaced_characters(words)
            parts.append(_windows(units, spec.size))
            done += len(chunk)
            progress(f"cut {spec} shingles", done, len(self._texts))
        return concatenate(parts)


@dataclass(frozen=True)
class _Words:
    """The words of some texts: their characters, in order, and how they fall into words and texts."""

    codes: NDArray[np.uint32]
    sizes: I64
    counts: I64


def word_shingle(word: str) -> int:
    """The shingle of one L2 word under `Spec("word", 1)`."""
    letters = sum(_fmix64(ord(letter) ^ _fmix64(place)) for place, letter in enumerate(word)) & _MASK
    unit = _fmix64(_fmix64(letters ^ _fmix64(len(word))))
    return _fmix64((_WINDOW + unit) & _MASK) >> 32


def _fmix64(h: int) -> int:
    """`ragged.fmix64` of one number."""
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & _MASK
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & _MASK
    return h ^ (h >> 33)


def _chunks(texts: Sequence[str]) -> list[Sequence[str]]:
    chunks, low, size = [], 0, 0
    for index, text in enumerate(texts):
        if size and size + len(text) > _CHARACTERS_A_CHUNK:
            chunks.append(texts[low:index])
            low, size = index, 0
        size += len(text)
    if low < len(texts):
        chunks.append(texts[low:])
    return chunks


@cache
def _is_word_character() -> NDArray[np.bool_]:
    table = np.zeros(0x110000, bool)
    for code in range(0x110000):
        table[code] = unicodedata.category(chr(code))[0] in "LNM"
    return table


def _words(texts: Sequence[str]) -> _Words:
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    inside = _is_word_character()[codes]
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    starts = offsets_of(lengths)[:-1]
    first = starts[lengths > 0]
    begins[first] = inside[first]
    word_of = np.cumsum(begins) - 1
    sizes = np.bincount(word_of[inside], minlength=int(begins.sum()))
    row_of = np.repeat(np.arange(len(texts)), lengths)
    counts = np.bincount(row_of[begins], minlength=len(texts))
    return _Words(codes[inside], sizes, counts)


def _word_hashes(words: _Words) -> Ragged:
    each = Ragged(words.codes, offsets_of(words.sizes))
    return Ragged(row_hash(each), offsets_of(words.counts))


def _spaced_characters(words: _Words) -> Ragged:
    """Each text as its words with one space before, between and after."""
    has_words = words.counts > 0
    word_row = np.repeat(np.arange(len(words.counts)), words.counts)
    lead = np.cumsum(has_words)[word_row]
    word_starts = offsets_of(words.sizes)[:-1] + np.arange(len(words.sizes)) + lead
    codes = np.full(len(words.codes) + len(words.sizes) + int(has_words.sum()), _SPACE, np.uint32)
    codes[spans(word_starts, words.sizes)] = words.codes
    lengths = np.bincount(word_row, weights=words.sizes + 1, minlength=len(words.counts)).astype(np.int64) + has_words
    return Ragged(codes, offsets_of(lengths))


def _windows(units: Ragged, size: int) -> Ragged:
    """Hash every run of `size` units within a row, to sorted unique 32-bit values."""
    values = fmix64(units.values.astype(np.uint64))
    reach = np.minimum(units.sizes, size)
    counts = np.where(units.sizes > 0, units.sizes - reach + 1, 0)
    starts = spans(units.offsets[:-1], counts)
    width = np.repeat(reach, counts)
    total: U64 = width.astype(np.uint64)
    for step in range(size):
        term = values[np.minimum(starts + step, len(values) - 1)] if len(values) else values
        total = np.where(step < width, total * np.uint64(_WINDOW) + term, total)
    rows = np.repeat(np.arange(len(units)), counts)
    return sorted_unique((fmix64(total) >> np.uint64(32)).astype(np.uint32), rows, len(units))
