"""What a system costs is measured in a process of its own, and what is cut is counted over all texts."""

from pathlib import Path

import polars as pl
import pytest

from studio.errors import Cancelled, StudioError
from studio.evaluation.operations import measure
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named
from studio.evaluation.vectors import Context
from studio.models.embed import Encoder, embed
from studio.models.load import ModelSpec
from studio.models.timing import DensePart, Loading, TimingRequest, _index, timed
from studio.models.tokenizer import load_tokenizer
from studio.prompts.contract import PromptContract
from studio.sample import TINY_MODEL, model_location

LENGTH = 24


@pytest.fixture
def evaluated() -> RetrievalSet:
    passages = [f"A fatura número {n} está no portal. " * (1 + n % 4) for n in range(40)]
    queries = [f"onde está a fatura {n}?" for n in range(6)]
    return RetrievalSet.of(
        Judged(
            pl.DataFrame({"query_id": [f"q{n}" for n in range(6)], "text": queries}),
            pl.DataFrame({"passage_id": [f"p{n}" for n in range(40)], "text": passages}),
            pl.DataFrame(
                {
                    "query_id": [f"q{n}" for n in range(6)],
                    "passage_id": [f"p{n}" for n in range(6)],
                    "relevance": [1.0] * 6,
                }
            ),
        ),
        About("faturas", "here"),
    )


@pytest.fixture
def context(tmp_path: Path) -> Context:
    contract = PromptContract.custom("Pergunta: ", name="x")
    return Context(None, tmp_path / "store", contract, TINY_MODEL, LENGTH, "cpu")


def test_a_hybrid_costs_what_its_parts_cost(evaluated: RetrievalSet, context: Context) -> None:
    dense = Dense(dim=64, precision="int8")
    found = measure(Named("x", Hybrid(parts=(dense, Lexical()))), evaluated, context)
    assert found.device.startswith("cpu")
    assert found.sample == (40, 6) and found.dimension == 64
    # A byte a dimension, and the posting lists.
    assert found.index_bytes > 40 * 64
    assert 0 < found.query_p50 <= found.query_p95
    assert found.load_seconds > 0 and found.passages_per_second > 0
    # The process holds torch and a model, and nothing of this one.
    assert 50e6 < found.peak_memory < 4e9
    tokenizer = load_tokenizer(str(model_location(TINY_MODEL)))
    judged = evaluated.judged
    for at, texts in ((0, "Pergunta: " + judged.queries["text"]), (1, judged.corpus["text"])):
        counts = [len(tokenizer.encode(text).ids) for text in texts]
        assert found.truncated[at] == sum(count > LENGTH for count in counts)
        assert found.tokens_cut[at] == sum(max(0, count - LENGTH) for count in counts)
    assert found.truncated[1] > 0


def test_another_tools_ranking_costs_nothing_that_is_known(evaluated: RetrievalSet, context: Context) -> None:
    assert measure(Named("x", Given(path="run.trec")), evaluated, context) is None


def test_a_system_that_cannot_be_loaded_says_why(evaluated: RetrievalSet, context: Context, tmp_path: Path) -> None:
    with pytest.raises(StudioError):
        measure(Named("x", Dense(model=str(tmp_path / "none"))), evaluated, context)


def test_a_measurement_can_be_stopped(evaluated: RetrievalSet, context: Context) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if step == "measure what it costs":
            raise Cancelled

    with pytest.raises(Cancelled):
        measure(Named("x", Lexical()), evaluated, context, stop)


@pytest.mark.parametrize(("precision", "bytes_"), [("float32", 4 * 128), ("int8", 128), ("binary", 16)])
def test_every_precision_finds_a_passage_by_itself(
    evaluated: RetrievalSet, tmp_path: Path, precision: str, bytes_: int
) -> None:
    model = Loading(id_or_path=str(model_location(TINY_MODEL)), max_length=64, device="cpu")
    part = DensePart(model=model, query_prompt="", document_prompt="", precision=precision, rescore=2)
    texts = evaluated.judged.corpus["text"].unique(maintain_order=True)
    vectors = embed(Encoder(ModelSpec(model.id_or_path, 64, device="cpu")), texts, "", tmp_path / "store")
    search = _index(vectors, part, 3, "cpu")
    assert [int(search(vectors[row])[0]) for row in range(10)] == list(range(10))
    for name in ("passages", "queries"):
        texts.alias("text").to_frame().write_parquet(tmp_path / f"{name}.parquet")
    request = TimingRequest(
        parts=(part,),
        passages=tmp_path / "passages.parquet",
        queries=tmp_path / "queries.parquet",
        sample=8,
        depth=3,
        store=tmp_path / "store",
    )
    found = timed(request)
    assert (found.index_bytes, found.dimension, found.sample[0]) == (bytes_ * len(texts), 128, 8)
