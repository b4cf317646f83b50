"""A text area for text from data: every character can be edited, and none of them reaches the terminal unfiltered.

Textual's own text area draws control characters as they are, breaks lines at nine other characters than the line feed
and rewrites those when it is typed in. Here all that a terminal would obey, or nobody would see, is kept out of the
document: each such character has a private one in its place, drawn as one sign, and turned back when the text is read.
"""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from rich.text import Text
from textual import events
from textual.document._document import EditResult, Location
from textual.document._edit import Edit
from textual.widgets import TextArea

from studio.prompts.visible import visible

_FIRST_STAND_IN = 0xF0000
_AS_IT_IS = frozenset(" \t\n␠⏎⇥⍽⟨")
"""What `visible` spells in another way although it can be drawn, or is a line break in the area too."""
_OTHER_BREAKS = frozenset("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


class _StandIns(dict[int, str]):
    """Code point → itself, or the private character that is in its place in one area; given out once needed.

    Private characters of the text get one too, so that what is in the document can only mean one thing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.meant: dict[int, str] = {}
        """Stand-in → the character it stands for."""
        self.signs: dict[int, str] = {}
        """Stand-in → the sign that is drawn, one column wide as the stand-in itself."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        if char in _AS_IT_IS or visible(char) == char:
            self[point] = char
        else:
            stand_in = _FIRST_STAND_IN + len(self.meant)
            self.meant[stand_in], self.signs[stand_in] = char, _sign(char)
            self[point] = chr(stand_in)
        return self[point]


def _sign(char: str) -> str:
    """One sign of one column. Not the replacement character: that is a character data has, and means damage."""
    if ord(char) < 0x20:
        return chr(0x2400 + ord(char))
    shown = visible(char)
    if len(shown) == 1:
        return shown
    return "␣" if unicodedata.category(char) == "Zs" else "▯"


class SafeArea(TextArea):
    """A text area that draws a sign for what cannot be drawn, and changes nothing but what was typed.

    Line breaks that are all carriage return and line feed are edited as line feeds, and are what they were in `value`.
    """

    LEGEND = "␛ ␍ ␣ ▯: a character that cannot be drawn, kept as it is"

    def __init__(self, given: str, *, id: str) -> None:
        super().__init__(self._taken_in(given), id=id, soft_wrap=True, tab_behavior="focus")

    def _taken_in(self, given: str) -> str:
        """The document for a text."""
        breaks = given.count("\r\n")
        self._line_end = "\r\n" if 0 < breaks == given.count("\n") == given.count("\r") else "\n"
        self._stand_ins = _StandIns()
        return given.replace(self._line_end, "\n").translate(self._stand_ins)

    def _meant(self, drawn: str) -> str:
        """The characters of a part of the document."""
        return drawn.replace("\n", self._line_end).translate(self._stand_ins.meant)

    @property
    def value(self) -> str:
        """The text as it was given, and as it was edited since."""
        return self._meant(self.text)

    @property
    def holds_signs(self) -> bool:
        """Whether a sign has been drawn for a character of the text."""
        return bool(self._stand_ins.meant)

    @property
    def holds_other_breaks(self) -> bool:
        """Whether the text has line breaks of another kind than line feeds."""
        return not _OTHER_BREAKS.isdisjoint(self.value)

    def load_text(self, text: str) -> None:
        """Put another text in its place."""
        super().load_text(self._taken_in(text))

    def edit(self, edit: Edit) -> EditResult:
        """Put in, or take out, a part of the text; all that is typed or pasted comes through here."""
        edit.text = edit.text.replace(self._line_end, "\n").translate(self._stand_ins)
        result = super().edit(edit)
        # For the clipboard; the edit keeps its own result to undo itself.
        return replace(result, replaced_text=self._meant(result.replaced_text))

    def get_text_range(self, start: Location, end: Location) -> str:
        """The characters between two places."""
        return self._meant(super().get_text_range(start, end))

    def get_line(self, line_index: int) -> Text:
        """The line as it is drawn."""
        return Text(self.document.get_line(line_index).translate(self._stand_ins.signs), end="", no_wrap=True)

    def on_paste(self, event: events.Paste) -> None:
        """Terminals end the lines of what is pasted in ways of their own."""
        event.text = event.text.replace("\r\n", "\n").replace("\r", "\n")
