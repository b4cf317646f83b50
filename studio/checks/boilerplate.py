"""Lines and sentences that many passages share: they make passages look alike that are not."""

from __future__ import annotations

import json
import math

import polars as pl
from pydantic import Field

from studio.checks.base import Check, CheckConfig, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.text.segments import shared_segments, spans_among, without

REASON = "boilerplate"
_SHOWN = 20
_SHOWN_CHARACTERS = 160


class BoilerplateConfig(CheckConfig):
    """When a line or sentence is boilerplate, and when a passage has too much of it."""

    min_passages: int = Field(default=5, ge=2)
    """It stands in at least so many distinct passages…"""
    min_share: float = Field(default=0.005, ge=0, le=1)
    """…and in at least this share of them."""
    min_words: int = Field(default=4, ge=1)
    """Shorter lines and sentences are not counted."""
    warn: float = Field(default=0.5, ge=0, le=1)
    """A passage with more than this share of its words in boilerplate is for review."""


@check
class Boilerplate(Check):
    """Passages with lines or sentences that stand in many distinct passages (case and edge marks ignored).

    One flag a row; its score is the share of the passage's words that is boilerplate.
    """

    name = "boilerplate"
    version = "1"
    summary = "lines and sentences that many passages share, and their share of each passage"
    config_type = BoilerplateConfig
    config: BoilerplateConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit one flag for each row whose passage holds boilerplate, with the spans."""
        texts = pairs["positive"].unique(maintain_order=True)
        minimum = max(self.config.min_passages, math.ceil(self.config.min_share * len(texts) - 1e-9))
        shared, rows = shared_segments(texts, minimum, self.config.min_words, progress)
        found = []
        for done, text in enumerate(texts.gather(rows)):
            spans = spans_among(text, shared)
            if spans:
                words = sum(len(text[start:stop].split()) for start, stop in spans)
                found.append((text, words / max(len(text.split()), 1), json.dumps({"spans": spans})))
            if done % 10_000 == 0:
                progress("measure boilerplate", done, len(rows))
        frame = pl.DataFrame(
            found, schema={"positive": pl.String, "score": pl.Float64, "evidence": pl.String}, orient="row"
        )
        flags = pairs.select("row_id", "positive").join(frame, on="positive", maintain_order="left")
        band = (
            pl.when(pl.col("score") > self.config.warn)
            .then(pl.lit(Band.REVIEW.value))
            .otherwise(pl.lit(Band.IGNORE.value))
        )
        shown = [{"passages": n, "text": key[:_SHOWN_CHARACTERS]} for key, n in list(shared.items())[:_SHOWN]]
        return Evidence(
            self.flags(flags.with_columns(band=band, reason=pl.lit(REASON))),
            stats={"segments": len(shared), "from_passages": minimum, "most_common": shown},
        )


def without_boilerplate(rows: pl.DataFrame, flags: pl.DataFrame) -> pl.DataFrame:
    """Passages of flagged rows with the boilerplate cut out.

    Args:
        rows: `row_id` and `positive`.
        flags: this check's flags.

    Returns:
        `row` (position in `rows`) and `text`, for those with a flag.
    """
    spans = flags.filter(pl.col("reason") == REASON).select("row_id", "evidence")
    both = rows.with_row_index("row").join(spans, on="row_id", maintain_order="left")
    texts = [
        without(text, json.loads(evidence)["spans"])
        for text, evidence in both.select("positive", "evidence").iter_rows()
    ]
    return both.select("row", text=pl.Series(texts, dtype=pl.String))
