"""Editing the texts of one row: here, or in the person's own editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, Static, TextArea

from studio.errors import InputError, UnavailableError
from studio.text.safe import json_safe, visible
from studio.tui.command import Command, bindings
from studio.tui.safe import safe
from studio.view.session import Shown

EDITOR = (
    Command("edit.save", "ctrl+s", "save", "Save", "Save what was changed as one decision.", priority=True),
    Command("edit.close", "escape", "close", "Leave", "Leave without saving."),
)


class Spelled:
    """A text as it can be edited: what steers a terminal, or cannot be seen, is spelled out as ⟨U+001B⟩.

    A text area passes such characters on to the terminal, and takes some of them for line ends, which it then
    rewrites. `back` puts them in again, so that an edit changes what was edited and nothing else.
    """

    def __init__(self, text: str) -> None:
        self._line_end = "\r\n" if 0 < text.count("\r\n") == text.count("\n") == text.count("\r") else "\n"
        text = text.replace(self._line_end, "\n")
        self._names: dict[str, str] = {}
        for character in sorted(set(text) - {"\n", "\t"}):
            name = visible(character)
            if name == character:
                continue
            # A text may also speak of such a character in words.
            while name in text:
                name = f"{name[:-1]}′⟩"
            self._names[character] = name
        self.shown = text.translate({ord(character): name for character, name in self._names.items()})
        """The text to edit."""

    def back(self, edited: str) -> str:
        """Return the edited text with the characters themselves in the place of their names."""
        for character, name in self._names.items():
            edited = edited.replace(name, character)
        return edited.replace("\n", self._line_end)


class _Area(TextArea):
    """A text area that nothing invisible gets into."""

    def on_paste(self, event: events.Paste) -> None:
        """Spell out what is pasted, before the text area takes it."""
        event.text = Spelled(event.text.replace("\r\n", "\n").replace("\r", "\n")).shown


class EditScreen(ModalScreen[dict[str, object] | None]):
    """The texts of a row in text areas. Answers with the fields that were changed, or None when left."""

    BINDINGS = bindings(EDITOR)
    DEFAULT_CSS = """
    EditScreen .dialog { width: 95%; height: 90%; }
    EditScreen TextArea { height: 1fr; min-height: 4; border: round $primary 50%; }
    EditScreen Label { text-style: bold; }
    """

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._shown = shown
        negatives = {f"negative {at}": text for at, text in enumerate(shown.negatives, 1)}
        texts = {"query": shown.query, "positive": shown.positive, **negatives}
        self._spelled = {name: Spelled(text) for name, text in texts.items()}

    def compose(self) -> ComposeResult:
        """One area a text."""
        with Vertical(classes="dialog wide"):
            yield Label(safe(f"edit row {self._shown.number:,}"))
            for name, spelled in self._spelled.items():
                yield Label(safe(name))
                yield _Area(spelled.shown, id=_area(name), soft_wrap=True, tab_behavior="focus")
            yield Static(safe("ctrl+s: save as one decision · esc: leave · tab: next text"), classes="hint")

    def on_mount(self) -> None:
        """Ready to type in the query."""
        self.query(TextArea).first().focus()

    def action_save(self) -> None:
        """Answer with what differs; an empty query or passage is refused."""
        texts = {
            name: spelled.back(self.query_one(f"#{_area(name)}", TextArea).text)
            for name, spelled in self._spelled.items()
        }
        fields: dict[str, object] = {
            name: texts[name] for name in ("query", "positive") if texts[name] != getattr(self._shown, name)
        }
        negatives = [text for name, text in texts.items() if name.startswith("negative") and text.strip()]
        if negatives != list(self._shown.negatives):
            fields["negatives"] = negatives
        empty = [name for name in ("query", "positive") if not texts[name].strip()]
        if empty:
            self.notify(f"The {empty[0]} would be empty: drop the row instead, or give it a text.", markup=False)
            return
        self.dismiss(fields)

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)


def _area(name: str) -> str:
    return f"area-{name.replace(' ', '-')}"


def edit_outside(app: App[Any], shown: Shown) -> dict[str, object]:
    """Edit a row as JSON in $VISUAL or $EDITOR; return the fields that were changed.

    Raises:
        UnavailableError: no editor is set, it cannot be started, or this terminal cannot be given to it.
        InputError: what came back is not the JSON it was, or a text is empty; nothing is changed then.
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
        return _changed_fields(texts, path)


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
