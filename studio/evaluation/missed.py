"""From a query that a system missed back to the rows: to be looked at as pairs, or to be judged as false negatives.

What a system puts above the right passage is either wrong, or right and known to nobody. Only a person can tell, so a
miss is sent to where a person decides, with its evidence: into the queue of false negatives, or among the pairs. Both
are decisions in the ledger: written in one transaction, taken back by undo, and untouched by another search.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.evaluation.metrics import first_relevant
from studio.evaluation.per_query import qrels_of
from studio.evaluation.results import Evaluation, Ranking, SystemResult
from studio.evaluation.sets import RetrievalSet

MOST_ABOVE = 10
"""Passages above the right one that a miss names, unless others are chosen: nobody looks further down."""
MRR = "mrr@10"
"""By which metric a system's word on a candidate is trusted."""


class To(StrEnum):
    """Where a miss is sent."""

    PAIRS = "pairs"
    """Its row gets the tag `missed` and a note, and is found with the filter `tag:missed`."""
    ANSWERS = "answers"
    """Each passage above the right one becomes a candidate of the false-negative queue."""


class Found(NamedTuple):
    """A passage of a miss; `rank` (from 1) and `score` are None where the ranking does not go so deep.

    `grade`: its relevance; None: nobody judged it.
    """

    passage_id: str
    text: str
    grade: float | None
    rank: int | None
    score: float | None


class Miss(NamedTuple):
    """A query that a system did not answer as it should.

    Attributes:
        evaluation: name of the evaluation.
        system: name of the system in it.
        of_set: name of the set.
        in_project: whether the ids are row ids of the project.
        metric: by which it is a miss.
        value: of that query.
        against: another system that did better on it, or "".
        before: that one's value; None without one.
        query_id: of the query.
        query: its text.
        gold: the passages that answer, the best ranked first.
        above: passages that nobody judged and the system put above one that answers, the best ranked first.
        leaked: what training has seen of it, in words, or "".
        mrr: the system's MRR@10 over all queries; 0 where it was not computed.
        floor: the last score of the ranking, which no passage beyond it exceeds; None of an empty ranking.
    """

    evaluation: str
    system: str
    of_set: str
    in_project: bool
    metric: str
    value: float
    against: str
    before: float | None
    query_id: str
    query: str
    gold: tuple[Found, ...]
    above: tuple[Found, ...]
    leaked: str
    mrr: float
    floor: float | None

    @property
    def words(self) -> str:
        """What happened, in one line without texts."""
        against = f" ({self.before:.3f} by {self.against})" if self.before is not None else ""
        rank = self.gold[0].rank if self.gold else None
        own = f"the right passage at rank {rank}" if rank else "the right passage not found"
        return f"missed by {self.system} in {self.evaluation}: {self.metric} {self.value:.3f}{against}, {own}"


def miss(
    evaluation: Evaluation,
    query_id: str,
    system: str,
    passage_ids: Sequence[str] | None = None,
    *,
    against: str = "",
    metric: str = "",
) -> Miss:
    """Collect what a system did with one query.

    Args:
        evaluation: of queries with judged passages.
        query_id: which query.
        system: whose ranking.
        passage_ids: which of the retrieved passages, that nobody judged, were taken for an answer. None: those above
            the last passage that answers, among the first MOST_ABOVE.
        against: another system, to say what it made of the query.
        metric: by which it is a miss; "": the evaluation's main one.

    Raises:
        UsageError: there is no such query or system, its ranking is not known, or a chosen passage was not retrieved
            or is judged.
    """
    return _Reading(evaluation, system, against, metric).miss(query_id, passage_ids)


def misses(evaluation: Evaluation, system: str, *, against: str = "", worst: int = 20, metric: str = "") -> list[Miss]:
    """The queries on which a system did worst.

    Args:
        evaluation: of queries with judged passages.
        system: whose.
        against: another system: the largest losses against it. "": the lowest values below 1.
        worst: at most that many.
        metric: by which; "": the evaluation's main one.

    Returns:
        As of `worst_first`.

    Raises:
        UsageError: there is no such system or metric, or its ranking is not known.
    """
    return worst_first(evaluation, system, against=against, worst=worst, metric=metric)[0]


def worst_first(
    evaluation: Evaluation, system: str, *, against: str = "", worst: int = 20, metric: str = ""
) -> tuple[list[Miss], int]:
    """As `misses`, with the number of queries that were lost.

    Returns:
        The worst first; of equal ones those whose best answer stands deepest (not found is deepest), then in the order
        of the set. And how many there are in all.
    """
    reading = _Reading(evaluation, system, against, metric)
    values = reading.values
    key = values - reading.before if reading.before is not None else values
    lost = np.flatnonzero(key < (0 if reading.before is not None else 1))
    order = np.lexsort((-reading.ranks[lost], key[lost]))
    ids = reading.set.judged.queries["query_id"]
    return [reading.miss(ids[int(at)]) for at in lost[order][: max(0, worst)]], len(lost)


class _Reading:
    """One system of an evaluation, opened to look at its queries."""

    def __init__(self, evaluation: Evaluation, system: str, against: str, metric: str) -> None:
        if not isinstance(evaluation.evaluated, RetrievalSet):
            raise UsageError(
                "Only queries with judged passages have misses.",
                where=f"{evaluation.name}: {evaluation.evaluated.kind}",
            )
        self.evaluation, self.set = evaluation, evaluation.evaluated
        self.metric = metric or evaluation.main
        self.result = _system(evaluation, system)
        self.ranking = _ranking(evaluation, self.result)
        self.against = against
        self.values = self._values(self.result)
        self.before = self._values(_system(evaluation, against)) if against else None
        self._places = {name: at for at, name in enumerate(self.set.judged.queries["query_id"])}
        self._leaked = dict(self.set.leaked.select("query_id", "why").iter_rows())

    @property
    def ranks(self) -> np.ndarray:
        """Of each query the rank (from 1) of the first passage that answers; infinite where none was found."""
        first = first_relevant(self.ranking.indices, qrels_of(self.set)).astype(np.float64)
        return np.where(first > 0, first, np.inf)

    def _values(self, result: SystemResult) -> np.ndarray:
        if self.metric not in result.values:
            known = ", ".join(result.values) or "none"
            raise UsageError(
                f"{result.name} has no values by {self.metric}.",
                where=self.evaluation.name,
                why=result.error or f"known: {known}",
                remedy="name a metric of the evaluation",
            )
        return result.values[self.metric]

    def miss(self, query_id: str, passage_ids: Sequence[str] | None = None) -> Miss:
        at = self._places.get(query_id)
        if at is None:
            raise UsageError(f"There is no query `{query_id}` in this evaluation.", where=self.evaluation.name)
        judged = self.set.judged
        grades = dict(judged.qrels.filter(pl.col("query_id") == query_id).select("passage_id", "relevance").iter_rows())
        places = self.ranking.indices[at]
        places = places[places >= 0]
        scores = self.ranking.scores[at][: len(places)].tolist()
        texts = judged.corpus[places.astype(np.int64)]
        ranked = [
            Found(passage_id, text, grades.get(passage_id), rank, score)
            for rank, ((passage_id, text), score) in enumerate(
                zip(texts.select("passage_id", "text").iter_rows(), scores, strict=True), 1
            )
        ]
        gold = self._gold(grades, ranked)
        return Miss(
            self.evaluation.name,
            self.result.name,
            self.set.about.name,
            self.set.about.in_project,
            self.metric,
            float(self.values[at]),
            self.against,
            None if self.before is None else float(self.before[at]),
            query_id,
            str(judged.queries["text"][at]),
            gold,
            _chosen(ranked, passage_ids) if passage_ids is not None else _above(ranked, gold),
            self._leaked.get(query_id, ""),
            float(self.result.overall.get(MRR, 0.0)),
            scores[-1] if scores else None,
        )

    def _gold(self, grades: dict[str, float], ranked: Sequence[Found]) -> tuple[Found, ...]:
        """The passages that answer: those that were ranked, then the others."""
        answers = {passage_id: grade for passage_id, grade in grades.items() if grade > 0}
        found = [one for one in ranked if one.passage_id in answers]
        missing = sorted(answers.keys() - {one.passage_id for one in found})
        known = self.set.judged.corpus.filter(pl.col("passage_id").is_in(missing)).select("passage_id", "text")
        texts = dict(known.iter_rows())
        others = [Found(name, texts.get(name, ""), answers[name], None, None) for name in missing]
        return (*found, *others)


def _system(evaluation: Evaluation, name: str) -> SystemResult:
    found = evaluation.system(name)
    if found is None:
        known = ", ".join(one.name for one in evaluation.systems) or "none"
        raise UsageError(
            f"There is no system `{name}` in this evaluation.", where=evaluation.name, why=f"there are: {known}"
        )
    return found


def _ranking(evaluation: Evaluation, result: SystemResult) -> Ranking:
    if result.ranking is None:
        raise UsageError(
            f"What {result.name} retrieved is not known.",
            where=evaluation.name,
            why=result.error or "only its scores were kept, as of a run's own evaluation",
            remedy="evaluate it: `harrier-studio evaluate --system run:NAME`",
        )
    return result.ranking


def _above(ranked: Sequence[Found], gold: Sequence[Found]) -> tuple[Found, ...]:
    """What nobody judged above the last passage that answers; all of it where one was not found."""
    last = max((one.rank or len(ranked) + 1 for one in gold), default=0)
    return tuple(one for one in ranked[:MOST_ABOVE] if one.grade is None and (one.rank or 0) < last)


def _chosen(ranked: Sequence[Found], passage_ids: Sequence[str]) -> tuple[Found, ...]:
    by_id = {one.passage_id: one for one in ranked}
    for passage_id in passage_ids:
        one = by_id.get(passage_id)
        if one is None or one.grade is not None:
            why = "the system did not retrieve it" if one is None else f"its relevance is known: {one.grade:g}"
            raise UsageError(f"`{passage_id}` cannot be sent to be judged.", why=why)
    return tuple(one for one in ranked if one.passage_id in set(passage_ids))
