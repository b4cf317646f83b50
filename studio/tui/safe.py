"""The one boundary between text from data and the screen: nothing that passes here is markup or steers a terminal.

Textual reads most strings as markup: `[/]` in a passage ends the app, `[INST]` disappears, `[@click=app.quit]` is a
link. A `Content` is never parsed. No widget filters control characters, so these functions do.

What takes what:

- `safe`: Static, Label, Button, Checkbox, ListItem(Label), Collapsible and TabPane titles, `border_title` and
  `border_subtitle`, `tooltip`, options of OptionList and SelectionList, options of Select (`type_to_search` of Select
  passes over a Content, so give it names of our own where it matters), cells and headings of our own widgets.
  Never read `border_title` back to set it again: Textual returns it as markup, and its escaping is incomplete.
- `safe_lines`: Static and Label that show a whole text.
- `safe_text`: places that want a `str`: `notify(safe_text(…), title=safe_text(…), markup=False)`, `App.title` and
  `sub_title`, `Select.prompt`, `Input.placeholder`, and `rich.text.Text(safe_text(…))` for cells of a DataTable.
- None of them: Input and TextArea hold the text that is edited (`safe_area.SafeArea` draws it harmless), and no
  command palette hit, binding or class name is ever made of data.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter

from studio.text.safe import steering, visible

LINES_LIMIT = 20_000
"""Characters of one text that a detail pane shows: more makes each resize slow, and no one reads it there."""


_MOST_LINES = 1_000
"""Lines of one text that are shown: each costs as much as a widget of its own when it is laid out."""


def safe_text(text: str, limit: int | None = None) -> str:
    """Return `text` on one line as a plain string, of at most `limit` characters. Not escaped: turn markup off."""
    return visible(text, limit)


def safe(text: str, limit: int | None = None) -> Content:
    """Return `text` on one line, of at most `limit` characters, as content that is never parsed."""
    # What Textual would strip is spelled out already.
    return Content(visible(text, limit), strip_control_codes=False)


def safe_lines(text: str, limit: int | None = LINES_LIMIT) -> Content:
    """Return `text` with its line feeds as line breaks and all else spelled out.

    Of a longer text the first `limit` characters, and of one with very many lines the first of them, are shown; a last
    line says how much there is.
    """
    shown = text[:limit].split("\n")
    lines = "\n".join(map(visible, shown[:_MOST_LINES]))
    if len(shown) > _MOST_LINES:
        notice = f"… showing {_MOST_LINES:,} of {text.count(chr(10)) + 1:,} lines"
    elif limit is not None and len(text) > limit:
        notice = f"… showing {limit:,} of {len(text):,} characters"
    else:
        return Content(lines, strip_control_codes=False)
    return Content.assemble(lines, "\n", (notice, "dim italic"), strip_control_codes=False)


class Harmless(LineFilter):
    """The last look at every line drawn: what steers a terminal and was missed before, or was pasted, is blanked."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments, of the same width, without such characters."""
        return [_harmless(segment) if steering(segment.text) else segment for segment in segments]


def _harmless(segment: Segment) -> Segment:
    text, style, control = segment
    kept = "".join(character for character in text if not steering(character))
    return Segment(set_cell_size(kept, cell_len(text)), style, control)
