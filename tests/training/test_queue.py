"""The queue: in order, one at a time on a CPU, served by one process, and lost by no kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from studio.runs.folder import RunFolder
from studio.runs.history import read_history
from studio.runs.liveness import read_launch
from studio.runs.state import QUEUED, State, standing
from studio.runs.stopping import stop
from studio.runs.summary import summaries
from studio.training.launch import _claimed, create, enqueue
from studio.training.queue import dispatch, ensure_dispatcher, served, waiting
from studio.training.spec import RunSpec, changed
from tests.training.test_launch import ROWS, SPEC
from tests.training.waiting import until

BASELINE = changed(SPEC, {"schedule.max_steps": 0, "model.max_length": 32})
"""The shortest run there is: it measures the model and ends."""


def runs(project, *names: str, spec: RunSpec = BASELINE) -> list[RunFolder]:
    return [create(project, name, spec) for name in names]


def test_those_that_wait_are_in_the_order_they_came(make_project) -> None:
    project = make_project(ROWS)
    b, a, c = runs(project, "b", "a", "c")
    for folder in (b, a, c):
        enqueue(folder)
    assert [item.folder.name for item in waiting(project.root)] == ["b", "a", "c"]
    assert [run.queued for run in summaries(project.root)] == [1, 2, 3]
    assert [rung.name for rung in stop(a)] == ["ended"]
    assert [item.folder.name for item in waiting(project.root)] == ["b", "c"]
    assert standing(a).state is State.STOPPED
    (c.root / QUEUED).write_text("not JSON")
    assert [item.folder.name for item in waiting(project.root)] == ["c", "b"], "it waits all the same"


def test_a_run_that_can_never_start_leaves_the_queue_and_says_why(make_project) -> None:
    project = make_project(ROWS)
    (gpu,) = runs(project, "gpu", spec=changed(BASELINE, {"devices.use": "cuda", "devices.ids": [4711]}))
    (damaged,) = runs(project, "damaged")
    for folder in (gpu, damaged):
        enqueue(folder)
    damaged.spec.write_text("format = 7")
    dispatch(project.root)
    assert waiting(project.root) == []
    for folder, word in ((gpu, "4711"), (damaged, "format")):
        assert standing(folder).state is State.FAILED
        ended = read_history(folder).ended
        assert ended is not None and word in ended.fields["reason"]


def test_a_run_that_is_at_work_leaves_the_queue_as_it_is(make_project) -> None:
    """The dispatcher was killed between starting it and noting so."""
    project = make_project(ROWS)
    (one,) = runs(project, "one")
    enqueue(one)
    with _claimed(one):
        dispatch(project.root)
    assert waiting(project.root) == [] and read_launch(one) is None


def test_one_process_serves_the_queue(make_project) -> None:
    project = make_project(ROWS)
    (one,) = runs(project, "one")
    enqueue(one)
    assert not served(project.root)
    with FileLock(project.root / "runs" / ".queue.lock"):
        assert served(project.root)
        # Another thread: a lock is its own holder's to take again.
        done = subprocess.run(
            [sys.executable, "-m", "studio.training.queue", str(project.root)], timeout=60, check=True
        )
        assert done.returncode == 0
    assert len(waiting(project.root)) == 1
    assert not served(project.root)


@pytest.mark.slow
def test_queued_runs_follow_each_other_although_the_dispatcher_was_killed(make_project) -> None:
    project = make_project(ROWS)
    first, second = runs(project, "first", "second")
    for folder in (first, second):
        enqueue(folder)
    ensure_dispatcher(project.root)
    until(lambda: read_launch(first))
    assert standing(second).state is State.QUEUED, "one at a time on a CPU"
    dispatcher = _dispatcher(project.root)
    dispatcher.send_signal(signal.SIGKILL)
    until(lambda: not served(project.root))
    until(lambda: standing(first).state is State.DONE, 120)
    assert standing(second).state is State.QUEUED, "nobody serves the queue"
    ensure_dispatcher(project.root)
    ensure_dispatcher(project.root)
    until(lambda: standing(second).state is State.DONE, 120)
    until(lambda: not served(project.root))
    ended, began = read_history(first).ended, read_history(second).started
    assert ended is not None and began is not None and ended.time < began.time
    assert read_history(first).attempts == read_history(second).attempts == 1


def _dispatcher(root: Path) -> psutil.Process:
    return next(
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[-3:] == ["-m", "studio.training.queue", str(root)]
    )
