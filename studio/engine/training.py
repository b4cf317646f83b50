"""What the engine does at length for training: preflight, and making runs. The worker is a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from studio.progress import Progress

if TYPE_CHECKING:
    from studio.engine.asks import Context
    from studio.training.items import Item
    from studio.training.matrix import MatrixRow
    from studio.training.spec import RunSpec


class Launched(NamedTuple):
    """A run that was made, and what became of it, in words."""

    name: str
    words: str


class Planned(NamedTuple):
    """The rows of a matrix, the skipped ones too."""

    rows: tuple[MatrixRow, ...]


def preflight(context: Context, progress: Progress, *, spec: RunSpec, run: str) -> tuple[Item, ...]:
    """Check all that can be checked before a run is made.

    Raises:
        UnavailableError: the disk is full.
    """
    from studio.training.preflight import preflight as check

    return tuple(check(context.project(), spec, run, progress=progress))


def launch(context: Context, progress: Progress, *, spec: RunSpec, run: str, how: str, argv: Sequence[str]) -> Launched:
    """Make a run and start it (`now`), let it wait for its devices (`queue`), or write its script (`script`).

    Raises:
        UsageError: a run cannot be called that, or there is one.
        ConfigError: the data do not suit the spec.
        InputError: a file of the spec cannot be read.
        UnavailableError: the disk is full, the model is out of reach, or the worker cannot be started.
    """
    from studio.files import write_text
    from studio.training.ejecting import script
    from studio.training.launch import create, enqueue
    from studio.training.queue import ensure_dispatcher, start_or_wait

    project = context.project()
    folder = create(project, run, spec, progress=progress, argv=argv)
    if how == "script":
        path = folder.root / "train.py"
        write_text(path, script(folder))
        return Launched(run, f"written: {path}\nthe run is made and was not started: harrier-studio runs lists it")
    if how == "queue":
        enqueue(folder)
        ensure_dispatcher(project.root)
        return Launched(run, f"{run} waits for its devices")
    # The run is made: let it wait rather than have it lie there.
    return Launched(run, start_or_wait(folder))


def smoke(context: Context, progress: Progress, *, spec: RunSpec) -> Launched:
    """Start the smoke test of a spec.

    Raises:
        UsageError: a smoke test is at work.
        ConfigError: the data do not suit the spec.
        InputError: a file of the spec cannot be read.
        UnavailableError: no device is free, the disk is full, or the model is out of reach.
    """
    from studio.training.smoke import smoke as start

    folder = start(context.project(), spec, progress=progress)
    return Launched(folder.name, "the smoke test starts")


def matrix_plan(context: Context, progress: Progress, *, spec: RunSpec) -> Planned:
    """Say which runs the experiment matrix over a spec has, and which would teach nothing here.

    Raises:
        ConfigError: the data do not suit the spec.
        InputError: a file of the spec cannot be read.
        UnavailableError: the model is out of reach, or the disk is full.
    """
    from studio.training.matrix import matrix as rows
    from studio.training.matrix_runs import facts_of

    return Planned(tuple(rows(spec, facts_of(context.project(), spec, progress))))


def matrix(context: Context, progress: Progress, *, rows: Sequence[MatrixRow]) -> Launched:
    """Make the runs of a matrix and let them wait for their devices; those that are there already are not made again.

    Raises:
        UsageError: a run of that name is there with another spec, or was made before later decisions.
        ConfigError: the data do not suit a row.
        InputError: a file of a row cannot be read.
        UnavailableError: a model is out of reach, or the disk is full.
    """
    from studio.training.matrix_runs import queue_rows

    made = queue_rows(context.project(), rows, progress=progress)
    names = [each.folder.name for each in made if each.folder]
    return Launched(next(iter(names), ""), f"{len(names)} runs of the matrix are made")
