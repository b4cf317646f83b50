"""A project as an interface works on it: rows by position, what became of them, marks, and decisions with undo.

Lives in the interface process and holds arrays, not rows. Everything slow is asked of the engine by whoever owns
the session; `apply` takes its answer in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.errors import UnavailableError
from studio.project.ledger import Action, Decision, Target
from studio.project.project import Project
from studio.project.rows import Row, RowFile
from studio.project.verdicts import Drawn, Judged, Verdict, judge
from studio.view.bench import STATUSES
from studio.view.states import TOUCHED_SCHEMA, Changed

PERSON = "person"
_PATIENCE = 60.0
"""Seconds that a decision waits for another process that is deciding, such as a rule over a million rows."""
_AHEAD = 1_000
"""Rows of one decision whose reason is shown before the engine has answered; their status is shown of all."""
_REMARKS = (Action.TAG, Action.UNTAG, Action.NOTE, Action.GROUP, Action.JUDGE, Action.ASK)
"""What leaves the status of a row as it is."""
KEPT, REMOVED, EDITED, MOVED = range(len(STATUSES))


@dataclass(frozen=True, slots=True)
class Shown:
    """One row as it stands now: the imported row, and its texts, split and status after the decisions in force."""

    row: Row
    query: str
    positive: str
    negatives: tuple[str, ...]
    split: str | None
    status: int
    reason: str
    keeper_id: str | None
    by_person: bool
    tags: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def number(self) -> int:
        """The row's number, from 1."""
        return self.row.position + 1


@dataclass(frozen=True)
class Step:
    """One decision to make: an action over rows, with a value for all of them or one a row."""

    action: Action
    positions: Sequence[int] | NDArray[np.integer[Any]]
    reason: str
    value: str | None = None
    keeper: int | None = None


class Session:
    """One open project.

    `states` is what the engine said last; what was decided since is laid over it until the engine has caught up.
    `decide`, `undo` and `redo` write to disk before they return: call them off the event loop.
    """

    def __init__(self, project: Project, rows: RowFile, *, read_only: bool = False) -> None:
        self.project = project
        self._ledger = project.root / ".studio" / "ledger.sqlite"
        self.rows = rows
        self.read_only = read_only
        self.marked: set[int] = set()
        self.status = np.zeros(len(rows), np.uint8)
        self.masks = np.zeros(len(rows), np.uint32)
        self.kept = len(rows)
        self.undo_steps = 0
        self.redo_steps = 0
        self.version = 0
        """Changes whenever a row may look different."""
        self._touched = pl.DataFrame(schema=TOUCHED_SCHEMA)
        self._touched_at = np.empty(0, np.uint32)
        self._ahead: dict[int, dict[str, Any]] = {}
        self._seq = 0
        self._unwritten = 0
        self._writing = threading.Lock()
        self._on_disk = self._stamp()

    def shown(self, positions: Iterable[int]) -> list[Shown]:
        """The rows at these positions as they stand now."""
        return [self._shown(row) for row in self.rows.read(positions)]

    def _shown(self, row: Row) -> Shown:
        known = self._known(row.position)
        if ahead := self._ahead.get(row.position):
            known = {**known, **ahead}
        return Shown(
            row,
            known.get("query", row.query),
            known.get("positive", row.positive),
            tuple(known.get("negatives", row.negatives)),
            known.get("split", row.split),
            int(self.status[row.position]),
            known.get("reason") or "kept",
            known.get("keeper_id"),
            bool(known.get("by_person", False)),
            tuple(known.get("tags") or ()),
            tuple(known.get("notes") or ()),
        )

    def _known(self, position: int) -> dict[str, Any]:
        """What the engine said of a row that decisions touch; {} of any other."""
        at = int(np.searchsorted(self._touched_at, position))
        if at == len(self._touched_at) or self._touched_at[at] != position:
            return {}
        return self._touched.row(at, named=True)

    def expect(self, steps: Sequence[Step]) -> None:
        """Show at once what `decide` of these steps will come to; the engine's answer to that replaces it."""
        for step in steps:
            self._expect(step, np.asarray(step.positions, np.int64))
        self._unwritten += 1
        self.kept = len(self.status) - int(np.count_nonzero(self.status == REMOVED))
        self.version += 1

    def _expect(self, step: Step, positions: NDArray[np.int64]) -> None:
        if step.action in _REMARKS:
            return
        was = self.status[positions]
        if step.action is Action.DROP:
            self.status[positions] = REMOVED
        elif step.action is Action.KEEP:
            self.status[positions] = np.where(was == REMOVED, KEPT, was)
        elif step.action is Action.EDIT:
            self.status[positions] = np.where((was == MOVED) | (was == REMOVED), was, EDITED)
        elif step.action in (Action.REPOINT, Action.MOVE):
            self.status[positions] = MOVED
        fields = {"reason": step.reason, "by_person": True}
        if step.action is Action.EDIT:
            fields |= json.loads(step.value or "{}")
        for position in positions[:_AHEAD].tolist():
            self._ahead.setdefault(position, {}).update(fields)

    def decide(self, steps: Sequence[Step]) -> list[int]:
        """Write steps to the ledger as one step of undo; return their sequence numbers.

        Raises:
            UnavailableError: the session is read-only, or another process is deciding on this project just now.
        """
        try:
            self._refuse_if_read_only()
            with self._writing, self.project.locked(wait=_PATIENCE):
                made = self.project.ledger.append_step(
                    [(step.action, step.reason, self._targets(step)) for step in steps], actor=PERSON
                )
                self._on_disk = self._stamp()
        finally:
            self._unwritten = max(0, self._unwritten - 1)
        self._seq = max(self._seq, *made) if made else self._seq
        return made

    def judge(
        self, query_id: str, passage_id: str, verdict: Verdict, *, margin: float, drawn: Drawn, actor: str = PERSON
    ) -> Judged:
        """Write what a judge (an actor: `person` or `person:name`) says of a query and a passage, as one step of undo.

        Raises:
            UnavailableError: as of `decide`.
        """
        self._refuse_if_read_only()
        with self._writing, self.project.locked(wait=_PATIENCE):
            made = judge(self.project.ledger, query_id, passage_id, verdict, actor=actor, margin=margin, drawn=drawn)
            self._on_disk = self._stamp()
        self._seq = max([self._seq, *made.seqs])
        return made

    def undo(self) -> list[Decision]:
        """Undo the latest step; return the decisions it held, or []."""
        self._refuse_if_read_only()
        with self._writing, self.project.locked(wait=_PATIENCE):
            undone = self.project.ledger.undo()
            self._on_disk = self._stamp()
        return undone

    def redo(self) -> list[Decision]:
        """Bring back the step that was undone last; return its decisions, or []."""
        self._refuse_if_read_only()
        with self._writing, self.project.locked(wait=_PATIENCE):
            brought_back = self.project.ledger.redo()
            self._on_disk = self._stamp()
        return brought_back

    def behind(self) -> bool:
        """Whether decisions were written, other than by this session, since this was asked last; only looks at files.

        Whoever owns the session then asks the engine what they come to.
        """
        before, self._on_disk = self._on_disk, self._stamp()
        return before != self._on_disk

    def _stamp(self) -> tuple[tuple[int, int] | None, ...]:
        """When the ledger was written, and its size: the file and what waits to be merged into it."""
        return tuple(map(_written, (self._ledger, self._ledger.with_name(f"{self._ledger.name}-wal"))))

    def apply(self, changed: Changed) -> None:
        """Take in what the engine says the decisions come to, unless something was decided after it looked."""
        if self._unwritten or changed.last_seq < self._seq:
            return
        self._seq = changed.last_seq
        self._ahead.clear()
        self._touched, self._touched_at = changed.touched, changed.touched["position"].to_numpy()
        self.status = changed.status.copy()
        self.kept = changed.kept
        self.undo_steps, self.redo_steps = changed.undo_steps, changed.redo_steps
        self.version += 1

    def chosen(self, cursor: int | None) -> list[int]:
        """What a key acts on: the marked rows if there are any, else the row under the cursor."""
        if self.marked:
            return sorted(self.marked)
        return [] if cursor is None else [cursor]

    def row_id(self, position: int) -> str:
        """The row_id at a position."""
        return str(self.rows.row_ids[position])

    def _targets(self, step: Step) -> list[Target]:
        keeper = None if step.keeper is None else self.row_id(step.keeper)
        ids = self.rows.row_ids.gather(np.asarray(step.positions, np.int64))
        return [Target(row_id, keeper, value=step.value) for row_id in ids]

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise UnavailableError(
                "This studio is read-only; nothing was changed.",
                where=str(self.project.root),
                remedy="open the project without --read-only",
            )


def _written(path: Path) -> tuple[int, int] | None:
    """None of a file that is not there, or empty, as one is that a reader opens."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found.st_size else None


def edit_value(fields: Mapping[str, Any]) -> str:
    """The `value` of an EDIT decision: the changed fields as JSON."""
    return json.dumps(dict(fields), ensure_ascii=False)
