"""The ejected script and the worker do the same; the Slurm and SSH scripts are what their shells take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.errors import UsageError
from studio.project.project import Project
from studio.runs.events import EventReader
from studio.runs.folder import RunFolder
from studio.training.ejecting import command, script, slurm, ssh
from studio.training.launch import create
from studio.training.presets import PRESETS
from studio.training.spec import RunSpec, changed

THINGS = [f"{thing} {number}" for number in range(20) for thing in ("a fatura", "o passaporte", "a matrícula")]
ROWS = [
    {
        "query": f"Como renovar {thing}?",
        "positive": f"Para renovar {thing} leve um documento.",
        "split": "test" if number % 5 == 0 else "train",
    }
    for number, thing in enumerate(THINGS)
]
TINY = changed(
    PRESETS["tiny"].spec,
    {"schedule.max_steps": 3, "evaluation.times": 2, "batch.per_device": 8, "model.max_length": 48},
)


@pytest.fixture
def make_run(make_project: Callable[..., Project]) -> Callable[..., RunFolder]:
    def make(name: str = "one", spec: RunSpec = TINY, **changes: Any) -> RunFolder:
        project = make_project(ROWS)
        return create(project, name, changed(spec, changes) if changes else spec)

    return make


def ran(arguments: list[str], cwd: Path) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=cwd, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_script(folder: RunFolder) -> tuple[str, dict[int, float]]:
    """What the script printed, and its loss by step."""
    path = folder.root / "script.py"
    path.write_text(script(folder), "utf-8")
    out = ran([sys.executable, str(path)], folder.root)
    states = sorted(folder.root.glob("ejected/checkpoints/*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    logs = json.loads(states[-1].read_text("utf-8"))["log_history"]
    return out, {line["step"]: line["loss"] for line in logs if "loss" in line}


@pytest.mark.slow
def test_script_and_worker_have_the_same_losses(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    out, losses = run_script(folder)
    assert list(losses) == [1, 2, 3]
    assert "VERDICT: " in out
    ran(command(folder), folder.root)
    events = EventReader(folder.events).read()
    told = {event.step: event.fields["loss"] for event in events if event.type == "train"}
    assert told == {step: pytest.approx(loss, rel=1e-4) for step, loss in losses.items()}
    scores = {event.fields["when"]: event.fields["score"] for event in events if event.type == "evaluation"}
    # All relevances are 1 here, so that both evaluators mean the same.
    assert f"baseline={scores['baseline']:.4f}" in out
    assert f"score={scores['final']:.4f}" in out


@pytest.mark.slow
def test_the_saved_model_of_a_script_knows_its_prompts(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run(**{"evaluation.times": 0, "checkpoints.load_best": False, "sampler.name": "no_duplicates"})
    text = script(folder)
    assert "studio" not in text.replace("harrier-studio's worker", "")
    run_script(folder)
    config = json.loads((folder.root / "ejected/model/config_sentence_transformers.json").read_text("utf-8"))
    assert config["prompts"]["query"].endswith("Query: ") and config["prompts"]["document"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"loss.name": "cached_mnrl", "loss.matryoshka": [128, 64], "devices.count": 2, "loss.gather": True},
        {"loss.name": "gist", "model.trust_remote_code": True, "batch.accumulation": 2},
        {"lora": {"r": 4}, "evaluation.patience": 2, "checkpoints.every": 2, "reporting.to": ["tensorboard"]},
        {"lora": {"r": 4, "quantise": "nf4", "target_modules": ["q_proj"]}, "precision.mode": "bf16"},
        {"schedule.max_steps": 0, "prompts": {"query": "o 'q' e o \"p\"\n", "document": "d: ", "origin": "custom"}},
        {"why": 'to see """ whether\n it \u202e breaks \\', "precision.mode": "auto", "devices.use": "auto"},
        {"evaluation.metric": "success@5"},
        {"evaluation.metric": "recall@20"},
    ],
)
def test_every_kind_of_run_gives_a_script_that_compiles(
    make_run: Callable[..., RunFolder], changes: dict[str, Any]
) -> None:
    folder = make_run(spec=changed(TINY, changes))
    text = script(folder)
    compile(text, "script.py", "exec")
    assert "\u202e" not in text
    assert all(len(line) < 160 for line in text.splitlines())


@pytest.mark.slow
def test_several_datasets_each_have_their_loss(make_project: Callable[..., Project], tmp_path: Path) -> None:
    scored = [
        {"query": row["query"], "passage": row["positive"], "score": 0.5} for row in ROWS if row["split"] == "train"
    ]
    pl.DataFrame(scored).write_csv(tmp_path / "scores.csv")
    data = [
        {"name": "project"},
        {"name": "my-scores", "kind": "file", "path": str(tmp_path / "scores.csv"), "loss": {"name": "cosent"}},
    ]
    folder = create(make_project(ROWS), "two", changed(TINY, {"data": data}))
    text = script(folder)
    assert "loss_my_scores = losses.CoSENTLoss(" in text
    out, losses = run_script(folder)
    assert len(losses) == 3 and "VERDICT" in out


def test_the_worker_is_started_by_this_python_and_by_torchrun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "project" / "runs" / "one")
    alone = command(folder, spec=TINY)
    assert alone == [sys.executable, "-m", "studio.training.worker", str(folder.root)]
    two = command(folder, resume=True, spec=changed(TINY, {"devices.count": 2}))
    assert two[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    assert two[-1] == "--resume" and two[5:7] == ["-m", "studio.training.worker"]


def test_shells_read_the_slurm_and_the_ssh_script(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = make_run(**{"devices.count": 2, "devices.use": "auto"})
    job, remote = slurm(folder), ssh(folder, "me@gpu-box")
    for text in (job, remote):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert "--gres=gpu:2" in job and "--signal=TERM@" in job and "--nproc-per-node=2" in job
    assert "CUDA_VISIBLE_DEVICES=0,1" in remote
    for host in ("-oProxyCommand=x", "a b", "h;rm", ""):
        with pytest.raises(UsageError):
            ssh(folder, host)


def test_a_requeued_job_resumes_only_from_a_whole_checkpoint(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    # In srun's and Python's place: both say what they were called with.
    text = slurm(folder).replace("exec srun", "exec echo")
    assert "--resume" not in subprocess.run(["bash"], input=text, text=True, capture_output=True, check=True).stdout
    torn = folder.checkpoints / "checkpoint-2"
    torn.mkdir(parents=True)
    assert "--resume" not in subprocess.run(["bash"], input=text, text=True, capture_output=True, check=True).stdout
    (torn / "whole.json").write_text("{}")
    assert "--resume" in subprocess.run(["bash"], input=text, text=True, capture_output=True, check=True).stdout
