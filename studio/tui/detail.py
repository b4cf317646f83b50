"""One row in full: its texts, what was found about it and what was decided."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import polars as pl
from textual.content import Content

from studio.tui.safe import LINES_LIMIT, safe, safe_lines, safe_text
from studio.view.bench import STATUSES
from studio.view.marks import spelled
from studio.view.session import Shown
from studio.view.where import Where

if TYPE_CHECKING:
    from studio.view.evidence import Edge, RowEvidence

_SIGNS = ("○", "✗", "✎", "→")
_OTHER = 160
_EDGES = 12
_NEGATIVES = 12
_MARKED = 100


def detail_content(
    shown: Shown, mask: int | None, evidence: RowEvidence | None, where: Where, *, limit: int = LINES_LIMIT
) -> Content:
    """Draw a row.

    Args:
        mask: what the checks say of it (`view.marks`), shown until `evidence` is there; None if that is not known.
        evidence: None while the engine is being asked.
        where: the filter, whose words are marked in the texts.
    """
    lines = [_head(shown)]
    if shown.keeper_id:
        lines.append(safe(f"   in favour of {shown.keeper_id}", 100))
    lines += _text("query", shown.query, shown.row.query, where, limit)
    lines += _text("passage", shown.positive, shown.row.positive, where, limit)
    for at, negative in enumerate(shown.negatives[:_NEGATIVES], 1):
        lines += _text(f"negative {at}", negative, negative, where, limit)
    if len(shown.negatives) > _NEGATIVES:
        lines += [
            Content(""),
            Content.styled(f"… showing {_NEGATIVES} of {len(shown.negatives):,} negatives", "dim italic"),
        ]
    if shown.tags:
        lines += [Content(""), Content.assemble(("tags ", "bold"), safe_text(", ".join(shown.tags), 300))]
    if shown.notes:
        lines += [Content(""), Content.assemble(("note ", "bold"), safe_text(shown.notes[-1], 2_000))]
    lines += [Content("")]
    lines += _marks(mask) if evidence is None else _evidence(evidence)
    return Content("\n").join([*lines, Content(""), *_facts(shown)])


def _head(shown: Shown) -> Content:
    status = STATUSES[shown.status].value
    reason = f": {shown.reason.replace('_', ' ')}" if shown.reason != status else ""
    return Content.assemble(
        (f"row {shown.number:,}", "bold"), f"  {_SIGNS[shown.status]} {status}{safe_text(reason, 80)}"
    )


def _text(name: str, text: str, imported: str, where: Where, limit: int) -> Iterator[Content]:
    words = len(text.split())
    changed = "" if text == imported else "  ✎ not as imported"
    yield Content("")
    yield Content.assemble((name, "bold"), (f"  {len(text):,} characters · {words:,} words{changed}", "dim"))
    yield _found(safe_lines(text, limit), where)


def _found(content: Content, where: Where) -> Content:
    """Mark what was searched for, underlined and bold so that it shows without colour.

    The engine's regular expressions take linear time; Python's may take for ever, so they are given its matches only.
    """
    if not where.text:
        return content
    words = [where.text]
    if where.regex:
        shown = pl.Series([content.plain])
        words = shown.str.extract_all(f"(?i){where.text}").explode().drop_nulls().unique().head(_MARKED).to_list()
    if not any(words):
        return content
    pattern = re.compile("|".join(re.escape(word) for word in words if word), re.IGNORECASE)
    return content.highlight_regex(pattern, style="bold underline")


def _marks(mask: int | None) -> Iterable[Content]:
    if mask is None:
        return [Content.styled("reading the evidence …", "dim")]
    names = ", ".join(spelled(mask))
    return [Content.styled(f"found by {names} …" if names else "no check found anything here", "dim")]


def _evidence(evidence: RowEvidence) -> Iterator[Content]:
    if not (evidence.flags or evidence.edges):
        yield Content.styled("no check found anything here", "dim")
    else:
        yield Content.styled("evidence", "bold")
    for flag in evidence.flags:
        yield Content.assemble(f"• {_words(flag.check)}: {safe_text(flag.words, 120)}", _band(flag.band))
    for edge in evidence.edges[:_EDGES]:
        yield from _edge(edge)
    if evidence.edge_count > _EDGES:
        yield Content.styled(f"  … showing {_EDGES} of {evidence.edge_count:,}", "dim")
    if evidence.decisions:
        yield Content("")
        yield Content.styled("decisions", "bold")
    for decision in evidence.decisions:
        who = "you" if decision.actor.startswith("person") else decision.actor
        keeper = "" if decision.keeper is None else f" · row {decision.keeper + 1:,} stands for it"
        note = f" · {decision.note}" if decision.note else ""
        when = decision.time[:16].replace("T", " ")
        words = f"• {decision.action}: {decision.reason.replace('_', ' ')}{keeper} · {who} · {when}{note}"
        yield safe(words, 300)
    if evidence.answers_with_count:
        others = ", ".join(f"{position + 1:,}" for position in evidence.answers_with[:10])
        more = " …" if evidence.answers_with_count > 10 else ""
        yield Content("")
        yield Content.assemble(("answers with ", "bold"), f"rows {others}{more}")


def _edge(edge: Edge) -> Iterator[Content]:
    score = "" if edge.score is None else f" · {edge.score:.2f}"
    what = f"• {_words(edge.check)} of row {edge.other.position + 1:,} ({edge.role}){score}"
    yield Content.assemble(what, _band(edge.band))
    if edge.held:
        differing = " ".join(
            [*(f"-{word}" for word in edge.only_here[:4]), *(f"+{word}" for word in edge.only_there[:4])]
        )
        yield Content(f"    held: {safe_text(edge.held, 80)}  {safe_text(differing, 120)}".rstrip())
    yield Content.styled(
        "    " + safe_text(edge.other.query if edge.role == "query" else edge.other.positive, _OTHER), "dim"
    )


def _band(band: str) -> tuple[str, str]:
    words = {"auto": "  certain", "review": "  for you to judge"}
    return (words.get(band, "  noted"), "italic")


def _facts(shown: Shown) -> Iterator[Content]:
    row = shown.row
    facts = {
        "source": row.source, "split": shown.split, "group": row.group, "label": row.label,
        "score": None if row.score is None else f"{row.score:g}", "row_id": row.row_id, "meta": row.meta,
    }  # fmt: skip
    for name, value in facts.items():
        if value is not None:
            yield Content.assemble((f"{name} ", "dim"), safe_text(value, 500))


def _words(code: str) -> str:
    return safe_text(code.replace("_", " "), 80)
