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


@cache
def _detector() -> LanguageDetector:
    from lingua import Language, LanguageDetectorBuilder

    languages = [getattr(Language, name) for name in _NAMES]
    return LanguageDetectorBuilder.from_languages(*languages).with_low_accuracy_mode().build()
