"""How a single character is folded for words: the per-character form of L2, and which characters have no such form."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from studio.text.normalise import Level

DROPPED = 0xFFFFFFFF
"""Folded value of a mark that takes no part in words (soft hyphen, joiners)."""

_CODES = 0x110000
_ASSIGNED = 0x33480
"""From here on stand only tags, variation selectors, and what is private or not assigned: all to be normalised."""
_SELECTORS = np.arange(0xE0100, 0xE01F0)
_JAMO = range(0x1100, 0x1200)
_SPECIAL = "ßẞΣ"
"""Letters whose lower case L2 writes with two letters, or by what stands around them."""


@cache
def folding_tables(level: Level = Level.SURFACE) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """By code point: the folded letter (0 where it parts words), and whether folding depends on the neighbours.

    A text without a contextual character is folded character by character with the same words as its normalised
    form. The others are normalised first; what is left of their marks then stands for itself.

    Args:
        level: L2, or L3 for letters without accents.
    """
    folded = np.zeros(_CODES, np.uint32)
    contextual = np.zeros(_CODES, bool)
    contextual[_ASSIGNED:] = True
    folded[_SELECTORS] = _SELECTORS
    categories = [unicodedata.category(chr(code)) for code in range(_ASSIGNED)]
    alone = []
    for code, category in enumerate(categories):
        if category in ("Cs", "Co", "Cc"):
            continue
        if category == "Cf":
            folded[code] = DROPPED
        elif category[0] == "M" or category in ("No", "Cn") or code in _JAMO or chr(code) in _SPECIAL:
            contextual[code] = True
            folded[code] = 0 if category == "Cn" else code
        else:
            alone.append(code)
    # No character composes across a NUL, so all of them are normalised in one go.
    text = unicodedata.normalize("NFKC", "\0".join(map(chr, alone))).lower()
    if level == Level.ACCENTS:
        marked = unicodedata.normalize("NFKD", text)
        text = unicodedata.normalize("NFC", "".join(c for c in marked if unicodedata.category(c) != "Mn"))
    forms = text.split("\0")
    for code, form in zip(alone, forms, strict=True):
        if len(form) == 1 and form.isalnum():
            folded[code] = ord(form)
        elif not form or any(unicodedata.category(letter)[0] in "LNMC" for letter in form):
            contextual[code] = True
            folded[code] = code if categories[code][0] in "LN" else 0
    return folded, contextual
