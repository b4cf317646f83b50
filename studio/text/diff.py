"""Which words two texts share and which only one of them has, with what the guard would make of each difference."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from studio.text.guard import (
    ACCENTS_MATTER,
    DIGIT,
    FUNCTION_WORDS,
    POLARITY,
    ROMANCE,
    folded_words,
    proper_names,
    unaccented,
    without_typos,
)

_LETTER = r"(?:[^\W_]|[\u0300-\u036f])"
_TOKEN = re.compile(rf"(?={_LETTER}*\d){_LETTER}+(?:[.,:/-]{_LETTER}*\d{_LETTER}*)*|{_LETTER}+|\s+|[\s\S]")
"""A number with its separators, any other word, a run of white space, or one other character."""
_MARKS = re.compile(
    r"(?<=[^\W_])(?:\+\+|[+#])|[%€$£¥°±<>=≤≥]|(?<![^\W_])[-−+](?=\d)"
    r"|(?:(?<=(?<![^\W_])[^\W_])|(?<=(?<![^\W_])[^\W_]{2}))-(?![\w-])"
)
"""The guard's marks without the words they belong to, so that a long word is not read from each of its letters."""
_BUDGET = 300_000
"""Pairs of equal words that are looked at in all; beyond it texts are compared by chunks."""
_CHUNK = 16
"""One word in so many kinds of words ends a chunk."""
_PAIRED_OFF = 50
"""Words of a side among which typing errors are looked for; in a longer difference nothing is a typing error."""


class Kind(StrEnum):
    """Which of two texts has a part."""

    SAME = "same"
    ONLY_A = "only_a"
    ONLY_B = "only_b"


class Why(StrEnum):
    """What a difference may change: the kinds of differences for which the guard holds a pair, and white space."""

    NUMBER = "number"
    """It has a digit."""
    NEGATION = "negation"
    """A word of negation or exclusion."""
    NAME = "name"
    """A word with a capital inside a sentence."""
    WORD = "word"
    """Any other word that carries content."""
    MARK = "mark"
    """A mark that means something: C++, A-, -5, 10 %."""
    SPACE = "space"
    """Nothing but white space."""


@dataclass(frozen=True)
class Part:
    """A piece of two texts.

    In a `same` part `a` and `b` are equal; in one of `only_a`, `b` is empty, and the other way round. `why` is None
    for what is the same, and for differences that hold no pair: light words, punctuation, case, typing errors.
    """

    kind: Kind
    a: str
    b: str
    why: Why | None = None


def word_diff(a: str, b: str) -> list[Part]:
    """Compare two texts word by word.

    The parts cover both texts: the `a` of all parts joined is `a`, the `b` joined is `b`. Texts that repeat so much
    that a comparison by words would take long are compared by chunks of words, so that the time is bounded.
    """
    one, other = _Units.of(a), _Units.of(b)
    found = _Found(_Judge(a, b))
    for start_a, stop_a, start_b, stop_b, equal in _blocks(one, other):
        if equal:
            for at_a, at_b in zip(range(start_a, stop_a), range(start_b, stop_b), strict=True):
                found.same(one.words[at_a])
                found.gap(one.gaps[at_a], other.gaps[at_b])
        else:
            found.differ(one, range(start_a, stop_a), other, range(start_b, stop_b))
    return found.parts()


@dataclass(frozen=True)
class _Units:
    """A text in units: a word or mark, and the white space after it. The first has no word: the text's left edge."""

    words: list[str]
    gaps: list[str]
    starts: list[int]
    """Where each word begins in the text."""

    @classmethod
    def of(cls, text: str) -> _Units:
        words, gaps, starts = [""], [""], [0]
        place = 0
        for token in _TOKEN.findall(text):
            if token.isspace():
                gaps[-1] = token
            else:
                words.append(token)
                gaps.append("")
                starts.append(place)
            place += len(token)
        return cls(words, gaps, starts)


class _Judge:
    """What the guard would say of a word of either text."""

    def __init__(self, a: str, b: str) -> None:
        self._names = proper_names(a) | proper_names(b)
        # As in the guard: "no" is a negation only where it cannot be *em o*.
        romance = not ROMANCE.isdisjoint(folded_words(a).keys() | folded_words(b).keys())
        self._polarity = POLARITY if romance else POLARITY | {"no"}
        self._marks = [_mark_places(text) for text in (a, b)]

    def why(self, word: str, side: int, start: int, respelled: set[str]) -> Why | None:
        """Name what a word of one side is that the other side lacks at this place.

        Args:
            side: 0 for a, 1 for b.
            start: where the word begins in its text.
            respelled: folded words that the other side has at this place in another spelling.
        """
        folded = word.casefold()
        if DIGIT.search(word):
            return Why.NUMBER
        if not folded[:1].isalnum():
            return Why.MARK if start in self._marks[side] else None
        if folded in respelled:
            return None
        if unaccented(folded) in self._polarity:
            return Why.NEGATION
        if folded in self._names:
            return Why.NAME
        return None if folded in FUNCTION_WORDS else Why.WORD

    def respelled(self, a: list[str], b: list[str]) -> set[str]:
        """Folded words that stand on both sides but for case, accents that make no other word, and typing errors."""
        words_a, words_b = ({word.casefold() for word in words} for words in (a, b))
        plain = ({unaccented(word) for word in words_a} & {unaccented(word) for word in words_b}) - ACCENTS_MATTER
        same = {word for word in words_a | words_b if unaccented(word) in plain} | (words_a & words_b)
        left_a, left_b = words_a - same, words_b - same
        if max(len(left_a), len(left_b)) <= _PAIRED_OFF:
            left_a, left_b = without_typos(left_a, left_b, self._names, ())
        return (words_a | words_b) - left_a - left_b


def _mark_places(text: str) -> set[int]:
    """Positions of the characters of a text that are marks with a meaning."""
    return {place for match in _MARKS.finditer(text) for place in range(match.start(), match.end())}


class _Found:
    """Parts as they are found; differences wait until something is the same, then a's come before b's."""

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge
        self._parts: list[Part] = []
        self._same: list[str] = []
        self._waiting: tuple[list[tuple[str, Why | None]], list[tuple[str, Why | None]]] = ([], [])

    def same(self, text: str) -> None:
        if text:
            self._flush_differences()
            self._same.append(text)

    def gap(self, a: str, b: str) -> None:
        if a == b:
            self.same(a)
        else:
            self._add(0, a, Why.SPACE)
            self._add(1, b, Why.SPACE)

    def differ(self, one: _Units, in_a: range, other: _Units, in_b: range) -> None:
        respelled = self._judge.respelled([one.words[at] for at in in_a], [other.words[at] for at in in_b])
        for side, units, places in ((0, one, in_a), (1, other, in_b)):
            for at in places:
                word = units.words[at]
                self._add(side, word, self._judge.why(word, side, units.starts[at], respelled))
                self._add(side, units.gaps[at], Why.SPACE)

    def parts(self) -> list[Part]:
        self._flush_differences()
        self._flush_same()
        return self._parts

    def _add(self, side: int, text: str, why: Why | None) -> None:
        if not text:
            return
        self._flush_same()
        waiting = self._waiting[side]
        # White space beside a word that differs is no difference of its own.
        if waiting and (why in (Why.SPACE, waiting[-1][1]) or waiting[-1][1] is Why.SPACE):
            before, known = waiting[-1]
            waiting[-1] = before + text, known if why is Why.SPACE else why
        else:
            waiting.append((text, why))

    def _flush_same(self) -> None:
        if self._same:
            text = "".join(self._same)
            self._parts.append(Part(Kind.SAME, text, text))
            self._same = []

    def _flush_differences(self) -> None:
        only_a, only_b = self._waiting
        self._waiting = ([], [])
        if not (only_a or only_b):
            return
        shared = _shared_space(only_a[-1][0], only_b[-1][0]) if only_a and only_b else ""
        if shared:
            for only in (only_a, only_b):
                text, why = only.pop()
                if left := text[: -len(shared)]:
                    only.append((left, why))
        self._parts += [Part(Kind.ONLY_A, text, "", why) for text, why in only_a]
        self._parts += [Part(Kind.ONLY_B, "", text, why) for text, why in only_b]
        if shared:
            self._same.append(shared)


def _shared_space(a: str, b: str) -> str:
    """The white space that ends both texts."""
    ends_a, ends_b = a[len(a.rstrip()) :], b[len(b.rstrip()) :]
    shared = 0
    while shared < min(len(ends_a), len(ends_b)) and ends_a[-1 - shared] == ends_b[-1 - shared]:
        shared += 1
    return ends_a[len(ends_a) - shared :]


_Block = tuple[int, int, int, int, bool]
"""A range of units of a, one of b, and whether their words are the same."""


def _blocks(one: _Units, other: _Units) -> Iterator[_Block]:
    """Align the words of two texts; the blocks follow one another and cover both."""
    a, b = one.words, other.words
    shortest = min(len(a), len(b))
    head = next((at for at in range(shortest) if a[at] != b[at]), shortest)
    tail = next((at for at in range(shortest - head) if a[-1 - at] != b[-1 - at]), shortest - head)
    if head:
        yield 0, head, 0, head, True
    middle_a, middle_b = a[head : len(a) - tail], b[head : len(b) - tail]
    for start_a, stop_a, start_b, stop_b, equal in _aligned(middle_a, middle_b):
        yield head + start_a, head + stop_a, head + start_b, head + stop_b, equal
    if tail:
        yield len(a) - tail, len(a), len(b) - tail, len(b), True


def _aligned(a: list[str], b: list[str]) -> Iterator[_Block]:
    """Align two lists of words, by chunks where they are too long to be aligned word by word."""
    if _cost(a, b) <= _BUDGET:
        yield from _matched(a, b)
        return
    chunks_a, chunks_b = _chunks(a), _chunks(b)
    ends_a, ends_b = _ends(chunks_a), _ends(chunks_b)
    left = _BUDGET
    for start_a, stop_a, start_b, stop_b, equal in _within_budget(chunks_a, chunks_b):
        from_a, to_a, from_b, to_b = ends_a[start_a], ends_a[stop_a], ends_b[start_b], ends_b[stop_b]
        part_a, part_b = a[from_a:to_a], b[from_b:to_b]
        if equal or (cost := _cost(part_a, part_b)) > left:
            yield from_a, to_a, from_b, to_b, equal
            continue
        left -= cost
        for block in _matched(part_a, part_b):
            yield from_a + block[0], from_a + block[1], from_b + block[2], from_b + block[3], block[4]


def _within_budget(a: list[tuple[str, ...]], b: list[tuple[str, ...]]) -> Iterator[_Block]:
    if _cost(a, b) <= _BUDGET:
        yield from _matched(a, b)
    else:
        yield 0, len(a), 0, len(b), False


def _matched(a: list[str] | list[tuple[str, ...]], b: list[str] | list[tuple[str, ...]]) -> Iterator[_Block]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, start_a, stop_a, start_b, stop_b in matcher.get_opcodes():
        yield start_a, stop_a, start_b, stop_b, tag == "equal"


def _cost(a: list[str] | list[tuple[str, ...]], b: list[str] | list[tuple[str, ...]]) -> int:
    """Pairs of equal items, each of which an alignment looks at once or more."""
    count_b = Counter(b)
    return sum(count * count_b[item] for item, count in Counter(a).items())


def _chunks(words: list[str]) -> list[tuple[str, ...]]:
    """Cut words after certain ones of them, so that the cuts fall alike wherever two texts are alike."""
    chunks: list[tuple[str, ...]] = []
    start = 0
    for stop, word in enumerate(words, 1):
        if stop == len(words) or zlib.crc32(word.encode("utf-8", "surrogatepass")) % _CHUNK == 0:
            chunks.append(tuple(words[start:stop]))
            start = stop
    return chunks


def _ends(chunks: list[tuple[str, ...]]) -> list[int]:
    """Where each chunk begins, and where the last one ends, in words."""
    ends = [0]
    for chunk in chunks:
        ends.append(ends[-1] + len(chunk))
    return ends
