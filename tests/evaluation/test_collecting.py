"""A set is found by its name: the project's own, a run's, files and folders of many layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datasets import Dataset, DatasetDict

from studio.errors import InputError, ProjectError, StudioError, UsageError
from studio.evaluation.collecting import SetOptions, collect
from studio.evaluation.metrics import Qrels
from studio.evaluation.sets import EvaluationSet, RetrievalSet, SetKind, SimilaritySet, TripletSet
from studio.pairs.roles import Roles
from studio.project.project import Project
from studio.training.data import judged as judged_of
from studio.training.data import load_prepared, prepare
from studio.training.spec import EvaluationPart, RunSpec
from tests.runs_by_hand import made

MakeProject = Callable[..., Project]
ROWS = [
    {"query": "como pagar a conta de luz", "positive": "no banco ou na lotérica", "split": "train"},
    {"query": "qual o prazo de entrega", "positive": "dez dias depois do pedido", "split": "train"},
    {"query": "quanto custa a segunda via", "positive": "vinte reais na secretaria", "split": "test",
     "meta": json.dumps({"field": "clinic", "tags": ["preço"], "lang": "pt"})},
    {"query": "até quando vale o cupom", "positive": "até sexta à noite", "split": "test", "source": "b.jsonl:1"},
    {"query": "quem atende no balcão", "positive": "a recepção da clínica", "split": "validation"},
]  # fmt: skip
CORPUS = [
    {"_id": "d1", "title": "Boleto", "text": "pague no banco"},
    {"_id": "d2", "title": "", "text": "dez dias"},
    {"_id": "d3", "title": "", "text": "vinte reais"},
]
QUERIES = [{"_id": "q1", "text": "como pagar a conta"}, {"_id": "q2", "text": "qual o prazo de entrega"}]
QRELS = [("q1", "d1", 2), ("q1", "d3", 0), ("q2", "d2", 1)]


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def beir(folder: Path, **splits: list[tuple[str, str, int]]) -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", CORPUS)
    lines(folder / "queries.jsonl", QUERIES)
    for split, qrels in (splits or {"test": QRELS}).items():
        rows = "".join(f"{query}\t{passage}\t{grade}\n" for query, passage, grade in qrels)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def retrieval(found: EvaluationSet) -> RetrievalSet:
    assert isinstance(found, RetrievalSet)
    return found


def texts_of(found: EvaluationSet) -> set[tuple[str, str, float]]:
    judged = retrieval(found).judged
    named = judged.qrels.join(judged.queries, on="query_id").join(judged.corpus, on="passage_id")
    return set(named.select("text", "text_right", "relevance").iter_rows())


def test_the_projects_own_test_has_its_rows_and_what_slices_go_by(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    found = retrieval(collect("held-out:validation", project))
    assert texts_of(found) == {("quem atende no balcão", "a recepção da clínica", 1.0)}
    assert (found.about.name, found.about.in_project) == ("validation", True)
    found = retrieval(collect("held-out", project))
    assert found.attributes.rows() == [("r2", "pt", "clinic", ["preço"]), ("r3", "pt", "b.jsonl", [])]
    assert found.judged.corpus.height == len(ROWS)


def test_the_test_of_a_run_is_the_one_it_froze(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    spec = RunSpec(evaluation=EvaluationPart(splits=("test",), corpus=4))
    folder = made(project.root, "first", spec)
    prepared = prepare(project, spec, folder.data)
    found = retrieval(collect("run:first", project))
    frozen = judged_of(load_prepared(folder.data))
    assert found.identity == RetrievalSet.of(frozen, found.about).identity
    assert found.about.in_project and prepared.passages == found.judged.corpus.height == 4
    assert any("at most 4;" in note for note in found.about.notes)
    assert retrieval(collect(str(folder.data), None)).identity == found.identity
    fewer = retrieval(collect("run:first", project, SetOptions(queries=1)))
    assert fewer.size == 1 and any("not comparable" in note for note in fewer.about.notes)
    (folder.data / "qrels.parquet").write_bytes(b"PAR1")
    with pytest.raises(ProjectError, match="frozen test"):
        collect("run:first", project)
    with pytest.raises(InputError, match="no run `second`"):
        collect("run:second", project)
    with pytest.raises(UsageError, match="is a run, and no set") as refused:
        collect(str(folder.root), project)
    assert "`run:first`" in (refused.value.remedy or "")


def test_a_project_is_no_set_and_a_split_that_was_mistyped_is_told(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    with pytest.raises(UsageError, match="is a project, and no set") as refused:
        collect(str(project.root), None)
    assert refused.value.remedy == f"its own test is the set `held-out`, with --project {project.root}"
    with pytest.raises(UsageError, match="'vaidation'") as refused:
        collect("held-out:vaidation", project)
    assert refused.value.remedy == "did you mean `held-out:validation`?"
    assert refused.value.why == "the splits are test, train, validation"
    with pytest.raises(UsageError, match="no columns to name"):
        collect("held-out", project, SetOptions(roles=Roles(query="q")))


def test_a_beir_folder_gives_test_first_or_the_split_that_is_asked_for(tmp_path: Path) -> None:
    folder = str(beir(tmp_path / "set", dev=[("q1", "d1", 1)], test=QRELS))
    found = retrieval(collect(folder, None))
    assert found.judged.corpus.rows() == [("d3", "vinte reais"), ("d2", "dez dias"), ("d1", "Boleto pague no banco")]
    assert found.judged.qrels.rows() == QRELS
    assert found.size == 2 and not found.about.in_project
    assert retrieval(collect(folder, None, SetOptions(split="dev"))).size == 1
    with pytest.raises(UsageError, match="'train'") as refused:
        collect(folder, None, SetOptions(split="train"))
    assert refused.value.remedy == "there: dev, test"


def test_other_layouts_are_the_same_test(tmp_path: Path) -> None:
    same = retrieval(collect(str(beir(tmp_path / "beir")), None)).identity
    marco, tables, saved = (tmp_path / name for name in ("marco", "tables", "saved"))
    titled = [{"_id": d["_id"], "text": f"{d['title']} {d['text']}".strip()} for d in CORPUS]
    for folder in (marco, tables, saved):
        folder.mkdir()
    (marco / "collection.tsv").write_text("".join(f"{d['_id']}\t{d['text']}\n" for d in titled))
    (marco / "queries.dev.small.tsv").write_text("".join(f"{q['_id']}\t{q['text']}\n" for q in QUERIES))
    (marco / "queries.train.tsv").write_text("q9\toutra pergunta\n")
    (marco / "qrels.dev.small.tsv").write_text("".join(f"{q}\t0\t{d}\t{grade}\n" for q, d, grade in QRELS))
    (tables / "doc.csv").write_text("KEY,ENUNCIADO\n" + "".join(f"{d['_id']},{d['text']}\n" for d in titled))
    (tables / "query.csv").write_text("ID,TEXT\n" + "".join(f"{q['_id']},{q['text']}\n" for q in QUERIES))
    (tables / "qrel.csv").write_text("QUERY_ID,DOC_ID,SCORE\n" + "".join(f"{q},{d},{g}\n" for q, d, g in QRELS))
    Dataset.from_list(CORPUS).save_to_disk(saved / "corpus")
    Dataset.from_list(QUERIES).save_to_disk(saved / "queries")
    named = [{"query-id": q, "corpus-id": d, "score": g} for q, d, g in QRELS]
    DatasetDict({"test": Dataset.from_list(named), "train": Dataset.from_list(named[:1])}).save_to_disk(saved / "qrels")
    assert [retrieval(collect(str(folder), None)).identity for folder in (marco, tables, saved)] == [same] * 3


def test_a_judged_passage_outside_the_corpus_still_has_to_be_found(tmp_path: Path) -> None:
    lost = [*QRELS, ("q2", "d9", 1), ("q7", "d1", 1)]
    found = retrieval(collect(str(beir(tmp_path / "set", test=lost)), None))
    judged = found.judged
    qrels = Qrels.of(judged.queries["query_id"], judged.corpus["passage_id"], judged.qrels, outside=True)
    assert qrels.relevant.tolist() == [1, 2]
    assert len(found.about.notes) == 2


def test_queries_without_judgements_are_left_out_and_those_without_an_answer_stay(tmp_path: Path) -> None:
    found = retrieval(collect(str(beir(tmp_path / "set", test=[("q1", "d1", 0)])), None))
    assert found.judged.queries["query_id"].to_list() == ["q1"]
    assert found.about.notes == (
        "queries without any judgement, which are left out: 1",
        "queries without a relevant passage, which count 0 for every system: 1",
    )


@pytest.mark.parametrize(
    ("file", "text", "where", "why"),
    [
        (
            "corpus.jsonl",
            '{"_id": "d1", "text": "a"}\n{"_id": \n',
            "corpus.jsonl:2",
            "it is not JSON: Expecting value at column 9",
        ),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"text": "b"}\n', "corpus.jsonl:2", "no id"),
        (
            "corpus.jsonl",
            '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n',
            "",
            "line 1 and another in line 2",
        ),
        ("corpus.jsonl", '{"_id": "d1", "words": "a"}\n', "corpus.jsonl:1", "_id, words"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2", "2 columns"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nx1\td1\t1\n", "", "such as x1"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path: Path, file: str, text: str, where: str, why: str) -> None:
    folder = beir(tmp_path / "set")
    (folder / file).write_text(text)
    with pytest.raises(InputError) as refused:
        collect(str(folder), None)
    assert where in (refused.value.where or "")
    assert why in (refused.value.why or "")


def test_a_file_of_queries_with_their_positives_is_a_test(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "perguntas.jsonl",
        [
            {
                "query": "como pagar",
                "positives": ["no banco", "na lotérica"],
                "negatives": ["dez dias"],
                "tags": "conta",
            },
            {"query": "Como  pagar", "positives": [{"id": "x7", "text": "pelo site", "relevance": 2}]},
            {"query": "qual o prazo", "positives": "dez dias"},
        ],
    )
    found = retrieval(collect(str(path), None))
    assert texts_of(found) == {
        ("como pagar", "no banco", 1.0),
        ("como pagar", "na lotérica", 1.0),
        ("como pagar", "dez dias", 0.0),
        ("como pagar", "pelo site", 2.0),
        ("qual o prazo", "dez dias", 1.0),
    }
    assert found.judged.corpus.height == 4
    assert found.attributes["tags"].to_list() == [["conta"], []]


def test_a_text_has_one_id_and_an_id_one_text(tmp_path: Path) -> None:
    rows = [
        {"query": "como pagar", "positives": ["No banco.", "no  banco."]},
        {"query": "onde pagar", "positives": [{"id": "b", "text": "no banco."}]},
        {"query": "e agora", "positives": []},
    ]
    found = retrieval(collect(str(lines(tmp_path / "a.jsonl", rows)), None))
    assert found.judged.corpus.rows() == [("b", "no banco.")]
    assert found.judged.qrels.rows() == [("q1", "b", 1.0), ("q2", "b", 1.0)]
    assert "queries without any judgement, which are left out: 1" in found.about.notes
    rows.append({"query": "quando pagar", "positives": [{"id": "b", "text": "hoje"}]})
    with pytest.raises(InputError, match="Two texts have the id") as refused:
        collect(str(lines(tmp_path / "b.jsonl", rows)), None)
    assert "line 2 and another in line 4" in (refused.value.why or "")


def test_positives_that_are_ids_are_looked_up_in_the_corpus_beside(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "q.jsonl", [{"query_id": "a", "query": "como pagar", "positives": {"d1": 3, "d2": 0, "d8": 1}}]
    )
    with pytest.raises(InputError, match="no corpus") as refused:
        collect(str(path), None)
    assert refused.value.where == f"{path}:1"
    lines(tmp_path / "corpus.jsonl", CORPUS)
    found = retrieval(collect(str(path), None))
    assert found.judged.qrels.rows() == [("a", "d1", 3.0), ("a", "d2", 0.0), ("a", "d8", 1.0)]
    assert found.judged.corpus.height == 3


def test_labels_and_scores_say_what_answers(tmp_path: Path) -> None:
    rows = [{"query": "a b", "passage": "c", "label": 1}, {"query": "a b", "passage": "d", "label": 0}]
    assert {grade for *_, grade in texts_of(collect(str(lines(tmp_path / "l.jsonl", rows)), None))} == {0.0, 1.0}
    pl.DataFrame({"query": ["a b", "a b"], "passage": ["c", "d"], "score": [0.9, 0.2]}).write_parquet(
        tmp_path / "s.parquet"
    )
    assert texts_of(collect(str(tmp_path / "s.parquet"), None)) == {("a b", "c", 1.0), ("a b", "d", 0.0)}


def test_scored_sentence_pairs_and_triplets_are_told_by_their_columns(tmp_path: Path) -> None:
    sts = lines(tmp_path / "sts.jsonl", [{"sentence1": "um", "sentence2": "dois", "score": 2.5}] * 3)
    found = collect(str(sts), None, SetOptions(queries=2))
    assert isinstance(found, SimilaritySet)
    assert found.pairs.rows()[0] == ("s1", "um", "dois", 2.5) or found.size == 2
    assert found.size == 2 and "drawn by seed" in found.about.notes[0]
    three = lines(tmp_path / "t.jsonl", [{"anchor": "a", "positive": "b", "negative": "c"}])
    found = collect(str(three), None)
    assert isinstance(found, TripletSet)
    assert found.triplets.drop("triplet_id").rows() == [("a", "b", "c")]
    named = lines(tmp_path / "n.jsonl", [{"q": "a", "p": "b", "n": ["c", "d"]}])
    roles = Roles(query="q", positive="p", negatives=("n",))
    found = collect(str(named), None, SetOptions(kind=SetKind.TRIPLETS, roles=roles))
    assert found.size == 2
    bad = lines(tmp_path / "bad.jsonl", [{"sentence1": "um", "sentence2": "dois", "score": 1}, {"sentence1": "um"}])
    with pytest.raises(InputError) as refused:
        collect(str(bad), None)
    assert refused.value.where == f"{bad}:2"


def test_a_column_of_splits_chooses_among_the_rows_of_a_file(tmp_path: Path) -> None:
    rows = [{"query": f"pergunta {i}", "positive": f"texto {i}", "split": "test" if i else "train"} for i in range(3)]
    path = str(lines(tmp_path / "rows.jsonl", rows))
    assert retrieval(collect(path, None)).size == 3
    assert retrieval(collect(path, None, SetOptions(split="test"))).size == 2
    with pytest.raises(UsageError, match="'dev'") as refused:
        collect(path, None, SetOptions(split="dev"))
    assert refused.value.why == "its column `split` has test, train"


def test_fewer_queries_and_passages_are_drawn_alike_and_keep_what_is_judged(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    more = [{"_id": f"x{i}", "text": f"outro {i}"} for i in range(50)]
    lines(folder / "corpus.jsonl", CORPUS + more)
    options = SetOptions(queries=1, corpus=5, seed=3)
    found = retrieval(collect(str(folder), None, options))
    assert (found.size, found.judged.corpus.height) == (1, 5)
    assert set(found.judged.qrels["passage_id"]) <= set(found.judged.corpus["passage_id"])
    assert retrieval(collect(str(folder), None, options)).identity == found.identity
    assert len(found.about.notes) == 2


def test_a_folder_may_be_named_like_a_benchmark_and_self_hits_are_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_project: MakeProject
) -> None:
    beir(tmp_path / "NanoNQ")
    monkeypatch.chdir(tmp_path)
    found = retrieval(collect("NanoNQ", None, SetOptions(self_hits="remove")))
    assert found.about.self_hits_removed and found.about.origin.startswith("NanoNQ")
    with pytest.raises(UsageError, match="Self-hits"):
        collect("held-out", make_project(ROWS), SetOptions(self_hits="remove"))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("held-out", SetOptions(), "set of a project"),
        ("run:first", SetOptions(), "set of a project"),
        ("NanoBEIR", SetOptions(), "13 sets"),
        ("NanoNQQ", SetOptions(), "no set 'NanoNQQ'"),
        ("no\0thing", SetOptions(), "no set"),
        ("heldout", SetOptions(), "no set 'heldout'"),
        ("held-out", SetOptions(queries=-1), "fewer than 0"),
        ("pyproject.toml", SetOptions(revision="abc"), "no revisions"),
        ("Quati", SetOptions(split="test"), "no splits"),
    ],
)
def test_a_name_that_stands_for_no_set_is_refused_with_a_way_on(name: str, options: SetOptions, match: str) -> None:
    with pytest.raises(StudioError, match=match) as refused:
        collect(name, None, options)
    assert refused.value.remedy
