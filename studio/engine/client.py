"""The interface's hold on its engine: start it, ask it, give it jobs, and never be without one."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

from platformdirs import user_cache_path

from studio.engine.protocol import (
    Answered,
    Cancel,
    EngineFault,
    Failed,
    Lane,
    Progressed,
    Replaced,
    Request,
    Told,
    encoded,
    read_message,
)
from studio.errors import Cancelled

__all__ = ["Engine", "EngineFault", "Job", "OnProgress", "Progressed", "log_path"]

OnProgress = Callable[[Progressed], None]

_LOG_BYTES = 1_000_000
_log = logging.getLogger(__name__)


def log_path() -> Path:
    """The file that takes whatever engines print."""
    return user_cache_path("harrier-studio") / "engine.log"


def unwatched(progressed: Progressed) -> None:
    """The progress callback of callers that do not watch."""


class Job:
    """Long work that was given to the engine.

    Attributes:
        name: which job.
        future: what the job returns or raises: a StudioError as the engine raised it, `Cancelled` when it was
            cancelled, `EngineFault` when the engine failed. Its callbacks run on a thread of the engine's client.
            It is cancelled through `cancel`, not through the future's own method.
    """

    def __init__(self, name: str, future: Future[Any], cancel: Callable[[], None]) -> None:
        self.name, self.future, self._cancel = name, future, cancel

    def cancel(self) -> None:
        """Ask for the end of the job; its future then raises `Cancelled`, unless the job ends before it hears.

        A job that does not listen within the engine's `cancel_grace` is ended with the process, which is started
        again. Returns at once.
        """
        self._cancel()


class Engine:
    """A process beside this one that answers asks and does jobs. Safe to use from several threads.

    A process that died is started again, with the same project open, by the next `ask` or `run`. Futures' callbacks
    and progress callbacks are called on the thread that reads from the engine: they must be short, and must hand
    over to a thread of their own what touches a screen.
    """

    def __init__(self, *, cancel_grace: float = 10.0) -> None:
        """Prepare an engine without starting its process; see `start`."""
        self._root: Path | None = None
        self._cancel_grace = cancel_grace
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._connection: _Connection | None = None
        self._closed = False
        self.opened: Future[dict[str, Any]] | None = None
        """What `open` said of the project (`name`, `rows`, `snapshot`), or its error; None when there is no project."""

    @classmethod
    def start(cls, root: Path | None = None, *, cancel_grace: float = 10.0) -> Engine:
        """Start an engine; return at once.

        Args:
            root: the project to open, if there is one already; `opened` tells how that went.
            cancel_grace: seconds that a cancelled job may go on before its process is killed.
        """
        engine = cls(cancel_grace=cancel_grace)
        with engine._lock:
            engine._connected()
        if root:
            engine.open(root)
        return engine

    def open(self, root: Path) -> Future[dict[str, Any]]:
        """Make another project the one that asks and jobs from now on are about; return what `opened` is then.

        Of a project that is open already, settings and evidence are read anew.

        Raises:
            EngineFault: the engine was closed, or no process can be started.
        """
        self._root = root.absolute()
        self.opened = self.ask("open")
        return self.opened

    def ask(self, name: str, /, *, slot: str | None = None, **arguments: Any) -> Future[Any]:
        """Ask something; return the answer's future at once.

        Args:
            name: which ask, a key of `studio.engine.asks.ASKS`.
            slot: a newer ask with the same slot replaces this one if it has not begun; its future is then cancelled.
            arguments: the named arguments of the ask.

        The future raises a StudioError as the engine raised it, or `EngineFault` when the engine failed. Its
        callbacks run on the thread that reads from the engine.

        Raises:
            EngineFault: the engine was closed, or no process can be started.
        """
        pending = _Pending(self._request(Lane.ASK, name, arguments, slot), Future())
        self._submit(pending)
        return pending.future

    def run(self, name: str, /, *, on_progress: OnProgress = unwatched, **arguments: Any) -> Job:
        """Give the engine a job; it begins when those before it have ended. Returns at once.

        Args:
            name: which job, a key of `studio.engine.jobs.JOBS`.
            on_progress: called on the thread that reads from the engine, ten times a second and step at most.
            arguments: the named arguments of the job.

        Raises:
            EngineFault: the engine was closed, or no process can be started.
        """
        pending = _Pending(self._request(Lane.JOB, name, arguments), Future(), on_progress)
        # From here on the future's own `cancel` does nothing: it would let go of a job that still runs.
        pending.future.set_running_or_notify_cancel()
        self._submit(pending)
        return Job(name, pending.future, lambda: self._cancel(pending))

    @property
    def pending_jobs(self) -> tuple[str, ...]:
        """The names of the jobs that have not ended; the first one is running."""
        with self._lock:
            return tuple(p.request.name for p in self._pending.values() if p.request.lane is Lane.JOB)

    @property
    def alive(self) -> bool:
        """Whether there is a process. Without one, the next `ask` or `run` starts one, unless the engine was closed."""
        return self._connection is not None

    @property
    def pid(self) -> int | None:
        """The id of the process, None when there is none."""
        connection = self._connection
        return connection.pid if connection else None

    def close(self, grace: float = 2.0) -> None:
        """End the process: let it end by itself for `grace` seconds, then kill it and whatever it started.

        Asks without an answer are cancelled; jobs that have not ended raise `Cancelled`. Doing it twice is harmless.
        """
        with self._lock:
            self._closed = True
            connection, pending = self._let_go()
        for each in pending:
            each.give_up()
        if connection:
            connection.close(grace)

    def _request(self, lane: Lane, name: str, arguments: dict[str, Any], slot: str | None = None) -> Request:
        return Request(next(self._ids), lane, name, arguments, self._root, slot)

    def _submit(self, pending: _Pending) -> None:
        message = encoded(pending.request)
        with self._lock:
            connection = self._connected()
            self._pending[pending.request.id] = pending
            connection.send(message)

    def _connected(self) -> _Connection:
        """The connection to the process, started if there is none; the caller holds the lock."""
        if self._closed:
            raise EngineFault("The engine was closed.", remedy="start the program again")
        if self._connection is None:
            try:
                self._connection = _Connection(self._received, self._ended)
            except OSError as error:
                raise EngineFault(
                    "The engine process cannot be started.",
                    why=error.strerror,
                    remedy="close other programs, try again",
                ) from error
        return self._connection

    def _let_go(self) -> tuple[_Connection | None, list[_Pending]]:
        """Forget the process and what it was to answer; return both. The caller holds the lock."""
        connection, pending = self._connection, list(self._pending.values())
        self._connection = None
        self._pending.clear()
        return connection, pending

    def _received(self, connection: _Connection, message: object) -> None:
        with self._lock:
            if connection is not self._connection:
                return
            id_ = getattr(message, "id", 0)
            pending = self._pending.get(id_) if isinstance(message, Told) else self._pending.pop(id_, None)
        if pending is None:
            return
        match message:
            case Told(progressed=progressed):
                pending.tell(progressed)
            case Answered(value=value):
                pending.settle(value)
            case Failed():
                pending.settle(error=message.error())
            case Replaced():
                pending.give_up()

    def _ended(self, connection: _Connection) -> None:
        """The process ended, and nobody here wanted that."""
        with self._lock:
            if connection is not self._connection:
                return
            _, pending = self._let_go()
        connection.kill()
        remedy = f"try again, it is started anew; if it ends again, close other programs and see {log_path()}"
        for each in pending:
            each.settle(error=EngineFault("The engine process ended unexpectedly.", remedy=remedy))

    def _cancel(self, pending: _Pending) -> None:
        with self._lock:
            if self._pending.get(pending.request.id) is not pending or self._connection is None or pending.cancelled:
                return
            pending.cancelled = True
            self._connection.send(encoded(Cancel(pending.request.id)))
        timer = threading.Timer(self._cancel_grace, self._restart_without, [pending])
        timer.daemon = True
        timer.start()
        pending.future.add_done_callback(lambda _: timer.cancel())

    def _restart_without(self, cancelled: _Pending) -> None:
        """End a job that does not listen together with its process; a new one takes up everything else."""
        with self._lock:
            if self._pending.get(cancelled.request.id) is not cancelled:
                return
            connection, left = self._let_go()
        # The project's lock is the old process's until it is dead.
        if connection:
            connection.kill()
        for each in left:
            # A job that was cancelled too must not begin again.
            if each.cancelled:
                each.give_up()
                continue
            try:
                self._submit(each)
            except EngineFault as fault:
                each.settle(error=fault)


@dataclass(eq=False)
class _Pending:
    """A request that was not answered yet."""

    request: Request
    future: Future[Any]
    on_progress: OnProgress = unwatched
    cancelled: bool = False

    def tell(self, progressed: Progressed) -> None:
        try:
            self.on_progress(progressed)
        except Exception:  # the thread that reads must outlive whatever a callback does
            _log.exception("a progress callback of the job %s failed", self.request.name)

    def settle(self, value: Any = None, *, error: BaseException | None = None) -> None:
        if not (self.future.running() or self.future.set_running_or_notify_cancel()):
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    def give_up(self) -> None:
        if self.request.lane is Lane.JOB:
            self.future.set_exception(Cancelled())
        else:
            self.future.cancel()


class _Connection:
    """One process and the two threads that write to it and read from it; sending never waits for the process."""

    def __init__(self, received: Callable[[_Connection, object], None], ended: Callable[[_Connection], None]) -> None:
        self._received, self._on_end = received, ended
        with _log_file() as log:
            self._process = subprocess.Popen(
                # The very modules of this process: not those of the current folder, where a person's files may lie.
                [sys.executable, "-P", "-m", "studio.engine.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)},
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._silent = threading.Event()
        self._reaping = threading.Lock()
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"engine{work.__name__}", daemon=True).start()

    def send(self, message: bytes) -> None:
        """Put a message on its way."""
        self._outbox.put(message)

    def close(self, grace: float) -> None:
        """Close the process's stdin, which ends it; kill it after `grace` seconds."""
        self._outbox.put(None)
        self._silent.wait(grace)
        self.kill()

    def kill(self) -> None:
        """Kill the process and all it started, if they are still there, and wait for its end."""
        self._outbox.put(None)
        with self._reaping:
            # Until it is waited for, its number cannot belong to another process.
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    _kill_group(self._process)
                self._process.wait()

    def _write(self) -> None:
        stream = cast(BinaryIO, self._process.stdin)
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                stream.write(message)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def _read(self) -> None:
        try:
            with cast(BinaryIO, self._process.stdout) as stream:
                while (message := read_message(stream)) is not None:
                    self._received(self, message)
        except Exception:
            _log.exception("the engine's messages cannot be read")
        finally:
            self._silent.set()
            self._on_end(self)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


@contextlib.contextmanager
def _log_file() -> Iterator[BinaryIO | int]:
    """The log to append to, emptied when it has grown large; nothing where none can be written."""
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab")
        if stream.tell() > _LOG_BYTES:
            stream.truncate(0)
    except OSError:
        yield subprocess.DEVNULL
        return
    with stream:
        yield stream
