"""Everything a project knows of one row, and why it is, or would be, kept, changed or removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from studio.errors import UsageError
from studio.project.evidence import StoredEvidence
from studio.project.ledger import in_force
from studio.project.project import Project
from studio.project.rules import proposed
from studio.project.splitting import TRAIN


def find_row(project: Project, name: str) -> int:
    """Position of a row given by its row_id, or by its number from 1.

    Raises:
        UsageError: there is no such row.
    """
    ids = project.snapshot["row_id"]
    place = ids.index_of(name)
    if place is not None:
        return int(place)
    if name.isdecimal() and 1 <= int(name) <= len(ids):
        return int(name) - 1
    raise UsageError(
        f"There is no row `{name}` in this project.", remedy="give a row's number or its row_id; `preview` shows both"
    )


def explain(project: Project, name: str) -> dict[str, Any]:
    """Collect what is known of a row as plain values.

    Keys: `row` (as imported), `outcome` (status, reason, keeper and decision now), `decisions` (in force, about this
    row), `would` (what `decide --auto` would do to it with the evidence there is), `flags`, `edges` (each with the
    other row's number and texts), `missing` (checks without evidence for these rows).

    Raises:
        UsageError: there is no such row.
    """
    number = find_row(project, name)
    row = project.snapshot.row(number, named=True)
    row_id = row["row_id"]
    curated = project.curated().rows.row(number, named=True)
    fresh = project.fresh_evidence()
    flags = [
        {"check": stored.check, **line, "evidence": json.loads(line["evidence"])}
        for stored in fresh
        for line in stored.evidence.flags.filter(pl.col("row_id") == row_id)
        .select("reason", "score", "band", "evidence")
        .iter_rows(named=True)
    ]
    return {
        "number": number + 1,
        "row": {key: row[key] for key in ("row_id", "query", "positive", "negatives", "split", "source")},
        "outcome": {key: curated[key] for key in ("status", "reason", "keeper_id", "decision_id", "split", "group_id")}
        | {"query": curated["query"], "positive": curated["positive"]},
        "decisions": _decisions(project, row_id),
        "would": _would(project, row_id),
        "protected": (curated["split"] or TRAIN) in project.settings.curation.protected_splits,
        "flags": flags,
        "edges": _edges(project, row_id, fresh),
    }


def _decisions(project: Project, row_id: str) -> list[dict[str, Any]]:
    active = {decision.seq: decision for decision in in_force(project.ledger.log())}
    targets = project.ledger.targets(active).filter(pl.col("row_id") == row_id)
    return [
        {"seq": seq, "actor": active[seq].actor, "action": active[seq].action.value, "reason": active[seq].reason,
         "keeper_id": keeper_id, "score": score, "time": active[seq].time}
        for seq, keeper_id, score in targets.select("seq", "keeper_id", "score").iter_rows()
    ]  # fmt: skip


def _would(project: Project, row_id: str) -> list[dict[str, Any]]:
    return [
        {"action": step.action.value, "reason": step.reason, "keeper_id": target.keeper_id, "score": target.score}
        for step in proposed(project)
        for target in step.targets
        if target.row_id == row_id
    ]


def _edges(project: Project, row_id: str, fresh: Sequence[StoredEvidence]) -> list[dict[str, Any]]:
    """Edges of the row, and those of the row that stands first for its text (checks compare distinct texts)."""
    numbers = {other: number for number, other in enumerate(project.snapshot["row_id"], 1)}
    row = project.snapshot.row(numbers[row_id] - 1, named=True)
    first = {
        "query": project.snapshot.filter(pl.col("query") == row["query"])["row_id"][0],
        "passage": project.snapshot.filter(pl.col("positive") == row["positive"])["row_id"][0],
    }
    found = []
    for stored in fresh:
        for line in stored.evidence.edges.filter(
            pl.col("a_id").is_in([row_id, *first.values()]) | pl.col("b_id").is_in([row_id, *first.values()])
        ).iter_rows(named=True):
            mine = {row_id, first.get(line["role"], row_id)}
            if line["a_id"] not in mine and line["b_id"] not in mine:
                continue
            is_a = line["a_id"] in mine
            other = line["b_id"] if is_a else line["a_id"]
            if other == row_id:
                continue
            partner = project.snapshot.row(numbers[other] - 1, named=True)
            found.append(
                {
                    "check": stored.check,
                    "role": line["role"],
                    "side": "a" if is_a else "b",
                    "other": {"number": numbers[other], "row_id": other}
                    | {key: partner[key] for key in ("query", "positive", "split")},
                    "through": None if row_id in (line["a_id"], line["b_id"]) else first[line["role"]],
                    "score": line["score"],
                    "band": line["band"],
                    "rejected_by": line["rejected_by"],
                    "evidence": json.loads(line["evidence"]),
                }
            )
    return sorted(found, key=lambda edge: (-(edge["score"] or 0), edge["check"], edge["other"]["number"]))
