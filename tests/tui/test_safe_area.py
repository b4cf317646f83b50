"""Hostile texts in the two editors: nothing of them reaches the terminal, nothing of them is changed by the way."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from studio.project.ledger import Action
from studio.project.project import Project
from studio.tui.contract_editor import ContractEditor
from studio.tui.editing import EditScreen
from studio.tui.safe_area import SafeArea
from tests.tui.driving import Driver, driving, run

STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\ue000-\uf8ff\U000e0000-\U0010ffff]"
)
HOSTILE = [
    "\x1b]0;pwn\x07",
    "\x1b[2J\x1b[31mred",
    "\x9b31m\x9dpwn\x9c",
    "\u202eevil\u202c \u2066x\u2069",
    "a\u200db\u200bc\ufeff\u00ad",
    "a\x00b\x08c\x7fd",
    "dos\r\nlines\r\n",
    "\r\n",
    "mixed\r\n\n\r \x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 end",
    "old\rmac",
    "line at the end\u2028",
    "private \ue000 \U000f0000\U000f0001 \U00100000 \U0010ffff",
    "\U000e0041 tags \U000e0100",
    "⟨U+001B⟩ ␛ ␠ ▯ �",
    "tab\there, no-break\xa0space, \u3000wide",
    "👩\u200d👩\u200d👧 ❤\ufe0f e\u0301 שלום 你好",
    "[/] [@click=app.quit]x",
    "",
]
Rows = Callable[..., Project]


class Bare(App[None]):
    """One area and nothing else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.area = SafeArea(text, id="one")

    def compose(self) -> ComposeResult:
        yield self.area


def drawn(area: SafeArea) -> str:
    """What the area gives to the terminal; fails if any of it steers one."""
    text = ""
    for strip in area.render_lines(area.outer_size.region):
        assert not any(segment.control for segment in strip)
        assert strip.cell_length <= area.outer_size.width
        text += strip.text + "\n"
    found = STEERING.search(text.replace("\n", ""))
    assert found is None, f"{found.group()!r} is drawn"
    return text


def bare(text: str, work: Callable[[SafeArea, Pilot[None]], Any], size: tuple[int, int] = (40, 10)) -> None:
    async def flow() -> None:
        app = Bare(text)
        async with app.run_test(size=size) as pilot:
            app.area.focus()
            await pilot.pause()
            await work(app.area, pilot)

    run(flow)


@pytest.mark.parametrize("text", [*(pytest.param(text, marks=pytest.mark.slow) for text in HOSTILE), "".join(HOSTILE)])
def test_a_hostile_text_is_drawn_as_signs_and_edited_around(text: str) -> None:
    async def work(area: SafeArea, pilot: Pilot[None]) -> None:
        drawn(area)
        assert area.value == text
        area.move_cursor(area.document.end)
        await pilot.press("z")
        area.move_cursor((0, 0))
        await pilot.press("a")
        await pilot.pause()
        drawn(area)
        assert area.value == f"a{text}z"
        for _ in range(3):
            area.undo()
        assert area.value == text
        # All of it copied, taken away and put back from the clipboard.
        area.select_all()
        assert area.selected_text == text
        if text:
            await pilot.press("ctrl+x")
            assert area.value == "" and pilot.app.clipboard == text
            area.action_paste()
            assert area.value == text
        drawn(area)
        area.load_text(f"{text}\x1b")
        assert area.value == f"{text}\x1b"
        await pilot.pause()
        drawn(area)

    bare(text, work)


def test_signs_take_the_columns_that_were_counted_for_them() -> None:
    """Else the end of a line would lie outside, and the cursor beside what it stands on."""

    async def work(area: SafeArea, pilot: Pilot[None]) -> None:
        assert "".join(drawn(area).split()).count("␛") == 60
        await pilot.press("end")
        assert area.cursor_screen_offset.x - area.content_region.x <= area.content_region.width

    bare("\x1b" * 60, work)


def test_each_kind_of_character_has_a_sign() -> None:
    async def work(area: SafeArea, pilot: Pilot[None]) -> None:
        assert "␛␍▯⍽␣�x" in drawn(area)
        assert area.holds_signs and area.holds_other_breaks
        area.load_text("a\r\nb\r\n")
        assert not area.holds_signs and area.holds_other_breaks
        area.load_text("a\nb\tc �")
        assert not area.holds_signs and not area.holds_other_breaks

    bare("\x1b\r\u202e\xa0\u3000�x", work)


@pytest.mark.parametrize(
    ("pasted", "value"),
    [("a\r\nb\rc", "a\nb\nc"), ("\x1b]0;pwn\x07\u202e\U000f0000", "\x1b]0;pwn\x07\u202e\U000f0000")],
)
def test_what_is_pasted_is_shown_too(pasted: str, value: str) -> None:
    async def work(area: SafeArea, pilot: Pilot[None]) -> None:
        pilot.app.post_message(events.Paste(pasted))
        await pilot.pause()
        await pilot.pause()
        assert area.value == value
        drawn(area)

    bare("", work)


# The editor of a row


async def opened(studio: Driver, keys: str = "e") -> EditScreen:
    await studio.press(keys)
    await studio.until(lambda: isinstance(studio.app.screen, EditScreen) and studio.app.screen.query(SafeArea))
    await studio.pilot.pause()
    screen = studio.app.screen
    assert isinstance(screen, EditScreen)
    return screen


def edits(project: Project) -> list[Action]:
    return [decision.action for decision in project.ledger.log()]


def test_saving_without_typing_changes_nothing(make_project: Rows) -> None:
    rows = [{"query": f"q{text}", "positive": f"p{text}", "negatives": [f"n{text}", text]} for text in HOSTILE]
    project = make_project(rows)

    async def flow() -> None:
        async with driving(project.root) as studio:
            for _ in rows:
                screen = await opened(studio)
                for area in screen.query(SafeArea):
                    drawn(area)
                await studio.press("ctrl+s", "down")
                assert studio.app.screen is not screen
            assert edits(project) == []

    run(flow)


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[6], HOSTILE[8], HOSTILE[11], "".join(HOSTILE)])
def test_typing_in_one_text_leaves_the_others_as_they_are(make_project: Rows, text: str) -> None:
    project = make_project([{"query": f"q{text}", "positive": f"p{text}", "negatives": [f"n{text}", " ", text or "m"]}])

    async def flow() -> None:
        async with driving(project.root) as studio:
            screen = await opened(studio)
            await studio.press("tab")
            assert studio.app.focused is screen.query_one("#area-positive")
            await studio.press("z", "ctrl+s")
            await studio.until(lambda: edits(project))
            await studio.settle()
            screen = await opened(studio)
            assert [area.value for area in screen.query(SafeArea)] == [f"q{text}", f"zp{text}", f"n{text}", " ", text]
            await studio.press("tab", "tab")
            area = screen.query_one("#area-negative-1", SafeArea)
            area.move_cursor(area.document.end)
            await studio.press("z", "ctrl+s")
            await studio.until(lambda: len(edits(project)) == 2)

    run(flow)
    row = project.curated().rows.row(0, named=True)
    assert (row["query"], row["positive"], row["negatives"]) == (f"q{text}", f"zp{text}", [f"n{text}z", " ", text])


def test_an_emptied_negative_goes_and_an_emptied_passage_is_refused(make_project: Rows) -> None:
    project = make_project([{"query": "q", "positive": "p", "negatives": ["n", "m"]}])

    async def flow() -> None:
        async with driving(project.root) as studio:
            screen = await opened(studio)
            await studio.press("tab", "backspace", "delete", "ctrl+s")
            assert studio.app.screen is screen
            await studio.press("ctrl+z", "tab", "delete", "ctrl+s")
            await studio.until(lambda: edits(project))

    run(flow)
    row = project.curated().rows.row(0, named=True)
    assert (row["positive"], row["negatives"]) == ("p", ["m"])


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_every_text_is_in_reach_and_the_room_is_used(make_project: Rows, size: tuple[int, int]) -> None:
    texts = [f"negativo {at} " + "palavra " * 30 for at in range(1, 6)]
    project = make_project([{"query": "pergunta", "positive": "passagem " * 90, "negatives": texts}])

    async def flow() -> None:
        async with driving(project.root, size) as studio:
            screen = await opened(studio)
            dialog = screen.query_one("#edit-dialog").region
            assert dialog.height == min(size[1], 48) and dialog.width >= min(size[0] * 0.9, 130)
            assert screen.query_one("#edit-texts", VerticalScroll).region.height >= size[1] - 5
            names = ["query", "passage", *(f"negative {at}" for at in range(1, 6))]
            for name, area in zip(names, screen.query(SafeArea), strict=True):
                assert studio.app.focused is area
                texts_region = screen.query_one("#edit-texts").region
                assert area.content_size.height >= 2 and texts_region.contains_region(area.region)
                assert name in studio.text and area.text[:8] in studio.text
                await studio.press("tab")

    run(flow)


@pytest.mark.parametrize(
    ("row", "areas", "said"),
    [
        (
            {"query": "q", "positive": "x" * 200_000, "negatives": ["n"]},
            2,
            "passage: 200,000 characters, too long to edit here",
        ),
        ({"query": "\x1b[31m" * 40_000, "positive": "p"}, 1, "query: 200,000 characters, too long to edit here"),
        (
            {"query": "q", "positive": "p", "negatives": [f"negativo {at}" for at in range(200)]},
            14,
            "188 more negatives, from the 13th on, have no room here",
        ),
    ],
)
def test_a_very_large_row_opens_at_once_and_keeps_what_has_no_room(
    make_project: Rows, row: dict[str, Any], areas: int, said: str
) -> None:
    project = make_project([row])

    async def flow() -> None:
        async with driving(project.root) as studio:
            begun = time.perf_counter()
            screen = await opened(studio)
            # Half a second on a quiet machine with two slow cores; others may be at work on it too.
            assert time.perf_counter() - begun < 5
            assert len(screen.query(SafeArea)) == areas
            assert any(said in str(static.visual) for static in screen.query(Static))
            assert "$EDITOR" in str(screen.query_one("#edit-hint", Static).visual)
            await studio.press("z", "ctrl+s")
            await studio.until(lambda: edits(project))

    run(flow)
    after = project.curated().rows.row(0, named=True)
    changed = {name: after[name] for name in row if after[name] != row[name]}
    [(name, text)] = changed.items()
    assert text == f"z{row[name]}"


# The editor of a contract


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[6], HOSTILE[8], HOSTILE[11]])
def test_a_prompt_is_edited_around_too(make_project: Rows, text: str) -> None:
    project = make_project([("q", "p")])

    async def flow() -> None:
        async with driving(project.root, panel="prompts") as studio:
            await studio.press("e")
            await studio.until(lambda: isinstance(studio.app.screen, ContractEditor) and studio.app.focused is not None)
            area = studio.app.screen.query_one("#edit-document", SafeArea)
            area.load_text(text)
            await studio.press("tab", "z")
            drawn(area)
            assert area.value == f"z{text}"

    run(flow)
