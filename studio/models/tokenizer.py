"""The trainer's tokens without the trainer: the `tokenizers` library alone, set up as transformers would."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
from tokenizers import Tokenizer as Backend

from studio.errors import ConfigError, InputError
from studio.models.backend import backend_as_trained, doubts_about, special_tokens
from studio.models.locate import locate, read_json, transformer_folder
from studio.progress import Progress, silent
from studio.prompts.lint import ModelPrompts
from studio.prompts.tokens import TokenSpans

_BATCH_CHARS = 2_000_000


class StudioTokenizer:
    """A tokenizer that gives the ids of the trainer's collator (`SentenceTransformer.preprocess`), unpadded.

    Safe to use from several threads. Implements `studio.prompts.tokens.Tokenizer`.

    Attributes:
        folder: where the tokenizer files are.
        doubts: reasons why the ids may differ from the collator's; empty for Harrier. `doctor.examine` compares.
        eos_id, bos_id, pad_id: ids of the named special tokens, or None.
        special_ids: ids of every named special token.
        truncation_side, padding_side: `left` or `right`. Padding is never applied here.
    """

    def __init__(self, backend: Backend, folder: Path, config: dict[str, Any], doubts: tuple[str, ...]) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self.folder = folder
        self.doubts = doubts
        named = {key: backend.token_to_id(token) for key, token in special_tokens(config).items()}
        self.eos_id, self.bos_id, self.pad_id = (named.get(key) for key in ("eos_token", "bos_token", "pad_token"))
        self.special_ids = frozenset(id_ for id_ in named.values() if id_ is not None)
        self.truncation_side: Literal["left", "right"] = config["truncation_side"]
        self.padding_side: Literal["left", "right"] = config["padding_side"]

    def encode(self, text: str, max_length: int | None = None) -> TokenSpans:
        """Encode one text, added tokens included, cut to `max_length` tokens (None: not cut).

        Raises:
            InputError: the text holds half a surrogate pair.
            ConfigError: `max_length` has no room for a token of text besides the added ones.
        """
        with self._lock:
            self._cut_to(max_length)
            try:
                encoding = self._backend.encode(text)
            except (TypeError, UnicodeEncodeError) as error:
                raise _unreadable(text, error) from error
        return TokenSpans(
            ids=tuple(encoding.ids),
            tokens=tuple(encoding.tokens),
            offsets=tuple(encoding.offsets),
            added=tuple(sequence is None for sequence in encoding.sequence_ids),
        )

    def token_counts(self, texts: Sequence[str] | pl.Series, progress: Progress = silent) -> pl.Series:
        """Count the tokens of many texts, added tokens included, before truncation (`UInt32`, one a text).

        After truncation to N tokens a text has `min(count, N)`. Uses every core; stops at once when `progress`
        raises `Cancelled`.

        Raises:
            InputError: a text is null or holds half a surrogate pair.
        """
        counts: list[int] = []
        for batch in _batches(texts):
            with self._lock:
                self._cut_to(None)
                try:
                    encodings = self._backend.encode_batch_fast(batch)
                except (TypeError, UnicodeEncodeError) as error:
                    raise _first_unreadable(batch, len(counts), error) from error
            counts.extend(map(len, encodings))
            progress("tokens", len(counts), len(texts))
        return pl.Series("tokens", counts, dtype=pl.UInt32)

    def _cut_to(self, max_length: int | None) -> None:
        if max_length is None:
            self._backend.no_truncation()
            return
        room = max_length - self._backend.num_special_tokens_to_add(False)
        if room < 1:
            raise ConfigError(
                f"A maximum length of {max_length} has no room for a single token of text.",
                why=f"{max_length - room} are taken by the tokens around it",
            )
        self._backend.enable_truncation(max_length, strategy="longest_first", direction=self.truncation_side)


def load_tokenizer(id_or_path: str, revision: str | None = None) -> StudioTokenizer:
    """Load the tokenizer of a sentence-transformers model without torch and transformers.

    Raises:
        InputError: the folder or one of its files cannot be used.
        UnavailableError: the model is neither in the cache nor within reach.
    """
    root = locate(id_or_path, revision, weights=False)
    folder = transformer_folder(root)
    file = folder / "tokenizer.json"
    if not file.exists():
        raise InputError(
            "The model has no tokenizer.json.",
            where=str(folder),
            remedy="load it once with transformers' AutoTokenizer, and save it again",
        )
    try:
        backend = Backend.from_file(str(file))
    except Exception as error:  # the library raises plain Exception for a damaged file
        remedy = "download or copy the model again"
        raise InputError("The tokenizer is damaged.", where=str(file), why=str(error), remedy=remedy) from error
    backend, config = backend_as_trained(backend, folder)
    return StudioTokenizer(backend, folder, config, doubts_about(folder))


def model_prompts(id_or_path: str, revision: str | None = None) -> ModelPrompts:
    """Read a model's own prompts from `config_sentence_transformers.json`, without torch; none when it has none.

    Raises:
        InputError: the folder or the file cannot be used.
        UnavailableError: the model is neither in the cache nor within reach.
    """
    path = locate(id_or_path, revision, weights=False) / "config_sentence_transformers.json"
    config = read_json(path)
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    strings = isinstance(prompts, dict) and all(isinstance(prompt, str | None) for prompt in prompts.values())
    if not strings or not isinstance(default, str | None):
        raise InputError("The model's prompts cannot be read.", where=str(path), why="a prompt is not a string")
    return ModelPrompts({name: prompt or "" for name, prompt in prompts.items()}, default)


def _batches(texts: Sequence[str] | pl.Series) -> Iterator[list[str]]:
    """Batches of bounded size in characters: an encoding takes about a hundred times the memory of its text."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text or "") + 16
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _unreadable(text: object, error: Exception, at: int | None = None) -> InputError:
    why = str(error)
    if isinstance(text, str):
        why = "it holds half a surrogate pair, which is no character"
    return InputError(
        "A text cannot be tokenised, and the trainer would stop on it.",
        where=None if at is None else f"text {at} (counted from 0)",
        why=why if text is not None else "it is null",
        remedy="drop or repair the row",
    )


def _first_unreadable(batch: list[str], before: int, error: Exception) -> InputError:
    for at, text in enumerate(batch):
        if not isinstance(text, str) or any("\ud800" <= char <= "\udfff" for char in text):
            return _unreadable(text, error, before + at)
    return _unreadable("", error)
