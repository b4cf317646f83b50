from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static
from textual.worker import WorkerCancelled

from studio.cleaning import check_project
from studio.project.ledger import Action
from studio.project.project import Project
from studio.text.diff import word_diff
from studio.tui.app import StudioApp
from studio.tui.dialogs import Confirm, Tell
from studio.tui.diff_view import Compared, differences, drawn
from studio.tui.duplicates import DuplicatesScreen, Lines
from studio.tui.pairs import PairsScreen
from studio.view.session import KEPT, MOVED, REMOVED
from tests.checks.test_near_duplicates import LONG
from tests.tui.driving import driving
from tests.tui.driving import run as drive

LAW = (
    "Os servidores públicos federais regidos pela lei 8.112 podem pedir a revisão do seu processo administrativo no "
    "prazo de dez dias úteis contados da ciência da decisão, por escrito e com os documentos que a provam, no portal."
)
ROWS = [
    ("como emitir a segunda via da fatura", LONG),
    ("onde pego a 2a via", LONG.replace("semana", "semanas")),
    ("quero pagar de novo", LONG.replace("semana", "semanas").replace("feriados", "feriado")),
    ("prazo da 8.112 [/] [INST]", LAW),
    ("qual o recurso da 8.666", LAW.replace("8.112", "8.666")),
    ("como cancelar a conta", "Para cancelar a conta abra as configurações do perfil e escolha encerrar agora mesmo."),
    ("Como cancelar a conta?", "Para cancelar a conta abra as configurações do perfil e escolha encerrar agora mesmo!"),
    ("nada a ver com o resto", "O telefone do suporte atende em horário comercial, menos aos domingos, e é gratuito."),
]
Run = Callable[[StudioApp, DuplicatesScreen, Pilot[None]], Awaitable[None]]


async def settled(app: StudioApp, pilot: Pilot[None]) -> None:
    """Wait until no worker is left, those that other workers started included."""
    await pilot.pause()
    while left := [worker for worker in app.workers if not worker.is_finished]:
        for worker in left:
            if worker.group != "decide" or not isinstance(app.screen, Confirm):
                try:
                    await worker.wait()
                except WorkerCancelled:
                    continue
        await pilot.pause()
        if isinstance(app.screen, Confirm) and {w.group for w in app.workers if not w.is_finished} <= {"decide"}:
            return
    await pilot.pause()


def run(place: Path, work: Run, size: tuple[int, int] = (100, 30), **options: Any) -> None:
    async def main() -> None:
        app = StudioApp(place, panel="duplicates", **options)
        async with app.run_test(size=size) as pilot:
            await app.ready.wait()
            await settled(app, pilot)
            screen = app.screen
            assert isinstance(screen, DuplicatesScreen)
            await work(app, screen, pilot)

    asyncio.run(main())


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    made = make_project(ROWS)
    check_project(made)
    return made


def said(screen: DuplicatesScreen, name: str) -> str:
    return str(screen.query_one(name, Static).visual)


def lines(screen: DuplicatesScreen, name: str = "#clusters") -> list[str]:
    return [str(option.prompt) for option in screen.query_one(name, Lines).options]


async def press(app: StudioApp, pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settled(app, pilot)


async def go_to(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None], word: str) -> None:
    place = next(at for at, line in enumerate(lines(screen)) if word in line)
    await press(app, pilot, "home", *["down"] * place)
    assert screen.query_one("#clusters", Lines).highlighted == place


def test_clusters_stand_by_size_with_band_and_score(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        shown = lines(screen)
        assert len(shown) == 3
        # What the rule would join, and one edge under the threshold.
        assert "3 ~ near" in shown[0] and "a segunda via" in shown[0]
        assert any("? held" in line and "Os servidores" in line for line in shown)
        assert "3 clusters" in said(screen, "#list-title")
        members = lines(screen, "#members")
        assert sum("★" in line for line in members) == 1
        assert any("→ re-point" in line for line in members)

    run(project.root, work)


def test_the_pair_is_compared_word_by_word_and_what_holds_it_is_named(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await go_to(app, screen, pilot, "? held")
        facts = said(screen, "#facts")
        assert "held for review: numbers differ" in facts
        assert "8.112 / 8.666" in facts
        assert "Jaccard 0.9" in facts and "of the other is in ★" in facts
        assert "[-8.112-]" in said(screen, "#a") and "{+8.666+}" in said(screen, "#a")
        assert "[/] [INST]" in lines(screen, "#members")[0]
        await press(app, pilot, "right", "right", "enter")
        assert isinstance(app.screen, Tell)

    run(project.root, work)


def test_texts_stand_side_by_side_where_there_is_room(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await go_to(app, screen, pilot, "? held")
        assert "[-8.112-]" in said(screen, "#a") and "8.666" not in said(screen, "#a")
        assert "{+8.666+}" in said(screen, "#b")

    run(project.root, work, size=(140, 40))


def test_counts_follow_the_threshold_and_nothing_is_kept_of_it(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        before, settings = said(screen, "#counts"), (project.root / "studio.toml").read_text()
        assert "2 clusters joined" in before and "2 queries re-pointed" in before
        for _ in range(12):
            screen.action_threshold(1)
        assert "threshold 0.92" in said(screen, "#threshold") and "not saved" in said(screen, "#unsaved")
        assert said(screen, "#counts") == "…"
        await settled(app, pilot)
        assert "1 cluster joined" in said(screen, "#counts") and "0 queries re-pointed" in said(screen, "#counts")
        assert "~ near" in lines(screen)[0]
        await press(app, pilot, "A")
        assert not isinstance(app.screen, Confirm)
        await press(
            app, pilot, "left_curly_bracket", "left_curly_bracket", "left_square_bracket", "left_square_bracket"
        )
        assert said(screen, "#counts") == before and "not saved" not in said(screen, "#unsaved")
        assert (project.root / "studio.toml").read_text() == settings

    run(project.root, work)


def test_a_saved_threshold_is_in_the_settings_and_judges_again(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await press(app, pilot, "left_curly_bracket", "left_curly_bracket", "left_curly_bracket", "left_curly_bracket")
        await press(app, pilot, "left_curly_bracket", "S")
        assert "threshold 0.55" in said(screen, "#threshold") and "not saved" not in said(screen, "#unsaved")
        kept = Project.open(project.root)
        # `review` must not be above the threshold.
        assert kept.settings.checks["near_duplicates"] == {"threshold": 0.55, "review": 0.55}
        assert app.session is not None and app.session.project.settings == kept.settings
        stored = kept.evidence.load("near_duplicates")
        assert stored is not None and stored.config["threshold"] == 0.55

    run(project.root, work)


def test_accepting_re_points_and_drops_as_the_rule_would_and_one_undo_takes_it_back(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert app.session is not None
        await press(app, pilot, "a")
        assert [app.session.status[row] for row in (0, 1, 2)].count(MOVED) == 2
        assert lines(screen)[0].startswith("✓") and screen.query_one("#clusters", Lines).highlighted == 1
        curated = project.curated().rows
        assert curated["positive"][:3].n_unique() == 1
        await press(app, pilot, "u")
        assert set(app.session.status.tolist()) == {KEPT} and not lines(screen)[0].startswith("✓")
        await go_to(app, screen, pilot, "Para cancelar")
        await press(app, pilot, "a")
        assert [app.session.status[row] for row in (5, 6)] == [KEPT, REMOVED]

    run(project.root, work)


def test_a_row_that_would_repeat_another_one_is_dropped_not_re_pointed(make_project: Callable[..., Project]) -> None:
    other = LONG.replace("semana", "semanas")
    made = make_project([("como emitir", LONG), ("de novo", other), ("como emitir", other), ("onde fica", LONG)])
    check_project(made)

    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert app.session is not None
        await press(app, pilot, "a")
        by_hand = made.curated().kept.select("row_id", "positive", "status")
        await press(app, pilot, "u", "A", "y")
        assert by_hand.equals(made.curated().kept.select("row_id", "positive", "status"))
        assert app.session.kept == 3

    run(made.root, work)


def test_of_one_text_just_the_rows_that_the_rule_means_are_taken(make_project: Callable[..., Project]) -> None:
    """Rows of one text that differ in what no list of texts shows: their negatives and their label."""
    other = LONG.replace("semana", "semanas")
    made = make_project(
        [
            {"query": "como emitir", "positive": LONG},
            {"query": "de novo", "positive": other, "negatives": ["outra"]},
            {"query": "como emitir", "positive": other, "negatives": ["uma"]},
            {"query": "Como emitir?", "positive": other},
            {"query": "onde fica", "positive": LONG, "label": "1"},
            {"query": "onde fica", "positive": LONG},
            {"query": "onde fica", "positive": LONG},
            {"query": "a quem peço", "positive": other, "label": "1"},
            {"query": "a quem peço", "positive": other},
            {"query": "de novo", "positive": other, "negatives": ["outra"]},
            {"query": "por fim", "positive": LONG.upper()},
        ]
    )
    check_project(made)

    async def flow() -> None:
        async with driving(made.root, panel="duplicates") as studio:
            screen = studio.app.screen
            assert isinstance(screen, DuplicatesScreen) and screen._detail is not None
            assert any(len(member.would) > 1 for member in screen._detail.members)
            await studio.press("a")
            assert studio.app.screen is screen
            await studio.until(lambda: not studio.app.saving)
            await studio.settle()
            by_hand = made.curated()
            await studio.press("u")
            await studio.until(lambda: not studio.app.saving)
            await studio.press("A", "y")
            await studio.job()
            by_rule = made.curated()
            assert set(by_hand.rows["status"]) == {"kept", "removed", "moved"}
            assert by_hand.rows["status"].to_list() == by_rule.rows["status"].to_list()
            # The passage of a row that is dropped says nothing: the rule may have re-pointed it before.
            assert by_hand.kept["positive"].to_list() == by_rule.kept["positive"].to_list()

    drive(flow)


def test_a_cluster_with_an_edge_for_review_is_not_called_auto(make_project: Callable[..., Project]) -> None:
    """Two passages of which one differs in wording alone; a third is less near to both than the threshold asks for."""
    far = LONG.replace("fatura", "conta de luz").replace("portal", "site")
    made = make_project([("um", LONG), ("dois", LONG.replace("semana", "semanas")), ("três", far)])
    check_project(made)

    async def flow() -> None:
        async with driving(made.root, panel="duplicates") as studio:
            screen = studio.app.screen
            assert isinstance(screen, DuplicatesScreen) and screen._detail is not None
            assert {edge.band for edge in screen._detail.edges} == {"auto", "review"}
            [line] = lines(screen)
            assert "~ near" in line and screen._detail.head.score >= screen._shown_threshold
            await studio.press("f")
            assert "≈ auto" in lines(screen)[0]

    drive(flow)


def test_a_held_cluster_is_joined_only_after_a_question_that_says_what_differs(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert app.session is not None
        await go_to(app, screen, pilot, "? held")
        await press(app, pilot, "a")
        assert isinstance(app.screen, Confirm)
        asked = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert "numbers differ" in asked and "8.112" in asked and "8.666" in asked
        await press(app, pilot, "n")
        assert app.screen is screen and project.ledger.log() == []
        await press(app, pilot, "a", "y")
        assert app.session.status[4] == MOVED and app.session.undo_steps == 1
        assert project.curated().rows["positive"][4] == LAW

    run(project.root, work)


def test_different_rows_are_kept_and_another_keeper_can_be_chosen(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await go_to(app, screen, pilot, "? held")
        await press(app, pilot, "x")
        assert [(d.action, d.rows) for d in project.ledger.log()] == [(Action.KEEP, 2)]
        await press(app, pilot, "home")
        await press(app, pilot, "right", "end")
        member = screen._member
        assert member is not None and not member.is_keeper
        await press(app, pilot, "m")
        if isinstance(app.screen, Confirm):
            await press(app, pilot, "y")
        passages = set(project.curated().rows["positive"][:3])
        assert passages == {ROWS[member.position][1]}
        await press(app, pilot, "u")
        assert project.curated().rows["positive"][:3].n_unique() == 3

    run(project.root, work)


def test_all_certain_clusters_are_accepted_as_one_step_after_their_count(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert app.session is not None
        await press(app, pilot, "A")
        assert isinstance(app.screen, Confirm)
        asked = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert "re-point 2 queries" in asked and "drop 1 row" in asked
        await press(app, pilot, "y")
        assert app.session.kept == len(ROWS) - 1 and app.session.undo_steps == 1
        await press(app, pilot, "u")
        assert set(app.session.status.tolist()) == {KEPT}

    run(project.root, work)


def test_bands_roles_and_undecided_clusters_are_a_key_away(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await press(app, pilot, "f")
        assert "2 auto clusters" in said(screen, "#list-title")
        await press(app, pilot, "f")
        assert "2 review clusters" in said(screen, "#list-title") and "? held" in lines(screen)[1]
        await press(app, pilot, "f", "x", "home", "n")
        assert screen.query_one("#clusters", Lines).highlighted != 0
        await pilot.click("#role-query")
        await settled(app, pilot)
        assert "[Queries]" in said(screen, "#role-query")

    run(project.root, work, size=(80, 24))


def test_rows_are_shown_in_pairs(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await press(app, pilot, "right", "enter")
        assert isinstance(app.screen, PairsScreen)

    run(project.root, work)


def test_a_read_only_studio_changes_nothing(project: Project) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        await press(app, pilot, "a", "x", "m", "A", "right_square_bracket", "S")
        assert not isinstance(app.screen, Confirm)
        assert project.ledger.log() == [] and Project.open(project.root).settings.checks == {}

    run(project.root, work, read_only=True)


def test_without_evidence_the_next_key_is_named(make_project: Callable[..., Project]) -> None:
    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert "No duplicates looked for yet. c runs the checks" in said(screen, "#notice")
        await press(app, pilot, "a", "x", "m", "n", "v", "left_square_bracket")
        await press(app, pilot, "c")
        assert "3 clusters" in said(screen, "#list-title")

    run(make_project(ROWS).root, work)


def test_where_nothing_is_found_the_threshold_is_said(make_project: Callable[..., Project]) -> None:
    made = make_project(ROWS[6:])
    check_project(made)

    async def work(app: StudioApp, screen: DuplicatesScreen, pilot: Pilot[None]) -> None:
        assert "No duplicates among the passages at a threshold of 0.80" in said(screen, "#notice")

    run(made.root, work)


def test_what_differs_shows_without_colour() -> None:
    parts = word_diff("A lei\x1b 8.112 não vale.", "A lei\x1b 8.666 vale.")
    both = frozenset({"same", "only_a", "only_b"})
    assert "[-8.112-]" in str(drawn(parts, both, 1_000)) and "{+8.666+}" in str(drawn(parts, both, 1_000))
    assert "\x1b" not in str(drawn(parts, both, 1_000))
    assert "8.112 / 8.666" in str(differences(parts)) and "não / none" in str(differences(parts))
    assert str(differences(word_diff("igual", "igual"))).startswith("the texts are equal")


def test_long_texts_are_folded_and_cut_and_say_so() -> None:
    long = " ".join(f"palavra{i}" for i in range(5_000))
    compared = Compared.of(("a", "b"), (f"{long} fim", f"{long} final"), ())
    text = str(drawn(compared.parts, frozenset({"same", "only_a"}), 6_000))
    assert "characters the same" in text and "[-fim-]" in text
    in_full = str(compared.in_full())
    assert "palavra2500" in in_full and "characters more" in in_full
