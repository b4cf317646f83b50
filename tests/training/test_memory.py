"""The estimate of memory against real tensors, and its correction by a measured step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.errors import InputError
from studio.models.load import ModelSpec, load_model
from studio.sample import TINY_MODEL, model_location
from studio.training.lengths import Lengths
from studio.training.losses import build_loss
from studio.training.memory import (
    ModelFacts,
    calibrated_factor,
    calibration_key,
    estimate,
    model_facts,
    read_calibration,
    smaller,
    tokens_at_once,
    write_calibration,
)
from studio.training.presets import PRESETS
from studio.training.spec import RunSpec, changed

HARRIER_270M = ModelFacts(18, 640, 2048, 1024, 256, 268_098_176, 167_772_160, "gemma3_text")
HARRIER_06B = ModelFacts(28, 1024, 3072, 2048, 1024, 596_049_920, 155_582_464, "qwen3")
FIRST = PRESETS["first_try"].spec


def lengths_of(query: int, positive: int, rows: int = 256, limit: int = 512) -> Lengths:
    columns = {"query": np.full(rows, query, np.int64), "positive": np.full(rows, positive, np.int64)}
    return Lengths(limit, {"project": columns}, columns["query"], columns["positive"], sampled=False)


def test_the_tiny_model_is_read_from_its_files() -> None:
    facts = model_facts(TINY_MODEL)
    model = load_model(ModelSpec(model_location(TINY_MODEL), 64, dtype="float32", device="cpu"))
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (facts.layers, facts.hidden, facts.inner, facts.queries, facts.keys) == (4, 128, 384, 128, 32)
    assert facts.embeddings == 8192 * 128


def test_published_models_take_what_others_report() -> None:
    """State of 16 bytes a weight, and about 1.0 and 2.2 MiB of activations a token in bf16."""
    said = estimate(FIRST, HARRIER_270M, lengths_of(40, 160), device="cuda")
    assert said.weights + said.gradients + said.optimiser == 16 * HARRIER_270M.parameters
    assert said.tokens == 128 * 200
    assert said.activations / said.tokens / 2**20 == pytest.approx(1.0, rel=0.15)
    large = estimate(FIRST, HARRIER_06B, lengths_of(40, 160), device="cuda")
    assert large.activations / large.tokens / 2**20 == pytest.approx(2.2, rel=0.15)
    kept = changed(FIRST, {"precision.activation_checkpointing": True})
    assert estimate(kept, HARRIER_270M, lengths_of(40, 160), device="cuda").activations < said.activations / 9
    assert said.context and not estimate(FIRST, HARRIER_270M, lengths_of(40, 160)).context


def test_activations_are_those_that_autograd_keeps() -> None:
    """In float32 on the CPU, on the embedded model: what is saved for the backward pass, byte for byte but a third."""
    spec = PRESETS["tiny"].spec
    model = load_model(ModelSpec(model_location(TINY_MODEL), 96, dtype="float32", device="cpu"))
    model.train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    queries, passages = ["como renovar o passaporte"] * 16, ["a polícia federal renova o passaporte " * 8] * 16
    features = [model.preprocess(texts) for texts in (queries, passages)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = build_loss(model, spec, spec.loss)(features, None)
    saved = sum(size for size, _ in kept.values())
    loss.backward()
    wide, long = (int(part["input_ids"].shape[1]) for part in features)
    said = estimate(
        changed(spec, {"batch.per_device": 16}), model_facts(TINY_MODEL), lengths_of(wide, long, rows=16, limit=96)
    )
    assert said.tokens == 16 * (wide + long)
    assert said.activations == pytest.approx(saved, rel=0.33)


def test_padding_counts_and_cached_losses_hold_one_mini_batch() -> None:
    columns = {"query": np.array([10] * 63 + [100]), "positive": np.array([20] * 63 + [900])}
    lengths = Lengths(512, {"project": columns}, columns["query"], columns["positive"], sampled=False)
    spec = changed(FIRST, {"batch.per_device": 64})
    assert tokens_at_once(spec, lengths) == 64 * 100 + 64 * 512
    cached = changed(spec, {"loss.name": "cached_mnrl", "loss.mini_batch_size": 16})
    assert tokens_at_once(cached, lengths) == 16 * 512
    assert tokens_at_once(spec, lengths_of(10, 20, rows=8)) == 8 * 30


def test_lora_trains_less_and_nf4_holds_less() -> None:
    whole = estimate(FIRST, HARRIER_06B, lengths_of(40, 160), device="cuda")
    lora = estimate(PRESETS["lora_0_6b"].spec, HARRIER_06B, lengths_of(40, 160), device="cuda")
    assert lora.gradients < whole.gradients / 5
    assert lora.total < whole.total
    quantised = changed(PRESETS["lora_0_6b"].spec, {"lora.quantise": "nf4"})
    assert estimate(quantised, HARRIER_06B, lengths_of(40, 160), device="cuda").weights < lora.weights / 3


def test_a_measured_step_corrects_the_activations() -> None:
    said = estimate(FIRST, HARRIER_270M, lengths_of(40, 160), device="cuda")
    peak = said.weights + said.copies + int(1.25 * said.activations)
    factor = calibrated_factor(said, peak)
    assert factor == pytest.approx(1.25, rel=1e-3)
    again = estimate(FIRST, HARRIER_270M, lengths_of(40, 160), device="cuda", factor=factor)
    assert again.corrected == pytest.approx(1.25 * said.activations, rel=1e-3)
    assert again.allocated > said.allocated
    # A peak of weights, gradients and Adam's numbers says nothing of activations.
    assert calibrated_factor(said, said.weights + said.gradients + said.optimiser) is None


def test_corrections_are_kept_by_model_device_and_precision(tmp_path: Path) -> None:
    key = calibration_key(FIRST, "NVIDIA H200")
    assert read_calibration(tmp_path, key) is None
    write_calibration(tmp_path, key, 1.2, run="smoke")
    write_calibration(tmp_path, "other", 0.9)
    assert read_calibration(tmp_path, key) == 1.2
    assert calibration_key(FIRST, "NVIDIA A100") != key
    assert calibration_key(changed(FIRST, {"precision.mode": "fp32"}), "NVIDIA H200") != key
    auto = changed(FIRST, {"precision.mode": "auto"})
    assert calibration_key(auto, "NVIDIA H200") == key
    (tmp_path / ".studio" / "calibration.json").write_text("[]")
    with pytest.raises(InputError):
        read_calibration(tmp_path, key)


def test_what_would_help_is_named_only_where_it_helps() -> None:
    spec = changed(FIRST, {"batch.per_device": 512})
    said = estimate(spec, HARRIER_270M, lengths_of(60, 400, rows=1024), device="cuda")
    told = smaller(spec, said, 40_000_000_000)
    assert "mini-batches" in told[0]
    assert any("checkpointing" in line for line in told)
    cached = changed(spec, {"loss.name": "cached_mnrl"})
    less = estimate(cached, HARRIER_270M, lengths_of(60, 400, rows=1024), device="cuda")
    assert not any("mini-batches" in line for line in smaller(cached, less, 40_000_000_000))
    assert smaller(spec, said, 1_000_000)


def test_accumulation_and_mini_batches_keep_gradients_meanwhile() -> None:
    def allocated(changes: dict[str, Any]) -> int:
        return estimate(changed(FIRST, changes), HARRIER_270M, lengths_of(60, 400), device="cuda").allocated

    assert allocated({"batch.accumulation": 2}) - allocated({}) == 4 * HARRIER_270M.parameters


def test_a_damaged_weights_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "x.Transformer", "path": ""}]))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, "num_hidden_layers": 1}))
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(InputError, match="damaged"):
        model_facts(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    assert model_facts(str(tmp_path)).parameters > 0
    assert model_facts(str(tmp_path)).kind == RunSpec().preset
