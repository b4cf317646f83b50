"""The rows of one dataset of a run: taken from the project, from mined negatives or from a file, in the loss's columns.

Whatever they are taken from, rows first become one table (POOL_SCHEMA); what may not train is left out and counted;
then the loss decides what becomes of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import polars as pl

from studio.errors import ConfigError, ProjectError
from studio.mining.collection import Collection
from studio.mining.relations import judged
from studio.project.curate import Curated, Status
from studio.project.project import Project
from studio.project.verdicts import State
from studio.text.equal import equal_at
from studio.text.normalise import Level
from studio.training.shaping import POOL_SCHEMA, shaped
from studio.training.sources import file_rows, mined_rows
from studio.training.spec import DataPart, LossName, RunSpec, Shape

HELD_OUT = "held out for evaluation"
LEAKED = "set aside as leaked"
STANDS_FOR = "removed in favour of a held-out row"
ASKED = "the query is held out too"
BLANK = "an empty text"
LIMIT = "over the limit of rows"
_LINE = ["query", "passage"]


class PartRows(NamedTuple):
    """What one dataset trains on.

    Attributes:
        shape: of the columns.
        frame: the columns, in the order that the loss takes them.
        row_ids: the row of the project that each line is of, or null.
        left_out: rows that do not train, by reason.
        notes: what a person should know.
    """

    shape: Shape
    frame: pl.DataFrame
    row_ids: pl.Series
    left_out: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """A project as training sees it: what may train, what is held out, who is known to answer what."""

    project: Project
    curated: Curated
    collection: Collection
    splits: tuple[str, ...]
    """Those that are evaluated or protected."""

    @classmethod
    def of(cls, project: Project, curated: Curated, collection: Collection, evaluated: tuple[str, ...]) -> Held:
        """Hold out the splits that a run may evaluate, and those that the project protects."""
        protected = project.settings.curation.protected_splits
        return cls(project, curated, collection, tuple(dict.fromkeys([*evaluated, *protected])))

    @property
    def is_held_out(self) -> pl.Expr:
        """Whether the `split` of a row is held out."""
        return pl.col("split").is_in(list(self.splits)).fill_null(value=False)

    @property
    def is_leaked(self) -> pl.Expr:
        """Whether the `split` of a row is the one for leaked rows."""
        return pl.col("split").eq_missing(pl.lit(self.project.settings.curation.leaked_split))

    @cached_property
    def training(self) -> pl.DataFrame:
        """The curated rows that may train, with the columns of `Curated.rows`."""
        return self.curated.kept.filter(~self.is_held_out & ~self.is_leaked)

    @cached_property
    def asked(self) -> pl.Series:
        """The numbers of the queries that held-out rows have."""
        return self.collection.rows.filter(self.is_held_out)["query"].unique()

    @cached_property
    def answers(self) -> pl.DataFrame:
        """Who answers what, wholly or in part: `query`, `passage` (numbers)."""
        ledger = self.project.ledger
        told = judged(self.collection, ledger.log(), ledger.targets(), self.curated)
        told = told.filter(pl.col("state").is_in([State.ALSO_ANSWERS.value, State.PARTLY.value]))
        return pl.concat([self.collection.own, told.select(_LINE)])


def check_views(spec: RunSpec) -> None:
    """Refuse to see one project both as decided and as imported: its conflicts are of one or the other.

    Raises:
        ConfigError: the datasets of a run do.
    """
    if len({part.view for part in spec.data if part.kind == "project"}) > 1:
        raise ConfigError(
            "A run cannot train on a project both as curated and as imported.",
            where="data",
            remedy="give all datasets of kind `project` the same view, and start another run for the other",
        )


def as_imported(project: Project, curated: Curated) -> Curated:
    """The rows as they were imported: nothing removed, edited or re-pointed. Each is in the split that it is in now."""
    texts = project.snapshot.select("row_id", "query", "positive", "negatives")
    kept = curated.rows.drop("query", "positive", "negatives").with_columns(status=pl.lit(Status.KEPT.value))
    return Curated(kept.join(texts, on="row_id", maintain_order="left").select(curated.rows.columns))


def rows_of(part: DataPart, loss: LossName, held: Held, most: int = 0) -> PartRows:
    """Take the rows of a dataset and give them the columns of a loss.

    Args:
        part: the dataset.
        loss: the loss that takes its columns.
        held: the project.
        most: rows at most, the first ones; 0: all.

    Raises:
        ProjectError: no row is left.
        ConfigError: there are no hard negatives, or fewer than asked for.
        InputError: the file, or the folder of mined negatives, cannot be used.
    """
    if part.kind == "project":
        pool, left, notes = _project_rows(part, held)
    elif part.kind == "mined":
        pool, left, notes = mined_rows(part, held)
    else:
        pool, left, notes = file_rows(part, held)
    pool, more = _allowed(pool, held)
    left |= more
    if part.negatives or loss is LossName.MARGIN_MSE:
        pool, known = _without_answers(pool, held)
        if known:
            notes = (*notes, f"`{part.name}`: {known:,} negatives answer the query by now, and are not used as such")
    made = shaped(pool, part, loss)
    left |= made.left_out
    frame = made.frame
    if most and frame.height > most:
        left[LIMIT] = frame.height - most
        frame = frame.head(most)
    left = {reason: count for reason, count in left.items() if count}
    if frame.is_empty():
        raise ProjectError(
            f"Not one row is left to train the dataset `{part.name}` with.",
            where=str(held.project.root),
            why="; ".join(f"{count:,}: {reason}" for reason, count in left.items()) or "there is none",
            remedy="keep more rows, hold out fewer, or name another dataset",
        )
    return PartRows(made.shape, frame.drop("row_id"), frame["row_id"], left, notes)


def _project_rows(part: DataPart, held: Held) -> tuple[pl.DataFrame, dict[str, int], tuple[str, ...]]:
    curated = held.curated if part.view == "curated" else as_imported(held.project, held.curated)
    rows = curated.kept
    left = {HELD_OUT: rows.filter(held.is_held_out).height, LEAKED: rows.filter(held.is_leaked).height}
    rows = rows.filter(~held.is_held_out & ~held.is_leaked)
    if part.view == "imported":
        # Curation took such a row out because it repeats a held-out one. Trained on, it would only flatter.
        splits = held.curated.rows.filter(held.is_held_out)["row_id"]
        removed = held.curated.rows.filter(pl.col("status") == Status.REMOVED.value)
        repeats = removed.filter(pl.col("keeper_id").is_in(splits.implode()))["row_id"]
        kept = rows.filter(~pl.col("row_id").is_in(repeats.implode()))
        left[STANDS_FOR] = rows.height - kept.height
        rows = kept
    return rows.with_columns(scores=pl.lit(None)).select(POOL_SCHEMA.names()).cast(POOL_SCHEMA), left, ()


def _allowed(pool: pl.DataFrame, held: Held) -> tuple[pl.DataFrame, dict[str, int]]:
    """Leave out rows without text, and rows whose query is held out."""
    filled = pool.filter(*(pl.col(column).str.strip_chars() != "" for column in ("query", "positive")))
    number = numbers_of(filled["query"], held.collection.queries)
    free = filled.filter(~number.is_in(held.asked.implode()).fill_null(value=False))
    return free, {BLANK: pool.height - filled.height, ASKED: filled.height - free.height}


def _without_answers(pool: pl.DataFrame, held: Held) -> tuple[pl.DataFrame, int]:
    """Take negatives that are empty, or known to answer the row's query, out of the rows; also say how many answer."""
    columns = ["negatives", "negative_scores"]
    pool = pool.with_row_index("line").with_columns(
        negative_scores=pl.when(pl.col("scores").is_null())
        .then(pl.lit(None, pl.Float64).repeat_by(pl.col("negatives").list.len()))
        .otherwise(pl.col("scores").list.slice(1)),
        positive_score=pl.col("scores").list.first(),
    )
    single = pool.select("line", "query", "positive", *columns).explode(columns)
    single = single.filter(pl.col("negatives").is_not_null() & (pl.col("negatives").str.strip_chars() != ""))
    single = single.unique(["line", "negatives"], keep="first", maintain_order=True)
    single = single.with_columns(
        numbers_of(single["query"], held.collection.queries).alias("asking"),
        numbers_of(single["negatives"], held.collection.passages).alias("passage"),
        same=_equal(single["positive"], single["negatives"]),
    )
    answers = held.answers.rename({"query": "asking"}).unique().with_columns(answers=pl.lit(value=True))
    single = single.join(answers, on=["asking", "passage"], how="left", maintain_order="left")
    wrong = pl.col("same") | pl.col("answers").fill_null(value=False)
    good = single.filter(~wrong).group_by("line", maintain_order=True).agg(columns)
    pool = pool.drop(columns).join(good, on="line", how="left", maintain_order="left")
    known = pool["scores"].is_not_null()
    pool = pool.with_columns(
        negatives=pl.col("negatives").fill_null(pl.lit([], pl.List(pl.String))),
        scores=pl.when(known).then(
            pl.concat_list("positive_score", pl.col("negative_scores").fill_null(pl.lit([], pl.List(pl.Float64))))
        ),
    )
    return pool.select(POOL_SCHEMA.names()), single.filter(wrong).height


def numbers_of(texts: pl.Series, known: pl.DataFrame) -> pl.Series:
    """The numbers (UInt32) that texts have among a collection's queries or passages; null: they are none of these."""
    height = known.height
    first = equal_at(pl.concat([known["text"], texts.alias("text")]), Level.SURFACE).tail(texts.len())
    # The collection's texts differ at L2, so the first text that equals one of them stands at its own number.
    return first.to_frame("first").select(pl.when(pl.col("first") < height).then(pl.col("first")).cast(pl.UInt32))[
        "first"
    ]


def _equal(some: pl.Series, others: pl.Series) -> pl.Series:
    """Whether texts are equal at L2, one by one."""
    keys = equal_at(pl.concat([some.alias("text"), others.alias("text")]), Level.SURFACE)
    return keys.head(some.len()) == keys.tail(others.len())
