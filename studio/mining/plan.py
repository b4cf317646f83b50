"""What mining would bring, before it is done: the yield by margin, the reasons, a few examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.mining.hard_negatives import Rules, read
from studio.mining.pool import LINE, Pool, prepared
from studio.mining.retrieval import Retriever
from studio.mining.settings import CHOSEN, REASONS, MiningSettings
from studio.progress import Progress, silent
from studio.project.project import Project

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Relative margins of the yield curve."""
_EXAMPLES = 3
_EXCERPT = 200


class YieldLine(NamedTuple):
    """What one relative margin leaves, all else as set and without the cross-encoder.

    `enough`: queries with as many negatives as wanted; `some`: with at least one. `rejected`: share (0..1) of the
    candidates without an exclusion that the margin rejects.
    """

    margin: float | None
    chosen: bool
    enough: int
    some: int
    negatives: int
    rejected: float


class MiningExample(NamedTuple):
    """One candidate with excerpts of its texts; `reason` is a `Reason`, or "chosen". `positive`: the lowest-scoring."""

    reason: str
    query_id: str
    passage_id: str
    query: str
    positive: str
    passage: str
    miner: str
    rank: int
    score: float
    own: float
    margin: float
    judged: str


class MiningPlan(NamedTuple):
    """What mining would take.

    `queries`: that train. `candidates`: retrieved for them. `negatives`, `enough`, `some`: as in YieldLine, with the
    cross-encoder if it read. `reasons`: name and count, in the order of `Reason`, those that occur.
    """

    queries: int
    passages: int
    candidates: int
    wanted: int
    negatives: int
    enough: int
    some: int
    curve: tuple[YieldLine, ...]
    reasons: tuple[tuple[str, int], ...]
    examples: tuple[MiningExample, ...]
    notes: tuple[str, ...]


def plan(pool: Pool, settings: MiningSettings, cross: pl.DataFrame | None = None) -> MiningPlan:
    """Say what `settings` would take of a pool; cheap enough to follow a slider.

    Args:
        pool: of the same `miners` and `deepest`.
        settings: the rules.
        cross: what `read` returned; None leaves the cross-encoder out.
    """
    rules = Rules(pool, settings)
    codes = rules.codes(cross)
    counted = np.bincount(codes, minlength=CHOSEN + 1).tolist()
    taken = rules.by_query(codes == CHOSEN)
    queries, some = int((pool.collection.queries["rows"] > 0).sum()), int((taken > 0).sum())
    notes = pool.notes
    if settings.cross_encoder and cross is None:
        notes += ("the cross-encoder was not asked: it will reject more",)
    if queries > some:
        notes += (f"{queries - some:,} of {queries:,} queries get no negative",)
    chosen = settings.relative_margin
    margins = [None, *MARGINS] if chosen is None else sorted({*MARGINS, chosen})
    return MiningPlan(
        queries=queries,
        passages=pool.collection.passages.height,
        candidates=len(codes),
        wanted=settings.negatives,
        negatives=counted[CHOSEN],
        enough=int((taken >= settings.negatives).sum()),
        some=some,
        curve=tuple(_yield(rules, settings, margin) for margin in margins),
        reasons=tuple((reason.value, count) for reason, count in zip(REASONS, counted, strict=False) if count),
        examples=tuple(_examples(pool, codes)),
        notes=notes,
    )


def _yield(rules: Rules, settings: MiningSettings, margin: float | None) -> YieldLine:
    reach = rules.at(margin)
    left = np.minimum(rules.by_query(reach.allowed), settings.negatives)
    free = rules.excluded == 0
    return YieldLine(
        margin,
        margin == settings.relative_margin,
        int((left == settings.negatives).sum()),
        int((left > 0).sum()),
        int(left.sum()),
        float((reach.near & free).sum() / max(1, free.sum())),
    )


def _examples(pool: Pool, codes: NDArray[np.int8]) -> Iterator[MiningExample]:
    """The candidates that stand highest, a few a reason, each of another query."""
    queries, passages = pool.collection.queries, pool.collection.passages
    query, rank = pool.lines["query"].to_numpy(), pool.lines["rank"].to_numpy()
    training = pool.collection.training.select(LINE).unique()
    owns = pool.own.join(training, on=LINE, how="semi").sort("score", "passage").unique("query", keep="first")
    own = dict(owns.select(LINE).iter_rows())
    for code in (CHOSEN, *range(CHOSEN)):
        left = np.flatnonzero(codes == code)
        for _ in range(_EXAMPLES):
            if not len(left):
                break
            at = int(left[rank[left].argmin()])
            left = left[query[left] != query[at]]
            line = pool.lines.row(at, named=True)
            yield MiningExample(
                reason="chosen" if code == CHOSEN else REASONS[code].value,
                query_id=queries["row_id"][line["query"]],
                passage_id=passages["row_id"][line["passage"]],
                query=_excerpt(queries["text"][line["query"]]),
                positive=_excerpt(passages["text"][own[line["query"]]]),
                passage=_excerpt(passages["text"][line["passage"]]),
                miner=line["miner"],
                rank=line["rank"],
                score=line["score"],
                own=line["own"],
                margin=line["margin"],
                judged=line["judged"] or "",
            )


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def dry_run(
    project: Project, settings: MiningSettings, retriever: Retriever | None = None, progress: Progress = silent
) -> MiningPlan:
    """Do all of mining but writing, the cross-encoder too.

    Raises:
        ProjectError: no row is kept.
        InputError, UnavailableError, ConfigError: a model cannot be used.
    """
    pool = prepared(project, settings, retriever, progress)
    return plan(pool, settings, read(pool, settings, progress))
