"""The main job, step by step: pairs in, cleaned and audited dataset out. Both front doors call these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.checks.base import configured, run_checks
from studio.export.formats import Format
from studio.export.project import ExportResult, export_project
from studio.files import scratch_directory
from studio.pairs.read import Imported, Roles, SourceInfo, read_pairs, write_rejects
from studio.pairs.roles import NO_ROLES
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.evidence import StoredEvidence
from studio.project.project import Project
from studio.project.rows import cache_folder, write_rows
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings, SourceSettings

Overrides = Mapping[str, Mapping[str, Any]]


def import_project(
    root: Path,
    sources: Sequence[str | Path],
    *,
    roles: Roles | None = None,
    strict: bool = False,
    defaults: ProjectSettings | None = None,
    browsable: bool = True,
    progress: Progress = silent,
) -> tuple[Project, Imported]:
    """Read sources into a new project at `root`; rejected rows go to `root/rejects.jsonl`.

    Args:
        browsable: also write the rows so that an interface opens them at once.

    Raises:
        InputError: a source cannot be read, holds no pairs, or, when strict, has a bad row.
        ProjectError: `root` already holds other pairs.
    """
    imported = read_pairs(sources, roles=roles or NO_ROLES, strict=strict, progress=progress)
    settings = (defaults or ProjectSettings(name=root.absolute().name)).model_copy(
        update={
            "sources": tuple(_source_settings(info) for info in imported.sources),
            "roles": _named(roles or NO_ROLES),
        }
    )
    project = Project.create(root, imported.pairs, settings)
    if browsable and not cache_folder(project).exists():
        progress("make rows ready to browse", 0, 1)
        write_rows(imported.pairs, cache_folder(project))
    rejects = root / "rejects.jsonl"
    if imported.rejects.height:
        write_rejects(imported.rejects, rejects)
    else:
        rejects.unlink(missing_ok=True)
    return project, imported


def check_project(
    project: Project,
    names: Iterable[str] = (),
    overrides: Overrides | None = None,
    progress: Progress = silent,
) -> list[tuple[StoredEvidence, bool]]:
    """Run the named checks (all when none is named); return what each found and whether it was already stored."""
    checks = configured(project.settings, names, overrides)
    with project.locked("evidence"):
        return run_checks(project, checks, progress)


@dataclass(frozen=True)
class Cleaned:
    """Everything one run of the main job did."""

    imported: Imported
    evidence: tuple[StoredEvidence, ...]
    curated: Curated
    export: ExportResult


def clean(
    sources: Sequence[str | Path],
    out: Path,
    *,
    fmt: Format = Format.PARQUET,
    roles: Roles | None = None,
    strict: bool = False,
    overrides: Overrides | None = None,
    defaults: ProjectSettings | None = None,
    progress: Progress = silent,
) -> Cleaned:
    """Import, check, apply the auto band and export to `out`, keeping no project.

    The working project lies beside `out` while the work goes on and is removed whatever happens; one that a killed
    process left is removed by the next run.
    """
    settings = defaults or ProjectSettings(name=out.name)
    configured(settings, overrides=overrides)
    with scratch_directory(out.with_name(f"{out.name}.work")) as work:
        project, imported = import_project(
            work / "project",
            sources,
            roles=roles,
            strict=strict,
            defaults=settings,
            browsable=False,
            progress=progress,
        )
        evidence = check_project(project, overrides=overrides, progress=progress)
        with project.locked():
            apply_auto(project)
        exported = export_project(project, out, fmt, progress=progress)
        return Cleaned(imported, tuple(stored for stored, _ in evidence), project.curated(), exported)


def _source_settings(info: SourceInfo) -> SourceSettings:
    return SourceSettings(
        path=info.path,
        format=info.format,
        sha256=info.sha256,
        rows=info.rows,
        rejected=info.rejected,
        roles=_named(info.roles),
    )


def _named(roles: Roles) -> dict[str, str | list[str]]:
    named = {name: value for name, value in vars(roles).items() if value not in (None, ())}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}
