"""The Evaluate panel with real keys and a real engine, on evaluations as `evaluate` leaves them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from studio.evaluation.collecting import SetOptions
from studio.evaluation.evaluating import evaluate
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.misses import To, miss, send
from studio.evaluation.parsing import parse_all
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.storing import load
from studio.evaluation.systems import Dense, Given, Lexical
from studio.project.project import Project
from studio.tui.cluster_drawing import Lines
from studio.tui.cost_drawing import cost_lines
from studio.tui.dialogs import Choose, Line, Tell
from studio.tui.evaluate import EvaluateScreen
from studio.tui.false_negatives import FalseNegativesScreen
from studio.tui.new_evaluation import NewEvaluation
from studio.tui.pairs import PairsScreen
from studio.tui.query_screen import QueryScreen
from tests.evaluations_by_hand import BEGAN, COST, finished_run, retrieval, stored
from tests.runs_by_hand import trained
from tests.tui.driving import Driver, driving, run

HOSTILE = "[/] [INST] [@click=app.quit]x[/] \x1b[31m\u202e [bold]"
SIZES = pytest.mark.parametrize("size", [pytest.param((80, 24), marks=pytest.mark.slow), (140, 40)])
N = 14
PAIRS = [(f"pergunta número {at} sobre o prazo?", f"Resposta {at}: o prazo é de {at} dias.") for at in range(N)]
BEFORE = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, None, None]
AFTER = [1, 1, 1, 8, 1, 1, 1, 1, 1, 1, 1, None, 1, None]
SYSTEMS: list[Any] = [
    ("before", Dense(model="harrier-tiny"), BEFORE),
    ("after", Dense(run="first"), AFTER),
    ("short", Dense(model="harrier-tiny", dim=16), BEFORE),
    ("coarse", Dense(model="harrier-tiny", precision="int8"), BEFORE),
    ("words", Lexical(), AFTER),
    ("theirs", Given(path="x.trec"), AFTER),
    ("far", Dense(model="BAAI/bge-m3"), "The model is out of reach."),
]


@pytest.fixture
def root(make_project: Callable[..., Project]) -> Path:
    rows = [{"query": query, "positive": positive, "split": "test"} for query, positive in PAIRS]
    return make_project(rows, model={"id": "harrier-tiny"}).root


@pytest.fixture
def first(root: Path) -> Path:
    stored(root, "first", retrieval(PAIRS, {"r3": "equals the query of row 9"}), SYSTEMS, cost=COST)
    return root


@asynccontextmanager
async def panel(
    root: Path, size: tuple[int, int] = (140, 40), **more: Any
) -> AsyncIterator[tuple[Driver, EvaluateScreen]]:
    async with driving(root, size, panel="evaluate", **more) as driver:
        screen = driver.app.screen_stack[0]
        assert isinstance(screen, EvaluateScreen)
        await driver.until(lambda: screen._answer is not None)
        await driver.settle()
        yield driver, screen


def listed(screen: EvaluateScreen, of: str) -> list[str]:
    return [str(option.prompt) for option in screen.query_one(of, Lines).options]


def told(screen: EvaluateScreen, of: str) -> str:
    return str(screen.query_one(of, Static).visual)


async def on_after(driver: Driver, screen: EvaluateScreen) -> None:
    """Stand on the second system, with its queries there."""
    await driver.until(lambda: screen._report is not None)
    await driver.press("right", "down")
    await driver.until(lambda: (pair := screen._queries.pair) is not None and pair.other == "after")
    await driver.settle()


def test_without_an_evaluation_it_is_said_how_to_make_one(root: Path) -> None:
    async def flow() -> None:
        async with panel(root, (80, 24)) as (driver, screen):
            assert "Nothing was evaluated yet" in driver.text and "harrier-studio evaluate" in driver.text
            await driver.press("n", "b", "m", "f", "d", "e", "w", "y", "t", "space", "right", "left_square_bracket")
            assert driver.app.screen is screen
            stored(root, "first", retrieval(PAIRS), SYSTEMS)
            await driver.until(lambda: "✓ first" in driver.text)

    run(flow)


def test_systems_stand_in_classes_and_another_reference_is_taken(first: Path) -> None:
    async def flow() -> None:
        async with panel(first, (80, 24)) as (driver, screen):
            await on_after(driver, screen)
            lines = {line.split()[-1]: line for line in listed(screen, "#ev-systems")}
            text = "\n".join(listed(screen, "#ev-systems"))
            assert "◆ before" in text and "◆ words" in text and "reference of its class" in text
            assert "8/4/2" in text and "not compared: the class of" in text and "not run: The model" in text
            assert len(lines) >= 4
            assert told(screen, "#ev-head") == (
                f"first on test by ndcg@10 · {N} queries · {N} passages · ⚑ 1 leaked query"
            )
            assert listed(screen, "#ev-entries") == ["▸✓ first                  1 of 7 failed"]
            assert [line for line in listed(screen, "#ev-systems") if "▸" in line] == [
                line for line in listed(screen, "#ev-systems") if " after " in line
            ]
            detail = told(screen, "#ev-system-text")
            for words in (
                "VERDICT: ", "against before · p after Holm", "clean", "8 wins, 4 ties, 1 loss of 13", "⚑ leaked",
                "rank of the first relevant passage", "up 1 to 3", "all metrics", "recall@100", "model after",
            ):  # fmt: skip
                assert words in detail, words
            assert "VERDICT: " in driver.text
            await driver.press("b")
            await driver.until(lambda: "◆ after" in "\n".join(listed(screen, "#ev-systems")))
            assert "2/4/8" in "\n".join(listed(screen, "#ev-systems"))
            await driver.press("m")
            await driver.until(lambda: "by mrr@10 (decides: ndcg@10)" in told(screen, "#ev-head"))
            await driver.press("right_square_bracket", "end")
            await driver.until(lambda: "theirs · unknown" in told(screen, "#ev-system-text"))
            assert "≠ not compared" in told(screen, "#ev-system-text")

    run(flow)


@SIZES
def test_a_regression_is_found_looked_at_and_sent_to_be_judged(first: Path, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with panel(first, size) as (driver, screen):
            await on_after(driver, screen)
            await driver.press("enter")
            assert "before → after, worst regressions first: 2" in told(screen, "#ev-query-title")
            worst, other = listed(screen, "#ev-queries")
            assert "rank   1 → 8" in worst and "⚑" in worst and PAIRS[3][0] in worst and "→ –" in other
            await driver.press("down", "enter")
            assert isinstance(driver.app.screen, QueryScreen)
            await driver.until(lambda: "gold" in driver.text)
            text = driver.text
            assert PAIRS[11][0] in text and "grade 1" in text and "rank 3" in text
            if size == (140, 40):
                assert "deeper than what was kept" in text and "not judged" in text
                gold = next(line for line in text.splitlines() if "gold" in line)
                assert "before" in gold and "after" in gold
            await driver.press("space", "g", "G", "n")
            assert isinstance(driver.app.screen, Choose) and "False negatives" in driver.text
            await driver.press("enter")
            await driver.until(lambda: driver.app.session is not None and driver.app.session.undo_steps == 1)
            await driver.until(lambda: "in False negatives" in driver.app.remark)
            await driver.press("3")
            queue = driver.app.screen_stack[0]
            assert isinstance(queue, FalseNegativesScreen)
            await driver.until(lambda: len(queue.query_one("#candidates", Lines).options) > 0)
            assert PAIRS[11][0][:20] in driver.text
            await driver.press("7", "u")
            await driver.until(lambda: driver.app.session is not None and driver.app.session.undo_steps == 0)
            await driver.press("3")
            await driver.until(lambda: len(queue.query_one("#candidates", Lines).options) == 0)

    run(flow)


def test_a_miss_is_marked_in_pairs_and_its_rows_are_shown(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await on_after(driver, screen)
            await driver.press("enter", "n", "down", "enter")
            await driver.until(lambda: "marked in Pairs" in driver.app.remark or isinstance(driver.app.screen, Tell))
            if isinstance(driver.app.screen, Tell):
                # The query has leaked, which is worth a word.
                assert "leaked" in driver.text
                await driver.press("escape")
            await driver.press("w")
            await driver.until(lambda: isinstance(driver.app.screen_stack[0], PairsScreen))
            await driver.until(lambda: PAIRS[3][0] in driver.text)
            assert "missed" in driver.text

    run(flow)


def test_what_another_process_sends_is_seen(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await driver.until(lambda: screen._report is not None)
            await driver.press("3")
            queue = driver.app.screen_stack[0]
            assert isinstance(queue, FalseNegativesScreen)
            await driver.until(lambda: "Nobody has looked" in driver.text)
            for undo_steps, panel_key in ((1, "3"), (0, "7")):
                await driver.press(panel_key)
                project = Project.open(first)
                if undo_steps:
                    stored_there = load(EvaluationFolder(first / "evaluations" / "first"))
                    assert send(project, miss(stored_there, "r11", "after"), To.ANSWERS).rows
                else:
                    with project.locked():
                        assert project.ledger.undo()
                words = f"undo {undo_steps}  redo {1 - undo_steps}"
                await driver.until(lambda words=words: words in driver.text)
                if undo_steps:
                    await driver.until(lambda: len(queue.query_one("#candidates", Lines).options) > 0)

    run(flow)


def test_what_is_cut_says_what_it_is_compared_with(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await on_after(driver, screen)
            # Where one system a class is what the others are compared with, nothing has to be named.
            assert told(screen, "#ev-table-head").endswith("win/tie/loss")
            await driver.press("b")
            await driver.until(lambda: "◆ after" in "\n".join(listed(screen, "#ev-systems")))
            # Its own whole vectors stay what it is compared with.
            cut = [line for line in listed(screen, "#ev-systems") if "↳" in line]
            assert len(cut) == 2 and all(line.endswith(" before") for line in cut)
            assert told(screen, "#ev-table-head").endswith(" to")
            assert screen._report is not None
            places = [line.name for line in screen._report.systems]
            await driver.press("home", *["down"] * places.index("short"))
            await driver.until(lambda: "↳ compared with before" in told(screen, "#ev-system-text"))

    run(flow)


def test_a_move_is_not_taken_back_by_a_drawing_that_comes_before_it_is_told(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await driver.until(lambda: screen._report is not None)
            await driver.press("right")
            view = screen.query_one("#ev-systems", Lines)
            view.action_cursor_down()
            screen._on_system = "before"
            screen._draw_report()
            await driver.until(lambda: (here := screen._system) is not None and here.name == "after")
            await driver.settle()
            assert screen._system is not None and screen._system.name == "after" and view.highlighted == 1

    run(flow)


def test_what_is_shown_stays_in_view_when_the_terminal_shrinks(first: Path) -> None:
    for at in range(12):
        stored(first, f"more-{at:02}", retrieval(PAIRS), SYSTEMS[:2], made=BEGAN - 60 * at - 60)

    async def flow() -> None:
        async with panel(first, (140, 40)) as (driver, screen):
            await driver.press("end")
            await driver.until(lambda: screen._report is not None and screen._report.entry.name == "more-11")
            await driver.pilot.resize_terminal(80, 24)
            await driver.settle()
            view = screen.query_one("#ev-entries", Lines)
            await driver.until(lambda: view.scroll_y <= 12 < view.scroll_y + view.size.height)
            assert "▸✓ more-11" in driver.text and "more-11 on test" in driver.text

    run(flow)


def test_filters_slices_and_costs(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await on_after(driver, screen)
            await driver.press("t")
            for title, lines in (("best gains first: 8", 8), ("ties: 4", 4), ("worst first: 14", 14)):
                await driver.press("f")
                await driver.until(lambda title=title: title in told(screen, "#ev-query-title"))
                assert len(listed(screen, "#ev-queries")) == lines
            await driver.press("t")
            await driver.until(lambda: "characters" in told(screen, "#ev-slices .ev-text"))
            assert "before → after" in told(screen, "#ev-slices .ev-text")
            for _ in range(3):
                await driver.press("d")
            await driver.until(lambda: "manual" in told(screen, "#ev-slices .ev-text"))
            await driver.press("t")
            words = told(screen, "#ev-costs .ev-text")
            assert "1,234" in words and "4.2 ms" in words and "truncation: ndcg@10" in words and "quantisation" in words
            assert "dim 64" in words and "bytes 256" in words
            # What runs no model counts no threads: that is no other machine.
            report = screen._report
            assert report is not None
            systems = [
                line._replace(operations=COST._replace(device="cpu")) if line.name == "words" else line
                for line in report.systems
            ]
            drawn = [line.plain for line in cost_lines(report._replace(systems=tuple(systems)), 90, 30)]
            assert [line.split(";")[0] for line in drawn if "of one query alone" in line] == ["on cpu, 2 threads"]
            await driver.press("T", "T", "T")
            assert screen._tab_here == "systems"

    run(flow)


def test_a_system_that_was_not_run_says_so_in_every_tab(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await driver.until(lambda: screen._report is not None)
            places = [line.name for line in screen._report.systems] if screen._report else []
            await driver.press("right", *["down"] * places.index("far"))
            assert "✗ not run: The model is out of reach." in told(screen, "#ev-system-text")
            await driver.press("b", "t")
            assert "far was not run" in told(screen, "#ev-query-title")
            await driver.press("enter", "n", "w", "t", "t")
            assert driver.app.screen is screen

    run(flow)


def test_runs_stand_beside_evaluations_and_a_damaged_one_hides_none(first: Path) -> None:
    trained(first, "unfinished", upto=120, end="stopped")
    stored(first, "half", retrieval(PAIRS), SYSTEMS, finished=2, made=BEGAN + 60)
    damaged = stored(first, "damaged", retrieval(PAIRS), SYSTEMS, made=BEGAN + 30)
    (damaged.data / "corpus.parquet").write_bytes(b"no")
    finished_run(first, PAIRS, "good", 0.25, 0.5)

    async def flow() -> None:
        async with panel(first) as (driver, screen):
            signs = [line.split()[:2] for line in listed(screen, "#ev-entries")]
            assert signs == [["▸▪", "good"], ["◧", "half"], ["✓", "damaged"], ["✓", "first"]]
            await driver.until(lambda: "good@baseline" in "\n".join(listed(screen, "#ev-systems")))
            await driver.press("down")
            await driver.until(lambda: "not finished" in told(screen, "#ev-head"))
            await driver.press("down")
            await driver.until(lambda: "cannot be read" in told(screen, "#ev-system-text"))
            await driver.press("t", "t", "n", "t", "t", "down")
            await driver.until(lambda: "◆ before" in "\n".join(listed(screen, "#ev-systems")))

    run(flow)


def test_a_new_evaluation_is_asked_for_run_and_shown(first: Path) -> None:
    async def flow() -> None:
        async with panel(first) as (driver, screen):
            await driver.press("N")
            dialog = driver.app.screen
            assert isinstance(dialog, NewEvaluation)
            for key, value in (("ready", ""), ("systems", ""), ("costs", "no"), ("name", "mine")):
                dialog.query_one(f"#asked-{key}", Line).value = value
            await driver.settle()
            await driver.press("ctrl+s")
            assert "name a system" in driver.text
            dialog.query_one("#asked-systems", Line).value = "bm25; plain: bm25,words=plain"
            await driver.settle()
            command = str(dialog.query_one("#asked-line", Static).visual)
            assert "--system bm25" in command and command.endswith("--no-operations --name mine")
            await driver.press("ctrl+s")
            await driver.job()
            await driver.until(lambda: "✓ mine" in listed(screen, "#ev-entries")[0])
            await driver.until(lambda: "◆ bm25" in "\n".join(listed(screen, "#ev-systems")))
            await driver.press("e")
            assert driver.app.job is None
            await driver.press("N")
            driver.app.screen.query_one("#asked-systems", Line).value = "no such thing("
            await driver.press("ctrl+s")
            await driver.job()
            await driver.until(lambda: isinstance(driver.app.screen, Tell))
            await driver.press("escape", "N")
            assert driver.app.screen.query_one("#asked-systems", Line).value == "no such thing("

    run(flow)


@pytest.mark.slow
def test_what_is_missing_is_done(root: Path) -> None:
    made = evaluate(
        Project.open(root), "half", "held-out", SetOptions(), parse_all(["bm25", "bm25,words=plain"]), operations=False
    )
    assert not any(system.error for system in made.systems)
    folder = EvaluationFolder(root / "evaluations" / "half")
    folder.report.unlink()
    shutil.rmtree(folder.systems / "001")

    async def flow() -> None:
        async with panel(root) as (driver, screen):
            await driver.until(lambda: "not finished" in told(screen, "#ev-head"))
            await driver.press("e")
            await driver.job()
            await driver.until(lambda: "✓ half" in listed(screen, "#ev-entries")[0])
            await driver.until(lambda: len(listed(screen, "#ev-systems")) == 2)

    run(flow)


def test_hostile_text_stays_text(root: Path) -> None:
    pairs = [(f"{HOSTILE} {at}", f"{HOSTILE} answer {at}") for at in range(6)]
    hostile = retrieval(pairs, {"r0": HOSTILE}, name=HOSTILE, origin=HOSTILE, trained_on=HOSTILE, notes=(HOSTILE,))
    assert isinstance(hostile, RetrievalSet)
    systems: list[Any] = [
        (f"{HOSTILE} a", Dense(model=HOSTILE), [1] * 6),
        (f"{HOSTILE} b", Dense(model=HOSTILE), [2, None, 1, 1, 3, 4]),
        (f"{HOSTILE} c", Lexical(), HOSTILE),
    ]
    stored(root, "hostile", hostile, systems, cost=COST._replace(device=HOSTILE))

    async def flow() -> None:
        async with panel(root, (80, 24)) as (driver, screen):
            await driver.until(lambda: screen._report is not None)
            await driver.press("right", "down", "enter")
            await driver.until(lambda: len(listed(screen, "#ev-queries")) > 0)
            assert "[INST]" in driver.text and "\x1b[31m" not in driver.text
            await driver.press("enter")
            await driver.until(lambda: "gold" in driver.text)
            assert "[INST]" in driver.text and "\x1b[31m" not in driver.text and "\u202e" not in driver.text
            await driver.press("escape", "t", "t")
            assert "\x1b[31m" not in driver.text
            await driver.press("t", "down", "down")
            assert driver.app.screen is screen and driver.app.is_running

    run(flow)


@pytest.mark.slow
def test_nothing_is_written_in_a_read_only_studio(first: Path) -> None:
    async def flow() -> None:
        async with panel(first, read_only=True) as (driver, screen):
            await on_after(driver, screen)
            await driver.press("enter", "n", "N", "e")
            assert driver.app.screen is screen and not Project.open(first).ledger.log()

    run(flow)
