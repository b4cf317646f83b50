"""What the Evaluate panel draws: the list, the table of systems, one of them against the other, slices, costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from studio.evaluation.sets import SetKind
from studio.evaluation.wording import shortened
from studio.tui.cluster_drawing import count
from studio.tui.run_numbers import CHANCE, decimal, p_words, score_words, signed
from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.evaluation.significance import Difference
    from studio.view.evaluated_pairs import PairAnswer, QueryLine, SliceLine, Subset
    from studio.view.evaluations import Entry, Report, SystemLine

WIDE = 92
"""Columns of the table from which there is room for more: for the score's own interval, or for what each system is
compared with, where that is not one system a class."""
_COUNTED = {
    SetKind.RETRIEVAL: ("query", "queries"),
    SetKind.SIMILARITY: ("pair", "pairs"),
    SetKind.TRIPLETS: ("triplet", "triplets"),
}
_CLASS = 8
_LEAST_NAME, _NAME = 18, 34
_SCORE, _INTERVAL, _DELTA, _P, _TALLY = 5, 13, 6, 5, 11
_DIFFERENCE = _DELTA + 1 + 16 + 1 + _P
_TO = 15
"""Columns for the name of the system that one is compared with."""
_SLICE = 51
"""Columns of a slice without its name."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 24


def entry_line(entry: Entry, *, shown: bool) -> Content:
    """One line of the list: an evaluation that is done ✓, not ◧, or of which nothing could be run ✗; or a run ▪.

    Args:
        entry: the evaluation or run.
        shown: whether it is the one that is shown.
    """
    done = "✗" if entry.systems and entry.failed == entry.systems else "✓"
    sign = "▪" if entry.is_run else done if entry.done else "◧"
    words = "run" if entry.is_run else count(entry.systems, "system") if entry.done else f"{entry.systems:,} so far"
    words = f"{entry.failed:,} of {entry.systems:,} failed" if entry.failed else words
    here = "▸" if shown else " "
    return Content.assemble((f"{here}{sign} ", "bold"), f"{_short(entry.name, 22):<22} ", words)


def head_line(report: Report) -> Content:
    """What the scores are about."""
    by = report.metric + ("" if report.metric == report.main else f" (decides: {report.main})")
    parts = [count(report.queries, *_COUNTED[report.kind])]
    parts += [count(report.passages, "passage")] if report.passages else []
    parts += [f"⚑ {count(report.leaked, 'leaked query', 'leaked queries')}"] if report.leaked else []
    parts += ["! " + report.trained_on] if report.trained_on else []
    parts += [] if report.entry.done else ["not finished"]
    name = (_short(report.entry.name, 24), "bold")
    return Content.assemble(
        name, " on ", (safe_text(report.set_name, 40), "bold"), " by ", (by, "bold"), " · ",
        safe(" · ".join(parts), 200),
    )  # fmt: skip


# The table


def table_head(width: int, *, to: bool) -> Content:
    """The names of the table's columns; `to`: with the system that each is compared with, if there is room."""
    name, wide, to = _name_width(width, to=to), _wide(width, to=to), to and width >= WIDE
    words = f"{'class':<{_CLASS}}   {'system':<{name}} {'score':>{_SCORE}} "
    words += f"{'95 % interval':<{_INTERVAL}} " if wide else ""
    words += f"{'delta':>{_DELTA}} {'95 % interval':<16} {'p':>{_P}} {'win/tie/loss':<{_TALLY}}"
    return Content.styled(words + (" to" if to else ""), "dim")


def table_line(line: SystemLine, width: int, *, first: bool, own: bool, to: bool, shown: bool) -> Content:
    """One system of the table.

    Args:
        line: the system.
        width: columns.
        first: whether it is the first of its class.
        own: it is compared with its own whole vectors.
        to: the system that it is compared with is named, if there is room; else `system_lines` names it.
        shown: whether it is the one that is looked at.
    """
    name = _name_width(width, to=to)
    sign = "✗" if line.error else "◆" if line.is_reference else "↳" if own else " "
    parts: list[str | Content | tuple[str, str]] = [
        f"{line.of_class if first else '':<{_CLASS}}",
        (f"{'▸' if shown else ' '}{sign} ", "bold"),
        f"{_short(line.name, name):<{name}} ",
        f"{score_words(line.score):>{_SCORE}} ",
    ]
    if _wide(width, to=to):
        parts.append(f"{_own(line):<{_INTERVAL}} ")
    words, style = judged_words(line)
    parts.append((f"{safe_text(words, width):<{_DIFFERENCE}}", style))
    if line.difference:
        tally = f"{line.wins:,}/{line.ties:,}/{line.losses:,}"
        parts.append(f" {tally:<{_TALLY}} {_short(line.reference, _TO)}" if to and width >= WIDE else f" {tally}")
    return Content.assemble(*parts)


def compared_apart(report: Report, line: SystemLine) -> bool:
    """Whether a system is compared with another one than the reference of its class."""
    return bool(line.reference) and not any(
        each.is_reference and each.name == line.reference for each in report.systems
    )


def judged_words(line: SystemLine) -> tuple[str, str]:
    """How far a system is from the reference, or why it is not compared; bold where chance alone hardly does as much.

    Nothing is dim: that could not be read on the line under the cursor.
    """
    if line.error:
        return f"not run: {line.error}", ""
    if line.is_reference:
        return "reference of its class", ""
    if line.refused or line.difference is None:
        return f"not compared: {line.refused or 'there is no other of its class'}", ""
    found, p = line.difference, line.difference.p if line.p is None else line.p
    words = f"{signed(found.delta):>{_DELTA}} {_interval(found):<16} {p_words(p):>{_P}}"
    return words, "" if p >= CHANCE else "bold"


def _wide(width: int, *, to: bool) -> bool:
    """Whether there is room for the score's own interval."""
    return width >= WIDE + (_TO + 1 if to else 0)


def _name_width(width: int, *, to: bool) -> int:
    taken = _CLASS + 1 + 2 + 1 + _SCORE + 1 + _DIFFERENCE + 1 + _TALLY
    taken += (1 + _TO if to and width >= WIDE else 0) + (1 + _INTERVAL if _wide(width, to=to) else 0)
    return min(max(width - taken, _LEAST_NAME), _NAME)


def _short(name: str, width: int) -> str:
    return shortened(safe_text(name), width, (width - 1) // 2)


def _own(line: SystemLine) -> str:
    return "" if line.low is None or line.high is None else f"[{decimal(line.low)}, {decimal(line.high)}]"


def _interval(found: Difference) -> str:
    return f"[{signed(found.low)}, {signed(found.high)}]"


# One system


def system_lines(report: Report, line: SystemLine, pair: PairAnswer | None, width: int) -> list[Content]:
    """The system under the cursor: the verdict, wins and losses, rank moves, all metrics, what it is.

    Args:
        report: the evaluation.
        line: the system.
        pair: it against the reference of its class, once that is known.
        width: columns.
    """
    lines = [*_verdict_lines(line, report)]
    if pair is not None:
        lines += pair_lines(pair, width)
    lines += [Content(""), *metric_lines(report, width)]
    lines += [Content("")]
    lines += [Content.assemble((f"{name} ", "dim"), safe(value, 400)) for name, value in line.described if value]
    lines += [safe(f"· {note}", 500) for note in line.notes]
    lines += [safe(f"· {note}", 500).stylize("dim") for note in report.notes]
    if report.origin:
        lines.append(Content.assemble(("set ", "dim"), safe(report.origin, 300)))
    if report.command:
        lines.append(Content.assemble(("command ", "dim"), safe(" ".join(report.command), 2_000)))
    return lines


def _verdict_lines(line: SystemLine, report: Report) -> Iterator[Content]:
    own = compared_apart(report, line)
    against = f" · ↳ compared with {safe_text(line.reference, 60)}" if own else ""
    yield Content.assemble((safe_text(line.name, 80), "bold"), f" · {line.of_class}{against}")
    if line.error:
        yield safe(f"✗ not run: {line.error}", 1_000).stylize("bold $error")
    elif line.refused:
        yield safe(f"≠ not compared: {line.refused}", 500)
    elif line.difference is None or not line.line:
        yield safe(f"◆ the other systems of this class ({line.of_class}) are compared with it; b pins another")
    else:
        p = line.difference.p if line.p is None else line.p
        yield safe(line.line, 300).stylize("" if p >= CHANCE else "bold")
        words = f"against {safe_text(line.reference, 60)} · p after Holm {p_words(p)}"
        words += " · may be chance" if p >= CHANCE else ""
        yield safe(f"{words} · minimal detectable difference {decimal(line.difference.minimal)}", 300)


def pair_lines(pair: PairAnswer, width: int) -> list[Content]:
    """Wins, ties and losses, of leaked queries apart, and how far the first relevant passage moved."""
    if not pair.reference:
        return []
    lines = [Content("")]
    if pair.clean is not None:
        lines.append(_subset_line("" if pair.leaked is None else "clean   ", pair.clean, width))
    if pair.leaked is not None:
        lines.append(_subset_line("⚑ leaked", pair.leaked, width))
    if pair.ranked and pair.moves:
        lines += [Content(""), Content.styled("rank of the first relevant passage", "bold")]
        lines += list(bars(pair.moves))
    return lines


def _subset_line(name: str, subset: Subset, width: int) -> Content:
    room = max(min(width - 66, 30), 10)
    whole = max(subset.queries, 1)
    wins, losses = round(subset.wins / whole * room), round(subset.losses / whole * room)
    drawn = "+" * wins + "·" * max(room - wins - losses, 0) + "-" * losses
    words = f"{count(subset.wins, 'win')}, {count(subset.ties, 'tie')}, {count(subset.losses, 'loss', 'losses')}"
    before = "" if subset.before is None else f"{score_words(subset.before)} → "
    return Content.assemble(
        (f"{name} " if name else "", "bold"),
        f"{drawn} {words} of {subset.queries:,} · {before}{score_words(subset.after)}",
    )


def bars(counts: Sequence[tuple[str, int]], width: int = _BAR) -> Iterator[Content]:
    """Counts as bars, one a line."""
    most = max((number for _, number in counts), default=0) or 1
    label = max((len(safe_text(name, 30)) for name, _ in counts), default=0)
    digits = max(len(f"{number:,}") for _, number in counts)
    for name, number in counts:
        eighths = max(round(number / most * width * 8), 1 if number else 0)
        drawn = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        yield Content(f"{safe_text(name, 30):<{label}} {number:>{digits},} {drawn}")


def metric_lines(report: Report, width: int) -> Iterator[Content]:
    """Every metric of every system, with half of its 95 % interval: as many beside one another as there is room for."""
    cell, name = 10, min(_LEAST_NAME, max(width // 4, 10))
    abreast = max((width - name) // (cell + 1), 1)
    for begin in range(0, len(report.metrics), abreast):
        shown = report.metrics[begin : begin + abreast]
        title = "all metrics" if begin == 0 else ""
        yield Content.styled(f"{title:<{name}} " + " ".join(f"{metric:>{cell}}" for metric in shown), "bold")
        for line in report.systems:
            if not line.error:
                cells = " ".join(f"{_cell(line, metric):>{cell}}" for metric in shown)
                yield Content.assemble(f"{_short(line.name, name):<{name}} ", cells)
    if len(report.tables) > 1:
        yield Content.styled("± is half of the 95 % interval; m makes the table by another metric", "dim")


def _cell(line: SystemLine, metric: str) -> str:
    score, spread = line.metrics.get(metric), line.spread.get(metric)
    if score is None:
        return "–"
    return decimal(score) + ("" if spread is None else f"±{decimal((spread[1] - spread[0]) / 2)}")


# Queries


def query_line(line: QueryLine, *, alone: bool) -> Content:
    """One query: the difference, both ranks of the first relevant passage, whether it leaked, its text."""
    sign = "⚑" if line.leaked else " "
    if alone or line.before is None:
        words = f"{decimal(line.after):>6} rank {_rank(line.rank_after):>3}"
    else:
        words = f"{signed(line.after - line.before):>6} rank {_rank(line.rank_before):>3} → {_rank(line.rank_after):<3}"
    return Content.assemble((words, "bold"), f" {sign} ", safe(line.text, 200))


def _rank(rank: int | None) -> str:
    return "–" if rank is None else f"{rank:,}"


def queries_title(pair: PairAnswer) -> Content:
    """Whose queries these are, and how many."""
    part = f", first {len(pair.queries):,} shown" if len(pair.queries) < pair.total else ""
    if not pair.reference:
        return safe(f"{pair.other} alone, the worst first: {pair.total:,}{part}", 300)
    first = {"wins": "best gains first", "ties": "ties", "losses": "worst regressions first", "all": "worst first"}
    return safe(f"{pair.reference} → {pair.other}, {first[pair.which]}: {pair.total:,}{part}", 300)


# Slices


def slice_lines(found: Sequence[SliceLine], reference: str, other: str, width: int) -> Iterator[Content]:
    """Slices of the queries, each with both means and the difference."""
    name = min(max(width - _SLICE, 16), 40)
    both = "before → " if reference else ""
    yield safe(f"{reference} → {other}" if reference else other, 200).stylize("bold")
    head = f"{'slice':<{name}} {'n':>5} {both}{'score':>5}"
    yield Content.styled(head + (f" {'delta':>6} {'95 % interval':<16} {'p':>5}" if reference else ""), "dim")
    for line in found:
        before = f"{score_words(line.before):>6} → " if reference else ""
        first = f"{safe_text(line.name, name):<{name}} {line.queries:>5,} {before}{score_words(line.after):>5}"
        if line.difference is None or line.p is None:
            yield Content.assemble(first, " ", safe(line.note, 100).stylize("dim"))
            continue
        words = f" {signed(line.difference.delta):>6} {_interval(line.difference):<16} {p_words(line.p):>5}"
        yield Content.assemble(first, (words, "dim" if line.p >= CHANCE else "bold"))
