"""Runs as folders, and little processes that stand for their workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from studio.runs.folder import RunFolder, run_folder
from studio.runs.liveness import LAUNCHED, ProcessId, process_of

SPEC = 'preset = "tiny"\n\n[evaluation]\nmetric = "ndcg@10"\n'
DEADLINE = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.01)


def launched(folder: RunFolder, process: ProcessId, attempt: int = 1, when: float | None = None) -> None:
    """Say, as a launcher does, that a process was started for a run."""
    said = {**process._asdict(), "time": time.time() if when is None else when, "attempt": attempt}
    (folder.root / LAUNCHED).write_text(json.dumps(said))


class Workers:
    """Starts processes in sessions of their own, and ends whatever is left of them."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, code: str, *arguments: object) -> tuple[ProcessId, subprocess.Popen[str]]:
        """Start Python code; it prints a line when it is ready."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        found = process_of(process.pid)
        assert found is not None
        return found, process

    def end(self) -> None:
        for process in self._started:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def workers() -> Iterator[Workers]:
    found = Workers()
    yield found
    found.end()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    def make(name: str = "one", spec: str = SPEC) -> RunFolder:
        (tmp_path / "studio.toml").touch()
        folder = run_folder(tmp_path, name)
        folder.root.mkdir(parents=True)
        folder.spec.write_text(spec)
        return folder

    return make


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    return make_run()
