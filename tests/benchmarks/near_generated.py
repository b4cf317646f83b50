"""Millions of made-up texts with known near-duplicates, whole columns at a time: input for `near_duplicates.py`."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.uint16]
Counts = NDArray[np.int64]

_VOCABULARY = 60_000
_ZIPF_SHIFT = 2.7
_SHORTEST, _LONGEST = 20, 80
_IN_CLUSTERS = 0.3
_LARGEST_CLUSTER = 12
_MOST_EDITED = 0.15
_TEXTS_A_CHUNK = 50_000
_ONSETS = " b c d f g j l m n p r s t v z br ch cr fl gr lh nh pl pr qu tr".split(" ")
_RIMES = "a e i o u á é ã ão ei ou am em ar er or as es os al in on ia io".split(" ")


def generate(count: int, seed: int) -> pl.Series:
    """Return `count` texts of 20 to 80 pseudo-Portuguese words, the same ones for the same seed.

    Seven in ten are unrelated. The others fall into clusters of 2 to 12: a base text, and copies of it in which up to
    15 % of the words are replaced, deleted or followed by a new one. All are shuffled.
    """
    rng = np.random.default_rng(seed)
    words = _Words(rng)
    base, edited = _plan(rng, count)
    sizes = rng.integers(_SHORTEST, _LONGEST + 1, int(base.max(initial=-1)) + 1)
    codes = words.draw(rng, int(sizes.sum()))
    starts = np.cumsum(sizes) - sizes
    parts = []
    for low in range(0, count, _TEXTS_A_CHUNK):
        of = base[low : low + _TEXTS_A_CHUNK]
        copied = codes[_spans(starts[of], sizes[of])]
        parts.append(words.joined(*_edit(rng, words, copied, sizes[of], edited[low : low + _TEXTS_A_CHUNK])))
    return pl.concat(parts).rename("text") if parts else pl.Series("text", [], pl.String)


def _plan(rng: np.random.Generator, count: int) -> tuple[Counts, NDArray[np.float64]]:
    """Which base text each text is made from, and what share of its words is edited; in shuffled order."""
    clustered = round(count * _IN_CLUSTERS)
    sizes = np.minimum(1 + rng.geometric(0.4, clustered // 2 + 1), _LARGEST_CLUSTER)
    cluster = np.repeat(np.arange(len(sizes)), sizes)[:clustered]
    first = np.r_[True, cluster[1:] != cluster[:-1]][:clustered]
    edited = np.where(first, 0.0, rng.uniform(0, _MOST_EDITED, clustered))
    clusters = int(cluster.max(initial=-1)) + 1
    base = np.r_[cluster, clusters + np.arange(count - clustered)]
    order = rng.permutation(count)
    return base[order], np.r_[edited, np.zeros(count - clustered)][order]


class _Words:
    """The vocabulary, most frequent word first, and how often each is drawn (Zipf-Mandelbrot)."""

    def __init__(self, rng: np.random.Generator) -> None:
        cumulative = np.cumsum(1 / (np.arange(_VOCABULARY) + _ZIPF_SHIFT))
        self.cumulative = cumulative / cumulative[-1]
        syllables = np.array([onset + rime for onset in _ONSETS for rime in _RIMES])
        drawn = syllables[rng.integers(0, len(syllables), (2 * _VOCABULARY, 4))]
        length = np.sort(rng.choice([1, 2, 3, 4], 2 * _VOCABULARY, p=[0.005, 0.145, 0.5, 0.35]))
        drawn[np.arange(4) >= length[:, None]] = ""
        words = pl.DataFrame(drawn).select(pl.concat_str(pl.all()).unique(maintain_order=True)).to_series()
        spaced = np.char.encode(words.head(_VOCABULARY).to_numpy().astype(str), "utf-8")
        spaced = np.char.add(spaced, b" ")
        # A row for each word: its UTF-8 bytes and a space, filled up with zeros.
        self.letters = spaced.view(np.uint8).reshape(len(spaced), -1)

    def draw(self, rng: np.random.Generator, count: int) -> Codes:
        """Draw `count` words."""
        codes = np.empty(count, np.uint16)
        for low in range(0, count, 1_000_000):
            part = codes[low : low + 1_000_000]
            part[:] = np.searchsorted(self.cumulative, rng.random(len(part)), side="right")
        return codes

    def joined(self, codes: Codes, sizes: Counts) -> pl.Series:
        """Write texts of these many words each, with single spaces."""
        letters = self.letters[codes]
        ends = np.cumsum(sizes) - 1
        letters[ends] = np.where(letters[ends] == ord(" "), ord("\n"), letters[ends])
        text = letters[letters > 0].tobytes().decode().removesuffix("\n")
        return pl.Series([text]).str.split("\n").explode()


def _edit(
    rng: np.random.Generator, words: _Words, codes: Codes, sizes: Counts, edited: NDArray[np.float64]
) -> tuple[Codes, Counts]:
    """Replace, delete or add a word at a share `edited` of each text's places."""
    chosen = rng.random(len(codes)) < np.repeat(edited, sizes)
    kind = np.where(chosen, rng.integers(0, 3, len(codes)), 1)
    copies = np.where(chosen, kind, 1)
    text = np.repeat(np.arange(len(sizes)), sizes)
    result = np.repeat(codes, copies)
    # An edited word is overwritten where it stays alone (replaced) and at its second copy (another one added).
    last = np.cumsum(copies) - 1
    fresh = last[chosen & (copies > 0)]
    result[fresh] = words.draw(rng, len(fresh))
    return result, np.bincount(text, weights=copies, minlength=len(sizes)).astype(np.int64)


def _spans(starts: Counts, sizes: Counts) -> Counts:
    """Concatenate the ranges [start, start + size)."""
    ranges: Counts = np.arange(int(sizes.sum())) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    return ranges
