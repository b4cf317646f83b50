"""What rows to show: a filter a person types, that is shown, saved and used headless alike.

The syntax, one line; every part narrows, several values of one key widen:

    segunda via                     rows whose query, passage or a negative holds this phrase, whatever its case
    "status:kept"                   quotes keep what would be read as something else (\\" and \\\\ inside)
    /\\d{4}-\\d\\d/                 a regular expression; it ends at the last / before a space or the end
    in:query                        search there only: any query passage negatives source meta
    split:train,test                a split; `none` for rows without one, likewise group, label, lang and source
    status:removed,edited           kept removed edited moved, or `decided`: a person decided something about the row
    reason:duplicate_pair           why the row is as it is now
    check:pii,near_duplicates/auto  a check marked it, in any band or in one (auto, review)
    lang:pt  source:faq.jsonl  tag:x  group:"a, b"  label:1
    query.chars<5  passage.words>=200  query.tokens>512
    is:marked                       rows marked by hand
    rows:14,20-29                   these rows, by number
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, get_args

from studio.errors import UsageError
from studio.view.marks import BANDS, CHECKS

Column = Literal["any", "query", "passage", "negatives", "source", "meta"]
By = Literal[
    "position", "query", "passage", "query.chars", "passage.chars", "query.tokens", "passage.tokens", "score", "split",
    "status", "flags",
]  # fmt: skip
COLUMNS: tuple[str, ...] = get_args(Column)
ORDERS: tuple[str, ...] = get_args(By)
STATUS_VALUES = ("kept", "removed", "edited", "moved", "decided")
LENGTHS = tuple(f"{column}.{unit}" for column in ("query", "passage") for unit in ("chars", "words", "tokens"))
OPERATORS = ("<", "<=", ">", ">=", "=")
NONE = "none"
"""Stands for having no split, group, label, language or source."""

MOST_NUMBER = 2**32
"""Row numbers and lengths are at most this: what an index or a length of polars can be."""
_LISTS = {
    "split": "splits",
    "status": "status",
    "reason": "reasons",
    "check": "checks",
    "lang": "languages",
    "source": "sources",
    "tag": "tags",
    "group": "groups",
    "label": "labels",
}
"""The key a person types, and the field of `Where` that holds its values."""
KEYS = (*_LISTS, "in", "is", "rows")
_CHECK_VALUES = tuple(name + end for name in CHECKS for end in ("", *(f"/{band}" for band in BANDS)))
_CLOSED = {"status": STATUS_VALUES, "check": _CHECK_VALUES, "in": COLUMNS, "is": ("marked",)}
"""Keys that take one of few values."""

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_LAST_SLASH = re.compile(r".*(/)(?=\s|$)", re.DOTALL)
_KEY = re.compile(r"([A-Za-z_]+):(?=\S)")
_KNOWN_KEY = re.compile(rf"(?:{'|'.join(KEYS)}):")
_VALUE = re.compile(r'[^\s,"]+')
_COMPARISON = re.compile(r"([A-Za-z_]+\.[A-Za-z_]+)(<=|>=|<|>|=)(\S*)")
_WORD = re.compile(r'[^\s"]+|"')
_SPACE = re.compile(r"\s*")
_ROWS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


class Length(NamedTuple):
    """A comparison such as `query.chars<5`: `column` of LENGTHS, `op` of OPERATORS, `number` from 0."""

    column: str
    op: str
    number: int


@dataclass(frozen=True)
class Where:
    """A filter. Empty fields leave every row; a row must satisfy all the others.

    `text` is a phrase, or a regular expression if `regex`; either is searched without regard to case. The values of one
    field are alternatives. `length` comparisons must all hold. `rows` are spans of positions, first and last, from 0;
    whatever spans are given are kept sorted, joined and apart (`spans_of` makes them of positions).
    """

    text: str = ""
    regex: bool = False
    column: Column = "any"
    status: frozenset[str] = field(default=frozenset())
    reasons: frozenset[str] = field(default=frozenset())
    checks: frozenset[str] = field(default=frozenset())
    splits: frozenset[str] = field(default=frozenset())
    languages: frozenset[str] = field(default=frozenset())
    sources: frozenset[str] = field(default=frozenset())
    groups: frozenset[str] = field(default=frozenset())
    tags: frozenset[str] = field(default=frozenset())
    labels: frozenset[str] = field(default=frozenset())
    length: tuple[Length, ...] = ()
    marked: bool = False
    rows: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        # One filter, one form: equal filters are equal however they came about.
        object.__setattr__(self, "rows", _joined(self.rows))
        object.__setattr__(self, "regex", self.regex and bool(self.text))

    def values(self, key: str) -> frozenset[str]:
        """The values of a key that takes a list (`split`, `status`, …)."""
        chosen: frozenset[str] = getattr(self, _LISTS[key])
        return chosen

    def cleared(self, key: str) -> Where:
        """This filter without what it says of `key`: a key that takes a list, or one of LENGTHS."""
        if key in LENGTHS:
            return replace(self, length=tuple(one for one in self.length if one.column != key))
        return self._with(key, frozenset())

    def toggled(self, key: str, value: str | tuple[Length, ...]) -> Where:
        """This filter with `value` of `key` added, or taken away if it is there; a range of lengths replaces another.

        `key` and `value` are those of a facet and its value.
        """
        if isinstance(value, tuple):
            there = tuple(one for one in self.length if one.column == key) == value
            without = self.cleared(key)
            return without if there else replace(without, length=without.length + value)
        return self._with(key, self.values(key) ^ {value})

    def _with(self, key: str, values: frozenset[str]) -> Where:
        change: dict[str, Any] = {_LISTS[key]: values}
        return replace(self, **change)

    def __bool__(self) -> bool:
        """Whether it leaves any row out; where to search says nothing without a text."""
        return any(getattr(self, one.name) for one in fields(self) if one.name not in ("regex", "column"))


@dataclass(frozen=True)
class Order:
    """How rows are sorted; equal ones stay in order of position, rows without a value come last.

    `flags` puts the rows with most marks first, all others begin with the smallest; `descending` turns that around.
    """

    by: By = "position"
    descending: bool = False


def spans_of(positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Spans (first, last) of positions, for `Where.rows`."""
    return _joined((int(position), int(position)) for position in positions)


def parse(text: str) -> Where:
    """Read a filter as typed; the syntax stands at the head of this file.

    Raises:
        UsageError: a key or value is unknown (the nearest is named), a quote is open, words stand beside a regex.
    """
    refuse_halves(text)
    reading = _Reading(text)
    at = _skip(text, 0)
    while at < len(text):
        at = _skip(text, reading.part(at))
    return reading.where()


def format(where: Where) -> str:
    """Write a filter so that `parse` gives it back: keys in a fixed order, values sorted, the text last."""
    parts = [f"{key}:{','.join(map(_value, sorted(where.values(key))))}" for key in _LISTS if where.values(key)]
    parts += [f"{one.column}{one.op}{one.number}" for one in where.length]
    if where.marked:
        parts.append("is:marked")
    if where.rows:
        parts.append("rows:" + ",".join(_span(first, last) for first, last in where.rows))
    if where.column != "any":
        parts.append(f"in:{where.column}")
    if where.text:
        parts.append(f"/{where.text}/" if where.regex else _phrase(where.text))
    return " ".join(parts)


def refuse_halves(text: str) -> None:
    """Raise UsageError if `text` holds half a surrogate pair: no text of a project can, and polars takes none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            "The filter holds half a character.",
            where=f"character {error.start + 1}",
            why="it was cut between the two halves of a surrogate pair",
            remedy="delete that character",
        ) from None


class _Reading:
    """A filter as far as it has been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        slash = _LAST_SLASH.match(text)
        self._last_slash = slash.start(1) if slash else -1
        self._lists: dict[str, set[str]] = {}
        self._words: list[str] = []
        self._regex: str | None = None
        self._column = "any"
        self._length: list[Length] = []
        self._marked = False
        self._rows: list[tuple[int, int]] = []

    def where(self) -> Where:
        """The filter that was read."""
        if self._regex is not None and self._words:
            raise UsageError(
                "A filter searches for words or for a regular expression, not both.",
                where=" ".join(self._words),
                remedy="leave one of them out",
            )
        return Where(
            text=" ".join(self._words) if self._regex is None else self._regex,
            regex=self._regex is not None,
            length=tuple(self._length),
            marked=self._marked,
            rows=tuple(self._rows),
            column=self._column,  # type: ignore[arg-type] # checked against COLUMNS when it was read
            **{_LISTS[key]: frozenset(values) for key, values in self._lists.items()},
        )

    def part(self, at: int) -> int:
        """Read the part that begins at `at`; return where it ends."""
        if self._text[at] == '"':
            quoted, end = self._quoted(at)
            if quoted:
                self._words.append(quoted)
            return end
        if self._text[at] == "/" and at < self._last_slash:
            self._regex = self._text[at + 1 : self._last_slash]
            return self._last_slash + 1
        if found := _KNOWN_KEY.match(self._text, at) or _KEY.match(self._text, at):
            key = found[0][:-1]
            values, end = self._list(key, found.end())
            self._take(key, values)
            return end
        if found := _COMPARISON.match(self._text, at):
            self._length.append(_length(*found.groups()))
            return found.end()
        found = _WORD.match(self._text, at)
        assert found is not None  # `at` is neither a space nor a quote
        self._words.append(found[0])
        return found.end()

    def _quoted(self, at: int) -> tuple[str, int]:
        found = _QUOTED.match(self._text, at)
        if not found:
            raise UsageError(
                "A quote is not closed.", where=f"character {at + 1}", remedy='end it with ", or write \\" for the mark'
            )
        return re.sub(r'\\(["\\])', r"\1", found[1]), found.end()

    def _list(self, key: str, at: int) -> tuple[list[str], int]:
        """Values with commas between them, and where they end."""
        if key not in KEYS:
            raise UsageError(
                f"There is no key `{key}` in a filter.",
                where=f"character {at - len(key)}",
                remedy=f'{_nearest(key, KEYS)}; to search for the words, put them in quotes: "{key}:…"',
            )
        values = []
        while True:
            if self._text[at : at + 1] == '"':
                value, at = self._quoted(at)
            elif found := _VALUE.match(self._text, at):
                value, at = found[0], found.end()
            else:
                known = _CLOSED.get(key)
                raise UsageError(
                    f"`{key}:` needs a value.",
                    where=f"character {at + 1}",
                    remedy=f"one of {', '.join(known[:12])}" if known else f"such as `{key}:x`, or {key}:x,y",
                )
            values.append(value)
            if self._text[at : at + 1] != ",":
                return values, at
            at += 1

    def _take(self, key: str, values: list[str]) -> None:
        for value in values:
            known = _CLOSED.get(key)
            if known and value not in known:
                raise UsageError(
                    f"`{key}:` cannot be `{value}`.", where=f"{key}:{value}", remedy=_nearest(value, known)
                )
        if key == "in":
            self._column = values[-1]
        elif key == "is":
            self._marked = True
        elif key == "rows":
            self._rows += map(_positions, values)
        else:
            self._lists.setdefault(key, set()).update(values)


def _length(column: str, op: str, number: str) -> Length:
    if column not in LENGTHS:
        raise UsageError(
            f"There is no length `{column}`.",
            where=f"{column}{op}{number}",
            remedy=f"{_nearest(column, LENGTHS)}; to search for the words, put them in quotes",
        )
    if not re.fullmatch("[0-9]{1,10}", number) or int(number) > MOST_NUMBER:
        raise UsageError(
            f"`{column}` is compared with a whole number.",
            where=f"{column}{op}{number}",
            remedy=f"write {column}{op}100, with a number of at most {MOST_NUMBER:,}",
        )
    return Length(column, op, int(number))


def _positions(value: str) -> tuple[int, int]:
    found = _ROWS.fullmatch(value)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= MOST_NUMBER:
        raise UsageError(
            f"`rows:` cannot be `{value}`.", where=f"rows:{value}", remedy="give numbers from 1, or spans such as 20-29"
        )
    return first - 1, last - 1


def _joined(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    result: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = result[-1][0], max(last, result[-1][1])
        else:
            result.append((first, last))
    return tuple(result)


def _span(first: int, last: int) -> str:
    return f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"


def _value(value: str) -> str:
    return value if _VALUE.fullmatch(value) else _in_quotes(value)


def _phrase(text: str) -> str:
    """`text` bare if it is read back as the same words, else in quotes."""
    return text if all(map(_bare, text.split(" "))) else _in_quotes(text)


def _bare(word: str) -> bool:
    reserved = word.startswith("/") or word.endswith("/") or _KEY.match(word) or _KNOWN_KEY.match(word)
    return bool(re.fullmatch(r'[^\s"]+', word)) and not reserved and not _COMPARISON.match(word)


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.4)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known[:12])}"
