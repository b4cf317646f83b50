"""The table of pairs: a window on any number of rows, of which only the lines on screen are read and drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from studio.text.safe import visible
from studio.tui.command import Command, bindings
from studio.tui.safe import safe_lines

_HEADER = 1
"""Lines above the rows that do not scroll."""
_GUTTER = 3
"""Cells of the mark, the glyph and the gap after them."""
_GAP = 2
"""Cells between two columns."""
_QUERY_SHARE = 0.38
"""What the query gets of the width that query and passage share."""
_FLAGS_MOST = 12
_FLAGS_FROM = 44
"""Width from which the flags are shown."""
_NUMBER_FROM = 40
"""Width from which the row numbers are shown."""
_COLUMNS_FROM = 20
"""Width from which the columns are sure to have room."""
_STRIPS_KEPT = 2_000
_WINDOWS_KEPT = 3
"""Rows are forgotten when more than this many windows of them are held: a row may hold a very long text."""
_MARK = "*"

TABLE = (
    Command("table.up", "up", "move(-1)", "Row up", "Go one row up.", footer=False, vim="up,k"),
    Command("table.down", "down", "move(1)", "Row down", "Go one row down.", footer=False, vim="down,j"),
    Command("table.page_up", "pageup", "page(-1)", "Page up", "Go one page up.", footer=False),
    Command("table.page_down", "pagedown", "page(1)", "Page down", "Go one page down.", footer=False),
    Command("table.half_page_up", "ctrl+u", "page(-1, True)", "Half a page up", "Go half a page up.", footer=False),
    Command(
        "table.half_page_down", "ctrl+d", "page(1, True)", "Half a page down", "Go half a page down.", footer=False
    ),
    Command("table.first", "home", "first", "First row", "Go to the first row.", footer=False, vim="home,g"),
    Command("table.last", "end", "last", "Last row", "Go to the last row.", footer=False, vim="end,G"),
    Command("table.open", "enter", "open", "Open", "Show the whole row.", footer=False),
)
"""What moves in the table."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row as the table shows it. The texts are as they are in the data: the table makes them harmless."""

    number: int
    """From 1, in the order of the imported file."""
    glyph: str
    """One column that says what became of the row; it must say so without colour."""
    marked: bool
    query: str
    passage: str
    flags: str
    dim: bool
    """Is this row no part of the result?"""


class TableSource(Protocol):
    """The rows that a filter left, in its order. A *place* counts in that order, from 0."""

    @property
    def version(self) -> int:
        """Changes when anything that is shown may have changed."""
        ...

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Sequence[TableRow]:
        """The rows at the places `start` to `stop`, `stop` not included. Asked for what is on screen only."""
        ...


class _Columns(NamedTuple):
    """Cells of each column; 0: not shown."""

    number: int
    query: int
    passage: int
    flags: int


class _View(NamedTuple):
    """What is the same for all lines of a frame."""

    width: int
    first_line: int
    row_lines: int
    cursor: int
    columns: _Columns


class _Look(NamedTuple):
    """Styles of the parts of a row."""

    text: Style
    mark: Style
    number: Style
    flags: Style
    match: Style


class PairTable(ScrollView, can_focus=True, inherit_bindings=False):
    """A table over a `TableSource`, with a cursor.

    It moves, and tells where it is; what a key does to a row is the business of the screen around it. After a
    decision the screen calls `refresh_rows`.
    """

    BINDINGS = bindings(TABLE)

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair-table--header",
        "pair-table--cursor",
        "pair-table--marked",
        "pair-table--removed",
        "pair-table--number",
        "pair-table--flags",
        "pair-table--empty",
    }
    """`--cursor` is the row under the cursor, `--marked` the mark before a row, `--removed` a row that is `dim`."""

    DEFAULT_CSS = """
    PairTable {
        width: 1fr;
        height: 1fr;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        color: $foreground;

        & > .pair-table--header {
            color: $text-muted;
            background: $panel;
            text-style: bold;
        }
        & > .pair-table--number, & > .pair-table--empty {
            color: $text-muted;
        }
        & > .pair-table--flags {
            color: $text-warning;
        }
        & > .pair-table--marked {
            color: $text-accent;
            text-style: bold;
        }
        & > .pair-table--removed {
            color: $text-muted;
        }
        & > .pair-table--cursor {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
            text-style: $block-cursor-blurred-text-style;
        }
        &:focus > .pair-table--cursor {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
            text-style: $block-cursor-text-style;
        }
    }
    """

    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, repaint=False, init=False)
    """The place of the current row; always one that there is, or 0."""
    two_lines: reactive[bool] = reactive(False, repaint=False, init=False)
    """Give each row two lines: the query, and under it the passage."""
    highlight: reactive[str | re.Pattern[str] | None] = reactive(None, repaint=False, init=False)
    """What to mark in queries and passages. A string is taken literally, in upper or lower case; a pattern is
    searched in the shown part of each text only, but it runs in the interface: give it none that backtracks."""
    empty: reactive[Content | str] = reactive[Content | str]("", repaint=False, init=False)
    """What to say when there are no rows. A string is never read as markup."""

    class _About(Message):
        """A message about one row."""

        def __init__(self, table: PairTable, place: int) -> None:
            super().__init__()
            self.table = table
            self.place = place

        @property
        def control(self) -> PairTable:
            """The table, so that `@on` can select by it."""
            return self.table

    class Moved(_About):
        """Another row came under the cursor. While one waits to be handled, a later one takes its place."""

        def can_replace(self, message: Message) -> bool:
            """Tell whether `message`, which is waiting, makes this one stale."""
            return isinstance(message, PairTable.Moved) and message.table is self.table

    class Opened(_About):
        """Enter was pressed on a row, or it was double-clicked."""

    def __init__(
        self,
        source: TableSource | None = None,
        *,
        empty: Content | str = "",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.set_reactive(PairTable.empty, empty)
        self._source = source
        # As of the last look, so that all that is drawn agrees until `refresh_rows` looks again.
        self._version = -1
        self._count = 0
        self._pattern: re.Pattern[str] | None = None
        self._rows: dict[int, TableRow] = {}
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(_STRIPS_KEPT)
        self._looks: dict[tuple[bool, bool], _Look] = {}
        self._empty_strips: list[Strip] | None = None
        self._view = _View(0, 0, 1, 0, _Columns(0, 1, 1, 0))
        # These grow with what is met and never shrink, so that columns do not jump while scrolling.
        self._number_cells = 1
        self._flags_cells = len("flags")
        self._measure_source()

    @property
    def source(self) -> TableSource | None:
        """Where the rows come from."""
        return self._source

    @property
    def window(self) -> range:
        """The places on screen, those of half-shown rows too."""
        first = self.scroll_offset.y
        stop = -(-(first + self._window_lines) // self._row_lines)
        return range(first // self._row_lines, max(0, min(self._count, stop)))

    def set_source(self, source: TableSource | None, *, keep_place: bool = False) -> None:
        """Show other rows: from the first, or with `keep_place` with cursor and view where they are, if they can be.

        Posts `Moved`, as another row is under the cursor even if its place is the same.
        """
        self._source = source
        self._flags_cells = len("flags")
        self._measure_source()
        self._forget()
        if not keep_place:
            self.set_reactive(PairTable.cursor, 0)
            if self.is_mounted:
                self.scroll_to(y=0, animate=False, force=True)
        self._settle(moved=True)

    def refresh_rows(self) -> None:
        """Read the rows on screen again, and how many there are. Posts `Moved` if that number changed."""
        before = self._count
        self._measure_source()
        self._forget()
        self._settle(moved=before != self._count)

    def go_to(self, place: int) -> None:
        """Move the cursor to a place, or the nearest there is; into the middle if it was not on screen."""
        place = self.validate_cursor(place)
        if place not in self.window and self.is_mounted:
            middle = place * self._row_lines - (self._window_lines - self._row_lines) // 2
            self.scroll_to(y=middle, animate=False, force=True)
        self._move_to(place)

    def action_move(self, rows: int) -> None:
        """Move the cursor by some rows."""
        self._move_to(self.cursor + rows)

    def action_page(self, direction: int, half: bool = False) -> None:
        """Turn the page: view and cursor move together, and one row stays in view."""
        rows = max(1, self._window_lines // self._row_lines - 1)
        if half:
            rows = max(1, rows // 2)
        target = self.scroll_offset.y + direction * rows * self._row_lines
        self.scroll_to(y=target, animate=False, force=True)
        self._move_to(self.cursor + direction * rows)

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._move_to(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._move_to(self._count - 1)

    def action_open(self) -> None:
        """Open the current row."""
        if self._count:
            self.post_message(self.Opened(self, self.cursor))

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor on a row."""
        return max(0, min(cursor, self._count - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        """Draw the two rows it is about."""
        self._refresh_row(before)
        self._refresh_row(now)
        self._reveal(now, margin=0)
        self.post_message(self.Moved(self, now))

    def watch_two_lines(self, two_lines: bool) -> None:
        """Change the height of the rows; the first one on screen stays there."""
        lines_before = 1 if two_lines else 2
        first = self.scroll_offset.y // lines_before
        self._forget()
        self._resize_virtually()
        if self.is_mounted:
            self.scroll_to(y=first * self._row_lines, animate=False, force=True)
        self._reveal(self.cursor, margin=0)
        self.refresh()

    def watch_highlight(self, highlight: str | re.Pattern[str] | None) -> None:
        """Mark other matches."""
        if isinstance(highlight, str):
            # Matches are looked for in what is shown, where a tab is ⇥.
            self._pattern = re.compile(re.escape(visible(highlight)), re.IGNORECASE) if highlight else None
        else:
            self._pattern = highlight
        self._strips.clear()
        self.refresh()

    def watch_empty(self) -> None:
        """Say something else when there are no rows."""
        self._empty_strips = None
        self.refresh()

    def notify_style_update(self) -> None:
        """Draw with the new styles: a theme, the focus."""
        super().notify_style_update()
        self._strips.clear()
        self._looks.clear()
        self._empty_strips = None

    def on_resize(self) -> None:
        """Keep the cursor on screen."""
        self._reveal(self.cursor, margin=0)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked row; the second click opens it."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < _HEADER:
            return
        place = (self.scroll_offset.y + offset.y - _HEADER) // self._row_lines
        if place >= self._count:
            return
        if event.chain == 1:
            self.cursor = place
        elif event.chain == 2:
            # The row of the first click, even if it scrolled away from under the pointer to show its other half.
            self.action_open()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Read what is new on screen, then draw."""
        if self._source is not None and self._source.version != self._version:
            # Lines that are not drawn now are stale too, and there may be fewer.
            self.call_later(self.refresh_rows)
        self._read_window()
        width = self.scrollable_content_region.width
        view = _View(width, self.scroll_offset.y, self._row_lines, self.cursor, self._columns(width))
        if (view.width, view.columns) != (self._view.width, self._view.columns):
            self._strips.clear()
            self._empty_strips = None
        self._view = view
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the widget; the first is the header."""
        if y < _HEADER:
            return self._draw_header()
        if not self._count:
            return self._draw_empty(y - _HEADER)
        view = self._view
        place, part = divmod(view.first_line + y - _HEADER, view.row_lines)
        row = self._rows.get(place)
        if row is None:
            return Strip.blank(view.width, self._style())
        current = place == view.cursor
        key = (place, part, current)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._draw_row(row, part, current)
        return strip

    @property
    def _row_lines(self) -> int:
        return 2 if self.two_lines else 1

    @property
    def _window_lines(self) -> int:
        return max(0, self.scrollable_content_region.height - _HEADER)

    def _measure_source(self) -> None:
        """Take over what is known of the source as a whole."""
        self._count = 0 if self._source is None else len(self._source)
        self._version = -1 if self._source is None else self._source.version
        self._number_cells = max(self._number_cells, len(str(self._count)))
        self._resize_virtually()

    def _resize_virtually(self) -> None:
        size = Size(0, _HEADER + self._count * self._row_lines)
        # Setting it lays the screen out again.
        if size != self.virtual_size:
            self.virtual_size = size

    def _settle(self, *, moved: bool) -> None:
        """Bring cursor, view and lines in line with a source that may have changed."""
        before = self.cursor
        self.set_reactive(PairTable.cursor, self.validate_cursor(before))
        if self.is_mounted:
            self.scroll_to(y=self.scroll_offset.y, animate=False, force=True)
        self._reveal(self.cursor, margin=0)
        self.refresh()
        if self.is_mounted and (moved or self.cursor != before) and self._count:
            self.post_message(self.Moved(self, self.cursor))

    def _forget(self) -> None:
        self._rows.clear()
        self._strips.clear()
        self._empty_strips = None

    def _read_window(self) -> None:
        """Read the rows on screen that are not held yet, each run of them at once."""
        if self._source is None or self._source.version != self._version:
            return
        window = self.window
        if len(self._rows) > _WINDOWS_KEPT * max(len(window), 1):
            self._rows = {place: self._rows[place] for place in window if place in self._rows}
        start = window.start
        while start < window.stop:
            if start in self._rows:
                start += 1
                continue
            stop = start + 1
            while stop < window.stop and stop not in self._rows:
                stop += 1
            rows = self._source.rows(start, stop)
            self._rows.update(zip(range(start, stop), rows, strict=False))
            self._widen(rows)
            start = stop

    def _widen(self, rows: Sequence[TableRow]) -> None:
        """Make room for what these rows hold."""
        if not rows:
            return
        number = max(self._number_cells, max(len(str(row.number)) for row in rows))
        flags = max(cell_len(visible(row.flags, _FLAGS_MOST + 1)) for row in rows)
        flags = max(self._flags_cells, min(flags, _FLAGS_MOST))
        # Rows are only ever new when the whole window is about to be drawn, so no line stays behind.
        self._number_cells, self._flags_cells = number, flags

    def _move_to(self, place: int) -> None:
        self.cursor = place
        self._reveal(self.cursor, margin=1)

    def _reveal(self, place: int, *, margin: int) -> None:
        """Scroll as little as shows a row, with `margin` more rows on the near side."""
        lines, row_lines = self._window_lines, self._row_lines
        if not lines or not self.is_mounted:
            return
        if lines < (2 * margin + 1) * row_lines:
            margin = 0
        above = (place - margin) * row_lines
        below = (place + 1 + margin) * row_lines
        first = self.scroll_offset.y
        if above < first:
            self.scroll_to(y=above, animate=False, force=True)
        elif below > first + lines:
            self.scroll_to(y=min(below - lines, place * row_lines), animate=False, force=True)

    def _refresh_row(self, place: int) -> None:
        if place in self.window:
            y = _HEADER + place * self._row_lines - self.scroll_offset.y
            self.refresh(Region(0, y, self.size.width, self._row_lines))

    def _style(self, *components: str) -> Style:
        return self.get_visual_style(*components).rich_style

    def _look(self, current: bool, dim: bool) -> _Look:
        look = self._looks.get((current, dim))
        if look is None:
            if current:
                # One look over the whole line: colours made for another background may not be readable on this one.
                text = mark = number = flags = self._style("pair-table--cursor")
            else:
                row = ("pair-table--removed",) if dim else ()
                text, mark = self._style(*row), self._style(*row, "pair-table--marked")
                number, flags = self._style(*row, "pair-table--number"), self._style(*row, "pair-table--flags")
            look = _Look(text, mark, number, flags, text + Style(bold=True, underline=True))
            self._looks[current, dim] = look
        return look

    def _columns(self, width: int) -> _Columns:
        number = self._number_cells if width >= _NUMBER_FROM else 0
        flags = self._flags_cells if width >= _FLAGS_FROM else 0
        left = _GUTTER + (number + _GAP if number else 0)
        rest = width - left - (flags + _GAP if flags else 0)
        if self.two_lines:
            return _Columns(number, max(1, rest), max(1, width - left), flags)
        query = max(1, round((rest - _GAP) * _QUERY_SHARE))
        return _Columns(number, query, max(1, rest - _GAP - query), flags)

    def _draw_header(self) -> Strip:
        columns = self._view.columns
        number = f"{'#':>{columns.number}}{' ' * _GAP}" if columns.number else ""
        text = " " * _GUTTER + number
        if self._view.row_lines == 2:
            text += _fit("query, passage", columns.query)
        else:
            text += _fit("query", columns.query) + " " * _GAP + _fit("passage", columns.passage)
        if columns.flags:
            text += " " * _GAP + _fit("flags", columns.flags)
        style = self._style("pair-table--header")
        return Strip([Segment(text, style)]).adjust_cell_length(self._view.width, style)

    def _draw_empty(self, y: int) -> Strip:
        width = self._view.width
        strips = self._empty_strips
        if strips is None:
            content = safe_lines(self.empty) if isinstance(self.empty, str) else self.empty
            style = self.get_visual_style("pair-table--empty")
            strips = Visual.to_strips(self, content, max(1, width), None, style)
            self._empty_strips = strips
        at = y - max(0, self._window_lines - len(strips)) // 2
        if not 0 <= at < len(strips):
            return Strip.blank(width, self._style())
        shown = Strip([Segment(strips[at].text.rstrip(), self._style("pair-table--empty"))])
        return shown.text_align(width, "center")

    def _draw_row(self, row: TableRow, part: int, current: bool) -> Strip:
        width, _, row_lines, _, columns = self._view
        look = self._look(current, row.dim)
        gap = Segment(" " * _GAP, look.text)
        if part:
            indent = Segment(" " * (_GUTTER + (columns.number + _GAP if columns.number else 0)), look.text)
            segments = [indent, *self._cell(row.passage, columns.passage, look)]
        else:
            segments = [
                Segment(_MARK if row.marked else " ", look.mark),
                Segment(_fit(row.glyph, 1) + " ", look.text),
            ]
            if columns.number:
                segments += Segment(f"{row.number:>{columns.number}}", look.number), gap
            segments += self._cell(row.query, columns.query, look)
            if row_lines == 1:
                segments += gap, *self._cell(row.passage, columns.passage, look)
            if columns.flags:
                segments += gap, Segment(_fit(row.flags, columns.flags), look.flags)
        if width < _COLUMNS_FROM:
            return Strip(segments).adjust_cell_length(width, look.text)
        # Known by construction: to measure it again would cost more than all this.
        return Strip(segments, width)

    def _cell(self, data: str, width: int, look: _Look) -> list[Segment]:
        """Draw a text from data in exactly `width` cells, its matches marked."""
        text, shown, end = _crop(data, width)
        segments: list[Segment] = []
        done = 0
        for found in self._pattern.finditer(text) if self._pattern else ():
            start, stop = max(done, found.start()), min(found.end(), shown)
            if start < stop:
                segments += Segment(text[done:start], look.text), Segment(text[start:stop], look.match)
                done = stop
        # Apart, as text without … is measured much faster by those who draw it.
        segments += Segment(text[done:shown], look.text), Segment(end, look.text)
        return segments


def _fit(data: str, width: int) -> str:
    """Make a text from data harmless, and exactly `width` cells long; … says that there is more."""
    text, shown, end = _crop(data, width)
    return text[:shown] + end


def _crop(data: str, width: int) -> tuple[str, int, str]:
    """A text from data made harmless, how many characters of that fit, and what fills the rest of `width` cells."""
    # Twice the width leaves room for marks that take no cell, such as those of Devanagari. The selector of emoji
    # presentation goes: terminals do not agree on the width that it gives a character. Joiners are spelled out.
    # Without these two, the width of a text is the sum of the widths of its characters.
    most = 2 * width + 1
    text = visible(data[:most]).replace("\ufe0f", "")
    more = len(data) > most
    if text.isascii():
        if len(text) <= width and not more:
            return text, len(text), " " * (width - len(text))
        shown = min(len(text), width - 1)
        return text, shown, "…" + " " * (width - 1 - shown)
    used = fitting = fitting_used = 0
    for index, character in enumerate(text):
        used += get_character_cell_size(character)
        if used < width:
            fitting, fitting_used = index + 1, used
        elif used > width:
            break
    else:
        if not more:
            return text, len(text), " " * (width - used)
    return text, fitting, "…" + " " * (width - 1 - fitting_used)
