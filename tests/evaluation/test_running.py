from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from studio.errors import Cancelled, ConfigError, InputError, StudioError, UsageError
from studio.evaluation.fusion import reciprocal_ranks, weighted_sum
from studio.evaluation.metrics import Qrels, by_query
from studio.evaluation.results import Ranking
from studio.evaluation.running import PAIR_ROLES, Context, Ran, class_of, context_of, run, run_all, similarities
from studio.evaluation.sets import About, Judged, RetrievalSet, SetKind
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked, SystemClass
from studio.models.embed import Encoder, embed, release_model
from studio.models.load import ModelSpec
from studio.models.neighbours import nearest
from studio.project.project import Project
from studio.project.settings import ProjectSettings, PromptSettings
from studio.prompts.contract import PromptContract, Role
from studio.sample import sample_data
from studio.training.spec import ModelPart, RunSpec
from tests.conftest import snapshot
from tests.runs_by_hand import trained

_PASSAGES = [
    "O prazo de recurso é de quinze dias.", "A conta de luz vence no dia dez.", "A água chega ao bairro em março.",
    "Recursos são julgados em trinta dias.", "O condomínio cobra a taxa de limpeza.", "A taxa de lixo é anual.",
    "A multa por atraso é de dois por cento.", "O boleto da luz chega pelo correio.", "Inscrições até sexta-feira.",
    "A matrícula custa cem reais.", "O prazo de matrícula foi adiado.", "Contas atrasadas pagam juros.",
]  # fmt: skip
_QUERIES = ["qual o prazo do recurso", "quando vence a conta de luz", "taxa do lixo", "prazo da matrícula", "xyz"]
_TINY = Dense(model="harrier-tiny")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _set(same_ids: bool = False, **about: object) -> RetrievalSet:
    """Five queries over twelve passages; `same_ids` gives the first queries the ids of the first passages."""
    ids = [f"p{at:02}" for at in range(len(_PASSAGES))]
    asked = ids[: len(_QUERIES)] if same_ids else [f"q{at}" for at in range(len(_QUERIES))]
    queries = pl.DataFrame({"query_id": asked, "text": _QUERIES})
    qrels = pl.DataFrame({"query_id": asked, "passage_id": ["p00", "p01", "p05", "p10", "p08"], "relevance": [1.0] * 5})
    judged = Judged(queries, pl.DataFrame({"passage_id": ids, "text": _PASSAGES}), qrels)
    return RetrievalSet.of(judged, About("test", "made for a test", **about))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    root = tmp_path_factory.mktemp("running") / "project"
    project = Project.create(root, snapshot([("q", "p")]), ProjectSettings(name="test"))
    yield context_of(project)
    release_model()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny BERT with random weights that scores pairs by their letters."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross") / "encoder"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=1, max_position_embeddings=128, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={word: at for at, word in enumerate(words)}, model_max_length=128)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _ran(system: object, evaluated: RetrievalSet, context: Context, depth: int = 6) -> Ran:
    return run(Named("a", system), evaluated, context, depth)  # type: ignore[arg-type]


def _ids(evaluated: RetrievalSet, ranking: Ranking) -> list[list[str | None]]:
    passages = evaluated.judged.corpus["passage_id"].to_list()
    return [[passages[at] if at >= 0 else None for at in row] for row in ranking.indices.tolist()]


def _vectors(evaluated: RetrievalSet, context: Context, contract: PromptContract, length: int = 512) -> list:
    encoder = Encoder(ModelSpec(str(sample_data() / "harrier-tiny"), length))
    texts = (evaluated.judged.queries["text"], contract.query), (evaluated.judged.corpus["text"], contract.document)
    return [np.array(embed(encoder, column, prompt, context.store)) for column, prompt in texts]


def test_a_dense_system_is_the_search_over_its_vectors(context: Context) -> None:
    evaluated = _set()
    queries, passages = _vectors(evaluated, context, context.contract)
    for model in (_TINY, Dense()):
        found = _ran(model, evaluated, context)
        exact = nearest(queries, passages, 6)
        np.testing.assert_array_equal(found.ranking.indices, exact.indices)
        np.testing.assert_array_equal(found.ranking.scores, exact.scores)
        assert found.described["model"] == "harrier-tiny" and found.described["dimensions"] == 128
        assert found.described["prompts"] == context.contract.hash
    short = [
        vectors[:, :32] / np.linalg.norm(vectors[:, :32], axis=1, keepdims=True) for vectors in (queries, passages)
    ]
    found = _ran(Dense(model="harrier-tiny", dim=32), evaluated, context)
    np.testing.assert_array_equal(found.ranking.indices, nearest(short[0], short[1], 6).indices)
    signs = [np.where(vectors > 0, 1.0, -1.0).astype(np.float32) for vectors in short]
    found = _ran(Dense(model="harrier-tiny", dim=32, precision="binary"), evaluated, context)
    np.testing.assert_array_equal(found.ranking.indices, nearest(signs[0], signs[1], 6).indices)
    with pytest.raises(ConfigError, match="999 dimensions"):
        _ran(Dense(model="harrier-tiny", dim=999), evaluated, context)


def test_prompts_are_those_that_are_asked_for(context: Context) -> None:
    evaluated, own = _set(), "Instruct: find\nQuery: "
    named = _set(query_prompt=own)
    for prompts, within, query in (("none", evaluated, ""), ("set", named, own), ("contract", evaluated, None)):
        contract = context.contract if query is None else PromptContract.custom(query)
        system = Dense(model="harrier-tiny", prompts=prompts)  # type: ignore[arg-type]
        found = _ran(system, within, context)
        exact = nearest(*_vectors(within, context, contract), 6)
        np.testing.assert_array_equal(found.ranking.indices, exact.indices)
        assert found.described["query_prompt"] == contract.query
    saved = json.loads((sample_data() / "harrier-tiny" / "config_sentence_transformers.json").read_text("utf-8"))
    found = _ran(Dense(model="harrier-tiny", prompts="model"), evaluated, context)
    assert found.described["query_prompt"] == saved["prompts"].get("query", "")
    with pytest.raises(ConfigError, match="names no prompt"):
        _ran(Dense(model="harrier-tiny", prompts="set"), evaluated, context)


def test_a_run_keeps_its_own_prompts_and_lengths(context: Context) -> None:
    assert context.project is not None
    prompts = PromptSettings(query="pergunta: ", document="trecho: ", origin="custom:own")
    spec = RunSpec(prompts=prompts, model=ModelPart(id="harrier-tiny", max_length=16))
    folder = trained(context.project.root, "first", spec)
    evaluated = _set()
    exact = nearest(*_vectors(evaluated, context, prompts.contract(), 16), 6)
    found = _ran(Dense(run="first", at="baseline"), evaluated, context)
    np.testing.assert_array_equal(found.ranking.indices, exact.indices)
    assert found.described["max_length"] == 16 and found.described["run"] == "first@baseline"
    assert _ran(Dense(run="first", at="baseline", max_length=32), evaluated, context).described["max_length"] == 32
    with pytest.raises(InputError, match="no final model"):
        _ran(Dense(run="first"), evaluated, context)
    with pytest.raises(InputError, match="no `checkpoint-7`") as caught:
        _ran(Dense(run="first", at="checkpoint-7"), evaluated, context)
    assert "whole checkpoints" in (caught.value.why or "")
    with pytest.raises(InputError, match="no run `second`"):
        _ran(Dense(run="second"), evaluated, context)
    with pytest.raises(UsageError, match="none is given"):
        _ran(Dense(run="first"), evaluated, Context(None, context.store, context.contract))
    folder.model.symlink_to(sample_data() / "harrier-tiny")
    whole = folder.checkpoints / "checkpoint-8"
    shutil.copytree(sample_data() / "harrier-tiny", whole)
    (whole / "whole.json").write_text("{}", "utf-8")
    for at in ("", "checkpoint-8"):
        np.testing.assert_array_equal(
            _ran(Dense(run="first", at=at), evaluated, context).ranking.indices, exact.indices
        )


def test_bm25_is_asked_in_the_words_it_is_to_have(context: Context) -> None:
    evaluated = _set()
    plain, stemmed = (_ran(Lexical(words=words), evaluated, context) for words in ("plain", "portuguese"))
    assert _ids(evaluated, stemmed.ranking)[0][:3] != _ids(evaluated, plain.ranking)[0][:3]
    assert _ids(evaluated, stemmed.ranking)[1][0] == "p01"
    assert stemmed.notes == ("queries that share no word with any passage: 1",)
    assert (stemmed.ranking.indices[4] == -1).all() and np.isneginf(stemmed.ranking.scores[4]).all()


def test_a_hybrid_is_made_of_what_its_parts_find(context: Context) -> None:
    evaluated = _set()
    parts = (_TINY, Lexical())
    alone = [_ran(part, evaluated, context, 12).ranking for part in parts]
    fused = _ran(Hybrid(parts=parts, k=10), evaluated, context).ranking
    np.testing.assert_array_equal(fused.indices, reciprocal_ranks(alone, 10, 6).indices)
    summed = _ran(Hybrid(parts=parts, how="weighted", weights=(0.2, 0.8)), evaluated, context).ranking
    np.testing.assert_array_equal(summed.indices, weighted_sum(alone, (0.2, 0.8), 6).indices)
    shallow = _ran(Hybrid(parts=parts, depth=2), evaluated, context)
    few = [Ranking(each.indices[:, :2], each.scores[:, :2]) for each in alone]
    np.testing.assert_array_equal(shallow.ranking.indices, reciprocal_ranks(few, 60, 6).indices)
    assert shallow.described["1 model"] == "harrier-tiny" and shallow.described["2 words"] == "portuguese"


def test_a_cross_encoder_orders_the_first_and_leaves_the_rest_below(context: Context, reader: str) -> None:
    from studio.models.rerank import rerank

    evaluated = _set()
    first = _ran(_TINY, evaluated, context, 12).ranking
    found = _ran(Reranked(first=_TINY, model=reader, top=4, max_length=64), evaluated, context)
    texts = evaluated.judged.corpus["text"]
    for row, query in enumerate(_QUERIES):
        top = first.indices[row, :4].tolist()
        scores = rerank(ModelSpec(reader, 64), [(query, texts[at]) for at in top])
        order = [at for _, at in sorted(zip(-scores, top, strict=True))]
        assert found.ranking.indices[row].tolist() == [*order, *first.indices[row, 4:6].tolist()]
        assert (np.diff(found.ranking.scores[row]) <= 0).all()
    assert found.notes == ("only the first 4 passages of each query were read by the cross-encoder",)
    assert str(found.described["revision"]).startswith("sha256:")


def test_what_systems_share_is_read_once(context: Context, reader: str) -> None:
    pairs: list[int] = []

    def tell(step: str, done: int, total: int | None) -> None:
        if step.startswith("score pairs") and done == 0:
            pairs.append(total or 0)

    whole = Reranked(first=Hybrid(parts=(_TINY, Lexical())), model=reader, max_length=64)
    again = Reranked(first=_TINY, model=reader, max_length=64)
    systems = [Named("one", whole), Named("two", again), Named("three", _TINY)]
    found = list(run_all(systems, _set(), context, 12, tell))
    assert [named.name for named, _ in found] == ["one", "two", "three"]
    assert pairs == [len(_QUERIES) * len(_PASSAGES), 0]


def test_a_passage_with_the_querys_own_id_is_taken_out_before_anything_else(context: Context, tmp_path: Path) -> None:
    kept, removed = _set(same_ids=True), _set(same_ids=True, self_hits_removed=True)
    file = tmp_path / "own.run"
    lines = [f"{query} Q0 p{at:02} 1 {12 - at} own" for query in ("p00", "p01") for at in range(12)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    for system in (_TINY, Lexical(), Hybrid(parts=(_TINY, Lexical())), Given(path=str(file))):
        before, after = (_ran(system, evaluated, context, 12) for evaluated in (kept, removed))
        for query, row in zip(removed.judged.queries["query_id"], _ids(removed, after.ranking), strict=True):
            assert query not in row
            assert len(set(row) - {None}) == len([at for at in row if at is not None])
        # Of systems that rank by score alone, nothing else changes.
        if not isinstance(system, Hybrid):
            for old, new, query in zip(
                _ids(kept, before.ranking), _ids(removed, after.ranking), kept.judged.queries["query_id"], strict=True
            ):
                assert [at for at in old if at not in (query, None)] == [at for at in new if at is not None]
    assert (_ran(_TINY, removed, context, 3).ranking.indices >= 0).all()


def test_another_tools_run_ranks_as_trec_eval_ranks_it(context: Context, tmp_path: Path) -> None:
    evaluated = _set()
    file = tmp_path / "other.run"
    file.write_text(
        "q0 Q0 p03 1 2.0 other\nq0 Q0 p00 2 2.0 other\nq0 Q0 unknown 3 3.0 other\nq0 Q0 p07 4 9e-1 other\n"
        "q1 Q0 p01 1 1.0 other\nq9 Q0 p01 1 1.0 other\n",
        "utf-8",
    )
    found = _ran(Given(path=str(file), of_class=SystemClass.DENSE), evaluated, context, 4)
    # Equal scores: the last id first. What is not in the corpus keeps its place.
    assert _ids(evaluated, found.ranking)[0] == [None, "p03", "p00", "p07"]
    assert found.ranking.scores[0].tolist() == pytest.approx([3, 2, 2, 0.9])
    qrels = Qrels.of(
        evaluated.judged.queries["query_id"], evaluated.judged.corpus["passage_id"], evaluated.judged.qrels
    )
    assert by_query(found.ranking.indices, qrels, ["mrr@10"])["mrr@10"].tolist() == pytest.approx([1 / 3, 1, 0, 0, 0])
    assert [note.rsplit(" ", 1)[1] for note in found.notes] == ["1", "3", "1"]
    assert found.described["tag"] == "other"
    with pytest.raises(InputError):
        _ran(Given(path=str(tmp_path / "none.run")), evaluated, context)


def test_a_broken_model_gives_its_reason_and_the_others_go_on(context: Context, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(sample_data() / "harrier-tiny", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(each, torch.nan) for name, each in weights.items()}, folder / "model.safetensors")
    systems = [Dense(model=str(folder)), Dense(model=str(tmp_path / "none")), Lexical()]
    found = list(run_all([Named(str(at), each) for at, each in enumerate(systems)], _set(), context, 5))
    assert isinstance(found[0][1], StudioError) and "no direction" in found[0][1].what
    assert isinstance(found[1][1], InputError)
    assert isinstance(found[2][1], Ran)


def test_it_can_be_stopped(context: Context) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(run_all([Named("a", Lexical())], _set(), context, 5, stop))


def test_pairs_of_texts_have_the_cosine_of_their_vectors(context: Context) -> None:
    evaluated = _set()
    left, right = pl.Series(_PASSAGES[:5]), evaluated.judged.queries["text"]
    encoder = Encoder(ModelSpec(str(sample_data() / "harrier-tiny"), 512))
    for roles in set(PAIR_ROLES.values()):
        one, other = (
            np.array(embed(encoder, texts, context.contract.prompt(role), context.store), np.float64)
            for texts, role in zip((left, right), roles, strict=True)
        )
        found = similarities(_TINY, left, right, context, roles=roles)
        np.testing.assert_allclose(found, (one * other).sum(axis=1), atol=1e-6)
        int8 = similarities(Dense(model="harrier-tiny", precision="int8"), left, right, context, roles=roles)
        np.testing.assert_allclose(int8, found, atol=0.02)
    assert PAIR_ROLES[SetKind.SIMILARITY] == (Role.QUERY, Role.QUERY)
    same = similarities(
        Dense(model="harrier-tiny", precision="binary"), left, left, context, roles=PAIR_ROLES[SetKind.SIMILARITY]
    )
    np.testing.assert_allclose(same, 1, rtol=1e-6)
    with pytest.raises(UsageError, match="embedding model"):
        similarities(Lexical(), left, right, context)


def test_each_kind_of_system_has_its_class() -> None:
    assert class_of(_TINY) is SystemClass.DENSE
    assert class_of(Lexical()) is SystemClass.LEXICAL
    assert class_of(Hybrid(parts=(_TINY, Lexical()))) is SystemClass.HYBRID
    assert class_of(Reranked(first=_TINY, model="m")) is SystemClass.RERANKED
    assert class_of(Given(path="a")) is SystemClass.UNKNOWN
    assert class_of(Given(path="a", of_class=SystemClass.DENSE)) is SystemClass.DENSE
