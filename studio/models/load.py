"""Which model, how long its texts, in which precision; and loading it so that nothing is left to a default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.errors import ConfigError, InputError
from studio.models.locate import has_weights, locate, read_json, read_modules, transformer_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEFAULT_MAX_LENGTH = 512
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_OVERFLOWS_FP16 = ("gemma3", "gemma3_text")
_COUNT_FROM_PADDING = ("camembert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod")
"""Architectures that count positions from the padding id on, and read fewer tokens than their table has rows."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and how it is to be loaded.

    Attributes:
        id_or_path: a sentence-transformers folder, or a hub id.
        max_length: tokens a text is cut to, special tokens included. Always given: Harrier's own default is 32,768.
        revision: commit of a hub id; ignored for a folder.
        dtype: of the weights. `auto` is for encoding: bfloat16 on a CUDA device that has it, float32 elsewhere.
            Train with `float32` and let autocast choose: Adam needs float32 weights.
        device: such as `cpu` or `cuda:0`; None lets sentence-transformers choose.
        trust_remote_code: run code that comes with the model. Never set it for a repository nobody has read.

    Raises:
        ConfigError: a value cannot be used.
    """

    id_or_path: str
    max_length: int
    revision: str | None = None
    dtype: Dtype = "auto"
    device: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.max_length, bool) or not isinstance(self.max_length, int) or self.max_length < 3:
            raise ConfigError(
                "The maximum length must be a number of tokens, at least 3.",
                why=f"it is {self.max_length!r}, and the first and the last token are special ones",
            )
        if self.dtype not in _DTYPES:
            raise ConfigError(f"{self.dtype!r} is no precision.", remedy=f"use one of: {', '.join(_DTYPES)}")


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """A published model, pinned. Figures are from its card and from mteb's metadata.

    `parameters`: count. `dimensions`: of a vector. `max_tokens`: what it was trained to read. `known_issue`: what is
    known not to work, or "".
    """

    id: str
    revision: str
    parameters: int
    dimensions: int
    max_tokens: int = 32_768
    known_issue: str = ""


_PRESETS = (
    ModelPreset("microsoft/harrier-oss-v1-270m", "31de22b673913c7d658c0f03f792d77c2dcf8ebd", 268_098_176, 640),
    ModelPreset("microsoft/harrier-oss-v1-0.6b", "f9b9dc8d367d443f2479d27aa5d8d2850c0774ee", 596_049_920, 1024),
    ModelPreset(
        "microsoft/harrier-oss-v1-27b",
        "0c0fc62f6d8af9e8604cb818c412301b103a0093",
        27_000_000_000,
        5376,
        known_issue="reported not to load with sentence-transformers 5 and later (discussion 3 of its hub page)",
    ),
)
MODEL_PRESETS: dict[str, ModelPreset] = {preset.id.split("/")[1]: preset for preset in _PRESETS}
"""The published Harrier models by short name: `harrier-oss-v1-270m`, `-0.6b`, `-27b`."""


def preset_of(id_or_path: str) -> ModelPreset | None:
    """Return the preset with this short name or hub id, if there is one."""
    return MODEL_PRESETS.get(id_or_path.removeprefix("microsoft/"))


def model_spec(
    name: str,
    *,
    max_length: int = DEFAULT_MAX_LENGTH,
    tiny: Path | None = None,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device: str | None = None,
    trust_remote_code: bool = False,
) -> ModelSpec:
    """Return the spec of a model by short name, hub id, path, or `tiny`.

    A published Harrier model is pinned to its revision unless another one is given. `tiny` is the model that comes
    with the sample data; its folder is passed by the caller.

    Raises:
        ConfigError: `tiny` without its folder, or a value that cannot be used.
    """
    if name == "tiny":
        if tiny is None:
            raise ConfigError("The tiny model needs its folder.", remedy="give the path of sample_data/harrier-tiny")
        return ModelSpec(str(tiny), max_length, dtype=dtype, device=device)
    preset = None if Path(name).expanduser().is_dir() else preset_of(name)
    if preset is None:
        return ModelSpec(name, max_length, revision, dtype, device, trust_remote_code)
    return ModelSpec(preset.id, max_length, revision or preset.revision, dtype, device, trust_remote_code)


def choose_dtype(dtype: Dtype, model_type: str, device: str | None) -> Literal["float32", "bfloat16", "float16"]:
    """Return the precision to load in, by the rule of `ModelSpec.dtype`.

    Raises:
        ConfigError: float16 for a Gemma 3 text model, whose activations (about 8e5) pass float16's largest number
            (65,504) and become NaN (unsloth #4014, trl #3236); or bfloat16 on a CUDA device without it.
    """
    if dtype == "float16" and model_type in _OVERFLOWS_FP16:
        raise ConfigError(
            "float16 cannot hold this model.",
            why=f"activations of {model_type} reach 8e5; float16 ends at 65,504, and every vector would be NaN",
            remedy="use bfloat16, or float32 on a GPU without it (T4, V100)",
        )
    if dtype in ("float32", "float16"):
        return dtype
    if device is not None and not device.startswith("cuda"):
        return "bfloat16" if dtype == "bfloat16" else "float32"
    import torch

    cuda = torch.cuda.is_available() if device is None else True
    capable = cuda and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "bfloat16" and cuda and not capable:
        raise ConfigError("This GPU has no bfloat16.", remedy="use float32")
    return "bfloat16" if dtype == "bfloat16" or capable else "float32"


def load_model(spec: ModelSpec) -> SentenceTransformer:
    """Load a model with its maximum length and precision set; torch is imported here and not before.

    Raises:
        InputError: the folder is missing, is no sentence-transformers folder, or a file of it is damaged.
        UnavailableError: a hub id that is neither in the cache nor within reach (told within seconds).
        ConfigError: the precision does not suit the model or the device, or the model needs code of its own and
            `trust_remote_code` is not set.
    """
    folder = locate(spec.id_or_path, spec.revision)
    model_type = check_files(folder)
    if not spec.trust_remote_code and (code := remote_code(folder)):
        raise ConfigError(
            "The model brings code of its own, and that was not allowed.",
            where=str(folder),
            why=f"loading it would run {code[0]}"
            + (f" and {len(code) - 1} more" if len(code) > 1 else "")
            + "; without it other vectors than the model's might come out",
            remedy="read that code; if you trust it, set trust_remote_code = true for this model",
        )
    dtype = choose_dtype(spec.dtype, model_type, spec.device)

    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    # Whoever calls shows progress; a library's own bar would land among a command's words.
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder),
            device=spec.device,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            # Without a dtype transformers 5 takes the one in config.json: bfloat16 on a CPU.
            model_kwargs={"dtype": getattr(torch, dtype)},
        )
    except Exception as error:  # the libraries raise whatever they meet: OSError, KeyError, SafetensorError, …
        preset = preset_of(spec.id_or_path)
        known = f"; this model is {preset.known_issue}" if preset and preset.known_issue else ""
        raise InputError(
            "The model could not be loaded.",
            where=str(folder),
            why=f"{type(error).__name__}: {error}{known}",
            remedy="download or copy it again; `doctor` shows what its files say",
        ) from error
    if missing := _random_weights(model, folder):
        raise InputError(
            "The model's weights are incomplete.",
            where=str(transformer_folder(folder)),
            why=f"{len(missing)} tensors are in no file and would be random, {missing[0]} for one",
            remedy="download or copy it again, every part of it",
        )
    if getattr(model[0], "model", None) is not None:  # other modules, such as StaticEmbedding, read whole texts
        model.max_seq_length = spec.max_length
    return model


def check_files(folder: Path) -> str:
    """Check that a model folder has what loading needs, without torch; return the architecture.

    That is the `model_type` of a transformer's config.json; a module that is none, such as StaticEmbedding, gives
    its own name.

    Raises:
        InputError: a file is missing or damaged.
    """
    first = str(read_modules(folder)[0]["type"])
    inner = transformer_folder(folder)
    config = read_json(inner / "config.json")
    if "model_type" not in config and not first.endswith("Transformer"):
        return first.rsplit(".", 1)[-1]
    if "model_type" not in config:
        why = "config.json is missing" if not config else "config.json names no model_type"
        raise InputError("The model's architecture is unknown.", where=str(inner / "config.json"), why=why)
    if not has_weights(folder):
        raise InputError(
            "The model has no weights.",
            where=str(inner),
            why="there is no *.safetensors and no pytorch_model*.bin",
            remedy="copy the whole folder; a git clone without LFS leaves the weights out",
        )
    return str(config["model_type"])


def remote_code(folder: Path) -> list[str]:
    """Name the code outside the libraries that loading a model folder would run; nothing of it is imported here.

    Raises:
        InputError: a JSON file of the folder is missing or damaged.
    """
    found = [str(module["type"]) for module in read_modules(folder)]
    found = [name for name in found if not name.startswith("sentence_transformers.")]
    for file in ("config.json", "tokenizer_config.json"):
        named = read_json(transformer_folder(folder) / file).get("auto_map")
        if isinstance(named, dict):
            found += [f"{value} ({key} of {file})" for key, value in sorted(named.items())]
    return found


def positions(config: Any) -> int | None:
    """Return how many tokens a transformer can read, by its loaded configuration; None where that is not said."""
    table = getattr(config, "max_position_embeddings", None)
    if not isinstance(table, int) or table < 1:
        return None
    if config.model_type in _COUNT_FROM_PADDING:
        return table - int(getattr(config, "pad_token_id", None) or 0) - 1
    return table


def _random_weights(model: SentenceTransformer, folder: Path) -> list[str]:
    """Name the tensors that no file holds: transformers fills them at random and only warns."""
    inner = transformer_folder(folder)
    files = sorted(inner.glob("*.safetensors"))
    network = getattr(model[0], "model", None)
    if not files or network is None or (inner / "adapter_config.json").exists():
        return []
    from safetensors import safe_open
    from transformers.conversion_mapping import get_model_conversion_mapping

    if get_model_conversion_mapping(network, add_legacy=False):
        return []  # the names in the files are not those of the loaded model

    def bare(name: str) -> str:
        for prefix in ("model.", f"{network.base_model_prefix}."):
            name = name.removeprefix(prefix)
        # So BERT's files of 2019 call them.
        return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

    saved: set[str] = set()
    for file in files:
        with safe_open(file, framework="pt") as opened:
            names: list[str] = opened.keys()
        saved.update(map(bare, names))
    wanted = (name for name, _ in network.named_parameters())
    # A pooler is not used by sentence-transformers, and many BERTs come without one.
    return [name for name in wanted if bare(name) not in saved and not name.startswith("pooler.")]
