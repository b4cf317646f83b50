"""Requests to a worker: one file each, in a folder that it looks into as it goes. Asking twice is asking once."""

from __future__ import annotations

import os
from enum import StrEnum

from studio.files import explained
from studio.runs.folder import RunFolder


class Request(StrEnum):
    """What a worker can be asked for while it works."""

    STOP = "stop"
    """Save a checkpoint and end; the run can be resumed."""
    SAVE = "save"
    """Save a checkpoint at the next step and go on."""
    EVALUATE = "evaluate"
    """Evaluate at the next step and go on."""


_NAMES = frozenset(Request)


def ask(folder: RunFolder, request: Request) -> None:
    """Ask the worker of a run.

    Raises:
        UnavailableError: the disk is full or the folder cannot be written.
    """
    with explained(folder.control):
        folder.control.mkdir(parents=True, exist_ok=True)
        (folder.control / request).touch()


def asked(folder: RunFolder) -> set[Request]:
    """What was asked for and not cleared. Costs one listing of a small folder."""
    try:
        names = os.listdir(folder.control)
    except OSError:
        return set()
    return {Request(name) for name in names if name in _NAMES}


def clear(folder: RunFolder, request: Request) -> None:
    """Take a request back: it was served, or nobody is there to serve it."""
    (folder.control / request).unlink(missing_ok=True)
