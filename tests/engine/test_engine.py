"""The engine as an interface meets it: answers, slots, progress, cancelling, and the death of either side."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from studio.engine.client import Engine, EngineFault
from studio.errors import Cancelled, ExitCode, InputError, ProjectError, UsageError
from studio.project.project import Project
from tests.engine.conftest import SECONDS, Heard, gone, wait_for

WORK = "tests.engine.work"


def test_asks_are_answered(engine: Engine, project: Project) -> None:
    assert engine.opened is not None
    assert engine.opened.result(SECONDS) == {"name": "test", "rows": 20, "snapshot": project.settings.snapshot}
    assert engine.ask("ping").result(SECONDS) == engine.pid != os.getpid()
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20
    assert engine.ask("refresh").result(SECONDS) is None
    assert engine.alive


def test_another_project_can_be_opened(start: Callable[..., Engine], project: Project) -> None:
    engine = start()
    with pytest.raises(ProjectError, match="No project is open"):
        engine.ask(f"{WORK}:count").result(SECONDS)
    assert engine.ask("ping").result(SECONDS)
    assert engine.open(project.root).result(SECONDS)["rows"] == 20
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20


def test_a_project_that_cannot_be_opened_is_told_by_all_that_need_it(
    start: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start(tmp_path / "nowhere")
    assert engine.opened is not None
    for future in (engine.opened, engine.ask(f"{WORK}:count"), engine.run("tokens").future):
        with pytest.raises(ProjectError, match="no harrier-studio project"):
            future.result(SECONDS)


def test_a_newer_ask_takes_the_slot_of_one_that_has_not_begun(engine: Engine, tmp_path: Path) -> None:
    began, until = tmp_path / "began", tmp_path / "until"
    running = engine.ask(f"{WORK}:held", slot="find", began=began, until=until, answer="first")
    wait_for(began.exists)
    other = engine.ask(f"{WORK}:echo", slot="other", answer="kept")
    replaced = engine.ask(f"{WORK}:echo", slot="find", answer="second")
    last = engine.ask(f"{WORK}:echo", slot="find", answer="third")
    with pytest.raises(CancelledError):
        replaced.result(SECONDS)
    assert not running.done(), "what has begun is not replaced"
    until.touch()
    assert [future.result(SECONDS) for future in (running, other, last)] == ["first", "kept", "third"]


def test_asks_are_answered_while_a_job_runs_and_jobs_wait_for_one_another(engine: Engine) -> None:
    heard = Heard()
    job = engine.run(f"{WORK}:until_cancelled", on_progress=heard)
    waiting = engine.run(f"{WORK}:noisy")
    heard.wait()
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20
    assert engine.pending_jobs == (f"{WORK}:until_cancelled", f"{WORK}:noisy")
    assert not job.future.cancel(), "a future cannot let go of a job that runs"
    assert not (job.future.done() or waiting.future.done())
    job.cancel()
    with pytest.raises(Cancelled):
        job.future.result(SECONDS)
    assert waiting.future.result(SECONDS) == 7
    assert engine.pending_jobs == ()
    job.cancel()


def test_a_job_that_has_not_begun_can_be_cancelled(engine: Engine) -> None:
    running = engine.run(f"{WORK}:until_cancelled")
    waiting = engine.run("tokens")
    waiting.cancel()
    with pytest.raises(Cancelled):
        waiting.future.result(SECONDS)
    assert not running.future.done()


def test_a_job_that_does_not_listen_is_ended_and_all_else_goes_on(
    start: Callable[..., Engine], project: Project, tmp_path: Path
) -> None:
    engine = start(project.root, cancel_grace=0.2)
    before = engine.pid
    heard = Heard()
    job = engine.run(f"{WORK}:deaf", on_progress=heard)
    waiting = engine.run(f"{WORK}:noisy")
    child = heard.wait().done
    began, until = tmp_path / "began", tmp_path / "until"
    asked = engine.ask(f"{WORK}:held", began=began, until=until, answer="asked again")
    wait_for(began.exists)
    job.cancel()
    with pytest.raises(Cancelled):
        job.future.result(SECONDS)
    until.touch()
    assert asked.result(SECONDS) == "asked again"
    assert waiting.future.result(SECONDS) == 7
    assert engine.pid != before
    wait_for(lambda: gone(child))


def test_what_anything_prints_goes_to_the_log_and_not_among_the_messages(engine: Engine, log: Path) -> None:
    assert engine.run(f"{WORK}:noisy").future.result(SECONDS) == 7
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20
    printed = {"from Python", "from a file descriptor", "from C", "from a child"}
    assert printed <= set(log.read_text("utf-8").splitlines())


def test_a_log_that_cannot_be_written_is_no_obstacle(start: Callable[..., Engine], log: Path) -> None:
    log.parent.write_text("a file in its place", "utf-8")
    assert start().run(f"{WORK}:noisy").future.result(SECONDS) == 7


def test_a_long_log_begins_anew(start: Callable[..., Engine], log: Path) -> None:
    log.parent.mkdir()
    log.write_bytes(b"x" * 1_000_001)
    assert start().ask("ping").result(SECONDS)
    assert log.stat().st_size < 1_000


def test_errors_for_people_arrive_whole(engine: Engine) -> None:
    with pytest.raises(InputError) as caught:
        engine.run(f"{WORK}:refusing").future.result(SECONDS)
    error = caught.value
    assert type(error) is InputError
    assert (error.what, error.where, error.why, error.remedy) == (
        "It cannot be read.",
        "pairs.jsonl:3",
        "no JSON",
        "mend it",
    )
    assert "mend it" in str(error)


def test_faults_name_type_and_place_and_no_text_of_data(engine: Engine) -> None:
    with pytest.raises(EngineFault) as caught:
        engine.run(f"{WORK}:failing", text="Ana Souza").future.result(SECONDS)
    error = caught.value
    assert error.exit_code is ExitCode.INTERNAL
    assert "ValueError" in error.what
    assert error.where and "work.py:" in error.where
    assert "Ana" not in str(error)


def test_a_lane_outlives_whatever_its_functions_do(engine: Engine) -> None:
    for job in ("leaving", "unsendable"):
        with pytest.raises(EngineFault):
            engine.run(f"{WORK}:{job}").future.result(SECONDS)
    with pytest.raises(EngineFault, match="ModuleNotFoundError"):
        engine.ask("studio.view.no_such_module:thing").result(SECONDS)
    with pytest.raises(UsageError, match="no `nonsense`"):
        engine.ask("nonsense").result(SECONDS)
    with pytest.raises(UsageError, match="no `nonsense`"):
        engine.run("nonsense").future.result(SECONDS)
    assert engine.ask("ping").result(SECONDS) == engine.pid
    assert engine.run(f"{WORK}:noisy").future.result(SECONDS) == 7


def test_a_progress_callback_that_fails_harms_nobody(engine: Engine) -> None:
    def fail(_: object) -> None:
        raise RuntimeError

    assert engine.run(f"{WORK}:noisy", on_progress=fail).future.result(SECONDS) == 7


def test_a_killed_engine_fails_what_was_pending_and_the_next_ask_starts_another(engine: Engine) -> None:
    heard = Heard()
    job = engine.run(f"{WORK}:until_cancelled", on_progress=heard)
    waiting = engine.run("tokens")
    heard.wait()
    before = engine.pid
    assert before
    os.kill(before, signal.SIGKILL)
    for future in (job.future, waiting.future):
        with pytest.raises(EngineFault, match="ended unexpectedly") as caught:
            future.result(SECONDS)
        assert caught.value.remedy
    assert not engine.alive
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20, "the project is open again"
    assert engine.pid not in (None, before)
    assert gone(before)


def test_ctrl_c_does_not_reach_the_engine(engine: Engine) -> None:
    pid = engine.ask("ping").result(SECONDS)
    os.kill(pid, signal.SIGINT)
    assert engine.ask(f"{WORK}:count").result(SECONDS) == 20
    assert engine.pid == pid
    assert os.getsid(pid) == pid, "it is in a session of its own, away from the terminal"


def test_close_leaves_no_process(engine: Engine, tmp_path: Path) -> None:
    heard = Heard()
    job = engine.run(f"{WORK}:deaf", on_progress=heard)
    child = heard.wait().done
    began, until = tmp_path / "began", tmp_path / "until"
    running = engine.ask(f"{WORK}:held", began=began, until=until, answer=None)
    asked = engine.ask("ping")
    wait_for(began.exists)
    pid = engine.pid
    assert pid
    engine.close()
    with pytest.raises(Cancelled):
        job.future.result(0)
    assert running.cancelled() and asked.cancelled()
    assert not engine.alive and engine.pending_jobs == ()
    assert gone(pid)
    wait_for(lambda: gone(child))
    engine.close()
    with pytest.raises(EngineFault, match="closed"):
        engine.ask("ping")


def test_an_engine_that_does_not_hear_is_killed_at_close(engine: Engine) -> None:
    pid = engine.ask("ping").result(SECONDS)
    os.kill(pid, signal.SIGSTOP)
    engine.close(grace=0.1)
    assert gone(pid)


def test_asking_does_not_wait_for_an_engine_that_does_not_read(engine: Engine) -> None:
    pid = engine.ask("ping").result(SECONDS)
    os.kill(pid, signal.SIGSTOP)
    asked = [engine.ask(f"{WORK}:echo", answer=b"x" * 1_000_000) for _ in range(3)]
    os.kill(pid, signal.SIGCONT)
    assert not wait(asked, SECONDS).not_done
    assert [len(future.result()) for future in asked] == [1_000_000] * 3


_CLIENT = f"""
import sys, threading
from pathlib import Path
from studio.engine.client import Engine

engine = Engine.start(Path(sys.argv[1]))
engine.run("{WORK}:until_cancelled", on_progress=lambda _: print(engine.pid, flush=True))
threading.Event().wait()
"""


def test_the_engine_ends_with_a_client_that_was_killed(project: Project) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(project.root)], stdout=subprocess.PIPE, env=environment
    ) as client:
        assert client.stdout
        pid = int(client.stdout.readline())
        assert not gone(pid)
        client.kill()
        client.wait()
        wait_for(lambda: gone(pid))


def test_callbacks_may_ask_again(engine: Engine) -> None:
    answered = threading.Event()
    engine.ask("ping").add_done_callback(
        lambda _: engine.ask("ping").add_done_callback(lambda _: answered.set()),
    )
    assert answered.wait(SECONDS)
