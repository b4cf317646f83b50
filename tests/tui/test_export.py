"""The Export panel with real keys, on real projects, with a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static
from textual.worker import WorkerCancelled

from studio.export.formats import Format
from studio.export.project import export_project
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.tui.app import StudioApp
from studio.tui.dialogs import AskText, Confirm, Tell
from studio.tui.export import ExportScreen
from studio.view.exporting import FORMATS

ROWS: list[Any] = [(f"pergunta número {i}", f"resposta longa número {i}") for i in range(20)]
HOSTILE = "[/] [INST] [@click=app.quit]x[/] \x1b[31m\u202e"


async def at_rest(pilot: Pilot[None]) -> None:
    """Wait for the plan or the job that a key asked for; a plan that a newer one replaced is cancelled."""
    await pilot.pause()
    while running := [worker for worker in pilot.app.workers if not worker.is_finished]:
        with suppress(WorkerCancelled):
            await pilot.app.workers.wait_for_complete(running)
        await pilot.pause()
    await pilot.pause()


@asynccontextmanager
async def studio(project: Project, size: tuple[int, int] = (140, 40), **more: Any) -> AsyncIterator[Pilot[None]]:
    app = StudioApp(project.root, panel="export", **more)
    async with app.run_test(size=size) as pilot:
        await app.ready.wait()
        await at_rest(pilot)
        yield pilot


async def keys(pilot: Pilot[None], *pressed: str) -> None:
    for key in pressed:
        await pilot.press(key)
        await pilot.pause()


def shown(pilot: Pilot[None]) -> str:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, ExportScreen)
    return "\n".join(str(screen.query_one(name, Static).render()) for name in ("#export-where", "#export-text"))


def screen(pilot: Pilot[None]) -> ExportScreen:
    found = pilot.app.screen
    assert isinstance(found, ExportScreen)
    return found


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test, 120))


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (200, 60)])
def test_it_says_what_will_be_written(make_project: Callable[..., Project], size: tuple[int, int]) -> None:
    project = make_project(ROWS)
    project.ledger.append_step([(Action.DROP, "too vague", [Target("r3"), Target("r4")])])

    async def test() -> None:
        async with studio(project, size) as pilot:
            said = shown(pilot)
            assert "18 of 20 pairs will be written as parquet" in said
            assert "too vague" in said and "No check has run" in said
            assert "data/train.parquet" in said and "query, positive" in said
            assert "exports/parquet" in said

    run(test())


def test_write_then_verify(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)

    async def test() -> None:
        async with studio(project) as pilot:
            await keys(pilot, "f", "w")
            await at_rest(pilot)
            out = project.root / "exports" / "jsonl"
            assert (out / "manifest.json").exists()
            assert "✓ written to" in shown(pilot) and "data/train.jsonl" in shown(pilot)
            await keys(pilot, "v")
            await at_rest(pilot)
            assert "✓ verified: all is as it was written" in shown(pilot)
            (out / "data" / "train.jsonl").write_text("{}\n")
            await keys(pilot, "v")
            await at_rest(pilot)
            assert "✗ verified: something differs" in shown(pilot)
            assert "data/train.jsonl was changed" in " ".join(shown(pilot).split())

    run(test())


def test_replacing_is_asked_for_first(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    out = project.root / "exports" / "parquet"
    export_project(project, out, Format.CSV)

    async def test() -> None:
        async with studio(project) as pilot:
            assert "an export is in the place: 20 rows as csv" in shown(pilot)
            await keys(pilot, "enter")
            assert isinstance(pilot.app.screen, Confirm)
            await keys(pilot, "n")
            await at_rest(pilot)
            assert (out / "data" / "train.csv").exists()
            await keys(pilot, "enter", "y")
            await at_rest(pilot)
            assert not (out / "data" / "train.csv").exists()
            assert (out / "data" / "train.parquet").exists()

    run(test())


def test_a_format_that_does_not_fit_is_refused(make_project: Callable[..., Project]) -> None:
    project = make_project([{"query": f"q{i}", "positive": f"p{i}", "label": str(i % 2)} for i in range(6)])

    async def test() -> None:
        async with studio(project) as pilot:
            pilot.app.screen.query_one("#formats", OptionList).highlighted = list(FORMATS).index("beir")
            await at_rest(pilot)
            assert "✗ nothing can be written" in shown(pilot)
            assert "no place for a label" in shown(pilot)
            await keys(pilot, "w")
            assert isinstance(pilot.app.screen, Tell)
            await keys(pilot, "escape")
            assert not (project.root / "exports").exists()

    run(test())


def test_a_read_only_studio_writes_nothing(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)

    async def test() -> None:
        async with studio(project, read_only=True) as pilot:
            assert "read-only" in shown(pilot)
            await keys(pilot, "w")
            await at_rest(pilot)
            assert not (project.root / "exports").exists()

    run(test())


def test_the_place_can_be_chosen_and_is_kept_over_formats(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(ROWS)
    mine = tmp_path / "taken"
    mine.mkdir()
    (mine / "photo.jpg").write_text("mine")

    async def test() -> None:
        async with studio(project) as pilot:
            await keys(pilot, "o")
            assert isinstance(pilot.app.screen, AskText)
            pilot.app.screen.query_one("#answer", Input).value = str(mine)
            await keys(pilot, "enter")
            await at_rest(pilot)
            assert "something else in the export's place" in " ".join(shown(pilot).split())
            await keys(pilot, "f")
            await at_rest(pilot)
            assert screen(pilot).out == mine
            await keys(pilot, "o")
            pilot.app.screen.query_one("#answer", Input).value = ""
            await keys(pilot, "enter")
            await at_rest(pilot)
            assert screen(pilot).out == project.root / "exports" / "jsonl"

    run(test())


def test_nothing_kept_and_nothing_there_are_said(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b")])
    project.ledger.append_step([(Action.DROP, "bad", [Target("r0")])])

    async def test() -> None:
        async with studio(project, (80, 24)) as pilot:
            assert "No row is kept" in shown(pilot)
            await keys(pilot, "v")
            await at_rest(pilot)
            assert screen(pilot).studio.job is None

    run(test())


def test_an_undo_changes_the_plan_in_view(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    project.ledger.append_step([(Action.DROP, "bad", [Target("r0")])])

    async def test() -> None:
        async with studio(project) as pilot:
            assert "19 of 20 pairs" in shown(pilot)
            await keys(pilot, "u")
            await at_rest(pilot)
            assert "20 of 20 pairs" in shown(pilot)

    run(test())


def test_a_project_that_broke_is_an_error_to_read(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)

    async def test() -> None:
        async with studio(project) as pilot:
            folder = project.root / ".studio" / "evidence" / "pii"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text("{")
            await keys(pilot, "r")
            await at_rest(pilot)
            assert "cannot be planned" in shown(pilot) and "damaged" in shown(pilot)
            (folder / "manifest.json").unlink()
            await keys(pilot, "r")
            await at_rest(pilot)
            assert "20 of 20 pairs" in shown(pilot)

    run(test())


def test_text_from_data_is_neither_markup_nor_control(make_project: Callable[..., Project]) -> None:
    rows = [{"query": f"q{i}", "positive": f"p{i}", "split": HOSTILE} for i in range(4)]
    project = make_project(rows)
    project.ledger.append_step([(Action.DROP, HOSTILE, [Target("r0")])])

    async def test() -> None:
        async with studio(project) as pilot:
            said = shown(pilot)
            assert "[/] [INST]" in said and "⟨U+001B⟩" in said
            assert "\x1b" not in said and "\u202e" not in said

    run(test())


def test_the_command_is_copied(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)

    async def test() -> None:
        async with studio(project) as pilot:
            await keys(pilot, "y")
            assert pilot.app.clipboard.startswith(f"harrier-studio export --project {project.root} --out ")

    run(test())


def test_the_mouse_chooses_a_format_and_does_not_write(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)

    async def test() -> None:
        async with studio(project) as pilot:
            await pilot.click("#formats", offset=(3, 2))
            await at_rest(pilot)
            assert "will be written as csv" in shown(pilot)
            assert not (project.root / "exports").exists()

    run(test())


def test_own_commands_leave_the_studio_its_keys() -> None:
    from studio.tui.registry import STUDIO

    everywhere = {key for command in STUDIO for key in command.keys.split(",")}
    own = [key for command in ExportScreen.COMMANDS_HERE for key in command.keys.split(",")]
    assert len(own) == len(set(own)) and not everywhere & set(own)
    assert sum(command.footer for command in ExportScreen.COMMANDS_HERE) <= 5
