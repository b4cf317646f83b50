"""What a worker tells: events for whoever watches, its heartbeat, and the same in words in its log."""

from __future__ import annotations

import logging
import time
from typing import Any

from studio.errors import StudioError
from studio.runs.events import EventWriter
from studio.runs.liveness import Heart
from studio.training.alerts import Alert

_PROGRESS_SECONDS = 1.0


class Teller:
    """Tells of one attempt of a run. Only the first process of several has a file of events and a heart.

    A disk that does not take an event never stops the work: the log says so once.

    Attributes:
        step: steps that are done.
        at: the phase.
        alerts: codes of the alerts so far.

    Args:
        logger: for the words.
        writer: the events; None: they are not this process's to tell.
        heart: the heartbeat; None: likewise.
    """

    def __init__(self, logger: logging.Logger, writer: EventWriter | None = None, heart: Heart | None = None) -> None:
        self.logger, self._writer, self._heart = logger, writer, heart
        self.step = 0
        self.at = ""
        self.alerts: list[str] = []
        self._next_progress = 0.0
        self._failing = False

    def event(self, type: str, **fields: Any) -> None:
        """Append an event at the current step."""
        if self._writer is None:
            return
        try:
            self._writer.write(type, self.step, **fields)
            self._failing = False
        except (OSError, StudioError) as error:
            if not self._failing:
                self.logger.error("an event could not be written: %s", error)
            self._failing = True

    def now(self, step: int) -> None:
        """Say how many steps are done."""
        self.step = step
        if self._heart is not None:
            self._heart.at(self.at, step)

    def phase(self, phase: str) -> None:
        """Say what begins: data, model, baseline, train, evaluate, save, final."""
        if phase == self.at:
            return
        self.at = phase
        self._next_progress = 0.0
        self.now(self.step)
        self.event("phase", phase=phase)
        if phase != "train":
            self.logger.info("%s%s", phase, f" at step {self.step}" if self.step else "")

    def progress(self, phase: str, done: int, total: int | None) -> None:
        """Say how far a phase is; once a second at most, but for the end."""
        now = time.monotonic()
        if now < self._next_progress and done != total:
            return
        self._next_progress = now + _PROGRESS_SECONDS
        self.event("progress", phase=phase, done=done, total=total)

    def alert(self, alert: Alert) -> None:
        """Raise an alert."""
        self.alerts.append(alert.code)
        if self._writer is None:
            return
        self.event("alert", code=alert.code, level=alert.level, message=alert.message, remedies=list(alert.remedies))
        words = [alert.message, *(f"  try: {remedy}" for remedy in alert.remedies)]
        self.logger.log(logging.ERROR if alert.level == "error" else logging.WARNING, "\n".join(words))

    def note(self, message: str) -> None:
        """Say something that a person should know."""
        self.event("note", message=message)
        self.logger.info("%s", message)
