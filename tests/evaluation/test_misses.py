"""A query that a system missed comes back to where a person decides, and what they decide reaches the next run."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from studio.errors import UsageError
from studio.evaluation.held_out import Drawing, held_out
from studio.evaluation.metrics import Qrels, by_query
from studio.evaluation.misses import Miss, To, exported, miss, misses, send, send_all, worst_first
from studio.evaluation.results import Evaluation, Ranking, SystemResult
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.systems import Lexical, SystemClass
from studio.mining.asking import MISSED
from studio.mining.collection import Collection
from studio.mining.exposing import conflicts_of, exposures
from studio.mining.false_negatives import NAME, configured, search
from studio.mining.judging import queue_if_any
from studio.models.lexical import BM25Index
from studio.project.asked import outranked
from studio.project.ledger import Action
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.project.verdicts import State, Verdict, judge
from studio.tui.candidate_drawing import candidate_line, own_title, why_lines
from studio.view.bench import Bench
from studio.view.find import find
from studio.view.judging import exposure, fn_candidate, fn_queue
from studio.view.where import parse
from tests.conftest import snapshot

ROWS = [
    # The passage of row 2 also answers the query of row 1, in its very words: BM25 puts it first.
    {
        "query": "pedir segunda via da fatura",
        "positive": "Entre no portal da escola e escolha Contas.",
        "split": "train",
    },
    {
        "query": "onde pedir outro boleto",
        "positive": "Para pedir a segunda via da fatura, entre no portal e escolha Contas.",
        "split": "train",
    },
    {"query": "qual o prazo do recurso", "positive": "O prazo do recurso é de dez dias.", "split": "train"},
    {"query": "como cancelar a matrícula", "positive": "Preencha a folha na secretaria.", "split": "test"},
    {
        "query": "formulário para cancelar",
        "positive": "Para cancelar a matrícula, preencha o formulário na secretaria.",
        "split": "test",
    },
    {
        "query": "posso cancelar a matrícula",
        "positive": "Como cancelar a matrícula depende do curso.",
        "split": "train",
    },
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", snapshot(ROWS), ProjectSettings(name="missed"))


def ranked(evaluated: RetrievalSet) -> Ranking:
    judged = evaluated.judged
    found = BM25Index(judged.corpus["text"]).nearest(judged.queries["text"], 10)
    return Ranking(found.indices, found.scores)


def evaluation_of(evaluated: RetrievalSet) -> Evaluation:
    """BM25 beside a system that finds every gold first: on what BM25 loses it has regressed."""
    judged = evaluated.judged
    qrels = Qrels.of(judged.queries["query_id"], judged.corpus["passage_id"], judged.qrels)
    names = ("ndcg@10", "mrr@10")
    at = dict(zip(judged.corpus["passage_id"], range(judged.corpus.height), strict=True))
    gold = dict(judged.qrels.select("query_id", "passage_id").iter_rows())
    perfect = Ranking(
        np.array([[at[gold[name]]] for name in judged.queries["query_id"]], np.int32),
        np.ones((judged.queries.height, 1), np.float32),
    )
    systems = []
    for name, ranking in (("before", perfect), ("bm25", ranked(evaluated))):
        values = by_query(ranking.indices, qrels, names)
        overall = {metric: float(value.mean()) for metric, value in values.items()}
        systems.append(SystemResult(name, Lexical(), SystemClass.LEXICAL, values, overall, ranking))
    return Evaluation("final", evaluated, "ndcg@10", names, tuple(systems))


def evaluated_split(project: Project, split: str) -> Evaluation:
    curated = project.curated()
    collection = Collection.of(project, curated)
    judged, name, _ = held_out(project, curated, collection, Drawing(splits=(split,)))
    return evaluation_of(RetrievalSet.of(judged, About(name, f"project split {name}", in_project=True)))


def met(project: Project) -> list[tuple[int, int]]:
    """Which of the training rows may not meet in a batch."""
    rows = project.curated().kept.filter(pl.col("split") == "train")
    return conflicts_of(project).keys([rows["query"], rows["positive"]]).conflicts_between(range(rows.height))


def queue_lines(project: Project) -> pl.DataFrame:
    curated = project.curated()
    found = queue_if_any(project, project.evidence.load(NAME), curated, Collection.of(project, curated))
    return pl.DataFrame() if found is None else found.lines


def test_a_regression_goes_from_the_evaluation_to_the_batches_of_the_next_run(project: Project) -> None:
    ids = project.snapshot["row_id"]
    evaluation = evaluated_split(project, "train")
    lost = misses(evaluation, "bm25", against="before")
    assert [one.query_id for one in lost] == [ids[0]]
    assert lost[0].gold[0].passage_id == ids[0] and lost[0].above[0].passage_id == ids[1]
    assert lost[0].value < lost[0].before == 1.0
    # Batches push the two apart: nobody knows that they belong together.
    assert met(project) == []
    assert fn_queue(Bench(project.root)).searched is False

    sent = send(project, miss(evaluation, ids[0], "bm25", [ids[1]]), To.ANSWERS)
    assert sent.rows == ((ids[0], ids[1]),) and len(sent.seqs) == 1 and not sent.refused
    bench = Bench(project.root)
    answer = fn_queue(bench)
    assert answer.searched and not answer.stale and answer.waiting == 1
    assert (answer.heads[0].query_id, answer.heads[0].passage_id) == (ids[0], ids[1])
    assert answer.heads[0].reasons == (MISSED,)
    detail = fn_candidate(bench, ids[0], ids[1])
    assert detail.asked == ("bm25 in final: rank 1, own positive at 2",)
    assert any(detail.asked[0] in line.plain for line in why_lines(detail))
    assert (detail.rank, detail.own_rank, detail.own_id, detail.meetings) == (1, 2, ids[0], 1)
    # Until somebody judged, they are kept apart.
    assert met(project) == [(0, 1)]
    before = exposure(bench, batch=4).gauges
    assert next(gauge for gauge in before if gauge.sampler == "answer_groups").after > 0

    with project.locked():
        judge(project.ledger, ids[0], ids[1], Verdict.ALSO_ANSWERS, margin=detail.margin)
    assert queue_lines(project)["state"].to_list() == [State.ALSO_ANSWERS.value]
    rows = project.curated().rows
    assert rows["group_id"][0] == rows["group_id"][1]
    assert rows["also_answers"].to_list()[0] == [ROWS[1]["positive"]]
    assert met(project) == [(0, 1)]
    curated = project.curated()
    gauges = exposures(project, project.snapshot, Collection.of(project, curated), curated, queue_lines(project), 4)
    after = {gauge.sampler: gauge.after for gauge in gauges}
    assert after["answer_groups"] == after["conflict_aware"] == 0 < after["random"]
    # The next evaluation knows it, too, and what was a regression is none.
    again = evaluated_split(project, "train")
    values = dict(zip(again.evaluated.judged.queries["query_id"], again.system("bm25").values["mrr@10"], strict=True))
    assert values[ids[0]] == 1.0


def test_sending_is_one_step_of_undo_and_sending_again_changes_nothing(project: Project) -> None:
    lost = misses(evaluated_split(project, "train"), "bm25")
    before = project.ledger.active()
    assert send_all(project, lost, To.ANSWERS).seqs
    again = send_all(project, lost, To.ANSWERS)
    assert again.seqs == () and again.already == 1
    assert project.ledger.undo_steps() == 1 and queue_lines(project).height == 1
    project.ledger.undo()
    assert project.ledger.active() == before and queue_lines(project).is_empty() and met(project) == []
    project.ledger.redo()
    assert queue_lines(project).height == 1


def test_another_search_does_not_take_what_was_sent(project: Project) -> None:
    ids = project.snapshot["row_id"]
    send_all(project, misses(evaluated_split(project, "train"), "bm25"), To.ANSWERS)
    search(project, configured(project.settings))
    lines = queue_lines(project)
    both = (pl.col("query_id") == ids[0]) & (pl.col("passage_id") == ids[1])
    line = lines.filter(both).row(0, named=True)
    assert line["asked"] and line["reasons"][0] == MISSED
    # What the search says of it stands beside: it is one candidate, and the first one.
    assert lines.filter(both).height == 1 and lines.row(0, named=True)["passage_id"] == ids[1]
    assert line["rank"] is not None and len(line["reasons"]) > 1
    # An estimate of the search's precision is about what the search brought.
    curated = project.curated()
    collection = Collection.of(project, curated)
    drawn = queue_if_any(project, project.evidence.load(NAME), curated, collection, "sample").lines
    assert set(drawn["passage_id"]) <= set(lines["passage_id"])


def test_a_training_passage_may_complete_a_test_and_changes_nothing_else(project: Project) -> None:
    ids = project.snapshot["row_id"]
    evaluation = evaluated_split(project, "test")
    lost = miss(evaluation, ids[3], "bm25")
    assert {found.passage_id for found in lost.above} == {ids[4], ids[5]}
    sent = send(project, lost, To.ANSWERS)
    # Row 6 trains: its passage may be an answer of a test's query.
    assert set(sent.rows) == {(ids[3], ids[4]), (ids[3], ids[5])} and not sent.refused
    # They train nothing, and are still the first thing that the queue asks.
    lines = queue_lines(project)
    assert lines["passage_id"].to_list()[:2] == [found.passage_id for found in lost.above]
    assert set(lines["meetings"][:2]) == {0}
    before = project.curated().rows
    with project.locked():
        judge(project.ledger, ids[3], ids[4], Verdict.DOES_NOT)
        judge(project.ledger, ids[3], ids[5], Verdict.ALSO_ANSWERS)
    after = send(project, lost, To.ANSWERS)
    assert not after.rows and "judged: does_not" in {one.passage_id: one.why for one in after.refused}[ids[4]]
    assert (
        project.curated()
        .rows.select("group_id", "split", "also_answers")
        .equals(before.select("group_id", "split", "also_answers"))
    )
    qrels = evaluated_split(project, "test").evaluated.judged.qrels.filter(pl.col("query_id") == ids[3])
    assert set(qrels["passage_id"]) == {ids[3], ids[5]}


def test_a_tests_passage_is_no_positive_of_a_training_query(project: Project) -> None:
    ids = project.snapshot["row_id"]
    evaluation = evaluated_split(project, "train")
    query = ids[5]
    sent = send(project, miss(evaluation, query, "bm25", [ids[4]]), To.ANSWERS)
    assert not sent.rows and "split test" in sent.refused[0].why


def test_a_miss_among_the_pairs_is_found_by_its_tag_and_says_what_happened(project: Project) -> None:
    ids = project.snapshot["row_id"]
    lost = misses(evaluated_split(project, "test"), "bm25", against="before")
    sent = send_all(project, lost, To.PAIRS)
    assert sent.rows == ((ids[3], ""),)
    bench = Bench(project.root)
    assert find(bench, parse(f"tag:{MISSED}")).positions.tolist() == [3]
    notes = [decision for decision in project.ledger.active() if decision.action is Action.NOTE]
    words = project.ledger.targets([notes[0].seq])["value"][0]
    assert "missed by bm25 in final: ndcg@10" in words and "(1.000 by before)" in words
    assert "above it, judged by nobody: rows 5, 6" in words or "rows 6, 5" in words
    assert send_all(project, lost, To.PAIRS).already == 1
    # What becomes of a row is not decided by it, and one undo takes tag and note.
    assert project.curated().rows["status"].to_list() == ["kept"] * 6
    project.ledger.undo()
    assert find(Bench(project.root), parse(f"tag:{MISSED}")).total == 0


def elsewhere(query: str, gold: str, other: str) -> Evaluation:
    judged = Judged(
        pl.DataFrame({"query_id": ["q"], "text": [query]}),
        pl.DataFrame({"passage_id": ["g", "x"], "text": [gold, other]}),
        pl.DataFrame({"query_id": ["q"], "passage_id": ["g"], "relevance": [1.0]}),
    )
    return evaluation_of(RetrievalSet.of(judged, About("NanoX", "somewhere/else@1")))


def test_a_set_from_elsewhere_is_matched_by_its_texts_or_refused_in_words(project: Project) -> None:
    ids = project.snapshot["row_id"]
    same = elsewhere("Pedir SEGUNDA via da  fatura?", "nada", ROWS[1]["positive"].upper())
    sent = send(project, miss(same, "q", "bm25"), To.ANSWERS)
    assert sent.rows == ((ids[0], ids[1]),)
    other = miss(elsewhere("segunda via", "nada", "segunda via aqui"), "q", "bm25")
    for to in To:
        sent = send(project, other, to)
        assert not sent.seqs and "no kept row of the project has this query" in sent.refused[0].why


def test_exported_misses_are_pairs_that_nothing_trains_on(project: Project) -> None:
    lost = misses(evaluated_split(project, "test"), "bm25")
    lines = [json.loads(line) for line in exported(lost)]
    assert [(line["query"], line["positive"], line["split"]) for line in lines] == [
        (ROWS[3]["query"], ROWS[3]["positive"], "evaluation")
    ]
    assert {found["passage"] for found in lines[0]["missed"]["unjudged"]} == {ROWS[4]["positive"], ROWS[5]["positive"]}


@pytest.mark.parametrize(
    ("query_id", "system", "passages", "words"),
    [
        ("none", "bm25", None, "no query"),
        (None, "none", None, "no system"),
        (None, "bm25", ["none"], "did not retrieve"),
        (None, "bm25", "gold", "relevance is known"),
    ],
)
def test_what_is_not_in_the_evaluation_is_refused(
    project: Project, query_id: str | None, system: str, passages: list[str] | str | None, words: str
) -> None:
    ids = project.snapshot["row_id"]
    chosen = [ids[0]] if passages == "gold" else passages
    with pytest.raises(UsageError, match=words):
        miss(evaluated_split(project, "train"), query_id or ids[0], system, chosen)


def test_a_miss_says_when_the_right_passage_was_not_found(project: Project) -> None:
    lost: Miss = miss(elsewhere("segunda via", "nada", "segunda via aqui"), "q", "bm25")
    assert lost.gold[0].rank is None and lost.words.endswith("the right passage not found")
    assert [found.passage_id for found in lost.above] == ["x"]


def test_an_own_positive_that_was_not_found_stays_unknown_and_the_margin_is_a_bound(project: Project) -> None:
    ids = project.snapshot["row_id"]
    lost = miss(elsewhere(ROWS[0]["query"], "nada", ROWS[1]["positive"]), "q", "bm25")
    # The last passage of the ranking, which the own positive does not exceed.
    lost = lost._replace(above=(lost.above[0]._replace(score=0.75),), floor=0.5)
    send(project, lost, To.ANSWERS)
    told = outranked(project.ledger.targets().filter(pl.col("row_id") == ids[0])["evidence"][0])
    assert told is not None and (told.gold_rank, told.gold_score) == (None, None)
    line = queue_lines(project).row(0, named=True)
    assert (line["own"], line["own_rank"], line["at_least"]) == (None, None, True)
    assert line["margin"] == pytest.approx(0.5) and line["damage"] > 0
    bench = Bench(project.root)
    (head,) = fn_queue(bench).heads
    assert "≥+50.0%" in candidate_line(head, "", blind=False).plain
    detail = fn_candidate(bench, ids[0], ids[1])
    assert detail.own_score == pytest.approx(0.5) and detail.own_rank is None
    assert own_title(detail)[0].plain == "its own positive · row 1 · not found, so at most 0.500"
    assert next(why_lines(detail)).plain.startswith("at least 50.0 % above its own positive")


def test_of_equally_bad_queries_the_one_whose_answer_stands_deepest_comes_first() -> None:
    passages = [f"p{at:02}" for at in range(40)]
    judged = Judged(
        pl.DataFrame({"query_id": ["a", "b", "c", "d"], "text": list("abcd")}),
        pl.DataFrame({"passage_id": passages, "text": passages}),
        pl.DataFrame({"query_id": list("abcd"), "passage_id": ["p27", "p04", "p26", "p39"], "relevance": [1.0] * 4}),
    )
    # Positions are those of the corpus in trec_order: p39 is the first.
    indices = np.tile(np.arange(20, dtype=np.int32), (4, 1))
    scores = np.tile(np.linspace(1, 0.5, 20, dtype=np.float32), (4, 1))
    values = {"ndcg@10": np.array([0.0, 0.0, 0.0, 1.0])}
    evaluated = RetrievalSet.of(judged, About("deep", "somewhere"))
    system = SystemResult("x", Lexical(), SystemClass.LEXICAL, values, {}, Ranking(indices, scores))
    evaluation = Evaluation("final", evaluated, "ndcg@10", ("ndcg@10",), (system,))
    assert [one.query_id for one in misses(evaluation, "x")] == ["b", "c", "a"]
    assert worst_first(evaluation, "x", worst=1)[1] == 3
