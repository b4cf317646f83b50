"""How transformers 5 changes a tokenizer.json when it loads it; done here to the same file, without transformers.

Read in transformers 5.23 (`TokenizersBackend`, `PreTrainedTokenizerBase._from_pretrained`, `AutoTokenizer`) and
sentence-transformers 6.2 (`Transformer`), and held by tests that compare ids:

- A class with an `__init__` of its own (GemmaTokenizer, Qwen2Tokenizer) is rebuilt from vocabulary and merges.
  Normaliser, pre-tokenizer and the flags of the BPE are the class's; **what tokenizer.json says is ignored**. Only
  the post-processor, and so the end-of-sequence token, is taken from the file.
- `add_bos_token` and `add_eos_token` of tokenizer_config.json are ignored when there is a tokenizer.json.
- Truncation and padding saved in the file do not apply, except for their sides.
- Special tokens that the config names are split out of texts, even where the vocabulary has them as ordinary words.
- sentence-transformers lower-cases when `do_lower_case` is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from studio.models.locate import read_json

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_AS_FILED = {"TokenizersBackend", "PreTrainedTokenizer", "PreTrainedTokenizerFast"}
_CLASS_OF = {"gemma3": "GemmaTokenizer", "gemma3_text": "GemmaTokenizer", "qwen3": "Qwen2Tokenizer"}
_GEMMA_DEFAULTS = {
    "unk_token": "<unk>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_QWEN_DEFAULTS = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>")
_DEFAULTS = {"GemmaTokenizer": _GEMMA_DEFAULTS, "Qwen2Tokenizer": _QWEN_DEFAULTS}
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def backend_as_trained(backend: Tokenizer, folder: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """Change a tokenizer read from `folder/tokenizer.json` into what the trainer would use.

    Returns:
        The tokenizer, and `tokenizer_config.json` completed with the named special tokens the class supplies and
        with `truncation_side` and `padding_side`.

    Raises:
        InputError: a JSON file of the folder is damaged.
    """
    name = _class_name(folder)
    config = {**_DEFAULTS.get(name, {}), **_config(folder)}
    truncation, padding = backend.truncation or {}, backend.padding or {}
    config.setdefault("truncation_side", truncation.get("direction", "right"))
    config.setdefault("padding_side", padding.get("direction", "left" if name == "GemmaTokenizer" else "right"))
    backend.no_truncation()
    backend.no_padding()
    if name == "GemmaTokenizer":
        _as_gemma(backend, config)
    elif name == "Qwen2Tokenizer":
        _as_qwen(backend, config)
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens([_added(value) for value in _named(config).values() if _content(value) not in known])
    if read_json(folder / "sentence_bert_config.json").get("do_lower_case"):
        lower: list[normalizers.Normalizer] = [normalizers.Lowercase()]
        backend.normalizer = normalizers.Sequence(lower + ([backend.normalizer] if backend.normalizer else []))
    return backend, config


def doubts_about(folder: Path) -> tuple[str, ...]:
    """Return why the ids may differ from the collator's: settings that are not reproduced here."""
    doubts = []
    name = _class_name(folder)
    if name not in _AS_FILED | set(_DEFAULTS):
        doubts.append(f"tokenizer class {name} may be rebuilt by transformers in its own way")
    model_type = read_json(folder / "config.json").get("model_type")
    if _named_class(folder) is None and model_type not in _CLASS_OF:
        doubts.append(f"no tokenizer class is named, and the one of {model_type} is not known here")
    settings = read_json(folder / "sentence_bert_config.json")
    if "message" in settings.get("modality_config", {}):
        doubts.append("the model wraps every text in its chat template")
    if settings.get("processing_kwargs"):
        doubts.append("sentence_bert_config.json sets processing_kwargs")
    if read_json(folder / "tokenizer_config.json").get("split_special_tokens"):
        doubts.append("split_special_tokens is set")
    return tuple(doubts)


def special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """Return name → string of the special tokens a tokenizer config names (written as a string or an object)."""
    return {key: _content(value) for key, value in _named(config).items()}


def _named(config: dict[str, Any]) -> dict[str, Any]:
    found = {key: config[key] for key in _NAMED if config.get(key)}
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if isinstance(extra, dict):
        found.update(extra)
    else:
        found.update({f"extra_{at}": token for at, token in enumerate(extra)})
    return found


def _content(value: Any) -> str:
    return str(value["content"] if isinstance(value, dict) else value)


def _added(value: Any) -> AddedToken:
    flags = ("lstrip", "rstrip", "single_word", "normalized")
    given = {flag: value[flag] for flag in flags if flag in value} if isinstance(value, dict) else {}
    return AddedToken(_content(value), special=True, **given)


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" in config:
        return config
    return {**config, **read_json(folder / "special_tokens_map.json")}


def _class_name(folder: Path) -> str:
    """The class AutoTokenizer picks: the one the files name, else the one of the architecture."""
    config = read_json(folder / "config.json")
    name = _named_class(folder) or _CLASS_OF.get(str(config.get("model_type")), "TokenizersBackend")
    return name if name in _AS_FILED else name.removesuffix("Fast")


def _named_class(folder: Path) -> str | None:
    for file in ("tokenizer_config.json", "config.json"):
        if named := read_json(folder / file).get("tokenizer_class"):
            return str(named)
    return None


def _as_gemma(backend: Tokenizer, config: dict[str, Any]) -> None:
    model = backend.model
    model.fuse_unk, model.byte_fallback, model.unk_token = True, True, special_tokens(config)["unk_token"]
    model.dropout, model.ignore_merges = None, False
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")


def _as_qwen(backend: Tokenizer, config: dict[str, Any]) -> None:
    model = backend.model
    model.fuse_unk, model.byte_fallback, model.ignore_merges = False, False, False
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated")
    space = bool(config.get("add_prefix_space"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=False)]
    )
