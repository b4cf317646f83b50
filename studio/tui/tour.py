"""The tour: six steps along the bottom of the screen, over the panels they speak of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from studio.tui.command import Command, bindings
from studio.tui.help import keys_now, shown_key

if TYPE_CHECKING:
    from studio.tui.app import StudioApp

TOUR = (
    Command("tour.next", "enter,right,space", "next", "Next", "Go on; after the last step the tour ends."),
    Command("tour.back", "backspace,left", "back", "Back", "One step back."),
    Command("tour.skip", "escape", "skip", "Leave", "End the tour; every decision made so far stays."),
)


@dataclass(frozen=True)
class TourStep:
    """One step: the panel it is over (None: any), its title, and its text with `{id of a command}` for keys."""

    panel: str | None
    title: str
    text: str


STEPS = (
    TourStep(
        "pairs",
        "Every pair is a row",
        "The letters at the right are what the checks found: capital letters are certain, small ones are for you to "
        "judge. {pairs.keep} keeps a row, {pairs.drop} drops it, {pairs.search} searches and {pairs.facets} filters "
        "with counts. The row under the cursor is shown in full, with the evidence.",
    ),
    TourStep(
        "duplicates",
        "Copies stand together",
        "Each cluster has one row that stays and rows that go. Nothing is decided yet: checks find, you decide. "
        "{duplicates.accept} accepts the cluster under the cursor, {duplicates.accept_all} all that are certain.",
    ),
    TourStep(
        "pairs",
        "Every step can be taken back",
        "A decision is saved the moment it is made; the line above the footer counts the steps. {studio.undo} undoes "
        "the latest, {studio.redo} brings it back, tomorrow too. The imported rows themselves never change.",
    ),
    TourStep(
        "prompts",
        "What the model really reads",
        "The prompt before a query is part of the training data. Here is the exact text and every token of a row, "
        "where it is cut, and which position becomes the embedding.",
    ),
    TourStep(
        "export",
        "The cleaned dataset",
        "What will be written, counted by reason, and then the files with an audit that says of every row why it "
        "stayed or went. It can be verified later, without this program's word for it.",
    ),
    TourStep(
        None,
        "Where to find the rest",
        "{studio.help} explains the panel in view and lists its keys, {studio.palette} finds any command by its name, "
        "the digits go from panel to panel. {studio.quit} leaves. Begin with {studio.pairs}, Pairs.",
    ),
)
_KEY = re.compile(r"\{([\w.]+)\}")


class Tour(ModalScreen[None]):
    """One step of the tour; the panel is seen above it."""

    BINDINGS = bindings(TOUR)
    # Not its default: the app's own rules for what is modal would win over that.
    CSS = """
    Tour {
        align: center bottom; background: transparent;
        #tour {
            width: 100%; max-width: 100; height: auto; max-height: 60%; margin-bottom: 1;
            background: $surface; border: round $accent; padding: 0 1;
        }
        #tour-title { text-style: bold; }
        #tour-keys { color: $foreground 70%; margin-top: 1; }
    }
    """

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self._at = at

    @property
    def at(self) -> int:
        """The place of the step that is shown, from 0."""
        return self._at

    def compose(self) -> ComposeResult:
        """Title, text, and the keys of the tour itself."""
        with Vertical(id="tour"):
            yield Static(id="tour-title", markup=False)
            yield Static(id="tour-text", markup=False)
            yield Static(id="tour-keys", markup=False)

    def on_mount(self) -> None:
        """Show the step."""
        self._show()

    def _show(self) -> None:
        step, keys = STEPS[self._at], first_keys(cast("StudioApp", self.app))
        self.query_one("#tour-title", Static).update(Content(f"{self._at + 1} of {len(STEPS)}  {step.title}"))
        self.query_one("#tour-text", Static).update(step_text(step, keys))
        first, last = self._at == 0, self._at == len(STEPS) - 1
        parts = [f"{keys['tour.next']}: {'end' if last else 'next'}"]
        if not first:
            parts.append(f"{keys['tour.back']}: back")
        if not last:
            parts.append(f"{keys['tour.skip']}: leave the tour")
        self.query_one("#tour-keys", Static).update(Content(" · ".join(parts)))

    def _go(self, at: int) -> None:
        """Show another step, over its panel."""
        panel = STEPS[at].panel
        studio = cast("StudioApp", self.app)
        if panel is None or studio.current_mode == panel:
            self._at = at
            self._show()
            return
        # Every panel has its own stack of screens: the tour leaves this one and comes back on the other.
        studio.pop_screen()
        studio.action_panel(panel)
        studio.push_screen(Tour(at))

    def action_next(self) -> None:
        """One step on."""
        if self._at + 1 < len(STEPS):
            self._go(self._at + 1)
        else:
            self.dismiss(None)

    def action_back(self) -> None:
        """One step back."""
        if self._at:
            self._go(self._at - 1)

    def action_skip(self) -> None:
        """End the tour."""
        self.dismiss(None)


def first_keys(studio: StudioApp) -> dict[str, str]:
    """The first key of every command, as it is mapped now and as a person calls it."""
    return {name: shown_key(keys[0]) for name, keys in keys_now(studio.user).items()}


def step_text(step: TourStep, keys: dict[str, str]) -> Content:
    """The text of a step with its keys in bold."""
    parts: list[str | tuple[str, str]] = []
    for number, part in enumerate(_KEY.split(step.text)):
        parts.append((keys[part], "bold") if number % 2 else part)
    return Content.assemble(*parts)
