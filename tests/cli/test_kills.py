"""kill -9 at random moments: nothing that was saved is lost, nothing is half-written. And ctrl+c."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.export.verify import verify_export
from studio.project.project import Project
from tests.cli.conftest import COMMAND, environment, run

ROWS = 4_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kills") / "pairs.parquet"
    rng = random.Random(7)
    words = [f"palavra{i}" for i in range(900)]
    passages = [" ".join(rng.choices(words, k=50)) for _ in range(ROWS // 2)]
    pl.DataFrame(
        {"query": [f"pergunta {i // 3}" for i in range(ROWS)], "positive": (passages * 2)[:ROWS]}
    ).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Projects as they are before each step."""
    folder = tmp_path_factory.mktemp("prepared")
    stages = {}
    project = folder / "project"
    for step, command in (
        ("check", ["import", str(source)]),
        ("decide", ["check"]),
        ("export", ["decide", "--auto"]),
    ):
        assert run(*command, "--project", project).returncode == 0
        stages[step] = folder / step
        shutil.copytree(project, stages[step])
    return stages


def killed(arguments: list[str], after: float) -> bool:
    """Start a command, kill it after some seconds; return whether it was still running."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def duration(arguments: list[str]) -> float:
    start = time.perf_counter()
    assert run(*arguments).returncode == 0
    return time.perf_counter() - start


def moments(step: str, whole: float, count: int) -> list[float]:
    rng = random.Random(step)
    return [rng.uniform(0.1, 1.0) * whole for _ in range(count)]


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", ["import", "check", "decide", "export"])
def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing_half_written(
    step: str, count: int, source: Path, prepared: dict[str, Path], tmp_path: Path
) -> None:
    project, out = tmp_path / "project", tmp_path / "out"
    arguments = {
        "import": ["import", str(source), "--project", str(project)],
        "check": ["check", "--project", str(project)],
        "decide": ["decide", "--auto", "--project", str(project)],
        "export": ["export", "--project", str(project), "--out", str(out)],
    }[step]

    def fresh() -> None:
        shutil.rmtree(project, ignore_errors=True)
        if step != "import":
            shutil.copytree(prepared[step], project)

    fresh()
    hits = 0
    for after in moments(step, duration(arguments), count):
        fresh()
        if step == "export":
            assert run("export", "--project", project, "--out", out, "--format", "jsonl").returncode == 0
        hits += killed(arguments, after)
        _assert_whole(step, project, out, prepared)
        assert run(*arguments).returncode == 0, "what was killed must be doable again"
        assert not list(tmp_path.glob(".*harrier-tmp*")), "the next run sweeps what the killed one left"
    assert hits >= max(1, count // 6), "the kills came after the work was done"


def _assert_whole(step: str, project: Path, out: Path, prepared: dict[str, Path]) -> None:
    if step == "import" and not (project / "studio.toml").exists():
        return
    opened = Project.open(project)
    assert opened.snapshot.height == ROWS
    for stored in opened.evidence.load_all():
        assert stored.snapshot == opened.settings.snapshot
    if step in ("decide", "export"):
        before = Project.open(prepared[step]).ledger.log()
        assert opened.ledger.log()[: len(before)] == before
    if step == "decide":
        assert len(opened.ledger.active()) in (0, len(Project.open(prepared["export"]).ledger.active()))
    if step == "export":
        assert verify_export(out, project=opened).sound


def test_interrupting_stops_cleanly_with_its_own_exit_code(tmp_path: Path) -> None:
    project = tmp_path / "project"
    source = tmp_path / "pairs.parquet"
    rng = random.Random(1)
    words = [f"p{i}" for i in range(5000)]
    passages = [" ".join(rng.choices(words, k=60)) for _ in range(20_000)]
    pl.DataFrame({"query": [f"q{i}" for i in range(20_000)], "positive": passages}).write_parquet(source)
    assert run("import", source, "--project", project).returncode == 0
    for wanted in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [*COMMAND, "check", "near_duplicates", "--project", str(project)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        _wait_for(project / ".studio" / "lock-evidence.json")
        process.send_signal(wanted)
        output, words_said = process.communicate(timeout=60)
        assert process.returncode == 130, words_said
        assert output == ""
        assert "half-written" in words_said
        assert not (project / ".studio" / "evidence" / "near_duplicates" / "manifest.json").exists()
        assert not (project / ".studio" / "lock-evidence.json").exists()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        select_pause()


def select_pause() -> None:
    """Yield the processor while another process gets on."""
    signal.sigtimedwait(set(), 0.02)


def test_a_rule_applied_while_another_process_reads_is_seen_whole(source: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    for command in (["import", str(source)], ["check"]):
        assert run(*command, "--project", project).returncode == 0
    writer = subprocess.Popen(
        [*COMMAND, "decide", "--auto", "--project", str(project)], stdout=subprocess.DEVNULL, env=environment()
    )
    seen: set[Any] = set()
    reader = Project.open(project)
    while writer.poll() is None:
        seen.add(len(reader.ledger.log()))
    assert writer.returncode == 0
    assert seen <= {0, len(reader.ledger.log())}
