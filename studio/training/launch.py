"""Make a run and start its worker: a process in a session of its own, which outlives whoever started it."""

from __future__ import annotations

import fcntl
import json
import os
import site
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from filelock import FileLock

import studio
from studio.errors import UnavailableError, UsageError
from studio.files import atomic_directory, explained, scratch_directory, write_text
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.project.settings import write_settings
from studio.runs.control import Request, clear
from studio.runs.events import last_event
from studio.runs.folder import RunFolder, run_folder
from studio.runs.history import read_history
from studio.runs.liveness import LAUNCHED, ProcessId, this_process
from studio.runs.state import LIVE, QUEUED, State, leave_queue, standing
from studio.training.data import Prepared, prepare
from studio.training.devices import CPU, choose, environment
from studio.training.ejecting import command
from studio.training.provenance import about, frozen, latest_decision
from studio.training.spec import RunSpec

SMOKE = "smoke"
"""The run that a smoke test is; nothing else is called so."""
_LOCK = "worker.lock"
_START_LOCK = ".start.lock"
_LOOK_SECONDS = 0.05
_CLAIM_SECONDS = 1.0
"""How long a start waits for the lock: the dispatcher looks at it now and then, for an instant."""
_ENDING_SECONDS = 30.0
"""How long a process may take to end after the last word of its run: libraries let go of devices and memory."""

Approve = Callable[[RunSpec, Prepared], None]
"""Called with the frozen spec and its data before there is a run; raises to refuse it."""


class Started(NamedTuple):
    """The process of a worker that was started, and the devices it was given."""

    process: ProcessId
    devices: tuple[str, ...]


def create(
    project: Project,
    name: str,
    spec: RunSpec,
    *,
    progress: Progress = silent,
    argv: Sequence[str] = (),
    approve: Approve | None = None,
    replace: bool = False,
) -> RunFolder:
    """Make a run: freeze its spec, write its data, say where it comes from. Nothing is started.

    The folder appears whole or not at all.

    Args:
        project: whose rows train.
        name: what the run is called; there is none of that name yet.
        spec: what to do; prompts that it leaves open are the project's.
        progress: told of the data as they are read and written.
        argv: the command that asked for it, program first, for the record.
        approve: sees spec and data before the run is made, and raises to refuse it.
        replace: take the place of a run of that name which is not at work (as the smoke test does).

    Raises:
        UsageError: a run cannot be called that, or there is one.
        ConfigError: the data do not suit the spec.
        InputError: a file of the spec cannot be read.
        UnavailableError: the disk is full, or the model is out of reach.
    """
    folder = run_folder(project.root.resolve(), name)
    if name == SMOKE and not replace:
        raise UsageError(f"`{SMOKE}` is the name of smoke tests, each of which replaces the one before.")
    _refuse_name(folder, replace)
    decisions = latest_decision(project)
    whole = frozen(spec, project)
    place = atomic_directory if replace else _new_directory
    with place(folder.root) as scratch:
        beside = RunFolder(scratch)
        prepared = prepare(project, whole, beside.data, progress)
        if approve:
            approve(whole, prepared)
        write_text(beside.about, json.dumps(about(project, prepared, argv, decisions), ensure_ascii=False, indent=2))
        write_settings(beside.spec, whole)
        _refuse_name(folder, replace)
    return folder


class DevicesTakenError(UnavailableError):
    """The devices that a run wants are there, and others work on them now."""


def start(folder: RunFolder, resume: bool = False) -> Started:
    """Start the worker of a run and return at once; it goes on when this process ends or is killed.

    Args:
        folder: a run that is not at work.
        resume: go on from the last checkpoint; a run that never began is started.

    Raises:
        UsageError: the run is at work or done, or it has begun and `resume` is not set.
        DevicesTakenError: its devices are not free.
        UnavailableError: its devices are not there, or the process cannot be started.
    """
    _await_former(folder)
    with _claimed(folder) as lock, _alone(folder.project):
        history = read_history(folder)
        _refuse(folder, standing(folder, history).state)
        if history.attempts and not resume:
            raise UsageError(
                f"The run `{folder.name}` has begun already.",
                remedy=f"go on with it: harrier-studio resume {folder.name} --project {folder.project}",
            )
        devices = _devices_for(folder)
        for request in Request:
            clear(folder, request)
        process = _spawn(folder, resume and history.attempts > 0, devices, lock)
        said = {"time": time.time(), "attempt": history.attempts + 1, "devices": list(devices)}
        write_text(folder.root / LAUNCHED, json.dumps({**process._asdict(), **said}))
        leave_queue(folder)
    return Started(process, devices)


def enqueue(folder: RunFolder) -> None:
    """Let a run wait for its devices; the project's dispatcher then starts it, or goes on with one that has begun.

    Raises:
        UsageError: the run is at work, or done.
    """
    _await_former(folder)
    with _claimed(folder):
        _refuse(folder, standing(folder).state)
        write_text(folder.root / QUEUED, json.dumps({"time": time.time()}))


def at_work(folder: RunFolder) -> bool:
    """Whether a worker of this run is alive on this machine, or is being started: it holds the run's lock."""
    try:
        with _claimed(folder, wait=0):
            return False
    except UsageError:
        return True


def await_end(folder: RunFolder, seconds: float = _ENDING_SECONDS) -> bool:
    """Wait until the process of a run that said its last word has left its device and its memory; whether it has."""
    until = time.monotonic() + seconds
    while at_work(folder):
        if time.monotonic() >= until:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def detached(arguments: Sequence[str], console: Path, changes: dict[str, str], keep: Sequence[int] = ()) -> ProcessId:
    """Start a process in a session of its own, with nothing of ours but the descriptors in `keep`.

    It has no standard input, and all it prints is appended to `console`.

    Raises:
        UnavailableError: it cannot be started.
    """
    try:
        with console.open("ab") as out:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(keep),
                env=_environment(changes),
            )
    except OSError as error:
        raise UnavailableError("The process cannot be started.", where=arguments[0], why=str(error)) from error
    # Whoever starts it may live long: a process that ended and that nobody waited for would look alive.
    threading.Thread(target=process.wait, name=f"wait-{process.pid}", daemon=True).start()
    try:
        began = psutil.Process(process.pid).create_time()
    except psutil.Error:  # it has ended already
        began = time.time()
    return ProcessId(process.pid, began, this_process().host)


def _devices_for(folder: RunFolder) -> tuple[str, ...]:
    choice = choose(folder)
    # Two runs share a CPU, only slower; they do not share the memory of one GPU.
    if choice.waits_for and choice.devices != (CPU,):
        raise DevicesTakenError(
            f"The run `{folder.name}` has no device to start on.",
            why=choice.waits_for,
            remedy=f"let it wait: harrier-studio resume {folder.name} --project {folder.project} --queue",
        )
    return choice.devices


def _alone(project: Path) -> AbstractContextManager[Any]:
    """One start at a time in a project: two at once would choose the same device."""
    return FileLock(project / "runs" / _START_LOCK)


def _spawn(folder: RunFolder, resume: bool, devices: tuple[str, ...], lock: int) -> ProcessId:
    changes = {**environment(devices), "PYTHONUNBUFFERED": "1"}
    # The worker inherits the lock and holds it as long as it lives, whatever becomes of us.
    return detached(command(folder, resume), folder.console, changes, (lock,))


def _refuse_name(folder: RunFolder, replace: bool) -> None:
    if not folder.root.exists():
        return
    if not replace:
        raise UsageError(
            f"There is a run `{folder.name}` already.",
            where=str(folder.root),
            remedy=f"give this one another name, or go on with that one: harrier-studio resume {folder.name} "
            f"--project {folder.project}",
        )
    _await_former(folder)
    if at_work(folder):
        raise _busy(folder)


@contextmanager
def _new_directory(path: Path) -> Iterator[Path]:
    with scratch_directory(path) as beside:
        yield beside
        with explained(path):
            beside.rename(path)


@contextmanager
def _claimed(folder: RunFolder, wait: float = _CLAIM_SECONDS) -> Iterator[int]:
    """Hold the lock that says that a run is at work; a worker that inherits it goes on holding it.

    Args:
        folder: the run's.
        wait: seconds to try.

    Raises:
        UsageError: a worker, or another process that starts one, holds it.
    """
    with explained(folder.root / _LOCK):
        lock = os.open(folder.root / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        until = time.monotonic() + wait
        while not _locked(lock):
            if time.monotonic() >= until:
                raise _busy(folder)
            time.sleep(_LOOK_SECONDS)
        yield lock
    finally:
        # Not unlocked, only closed: unlocking would take the lock from the worker that shares it.
        os.close(lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _await_former(folder: RunFolder) -> None:
    """Give the process of an attempt that has said its last word the time to end."""
    newest = last_event(folder.events)
    if newest is not None and newest.type == "ended":
        await_end(folder)


def _refuse(folder: RunFolder, state: State) -> None:
    if state in LIVE:
        raise _busy(folder)
    if state is State.DONE:
        raise UsageError(
            f"The run `{folder.name}` is done.",
            remedy=f"make another one of its spec: harrier-studio train --project {folder.project} "
            f"--run {folder.name}-again --spec {folder.spec}",
        )


def _busy(folder: RunFolder) -> UsageError:
    return UsageError(
        f"The run `{folder.name}` is at work.",
        remedy=f"watch it: harrier-studio monitor {folder.name} --project {folder.project}",
    )


def _environment(changes: dict[str, str]) -> dict[str, str]:
    """Our own environment, with modules taken from where ours are and never from the current folder."""
    inherited = dict(os.environ)
    home = str(Path(studio.__file__).parents[1])
    # Python puts the current folder first for `-m`: a `datasets.py` that lies there would be taken for the library.
    inherited["PYTHONSAFEPATH"] = "1"
    if home not in site.getsitepackages():
        known = [part for part in inherited.get("PYTHONPATH", "").split(os.pathsep) if part]
        inherited["PYTHONPATH"] = os.pathsep.join([home, *(part for part in known if part != home)])
    return inherited | changes
