"""What the interface and its engine say to each other: pickled messages with their length before them, over pipes.

Both ends are processes of one program that started one another, so pickles are safe here.
"""

from __future__ import annotations

import pickle
import struct
import traceback
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from studio.errors import Cancelled, ExitCode, StudioError, UnavailableError

_LENGTH = struct.Struct(">Q")


class EngineFault(StudioError):  # noqa: N818 - a fault of ours, not an error of anybody's
    """The engine itself failed, or ended before it answered."""

    exit_code = ExitCode.INTERNAL


class Lane(Enum):
    """Who does the work of a request."""

    ASK = "ask"
    """Short questions, in order."""
    JOB = "job"
    """Long work, one after the other, with progress."""


@dataclass(frozen=True, slots=True)
class Request:
    """Client to server: call a function about the project at `root`.

    A newer ask with the same `slot` replaces one that has not begun.
    """

    id: int
    lane: Lane
    name: str
    arguments: dict[str, Any]
    root: Path | None
    slot: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Client to server: end this job, or take it out of the queue."""

    id: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Server to client: what the function returned."""

    id: int
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """Server to client: what the function raised, in parts, since errors with named arguments cannot be pickled."""

    id: int
    kind: type[StudioError] | type[Cancelled]
    what: str = ""
    where: str | None = None
    why: str | None = None
    remedy: str | None = None

    def error(self) -> StudioError | Cancelled:
        """The error to raise on this side."""
        if issubclass(self.kind, Cancelled):
            return self.kind()
        # Not by calling the class: a subclass may take other arguments.
        error = self.kind.__new__(self.kind)
        StudioError.__init__(error, self.what, where=self.where, why=self.why, remedy=self.remedy)
        return error


@dataclass(frozen=True, slots=True)
class Replaced:
    """Server to client: a newer ask took the slot of this one, which will not be answered."""

    id: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a job is: `done` of `total` units of `step` (`total` None: not known).

    `seconds_left` is the time this step still takes at its latest pace, None while that cannot be told.
    """

    step: str
    done: int
    total: int | None
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """Server to client: how far this job is."""

    id: int
    progressed: Progressed


def failed(request: int, error: BaseException) -> Failed:
    """Take an error apart for the way. One that is not meant for people becomes an `EngineFault` that names only its
    type and its place: its message may hold text from data."""
    if isinstance(error, Cancelled):
        return Failed(request, Cancelled)
    if isinstance(error, MemoryError):
        error = UnavailableError(
            "The machine ran out of memory; nothing was changed.", remedy="close other programs, or use fewer rows"
        )
    if not isinstance(error, StudioError):
        error = EngineFault(
            f"The engine itself failed ({type(error).__name__}); what was on disk before is untouched.",
            where=_place(error),
            remedy="try again; start with HARRIER_STUDIO_DEBUG=1 to have the traceback in the engine's log",
        )
    return Failed(request, type(error), error.what, error.where, error.why, error.remedy)


def encoded(message: object) -> bytes:
    """A message as it goes through the pipe."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


def read_message(stream: BinaryIO) -> object | None:
    """Wait for the next message; None when the other end is gone, even in the middle of one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return pickle.loads(body) if len(body) == length else None


def _place(error: BaseException) -> str | None:
    """File and line where an error arose; frames of the import system name no file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
