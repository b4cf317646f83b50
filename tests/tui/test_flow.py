"""Whole flows over the sample project: find a planted duplicate, decide, undo, restart, export, with real keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from studio.cleaning import check_project, import_project
from studio.export.verify import verify_export
from studio.project.ledger import Action
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.sample import sample_data
from tests.tui.driving import driving, run

CERTAIN = "exact spacing case_and_marks filler reorder query_typo query_function_word typo_1 typo_2".split()
"""Kinds of planted copies that the rule takes away unless a row is of the test split, which no rule touches."""


@pytest.fixture(scope="module")
def checked_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "project"
    project, _ = import_project(root, [sample_data() / "pairs.jsonl"], defaults=ProjectSettings(name="amostra"))
    check_project(project)
    return root


@pytest.fixture
def sample(checked_sample: Path, tmp_path: Path) -> Project:
    shutil.copytree(checked_sample, tmp_path / "project")
    return Project.open(tmp_path / "project")


def test_a_planted_duplicate_is_found_decided_undone_and_exported(sample: Project) -> None:
    async def flow() -> None:
        async with driving(sample.root, size=(140, 40)) as studio:
            await studio.press("slash")
            await studio.type("check:exact_duplicates/auto")
            await studio.press("enter")
            assert "exact duplicates of row" in studio.text
            found = studio.app.current_position
            assert found is not None
            await studio.press("d")
            assert "592 of 593 pairs kept" in studio.text
            await studio.press("u")
            assert "593 of 593 pairs kept" in studio.text
            await studio.press("U")
        async with driving(sample.root, size=(140, 40)) as studio:
            assert "592 of 593 pairs kept" in studio.text
            await studio.press("2", "A")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            assert "re-point" in studio.text
            await studio.press("y")
            await studio.until(lambda: studio.app.job is not None or sample.ledger.undo_steps() > 1)
            await studio.job()
            assert sample.ledger.undo_steps() == 2
            kept = sample.curated().kept.height
            assert kept < 592
            await studio.until(lambda: f"{kept} of 593 pairs kept" in studio.text)
            await studio.press("8", "w")
            await studio.job()
            await studio.press("v")
            await studio.job()
            assert "✗" not in studio.text.split("verif")[-1].split("Export")[0]
        out = sample.root / "exports" / "parquet"
        assert verify_export(out, project=sample).sound
        rows = pl.read_parquet(out / "rows.parquet")
        assert rows.filter(pl.col("status") != "removed").height == kept
        lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text("utf-8").splitlines()]
        assert [line["action"] for line in lines[:3]] == [Action.DROP, Action.UNDO, Action.REDO]

    run(flow)


def test_all_planted_duplicates_go_from_the_screen_alone(sample: Project) -> None:
    """As a new user: 2, A, y. What the answer key says is a copy is gone or re-pointed, and nothing else is."""
    key = [json.loads(line) for line in (sample_data() / "answer_key.jsonl").read_text("utf-8").splitlines()]

    async def flow() -> None:
        async with driving(sample.root) as studio:
            await studio.press("2", "A")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.press("y")
            await studio.until(lambda: sample.ledger.undo_steps() == 1)
            await studio.job()

    run(flow)
    rows = sample.curated().rows
    row_of = {json.loads(meta)["id"]: row for row, meta in enumerate(rows["meta"])}
    changed = (rows["status"] != "kept").to_list()
    copies = [(row_of[line["a"]], row_of[line["b"]]) for line in key if line["kind"] in CERTAIN]
    free = [(a, b) for a, b in copies if "test" not in (rows["split"][a], rows["split"][b])]
    assert len(free) > 40
    assert [(a, b) for a, b in free if not (changed[a] or changed[b])] == []
    distinct = [line for line in key if line["truth"] == "distinct"]
    ends = [(row_of[line["a"]], row_of[line["b"]]) for line in distinct]
    joined = [(a, b) for a, b in ends if rows["positive"][a] == rows["positive"][b]]
    assert joined == []
