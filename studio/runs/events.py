"""The events of a run: one JSON object a line, numbered, appended by one writer, read by any number of viewers."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from studio.files import explained
from studio.runs.tailing import Tail, elsewhere

EVENT_TYPES: dict[str, str] = {
    "started": "a worker began: attempt (from 1), pid, process_start, host, devices, world_size, resumed_from (step or "
    "null), versions",
    "plan": "what training will do: max_steps, epochs, batch, effective_batch, negatives, rows, batches, left_over, "
    "parameters, trainable",
    "phase": "what it is at: phase (data, model, baseline, train, evaluate, save, final)",
    "progress": "how far a phase is: phase, done, total (or null)",
    "train": "one log line: epoch, loss, ema, lr, grad_norm, clipped, pos, neg, margin, accuracy, samples_per_second, "
    "tokens_per_second, data_wait, padding (shares of 1), eta (seconds)",
    "evaluation": "when (baseline, training, requested, final), metrics (name → value), main (name), score, best, "
    "queries, seconds",
    "checkpoint": "path (in the run's folder), bytes, best, requested, seconds",
    "devices": "devices (list of index, name, utilisation, memory_used, memory_total, temperature, power), peak, "
    "reserved, rss, disk_free (bytes)",
    "alert": "code, level (warning, error), message, remedies (list, best first)",
    "request": "request (stop, save, evaluate), seen or done",
    "note": "message",
    "verdict": "verdict, score, baseline, delta, low, high, p, n, minimal, line",
    "ended": "state (done, stopped, failed), reason, seconds",
}
"""Every type and its fields; each event also has `seq` (from 1), `time` (seconds since 1970), `step`, `type`."""


class Event(NamedTuple):
    """One event. `fields`: what EVENT_TYPES says of its type; a field that is not known is left out or null."""

    seq: int
    time: float
    step: int
    type: str
    fields: dict[str, Any]


class EventWriter:
    """Appends events; there is one for a run at a time. Several threads of it may write.

    Opening it ends a line that a killed writer left torn and goes on with the next number. A file that is moved away
    while it is open (rotated) is begun anew under its name; numbering goes on.

    Raises:
        UnavailableError: the place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(path)
            if not _ends_a_line(self._file):
                os.write(self._file, b"\n")
        reader = EventReader(path)
        self._seq = max((event.seq for event in reader.read()), default=0)
        reader.close()

    def write(self, type: str, step: int, **fields: Any) -> Event:
        """Append an event; it is in the file, whole, when this returns. Not a number and infinity become null.

        Args:
            type: one of EVENT_TYPES.
            step: steps of the optimiser that are done.
            **fields: what EVENT_TYPES says of the type. Scalars of numpy and torch are numbers too.

        Raises:
            UnavailableError: the disk is full; what was written of the event is passed over by readers, and the next
                event can be written as soon as there is space.
        """
        if type not in EVENT_TYPES:
            raise ValueError(f"{type!r} is no type of event")
        with self._lock:
            said = {name: _plain(value) for name, value in fields.items()}
            event = Event(self._seq + 1, time.time(), int(step), type, said)
            record = {"seq": event.seq, "time": event.time, "step": event.step, "type": type, **said}
            # ASCII only: no text can break a line, or steer the terminal that a person reads the file on.
            line = json.dumps(record, allow_nan=False).encode("ascii") + b"\n"
            # The number is used up even if the disk is full: the line may be there but for its end.
            self._seq = event.seq
            with explained(self._path):
                if elsewhere(self._file, self._path):
                    os.close(self._file)
                    self._file = _opened(self._path)
                if not _ends_a_line(self._file):
                    line = b"\n" + line
                # One call appends the whole line. Where there was no room for all of it, the next one says why.
                while line := line[os.write(self._file, line) :]:
                    pass
            return event

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


class EventReader:
    """Reads what is new in a file of events, however it came there.

    Only whole lines are taken: a torn last line is read once it is whole. A file that was cut or replaced is read
    from its beginning, and events that were read before (by number) are not told again; the rest of a file that was
    moved away is read first. A damaged line is counted in `damaged` and skipped. A file that is not there yet has no
    events.

    Where the name comes to hold another history (the run was made anew), that one is told from its first event.
    """

    damaged: int

    def __init__(self, path: Path) -> None:
        self.damaged = 0
        self._tail = Tail(path)
        self._first: tuple[int, float] | None = None
        self._seq = 0

    def read(self) -> list[Event]:
        """The events since the last call."""
        new = []
        for lines in self._tail.read():
            if lines.begins:
                self.damaged = 0
            parsed = [parse(line) for line in lines.data.split(b"\n") if line.strip()]
            events = [event for event in parsed if event is not None]
            self.damaged += len(parsed) - len(events)
            if lines.begins and events:
                self._recognise(events[0])
            for event in events:
                if event.seq > self._seq:
                    self._seq = event.seq
                    new.append(event)
        return new

    def close(self) -> None:
        """Let go of the file; another `read` opens it again."""
        self._tail.close()

    def _recognise(self, first: Event) -> None:
        """Forget what was read if the first event of the file has a number that was another event's."""
        if self._first is None or (first.seq <= self._first[0] and (first.seq, first.time) != self._first):
            self._first, self._seq = (first.seq, first.time), 0


def parse(line: bytes) -> Event | None:
    """The event that a line holds; None: the line is damaged."""
    try:
        record = json.loads(line, parse_constant=lambda name: None)
        seq, when, step, type = (record.pop(name) for name in ("seq", "time", "step", "type"))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    if not (_whole(seq) and seq >= 1 and _whole(step) and isinstance(type, str)):
        return None
    if isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when):
        return None
    return Event(seq, float(when), step, type, record)


def last_event(path: Path) -> Event | None:
    """The last event of a file, read from its end; None: there is none, or the end is damaged for a megabyte."""
    for size in (1 << 12, 1 << 16, 1 << 20):
        try:
            with path.open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
                lines = stream.read().split(b"\n")[:-1]
        except OSError:
            return None
        for line in reversed(lines):
            if (event := parse(line)) is not None:
                return event
    return None


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)


def _ends_a_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    return str(value)
