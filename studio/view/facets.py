"""What the rows that a filter leaves are made of: counts by split, status, check, length, file and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from studio.text.safe import visible
from studio.view.bench import STATUSES, Bench
from studio.view.find import PASSAGE, Mask, conditions, counts, every, has_languages, values
from studio.view.marks import BANDS, CHECKS, bits, marks
from studio.view.states import decided, tags
from studio.view.where import Length, Where

SHOWN = 50
"""Values a facet lists at most; what is chosen is listed anyway."""
_LABEL = 60
_BOUNDS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""The last length in characters of each bucket but the last."""


@dataclass(frozen=True)
class FacetValue:
    """One value and how many rows have it. `value` is what `Where.toggled` takes; `label` is safe to show."""

    value: str | tuple[Length, ...]
    label: str
    count: int


@dataclass(frozen=True)
class Facet:
    """One way to divide the rows. `key` is that of the filter's syntax.

    `total`: rows that the filter leaves when it says nothing of `key`; the counts are of these. `note`: what is not
    listed, such as "50 of 1,234", or "".
    """

    name: str
    key: str
    values: list[FacetValue]
    total: int
    note: str = ""


def facets(bench: Bench, where: Where, marked: np.ndarray | None = None) -> list[Facet]:
    """Count, for each facet, the rows that the rest of the filter leaves by their value, most first.

    Languages are left out until they are computed; labels, tags and groups where no row of the project has one.

    Args:
        marked: as for `find`.

    Raises:
        UsageError: as for `find`.
    """
    masks = conditions(bench, where, marked)
    found = [
        _of_column(bench, where, masks, "split", "Split"),
        _statuses(bench, masks),
        _of_column(bench, where, masks, "reason", "Reason"),
        _checks(bench, where, masks),
    ]
    if has_languages(bench):
        found.append(_of_column(bench, where, masks, "lang", "Language"))
    found += [_lengths(bench, masks, "query", "Query length"), _lengths(bench, masks, "passage", "Passage length")]
    found.append(_of_column(bench, where, masks, "source", "Source file"))
    if _any(bench, "label"):
        found.append(_of_column(bench, where, masks, "label", "Label"))
    if tags(bench).height:
        found.append(_tags(bench, where, masks))
    if _any(bench, "group"):
        found.append(_of_column(bench, where, masks, "group", "Group"))
    return found


def _any(bench: Bench, column: str) -> bool:
    return bench.rows[column].null_count() < bench.rows.height


def _of_column(bench: Bench, where: Where, masks: Mapping[str, Mask], key: str, name: str) -> Facet:
    left = every(bench, masks, without=key)
    counted = values(bench, key).alias("value").filter(pl.Series(left)).value_counts(name="count")
    return _listed(name, key, counted, where, int(left.sum()))


def _tags(bench: Bench, where: Where, masks: Mapping[str, Mask]) -> Facet:
    left = every(bench, masks, without="tag")
    there = tags(bench)
    there = there.filter(pl.Series(left[there["position"].to_numpy()]))
    return _listed("Tag", "tag", there["tag"].alias("value").value_counts(name="count"), where, int(left.sum()))


def _listed(name: str, key: str, counted: pl.DataFrame, where: Where, total: int) -> Facet:
    """A facet of `value` and `count`: the most common, and what is chosen however rare."""
    most = counted.sort("count", "value", descending=[True, False]).head(SHOWN)
    chosen = sorted(where.values(key) - set(most["value"]))
    rare = dict(counted.filter(pl.col("value").is_in(chosen)).iter_rows())
    lines = [*most.iter_rows(), *((value, rare.get(value, 0)) for value in chosen)]
    note = f"{SHOWN} of {counted.height:,}" if counted.height > SHOWN else ""
    return Facet(name, key, [FacetValue(value, _label(value), count) for value, count in lines], total, note)


def _label(value: str) -> str:
    return visible(value, _LABEL) or "(empty)"


def _statuses(bench: Bench, masks: Mapping[str, Mask]) -> Facet:
    left = every(bench, masks, without="status")
    numbers = np.bincount(bench.status()[left], minlength=len(STATUSES))
    found = [FacetValue(status.value, status.value, int(n)) for status, n in zip(STATUSES, numbers, strict=True)]
    found.append(FacetValue("decided", "decided by a person", int((decided(bench) & left).sum())))
    return Facet("Status", "status", found, int(left.sum()))


def _checks(bench: Bench, where: Where, masks: Mapping[str, Mask]) -> Facet:
    """Each check that marks a row, then its bands; checks in their fixed order."""
    left = every(bench, masks, without="check")
    # There are far fewer different masks than rows.
    kinds, rows = np.unique(marks(bench).masks[left], return_counts=True)
    found = []
    for check in CHECKS:
        for band in (None, *reversed(BANDS)):
            value = f"{check}/{band}" if band else check
            count = int(rows[(kinds & np.uint32(bits(check, band))) != 0].sum())
            if count or value in where.checks:
                found.append(FacetValue(value, value.replace("_", " ").replace("/", " · "), count))
    return Facet("Check", "check", found, int(left.sum()))


def _lengths(bench: Bench, masks: Mapping[str, Mask], text: str, name: str) -> Facet:
    key = f"{text}.chars"
    left = every(bench, masks, without=key)
    sizes = counts(bench, PASSAGE[text], "chars")[left]
    numbers = np.bincount(np.searchsorted(_BOUNDS, sizes[sizes >= 0]), minlength=len(_BOUNDS) + 1)
    found = [
        FacetValue(value, label, int(count))
        for (value, label), count in zip(_buckets(key), numbers, strict=True)
        if count
    ]
    return Facet(name, key, found, int(left.sum()))


def _buckets(key: str) -> Iterable[tuple[tuple[Length, ...], str]]:
    low = 0
    for high in _BOUNDS:
        yield (Length(key, ">=", low), Length(key, "<=", high)), f"{low:,}–{high:,}"
        low = high + 1
    yield (Length(key, ">=", low),), f"{low:,} and more"
