"""What a check before a run says."""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["pass", "warn", "fail"]


class Item(NamedTuple):
    """One answer of the preflight.

    `code`: stable. `status`: `fail` would waste the run or make its result wrong, `warn` is worth a look. `message`:
    what was found. `remedy`: what to do, "" when nothing.
    """

    code: str
    status: Status
    message: str
    remedy: str = ""


def passed(code: str, message: str) -> Item:
    """Return an item that passes."""
    return Item(code, "pass", message)


def warned(code: str, message: str, remedy: str) -> Item:
    """Return an item worth a look."""
    return Item(code, "warn", message, remedy)


def failed(code: str, message: str, remedy: str) -> Item:
    """Return an item that would waste the run."""
    return Item(code, "fail", message, remedy)
