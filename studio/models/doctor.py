"""Is this model what it should be? Everything that has silently ruined a Harrier run, asked before one starts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.models.load import ModelSpec, check_files, choose_dtype, load_model, preset_of
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.tokenizer import StudioTokenizer, load_tokenizer, model_prompts

if TYPE_CHECKING:
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

    Never raises `StudioError`: what stops the examination is its last finding. Codes: `known_issue`, `files`,
    `dtype`, `prompts`, `query_prompt`, `default_prompt_name`, `tokenizer`, `load`, `architecture`, `pooling`,
    `normalize`, `max_length`, `eos_short`, `eos_truncated`, `tokenizer_agreement`, `norm`, `padding_sides`, `memory`.
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
    dtype = choose_dtype(spec.dtype, str(config["model_type"]), spec.device)
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
    config: Any = patient.model[0].config
    parameters = sum(parameter.numel() for parameter in patient.model.parameters())
    message = (
        f"{config.model_type}, {config.num_hidden_layers} layers, "
        f"{patient.model.get_embedding_dimension()} dimensions, {parameters:,} parameters."
    )
    bidirectional = getattr(config, "use_bidirectional_attention", None)
    if bidirectional:
        yield Finding("architecture", Status.WARN, f"{message} Attention is bidirectional.", "Harrier's is causal")
    else:
        yield Finding("architecture", Status.PASS, message)


def _pooling(patient: _Patient) -> Iterator[Finding]:
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    pooling = next((module for module in patient.model if isinstance(module, Pooling)), None)
    mode = getattr(pooling, "pooling_mode", None)
    if pooling is None or mode != "lasttoken":
        yield Finding(
            "pooling", Status.FAIL, f"Pooling is {mode}, not the last token.", "Harrier needs lasttoken pooling"
        )
    elif not pooling.include_prompt:
        message = "Pooling leaves the prompt out (include_prompt is false)."
        yield Finding("pooling", Status.WARN, message, "harmless for the last token, but not what Harrier ships")
    else:
        yield Finding("pooling", Status.PASS, "The last attended token is pooled.")
    if any(isinstance(module, Normalize) for module in patient.model):
        yield Finding("normalize", Status.PASS, "Vectors are normalised by the model.")
    else:
        remedy = "add a Normalize module, or every user must normalise before a dot product"
        yield Finding("normalize", Status.FAIL, "The model has no Normalize module.", remedy)


def _max_length(patient: _Patient) -> Iterator[Finding]:
    limit = getattr(patient.model[0].config, "max_position_embeddings", None)
    wanted = patient.spec.max_length
    if patient.model.max_seq_length != wanted:
        message = f"The model cuts at {patient.model.max_seq_length} tokens, not at {wanted}."
        yield Finding("max_length", Status.FAIL, message, "set max_seq_length after loading")
    elif limit is not None and wanted > limit:
        message = f"{wanted} tokens are asked for, but the model has {limit} positions."
        yield Finding("max_length", Status.FAIL, message, f"use at most {limit}")
    else:
        yield Finding("max_length", Status.PASS, f"Texts are cut at {wanted} tokens (the model reads {limit}).")


def _too_long(patient: _Patient) -> str:
    """A text that is truncated; the sentence has more than four tokens in any vocabulary of words or bytes."""
    return _LONG * (min(patient.spec.max_length, _LONGEST_PROBE) // 4 + 1)


def _eos(patient: _Patient) -> Iterator[Finding]:
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
    texts = [_SHORT, _LONG * 3]
    tokenizer = patient.model.tokenizer
    shipped, vectors = tokenizer.padding_side, {}
    try:
        for side in ("left", "right"):
            tokenizer.padding_side = side
            vectors[side] = patient.model.encode(texts, batch_size=2, show_progress_bar=False)
    finally:
        tokenizer.padding_side = shipped
    norms = np.linalg.norm(vectors["left"], axis=1)
    off = float(np.max(np.abs(norms - 1)))
    if not off <= tolerance:
        yield Finding(
            "norm", Status.FAIL, f"Vectors have length {norms[0]:.4g}, not 1.", "NaN: precision; else: Normalize"
        )
    else:
        yield Finding("norm", Status.PASS, f"Vectors have length 1 (within {off:.1g}).")
    apart = float(np.max(np.abs(vectors["left"] - vectors["right"])))
    if not apart <= tolerance:
        message = f"Left and right padding give different vectors (up to {apart:.2g})."
        yield Finding("padding_sides", Status.FAIL, message, "pooling does not look at the attention mask")
    else:
        yield Finding(
            "padding_sides", Status.PASS, f"Both padding sides give the same vector (the model pads {shipped})."
        )


def _memory(patient: _Patient) -> Iterator[Finding]:
    parameters = list(patient.model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    training = sum(parameter.numel() for parameter in parameters) * _ADAM_BYTES
    message = (
        f"{weights / 1e9:.2f} GB of weights as loaded; full training in float32 with Adam holds "
        f"{training / 1e9:.2f} GB before activations."
    )
    yield Finding("memory", Status.PASS, message)


def attended_ids(model: SentenceTransformer, text: str) -> list[int]:
    """Return the ids the model attends to for one text, as its own `preprocess` gives them."""
    features: dict[str, Any] = model.preprocess([text])
    ids: list[int] = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
    return ids


_CHECKS: dict[str, Callable[[_Patient], Iterator[Finding]]] = {
    "architecture": _architecture,
    "pooling": _pooling,
    "max_length": _max_length,
    "eos_short": _eos,
    "tokenizer_agreement": _agreement,
    "norm": _vectors,
    "memory": _memory,
}
