"""What every panel shares: header, tabs, footer, themes, leaving; and that all of it agrees with the registry."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

import studio.tui
from studio.errors import ConfigError
from studio.project.project import Project
from studio.project.settings import InterfaceSettings, UserSettings
from studio.tui.app import RunningJob, StudioApp
from studio.tui.command import DIALOGS, PANELS, key_name
from studio.tui.dialogs import Confirm
from studio.tui.panel import PanelScreen, Tabs
from studio.tui.registry import all_commands, panel_screens
from tests.tui.driving import Driver, driving

ROWS = [(f"how do I pay bill number {n}?", f"Bill {n} is paid at the counter, or with a card.") for n in range(8)]
COMMANDS = {command.id: command for command in all_commands()}
GREY = re.compile(r"fill: ?#([0-9a-f]{6})|fill=\"#([0-9a-f]{6})\"")


def drive(flow: Callable[[], Any]) -> None:
    asyncio.run(flow())


def classes() -> Iterator[type[DOMNode]]:
    """Every widget, screen and app of the studio."""
    seen: set[type] = set()
    for module in pkgutil.iter_modules(studio.tui.__path__, "studio.tui."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__.startswith("studio.tui.") and issubclass(kind, DOMNode) and kind not in seen:
                seen.add(kind)
                yield kind


def own_bindings(kind: type[DOMNode]) -> list[Binding]:
    return list(Binding.make_bindings(kind.__dict__.get("BINDINGS", [])))


def lines(driver: Driver) -> list[str]:
    return driver.text.split("\n")


def footer(driver: Driver) -> dict[str, str]:
    """Action → label of what the footer shows."""
    keys = driver.app.screen.query_one(Footer).query(FooterKey)
    return {key.action: key.description for key in keys}


def test_number_keys_clicks_and_header(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            assert "test" in lines(driver)[0] and "8 of 8 pairs kept" in lines(driver)[0]
            assert "model harrier-tiny" in lines(driver)[0]
            for number, (name, title, _) in enumerate(PANELS, 1):
                await driver.press(str(number))
                assert driver.app.current_mode == name
                assert isinstance(driver.app.screen, PanelScreen) and driver.app.screen.place == name
                assert f"[{number} {title}]" in lines(driver)[1]
                assert "8 of 8 pairs kept" in lines(driver)[0]
            for name, _, _ in reversed(PANELS):
                tabs = driver.app.screen.query_one(Tabs)
                [(at, text)] = [(at, text) for at, place, text in tabs._places() if place == name]
                await driver.pilot.click(Tabs, offset=(at + len(text) - 1, 0))
                await driver.until(lambda wanted=name: driver.app.current_mode == wanted)
                await driver.settle()
            await driver.press("d", "d")
            await driver.until(lambda: "6 of 8 pairs kept" in lines(driver)[0])
            await driver.until(lambda: "undo 2  redo 0  saved" in driver.text)
            await driver.press("u")
            await driver.until(lambda: "7 of 8 pairs kept" in lines(driver)[0])
            await driver.press("2")
            assert "7 of 8 pairs kept" in lines(driver)[0]

    drive(flow)


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 40)])
def test_header_tabs_and_footer_fit(make_project: Callable[..., Project], size: tuple[int, int]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root, size) as driver:
            for number in range(1, 9):
                await driver.press(str(number))
                tabs = lines(driver)[1]
                for digit, (_, title, short) in enumerate(PANELS, 1):
                    assert f"{digit} {title if size[0] >= 100 else short}" in tabs, tabs
                assert len(tabs) <= size[0] and len(lines(driver)) <= size[1]
                assert "saved" in lines(driver)[-2]
                # `?` says the rest, so at least that must be in view.
                assert "Help" in lines(driver)[-1], lines(driver)[-1]

    drive(flow)


def test_footer_agrees_with_the_registry(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            for number, (name, _, _) in enumerate(PANELS, 1):
                await driver.press(str(number))
                wanted = {
                    command.action: command.label
                    for command in COMMANDS.values()
                    if command.footer and command.place in (name, "studio")
                }
                shown = {action.removeprefix("app."): label for action, label in footer(driver).items()}
                assert shown == wanted

    drive(flow)


def test_leaving_asks_only_while_something_would_be_lost(make_project: Callable[..., Project]) -> None:
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            app = driver.app
            app.job = RunningJob("check", "checks")
            await driver.pilot.press("q")
            await driver.until(lambda: isinstance(app.screen, Confirm))
            assert "“checks” is still running" in driver.text
            assert app.focused is not None and app.focused.id == "no"
            await driver.pilot.press("enter")
            await driver.until(lambda: not isinstance(app.screen, Confirm))
            assert app.is_running
            await driver.pilot.press("ctrl+q")
            await driver.until(lambda: isinstance(app.screen, Confirm))
            await driver.pilot.press("escape")
            await driver.until(lambda: not isinstance(app.screen, Confirm))
            app.job = None
            await driver.press("d")  # what was decided is saved, so there is nothing to ask
            await driver.pilot.press("q")
            await driver.until(lambda: app._exit)
        assert len(Project.open(root).ledger.active()) == 1

    drive(flow)


def test_without_colour_every_state_is_still_told(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    root = make_project(ROWS).root

    async def flow() -> None:
        async with driving(root) as driver:
            await driver.press("d", "k", "space")
            await driver.until(lambda: "7 of 8" in lines(driver)[0])
            await driver.settle()
            assert "[1 Pairs]" in driver.text
            for glyph in ("✗", "●", "○", "*"):
                assert glyph in driver.text
            drawn = driver.app.export_screenshot(simplify=True)
            # Not part of the screen: three buttons of the frame, and what the picture takes for "no colour of its own".
            colours = {one or other for one, other in GREY.findall(drawn)} - {"ff5f57", "febc2e", "28c840", "c5c8c6"}
            assert colours
            for colour in colours:
                parts = [int(colour[at : at + 2], 16) for at in (0, 2, 4)]
                assert max(parts) - min(parts) <= 2, colour

    drive(flow)


def test_an_unknown_theme_is_refused_by_name(make_project: Callable[..., Project]) -> None:
    with pytest.raises(ConfigError) as caught:
        StudioApp(make_project(ROWS).root, settings=UserSettings(interface=InterfaceSettings(theme="harier-dark")))
    assert "`harier-dark`" in caught.value.what and "`harrier-dark`" in (caught.value.remedy or "")


def test_a_wrong_keymap_is_refused_before_anything_is_drawn(make_project: Callable[..., Project]) -> None:
    with pytest.raises(ConfigError):
        StudioApp(make_project(ROWS).root, settings=UserSettings(keymap={"pairs.drop": "e"}))


def test_every_key_is_a_command_of_the_registry() -> None:
    for kind in classes():
        for binding in own_bindings(kind):
            assert binding.id, f"{kind.__name__}: {binding.key} cannot be remapped"
            assert binding.id in COMMANDS, f"{binding.id} of {kind.__name__} is not in registry.all_commands()"
            command = COMMANDS[binding.id]
            assert (binding.action, binding.description) == (command.action, command.label), binding.id
            assert binding.tooltip == command.help and binding.priority == command.priority, binding.id
            assert binding.key in {key_name(key) for key in command.keys.split(",")}, binding.id


def test_every_command_is_bound_somewhere_and_can_run() -> None:
    bound: dict[str, list[type[DOMNode]]] = {}
    for kind in classes():
        for binding in own_bindings(kind):
            bound.setdefault(binding.id or "", []).append(kind)
    for command in COMMANDS.values():
        assert command.id in bound, f"{command.id} is bound nowhere"
        method = command.action.split("(")[0]
        for kind in bound[command.id]:
            owner: type = StudioApp if method.startswith("app.") else kind
            assert hasattr(owner, f"action_{method.removeprefix('app.')}"), (command.id, kind.__name__)


def test_dialogs_are_those_whose_keys_work_alone() -> None:
    for kind in classes():
        if not issubclass(kind, Screen):
            continue
        for binding in own_bindings(kind):
            place = (binding.id or "").split(".")[0]
            assert (place in DIALOGS) == issubclass(kind, ModalScreen), (place, kind.__name__)


def test_the_order_of_panels_is_that_of_their_keys() -> None:
    assert list(panel_screens()) == [name for name, _, _ in PANELS]
    assert [COMMANDS[f"studio.{name}"].keys for name, _, _ in PANELS] == list("12345678")
    assert Path(studio.tui.__path__[0]).name == "tui"
