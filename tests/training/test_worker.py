from __future__ import annotations

import json
import logging
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from studio.cli.following import lines_of
from studio.project.project import Project
from studio.runs.control import Request, ask, asked
from studio.runs.events import EventReader
from studio.runs.folder import RunFolder
from studio.runs.history import History, read_history
from studio.runs.liveness import read_beat, this_process
from studio.runs.state import State, standing
from studio.training import checkpoints, worker
from studio.training.spec import read_spec
from studio.training.telling import Teller
from tests.training.worker_runs import Worker, made, rows


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(rows())


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., History]]:
    """The worker in this process, which saves importing torch once more; all that it changes is put back."""
    handlers, root = (
        {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)},
        logging.getLogger(),
    )
    before, level = list(root.handlers), root.level
    # It sets what the libraries read from the environment.
    kept, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)

    def run(folder: RunFolder, *arguments: str, code: int = 0) -> History:
        assert worker.main([str(folder.root), *arguments]) == code
        return read_history(folder)

    yield run
    os.environ.clear()
    os.environ.update(kept)
    torch.set_num_threads(threads)
    for added in set(root.handlers) - set(before):
        added.close()
    root.handlers[:] = before
    root.setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Asking:
    """Asks a run for something in the middle of an evaluation: of a phase, after so many steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, request: Request, phase: str, step: int) -> None:
        self.request, self.phase, self.step, self.done = request, phase, step, False
        self.folder: RunFolder | None = None
        progress = Teller.progress

        def asking(teller: Teller, phase: str, done: int, total: int | None) -> None:
            progress(teller, phase, done, total)
            if not self.done and self.folder and phase == self.phase and teller.step == self.step and done != total:
                self.done = True
                ask(self.folder, self.request)

        monkeypatch.setattr(Teller, "progress", asking)


def result(folder: RunFolder) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(folder.result.read_text("utf-8"))
    return said


def test_a_run_goes_from_its_baseline_to_its_verdict(project: Project, work: Callable[..., History]) -> None:
    folder = made(project, "whole")
    history = work(folder)
    assert standing(folder, history).state is State.DONE and history.ended and history.ended.fields["state"] == "done"

    # Everybody who watches finds the same figures.
    assert [(event.step, event.fields["when"]) for event in history.evaluations] == [
        (0, "baseline"), (4, "training"), (8, "training"), (12, "training"), (12, "final"),
    ]  # fmt: skip
    loss, norms = history.series["loss"], history.series["grad_norm"]
    assert loss.steps == list(range(1, 13)) and loss.values[-1] < loss.values[0] and min(norms.values) > 0
    for name in ("ema", "lr", "pos", "neg", "margin", "accuracy", "tokens_per_second", "data_wait", "padding", "eta"):
        assert len(history.series[name].steps) == 12, name
    shares = [history.series[name].values for name in ("data_wait", "padding", "accuracy")]
    assert all(0 <= value <= 1 for values in shares for value in values)
    pos, neg, margin = (np.array(history.series[name].values) for name in ("pos", "neg", "margin"))
    assert np.allclose(pos - neg, margin, atol=1e-6)
    assert history.plan and history.plan.fields["max_steps"] == 12 and history.plan.fields["rows"] == 50
    assert history.devices and history.devices.fields["rss"] > 0

    # The verdict is that of the queries' own values.
    said = result(folder)
    mean = {when: float(np.mean(list(said[when]["per_query"].values()))) for when in ("baseline", "final")}
    assert mean["final"] == pytest.approx(said["final"]["metrics"]["ndcg@10"])
    assert history.verdict and history.verdict.fields["delta"] == pytest.approx(mean["final"] - mean["baseline"])
    assert history.verdict.fields["line"].startswith("VERDICT: ") and said["verdict"]["n"] == 10
    best = max((e for e in history.evaluations if e.fields["when"] == "training"), key=lambda e: e.fields["score"])
    assert said["best_step"] == best.step and said["final"]["metrics"]["ndcg@10"] == best.fields["score"]
    line = (project.root / "runs" / "experiments.md").read_text("utf-8").splitlines()[-1]
    assert "| whole |" in line and said["verdict"]["verdict"] in line

    # What was saved reads queries as they were trained, in every place.
    kept = checkpoints.whole(folder.checkpoints)
    assert [point.step for point in kept][-1] == 12 and best.step in [point.step for point in kept] and len(kept) <= 3
    for place in [folder.model, *(point.path for point in kept)]:
        assert_prompts(place, folder)
    assert said["verdict"]["line"] in folder.console.read_text("utf-8")
    beat = read_beat(folder)
    assert beat and beat.attempt == 1 and beat.process == this_process()


def assert_prompts(place: Path, folder: RunFolder) -> None:
    from sentence_transformers import SentenceTransformer

    prompts = read_spec(folder.spec).prompts
    assert prompts
    model = SentenceTransformer(str(place), device="cpu")
    assert model.prompts["query"] == prompts.query and model.prompts["document"] == prompts.document
    assert "sts_query" in model.prompts and model.default_prompt_name is None
    text = "como peço a fatura?"
    assert np.allclose(model.encode_query(text), model.encode(prompts.query + text), atol=1e-6)
    assert np.allclose(model.encode_document(text), model.encode(text), atol=1e-6)
    assert not np.allclose(model.encode_query(text), model.encode_document(text), atol=1e-3)
    assert "encode_query" in (place / "README.md").read_text("utf-8")


def test_it_trains_as_the_plain_trainer_does(project: Project, work: Callable[..., History]) -> None:
    """Same losses, step by step, as a script that anybody would write: watching changes nothing."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import PrinterCallback

    from studio.models.load import ModelSpec, load_model
    from studio.sample import TINY_MODEL, sample_data
    from studio.training.data import conflicts, load_prepared, train_frame
    from studio.training.sampler import conflict_aware

    folder = made(project, "watched", schedule__max_steps=6, evaluation__times=1)
    watched = work(folder).series["loss"].values
    spec, data = read_spec(folder.spec), load_prepared(folder.data)
    assert spec.prompts
    model = load_model(ModelSpec(str(sample_data() / TINY_MODEL), 24, dtype="float32", device="cpu"))
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder.root / "plain"),
        max_steps=6,
        per_device_train_batch_size=8,
        learning_rate=3e-4,
        warmup_steps=0.1,
        lr_scheduler_type="cosine",
        seed=12,
        prompts={"query": spec.prompts.query},
        batch_sampler=conflict_aware(conflicts(data)),
        use_cpu=True,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset(train_frame(data, "project").to_arrow()),
        loss=MultipleNegativesRankingLoss(model, scale=20.0),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    plain = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert watched == pytest.approx(plain, abs=1e-5)


def test_a_run_of_no_steps_is_its_baseline(project: Project, work: Callable[..., History]) -> None:
    folder = made(project, "zero-shot", schedule__max_steps=0)
    history = work(folder)
    assert [event.fields["when"] for event in history.evaluations] == ["baseline"] and history.verdict is None
    said = result(folder)
    assert said["final"]["per_query"] == said["baseline"]["per_query"] and len(said["final"]["per_query"]) == 10
    assert not folder.model.exists() and standing(folder, history).state is State.DONE
    work(folder, "--resume", code=2)  # it is done


def test_a_learning_rate_that_breaks_the_weights_is_told_and_ends_the_run(
    project: Project, work: Callable[..., History]
) -> None:
    folder = made(project, "broken", optimiser__lr=1e30, schedule__warmup=0, schedule__kind="constant")
    history = work(folder, code=1)
    assert standing(folder, history).state is State.FAILED
    [alert] = [event for event in history.alerts if event.fields["code"] == "nan"]
    assert alert.fields["level"] == "error" and "optimiser.lr" in alert.fields["remedies"][0]
    assert history.diverged and history.diverged < 4 and not checkpoints.whole(folder.checkpoints)
    assert not folder.model.exists() and history.verdict is None
    assert "optimiser.lr=5e-06" in (project.root / "runs" / "experiments.md").read_text("utf-8")


def test_a_run_that_gets_no_better_ends_early_and_stays_ended(
    project: Project, work: Callable[..., History], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So small a step changes no ranking: every evaluation after the first is no better.
    folder = made(project, "patient", optimiser__lr=1e-12, evaluation__times=12, evaluation__patience=2)
    asking = Asking(monkeypatch, Request.STOP, "final", 3)
    asking.folder = folder
    assert standing(folder, work(folder)).state is State.STOPPED
    history = work(folder, "--resume")
    assert history.step == 3 and result(folder)["best_step"] == 1 and history.verdict
    assert history.verdict.fields["verdict"] == "MARGINAL"
    assert any("2 evaluations without a better" in event.fields["message"] for event in history.notes)
    last = checkpoints.whole(folder.checkpoints)[-1]
    assert last.step == 3 and last.over


def test_low_rank_adapters_are_trained_resumed_and_merged(project: Project, work: Callable[..., History]) -> None:
    from sentence_transformers import SentenceTransformer

    changes = {"lora": {"r": 4, "alpha": 8, "dropout": 0.1}, "optimiser__lr": 3e-3, "schedule__max_steps": 6}
    whole = work(made(project, "lora", **changes))
    plan = whole.plan
    assert plan and 0 < plan.fields["trainable"] < 0.1 * plan.fields["parameters"]
    folder = RunFolder(project.root / "runs" / "lora")
    assert (folder.root / "adapter" / "adapter_config.json").exists()
    assert not (folder.model / "adapter_config.json").exists() and not list(folder.model.rglob("adapter*"))
    merged, adapted = (SentenceTransformer(str(folder.root / name), device="cpu") for name in ("model", "adapter"))
    assert np.allclose(merged.encode_query("a fatura"), adapted.encode_query("a fatura"), atol=1e-4)
    base = SentenceTransformer(str(worker_model()), device="cpu")
    assert not np.allclose(merged.encode("a fatura"), base.encode("a fatura"), atol=1e-3)

    # Stopped at step 5 and resumed, dropout included, the same curve comes again.
    again = made(project, "lora-again", **changes)
    history = interrupted_at(again, 4, work)
    assert history.series["loss"].values == pytest.approx(whole.series["loss"].values, abs=1e-4)


def worker_model() -> Path:
    from studio.sample import TINY_MODEL, sample_data

    return sample_data() / TINY_MODEL


def interrupted_at(folder: RunFolder, step: int, work: Callable[..., History]) -> History:
    """Train, ask for a stop when the checkpoint of a step is saved (so that the next step is the last), and resume."""
    original = checkpoints.finish

    def finish(path: Path, processes: int, *, over: bool = False) -> checkpoints.Checkpoint:
        if path.name == f"checkpoint-{step}":
            ask(folder, Request.STOP)
        return original(path, processes, over=over)

    checkpoints.finish = finish
    try:
        work(folder)
    finally:
        checkpoints.finish = original
    assert standing(folder).state is State.STOPPED
    return work(folder, "--resume")


def test_several_datasets_train_together_each_with_its_loss(project: Project, work: Callable[..., History]) -> None:
    scored = project.root / "scored.jsonl"
    lines = [{"query": f"a fatura {i}", "passage": f"o prazo {i}", "score": i % 3 / 2} for i in range(40)]
    scored.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    data = [
        {"name": "pairs"},
        {"name": "scores", "kind": "file", "path": "scored.jsonl", "loss": {"name": "cosent"}},
    ]
    history = work(made(project, "both", data=data, schedule__max_steps=8, sampler__several="round_robin"))
    loss = history.series["loss"].values
    assert len(loss) == 8 and all(math.isfinite(value) for value in loss)
    # In-batch accuracy is told of the pairs' batches only; cosines of both.
    assert 0 < len(history.series["accuracy"].steps) < 8 and len(history.series["pos"].steps) == 8


def test_reporters_hear_of_it_and_a_hub_out_of_reach_loses_nothing(
    project: Project, work: Callable[..., History]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = made(
        project,
        "reported",
        schedule__max_steps=4,
        evaluation__times=1,
        reporting__to=["tensorboard"],
        reporting__hub_id="nobody/nothing",
    )
    history = work(folder)
    assert standing(folder, history).state is State.DONE and folder.model.exists()
    assert any("was not pushed to nobody/nothing" in event.fields["message"] for event in history.notes)
    told = EventAccumulator(str(folder.root / "tensorboard"))
    told.Reload()
    tags = told.Tags()["scalars"]
    assert {"train/loss", "train/margin", "train/accuracy", "eval/ndcg@10"} <= set(tags)
    assert [value.step for value in told.Scalars("train/margin")] == [1, 2, 3, 4]
    assert 'SentenceTransformer("nobody/nothing")' in (folder.model / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__name": "cached_mnrl", "loss__mini_batch_size": 4, "precision__activation_checkpointing": True},
        {"batch__accumulation": 2, "sampler__name": "no_duplicates", "schedule__kind": "linear"},
        {"loss__name": "gist", "loss__matryoshka": [128, 32], "precision__mode": "bf16"},
        {"sampler__name": "random", "optimiser__name": "adafactor", "evaluation__times": 0},
    ],
    ids=["cached, checkpointed", "accumulated", "guided, matryoshka, bf16", "random"],
)
def test_other_ways_to_train_come_to_their_end(
    project: Project, work: Callable[..., History], changes: dict[str, Any]
) -> None:
    folder = made(
        project, "other", schedule__max_steps=4, evaluation__times=changes.pop("evaluation__times", 1), **changes
    )
    history = work(folder)
    assert standing(folder, history).state is State.DONE and history.verdict
    assert len(history.series["loss"].values) == 4 and len(history.series["margin"].values) == 4


def test_a_run_that_cannot_begin_says_why(project: Project, work: Callable[..., History]) -> None:
    folder = made(project, "unreported", reporting__to=["wandb"])
    history = work(folder, code=1)
    assert history.ended and "wandb is not installed" in history.ended.fields["reason"]
    assert "pip install wandb" in history.ended.fields["reason"]
    # A second start without --resume, and data that were changed, are refused.
    work(folder, code=2)
    (folder.data / "queries.parquet").write_bytes(b"")
    assert "frozen" in str(work(folder, "--resume", code=1).ended)


def test_a_checkpoint_is_saved_in_the_middle_of_an_evaluation(
    project: Project, work: Callable[..., History], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = Asking(monkeypatch, Request.SAVE, "evaluate", 4)
    asking.folder = made(project, "saved", schedule__max_steps=8, evaluation__times=2)
    history = work(asking.folder)
    assert asking.done and not asked(asking.folder) and history.requests == {"save": "done"}
    reader = EventReader(asking.folder.events)
    at = [(event.type, event.fields.get("phase")) for event in reader.read() if event.step == 4]
    reader.close()
    assert at.index(("checkpoint", None)) < at.index(("evaluation", None))
    assert [event.step for event in history.evaluations] == [0, 4, 8, 8]


@pytest.mark.parametrize(("phase", "step"), [("baseline", 0), ("evaluate", 4), ("evaluate", 8), ("final", 8)])
def test_stopped_in_the_middle_of_an_evaluation_it_goes_on_as_if_nothing_had_been(
    project: Project, work: Callable[..., History], monkeypatch: pytest.MonkeyPatch, phase: str, step: int
) -> None:
    changes = {"schedule__max_steps": 8, "evaluation__times": 2}
    whole = work(made(project, "whole", **changes))
    asking = Asking(monkeypatch, Request.STOP, phase, step)
    asking.folder = made(project, "stopped", **changes)
    first = work(asking.folder)
    assert standing(asking.folder, first).state is State.STOPPED and asking.done and not asked(asking.folder)
    assert first.step == step and not asking.folder.result.exists()
    assert [point.step for point in checkpoints.whole(asking.folder.checkpoints)][-1:] == [step][: bool(step)]
    history = work(asking.folder, "--resume")
    assert standing(asking.folder, history).state is State.DONE and history.attempts == 2
    assert history.series["loss"].values == pytest.approx(whole.series["loss"].values, abs=1e-5)
    told = [
        [(e.step, e.fields["when"], round(e.fields["score"], 6)) for e in run.evaluations] for run in (history, whole)
    ]
    assert told[0] == told[1]
    lines = [json.loads((project.root / "runs" / name / "result.json").read_text())["verdict"] for name in
             ("stopped", "whole")]  # fmt: skip
    assert lines[0] == lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "no_duplicates", "no_duplicates_hashed"])
def test_other_samplers_go_on_in_the_middle_of_an_epoch_too(
    project: Project, work: Callable[..., History], sampler: str
) -> None:
    whole = work(made(project, "whole", sampler__name=sampler))
    history = interrupted_at(made(project, "stopped", sampler__name=sampler), 8, work)
    assert history.started and history.started.fields["resumed_from"] == 9
    assert history.series["loss"].values == pytest.approx(whole.series["loss"].values, abs=1e-4)


@pytest.mark.slow
def test_killed_with_9_and_resumed_the_curve_goes_on(project: Project) -> None:
    """The joined loss curve is that of a run nobody killed."""
    whole = Worker(made(project, "whole"))
    assert whole.end() == 0
    folder = made(project, "killed")
    killed = Worker(folder)
    killed.until(lambda event: event.type == "checkpoint" and event.step == 4)
    killed.until(lambda event: event.type == "train" and event.step >= 6)
    killed.kill()
    # A save that was going on when it was killed: there, but not whole.
    torn = folder.checkpoints / "checkpoint-7"
    torn.mkdir(exist_ok=True)
    (torn / "whole.json").unlink(missing_ok=True)
    with folder.events.open("ab") as events:
        events.write(b'{"seq": 999, "type": "tra')
    assert standing(folder).state is State.LOST

    resumed = Worker(folder, "--resume")
    assert resumed.end() == 0
    history = resumed.history
    assert history.started and history.started.fields["resumed_from"] == 4 and history.attempts == 2
    assert not torn.exists()
    for name in ("loss", "grad_norm", "lr", "ema"):
        mine, other = history.series[name], whole.history.series[name]
        assert mine.steps == other.steps, name
        assert mine.values == pytest.approx(other.values, abs=1e-4), name
    assert [(e.step, e.fields["when"]) for e in history.evaluations] == [
        (e.step, e.fields["when"]) for e in whole.history.evaluations
    ]
    scores = [[e.fields["score"] for e in run.evaluations] for run in (history, whole.history)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    seqs = [json.loads(line)["seq"] for line in folder.events.read_text().splitlines() if not line.endswith("tra")]
    assert seqs == sorted(set(seqs))
    assert result(folder)["verdict"]["line"] == result(whole.folder)["verdict"]["line"]


@pytest.mark.slow
def test_requests_of_another_process_are_served_at_the_next_step(project: Project) -> None:
    folder = made(project, "asked", schedule__max_steps=300, evaluation__times=2, reporting__logs=300)
    running = Worker(folder)
    running.until(lambda event: event.type == "train")
    ask(folder, Request.SAVE)
    saved = running.until(lambda event: event.type == "checkpoint")
    assert saved.fields["requested"] and saved.step < 150
    ask(folder, Request.EVALUATE)
    evaluated = running.until(lambda event: event.type == "evaluation" and event.fields["when"] == "requested")
    assert evaluated.step < 150
    running.until(lambda event: event.type == "train" and event.step > evaluated.step)
    assert not asked(folder)
    # SIGTERM is a request to stop, with a checkpoint.
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == 0
    ended = running.history.ended
    assert ended and ended.fields["state"] == "stopped" and running.history.requests["stop"] == "done"
    last = checkpoints.whole(folder.checkpoints)[-1]
    assert last.step == running.history.step < 300


def worth(model: Path, folder: RunFolder) -> dict[str, float]:
    """What a model is worth on the data of a run, measured in this process."""
    from sentence_transformers import SentenceTransformer

    from studio.training.data import judged, load_prepared
    from studio.training.evaluating import RetrievalEvaluator

    prompts = read_spec(folder.spec).prompts
    assert prompts
    return RetrievalEvaluator(judged(load_prepared(folder.data)), prompts.contract())(
        SentenceTransformer(str(model), device="cpu")
    )


@pytest.mark.slow
def test_two_processes_train_as_one_and_stop_together(project: Project) -> None:
    """torchrun, gloo: half a batch each with shared negatives; a stop is one step's for both; it resumes."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    changes = {"devices__count": 2, "batch__per_device": 4, "loss__gather": True, "schedule__max_steps": 40}
    folder = made(project, "two", **changes)
    running = Worker(folder, launcher=launcher)
    running.until(lambda event: event.type == "evaluation" and event.step > 0)
    ask(folder, Request.STOP)
    assert running.end() == 0
    history = running.history
    assert history.ended and history.ended.fields["state"] == "stopped" and history.started
    assert history.started.fields["world_size"] == 2
    last = checkpoints.whole(folder.checkpoints)[-1]
    assert last.processes == 2 and last.step == history.step < 40
    assert {file.name for file in last.path.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    # Both train one model: what they measured together while training is what its checkpoint is worth alone.
    best = history.best
    assert best and best.fields["when"] == "training"
    alone = worth(checkpoints.folder_of(folder.checkpoints, best.step), folder)
    assert best.fields["metrics"] == pytest.approx(alone, abs=1e-6)

    again = Worker(folder, "--resume", launcher=launcher)
    assert again.end() == 0, folder.console.read_text()[-3_000:]
    assert again.history.started and again.history.started.fields["resumed_from"] == last.step
    assert again.history.step == 40 and again.history.verdict and len(result(folder)["final"]["per_query"]) == 10
    steps = again.history.series["loss"].steps
    assert steps == sorted(set(steps)) and steps[-1] == 40


@pytest.mark.slow
def test_a_process_that_is_killed_is_named(project: Project) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    folder = made(project, "killed", devices__count=2, batch__per_device=4, schedule__max_steps=4000)
    running = Worker(folder, launcher=launcher)
    running.until(lambda event: event.type == "train")
    [other] = [
        process for process in psutil.Process(running.process.pid).children() if process.environ().get("RANK") == "1"
    ]
    other.kill()
    assert running.end() != 0
    ended = running.history.ended
    assert ended and ended.fields["state"] == "failed"
    assert f"rank 1 (process {other.pid}) ended before its time" in ended.fields["reason"]


def test_training_that_makes_it_worse_is_not_called_its_best(project: Project, work: Callable[..., History]) -> None:
    folder = made(project, "worse", optimiser__lr=5e-2, schedule__max_steps=4, evaluation__times=1)
    history = work(folder)
    score, baseline = result(folder)["final"]["metrics"]["ndcg@10"], history.baseline
    assert baseline is not None and score < baseline
    assert "the best so far" not in folder.console.read_text("utf-8")
    [note] = [event for event in history.notes if "below the baseline" in event.fields["message"]]
    assert f"{score:.4f} against {baseline:.4f}" in note.fields["message"] and "step 4" in note.fields["message"]
    best = next(event for event in history.evaluations if event.fields["best"])
    assert lines_of(best, history)[0].endswith(f"ndcg@10 {score:.4f}  (training)")
