"""What the Duplicates panel draws: the line of a cluster, the line of a text in it, and what was found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from studio.tui.safe import safe, safe_text
from studio.view.session import EDITED, KEPT, MOVED, REMOVED

if TYPE_CHECKING:
    from studio.view.clusters import ClusterDetail, ClusterHead, Member, MemberEdge, ThresholdCounts
    from studio.view.threshold import Proposal

_STATUS = {KEPT: "kept", REMOVED: "dropped", EDITED: "edited", MOVED: "moved"}
_WOULD = {"repoint": "→ re-point", "drop": "✗ drop"}


class Pick(Static):
    """A word in a line that does what its command does when it is clicked."""

    def __init__(self, text: str, action: str, id: str | None = None) -> None:
        super().__init__(safe(text), id=id, markup=False)
        self._word, self._action = text, action

    def choose(self, chosen: bool) -> None:
        """Show whether this is the one that holds, without colour too."""
        self.update(Content.styled(f"[{self._word}]", "bold reverse") if chosen else Content(f" {self._word} "))

    async def on_click(self) -> None:
        """Do it."""
        await self.screen.run_action(self._action)


class Lines(OptionList):
    """A list whose lines are cut, not wrapped."""

    DEFAULT_CSS = """
    Lines {
        border: none; padding: 0; background: $background; text-wrap: nowrap; text-overflow: ellipsis;
        scrollbar-gutter: stable;
    }
    Lines:focus { border: none; }
    """

    def fill(self, lines: Sequence[Content], highlighted: int | None) -> None:
        """Show these lines, standing on one of them."""
        if self.has_class("short"):
            # Left to itself a list that may shrink counts the lines that its texts would take if they were wrapped.
            self.styles.height = max(1, len(lines))
        self.set_options([Option(line) for line in lines])
        self.highlighted = highlighted if lines else None
        if self.highlighted is not None:
            self.scroll_to_highlight()


def count(number: int, one: str, many: str = "") -> str:
    """A number and what is counted."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cluster_line(head: ClusterHead, width: int, *, decided: bool) -> Content:
    """One cluster: whether it is decided, rows in `width` columns, band, score, and the beginning of its text."""
    # No colours here: they would not be readable on the line under the cursor.
    if head.held:
        band, style = "? held", "bold"
    elif head.for_review:
        band, style = "~ near", ""
    else:
        band, style = "≈ auto", ""
    return Content.assemble(
        ("✓ " if decided else "  "),
        (f"{head.rows:>{width},} ", "bold"),
        (band, style),
        f" {head.score:.2f} ",
        safe(head.text, 200).stylize("dim" if decided else ""),
    )


def head_line(detail: ClusterDetail) -> Content:
    """The keeper and why it is it, how much there is, and what holds the cluster."""
    head, keeper = detail.head, detail.members[0]
    part = f" (showing {len(detail.members):,})" if len(detail.members) < head.members else ""
    held = f" · held: {', '.join(head.reasons)}" if head.held else ""
    counts = f"{count(head.members, 'text')}{part}, {count(head.rows, 'row')}"
    return safe(f"★ row {keeper.position + 1:,} is the keeper: {keeper.why} · {counts}{held}")


def member_line(member: Member, role: str, status: int) -> Content:
    """One text: row, rows like it, status now, score to the keeper, what the rule would do, the other text."""
    would = next((w for w in member.would if w.action in _WOULD), None)
    if would is not None:
        number = f" {would.rows:,} of {member.rows:,}" if would.rows < member.rows else ""
        words, style = _WOULD[would.action] + number, "bold"
    else:
        words, style = member.would[0].reason if member.would else "", ""
    more = f"+{member.rows - 1:,}" if member.rows > 1 else ""
    other = member.query if role == "passage" else member.positive
    return Content.assemble(
        ("★ " if member.is_keeper else "  ", "bold"),
        f"{member.position + 1:>6,} {more:<4} {_STATUS[status]:<7} ",
        "  — " if member.score is None else f"{member.score:.2f}",
        "  ",
        ("the keeper" if member.is_keeper and would is None else safe_text(words, 40), style),
        "  ",
        safe(other, 120).stylize("dim"),
    )


def facts_of(detail: ClusterDetail, keeper: Member, other: Member) -> list[str]:
    """What the check found about the two, in words."""
    if other is keeper:
        return [f"{count(keeper.rows, 'row')} with this very text, but for marks, case and spaces"]
    ends = {keeper.positions[0], keeper.position}, {other.positions[0], other.position}
    edge = next((e for e in detail.edges if _between(e, *ends)), None)
    if edge is None:
        return ["not near the keeper itself: it is in this cluster through another text"]
    kept, said = (edge.a_in_b, edge.b_in_a) if edge.a in ends[0] else (edge.b_in_a, edge.a_in_b)
    lines = [f"Jaccard {edge.jaccard:.3f}"]
    if kept is not None and said is not None:
        lines[0] += f" · {kept:.0%} of ★ is in the other, {said:.0%} of the other is in ★"
    held = edge.held.replace("held:", "held for review:")
    lines.append(f"? {held}" if held else "≈ auto: nothing but wording differs, the rule may decide")
    return lines


def _between(edge: MemberEdge, keeper: set[int], other: set[int]) -> bool:
    return (edge.a in keeper and edge.b in other) or (edge.b in keeper and edge.a in other)


def quoted(words: Sequence[str]) -> str:
    """The words that only one of two texts has."""
    return ", ".join(safe_text(word, 30) for word in words[:6]) or "nothing of its own"


def proposed_words(proposal: Proposal, counts: ThresholdCounts) -> str:
    """What accepting the auto band comes to; a row that is re-pointed and then dropped counts as dropped."""
    rows = {"edit": 0, "move": 0}
    for step in proposal.steps:
        rows[step.action] = rows.get(step.action, 0) + step.rows
    words = (
        (counts.queries_repointed, f"re-point {count(counts.queries_repointed, 'query', 'queries')}"),
        (counts.rows_removed, f"drop {count(counts.rows_removed, 'row')}"),
        (rows["edit"], f"take negatives out of {count(rows['edit'], 'row')}"),
        (rows["move"], f"move {count(rows['move'], 'row')} that leak"),
    )
    return ", ".join(text for number, text in words if number)
