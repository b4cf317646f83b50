"""The ladder, on real little process groups: each rung is reached, nothing survives, nobody else is hit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studio.errors import UnavailableError
from studio.runs.control import Request, ask, asked
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.liveness import ProcessId, is_alive, process_of, this_process
from studio.runs.state import State, standing
from studio.runs.stopping import Rung, stop
from tests.runs.conftest import Workers, launched, until

OBEDIENT = """
import sys, time
from pathlib import Path
print('ready', flush=True)
while not (Path(sys.argv[1]) / 'stop').exists():
    time.sleep(0.01)
"""
UNTIL_TERM = """
import signal, sys, time
def end(number, frame):
    open(sys.argv[2], 'w').write(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(600)
"""
DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
begin = lambda own: subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, start_new_session=own)
children = [begin(False), begin(True)]
for child in children:
    child.stdout.readline()
open(sys.argv[2], 'w').write(' '.join(str(child.pid) for child in children))
print('ready', flush=True)
time.sleep(600)
"""
DIES_BEFORE_ITS_CHILD = """
import signal, subprocess, sys, time
code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[2], 'w').write(str(child.pid))
print('ready', flush=True)
time.sleep(600)
"""

LIKE_TORCHRUN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: open(sys.argv[2], 'a').write('launcher was signalled'))
code = '''
import signal, sys, time
def end(number, frame):
    open(sys.argv[1], 'a').write('worker saves;')
    sys.exit(0)
signal.signal(signal.SIGTERM, end if sys.argv[2] == 'obedient' else signal.SIG_IGN)
print('up', flush=True)
time.sleep(600)
'''
child = subprocess.Popen(
    [sys.executable, '-c', code, sys.argv[2], sys.argv[3]], stdout=subprocess.PIPE, start_new_session=True
)
child.stdout.readline()
open(sys.argv[2] + '-pid', 'w').write(str(child.pid))
print('ready', flush=True)
child.wait()
"""


@pytest.fixture
def begin(run: RunFolder, workers: Workers, tmp_path: Path) -> Callable[[str], ProcessId]:
    def start(code: str) -> ProcessId:
        process, _ = workers.start(code, run.control, tmp_path / "said")
        launched(run, process)
        return process

    return start


def names(rungs: list[Rung]) -> list[str]:
    return list(dict.fromkeys(rung.name for rung in rungs))


def over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_worker_that_answers_the_request_gets_no_signal(run: RunFolder, begin: Callable[[str], ProcessId]) -> None:
    process = begin(OBEDIENT)
    rungs = list(stop(run, after_request=30))
    assert names(rungs) == ["request", "ended"]
    assert is_alive(process) is False
    assert asked(run) == set(), "the next attempt must not find the request"


def test_the_time_that_is_left_is_told_and_falls(run: RunFolder, begin: Callable[[str], ProcessId]) -> None:
    begin(UNTIL_TERM)
    rungs = list(stop(run, after_request=0.5, after_term=30))
    left = [rung.left for rung in rungs if rung.name == "request"]
    assert len(left) >= 3
    assert left == sorted(left, reverse=True)
    assert 0.4 < left[0] <= 0.5
    assert left[-1] < 0.2


def test_sigterm_comes_next_and_lets_the_worker_end_by_itself(
    run: RunFolder, begin: Callable[[str], ProcessId], tmp_path: Path
) -> None:
    begin(UNTIL_TERM)
    assert names(list(stop(run, after_request=0, after_term=30))) == ["request", "sigterm", "ended"]
    assert (tmp_path / "said").read_text() == str(int(signal.SIGTERM))


def test_sigkill_ends_the_group_and_descendants_with_groups_of_their_own(
    run: RunFolder, begin: Callable[[str], ProcessId], tmp_path: Path
) -> None:
    process = begin(DEAF)
    children = [int(pid) for pid in (tmp_path / "said").read_text().split()]
    assert os.getpgid(children[0]) == process.pid != os.getpgid(children[1])
    rungs = list(stop(run, after_request=0, after_term=0.1))
    assert names(rungs) == ["request", "sigterm", "sigkill", "ended"]
    assert is_alive(process) is False
    assert all(over(pid) for pid in children)
    assert standing(run).state is State.LOST


def test_a_child_that_outlives_the_worker_is_ended_too(
    run: RunFolder, begin: Callable[[str], ProcessId], tmp_path: Path
) -> None:
    process = begin(DIES_BEFORE_ITS_CHILD)
    child = int((tmp_path / "said").read_text())
    rungs = list(stop(run, after_request=0, after_term=0.5))
    assert names(rungs) == ["request", "sigterm", "sigkill", "ended"]
    assert is_alive(process) is False
    assert over(child)


@pytest.mark.parametrize(("kind", "reached"), [("obedient", ["request", "sigterm"]), ("deaf", [])])
def test_under_torchrun_the_worker_is_signalled_and_has_its_time_and_at_last_all_are_killed(
    run: RunFolder, workers: Workers, tmp_path: Path, kind: str, reached: list[str]
) -> None:
    launcher, _ = workers.start(LIKE_TORCHRUN, run.control, tmp_path / "said", kind)
    worker = process_of(int((tmp_path / "said-pid").read_text()))
    assert worker is not None
    launched(run, launcher)
    writer = EventWriter(run.events)
    writer.write("started", 0, attempt=1, pid=worker.pid, process_start=worker.start, host=worker.host)
    writer.close()
    patience = 30.0 if kind == "obedient" else 0.2
    rungs = names(list(stop(run, after_request=0, after_term=patience)))
    assert rungs == [*(reached or ["request", "sigterm", "sigkill"]), "ended"]
    assert is_alive(worker) is False
    assert is_alive(launcher) is False
    said = tmp_path / "said"
    assert (said.read_text() if said.exists() else "") == ("worker saves;" if kind == "obedient" else "")


def test_a_stopped_process_cannot_answer_and_is_killed(run: RunFolder, begin: Callable[[str], ProcessId]) -> None:
    process = begin(OBEDIENT)
    os.kill(process.pid, signal.SIGSTOP)
    assert names(list(stop(run, after_request=0.1, after_term=0.1)))[-1] == "ended"
    assert is_alive(process) is False


def test_a_process_that_only_has_the_number_is_never_touched(run: RunFolder, workers: Workers) -> None:
    process, popen = workers.start(UNTIL_TERM, "", os.devnull)
    launched(run, process._replace(start=process.start - 3600))
    assert names(list(stop(run, after_request=0, after_term=0))) == ["ended"]
    assert popen.poll() is None
    assert is_alive(process) is True


def test_a_run_that_is_over_is_asked_nothing(run: RunFolder) -> None:
    assert names(list(stop(run))) == ["ended"]
    ask(run, Request.STOP)
    assert names(list(stop(run))) == ["ended"]
    assert asked(run) == set()


def test_a_waiting_run_leaves_the_queue(run: RunFolder) -> None:
    (run.root / "queued").write_text("{}")
    assert names(list(stop(run))) == ["ended"]
    assert standing(run).state is State.STOPPED


def test_a_run_on_another_machine_is_asked_and_not_signalled(run: RunFolder) -> None:
    launched(run, ProcessId(os.getpid(), this_process().start, "another-machine"))
    rungs: list[Rung] = []
    with pytest.raises(UnavailableError, match="another machine") as refused:
        rungs.extend(stop(run, after_request=0.1))
    assert names(rungs) == ["request"]
    assert "another-machine" in str(refused.value)
    assert asked(run) == {Request.STOP}


def test_a_run_on_another_machine_that_answers_has_ended(run: RunFolder) -> None:
    far = ProcessId(7, 1000.0, "another-machine")
    writer = EventWriter(run.events)
    writer.write("started", 0, attempt=1, pid=far.pid, process_start=far.start, host=far.host)
    ladder = stop(run, after_request=30)
    assert next(ladder).name == "request"
    writer.write("ended", 5, state="stopped", reason="asked")
    writer.close()
    assert names(list(ladder))[-1] == "ended"


def test_whoever_leaves_off_leaves_the_request(run: RunFolder, begin: Callable[[str], ProcessId]) -> None:
    process = begin(OBEDIENT)
    ladder = stop(run)
    assert next(ladder).name == "request"
    ladder.close()
    until(lambda: is_alive(process) is False, "the worker's answer")
    assert asked(run) == {Request.STOP}


def test_two_who_stop_the_same_run_both_see_it_end(run: RunFolder, begin: Callable[[str], ProcessId]) -> None:
    begin(UNTIL_TERM)
    one, other = stop(run, after_request=0, after_term=30), stop(run, after_request=30, after_term=30)
    assert next(other).name == "request"
    assert names(list(one))[-1] == "ended"
    assert names(list(other))[-1] == "ended"
