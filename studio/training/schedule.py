"""At which steps a run logs, evaluates and saves: spread evenly, fixed by the number of steps alone."""

from __future__ import annotations

from typing import NamedTuple

from studio.training.spec import RunSpec

_SAVES_WITHOUT_EVALUATIONS = 10


class Schedule(NamedTuple):
    """Steps, counted from 1. Every step that saves is one that evaluates, if any does; the last step does all."""

    log: frozenset[int]
    evaluate: frozenset[int]
    save: frozenset[int]


def schedule(steps: int, spec: RunSpec) -> Schedule:
    """Lay out the steps of a run.

    Args:
        steps: how many there are, at least 1.
        spec: how often.
    """
    evaluate = _even(steps, spec.evaluation.times)
    places = evaluate or _even(steps, _SAVES_WITHOUT_EVALUATIONS)
    save = {step for number, step in enumerate(places, 1) if number % spec.checkpoints.every == 0} | {steps}
    log = {1, *_even(steps, spec.reporting.logs), *evaluate, *save}
    return Schedule(frozenset(log), frozenset(evaluate), frozenset(save))


def _even(steps: int, times: int) -> list[int]:
    """`times` of the steps 1 to `steps`, evenly spread, the last of them included."""
    return sorted({-(-steps * number // times) for number in range(1, times + 1)}) if times else []
