"""The canonical table of pairs, and the shapes a dataset can have."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

SNAPSHOT_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "query": pl.String(),
        "positive": pl.String(),
        "negatives": pl.List(pl.String()),
        "score": pl.Float64(),
        "label": pl.String(),
        "group": pl.String(),
        "split": pl.String(),
        "source": pl.String(),
        "meta": pl.String(),
    }
)
"""Columns of `snapshot.parquet`, in order.

`row_id`: 16 hex digits, from content and source position. `negatives`: never null, [] when there are none.
`score`, `label`, `group`, `split`: null when the source has none. `label` is the source's value as text.
`source`: `file:line` (or `file:row`, 1-based). `meta`: a JSON object of every column that has no role, or null.
"""

REJECTS_SCHEMA = pl.Schema(
    {"file": pl.String(), "line": pl.Int64(), "reason": pl.String(), "detail": pl.String(), "raw": pl.String()}
)
"""Columns of `rejects.jsonl`: rows of a source that could not become pairs, with the reason code and the raw text."""

UNREADABLE: tuple[type[BaseException], ...] = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    MemoryError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
"""What reading a damaged table, or the JSON beside it, may raise; a panic inside polars is no `Exception`."""


class Shape(StrEnum):
    """What each row of a dataset carries besides a query and a positive."""

    PAIRS = "pairs"
    TRIPLETS = "triplets"
    NTUPLES = "n-tuples"
    SCORED = "scored"
    LABELLED = "labelled"


def shape_of(pairs: pl.DataFrame) -> Shape:
    """Tell the shape of a table in `SNAPSHOT_SCHEMA`: labels win over scores, scores over negatives."""
    if pairs["label"].null_count() < pairs.height:
        return Shape.LABELLED
    if pairs["score"].null_count() < pairs.height:
        return Shape.SCORED
    counts = pairs["negatives"].list.len()
    most = counts.max() if pairs.height else 0
    if not most:
        return Shape.PAIRS
    return Shape.TRIPLETS if most == 1 and counts.min() == 1 else Shape.NTUPLES
