"""Marks of poor texts: cut off, wrongly decoded, with markup or control characters in them, copied; their language."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import polars as pl

from studio.text.normalise import Level, normalised

_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_CONTROLS = re.compile(_CONTROL)

# In scripts without spaces each character counts as a word.
_WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|\w\S*"

_OPENERS = r"\s(\[\"'“‘«"
_TAIL = 48
"""Characters at the end of a text that are looked at: more than any function word has."""
# Lower case only: "vitamina A" and "opção E" are complete.
_FUNCTION_WORDS = (
    "a o as os à às ao aos um uma uns umas de da do das dos em no na nos nas num numa por pelo pela pelos pelas para "
    "com sem sob sobre entre até e ou mas que se como quando porque cujo cuja cujos cujas seu sua seus suas "  # pt
    "the an of to at from with for and or but that which whose if than is are was were has have had will would their "
    "el la los las un una unos unas del al en con sin y u su sus pero lo"  # en, es
).split()
_BROKEN_MARK = r"(\.\.\.|[…,(\[{‐‑–—−-])$"
_BROKEN_WORD = rf"(?:^|[{_OPENERS}])({'|'.join(dict.fromkeys(_FUNCTION_WORDS))})$"

_QUESTION = r"^\s*(?:[^.!?\n]|[.!?][^\s\"'”’»)\]])+\?[\"'”’»)\]\s]*$"

_TAGS = (
    "a|abbr|article|b|blockquote|body|br|button|center|code|dd|div|dl|dt|em|font|footer|form|h[1-6]|head|header|hr|html"
    "|i|iframe|img|input|label|li|link|meta|nav|ol|option|p|pre|script|section|select|small|span|strong|style|sub|sup"
    "|svg|table|tbody|td|textarea|th|thead|title|tr|u|ul|video"
)
_ENTITIES = (
    "nbsp|amp|lt|gt|quot|apos|copy|reg|trade|hellip|mdash|ndash|[lr][sd]quo|[lr]aquo|bull|middot|euro|pound|deg|sect"
    "|para|ord[fm]|iexcl|iquest|szlig|(?:sup|frac)[1-4]{1,2}|[A-Za-z](?:acute|grave|circ|tilde|uml|cedil|ring)"
)
_MARKUP = {
    "html_tag": rf"(?i)</?(?:{_TAGS})\s*/?>|<(?:{_TAGS})\s[^<>]*=[^<>]*>|<!--|<!doctype ",
    "html_entity": rf"&(?:{_ENTITIES}|#[0-9]{{1,7}}|#[xX][0-9A-Fa-f]{{1,6}});",
    "wiki_link": r"\[\[[^\[\]\n]+\]\]",
    "bbcode": r"(?i)\[/(?:b|i|u|s|url|img|quote|code|size|color|list|center)\]"
    r"|\[(?:url|img|quote|size|color)(?:=[^\[\]\n]*)?\]",
    "markdown_link": r"\[[^\[\]\n]*\]\((?:https?:|mailto:|www\.|[./#])[^()\s]*\)",
}
_SHOWN = 80

# Bytes of UTF-8 read as Windows-1252 or Latin-1: a lead, then what the bytes 0x80 to 0xBF became, of which the
# no-break space may have become a space. Last, the same from Mac Roman.
_MAY_BE_MOJIBAKE = "\ufffd|[ÂÃÄÅÎÏÐÑØÙâð][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|[ÂÃ] |√[^\\s0-9A-Za-z(]|‚Ä"
_EXCERPT = 200
_BEFORE = 40

# Characters that normalisation may turn into a plain letter or digit, or take away from between two; ª and º are not
# among them, being too common here: they are turned by hand.
_FOLDED = (
    "[\u00ad\u00b2\u00b3\u00b9\u00bc-\u00be\u00df\u0100-\u02ff\u0370-\u200f\u2016\u2017\u2020\u2021\u2023-\u2025"
    "\u2027-\u20ab\u20ad-\U0010ffff]"
)

_PLAIN = 32
"""Characters of a word that are looked for."""


@dataclass(frozen=True)
class Mojibake:
    """A wrongly decoded text: a piece of it put right, or None where what was lost cannot be had back."""

    fixed: str | None
    certain: bool


def word_count(column: pl.Expr) -> pl.Expr:
    """Count words: runs without white space that have a letter or a digit in them."""
    return column.str.count_matches(_WORD)


def broken_end(column: pl.Expr) -> pl.Expr:
    """Return what a text breaks off with (a comma, a hyphen, "de", "..."), or null where its end may be one."""
    end = column.str.strip_chars_end().str.tail(_TAIL)
    return pl.coalesce(end.str.extract(_BROKEN_MARK, 1), end.str.extract(_BROKEN_WORD, 1))


def is_question(column: pl.Expr) -> pl.Expr:
    """Whether a text is one sentence that ends in a question mark."""
    return column.str.contains(_QUESTION)


def has_markup(column: pl.Expr) -> pl.Expr:
    """Whether tags, entities or links of HTML, BBCode, a wiki or Markdown are left in a text."""
    return pl.any_horizontal(column.str.contains(pattern) for pattern in _MARKUP.values())


def markup(column: pl.Expr) -> pl.Expr:
    """Return the first piece of markup of a text as a struct of `kind` and `found`."""
    found = [column.str.extract(f"({pattern})", 1).str.head(_SHOWN) for pattern in _MARKUP.values()]
    kinds = [pl.when(piece.is_not_null()).then(pl.lit(kind)) for kind, piece in zip(_MARKUP, found, strict=True)]
    return pl.struct(kind=pl.coalesce(kinds), found=pl.coalesce(found))


def has_controls(column: pl.Expr) -> pl.Expr:
    """Whether a text has control characters (tab, LF and CR are none) or marks that override its direction."""
    return column.str.contains(_CONTROL)


def controls(text: str) -> Counter[str]:
    """Count what `has_controls` is about, by code point (U+001B)."""
    return Counter(f"U+{ord(character):04X}" for character in _CONTROLS.findall(text))


def may_be_mojibake(column: pl.Expr) -> pl.Expr:
    """Whether a text has what wrongly decoded texts have; honest ones may have it too."""
    return column.str.contains(_MAY_BE_MOJIBAKE)


def mojibake(text: str) -> Mojibake | None:
    """Tell whether `text` was decoded wrongly, as ftfy sees it; U+FFFD always says so."""
    from ftfy import fix_encoding
    from ftfy.badness import is_bad

    fixed = fix_encoding(text)
    if fixed != text:
        same = next((at for at, (old, new) in enumerate(zip(text, fixed, strict=False)) if old != new), len(fixed))
        start = max(0, same - _BEFORE)
        return Mojibake(fixed[start : start + _EXCERPT], certain=True)
    if "\ufffd" in text:
        return Mojibake(None, certain=True)
    return Mojibake(None, certain=False) if is_bad(text) else None


def mended(text: str) -> str:
    """`text` with wrong decodings undone, as ftfy would; itself where nothing can be had back."""
    from ftfy import fix_encoding

    return str(fix_encoding(text))


def copies(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Keep the rows whose query stands in the passage (both at L2); `equal` tells whether it is all of it.

    To normalise every passage would take most of the time: one that lacks the first, the middle or the last plain
    word of the normalised query cannot hold it, save where normalisation would make that word.
    """
    query, passage, words = pl.col("query_key"), pl.col("positive"), pl.col("plain_words")
    lowered = passage.str.to_lowercase().str.replace_all("º", "o", literal=True).str.replace_all("ª", "a", literal=True)
    picked = (words.list.first(), words.list.get(words.list.len() // 2, null_on_oob=True), words.list.last())
    # Polars may make a regex of what it looks for: 200 kB of it would take a minute.
    has_them = (pl.col("lowered").str.contains(word.str.head(_PLAIN), literal=True).fill_null(True) for word in picked)
    keyed = (
        pairs.with_columns(query_key=normalised(pl.col("query"), Level.SURFACE), lowered=lowered)
        .filter(query != "")
        .with_columns(plain_words=query.str.extract_all("[a-z0-9]+"))
        .filter(pl.all_horizontal(has_them) | passage.str.contains(_FOLDED))
        .with_columns(passage_key=normalised(passage, Level.SURFACE))
        .drop("plain_words", "lowered")
        .collect()
    )
    held = [key in text for key, text in keyed["query_key", "passage_key"].iter_rows()]
    return keyed.filter(pl.Series(held, dtype=pl.Boolean)).select(
        pl.exclude("query_key", "passage_key"), equal=query == pl.col("passage_key")
    )
