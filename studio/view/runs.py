"""What the Runs panel asks: the list of runs, one of them in full, several over one another."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from studio.evaluation.significance import Difference
from studio.files import write_text
from studio.runs.events import Event
from studio.runs.folder import RunFolder, existing_run
from studio.runs.history import History, Series, number
from studio.runs.summary import RunList, RunSummary
from studio.view.bench import Bench
from studio.view.run_comparison import apart, judged, run_of, settings_that_differ, spec_of

CURVES = ("loss", "ema", "lr", "grad_norm", "pos", "neg", "margin", "accuracy", "samples_per_second")
POINTS = 200
"""Columns a curve is asked for: of each column the lowest and the highest value are kept, so no spike is lost."""
_PINNED = "baseline"
"""File beside the runs: the name of the one that others are compared with."""
_MOST_ALERTS = 100


class Curve(NamedTuple):
    """Points of a curve, steps rising; not a number where the run had none."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


class Evaluated(NamedTuple):
    """One evaluation. `when`: baseline, training, requested or final; `metrics`: name and value of each."""

    step: int
    when: str
    score: float | None
    metrics: tuple[tuple[str, float], ...]


class Checkpoint(NamedTuple):
    """One checkpoint that is on disk: later ones replace earlier ones."""

    step: int
    bytes: int | None
    best: bool
    requested: bool


class Alert(NamedTuple):
    """One alert; `remedies`: the best first."""

    step: int
    code: str
    level: str
    message: str
    remedies: tuple[str, ...]


class DeviceNow(NamedTuple):
    """One device as it was told last; None: not known. `lately`: its utilisation (shares of 1), the latest last."""

    number: int
    name: str
    utilisation: float | None
    memory_used: float | None
    memory_total: float | None
    temperature: float | None
    power: float | None
    lately: tuple[float, ...]


class RunDetail(NamedTuple):
    """One run in full.

    `latest`: the last log line's numbers. `plan`: what training does. `memory`: peak, reserved, rss and disk_free in
    bytes, those that are known. `done`, `total`: how far the phase is. `requests`: what was asked → seen or done.
    `why`: what the run is to show. `line`: the verdict's. `damaged`: lines of its events that could not be read.
    """

    summary: RunSummary
    latest: dict[str, float]
    curves: dict[str, Curve]
    evaluations: tuple[Evaluated, ...]
    checkpoints: tuple[Checkpoint, ...]
    alerts: tuple[Alert, ...]
    notes: tuple[str, ...]
    devices: tuple[DeviceNow, ...]
    memory: dict[str, float]
    plan: dict[str, float]
    done: float | None
    total: float | None
    requests: dict[str, str]
    why: str
    line: str
    damaged: int


class Compared(NamedTuple):
    """One of several runs.

    `changes`: the settings in which it differs from the one they are compared with. `comparable`: whether its scores
    and that one's are of the same metric over the same queries and passages. `difference`: from that one, query by
    query, once both have ended. `note`: why there is none, or what else to know.
    """

    summary: RunSummary
    loss: Curve
    scores: Curve
    changes: tuple[tuple[str, str], ...]
    comparable: bool
    difference: Difference | None
    note: str


class RunsAnswer(NamedTuple):
    """The runs of a project.

    `detail`: of the one asked for, if there is one. `compared`: the others asked for. `base`: the name of the run they
    are compared with. `pinned`: the baseline's name, or "". `apart`: names of those whose score is a mean over another
    number of queries than the baseline's, or, where none is pinned, than that of most runs.
    """

    runs: tuple[RunSummary, ...]
    detail: RunDetail | None
    compared: tuple[Compared, ...]
    base: str
    pinned: str
    apart: frozenset[str]


_LISTS: WeakKeyDictionary[Bench, RunList] = WeakKeyDictionary()


def runs(bench: Bench, run: str = "", compared: Sequence[str] = (), points: int = POINTS) -> RunsAnswer:
    """Every run of the project, reading only what is new in their events.

    Args:
        bench: the project.
        run: the run to tell in full.
        compared: runs to lay over one another.
        points: columns that curves are drawn in.
    """
    known = _LISTS.get(bench)
    if known is None:
        known = _LISTS[bench] = RunList(bench.project.root)
    found = {each.name: each for each in known.read()}
    history = known.history(run) if run in found else None
    pinned = _pinned(bench)
    several = [each for each in compared if each in found]
    base = pinned if pinned in found else next(iter(several), "")
    return RunsAnswer(
        tuple(found.values()),
        detail(found[run], history, run_of(bench, run), points) if history else None,
        tuple(
            _compared(bench, found[each], its, found[base], points) for each in several if (its := known.history(each))
        ),
        base,
        pinned if pinned in found else "",
        apart(list(found.values()), found.get(pinned)),
    )


def detail(summary: RunSummary, history: History, folder: RunFolder, points: int = POINTS) -> RunDetail:
    """One run in full.

    Args:
        summary: of the run.
        history: its events so far.
        folder: where it is.
        points: columns that curves are drawn in.
    """
    told = history.devices.fields if history.devices else {}
    progress = history.progress.fields if history.progress else {}
    began = history.started.seq if history.started else 0
    return RunDetail(
        summary,
        _numbers(history.latest),
        {
            name: _curve(series, points, history.diverged if name in ("loss", "ema") else None)
            for name in CURVES
            if (series := history.series.get(name))
        },
        tuple(map(_evaluated, history.evaluations)),
        tuple(
            _checkpoint(event, best=event.step == history.best_checkpoint)
            for event in history.checkpoints
            if _is_there(folder, event)
        ),
        tuple(_alert(event) for event in history.alerts[-_MOST_ALERTS:] if event.seq > began),
        tuple(str(event.fields.get("message") or "") for event in history.notes if event.seq > began),
        tuple(_devices(told.get("devices"), history)),
        _numbers({key: told.get(key) for key in ("peak", "reserved", "rss", "disk_free")}),
        _numbers(history.plan.fields if history.plan else {}),
        number(progress.get("done")),
        number(progress.get("total")),
        dict(history.requests),
        _why(folder),
        str(history.verdict.fields.get("line") or "") if history.verdict else "",
        history.damaged,
    )


def pin_baseline(bench: Bench, run: str) -> None:
    """Remember the run that others are compared with; an empty name forgets it.

    Raises:
        InputError: there is no such run.
        UnavailableError: the disk is full.
    """
    folder = existing_run(bench.project.root, run) if run else None
    write_text(bench.project.root / "runs" / _PINNED, f"{folder.name}\n" if folder else "")


def thinned(series: Series, points: int) -> Curve:
    """The curve with at most two values a column, its lowest and its highest: no spike is lost."""
    steps, values = series
    if len(steps) <= 2 * points:
        return Curve(tuple(steps), tuple(values))
    span = max(steps[-1] - steps[0], 1)
    kept: list[int] = []
    first = 0
    for column in range(points):
        end = bisect_left(steps, steps[0] + span * (column + 1) / points) if column < points - 1 else len(steps)
        if end > first:
            inside = values[first:end]
            kept += sorted({first + inside.index(min(inside)), first + inside.index(max(inside))})
        first = end
    return Curve(tuple(steps[at] for at in kept), tuple(values[at] for at in kept))


def _curve(series: Series, points: int, diverged: int | None = None) -> Curve:
    curve = thinned(series, points)
    if diverged is None:
        return curve
    at = bisect_left(curve.steps, diverged)
    return Curve((*curve.steps[:at], diverged, *curve.steps[at:]), (*curve.values[:at], math.nan, *curve.values[at:]))


def _compared(bench: Bench, summary: RunSummary, history: History, base: RunSummary, points: int) -> Compared:
    scored = history.scored()
    series = history.series
    loss = series.get("ema") or series.get("loss") or Series([], [])
    comparable, difference, note = judged(bench, summary, base)
    return Compared(
        summary,
        _curve(loss, points, history.diverged),
        Curve(tuple(event.step for event in scored), tuple(float(event.fields["score"]) for event in scored)),
        settings_that_differ(bench, summary.name, base.name),
        comparable,
        difference,
        note,
    )


def _why(folder: RunFolder) -> str:
    spec = spec_of(folder)
    return spec.why if spec else ""


def _pinned(bench: Bench) -> str:
    try:
        return (bench.project.root / "runs" / _PINNED).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    return {name: known for name, value in fields.items() if (known := number(value)) is not None}


def _evaluated(event: Event) -> Evaluated:
    metrics = event.fields.get("metrics")
    known = _numbers(metrics) if isinstance(metrics, dict) else {}
    when = str(event.fields.get("when") or "")
    return Evaluated(event.step, when, number(event.fields.get("score")), tuple(known.items()))


def _is_there(folder: RunFolder, event: Event) -> bool:
    path = event.fields.get("path")
    return isinstance(path, str) and (folder.root / path).is_dir()


def _checkpoint(event: Event, *, best: bool) -> Checkpoint:
    size = number(event.fields.get("bytes"))
    return Checkpoint(event.step, None if size is None else int(size), best, event.fields.get("requested") is True)


def _alert(event: Event) -> Alert:
    remedies = event.fields.get("remedies")
    return Alert(
        event.step,
        str(event.fields.get("code") or ""),
        str(event.fields.get("level") or ""),
        str(event.fields.get("message") or ""),
        tuple(map(str, remedies)) if isinstance(remedies, list) else (),
    )


def _devices(told: Any, history: History) -> list[DeviceNow]:
    found = []
    for device in told if isinstance(told, list) else []:
        if not isinstance(device, dict) or not isinstance(device.get("index"), int):
            continue
        known = {
            name: number(device.get(name))
            for name in ("utilisation", "memory_used", "memory_total", "temperature", "power")
        }
        lately = tuple(history.utilisation.get(device["index"], ()))
        found.append(DeviceNow(device["index"], str(device.get("name") or ""), **known, lately=lately))
    return found
