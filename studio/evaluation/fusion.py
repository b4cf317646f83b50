"""Several rankings of the same queries made into one: by rank, or by weighted scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.errors import UsageError
from studio.evaluation.results import F64, I32, Ranking
from studio.models.neighbours import Neighbours


def reciprocal_ranks(rankings: Sequence[Ranking], k: int = 60, depth: int = 100) -> Ranking:
    """Sum 1 / (k + rank) over the rankings that have a passage (Cormack, Clarke and Büttcher, SIGIR 2009).

    Args:
        rankings: of the same queries, over one corpus; ranks count from 1.
        k: how little the first places count for more than those after them; 60 in the paper.
        depth: passages to keep a query.

    Raises:
        UsageError: there is no ranking, or they are not of the same queries.
    """
    return _summed(rankings, [1 / (k + np.arange(1, each.indices.shape[1] + 1)) for each in rankings], depth)


def weighted_sum(rankings: Sequence[Ranking], weights: Sequence[float] = (), depth: int = 100) -> Ranking:
    """Sum weight · score, each query's scores of each ranking first brought to 0 … 1 (min-max), absent ones to 0.

    The lowest score of a ranking becomes 0, as in ranx; where all are equal they become 1, as in OpenSearch: to be
    the only one found is no reason to count for nothing.

    Args:
        rankings: of the same queries, over one corpus.
        weights: one a ranking; empty: all equal. Only their proportions matter.
        depth: passages to keep a query.

    Raises:
        UsageError: there is no ranking, they are not of the same queries, or the weights do not fit them.
    """
    given = np.array(weights or [1.0] * len(rankings), np.float64)
    if len(given) != len(rankings) or not np.isfinite(given).all() or (given < 0).any() or not given.sum():
        raise UsageError(
            f"These weights do not fit {len(rankings)} rankings.",
            why=f"they are {', '.join(f'{weight:g}' for weight in given)}",
            remedy="give one weight a ranking, none of them negative and one of them above 0",
        )
    scaled = [share * _unit(each) for share, each in zip(given / given.sum(), rankings, strict=True)]
    return _summed(rankings, scaled, depth)


def _unit(ranking: Ranking) -> F64:
    """Scores brought to 0 … 1 within each query."""
    there = ranking.indices >= 0
    scores = ranking.scores.astype(np.float64)
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    span = np.where(high > low, high - low, 1.0)
    unit: F64 = np.where(high > low, (np.where(there, scores, 0.0) - np.where(np.isfinite(low), low, 0.0)) / span, 1.0)
    return unit


def _summed(rankings: Sequence[Ranking], worth: Sequence[F64], depth: int) -> Ranking:
    """Add up what each passage is worth, and order the passages of each query by it."""
    queries = len(rankings[0].indices) if rankings else 0
    if not rankings or any(len(each.indices) != queries for each in rankings):
        raise UsageError("Only rankings of the same queries can be made into one.")
    rows, places, values = [], [], []
    for each, gains in zip(rankings, worth, strict=True):
        row, column = np.nonzero(each.indices >= 0)
        rows.append(row)
        places.append(each.indices[row, column].astype(np.int64))
        values.append(np.broadcast_to(gains, each.indices.shape)[row, column])
    place = np.concatenate(places)
    width = int(place.max(initial=0)) + 1
    keys, back = np.unique(np.concatenate(rows) * width + place, return_inverse=True)
    # Scores are float32 from here on, so that those that are equal on paper are equal when they are put in order.
    scores = np.bincount(back, weights=np.concatenate(values), minlength=len(keys)).astype(np.float32)
    order = np.lexsort((keys, -scores, keys // width))
    keys, scores = keys[order], scores[order]
    row = keys // width
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < depth
    none = Neighbours.none(queries, depth)
    fused = Ranking(none.indices, none.scores)
    fused.indices[row[kept], rank[kept]] = keys[kept] % width
    fused.scores[row[kept], rank[kept]] = scores[kept]
    return fused


def cut(ranking: Ranking, depth: int) -> Ranking:
    """The first `depth` passages of each query."""
    return Ranking(ranking.indices[:, :depth], ranking.scores[:, :depth])


def without(ranking: Ranking, own: I32, depth: int) -> Ranking:
    """A ranking without one passage a query, and what stood below it moved up.

    Args:
        ranking: at least `depth` + 1 deep, where there are that many passages.
        own: (queries,) position of the passage to take out; -1: none.
        depth: passages to keep a query.
    """
    out = (ranking.indices == own[:, None]) & (own[:, None] >= 0)
    order = np.argsort(out, axis=1, kind="stable")
    indices = np.take_along_axis(np.where(out, np.int32(-1), ranking.indices), order, axis=1)
    scores = np.take_along_axis(np.where(out, np.float32(-np.inf), ranking.scores), order, axis=1)
    return cut(Ranking(indices, scores), depth)
