"""What is measured while training, and at what price: counters in the collator, and embeddings that the loss makes
anyway, looked at on the steps that are logged and on no other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import Tensor

from studio.training.spec import Shape

_IN_BATCH = (Shape.PAIR, Shape.TRIPLET, Shape.NTUPLE)
_SMOOTH = 0.9


class Counted(NamedTuple):
    """What was trained on. `slots` are tokens and padding together."""

    rows: int = 0
    tokens: int = 0
    slots: int = 0

    def plus(self, other: Counted) -> Counted:
        """Both together."""
        return Counted(self.rows + other.rows, self.tokens + other.tokens, self.slots + other.slots)


class Counter:
    """Counts batches on the CPU as they are made, and gives the counts out as they are trained on.

    The loader makes a batch ahead; counting it on its device would make every step wait.
    """

    def __init__(self) -> None:
        self._made: deque[Counted] = deque()
        self._trained = Counted()

    def made(self, counted: Counted) -> None:
        """A batch was made."""
        self._made.append(counted)

    def trained(self) -> None:
        """The oldest of them is trained on."""
        if self._made:
            self._trained = self._trained.plus(self._made.popleft())

    def take(self) -> Counted:
        """What was trained on since the last call."""
        found, self._trained = self._trained, Counted()
        return found


@dataclass
class CountingCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """The trainer's own collator, which counts rows, tokens and padding."""

    counter: Counter = field(default_factory=Counter, repr=False)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch."""
        batch: dict[str, Any] = super().__call__(features)
        masks = [value for key, value in batch.items() if key.endswith("_attention_mask") and isinstance(value, Tensor)]
        tokens, slots = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
        self.counter.made(Counted(len(features), tokens, slots))
        return batch


class Clock:
    """How long training took, evaluations and saving left out, and how much of that was waiting for data.

    On a CUDA device the wait is what the device waited (between two events in its stream), since the next batch is
    made while it still computes; elsewhere it is the time that making the batch took.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._waited = 0.0
        self._events: list[tuple[Any, Any]] = []

    @contextmanager
    def waiting(self, device: torch.device) -> Iterator[None]:
        """Around getting the next batch."""
        if device.type == "cuda":
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            yield
            after.record()
            self._events.append((before, after))
            return
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is not training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._since += time.perf_counter() - began

    def take(self) -> tuple[float, float]:
        """Seconds of training and of waiting since the last call; the device must have finished its work."""
        now = time.perf_counter()
        seconds, waited = now - self._since, self._waited
        for before, after in self._events:
            after.synchronize()
            waited += before.elapsed_time(after) / 1000
        self._since, self._waited, self._events = now, 0.0, []
        return max(seconds, 1e-9), min(waited, seconds)


class Likeness(NamedTuple):
    """Cosines of one batch, means over its rows; None where the data have no such thing.

    `pos`: query and its positive. `neg`: query and all passages that are its negatives in the batch. `margin`: pos
    less neg. `accuracy`: share of queries that are nearer to their positive than to any negative.
    """

    pos: float | None
    neg: float | None
    margin: float | None
    accuracy: float | None


class Embeddings:
    """Keeps the vectors that a loss makes, in the order in which it makes them: column after column.

    Losses that compute their batch twice (Cached*), cut to dimensions (Matryoshka) or put columns into one forward
    make the same rows first, in the same order.

    Args:
        model: what is trained, not wrapped.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model
        self._kept: list[Tensor] = []
        self._rows = self._columns = 0
        self._labels: Tensor | None = None

    @contextmanager
    def kept(self, inputs: dict[str, Any]) -> Iterator[None]:
        """Around computing the loss of a batch.

        Args:
            inputs: the batch, as the trainer's collator makes it.
        """
        self._kept = []
        self._rows, self._columns = rows_and_columns(inputs)
        self._labels = inputs.get("label")
        if not self._rows:
            yield
            return
        handle = self._model.register_forward_hook(self._keep)
        try:
            yield
        finally:
            handle.remove()

    def likeness(self, shape: Shape) -> Likeness | None:
        """What the vectors of the batch say; None: there are none."""
        needed = self._rows * self._columns
        if not needed or sum(len(part) for part in self._kept) < needed:
            return None
        vectors = torch.cat(self._kept)[:needed]
        found = likeness(list(vectors.view(self._columns, self._rows, -1)), shape, self._labels)
        self._kept, self._labels = [], None
        return found

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        if sum(len(part) for part in self._kept) < self._rows * self._columns:
            self._kept.append(output["sentence_embedding"].detach())


def rows_and_columns(inputs: dict[str, Any]) -> tuple[int, int]:
    """How many rows and text columns a batch has; (0, 0) where its tensors do not tell (packed texts)."""
    ids = [value for key, value in inputs.items() if key.endswith("_input_ids") and isinstance(value, Tensor)]
    if not ids or any(value.ndim != 2 or len(value) != len(ids[0]) for value in ids):
        return 0, 0
    return len(ids[0]), len(ids)


def likeness(columns: Sequence[Tensor], shape: Shape, labels: Tensor | None = None) -> Likeness:
    """Compare the vectors of a batch.

    Args:
        columns: one tensor [rows, dimensions] a text column: queries, positives or passages, negatives.
        shape: what the columns are.
        labels: of scored and labelled data; the rows at or above the middle of the scale count as positives.
    """
    unit = [torch.nn.functional.normalize(column.float(), dim=-1) for column in columns]
    queries, own = unit[0], (unit[0] * unit[1]).sum(-1)
    if shape in _IN_BATCH:
        cosines = queries @ torch.cat(unit[1:]).T
        mine = torch.zeros_like(cosines, dtype=torch.bool)
        mine[:, : len(queries)].fill_diagonal_(fill_value=True)
        if cosines.shape[1] == 1:
            return Likeness(float(own.mean()), None, None, None)
        others = cosines.masked_fill(mine, -torch.inf).amax(1)
        neg = cosines[~mine].mean()
        return _likeness(own.mean(), neg, (own > others).float().mean())
    if shape is Shape.MARGIN:
        negative = (queries * unit[2]).sum(-1)
        return _likeness(own.mean(), negative.mean(), (own > negative).float().mean())
    if labels is None:
        return Likeness(None, None, None, None)
    high = labels.to(own.device) >= (labels.max() + labels.min()).item() / 2 if labels.min() != labels.max() else None
    if high is None:
        return Likeness(None, None, None, None)
    return _likeness(own[high].mean(), own[~high].mean(), None)


def smoothed(before: float | None, value: float) -> float:
    """The next value of a moving average that forgets a tenth a line."""
    return value if before is None else _SMOOTH * before + (1 - _SMOOTH) * value


def _likeness(pos: Tensor, neg: Tensor, accuracy: Tensor | None) -> Likeness:
    values = torch.stack([pos, neg] if accuracy is None else [pos, neg, accuracy]).tolist()
    return Likeness(values[0], values[1], values[0] - values[1], values[2] if accuracy is not None else None)
