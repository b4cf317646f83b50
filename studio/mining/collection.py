"""The kept rows as retrieval sees them: each distinct query and passage once, and who is known to answer what."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from studio.errors import ProjectError
from studio.project.curate import Curated
from studio.project.project import Project
from studio.project.settings import CurationSettings
from studio.text.equal import equal_at
from studio.text.normalise import Level


@dataclass(frozen=True)
class Collection:
    """Texts equal at L2 are one text; a text's `number` is its position among the queries, or among the passages.

    Attributes:
        rows: one line a kept row: `row_id`, `query`, `passage` (UInt32 numbers), `group_id` (answer group), `source`
            (document, or null), `split`, `trains`, `evaluates` (bool), `negatives` (texts).
        queries: `number` (UInt32), `text`, `row_id` (of the first row that has it), `rows` (UInt32: training rows).
        passages: the same of positives, and `evaluates`: whether an evaluation row has it.
        own: `query`, `passage`: the distinct pairs of all kept rows, which are the known positives.
    """

    rows: pl.DataFrame
    queries: pl.DataFrame
    passages: pl.DataFrame
    own: pl.DataFrame

    @classmethod
    def of(cls, project: Project, curated: Curated | None = None) -> Collection:
        """Collect what a project keeps.

        Args:
            project: whose settings say which splits are for evaluation.
            curated: the outcome of every row, if it is at hand; else the ledger is replayed.

        Raises:
            ProjectError: no row is kept.
        """
        kept = (curated or project.curated()).kept
        if kept.is_empty():
            raise ProjectError("No row is kept, so there is nothing to search.", where=str(project.root))
        return cls.from_rows(kept, project.settings.curation)

    @classmethod
    def from_rows(cls, kept: pl.DataFrame, curation: CurationSettings) -> Collection:
        """Collect rows with the columns of `Curated.rows`."""
        numbered = kept.with_columns(
            query_key=equal_at(kept["query"], Level.SURFACE), passage_key=equal_at(kept["positive"], Level.SURFACE)
        )
        evaluates = pl.col("split").is_in(list(curation.protected_splits)).fill_null(value=False)
        numbered = numbered.with_columns(evaluates=evaluates).with_columns(
            trains=~pl.col("evaluates") & pl.col("split").ne_missing(pl.lit(curation.leaked_split))
        )
        queries = _distinct(numbered, "query_key", "query").drop("evaluates")
        passages = _distinct(numbered, "passage_key", "positive")
        rows = numbered.select(
            "row_id",
            _numbers(numbered, queries, "query_key").alias("query"),
            _numbers(numbered, passages, "passage_key").alias("passage"),
            "group_id",
            pl.col("group").alias("source"),
            "split",
            "trains",
            "evaluates",
            "negatives",
        )
        own = rows.select("query", "passage").unique(maintain_order=True)
        return cls(rows, queries.drop("key"), passages.drop("key"), own)

    @property
    def training(self) -> pl.DataFrame:
        """The rows that train: not held out for evaluation, not set aside as leaked."""
        return self.rows.filter("trains")

    def numbered(self, pairs: pl.DataFrame, query_id: str = "query_id", passage_id: str = "passage_id") -> pl.DataFrame:
        """Add `query` and `passage`, the numbers of these rows' texts; lines with a row not kept are left out."""
        for column, number in ((query_id, "query"), (passage_id, "passage")):
            known = self.rows.select(pl.col("row_id").alias(column), number)
            pairs = pairs.join(known, on=column, how="inner", maintain_order="left")
        return pairs


def _distinct(rows: pl.DataFrame, key: str, text: str) -> pl.DataFrame:
    """One line a distinct text, in the order of the rows."""
    distinct = rows.group_by(pl.col(key).alias("key"), maintain_order=True).agg(
        pl.col(text).first().alias("text"),
        pl.col("row_id").first(),
        pl.col("trains").sum().cast(pl.UInt32).alias("rows"),
        pl.col("evaluates").any(),
    )
    return distinct.with_row_index("number").with_columns(pl.col("number").cast(pl.UInt32))


def _numbers(rows: pl.DataFrame, distinct: pl.DataFrame, key: str) -> pl.Series:
    known = distinct.select("key", "number")
    return rows.select(pl.col(key).alias("key")).join(known, on="key", how="left", maintain_order="left")["number"]
