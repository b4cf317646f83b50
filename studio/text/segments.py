"""Lines and sentences of passages, and which of them many passages share."""

from __future__ import annotations

import re
from collections.abc import Container

import polars as pl

from studio.progress import Progress, silent

_LOWER = "[a-zß-öø-ÿ]"
"""A line that begins with such a letter goes on from the one before: hard-wrapped text."""
_MARK = "\u2029"
"""Unicode's paragraph separator: a boundary where it stands, and what every other boundary becomes in a column."""
_SPACE = "[ \t\r\n\f\v\u00a0\u2000-\u200a\u2028\u202f\u3000]"
"""White space as both Python's and Rust's regex are to see it."""
_BOUNDARY = re.compile(rf"(?<=[.!?…]){_SPACE}+|\n{_SPACE}*\n{_SPACE}*|\n(?!{_LOWER})|{_MARK}")
_SPACES = re.compile(f"{_SPACE}+")
_EDGES = " \t\r\n.,;:!?…\"'()[]{}«»“”‘’-–—*•·|"
_WRAPPED = 50
"""A line of more characters that ends no sentence was wrapped: the next one goes on."""
_LINE_ENDS = ".!?…:"
_ROWS_A_BLOCK = 100_000
Span = tuple[int, int]
"""Start and end of a segment, in characters."""


def spans_of(text: str) -> list[Span]:
    """Cut a text at paragraphs, after sentence marks, and at the ends of lines that were not just wrapped there."""
    spans, start = [], 0
    for boundary in _BOUNDARY.finditer(text):
        if boundary.group() == "\n" and _is_wrapped(text, start, boundary.start()):
            continue
        if boundary.start() > start:
            spans.append((start, boundary.start()))
        start = boundary.end()
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _is_wrapped(text: str, start: int, at: int) -> bool:
    """Whether the line that ends `at`, in the segment from `start` on, is long and ends no sentence."""
    line = text[max(start, text.rfind("\n", start, at) + 1) : at]
    return len(line) > _WRAPPED and line[-1] not in _LINE_ENDS


def segment_key(segment: str) -> str:
    """What makes two segments the same: their text without case, marks at the edges and kinds of white space."""
    return _SPACES.sub(" ", segment.strip(_EDGES)).lower()


def shared_segments(
    texts: pl.Series, minimum: int, min_words: int, progress: Progress = silent
) -> tuple[dict[str, int], pl.Series]:
    """Segments of at least `min_words` words that stand in at least `minimum` of the texts.

    Args:
        texts: distinct texts; a segment that one of them repeats counts once.

    Returns:
        How many texts hold each segment (by `segment_key`), and the positions of the texts that hold any.
    """
    counts, blocks = [], list(range(0, len(texts), _ROWS_A_BLOCK))
    for low in blocks:
        keys = _keys(texts.slice(low, _ROWS_A_BLOCK), low, min_words)
        counts.append(keys.select("row", hash=pl.col("key").hash()).unique())
        progress("count sentences", low + _ROWS_A_BLOCK, len(texts))
    held = pl.concat(counts) if counts else pl.DataFrame(schema={"row": pl.UInt32, "hash": pl.UInt64})
    frequent = (
        held.group_by("hash").agg(pl.len().alias("texts"), pl.col("row").first()).filter(pl.col("texts") >= minimum)
    )
    rows = held.filter(pl.col("hash").is_in(frequent["hash"].implode()))["row"].unique().sort()
    examples = _keys(texts.gather(frequent["row"].unique().sort()), 0, min_words)["key"].unique().to_frame()
    named = examples.with_columns(pl.col("key").hash().alias("hash")).join(frequent, on="hash")
    return dict(named.sort("texts", "key", descending=[True, False]).select("key", "texts").iter_rows()), rows


def _keys(texts: pl.Series, first: int, min_words: int) -> pl.DataFrame:
    """`row` and `key` of every segment long enough."""
    text = (
        pl.col("text")
        .str.replace_all(rf"([.!?…]){_SPACE}+", "${1}" + _MARK)
        .str.replace_all(rf"\n{_SPACE}*\n{_SPACE}*", _MARK)
    )
    text = text.str.replace_all(rf"([^\n{_MARK}]{{{_WRAPPED},}}[^\n{_MARK}{_LINE_ENDS}])\n", "${1} ")
    text = text.str.replace_all(rf"\n({_LOWER})", " ${1}").str.replace_all("\n", _MARK, literal=True)
    frame = texts.alias("text").to_frame().with_row_index("row", offset=first)
    frame = frame.select("row", key=text.str.split(_MARK)).explode("key")
    key = pl.col("key").str.strip_chars(_EDGES).str.replace_all(_SPACES.pattern, " ").str.to_lowercase()
    frame = frame.with_columns(key=key)
    return frame.filter((pl.col("key") != "") & (pl.col("key").str.count_matches(" ") >= min_words - 1))


def spans_among(text: str, keys: Container[str]) -> list[Span]:
    """Spans of `text` whose segment is one of `keys`."""
    return [span for span in spans_of(text) if segment_key(text[slice(*span)]) in keys]


def without(text: str, spans: list[Span]) -> str:
    """`text` with `spans` and the white space after them cut out."""
    kept, end = [], 0
    for start, stop in spans:
        kept.append(text[end:start])
        end = stop
        while end < len(text) and text[end].isspace():
            end += 1
    return ("".join(kept) + text[end:]).rstrip()
