"""Two texts word by word: what only one of them has is marked by signs and weight, so that it shows without colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.text.diff import Part

# `studio.text.diff` brings numba along and is imported by the first comparison; its names of kinds are plain strings.
_SAME, _ONLY_A, _ONLY_B = "same", "only_a", "only_b"

COMPARED = 100_000
"""Characters of each text that are compared."""
SHOWN = 6_000
"""Characters that the pane draws of each text; in full there are more."""
SHOWN_IN_FULL = 50_000
_SIDE_BY_SIDE_FROM = 68
"""Width from which the texts stand beside each other."""
_FOLDED_FROM = 400
"""A run of equal text longer than this is folded in the pane, where so much that is the same would hide the rest."""
_LEFT_OF_FOLD = 120
_NAMED_MOST = 4
"""Differences of one kind that are named."""

_SIGNS = {_ONLY_A: ("[-", "-]"), _ONLY_B: ("{+", "+}")}
_COLOUR = {_ONLY_A: "$text-error", _ONLY_B: "$text-success"}
_WORDS = {
    "number": "numbers",
    "negation": "negation",
    "name": "names",
    "mark": "marks",
    "word": "words",
}
_GRAVE = frozenset({"number", "negation", "name", "mark"})
"""What changes the meaning of a sentence that is otherwise the same."""
_BOTH = frozenset({_SAME, _ONLY_A, _ONLY_B})


@dataclass(frozen=True)
class Compared:
    """Two texts and how they differ. `a` and `b` are as in the data; the titles and `facts` are ours."""

    title_a: str
    title_b: str
    a: str
    b: str
    facts: tuple[str, ...]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, titles: tuple[str, str], texts: tuple[str, str], facts: Iterable[str]) -> Compared:
        """Compare; of very long texts the beginning. Takes milliseconds, for long texts more: call it in a thread."""
        from studio.text.diff import word_diff

        a, b = texts
        return cls(*titles, a, b, tuple(facts), tuple(word_diff(a[:COMPARED], b[:COMPARED])))

    def in_full(self) -> Content:
        """Facts, differences and both texts in one, nothing folded."""
        legend = f"[-only {self.title_a}-]  {{+only {self.title_b}+}}"
        return Content("\n").join(
            [*map(safe, self.facts), differences(self.parts), safe(legend).stylize("dim"), Content(""),
             drawn(self.parts, _BOTH, SHOWN_IN_FULL, fold=False), *self._cut()]
        )  # fmt: skip

    def _cut(self) -> Iterator[Content]:
        longest = max(len(self.a), len(self.b))
        if longest > COMPARED:
            yield Content.styled(f"… compared: the first {COMPARED:,} of {longest:,} characters", "dim italic")


def differences(parts: Sequence[Part]) -> Content:
    """Name what differs and matters, by kind: `numbers: 8.112 / 8.666`."""
    if all(part.kind == _SAME for part in parts):
        return Content("the texts are equal, character by character")
    lines: list[Content] = []
    for why, name in _WORDS.items():
        sides = [_named(parts, kind, why) for kind in (_ONLY_A, _ONLY_B)]
        if any(sides):
            style = "bold reverse" if why in _GRAVE else "bold"
            said = " / ".join(side or "none" for side in sides)
            lines.append(Content.assemble((f" {name} " if why in _GRAVE else f"{name}:", style), " ", said))
    return Content("  ").join(lines) if lines else Content("only case, spelling, punctuation or white space differ")


def _named(parts: Sequence[Part], kind: str, why: str) -> str:
    found = list(
        dict.fromkeys(
            safe_text((part.a or part.b).strip(), 30) for part in parts if (part.kind, part.why) == (kind, why)
        )
    )
    more = f" and {len(found) - _NAMED_MOST:,} more" if len(found) > _NAMED_MOST else ""
    return ", ".join(found[:_NAMED_MOST]) + more


def drawn(parts: Sequence[Part], kinds: frozenset[str], limit: int, *, fold: bool = True) -> Content:
    """Draw the parts of these kinds, at most `limit` characters of them, and say what was left out."""
    pieces: list[Content] = []
    left = limit
    chosen = [part for part in parts if part.kind in kinds]
    for at, part in enumerate(chosen):
        text = part.a or part.b
        if left <= 0:
            rest = sum(len(part.a or part.b) for part in chosen[at:])
            pieces.append(Content.styled(f"\n… {rest:,} characters more", "dim italic"))
            break
        if part.kind == _SAME and fold and len(text) > _FOLDED_FROM:
            before, after = _LEFT_OF_FOLD if at else 2 * _LEFT_OF_FOLD, _LEFT_OF_FOLD
            same = f" ⋯ {len(text) - before - after:,} characters the same ⋯ "
            pieces += [_plain(text[:before]), Content.styled(same, "dim italic"), _plain(text[-after:])]
            left -= before + after
            continue
        cut = text[:left]
        pieces.append(_plain(cut) if part.kind == _SAME else _marked(part, cut))
        left -= len(text)
        if len(cut) < len(text):
            pieces.append(Content.styled(f"… {len(text) - len(cut):,} characters more here", "dim italic"))
    return Content("").join(pieces)


def _plain(text: str) -> Content:
    return Content("\n").join([safe(line) for line in text.split("\n")])


def _marked(part: Part, text: str) -> Content:
    """One difference between signs; white space around it stays outside them, unless there is nothing else."""
    before, after = _SIGNS[part.kind]
    colour = _COLOUR[part.kind]
    core = text.strip()
    if not core:
        return Content.styled(f"{before}{safe_text(text).replace(' ', '␠')}{after}", f"bold {colour}")
    head, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    weight = "bold reverse" if part.why in _GRAVE else "bold underline" if part.why else "underline"
    return Content.assemble(
        _plain(head), (before, colour), _plain(core).stylize(f"{weight} {colour}"), (after, colour), _plain(tail)
    )


class DiffView(VerticalScroll, can_focus=True):
    """Two texts side by side, or in one where there is no room for two."""

    DEFAULT_CSS = """
    DiffView {
        padding: 0 1;
        & > Static { height: auto; }
        & > #facts { margin-bottom: 1; }
        & > #texts { height: auto; }
        & #a, & #b { width: 1fr; height: auto; }
        & #b { margin-left: 2; }
        &.-inline #b { display: none; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._compared: Compared | None = None

    def compose(self) -> ComposeResult:
        """What is known of the two, then the texts."""
        yield Static(id="facts", markup=False)
        with Horizontal(id="texts"):
            yield Static(id="a", markup=False)
            yield Static(id="b", markup=False)

    def show(self, compared: Compared | None, instead: str = "") -> None:
        """Show a comparison, or a sentence instead."""
        self._compared = compared
        self.scroll_home(animate=False)
        self._draw(instead)

    def on_resize(self, event: events.Resize) -> None:
        """Take the room there is."""
        inline = event.size.width < _SIDE_BY_SIDE_FROM
        if inline != self.has_class("-inline"):
            self.set_class(inline, "-inline")
            if self._compared:
                self._draw()

    def _draw(self, instead: str = "") -> None:
        facts, a, b = (self.query_one(f"#{name}", Static) for name in ("facts", "a", "b"))
        compared = self._compared
        self.query_one("#texts").display = compared is not None
        if compared is None:
            facts.update(safe(instead))
            return
        cut = max(len(compared.a), len(compared.b)) > SHOWN
        more = [Content.styled("long texts, shown in part; v: in full", "italic")] if cut else []
        facts.update(Content("\n").join([*map(safe, compared.facts), differences(compared.parts), *more]))
        if self.has_class("-inline"):
            legend = Content.assemble(
                ("[-", _COLOUR[_ONLY_A]), f"only {compared.title_a}", ("-]", _COLOUR[_ONLY_A]), "  ",
                ("{+", _COLOUR[_ONLY_B]), f"only {compared.title_b}", ("+}", _COLOUR[_ONLY_B]),
            )  # fmt: skip
            a.update(Content("\n").join([legend, drawn(compared.parts, _BOTH, SHOWN)]))
            return
        for pane, title, kind in ((a, compared.title_a, _ONLY_A), (b, compared.title_b, _ONLY_B)):
            text = drawn(compared.parts, frozenset({_SAME, kind}), SHOWN)
            pane.update(Content("\n").join([Content.styled(title, "bold"), text]))
