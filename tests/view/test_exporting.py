"""What the plan promises is what the export does."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.checks.base import configured, run_checks
from studio.errors import UsageError
from studio.export.audit import MANIFEST
from studio.export.formats import Format
from studio.export.project import export_project
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.splitting import split_project
from studio.view.bench import Bench
from studio.view.exporting import FORMATS, ExportPlan, Severity, default_place, plan

ROWS: list[Any] = [
    {"query": "como pagar", "positive": "Pague no portal.", "split": "train"},
    {"query": "como pagar", "positive": "Pague no portal.", "split": "train"},
    {"query": "como pagar", "positive": "Ou na lotérica.", "split": "train"},
    {"query": "onde pagar", "positive": "Pague no portal.", "split": "test"},
    {"query": "prazo", "positive": "Dez dias.", "split": "train", "negatives": ["Vinte dias.", "Nunca."]},
    {"query": "multa", "positive": "Dois por cento.", "negatives": ["Não há."]},
]
TABLES = (Format.PARQUET, Format.JSONL, Format.CSV, Format.HF)


def planned(project: Project, fmt: str = "parquet", out: Path | None = None) -> ExportPlan:
    return plan(Bench(project.root), fmt, str(out or default_place(project.root, fmt)))


def said(found: ExportPlan, severity: Severity) -> list[str]:
    return [problem.what for problem in found.problems if problem.severity is severity]


@pytest.mark.parametrize("fmt", Format)
def test_the_plan_is_what_the_export_does(make_project: Callable[..., Project], tmp_path: Path, fmt: Format) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    apply_auto(project)
    found = planned(project, fmt.value, tmp_path / "out")
    manifest = export_project(project, tmp_path / "out", fmt).manifest
    assert [(o.status, o.reason, o.rows) for o in found.outcomes] == [tuple(o.values()) for o in manifest["outcome"]]
    assert (found.rows, found.kept) == (manifest["rows"], manifest["kept"])
    written = {name: entry["rows"] for name, entry in manifest["files"].items() if name.startswith("data/")}
    extra = {name for name, rows in written.items() if rows is None}
    assert {file.path: file.rows for file in found.files if file.data} == {
        name: rows for name, rows in written.items() if rows is not None
    }
    # Only the folder format has files beside the data that count no rows.
    assert not extra or fmt is Format.HF
    audit = {file.path for file in found.files if not file.data}
    assert audit == {name for name in manifest["files"] if not name.startswith("data/")} | {MANIFEST}
    sidecar = next(file for file in found.files if file.path == "sidecar.parquet")
    assert list(sidecar.columns) == pl.read_parquet(tmp_path / "out" / "sidecar.parquet").columns
    assert sum(rows for _, rows in found.splits) == found.kept == sidecar.rows


@pytest.mark.parametrize("fmt", Format)
def test_columns_are_those_of_the_files(make_project: Callable[..., Project], tmp_path: Path, fmt: Format) -> None:
    project = make_project(ROWS)
    export_project(project, tmp_path / "out", fmt)
    for file in planned(project, fmt.value).files:
        path = tmp_path / "out" / file.path
        if not file.data or path.suffix == ".arrow":
            continue
        readers: dict[str, Callable[[Path], pl.DataFrame]] = {
            ".parquet": pl.read_parquet,
            ".jsonl": pl.read_ndjson,
            ".csv": pl.read_csv,
            ".tsv": lambda tsv: pl.read_csv(tsv, separator="\t"),
        }
        assert tuple(readers[path.suffix](path).columns) == file.columns


def test_scores_are_a_column_where_every_row_has_one(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project([{"query": f"q{i}", "positive": f"p{i}", "score": i / 4} for i in range(4)])
    export_project(project, tmp_path / "out", Format.FLAGEMBEDDING)
    assert planned(project, "flagembedding").files[0].columns == tuple(
        pl.read_ndjson(tmp_path / "out" / "data" / "train.jsonl").columns
    )
    assert planned(project).files[0].columns == ("query", "positive", "score")


def test_before_and_after(make_project: Callable[..., Project]) -> None:
    project = make_project([("ab", "abcd"), ("ab", "abcdef"), ("abcd", "abcdef")])
    project.ledger.append_step([(Action.DROP, "too short", [Target("r0")])])
    found = planned(project)
    assert (found.before.rows, found.before.queries, found.before.passages) == (3, 2, 2)
    assert (found.after.rows, found.after.queries, found.after.passages) == (2, 2, 1)
    assert found.before.query_chars == pytest.approx(8 / 3)
    assert found.after.passage_chars == 6
    assert [(o.status, o.words, o.rows) for o in found.outcomes] == [
        ("kept", "as imported", 2),
        ("removed", "too short", 1),
    ]


def test_the_command_does_the_same_and_is_quoted(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(ROWS)
    out = tmp_path / "it's here; $(rm x)"
    words = shlex.split(planned(project, "csv", out).command)
    assert words == ["harrier-studio", "export", *f"--project|{project.root}|--out|{out}|--format|csv".split("|")]


def test_nothing_kept_stops(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b")])
    project.ledger.append_step([(Action.DROP, "bad", [Target("r0")])])
    for fmt in Format:
        found = planned(project, fmt.value)
        assert found.stopped and any("No row is kept" in what for what in said(found, Severity.STOPS))


@pytest.mark.parametrize("fmt", Format)
def test_a_format_without_place_for_labels_stops(make_project: Callable[..., Project], fmt: Format) -> None:
    project = make_project([{"query": "a", "positive": "b", "label": "1"}])
    assert planned(project, fmt.value).stopped == (fmt not in TABLES)


def test_a_taken_place_stops_and_an_earlier_export_is_named(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(ROWS)
    export_project(project, tmp_path / "out", Format.CSV)
    found = planned(project, "parquet", tmp_path / "out")
    assert not found.stopped and found.earlier is not None
    assert (found.earlier.project, found.earlier.fmt, found.earlier.kept) == ("test", "csv", 6)
    (tmp_path / "out" / "mine.txt").write_text("mine")
    found = planned(project, "parquet", tmp_path / "out")
    assert found.stopped and "mine.txt" in said(found, Severity.STOPS)[0]


def test_a_place_below_a_file_stops(make_project: Callable[..., Project], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert planned(make_project(ROWS), "parquet", tmp_path / "file" / "out").stopped
    assert planned(make_project(ROWS), "parquet", tmp_path / "file").stopped


def test_checks_that_did_not_run_are_warned_of(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    assert any("No check has run" in what for what in said(planned(project), Severity.WARNS))
    run_checks(project, configured(project.settings, ["pii"]))
    assert any("leakage" in what and "pii" not in what for what in said(planned(project), Severity.WARNS))
    run_checks(project, configured(project.settings))
    apply_auto(project)
    assert said(planned(project), Severity.WARNS) == []


def test_certain_findings_that_nobody_applied_are_warned_of(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    assert any("not been applied" in what for what in said(planned(project), Severity.WARNS))


def test_checks_older_than_a_split_are_warned_of(make_project: Callable[..., Project]) -> None:
    project = make_project([(f"pergunta {i}", f"resposta {i}") for i in range(30)])
    run_checks(project, configured(project.settings))
    assert said(planned(project), Severity.WARNS) == []
    split_project(project, {"test": 0.3}, seed=1)
    assert any("before" in what and "leakage" in what for what in said(planned(project), Severity.WARNS))
    run_checks(project, configured(project.settings))
    assert said(planned(project), Severity.WARNS) == []


def test_checks_with_other_settings_are_warned_of(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings, (), {"near_duplicates": {"threshold": 0.9}}))
    assert any("near_duplicates" in what for what in said(planned(project), Severity.WARNS))


def test_edits_are_counted_and_other_notes_said(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    project.ledger.append_step([(Action.EDIT, "typo", [Target("r5", value='{"query": "multas"}')])])
    notes = said(planned(project), Severity.NOTE)
    assert any(what.startswith("Edited texts in 1 of") for what in notes)
    assert any("sidecar.parquet only" in what for what in notes)
    project.ledger.append_step([(Action.DROP, "bad", [Target("r5")])])
    assert not any("Edited" in what for what in said(planned(project), Severity.NOTE))


def test_a_decision_changes_the_plan_of_the_same_bench(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    bench = Bench(project.root)
    assert plan(bench, "parquet", "out").kept == 6
    project.ledger.append_step([(Action.DROP, "bad", [Target("r5")])])
    assert plan(bench, "parquet", "out").kept == 5
    assert plan(bench, "beir", "out").kept == 5


def test_every_format_says_whom_it_is_for_and_a_plan_can_be_sent(make_project: Callable[..., Project]) -> None:
    assert list(FORMATS) == [fmt.value for fmt in Format]
    found = planned(make_project(ROWS))
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(UsageError, match="no format"):
        planned(make_project(ROWS), "xml")
