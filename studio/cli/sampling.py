"""`demo` and `selftest`: the embedded sample project."""

from __future__ import annotations

import tempfile
from pathlib import Path

from studio.cleaning import check_project, import_project
from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.cli.reports import emit_report, emit_verified, evidence_report
from studio.export.formats import Format
from studio.export.project import export_project
from studio.export.verify import verify_export
from studio.files import scratch_directory
from studio.models.tokenizer import load_tokenizer
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.user import new_project_settings
from studio.prompts.preview import preview_rows
from studio.sample import model_location, sample_data
from studio.selftest.clusters import Mean
from studio.selftest.measure import Measured, Share, flags_of, measure, measured_report
from studio.selftest.own_rows import plant_in_project
from studio.selftest.planting import plant
from studio.selftest.sample import PER_KIND, clean_rows

_OWN_PER_KIND = 50
"""Planted rows a kind in a project's own rows."""


def demo(root: Path | None, out: Path | None, as_json: bool) -> None:
    """`demo`: the main job on the sample project, in a place that is thrown away unless one is named."""
    with scratch_directory(Path(tempfile.gettempdir()) / "harrier-studio-demo") as scratch:
        place, target = root or scratch / "project", out or scratch / "export"
        with progress_bar() as progress:
            project, imported = import_project(
                place, [sample_data() / "pairs.jsonl"], defaults=new_project_settings("sample"), progress=progress
            )
            found = [stored for stored, _ in check_project(project, progress=progress)]
            with project.locked():
                apply_auto(project)
                exported = export_project(project, target, Format.PARQUET, progress=progress)
            report = verify_export(target, project=project, progress=progress)
            previews = preview_rows(
                project.curated().kept.head(1),
                project.settings.prompts.contract(),
                load_tokenizer(model_location(project.settings.model.id)),
                project.settings.model.max_length,
            )
        if as_json:
            emit_json(
                {
                    "rows": imported.pairs.height,
                    "kept": project.curated().kept.height,
                    "decisions": project.curated().counts().to_dicts(),
                    "checks": [evidence_report(stored) for stored in found],
                    "preview": [row.to_dict() for row in previews],
                    "verified": report.sound,
                    "files": exported.manifest["files"],
                }
            )
            return
        say("the sample project: questions about public services, with faults planted among them")
        emit_report(found, project.curated())
        emit()
        emit("what the model reads of the first query and its passage:")
        for text in previews[0].texts:
            emit(f"  {text.visible}")
            emit(f"  {text.tokens_after} tokens; pooled at position {text.pooled_position}: {text.pooled_token}")
        emit()
        emit_verified(report)
    for kept, what in ((root, "project"), (out, "export")):
        if kept:
            say(f"{what} kept at {kept}")
    if not root:
        say("keep it to look around: harrier-studio demo --project DIR")


def selftest(root: Path | None, seed: int, per_kind: int | None, limit: int, as_json: bool) -> None:
    """`selftest`."""
    with progress_bar() as progress:
        if root:
            project = Project.open(root)
            rows, key, natural = plant_in_project(project, seed, per_kind or _OWN_PER_KIND, limit, progress)
            measured = measure(rows, key, project.settings, natural, progress)
        else:
            clean, alternates = clean_rows(sample_data())
            rows, key = plant(clean, alternates, seed, per_kind or PER_KIND)
            measured = measure(rows, key, natural=flags_of(clean, progress), progress=progress)
    if as_json:
        emit_json({"seed": seed, **measured_report(measured)})
        return
    emit(f"{measured.rows:,} rows, {len(key):,} lines in the answer key, seed {seed}")
    emit()
    _emit_measured(measured)
    say("shares with their 95 % Wilson intervals, means over rows with their 95 % bootstrap intervals")


def _emit_measured(measured: Measured) -> None:
    emit_table(
        ("kind of fault", "truth", "detector", "planted", "auto", "found"),
        [
            (kind.kind, kind.truth.value, kind.by, kind.planted, _share(kind.auto), _share(kind.found))
            for kind in measured.kinds
        ],
    )
    emit()
    emit_table(
        ("detector", "precision of auto", "precision of all found", "recall"),
        [
            (item.detector, _share(item.precision), _share(item.precision_review), _share(item.recall))
            for item in measured.detectors
        ],
    )
    emit()
    emit_table(
        ("clusters of the auto band", "B-cubed precision", "B-cubed recall", "rows"),
        [
            (name, _mean(found.precision), _mean(found.recall), found.precision.rows)
            for name, found in (("passages", measured.passages), ("queries", measured.queries))
            if found
        ],
    )
    emit()
    emit(f"rows changed by a rule that should not have been: {_share(measured.false_removals)}")


def _mean(mean: Mean) -> str:
    low, high = mean.interval
    return f"{mean.value:.3f} [{low:.2f}, {high:.2f}]"


def _share(share: Share) -> str:
    if share.value is None:
        return "-"
    low, high = share.interval
    return f"{share.hits}/{share.total} {share.value:.3f} [{low:.2f}, {high:.2f}]"
