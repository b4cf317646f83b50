"""What the Evaluate panel asks: the list, one table, two systems by query, a query in full, slices, sent misses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import UsageError
from studio.evaluation.parts import save_system
from studio.evaluation.systems import Dense, Given, Lexical, Named
from studio.project.project import Project
from studio.view.bench import Bench
from studio.view.evaluated_pairs import evaluated_pair, evaluation_query, evaluation_slices, rows_of_query
from studio.view.evaluations import EvaluationsAnswer, Report, evaluations
from studio.view.find import find
from studio.view.misses import send_miss
from studio.view.where import parse
from tests.evaluations_by_hand import BEGAN, COST, finished_run, result, retrieval, stored
from tests.runs_by_hand import made

N = 16
PAIRS = [
    (f"pergunta número {at} sobre o prazo {'longo ' * at}?", f"Resposta {at}: o prazo é de {at} dias.")
    for at in range(N)
]
BEFORE = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, None, None, None, None]
AFTER = [1, 1, 1, 8, 1, 1, 1, 1, 3, 3, 3, None, None, None, None, 1]
LEAKED = {"r3": "equals the query of training row 9"}
SYSTEMS = [
    ("before", Dense(model="harrier-tiny"), BEFORE),
    ("after", Dense(run="first"), AFTER),
    ("short", Dense(model="harrier-tiny", dim=16), BEFORE),
    ("words", Lexical(), AFTER),
    ("theirs", Given(path="x.trec"), AFTER),
    ("far", Dense(model="BAAI/bge-m3"), "The model is out of reach."),
]


@pytest.fixture
def root(make_project: Callable[..., Project]) -> Path:
    rows = [{"query": query, "positive": positive, "split": "test"} for query, positive in PAIRS]
    return make_project(rows).root


@pytest.fixture
def bench(root: Path) -> Bench:
    stored(root, "first", retrieval(PAIRS, LEAKED), SYSTEMS, cost=COST)
    return Bench(root)


def told(answer: EvaluationsAnswer) -> Report:
    assert answer.wrong == "" and answer.report is not None
    return answer.report


def test_nothing_was_evaluated(root: Path) -> None:
    assert evaluations(Bench(root)) == EvaluationsAnswer((), None, "")


def test_evaluations_and_finished_runs_are_listed_newest_first(bench: Bench, root: Path) -> None:
    stored(root, "half", retrieval(PAIRS), SYSTEMS, finished=2, made=BEGAN + 60)
    finished_run(root, PAIRS, "run", 0.25, 0.5)
    made(root, "never-started")
    found = evaluations(bench).entries
    assert [(entry.name, entry.is_run, entry.done, entry.systems) for entry in found] == [
        ("run", True, True, 2),
        ("half", False, False, 2),
        ("first", False, True, 6),
    ]
    far = ("far", Dense(model="BAAI/bge-m3"), "The model is out of reach.")
    stored(root, "none", retrieval(PAIRS), [far, ("too far", *far[1:])], made=BEGAN - 60)
    assert [(entry.systems, entry.failed) for entry in evaluations(bench).entries[1:]] == [(2, 0), (6, 1), (2, 2)]
    half = told(evaluations(bench, "half"))
    assert [line.name for line in half.systems] == ["before", "after"] and "not finished" in " ".join(half.notes)


def test_systems_stand_in_classes_and_only_those_of_one_are_compared(bench: Bench) -> None:
    report = told(evaluations(bench, "first"))
    assert (report.queries, report.passages, report.leaked, report.metric) == (N, N, 1, "ndcg@10")
    lines = {line.name: line for line in report.systems}
    assert [line.name for line in report.systems if line.is_reference] == ["before", "words"]
    after = lines["after"]
    assert (after.reference, after.wins, after.losses, after.ties) == ("before", 5, 2, 9)
    assert after.line.startswith("VERDICT:") and after.p is not None and after.difference is not None
    assert (
        after.p >= after.difference.p and after.low is not None and after.low < (after.score or 0) < (after.high or 0)
    )
    assert "not known" in lines["theirs"].refused and lines["far"].error == "The model is out of reach."
    assert set(after.spread) == set(report.metrics) and lines["short"].size == 16
    assert lines["before"].family == lines["short"].family != after.family
    # What crosses to the interface crosses as pickles.
    assert pickle.loads(pickle.dumps(report)).systems[1].name == report.systems[1].name


def test_another_reference_and_another_metric(bench: Bench) -> None:
    pinned = told(evaluations(bench, "first", metric="mrr@10", references={"dense": "after"}))
    lines = {line.name: line for line in pinned.systems}
    assert pinned.metric == "mrr@10" and lines["after"].is_reference
    assert (lines["before"].wins, lines["before"].losses) == (2, 5)
    # What cannot be a reference is none.
    usual = told(evaluations(bench, "first", metric="no@3", references={"dense": "far", "lexical": "gone"}))
    assert usual.metric == "ndcg@10" and [line.name for line in usual.systems if line.is_reference] == [
        "before",
        "words",
    ]


def test_a_finished_run_is_an_evaluation_of_itself(root: Path) -> None:
    finished_run(root, PAIRS, "run", 0.25, 0.5)
    report = told(evaluations(Bench(root), "run", is_run=True))
    assert [(line.name, line.score, line.verdict) for line in report.systems] == [
        ("run@baseline", 0.25, ""),
        ("run", 0.5, "WIN"),
    ]
    assert not any(line.ranked for line in report.systems) and report.tables == ("ndcg@10",)


def test_what_changed_is_read_again_and_what_is_damaged_is_said(bench: Bench, root: Path) -> None:
    half = stored(root, "half", retrieval(PAIRS), SYSTEMS, finished=1)
    assert len(told(evaluations(bench, "half")).systems) == 1
    save_system(half, 1, result(retrieval(PAIRS), Named("after", Dense(run="first")), AFTER))
    assert len(told(evaluations(bench, "half")).systems) == 2
    (half.data / "queries.parquet").write_bytes(b"no")
    answer = evaluations(Bench(root), "half")
    assert answer.report is None and "cannot be read" in answer.wrong and len(answer.entries) == 2


def test_queries_are_told_the_worst_regression_first(bench: Bench) -> None:
    found = evaluated_pair(bench, "first", False, "before", "after", "ndcg@10")
    assert [(line.query_id, line.rank_before, line.rank_after, line.leaked) for line in found.queries] == [
        ("r3", 1, 8, True),
        ("r11", 3, None, False),
    ]
    assert found.clean is not None and found.leaked is not None
    assert (found.clean.queries, found.clean.wins, found.clean.losses) == (N - 1, 5, 1)
    assert (found.leaked.queries, found.leaked.losses) == (1, 1)
    assert sum(count for _, count in found.moves) == N and dict(found.moves)["lost"] == 1
    wins = evaluated_pair(bench, "first", False, "before", "after", "ndcg@10", "wins")
    assert [line.query_id for line in wins.queries] == ["r15", "r4", "r5", "r6", "r7"]
    assert evaluated_pair(bench, "first", False, "before", "after", "ndcg@10", "ties").total == 9
    assert evaluated_pair(bench, "first", False, "before", "after", "ndcg@10", "all").total == N
    alone = evaluated_pair(bench, "first", False, "", "words", "ndcg@10")
    assert alone.total == N and alone.queries[0].after == 0.0 and alone.queries[0].before is None and not alone.moves
    with pytest.raises(UsageError, match="not compared"):
        evaluated_pair(bench, "first", False, "before", "words", "ndcg@10")


def test_a_query_has_gold_and_what_was_retrieved(bench: Bench) -> None:
    found = evaluation_query(bench, "first", False, "r3", ("before", "after"))
    assert found.text == PAIRS[3][0] and found.row == 3 and found.leaked == LEAKED["r3"]
    (gold,) = found.gold
    assert [place and place[0] for place in gold.places] == [1, 8] and gold.row == 3
    assert [passage.grade for passage in found.found[1][:8]] == [None] * 7 + [1.0]
    assert rows_of_query(bench, "first", False, "r3") == (3,)
    with pytest.raises(UsageError, match="no query"):
        evaluation_query(bench, "first", False, "r99", ("before",))


def test_slices(bench: Bench) -> None:
    source = evaluation_slices(bench, "first", False, "before", "after", "ndcg@10", "source")
    assert sum(line.queries for line in source) == N and {line.name for line in source} == {"faq", "manual"}
    assert all(line.difference and line.p is not None for line in source)
    leaked = evaluation_slices(bench, "first", False, "", "words", "ndcg@10", "leaked")
    assert [line.queries for line in leaked] == [N - 1, 1] and leaked[0].before is None and "too few" in leaked[1].note


def test_a_miss_is_sent_and_taken_back(bench: Bench) -> None:
    sent = send_miss(bench, "first", False, "after", "r3", "answers", "before")
    assert sent.to == "answers" and sent.sent == 7 and not sent.already and "leaked" in " ".join(sent.notes)
    assert send_miss(bench, "first", False, "after", "r3", "answers", "before").already == 7
    assert send_miss(bench, "first", False, "after", "r3", "pairs", "before").sent == 1
    assert find(bench, parse("tag:missed")).positions.tolist() == [3]
    for _ in range(2):
        assert bench.project.ledger.undo()
    assert not find(bench, parse("tag:missed")).total


def test_what_a_run_retrieved_is_not_known(root: Path) -> None:
    finished_run(root, PAIRS, "run", 0.25, 0.5)
    with pytest.raises(UsageError, match="not known"):
        send_miss(Bench(root), "run", True, "run", "r3", "pairs")
