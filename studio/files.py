"""Writing that is either whole or not there: write beside, then rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.errors import UnavailableError

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_MARK = ".harrier-tmp-"


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it replaces `path` in one step, on failure it is removed.

    Raises:
        UnavailableError: the disk is full or the place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}{_MARK}{os.getpid()}-", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    beside.chmod(0o644)
    try:
        with explained(path):
            yield beside
            _sync(beside)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` (UTF-8) in one step."""
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path` that is removed in the end; killed processes' ones are removed first.

    Raises:
        UnavailableError: the disk is full or the place cannot be written.
    """
    path = path.absolute()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}{_MARK}{os.getpid()}-", dir=path.parent))
        beside.chmod(0o755)
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path`; on success it takes the place of `path` in one step.

    Whatever stood at `path` stays whole until that step. On Linux the two are exchanged by the kernel; elsewhere
    the old directory is renamed away first, and put back if the second rename fails.

    Raises:
        UnavailableError: the disk is full or the place cannot be written.
    """
    path = path.absolute()
    with scratch_directory(path) as beside:
        yield beside
        for file in beside.rglob("*"):
            if file.is_file():
                _sync(file)
        _take_place(beside, path)


def sweep(path: Path) -> None:
    """Remove what killed processes left beside `path`; what a living process writes is left alone."""
    for left in path.parent.glob(f".{path.name}{_MARK}*"):
        owner = left.name.split(_MARK, 1)[1].split("-", 1)[0]
        if owner.isdigit() and _alive(int(owner)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into an error that says what to do."""
    try:
        yield
    except Exception as error:
        remedies = {
            errno.ENOSPC: "free some space on that disk, or write elsewhere",
            errno.EDQUOT: "free some of your quota, or write elsewhere",
            errno.EACCES: "choose a place you may write to",
            errno.EROFS: "choose a place you may write to",
        }
        number = _system_errno(error)
        if number not in remedies:
            raise
        raise UnavailableError(
            "Could not write; what was there before is untouched.",
            where=str(path),
            why=os.strerror(number),
            remedy=remedies[number],
        ) from error


def _system_errno(error: Exception) -> int | None:
    """The system's error number; libraries written in Rust carry it in their message only (`os error 28`)."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def _take_place(beside: Path, path: Path) -> None:
    if not path.exists():
        beside.rename(path)
    elif not _exchange(beside, path):
        old = beside.with_name(beside.name + "-old")
        path.rename(old)
        try:
            beside.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step where the kernel can (Linux `renameat2`); return whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
