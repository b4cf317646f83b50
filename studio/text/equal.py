"""Which texts of a column are equal at a level, without normalising all of them."""

from __future__ import annotations

import polars as pl

from studio.progress import Progress, silent
from studio.text.near import open_texts
from studio.text.normalise import Level, normalised


def equal_at(texts: pl.Series, level: Level, progress: Progress = silent) -> pl.Series:
    """Number the texts: those equal at `level` have the position of the first of them. A null has null.

    Equal texts have the same words, so only texts that share all their words with another one are normalised. A text
    of nothing but marks is equal to its own bytes only.
    """
    frame = texts.alias("text").to_frame().with_row_index("row")
    distinct = frame.filter(pl.col("text").is_not_null()).unique("text", keep="first", maintain_order=True)
    if level > Level.BYTES:
        opened = open_texts(distinct["text"], progress, Level.ACCENTS if level == Level.ACCENTS else Level.SURFACE)
        words, keys = opened.words()
        distinct = distinct.with_columns(words=pl.Series(words), key=pl.Series(keys))
        alike = (pl.col("words") > 0) & (pl.len().over("key") > 1)
        same = distinct.filter(alike).select(
            "text", first=pl.col("row").first().over(normalised(pl.col("text"), level))
        )
        distinct = distinct.join(same, on="text", how="left", maintain_order="left")
        distinct = distinct.select("text", row=pl.coalesce("first", "row"))
    numbers = distinct.select("text", pl.col("row").alias("number"))
    return frame.join(numbers, on="text", how="left", maintain_order="left")["number"]
