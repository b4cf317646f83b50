"""Which rows a filter leaves, and in which order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from studio.errors import UsageError
from studio.text.quality_marks import word_count
from studio.view.bench import Bench
from studio.view.marks import bits, marks
from studio.view.states import decided, tags
from studio.view.where import NONE, Order, Where, format, refuse_halves

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

PASSAGE = {"query": "query", "passage": "positive"}
"""What a text is called in a filter, and its column."""

_OPERATORS: Mapping[str, Callable[[Counts, int], Mask]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}
_COLUMNS = {"split": "split", "reason": "reason", "label": "label", "group": "group"}
"""Keys that are columns of the curated view."""


@dataclass(frozen=True)
class Found:
    """`positions` of the rows that were found, in order (uint32, from 0), and how many they are."""

    positions: npt.NDArray[np.uint32]
    total: int


class _Known:
    """What was worked out for one bench: of the snapshot for ever, of a search while the texts are the same."""

    def __init__(self) -> None:
        self.files: pl.Series | None = None
        self.words: dict[str, pl.Series] = {}
        self.searched: tuple[pl.DataFrame, tuple[str, bool, str], Mask] | None = None


_KNOWN: WeakKeyDictionary[Bench, _Known] = WeakKeyDictionary()


def find(bench: Bench, where: Where, order: Order | None = None, marked: np.ndarray | None = None) -> Found:
    """Find the rows that `where` leaves, in `order` (of position when None). Texts are those of the curated view.

    Args:
        marked: the rows marked by hand: a bool a row, or their positions. None: no row is marked.

    Raises:
        UsageError: the regular expression is wrong, or tokens or languages are asked for that have not been computed.
    """
    kept = every(bench, conditions(bench, where, marked))
    positions = np.flatnonzero(kept).astype(np.uint32)
    return Found(_sorted(bench, positions, order or Order()), len(positions))


def conditions(bench: Bench, where: Where, marked: np.ndarray | None = None) -> dict[str, Mask]:
    """For each part of a filter that says something, which rows it leaves (a bool a row).

    Keys are those of the syntax (`split`, `query.chars`, …), `marked`, `rows` and `text`. For arguments and errors see
    `find`.
    """
    refuse_halves(format(where))
    return dict(_conditions(bench, where, marked))


def every(bench: Bench, masks: Mapping[str, Mask], without: str = "") -> Mask:
    """Which rows all of `masks` leave, the one called `without` not counted."""
    kept: Mask = np.ones(bench.rows.height, dtype=np.bool_)
    for name, mask in masks.items():
        if name != without:
            kept &= mask
    return kept


def values(bench: Bench, key: str) -> pl.Series:
    """The value of each row for `split`, `reason`, `label`, `group`, `source` (the file) or `lang`; NONE for null.

    Raises:
        UsageError: languages have not been computed.
    """
    if key == "lang":
        found = _languages(bench)
        if found is None:
            raise _not_computed("The languages of these texts are not known yet.", "languages")
        return found.fill_null(NONE)
    return (_files(bench) if key == "source" else bench.curated()[_COLUMNS[key]]).fill_null(NONE)


def has_languages(bench: Bench) -> bool:
    """Whether the languages of these rows have been computed."""
    return _languages(bench) is not None


def counts(bench: Bench, column: str, unit: str) -> Counts:
    """How long each curated text of `column` (query, positive) is in `unit` (chars, words, tokens); -1: not known.

    Tokens are those of the imported texts, prompt included, as they were counted.

    Raises:
        UsageError: tokens have not been computed.
    """
    if unit == "tokens":
        return _tokens(bench, column)
    texts = bench.curated()[column]
    sizes = texts.str.len_chars() if unit == "chars" else _words(bench, column, texts)
    return sizes.cast(pl.Int64).fill_null(-1).to_numpy()


def _conditions(bench: Bench, where: Where, marked: np.ndarray | None) -> Iterator[tuple[str, Mask]]:
    rows = bench.rows.height
    for key in ("split", "reason", "source", "group", "label", "lang"):
        if chosen := where.values(key):
            yield key, values(bench, key).is_in(list(chosen)).to_numpy()
    if where.status:
        mask = bench.curated()["status"].is_in(list(where.status)).to_numpy()
        yield "status", mask | decided(bench) if "decided" in where.status else mask
    if where.checks:
        wanted = 0
        for check in where.checks:
            wanted |= bits(*check.split("/"))
        yield "check", (marks(bench).masks & np.uint32(wanted)) != 0
    if where.tags:
        tagged = tags(bench).filter(pl.col("tag").is_in(list(where.tags)))
        yield "tag", _mask(tagged["position"].to_numpy(), rows)
    for name in dict.fromkeys(one.column for one in where.length):
        text, unit = name.split(".")
        sizes = counts(bench, PASSAGE[text], unit)
        holds = sizes >= 0
        for one in where.length:
            if one.column == name:
                holds &= _OPERATORS[one.op](sizes, one.number)
        yield name, holds
    if where.marked:
        yield "marked", _mask(np.empty(0, np.uint32) if marked is None else marked, rows)
    if where.rows:
        chosen_rows = np.zeros(rows, dtype=np.bool_)
        for first, last in where.rows:
            chosen_rows[first : last + 1] = True
        yield "rows", chosen_rows
    if where.text:
        yield "text", _searched(bench, where)


def _mask(positions: np.ndarray, rows: int) -> Mask:
    """A bool a row, of positions or of what is one already."""
    if positions.dtype == np.bool_:
        return positions
    mask = np.zeros(rows, dtype=np.bool_)
    mask[positions] = True
    return mask


def _searched(bench: Bench, where: Where) -> Mask:
    """Which rows hold the text; the last search is remembered, for the facets and lengths asked for after it."""
    curated, known = bench.curated(), _KNOWN.setdefault(bench, _Known())
    asked = where.text, where.regex, where.column
    if known.searched and known.searched[0] is curated and known.searched[1] == asked:
        return known.searched[2]
    # As a regex even a phrase is searched without lower-casing the texts first, which would take ten times as long.
    pattern = "(?i)" + (where.text if where.regex else pl.escape_regex(where.text))
    names = ("query", "passage", "negatives") if where.column == "any" else (where.column,)
    hits = [_holds(PASSAGE.get(name, name), pattern) for name in names]
    try:
        mask = curated.select(pl.any_horizontal(hits).fill_null(value=False)).to_series().to_numpy()
    except pl.exceptions.ComputeError as error:
        raise UsageError(
            "The regular expression cannot be used.",
            where=f"/{where.text}/",
            why=str(error),
            remedy="mend it, or leave the slashes out to search for the words as they are",
        ) from error
    known.searched = curated, asked, mask
    return mask


def _holds(column: str, pattern: str) -> pl.Expr:
    if column == "negatives":
        return pl.col(column).list.eval(pl.element().str.contains(pattern)).list.any()
    return pl.col(column).str.contains(pattern)


def _sorted(bench: Bench, positions: npt.NDArray[np.uint32], order: Order) -> npt.NDArray[np.uint32]:
    if order.by == "position":
        return positions[::-1] if order.descending else positions
    keys = _sort_keys(bench, order.by).gather(positions)
    frame = pl.LazyFrame({"position": positions, "key": keys})
    # Stable, so that equal rows stay in order of position either way round. Lazy, so that sorted texts are not copied.
    ordered = frame.sort("key", descending=order.descending, nulls_last=True, maintain_order=True).select("position")
    return ordered.collect().to_series().to_numpy()


def _sort_keys(bench: Bench, by: str) -> pl.Series:
    if by == "flags":
        return -pl.Series(marks(bench).masks).bitwise_count_ones().cast(pl.Int16)
    if by == "status":
        return pl.Series(bench.status())
    text, _, unit = by.partition(".")
    if unit:
        sizes = pl.Series(counts(bench, PASSAGE[text], unit))
        return sizes.set(sizes < 0, None)
    return bench.curated()[PASSAGE.get(by, by)]


def _files(bench: Bench) -> pl.Series:
    """The file of each row's source, without the line."""
    known = _KNOWN.setdefault(bench, _Known())
    if known.files is None:
        known.files = bench.rows.select(pl.col("source").str.replace(r":\d+$", "")).to_series()
    return known.files


def _words(bench: Bench, column: str, texts: pl.Series) -> pl.Series:
    """Words of each text; those of the snapshot are counted once, then only texts that were edited."""
    known, imported = _KNOWN.setdefault(bench, _Known()), bench.rows[column]
    if column not in known.words:
        known.words[column] = imported.to_frame("text").select(word_count(pl.col("text"))).to_series()
    edited = texts.ne_missing(imported).arg_true()
    if edited.is_empty():
        return known.words[column]
    anew = texts.gather(edited).to_frame("text").select(word_count(pl.col("text"))).to_series()
    return known.words[column].clone().scatter(edited, anew)


def _tokens(bench: Bench, column: str) -> Counts:
    from studio.view.tokens import read_tokens

    found = read_tokens(bench.project)
    if found is None or found.height != bench.rows.height:
        raise _not_computed("The tokens of these texts have not been counted.", "tokens")
    return found[column].cast(pl.Int64).fill_null(-1).to_numpy()


def _languages(bench: Bench) -> pl.Series | None:
    from studio.view.languages import read_languages

    found = read_languages(bench.project)
    return None if found is None or found.height != bench.rows.height else found["language"]


def _not_computed(what: str, job: str) -> UsageError:
    key = {"tokens": "T", "languages": "L"}[job]
    return UsageError(what, where=job, remedy=f"press {key} in Pairs, then filter again")
