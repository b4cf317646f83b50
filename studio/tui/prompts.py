"""The Prompts panel: the contract, what the model really reads of a row, and what is wrong with either."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from studio.errors import Cancelled, StudioError
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
from studio.prompts.lint import ModelPrompts, Severity
from studio.prompts.presets import PRESETS, get_preset
from studio.prompts.visible import visible
from studio.tui.command import Command, bindings
from studio.tui.contract_editor import ContractEditor, contract_of, own_choices, preset_choices
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.panel import PanelScreen
from studio.tui.prompt_drawing import (
    PROMPT_END,
    SIGNS,
    Finding,
    compared_lines,
    contract_lines,
    finding_line,
    findings_of,
    origin_words,
    row_lines,
)
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from pathlib import Path

    from studio.view.prompting import ContractReport, RowPrompt
    from studio.view.session import Session


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
        f"{PROMPT_END} where the prompt ends, ◀ the position that becomes the embedding, ␠ a space, ⏎ a line break.\n"
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
        box.border_title = Content.assemble((f"contract {contract.short_hash}", "bold"), f" · {origin_words(contract)}")
        box.update(Content("\n").join(contract_lines(contract, self.size.width - 4)))

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
            head = [*contract_lines(self.contract, width), Content("")]
            title.insert(0, f"contract {self.contract.short_hash}")
        else:
            title.insert(0, "what the model really reads")
        self.query_one("#this").border_title = Content(" · ".join(title))
        lines = [*head, *row_lines(this, None, ids=self._with_ids)]
        self.query_one("#this-text", Static).update(Content("\n").join(lines))
        if self._other is not None and other is not None:
            words = f"compared with {self._other.short_hash} · {origin_words(self._other)}"
            self.query_one("#other").border_title = safe(words, 100)
            lines = [*compared_lines(self.contract, self._other, width), Content("")]
            lines += row_lines(other, this, ids=self._with_ids)
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
            self._show_findings([Finding(SIGNS[Severity.FAIL], error.what, detail=str(error))])
            return
        self._report, self._reported = report, about
        self._show_findings(list(findings_of(report)))

    def _show_findings(self, findings: list[Finding]) -> None:
        self._findings = findings
        options = self.query_one("#findings", OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.add_options(Option(finding_line(finding), id=f"f{at}") for at, finding in enumerate(findings))
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
        return [*preset_choices(), *own_choices(self._own)]

    def _contract_of(self, answer: str) -> PromptContract:
        return contract_of(answer, self._own)

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
        # What was there is shown spelled out; left so, it is still the same model.
        if answer is None or answer.strip() in ("", model.id, safe_text(model.id).strip()):
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


async def _taken_at_once(_: PromptContract) -> bool:
    return True


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
