"""The runs of a project as a list: one line each."""

from __future__ import annotations

import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from studio.errors import InputError
from studio.runs.folder import RunFolder, run_folders
from studio.runs.history import Follower, History, number
from studio.runs.state import LIVE, Standing, State, queued_since, standing


class RunSummary(NamedTuple):
    """One run in a list. None: not known, or not yet."""

    name: str
    state: State
    stale: bool
    """It is live but was silent for longer than 30 seconds."""
    why: str
    """What it is doing and how that is known, in one sentence."""
    queued: int | None
    """Its place among those that wait, from 1."""
    phase: str
    step: int
    max_steps: int | None
    share: float | None
    """How much of the training is done, 0 to 1."""
    main: str
    """Name of the metric that decides."""
    score: float | None
    """The verdict's score, else the best so far, else the baseline."""
    baseline: float | None
    best_step: int | None
    """Step of the best evaluation since training began."""
    verdict: str
    """WIN, MARGINAL or REGRESSION; empty before there is one."""
    p: float | None
    """Of the verdict's difference: how often chance alone makes one as large."""
    queries: int | None
    """How many queries `score` is a mean over; scores over other queries do not compare."""
    diverged: int | None
    """The step at which the loss was no number any more."""
    seconds: float
    """How long its attempts worked, together."""
    eta: float | None
    """Seconds that are left, by its last log line; None unless it is at work."""
    alerts: int
    """Alerts of the latest attempt."""
    attempts: int
    preset: str
    last: float | None
    """When it gave its last sign, in seconds since 1970."""


class RunList:
    """The runs of a project, kept up to date: each call reads only what is new in their events."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._followed: dict[str, Follower] = {}
        self._specs: dict[str, tuple[int, dict[str, Any]]] = {}

    def read(self) -> list[RunSummary]:
        """What each run is doing now: those at work, those that wait in their order, then the others, latest first."""
        folders = run_folders(self._project)
        for gone in self._followed.keys() - {folder.name for folder in folders}:
            self._followed.pop(gone).close()
        waiting = sorted((since, folder.name) for folder in folders if (since := queued_since(folder)) is not None)
        places = {name: place for place, (_, name) in enumerate(waiting, start=1)}
        return sorted((self._one(folder, places.get(folder.name)) for folder in folders), key=_order)

    def history(self, name: str) -> History | None:
        """What the events of a run added up to when the list was read last."""
        followed = self._followed.get(name)
        return followed.history if followed else None

    def close(self) -> None:
        """Let go of the files."""
        for followed in self._followed.values():
            followed.close()
        self._followed.clear()

    def _one(self, folder: RunFolder, place: int | None) -> RunSummary:
        followed = self._followed.setdefault(folder.name, Follower(folder))
        # One run whose events cannot be read must not hide the others; looked at alone, it says why.
        with suppress(InputError):
            followed.read()
        return summary(folder, followed.history, self._spec(folder), place)

    def _spec(self, folder: RunFolder) -> dict[str, Any]:
        """The frozen spec, read once; a run that is made anew under the name of another has another file."""
        try:
            inode = folder.spec.stat().st_ino
        except OSError:
            return {}
        known = self._specs.get(folder.name)
        if known is None or known[0] != inode:
            known = self._specs[folder.name] = (inode, read_toml(folder.spec))
        return known[1]


def summaries(project: Path) -> list[RunSummary]:
    """What each run of a project is doing now; `RunList` does it again and again at little cost."""
    runs = RunList(project)
    found = runs.read()
    runs.close()
    return found


def summary(
    folder: RunFolder, history: History, spec: dict[str, Any] | None = None, place: int | None = None
) -> RunSummary:
    """One run as a line of a list.

    Args:
        folder: the run.
        history: its events so far.
        spec: what `run.toml` says; None: it is read.
        place: the run's place in the queue, if it is in it.
    """
    spec = read_toml(folder.spec) if spec is None else spec
    now = standing(folder, history)
    live = now.state in LIVE
    steps = _max_steps(history)
    return RunSummary(
        name=folder.name,
        state=now.state,
        stale=now.stale,
        why=now.why,
        queued=place if now.state is State.QUEUED else None,
        phase=history.phase,
        step=history.step,
        max_steps=steps,
        share=_share(history, now, steps),
        main=history.main or _metric(spec),
        score=history.score,
        baseline=history.baseline,
        best_step=history.best.step if history.best else None,
        verdict=str(history.verdict.fields.get("verdict") or "") if history.verdict else "",
        p=number(history.verdict.fields.get("p")) if history.verdict else None,
        queries=_queries(history),
        diverged=history.diverged,
        seconds=history.seconds + (max(time.time() - history.time, 0.0) if live and history.time else 0.0),
        eta=number(history.latest.get("eta")) if now.state is State.RUNNING else None,
        alerts=sum(alert.seq > (history.started.seq if history.started else 0) for alert in history.alerts),
        attempts=history.attempts,
        preset=str(spec.get("preset") or ""),
        last=now.last,
    )


def place_in_queue(folder: RunFolder) -> int | None:
    """The place of a run among those of its project that wait, from 1; None: it does not wait."""
    own = queued_since(folder)
    if own is None:
        return None
    others = [(since, run.name) for run in run_folders(folder.project) if (since := queued_since(run)) is not None]
    return sum(other <= (own, folder.name) for other in others)


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says; nothing if it is not there or damaged: a list of runs shows the others all the same."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _max_steps(history: History) -> int | None:
    steps = number(history.plan.fields.get("max_steps")) if history.plan else None
    return None if steps is None else int(steps)


def _queries(history: History) -> int | None:
    """The queries of the verdict; before there is one, of the last evaluation."""
    said = history.verdict.fields.get("n") if history.verdict else None
    if said is None and history.evaluations:
        said = history.evaluations[-1].fields.get("queries")
    known = number(said)
    return None if known is None else int(known)


def _share(history: History, now: Standing, steps: int | None) -> float | None:
    if now.state is State.DONE:
        return 1.0
    if not steps:
        return None
    return min(history.step / steps, 1.0)


def _metric(spec: dict[str, Any]) -> str:
    evaluation = spec.get("evaluation")
    return str(evaluation.get("metric") or "") if isinstance(evaluation, dict) else ""


def _order(run: RunSummary) -> tuple[int, int, float, str]:
    kind = 0 if run.state in LIVE else 1 if run.queued is not None else 2
    return kind, run.queued or 0, -(run.last or 0.0), run.name
