"""The facets: ways to divide the rows, with counts; enter adds a value to the filter or takes it away."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from studio.tui.safe import safe_text
from studio.view.facets import Facet, FacetValue
from studio.view.where import Length, Where

_COMPUTED = {
    "lang": ("languages", "language of each query", "Language"),
}
"""Facets that long work makes: job, title, name."""


class FacetList(OptionList):
    """Facets one under another. Hidden until asked for."""

    DEFAULT_CSS = """
    FacetList { display: none; width: 38; height: 1fr; }
    FacetList, FacetList:focus { border: none; border-right: solid $primary 50%; padding: 0; }
    """

    class Toggled(Message):
        """A value was chosen."""

        def __init__(self, key: str, value: str | tuple[Length, ...]) -> None:
            super().__init__()
            self.key, self.value = key, value

    class Compute(Message):
        """What a facet needs is to be worked out."""

        def __init__(self, job: str, title: str) -> None:
            super().__init__()
            self.job, self.title = job, title

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: list[tuple[str, FacetValue] | str | None] = []

    def show(self, facets: Sequence[Facet], where: Where) -> None:
        """Draw facets; what is in the filter has a tick."""
        standing = self.highlighted
        self._entries = []
        options: list[Option] = []
        for facet in facets:
            note = f" · {facet.note}" if facet.note else ""
            self._add(options, Content.styled(safe_text(f"{facet.name}{note}", 60), "bold"), None)
            for value in facet.values:
                self._add(options, _line(facet.key, value, where), (facet.key, value))
        known = {facet.key for facet in facets}
        for key, (job, _, name) in _COMPUTED.items():
            if key not in known:
                self._add(options, Content.styled(f"{name}: enter computes it", "italic"), job)
        self.clear_options()
        self.add_options(options)
        if self._entries:
            first = next((at for at, line in enumerate(self._entries) if line is not None), None)
            self.highlighted = standing if standing is not None and standing < len(self._entries) else first

    def _add(self, options: list[Option], content: Content, line: tuple[str, FacetValue] | str | None) -> None:
        options.append(Option(content, disabled=line is None))
        self._entries.append(line)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Say what was chosen."""
        event.stop()
        line = self._entries[event.option_index]
        if isinstance(line, str):
            title = next(title for job, title, _ in _COMPUTED.values() if job == line)
            self.post_message(self.Compute(line, title))
        elif line is not None:
            self.post_message(self.Toggled(line[0], line[1].value))


def _line(key: str, value: FacetValue, where: Where) -> Content:
    tick = "✓" if _chosen(key, value, where) else " "
    label = safe_text(value.label, 25)
    count = f"{value.count:,}"
    return Content(f" {tick} {label}{' ' * max(1, 31 - len(label) - len(count))}{count}")


def _chosen(key: str, value: FacetValue, where: Where) -> bool:
    if isinstance(value.value, tuple):
        return tuple(one for one in where.length if one.column == key) == value.value
    return value.value in where.values(key)
