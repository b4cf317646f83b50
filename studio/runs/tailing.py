"""What is new in a file that somebody else appends to: whole lines, however the file is cut, moved or replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from studio.errors import InputError

_REMEMBERED = 512
"""Bytes before the place a reader has come to. They differ when the file was cut and has grown again since."""


class Lines(NamedTuple):
    """Whole lines with their ends. `begins`: they are read from the beginning of a file, or of what is kept of it."""

    data: bytes
    begins: bool


class Tail:
    """Reads what is new in a file, line by line.

    A torn last line is read once it is whole. A file that was cut or replaced is read from its beginning; the rest of
    one that was moved away is read first. A file that is not there has no lines.

    Args:
        path: the file.
        keep: bytes at its end that are read where it is read from the beginning; None: all of it.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.torn = b""
        self._path, self._keep = path, keep
        self._file = -1
        self._offset = 0
        self._before = b""
        self._began = False

    def read(self) -> list[Lines]:
        """What is new since the last call; `torn` then holds the last line if it is not whole yet.

        Raises:
            InputError: the file is there and cannot be read.
        """
        try:
            return self._read()
        except OSError as error:
            self.close()
            raise InputError(
                "A file of the run cannot be read.",
                where=str(self._path),
                why=error.strerror,
                remedy="look at who may read it, and at its disk",
            ) from error

    def close(self) -> None:
        """Let go of the file; another `read` opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __del__(self) -> None:
        self.close()

    def _read(self) -> list[Lines]:
        found = self._appended() if self._file >= 0 else []
        if self._file < 0 or elsewhere(self._file, self._path):
            if self._file >= 0:
                # What came between the last look and the move.
                found += self._appended()
            self.close()
            try:
                self._file = os.open(self._path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return found
            self._begin()
            found += self._appended()
        return found

    def _begin(self) -> None:
        self._offset, self._before, self._began = 0, b"", False
        size = os.fstat(self._file).st_size
        if self._keep is not None and size > self._keep:
            start = size - self._keep
            line_end = _from(self._file, start).find(b"\n")
            self._offset = start + line_end + 1

    def _appended(self) -> list[Lines]:
        known = self._before
        if os.pread(self._file, len(known), self._offset - len(known)) != known:
            self._begin()
        data = _from(self._file, self._offset)
        end = data.rfind(b"\n") + 1
        whole, self.torn = data[:end], data[end:]
        if not whole:
            return []
        begins, self._began = not self._began, True
        self._offset += len(whole)
        self._before = whole[-_REMEMBERED:]
        return [Lines(whole, begins)]


class LogReader:
    """Reads what is printed into a log, as lines of text. Of a line that was written over (progress), the last counts.

    Args:
        path: the log.
        keep: bytes at its end that are read at first.
    """

    def __init__(self, path: Path, keep: int = 1 << 20) -> None:
        self._tail = Tail(path, keep)

    def read(self) -> list[str]:
        """The lines since the last call; they hold whatever was printed, so whoever shows them makes them safe."""
        blocks = self._tail.read()
        return [_shown(line) for block in blocks for line in block.data.split(b"\n")[:-1]]

    @property
    def unfinished(self) -> str:
        """The last line, where it is not ended yet."""
        return _shown(self._tail.torn)

    def close(self) -> None:
        """Let go of the file."""
        self._tail.close()


def elsewhere(file: int, path: Path) -> bool:
    """Whether a name no longer leads to the file that is open."""
    try:
        there = os.stat(path)
    except OSError:
        return True
    here = os.fstat(file)
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _from(file: int, offset: int) -> bytes:
    parts = []
    while part := os.pread(file, 1 << 24, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _shown(line: bytes) -> str:
    return line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", errors="replace")
