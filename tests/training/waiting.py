"""Waiting for what another process does, with a deadline."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable


def until(happened: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        signal.sigtimedwait(set(), 0.05)
