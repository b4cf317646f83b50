"""The studio's app: opens a project, holds the session and the engine, and runs what any panel may ask for."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import work
from textual.app import App
from textual.filter import LineFilter
from textual.screen import Screen
from textual.signal import Signal

from studio.engine.client import Engine, Job, Progressed
from studio.errors import Cancelled, StudioError, UnavailableError
from studio.project.project import Project
from studio.project.rows import RowFile
from studio.project.settings import UserSettings
from studio.project.user import user_settings, user_settings_path
from studio.project.verdicts import Drawn, Judged, Verdict
from studio.tui.command import bindings
from studio.tui.crash import CrashNotice, report_crash
from studio.tui.dialogs import Confirm, Tell
from studio.tui.help import HelpScreen
from studio.tui.palette import StudioCommands
from studio.tui.preferences import checked, remember, remember_project
from studio.tui.registry import STUDIO, panel_screens
from studio.tui.safe import Harmless, safe_text
from studio.tui.themes import THEMES
from studio.view.session import Session, Step

NEXT_STEP = "?: help"
_LEFT_TO_LEAVE = 5.0
"""Seconds."""
_OF_A_PROJECT = ("panel", "undo", "redo", "check")
_HARMLESS = Harmless()
_CLIPBOARD_BYTES = 74_000
"""What terminals take: many stop at 100,000 bytes of base64."""


@dataclass(frozen=True)
class RunningJob:
    """What the engine is doing, for the state line."""

    name: str
    title: str
    progress: Progressed | None = None

    def words(self) -> str:
        """One line: what, how far, how long still, and how to stop it."""
        parts = [self.title]
        if self.progress:
            step = self.progress
            parts.append(safe_text(step.step, 40))
            if step.total:
                parts.append(f"{min(step.done / step.total, 1):.0%}")
            if step.seconds_left is not None:
                parts.append(f"{_duration(step.seconds_left)} left")
        return " · ".join(parts) + " · ctrl+x cancels"


class StudioApp(App[None], inherit_bindings=False):
    """harrier-studio on a terminal."""

    TITLE = "harrier-studio"
    CSS_PATH = "studio.tcss"
    COMMANDS: ClassVar = {StudioCommands}
    BINDINGS = bindings(STUDIO)
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(
        self,
        place: Path | None = None,
        *,
        panel: str = "pairs",
        read_only: bool = False,
        tour: bool = False,
        shown_run: str = "",
        settings: UserSettings | None = None,
    ) -> None:
        """Prepare the app; nothing is opened before it runs.

        Args:
            place: a project's directory, a file of pairs to make a project of, or None for the first screen.
            panel: the panel to start on.
            read_only: refuse every decision and every setting.
            tour: begin with the short tour.
            shown_run: the run to stand on when the Runs panel is first in view.

        Raises:
            ConfigError: the person's settings, or their keymap, are wrong.
        """
        super().__init__()
        self.user = settings or user_settings()
        self._keys = checked(self.user, str(user_settings_path()))
        self._place, self._panel, self._read_only, self._tour = place, panel, read_only, tour
        self.session: Session | None = None
        self.engine: Engine | None = None
        self.job: RunningJob | None = None
        self._engine_job: Job | None = None
        self.saving = 0
        self.current_position: int | None = None
        """The row last under the cursor in Pairs: what other panels show first."""
        self.wanted_run = shown_run
        """The run that the Runs panel is to stand on when it comes into view."""
        self.remark = NEXT_STEP
        self.ready = asyncio.Event()
        """Set once the first panel shows the project with its decisions and marks (or the first screen is up)."""
        self.changed_signal: Signal[None] = Signal(self, "changed")
        self.job_signal: Signal[None] = Signal(self, "job")
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.user.interface.theme

    # Opening and closing

    def on_mount(self) -> None:
        """Open what was asked for."""
        if not self.is_headless and not self.is_web and sys.platform != "win32":
            # Left to themselves these signals would leave the terminal raw and on the alternate screen.
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self.set_keymap(self._keys)
        for name, screen in panel_screens().items():
            self.add_mode(name, screen)
        if self._place is None:
            self.welcome()
        else:
            self.open_place(self._place)

    def _hang_up(self) -> None:
        """Leave, as the terminal does: what still waits to be drawn on it must not keep the studio alive."""
        code = 128 + signal.SIGHUP
        last = threading.Timer(_LEFT_TO_LEAVE, os._exit, (code,))
        last.daemon = True
        last.start()
        self.exit(None, code)

    def welcome(self) -> None:
        """Show the first screen."""
        from studio.tui.welcome import WelcomeScreen

        self.push_screen(WelcomeScreen())
        self.ready.set()

    def open_place(self, place: Path) -> None:
        """Open a project, or the screen that makes one of a file."""
        if (place / "studio.toml").exists():
            self.open_project(place)
        else:
            from studio.tui.importing import ImportScreen

            self.push_screen(ImportScreen(place))
            self.ready.set()

    @work(exclusive=True, group="open", description="open a project")
    async def open_project(self, root: Path) -> None:
        """Open a project and show its pairs."""
        try:
            project, rows = await asyncio.to_thread(_opened, root)
        except StudioError as error:
            if self.session is None and not self.screen_stack[1:]:
                self.welcome()
            self.push_screen(Tell.error(error))
            return
        await self._close_engine()
        self.session = Session(project, rows, read_only=self._read_only)
        self.engine = Engine.start(root)
        self.remark = "reading decisions and evidence …"
        if not self._read_only:
            remember_project(root)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_mode(self._panel)
        self.changed_signal.publish(None)
        await self.reload()
        # What was imported and mounted stays: looking through it again and again holds up a key for up to 80 ms.
        gc.collect()
        gc.freeze()
        self.ready.set()
        self.remark = NEXT_STEP if project.evidence.names() else "nothing was checked yet · c: run the checks"
        self.changed_signal.publish(None)
        if self._tour:
            from studio.tui.tour import Tour

            self._tour = False
            self.push_screen(Tour())

    async def reload(self, *, marks: bool = True) -> None:
        """Ask the engine what the decisions (and the evidence) come to, and show it."""
        if self.session is None:
            return
        session = self.session
        try:
            # Asked for at once, so that no other question comes between them.
            asked = [self.ask("status", slot="status"), *([self.ask("marks", slot="marks")] if marks else [])]
            status, *found = await asyncio.gather(*asked)
            for each in found:
                session.masks = each.masks
            session.apply(status)
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.fail(error)
            return
        session.version += 1
        self.changed_signal.publish(None)

    async def _close_engine(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            await asyncio.to_thread(engine.close)

    async def on_unmount(self) -> None:
        """Leave no process behind."""
        await self._close_engine()

    # What panels call

    async def ask(self, name: str, *, slot: str | None = None, **arguments: Any) -> Any:
        """Ask the engine; see `Engine.ask`.

        Raises:
            StudioError: what the engine answered instead.
        """
        if self.engine is None:
            raise UnavailableError("No project is open.")
        answer = await asyncio.wrap_future(self.engine.ask(name, slot=slot, **arguments))
        if not self.is_running:
            # It came while the studio closes: what would show it is gone.
            raise asyncio.CancelledError
        return answer

    def start_job(
        self,
        name: str,
        title: str,
        done: Callable[[Any], Awaitable[None] | None] | None = None,
        *,
        failed: Callable[[StudioError], None] | None = None,
        changes: bool = False,
        **arguments: Any,
    ) -> None:
        """Start long work in the engine; one at a time.

        Args:
            done: called on the event loop with the result.
            failed: called with the error; without it the error is shown as a notification.
            changes: whether decisions or evidence are other ones afterwards.
        """
        if self.job is not None:
            self.say(f"Wait for “{self.job.title}” to end, or cancel it with ctrl+x.", severity="warning")
            return
        self.job = RunningJob(name, title)
        self.job_signal.publish(None)
        self._work(name, title, done, failed or self.fail, changes, arguments)

    @work(group="job", description="long work in the engine")
    async def _work(
        self,
        name: str,
        title: str,
        done: Callable[[Any], Awaitable[None] | None] | None,
        failed: Callable[[StudioError], None],
        changes: bool,
        arguments: Mapping[str, Any],
    ) -> None:
        try:
            if self.engine is None:
                self.engine = Engine.start(None)
            self._engine_job = self.engine.run(name, on_progress=self._heard_progress, **arguments)
            result = await asyncio.wrap_future(self._engine_job.future)
        except (Cancelled, asyncio.CancelledError):
            self.remark = f"{title}: cancelled; what was finished before is kept"
            return
        except StudioError as error:
            self.remark = f"{title}: failed"
            failed(error)
            return
        finally:
            self.job = self._engine_job = None
            self.job_signal.publish(None)
        self.remark = f"{title}: done"
        if changes:
            await self.reload()
        if done is not None:
            waiting = done(result)
            if waiting is not None:
                await waiting
        self.job_signal.publish(None)

    def _heard_progress(self, progress: Progressed) -> None:
        """Called on the engine client's thread."""
        self.call_later(self._show_progress, progress)

    def _show_progress(self, progress: Progressed) -> None:
        if self.job is not None:
            self.job = RunningJob(self.job.name, self.job.title, progress)
            self.job_signal.publish(None)

    def decide(self, steps: Sequence[Step], said: str = "") -> None:
        """Make decisions as one step of undo: shown at once, written in a thread, then confirmed by the engine."""
        if self.session is None or not any(len(step.positions) for step in steps):
            return
        if self.session.read_only:
            self.say("This studio is read-only; nothing was changed.", severity="warning")
            return
        self.session.expect(steps)
        self.saving += 1
        self.remark = said
        self.changed_signal.publish(None)
        self._write(lambda session: session.decide(steps))

    def judge(
        self,
        query_id: str,
        passage_id: str,
        verdict: Verdict,
        *,
        margin: float,
        drawn: Drawn,
        actor: str,
        said: str,
        done: Callable[[Judged], None],
    ) -> None:
        """Write a judgement as one step of undo; `done` hears on the event loop what it came to."""
        if self.session is None:
            return
        self.saving += 1
        self.remark = said
        self.changed_signal.publish(None)

        def writing(session: Session) -> None:
            made = session.judge(query_id, passage_id, verdict, margin=margin, drawn=drawn, actor=actor)
            self.call_later(done, made)

        self._write(writing)

    @work(group="write", description="write a decision")
    async def _write(self, writing: Callable[[Session], Any]) -> None:
        session = self.session
        assert session is not None
        try:
            await asyncio.to_thread(writing, session)
        except StudioError as error:
            self.fail(error)
        finally:
            self.saving -= 1
        await self.reload(marks=False)

    def action_undo(self) -> None:
        """Undo the latest step."""
        self._step_back("undone", lambda session: session.undo())

    def action_redo(self) -> None:
        """Bring back what was undone last."""
        self._step_back("brought back", lambda session: session.redo())

    def _step_back(self, verb: str, step: Callable[[Session], Any]) -> None:
        if self.session is None:
            return

        def writing(session: Session) -> None:
            decisions = step(session)
            if not decisions:
                self.remark = f"nothing can be {verb}"
            else:
                count = sum(decision.rows for decision in decisions)
                rows = "1 row" if count == 1 else f"{count:,} rows"
                several = f"one step of {len(decisions)} decisions"
                what = f"{decisions[-1].action} · {decisions[-1].reason}" if len(decisions) == 1 else several
                self.remark = f"{verb}: {what} · {rows}"

        self.saving += 1
        self._write(writing)

    def say(self, text: str, *, severity: str = "information") -> None:
        """Show a short notification; the text may hold anything."""
        self.notify(safe_text(text, 300), severity=cast(Any, severity), markup=False)

    def fail(self, error: StudioError) -> None:
        """Show an error: what, where, why, what to do."""
        self.notify(
            safe_text(str(error).replace("\n", " "), 500), title="Not done", severity="error", markup=False, timeout=12
        )

    # Commands

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What needs a project is not offered without one."""
        return self.session is not None or action not in _OF_A_PROJECT

    def action_panel(self, name: str) -> None:
        """Go to a panel."""
        if self.session is not None and self.current_mode != name:
            self.switch_mode(name)

    def show_rows(self, positions: Iterable[int], why: str) -> None:
        """Go to Pairs, filtered to these rows; `why` says in words which they are."""
        self._show_rows(tuple(positions), why)

    @work(group="show", exclusive=True, description="show rows in Pairs")
    async def _show_rows(self, positions: Sequence[int], why: str) -> None:
        from studio.tui.pairs import PairsScreen

        await self.switch_mode(PairsScreen.place)
        screen = self.screen_stack[0]
        assert isinstance(screen, PairsScreen)
        screen.show_rows(positions, why)

    def show_run(self, name: str) -> None:
        """Go to Runs, standing on this run."""
        self.wanted_run = name
        self._show_panel("runs")

    @work(group="show", exclusive=True, description="show a panel")
    async def _show_panel(self, name: str) -> None:
        if self.current_mode != name:
            await self.switch_mode(name)
        self.changed_signal.publish(None)

    def action_help(self) -> None:
        """Show the keys of where the person is."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_cancel_job(self) -> None:
        """Stop the long work that runs."""
        if self._engine_job is not None:
            self._engine_job.cancel()
        elif self.job is None:
            self.say("Nothing is running.")

    def action_check(self) -> None:
        """Run all checks in the engine."""
        self.start_job("check", "checks", self._checked, changes=True, names=[], overrides=None)

    def _checked(self, result: Sequence[Sequence[Any]]) -> None:
        found = sum(line[1] + line[2] for line in result)
        self.remark = f"{len(result)} checks done: {found:,} findings. 2: duplicates, f: by check"

    @work(group="quit", exclusive=True, description="leave")
    async def action_quit_studio(self) -> None:
        """Leave; ask only if work would be lost."""
        if self.saving:
            self.say("A decision is being saved; leaving in a moment.")
            await self.workers.wait_for_complete([w for w in self.workers if w.group == "write"])
        if self.job is not None and not await self.push_screen_wait(
            Confirm(
                f"“{self.job.title}” is still running. Leave and stop it?",
                "What it found so far is lost; every decision is saved.",
                yes="Leave",
                no="Stay",
            )
        ):
            return
        await self._close_engine()
        self.exit()

    def action_theme(self, name: str) -> None:
        """Change the theme and remember it."""
        self.theme = name
        self.prefer("theme", name)

    @work(group="prefer", description="remember a preference")
    async def prefer(self, name: str, value: object) -> None:
        """Remember `[interface] name = value` for this person; a read-only studio remembers nothing."""
        if self._read_only:
            return
        try:
            await asyncio.to_thread(remember, name, value)
        except StudioError as error:
            self.fail(error)

    def copy(self, text: str, what: str) -> None:
        """Copy through the terminal (OSC 52) and say so; no terminal says whether it took it."""
        if len(text.encode()) > _CLIPBOARD_BYTES:
            self.say(f"{what} is too long for a terminal's clipboard: {len(text):,} characters.", severity="warning")
            return
        self.copy_to_clipboard(text)
        self.say(f"{what}: {len(text):,} characters sent to the terminal's clipboard (OSC 52).")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[Any]:
        """None of Textual's own: the palette lists ours."""
        return ()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and the last look for what would steer the terminal."""
        return [*super().get_line_filters(), _HARMLESS]

    def _handle_exception(self, error: Exception) -> None:
        """Save a report without data and leave; Textual would print local variables, which hold texts."""
        if isinstance(error, CrashNotice):
            super()._handle_exception(error)
            return
        notice = report_crash(error, self.current_mode)
        notice.__cause__ = error
        super()._handle_exception(notice)


def _opened(root: Path) -> tuple[Project, RowFile]:
    project = Project.open(root)
    return project, RowFile.of(project)


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
