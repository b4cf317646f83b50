from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from studio.training import checkpoints
from studio.training.schedule import schedule
from studio.training.spec import RunSpec, changed


def saved(root: Path, step: int, *, over: bool = False) -> checkpoints.Checkpoint:
    path = checkpoints.folder_of(root, step)
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"12345")
    return checkpoints.finish(path, 2, over=over)


def test_only_whole_checkpoints_count_in_order_of_steps(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        saved(tmp_path, step, over=step == 100)
    checkpoints.begin(checkpoints.folder_of(tmp_path, 20))  # it is written anew, and the process is killed
    (tmp_path / "checkpoint-x").mkdir()
    found = checkpoints.whole(tmp_path)
    assert [(point.step, point.over, point.size, point.processes) for point in found] == [
        (3, False, 5, 2),
        (100, True, 5, 2),
    ]
    assert checkpoints.remove_torn(tmp_path) == ["checkpoint-20"]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "checkpoint-100", "checkpoint-x"}
    assert checkpoints.whole(tmp_path / "nowhere") == []


def test_the_latest_and_the_best_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        saved(tmp_path, step)
    assert checkpoints.rotate(tmp_path, 2, best=2) == ["checkpoint-1", "checkpoint-3"]
    assert [point.step for point in checkpoints.whole(tmp_path)] == [2, 4, 5]
    assert checkpoints.rotate(tmp_path, 2, best=None) == ["checkpoint-2"]


@given(
    steps=st.integers(1, 5_000),
    times=st.integers(0, 40),
    every=st.integers(1, 7),
    logs=st.integers(1, 200),
)
def test_every_save_is_an_evaluation_and_the_last_step_is_all(steps: int, times: int, every: int, logs: int) -> None:
    spec = changed(RunSpec(), {"evaluation.times": times, "checkpoints.every": every, "reporting.logs": logs})
    found = schedule(steps, spec)
    assert len(found.evaluate) == min(times, steps) and len(found.log) <= 1 + logs + len(found.evaluate) + 10
    assert found.save <= found.evaluate or not times
    assert steps in found.save and steps in found.log and (steps in found.evaluate or not times)
    assert {1} | found.save | found.evaluate <= found.log <= set(range(1, steps + 1))
    ordered = sorted(found.evaluate)
    gaps = [b - a for a, b in zip([0, *ordered], ordered, strict=False)]
    assert not gaps or max(gaps) - min(gaps) <= 1
