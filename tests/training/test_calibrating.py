"""A smoke test's peak corrects the estimate of the runs that are like it, once, and only where it says something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.models.tokenizer import load_tokenizer
from studio.project.project import Project
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.sample import TINY_MODEL, model_location
from studio.training import setup_checks
from studio.training.calibrating import learn_from, learnt
from studio.training.data import load_prepared
from studio.training.devices import Device
from studio.training.launch import create
from studio.training.lengths import measure
from studio.training.memory import MemoryEstimate, calibration_key, estimate, model_facts
from studio.training.presets import PRESETS
from studio.training.spec import RunSpec, changed, read_spec

GPU = Device("0", "NVIDIA H200", 0, 139 * 2**30)
SPEC = changed(PRESETS["tiny"].spec, {"precision.mode": "auto", "devices.use": "cuda", "schedule.max_steps": 1})
ROWS = [
    {"query": f"pergunta {n}", "positive": f"A resposta da pergunta {n}.", "split": "test" if n % 4 == 0 else "train"}
    for n in range(80)
]


@pytest.fixture
def smoke_run(make_project: Callable[..., Project]) -> RunFolder:
    return create(make_project(ROWS), "smoke", SPEC, replace=True)


def said_of(folder: RunFolder) -> tuple[RunSpec, MemoryEstimate]:
    spec = read_spec(folder.spec)
    lengths = measure(load_prepared(folder.data), spec, load_tokenizer(model_location(TINY_MODEL)))
    return spec, estimate(spec, model_facts(TINY_MODEL), lengths, device="cuda")


def tell(path: Path, peak: int | None, state: str = "done") -> None:
    writer = EventWriter(path)
    writer.write("train", 1, loss=1.0)
    writer.write("devices", 1, devices=[{"name": GPU.name}], peak=peak)
    writer.write("ended", 1, state=state)
    writer.close()


def test_the_peak_of_a_smoke_test_corrects_runs_like_it(smoke_run: RunFolder) -> None:
    spec, said = said_of(smoke_run)
    tell(smoke_run.events, said.weights + said.copies + 2 * said.activations)
    key = calibration_key(spec, GPU.name)
    assert learnt(smoke_run, key) == pytest.approx(2, rel=1e-3)
    assert learnt(smoke_run, calibration_key(spec, "another")) is None
    lengths = measure(load_prepared(smoke_run.data), spec, load_tokenizer(model_location(TINY_MODEL)))
    item = setup_checks.memory(smoke_run.project, spec, model_facts(TINY_MODEL), lengths, [GPU])
    assert "corrected by a smoke test (×2.00)" in item.message


@pytest.mark.parametrize(("peak", "state"), [(None, "done"), (1, "done"), (10**9, "failed")])
def test_nothing_is_learnt_from_what_says_nothing(smoke_run: RunFolder, peak: int | None, state: str) -> None:
    tell(smoke_run.events, peak, state)
    assert learn_from(smoke_run) is None
    assert learnt(smoke_run, calibration_key(SPEC, GPU.name)) is None


def test_a_smoke_test_that_lost_its_data_is_passed_over(smoke_run: RunFolder) -> None:
    _, said = said_of(smoke_run)
    tell(smoke_run.events, said.weights + said.copies + 2 * said.activations)
    (smoke_run.data / "queries.parquet").unlink()
    assert learnt(smoke_run, calibration_key(SPEC, GPU.name)) is None
