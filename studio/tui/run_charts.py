"""Charts of runs with their titles, side by side where there is room."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from studio.tui.curves import Curve, Mark, chart
from studio.tui.safe import safe

LEAST, _MOST = 4, 20
"""Lines of a chart."""
TWO_CHARTS = 70
"""Columns from which two charts stand side by side."""
_GAP = 2


class Chart:
    """A chart with its title, before its size is known."""

    def __init__(
        self,
        title: str,
        curves: Sequence[Curve],
        *,
        log: bool = False,
        baseline: float | None = None,
        marks: Sequence[Mark] = (),
        unit: str = "step",
    ) -> None:
        self._title, self._curves, self._log, self._baseline, self._marks = title, curves, log, baseline, marks
        self._unit = unit

    def drawn(self, width: int, height: int, last: float | None) -> list[Content]:
        """Title and chart, every line `width` columns."""
        found = chart(
            self._curves,
            width,
            height - 1,
            log=self._log,
            baseline=self._baseline,
            marks=self._marks,
            last=last,
            unit=self._unit,
        )
        return [padded(line, width) for line in (safe(self._title, width).stylize("bold"), *found)]


def grid(rows: Sequence[Sequence[Chart]], width: int, room: int, last: int | None) -> list[Content]:
    """Charts side by side where there is room, else below one another."""
    if width < TWO_CHARTS:
        rows = [[each] for row in rows for each in row]
    height = min(max(room // len(rows), LEAST + 2), _MOST)
    lines = []
    for row in rows:
        wide = (width - _GAP * (len(row) - 1)) // len(row)
        drawn = [each.drawn(wide, height, last) for each in row]
        lines += [Content(" " * _GAP).join(parts) for parts in zip(*drawn, strict=True)]
    return lines


def padded(line: Content, width: int) -> Content:
    """A line of exactly `width` columns."""
    return line.pad_right(width - line.cell_length) if line.cell_length < width else line
