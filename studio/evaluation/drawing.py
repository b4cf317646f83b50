"""Plots of a report as inline SVG: no script, colours from the page's own variables, every mark with its words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from studio.evaluation.wording import shortened
from studio.text.safe import visible

_WIDTH, _LABELS, _MARGIN = 760, 230, 80
"""Units of the drawing: the whole, the words at the left, and the figures at the right."""
_ROW, _GAP = 24, 10
_LABEL_CHARACTERS = 30
_CHART_HEIGHT, _BESIDE, _COLOURS = 230, 9, 6


class Interval(NamedTuple):
    """One line of a plot of intervals.

    Attributes:
        label: what it is.
        value: the point; None: there is nothing to draw, and `words` says why.
        low: lower end.
        high: upper end.
        group: the heading it stands under; lines of one group follow one another.
        strong: whether it is drawn full: a reference, or a difference that is more than chance.
        words: written at the right.
    """

    label: str
    value: float | None
    low: float = math.nan
    high: float = math.nan
    group: str = ""
    strong: bool = False
    words: str = ""


class Point(NamedTuple):
    """One point of a curve.

    Attributes:
        x: such as dimensions; drawn by its logarithm. Infinite: all that there are, however many.
        y: the score.
        low: lower end of its interval.
        high: upper end.
        line: the curve it belongs to.
    """

    x: float
    y: float
    low: float
    high: float
    line: str


def intervals(rows: Sequence[Interval], title: str, zero: bool = False) -> str:
    """Draw points with their intervals, one a line.

    Args:
        rows: the lines, in order.
        title: what the drawing shows, for readers that do not see it.
        zero: whether 0 has a line of its own, as of differences.

    Returns:
        An `svg` element; empty if there is nothing to draw.
    """
    drawn = [value for row in rows if row.value is not None for value in _finite(row.value, row.low, row.high)]
    if not drawn:
        return ""
    ticks = _ticks(min(drawn + [0.0] * zero), max(drawn + [0.0] * zero))
    left, right = _LABELS, _WIDTH - _MARGIN

    def at(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    body, y, group = [], 8.0, ""
    for row in rows:
        if row.group != group:
            y += _ROW + (_GAP if group else 0)
            group = row.group
            body.append(_text(0, y - 8, group, "group"))
        y += _ROW
        body.append(_line_of(row, y - 8, at))
    grid = []
    for tick in ticks:
        kind = "zero" if zero and abs(tick) < 1e-12 else "grid"
        grid.append(f'<line class="{kind}" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="8" y2="{y + 2:.0f}"/>')
        grid.append(_text(at(tick), y + 18, _figure(tick, ticks), "tick middle"))
    return _svg(title, y + 26, [*grid, *body])


def columns(bars: Sequence[tuple[str, int, str]], title: str) -> str:
    """Draw counts as columns.

    Args:
        bars: the label, the count and the kind (`better`, `worse` or `same`) of each, in order.
        title: what the drawing shows, for readers that do not see it.

    Returns:
        An `svg` element; empty if every count is 0.
    """
    most = max((count for _, count, _ in bars), default=0)
    if not most:
        return ""
    step = (_WIDTH - 20) / len(bars)
    height, body = 150.0, []
    for place, (label, count, kind) in enumerate(bars):
        size = height * count / most
        x, top = 10 + place * step, 24 + height - size
        body.append(
            f'<rect class="bar {kind}" x="{x + step * 0.12:.1f}" y="{top:.1f}" width="{step * 0.76:.1f}" '
            f'height="{size:.1f}"><title>{_safe(label)}: {count:,}</title></rect>'
        )
        body.append(_text(x + step / 2, top - 6, f"{count:,}" if count else "", "tick middle"))
        for number, line in enumerate(textwrap.wrap(label, 11)):
            body.append(_text(x + step / 2, 24 + height + 16 + 13 * number, line, "tick middle"))
    body.append(f'<line class="axis" x1="10" x2="{_WIDTH - 10}" y1="{24 + height:.0f}" y2="{24 + height:.0f}"/>')
    return _svg(title, 24 + height + 16 + 13 * 3, body)


def curves(points: Sequence[Point], x_label: str, title: str) -> str:
    """Draw scores over a size, a line a kind, each with its name at its end.

    Args:
        points: in any order; those of one line are joined by rising x.
        x_label: what x is.
        title: what the drawing shows, for readers that do not see it.

    Returns:
        An `svg` element; empty if no line has a point.
    """
    drawn = [value for point in points for value in _finite(point.y, point.low, point.high)]
    if not drawn:
        return ""
    ticks = _ticks(min(drawn), max(drawn))
    sizes = sorted({point.x for point in points})
    left, right, top, bottom = 52.0, _WIDTH - 150.0, 14.0, float(_CHART_HEIGHT)
    known = [math.log2(size) for size in sizes if math.isfinite(size)] or [0.0]
    # All dimensions, when nobody knows how many, stand one doubling to the right of the others.
    low, high = known[0], known[-1] + (not math.isfinite(sizes[-1]))

    def across(value: float) -> float:
        at = math.log2(value) if math.isfinite(value) else high
        return left + 30 + (at - low) / ((high - low) or 1.0) * (right - left - 60)

    def up(value: float) -> float:
        return bottom - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)

    there = {size: list(dict.fromkeys(point.line for point in points if point.x == size)) for size in sizes}

    def beside(point: Point) -> float:
        """Points of several lines at one size stand beside one another."""
        lines = there[point.x]
        return across(point.x) + (lines.index(point.line) - (len(lines) - 1) / 2) * _BESIDE

    body = []
    for tick in ticks:
        body.append(f'<line class="grid" x1="{left:.0f}" x2="{right:.0f}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        body.append(_text(left - 8, up(tick) + 4, _figure(tick, ticks), "tick end"))
    for size in sizes:
        body.append(_text(across(size), bottom + 18, _count(size), "tick middle"))
    body.append(_text((left + right) / 2, bottom + 36, x_label, "tick middle"))
    names = list(dict.fromkeys(point.line for point in points))
    ends: list[tuple[float, str, int]] = []
    for number, name in enumerate(names):
        line = sorted(point for point in points if point.line == name and math.isfinite(point.y))
        path = " ".join(f"{beside(point):.1f},{up(point.y):.1f}" for point in line)
        body.append(f'<polyline class="curve c{number % _COLOURS}" points="{path}"/>')
        for point in line:
            x, words = beside(point), f"{name}, {_count(point.x)}: {point.y:.4f}"
            if math.isfinite(point.low) and math.isfinite(point.high):
                body.append(
                    f'<line class="whisker c{number % _COLOURS}" x1="{x:.1f}" x2="{x:.1f}" '
                    f'y1="{up(point.low):.1f}" y2="{up(point.high):.1f}"/>'
                )
            body.append(
                f'<circle class="dot c{number % _COLOURS}" cx="{x:.1f}" cy="{up(point.y):.1f}" r="4">'
                f"<title>{_safe(words)}</title></circle>"
            )
        if line:
            ends.append((up(line[-1].y) + 4, name, number))
    body += [_text(right + 8, y, name, f"label t{number % _COLOURS}", 22) for y, name, number in _apart(ends)]
    return _svg(title, bottom + 44, body)


def _apart(ends: list[tuple[float, str, int]]) -> list[tuple[float, str, int]]:
    """The words at the ends of curves, moved down where they would lie over one another."""
    placed: list[tuple[float, str, int]] = []
    for y, name, number in sorted(ends):
        placed.append((max(y, placed[-1][0] + 15) if placed else y, name, number))
    return placed


def _line_of(row: Interval, y: float, at: Callable[[float], float]) -> str:
    """One line of a plot of intervals, its middle at height `y`."""
    parts = [_text(10 if row.group else 0, y + 4, row.label, "label", _LABEL_CHARACTERS)]
    if row.value is None or not math.isfinite(row.value):
        return "".join([*parts, _text(_LABELS, y + 4, row.words, "tick", 80)])
    kind = "strong" if row.strong else "weak"
    if math.isfinite(row.low) and math.isfinite(row.high):
        low, high = at(row.low), at(row.high)
        parts.append(f'<line class="whisker {kind}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        for end in (low, high):
            parts.append(f'<line class="whisker {kind}" x1="{end:.1f}" x2="{end:.1f}" y1="{y - 4}" y2="{y + 4}"/>')
    parts.append(
        f'<circle class="dot {kind}" cx="{at(row.value):.1f}" cy="{y:.1f}" r="5">'
        f"<title>{_safe(row.label)}: {row.value:.4f} [{row.low:.4f}, {row.high:.4f}]</title></circle>"
    )
    parts.append(_text(_WIDTH, y + 4, row.words, "figure end"))
    return "".join(parts)


def _svg(title: str, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{_safe(title)}">'
        f"<title>{_safe(title)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, kind: str, limit: int | None = None) -> str:
    cut = limit is not None and len(words) > limit
    whole = f"<title>{_safe(words)}</title>" if cut else ""
    shown = _safe(shortened(words, limit) if limit else words)
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{shown}{whole}</text>'


def _safe(words: str) -> str:
    return escape(visible(words), {'"': "&quot;", "'": "&#39;"})


def _count(size: float) -> str:
    return f"{size:,.0f}" if math.isfinite(size) else "all"


def _finite(*values: float) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, about five, from below the lowest to above the highest."""
    span = max(high - low, 1e-3)
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _figure(tick: float, ticks: Sequence[float]) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    # A step of 0.25 needs one digit more than its size says.
    if round((ticks[1] - ticks[0]) * 10**digits, 6) % 1:
        digits += 1
    return f"{tick + 0.0:.{digits}f}"
