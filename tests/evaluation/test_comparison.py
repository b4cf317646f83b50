"""The table of systems: who is compared with whom, by how much, and who with nobody and why."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from studio.errors import UsageError
from studio.evaluation.caveats import same_system
from studio.evaluation.comparison import compare, pair, refusal
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.scores import intervals, tally
from studio.evaluation.sets import About, SimilaritySet
from studio.evaluation.significance import paired
from studio.evaluation.similarity import spearman_difference
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Reranked, SystemClass
from studio.evaluation.verdict import Verdict
from tests.evaluation.judging import evaluation, retrieval_set, system

N = 80
SET = retrieval_set({f"q{n}": {"p": 1} for n in range(N)}, ["p"], leaked={"q3": "same query as row 1"})
BASE = np.random.default_rng(1).random(N)


def known(name: str, shift: float = 0.0, **more) -> SystemResult:
    return system(SET, name, values={"ndcg@10": BASE + shift, "mrr@10": np.full(N, 0.5)}, **more)


def of(system_: object, of_class: SystemClass = SystemClass.DENSE, name: str = "x") -> SystemResult:
    return known(name, of_class=of_class, system=system_)


def test_each_system_is_compared_with_the_first_of_its_class() -> None:
    noisy = SystemResult("noisy", None, SystemClass.DENSE, {"ndcg@10": BASE[::-1]}, {})
    found = compare(
        evaluation(
            SET,
            known("bm25", of_class=SystemClass.LEXICAL),
            known("base"),
            known("better", 0.1),
            noisy,
            known("fused", of_class=SystemClass.HYBRID),
            known("foreign", of_class=SystemClass.UNKNOWN),
            SystemResult("broken", None, SystemClass.DENSE, {}, {}, error="its weights are not there"),
            SystemResult("other", None, SystemClass.DENSE, {"mrr@10": BASE}, {}),
        )
    )
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["bm25", "base", "better", "noisy", "fused", "foreign", "broken", "other"]
    assert [name for name, row in rows.items() if row.is_reference] == ["bm25", "base", "fused"]
    better = rows["better"]
    assert better.difference == paired(BASE + 0.1, BASE) and better.reference == "base"
    assert better.judgement is not None and better.judgement.verdict is Verdict.WIN
    assert (better.wins, better.ties, better.losses) == (N, 0, 0)
    assert better.p_holm == pytest.approx(2 * better.difference.p)
    assert rows["noisy"].difference is not None and rows["noisy"].p_holm == rows["noisy"].difference.p
    assert better.low is not None and better.score is not None and better.high is not None
    assert better.low < better.score < better.high and better.score == pytest.approx((BASE + 0.1).mean())
    assert "compared with nothing" in rows["foreign"].refused and rows["foreign"].score is not None
    assert (rows["broken"].error, rows["broken"].score) == ("its weights are not there", None)
    assert rows["other"].refused == "other has no values of ndcg@10" and rows["other"].score is None
    notes = "\n".join(found.notes)
    assert "80 queries" in notes and "2 of 8 systems are compared with nothing" in notes
    assert "1 of 8 systems could not be run" in notes and "1 of 80 queries is leaked" in notes
    assert f"{better.difference.minimal:.4f} to {rows['noisy'].difference.minimal:.4f}" in notes


def test_a_reference_can_be_named() -> None:
    lexical, foreign = known("bm25", of_class=SystemClass.LEXICAL), known("foreign", of_class=SystemClass.UNKNOWN)
    made = evaluation(SET, known("base"), known("better", 0.1), lexical, foreign)
    found = compare(made, references={SystemClass.DENSE: "better"})
    assert [row.is_reference for row in found.rows] == [False, True, True, False]
    first = found.rows[0]
    assert first.judgement is not None and first.judgement.verdict is Verdict.REGRESSION and first.losses == N
    for wanted, why in (
        ({SystemClass.DENSE: "nobody"}, "`base`"),
        ({SystemClass.DENSE: "bm25"}, "it is lexical"),
        ({SystemClass.UNKNOWN: "foreign"}, "compared with nothing"),
    ):
        with pytest.raises(UsageError, match=why):
            compare(made, references=wanted)
    with pytest.raises(UsageError, match="no values of map@100"):
        compare(made, "map@100", {SystemClass.DENSE: "base"})


def test_a_table_of_part_of_the_queries() -> None:
    half = np.arange(N) < 40
    made = evaluation(SET, known("base"), known("better", 0.1))
    found = compare(made, only=half)
    assert found.n == 40 and "40 of 80 queries" in found.notes[0]
    assert found.rows[1].difference == paired(BASE[half] + 0.1, BASE[half])
    assert found.rows[0].score == pytest.approx(BASE[half].mean())
    with pytest.raises(UsageError, match="No query is left"):
        compare(made, only=np.zeros(N, np.bool_))
    with pytest.raises(ValueError, match="80 queries"):
        compare(made, only=np.zeros(3, np.bool_))


def test_two_systems_by_name() -> None:
    made = evaluation(SET, known("base"), known("better", 0.1), known("bm25", of_class=SystemClass.LEXICAL))
    found = pair(made, "better", "base")
    assert found.judgement.line.startswith("VERDICT: WIN") and found.tally == (N, 0, 0)
    assert found.judgement.difference == paired(BASE + 0.1, BASE)
    with pytest.raises(UsageError, match="dense is not compared with lexical"):
        pair(made, "base", "bm25")
    with pytest.raises(UsageError, match="no system `nobody`"):
        pair(made, "base", "nobody")
    with pytest.raises(UsageError, match="no values of map@100"):
        pair(made, "base", "better", "map@100")


M, OTHER = Dense(model="m"), Dense(model="other")
SMALL, CODED = Dense(model="m", dim=64), Dense(model="other", precision="int8")


def test_a_cut_model_is_compared_with_its_own_whole_vectors_and_no_cut_one_is_a_default_reference() -> None:
    made = evaluation(
        SET,
        known("small", -0.1, system=SMALL),
        known("base", system=M),
        known("coded", -0.2, system=CODED),
        known("other", 0.1, system=OTHER),
        known("third", system=Dense(model="third", dim=64)),
    )
    rows = {row.name: row for row in compare(made).rows}
    assert {name: row.reference for name, row in rows.items()} == {
        "small": "base",
        "base": "",
        "coded": "other",
        "other": "base",
        "third": "",
    }
    assert rows["base"].is_reference and "of another model" in rows["third"].refused


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (of(M), of(OTHER), ""),
        (of(M), of(SMALL), ""),
        (of(OTHER), of(CODED), ""),
        (of(M), of(CODED), "all dimensions in int8 of another model"),
        (of(SMALL), of(OTHER), "64 dimensions in float32 are not compared"),
        (of(SMALL), of(Dense(model="other", dim=64)), ""),
        (of(Dense(run="r")), of(Dense(run="r", at="baseline")), ""),
        (of(M), of(None), ""),
        (of(SMALL), of(None), "are cut or coded, and it is not known"),
        (of(Given(path="a.run")), of(CODED), "are cut or coded, and it is not known"),
        (of(Given(path="a.run")), of(M), ""),
        (of(Lexical(), SystemClass.LEXICAL), of(Lexical(words="plain"), SystemClass.LEXICAL), ""),
        (of(M), of(Lexical(), SystemClass.LEXICAL), "dense is not compared with lexical"),
        (of(Hybrid(parts=(M, Lexical())), SystemClass.HYBRID), of(Hybrid(parts=(OTHER, M)), SystemClass.HYBRID), ""),
        (
            of(Hybrid(parts=(M, Lexical())), SystemClass.HYBRID),
            of(Hybrid(parts=(CODED, Lexical())), SystemClass.HYBRID),
            "int8",
        ),
        (
            of(Reranked(first=SMALL, model="r"), SystemClass.RERANKED),
            of(Reranked(first=OTHER, model="r"), SystemClass.RERANKED),
            "64 dimensions",
        ),
        (of(M, SystemClass.UNKNOWN), of(M, SystemClass.UNKNOWN), "is not known"),
    ],
)
def test_only_equals_are_compared(a: SystemResult, b: SystemResult, why: str) -> None:
    for found in (refusal(a, b), refusal(b, a)):
        # Each side is named first in its own refusal.
        assert (why.split()[0] in found) if why else not found
    assert why in refusal(a, b)


def test_every_metric_has_an_interval() -> None:
    made = evaluation(SET, known("base"), SystemResult("none", None, SystemClass.DENSE, {}, {}, error="x"))
    found = intervals(made)
    assert found["none"] == {} and list(found["base"]) == ["ndcg@10", "mrr@10"]
    assert found["base"]["mrr@10"] == (0.5, 0.5, 0.5)
    table = compare(made).rows[0]
    assert found["base"]["ndcg@10"] == pytest.approx((table.score, table.low, table.high), abs=0.01)


def test_pairs_are_compared_by_their_correlation() -> None:
    rng = np.random.default_rng(2)
    gold = np.round(rng.random(60) * 5, 1)
    pairs = pl.DataFrame({"pair_id": [str(n) for n in range(60)], "left": "a", "right": "b", "score": gold})
    good, bad = gold + rng.normal(0, 0.5, 60), gold + rng.normal(0, 4, 60)
    systems = [
        SystemResult(name, None, SystemClass.DENSE, {"cosine": cosines}, {"spearman": 0.0})
        for name, cosines in (("bad", bad), ("good", good), ("broken", np.full(60, math.nan)))
    ]
    made = Evaluation("e", SimilaritySet(pairs, About("sts", "")), "spearman", ("spearman",), tuple(systems))
    first, second, third = compare(made).rows
    assert second.difference == spearman_difference(good, bad, gold)
    assert second.judgement is not None and second.judgement.verdict is Verdict.WIN
    assert first.score is not None and second.score is not None and first.score < second.score
    assert (second.wins, second.ties, second.losses) == (0, 0, 0)
    assert third.score is None and third.judgement is None and "is no number" in third.refused
    assert "60 pairs" in compare(made).notes[0]
    assert all("no values of cosine" in row.refused for row in compare(made, "cosine").rows)


def test_what_differs_in_its_last_bits_is_a_tie() -> None:
    assert tally(np.array([0.1 + 0.2, 1.0, 0.0]), np.array([0.3, 0.0, 1.0])) == (1, 1, 1)


def test_people_who_say_the_same_of_all_pairs_give_no_correlation_and_the_row_says_so() -> None:
    pairs = pl.DataFrame({"pair_id": ["0", "1", "2"], "left": "a", "right": "b", "score": [3.0, 3.0, 3.0]})
    flat = SystemResult("flat", None, SystemClass.DENSE, {"cosine": np.array([0.1, 0.2, 0.3])}, {"spearman": math.nan})
    made = Evaluation("e", SimilaritySet(pairs, About("sts", "")), "spearman", ("spearman",), (flat,))
    row = compare(made).rows[0]
    assert "people gave every pair the same score" in row.refused and not row.is_reference


def test_notes_tell_of_one_system_under_two_names_and_of_texts_that_are_read_in_two_ways() -> None:
    read = {"model": "m", "query_prompt": "q: ", "document_prompt": "", "max_length": 64}
    run = Dense(run="first")
    made = evaluation(
        SET,
        known("base", system=M, described=read),
        known("longer", 0.1, system=OTHER, described={**read, "model": "other", "max_length": 512}),
        known("again", system=Dense(), described=read),
        known("after", 0.2, system=run, described={**read, "query_prompt": "x: "}),
        known("first", 0.2, system=run, described={"model": "its base"}),
    )
    notes = "\n".join(compare(made).notes)
    assert "base and again: the same system stands there twice" in notes
    assert "after and first: the same system stands there twice and counts twice in Holm's correction" in notes
    assert "longer and base differ in where texts are cut (512 and 64 tokens)" in notes
    assert "after and base differ in their prompts" in notes and notes.count("differ in") == 2


def test_two_runs_of_other_tools_are_one_only_if_their_files_are() -> None:
    def given(name: str, **described: str) -> SystemResult:
        return known(name, system=Given(path=f"{name}.run"), described={"tag": "x", **described})

    files = given("c", sha256="1"), given("d", sha256="1"), given("e", sha256="2")
    assert not same_system(given("a"), given("b")) and same_system(given("a"), given("a"))
    assert same_system(*files[:2]) and not same_system(*files[1:]) and not same_system(given("a"), known("m", system=M))


def test_no_difference_is_promised_that_the_metric_cannot_have() -> None:
    two = retrieval_set({"q1": {"p": 1}, "q2": {"p": 1}}, ["p"])
    made = evaluation(two, *(system(two, name, values={"ndcg@10": values}) for name, values in
                             (("a", [0.0, 1.0]), ("b", [1.0, 0.0]))))  # fmt: skip
    assert any("even the largest difference possible" in note for note in compare(made).notes)
