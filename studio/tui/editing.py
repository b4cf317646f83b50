"""Editing the texts of one row: here, or in the person's own editor."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from studio.errors import InputError, UnavailableError
from studio.text.safe import json_safe
from studio.tui.command import Command, bindings
from studio.tui.safe import safe
from studio.tui.safe_area import SafeArea
from studio.view.session import Shown

EDITOR = (
    Command("edit.save", "ctrl+s", "save", "Save", "Save what was changed as one decision.", priority=True),
    Command("edit.close", "escape", "close", "Leave", "Leave without saving."),
)
_TITLES = {"query": "query", "positive": "passage"}
_LEAST = 4
"""Lines that a text takes at least, its border among them."""
_TALLEST = 48
"""Lines of the dialog at most, as its style says too."""
_LONGEST = 20_000
"""Characters of a text that is edited here: in a longer one every key would take its time."""
_MOST_NEGATIVES = 12
"""Negatives that are edited here: each is an area of its own, to be laid out and to be found."""


class EditScreen(ModalScreen[dict[str, object] | None]):
    """The texts of a row in text areas. Answers with the fields that were changed, or None when left.

    Very long texts, and negatives after the twelfth, have no area; they stay as they are.
    """

    BINDINGS = bindings(EDITOR)
    # The app's own rules for .dialog would win over these.
    DEFAULT_CSS = """
    EditScreen #edit-dialog {
        width: 95%; max-width: 130; height: 100%; max-height: 48;
        background: $surface; border: round $primary; padding: 0 1;
    }
    EditScreen #edit-title { text-style: bold; }
    EditScreen #edit-texts { height: 1fr; scrollbar-size-vertical: 1; }
    EditScreen SafeArea {
        height: 1fr; min-height: 4; padding: 0; border: round $primary 50%; border-title-color: $foreground;
        scrollbar-size-vertical: 1;
    }
    EditScreen SafeArea:focus { border: round $accent; border-title-style: bold; }
    EditScreen #area-positive { height: 2fr; min-height: 6; }
    EditScreen.-crowded SafeArea { height: 4; }
    EditScreen.-crowded #area-positive { height: 8; }
    EditScreen .left-out { padding: 0 1; text-style: italic; }
    EditScreen #edit-hint { color: $foreground 70%; }
    """

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._shown = shown
        negatives = {f"negative {at}": text for at, text in enumerate(shown.negatives, 1)}
        self._texts = {"query": shown.query, "positive": shown.positive, **negatives}
        here = list(self._texts)[: 2 + _MOST_NEGATIVES]
        self._areas = {
            name: SafeArea(self._texts[name], id=f"area-{name.replace(' ', '-')}")
            for name in here
            if len(self._texts[name]) <= _LONGEST
        }

    def compose(self) -> ComposeResult:
        """One area a text, and a line for each that has none."""
        with Vertical(id="edit-dialog"):
            yield Label(safe(f"edit row {self._shown.number:,}"), id="edit-title")
            with VerticalScroll(id="edit-texts", can_focus=False):
                for name in list(self._texts)[: 2 + _MOST_NEGATIVES]:
                    if (area := self._areas.get(name)) is not None:
                        area.border_title = Content(_TITLES.get(name, name))
                        yield area
                    else:
                        words = (
                            f"{_TITLES.get(name, name)}: {len(self._texts[name]):,} characters, too long to edit here"
                        )
                        yield Static(safe(words), classes="left-out")
                if (more := len(self._shown.negatives) - _MOST_NEGATIVES) > 0:
                    words = f"{more:,} more negatives, from the {_MOST_NEGATIVES + 1}th on, have no room here"
                    yield Static(safe(words), classes="left-out")
            yield Static(safe(" · ".join(self._hints())), id="edit-hint")

    def _hints(self) -> Iterator[str]:
        yield "ctrl+s: save as one decision · esc: leave · tab: next text"
        if len(self._areas) < len(self._texts):
            yield "E in Pairs edits all of it in $EDITOR"
        if any(area.holds_signs for area in self._areas.values()):
            yield SafeArea.LEGEND

    def on_mount(self) -> None:
        """Ready to type in the first text."""
        for area in [*self._areas.values()][:1]:
            area.focus()

    def on_resize(self, event: events.Resize) -> None:
        """Share the room while each text has its least of it; else let them scroll, as shares would be too large."""
        around = 2 * _LEAST + len(self.query(".left-out"))
        self.set_class(min(event.size.height, _TALLEST) < _LEAST * len(self._areas) + around, "-crowded")

    def action_save(self) -> None:
        """Answer with what differs; a query or passage that was emptied is refused, an emptied negative goes."""
        texts = self._texts | {name: area.value for name, area in self._areas.items()}
        changed = [name for name, text in texts.items() if text != self._texts[name]]
        fields: dict[str, object] = {name: texts[name] for name in ("query", "positive") if name in changed}
        for name in fields:
            if not texts[name].strip():
                words = f"The {_TITLES[name]} would be empty: drop the row instead, or give it a text."
                self.notify(words, markup=False)
                return
        if any(name not in fields for name in changed):
            # A blank negative that was there before is no one's decision.
            fields["negatives"] = [
                text for name, text in texts.items() if name not in _TITLES and (text.strip() or name not in changed)
            ]
        self.dismiss(fields)

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)


def edit_outside(app: App[Any], shown: Shown) -> dict[str, object]:
    """Edit a row as JSON in $VISUAL or $EDITOR; return the fields that were changed.

    Raises:
        UnavailableError: no editor is set, it cannot be started, or this terminal cannot be given to it.
        InputError: what came back is not the JSON it was, or a text is empty; nothing is changed then, and the file is
            kept where the error says.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise UnavailableError("No editor is set.", remedy="set the environment variable EDITOR, or edit here with e")
    texts = {"query": shown.query, "positive": shown.positive, "negatives": list(shown.negatives)}
    with tempfile.TemporaryDirectory(prefix="harrier-studio-") as folder:
        path = Path(folder) / f"row-{shown.number}.json"
        # Editors show what is printed, not what JSON would mean: what steers a terminal stays escaped.
        path.write_text(json_safe(json.dumps(texts, ensure_ascii=False, indent=2)) + "\n", "utf-8")
        try:
            with app.suspend():
                code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
        except SuspendNotSupported as error:
            raise UnavailableError("This terminal cannot be given to an editor.", remedy="edit here with e") from error
        except (OSError, ValueError) as error:
            raise UnavailableError("The editor cannot be started.", where=command, why=str(error)) from error
        if code:
            raise UnavailableError(
                "The editor reported an error; nothing was changed.", where=command, why=f"exit {code}"
            )
        try:
            return _changed_fields(texts, path)
        except InputError as error:
            kept = Path(shutil.copy(path, tempfile.mkdtemp(prefix="harrier-studio-edit-")))
            raise InputError(error.what, where=str(kept), why=error.why, remedy=error.remedy or "mend it") from error


def _changed_fields(texts: dict[str, Any], path: Path) -> dict[str, object]:
    try:
        edited = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("What the editor left is not JSON; nothing was changed.", why=str(error)) from error
    good = isinstance(edited, dict) and edited.keys() == texts.keys() and isinstance(edited["negatives"], list)
    if not good or not all(
        isinstance(text, str) for text in (edited["query"], edited["positive"], *edited["negatives"])
    ):
        raise InputError(
            "What the editor left is another shape; nothing was changed.",
            remedy="keep the keys query, positive and negatives (a list of texts)",
        )
    if not (edited["query"].strip() and edited["positive"].strip()):
        raise InputError("A text would be empty; nothing was changed.", remedy="drop the row instead")
    return {name: edited[name] for name in texts if edited[name] != texts[name]}
