"""Which command line means `open`: a place, or nothing, where a command's name could stand. Imports no engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

_WITH_VALUE = ("--panel", "--theme")
_WITHOUT_VALUE = ("--read-only", "--plain")


def with_open(arguments: list[str], known: Collection[str]) -> list[str]:
    """Put `open` before arguments that name a place, or none, instead of a command.

    Args:
        arguments: the command line without the program.
        known: the names of all commands.

    Returns:
        `["open", …]`; `["--help"]` for an empty line without a terminal; else the arguments as they are, a mistyped
        command among them, for typer to refuse.
    """
    if not arguments:
        return ["open"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--help"]
    at = _after_options(arguments)
    if at is None:
        return arguments
    if at == len(arguments):
        return ["open", *arguments]
    first = arguments[at]
    if first in known:
        return arguments
    return ["open", *arguments] if at or _is_place(first) else arguments


def _after_options(arguments: list[str]) -> int | None:
    """The place of the first argument that is none of `open`'s options; None if another option stands before it."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "--":
        name, equals, _ = arguments[at].partition("=")
        if name in _WITH_VALUE:
            at += 1 if equals else 2
        elif arguments[at] in _WITHOUT_VALUE:
            at += 1
        else:
            return None
    return min(at, len(arguments))


def _is_place(argument: str) -> bool:
    """Whether it can only be a path: it is there, or it is written like one."""
    separators = {os.sep, os.altsep or os.sep, "/"}
    written = argument == "--" or argument.startswith("~") or bool(separators & set(argument))
    return written or bool(Path(argument).suffix) or os.path.exists(argument)
