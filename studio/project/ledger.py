"""The ledger: every decision, appended, one transaction each. Nothing is rewritten; undo appends."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import polars as pl

from studio.errors import ProjectError, UnavailableError

TARGETS_SCHEMA = pl.Schema(
    {
        "seq": pl.Int64(),
        "row_id": pl.String(),
        "keeper_id": pl.String(),
        "score": pl.Float64(),
        "value": pl.String(),
        "evidence": pl.String(),
    }
)
"""One line for each row a decision is about. `value` depends on the action, `evidence` names check and edge."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, reason TEXT NOT NULL,
    evidence TEXT, note TEXT, undo_of INTEGER
);
CREATE TABLE IF NOT EXISTS targets (
    seq INTEGER NOT NULL REFERENCES decisions(seq), row_id TEXT NOT NULL,
    keeper_id TEXT, score REAL, value TEXT, evidence TEXT
);
CREATE INDEX IF NOT EXISTS targets_seq ON targets(seq);
"""


_SUPERSEDED = "superseded"


class Action(StrEnum):
    """What a decision does to its rows. The meaning of a target's `value` stands beside each."""

    KEEP = "keep"
    """Keep the row as it is, whatever a rule says."""
    DROP = "drop"
    """Leave the row out; `keeper_id` names the row that stands for it, if there is one."""
    REPOINT = "repoint"
    """Give the row the positive of `keeper_id`; the query stays."""
    EDIT = "edit"
    """`value`: a JSON object with any of query, positive, negatives."""
    GROUP = "group"
    """`value`: a name; rows with the same name answer each other's queries."""
    MOVE = "move"
    """`value`: the split the row goes to."""
    TAG = "tag"
    """`value`: a tag the row gets; a row may have several."""
    UNTAG = "untag"
    """`value`: a tag the row loses."""
    NOTE = "note"
    """`value`: what a person wants remembered about the row; the latest stands."""
    JUDGE = "judge"
    """`value`: a `Verdict` on whether the passage of `keeper_id` also answers the row's query (`project.verdicts`)."""
    ASK = "ask"
    """Whether the passage of `keeper_id` also answers the row's query is for a person to judge (`project.asked`)."""
    UNDO = "undo"
    REDO = "redo"


@dataclass(frozen=True)
class Target:
    """One row of a decision."""

    row_id: str
    keeper_id: str | None = None
    score: float | None = None
    value: str | None = None
    evidence: str | None = None


@dataclass(frozen=True)
class Decision:
    """One line of the ledger. `actor` is `person` (or `person:name`) or `rule:name@version`."""

    seq: int
    time: str
    actor: str
    action: Action
    reason: str
    evidence: str | None
    note: str | None
    undo_of: int | None
    rows: int

    @property
    def by_person(self) -> bool:
        """Whether a person, not a rule, decided."""
        return self.actor.split(":", 1)[0] == "person"


class Ledger:
    """The decisions of one project, in SQLite (WAL).

    Readers need no lock. Writers must hold the project's lock; each append is one transaction, on disk when the
    call returns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(
        self,
        action: Action,
        targets: Iterable[Target],
        *,
        actor: str,
        reason: str,
        evidence: str | None = None,
        note: str | None = None,
    ) -> int:
        """Append one decision over `targets` and return its `seq`."""
        with self._transaction() as connection:
            return self._insert(connection, action, actor, reason, evidence, note, None, targets)

    def supersede(
        self, actor: str, steps: Iterable[tuple[Action, str, list[Target]]], *, evidence: str | None
    ) -> list[int]:
        """In one transaction, undo every active decision of `actor` and append `steps` (action, reason, targets)."""
        with self._transaction() as connection:
            for decision in self._active(connection):
                if decision.actor == actor:
                    self._insert(connection, Action.UNDO, actor, _SUPERSEDED, None, None, decision.seq, ())
            return [
                self._insert(connection, action, actor, reason, evidence, None, None, targets)
                for action, reason, targets in steps
            ]

    def append_step(self, steps: Iterable[tuple[Action, str, list[Target]]], *, actor: str = "person") -> list[int]:
        """Append several decisions (action, reason, targets) of a person in one transaction; one undo takes all."""
        with self._transaction() as connection:
            several = [step for step in steps if step[2]]
            first = 1 + (connection.execute("SELECT max(seq) FROM decisions").fetchone()[0] or 0)
            basis = json.dumps({"step": first}) if len(several) > 1 else None
            return [
                self._insert(connection, action, actor, reason, basis, None, None, targets)
                for action, reason, targets in several
            ]

    def undo(self, actor: str = "person") -> list[Decision]:
        """Undo the latest step still in force: a decision, or all that were made in one go; return them, or []."""
        with self._transaction() as connection:
            active = self._active(connection)
            taken = _one_step(active)
            for decision in reversed(taken):
                self._insert(connection, Action.UNDO, actor, "undo", None, None, decision.seq, ())
            return taken

    def redo(self, actor: str = "person") -> list[Decision]:
        """Bring back what the latest undo took away, unless something was decided since; return it, or []."""
        with self._transaction() as connection:
            back = sorted(_one_step(_undone(self._log(connection))), key=lambda decision: decision.seq)
            for decision in back:
                self._insert(connection, Action.REDO, actor, "redo", None, None, decision.seq, ())
            return back

    def log(self) -> list[Decision]:
        """Every line ever written, in order."""
        with self._reading() as connection:
            return self._log(connection) if connection else []

    def active(self) -> list[Decision]:
        """The decisions in force: written, and not undone (or undone and redone)."""
        with self._reading() as connection:
            return self._active(connection) if connection else []

    def undo_steps(self) -> int:
        """How many times `undo` would find something to undo."""
        return _count_steps(self.active())

    def redo_steps(self) -> int:
        """How many times `redo` would find something to bring back."""
        return _count_steps(_undone(self.log()))

    def targets(self, seqs: Iterable[int] | None = None) -> pl.DataFrame:
        """The rows of the decisions `seqs` (all when None), as `TARGETS_SCHEMA`, in the order they were written."""
        with self._reading() as connection:
            rows = (
                connection.execute(
                    "SELECT seq, row_id, keeper_id, score, value, evidence FROM targets ORDER BY seq, rowid"
                ).fetchall()
                if connection
                else []
            )
        frame = pl.DataFrame(rows, schema=TARGETS_SCHEMA, orient="row")
        return frame if seqs is None else frame.filter(pl.col("seq").is_in(list(seqs)))

    def _insert(
        self,
        connection: sqlite3.Connection,
        action: Action,
        actor: str,
        reason: str,
        evidence: str | None,
        note: str | None,
        undo_of: int | None,
        targets: Iterable[Target],
    ) -> int:
        cursor = connection.execute(
            "INSERT INTO decisions (time, actor, action, reason, evidence, note, undo_of) VALUES (?,?,?,?,?,?,?)",
            (_now(), actor, action, reason, evidence, note, undo_of),
        )
        seq = int(cursor.lastrowid or 0)
        connection.executemany(
            "INSERT INTO targets VALUES (?,?,?,?,?,?)",
            ((seq, t.row_id, t.keeper_id, t.score, t.value, t.evidence) for t in targets),
        )
        return seq

    def _log(self, connection: sqlite3.Connection) -> list[Decision]:
        rows = connection.execute(
            "SELECT d.seq, time, actor, action, reason, d.evidence, note, undo_of,"
            " (SELECT count(*) FROM targets t WHERE t.seq = d.seq) FROM decisions d ORDER BY d.seq"
        )
        return [Decision(row[0], row[1], row[2], Action(row[3]), *row[4:]) for row in rows]

    def _active(self, connection: sqlite3.Connection) -> list[Decision]:
        return in_force(self._log(connection))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error
        finally:
            connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self._path.exists():
            yield None
            return
        connection = self._connect()
        try:
            has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'decisions'").fetchone()
            yield connection if has_table else None
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)

    def _explained(self, error: sqlite3.DatabaseError) -> ProjectError | UnavailableError:
        if isinstance(error, sqlite3.OperationalError):
            return UnavailableError(
                "The ledger cannot be written or read now; no decision was lost.",
                where=str(self._path),
                why=str(error),
                remedy="free the disk, or close the other program that has it open, and run the command again",
            )
        return ProjectError(
            "The ledger is damaged.",
            where=str(self._path),
            why=str(error),
            remedy="restore it from a backup, or from `decisions.jsonl` of an export with `decide --from`",
        )


def in_force(log: Iterable[Decision]) -> list[Decision]:
    """Filter a log to the decisions in force, in order."""
    state: dict[int, bool] = {}
    decisions: dict[int, Decision] = {}
    for decision in log:
        if decision.action in (Action.UNDO, Action.REDO):
            if decision.undo_of in state:
                state[decision.undo_of] = decision.action is Action.REDO
        else:
            decisions[decision.seq] = decision
            state[decision.seq] = True
    return [decision for seq, decision in decisions.items() if state[seq]]


def _undone(log: list[Decision]) -> list[Decision]:
    """What `redo` can bring back, in the order it was undone: nothing once something else was decided."""
    decisions = {decision.seq: decision for decision in log}
    undone: list[int] = []
    for decision in log:
        if decision.action is Action.UNDO and decision.undo_of is not None:
            if decision.reason != _SUPERSEDED:
                undone.append(decision.undo_of)
        elif decision.action is Action.REDO and decision.undo_of in undone:
            undone.remove(decision.undo_of)
        elif decision.action is not Action.REDO:
            undone.clear()
    return [decisions[seq] for seq in undone]


def _one_step(decisions: list[Decision]) -> list[Decision]:
    """The last of `decisions`, and before it those that were made together with it."""
    taken: list[Decision] = []
    for decision in reversed(decisions):
        if taken and not _together(decision, taken[0]):
            break
        taken.append(decision)
    return taken[::-1]


def _count_steps(decisions: list[Decision]) -> int:
    return sum(at == 0 or not _together(decision, decisions[at - 1]) for at, decision in enumerate(decisions))


def _together(one: Decision, other: Decision) -> bool:
    """Whether two neighbours are one step: what one rule decided in a row, or what `append_step` wrote at once."""
    if one.by_person != other.by_person:
        return False
    if not one.by_person:
        return one.actor == other.actor
    return one.evidence is not None and one.evidence == other.evidence and one.evidence.startswith('{"step"')


def to_lines(log: Iterable[Decision], targets: pl.DataFrame) -> Iterator[str]:
    """Yield the ledger as `decisions.jsonl` lines: seq, time, actor, action, row_ids, reason, evidence, note, undo_of.

    `evidence` is an object: what the decision as a whole rests on, and, aligned with `row_ids`, the keeper, score,
    value and evidence of each row.
    """
    by_seq = {key[0]: frame for key, frame in targets.partition_by("seq", as_dict=True).items()}
    empty = pl.DataFrame(schema=TARGETS_SCHEMA)
    for decision in log:
        rows = by_seq.get(decision.seq, empty)
        evidence = {
            "basis": json.loads(decision.evidence) if decision.evidence else None,
            **{column: rows[column].to_list() for column in ("keeper_id", "score", "value", "evidence")},
        }
        record = {
            "seq": decision.seq,
            "time": decision.time,
            "actor": decision.actor,
            "action": decision.action,
            "row_ids": rows["row_id"].to_list(),
            "reason": decision.reason,
            "evidence": evidence,
            "note": decision.note,
            "undo_of": decision.undo_of,
        }
        yield json.dumps(record, ensure_ascii=False)


def from_lines(lines: Iterable[str]) -> tuple[list[Decision], pl.DataFrame]:
    """Read `decisions.jsonl` back; the inverse of `to_lines`.

    Raises:
        KeyError, ValueError: a line is not one that `to_lines` writes.
    """
    log: list[Decision] = []
    rows: list[tuple[object, ...]] = []
    for line in lines:
        record = json.loads(line)
        evidence, row_ids = record["evidence"], record["row_ids"]
        basis = evidence["basis"]
        log.append(
            Decision(
                record["seq"],
                record["time"],
                record["actor"],
                Action(record["action"]),
                record["reason"],
                None if basis is None else json.dumps(basis, ensure_ascii=False),
                record["note"],
                record["undo_of"],
                len(row_ids),
            )
        )
        columns = [evidence[column] for column in ("keeper_id", "score", "value", "evidence")]
        rows.extend(zip([record["seq"]] * len(row_ids), row_ids, *columns, strict=True))
    return log, pl.DataFrame(rows, schema=TARGETS_SCHEMA, orient="row")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
