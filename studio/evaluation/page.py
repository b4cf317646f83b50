"""A report as one HTML page: no script, nothing from elsewhere, plots inline, and text from data only as text."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from studio.evaluation.comparison import Row
from studio.evaluation.drawing import Interval, Point, columns, curves, intervals
from studio.evaluation.per_query import PerQuery, against, detail
from studio.evaluation.reporting import Report
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.slices import Slice
from studio.evaluation.systems import Dense
from studio.evaluation.tables import (
    cost_grid,
    heading,
    in_classes,
    metrics_grid,
    score,
    signed,
    slices_grid,
    systems_grid,
    verdicts,
)
from studio.evaluation.wording import shortened
from studio.text.safe import visible

_TEMPLATE = "page.html.j2"
_PAIRS, _WORST, _FIRST = 6, 5, 3
"""Systems that are shown query by query, the worst queries of each, and the passages shown of each query."""
_CHARACTERS = 400
_SURE = 0.05


def page(reports: Sequence[Report]) -> str:
    """Make one page of reports, each with its table, plots, worst queries, cost and notes.

    Every piece of text passes `studio.text.safe` and is escaped; the page itself forbids scripts and anything fetched.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    title = "; ".join(heading(report) for report in reports)
    return str(environment.get_template(_TEMPLATE).render(title=title, reports=[_told(report) for report in reports]))


def _shown(value: Any) -> Any:
    """What is printed of a value: markup that was made here as it is, anything else made safe for a screen."""
    return value if isinstance(value, Markup) else visible(str(value))


def _told(report: Report) -> dict[str, Any]:
    evaluation, table = report.evaluation, report.table
    evaluated = evaluation.evaluated
    curve, curve_words = _curve(evaluation, table.rows)
    # Green and red are for what is more than chance.
    sure = [row for row in table.rows if row.judgement and row.p_holm is not None and row.p_holm < _SURE]
    words = {shortened(row.name): row.judgement.verdict.value for row in sure if row.judgement}
    subsets = ((report.clean, "Clean: not seen in training"), (report.overlap, "Leaked: seen in training"))
    notes = [*table.notes, *evaluation.notes, *evaluated.about.notes]
    notes += [f"{shortened(system.name)}: {note}" for system in evaluation.systems for note in system.notes]
    return {
        "heading": heading(report),
        "about": f"evaluated {evaluation.made}" if evaluation.made else "",
        "trained_on": evaluated.about.trained_on,
        "metric": table.metric,
        "scores": Markup(intervals([_score(row) for row in in_classes(table.rows)], f"Scores by {table.metric}")),
        "systems": systems_grid(table),
        "verdicts": [(name, words.get(name, ""), said) for name, said in verdicts(table)],
        "differences": Markup(intervals(_differences(table.rows), f"Differences in {table.metric}", zero=True)),
        "subsets": [systems_grid(part, f"{title}, {part.n:,} queries") for part, title in subsets if part],
        "slices": [_sliced(report, kind) for kind in report.sliced],
        "moves": _moves(evaluation, table.rows, table.metric),
        "curve": Markup(curve),
        "curve_words": curve_words,
        "tables": [grid for grid in (metrics_grid(report), cost_grid(report)) if grid.lines],
        "notes": list(dict.fromkeys(notes)),
        "described": [
            (shortened(system.name), [(name, str(value)) for name, value in system.described.items()])
            for system in evaluation.systems
            if system.described
        ],
        "command": shlex.join(evaluation.command),
    }


def _score(row: Row) -> Interval:
    if row.score is None:
        why = f"could not be run: {row.error}" if row.error else row.refused
        return Interval(row.name, None, group=row.of_class.value, words=why)
    low, high = (math.nan if end is None else end for end in (row.low, row.high))
    return Interval(row.name, row.score, low, high, row.of_class.value, row.is_reference, score(row.score))


def _differences(rows: Sequence[Row]) -> list[Interval]:
    """Each difference, those from one reference together."""
    found: dict[str, list[Interval]] = {}
    for row in in_classes(rows):
        if row.difference is not None:
            sure = row.p_holm is not None and row.p_holm < _SURE
            delta = row.difference
            group = f"{row.of_class.value}: from {shortened(row.reference)}"
            line = Interval(row.name, delta.delta, delta.low, delta.high, group, sure, signed(delta.delta))
            found.setdefault(group, []).append(line)
    return [line for lines in found.values() for line in lines]


def _sliced(report: Report, kind: str) -> dict[str, Any]:
    found = report.sliced[kind]
    if all(report.pair):
        rows = [_slice(one) for one in found]
        a, b = map(shortened, report.pair)
        words = f"Difference of {a} from {b}; filled: p is below .05 after Holm's correction."
    else:
        rows = [
            Interval(name, one.value, one.low, one.high, f"{part.name} ({part.n:,})", words=score(one.value))
            for part in found
            for name, one in part.scores.items()
        ]
        words = "Means with their 95 % bootstrap intervals."
    plot = intervals(rows, f"By {kind}", zero=all(report.pair))
    return {"grid": slices_grid(report, kind), "plot": Markup(plot), "words": words}


def _slice(one: Slice) -> Interval:
    label = f"{one.name} ({one.n:,})"
    if one.difference is None:
        return Interval(label, None, words=one.note)
    sure = one.p_holm is not None and one.p_holm < _SURE
    delta = one.difference
    return Interval(label, delta.delta, delta.low, delta.high, "", sure, signed(delta.delta))


def _moves(evaluation: Evaluation, rows: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    """Rank moves and the worst queries of each system that is compared; nothing where no ranking is known."""
    if not isinstance(evaluation.evaluated, RetrievalSet):
        return []
    told = []
    for row in [row for row in in_classes(rows) if row.difference is not None][:_PAIRS]:
        found = against(evaluation, row.name, row.reference, metric)
        if not found.moves:
            continue
        kinds = {1: "better", -1: "worse", 0: "same"}
        bars = [(move.name, move.queries, kinds[(move.up > 0) - (move.up < 0)]) for move in found.moves]
        both = f"{shortened(row.name)} against {shortened(row.reference)}"
        title = f"{both}: {row.wins:,} better, {row.ties:,} alike, {row.losses:,} worse"
        worst = [_query(evaluation, found, place) for place in found.regressions[:_WORST].tolist()]
        told.append({"title": title, "plot": Markup(columns(bars, title)), "worst": worst})
    return told


def _query(evaluation: Evaluation, found: PerQuery, place: int) -> dict[str, Any]:
    line = found.queries.row(place, named=True)
    told = detail(evaluation, line["query_id"], [found.a, found.b], _FIRST)
    lines = []
    for gold in told.gold[:_FIRST]:
        ranks = ", ".join(
            f"{shortened(name)}: {f'rank {at.rank}' if at else 'not found'}" for name, at in gold.places.items()
        )
        text = "outside the passages" if gold.text is None else _cut(gold.text)
        lines.append((f"answers, grade {gold.grade:g}", f"{text} ({ranks})"))
    for name, ranked in told.retrieved.items():
        for one in ranked:
            grade = "not judged" if one.grade is None else f"grade {one.grade:g}"
            lines.append((f"{shortened(name, 30)}, {one.rank}", f"{_cut(one.text)} ({grade})"))
    text = told.text or line["query_id"]
    return {"delta": signed(line["delta"]), "text": _cut(text), "leaked": line["leaked"], "lines": lines}


def _cut(text: str) -> str:
    return visible(text, _CHARACTERS)


def _curve(evaluation: Evaluation, rows: Sequence[Row]) -> tuple[str, str]:
    """Scores of one model by its dimensions, a line a precision, and what to say of it; empty without two forms."""
    found: dict[str, list[tuple[str, Point]]] = {}
    for row in rows:
        result = evaluation.system(row.name)
        if result is None or not isinstance(result.system, Dense) or row.score is None:
            continue
        system = result.system
        alike = system.model_copy(update={"dim": None, "precision": "float32", "rescore": 0}).model_dump_json()
        measured = result.operations.dimension if result.operations else None
        low, high = (math.nan if end is None else end for end in (row.low, row.high))
        kind = system.precision + (f", rescored {system.rescore}" if system.rescore else "")
        point = Point(system.dim or measured or math.inf, row.score, low, high, kind)
        found.setdefault(alike, []).append((row.name, point))
    several = {key: points for key, points in found.items() if len(points) > 1}
    drawn = []
    for points in several.values():
        before = f"{shortened(points[0][0], 20)}: " if len(several) > 1 else ""
        drawn += [point._replace(line=before + point.line) for _, point in points]
    names = ", ".join(shortened(points[0][0]) for points in several.values())
    words = f"{names} with fewer dimensions and with vectors of fewer bits, with 95 % intervals."
    return curves(drawn, "dimensions", "Score by dimensions and precision"), words
