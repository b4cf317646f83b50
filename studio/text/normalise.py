"""Normalisation levels under which two texts count as the same. Numbers are never normalised."""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from functools import cache

import polars as pl

_QUOTES = {"[‘’‚‛′´`]": "'", "[“”„‟«»″]": '"', "[‐‑‒–—―−]": "-", "…": "..."}
_LAST_NUMBER = 0x20000
"""All numbers that are no decimal digits stand below this code point."""
_EDGE_OPENERS = r"^[\s\"'(\[{¿¡]+"
_EDGE_CLOSERS = r"[\s\"')\]}.,;:!?]+$"


class Level(IntEnum):
    """How much of a difference is ignored; each level ignores all that the one before it does."""

    BYTES = 0
    """L0: nothing: the same bytes."""
    SPACING = 1
    """L1: Unicode composition (NFC) and runs of whitespace."""
    SURFACE = 2
    """L2: also compatibility forms (NFKC), case, kinds of quotes and dashes, invisible marks, edge punctuation."""
    ACCENTS = 3
    """L3: also accents. Only a hint: avó and avô, é and e are different words."""


def normalised(column: pl.Expr, level: Level) -> pl.Expr:
    """Return `column` (text) brought to `level`; equal results mean equal at that level.

    Superscripts, fractions and circled numbers are marked before NFKC would flatten them, so that 10² never
    becomes 102.
    """
    if level == Level.BYTES:
        return column
    if level == Level.SPACING:
        return _single_spaced(column.str.normalize("NFC"))
    text = column.str.replace_all(_small_numbers(), "^$1").str.normalize("NFKC").str.to_lowercase()
    text = text.str.replace_all(r"\p{Cf}", "").str.replace_all("ß", "ss", literal=True)
    for variants, plain in _QUOTES.items():
        text = text.str.replace_all(variants, plain)
    text = _single_spaced(text.str.replace_all(_EDGE_CLOSERS, "").str.replace_all(_EDGE_OPENERS, ""))
    if level == Level.SURFACE:
        return text
    return text.str.normalize("NFKD").str.replace_all(r"\p{Mn}", "").str.normalize("NFC")


@cache
def _small_numbers() -> str:
    """Superscripts, fractions, circled numbers: what NFKC would turn into plain digits."""
    codes = (chr(code) for code in range(_LAST_NUMBER) if unicodedata.category(chr(code)) == "No")
    return f"([{''.join(c for c in codes if unicodedata.normalize('NFKC', c) != c)}])"


def _single_spaced(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"\s+", " ").str.strip_chars(" ")
