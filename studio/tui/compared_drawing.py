"""Several runs over one another: their curves, a table, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from studio.tui.cluster_drawing import count
from studio.tui.curves import Curve
from studio.tui.run_charts import Chart, grid
from studio.tui.run_numbers import clock, score_words, signed
from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.runs.summary import RunSummary
    from studio.view.runs import Compared

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLES = ("$primary", "$warning", "$success", "$error", "$secondary", "$accent")
_WIDE_TABLE = 95
"""Columns from which the table of runs has intervals."""
_NAME = 24


def compared_lines(found: Sequence[Compared], base: RunSummary, width: int, height: int, *, log: bool) -> list[Content]:
    """Several runs over one another: loss, metric, a table, and the settings in which they differ.

    Args:
        found: the runs.
        base: the one that they are compared with, which need not be among them.
        width: columns.
        height: lines to fill, where that is possible.
        log: whether losses are drawn by their logarithm.
    """
    letters = dict(zip((each.summary.name for each in found), _LETTERS, strict=False))
    styles = {name: _STYLES[at % len(_STYLES)] for at, name in enumerate(letters)}
    names = [each.summary.name for each in found]
    losses = [
        Curve(each.loss.steps, each.loss.values, styles[name], letters[name])
        for name, each in zip(names, found, strict=True)
    ]
    scores = [
        Curve(each.scores.steps, each.scores.values, styles[name], letters[name])
        for name, each in zip(names, found, strict=True)
    ]
    table = list(_table(found, base, letters, styles, width))
    differing = list(_differing(found, base, letters))
    metric = safe_text(base.main, 30) or "metric"
    charts = [
        Chart("loss (EMA)" + (", log" if log else ""), losses, log=log),
        Chart(f"{metric} ··· baseline {score_words(base.baseline)}", scores, baseline=base.baseline),
    ]
    room = height - len(table) - len(differing) - 3
    head = Content.styled(f"{count(len(found), 'run')}, compared with {safe_text(base.name, 60)}", "bold")
    return [head, *grid([charts], width, room, None), *table, Content(""), *differing]


def _table(
    found: Sequence[Compared], base: RunSummary, letters: dict[str, str], styles: dict[str, str], width: int
) -> Iterator[Content]:
    """One line a run; the interval and what else is to know where there is room."""
    wide = width >= _WIDE_TABLE
    head = f"  {'run':<{_NAME}} {'state':<9} {'score':>6} {'delta':>7} "
    head += f"{'95 % interval':>16} {'p':>6} " if wide else ""
    yield Content.styled(f"{head}{'best at':>8} {'time':>9}", "dim")
    for each in found:
        run, known = each.summary, each.difference
        plain = None if run.score is None or base.score is None or run.name == base.name else run.score - base.score
        delta = known.delta if known else plain
        state = "diverged" if run.diverged is not None else "silent" if run.stale else str(run.state)
        parts = [f"{safe_text(run.name, _NAME):<{_NAME}} {state:<9} {score_words(run.score):>6}"]
        parts.append(f"{'' if delta is None else signed(delta):>7}")
        if wide:
            interval = f"[{signed(known.low)}, {signed(known.high)}]" if known else ""
            parts.append(f"{interval:>16} {f'{known.p:.3f}' if known else '':>6}")
        parts.append(f"{'' if run.best_step is None else f'{run.best_step:,}':>8} {clock(run.seconds):>9}")
        note = safe_text(each.note, 60) if wide and each.note != "reference" else ""
        yield Content.assemble(
            (letters[run.name], f"bold {styles[run.name]}"), " ", safe(" ".join(parts)), (f"  {note}", "dim")
        )


def _differing(found: Sequence[Compared], base: RunSummary, letters: dict[str, str]) -> Iterator[Content]:
    yield Content.styled(f"settings that differ from {safe_text(base.name, 60)}'s", "bold")
    for each in found:
        if each.summary.name != base.name:
            words = " · ".join(f"{key} {value}" for key, value in each.changes) or "none"
            yield Content.assemble((letters[each.summary.name], "bold"), " ", safe(words, 600))
