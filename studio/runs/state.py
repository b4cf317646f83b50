"""What a run is doing: from its events, its heartbeat and its process. Silence is not death; death leaves no note."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import NamedTuple

from studio.runs.control import Request, asked
from studio.runs.events import last_event
from studio.runs.folder import RunFolder
from studio.runs.history import History, number, read_history
from studio.runs.liveness import ProcessId, is_alive, read_beat, read_launch

QUEUED = "queued"
"""File in a run's folder while it waits for its devices: JSON with the time it was put there."""

STALE_SECONDS = 30.0
"""A worker that lives and was not heard of for longer is stale: hung, stopped, or its disk does not answer."""

LOST_SECONDS = 600.0
"""A worker on another machine that was not heard of for longer is lost; its process cannot be asked from here."""


class State(StrEnum):
    """What a run is doing."""

    QUEUED = "queued"
    """It waits for its devices."""
    STARTING = "starting"
    """Its process lives and has not said anything yet."""
    RUNNING = "running"
    STOPPING = "stopping"
    """It was asked to stop, and has not ended."""
    STOPPED = "stopped"
    """It ended before it was done, with a checkpoint, because it was asked to; or it was never started."""
    DONE = "done"
    FAILED = "failed"
    """It ended with an error, and said so."""
    LOST = "lost"
    """Its process is gone without a last word: killed, out of memory, or the machine went down."""


LIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""The states in which a run has a process."""


class Standing(NamedTuple):
    """What a run is doing, and how that is known.

    `quiet`: seconds since its last sign, or None if it never gave one. `stale`: it is live but was silent for longer
    than 30 seconds while its process lives, or is on another machine. `why`: one sentence. `last`: when it gave its
    last sign, in seconds since 1970.
    """

    state: State
    quiet: float | None
    stale: bool
    why: str
    last: float | None = None


def standing(folder: RunFolder, history: History | None = None, now: float | None = None) -> Standing:
    """What a run is doing now.

    Args:
        folder: the run.
        history: its events so far, if they were read already.
        now: seconds since 1970; None: the clock's.
    """
    history = read_history(folder) if history is None else history
    found = _standing(folder, history, now)
    if found.state in LIVE or found.state is State.QUEUED:
        return found
    # Its process is gone; it may have said why after the history was read.
    newest = last_event(folder.events)
    said_more = newest is not None and newest.seq > history.seq
    return _standing(folder, read_history(folder), now) if said_more else found


def _standing(folder: RunFolder, history: History, now: float | None) -> Standing:
    launch, beat = read_launch(folder), read_beat(folder)
    signs = [history.time, beat.time if beat else None, launch.time if launch else None]
    last = max((sign for sign in signs if sign is not None), default=None)
    quiet = None if last is None else max((time.time() if now is None else now) - last, 0.0)
    return _judged(folder, history, quiet)._replace(last=last)


def _judged(folder: RunFolder, history: History, quiet: float | None) -> Standing:
    living, where = _living(processes(folder, history))
    queued = (folder.root / QUEUED).exists()
    if living is None or living:
        return _live(folder, history, living, where, quiet, queued)
    if queued:
        return Standing(State.QUEUED, quiet, False, "it waits for its devices")
    if where:
        begun = "its process is gone" if history.attempts else "its process ended before it began"
        asked_for = " after it was asked to stop" if Request.STOP in asked(folder) else ""
        return Standing(State.LOST, quiet, False, f"{begun}{asked_for}, without a last word; see its log")
    if history.ended:
        return Standing(_ended_as(history.ended.fields.get("state")), quiet, False, _reason(history.ended.fields))
    return Standing(State.STOPPED, quiet, False, "it was made and not started yet")


def processes(folder: RunFolder, history: History | None = None) -> list[ProcessId]:
    """The processes of the attempt that goes on, alive or not: the worker's first; none if it ended or never began."""
    history = read_history(folder) if history is None else history
    launch = read_launch(folder)
    if launch and launch.attempt > history.attempts and not (history.ended and history.ended.time > launch.time):
        return [launch.process]
    if history.ended or not history.started:
        return []
    fields = history.started.fields
    pid, start = number(fields.get("pid")), number(fields.get("process_start"))
    found = [] if pid is None or start is None else [ProcessId(int(pid), start, str(fields.get("host")))]
    if launch and launch.attempt == history.attempts and launch.process not in found:
        found.append(launch.process)
    return found


def queued_since(folder: RunFolder) -> float | None:
    """When a run was put into the queue, in seconds since 1970; None: it does not wait."""
    try:
        said = json.loads((folder.root / QUEUED).read_text(encoding="utf-8"))
        return float(said["time"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0


def leave_queue(folder: RunFolder) -> bool:
    """Take a run out of the queue; whether it was in it. Of several that try, one succeeds."""
    try:
        (folder.root / QUEUED).unlink()
    except FileNotFoundError:
        return False
    return True


def _living(found: list[ProcessId]) -> tuple[bool | None, str]:
    """Whether any of them lives (None: nobody here can know), and the machine; an empty one if there are none."""
    alive = [is_alive(process) for process in found]
    if True in alive:
        return True, found[alive.index(True)].host
    if None in alive:
        return None, found[alive.index(None)].host
    return False, found[0].host if found else ""


def _live(
    folder: RunFolder, history: History, living: bool | None, host: str, quiet: float | None, queued: bool
) -> Standing:
    silent = quiet is not None and quiet > STALE_SECONDS
    there = "its process lives" if living else f"it is on {host}, where its process cannot be asked from here"
    if living is None and quiet is not None and quiet > LOST_SECONDS:
        return Standing(State.LOST, quiet, False, f"{there}; no sign of it for {quiet / 60:.0f} minutes")
    launch = read_launch(folder)
    if Request.STOP in asked(folder) or Request.STOP in history.requests:
        state, doing = State.STOPPING, "it was asked to stop"
    elif not history.started or (launch and launch.attempt > history.attempts):
        state, doing = State.STARTING, "it has not said anything yet"
    else:
        state, doing = State.RUNNING, history.phase or "it began"
    if silent:
        return Standing(state, quiet, True, f"{there}; no sign of it for {quiet:.0f} seconds")
    return Standing(state, quiet, False, f"{doing}; {there}")


def _ended_as(said: object) -> State:
    return next((state for state in (State.DONE, State.STOPPED) if state == said), State.FAILED)


def _reason(fields: dict[str, object]) -> str:
    return str(fields.get("reason") or "it said that it ended")
