"""The imported rows by position."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from studio.errors import ProjectError
from studio.project.project import Project
from studio.project.rows import RowFile, cache_folder


def test_any_row_is_read_as_it_was_imported(make_project: Callable[..., Project]) -> None:
    rows = [{"query": f"q{at}\n\x1b[2J", "positive": f"p{at}", "negatives": ["n"] * (at % 3)} for at in range(1_000)]
    project = make_project(rows)
    file = RowFile.of(project)
    assert len(file) == 1_000
    for position in (999, 0, 255, 256, 511):
        [row] = file.read([position])
        expected = project.snapshot.row(position, named=True)
        assert {name: getattr(row, name) for name in expected} == expected | {"negatives": tuple(expected["negatives"])}
        assert row.position == position


def test_positions_of_row_ids(make_project: Callable[..., Project]) -> None:
    file = RowFile.of(make_project([("q", "p"), ("q2", "p2"), ("q3", "p3")]))
    assert file.positions(["r2", "r0", "unknown"]) == [2, 0]
    assert file.positions(["r1"]) == [1]
    assert file.positions(["no"]) == []
    assert file.positions([]) == []


def test_a_damaged_cache_is_an_error_that_says_what_to_do(make_project: Callable[..., Project]) -> None:
    project = make_project([("q", "p")])
    RowFile.of(project)
    for name in ("rows.arrow", "ids.arrow"):
        path = cache_folder(project) / name
        whole = path.read_bytes()
        path.write_bytes(b"ARROW1 nonsense")
        with pytest.raises(ProjectError, match="cache"):
            RowFile.of(project)
        path.write_bytes(whole)
    assert isinstance(RowFile.of(project).row_ids, pl.Series)
