"""Stopping a run, from the mildest means to the last: a request, SIGTERM, SIGKILL; each waits before the next."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal, NamedTuple

import psutil

from studio.errors import UnavailableError
from studio.runs.control import Request, ask, clear
from studio.runs.folder import RunFolder
from studio.runs.liveness import ProcessId, is_alive, process_of
from studio.runs.state import leave_queue, processes

LOOK_SECONDS = 0.2
"""How often the ladder looks whether the run has ended, and tells what is left of its patience."""

_KILLED_WITHIN = 10.0
"""Seconds in which the system takes away a killed process, unless a device or a disk holds it."""


class Rung(NamedTuple):
    """Where the ladder is. `left`: seconds until the next rung."""

    name: Literal["request", "sigterm", "sigkill", "ended"]
    left: float


def stop(folder: RunFolder, after_request: float = 60.0, after_term: float = 30.0) -> Iterator[Rung]:
    """Stop a run, telling several times a second what is tried and for how long yet.

    First the worker is asked to save a checkpoint and end; then SIGTERM, on which it does the same, goes to its process
    group; then SIGKILL goes to its group and to those of all its descendants. A signal is sent only to a process that
    has the number and the start time of the run's. A run that waits in the queue leaves it. The caller may leave off at
    any time: the request stays.

    Args:
        folder: the run; one that is not at work ends the ladder at once.
        after_request: seconds that the request is given.
        after_term: seconds that SIGTERM is given.

    Yields:
        Rung: the last one is `ended`.

    Raises:
        UnavailableError: the run is on another machine and did not answer the request, or its process belongs to
            somebody else, or the system does not let go of it.
    """
    leave_queue(folder)
    found = _Processes(folder)
    if found.over():
        clear(folder, Request.STOP)
        yield Rung("ended", 0.0)
        return
    ask(folder, Request.STOP)
    yield from _wait(found, "request", after_request)
    if not found.over():
        found.refuse_elsewhere()
        found.terminate()
        yield from _wait(found, "sigterm", after_term)
    if not found.over():
        found.kill()
        yield from _wait(found, "sigkill", _KILLED_WITHIN)
    if not found.over():
        raise UnavailableError(
            "The run was killed, and the system does not let go of its processes.",
            where=", ".join(f"process {process.pid}" for process in found.living()),
            why="a device or a disk holds them",
            remedy="look at that device; they end as soon as it answers",
        )
    clear(folder, Request.STOP)
    yield Rung("ended", 0.0)


class _Processes:
    """The processes of a run: those that the run names, their descendants, and whoever shares their groups.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._named = processes(folder)
        self._elsewhere = [process for process in self._named if is_alive(process) is None]
        self._seen: dict[ProcessId, int] = {}
        self._look()

    def living(self) -> list[ProcessId]:
        """Which of them live."""
        self._look()
        return [process for process in self._seen if is_alive(process)]

    def over(self) -> bool:
        """Whether none of them lives. A process of another machine does until the run says that it ended."""
        if self._elsewhere and not processes(self._folder):
            self._elsewhere = []
        return not self._elsewhere and not self.living()

    def refuse_elsewhere(self) -> None:
        """Raise if they are where no signal goes."""
        if self._elsewhere:
            host = self._elsewhere[0].host
            raise UnavailableError(
                "The run did not answer, and no signal can be sent to another machine.",
                where=f"process {self._elsewhere[0].pid} on {host}",
                remedy=f"run the same command on {host}; the request to stop stays",
            )

    def terminate(self) -> None:
        """SIGTERM to the group of the worker; torchrun, if there is one, sees its worker end and ends too.

        Sent to torchrun, the signal would give the workers less time than it takes to save.
        """
        first = next((process for process in self._named if is_alive(process)), None)
        if first:
            self._signal(self._groups([first]), signal.SIGTERM)
        else:
            self._signal(self._groups(self.living()), signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to every group; workers under torchrun have groups of their own, which would outlive it."""
        self._signal(self._groups(self.living()), signal.SIGKILL)

    def _look(self) -> None:
        """Take in descendants and members of the groups, as long as somebody known lives to tell them by."""
        parents = [process for process in [*self._named, *self._seen] if is_alive(process)]
        for process in parents:
            self._take(process)
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    self._take(process_of(child.pid))
        groups = {group for process, group in self._seen.items() if is_alive(process)} - {os.getpgrp()}
        for pid in psutil.pids() if groups else []:
            with suppress(OSError):
                if os.getpgid(pid) in groups:
                    self._take(process_of(pid))

    def _take(self, process: ProcessId | None) -> None:
        if process and process not in self._seen:
            with suppress(OSError):
                self._seen[process] = os.getpgid(process.pid)

    def _groups(self, of: Iterable[ProcessId]) -> dict[int, list[ProcessId]]:
        groups: dict[int, list[ProcessId]] = {}
        for process in of:
            if process in self._seen:
                groups.setdefault(self._seen[process], []).append(process)
        return groups

    def _signal(self, groups: dict[int, list[ProcessId]], number: signal.Signals) -> None:
        for group, members in groups.items():
            try:
                if group != os.getpgrp():
                    os.killpg(group, number)
                    continue
                # A worker that was started by hand from a script shares our own group.
                for process in members:
                    if is_alive(process):
                        os.kill(process.pid, number)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                raise UnavailableError(
                    "The run cannot be signalled.",
                    where=f"process {members[0].pid}",
                    why="it belongs to another user",
                    remedy="ask whoever started it; the request to stop stays",
                ) from error


def _wait(found: _Processes, name: Literal["request", "sigterm", "sigkill"], patience: float) -> Iterator[Rung]:
    """Wait for the end, telling what is left; at least once, so that every rung that was stood on is seen."""
    until = time.monotonic() + patience
    while True:
        left = until - time.monotonic()
        yield Rung(name, max(left, 0.0))
        if left <= 0 or found.over():
            return
        time.sleep(min(LOOK_SECONDS, left))
