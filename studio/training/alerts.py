"""What can go wrong in a run, told from its figures: each alert says what it is and what to try, best first."""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple

from studio.training.losses import CACHED, LOSSES
from studio.training.spec import LossName, RunSpec

Level = Literal["warning", "error"]

_RECENT = 20
"""Log lines that a spike is measured against."""
_FEW = 8
"""With fewer lines than that nothing is called unusual."""
_SPIKE_DEVIATIONS = 6.0
_SPIKE_RATIO = 1.5
_EXPLOSION_RATIO = 10.0
_FLAT_LINES = 20
_FLAT_SHARE = 0.3
_FLAT_CHANGE = 0.01
_IN_A_ROW = 3
_NO_MARGIN = 0.01
_SETTLED = 0.1
"""Share of the steps after which a model should tell something: an untrained one may not."""
_ALL_ALIKE = 0.98
_WAITING = 0.5
_BELOW = 0.005
"""A score below the baseline by less than that is no news: the verdict's own step."""
_PERFECT = 0.9999
_FEW_QUERIES = 20
_HOT = 90
_CHECKPOINTS_LEFT = 2
_HIGHEST_LR = 5e-3
"""No encoder is trained with more, adapters included."""
_USUAL_LR, _USUAL_LORA_LR = 5e-6, 1e-4
"""Of the presets."""
_GIB = 2**30
_FULL = "No space left on device"
_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_cpu",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class Alert(NamedTuple):
    """One alert. `code` names it, `remedies` are what to try, best first; an `error` needs somebody now."""

    code: str
    level: Level
    message: str
    remedies: tuple[str, ...] = ()


class Figures(NamedTuple):
    """What a log line says, as far as alerts look at it; None where it is not known.

    `data_wait` is a share of 1, `pos`, `neg`, `margin` are cosines, `share` is how much of all steps is done.
    """

    loss: float
    grad_norm: float | None = None
    lr: float = 0.0
    pos: float | None = None
    neg: float | None = None
    margin: float | None = None
    data_wait: float | None = None
    share: float = 0.0


class Watch:
    """Looks at log lines and evaluations as they come. What lasts is told once, and again when it comes back.

    Args:
        spec: the run, for remedies that fit it.
    """

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._losses: deque[float] = deque(maxlen=_RECENT)
        self._norms: deque[float] = deque(maxlen=_RECENT)
        self._all: list[float] = []
        self._first_share: float | None = None
        self._lasting: dict[str, int] = {}
        self._told: set[str] = set()
        self._since_spike = _RECENT

    def line(self, now: Figures) -> list[Alert]:
        """What one log line gives reason to say."""
        if (broken := not_a_number(now.loss, now.grad_norm, self._spec)) is not None:
            return [broken]
        found = [*self._spike(now), *self._explosion(now), *self._plateau(now), *self._collapse(now), *self._stall(now)]
        self._losses.append(now.loss)
        self._all.append(now.loss)
        if now.grad_norm is not None:
            self._norms.append(now.grad_norm)
        return found

    def evaluation(self, score: float, baseline: float | None, queries: int, *, first: bool = False) -> list[Alert]:
        """What one evaluation gives reason to say.

        Args:
            score: of the metric that decides.
            baseline: the same before training; None: not known, or this is it.
            queries: how many were asked.
            first: whether this is the baseline itself.
        """
        perfect = score >= _PERFECT and queries >= _FEW_QUERIES
        found = self._once("perfect", perfect, _perfect(first))
        below = baseline is not None and score < baseline - _BELOW
        return found + self._once("below_baseline", below, _below(score, baseline or 0.0, self._spec))

    def devices(self, temperatures: Sequence[float | None]) -> list[Alert]:
        """What the temperatures of the devices (degrees Celsius) give reason to say."""
        hot = max((value for value in temperatures if value is not None), default=0.0)
        message = f"A device is at {hot:.0f} °C: it will slow down to protect itself."
        remedies = ("check its fans and what else it does", "lower its power limit")
        return self._once("hot", hot >= _HOT, Alert("hot", "warning", message, remedies))

    def disk(self, free: int, checkpoint: int) -> list[Alert]:
        """What the free space (bytes) gives reason to say, where a checkpoint takes `checkpoint` bytes."""
        low = free < max(_GIB, _CHECKPOINTS_LEFT * checkpoint)
        message = (
            f"The disk has {free / _GIB:.1f} GiB free and a checkpoint takes {checkpoint / _GIB:.1f} GiB: "
            "saving will fail soon."
        )
        remedies = ("free some space on that disk", "keep fewer checkpoints: checkpoints.keep = 1")
        return self._once("disk_low", low, Alert("disk_low", "error", message, remedies))

    def _spike(self, now: Figures) -> list[Alert]:
        self._since_spike += 1
        if len(self._losses) < _FEW or self._since_spike <= _RECENT:
            return []
        usual = median(self._losses)
        spread = 1.4826 * median(abs(loss - usual) for loss in self._losses)
        if now.loss <= max(usual + _SPIKE_DEVIATIONS * spread, _SPIKE_RATIO * usual) or now.loss <= 0:
            return []
        self._since_spike = 0
        return [
            Alert(
                "spike",
                "warning",
                f"The loss jumped to {now.loss:.3g}; it was about {usual:.3g} before.",
                (
                    _lower_lr(self._spec, 0.5),
                    "a longer warm-up: schedule.warmup = 0.2",
                    "look at the rows of that step: very long, empty or repeated texts",
                ),
            )
        ]

    def _explosion(self, now: Figures) -> list[Alert]:
        if now.grad_norm is None or len(self._norms) < _FEW:
            return []
        usual = median(self._norms)
        limit = _EXPLOSION_RATIO * max(usual, self._spec.optimiser.max_grad_norm)
        message = f"The gradient norm is {now.grad_norm:.3g}; it was about {usual:.3g} before."
        remedies = (_lower_lr(self._spec, 0.5), "clip harder: optimiser.max_grad_norm = 0.5")
        return self._once("explosion", now.grad_norm > limit, Alert("explosion", "warning", message, remedies))

    def _plateau(self, now: Figures) -> list[Alert]:
        """The loss has stood still for a third of the lines while there was much left to do."""
        lines = len(self._all) + 1
        span = max(_FLAT_LINES, int(_FLAT_SHARE * lines))
        if lines < 2 * span or now.share > 0.8 or now.lr < 0.2 * self._spec.optimiser.lr:
            return []
        late = [*self._all, now.loss][-span:]
        half = span // 2
        before, after = sum(late[:half]) / half, sum(late[-half:]) / half
        flat = before > 0 and abs(before - after) < _FLAT_CHANGE * before
        return self._once(
            "plateau",
            flat,
            Alert(
                "plateau",
                "warning",
                f"The loss has stood at {after:.3g} for {span} log lines.",
                (
                    _higher_lr(self._spec),
                    "harder negatives: mine some and train on them (`harrier-studio mine`)",
                    "a larger batch for more in-batch negatives (loss.name = cached_mnrl)",
                    "look at the data: many near-duplicates, or pairs whose passage does not answer",
                ),
            ),
        )

    def _collapse(self, now: Figures) -> list[Alert]:
        if now.margin is None or now.pos is None or now.neg is None:
            return []
        if self._spec.loss.name not in _RANKING:
            return []
        alike = min(now.pos, now.neg) > _ALL_ALIKE
        reason = f"all cosines are near 1 (negatives {now.neg:.3f})" if alike else f"the margin is {now.margin:.3f}"
        return self._after_three(
            "collapse",
            now.share > _SETTLED and (alike or now.margin < _NO_MARGIN),
            Alert(
                "collapse",
                "error",
                f"The model no longer tells positives from negatives: {reason}.",
                (
                    _lower_lr(self._spec, 0.2),
                    "check that queries and passages are in their columns, and each passage answers its query",
                    f"a lower scale: loss.scale = {self._spec.loss.scale / 2:g}",
                ),
            ),
        )

    def _stall(self, now: Figures) -> list[Alert]:
        waiting = now.data_wait or 0.0
        return self._after_three(
            "stall",
            waiting > _WAITING,
            Alert(
                "stall",
                "warning",
                f"{waiting:.0%} of the time goes into waiting for data: it is read and tokenised too slowly.",
                (
                    "give the run more CPU cores",
                    "put the project on a local disk",
                    f"shorter texts: model.max_length = {max(8, self._spec.model.max_length // 2)}",
                ),
            ),
        )

    def _after_three(self, code: str, holds: bool, alert: Alert) -> list[Alert]:
        self._lasting[code] = self._lasting.get(code, 0) + 1 if holds else 0
        return self._once(code, self._lasting[code] >= _IN_A_ROW, alert)

    def _once(self, code: str, holds: bool, alert: Alert) -> list[Alert]:
        if not holds:
            self._told.discard(code)
            return []
        if code in self._told:
            return []
        self._told.add(code)
        return [alert]


_RANKING = tuple(name for name, about in LOSSES.items() if about.in_batch)


def not_a_number(loss: float, grad_norm: float | None, spec: RunSpec) -> Alert | None:
    """The alert of a loss or a gradient that is no number any more; None: both are."""
    if math.isfinite(loss) and (grad_norm is None or math.isfinite(grad_norm)):
        return None
    what = "gradient norm" if math.isfinite(loss) else "loss"
    value = grad_norm if math.isfinite(loss) else loss
    remedies = [
        _lower_lr(spec, 0.2),
        f"a longer warm-up: schedule.warmup = {min(0.3, max(0.1, 2 * spec.schedule.warmup)):g}",
    ]
    if spec.precision.mode == "fp16":
        remedies.insert(0, "another precision: precision.mode = bf16, or fp32 on a GPU without it")
    if spec.optimiser.max_grad_norm > 1:
        remedies.append("clip harder: optimiser.max_grad_norm = 1.0")
    remedies.append("look for empty texts: the preflight names their rows")
    return Alert("nan", "error", f"The {what} is {value}: the weights are no use from here on.", tuple(remedies))


def broken_vectors(count: int) -> Alert:
    """The alert of an evaluation in which the model gave vectors that are no numbers."""
    return Alert(
        "broken_vectors",
        "error",
        f"{count:,} vectors of the evaluation are no numbers: these texts find nothing and are not found.",
        (
            "another precision: precision.mode = bf16, or fp32 on a GPU without it",
            "look for empty texts: the preflight names their rows",
        ),
    )


def disk_full(error: BaseException) -> Alert | None:
    """The alert of an error that says that the disk is full; None: it says something else."""
    if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and _FULL not in str(error):
        return None
    remedies = ("free some space on that disk, then resume the run", "keep fewer checkpoints: checkpoints.keep = 1")
    return Alert("disk_full", "error", "The disk is full: the last checkpoint could not be saved.", remedies)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error)
    return any(part.lower() in said.lower() for part in _MEMORY)


def out_of_memory(spec: RunSpec, why: str, *, evaluating: bool = False) -> Alert:
    """The alert of a run that ran out of memory, its remedies ranked by what they cost.

    Args:
        spec: the run.
        why: what the library said.
        evaluating: whether it happened while evaluating: then the training batch is not at fault.
    """
    if evaluating:
        remedies = [f"smaller batches when evaluating: batch.evaluation = {max(1, spec.batch.evaluation // 2)}"]
        return Alert("oom", "error", f"Memory ran out while evaluating: {why}", (*remedies, *_shorter(spec)))
    remedies = []
    cached = LOSSES[spec.loss.name].cached
    if cached and spec.loss.mini_batch_size > 1:
        remedies.append(
            f"smaller mini-batches, with the same result: loss.mini_batch_size = {spec.loss.mini_batch_size // 2}"
        )
    if not cached and spec.loss.name in CACHED:
        remedies.append(
            f"the same loss in mini-batches, 2 to 2.4 times slower: loss.name = {CACHED[spec.loss.name]}, "
            f"loss.mini_batch_size = {max(1, spec.batch.per_device // 4)}"
        )
    if not spec.precision.activation_checkpointing:
        remedies.append("compute activations twice, 30 % slower: precision.activation_checkpointing = true")
    if spec.batch.per_device > 1 and not cached:
        remedies.append(
            f"a smaller batch: batch.per_device = {spec.batch.per_device // 2}"
            + (" (fewer in-batch negatives)" if LOSSES[spec.loss.name].in_batch else "")
        )
    if spec.lora is None:
        remedies.append("train low-rank adapters instead of all weights: lora.r = 64, optimiser.lr = 1e-4")
    remedies += _shorter(spec)
    remedies.append(f"more devices: devices.count = {spec.devices.count * 2}")
    return Alert("oom", "error", f"Memory ran out: {why}", tuple(remedies))


def _shorter(spec: RunSpec) -> list[str]:
    half = spec.model.max_length // 2
    return [f"shorter texts: model.max_length = {half}"] if half >= 64 else []


def gentler_lr(spec: RunSpec, factor: float) -> float:
    """A lower learning rate: a part of the run's, or one that is usual where that part still is far from any."""
    lower = spec.optimiser.lr * factor
    return lower if lower <= _HIGHEST_LR else _USUAL_LR if spec.lora is None else _USUAL_LORA_LR


def _lower_lr(spec: RunSpec, factor: float) -> str:
    return f"a lower learning rate: optimiser.lr = {gentler_lr(spec, factor):.2g}"


def _higher_lr(spec: RunSpec) -> str:
    return f"a higher learning rate: optimiser.lr = {spec.optimiser.lr * 2:.2g}"


def _perfect(baseline: bool) -> Alert:
    who = "The untrained model" if baseline else "The model"
    return Alert(
        "perfect",
        "warning",
        f"{who} answers every query right: the evaluation tells nothing, or training saw its rows.",
        (
            "look for rows of the evaluation among those that train (the leakage check)",
            "evaluate on harder queries, or among more passages: evaluation.corpus = 0",
        ),
    )


def _below(score: float, baseline: float, spec: RunSpec) -> Alert:
    remedies = [_lower_lr(spec, 0.5), "fewer steps: the best checkpoint may be an early one"]
    if spec.loss.name in (LossName.MNRL, LossName.CACHED_MNRL) and spec.sampler.name == "random":
        remedies.insert(0, "keep answers of the same query apart: sampler.name = conflict_aware")
    remedies.append("look at the pairs: wrong or near-duplicate answers teach the wrong thing")
    return Alert(
        "below_baseline",
        "warning",
        f"The score {score:.4f} is below the baseline {baseline:.4f}: training makes the model worse so far.",
        tuple(remedies),
    )
