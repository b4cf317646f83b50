"""What several commands report, as text and as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from studio.checks.base import configured, counts_by_band
from studio.cli.output import emit, emit_table, say
from studio.export.verify import VerifyReport
from studio.pairs.read import Imported
from studio.project.curate import Curated
from studio.project.evidence import Band, StoredEvidence
from studio.project.project import Project


def import_report(project: Project, imported: Imported) -> dict[str, Any]:
    """What an import read, as plain values."""
    return {
        "project": str(project.root),
        "pairs": imported.pairs.height,
        "rejected": imported.rejects.height,
        "rejected_by_reason": by_reason(imported),
        "sources": [
            {**source.model_dump(mode="json"), "notes": list(info.notes)}
            for source, info in zip(project.settings.sources, imported.sources, strict=True)
        ],
    }


def by_reason(imported: Imported) -> dict[str, int]:
    """Rejected rows by reason, most first."""
    return dict(Counter(imported.rejects["reason"]).most_common())


def say_import(imported: Imported) -> None:
    """Say on stderr what was read of each source and what was set aside."""
    for info in imported.sources:
        used = {
            name: ", ".join(value) if isinstance(value, tuple) else value
            for name, value in vars(info.roles).items()
            if value
        }
        roles_shown = ", ".join(f"{name} ← {column}" for name, column in used.items())
        say(f"{info.path}: {info.format}, {info.rows:,} rows, {info.pairs:,} pairs ({roles_shown})")
        for note in info.notes:
            say(f"  {note}")
    for reason, count in by_reason(imported).items():
        first = imported.rejects.filter(imported.rejects["reason"] == reason).row(0, named=True)
        place = f"{first['file']}:{first['line']} {first['detail']}".rstrip()
        say(f"  {count:,} rows rejected: {reason}; the first is {place}")


def emit_outcome(lines: Sequence[tuple[str, str, int]]) -> None:
    """Print rows by status and reason."""
    emit_table(("rows", "status", "reason"), [(rows, status, reason) for status, reason, rows in lines])


def evidence_report(stored: StoredEvidence) -> dict[str, Any]:
    """What one check found, as plain values."""
    return {
        "check": stored.check,
        "version": stored.version,
        "config": stored.config,
        "seconds": round(stored.seconds, 3),
        "found": counts_by_band(stored.evidence).to_dicts(),
        "stats": dict(stored.evidence.stats),
        "notes": list(stored.evidence.notes),
    }


def emit_evidence(found: Sequence[StoredEvidence]) -> None:
    """Print what each check found by band; its notes go to stderr."""
    rows = []
    for stored in found:
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for kind, what, band, count in counts_by_band(stored.evidence).iter_rows():
            counts.setdefault((kind, what), {})[band] = count
        for (kind, what), bands in counts.items() or {("", "nothing found"): {}}.items():
            rows.append((stored.check, kind, what, *(bands.get(band.value, 0) for band in Band)))
    emit_table(("check", "kind", "of", *(band.value for band in Band)), rows)
    for stored in found:
        for note in stored.evidence.notes:
            say(f"{stored.check}: {note}")


def say_other_settings(project: Project) -> None:
    """Say which evidence was made with other settings than the project's, as `check --set` does."""
    for item in configured(project.settings):
        stored = project.evidence.load(item.name)
        if stored and any(stored.config.get(name) != value for name, value in item.depends_on().items()):
            say(f"{item.name}: its evidence was made with other settings than studio.toml's; `check` makes it anew")


def emit_report(found: Sequence[StoredEvidence], curated: Curated) -> None:
    """Print what was found and what became of the rows."""
    emit_evidence(found)
    emit()
    emit_outcome(list(curated.counts().iter_rows()))
    emit()
    emit(f"{curated.kept.height:,} of {curated.rows.height:,} pairs kept")


def emit_verified(report: VerifyReport) -> None:
    """Print the comparisons of a verification."""
    emit_table(("verify", "of", "found"), [(item.status.value, item.code, item.message) for item in report.items])
