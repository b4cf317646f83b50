"""Export a project: the curated data, its card and its audit, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import InputError, ProjectError
from studio.export.audit import MANIFEST, TOOL, manifest, write_evidence, write_manifest, write_rows, write_sidecar
from studio.export.card import card
from studio.export.formats import DataFile, Format, write_data
from studio.export.subsets import Subset, subsets_of
from studio.files import atomic_directory
from studio.progress import Progress, silent
from studio.project.curate import Curated, resolve
from studio.project.ledger import in_force, to_lines
from studio.project.project import Project
from studio.project.rewriting import Rewrite


@dataclass(frozen=True)
class ExportResult:
    """What was written where. `notes`: what a person should know about the data files."""

    path: Path
    manifest: dict[str, Any]
    notes: tuple[str, ...]


def export_project(project: Project, out: Path, fmt: Format, *, progress: Progress = silent) -> ExportResult:
    """Write the project's curated rows to `out` in one step; an earlier export there is replaced whole.

    Two exports of the same project are byte-identical.

    Raises:
        ProjectError: no row is kept, or the format cannot hold the labels or scores of the rows.
        InputError: `out` holds something that is no part of an earlier export.
        UnavailableError: the disk is full, or `out` cannot be written.
    """
    # A link is followed: what it points to is replaced, not the link.
    out = out.resolve()
    refuse_foreign(out)
    # Read once: a person may go on deciding while this is written.
    log, targets = project.ledger.log(), project.ledger.targets()
    curated = resolve(project.snapshot, log, targets)
    if curated.kept.is_empty():
        raise ProjectError("No row is kept, so there is nothing to export.", where=str(project.root))
    refuse_what_does_not_fit(curated, fmt)
    found = project.fresh_evidence()
    steps = iter(range(1, 6))

    def step() -> None:
        progress("export", next(steps), 5)

    with atomic_directory(out) as beside:
        subsets, files, notes = write_curated(curated, fmt, beside)
        step()
        # Where personal data was taken out of the texts, evidence must not bring it along.
        reasons = {decision.reason for decision in in_force(log)}
        write_evidence(found, beside, redact=f"rewrite_{Rewrite.PII}" in reasons)
        step()
        _write_lines(beside / "decisions.jsonl", to_lines(log, targets))
        step()
        text = card(project.settings, curated, subsets, files, fmt)
        (beside / "README.md").write_text(text, "utf-8")
        step()
        document = manifest(project.settings, curated, found, fmt, beside, files)
        write_manifest(document, beside)
        step()
    return ExportResult(out, document, tuple(notes))


def write_curated(curated: Curated, fmt: Format, out: Path) -> tuple[list[Subset], list[DataFile], list[str]]:
    """Write what follows from the rows alone: data, sidecar.parquet and rows.parquet."""
    subsets, notes = subsets_of(curated.kept)
    files = write_data(subsets, fmt, out)
    write_sidecar(curated.kept, files, out / "sidecar.parquet")
    write_rows(curated, out / "rows.parquet")
    return subsets, files, notes


def refuse_foreign(out: Path) -> None:
    """Refuse a place that holds anything but the files of an earlier export.

    Raises:
        InputError: it does.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        document = json.loads((out / MANIFEST).read_text("utf-8"))
        known = {MANIFEST, *document["files"]} if document["tool"] == TOOL else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    there = {file.relative_to(out).as_posix() for file in out.rglob("*") if not file.is_dir()} if out.is_dir() else {""}
    foreign = sorted(there - known)
    if foreign:
        raise InputError(
            "There is something else in the export's place; it was left alone.",
            where=str(out / foreign[0]),
            why=f"no export of {TOOL} wrote it",
            remedy="choose another --out, or move it away",
        )


def refuse_what_does_not_fit(curated: Curated, fmt: Format) -> None:
    """Refuse a format that would turn every labelled or scored pair into a positive one.

    Raises:
        ProjectError: it would.
    """
    lost = {
        Format.FLAGEMBEDDING: ("label",),
        Format.TEVATRON: ("label", "score"),
        Format.BEIR: ("label", "score"),
    }.get(fmt, ())
    for column in lost:
        if curated.kept[column].null_count() < curated.kept.height:
            raise ProjectError(
                f"The format {fmt} has no place for a {column}.",
                why=f"a pair would count as positive whatever its {column} says",
                remedy="export as parquet, jsonl, csv or hf",
            )


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for line in lines:
            stream.write(line + "\n")
