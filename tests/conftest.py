"""What many tests need: pairs as a snapshot, and projects."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.project.project import Project
from studio.project.settings import ProjectSettings

os.environ["HF_HUB_OFFLINE"] = "1"
# What a test costs depends on what else the machine does. `make test-all` asks for the thorough profile.
settings.register_profile("quick", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def snapshot(rows: Sequence[dict[str, Any] | tuple[str, str]]) -> pl.DataFrame:
    """Rows as SNAPSHOT_SCHEMA; a tuple is (query, positive). Row ids are r0, r1, …"""
    records = [row if isinstance(row, dict) else {"query": row[0], "positive": row[1]} for row in rows]
    return pl.DataFrame(
        [{"row_id": f"r{i}", "negatives": [], "source": f"t:{i + 1}", **record} for i, record in enumerate(records)],
        schema=SNAPSHOT_SCHEMA,
    )


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    def make(rows: Sequence[dict[str, Any] | tuple[str, str]], **settings: Any) -> Project:
        return Project.create(tmp_path / "project", snapshot(rows), ProjectSettings(name="test", **settings))

    return make


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(tmp_path_factory.getbasetemp() / "no-such-config.toml"))
