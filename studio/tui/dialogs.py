"""Small questions over a screen: yes or no, one line of text, one of a list, an error in full."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from studio.errors import StudioError
from studio.tui.command import Command, bindings
from studio.tui.safe import safe, safe_lines, safe_text

CONFIRM = (
    Command("confirm.yes", "y", "answer(True)", "Yes", "Do it."),
    Command("confirm.no", "n,escape,ctrl+c", "answer(False)", "No", "Leave everything as it is."),
    Command("confirm.left", "left,h", "app.focus_previous", "Left", "To the other button.", footer=False),
    Command("confirm.right", "right,l", "app.focus_next", "Right", "To the other button.", footer=False),
)
TELL = (Command("tell.close", "escape,enter,q,ctrl+c", "close", "Close", "Close this."),)
DIALOG = (Command("dialog.close", "escape,ctrl+c", "close", "Close", "Leave without an answer."),)


class Confirm(ModalScreen[bool]):
    """Ask before what cannot be undone, or is large. The safe button has the focus."""

    BINDINGS = bindings(CONFIRM)

    def __init__(self, question: str, detail: str = "", yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._detail, self._yes, self._no = question, detail, yes, no

    def compose(self) -> ComposeResult:
        """The question, what will happen, and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(safe(self._question, 300), classes="dialog-title")
            if self._detail:
                yield Static(safe_lines(self._detail, 2_000))
            with Horizontal(classes="dialog-buttons"):
                yield Button(safe(f"{self._no} (n)", 60), id="no")
                yield Button(safe(f"{self._yes} (y)", 60), id="yes", variant="warning")

    def on_mount(self) -> None:
        """Put the focus on the safe button."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Answer with a key."""
        self.dismiss(yes)


class Line(Input):
    """One line of typed text that nothing invisible gets into."""

    def on_paste(self, event: events.Paste) -> None:
        """Spell out what is pasted, before the input takes its first line."""
        event.text = safe_text(event.text.strip().partition("\n")[0].rstrip("\r"))


class AskText(ModalScreen[str | None]):
    """Ask for one line of text; None when left without an answer. `wrong`: why the value that stands there is none."""

    BINDINGS = bindings(DIALOG)

    def __init__(
        self, title: str, value: str = "", hint: str = "", suggestions: Sequence[str] = (), wrong: str = ""
    ) -> None:
        super().__init__()
        self._title, self._value, self._hint, self._suggestions = title, value, hint, suggestions
        self._wrong = wrong

    def compose(self) -> ComposeResult:
        """The title, the input, and a hint below it."""
        with Vertical(classes="dialog"):
            yield Static(safe(self._title, 300), classes="dialog-title")
            yield Line(safe_text(self._value), id="answer")
            if self._wrong:
                yield Static(Content("✗ ") + safe_lines(self._wrong, 2_000), classes="dialog-wrong")
            known = f"there: {', '.join(self._suggestions)}" if self._suggestions else ""
            hint = " · ".join(part for part in (self._hint, known, "enter: ok, esc: leave") if part)
            yield Static(safe(hint, 400), classes="hint")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with what was typed."""
        self.dismiss(event.value)

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)


class Choose(ModalScreen[str | None]):
    """Ask for one of a list; None when left without an answer.

    Args:
        title: the question.
        choices: answer, label and remark of each.
        current: the answer that is stood on to begin with.
        full: whether remarks are long: that of the line under the cursor then stands below the list, in full.
    """

    BINDINGS = bindings(DIALOG)

    def __init__(
        self, title: str, choices: Sequence[tuple[str, str, str]], current: str | None = None, *, full: bool = False
    ) -> None:
        super().__init__()
        self._title, self._choices, self._current, self._full = title, choices, current, full

    def compose(self) -> ComposeResult:
        """The title and the list."""
        with Vertical(classes="dialog wide choose-full" if self._full else "dialog"):
            yield Static(safe(self._title, 300), classes="dialog-title")
            yield OptionList(
                *(Option(self._line(label, remark), id=f"c{at}") for at, (_, label, remark) in enumerate(self._choices))
            )
            if self._full:
                with VerticalScroll(can_focus=False):
                    yield Static(id="choose-remark", markup=False)

    def _line(self, label: str, remark: str) -> Content:
        shown = "" if self._full else "  " + safe_text(remark, 160)
        return Content.assemble(safe(label, 120), (shown, "dim"))

    def on_mount(self) -> None:
        """Stand on what is chosen now."""
        options = self.query_one(OptionList)
        answers = [answer for answer, _, _ in self._choices]
        options.highlighted = answers.index(self._current) if self._current in answers else 0
        options.focus()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what is to be said of the line under the cursor."""
        if self._full:
            self.query_one("#choose-remark", Static).update(safe_lines(self._choices[event.option_index][2], 2_000))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with the chosen one."""
        self.dismiss(self._choices[event.option_index][0])

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)


class Tell(ModalScreen[None]):
    """Show a text in full, scrollable; any of escape, enter or q closes it."""

    BINDINGS = bindings(TELL)

    def __init__(self, title: str, text: str | Content) -> None:
        super().__init__()
        self._title, self._text = title, text

    @classmethod
    def error(cls, error: StudioError) -> Tell:
        """Show an error with where, why and what to do."""
        return cls("Not done", str(error))

    def compose(self) -> ComposeResult:
        """The title and the text."""
        with Vertical(classes="dialog wide"):
            yield Static(safe(self._title, 300), classes="dialog-title")
            with VerticalScroll(can_focus=True):
                yield Static(self._text if isinstance(self._text, Content) else safe_lines(self._text, 50_000))
            yield Static("esc: close", classes="hint", markup=False)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
