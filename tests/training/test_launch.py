"""A run is made whole or not at all, belongs to nobody who started it, and has one worker at a time."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studio.errors import ConfigError, UnavailableError, UsageError
from studio.prompts.presets import get_preset
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder, run_folders
from studio.runs.liveness import LAUNCHED, is_alive
from studio.runs.state import State, standing
from studio.training.data import Prepared, load_prepared
from studio.training.devices import CPU, choose, environment
from studio.training.launch import _claimed, at_work, create, detached, enqueue, start
from studio.training.provenance import decisions_of
from studio.training.smoke import smoke_spec
from studio.training.spec import RunSpec, changed, read_spec
from tests.cli.conftest import environment as environment_of
from tests.training.waiting import until

MakeProject = Callable[..., object]
ROWS = [
    {"query": f"pergunta {n}", "positive": f"a resposta {n} é outra", "split": "test" if n >= 12 else "train"}
    for n in range(16)
]
SPEC = RunSpec(batch={"per_device": 4}, devices={"use": "cpu"})


def test_a_run_freezes_what_would_change_later(make_project) -> None:
    project = make_project(ROWS)
    folder = create(project, "one", SPEC, argv=["harrier-studio", "train", "--run", "my one"])
    frozen = read_spec(folder.spec)
    assert frozen.prompts is not None and frozen.prompts.query == get_preset("web_search_query").query
    assert frozen == changed(SPEC, {"prompts": project.settings.prompts.model_dump()})
    about = json.loads(folder.about.read_text())
    assert about["command"] == "harrier-studio train --run 'my one'"
    assert about["data"] == load_prepared(folder.data).hash
    assert about["packages"]["torch"] and about["snapshot"] == project.settings.snapshot
    assert about["git"] is None and decisions_of(folder) == 0
    assert standing(folder).state is State.STOPPED and run_folders(project.root) == [folder]


def test_a_folder_of_a_model_is_found_from_anywhere(make_project, tmp_path, monkeypatch) -> None:
    from studio.sample import model_location

    (tmp_path / "model").symlink_to(model_location("harrier-tiny"))
    monkeypatch.chdir(tmp_path)
    folder = create(make_project(ROWS), "one", changed(SPEC, {"model.id": "model"}))
    assert Path(read_spec(folder.spec).model.id).is_absolute()


def test_git_is_recorded_with_what_was_not_committed(make_project) -> None:
    project = make_project(ROWS)
    (project.root / "notes.txt").write_text("x")
    git = ["git", "-C", str(project.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    assert json.loads(create(project, "clean", SPEC).about.read_text())["git"]["dirty"] is False
    (project.root / "notes.txt").write_text("y")
    said = json.loads(create(project, "dirty", SPEC).about.read_text())["git"]
    assert said["dirty"] is True and len(said["commit"]) == 40


def test_a_refused_run_leaves_nothing(make_project) -> None:
    project = make_project(ROWS)
    seen: list[int] = []

    def refuse(spec: RunSpec, prepared: Prepared) -> None:
        assert spec.prompts is not None
        seen.append(prepared.rows)
        raise ConfigError("No.")

    with pytest.raises(ConfigError, match="No"):
        create(project, "one", SPEC, approve=refuse)
    assert seen == [12]
    assert list((project.root / "runs").iterdir()) == []
    with pytest.raises(UnavailableError):
        create(project, "one", changed(SPEC, {"model.id": "nobody/nothing"}))
    with pytest.raises(UsageError):
        create(project, "../one", SPEC)


def test_a_name_is_taken_once(make_project) -> None:
    project = make_project(ROWS)
    folder = create(project, "one", SPEC)
    with pytest.raises(UsageError, match="already") as refused:
        create(project, "one", SPEC)
    assert f"resume one --project {project.root}" in str(refused.value)
    with pytest.raises(UsageError, match="smoke"):
        create(project, "smoke", SPEC)
    first = create(project, "smoke", SPEC, replace=True)
    (first.root / "old").touch()
    with _claimed(first), pytest.raises(UsageError, match="at work"):
        create(project, "smoke", SPEC, replace=True)
    assert not (create(project, "smoke", SPEC, replace=True).root / "old").exists()
    assert {run.name for run in run_folders(project.root)} == {"one", "smoke"}
    assert folder.spec.exists()


def test_a_detached_process_has_nothing_of_ours_and_outlives_us(tmp_path) -> None:
    """It is started by a process that is then killed with its whole group."""
    said = tmp_path / "said"
    child = (
        "import os, sys, time; here = {'', os.getcwd()}; "
        "print(os.getsid(0) == os.getpid(), sys.stdin.read() == '', not here & set(sys.path), flush=True); "
        "time.sleep(600)"
    )
    starter = (
        "import sys, time; from pathlib import Path; from studio.training.launch import detached; "
        f"print(detached([sys.executable, '-c', {child!r}], Path({str(said)!r}), {{}}).pid, flush=True); "
        "time.sleep(600)"
    )
    viewer = subprocess.Popen(
        [sys.executable, "-c", starter],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
        env=environment_of(),
    )
    assert viewer.stdout is not None
    started = psutil.Process(int(viewer.stdout.readline()))
    try:
        until(lambda: said.exists() and said.read_text().endswith("\n"))
        os.killpg(viewer.pid, signal.SIGKILL)
        viewer.wait(30)
        assert said.read_text() == "True True True\n"
        assert started.is_running() and started.status() != psutil.STATUS_ZOMBIE
    finally:
        started.kill()


def test_a_process_that_ended_is_not_taken_for_living(tmp_path) -> None:
    process = detached([sys.executable, "-c", "pass"], tmp_path / "said", {})
    until(lambda: not is_alive(process))
    with pytest.raises(UnavailableError, match="cannot be started"):
        detached([str(tmp_path / "nothing")], tmp_path / "said", {})


def test_a_worker_holds_its_run_after_its_starter_is_gone(make_project, tmp_path) -> None:
    folder = create(make_project(ROWS), "one", SPEC)
    assert not at_work(folder)
    with _claimed(folder) as lock:
        worker = detached([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "said", {}, (lock,))
    assert at_work(folder)
    for refused in (start, enqueue):
        with pytest.raises(UsageError, match="at work"):
            refused(folder)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not at_work(folder))


def test_a_run_that_said_its_last_word_is_given_time_to_end(make_project, tmp_path) -> None:
    """The process lives a moment longer, and a script starts the next one at once."""
    folder = create(make_project(ROWS), "one", SPEC)
    events = EventWriter(folder.events)
    events.write("started", 0, attempt=1, pid=2, process_start=0.0, host=platform.node(), resumed_from=None)
    events.write("ended", 3, state="stopped", reason="asked", seconds=1.0)
    events.close()
    with _claimed(folder) as lock:
        detached([sys.executable, "-c", "import time; time.sleep(2)"], tmp_path / "said", {}, (lock,))
    enqueue(folder)
    assert not at_work(folder) and standing(folder).state is State.QUEUED


def test_what_is_over_is_not_started_again(make_project) -> None:
    folder = create(make_project(ROWS), "one", SPEC)
    events = EventWriter(folder.events)
    events.write("started", 0, attempt=1, pid=2, process_start=0.0, host="elsewhere", resumed_from=None)
    events.write("ended", 3, state="stopped", reason="asked", seconds=1.0)
    with pytest.raises(UsageError, match="begun") as refused:
        start(folder)
    assert "harrier-studio resume one" in str(refused.value)
    enqueue(folder)
    assert standing(folder).state is State.QUEUED
    events.write("ended", 3, state="done", reason="", seconds=1.0)
    events.close()
    (folder.root / "queued").unlink()
    for resume in (False, True):
        with pytest.raises(UsageError, match="done"):
            start(folder, resume=resume)
    assert not (folder.root / LAUNCHED).exists()


def test_the_cpu_is_one_device_and_a_gpu_that_is_not_here_is_refused(make_project) -> None:
    project = make_project(ROWS)
    one, two = (create(project, name, SPEC) for name in ("one", "two"))
    assert choose(one) == ((CPU,), "") and environment((CPU,)) == {"CUDA_VISIBLE_DEVICES": ""}
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    began = psutil.Process(sleeper.pid).create_time()
    _launched(one, sleeper.pid, began)
    assert "run one is on the CPU" in choose(two).waits_for
    _launched(one, sleeper.pid, began - 1000)
    assert choose(two).waits_for == "", "another process has that number now"
    sleeper.kill()
    sleeper.wait()
    gpu = create(project, "gpu", changed(SPEC, {"devices.use": "cuda", "devices.ids": [4711]}))
    with pytest.raises(UnavailableError, match="does not have"):
        choose(gpu)
    assert environment(("2", "3"))["CUDA_VISIBLE_DEVICES"] == "2,3"


def _launched(folder: RunFolder, pid: int, began: float) -> None:
    said = {"pid": pid, "start": began, "host": platform.node(), "time": time.time(), "attempt": 1, "devices": [CPU]}
    (folder.root / LAUNCHED).write_text(json.dumps(said))


def test_a_smoke_test_is_the_run_but_for_its_size(make_project) -> None:
    spec = changed(SPEC, {"batch.per_device": 64, "batch.accumulation": 2, "reporting.to": ["wandb"],
                          "reporting.hub_id": "a/b", "loss.name": "cached_mnrl"})  # fmt: skip
    small = smoke_spec(spec)
    assert (small.schedule.max_steps, small.rows, small.evaluation.queries) == (1, 128, 20)
    assert small.schedule.warmup == 0, "the one step updates"
    assert (small.reporting.to, small.reporting.hub_id) == ((), "")
    assert (small.batch, small.loss, small.model, small.optimiser) == (
        spec.batch,
        spec.loss,
        spec.model,
        spec.optimiser,
    )
    assert smoke_spec(SPEC).rows == 50
    assert smoke_spec(changed(SPEC, {"schedule.max_steps": 0})).schedule.max_steps == 0
