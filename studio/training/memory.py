"""How much memory a run takes: from its model's configuration and the real lengths of its texts, then corrected by a
measured step."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import InputError
from studio.files import write_text
from studio.models.load import preset_of
from studio.models.locate import locate, read_json, transformer_folder
from studio.pairs.schema import UNREADABLE
from studio.sample import model_location
from studio.training.lengths import Lengths
from studio.training.losses import CACHED, LOSSES
from studio.training.spec import RunSpec

_CALIBRATION = Path(".studio") / "calibration.json"
_CONTEXT = 1_200_000_000
"""Bytes a CUDA process holds before its first tensor: the driver's context and the libraries' kernels."""
_SAVED = {
    ("norms", "bf16"): (42.0, 8.0, 12.0, 18.0),
    ("plain", "bf16"): (26.0, 8.0, 10.0, 16.0),
    ("norms", "fp32"): (40.0, 16.0, 16.0, 30.0),
    ("plain", "fp32"): (24.0, 16.0, 16.0, 30.0),
}
"""Bytes that one layer keeps for the backward pass, a token: times the hidden size, the size of its feed-forward part,
that of all query heads and that of all key heads. Measured with saved-tensor hooks on small models of transformers
5.23 in float32 weights, autocast to bfloat16 or not: "norms" is Gemma 3 with four norms a layer, "plain" Qwen 3 with
two. For Harrier they give 1.06 MiB a token (270m) and 2.36 MiB (0.6b)."""
_FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text")
_QUANTISED = 0.57
"""Bytes a weight in nf4, its scales included."""


@dataclass(frozen=True)
class ModelFacts:
    """What memory depends on in a model.

    `parameters`: all weights; `embeddings`: those of the token table. Sizes as in config.json: `queries` and `keys` are
    heads times their size.
    """

    layers: int
    hidden: int
    inner: int
    queries: int
    keys: int
    parameters: int
    embeddings: int
    kind: str


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, part by part.

    Attributes:
        weights, gradients, optimiser: of the whole run.
        copies: of the weights in the precision of autocast.
        activations: of what goes through the model at once.
        context: what CUDA takes for itself; 0 on a CPU.
        tokens: in memory at once, padding included.
        factor: what a measured step said of the activations; None: not measured.
        adding: whether gradients of earlier batches wait for this one's: accumulation, and every cached loss.
    """

    weights: int
    gradients: int
    optimiser: int
    copies: int
    activations: int
    context: int
    tokens: int
    factor: float | None = None
    adding: bool = False

    @property
    def corrected(self) -> int:
        """The activations as measured, if they were."""
        return int(self.activations * (self.factor or 1.0))

    @property
    def allocated(self) -> int:
        """The largest amount of all steps: activations are there before most gradients are, and then make way."""
        while_computing = self.copies + self.corrected + (self.gradients if self.adding else 0)
        return self.weights + self.optimiser + max(while_computing, self.gradients)

    @property
    def total(self) -> int:
        """All of it, with what CUDA takes for itself."""
        return self.allocated + self.context


def model_facts(id_or_path: str, revision: str | None = None) -> ModelFacts:
    """Read what memory depends on from a model's files, without torch.

    Raises:
        InputError: the folder is no model of sentence-transformers, or a file of it is damaged.
        UnavailableError: the model is neither in the cache nor within reach.
    """
    where = model_location(id_or_path)
    preset = preset_of(where)
    folder = transformer_folder(locate(preset.id if preset else where, revision, weights=False))
    config = read_json(folder / "config.json")
    config = config.get("text_config", config)
    hidden, layers = _number(config, "hidden_size"), _number(config, "num_hidden_layers")
    heads = _number(config, "num_attention_heads", 1)
    size = _number(config, "head_dim", hidden // max(1, heads))
    inner = _number(config, "intermediate_size", 4 * hidden)
    queries, keys = heads * size, _number(config, "num_key_value_heads", heads) * size
    embeddings = _number(config, "vocab_size", 0) * hidden
    held = sum(_weights_of(file) for file in sorted(folder.glob("*.safetensors")))
    built = embeddings + layers * (2 * hidden * (queries + keys) + 3 * hidden * inner)
    parameters = held or (preset.parameters if preset else built)
    kind = str(config.get("model_type", ""))
    return ModelFacts(layers, hidden, inner, queries, keys, parameters, embeddings, kind)


def estimate(
    spec: RunSpec, model: ModelFacts, lengths: Lengths, *, device: str = "cpu", factor: float | None = None
) -> MemoryEstimate:
    """Estimate the memory that a run takes on each of its devices.

    Weights are float32 (4 bytes a parameter; frozen ones under LoRA as well, unless they are quantised), gradients as
    much for what trains, AdamW twice as much. Activations follow the tokens of a batch: all columns together, or one
    mini-batch with a cached loss.

    Args:
        spec: the run.
        model: see `model_facts`.
        lengths: see `studio.training.lengths.measure`.
        device: `cuda`, or anything else.
        factor: see `calibrated_factor`.
    """
    cuda = device.startswith("cuda")
    tokens = tokens_at_once(spec, lengths)
    training = 4 * _trainable(spec, model)
    frozen = model.parameters if spec.lora else 0
    weights = 4 * model.parameters
    if spec.lora:
        quantised = spec.lora.quantise != "none"
        weights = int(frozen * (_QUANTISED if quantised else 4)) + training
    half = precision_of(spec, cuda) != "fp32"
    return MemoryEstimate(
        weights=weights,
        gradients=training,
        optimiser=_moments(spec.optimiser.name) * training,
        copies=2 * (model.parameters - model.embeddings) if half else 0,
        activations=int(tokens * _bytes_a_token(spec, model, half)),
        context=_CONTEXT if cuda else 0,
        tokens=tokens,
        factor=factor,
        adding=spec.batch.accumulation > 1 or any(LOSSES[(part.loss or spec.loss).name].cached for part in spec.data),
    )


def tokens_at_once(spec: RunSpec, lengths: Lengths) -> int:
    """Return how many tokens, padding included, go through the model together on one device."""
    losses = [part.loss or spec.loss for part in spec.data]
    if all(LOSSES[loss.name].cached for loss in losses):
        size = max(loss.mini_batch_size for loss in losses)
        return lengths.mini_batch_tokens(spec.batch.per_device, size, spec.seed)
    return lengths.batch_tokens(spec.batch.per_device, spec.seed)


def precision_of(spec: RunSpec, cuda: bool) -> str:
    """Return what a run computes in; `auto` is taken for bf16 on a CUDA device."""
    if spec.precision.mode == "auto":
        return "bf16" if cuda else "fp32"
    return spec.precision.mode


def calibrated_factor(said: MemoryEstimate, peak: int, steps: int = 1) -> float | None:
    """Return by what the estimated activations must be multiplied for a run that was measured.

    In a run of one step the optimiser's state comes after the activations have gone, so it does not count.

    Args:
        said: the estimate for the run that was measured, without a factor.
        peak: the most that was allocated for tensors in it, bytes; without CUDA's own.
        steps: how many steps it had.

    Returns:
        The factor, or None where the peak was not one of activations and says nothing of them.
    """
    before = said.weights + said.copies + (said.optimiser if steps > 1 else 0)
    before += said.gradients if said.adding else 0
    after = said.weights + said.gradients + said.optimiser
    if not said.activations or peak <= after * 1.02 or peak <= before:
        return None
    return (peak - before) / said.activations


def calibration_key(spec: RunSpec, device: str) -> str:
    """Return what a measurement is good for: model, device, precision, and how activations are kept."""
    adapters = f"lora {spec.lora.quantise}" if spec.lora else "all weights"
    kept = "checkpointed" if spec.precision.activation_checkpointing else "kept"
    mode = precision_of(spec, device.lower() not in ("cpu", "mps"))
    return " | ".join((spec.model.id, device, mode, adapters, kept))


def read_calibration(project: Path, key: str) -> float | None:
    """Return the factor that a smoke test of this project has measured, if one has.

    Raises:
        InputError: the file is damaged.
    """
    value = _calibrations(project).get(key, {}).get("factor")
    return float(value) if value is not None else None


def write_calibration(project: Path, key: str, factor: float, **known: Any) -> None:
    """Keep a measured factor; `known` is stored beside it, for people.

    Raises:
        InputError: the file is damaged.
        UnavailableError: it cannot be written.
    """
    document = _calibrations(project) | {key: {"factor": factor, **known}}
    write_text(project / _CALIBRATION, json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def smaller(spec: RunSpec, said: MemoryEstimate, room: int) -> list[str]:
    """Say what would bring a run below `room` bytes, the least costly first.

    A change is named only where it is estimated to be enough alone; if none is, all that help are.
    """
    cached = LOSSES[spec.loss.name].cached
    at_once = spec.loss.mini_batch_size if cached else spec.batch.per_device
    a_row = max(1.0, said.corrected / at_once)
    fixed = said.total - said.corrected
    options: list[tuple[int, str]] = []
    # A cached loss adds up gradients over its mini-batches, so they are there while the next one is computed.
    fits = int((room - fixed - (0 if said.adding else said.gradients)) / a_row)
    if LOSSES[spec.loss.name].in_batch and 0 < fits < at_once:
        name, size = CACHED.get(spec.loss.name, spec.loss.name), 1 << (fits.bit_length() - 1)
        slower = "slower" if cached else "2 to 2.4 times slower"
        options.append((room, f"{name} with mini-batches of {size}: the same negatives, {slower}"))
    if not spec.precision.activation_checkpointing:
        words = "activation checkpointing: the same result, about 30 % slower"
        options.append((fixed + said.corrected // 10, words))
    rows = int((room - fixed) / a_row)
    if not cached and 0 < rows < spec.batch.per_device:
        options.append((room, f"{rows} rows a batch at most: fewer negatives"))
    if spec.lora is None:
        options.append((said.total - said.gradients - said.optimiser, "LoRA: adapters only"))
    options.append((room, "shorter texts (model.max_length), a smaller model, or a larger device"))
    enough = [words for left, words in options if left <= room]
    return enough if len(enough) > 1 else [words for _, words in options]


def _bytes_a_token(spec: RunSpec, model: ModelFacts, half: bool) -> float:
    layout = "norms" if model.kind in _FOUR_NORMS else "plain"
    factors = _SAVED[layout, "bf16" if half else "fp32"]
    sizes = (model.hidden, model.inner, model.queries, model.keys)
    layer = sum(factor * size for factor, size in zip(factors, sizes, strict=True))
    rest = 8 * model.hidden
    if spec.precision.activation_checkpointing:
        # Each layer's input, and one layer at a time whole.
        return model.layers * 4 * model.hidden + layer + rest
    return model.layers * layer + rest


def _trainable(spec: RunSpec, model: ModelFacts) -> int:
    if spec.lora is None:
        return model.parameters
    wide = 2 * (model.hidden + model.queries) + 2 * (model.hidden + model.keys) + 3 * (model.hidden + model.inner)
    return spec.lora.r * wide * model.layers


def _moments(optimiser: str) -> int:
    """How many numbers a parameter an optimiser keeps; 2 for the Adam family, which nearly all are."""
    return {"sgd": 0, "adagrad": 1, "adafactor": 0}.get(optimiser, 2)


def _weights_of(file: Path) -> int:
    """Count the weights of a safetensors file from its header."""
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        shapes = [held["shape"] for name, held in header.items() if name != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise InputError(
            "A weights file of the model is damaged.",
            where=str(file),
            why=f"{type(error).__name__}: {error}",
            remedy="download or copy the model again",
        ) from error
    total = 0
    for shape in shapes:
        count = 1
        for edge in shape:
            count *= int(edge)
        total += count
    return total


def _number(config: dict[str, Any], key: str, default: int = 0) -> int:
    value = config.get(key)
    return value if isinstance(value, int) else default


def _calibrations(project: Path) -> dict[str, Any]:
    path = project / _CALIBRATION
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text("utf-8"))
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
    except UNREADABLE as error:
        raise InputError(
            "What smoke tests measured cannot be read.",
            where=str(path),
            why=str(error),
            remedy="remove the file, and run the smoke test again",
        ) from error
    return document
