"""The Runs panel: the runs of the project, one of them as it goes or several compared, and what can be asked of them.

It only reads files: a run goes on without it, and is found with its whole history however late one looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList, Static

from studio.errors import Cancelled, StudioError
from studio.files import write_text
from studio.runs.control import Request, ask
from studio.runs.folder import RunFolder
from studio.runs.state import LIVE, State, leave_queue
from studio.runs.stopping import Rung, stop
from studio.training.checkpoints import whence
from studio.tui.cluster_drawing import Lines, count
from studio.tui.command import Command, bindings
from studio.tui.compared_drawing import compared_lines
from studio.tui.dialogs import Choose, Confirm, Tell
from studio.tui.panel import PanelScreen
from studio.tui.run_drawing import detail_lines, run_line
from studio.tui.run_log import RunLog
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from studio.runs.summary import RunSummary
    from studio.view.runs import RunsAnswer
    from studio.view.session import Session

_EVERY = 1.0
"""Seconds from look to look."""
_DEBOUNCE = 0.06
_MOST_COMPARED = 8
_SCROLL = {"cursor_down": "down", "cursor_up": "up", "first": "home", "last": "end"}
_EMPTY = (
    "There is no run yet.\n\n"
    "5 goes to Train, which makes one: begin with a preset, look at preflight, try the smoke test (t), launch (L). "
    "From a command line: harrier-studio train.\n\n"
    "A run is a process of its own and a folder in runs/: it goes on without the studio, and is shown here with its "
    "whole history whenever you look."
)
_SCRIPTS = (
    (
        "train.py",
        "Python script",
        "what the run does, with sentence-transformers; it says itself that it imports the studio's sampler, where the "
        "run has the conflict-aware one",
    ),
    ("train.sbatch", "Slurm script", "the worker as a job; it requeues itself before its time is over"),
)


def _of_runs(name: str, keys: str, action: str, label: str, words: str, *, footer: bool = False) -> Command:
    return Command(f"runs.{name}", keys, action, label, words, footer=footer)


RUNS = (
    _of_runs("stop", "s", "stop", "Stop", "Stop the run, with a checkpoint; asks first. Again: do not wait for it.",
             footer=True),
    _of_runs("resume", "r", "resume", "Resume", "Start the run, or go on from its last checkpoint.", footer=True),
    _of_runs("compare", "space", "mark", "Compare", "Take the run among those that are laid over one another.",
             footer=True),
    _of_runs("alone", "escape", "alone", "Alone", "Compare none any more."),
    _of_runs("log", "l,v", "log", "Log", "Read what the worker and its libraries print.", footer=True),
    _of_runs("evaluate", "e", "request('evaluate')", "Evaluate", "Have the run evaluated at its next step."),
    _of_runs("save", "w", "request('save')", "Save", "Have the run write a checkpoint at its next step."),
    _of_runs("log_scale", "y", "log_scale", "Log scale", "Draw losses by their logarithm, or not."),
    _of_runs("pin", "b", "pin", "Baseline", "Pin the run as the one that others are compared with, or unpin it."),
    _of_runs("pause", "z", "pause", "Pause view", "Leave the screen as it is, and go on; the runs are not touched.",
             footer=True),
    _of_runs("eject", "x", "eject", "Script", "Write a script equal to the run into its folder."),
    _of_runs("again", "f5", "again", "Again", "Look at the files now."),
    _of_runs("left", "left,h", "pane(-1)", "Left", "To the list."),
    _of_runs("right", "right", "pane(1)", "Right", "To the run, to scroll it."),
    _of_runs("down", "j", "move('cursor_down')", "Down", "One line down."),
    _of_runs("up", "k", "move('cursor_up')", "Up", "One line up."),
    _of_runs("first", "g", "move('first')", "First", "To the first line."),
    _of_runs("last", "G", "move('last')", "Last", "To the last line."),
)  # fmt: skip


class RunsScreen(PanelScreen):
    """The list at the left; at the right the run under the cursor, or the marked ones over one another."""

    place = "runs"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = RUNS
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "Runs shows every run of the project from its files, about once a second. Closing the studio never stops a "
        "run; reopening it finds the run with its whole history, and any number of studios may look at once.\n"
        "Signs: ▶ at work, ▷ starting, ◧ stopping, … waits in the queue, ✓ done, ■ stopped, ✗ failed, lost or "
        "diverged, ? silent: its process lives and was not heard of for 30 seconds. Lost is a process that is gone "
        "without a last word. ◆ is the pinned baseline; ≠ marks a score over other queries than the others'. A verdict "
        "that may be chance (p of .05 or more) is dim and has its p.\n"
        "In the curves ··· is the score before training, ★ the best evaluation, ✗ where the loss is no number any "
        "more. The margin is what training widens: positive less in-batch negative. Both similarities may fall while "
        "it does.\n"
        "s stops: the run is asked to save a checkpoint and end; after a minute SIGTERM, after another half SIGKILL "
        "for all its processes. s again does not wait. Leaving the studio meanwhile leaves the request; only the "
        "signals are not sent. r resumes: same order of the data, same optimiser, one curve.\n"
        "space marks runs: marked ones are laid over one another with the settings in which they differ, and with the "
        "difference of their scores from one of them, the first or the one that b pins: query by query, with its 95 % "
        "interval and p, once both have ended. Scores over other queries are not compared."
    )
    DEFAULT_CSS = """
    RunsScreen {
        #runs-notice { height: 1fr; padding: 1 2; display: none; }
        #runs-panes { height: 1fr; layout: horizontal; }
        #runs-list { width: 50; height: 1fr; }
        #runs-title { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        #runs-lines { height: 1fr; }
        #run-view { width: 1fr; height: 1fr; padding: 0 1; border-left: vkey $panel; scrollbar-gutter: stable; }
        #run-text { height: auto; }
        &.-narrow #runs-panes { layout: vertical; }
        &.-narrow #runs-list { width: 1fr; height: 5; }
        &.-narrow #run-view { width: 1fr; border-left: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._answer: RunsAnswer | None = None
        self._at_run = ""
        """Name of the run that is told in full: the one under the cursor, once the cursor has come to rest."""
        self._go_to = ""
        """Name of the run that the cursor is to be put on."""
        self._listed: list[str] = []
        """Names of the runs as the list shows them."""
        self._marked_runs: list[str] = []
        self._log_scale = False
        self._frozen = False
        self._asking = 0
        """Questions under way: one that another replaced ends a moment after that has begun."""
        self._rungs: dict[str, Rung] = {}
        """Where the ladder is of every run that this studio is stopping."""
        self._ladders: dict[str, int] = {}
        """Number of the latest ladder of a run: an earlier one gives way."""
        self._of: Session | None = None

    def body(self) -> ComposeResult:
        """The list and the run."""
        yield Static(id="runs-notice", markup=False)
        with Vertical(id="runs-panes"):
            with Vertical(id="runs-list"):
                yield Static(id="runs-title", markup=False)
                yield Lines(id="runs-lines", markup=False)
            with VerticalScroll(id="run-view", can_focus=True):
                yield Static(id="run-text", markup=False)

    def on_mount(self) -> None:
        """Begin on the list, and look again and again."""
        self.query_one("#runs-lines").focus()
        self.set_interval(_EVERY, self._tick)

    def changed(self) -> None:
        """Look at the files; begin anew with another project."""
        if self._of is not self.session:
            self._of, self._answer = self.session, None
            self._at_run, self._listed, self._marked_runs, self._rungs = "", [], [], {}
        if self.studio.wanted_run:
            self._at_run = self._go_to = self.studio.wanted_run
            self.studio.wanted_run = ""
            self._marked_runs, self._frozen = [], False
        self._look()

    def on_resize(self, event: Resize) -> None:
        """Draw in the new size."""
        self.call_after_refresh(self._draw_run)

    # Looking

    def _tick(self) -> None:
        if self.is_current and not self._frozen and not self._asking:
            self._look()

    @work(exclusive=True, group="runs", description="look at the runs")
    async def _look(self, wait: float = 0.0) -> None:
        """Ask how the runs are, and show it."""
        self._asking += 1
        try:
            await asyncio.sleep(wait)
            answer = await self.studio.ask(
                "runs", slot="runs", run=self._at_run, compared=tuple(self._marked_runs), points=self._view_width
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._notice(f"The runs cannot be shown.\n\n{error}")
            return
        finally:
            self._asking -= 1
        self._answer = answer
        self._show_answer()

    def _show_answer(self) -> None:
        found = self._answer
        assert found is not None
        self._notice("" if found.runs else _EMPTY)
        names = [run.name for run in found.runs]
        self._marked_runs = [name for name in self._marked_runs if name in names]
        if names and self._at_run not in names:
            # Nothing was chosen, or it is gone: the first that has begun, which is at work if any is.
            self._at_run = self._go_to = next((run.name for run in found.runs if run.queued is None), names[0])
            self._look()
        self._draw_list()
        self._draw_run()

    @property
    def _view_width(self) -> int:
        """Columns of the run's view, without its padding and its scroll bar."""
        view = self.query_one("#run-view", VerticalScroll)
        return max(view.scrollable_content_region.width, 40)

    def _notice(self, words: str) -> None:
        notice = self.query_one("#runs-notice", Static)
        notice.display, self.query_one("#runs-panes").display = bool(words), not words
        notice.update(safe_lines(words))

    def _draw_list(self) -> None:
        found = self._answer
        if found is None:
            return
        lines = [
            run_line(
                run,
                marked=self._letter(run.name),
                pinned=run.name == found.pinned,
                apart=run.name in found.apart,
            )
            for run in found.runs
        ]
        names = [run.name for run in found.runs]
        view = self.query_one("#runs-lines", Lines)
        # Where the cursor is now, which a key may have moved since this was asked for.
        here = self._go_to if self._go_to in names else self._here
        place = names.index(here) if here in names else 0
        self._listed, self._go_to = names, ""
        shown = [str(option.prompt) for option in view.options]
        if shown != list(map(str, lines)) or view.highlighted != place:
            view.fill(lines, place)
        working = sum(run.state in LIVE for run in found.runs)
        paused = " · view paused (z)" if self._frozen else ""
        self.query_one("#runs-title", Static).update(safe(f"{count(len(names), 'run')}, {working} at work{paused}"))

    def _draw_run(self) -> None:
        found = self._answer
        if found is None or not found.runs or not self.is_mounted:
            return
        width, height = self._view_width, self.query_one("#run-view", VerticalScroll).size.height
        base = next((run for run in found.runs if run.name == found.base), None)
        if found.compared and self._marked_runs and base is not None:
            lines = compared_lines(found.compared, base, width, height, log=self._log_scale)
        elif found.detail is not None:
            rung = self._rungs.get(found.detail.summary.name)
            lines = detail_lines(found.detail, width, height, log=self._log_scale, rung=rung)
        else:
            lines = []
        self.query_one("#run-text", Static).update(Content("\n").join(lines))

    def _letter(self, name: str) -> str:
        return chr(ord("A") + self._marked_runs.index(name)) if name in self._marked_runs else ""

    @on(OptionList.OptionHighlighted, "#runs-lines")
    def _moved(self) -> None:
        if (name := self._here) and name != self._at_run:
            self._at_run = name
            self.query_one("#run-view", VerticalScroll).scroll_home(animate=False)
            self._look(_DEBOUNCE)

    @property
    def _here(self) -> str:
        """The name of the run under the cursor; "" if there is none."""
        at = self.query_one("#runs-lines", Lines).highlighted
        return self._listed[at] if at is not None and at < len(self._listed) else ""

    @property
    def _run(self) -> RunSummary | None:
        """The run under the cursor."""
        found = self._answer.runs if self._answer else ()
        return next((run for run in found if run.name == self._here), None)

    def _folder(self, name: str) -> RunFolder:
        return RunFolder(self.session.project.root / "runs" / name)

    # Stopping

    @on(OptionList.OptionSelected, "#runs-lines")
    def _enter(self) -> None:
        self.query_one("#run-view").focus()

    def action_stop(self) -> None:
        """Stop the run, by the ladder; a second time without waiting."""
        if self._refused() or (run := self._run) is None:
            return
        name = run.name
        if run.state is State.QUEUED:
            question, detail, yes = f"Take {name} out of the queue?", "It stays as it is; r starts it.", "Take out"
        elif run.state not in LIVE:
            self.studio.say(f"{name} is not at work: {run.state}.")
            return
        elif name in self._rungs:
            question, yes = f"Not wait for {name}?", "Do not wait"
            detail = (
                "Its processes get SIGTERM now, on which it still saves, and SIGKILL in ten seconds. After SIGKILL it "
                "resumes from its last whole checkpoint."
            )
        else:
            question, yes = f"Stop {name}?", "Stop"
            detail = (
                "It is asked to write a checkpoint and end, at its next step, even while it evaluates. If it does not "
                "answer, SIGTERM follows after 60 seconds, and SIGKILL after 30 more, to all its processes. r resumes "
                "it.\nLeaving the studio meanwhile leaves the request; only the signals are not sent."
            )
        hurry = name in self._rungs
        dialog = Confirm(question, detail, yes=yes, no="Leave")
        self.studio.push_screen(dialog, lambda sure: self._begin_ladder(run, hurry) if sure else None)

    def _begin_ladder(self, run: RunSummary, hurry: bool) -> None:
        if run.state is State.QUEUED:
            self._do(f"{run.name} is out of the queue", leave_queue, self._folder(run.name))
            return
        self._ladders[run.name] = self._ladders.get(run.name, 0) + 1
        self._climb(run.name, self._ladders[run.name], (0.0, 10.0) if hurry else (60.0, 30.0))

    @work(group="ladder", description="stop a run")
    async def _climb(self, name: str, number: int, patience: tuple[float, float]) -> None:
        """Go up the ladder step by step, each in a thread, until the run has ended."""
        ladder = stop(self._folder(name), *patience)
        try:
            while self._ladders[name] == number and (rung := await asyncio.to_thread(next, ladder, None)) is not None:
                self._rungs[name] = rung
                if self.is_mounted:
                    self._draw_run()
        except StudioError as error:
            self.studio.fail(error)
        finally:
            if self._ladders[name] == number:
                self._rungs.pop(name, None)
        if self._ladders[name] == number and self.is_mounted:
            self.studio.say(f"{name} has ended.")
            self._look()

    # Asking and starting

    def action_request(self, request: str) -> None:
        """Ask the run for an evaluation or a checkpoint."""
        if self._refused() or (run := self._run) is None:
            return
        if run.state not in LIVE:
            self.studio.say(f"{run.name} is not at work: {run.state}.")
            return
        what = {"evaluate": "an evaluation", "save": "a checkpoint"}[request]
        self._do(f"asked {run.name} for {what}", ask, self._folder(run.name), Request(request))

    def action_resume(self) -> None:
        """Start the run, or go on from its last checkpoint; asks first."""
        if self._refused() or (run := self._run) is None:
            return
        if run.state in LIVE or run.state in (State.DONE, State.QUEUED):
            words = {State.DONE: "done", State.QUEUED: "in the queue already"}.get(run.state, "at work")
            self.studio.say(f"{run.name} is {words}.")
            return
        again = run.attempts > 0
        verb = "Resume" if again else "Start"
        detail = (
            f"It {whence(self._folder(run.name).checkpoints)}, with the same data order, optimiser and seed."
            if again
            else "It was made and never started."
        )
        dialog = Confirm(f"{verb} {run.name}?", detail, yes=verb, no="Leave")
        self.studio.push_screen(dialog, partial(self._when_sure, _start_or_wait, self._folder(run.name), again))

    def action_eject(self) -> None:
        """Write a script equal to the run."""
        if self._refused() or (run := self._run) is None:
            return
        dialog = Choose(f"Write which script into the folder of {run.name}?", _SCRIPTS, full=True)
        self.studio.push_screen(dialog, partial(self._script_chosen, self._folder(run.name)))

    def _script_chosen(self, folder: RunFolder, name: str | None) -> None:
        if name is not None:
            self._do("", _eject, folder, name)

    def _when_sure(self, what: Callable[..., Any], folder: RunFolder, again: bool, sure: bool | None) -> None:
        if sure:
            self._do("", what, folder, again)

    @work(group="run_do", description="ask something of a run")
    async def _do(self, said: str, what: Callable[..., Any], *arguments: Any) -> None:
        """Do something short in a thread; say what it came to, or `said`."""
        try:
            told = await asyncio.to_thread(what, *arguments)
        except StudioError as error:
            self.studio.push_screen(Tell.error(error))
            return
        self.studio.say(told if isinstance(told, str) else said)
        self._look()

    def _refused(self) -> bool:
        """Whether nothing may be done; says so."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was done.", severity="warning")
        return self.session.read_only

    # Looking in other ways

    def action_mark(self) -> None:
        """Take the run among the compared ones, or out of them."""
        name = self._here
        if name in self._marked_runs:
            self._marked_runs.remove(name)
        elif len(self._marked_runs) >= _MOST_COMPARED:
            self.studio.say(f"At most {_MOST_COMPARED} runs are laid over one another.", severity="warning")
        elif name:
            self._marked_runs.append(name)
        self._look()

    def action_alone(self) -> None:
        """Compare none."""
        self._marked_runs = []
        self._look()

    def action_log(self) -> None:
        """Show the log."""
        if name := self._here:
            self.studio.push_screen(RunLog(self._folder(name)))

    def action_log_scale(self) -> None:
        """Draw losses by their logarithm, or not."""
        self._log_scale = not self._log_scale
        self._draw_run()

    def action_pin(self) -> None:
        """Pin the run as the baseline, or unpin it."""
        if not self._refused() and (name := self._here) and self._answer:
            self._pin("" if self._answer.pinned == name else name)

    @work(exclusive=True, group="pin", description="pin a run")
    async def _pin(self, name: str) -> None:
        try:
            await self.studio.ask("pin_baseline", slot="pin", run=name)
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.studio.fail(error)
            return
        self.studio.say(f"{name} is the baseline." if name else "No run is pinned any more.")
        self._look()

    def action_pause(self) -> None:
        """Leave the screen as it is, or go on."""
        self._frozen = not self._frozen
        self._draw_list()
        if not self._frozen:
            self._look()

    def action_again(self) -> None:
        """Look now."""
        self._look()

    def action_pane(self, step: int) -> None:
        """Focus the list or the run."""
        self.query_one("#run-view" if step > 0 else "#runs-lines").focus()

    def action_move(self, action: str) -> None:
        """Move in what has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{action}")()
        elif isinstance(self.focused, VerticalScroll):
            getattr(self.focused, f"action_scroll_{_SCROLL[action]}")()


def _start_or_wait(folder: RunFolder, again: bool) -> str:
    """Start or resume a run. Slow: call it in a thread."""
    from studio.training.queue import start_or_wait

    return start_or_wait(folder, again)


def _eject(folder: RunFolder, name: str) -> str:
    """Write a script into a run's folder. Slow: call it in a thread."""
    from studio.training.ejecting import script, slurm

    path = folder.root / name
    write_text(path, script(folder) if name.endswith(".py") else slurm(folder))
    return f"written: {safe_text(str(path), 200)}"
