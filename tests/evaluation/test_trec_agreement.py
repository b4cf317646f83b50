"""trec_eval itself, through pytrec_eval, on the same runs: every metric of every query to 1e-9."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from studio.evaluation.metrics import F64, METRICS, Qrels, by_query, trec_order
from studio.evaluation.trec import write_run
from studio.evaluation.trec_runs import of_trec_runs
from studio.evaluation.trec_scores import positions
from studio.models.neighbours import nearest

Runs = dict[str, dict[str, float]]
Judgements = dict[str, dict[str, int]]
KS = (1, 5, 10, 50, 100)
NAMES = [f"{kind}@{k}" for kind in ("ndcg", "recall", "map", "success") for k in KS]
_THEIRS = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut", "success": "success"}


def run_table(runs: Runs) -> pl.DataFrame:
    lines = [(query, passage, score) for query, run in runs.items() for passage, score in run.items()]
    schema = {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}
    return pl.DataFrame(lines, schema=schema, orient="row")


def qrels_table(qrels: Judgements) -> pl.DataFrame:
    lines = [(query, passage, grade) for query, grades in qrels.items() for passage, grade in grades.items()]
    schema = {"query_id": pl.String, "passage_id": pl.String, "relevance": pl.Float64}
    return pl.DataFrame(lines, schema=schema, orient="row")


def trec(runs: Runs, qrels: Judgements) -> dict[str, dict[str, float]]:
    """trec_eval's values by query; a query that it does not know of counts as 0 (`-c`)."""
    depths = ",".join(map(str, KS))
    asked = {f"{name}.{depths}" for name in _THEIRS.values()} | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(runs)
    values = {}
    for query in qrels:
        theirs = found.get(query, {})
        values[query] = {f"{kind}@{k}": theirs.get(f"{_THEIRS[kind]}_{k}", 0.0) for kind in _THEIRS for k in KS}
        # trec_eval does not cut the reciprocal rank.
        reciprocal = theirs.get("recip_rank", 0.0)
        values[query]["mrr@10"] = reciprocal if reciprocal >= 1 / 10.5 else 0.0
    return values


def studio(runs: Runs, qrels: Judgements) -> dict[str, F64]:
    """The values of all judged queries, in the order of their ids."""
    queries = pl.Series(sorted(qrels), dtype=pl.String)
    run, judged = run_table(runs), qrels_table(qrels)
    passages = pl.concat([run["passage_id"], judged["passage_id"]]).unique()
    ranked, _ = positions(run, queries, passages, max(KS))
    return by_query(ranked, Qrels.of(queries, passages, judged), [*NAMES, "mrr@10"])


def largest_difference(mine: Mapping[str, F64], theirs: dict[str, dict[str, float]]) -> float:
    return max(
        abs(float(values[at]) - theirs[query][name])
        for name, values in mine.items()
        for at, query in enumerate(sorted(theirs))
    )


def drawn(seed: int, queries: int = 40, passages: int = 300) -> tuple[Runs, Judgements]:
    """Runs with ties and self-hits, deep and short and missing ones; grades from -2 to 3, of passages found or not.

    No query has grades below 0 alone: trec_eval then writes outside its memory.
    """
    rng = random.Random(seed)
    ids = [f"{rng.choice('abAZé9')}{number}" for number in range(passages)]
    runs: Runs = {}
    qrels: Judgements = {}
    for query in ids[:queries]:
        scores = rng.choice([(0.5,), (0.1, 0.2, 0.3), tuple(rng.random() for _ in range(200))])
        found = rng.sample(ids, rng.choice([1, 3, 12, 150, passages]))
        if rng.random() < 0.85:
            # The passage with the query's own id counts like any other, as in trec_eval.
            runs[query] = {passage: rng.choice(scores) for passage in {query, *found}}
        qrels[query] = {passage: rng.randint(-2, 3) for passage in rng.sample(ids, rng.choice([1, 4, 60]))}
        qrels[query][ids[-1]] = rng.randint(0, 1)
    runs["nobody-judged-this"] = {ids[0]: 1.0}
    return runs, qrels


@pytest.mark.parametrize("seed", range(4))
def test_random_runs_score_as_in_trec_eval(seed: int) -> None:
    runs, qrels = drawn(seed)
    assert largest_difference(studio(runs, qrels), trec(runs, qrels)) < 1e-9


def test_run_files_score_as_in_trec_eval(tmp_path: Path) -> None:
    runs, qrels = drawn(9)
    named = run_table(runs)
    write_run(tmp_path / "run.trec", named, "drawn")
    lines = [f"{query} 0 {passage} {grade:.0f}" for query, passage, grade in qrels_table(qrels).iter_rows()]
    (tmp_path / "qrels.txt").write_text("\n".join(lines), "utf-8")
    found = of_trec_runs([tmp_path / "run.trec"], tmp_path / "qrels.txt").systems[0]
    theirs = trec(runs, qrels)
    assert set(found.values) == set(METRICS)
    known = {name: values for name, values in found.values.items() if not name.startswith("judged")}
    assert largest_difference(known, theirs) < 1e-9
    assert found.overall["map@100"] == pytest.approx(np.mean([of["map@100"] for of in theirs.values()]), abs=1e-9)
    assert any("are not judged" in note for note in found.notes) and any(
        "found nothing" in note for note in found.notes
    )


_PASSAGES = st.sampled_from(["a", "b", "B", "é", "10", "9", "q0", "q1"])
_RUN = st.dictionaries(_PASSAGES, st.sampled_from([-1.0, 0.1, 0.1 + 1e-10, 0.1 + 1e-7, 2.0]), min_size=1)
_GRADES = st.dictionaries(_PASSAGES, st.integers(-2, 3), min_size=1).filter(lambda grades: max(grades.values()) >= 0)
_QUERY = st.sampled_from(["q0", "q1", "q2"])


@given(st.dictionaries(_QUERY, _RUN), st.dictionaries(_QUERY, _GRADES, min_size=1))
def test_any_small_run_scores_as_in_trec_eval(runs: Runs, qrels: Judgements) -> None:
    assert largest_difference(studio(runs, qrels), trec(runs, qrels)) < 1e-9


@pytest.mark.parametrize("seed", range(2))
def test_a_search_by_vectors_scores_as_its_run_does(seed: int) -> None:
    # Few directions, so that many passages are equally near; whole numbers, so that they are so to the last bit.
    rng = np.random.default_rng(seed)
    ids = pl.Series([f"p{number}" for number in range(400)])
    ordered = ids.gather(trec_order(ids))
    queries, passages = (rng.integers(-2, 3, (n, 4)).astype(np.float32) for n in (30, 400))
    found = nearest(queries, passages, 100, device="cpu")
    asked = [f"q{number:02}" for number in range(30)]
    runs = {
        query: {ordered[int(at)]: float(score) for at, score in zip(*of, strict=True)}
        for query, *of in zip(asked, found.indices, found.scores, strict=True)
    }
    qrels = {
        query: {
            f"p{at}": int(grade) for at, grade in zip(rng.choice(400, 25, False), rng.integers(-1, 4, 25), strict=True)
        }
        for query in asked
    }
    theirs = trec(runs, qrels)
    mine = by_query(found.indices, Qrels.of(pl.Series(asked), ordered, qrels_table(qrels)), [*NAMES, "mrr@10"])
    for name, values in mine.items():
        assert values == pytest.approx([theirs[query][name] for query in asked], abs=1e-9), name
    assert all((values == mine[name]).all() for name, values in studio(runs, qrels).items())


def test_a_run_becomes_positions_of_a_corpus() -> None:
    runs = {"q1": {"a": 0.5, "b": 0.5, "c": 0.9, "elsewhere": 0.7}, "q3": {"a": 1.0}, "q9": {"a": 1.0}}
    asked, passages = pl.Series(["q1", "q2", "q3"]), pl.Series(["c", "a", "b"])
    found, scores = positions(run_table(runs), asked, passages, 3)
    # What is not in the corpus keeps its rank.
    assert found.tolist() == [[0, -1, 2], [-1, -1, -1], [1, -1, -1]]
    none = -np.inf
    assert scores.tolist() == [[np.float32(0.9), np.float32(0.7), 0.5], [none, none, none], [1.0, none, none]]
    assert positions(run_table({}), asked, passages, 2)[0].tolist() == [[-1, -1]] * 3
