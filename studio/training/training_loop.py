"""One attempt of a run, from its frozen data to its verdict. Every process of the run goes through it alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import distributed
from transformers import PrinterCallback, TrainerState, set_seed

from studio.errors import InputError
from studio.evaluation.significance import paired
from studio.evaluation.verdict import Judgement, verdict
from studio.prompts.contract import PromptContract
from studio.runs.control import Request
from studio.runs.folder import RunFolder
from studio.runs.liveness import is_alive, this_process
from studio.training import building, checkpoints
from studio.training.calibrating import Fit, fit
from studio.training.callbacks import ABORTED, RunCallback
from studio.training.card import Shown, card
from studio.training.checkpoints import Checkpoint
from studio.training.data import Prepared, judged, load_prepared
from studio.training.evaluating import RetrievalEvaluator
from studio.training.finishing import Measured, fields_of, read_measured, save_model, write_measured, write_result
from studio.training.interrupting import Aborted, Interruptible
from studio.training.launch import SMOKE
from studio.training.orders import Orders
from studio.training.reporting import push
from studio.training.sampler import EpochOnResume
from studio.training.spec import RunSpec
from studio.training.telling import Teller
from studio.training.watched import SAVE, STOP, WatchedTrainer

BASELINE = "baseline.json"
"""What the model was worth before training; a resumed run does not measure it again."""
_COMPARED = 16
_PARTS = 2
"""Of what the phase `model` makes: the model, and the trainer with data and losses."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The run was asked to stop; what is needed to go on is saved."""


class Diverged(Exception):  # noqa: N818 - an outcome that was told already
    """The loss is no number any more."""


class Reached(NamedTuple):
    """How far an attempt came: what the log of experiments is told."""

    judgement: Judgement | None
    baseline: float | None
    steps: int
    best_step: int | None


class Attempt:
    """One attempt of a run.

    Args:
        folder: the run.
        spec: its frozen spec, prompts included.
        teller: told of everything.
        orders: what the worker is asked to do.
        resumed: the checkpoint to go on from; None: from the beginning.
        leads: whether this is the first process, which writes what all have in common.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        teller: Teller,
        orders: Orders,
        resumed: Checkpoint | None,
        *,
        leads: bool,
    ) -> None:
        self._folder, self._spec, self._teller, self._orders = folder, spec, teller, orders
        self._resumed, self._leads = resumed, leads
        if spec.prompts is None:
            raise InputError("The run's spec has no prompts.", where=str(folder.spec), remedy="make the run again")
        self._contract: PromptContract = spec.prompts.contract()
        self._prepared: Prepared
        self._evaluator: RetrievalEvaluator
        self._trainer: WatchedTrainer
        self._watcher: RunCallback
        self._baseline: Measured | None = None
        self._processes = [this_process()]

    def run(self) -> Reached:
        """Go through all phases.

        Raises:
            Stopped: it was asked to stop.
            Diverged: the loss is no number.
            StudioError: something cannot be used or is out of reach.
        """
        self._prepare()
        self._build()
        if not self._measure_baseline():
            raise Stopped
        if self._spec.schedule.max_steps == 0:
            return self._finish_untrained()
        self._train()
        return self._finish()

    def so_far(self) -> Reached:
        """How far an attempt came that did not come to its end."""
        state = self._trainer.state if hasattr(self, "_trainer") else None
        before = self._baseline.metrics[self._evaluator.primary_metric] if self._baseline else None
        if state is None:
            return Reached(None, before, 0, None)
        return Reached(None, before, state.max_steps, state.best_global_step or None)

    def missing(self) -> list[str]:
        """The other processes of the run that are gone, in words; where they run elsewhere nobody here knows."""
        return [
            f"rank {rank} (process {process.pid})"
            for rank, process in enumerate(self._processes)
            if is_alive(process) is False
        ]

    def leave(self) -> None:
        """Leave the other processes in peace; after an error they are gone, or will be ended."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()

    # Phases

    def _prepare(self) -> None:
        self._teller.phase("data")
        set_seed(self._spec.seed)
        self._prepared = load_prepared(self._folder.data)

    def _build(self) -> None:
        self._teller.phase("model")
        spec, prepared = self._spec, self._prepared
        device = building.device_of(spec)
        precision = building.precision_of(spec, device)
        arguments = building.build_arguments(self._folder, spec, prepared, self._contract, device, precision)
        self._teller.progress("model", 0, _PARTS)
        model = building.build_model(spec, device, precision)
        self._teller.progress("model", 1, _PARTS)
        prompts = building.trained_prompts(model, self._contract)
        model.prompts = dict(prompts)
        self._evaluator = RetrievalEvaluator(
            judged(prepared),
            self._contract,
            main=spec.evaluation.metric,
            batch_size=spec.batch.evaluation,
            autocast=building.autocast_of(precision),
            between=self._between,
            progress=lambda step, done, total: self._teller.progress(self._teller.at, done, total),
        )
        self._watcher = RunCallback(
            spec, prepared, self._teller, self._orders, self._folder.root, self._evaluator.primary_metric
        )
        self._trainer = WatchedTrainer(
            watcher=self._watcher,
            spec=spec,
            prompts=prompts,
            card=lambda step: card(self._shown(step, None, "")),
            model=model,
            args=arguments,
            train_dataset=building.build_datasets(prepared),
            loss=building.build_losses(model, spec, device),
            evaluator=Interruptible(self._evaluator, self._teller),
            callbacks=[EpochOnResume(), self._watcher],
        )
        self._trainer.remove_callback(PrinterCallback)
        if self._trainer.args.world_size > 1:
            self._processes = list(self._processes) * self._trainer.args.world_size
            distributed.all_gather_object(self._processes, this_process())
        self._teller.progress("model", _PARTS, _PARTS)
        self._check_orders()

    def _measure_baseline(self) -> bool:
        """Measure the model as it is before training, or read what an earlier attempt measured; False: stopped."""
        kept = self._folder.root / BASELINE
        said = read_measured(kept)
        if said is not None:
            self._baseline = said
            self._watcher.baseline = said.metrics[self._evaluator.primary_metric]
            if self._resumed is None:
                self._watcher.told_again(said.metrics)
            return True
        self._teller.phase("baseline")
        if self._resumed is not None:
            # The weights are not loaded yet: this is the model as it was.
            self._teller.note("the baseline was not kept by the attempt before, and is measured again")
        self._baseline = self._measure("baseline")
        if self._baseline is None:
            return False
        if self._leads:
            write_measured(kept, self._baseline)
        return True

    def _train(self) -> None:
        resumed, trainer = self._resumed, self._trainer
        if resumed is None:
            trainer.train()
        else:
            if resumed.processes != trainer.args.world_size:
                self._teller.note(
                    f"{resumed.processes} processes trained before and {trainer.args.world_size} do now: from here on "
                    "the batches are others"
                )
            state = TrainerState.load_from_json(str(resumed.path / "trainer_state.json"))
            due = self._owed(state)
            if resumed.over or resumed.step >= state.max_steps:
                self._take_up(state, resumed, owed=due)
            else:
                trainer.args.eval_on_start = due
                trainer.train(resume_from_checkpoint=str(resumed.path))
        if self._watcher.diverged:
            raise Diverged
        if self._watcher.stopped:
            raise Stopped

    def _owed(self, state: TrainerState) -> bool:
        """Whether a stop came before the evaluation that the checkpoint's step is due to have."""
        name = f"eval_{self._evaluator.primary_metric}"
        done = any(name in line and line["step"] == state.global_step for line in state.log_history)
        return not done and self._watcher.due(state.global_step, state.max_steps)

    def _take_up(self, state: TrainerState, resumed: Checkpoint, *, owed: bool) -> None:
        """Take up a run whose training is over, without another step."""
        trainer = self._trainer
        trainer.state = state
        trainer.state.is_world_process_zero = self._leads
        trainer.load_weights(resumed.path)
        self._teller.now(state.global_step)
        if owed:
            self._watcher.when = "training"
            trainer.evaluate()

    def _finish(self) -> Reached:
        trainer, spec = self._trainer, self._spec
        steps, best = trainer.state.max_steps, trainer.state.best_global_step or None
        step = trainer.state.global_step
        self._teller.phase("final")
        if spec.checkpoints.load_best and best is not None and best != step:
            path = checkpoints.folder_of(self._folder.checkpoints, best)
            trainer.load_weights(path)
            self._teller.note(f"the best weights are those of step {best}, of {step}")
            step = best
        final = self._measure("final")
        if final is None:
            raise Stopped
        self._compare(final, trainer.state.best_metric if step == best else None)
        self._warn_of(final, step)
        smoke = self._fit() if self._folder.name == SMOKE else None
        judgement = None if smoke else self._judge(final)
        line = judgement.line if judgement else ""
        if self._leads:
            self._teller.phase("save")
            texts = self._evaluator.queries.head(_COMPARED).to_list()
            shown = card(self._shown(step, final, line))
            save_model(trainer.model, self._folder, spec, self._contract, shown, texts, self._teller.note)
            self._write_result(final, judgement, step, best, smoke)
        trainer.accelerator.wait_for_everyone()
        if self._leads:
            push(self._folder, spec, self._teller.note)
        # A smoke test has nothing to judge: what it found is told in the verdict's place.
        told = fields_of(judgement) if judgement else (smoke.fields() if smoke else {})
        self._teller.event("verdict", **told)
        self._teller.logger.info("%s", told["line"])
        return Reached(judgement, self._watcher.baseline, steps, best)

    def _finish_untrained(self) -> Reached:
        """A run of no steps: its baseline is its result, and there is no model to save."""
        assert self._baseline is not None
        self._teller.phase("final")
        smoke = self._fit() if self._folder.name == SMOKE else None
        if self._leads:
            self._write_result(self._baseline, None, 0, None, smoke)
        if smoke:
            self._teller.event("verdict", **smoke.fields())
            self._teller.logger.info("%s", smoke.line)
        return Reached(None, self._watcher.baseline, 0, None)

    # Parts

    def _check_orders(self) -> None:
        """End the attempt if it was asked to stop."""
        if Request.STOP in self._orders.agree():
            raise Stopped

    def _between(self) -> None:
        """Serve requests between two chunks of an evaluation."""
        found = self._orders.look()
        if Request.STOP in found:
            raise Aborted(STOP)
        if Request.SAVE in found:
            if self._trainer.is_in_train:
                raise Aborted(SAVE)
            self._teller.note("there is nothing to save: the weights are not being trained now")
            self._orders.served(Request.SAVE)
        if Request.EVALUATE in found and not self._trainer.is_in_train:
            self._orders.served(Request.EVALUATE)

    def _measure(self, when: str) -> Measured | None:
        """Evaluate outside training; None: it was asked to stop."""
        self._watcher.when = when
        metrics = self._trainer.evaluate()
        if f"eval_{ABORTED}" in metrics:
            return None
        main, inner = self._evaluator.primary_metric, self._evaluator
        values = {name.removeprefix("eval_"): float(value) for name, value in metrics.items()}
        # Only the process that drives the evaluation has the values of each query; only it writes them.
        per_query = dict(zip(inner.query_ids, map(float, inner.values.get(main, ())), strict=False))
        return Measured({name: values[name] for name in inner.names}, per_query)

    def _compare(self, final: Measured, best: float | None) -> None:
        """Say so if the weights that were loaded are not worth what they were."""
        score = final.metrics[self._evaluator.primary_metric]
        if best is not None and abs(score - best) > 0.01:
            self._teller.note(
                f"the final evaluation gives {score:.4f} for weights that had {best:.4f} while training: "
                "they should be the same"
            )

    def _judge(self, final: Measured) -> Judgement:
        assert self._baseline is not None
        main = self._evaluator.primary_metric
        score, before = final.metrics[main], self._baseline.metrics[main]
        queries = sorted(self._baseline.per_query.keys() & final.per_query.keys())
        if not queries:  # another process than the one that drives: nobody hears of its verdict
            return verdict(score, before, paired(np.array([score]), np.array([before])))
        mine, theirs = (np.array([side.per_query[query] for query in queries]) for side in (final, self._baseline))
        return verdict(score, before, paired(mine, theirs, seed=self._spec.seed))

    def _warn_of(self, final: Measured, step: int) -> None:
        """Say so if the weights that the run ends with are worse than those it began with."""
        score, before = final.metrics[self._evaluator.primary_metric], self._watcher.baseline
        if before is not None and score < before:
            self._teller.note(
                f"the weights that the run ends with, those of step {step}, are below the baseline: "
                f"{score:.4f} against {before:.4f}"
            )

    def _fit(self) -> Fit:
        """What a smoke test took."""
        if building.device_of(self._spec).startswith("cuda"):
            return fit(self._folder, torch.cuda.max_memory_allocated(), torch.cuda.get_device_name())
        return fit(self._folder)

    def _write_result(
        self, final: Measured, judgement: Judgement | None, step: int, best: int | None, smoke: Fit | None = None
    ) -> None:
        assert self._baseline is not None
        main = self._evaluator.primary_metric
        found = smoke.fields() if smoke else None
        write_result(self._folder, self._prepared, main, self._baseline, final, judgement, step, best, found)

    def _shown(self, step: int, final: Measured | None, line: str) -> Shown:
        prepared = self._prepared
        return Shown(
            self._folder.name,
            self._spec,
            self._contract,
            prepared.hash,
            prepared.rows,
            prepared.split,
            prepared.queries,
            prepared.passages,
            step,
            self._baseline.metrics if self._baseline else {},
            final.metrics if final else {},
            line,
        )
