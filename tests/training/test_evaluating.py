"""The evaluator on the tiny model: against sentence-transformers' own, its prompts, and being interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from studio.errors import Cancelled, ConfigError
from studio.evaluation.metrics import METRICS
from studio.evaluation.sets import Judged
from studio.models.load import ModelSpec, load_model
from studio.prompts.contract import PromptContract
from studio.sample import TINY_MODEL, sample_data
from studio.selftest.sample import clean_rows
from studio.training.evaluating import RetrievalEvaluator

CONTRACT = PromptContract.custom("Instruct: encontre a resposta\nQuery: ", "passagem: ")
SPEC = ModelSpec(str(sample_data() / TINY_MODEL), 32, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def judged() -> Judged:
    rows = clean_rows(sample_data())[0][:60]
    texts = list(dict.fromkeys(row.passage for row in rows))
    asked = {row.query: row.passage for row in rows[:20]}
    corpus = pl.DataFrame({"passage_id": [f"p{i}" for i in range(len(texts))], "text": texts})
    queries = pl.DataFrame({"query_id": [f"q{i}" for i in range(len(asked))], "text": list(asked)})
    qrels = pl.DataFrame(
        {
            "query_id": queries["query_id"],
            "passage_id": [f"p{texts.index(passage)}" for passage in asked.values()],
            "relevance": 1.0,
        }
    )
    return Judged(queries, corpus, qrels)


@pytest.fixture(scope="module")
def tiny() -> SentenceTransformer:
    return load_model(SPEC)


def test_it_measures_what_sentence_transformers_measures(judged: Judged, tiny: SentenceTransformer) -> None:
    told: list[tuple[int, int | None]] = []
    evaluator = RetrievalEvaluator(
        judged, CONTRACT, main="recall@5", batch_size=16, progress=lambda step, done, total: told.append((done, total))
    )
    assert evaluator.primary_metric == "recall@5" and evaluator.greater_is_better
    found = evaluator(tiny)
    theirs = InformationRetrievalEvaluator(
        dict(judged.queries.iter_rows()),
        dict(judged.corpus.iter_rows()),
        {query: {passage} for query, passage, _ in judged.qrels.iter_rows()},
        query_prompt=CONTRACT.query,
        corpus_prompt=CONTRACT.document,
        batch_size=16,
        accuracy_at_k=[1, 5, 10],
        precision_recall_at_k=[5, 10, 50, 100],
        map_at_k=[100],
        write_csv=False,
    )(tiny)
    for name in METRICS:
        if not name.startswith("judged"):
            their_name = f"cosine_{name.replace('success', 'accuracy')}"
            assert found[name] == pytest.approx(theirs[their_name], abs=1e-6)
    assert 0 < found["ndcg@10"] < 1
    assert {name: values.mean() for name, values in evaluator.values.items()} == found
    assert len(evaluator.query_ids) == 20 == len(evaluator.values["ndcg@10"])
    done = [count for count, _ in told]
    assert done == sorted(done) and told[-1] == (2 * 20 + judged.corpus.height,) * 2
    assert evaluator(tiny) == found


def test_the_models_own_prompts_never_apply(judged: Judged) -> None:
    model = load_model(SPEC)
    plain = RetrievalEvaluator(judged, PromptContract.custom("", ""))
    without = plain(model)
    prompted = RetrievalEvaluator(judged, CONTRACT)(model)
    model.prompts = {"query": "something else ", "document": "and this "}
    model.default_prompt_name = "query"
    assert plain(model) == without
    assert RetrievalEvaluator(judged, CONTRACT)(model) == prompted != without


def test_the_order_of_texts_and_the_size_of_batches_change_nothing(judged: Judged, tiny: SentenceTransformer) -> None:
    one = RetrievalEvaluator(judged, CONTRACT, batch_size=7)
    first = one(tiny)
    shuffled = Judged(*(part.sample(fraction=1, shuffle=True, seed=3) for part in judged))
    other = RetrievalEvaluator(shuffled, CONTRACT, batch_size=64)
    assert other(tiny) == pytest.approx(first, abs=1e-6)
    values = dict(zip(other.query_ids, other.values["mrr@10"], strict=True))
    assert [values[name] for name in one.query_ids] == pytest.approx(one.values["mrr@10"].tolist(), abs=1e-6)


def test_it_can_be_interrupted_between_chunks_and_begun_again(judged: Judged, tiny: SentenceTransformer) -> None:
    calls = 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Cancelled

    evaluator = RetrievalEvaluator(judged, CONTRACT, batch_size=16, between=between)
    with pytest.raises(Cancelled):
        evaluator(tiny)
    assert evaluator.values == {}
    assert evaluator(tiny)["ndcg@10"] > 0
    # Twice two batches of queries and some of passages.
    assert calls >= 5 + 2 + 4


def test_bfloat16_is_near_and_is_left_again(judged: Judged, tiny: SentenceTransformer) -> None:
    whole = RetrievalEvaluator(judged, CONTRACT)(tiny)
    half = RetrievalEvaluator(judged, CONTRACT, autocast=torch.bfloat16)(tiny)
    assert half["ndcg@10"] == pytest.approx(whole["ndcg@10"], abs=0.05)
    assert not torch.is_autocast_enabled("cpu")


def test_a_diverged_model_finds_nothing(judged: Judged) -> None:
    model = load_model(SPEC)
    evaluator = RetrievalEvaluator(judged, CONTRACT)
    evaluator(model)
    assert evaluator.broken == 0
    for weights in model.parameters():
        weights.data.fill_(torch.nan)
    assert set(evaluator(model).values()) == {0.0}
    assert evaluator.broken == judged.queries.height + judged.corpus.height


def test_equal_passages_rank_as_trec_eval_ranks_them(tiny: SentenceTransformer) -> None:
    corpus = pl.DataFrame({"passage_id": ["b", "c", "a"], "text": ["o prazo é de dez dias"] * 3})
    queries = pl.DataFrame({"query_id": ["q"], "text": ["qual o prazo"]})
    for passage, value in (("c", 1), ("b", 1 / 2), ("a", 1 / 3)):
        qrels = pl.DataFrame({"query_id": ["q"], "passage_id": [passage], "relevance": [1.0]})
        found = RetrievalEvaluator(Judged(queries, corpus, qrels), CONTRACT)(tiny)
        assert found["mrr@10"] == pytest.approx(value)


def test_an_unknown_metric_is_refused_before_anything_is_encoded(judged: Judged) -> None:
    with pytest.raises(ConfigError, match="ndcg"):
        RetrievalEvaluator(judged, CONTRACT, main="ndgc@10")


_SHARED = """
import json, sys
from pathlib import Path
import polars as pl, torch.distributed as dist
from sentence_transformers.util.distributed import distributed_evaluation
from studio.models.load import load_model
from studio.training.evaluating import RetrievalEvaluator
from studio.evaluation.sets import Judged
from tests.training.test_evaluating import CONTRACT, SPEC
place, rank = Path(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
judged = Judged(*(pl.read_parquet(place / f"{name}.parquet") for name in Judged._fields))
model = load_model(SPEC)
with distributed_evaluation(model) as drives:  # as the trainer does it
    found = RetrievalEvaluator(judged, CONTRACT, batch_size=16)(model) if drives else None
stopped = ""
def stop():
    raise KeyError("asked to")
try:
    with distributed_evaluation(model) as drives:
        if drives:
            RetrievalEvaluator(judged, CONTRACT, between=stop)(model)
except Exception as error:
    stopped = type(error).__name__
(place / f"{rank}.json").write_text(json.dumps([found, stopped]))
"""


@pytest.mark.slow
def test_two_processes_share_the_encoding_and_end_together(
    judged: Judged, tiny: SentenceTransformer, tmp_path: Path
) -> None:
    for name, part in zip(Judged._fields, judged, strict=True):
        part.write_parquet(tmp_path / f"{name}.parquet")
    command = [sys.executable, "-c", _SHARED, str(tmp_path)]
    both = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
    for process in both:
        assert process.communicate(timeout=240)[1] is not None and process.returncode == 0
    found: list[Any] = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    alone = RetrievalEvaluator(judged, CONTRACT, batch_size=16)(tiny)
    assert found[0][0] == pytest.approx(alone, abs=1e-6) and found[1][0] is None
    assert [stopped for _, stopped in found] == ["KeyError", "RuntimeError"]
