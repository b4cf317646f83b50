"""Vectors on disk: appended, found again by the hash of their text, never written twice, whole after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from studio.errors import InputError, UnavailableError
from studio.files import explained, write_text
from studio.models.neighbours import F32
from studio.progress import Progress, silent

_HASH_BYTES = 16
_ROWS_A_BLOCK = 65_536
_PATIENCE = 10.0
_ASK_SECONDS = 0.2


def text_hashes(texts: pl.Series) -> NDArray[np.uint64]:
    """Return the 16-byte BLAKE2b of each text's UTF-8, as two numbers: uint64 (texts, 2)."""
    digests = bytearray()
    for low in range(0, len(texts), _ROWS_A_BLOCK):
        for text in texts[low : low + _ROWS_A_BLOCK].to_list():
            digests += hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest()
    return np.frombuffer(bytes(digests), np.uint64).reshape(-1, 2)


class VectorStore:
    """The vectors of one folder, all of one dimension; what they depend on is in its manifest.

    `manifest.json` says what they are of, for people and to refuse a foreign folder. `vectors.f32` holds raw float32
    rows and `hashes` 16 bytes for each, both only ever appended to: vectors first, each on the disk before the next.
    What the shorter file holds counts; a longer tail is what a kill left, and the next writer cuts it off.

    One process writes at a time; any number read meanwhile, and see what was whole when they looked.

    Args:
        folder: need not exist.
        about: what the vectors depend on; JSON values.
        note: what else the manifest tells, of the time it was made.

    Raises:
        InputError: the folder holds something else, or its manifest is damaged or lost.
    """

    def __init__(self, folder: Path, about: Mapping[str, str | int], note: Mapping[str, str | int]) -> None:
        self.folder = folder
        self._about, self._note = dict(about), dict(note)
        self._vectors, self._hashes = folder / "vectors.f32", folder / "hashes"
        self._manifest = folder / "manifest.json"
        self._dim = self._read_manifest()

    @property
    def dim(self) -> int | None:
        """Dimensions of a vector; None while nothing was stored."""
        return self._dim

    def __len__(self) -> int:
        """Count the vectors that are whole."""
        if self._dim is None:
            return 0
        return min(_size(self._hashes) // _HASH_BYTES, _size(self._vectors) // (4 * self._dim))

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each hash, -1 for one that is not stored: int64 (hashes,)."""
        count = len(self)
        if not count:
            return np.full(len(hashes), -1, np.int64)
        stored = np.fromfile(self._hashes, np.uint64, 2 * count).reshape(-1, 2)
        known = _frame(stored).with_row_index("row").unique(["high", "low"], keep="first")
        found = _frame(hashes).join(known, on=["high", "low"], how="left", maintain_order="left")
        return found["row"].cast(pl.Int64).fill_null(-1).to_numpy()

    def take(self, rows: NDArray[np.int64]) -> F32:
        """Return the vectors of some rows, which must exist: float32 (rows, dim).

        Rows that follow each other on the disk come as a view of the file; others are copied, in the order of the
        disk. Writing to the view changes memory only, never the file.
        """
        if self._dim is None or not len(rows):
            return np.empty((0, self._dim or 0), np.float32)
        # Mode "c" and not "r": torch warns of arrays that cannot be written.
        stored: F32 = np.memmap(self._vectors, np.float32, mode="c", shape=(int(rows.max()) + 1, self._dim))
        if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            return stored[rows[0] :]
        taken = np.empty((len(rows), self._dim), np.float32)
        order = np.argsort(rows, kind="stable")
        for low in range(0, len(order), _ROWS_A_BLOCK):
            block = order[low : low + _ROWS_A_BLOCK]
            taken[block] = stored[rows[block]]
        return taken

    @contextmanager
    def writing(self, progress: Progress = silent) -> Iterator[Writer]:
        """Yield what appends; no other process has one meanwhile. Look again with `find` before you compute.

        Raises:
            UnavailableError: another process is writing and did not end within ten seconds, the disk is full, or
                the place cannot be written.
            InputError: another process made the folder meanwhile, and it is not what it should be.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            self._acquire(lock, progress)
            try:
                self._dim = self._read_manifest()
                count = len(self)
                with self._vectors.open("ab") as vectors, self._hashes.open("ab") as hashes:
                    vectors.truncate(count * 4 * (self._dim or 0))
                    hashes.truncate(count * _HASH_BYTES)
                    yield Writer(self, vectors, hashes)
            finally:
                lock.release()

    def _acquire(self, lock: FileLock, progress: Progress) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                lock.acquire(timeout=_ASK_SECONDS)
            except Timeout:
                progress("wait for another process that embeds", 0, None)
                if time.monotonic() < until:
                    continue
                raise UnavailableError(
                    "Another process is embedding with the same model and prompt.",
                    where=str(self.folder),
                    remedy="wait for it to end, or stop it; what it has done by then is used",
                ) from None
            return

    def _set_dim(self, dim: int) -> None:
        """Write the manifest, which a folder has before its first vector."""
        manifest = {**self._note, **self._about, "dim": dim}
        write_text(self._manifest, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        self._dim = dim

    def _read_manifest(self) -> int | None:
        try:
            manifest = json.loads(self._manifest.read_text("utf-8"))
        except FileNotFoundError:
            if _size(self._vectors) or _size(self._hashes):
                raise self._unusable("manifest.json is missing") from None
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(f"manifest.json cannot be read: {error}") from error
        if not isinstance(manifest, dict):
            raise self._unusable("manifest.json is not a JSON object")
        for name, value in self._about.items():
            if name in manifest and manifest[name] == value:
                continue
            raise self._unusable(f"its {name} is {manifest.get(name)!r}, not {value!r}")
        dim = manifest.get("dim")
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise self._unusable(f"its dim is {dim!r}")
        return dim

    def _unusable(self, why: str) -> InputError:
        return InputError(
            "The cache of embeddings cannot be used.",
            where=str(self.folder),
            why=why,
            remedy="delete this folder; its vectors are computed again when they are needed",
        )


class Writer:
    """Appends to a store; made by `VectorStore.writing`."""

    def __init__(self, store: VectorStore, vectors: BinaryIO, hashes: BinaryIO) -> None:
        self._store, self._vectors, self._hashes = store, vectors, hashes

    def append(self, hashes: NDArray[np.uint64], vectors: F32) -> None:
        """Store vectors, (n, dim), under hashes, (n, 2), that are not stored yet; on the disk when this returns.

        Raises:
            InputError: the vectors have another dimension than those before.
            UnavailableError: the disk is full.
        """
        if self._store.dim is None:
            self._store._set_dim(vectors.shape[1])
        if vectors.shape != (len(hashes), self._store.dim):
            raise self._store._unusable(f"its dim is {self._store.dim}, and the model gives {vectors.shape[1]}")
        for stream, values in ((self._vectors, vectors), (self._hashes, hashes)):
            stream.write(np.ascontiguousarray(values).data)
            stream.flush()
            os.fsync(stream.fileno())


def _frame(hashes: NDArray[np.uint64]) -> pl.DataFrame:
    return pl.DataFrame({"high": hashes[:, 0], "low": hashes[:, 1]})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
