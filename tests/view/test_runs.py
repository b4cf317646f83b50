"""What the Runs panel asks: only what is new is read, curves keep their spikes, runs are compared by equal queries."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InputError
from studio.project.project import Project
from studio.runs.folder import RunFolder
from studio.runs.history import Series
from studio.runs.state import State
from studio.training.presets import PRESETS
from studio.training.spec import changed
from studio.view.bench import Bench
from studio.view.runs import pin_baseline, runs, thinned
from tests.runs_by_hand import Writer, made, queued, trained

BASE = PRESETS["first_try"].spec


@pytest.fixture
def bench(make_project: Callable[..., Project]) -> Bench:
    return Bench(make_project([("what", "this")]).root)


def test_runs_are_listed_with_what_they_came_to(bench: Bench) -> None:
    root = bench.project.root
    trained(root, "good")
    trained(root, "lost", upto=120, end=None)
    trained(root, "wild", diverged=100, upto=100, end="failed")
    queued(root, ["next", "later"])
    made(root, "idle")
    found = {run.name: run for run in runs(bench).runs}
    assert {name: run.state for name, run in found.items()} == {
        "good": State.DONE,
        "lost": State.LOST,
        "wild": State.FAILED,
        "next": State.QUEUED,
        "later": State.QUEUED,
        "idle": State.STOPPED,
    }
    assert found["good"].verdict == "WIN" and found["good"].score == pytest.approx(0.6518)
    assert (found["next"].queued, found["later"].queued) == (1, 2) and found["wild"].diverged == 100


def test_one_run_is_told_in_full_and_goes_on(bench: Bench) -> None:
    folder = trained(bench.project.root, "one", upto=120, end=None)
    before = runs(bench, "one").detail
    assert before is not None and before.plan["negatives"] == 127
    assert [each.when for each in before.evaluations] == ["baseline", "training", "training"]
    assert [(each.step, each.best) for each in before.checkpoints] == [(120, True)]
    assert before.curves["loss"].steps[-1] == 120 and len(before.curves["loss"].steps) == 12
    Writer(folder, seq=1000).train(130, 600, 0.5)
    after = runs(bench, "one").detail
    assert after is not None and after.curves["loss"].steps[-1] == 130 and after.latest["loss"] == 0.5


def test_only_what_is_new_is_read(bench: Bench) -> None:
    folder = trained(bench.project.root, "one", upto=120, end=None)
    runs(bench, "one")
    # What was read is not read again: were it, the run would have lost its beginning.
    data = folder.events.read_bytes()
    folder.events.write_bytes(b"\x00" * (len(data) - 600) + data[-600:])
    Writer(folder, seq=1000).train(130, 600, 0.5)
    found = runs(bench, "one").detail
    assert found is not None and found.evaluations[0].when == "baseline" and found.curves["loss"].steps[-1] == 130


def test_a_resumed_run_has_one_curve(bench: Bench) -> None:
    folder = trained(bench.project.root, "one", upto=120, end=None)
    writer = Writer(folder, seq=1000)
    writer.begin(attempt=2, resumed_from=60)
    writer.train(70, 600, 9.0)
    found = runs(bench, "one").detail
    assert found is not None and found.summary.attempts == 2
    assert found.curves["loss"].steps[-2:] == (60, 70) and found.curves["loss"].values[-1] == 9.0
    assert [each.step for each in found.evaluations] == [0, 60]


def test_a_diverged_curve_ends_in_what_is_no_number(bench: Bench) -> None:
    trained(bench.project.root, "wild", diverged=100, upto=150, end="failed")
    found = runs(bench, "wild").detail
    assert found is not None
    loss = found.curves["loss"]
    assert loss.steps[-1] == 100 and math.isnan(loss.values[-1]) and all(map(math.isfinite, loss.values[:-1]))
    assert found.alerts[0].remedies[0] == "lower optimiser.lr"


def test_runs_are_compared_with_the_pinned_one(bench: Bench) -> None:
    root = bench.project.root
    trained(root, "base")
    trained(root, "quick", changed(BASE, {"optimiser.lr": 1e-5, "lora": {"r": 8}}), gain=0.02)
    first = runs(bench, compared=("quick", "base"))
    assert first.base == "quick" and first.pinned == ""
    pin_baseline(bench, "base")
    found = runs(bench, compared=("quick",))
    assert (found.base, found.pinned) == ("base", "base")
    changes = dict(found.compared[0].changes)
    assert changes["optimiser.lr"] == "1e-05" and changes["lora.r"] == "8"
    assert found.compared[0].difference is None
    assert Bench(root) is not bench and runs(Bench(root)).pinned == "base"
    pin_baseline(bench, "")
    assert runs(bench).pinned == ""
    with pytest.raises(InputError, match="no run"):
        pin_baseline(bench, "other")


def measured(root: Path, name: str, scores: list[float], about: str = "the same", n: int | None = None) -> RunFolder:
    """A run that ended with these scores of its queries."""
    folder = trained(root, name)
    per_query = {f"q{at}": score for at, score in enumerate(scores)}
    folder.result.write_text(json.dumps({"final": {"per_query": per_query}}))
    folder.data.mkdir()
    for file in ("queries.parquet", "corpus.parquet", "qrels.parquet"):
        (folder.data / file).write_text(about)
    if n is not None:
        writer = Writer(folder, seq=1000)
        writer.write("verdict", 600, verdict="MARGINAL", score=0.7, baseline=0.6, delta=0.1, p=0.62, n=n, line="")
    return folder


def test_differences_come_from_the_same_queries(bench: Bench) -> None:
    root = bench.project.root
    measured(root, "a", [0.2, 0.4, 0.6, 0.8] * 20)
    measured(root, "b", [0.3, 0.5, 0.6, 0.9] * 20)
    found = {each.summary.name: each for each in runs(bench, compared=("a", "b")).compared}
    difference = found["b"].difference
    assert difference is not None and difference.delta == pytest.approx(0.075) and difference.p < 0.01
    assert difference.low > 0 and found["a"].difference is None


def test_scores_over_other_queries_are_not_compared(bench: Bench) -> None:
    root = bench.project.root
    measured(root, "a", [0.2, 0.4, 0.6, 0.8] * 20)
    measured(root, "b", [0.3, 0.5, 0.6, 0.9] * 20)
    measured(root, "few", [0.9] * 20, "some of them", n=20)
    measured(root, "as-many", [0.9] * 80, "as many others")
    trained(root, "goes-on", upto=120, end=None)
    found = runs(bench, compared=("a", "b", "few", "as-many"))
    assert found.apart == {"few"} and found.base == "a"
    told = {each.summary.name: each for each in found.compared}
    for name in ("few", "as-many"):
        assert not told[name].comparable and told[name].difference is None
        assert told[name].note == "other queries: not comparable"
    assert told["b"].difference is not None
    pin_baseline(bench, "few")
    assert runs(bench).apart == {"a", "b", "as-many", "goes-on"}


def test_a_run_that_cannot_be_read_does_not_take_the_others_their_interval(bench: Bench) -> None:
    root = bench.project.root
    for name, scores in (("a", [0.2, 0.4] * 40), ("b", [0.3, 0.5] * 40), ("broken", [0.1, 0.2] * 40)):
        measured(root, name, scores)
    (root / "runs" / "broken" / "run.toml").write_text("seed = [")
    told = {each.summary.name: each for each in runs(bench, compared=("a", "b", "broken")).compared}
    assert told["b"].difference is not None
    assert (told["broken"].difference, told["broken"].note) == (None, "cannot be read")


def test_damaged_folders_do_not_hide_the_others(bench: Bench) -> None:
    root = bench.project.root
    trained(root, "good")
    broken = trained(root, "broken")
    broken.spec.write_text("seed = [")
    with broken.events.open("a") as file:
        file.write("{torn\n\x00\n")
    (root / "runs" / "baseline").write_bytes(b"\xff\xfe")
    found = runs(bench, "broken", compared=("broken", "good"))
    assert {run.name for run in found.runs} == {"good", "broken"}
    assert found.detail is not None and found.detail.damaged == 2 and len(found.compared) == 2
    assert found.pinned == ""


def test_no_run_and_no_such_run(bench: Bench) -> None:
    assert runs(bench) == ((), None, (), "", "", frozenset())
    trained(bench.project.root, "one")
    assert runs(bench, "other", compared=("neither",)).detail is None


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).flatmap(
        lambda values: st.tuples(st.just(values), st.integers(1, 40), st.integers(1, 7))
    )
)
def test_thinned_curves_keep_every_extreme(drawn: tuple[list[float], int, int]) -> None:
    values, points, gap = drawn
    curve = thinned(Series([at * gap for at in range(len(values))], values), points)
    assert len(curve.steps) <= 2 * points or len(values) <= 2 * points
    assert list(curve.steps) == sorted(set(curve.steps))
    assert (min(curve.values), max(curve.values)) == (min(values), max(values))
    assert all(values[int(step) // gap] == value for step, value in zip(curve.steps, curve.values, strict=True))
