"""Metrics against a plain reading of trec_eval's definitions, ties and graded relevance included."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import ConfigError, InputError
from studio.evaluation.metrics import METRICS, Qrels, by_query, first_relevant, metric, trec_order
from studio.models.neighbours import nearest

Run = dict[str, float]
Grades = dict[str, int]
KINDS = ("ndcg", "mrr", "recall", "map", "success", "judged")
QRELS_SCHEMA = {"query_id": pl.String, "passage_id": pl.String, "relevance": pl.Float64}


def table(qrels: dict[str, Grades]) -> pl.DataFrame:
    lines = [(query, passage, grade) for query, grades in qrels.items() for passage, grade in grades.items()]
    return pl.DataFrame(lines, schema=QRELS_SCHEMA, orient="row")


def plainly(name: str, run: Run, grades: Grades) -> float:
    """One query: sorted by score, ties by id, the last first; then the textbook's sums."""
    kind, k = name.split("@")[0], int(name.split("@")[1])
    found = [grades.get(passage, 0) for passage in sorted(run, key=lambda passage: (run[passage], passage))[::-1]][:k]
    relevant = sum(grade > 0 for grade in grades.values())
    if kind == "ndcg":
        best = sorted((max(grade, 0) for grade in grades.values()), reverse=True)[:k]
        dcg, ideal = (
            sum(max(grade, 0) / math.log2(rank + 2) for rank, grade in enumerate(ranking)) for ranking in (found, best)
        )
        return dcg / ideal if ideal else 0
    ranks = [rank for rank, grade in enumerate(found, 1) if grade > 0]
    if kind == "mrr":
        return 1 / ranks[0] if ranks else 0
    if kind == "success":
        return float(bool(ranks))
    if kind == "judged":
        first = sorted(run, key=lambda passage: (run[passage], passage))[::-1][:k]
        return sum(passage in grades for passage in first) / len(first) if first else 0
    if not relevant:
        return 0
    if kind == "recall":
        return len(ranks) / relevant
    return sum((place + 1) / rank for place, rank in enumerate(ranks)) / relevant


passages = st.sampled_from([f"p{i}" for i in range(12)])
runs = st.dictionaries(passages, st.integers(-4, 4).map(lambda score: score / 4))
grades = st.dictionaries(passages, st.integers(-1, 4))
names = st.lists(st.sampled_from([f"{kind}@{k}" for kind in KINDS for k in (1, 3, 10, 100)]))


@given(st.lists(st.tuples(runs, grades), min_size=1, max_size=6), names)
def test_every_metric_is_what_its_definition_says(cases: list[tuple[Run, Grades]], wanted: list[str]) -> None:
    ids = pl.Series([f"p{i}" for i in range(12)])
    order = trec_order(ids)
    ordered = ids.gather(order)
    place = {passage: number for number, passage in enumerate(ordered)}
    ranked = np.full((len(cases), 12), -1, np.int32)
    for row, (run, _) in enumerate(cases):
        # As a search does it: best score first, equal ones by position.
        found = sorted(run, key=lambda passage: (-run[passage], place[passage]))
        ranked[row, : len(found)] = [place[passage] for passage in found]
    asked = [f"q{i}" for i in range(len(cases))]
    qrels = Qrels.of(pl.Series(asked), ordered, table({name: g for name, (_, g) in zip(asked, cases, strict=True)}))
    values = by_query(ranked, qrels, [*METRICS, *wanted])
    for name in (*METRICS, *wanted):
        assert values[name] == pytest.approx([plainly(name, *case) for case in cases], abs=1e-12)


def test_a_search_in_trecs_order_ranks_ties_as_trec_does() -> None:
    ids = pl.Series(["b", "a", "é", "B", "ab"])
    order = trec_order(ids)
    assert ids.gather(order).to_list() == ["é", "b", "ab", "a", "B"]
    found = nearest(np.ones((1, 2), np.float32), np.ones((5, 2), np.float32), 4, device="cpu").indices
    assert [ids[int(order[at])] for at in found[0]] == ["é", "b", "ab", "a"]


def test_what_is_found_for_a_query_without_judgements_or_by_nobody() -> None:
    qrels = Qrels.of(pl.Series(["q0", "q1", "q2"]), pl.Series(["p0", "p1"]), table({"q0": {"p1": 2}, "q1": {"p0": 0}}))
    ranked = np.array([[1, 0], [0, 1], [-1, -1]], np.int32)
    found = by_query(ranked, qrels)
    judged = found.pop("judged@10")
    assert all(values.tolist() == [1, 0, 0] for values in found.values())
    assert judged.tolist() == [0.5, 0.5, 0]
    nothing = Qrels.of(pl.Series(["q0"]), pl.Series(["p0"]), table({}))
    assert by_query(np.zeros((1, 0), np.int32), nothing)["map@100"].tolist() == [0]
    assert by_query(np.zeros((1, 1), np.int32), nothing)["ndcg@10"].tolist() == [0]


def test_an_answer_outside_the_corpus_counts_among_those_to_be_found() -> None:
    lines = table({"q0": {"p0": 1, "gone": 3, "also gone": 0}, "q1": {"gone": -1}})
    qrels = Qrels.of(pl.Series(["q0", "q1"]), pl.Series(["p0", "p1"]), lines, outside=True)
    found = by_query(np.array([[0, 1], [0, 1]], np.int32), qrels)
    assert found["recall@10"].tolist() == [0.5, 0] == found["map@100"].tolist()
    assert found["ndcg@10"].tolist() == [pytest.approx(1 / (3 + 1 / math.log2(3))), 0]
    assert found["judged@10"].tolist() == [0.5, 0]
    with pytest.raises(InputError, match="passage gone"):
        Qrels.of(pl.Series(["q0", "q1"]), pl.Series(["p0", "p1"]), lines)
    with pytest.raises(InputError, match="query q1"):
        Qrels.of(pl.Series(["q0"]), pl.Series(["p0"]), lines, outside=True)


def test_the_first_relevant_passage_has_a_rank_or_none() -> None:
    qrels = Qrels.of(pl.Series(["q0", "q1", "q2"]), pl.Series(["p0", "p1"]), table({"q0": {"p1": 2}, "q1": {"p0": 1}}))
    assert first_relevant(np.array([[0, 1], [0, -1], [0, 1]], np.int32), qrels).tolist() == [2, 1, 0]
    assert first_relevant(np.zeros((3, 0), np.int32), qrels).tolist() == [0, 0, 0]


def test_graded_relevance_has_a_linear_gain() -> None:
    qrels = Qrels.of(pl.Series(["q"]), pl.Series(["p0", "p1"]), table({"q": {"p0": 1, "p1": 3}}))
    found = by_query(np.array([[0, 1]], np.int32), qrels, ["ndcg@10"])["ndcg@10"][0]
    assert found == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))


@pytest.mark.parametrize("name", ["ndgc@10", "ndcg@0", "ndcg", "recall@10000000", "mean"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        metric(name)
    assert metric("recall@20").name == "recall@20"
    with pytest.raises(ConfigError, match="did you mean `ndcg@10`"):
        metric("NDCG@10")


@pytest.mark.parametrize("bad", [("q9", "p0"), ("q0", "p9"), ("q0", "p0")])
def test_judgements_that_cannot_be_used_are_named(bad: tuple[str, str]) -> None:
    lines = pl.concat([table({"q0": {"p0": 1}}), pl.DataFrame([(*bad, 1.0)], schema=QRELS_SCHEMA, orient="row")])
    with pytest.raises(InputError, match=f"query {bad[0]}, passage {bad[1]}"):
        Qrels.of(pl.Series(["q0"]), pl.Series(["p0"]), lines)
