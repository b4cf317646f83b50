"""`?`: what the place in view is for, and every key that works there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import ScrollableContainer, Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from studio.project.settings import UserSettings
from studio.tui.command import PANELS, SIGNS, Command, bindings, keymap, keys_of, split_keys
from studio.tui.table import PairTable

if TYPE_CHECKING:
    from studio.tui.app import StudioApp

HELP = (Command("help.close", "escape,q,question_mark,f1", "close", "Close", "Close the help."),)
PLACES: Mapping[str, str] = {
    **{name: title for name, title, _ in PANELS},
    "table": "Rows",
    "studio": "Everywhere",
    "welcome": "First screen",
    "import": "Import",
    "edit": "Editing a row",
    "contract": "Editing the prompts",
    "histogram": "Lengths",
    "log": "Log of a run",
    "matrix": "Choosing rows of the matrix",
    "query": "A query in full",
    "asked": "Asking what to evaluate",
    "confirm": "Yes or no",
    "dialog": "Other dialogs",
    "path": "Asking for a path",
    "tell": "Reading a text",
    "tour": "Tour",
    "help": "Help",
}
"""What a person calls the places of commands, in the order of the docs."""
_WITHOUT_PROJECT = frozenset({"studio.help", "studio.palette", "studio.quit", "studio.cancel"})


class HelpScreen(ModalScreen[None]):
    """The help of one screen."""

    BINDINGS = bindings(HELP)
    DEFAULT_CSS = """
    HelpScreen {
        .dialog { height: 90%; }
        #help-scroll { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; padding-right: 1; }
        #help-words { margin-bottom: 1; }
        #help-hint { color: $foreground 70%; }
    }
    """

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._about = about

    def compose(self) -> ComposeResult:
        """The words of the place, then its keys."""
        words = _flowing(getattr(self._about, "HELP_TEXT", ""))
        with Vertical(classes="dialog wide"):
            with ScrollableContainer(id="help-scroll"):
                if words:
                    yield Static(Content(words), id="help-words")
                yield Static(_drawn(key_lines(self._about)), id="help-keys")
            close = keys_now(cast("StudioApp", self.app).user).get(HELP[0].id, split_keys(HELP[0].keys))
            yield Static(Content(f"↑ ↓ pgup pgdn: read on · {shown_keys(close[:1])}: close"), id="help-hint")

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def key_lines(screen: Screen[Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything that works on `screen` now, as it is mapped now: (title, [(keys, words)]), its own first.

    The commands are those of the registry: what is bound under the focus at the moment would leave out the letters
    while text is typed, and the table while a list has the focus.
    """
    studio = cast("StudioApp", screen.app)
    keys = keys_now(studio.user)
    return [
        (PLACES.get(place, place), [(shown_keys(keys[command.id]), command.help) for command in commands])
        for place, commands in commands_in_view(studio, screen).items()
    ]


def commands_in_view(studio: StudioApp, screen: Screen[Any]) -> dict[str, list[Command]]:
    """Place → commands that work while `screen` is in view: its own, those of the table, those of the studio."""
    from studio.tui.registry import all_commands

    places = [*_own_places(screen), *(["table"] if screen.query(PairTable) else []), "studio"]
    found: dict[str, list[Command]] = {place: [] for place in places}
    for command in all_commands():
        if command.place in found and (studio.session is not None or _needs_no_project(command)):
            found[command.place].append(command)
    return {place: commands for place, commands in found.items() if commands}


def keys_now(user: UserSettings) -> dict[str, tuple[str, ...]]:
    """Id → keys of every command, as the person has mapped them."""
    from studio.tui.registry import all_commands

    commands, vim = all_commands(), user.interface.keys == "vim"
    changed = keymap(commands, user.keymap, vim, "config.toml")
    return {**keys_of(commands, vim=False), **{name: split_keys(keys) for name, keys in changed.items()}}


def _own_places(screen: Screen[Any]) -> list[str]:
    bound = [binding for kind in type(screen).__mro__ for binding in kind.__dict__.get("BINDINGS", ())]
    return sorted({binding.id.split(".", 1)[0] for binding in bound if binding.id})


def _needs_no_project(command: Command) -> bool:
    return command.place != "studio" or command.id in _WITHOUT_PROJECT


def _flowing(words: str) -> str:
    """Words without the line breaks of the source: a new line begins where a sentence, or a list of signs, ended."""
    lines: list[str] = []
    for line in words.strip().split("\n"):
        if lines and not lines[-1].rstrip().endswith((".", ":", "!", "?")):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    return "\n".join(lines)


def _drawn(sections: list[tuple[str, list[tuple[str, str]]]]) -> Table:
    """Two columns; words that are too long go on below themselves, not below the keys."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, min_width=14, overflow="fold")
    table.add_column(overflow="fold", ratio=1)
    for at, (title, lines) in enumerate(sections):
        if at:
            table.add_row("")
        table.add_row(Text(title, style="bold"))
        for keys, words in lines:
            table.add_row(Text(f"  {keys}"), Text(words))
    return table


_SHOWN = {
    **SIGNS,
    "escape": "esc", "pageup": "pgup", "pagedown": "pgdn", "up": "↑", "down": "↓", "left": "←", "right": "→",
}  # fmt: skip


def shown_key(key: str) -> str:
    """A key as a person calls it."""
    *modifiers, name = key.split("+")
    return "+".join([*modifiers, _SHOWN.get(name, name)])


def shown_keys(keys: tuple[str, ...]) -> str:
    """Keys as a person calls them, any of which does."""
    return " or ".join(map(shown_key, keys))
