"""Data that tries to be markup or to steer the terminal, walked through every panel and dialog of the real app."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea
from textual.worker import WorkerCancelled

from studio.engine import client
from studio.errors import InputError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ModelSettings, ProjectSettings
from studio.text.safe import visible
from studio.tui import pairs
from studio.tui.app import StudioApp
from studio.tui.command import Command
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.editing import EditScreen
from studio.tui.pairs import PairsScreen
from studio.tui.registry import all_commands, panel_screens
from studio.tui.table import PairTable
from studio.view.saved import SavedViews
from studio.view.session import Step
from tests.conftest import snapshot

SECONDS = 60.0
"""How long anything may take before a test fails; a machine that does other things at once is slow."""
MARKUP = [
    "[/]",
    "see [/ here",
    "[INST] x [/INST]",
    "[@click=app.quit]x[/]",
    "[type=x, v={'a[0]'}]",
    "[red]alert",
    "\\[",
    "[link=https://example.org]x[/link]",
    "$primary [$error]",
]
STEERING = [
    "\x1b]0;pwn\x07",
    "\x1b[2J\x1b[31mred",
    "\x1b[>4;2m\x1b[?1049l\x1b]52;c;cHdu\x07",
    "a\x00b",
    "a\x08b",
    "a\rb",
    "\x9b31m\x9dpwn\x9c",
    "a\x7fb",
    "\u202eevil\u202c",
    "\u2066x\u2069",
    "a\u200db\u200bc\ufeff",
    "\U000e0041\U000e0042tagged",
    "a\u2028b\u2029c\x85d",
    "tab\there",
    "two\nlines",
]
WIDE = ["你好，世界" * 9, "👩\u200d👩\u200d👧 family", "e\u0301" * 60, "שלום עולם", "❤\ufe0f" * 30]
LONG = ["x" * 200_000, "\x1b[31m" * 40_000, "\n".join(f"line {at} [/]" for at in range(10_000))]
PAYLOADS = [*MARKUP, *STEERING, *WIDE, *LONG]

_STEERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_LEAVES = ("studio.quit",)
"""Commands that end the walk."""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read from, or written into, the home of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("STATE", "CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(tmp_path / "home" / "config.toml"))
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(client, "log_path", lambda: tmp_path / "engine.log")
    monkeypatch.chdir(tmp_path)


def hostile_project(root: Path) -> Project:
    """A project that holds every payload wherever data can put one: texts, names, tags, notes, reasons, views.

    Each passage is there twice, so that panels of duplicates have something to show.
    """
    rows = [
        {
            "query": text,
            "positive": text,
            "negatives": [text, f"other {text}"],
            "group": text[:300],
            "split": text[:40] if at % 3 else "test",
            "label": text[:300],
            "source": f"{text[:80]}.jsonl:{at + 1}",
            "meta": json.dumps({text[:60]: text[:300]}, ensure_ascii=False),
        }
        for at, text in enumerate(PAYLOADS)
    ]
    again = [{**row, "query": f"again {row['query']}", "source": f"again:{at}"} for at, row in enumerate(rows)]
    name = "[/] \x1b]0;pwn\x07\u202e[@click=app.quit]"
    settings = ProjectSettings(name=name, model=ModelSettings(id="[INST]\x9b31m"))
    project = Project.create(root, snapshot([*rows, *again]), settings)
    with project.locked():
        for at, text in enumerate(PAYLOADS):
            for action in (Action.TAG, Action.NOTE, Action.GROUP):
                project.ledger.append(
                    action, [Target(f"r{at}", value=text[:300] or "x")], actor="person", reason=text[:200] or "x"
                )
        project.ledger.append(
            Action.DROP,
            [Target(f"r{at}") for at in range(0, len(PAYLOADS), 5)],
            actor="person:[/]\x1b[2J",
            reason="[/]",
        )
        project.ledger.append(Action.DROP, [Target("r2")], actor="rule:x@1", reason=PAYLOADS[0], note=STEERING[0])
    views = SavedViews(project)
    for text in [*MARKUP, *STEERING]:
        views.save(text.strip() or "blank", "words")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return hostile_project(tmp_path / "project")


def walk(app: StudioApp, steps: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    """Run the app without a terminal, and what is to be done in it."""

    async def run() -> None:
        async with app.run_test(size=(100, 30), notifications=True, tooltips=True) as pilot:
            await asyncio.wait_for(app.ready.wait(), SECONDS)
            await settle(pilot)
            await steps(pilot)
            assert app.is_running, "the app left"

    asyncio.run(run())


async def settle(pilot: Pilot[None]) -> None:
    """Wait until the app has nothing left to do; what waits for a person's answer stays."""
    app = pilot.app
    deadline = time.monotonic() + SECONDS
    await pilot.pause()
    while app.is_running:
        busy = [w for w in app.workers if not w.is_finished and (len(app.screen_stack) == 1 or w.node is app.screen)]
        if not busy:
            break
        assert time.monotonic() < deadline, f"still at work: {busy}"
        waiting = [asyncio.ensure_future(worker.wait()) for worker in busy]
        # A worker may just have opened a dialog, and wait for it: look again soon.
        done, _ = await asyncio.wait(waiting, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        for one in done:
            if not one.cancelled() and (error := one.exception()) is not None:
                assert isinstance(error, WorkerCancelled), error
        await pilot.pause()
    await pilot.pause()


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait until something holds that nothing tells of."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        await pilot.pause()


def screen_text(app: StudioApp) -> str:
    """What is on the screen, after looking at each segment for what may not be there."""
    lines = []
    # The compositor holds what the terminal would be given; every other way leaves widgets or overlays out.
    for strip in app.screen._compositor.render_strips():
        line = ""
        for segment in strip:
            assert not segment.control, f"a control segment: {segment!r}"
            found = _STEERS.search(segment.text)
            assert not found, f"{found.group()!r} is on the screen: {segment.text!r}"
            if segment.style is not None:
                assert not segment.style.link, f"a link from data: {segment!r}"
                assert "@click" not in segment.style.meta, f"an action from data: {segment!r}"
            line += segment.text
        lines.append(line)
    return "\n".join(lines)


def look(pilot: Pilot[None]) -> str:
    """The screen's text; fails if the app has failed or anything on the screen may not be there."""
    app = pilot.app
    assert isinstance(app, StudioApp)
    assert app._exception is None, f"the app failed: {app._exception!r}"
    assert app.is_running, "the app left"
    # The title of the terminal's window, where a driver sets it, is made of these.
    assert not _STEERS.search(f"{app.title}{app.sub_title}")
    return screen_text(app)


async def press(pilot: Pilot[None], *keys: str) -> str:
    """Press keys, and look after each."""
    shown = ""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)
        shown = look(pilot)
    return shown


async def paste(pilot: Pilot[None], text: str) -> None:
    """Paste as a terminal does, into whatever has the focus."""
    pilot.app.post_message(events.Paste(text))
    await settle(pilot)
    look(pilot)


async def home(pilot: Pilot[None]) -> None:
    """Leave every dialog without an answer."""
    for at in range(20):
        if len(pilot.app.screen_stack) == 1:
            return
        # A dialog with something typed in it may ask whether to lose that.
        await press(pilot, "y" if at > 2 and isinstance(pilot.app.screen, Confirm) else "escape")
    raise AssertionError(f"cannot leave {pilot.app.screen!r}")


def keys_of(commands: tuple[Command, ...]) -> Iterator[tuple[Command, str]]:
    for command in commands:
        if command.id not in _LEAVES:
            yield command, command.keys.split(",")[0]


@pytest.mark.slow
def test_each_row_is_shown_as_it_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "DETAIL_DELAY", 0.001)

    async def steps(pilot: Pilot[None]) -> None:
        table = pilot.app.screen.query_one(PairTable)
        for at, text in enumerate(PAYLOADS):
            assert table.cursor == at
            [row] = pilot.app.screen.query("#row")
            await until(pilot, lambda row=row, at=at: str(row.render()).startswith(f"row {at + 1:,} "))  # type: ignore[misc]
            await settle(pilot)
            shown = look(pilot)
            start = visible(text.split("\n")[0])[:12].rstrip()
            assert start in shown, f"{text[:40]!r} is not shown as it is"
            opened = await press(pilot, "enter")
            assert isinstance(pilot.app.screen, Tell)
            assert start in opened
            await press(pilot, "escape", "down")

    walk(StudioApp(project.root), steps)


_LONG_WALKS = ("pairs", "duplicates", "prompts", "train")


@pytest.mark.parametrize(
    "place",
    # What takes half a minute on a busy machine; its surfaces are walked by the tests above, too.
    [pytest.param(place, marks=pytest.mark.slow) if place in _LONG_WALKS else place for place in panel_screens()],
)
def test_every_key_of_every_panel(place: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "DETAIL_DELAY", 0.001)
    monkeypatch.setattr(pairs, "TYPING_DELAY", 0.001)

    async def steps(pilot: Pilot[None]) -> None:
        if place in ("pairs", "duplicates"):
            await press(pilot, "c")
            await until(pilot, lambda: pilot.app.job is None)  # type: ignore[attr-defined]
        own = panel_screens()[place].COMMANDS_HERE  # type: ignore[attr-defined]
        for _, key in keys_of(own):
            await press(pilot, "down", key)
            if isinstance(pilot.app.screen, ModalScreen):
                await press(pilot, "down", "tab", "down")
                await paste(pilot, "[/] \x1b]0;pwn\x07 [INST]\u202e\x9b")
                await press(pilot, "question_mark")
                await home(pilot)
            else:
                await press(pilot, "down", "right")
            if pilot.app.current_mode != place:
                pilot.app.switch_mode(place)
                await settle(pilot)
            await press(pilot, "escape", "escape")

    walk(StudioApp(project.root, panel=place), steps)


@pytest.mark.slow
def test_answers_of_a_person(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facets, tags, groups, notes, views, search and jump, taken through to their end with hostile values."""
    monkeypatch.setattr(pairs, "TYPING_DELAY", 0.001)
    hostile = "[/] \x1b]0;pwn\x07 [INST]\u202e\x9b"

    async def steps(pilot: Pilot[None]) -> None:
        for key in ("t", "n", "g", "colon"):
            await press(pilot, key)
            assert isinstance(pilot.app.screen, AskText)
            await paste(pilot, hostile)
            await press(pilot, "enter")
        await press(pilot, "slash")
        for text in (
            "[/]",
            '"[INST] x',
            "/[/",
            "tag:[/]",
            "split:[@click=app.quit]x[/]",
            "\x1b]0;pwn\x07",
            "check:[/]",
        ):
            pilot.app.screen.query_one("#search", Input).clear()
            await paste(pilot, text)
            await press(pilot, "home", "end")
        await press(pilot, "escape", "escape")
        await press(pilot, "f")
        for _ in range(12):
            await press(pilot, "down", "down", "enter", "enter")
        await press(pilot, "escape", "escape")
        await press(pilot, "v", "down", "down", "enter")
        await press(pilot, "v", "enter")
        await paste(pilot, hostile)
        await press(pilot, "enter", "escape")
        await press(pilot, "D", "escape", "M", "k", "u", "U", "space", "s", "down", "enter")

    walk(StudioApp(project.root), steps)


@pytest.mark.slow
def test_the_palette_and_the_help_of_every_panel(project: Project) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        for number in range(1, len(panel_screens()) + 1):
            await press(pilot, str(number), "question_mark", "pagedown", "escape")
            await press(pilot, "ctrl+p", "t", "left_square_bracket", "slash", "backspace", "backspace", "down")
            await press(pilot, "escape")
            await home(pilot)

    walk(StudioApp(project.root), steps)


@pytest.mark.slow
def test_notifications_tooltips_titles_and_dialogs(project: Project) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, StudioApp)
        for at, text in enumerate([*MARKUP, *STEERING, *WIDE, LONG[0]]):
            app.say(text)
            app.fail(InputError(text, where=text, why=text, remedy=text))
            app.remark = text
            app.job_signal.publish(None)
            await settle(pilot)
            shown = look(pilot)
            assert visible(text.replace("\n", " "))[:8].rstrip() in shown
            app.clear_notifications()
            dialogs = (
                lambda text=text: Confirm(text, text, text, text),
                lambda text=text: AskText(text, text, text, [text]),
                lambda text=text: Choose(text, [(text, text, text)], text),
                lambda text=text: Tell(text, text),
                lambda text=text: Tell.error(InputError(text, where=text, why=text, remedy=text)),
            )
            app.push_screen(dialogs[at % len(dialogs)]())
            await settle(pilot)
            assert visible(text)[:8].rstrip() in look(pilot)
            await press(pilot, "escape")

    walk(StudioApp(project.root), steps)


def test_show_rows_says_why_in_words_from_data(project: Project) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, StudioApp)
        for text in (MARKUP[0], MARKUP[2], STEERING[0], STEERING[8]):
            app.show_rows([1, 2, 3], text)
            await settle(pilot)
            assert isinstance(app.screen, PairsScreen)
            assert visible(text)[:8] in look(pilot)

    walk(StudioApp(project.root), steps)


def test_a_text_comes_back_from_the_editor_as_it_was(project: Project) -> None:
    """What is spelled out to be edited is put back; a change elsewhere in the text changes nothing else."""

    async def steps(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, StudioApp)
        assert app.session is not None
        spelled = "⟨U+001B⟩ in words, \x1b as it is, \r\n, \x85 and \u2028 end lines for some, \ttab"
        for text in ("".join(STEERING), spelled, "dos\r\nlines\r\n", "\x1b \r\n mixed \n"):
            app.session.expect([Step(Action.EDIT, [0], "x", json.dumps({"query": text, "positive": text}))])
            [shown] = app.session.shown([0])
            answers: list[dict[str, object] | None] = []
            for typed in ("", "z"):
                app.push_screen(EditScreen(shown), answers.append)
                await settle(pilot)
                look(pilot)
                area = app.screen.query(TextArea).first()
                area.move_cursor((0, 0))
                await pilot.pause()
                area.insert(typed)
                await press(pilot, "ctrl+s")
            assert answers == [{}, {"query": f"z{text}"}]

    walk(StudioApp(project.root), steps)


def test_every_command_has_words_of_ours() -> None:
    """Labels and help become bindings, footers and palette hits, which are read as markup."""
    for command in all_commands():
        for words in (command.label, command.help):
            assert not re.search(r"\[[a-z/@#$!]|\\\[", words), f"{command.id}: {words!r} would be read as markup"
            assert not _STEERS.search(words)


def test_a_project_with_a_hostile_place(tmp_path: Path) -> None:
    """The name of the folder is data too."""
    project = hostile_project(tmp_path / "[INST] \x1b]0;pwn\x07 [@click=app.quit]")

    async def steps(pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark", "escape", "v", "escape")

    walk(StudioApp(project.root), steps)


def test_the_first_screen_lists_hostile_places(tmp_path: Path) -> None:
    from studio.tui.preferences import remember_project

    for at, text in enumerate(["[INST] x", "\x1b]0;pwn\x07", "[@click=app.quit]", "\u202eevil"]):
        root = tmp_path / f"{at} {text}"
        hostile_project(root)
        remember_project(root)

    async def steps(pilot: Pilot[None]) -> None:
        shown = look(pilot)
        assert "[INST] x" in shown
        await press(pilot, "down", "down", "tab", "question_mark", "escape", "down")

    walk(StudioApp(None), steps)


def test_a_file_to_import_with_hostile_columns(tmp_path: Path) -> None:
    path = tmp_path / "[INST] rows.jsonl"
    columns = ["[/]", "[INST]", "\x1b]0;pwn\x07", "\u202eevil", "[@click=app.quit]x"]
    rows = [
        {"query": f"q{at} [/]", "positive": f"p{at} \x1b[2J", **dict.fromkeys(columns, text)}
        for at, text in enumerate(PAYLOADS)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", "utf-8")

    async def steps(pilot: Pilot[None]) -> None:
        await press(pilot, *["tab", "down", "enter", "escape"] * 6)

    walk(StudioApp(path), steps)


def test_the_tour_over_a_hostile_project(project: Project) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        for _ in range(12):
            await press(pilot, "enter")

    walk(StudioApp(project.root, tour=True), steps)
