"""Is this model what it should be? Everything that has silently ruined a Harrier run, asked before one starts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.models.load import ModelSpec, check_files, choose_dtype, load_model, positions, preset_of
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.tokenizer import StudioTokenizer, load_tokenizer, model_prompts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

_PACKAGES = (
    "torch", "transformers", "sentence-transformers", "tokenizers", "accelerate", "datasets", "huggingface-hub",
    "safetensors", "peft", "polars", "numpy",
)  # fmt: skip
_SHORT = "Como pedir a segunda via da fatura?"
_LONG = "O prazo para recurso é de dez dias úteis. "
_ODD = "a\u00a0b\u202e👍🏽e\u0301\x00\x1b[31m\r\n\t  <eos> ﷽ ½"
_LONGEST_PROBE = 131_072
_ADAM_BYTES = 16
"""Bytes a parameter in float32 training with Adam: weight, gradient and two moments, 4 bytes each."""
_BATCH = 32
_CAUSAL = frozenset(
    "bloom cohere cohere2 falcon gemma gemma2 gemma3 gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_oss "
    "gptj granite llama ministral mistral mixtral olmo olmo2 olmo3 opt phi phi3 qwen2 qwen2_moe qwen3 qwen3_moe "
    "smollm3 stablelm starcoder2".split()
)
"""Decoder-only architectures: a token sees those before it, so that only the last one has seen the whole text."""


class Status(StrEnum):
    """How a check ended. `fail`: vectors or training would be wrong."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of the doctor: a stable `code`, what was found, and what to do ("" when nothing)."""

    code: str
    status: Status
    message: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return JSON-able values: code, status, message, remedy."""
        return {**asdict(self), "status": self.status.value}


@dataclass(frozen=True, slots=True)
class _Patient:
    spec: ModelSpec
    model: SentenceTransformer
    tokenizer: StudioTokenizer

    @property
    def config(self) -> Any:
        """The transformer's configuration; None for a model without a transformer."""
        return getattr(getattr(self.model[0], "model", None), "config", None)

    @property
    def causal(self) -> bool:
        """Whether only the last token has seen the whole text."""
        config = self.config
        both_ways = getattr(config, "use_bidirectional_attention", None) or not getattr(config, "is_causal", True)
        return getattr(config, "model_type", None) in _CAUSAL and not both_ways

    @property
    def pools_last(self) -> bool:
        """Whether the vector is, or ought to be, that of the last token."""
        return self.causal or getattr(self.module("Pooling"), "pooling_mode", None) == "lasttoken"

    def module(self, name: str) -> Any:
        """The first module of a class of sentence-transformers, or None."""
        return next((module for module in self.model if type(module).__name__ == name), None)


def versions() -> dict[str, str | None]:
    """Return package → installed version (None: not installed), with `python`; imports none of them."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def examine(spec: ModelSpec) -> list[Finding]:
    """Examine a model: first its files, then the loaded model on a few short texts (seconds for 270m on a CPU).

    What is right depends on the architecture: a decoder-only model must pool the last token, and that must be the
    end-of-sequence token; an encoder may pool as it was trained to.

    Never raises `StudioError`: what stops the examination is its last finding. Codes: `known_issue`, `files`,
    `dtype`, `prompts`, `query_prompt`, `default_prompt_name`, `tokenizer`, `load`, `architecture`, `precision`,
    `pooling`, `normalize`, `max_length`, `eos_short`, `eos_truncated`, `tokenizer_agreement`, `norm`,
    `padding_sides`, `memory`.
    """
    findings: list[Finding] = []
    code = "files"
    try:
        findings += _known_issue(spec)
        findings += _files(spec)
        code = "dtype"
        findings += _dtype(spec)
        code = "prompts"
        findings += _prompts(spec)
        code = "tokenizer"
        tokenizer = load_tokenizer(spec.id_or_path, spec.revision)
        code = "load"
        patient = _Patient(spec, load_model(spec), tokenizer)
        for name, check in _CHECKS.items():
            code = name
            findings += check(patient)
    except StudioError as error:
        findings.append(Finding(code, Status.FAIL, error.what, _advice(error)))
    except Exception as error:
        findings.append(Finding(code, Status.FAIL, f"The check broke off: {type(error).__name__}: {error}"))
    return findings


def _advice(error: StudioError) -> str:
    return "; ".join(part for part in (error.why, error.remedy) if part)


def _known_issue(spec: ModelSpec) -> Iterator[Finding]:
    preset = preset_of(spec.id_or_path)
    if preset and preset.known_issue:
        yield Finding("known_issue", Status.WARN, f"This model is {preset.known_issue}.", "try it first")


def _files(spec: ModelSpec) -> Iterator[Finding]:
    model_type = check_files(locate(spec.id_or_path, spec.revision))
    yield Finding("files", Status.PASS, f"Modules, configuration and weights are there ({model_type}).")


def _dtype(spec: ModelSpec) -> Iterator[Finding]:
    config = read_json(transformer_folder(locate(spec.id_or_path, spec.revision)) / "config.json")
    dtype = choose_dtype(spec.dtype, str(config.get("model_type")), spec.device)
    saved = config.get("dtype") or config.get("torch_dtype") or "unknown"
    yield Finding("dtype", Status.PASS, f"Loads in {dtype} (saved in {saved}).")


def _prompts(spec: ModelSpec) -> Iterator[Finding]:
    own = model_prompts(spec.id_or_path, spec.revision)
    named = [name for name, prompt in own.prompts.items() if prompt]
    if named:
        yield Finding("prompts", Status.PASS, f"Prompts: {', '.join(named)}.")
    else:
        yield Finding(
            "prompts", Status.WARN, "The model has no prompts.", "check that config_sentence_transformers.json is there"
        )
    if own.prompts.get("query"):
        yield Finding("query_prompt", Status.PASS, "`encode_query` applies the model's `query` prompt.")
    else:
        how = 'carries `"query": ""`' if "query" in own.prompts else "has no `query` prompt"
        message = f"The model {how}: `encode_query` is silently unprompted."
        yield Finding(
            "query_prompt", Status.WARN, message, "let the prompt contract set it, and pass the prompt itself"
        )
    if own.default_prompt_name is None:
        yield Finding("default_prompt_name", Status.PASS, "No default prompt: plain `encode` is raw.")
    else:
        message = f"Plain `encode` applies {own.default_prompt_name!r} to everything, documents included."
        yield Finding("default_prompt_name", Status.WARN, message, "unset default_prompt_name, and encode by role")


def _architecture(patient: _Patient) -> Iterator[Finding]:
    config = patient.config
    parameters = sum(parameter.numel() for parameter in patient.model.parameters())
    what = f"{patient.model.get_embedding_dimension()} dimensions, {parameters:,} parameters"
    if config is None:
        yield Finding("architecture", Status.PASS, f"{type(patient.model[0]).__name__}, {what}; no transformer.")
        return
    kind = "decoder-only" if patient.causal else "reads both ways"
    layers = getattr(config, "num_hidden_layers", "?")
    message = f"{config.model_type} ({kind}), {layers} layers, {what}."
    if getattr(config, "use_bidirectional_attention", None) and patient.pools_last:
        yield Finding("architecture", Status.WARN, f"{message} Attention is bidirectional.", "Harrier's is causal")
    else:
        yield Finding("architecture", Status.PASS, message)


def _precision(patient: _Patient) -> Iterator[Finding]:
    dtype, device = str(patient.model.dtype).removeprefix("torch."), patient.model.device.type
    here = f"{dtype} on {device.upper() if device != 'cuda' else 'a CUDA device'}"
    if dtype == "float16":
        message = f"{here}: numbers end at 65,504, and a model that passes that gives NaN, which embedding refuses."
        remedy = "bfloat16 where the device has it, else float32"
    elif dtype == "bfloat16" and device == "cpu":
        message = f"{here}: cosines move by up to .002, and a processor without bfloat16 is slower than in float32."
        remedy = "float32 (`auto` takes it), unless you have measured that this processor is faster"
    elif dtype == "bfloat16":
        yield Finding("precision", Status.PASS, f"{here}: half the memory of float32; cosines move by up to .002.")
        return
    else:
        cost = "; twice the memory of bfloat16, and slower on a GPU that has it" if device == "cuda" else ""
        yield Finding("precision", Status.PASS, f"{here}: exact{cost}.")
        return
    yield Finding("precision", Status.WARN, message, remedy)


def _pooling(patient: _Patient) -> Iterator[Finding]:
    pooling = patient.module("Pooling")
    mode = getattr(pooling, "pooling_mode", None)
    others = [name for name in map(_name, list(patient.model)[1:]) if name not in ("Pooling", "Normalize")]
    also = f" Other modules: {', '.join(others)}." if others else ""
    if patient.causal and mode != "lasttoken":
        message = f"Pooling is {mode}, not the last token, and only that one has seen the whole text."
        yield Finding("pooling", Status.FAIL, message + also, "set lasttoken pooling, as Harrier has")
    elif patient.pools_last and not pooling.include_prompt:
        message = "Pooling leaves the prompt out (include_prompt is false)."
        yield Finding("pooling", Status.WARN, message + also, "harmless for the last token, but not what Harrier ships")
    elif patient.pools_last:
        yield Finding("pooling", Status.PASS, "The last attended token is pooled." + also)
    elif pooling is not None:
        prompt = "" if pooling.include_prompt else "; the prompt is read but not pooled"
        message = f"Pooling is {mode}{prompt}: right for a model that reads both ways, if it was trained so."
        yield Finding("pooling", Status.PASS, message + also)
    elif patient.config is None:
        yield Finding("pooling", Status.PASS, f"{_name(patient.model[0])} needs no Pooling module." + also)
    else:
        yield Finding("pooling", Status.FAIL, "The model has no Pooling module." + also, "give one with its modules")
    if patient.module("Normalize") is not None:
        yield Finding("normalize", Status.PASS, "Vectors are normalised by the model.")
    elif patient.pools_last:
        remedy = "add a Normalize module, or every user must normalise before a dot product"
        yield Finding("normalize", Status.FAIL, "The model has no Normalize module.", remedy)
    else:
        message = "The model has no Normalize module; the studio normalises what it embeds."
        yield Finding("normalize", Status.WARN, message, "elsewhere compare its vectors by cosine, or add the module")


def _name(module: object) -> str:
    return type(module).__name__


def _max_length(patient: _Patient) -> Iterator[Finding]:
    limit = positions(patient.config)
    wanted = patient.spec.max_length
    if patient.config is None:
        yield Finding("max_length", Status.PASS, f"{_name(patient.model[0])} reads whole texts; nothing is cut.")
    elif patient.model.max_seq_length != wanted:
        message = f"The model cuts at {patient.model.max_seq_length} tokens, not at {wanted}."
        yield Finding("max_length", Status.FAIL, message, "set max_seq_length after loading")
    elif limit is not None and wanted > limit:
        message = f"{wanted} tokens are asked for, but the model has {limit} positions."
        yield Finding("max_length", Status.FAIL, message, f"use at most {limit}")
    else:
        reads = "it names no limit of its own" if limit is None else f"the model reads {limit}"
        yield Finding("max_length", Status.PASS, f"Texts are cut at {wanted} tokens ({reads}).")


def _too_long(patient: _Patient) -> str:
    """A text that is truncated; the sentence has more than four tokens in any vocabulary of words or bytes."""
    return _LONG * (min(patient.spec.max_length, _LONGEST_PROBE) // 4 + 1)


def _eos(patient: _Patient) -> Iterator[Finding]:
    if not patient.pools_last:
        for code in ("eos_short", "eos_truncated"):
            yield Finding(code, Status.PASS, "Not needed: the vector is not that of the last token.")
        return
    eos = patient.model.tokenizer.eos_token_id
    for code, text, kind in (("eos_short", _SHORT, "short"), ("eos_truncated", _too_long(patient), "truncated")):
        last = attended_ids(patient.model, text)[-1]
        if eos is not None and last == eos:
            yield Finding(code, Status.PASS, f"The pooled token of a {kind} text is the end-of-sequence token.")
        else:
            message = f"A {kind} text ends in token {last}, not in the end-of-sequence token ({eos})."
            remedy = "put `<eos>` into the post-processor of tokenizer.json; add_eos_token in its config has no effect"
            yield Finding(code, Status.FAIL, message, remedy)


def _agreement(patient: _Patient) -> Iterator[Finding]:
    if patient.config is None:
        yield Finding("tokenizer_agreement", Status.PASS, "Not compared: there is no transformer to train.")
        return
    texts = (_SHORT, _ODD, "", _too_long(patient))
    wrong = [
        text
        for text in texts
        if list(patient.tokenizer.encode(text, patient.spec.max_length).ids) != attended_ids(patient.model, text)
    ]
    doubts = "; ".join(patient.tokenizer.doubts)
    if wrong:
        message = f"The preview's ids are not the trainer's for {len(wrong)} of {len(texts)} probes. {doubts}".strip()
        yield Finding(
            "tokenizer_agreement", Status.FAIL, message, "do not trust previews and token counts of this model"
        )
    elif doubts:
        yield Finding(
            "tokenizer_agreement", Status.WARN, f"The probes agree, but {doubts}.", "compare a few rows by hand"
        )
    else:
        yield Finding("tokenizer_agreement", Status.PASS, "The preview's ids are the trainer's on every probe.")


def _vectors(patient: _Patient) -> Iterator[Finding]:
    import numpy as np

    # bfloat16 keeps 8 bits of mantissa: errors of about 2**-8 are its own.
    tolerance = 1e-4 if str(patient.model.dtype) == "torch.float32" else 3e-2
    padded = _padded_both_ways(patient) if patient.causal else _padded_and_alone(patient)
    (one_way, vectors), (other_way, others) = padded.items()
    norms = np.linalg.norm(vectors, axis=1)
    off = float(np.max(np.abs(norms - 1)))
    normalised = patient.pools_last or patient.module("Normalize") is not None
    if normalised and not off <= tolerance:
        yield Finding(
            "norm", Status.FAIL, f"Vectors have length {norms[0]:.4g}, not 1.", "NaN: precision; else: Normalize"
        )
    elif not (np.isfinite(norms).all() and norms.min() > 0):
        yield Finding("norm", Status.FAIL, f"Vectors have length {norms[0]:.4g}.", "use float32; else the weights")
    elif normalised:
        yield Finding("norm", Status.PASS, f"Vectors have length 1 (within {off:.1g}).")
    else:
        yield Finding("norm", Status.PASS, f"Vectors have length {norms[0]:.4g} before they are normalised.")
    apart = float(np.max(np.abs(vectors - others))) / max(1.0, float(norms.max()))
    sides = patient.model.tokenizer.padding_side if patient.config is not None else "nothing"
    if not apart <= tolerance:
        message = f"{one_way} and {other_way} give different vectors (up to {apart:.2g})."
        yield Finding("padding_sides", Status.FAIL, message, "pooling does not look at the attention mask")
    else:
        message = f"{one_way} and {other_way} give the same vectors (the model pads {sides})."
        yield Finding("padding_sides", Status.PASS, message)


def _padded_both_ways(patient: _Patient) -> dict[str, NDArray[np.float32]]:
    tokenizer = patient.model.tokenizer
    shipped, vectors = tokenizer.padding_side, {}
    try:
        for side in ("left", "right"):
            tokenizer.padding_side = side
            vectors[f"{side.title()} padding"] = _encoded(patient, batch_size=2)
    finally:
        tokenizer.padding_side = shipped
    return vectors


def _padded_and_alone(patient: _Patient) -> dict[str, NDArray[np.float32]]:
    """The other side would be no fair question: an encoder counts its positions from the left, padding too."""
    return {"Padded": _encoded(patient, batch_size=2), "unpadded texts": _encoded(patient, batch_size=1)}


def _encoded(patient: _Patient, batch_size: int) -> NDArray[np.float32]:
    texts = [_SHORT, _LONG * 3]
    vectors: NDArray[np.float32] = patient.model.encode(texts, batch_size=batch_size, show_progress_bar=False)
    return vectors


def _memory(patient: _Patient) -> Iterator[Finding]:
    parameters = list(patient.model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    training = sum(parameter.numel() for parameter in parameters) * _ADAM_BYTES
    encoding = weights + _activations(patient)
    message = (
        f"Encoding holds about {_gb(encoding)} ({_gb(weights)} of weights as loaded, the rest for {_BATCH} texts of "
        f"{patient.spec.max_length} tokens); full training in float32 with Adam holds {_gb(training)} before "
        "activations."
    )
    room = _device_memory(patient)
    if room is None:
        yield Finding("memory", Status.PASS, message)
        return
    free, total = room
    # The model is on the device already.
    free += weights
    message += f" The device has {_gb(total)}, {_gb(free)} of it free."
    if encoding > free:
        remedy = "use a smaller batch or maximum length, free the device, or encode elsewhere"
        yield Finding("memory", Status.FAIL, message, remedy)
    elif training > free:
        yield Finding("memory", Status.WARN, message, "encode here; train with LoRA, or on a larger device")
    else:
        yield Finding("memory", Status.PASS, message)


def _activations(patient: _Patient) -> int:
    """Bytes of one layer's numbers for a batch, roughly: nothing of earlier layers is kept without gradients."""
    config, dtype = patient.config, patient.model.dtype
    hidden = getattr(config, "hidden_size", None)
    if not isinstance(hidden, int) or dtype is None:
        return 0
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    length = min(patient.spec.max_length, positions(config) or patient.spec.max_length)
    return int(_BATCH * length * (8 * hidden + 3 * inner) * dtype.itemsize)


def _device_memory(patient: _Patient) -> tuple[int, int] | None:
    """Free and all bytes of the model's CUDA device; None elsewhere."""
    import torch

    device = patient.model.device
    return torch.cuda.mem_get_info(device) if device.type == "cuda" else None


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def attended_ids(model: SentenceTransformer, text: str) -> list[int]:
    """Return the ids the model attends to for one text, as its own `preprocess` gives them."""
    features: dict[str, Any] = model.preprocess([text])
    ids: list[int] = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
    return ids


_CHECKS: dict[str, Callable[[_Patient], Iterator[Finding]]] = {
    "architecture": _architecture,
    "precision": _precision,
    "pooling": _pooling,
    "max_length": _max_length,
    "eos_short": _eos,
    "tokenizer_agreement": _agreement,
    "norm": _vectors,
    "memory": _memory,
}
