"""The Train panel with real keys, a real engine, and real runs of the embedded model."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.widgets import Input, Static

from studio.project.project import Project
from studio.runs.folder import RunFolder
from studio.runs.state import State, standing
from studio.runs.stopping import stop
from studio.training.items import passed
from studio.training.matrix import MatrixFacts, MatrixRow, matrix
from studio.training.presets import PRESETS
from studio.training.spec import changed, read_spec
from studio.tui.cluster_drawing import Lines
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.matrix_rows import MatrixRows
from studio.tui.runs import RunsScreen
from studio.tui.train import TrainScreen
from tests.runs_by_hand import made
from tests.tui.driving import Driver, driving, run

_SUBJECTS = ["fatura", "senha", "consumo", "visita", "endereço", "contrato", "boleto", "medidor", "tarifa", "prazo"]
_VERBS = ["emitir", "mudar", "ver", "cancelar", "pedir", "corrigir", "pagar", "adiar"]
ROWS: list[Any] = [
    {
        "query": f"como {verb} {subject}",
        "positive": f"Para {verb} {subject} abra o portal, na aba {subject}, e escolha {verb}.",
        "split": "test" if number % 5 == 0 else "train",
    }
    for number, (verb, subject) in enumerate((verb, subject) for verb in _VERBS for subject in _SUBJECTS)
]
_SHORT = {"schedule.max_steps": 2, "evaluation.times": 1, "batch.per_device": 8}


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(ROWS)


@asynccontextmanager
async def panel(
    project: Project, size: tuple[int, int] = (140, 40), **more: Any
) -> AsyncIterator[tuple[Driver, TrainScreen]]:
    async with driving(project.root, size, panel="train", **more) as driver:
        screen = driver.app.screen_stack[0]
        assert isinstance(screen, TrainScreen)
        yield driver, screen


def lines(screen: TrainScreen) -> list[str]:
    return [str(option.prompt) for option in screen.query_one("#train-settings", Lines).options]


def words(screen: TrainScreen) -> str:
    return str(screen.query_one("#train-words", Static).visual)


def head(screen: TrainScreen) -> str:
    return str(screen.query_one("#train-head", Static).visual)


async def stand(driver: Driver, screen: TrainScreen, key: str) -> None:
    keys = [setting.key for setting in screen._shown]
    screen.query_one("#train-settings", Lines).highlighted = keys.index(key)
    await driver.settle()


async def choose(driver: Driver, words: str) -> None:
    """Take one of a list by its words."""
    dialog = driver.app.screen
    assert isinstance(dialog, Choose)
    at = next(at for at, (_, label, _) in enumerate(dialog._choices) if label.split("  ")[0] == words)
    await driver.press("home", *["down"] * at, "enter")


async def fill(driver: Driver, text: str) -> None:
    """Type a text in place of what stands there."""
    dialog = driver.app.screen
    assert isinstance(dialog, AskText)
    dialog.query_one(Input).value = text
    await driver.press("enter")


async def within(driver: Driver, true: Callable[[], Any], seconds: float = 300) -> None:
    """Wait for something that loads a model, on a busy machine."""

    async def watch() -> None:
        while not true():
            await driver.pilot.pause(0.1)

    await asyncio.wait_for(watch(), seconds)
    await driver.pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (110, 30), (140, 40)])
def test_the_form_says_value_origin_and_reason(project: Project, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with panel(project, size) as (driver, screen):
            assert head(screen).startswith("preset tiny (p)   run tiny (n)   as the preset has it")
            await stand(driver, screen, "batch.per_device")
            assert any(line.startswith("◆ batch        per_device") and line.endswith("32") for line in lines(screen))
            assert "◆ the preset's · the default is 64" in words(screen)
            assert "why: Every row of a batch brings a negative" in words(screen)
            assert "A query meets 31 negatives: 32 × (1 + 0 hard) − 1" in words(screen)
            assert f"--project {project.root} --run tiny --preset tiny" in words(screen)
            assert "batch.per_device = 32" in driver.text and "per_device" in driver.text

    run(flow)


def test_settings_are_changed_by_choosing_and_by_typing_and_given_back(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await stand(driver, screen, "loss.name")
            await driver.press("enter")
            assert "CachedMNRL" in driver.text or "mini-batches" in driver.text
            await choose(driver, "cached_mnrl")
            assert screen._run_spec.loss.name == "cached_mnrl" and "1 setting changed" in head(screen)
            assert screen._here is not None and screen._here.key == "loss.name"
            await stand(driver, screen, "optimiser.lr")
            await driver.press("e")
            await fill(driver, "2e-3")
            assert screen._run_spec.optimiser.lr == 2e-3
            assert any(line.startswith(("● optimiser", "●              lr")) for line in lines(screen))
            assert "● yours; the preset has 0.001 · the default is 5e-06" in words(screen)
            assert "--set loss.name=cached_mnrl --set optimiser.lr=0.002" in words(screen)
            await driver.press("y")
            said = shlex.split(driver.app.clipboard)
            assert said[:2] == ["harrier-studio", "train"] and "optimiser.lr=0.002" in said
            await driver.press("backspace")
            assert screen._run_spec.optimiser.lr == PRESETS["tiny"].spec.optimiser.lr
            await driver.press("e", "escape")
            assert "1 setting changed" in head(screen)

    run(flow)


def test_what_cannot_be_is_asked_again_with_what_was_typed_and_changes_nothing(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            before = screen._run_spec
            await stand(driver, screen, "optimiser.lr")
            await driver.press("e")
            for typed in ("[/] fast", "-1"):
                await fill(driver, typed)
                assert isinstance(driver.app.screen, AskText)
                assert driver.app.screen.query_one(Input).value == typed
                assert "✗ The setting `optimiser.lr` cannot be used" in driver.text and "why: " in driver.text
                assert screen._run_spec == before
            await fill(driver, "0.5")
            assert driver.app.screen is screen and screen._run_spec.optimiser.lr == 0.5

    run(flow)


def test_adapters_and_datasets_unfold(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await stand(driver, screen, "lora")
            await driver.press("e")
            await choose(driver, "on")
            assert any("target_modules" in line for line in lines(screen))
            await driver.press("plus")
            assert [part.name for part in screen._run_spec.data] == ["project", "more1"]
            assert any("data 2" in line for line in lines(screen))
            await stand(driver, screen, "data.1.name")
            await driver.press("minus", "minus")
            assert [part.name for part in screen._run_spec.data] == ["project"]
            assert "--set 'lora={}'" in words(screen)

    run(flow)


def test_accumulation_is_told_to_add_no_negatives_where_it_is_set(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await stand(driver, screen, "batch.accumulation")
            assert "adds no in-batch negatives" in words(screen)
            await driver.press("e")
            await fill(driver, "8")
            assert "meets 31 negatives" in words(screen) and "step of 256 rows and adds no negatives" in words(screen)

    run(flow)


def test_presets_and_names(project: Project) -> None:
    made(project.root, "first_try")

    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await driver.press("p")
            await choose(driver, "first_try")
            await driver.until(lambda: "run first_try-2" in head(screen))
            assert screen._run_spec == PRESETS["first_try"].spec
            await driver.press("p")
            assert "27b with QLoRA" in driver.text
            await choose(driver, "qlora_27b")
            assert "⚠ unverified" in words(screen)
            await driver.press("n")
            await fill(driver, "../out")
            assert isinstance(driver.app.screen, AskText) and "cannot be called" in driver.text
            assert driver.app.screen.query_one(Input).value == "../out"
            await fill(driver, "first_try")
            assert isinstance(driver.app.screen, AskText) and "There is a run `first_try` already" in driver.text
            await fill(driver, "mine")
            assert "run mine" in head(screen) and "--run mine" in words(screen)
            await driver.press("n")
            await fill(driver, "")
            await driver.until(lambda: "run qlora_27b " in head(screen))

    run(flow)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_text_of_a_preset_is_shown_in_full(project: Project, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with panel(project, size) as (driver, _):
            await driver.press("p", "home")
            for preset in PRESETS.values():
                remark = driver.app.screen.query_one("#choose-remark", Static)
                shown = str(remark.visual)
                assert preset.name in driver.text and preset.title in driver.text
                assert preset.why in shown and preset.unverified in shown
                assert remark.parent is not None and remark.size.height <= remark.parent.size.height, preset.name
                await driver.press("down")

    run(flow)


def test_another_name_keeps_what_preflight_said(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            said = (passed("name", "The run will be in tiny."), passed("rows", "64 rows"))
            screen._prechecked((screen._run_spec, screen._run_name), lambda: None, said)
            await driver.press("n")
            await fill(driver, "mine")
            assert "run mine" in head(screen) and "preflight: 1 pass" in head(screen)
            await stand(driver, screen, "optimiser.lr")
            await driver.press("e")
            await fill(driver, "0.5")
            assert "of other settings" in head(screen)
            await driver.press("backspace")
            assert "preflight: 1 pass" in head(screen)
            # Made meanwhile by another studio: it is seen before the run is launched.
            made(project.root, "mine")
            await driver.press("L")
            assert isinstance(driver.app.screen, AskText) and "There is a run `mine` already" in driver.text

    run(flow)


def test_the_script_says_what_of_the_studio_it_needs(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            for sampler, words in (
                ("conflict_aware", "imports the conflict-aware sampler"),
                ("no_duplicates", "with sentence-transformers alone"),
            ):
                screen._run_spec = changed(screen._run_spec, {"sampler.name": sampler})
                await driver.press("x")
                assert words in " ".join(driver.text.replace("│", " ").split())
                await driver.press("n")

    run(flow)


@pytest.mark.parametrize("size", [(80, 24), (110, 30), (140, 40)])
def test_rows_of_the_matrix_are_chosen_where_the_buttons_are_always_seen(
    project: Project, size: tuple[int, int]
) -> None:
    contract = project.settings.prompts.contract()
    rows = tuple(matrix(PRESETS["tiny"].spec, MatrixFacts(rows=300, prompts=contract, longest=100, positions=2048)))
    given: list[tuple[MatrixRow, ...] | None] = []

    async def flow() -> None:
        async with panel(project, size) as (driver, _):
            wanted = {row.name for row in rows if not row.skipped}
            driver.app.push_screen(MatrixRows(rows), given.append)
            await driver.settle()
            for key, name in (("B", "B-zero-shot"), ("f", "F-batch-256"), ("down", ""), ("space", "C-6e-4")):
                await driver.press(key)
                wanted -= {name}
                assert "Leave (n)" in driver.text and f"Queue {len(wanted)} runs (y)" in driver.text
            await driver.press("G", "end")
            assert "not run: " in driver.text and "Leave (n)" in driver.text
            await driver.press("home", "a")
            assert f"Queue {sum(not row.skipped for row in rows)} runs (y)" in driver.text
            await driver.press("a")
            assert "Queue 0 runs (y)" in driver.text
            await driver.press("y", "C", "D", "y")
            assert [row.name for row in given[0] or ()] == ["C-6e-4", "C-1e-3", "C-2e-3", "D-no-prompt"]
            driver.app.push_screen(MatrixRows(rows), given.append)
            await driver.press("escape")
            assert given[1:] == [None]

    run(flow)


def test_a_read_only_studio_starts_nothing(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, read_only=True) as (driver, screen):
            await driver.press("L", "w", "t", "m", "x")
            assert driver.app.screen is screen and driver.app.job is None
            assert not (project.root / "runs").exists()

    run(flow)


def test_text_from_settings_is_neither_markup_nor_control(make_project: Callable[..., Project]) -> None:
    from studio.project.settings import ModelSettings

    made_with = make_project(ROWS[:10], model=ModelSettings(id="[/] [INST] \x1b[31m model"))

    async def flow() -> None:
        async with panel(made_with) as (driver, screen):
            assert any("[/] [INST] ⟨U+001B⟩[31m model" in line for line in lines(screen))
            assert "\x1b" not in driver.text and "first_try" in head(screen)

    run(flow)


@pytest.mark.slow
def test_launching_checks_asks_and_goes_to_the_run(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            screen._run_spec = changed(screen._run_spec, _SHORT)
            screen._draw_form()
            await driver.pilot.press("L")
            await within(driver, lambda: isinstance(driver.app.screen, Confirm))
            text = " ".join(driver.text.split())
            assert "Start the run tiny now?" in text and "MultipleNegativesRankingLoss" in text
            assert "leaving the studio does not" in text
            await driver.pilot.press("n")
            assert not (project.root / "runs" / "tiny").exists()
            assert "preflight" in words(screen) and "✓ pass" in words(screen)
            await driver.pilot.press("L")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            await driver.pilot.press("y")
            await within(driver, lambda: isinstance(driver.app.screen, RunsScreen))
            folder = RunFolder(project.root / "runs" / "tiny")
            assert read_spec(folder.spec).schedule.max_steps == 2
            await within(driver, lambda: "VERDICT" in driver.text)
            assert standing(folder).state is State.DONE and "✓ tiny" in driver.text
            await driver.press("5")
            await driver.until(lambda: "run tiny-2" in head(screen))

    run(flow)


def test_a_run_that_would_fail_is_not_launched(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            screen._run_spec = changed(screen._run_spec, {"evaluation.metric": "ndgc@10"})
            screen._draw_form()
            await driver.pilot.press("L")
            await within(driver, lambda: isinstance(driver.app.screen, Tell))
            assert "preflight fails" in driver.text and "ndgc@10" in driver.text
            await driver.pilot.press("escape")
            assert "✗ fail" in words(screen) and not (project.root / "runs" / "tiny").exists()

    run(flow)


@pytest.mark.slow
def test_the_smoke_test_and_the_script_are_a_key_each(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, _):
            await driver.pilot.press("t")
            await within(driver, lambda: isinstance(driver.app.screen, RunsScreen))
            folder = RunFolder(project.root / "runs" / "smoke")
            await within(driver, lambda: standing(folder).state is State.DONE)
            await driver.pilot.press("5", "x")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            await driver.pilot.press("y")
            await within(driver, lambda: isinstance(driver.app.screen, Tell))
            script = project.root / "runs" / "tiny" / "train.py"
            compile(script.read_text(), str(script), "exec")
            assert standing(RunFolder(script.parent)).state is State.STOPPED

    run(flow)


@pytest.mark.slow
def test_the_matrix_is_shown_row_by_row_before_it_is_queued(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            screen._run_spec = changed(screen._run_spec, _SHORT)
            await driver.pilot.press("m")
            await within(driver, lambda: isinstance(driver.app.screen, MatrixRows))
            assert "B-zero-shot" in driver.text and "Queue " in driver.text
            await driver.pilot.press("c", "y")
            await within(driver, lambda: isinstance(driver.app.screen, RunsScreen))
            folders = [RunFolder(path) for path in (project.root / "runs").glob("*-*") if path.is_dir()]
            names = {folder.name for folder in folders}
            assert names >= {"B-zero-shot", "D-no-prompt"} and not any(name.startswith("C-") for name in names)
            assert "starts on" not in driver.app.remark
            for folder in folders:
                for _ in stop(folder, 0, 5):
                    await driver.pilot.pause()

    run(flow)
