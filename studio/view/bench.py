"""A project in memory: what the engine process holds to answer an interface's questions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from studio.project.curate import Status, answer_groups, outcomes
from studio.project.evidence import StoredEvidence
from studio.project.ledger import Decision
from studio.project.project import Project
from studio.view.equality import EqualTexts

STATUSES = (Status.KEPT, Status.REMOVED, Status.EDITED, Status.MOVED)
"""The code of a status is its place here."""


class Bench:
    """One project, its rows, its evidence and its decisions. Not safe to use from two threads at once.

    Whatever another process wrote is seen after `refresh`.
    """

    def __init__(self, root: Path) -> None:
        self.project = Project.open(root)
        self._curated: tuple[int, pl.DataFrame] | None = None
        self._groups: tuple[int, pl.Series] | None = None
        self._evidence: dict[str, tuple[int, StoredEvidence]] = {}

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The imported rows (SNAPSHOT_SCHEMA), in order."""
        return self.project.snapshot

    @cached_property
    def places(self) -> pl.DataFrame:
        """`row_id` and `position` (UInt32, from 0) of every row: join with this to find rows."""
        return self.rows.select("row_id").with_row_index("position").select("row_id", "position")

    @cached_property
    def _equal(self) -> EqualTexts:
        return EqualTexts(self.rows)

    def refresh(self) -> None:
        """Read the settings anew; evidence and decisions are compared with the disk whenever they are asked for."""
        self.project.settings = Project.open(self.project.root).settings

    def log(self) -> list[Decision]:
        """The whole ledger."""
        return self.project.ledger.log()

    def curated(self) -> pl.DataFrame:
        """Every row's outcome (`curate.outcomes`), in snapshot order, replayed again only when the ledger grew."""
        return self._replayed()[1]

    def answer_groups(self) -> pl.Series | None:
        """The answer group of every row; None while it is not known yet which texts are equal (`learn_equal_texts`)."""
        if not self._equal.known:
            return None
        last, rows = self._replayed()
        if self._groups is None or self._groups[0] != last:
            targets = self.project.ledger.targets()
            self._groups = last, answer_groups(rows, self.log(), targets, self._equal.numbered)
        return self._groups[1]

    def text_numbers(self, column: str) -> np.ndarray:
        """For each row the position (int64) of the first row whose imported text in `column` is equal at L2."""
        return self._equal.imported(column)

    def learn_equal_texts(self) -> None:
        """Find out which texts are equal: seconds at a million rows. Safe to call from a thread of its own."""
        self._equal.learn()

    def _replayed(self) -> tuple[int, pl.DataFrame]:
        log = self.log()
        last = log[-1].seq if log else 0
        if self._curated is None or self._curated[0] != last:
            self._curated = last, outcomes(self.rows, log, self.project.ledger.targets())
        return self._curated

    def status(self) -> np.ndarray:
        """The status of every row as a code (uint8, see STATUSES)."""
        codes = {status.value: code for code, status in enumerate(STATUSES)}
        return self.curated()["status"].replace_strict(codes, return_dtype=pl.UInt8).to_numpy()

    def evidence(self) -> Mapping[str, StoredEvidence]:
        """The stored evidence about these rows, by check; a check's files are read again only when they changed."""
        store = self.project.root / ".studio" / "evidence"
        found: dict[str, tuple[int, StoredEvidence]] = {}
        for name in self.project.evidence.names():
            stamp = (store / name / "manifest.json").stat().st_mtime_ns
            known = self._evidence.get(name)
            if known is None or known[0] != stamp:
                stored = self.project.evidence.load(name)
                known = (stamp, stored) if stored else None
            if known:
                found[name] = known
        self._evidence = found
        snapshot = self.project.settings.snapshot
        return {name: stored for name, (_, stored) in found.items() if stored.snapshot == snapshot}
