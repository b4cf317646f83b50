"""The False negatives panel with real keys, on a real project, with a real engine and the embedded model."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from textual.widgets import Static

from studio.cleaning import check_project
from studio.mining.exposing import Gauge
from studio.mining.false_negatives import configured, search
from studio.mining.summary import JudgesAgreement, JudgingSummary
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.project.verdicts import Verdict, judge, verdicts
from studio.tui.candidate_drawing import amount, gauge_lines, summary_line
from studio.tui.cluster_drawing import Lines
from studio.tui.dialogs import AskText, Confirm, Tell
from studio.tui.false_negatives import FalseNegativesScreen
from studio.tui.mining_tab import MiningTab
from studio.tui.pairs import PairsScreen
from studio.view.judging import ExposureAnswer
from tests.conftest import snapshot
from tests.tui.driving import Driver, driving, run

HOSTILE = "[/] [INST] [@click=app.quit]x[/] \x1b[31m\u202e [bold]"
BILL = "A segunda via da fatura é emitida no portal do cliente, em Minha conta, em qualquer dia da semana, sem custo."
ROWS: list[Any] = [
    ("como emitir a segunda via da fatura", BILL),
    ("onde pego a 2a via da conta", BILL.replace("em qualquer dia da semana", "todos os dias")),
    (f"quero pagar de novo {HOSTILE}", f"{BILL.replace('sem custo', 'de graça')} {HOSTILE}"),
    ("qual o prazo de recurso", "O prazo de recurso é de dez dias úteis, contados da ciência da decisão."),
    ("como cancelo a conta", "Para cancelar abra as configurações do perfil e escolha encerrar."),
    ("qual o telefone do suporte", "O telefone do suporte atende das nove às dezoito horas, menos aos domingos."),
    ("como mudo minha senha", "A senha é trocada na página de segurança, com um código enviado por mensagem."),
    ("onde vejo meu consumo", "O consumo do mês está no aplicativo, na aba de uso, atualizado a cada hora."),
    ("posso mudar o vencimento", "A data de vencimento pode ser mudada uma vez por ano, no atendimento."),
    ("como peço uma visita técnica", "A visita técnica é marcada por telefone, com até três dias de espera."),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was checked and searched, to be copied."""
    made = Project.create(tmp_path_factory.mktemp("fn") / "project", snapshot(ROWS), ProjectSettings(name="test"))
    check_project(made)
    search(made, configured(made.settings))
    return made.root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    shutil.copytree(template, tmp_path / "project")
    return Project.open(tmp_path / "project")


@asynccontextmanager
async def panel(
    project: Project, size: tuple[int, int] = (120, 36), **more: Any
) -> AsyncIterator[tuple[Driver, FalseNegativesScreen]]:
    async with driving(project.root, size, panel="false_negatives", **more) as driver:
        screen = driver.app.screen
        assert isinstance(screen, FalseNegativesScreen)
        yield driver, screen


async def press(driver: Driver, *keys: str) -> None:
    """Press keys, each once what the one before decided is written and shown."""
    for key in keys:
        await driver.press(key)
        await driver.until(lambda: not driver.app.saving)
        await driver.settle()


def said(screen: FalseNegativesScreen, name: str) -> str:
    return str(screen.query_one(name, Static).visual)


def lines(screen: FalseNegativesScreen, name: str = "#candidates") -> list[str]:
    return [str(option.prompt) for option in screen.query_one(name, Lines).options]


def at(screen: FalseNegativesScreen) -> int | None:
    return screen.query_one("#candidates", Lines).highlighted


def given(project: Project) -> pl.DataFrame:
    return verdicts(project.ledger.log(), project.ledger.targets())


def shown(screen: FalseNegativesScreen) -> tuple[str, str]:
    assert screen.queue._open_key is not None and screen.queue._open_key == screen.queue._at[1]
    return screen.queue._open_key


async def job(driver: Driver) -> None:
    """Wait for a job that loads a model: that takes its time on a busy machine."""
    await asyncio.wait_for(_ended(driver), 300)
    await driver.settle()


async def _ended(driver: Driver) -> None:
    while driver.app.job is not None or any(worker.group == "job" for worker in driver.app.workers):
        await driver.pilot.pause(0.1)


async def go_to(driver: Driver, screen: FalseNegativesScreen, word: str) -> None:
    place = next(at for at, line in enumerate(lines(screen)) if word in line)
    await driver.press("home", *["down"] * place)
    assert at(screen) == place


def test_without_a_search_it_is_said_what_it_does_and_r_searches(make_project: Callable[..., Project]) -> None:
    made = make_project(ROWS)

    async def flow() -> None:
        async with panel(made) as (driver, screen):
            notice = said(screen, "#fn-notice")
            assert "Nobody has looked for false negatives yet" in notice and "r searches" in notice
            assert "harrier-tiny is also the model to be trained, and shares its blind spots" in notice
            assert "batch 128" in said(screen, "#gauge") and "only copies" in said(screen, "#gauge")
            await driver.press("y", "n", "p", "s", "w", "v", "space")
            assert not made.ledger.log() and driver.app.screen is screen
            await driver.press("r")
            await job(driver)
            assert len(lines(screen)) > 3 and not screen.query_one("#fn-notice").display
            assert "waiting of" in said(screen, "#fn-list-title")
            assert "blind spots" in said(screen, "#fn-note")
            assert screen.queue._detail is not None and screen.queue._detail.query in said(screen, "#fn-query")

    run(flow)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_query_positive_and_candidate_are_shown_with_the_evidence(project: Project, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with panel(project, size) as (driver, screen):
            detail = screen.queue._detail
            assert detail is not None
            assert f"row {detail.positions[1] + 1}" in said(screen, "#fn-own")
            other = said(screen, "#fn-other")
            assert f"row {detail.positions[2] + 1}" in other and f"score {detail.score:.3f}" in other
            assert "BM25" in other and f"answers: {detail.passage_query[:12]}" in other
            assert "its own positive" in said(screen, "#fn-facts")
            assert "times an epoch at batch 128" in " ".join(said(screen, "#fn-more").split())
            assert detail.query[:20] in driver.text and "false negatives" in driver.text.lower()
            own, candidate = screen.query_one("#fn-own").region, screen.query_one("#fn-other").region
            assert (own.y == candidate.y) == (size[0] >= 100)
            assert "its own positive" in driver.text

    run(flow)


@pytest.mark.parametrize(
    ("key", "verdict", "mark"),
    [("y", "also_answers", "✓"), ("n", "does_not", "✗"), ("p", "partly", "~"), ("s", "skip", "–")],
)
def test_a_verdict_is_written_shown_and_undone(project: Project, key: str, verdict: str, mark: str) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            first, before = shown(screen), lines(screen)
            await press(driver, key)
            found = given(project)
            assert found.select("query_id", "passage_id", "judge", "verdict").rows() == [(*first, "person", verdict)]
            assert json.loads(found["evidence"][0]) == {"drawn": "damage"}
            assert found["score"][0] == pytest.approx(-0.0, abs=2)
            assert shown(screen) != first and len(lines(screen)) < len(before)
            assert "judged" in said(screen, "#tally") and mark in said(screen, "#tally")
            left = len(before) - len(lines(screen))
            await press(driver, "f", "f")
            # What also answers does so both ways, where the other way stands in the queue too.
            assert [line[0] for line in lines(screen)] == [mark] * left and left <= (2 if key == "y" else 1)
            await press(driver, "f", "u")
            assert given(project).is_empty() and shown(screen) == first
            assert sorted(lines(screen)) == sorted(before)
            await press(driver, "U")
            assert given(project)["verdict"].to_list() == [verdict]

    run(flow)


def test_verdicts_follow_one_another_and_undo_goes_back_through_them(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            seen = [shown(screen)]
            for key in "ynp":
                await press(driver, key)
                seen.append(shown(screen))
            assert len(set(seen)) == 4
            assert list(zip(given(project)["query_id"], given(project)["passage_id"], strict=True)) == seen[:3]
            for back in reversed(seen[:3]):
                await press(driver, "u")
                assert shown(screen) == back
            assert driver.app.session is not None and driver.app.session.undo_steps == 0

    run(flow)


def test_a_verdict_is_only_about_texts_that_were_shown(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, _):
            await driver.pilot.press("down", "y")
            await driver.settle()
            assert given(project).is_empty()
            await press(driver, "y")
            assert given(project).height == 1

    run(flow)


@pytest.mark.slow
def test_filter_and_order_are_a_key_or_a_click_away(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, (140, 40)) as (driver, screen):
            by_damage = lines(screen)
            assert "[Waiting]" in said(screen, "#show-waiting")
            await press(driver, "o")
            assert "[Sample]" in said(screen, "#order-sample") and "precision" in said(screen, "#fn-list-title")
            assert lines(screen) != by_damage and sorted(lines(screen)) == sorted(by_damage)
            await press(driver, "home", "y")
            assert json.loads(given(project)["evidence"][0]) == {"drawn": "sample"}
            assert "of 1 drawn by chance 1 also answer: 1.0 [" in said(screen, "#tally")
            await driver.pilot.click("#show-judged")
            await driver.settle()
            # The other row's query and this one's passage may stand in the queue too, and are answered with it.
            judged = lines(screen)
            assert judged and all(line.startswith("✓") for line in judged)
            await driver.pilot.click("#order-damage")
            await driver.pilot.click("#show-waiting")
            await driver.settle()
            assert len(lines(screen)) == len(by_damage) - len(judged)

    run(flow)


@pytest.mark.slow
def test_two_judges_judge_blind_and_are_compared(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, (140, 40)) as (driver, screen):
            await press(driver, "y", "n")
            await driver.press("J")
            assert isinstance(driver.app.screen, AskText)
            await driver.pilot.press(*["backspace"] * 10)
            await driver.type("ana")
            await driver.press("enter")
            assert "judge: ana" in said(screen, "#who")
            assert all(line.startswith("·") for line in lines(screen))
            assert "also answers" not in said(screen, "#fn-facts").replace("that it also answers", "")
            await go_to(driver, screen, "")
            pairs = list(zip(given(project)["query_id"], given(project)["passage_id"], strict=True))
            for pair in pairs:
                assert screen.queue._found is not None
                place = [(head.query_id, head.passage_id) for head in screen.queue._found.heads].index(pair)
                await driver.press("home", *["down"] * place)
                assert "what others said is shown after your verdict" in said(screen, "#fn-facts")
                await press(driver, "y")
            assert given(project)["judge"].to_list() == ["person", "person", "person:ana", "person:ana"]
            assert "κ person and ana" in said(screen, "#tally") and "on 2" in said(screen, "#tally")
            assert "! 1 disputed" in said(screen, "#tally")
            assert not {pair for pair in pairs if pair == shown(screen)}

    run(flow)


def test_the_gauge_follows_batch_devices_and_decisions(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, (140, 40)) as (driver, screen):
            gauge = said(screen, "#gauge")
            assert "batch 128" in gauge and "groups apart" in gauge
            assert "conflict-aware 0" in gauge
            await driver.press("left_square_bracket")
            await driver.settle()
            assert "batch 64" in said(screen, "#gauge")
            await driver.press(*["left_square_bracket"] * 5, "right_curly_bracket")
            await driver.settle()
            small = said(screen, "#gauge")
            assert "batch 2 on 2 devices" in small
            await press(driver, "n", "n", "n", "n", "n", "n")
            assert said(screen, "#gauge") != small

    run(flow)


@pytest.mark.slow
def test_hostile_texts_are_shown_as_they_are(project: Project) -> None:
    async def flow() -> None:
        for size in ((80, 24), (140, 40)):
            async with panel(project, size) as (driver, screen):
                await press(driver, "f")
                await go_to(driver, screen, "quero pagar de novo")
                assert "[/] [INST] [@click=app.quit]x[/]" in said(screen, "#fn-query")
                assert "\x1b" not in driver.text and "\u202e" not in driver.text
                await driver.press("v")
                assert isinstance(driver.app.screen, Tell) and "[INST]" in driver.text
                await driver.press("escape")
                place = next(
                    at
                    for at, head in enumerate(screen.queue._found.heads)
                    if head.passage_id == "r2"  # type: ignore[union-attr]
                )
                await driver.press("home", *["down"] * place)
                assert "[@click=app.quit]" in said(screen, "#fn-other") and "\x1b" not in said(screen, "#fn-other")
                own = next(at for at, head in enumerate(screen.queue._found.heads) if head.query_id == "r2")  # type: ignore[union-attr]
                await driver.press("home", *["down"] * own)
                assert "[INST]" in said(screen, "#fn-own")
                await press(driver, "y")
                assert driver.app.screen is screen

    run(flow)


def test_a_hostile_judge_is_a_name_and_nothing_else(project: Project) -> None:
    judge(project.ledger, "r0", "r4", Verdict.ALSO_ANSWERS, actor="person:[/]\x1b[31m", margin=0.0)

    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await driver.press("J")
            assert "\x1b" not in driver.text and "[/]" in driver.text
            await driver.press("escape", "f")
            await driver.settle()
            assert driver.app.screen is screen

    run(flow)


@pytest.mark.slow
def test_texts_like_each_other_are_compared_and_others_share_words_with_the_query(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, screen):
            await press(driver, "f")
            await go_to(driver, screen, "near copy")
            detail = screen.queue._detail
            assert detail is not None and (detail.likeness or 0) >= 0.6
            assert "nearly the same text" in said(screen, "#fn-facts")
            assert "[-" in said(screen, "#fn-own") and "{+" in said(screen, "#fn-other")
            await go_to(driver, screen, "qual o telefone do suporte")
            own = screen.query_one("#fn-own", Static).visual
            marked = {str(own)[span.start : span.end] for span in own.spans if "underline" in str(span.style)}  # type: ignore[attr-defined]
            assert {"telefone", "suporte"} <= marked and "menos" not in marked

    run(flow)


def test_rows_are_shown_in_pairs(project: Project) -> None:
    async def flow() -> None:
        async with panel(project) as (driver, _):
            await driver.press("w")
            assert isinstance(driver.app.screen, PairsScreen)

    run(flow)


@pytest.mark.slow
def test_when_all_is_judged_that_is_said(project: Project) -> None:
    stored = project.evidence.load("false_negatives")
    assert stored is not None
    pairs = stored.evidence.edges.filter(pl.col("band") == "review").select("a_id", "b_id").rows()
    for query_id, passage_id in pairs[:-2]:
        judge(project.ledger, query_id, passage_id, Verdict.DOES_NOT, margin=0.0)

    async def flow() -> None:
        async with panel(project, (80, 24)) as (driver, screen):
            assert len(lines(screen)) == 2
            await press(driver, "n", "n")
            assert "All candidates are judged" in said(screen, "#fn-notice")
            await press(driver, "y")
            assert given(project)["verdict"].unique().to_list() == ["does_not"]
            await press(driver, "f", "f")
            assert len(lines(screen)) == len(pairs)

    run(flow)


@pytest.mark.slow
def test_changed_rows_make_the_search_stale(project: Project) -> None:
    project.ledger.append_step([(Action.DROP, "too vague", [Target("r9")])])

    async def flow() -> None:
        async with panel(project, (80, 24)) as (driver, screen):
            assert "rows changed since the search; r searches again" in said(screen, "#fn-note")
            await driver.press("r")
            await job(driver)
            assert "rows changed" not in said(screen, "#fn-note")

    run(flow)


def test_a_search_that_finds_nothing_says_so(make_project: Callable[..., Project]) -> None:
    made = make_project(ROWS[3:5], false_negatives={"margin": 0.0, "most": 1})
    search(made, configured(made.settings, {"margin": 0}))

    async def flow() -> None:
        async with panel(made) as (driver, screen):
            if not lines(screen):
                assert "The search found no passage" in said(screen, "#fn-notice")
                await driver.press("f")
                assert "The search found no passage" in said(screen, "#fn-notice")

    run(flow)


@pytest.mark.slow
def test_the_eighth_answer_makes_a_query_ambiguous_and_asks_nothing(make_project: Callable[..., Project]) -> None:
    made = make_project([(f"pergunta {word}", f"resposta sobre {word} e nada mais") for word in "abcdefghij"])
    search(made, configured(made.settings, {"margin": 1.0}))
    for number in range(1, 8):
        judge(made.ledger, "r0", f"r{number}", Verdict.ALSO_ANSWERS, margin=0.0)

    async def flow() -> None:
        async with panel(made) as (driver, screen):
            assert screen.queue._found is not None
            place = next(at for at, head in enumerate(screen.queue._found.heads) if head.query_id == "r0")
            await driver.press("home", *["down"] * place)
            await press(driver, "y")
            assert driver.app.screen is screen
            await driver.until(lambda: driver.app._notifications)
            assert any("tagged as ambiguous" in note.message for note in driver.app._notifications)
            assert "1 ambiguous query" in said(screen, "#tally")
            log = made.ledger.log()
            assert [decision.action for decision in log[-2:]] == [Action.JUDGE, Action.TAG]
            await press(driver, "u")
            assert "ambiguous" not in said(screen, "#tally")

    run(flow)


def test_a_read_only_studio_judges_and_searches_nothing(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, read_only=True) as (driver, screen):
            before = lines(screen)
            await driver.press("y", "n", "p", "s", "r", "t", "r", "m")
            assert driver.app.screen is screen and driver.app.job is None
            assert given(project).is_empty()
            await driver.press("t")
            assert lines(screen) == before

    run(flow)


def test_the_footer_and_the_keys_of_both_sets_work(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, (80, 24)) as (driver, screen):
            assert "Help" in driver.text.split("\n")[-1]
            first = at(screen)
            await driver.press("j", "j", "k")
            assert at(screen) == (first or 0) + 1
            await driver.press("G")
            assert at(screen) == len(lines(screen)) - 1
            await driver.press("l", "j", "h", "g")
            assert at(screen) == 0 and screen.focused is screen.query_one("#candidates")

    run(flow)


def test_hard_negatives_yield_reasons_examples_and_mining(project: Project) -> None:
    async def flow() -> None:
        async with panel(project, (100, 30)) as (driver, screen):
            await driver.press("t")
            tab = screen.query_one(MiningTab)
            assert tab.display and not screen.query_one("#queue").display
            assert "[Hard negatives]" in said(screen, "#tab-hard")
            assert "r retrieves candidates" in said(screen, "#mining-notice")
            await driver.press("r")
            await job(driver)
            curve = said(screen, "#mining-curve")
            assert "▶  5.0 %" in curve and "▒" in curve and "·" in curve
            assert "4 a query" in said(screen, "#mining-settings")
            await driver.press("right_square_bracket")
            await driver.settle()
            assert "▶  7.0 %" in said(screen, "#mining-curve")
            await driver.press(*["left_square_bracket"] * 6)
            await driver.settle()
            assert "▶   none" in said(screen, "#mining-curve") and "margin none" in said(screen, "#mining-settings")
            await driver.press("minus", "minus", "minus", "b", "F")
            await driver.settle()
            settings = said(screen, "#mining-settings")
            assert "miner bm25" in settings and "1 a query" in settings and "as n-tuple" in settings
            await driver.press("b", "b", "F", "F")
            await driver.settle()
            reasons = lines(screen, "#rejections")
            assert "taken as hard negatives" in reasons[0] and any("own positive" in line for line in reasons)
            place = next(at for at, line in enumerate(reasons) if "the query's own positive" in line)
            await driver.press(*["down"] * place)
            assert "candidate" in said(screen, "#example") and "rank 1" in said(screen, "#example")
            await driver.press("v")
            assert isinstance(driver.app.screen, Tell)
            await driver.press("escape", "m")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            await driver.settle()
            out = project.root / "mined" / "dense-triplet"
            assert "hard negative" in driver.text and "dense-triplet" in "".join(driver.text.split())
            await driver.press("n")
            assert not out.exists()
            await driver.press("m")
            await driver.until(lambda: isinstance(driver.app.screen, Confirm))
            await driver.press("y")
            await job(driver)
            assert (out / "manifest.json").exists() and (out / "negatives.parquet").exists()
            assert "mined to" in driver.app.remark
            await driver.pilot.click("#tab-queue")
            await driver.settle()
            assert screen.query_one("#queue").display and not tab.display
            await driver.pilot.click("#tab-hard")
            await driver.settle()
            assert tab.display
            # Verdicts are of the other tab.
            await driver.press("y", "n", "p", "s")
            assert given(project).is_empty()

    run(flow)


def test_numbers_are_said_with_as_many_digits_as_can_matter() -> None:
    assert [amount(number) for number in (0, 0.001, 0.63, 4.13, 12.34, 1007.4)] == [
        "0", "under 0.01", "0.63", "4.1", "12.3", "1,007",
    ]  # fmt: skip


def test_the_gauge_says_what_the_issue_asks_for() -> None:
    gauges = (
        Gauge("random", 4.1, 2.6, 320.0, 50.0, 0.032, 0.005),
        Gauge("no_duplicates", 3.0, 2.5, 300.0, 40.0, 0.03, 0.004),
        Gauge("answer_groups", 2.0, 0.6, 200.0, 30.0, 0.02, 0.003),
        Gauge("conflict_aware", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    )
    answer = ExposureAnswer(128, 1, False, 8_000, gauges, "")
    line = str(gauge_lines(answer, 160, table=False))
    assert line == (
        "at batch 128: 4.1 false negatives a batch, 3.2 % of queries; after your decisions, with answer groups apart, "
        "0.60; with the conflict-aware sampler 0"
    )
    short = str(gauge_lines(answer, 78, table=False))
    assert len(short) <= 78 and "3.2 % hit; groups apart 0.60; conflict-aware 0" in short
    table = str(gauge_lines(answer, 98, table=True)).split("\n")
    assert len(table) == 5 and max(map(len, table)) <= 98 and "an epoch 320 → 50.0" in table[1]


def test_the_tally_says_agreement_and_sampled_precision() -> None:
    said_by = JudgingSummary(
        judged=60, also_answers=31, does_not=20, partly=5, skipped=3, disputed=1, ambiguous=2,
        judges=(("person:ana", 40), ("person:rui", 40)),
        agreements=(JudgesAgreement("person:ana", "person:rui", 20, 0.85, 0.62),),
        sampled=40, precision=0.775, low=0.62, high=0.88, calibrated_on=56, rests_on="judgements", half=-0.01,
        expected=12.5,
    )  # fmt: skip
    wide = str(summary_line(said_by, narrow=False))
    assert "judged 60: ✓ 31 also answer, ✗ 20 do not, ~ 5 partly, – 3 skipped, ! 1 disputed" in wide
    assert "κ ana and rui .62 on 20" in wide and "of 40 drawn by chance 31 also answer: .78 [.62–.88]" in wide
    assert "2 ambiguous queries" in wide
    assert "by chance 31/40: .78 [.62–.88]" in str(summary_line(said_by, narrow=True))
