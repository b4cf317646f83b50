"""What the model really reads of a row: the string, its tokens, where it is cut and which position is pooled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import polars as pl

from studio.errors import ConfigError
from studio.prompts.contract import PromptContract, Role
from studio.prompts.tokens import Tokenizer, TokenSpans
from studio.prompts.visible import visible


@dataclass(frozen=True, slots=True)
class TextPreview:
    """One text of a row as the model reads it. Positions count from 0, without padding.

    Attributes:
        column: `query`, `positive` or `negatives`; `index` is the place among the negatives, else None.
        role: `query` or `document`: which string of the contract was put before it.
        raw: prompt and text, the string that is tokenised. `visible`: the same, safe to show (see `visible`).
        ids: token ids after truncation: the attended ids of the trainer's collator, in order.
        tokens: one string an id, for the eye: the piece of `raw` it stands for; `<…>` for special tokens; bytes in
            hexadecimal where a character is shared by several tokens.
        tokens_before, tokens_after, tokens_lost: token counts before and after truncation, and their difference.
        cut_at: offset in characters of `raw` where reading stops (with truncation on the left: where it starts);
            None when nothing is cut.
        prompt_tokens: tokens the prompt has when tokenised alone, leading special tokens included: the
            `prompt_length` of sentence-transformers; 0 without a prompt.
        prompt_merged: whether one token holds the end of the prompt and the start of the text.
        special_in_text: how many special tokens came from the text itself, such as a written-out `<eos>`.
        attended: number of attended tokens, equal to `tokens_after`.
        eos_is_last: whether the last attended token is the end-of-sequence token, truncated or not.
        pooled_position, pooled_token: what last-token pooling takes; None when there is no token at all.
    """

    column: str
    index: int | None
    role: str
    raw: str
    visible: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    tokens_before: int
    tokens_after: int
    tokens_lost: int
    cut_at: int | None
    prompt_tokens: int
    prompt_merged: bool
    special_in_text: int
    attended: int
    eos_is_last: bool
    pooled_position: int | None
    pooled_token: str | None


@dataclass(frozen=True, slots=True)
class RowPreview:
    """Every text of one row as the model reads it: the query, the positive, then the negatives in order.

    `contract` is the hash of the prompt contract, `max_length` the limit in tokens the row was cut to.
    """

    row_id: str
    contract: str
    max_length: int
    texts: tuple[TextPreview, ...]

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values: the fields of this class, `texts` as a list with the fields of `TextPreview`."""
        return asdict(self)


def preview_rows(
    pairs: pl.DataFrame, contract: PromptContract, tokenizer: Tokenizer, max_length: int
) -> list[RowPreview]:
    """Preview rows of a table in `SNAPSHOT_SCHEMA` (only row_id, query, positive and negatives are read).

    Meant for the rows on a screen: each text is tokenised twice, once whole and once cut.

    Args:
        pairs: the rows to show.
        contract: the strings put before queries and documents.
        tokenizer: gives the ids of the trainer's collator.
        max_length: the model's `max_seq_length`, in tokens, special tokens included.

    Raises:
        ConfigError: `max_length` leaves no room.
        InputError: a text cannot be tokenised.
    """
    previews = []
    for row in pairs.select("row_id", "query", "positive", "negatives").iter_rows(named=True):
        given: list[tuple[str, int | None, Role, str]] = [
            ("query", None, Role.QUERY, row["query"]),
            ("positive", None, Role.DOCUMENT, row["positive"]),
        ]
        given += [("negatives", at, Role.DOCUMENT, text) for at, text in enumerate(row["negatives"] or [])]
        texts = [
            preview_text(text, contract, role, tokenizer, max_length, column=column, index=index)
            for column, index, role, text in given
        ]
        previews.append(RowPreview(row["row_id"], contract.hash, max_length, tuple(texts)))
    return previews


def preview_text(
    text: str,
    contract: PromptContract,
    role: Role,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    column: str = "query",
    index: int | None = None,
) -> TextPreview:
    """Preview one text in one role; see `preview_rows`."""
    if max_length < 1:
        raise ConfigError("The maximum length must be at least one token.", why=f"it is {max_length}")
    prompt, raw = contract.prompt(role), contract.apply(role, text)
    whole, cut = tokenizer.encode(raw), tokenizer.encode(raw, max_length)
    special = sum(id_ in tokenizer.special_ids and not added for id_, added in zip(cut.ids, cut.added, strict=True))
    tokens = _shown(cut, raw, tokenizer)
    return TextPreview(
        column=column,
        index=index,
        role=role.value,
        raw=raw,
        visible=visible(raw),
        ids=cut.ids,
        tokens=tokens,
        tokens_before=len(whole.ids),
        tokens_after=len(cut.ids),
        tokens_lost=len(whole.ids) - len(cut.ids),
        cut_at=_cut_at(whole, cut, tokenizer),
        prompt_tokens=_prompt_tokens(prompt, tokenizer, max_length),
        prompt_merged=any(start < len(prompt) < end for start, end in whole.offsets),
        special_in_text=special,
        attended=len(cut.ids),
        eos_is_last=bool(cut.ids) and cut.ids[-1] == tokenizer.eos_id,
        pooled_position=len(cut.ids) - 1 if cut.ids else None,
        pooled_token=tokens[-1] if tokens else None,
    )


def _prompt_tokens(prompt: str, tokenizer: Tokenizer, max_length: int) -> int:
    if not prompt:
        return 0
    ids = tokenizer.encode(prompt, max_length).ids
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.special_ids)


def _cut_at(whole: TokenSpans, cut: TokenSpans, tokenizer: Tokenizer) -> int | None:
    read = [span for span, added in zip(whole.offsets, whole.added, strict=True) if not added]
    kept = len(cut.ids) - sum(cut.added)
    if kept == len(read):
        return None
    if tokenizer.truncation_side == "left":
        lost_end = read[len(read) - kept - 1][1]
        return max(lost_end, read[len(read) - kept][0]) if kept else lost_end
    lost_start = read[kept][0]
    # A character split over several tokens is read only if all of them are kept, hence the smaller of the two.
    return min(lost_start, read[kept - 1][1]) if kept else lost_start


def _shown(spans: TokenSpans, raw: str, tokenizer: Tokenizer) -> tuple[str, ...]:
    shown = []
    reached = 0
    for at, (start, end) in enumerate(spans.offsets):
        token = spans.tokens[at]
        if spans.added[at] or spans.ids[at] in tokenizer.special_ids:
            shown.append(visible(token))
            reached = max(reached, end)
            continue
        shared = start < reached or (at + 1 < len(spans.offsets) and start <= spans.offsets[at + 1][0] < end)
        if shared or start == end:
            shown.append(_as_bytes(token))
        else:
            # Byte-level tokenizers may leave the space before a word out of its offsets; it belongs to the token.
            gap = raw[reached:start]
            shown.append(visible((gap if gap.isspace() else "") + raw[start:end]))
        reached = max(reached, end)
    return tuple(shown)


def _as_bytes(token: str) -> str:
    """Show a token that is part of a character: byte-level alphabets and `<0xF0>` byte fallback as hexadecimal."""
    if token.startswith("<0x") and token.endswith(">"):
        return f"⟨{token[3:-1]}⟩"
    alphabet = _byte_alphabet()
    if all(char in alphabet for char in token):
        return f"⟨{''.join(f'{alphabet[char]:02X}' for char in token)}⟩"
    return visible(token)


@cache
def _byte_alphabet() -> dict[str, int]:
    """The letters GPT-2's byte-level BPE writes bytes with (Radford et al. 2019, `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    letters.update({chr(0x100 + at): byte for at, byte in enumerate(others)})
    return letters
