"""What a worker is asked to do, by files and by signals; all processes of a run come to the same answer at a step."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from studio.runs.control import Request, asked, clear
from studio.runs.folder import RunFolder
from studio.training.telling import Teller

_ALL = tuple(Request)


class Orders:
    """Requests to one worker.

    SIGTERM, and SIGINT where a person started the worker by hand, are requests to stop. A second SIGINT ends the
    process at once.

    Args:
        folder: the run.
        teller: told of each request when it is seen and when it is served.
        leads: whether this process reads the requests (the first one does).
    """

    def __init__(self, folder: RunFolder, teller: Teller, *, leads: bool = True) -> None:
        self._folder, self._teller, self._leads = folder, teller, leads
        self._signalled = False
        self._seen: set[Request] = set()
        self._group: Any = None

    def catch_signals(self) -> None:
        """Take SIGTERM and SIGINT as requests from now on."""
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, self._take)

    def look(self) -> set[Request]:
        """What this process knows of; costs one listing of a folder."""
        found = asked(self._folder) if self._leads else set()
        if self._signalled:
            found.add(Request.STOP)
        for request in found - self._seen:
            self._seen.add(request)
            self._teller.event("request", request=str(request), seen=True)
        return found

    def agree(self) -> set[Request]:
        """What any process knows of: the same answer in every process. All of them must ask."""
        found = self.look()
        import torch
        from torch import distributed

        if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return found
        if self._group is None:
            # A group on the CPU: asking through NCCL would make every step wait for the GPU.
            self._group = distributed.new_group(backend="gloo")
        flags = torch.tensor([int(request in found) for request in _ALL], dtype=torch.int32)
        distributed.all_reduce(flags, op=distributed.ReduceOp.MAX, group=self._group)
        return {request for request, flag in zip(_ALL, flags.tolist(), strict=True) if flag}

    def served(self, request: Request) -> None:
        """Say that a request was served, and take it back."""
        self._seen.discard(request)
        if self._leads:
            clear(self._folder, request)
            self._teller.event("request", request=str(request), done=True)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
