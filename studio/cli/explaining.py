"""`check --explain`: everything known of one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.cli.output import emit, emit_json, emit_table, say
from studio.project.explaining import explain as explain_row
from studio.project.project import Project

_TEXT = 300
_CELL = 44
_EDGES = 30


def explain(root: Path, name: str, as_json: bool) -> None:
    """Print what is known of a row, and why it is or would be kept, changed or removed."""
    known = explain_row(Project.open(root), name)
    if as_json:
        emit_json(known)
        return
    row, outcome = known["row"], known["outcome"]
    emit(f"row {known['number']:,}  {row['row_id']}  {row['source']}  split {outcome['split'] or 'train'}")
    emit(f"query    {_cut(row['query'], _TEXT)}")
    emit(f"passage  {_cut(row['positive'], _TEXT)}")
    for negative in row["negatives"]:
        emit(f"negative {_cut(negative, _TEXT)}")
    emit()
    emit(f"now: {_now(outcome)}")
    emit(_would(known))
    if known["decisions"]:
        emit()
        emit_table(
            ("decision", "actor", "action", "reason", "keeper", "score"),
            [(d["seq"], d["actor"], d["action"], d["reason"], d["keeper_id"], d["score"]) for d in known["decisions"]],
        )
    if known["flags"]:
        emit()
        emit_table(
            ("flag of", "reason", "band", "score", "evidence"),
            [(f["check"], f["reason"], f["band"], f["score"], _cut(_words(f["evidence"]), 90)) for f in known["flags"]],
        )
    if known["edges"]:
        emit()
        emit_table(
            ("edge of", "role", "band", "held by", "score", "row", "only here ≠ only there", "its text"),
            [_edge_line(edge) for edge in known["edges"][:_EDGES]],
        )
        if len(known["edges"]) > _EDGES:
            say(f"{len(known['edges']) - _EDGES:,} more edges; --json prints all")
    if not known["flags"] and not known["edges"]:
        say("no check has anything to say of this row (or none has run)")


def _now(outcome: dict[str, Any]) -> str:
    if outcome["status"] == "kept":
        return "kept; no decision changes it"
    by = f", decision {outcome['decision_id']}" if outcome["decision_id"] is not None else ""
    keeper = f", in favour of {outcome['keeper_id']}" if outcome["keeper_id"] else ""
    return f"{outcome['status']}: {outcome['reason']}{keeper}{by}"


def _would(known: dict[str, Any]) -> str:
    """What `decide --auto` makes of the row, or why it leaves the row alone."""
    if known["would"]:
        steps = [
            f"{step['action']} ({step['reason']}"
            + (
                f", keeper {step['keeper_id']}, score {step['score']:.3f}"
                if step["keeper_id"] and step["score"]
                else ""
            )
            + ")"
            for step in known["would"]
        ]
        return f"by the auto band: {'; '.join(steps)}"
    if known["protected"]:
        return "by the auto band: nothing, its split is protected"
    people = [d for d in known["decisions"] if d["actor"].startswith("person")]
    if people:
        return f"by the auto band: nothing, a person decided (decision {people[-1]['seq']})"
    held = sorted({edge["rejected_by"] for edge in known["edges"] if edge["band"] == "review" and edge["rejected_by"]})
    return "by the auto band: nothing" + (f"; held for review by {', '.join(held)}" if held else "")


def _edge_line(edge: dict[str, Any]) -> tuple[Any, ...]:
    other = edge["other"]
    text = other["query"] if edge["role"] == "query" else other["positive"]
    details = edge["evidence"]
    held = edge["rejected_by"] or ""
    if "masked" in details:
        held = f"{held} (masked {details['masked']})".strip()
    if "case" in details:
        held = f"{details['kind']}, {details['case']}"
    if "axis" in details:
        held = f"{details['axis']}, {details['kind']}"
    return (
        *(edge["check"], edge["role"], edge["band"], held, edge["score"], other["number"]),
        _differs(details, edge["side"]),
        _cut(text, _CELL),
    )


def _differs(details: dict[str, Any], side: str) -> str:
    """The words that only this row has, and those that only the other one has, where the guard compared them."""
    if "only_a" not in details:
        return ""
    here, there = (" ".join(details[f"only_{name}"]) for name in (side, "b" if side == "a" else "a"))
    return f"{_cut(here, _CELL // 2) or '-'} ≠ {_cut(there, _CELL // 2) or '-'}"


def _words(evidence: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in evidence.items())


def _cut(text: str, size: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= size else line[: size - 1] + "…"
