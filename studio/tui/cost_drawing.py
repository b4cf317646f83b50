"""What the Evaluate panel draws of costs: a table of figures, and the curves of truncation and quantisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from studio.tui.curves import Curve
from studio.tui.run_charts import Chart, grid
from studio.tui.run_numbers import size
from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.view.evaluations import Report, SystemLine

_NAME = 34
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLES = ("$primary", "$warning", "$success", "$error", "$secondary", "$accent")
_BYTES = {"float32": 4.0, "int8": 1.0, "binary": 1 / 8}
"""What a dimension takes in an index."""


def cost_lines(report: Report, width: int, height: int) -> list[Content]:
    """What each system costs; below it the curves of truncation and quantisation, where there are any."""
    measured = [line for line in report.systems if line.operations is not None]
    lines = list(_cost_table(measured, width)) if measured else [
        Content("What systems cost was not measured here."),
        Content.styled("A new evaluation measures it: N.", "dim"),
    ]  # fmt: skip
    charts, legend = _charts(report.systems, report.metric)
    if charts:
        lines += [Content(""), *grid([charts], width, max(height - len(lines) - len(legend) - 2, 0), None), *legend]
    return lines


def _cost_table(measured: Sequence[SystemLine], width: int) -> Iterator[Content]:
    """One column a figure, as many beside one another as there is room for."""
    rows = [_figures(line) for line in measured]
    widths = [max(len(name), *(len(row[at][1]) for row in rows)) for at, (name, _) in enumerate(rows[0])]
    label = min(max(len(safe_text(line.name, _NAME)) for line in measured), max(width // 3, 10))
    at = 0
    while at < len(widths):
        end = at + 1
        while end < len(widths) and label + sum(widths[at : end + 1]) + end + 1 - at <= width:
            end += 1
        cells = (f"{name:>{wide}}" for (name, _), wide in zip(rows[0][at:end], widths[at:end], strict=True))
        yield Content.styled(f"{'system' if at == 0 else '':<{label}} " + " ".join(cells), "dim")
        for line, row in zip(measured, rows, strict=True):
            figures = " ".join(f"{value:>{wide}}" for (_, value), wide in zip(row[at:end], widths[at:end], strict=True))
            yield Content(f"{safe_text(line.name, label):<{label}} {figures}")
        at = end
    devices = dict.fromkeys(line.operations.device for line in measured if line.operations)
    # What says no more than another one: an index of words does not count its threads.
    told = [one for one in devices if one and not any(other.startswith(f"{one},") for other in devices)]
    on = f"on {safe_text(' and '.join(told), 100)}; " if told else ""
    yield Content.styled(f"{on}p50, p95: of one query alone; cut: texts over the maximum length", "dim")


def _figures(line: SystemLine) -> list[tuple[str, str]]:
    found = line.operations
    assert found is not None
    cut = found.truncated[0] + found.truncated[1]
    return [
        ("passages/s", f"{found.passages_per_second:,.0f}"),
        ("p50", _milliseconds(found.query_p50)),
        ("p95", _milliseconds(found.query_p95)),
        ("index", size(found.index_bytes)),
        ("memory", size(found.peak_memory)),
        ("dim", "–" if found.dimension is None else f"{found.dimension:,}"),
        ("load", f"{found.load_seconds:.1f} s"),
        ("cut", f"{cut:,} ({sum(found.tokens_cut):,} tokens)" if cut else "0"),
    ]


def _milliseconds(seconds: float) -> str:
    value = seconds * 1_000
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def _charts(systems: Sequence[SystemLine], metric: str) -> tuple[list[Chart], list[Content]]:
    """Score by dimensions and by bytes a vector: a line for each model of which several sizes were measured."""
    families: dict[str, list[SystemLine]] = {}
    for line in systems:
        if line.family and line.size is not None and line.score is not None:
            families.setdefault(line.family, []).append(line)
    truncated: list[Curve] = []
    quantised: list[Curve] = []
    legend: list[Content] = []
    for at, lines in enumerate(families.values()):
        letter, style = _LETTERS[at % len(_LETTERS)], _STYLES[at % len(_STYLES)]
        by_size = [(line.size or 0, line.score or 0.0) for line in lines if line.precision == "float32"]
        # Of all dimensions: fewer of them take fewer bytes too, and are another curve.
        whole = [line for line in lines if line.size == max(line.size or 0 for line in lines)]
        by_bytes = [(_vector_bytes(line), line.score or 0.0) for line in whole]
        several = len(by_size) > 1, len({line.precision for line in whole}) > 1
        if several[0]:
            truncated.append(_curve(by_size, style, letter))
        if several[1]:
            quantised.append(_curve(by_bytes, style, letter))
        if any(several):
            legend.append(Content.assemble((letter, f"bold {style}"), " ", safe(lines[0].name, 60)))
    charts = [Chart(f"truncation: {metric} by dimensions", truncated, unit="dim")] if truncated else []
    charts += [Chart(f"quantisation: {metric} by bytes a vector", quantised, unit="bytes")] if quantised else []
    return charts, legend


def _vector_bytes(line: SystemLine) -> float:
    return (line.size or 0) * _BYTES[line.precision]


def _curve(points: Sequence[tuple[float, float]], style: str, letter: str) -> Curve:
    ordered = sorted(points)
    return Curve([at for at, _ in ordered], [score for _, score in ordered], style, letter)
