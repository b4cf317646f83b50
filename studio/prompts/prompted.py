"""Rows whose text already carries a prompt, found in one pass of expressions over the whole table."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from studio.prompts.contract import PromptContract


class PromptReason(StrEnum):
    """Why a text is suspected to carry a prompt."""

    QUERY_ALREADY_PROMPTED = "query_already_prompted"
    """The query begins with an instruction: with the contract's it would be prompted twice."""
    QUERY_HAS_PASSAGE_PROMPT = "query_has_passage_prompt"
    """The query begins with a prefix that other models put before passages."""
    PASSAGE_HAS_QUERY_PROMPT = "passage_has_query_prompt"
    """The passage begins with an instruction: it would look like a query to the model."""
    PASSAGE_ALREADY_PROMPTED = "passage_already_prompted"
    """The passage begins with a passage prefix of another model, or with the contract's own document prompt."""
    PROMPT_MARKER_INSIDE = "prompt_marker_inside"
    """`Instruct: … Query:` stands further inside the text, as when prompted texts were joined."""


PROMPTED_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "reason": pl.String(),
        "score": pl.Float64(),
        "column": pl.String(),
        "prefix": pl.String(),
        "chars": pl.UInt32(),
        "index": pl.UInt32(),
    }
)
"""Columns of `find_prompted_rows`.

`reason`: a `PromptReason`. `score`: always 1.0, the prefix is there or it is not. `column`: query, positive or
negatives. `prefix`: the text that was found, as written, leading space included. `chars`: its length in characters.
`index`: the place among the negatives, from 0, else null.
"""

# Leading white space, byte-order marks and zero-width spaces hide a prefix from the eye but not from the model.
_LEAD = r"^[\s\x{FEFF}\x{200B}]*"
_QUERY_PREFIXES = (
    r"instruct:[^\n]*\n\s*query: ?",
    r"instruct(?:ion)?:",
    # "Instrução:" alone opens many an honest Portuguese text; with a "Consulta:" line it is a translated template.
    r"instru(?:ção|cao):[^\n]*\n\s*consulta: ?",
    r"(?:search_)?query: ?",
    r"task: [^|\n]{1,60}\| query: ?",
    r"represent (?:this|the) [^:\n]{1,80}(?:passages?|documents?|sentences?|articles?|retrieval)\s*: ?",
    "为这个句子生成表示以用于检索相关文章\uff1a",
)
_PASSAGE_PREFIXES = (r"passage: ?", r"(?:search_)?document: ?", r"title: [^|\n]{1,200}\| text: ?")
_INSIDE = r"(?i)instruct:[^\n]*\n\s*query:"


def find_prompted_rows(pairs: pl.DataFrame, contract: PromptContract) -> pl.DataFrame:
    """Find texts that already carry a prompt, in `query`, `positive` and every one of `negatives`.

    A million rows take seconds. A text has at most one line: a prefix at its start wins over a marker inside.

    Args:
        pairs: a table in `SNAPSHOT_SCHEMA`; row_id, query, positive and negatives are read.
        contract: its own two strings are looked for besides the known ones.

    Returns:
        A table in `PROMPTED_SCHEMA`, in the order query, positive, negatives, and of the rows within each.
    """
    query_like = _pattern(contract.query, _QUERY_PREFIXES)
    passage_like = _pattern(contract.document, _PASSAGE_PREFIXES)
    in_query = [
        (PromptReason.QUERY_ALREADY_PROMPTED, query_like),
        (PromptReason.QUERY_HAS_PASSAGE_PROMPT, passage_like),
    ]
    in_passage = [
        (PromptReason.PASSAGE_HAS_QUERY_PROMPT, query_like),
        (PromptReason.PASSAGE_ALREADY_PROMPTED, passage_like),
    ]
    frame = pairs.lazy().select("row_id", "query", "positive", "negatives")
    none = pl.lit(None, dtype=pl.UInt32)
    positions = pl.int_ranges(pl.col("negatives").list.len(), dtype=pl.UInt32)
    negatives = (
        frame.filter(pl.col("negatives").list.len() > 0)
        .select("row_id", text="negatives", index=positions)
        .explode("text", "index")
    )
    found = [
        _found(frame.select("row_id", text="query", index=none), "query", in_query),
        _found(frame.select("row_id", text="positive", index=none), "positive", in_passage),
        _found(negatives, "negatives", in_passage),
    ]
    return pl.concat(found).collect()


def _pattern(own: str, prefixes: tuple[str, ...]) -> str:
    known = f"(?i:{'|'.join(prefixes)})"
    # The contract's own string comes first and is matched as it is: no case folding, no space trimmed before it.
    return f"((?:^{pl.escape_regex(own)})|{_LEAD}{known})" if own else f"({_LEAD}{known})"


def _found(texts: pl.LazyFrame, column: str, starts: list[tuple[PromptReason, str]]) -> pl.LazyFrame:
    text = pl.col("text")
    prefixes = [text.str.extract(pattern) for _, pattern in starts]
    inside = text.str.extract(f"({_INSIDE})")
    reason = pl.lit(PromptReason.PROMPT_MARKER_INSIDE.value)
    for at in reversed(range(len(starts))):
        reason = pl.when(pl.col(f"start_{at}").is_not_null()).then(pl.lit(starts[at][0].value)).otherwise(reason)
    names = [f"start_{at}" for at in range(len(starts))]
    return (
        texts.with_columns(*(prefix.alias(name) for prefix, name in zip(prefixes, names, strict=True)), inside=inside)
        .with_columns(prefix=pl.coalesce(*names, "inside"))
        .filter(pl.col("prefix").is_not_null())
        .select(
            "row_id",
            reason=reason,
            score=pl.lit(1.0),
            column=pl.lit(column),
            prefix="prefix",
            chars=pl.col("prefix").str.len_chars(),
            index="index",
        )
    )
