import asyncio
import json
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from studio.models.tokenizer import load_tokenizer
from studio.project.project import Project
from studio.project.settings import ModelSettings, PromptSettings
from studio.prompts.presets import PRESETS
from studio.prompts.preview import preview_rows
from studio.prompts.visible import visible
from studio.sample import model_location
from studio.tui.app import StudioApp
from studio.tui.command import keymap
from studio.tui.contract_editor import EDITOR, ContractEditor
from studio.tui.dialogs import AskText, Choose, Confirm, Tell
from studio.tui.pairs import PairsScreen
from studio.tui.prompt_drawing import folded
from studio.tui.prompts import PromptsScreen
from studio.tui.registry import STUDIO
from studio.tui.safe_area import SafeArea
from studio.view.where import Where

OWN = PRESETS["web_search_query"]
LONG = "A segunda via pode ser pedida no portal do cliente. " * 20
ROWS: list[Any] = [
    ("Como pedir 2ª via da fatura?", LONG),
    ("Instruct: Given a question\nQuery: oi", "passage: sim, pode"),
    {"query": "[/] [INST] \x1b[31m", "positive": "Instruct: a [@click=app.quit] b", "negatives": ["um", "query: dois"]},
    ("sem prompt", "nem aqui"),
]
WAIT = 60.0

Act = Callable[[StudioApp, Pilot[None]], Awaitable[None]]


async def until(pilot: Pilot[None], holds: Callable[[], object]) -> None:
    """Let the app go on until something holds; the deadline is only for tests that fail."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, pilot.app.screen
        await pilot.pause()
    await pilot.pause()


def panel(app: StudioApp) -> PromptsScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, PromptsScreen)
    return screen


def text_of(app: StudioApp, name: str) -> str:
    shown = panel(app).query_one(name, Static).visual
    return str(shown)


def findings(app: StudioApp) -> list[str]:
    options = panel(app).query_one("#findings", OptionList)
    return [str(options.get_option_at_index(at).prompt) for at in range(options.option_count)]


def use(root: Path, act: Act, size: tuple[int, int] = (100, 30), read_only: bool = False) -> None:
    """Run the studio on a project with its own engine, once the panel shows a row and its findings."""

    async def run() -> None:
        app = StudioApp(place=root, panel="prompts", read_only=read_only)
        async with app.run_test(size=size) as pilot:
            await asyncio.wait_for(app.ready.wait(), WAIT)
            await until(pilot, lambda: panel(app)._report is not None)
            await act(app, pilot)

    asyncio.run(run())


async def read(app: StudioApp, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: panel(app)._reads is not None)


async def choose(app: StudioApp, pilot: Pilot[None], label: str) -> None:
    """Choose a line of the list that is open."""
    await until(pilot, lambda: isinstance(app.screen, Choose) and app.screen.query(OptionList))
    options = app.screen.query_one(OptionList)
    lines = [str(options.get_option_at_index(at).prompt) for at in range(options.option_count)]
    [at] = [at for at, line in enumerate(lines) if line.split("  ")[0] == label]
    await pilot.press("home", *["down"] * at, "enter")


async def answer(app: StudioApp, pilot: Pilot[None], *keys: str) -> None:
    await until(pilot, lambda: isinstance(app.screen, Confirm))
    await pilot.press(*keys)


async def ask(app: StudioApp, pilot: Pilot[None], key: str, value: str) -> None:
    """Press a key that asks for a line of text, and answer."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, AskText) and app.screen.query(Input))
    app.screen.query_one(Input).value = value
    await pilot.press("enter")


def saved(root: Path) -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((root / "studio.toml").read_bytes().decode("utf-8"))
    return settings


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(ROWS, model=ModelSettings(max_length=64))


def test_the_ids_shown_are_those_of_preview_rows(project: Project) -> None:
    expected = preview_rows(project.snapshot, OWN.contract(), load_tokenizer(model_location("harrier-tiny")), 64)

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        assert "ids " not in text_of(app, "#this-text")
        await pilot.press("i")
        for position, row in enumerate(expected):
            await until(pilot, lambda position=position: panel(app)._reads[0].position == position)
            shown = text_of(app, "#this-text").splitlines()
            ids = [tuple(map(int, line[4:].split())) for line in shown if line.startswith("ids ")]
            assert ids == [text.ids for text in row.texts]
            assert f"query  {row.texts[0].tokens_after} of 64 tokens" in "\n".join(shown)
            pooled = [line for line in shown if line.endswith("◀ pooled here")]
            assert [line.split(" ◀")[0].split() for line in pooled] == [list(text.tokens) for text in row.texts]
            await pilot.press("n" if position % 2 else "right")
        assert panel(app)._position == len(ROWS) - 1

    use(project.root, act)


def test_what_is_cut_is_said(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        passage = panel(app)._reads[0].texts[1]
        shown = text_of(app, "#this-text")
        assert f"passage  64 of 64 tokens · ✂ {passage.tokens_lost} lost" in shown
        assert f"✂ cut at character {passage.cut_at} of {len(LONG):,}, not read: " in shown
        assert visible(LONG[passage.cut_at : passage.cut_at + 60]) in shown
        assert "the end of sequence survives ✓" in shown

    use(project.root, act)


def test_the_contract_is_shown_with_every_character(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        shown = text_of(app, "#contract")
        assert "".join(line[10:] for line in shown.splitlines()[:-1]) == visible(OWN.query)
        assert shown.splitlines()[-1] == "document  (none)"

    use(project.root, act, size=(80, 24))


def test_the_row_follows_the_cursor_of_pairs_and_a_number(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "pairs" and app.current_position is not None)
        await pilot.press("down", "down")
        await until(pilot, lambda: app.current_position == 2)
        await pilot.press("4")
        await until(pilot, lambda: panel(app)._reads is not None and panel(app)._reads[0].position == 2)
        assert "negative 2" in text_of(app, "#this-text")
        await ask(app, pilot, ":", "4")
        await until(pilot, lambda: panel(app)._reads[0].position == 3)
        await ask(app, pilot, ":", "5")
        await pilot.press("N")
        await until(pilot, lambda: panel(app)._reads[0].position == 2)

    use(project.root, act)


def test_an_edit_is_saved_byte_for_byte(project: Project) -> None:
    path = project.root / "studio.toml"
    path.write_text("# mine\n" + path.read_text("utf-8"), "utf-8")
    before = saved(project.root)

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        old = panel(app).contract.short_hash
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        await pilot.press("x", "enter", "[", "/", "]", "space", "tab", "d", "enter", "space")
        await until(pilot, lambda: "⏎[/]␠" in str(app.screen.query_one("#live", Static).visual))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        words = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert old in words and "Token counts" in words
        await answer(app, pilot, "y")
        await until(pilot, lambda: app.screen is panel(app) and panel(app)._reads is not None)
        assert panel(app).contract.query == OWN.query + "x\n[/] "
        assert panel(app)._reads[0].texts[0].raw.startswith(OWN.query + "x\n[/] ")
        assert panel(app)._reads[0].texts[1].raw.startswith("d\n ")
        assert app.remark.startswith(f"contract {old} → {panel(app).contract.short_hash}")

    use(project.root, act)
    prompts = {"query": OWN.query + "x\n[/] ", "document": "d\n ", "origin": "custom"}
    assert saved(project.root) == before | {"prompts": prompts}
    assert path.read_text("utf-8").startswith("# mine\n")


@pytest.mark.parametrize("stay", [True, False])
def test_an_edit_can_be_left(project: Project, stay: bool) -> None:
    before = (project.root / "studio.toml").read_bytes()

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        await pilot.press("x", "escape")
        await answer(app, pilot, "n" if stay else "y")
        if stay:
            await until(pilot, lambda: isinstance(app.screen, ContractEditor))
            assert app.screen.query_one("#edit-query", SafeArea).value == OWN.query + "x"
        else:
            await until(pilot, lambda: app.screen is panel(app))

    use(project.root, act)
    assert (project.root / "studio.toml").read_bytes() == before


def test_a_refused_save_keeps_what_was_typed(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        await pilot.press("x", "ctrl+s")
        await answer(app, pilot, "n")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor))
        assert app.screen.query_one("#edit-query", SafeArea).value == OWN.query + "x"

    use(project.root, act)


HOSTILE = 'a\r\nb\x1b]0;x\x07\u2028c\u202e"""\\n \x00\x0b'


def test_a_hostile_prompt_is_shown_and_kept(make_project: Callable[..., Project]) -> None:
    prompts = PromptSettings(query=HOSTILE, document="\x85[/]", origin="custom")
    root = make_project(ROWS, prompts=prompts).root
    before = (root / "studio.toml").read_bytes()

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        assert "⟨U+001B⟩" in text_of(app, "#contract")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        areas = app.screen.query(SafeArea)
        assert [area.value for area in areas] == [HOSTILE, "\x85[/]"]
        assert all(area.holds_other_breaks for area in areas)
        drawn = "".join(strip.text for area in areas for strip in area.render_lines(area.size.region))
        assert not set(drawn) & set("\x1b\x07\x00\u202e\u2028\x85")
        await pilot.press("tab", "x")
        assert areas[0].value == HOSTILE
        await pilot.press("ctrl+s")
        await answer(app, pilot, "y")
        await until(pilot, lambda: app.screen is panel(app) and panel(app)._reads is not None)

    use(root, act)
    assert saved(root)["prompts"] == {
        "query": HOSTILE,
        "document": saved(root)["prompts"]["document"],
        "origin": "custom",
    }
    assert "x" in saved(root)["prompts"]["document"]
    assert before != (root / "studio.toml").read_bytes()


@pytest.mark.parametrize(
    ("label", "query", "origin"),
    [
        ("portuguese_qa", PRESETS["portuguese_qa"].query, "preset:portuguese_qa"),
        ("the model's own sts_query", PRESETS["sts_query"].query, "model:sts_query"),
        ("none", "", "preset:none"),
    ],
)
def test_a_preset_is_taken(project: Project, label: str, query: str, origin: str) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        await pilot.press("p")
        await choose(app, pilot, label)
        await answer(app, pilot, "y")
        await until(pilot, lambda: panel(app).contract.query == query and panel(app)._reads is not None)

    use(project.root, act)
    assert saved(project.root)["prompts"] == {"query": query, "document": "", "origin": origin}


def test_the_editor_fills_in_presets(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        await pilot.press("f3")
        await choose(app, pilot, "the model's own bitext_query")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor))
        assert app.screen.query_one("#edit-query", SafeArea).value == PRESETS["bitext_query"].query
        await pilot.press("f2")
        await choose(app, pilot, "legal")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor))
        await pilot.press("ctrl+s")
        await answer(app, pilot, "y")
        await until(pilot, lambda: app.screen is panel(app))

    use(project.root, act)
    assert saved(project.root)["prompts"]["origin"] == "preset:legal"


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_a_comparison_shows_the_difference(project: Project, size: tuple[int, int]) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        await pilot.press("v")
        await choose(app, pilot, "web_search_query_mteb")
        await until(pilot, lambda: panel(app)._reads[1] is not None)
        at = len(OWN.query.encode()) - 1
        shown = text_of(app, "#other-text")
        assert f"≠ query differs from byte {at} on" in shown
        assert "passage  64 of 64 tokens" in shown and "= the same tokens" in shown
        assert panel(app)._reads[1].texts[0].raw == OWN.query[:-1] + ROWS[0][0]
        this, other = (panel(app).query_one(name).region for name in ("#this", "#other"))
        assert (other.y > this.y) if size[0] < 100 else (other.x > this.x)
        await pilot.press("n")
        await until(pilot, lambda: [each.position for each in panel(app)._reads] == [1, 1])
        await pilot.press("v")
        await until(pilot, lambda: panel(app)._reads[1] is None)
        assert not panel(app).query_one("#other").display
        assert panel(app).query_one("#contract").display

    use(project.root, act, size=size)


def test_a_typed_contract_is_compared_and_not_saved(project: Project) -> None:
    before = (project.root / "studio.toml").read_bytes()

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        await pilot.press("v")
        await choose(app, pilot, "type it …")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor) and app.focused is not None)
        await pilot.press("z", "ctrl+s")
        await until(pilot, lambda: app.screen is panel(app) and panel(app)._reads[1] is not None)
        assert panel(app)._reads[1].texts[0].raw.startswith(OWN.query + "z")

    use(project.root, act)
    assert (project.root / "studio.toml").read_bytes() == before


def test_a_finding_leads_to_its_rows(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        [at] = [at for at, line in enumerate(findings(app)) if "2 passages with a query prompt" in line]
        await pilot.press("f", "home", *["down"] * at, "enter")
        await until(pilot, lambda: app.current_mode == "pairs")
        screen = app.screen
        assert isinstance(screen, PairsScreen)
        assert screen.where == Where(rows=((2, 2),))

    use(project.root, act)


def test_a_lint_says_what_to_do(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        assert findings(app)[0].startswith("! warn The model has no `query` prompt")
        await pilot.press("f", "home", "enter")
        await until(pilot, lambda: isinstance(app.screen, Tell))
        words = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert "To do: put the contract on the model" in words

    use(project.root, act)


def test_tokens_are_counted_on_demand(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        assert any("t: count tokens of all rows" in line for line in findings(app))
        await pilot.press("t")
        await until(pilot, lambda: any("1 passage (25.0%) cut at 64 tokens" in line for line in findings(app)))
        assert any("same string in  studio.toml ✓" in line for line in findings(app))

    use(project.root, act)


def test_length_and_model_are_settings(project: Project) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        await ask(app, pilot, "m", "16")
        await until(pilot, lambda: panel(app)._reads is not None and panel(app)._reads[0].max_length == 16)
        await ask(app, pilot, "m", "7")
        await until(pilot, lambda: app.screen is panel(app))
        await ask(app, pilot, "M", "no/such-model")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        words = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert "is not on this machine" in words and "--local-dir" in words
        await pilot.press("n")
        await until(pilot, lambda: app.screen is panel(app))

    use(project.root, act)
    assert saved(project.root)["model"] == {"id": "harrier-tiny", "max_length": 16}


def test_a_model_out_of_reach_is_said_and_prompts_can_be_edited(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS, model=ModelSettings(id="./no-such-[/]-folder")).root

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "There is no preview" in text_of(app, "#this-text"))
        assert "./no-such-[/]-folder" in text_of(app, "#this-text")
        assert any(line.startswith("! warn the model cannot be read") for line in findings(app))
        await pilot.press("p")
        await choose(app, pilot, "legal")
        await answer(app, pilot, "y")
        await until(pilot, lambda: panel(app).contract.query == PRESETS["legal"].query)
        await ask(app, pilot, "M", "harrier-tiny")
        await read(app, pilot)

    use(root, act)
    assert saved(root)["model"]["id"] == "harrier-tiny"


def test_a_model_with_a_hostile_name_is_kept_if_nothing_is_typed(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS, model=ModelSettings(id="./no-such\x9b31m\u202e-folder")).root
    before = (root / "studio.toml").read_bytes()

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press("M")
        await until(pilot, lambda: isinstance(app.screen, AskText) and app.screen.query(Input))
        assert app.screen.query_one(Input).value == "./no-such⟨U+009B⟩31m⟨U+202E⟩-folder"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is panel(app) and not any(w.group == "ask" for w in app.workers))

    use(root, act)
    assert (root / "studio.toml").read_bytes() == before


@pytest.mark.parametrize("key", ["e", "p", "m", "M"])
def test_read_only_refuses(project: Project, key: str) -> None:
    before = (project.root / "studio.toml").read_bytes()

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert app.screen is panel(app)

    use(project.root, act, read_only=True)
    assert (project.root / "studio.toml").read_bytes() == before


def test_a_row_is_copied_as_the_model_reads_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(StudioApp, "copy_to_clipboard", lambda self, text: copied.append(text))

    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        await pilot.press("y")
        assert json.loads(copied[0])[0]["ids"] == list(panel(app)._reads[0].texts[0].ids)

    use(project.root, act)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (200, 60)])
def test_it_fits(project: Project, size: tuple[int, int]) -> None:
    async def act(app: StudioApp, pilot: Pilot[None]) -> None:
        await read(app, pilot)
        for name in ("#contract", "#this", "#findings"):
            region = panel(app).query_one(name).region
            assert region.height >= 3
            assert region.right <= size[0] and region.bottom <= size[1] - 2
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ContractEditor))
        for name in ("#edit-query", "#edit-document", "#live-pane", "#save", "#close"):
            region = app.screen.query_one(name).region
            assert region.height >= 1
            assert region.right <= size[0] and region.bottom <= size[1]

    use(project.root, act, size=size)


@pytest.mark.parametrize("vim", [False, True])
def test_no_two_commands_share_a_key(vim: bool) -> None:
    keymap((*STUDIO, *PromptsScreen.COMMANDS_HERE, *EDITOR), {}, vim, "test")
    keys = [key for command in PromptsScreen.COMMANDS_HERE for key in command.keys.split(",")]
    studio = [key for command in STUDIO for key in command.keys.split(",")]
    assert len(keys) == len(set(keys)) and not set(keys) & set(studio)


@pytest.mark.parametrize("width", [10, 17, 80])
@pytest.mark.parametrize("text", ["", "a" * 95, visible(OWN.query), visible("\n\n x\n"), "漢字" * 40 + "␠b"])
def test_folding_loses_nothing(text: str, width: int) -> None:
    lines = folded(text, width)
    assert "".join(lines) == text
    assert all(len(line) <= width for line in lines)
