import json
import shutil
import time
from pathlib import Path

import pytest

from studio.errors import ConfigError, InputError, StudioError, UnavailableError
from studio.models.doctor import Status, examine, versions
from studio.models.load import MODEL_PRESETS, ModelSpec, choose_dtype, load_model, model_spec


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def statuses(folder: Path | str, max_length: int = 64, **spec: object) -> dict[str, Status]:
    findings = examine(ModelSpec(str(folder), max_length, device="cpu", **spec))  # type: ignore[arg-type]
    assert all(finding.remedy for finding in findings if finding.status is not Status.PASS)
    json.dumps([finding.to_dict() for finding in findings])
    return {finding.code: finding.status for finding in findings}


def test_the_tiny_model_is_well_but_for_trap_a(tiny: str) -> None:
    found = statuses(tiny)
    assert {code for code, status in found.items() if status is not Status.PASS} == {"query_prompt"}
    expected = (
        "files dtype prompts default_prompt_name architecture pooling normalize max_length eos_short eos_truncated"
    )
    assert set(found) >= {*expected.split(), "tokenizer_agreement", "norm", "padding_sides", "memory"}


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
    assert Status.FAIL not in statuses(tiny, dtype="bfloat16").values()


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
