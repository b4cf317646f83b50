"""Sets keep trec_eval's order and an identity of their own; judgements and runs are read as TREC's tools write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InputError, UsageError
from studio.evaluation.sets import About, Judged, RetrievalSet, SimilaritySet, TripletSet, difference
from studio.evaluation.trec import QRELS, RUN, read_qrels, read_run, write_run

ID = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
ID = ID.filter(lambda text: text.split() == [text])


def judged(*qrels: tuple[str, str, float]) -> Judged:
    queries = pl.DataFrame({"query_id": ["q1", "q2"], "text": ["qual o prazo", "quanto custa"]})
    corpus = pl.DataFrame({"passage_id": ["a", "c", "b"], "text": ["dez dias", "vinte reais", "até sexta"]})
    return Judged(queries, corpus, pl.DataFrame(list(qrels), schema=QRELS, orient="row"))


def test_the_corpus_is_put_in_the_order_in_which_trec_eval_breaks_ties() -> None:
    made = RetrievalSet.of(judged(("q1", "a", 1.0)), About("x", "y"))
    assert made.judged.corpus["passage_id"].to_list() == ["c", "b", "a"]
    assert made.judged.corpus["text"].to_list() == ["vinte reais", "até sexta", "dez dias"]


def test_attributes_have_one_line_a_query_and_null_where_nothing_is_known() -> None:
    known = pl.DataFrame({"query_id": ["q2", "zz"], "language": ["pt", "en"], "tags": [["preço"], []]})
    made = RetrievalSet.of(judged(("q1", "a", 1.0)), About("x", "y"), known)
    assert made.attributes.rows() == [("q1", None, None, []), ("q2", "pt", None, ["preço"])]
    assert made.leaked.is_empty()


def test_equal_identities_are_of_the_same_test_in_any_order() -> None:
    one = RetrievalSet.of(judged(("q1", "a", 1.0), ("q2", "b", 2.0)), About("x", "y"))
    other = judged(("q2", "b", 2.0), ("q1", "a", 1.0))
    other = other._replace(queries=other.queries.reverse(), corpus=other.corpus.reverse())
    assert RetrievalSet.of(other, About("other", "elsewhere")).identity == one.identity
    assert RetrievalSet.of(judged(("q1", "a", 1.0), ("q2", "b", 1.0)), About("x", "y")).identity != one.identity


def test_pairs_and_triplets_know_their_size_and_identity() -> None:
    pairs = pl.DataFrame({"pair_id": ["s1"], "left": ["a"], "right": ["b"], "score": [2.5]})
    items = pl.DataFrame({"triplet_id": ["t1"], "anchor": ["a"], "positive": ["b"], "negative": ["c"]})
    assert SimilaritySet(pairs, About("x", "y")).size == TripletSet(items, About("x", "y")).size == 1
    changed = pairs.with_columns(score=pl.lit(3.0))
    assert SimilaritySet(pairs, About("x", "y")).identity != SimilaritySet(changed, About("x", "y")).identity


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trec.txt", "q1 0 d1 2\nq1 0 d2 0\n\nq2 0 d1 -1\n"),
        ("trec-tabs.qrels", "q1\t0\td1\t2\nq1\t0\td2\t0\nq2\t0\td1\t-1\n"),
        ("beir.tsv", "query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\nq2\td1\t-1\r\n"),
        ("named.csv", "QUERY_ID,DOC_ID,SCORE,ENGINE\nq1,d1,2,x\nq1,d2,0,x\nq2,d1,-1,x\n"),
        (
            "lines.jsonl",
            '{"query-id": "q1", "corpus-id": "d1", "score": 2}\n{"qid": "q1", "docid": "d2", "relevance": 0}\n'
            '{"query_id": "q2", "passage_id": "d1", "label": -1.0}\n',
        ),
    ],
)
def test_judgements_are_read_in_every_layout(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = read_qrels(tmp_path / name)
    assert found.schema == QRELS
    assert found.rows() == [("q1", "d1", 2.0), ("q1", "d2", 0.0), ("q2", "d1", -1.0)]


def test_a_list_of_passages_is_a_judgement_each_and_numbers_are_ids(tmp_path: Path) -> None:
    pl.DataFrame({"query-id": [7, 8], "positive-corpus-ids": [["1", "2"], ["3"]]}).write_parquet(tmp_path / "q.parquet")
    assert read_qrels(tmp_path / "q.parquet").rows() == [("7", "1", 1.0), ("7", "2", 1.0), ("8", "3", 1.0)]


def test_a_judgement_said_twice_counts_once_and_a_contradiction_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("q1 0 d1 1\nq1 0 d1 1\n")
    assert read_qrels(tmp_path / "q.txt").height == 1
    (tmp_path / "q.txt").write_text("q1 0 d1 1\nq2 0 d1 1\nq1 0 d1 2\n")
    with pytest.raises(InputError, match="contradict") as refused:
        read_qrels(tmp_path / "q.txt")
    assert refused.value.where == "q.txt:3"
    assert "line 1" in (refused.value.why or "")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("q1 0 d1 1\nq1 d2\n", 2, "2 columns"),
        ("q1 0 d1 1\nq1 0 d2 high\n", 2, "not a finite number"),
        ("q1 0 d1 nan\n", 1, "not a finite number"),
    ],
)
def test_a_wrong_judgement_is_named_by_file_and_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    (tmp_path / "q.qrels").write_text("q0 0 d0 1\n" + text)
    with pytest.raises(InputError) as refused:
        read_qrels(tmp_path / "q.qrels")
    assert refused.value.where == f"q.qrels:{line + 1}"
    assert why in (refused.value.why or "")


@pytest.mark.parametrize("first", ["q1 0 d1 one", "q1\td1\thigh", "query 0 d1 one", "d1 q1 score"])
def test_a_first_line_is_passed_over_only_if_it_names_columns(tmp_path: Path, first: str) -> None:
    (tmp_path / "q.txt").write_text(f"{first}\nq1 0 d2 1\n")
    with pytest.raises(InputError, match="cannot be used") as refused:
        read_qrels(tmp_path / "q.txt")
    assert refused.value.where == "q.txt:1"
    assert "query-id, corpus-id and score" in (refused.value.remedy or "")
    for names in ("query-id corpus-id score", "qid iter docno rel", "Topic iteration document relevance"):
        (tmp_path / "q.txt").write_text(f"{names}\nq1 0 d2 1\n")
        assert read_qrels(tmp_path / "q.txt").rows() == [("q1", "d2", 1.0)]


@pytest.mark.parametrize("text", ["", "\n\n", "query-id\tcorpus-id\tscore\n"])
def test_judgements_that_are_none_are_refused_by_the_files_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(InputError, match="no judgements") as refused:
        read_qrels(tmp_path / "q.txt")
    assert refused.value.where == "q.txt"


def test_what_two_sets_differ_in_is_counted() -> None:
    one = RetrievalSet.of(judged(("q1", "a", 1.0), ("q2", "b", 2.0)), About("x", "y"))
    more = judged(("q1", "a", 1.0), ("q2", "b", 1.0), ("q2", "c", 1.0))
    assert difference(one, RetrievalSet.of(more, About("x", "y")), ("main", "later")) == (
        "judgements: 1 alike in both, 1 only in later, 1 changed under their ids; the same: queries, passages"
    )
    less = more._replace(corpus=more.corpus.head(1), queries=more.queries.with_columns(text=pl.lit("outra")))
    assert difference(one, RetrievalSet.of(less._replace(qrels=one.judged.qrels), About("x", "y")), ("a", "b")) == (
        "queries: 2 changed under their ids; passages: 1 alike in both, 2 only in a; the same: judgements"
    )
    pairs = pl.DataFrame({"pair_id": ["s1"], "left": ["a"], "right": ["b"], "score": [2.5]})
    first, second = (SimilaritySet(pairs.with_columns(score=pl.lit(s)), About("x", "y")) for s in (1.0, 2.0))
    assert difference(first, second, ("a", "b")) == "pairs: 1 changed under their ids"
    assert difference(one, first, ("a", "b")) == "a asks of retrieval, b of similarity"


def test_a_run_is_read_with_its_scores_whatever_its_ranks_say(tmp_path: Path) -> None:
    text = "q1 Q0 d1 9 0.5 bm25\nq1\tQ0\td2\t1\t7.25e-1\tbm25\n"
    (tmp_path / "run.txt.gz").write_bytes(gzip.compress(text.encode()))
    found = read_run(tmp_path / "run.txt.gz")
    assert found.schema == RUN
    assert found.rows() == [("q1", "d1", 0.5, "bm25"), ("q1", "d2", 0.725, "bm25")]


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("q1 Q0 d1 1 0.5 a\nq1 Q0 d2 2 0.4\n", "run:2", "5 columns"),
        ("q1 Q0 d1 1 nan a\n", "run:1", "not a finite number"),
        ("q1 Q0 d1 1 0.5 a\nq1 Q0 d2 2 0.4 a\nq1 Q0 d1 3 0.3 a\n", "run:3", "also in line 1"),
        ("q1 Q0 d\xff 1 0.5 a\n", "run:1", "UTF-8"),
        ("", None, "no line"),
    ],
)
def test_a_wrong_run_is_named_by_file_and_line(tmp_path: Path, text: str, where: str | None, why: str) -> None:
    (tmp_path / "run").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as refused:
        read_run(tmp_path / "run")
    assert where is None or refused.value.where == where
    assert why in (refused.value.why or "")


@given(
    st.dictionaries(st.tuples(ID, ID), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    st.booleans(),
)
def test_what_is_written_is_read_again_and_ranks_as_trec_eval_does(
    tmp_path_factory: pytest.TempPathFactory, scores: dict[tuple[str, str], float], compressed: bool
) -> None:
    path = tmp_path_factory.mktemp("run") / ("run.gz" if compressed else "run.txt")
    run = pl.DataFrame(
        [(*ids, score) for ids, score in scores.items()], schema=["query_id", "passage_id", "score"], orient="row"
    )
    write_run(path, run, "mine")
    found = read_run(path)
    assert {(query, passage): score for query, passage, score, _ in found.iter_rows()} == scores
    assert (
        found["query_id"].unique(maintain_order=True).to_list() == run["query_id"].unique(maintain_order=True).to_list()
    )
    for _, one in found.group_by("query_id", maintain_order=True):
        order = list(zip(one["score"], one["passage_id"], strict=True))
        assert order == sorted(order, reverse=True)


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    run = pl.DataFrame({"query_id": ["q 1"], "passage_id": ["d1"], "score": [1.0]})
    with pytest.raises(InputError, match="TREC"):
        write_run(tmp_path / "run", run, "mine")
    with pytest.raises(InputError, match="TREC"):
        write_run(tmp_path / "run", run.with_columns(query_id=pl.lit("q1"), score=pl.lit(float("nan"))), "mine")
    with pytest.raises(UsageError):
        write_run(tmp_path / "run", run, "two words")
    assert not (tmp_path / "run").exists()
