"""Asks and jobs that only tests give to an engine, by the name `tests.engine.work:<function>`."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from studio.engine.asks import Context
from studio.errors import InputError
from studio.progress import Progress
from studio.view.bench import Bench

_TICK = 0.005


def count(bench: Bench) -> int:
    return bench.rows.height


def held(bench: Bench, *, began: Path, until: Path, answer: str) -> str:
    """Touch `began`, answer once `until` exists."""
    began.touch()
    while not until.exists():
        threading.Event().wait(_TICK)
    return answer


def echo(bench: Bench, *, answer: Any) -> Any:
    return answer


def until_cancelled(context: Context, progress: Progress) -> None:
    done = 0
    while True:
        progress("wait", done, None)
        done += 1
        threading.Event().wait(_TICK)


def deaf(context: Context, progress: Progress) -> None:
    """Tell of a process that was started, then do nothing for ever."""
    child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
    progress("child", child.pid, None)
    threading.Event().wait()


def noisy(context: Context, progress: Progress) -> int:
    progress("print", 0, 1)
    print("from Python", flush=True)
    os.write(1, b"from a file descriptor\n")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    assert sys.stdin.read() == "", "what a library reads from stdin is empty, not our messages"
    return 7


def refusing(context: Context, progress: Progress) -> None:
    raise InputError("It cannot be read.", where="pairs.jsonl:3", why="no JSON", remedy="mend it")


def failing(context: Context, progress: Progress, *, text: str) -> None:
    raise ValueError(text)


def leaving(context: Context, progress: Progress) -> None:
    raise SystemExit(3)


def unsendable(context: Context, progress: Progress) -> Any:
    return lambda: None
