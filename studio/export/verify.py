"""Replay an export's audit: are the files what the manifest says, and do the decisions give these rows and data?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError
from studio.export.audit import MANIFEST, TOOL
from studio.export.formats import Format
from studio.export.project import write_curated
from studio.files import sha256_of
from studio.pairs.read import Roles, read_pairs
from studio.pairs.schema import SNAPSHOT_SCHEMA, UNREADABLE
from studio.progress import Progress, silent
from studio.project.curate import Status as RowStatus
from studio.project.curate import resolve
from studio.project.ledger import Decision, from_lines
from studio.project.project import SPLIT_ACTOR, Project, snapshot_id

_REPLAYED = ("status", "reason", "keeper_id", "decision_id", "score", "rule")


class Status(StrEnum):
    """How one comparison ended."""

    OK = "ok"
    DIFFERENT = "different"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class VerifyItem:
    """One comparison: a stable `code`, how it ended, and what was seen."""

    code: str
    status: Status
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """All comparisons, in order."""

    items: tuple[VerifyItem, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing differs."""
        return all(item.status is not Status.DIFFERENT for item in self.items)


def verify_export(out: Path, *, project: Project | None = None, progress: Progress = silent) -> VerifyReport:
    """Verify an export; with a project, also rebuild the data from its snapshot.

    Codes: `files`, `rows`, `reasons`, `positions`, `rebuild`.

    Raises:
        InputError: `out` is not an export.
    """
    return _verify(out, project.snapshot if project else None, progress)


def verify_sources(out: Path, sources: Sequence[str | Path], *, progress: Progress = silent) -> VerifyReport:
    """Verify an export, and rebuild its data from the source files themselves.

    Raises:
        InputError: `out` is not an export, or a source cannot be read.
    """
    document = _manifest(out)
    wanted = [source["sha256"] for source in document["sources"]]
    by_hash = {sha256_of(Path(source)): source for source in sources if Path(source).is_file()}
    others = [source for source in sources if not Path(source).is_file()]
    missing = [source["path"] for source in document["sources"] if source["sha256"] not in by_hash]
    if missing and not others:
        item = VerifyItem("sources", Status.DIFFERENT, f"not the file that was imported: {', '.join(missing)}")
        return VerifyReport((item, *_verify(out, None, progress).items))
    ordered = [by_hash[digest] for digest in wanted if digest in by_hash] + others
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document["roles"].items()
    }
    imported = read_pairs(ordered, roles=Roles(**asked), progress=progress)
    item = VerifyItem("sources", Status.OK, f"{len(ordered)} sources are the ones that were imported")
    return VerifyReport((item, *_verify(out, imported.pairs, progress).items))


def _verify(out: Path, snapshot: pl.DataFrame | None, progress: Progress) -> VerifyReport:
    document = _manifest(out)
    items: list[VerifyItem] = [_files(out, document)]
    progress("verify", 1, 4)
    try:
        rows = pl.read_parquet(out / "rows.parquet", glob=False)
        edges = pl.read_parquet(out / "edges.parquet", glob=False)
        sidecar = pl.read_parquet(out / "sidecar.parquet", glob=False)
        log, targets = from_lines((out / "decisions.jsonl").read_text("utf-8").splitlines())
        items.append(_replay(rows, log, targets))
        progress("verify", 2, 4)
        items += [_reasons(rows, edges), _positions(rows, sidecar, document)]
        progress("verify", 3, 4)
        items.append(_rebuild(out, document, snapshot, log, targets))
    except UNREADABLE as error:
        items.append(
            VerifyItem("audit", Status.DIFFERENT, f"the audit cannot be read: {' '.join(str(error).split())[:200]}")
        )
    progress("verify", 4, 4)
    return VerifyReport(tuple(items))


def _manifest(out: Path) -> dict[str, Any]:
    try:
        document = json.loads((out / MANIFEST).read_text("utf-8"))
        if document["tool"] != TOOL or not isinstance(document["files"], dict):
            raise ValueError("it was not written by harrier-studio")
        Format(document["format"])
        document["sources"], document["roles"], document["snapshot"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "This is not an export of harrier-studio.",
            where=str(out / MANIFEST),
            why=f"{type(error).__name__}: {error}",
            remedy="name a directory that `export` or `clean` wrote",
        ) from error
    return dict(document)


def _files(out: Path, document: dict[str, Any]) -> VerifyItem:
    there = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()} - {MANIFEST}
    listed: dict[str, Any] = document["files"]
    wrong = [f"{path} is missing" for path in sorted(listed.keys() - there)]
    wrong += [f"{path} is not listed" for path in sorted(there - listed.keys())]
    wrong += [
        f"{path} was changed"
        for path in sorted(there & listed.keys())
        if sha256_of(out / path) != listed[path]["sha256"]
    ]
    return _item("files", wrong, f"{len(listed)} files have the hashes of the manifest")


def _replay(rows: pl.DataFrame, log: list[Decision], targets: pl.DataFrame) -> VerifyItem:
    """Replay the decisions over rows that have nothing but their ids: the outcome must be the one written down."""
    bare = pl.DataFrame(
        {"row_id": rows["row_id"], "query": rows["row_id"], "positive": rows["row_id"], "source": rows["source"]}
    ).with_columns(
        pl.lit([], pl.List(pl.String)).alias("negatives"),
        *(pl.lit(None, SNAPSHOT_SCHEMA[name]).alias(name) for name in ("score", "label", "group", "split", "meta")),
    )
    again = resolve(bare.select(SNAPSHOT_SCHEMA.names()), log, targets).rows
    again = again.with_columns(pl.col("keeper_score").alias("score"))
    wrong = [
        f"{count:,} rows have another {column}"
        for column in _REPLAYED
        if (count := int((again[column].ne_missing(rows[column])).sum()))
    ]
    return _item("rows", wrong, f"{rows.height:,} rows follow from {len(log):,} decisions")


def _reasons(rows: pl.DataFrame, edges: pl.DataFrame) -> VerifyItem:
    """Every row a rule removed or re-pointed names a keeper that exists, a score and an edge or equal text."""
    changed = rows.filter(pl.col("status").is_in([RowStatus.REMOVED.value, RowStatus.MOVED.value]))
    # A split that a person asked for moves rows in nobody's favour.
    by_rule = changed.filter(pl.col("rule").str.starts_with("rule:") & (pl.col("rule") != SPLIT_ACTOR))
    wrong = []
    for column in ("reason", "rule", "decision_id"):
        if changed[column].null_count():
            wrong.append(f"{changed[column].null_count():,} changed rows name no {column}")
    for column in ("keeper_id", "score"):
        if by_rule[column].null_count():
            wrong.append(f"{by_rule[column].null_count():,} rows changed by a rule name no {column}")
    unknown = by_rule.filter(~pl.col("keeper_id").is_in(rows["row_id"].to_list()))
    if unknown.height:
        wrong.append(f"{unknown.height:,} keepers do not exist")
    near = by_rule.filter(pl.col("reason").str.starts_with("near_"))
    scores = edges.filter(pl.col("band") == "auto")["score"].to_list()
    baseless = near.filter(~pl.col("score").is_in(scores))
    if baseless.height:
        wrong.append(f"{baseless.height:,} rows rest on an edge that is not in edges.parquet")
    return _item("reasons", wrong, f"{changed.height:,} changed rows name keeper, score, rule and reason")


def _positions(rows: pl.DataFrame, sidecar: pl.DataFrame, document: dict[str, Any]) -> VerifyItem:
    wrong = []
    kept = rows.filter(pl.col("status") != RowStatus.REMOVED.value)["row_id"]
    if sorted(sidecar["row_id"]) != sorted(kept):
        wrong.append("the sidecar and the kept rows are not the same rows")
    for path, count in sidecar.group_by("file").agg(pl.col("position").n_unique()).iter_rows():
        listed = document["files"].get(path, {}).get("rows")
        if listed != count:
            wrong.append(f"{path} has {listed} rows, the sidecar knows {count}")
    return _item("positions", wrong, f"{len(kept):,} kept rows have their place in the data")


def _rebuild(
    out: Path,
    document: dict[str, Any],
    snapshot: pl.DataFrame | None,
    log: list[Decision],
    targets: pl.DataFrame,
) -> VerifyItem:
    if snapshot is None:
        return VerifyItem("rebuild", Status.SKIPPED, "give --project DIR or --source FILE to rebuild the data as well")
    if snapshot_id(snapshot) != document["snapshot"]:
        return VerifyItem("rebuild", Status.DIFFERENT, "these are not the rows that were exported")
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again"
        again.mkdir()
        write_curated(resolve(snapshot, log, targets), Format(document["format"]), again)
        wrong = list(_changed(again, out))
        count = sum(file.is_file() for file in again.rglob("*"))
    return _item("rebuild", wrong, f"{count} files rebuilt from the rows and the decisions are byte-identical")


def _changed(again: Path, out: Path) -> Iterator[str]:
    for file in sorted(again.rglob("*")):
        path = file.relative_to(again)
        if file.is_file() and not ((out / path).is_file() and sha256_of(out / path) == sha256_of(file)):
            yield f"{path.as_posix()} is not what the rows and decisions give"


def _item(code: str, wrong: list[str], right: str) -> VerifyItem:
    if wrong:
        return VerifyItem(
            code, Status.DIFFERENT, "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if wrong[5:] else "")
        )
    return VerifyItem(code, Status.OK, right)
