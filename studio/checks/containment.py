"""Passages inside other passages, and overlapping windows of one text: chunks that answer the same queries."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import polars as pl
from pydantic import Field

from studio.checks.base import Check, CheckConfig, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence, Role
from studio.text.contained import contained_in, overlapping
from studio.text.equal import equal_at
from studio.text.minhash import intersections
from studio.text.near import first_at_l2, open_texts
from studio.text.normalise import Level
from studio.text.ragged import I64, Ragged
from studio.text.shingles import Spec


class Kind(StrEnum):
    """How two passages share text."""

    INSIDE = "inside"
    """The first is (nearly) all in the second."""
    OVERLAP = "overlap"
    """The last words of the first are the first words of the second: windows that slide over one text."""


class ContainmentConfig(CheckConfig):
    """How much of a passage must be in another one."""

    threshold: float = Field(default=0.9, gt=0, le=1)
    """Share of the smaller passage's shingles that the larger one holds."""
    size: int = Field(default=5, ge=2)
    """Words a shingle."""
    min_words: int = Field(default=8, ge=2)
    """Shorter passages are not looked for in others."""
    overlap_words: int = Field(default=30, ge=8)
    """Words that two windows share at least."""
    max_jaccard: float = Field(default=0.8, gt=0, le=1)
    """Passages as near as this are near-duplicates and are not reported here."""
    max_holders: int = Field(default=200, ge=2)
    """Shingles in more passages than this are not followed: they are boilerplate."""


@check
class Containment(Check):
    """Passages that lie in other passages, and windows that overlap.

    Each edge says whether both passages are positives of one query: then they are several positives of it, and all is
    well (ignore). Otherwise the larger passage also answers the smaller one's query, and in-batch training would push
    it away: a false negative, for review.
    """

    name = "containment"
    version = "1"
    summary = "passages inside other passages and overlapping windows, and whether one query has both"
    config_type = ContainmentConfig
    config: ContainmentConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit passage edges, from the contained to the containing, or from the earlier window to the later."""
        config = self.config
        rows = pairs.select("row_id", "positive").unique("positive", keep="first", maintain_order=True)
        texts = open_texts(rows["positive"], progress)
        words, keys = texts.words()
        everything = rows.select("positive", text=pl.Series(keys))
        alone = first_at_l2(rows["positive"], words, keys)
        alone = alone[words[alone] >= config.min_words]
        rows, texts, words = rows[alone], texts.take(alone), words[alone]
        sets = texts.shingles(Spec("word", config.size), progress)
        inside = contained_in(sets, config.threshold, config.max_holders, progress)
        windows, shared_words = overlapping(texts.sequences(), config.overlap_words, config.max_holders, progress)
        near = self._near(sets, inside.pairs, inside.shared)
        near_windows = self._near(sets, windows, intersections(sets, windows))
        edges = pl.concat(
            [
                _edges(rows["row_id"], Kind.INSIDE, inside.pairs, inside.shared / inside.size, words).filter(~near),
                _edges(rows["row_id"], Kind.OVERLAP, windows, shared_words / words[windows].min(axis=1), words).filter(
                    ~near_windows
                ),
            ]
        ).unique(["a_id", "b_id"], keep="first", maintain_order=True)
        edges = _judged(edges, pairs, everything)
        notes = (f"{inside.capped:,} common shingles were not followed",) if inside.capped else ()
        return Evidence(edges=self.edges(edges.sort("a_id", "b_id")), notes=notes, stats={"passages": rows.height})

    def _near(self, sets: Ragged, pairs: I64, shared: I64) -> pl.Series:
        """Which pairs are near-duplicates."""
        union = sets.sizes[pairs].sum(axis=1) - shared
        return pl.Series(shared >= self.config.max_jaccard * union, dtype=pl.Boolean)


def _edges(ids: pl.Series, kind: Kind, pairs: I64, share: np.ndarray, words: I64) -> pl.DataFrame:
    """Edges with the share of the smaller text that both have, not yet judged."""
    return pl.DataFrame(
        {
            "a_id": ids.gather(pairs[:, 0]),
            "b_id": ids.gather(pairs[:, 1]),
            "containment": share.astype(np.float64),
            "a_words": words[pairs[:, 0]],
            "b_words": words[pairs[:, 1]],
        }
    ).with_columns(kind=pl.lit(kind.value))


def _judged(edges: pl.DataFrame, pairs: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Say of each edge whether some query has both passages as positives, and set its band.

    Args:
        texts: `positive` and a key of its words (`text`), the same for passages that are equal at L2.
    """
    query = equal_at(pairs["query"], Level.SURFACE).alias("query")
    answers = pairs.select("row_id", "positive").with_columns(query).join(texts, on="positive", maintain_order="left")
    text_of = answers.select("row_id", "text")
    queries = answers.select("query", "text").unique()
    both = (
        edges.with_row_index("edge")
        .select("edge", "a_id", "b_id")
        .join(text_of.rename({"row_id": "a_id", "text": "a"}), on="a_id")
        .join(text_of.rename({"row_id": "b_id", "text": "b"}), on="b_id")
        .join(queries.rename({"text": "a"}), on="a")
        .join(queries.rename({"text": "b"}), on=["query", "b"])
    )
    one_query = pl.int_range(edges.height).is_in(both["edge"].unique().implode())
    return edges.with_columns(one_query.alias("one_query")).with_columns(
        role=pl.lit(Role.PASSAGE.value),
        score=pl.col("containment"),
        band=pl.when("one_query").then(pl.lit(Band.IGNORE.value)).otherwise(pl.lit(Band.REVIEW.value)),
        rejected_by=pl.when("one_query").then(pl.lit("several_positives")),
        evidence=pl.format(
            '{}"kind": "{}", "case": "{}", "words": [{}, {}]{}',
            pl.lit("{"),
            "kind",
            pl.when("one_query").then(pl.lit("several_positives")).otherwise(pl.lit("false_negative")),
            "a_words",
            "b_words",
            pl.lit("}"),
        ),
    )
