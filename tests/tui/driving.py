"""Driving the real app in tests: real keys, a real engine process, no sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.worker import Worker

from studio.tui.app import StudioApp

PATIENCE = 60.0
_LASTING = ("job", "ask", "bulk", "quit")
"""Groups of workers that wait for the person, or are waited for by name."""


class Driver:
    """A running app and its keys."""

    def __init__(self, app: StudioApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        """Press keys one after another, each once the one before has done its work."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        names = {
            " ": "space",
            ":": "colon",
            "/": "slash",
            '"': "quotation_mark",
            ".": "full_stop",
            "<": "less_than_sign",
        }
        await self.pilot.press(*(names.get(letter, letter) for letter in text))
        await self.settle()

    async def settle(self) -> None:
        """Wait until no short work is under way; what a dialog waits for is the person."""
        await self.pilot.pause()
        await self.until(lambda: self.app.screen.is_modal or not any(map(_is_short, self.app.workers)))
        await self.pilot.pause()

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something is the case."""

        async def watch() -> None:
            while not true():
                await self.pilot.pause()

        try:
            await asyncio.wait_for(watch(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"it never came; on the screen:\n{self.text}") from None

    async def job(self) -> None:
        """Wait until no long work runs."""
        await self.until(lambda: self.app.job is None)
        await self.settle()

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        return screen_text(self.app)


def _is_short(worker: Worker[Any]) -> bool:
    return worker.group not in _LASTING and not worker.is_finished


@asynccontextmanager
async def driving(place: Path | None, size: tuple[int, int] = (100, 30), **options: Any) -> AsyncIterator[Driver]:
    """Run the studio on a project; on leaving no process is left."""
    app = StudioApp(place, **options)
    async with app.run_test(size=size) as pilot:
        await asyncio.wait_for(app.ready.wait(), PATIENCE)
        driver = Driver(app, pilot)
        await driver.settle()
        yield driver


def screen_text(app: StudioApp) -> str:
    """What stands on the screen, without colours."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines[: app.size.height])


def run(flow: Callable[[], Awaitable[None]]) -> None:
    """Run an async test."""
    asyncio.run(flow())  # type: ignore[arg-type]
