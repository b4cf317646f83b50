"""`show evaluate`: what the Evaluate panel shows, as plain lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from studio.cli.output import emit, emit_json, say
from studio.view.bench import Bench
from studio.view.evaluations import Entry, Report, SystemLine, entries, evaluations


def show_evaluate(bench: Bench, limit: int, as_json: bool) -> None:
    """Print every evaluation and finished run in a line, and the newest of them in full."""
    root = bench.project.root
    found = entries(root)
    answers = [evaluations(bench, entry.name, entry.is_run) for entry in found[:limit]]
    shown = [answer.report for answer in answers if answer.report]
    for answer in answers:
        if answer.wrong:
            say(f"note: {answer.wrong}")
    if as_json:
        emit_json({"evaluations": [_entry(entry) for entry in found], "shown": [_report(each) for each in shown]})
        return
    runs = sum(entry.is_run for entry in found)
    emit(f"evaluate: {len(found) - runs:,} evaluations, {runs:,} finished runs")
    for entry in found:
        state = "a run" if entry.is_run else f"{entry.systems:,} systems" + ("" if entry.done else ", not finished")
        emit(f"{entry.name}: {state}")
    for each in shown:
        emit()
        for line in _lines(each):
            emit(line)
    if not found:
        say(f"begin: harrier-studio evaluate {shlex.join(['--project', str(root)])}")


def _lines(told: Report) -> Iterator[str]:
    among = f" among {told.passages:,} passages" if told.passages else ""
    yield f"{told.entry.name}: {told.set_name}, {told.queries:,} {told.kind} items{among}, by {told.metric}"
    if told.trained_on:
        yield f"  {told.trained_on}"
    if told.leaked:
        yield f"  {told.leaked:,} of the queries are leaked: training has seen them or their answer"
    for line in told.systems:
        score = "" if line.score is None else f" {line.score:.4f}"
        own = "" if line.low is None or line.high is None else f", 95 % interval {line.low:.4f} to {line.high:.4f}"
        yield f"{line.of_class}, {line.name}:{score}{own}"
        yield f"  {_judged(line)}"
        if line.operations:
            cost = line.operations
            yield (
                f"  {cost.passages_per_second:,.0f} passages a second, a query {cost.query_p50 * 1000:.1f} ms (p50), "
                f"{cost.query_p95 * 1000:.1f} ms (p95), index {cost.index_bytes:,} bytes"
            )
    for note in told.notes:
        yield f"note: {note}"


def _judged(line: SystemLine) -> str:
    if line.error:
        return f"not run: {line.error}"
    if line.is_reference:
        return "the reference of its class"
    if line.refused or line.difference is None:
        return f"not compared: {line.refused or 'there is no other of its class'}"
    p = line.difference.p if line.p is None else line.p
    counts = f"{line.wins:,} wins, {line.ties:,} ties, {line.losses:,} losses"
    return f"{line.line}; against {line.reference}, p after Holm {p:.4f}; {counts}"


def _entry(entry: Entry) -> dict[str, object]:
    return {"name": entry.name, "run": entry.is_run, "done": entry.done, "systems": entry.systems}


def _report(told: Report) -> dict[str, object]:
    systems = [
        {
            **line._asdict(),
            "difference": line.difference._asdict() if line.difference else None,
            "operations": line.operations._asdict() if line.operations else None,
            "described": dict(line.described),
        }
        for line in told.systems
    ]
    return {**told._asdict(), "entry": _entry(told.entry), "kind": told.kind.value, "systems": systems}
