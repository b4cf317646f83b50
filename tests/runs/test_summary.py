"""Runs as a list and as plain lines: what is known, nothing for what is not, and bars only where there are values."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InputError
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.history import Series
from studio.runs.liveness import this_process
from studio.runs.plain import duration, lines, of_chance, report, sparkline
from studio.runs.state import State
from studio.runs.summary import RunList, summaries
from tests.runs.conftest import launched

GIB = 2**30


def begin(run: RunFolder) -> EventWriter:
    writer, own = EventWriter(run.events), this_process()
    launched(run, own)
    writer.write("started", 0, attempt=1, pid=own.pid, process_start=own.start, host=own.host, resumed_from=None)
    writer.write("plan", 0, max_steps=640, epochs=1.0, batch=64, rows=40_960)
    return writer


def evaluate(writer: EventWriter, step: int, score: float, when: str = "training", *, best: bool = False) -> None:
    writer.write("evaluation", step, when=when, main="ndcg@10", score=score, metrics={"ndcg@10": score}, best=best)


@pytest.fixture
def working(run: RunFolder) -> RunFolder:
    writer = begin(run)
    writer.write("phase", 0, phase="baseline")
    evaluate(writer, 0, 0.612, "baseline")
    writer.write("phase", 0, phase="train")
    for step in range(10, 420, 10):
        writer.write(
            "train", step, loss=4.0 - step / 150, ema=4.0 - step / 160, lr=4.1e-6, grad_norm=2.1, pos=0.78, neg=0.31,
            margin=0.47, accuracy=0.93, samples_per_second=1840.0, tokens_per_second=212_000.0, data_wait=0.01,
            padding=0.07, eta=609.0,
        )  # fmt: skip
    evaluate(writer, 200, 0.641)
    evaluate(writer, 400, 0.655, best=True)
    writer.write("checkpoint", 100, path="checkpoints/checkpoint-100", best=False)
    for kept in (200, 400):
        (run.root / f"checkpoints/checkpoint-{kept}").mkdir(parents=True)
    writer.write("checkpoint", 200, path="checkpoints/checkpoint-200", best=False)
    writer.write("checkpoint", 400, path="checkpoints/checkpoint-400", best=True)
    card = {"index": 0, "name": "H200", "utilisation": 0.97, "memory_used": 61 * GIB, "memory_total": 139 * GIB}
    writer.write("devices", 410, devices=[{**card, "temperature": 64, "power": None}], disk_free=81 * GIB)
    writer.write("alert", 410, code="spike", level="warning", message="the loss jumped", remedies=["lower the lr"])
    writer.close()
    return run


def test_a_run_at_work_as_a_line_of_the_list(working: RunFolder) -> None:
    (run,) = summaries(working.project)
    assert (run.name, run.state, run.stale, run.phase) == ("one", State.RUNNING, False, "train")
    assert (run.step, run.max_steps, run.share) == (410, 640, 410 / 640)
    assert (run.main, run.score, run.baseline, run.best_step) == ("ndcg@10", 0.655, 0.612, 400)
    assert (run.verdict, run.diverged, run.eta, run.alerts, run.preset) == ("", None, 609.0, 1, "tiny")
    assert 0 <= run.seconds < 60
    assert run.last is not None
    assert abs(run.last - time.time()) < 60


def test_a_run_of_which_nothing_is_known_has_no_figures(run: RunFolder) -> None:
    run.spec.write_text("damaged [")
    (found,) = summaries(run.project)
    assert found.state is State.STOPPED
    assert (found.share, found.max_steps, found.score, found.baseline, found.best_step, found.eta) == (None,) * 6
    assert (found.main, found.preset, found.seconds) == ("", "", 0.0)


def test_those_at_work_come_first_then_those_that_wait_then_the_latest(make_run: Callable[..., RunFolder]) -> None:
    old, new, second, first, live = (make_run(name) for name in ("a-old", "b-new", "c-second", "d-first", "e-live"))
    for run, when in ((old, 1.0), (new, 9.0)):
        run.events.write_text(json.dumps({"seq": 1, "time": when, "step": 0, "type": "ended", "state": "done"}) + "\n")
    for run, when in ((first, 1.0), (second, 2.0)):
        (run.root / "queued").write_text(json.dumps({"time": when}))
    begin(live).close()
    found = summaries(live.project)
    assert [run.name for run in found] == ["e-live", "d-first", "c-second", "b-new", "a-old"]
    assert [run.queued for run in found] == [None, 1, 2, None, None]
    assert found[-1].share == 1.0
    assert "place 2" in lines(second)[0]


def test_a_list_that_is_kept_reads_only_what_is_new_and_forgets_what_is_gone(
    make_run: Callable[..., RunFolder],
) -> None:
    one = make_run()
    writer = begin(one)
    runs = RunList(one.project)
    assert runs.read()[0].step == 0
    writer.write("train", 64, loss=1.0)
    assert runs.read()[0].share == 0.1
    other = make_run("two", 'preset = "first_try"')
    assert {run.name: run.preset for run in runs.read()} == {"one": "tiny", "two": "first_try"}
    other.root.rename(other.root.with_name(".gone"))
    assert [run.name for run in runs.read()] == ["one"]
    assert runs.history("one") is not None
    assert runs.history("two") is None
    writer.close()
    runs.close()


def test_a_run_in_plain_lines(working: RunFolder) -> None:
    shown = "\n".join(lines(working))
    for part in (
        "one · running · train · step 410 of 640 (64%)",
        "10:09 left",
        "loss        1.2667  EMA 1.4375",
        "grad norm 2.10",
        "lr 4.10e-06",
        "pos 0.780  neg 0.310  margin 0.470  in-batch accuracy 0.930",
        "1,840.0 samples/s  212,000 tokens/s  waiting for data 1%  padding 7%",
        "ndcg@10  baseline 0.6120",
        "step     200  0.6410  +0.0290",
        "step     400  0.6550  +0.0430  ★ best",
        "GPU 0 H200  97%  61.0 of 139.0 GiB  64 °C",
        "disk free 81.0 GiB",
        "checkpoints 200 · 400★",
        "warning     step 410: the loss jumped",
        "do: lower the lr",
    ):
        assert part in shown, f"{part!r} is not in\n{shown}"
    assert " W" not in shown, "a figure that is null is not shown"


def test_a_diverged_run_is_said_to_be_one_and_no_nought_is_drawn(run: RunFolder) -> None:
    writer = begin(run)
    for step, loss in ((1, 4.0), (2, 3.0), (3, None), (4, None)):
        writer.write("train", step, loss=loss)
    writer.close()
    shown = lines(run)
    assert "diverged at step 3" in shown[0]
    assert any("not a number" in line and "█▁× " in f"{line} " for line in shown)


def test_a_zero_shot_run_and_its_verdict(run: RunFolder) -> None:
    writer = begin(run)
    evaluate(writer, 0, 0.5, "baseline")
    line = "VERDICT: MARGINAL | score=0.5000 | baseline=0.5000 | delta=+0.0000 | ci=[+0.0000,+0.0000] p=1.0000 n=20"
    writer.write("verdict", 0, verdict="MARGINAL", score=0.5, baseline=0.5, line=line)
    writer.write("ended", 0, state="done", reason="all steps are done", seconds=1.0)
    writer.close()
    (found,) = summaries(run.project)
    assert (found.state, found.score, found.verdict, found.share, found.best_step) == (
        State.DONE, 0.5, "MARGINAL", 1.0, None,
    )  # fmt: skip
    assert lines(run)[-1] == line


def test_a_verdict_says_over_how_many_queries_and_whether_chance_explains_it(run: RunFolder) -> None:
    writer = begin(run)
    writer.write("evaluation", 0, when="baseline", main="ndcg@10", score=0.5, queries=72)
    assert (summaries(run.project)[0].p, summaries(run.project)[0].queries) == (None, 72)
    said = {"verdict": "WIN", "score": 0.52, "delta": 0.02, "p": 0.6208, "n": 20, "minimal": 0.1123, "line": "VERDICT"}
    writer.write("verdict", 5, **said)
    writer.close()
    (found,) = summaries(run.project)
    assert (found.p, found.queries) == (0.6208, 20)
    chance = "this may be chance: p = 0.62; with 20 queries only differences above 0.11 can be told"
    assert lines(run)[-2:] == ["VERDICT", chance]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"p": 0.049, "n": 500, "minimal": 0.02, "delta": 0.02}, ""),
        ({"n": 500}, ""),
        ({"p": 1.0, "n": 20, "minimal": 0.0, "delta": 0.0}, "nothing changed"),
        ({"p": 1.0, "n": 1, "minimal": None, "delta": 0.1}, "this may be chance: p = 1.00"),
        ({"p": 0.05, "n": 1500, "minimal": 0.0123}, "with 1,500 queries only differences above 0.012 can be told"),
    ],
)
def test_chance_in_a_sentence(fields: dict[str, Any], said: str) -> None:
    told = of_chance(fields)
    assert said in told
    assert bool(told) == bool(said)


def test_the_report_is_json_and_says_the_whole_of_it(working: RunFolder) -> None:
    said: dict[str, Any] = json.loads(json.dumps(report(working), allow_nan=False))
    assert said["state"] == "running"
    assert said["series"]["loss"]["steps"] == list(range(10, 420, 10))
    assert [item["score"] for item in said["evaluations"]] == [0.612, 0.641, 0.655]
    assert said["devices"]["devices"][0]["power"] is None
    assert said["alerts"] == len(said["alerts_said"]) == 1
    assert (said["verdict_said"], said["ended"], said["damaged_lines"]) == (None, None, 0)


@pytest.mark.parametrize(
    ("steps", "values", "width", "drawn"),
    [
        ([], [], 5, ""),
        ([5], [1.0], 5, "▅"),
        ([1, 2, 3], [0.0, 0.5, 1.0], 9, "▁▅█"),
        ([1, 5], [1.0, 2.0], 5, "▁   █"),
        ([1, 2, 3, 4], [0.0, 0.0, 1.0, 1.0], 2, "▁█"),
        ([1, 2], [3.0, 3.0], 2, "▅▅"),
    ],
)
def test_a_curve_in_bars(steps: list[int], values: list[float], width: int, drawn: str) -> None:
    assert sparkline(Series(steps, values), width) == drawn


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(-1e9, 1e9)), max_size=40, unique_by=lambda point: point[0]),
    st.integers(1, 60),
    st.none() | st.integers(0, 600),
)
def test_bars_keep_to_their_width(points: list[tuple[int, float]], width: int, diverged: int | None) -> None:
    points.sort()
    drawn = sparkline(Series([step for step, _ in points], [value for _, value in points]), width, None, diverged)
    assert len(drawn) <= width
    assert drawn.count("×") == (diverged is not None)


def test_a_run_that_cannot_be_read_hides_no_other_and_says_why_when_it_is_looked_at(
    make_run: Callable[..., RunFolder],
) -> None:
    good, bad = make_run("good"), make_run("bad")
    begin(good).close()
    bad.events.mkdir()
    assert {run.name: run.attempts for run in summaries(good.project)} == {"good": 1, "bad": 0}
    with pytest.raises(InputError, match="cannot be read"):
        lines(bad)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 62.4, 3723)] == ["0:00", "1:02", "1:02:03"]


def test_names_of_folders_that_are_no_runs_are_passed_over(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "runs" / ".queue.log").touch()
    (tmp_path / "runs" / "half-made").mkdir()
    assert [found.name for found in summaries(tmp_path)] == ["one"]
