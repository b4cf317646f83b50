"""Engines as real processes, and ways to wait for what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.engine import client
from studio.engine.client import Engine
from studio.engine.protocol import Progressed
from studio.project.project import Project

SECONDS = 60.0
"""How long anything may take before a test fails; a machine that does other things at once is slow."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that nothing tells of."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        threading.Event().wait(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; one whose parent died may stay on the list as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return Path("/proc/self").exists()


class Heard:
    """A progress callback that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.all: list[Progressed] = []
        self.any = threading.Event()

    def __call__(self, progressed: Progressed) -> None:
        self.all.append(progressed)
        self.any.set()

    def wait(self) -> Progressed:
        assert self.any.wait(SECONDS)
        return self.all[0]


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of this test's engines, away from that of whoever runs the tests."""
    path = tmp_path / "log" / "engine.log"
    monkeypatch.setattr(client, "log_path", lambda: path)
    return path


@pytest.fixture
def start() -> Iterator[Callable[..., Engine]]:
    """`Engine.start`; what it started is closed in the end."""
    engines: list[Engine] = []

    def started(root: Path | None = None, **more: Any) -> Engine:
        engines.append(Engine.start(root, **more))
        return engines[-1]

    yield started
    for engine in engines:
        engine.close()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project([(f"what is {i // 2}", f"this is {i // 2}") for i in range(20)])


@pytest.fixture
def engine(start: Callable[..., Engine], project: Project) -> Engine:
    return start(project.root)
