"""Evidence on disk: what each check found, with its version and full configuration. Replaced whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import ProjectError
from studio.files import atomic_directory, write_text
from studio.pairs.schema import UNREADABLE

FLAGS_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "check": pl.String(),
        "version": pl.String(),
        "reason": pl.String(),
        "score": pl.Float64(),
        "band": pl.String(),
        "evidence": pl.String(),
    }
)
"""One line for each thing a check says of one row. `evidence` is a JSON object."""

EDGES_SCHEMA = pl.Schema(
    {
        "a_id": pl.String(),
        "b_id": pl.String(),
        "role": pl.String(),
        "check": pl.String(),
        "version": pl.String(),
        "score": pl.Float64(),
        "containment": pl.Float64(),
        "band": pl.String(),
        "rejected_by": pl.String(),
        "evidence": pl.String(),
    }
)
"""One line for each thing a check says of two rows. A rejected candidate stays, with the rule that rejected it."""


class Band(StrEnum):
    """What may be done about a piece of evidence."""

    AUTO = "auto"
    """Certain enough for a rule to act on."""
    REVIEW = "review"
    """For a person to judge."""
    IGNORE = "ignore"
    """Recorded, nothing to do."""


class Role(StrEnum):
    """Which part of two rows an edge compares."""

    QUERY = "query"
    PASSAGE = "passage"
    PAIR = "pair"
    CROSS = "cross"


@dataclass(frozen=True)
class Evidence:
    """What one check found: `flags` as FLAGS_SCHEMA, `edges` as EDGES_SCHEMA, `notes` in words, `stats` as numbers."""

    flags: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FLAGS_SCHEMA))
    edges: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EDGES_SCHEMA))
    notes: tuple[str, ...] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredEvidence:
    """A check's evidence as it lies on disk, with the manifest that says what made it."""

    check: str
    version: str
    config: dict[str, Any]
    snapshot: str
    seconds: float
    evidence: Evidence

    @property
    def key(self) -> str:
        """Name what the evidence depends on (`evidence_key`)."""
        return evidence_key(self.check, self.version, self.config, self.snapshot)


class EvidenceStore:
    """`.studio/evidence/<check>/`: manifest.json names the folder that holds edges.parquet and flags.parquet."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, stored: StoredEvidence) -> None:
        """Write evidence beside what is there, then let the manifest point at it (one rename)."""
        folder = self._root / stored.check
        key = stored.key
        with atomic_directory(folder / key) as beside:
            stored.evidence.edges.write_parquet(beside / "edges.parquet")
            stored.evidence.flags.write_parquet(beside / "flags.parquet")
        manifest = {
            "check": stored.check,
            "version": stored.version,
            "config": stored.config,
            "snapshot": stored.snapshot,
            "seconds": round(stored.seconds, 3),
            "notes": list(stored.evidence.notes),
            "stats": dict(stored.evidence.stats),
            "data": key,
        }
        write_text(folder / "manifest.json", json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
        for other in folder.iterdir():
            if other.is_dir() and other.name != key:
                shutil.rmtree(other, ignore_errors=True)

    def load(self, check: str) -> StoredEvidence | None:
        """Return what is stored of `check`, or None.

        Raises:
            ProjectError: the files are damaged.
        """
        manifest_path = self._root / check / "manifest.json"
        if not manifest_path.exists():
            return None
        try:
            manifest = json.loads(manifest_path.read_text("utf-8"))
            data = manifest_path.parent / manifest["data"]
            flags, edges = (
                pl.read_parquet(data / "flags.parquet", glob=False),
                pl.read_parquet(data / "edges.parquet", glob=False),
            )
            if flags.schema != FLAGS_SCHEMA or edges.schema != EDGES_SCHEMA:
                raise ValueError("a table has other columns than it should")
            evidence = Evidence(flags, edges, tuple(manifest["notes"]), dict(manifest["stats"]))
            return StoredEvidence(
                check, manifest["version"], manifest["config"], manifest["snapshot"], manifest["seconds"], evidence
            )
        except UNREADABLE as error:
            raise ProjectError(
                f"The evidence of `{check}` is damaged.",
                where=str(manifest_path.parent),
                why=str(error),
                remedy=f"delete that folder and run `harrier-studio check {check}` again",
            ) from error

    def names(self) -> list[str]:
        """The checks that have evidence here, by name."""
        return sorted(path.parent.name for path in self._root.glob("*/manifest.json"))

    def load_all(self) -> list[StoredEvidence]:
        """Everything stored, by name of check."""
        return [stored for name in self.names() if (stored := self.load(name))]


def evidence_key(check: str, version: str, config: Mapping[str, Any], snapshot: str) -> str:
    """Name what evidence depends on: 16 hex digits over check, version, configuration and snapshot."""
    canonical = json.dumps([check, version, config, snapshot], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
