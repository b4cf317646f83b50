"""What makes two near-equal texts say different things: numbers, negation, names, other words.

Threshold alone cannot tell a typo from "law 8.112" against "law 8.666": both change one word in eight.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

from bm25s.stopwords import STOPWORDS_EN, STOPWORDS_PORTUGUESE, STOPWORDS_SPANISH

_WORD = re.compile(r"[^\W_]+(?:[.,:/-][^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
DIGIT = re.compile(r"\d")
_MARKS = re.compile(
    r"(?<![^\W_])[^\W_]+(?:\+\+|[+#])|[%€$£¥°±<>=≤≥]|(?<![^\W_])[-−+]\d|(?<![^\W_])[^\W_]{1,2}-(?![\w-])", re.IGNORECASE
)
"""Marks that are part of what a text says: C++, A+, A-, -5, 10 %, 10 €."""
_MARK_CHARACTERS = frozenset("+#%€$£¥°±<>=≤≥-−")
_SENTENCE_END = re.compile(r"[.!?:\n]")
POLARITY = frozenset(
    (
        "nao nem nunca jamais sem exceto salvo nenhum nenhuma ninguem nada proibido vedado "  # Portuguese
        "menos antes abaixo minimo fora "
        "not never without except none nobody nothing cannot less before below minimum "  # English
        "sin ningun"  # Spanish
    ).split()
)
"""Words of negation and exclusion, without accents."""
ROMANCE = frozenset("de da do que para em os as del los las".split())
"""Where any of these stands, "no" is *em o* and no negation."""
_BENIGN = frozenset(
    (
        "o a os as um uma uns umas de do da dos das em no na nos nas ao aos à às é são "  # Portuguese
        "the an of is are el la los las del al es son"  # English, Spanish
    ).split()
)
"""Articles, light prepositions and "is": with or without them a question is the same."""
_KEYS = ("qwertyuiop", "asdfghjklç", "zxcvbnm")
ACCENTS_MATTER = frozenset("avo pais secretaria sabia coco bebe maio sede".split())
"""Words, unaccented, of which another accent makes another word: avó, avô; país, pais; secretária, secretaria."""
_LAST_CASED = 0x2C00
"""Scripts with capital letters stand below this code point, but for rare extensions."""
FUNCTION_WORDS = frozenset((*STOPWORDS_PORTUGUESE, *STOPWORDS_SPANISH, *STOPWORDS_EN))
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
    MARKS = "marks"
    """Marks that mean something differ: C and C++, A+ and A-, 5 and -5, % and none."""
    ORDER = "order"
    """The same content words in another order: from Recife to Olinda, from Olinda to Recife."""


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

    def to_json(self) -> str:
        """The fields as one JSON object."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(fields, ensure_ascii=False)


def compare(a: str, b: str, known: Container[str] = (), *, strict: bool = False) -> Residue:
    """Compare two texts as they were given (case matters for names) and name the first difference that counts.

    Args:
        known: words that are no typing errors, whatever they resemble (`vocabulary.Vocabulary`).
        strict: for short texts: all words but articles and light prepositions count, and so does their order.
    """
    a, b = _composed(a), _composed(b)
    folded_a, folded_b = folded_words(a), folded_words(b)
    only_a, only_b = _only(folded_a, folded_b), _only(folded_b, folded_a)
    light = _BENIGN if strict else FUNCTION_WORDS
    respelled = ({unaccented(word) for word in only_a} & {unaccented(word) for word in only_b}) - ACCENTS_MATTER
    names = proper_names(a) | proper_names(b)
    left_a, left_b = without_typos(
        _content(only_a, proper_names(a), light, respelled),
        _content(only_b, proper_names(b), light, respelled),
        names,
        known,
    )
    # A word that the other text has as well, only less often, is nothing new; but where both have such words, one
    # stands in another's place.
    more_a = any(word in names or word not in folded_b for word in left_a)
    more_b = any(word in names or word not in folded_a for word in left_b)
    difference = None
    if _numbers(only_a) != _numbers(only_b) or _exchanged(a, b):
        difference = Difference.NUMBERS
    elif _polarity(only_a, folded_b) != _polarity(only_b, folded_a):
        difference = Difference.NEGATION
    elif left_a and left_b:
        named = (proper_names(a) ^ proper_names(b)) & (left_a | left_b)
        difference = Difference.NAMES if named else Difference.WORDS
    elif _marks(a) != _marks(b):
        difference = Difference.MARKS
    elif strict and _turned(a, b):
        difference = Difference.ORDER
    return Residue(difference, tuple(sorted(only_a))[:_SHOWN], tuple(sorted(only_b))[:_SHOWN], more_a, more_b)


def _composed(text: str) -> str:
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


@lru_cache(_REMEMBERED)
def _marks(text: str) -> frozenset[str]:
    if _MARK_CHARACTERS.isdisjoint(text):
        return frozenset()
    return frozenset(_MARKS.findall(text.casefold()))


@lru_cache(_REMEMBERED)
def folded_words(text: str) -> Counter[str]:
    """Count the words, case-folded; a number keeps its separators, any other word is cut at them."""
    words = []
    for word in _WORD.findall(text.casefold()):
        if word.isalpha() or DIGIT.search(word):
            words.append(word)
        else:
            words += _PART.findall(word)
    return Counter(words)


def _only(words: Counter[str], other: Counter[str]) -> Counter[str]:
    """`words - other`, looking only at those whose counts differ."""
    different = words.items() - other.items()
    return Counter({word: count - other[word] for word, count in different if count > other[word]})


def _numbers(words: Counter[str]) -> Counter[str]:
    return Counter({word: count for word, count in words.items() if DIGIT.search(word)})


def _polarity(words: Counter[str], other: Counter[str]) -> set[str]:
    """Words of negation and exclusion among `words`, without accents; "no" only where it cannot be *em o*."""
    found = {unaccented(word) for word in words} & POLARITY
    if "no" in words and not ROMANCE & (words.keys() | other.keys()):
        found.add("no")
    return found


def _content(words: Counter[str], names: frozenset[str], light: frozenset[str], respelled: set[str]) -> set[str]:
    """Names, and words that are not `light`; not numbers, nor what differs in accents alone (`respelled`)."""
    return {
        word
        for word in words
        if (word in names or word not in light) and not DIGIT.search(word) and unaccented(word) not in respelled
    }


def _exchanged(a: str, b: str) -> bool:
    """Whether numbers changed places: two or more of them are followed by other words."""
    after_a, after_b = _after_numbers(a), _after_numbers(b)
    if after_a == after_b:
        return False
    moved_a, moved_b = after_a - after_b, after_b - after_a
    numbers = {number for number, _ in moved_a} & {number for number, _ in moved_b}
    return len(numbers) > 1


@lru_cache(_REMEMBERED)
def _after_numbers(text: str) -> Counter[tuple[str, str]]:
    """Each number with the word after it."""
    words = _WORD.findall(text.casefold())
    return Counter((word, after) for word, after in zip(words, [*words[1:], ""], strict=True) if DIGIT.search(word))


def _turned(a: str, b: str) -> bool:
    """Whether the content words that both texts have stand in another order."""
    order_a, order_b = _content_order(a), _content_order(b)
    both = set(order_a) & set(order_b)
    return [word for word in order_a if word in both] != [word for word in order_b if word in both]


def _content_order(text: str) -> list[str]:
    """All words but articles and light prepositions in order, unaccented, each at its first place."""
    return list(dict.fromkeys(unaccented(word) for word in _PART.findall(text.casefold()) if word not in _BENIGN))


@lru_cache(_REMEMBERED)
def proper_names(text: str) -> frozenset[str]:
    """Capitalised words that do not begin a sentence, case-folded; none where all is in capitals."""
    if text.isupper() or text.islower():
        return frozenset()
    found = _capitalised().findall(text)
    return frozenset(word.casefold() for between, word in found if not _SENTENCE_END.search(between))


@cache
def _capitalised() -> re.Pattern[str]:
    """What stands between a word and a capitalised one after it, and that one."""
    capitals = "".join(chr(code) for code in range(_LAST_CASED) if chr(code).isupper())
    return re.compile(rf"(?<=[^\W_])([\W_]+)([{re.escape(capitals)}][^\W_]*)")


def without_typos(a: set[str], b: set[str], names: frozenset[str], known: Container[str]) -> tuple[set[str], set[str]]:
    """Pair off words that are one typing error apart (two from ten letters on; none in words under five).

    Names differ by accents at most. Two words that many texts use are two words (mandato, mandado).
    """
    if not (a and b):
        return a, b
    left_a, left_b = set(), dict.fromkeys(sorted(b - names))
    plain = {word: unaccented(word) for word in left_b}
    for word in sorted(a):
        bare = unaccented(word)
        twin = next(
            (
                other
                for other in left_b
                if word not in names and _mistyped(bare, plain[other]) and not (word in known and other in known)
            ),
            None,
        )
        if twin is None:
            left_a.add(word)
        else:
            del left_b[twin]
    return left_a, set(left_b) | (b & names)


def _mistyped(word: str, other: str) -> bool:
    """Whether one may be the other with typing errors.

    The first letter is seldom hit, while prefixes turn a meaning (legal, ilegal), and so do endings (filho, filha;
    empregado, empregador): an error is a swap of two letters, a neighbouring key, or a letter dropped or doubled
    before the end. A plural is no other word.
    """
    if word == other:
        return False
    shorter, longer = sorted((len(word), len(other)))
    allowed = 0 if longer < 5 else 1 if shorter < 10 else 2
    return longer - shorter <= allowed and word[0] == other[0] and _typed(word, other, 1, 1, allowed)


def _typed(a: str, b: str, i: int, j: int, allowed: int) -> bool:
    """Whether `a` from `i` on can become `b` from `j` on by `allowed` typing errors."""
    while i < len(a) and j < len(b) and a[i] == b[j]:
        i, j = i + 1, j + 1
    if i == len(a) and j == len(b):
        return True
    if not allowed:
        return False
    if a[i : i + 2] == b[j : j + 2][::-1] and len(a) > i + 1 and _typed(a, b, i + 2, j + 2, allowed - 1):
        return True
    if i < len(a) and j < len(b) and b[j] in _neighbours()[a[i]] and _typed(a, b, i + 1, j + 1, allowed - 1):
        return True
    # After a letter left out the words go on alike: left out and put in at one place is another letter.
    if _may_drop(b, j) and a[i : i + 1] == b[j + 1 : j + 2] and _typed(a, b, i, j + 1, allowed - 1):
        return True
    return _may_drop(a, i) and a[i + 1 : i + 2] == b[j : j + 1] and _typed(a, b, i + 1, j, allowed - 1)


def _may_drop(word: str, at: int) -> bool:
    """Whether a finger may have left this letter out (or put it there twice)."""
    if at >= len(word):
        return False
    return at < len(word) - 1 or word[at] in ("s", word[at - 1])


@cache
def _neighbours() -> defaultdict[str, set[str]]:
    """Letters beside each letter on a keyboard."""
    beside: defaultdict[str, set[str]] = defaultdict(set)
    places = {letter: (row, column + row / 2) for row, keys in enumerate(_KEYS) for column, letter in enumerate(keys)}
    for one, (row, column) in places.items():
        for other, (other_row, other_column) in places.items():
            if one != other and abs(row - other_row) <= 1 and abs(column - other_column) <= 1:
                beside[one].add(other)
    return beside


def unaccented(word: str) -> str:
    """The word without its accents."""
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
