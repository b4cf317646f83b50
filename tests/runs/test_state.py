"""Queued, starting, running, stale, stopping, ended, lost: told apart by process, never by silence alone."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from studio.runs.control import Request, ask
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.history import History, read_history
from studio.runs.liveness import Heart, ProcessId, is_alive, this_process
from studio.runs.state import State, leave_queue, queued_since, standing
from tests.runs.conftest import Workers, launched, until

WAIT = "print('ready', flush=True); import time; time.sleep(600)"
OVER = ProcessId(2**31 - 1, 1000.0, this_process().host)


def say(run: RunFolder, *events: tuple[str, dict[str, Any]]) -> None:
    writer = EventWriter(run.events)
    for type, said in events:
        writer.write(type, 0, **said)
    writer.close()


def started(process: ProcessId, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    said = {"attempt": attempt, "pid": process.pid, "process_start": process.start, "host": process.host}
    return "started", said


def ended(state: str, reason: str = "because") -> tuple[str, dict[str, Any]]:
    return "ended", {"state": state, "reason": reason}


def test_a_run_that_was_only_made(run: RunFolder) -> None:
    now = standing(run)
    assert (now.state, now.quiet, now.stale) == (State.STOPPED, None, False)
    assert "not started" in now.why


def test_a_queued_run_and_one_that_left_the_queue(run: RunFolder) -> None:
    (run.root / "queued").write_text(json.dumps({"time": 5.0}))
    assert standing(run).state is State.QUEUED
    assert queued_since(run) == 5.0
    assert leave_queue(run) is True
    assert leave_queue(run) is False
    assert standing(run).state is State.STOPPED
    assert queued_since(run) is None


def test_a_process_that_said_nothing_yet_is_starting_then_running(run: RunFolder) -> None:
    launched(run, this_process())
    assert standing(run).state is State.STARTING
    say(run, started(this_process()), ("phase", {"phase": "train"}))
    now = standing(run)
    assert now.state is State.RUNNING
    assert "train" in now.why
    ask(run, Request.STOP)
    assert standing(run).state is State.STOPPING


def test_a_request_that_was_seen_is_stopping_though_its_file_is_gone(run: RunFolder) -> None:
    say(run, started(this_process()), ("request", {"request": "stop", "seen": True}))
    assert standing(run).state is State.STOPPING


def test_silent_but_alive_is_stale_and_not_lost(run: RunFolder, workers: Workers) -> None:
    process, _ = workers.start(WAIT)
    launched(run, process)
    say(run, started(process))
    os.kill(process.pid, signal.SIGSTOP)
    now = standing(run, now=time.time() + 3600)
    assert (now.state, now.stale) == (State.RUNNING, True)
    assert now.quiet is not None
    assert now.quiet > 3000
    assert "lives" in now.why
    assert standing(run).stale is False


def test_a_heartbeat_is_a_sign_of_life_though_no_event_comes(run: RunFolder) -> None:
    say(run, started(this_process()))
    later = time.time() + 100
    assert standing(run, now=later).stale is True
    run.heartbeat.write_text(
        json.dumps({**this_process()._asdict(), "time": later - 1, "phase": "train", "step": 1, "attempt": 1})
    )
    assert standing(run, now=later).stale is False


def test_a_killed_process_is_lost_at_once_however_fresh_its_heartbeat(run: RunFolder, workers: Workers) -> None:
    process, _ = workers.start(WAIT)
    launched(run, process)
    with Heart(run, attempt=1):
        say(run, started(process))
    assert standing(run).state is State.RUNNING
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not is_alive(process), "its end")
    now = standing(run)
    assert (now.state, now.stale) == (State.LOST, False)


def test_the_number_of_a_lost_process_given_to_another_does_not_revive_it(run: RunFolder) -> None:
    own = this_process()
    before = own._replace(start=own.start - 7200)
    launched(run, before)
    say(run, started(before))
    assert standing(run).state is State.LOST
    assert standing(run, now=time.time() + 3600).state is State.LOST


def test_a_process_that_ended_before_it_began_is_lost_with_a_word_on_where_to_look(run: RunFolder) -> None:
    launched(run, OVER)
    now = standing(run)
    assert now.state is State.LOST
    assert "log" in now.why


@pytest.mark.parametrize("state", ["done", "stopped", "failed"])
def test_the_last_word_counts_even_while_the_process_closes_down(run: RunFolder, state: str) -> None:
    launched(run, this_process())
    say(run, started(this_process()), ended(state))
    now = standing(run)
    assert now.state.value == state
    assert now.why == "because"


def test_an_ending_that_makes_no_sense_is_a_failure(run: RunFolder) -> None:
    say(run, started(this_process()), ("ended", {"state": "exploded"}))
    assert standing(run).state is State.FAILED


def test_another_attempt_begins_where_the_first_was_lost_or_ended(run: RunFolder) -> None:
    launched(run, OVER, when=1.0)
    say(run, started(OVER), ended("stopped"))
    assert standing(run).state is State.STOPPED
    launched(run, this_process(), attempt=2)
    assert standing(run).state is State.STARTING
    say(run, started(this_process(), attempt=2))
    assert standing(run).state is State.RUNNING


def test_a_run_that_is_to_go_on_waits_in_the_queue_again(run: RunFolder) -> None:
    launched(run, OVER, when=1.0)
    say(run, started(OVER), ended("stopped"))
    (run.root / "queued").write_text("{}")
    assert standing(run).state is State.QUEUED


def test_a_run_whose_launcher_was_killed_before_it_left_the_queue_is_at_work(run: RunFolder) -> None:
    (run.root / "queued").write_text("{}")
    say(run, started(this_process()))
    assert standing(run).state is State.RUNNING


def test_a_run_that_could_not_be_started_and_of_which_that_was_said_has_failed(run: RunFolder) -> None:
    launched(run, OVER, when=1.0)
    say(run, ended("failed", "no device"))
    now = standing(run)
    assert (now.state, now.why) == (State.FAILED, "no device")


def test_torchrun_that_outlives_its_worker_is_still_at_work(run: RunFolder) -> None:
    launched(run, this_process())
    say(run, started(OVER))
    assert standing(run).state is State.RUNNING


def test_another_machine_is_believed_until_ten_minutes_of_silence(run: RunFolder) -> None:
    far = ProcessId(7, 1000.0, "another-machine")
    launched(run, far)
    say(run, started(far))
    for after, state, stale in ((5, State.RUNNING, False), (60, State.RUNNING, True), (700, State.LOST, False)):
        now = standing(run, now=time.time() + after)
        assert (now.state, now.stale) == (state, stale)
    assert "another-machine" in standing(run).why


def test_what_was_said_after_the_history_was_read_counts(run: RunFolder) -> None:
    launched(run, OVER, when=1.0)
    say(run, started(OVER))
    history = read_history(run)
    say(run, ended("done"))
    assert standing(run, history).state is State.DONE
    assert standing(run, History()).state is State.DONE


def test_a_clock_that_was_set_back_makes_no_negative_silence(run: RunFolder) -> None:
    say(run, started(this_process()))
    assert standing(run, now=time.time() - 5000).quiet == 0.0
