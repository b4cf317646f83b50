"""What the preview needs of a tokenizer, so that prompts need no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class TokenSpans:
    """A text as tokens; the four tuples have one entry a token.

    `ids`: vocabulary ids. `tokens`: vocabulary strings. `offsets`: (start, end) in characters of the text, end
    exclusive; (0, 0) for added tokens. `added`: whether the tokenizer added the token around the text.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    added: tuple[bool, ...]


class Tokenizer(Protocol):
    """Turns text into exactly the ids the trainer's collator produces, without padding."""

    @property
    def eos_id(self) -> int | None:
        """The id of the end-of-sequence token, or None."""

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids of the named special tokens (bos, eos, pad, unk, …)."""

    @property
    def truncation_side(self) -> Literal["left", "right"]:
        """The side on which a text that is too long loses tokens."""

    def encode(self, text: str, max_length: int | None = None) -> TokenSpans:
        """Encode one text, added tokens included, cut to `max_length` tokens (None: not cut)."""
