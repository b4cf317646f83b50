"""Records to canonical rows: what a cell may hold, what is rejected, what a row is identified by."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from xxhash import xxh3_64_hexdigest

from studio.pairs.rejects import Reject, RejectReason
from studio.pairs.roles import Roles
from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.progress import Progress

_INVISIBLE = r"^[\s\p{Cf}\p{Cc}]*$"
_REPORT_EVERY = 10_000


@dataclass
class Built:
    """Rows made so far, and what was set aside. `dropped_negatives` counts negatives that were no text."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    dropped_negatives: int = 0


class _Refused(Exception):  # noqa: N818 - a signal inside this module
    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def build_from_records(
    records: Iterable[tuple[int, Any]],
    roles: Roles,
    name: str,
    split: str | None,
    built: Built,
    progress: Progress,
) -> None:
    """Turn records (line, dict) into rows; several positives of one record become several rows."""
    rows: list[tuple[Any, ...]] = []
    for count, (line, record) in enumerate(records, 1):
        if count % _REPORT_EVERY == 0:
            progress(f"read {name}", count, None)
        try:
            rows.extend(_rows_of(record, roles, f"{name}:{line}", split, built))
        except _Refused as refused:
            built.rejects.append(Reject(name, line, refused.reason, refused.detail, _raw(record)))
        except RecursionError:
            built.rejects.append(Reject(name, line, RejectReason.BROKEN_JSON, "nested too deeply", _raw(record)))
    built.frames.append(_without_empty(_frame(rows), name, built))


def _raw(record: Any) -> str:
    try:
        return json.dumps(record, ensure_ascii=False, default=str)
    except RecursionError:
        return ""


def _rows_of(record: Any, roles: Roles, source: str, split: str | None, built: Built) -> Iterator[tuple[Any, ...]]:
    if isinstance(record, list):
        raise _Refused(RejectReason.WRONG_ARITY, f"{len(record)} texts where a query and a positive are needed")
    if not isinstance(record, dict):
        raise _Refused(RejectReason.NOT_AN_OBJECT, f"a {type(record).__name__}")
    queries = _texts(record.get(roles.query or ""), "query")
    if not queries:
        raise _Refused(RejectReason.MISSING_QUERY, f"no {roles.query}")
    if len(queries) > 1:
        raise _Refused(RejectReason.NOT_TEXT, f"{len(queries)} queries in one row")
    positives = _texts(record.get(roles.positive or ""), "positive")
    if not positives:
        raise _Refused(RejectReason.MISSING_POSITIVE, f"no {roles.positive}")
    negatives: list[str] = []
    for column in roles.negatives:
        negatives += _negatives(record.get(column), built)
    score = _score(record.get(roles.score)) if roles.score else None
    label = _plain(record.get(roles.label)) if roles.label else None
    group = _plain(record.get(roles.group)) if roles.group else None
    own_split = _plain(record.get(roles.split)) if roles.split else None
    meta = {key: value for key, value in record.items() if key not in roles.columns}
    meta |= _ids(record, roles)
    meta_text = json.dumps(meta, ensure_ascii=False, separators=(",", ":"), default=str) if meta else None
    for text in (*queries, *positives, *negatives, label or "", group or "", own_split or "", meta_text or ""):
        if not text.isascii():
            _encodable(text)
    for number, positive in enumerate(positives, 1):
        at = source if number == 1 else f"{source}#{number}"
        yield queries[0], positive, negatives, score, label, group, own_split or split, at, meta_text


def _texts(value: Any, role: str) -> list[str]:
    """The texts of a cell: a text, a passage object, or a list of either."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        title = value.get("title")
        return [f"{title} {value['text']}" if isinstance(title, str) and title else value["text"]]
    if isinstance(value, list):
        return [
            text for item in value for text in (_texts(item, role) if not isinstance(item, list) else _no(role, item))
        ]
    return _no(role, value)


def _no(role: str, value: Any) -> list[str]:
    raise _Refused(RejectReason.NOT_TEXT, f"{role} is a {type(value).__name__}")


def _negatives(value: Any, built: Built) -> list[str]:
    texts = []
    for item in value if isinstance(value, list) else [value] if value is not None else []:
        try:
            found = [text for text in _texts(item, "negative") if text.strip()]
        except _Refused:
            found = []
        built.dropped_negatives += not found
        texts += found
    return texts


def _ids(record: dict[str, Any], roles: Roles) -> dict[str, Any]:
    """Document ids inside passage objects, so that they are not lost with the objects."""
    ids = {}
    for column in (roles.positive, *roles.negatives):
        value = record.get(column or "")
        items = value if isinstance(value, list) else [value]
        found = [item.get("docid", item.get("_id")) for item in items if isinstance(item, dict)]
        if any(item is not None for item in found):
            ids[f"{column}_ids"] = found
    return ids


def _score(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _Refused(RejectReason.BAD_SCORE, f"{str(value)[:60]!r}") from None
    if not math.isfinite(score) or isinstance(value, bool):
        raise _Refused(RejectReason.BAD_SCORE, f"{str(value)[:60]!r}")
    return score


def _plain(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _encodable(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _Refused(RejectReason.LONE_SURROGATE, f"character {error.start + 1}") from None


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in SNAPSHOT_SCHEMA.items() if name != "row_id"}
    return pl.DataFrame(rows, schema=schema, orient="row")


def build_from_frame(frame: pl.DataFrame, roles: Roles, name: str, split: str | None, built: Built) -> None:
    """Turn a table whose role columns are all plain text (score: numbers or text) into rows, column by column.

    `frame` may carry a column `__line` with the line of each row; otherwise rows count from 1.
    """
    if "__line" not in frame.columns:
        frame = frame.with_row_index("__line", offset=1)
    others = [column for column in frame.columns if column not in roles.columns and column != "__line"]
    negatives = pl.concat_list(roles.negatives).list.drop_nulls() if roles.negatives else pl.lit([], pl.List(pl.String))

    def optional(column: str | None) -> pl.Expr:
        if not column:
            return pl.lit(None, pl.String)
        text = pl.col(column).cast(pl.String)
        return pl.when(text != "").then(text)

    score = pl.col(roles.score).cast(pl.Float64, strict=False) if roles.score else pl.lit(None, pl.Float64)
    rows = frame.select(
        pl.col(roles.query or "").alias("query"),
        pl.col(roles.positive or "").alias("positive"),
        negatives.list.filter(pl.element().str.strip_chars() != "").alias("negatives"),
        score.alias("score"),
        optional(roles.label).alias("label"),
        optional(roles.group).alias("group"),
        pl.coalesce(optional(roles.split), pl.lit(split, pl.String)).alias("split"),
        pl.concat_str(pl.lit(f"{name}:"), pl.col("__line").cast(pl.String)).alias("source"),
        (_meta(frame, others) if others else pl.lit(None, pl.String)).alias("meta"),
        pl.col("__line").cast(pl.Int64).alias("__line"),
        (optional(roles.score).is_not_null() & ~score.is_finite().fill_null(value=False)).alias("__bad_score"),
    )
    given = frame.select(negatives.list.len().sum()).item() or 0
    built.dropped_negatives += int(given) - int(rows["negatives"].list.len().sum() or 0)
    reason = (
        pl.when(pl.col("query").is_null())
        .then(pl.lit(RejectReason.MISSING_QUERY.value))
        .when(pl.col("positive").is_null())
        .then(pl.lit(RejectReason.MISSING_POSITIVE.value))
        .when(pl.col("__bad_score"))
        .then(pl.lit(RejectReason.BAD_SCORE.value))
    )
    rows = rows.with_columns(reason.alias("__reason"))
    for row in rows.filter(pl.col("__reason").is_not_null()).iter_rows(named=True):
        raw = json.dumps([row["query"], row["positive"]], ensure_ascii=False)
        built.rejects.append(Reject(name, row["__line"], RejectReason(row["__reason"]), "", raw))
    good = rows.filter(pl.col("__reason").is_null()).drop("__line", "__bad_score", "__reason")
    built.frames.append(_without_empty(good, name, built))


def _meta(frame: pl.DataFrame, columns: list[str]) -> pl.Expr:
    encodable = [
        pl.col(c).map_elements(str, return_dtype=pl.String) if dtype in (pl.Binary, pl.Object) else pl.col(c)
        for c, dtype in ((c, frame.schema[c]) for c in columns)
    ]
    return pl.struct(encodable).struct.json_encode()


def _without_empty(rows: pl.DataFrame, name: str, built: Built) -> pl.DataFrame:
    """Set aside rows whose query or positive holds nothing to read."""
    reason = (
        pl.when(pl.col("query").str.contains(_INVISIBLE))
        .then(pl.lit(RejectReason.EMPTY_QUERY.value))
        .when(pl.col("positive").str.contains(_INVISIBLE))
        .then(pl.lit(RejectReason.EMPTY_POSITIVE.value))
    )
    rows = rows.with_columns(reason.alias("__reason"))
    for row in rows.filter(pl.col("__reason").is_not_null()).iter_rows(named=True):
        line = int(row["source"].rsplit(":", 1)[1].split("#")[0])
        raw = json.dumps([row["query"], row["positive"]], ensure_ascii=False)
        built.rejects.append(Reject(name, line, RejectReason(row["__reason"]), "", raw))
    return rows.filter(pl.col("__reason").is_null()).drop("__reason")


def with_row_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Give each row its id: 16 hex digits of xxh3-64 over its content and source, each part length-prefixed."""

    def part(text: pl.Expr) -> pl.Expr:
        prefixed = pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text)
        return pl.when(text.is_null()).then(pl.lit("-")).otherwise(prefixed)

    each = pl.concat_str(pl.element().str.len_bytes().cast(pl.String), pl.lit(":"), pl.element())
    keys = rows.select(
        pl.concat_str(
            part(pl.col("query")),
            part(pl.col("positive")),
            pl.col("negatives").list.eval(each).list.join(""),
            *(part(pl.col(name).cast(pl.String)) for name in ("score", "label", "group", "split", "source")),
            separator="|",
        )
    ).to_series()
    ids = [xxh3_64_hexdigest(key.encode()) for key in keys]
    seen: Counter[str] = Counter()
    if len(set(ids)) < len(ids):
        for index, row_id in enumerate(ids):
            seen[row_id] += 1
            if seen[row_id] > 1:
                ids[index] = xxh3_64_hexdigest(f"{keys[index]}#{seen[row_id]}".encode())
    return rows.with_columns(pl.Series("row_id", ids, dtype=pl.String)).select(SNAPSHOT_SCHEMA.names())
