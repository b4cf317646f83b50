"""Whether a worker lives: its process (number, start time, machine) and the heartbeat in the run's folder.

A process number alone says nothing: the system gives it to somebody else later.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psutil

from studio.runs.folder import RunFolder

BEAT_SECONDS = 2.0
"""How often a living worker replaces its heartbeat."""

LAUNCHED = "launched"
"""File in a run's folder: JSON with the process that was started last, when, and which attempt it is."""

# Start times are counted from when the machine was booted, which the system rounds to seconds and moves with its clock.
_SAME_START = 2.0


class ProcessId(NamedTuple):
    """One process, told from any later one with the same number.

    `pid`: its number. `start`: when it began, in seconds since 1970. `host`: the machine's name.
    """

    pid: int
    start: float
    host: str


class Launch(NamedTuple):
    """What was started last for a run: the worker, or the torchrun that starts its workers.

    `time`: seconds since 1970. `attempt`: from 1; more than the attempts in the events until the worker has begun.
    """

    process: ProcessId
    time: float
    attempt: int


class Beat(NamedTuple):
    """A heartbeat: whose, when (seconds since 1970), and what the worker was at.

    `phase`, `step` and `attempt` are those of the run's events.
    """

    process: ProcessId
    time: float
    phase: str
    step: int
    attempt: int


def this_process() -> ProcessId:
    """The process that asks."""
    return ProcessId(os.getpid(), psutil.Process().create_time(), platform.node())


def process_of(pid: int) -> ProcessId | None:
    """The process of this machine that has this number now, or None: there is none, or it is over (a zombie)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessId(pid, process.create_time(), platform.node())
    except (psutil.Error, ValueError, OverflowError):
        return None


def is_alive(process: ProcessId) -> bool | None:
    """Whether this very process lives; None: it is on another machine, so nobody here can know.

    One that has ended and that its parent has not yet asked about (a zombie) does not live.
    """
    if process.host != platform.node():
        return None
    now = process_of(process.pid)
    return now is not None and abs(now.start - process.start) < _SAME_START


def read_launch(folder: RunFolder) -> Launch | None:
    """What was started last for a run; None: nothing, or it cannot be read."""
    said = _read(folder.root / LAUNCHED)
    try:
        return Launch(_process(said), float(said["time"]), int(said["attempt"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def read_beat(folder: RunFolder) -> Beat | None:
    """The latest heartbeat of a run; None: there was none, or it cannot be read."""
    said = _read(folder.heartbeat)
    try:
        return Beat(_process(said), float(said["time"]), str(said["phase"]), int(said["step"]), int(said["attempt"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


class Heart:
    """Beats as long as its process lives: a thread replaces the heartbeat, at once and then every two seconds.

    A disk that is full or gone never stops it, nor the worker: the next beat tries again.

    Args:
        folder: the run.
        attempt: which attempt of the run this is.
        every: seconds from beat to beat.
    """

    def __init__(self, folder: RunFolder, attempt: int, every: float = BEAT_SECONDS) -> None:
        self._path = folder.heartbeat
        self._beside = folder.root / f".{folder.heartbeat.name}-{os.getpid()}"
        self._attempt, self._every = attempt, every
        self._process = this_process()
        self._at = ("", 0)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def at(self, phase: str, step: int) -> None:
        """What the next beats say that the worker is at."""
        self._at = (phase, step)

    def beat(self) -> None:
        """Replace the heartbeat now, in one step: whoever reads it finds a whole one."""
        phase, step = self._at
        said = {
            **self._process._asdict(),
            "time": time.time(),
            "phase": phase,
            "step": step,
            "attempt": self._attempt,
        }
        with self._lock, suppress(OSError):
            self._beside.write_text(json.dumps(said), encoding="utf-8")
            os.replace(self._beside, self._path)

    def __enter__(self) -> Heart:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            self._beside.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self.beat()


def _read(path: Path) -> Any:
    """What a JSON file says; None: it is not there, or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _process(said: Any) -> ProcessId:
    return ProcessId(int(said["pid"]), float(said["start"]), str(said["host"]))
