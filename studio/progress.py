"""How long work tells of itself. The engine calls; a front door draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that long work calls as it goes; it may raise `Cancelled` to stop that work."""

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` units of `step` are finished (`total` None: not known)."""


def silent(step: str, done: int, total: int | None) -> None:
    """The progress callback of callers that do not watch."""
