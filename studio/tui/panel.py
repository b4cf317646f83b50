"""What every panel's screen has: the project's line, the tabs, the state line and the footer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from studio.tui.command import PANELS, Command
from studio.tui.safe import safe_text

if TYPE_CHECKING:
    from studio.tui.app import StudioApp
    from studio.view.session import Session


class Title(Static):
    """The first line: product, project, kept of all rows, model."""

    def show(self, session: Session, *, ready: bool) -> None:
        """Say what is open."""
        name = safe_text(session.project.settings.name, 30)
        model = safe_text(session.project.settings.model.id, 40)
        total = len(session.rows)
        counts = f"{session.kept:,} of {total:,} pairs kept" if ready else f"{total:,} pairs"
        only = "  read-only" if session.read_only else ""
        parts: list[Any] = [("harrier-studio", "bold"), f"   {name}   ", (counts, "bold"), f"   model {model}{only}"]
        self.update(Content.assemble(*parts), layout=False)


class Tabs(Widget):
    """The panels by number; a click goes to one."""

    can_focus = False

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def _places(self) -> Iterator[tuple[int, str, str]]:
        """Column, name and text of every tab in the width there is."""
        titles = [title for _, title, _ in PANELS]
        full = sum(len(title) + 4 for title in titles) + 2 <= self.size.width
        at = 0
        for number, (name, title, short) in enumerate(PANELS, 1):
            text = f"{number} {title if full else short}"
            # In brackets too, so that the current panel shows without colour.
            text = f"[{text}]" if name == self._current else f" {text} " if full else text
            yield at, name, text
            at += len(text) + 1

    def render(self) -> Content:
        """One line."""
        parts = [
            Content.styled(text, "reverse bold" if name == self._current else "") for _, name, text in self._places()
        ]
        return Content(" ").join(parts)

    def on_click(self, event: events.Click) -> None:
        """Go to the panel that was clicked."""
        for at, name, text in self._places():
            if at <= event.x < at + len(text):
                self.app.run_worker(self.app.run_action(f"app.panel('{name}')"), exclusive=False)


class StateLine(Static):
    """The line above the footer: what runs in the engine, steps to undo, whether all is saved."""

    def show(self, app: StudioApp) -> None:
        """Say how things stand; what is said first is cut before the counts are."""
        session = app.session
        end = ""
        if session is not None:
            saved = "saving…" if app.saving else "saved"
            marked = f"  {len(session.marked):,} marked" if session.marked else ""
            end = f"   undo {session.undo_steps}  redo {session.redo_steps}  {saved}{marked}"
        room = max(10, self.app.size.width - len(end) - 2)
        first = (app.job.words(), "bold") if app.job else (app.remark, "")
        self.update(Content.assemble((safe_text(first[0], room), first[1]), end), layout=False)


class PanelScreen(Screen[None]):
    """A panel. `place` is its name; `COMMANDS_HERE` what its keys do; `HELP_TEXT` what `?` says of it.

    A panel draws from `self.session` and redraws in `changed`, which is called when it comes into view and whenever
    decisions, evidence or settings have changed while it is in view.
    """

    place: ClassVar[str] = ""
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = ()
    HELP_TEXT: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]

    @property
    def studio(self) -> StudioApp:
        """The app, as what it is."""
        return cast("StudioApp", self.app)

    @property
    def session(self) -> Session:
        """The open project; a panel is only ever shown with one."""
        session = self.studio.session
        assert session is not None
        return session

    def body(self) -> ComposeResult:
        """The widgets between the tabs and the state line."""
        yield from ()

    def changed(self) -> None:
        """Draw anew what depends on rows, decisions, evidence or settings."""

    def compose(self) -> ComposeResult:
        """Frame the body."""
        yield Title(id="title")
        yield Tabs(self.place)
        with Vertical(id="body"):
            yield from self.body()
        yield StateLine(id="state")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Hear of changes while in view."""
        self.studio.changed_signal.subscribe(self, self._heard)
        self.studio.job_signal.subscribe(self, self._job_heard)
        self._draw()

    def on_screen_resume(self) -> None:
        """Draw what changed while another panel was in view."""
        self._draw()

    def _heard(self, _: object) -> None:
        if self.is_current or self.app.screen_stack[0] is self:
            self._draw()

    def _job_heard(self, _: object) -> None:
        self.query_one(StateLine).show(self.studio)

    def _draw(self) -> None:
        if self.studio.session is None:
            return
        self.query_one(Title).show(self.session, ready=self.studio.ready.is_set())
        self.query_one(StateLine).show(self.studio)
        self.changed()
