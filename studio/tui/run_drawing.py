"""What the Runs panel draws: the line of a run, and one run in full."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.content import Content

from studio.runs.state import LIVE, State
from studio.tui.cluster_drawing import count
from studio.tui.curves import Curve, Mark, number, spark
from studio.tui.run_charts import LEAST, TWO_CHARTS, Chart, grid
from studio.tui.run_numbers import CHANCE, bar, clock, decimal, p_words, score_words, size
from studio.tui.safe import safe, safe_text

if TYPE_CHECKING:
    from studio.runs.stopping import Rung
    from studio.runs.summary import RunSummary
    from studio.view.runs import DeviceNow, RunDetail

SIGNS = {
    State.QUEUED: "…",
    State.STARTING: "▷",
    State.RUNNING: "▶",
    State.STOPPING: "◧",
    State.STOPPED: "■",
    State.DONE: "✓",
    State.FAILED: "✗",
    State.LOST: "✗",
}
_PHASES = {
    "data": "reading data",
    "model": "loading the model",
    "baseline": "measuring the baseline",
    "train": "training",
    "evaluate": "evaluating",
    "save": "saving",
    "final": "finishing",
}
_RUNGS = {
    "request": "asked to save and stop; SIGTERM in {left:.0f} s · s: do not wait",
    "sigterm": "SIGTERM was sent; SIGKILL in {left:.0f} s · s: do not wait",
    "sigkill": "SIGKILL was sent",
    "ended": "it has ended",
}
_NAME = 20
_SPARK = 8


def run_line(run: RunSummary, *, marked: str, pinned: bool, apart: bool) -> Content:
    """One run of the list.

    Args:
        run: what it is doing.
        marked: its letter among those that are compared, or "".
        pinned: whether the others are compared with it.
        apart: whether its score is over other queries than theirs.
    """
    sign = "?" if run.stale else SIGNS[run.state]
    return Content.assemble(
        (f"{marked or ' '}", "bold"),
        (f"{'◆' if pinned else ' '}{sign} ", "bold"),
        f"{safe_text(run.name, _NAME):<{_NAME}} ",
        ("≠" if apart and run.state in (State.DONE, State.STOPPED) else " ", "bold"),
        (short_words(run), "bold" if run.state in LIVE else "dim" if by_chance(run) else ""),
    )


def by_chance(run: RunSummary) -> bool:
    """Whether there is a verdict and chance alone may have brought it about."""
    return bool(run.verdict) and run.p is not None and run.p >= CHANCE


def short_words(run: RunSummary) -> str:
    """How a run stands, in a word or a number; a verdict that may be chance has its p."""
    score = "" if run.score is None else decimal(run.score)
    if run.stale:
        return "silent"
    if run.state is State.QUEUED:
        return f"queued {run.queued or ''}".strip()
    if run.state in LIVE:
        share = "" if run.share is None else f"{run.share:.0%}"
        return {State.STARTING: "starting", State.STOPPING: "stopping"}.get(run.state) or share or run.phase
    if run.diverged is not None:
        return "diverged"
    if run.state is State.DONE:
        p = "" if run.p is None or not by_chance(run) else f"p={p_words(run.p)}"
        return " ".join(part for part in (score, run.verdict, p) if part) or "done"
    if run.state is State.STOPPED and run.attempts == 0:
        return "not started"
    return f"{run.state}" + (f" {score}" if score and run.state is State.STOPPED else "")


def head_words(run: RunSummary, rung: Rung | None) -> Content:
    """The first line of a run: name, what it is at, step, times; while it is being stopped the ladder's countdown."""
    phase = _PHASES.get(run.phase, run.phase) or "beginning"
    parts = [phase if run.state is State.RUNNING else str(run.state)]
    if run.max_steps:
        parts.append(f"step {run.step:,} of {run.max_steps:,}")
    elif run.step:
        parts.append(f"step {run.step:,}")
    if run.seconds:
        parts.append(clock(run.seconds))
    if run.eta is not None:
        parts.append(f"{clock(run.eta)} left")
    if run.attempts > 1:
        parts.append(f"attempt {run.attempts}")
    first = Content.assemble((safe_text(run.name, 60), "bold"), " · ", safe(" · ".join(parts)))
    return first if rung is None else Content("\n").join([first, rung_words(rung)])


def rung_words(rung: Rung) -> Content:
    """Where the ladder of stopping is, and how long it still waits."""
    return Content.styled(_RUNGS[rung.name].format(left=math.ceil(rung.left)), "bold $warning")


def state_words(run: RunSummary) -> Content | None:
    """What is to be known of a run that is not simply at work or done."""
    if run.stale:
        return safe(f"? silent: {run.why}", 300).stylize("bold $warning")
    if run.diverged is not None:
        words = f"✗ diverged: from step {run.diverged:,} the loss is no number. A lower learning rate, or bf16, helps."
        return safe(words).stylize("bold $error")
    if run.state is State.LOST:
        return safe(f"✗ lost: {run.why} · r resumes it", 300).stylize("bold $error")
    if run.state is State.FAILED:
        return safe(f"✗ failed: {run.why}", 400).stylize("bold $error")
    if run.state is State.STOPPED:
        return safe(f"■ stopped: {run.why} · r goes on", 300)
    if run.state is State.QUEUED:
        return safe(f"… {run.why}", 300)
    return None


def detail_lines(detail: RunDetail, width: int, height: int, *, log: bool, rung: Rung | None) -> list[Content]:
    """One run in full, in `width` columns and, where it can be, `height` lines."""
    run = detail.summary
    lines = [head_words(run, rung)]
    if (words := state_words(run)) is not None:
        lines.append(words)
    lines += [_figures(detail), *_progress(detail)]
    after = [*_numbers_lines(detail), *_devices_lines(detail, width), *_kept_lines(detail), *_said_lines(detail)]
    room = height - len(lines) - len(after) - 1 - (rung is not None)
    lines += _charts(detail, width, room, log)
    return lines + after


def _charts(detail: RunDetail, width: int, room: int, log: bool) -> list[Content]:
    """Loss and metric; where there is room, similarities and gradient norm below them."""
    run, curves = detail.summary, detail.curves
    metric = safe_text(run.main, 30) or "metric"
    queries = "" if run.queries is None else f"  n={run.queries:,}"
    loss = [_named(detail, "loss", "$secondary"), _named(detail, "ema", "bold $primary")]
    scored = [each for each in detail.evaluations if each.score is not None]
    score = Curve([each.step for each in scored], [each.score or 0.0 for each in scored], "bold $primary")
    best = [Mark(each.step, each.score or 0.0) for each in scored if each.step == run.best_step][-1:]
    charts = [
        Chart("loss" + (", log" if log else "") + " and EMA", [curve for curve in loss if curve.steps], log=log),
        Chart(
            f"{metric} ··· baseline {score_words(run.baseline)}  ★ best{queries}",
            [score],
            baseline=run.baseline,
            marks=best,
        ),
    ]
    more = []
    if "pos" in curves:
        similar = [
            Curve(curves[name].steps, curves[name].values, style, sign)
            for name, style, sign in (("pos", "$success", "p"), ("neg", "$error", "n"), ("margin", "$primary", "m"))
            if name in curves
        ]
        more.append(Chart("similarity: p positive, n negative, m margin", similar))
    if "grad_norm" in curves:
        more.append(Chart("gradient norm" + (", log" if log else ""), [_named(detail, "grad_norm", "")], log=log))
    rows = [charts, more] if more and room >= 4 * LEAST and width >= TWO_CHARTS else [charts]
    return grid(rows, width, room, run.max_steps)


def _named(detail: RunDetail, name: str, style: str) -> Curve:
    found = detail.curves.get(name)
    return Curve(found.steps, found.values, style) if found else Curve((), ())


def _figures(detail: RunDetail) -> Content:
    """Loss, gradient norm and learning rate as they were logged last."""
    latest = detail.latest
    parts = []
    if "loss" in latest:
        ema = f" (EMA {number(latest['ema'])})" if "ema" in latest else ""
        parts.append(f"loss {number(latest['loss'])}{ema}")
    if "grad_norm" in latest:
        parts.append(f"grad norm {number(latest['grad_norm'])}")
    if "lr" in latest:
        parts.append(f"lr {latest['lr']:.2g}")
    if "epoch" in latest:
        parts.append(f"epoch {latest['epoch']:.2f}")
    return safe(" · ".join(parts) or "nothing logged yet")


def _progress(detail: RunDetail) -> Iterator[Content]:
    """How far a phase other than training is."""
    run = detail.summary
    if run.state not in LIVE or run.phase == "train" or detail.done is None:
        return
    words = _PHASES.get(run.phase, run.phase)
    share = f"{bar(detail.done / detail.total, 20)} {detail.done:,.0f} of {detail.total:,.0f}" if detail.total else (
        f"{detail.done:,.0f}"
    )  # fmt: skip
    yield safe(f"{words} {share}")


def _numbers_lines(detail: RunDetail) -> Iterator[Content]:
    latest = detail.latest
    parts = [f"{name} {decimal(latest[name])}" for name in ("pos", "neg", "margin") if name in latest]
    if "accuracy" in latest:
        among = f" among {detail.plan['negatives'] + 1:,.0f}" if "negatives" in detail.plan else ""
        parts.append(f"in-batch accuracy {decimal(latest['accuracy'])}{among}")
    if parts:
        yield Content("  ".join(parts))
    parts = [
        f"{latest[name]:,.0f} {words}"
        for name, words in (("samples_per_second", "samples/s"), ("tokens_per_second", "tokens/s"))
        if name in latest
    ]
    parts += [
        f"{words} {latest[name]:.0%}"
        for name, words in (("data_wait", "waiting for data"), ("padding", "padding"))
        if name in latest
    ]
    if parts:
        yield Content(" · ".join(parts))


def _devices_lines(detail: RunDetail, width: int) -> Iterator[Content]:
    for device in detail.devices:
        yield safe(device_words(device), width)
    memory = detail.memory
    named = (("peak", "peak"), ("reserved", "reserved"), ("rss", "process"), ("disk_free", "disk free"))
    if parts := [f"{words} {size(memory[name])}" for name, words in named if name in memory]:
        yield Content("memory " + " · ".join(parts))


def device_words(device: DeviceNow) -> str:
    """One device: how busy, how full, how warm."""
    parts = [f"GPU {device.number}", device.name]
    if device.utilisation is not None:
        parts.append(f"{device.utilisation:.0%} {spark(device.lately, _SPARK, 1.0)}")
    if device.memory_used is not None and device.memory_total:
        parts.append(f"{size(device.memory_used)} of {size(device.memory_total)}")
    parts += [f"{device.temperature:.0f} °C"] if device.temperature is not None else []
    parts += [f"{device.power:.0f} W"] if device.power is not None else []
    return "  ".join(part for part in parts if part)


def _kept_lines(detail: RunDetail) -> Iterator[Content]:
    """Checkpoints and what is asked of the run."""
    kept = [
        f"{each.step:,}{'★' if each.best else ''}{' (asked for)' if each.requested else ''}"
        for each in detail.checkpoints
    ]
    if kept:
        largest = max((each.bytes or 0 for each in detail.checkpoints), default=0)
        yield safe(f"checkpoints {' · '.join(kept[-12:])}" + (f", {size(largest)} each" if largest else ""))
    waiting = [name for name, said in detail.requests.items() if said == "seen"]
    if waiting and detail.summary.state in LIVE:
        yield safe(f"asked for: {', '.join(waiting)}; it comes at the next step")


def _said_lines(detail: RunDetail) -> Iterator[Content]:
    """The verdict, alerts with what to do, notes."""
    if detail.line:
        chance = by_chance(detail.summary) and "chance" not in detail.line
        words = " · may be chance (p ≥ .05)" if chance else ""
        yield safe(detail.line, 400).stylize("" if by_chance(detail.summary) else "bold") + safe(words)
    if not detail.alerts:
        yield Content("alerts: none")
    for alert in reversed(detail.alerts):
        sign, style = ("✗", "bold $error") if alert.level == "error" else ("⚠", "bold $warning")
        yield Content.assemble((f"{sign} {safe_text(alert.code, 40)}", style), safe(f" at step {alert.step:,}: "),
                               safe(alert.message, 500))  # fmt: skip
        for remedy in alert.remedies[:3]:
            yield safe(f"    do: {remedy}", 300).stylize("italic")
    for note in detail.notes[-3:]:
        yield safe(f"· {note}", 300).stylize("dim")
    if detail.why:
        yield safe(f"to show: {detail.why}", 300).stylize("dim")
    if detail.damaged:
        yield safe(f"⚠ {count(detail.damaged, 'line')} of events.jsonl cannot be read").stylize("bold")
