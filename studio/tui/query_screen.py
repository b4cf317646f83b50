"""One query in full over the panel: gold and what each system retrieved, side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from studio.errors import Cancelled, StudioError
from studio.tui.command import Command, bindings
from studio.tui.panel import PanelScreen
from studio.tui.query_drawing import gold_content, query_content, retrieved_content
from studio.tui.safe import safe_lines

if TYPE_CHECKING:
    from studio.tui.app import StudioApp
    from studio.view.evaluated_pairs import QueryAnswer

QUERY = (
    Command("query.close", "escape,enter,q,ctrl+c", "close", "Close", "Back to the queries."),
    Command("query.miss", "n", "miss", "Send miss", "Send what the system missed to Pairs or to False negatives."),
    Command("query.read", "space", "read", "Read on", "Scroll; at the end begin again."),
    Command("query.down", "j", "scroll('down')", "Down", "One line down."),
    Command("query.up", "k", "scroll('up')", "Up", "One line up."),
    Command("query.first", "g", "scroll('home')", "First", "To the first line."),
    Command("query.last", "G", "scroll('end')", "Last", "To the last line."),
)
_HINT = "n: send the miss · esc: close · ● relevant ○ not relevant ? not judged"


class QueryScreen(ModalScreen[bool]):
    """Gold at the left, then what each system found; below one another where there is no room. True: send the miss."""

    BINDINGS = bindings(QUERY)
    HORIZONTAL_BREAKPOINTS = PanelScreen.HORIZONTAL_BREAKPOINTS
    DEFAULT_CSS = """
    QueryScreen {
        #q-text { height: auto; max-height: 30%; margin-bottom: 1; }
        #q-scroll { height: 1fr; max-height: 100%; scrollbar-gutter: stable; }
        #q-columns { height: auto; layout: horizontal; }
        #q-columns > Static { width: 1fr; height: auto; padding: 0 1; }
        &.-narrow #q-columns { layout: vertical; }
        &.-narrow #q-columns > Static { width: 1fr; margin-bottom: 1; }
    }
    """

    def __init__(self, evaluation: str, is_run: bool, query_id: str, systems: tuple[str, ...]) -> None:
        super().__init__()
        self._evaluation, self._is_run, self._query_id, self._systems = evaluation, is_run, query_id, systems
        self._found: QueryAnswer | None = None

    def compose(self) -> ComposeResult:
        """The query, the columns, and the keys."""
        with Vertical(classes="dialog full"):
            with VerticalScroll(id="q-text", can_focus=False):
                yield Static("reading …", id="q-query", markup=False)
            with VerticalScroll(id="q-scroll"), Horizontal(id="q-columns"):
                yield Static(id="q-gold", markup=False)
                for at in range(len(self._systems)):
                    yield Static(id=f"q-found-{at}", markup=False)
            yield Static(_HINT, classes="hint", markup=False)

    def on_mount(self) -> None:
        """Ask for it."""
        self.query_one("#q-scroll").focus()
        self._load()

    @work(exclusive=True, group="query", description="read a query")
    async def _load(self) -> None:
        try:
            found: QueryAnswer = await cast("StudioApp", self.app).ask(
                "evaluation_query",
                slot="evaluation_query",
                evaluation=self._evaluation,
                is_run=self._is_run,
                query_id=self._query_id,
                systems=self._systems,
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.query_one("#q-query", Static).update(safe_lines(str(error)))
            return
        self._found = found
        self.query_one("#q-query", Static).update(query_content(found))
        self.query_one("#q-gold", Static).update(gold_content(found))
        for at in range(len(found.systems)):
            self.query_one(f"#q-found-{at}", Static).update(retrieved_content(found, at))

    def action_miss(self) -> None:
        """Send the miss."""
        self.dismiss(True)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(False)

    def action_read(self) -> None:
        """Scroll; at the end begin again."""
        view = self.query_one("#q-scroll", VerticalScroll)
        if view.scroll_y >= view.max_scroll_y:
            view.scroll_home(animate=False)
        else:
            view.scroll_page_down(animate=False)

    def action_scroll(self, to: str) -> None:
        """Scroll a line, or to an end."""
        getattr(self.query_one("#q-scroll", VerticalScroll), f"action_scroll_{to}")()
