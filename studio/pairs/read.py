"""Read pairs from anything people keep them in, into canonical rows; what cannot be a row is set aside, not lost."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError
from studio.files import sha256_of
from studio.pairs.build import Built, build_from_frame, build_from_records, with_row_ids
from studio.pairs.folders import hub_splits, is_saved_dataset, judged_collection, saved_splits, split_of
from studio.pairs.rejects import rejects_frame, write_rejects
from studio.pairs.roles import NO_ROLES, Roles, detect, tuple_column
from studio.pairs.schema import REJECTS_SCHEMA, SNAPSHOT_SCHEMA, UNREADABLE
from studio.pairs.streams import Record, delimited, json_document, json_lines, opened, plain_suffix
from studio.progress import Progress, silent
from studio.text.safe import visible

__all__ = ["Imported", "Roles", "SourceInfo", "describe_source", "read_pairs", "write_rejects"]

_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_DETECTED_ON = 200


@dataclass(frozen=True)
class SourceInfo:
    """One source that was read. `sha256` of a folder covers the names and hashes of its files, of a hub dataset its
    rows. `rows`: records read; `pairs`: rows made of them; `notes`: what a person should know."""

    path: str
    format: str
    sha256: str
    bytes: int
    rows: int
    pairs: int
    rejected: int
    roles: Roles
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """Rows as SNAPSHOT_SCHEMA, rejects as REJECTS_SCHEMA, and what was read."""

    pairs: pl.DataFrame
    rejects: pl.DataFrame
    sources: tuple[SourceInfo, ...]


@dataclass(frozen=True)
class Part:
    """One table or stream of records of a source: `name` is the file as rows will name it."""

    name: str
    split: str | None
    content: pl.DataFrame | list[Record]


def read_pairs(
    sources: Sequence[str | Path],
    *,
    roles: Roles = NO_ROLES,
    strict: bool = False,
    progress: Progress = silent,
) -> Imported:
    """Read sources in order.

    Args:
        sources: files, folders, or ids of hub datasets.
        roles: columns named by hand; the rest is told by their names.
        strict: take the first rejected row as an error.

    Raises:
        InputError: a source is missing, unreadable, of no known format, without a query or positive column, holds no
            row at all, or, when strict, a bad one.
        UnavailableError: a hub dataset cannot be reached.
    """
    names = _names(sources)
    frames, rejects, infos = [], [], []
    for source, name in zip(sources, names, strict=True):
        built, info = _read_source(source, name, roles, progress)
        frames += built.frames
        rejects.append(rejects_frame(built.rejects))
        infos.append(info)
        if strict and built.rejects:
            first = built.rejects[0]
            raise InputError(
                f"{len(built.rejects):,} rows cannot be pairs.",
                where=f"{first.file}:{first.line}",
                why=f"{first.reason} {first.detail}".strip(),
                remedy="mend them, or import without --strict to set them aside",
            )
    rejected = pl.concat(rejects) if rejects else pl.DataFrame(schema=REJECTS_SCHEMA)
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=SNAPSHOT_SCHEMA)
    if rows.is_empty():
        why = "it is empty" if rejected.is_empty() else "every row was rejected"
        for bad in rejected.head(1).iter_rows(named=True):
            why += f"; the first: {bad['file']}:{bad['line']} {bad['reason']} {bad['detail']}"
        raise InputError("No pair could be read.", where=", ".join(map(str, sources)), why=why)
    progress("identify rows", 0, 1)
    pairs = with_row_ids(rows)
    progress("identify rows", 1, 1)
    return Imported(pairs, rejected, tuple(infos))


def describe_source(source: str | Path, roles: Roles = NO_ROLES) -> tuple[str, dict[str, Any], Roles]:
    """Tell a source's format, its columns with a sample value each, and the roles detected, from its first rows."""
    fmt, parts = parts_of(source, Path(source).name, roles, Built(), [], silent, limit=_DETECTED_ON)
    samples = samples_of(next(parts, Part("", None, [])).content)
    return fmt, samples, detect(samples, roles, str(source))


def _read_source(source: str | Path, name: str, roles: Roles, progress: Progress) -> tuple[Built, SourceInfo]:
    built, rows = Built(), 0
    notes: list[str] = []
    found: Roles | None = None
    progress(f"read {name}", 0, None)
    fmt, parts = parts_of(source, name, roles, built, notes, progress)
    seen = 0
    for part in parts:
        before = len(built.rejects)
        rows += len(part.content) + before - seen
        if len(part.content):
            found = build(part, roles, str(source), built, progress)
        seen = len(built.rejects)
    if found is None:
        found = roles
    if built.dropped_negatives:
        notes.append(f"{built.dropped_negatives:,} negatives were empty or no text and were left out")
    digest, size = _digest(source, built)
    pairs = sum(frame.height for frame in built.frames)
    return built, SourceInfo(str(source), fmt, digest, size, rows, pairs, len(built.rejects), found, tuple(notes))


def build(part: Part, asked: Roles, where: str, built: Built, progress: Progress) -> Roles:
    """Add a part's pairs and rejects to `built`; return the roles its columns were given."""
    content = part.content
    samples = samples_of(content)
    column = tuple_column(samples) if not (asked.query or asked.positive) else None
    if column:
        content = [(line, from_tuple(record, column)) for line, record in as_records(content)]
        samples = {"query": "", "positive": "", "negatives": [""]} | {k: v for k, v in samples.items() if k != column}
    roles = detect(samples, asked, where)
    if isinstance(content, pl.DataFrame) and _is_flat(content, roles):
        build_from_frame(content, roles, part.name, part.split, built)
    else:
        build_from_records(as_records(content), roles, part.name, part.split, built, progress)
    return roles


def from_tuple(record: Any, column: str) -> Any:
    """A record whose `column` holds a whole tuple, as one with a column a text; any other as it is."""
    texts = record.get(column) if isinstance(record, dict) else None
    if not isinstance(texts, list):
        return record
    if len(texts) < 2:
        return texts
    rest = {key: value for key, value in record.items() if key != column}
    return {"query": texts[0], "positive": texts[1], "negatives": texts[2:], **rest}


def as_records(content: pl.DataFrame | list[Record]) -> Iterable[Record]:
    """The records of a part, each with its line."""
    if not isinstance(content, pl.DataFrame):
        return content
    lines = content["__line"] if "__line" in content.columns else range(1, content.height + 1)
    return zip(lines, content.drop("__line", strict=False).iter_rows(named=True), strict=True)


def _is_flat(frame: pl.DataFrame, roles: Roles) -> bool:
    texts = (roles.query, roles.positive, *roles.negatives)
    plain = all(frame.schema[column] == pl.String for column in texts if column)
    others = [frame.schema[c] for c in (roles.score, roles.label, roles.group, roles.split) if c]
    return plain and all(dtype.is_numeric() or dtype in (pl.String, pl.Boolean) for dtype in others)


def samples_of(content: pl.DataFrame | list[Record]) -> dict[str, Any]:
    """Each column with the first value that is not null among the first rows, in source order."""
    samples: dict[str, Any] = {}
    records = as_records(content.head(_DETECTED_ON) if isinstance(content, pl.DataFrame) else content[:_DETECTED_ON])
    for _, record in records:
        if isinstance(record, dict):
            for key, value in record.items():
                if samples.get(key) is None:
                    samples[key] = value
    return samples


def parts_of(
    source: str | Path,
    name: str,
    roles: Roles,
    built: Built,
    notes: list[str],
    progress: Progress,
    limit: int | None = None,
) -> tuple[str, Iterator[Part]]:
    """Tell a source's format, and its parts, read one by one as they are asked for."""
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(
            "This cannot be the name of a file.", where=visible(str(source), 200), why=str(error)
        ) from error
    if is_file:
        fmt = _format(path)
        return fmt, iter([_file_part(path, fmt, name, None, roles, built, progress, limit)])
    if is_folder:
        return _folder_parts(path, name, roles, built, notes, progress, limit)
    if _HUB_NAME.fullmatch(str(source)):
        return "hub", (
            Part(f"{source}/{split or 'data'}", split, table) for split, table in hub_splits(str(source)).items()
        )
    raise InputError("There is no such file or folder.", where=visible(str(source), 200), remedy="check the path")


def _folder_parts(
    path: Path, name: str, roles: Roles, built: Built, notes: list[str], progress: Progress, limit: int | None
) -> tuple[str, Iterator[Part]]:
    collection = judged_collection(path)
    if collection:
        judged = itertools.groupby(collection(built.rejects, notes), key=lambda item: item[:2])
        return "judged collection", (
            Part(f"{name}/{file}", split, [record for *_, record in group]) for (file, split), group in judged
        )
    if is_saved_dataset(path):
        return "hf dataset", (Part(f"{name}/{s or 'data'}", s, table) for s, table in saved_splits(path).items())
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and plain_suffix(file) in _FORMATS]
    files = [file for file in files if plain_suffix(file) != ".txt" and not file.name.startswith(".")]
    data = [file for file in files if plain_suffix(file) != ".json"] or files
    if not data:
        raise InputError(
            "The folder holds no file that pairs are kept in.", where=str(path), remedy=f"known: {', '.join(_FORMATS)}"
        )
    return "folder", (
        _file_part(
            file,
            _format(file),
            f"{name}/{file.relative_to(path).as_posix()}",
            split_of(file.name),
            roles,
            built,
            progress,
            limit,
        )
        for file in data
    )


def _format(path: Path) -> str:
    """The format by suffix, or by the first bytes where the suffix says nothing."""
    known = _FORMATS.get(plain_suffix(path))
    with opened(path) as stream:
        head = stream.read(64)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("The file is in UTF-16.", where=str(path), remedy="convert it to UTF-8")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    if known:
        return known
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start in (b"{", b"["):
        return "jsonl" if start == b"{" else "json"
    raise InputError(
        "The format of this file is not known.", where=str(path), remedy=f"known suffixes: {', '.join(_FORMATS)}"
    )


def _file_part(
    path: Path,
    fmt: str,
    name: str,
    split: str | None,
    roles: Roles,
    built: Built,
    progress: Progress,
    limit: int | None,
) -> Part:
    if fmt in ("parquet", "arrow"):
        return Part(name, split, _table(path, fmt, limit))
    with opened(path) as stream:
        if fmt == "json":
            document = json_document(stream.read())
            if document is not None:
                return Part(name, split, list(_listed(enumerate(document, 1))))
    with opened(path) as stream:
        if fmt in ("json", "jsonl"):
            records: Iterator[Record] = _listed(json_lines(stream, name, built.rejects))
        else:
            records = delimited(stream, name, fmt == "tsv", roles.columns, built.rejects)
        content = list(itertools.islice(_counted(records, name, progress), limit))
    if fmt in ("csv", "tsv") and content:
        columns = list(content[0][1])
        table = pl.DataFrame(
            {column: [record[column] for _, record in content] for column in columns},
            schema=dict.fromkeys(columns, pl.String),
        )
        return Part(name, split, table.with_columns(pl.Series("__line", [line for line, _ in content], pl.Int64)))
    return Part(name, split, content)


def _listed(records: Iterable[Record]) -> Iterator[Record]:
    """A bare list of texts is a tuple."""
    for line, record in records:
        yield line, {"texts": record} if isinstance(record, list) else record


def _counted(records: Iterable[Record], name: str, progress: Progress) -> Iterator[Record]:
    for count, record in enumerate(records, 1):
        if count % 20_000 == 0:
            progress(f"read {name}", count, None)
        yield record


def _table(path: Path, fmt: str, limit: int | None) -> pl.DataFrame:
    with path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
    try:
        if fmt == "parquet":
            return pl.read_parquet(path, n_rows=limit, glob=False)
        if is_file:
            # A stream, not the path: polars would read brackets in a path as a pattern.
            with path.open("rb") as stream:
                return pl.read_ipc(stream, n_rows=limit)
        return pl.read_ipc_stream(path, n_rows=limit, use_pyarrow=False)
    except UNREADABLE as error:
        raise InputError(
            f"The {fmt} file cannot be read.", where=str(path), why=" ".join(str(error).split())[:300]
        ) from error


def _digest(source: str | Path, built: Built) -> tuple[str, int]:
    path = Path(source)
    if path.is_file():
        return sha256_of(path), path.stat().st_size
    digest, size = hashlib.sha256(), 0
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
            size += file.stat().st_size
    else:
        for frame in built.frames:
            digest.update("\n".join(frame.select("query", "positive").hash_rows().cast(pl.String)).encode())
    return digest.hexdigest(), size


def _names(sources: Sequence[str | Path]) -> list[str]:
    """What rows call each source: its name, or its path from the common parent where names clash."""
    paths = [Path(source) for source in sources]
    names = [path.name or str(path) for path in paths]
    if len(set(names)) == len(names):
        return names
    absolute = [path.absolute() for path in paths]
    parent = os.path.commonpath([path.parent for path in absolute])
    return [path.relative_to(parent).as_posix() for path in absolute]
