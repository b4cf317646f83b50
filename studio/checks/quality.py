"""Queries and passages that are poor material whatever stands beside them: one flag a row and reason, for review."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import polars as pl
from pydantic import Field

from studio.checks.base import Check, CheckConfig, check
from studio.pairs.texts import texts_where
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.text.language import confident_languages
from studio.text.quality_marks import (
    broken_end,
    controls,
    copies,
    has_controls,
    has_markup,
    is_question,
    markup,
    may_be_mojibake,
    mojibake,
    word_count,
)

Language = Literal["pt", "es", "en", "fr", "it", "de"]

_COLUMNS = ("query", "positive")
_FOUND = {"row_id": pl.String, "reason": pl.String, "score": pl.Float64, "evidence": pl.String}
_LANGUAGE_CHARACTERS = 200
_LANGUAGE_SHARE = 0.1
_STEP = 10_000
_OUTLIER_PASSAGES = 50
_MAD_TO_DEVIATION = 1.4826


class QualityConfig(CheckConfig):
    """The numbers from which a text is for a person to look at."""

    query_min_words: int = Field(3, ge=0)
    query_max_words: int = Field(100, ge=1)
    passage_min_words: int = Field(10, ge=0)
    passage_max_words: int = Field(1500, ge=1)
    contained_min_words: int = Field(4, ge=1)
    """A query of fewer words may stand in its passage."""
    question_max_words: int = Field(30, ge=1)
    """A passage that is one question of more words is no mere question."""
    truncated_min_words: int = Field(10, ge=1)
    """A passage of fewer words may be a title and end anyhow."""
    outlier_z: float = Field(4.0, gt=0)
    """Robust deviations of the logarithm of a passage's length from the median."""
    languages: tuple[Language, ...] = ()
    """Languages that belong here; empty: those of at least a tenth of the judged texts of a column."""
    language_words: int = Field(5, ge=1)
    """A text of fewer words is not judged."""
    language_confidence: float = Field(0.7, ge=0, le=1)
    """Below it a judgement counts for nothing."""
    language_sample: int = Field(200_000, ge=2)
    """Distinct texts judged at most; beyond that, those of rows chosen evenly."""


@check
class Quality(Check):
    """Too short, too long, cut off, copied, damaged, or in another language."""

    name = "quality"
    version = "1"
    summary = (
        "texts too short or long, cut off, wrongly decoded, with markup, copied from the query, in other languages"
    )
    config_type = QualityConfig
    config: QualityConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Flag what expressions over whole columns find, then what only a look at single texts can tell."""
        progress("measure texts", 0, 1)
        measured = _measured(pairs)
        found = [*_measures(measured, self.config), _outliers(measured, self.config), _markup(pairs)]
        progress("compare queries with their passages", 0, 1)
        found.append(_copied(measured, self.config))
        found.append(_damaged(pairs, "mojibake", may_be_mojibake, _mojibake, progress))
        found.append(_damaged(pairs, "control_characters", has_controls, _controls, progress))
        languages, notes = _languages(pairs, self.config, progress)
        found += [_wrong_languages(languages, self.config), _language_mismatches(languages)]
        flags = pl.concat(found).with_columns(band=pl.lit(Band.REVIEW.value))
        return Evidence(self.flags(flags), notes=notes)


def _measured(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.select(
        "row_id",
        *_COLUMNS,
        query_words=word_count(pl.col("query")),
        positive_words=word_count(pl.col("positive")),
        question=is_question(pl.col("positive")),
        ends=broken_end(pl.col("positive")),
    )


def _flagged(rows: pl.DataFrame, reason: str, score: pl.Expr | float = 1.0, **evidence: pl.Expr) -> pl.DataFrame:
    return rows.select(
        "row_id",
        reason=pl.lit(reason),
        score=score if isinstance(score, pl.Expr) else pl.lit(score),
        evidence=pl.struct([value.alias(key) for key, value in evidence.items()]).struct.json_encode(),
    )


def _measures(rows: pl.DataFrame, config: QualityConfig) -> Iterator[pl.DataFrame]:
    query, passage = pl.col("query_words"), pl.col("positive_words")
    for reason, column, words, wrong in (
        ("query_too_short", "query", query, query < config.query_min_words),
        ("query_too_long", "query", query, query > config.query_max_words),
        ("passage_too_short", "positive", passage, passage < config.passage_min_words),
        ("passage_too_long", "positive", passage, passage > config.passage_max_words),
    ):
        yield _flagged(rows.filter(wrong), reason, column=pl.lit(column), words=words)
    asks = rows.filter(pl.col("question") & passage.is_between(1, config.question_max_words))
    yield _flagged(asks, "passage_is_question", column=pl.lit("positive"), words=passage)
    cut = rows.filter(pl.col("ends").is_not_null() & (passage >= config.truncated_min_words))
    yield _flagged(cut, "truncated_answer", column=pl.lit("positive"), ends=pl.col("ends"))


def _outliers(rows: pl.DataFrame, config: QualityConfig) -> pl.DataFrame:
    """Flag passages whose length is far from the others'; none where more than half have one and the same length."""
    size = pl.col("positive_words").clip(1).log()
    sizes = rows.unique("positive").select(size).to_series()
    median = sizes.median()
    spread = (sizes - median).abs().median() if isinstance(median, float) else None
    if len(sizes) < _OUTLIER_PASSAGES or not isinstance(median, float) or not isinstance(spread, float) or not spread:
        return pl.DataFrame(schema=_FOUND)
    z = (size - median) / (_MAD_TO_DEVIATION * spread)
    return _flagged(
        rows.filter(z.abs() > config.outlier_z),
        "length_outlier",
        (z.abs() / (2 * config.outlier_z)).clip(0, 1),
        column=pl.lit("positive"),
        words=pl.col("positive_words"),
        z=z.round(2),
        median_words=pl.lit(round(math.exp(median))),
    )


def _markup(pairs: pl.DataFrame) -> pl.DataFrame:
    """Flag the first piece of markup of each row, the query's before the passage's."""
    parts = [
        pairs.lazy()
        .select("row_id", text=column)
        .with_row_index("row")
        .filter(has_markup(pl.col("text")))
        .select("row", "row_id", markup(pl.col("text")).struct.unnest(), column=pl.lit(column))
        for column in _COLUMNS
    ]
    first = pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row").collect()
    return _flagged(first, "markup_leftovers", column=pl.col("column"), kind=pl.col("kind"), found=pl.col("found"))


def _copied(rows: pl.DataFrame, config: QualityConfig) -> pl.DataFrame:
    held = copies(rows.lazy())
    inside = ~pl.col("equal") & (pl.col("query_words") >= config.contained_min_words)
    shown = {"column": pl.lit("positive"), "words": pl.col("query_words")}
    return pl.concat(
        [
            _flagged(held.filter("equal"), "query_equals_passage", **shown),
            _flagged(held.filter(inside), "query_in_passage", **shown),
        ]
    )


def _damaged(
    pairs: pl.DataFrame,
    reason: str,
    suspect: Callable[[pl.Expr], pl.Expr],
    judge: Callable[[str], tuple[float, dict[str, Any]] | None],
    progress: Progress,
) -> pl.DataFrame:
    """Flag rows with a text for which `judge` has a score and evidence: the first of them, and how many others."""
    texts = texts_where(pairs, suspect)
    judged: dict[str, tuple[float, dict[str, Any]] | None] = {}
    distinct = texts["text"].unique(maintain_order=True).to_list()
    for done, text in enumerate(distinct):
        if done % _STEP == 0:
            progress(f"look for {reason.replace('_', ' ')}", done, len(distinct))
        judged[text] = judge(text)
    by_row: dict[str, tuple[float, dict[str, Any]]] = {}
    for row_id, column, index, text in texts.iter_rows():
        if (verdict := judged[text]) is None:
            continue
        if row_id in by_row:
            by_row[row_id][1]["others"] = by_row[row_id][1].get("others", 0) + 1
        else:
            at = {} if index is None else {"index": index}
            by_row[row_id] = (verdict[0], {"column": column, **at, **verdict[1]})
    lines = [
        (row_id, reason, score, json.dumps(evidence, ensure_ascii=False))
        for row_id, (score, evidence) in by_row.items()
    ]
    return pl.DataFrame(lines, schema=_FOUND, orient="row")


def _mojibake(text: str) -> tuple[float, dict[str, Any]] | None:
    if (found := mojibake(text)) is None:
        return None
    return 1.0 if found.certain else 0.5, {} if found.fixed is None else {"fixed": found.fixed}


def _controls(text: str) -> tuple[float, dict[str, Any]]:
    found = controls(text)
    return 1.0, {"code_points": sorted(found), "count": found.total()}


def _languages(pairs: pl.DataFrame, config: QualityConfig, progress: Progress) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return row_id and, of query and positive, the text, language and confidence where they were judged."""
    heads = {column: pl.col(column).str.head(_LANGUAGE_CHARACTERS) for column in _COLUMNS}
    long_enough = (
        pl.when(word_count(head) >= config.language_words).then(head).alias(column) for column, head in heads.items()
    )
    rows = pairs.lazy().select("row_id", *long_enough)
    some = rows.filter(pl.any_horizontal(pl.col(_COLUMNS).is_not_null())).collect()
    total, notes = len(_distinct(some)), tuple[str, ...]()
    if total > config.language_sample:
        chosen = config.language_sample // 2
        some = some[[place * some.height // chosen for place in range(chosen)]]
        notes = (
            f"languages: of {total} distinct texts, {len(_distinct(some))} were judged, those of rows chosen evenly; "
            f"language_sample ({config.language_sample}) was reached",
        )
    judged = _judged(_distinct(some), progress).filter(pl.col("confidence") >= config.language_confidence)
    for column in _COLUMNS:
        named = judged.rename({"text": column, **{part: f"{column}_{part}" for part in ("language", "confidence")}})
        some = some.join(named, on=column, how="left", maintain_order="left")
    return some, notes


def _distinct(rows: pl.DataFrame) -> pl.Series:
    return pl.concat([rows[column] for column in _COLUMNS]).drop_nulls().unique(maintain_order=True)


def _judged(texts: pl.Series, progress: Progress) -> pl.DataFrame:
    verdicts: list[tuple[str, float]] = []
    for start in range(0, len(texts), _STEP):
        progress("tell languages", start, len(texts))
        verdicts += confident_languages(texts[start : start + _STEP].to_list())
    schema = {"language": pl.String, "confidence": pl.Float64}
    return pl.DataFrame(verdicts, schema=schema, orient="row").with_columns(text=texts).filter(pl.col("confidence") > 0)


def _wrong_languages(rows: pl.DataFrame, config: QualityConfig) -> pl.DataFrame:
    """Flag texts in another language than is expected in their column: one flag a row, the query's first."""
    parts = []
    for column in _COLUMNS:
        language, confidence = pl.col(f"{column}_language"), pl.col(f"{column}_confidence")
        known = rows.with_row_index("row").filter(language.is_not_null())
        shares = known.unique(column).group_by(language.alias("language")).len()
        common = shares.filter(pl.col("len") >= _LANGUAGE_SHARE * pl.col("len").sum())["language"]
        expected = config.languages or common.to_list()
        wrong = known.filter(~language.is_in(expected))
        parts.append(wrong.select("row", "row_id", column=pl.lit(column), language=language, confidence=confidence))
    first = pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row")
    shown = {name: pl.col(name) for name in ("column", "language", "confidence")}
    return _flagged(first, "wrong_language", pl.col("confidence"), **shown)


def _language_mismatches(rows: pl.DataFrame) -> pl.DataFrame:
    differ = rows.filter(pl.col("query_language") != pl.col("positive_language"))
    confidence = pl.min_horizontal("query_confidence", "positive_confidence")
    return _flagged(
        differ,
        "language_mismatch",
        confidence,
        query_language=pl.col("query_language"),
        positive_language=pl.col("positive_language"),
        confidence=confidence,
    )
