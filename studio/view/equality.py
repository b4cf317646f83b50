"""Which texts are equal, told again after a few of them changed without looking at all the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.text.equal import equal_at
from studio.text.near import open_texts
from studio.text.normalise import Level, normalised

_COLUMNS = ("query", "positive")
_FEW = 20
"""Beyond one text in this many, all are numbered anew."""


@dataclass(frozen=True)
class _Column:
    """A column as imported: its texts, and for each its number (`equal_at`), its words and one hash over them."""

    texts: pl.Series
    numbers: NDArray[np.int64]
    words: NDArray[np.int64]
    keys: NDArray[np.uint64]


class EqualTexts:
    """Numbers of equal texts (L2) in the columns of a snapshot and of what decisions made of them."""

    def __init__(self, snapshot: pl.DataFrame) -> None:
        self._snapshot = snapshot
        self._columns: dict[str, _Column] = {}
        self._looking = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether all columns have been looked at."""
        return len(self._columns) == len(_COLUMNS)

    def learn(self) -> None:
        """Look at all columns."""
        for column in _COLUMNS:
            self._column(column)

    def imported(self, column: str) -> NDArray[np.int64]:
        """Numbers of the imported texts of a column: the position of the first equal one."""
        return self._column(column).numbers

    def numbered(self, column: str, texts: pl.Series) -> pl.Series:
        """Number `texts`, which stand where the snapshot has `column`: equal numbers, and only these, are equal."""
        known = self._column(column)
        changed = np.flatnonzero((texts != known.texts).to_numpy())
        if len(changed) * _FEW > len(texts):
            return equal_at(texts, Level.SURFACE)
        numbers = known.numbers.copy()
        if len(changed):
            numbers[changed] = self._numbers_of(texts.gather(changed), known, changed)
        return pl.Series(numbers)

    def _column(self, name: str) -> _Column:
        with self._looking:
            if name not in self._columns:
                texts = self._snapshot[name]
                numbers = equal_at(texts, Level.SURFACE).to_numpy().astype(np.int64)
                self._columns[name] = _Column(texts, numbers, *open_texts(texts).words())
            return self._columns[name]

    def _numbers_of(self, texts: pl.Series, known: _Column, changed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of texts that changed: of an unchanged text that is equal, else one of their own, from the end on."""
        words, keys = open_texts(texts).words()
        alike = np.isin(known.keys, keys)
        alike[changed] = False
        rows = np.flatnonzero(alike)
        both = pl.concat([known.texts.gather(rows), texts]).alias("text").to_frame()
        # A text of nothing but marks is equal to its own bytes only.
        spoken = pl.Series(np.concatenate([known.words[rows], words]) > 0)
        plain = both.select(
            pl.when(spoken).then(normalised(pl.col("text"), Level.SURFACE)).otherwise("text")
        ).to_series()
        own = len(known.texts) + np.arange(len(texts))
        candidates = pl.DataFrame({"text": plain, "number": np.concatenate([known.numbers[rows], own])})
        numbers: NDArray[np.int64] = candidates.select(pl.col("number").first().over("text")).to_series().to_numpy()
        return numbers[len(rows) :]
