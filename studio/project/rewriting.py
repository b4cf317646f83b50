"""Edits of many texts at once, asked for by a person: boilerplate cut out, personal data redacted, mojibake mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from studio.errors import ProjectError
from studio.pairs.texts import texts_where
from studio.progress import Progress, silent
from studio.project.curate import REWRITE_ACTOR
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.text.pii import Kind, may_hold, redacted
from studio.text.quality_marks import may_be_mojibake, mended
from studio.text.segments import Span, without

_STEP = 10_000


class Rewrite(StrEnum):
    """What can be done to texts."""

    BOILERPLATE = "boilerplate"
    """Cut lines and sentences that many passages share (evidence of the check `boilerplate`)."""
    PII = "pii"
    """Put [CPF], [EMAIL], … in the place of personal data."""
    MOJIBAKE = "mojibake"
    """Undo wrong decodings."""


@dataclass(frozen=True)
class Rewritten:
    """One text before and after. `column`: query, positive or negatives."""

    row_id: str
    column: str
    before: str
    after: str


def plan_rewrite(
    project: Project, kind: Rewrite, kinds: Sequence[Kind] = tuple(Kind), progress: Progress = silent
) -> list[Rewritten]:
    """Say what the rewrite would change in the kept rows, as they are after all decisions in force.

    Args:
        kinds: personal data to redact; only for `Rewrite.PII`.

    Raises:
        ProjectError: the check `boilerplate` has not looked at these rows.
    """
    rows = project.curated().kept.select("row_id", "query", "positive", "negatives")
    if kind is Rewrite.BOILERPLATE:
        return _without_boilerplate(project, rows)
    if kind is Rewrite.PII:
        return _changed(rows, lambda text: may_hold(text, kinds), lambda text: redacted(text, kinds), progress)
    return _changed(rows, may_be_mojibake, mended, progress)


def apply_rewrite(project: Project, kind: Rewrite, changes: Sequence[Rewritten]) -> int:
    """Append the planned changes as one decision, which `undo` takes back; return how many rows it edits.

    The caller holds the project's lock.
    """
    kept = project.curated().kept
    negatives: dict[str, list[str]] = dict(kept.select("row_id", "negatives").iter_rows())
    values: dict[str, dict[str, str | list[str]]] = {}
    for change in changes:
        value = values.setdefault(change.row_id, {})
        if change.column == "negatives":
            texts = negatives[change.row_id]
            texts[texts.index(change.before)] = change.after
            value["negatives"] = texts
        else:
            value[change.column] = change.after
    targets = [Target(row_id, value=json.dumps(value, ensure_ascii=False)) for row_id, value in values.items()]
    if targets:
        reason = f"rewrite_{kind.value}"
        project.ledger.append(Action.EDIT, targets, actor=f"{REWRITE_ACTOR}-{kind.value}@1", reason=reason)
    return len(targets)


def _without_boilerplate(project: Project, rows: pl.DataFrame) -> list[Rewritten]:
    stored = project.evidence.load("boilerplate")
    if stored is None or stored.snapshot != project.settings.snapshot:
        raise ProjectError(
            "`boilerplate` has not looked at these rows.",
            where=str(project.root),
            remedy=f"run `harrier-studio check boilerplate --project {project.root}` first",
        )
    flags = stored.evidence.flags.select("row_id", "evidence")
    imported = project.snapshot.select("row_id", imported="positive")
    # Spans are places in the imported text: a passage that says something else now is left alone.
    same = rows.join(flags, on="row_id", maintain_order="left").join(imported, on="row_id", maintain_order="left")
    changes = []
    for row_id, text, evidence in (
        same.filter(pl.col("positive") == pl.col("imported")).select("row_id", "positive", "evidence").iter_rows()
    ):
        spans: list[Span] = [tuple(span) for span in json.loads(evidence)["spans"]]
        left = without(text, spans)
        # A passage that is nothing but boilerplate stays as it is: an empty passage answers nothing.
        if left.strip() and left != text:
            changes.append(Rewritten(row_id, "positive", text, left))
    return changes


def _changed(
    rows: pl.DataFrame, suspected: Callable[[pl.Expr], pl.Expr], change: Callable[[str], str], progress: Progress
) -> list[Rewritten]:
    """Apply `change` to every suspected text; each distinct text is looked at once."""
    texts = texts_where(rows, suspected).select("row_id", "column", "text")
    seen: dict[str, str] = {}
    changes = []
    for done, (row_id, column, before) in enumerate(texts.iter_rows()):
        if before not in seen:
            seen[before] = change(before)
        if seen[before] != before and seen[before].strip():
            changes.append(Rewritten(row_id, column, before, seen[before]))
        if done % _STEP == 0:
            progress("rewrite texts", done, texts.height)
    return changes


def rows_by_column(changes: Sequence[Rewritten]) -> Mapping[str, int]:
    """How many texts change in each column."""
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.column] = counts.get(change.column, 0) + 1
    return counts
