"""The Pairs panel, with real keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.cleaning import check_project
from studio.project.ledger import Action
from studio.project.project import Project
from studio.tui.pairs import PairsScreen
from studio.tui.table import PairTable
from studio.view.session import EDITED, KEPT, REMOVED
from tests.tui.driving import Driver, driving, run

ROWS = [
    {"query": f"Pergunta número {at} sobre a fatura?" if at % 2 else f"Onde fica o posto {at}?",
     "positive": f"Resposta {at}: a segunda via sai no portal." if at % 3 else f"O posto {at} fica na praça.",
     "split": "train" if at % 4 else "test"}
    for at in range(40)
]  # fmt: skip


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(ROWS)


def _screen(driver: Driver) -> PairsScreen:
    screen = driver.app.screen_stack[0]
    assert isinstance(screen, PairsScreen)
    return screen


def _decisions(project: Project) -> list[tuple[Action, str, int]]:
    return [(decision.action, decision.reason, decision.rows) for decision in project.ledger.active()]


def test_keep_drop_undo_and_redo_are_on_disk_at_once_and_survive_a_restart(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("down", "d", "k")
            assert _decisions(project) == [(Action.DROP, "dropped by hand", 1), (Action.KEEP, "kept by hand", 1)]
            assert studio.app.session is not None
            assert studio.app.session.status[:3].tolist() == [KEPT, REMOVED, KEPT]
            assert "39 of 40 pairs kept" in studio.text
            assert "undo 2" in studio.text
        async with driving(project.root) as studio:
            assert "39 of 40 pairs kept" in studio.text
            await studio.press("u", "u")
            assert _decisions(project) == []
            assert "40 of 40 pairs kept" in studio.text
            await studio.press("U")
            assert "39 of 40 pairs kept" in studio.text
            assert "redo 1" in studio.text

    run(flow)


def test_searching_filters_while_typing_and_escape_goes_back_level_by_level(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("slash")
            await studio.type("posto 1")
            await studio.press("enter")
            expected = [row for row in ROWS if "posto 1" in row["query"] + row["positive"]]
            assert f"{len(expected)} of 40 pairs" in studio.text
            await studio.press("slash")
            await studio.type(" split:tset")
            await studio.press("enter")
            assert "split" in studio.text
            await studio.press("escape", "escape")
            assert "40 pairs" in studio.text

    run(flow)


def test_a_wrong_filter_says_what_is_wrong_and_keeps_the_rows(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("slash")
            await studio.type("statu:kept")
            await studio.press("enter")
            assert "no key `statu`" in studio.text
            assert "status" in studio.text

    run(flow)


def test_marks_make_one_step_of_many_rows(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("space", "space", "down", "space")
            assert "3 marked" in studio.text
            await studio.press("d")
            assert _decisions(project) == [(Action.DROP, "dropped by hand", 3)]
            assert "marked" not in studio.text
            await studio.press("u")
            assert "40 of 40" in studio.text

    run(flow)


def test_all_that_the_filter_shows_is_dropped_as_one_step_and_without_a_filter_it_asks(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("slash")
            await studio.type("split:test")
            await studio.press("enter", "D")
            await studio.until(lambda: _decisions(project))
            [(action, reason, rows)] = _decisions(project)
            assert (action, rows) == (Action.DROP, 10)
            assert "split:test" in reason
            await studio.press("escape", "K")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            assert "Keep all 40 rows" in studio.text
            await studio.press("n")
            assert len(_decisions(project)) == 1

    run(flow)


def test_editing_here_is_one_decision_and_an_empty_text_is_refused(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("e")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.press("f7", "backspace", "ctrl+s")
            assert len(studio.app.screen_stack) > 1, "an empty query is refused"
            await studio.type("[INST] nova")
            await studio.press("ctrl+s")
            await studio.until(lambda: _decisions(project))
            await studio.settle()
            assert project.curated().rows["query"][0] == "[INST] nova"
            assert studio.app.session is not None
            assert studio.app.session.status[0] == EDITED
            assert "[INST] nova" in studio.text

    run(flow)


def test_editing_in_an_editor(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.tui.editing import edit_outside

    class Suspending:
        def suspend(self) -> Suspending:
            return self

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    async def flow() -> None:
        async with driving(project.root) as studio:
            assert studio.app.session is not None
            [shown] = studio.app.session.shown([0])
        script = tmp_path / "editor.py"
        script.write_text(
            "import json, sys\np = sys.argv[1]\nd = json.load(open(p, encoding='utf-8'))\n"
            "d['positive'] = 'outra'\njson.dump(d, open(p, 'w', encoding='utf-8'))\n"
        )
        import sys

        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        monkeypatch.delenv("VISUAL", raising=False)
        assert edit_outside(Suspending(), shown) == {"positive": "outra"}  # type: ignore[arg-type]

    run(flow)


def test_tags_notes_and_groups(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            for key, word in (("t", "ver"), ("n", "olhar depois"), ("g", "fatura")):
                await studio.press(key)
                await studio.until(lambda: len(studio.app.screen_stack) > 1)
                await studio.type(word)
                await studio.press("enter")
            await studio.until(lambda: len(_decisions(project)) == 3)
            await studio.settle()
            assert [action for action, _, _ in _decisions(project)] == [Action.TAG, Action.NOTE, Action.GROUP]
            assert "olhar depois" in studio.text
            await studio.press("slash")
            await studio.type("tag:ver")
            await studio.press("enter")
            assert "1 of 40 pairs" in studio.text
            await studio.press("t")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.type("ver")
            await studio.press("enter")
            await studio.until(lambda: len(_decisions(project)) == 4)
            assert _decisions(project)[-1][0] is Action.UNTAG

    run(flow)


def test_facets_drill_in_with_enter(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("f")
            assert "train" in studio.text
            from studio.tui.facet_list import FacetList

            facets = studio.app.screen.query_one(FacetList)
            texts = [str(facets.get_option_at_index(at).prompt) for at in range(facets.option_count)]
            facets.highlighted = next(at for at, text in enumerate(texts) if " test " in text)
            await studio.press("enter")
            assert "10 of 40 pairs" in studio.text
            assert "split:test" in studio.text
            await studio.press("enter")
            assert "40 pairs" in studio.text
            await studio.press("escape")
            assert not facets.display

    run(flow)


def test_sorting_jumping_and_saved_views(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("s")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.press("down", "enter")
            await studio.until(lambda: _screen(studio).order.by == "query")
            await studio.settle()
            table = _screen(studio).query_one(PairTable)
            assert table.source is not None
            shown = [row.query for row in table.source.rows(0, 40)]
            assert shown == sorted(shown)
            await studio.press("v")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.press("enter")
            await studio.type("por pergunta")
            await studio.press("enter")
            views = json.loads((project.root / ".studio" / "views.json").read_text("utf-8"))
            assert "por pergunta" in json.dumps(views, ensure_ascii=False)
            await studio.press("colon")
            await studio.until(lambda: len(studio.app.screen_stack) > 1)
            await studio.type("33")
            await studio.press("enter")
            await studio.until(lambda: _screen(studio).position == 32)

    run(flow)


def test_two_lines_histogram_and_the_whole_row(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("w")
            assert _screen(studio).query_one(PairTable).two_lines
            await studio.press("h")
            assert "passage in characters" in studio.text
            assert "median" in studio.text
            await studio.press("escape", "enter")
            assert "row 1" in studio.text
            await studio.press("escape")
            assert len(studio.app.screen_stack) == 1

    run(flow)


def test_a_filter_on_a_check_shows_its_rows_and_the_evidence_in_words(make_project: Callable[..., Project]) -> None:
    text = "A segunda via da fatura pode ser pedida no portal do cliente, na aba de contas, a qualquer hora do dia."
    project = make_project(
        [("Onde peço a fatura?", text), ("Outra coisa?", text + " Sempre."), ("x y z", "nada disso")]
    )
    check_project(project, ["near_duplicates"])

    async def flow() -> None:
        async with driving(project.root) as studio:
            await studio.press("slash")
            await studio.type("check:near_duplicates")
            await studio.press("enter")
            assert "2 of 3 pairs" in studio.text
            assert "near duplicates of row 2" in studio.text

    run(flow)


def test_a_read_only_studio_refuses_every_decision(project: Project) -> None:
    async def flow() -> None:
        async with driving(project.root, read_only=True) as studio:
            assert "read-only" in studio.text
            await studio.press("d", "k", "u", "e")
            assert len(studio.app.screen_stack) == 1
            assert project.ledger.log() == []

    run(flow)
