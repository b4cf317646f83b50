import json
import shutil
import time
from pathlib import Path

import pytest

from studio.errors import ConfigError, InputError, StudioError, UnavailableError
from studio.models.doctor import Finding, Status, examine, versions
from studio.models.load import MODEL_PRESETS, ModelSpec, choose_dtype, load_model, model_spec, positions


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with mean pooling, saved as sentence-transformers does: an encoder like most of the hub's."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = "como pedir a segunda via da fatura o prazo para recurso é de dez dias úteis . ?".split()
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz"})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, *(f"##{one}" for one in letters)]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "raw")
    tokenizer.save_pretrained(folder / "raw")
    modules = [Transformer(str(folder / "raw")), Pooling(16, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture
def bert(small_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bert, tmp_path / "bert"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def statuses(folder: Path | str, max_length: int = 64, **spec: object) -> dict[str, Status]:
    return {code: finding.status for code, finding in examined(folder, max_length, **spec).items()}


def examined(folder: Path | str, max_length: int = 64, **spec: object) -> dict[str, Finding]:
    findings = examine(ModelSpec(str(folder), max_length, device="cpu", **spec))  # type: ignore[arg-type]
    assert all(finding.remedy for finding in findings if finding.status is not Status.PASS)
    json.dumps([finding.to_dict() for finding in findings])
    return {finding.code: finding for finding in findings}


def test_the_tiny_model_is_well_but_for_trap_a(tiny: str) -> None:
    found = statuses(tiny)
    assert {code for code, status in found.items() if status is not Status.PASS} == {"query_prompt"}
    expected = (
        "files dtype prompts default_prompt_name architecture pooling normalize max_length eos_short eos_truncated"
    )
    assert set(found) >= {*expected.split(), "tokenizer_agreement", "norm", "padding_sides", "memory", "precision"}


def test_an_encoder_is_well_without_last_token_and_end_of_sequence(bert: Path) -> None:
    found = examined(bert)
    assert Status.FAIL not in {finding.status for finding in found.values()}
    # No prompts, and a tokenizer class whose details are not known here.
    assert {code for code, finding in found.items() if finding.status is Status.WARN} <= {
        "prompts",
        "query_prompt",
        "tokenizer_agreement",
    }
    assert "reads both ways" in found["architecture"].message and "mean" in found["pooling"].message
    assert "Not needed" in found["eos_short"].message and "Not needed" in found["eos_truncated"].message
    assert statuses(bert, 65)["max_length"] is Status.FAIL
    edit(bert / "1_Pooling" / "config.json", pooling_mode="cls")
    assert "cls" in examined(bert)["pooling"].message
    edit(bert / "1_Pooling" / "config.json", pooling_mode="lasttoken")
    found = examined(bert)
    assert found["pooling"].status is Status.PASS and found["eos_short"].status is Status.FAIL


def test_an_encoder_with_a_dense_module_and_without_normalize(bert: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    model = SentenceTransformer(str(bert), device="cpu")
    SentenceTransformer(modules=[model[0], model[1], Dense(16, 8)], device="cpu").save_pretrained(str(bert))
    found = examined(bert)
    assert "Other modules: Dense" in found["pooling"].message
    assert found["normalize"].status is Status.WARN and found["norm"].status is Status.PASS
    assert "before they are normalised" in found["norm"].message and "8 dimensions" in found["architecture"].message


def test_a_model_without_a_transformer(tiny: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{tiny}/tokenizer.json")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save_pretrained(
        str(tmp_path / "static")
    )
    found = examined(tmp_path / "static")
    assert Status.FAIL not in {finding.status for finding in found.values()}
    assert "no transformer" in found["architecture"].message and "nothing is cut" in found["max_length"].message


def test_a_bidirectional_gemma_may_pool_the_mean(copy: Path) -> None:
    edit(copy / "config.json", use_bidirectional_attention=True)
    assert statuses(copy)["architecture"] is Status.WARN
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"embedding_dimension": 128, "pooling_mode": "mean"}))
    found = statuses(copy)
    assert found["architecture"] is found["pooling"] is found["eos_short"] is Status.PASS


def test_memory_is_compared_with_the_device(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Encoding holds about" in examined(tiny)["memory"].message
    for free, expected in ((10**12, Status.PASS), (12_000_000, Status.WARN), (1_000, Status.FAIL)):
        monkeypatch.setattr("studio.models.doctor._device_memory", lambda _, free=free: (free, 10**12))
        assert statuses(tiny, 32)["memory"] is expected


def test_positions_that_count_from_the_padding() -> None:
    from transformers import BertConfig, T5Config, XLMRobertaConfig

    assert positions(XLMRobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512
    assert positions(BertConfig(max_position_embeddings=512)) == 512
    assert positions(T5Config()) is None and positions(None) is None


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("modules.json", None, "stolen.Transformer"),
        ("config.json", {"auto_map": {"AutoModel": "stolen.Model"}}, "stolen.Model (AutoModel of config.json)"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["stolen.Slow", None]}}, "stolen.Slow"),
    ],
)
def test_code_that_comes_with_a_model_is_refused_before_any_of_it_runs(
    copy: Path, tmp_path: Path, file: str, changes: dict[str, object] | None, named: str
) -> None:
    ran = tmp_path / "ran"
    (copy / "stolen.py").write_text(f"open({str(ran)!r}, 'w')\n")
    if changes is None:
        modules = json.loads((copy / file).read_text())
        modules[0]["type"] = "stolen.Transformer"
        (copy / file).write_text(json.dumps(modules))
    else:
        edit(copy / file, **changes)
    with pytest.raises(ConfigError, match="trust_remote_code") as caught:
        load_model(ModelSpec(str(copy), 64, device="cpu"))
    assert named in str(caught.value.why) and not ran.exists()
    assert statuses(copy)["load"] is Status.FAIL


def test_code_that_was_allowed_runs(copy: Path) -> None:
    (copy / "own.py").write_text(
        "from sentence_transformers.sentence_transformer.modules import Normalize\n\n\n"
        "class Mine(Normalize):\n    pass\n"
    )
    modules = json.loads((copy / "modules.json").read_text())
    modules[-1]["type"] = "own.Mine"
    (copy / "modules.json").write_text(json.dumps(modules))
    model = load_model(model_spec(str(copy), max_length=64, device="cpu", trust_remote_code=True))
    assert type(model[-1]).__name__ == "Mine"


def test_a_checkpoint_with_a_prefix_and_old_names_is_whole(bert: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = bert / "model.safetensors"
    renamed = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(path).items()
    }
    save_file(renamed, path, metadata={"format": "pt"})
    assert load_model(ModelSpec(str(bert), 64, device="cpu")).encode("via").shape == (16,)


def test_a_lost_end_of_sequence_token_is_found(copy: Path) -> None:
    edit(copy / "tokenizer.json", post_processor=None)
    found = statuses(copy)
    assert found["eos_short"] is found["eos_truncated"] is Status.FAIL
    assert found["tokenizer_agreement"] is Status.PASS


def test_wrong_pooling_and_a_missing_normalize_module_are_found(copy: Path) -> None:
    modules = json.loads((copy / "modules.json").read_text())
    pooling = copy / next(module["path"] for module in modules if module["type"].endswith("Pooling")) / "config.json"
    pooling.write_text(json.dumps({"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}))
    kept = [module for module in modules if not module["type"].endswith("Normalize")]
    (copy / "modules.json").write_text(json.dumps(kept))
    found = statuses(copy)
    assert (found["pooling"], found["normalize"], found["norm"]) == (Status.FAIL,) * 3


def test_prompt_settings(copy: Path) -> None:
    path = copy / "config_sentence_transformers.json"
    edit(path, prompts={"web_search_query": "W: "}, default_prompt_name="web_search_query")
    found = statuses(copy)
    assert (found["query_prompt"], found["default_prompt_name"]) == (Status.WARN, Status.WARN)
    edit(path, prompts={}, default_prompt_name=None)
    assert statuses(copy)["prompts"] is Status.WARN
    edit(path, prompts={"query": "Q: "})
    assert statuses(copy)["query_prompt"] is Status.PASS


def test_too_long_for_the_positions(tiny: str) -> None:
    assert statuses(tiny, 1_000_000)["max_length"] is Status.FAIL


def test_a_file_that_stops_the_examination_is_a_finding(copy: Path) -> None:
    edit(copy / "config.json", model_type="no_such_architecture")
    assert statuses(copy)["load"] is Status.FAIL
    (copy / "modules.json").unlink()
    assert statuses(copy) == {"files": Status.FAIL}


def test_float16_is_refused_for_gemma_3(tiny: str) -> None:
    with pytest.raises(ConfigError, match="float16"):
        load_model(ModelSpec(tiny, 64, dtype="float16", device="cpu"))
    assert statuses(tiny, dtype="float16")["dtype"] is Status.FAIL
    assert choose_dtype("float16", "qwen3", "cpu") == "float16"
    assert choose_dtype("auto", "gemma3_text", "cpu") == "float32"
    assert choose_dtype("bfloat16", "gemma3_text", "cpu") == "bfloat16"


def test_bfloat16_is_examined_with_its_own_tolerance(tiny: str) -> None:
    found = statuses(tiny, dtype="bfloat16")
    assert Status.FAIL not in found.values() and found["precision"] is Status.WARN


def test_float16_of_another_model_is_warned_of(bert: Path) -> None:
    assert statuses(bert, dtype="float16")["precision"] is Status.WARN
    assert statuses(bert)["precision"] is Status.PASS


def test_loading_sets_the_length_and_the_precision(tiny: str) -> None:
    import torch

    model = load_model(ModelSpec(tiny, 77, device="cpu"))
    assert model.max_seq_length == 77 and model.dtype is torch.float32


def test_specs() -> None:
    spec = model_spec("harrier-oss-v1-270m")
    assert (spec.id_or_path, spec.max_length) == ("microsoft/harrier-oss-v1-270m", 512)
    assert spec.revision == MODEL_PRESETS["harrier-oss-v1-270m"].revision
    assert model_spec("microsoft/harrier-oss-v1-0.6b").revision
    assert model_spec("microsoft/harrier-oss-v1-0.6b", revision="main").revision == "main"
    assert model_spec("tiny", tiny=Path("x")).id_or_path == "x"
    with pytest.raises(ConfigError):
        model_spec("tiny")
    for wrong in ({"max_length": 2}, {"max_length": True}, {"max_length": 64, "dtype": "int8"}):
        with pytest.raises(ConfigError):
            ModelSpec("x", **wrong)  # type: ignore[arg-type]


def _cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])


def _lose_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if "mlp" in name))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "modules.json").unlink(),
        lambda folder: (folder / "modules.json").write_text("{}"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
        _cut_weights,
        _lose_a_tensor,
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "1_Pooling" / "config.json").write_text("{"),
    ],
)
def test_a_damaged_folder_is_an_error_with_a_reason(copy: Path, damage) -> None:
    damage(copy)
    with pytest.raises(InputError) as caught:
        load_model(ModelSpec(str(copy), 64, device="cpu"))
    assert caught.value.why and caught.value.where


def test_a_hub_out_of_reach_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match="not on this machine"):
        load_model(model_spec("harrier-oss-v1-270m"))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("studio.models.locate._ANSWER_SECONDS", -0.8)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: time.sleep(30))
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        load_model(model_spec("harrier-oss-v1-270m"))
    assert time.monotonic() - started < 5 and "in time" in str(caught.value)
    with pytest.raises(StudioError):
        load_model(ModelSpec("../no/such", 64))


def test_a_filled_cache_is_used_offline(tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny, snapshot)
    model = load_model(ModelSpec("owner/name", 64, revision="a" * 40, device="cpu"))
    assert model.max_seq_length == 64


def test_versions_name_the_stack() -> None:
    found = versions()
    assert found["torch"] and found["transformers"] and found["sentence-transformers"] and found["python"]
