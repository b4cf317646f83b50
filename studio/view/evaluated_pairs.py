"""What the Evaluate panel asks of two systems: where one is better, one query in full, and slices of the queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from studio.evaluation.comparison import named
from studio.evaluation.metrics import Flags, first_relevant
from studio.evaluation.per_query import QUERY_LINE, PerQuery, Place, against, detail, qrels_of, retrieval_of, subsets
from studio.evaluation.results import Evaluation
from studio.evaluation.significance import Difference
from studio.evaluation.slices import slices
from studio.view.bench import Bench
from studio.view.evaluations import loaded
from studio.view.evidence import positions_of, remembered

Which = Literal["losses", "wins", "ties", "all"]
By = Literal["length", "words", "language", "source", "tag", "leaked"]
MOST = 2_000
"""Queries that a list shows."""
_PAIRS = 16
_EXCERPT = 200


class Subset(NamedTuple):
    """Some of the queries. `before`, `after`: the means of the two systems; `before` is None of one system alone."""

    queries: int
    before: float | None
    after: float
    wins: int
    ties: int
    losses: int


class QueryLine(NamedTuple):
    """One query of the list.

    Attributes:
        query_id: its id in the set.
        text: its first characters.
        before: its value under the reference; None: there is none.
        after: its value under the other.
        rank_before: of the first relevant passage under the reference; None: it is deeper than what was kept.
        rank_after: the same under the other.
        leaked: whether training has seen it.
    """

    query_id: str
    text: str
    before: float | None
    after: float
    rank_before: int | None
    rank_after: int | None
    leaked: bool


class PairAnswer(NamedTuple):
    """Two systems, query by query, or one alone.

    Attributes:
        reference: the one that stands on the left; empty: the other is alone.
        other: the one that is looked at.
        metric: whose values they are.
        clean: queries that training has not seen; None: there are none.
        leaked: those it has; None: there are none.
        moves: how far the first relevant passage went up or down, in words, and of how many queries.
        ranked: whether ranks are known.
        which: which queries are listed.
        queries: the worst regressions first (wins: the best gains first), MOST at most.
        total: how many there are.
    """

    reference: str
    other: str
    metric: str
    clean: Subset | None
    leaked: Subset | None
    moves: tuple[tuple[str, int], ...]
    ranked: bool
    which: Which
    queries: tuple[QueryLine, ...]
    total: int


class Gold(NamedTuple):
    """A passage that answers; `text`: None: it is outside the corpus.

    `places`: rank and score under each system, None: deeper than what was kept. `row`: its position in the project.
    """

    passage_id: str
    text: str | None
    grade: float
    places: tuple[tuple[int, float] | None, ...]
    row: int | None


class Retrieved(NamedTuple):
    """A passage that a system found; `grade`: None: nobody judged it. `row`: its position in the project."""

    passage_id: str
    text: str
    rank: int
    score: float
    grade: float | None
    row: int | None


class QueryAnswer(NamedTuple):
    """One query in full.

    `leaked`: why it is, or "". `systems`: those asked for. `found`: the first passages of each; empty where its ranking
    is not known. `row`: the query's position in the project.
    """

    query_id: str
    text: str
    leaked: str
    systems: tuple[str, ...]
    gold: tuple[Gold, ...]
    found: tuple[tuple[Retrieved, ...], ...]
    row: int | None


class SliceLine(NamedTuple):
    """One slice: its name, queries, the mean of each system, the difference, p after Holm, and why there is none."""

    name: str
    queries: int
    before: float | None
    after: float
    difference: Difference | None
    p: float | None
    note: str


def evaluated_pair(
    bench: Bench, evaluation: str, is_run: bool, reference: str, other: str, metric: str, which: Which = "losses"
) -> PairAnswer:
    """Compare two systems by query, or look at one alone.

    Args:
        bench: the project.
        evaluation: name of the evaluation or of the run.
        is_run: whether it is a run.
        reference: the system that wins and losses are counted from; empty: none, the other's worst queries come first.
        other: the system that is looked at.
        metric: whose values count.
        which: the queries to list.

    Raises:
        UsageError: it is no set of queries and passages, a system is not there, or the two are not compared.
        InputError: a file of the evaluation cannot be used.
    """
    stored, key = loaded(bench, evaluation, is_run)

    def make() -> tuple[pl.DataFrame, PerQuery | None]:
        if not reference:
            return _alone(stored, other, metric), None
        found = against(stored, other, reference, metric)
        return found.queries.with_row_index("at"), found

    queries, found = remembered(bench, "evaluated pairs", (key, reference, other, metric), make, keep=_PAIRS)
    clean = subsets(stored).clean
    if found is None:
        listed = queries.sort("a", "at")
    else:
        outcome = {"losses": ["loss"], "wins": ["win"], "ties": ["tie"], "all": ["loss", "tie", "win"]}[which]
        listed = queries.filter(pl.col("outcome").is_in(outcome)).sort(
            "delta", "at", descending=[which == "wins", False]
        )
    return PairAnswer(
        reference,
        other,
        metric,
        _subset(queries, clean),
        _subset(queries, ~clean),
        tuple((bucket.name, bucket.queries) for bucket in found.moves) if found else (),
        named(stored, other).ranking is not None,
        which,
        tuple(map(_query_line, listed.head(MOST).iter_rows(named=True))),
        listed.height,
    )


def evaluation_query(bench: Bench, evaluation: str, is_run: bool, query_id: str, systems: Sequence[str]) -> QueryAnswer:
    """Tell one query in full: the passages that answer it, and what systems found.

    Raises:
        UsageError: it is no set of queries and passages, or there is no such query or system.
        InputError: a file of the evaluation cannot be used.
    """
    stored, _ = loaded(bench, evaluation, is_run)
    said = detail(stored, query_id, systems)
    rows = _rows(bench, stored)
    gold = tuple(
        Gold(each.passage_id, each.text, each.grade, tuple(_place(each.places.get(one)) for one in systems), row)
        for each, row in zip(said.gold, rows([each.passage_id for each in said.gold]), strict=True)
    )
    found = []
    for one in systems:
        first = said.retrieved.get(one, ())
        placed = zip(first, rows([each.passage_id for each in first]), strict=True)
        found.append(tuple(Retrieved(*each, row) for each, row in placed))
    return QueryAnswer(query_id, said.text, said.leaked, tuple(systems), gold, tuple(found), rows([query_id])[0])


def evaluation_slices(
    bench: Bench, evaluation: str, is_run: bool, reference: str, other: str, metric: str, by: By
) -> tuple[SliceLine, ...]:
    """Score a system on parts of the queries, against another one or alone (an empty `reference`).

    Raises:
        UsageError: it is no set of queries and passages, a system is not there, or the two are not compared.
        InputError: a file of the evaluation cannot be used.
    """
    stored, key = loaded(bench, evaluation, is_run)

    def make() -> tuple[SliceLine, ...]:
        return tuple(
            SliceLine(
                each.name,
                each.n,
                each.scores[reference].value if reference else None,
                each.scores[other].value,
                each.difference,
                each.p_holm,
                each.note,
            )
            for each in slices(stored, by, metric, other, reference)
        )

    return remembered(bench, "slices", (key, reference, other, metric, by), make, keep=_PAIRS)


def rows_of_query(bench: Bench, evaluation: str, is_run: bool, query_id: str) -> tuple[int, ...]:
    """Positions of the rows that have a query and the passages that answer it; none if the set is not the project's.

    Raises:
        UsageError: it is no set of queries and passages, or there is no such query.
        InputError: a file of the evaluation cannot be used.
    """
    stored, _ = loaded(bench, evaluation, is_run)
    gold = [each.passage_id for each in detail(stored, query_id).gold]
    found = _rows(bench, stored)([query_id, *gold])
    return tuple(sorted({row for row in found if row is not None}))


def _alone(evaluation: Evaluation, name: str, metric: str) -> pl.DataFrame:
    """The queries of one system: QUERY_LINE with nothing of another, and their place."""
    evaluated, system = retrieval_of(evaluation), named(evaluation, name)
    qrels = qrels_of(evaluated)
    ranks = np.zeros(evaluated.size, np.int64)
    if system.ranking is not None:
        ranks = first_relevant(system.ranking.indices, qrels)
    leaked = evaluated.leaked.unique("query_id", keep="first").select("query_id", leaked="why")
    known = evaluated.judged.queries.select("query_id", "text").with_columns(
        a=pl.Series(system.values[metric]), rank_a=pl.Series(ranks).replace(0, None), relevant=pl.Series(qrels.relevant)
    )
    known = known.join(leaked, on="query_id", how="left", maintain_order="left")
    rest = {column: kind for column, kind in QUERY_LINE.items() if column not in known.columns}
    known = known.with_columns(pl.lit(None, dtype=kind).alias(column) for column, kind in rest.items())
    return known.select(QUERY_LINE.names()).with_row_index("at")


def _subset(queries: pl.DataFrame, which: Flags) -> Subset | None:
    part = queries.filter(pl.Series(which))
    if not part.height:
        return None
    outcomes = part["outcome"].to_list()
    before = None if part["b"].null_count() else float(part["b"].to_numpy().mean())
    after = float(part["a"].to_numpy().mean())
    return Subset(part.height, before, after, *(outcomes.count(one) for one in ("win", "tie", "loss")))


def _query_line(line: dict[str, Any]) -> QueryLine:
    return QueryLine(
        line["query_id"],
        line["text"][:_EXCERPT],
        line["b"],
        line["a"],
        line["rank_b"],
        line["rank_a"],
        line["leaked"] is not None,
    )


def _place(place: Place | None) -> tuple[int, float] | None:
    return None if place is None else (place.rank, place.score)


def _rows(bench: Bench, evaluation: Evaluation) -> Callable[[Sequence[str]], list[int | None]]:
    """Finds positions in the project of queries and passages of a set; None where its ids are not those of rows."""
    own = retrieval_of(evaluation).about.in_project

    def find(ids: Sequence[str]) -> list[int | None]:
        if not own or not ids:
            return [None] * len(ids)
        found = positions_of(bench, pl.Series(ids, dtype=pl.String)).tolist()
        return [row if row >= 0 else None for row in found]

    return find
