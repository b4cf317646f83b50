"""Rows that could not become pairs, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from studio.files import write_text
from studio.pairs.schema import REJECTS_SCHEMA

_RAW_CHARACTERS = 2_000


class RejectReason(StrEnum):
    """Why a row was set aside."""

    BROKEN_JSON = "broken_json"
    """The line is not JSON."""
    NOT_AN_OBJECT = "not_an_object"
    """The line is JSON, but neither an object nor a list of texts."""
    WRONG_ARITY = "wrong_arity"
    """The row has more or fewer cells than the header, or a tuple has fewer than two texts."""
    MISSING_QUERY = "missing_query"
    MISSING_POSITIVE = "missing_positive"
    EMPTY_QUERY = "empty_query"
    """Nothing but white space and invisible marks."""
    EMPTY_POSITIVE = "empty_positive"
    INVALID_UTF8 = "invalid_utf8"
    """The bytes are not UTF-8."""
    LONE_SURROGATE = "lone_surrogate"
    """Half of a surrogate pair, escaped: no text can hold it."""
    NOT_TEXT = "not_text"
    """A number, a truth value or a nested value where a text should be."""
    BAD_SCORE = "bad_score"
    """The score is not a finite number."""
    UNKNOWN_ID = "unknown_id"
    """A judgement names a query or a passage that the folder does not hold."""


@dataclass(frozen=True)
class Reject:
    """One rejected row: `line` is its first line in a text file, or its row in a table, from 1."""

    file: str
    line: int
    reason: RejectReason
    detail: str
    raw: str


def rejects_frame(rejects: Iterable[Reject]) -> pl.DataFrame:
    """Rejects as REJECTS_SCHEMA, by file and line; raw text is cut, and what is no text shown as escapes."""
    rows = [
        (file, line, str(reason), detail, raw[:_RAW_CHARACTERS].encode("utf-8", "backslashreplace").decode())
        for file, line, reason, detail, raw in map(astuple, rejects)
    ]
    return pl.DataFrame(rows, schema=REJECTS_SCHEMA, orient="row").sort("file", "line", maintain_order=True)


def write_rejects(rejects: pl.DataFrame, path: Path) -> None:
    """Write rejects as JSON lines, whole or not at all."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rejects.iter_rows(named=True))
    write_text(path, "".join(lines))
