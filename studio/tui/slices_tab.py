"""The tabs that are only read: slices of the queries, and what running the systems costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from studio.errors import Cancelled, StudioError
from studio.tui.cost_drawing import cost_lines
from studio.tui.evaluate_drawing import slice_lines
from studio.tui.queries_tab import DEBOUNCE, Looked
from studio.tui.safe import safe, safe_lines

if TYPE_CHECKING:
    from studio.tui.app import StudioApp
    from studio.view.evaluated_pairs import By, SliceLine

BY: dict[By, str] = {
    "length": "Length", "words": "Words", "language": "Language", "source": "Source", "tag": "Tag", "leaked": "Leaked",
}  # fmt: skip
_LEAST = 40
"""Columns to draw in, however narrow the screen is."""


class CostsTab(VerticalScroll):
    """What running each system costs, and the curves of truncation and quantisation."""

    def compose(self) -> ComposeResult:
        """The words."""
        yield Static(classes="ev-text", markup=False)

    def look_at(self, looked: Looked | None) -> None:
        """Show the costs of an evaluation's systems."""
        width, height = max(self.scrollable_content_region.width, _LEAST), self.size.height
        lines = [] if looked is None else cost_lines(looked.report, width, height)
        self.query_one(Static).update(Content("\n").join(lines))


class SlicesTab(VerticalScroll):
    """A system on parts of the queries, against its reference. `by`: what the parts are."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.by: By = "length"
        self._looked: Looked | None = None
        self._asked: object = None
        self._found: tuple[object, tuple[SliceLine, ...]] = (None, ())

    def compose(self) -> ComposeResult:
        """The words."""
        yield Static(classes="ev-text", markup=False)

    @property
    def _studio(self) -> StudioApp:
        return cast("StudioApp", self.app)

    def look_at(self, looked: Looked | None) -> None:
        """Take what the person looks at, and ask for its slices unless they are there."""
        self._looked = looked
        if looked is None or looked.no_queries:
            self._asked = None
        else:
            report, system = looked
            key = (report.entry, looked.reference, system.name, report.metric, self.by)
            if key != self._asked:
                self._asked = key
                self._load(looked)
        self._draw()

    @work(exclusive=True, group="slices", description="slice the queries")
    async def _load(self, looked: Looked) -> None:
        key = self._asked
        try:
            await asyncio.sleep(DEBOUNCE)
            found = await self._studio.ask("evaluation_slices", slot="evaluation_slices", by=self.by, **looked.pair)
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._asked = None
            self.query_one(Static).update(safe_lines(str(error)))
            return
        self._found = key, found
        self._draw()

    def _draw(self) -> None:
        looked, (key, found) = self._looked, self._found
        width = max(self.scrollable_content_region.width, _LEAST)
        if looked is None:
            lines = []
        elif looked.no_queries:
            lines = [safe(looked.no_queries)]
        elif key != self._asked:
            lines = [Content("counting …")]
        else:
            lines = list(slice_lines(found, looked.reference, looked.system.name, width))
        self.query_one(Static).update(Content("\n").join(lines))
