"""Curves in braille dots: gaps where nothing was measured, a baseline, a star, a sign at the end of each line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from textual.content import Content

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bit of each dot of a braille sign, by column and line."""
_BRAILLE = 0x2800
_LABEL = 8
"""Columns of the numbers at the left, the line after them included."""
NARROWEST = 20
"""Columns that a chart needs at least."""


class Curve(NamedTuple):
    """One line. What is not a finite number is a gap, and is said below.

    `sign`: stands at its end, so that several lines are told apart without colour; "" for none.
    """

    steps: Sequence[float]
    values: Sequence[float]
    style: str = ""
    sign: str = ""


class Mark(NamedTuple):
    """A sign at one point of the chart."""

    step: float
    value: float
    sign: str = "★"


class _Scale(NamedTuple):
    """How steps and values become places. `log`: values are shown by their logarithm."""

    first: float
    last: float
    low: float
    high: float
    log: bool

    def across(self, step: float, size: int) -> int:
        """The place of a step among `size` of them."""
        share = (step - self.first) / (self.last - self.first) if self.last > self.first else 0.0
        return min(max(round(share * (size - 1)), 0), size - 1)

    def down(self, value: float, size: int) -> int:
        """The place of a value among `size` of them, from the top."""
        shown = math.log10(value) if self.log else value
        share = (shown - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return min(max(round((1 - share) * (size - 1)), 0), size - 1)

    def at(self, share: float) -> float:
        """The value at a share of the height, from the bottom."""
        shown = self.low + share * (self.high - self.low)
        return 10**shown if self.log else shown


class _Cells:
    """Signs and styles by place, with dots that lie over one another joined."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._signs = [[""] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, style: str) -> None:
        """Set one dot; `x` and `y` count dots."""
        self._dots[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        self._styles[y // 4][x // 2] = style

    def sign(self, x: int, y: int, sign: str, style: str, *, over: bool = True) -> None:
        """Put a sign; `x` and `y` count cells. Without `over` only where nothing is."""
        if over or not (self._dots[y][x] or self._signs[y][x]):
            self._signs[y][x], self._styles[y][x] = sign, style

    def free_row(self, x: int, y: int) -> int:
        """The line nearest to `y` that has no sign at `x`; `y` itself if all have one."""
        free = [row for row in range(self.height) if not self._signs[row][x]]
        return min(free, key=lambda row: abs(row - y), default=y)

    def line(self, y: int) -> Content:
        """One line of the chart."""
        parts = []
        for dots, sign, style in zip(self._dots[y], self._signs[y], self._styles[y], strict=True):
            parts.append((sign or (chr(_BRAILLE + dots) if dots else " "), style))
        return Content.assemble(*_joined(parts))


def chart(
    curves: Sequence[Curve],
    width: int,
    height: int,
    *,
    log: bool = False,
    baseline: float | None = None,
    marks: Iterable[Mark] = (),
    last: float | None = None,
    unit: str = "step",
) -> list[Content]:
    """Draw curves in `width` columns and `height` lines, the one with the steps included.

    Args:
        curves: those drawn later lie over the earlier.
        width: columns, NARROWEST at least.
        height: lines, 3 at least.
        log: by logarithm, where all values allow it.
        baseline: a value to draw a dotted line at.
        marks: signs over the curves.
        last: the step at the right end; without it the last there is.
        unit: what steps are called.
    """
    marks = [mark for mark in marks if math.isfinite(mark.value)]
    values = [value for curve in curves for value in curve.values if math.isfinite(value)]
    values += [mark.value for mark in marks] + ([baseline] if baseline is not None else [])
    steps = [step for curve in curves for step in curve.steps]
    if not values or not steps:
        return [Content.styled("nothing measured yet", "dim"), *[Content("")] * (height - 1)]
    log = log and min(values) > 0
    shown = [math.log10(value) for value in values] if log else values
    scale = _Scale(min(steps), max([*steps, last or 0]), *_rounded(min(shown), max(shown)), log)
    cells = _Cells(max(width, NARROWEST) - _LABEL, height - 1)
    for curve in curves:
        _draw(cells, scale, curve)
    for curve in curves:
        _end(cells, scale, curve)
    if baseline is not None:
        row = scale.down(baseline, cells.height)
        for x in range(0, cells.width, 2):
            cells.sign(x, row, "·", "", over=False)
    for mark in marks:
        cells.sign(scale.across(mark.step, cells.width), scale.down(mark.value, cells.height), mark.sign, "bold")
    lines = []
    for y in range(cells.height):
        labelled = y in (0, cells.height - 1) or (cells.height >= 7 and y == cells.height // 2)
        label = number(scale.at(1 - y / max(1, cells.height - 1))) if labelled else ""
        lines.append(
            Content.assemble((f"{label:>{_LABEL - 2}} ", "dim"), ("┤" if labelled else "│", "dim"), cells.line(y))
        )
    return [*lines, _steps_line(scale, cells.width, unit)]


def spark(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """The latest values as bars of one line; `top`: the value of a full bar, else the largest."""
    bars = "▁▂▃▄▅▆▇█"
    shown = list(values)[-width:]
    most = top or max((value for value in shown if value is not None), default=0) or 1
    return "".join(
        " " if value is None else bars[min(max(int(value / most * len(bars)), 0), len(bars) - 1)] for value in shown
    )


def number(value: float) -> str:
    """A number in at most six signs where that is possible."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    size = abs(value)
    if size and (size < 0.001 or size >= 100_000):
        return f"{value:.0e}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.{3 if size < 10 else 2 if size < 100 else 1}f}"


def _draw(cells: _Cells, scale: _Scale, curve: Curve) -> None:
    """Join neighbours by straight lines; a value that is none breaks the line."""
    before: tuple[int, int] | None = None
    for step, value in zip(curve.steps, curve.values, strict=True):
        if not math.isfinite(value) or (scale.log and value <= 0):
            before = None
            continue
        here = scale.across(step, cells.width * 2), scale.down(value, cells.height * 4)
        for x, y in _between(before or here, here):
            cells.dot(x, y, curve.style)
        before = here


def _end(cells: _Cells, scale: _Scale, curve: Curve) -> None:
    """Put the curve's sign after its last point, and a cross where it ended in what is no number."""
    finite = [(step, value) for step, value in zip(curve.steps, curve.values, strict=True) if math.isfinite(value)]
    if not finite or (scale.log and finite[-1][1] <= 0):
        return
    x, y = scale.across(finite[-1][0], cells.width), scale.down(finite[-1][1], cells.height)
    signs = "" if math.isfinite(curve.values[-1]) else "✗"
    for sign in signs + curve.sign:
        x = min(x + 1, cells.width - 1)
        cells.sign(x, cells.free_row(x, y), sign, f"bold {curve.style}".strip())


def _between(one: tuple[int, int], other: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line, both ends included."""
    (x, y), (end_x, end_y) = one, other
    length = max(abs(end_x - x), abs(end_y - y), 1)
    for at in range(length + 1):
        yield x + round((end_x - x) * at / length), y + round((end_y - y) * at / length)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """A little room where all values are one."""
    if high > low:
        return low, high
    room = abs(low) * 0.05 or 1.0
    return low - room, high + room


def _steps_line(scale: _Scale, width: int, unit: str) -> Content:
    """The axis below: the first step and the last."""
    ends = f"{scale.first:,.0f}", f"{unit} {scale.last:,.0f}"
    first, last = ends if sum(map(len, ends)) < width else ("", f"{scale.last:,.0f}")
    return Content.styled(" " * (_LABEL - 1) + "└" + first + last.rjust(width - len(first), "─"), "dim")


def _joined(parts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style as one."""
    found: list[tuple[str, str]] = []
    for text, style in parts:
        if found and found[-1][1] == style:
            found[-1] = found[-1][0] + text, style
        else:
            found.append((text, style))
    return found
