"""What became of the rows: what an interface has to know after every decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from studio.project.curate import Status
from studio.project.ledger import Action, in_force
from studio.view.bench import STATUSES, Bench

TOUCHED_SCHEMA = pl.Schema(
    {
        "position": pl.UInt32(),
        "query": pl.String(),
        "positive": pl.String(),
        "negatives": pl.List(pl.String()),
        "split": pl.String(),
        "status": pl.String(),
        "reason": pl.String(),
        "keeper_id": pl.String(),
        "decision_id": pl.Int64(),
        "rule": pl.String(),
        "by_person": pl.Boolean(),
        "tags": pl.List(pl.String()),
        "notes": pl.List(pl.String()),
    }
)
"""Columns of `Changed.touched`: the row as curated, whether a person decided what becomes of it, and its tags and notes
([] where it has none), in the order they were given."""

_KNOWN: WeakKeyDictionary[Bench, tuple[int, pl.DataFrame]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Changed:
    """The outcome of all decisions.

    `status`: a code a row (see `bench.STATUSES`), in snapshot order. `touched`: TOUCHED_SCHEMA, in order of position,
    the rows whose outcome is not what was imported and those some decision in force is about. `kept`: rows that go into
    a dataset. `undo_steps`, `redo_steps`: how often either would do something. `last_seq`: the ledger's last, or 0.
    """

    status: npt.NDArray[np.uint8]
    touched: pl.DataFrame
    kept: int
    undo_steps: int
    redo_steps: int
    last_seq: int


def changed(bench: Bench) -> Changed:
    """Replay the decisions and say what differs from the import.

    Raises:
        ProjectError: the ledger or the snapshot is damaged.
        UnavailableError: the ledger cannot be read now.
    """
    log = bench.log()
    ledger = bench.project.ledger
    if acts(bench).is_empty():
        # A project that was just imported needs no replay, which would hold up its opening.
        status = np.full(bench.rows.height, STATUSES.index(Status.KEPT), np.uint8)
        touched = pl.DataFrame(schema=TOUCHED_SCHEMA)
    else:
        status, touched = bench.status(), _touched(bench)
    return Changed(
        status=status,
        touched=touched,
        kept=int((status != STATUSES.index(Status.REMOVED)).sum()),
        undo_steps=ledger.undo_steps(),
        redo_steps=ledger.redo_steps(),
        last_seq=log[-1].seq if log else 0,
    )


def acts(bench: Bench) -> pl.DataFrame:
    """What the decisions in force say of each row: `position` (UInt32), `seq`, `action`, `value`, `person`, by `seq`.

    Read again only when the ledger grew.
    """
    log = bench.log()
    last = log[-1].seq if log else 0
    known = _KNOWN.get(bench)
    if known and known[0] == last:
        return known[1]
    decisions = pl.DataFrame(
        [(decision.seq, decision.action.value, decision.by_person) for decision in in_force(log)],
        schema={"seq": pl.Int64, "action": pl.String, "person": pl.Boolean},
        orient="row",
    )
    targets = bench.project.ledger.targets().select("seq", "row_id", "value")
    found = targets.join(decisions, on="seq", maintain_order="left").join(
        bench.places, on="row_id", maintain_order="left"
    )
    found = found.select("position", "seq", "action", "value", "person")
    _KNOWN[bench] = last, found
    return found


def decided(bench: Bench) -> npt.NDArray[np.bool_]:
    """Which rows a decision of a person in force is about: one bool a row."""
    mask = np.zeros(bench.rows.height, dtype=np.bool_)
    mask[acts(bench).filter("person")["position"].to_numpy()] = True
    return mask


def _settled(bench: Bench) -> npt.NDArray[np.bool_]:
    """Which rows a person kept, dropped, edited or moved; a tag or a note settles nothing."""
    remarks = [one.value for one in (Action.TAG, Action.UNTAG, Action.NOTE, Action.JUDGE, Action.ASK)]
    mask = np.zeros(bench.rows.height, dtype=np.bool_)
    said = acts(bench).filter(pl.col("person") & ~pl.col("action").is_in(remarks))
    mask[said["position"].to_numpy()] = True
    return mask


def tags(bench: Bench) -> pl.DataFrame:
    """The tags that rows have: `position` (UInt32), `tag`, one line each; the last decision on a row and tag counts."""
    said = acts(bench).filter(
        pl.col("action").is_in([Action.TAG.value, Action.UNTAG.value]) & pl.col("value").is_not_null()
    )
    last = said.with_columns(pl.col("action").last().over("position", "value").alias("last"))
    has = last.filter(pl.col("last") == Action.TAG.value).unique(
        ["position", "value"], keep="first", maintain_order=True
    )
    return has.select("position", pl.col("value").alias("tag"))


def _touched(bench: Bench) -> pl.DataFrame:
    curated, rows = bench.curated(), bench.rows
    hit = np.zeros(rows.height, dtype=np.bool_)
    hit[acts(bench)["position"].to_numpy()] = True
    texts = curated.select("query", "positive", "negatives", "split")
    differs: Any = curated["status"] != Status.KEPT.value
    for column in texts.columns:
        # A negative changes without a decision about its row: when the passage that it is was re-pointed.
        differs |= texts[column].ne_missing(rows[column])
    by_person = pl.Series("by_person", _settled(bench))
    touched = curated.with_row_index("position").with_columns(by_person).filter(pl.Series(hit) | differs)
    notes = acts(bench).filter((pl.col("action") == Action.NOTE.value) & pl.col("value").is_not_null())
    lists = {"tags": tags(bench), "notes": notes.select("position", pl.col("value").alias("note"))}
    for name, lines in lists.items():
        gathered = lines.group_by("position", maintain_order=True).agg(pl.col(lines.columns[1]).alias(name))
        touched = touched.join(gathered, on="position", how="left", maintain_order="left")
        touched = touched.with_columns(pl.col(name).fill_null([]))
    return touched.select(pl.col(name).cast(dtype) for name, dtype in TOUCHED_SCHEMA.items())
