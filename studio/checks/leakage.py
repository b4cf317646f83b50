"""Leakage between splits: training rows whose query, passage, pair or answer is also in a protected split."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from studio.checks.base import Check, CheckConfig, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence, Role
from studio.project.groups import components, first_of, joined_by, joined_by_edges
from studio.text.equal import equal_at
from studio.text.normalise import Level


class Axis(StrEnum):
    """What is on both sides, from the most telling to the least."""

    PAIR = "pair"
    """The query and its passage."""
    QUERY = "query"
    PASSAGE = "passage"
    ANSWER = "answer"
    """The passage lies in the other's, or overlaps with it."""


_ROLES = {Axis.PAIR: Role.PAIR, Axis.QUERY: Role.QUERY, Axis.PASSAGE: Role.PASSAGE, Axis.ANSWER: Role.CROSS}


class LeakageConfig(CheckConfig):
    """On which axes a certain leak may be acted on without a person."""

    act_on: tuple[Axis, ...] = (Axis.PAIR, Axis.QUERY)
    """Equal or near-equal on these axes is auto. Several queries may share a passage: that is for review by default."""


@check
class Leakage(Check):
    """Rows outside the protected splits (`curation.protected_splits`) that repeat what a protected row holds.

    An edge goes from the row that would have to give way to the protected row; a row has one edge an axis. Equal
    (L2) and near-equal by the auto band of near_queries and near_duplicates is certain; their review band and
    containment are for review. The protected side is never to be changed.
    """

    name = "leakage"
    version = "1"
    summary = "training rows whose query, passage, pair or answer is also in a protected split"
    config_type = LeakageConfig
    config: LeakageConfig
    judging = frozenset({"act_on"})
    uses_splits = True
    needs = ("near_duplicates", "near_queries", "containment")

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit edges from training rows to protected ones."""
        protected = list(self.setting.project.curation.protected_splits)
        keys = pairs.select(
            "row_id",
            pl.col("split").is_in(protected).fill_null(value=False).alias("protected"),
            query=equal_at(pairs["query"], Level.SURFACE),
            passage=equal_at(pairs["positive"], Level.SURFACE),
        )
        if keys["protected"].any() and not keys["protected"].all():
            keys = self._with_classes(keys, "query", "near_queries")
            keys = self._with_classes(keys, "passage", "near_duplicates")
            parts = [
                _certain(keys, Axis.PAIR, ["query", "passage"]),
                _certain(keys, Axis.QUERY, ["query"]),
                _certain(keys, Axis.PASSAGE, ["passage"]),
                self._possible(keys, Axis.QUERY, "query", "near_queries"),
                self._possible(keys, Axis.PASSAGE, "passage", "near_duplicates"),
                self._possible(keys, Axis.ANSWER, "passage", "containment"),
            ]
            found = pl.concat(parts).unique(["a_id", "axis"], keep="first", maintain_order=True)
        else:
            found = _edges(keys.head(0), Axis.PAIR, pl.lit(""), pl.lit(1.0))
        progress("compare splits", 1, 1)
        edges = found.with_columns(
            role=pl.col("axis").replace_strict({axis.value: role.value for axis, role in _ROLES.items()}),
            containment=pl.lit(None, pl.Float64),
            rejected_by=pl.lit(None, pl.String),
            evidence=pl.format('{}"axis": "{}", "kind": "{}"{}', pl.lit("{"), "axis", "kind", pl.lit("}")),
            band=pl.lit(None, pl.String),
        )
        stats = {"protected_rows": int(keys["protected"].sum()), "leaking_rows": found["a_id"].n_unique()}
        notes = () if keys["protected"].any() else ("no row is in a protected split; `harrier-studio split` makes one",)
        return self.judge(pairs, Evidence(edges=self.edges(edges), notes=notes, stats=stats), progress)

    def depends_on(self) -> dict[str, object]:
        """The configuration and which splits are protected."""
        return {**super().depends_on(), "protected_splits": list(self.setting.project.curation.protected_splits)}

    def judge(self, pairs: pl.DataFrame, found: Evidence, progress: Progress = silent) -> Evidence:
        """Certain leaks on the axes of `act_on` are auto, everything else is for review."""
        axis = pl.col("evidence").str.extract(r'"axis": "(\w+)"')
        certain = ~pl.col("evidence").str.contains('"kind": "possible"', literal=True)
        auto = certain & axis.is_in([axis.value for axis in self.config.act_on])
        band = pl.when(auto).then(pl.lit(Band.AUTO.value)).otherwise(pl.lit(Band.REVIEW.value))
        return Evidence(found.flags, found.edges.with_columns(band=band), found.notes, found.stats)

    def _with_classes(self, keys: pl.DataFrame, column: str, check_name: str) -> pl.DataFrame:
        """Add `<column>_class`, equal for texts that are the same or nearly so for certain, and its weakest link."""
        edges = self.needed[check_name].edges.filter(pl.col("band") == Band.AUTO.value)
        links = [joined_by(keys[column]), joined_by_edges(keys["row_id"], edges)]
        keys = keys.with_columns(pl.Series(f"{column}_class", first_of(components(keys.height, links))))
        of_edges = edges.select("score", row_id="a_id").join(keys.select("row_id", f"{column}_class"), on="row_id")
        weakest = of_edges.group_by(f"{column}_class").agg(pl.col("score").min().alias(f"{column}_link"))
        return keys.join(weakest, on=f"{column}_class", how="left", maintain_order="left")

    def _possible(self, keys: pl.DataFrame, axis: Axis, column: str, check_name: str) -> pl.DataFrame:
        """Uncertain edges between texts of the two sides, spread to every row that holds the texts.

        Of containment all are: that one query has both passages does not make them two answers.
        """
        found = self.needed[check_name].edges
        uncertain = pl.col("band") == Band.REVIEW.value if axis is not Axis.ANSWER else pl.lit(value=True)
        edges = found.filter(uncertain).select("a_id", "b_id", "score")
        both = pl.concat([edges, edges.select(pl.col("b_id").alias("a_id"), pl.col("a_id").alias("b_id"), "score")])
        text = keys.select("row_id", column)
        both = both.join(text.rename({"row_id": "a_id", column: "a"}), on="a_id")
        both = both.join(text.rename({"row_id": "b_id", column: "b"}), on="b_id")
        eval_rows = keys.filter("protected").select(pl.col(column).alias("b"), pl.col("row_id").alias("other"))
        eval_rows = eval_rows.unique("b", keep="first", maintain_order=True)
        train_rows = keys.filter(~pl.col("protected")).select("row_id", pl.col(column).alias("a"))
        hits = both.select("a", "b", "score").join(eval_rows, on="b").join(train_rows, on="a")
        hits = hits.sort("score", "row_id", "other", descending=[True, False, False]).unique(
            "row_id", keep="first", maintain_order=True
        )
        return _edges(hits, axis, pl.lit("possible"), pl.col("score"))


def _certain(keys: pl.DataFrame, axis: Axis, texts: list[str]) -> pl.DataFrame:
    """Training rows with a protected row in the same class: the one with the same text, else the first.

    The score is 1 for equal texts, else the weakest link of the class.
    """
    classes = [f"{text}_class" for text in texts]
    other = keys.filter("protected").select(*classes, *texts, pl.col("row_id").alias("other"))
    train = keys.filter(~pl.col("protected"))
    equal = other.unique(texts, keep="first", maintain_order=True).select(*texts, pl.col("other").alias("equal"))
    alike = other.unique(classes, keep="first", maintain_order=True).select(*classes, pl.col("other").alias("alike"))
    hits = train.join(alike, on=classes, maintain_order="left").join(equal, on=texts, how="left", maintain_order="left")
    same = pl.col("equal").is_not_null()
    return _edges(
        hits.with_columns(other=pl.coalesce("equal", "alike")),
        axis,
        pl.when(same).then(pl.lit("equal")).otherwise(pl.lit("near")),
        pl.when(same).then(1.0).otherwise(pl.min_horizontal(f"{text}_link" for text in texts)),
    )


def _edges(hits: pl.DataFrame, axis: Axis, kind: pl.Expr, score: pl.Expr) -> pl.DataFrame:
    if "other" not in hits.columns:
        hits = hits.with_columns(other=pl.col("row_id"))
    return hits.select(a_id="row_id", b_id="other", axis=pl.lit(axis.value), kind=kind, score=score.cast(pl.Float64))
