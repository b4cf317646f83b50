"""What happens in a run beside training: log lines, alerts, evaluations, checkpoints and requests, step by step."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.runs.control import Request
from studio.training.alerts import Figures, Watch
from studio.training.checkpoints import Checkpoint
from studio.training.data import Prepared
from studio.training.gpu import Gpus
from studio.training.observing import Clock, Counter, Embeddings, smoothed
from studio.training.orders import Orders
from studio.training.sampler import ConflictAwareBatchSampler
from studio.training.schedule import Schedule, schedule
from studio.training.spec import RunSpec, Shape
from studio.training.telling import Teller

ABORTED = "aborted"
"""Key in the metrics of an evaluation that a request ended early: 1 to stop, 2 to save and evaluate again."""
_DEVICES_SECONDS = 5.0
_MARKS = (ABORTED, f"eval_{ABORTED}")


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Decides at each step what is due, and tells of it. Every process of a run has one, and all decide alike.

    Attributes:
        main: the metric that decides.
        queries: how many an evaluation asks.
        baseline: its value before training, once it is known.
        when: what the next evaluation is for: baseline, training, requested or final.
        stopped: training was asked to stop.
        diverged: the loss or a gradient was no number.
        over: training ends before its last step because nothing got better.
        last: the latest checkpoint of this attempt.

    Args:
        spec: the run.
        prepared: its data.
        teller: told of everything.
        orders: what the worker is asked to do.
        disk: the run's folder.
        main: the metric that decides, as the evaluator calls it.
    """

    def __init__(
        self, spec: RunSpec, prepared: Prepared, teller: Teller, orders: Orders, disk: Path, main: str
    ) -> None:
        self.main = main
        self.queries = prepared.queries
        self.baseline: float | None = None
        self.when = "training"
        self.stopped = self.diverged = self.over = False
        self.last: Checkpoint | None = None
        self.clock = Clock()
        self.counter = Counter()
        self.embeddings: Embeddings | None = None
        self.watched = False
        self._spec, self._prepared, self._teller, self._orders, self._disk = spec, prepared, teller, orders, disk
        self._watch = Watch(spec)
        self._schedule = Schedule(frozenset(), frozenset(), frozenset())
        self._steps = self._first_step = 0
        self._began = time.monotonic()
        self._ema: float | None = None
        self._worse = 0
        self._shape: Shape = prepared.datasets[0].shape
        self._gpus = Gpus()
        self._process = psutil.Process()
        self._next_devices = 0.0
        self._evaluation_began = time.monotonic()

    # Training

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Lay out the steps and say what training will do."""
        self._steps, self._first_step = state.max_steps, state.global_step
        self.when = "training"
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            # The peak that is told is that of training.
            torch.cuda.reset_peak_memory_stats()
        # The steps are laid out here; the trainer's own intervals must not add to them.
        state.logging_steps = state.eval_steps = state.save_steps = state.max_steps
        self._schedule = schedule(state.max_steps, self._spec)
        self._teller.now(state.global_step)
        self._teller.phase("train")
        self._remember(state)
        self._tell_plan(args, state, kwargs["model"], kwargs["train_dataloader"])
        self._began = time.monotonic()
        self.clock.take()
        self.counter.take()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the vectors of the step that will be logged, and of no other."""
        self.watched = state.global_step + 1 in self._schedule.log

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say what is due after this step."""
        step = state.global_step
        self._teller.now(step)
        wanted = self._orders.agree()
        self.stopped = self.stopped or Request.STOP in wanted
        control.should_save = step in self._schedule.save or bool(wanted & {Request.SAVE, Request.STOP})
        # Stopping must not wait for an evaluation; going on makes up for it.
        due = step in self._schedule.evaluate
        control.should_evaluate = not self.stopped and (due or Request.EVALUATE in wanted)
        self.when = "training" if due else "requested"
        control.should_log = control.should_evaluate or control.should_save or step in self._schedule.log
        control.should_training_stop = control.should_training_stop or self.stopped

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of a log line and of what it gives reason to say."""
        logs = kwargs["logs"]
        if "loss" not in logs:
            return
        fields = {name: logs.get(name) for name in (*_LINE, "epoch")} | {"lr": logs.get("learning_rate")}
        self._teller.event("train", **fields)
        self._teller.logger.info(
            "step %d of %d: loss %.4g, gradient norm %.3g, %s samples/s",
            state.global_step,
            self._steps,
            logs["loss"],
            logs.get("grad_norm") or math.nan,
            f"{logs.get('samples_per_second') or 0:.1f}",
        )
        if args.fp16 and not math.isfinite(logs.get("grad_norm") or 0.0):
            # The loss scaler of fp16 looks for its scale by passing it: such steps are skipped.
            logs = logs | {"grad_norm": None}
        for alert in self._watch.line(_figures(logs, state.global_step / max(1, self._steps))):
            self._teller.alert(alert)
            self.diverged = self.diverged or alert.code == "nan"
        if self.diverged:
            # Broken weights must not take the place of a checkpoint.
            control.should_training_stop, control.should_evaluate, control.should_save = True, False, False
        self._tell_devices()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell of the devices once more: the peak of the whole run."""
        self._next_devices = 0.0
        self._tell_devices()

    def line(self, logs: dict[str, float], device: torch.device, processes: int, state: TrainerState) -> dict[str, Any]:
        """What a log line says beyond what transformers measures.

        Args:
            logs: its own.
            device: where training runs.
            processes: how many train together.
            state: the trainer's.
        """
        seconds, waited = self.clock.take()
        counted = self.counter.take()
        norm, loss = logs.get("grad_norm"), logs["loss"]
        if math.isfinite(loss):
            self._ema = smoothed(self._ema, loss)
        done = state.global_step - self._first_step
        left = self._steps - state.global_step
        found = self.embeddings.likeness(self._shape) if self.embeddings is not None else None
        return {
            "ema": self._ema,
            "clipped": None if norm is None else norm > self._spec.optimiser.max_grad_norm,
            **(found._asdict() if found else {}),
            "samples_per_second": counted.rows * processes / seconds,
            "tokens_per_second": counted.tokens * processes / seconds,
            "data_wait": waited / seconds,
            "padding": 1 - counted.tokens / counted.slots if counted.slots else None,
            "eta": (time.monotonic() - self._began) / done * left if done else None,
        }

    def looked_at(self, dataset: str | None) -> None:
        """Say which dataset the watched batch is of."""
        self._shape = next(
            (part.shape for part in self._prepared.datasets if part.name == dataset), self._prepared.datasets[0].shape
        )

    # Evaluation

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of an evaluation, and decide whether it is the best and whether training goes on."""
        metrics = kwargs["metrics"]
        if any(mark in metrics for mark in _MARKS):
            return
        values = {
            name.removeprefix("eval_"): value
            for name, value in metrics.items()
            if name.startswith("eval_") and not name.endswith(_TIMES)
        }
        score = float(values[self.main])
        training = self.when in ("training", "requested")
        best = training and (state.best_metric is None or score > state.best_metric)
        if best:
            state.best_metric, state.best_global_step = score, state.global_step
            self._worse = 0
        elif self.when == "training":
            self._worse += 1
        self._teller.event(
            "evaluation",
            when=self.when,
            metrics=values,
            main=self.main,
            score=score,
            best=best,
            queries=self.queries,
            seconds=time.monotonic() - self._evaluation_began,
        )
        # The best of a training that makes the model worse is nothing to be glad of.
        said = ", the best so far" if best and score >= (self.baseline or 0.0) else ""
        self._teller.logger.info("%s %s %.4f%s", self.when, self.main, score, said)
        if self.when == "baseline":
            self.baseline = score
        if self.when != "final":
            for alert in self._watch.evaluation(
                score, None if self.when == "baseline" else self.baseline, self.queries, first=self.when == "baseline"
            ):
                self._teller.alert(alert)
        if training:
            if Request.EVALUATE in self._orders.look():
                self._orders.served(Request.EVALUATE)
            self._after_evaluation(state, control, best=best)

    def told_again(self, metrics: dict[str, float]) -> None:
        """Tell of the baseline that an earlier attempt measured, in a run that begins anew."""
        self._teller.event(
            "evaluation",
            when="baseline",
            metrics=metrics,
            main=self.main,
            score=self.baseline,
            best=False,
            queries=self.queries,
            seconds=0.0,
        )

    def due(self, step: int, steps: int) -> bool:
        """Whether a step of so many is one that evaluates."""
        return step in schedule(steps, self._spec).evaluate

    def evaluating(self) -> None:
        """Say that an evaluation begins."""
        self._evaluation_began = time.monotonic()

    def phase(self, phase: str) -> str:
        """Say what begins, and return what it was before."""
        before = self._teller.at
        self._teller.phase(phase)
        return before

    def _after_evaluation(self, state: TrainerState, control: TrainerControl, *, best: bool) -> None:
        if best and self._spec.checkpoints.load_best:
            control.should_save = True
        patience = self._spec.evaluation.patience
        if patience and self._worse >= patience and state.global_step < self._steps:
            self.over = True
            control.should_training_stop = control.should_save = True
            self._teller.note(
                f"training ends at step {state.global_step}: {patience} evaluations without a better "
                f"{self.main} than {state.best_metric:.4f} at step {state.best_global_step}"
            )

    # Saving

    def saved(self, checkpoint: Checkpoint, state: TrainerState, seconds: float) -> None:
        """Tell of a checkpoint that is whole, and serve who asked for it."""
        self.last = checkpoint
        asked = Request.SAVE in self._orders.look()
        self._teller.event(
            "checkpoint",
            path=str(checkpoint.path.relative_to(self._disk)),
            bytes=checkpoint.size,
            best=state.best_global_step == checkpoint.step,
            requested=asked or self.stopped,
            seconds=seconds,
        )
        self._teller.logger.info("saved %s", checkpoint.path.name)
        if asked:
            self._orders.served(Request.SAVE)

    # What is told now and then

    def _remember(self, state: TrainerState) -> None:
        """Take up curves and counters where the checkpoint left them."""
        lines = [line for line in state.log_history if "ema" in line]
        self._ema = lines[-1]["ema"] if lines else None
        best = state.best_global_step or 0
        self._worse = sum(f"eval_{self.main}" in line and line["step"] > best for line in state.log_history)

    def _tell_plan(self, args: TrainingArguments, state: TrainerState, model: SentenceTransformer, loader: Any) -> None:
        samplers = conflict_samplers(loader)
        left_over = sum(sampler.drawn(0).left_over for sampler in samplers) if samplers else None
        parameters = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        self._teller.event(
            "plan",
            max_steps=state.max_steps,
            epochs=state.num_train_epochs,
            batch=self._spec.batch.per_device,
            effective_batch=args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
            negatives=self._spec.negatives,
            rows=self._prepared.rows,
            batches=len(loader),
            left_over=left_over,
            parameters=sum(number for number, _ in parameters),
            trainable=sum(number for number, trained in parameters if trained),
        )

    def _tell_devices(self) -> None:
        now = time.monotonic()
        if now < self._next_devices:
            return
        self._next_devices = now + _DEVICES_SECONDS
        gpus = self._gpus.read()
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        free = shutil.disk_usage(self._disk).free
        self._teller.event(
            "devices",
            devices=[vars(gpu) for gpu in gpus],
            peak=torch.cuda.max_memory_allocated() if cuda else None,
            reserved=torch.cuda.max_memory_reserved() if cuda else None,
            rss=self._process.memory_info().rss,
            disk_free=free,
        )
        found = self._watch.devices([gpu.temperature for gpu in gpus])
        found += self._watch.disk(free, self.last.size if self.last else 0)
        for alert in found:
            self._teller.alert(alert)


_LINE = (
    "loss",
    "ema",
    "grad_norm",
    "clipped",
    "pos",
    "neg",
    "margin",
    "accuracy",
    "samples_per_second",
    "tokens_per_second",
    "data_wait",
    "padding",
    "eta",
)
_TIMES = ("_runtime", "_per_second", "_preparation_time")


def conflict_samplers(loader: Any) -> list[ConflictAwareBatchSampler]:
    """The conflict-aware samplers of a data loader, below whatever wraps them."""
    sampler = getattr(loader, "batch_sampler", None)
    while sampler is not None and not isinstance(sampler, ConflictAwareBatchSampler):
        several = getattr(sampler, "batch_samplers", None)
        if several is not None:
            return [each for each in several if isinstance(each, ConflictAwareBatchSampler)]
        sampler = getattr(sampler, "batch_sampler", None)
    return [] if sampler is None else [sampler]


def _figures(logs: dict[str, Any], share: float) -> Figures:
    return Figures(
        logs["loss"],
        logs.get("grad_norm"),
        logs.get("learning_rate") or 0.0,
        logs.get("pos"),
        logs.get("neg"),
        logs.get("margin"),
        logs.get("data_wait"),
        share,
    )
