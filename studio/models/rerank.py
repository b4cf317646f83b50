"""Scores of a cross-encoder, which reads a query and a passage together: slow, and the best judge short of a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.errors import InputError
from studio.models.load import ModelSpec, check_files, choose_dtype
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.neighbours import F32
from studio.progress import Progress, silent

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

_STEP = "score pairs with the cross-encoder"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_SURROGATE = re.compile("[\ud800-\udfff]")


def rerank(spec: ModelSpec, pairs: Sequence[tuple[str, str]], progress: Progress = silent, batch_size: int = 32) -> F32:
    """Score (query, passage) pairs with a cross-encoder; the higher, the better the passage answers.

    Scores are raw, before the sigmoid that sentence-transformers would put over them: near its ends a sigmoid leaves
    no difference to compare. They compare within one model only. Both texts together are cut to `spec.max_length`
    tokens, or to what the model reads if that is less. A lone surrogate, which no tokenizer takes, is read as U+FFFD.

    Args:
        spec: the model: a folder of `CrossEncoder.save_pretrained` or of a transformers sequence classifier with one
            label, or the hub id of either.
        pairs: any number; the longest are scored first, so that a batch too large for the memory fails at once.
        progress: told of each batch; what it raises stops the work.
        batch_size: pairs read at once.

    Returns:
        float32 (pairs,), in their order.

    Raises:
        InputError: the folder holds no cross-encoder with one score a pair, or a score is NaN.
        UnavailableError: a hub id that is neither in the cache nor within reach.
        ConfigError: the precision does not suit the model or the device.
    """
    progress(_STEP, 0, len(pairs))
    return scored(load_cross_encoder(spec), pairs, progress, batch_size) if pairs else np.empty(0, np.float32)


def scored(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], progress: Progress = silent, batch_size: int = 32
) -> F32:
    """As `rerank`, with a model that is loaded already."""
    scores = np.empty(len(pairs), np.float32)
    from torch.nn import Identity

    order = sorted(range(len(pairs)), key=lambda at: -len(pairs[at][0]) - len(pairs[at][1]))
    for low in range(0, len(order), batch_size):
        chosen = order[low : low + batch_size]
        batch = [[_SURROGATE.sub("\ufffd", text) for text in pairs[at]] for at in chosen]
        scores[chosen] = model.predict(batch, batch_size=batch_size, activation_fn=Identity(), show_progress_bar=False)
        if np.isnan(scores[chosen]).any():
            raise InputError(
                "The cross-encoder gives a score that is no number.",
                where=f"{model.config.name_or_path}, pair {next(at for at in chosen if np.isnan(scores[at]))}",
                remedy="load it with float32",
            )
        progress(_STEP, low + len(chosen), len(order))
    return scores


def load_cross_encoder(spec: ModelSpec) -> CrossEncoder:
    """Load a cross-encoder that gives one score a pair.

    Raises:
        InputError, UnavailableError, ConfigError: as `rerank`.
    """
    folder = _folder(spec)
    model_type = _model_type(folder)
    dtype = choose_dtype(spec.dtype, model_type, spec.device)

    import torch
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = CrossEncoder(
            str(folder),
            device=spec.device,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            model_kwargs={"dtype": getattr(torch, dtype)},
        )
    except Exception as error:  # the libraries raise whatever they meet
        raise InputError(
            "The cross-encoder could not be loaded.", where=str(folder), why=f"{type(error).__name__}: {error}"
        ) from error
    if missing := _random_head(model, folder):
        raise InputError(
            "This model is no cross-encoder.",
            where=str(folder),
            why=f"its files hold no layer that gives scores ({missing[0]} would be random)",
            remedy="give a model trained to score pairs; one that makes embeddings belongs to the retrievers",
        )
    if model.num_labels != 1:
        raise InputError(
            "This cross-encoder does not give one score a pair.",
            where=str(folder),
            why=f"it has {model.num_labels} labels",
            remedy="give one trained for ranking",
        )
    model.max_seq_length = min(spec.max_length, model.max_seq_length or spec.max_length)
    return model


def _folder(spec: ModelSpec) -> Path:
    """As `locate`, which takes a cached model for incomplete that has no modules.json: few cross-encoders do."""
    if not Path(spec.id_or_path).expanduser().exists():
        import huggingface_hub
        from huggingface_hub import errors

        try:
            cached = huggingface_hub.snapshot_download(spec.id_or_path, revision=spec.revision, local_files_only=True)
        except (errors.LocalEntryNotFoundError, errors.HFValidationError, FileNotFoundError):
            pass
        else:
            if (Path(cached) / "config.json").exists() and _has_weights(Path(cached)):
                return Path(cached)
    return locate(spec.id_or_path, spec.revision)


def _model_type(folder: Path) -> str:
    """Check that the folder has what loading needs; return its architecture."""
    if (folder / "modules.json").exists():
        return check_files(folder)
    config = read_json(folder / "config.json")
    if "model_type" not in config or not _has_weights(folder):
        raise InputError(
            "This is no folder of a cross-encoder.",
            where=str(folder),
            why="it needs config.json, with a model_type, and *.safetensors or pytorch_model*.bin",
            remedy="give the folder that `CrossEncoder.save_pretrained` wrote",
        )
    return str(config["model_type"])


def _has_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in _WEIGHTS)


def _random_head(model: CrossEncoder, folder: Path) -> list[str]:
    """Name the parameters above the body that no file holds: transformers fills them at random and only warns."""
    inner = transformer_folder(folder) if (folder / "modules.json").exists() else folder
    files = sorted(inner.glob("*.safetensors"))
    network = model[0].model
    if not files or network.base_model is network:
        return []
    from safetensors import safe_open

    saved: set[str] = set()
    for file in files:
        with safe_open(file, framework="pt") as opened:
            saved.update(opened.keys())
    body = f"{network.base_model_prefix}."
    return [name for name, _ in network.named_parameters() if not name.startswith(body) and name not in saved]
