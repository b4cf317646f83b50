"""The engine process: `python -m studio.engine.server`, started by `studio.engine.client` and by nothing else.

The main thread reads requests; one thread answers asks, another does jobs. The process ends the moment the other
end of its pipe closes, whatever it is doing: all writing of the engine is whole or not there.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from studio.engine.asks import Context, Desk, answer
from studio.engine.jobs import work
from studio.engine.protocol import (
    Answered,
    Cancel,
    Lane,
    Progressed,
    Replaced,
    Request,
    Told,
    encoded,
    failed,
    read_message,
)
from studio.errors import Cancelled

_SECONDS_BETWEEN = 0.1
"""Between two progress messages of one step, at least."""
_MEMORY_SECONDS = 5.0
"""How far back a pace looks: what lies this long ago counts a third."""
_SURE_SECONDS = 0.5
"""How long a step must have been watched before its pace says anything."""
_NICENESS = 10
_REST_SECONDS = 0.5
"""How long nothing was asked before the engine does something of its own accord."""


class Pace:
    """How long one step still takes, from the units and seconds between its reports, old ones fading."""

    def __init__(self, now: float, done: int) -> None:
        self._at, self._done = now, done
        self._units = self._seconds = 0.0

    def seconds_left(self, now: float, done: int, total: int | None) -> float | None:
        """Take a report in; return the seconds left, None while that cannot be told."""
        passed = now - self._at
        fade = math.exp(-passed / _MEMORY_SECONDS)
        self._units = self._units * fade + (done - self._done)
        self._seconds = self._seconds * fade + passed
        self._at, self._done = now, done
        if total is None or self._units <= 0 or self._seconds < _SURE_SECONDS:
            return None
        return max(0, total - done) * self._seconds / self._units


class Reporter:
    """The progress callback of one job: tells the client ten times a second at most, and stops a cancelled job.

    The first and the last report of a step are always told.
    """

    def __init__(self, tell: Callable[[Progressed], None], cancelled: threading.Event) -> None:
        self._tell = tell
        self._cancelled = cancelled
        self._step: str | None = None
        self._done = 0
        self._told_at = 0.0
        self._untold: Progressed | None = None
        self._pace = Pace(0.0, 0)

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """See `studio.progress.Progress`.

        Raises:
            Cancelled: the person cancelled the job.
        """
        if self._cancelled.is_set():
            raise Cancelled
        now = time.monotonic()
        # The same step counted anew from the start is another step.
        first = step != self._step or done < self._done
        if first:
            self.finish()
            self._pace = Pace(now, done)
        self._step, self._done = step, done
        self._untold = Progressed(step, done, total, self._pace.seconds_left(now, done, total))
        if first or done == total or now - self._told_at >= _SECONDS_BETWEEN:
            self._told_at = now
            self.finish()

    def finish(self) -> None:
        """Tell the last report if it was held back."""
        if self._untold:
            self._tell(self._untold)
            self._untold = None


class Queue:
    """Requests of one lane that have not begun, and the thread that takes them in order.

    `rest` is called whenever nothing was to be done for a while after something was.
    """

    def __init__(self, name: str, do: Callable[[Request], None], rest: Callable[[], None] = lambda: None) -> None:
        self._do, self._rest = do, rest
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def add(self, request: Request) -> None:
        """Put a request at the end."""
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def take_out(self, wanted: Callable[[Request], bool]) -> list[Request]:
        """Remove and return the requests that are wanted and have not begun."""
        with self._changed:
            found = [request for request in self._waiting if wanted(request)]
            for request in found:
                self._waiting.remove(request)
        return found

    def _run(self) -> None:
        rested = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting, None if rested else _REST_SECONDS)
                request = self._waiting.popleft() if self._waiting else None
            rested = request is None
            try:
                if request is None:
                    self._rest()
                else:
                    self._do(request)
            except BaseException:  # a lane that stands still would leave the client waiting for ever
                traceback.print_exc()
                os._exit(1)


class Server:
    """Serves one client: reads requests from `source`, writes what comes of them to `sink`."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._sending = threading.Lock()
        self._desk = Desk()
        self._asks = Queue("asks", self._answer, self._rest)
        self._jobs = Queue("jobs", self._work)
        self._cancelled: dict[int, threading.Event] = {}
        """By id, for every job that has not ended."""

    def serve(self) -> None:
        """Read and hand on requests until the client is gone."""
        while (message := read_message(self._source)) is not None:
            match message:
                case Request(lane=Lane.ASK):
                    self._take_slot(message.slot)
                    self._asks.add(message)
                case Request():
                    self._cancelled[message.id] = threading.Event()
                    self._jobs.add(message)
                case Cancel(id=id_):
                    self._cancel(id_)

    def _take_slot(self, slot: str | None) -> None:
        if slot is not None:
            for old in self._asks.take_out(lambda request: request.slot == slot):
                self._send(encoded(Replaced(old.id)))

    def _cancel(self, id_: int) -> None:
        if event := self._cancelled.get(id_):
            event.set()
        for request in self._jobs.take_out(lambda request: request.id == id_):
            del self._cancelled[id_]
            self._send(encoded(failed(request.id, Cancelled())))

    def _answer(self, request: Request) -> None:
        self._finish(request, lambda: answer(Context(self._desk, request.root), request.name, request.arguments))

    def _rest(self) -> None:
        give_way()
        self._desk.rest()

    def _work(self, request: Request) -> None:
        give_way()

        def tell(progressed: Progressed) -> None:
            self._send(encoded(Told(request.id, progressed)))

        reporter = Reporter(tell, self._cancelled[request.id])

        def do() -> object:
            value = work(Context(self._desk, request.root), reporter, request.name, request.arguments)
            reporter.finish()
            return value

        self._finish(request, do)
        del self._cancelled[request.id]

    def _finish(self, request: Request, do: Callable[[], object]) -> None:
        """Do what was asked and send what comes of it, whatever that is."""
        try:
            message = encoded(Answered(request.id, do()))
        except BaseException as error:  # polars' panics are no Exceptions, and a lane must outlive them
            if os.environ.get("HARRIER_STUDIO_DEBUG"):
                traceback.print_exc()
            message = encoded(failed(request.id, error))
        self._send(message)

    def _send(self, message: bytes) -> None:
        with self._sending:
            try:
                self._sink.write(message)
                self._sink.flush()
            except BrokenPipeError:
                os._exit(0)


def give_way() -> None:
    """Let the interface go first from now on. Until it has its first answers, it is the one that waits for us."""
    if not hasattr(os, "setpriority"):
        return
    with suppress(OSError):
        # Linux counts niceness by thread, and a new thread has that of the one that starts it.
        tasks = Path("/proc/self/task")
        for thread in [int(task.name) for task in tasks.iterdir()] if tasks.exists() else [0]:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
        # Where Linux groups processes by session, niceness counts inside a session only, and ours is our own.
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


def main() -> None:
    """Serve the client at the other end of stdin and stdout until it is gone, then end at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = _own_streams()
    try:
        Server(source, sink).serve()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for the messages alone: what a library prints goes to stderr, what it reads is empty."""
    sys.stdout.flush()
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


if __name__ == "__main__":
    main()
