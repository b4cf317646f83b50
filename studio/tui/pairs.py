"""The Pairs panel: every row, what was found about it, and the decisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from studio.errors import Cancelled, StudioError, UsageError
from studio.project.ledger import Action
from studio.tui.command import Command, bindings
from studio.tui.detail import detail_content
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.editing import EditScreen, edit_outside
from studio.tui.facet_list import FacetList
from studio.tui.histogram import HistogramScreen
from studio.tui.panel import PanelScreen
from studio.tui.safe import safe_text
from studio.tui.table import PairTable, TableRow
from studio.view.marks import letters
from studio.view.saved import SavedViews
from studio.view.session import EDITED, KEPT, MOVED, REMOVED, Session, Shown, Step, edit_value
from studio.view.where import ORDERS, Order, Where, parse, spans_of
from studio.view.where import format as format_where

DETAIL_DELAY = 0.08
"""Seconds the cursor rests before the row beside it is read: holding a key must not ask for every row passed."""
TYPING_DELAY = 0.2
_CONFIRM_FROM = 200
"""A bulk decision on this many rows or more is confirmed first."""
_GLYPHS = {KEPT: "○", REMOVED: "✗", EDITED: "✎", MOVED: "→"}
_BY_PERSON = "●"
GLYPH_WORDS = "○ kept  ● kept by you  ✗ removed  ✎ edited  → moved or re-pointed"
_SORT_WORDS = {
    "position": "as imported", "query": "query, A to Z", "passage": "passage, A to Z", "query.chars": "length of query",
    "passage.chars": "length of passage", "query.tokens": "tokens of query", "passage.tokens": "tokens of passage",
    "score": "score", "split": "split", "status": "status", "flags": "most marks first",
}  # fmt: skip


class FoundRows:
    """What the filter left, for the table: positions in order, or None for every row as imported."""

    def __init__(self, session: Session, positions: np.ndarray | None) -> None:
        self.session = session
        self.positions = positions

    @property
    def version(self) -> int:
        """That of the session: any decision may change how a row looks."""
        return self.session.version

    def __len__(self) -> int:
        return len(self.session.rows) if self.positions is None else len(self.positions)

    def position(self, place: int) -> int:
        """The position of the row at a place."""
        return place if self.positions is None else int(self.positions[place])

    def place(self, position: int) -> int | None:
        """The place of a row, None if the filter left it out."""
        if self.positions is None:
            return position
        found = np.flatnonzero(self.positions == position)
        return int(found[0]) if len(found) else None

    def rows(self, start: int, stop: int) -> list[TableRow]:
        """The rows at these places, as the table draws them."""
        stop = min(stop, len(self))
        positions = range(start, stop) if self.positions is None else self.positions[start:stop].tolist()
        return [self._row(shown) for shown in self.session.shown(positions)]

    def _row(self, shown: Shown) -> TableRow:
        position = shown.row.position
        flags = letters(int(self.session.masks[position]))
        said = "".join((" #" if shown.tags else "", " ✉" if shown.notes else ""))
        glyph = _BY_PERSON if shown.status == KEPT and shown.by_person else _GLYPHS[shown.status]
        marked = position in self.session.marked
        return TableRow(shown.number, glyph, marked, shown.query, shown.positive, flags + said, shown.status == REMOVED)


class PairsScreen(PanelScreen):
    """The pairs, a million as easily as ten."""

    place = "pairs"
    COMMANDS_HERE = (
        Command("pairs.keep", "k", "keep", "Keep", "Keep this row (or the marked ones) whatever a rule says.", vim="a"),
        Command("pairs.drop", "d", "drop", "Drop", "Leave this row (or the marked ones) out of the dataset."),
        Command("pairs.edit", "e", "edit", "Edit", "Edit the texts of this row here."),
        Command("pairs.edit_outside", "E", "edit_outside", "Editor", "Edit this row in $EDITOR.", footer=False),
        Command("pairs.mark", "space", "mark", "Mark", "Mark this row, or take the mark away."),
        Command(
            "pairs.mark_all", "M", "mark_all", "Mark all", "Mark all that the filter shows, or unmark them.", False
        ),
        Command(
            "pairs.keep_all", "K", "decide_shown('keep')", "Keep all shown", "Keep all that the filter shows.", False
        ),
        Command(
            "pairs.drop_all", "D", "decide_shown('drop')", "Drop all shown", "Drop all that the filter shows.", False
        ),
        Command("pairs.group", "g", "group", "Group", "Rows of one group answer each other's queries.", False, vim="o"),
        Command("pairs.tag", "t", "tag", "Tag", "Give or take away a tag.", footer=False),
        Command("pairs.note", "n", "note", "Note", "Write a note about this row.", footer=False),
        Command("pairs.search", "slash", "search", "Search", "Search and filter: words, /regex/, split:…, check:…"),
        Command("pairs.facets", "f", "facets", "Filter", "Filter by split, check, decision, length …, with counts."),
        Command("pairs.sort", "s", "sort", "Sort", "Sort by something; the same again turns it around.", footer=False),
        Command("pairs.views", "v", "views", "Views", "Save this filter and order, or open a saved one.", footer=False),
        Command("pairs.histogram", "h", "histogram", "Lengths", "Lengths of what the filter shows.", False, vim="H"),
        Command("pairs.tokens", "T", "tokens", "Count tokens", "Count the tokens of all texts.", False),
        Command("pairs.languages", "L", "languages", "Languages", "Tell the language of every query.", False),
        Command("pairs.jump", "colon,number_sign", "jump", "Jump", "Go to a row by its number or id.", footer=False),
        Command("pairs.copy", "y", "copy", "Copy", "Copy this row as JSON through the terminal.", footer=False),
        Command("pairs.two_lines", "w", "two_lines", "Two lines", "Show each row on two lines.", footer=False),
        Command("pairs.refresh", "r,f5", "again", "Again", "Filter and sort again after decisions.", footer=False),
        Command(
            "pairs.clear", "escape", "back", "Back", "Close what is open; then clear marks; then the filter.", False
        ),
    )
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        f"Pairs shows every row of your data and what became of it: {GLYPH_WORDS}.\n"
        "Letters at the right are what the checks found. Capital letters are certain, small ones are for you to judge. "
        "E exact copy, D near-duplicate passage, N near-duplicate query, C contained in another, B boilerplate, "
        "L leak between splits, Q quality, P personal data, I already prompted. # has a tag, ✉ has a note.\n"
        "A key acts on the row under the cursor, or on the marked rows if there are any. Every decision is saved at "
        "once; u takes it back, even tomorrow.\n"
        'Filters: words that stand together, "a phrase", /regex/, in:query, status:removed, status:decided, '
        "split:test, tag:x, rows:1-50, check:near_duplicates/review, query.chars<20, passage.tokens>512, is:marked."
    )
    DEFAULT_CSS = """
    PairsScreen {
        #filter-line { height: 1; padding: 0 1; color: $foreground 80%; }
        #search { display: none; height: 3; }
        #search.-open { display: block; }
        #panes { height: 1fr; layout: horizontal; }
        #detail { width: 40%; border-left: solid $primary 50%; padding: 0 1; }
        &.-narrow #panes { layout: vertical; }
        &.-narrow #detail { width: 100%; height: 45%; border-left: none; border-top: solid $primary 50%; }
        &.-narrow FacetList { width: 100%; height: 50%; }
        &.-narrow.-facets #detail { display: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.where = Where()
        self.order = Order()
        self._before_search = ""
        self._rows: FoundRows | None = None
        self._detail_timer: Timer | None = None
        self._typing_timer: Timer | None = None
        self._why = ""
        self._looking = False
        """Whether other rows are being looked for: what is shown is not what was asked for last."""

    def body(self) -> ComposeResult:
        """Filter, facets on demand, the table, the row beside it."""
        yield Static(id="filter-line", markup=False)
        yield Input(placeholder='words, "a phrase", /regex/, check:near_duplicates, split:train …', id="search")
        with Horizontal(id="panes"):
            yield FacetList(id="facets")
            yield PairTable(empty="No row fits this filter. esc clears it.", id="table")
            with VerticalScroll(id="detail"):
                yield Static(id="row", markup=False)

    def on_mount(self) -> None:
        """Start on the table."""
        table = self.query_one(PairTable)
        table.two_lines = self.studio.user.interface.two_lines
        table.focus()

    # What is shown

    def changed(self) -> None:
        """Draw the rows as they stand now, where they are."""
        table = self.query_one(PairTable)
        if self._rows is None or self._rows.session is not self.session:
            self._rows = FoundRows(self.session, None)
            self.where, self.order = Where(), Order()
            table.set_source(self._rows)
            self._show_row(table.cursor)
        else:
            table.refresh_rows()
            self._show_row_soon(table.cursor)
        self._show_filter()

    def show(self, where: Where, why: str = "", order: Order | None = None) -> None:
        """Filter by `where`; `why` says in words where that came from. The rows stay until the new ones are there."""
        self._looking = True
        self._find(where, order or self.order, why)

    @work(exclusive=True, group="find", description="filter the rows")
    async def _find(self, where: Where, order: Order, why: str) -> None:
        session, table = self.session, self.query_one(PairTable)
        standing = self.position
        if not where and order == Order():
            positions = None
        else:
            marked = np.array(sorted(session.marked), np.uint32)
            self.query_one("#filter-line", Static).update(Content("looking …"), layout=False)
            try:
                found = await self.studio.ask("find", slot="find", where=where, order=order, marked=marked)
            except (Cancelled, asyncio.CancelledError):
                return
            except StudioError as error:
                # Filter, order and rows stay what they were, so that what is said of the rows is true of them.
                self._looking = False
                self._show_filter(error)
                return
            positions = found.positions
        self._looking = False
        self.where, self.order, self._why = where, order, why
        self._rows = FoundRows(session, positions)
        # A regular expression is marked beside the table only, where its matches are known.
        table.highlight = None if where.regex else where.text or None
        table.set_source(self._rows)
        if standing is not None and (place := self._rows.place(standing)) is not None:
            table.go_to(place)
        self._show_filter()
        self._show_row(table.cursor)
        if self.query_one(FacetList).display:
            self._load_facets()

    def _show_filter(self, error: StudioError | None = None) -> None:
        """One line: how many of how many, by which filter, in which order."""
        line = self.query_one("#filter-line", Static)
        if error is not None:
            words = " · ".join(part for part in (error.what, error.remedy, error.why) if part)
            line.update(Content.styled(f"✗ {safe_text(words, 300)}", "bold"), layout=False)
            return
        rows = self._rows
        if rows is None:
            return
        count = len(rows)
        parts = [f"{count:,} of {len(self.session.rows):,} pairs" if rows.positions is not None else f"{count:,} pairs"]
        if self.where:
            shown = self._why or format_where(self.where)
            parts.append(f"filter: {safe_text(shown, 120)}")
        if self.order != Order():
            parts.append(f"sorted: {_SORT_WORDS[self.order.by]}{' (turned around)' if self.order.descending else ''}")
        line.update(Content(" · ".join(parts)), layout=False)

    @property
    def position(self) -> int | None:
        """The row under the cursor."""
        if self._rows is None or not len(self._rows):
            return None
        return self._rows.position(self.query_one(PairTable).cursor)

    @on(PairTable.Moved)
    def _moved(self, event: PairTable.Moved) -> None:
        self._show_row_soon(event.place)

    def _show_row_soon(self, place: int) -> None:
        if self._detail_timer is not None:
            self._detail_timer.stop()
        self._detail_timer = self.set_timer(DETAIL_DELAY, partial(self._show_row, place))

    def _show_row(self, place: int) -> None:
        """Show the row under the cursor: its texts at once, its evidence when the engine has it."""
        rows = self._rows
        if rows is None or place >= len(rows):
            self.query_one("#row", Static).update("")
            return
        position = rows.position(place)
        self.studio.current_position = position
        [shown] = self.session.shown([position])
        mask = int(self.session.masks[position]) if self.studio.ready.is_set() else None
        self.query_one("#row", Static).update(detail_content(shown, mask, None, self.where))
        self.query_one("#detail", VerticalScroll).scroll_home(animate=False)
        self._load_evidence(shown)

    @work(exclusive=True, group="detail", description="read a row's evidence")
    async def _load_evidence(self, shown: Shown) -> None:
        position = shown.row.position
        try:
            evidence = await self.studio.ask("row_evidence", slot="detail", position=position)
        except (Cancelled, asyncio.CancelledError, StudioError):
            return
        if self.position == position:
            content = detail_content(shown, int(self.session.masks[position]), evidence, self.where)
            self.query_one("#row", Static).update(content)

    @on(PairTable.Opened)
    def _opened(self, event: PairTable.Opened) -> None:
        """Show the whole row over the screen."""
        if (position := self.position) is None:
            return
        [shown] = self.session.shown([position])
        mask = int(self.session.masks[position])
        self.app.push_screen(Tell(f"row {shown.number:,}", detail_content(shown, mask, None, self.where, limit=50_000)))

    # Decisions

    def _chosen(self) -> list[int]:
        return self.session.chosen(self.position)

    def _decide(self, action: Action, positions: Sequence[int], reason: str, value: str | None = None) -> None:
        """Decide on rows; without marks the cursor goes on to the next row."""
        if not positions:
            return
        alone = not self.session.marked
        rows = f"row {positions[0] + 1:,}" if len(positions) == 1 else f"{len(positions):,} rows"
        self.studio.decide([Step(action, positions, reason, value)], f"{action.value}: {rows}")
        if alone and action in (Action.KEEP, Action.DROP):
            self.query_one(PairTable).action_move(1)
        elif not alone:
            self.session.marked.clear()
            self.query_one(PairTable).refresh_rows()

    def action_keep(self) -> None:
        """Keep."""
        self._decide(Action.KEEP, self._chosen(), "kept by hand")

    def action_drop(self) -> None:
        """Drop."""
        self._decide(Action.DROP, self._chosen(), "dropped by hand")

    @work(group="bulk", exclusive=True, description="decide on all that is shown")
    async def action_decide_shown(self, name: str) -> None:
        """Keep or drop everything the filter shows, as one step; ask first if that is much."""
        rows = self._rows
        if rows is None or not len(rows) or self._refused() or self._not_yet():
            return
        action = Action(name)
        positions = np.arange(len(rows)) if rows.positions is None else rows.positions
        question = f"{name.capitalize()} all {len(positions):,} rows shown?"
        shown = format_where(self.where) if self.where else "no filter: this is every row"
        if len(positions) >= _CONFIRM_FROM or not self.where:
            sure = await self.app.push_screen_wait(Confirm(question, f"Filter: {shown}\nOne step; u takes it back."))
            if not sure:
                return
        done = "kept" if action is Action.KEEP else "dropped"
        self.studio.decide(
            [Step(action, positions, f"{done} by filter: {shown}")], f"{name}: {len(positions):,} rows, one step"
        )

    def action_mark(self) -> None:
        """Mark or unmark, and go on."""
        if (position := self.position) is None:
            return
        self.session.marked ^= {position}
        self._marks_changed()
        self.query_one(PairTable).action_move(1)

    def action_mark_all(self) -> None:
        """Mark all that is shown, or unmark all if all are marked."""
        rows = self._rows
        if rows is None or self._not_yet():
            return
        shown = set(range(len(rows))) if rows.positions is None else set(rows.positions.tolist())
        if shown <= self.session.marked:
            self.session.marked -= shown
        else:
            self.session.marked |= shown
        self._marks_changed()

    def _marks_changed(self) -> None:
        self.query_one(PairTable).refresh_rows()
        self.studio.job_signal.publish(None)

    @work(group="ask", exclusive=True, description="ask for a group")
    async def action_group(self) -> None:
        """Join rows to one answer group."""
        positions = self._chosen()
        hint = f"{len(positions):,} rows; rows with the same name answer each other's queries."
        name = await self.app.push_screen_wait(AskText("Name of the answer group", hint=hint))
        if name and name.strip():
            self._decide(Action.GROUP, positions, "grouped by hand", name.strip())

    @work(group="ask", exclusive=True, description="ask for a tag")
    async def action_tag(self) -> None:
        """Give a tag, or take it away from rows that all have it."""
        positions = self._chosen()
        if not positions:
            return
        shown = self.session.shown(positions[:1_000])
        there = sorted({tag for row in shown for tag in row.tags})
        hint = f"{len(positions):,} rows; a tag that all of them have is taken away."
        tag = await self.app.push_screen_wait(AskText("Tag", hint=hint, suggestions=there[:8]))
        if tag and (tag := tag.strip()):
            everywhere = all(tag in row.tags for row in shown)
            action = Action.UNTAG if everywhere else Action.TAG
            self._decide(action, positions, "tagged by hand" if action is Action.TAG else "tag taken away", tag)

    @work(group="ask", exclusive=True, description="ask for a note")
    async def action_note(self) -> None:
        """Write a note."""
        positions = self._chosen()
        note = await self.app.push_screen_wait(AskText("Note", hint=f"{len(positions):,} rows"))
        if note and note.strip():
            self._decide(Action.NOTE, positions, "note", note.strip())

    @work(group="ask", exclusive=True, description="edit a row")
    async def action_edit(self) -> None:
        """Edit the row here."""
        if (position := self.position) is not None and not self._refused():
            [shown] = self.session.shown([position])
            self._edited(position, await self.app.push_screen_wait(EditScreen(shown)))

    @work(group="ask", exclusive=True, description="edit a row in $EDITOR")
    async def action_edit_outside(self) -> None:
        """Edit the row in $EDITOR; the studio waits."""
        if (position := self.position) is not None and not self._refused():
            [shown] = self.session.shown([position])
            try:
                self._edited(position, edit_outside(self.app, shown))
            except StudioError as error:
                self.studio.fail(error)

    def _edited(self, position: int, fields: dict[str, object] | None) -> None:
        if fields:
            names = " and ".join(fields)
            steps = [Step(Action.EDIT, [position], "edited by hand", edit_value(fields))]
            self.studio.decide(steps, f"edit: {names} of row {position + 1:,}")
        elif fields is not None:
            self.studio.say("Nothing was changed.")

    def _not_yet(self) -> bool:
        if self._looking:
            self.studio.say("The rows of this filter are still being looked for.", severity="warning")
        return self._looking

    def _refused(self) -> bool:
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was changed.", severity="warning")
        return self.session.read_only

    # Filter, sort, views

    def action_search(self) -> None:
        """Open the search line with the filter as it is."""
        search = self.query_one("#search", Input)
        self._before_search = format_where(self.where)
        with self.prevent(Input.Changed):
            search.value = safe_text(self._before_search)
        search.add_class("-open")
        search.focus()

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        """Filter while typing, once the fingers rest."""
        if self._typing_timer is not None:
            self._typing_timer.stop()
        self._typing_timer = self.set_timer(TYPING_DELAY, self._apply_typed)

    def _apply_typed(self) -> None:
        """Filter by what stands in the search line now; a timer that fired late finds it closed."""
        search = self.query_one("#search", Input)
        if search.has_class("-open"):
            self._apply(search.value)

    def _apply(self, text: str, *, complete: bool = False) -> bool:
        try:
            where = parse(text)
        except UsageError as error:
            # While it is being typed a filter is often not whole yet; the last whole one stands.
            self._show_filter(error)
            return False
        if where != self.where or complete:
            self.show(where)
        else:
            self._show_filter()
        return True

    @on(Input.Submitted, "#search")
    def _submitted(self, event: Input.Submitted) -> None:
        """Take the filter and go to the rows."""
        if self._typing_timer is not None:
            self._typing_timer.stop()
        if self._apply(event.value, complete=True):
            self._close_search()

    def _close_search(self) -> None:
        self.query_one("#search", Input).remove_class("-open")
        self.query_one(PairTable).focus()

    def action_back(self) -> None:
        """One level back: the search line, the facets, the marks, the filter."""
        search, facets = self.query_one("#search", Input), self.query_one(FacetList)
        if search.has_class("-open"):
            if self._typing_timer is not None:
                self._typing_timer.stop()
            self._close_search()
            if self._looking or format_where(self.where) != self._before_search:
                self.show(parse(self._before_search))
            else:
                self._show_filter()
        elif facets.display:
            facets.display = False
            self.remove_class("-facets")
            self.query_one(PairTable).focus()
        elif self.session.marked:
            self.session.marked.clear()
            self._marks_changed()
        elif self.where or self.order != Order():
            self.show(Where(), order=Order())

    def action_again(self) -> None:
        """Filter and sort again."""
        self.show(self.where, self._why)

    def action_facets(self) -> None:
        """Open or close the facets."""
        facets = self.query_one(FacetList)
        facets.display = not facets.display
        self.set_class(facets.display, "-facets")
        if facets.display:
            self._load_facets()
            facets.focus()
        else:
            self.query_one(PairTable).focus()

    @work(exclusive=True, group="facets", description="count the facets")
    async def _load_facets(self) -> None:
        marked = np.array(sorted(self.session.marked), np.uint32)
        try:
            found = await self.studio.ask("facets", slot="facets", where=self.where, marked=marked)
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.studio.fail(error)
            return
        self.query_one(FacetList).show(found, self.where)

    @on(FacetList.Toggled)
    def _toggled(self, event: FacetList.Toggled) -> None:
        """Add a value to the filter, or take it away."""
        self.show(self.where.toggled(event.key, event.value))

    @on(FacetList.Compute)
    def _compute(self, event: FacetList.Compute) -> None:
        """Work out what a facet needs and is not known yet."""
        self.studio.start_job(event.job, event.title, self._computed)

    def _computed(self, _: object) -> None:
        if self.query_one(FacetList).display:
            self._load_facets()

    @work(group="ask", exclusive=True, description="ask how to sort")
    async def action_sort(self) -> None:
        """Sort; the same again turns the order around."""
        choices = [(by, _SORT_WORDS[by], by) for by in ORDERS]
        by = await self.app.push_screen_wait(Choose("Sort by (again: turn around)", choices, self.order.by))
        if by is not None:
            turned = by == self.order.by and by != "position" and not self.order.descending
            self.show(self.where, self._why, Order(by, turned))  # type: ignore[arg-type]

    @work(group="ask", exclusive=True, description="saved views")
    async def action_views(self) -> None:
        """Open, save or remove a view."""
        views = SavedViews(self.session.project)
        try:
            known = await asyncio.to_thread(views.list)
        except StudioError as error:
            self.studio.fail(error)
            return
        choices = [("+", "save this filter and order", "")]
        choices += [(f"={view.name}", view.name, view.where or "every row") for view in known]
        choices += [(f"-{view.name}", f"remove {view.name}", "") for view in known]
        answer = await self.app.push_screen_wait(Choose("Views", choices))
        if answer is None:
            return
        try:
            if answer == "+":
                name = await self.app.push_screen_wait(AskText("Name of the view", hint=format_where(self.where)))
                if name and name.strip():
                    await asyncio.to_thread(views.save, name.strip(), format_where(self.where), self.order)
                    self.studio.say(f"Saved as {name.strip()}.")
            elif answer[0] == "-":
                await asyncio.to_thread(views.remove, answer[1:])
            else:
                [view] = [view for view in known if view.name == answer[1:]]
                self.show(parse(view.where), view.name, view.order)
        except StudioError as error:
            self.studio.fail(error)

    def action_tokens(self) -> None:
        """Count tokens, so that filters, sorting and lengths can use them."""
        self.studio.start_job("tokens", "count tokens", self._computed)

    def action_languages(self) -> None:
        """Tell languages, so that filters and facets can use them."""
        self.studio.start_job("languages", "language of each query", self._computed)

    def action_histogram(self) -> None:
        """Show the lengths of what the filter shows."""
        self.app.push_screen(HistogramScreen(self.where, sorted(self.session.marked)))

    @work(group="ask", exclusive=True, description="ask for a row")
    async def action_jump(self) -> None:
        """Go to a row."""
        total = len(self.session.rows)
        answer = await self.app.push_screen_wait(
            AskText("Go to row", hint=f"A number from 1 to {total:,}, or a row_id.")
        )
        if answer is None or not answer.strip():
            return
        name = answer.strip().replace(",", "")
        found = self.session.rows.positions([name])
        position = found[0] if found else int(name) - 1 if name.isdecimal() and 1 <= int(name) <= total else None
        if position is None:
            self.studio.say(f"There is no row {name}.", severity="warning")
            return
        self.go_to(position)

    def go_to(self, position: int) -> None:
        """Put the cursor on a row; a filter that leaves it out is cleared."""
        assert self._rows is not None
        place = self._rows.place(position)
        if place is None:
            self.studio.say("The filter left that row out; it was cleared.")
            self.where, self.order, place = Where(), Order(), position
            self._rows = FoundRows(self.session, None)
            self.query_one(PairTable).set_source(self._rows)
            self._show_filter()
        self.query_one(PairTable).go_to(place)

    def show_rows(self, positions: Iterable[int], why: str) -> None:
        """Show only these rows; `why` says in words which they are."""
        self.show(Where(rows=spans_of(positions)), why)

    def action_copy(self) -> None:
        """Copy the row's texts as they are."""
        if (position := self.position) is not None:
            [shown] = self.session.shown([position])
            fields = {"row_id": shown.row.row_id, "query": shown.query, "positive": shown.positive}
            if shown.negatives:
                fields["negatives"] = list(shown.negatives)  # type: ignore[assignment]
            self.studio.copy(json.dumps(fields, ensure_ascii=False), f"row {shown.number:,}")

    def action_two_lines(self) -> None:
        """One line a row, or two."""
        table = self.query_one(PairTable)
        table.two_lines = not table.two_lines
        self.studio.prefer("two_lines", table.two_lines)
