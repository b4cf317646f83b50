"""Who answers what: several positives of a query, several queries of a passage, one source, answer groups."""

from __future__ import annotations

import polars as pl

from studio.checks.base import Check, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.project.groups import components, first_of, joined_by, joined_by_edges
from studio.text.equal import equal_at
from studio.text.normalise import Level


@check
class Groups(Check):
    """Rows that belong together. Nothing is wrong with them (ignore band); in one batch they are in conflict.

    An answer group is a connected component over what is certain: the same query, the same passage (both L2), and the
    auto band of near_queries and near_duplicates.
    """

    name = "groups"
    version = "1"
    summary = "queries with several positives, passages with several queries, rows of one source, answer groups"
    needs = ("near_duplicates", "near_queries")

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit up to four flags a row; each evidence names the first row of its group and counts."""
        keys = pairs.select("row_id", "group").with_columns(
            query=equal_at(pairs["query"], Level.SURFACE), passage=equal_at(pairs["positive"], Level.SURFACE)
        )
        progress("group rows", 1, 3)
        links = [joined_by(keys["query"]), joined_by(keys["passage"])]
        for needed in self.needed.values():
            auto = needed.edges.filter(pl.col("band") == Band.AUTO.value)
            links.append(joined_by_edges(keys["row_id"], auto))
        first = first_of(components(keys.height, links))
        keys = keys.with_columns(first=keys["row_id"].gather(first))
        progress("group rows", 2, 3)
        found = pl.concat(
            [
                _flag(keys, "several_positives", "query", "passage"),
                _flag(keys, "several_queries", "passage", "query"),
                _flag(keys.filter(pl.col("group").is_not_null()), "same_source", "group", "passage"),
                _flag(keys, "answer_group", "first", "row_id"),
            ]
        )
        progress("group rows", 3, 3)
        sizes = keys.group_by("first").len("rows")["rows"]
        stats = {"answer_groups": len(sizes), "rows_in_largest": max(sizes.to_list(), default=0)}
        return Evidence(self.flags(found), stats=stats)


def _flag(keys: pl.DataFrame, reason: str, over: str, counted: str) -> pl.DataFrame:
    """Flag rows that share `over` with rows of another `counted`."""
    counts = keys.select(
        "row_id",
        pl.col(counted).n_unique().over(over).alias("distinct"),
        pl.len().over(over).alias("rows"),
        pl.col("row_id").first().over(over).alias("first"),
    ).filter(pl.col("distinct") > 1)
    return counts.select(
        "row_id",
        reason=pl.lit(reason),
        score=pl.lit(1.0),
        band=pl.lit(Band.IGNORE.value),
        evidence=pl.struct("first", "rows", "distinct").struct.json_encode(),
    )
