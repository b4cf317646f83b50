"""Rows a trainer can take: the same columns, in order, none empty. Everything else goes to the sidecar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

_INTEGER = r"^-?\d{1,18}$"


class Kind(StrEnum):
    """What the columns of a subset are; sentence-transformers needs one arity a dataset."""

    PAIR = "pair"
    TRIPLET = "triplet"
    NTUPLE = "ntuple"
    SCORED = "scored"
    LABELLED = "labelled"


@dataclass(frozen=True)
class Subset:
    """The rows of one kind and split.

    `rows`: curated rows. `columns`: what is written: query, positive, then negative_1… or score or label.
    `folder`: "" when the whole dataset is of one kind, else the kind.
    """

    kind: Kind
    folder: str
    split: str
    rows: pl.DataFrame
    columns: pl.DataFrame

    @property
    def place(self) -> str:
        """Path below `data/`, without suffix."""
        return f"{self.folder}/{self.split}" if self.folder else self.split


def split_name(split: str | None) -> str:
    """A split's name as `datasets` accepts it, and any file system; rows without a split are training rows."""
    return re.sub(r"\W+", "_", split or "", flags=re.ASCII).strip("_") or "train"


def subsets_of(kept: pl.DataFrame) -> tuple[list[Subset], list[str]]:
    """Cut the kept rows into subsets; also say in words what stays in the sidecar only.

    A label wins over a score and a score over negatives. Rows with negatives all get as many as the poorest of them
    has, so that no cell is empty.
    """
    counts = pl.col("negatives").list.len()
    kinds = kept.with_columns(
        pl.when(pl.col("label").is_not_null())
        .then(pl.lit(Kind.LABELLED.value))
        .when(pl.col("score").is_not_null())
        .then(pl.lit(Kind.SCORED.value))
        .when(counts > 0)
        .then(pl.lit(Kind.NTUPLE.value))
        .otherwise(pl.lit(Kind.PAIR.value))
        .alias("__kind"),
        pl.col("split").map_elements(split_name, return_dtype=pl.String, skip_nulls=False).alias("__split"),
    )
    tuples = kinds.filter(pl.col("__kind") == Kind.NTUPLE.value)["negatives"].list.len()
    arity = min(tuples.to_list(), default=0)
    present = kinds["__kind"].unique().to_list()
    subsets = []
    for kind in Kind:
        for split in kinds.filter(pl.col("__kind") == kind.value)["__split"].unique(maintain_order=True):
            rows = kinds.filter((pl.col("__kind") == kind.value) & (pl.col("__split") == split))
            named = Kind.TRIPLET if kind is Kind.NTUPLE and arity == 1 else kind
            folder = named.value if len(present) > 1 else ""
            subsets.append(Subset(named, folder, split, rows.drop("__kind", "__split"), _columns(rows, kind, arity)))
    return subsets, _notes(kinds, tuples, arity, sorted({subset.folder for subset in subsets if subset.folder}))


def _columns(rows: pl.DataFrame, kind: Kind, arity: int) -> pl.DataFrame:
    columns = [pl.col("query"), pl.col("positive")]
    if kind is Kind.NTUPLE:
        columns += [pl.col("negatives").list.get(i).alias(f"negative_{i + 1}") for i in range(arity)]
    elif kind is Kind.SCORED:
        columns.append(pl.col("score"))
    elif kind is Kind.LABELLED:
        whole = rows["label"].str.contains(_INTEGER).all()
        columns.append(pl.col("label").cast(pl.Int64) if whole else pl.col("label"))
    return rows.select(columns)


def _notes(kinds: pl.DataFrame, tuples: pl.Series, arity: int, folders: list[str]) -> list[str]:
    notes = []
    left = int(tuples.sum()) - arity * len(tuples)
    if left:
        notes.append(f"{left:,} negatives beyond the first {arity} of a row are in sidecar.parquet only")
    if folders:
        notes.append(f"rows are of {len(folders)} kinds, one folder each: {', '.join(folders)}")
    scored = kinds.filter(pl.col("__kind").is_in([Kind.SCORED.value, Kind.LABELLED.value]))
    extra = int(scored["negatives"].list.len().sum() or 0)
    if extra:
        notes.append(f"{extra:,} negatives of scored or labelled rows are in sidecar.parquet only")
    return notes
