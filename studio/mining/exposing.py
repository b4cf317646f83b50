"""What a project's next run will meet: its conflicts for the sampler, and its false negatives by batch and sampler."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from studio.mining.batches import draw_batches
from studio.mining.collection import Collection
from studio.mining.conflicts import Conflicts, RowKeys
from studio.mining.exposure import Exposure, Weights, answer_counts, expected, simulate
from studio.mining.false_negatives import NAME
from studio.mining.judging import queue_if_any
from studio.mining.relations import judged, relations
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.project import Project
from studio.project.verdicts import State

UNSEARCHED = "nobody has looked for false negatives yet: only copies and shared answers are counted"
SAMPLERS = ("random", "no_duplicates", "answer_groups", "conflict_aware")
"""What may meet in a batch: anything; no equal texts; no rows of one answer group either; nothing in conflict."""
_LINE = ["query", "passage"]


class Gauge(NamedTuple):
    """Expected false negatives with one sampler, on the rows as imported (`before`) and as decided (`after`).

    `before`, `after`: a batch. `epoch_…`: an epoch. `hit_…`: share of queries that meet at least one in an epoch.
    """

    sampler: str
    before: float
    after: float
    epoch_before: float
    epoch_after: float
    hit_before: float
    hit_after: float


class Counted(NamedTuple):
    """False negatives counted over drawn batches: a batch, an epoch, share of queries hit an epoch; what was drawn."""

    sampler: str
    batch: float
    epoch: float
    hit: float
    batches: int
    left_over: int


def conflicts_of(project: Project, curated: Curated | None = None, *, undecided: bool = True) -> Conflicts:
    """The texts of a project that must not meet in one batch.

    Answer groups; what the checks hold for alike and no guard holds apart; candidates that are certain, judged to
    answer in part, or not settled. Candidates judged not to answer may meet.

    Args:
        project: whose rows train.
        curated: their outcomes, if they are at hand.
        undecided: whether what nobody settled is kept apart too, or only what is certain or judged.
    """
    curated = curated or project.curated()
    collection = Collection.of(project, curated)
    kept = curated.kept.join(collection.training.select("row_id"), on="row_id", how="semi", maintain_order="left")
    numbers = kept.select("row_id", "query", "positive").join(
        collection.rows.select("row_id", pl.col("query").alias("q"), pl.col("passage").alias("p"), "group_id"),
        on="row_id",
        maintain_order="left",
    )
    group = pl.col("group_id").rank("dense").cast(pl.UInt32).alias("group")
    sides = [numbers.select(pl.col(side).alias("text"), group) for side in ("query", "positive")]
    pairs = _kept_apart(project, collection, curated, undecided)
    # Texts equal at L2 are one text to the collection and several to a trainer.
    queries = numbers.select(pl.col("q").alias("query"), pl.col("query").alias("a")).unique(maintain_order=True)
    passages = numbers.select(pl.col("p").alias("passage"), pl.col("positive").alias("b")).unique(maintain_order=True)
    edges = pairs.join(queries, on="query", maintain_order="left").join(passages, on="passage", maintain_order="left")
    return Conflicts(pl.concat(sides).unique(maintain_order=True), edges.select("a", "b"))


def _kept_apart(project: Project, collection: Collection, curated: Curated, undecided: bool) -> pl.DataFrame:
    """Queries and passages (numbers) that are no known pair and must not meet."""
    known = relations(collection, project.fresh_evidence(), curated).filter(pl.col("held_by").is_null())
    found = next((stored for stored in project.fresh_evidence() if stored.check == NAME), None)
    told = judged(collection, project.ledger.log(), project.ledger.targets(), curated)
    partly = told.filter(pl.col("state") == State.PARTLY.value)
    asked = [(known if undecided else known.filter("certain")).select(_LINE), partly.select(_LINE)]
    if candidates := queue_if_any(project, found, curated, collection):
        asked.append(candidates.lines.filter(pl.col("certain") | pl.lit(undecided)).select(_LINE))
    settled = told.filter(pl.col("state") == State.DOES_NOT.value)
    pairs = pl.concat(asked).unique(maintain_order=True)
    return pairs.join(settled, on=_LINE, how="anti", maintain_order="left")


def exposures(
    project: Project,
    imported: pl.DataFrame,
    collection: Collection,
    curated: Curated,
    lines: pl.DataFrame | None,
    batch: int,
    devices: int = 1,
    gather: bool = False,
) -> tuple[Gauge, ...]:
    """Closed-form exposure by sampler (`studio.mining.exposure`), before and after decisions.

    What is counted: known positives of a query under other rows, what is certain, what was judged to also answer, and
    every candidate not settled by its probability. `no_duplicates` leaves out what equal texts would meet.
    `answer_groups` leaves out all that is certain or judged, so that only candidates nobody settled are left: what
    judging brings down. `conflict_aware` leaves out these too: nothing that is known of is met.

    Args:
        project: for its settings and evidence.
        imported: the snapshot.
        collection: the kept rows.
        curated: their outcomes.
        lines: the queue (QUEUE_SCHEMA), or None when nobody searched.
        batch: rows a batch, on each device.
        devices: how many train at once.
        gather: whether they share their passages.
    """
    whole = Curated(imported.with_columns(status=pl.lit("kept"), keeper_id=pl.lit(None, pl.String), group_id="row_id"))
    before = Collection.from_rows(whole.rows, project.settings.curation)
    sides = [
        {sampler: expected(counts, batch, devices=devices, gather=gather) for sampler, counts in by_sampler.items()}
        for by_sampler in (
            _counts(before, *_answers(project, before, whole, lines)),
            _counts(collection, *_answers(project, collection, curated, lines)),
        )
    ]
    return tuple(_gauge(sampler, *(side[sampler] for side in sides)) for sampler in SAMPLERS)


def simulated(
    project: Project,
    collection: Collection,
    curated: Curated,
    lines: pl.DataFrame | None,
    batch: int,
    devices: int = 1,
    gather: bool = False,
    epochs: int = 1,
    progress: Progress = silent,
) -> list[Counted]:
    """Draw the batches of some epochs with each sampler and count, on the rows as decided.

    The arguments are those of `exposures`.
    """
    answers = pl.concat(_answers(project, collection, curated, lines))
    trained = collection.training.select("row_id", "query", "passage")
    texts = trained.join(curated.rows.select("row_id", "query", "positive"), on="row_id", maintain_order="left")
    columns = [texts["query_right"], texts["positive"]]
    keys = {
        "random": RowKeys.none(trained.height),
        "no_duplicates": Conflicts.none().keys(columns),
        "answer_groups": conflicts_of(project, curated, undecided=False).keys(columns),
        "conflict_aware": conflicts_of(project, curated).keys(columns),
    }
    across = devices if gather else 1
    counted = []
    for number, (sampler, kept_apart) in enumerate(keys.items()):
        found = []
        for epoch in range(epochs):
            progress("draw batches", number * epochs + epoch, len(keys) * epochs)
            drawn = draw_batches(kept_apart, batch, (0, epoch), across=across)
            met = simulate(trained.select(_LINE), answers, drawn.batches, across=across)
            found.append((met.per_batch, met.per_epoch, met.anchors_hit, len(drawn.batches), drawn.left_over))
        batch_mean, epoch_mean, hit, batches, left_over = (sum(column) / epochs for column in zip(*found, strict=True))
        counted.append(Counted(sampler, batch_mean, epoch_mean, hit, round(batches), round(left_over)))
    return counted


def _answers(
    project: Project, collection: Collection, curated: Curated, lines: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Who answers what among these rows: what is known, and what nobody settled, each pair in one of them.

    Both are exposure.ANSWERS_SCHEMA: `query`, `passage`, `weight`, 1 of what is known and else how likely it is.
    """
    sure = pl.lit(1.0).alias("weight")
    known = relations(collection, project.fresh_evidence(), curated).filter("certain")
    told = judged(collection, project.ledger.log(), project.ledger.targets(), curated)
    also = told.filter(pl.col("state") == State.ALSO_ANSWERS.value)
    settled = pl.concat([part.select(*_LINE, sure) for part in (collection.own, known, also)])
    settled = settled.unique(_LINE, keep="first", maintain_order=True)
    if lines is None:
        return settled, settled.clear()
    numbered = collection.numbered(lines.drop(_LINE)).unique(_LINE, keep="first", maintain_order=True)
    numbered = numbered.join(settled, on=_LINE, how="anti", maintain_order="left")
    return settled, numbered.select(*_LINE, pl.col("probability").alias("weight"))


def _counts(collection: Collection, settled: pl.DataFrame, undecided: pl.DataFrame) -> dict[str, Weights]:
    """Rows that would be false negatives of each training row (floats), by what a sampler leaves in its batches."""
    rows = collection.training.select(_LINE)
    left = answer_counts(rows, undecided)
    counts = answer_counts(rows, settled) + left
    same_query, same_passage = (pl.len().over(column) - 1 for column in _LINE)
    both = pl.len().over(_LINE) - 1
    equal = rows.select((same_query + same_passage - both).cast(pl.Float64)).to_series().to_numpy()
    return {
        "random": counts,
        "no_duplicates": (counts - equal).clip(0),
        "answer_groups": left,
        "conflict_aware": np.zeros(len(counts)),
    }


def _gauge(sampler: str, before: Exposure, after: Exposure) -> Gauge:
    return Gauge(
        sampler,
        before.per_batch,
        after.per_batch,
        before.per_epoch,
        after.per_epoch,
        before.anchors_hit,
        after.anchors_hit,
    )
