"""Which rows of the experiment matrix are queued: a list to choose from, each with what it is to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Button, OptionList, Static

from studio.tui.cluster_drawing import Lines, count
from studio.tui.command import Command, bindings
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from studio.training.matrix import MatrixRow

_LETTERS = "bcdefgh"
_NAME = 28
_HINT = "space: this row · B to H: a letter's rows · a: all or none"
_AROUND = 16
"""Lines of the dialog and of the screen around the list."""
_LEAST = 3
MATRIX = (
    Command("matrix.row", "space,enter", "row", "Row", "Take the row under the cursor, or leave it out."),
    *(
        Command(
            f"matrix.{letter}", f"{letter},{letter.upper()}", f"letter('{letter.upper()}')", letter.upper(),
            f"Take the rows of {letter.upper()}, or leave them out.", footer=False,
        )
        for letter in _LETTERS
    ),
    Command("matrix.all", "a", "all", "All", "Take every row, or none.", footer=False),
    Command("matrix.queue", "y", "queue", "Queue", "Queue the rows that are taken."),
    Command("matrix.leave", "n,escape,ctrl+c", "leave", "Leave", "Queue none."),
    Command("matrix.down", "j", "move('cursor_down')", "Down", "One row down.", footer=False),
    Command("matrix.up", "k", "move('cursor_up')", "Up", "One row up.", footer=False),
)  # fmt: skip


class MatrixRows(ModalScreen["tuple[MatrixRow, ...] | None"]):
    """Ask which rows are queued; None when left. Rows that could teach nothing here are shown with the reason."""

    BINDINGS = bindings(MATRIX)

    def __init__(self, rows: Sequence[MatrixRow]) -> None:
        super().__init__()
        self._rows = rows
        self._taken = {row.name for row in rows if not row.skipped}

    def compose(self) -> ComposeResult:
        """The rows, what the one under the cursor is to show, and two buttons."""
        with Vertical(classes="dialog wide matrix-rows"):
            yield Static("Queue which rows of the experiment matrix?", classes="dialog-title", markup=False)
            yield Lines(id="matrix-lines", markup=False)
            with VerticalScroll(can_focus=False):
                yield Static(id="matrix-why", markup=False)
            yield Static(_HINT, classes="hint", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Leave (n)", id="no")
                yield Button("", id="yes", variant="warning")

    def on_mount(self) -> None:
        """Every row that can be run is taken to begin with."""
        self._draw(0)
        self.query_one(Lines).focus()

    def on_resize(self, event: Resize) -> None:
        """Leave room for the buttons, however low the screen is."""
        self.query_one(Lines).styles.max_height = max(event.size.height - _AROUND, _LEAST)

    def _draw(self, at: int | None) -> None:
        width = max((len(row.name) for row in self._rows), default=0)
        self.query_one(Lines).fill([self._line(row, min(width, _NAME)) for row in self._rows], at)
        button = self.query_one("#yes", Button)
        button.label = safe(f"Queue {count(len(self._taken), 'run')} (y)")
        button.disabled = not self._taken

    def _line(self, row: MatrixRow, width: int) -> Content:
        sign = "–" if row.skipped else "●" if row.name in self._taken else "○"
        words = f"not run: {row.skipped}" if row.skipped else row.why
        line = Content.assemble((f"{sign} ", "bold"), f"{safe_text(row.name, width):<{width}}  ", safe(words, 160))
        return line if row.name in self._taken else line.stylize("dim")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what the row is to show, and what it changes."""
        row = self._rows[event.option_index]
        changed = ", ".join(
            f"{key} = {value}" for key, value in row.changes.items() if not isinstance(value, list | dict)
        )
        words = [row.why, f"changes {changed}" if changed else "", f"not run: {row.skipped}" if row.skipped else ""]
        self.query_one("#matrix-why", Static).update(safe_lines("\n".join(filter(None, words)), 1_000))

    def on_option_list_option_selected(self) -> None:
        """Enter or a click: as space."""
        self.action_row()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        if event.button.id == "yes":
            self.action_queue()
        else:
            self.action_leave()

    def action_row(self) -> None:
        """Take the row under the cursor, or leave it out."""
        at = self.query_one(Lines).highlighted
        if at is not None and not self._rows[at].skipped:
            self._taken ^= {self._rows[at].name}
            self._draw(at)

    def action_letter(self, letter: str) -> None:
        """Take the rows of a letter, or leave them out where all of them are taken."""
        self._turn({row.name for row in self._rows if row.letter == letter and not row.skipped})

    def action_all(self) -> None:
        """Take every row, or none."""
        self._turn({row.name for row in self._rows if not row.skipped})

    def _turn(self, names: set[str]) -> None:
        self._taken = self._taken - names if names <= self._taken else self._taken | names
        self._draw(self.query_one(Lines).highlighted)

    def action_queue(self) -> None:
        """Answer with the rows that are taken, in their order."""
        if self._taken:
            self.dismiss(tuple(row for row in self._rows if row.name in self._taken))

    def action_leave(self) -> None:
        """Leave."""
        self.dismiss(None)

    def action_move(self, action: str) -> None:
        """Move in the list."""
        getattr(self.query_one(Lines), f"action_{action}")()
