"""What the engine does at length for evaluation: running systems on a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from studio.progress import Progress

if TYPE_CHECKING:
    from studio.engine.asks import Context
    from studio.evaluation.results import Evaluation


class Evaluated(NamedTuple):
    """An evaluation that was made; `systems`: all; `failed`: those that could not be run, each with the reason."""

    name: str
    systems: int
    failed: tuple[str, ...]


def evaluate(
    context: Context,
    progress: Progress,
    *,
    evaluation: str,
    set_name: str,
    ready: Sequence[str],
    systems: Sequence[str],
    metric: str,
    operations: bool,
    argv: Sequence[str],
) -> Evaluated:
    """Run systems on a set and store what came of it.

    Args:
        context: the open project.
        progress: told of every step.
        evaluation: what it is called; empty: it is named after the set.
        set_name: as `collecting.collect` reads it.
        ready: ready-made comparisons.
        systems: more of them, as `parsing.parse` reads them.
        metric: the one that decides.
        operations: whether the cost of each system is measured.
        argv: the command that does the same.

    Raises:
        UsageError: it cannot be called that, a system or a set is unknown, or two systems have one name.
        ConfigError: there is no such metric.
        InputError: the set cannot be read.
        UnavailableError: the set is out of reach, or another process is at this evaluation.
    """
    from studio.evaluation.collecting import SetOptions
    from studio.evaluation.evaluating import evaluate as run
    from studio.evaluation.metrics import METRICS
    from studio.evaluation.naming import distinct
    from studio.evaluation.parsing import parse
    from studio.evaluation.ready import ready as made_ready
    from studio.evaluation.storing import free_name

    project = context.project()
    asked = distinct([*(each for name in ready for each in made_ready(name, project)), *map(parse, systems)])
    name = evaluation or free_name(project.root, set_name)
    return _told(
        run(
            project,
            name,
            set_name,
            SetOptions(),
            asked,
            METRICS,
            metric,
            operations=operations,
            argv=argv,
            progress=progress,
        )
    )


def go_on(context: Context, progress: Progress, *, evaluation: str) -> Evaluated:
    """Do what is missing of an evaluation, and try again what could not be run.

    Raises:
        InputError: there is none of that name, or it is damaged.
        UnavailableError: another process is at this evaluation, or its set is out of reach.
    """
    from studio.evaluation.evaluating import go_on as run

    return _told(run(context.project(), evaluation, progress))


def _told(made: Evaluation) -> Evaluated:
    return Evaluated(
        made.name, len(made.systems), tuple(f"{each.name}: {each.error}" for each in made.systems if each.error)
    )
