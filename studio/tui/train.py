"""The Train panel: a form over the run spec, what preflight says of it, and starting it."""

from __future__ import annotations

import asyncio
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList, Static

from studio.errors import StudioError, UsageError
from studio.runs.folder import run_folder, run_folders
from studio.training.presets import DEFAULT, PRESETS, starting
from studio.training.spec import RunSpec
from studio.tui.cluster_drawing import Lines
from studio.tui.command import Command, bindings
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.matrix_rows import MatrixRows
from studio.tui.panel import PanelScreen
from studio.tui.safe import safe
from studio.tui.train_drawing import (
    LEGEND,
    head_line,
    preflight_head,
    preflight_words,
    preset_words,
    run_words,
    setting_line,
    setting_words,
)
from studio.view.run_command import changes, command
from studio.view.training import (
    Setting,
    dataset_of,
    edited,
    negatives_words,
    restored,
    settings,
    with_data,
    without_data,
)

if TYPE_CHECKING:
    from studio.engine.training import Launched, Planned
    from studio.training.items import Item
    from studio.training.matrix import MatrixRow
    from studio.view.session import Session

_SCROLL = {"cursor_down": "down", "cursor_up": "up", "first": "home", "last": "end"}


def _of_train(name: str, keys: str, action: str, label: str, words: str, *, footer: bool = False) -> Command:
    return Command(f"train.{name}", keys, action, label, words, footer=footer)


TRAIN = (
    _of_train("edit", "e,enter", "edit", "Change", "Change the setting under the cursor.", footer=True),
    _of_train("preset", "p", "preset", "Preset", "Begin from another preset; what you changed is lost.", footer=True),
    _of_train("name", "n", "name", "Name", "Say what the run is called."),
    _of_train("preflight", "r,f5", "preflight", "Preflight", "Check all that can be checked before a GPU second.",
              footer=True),
    _of_train("smoke", "t", "smoke", "Smoke test", "One step of a real batch: whether it runs, and in how much memory.",
              footer=True),
    _of_train("launch", "L", "launch('now')", "Launch", "Make the run and start it; asks first.", footer=True),
    _of_train("queue", "w", "launch('queue')", "Queue", "Make the run and let it wait for its devices; asks first."),
    _of_train("matrix", "m", "matrix", "Matrix", "Queue rows of the experiment matrix over this run; asks which."),
    _of_train("eject", "x", "eject", "Script", "Make the run without starting it, and write the script equal to it."),
    _of_train("copy", "y", "copy", "Copy", "Copy the command that does the same."),
    _of_train("restore", "backspace", "restore", "As preset", "Give the setting the value that the preset has."),
    _of_train("more", "plus", "more_data", "One more", "One dataset more: mined hard negatives, or a file."),
    _of_train("fewer", "minus", "fewer_data", "One fewer", "Leave out the dataset under the cursor, or the last."),
    _of_train("read", "space", "read", "Read on", "Scroll what is at the right, the form keeps the focus."),
    _of_train("left", "left,h", "pane(-1)", "Left", "To the form."),
    _of_train("right", "right,l", "pane(1)", "Right", "To the words about it."),
    _of_train("down", "j", "move('cursor_down')", "Down", "One line down."),
    _of_train("up", "k", "move('cursor_up')", "Up", "One line up."),
    _of_train("first", "g", "move('first')", "First", "To the first setting."),
    _of_train("last", "G", "move('last')", "Last", "To the last setting."),
)  # fmt: skip


class TrainScreen(PanelScreen):
    """The form at the left; at the right the setting under the cursor, preflight, and the command."""

    place = "train"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = TRAIN
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "Train makes runs: a preset to start from (p), every setting with its value and why its default is what it is, "
        "and a check of everything before a GPU second is spent (r).\n"
        "Signs: ● yours, ◆ the preset's own, nothing: what every run begins with. Enter changes the setting under the "
        "cursor, backspace gives it back to the preset. Settings that the loss does not know are dim.\n"
        "Negatives: a query is pushed away from every other passage of its batch. A larger batch, more devices that "
        "share theirs, or hard negatives give it more. Accumulation does not: each batch has its own.\n"
        "t is the smoke test: one step of a real batch. L launches, w lets the run wait until a device is free. Both "
        "make the run first: its settings, prompts and data are frozen, so what you decide later changes nothing in "
        "it. The run is a process of its own; Runs (6) shows it, and leaving the studio does not stop it.\n"
        "m queues the experiment matrix, or some of its rows: the same run with one thing changed at a time, compared "
        "in one table.\n"
        "y copies the command that does the same without the studio; x writes a script that does what the run does."
    )
    DEFAULT_CSS = """
    TrainScreen {
        #train-head { height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis; }
        #train-panes { height: 1fr; layout: horizontal; }
        #train-form { width: 1fr; min-width: 60; max-width: 84; height: 1fr; }
        #train-settings { height: 1fr; }
        #train-legend { height: 1; padding: 0 1; color: $foreground 70%; }
        #train-side { width: 1fr; height: 1fr; padding: 0 1; border-left: vkey $panel; }
        #train-words { height: auto; }
        &.-narrow #train-panes { layout: vertical; }
        &.-narrow #train-form { width: 1fr; max-width: 100%; height: 1fr; }
        &.-narrow #train-legend { display: none; }
        &.-narrow #train-side { width: 1fr; height: 1fr; border-left: none; border-top: hkey $panel; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._base = DEFAULT
        self._run_spec: RunSpec = PRESETS[DEFAULT].spec
        self._run_name = ""
        self._own_name = False
        """Whether the person named the run; else it is named after the preset."""
        self._shown: list[Setting] = []
        self._items: tuple[RunSpec, str, tuple[Item, ...]] | None = None
        """What preflight said, and of which spec and name."""
        self._of: Session | None = None

    def body(self) -> ComposeResult:
        """The form and the words."""
        yield Static(id="train-head", markup=False)
        with Vertical(id="train-panes"):
            with Vertical(id="train-form"):
                yield Lines(id="train-settings", markup=False)
                yield Static(LEGEND, id="train-legend", markup=False)
            with VerticalScroll(id="train-side", can_focus=True):
                yield Static(id="train-words", markup=False)

    def on_mount(self) -> None:
        """Begin on the form."""
        self.query_one("#train-settings").focus()

    def changed(self) -> None:
        """Begin anew with another project; name the run after those that are there."""
        if self._of is not self.session:
            self._of, self._items, self._own_name = self.session, None, False
            self._base, self._run_spec = starting(self.session.project.settings)
        self._draw_form()
        self._name_it()

    def on_resize(self, event: Resize) -> None:
        """Say as much as there is room for."""
        if self._of is not None:
            self._draw_words()

    def _job_heard(self, _: object) -> None:
        super()._job_heard(_)
        if self._of is not None:
            self._draw_words()

    # Drawing

    @property
    def _preset_spec(self) -> RunSpec:
        return PRESETS[self._base].spec

    @property
    def _checked(self) -> tuple[Item, ...] | None:
        """What preflight says of this very spec. Another name since then was looked at when it was given."""
        if self._items is None or self._items[0] != self._run_spec:
            return None
        _, name, items = self._items
        return items if name == self._run_name else tuple(item for item in items if item.code != "name")

    @property
    def _here(self) -> Setting | None:
        """The setting under the cursor."""
        at = self.query_one("#train-settings", Lines).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def _draw_form(self) -> None:
        here = self._here
        self._shown = settings(self._run_spec, self._preset_spec)
        keys = [setting.key for setting in self._shown]
        sections = [setting.section for setting in self._shown]
        lines = [
            setting_line(setting, first=at == 0 or sections[at - 1] != setting.section)
            for at, setting in enumerate(self._shown)
        ]
        place = keys.index(here.key) if here and here.key in keys else 0
        self.query_one("#train-settings", Lines).fill(lines, place)
        self._draw_words()

    def _draw_words(self) -> None:
        items = self._checked
        said = preflight_head(items) if items else "of other settings; r: again" if self._items else ""
        if self.studio.job is not None and self.studio.job.name == "preflight":
            said = "checking; the last line but one says how far it is"
        own = len(changes(self._run_spec, self._preset_spec))
        self.query_one("#train-head", Static).update(head_line(self._base, self._run_name, own, said))
        parts: list[Content] = []
        if here := self._here:
            parts += [*setting_words(here), Content("")]
        parts += [Content.styled("negatives", "bold"), safe(negatives_words(self._run_spec), 600), Content("")]
        parts.append(Content.assemble(("preflight", "bold"), f"  {said or 'r checks data, prompts, memory, disk, …'}"))
        if items:
            parts += preflight_words(items)
        parts += [
            Content(""),
            Content.assemble(("command", "bold"), " (y copies it, x writes the script equal to it)"),
            safe(self._command()),
            Content(""),
            *preset_words(PRESETS[self._base]),
        ]
        self.query_one("#train-words", Static).update(Content("\n").join(parts))

    def _command(self) -> str:
        root = self.session.project.root
        return command(root, self._run_name, self._base, self._run_spec, self._preset_spec)

    @on(OptionList.OptionHighlighted, "#train-settings")
    def _moved(self) -> None:
        self._draw_words()
        self.query_one("#train-side", VerticalScroll).scroll_home(animate=False)

    @work(exclusive=True, group="run_name", description="name the run")
    async def _name_it(self) -> None:
        """Name the run after the preset, as no run is called yet."""
        if self._own_name:
            return
        folders = await asyncio.to_thread(run_folders, self.session.project.root)
        taken = {folder.name for folder in folders}
        numbered = (f"{self._base}-{number}" for number in range(2, len(taken) + 3))
        self._run_name = next(name for name in (self._base, *numbered) if name not in taken)
        self._draw_words()

    # Changing

    @on(OptionList.OptionSelected, "#train-settings")
    def action_edit(self) -> None:
        """Ask for another value of the setting under the cursor."""
        if (here := self._here) is None:
            return
        taken = partial(self._edited, here.key)
        if here.offers:
            choices = [(str(at), offer.words, offer.remark) for at, offer in enumerate(here.offers)]
            now = next((at for at, words, _ in choices if words == here.value), None)
            self.studio.push_screen(
                Choose(here.key, choices, now),
                lambda at: None if at is None else taken(here.offers[int(at)].value),
            )
        else:
            self._ask(here, here.typed)

    def _ask(self, setting: Setting, text: str, wrong: str = "") -> None:
        """Ask for a value in words; what cannot be is asked again, with what was typed and why it cannot."""
        dialog = AskText(setting.key, text, setting.kind, wrong=wrong)
        self.studio.push_screen(dialog, lambda typed: None if typed is None else self._edited(setting.key, typed))

    def _edited(self, key: str, value: Any) -> None:
        try:
            self._run_spec = edited(self._run_spec, key, value)
        except StudioError as error:
            here = next((setting for setting in self._shown if setting.key == key), None)
            if here is None or here.offers or not isinstance(value, str):
                self.studio.push_screen(Tell.error(error))
            else:
                self._ask(here, value, str(error))
            return
        self._draw_form()

    def action_restore(self) -> None:
        """Give the setting the value that the preset has."""
        if here := self._here:
            self._try(lambda: restored(self._run_spec, self._preset_spec, here.key))

    def action_more_data(self) -> None:
        """Add a dataset."""
        self._try(lambda: with_data(self._run_spec))

    def action_fewer_data(self) -> None:
        """Leave out a dataset."""
        at = dataset_of(self._here.key) if self._here else -1
        self._try(lambda: without_data(self._run_spec, at % len(self._run_spec.data)))

    def _try(self, change: Any) -> None:
        try:
            self._run_spec = change()
        except StudioError as error:
            self.studio.fail(error)
            return
        self._draw_form()

    def action_preset(self) -> None:
        """Choose a preset."""
        wide = max(map(len, PRESETS))
        choices = [
            (preset.name, f"{preset.name:<{wide}}  {preset.title}", "\n".join(filter(None, (
                preset.why, f"⚠ unverified: {preset.unverified}" if preset.unverified else ""
            ))))
            for preset in PRESETS.values()
        ]  # fmt: skip
        dialog = Choose("Begin from which preset?", choices, self._base, full=True)
        self.studio.push_screen(dialog, self._preset_chosen)

    def _preset_chosen(self, name: str | None) -> None:
        if name is not None:
            self._base, self._run_spec = name, PRESETS[name].spec
            self._draw_form()
            self._name_it()

    def action_name(self) -> None:
        """Ask for the run's name."""
        self._ask_name(self._run_name)

    def _ask_name(self, text: str, wrong: str = "") -> None:
        hint = "letters, digits, dots, dashes, underscores; empty: named after the preset"
        self.studio.push_screen(AskText("What is the run called?", text, hint, wrong=wrong), self._named)

    def _named(self, answer: str | None) -> None:
        if answer is None:
            return
        name = answer.strip()
        try:
            if name:
                self._free(name)
        except StudioError as error:
            self._ask_name(answer, str(error))
            return
        self._own_name, self._run_name = bool(name), name or self._run_name
        self._draw_words()
        self._name_it()

    def _free(self, name: str) -> None:
        """Raise if a run cannot be called that, or one is."""
        if run_folder(self.session.project.root, name).root.exists():
            raise UsageError(f"There is a run `{name}` already.", remedy="choose another name, or resume that run in 6")

    # Checking and starting

    def action_preflight(self) -> None:
        """Check all that can be checked."""
        self._check(lambda: None)

    def _check(self, then: Any) -> None:
        """Run preflight, and do something when it has ended."""
        asked = self._run_spec, self._run_name
        self.studio.start_job(
            "preflight", "preflight", partial(self._prechecked, asked, then), spec=asked[0], run=asked[1]
        )

    def _prechecked(self, asked: tuple[RunSpec, str], then: Any, items: tuple[Item, ...]) -> None:
        self._items = (*asked, items)
        self.studio.remark = f"preflight: {preflight_head(items)}"
        self._draw_words()
        if self._checked is not None:
            then()

    def action_launch(self, how: str) -> None:
        """Make the run and start it, or let it wait; preflight first, where it was not yet."""
        if self._refused():
            return
        if self._checked is None:
            self._check(lambda: self._ask_to_launch(how))
        else:
            self._ask_to_launch(how)

    def _ask_to_launch(self, how: str) -> None:
        items = self._checked or ()
        fails = [item for item in items if item.status == "fail"]
        if fails:
            text = "\n\n".join(f"{item.code}: {item.message}\ndo: {item.remedy}" for item in fails)
            self.studio.push_screen(Tell("Not launched: preflight fails", text))
            return
        try:
            self._free(self._run_name)
        except StudioError as error:
            self._ask_name(self._run_name, str(error))
            return
        lines = run_words(self._run_spec, negatives_words(self._run_spec)).split("\n")
        lines += [f"⚠ {item.message}" for item in items if item.status == "warn"]
        when = "now" if how == "now" else "as soon as its devices are free"
        question = f"Start the run {self._run_name} {when}?"
        yes = "Launch" if how == "now" else "Queue"
        dialog = Confirm(question, "\n".join(lines), yes=yes, no="Leave")
        self.studio.push_screen(dialog, lambda sure: self._launch(how) if sure else None)

    def _launch(self, how: str) -> None:
        self.studio.start_job(
            "launch", f"launch {self._run_name}", self._launched, spec=self._run_spec, run=self._run_name, how=how,
            argv=shlex.split(self._command()),
        )  # fmt: skip

    def _launched(self, launched: Launched) -> None:
        # Not the state line: what is said of a run that starts is not true for long, and Runs shows how it goes on.
        self.studio.say(launched.words)
        self._own_name = False
        self._name_it()
        self.studio.show_run(launched.name)

    def action_smoke(self) -> None:
        """Start the smoke test."""
        if not self._refused():
            self.studio.start_job("smoke", "smoke test", self._launched, spec=self._run_spec)

    def action_matrix(self) -> None:
        """Plan the matrix, then ask which of its rows, then queue them."""
        if not self._refused():
            self.studio.start_job("matrix_plan", "plan the matrix", self._planned, spec=self._run_spec)

    def _planned(self, planned: Planned) -> None:
        self.studio.push_screen(MatrixRows(planned.rows), self._queue_matrix)

    def _queue_matrix(self, rows: tuple[MatrixRow, ...] | None) -> None:
        if rows:
            self.studio.start_job("matrix", "queue the matrix", self._launched, rows=rows)

    def action_eject(self) -> None:
        """Make the run without starting it, and write the script that does the same."""
        if self._refused():
            return
        own = self._run_spec.sampler.name == "conflict_aware"
        of_ours = "; of the studio it imports the conflict-aware sampler, as it says itself" if own else " alone"
        detail = (
            "Its settings, prompts and data are frozen in its folder; nothing starts. The script beside them reads "
            f"the same data and does the same with sentence-transformers{of_ours}."
        )
        dialog = Confirm(f"Make the run {self._run_name} and write its script?", detail, yes="Write", no="Leave")
        self.studio.push_screen(
            dialog,
            lambda sure: self.studio.start_job(
                "launch", f"make {self._run_name}", self._ejected, spec=self._run_spec, run=self._run_name,
                how="script", argv=shlex.split(self._command()),
            ) if sure else None,
        )  # fmt: skip

    def _ejected(self, launched: Launched) -> None:
        self.studio.remark = launched.words
        self._own_name = False
        self._name_it()
        self.studio.push_screen(Tell(f"The script of {launched.name}", launched.words))

    def _refused(self) -> bool:
        """Whether nothing may be written; says so."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was started.", severity="warning")
        elif self.studio.saving:
            self.studio.say("A decision is being saved; try again in a moment.", severity="warning")
        return self.session.read_only or self.studio.saving > 0

    def action_copy(self) -> None:
        """Copy the command."""
        self.studio.copy(self._command(), "The command")

    # Moving

    def action_read(self) -> None:
        """Scroll the words; at their end begin again."""
        view = self.query_one("#train-side", VerticalScroll)
        if view.scroll_y >= view.max_scroll_y:
            view.scroll_home(animate=False)
        else:
            view.scroll_page_down(animate=False)

    def action_pane(self, step: int) -> None:
        """Focus the form or the words."""
        self.query_one("#train-side" if step > 0 else "#train-settings").focus()

    def action_move(self, action: str) -> None:
        """Move in what has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{action}")()
        elif isinstance(self.focused, VerticalScroll):
            getattr(self.focused, f"action_scroll_{_SCROLL[action]}")()
