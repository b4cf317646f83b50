"""`runs`, `monitor`, `stop`, `ask`, on little workers that are real processes: viewers come, go and are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.runs.control import Request, asked
from studio.runs.events import EventReader
from studio.runs.folder import RunFolder, run_folder
from studio.runs.liveness import LAUNCHED, process_of
from tests.cli.conftest import COMMAND, environment, run

WORKER = """
import signal, sys, time
from pathlib import Path
from studio.runs.control import Request, asked, clear
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.liveness import Heart, this_process

folder, deaf = RunFolder(Path(sys.argv[1])), sys.argv[2] == "deaf"
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
events, own = EventWriter(folder.events), this_process()
with Heart(folder, 1) as heart:
    events.write("started", 0, attempt=1, pid=own.pid, process_start=own.start, host=own.host)
    events.write("plan", 0, max_steps=1000)
    events.write("phase", 0, phase="train")
    print("ready", flush=True)
    step, state = 0, "done"
    while not (folder.root / "finish").exists():
        step += 1
        heart.at("train", step)
        events.write("train", step, loss=1 / step, note="\\x1b[2J" if step == 1 else "")
        requests = asked(folder)
        if Request.SAVE in requests:
            clear(folder, Request.SAVE)
            events.write("checkpoint", step, path="checkpoints/x", requested=True)
        if Request.STOP in requests and not deaf:
            state = "stopped"
            break
        time.sleep(0.02)
    events.write("ended", step, state=state, reason="that is all", seconds=1.0)
events.close()
"""


class Project:
    """A project with one run at work."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "studio.toml").touch()
        self.run = self.make("one")
        self.worker: subprocess.Popen[str] | None = None

    def make(self, name: str) -> RunFolder:
        folder = run_folder(self.root, name)
        folder.root.mkdir(parents=True)
        folder.spec.write_text('preset = "tiny"\n')
        return folder

    def begin(self, kind: str = "obedient") -> None:
        self.worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(self.run.root), kind],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
        )
        assert self.worker.stdout is not None
        assert self.worker.stdout.readline() == "ready\n"
        process = process_of(self.worker.pid)
        assert process is not None
        said = {**process._asdict(), "time": time.time(), "attempt": 1}
        (self.run.root / LAUNCHED).write_text(json.dumps(said))

    def finish(self) -> None:
        (self.run.root / "finish").touch()
        assert self.worker is not None
        self.worker.wait(30)

    def close(self) -> None:
        if self.worker:
            self.worker.kill()
            self.worker.communicate()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.close()


def follow(project: Project, *more: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "monitor", "one", "--project", str(project.root), "--follow", *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment()
    )


def rest(viewer: subprocess.Popen[str]) -> tuple[str, str]:
    """All that it prints from here on, until it ends."""
    assert viewer.stdout is not None
    assert viewer.stderr is not None
    with viewer.stdout, viewer.stderr:
        found = viewer.stdout.read(), viewer.stderr.read()
    viewer.wait(60)
    return found


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_followers_that_come_at_any_time_tell_the_same_whole_history_and_end_with_the_run(project: Project) -> None:
    project.begin()
    early = follow(project, "--json")
    assert early.stdout is not None
    first = early.stdout.readline()
    late, killed = follow(project, "--json"), follow(project, "--json")
    assert killed.stdout is not None
    assert killed.stdout.readline() == first
    killed.send_signal(signal.SIGKILL)
    rest(killed)
    project.finish()
    told = [first + rest(early)[0], rest(late)[0]]
    assert told[0] == told[1]
    assert [early.returncode, late.returncode] == [0, 0]
    found = records(told[0])
    assert [record["seq"] for record in found] == list(range(1, len(found) + 1))
    assert (found[0]["type"], found[-1]["type"]) == ("started", "ended")
    reader = EventReader(project.run.events)
    assert [event.seq for event in reader.read()] == [record["seq"] for record in found]
    assert "\x1b" not in told[0]


def test_a_follower_in_words_ends_with_1_when_the_run_does_not_end_well(project: Project) -> None:
    project.begin("deaf")
    viewer = follow(project)
    assert viewer.stdout is not None
    assert "started" in viewer.stdout.readline()
    assert project.worker is not None
    project.worker.kill()
    project.worker.wait()
    out, words = rest(viewer)
    assert viewer.returncode == 1
    assert "loss 1.0000" in out
    assert "is lost" in words


def test_a_run_in_lines_and_as_a_document(project: Project) -> None:
    project.begin()
    found = run("monitor", "--project", project.root)
    assert found.returncode == 0
    assert found.stdout.startswith("one · running · train · step ")
    said = json.loads(run("monitor", "one", "--project", project.root, "--json").stdout)
    assert (said["state"], said["max_steps"]) == ("running", 1000)
    assert said["series"]["loss"]["values"][0] == 1.0
    project.finish()
    said = json.loads(run("monitor", "one", "--project", project.root, "--json").stdout)
    assert (said["state"], said["why"], said["share"]) == ("done", "that is all", 1.0)


def test_the_list_of_runs(project: Project) -> None:
    assert run("runs", "--project", project.root).stdout.splitlines()[1].startswith("one  stopped")
    project.begin()
    waiting = project.make("two")
    (waiting.root / "queued").write_text('{"time": 1.0}')
    lines = run("runs", "--project", project.root).stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "state", "done"]
    assert lines[0].split()[6:11] == ["queries", "score", "baseline", "verdict", "p"]
    assert lines[1].startswith("one  running (train)")
    assert lines[2].startswith("two  queued (1)")
    said = json.loads(run("runs", "--project", project.root, "--json").stdout)
    assert [(item["name"], item["state"], item["queued"]) for item in said] == [
        ("one", "running", None),
        ("two", "queued", 1),
    ]


def test_a_run_that_answers_is_stopped_by_asking(project: Project) -> None:
    project.begin()
    found = run("stop", "one", "--project", project.root, "--json")
    said = json.loads(found.stdout)
    assert found.returncode == 0
    assert (said["was"], said["state"], said["rungs"]) == ("running", "stopped", ["request", "ended"])
    again = run("stop", "one", "--project", project.root)
    assert again.returncode == 0
    assert "stopped already: there is nothing to stop" in again.stderr
    assert f"harrier-studio resume one --project {project.root}" in again.stderr
    assert asked(project.run) == set()


def test_a_run_that_does_not_answer_is_killed_and_each_rung_is_said(project: Project) -> None:
    project.begin("deaf")
    found = run("stop", "one", "--project", project.root, "--after-request", "0.2", "--after-term", "0.2")
    assert found.returncode == 0
    words = found.stderr
    assert (
        words.index("asked to save") < words.index("SIGTERM sent") < words.index("SIGKILL sent") < words.index("lost")
    )
    assert "go on with it: harrier-studio resume one" in words
    assert project.worker is not None
    assert project.worker.wait(30) == -signal.SIGKILL


def test_a_waiting_run_is_taken_out_of_the_queue(project: Project) -> None:
    (project.run.root / "queued").write_text("{}")
    found = run("stop", "one", "--project", project.root, "--json")
    said = json.loads(found.stdout)
    assert (said["was"], said["state"], said["rungs"]) == ("queued", "stopped", ["ended"])


def test_a_run_is_asked_for_a_checkpoint_and_goes_on(project: Project) -> None:
    project.begin()
    found = run("ask", "one", "save", "--project", project.root)
    assert found.returncode == 0
    assert "asked to save" in found.stderr
    viewer = follow(project, "--json")
    assert viewer.stdout is not None
    assert any('"checkpoint"' in line for line in iter(viewer.stdout.readline, ""))
    project.finish()
    rest(viewer)
    refused = run("ask", "one", "evaluate", "--project", project.root)
    assert refused.returncode == 2
    assert "not at work" in refused.stderr
    assert Request.EVALUATE not in asked(project.run)


def test_the_log_is_shown_and_cannot_steer_the_terminal(project: Project) -> None:
    project.run.console.write_bytes(b"one\n10%\r100%\n\x1b[2Jtwo\nlast")
    found = run("monitor", "one", "--log", "--project", project.root)
    assert found.stdout.splitlines() == ["one", "100%", "⟨U+001B⟩[2Jtwo", "last"]
    project.begin()
    viewer = follow(project, "--log")
    assert viewer.stdout is not None
    assert viewer.stdout.readline() == "one\n"
    with project.run.console.open("a") as stream:
        stream.write(" line\nmore\n")
    project.finish()
    out, _ = rest(viewer)
    assert out.splitlines() == ["100%", "⟨U+001B⟩[2Jtwo", "last line", "more"]
    assert viewer.returncode == 0


def test_what_is_not_there_is_said(project: Project, tmp_path: Path) -> None:
    unknown = run("monitor", "two", "--project", project.root)
    assert unknown.returncode == 3
    assert "known: one" in unknown.stderr
    assert run("runs", "--project", tmp_path / "elsewhere").returncode == 3
    assert run("stop", "../one", "--project", project.root).returncode == 2
    assert run("monitor", "one", "--log", "--json", "--project", project.root).returncode == 2


def test_watching_loads_neither_torch_nor_the_interface_nor_tables() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "textual", "polars", "numpy")
    code = f"import sys, studio.cli.monitoring; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert found.stdout.strip() == "[]"
