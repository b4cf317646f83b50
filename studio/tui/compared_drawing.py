"""Several runs over one another: their curves, a table, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from studio.tui.cluster_drawing import count
from studio.tui.curves import Curve
from studio.tui.run_charts import Chart, grid
from studio.tui.run_drawing import SIGNS
from studio.tui.run_numbers import CHANCE, clock, p_words, score_words, signed
from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.runs.summary import RunSummary
    from studio.view.runs import Compared

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLES = ("$primary", "$warning", "$success", "$error", "$secondary", "$accent")
_JUDGED = 29
"""Columns of delta, interval and p; where there are none, of the reason."""
_REST = 17 + _JUDGED
"""Columns of a line of the table without the name."""
_MORE = 17
"""Columns of the best step and the time, where there is room for them too."""
_NAME, _LEAST_NAME = 24, 16


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
        if each.comparable
    ]
    apart = ", ".join(letters[each.summary.name] for each in found if not each.comparable)
    table = list(_table(found, base, letters, styles, width))
    differing = list(_differing(found, base, letters))
    metric = (safe_text(base.main, 30) or "metric") + (f", without {apart}" if apart else "")
    charts = [
        Chart("loss (EMA)" + (", log" if log else ""), losses, log=log),
        Chart(f"{metric} ··· baseline {score_words(base.baseline)} ({base.name})", scores, baseline=base.baseline),
    ]
    room = height - len(table) - len(differing) - 3
    head = Content.styled(f"{count(len(found), 'run')}, compared with {safe_text(base.name, 60)}", "bold")
    return [head, *grid([charts], width, room, None), *table, Content(""), *differing]


def _table(
    found: Sequence[Compared], base: RunSummary, letters: dict[str, str], styles: dict[str, str], width: int
) -> Iterator[Content]:
    """One line a run: its score, over how many queries, and how far that is from the other run's, with its interval."""
    wide = width >= _REST + _LEAST_NAME + _MORE
    name = min(max(width - _REST - wide * _MORE, _LEAST_NAME), _NAME)
    head = f"    {'run':<{name}} {'score':>5} {'n':>5} {'delta':>6} {'95 % interval':<16} {'p':>5}"
    yield Content.styled(head + (f" {'best at':>7} {'time':>8}" if wide else ""), "dim")
    for each in found:
        run = each.summary
        sign = "✗" if run.diverged is not None else "?" if run.stale else SIGNS[run.state]
        line = f"{sign} {safe_text(run.name, name):<{name}} {score_words(run.score):>5} "
        line += f"{'' if run.queries is None else f'{run.queries:,}':>5} "
        words, style = _difference(each, base)
        more = f" {'' if run.best_step is None else f'{run.best_step:,}':>7} {clock(run.seconds):>8}" if wide else ""
        yield Content.assemble(
            (letters[run.name], f"bold {styles[run.name]}"), " ", safe(line), (f"{words:<{_JUDGED}}", style), more
        )


def _difference(each: Compared, base: RunSummary) -> tuple[str, str]:
    """How far a run is from the other, in words, and their style: dim where chance alone may do as much."""
    run, known = each.summary, each.difference
    if known:
        interval = f"[{signed(known.low)}, {signed(known.high)}]"
        words = f"{signed(known.delta):>6} {interval:<16} {p_words(known.p):>5}"
        return words, "dim" if known.p >= CHANCE else ""
    note = safe_text(each.note, _JUDGED)
    if not each.comparable or run.name == base.name or run.diverged is not None:
        return note, "dim"
    plain = None if run.score is None or base.score is None else run.score - base.score
    return f"{'' if plain is None else signed(plain):>6} {note}", "dim"


def _differing(found: Sequence[Compared], base: RunSummary, letters: dict[str, str]) -> Iterator[Content]:
    yield Content.styled(f"settings that differ from {safe_text(base.name, 60)}'s", "bold")
    for each in found:
        if each.summary.name != base.name:
            words = " · ".join(f"{key} {value}" for key, value in each.changes) or "none"
            yield Content.assemble((letters[each.summary.name], "bold"), " ", safe(words, 600))
