"""A run's events as lines, as they come, until it ends. Only a reader: nothing here can hold up or end the run."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, NamedTuple

from studio.cli.output import emit, say
from studio.runs.events import Event
from studio.runs.folder import RunFolder
from studio.runs.history import Follower, History
from studio.runs.plain import duration, of_chance
from studio.runs.state import State, standing
from studio.training import checkpoints
from studio.training.launch import await_end
from studio.training.queue import ensure_dispatcher, served

LOOK_SECONDS = 0.5
"""How often new events are looked for."""
OVER = (State.DONE, State.STOPPED, State.FAILED, State.LOST)
_CONSOLE_LINES = 15
_QUEUE_SECONDS = 5.0


class Ending(NamedTuple):
    """How the watching of a run ended. `interrupted`: by the person; the run goes on."""

    folder: RunFolder
    state: State
    why: str
    interrupted: bool = False

    @property
    def well(self) -> bool:
        """Whether the run did what it was to do."""
        return self.state is State.DONE

    def report(self) -> dict[str, Any]:
        """The JSON document."""
        try:
            result = json.loads(self.folder.result.read_text("utf-8")) if self.well else {}
        except (OSError, ValueError):
            result = {}
        return {
            "run": self.folder.name,
            "folder": str(self.folder.root),
            "state": self.state.value,
            "why": self.why,
            "model": str(self.folder.model) if self.folder.model.exists() else None,
            "verdict": result.get("verdict"),
            **({"smoke": result["smoke"]} if result.get("smoke") else {}),
        }


def follow(folder: RunFolder, *, quiet: bool = False, after: int = 0) -> Ending:
    """Print what happens in a run until it ends, or until the person interrupts the watching.

    Args:
        folder: a run that was started or waits in the queue.
        quiet: print nothing.
        after: events up to this number are not printed: they were there before.
    """
    watch = _Watch(folder, quiet, after)
    try:
        while (state := watch.look()) not in OVER:
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return Ending(folder, watch.now.state, "", interrupted=True)
    # Whoever starts another run next finds the device free.
    await_end(folder)
    why = watch.now.why
    if not quiet and state in (State.FAILED, State.LOST):
        _tell_failure(folder, state, why)
    return Ending(folder, state, why)


class _Watch:
    """One viewer's reading of a run."""

    def __init__(self, folder: RunFolder, quiet: bool, after: int) -> None:
        self.folder = folder
        self.now = standing(folder)
        self._quiet, self._after = quiet, after
        self._follower = Follower(folder)
        self._served_at = 0.0
        self._told_queue = False

    def look(self) -> State:
        """Print what is new; return the state."""
        # First the state, then the events: what was written before the end is read after the end was seen.
        self.now = standing(self.folder, self._follower.history)
        for event in self._follower.read():
            if event.seq > self._after and not self._quiet:
                for line in lines_of(event, self._follower.history):
                    emit(line)
        sys.stdout.flush()
        if self.now.state is State.QUEUED:
            self._see_to_queue()
        return self.now.state

    def _see_to_queue(self) -> None:
        if not (self._told_queue or self._quiet):
            say(f"run `{self.folder.name}` waits in the queue")
            self._told_queue = True
        if time.monotonic() - self._served_at > _QUEUE_SECONDS:
            self._served_at = time.monotonic()
            if not served(self.folder.project):
                ensure_dispatcher(self.folder.project)


def lines_of(event: Event, history: History) -> list[str]:
    """An event in words; none for those that only a screen shows."""
    said, step = event.fields, event.step
    match event.type:
        case "started":
            where = f", from step {said['resumed_from']:,}" if said.get("resumed_from") is not None else ""
            return [f"started: attempt {said.get('attempt')}, process {said.get('pid')}{where}"]
        case "plan":
            return [
                f"plan: {_count(said.get('rows'))} rows, {_count(said.get('max_steps'))} steps of "
                f"{_count(said.get('effective_batch'))} rows, {_count(said.get('negatives'))} negatives a query"
            ]
        case "phase":
            return [f"phase: {said.get('phase')}"] if event.seq in history.new_phases else []
        case "train":
            return [_train(step, said, history)]
        case "evaluation":
            best = "  best so far" if said.get("best") and not _below(said.get("score"), history.baseline) else ""
            when = f"  ({said.get('when')})"
            return [f"step {step:,}  {said.get('main')} {_figure(said.get('score'), '.4f')}{best}{when}"]
        case "checkpoint":
            return [f"step {step:,}  saved {said.get('path')}"]
        case "alert":
            remedies = [f"  do: {remedy}" for remedy in said.get("remedies") or ()]
            return [f"{said.get('level')}: {said.get('message')}", *remedies]
        case "request":
            return [f"request: {said.get('request')}"]
        case "note":
            return [str(said.get("message"))]
        case "verdict":
            return [line for line in (str(said.get("line")), of_chance(said)) if line]
        case "ended":
            reason = f": {said['reason']}" if said.get("reason") else ""
            return [f"{said.get('state')} after {_for(said.get('seconds'))}{reason}"]
        case _:
            return []


def _train(step: int, said: dict[str, Any], history: History) -> str:
    plan = history.plan.fields if history.plan else {}
    parts = [f"step {step:,} of {_count(plan.get('max_steps'))}", f"loss {_figure(said.get('loss'), '.4f')}"]
    parts.append(f"lr {_figure(said.get('lr'), '.2e')}")
    for name, form in (("grad_norm", ".2f"), ("margin", ".3f"), ("samples_per_second", ",.0f")):
        if said.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} {_figure(said[name], form)}")
    if said.get("eta") is not None:
        parts.append(f"{_for(said['eta'])} left")
    return "  ".join(parts)


def _tell_failure(folder: RunFolder, state: State, why: str) -> None:
    say(f"run `{folder.name}` is {state.value}" + (f": {why}" if why else ""))
    try:
        lines = folder.console.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    if lines:
        say(f"the end of {folder.console}:")
        for line in lines[-_CONSOLE_LINES:]:
            say(f"  {line}")
    if state is State.LOST:
        where = f"{folder.name} --project {folder.project}"
        say(f"resumed, it {checkpoints.whence(folder.checkpoints)}: harrier-studio resume {where}")


def _below(score: Any, baseline: float | None) -> bool:
    return baseline is not None and isinstance(score, int | float) and score < baseline


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def _figure(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "not a number"


def _for(seconds: Any) -> str:
    return duration(seconds) if isinstance(seconds, int | float) else "?"
