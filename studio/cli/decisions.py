"""`decide`: the ledger from the command line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.cli.output import emit, emit_json, emit_table, say
from studio.cli.reports import say_other_settings
from studio.errors import InputError, ProjectError, UsageError
from studio.project.explaining import find_row
from studio.project.ledger import Action, Decision, Target, in_force
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.verdicts import Verdict

_LISTED_IDS = 20
_NO_CHANGE = ("already so; nothing changed", "nothing can be brought back")


def decide(
    root: Path,
    auto: bool,
    source: Path | None,
    keep: list[str],
    drop: list[str],
    reason: str | None,
    undo: bool,
    redo: bool,
    list_: bool,
    as_json: bool,
) -> None:
    """`decide`: exactly one of the things it can do, or `--list` when none is named."""
    asked = [name for name, on in (("--auto", auto), ("--from", source), ("--undo", undo), ("--redo", redo)) if on]
    asked += ["--keep/--drop"] if keep or drop else []
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} cannot be asked for at once.", remedy="one command for each")
    project = Project.open(root)
    said: list[str] = []
    if asked:
        with project.locked():
            said = _act(project, auto, source, keep, drop, reason, undo)
    if as_json:
        emit_json(_listing(project) | {"done": said})
    elif list_ or not asked:
        _emit_listing(project)
    else:
        for line in said:
            emit(line)
        curated = project.curated()
        emit(f"{curated.kept.height:,} of {curated.rows.height:,} pairs kept")
        if said and not undo and said[-1] not in _NO_CHANGE:
            say(f"undo with: harrier-studio decide --undo --project {root}")


def _act(
    project: Project, auto: bool, source: Path | None, keep: list[str], drop: list[str], reason: str | None, undo: bool
) -> list[str]:
    if auto:
        say_other_settings(project)
        if not project.evidence.names():
            raise ProjectError(
                "There is no evidence to decide on.", where=str(project.root), remedy="run `harrier-studio check` first"
            )
        applied = apply_auto(project)
        lines = [f"{len(step.targets):,} rows: {step.action}, {step.reason}" for step in applied.steps]
        return [
            *(lines or ["nothing is in the auto band"]),
            *(_NO_CHANGE[:1] if applied.unchanged else ()),
        ]
    if source:
        requests = read_decisions(source, set(project.snapshot["row_id"]))
        for request in requests:
            project.ledger.append(
                request.action, request.targets, actor=request.actor, reason=request.reason, note=request.note
            )
        return [f"{len(requests):,} decisions appended from {source}"]
    if keep or drop:
        return _by_hand(project, keep, drop, reason)
    done = project.ledger.undo() if undo else project.ledger.redo()
    verb = "undone" if undo else "brought back"
    return [f"{verb}: {_words(decision)}" for decision in done] or [f"nothing can be {verb}"]


def _by_hand(project: Project, keep: list[str], drop: list[str], reason: str | None) -> list[str]:
    row_ids = project.snapshot["row_id"]
    lines = []
    asked = [
        (action, [row_ids[find_row(project, name)] for name in names])
        for action, names in ((Action.KEEP, keep), (Action.DROP, drop))
    ]
    for action, ids in asked:
        if ids:
            project.ledger.append(
                action, [Target(i) for i in ids], actor="person", reason=reason or f"{action} by hand"
            )
            lines.append(f"{len(ids):,} rows: {action}")
    return lines


@dataclass(frozen=True)
class Request:
    """A decision asked for by a line of a file."""

    action: Action
    targets: list[Target]
    actor: str
    reason: str
    note: str | None


def read_decisions(path: Path, known: set[str]) -> list[Request]:
    """Read decisions to append: JSON lines in the format of `decisions.jsonl`, of which only `action` and `row_ids`
    must be there. Lines that were undone in the file are left out.

    Raises:
        InputError: the file or a line cannot be used; nothing is appended then.
    """
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("The decisions cannot be read.", where=str(path), why=str(error)) from error
    log: list[Decision] = []
    requests: dict[int, Request] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}:{number}"
            record = _record(line, where)
            seq = _typed(record.get("seq", number), int, "seq", where)
            action = _action(record, where)
            undo_of = record.get("undo_of")
            log.append(Decision(seq, "", "", action, "", None, None, undo_of, 0))
            if action not in (Action.UNDO, Action.REDO):
                requests[seq] = _request(record, action, known, where)
    return [requests[decision.seq] for decision in in_force(log)]


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError("This line is not JSON.", where=where, why=str(error)) from error
    if not isinstance(record, dict):
        raise InputError("This line is not a JSON object.", where=where)
    return record


def _action(record: dict[str, Any], where: str) -> Action:
    name = record.get("action")
    if name not in list(Action):
        near = difflib.get_close_matches(str(name), list(Action), n=1)
        raise InputError(
            f"`{name}` is not an action.", where=where, remedy=f"use {near[0] if near else ', '.join(Action)}"
        )
    return Action(name)


def _request(record: dict[str, Any], action: Action, known: set[str], where: str) -> Request:
    row_ids = _typed(record.get("row_ids"), list, "row_ids", where)
    evidence = record.get("evidence") or {}
    columns = {}
    for name in ("keeper_id", "score", "value", "evidence"):
        column = evidence.get(name) if isinstance(evidence, dict) else None
        columns[name] = column if isinstance(column, list) else [record.get(name) if name != "evidence" else None]
        if len(columns[name]) != len(row_ids):
            columns[name] = columns[name][:1] * len(row_ids)
    for row_id in (*row_ids, *filter(None, columns["keeper_id"])):
        if row_id not in known:
            raise InputError(f"There is no row `{row_id}` in this project.", where=where)
    targets = [
        Target(row_id, *fields)
        for row_id, *fields in zip(
            row_ids, columns["keeper_id"], columns["score"], columns["value"], columns["evidence"], strict=True
        )
    ]
    _check_values(action, targets, where)
    return Request(
        action,
        targets,
        _typed(record.get("actor", "person"), str, "actor", where),
        _typed(record.get("reason", action.value), str, "reason", where),
        record.get("note"),
    )


def _check_values(action: Action, targets: Sequence[Target], where: str) -> None:
    for target in targets:
        if action is Action.REPOINT and not target.keeper_id:
            raise InputError("`repoint` needs a keeper_id.", where=where)
        if action in (Action.GROUP, Action.MOVE, Action.TAG, Action.UNTAG, Action.NOTE) and not isinstance(
            target.value, str
        ):
            raise InputError(f"`{action}` needs a value.", where=where)
        if action is Action.JUDGE and (not target.keeper_id or target.value not in list(Verdict)):
            raise InputError(
                "`judge` needs a keeper_id (the passage's row) and a verdict as value.",
                where=where,
                remedy=f"use one of {', '.join(Verdict)}",
            )
        if action is Action.ASK and not target.keeper_id:
            raise InputError("`ask` needs a keeper_id (the passage's row).", where=where)
        if action is Action.EDIT:
            _check_edit(target.value, where)


def _check_edit(value: str | None, where: str) -> None:
    try:
        fields = json.loads(value or "")
    except (TypeError, ValueError) as error:
        raise InputError("`edit` needs a value: a JSON object as text.", where=where, why=str(error)) from error
    kinds: dict[str, type] = {"query": str, "positive": str, "negatives": list}
    for name, text in fields.items() if isinstance(fields, dict) else [("", None)]:
        if name not in kinds or not isinstance(text, kinds[name]):
            raise InputError("`edit` can change query, positive (texts) and negatives (a list).", where=where)
        if isinstance(text, str) and not text.strip():
            raise InputError(
                f"`edit` would leave an empty {name}.", where=where, remedy="drop the row, or give it a text"
            )


def _typed(value: Any, kind: type, name: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"`{name}` must be {kind.__name__}, not {type(value).__name__}.", where=where)
    return value


def _listing(project: Project) -> dict[str, Any]:
    log = project.ledger.log()
    active = {decision.seq for decision in in_force(log)}
    targets = project.ledger.targets()
    ids = dict(targets.group_by("seq").agg("row_id").iter_rows())
    curated = project.curated()
    return {
        "kept": curated.kept.height,
        "rows": curated.rows.height,
        "decisions": [
            {
                "seq": d.seq,
                "time": d.time,
                "actor": d.actor,
                "action": d.action.value,
                "reason": d.reason,
                "rows": d.rows,
                "row_ids": ids.get(d.seq, [])[:_LISTED_IDS],
                "in_force": d.seq in active,
                "undo_of": d.undo_of,
                "note": d.note,
            }
            for d in log
        ],
    }


def _emit_listing(project: Project) -> None:
    log = project.ledger.log()
    active = {decision.seq for decision in in_force(log)}
    emit_table(
        ("seq", "time", "actor", "action", "rows", "reason", "in force"),
        [(d.seq, d.time, d.actor, d.action.value, d.rows, d.reason, "yes" if d.seq in active else "") for d in log],
    )
    if not log:
        say("no decision yet")


def _words(decision: Decision) -> str:
    return f"{decision.action}, {decision.reason}, {decision.rows:,} rows (decision {decision.seq})"
