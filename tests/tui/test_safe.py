import asyncio
import unicodedata
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import (
    Button,
    Checkbox,
    Collapsible,
    DataTable,
    Header,
    Label,
    ListItem,
    ListView,
    OptionList,
    Select,
    SelectionList,
    Static,
    TabbedContent,
    TabPane,
)
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

from studio.tui.safe import safe, safe_lines, safe_text

MARKUP = [
    "[/]",
    "see [/ here",
    "[INST] x [/INST]",
    "[@click=app.quit]out[/]",
    "[type=x, v={'a[0]'}]",
    "[bold",
    "\\[b]",
    "][",
]
STEERING = [
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[31mred",
    "\x00",
    "\x9b31m",
    "\x85",
    "a\rb\x08\x0b\x0cc",
    "\u202eevil\u202c",
    "\u2066x\u2069\u200f",
    "\ud800 alone",
    "a\u200db\u200bc\ufeff",
    "\u2028\u2029",
    "\U000e0041",
    "tab\there",
    "two\nlines",
]
WIDE = [
    "你好，世界" * 9,
    "👩\u200d👩\u200d👧 family",
    "e\u0301" * 60,
    "שלום עולם",
    "❤\ufe0f" * 30,
    "ก็" * 40,
    "\u0301\u0301start",
]
HOSTILE = [*MARKUP, *STEERING, *WIDE, "x" * 200_000, "\x1b" * 200_000, ""]
"""Texts that a data set may hold and that must not be able to do anything."""

_DIRECTIONS = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
anything = st.text(st.characters(exclude_categories=[])) | st.text(st.sampled_from("[]/\\@=\n\x1b\u202e\ud800a"))


def steers(text: str) -> bool:
    """Is there anything in `text` that a terminal may obey?"""
    return any(unicodedata.category(c) in ("Cc", "Cs") or unicodedata.bidirectional(c) in _DIRECTIONS for c in text)


@given(anything)
def test_one_line_is_never_parsed_and_never_steers(text: str) -> None:
    content = safe(text)
    assert not content.spans
    assert content.plain == safe_text(text)
    assert not steers(content.plain)


@given(anything)
def test_lines_keep_their_breaks_and_nothing_else(text: str) -> None:
    lines = safe_lines(text).plain.split("\n")
    assert len(lines) == text.count("\n") + 1
    assert not any(steers(line) for line in lines)


def test_a_cut_text_says_so() -> None:
    assert safe("x" * 200_000, 80).plain == "x" * 79 + "…"
    shown = safe_lines("ab " * 300_000, 20_000).plain
    assert shown.endswith("\n… showing 20,000 of 900,000 characters")
    assert len(shown) < 20_100
    assert safe_lines("ab\n" * 300_000).plain.endswith("\n… showing 1,000 of 300,001 lines")
    assert safe_lines("x" * 20_000).plain == "x" * 20_000


class _Surfaces(App[None]):
    """Every place that is said to take these functions, with one text in all of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        shown = safe(self._text, 60)
        yield Header()
        yield Static(shown)
        yield Static(safe_lines(self._text, 500))
        yield Label(shown)
        yield Button(shown)
        yield Checkbox(shown)
        yield OptionList(Option(shown))
        yield SelectionList(Selection(shown, 1))
        yield Select([(shown, 1)], value=1, prompt=safe_text(self._text, 60))
        yield ListView(ListItem(Label(shown)))
        yield Collapsible(title=shown)
        with TabbedContent(), TabPane(shown):
            yield DataTable()

    def on_mount(self) -> None:
        shown = safe(self._text, 60)
        self.title = self.sub_title = safe_text(self._text, 60)
        static = self.query_one(Static)
        static.border_title = static.border_subtitle = shown
        static.styles.border = ("round", "white")
        static.tooltip = shown
        static.update(shown)
        self.notify(safe_text(self._text, 60), title=safe_text(self._text, 60), markup=False)


def _shown(widget: Widget) -> str:
    return "\n".join(strip.text for strip in widget.render_lines(Region(0, 0, *widget.outer_size)))


def _everywhere(text: str, look: Callable[[App[None]], None]) -> None:
    async def run() -> None:
        app = _Surfaces(text)
        async with app.run_test(size=(80, 60), notifications=True) as pilot:
            await pilot.pause()
            look(app)

    asyncio.run(run())


def test_no_text_harms_any_surface() -> None:
    seen: list[str] = []

    def look(app: App[None]) -> None:
        assert app.query("Toast")
        for widget in app.screen.walk_children():
            if widget.display and widget.outer_size and not widget.is_container:
                shown = _shown(widget)
                seen.append(shown)
                assert not steers(shown.replace("\n", "")), widget

    texts = [*MARKUP, *STEERING]
    # One text of all that steers in one go, and one of each markup: each app takes a moment.
    for text in [*MARKUP, "".join(t for t in texts if t in STEERING)]:
        _everywhere(text, look)
    assert sum("[INST] x [/INST]" in shown for shown in seen) >= 8
    assert sum("⟨U+001B⟩" in shown for shown in seen) >= 8


def test_content_is_what_textual_does_not_parse() -> None:
    assert isinstance(safe("[/]"), Content)
    assert Static(safe("[@click=app.quit]x")).render().plain == "[@click=app.quit]x"  # type: ignore[union-attr]
