"""A panel as a picture, drawn without a terminal. The same project gives the same picture."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from studio.errors import UnavailableError, UsageError
from studio.project.user import user_settings
from studio.tui.app import StudioApp
from studio.tui.preferences import themed

_STILL = 0.2
"""Seconds in which nothing may change on a finished picture: longer than what the interface waits after a key."""
_TRIES = 300


def draw(panel: str, root: Path, size: tuple[int, int], theme: str | None, keys: Sequence[str]) -> str:
    """Draw a panel as SVG, in a studio that is read-only.

    Args:
        panel: the panel's name.
        root: the project's directory.
        size: columns and lines.
        theme: another theme than the person's own.
        keys: keys to press first, by Textual's names.

    Raises:
        UsageError: there is no such theme, or the keys leave the studio.
        UnavailableError: the interface does not come to rest.
    """
    app = StudioApp(root, panel=panel, read_only=True, settings=themed(user_settings(), theme))
    return asyncio.run(_drawn(app, size, list(keys)))


async def _drawn(app: StudioApp, size: tuple[int, int], keys: list[str]) -> str:
    async with app.run_test(size=size) as pilot:
        await app.ready.wait()
        await _at_rest(app, pilot)
        for key in keys:
            await pilot.press(key)
            await _at_rest(app, pilot)
            if not app.is_running or app.return_code is not None:
                raise UsageError(f"The key `{key}` leaves the studio, so there is nothing to show.")
        return await _still(app, pilot)


async def _at_rest(app: StudioApp, pilot: Pilot[None]) -> None:
    """Wait for what the interface does beside its events; what a dialog waits for is the person, who is not there."""
    for _ in range(_TRIES):
        await pilot.pause()
        if not app.is_running or app.screen.is_modal or all(worker.is_finished for worker in app.workers):
            return
        await pilot.pause(_STILL)
    raise _restless()


async def _still(app: StudioApp, pilot: Pilot[None]) -> str:
    """Draw until two pictures are the same: some of what is shown waits a moment after a key before it is read."""
    before = ""
    for _ in range(_TRIES):
        for each in app.screen.query(Input):
            each.cursor_blink = False
        await _at_rest(app, pilot)
        svg = _named(app.export_screenshot())
        if svg == before:
            return svg
        before = svg
        await pilot.pause(_STILL)
    raise _restless()


def _restless() -> UnavailableError:
    return UnavailableError(
        "The interface did not come to rest.", remedy="try again without keys that start long work, or a moment later"
    )


_FONT_FACE = re.compile(r"@font-face\s*{[^}]*}\s*")


def _named(svg: str) -> str:
    """The picture with names of our own for its parts: Rich makes them of hashes that change with every run.

    Fonts that it would fetch from elsewhere are left out: whoever looks at it has a font of equal widths.
    """
    svg = _FONT_FACE.sub("", svg)
    found = re.search(r"\bterminal-\d+(?=-)", svg)
    return svg.replace(found[0], "harrier") if found else svg
