"""How long the texts are that the filter leaves, as bars, with the line at which the model stops reading."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from studio.errors import Cancelled, StudioError
from studio.tui.command import Command, bindings
from studio.tui.safe import safe_lines, safe_text
from studio.view.histograms import UNITS, Histogram
from studio.view.where import Where
from studio.view.where import format as format_where

HISTOGRAM = (
    Command("histogram.close", "escape,q,h,ctrl+c", "close", "Close", "Back to the rows."),
    Command("histogram.column", "c,left,right,tab", "column", "Query / passage", "Show the other column."),
    Command("histogram.unit", "t,up,down,space", "unit", "Unit", "Characters, words or tokens."),
)
_COLUMNS = ("query", "positive")
_BAR = 50
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class HistogramScreen(ModalScreen[None]):
    """Bars, quantiles and the share that is cut."""

    BINDINGS = bindings(HISTOGRAM)

    def __init__(self, where: Where, marked: Sequence[int]) -> None:
        super().__init__()
        self._where, self._marked = where, np.array(marked, np.uint32)
        self._column, self._unit = 1, 0

    def compose(self) -> ComposeResult:
        """The bars, and the keys."""
        with Vertical(classes="dialog wide"):
            with VerticalScroll():
                yield Static(id="bars")
            yield Static(
                "c: query or passage · t: characters, words, tokens · esc: close", classes="hint", markup=False
            )

    def on_mount(self) -> None:
        """Ask for the first."""
        self._load()

    @work(exclusive=True, group="histogram", description="count lengths")
    async def _load(self) -> None:
        app, unit = self.app, list(UNITS)[self._unit]
        session = app.session  # type: ignore[attr-defined]
        limit = session.project.settings.model.max_length
        bars = self.query_one("#bars", Static)
        bars.update(Content("counting …"))
        try:
            found = await app.ask(  # type: ignore[attr-defined]
                "histogram",
                slot="histogram",
                where=self._where,
                column=_COLUMNS[self._column],
                unit=unit,
                bins=20,
                limit=limit if unit == "tokens" else None,
                marked=self._marked,
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            # Tokens may not have been counted yet: the words say which key does it.
            bars.update(safe_lines(str(error)))
            return
        shown = safe_text(format_where(self._where), 80) if self._where else "every row"
        bars.update(_drawn(found, f"{('query', 'passage')[self._column]} in {unit} · {shown}"))

    def action_column(self) -> None:
        """The other column."""
        self._column = 1 - self._column
        self._load()

    def action_unit(self) -> None:
        """The next unit."""
        self._unit = (self._unit + 1) % len(UNITS)
        self._load()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _drawn(found: Histogram, title: str) -> Content:
    lines = [Content.styled(title, "bold")]
    if not found.counts:
        return Content("\n").join([*lines, Content("no rows")])
    words = {0.0: "least", 0.5: "median", 1.0: "most"}
    quantiles = "  ".join(f"{words.get(q, f'{q:.0%}')} {length:,}" for q, length in found.quantiles.items())
    lines += [Content(quantiles), Content("")]
    most, total = max(found.counts), sum(found.counts)
    width = len(f"{found.edges[-1]:,}")
    cut_drawn = found.limit is None
    for at, count in enumerate(found.counts):
        low = found.edges[at]
        if not cut_drawn and found.limit is not None and low > found.limit:
            lines.append(_cut_line(found, total, width))
            cut_drawn = True
        plus = "+" if found.more and at == len(found.counts) - 1 else " "
        lines.append(Content(f"{low:>{width},}{plus} {_bar(count, most)} {count:,}"))
    if not cut_drawn:
        lines.append(_cut_line(found, total, width))
    return Content("\n").join(lines)


def _bar(count: int, most: int) -> str:
    eighths = round(count / most * _BAR * 8) if most else 0
    if count and not eighths:
        eighths = 1
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip().ljust(_BAR)


def _cut_line(found: Histogram, total: int, width: int) -> Content:
    share = found.over_limit / total if total else 0
    words = f"── cut at {found.limit:,} tokens: {found.over_limit:,} texts ({share:.1%}) lose their end "
    return Content.styled(f"{'':>{width}}  {words:─<{_BAR}}", "bold")
