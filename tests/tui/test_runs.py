"""The Runs panel with real keys, a real engine, and processes that write a run's files as a worker does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Log, Static

from studio.project.project import Project
from studio.runs.control import Request, asked
from studio.runs.folder import RunFolder
from studio.training.presets import PRESETS
from studio.training.spec import changed
from studio.tui.cluster_drawing import Lines
from studio.tui.dialogs import Choose, Confirm, Tell
from studio.tui.run_log import RunLog
from studio.tui.runs import RunsScreen
from studio.tui.train import TrainScreen
from tests.runs_by_hand import Writer, made, queued, trained
from tests.tui.driving import Driver, driving, run

HOSTILE = "[/] [INST] [@click=app.quit]x[/] \x1b[31m\u202e [bold]"
BASE = PRESETS["first_try"].spec
_WORKER = """
import signal, sys, time
from pathlib import Path
from studio.runs.control import Request, asked
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.liveness import Heart, this_process

folder, heeds = RunFolder(Path(sys.argv[1])), sys.argv[2] == "heeds"
me, writer = this_process(), EventWriter(folder.events)
writer.write("started", 0, attempt=1, pid=me.pid, process_start=me.start, host=me.host, devices=["cpu"], world_size=1,
             resumed_from=None)
writer.write("plan", 0, max_steps=100000, negatives=127)
writer.write("phase", 0, phase="train")
with Heart(folder, 1) as heart:
    for step in range(1, 100000):
        writer.write("train", step, loss=1 / step, ema=1 / step, lr=1e-5, eta=10.0)
        heart.at("train", step)
        time.sleep(0.05)
        if heeds and Request.STOP in asked(folder) and not (folder.root / "still-saving").exists():
            writer.write("ended", step, state="stopped", reason="it was asked to stop", seconds=1.0)
            break
"""


@pytest.fixture
def root(make_project: Callable[..., Project]) -> Path:
    return make_project([("what", "this")]).root


@pytest.fixture
def worker() -> Iterator[Callable[..., tuple[RunFolder, subprocess.Popen[bytes]]]]:
    """Starts a process that writes a run's files, and heeds a request to stop or does not."""
    started = []

    def start(root: Path, name: str = "live", heeds: bool = True) -> tuple[RunFolder, subprocess.Popen[bytes]]:
        folder = made(root, name)
        words = [sys.executable, "-c", _WORKER, str(folder.root), "heeds" if heeds else "deaf"]
        process = subprocess.Popen(words, start_new_session=True, cwd=Path(__file__).parents[2])
        started.append(process)
        while not folder.events.exists():
            assert process.poll() is None
            time.sleep(0.02)
        return folder, process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def panel(root: Path, size: tuple[int, int] = (140, 40), **more: Any) -> AsyncIterator[tuple[Driver, RunsScreen]]:
    async with driving(root, size, panel="runs", **more) as driver:
        screen = driver.app.screen_stack[0]
        assert isinstance(screen, RunsScreen)
        await driver.until(lambda: screen._answer is not None)
        await driver.settle()
        yield driver, screen


def listed(screen: RunsScreen) -> list[str]:
    return [str(option.prompt) for option in screen.query_one("#runs-lines", Lines).options]


def told(screen: RunsScreen) -> str:
    return str(screen.query_one("#run-text", Static).visual)


def test_without_a_run_it_is_said_how_to_make_one(root: Path) -> None:
    async def flow() -> None:
        async with panel(root, (80, 24)) as (driver, screen):
            assert "There is no run yet" in driver.text and "5 goes to Train" in driver.text
            await driver.press("s", "r", "e", "l", "b", "space", "x", "w")
            assert driver.app.screen is screen
            trained(root, "first")
            await driver.until(lambda: "first" in driver.text)
            await driver.press("5")
            assert isinstance(driver.app.screen, TrainScreen)

    run(flow)


@pytest.mark.parametrize("size", [(80, 24), (110, 30), (140, 40)])
def test_a_run_is_shown_with_its_whole_history(root: Path, size: tuple[int, int]) -> None:
    trained(root, "good")

    async def flow() -> None:
        async with panel(root, size) as (driver, screen):
            assert "✓ good" in listed(screen)[0] and ".652 WIN" in listed(screen)[0]
            text = told(screen)
            for words in (
                "good · done · step 600 of 600", "in-batch accuracy .900 among 128", "baseline .612  ★ best",
                "pos .800  neg .310  margin .490", "1,840 samples/s", "waiting for data 1%", "padding 7%",
                "checkpoints 420★ · 600", "VERDICT: WIN", "alerts: none",
            ):  # fmt: skip
                assert words in text, words
            assert "step 600" in text
            assert "good · done" in driver.text and "loss and EMA" in driver.text
            assert ("gradient norm" in text.split("baseline")[1]) == (size == (140, 40))

    run(flow)


def test_every_way_to_end_is_told_apart_without_colour(root: Path) -> None:
    trained(root, "good")
    trained(root, "gone", upto=120, end=None)
    trained(root, "wild", diverged=100, upto=120, end="failed")
    trained(root, "paused", upto=120, end="stopped")
    queued(root, ["next"])
    made(root, "idle")

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            lines = {line.split()[1]: line for line in listed(screen)}
            assert lines["good"].split()[0] == "✓" and "lost" in lines["gone"] and "diverged" in lines["wild"]
            assert "■" in lines["paused"] and "queued 1" in lines["next"] and "not started" in lines["idle"]
            for name, words in (
                ("gone", "✗ lost: its process is gone"),
                ("wild", "✗ diverged: from step 100 the loss is no number"),
                ("paused", "■ stopped"),
                ("next", "waits for its devices"),
                ("idle", "r goes on"),
            ):
                driver.app.show_run(name)
                await driver.until(lambda name=name: told(screen).startswith(name))
                assert words in told(screen)
            driver.app.show_run("wild")
            await driver.until(lambda: told(screen).startswith("wild"))
            assert "✗ nan at step 100" in told(screen) and "do: lower optimiser.lr" in told(screen)

    run(flow)


def test_what_a_run_does_shows_by_itself_unless_the_view_is_paused(root: Path) -> None:
    folder = trained(root, "one", upto=120, end=None)
    writer = Writer(folder, seq=1000)

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            assert "step 120 of 600" in told(screen)
            writer.train(130, 600, 0.5)
            await driver.until(lambda: "step 130 of 600" in told(screen))
            await driver.press("z")
            assert "view paused" in driver.text
            writer.train(140, 600, 0.5)
            screen._tick()
            await driver.settle()
            assert "step 130 of 600" in told(screen)
            await driver.press("z")
            await driver.until(lambda: "step 140 of 600" in told(screen))

    run(flow)


def test_the_panel_begins_on_the_run_that_was_asked_for(root: Path) -> None:
    for name in ("a", "b", "c"):
        trained(root, name)

    async def flow() -> None:
        async with panel(root, shown_run="b") as (driver, screen):
            await driver.until(lambda: told(screen).startswith("b ·"))
            await driver.press("down")
            await driver.until(lambda: not told(screen).startswith("b ·"))

    run(flow)


def test_stopping_shows_the_ladder_until_the_run_has_ended(root: Path, worker: Callable[..., Any]) -> None:
    folder, process = worker(root)
    # It ends once it was seen to be asked, however long this test takes to look.
    saving = folder.root / "still-saving"
    saving.touch()

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "▶ live" in listed(screen)[0] and "training" in told(screen))
            await driver.pilot.press("s")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            assert "write a checkpoint and end" in driver.text and "SIGKILL" in driver.text
            await driver.pilot.press("n")
            assert not asked(folder)
            await driver.pilot.press("s", "y")
            await driver.until(lambda: "SIGTERM in" in told(screen))
            saving.unlink()
            await driver.until(lambda: "■ live" in listed(screen)[0])
            await driver.until(lambda: not screen._rungs)
            assert process.wait(20) == 0 and not asked(folder)

    run(flow)


def test_a_deaf_run_need_not_be_waited_for(root: Path, worker: Callable[..., Any]) -> None:
    _, process = worker(root, heeds=False)

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "training" in told(screen))
            await driver.pilot.press("s", "y")
            await driver.until(lambda: "SIGTERM in" in told(screen))
            await driver.pilot.press("s")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            assert "SIGTERM now" in driver.text
            await driver.pilot.press("y")
            await driver.until(lambda: process.poll() == -signal.SIGTERM)
            await driver.until(lambda: "lost" in listed(screen)[0])

    run(flow)


def test_closing_the_studio_while_it_stops_a_run_does_not_matter(root: Path, worker: Callable[..., Any]) -> None:
    folder, process = worker(root, heeds=False)

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "training" in told(screen))
            await driver.pilot.press("s", "y")
            await driver.until(lambda: "SIGTERM in" in told(screen))
        assert process.poll() is None and asked(folder) == {Request.STOP}
        async with panel(root) as (_, screen):
            assert "◧ live" in listed(screen)[0] and "live · stopping" in told(screen)

    run(flow)


def test_a_killed_worker_is_lost_and_the_studio_goes_on(root: Path, worker: Callable[..., Any]) -> None:
    _, process = worker(root)

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "training" in told(screen))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            await driver.until(lambda: "✗ live" in listed(screen)[0] and "✗ lost" in told(screen))

    run(flow)


def test_a_waiting_run_is_taken_out_of_the_queue(root: Path) -> None:
    queued(root, ["next"])

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.pilot.press("s")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            assert "out of the queue" in driver.text
            await driver.press("y")
            await driver.until(lambda: "not started" in listed(screen)[0])
            assert not (root / "runs" / "next" / "queued").exists()

    run(flow)


def test_a_run_at_work_is_asked_and_one_that_is_not_is_left_alone(root: Path, worker: Callable[..., Any]) -> None:
    trained(root, "over")
    folder, _ = worker(root)

    async def flow() -> None:
        async with panel(root, shown_run="live") as (driver, screen):
            await driver.until(lambda: "training" in told(screen))
            await driver.press("e", "w")
            await driver.until(lambda: asked(folder) == {Request.EVALUATE, Request.SAVE})
            await driver.press("r")
            assert driver.app.screen is screen
            driver.app.show_run("over")
            await driver.until(lambda: told(screen).startswith("over"))
            await driver.press("s", "e", "r")
            assert driver.app.screen is screen and not (root / "runs" / "over" / "control").exists()

    run(flow)


def test_runs_are_laid_over_one_another_and_compared_with_the_pinned_one(root: Path) -> None:
    trained(root, "a-base")
    trained(root, "b-quick", changed(BASE, {"optimiser.lr": 1e-5}), gain=0.02)
    trained(root, "c-wild", changed(BASE, {"optimiser.lr": 1e-3}), diverged=200, upto=240, end="failed")

    async def flow() -> None:
        async with panel(root, shown_run="a-base") as (driver, screen):
            await driver.until(lambda: told(screen).startswith("a-base"))
            await driver.press("b")
            await driver.until(lambda: any("◆✓ a-base" in line for line in listed(screen)))
            for name in ("b-quick", "c-wild"):
                driver.app.show_run(name)
                await driver.until(lambda name=name: told(screen).startswith(name))
            await driver.press("home", "space", "down", "space", "down", "space")
            await driver.until(lambda: "3 runs, compared with a-base" in told(screen))
            text = told(screen)
            assert "optimiser.lr 1e-05" in text and "-.020" in text and "diverged" in text and "✗" in text
            assert all(f"\n{letter} " in text for letter in "ABC")
            assert sorted(line[0] for line in listed(screen)) == ["A", "B", "C"]
            await driver.press("y")
            assert "loss (EMA), log" in told(screen)
            await driver.press("escape")
            await driver.until(lambda: "compared" not in told(screen))
        async with panel(root) as (_, screen):
            assert any("◆" in line for line in listed(screen))

    run(flow)


@pytest.mark.parametrize("size", [(80, 24), (110, 30), (140, 40)])
def test_ended_runs_have_an_interval_and_other_queries_no_delta(root: Path, size: tuple[int, int]) -> None:
    for name, scores in (("a", [0.2, 0.4, 0.6, 0.8]), ("b", [0.3, 0.5, 0.6, 0.9]), ("other", [0.1, 0.2, 0.3, 0.4])):
        folder = trained(root, name)
        per_query = {f"q{at}": score for at, score in enumerate(scores * 20)}
        folder.result.write_text(json.dumps({"final": {"per_query": per_query}}))
        folder.data.mkdir()
        for file in ("queries.parquet", "corpus.parquet", "qrels.parquet"):
            (folder.data / file).write_text(str(name == "other"))
    writer = Writer(RunFolder(root / "runs" / "other"), seq=1000)
    writer.write("verdict", 600, verdict="WIN", score=0.25, baseline=0.2, delta=0.05, p=0.62, n=20, line="VERDICT: WIN")

    async def flow() -> None:
        async with panel(root, size) as (driver, screen):
            line = next(line for line in listed(screen) if "other" in line)
            assert "≠.250 WIN p=.62" in line
            assert not any("≠" in each or "p=" in each for each in listed(screen) if each != line)
            driver.app.show_run("other")
            await driver.until(lambda: told(screen).startswith("other"))
            assert "may be chance" in told(screen)
            driver.app.show_run("a")
            await driver.until(lambda: told(screen).startswith("a "))
            await driver.press("b", "home", "space", "down", "space", "down", "space")
            await driver.until(lambda: "3 runs, compared with a" in told(screen))
            lines = {line.split()[2]: line for line in told(screen).split("\n") if line[:1] in "ABC" and " ✓ " in line}
            assert "+.075 [+.0" in lines["b"] and "<.001" in lines["b"]
            assert "other queries: not comparable" in lines["other"] and "[" not in lines["other"]
            letter = lines["other"][0]
            assert f"without {letter}" in told(screen)

    run(flow)


def test_the_log_is_read_and_goes_on(root: Path) -> None:
    folder = trained(root, "one")
    folder.console.write_text(f"loading\n 10%\r 50%\r100%\n{HOSTILE}\n")

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.press("l")
            await driver.until(lambda: isinstance(driver.app.screen, RunLog) and driver.app.screen.query_one(Log).lines)
            lines = list(driver.app.screen.query_one(Log).lines)
            assert lines[:2] == ["loading", "100%"] and lines[2].startswith("[/] [INST] [@click=app.quit]x[/] ⟨U+001B⟩")
            assert driver.app.screen.query_one(Log).size.width > 120
            with folder.console.open("a") as file:
                file.write("more\nhalf a li")
            await driver.until(lambda: "more" in driver.text and "half a li" in driver.text)
            await driver.press("escape")
            assert driver.app.screen is screen

    run(flow)


def test_scripts_are_offered(root: Path) -> None:
    trained(root, "one")

    async def flow() -> None:
        async with panel(root) as (driver, _):
            await driver.press("x")
            assert isinstance(driver.app.screen, Choose) and "Slurm script" in driver.text
            await driver.press("escape")
            assert not (root / "runs" / "one" / "train.py").exists()

    run(flow)


def test_what_a_run_says_is_neither_markup_nor_control(root: Path) -> None:
    folder = trained(root, "one", changed(BASE, {"why": HOSTILE, "preset": HOSTILE}), end=None)
    writer = Writer(folder, seq=1000)
    writer.write("alert", 600, code=HOSTILE, level="error", message=HOSTILE, remedies=[HOSTILE])
    writer.write("note", 600, message=HOSTILE)
    writer.write("devices", 600, devices=[{"index": 0, "name": HOSTILE, "utilisation": 0.5}], peak=1, disk_free=2**40)
    writer.write("evaluation", 601, when=HOSTILE, metrics={HOSTILE: 1.0}, main=HOSTILE, score=0.7, best=True)
    writer.write("phase", 600, phase=HOSTILE)
    writer.write("ended", 600, state="failed", reason=HOSTILE, seconds=1.0)

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            text = told(screen)
            assert text.count("[INST]") >= 5 and "⟨U+001B⟩" in text and "disk free 1.0 TiB" in text
            assert "\x1b" not in text and "\u202e" not in text
            await driver.press("space")
            await driver.until(lambda: "compared with" in told(screen))
            assert "\x1b" not in driver.text

    run(flow)


def test_a_read_only_studio_does_nothing_to_runs(root: Path, worker: Callable[..., Any]) -> None:
    folder, process = worker(root)
    queued(root, ["next"])

    async def flow() -> None:
        async with panel(root, read_only=True, shown_run="live") as (driver, screen):
            await driver.until(lambda: "training" in told(screen))
            await driver.press("s", "e", "w", "b", "x", "r")
            assert driver.app.screen is screen and not asked(folder) and process.poll() is None
            assert not (root / "runs" / "baseline").exists()

    run(flow)


def test_resuming_what_cannot_be_is_an_error_to_read(root: Path) -> None:
    folder = trained(root, "gone", upto=120, end=None)
    folder.spec.write_text("seed = [")

    async def flow() -> None:
        async with panel(root) as (driver, _):
            await driver.pilot.press("r")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            assert "Resume gone?" in driver.text and "step 120" in driver.text
            await driver.pilot.press("y")
            await driver.until(lambda: isinstance(driver.app.screen, Tell))
            assert "run.toml" in driver.text

    run(flow)


def test_a_long_history_is_drawn_in_a_moment(root: Path) -> None:
    folder = made(root, "long")
    writer = Writer(folder)
    writer.begin()
    with folder.events.open("a") as file:
        for step in range(1, 20_001):
            record = {"seq": step + 1, "time": 1.7e9, "step": step, "type": "train", "loss": 1 / step, "grad_norm": 1.0}
            file.write(json.dumps(record) + "\n")

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "step 20,000" in told(screen))
            began = time.perf_counter()
            Writer(folder, seq=30_000).train(20_001, 30_000, 0.5)
            await driver.press("f5")
            await driver.until(lambda: "step 20,001" in told(screen))
            assert time.perf_counter() - began < 5

    run(flow)
