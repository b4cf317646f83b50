"""The sample project's hand-written rows."""

from __future__ import annotations

import json
from pathlib import Path

from studio.selftest.rows import Row

PER_KIND = 7
"""Planted rows a kind of fault, in the sample and in the selftest."""

_FIELDS = ("bank", "city_hall", "clinic", "library", "university", "utility")
_TEST_EVERY = 5


def clean_rows(folder: Path) -> tuple[list[Row], list[tuple[Row, str]]]:
    """Read `handwritten/`: the clean rows, and independent rows with the id of the row whose query they also answer.

    Within a field every fifth source document (by name) belongs to the test split, so that no document is on both
    sides.
    """
    rows: list[Row] = []
    alternates: list[tuple[Row, str]] = []
    for field in _FIELDS:
        records = _read(folder / "handwritten" / f"{field}.jsonl")
        docs = sorted({record["doc"] for record in records})
        test = set(docs[::_TEST_EVERY])
        rows += [_row(record, "test" if record["doc"] in test else "train") for record in records]
        others = _read(folder / "handwritten" / f"alternates_{field}.jsonl")
        alternates += [(_row(record, "train"), record["also_answers"]) for record in others]
    return rows, alternates


def _row(record: dict[str, str], split: str) -> Row:
    return Row(record["id"], record["field"], record["doc"], split, record["query"], record["passage"])


def _read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
