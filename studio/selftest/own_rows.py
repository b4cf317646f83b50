"""A project's own rows as clean rows for planting: those in which no check sees anything."""

from __future__ import annotations

import random
from collections.abc import Set as AbstractSet

from studio.errors import ProjectError
from studio.progress import Progress, silent
from studio.project.evidence import Band
from studio.project.project import Project
from studio.selftest.measure import Finding, run_on
from studio.selftest.planting import plant
from studio.selftest.rows import Planted, Row

_TEST_SHARE = 0.1
_ABOUT_GROUPS = frozenset({"groups", "templates"})
"""Checks whose flags say nothing against a row."""


def plant_in_project(
    project: Project, seed: int, per_kind: int, limit: int, progress: Progress = silent
) -> tuple[list[Row], list[Planted], AbstractSet[Finding]]:
    """Plant faults into a project's rows: only into rows that are in no edge and have no flag.

    Args:
        limit: rows at most, chosen at random by `seed`.

    Returns:
        All rows with the planted ones, the answer key, and what the checks find before anything is planted.

    Raises:
        ProjectError: hardly any row is without a finding.
    """
    rows = _rows(project, seed, limit)
    found, _ = run_on(rows, project.settings, progress)
    touched = {
        row_id
        for (check, _, ids), band in found.items()
        if check not in _ABOUT_GROUPS or band is not Band.IGNORE
        for row_id in ids
    }
    clean = [row for row in rows if row.id not in touched]
    if len(clean) < 10:
        raise ProjectError(
            "Too few rows are without a finding to plant faults in.",
            where=str(project.root),
            why=f"{len(clean)} of {len(rows)} rows",
            remedy="run `harrier-studio selftest` without --project, on the sample's rows",
        )
    planted, key = plant(clean, [], seed, per_kind, population=len(rows))
    others = [row for row in rows if row.id in touched]
    return [*planted, *others], key, frozenset(found)


def _rows(project: Project, seed: int, limit: int) -> list[Row]:
    frame = project.assigned().select("row_id", "query", "positive", "split", "group")
    if frame.height > limit:
        frame = frame.sample(limit, seed=seed)
    protected = set(project.settings.curation.protected_splits)
    has_test = frame["split"].is_in(list(protected)).any()
    rng = random.Random(seed)
    return [
        Row(row_id, "own", group or "", _side(split, protected) if has_test else _drawn(rng), query, passage)
        for row_id, query, passage, split, group in frame.iter_rows()
    ]


def _side(split: str | None, protected: AbstractSet[str]) -> str:
    return "test" if split in protected else "train"


def _drawn(rng: random.Random) -> str:
    """A side for a row of a project that has no test split: leaks need one."""
    return "test" if rng.random() < _TEST_SHARE else "train"
