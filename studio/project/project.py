"""A project directory: create it from pairs, open it, lock it, read what it holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
from filelock import FileLock, Timeout

from studio.errors import ProjectError, UnavailableError
from studio.files import atomic_file, write_text
from studio.pairs.schema import SNAPSHOT_SCHEMA, UNREADABLE
from studio.project.curate import Curated, resolve
from studio.project.evidence import EvidenceStore, StoredEvidence
from studio.project.ledger import Action, Ledger
from studio.project.settings import ProjectSettings, read_settings, write_settings

SETTINGS_FILE = "studio.toml"
Held = Literal["decisions", "evidence"]
"""What `Project.locked` can hold."""
SPLIT_ACTOR = "rule:split@1"
"""Who moves rows when a person asks for a split."""


class Project:
    """One curation project.

    The presence of `studio.toml` is what makes a directory a project: it is written last.
    """

    def __init__(self, root: Path, settings: ProjectSettings) -> None:
        self.root = root
        self.settings = settings
        self.ledger = Ledger(root / ".studio" / "ledger.sqlite")
        self.evidence = EvidenceStore(root / ".studio" / "evidence")

    @classmethod
    def open(cls, root: Path) -> Project:
        """Open an existing project.

        Raises:
            ProjectError: there is none at `root`.
            ConfigError: its studio.toml is wrong.
        """
        path = root / SETTINGS_FILE
        if not path.exists():
            raise ProjectError(
                "There is no harrier-studio project here.",
                where=str(root),
                why=f"it has no {SETTINGS_FILE}",
                remedy=f"make one: harrier-studio import FILE --project {root}",
            )
        return cls(root, read_settings(path, ProjectSettings))

    @classmethod
    def create(cls, root: Path, pairs: pl.DataFrame, settings: ProjectSettings) -> Project:
        """Make a project at `root` from imported pairs, or open it when it already holds exactly these.

        Raises:
            ProjectError: another project, or other files, are in the way.
            UnavailableError: another process is writing there, or the disk is full.
        """
        if root.exists() and not root.is_dir():
            raise ProjectError("The project's place is taken by a file.", where=str(root))
        settings = settings.model_copy(update={"snapshot": snapshot_id(pairs)})
        with _locked(root):
            if (root / SETTINGS_FILE).exists():
                return cls._same_or_refuse(root, settings.snapshot)
            with atomic_file(root / ".studio" / "snapshot.parquet") as beside:
                pairs.select(SNAPSHOT_SCHEMA.names()).cast(SNAPSHOT_SCHEMA).write_parquet(beside)
            write_settings(root / SETTINGS_FILE, settings)
        return cls(root, settings)

    @classmethod
    def _same_or_refuse(cls, root: Path, identity: str) -> Project:
        project = cls.open(root)
        if project.settings.snapshot == identity:
            return project
        raise ProjectError(
            "This project already holds other pairs, and a snapshot never changes.",
            where=str(root),
            remedy="import into a new directory with --project",
        )

    @cached_property
    def snapshot(self) -> pl.DataFrame:
        """The imported rows, as SNAPSHOT_SCHEMA, in order.

        Raises:
            ProjectError: the file is missing, damaged or not the one the project was made with.
        """
        path = self.root / ".studio" / "snapshot.parquet"
        try:
            pairs = pl.read_parquet(path, glob=False)
        except UNREADABLE as error:
            raise ProjectError(
                "The project's snapshot cannot be read.",
                where=str(path),
                why=str(error),
                remedy="restore the file, or import the sources again into a new directory",
            ) from error
        if pairs.schema != SNAPSHOT_SCHEMA or snapshot_id(pairs) != self.settings.snapshot:
            raise ProjectError(
                "The project's snapshot is not the one it was made with.",
                where=str(path),
                why="its rows do not match the id in studio.toml; a snapshot never changes",
                remedy="restore the file, or import the sources again into a new directory",
            )
        return pairs

    def fresh_evidence(self) -> list[StoredEvidence]:
        """The stored evidence that is about these very rows, by name of check."""
        return [stored for stored in self.evidence.load_all() if stored.snapshot == self.settings.snapshot]

    def curated(self) -> Curated:
        """Replay the ledger over the snapshot."""
        return resolve(self.snapshot, self.ledger.log(), self.ledger.targets())

    def assigned(self, without: str = "") -> pl.DataFrame:
        """The snapshot with each row in the split that `split` or a person put it in; what a rule moved stays.

        Args:
            without: an actor whose moves do not count.
        """
        moves = {
            decision.seq
            for decision in self.ledger.active()
            if decision.action is Action.MOVE
            and (decision.by_person or decision.actor == SPLIT_ACTOR)
            and decision.actor != without
        }
        if not moves:
            return self.snapshot
        latest = (
            self.ledger.targets(moves).unique("row_id", keep="last").select("row_id", pl.col("value").alias("moved"))
        )
        rows = self.snapshot.join(latest, on="row_id", how="left", maintain_order="left")
        return rows.with_columns(split=pl.coalesce("moved", "split")).drop("moved")

    def locked(self, what: Held = "decisions", wait: float = 0) -> AbstractContextManager[None]:
        """Hold this project's decisions, or its evidence, for writing: `with project.locked(): …`.

        A check may take minutes; deciding goes on meanwhile, so each has a lock of its own.

        Args:
            wait: seconds to wait for a process that holds it.

        Raises:
            UnavailableError: another process holds it; the error names that process.
        """
        return _locked(self.root, what, wait)


def snapshot_id(pairs: pl.DataFrame) -> str:
    """Identify a snapshot: sha256 over its row_ids in order (each covers content and source position)."""
    return hashlib.sha256("\n".join(pairs["row_id"]).encode()).hexdigest()[:32]


@contextmanager
def _locked(root: Path, what: Held = "decisions", wait: float = 0) -> Iterator[None]:
    folder = root / ".studio"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            "The project directory cannot be written.", where=str(root), why=error.strerror, remedy="choose another"
        ) from error
    name = "lock" if what == "decisions" else f"lock-{what}"
    holder = folder / f"{name}.json"
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise UnavailableError(
            "Another process is writing to this project.",
            where=str(root),
            why=_holder_words(holder),
            remedy="wait for it to end, or stop it, and run the command again",
        ) from None
    try:
        write_text(holder, json.dumps({"pid": os.getpid()}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder_words(holder: Path) -> str | None:
    try:
        return f"process {json.loads(holder.read_text('utf-8'))['pid']} holds the lock"
    except (OSError, ValueError, KeyError):
        return None
