from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import Cancelled, InputError, UnavailableError
from studio.models.load import ModelSpec
from studio.models.rerank import rerank

_LETTERS = "abcdefgh"
_PAIRS = [
    ("a b", "c d"),
    ("h", "a b c d e f g h " * 4),
    ("", ""),
    ("c", "c"),
    ("a b", "c d"),
    ("g g g", "h"),
    ("e", "f"),
]


def _write(folder: Path, labels: int = 1, positions: int = 64) -> str:
    """A tiny BERT with random weights that scores pairs, as transformers saves it: without modules.json."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        num_labels=labels, max_position_embeddings=positions, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={word: at for at, word in enumerate(words)}, model_max_length=positions)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _write(tmp_path_factory.mktemp("cross") / "encoder")


def _spec(folder: str, max_length: int = 64, **other: Any) -> ModelSpec:
    return ModelSpec(folder, max_length, device="cpu", **other)


def _logits(folder: str, pairs: list[tuple[str, str]], max_length: int = 64) -> list[float]:
    """What transformers gives, one pair at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return [
            model(**tokenizer([pair], truncation=True, max_length=max_length, return_tensors="pt")).logits.item()
            for pair in pairs
        ]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_raw_scores_come_in_the_order_of_the_pairs(scorer: str, batch_size: int) -> None:
    scores = rerank(_spec(scorer), _PAIRS, batch_size=batch_size)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, _logits(scorer, _PAIRS), atol=1e-5)
    assert scores.min() < 0 or scores.max() > 1
    assert len(set(scores.tolist())) > 4


def test_the_format_of_sentence_transformers_gives_the_same(scorer: str, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(scorer, device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "modules.json").exists()
    np.testing.assert_array_equal(rerank(_spec(str(tmp_path / "saved")), _PAIRS), rerank(_spec(scorer), _PAIRS))


def test_both_texts_are_cut_to_the_given_length_and_never_beyond_the_model(scorer: str) -> None:
    pairs = [("a b c d e f g h", "h g f e d c b a"), ("a", "b")]
    np.testing.assert_allclose(rerank(_spec(scorer, 9), pairs), _logits(scorer, pairs, 9), atol=1e-5)
    long = [("a " * 300, "b " * 300)]
    np.testing.assert_allclose(rerank(_spec(scorer, 512), long), _logits(scorer, long, 64), atol=1e-5)


def test_the_longest_come_first_and_each_batch_is_told(scorer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentence_transformers import CrossEncoder

    batches: list[list[int]] = []
    told: list[tuple[str, int, int | None]] = []
    predict = CrossEncoder.predict

    def spy(self: Any, inputs: list[list[str]], **options: Any) -> Any:
        batches.append([len(query) + len(passage) for query, passage in inputs])
        return predict(self, inputs, **options)

    monkeypatch.setattr(CrossEncoder, "predict", spy)
    rerank(_spec(scorer), _PAIRS, lambda *step: told.append(step), batch_size=3)
    lengths = [length for batch in batches for length in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert told == [("score pairs with the cross-encoder", done, 7) for done in (0, 3, 6, 7)]


def test_can_be_stopped(scorer: str) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        rerank(_spec(scorer), _PAIRS, stop, batch_size=2)


def test_no_pairs_need_no_model() -> None:
    assert rerank(_spec("/nowhere"), []).shape == (0,)


def test_hostile_text_is_scored(scorer: str, capfd: pytest.CaptureFixture[str]) -> None:
    scores = rerank(_spec(scorer), [("\ud800", "a\x00\x1b[31m"), ("a" * 200_000, "b"), ("[SEP]", "👍🏽")])
    assert np.isfinite(scores).all()
    assert capfd.readouterr() == ("", "")


def test_a_score_that_is_no_number_is_an_error(scorer: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(scorer, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"pair 1\b"):
        rerank(_spec(str(folder)), _PAIRS)


def test_a_model_without_a_trained_head_is_refused(scorer: str, tiny: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(scorer, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    body = {name: weight for name, weight in weights.items() if not name.startswith("classifier")}
    save_file(body, folder / "model.safetensors", metadata={"format": "pt"})
    for other in (str(folder), tiny):
        with pytest.raises(InputError, match="no cross-encoder"):
            rerank(_spec(other), _PAIRS)


def test_several_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 labels"):
        rerank(_spec(_write(tmp_path / "nli", labels=3)), _PAIRS)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_named(scorer: str, tmp_path: Path, missing: str) -> None:
    folder = Path(shutil.copytree(scorer, tmp_path / "copy"))
    (folder / missing).unlink()
    with pytest.raises(InputError, match=str(folder)):
        rerank(_spec(str(folder)), _PAIRS)


def test_code_of_the_model_is_not_run_unasked(scorer: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scorer, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="could not be loaded"):
        rerank(_spec(str(folder)), _PAIRS)
    assert not (tmp_path / "ran").exists()


def test_a_hub_id_out_of_reach_names_the_offline_way() -> None:
    with pytest.raises(UnavailableError, match="copy the folder here and pass its path"):
        rerank(_spec("nobody/no-such-cross-encoder"), _PAIRS)
    with pytest.raises(InputError, match="no such model folder"):
        rerank(_spec("/no/such/folder"), _PAIRS)


def test_a_cached_hub_model_needs_no_modules_json(scorer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "0" * 40
    repo = tmp_path / "models--someone--cross"
    shutil.copytree(scorer, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for revision in (None, commit):
        found = rerank(_spec("someone/cross", revision=revision), _PAIRS)
        np.testing.assert_array_equal(found, rerank(_spec(scorer), _PAIRS))
