"""What is stored opens again as it was, damaged or foreign files are refused, and runs and evaluations merge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from studio.errors import InputError, UsageError
from studio.evaluation.comparison import compare
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.opening import opened
from studio.evaluation.parts import load_set, load_system, save_set, save_system
from studio.evaluation.requests import Request, load_request, save_request
from studio.evaluation.results import Operations, Ranking, SystemResult
from studio.evaluation.sets import About, SimilaritySet, TripletSet
from studio.evaluation.storing import (
    evaluation_folder,
    evaluation_folders,
    existing_evaluation,
    free_name,
    load,
    of_runs,
)
from studio.evaluation.systems import Dense, Hybrid, Lexical, Named, SystemClass
from studio.runs.folder import RunFolder
from tests.evaluation.judging import ranked, retrieval_set, system

HOSTILE = "fim\x1b[2J\u202e <b>&\n\ud7ff"
QRELS = {"q1": {"p1": 1.0, "p2": 2.0}, "q2": {"p2": 1.0}, "q3": {"p9": 0.0, "p3": 1.0}}
PASSAGES = ["p1", "p2", "p3", "p9", HOSTILE]
SYSTEMS = (Named("a", Dense(model="harrier-tiny")), Named("b", Lexical()))


def _stored(root: Path, name: str, evaluated, systems: list[SystemResult], asked=SYSTEMS) -> EvaluationFolder:
    folder = evaluation_folder(root, name)
    (root / "studio.toml").touch()
    save_request(folder, Request("held-out", {}, asked, ("ndcg@10", "mrr@10"), "ndcg@10", False, made="2026-01-01"))
    save_set(folder, evaluated)
    for place, result in enumerate(systems):
        save_system(folder, place, result)
    return folder


@given(
    values=drawn.arrays(np.float64, 3, elements=st.floats(allow_nan=True)),
    scores=drawn.arrays(np.float32, (3, 2), elements=st.floats(allow_nan=False, width=32)),
    overall=st.floats(),
    name=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_system_is_read_as_it_was_stored(tmp_path_factory, values, scores, overall, name) -> None:
    folder = EvaluationFolder(tmp_path_factory.mktemp("e"))
    ranking = Ranking(np.array([[1, 0], [2, -1], [-1, -1]], np.int32), scores)
    cost = Operations("cpu", 0.1, 2.0, overall, 0.2, 10, None, 5, (1, 2), (3, 4), (5, 6))
    whole = Hybrid(parts=(Dense(run="r", dim=8), Lexical()), weights=(0.3, 0.7), how="weighted")
    result = SystemResult(
        name, whole, SystemClass.HYBRID, {"ndcg@10": values}, {"ndcg@10": overall}, ranking, cost, {"m": 1}, (name,)
    )
    save_system(folder, 3, result)
    found = load_system(folder, 3)
    assert found is not None and load_system(folder, 4) is None
    np.testing.assert_array_equal(found.values["ndcg@10"], values)
    np.testing.assert_array_equal(found.ranking.scores, scores)
    np.testing.assert_array_equal(found.ranking.indices, ranking.indices)
    # What is no number has one form in JSON.
    finite = overall if np.isfinite(overall) else np.nan
    np.testing.assert_equal(found.overall["ndcg@10"], finite)
    np.testing.assert_equal(found.operations.query_p50, finite)
    assert (found.name, found.system, found.of_class) == (name, whole, SystemClass.HYBRID)
    assert (found.described, found.notes, found.error) == ({"m": 1}, (name,), "")
    assert found.operations.truncated == (1, 2) and found.operations.dimension is None


def test_every_kind_of_set_is_read_as_it_was_frozen(tmp_path: Path) -> None:
    about = About(HOSTILE, "here", query_prompt="Instruct: x\nQuery: ", trained_on="likely", notes=("one", HOSTILE))
    texts = {"anchor": [HOSTILE], "positive": ["b"], "negative": ["c"]}
    sets = [
        retrieval_set(QRELS, PASSAGES, leaked={"q2": HOSTILE}),
        SimilaritySet(pl.DataFrame({"pair_id": ["0"], "left": ["a"], "right": [HOSTILE], "score": [0.5]}), about),
        TripletSet(pl.DataFrame({"triplet_id": ["0"], **texts}), about),
    ]
    for number, evaluated in enumerate(sets):
        folder = EvaluationFolder(tmp_path / str(number))
        save_set(folder, evaluated)
        found = load_set(folder)
        assert (found.kind, found.about, found.identity) == (evaluated.kind, evaluated.about, evaluated.identity)
    first = load_set(EvaluationFolder(tmp_path / "0"))
    assert first.judged.corpus.equals(sets[0].judged.corpus)
    assert first.attributes.equals(sets[0].attributes) and first.leaked.equals(sets[0].leaked)


def test_an_unfinished_evaluation_opens_with_what_is_there(tmp_path: Path) -> None:
    evaluated = retrieval_set(QRELS, PASSAGES)
    first = system(evaluated, "a", ranked(evaluated, [["p1"], ["p9"], ["p3"]], 3))
    folder = _stored(tmp_path, "half", evaluated, [first])
    found = load(folder)
    assert [one.name for one in found.systems] == ["a"] and "b is still to come" in found.notes[0]
    assert (found.main, found.metrics, found.made) == ("ndcg@10", ("ndcg@10", "mrr@10"), "2026-01-01")
    assert load_request(folder).systems == SYSTEMS
    assert existing_evaluation(tmp_path, "half") == folder and evaluation_folders(tmp_path) == [folder]
    assert free_name(tmp_path, "half") == "half-2" and free_name(tmp_path, "../a b/ç") == "a-b"


def test_names_and_damage_are_refused_in_words(tmp_path: Path) -> None:
    evaluated = retrieval_set(QRELS, PASSAGES)
    folder = _stored(tmp_path, "one", evaluated, [])
    with pytest.raises(UsageError, match="cannot be called"):
        evaluation_folder(tmp_path, "../one")
    with pytest.raises(InputError, match="There is no evaluation `two`") as refused:
        existing_evaluation(tmp_path, "two")
    assert "one" in str(refused.value)
    (folder.data / "qrels.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        load(folder)
    (folder.data / "about.json").write_text('{"format": 7}')
    with pytest.raises(InputError, match="another version"):
        load(folder)
    folder.request.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load(folder)


def _run(
    root: Path, name: str, evaluated, final: list[float] | None, baseline: list[float], steps: int = -1
) -> RunFolder:
    folder = RunFolder(root / "runs" / name)
    folder.data.mkdir(parents=True)
    folder.spec.write_text(f'[model]\nid = "tiny"\nmax_length = 8\n[schedule]\nmax_steps = {steps}\n')
    for table, frame in evaluated.judged._asdict().items():
        frame.write_parquet(folder.data / f"{table}.parquet")
    ids = evaluated.judged.queries["query_id"].to_list()
    if final is not None:
        parts = {"final": final, "baseline": baseline}
        said = {
            key: {"metrics": {"ndcg@10": float(np.mean(of))}, "per_query": dict(zip(ids, of, strict=True))}
            for key, of in parts.items()
        }
        folder.result.write_text(json.dumps({"metric": "ndcg@10", **said}))
    return folder


def test_runs_are_compared_on_their_common_test(tmp_path: Path) -> None:
    evaluated = retrieval_set(QRELS, PASSAGES)
    base = [0.1, 0.2, 0.3]
    runs = [
        _run(tmp_path, "one", evaluated, [0.5, 0.2, 0.9], base),
        _run(tmp_path, "zero", evaluated, base, base, steps=0),
        _run(tmp_path, "waits", evaluated, None, base),
    ]
    found = of_runs(runs)
    # What the zero-shot run says, the baseline of the others says too: it stands there once, and first.
    assert [one.name for one in found.systems] == ["zero", "one", "waits"]
    assert found.system("one").values["ndcg@10"].tolist() == [0.5, 0.2, 0.9]
    assert "not come to its end" in found.system("waits").error
    # Each is known to have whole vectors, so that a cut model is held against its own and no other.
    assert [one.system for one in of_runs(runs[:1]).systems] == [Dense(run="one", at="baseline"), Dense(run="one")]
    assert [one.name for one in of_runs(runs[:1]).systems] == ["one@baseline", "one"]
    other = _run(tmp_path, "other", retrieval_set({"q1": {"p1": 1.0}}, PASSAGES), [0.1], [0.2])
    with pytest.raises(InputError, match="cannot be compared") as refused:
        of_runs([runs[0], other])
    assert "3 queries among 5 passages, and 1 query among" in str(refused.value)


def test_a_cut_model_is_held_against_its_own_run_and_not_against_another_model(tmp_path: Path) -> None:
    evaluated = retrieval_set(QRELS, PASSAGES)
    lists = [["p1", "p2"], ["p9"], ["p3"]]
    cut, strange = (system(evaluated, name, ranked(evaluated, lists, 4), system=Dense(run=run, dim=64))
                    for name, run in (("cut", "one"), ("strange", "gone")))  # fmt: skip
    folder = _stored(tmp_path, "both", evaluated, [cut, strange])
    assert folder.request.exists()
    _run(tmp_path, "one", evaluated, [0.5, 0.2, 0.9], [0.1, 0.2, 0.3])
    rows = {row.name: row for row in compare(opened(tmp_path, ["one", "both"])).rows}
    assert rows["one"].reference == "one@baseline" and rows["cut"].reference == "one"
    assert "of another model" in rows["strange"].refused


def test_systems_of_several_evaluations_and_runs_meet_over_the_same_queries(tmp_path: Path) -> None:
    evaluated = retrieval_set(QRELS, PASSAGES)
    turned = retrieval_set(dict(reversed(QRELS.items())), PASSAGES)
    assert turned.identity == evaluated.identity
    lists = [["p1", "p2"], ["p9"], ["p3"]]
    one = system(evaluated, "a", ranked(evaluated, lists, 4))
    two = system(turned, "a", ranked(turned, lists[::-1], 4), of_class=SystemClass.HYBRID)
    _stored(tmp_path, "one", evaluated, [one, system(evaluated, "b", ranked(evaluated, [["p2"], [], []], 4))])
    _stored(tmp_path, "two", turned, [two])
    _run(tmp_path, "trained", evaluated, [0.5, 0.2, 0.9], [0.1, 0.2, 0.3])
    found = opened(tmp_path, ["one", "two/a", "trained"])
    assert [each.name for each in found.systems] == ["one/a", "b", "two/a", "trained@baseline", "trained"]
    assert found.metrics == ("ndcg@10",)
    np.testing.assert_array_equal(found.system("one/a").values["ndcg@10"], found.system("two/a").values["ndcg@10"])
    np.testing.assert_array_equal(found.system("one/a").ranking.indices, found.system("two/a").ranking.indices)
    assert [each.name for each in opened(tmp_path, ["one/b", "one/a", "one/b"]).systems] == ["b", "a"]
    assert [each.name for each in opened(tmp_path, ["run:trained"]).systems] == ["trained@baseline", "trained"]
    _stored(tmp_path, "trained", retrieval_set({"q1": {"p1": 1.0}}, PASSAGES), [])
    with pytest.raises(UsageError, match="both a run and an evaluation"):
        opened(tmp_path, ["trained"])
    with pytest.raises(InputError, match="not measured on the same thing") as refused:
        opened(tmp_path, ["one", "evaluation:trained"])
    assert refused.value.why == (
        "queries: 1 alike in both, 2 only in one; judgements: 1 alike in both, 4 only in one; the same: passages"
    )
    with pytest.raises(InputError, match="no evaluation or run `nothing`"):
        opened(tmp_path, ["nothing"])
    with pytest.raises(UsageError, match="no system `c`"):
        opened(tmp_path, ["one/c"])
