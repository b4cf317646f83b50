"""Training through the real command line: start, follow, kill, go on, queue, compare."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from studio.cli.following import Ending
from studio.cli.training import Asked, How, resume, train
from studio.cli.training_matrix import Wanted, matrix
from studio.errors import ConfigError, InputError, UsageError
from studio.runs.events import Event, EventReader
from studio.runs.folder import RunFolder, run_folder, run_folders
from studio.runs.history import read_history
from studio.runs.liveness import read_beat
from studio.runs.state import LIVE, State, standing
from studio.runs.stopping import stop
from studio.sample import sample_data
from studio.training.spec import read_spec
from tests.cli.conftest import COMMAND, environment, run
from tests.cli.test_flows import data
from tests.training.waiting import until

SMALL = (
    "batch.per_device=16", "model.max_length=48", "schedule.max_steps=4", "evaluation.times=2",
    "evaluation.queries=20", "evaluation.corpus=100",
)  # fmt: skip
LONG = ("schedule.max_steps=4000", "evaluation.times=400", "reporting.logs=2000")
VERDICT = re.compile(
    r"^VERDICT: (WIN|MARGINAL|REGRESSION) \| score=0\.\d{4} \| baseline=0\.\d{4} \| delta=[+-]0\.\d{4} "
    r"\| ci=\[[+-]0\.\d{4},[+-]0\.\d{4}\] p=[01]\.\d{4} n=20$",
    re.M,
)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project with its evidence and its certain decisions."""
    folder = tmp_path_factory.mktemp("training")
    root = folder / "p"
    lines = (sample_data() / "pairs.jsonl").read_text("utf-8").splitlines()
    # Prompts were planted in some texts; a check before training rightly refuses so many.
    clean = [line for line in lines if "Instruct: " not in line and "query: " not in line and "passage: " not in line]
    (folder / "pairs.jsonl").write_text("\n".join(clean))
    data(run("import", folder / "pairs.jsonl", "--project", root, "--json"))
    data(run("check", "near_duplicates", "near_queries", "leakage", "--project", root, "--json"))
    data(run("decide", "--auto", "--project", root, "--json"))
    return root


@pytest.fixture
def project(checked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # So small a model gains nothing from more threads, and other tests run beside these.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = Path(shutil.copytree(checked, tmp_path / "p"))
    yield root
    for folder in run_folders(root):
        for _ in stop(folder, 0, 0):
            pass


def to_the_end(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that trains, with the patience that takes on a machine that does other things."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=900, check=False)


def sets(*changes: str) -> list[str]:
    return [f"--set={change}" for change in (*SMALL, *changes)]


def events(folder: RunFolder) -> list[Event]:
    return EventReader(folder.events).read()


def steps(folder: RunFolder) -> int:
    return max((event.step for event in events(folder) if event.type == "train"), default=0)


def state(folder: RunFolder) -> State:
    return standing(folder).state


def started(project: Path, name: str, *changes: str) -> RunFolder:
    """A run that goes on by itself and has made its first steps."""
    said = data(run("train", "--project", project, "--run", name, *sets(*changes), "--detach", "--yes", "--json"))
    folder = run_folder(project, name)
    assert said["run"] == name and said["process"]["pid"]
    until(lambda: steps(folder) > 0 or state(folder) not in LIVE, 120)
    assert state(folder) in LIVE, folder.console.read_text()
    return folder


def worker(folder: RunFolder) -> psutil.Process:
    beat = read_beat(folder)
    assert beat is not None
    return psutil.Process(beat.process.pid)


def test_a_run_is_checked_made_followed_and_judged(project: Path) -> None:
    done = to_the_end("train", "--project", project, "--run", "first", *sets(), "--yes")
    assert done.returncode == 0, done.stderr
    assert "checked: " in done.stderr and " 0 fail" in done.stderr
    lines = done.stdout.splitlines()
    # Each phase is news once; the later ones are told by what they come to.
    phases = [line for line in lines if line.startswith("phase: ")]
    assert "phase: baseline" in phases and len(phases) == len(set(phases))
    assert any(line.startswith("step 4 of 4  loss ") for line in lines)
    assert VERDICT.search(done.stdout), done.stdout
    folder = run_folder(project, "first")
    assert state(folder) is State.DONE
    assert read_spec(folder.spec).preset == "tiny"
    about = json.loads(folder.about.read_text())
    assert about["command"].startswith("harrier-studio train --project") and about["decisions"] > 0
    assert (folder.model / "modules.json").exists()
    listed = data(run("runs", "--project", project, "--json"))
    assert [(one["name"], one["state"]) for one in listed] == [("first", "done")]
    with pytest.raises(UsageError, match="There is a run `first` already"):
        train(project, Asked("first"), How())
    with pytest.raises(UsageError, match="is done") as refused:
        resume(project, "first", How())
    assert refused.value.remedy and "train --project" in refused.value.remedy and "--spec" in refused.value.remedy


def test_what_cannot_work_is_refused_before_anything_is_made(project: Path) -> None:
    for asked, error, words in (
        (Asked(changes=["optimiser.lrr=1"]), ConfigError, "lr"),
        (Asked(changes=["lr"]), UsageError, "KEY=VALUE"),
        (Asked(preset="tinny"), UsageError, "tiny"),
        (Asked(preset="tiny", spec=Path("x.toml")), UsageError, "not from both"),
        (Asked(spec=Path("nothing.toml")), ConfigError, "no such settings file"),
        (Asked("a/b"), UsageError, "cannot be called"),
        (Asked("smoke"), UsageError, "smoke"),
        (Asked("a", smoke=True), UsageError, "smoke"),
        (Asked(changes=["loss.name=cosent"]), ConfigError, "loss"),
        (Asked(changes=["evaluation.metric=bleu"]), ConfigError, "metric"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            train(project, asked, How())
    assert not list((project / "runs").glob("*/run.toml"))
    with pytest.raises(InputError, match="no run `nothing`"):
        resume(project, "nothing", How())


def test_a_dry_run_says_what_would_run_and_makes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(project, Asked("x", changes=[*SMALL, "lora.r=8"]), How(dry_run=True, as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert said["spec"]["lora"]["r"] == 8 and said["spec"]["schedule"]["max_steps"] == 4
    assert said["spec"]["prompts"]["query"].startswith("Instruct: ")
    assert {"pass"} <= {item["status"] for item in said["checks"]} <= {"pass", "warn"}
    assert "studio.training.worker" in said["command"] and str(project / "runs" / "x") in said["command"]
    train(project, Asked(changes=[*SMALL, "lora=none"]), How(dry_run=True))
    assert "nothing was made" in capsys.readouterr().err
    with pytest.raises(typer.Exit) as ended:
        train(project, Asked(changes=[*SMALL, "evaluation.metric=bleu"]), How(dry_run=True))
    assert ended.value.exit_code == 1 and "bleu" in capsys.readouterr().out
    assert not list((project / "runs").glob("*/run.toml"))


def test_the_matrix_says_its_rows_and_why_others_are_left_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual: dict[str, Any] = {"detach": False, "table": False, "out": None, "dry_run": False, "as_json": True}
    matrix(project, Wanted(rows="B,C,G,h"), **{**usual, "dry_run": True})
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["B-zero-shot"]["changes"] == {"schedule.max_steps": 0} and not rows["B-zero-shot"]["skipped"]
    assert sum(name.startswith("C-") for name in rows) == 3
    assert "harrier-studio mine" in rows["G-hard-negatives"]["skipped"]
    assert "nothing would differ" in rows["H-length-8192"]["skipped"]
    with pytest.raises(UsageError, match="no row 'Z'"):
        matrix(project, Wanted(rows="Z"), **usual)
    with pytest.raises(UsageError, match="no run of this matrix"):
        matrix(project, Wanted(), **{**usual, "table": True})


def test_options_that_scripts_give(project: Path) -> None:
    nameless = run("train", "--project", project, "--run", "", "--dry-run")
    assert nameless.returncode == 2 and "leave --run out" in nameless.stderr
    asked = run("matrix", "--project", project, "--rows", "B", "--yes", "--dry-run")
    assert asked.returncode == 0 and "B-zero-shot" in asked.stdout


def test_the_commands_load_no_torch() -> None:
    code = (
        "import sys, studio.cli.training_matrix, studio.cli.monitoring; "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'textual') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_run_outlives_those_who_watch_it(project: Path) -> None:
    """One viewer is killed, one interrupted; the run is stopped with a checkpoint and goes on to its end."""
    folder = started(project, "long", *LONG)
    viewer = subprocess.Popen(
        [*COMMAND, "monitor", "long", "--project", str(project), "--json", "--follow"],
        stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    assert viewer.stdout is not None
    assert json.loads(viewer.stdout.readline())["type"] == "started", "from the beginning"
    os.killpg(viewer.pid, signal.SIGKILL)
    viewer.wait(30)
    before = steps(folder)
    until(lambda: steps(folder) > before)
    stopped = run("stop", "long", "--project", project)
    assert stopped.returncode == 0 and state(folder) is State.STOPPED
    assert read_history(folder).checkpoints, "it stopped with a checkpoint"


@pytest.mark.slow
def test_ctrl_c_ends_the_watching_and_says_how_to_see_and_stop_the_run(project: Path) -> None:
    viewer = subprocess.Popen(
        [*COMMAND, "train", "--project", str(project), "--run", "long", *sets(*LONG), "--yes"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    folder = run_folder(project.resolve(), "long")
    until(lambda: steps(folder) > 0, 120)
    os.killpg(viewer.pid, signal.SIGINT)  # the terminal sends it to all that stand before it
    _, words = viewer.communicate(timeout=60)
    assert viewer.returncode == 130
    assert "run `long` goes on" in words and "harrier-studio stop long" in words and "monitor long" in words
    before = steps(folder)
    until(lambda: steps(folder) > before)
    assert state(folder) is State.RUNNING


@pytest.mark.slow
def test_a_killed_worker_is_lost_and_goes_on_as_one_curve(project: Path) -> None:
    folder = started(project, "long", "schedule.max_steps=40", "evaluation.times=8", "reporting.logs=40")
    until(lambda: read_history(folder).checkpoints and steps(folder) > read_history(folder).checkpoints[-1].step + 2)
    worker(folder).send_signal(signal.SIGKILL)
    until(lambda: state(folder) is State.LOST)
    listed = data(run("runs", "--project", project, "--json"))
    assert listed[0]["state"] == "lost"
    saved = read_history(folder).checkpoints[-1].step
    done = to_the_end("resume", "long", "--project", project)
    assert done.returncode == 0, done.stderr
    assert f"attempt 2, process {read_history(folder).started.fields['pid']}, from step {saved}" in done.stdout
    assert "attempt 1" not in done.stdout and VERDICT.search(done.stdout)
    history = read_history(folder)
    assert history.attempts == 2 and state(folder) is State.DONE
    assert history.series["loss"].steps == list(range(1, 41))
    numbers = [event.seq for event in events(folder)]
    assert numbers == list(range(1, len(numbers) + 1)), "appended to the same events"


@pytest.mark.slow
def test_a_learning_rate_that_makes_nan_fails_with_an_alert(project: Path) -> None:
    done = to_the_end(
        "train", "--project", project, "--run", "wild", "--yes", "--force",
        *sets("optimiser.lr=1e30", "optimiser.max_grad_norm=1e30", "schedule.warmup=0", "schedule.max_steps=20"),
    )  # fmt: skip
    assert done.returncode == 1
    folder = run_folder(project, "wild")
    assert state(folder) is State.FAILED
    history = read_history(folder)
    assert history.diverged is not None and history.alerts
    assert "nan" in {alert.fields["code"] for alert in history.alerts}
    assert history.alerts[0].fields["remedies"] and "do: " in done.stdout


@pytest.mark.slow
def test_a_smoke_test_tries_the_spec_and_is_replaced_by_the_next(project: Path) -> None:
    for _ in range(2):
        done = to_the_end("train", "--project", project, "--smoke", *sets("schedule.max_steps=400"), "--yes")
        assert done.returncode == 0, done.stderr + done.stdout
    folder = run_folder(project, "smoke")
    assert read_spec(folder.spec).schedule.max_steps == 1
    history = read_history(folder)
    assert history.attempts == 1 and history.step == 1
    # The one step was a whole one.
    assert history.latest["lr"] == read_spec(folder.spec).optimiser.lr > 0
    # It judges nothing; what it took is told, in every place, beside what was expected.
    words = re.compile(r"smoke test: ok \| peak \d+(\.\d+)? GB of the process \| estimated \d+(\.\d+)? GB")
    assert len(words.findall(done.stdout)) == 1 and "VERDICT" not in done.stdout
    assert words.search(run("monitor", "smoke", "--project", project, "--plain").stdout)
    assert words.search(folder.console.read_text())
    assert data(run("runs", "--project", project, "--json"))[0]["verdict"] == "smoke test: ok"
    said = json.loads(folder.result.read_text())
    assert said["verdict"] is None and 5e7 < said["smoke"]["peak"] < 2e10 and 0 < said["smoke"]["estimated"] < 2e10
    assert Ending(folder, State.DONE, "").report()["smoke"] == said["smoke"]


@pytest.mark.slow
def test_the_matrix_ends_in_one_table(project: Path, tmp_path: Path) -> None:
    more = sets("schedule.max_steps=24", "batch.per_device=32", "evaluation.queries=60")
    arguments = ["matrix", "--project", project, "--rows", "B,C,D", *more]
    queued = data(run(*arguments, "--detach", "--json"))
    assert [row["state"] for row in queued["rows"]] == ["queued"] * 5
    # Whoever comes later watches the same runs; none is made twice.
    table = tmp_path / "table.md"
    done = to_the_end(*arguments, "--json", "--out", table)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["reference"] == "B-zero-shot" and said["metric"] == "ndcg@10"
    rows = {row["name"]: row for row in said["rows"]}
    assert next(iter(rows)) == "B-zero-shot" and rows["B-zero-shot"]["difference"] is None
    assert {row["state"] for row in rows.values()} == {"done"}
    for name, row in rows.items():
        if name != "B-zero-shot":
            low, delta, high = (row["difference"][key] for key in ("low", "delta", "high"))
            assert low <= delta <= high and row["difference"]["n"] == 60
            assert row["difference"]["p"] <= row["p_holm"] <= 1
    assert rows["C-1e-3"]["score"] > rows["B-zero-shot"]["score"], "it learns"
    assert "| B-zero-shot |" in table.read_text() and "paired bootstrap" in table.read_text()
    plain = run("matrix", "--project", project, "--rows", "B,C,D", *more, "--table")
    assert plain.returncode == 0 and "C-1e-3" in plain.stdout and "95 % interval" in plain.stdout
    other = run("matrix", "--project", project, "--rows", "B", *sets("seed=13"), "--detach")
    assert other.returncode == 2 and "--prefix" in other.stderr


@pytest.mark.slow
def test_an_ejected_script_runs_alone(project: Path, tmp_path: Path) -> None:
    data(to_the_end("train", "--project", project, "--run", "one", *sets("schedule.max_steps=0"), "--yes", "--json"))
    script = tmp_path / "one.py"
    assert run("eject", "one", "--project", project, "--out", script).returncode == 0
    assert "SentenceTransformerTrainer" in script.read_text()
    assert run("eject", "one", "--project", project).stdout == script.read_text()
    assert "#SBATCH" in run("eject", "one", "--project", project, "--slurm").stdout
    assert "ssh" in run("eject", "one", "--project", project, "--ssh", "gpu-box").stdout
    compiled = subprocess.run([sys.executable, "-m", "py_compile", script], check=False)
    assert compiled.returncode == 0
