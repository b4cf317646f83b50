"""Where the files of a model are: a folder, the local cache, or the hub, asked once and for seconds only."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

from studio.errors import InputError, UnavailableError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TOKENIZER_FILES = ("*.json", "*.jinja")
_MODEL_FILES = (*_TOKENIZER_FILES, "*.safetensors", "*.bin", "*.model", "*.txt")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_ANSWER_SECONDS = 5.0


def locate(id_or_path: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """Return the folder of a model.

    A folder is returned as it is. A hub id (`owner/name`) is looked up in the local cache; what is missing there is
    downloaded if the hub answers within five seconds.

    Args:
        id_or_path: a folder, or a hub id.
        revision: the commit, tag or branch of a hub id; ignored for a folder.
        weights: whether the weights are needed; without them only JSON files are fetched.

    Raises:
        InputError: there is no such folder, or it is a file.
        UnavailableError: the model is not in the cache and the hub is out of reach, offline, or does not know it.
    """
    path = Path(id_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        remedy = "give the folder that holds modules.json"
        raise InputError("A model is a folder, and this is a file.", where=id_or_path, remedy=remedy)
    if not _HUB_ID.fullmatch(id_or_path) or id_or_path.startswith("."):
        raise InputError(
            "There is no such model folder.", where=id_or_path, remedy="check the path, or give a hub id: owner/name"
        )
    return _from_hub(id_or_path, revision, weights=weights)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, {} when there is no such file.

    Raises:
        InputError: the file cannot be read, is not JSON, or is not an object.
    """
    if not path.exists():
        return {}
    value = _parsed(path)
    if not isinstance(value, dict):
        raise InputError("A model file is not what it should be.", where=str(path), why="it is not a JSON object")
    return value


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of `modules.json`, in order; each has at least `type` and `path`.

    Raises:
        InputError: the file is missing or broken: this is no sentence-transformers folder.
    """
    path = folder / "modules.json"
    if not path.exists():
        raise InputError(
            "This is not a sentence-transformers folder.",
            where=str(folder),
            why="it has no modules.json, so pooling and normalising would be guessed (mean pooling, wrong for Harrier)",
            remedy="give the folder that `SentenceTransformer.save_pretrained` wrote",
        )
    value = _parsed(path)
    if not isinstance(value, list) or not value or not all(isinstance(at, dict) and "type" in at for at in value):
        raise InputError("The list of modules cannot be read.", where=str(path), why="it is not a list of modules")
    return value


def transformer_folder(folder: Path) -> Path:
    """Return the folder of the first module, which holds the tokenizer and the weights."""
    return folder / str(read_modules(folder)[0].get("path", ""))


def has_weights(folder: Path) -> bool:
    """Tell whether the first module's folder holds a weights file."""
    return any(any(transformer_folder(folder).glob(pattern)) for pattern in _WEIGHTS)


def _parsed(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            "A file of the model is damaged.",
            where=str(path),
            why=str(error),
            remedy="download or copy the model again",
        ) from error


def _from_hub(repo: str, revision: str | None, *, weights: bool) -> Path:
    import huggingface_hub
    from huggingface_hub import constants, errors

    patterns = list(_MODEL_FILES if weights else _TOKENIZER_FILES)
    try:
        cached = Path(
            huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True)
        )
        if _complete(cached, weights=weights):
            return cached
    except (errors.LocalEntryNotFoundError, FileNotFoundError):
        pass
    if constants.HF_HUB_OFFLINE:
        raise _unavailable(repo, revision, "the hub is switched off (HF_HUB_OFFLINE) and the cache does not hold it")
    _ask(repo, revision)
    try:
        return Path(huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise _unavailable(repo, revision, f"the download failed: {error}") from error


def _complete(folder: Path, *, weights: bool) -> bool:
    return (folder / "modules.json").exists() and (not weights or has_weights(folder))


def _ask(repo: str, revision: str | None) -> None:
    """Fail unless the hub knows the model. In a thread of its own: looking up a name has no time limit."""
    import huggingface_hub

    problems: list[str] = ["it did not answer in time"]

    def ask() -> None:
        try:
            huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=_ANSWER_SECONDS)
            problems.clear()
        except Exception as error:
            problems[0] = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

    asking = threading.Thread(target=ask, daemon=True, name="ask-hub")
    asking.start()
    asking.join(_ANSWER_SECONDS + 1)
    if problems:
        raise _unavailable(repo, revision, f"the hub is out of reach or does not know it: {problems[0]}")


def _unavailable(repo: str, revision: str | None, why: str) -> UnavailableError:
    at = f" --revision {revision}" if revision else ""
    cache = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return UnavailableError(
        f"The model {repo} is not on this machine.",
        where=f"revision {revision}" if revision else None,
        why=why,
        remedy=f"on a connected machine run `huggingface-cli download {repo}{at} --local-dir {repo.split('/')[1]}` "
        f"(newer: `hf download`), copy the folder here and pass its path; or fill {cache} and set HF_HUB_OFFLINE=1",
    )
