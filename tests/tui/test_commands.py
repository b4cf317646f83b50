"""Keys: what a person may write in `[keymap]`, what is refused and how, and that remapped keys really work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from studio.cli import configuring
from studio.errors import ConfigError
from studio.project.project import Project
from studio.project.settings import InterfaceSettings, UserSettings
from studio.tui import keys_page
from studio.tui.command import clashes, key_name, keymap, keys_of
from studio.tui.pairs import PairsScreen
from studio.tui.registry import all_commands
from studio.tui.table import PairTable
from tests.cli.conftest import run as run_command
from tests.tui.driving import Driver, driving

ROOT = Path(__file__).parents[2]
FILE = "config.toml"
ROWS = [(f"how do I pay bill number {n}?", f"Bill {n} is paid at the counter, or with a card.") for n in range(8)]


def mapped(chosen: Mapping[str, str], vim: bool = False) -> dict[str, str]:
    return keymap(all_commands(), chosen, vim, FILE)


def refused(chosen: Mapping[str, str], vim: bool = False) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        mapped(chosen, vim)
    return caught.value


def drive(flow: Callable[[], Any]) -> None:
    asyncio.run(flow())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("?", "question_mark"),
        (":", "colon"),
        ("/", "slash"),
        ("+", "plus"),
        ("-", "minus"),
        ("question_mark", "question_mark"),
        ("plus_sign", "plus"),
        ("solidus", "slash"),
        ("a", "a"),
        ("A", "A"),
        ("shift+a", "A"),
        ("ç", "ç"),
        ("F6", "f6"),
        ("Space", "space"),
        ("Ctrl+X", "ctrl+x"),
        ("ctrl++", "ctrl+plus"),
        ("shift+ctrl+left", "ctrl+shift+left"),
        ("alt+A", "alt+shift+a"),
        ("shift+f3", "shift+f3"),
    ],
)
def test_any_way_to_write_a_key_gives_the_name_that_textual_has(written: str, name: str) -> None:
    assert key_name(written) == name
    assert key_name(name) == name


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("ecsape", "`escape`"),
        ("esc", "`escape`"),
        ("return", "`enter`"),
        ("pgup", "`pageup`"),
        ("ctlr+x", "`ctrl+x`"),
        ("ctrl-x", "`ctrl+x`"),
        ("ctrl+pgdn", "`ctrl+pagedown`"),
        ("f25", "`f"),
        ("gg", "one letter or sign"),
        ("ctrl+", "one letter or sign"),
        ("\x07", "one letter or sign"),
        ("shift+1", "the sign that it types"),
        ("ctrl+i", "another key"),
        ("ctrl+[", "another key"),
    ],
)
def test_a_key_that_no_terminal_sends_is_refused_with_the_nearest(written: str, nearest: str) -> None:
    error = refused({"pairs.drop": written})
    assert error.where == "config.toml, [keymap] pairs.drop"
    assert nearest in (error.remedy or "")
    assert "\x07" not in str(error)


def test_unknown_ids_and_empty_keys_are_refused_by_name() -> None:
    error = refused({"pairs.kep": "x"})
    assert "`pairs.kep`" in error.what and error.remedy == "did you mean `pairs.keep`?"
    assert error.where == "config.toml, [keymap] pairs.kep"
    for nothing in ("", " ", ","):
        error = refused({"pairs.keep": nothing})
        assert "`pairs.keep` would have no key" in error.what and "comma" in (error.remedy or "")


@pytest.mark.parametrize(
    ("chosen", "other", "vim"),
    [
        ({"pairs.drop": "e"}, "pairs.edit", False),  # the same panel, the other not remapped: silent in Textual
        ({"pairs.drop": "x,e"}, "pairs.edit", False),  # by the second of two keys
        ({"pairs.drop": "u"}, "studio.undo", False),  # by the first of two keys of what works everywhere
        ({"pairs.drop": "Ctrl+Z"}, "studio.undo", False),
        ({"studio.undo": "d"}, "pairs.drop", False),
        ({"studio.undo": "/"}, "pairs.search", False),  # by the sign instead of the name
        ({"studio.check": "a"}, "duplicates.accept", False),  # a panel that is not in view now
        ({"table.up": "k"}, "pairs.keep", False),
        ({"pairs.tag": "ctrl+d"}, "table.half_page_down", False),
        ({"pairs.tag": "k"}, "table.up", True),  # free in Pairs in the vim set, but the table moves with it
        ({"pairs.tag": "a"}, "pairs.keep", True),
        ({"studio.check": "g"}, "table.first", True),
        ({"confirm.yes": "n"}, "confirm.no", False),
        ({"pairs.drop": "x", "pairs.tag": "x"}, "pairs.tag", False),
    ],
)
def test_two_commands_that_work_together_never_share_a_key(chosen: dict[str, str], other: str, vim: bool) -> None:
    error = refused(chosen, vim)
    assert f"`{next(iter(chosen))}`" in error.what and f"`{other}`" in error.what
    assert error.where == f"config.toml, [keymap] {next(iter(chosen))}"


def test_keys_may_be_shared_by_places_that_are_never_in_view_together() -> None:
    assert mapped({"pairs.drop": "x"}) == {"pairs.drop": "x"}  # Duplicates has an `x` too
    assert mapped({"confirm.yes": "u"}) == {"confirm.yes": "u"}  # while a question is asked nothing else has keys
    assert mapped({"pairs.keep": "d", "pairs.drop": "k"}) == {"pairs.keep": "d", "pairs.drop": "k"}
    assert (
        mapped({"pairs.keep": "K, ?", "pairs.keep_all": "f6", "studio.help": "f1"})["pairs.keep"] == "K,question_mark"
    )
    assert mapped({"pairs.keep": "x,x"}) == {"pairs.keep": "x"}
    assert mapped({"pairs.keep": "k"}) == {}
    assert mapped({"pairs.keep": "z"}, vim=True)["pairs.keep"] == "z"
    assert mapped({}, vim=True)["table.up"] == "up,k"
    assert mapped({"studio.quit": "Q"}) == {"studio.quit": "Q"}


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("pairs.tag", "tab"),  # moves the focus
        ("studio.check", "ctrl+c"),  # copies
        ("duplicates.accept", "down"),  # a list takes it first
        ("export.place", "pageup"),
        ("edit.save", "s"),  # a text is typed there
        ("dialog.close", "?"),
        ("edit.close", "space"),
    ],
)
def test_keys_that_would_not_reach_the_command_are_refused(command: str, key: str) -> None:
    error = refused({command: key})
    assert f"`{command}`" in error.what or "two things" in error.what
    assert error.where == f"config.toml, [keymap] {command}"


@pytest.mark.parametrize("vim", [False, True])
def test_the_sets_themselves_have_no_clash_and_only_real_keys(vim: bool) -> None:
    commands = all_commands()
    keys = keys_of(commands, vim)
    assert [(one.id, other.id, key) for one, other, key in clashes(commands, keys)] == []
    assert [(name, key) for name, many in keys.items() for key in many if key_name(key) != key] == []
    assert all(keys.values())


def test_every_command_is_described_once() -> None:
    commands = all_commands()
    ids = [command.id for command in commands]
    assert len(ids) == len(set(ids))
    for command in commands:
        assert command.label and command.help.endswith((".", "…")), command.id


def test_docs_list_every_command_as_it_is() -> None:
    there = (ROOT / "docs" / "keys.md").read_text("utf-8")
    assert there == keys_page.keys_page(), "run: python -m studio.tui.keys_page > docs/keys.md"
    for command in all_commands():
        assert f"| `{command.id}` |" in there
    example = there.split("```toml")[1].split("```")[0]
    assert '"pairs.keep"' in example


async def cursor(driver: Driver) -> int:
    return driver.app.screen.query_one(PairTable).cursor


def removed(driver: Driver) -> int:
    session = driver.app.session
    assert session is not None
    return len(session.rows) - session.kept


def test_remapped_keys_work_and_the_old_ones_do_not(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root
    chosen = {
        "pairs.drop": "x,f6",
        "pairs.search": "?",
        "studio.help": "f1",
        "studio.undo": "Z",
        "studio.duplicates": "f2",
        "table.down": "J",
        "confirm.no": "ctrl+e",
    }

    async def flow() -> None:
        async with driving(root, settings=UserSettings(keymap=chosen)) as driver:
            await driver.press("d")
            assert removed(driver) == 0
            await driver.press("x", "f6")
            await driver.until(lambda: removed(driver) == 2)
            assert await cursor(driver) == 2
            await driver.press("u", "ctrl+z")
            assert removed(driver) == 2
            await driver.press("Z")
            await driver.until(lambda: removed(driver) == 1)
            await driver.press("down")
            assert await cursor(driver) == 2
            await driver.press("J")
            assert await cursor(driver) == 3
            await driver.press("slash")
            assert not driver.app.screen.query_one("#search").has_class("-open")
            await driver.press("question_mark")
            assert driver.app.screen.query_one("#search").has_class("-open")
            await driver.press("x", "Z", "J")  # a letter that is a command elsewhere is typed here
            assert driver.app.screen.query_one("#search").value == "xZJ"  # type: ignore[attr-defined]
            assert removed(driver) == 1
            await driver.press("escape", "2")
            assert isinstance(driver.app.screen, PairsScreen)
            await driver.press("f2")
            assert driver.app.current_mode == "duplicates"
            await driver.press("1", "D")
            await driver.press("escape", "n")
            assert len(driver.app.screen_stack) == 2
            await driver.press("ctrl+e")
            assert len(driver.app.screen_stack) == 1

    drive(flow)


def test_the_vim_set_moves_with_letters_and_keeps_with_another(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root
    vim = UserSettings(interface=InterfaceSettings(keys="vim"), keymap={"pairs.tag": "f9"})

    async def flow() -> None:
        async with driving(root, settings=vim) as driver:
            await driver.press("j", "j", "k")
            assert await cursor(driver) == 1
            await driver.press("G")
            assert await cursor(driver) == len(ROWS) - 1
            await driver.press("g", "down")
            assert await cursor(driver) == 1
            session = driver.app.session
            assert session is not None and session.undo_steps == 0
            await driver.press("a")
            await driver.until(lambda: session.undo_steps == 1)
            await driver.press("t")
            assert len(driver.app.screen_stack) == 1
            await driver.press("f9")
            assert len(driver.app.screen_stack) == 2

    drive(flow)


def test_the_studio_set_keeps_with_k(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            session = driver.app.session
            assert session is not None
            await driver.press("k")
            await driver.until(lambda: session.undo_steps == 1)
            await driver.press("g")
            assert len(driver.app.screen_stack) == 2  # asks for the name of a group

    drive(flow)


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ('[keymap]\n"pairs.kep" = "x"\n', ("[keymap] pairs.kep", "did you mean `pairs.keep`?")),
        ('[keymap]\n"pairs.drop" = "e"\n', ("[keymap] pairs.drop", "`pairs.edit`")),
        ('[keymap]\n"pairs.drop" = "ctlr+x"\n', ("[keymap] pairs.drop", "did you mean `ctrl+x`?")),
        ('[interface]\ntheme = "harier-dark"\n', ("[interface] theme", "did you mean `harrier-dark`?")),
    ],
)
def test_config_validate_knows_keys_and_themes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, named: tuple[str, ...]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(toml, "utf-8")
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(file))
    with pytest.raises(ConfigError) as caught:
        configuring.validate(None, as_json=False)
    for part in (str(file), *named):
        assert part in str(caught.value)
    assert file.read_text("utf-8") == toml


def test_config_validate_on_the_command_line_accepts_what_the_docs_show(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(keys_page.keys_page().split("```toml")[1].split("```")[0], "utf-8")
    result = run_command("config", "validate", HARRIER_STUDIO_CONFIG=str(file))
    assert (result.returncode, result.stderr) == (0, "")
    file.write_text('[keymap]\n"pairs.drop" = "e"\n', "utf-8")
    result = run_command("config", "validate", HARRIER_STUDIO_CONFIG=str(file))
    assert (result.returncode, result.stdout) == (3, "")
    assert "`pairs.drop`" in result.stderr and "`pairs.edit`" in result.stderr
