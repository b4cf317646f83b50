"""The tab of queries: those on which a system is worse or better than its reference, and what is done with one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import OptionList, Static

from studio.errors import Cancelled, StudioError
from studio.evaluation.sets import SetKind
from studio.tui.cluster_drawing import Lines
from studio.tui.dialogs import Choose, Tell
from studio.tui.evaluate_drawing import queries_title, query_line
from studio.tui.query_drawing import sent_words
from studio.tui.query_screen import QueryScreen
from studio.tui.safe import safe, safe_lines

if TYPE_CHECKING:
    from studio.tui.app import StudioApp
    from studio.view.evaluated_pairs import PairAnswer, QueryLine, Which
    from studio.view.evaluations import Report, SystemLine
    from studio.view.misses import SentMiss

DEBOUNCE = 0.06
"""Seconds that a held key is waited for before the engine is asked."""
WHICH: dict[Which, str] = {"losses": "Losses", "wins": "Wins", "ties": "Ties", "all": "All"}
_PLACES = (
    ("answers", "False negatives", "passages above the right one that nobody judged wait there to be judged"),
    ("pairs", "Pairs", "the row is marked as missed there, to be edited or dropped"),
)


class Looked(NamedTuple):
    """What the person looks at: an evaluation, and one system of it."""

    report: Report
    system: SystemLine

    @property
    def reference(self) -> str:
        """The system that this one's queries are compared with; "": none."""
        return "" if self.system.refused else self.system.reference

    @property
    def pair(self) -> dict[str, Any]:
        """This system and its reference, as the engine is asked about the two."""
        entry = self.report.entry
        names = {"reference": self.reference, "other": self.system.name, "metric": self.report.metric}
        return {"evaluation": entry.name, "is_run": entry.is_run, **names}

    @property
    def no_queries(self) -> str:
        """Why there are no queries to look at, or ""."""
        if self.report.kind is not SetKind.RETRIEVAL:
            return "Only sets of queries and passages have queries to look at."
        if self.system.error:
            return f"{self.system.name} was not run: {self.system.error}"
        return ""


class QueriesTab(Vertical):
    """The list above, the query it stands on below. `which`: the queries that are listed."""

    class Loaded(Message):
        """The queries of a system are there."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.which: Which = "losses"
        self._looked: Looked | None = None
        self._found: PairAnswer | None = None
        self._asked: tuple[object, ...] | None = None
        self._wrong = ""
        """Why the queries cannot be shown, or ""."""

    def compose(self) -> ComposeResult:
        """The list and the query."""
        yield Static(id="ev-query-title", markup=False)
        yield Lines(id="ev-queries", markup=False)
        with VerticalScroll(id="ev-query", can_focus=True):
            yield Static(id="ev-query-text", markup=False)

    @property
    def _studio(self) -> StudioApp:
        return cast("StudioApp", self.app)

    @property
    def pair(self) -> PairAnswer | None:
        """The system that is looked at, against its reference, once that is there."""
        looked, found = self._looked, self._found
        if looked is None or found is None:
            return None
        wanted = looked.reference, looked.system.name, looked.report.metric
        return found if (found.reference, found.other, found.metric) == wanted else None

    @property
    def _query(self) -> QueryLine | None:
        """The query under the cursor."""
        at, pair = self.query_one("#ev-queries", Lines).highlighted, self.pair
        return pair.queries[at] if pair is not None and at is not None and at < len(pair.queries) else None

    # Looking

    @property
    def waiting(self) -> bool:
        """Whether queries are to be shown that nobody has asked for: an ask gave way to another one."""
        return self._asked is None and self._looked is not None and not self._looked.no_queries

    def look_at(self, looked: Looked | None) -> None:
        """Take what the person looks at, and ask for its queries unless they are there."""
        self._looked = looked
        if looked is None or looked.no_queries:
            self._found = self._asked = None
        else:
            report, system = looked
            key = (report.entry, looked.reference, system.name, report.metric, self.which)
            if key != self._asked:
                if self._asked is not None and self._asked[0] != report.entry:
                    # Systems of two evaluations may have one name.
                    self._found = None
                self._asked, self._wrong = key, ""
                self._load(looked, key)
        self.draw()

    @work(exclusive=True, group="pair", description="compare two systems by query")
    async def _load(self, looked: Looked, key: tuple[object, ...]) -> None:
        try:
            await asyncio.sleep(DEBOUNCE)
            found = await self._studio.ask("evaluated_pair", slot="evaluated_pair", which=self.which, **looked.pair)
        except (Cancelled, asyncio.CancelledError):
            if self._asked == key:
                self._asked = None
            return
        except StudioError as error:
            self._found, self._wrong = None, str(error)
            self.draw()
            return
        self._found = found
        self.draw()
        self.post_message(self.Loaded())

    def draw(self) -> None:
        """Show the queries, or why there are none."""
        pair, view = self.pair, self.query_one("#ev-queries", Lines)
        title = self.query_one("#ev-query-title", Static)
        if pair is None:
            title.update(safe((self._looked.no_queries or "reading …") if self._looked else ""))
            view.fill([], None)
            self.query_one("#ev-query-text", Static).update(safe_lines(self._wrong))
            return
        title.update(queries_title(pair))
        lines = [query_line(line, alone=not pair.reference) for line in pair.queries]
        if [str(option.prompt) for option in view.options] != list(map(str, lines)):
            view.fill(lines, min(view.highlighted or 0, max(len(lines) - 1, 0)))
        self._draw_query()

    @on(OptionList.OptionHighlighted, "#ev-queries")
    def _draw_query(self) -> None:
        line, text = self._query, self.query_one("#ev-query-text", Static)
        if line is None:
            text.update(safe("none here; f shows others") if self.pair else "")
            return
        leaked = "⚑ training has seen it, or its answer\n" if line.leaked else ""
        text.update(safe_lines(f"{leaked}{line.text}\nquery {line.query_id} · enter: gold and retrieved", 4_000))

    # One query

    @on(OptionList.OptionSelected, "#ev-queries")
    def _enter(self) -> None:
        looked, line = self._looked, self._query
        if looked is None or line is None:
            return
        systems = tuple(name for name in (looked.reference, looked.system.name) if name)
        screen = QueryScreen(looked.report.entry.name, looked.report.entry.is_run, line.query_id, systems)
        self.app.push_screen(screen, lambda send: self.ask_where() if send else None)

    def ask_where(self) -> None:
        """Ask where to send what the system missed."""
        if (line := self._query) is not None:
            dialog = Choose("Send what the system missed where?", _PLACES)
            self.app.push_screen(dialog, partial(self._chosen, line.query_id))

    def _chosen(self, query_id: str, to: str | None) -> None:
        looked = self._looked
        if to is None or looked is None:
            return
        if self._studio.session is not None and self._studio.session.read_only:
            self._studio.say("This studio is read-only; nothing was changed.", severity="warning")
        else:
            self._send(looked, query_id, to)

    @work(group="write", description="send a miss")
    async def _send(self, looked: Looked, query_id: str, to: str) -> None:
        studio = self._studio
        studio.saving += 1
        try:
            sent: SentMiss = await studio.ask(
                "send_miss",
                evaluation=looked.report.entry.name,
                is_run=looked.report.entry.is_run,
                system=looked.system.name,
                query_id=query_id,
                to=to,
                against=looked.reference,
                metric=looked.report.metric,
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.app.push_screen(Tell.error(error))
            return
        finally:
            studio.saving -= 1
        await studio.reload()
        words = sent_words(sent)
        if sent.sent:
            studio.remark = f"{words[0]} · u takes it back"
            studio.job_signal.publish(None)
        if len(words) > 1 or not sent.sent:
            self.app.push_screen(Tell("Sent" if sent.sent else "Nothing was sent", "\n".join(words)))

    @work(exclusive=True, group="in_pairs", description="find a query's rows")
    async def show_in_pairs(self) -> None:
        """Show the rows of the query and of its passages in Pairs."""
        looked, line = self._looked, self._query
        if looked is None or line is None:
            return
        entry = looked.report.entry
        try:
            rows = await self._studio.ask(
                "rows_of_query", slot="rows_of_query", evaluation=entry.name, is_run=entry.is_run,
                query_id=line.query_id,
            )  # fmt: skip
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._studio.fail(error)
            return
        if rows:
            self._studio.show_rows(rows, f"a query of {entry.name} and its passages")
        else:
            self._studio.say("No row of the project has this query.", severity="warning")
