"""Judgements and runs as TREC's tools write them, and their kin: BEIR's three columns, JSON lines, tables."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError, UsageError
from studio.files import atomic_file
from studio.pairs.build import Built
from studio.pairs.read import as_records, parts_of
from studio.pairs.rejects import Reject, RejectReason
from studio.pairs.roles import NO_ROLES, Roles
from studio.pairs.streams import opened, plain_suffix
from studio.progress import Progress, silent
from studio.text.safe import visible

QRELS = pl.Schema({"query_id": pl.String(), "passage_id": pl.String(), "relevance": pl.Float64()})
RUN = pl.Schema({"query_id": pl.String(), "passage_id": pl.String(), "score": pl.Float64(), "tag": pl.String()})
_NAMES = {
    "query_id": ("query-id", "query_id", "qid", "queryid", "query", "topic", "topic_id"),
    "passage_id": (
        "corpus-id", "passage_id", "doc_id", "docid", "document_id", "docno", "pid", "passage", "corpus_id",
        "positive-corpus-ids", "corpus-ids",
    ),
    "relevance": ("score", "relevance", "rel", "label", "grade"),
}  # fmt: skip
_REASONS = {
    RejectReason.BROKEN_JSON: "it is not JSON",
    RejectReason.INVALID_UTF8: "it is not UTF-8",
    RejectReason.WRONG_ARITY: "it does not have the columns of the first line",
}
_IN_LINE = re.compile(r": line \d+ (column \d+) \(char \d+\)$")
"""How `json` ends its errors: the line it counts is that of the one record, always the first."""
_SHOWN = 120


def read_qrels(path: Path, progress: Progress = silent) -> pl.DataFrame:
    """Read judgements.

    Plain text has four columns (query, iteration, passage, relevance), as TREC writes them, or three (query, passage,
    relevance), as BEIR does, with or without a line of names, of which two at least must be known. JSON lines, CSV,
    Parquet and Arrow go by the names of the columns; without a relevance every line counts 1, and a passage may be a
    list of ids. A judgement that is repeated with the same relevance counts once.

    Args:
        path: the file; `.gz` and `.zst` are decompressed.
        progress: told of lines read.

    Returns:
        QRELS, in the order of the file.

    Raises:
        InputError: the file cannot be read or holds no judgement, or a line cannot be used; file and line are named.
    """
    return qrels_of(qrels_lines(path, progress), path.name)


def qrels_of(lines: Iterable[tuple[int, str, str, float]], name: str) -> pl.DataFrame:
    """Collect judgements: line, query id, passage id, relevance.

    Raises:
        InputError: there is none, or a pair is judged twice, with different relevances.
    """
    pairs = pl.DataFrame(list(lines), schema={"line": pl.Int64(), **QRELS}, orient="row")
    if pairs.is_empty():
        raise InputError("There are no judgements.", where=name, why="no line of it is one")
    pairs = pairs.unique([*QRELS], keep="first", maintain_order=True)
    _refuse_twice(pairs, name, "The judgements contradict each other.", "keep one of the two lines")
    return pairs.drop("line")


def qrels_lines(path: Path, progress: Progress = silent) -> Iterator[tuple[int, str, str, float]]:
    """Yield line, query id, passage id and relevance of a file of judgements.

    Raises:
        InputError: the file cannot be read, or a line cannot be used.
    """
    if plain_suffix(path) in (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".arrow", ".feather", ".ipc"):
        yield from records_as_qrels(records(path, progress), path.name)
        return
    for number, cells in _cells(path, progress):
        if number == 1 and len(cells) in (3, 4) and _names_columns(cells):
            continue
        if len(cells) not in (3, 4):
            raise _wrong(
                path.name, number, f"it has {len(cells)} columns; a judgement has 4 (TREC) or 3 (BEIR)", " ".join(cells)
            )
        names = "a line of names is known by query-id, corpus-id and score" if number == 1 else None
        yield number, cells[0], cells[-2], _relevance(cells[-1], path.name, number, names)


def _names_columns(cells: list[str]) -> bool:
    """Whether a first line names columns; a judgement whose relevance is no number is none the less a judgement."""
    roles = zip(("query_id", "passage_id", "relevance"), (cells[0], cells[-2], cells[-1]), strict=True)
    return sum(cell.lower().replace(" ", "_") in _NAMES[role] for role, cell in roles) > 1


def records(path: Path, progress: Progress = silent, roles: Roles = NO_ROLES) -> list[tuple[int, Any]]:
    """The records of a file that is no plain text, each with its line; columns named by hand tell its line of names.

    Raises:
        InputError: the file, or a line of it, cannot be read.
    """
    built = Built()
    _, parts = parts_of(path, path.name, roles, built, [], progress)
    found = [record for part in parts for record in as_records(part.content)]
    refuse(built)
    refuse_halves(found, path.name)
    return found


def refuse(built: Built) -> None:
    """Raise for the first line that could not be read.

    Raises:
        InputError: there is one.
    """
    for reject in built.rejects:
        raise InputError(
            "A line cannot be read.",
            where=f"{reject.file}:{reject.line}",
            why=_why(reject),
            remedy="mend the line; leaving it out would change what is measured",
        )


def refuse_halves(found: Iterable[tuple[int, Any]], name: str) -> None:
    """Raise for the first record of JSON with half of a surrogate pair, escaped, which no text can hold.

    Raises:
        InputError: there is one.
    """
    for line, record in found:
        try:
            json.dumps(record, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError as error:
            raise _wrong(name, line, "it has half of a surrogate pair, which no text can hold") from error


def _why(reject: Reject) -> str:
    said = _REASONS.get(reject.reason, str(reject.reason).replace("_", " "))
    detail = _IN_LINE.sub(r" at \1", reject.detail)
    return f"{said}: {detail}" if detail else said


def records_as_qrels(lines: Iterable[tuple[int, Any]], name: str) -> Iterator[tuple[int, str, str, float]]:
    """Yield line, query id, passage id and relevance of records with named columns.

    Raises:
        InputError: a record has no ids, or a relevance that is no number.
    """
    for number, record in lines:
        found = named_columns(record, _NAMES) if isinstance(record, dict) else {}
        query, passage = found.get("query_id"), found.get("passage_id")
        if query is None or passage is None:
            known = ", ".join(map(visible, record)) if isinstance(record, dict) else "none"
            raise _wrong(name, number, f"no query id or no passage id can be told; the columns are {known}")
        relevance = _relevance(found.get("relevance", 1), name, number)
        for one in passage if isinstance(passage, list) else [passage]:
            yield number, as_id(query), as_id(one), relevance


def named_columns(record: dict[str, Any], names: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The values of the columns that have one of the names, in whatever case; nulls are left out."""
    lower = {key.lower().replace(" ", "_"): value for key, value in reversed(record.items()) if value is not None}
    found = {}
    for role, known in names.items():
        for name in known:
            if name in lower:
                found[role] = lower[name]
                break
    return found


def as_id(value: Any) -> str:
    """An id as text: 7 and 7.0, as tables hold the same number, are `7`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def read_run(path: Path, progress: Progress = silent) -> pl.DataFrame:
    """Read a run: query, `Q0`, passage, rank, score and tag, white space between them.

    As in trec_eval the scores decide and the ranks are not looked at.

    Args:
        path: the file; `.gz` and `.zst` are decompressed.
        progress: told of lines read.

    Returns:
        RUN, in the order of the file.

    Raises:
        InputError: the file cannot be read, is empty, has a line of other than six columns, a score that is not a
            finite number, or a passage twice for one query; file and line are named.
    """
    lines = []
    for number, cells in _cells(path, progress):
        if len(cells) != 6:
            raise _wrong(
                path.name,
                number,
                f"it has {len(cells)} columns; a line of a run has 6: query, Q0, passage, rank, score, tag",
                " ".join(cells),
            )
        score = _number(cells[4])
        if score is None:
            raise _wrong(path.name, number, f"the score {visible(cells[4], _SHOWN)!r} is not a finite number")
        lines.append((number, cells[0], cells[2], score, cells[5]))
    run = pl.DataFrame(lines, schema={"line": pl.Int64(), **RUN}, orient="row")
    if run.is_empty():
        raise InputError("The run is empty.", where=str(path), why="it has no line")
    _refuse_twice(run, path.name, "A passage is retrieved twice for one query.", "keep one of the two lines")
    return run.drop("line")


def write_run(path: Path, run: pl.DataFrame, tag: str) -> None:
    """Write a run that TREC's tools read; equal scores are listed as they rank them, by passage id, the last first.

    Args:
        path: the file; with `.gz` at its end it is compressed.
        run: `query_id`, `passage_id`, `score`, in any order; the queries keep theirs.
        tag: the run's name, without white space.

    Raises:
        UsageError: the tag is empty or has white space.
        InputError: an id is empty or has white space, which the format has no way to write, or a score is no number.
        UnavailableError: the file cannot be written.
    """
    if not tag or tag.split() != [tag]:
        raise UsageError(f"A run cannot be tagged {tag!r}.", remedy="use a tag without white space")
    for column in ("query_id", "passage_id"):
        for bad in run.filter(pl.col(column).str.contains(r"^$|\s"))[column].head(1):
            raise InputError(
                "The run cannot be written in TREC's format.",
                where=f"{column} {visible(bad, _SHOWN)!r}",
                why="ids in this format are not empty and have no white space",
            )
    if not run["score"].is_finite().all():
        raise InputError("The run cannot be written in TREC's format.", why="a score is not a finite number")
    ordered = (
        run.with_row_index("first")
        .with_columns(pl.col("first").min().over("query_id"))
        .sort("first", "score", "passage_id", descending=[False, True, True])
        .with_columns((pl.int_range(pl.len()).over("query_id") + 1).alias("rank"))
    )
    lines = ordered.select("query_id", "passage_id", "rank", "score").iter_rows()
    text = "".join(f"{query} Q0 {passage} {rank} {score!r} {tag}\n" for query, passage, rank, score in lines)
    data = text.encode("utf-8")
    with atomic_file(path) as beside:
        # No time in the header: the same run is the same bytes.
        beside.write_bytes(gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data)


def _cells(path: Path, progress: Progress) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, and its number; tabs separate where they do, else white space."""
    with opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            if number % 100_000 == 0:
                progress(f"read {path.name}", number, None)
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _wrong(path.name, number, f"it is not UTF-8 (byte {error.start + 1})") from error
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) < 3:
                cells = line.split()
            if cells:
                yield number, [cell.strip() for cell in cells]


def _number(cell: Any) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _relevance(cell: Any, name: str, line: int, remedy: str | None = None) -> float:
    value = _number(cell)
    if value is None:
        raise _wrong(name, line, f"the relevance {visible(str(cell), _SHOWN)!r} is not a finite number", remedy=remedy)
    return value


def _refuse_twice(pairs: pl.DataFrame, name: str, what: str, remedy: str) -> None:
    ids = ["query_id", "passage_id"]
    twice = pairs.filter(pl.struct(ids).is_duplicated())
    for query_id, passage_id, line in twice.select(*ids, "line").head(1).iter_rows():
        same = twice.filter((pl.col("query_id") == query_id) & (pl.col("passage_id") == passage_id))["line"]
        raise InputError(
            what,
            where=f"{name}:{same[1]}",
            why=f"query {visible(query_id, _SHOWN)} and passage {visible(passage_id, _SHOWN)} are also in line {line}",
            remedy=remedy,
        )


def _wrong(name: str, line: int, why: str, raw: str = "", remedy: str | None = None) -> InputError:
    shown = f": {json.dumps(visible(raw, _SHOWN), ensure_ascii=False)}" if raw else ""
    return InputError("A line cannot be used.", where=f"{name}:{line}", why=why + shown, remedy=remedy)
