"""The imported rows by position, from disk: any window of a million rows in milliseconds and a few megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import ipc

from studio.errors import ProjectError
from studio.files import atomic_directory
from studio.pairs.schema import SNAPSHOT_SCHEMA, UNREADABLE
from studio.project.project import Project

_BATCH = 256
"""Rows read at once. A screen of scattered rows touches as many batches as it has rows, so they are small."""
_BATCHES_KEPT = 128


@dataclass(frozen=True, slots=True)
class Row:
    """One imported row. `position` counts from 0; the other fields are the columns of SNAPSHOT_SCHEMA."""

    position: int
    row_id: str
    query: str
    positive: str
    negatives: tuple[str, ...]
    score: float | None
    label: str | None
    group: str | None
    split: str | None
    source: str | None
    meta: str | None


class RowFile:
    """The rows of one snapshot in `.studio/cache/rows-<snapshot>/`, read batch by batch, never as a whole.

    Plain reads instead of a memory map: the pages of a map count as the process's memory once touched.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = ipc.open_file(pa.OSFile(str(folder / "rows.arrow")))
            # Bytes, not the path: polars would read brackets in a path as a pattern.
            self.row_ids: pl.Series = pl.read_ipc((folder / "ids.arrow").read_bytes())["row_id"]
        except UNREADABLE as error:
            raise ProjectError(
                "The cache of this project's rows cannot be read.",
                where=str(folder),
                why=str(error),
                remedy="delete that folder; it is made again when the project is opened",
            ) from error
        self._batch = lru_cache(_BATCHES_KEPT)(self._file.get_batch)

    @classmethod
    def of(cls, project: Project) -> RowFile:
        """Open the cache of a project's rows; make it first if it is not there.

        Raises:
            ProjectError: the snapshot or the cache is damaged.
            UnavailableError: the disk is full.
        """
        folder = cache_folder(project)
        if not (folder / "rows.arrow").exists():
            write_rows(project.snapshot, folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.row_ids)

    def read(self, positions: Iterable[int]) -> list[Row]:
        """The rows at these positions, in this order."""
        return [self._row(position) for position in positions]

    def positions(self, row_ids: Sequence[str]) -> list[int]:
        """Position of each row_id, in order; an unknown one is left out."""
        if len(row_ids) == 1:
            found = self.row_ids.index_of(row_ids[0])
            return [] if found is None else [int(found)]
        asked = pl.DataFrame({"row_id": row_ids}, schema={"row_id": pl.String})
        known = self.row_ids.to_frame().with_row_index("position")
        return asked.join(known, on="row_id", how="inner", maintain_order="left")["position"].to_list()

    def _row(self, position: int) -> Row:
        batch = self._batch(position // _BATCH)
        at = position % _BATCH
        values = {name: batch.column(column)[at].as_py() for column, name in enumerate(SNAPSHOT_SCHEMA.names())}
        return Row(position, **{**values, "negatives": tuple(values["negatives"])})


def cache_folder(project: Project) -> Path:
    """Where the rows of the project's snapshot are cached."""
    return project.root / ".studio" / "cache" / f"rows-{project.settings.snapshot}"


def write_rows(snapshot: pl.DataFrame, folder: Path) -> None:
    """Write the rows so that `RowFile` can read any of them."""
    with atomic_directory(folder) as beside:
        old = pl.CompatLevel.oldest()
        snapshot = snapshot.select(SNAPSHOT_SCHEMA.names()).cast(SNAPSHOT_SCHEMA)
        snapshot.write_ipc(beside / "rows.arrow", record_batch_size=_BATCH, compat_level=old)
        snapshot.select("row_id").write_ipc(beside / "ids.arrow", compat_level=old)
