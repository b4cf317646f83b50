"""All texts of a snapshot as one column: queries, positives and each of the negatives."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

_COLUMNS = ("query", "positive")


def texts_where(pairs: pl.DataFrame, holds: Callable[[pl.Expr], pl.Expr]) -> pl.DataFrame:
    """Return row_id, column, index (among the negatives, else null) and text of every text for which `holds`."""
    none, text = pl.lit(None, pl.UInt32), pl.col("text")
    frame = pairs.lazy()
    parts = [
        frame.select("row_id", column=pl.lit(column), index=none, text=column).filter(holds(text))
        for column in _COLUMNS
    ]
    negatives = frame.filter(pl.col("negatives").list.len() > 0).select(
        "row_id",
        column=pl.lit("negatives"),
        index=pl.int_ranges(pl.col("negatives").list.len(), dtype=pl.UInt32),
        text="negatives",
    )
    return pl.concat([*parts, negatives.explode("index", "text").filter(holds(text))]).collect()
