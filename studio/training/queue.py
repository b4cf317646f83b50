"""The queue of a project: a process of its own starts each waiting run when its devices are free, in order.

`python -m studio.training.queue PROJECT`. There is one a project, held by a lock; it ends when nothing waits. What
waits is in the runs' folders, so that a dispatcher that was killed loses nothing: the next one goes on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from studio.errors import StudioError, UsageError
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder, run_folders
from studio.runs.history import read_history
from studio.runs.state import leave_queue, queued_since
from studio.training.devices import CPU, choose
from studio.training.launch import DevicesTakenError, at_work, detached, enqueue, start

LOOK_SECONDS = 1.0
"""How often the dispatcher looks whether devices are free."""
_LOCK_SECONDS = 1.0
_LOCK = ".queue.lock"
_LOG = ".queue.log"


class Waiting(NamedTuple):
    """A run in the queue, and since when (seconds since 1970)."""

    since: float
    folder: RunFolder


def waiting(project: Path) -> list[Waiting]:
    """The runs that wait, the longest waiting first."""
    found = [(queued_since(folder), folder) for folder in run_folders(project)]
    return sorted(Waiting(since, folder) for since, folder in found if since is not None)


def ensure_dispatcher(project: Path) -> None:
    """See to it that somebody serves the queue. Where somebody does already, the new process ends at once.

    Raises:
        UnavailableError: the process cannot be started.
    """
    runs = project / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    detached([sys.executable, "-m", "studio.training.queue", str(project.resolve())], runs / _LOG, {})


def start_or_wait(folder: RunFolder, resume: bool = False) -> str:
    """Start or resume a run, or let it wait where others work on its devices; say which. Raises what `start` raises."""
    try:
        started = start(folder, resume)
    except DevicesTakenError as error:
        enqueue(folder)
        ensure_dispatcher(folder.project)
        return f"{folder.name} waits: {error.why or error.what}"
    return f"{folder.name} starts on {', '.join(started.devices)}"


def served(project: Path) -> bool:
    """Whether a dispatcher serves the queue now."""
    try:
        with FileLock(project / "runs" / _LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True


def dispatch(project: Path) -> None:
    """Serve the queue until nothing waits; return at once if another process serves it."""
    lock = FileLock(project / "runs" / _LOCK)
    # Looked at once more after the lock is given back: a run that came in between found us still there.
    while waiting(project):
        try:
            # Not at the first try only: `served` takes the lock too, for an instant.
            with lock.acquire(timeout=_LOCK_SECONDS):
                while queue := waiting(project):
                    _start_those_that_can(queue)
                    time.sleep(LOOK_SECONDS)
        except Timeout:
            return


def _start_those_that_can(queue: list[Waiting]) -> None:
    """Start what has its devices free; nobody overtakes an earlier run that waits for the same kind."""
    cpu_waits = cuda_waits = False
    for item in queue:
        if at_work(item.folder):
            # Whoever started it was killed before the run left the queue.
            leave_queue(item.folder)
            continue
        try:
            choice = choose(item.folder)
            on_cpu = choice.devices == (CPU,)
            if choice.waits_for or (cpu_waits if on_cpu else cuda_waits):
                cpu_waits, cuda_waits = cpu_waits or on_cpu, cuda_waits or not on_cpu
            elif queued_since(item.folder) is not None:  # else somebody took it out just now
                start(item.folder, resume=True)
        except DevicesTakenError:
            cuda_waits = True
        except StudioError as error:
            _give_up(item.folder, error)


def _give_up(folder: RunFolder, error: StudioError) -> None:
    """Take a run that cannot be started out of the queue, and say so where its viewers look."""
    print(f"{folder.name}: {error}", flush=True)
    leave_queue(folder)
    if isinstance(error, UsageError):  # it is over, or at work: nothing of it changes
        return
    events = EventWriter(folder.events)
    events.write("ended", read_history(folder).step, state="failed", reason=str(error), seconds=0.0)
    events.close()


if __name__ == "__main__":
    dispatch(Path(sys.argv[1]))
