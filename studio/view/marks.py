"""One mask a row: which checks say something of it, and in which band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from studio.project.evidence import Band, Role, StoredEvidence
from studio.view.bench import Bench

CHECKS: Mapping[str, str] = {
    "exact_duplicates": "E",
    "near_duplicates": "D",
    "near_queries": "N",
    "containment": "C",
    "boilerplate": "B",
    "templates": "T",
    "groups": "G",
    "leakage": "L",
    "quality": "Q",
    "pii": "P",
    "prompt_lint": "I",
}
"""Every check and its letter. The place of a check is for ever: bits 2i (review) and 2i + 1 (auto) of a mask are its.

`templates` and `groups` only keep books (all they emit is in the band `ignore`: nothing is wrong with such rows), so
they have a place and never a mark.
"""
BANDS = (Band.REVIEW.value, Band.AUTO.value)
"""The bands that mark a row; the place of a band is added to 2i to give its bit."""

Masks = npt.NDArray[np.uint32]

_COMPARED = {Role.QUERY.value: "query", Role.PASSAGE.value: "positive"}
"""Roles whose edges stand for texts, and the column of these: every row with an equal text is meant."""


@dataclass(frozen=True)
class Marks:
    """`masks`: one uint32 a row, in snapshot order; see CHECKS for the bits."""

    masks: Masks


@dataclass
class _Known:
    """What was worked out for one bench, and from which evidence."""

    evidence: Mapping[str, StoredEvidence]
    marks: Marks | None


_KNOWN: WeakKeyDictionary[Bench, _Known] = WeakKeyDictionary()


def bits(check: str, band: str | None = None) -> int:
    """The bit of a check in a band, or both its bits."""
    place = 2 * list(CHECKS).index(check)
    return 0b11 << place if band is None else 1 << (place + BANDS.index(band))


def marks(bench: Bench) -> Marks:
    """The marks of every row, from the stored evidence; worked out again only when some of that changed.

    An edge between texts (role query or passage) is stored for the first rows of equal texts: every row whose text is
    equal at L2 is marked. An edge between pairs, or across, marks its two rows. What is in the band ignore marks none.

    Raises:
        ProjectError: stored evidence is damaged.
    """
    evidence = bench.evidence()
    known = _KNOWN.setdefault(bench, _Known({}, None))
    same = known.evidence.keys() == evidence.keys() and all(known.evidence[one] is evidence[one] for one in evidence)
    if known.marks is None or not same:
        known.marks, known.evidence = Marks(_masks(bench, evidence)), dict(evidence)
    return known.marks


def letters(mask: int) -> str:
    """The letters of the checks in a mask, in the order of CHECKS: upper case auto, lower case review only."""
    return "".join(
        letter if mask & bits(name, Band.AUTO.value) else letter.lower()
        for name, letter in CHECKS.items()
        if mask & bits(name)
    )


def spelled(mask: int) -> list[str]:
    """The marks of a mask in words, such as `near_duplicates/review`, as a filter's `check:` takes them."""
    return [f"{name}/{band}" for name in CHECKS for band in reversed(BANDS) if mask & bits(name, band)]


def _masks(bench: Bench, evidence: Mapping[str, StoredEvidence]) -> Masks:
    said = [frame for name, stored in evidence.items() if name in CHECKS for frame in _said(name, stored)]
    masks = np.zeros(bench.rows.height, dtype=np.uint32)
    if not said:
        return masks
    found = pl.concat(said).join(bench.places, on="row_id")
    for (bit, column), rows in found.partition_by("bit", "column", as_dict=True).items():
        positions = rows["position"].to_numpy()
        if column is None:
            masks[positions] |= np.uint32(bit)
            continue
        classes = bench.text_numbers(str(column))
        hit = np.zeros(len(masks), dtype=bool)
        hit[classes[positions]] = True
        masks[hit[classes]] |= np.uint32(bit)
    return masks


def _said(check: str, stored: StoredEvidence) -> Iterator[pl.DataFrame]:
    """`row_id`, `bit`, and `column` where every row with an equal text in it is meant, else null."""
    numbers = {band: bits(check, band) for band in BANDS}
    bit = pl.col("band").replace_strict(numbers, default=None, return_dtype=pl.UInt32).alias("bit")
    shown = pl.col("band").is_in(BANDS)
    yield stored.evidence.flags.filter(shown).select("row_id", bit, pl.lit(None, pl.String).alias("column"))
    edges = stored.evidence.edges.filter(shown)
    column = pl.col("role").replace_strict(_COMPARED, default=None, return_dtype=pl.String).alias("column")
    for end in ("a_id", "b_id"):
        yield edges.select(pl.col(end).alias("row_id"), bit, column)
