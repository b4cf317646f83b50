"""The tables of a report as text: what a terminal, Markdown and the page have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from studio.evaluation.comparison import Row, Table
from studio.evaluation.reporting import Report
from studio.evaluation.results import Operations
from studio.evaluation.sets import RetrievalSet, SimilaritySet
from studio.evaluation.slices import Slice
from studio.evaluation.wording import numbered, shortened

FIRST_METRICS = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "map@100", "success@1", "judged@10")
"""Of the many that are computed: what is told first, where there is not room for all."""
_CHANCE = 0.05
_COLUMN = 32
"""Characters of a name that heads a column."""


class Grid(NamedTuple):
    """A table of text.

    Attributes:
        title: what it shows.
        header: the columns; the first is the name of the line.
        lines: the cells.
        groups: the heading that each line stands under; none: () .
        needed: how many columns are shown however narrow the place is.
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...] = ()
    needed: int = 2


def heading(report: Report) -> str:
    """What was measured, in a line."""
    evaluated = report.evaluation.evaluated
    if isinstance(evaluated, RetrievalSet):
        passages = numbered(evaluated.judged.corpus.height, "passage")
        size = f"{numbered(evaluated.size, 'query')} among {passages}"
    else:
        size = numbered(evaluated.size, "pair" if isinstance(evaluated, SimilaritySet) else "triplet")
    name = report.evaluation.name
    about = evaluated.about
    told = f"{name}: {about.name}" if name and name != about.name else about.name
    return f"{told}, {size} ({about.origin})"


def systems_grid(table: Table, title: str = "") -> Grid:
    """Each system with its score and how far it is from the reference of its class; classes together."""
    rows = in_classes(table.rows)
    header = ("system", table.metric, "95 % interval", "Δ", "p", "+/=/-", "to", "95 % interval of Δ")
    asked = {row.reference for row in rows}
    lines = tuple(_system(row, alone=row.name not in asked) for row in rows)
    return Grid(title, header, lines, tuple(row.of_class.value for row in rows), 6)


def in_classes(rows: Sequence[Row]) -> list[Row]:
    """Rows with those of one class together, each class's reference first."""
    order = list(dict.fromkeys(row.of_class for row in rows))
    return sorted(rows, key=lambda row: (order.index(row.of_class), not row.is_reference))


def verdicts(table: Table) -> list[tuple[str, str]]:
    """What is said of each row that is compared, and why of the others: name, sentence."""
    found = []
    for row in in_classes(table.rows):
        if row.error:
            found.append((shortened(row.name), f"could not be run: {row.error}"))
        elif row.refused:
            found.append((shortened(row.name), f"not compared: {row.refused}"))
        elif row.judgement:
            # p after Holm counts: among many rows some differ by chance.
            chance = row.p_holm is not None and row.p_holm >= _CHANCE
            may = f"; may be chance: p is {row.p_holm:.2f} after Holm" if chance else ""
            told = f"{row.judgement.line} (to {shortened(row.reference)}{may})"
            found.append((shortened(row.name), told))
    return found


def metrics_grid(report: Report) -> Grid:
    """Each system by every metric."""
    there = report.evaluation.metrics
    asked = report.table.metric
    names = tuple(dict.fromkeys([asked, *(name for name in FIRST_METRICS if name in there), *there]))
    systems = [found for row in in_classes(report.table.rows) if (found := report.evaluation.system(row.name))]
    lines = tuple(
        (shortened(system.name), *(score(system.overall.get(name)) for name in names))
        for system in systems
        if not system.error
    )
    return Grid("By every metric", ("system", *names), lines)


def cost_grid(report: Report) -> Grid:
    """What running each system costs; no lines where nothing was measured."""
    header = (
        "system", "passages/s", "p50 ms", "p95 ms", "index", "memory", "dim", "load s", "cut", "tokens cut",
    )  # fmt: skip
    systems = [found for row in in_classes(report.table.rows) if (found := report.evaluation.system(row.name))]
    lines = tuple((shortened(system.name), *cost(system.operations)) for system in systems if system.operations)
    return Grid("What running it costs", header, lines)


def cost(found: Operations) -> tuple[str, ...]:
    """The figures of `cost_grid`'s columns but the name."""
    return (
        _rounded(found.passages_per_second),
        _rounded(found.query_p50 * 1000),
        _rounded(found.query_p95 * 1000),
        size(found.index_bytes),
        size(found.peak_memory),
        "" if found.dimension is None else f"{found.dimension:,}",
        _rounded(found.load_seconds),
        f"{sum(found.truncated):,}",
        f"{sum(found.tokens_cut):,}",
    )


def slices_grid(report: Report, kind: str) -> Grid:
    """The slices of one kind, each system scored, and the two that are compared."""
    found = report.sliced[kind]
    names = list(dict.fromkeys(name for one in found for name in one.scores))
    paired = all(report.pair)
    told = [shortened(name, _COLUMN) for name in names]
    header = (kind, "n", "Δ", "p", "+/=/-", *told, "95 % interval of Δ") if paired else (kind, "n", *told, "")
    return Grid(f"By {kind}", header, tuple(_slice(one, names, paired) for one in found))


def score(value: float | None) -> str:
    """Four digits; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"


def signed(value: float) -> str:
    """Four digits with their sign; empty where there is none."""
    return f"{value:+.4f}" if math.isfinite(value) else ""


def size(count: int) -> str:
    """Bytes in the unit that keeps them short."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:,.0f} {units[0]}" if amount >= 100 or units[0] == "B" else f"{amount:.1f} {units[0]}"


def _system(row: Row, alone: bool) -> tuple[str, ...]:
    """A line of `systems_grid`; `alone`: nothing is compared with it."""
    name = shortened(row.name)
    if row.error:
        return (name, "", "could not be run", "", "", "", "", "")
    if row.score is None:
        return (name, "", "no score", "", "", "", "", "")
    own = (name, score(row.score), _interval(row.low, row.high))
    found = row.difference
    if found is None:
        words = ("alone" if alone else "reference") if row.is_reference else "not compared"
        return (*own, words, "", "", "", "")
    counts = f"{row.wins:,}/{row.ties:,}/{row.losses:,}" if row.wins + row.ties + row.losses else ""
    between = f"[{signed(found.low)}, {signed(found.high)}]"
    return (*own, signed(found.delta), score(row.p_holm), counts, shortened(row.reference), between)


def _slice(one: Slice, names: Sequence[str], paired: bool) -> tuple[str, ...]:
    scores = [score(one.scores[name].value) if name in one.scores else "" for name in names]
    if not paired:
        return (one.name, f"{one.n:,}", *scores, one.note)
    found, tally = one.difference, one.tally
    return (
        one.name,
        f"{one.n:,}",
        signed(found.delta) if found else "too few",
        score(one.p_holm),
        f"{tally.wins:,}/{tally.ties:,}/{tally.losses:,}" if tally else "",
        *scores,
        f"[{signed(found.low)}, {signed(found.high)}]" if found else "",
    )


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{low:.3f}, {high:.3f}]"


def _rounded(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
