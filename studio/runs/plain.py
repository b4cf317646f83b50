"""A run in plain lines, and as a document for scripts: what the Runs panel shows, without a screen."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from studio.runs.events import Event
from studio.runs.folder import RunFolder
from studio.runs.history import History, Series, number, read_history
from studio.runs.state import State
from studio.runs.summary import place_in_queue, summary

_BARS = "▁▂▃▄▅▆▇█"
_GIB = 2**30
LEVEL = 0.05
"""From this p on, chance may explain a difference."""
_LATEST_ALERTS = 5
_LATEST_EVALUATIONS = 12


def report(folder: RunFolder, history: History | None = None) -> dict[str, Any]:
    """A run as a document that JSON can say; what is not known is null.

    Args:
        folder: the run.
        history: its events so far; None: they are read.
    """
    history = read_history(folder) if history is None else history
    return {
        **summary(folder, history, place=place_in_queue(folder))._asdict(),
        "folder": str(folder.root),
        "started": history.started.fields if history.started else None,
        "plan": history.plan.fields if history.plan else None,
        "latest": history.latest,
        "series": {name: curve._asdict() for name, curve in history.series.items()},
        "evaluations": [_record(event) for event in history.evaluations],
        "checkpoints": [_record(event) for event in history.checkpoints],
        "devices": history.devices.fields if history.devices else None,
        "alerts_said": [_record(event) for event in history.alerts],
        "notes": [_record(event) for event in history.notes],
        "verdict_said": history.verdict.fields if history.verdict else None,
        "ended": history.ended.fields if history.ended else None,
        "damaged_lines": history.damaged,
    }


def lines(folder: RunFolder, history: History | None = None, width: int = 40) -> list[str]:
    """A run in plain lines. They hold text as the run said it: whoever prints them makes it safe.

    Args:
        folder: the run.
        history: its events so far; None: they are read.
        width: columns of the curves.
    """
    history = read_history(folder) if history is None else history
    found = [
        *_heading(folder, history),
        *_labelled("loss", _loss(history, width)),
        *_labelled("similarity", _similarity(history)),
        *_labelled("speed", _speed(history)),
        *_evaluations(history, width),
        *_devices(history),
        *_labelled("checkpoints", _checkpoints(folder, history)),
        *_alerts(history),
        *_verdict(history),
    ]
    return [line for line in found if line]


def sparkline(curve: Series, width: int, until: int | None = None, diverged: int | None = None) -> str:
    """A curve in one line of bars, from the lowest value to the highest.

    Args:
        curve: what to draw.
        width: columns at most.
        until: the step that the last column stands for; None: the curve's last one.
        diverged: the step from which there are no numbers; it is marked ×.

    Returns:
        A column with no point is a gap: nothing is drawn where nothing was measured.
    """
    if not curve.steps:
        return "×" if diverged is not None else ""
    first, last = curve.steps[0], max(curve.steps[-1], until or 0, diverged or 0)
    columns = min(width, last - first + 1)
    sums: list[list[float]] = [[] for _ in range(columns)]
    for step, value in zip(curve.steps, curve.values, strict=True):
        sums[_column(step, first, last, columns)].append(value)
    low, high = min(curve.values), max(curve.values)
    drawn = [_bar(sum(values) / len(values), low, high) if values else " " for values in sums]
    if diverged is not None:
        drawn[_column(max(diverged, first), first, last, columns)] = "×"
    return "".join(drawn)


def of_chance(verdict: Mapping[str, Any]) -> str:
    """One sentence on whether chance explains a verdict; nothing where it does not, or is not known.

    Args:
        verdict: the fields of the event.
    """
    p, n, minimal = (number(verdict.get(name)) for name in ("p", "n", "minimal"))
    if p is None or p < LEVEL:
        return ""
    if minimal == 0 and number(verdict.get("delta")) == 0:
        return "nothing changed: every query has the score that it had before training"
    said = f"this may be chance: p = {p:.2f}"
    return f"{said}; with {n:,.0f} queries only differences above {minimal:.2g} can be told" if n and minimal else said


def going_on(folder: RunFolder) -> str:
    """The command that goes on with a run which ended before it was done."""
    return f"go on with it: harrier-studio resume {folder.name} {shlex.join(['--project', str(folder.project)])}"


def duration(seconds: float) -> str:
    """Seconds as 1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _heading(folder: RunFolder, history: History) -> list[str]:
    run = summary(folder, history, place=place_in_queue(folder))
    doing = [run.state.value]
    if run.state is State.QUEUED and run.queued:
        doing.append(f"place {run.queued}")
    if run.stale:
        doing.append("silent")
    if run.phase and run.state in (State.RUNNING, State.STOPPING):
        doing.append(_phase(history))
    if run.diverged is not None:
        doing.append(f"diverged at step {run.diverged:,}")
    if run.max_steps:
        doing.append(f"step {run.step:,} of {run.max_steps:,} ({run.step / run.max_steps:.0%})")
    if run.seconds:
        doing.append(duration(run.seconds) + (f", {duration(run.eta)} left" if run.eta is not None else ""))
    if run.attempts > 1:
        doing.append(f"attempt {run.attempts}")
    return [f"{run.name} · {' · '.join(doing)}", f"  {run.why}"]


def _phase(history: History) -> str:
    if not history.progress:
        return history.phase
    done, total = (number(history.progress.fields.get(name)) for name in ("done", "total"))
    if done is None:
        return history.phase
    return f"{history.phase} {done:,.0f}" + (f" of {total:,.0f}" if total is not None else "")


def _labelled(name: str, parts: list[str]) -> list[str]:
    said = [part for part in parts if part]
    return [f"{name:<12}{'  '.join(said)}"] if said else []


def _loss(history: History, width: int) -> list[str]:
    if "loss" not in history.latest:
        return []
    curve = history.series.get("loss", Series([], []))
    return [
        _said(history.latest, "loss", "", "{:.4f}") or "not a number",
        _said(history.latest, "ema", "EMA ", "{:.4f}"),
        sparkline(curve, width, history.step, history.diverged),
        _said(history.latest, "grad_norm", "grad norm ", "{:.2f}"),
        _said(history.latest, "lr", "lr ", "{:.2e}"),
    ]


def _similarity(history: History) -> list[str]:
    said = [_said(history.latest, name, f"{name} ", "{:.3f}") for name in ("pos", "neg", "margin")]
    return [*said, _said(history.latest, "accuracy", "in-batch accuracy ", "{:.3f}")]


def _speed(history: History) -> list[str]:
    return [
        _said(history.latest, "samples_per_second", "", "{:,.1f} samples/s"),
        _said(history.latest, "tokens_per_second", "", "{:,.0f} tokens/s"),
        _said(history.latest, "data_wait", "waiting for data ", "{:.0%}"),
        _said(history.latest, "padding", "padding ", "{:.0%}"),
    ]


def _evaluations(history: History, width: int) -> list[str]:
    scored = history.scored()
    if not scored:
        return []
    baseline, best = history.baseline, history.best
    training = [event for event in scored if event.fields.get("when") != "baseline"]
    curve = Series([event.step for event in training], [float(event.fields["score"]) for event in training])
    start = "" if baseline is None else f"baseline {baseline:.4f}"
    found = _labelled("evaluation", [history.main, start, sparkline(curve, width)])
    for event in training[-_LATEST_EVALUATIONS:]:
        score = float(event.fields["score"])
        change = "" if baseline is None else f"  {score - baseline:+.4f}"
        star = "  ★ best" if event is best else ""
        found.append(f"{'':<12}step {event.step:>7,}  {score:.4f}{change}{star}")
    return found


def _devices(history: History) -> list[str]:
    if not history.devices:
        return []
    fields = history.devices.fields
    found = []
    devices = fields.get("devices")
    for device in devices if isinstance(devices, list) else []:
        if isinstance(device, dict):
            used, total = (number(device.get(name)) for name in ("memory_used", "memory_total"))
            memory = "" if used is None or total is None else f"{used / _GIB:.1f} of {total / _GIB:.1f} GiB"
            said = [
                f"GPU {device.get('index')} {device.get('name') or ''}".rstrip(),
                _said(device, "utilisation", "", "{:.0%}"),
                memory,
                _said(device, "temperature", "", "{:.0f} °C"),
                _said(device, "power", "", "{:.0f} W"),
            ]
            found += _labelled("device", said)
    names = {"peak": "peak", "reserved": "reserved", "rss": "process", "disk_free": "disk free"}
    sizes = [(words, number(fields.get(name))) for name, words in names.items()]
    return found + _labelled("memory", [f"{words} {size / _GIB:.1f} GiB" for words, size in sizes if size is not None])


def _checkpoints(folder: RunFolder, history: History) -> list[str]:
    """Those that are still on disk: older ones make room for newer ones."""
    best = history.best_checkpoint
    kept = [event for event in history.checkpoints if (folder.root / str(event.fields.get("path") or "")).is_dir()]
    said = [f"{event.step:,}{'★' if event.step == best else ''}" for event in kept if event.fields.get("path")]
    return [" · ".join(said)] if said else []


def _verdict(history: History) -> list[str]:
    if not history.verdict:
        return []
    return [str(history.verdict.fields.get("line") or ""), of_chance(history.verdict.fields)]


def _alerts(history: History) -> list[str]:
    since = history.started.seq if history.started else 0
    found = []
    for event in [alert for alert in history.alerts if alert.seq > since][-_LATEST_ALERTS:]:
        found += _labelled(str(event.fields.get("level") or "alert"), [f"step {event.step:,}: {_message(event)}"])
        remedies = event.fields.get("remedies")
        found += [f"{'':<12}do: {remedy}" for remedy in (remedies if isinstance(remedies, list) else [])]
    return found or _labelled("alerts", ["none"])


def _message(event: Event) -> str:
    return str(event.fields.get("message") or event.fields.get("code") or "")


def _said(fields: dict[str, Any], name: str, before: str, form: str) -> str:
    """A figure in words; nothing if it is not known."""
    value = number(fields.get(name))
    return "" if value is None else before + form.format(value)


def _record(event: Event) -> dict[str, Any]:
    return {"step": event.step, "time": event.time, **event.fields}


def _column(step: int, first: int, last: int, columns: int) -> int:
    return 0 if last == first else round((step - first) / (last - first) * (columns - 1))


def _bar(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.5
    return _BARS[round(share * (len(_BARS) - 1))]
