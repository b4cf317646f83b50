"""The log of a project's experiments: one line a run, and what to try next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from studio.evaluation.verdict import Judgement, Verdict
from studio.files import explained
from studio.training.alerts import gentler_lr
from studio.training.losses import CACHED, LOSSES
from studio.training.spec import RunSpec

LOG = "experiments.md"
_HEAD = (
    "# Experiments\n\n"
    "One line a run, as it ended. The proposal is a rule of thumb, not a finding.\n\n"
    "| time | run | to see | state | verdict | score | baseline | Δ | p | best step | next |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)
_LOCK_SECONDS = 10
_LATE, _EARLY = 0.85, 0.4
_UNSURE = 0.05
_NOTHING = 5e-4
_GENTLER, _BOLDER = 0.5, 2.0


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        spec: what it did.
        state: done, failed or stopped.
        judgement: the verdict; None: it did not come to one.
        baseline: the score before training, if it was measured.
        step: steps that were done.
        steps: of how many.
        best_step: step of the best evaluation; None: none was made.
        trouble: codes of the alerts that were raised.
    """

    spec: RunSpec
    state: str
    judgement: Judgement | None
    baseline: float | None
    step: int
    steps: int
    best_step: int | None
    trouble: tuple[str, ...]


def propose(outcome: Outcome) -> str:
    """Say what to run next, as one sentence with the settings that change.

    In this order: mend what broke; learn more gently where training harmed; do more where nothing changed; go on where
    it was still getting better; measure more where nothing can be told; look for harder negatives where it stands
    still.
    """
    spec, judged = outcome.spec, outcome.judgement
    if spec.schedule.max_steps == 0:
        return "train with the preset first_try: this score is what it has to beat"
    if "oom" in outcome.trouble:
        return f"the same in less memory: {_smaller(spec)}"
    if outcome.state == "failed" or "collapse" in outcome.trouble or "nan" in outcome.trouble:
        return f"a gentler start: optimiser.lr={gentler_lr(spec, 0.2):.2g} schedule.warmup=0.2"
    if outcome.state == "stopped" or judged is None:
        return "resume it"
    if "perfect" in outcome.trouble:
        return "a harder test first: every query was answered right (evaluation.corpus=0, and the leakage check)"
    early = outcome.best_step is not None and outcome.best_step < _EARLY * outcome.steps
    if judged.verdict is Verdict.REGRESSION:
        if early:
            return f"fewer, gentler steps: optimiser.lr={gentler_lr(spec, _GENTLER):.2g} evaluation.patience=3"
        return f"a gentler learning rate: optimiser.lr={gentler_lr(spec, _GENTLER):.2g}; look at the pairs as well"
    if judged.difference.minimal < _NOTHING:
        return (
            f"more of it, since next to nothing changed: optimiser.lr={spec.optimiser.lr * _BOLDER:.2g} {_longer(spec)}"
        )
    if outcome.best_step is not None and outcome.best_step >= _LATE * outcome.steps:
        return f"longer, it was still getting better: {_longer(spec)}"
    if judged.difference.p >= _UNSURE:
        return (
            "more held-out queries before anything else: a difference below "
            f"{judged.difference.minimal:.3f} cannot be seen with {judged.difference.n}"
        )
    if early:
        return f"a gentler learning rate, the best step was early: optimiser.lr={gentler_lr(spec, _GENTLER):.2g}"
    if not any(part.negatives for part in spec.data) and LOSSES[spec.loss.name].in_batch:
        return "hard negatives: `harrier-studio mine`, then train on them (row G of the matrix)"
    if spec.loss.name in CACHED:
        return f"a larger batch: loss.name={CACHED[spec.loss.name].value} batch.per_device={spec.batch.per_device * 4}"
    return f"another learning rate: optimiser.lr={spec.optimiser.lr * _BOLDER:.2g}"


def record(runs: Path, name: str, outcome: Outcome) -> str:
    """Append a run to the log, and return the proposal.

    Args:
        runs: the project's folder of runs.
        name: the run's.
        outcome: how it ended.

    Raises:
        UnavailableError: the disk is full or the folder cannot be written.
    """
    following = propose(outcome)
    path = runs / LOG
    # Runs of one project end at the same time now and then.
    with (
        explained(path),
        FileLock(runs / f".{LOG}.lock", timeout=_LOCK_SECONDS),
        path.open("a", encoding="utf-8") as log,
    ):
        if log.tell() == 0:
            log.write(_HEAD)
        log.write(_line(name, outcome, following))
    return following


def _line(name: str, outcome: Outcome, following: str) -> str:
    judged = outcome.judgement
    cells = [
        time.strftime("%Y-%m-%d %H:%M"),
        name,
        outcome.spec.why,
        outcome.state,
        judged.verdict.value if judged else "",
        f"{judged.score:.4f}" if judged else "",
        "" if outcome.baseline is None else f"{outcome.baseline:.4f}",
        f"{judged.delta:+.4f}" if judged else "",
        f"{judged.difference.p:.4f}" if judged else "",
        "" if outcome.best_step is None else f"{outcome.best_step:,} of {outcome.steps:,}",
        following,
    ]
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def _longer(spec: RunSpec) -> str:
    """Twice the steps, by the key that decides how many there are."""
    if spec.schedule.max_steps > 0:
        return f"schedule.max_steps={spec.schedule.max_steps * 2}"
    return f"schedule.epochs={spec.schedule.epochs * 2:g}"


def _smaller(spec: RunSpec) -> str:
    if LOSSES[spec.loss.name].cached:
        return f"loss.mini_batch_size={max(1, spec.loss.mini_batch_size // 2)}"
    if spec.loss.name in CACHED:
        mini = max(1, spec.batch.per_device // 4)
        return f"loss.name={CACHED[spec.loss.name].value} loss.mini_batch_size={mini}"
    return f"batch.per_device={max(1, spec.batch.per_device // 2)}"
