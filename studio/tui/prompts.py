"""The Prompts panel: the contract, what the model really reads of a row, and what is wrong with either."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Label, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from studio.errors import Cancelled, ConfigError, StudioError
from studio.project.project import SETTINGS_FILE
from studio.project.settings import (
    ModelSettings,
    ProjectSettings,
    PromptSettings,
    read_settings,
    validated,
    write_settings,
)
from studio.prompts.contract import OriginKind, PromptContract, Role
from studio.prompts.lint import Lint, ModelPrompts, Severity, lint_contract
from studio.prompts.presets import PRESETS, get_preset
from studio.prompts.prompted import PromptReason
from studio.prompts.visible import visible
from studio.tui.command import Command, bindings
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.panel import PanelScreen
from studio.tui.safe import safe, safe_lines, safe_text
from studio.view.prompting import first_difference

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from studio.prompts.preview import TextPreview
    from studio.view.prompting import ContractReport, PromptedRows, RowPrompt, Truncation
    from studio.view.session import Session

_TYPING_DELAY = 0.15
"""Seconds the fingers rest before what was typed is examined."""
_TOKENS_DRAWN = 4_000
"""Tokens drawn of one row, shared by its texts: more is slow to lay out, and no one reads it."""
_TOKENS_AT_LEAST = 60
_STRING_DRAWN = 2_000
_LINTS_DRAWN = 20
_LABEL = 10
_PROMPT_END = "┃"
_LEGEND = f"{_PROMPT_END} the prompt ends · ␠ space · ⏎ line break · ⇥ tab · ⟨…⟩ what has no sign of its own"
_DOCUMENT_NAMES = ("document", "passage", "corpus")
_SIGNS = {Severity.FAIL: "✗ fail", Severity.WARN: "! warn", Severity.INFO: "· info"}
_OK = "✓ ok"
_ORIGINS = {
    OriginKind.MODEL: "from the model's own",
    OriginKind.PRESET: "from preset",
    OriginKind.CUSTOM: "typed by hand",
}
_PROMPTED = {
    PromptReason.QUERY_ALREADY_PROMPTED: ("query", "queries", "already with a query prompt (would be prompted twice)"),
    PromptReason.QUERY_HAS_PASSAGE_PROMPT: ("query", "queries", "with a prefix that is meant for passages"),
    PromptReason.PASSAGE_HAS_QUERY_PROMPT: ("passage", "passages", "with a query prompt"),
    PromptReason.PASSAGE_ALREADY_PROMPTED: ("passage", "passages", "already with a passage prompt"),
    PromptReason.PROMPT_MARKER_INSIDE: ("text", "texts", "with `Instruct: … Query:` further inside"),
}
"""One, more, and what they are, by why they are suspected."""

Accept = Callable[[PromptContract], Awaitable[bool]]
"""Takes a contract from the editor; False leaves the editor open."""

EDITOR = (
    Command("contract.save", "ctrl+s", "save", "Save", "Take these two prompts.", priority=True),
    Command("contract.preset", "f2", "preset", "Presets", "Fill in one of the studio's presets."),
    Command("contract.own", "f3", "own", "Model's", "Fill in one of the model's own prompts."),
    Command("contract.close", "escape", "close", "Leave", "Leave without saving; asks if something was typed."),
)
"""What the keys do while prompts are edited."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One line of the findings: what it says, and what `enter` does with it.

    `rows`: positions to show in Pairs, `why` says in words which they are; `detail`: what is told instead when there
    are none; `count`: whether enter counts the tokens.
    """

    sign: str
    text: str
    rows: np.ndarray | None = None
    why: str = ""
    detail: str = ""
    count: bool = False


class PromptsScreen(PanelScreen):
    """The contract, a row as the model reads it, and the findings."""

    place = "prompts"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = (
        Command("prompts.edit", "e", "edit", "Edit", "Edit the prompts of this project."),
        Command("prompts.preset", "p", "preset", "Preset", "Choose a preset, or one of the model's own prompts."),
        Command(
            "prompts.compare", "v", "compare", "Compare", "Read the same row under another contract; again: close."
        ),
        Command("prompts.count", "t", "count", "Tokens", "Count the tokens of all rows, to know what is cut."),
        Command("prompts.next", "n,right", "row(1)", "Next", "Preview the next row."),
        Command("prompts.previous", "N,left", "row(-1)", "Previous", "Preview the row before.", footer=False),
        Command("prompts.jump", "colon,number_sign", "jump", "Jump", "Preview a row by its number.", footer=False),
        Command("prompts.ids", "i", "ids", "Ids", "Show or hide the token ids.", footer=False),
        Command(
            "prompts.findings", "f", "findings", "Findings", "Go to the findings; enter shows the rows.", footer=False
        ),
        Command("prompts.length", "m", "length", "Length", "Change how many tokens a text is cut at.", footer=False),
        Command("prompts.model", "M", "model", "Model", "Change the model that reads the texts.", footer=False),
        Command(
            "prompts.copy", "y", "copy", "Copy", "Copy the strings, tokens and ids of this row as JSON.", footer=False
        ),
        Command("prompts.again", "r,f5", "again", "Again", "Read the model and the row anew.", footer=False),
    )
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "A prompt is the string before a text when the model reads it. Most models want one before queries\n"
        "and none before passages; both strings together are the contract. A model only works well with the prompt it\n"
        "was trained with, to the last space, so the contract is kept once and every use takes it from here.\n"
        "In the middle is a row as the model reads it: tokens with a space between them, special ones in reverse,\n"
        f"{_PROMPT_END} where the prompt ends, ◀ the position that becomes the embedding, ␠ a space, ⏎ a line break.\n"
        "Below is what is wrong with the strings, the model or the data; enter shows the rows, or what to do.\n"
        "e edits, p takes a preset, v compares with another contract on the same row, t counts the tokens of all rows."
    )
    DEFAULT_CSS = """
    PromptsScreen {
        #contract { height: auto; max-height: 40%; padding: 0 1; border-top: solid $primary 50%; }
        #panes { height: 1fr; min-height: 4; layout: horizontal; }
        #panes VerticalScroll {
            width: 1fr; height: 1fr; padding: 0 1; border-top: solid $primary 50%; scrollbar-size-vertical: 1;
        }
        #panes VerticalScroll:focus { border-top: heavy $accent; }
        #contract, #panes VerticalScroll, #findings { border-title-color: $foreground; }
        #other { display: none; border-left: solid $primary 50%; }
        #other.-open { display: block; }
        #findings { height: auto; max-height: 7; padding: 0 1; border: none; border-top: solid $primary 50%; }
        #findings { scrollbar-size-vertical: 1; background: $background; }
        #findings:focus { border: none; border-top: heavy $accent; }
        &.-tall #findings { max-height: 12; }
        &.-short.-comparing #findings { display: none; }
        &.-narrow #panes { layout: vertical; }
        &.-narrow #other { border-left: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._position = 0
        self._followed: int | None = None
        self._with_ids = False
        self._other: PromptContract | None = None
        self._reads: tuple[RowPrompt, RowPrompt | None] | None = None
        self._report: ContractReport | None = None
        self._reported: tuple[object, ...] | None = None
        self._findings: list[Finding] = []

    def body(self) -> ComposeResult:
        """The contract, one row under it (and under another one beside it), the findings."""
        yield Static(id="contract", markup=False)
        with Container(id="panes"):
            with VerticalScroll(id="this"):
                yield Static(id="this-text", markup=False)
            with VerticalScroll(id="other"):
                yield Static(id="other-text", markup=False)
        yield OptionList(id="findings", markup=False)

    def on_mount(self) -> None:
        """Start on the preview."""
        super().on_mount()
        self.query_one("#this").focus()

    def on_resize(self) -> None:
        """Break the strings anew."""
        if self._session is not None:
            self._show_contract()
            self._show_row()

    # What is shown

    @property
    def contract(self) -> PromptContract:
        """The project's contract."""
        return self.session.project.settings.prompts.contract()

    def changed(self) -> None:
        """Draw the contract, and ask for the row and the findings as they are now."""
        if self._session is not self.session:
            self._session = self.session
            self._position, self._followed = 0, None
            self._reads = self._report = self._reported = None
            self._compare_with(None)
        here = self.studio.current_position
        if here is not None and here != self._followed:
            self._followed = self._position = here
        self._position = max(0, min(self._position, len(self.session.rows) - 1))
        self._show_contract()
        self._load_row()
        settings = self.session.project.settings
        about = (self.contract.hash, settings.model.id, settings.model.max_length, self.session.version)
        if about != self._reported:
            self._load_report(about)

    def _show_contract(self) -> None:
        contract, box = self.contract, self.query_one("#contract", Static)
        box.display = self._other is None
        box.border_title = Content.assemble(
            (f"contract {contract.short_hash}", "bold"), f" · {_origin_words(contract)}"
        )
        box.update(Content("\n").join(_contract_lines(contract, self.size.width - 4)))

    @work(exclusive=True, group="prompt", description="preview a row")
    async def _load_row(self) -> None:
        if not len(self.session.rows):
            self.query_one("#this-text", Static).update("This project has no rows to preview. e edits the prompts.")
            return
        if self._reads is None:
            self.query_one("#this-text", Static).update("reading the model's tokenizer …")
        try:
            this = await self._ask_row(self.contract, "prompt")
            other = await self._ask_row(self._other, "prompt-other") if self._other else None
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._reads = None
            self._show_error(error)
            return
        self._reads = this, other
        self._show_row()

    async def _ask_row(self, contract: PromptContract, slot: str) -> RowPrompt:
        model = self.session.project.settings.model
        row: RowPrompt = await self.studio.ask(
            "prompt",
            slot=slot,
            position=self._position,
            query=contract.query,
            document=contract.document,
            max_length=model.max_length,
            model=model.id,
        )
        return row

    def _show_error(self, error: StudioError) -> None:
        words = Content.assemble(
            ("✗ There is no preview.\n\n", "bold"),
            safe_lines(str(error), 4_000),
            "\n\nThe prompts can be edited all the same (e). M names another model, r tries again.",
        )
        self.query_one("#this").border_title = Content(f"row {self._position + 1:,}")
        self.query_one("#this-text", Static).update(words)
        self.query_one("#other-text", Static).update("")

    def _show_row(self) -> None:
        """Draw the row under the contract, and under the other one if there is one."""
        if self._reads is None:
            return
        this, other = self._reads
        width = self.size.width - 4
        if self._other is not None and not self.has_class("-narrow"):
            width = width // 2 - 2
        title = [
            f"row {this.position + 1:,} ({this.status})",
            f"{safe_text(this.model, 40)}, {this.max_length:,} tokens",
        ]
        head: list[Content] = []
        if self._other is not None:
            head = [*_contract_lines(self.contract, width), Content("")]
            title.insert(0, f"contract {self.contract.short_hash}")
        else:
            title.insert(0, "what the model really reads")
        self.query_one("#this").border_title = Content(" · ".join(title))
        lines = [*head, *_row_lines(this, None, ids=self._with_ids)]
        self.query_one("#this-text", Static).update(Content("\n").join(lines))
        if self._other is not None and other is not None:
            words = f"compared with {self._other.short_hash} · {_origin_words(self._other)}"
            self.query_one("#other").border_title = safe(words, 100)
            lines = [*_compared_lines(self.contract, self._other, width), Content("")]
            lines += _row_lines(other, this, ids=self._with_ids)
            self.query_one("#other-text", Static).update(Content("\n").join(lines))

    @work(exclusive=True, group="contract-report", description="examine the contract")
    async def _load_report(self, about: tuple[object, ...]) -> None:
        if self._report is None:
            self._show_findings([Finding("· …", "examining the contract and the data …")])
        contract, model = self.contract, self.session.project.settings.model
        try:
            report: ContractReport = await self.studio.ask(
                "contract",
                slot="contract",
                query=contract.query,
                document=contract.document,
                max_length=model.max_length,
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._show_findings([Finding(_SIGNS[Severity.FAIL], error.what, detail=str(error))])
            return
        self._report, self._reported = report, about
        self._show_findings(list(_findings(report)))

    def _show_findings(self, findings: list[Finding]) -> None:
        self._findings = findings
        options = self.query_one("#findings", OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options(Option(_finding_line(finding), id=f"f{at}") for at, finding in enumerate(findings))
        options.highlighted = min(at, len(findings) - 1) if findings else None
        options.border_title = Content("findings · f: go there · enter: the rows, or what to do")

    @on(OptionList.OptionSelected, "#findings")
    def _opened(self, event: OptionList.OptionSelected) -> None:
        """Show the rows of a finding, or all there is to say of it."""
        finding = self._findings[event.option_index]
        if finding.count:
            self.action_count()
        elif finding.rows is not None and len(finding.rows):
            self.studio.show_rows(finding.rows.tolist(), finding.why)
        elif finding.detail:
            self.app.push_screen(Tell(finding.text[:80], finding.detail))

    # Rows

    def action_row(self, by: int) -> None:
        """Go on to another row."""
        self._go_to(self._position + by)

    def _go_to(self, position: int) -> None:
        if 0 <= position < len(self.session.rows) and position != self._position:
            self._position = position
            self._load_row()

    @work(group="ask", exclusive=True, description="ask for a row")
    async def action_jump(self) -> None:
        """Go to a row by its number."""
        total = len(self.session.rows)
        answer = await self.app.push_screen_wait(AskText("Preview row", hint=f"A number from 1 to {total:,}."))
        if answer is None or not answer.strip():
            return
        number = answer.strip().replace(",", "")
        if number.isdecimal() and 1 <= int(number) <= total:
            self._go_to(int(number) - 1)
        else:
            self.studio.say(f"There is no row {number}; rows are 1 to {total:,}.", severity="warning")

    def action_ids(self) -> None:
        """Show or hide the ids."""
        self._with_ids = not self._with_ids
        self._show_row()

    def action_findings(self) -> None:
        """Go to the findings, and back to the preview."""
        findings = self.query_one("#findings", OptionList)
        if not findings.display:
            self.studio.say("There is no room for the findings beside a comparison here; v closes it.")
            return
        (self.query_one("#this") if findings.has_focus else findings).focus()

    def action_copy(self) -> None:
        """Copy the row as the model reads it."""
        if self._reads is not None:
            row = self._reads[0]
            texts = json.dumps([asdict(text) for text in row.texts], ensure_ascii=False)
            self.studio.copy(texts, f"row {row.position + 1:,} as the model reads it")

    def action_again(self) -> None:
        """Ask for everything anew."""
        self._reads = self._reported = None
        self.changed()

    def action_count(self) -> None:
        """Count the tokens of the whole dataset."""
        self.studio.start_job("tokens", "count tokens", done=self._counted)

    def _counted(self, _: object) -> None:
        self._reported = None
        self.changed()

    # Another contract, for comparison

    @work(group="ask", exclusive=True, description="ask what to compare with")
    async def action_compare(self) -> None:
        """Choose a second contract, or close the second one."""
        if self._other is not None:
            self._compare(None)
            return
        choices = [*self._choices(), ("none", "none", "no prompt at all"), ("typed", "type it …", "in the editor")]
        answer = await self.app.push_screen_wait(Choose("Compare with", choices))
        if answer is None:
            return
        if answer == "typed":
            editor = ContractEditor(self.contract, self._own, _taken_at_once, "type the other contract", "Compare")
            chosen = await self.app.push_screen_wait(editor)
            if chosen is not None:
                self._compare(chosen)
        elif answer == "none":
            self._compare(get_preset("none").contract())
        else:
            self._compare(self._contract_of(answer))

    def _compare_with(self, other: PromptContract | None) -> None:
        self._other = other
        self.set_class(other is not None, "-comparing")
        self.query_one("#other").set_class(other is not None, "-open")

    def _compare(self, other: PromptContract | None) -> None:
        self._compare_with(other)
        self._show_contract()
        self._load_row()

    # Changing the contract

    @property
    def _own(self) -> ModelPrompts | None:
        return self._report.own if self._report is not None else None

    def _choices(self) -> list[tuple[str, str, str]]:
        """Presets but the empty one, and the model's own prompts, for a list to choose from."""
        return [*_preset_choices(), *_own_choices(self._own)]

    def _contract_of(self, answer: str) -> PromptContract:
        return _contract_of(answer, self._own)

    @work(group="ask", exclusive=True, description="choose a preset")
    async def action_preset(self) -> None:
        """Choose a preset or one of the model's own prompts, and save it."""
        if self._refused():
            return
        choices = [*self._choices(), ("preset:none", "none", PRESETS["none"].why)]
        current = self.session.project.settings.prompts.origin
        answer = await self.app.push_screen_wait(Choose("Take the prompts from", choices, current))
        if answer is not None:
            await self._save_contract(self._contract_of(answer))

    @work(group="ask", exclusive=True, description="edit the prompts")
    async def action_edit(self) -> None:
        """Edit the two strings."""
        if not self._refused():
            editor = ContractEditor(self.contract, self._own, self._save_contract, "edit the contract", "Save")
            await self.app.push_screen_wait(editor)

    async def _save_contract(self, contract: PromptContract) -> bool:
        """Ask, then write the contract to studio.toml; whether that was done (or nothing was to be done)."""
        before = self.contract
        if contract.hash == before.hash:
            self.studio.say("These are the prompts the project has already; nothing was changed.")
            return True
        question = f"Change the contract from {before.short_hash} to {contract.short_hash}?"
        if not await self.app.push_screen_wait(Confirm(question, _consequences(before, contract), yes="Change")):
            return False
        name = contract.origin.name
        origin = contract.origin.kind.value + (f":{name}" if contract.origin.kind is not OriginKind.CUSTOM else "")
        settings = {"query": contract.query, "document": contract.document, "origin": origin}
        said = f"contract {before.short_hash} → {contract.short_hash}: t counts its tokens, c checks with it"
        return await self._save({"prompts": settings}, said)

    @work(group="ask", exclusive=True, description="ask for the maximum length")
    async def action_length(self) -> None:
        """Change where texts are cut."""
        if self._refused():
            return
        model = self.session.project.settings.model
        hint = "Tokens a text is cut at, prompt and special tokens included; 8 or more."
        answer = await self.app.push_screen_wait(AskText("Maximum length", str(model.max_length), hint))
        if answer is None or not answer.strip():
            return
        number = answer.strip().replace(",", "")
        if not number.isdecimal():
            self.studio.say(f"{number} is no number of tokens.", severity="warning")
        elif int(number) != model.max_length:
            settings = {"id": model.id, "max_length": int(number)}
            await self._save(
                {"model": settings}, f"texts are cut at {int(number):,} tokens (were at {model.max_length:,})"
            )

    @work(group="ask", exclusive=True, description="ask for the model")
    async def action_model(self) -> None:
        """Change the model; one that cannot be read now is saved only if the person insists."""
        if self._refused():
            return
        model = self.session.project.settings.model
        hint = "A folder, a hub id (owner/name), or harrier-tiny for the embedded one."
        answer = await self.app.push_screen_wait(AskText("Model", model.id, hint))
        if answer is None or answer.strip() in ("", model.id):
            return
        chosen = answer.strip()
        if not await self._readable(chosen):
            return
        settings = {"id": chosen, "max_length": model.max_length}
        await self._save({"model": settings}, f"model {safe_text(chosen, 60)}: t counts its tokens")

    async def _readable(self, model: str) -> bool:
        """Whether the model's tokenizer can be read, or the person wants the model all the same."""
        if not len(self.session.rows):
            return True
        self.studio.say(f"Looking for {model} …")
        contract, length = self.contract, self.session.project.settings.model.max_length
        try:
            await self.studio.ask(
                "prompt",
                slot="prompt-model",
                position=self._position,
                query=contract.query,
                document=contract.document,
                max_length=length,
                model=model,
            )
        except (Cancelled, asyncio.CancelledError):
            return False
        except StudioError as error:
            question = "This model cannot be read now. Save its name all the same?"
            anyway: bool = await self.app.push_screen_wait(Confirm(question, str(error), yes="Save"))
            return anyway
        return True

    async def _save(self, changes: dict[str, dict[str, Any]], said: str) -> bool:
        """Write settings, and let everything that depends on them be drawn anew; whether it was written."""
        session = self.session
        try:
            session.project.settings = await asyncio.to_thread(_written, session.project.root / SETTINGS_FILE, changes)
        except StudioError as error:
            self.studio.fail(error)
            return False
        try:
            await self.studio.ask("refresh")
        except (Cancelled, asyncio.CancelledError):
            pass
        except StudioError as error:
            self.studio.fail(error)
        self._reads = None
        session.version += 1
        self.studio.remark = said
        self.studio.changed_signal.publish(None)
        return True

    def _refused(self) -> bool:
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was changed.", severity="warning")
        return self.session.read_only


class PromptArea(TextArea):
    """A text area for one prompt that gives back every byte it was given until something is typed."""

    def __init__(self, given: str, *, id: str) -> None:
        self._given = given
        super().__init__(_with_line_feeds(given), id=id, soft_wrap=True, tab_behavior="focus")
        self._loaded = self.text

    @property
    def value(self) -> str:
        """The prompt: as it was given, or as it was typed since."""
        return self._given if self.text == self._loaded else self.text

    @property
    def holds_other_breaks(self) -> bool:
        """Whether the prompt has line breaks of another kind than line feeds, which typing would turn into those."""
        return self.text == self._loaded and self._given != self._loaded

    def fill(self, given: str) -> None:
        """Put another prompt in its place."""
        self._given = given
        self.text = _with_line_feeds(given)
        self._loaded = self.text

    def get_line(self, line_index: int) -> Text:
        """The line as it is drawn: what would steer the terminal, or not be seen, has a sign in its place."""
        return Text(self.document.get_line(line_index).translate(_ONE_SIGN), end="", no_wrap=True)


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
    ContractEditor PromptArea { height: 5; border: round $primary 50%; padding: 0; scrollbar-size-vertical: 1; }
    ContractEditor PromptArea:focus { border: round $accent; }
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
            yield PromptArea(self._before.query, id="edit-query")
            yield Label(safe("before passages and negatives (most models: nothing)"))
            yield PromptArea(self._before.document, id="edit-document")
            with VerticalScroll(id="live-pane", can_focus=False):
                yield Static(id="live", markup=False)
            with Horizontal(id="contract-buttons"):
                yield Button(Content(f"{self._verb} ctrl+s"), id="save", variant="primary", compact=True)
                yield Button(Content("Presets f2"), id="preset", compact=True)
                yield Button(Content("From the model f3"), id="own", compact=True)
                yield Button(Content("Leave esc"), id="close", compact=True)

    def on_mount(self) -> None:
        """Ready to type at the end of the query prompt."""
        area = self.query_one("#edit-query", PromptArea)
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
        return self.query_one("#edit-query", PromptArea).value, self.query_one("#edit-document", PromptArea).value

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
        lines = [Content.assemble((f"contract {hashes}", "bold"), f" · {_origin_words(contract)}")]
        lines += _contract_lines(contract, width)
        for area in self.query(PromptArea):
            if area.holds_other_breaks:
                lines.append(Content("! note  line breaks of another kind are kept unless you type in that text"))
        lints = lint_contract(contract, self._own)
        lines += [_lint_line(lint) for lint in lints[:_LINTS_DRAWN]] or [Content(f"{_OK}  nothing is wrong with them")]
        live.update(Content("\n").join(lines))

    @work(group="contract", exclusive=True, description="choose a preset")
    async def action_preset(self) -> None:
        """Fill in a preset."""
        choices = [*_preset_choices(), ("preset:none", "none", PRESETS["none"].why)]
        self._fill(await self.app.push_screen_wait(Choose("Presets", choices)))

    @work(group="contract", exclusive=True, description="choose one of the model's own prompts")
    async def action_own(self) -> None:
        """Fill in one of the model's own prompts."""
        choices = _own_choices(self._own)
        if not choices:
            self.notify("The model has no prompts of its own, or cannot be read.", markup=False)
            return
        self._fill(await self.app.push_screen_wait(Choose("The model's own prompts", choices)))

    def _fill(self, answer: str | None) -> None:
        if answer is not None:
            self._taken = _contract_of(answer, self._own)
            self.query_one("#edit-query", PromptArea).fill(self._taken.query)
            self.query_one("#edit-document", PromptArea).fill(self._taken.document)

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


class _OneSign(dict[int, str]):
    """Code point → one sign of the width of one column for what cannot be drawn as it is; worked out once."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        shown = visible(char)
        if char in " \t␠⏎⇥⍽⟨" or shown == char:
            self[point] = char
        elif point < 0x20:
            self[point] = chr(0x2400 + point)
        else:
            self[point] = shown if len(shown) == 1 else "\N{REPLACEMENT CHARACTER}"
        return self[point]


_ONE_SIGN = _OneSign()


async def _taken_at_once(_: PromptContract) -> bool:
    return True


def _with_line_feeds(text: str) -> str:
    """Line breaks as the text area breaks lines anyway, so that it does not go on with carriage returns."""
    lines = text.splitlines()
    return "\n".join([*lines, ""] if text.endswith(("\n", "\r")) else lines)


def _written(path: Path, changes: dict[str, dict[str, Any]]) -> ProjectSettings:
    """Change tables of studio.toml as it is on disk now; return all of it as it is read back.

    Raises:
        ConfigError: a value cannot be used; nothing is written then.
        UnavailableError: the file cannot be written.
    """
    kinds: dict[str, type[PromptSettings] | type[ModelSettings]] = {"prompts": PromptSettings, "model": ModelSettings}
    settings = read_settings(path, ProjectSettings)
    update = {name: validated(values, kinds[name], f"{path}, [{name}]") for name, values in changes.items()}
    write_settings(path, settings.model_copy(update=update))
    return read_settings(path, ProjectSettings)


# Contracts to choose from


def _preset_choices() -> list[tuple[str, str, str]]:
    """(answer, label, remark) of every preset with a prompt."""
    return [
        (f"preset:{preset.name}", preset.name, ("for comparing: " if preset.ablation else "") + preset.why)
        for preset in PRESETS.values()
        if preset.query or preset.document
    ]


def _own_choices(own: ModelPrompts | None) -> list[tuple[str, str, str]]:
    """(answer, label, remark) of every prompt the model has for queries."""
    prompts = own.prompts if own is not None else {}
    return [
        (f"model:{name}", f"the model's own {name}", visible(prompt) or "(empty)")
        for name, prompt in prompts.items()
        if name not in _DOCUMENT_NAMES
    ]


def _contract_of(answer: str, own: ModelPrompts | None) -> PromptContract:
    """The contract of an answer of `_preset_choices` or `_own_choices`."""
    kind, _, name = answer.partition(":")
    if kind == "preset" or own is None:
        return get_preset(name).contract()
    document = next((each for each in _DOCUMENT_NAMES if own.prompts.get(each)), None)
    return PromptContract.from_model_prompts(own.prompts, name, document_name=document)


def _consequences(before: PromptContract, after: PromptContract) -> str:
    lines = []
    for role in Role:
        if before.prompt(role) != after.prompt(role):
            new = visible(after.prompt(role))
            shown = (new if len(new) <= 300 else f"…{new[-300:]}") or "(none)"
            lines.append(f"{role.value} becomes  {shown}")
    lines += [
        "",
        "Token counts and the prompt check are about the old contract: t counts again, c checks again.",
        "A model that was trained with the old one expects the old one. Undo (u) does not change settings back.",
    ]
    return "\n".join(lines)


# Drawing


def _origin_words(contract: PromptContract) -> str:
    origin = contract.origin
    name = f" {safe_text(origin.name, 40)}" if origin.kind is not OriginKind.CUSTOM else ""
    return _ORIGINS[origin.kind] + name


def _contract_lines(contract: PromptContract, width: int) -> list[Content]:
    """Both strings, every character to be seen."""
    return [line for role in Role for line in _string_lines(role.value, contract.prompt(role), width)]


def _compared_lines(this: PromptContract, other: PromptContract, width: int) -> list[Content]:
    """Both strings of the other contract, underlined from where they differ, and from which byte that is."""
    lines: list[Content] = []
    said: list[Content] = []
    for role in Role:
        difference = first_difference(this.prompt(role), other.prompt(role))
        from_character = None if difference is None else difference.character
        lines += _string_lines(role.value, other.prompt(role), width, from_character)
        if difference is not None:
            said.append(Content.styled(f"≠ {role.value} differs from byte {difference.byte} on", "bold"))
    return [*lines, *(said or [Content("= both strings are equal, byte for byte")])]


def _string_lines(name: str, text: str, width: int, differs_from: int | None = None) -> list[Content]:
    shown = visible(text[:_STRING_DRAWN])
    mark = len(shown) if differs_from is None else len(visible(text[: min(differs_from, _STRING_DRAWN)]))
    lines: list[Content] = []
    at = 0
    for line in _folded(shown, max(10, width - _LABEL)) or ["(none)"]:
        label = name if not lines else ""
        same = max(0, min(len(line), mark - at))
        at += len(line)
        lines.append(Content.assemble((label.ljust(_LABEL), "bold"), line[:same], (line[same:], "underline bold")))
    if shown == "" and differs_from is None:
        lines = [Content.assemble((name.ljust(_LABEL), "bold"), "(none)")]
    if len(text) > _STRING_DRAWN:
        lines.append(Content(f"{'':{_LABEL}}… showing {_STRING_DRAWN:,} of {len(text):,} characters"))
    return lines


def _folded(shown: str, width: int) -> list[str]:
    """Break a visible string after line breaks and, where it is too wide, after spaces; nothing is added or lost."""
    lines: list[str] = []
    line, used = "", 0
    for piece in _pieces(shown):
        size = Content(piece).cell_length
        if line and used + size > width:
            lines.append(line)
            line, used = "", 0
        if size > width:
            *full, line = _chopped(piece, width)
            lines += full
            used = Content(line).cell_length
        else:
            line, used = line + piece, used + size
        if line.endswith("⏎"):
            lines.append(line)
            line, used = "", 0
    return [*lines, line] if line else lines


def _pieces(shown: str) -> Iterator[str]:
    start = 0
    for at, char in enumerate(shown):
        if char in "␠⏎":
            yield shown[start : at + 1]
            start = at + 1
    if start < len(shown):
        yield shown[start:]


def _chopped(piece: str, width: int) -> list[str]:
    parts, used = [""], 0
    for char in piece:
        size = Content(char).cell_length
        if used + size > width:
            parts.append("")
            used = 0
        parts[-1] += char
        used += size
    return parts


def _row_lines(row: RowPrompt, against: RowPrompt | None, *, ids: bool) -> list[Content]:
    """Every text of a row; `against` is the same row under the contract it is compared with."""
    most = max(_TOKENS_AT_LEAST, _TOKENS_DRAWN // len(row.texts))
    lines: list[Content] = []
    for at, text in enumerate(row.texts):
        same = against.texts[at] if against is not None and at < len(against.texts) else None
        lines += [*_text_lines(text, row, same, most, ids=ids), Content("")]
    if row.doubts:
        lines.append(safe(f"! the trainer's ids may differ: {'; '.join(row.doubts)}", 400))
    return lines if against is not None else [*lines, Content.styled(_LEGEND, "dim")]


def _text_lines(
    text: TextPreview, row: RowPrompt, against: TextPreview | None, most: int, *, ids: bool
) -> Iterator[Content]:
    names = {"query": "query", "positive": "passage"}
    name = names.get(text.column) or f"negative {(text.index or 0) + 1}"
    counts = f"{text.tokens_after:,} of {row.max_length:,} tokens"
    if text.prompt_tokens:
        merged = f"the prompt alone has {text.prompt_tokens}"
        counts += f" · {merged if text.prompt_merged else f'the first {text.prompt_tokens} are the prompt'}"
    if text.tokens_lost:
        counts += f" · ✂ {text.tokens_lost:,} lost"
    if against is not None:
        counts += f" · {_difference_words(text, against)}"
    yield Content.assemble((name, "bold"), f"  {counts}")
    yield _tokens(text, row, most)
    if ids:
        yield Content.assemble(("ids ", "bold"), _ids(text.ids, most))
    if text.cut_at is not None:
        yield _cut(text, row)
    if not text.eos_is_last:
        yield Content.styled("✗ the last token is not the end of sequence: another one is pooled", "bold")
    if text.prompt_merged:
        yield Content("· one token holds the end of the prompt and the start of the text")
    if text.special_in_text:
        yield Content(f"! {text.special_in_text} special tokens are written out in the text itself")


def _tokens(text: TextPreview, row: RowPrompt, most: int) -> Content:
    """The tokens with spaces between them (their own spaces are ␠), and what is pooled."""
    total = len(text.tokens)
    head, tail = (total, total) if total <= most else (most * 3 // 4, total - most // 4)
    # With the start cut off, or a token on both sides, there is no place between two tokens to mark.
    prompt_ends = None if text.prompt_merged or (row.cut_side == "left" and text.tokens_lost) else text.prompt_tokens
    parts: list[str | tuple[str, str]] = []
    for at in (*range(head), *range(tail, total)):
        if at == tail and tail > head:
            parts.append((f"… {tail - head:,} tokens not drawn … ", "dim"))
        if at and at == prompt_ends:
            parts.append((f"{_PROMPT_END} ", "bold"))
        special = text.ids[at] in row.special_ids
        parts.append((text.tokens[at], "reverse") if special else text.tokens[at])
        parts.append(" ")
        if at == text.pooled_position:
            parts.append(("◀ pooled here", "bold"))
    return Content.assemble(*parts) if parts else Content("(no token at all)")


def _ids(ids: Sequence[int], most: int) -> str:
    if len(ids) <= most:
        return " ".join(map(str, ids))
    head, tail = ids[: most * 3 // 4], ids[len(ids) - most // 4 :]
    return f"{' '.join(map(str, head))} … {' '.join(map(str, tail))}"


def _cut(text: TextPreview, row: RowPrompt) -> Content:
    assert text.cut_at is not None
    if row.cut_side == "left":
        return Content(f"✂ what comes before character {text.cut_at:,} of {len(text.raw):,} is not read")
    rest = visible(text.raw[text.cut_at : text.cut_at + 60])
    survives = " · the end of sequence survives ✓" if text.eos_is_last else ""
    where = f"✂ cut at character {text.cut_at:,} of {len(text.raw):,}, not read: "
    return Content.assemble(where, (rest, "strike"), ("…" if text.cut_at + 60 < len(text.raw) else ""), survives)


def _difference_words(text: TextPreview, against: TextPreview) -> str:
    if text.ids == against.ids:
        return "= the same tokens"
    pairs = zip(text.ids, against.ids, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(text.ids), len(against.ids)))
    more = text.tokens_before - against.tokens_before
    count = f"{more:+,} tokens" if more else "as many tokens"
    return f"≠ {count}, other ones from token {at + 1:,} on"


# Findings


def _finding_line(finding: Finding) -> Content:
    rows = 0 if finding.rows is None else len(finding.rows)
    more = f" · enter: show {_number(rows, 'row')}" if rows else ""
    return Content.assemble((f"{finding.sign:<7}", "bold"), safe_text(finding.text, 600), (more, "italic"))


def _number(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _lint_line(lint: Lint) -> Content:
    """A lint with what to do, as the editor shows it."""
    words = f"{lint.message.rstrip('.')} · to do: {lint.remedy}"
    return Content.assemble((f"{_SIGNS[lint.severity]:<7}", "bold"), safe_text(words, 600))


def _findings(report: ContractReport) -> Iterator[Finding]:
    """Everything a report says, the worst first."""
    order = [*_SIGNS.values(), _OK]
    found = [*map(_lint_finding, report.lints), *map(_prompted_finding, report.prompted)]
    found += [*_truncation_findings(report), *_use_findings(report)]
    if report.model_error is not None:
        text = f"the model cannot be read: {report.model_error.splitlines()[0]}"
        found.append(Finding(_SIGNS[Severity.WARN], text, detail=report.model_error))
    if not report.prompted:
        found.append(Finding(_OK, f"none of the {report.rows:,} kept rows carries a prompt already"))
    yield from sorted(found, key=lambda finding: order.index(finding.sign))


def _lint_finding(lint: Lint) -> Finding:
    detail = f"{lint.message}\n\nTo do: {lint.remedy}\n\n({lint.code})"
    return Finding(_SIGNS[lint.severity], lint.message.rstrip("."), detail=detail)


def _prompted_finding(prompted: PromptedRows) -> Finding:
    one, more, words = _PROMPTED[PromptReason(prompted.reason)]
    text = f"{_number(prompted.texts, one, more)} {words}, mostly “{visible(prompted.example[:60])}”"
    return Finding(_SIGNS[Severity.WARN], text, prompted.positions, f"{more} {words}")


def _truncation_findings(report: ContractReport) -> Iterable[Finding]:
    if report.counted == "none":
        return [
            Finding(_SIGNS[Severity.INFO], "what is cut is not known yet · t: count tokens of all rows", count=True)
        ]
    if report.counted == "other":
        text = "tokens were counted for another contract and do not hold for this one · t: count tokens of all rows"
        return [Finding(_SIGNS[Severity.INFO], text, count=True)]
    edited = f" (counted as imported; {_number(report.edited, 'row')} edited since)" if report.edited else ""
    cut = [each for each in report.truncation if len(each.positions)]
    if not cut:
        text = f"no query and no passage of {report.rows:,} kept rows is cut at {report.max_length:,} tokens{edited}"
        return [Finding(_OK, text)]
    return [_cut_finding(each, report.max_length, edited) for each in cut]


def _cut_finding(cut: Truncation, max_length: int, edited: str) -> Finding:
    one, more = ("passage", "passages") if cut.column == "positive" else ("query", "queries")
    count = _number(len(cut.positions), one, more)
    share = f"{cut.share:.1%}" if cut.share >= 0.001 else "under 0.1%"
    text = f"{count} ({share}) cut at {max_length:,} tokens: {_number(cut.lost, 'token')} lost{edited}"
    return Finding(_SIGNS[Severity.WARN], text, cut.positions, f"{more} cut at {max_length:,} tokens")


def _use_findings(report: ContractReport) -> Iterator[Finding]:
    marks = {True: "✓", False: "✗", None: "?"}
    text = "  ".join(f"{use.name} {marks[use.equal]}" for use in report.uses)
    detail = "\n".join(f"{marks[use.equal]} {use.name}: {use.detail}" for use in report.uses)
    if any(use.equal is False for use in report.uses):
        sign = _SIGNS[Severity.FAIL]
    else:
        sign = _OK if all(use.equal for use in report.uses) else _SIGNS[Severity.INFO]
    yield Finding(sign, f"same string in  {text}", detail=detail)
