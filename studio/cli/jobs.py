"""The main job's commands: import, info, check, export, verify, clean."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from studio.cleaning import Cleaned, check_project, import_project
from studio.cleaning import clean as run_clean
from studio.cli.given import toml_value
from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.cli.reports import (
    by_reason,
    emit_evidence,
    emit_outcome,
    emit_report,
    emit_verified,
    evidence_report,
    import_report,
    say_import,
)
from studio.errors import ExitCode, ProjectError, UsageError
from studio.export.formats import Format
from studio.export.project import export_project
from studio.export.verify import verify_export, verify_sources
from studio.pairs.read import Roles
from studio.project.evidence import Band, StoredEvidence
from studio.project.project import Project
from studio.project.summary import summarise
from studio.project.user import new_project_settings
from studio.prompts.presets import get_preset

Overrides = dict[str, dict[str, Any]]
_BANDS = {"never": (), "auto": (Band.AUTO,), "review": (Band.AUTO, Band.REVIEW)}


def roles(
    query: str | None,
    positive: str | None,
    negative: list[str] | None,
    score: str | None,
    label: str | None,
    group: str | None,
    split: str | None,
) -> Roles:
    """Collect the role options of a command line."""
    return Roles(query, positive, tuple(negative or ()), score, label, group, split)


def overrides(settings: list[str] | None, method: str | None) -> Overrides:
    """Read `check.key=value` settings; values are TOML, and bare words are strings.

    Raises:
        UsageError: one is not of that form.
    """
    result: Overrides = {}
    methods = [f"{check}.method={method}" for check in ("near_duplicates", "near_queries")] if method else []
    for setting in [*(settings or []), *methods]:
        path, equals, value = setting.partition("=")
        check, dot, key = path.strip().partition(".")
        if not (equals and dot and check and key):
            raise UsageError(
                f"`--set {setting}` is not of the form CHECK.KEY=VALUE.",
                remedy="for example: --set near_duplicates.threshold=0.85",
            )
        result.setdefault(check, {})[key] = toml_value(value.strip())
    return result


def import_pairs(sources: list[str], root: Path, named: Roles, prompt: str | None, strict: bool, as_json: bool) -> None:
    """`import`."""
    with progress_bar() as progress:
        project, imported = import_project(
            root,
            sources,
            roles=named,
            strict=strict,
            defaults=new_project_settings(root.absolute().name, prompt),
            progress=progress,
        )
    if prompt and project.settings.prompts.contract().hash != get_preset(prompt).contract().hash:
        raise ProjectError(
            "These pairs were imported before, with another prompt contract; nothing was changed.",
            where=str(root / "studio.toml"),
            remedy='change `query` under [prompts] there and set origin = "custom", or import into a new directory',
        )
    if as_json:
        emit_json(import_report(project, imported))
        return
    say_import(imported)
    if imported.rejects.height:
        say(f"rejected rows are listed in {root / 'rejects.jsonl'}")
    emit(f"{imported.pairs.height:,} pairs in {root}")
    say(f"next: harrier-studio check --project {root}")


def info(root: Path, as_json: bool) -> None:
    """`info`."""
    summary = summarise(Project.open(root))
    if as_json:
        emit_json(summary)
        return
    emit(f"{summary['project']}: {summary['kept']:,} of {summary['rows']:,} {summary['shape']} kept")
    distinct = summary["distinct"]
    emit(
        f"distinct: {distinct['queries']:,} queries, {distinct['positives']:,} passages, "
        f"{distinct['answer_groups']:,} answer groups; {summary['rejected']:,} rows were rejected at import"
    )
    emit()
    emit_table(
        ("lengths", "unit", "min", "5 %", "median", "95 %", "max"),
        [(column, unit, *values) for column, units in summary["lengths"].items() for unit, values in units.items()],
    )
    emit()
    for column, shares in summary["languages"].items():
        emit(f"languages of {column}: " + ", ".join(f"{code} {share:.1%}" for code, share in shares.items()))
    emit("splits: " + ", ".join(f"{split} {count:,}" for split, count in summary["splits"].items()))
    emit()
    emit_outcome([(line["status"], line["reason"], line["rows"]) for line in summary["decisions"]])
    if summary["evidence"]:
        emit()
        emit_table(
            ("check", "edges", "flags", "for review"),
            [(name, part["edges"], part["flags"], part["review"]) for name, part in summary["evidence"].items()],
        )
    else:
        say(f"no check has run yet; next: harrier-studio check --project {root}")


def check(names: list[str], root: Path, changed: Overrides, fail_on: str, as_json: bool) -> int:
    """`check`."""
    project = Project.open(root)
    with progress_bar() as progress:
        found = check_project(project, names, changed, progress)
    if as_json:
        emit_json([{**evidence_report(stored), "cached": cached} for stored, cached in found])
    else:
        emit_evidence([stored for stored, _ in found])
        cached = [stored.check for stored, was_cached in found if was_cached]
        if cached:
            say(f"already computed for these rows and settings: {', '.join(cached)}")
        say(f"next: harrier-studio decide --auto --project {root}")
    _exit_on([stored for stored, _ in found], fail_on)
    return ExitCode.OK


def _exit_on(found: Sequence[StoredEvidence], fail_on: str) -> None:
    bands = [band.value for band in _BANDS[fail_on]]
    for stored in found:
        for frame in (stored.evidence.edges, stored.evidence.flags):
            if frame["band"].is_in(bands).any():
                raise typer.Exit(ExitCode.FINDINGS)


def export(root: Path, out: Path, fmt: str, as_json: bool) -> None:
    """`export`."""
    project = Project.open(root)
    with progress_bar() as progress, project.locked():
        result = export_project(project, out, Format(fmt), progress=progress)
    if as_json:
        emit_json({"out": str(result.path), "manifest": result.manifest, "notes": list(result.notes)})
        return
    curated = project.curated()
    emit_outcome(list(curated.counts().iter_rows()))
    emit()
    emit_table(("rows", "file"), [(part.get("rows"), name) for name, part in result.manifest["files"].items()])
    for note in result.notes:
        say(note)
    say(f"next: harrier-studio verify {out} --project {root}")


def verify(out: Path, root: Path | None, sources: list[str], as_json: bool) -> None:
    """`verify`."""
    with progress_bar() as progress:
        if sources:
            report = verify_sources(out, sources, progress=progress)
        else:
            report = verify_export(out, project=Project.open(root) if root else None, progress=progress)
    if as_json:
        emit_json({"out": str(out), "items": [vars(item) for item in report.items]})
    else:
        emit_verified(report)
    if not report.sound:
        raise typer.Exit(ExitCode.FINDINGS)


def clean(
    sources: list[str],
    out: Path,
    fmt: str,
    changed: Overrides,
    named: Roles,
    prompt: str | None,
    strict: bool,
    fail_on: str,
    as_json: bool,
) -> None:
    """`clean`."""
    start = time.perf_counter()
    with progress_bar() as progress:
        result = run_clean(
            sources,
            out,
            fmt=Format(fmt),
            roles=named,
            strict=strict,
            overrides=changed,
            defaults=new_project_settings(out.absolute().name, prompt),
            progress=progress,
        )
    seconds = time.perf_counter() - start
    if as_json:
        emit_json(_clean_report(result, out, seconds))
    else:
        say_import(result.imported)
        emit_report(result.evidence, result.curated)
        for note in result.export.notes:
            say(note)
        say(f"{seconds:.1f} s; next: harrier-studio verify {out} --source {' --source '.join(sources)}")
    _exit_on(result.evidence, fail_on)


def _clean_report(result: Cleaned, out: Path, seconds: float) -> Mapping[str, Any]:
    return {
        "out": str(out),
        "seconds": round(seconds, 3),
        "rows": result.curated.rows.height,
        "kept": result.curated.kept.height,
        "rejected": result.imported.rejects.height,
        "rejected_by_reason": by_reason(result.imported),
        "decisions": result.curated.counts().to_dicts(),
        "checks": [evidence_report(stored) for stored in result.evidence],
        "files": result.export.manifest["files"],
        "notes": list(result.export.notes),
    }
