"""Two systems query by query: who wins, where the answer moved to, and what was found beside what should have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.evaluation.comparison import named, pair
from studio.evaluation.metrics import I64, Flags, Qrels, first_relevant
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.scores import EQUAL, Tally
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.verdict import Judgement

QUERY_LINE = pl.Schema(
    {
        "query_id": pl.String(),
        "text": pl.String(),
        "a": pl.Float64(),
        "b": pl.Float64(),
        "delta": pl.Float64(),
        "outcome": pl.String(),
        "rank_a": pl.Int64(),
        "rank_b": pl.Int64(),
        "relevant": pl.Int64(),
        "leaked": pl.String(),
    }
)
"""A query under two systems. `outcome`: of Outcome, for a. `rank_*`: of the first relevant passage, from 1; null:
deeper than the ranking, or not known. `relevant`: passages that answer. `leaked`: why it is; null: it is not."""
_STEPS = (1, 4, 11)
"""A move of at least so many ranks is in another bucket."""
_NEVER = 2**31
_FIRST = 10


class Outcome(StrEnum):
    """What a query is for the first of two systems."""

    WIN = "win"
    TIE = "tie"
    LOSS = "loss"


class Bucket(NamedTuple):
    """Queries whose first relevant passage is so far from where system b has it.

    `up`: above 0 if system a has it at a better rank, below 0 if at a worse one.
    """

    name: str
    up: int
    queries: int


@dataclass(frozen=True, eq=False)
class PerQuery:
    """One system against another, query by query.

    Attributes:
        a: name of the one.
        b: name of the other.
        metric: what the values are of.
        judgement: the verdict on both scores, with their difference over all queries.
        queries: QUERY_LINE, in the set's order.
        tally: over all queries.
        moves: from the best to the worst, all buckets; empty where a ranking is not known.
        regressions: positions in `queries` of the losses, the worst first.
        gains: of the wins, the best first.
    """

    a: str
    b: str
    metric: str
    judgement: Judgement
    queries: pl.DataFrame
    tally: Tally
    moves: tuple[Bucket, ...]
    regressions: I64
    gains: I64


class Place(NamedTuple):
    """Where a system has a passage; `rank` from 1."""

    rank: int
    score: float


@dataclass(frozen=True)
class Gold:
    """A passage that answers a query.

    Attributes:
        passage_id: whose.
        text: None: it is outside the corpus, so that no system can find it.
        grade: its relevance.
        places: system → where it has it; None: deeper than the ranking.
    """

    passage_id: str
    text: str | None
    grade: float
    places: dict[str, Place | None]


class Retrieved(NamedTuple):
    """A passage that a system found; `grade`: its relevance, None: nobody judged it."""

    passage_id: str
    text: str
    rank: int
    score: float
    grade: float | None


@dataclass(frozen=True)
class QueryDetail:
    """A query with what answers it and what systems found.

    Attributes:
        query_id: whose.
        text: the query.
        leaked: why it is leaked, or "".
        language: None: not known.
        source: None: not known.
        tags: of the query.
        gold: the passages that answer, the most relevant first.
        retrieved: system → the first passages that it found.
    """

    query_id: str
    text: str
    leaked: str
    language: str | None
    source: str | None
    tags: tuple[str, ...]
    gold: tuple[Gold, ...]
    retrieved: dict[str, tuple[Retrieved, ...]]


class Subsets(NamedTuple):
    """Queries by whether training has seen them or their answer: (queries,) flags."""

    clean: Flags
    overlap: Flags


def against(evaluation: Evaluation, a: str, b: str, metric: str = "") -> PerQuery:
    """Look at two systems query by query.

    Args:
        evaluation: of a retrieval set, with both of them.
        a: name of the one.
        b: name of the other, that wins and losses are counted from.
        metric: what decides who wins; empty: the evaluation's main one.

    Raises:
        UsageError: it is no retrieval set, one of the systems is not there, or they may not be compared.
    """
    evaluated, metric = retrieval_of(evaluation), metric or evaluation.main
    whole = pair(evaluation, a, b, metric)
    mine, theirs = named(evaluation, a), named(evaluation, b)
    qrels = qrels_of(evaluated)
    values = [system.values[metric] for system in (mine, theirs)]
    apart = values[0] - values[1]
    outcome = np.where(apart > EQUAL, Outcome.WIN, np.where(apart < -EQUAL, Outcome.LOSS, Outcome.TIE))
    ranks = [_first_ranks(system, qrels) for system in (mine, theirs)]
    leaked = evaluated.leaked.unique("query_id", keep="first").select("query_id", leaked="why")
    queries = (
        evaluated.judged.queries.select("query_id", "text")
        .with_columns(
            a=pl.Series(values[0]),
            b=pl.Series(values[1]),
            delta=pl.Series(apart),
            outcome=pl.Series(outcome.astype(str)),
            rank_a=_nullable(ranks[0]),
            rank_b=_nullable(ranks[1]),
            relevant=pl.Series(qrels.relevant),
        )
        .join(leaked, on="query_id", how="left", maintain_order="left")
    )
    known = mine.ranking is not None and theirs.ranking is not None
    worst = np.argsort(apart, kind="stable")
    best = np.argsort(-apart, kind="stable")
    return PerQuery(
        a,
        b,
        metric,
        whole.judgement,
        queries.select(QUERY_LINE.names()),
        whole.tally,
        _moves(*ranks) if known else (),
        worst[apart[worst] < -EQUAL],
        best[apart[best] > EQUAL],
    )


def detail(evaluation: Evaluation, query_id: str, systems: Sequence[str] = (), first: int = _FIRST) -> QueryDetail:
    """Lay one query's answers beside what systems found.

    Args:
        evaluation: of a retrieval set.
        query_id: whose.
        systems: names, of any class; empty: all whose rankings are known.
        first: passages of each.

    Raises:
        UsageError: it is no retrieval set, or there is no such query or system.
    """
    evaluated = retrieval_of(evaluation)
    at = evaluated.judged.queries["query_id"].index_of(query_id)
    if at is None:
        raise UsageError(f"There is no query `{query_id}` in this evaluation.")
    asked = [named(evaluation, name) for name in systems] or list(evaluation.systems)
    ranked = {system.name: system for system in asked if system.ranking is not None}
    grades = dict(
        evaluated.judged.qrels.filter(pl.col("query_id") == query_id).select("passage_id", "relevance").iter_rows()
    )
    attributes = evaluated.attributes.row(at, named=True)
    why = evaluated.leaked.filter(pl.col("query_id") == query_id)["why"]
    return QueryDetail(
        query_id,
        evaluated.judged.queries["text"][at],
        "; ".join(why),
        attributes["language"],
        attributes["source"],
        tuple(attributes["tags"]),
        _gold(evaluated.judged.corpus, grades, at, ranked),
        {name: _retrieved(evaluated.judged.corpus, grades, at, system, first) for name, system in ranked.items()},
    )


def subsets(evaluation: Evaluation) -> Subsets:
    """Tell the queries that training has seen, or whose answer it has, from the others.

    Raises:
        UsageError: it is no retrieval set.
    """
    evaluated = retrieval_of(evaluation)
    overlap = evaluated.judged.queries["query_id"].is_in(evaluated.leaked["query_id"].implode()).to_numpy()
    return Subsets(~overlap, overlap)


def qrels_of(evaluated: RetrievalSet) -> Qrels:
    """A set's judgements by position; those of relevant passages outside the corpus count, as in trec_eval.

    Raises:
        InputError: a judgement is of a query that is not there, or is there twice.
    """
    judged = evaluated.judged
    return Qrels.of(judged.queries["query_id"], judged.corpus["passage_id"], judged.qrels, outside=True)


def retrieval_of(evaluation: Evaluation) -> RetrievalSet:
    """The retrieval set that an evaluation is of.

    Raises:
        UsageError: it is of something else.
    """
    if not isinstance(evaluation.evaluated, RetrievalSet):
        raise UsageError(
            "Only systems that rank passages can be looked at query by query.",
            why=f"`{evaluation.evaluated.about.name}` is a set of {evaluation.evaluated.kind}",
        )
    return evaluation.evaluated


def _first_ranks(system: SystemResult, qrels: Qrels) -> I64:
    """Of each query's first relevant passage; 0: deeper than the ranking, or not known."""
    if system.ranking is None:
        return np.zeros(qrels.queries, np.int64)
    return first_relevant(system.ranking.indices, qrels)


def _nullable(ranks: I64) -> pl.Series:
    return pl.Series(ranks).replace(0, None)


def _moves(a: I64, b: I64) -> tuple[Bucket, ...]:
    """How far each query's first relevant passage is from where b has it."""
    both, moved = (a > 0) & (b > 0), b - a
    up: list[Bucket] = []
    down: list[Bucket] = []
    for low, above in pairwise([*_STEPS, _NEVER]):
        words = f"{low} or more" if above == _NEVER else f"{low} to {above - 1}"
        for sign, buckets in ((1, up), (-1, down)):
            held = both & (sign * moved >= low) & (sign * moved < above)
            buckets.append(Bucket(f"{'up' if sign > 0 else 'down'} {words}", sign, int(held.sum())))
    return (
        Bucket("found", 1, int(((a > 0) & (b == 0)).sum())),
        *reversed(up),
        Bucket("same rank", 0, int((both & (moved == 0)).sum())),
        Bucket("found by neither", 0, int(((a == 0) & (b == 0)).sum())),
        *down,
        Bucket("lost", -1, int(((a == 0) & (b > 0)).sum())),
    )


def _gold(corpus: pl.DataFrame, grades: dict[str, float], at: int, ranked: dict[str, SystemResult]) -> tuple[Gold, ...]:
    relevant = {passage: grade for passage, grade in grades.items() if grade > 0}
    there = (
        corpus.select("passage_id", "text")
        .with_row_index("position")
        .filter(pl.col("passage_id").is_in(list(relevant)))
    )
    known = {passage: (position, text) for position, passage, text in there.iter_rows()}
    found = []
    for passage in sorted(relevant, key=lambda passage: (-relevant[passage], passage)):
        position, text = known.get(passage, (None, None))
        places = {name: _place(system, at, position) for name, system in ranked.items()}
        found.append(Gold(passage, text, relevant[passage], places))
    return tuple(found)


def _place(system: SystemResult, at: int, position: int | None) -> Place | None:
    if system.ranking is None or position is None:
        return None
    ranks = np.flatnonzero(system.ranking.indices[at] == position)
    return Place(int(ranks[0]) + 1, float(system.ranking.scores[at, ranks[0]])) if len(ranks) else None


def _retrieved(
    corpus: pl.DataFrame, grades: dict[str, float], at: int, system: SystemResult, first: int
) -> tuple[Retrieved, ...]:
    if system.ranking is None:
        return ()
    positions = system.ranking.indices[at, :first]
    there = positions >= 0
    lines = corpus[positions[there]].select("passage_id", "text")
    ranks = np.flatnonzero(there) + 1
    scores = system.ranking.scores[at, :first][there]
    return tuple(
        Retrieved(passage, text, int(rank), float(score), grades.get(passage))
        for (passage, text), rank, score in zip(lines.iter_rows(), ranks, scores, strict=True)
    )
