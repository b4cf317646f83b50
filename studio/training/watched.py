"""sentence-transformers' trainer, with a run's eyes on it. It trains exactly as the plain one does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from torch import nn
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from studio.errors import InputError
from studio.training import checkpoints
from studio.training.callbacks import ABORTED, RunCallback
from studio.training.observing import CountingCollator, Embeddings
from studio.training.spec import RunSpec

STOP, SAVE = 1.0, 2.0
"""Why an evaluation was ended early: the value of its `aborted`."""


class WatchedTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """A `SentenceTransformerTrainer` that measures, saves whole checkpoints and can end an evaluation early.

    Args:
        watcher: sees every step; it must be among the callbacks too.
        spec: the run.
        prompts: what every saved model's `prompts` say.
        card: the model card of a checkpoint, by its step.
        **given: of the plain trainer.
    """

    data_collator_class = CountingCollator

    def __init__(
        self,
        *,
        watcher: RunCallback,
        spec: RunSpec,
        prompts: dict[str, str],
        card: Callable[[int], str],
        **given: Any,
    ) -> None:
        self._watcher, self._spec, self._prompts, self._card = watcher, spec, prompts, card
        super().__init__(**given)
        watcher.embeddings = Embeddings(self.model)
        watcher.counter = self.data_collator.counter

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Do without sentence-transformers' model card: it quotes training rows; the run writes its own."""

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """Get the next batches, and measure the wait."""
        with self._watcher.clock.waiting(device):
            return super().get_batch_samples(epoch_iterator, num_batches, device)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the loss; on steps that are logged, keep the vectors it is made of."""
        watcher = self._watcher
        watcher.counter.trained()
        keep: AbstractContextManager[None] = nullcontext()
        if watcher.watched and watcher.embeddings is not None:
            watcher.watched = False
            watcher.looked_at(inputs.get("dataset_name"))
            keep = watcher.embeddings.kept(inputs)
        with keep:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what is measured here: every reporter sees it."""
        if "loss" in logs:
            logs = logs | self._watcher.line(logs, self.args.device, self.args.world_size, self.state)
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; where somebody asks for a checkpoint meanwhile, save it and evaluate from the beginning."""
        watcher = self._watcher
        before = watcher.phase("evaluate") if self.is_in_train else ""
        while True:
            watcher.evaluating()
            with watcher.clock.paused():
                metrics: dict[str, float] = super().evaluate(*args, **kwargs)
            aborted = metrics.get(f"eval_{ABORTED}")
            if aborted == SAVE:
                self._save_checkpoint(self.model, trial=None)
                continue
            if aborted == STOP:
                watcher.stopped = True
                self.control.should_training_stop = self.control.should_save = True
            if before:
                watcher.phase(before)
            return metrics

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate, and leave the model as it is.

        transformers prepares a model that is evaluated before training, for evaluation only; accelerate then takes it
        for prepared when training begins and does not wrap it again: each of several processes would train a model of
        its own. The evaluator computes in the run's precision by itself, so nothing needs to be prepared.
        """
        prepared = self.accelerator._models
        if prepared:
            return super().evaluation_loop(*args, **kwargs)
        # transformers prepares only where nothing is listed.
        prepared.append(self.model)
        try:
            return super().evaluation_loop(*args, **kwargs)
        finally:
            prepared.clear()

    def load_weights(self, path: Path) -> None:
        """Take the weights of a checkpoint.

        Raises:
            InputError: they cannot be read.
        """
        try:
            self._load_from_checkpoint(str(path))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError("The checkpoint cannot be loaded.", where=str(path), why=str(error)) from error

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """The watcher has decided already: it also sees evaluations that a resumed run makes up for."""
        return False

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint that a kill leaves either whole or known to be torn, and let the oldest go after it."""
        watcher, began = self._watcher, time.monotonic()
        path = checkpoints.folder_of(Path(self.args.output_dir), self.state.global_step)
        before = watcher.phase("save")
        with watcher.clock.paused():
            if self.is_world_process_zero():
                checkpoints.begin(path)
            super()._save_checkpoint(model, trial)
            # Each process writes the state of its own random numbers.
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                whole = checkpoints.finish(path, self.args.world_size, over=watcher.over)
                watcher.saved(whole, self.state, time.monotonic() - began)
                checkpoints.rotate(path.parent, self._spec.checkpoints.keep, self.state.best_global_step)
        watcher.phase(before)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the model with the trained prompts, so that `encode_query` is right in every checkpoint."""
        out = Path(output_dir or self.args.output_dir)
        self.model.prompts = dict(self._prompts)
        self.model.save_pretrained(str(out), create_model_card=False)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(out))
        torch.save(self.args, out / TRAINING_ARGS_NAME)
        (out / "README.md").write_text(self._card(self.state.global_step), "utf-8")
