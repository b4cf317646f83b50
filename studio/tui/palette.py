"""The command palette: every command that makes sense now, by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.types import IgnoreReturnCallbackType

from studio.tui.command import PANELS, Command
from studio.tui.help import PLACES, commands_in_view, keys_now, shown_keys

if TYPE_CHECKING:
    from studio.tui.app import StudioApp

_MOVING = frozenset({"up", "down", "left", "right", "first", "last", "page_up", "page_down"})
"""Names of commands that only move something: by name they are slower than by hand."""
_Item = tuple[str, str, IgnoreReturnCallbackType]


class StudioCommands(Provider):
    """Commands of the panel in view, of the studio, the panels, and the themes."""

    async def discover(self) -> Hits:
        """Everything, before anything is typed."""
        for name, words, run in self._all():
            yield DiscoveryHit(Content(name), run, text=name, help=Content(words))  # type: ignore[arg-type]

    async def search(self, query: str) -> Hits:
        """What matches; a name that holds the very words comes before one that merely has their letters."""
        matcher = self.matcher(query)
        typed = query.casefold()
        for name, words, run in self._all():
            score = matcher.match(name)
            if score > 0:
                score += 100 * (typed in name.casefold())
                yield Hit(score, matcher.highlight(name), run, text=name, help=Content(words))  # type: ignore[arg-type]

    def _all(self) -> Iterator[_Item]:
        """Name, words and what to run of every command: the panel's first, then panels, the rest, themes."""
        app = cast("StudioApp", self.app)
        keys = keys_now(app.user)
        panels = {f"studio.{name}": name for name, _, _ in PANELS}
        for place, commands in commands_in_view(app, self.screen).items():
            node: DOMNode = app if place == "studio" else self.screen
            for command in commands:
                if not _makes_sense(app, command) or panels.get(command.id) == getattr(self.screen, "place", None):
                    continue
                if command.id in panels:
                    name = f"Go to {command.label}"
                else:
                    name = command.label if place == "studio" else f"{PLACES.get(place, place)}: {command.label}"
                run = partial(app.run_action, command.action, node)
                yield f"{name} ({shown_keys(keys[command.id])})", command.help, cast(IgnoreReturnCallbackType, run)
        for theme in sorted(app.available_themes):
            if theme != app.theme:
                yield f"Theme: {theme}", "Change the colours and remember them.", partial(app.action_theme, theme)


def _makes_sense(app: StudioApp, command: Command) -> bool:
    """Whether a command does something if it is chosen by name now."""
    name = command.id.split(".", 1)[1]
    session = app.session
    if command.place == "table" or name in _MOVING or command.id == "studio.palette":
        return False
    if command.id == "studio.cancel":
        return app.job is not None
    if command.id == "studio.undo":
        return session is not None and session.undo_steps > 0
    if command.id == "studio.redo":
        return session is not None and session.redo_steps > 0
    return True
