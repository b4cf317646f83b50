"""What false negatives cost in-batch training: how many a batch and an epoch hold, and which share of queries they hit.

A false negative of an anchor is a row of its batch, other than its own, whose passage answers the anchor's query too:
the loss pushes the two apart. With k_i such rows among the N rows for anchor i, and E = sum of k_i ordered pairs,
batches of B rows drawn at random hold, in expectation,

    a batch          E · B (B − 1) / (N (N − 1))
    an epoch         E · (B − 1) / (N − 1)
    anchor i is hit  1 − C(N − 1 − k_i, B − 1) / C(N − 1, B − 1)

since the other B − 1 rows of an anchor's batch are drawn from N − 1 without replacement, and a row is in one batch of
the epoch. Counts are kept between queries and passages, not between rows: a passage of ten thousand rows is one.
Explicit hard negatives are not counted here; whether they answer is for mining to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln

from studio.mining.batches import draw_batches
from studio.mining.conflicts import RowKeys

Weights = NDArray[np.float64]

ROWS_SCHEMA = {"query": pl.UInt32, "passage": pl.UInt32}
ANSWERS_SCHEMA = {"query": pl.UInt32, "passage": pl.UInt32, "weight": pl.Float64}
COMPARISON_SCHEMA = {
    "sampler": pl.String,
    "method": pl.String,
    "effective_batch": pl.UInt32,
    "per_batch": pl.Float64,
    "per_epoch": pl.Float64,
    "anchors_hit": pl.Float64,
    "left_over": pl.UInt32,
}

_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Exposure:
    """False negatives in the batches of one epoch.

    Attributes:
        per_batch: pairs of an anchor and a passage that answers it though it is taken for a negative, in a batch as
            the loss sees it (of all devices, if they gather).
        per_epoch: the same in a whole epoch.
        anchors_hit: share of anchors with at least one such passage in their batch. An anchor is in one batch of an
            epoch, so this is the share of a batch and of an epoch alike.
        effective_batch: rows a batch as the loss sees it.
        negatives: in-batch negatives an anchor has.
    """

    per_batch: float
    per_epoch: float
    anchors_hit: float
    effective_batch: int
    negatives: int


def answer_counts(rows: pl.DataFrame, answers: pl.DataFrame) -> Weights:
    """Count the rows that would be false negatives of each row's anchor.

    Args:
        rows: the training rows: `query`, `passage` (numbers).
        answers: `query`, `passage`, `weight`: which passages answer which query, 1 if that is known and else how likely
            it is; own pairs (of any row) included, with weight 1. Each pair once.

    Returns:
        k (rows,): for row i the sum, over the passages that answer its query, of weight times rows of that passage,
        less the row itself.
    """
    held = rows.group_by("passage").len("rows")
    each = answers.join(held, on="passage").group_by("query").agg(k=(pl.col("weight") * pl.col("rows")).sum())
    own = answers.rename({"weight": "own"})
    found = rows.join(each, on="query", how="left", maintain_order="left")
    found = found.join(own, on=["query", "passage"], how="left", maintain_order="left")
    return found.select(pl.col("k").fill_null(0.0) - pl.col("own").fill_null(0.0)).to_series().to_numpy().clip(0)


def expected(k: Weights, batch_size: int, *, devices: int = 1, gather: bool = False) -> Exposure:
    """Return the expected exposure of batches drawn at random, in closed form.

    Where counts are sums of probabilities, the binomials are continued by the gamma function. The pairs expected a
    batch and an epoch stay exact; the share of anchors hit comes out a little too high, never too low, because the
    chance to be spared is a convex function of the count (Jensen).

    Args:
        k: (rows,) of `answer_counts`.
        batch_size: rows a batch on one device.
        devices: how many train together.
        gather: whether the loss gathers the negatives of all devices. Without, each device's batch is its own.

    Raises:
        ValueError: `batch_size` or `devices` is below 1.
    """
    if batch_size < 1 or devices < 1:
        raise ValueError(f"batch_size and devices must be 1 or more, not {batch_size} and {devices}")
    rows = len(k)
    batch = batch_size * devices if gather else batch_size
    drawn = min(batch, rows)
    if drawn < 2:
        return Exposure(0.0, 0.0, 0.0, batch, batch - 1)
    pairs = float(k.sum())
    per_batch = pairs * drawn * (drawn - 1) / (rows * (rows - 1))
    per_epoch = pairs * (drawn - 1) / (rows - 1)
    return Exposure(per_batch, per_epoch, float(_hit(k, rows, drawn).mean()), batch, batch - 1)


def _hit(k: Weights, rows: int, batch: int) -> Weights:
    """The chance (rows,) that at least one of the k rows is among the batch - 1 drawn from rows - 1."""
    others, drawn = rows - 1, batch - 1
    room = others - k - drawn
    safe = np.where(room > -1, room, 0)
    spared = gammaln(others - k + 1) + gammaln(others - drawn + 1) - gammaln(safe + 1) - gammaln(others + 1)
    return np.where(k <= 0, 0.0, np.where(room <= -1, 1.0, -np.expm1(np.minimum(spared, 0))))


def simulate(
    rows: pl.DataFrame, answers: pl.DataFrame, batches: Sequence[Sequence[int]], *, across: int = 1
) -> Exposure:
    """Count the exposure of batches that were drawn.

    Args:
        rows: the training rows: `query`, `passage`; a row's number is its position.
        answers: as for `answer_counts`.
        batches: one epoch's, row numbers.
        across: how many batches in a row the loss gathers into one.

    Returns:
        What was counted: a mean over all batches, a short last one included, which the closed form knows nothing of;
        shares of the rows that were drawn; weighted pairs by their weight.
    """
    groups = -(-len(batches) // across)
    sizes = np.array([len(batch) for batch in batches], np.int64)
    drawn = np.fromiter((row for batch in batches for row in batch), np.int64, int(sizes.sum()))
    if not len(drawn):
        return Exposure(0.0, 0.0, 0.0, 0, 0)
    met = rows.select("query", "passage")[drawn].with_columns(
        batch=pl.Series(np.repeat(np.arange(len(sizes)) // across, sizes), dtype=pl.UInt32)
    )
    largest = int(np.bincount(np.arange(len(sizes)) // across, weights=sizes).max())

    # Of weights below 1 the chance to be spared is the product of their complements, a sum of logarithms.
    sure = pl.col("weight") >= 1
    weighed = answers.select(
        "query",
        "passage",
        "weight",
        certain=sure.cast(pl.Float64),
        spared=pl.when(sure).then(0.0).otherwise((-pl.col("weight").clip(0, 1)).log1p()),
    )
    total, hit = 0.0, 0.0
    for part in _parts(met, weighed):
        there = part.group_by("batch", "passage").len("rows")
        anchors = part.select("batch", "query").unique()
        sums = (
            anchors.join(weighed, on="query")
            .join(there, on=["batch", "passage"])
            .group_by("batch", "query")
            .agg((pl.col("weight", "certain", "spared") * pl.col("rows")).sum().name.prefix("all_"))
        )
        found = (
            part.join(sums, on=["batch", "query"], how="left")
            .join(weighed, on=["query", "passage"], how="left")
            .fill_null(0.0)
            .with_columns(pl.col(f"all_{name}") - pl.col(name) for name in ("weight", "certain", "spared"))
        )
        total += float(found["all_weight"].sum())
        chance = pl.when(pl.col("all_certain") > 0.5).then(1.0).otherwise(-pl.col("all_spared").clip(None, 0).exp() + 1)
        hit += float(found.select(chance.sum()).item())
    return Exposure(total / groups, total, hit / len(drawn), largest, largest - 1)


def _parts(met: pl.DataFrame, answers: pl.DataFrame) -> list[pl.DataFrame]:
    """The drawn rows in parts of whole batches, such that few pairs of anchor and answer are met at a time."""
    width = met.join(answers.group_by("query").len("answers"), on="query", how="left", maintain_order="left")
    pairs = width["answers"].fill_null(0).to_numpy().astype(np.int64)
    part = np.cumsum(pairs) // _PAIRS_AT_ONCE
    # A batch belongs to the part of its first row.
    first = met["batch"].search_sorted(met["batch"]).to_numpy()
    return met.with_columns(part=part[first]).partition_by("part", maintain_order=True, include_key=False)


def compare(
    rows: pl.DataFrame,
    answers: pl.DataFrame,
    samplers: Mapping[str, RowKeys],
    batch_size: int,
    *,
    devices: int = 1,
    gather: bool = False,
    seed: int = 0,
) -> pl.DataFrame:
    """Draw one epoch with each sampler and count its exposure, beside the closed form for random batches.

    Args:
        rows: as for `simulate`.
        answers: as for `answer_counts`.
        samplers: the keys each sampler keeps apart: `RowKeys.none` is random batches, `Conflicts.none().keys(columns)`
            is NO_DUPLICATES, the keys of all conflicts the conflict-aware sampler.
        batch_size: rows a batch on one device.
        devices: how many train together.
        gather: whether the loss gathers the negatives of all devices.
        seed: of the drawing.

    Returns:
        COMPARISON_SCHEMA: first the closed form (`left_over` null), then a line for each sampler.
    """
    across = devices if gather else 1
    closed = expected(answer_counts(rows, answers), batch_size, devices=devices, gather=gather)
    lines: list[tuple[str, str, Exposure, int | None]] = [("random", "closed form", closed, None)]
    for name, keys in samplers.items():
        drawn = draw_batches(keys, batch_size, (seed, 0), across=across)
        lines.append((name, "simulated", simulate(rows, answers, drawn.batches, across=across), drawn.left_over))
    return pl.DataFrame(
        [
            (name, method, found.effective_batch, found.per_batch, found.per_epoch, found.anchors_hit, left_over)
            for name, method, found, left_over in lines
        ],
        schema=COMPARISON_SCHEMA,
        orient="row",
    )
