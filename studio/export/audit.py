"""The audit of an export: what became of every row, on what evidence, by which decision, and how it was made."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from studio import __version__
from studio.checks.base import counts_by_band
from studio.export.formats import DataFile, Format
from studio.files import sha256_of
from studio.project.curate import Curated
from studio.project.evidence import EDGES_SCHEMA, FLAGS_SCHEMA, StoredEvidence
from studio.project.settings import ProjectSettings
from studio.text.pii import may_hold, redacted

TOOL = "harrier-studio"
MANIFEST = "manifest.json"
_LIBRARIES = ("polars", "numpy", "datasketch", "datasets", "bm25s", "ftfy", "lingua-language-detector")
_ROWS = ("row_id", "status", "reason", "keeper_id", "group_id", "cluster_id", "decision_id", "source")


def write_rows(curated: Curated, path: Path) -> None:
    """Write rows.parquet: the fixed columns, then `score` and `rule` of the decision; one line a snapshot row."""
    columns = [*_ROWS, pl.col("keeper_score").alias("score"), "rule"]
    curated.rows.select(columns).write_parquet(path)


def write_sidecar(kept: pl.DataFrame, files: list[DataFile], path: Path) -> None:
    """Write sidecar.parquet: for each kept row, where it is in the data, and everything a trainer must not see."""
    places = pl.DataFrame(
        [
            (row_id, file.path, position)
            for file in files
            for row_id, position in zip(file.row_ids, file.positions, strict=True)
        ],
        schema={"row_id": pl.String, "file": pl.String, "position": pl.Int64},
        orient="row",
    )
    sidecar = places.join(kept, on="row_id", how="left", maintain_order="left")
    sidecar.select(
        "row_id", "file", "position", "group_id", "cluster_id", "group", "split", "status", "score", "label",
        "negatives", "source", "meta",
    ).write_parquet(path)  # fmt: skip


def write_evidence(found: list[StoredEvidence], out: Path, *, redact: bool = False) -> None:
    """Write edges.parquet and flags.parquet of all checks, rejected candidates too.

    Args:
        redact: put [CPF], [EMAIL], … in the place of personal data that evidence quotes.
    """
    for name, schema in (("edges", EDGES_SCHEMA), ("flags", FLAGS_SCHEMA)):
        parts = [getattr(stored.evidence, name) for stored in found]
        table = pl.concat([pl.DataFrame(schema=schema), *parts])
        (_redacted(table) if redact else table).write_parquet(out / f"{name}.parquet")


def _redacted(table: pl.DataFrame) -> pl.DataFrame:
    numbered = table.with_row_index("line")
    quoting = numbered.filter(may_hold(pl.col("evidence")))
    texts = pl.Series([redacted(text) for text in quoting["evidence"]], dtype=pl.String)
    return table.with_columns(evidence=table["evidence"].scatter(quoting["line"], texts))


def manifest(
    settings: ProjectSettings,
    curated: Curated,
    found: list[StoredEvidence],
    fmt: Format,
    out: Path,
    files: list[DataFile],
) -> dict[str, Any]:
    """Describe an export: nothing in it depends on when or where it was made, so equal projects give equal bytes."""
    contract = settings.prompts.contract()
    rows = {file.path: file.rows for file in files}
    return {
        "tool": TOOL,
        "versions": {TOOL: __version__} | {name: metadata.version(name) for name in _LIBRARIES},
        "project": settings.name,
        "format": fmt.value,
        "snapshot": settings.snapshot,
        "roles": settings.roles,
        "sources": [{**source.model_dump(mode="json"), "path": Path(source.path).name} for source in settings.sources],
        "prompts": contract.to_dict(),
        "curation": settings.curation.model_dump(mode="json"),
        "checks": {
            stored.check: {
                "version": stored.version,
                "config": stored.config,
                "stats": dict(stored.evidence.stats),
                "found": counts_by_band(stored.evidence).to_dicts(),
            }
            for stored in found
        },
        "rows": curated.rows.height,
        "kept": curated.kept.height,
        "outcome": curated.counts().to_dicts(),
        "files": {
            path: {"sha256": sha256_of(out / path), "bytes": (out / path).stat().st_size, "rows": rows.get(path)}
            for path in sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
        },
    }


def write_manifest(document: dict[str, Any], out: Path) -> None:
    """Write manifest.json."""
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=False)
    (out / MANIFEST).write_text(text + "\n", "utf-8")
