"""Files with columns of unusual names, and files with a fault in a line, which is named and never passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.errors import InputError
from studio.evaluation.collecting import DEFAULT, SetOptions, collect
from studio.evaluation.sets import RetrievalSet, SetKind, SimilaritySet, TripletSet
from studio.evaluation.trec_runs import of_trec_runs
from studio.pairs.roles import Roles


def lines(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return str(path)


def refusal(path: str, options: SetOptions = DEFAULT) -> InputError:
    with pytest.raises(InputError) as refused:
        collect(path, None, options)
    return refused.value


def answers(found: Any) -> list[tuple[str, str, float]]:
    assert isinstance(found, RetrievalSet)
    judged = found.judged
    named = judged.qrels.join(judged.queries, on="query_id").join(judged.corpus, on="passage_id")
    return sorted(named.select("text", "text_right", "relevance").iter_rows())


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_odd_columns_named_by_hand_are_read_in_every_format_and_kind(tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({"Frase A": ["um", "três"], "frase_b": ["dois", "quatro"], "nota": [2.5, 0.5]})
    texts = table.select("Frase A", "frase_b", pl.Series("errado", ["cinco", "seis"]))
    for name, frame in (("scored", table), ("texts", texts)):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "parquet":
            frame.write_parquet(path)
        elif suffix == "jsonl":
            frame.write_ndjson(path)
        else:
            frame.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    scored, three = (str(tmp_path / f"{name}.{suffix}") for name in ("scored", "texts"))
    pair = Roles(query="Frase A", positive="frase_b", score="nota")
    found = collect(scored, None, SetOptions(kind=SetKind.SIMILARITY, roles=pair))
    assert isinstance(found, SimilaritySet)
    assert found.pairs.drop("pair_id").rows() == [("um", "dois", 2.5), ("três", "quatro", 0.5)]
    # Without its kind a score says which passages answer.
    found = collect(scored, None, SetOptions(roles=pair))
    assert answers(found) == [("três", "quatro", 0.0), ("um", "dois", 1.0)]
    assert "passages count as answers from a `nota` of 1.25 on" in found.about.notes
    named = Roles(query="Frase A", positive="frase_b", negatives=("errado",))
    found = collect(three, None, SetOptions(kind=SetKind.TRIPLETS, roles=named))
    assert isinstance(found, TripletSet)
    assert found.triplets.drop("triplet_id").rows() == [("um", "dois", "cinco"), ("três", "quatro", "seis")]
    assert answers(collect(three, None, SetOptions(roles=named)))[0] == ("três", "quatro", 1.0)


def test_what_cannot_be_told_or_is_not_there_says_how_to_name_it(tmp_path: Path) -> None:
    path = lines(tmp_path / "odd.jsonl", {"frase": "a", "outra": "b", "nota": 1})
    assert refusal(path).remedy == "name them: --query COLUMN --positive COLUMN"
    both = Roles(query="frase", positive="outra")
    assert refusal(path, SetOptions(kind=SetKind.SIMILARITY, roles=both)).remedy == "name it: --score COLUMN"
    assert "--negative COLUMN" in (refusal(path, SetOptions(kind=SetKind.TRIPLETS, roles=both)).remedy or "")
    assert refusal(path, SetOptions(roles=Roles(query="frasse", positive="outra"))).remedy == "did you mean `frase`?"
    twice = refusal(path, SetOptions(roles=Roles(query="frase", positive="frase")))
    assert twice.what == "The column `frase` is named twice."


def test_one_sentence_named_by_hand_leaves_the_other_its_part(tmp_path: Path) -> None:
    path = lines(tmp_path / "s.jsonl", {"sentence1": "um", "sentence2": "dois", "score": 2})
    found = collect(path, None, SetOptions(roles=Roles(query="sentence2")))
    assert isinstance(found, SimilaritySet)
    assert found.pairs.select("left", "right").rows() == [("dois", "um")]
    # An empty name says that no column is the score, so the pairs are questions and answers.
    assert answers(collect(path, None, SetOptions(kind=SetKind.RETRIEVAL, roles=Roles(score="")))) == [
        ("um", "dois", 1.0)
    ]


@pytest.mark.parametrize(
    ("scores", "line", "why"),
    [
        (["muito", 2, 3], 1, "`score` is 'muito', not a finite number"),
        (["muito", None, None], 1, "'muito'"),
        ([2, None, 3], 2, "it has no score (`score`)"),
        ([None, None, None], 1, "it has no score"),
        ([1, 2, "2,5"], 3, "'2,5'"),
    ],
)
def test_a_score_that_cannot_be_read_is_refused_and_makes_no_other_kind(
    tmp_path: Path, scores: list[Any], line: int, why: str
) -> None:
    records = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": score} for i, score in enumerate(scores)]
    refused = refusal(lines(tmp_path / "sts.jsonl", *records))
    assert refused.where == f"{tmp_path / 'sts.jsonl'}:{line}"
    assert why in (refused.why or "")


def test_labels_are_numbers_or_say_yes_or_no(tmp_path: Path) -> None:
    rows = [{"query": f"q {i}", "passage": f"p {i}", "label": label} for i, label in enumerate(["true", "No", None, 1])]
    found = collect(lines(tmp_path / "l.jsonl", *rows), None)
    assert [grade for *_, grade in answers(found)] == [1.0, 0.0, 1.0, 1.0]
    assert "lines without `label`, whose passages count as answers: 1" in found.about.notes
    inference = [{"premise": "a", "hypothesis": "b", "label": label} for label in ("entailment", "contradiction")]
    assert "'entailment', not true, false or a finite number" in str(refusal(lines(tmp_path / "n.jsonl", *inference)))
    graded = [{"query": "a", "positive": "b", "relevance": "alta"}]
    assert "`relevance` is 'alta'" in (refusal(lines(tmp_path / "g.jsonl", *graded)).why or "")


@pytest.mark.parametrize("first", ["positive", "positives"])
def test_answers_in_columns_of_two_names_are_refused_and_not_lost(tmp_path: Path, first: str) -> None:
    other = {"positive": "positives", "positives": "positive"}[first]
    rows = [{"query": "a a", first: "x"}, {"query": "b b", other: "y"}, {"query": "c c", other: "z"}]
    refused = refusal(lines(tmp_path / "mixed.jsonl", *rows))
    wrong = 1 if first == "positive" else 2
    assert refused.where == f"{tmp_path / 'mixed.jsonl'}:{wrong}"
    assert refused.why == "it has no `positives`, where other lines have their answers, but `positive`"
    # In a table both columns are there, and one of them is null.
    pl.DataFrame(rows, schema=["query", first, other]).write_parquet(tmp_path / "mixed.parquet")
    assert "but `positive`" in (refusal(str(tmp_path / "mixed.parquet")).why or "")


def test_a_query_that_lacks_the_column_is_refused_and_one_with_an_empty_list_stays_counted(tmp_path: Path) -> None:
    rows = [{"query": "a a", "positives": ["x"]}, {"query": "b b", "positives": []}]
    found = collect(lines(tmp_path / "empty.jsonl", *rows), None)
    assert "queries without any judgement, which are left out: 1" in found.about.notes
    refused = refusal(lines(tmp_path / "typo.jsonl", *rows, {"query": "c c", "postives": ["y"]}))
    assert refused.where == f"{tmp_path / 'typo.jsonl'}:3"
    assert refused.why is not None and refused.why.endswith("answers: its columns are query, postives")
    assert "empty list" in (refused.remedy or "")


@pytest.mark.parametrize("field", ["query", "positives", "id"])
def test_half_a_surrogate_pair_is_refused_by_its_line(tmp_path: Path, field: str) -> None:
    whole = {"id": "1", "query": "a", "positives": ["b"]}
    halved = {"id": "2", "query": "c", "positives": ["d"]} | {field: ["\ud800"] if field == "positives" else "\ud800"}
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "half.jsonl", tmp_path / "folder" / "half.jsonl"):
        path.write_text(f"{json.dumps(whole)}\n{json.dumps(halved)}\n")
        refused = refusal(str(path if path.parent == tmp_path else path.parent))
        assert (refused.where or "").endswith("half.jsonl:2")
        assert "surrogate" in (refused.why or "")


@pytest.mark.filterwarnings("error")
def test_runs_are_scored_by_judgements_that_are_there_and_each_run_once(tmp_path: Path) -> None:
    run, qrels = tmp_path / "a.run", tmp_path / "q.txt"
    run.write_text("q1 Q0 d1 1 0.5 a\nq9 Q0 d1 1 0.5 a\n")
    qrels.write_text("q1 0 d1 one\n")
    with pytest.raises(InputError) as refused:
        of_trec_runs([run], qrels)
    assert refused.value.where == "q.txt:1"
    qrels.write_text("")
    with pytest.raises(InputError, match="no judgements") as refused:
        of_trec_runs([run], qrels)
    assert refused.value.where == "q.txt"
    qrels.write_text("q1 0 d1 1\nq2 0 d1 1\n")
    found = of_trec_runs([run, tmp_path / "." / "a.run"], qrels)
    assert [(one.name, one.overall["ndcg@10"]) for one in found.systems] == [("a", 0.5)]
    assert found.systems[0].notes == (
        "judged queries that it found nothing for, which count 0: 1 of 2",
        "queries of it that are not judged, and count nowhere: 1",
    )
