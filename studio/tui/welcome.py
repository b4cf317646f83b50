"""The first screen where there is no project: what this is, projects opened lately, a file, the sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from platformdirs import user_data_path
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.suggester import Suggester
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from studio.errors import InputError, StudioError
from studio.project.project import SETTINGS_FILE
from studio.sample import sample_data
from studio.tui.command import Command, bindings
from studio.tui.dialogs import AskText, Tell
from studio.tui.preferences import recent_projects
from studio.tui.safe import safe_text
from studio.tui.tour import Tour, first_keys

if TYPE_CHECKING:
    from studio.tui.app import StudioApp

WELCOME = (
    Command("welcome.open", "o", "open", "Open", "Open a project, or make one of a file of pairs."),
    Command("welcome.sample", "s", "sample", "Sample", "Make a small project with faults planted, to try things on."),
)
PATH = (Command("path.complete", "tab", "complete", "Complete", "Take the path that is suggested."),)
_SAMPLE = "harrier-sample"


class PathSuggester(Suggester):
    """Completes the last part of a path by what is on disk."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The path with its last part completed, or None."""
        folder, begun = os.path.split(os.path.expanduser(value))
        if not begun:
            return None
        try:
            with os.scandir(folder or ".") as entries:
                names = sorted(
                    entry.name + ("/" if entry.is_dir() else "") for entry in entries if entry.name.startswith(begun)
                )
        except (OSError, ValueError):
            return None
        # An input draws what is suggested as it is.
        names = [name for name in names if safe_text(name) == name and name != begun]
        return value + names[0][len(begun) :] if names else None


class AskPath(AskText):
    """Ask for a path, with completion."""

    BINDINGS = bindings(PATH)

    def on_mount(self) -> None:
        """Suggest while typing."""
        self.query_one(Input).suggester = PathSuggester()

    def action_complete(self) -> None:
        """Take the suggestion; the cursor is behind it then, and the next part can be typed."""
        field = self.query_one(Input)
        field.cursor_position = len(field.value)
        field.action_cursor_right()


class WelcomeScreen(Screen[None]):
    """What to do first."""

    BINDINGS = bindings(WELCOME)
    HELP_TEXT: ClassVar[str] = (
        "A project is a directory: your pairs as they were imported, what the checks found, and every decision.\n"
        "Open a project, or a file of pairs (JSONL, CSV, TSV, Parquet, Arrow, also compressed, or a dataset folder):\n"
        "you see its columns first, and nothing is written before you say so. The file itself is never changed."
    )
    DEFAULT_CSS = """
    WelcomeScreen {
        align: center middle;
        #welcome { width: 78; max-width: 100%; height: auto; max-height: 1fr; padding: 0 1; }
        #welcome-title { text-style: bold; color: $primary; }
        #welcome-words { margin: 1 0; }
        #welcome-list { height: auto; max-height: 1fr; border: round $primary; }
        #welcome-state { height: auto; margin-top: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        """Two sentences, the choices, and what goes on."""
        words = (
            "See what is in a dataset of query/passage pairs before a retrieval model is trained on it: copies, leaks, "
            "broken texts, the exact prompts. Every decision is saved at once and can be undone; the result is a "
            "cleaned dataset with an audit of every row."
        )
        with Vertical(id="welcome"):
            yield Static(Content("harrier-studio"), id="welcome-title")
            yield Static(Content(words), id="welcome-words")
            yield OptionList(id="welcome-list")
            yield Static(id="welcome-state", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    @property
    def studio(self) -> StudioApp:
        """The app, as what it is."""
        return cast("StudioApp", self.app)

    def on_mount(self) -> None:
        """List what can be opened."""
        self.studio.job_signal.subscribe(self, self._job_heard)
        self._list()
        self.query_one(OptionList).focus()

    def _list(self) -> None:
        options: list[Option | None] = []
        self._recent = recent_projects()
        for number, root in enumerate(self._recent):
            name = safe_text(root.name, 40)
            where = safe_text(str(_short(root.parent)), 200)
            options.append(Option(Content.assemble((name, "bold"), f"  {where}"), id=f"recent-{number}"))
        if self._recent:
            options.append(None)
        keys = first_keys(self.studio)
        place = safe_text(str(_short(sample_place())), 200)
        options += [
            Option(
                Content.assemble(("Open a project or a file of pairs …", "bold"), f"  {keys['welcome.open']}"),
                id="open",
            ),
            Option(
                Content.assemble(
                    ("Sample project with faults planted", "bold"), f"  {keys['welcome.sample']}\n  is made in {place}"
                ),
                id="sample",
            ),
        ]
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options(options)
        choices.highlighted = 0
        choices.border_title = Content("opened lately" if self._recent else "begin with")

    @on(OptionList.OptionSelected, "#welcome-list")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        name = event.option_id or ""
        if name == "open":
            self.action_open()
        elif name == "sample":
            self.action_sample()
        else:
            self.studio.open_place(self._recent[int(name.removeprefix("recent-"))])

    @work(group="ask", exclusive=True, description="ask for a path")
    async def action_open(self) -> None:
        """Ask for a path and open it."""
        dialog = AskPath("Open a project or a file of pairs", hint="A path; ~ is your home. tab: complete,")
        answer = await self.app.push_screen_wait(dialog)
        if answer and answer.strip():
            self._open(answer.strip())

    def _open(self, typed: str) -> None:
        place = Path(os.path.abspath(os.path.expanduser(typed)))
        if not os.path.exists(place):
            missing = InputError("There is no such project, file or folder.", where=str(place), remedy="check the path")
            self.app.push_screen(Tell.error(missing))
            return
        self.studio.open_place(place.parent if place.name == SETTINGS_FILE else place)

    def action_sample(self) -> None:
        """Make the sample project, run the checks, and open it with the tour; nothing is decided."""
        try:
            sources = [str(sample_data() / "pairs.jsonl")]
        except StudioError as error:
            self._failed(error)
            return
        root = sample_place()
        self.studio.start_job(
            "import_sources",
            "sample project",
            done=partial(self._imported, root),
            failed=self._failed,
            root=str(root),
            sources=sources,
            roles=None,
            strict=False,
        )

    def _imported(self, root: Path, _: object) -> None:
        assert self.studio.engine is not None
        self.studio.engine.open(root)
        self.studio.start_job(
            "check", "checks of the sample", done=partial(_open_with_tour, self.studio, root), failed=self._failed
        )

    def _failed(self, error: StudioError) -> None:
        self.app.push_screen(Tell.error(error))

    def _job_heard(self, _: object) -> None:
        job = self.studio.job
        self.query_one("#welcome-list").disabled = job is not None
        self.query_one("#welcome-state", Static).update(Content(job.words() if job else self.studio.remark))


async def _open_with_tour(studio: StudioApp, root: Path, _: Sequence[Any]) -> None:
    await studio.open_project(root).wait()
    if studio.session is not None:
        studio.push_screen(Tour())


def sample_place() -> Path:
    """Where the sample project is made: where one stands, or among the person's own data if that is read-only."""
    here = Path.cwd()
    return here / _SAMPLE if os.access(here, os.W_OK) else user_data_path("harrier-studio") / _SAMPLE


def _short(path: Path) -> Path:
    """With ~ for the home directory."""
    try:
        return Path("~") / path.relative_to(Path.home())
    except (ValueError, RuntimeError):
        return path
