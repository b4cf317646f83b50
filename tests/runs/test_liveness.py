"""Processes by number and start time, and heartbeats that are always whole."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from studio.runs.control import Request, ask, asked, clear
from studio.runs.folder import RunFolder
from studio.runs.liveness import Heart, is_alive, process_of, read_beat, read_launch, this_process
from tests.runs.conftest import Workers, launched, until

WAIT = "print('ready', flush=True); import time; time.sleep(600)"


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    own = this_process()
    assert own.pid == os.getpid()
    assert is_alive(own) is True
    assert is_alive(own._replace(start=own.start - 60)) is False
    assert is_alive(own._replace(host="elsewhere")) is None
    assert is_alive(own._replace(pid=2**31 - 1)) is False
    assert is_alive(own._replace(pid=-1)) is False
    assert is_alive(own._replace(pid=2**80)) is False


def test_a_killed_process_that_its_parent_has_not_asked_about_is_dead(workers: Workers) -> None:
    process, popen = workers.start(WAIT)
    assert is_alive(process) is True
    os.kill(process.pid, signal.SIGSTOP)
    assert is_alive(process) is True, "stopped is not dead"
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: is_alive(process) is False, "the end of a killed process")
    assert popen.returncode is None, "nobody waited for it"
    assert process_of(process.pid) is None


def test_a_heart_beats_at_once_and_says_what_the_worker_is_at(run: RunFolder) -> None:
    assert read_beat(run) is None
    with Heart(run, attempt=2, every=0.01) as heart:
        first = read_beat(run)
        assert first is not None
        assert first.process == this_process()
        assert (first.phase, first.step, first.attempt) == ("", 0, 2)
        heart.at("train", 12)
        until(lambda: (beat := read_beat(run)) is not None and beat.step == 12, "the next beat")
        beat = read_beat(run)
        assert beat is not None
        assert beat.phase == "train"
        assert beat.time >= first.time
    assert [path.name for path in run.root.iterdir() if "heartbeat" in path.name] == ["heartbeat"]


def test_whoever_reads_a_heartbeat_finds_a_whole_one(run: RunFolder) -> None:
    found: list[bool] = []
    with Heart(run, attempt=1, every=0.0005) as heart:
        enough = threading.Event()

        def read() -> None:
            while not enough.is_set():
                found.append(read_beat(run) is not None)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for step in range(300):
            heart.at("train", step)
            heart.beat()
        enough.set()
        for reader in readers:
            reader.join()
    assert len(found) > 0
    assert all(found)


def test_a_heart_outlives_a_folder_that_goes_away(run: RunFolder, tmp_path: Path) -> None:
    with Heart(run, attempt=1, every=0.01):
        run.root.rename(tmp_path / "moved")
        run.root.mkdir()
        until(lambda: read_beat(run) is not None, "a beat in the folder that came back")


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "start": 1, "host": "h"}', "\x00\xff"]
)
def test_damaged_files_say_nothing(run: RunFolder, said: str) -> None:
    run.heartbeat.write_text(said, encoding="latin-1")
    (run.root / "launched").write_text(said, encoding="latin-1")
    assert read_beat(run) is None
    assert read_launch(run) is None


def test_what_was_launched_is_read_back(run: RunFolder) -> None:
    launched(run, this_process(), attempt=3, when=12.5)
    found = read_launch(run)
    assert found is not None
    assert found == (this_process(), 12.5, 3)


def test_requests_are_files_and_asking_twice_is_asking_once(run: RunFolder) -> None:
    assert asked(run) == set()
    ask(run, Request.SAVE)
    ask(run, Request.SAVE)
    ask(run, Request.STOP)
    (run.control / "something else").touch()
    assert asked(run) == {Request.SAVE, Request.STOP}
    clear(run, Request.SAVE)
    clear(run, Request.SAVE)
    assert asked(run) == {Request.STOP}
