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
- None of them: Input and TextArea hold the text that is edited, and no command palette hit, binding or class name is
  ever made of data.
"""

from __future__ import annotations

from textual.content import Content

from studio.text.safe import visible

LINES_LIMIT = 20_000
"""Characters of one text that a detail pane shows: more makes each resize slow, and no one reads it there."""


def safe_text(text: str, limit: int | None = None) -> str:
    """Return `text` on one line as a plain string, of at most `limit` characters. Not escaped: turn markup off."""
    return visible(text, limit)


def safe(text: str, limit: int | None = None) -> Content:
    """Return `text` on one line, of at most `limit` characters, as content that is never parsed."""
    # What Textual would strip is spelled out already.
    return Content(visible(text, limit), strip_control_codes=False)


def safe_lines(text: str, limit: int | None = LINES_LIMIT) -> Content:
    """Return `text` with its line feeds as line breaks and all else spelled out.

    Of a longer text the first `limit` characters are shown, and a last line says how many there are.
    """
    cut = limit is not None and len(text) > limit
    lines = "\n".join(map(visible, text[:limit].split("\n")))
    if not cut:
        return Content(lines, strip_control_codes=False)
    notice = f"… showing {limit:,} of {len(text):,} characters"
    return Content.assemble(lines, "\n", (notice, "dim italic"), strip_control_codes=False)
