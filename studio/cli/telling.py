"""How evaluations are told on a terminal, as JSON and in files, whichever command made or opened them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from studio.cli.output import emit, emit_json, say
from studio.evaluation.markdown import markdown
from studio.evaluation.page import page
from studio.evaluation.reporting import Report, as_json, pair_of, report
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.tables import Grid, cost_grid, heading, metrics_grid, slices_grid, systems_grid, verdicts
from studio.files import write_text
from studio.text.safe import visible, width

_SHORTEST_NAME = 24
"""Columns that the names of lines get at least, where there are that many."""


class Show(NamedTuple):
    """How the outcome is told."""

    metric: str = ""
    references: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    markdown: Path | None = None
    html: Path | None = None
    per_query: bool = False
    as_json: bool = False


def tell(evaluations: Sequence[Evaluation], show: Show) -> None:
    """Print evaluations, and write the files asked for.

    Raises:
        UsageError: a system, metric or slice that is asked for is not there.
    """
    reports = [_report(one, show) for one in evaluations]
    for path, made in ((show.markdown, _markdown), (show.html, page)):
        if path is not None:
            write_text(path, made(reports))
            say(f"wrote {path}")
    if show.as_json:
        said = [as_json(one, show.per_query) for one in reports]
        emit_json(said[0] if len(said) == 1 else {"evaluations": said})
    else:
        for place, one in enumerate(reports):
            if place:
                emit()
            _print(one)


def _report(evaluation: Evaluation, show: Show) -> Report:
    # Pairs and triplets have a metric of their own, whatever retrieval is measured by.
    metric = show.metric if isinstance(evaluation.evaluated, RetrievalSet) else ""
    pair = pair_of(evaluation, metric, show.references) if show.by else ("", "")
    return report(evaluation, metric, show.references, show.by, pair)


def print_grid(grid: Grid, columns: int) -> None:
    """Print a table that fits so many columns: the last ones are left out, and a long name gets a line of its own."""
    header, *lines = (tuple(map(visible, line)) for line in (grid.header, *grid.lines))
    indent = 2 if grid.groups else 0
    shown = len(header)
    while True:
        sizes = [max(width(line[at]) for line in [header, *lines]) for at in range(shown)]
        sizes[0] = min(sizes[0], max(_SHORTEST_NAME, columns - indent - sum(sizes[1:]) - 2 * (shown - 1)))
        if indent + sum(sizes) + 2 * (shown - 1) <= columns or shown <= grid.needed:
            break
        shown -= 1
    if grid.title:
        emit(grid.title)
    group = ""
    _line(header, sizes, indent)
    for place, line in enumerate(lines):
        if grid.groups and grid.groups[place] != group:
            group = grid.groups[place]
            emit(group)
        _line(line, sizes, indent)


def _line(cells: Sequence[str], sizes: Sequence[int], indent: int) -> None:
    first = cells[0]
    if width(first) > sizes[0]:
        emit(" " * indent + first)
        first = ""
    texts = [first + " " * (sizes[0] - width(first))]
    texts += [" " * (size - width(cell)) + cell for cell, size in zip(cells[1:], sizes[1:], strict=False)]
    emit((" " * indent + "  ".join(texts)).rstrip())


def _print(found: Report) -> None:
    columns = shutil.get_terminal_size((120, 24)).columns
    evaluated = found.evaluation.evaluated
    _paragraph(heading(found), columns)
    if evaluated.about.trained_on:
        _paragraph(f"! {evaluated.about.trained_on}", columns)
    print_grid(systems_grid(found.table), columns)
    emit()
    for name, said in verdicts(found.table):
        _paragraph(f"{name}: {said}", columns)
    for table, title in ((found.clean, "clean: not seen in training"), (found.overlap, "leaked: seen in training")):
        if table is not None:
            emit()
            print_grid(systems_grid(table, f"{title}, {table.n:,} queries"), columns)
    for grid in (metrics_grid(found), cost_grid(found), *(slices_grid(found, kind) for kind in found.sliced)):
        if grid.lines:
            emit()
            print_grid(grid, columns)
    notes = dict.fromkeys((*found.table.notes, *found.evaluation.notes, *evaluated.about.notes))
    notes |= dict.fromkeys(f"{one.name}: {note}" for one in found.evaluation.systems for note in one.notes)
    if notes:
        emit()
    for note in notes:
        _paragraph(f"note: {note}", columns)


def _paragraph(text: str, columns: int) -> None:
    """A sentence, broken between words on a terminal only: scripts get one line each."""
    safe = visible(text)
    if not sys.stdout.isatty():
        emit(safe)
        return
    for line in textwrap.wrap(safe, columns, subsequent_indent="  ", break_on_hyphens=False) or [""]:
        emit(line)


def _markdown(reports: Sequence[Report]) -> str:
    return "\n".join(map(markdown, reports))
