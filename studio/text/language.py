"""Which language texts are in, among those that are told apart here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

_NAMES = ("PORTUGUESE", "SPANISH", "ENGLISH", "FRENCH", "ITALIAN", "GERMAN")


def languages_of(texts: Sequence[str]) -> list[str | None]:
    """Return the ISO 639-1 code of each text, or None where nothing can be told."""
    found = _detector().detect_languages_in_parallel_of(list(texts))
    return [language.iso_code_639_1.name.lower() if language else None for language in found]


def confident_languages(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return the likeliest language (ISO 639-1) of each text, and how likely it is: 0 where nothing can be told."""
    found = _detector().compute_language_confidence_values_in_parallel(list(texts))
    # Sums in another order give other last digits.
    return [(values[0].language.iso_code_639_1.name.lower(), round(values[0].value, 3)) for values in found]


@cache
def _detector() -> LanguageDetector:
    from lingua import Language, LanguageDetectorBuilder

    # Not the low accuracy mode: it is no faster on passages, and of short queries it is sure where it is wrong.
    return LanguageDetectorBuilder.from_languages(*(getattr(Language, name) for name in _NAMES)).build()
