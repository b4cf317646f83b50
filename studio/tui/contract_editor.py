"""The editor of a contract: its two prompts, each character as it is, and the contracts there are to choose from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Label, Static, TextArea

from studio.errors import ConfigError
from studio.prompts.contract import PromptContract
from studio.prompts.lint import ModelPrompts, lint_contract
from studio.prompts.presets import PRESETS, get_preset
from studio.prompts.visible import visible
from studio.tui.command import Command, bindings
from studio.tui.dialogs import Choose, Confirm, Tell
from studio.tui.panel import PanelScreen
from studio.tui.prompt_drawing import OK, contract_lines, lint_line, origin_words
from studio.tui.safe import safe, safe_lines
from studio.tui.safe_area import SafeArea

_TYPING_DELAY = 0.15
"""Seconds the fingers rest before what was typed is examined."""
_LINTS_DRAWN = 20
_DOCUMENT_NAMES = ("document", "passage", "corpus")

Accept = Callable[[PromptContract], Awaitable[bool]]
"""Takes a contract from the editor; False leaves the editor open."""

EDITOR = (
    Command("contract.save", "ctrl+s", "save", "Save", "Take these two prompts.", priority=True),
    Command("contract.preset", "f2", "preset", "Presets", "Fill in one of the studio's presets."),
    Command("contract.own", "f3", "own", "Model's", "Fill in one of the model's own prompts."),
    Command("contract.close", "escape", "close", "Leave", "Leave without saving; asks if something was typed."),
)
"""What the keys do while prompts are edited."""


class ContractEditor(ModalScreen[PromptContract | None]):
    """The two strings of a contract. Answers with the contract once `accept` has taken it, or None when left."""

    BINDINGS = bindings(EDITOR)
    HELP_TEXT = (
        "Type the two prompts; enter makes a line break. Below is each character as it is, and what is wrong with it.\n"
        "A trailing space is part of a prompt. ctrl+s saves, after saying what changes."
    )
    DEFAULT_CSS = """
    ContractEditor #contract-dialog {
        width: 95%; max-width: 130; height: 100%; max-height: 40;
        background: $surface; border: round $primary; padding: 0 1;
    }
    ContractEditor Label { text-style: bold; }
    ContractEditor SafeArea { height: 5; border: round $primary 50%; padding: 0; scrollbar-size-vertical: 1; }
    ContractEditor SafeArea:focus { border: round $accent; }
    ContractEditor #edit-document { height: 3; }
    ContractEditor.-tall #edit-query { height: 8; }
    ContractEditor.-tall #edit-document { height: 5; }
    ContractEditor #live-pane { height: 1fr; border-top: solid $primary 50%; scrollbar-size-vertical: 1; }
    ContractEditor #contract-buttons { height: 1; }
    ContractEditor Button { margin: 0 1 0 0; }
    """

    VERTICAL_BREAKPOINTS = PanelScreen.VERTICAL_BREAKPOINTS

    def __init__(
        self, contract: PromptContract, own: ModelPrompts | None, accept: Accept, title: str, verb: str
    ) -> None:
        super().__init__()
        self._before, self._own, self._accept, self._title, self._verb = contract, own, accept, title, verb
        self._taken: PromptContract | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Two areas, what is in them, and buttons for the mouse."""
        with Vertical(id="contract-dialog"):
            yield Label(safe(f"{self._title} · before queries"))
            yield SafeArea(self._before.query, id="edit-query")
            yield Label(safe("before passages and negatives (most models: nothing)"))
            yield SafeArea(self._before.document, id="edit-document")
            with VerticalScroll(id="live-pane", can_focus=False):
                yield Static(id="live", markup=False)
            with Horizontal(id="contract-buttons"):
                yield Button(Content(f"{self._verb} ctrl+s"), id="save", variant="primary", compact=True)
                yield Button(Content("Presets f2"), id="preset", compact=True)
                yield Button(Content("From the model f3"), id="own", compact=True)
                yield Button(Content("Leave esc"), id="close", compact=True)

    def on_mount(self) -> None:
        """Ready to type at the end of the query prompt."""
        area = self.query_one("#edit-query", SafeArea)
        area.move_cursor(area.document.end)
        area.focus()
        self._show()

    def on_resize(self) -> None:
        """Break the strings anew."""
        self._show()

    @on(TextArea.Changed)
    def _typed(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_TYPING_DELAY, self._show)

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        await self.run_action(event.button.id or "close")

    def _strings(self) -> tuple[str, str]:
        return self.query_one("#edit-query", SafeArea).value, self.query_one("#edit-document", SafeArea).value

    def _typed_contract(self) -> PromptContract:
        """What is in the areas, with the origin it still has.

        Raises:
            ConfigError: a string holds half a character.
        """
        query, document = self._strings()
        for known in (self._before, self._taken):
            if known is not None and (known.query, known.document) == (query, document):
                return known
        return PromptContract.custom(query, document)

    def _show(self) -> None:
        """Say what is in the areas, and what is wrong with it."""
        live = self.query_one("#live", Static)
        try:
            contract = self._typed_contract()
        except ConfigError as error:
            live.update(safe_lines(str(error)))
            return
        changed = contract.hash != self._before.hash
        hashes = (
            f"{self._before.short_hash} → {contract.short_hash}" if changed else f"{contract.short_hash}, unchanged"
        )
        width = max(20, self.query_one("#live-pane").size.width - 2)
        lines = [Content.assemble((f"contract {hashes}", "bold"), f" · {origin_words(contract)}")]
        lines += contract_lines(contract, width)
        for area in self.query(SafeArea):
            if area.holds_other_breaks:
                lines.append(Content("! note  line breaks of another kind than line feeds are kept as they are"))
        lints = lint_contract(contract, self._own)
        lines += [lint_line(lint) for lint in lints[:_LINTS_DRAWN]] or [Content(f"{OK}  nothing is wrong with them")]
        live.update(Content("\n").join(lines))

    @work(group="contract", exclusive=True, description="choose a preset")
    async def action_preset(self) -> None:
        """Fill in a preset."""
        choices = [*preset_choices(), ("preset:none", "none", PRESETS["none"].why)]
        self._fill(await self.app.push_screen_wait(Choose("Presets", choices)))

    @work(group="contract", exclusive=True, description="choose one of the model's own prompts")
    async def action_own(self) -> None:
        """Fill in one of the model's own prompts."""
        choices = own_choices(self._own)
        if not choices:
            self.notify("The model has no prompts of its own, or cannot be read.", markup=False)
            return
        self._fill(await self.app.push_screen_wait(Choose("The model's own prompts", choices)))

    def _fill(self, answer: str | None) -> None:
        if answer is not None:
            self._taken = contract_of(answer, self._own)
            self.query_one("#edit-query", SafeArea).load_text(self._taken.query)
            self.query_one("#edit-document", SafeArea).load_text(self._taken.document)

    @work(group="contract", exclusive=True, description="take the prompts")
    async def action_save(self) -> None:
        """Hand the contract over; stay if it is not taken, so that nothing typed is lost."""
        try:
            contract = self._typed_contract()
        except ConfigError as error:
            self.app.push_screen(Tell.error(error))
            return
        if await self._accept(contract):
            self.dismiss(contract)

    @work(group="contract", exclusive=True, description="leave the prompts")
    async def action_close(self) -> None:
        """Leave; ask if something typed would be lost."""
        if self._strings() == (self._before.query, self._before.document) or await self.app.push_screen_wait(
            Confirm("Leave without these prompts?", "What you typed is lost.", yes="Leave", no="Stay")
        ):
            self.dismiss(None)


# Contracts to choose from


def preset_choices() -> list[tuple[str, str, str]]:
    """(answer, label, remark) of every preset with a prompt."""
    return [
        (f"preset:{preset.name}", preset.name, ("for comparing: " if preset.ablation else "") + preset.why)
        for preset in PRESETS.values()
        if preset.query or preset.document
    ]


def own_choices(own: ModelPrompts | None) -> list[tuple[str, str, str]]:
    """(answer, label, remark) of every prompt the model has for queries."""
    prompts = own.prompts if own is not None else {}
    return [
        (f"model:{name}", f"the model's own {name}", visible(prompt) or "(empty)")
        for name, prompt in prompts.items()
        if name not in _DOCUMENT_NAMES
    ]


def contract_of(answer: str, own: ModelPrompts | None) -> PromptContract:
    """The contract of an answer of `preset_choices` or `own_choices`."""
    kind, _, name = answer.partition(":")
    if kind == "preset" or own is None:
        return get_preset(name).contract()
    document = next((each for each in _DOCUMENT_NAMES if own.prompts.get(each)), None)
    return PromptContract.from_model_prompts(own.prompts, name, document_name=document)
