"""What makes two near-equal texts say different things: numbers, negation, names, other words.

Threshold alone cannot tell a typo from "law 8.112" against "law 8.666": both change one word in eight.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from bm25s.stopwords import STOPWORDS_EN, STOPWORDS_PORTUGUESE, STOPWORDS_SPANISH
from rapidfuzz.distance import OSA

_WORD = re.compile(r"[^\W_]+(?:[.,:/-][^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?:\n]")
_POLARITY = frozenset(
    (
        "não nao nem nunca jamais sem exceto salvo nenhum nenhuma ninguém nada proibido vedado "  # Portuguese
        "menos antes abaixo mínimo fora "
        "no not never without except none nobody nothing cannot less before below minimum "  # English
        "sin ningún"  # Spanish
    ).split()
)
_FUNCTION_WORDS = frozenset((*STOPWORDS_PORTUGUESE, *STOPWORDS_SPANISH, *STOPWORDS_EN)) - _POLARITY
_SHOWN = 12
_REMEMBERED = 10_000
"""Texts whose words are kept at hand: a text has many neighbours, one after another."""


class Difference(StrEnum):
    """Why two texts over the threshold are held for a person."""

    NUMBERS = "numbers"
    """Their numbers differ: amounts, years, laws, deadlines."""
    NEGATION = "negation"
    """One has a word of negation or exclusion that the other lacks."""
    NAMES = "names"
    """Each has a capitalised word inside a sentence that the other lacks."""
    WORDS = "words"
    """Each has a content word that the other lacks, and not by a typing error."""


@dataclass(frozen=True)
class Residue:
    """The words of two texts that the other one lacks.

    `only_a`, `only_b`: all of them, a few shown. `says_more_a`, `says_more_b`: whether content words are among them
    after typing errors were paired off, so that the other text would lose something by standing for this one.
    """

    difference: Difference | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    says_more_a: bool
    says_more_b: bool


def compare(a: str, b: str) -> Residue:
    """Compare two texts as they were given (case matters for names) and name the first difference that counts."""
    folded_a, folded_b = _folded(a), _folded(b)
    only_a, only_b = folded_a - folded_b, folded_b - folded_a
    if not (only_a or only_b):
        return Residue(None, (), (), says_more_a=False, says_more_b=False)
    names_a, names_b = _names(a), _names(b)
    left_a, left_b = _without_typos(_content(only_a, folded_b, names_a), _content(only_b, folded_a, names_b))
    difference = None
    if _numbers(only_a) != _numbers(only_b):
        difference = Difference.NUMBERS
    elif _polarity(only_a) != _polarity(only_b):
        difference = Difference.NEGATION
    elif left_a and left_b:
        named = (names_a ^ names_b) & (left_a | left_b)
        difference = Difference.NAMES if named else Difference.WORDS
    return Residue(
        difference, tuple(sorted(only_a))[:_SHOWN], tuple(sorted(only_b))[:_SHOWN], bool(left_a), bool(left_b)
    )


@lru_cache(_REMEMBERED)
def _folded(text: str) -> Counter[str]:
    """Count the words, case-folded; a number keeps its separators, any other word is cut at them."""
    folded: Counter[str] = Counter()
    for word in _WORD.findall(text.casefold()):
        if any(character.isdigit() for character in word):
            folded[word] += 1
        else:
            folded.update(_PART.findall(word))
    return folded


def _numbers(words: Counter[str]) -> Counter[str]:
    return Counter({word: count for word, count in words.items() if any(c.isdigit() for c in word)})


def _polarity(words: Counter[str]) -> set[str]:
    return set(words) & _POLARITY


def _content(words: Counter[str], other: Counter[str], names: frozenset[str]) -> set[str]:
    """Content words and names that the other text does not have at all; how often makes no difference."""
    return {
        word
        for word in words
        if word not in other and (word in names or word not in _FUNCTION_WORDS) and not any(c.isdigit() for c in word)
    }


@lru_cache(_REMEMBERED)
def _names(text: str) -> frozenset[str]:
    """Capitalised words that do not begin a sentence, case-folded."""
    names, end = set(), None
    for match in _PART.finditer(text):
        if end is not None and match.group()[0].isupper() and not _SENTENCE_END.search(text, end, match.start()):
            names.add(match.group().casefold())
        end = match.end()
    return frozenset(names)


def _without_typos(a: set[str], b: set[str]) -> tuple[set[str], set[str]]:
    """Pair off words that are one typing error apart (two from ten letters on; none in words under five)."""
    if not (a and b):
        return a, b
    left_a, left_b = set(), dict.fromkeys(sorted(b))
    plain = {word: _unaccented(word) for word in left_b}
    for word in sorted(a):
        bare, allowed = _unaccented(word), 0 if len(word) < 5 else 1 if len(word) < 10 else 2
        twin = next((other for other in left_b if plain[other] == bare or _apart(word, other, allowed)), None)
        if twin is None:
            left_a.add(word)
        else:
            del left_b[twin]
    return left_a, set(left_b)


def _apart(word: str, other: str, allowed: int) -> bool:
    if not allowed or abs(len(word) - len(other)) > allowed:
        return False
    return OSA.distance(word, other, score_cutoff=allowed) <= allowed


def _unaccented(word: str) -> str:
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
