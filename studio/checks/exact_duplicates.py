"""Exact and normalised duplicates: of pairs, of queries, of passages; and negatives that are positives."""

from __future__ import annotations

import json

import polars as pl

from studio.checks.base import Check, CheckConfig, check
from studio.pairs.schema import Shape, shape_of
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence, Role
from studio.text.equal import equal_at
from studio.text.normalise import Level, normalised


class ExactConfig(CheckConfig):
    """Which levels may be acted on without a person."""

    auto_level: Level = Level.SURFACE
    """Pairs equal at this level or a stricter one are in the auto band; equal only above it: review."""


@check
class ExactDuplicates(Check):
    """Texts equal at one of the levels L0 to L3; each edge names the strictest level that holds.

    A pair equal in query and passage is a duplicate. The same passage under several queries, or the same query with
    several passages, is not: those edges are in the ignore band and make answer groups.
    """

    name = "exact_duplicates"
    version = "1"
    summary = "pairs, queries and passages that are equal (L0 bytes, L1 spacing, L2 case and marks, L3 accents)"
    config_type = ExactConfig
    config: ExactConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit star edges to the first row of each group, and flags for negatives and contradictions."""
        keys = pairs.select("row_id", "negatives", "label", "score").with_row_index("row")
        steps = [(column, level) for column in ("query", "positive") for level in Level]
        for done, (column, level) in enumerate(steps):
            progress("compare texts", done, len(steps))
            keys = keys.with_columns(equal_at(pairs[column], level).alias(f"{column}{level}"))
        progress("compare texts", len(steps), len(steps))
        edges = pl.concat(
            [
                self._star(keys, Role.PAIR, ("query", "positive"), ("negatives", "label", "score")),
                self._star(keys, Role.QUERY, ("query",), ()),
                self._star(keys, Role.PASSAGE, ("positive",), ()),
            ]
        )
        flags = pl.concat([_negatives_that_answer(pairs), _contradictions(pairs, keys)])
        stats = {f"distinct_{column}": keys[f"{column}{Level.SURFACE}"].n_unique() for column in ("query", "positive")}
        return Evidence(self.flags(flags), self.edges(edges), stats=stats)

    def _star(self, keys: pl.DataFrame, role: Role, columns: tuple[str, ...], exact: tuple[str, ...]) -> pl.DataFrame:
        """Edges from each row that repeats an earlier one to that one, at the strictest level that holds."""
        firsts = keys.select(
            "row",
            *(
                pl.col("row").first().over([*(f"{column}{level}" for column in columns), *exact]).alias(str(int(level)))
                for level in Level
            ),
        )
        strictest = pl.coalesce(
            pl.when(pl.col(str(int(level))) != pl.col("row")).then(pl.lit(int(level))) for level in Level
        )
        firsts = firsts.with_columns(level=strictest).filter(pl.col("level").is_not_null())
        first = pl.coalesce(pl.when(pl.col("level") == int(level)).then(pl.col(str(int(level)))) for level in Level)
        firsts = firsts.with_columns(first=first)
        acted_on = role is Role.PAIR
        return firsts.select(
            a_id=keys["row_id"].gather(firsts["first"]),
            b_id=keys["row_id"].gather(firsts["row"]),
            role=pl.lit(role.value),
            score=pl.lit(1.0),
            containment=pl.lit(1.0),
            band=pl.when(pl.col("level") > int(self.config.auto_level))
            .then(pl.lit(Band.REVIEW.value))
            .otherwise(pl.lit((Band.AUTO if acted_on else Band.IGNORE).value)),
            rejected_by=pl.lit(None, pl.String),
            evidence=pl.concat_str(pl.lit('{"level":"L'), "level", pl.lit('"}')),
        )


def _negatives_that_answer(pairs: pl.DataFrame) -> pl.DataFrame:
    """Flag rows whose negative equals (L2) a positive of the same query (L2): a certain false negative."""
    schema = {"row_id": pl.String, "reason": pl.String, "score": pl.Float64, "band": pl.String, "evidence": pl.String}
    some = pairs.filter(pl.col("negatives").list.len() > 0)
    if some.is_empty():
        return pl.DataFrame(schema=schema)
    surface = Level.SURFACE
    answers = pairs.select(
        normalised(pl.col("query"), surface).alias("query_key"),
        normalised(pl.col("positive"), surface).alias("passage_key"),
        pl.col("row_id").alias("answered_by"),
    ).unique(["query_key", "passage_key"], keep="first", maintain_order=True)
    negatives = (
        some.select(
            "row_id",
            normalised(pl.col("query"), surface).alias("query_key"),
            pl.int_ranges(pl.col("negatives").list.len()).alias("position"),
            "negatives",
        )
        .explode("position", "negatives")
        .with_columns(normalised(pl.col("negatives"), surface).alias("passage_key"))
    )
    hits = negatives.join(answers, on=["query_key", "passage_key"], maintain_order="left")
    rows = hits.group_by("row_id", maintain_order=True).agg("position", "answered_by")
    evidence = [
        json.dumps({"negatives": positions, "answered_by": ids})
        for positions, ids in zip(rows["position"].to_list(), rows["answered_by"].to_list(), strict=True)
    ]
    return rows.select(
        "row_id",
        reason=pl.lit("negative_is_positive"),
        score=pl.lit(1.0),
        band=pl.lit(Band.AUTO.value),
        evidence=pl.Series(evidence, dtype=pl.String),
    )


def _contradictions(pairs: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Flag rows that repeat a pair (L2) with another label or score."""
    shape = shape_of(pairs)
    field = {Shape.LABELLED: "label", Shape.SCORED: "score"}.get(shape, "label")
    same = [f"query{Level.SURFACE}", f"positive{Level.SURFACE}"]
    said = pl.col(field).n_unique().over(same)
    rows = keys.with_columns(said.alias("said"), pl.col("row_id").first().over(same).alias("first")).filter(
        pl.col("said") > 1
    )
    return rows.select(
        "row_id",
        reason=pl.lit(f"contradicting_{field}"),
        score=pl.lit(1.0),
        band=pl.lit(Band.REVIEW.value),
        evidence=pl.concat_str(pl.lit('{"first":"'), "first", pl.lit('"}')),
    )
