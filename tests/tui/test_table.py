import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from rich.cells import cell_len
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from studio.tui.table import PairTable, TableRow
from tests.tui.test_safe import HOSTILE, WIDE, steers

LINES = 20
SHOWN = LINES - 1


class Source:
    """Rows made on demand, which notes what it was asked for."""

    def __init__(self, count: int, texts: Sequence[str] = ()) -> None:
        self.count = count
        self.texts = texts
        self.version = 0
        self.asked: list[range] = []
        self.removed: set[int] = set()

    def __len__(self) -> int:
        return self.count

    def rows(self, start: int, stop: int) -> list[TableRow]:
        assert 0 <= start < stop <= self.count
        self.asked.append(range(start, stop))
        return [self._row(place) for place in range(start, stop)]

    def _row(self, place: int) -> TableRow:
        removed = place in self.removed
        text = self.texts[place % len(self.texts)] if self.texts else None
        return TableRow(
            number=place + 1,
            glyph="✗" if removed else " ",
            marked=place == 2,
            query=f"query {place}" if text is None else text,
            passage=f"passage {place} with a fatura in it" if text is None else text,
            flags=("D F" if place % 2 else "") if text is None else text,
            dim=removed,
        )


class Small(App[None]):
    def __init__(self, source: Source | None) -> None:
        super().__init__()
        self.source = source
        self.moved: list[int] = []
        self.opened: list[int] = []

    def compose(self) -> ComposeResult:
        yield PairTable(self.source, empty="No rows: [/] esc")

    @property
    def table(self) -> PairTable:
        return self.query_one(PairTable)

    @on(PairTable.Moved)
    def _moved(self, message: PairTable.Moved) -> None:
        assert message.control is self.table
        self.moved.append(message.place)

    @on(PairTable.Opened)
    def _opened(self, message: PairTable.Opened) -> None:
        self.opened.append(message.place)


Test = Callable[[Small, Pilot[None]], Awaitable[None]]


def _with(source: Source | None, test: Test, width: int = 100) -> None:
    async def run() -> None:
        app = Small(source)
        async with app.run_test(size=(width, LINES)) as pilot:
            await pilot.pause()
            await test(app, pilot)

    asyncio.run(run())


def _lines(table: PairTable) -> list[str]:
    return [strip.text for strip in table.render_lines(table.size.region)]


async def _resize(table: PairTable, pilot: Pilot[None], width: int) -> None:
    await pilot.resize_terminal(width, LINES)
    # On a busy machine the pilot comes back before the table has its new size.
    while table.outer_size.width != width:
        await pilot.pause(0.01)


def test_keys_move_the_cursor_and_never_wrap() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        steps = [
            ("up", 0),
            ("down", 1),
            ("pagedown", SHOWN),
            ("pageup", 1),
            ("ctrl+d", 10),
            ("ctrl+u", 1),
            ("end", 999),
            ("down", 999),
            ("pagedown", 999),
            ("home", 0),
            ("pageup", 0),
            ("end", 999),
            ("home", 0),
        ]
        for key, place in steps:
            await pilot.press(key)
            assert table.cursor == place, key
            assert place in table.window, key
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.opened == [1]
        assert app.moved[0] == 1 and app.moved[-1] == 1

    _with(Source(1_000), test)


def test_the_cursor_keeps_a_row_of_margin() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        await pilot.press(*["down"] * (SHOWN - 2))
        assert app.table.window == range(SHOWN)
        await pilot.press("down")
        assert app.table.window == range(1, SHOWN + 1)

    _with(Source(1_000), test)


def test_keys_can_be_mapped_anew() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        app.set_keymap({"table.down": "n"})
        await pilot.press("n", "n", "down")
        assert app.table.cursor == 2

    _with(Source(9), test)


def test_the_mouse_moves_opens_and_scrolls() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        await pilot.click(PairTable, offset=(10, 5))
        assert app.table.cursor == 4
        await pilot.click(PairTable, offset=(10, 0))
        assert app.table.cursor == 4, "the header is no row"
        # The last line has no margin: a scroll would put another row under the second click.
        await pilot.click(PairTable, offset=(10, SHOWN), times=2)
        await pilot.pause()
        assert app.table.cursor == SHOWN - 1
        assert app.opened == [SHOWN - 1]
        await pilot.mouse_down(PairTable, offset=(10, 5))
        app.table.scroll_to(y=500, animate=False)
        await pilot.pause()
        assert app.table.cursor == SHOWN - 1, "the view left it behind"
        await pilot.press("down")
        assert app.table.cursor == SHOWN and SHOWN in app.table.window

    _with(Source(1_000), test)


def test_a_click_below_the_last_row_does_nothing() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        await pilot.click(PairTable, offset=(10, 9), times=2)
        assert app.table.cursor == 0 and not app.opened

    _with(Source(3), test)


def test_only_the_window_is_read() -> None:
    source = Source(1_000_000)

    async def test(app: Small, pilot: Pilot[None]) -> None:
        assert sum(map(len, source.asked)) <= SHOWN
        source.asked.clear()
        await pilot.press("down", "down")
        assert not source.asked, "these rows are on screen already"
        await pilot.press("end")
        await pilot.pause()
        assert source.asked == [range(1_000_000 - SHOWN, 1_000_000)]
        source.asked.clear()
        await pilot.press("pageup")
        await pilot.pause()
        # One row of the page before stays in view, and one is the margin below the cursor.
        assert source.asked == [range(1_000_000 - 2 * SHOWN + 2, 1_000_000 - SHOWN)]
        for _ in range(9):
            await pilot.press("pageup")
        assert len(app.table.window) <= SHOWN
        assert sum(map(len, source.asked)) <= 10 * SHOWN

    _with(source, test)


def test_a_decision_reads_what_is_on_screen_again() -> None:
    source = Source(1_000)

    async def test(app: Small, pilot: Pilot[None]) -> None:
        await pilot.press("down")
        await pilot.pause()
        app.moved.clear()
        source.asked.clear()
        source.removed.add(1)
        source.version += 1
        app.table.refresh_rows()
        await pilot.pause()
        assert source.asked == [range(SHOWN)]
        assert "✗" in _lines(app.table)[2]
        assert not app.moved

    _with(source, test)


def test_a_change_nobody_told_of_is_seen_by_its_version() -> None:
    source = Source(1_000)

    async def test(app: Small, pilot: Pilot[None]) -> None:
        source.removed.add(5)
        source.version += 1
        await pilot.press("down")
        await pilot.pause()
        assert "✗" in _lines(app.table)[6]

    _with(source, test)


def test_the_cursor_stays_on_a_row_when_the_source_shrinks() -> None:
    source = Source(1_000)

    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        await pilot.press("end")
        for count, place in ((30, 29), (3, 2), (0, 0), (500, 0)):
            app.moved.clear()
            source.count, source.version = count, source.version + 1
            table.refresh_rows()
            await pilot.pause()
            assert table.cursor == place
            assert app.moved == ([place] if count else [])
            assert len(table.window) == min(count, SHOWN)
            await pilot.press("enter")
        assert app.opened == [29, 2, 0]

    _with(source, test)


def test_another_source_starts_at_its_first_row_or_keeps_the_place() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        table.go_to(500)
        await pilot.pause()
        assert 500 in table.window and table.window.start < 500 - 5 < 500 + 5 < table.window.stop
        window = table.window
        table.set_source(Source(900), keep_place=True)
        await pilot.pause()
        assert (table.cursor, table.window) == (500, window)
        table.set_source(Source(900))
        await pilot.pause()
        assert (table.cursor, table.window.start) == (0, 0)
        assert app.moved[-3:] == [500, 500, 0]

    _with(Source(1_000), test)


@pytest.mark.parametrize("source", [None, Source(0)])
def test_without_rows_it_says_why(source: Source | None) -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        await pilot.press("down", "up", "pagedown", "pageup", "end", "home", "enter")
        lines = _lines(app.table)
        at = next(i for i, line in enumerate(lines) if "No rows: [/] esc" in line)
        assert abs(at - LINES // 2) <= 1
        assert len(lines[at]) - len(lines[at].lstrip()) == pytest.approx(41, abs=2)
        assert not app.moved and not app.opened
        app.table.empty = "Other"
        assert any("Other" in line for line in _lines(app.table))

    _with(source, test)


def test_columns_go_where_there_is_no_room() -> None:
    async def wide(app: Small, pilot: Pilot[None]) -> None:
        lines = _lines(app.table)
        assert lines[0].split() == ["#", "query", "passage", "flags"]
        assert lines[2].split()[:3] == ["2", "query", "1"] and "D F" in lines[2]
        assert lines[3].startswith("*")

    async def middle(app: Small, pilot: Pilot[None]) -> None:
        lines = _lines(app.table)
        assert lines[0].split() == ["#", "query", "passage"]
        assert "D F" not in lines[2]

    async def narrow(app: Small, pilot: Pilot[None]) -> None:
        assert _lines(app.table)[0].split() == ["query", "passage"]

    for width, test in ((100, wide), (43, middle), (35, narrow)):
        _with(Source(100), test, width)


def test_two_lines_a_row() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        await pilot.press(*["down"] * 30)
        first = table.window.start
        table.two_lines = True
        await pilot.pause()
        assert 30 in table.window
        table.go_to(first)
        await pilot.pause()
        await pilot.press("home")
        await pilot.pause()
        lines = _lines(table)
        assert "query 0" in lines[1] and "passage 0 with" in lines[2] and "query 1" in lines[3]
        assert "D F" in lines[3]
        await pilot.click(PairTable, offset=(10, 4))
        assert table.cursor == 1, "the second line is of the same row"
        await pilot.press("pagedown")
        assert table.cursor == 1 + SHOWN // 2 - 1
        await pilot.press("end")
        await pilot.pause()
        assert "passage 999" in _lines(table)[-1]
        table.two_lines = False
        await pilot.pause()
        assert 999 in table.window and "passage 999" in _lines(table)[-1]

    _with(Source(1_000), test)


def test_matches_are_marked_without_colour() -> None:
    def marked(table: PairTable, y: int) -> list[str]:
        strip = table.render_lines(table.size.region)[y]
        return [s.text for s in strip if s.style and s.style.bold and s.style.underline]

    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        assert marked(table, 2) == []
        table.highlight = "FATURA"
        assert marked(table, 1) == marked(table, 2) == ["fatura"], "on the cursor row too"
        table.highlight = re.compile(r"\d|$")
        assert marked(table, 3) == ["2", "2"]
        assert table.render_lines(table.size.region)[0].text.split() == ["#", "query", "passage", "flags"]
        table.highlight = None
        assert marked(table, 2) == []

    _with(Source(100), test)


def test_a_match_in_what_is_cut_off_marks_nothing_else() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        for width in range(30, 60):
            await _resize(table, pilot, width)
            for highlight in ("世", "界界", "a", "…", re.compile("..")):
                table.highlight = highlight
                assert {cell_len(line) for line in _lines(table)} == {width}

    _with(Source(20, [*WIDE, "世界" * 40, "a世" * 40]), test)


@pytest.mark.parametrize("two_lines", [False, True])
def test_hostile_texts_are_harmless_at_any_width(two_lines: bool) -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        table = app.table
        table.two_lines = two_lines
        table.highlight = "["
        for width in [1, 2, 5, 9, *range(30, 201, 19)]:
            await _resize(table, pilot, width)
            seen: set[int] = set()
            while len(seen) < len(HOSTILE):
                lines = _lines(table)
                assert not any(steers(line) for line in lines)
                assert {cell_len(line) for line in lines} == {width}
                seen.update(table.window)
                table.action_page(1)
            table.action_first()
        assert app.is_running

    _with(Source(3 * len(HOSTILE), HOSTILE), test)


def test_columns_stay_aligned_next_to_wide_characters() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        strips = app.table.render_lines(app.table.size.region)
        flags = strips[0].text.index("flags")
        for strip in strips[1 : 1 + len(WIDE)]:
            # The two cells before the flags are a gap wherever they are cut out.
            assert strip.crop(flags - 2, flags).text == "  "

    _with(Source(len(WIDE), WIDE), test)


def test_a_long_text_costs_no_more_than_a_short_one() -> None:
    async def test(app: Small, pilot: Pilot[None]) -> None:
        start = time.perf_counter()
        for _ in range(20):
            app.table.refresh_rows()
            _lines(app.table)
        assert time.perf_counter() - start < 2

    _with(Source(100, ["\x1b[31m" * 100_000]), test)


def test_focus_can_be_seen() -> None:
    class Two(App[None]):
        def compose(self) -> ComposeResult:
            yield PairTable(Source(3), id="a")
            yield PairTable(Source(3), id="b")

    async def run() -> None:
        app = Two()
        async with app.run_test(size=(80, 20)) as pilot:
            a = app.query_one("#a", PairTable)

            def cursor_style() -> object:
                return next(iter(a.render_lines(a.size.region)[1])).style

            a.focus()
            await pilot.pause()
            focused = cursor_style()
            await pilot.press("tab")
            await pilot.pause()
            assert app.focused is app.query_one("#b")
            assert cursor_style() != focused

    asyncio.run(run())
