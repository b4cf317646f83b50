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
from studio.project.rules import apply_auto
from studio.project.user import new_project_settings
from studio.prompts.preview import preview_rows
from studio.sample import model_location, sample_data
from studio.selftest.measure import Share, measure, measured_report
from studio.selftest.planting import plant
from studio.selftest.sample import PER_KIND, clean_rows


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


def selftest(seed: int, as_json: bool) -> None:
    """`selftest`."""
    clean_ones, alternates = clean_rows(sample_data())
    rows, key = plant(clean_ones, alternates, seed, PER_KIND)
    with progress_bar() as progress:
        measured = measure(rows, key, progress)
    if as_json:
        emit_json({"seed": seed, **measured_report(measured)})
        return
    emit(f"{measured.rows:,} rows, {len(key):,} lines in the answer key, seed {seed}")
    emit()
    emit_table(
        ("kind of fault", "truth", "planted", "auto", "auto or review"),
        [(kind.kind, kind.truth.value, kind.planted, _share(kind.auto), _share(kind.found)) for kind in measured.kinds],
    )
    emit()
    emit_table(
        ("detector", "precision of auto", "precision of auto + review", "recall"),
        [
            (item.detector, _share(item.precision), _share(item.precision_review), _share(item.recall))
            for item in measured.detectors
        ],
    )
    emit()
    emit(f"rows changed by a rule that should not have been: {_share(measured.false_removals)}")
    say("shares with their 95 % Wilson intervals")


def _share(share: Share) -> str:
    if share.value is None:
        return "-"
    low, high = share.interval
    return f"{share.hits}/{share.total} {share.value:.3f} [{low:.2f}, {high:.2f}]"
