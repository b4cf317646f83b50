"""What the selftest is made of: rows, and the answer key that says what was planted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Truth(StrEnum):
    """What is true of a planted row and its source, or of a row alone."""

    SAME_PAIR = "same_pair"
    SAME_PASSAGE = "same_passage"
    SAME_QUERY = "same_query"
    CONTAINED = "contained"
    """One passage lies in the other, or overlaps with it."""
    LEAKED = "leaked"
    """A training row made from a test row: the same pair, nearly."""
    DISTINCT = "distinct"
    """Passages that are nearly the same words and say something else."""
    DISTINCT_QUERY = "distinct_query"
    """Queries that are nearly the same words and ask something else."""
    ALSO_ANSWERS = "also_answers"
    PROMPTED = "prompted"
    MARKED = "marked"
    """A fault of the row alone."""


@dataclass(frozen=True)
class Row:
    """A row of the sample: `doc_id` is its source document, `split` train or test."""

    id: str
    field: str
    doc_id: str
    split: str
    query: str
    passage: str


@dataclass(frozen=True)
class Planted:
    """One line of the answer key: `b` was made from `a` (`a` is empty where a row stands for itself)."""

    kind: str
    truth: Truth
    a: str
    b: str
