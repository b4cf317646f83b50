from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.evaluation.significance import paired
from studio.evaluation.verdict import verdict
from studio.training.experiments import LOG, Outcome, propose, record
from studio.training.spec import RunSpec, changed


def outcome(gain: float = 0.05, spread: float = 0.1, **changes: Any) -> Outcome:
    """A run whose queries gained so much, by so different amounts."""
    rng = np.random.default_rng(0)
    before = rng.uniform(0.3, 0.7, 200)
    noise = rng.normal(0, spread, 200)
    after = before + gain + noise - noise.mean()
    judged = verdict(float(after.mean()), float(before.mean()), paired(after, before))
    base = Outcome(RunSpec(), "done", judged, float(before.mean()), 100, 100, 60, ())
    return base._replace(**changes)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (outcome(spec=changed(RunSpec(), {"schedule.max_steps": 0}), judgement=None), "preset first_try"),
        (outcome(trouble=("oom",), state="failed"), "loss.name=cached_mnrl loss.mini_batch_size=16"),
        (outcome(trouble=("nan",), state="failed", judgement=None), "optimiser.lr=1e-06"),
        (outcome(trouble=("collapse",)), "optimiser.lr=1e-06"),
        (outcome(trouble=("perfect",)), "a harder test"),
        (outcome(-0.05), "optimiser.lr=2.5e-06"),
        (outcome(-0.05, best_step=10), "evaluation.patience=3"),
        (outcome(best_step=100), "schedule.epochs=2"),
        (outcome(best_step=100, spec=changed(RunSpec(), {"schedule.max_steps": 100})), "schedule.max_steps=200"),
        (outcome(0.0, 0.0, best_step=100), "optimiser.lr=1e-05 schedule.epochs=2"),
        (outcome(-0.05, spec=changed(RunSpec(), {"optimiser.lr": 500})), "optimiser.lr=5e-06"),
        (outcome(trouble=("nan",), spec=changed(RunSpec(), {"optimiser.lr": 500, "lora.r": 8})), "optimiser.lr=0.0001"),
        (outcome(0.005, 0.5), "more held-out queries"),
        (outcome(best_step=20), "the best step was early"),
        (outcome(), "hard negatives"),
        (outcome(spec=changed(RunSpec(), {"data.0.negatives": 2})), "loss.name=cached_mnrl batch.per_device=256"),
        (outcome(spec=changed(RunSpec(), {"data.0.negatives": 2, "loss.name": "cached_mnrl"})), "optimiser.lr=1e-05"),
    ],
)
def test_what_to_try_next_follows_from_what_happened(found: Outcome, said: str) -> None:
    assert said in propose(found)


def test_the_log_has_one_line_a_run_however_many_end_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(tmp_path, f"run-{number}", outcome()), range(24)))
    lines = (tmp_path / LOG).read_text("utf-8").splitlines()
    assert sum(line.startswith("# ") for line in lines) == 1
    runs = [line for line in lines if line.startswith("| 2")]
    assert len(runs) == 24 and {line.count(" | ") for line in runs} == {runs[0].count(" | ")}
    assert "| WIN | 0." in runs[0] and "hard negatives" in runs[0]


def test_words_of_a_person_cannot_break_the_table(tmp_path: Path) -> None:
    record(tmp_path, "a", outcome(spec=changed(RunSpec(), {"why": "a | b\nc"})))
    last = (tmp_path / LOG).read_text("utf-8").splitlines()[-1]
    assert "a \\| b c" in last
