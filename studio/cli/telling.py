"""How evaluations are told on a terminal, as JSON and in files, whichever command made or opened them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from studio.cli.output import emit, emit_json, progress_bar, say
from studio.errors import UnavailableError, UsageError
from studio.evaluation.markdown import markdown
from studio.evaluation.page import page
from studio.evaluation.reporting import Report, as_json, pair_of, report
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.tables import Grid, cost_grid, heading, metrics_grid, slices_grid, systems_grid, verdicts
from studio.evaluation.wording import numbered, shortened
from studio.files import write_text
from studio.progress import Progress
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


def check_files(show: Show) -> None:
    """Refuse files that cannot be written, before the work whose outcome they are to hold.

    Raises:
        UsageError: it is a folder, or there is no folder for it.
        UnavailableError: that folder cannot be written to.
    """
    for option, path in (("--markdown", show.markdown), ("--html", show.html)):
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"{option} names a folder.", where=str(path), remedy=f"name a file in it: {path}/report")
        if not path.parent.is_dir():
            why = "it is a file" if path.parent.exists() else "it is not there"
            raise UsageError(
                f"{option} is to be written where there is no folder.",
                where=str(path.parent),
                why=why,
                remedy="make the folder, or name another",
            )
        if not os.access(path.parent, os.W_OK):
            raise UnavailableError(f"{option} is to be written where nothing may be written.", where=str(path.parent))


@contextmanager
def steps() -> Iterator[Progress]:
    """Yield a progress callback that shows on a terminal what is being done from its first moment on.

    A bar (`output.progress_bar`) shows how far a step is; until it does, and of a step of which nobody knows how long
    it takes, there is a line with its name.
    """
    with progress_bar() as bar:
        if not sys.stderr.isatty():
            yield bar
            return
        columns = shutil.get_terminal_size((80, 24)).columns - 2
        shown = ""

        def clear() -> None:
            nonlocal shown
            if shown:
                print("\r" + " " * width(shown) + "\r", end="", file=sys.stderr, flush=True)
                shown = ""

        def draw(step: str, done: int, total: int | None) -> None:
            nonlocal shown
            line = visible(f"{step} …", columns)
            if not done and line == shown:
                return
            clear()
            bar(step, done, total)
            if not done:
                shown = line
                print("\r" + shown, end="", file=sys.stderr, flush=True)

        try:
            yield draw
        finally:
            clear()


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
    pair = ("", "")
    if show.by and isinstance(evaluation.evaluated, RetrievalSet):
        pair = pair_of(evaluation, metric, show.references)
    return report(evaluation, metric, show.references, show.by, pair)


def print_grid(grid: Grid, columns: int) -> None:
    """Print a table in so many columns, a long name on a line of its own.

    Of one with groups the last columns are left out where there is no room; of others they follow below, line by line.
    """
    whole = [tuple(map(visible, line)) for line in (grid.header, *grid.lines)]
    indent = 2 if grid.groups else 0
    if grid.title:
        emit(grid.title)
    begin = 1
    while begin < len(grid.header):
        end, sizes = _fitting(whole, begin, columns - indent, grid.needed)
        header, *lines = ((line[0], *line[begin:end]) for line in whole)
        group = ""
        _line(header, sizes, indent)
        for place, line in enumerate(lines):
            if grid.groups and grid.groups[place] != group:
                group = grid.groups[place]
                emit(group)
            _line(line, sizes, indent)
        begin = len(grid.header) if grid.groups else end


def _fitting(lines: Sequence[Sequence[str]], begin: int, columns: int, needed: int) -> tuple[int, list[int]]:
    """Up to which column a table that begins with column `begin` has room, and how wide its columns are."""
    end = len(lines[0])
    while True:
        sizes = [max(width(line[at]) for line in lines) for at in (0, *range(begin, end))]
        sizes[0] = min(sizes[0], max(_SHORTEST_NAME, columns - sum(sizes[1:]) - 2 * (len(sizes) - 1)))
        if sum(sizes) + 2 * (len(sizes) - 1) <= columns or len(sizes) <= needed:
            return end, sizes
        end -= 1


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
            print_grid(systems_grid(table, f"{title}, {numbered(table.n, 'query')}"), columns)
    for grid in (metrics_grid(found), cost_grid(found), *(slices_grid(found, kind) for kind in found.sliced)):
        if grid.lines:
            emit()
            print_grid(grid, columns)
    notes = dict.fromkeys((*found.table.notes, *found.evaluation.notes, *evaluated.about.notes))
    notes |= dict.fromkeys(f"{shortened(one.name)}: {note}" for one in found.evaluation.systems for note in one.notes)
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
