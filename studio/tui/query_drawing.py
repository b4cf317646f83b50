"""What is drawn of one query: its text, the passages that answer it, and what a system found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from studio.tui.cluster_drawing import count
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from studio.view.evaluated_pairs import QueryAnswer
    from studio.view.misses import SentMiss

_QUERY = 2_000
_GOLD = 1_500
_FOUND = 400
"""Characters of each text that are drawn."""
_REFUSED = 10


def query_content(found: QueryAnswer) -> Content:
    """The query, its id, its row in the project, and whether training has seen it."""
    row = "" if found.row is None else f" · row {found.row + 1:,}"
    lines = [Content.assemble(("query ", "bold"), safe_text(found.query_id, 80), row)]
    if found.leaked:
        lines.append(safe(f"⚑ leaked: {found.leaked}", 300).stylize("bold"))
    return Content("\n").join([*lines, safe_lines(found.text, _QUERY)])


def gold_content(found: QueryAnswer) -> Content:
    """The passages that answer, each with its grade and its place under every system."""
    lines = [Content.styled("gold", "bold underline")]
    for gold in found.gold:
        lines.append(Content.assemble((f"{_sign(gold.grade)} grade {gold.grade:g} ", "bold"),
                                      (_where(gold.passage_id, gold.row), "dim")))  # fmt: skip
        for system, place in zip(found.systems, gold.places, strict=True):
            words = "deeper than what was kept" if place is None else f"rank {place[0]:,}, score {place[1]:.3f}"
            lines.append(Content.assemble("  ", safe(system, 40), f": {words}"))
        text = "It is outside the corpus: no system can find it." if gold.text is None else gold.text
        lines += [safe_lines(text, _GOLD), Content("")]
    if not found.gold:
        lines.append(Content("No passage is known to answer it."))
    return Content("\n").join(lines)


def retrieved_content(found: QueryAnswer, at: int) -> Content:
    """The first passages of one system: rank, score, grade or that nobody judged it."""
    lines = [safe(found.systems[at], 60).stylize("bold underline")]
    for passage in found.found[at]:
        grade = "not judged" if passage.grade is None else f"grade {passage.grade:g}"
        lines.append(
            Content.assemble(
                (f"{passage.rank:>2} {_sign(passage.grade)} {passage.score:.3f} {grade} ", "bold"),
                (_where(passage.passage_id, passage.row), "dim"),
            )
        )
        lines += [safe_lines(passage.text, _FOUND), Content("")]
    if not found.found[at]:
        lines.append(Content("what it retrieved is not known"))
    return Content("\n").join(lines)


def _sign(grade: float | None) -> str:
    """● relevant, ○ judged and not relevant, ? not judged: readable without colour."""
    return "?" if grade is None else "●" if grade > 0 else "○"


def _where(passage_id: str, row: int | None) -> str:
    """The row, or what else the passage is found by."""
    return safe_text(passage_id, 24) if row is None else f"row {row + 1:,}"


def sent_words(sent: SentMiss) -> list[str]:
    """What sending a miss came to; the first line says it, the others why not all of it was sent."""
    if sent.to == "pairs":
        first = "marked in Pairs (filter tag:missed)" if sent.sent else "no row was marked"
    else:
        first = f"{count(sent.sent, 'passage')} of it wait in False negatives"
        first = first.replace("passage of it wait", "passage of it waits")
    lines = [first + (f"; {sent.already:,} there before" if sent.already else "")]
    lines += [f"not sent: {why}" for why in sent.refused[:_REFUSED]]
    if len(sent.refused) > _REFUSED:
        lines.append(f"… {len(sent.refused) - _REFUSED:,} more were not sent")
    return [*lines, *sent.notes]
