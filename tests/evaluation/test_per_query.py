"""Two systems query by query: wins and losses, ranks and their moves, and one query laid open."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.evaluation.comparison import pair
from studio.evaluation.per_query import QUERY_LINE, against, detail, subsets
from studio.evaluation.sets import About, SimilaritySet
from studio.evaluation.systems import SystemClass
from tests.evaluation.judging import evaluation, ranked, retrieval_set, system

PASSAGES = [f"p{number:02}" for number in range(30)]
QRELS = {
    "q0": {"p00": 1.0, "p01": 2.0, "p29": -1.0, "outside": 3.0},
    "q1": {"p00": 1.0},
    "q2": {"p05": 1.0},
    "q3": {"p07": 1.0, "p09": 0.0},
}
ATTRIBUTES = pl.DataFrame({"query_id": ["q0"], "language": ["pt"], "tags": [["prazo"]]})
SET = retrieval_set(QRELS, PASSAGES, ATTRIBUTES, {"q2": "equals the query of row 7"})
A = ranked(SET, [["p01", "p29", "p00", "p03"], ["p02"], ["p04", "p05"], ["p07"]], 20)
B = ranked(SET, [["p02", *PASSAGES[10:22], "p01"], ["p00"], ["p03", "p05"], ["p09", "p07"]], 20)
MADE = evaluation(
    SET,
    system(SET, "a", A),
    system(SET, "b", B),
    system(SET, "scores", values={"ndcg@10": [1, 1, 1, 1]}),
    system(SET, "words", B, of_class=SystemClass.LEXICAL),
)


def test_wins_losses_and_ranks() -> None:
    found = against(MADE, "a", "b")
    assert found.queries.schema == QUERY_LINE and found.metric == "ndcg@10"
    assert found.queries["query_id"].to_list() == list(QRELS)
    assert found.queries["outcome"].to_list() == ["win", "loss", "tie", "win"] and found.tally == (2, 1, 1)
    assert found.queries["rank_a"].to_list() == [1, None, 2, 1]
    assert found.queries["rank_b"].to_list() == [14, 1, 2, 2]
    assert found.queries["relevant"].to_list() == [3, 1, 1, 1]
    assert found.queries["leaked"].to_list() == [None, None, "equals the query of row 7", None]
    assert found.regressions.tolist() == [1] and found.gains.tolist() == [0, 3]
    moves = {bucket.name: bucket.queries for bucket in found.moves}
    assert moves == {
        "found": 0, "up 11 or more": 1, "up 4 to 10": 0, "up 1 to 3": 1, "same rank": 1, "found by neither": 0,
        "down 1 to 3": 0, "down 4 to 10": 0, "down 11 or more": 0, "lost": 1,
    }  # fmt: skip
    assert found.judgement == pair(MADE, "a", "b").judgement and found.judgement.difference.n == 4
    back = against(MADE, "b", "a")
    assert back.queries["delta"].to_list() == [-delta for delta in found.queries["delta"]]
    assert back.regressions.tolist() == [0, 3] and back.tally == (1, 1, 2)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=20))
def test_every_query_is_in_one_bucket(places: list[tuple[int, int]]) -> None:
    evaluated = retrieval_set({f"q{at}": {"p00": 1} for at in range(len(places))}, PASSAGES)
    runs = [
        ranked(evaluated, [[*PASSAGES[1 : rank or 21], *(["p00"] if rank else [])] for rank in side], 20)
        for side in zip(*places, strict=True)
    ]
    made = evaluation(evaluated, *(system(evaluated, name, run) for name, run in zip("ab", runs, strict=True)))
    found = against(made, "a", "b")
    assert sum(bucket.queries for bucket in found.moves) == len(places)
    signs = Counter(bucket.up for bucket in found.moves for _ in range(bucket.queries))
    truth = Counter(int(np.sign((b or 99) - (a or 99))) for a, b in places)
    assert signs == truth
    assert found.queries["rank_a"].to_list() == [a or None for a, _ in places]


def test_without_a_ranking_there_are_values_and_no_ranks() -> None:
    found = against(MADE, "scores", "b")
    assert found.moves == () and found.queries["rank_a"].null_count() == 4 and found.queries["rank_b"][0] == 14
    assert found.tally.wins == 3


def test_one_query_laid_open() -> None:
    found = detail(MADE, "q0", ["a", "words", "scores"], first=3)
    assert (found.text, found.language, found.source, found.tags) == ("pergunta q0", "pt", None, ("prazo",))
    assert [(gold.passage_id, gold.text, gold.grade) for gold in found.gold] == [
        ("outside", None, 3.0),
        ("p01", "trecho p01", 2.0),
        ("p00", "trecho p00", 1.0),
    ]
    outside, first, second = found.gold
    assert outside.places == {"a": None, "words": None}
    assert first.places == {"a": (1, 1.0), "words": (14, pytest.approx(1 / 14))}
    assert second.places == {"a": (3, pytest.approx(1 / 3)), "words": None}
    assert [(hit.passage_id, hit.text, hit.rank, hit.grade) for hit in found.retrieved["a"]] == [
        ("p01", "trecho p01", 1, 2.0),
        ("p29", "trecho p29", 2, -1.0),
        ("p00", "trecho p00", 3, 1.0),
    ]
    assert found.retrieved["words"][0].grade is None and "scores" not in found.retrieved
    leaked = detail(MADE, "q2")
    assert leaked.leaked == "equals the query of row 7" and list(leaked.retrieved) == ["a", "b", "words"]
    assert [hit.passage_id for hit in leaked.retrieved["a"]] == ["p04", "p05"]
    for query, systems, why in (("q9", [], "no query `q9`"), ("q0", ["nobody"], "no system `nobody`")):
        with pytest.raises(UsageError, match=why):
            detail(MADE, query, systems)


def test_what_training_has_seen_is_apart() -> None:
    found = subsets(MADE)
    assert found.overlap.tolist() == [False, False, True, False] == (~found.clean).tolist()


def test_only_equals_and_only_rankings() -> None:
    with pytest.raises(UsageError, match="dense is not compared with lexical"):
        against(MADE, "a", "words")
    pairs = pl.DataFrame({"pair_id": ["0"], "left": ["a"], "right": ["b"], "score": [1.0]})
    with pytest.raises(UsageError, match="a set of similarity"):
        subsets(evaluation(SimilaritySet(pairs, About("sts", ""))))
