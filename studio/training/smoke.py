"""The smoke test: one step of a real batch on a few rows. Does it run, and how much memory does it take?"""

from __future__ import annotations

from collections.abc import Sequence

from studio.progress import Progress, silent
from studio.project.project import Project
from studio.runs.folder import RunFolder
from studio.training.launch import SMOKE, create, start
from studio.training.spec import RunSpec, changed

_ROWS = 50
_QUERIES = 20
_CORPUS = 200


def smoke_spec(spec: RunSpec) -> RunSpec:
    """The spec with one step, few rows and queries, and nobody told of it.

    Batch, lengths, loss and precision stay: they are what is tried, and what decides how much memory is needed. So
    there are rows for one whole step, 50 at least.
    """
    return changed(
        spec,
        {
            "why": f"Smoke test of {spec.preset or 'a spec'}: does one step work, and how much memory does it take?",
            "rows": max(_ROWS, spec.effective_batch),
            "schedule.max_steps": min(1, abs(spec.schedule.max_steps)),
            # The first step of a warm-up has a rate of 0 and changes nothing.
            "schedule.warmup": 0,
            "evaluation.queries": _QUERIES,
            "evaluation.corpus": _CORPUS,
            "evaluation.times": min(1, spec.evaluation.times),
            "evaluation.patience": 0,
            "checkpoints.every": 1,
            "checkpoints.keep": 1,
            "reporting.to": [],
            "reporting.hub_id": "",
        },
        "the smoke test",
    )


def smoke(project: Project, spec: RunSpec, *, progress: Progress = silent, argv: Sequence[str] = ()) -> RunFolder:
    """Start a smoke test as the run `smoke`; the one before it is replaced.

    Raises:
        UsageError: a smoke test is at work.
        ConfigError: the data do not suit the spec.
        InputError: a file of the spec cannot be read.
        UnavailableError: no device is free, the disk is full, or the model is out of reach.
    """
    folder = create(project, SMOKE, smoke_spec(spec), progress=progress, argv=argv, replace=True)
    start(folder)
    return folder
