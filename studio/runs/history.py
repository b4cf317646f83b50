"""What the events of a run add up to: curves, evaluations, checkpoints, alerts, and what it is at."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from studio.runs.events import Event, EventReader
from studio.runs.folder import RunFolder

_REMEMBERED = 60
_NAN_CODES = ("nan", "diverged")


class Series(NamedTuple):
    """A curve: `values[i]` was measured at `steps[i]`, steps rising. A value that is missing has no point."""

    steps: list[int]
    values: list[float]


class History:
    """Events, folded as they come.

    On `started` with `resumed_from` N, whatever a killed attempt had measured after step N leaves: the resumed attempt
    measures it again, and the curves join. Events that begin anew with lower numbers are another history (the run was
    made anew): the earlier one is forgotten.

    Attributes:
        series: curves of the training log, by name of the field (`loss`, `ema`, `lr`, `grad_norm`, …).
        latest: the fields of the last training log line, nulls included; after a resume, where the curves go on.
        evaluations: `evaluation` events in order of steps.
        checkpoints: `checkpoint` events in order of steps.
        alerts: `alert` events, those of earlier attempts included.
        notes: `note` events.
        devices: the last `devices` event.
        utilisation: the last 60 shares of each device by its index, as they were told.
        plan: the last `plan` event.
        phase: what the run is at, or was at last.
        new_phases: numbers of the `phase` events that an attempt came to for the first time; that it evaluates, saves
            and goes on to train again and again is told by other events.
        progress: how far the phase is; None: nothing was told of it.
        verdict: the `verdict` event, if the attempt came to one.
        started: the `started` event of the latest attempt.
        ended: the `ended` event of the latest attempt; None while it goes on, or if it ended without a last word.
        attempts: the number of the latest attempt; 0: none began.
        requests: what was asked of this attempt → `seen` or `done`.
        step: steps that are done.
        diverged: the step at which the loss was no number any more; None: it is one.
        seq: number of the last event.
        time: when that was, in seconds since 1970.
        damaged: lines that could not be read (`read_history` and `Follower` set it).
    """

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.latest: dict[str, Any] = {}
        self.evaluations: list[Event] = []
        self.checkpoints: list[Event] = []
        self.alerts: list[Event] = []
        self.notes: list[Event] = []
        self.devices: Event | None = None
        self.utilisation: dict[int, deque[float]] = {}
        self.plan: Event | None = None
        self.phase = ""
        self.new_phases: list[int] = []
        self.progress: Event | None = None
        self.verdict: Event | None = None
        self.started: Event | None = None
        self.ended: Event | None = None
        self.attempts = 0
        self.requests: dict[str, str] = {}
        self.step = 0
        self.diverged: int | None = None
        self.seq = 0
        self.time: float | None = None
        self.damaged = 0
        self._earlier = 0.0
        self._met: set[str] = set()

    def update(self, events: Iterable[Event]) -> None:
        """Fold more events, in their order."""
        for event in events:
            if event.seq <= self.seq:
                vars(self).update(vars(History()))
            if event.type == "started":
                self._start(event)
            else:
                self._fold(event)
            self.seq, self.time = event.seq, event.time

    @property
    def seconds(self) -> float:
        """How long the attempts worked, together, until the last event."""
        current = self.time - self.started.time if self.time is not None and self.started else 0.0
        return self._earlier + max(current, 0.0)

    @property
    def main(self) -> str:
        """Name of the metric that decides; empty while nothing was evaluated."""
        return str(self.evaluations[-1].fields.get("main") or "") if self.evaluations else ""

    @property
    def baseline(self) -> float | None:
        """The score before training."""
        return next(
            (number(event.fields.get("score")) for event in self.evaluations if event.fields.get("when") == "baseline"),
            None,
        )

    @property
    def best_checkpoint(self) -> int | None:
        """Step of the checkpoint that is the best so far: those that were it before are none any more."""
        return next((event.step for event in reversed(self.checkpoints) if event.fields.get("best") is True), None)

    @property
    def best(self) -> Event | None:
        """The evaluation while training with the highest score; the first of equals.

        The final one is of weights that were chosen by then: it stands at the last step and measures another's.
        """
        scored = [event for event in self.scored() if event.fields.get("when") not in ("baseline", "final")]
        return max(scored, key=lambda event: event.fields["score"], default=None)

    @property
    def score(self) -> float | None:
        """What the run is worth so far: the verdict's score, else the best one, else the baseline."""
        decided = number(self.verdict.fields.get("score")) if self.verdict else None
        if decided is not None:
            return decided
        return float(self.best.fields["score"]) if self.best else self.baseline

    def scored(self) -> list[Event]:
        """The evaluations that have a score, in order of steps."""
        return [event for event in self.evaluations if number(event.fields.get("score")) is not None]

    def _start(self, event: Event) -> None:
        if self.time is not None and self.started is not None:
            self._earlier += max(self.time - self.started.time, 0.0)
        attempt = event.fields.get("attempt")
        self.attempts = attempt if isinstance(attempt, int) and attempt > self.attempts else self.attempts + 1
        resumed = number(event.fields.get("resumed_from"))
        self._forget_after(-1 if resumed is None else int(resumed))
        self.started, self.ended, self.verdict, self.progress = event, None, None, None
        self.requests, self.phase, self._met = {}, "", set()
        self.step = event.step

    def _forget_after(self, step: int) -> None:
        for curve in self.series.values():
            keep = bisect_right(curve.steps, step)
            del curve.steps[keep:], curve.values[keep:]
        self.latest = {name: curve.values[-1] for name, curve in self.series.items() if curve.values}
        self.evaluations = [event for event in self.evaluations if event.step <= step]
        self.checkpoints = [event for event in self.checkpoints if event.step <= step]
        if self.diverged is not None and self.diverged > step:
            self.diverged = None

    def _fold(self, event: Event) -> None:
        fields = event.fields
        self.step = max(self.step, event.step)
        match event.type:
            case "train":
                self._log(event)
            case "evaluation":
                _insert(self.evaluations, event, str(fields.get("when")))
            case "checkpoint":
                _insert(self.checkpoints, event, "")
            case "alert":
                self.alerts.append(event)
                if fields.get("code") in _NAN_CODES:
                    self._diverge(event.step)
            case "note":
                self.notes.append(event)
            case "devices":
                self.devices = event
                self._use(event)
            case "plan":
                self.plan = event
            case "phase":
                self.phase, self.progress = str(fields.get("phase") or ""), None
                if self.phase not in self._met:
                    self._met.add(self.phase)
                    self.new_phases.append(event.seq)
            case "progress":
                self.phase, self.progress = str(fields.get("phase") or self.phase), event
            case "request":
                self.requests[str(fields.get("request"))] = "done" if fields.get("done") else "seen"
            case "verdict":
                self.verdict = event
            case "ended":
                self.ended = event

    def _log(self, event: Event) -> None:
        self.latest = event.fields
        for name, value in event.fields.items():
            known = number(value)
            if known is not None:
                _point(self.series.setdefault(name, Series([], [])), event.step, known)
        # Null is what a number that is none is written as; a field that is left out says nothing.
        if "loss" in event.fields and number(event.fields["loss"]) is None:
            self._diverge(event.step)

    def _diverge(self, step: int) -> None:
        if self.diverged is None:
            self.diverged = step

    def _use(self, event: Event) -> None:
        devices = event.fields.get("devices")
        for device in devices if isinstance(devices, list) else []:
            if not isinstance(device, dict):
                continue
            share, index = number(device.get("utilisation")), device.get("index")
            if share is not None and isinstance(index, int):
                self.utilisation.setdefault(index, deque(maxlen=_REMEMBERED)).append(share)


class Follower:
    """One run as it goes on: its events as they come, and the history they add up to."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.history = History()
        self._reader = EventReader(folder.events)

    def read(self) -> list[Event]:
        """The events since the last call; the history has them too."""
        events = self._reader.read()
        self.history.update(events)
        self.history.damaged = self._reader.damaged
        return events

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


def read_history(folder: RunFolder) -> History:
    """The whole history of a run so far; an empty one where nothing happened yet."""
    follower = Follower(folder)
    follower.read()
    follower.close()
    return follower.history


def number(value: Any) -> float | None:
    """A value as a number; None if it is none, not a number (NaN) or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _point(curve: Series, step: int, value: float) -> None:
    """Add a point; a later value of the same step replaces the earlier."""
    if curve.steps and curve.steps[-1] >= step:
        place = bisect_right(curve.steps, step)
        if curve.steps[place - 1] == step and place:
            curve.values[place - 1] = value
        else:
            curve.steps.insert(place, step)
            curve.values.insert(place, value)
    else:
        curve.steps.append(step)
        curve.values.append(value)


def _insert(events: list[Event], event: Event, kind: str) -> None:
    """Add an event in order of steps; a later one of the same step and kind replaces the earlier."""
    for place in range(len(events) - 1, -1, -1):
        other = events[place]
        if other.step == event.step and str(other.fields.get("when", "")) == kind:
            events[place] = event
            return
        if other.step < event.step:
            break
    events.insert(bisect_right(events, event.step, key=lambda other: other.step), event)
