"""Which columns a dataset gets: what its rows are, seen from what its loss takes."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import polars as pl

from studio.errors import ConfigError, InputError
from studio.text.safe import visible
from studio.training.spec import DataPart, LossName, Shape

POOL_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "query": pl.String(),
        "positive": pl.String(),
        "negatives": pl.List(pl.String()),
        "score": pl.Float64(),
        "label": pl.String(),
        "scores": pl.List(pl.Float64()),
    }
)
"""Rows before they have the columns of a loss. `scores`: of the positive, then of each negative, or null."""

OTHER_KIND = "of another kind than the loss takes"
FEW_NEGATIVES = "fewer hard negatives than asked for"
_YES, _NO = r"^(?i)(1|1\.0+|true|yes)$", r"^(?i)(0|0\.0+|false|no)$"


class Family(Enum):
    """What a loss learns from."""

    RANKING = auto()
    """Positives, against the batch and hard negatives."""
    SCORED = auto()
    LABELLED = auto()
    MARGIN = auto()


_FAMILIES = {
    LossName.COSENT: Family.SCORED,
    LossName.ANGLE: Family.SCORED,
    LossName.COSINE: Family.SCORED,
    LossName.CONTRASTIVE: Family.LABELLED,
    LossName.ONLINE_CONTRASTIVE: Family.LABELLED,
    LossName.MARGIN_MSE: Family.MARGIN,
}


class Shaped(NamedTuple):
    """`frame`: `row_id`, then the columns of the shape. `left_out`: rows by reason."""

    shape: Shape
    frame: pl.DataFrame
    left_out: dict[str, int]


def shaped(pool: pl.DataFrame, part: DataPart, loss: LossName) -> Shaped:
    """Give rows the columns that a loss takes, as far as they have them.

    Rows of which a loss learns nothing are left out: those with a score where it takes positives, and so on. If no row
    is of the kind that it takes, all of them get the columns of what they are; the loss is then refused by what checks
    losses against shapes.

    Args:
        pool: rows as POOL_SCHEMA.
        part: how many hard negatives become columns.
        loss: the loss.

    Raises:
        ConfigError: no row has so many hard negatives.
        InputError: a label is neither 0 nor 1.
    """
    labelled = pl.col("label").is_not_null()
    scored = ~labelled & pl.col("score").is_not_null()
    kinds = {
        Family.RANKING: pool.filter(~labelled & ~scored),
        Family.SCORED: pool.filter(scored | (pl.col("scores").is_not_null() & (part.negatives > 0))),
        Family.LABELLED: pool.filter(labelled) if pool["label"].count() else _judged_negatives(pool, part),
        Family.MARGIN: pool.filter(pl.col("scores").is_not_null() | (scored & (pl.col("negatives").list.len() == 1))),
    }
    wanted = _FAMILIES.get(loss, Family.RANKING)
    there = [family for family in (wanted, Family.RANKING, Family.SCORED, Family.LABELLED) if kinds[family].height]
    family = there[0] if there else wanted
    rows = kinds[family]
    makers = {
        Family.RANKING: _ranking,
        Family.SCORED: _scored,
        Family.LABELLED: _labelled,
        Family.MARGIN: _margin,
    }
    shape, frame, few = makers[family](rows, part)
    return Shaped(shape, frame, {OTHER_KIND: pool.height - rows.height, FEW_NEGATIVES: few})


def _judged_negatives(pool: pl.DataFrame, part: DataPart) -> pl.DataFrame:
    """Rows whose hard negatives can stand for pairs with label 0."""
    return pool.filter(pl.col("score").is_null() & (part.negatives > 0) & (pl.col("negatives").list.len() > 0))


def _ranking(rows: pl.DataFrame, part: DataPart) -> tuple[Shape, pl.DataFrame, int]:
    wanted = part.negatives
    if not wanted:
        return Shape.PAIR, rows.select("row_id", "query", "positive"), 0
    enough = _with_negatives(rows, part)
    names = ["negative"] if wanted == 1 else [f"negative_{place + 1}" for place in range(wanted)]
    columns = [pl.col("negatives").list.get(place).alias(name) for place, name in enumerate(names)]
    shape = Shape.TRIPLET if wanted == 1 else Shape.NTUPLE
    return shape, enough.select("row_id", "query", "positive", *columns), rows.height - enough.height


def _with_negatives(rows: pl.DataFrame, part: DataPart) -> pl.DataFrame:
    """The rows that have as many negatives as are asked for.

    Raises:
        ConfigError: none has, though there are rows.
    """
    counts = rows["negatives"].list.len()
    enough = rows.filter(counts >= part.negatives)
    if rows.height and enough.is_empty():
        most = max(counts.to_list())
        raise ConfigError(
            f"No row of the dataset `{part.name}` has {part.negatives} hard negatives.",
            where=f"data, `{part.name}`: negatives = {part.negatives}",
            why=f"the most that a row has is {most}" if most else "no row has any",
            remedy=(f"set negatives to {most}, or " if most else "set negatives to 0, or ")
            + "mine more with `harrier-studio mine` and name its folder with kind = mined",
        )
    return enough


def _scored(rows: pl.DataFrame, part: DataPart) -> tuple[Shape, pl.DataFrame, int]:
    if rows["scores"].count():
        passages = pl.concat_list("positive", pl.col("negatives").list.head(part.negatives))
        scores = pl.col("scores").list.head(1 + part.negatives)
        lines = rows.select("row_id", "query", passages.alias("passage"), scores.alias("score"))
        return Shape.SCORED, lines.explode("passage", "score"), 0
    return Shape.SCORED, rows.select("row_id", "query", pl.col("positive").alias("passage"), "score"), 0


def _labelled(rows: pl.DataFrame, part: DataPart) -> tuple[Shape, pl.DataFrame, int]:
    if not rows["label"].count():
        negatives = pl.col("negatives").list.head(part.negatives)
        labels = pl.concat_list(pl.lit(1, pl.Int64), pl.lit(0, pl.Int64).repeat_by(negatives.list.len()))
        lines = rows.select(
            "row_id", "query", pl.concat_list("positive", negatives).alias("passage"), labels.alias("label")
        )
        return Shape.LABELLED, lines.explode("passage", "label"), 0
    label = (
        pl.when(pl.col("label").str.contains(_YES))
        .then(pl.lit(1, pl.Int64))
        .when(pl.col("label").str.contains(_NO))
        .then(pl.lit(0, pl.Int64))
    )
    lines = rows.select("row_id", "query", pl.col("positive").alias("passage"), label.alias("as_number"), "label")
    strange = lines.filter(pl.col("as_number").is_null())
    for row_id, value in strange.head(1).select("row_id", "label").iter_rows():
        raise InputError(
            f"A label of the dataset `{part.name}` is neither 0 nor 1.",
            where=f"row {row_id}" if row_id else None,
            why=f"it is {visible(value, 80)!r}; {strange.height:,} rows have such a label",
            remedy="contrastive losses tell pairs that belong together (1) from those that do not (0)",
        )
    return Shape.LABELLED, lines.drop("label").rename({"as_number": "label"}), 0


def _margin(rows: pl.DataFrame, part: DataPart) -> tuple[Shape, pl.DataFrame, int]:
    """A row a negative. The score of a row that has a negative is its margin."""
    several = rows.filter(pl.col("scores").is_not_null())
    count = max(part.negatives, 1)
    margins = pl.col("scores").list.first() - pl.col("scores").list.slice(1, count)
    tables = [
        several.select(
            "row_id",
            "query",
            "positive",
            pl.col("negatives").list.head(count).alias("negative"),
            margins.alias("score"),
        )
        .filter(pl.col("negative").list.len() > 0)
        .explode("negative", "score"),
        rows.filter(pl.col("scores").is_null()).select(
            "row_id", "query", "positive", pl.col("negatives").list.first().alias("negative"), "score"
        ),
    ]
    lines = pl.concat(tables)
    return Shape.MARGIN, lines.filter(pl.col("score").is_not_null()), 0
