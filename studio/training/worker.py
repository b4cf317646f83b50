"""The process that trains: `python -m studio.training.worker RUN_DIR [--resume]`, alone or under torchrun.

It depends on nobody who watches. What it tells is in the run's folder; what it is asked comes from there, or by
SIGTERM, which means: save a checkpoint and end.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from studio import __version__
from studio.errors import ExitCode, StudioError, UsageError
from studio.runs.control import Request
from studio.runs.events import EventReader, EventWriter
from studio.runs.folder import RunFolder
from studio.runs.liveness import Heart, is_alive, read_beat, this_process
from studio.training import checkpoints
from studio.training.alerts import disk_full, is_out_of_memory, out_of_memory
from studio.training.checkpoints import Checkpoint
from studio.training.console import quiet, speak
from studio.training.experiments import Outcome, record
from studio.training.gpu import Gpus
from studio.training.launch import SMOKE
from studio.training.orders import Orders
from studio.training.spec import RunSpec, read_spec
from studio.training.telling import Teller

if TYPE_CHECKING:
    from studio.training.training_loop import Reached

_PACKAGES = ("torch", "sentence-transformers", "transformers", "accelerate", "peft", "datasets")
_PEER_GONE = ("connection closed by peer", "connection reset by peer", "ncclremoteerror")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class _Before(NamedTuple):
    """What earlier attempts left: how many there were, and whether the run is done."""

    attempts: int
    done: bool


def main(arguments: list[str] | None = None) -> int:
    """Work on a run; return an exit code: 0 when it is done or was stopped, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m studio.training.worker", description="Work on a run.")
    parser.add_argument("folder", type=Path, help="the run's folder, which holds run.toml")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    given = parser.parse_args(arguments)
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    quiet()
    folder = RunFolder(given.folder.resolve())
    logger = speak(folder.console, rank)
    try:
        spec = read_spec(folder.spec)
        _pin_device(spec, processes)
        before = _before(folder)
        if rank:
            return _work(folder, spec, Teller(logger), _resumed(folder, given.resume), leads=False)
        _refuse(folder, before, resume=given.resume)
        torn = checkpoints.remove_torn(folder.checkpoints)
        resumed = _resumed(folder, given.resume)
        writer, attempt = EventWriter(folder.events), before.attempts + 1
        with Heart(folder, attempt) as heart:
            teller = Teller(logger, writer, heart)
            teller.now(resumed.step if resumed else 0)
            _tell_start(teller, attempt, processes, resumed, spec)
            if torn:
                teller.note(f"removed what a killed save had left: {', '.join(torn)}")
            if given.resume and resumed is None:
                teller.note("there is no whole checkpoint, so the run begins anew")
            return _work(folder, spec, teller, resumed, leads=True)
    except StudioError as error:
        logger.error("%s", error)
        return int(error.exit_code)


def _work(folder: RunFolder, spec: RunSpec, teller: Teller, resumed: Checkpoint | None, *, leads: bool) -> int:
    """Make an attempt, and say how it ended."""
    began = time.monotonic()
    orders = Orders(folder, teller, leads=leads)
    orders.catch_signals()
    # Loading torch takes seconds; the run was seen to live before.
    from studio.training.training_loop import Attempt, Diverged, Reached, Stopped

    state, reason, attempt, reached = "done", "", None, None
    try:
        attempt = Attempt(folder, spec, teller, orders, resumed, leads=leads)
        reached = attempt.run()
    except Stopped:
        state, reason = "stopped", "it was asked to stop"
    except KeyboardInterrupt:
        state, reason = "stopped", "it was interrupted; what came after the last checkpoint is lost"
    except Diverged:
        state, reason = "failed", "the loss is no number any more"
    except Exception as error:
        state, reason = "failed", _told(error, spec, teller, attempt.missing() if attempt else [])
    if leads:
        if state == "stopped":
            orders.served(Request.STOP)
        reached = reached or (attempt.so_far() if attempt else Reached(None, None, 0, None))
        if state != "stopped" and folder.name != SMOKE:  # a smoke test is no experiment
            _log(folder, spec, teller, state, reached)
        teller.event("ended", state=state, reason=reason, seconds=time.monotonic() - began)
        teller.logger.info("%s%s", state, f": {reason}" if reason else "")
    if state == "failed":
        return int(ExitCode.FINDINGS)
    if attempt is not None:
        attempt.leave()
    return int(ExitCode.OK)


def _told(error: Exception, spec: RunSpec, teller: Teller, missing: list[str]) -> str:
    """Tell of an error, and say it in one sentence. `missing`: other processes of the run that are gone."""
    teller.logger.error("%s", "".join(traceback.format_exception(error)))
    said = " ".join(str(error).split())
    if is_out_of_memory(error):
        alert = out_of_memory(spec, said[:300], evaluating=teller.at in ("baseline", "evaluate", "final"))
        teller.alert(alert)
        return alert.message
    if (full := disk_full(error)) is not None:
        teller.alert(full)
    if isinstance(error, StudioError):
        return said
    if missing:
        return f"{' and '.join(missing)} ended before its time: see the log for how ({said[:200]})"
    if any(mark in said.lower() for mark in _PEER_GONE):
        return f"another process of the run broke off: see the log for how ({said[:200]})"
    return f"{type(error).__name__}: {said}"


def _log(folder: RunFolder, spec: RunSpec, teller: Teller, state: str, reached: Reached) -> None:
    """Write the line of the project's experiments; the run does not depend on it."""
    outcome = Outcome(
        spec,
        state,
        reached.judgement,
        reached.baseline,
        teller.step,
        reached.steps,
        reached.best_step,
        tuple(teller.alerts),
    )
    try:
        teller.note(f"next: {record(folder.root.parent, folder.name, outcome)}")
    except (StudioError, OSError) as error:
        teller.logger.warning("the log of experiments was not written: %s", error)


def _tell_start(teller: Teller, attempt: int, processes: int, resumed: Checkpoint | None, spec: RunSpec) -> None:
    process = this_process()
    names = [] if spec.devices.use == "cpu" else Gpus().names
    teller.event(
        "started",
        attempt=attempt,
        pid=process.pid,
        process_start=process.start,
        host=process.host,
        devices=names or ["cpu"],
        world_size=processes,
        resumed_from=resumed.step if resumed else None,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "harrier-studio": __version__}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _before(folder: RunFolder) -> _Before:
    reader = EventReader(folder.events)
    attempts, done = 0, False
    for event in reader.read():
        if event.type == "started":
            attempts, done = max(attempts + 1, int(event.fields.get("attempt") or 0)), False
        elif event.type == "ended":
            done = event.fields.get("state") == "done"
    reader.close()
    return _Before(attempts, done)


def _refuse(folder: RunFolder, before: _Before, *, resume: bool) -> None:
    """Refuse to work on a run that is done, begun, or worked on."""
    beat = read_beat(folder)
    if beat is not None and beat.process != this_process() and is_alive(beat.process):
        raise UsageError("Another worker is at this run.", where=str(folder.root), why=f"process {beat.process.pid}")
    if before.done:
        raise UsageError("The run is done.", where=str(folder.root), remedy="make another one of its spec, run.toml")
    if before.attempts and not resume:
        raise UsageError("The run has begun already.", where=str(folder.root), remedy="go on with it: --resume")


def _resumed(folder: RunFolder, resume: bool) -> Checkpoint | None:
    found = checkpoints.whole(folder.checkpoints) if resume else []
    return found[-1] if found else None


def _pin_device(spec: RunSpec, processes: int) -> None:
    """Show this process one GPU only: several in one process would become DataParallel, which nobody asked for."""
    if processes > 1 or spec.devices.use in ("cpu", "mps"):
        return
    visible = [part.strip() for part in os.environ.get(_VISIBLE, "").split(",") if part.strip()]
    if spec.devices.ids and not visible:
        visible = list(map(str, spec.devices.ids))
    if _VISIBLE not in os.environ or len(visible) > 1:
        os.environ[_VISIBLE] = visible[0] if visible else "0"
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


if __name__ == "__main__":
    sys.exit(main())
