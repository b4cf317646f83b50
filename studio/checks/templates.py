"""Template families: texts that are one sentence pattern with other numbers, dates and names in its slots."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from studio.checks.base import Check, CheckConfig, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.text.normalise import Level, normalised

_MONTHS = "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro"
_SLOTS = (
    (r"(?:https?://|www\.)\S+", "⟨url⟩"),
    (r"[\w.+-]+@[\w-]+\.[\w.-]+", "⟨mail⟩"),
    (r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}", "⟨id⟩"),
    (r"(?i)(?:r\$|us\$|€|£)\s?\d[\d.,]*", "⟨money⟩"),
    (rf"(?i)\d{{1,2}}º?\s+de\s+(?:{_MONTHS})(?:\s+de\s+\d{{4}})?|\d{{1,4}}[/.-]\d{{1,2}}[/.-]\d{{2,4}}", "⟨date⟩"),
    (r"\d+(?:[.,:/-]\d+)*", "⟨number⟩"),
    # A capitalised span after a word: a name, not the beginning of a sentence. The space before it is kept.
    (r"([\p{Ll},;)][ \t]+)\p{Lu}[\w'’.-]*(?:[ \t]+(?:d[aeo]s?[ \t]+|e[ \t]+|of[ \t]+)?\p{Lu}[\w'’.-]*)*", "${1}⟨name⟩"),
)


class TemplatesConfig(CheckConfig):
    """When texts with the same pattern are a family."""

    min_family: int = Field(default=5, ge=2)
    """Distinct texts with one pattern."""
    min_words: int = Field(default=3, ge=1)
    """Words of the pattern outside its slots."""


@check
class Templates(Check):
    """Queries and passages that differ only in their slots: numbers, dates, money, addresses, names.

    They are never duplicates: with other slots they are hard negatives for each other.
    """

    name = "templates"
    version = "1"
    summary = "families of queries or passages with one pattern and other numbers, dates or names in it"
    config_type = TemplatesConfig
    config: TemplatesConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit one flag for each text in a family (ignore band), with the pattern and the size of the family."""
        found, sizes = [], {}
        for done, (column, reason) in enumerate((("query", "query_template"), ("positive", "passage_template"))):
            progress("mask slots", done, 2)
            family = self._families(pairs[column])
            sizes[f"{reason}_families"] = family["pattern"].n_unique()
            flags = pairs.select("row_id", pl.col(column).alias("text")).join(family, on="text", maintain_order="left")
            found.append(flags.with_columns(reason=pl.lit(reason)))
        progress("mask slots", 2, 2)
        pattern = pl.struct("pattern", pl.col("texts").alias("family"), "slots").struct.json_encode()
        flags = pl.concat(found).with_columns(score=pl.lit(1.0), band=pl.lit(Band.IGNORE.value), evidence=pattern)
        return Evidence(self.flags(flags), stats=sizes)

    def _families(self, texts: pl.Series) -> pl.DataFrame:
        """`text`, `pattern`, `texts` (distinct texts of the family) and `slots` of every text in a family."""
        masked = pl.col("text")
        for slot, name in _SLOTS:
            masked = masked.str.replace_all(slot, name)
        frame = texts.alias("text").unique(maintain_order=True).to_frame()
        frame = frame.with_columns(hash=_pattern(masked).hash())
        # Most patterns stand alone: what follows looks only at those that do not.
        frame = frame.filter(pl.len().over("hash") >= self.config.min_family)
        frame = frame.select("text", pattern=_pattern(masked)).with_columns(
            key=normalised(pl.col("text"), Level.SURFACE), slots=pl.col("pattern").str.count_matches("⟨")
        )
        outside = pl.col("pattern").str.replace_all(r"⟨\w+⟩", " ").str.count_matches(r"\w+")
        frame = frame.filter((pl.col("slots") > 0) & (outside >= self.config.min_words))
        frame = frame.with_columns(texts=pl.col("key").n_unique().over("pattern"))
        return frame.filter(pl.col("texts") >= self.config.min_family).select("text", "pattern", "texts", "slots")


def _pattern(masked: pl.Expr) -> pl.Expr:
    return masked.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" .?!")
