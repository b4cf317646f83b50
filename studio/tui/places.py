"""The panels that later work fills: each says what it will do and what to use until then."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from studio.tui.panel import PanelScreen


class PlaceScreen(PanelScreen):
    """A panel that is not built yet."""

    title_words: ClassVar[str] = ""
    will: ClassVar[tuple[str, ...]] = ()
    until: ClassVar[str] = ""

    def body(self) -> ComposeResult:
        """What will be here, and what to do until then."""
        lines = [Content.styled(f"{self.title_words}: not built yet", "bold"), Content(""), Content("It will:")]
        lines += [Content(f"  • {line}") for line in self.will]
        lines += [Content(""), Content(f"Until then: {self.until}")]
        with VerticalScroll(classes="place"):
            yield Static(Content("\n").join(lines))


class EvaluateScreen(PlaceScreen):
    """Place of the comparisons."""

    place = "evaluate"
    title_words = "Evaluate"
    will = (
        "compare dense, BM25, hybrid and reranked systems, only equals with equals, with intervals",
        "show each query's wins and losses, and send a miss back to Pairs",
    )
    until = "`harrier-studio export --format beir` writes queries, corpus and qrels for other tools."
