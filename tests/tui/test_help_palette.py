"""Help and palette: both say what works where one is, as it is mapped now; the palette runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.command import CommandPalette
from textual.containers import ScrollableContainer
from textual.widgets import OptionList

from studio.project.project import Project
from studio.project.settings import InterfaceSettings, UserSettings, read_settings
from studio.tui.command import PANELS, keys_of
from studio.tui.help import HelpScreen, key_lines, shown_key, shown_keys
from studio.tui.panel import PanelScreen
from studio.tui.registry import all_commands
from tests.tui.driving import Driver, driving

ROWS = [(f"how do I pay bill number {n}?", f"Bill {n} is paid at the counter, or with a card.") for n in range(8)]
COMMANDS = {command.id: command for command in all_commands()}


def drive(flow: Callable[[], Any]) -> None:
    asyncio.run(flow())


def listed(driver: Driver) -> list[str]:
    """First lines of what the palette lists."""
    options = driver.app.screen.query_one(OptionList)
    return [
        str(options.get_option_at_index(at).prompt).split("\n")[0]  # a name, and its words below
        for at in range(options.option_count)
    ]


async def choose(driver: Driver, typed: str) -> list[str]:
    """Open the palette, type, take the first; what was listed."""
    await driver.press("ctrl+p")
    assert isinstance(driver.app.screen, CommandPalette)
    await driver.type(typed)
    names = listed(driver)
    await driver.press("enter")
    await driver.until(lambda: not isinstance(driver.app.screen, CommandPalette))
    await driver.settle()
    return names


def test_help_lists_the_words_and_all_keys_as_they_are_mapped(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root
    mine = UserSettings(keymap={"pairs.drop": "x,f6", "studio.undo": "Z"})

    async def flow() -> None:
        async with driving(root, (80, 24), settings=mine) as driver:
            sections = key_lines(driver.app.screen)
            assert [title for title, _ in sections] == ["Pairs", "Rows", "Everywhere"]
            pairs, rows, everywhere = (dict(lines) for _, lines in sections)
            assert pairs["x or f6"] == COMMANDS["pairs.drop"].help
            assert "d" not in pairs and "u or ctrl+z" not in everywhere
            assert everywhere["Z"] == COMMANDS["studio.undo"].help
            assert everywhere["? or f1"] and pairs[": or #"] and pairs["/"] and rows["↑"] and rows["pgdn"]
            for place, (_, lines) in zip(("pairs", "table", "studio"), sections, strict=True):
                there = [command for command in COMMANDS.values() if command.place == place]
                assert [words for _, words in lines] == [command.help for command in there]
            await driver.press("question_mark")
            assert isinstance(driver.app.screen, HelpScreen)
            assert "Pairs shows every row of your data" in driver.text
            assert "esc: close" in driver.text
            assert all(len(line) <= 80 for line in driver.text.split("\n"))
            scroll = driver.app.screen.query_one("#help-scroll", ScrollableContainer)
            assert scroll.has_focus and scroll.max_scroll_y > 0 and scroll.max_scroll_x == 0
            await driver.press("end")
            await driver.until(lambda: scroll.scroll_y == scroll.max_scroll_y)
            await driver.settle()
            assert COMMANDS["studio.quit"].help in driver.text
            await driver.press("question_mark")
            assert isinstance(driver.app.screen, PanelScreen)
            # While a text is typed, and while a list has the focus, the panel's keys are still what is explained.
            before = key_lines(driver.app.screen)
            await driver.press("slash", "f1")
            assert isinstance(driver.app.screen, HelpScreen)
            await driver.press("escape")
            assert key_lines(driver.app.screen) == before
            await driver.press("escape", "f")
            assert key_lines(driver.app.screen) == before

    drive(flow)


def test_help_of_every_panel_names_every_command_of_it(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            for number, (name, title, _) in enumerate(PANELS, 1):
                await driver.press(str(number))
                assert driver.app.current_mode == name
                sections = dict(key_lines(driver.app.screen))
                own = [command for command in COMMANDS.values() if command.place == name]
                assert [words for _, words in sections.get(title, [])] == [command.help for command in own]
                assert ("Rows" in sections) == (name == "pairs")
                assert "Everywhere" in sections

    drive(flow)


def test_help_in_the_vim_set(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root, settings=UserSettings(interface=InterfaceSettings(keys="vim"))) as driver:
            pairs, rows, _ = (dict(lines) for _, lines in key_lines(driver.app.screen))
            assert pairs["a"] == COMMANDS["pairs.keep"].help
            assert rows["↑ or k"] == COMMANDS["table.up"].help

    drive(flow)


def test_help_without_a_project_leaves_out_what_needs_one() -> None:
    async def flow() -> None:
        async with driving(None) as driver:
            lines = dict(dict(key_lines(driver.app.screen))["Everywhere"])
            assert COMMANDS["studio.quit"].help in lines.values()
            assert COMMANDS["studio.undo"].help not in lines.values()
            await driver.press("ctrl+p")
            assert not [name for name in listed(driver) if name.startswith("Go to") or "Undo" in name]

    drive(flow)


def test_the_palette_lists_what_makes_sense_and_runs_it(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root, settings=UserSettings(keymap={"pairs.drop": "x"})) as driver:
            session = driver.app.session
            assert session is not None
            await driver.press("ctrl+p")
            names = listed(driver)
            assert names[0] == "Pairs: Keep (k)" and "Pairs: Drop (x)" in names
            assert "Go to Duplicates (2)" in names and "Theme: harrier-light" in names
            assert "Quit (q or ctrl+q or ctrl+c)" in names and "Check (c)" in names
            # Not where one is, not what has nothing to do, not movement, not dialogs, not the palette itself.
            for absent in (
                "Go to Pairs",
                "Undo",
                "Redo",
                "Cancel",
                "Palette",
                "Row",
                "Yes",
                "Leave",
                "Theme: harrier-dark",
            ):
                assert not [name for name in names if name.startswith(absent)], absent
            assert len(names) == len(set(names))
            await driver.press("escape")

            names = await choose(driver, "drop")
            assert names[0] == "Pairs: Drop (x)"
            await driver.until(lambda: session.kept == len(ROWS) - 1)
            assert [shown.number for shown in session.shown(range(8)) if shown.by_person] == [1]

            assert "Undo (u or ctrl+z)" in await choose(driver, "undo")
            await driver.until(lambda: session.kept == len(ROWS))

            assert (await choose(driver, "go to dup"))[0] == "Go to Duplicates (2)"
            await driver.until(lambda: driver.app.current_mode == "duplicates")
            await driver.settle()
            await driver.press("ctrl+p")
            names = listed(driver)
            assert names[0].startswith("Duplicates: ") and not [name for name in names if name.startswith("Pairs:")]
            assert not [name for name in names if name in ("Duplicates: Up (k)", "Duplicates: First (g)")]
            await driver.press("escape")

            # From within the search line too: letters do not reach the panel there, but names do.
            await driver.press("1", "slash")
            await choose(driver, "mark all")
            await driver.until(lambda: len(session.marked) == len(ROWS))

    drive(flow)


def test_a_theme_is_changed_and_remembered(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(ROWS).root
    config = tmp_path / "config.toml"
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(config))

    async def flow() -> None:
        async with driving(root) as driver:
            assert (await choose(driver, "theme: harrier-light"))[0] == "Theme: harrier-light"
            await driver.until(lambda: driver.app.theme == "harrier-light")
            await driver.until(config.exists)

    drive(flow)
    assert read_settings(config, UserSettings).interface.theme == "harrier-light"


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_help_and_palette_fit_the_screen(make_project: Callable[..., Project], size: tuple[int, int]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root, size) as driver:
            await driver.press("question_mark")
            dialog = driver.app.screen.query_one(".dialog")
            assert driver.app.screen.region.contains_region(dialog.region)
            hint = driver.app.screen.query_one("#help-hint")
            assert dialog.region.contains_region(hint.region) and hint.region.height == 1
            keys = driver.app.screen.query_one("#help-keys")
            assert keys.region.right < driver.app.screen.query_one("#help-scroll").region.right
            await driver.press("escape", "ctrl+p")
            assert "Pairs: Keep (k)" in driver.text and COMMANDS["pairs.keep"].help in driver.text

    drive(flow)


def test_keys_are_shown_as_people_call_them() -> None:
    assert shown_key("question_mark") == "?"
    assert shown_key("ctrl+left_square_bracket") == "ctrl+["
    assert shown_key("escape") == "esc"
    assert shown_keys(("r", "f5")) == "r or f5"
    for keys in keys_of(COMMANDS.values(), vim=False).values():
        assert "_" not in shown_keys(keys)
