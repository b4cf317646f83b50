"""The evaluations of a project as a list: one line each, without opening them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from studio.errors import InputError
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.requests import load_request, read_json
from studio.evaluation.storing import evaluation_folders


class EvaluationSummary(NamedTuple):
    """One evaluation in a list. None: not known, or not yet."""

    name: str
    state: str
    """`done`, `unfinished`, or `damaged` if its files cannot be read."""
    set: str
    """As it was asked for."""
    queries: int | None
    systems: int
    failed: int
    """Systems that could not be run."""
    metric: str
    best: str
    """The system that scored highest, of whatever class."""
    score: float | None
    made: str
    """When, ISO 8601 in UTC."""


def evaluation_summaries(project: Path) -> list[EvaluationSummary]:
    """Every evaluation of a project, the newest first; one that cannot be read does not hide the others."""
    found = [_one(folder) for folder in evaluation_folders(project)]
    return sorted(sorted(found, key=lambda one: one.name), key=lambda one: one.made, reverse=True)


def _one(folder: EvaluationFolder) -> EvaluationSummary:
    try:
        request = load_request(folder)
        asked = EvaluationSummary(
            folder.name, "unfinished", request.set_name, None, len(request.systems), 0, request.main, "", None,
            request.made,
        )  # fmt: skip
        if not folder.report.exists():
            return asked
        said = read_json(folder.report)
        scored = [(one["score"], one["name"]) for one in said["systems"] if one["score"] is not None]
        score, best = max(scored, default=(None, ""))
        failed = sum(bool(one["error"]) for one in said["systems"])
        return asked._replace(
            state="done", queries=said["set"]["size"], failed=failed, metric=said["metric"], best=best, score=score
        )
    except (InputError, KeyError, TypeError):
        return EvaluationSummary(folder.name, "damaged", "", None, 0, 0, "", "", None, "")
