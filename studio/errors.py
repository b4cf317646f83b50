"""Errors that are written for the person who meets them: what, where, why, what to do next."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `harrier-studio` command."""

    OK = 0
    """The command did what it was asked."""
    FINDINGS = 1
    """It worked, and found what `--fail-on` names, or `verify` found a difference."""
    USAGE = 2
    """The command line itself is wrong: an unknown option, value or name."""
    BAD_INPUT = 3
    """A file, a project or a setting cannot be used; nothing was changed."""
    UNAVAILABLE = 4
    """The input is fine but the surroundings are not: a lock, a full disk, a hub out of reach."""
    INTERNAL = 70
    """A fault of harrier-studio itself."""
    INTERRUPTED = 130
    """Stopped by ctrl+c; nothing is half-written."""


class StudioError(Exception):
    """An error with its place, its reason and its remedy.

    Args:
        what: one sentence that says what could not be done.
        where: file, line, row or key, if there is one.
        why: the cause, in the words of whoever found it.
        remedy: what to do next.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.remedy = what, where, why, remedy

    def __str__(self) -> str:
        parts = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("do", self.remedy)):
            if text:
                parts.append(f"  {label}: {text}")
        return "\n".join(parts)


class InputError(StudioError):
    """A source file or a decision file cannot be read as what it claims to be."""


class ProjectError(StudioError):
    """A project directory is missing, foreign or inconsistent."""


class ConfigError(StudioError):
    """A setting is unknown or has a value it cannot have."""


class UsageError(StudioError):
    """The request itself makes no sense, whatever the input."""

    exit_code = ExitCode.USAGE


class UnavailableError(StudioError):
    """Something outside the input is in the way: a lock, the disk, the network."""

    exit_code = ExitCode.UNAVAILABLE


class Cancelled(Exception):  # noqa: N818 - a request, not an error
    """Raised by a progress callback to stop long work cleanly."""
