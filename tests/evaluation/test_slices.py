"""Parts of the queries: which query is in which, and what is said of a difference in each."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.significance import holm, paired
from studio.evaluation.slices import SLICES, slices
from studio.evaluation.systems import SystemClass
from tests.evaluation.judging import JUDGED, evaluation, system

N = 60
RNG = np.random.default_rng(2)
BASE = RNG.random(N)
PT = np.arange(N) < 40
OTHER = np.where(PT, BASE + 0.2, BASE - RNG.random(N) * 0.1)


def made_of(texts: list[str], attributes: pl.DataFrame | None = None, leaked: list[str] | None = None) -> RetrievalSet:
    queries = pl.DataFrame({"query_id": [f"q{at}" for at in range(len(texts))], "text": texts})
    corpus = pl.DataFrame({"passage_id": ["p"], "text": ["trecho"]})
    why = None if leaked is None else pl.DataFrame({"query_id": leaked, "why": ["seen"] * len(leaked)})
    return RetrievalSet.of(Judged(queries, corpus, pl.DataFrame(schema=JUDGED)), About("t", ""), attributes, why)


@pytest.fixture(scope="module")
def made() -> Evaluation:
    attributes = pl.DataFrame(
        {
            "query_id": [f"q{at}" for at in range(N)],
            "language": ["pt" if pt else "en" for pt in PT[:-1]] + [None],
            "tags": [["prazo", "multa"] if at < 3 else ["prazo"] if at < 30 else [] for at in range(N)],
        }
    )
    evaluated = made_of(["a" * (at + 1) for at in range(N)], attributes, ["q1", "q2", "q3", "q4", "q5"])
    return evaluation(
        evaluated,
        system(evaluated, "new", values={"ndcg@10": OTHER}),
        system(evaluated, "old", values={"ndcg@10": BASE}),
        system(evaluated, "bm25", values={"ndcg@10": BASE}, of_class=SystemClass.LEXICAL),
    )


def test_each_language_is_compared_for_itself(made: Evaluation) -> None:
    found = slices(made, "language", a="new", b="old")
    assert [(row.name, row.n) for row in found] == [("pt", 40), ("en", 19), ("not known", 1)]
    pt, en, unknown = found
    english = ~PT & (np.arange(N) < N - 1)
    assert pt.difference == paired(OTHER[PT], BASE[PT]) and en.difference == paired(OTHER[english], BASE[english])
    assert [pt.p_holm, en.p_holm] == holm([pt.difference.p, en.difference.p])
    assert pt.tally is not None and pt.tally.wins == 40 and en.difference.high < 0
    assert list(pt.scores) == ["new", "old"] and pt.scores["old"].value == pytest.approx(BASE[PT].mean())
    assert unknown.difference is None and unknown.p_holm is None and "too few" in unknown.note
    assert unknown.tally is not None and sum(unknown.tally) == 1


def test_a_query_is_in_the_slice_of_each_of_its_tags(made: Evaluation) -> None:
    found = slices(made, "tag", a="new", b="old")
    assert [(row.name, row.n) for row in found] == [("prazo", 30), ("multa", 3), ("without a tag", 30)]
    assert found[1].difference is None and found[0].p_holm is not None


def test_lengths_are_quarters_and_leaks_apart(made: Evaluation) -> None:
    found = slices(made, "length")
    assert [row.name for row in found] == [f"{low} to {low + 14} characters" for low in (1, 16, 31, 46)]
    assert all(row.n == 15 and row.difference is None and list(row.scores) == ["new", "old", "bm25"] for row in found)
    assert [(row.name, row.n) for row in slices(made, "words")] == [("1 word", 60)]
    clean, leaked = slices(made, "leaked", a="new", b="old")
    assert (clean.n, leaked.n) == (55, 5) and leaked.difference is not None
    assert [row.name for row in slices(made, "source")] == ["not known"]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40))
def test_every_query_is_in_one_quarter(lengths: list[int]) -> None:
    evaluated = made_of(["á", *("á" * length for length in lengths)])
    parts = SLICES["length"](evaluation(evaluated))
    assert (np.sum([held for _, held in parts], axis=0) == 1).all() and len(parts) <= 4
    assert len({name for name, _ in parts}) == len(parts)


def test_queries_without_texts_have_no_length() -> None:
    for by in ("length", "words"):
        with pytest.raises(UsageError, match="cannot be sliced by their length"):
            SLICES[by](evaluation(made_of(["", ""])))


def test_what_cannot_be_sliced(made: Evaluation) -> None:
    for by, a, b, why in (
        ("colour", "", "", "leaked"),
        ("length", "new", "bm25", "not compared with lexical"),
        ("length", "nobody", "", "no system"),
    ):
        with pytest.raises(UsageError, match=why):
            slices(made, by, a=a, b=b)
