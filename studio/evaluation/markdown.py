"""A report as Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from studio.evaluation.reporting import Report
from studio.evaluation.tables import Grid, cost_grid, heading, metrics_grid, slices_grid, systems_grid, verdicts
from studio.text.safe import visible

_MEANING = (
    "Δ is the difference of the means from the reference of the same class; its interval is a paired bootstrap, p a "
    "paired randomisation test corrected with Holm's method for the rows of the table; +/=/- counts the queries on "
    "which a system is better, as good and worse."
)
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|!&~$])")
"""Characters that Markdown, or the HTML in it, would obey."""


def markdown(report: Report) -> str:
    """The report as Markdown: the table, verdicts, subsets, other metrics, cost, slices and notes."""
    evaluated = report.evaluation.evaluated
    text = [f"# {_flat(heading(report))}", ""]
    if evaluated.about.trained_on:
        text += [f"**{_flat(evaluated.about.trained_on)}**", ""]
    text += _grid(systems_grid(report.table))
    text += [f"- {_flat(name)}: {_flat(said)}" for name, said in verdicts(report.table)]
    text += ["", _MEANING, ""]
    for table, title in ((report.clean, "Clean: not seen in training"), (report.overlap, "Leaked: seen in training")):
        if table is not None:
            text += _grid(systems_grid(table, f"{title}, {table.n:,} queries"))
    for grid in (metrics_grid(report), cost_grid(report), *(slices_grid(report, kind) for kind in report.sliced)):
        text += _grid(grid) if grid.lines else []
    notes = (*report.table.notes, *report.evaluation.notes, *evaluated.about.notes)
    text += [f"- {_flat(note)}" for note in notes]
    if report.evaluation.command:
        text += ["", "    " + visible(shlex.join(report.evaluation.command))]
    return "\n".join(text) + "\n"


def _grid(grid: Grid) -> list[str]:
    title = [f"## {_flat(grid.title)}", ""] if grid.title else []
    lines: Iterable[Sequence[str]] = grid.lines
    header: Sequence[str] = grid.header
    if grid.groups:
        header = ("class", *header)
        lines = [(group, *line) for group, line in zip(grid.groups, grid.lines, strict=True)]
    numbers = ["---"] * (2 if grid.groups else 1) + ["---:"] * (len(grid.header) - 1)
    return [*title, _row(header), "| " + " | ".join(numbers) + " |", *map(_row, lines), ""]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_flat, cells)) + " |"


def _flat(text: str) -> str:
    return _ACTIVE.sub(r"\\\1", visible(text))
