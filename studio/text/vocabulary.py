"""The words that many texts of a column use: what tells a typing error from another word."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.text.near import open_texts
from studio.text.shingles import Spec, word_shingle

_BITS = 24


class Vocabulary:
    """Words that at least `minimum` distinct texts use; counted when the first word is asked for.

    The count is hashed: a rare word may pass for known, never the reverse.
    """

    def __init__(self, texts: pl.Series, minimum: int = 3) -> None:
        self._texts = texts
        self._minimum = minimum

    def __contains__(self, word: object) -> bool:
        return bool(self._known[word_shingle(str(word)) >> (32 - _BITS)])

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        sets = open_texts(self._texts.unique(maintain_order=True)).shingles(Spec("word", 1))
        known: NDArray[np.bool_] = (
            np.bincount(sets.values >> np.uint32(32 - _BITS), minlength=1 << _BITS) >= self._minimum
        )
        return known
