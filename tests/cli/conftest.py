"""The real command line, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

COMMAND = [sys.executable, "-m", "studio.cli.main"]
ROOT = Path(__file__).parents[2]


def environment(**changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "HARRIER_STUDIO_DEBUG"}
    return {**inherited, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "100", **changes}


def run(*arguments: str | Path, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**changes),
        timeout=120,
        check=False,
    )


@pytest.fixture
def pairs_file(tmp_path: Path) -> Callable[..., Path]:
    def make(rows: Sequence[tuple[str, str]], name: str = "pairs.parquet") -> Path:
        path = tmp_path / name
        pl.DataFrame(rows, schema={"query": pl.String, "positive": pl.String}, orient="row").write_parquet(path)
        return path

    return make
