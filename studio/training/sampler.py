"""A batch sampler for sentence-transformers that keeps rows in conflict out of each other's batches.

    args = SentenceTransformerTrainingArguments(..., batch_sampler=conflict_aware(conflicts))

It keeps sentence-transformers' NO_DUPLICATES guarantee as well: no text is twice in a batch, in any column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.errors import StudioError
from studio.mining.batches import Drawn, draw_batches
from studio.mining.conflicts import Conflicts

if TYPE_CHECKING:
    from datasets import Dataset

_IGNORED = "dataset_name"


class ConflictAwareBatchSampler(DefaultBatchSampler):  # type: ignore[misc]
    """Batches without two rows in conflict; the same ones in every process for the same seed and epoch.

    `len` is the number of batches of epoch 0, in every epoch: the learning rate schedule is laid out by it. Where
    conflicts leave batches short another epoch may have more or fewer. It is then cut, or filled with batches of a
    second drawing, whose rows have been in that epoch before.

    In distributed training, and with `across` above 1, only full batches are drawn: accelerate would fill up a short
    one with rows that it has not checked.

    Args:
        dataset: with columns of texts or lists of texts. Label columns and `dataset_name` are ignored; other values
            count as their text form.
        batch_size: rows a batch on one device.
        drop_last: draw full batches only.
        valid_label_columns: names of label columns, as sentence-transformers' collator gives them.
        generator: not used; the seed and the epoch decide.
        seed: the seed.
        conflicts: texts that must not meet; none is NO_DUPLICATES's guarantee alone.
        across: devices whose batches meet as negatives: their number with `gather_across_devices=True`, else 1.

    Raises:
        StudioError: not one batch can be drawn, or `across` is neither 1 nor the number of processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        *,
        conflicts: Conflicts | None = None,
        across: int = 1,
    ) -> None:
        processes = _processes()
        if processes > 1 and across not in (1, processes):
            raise StudioError(
                f"Batches that are free of conflicts across {across} devices cannot be dealt to {processes} processes.",
                why="accelerate deals the batches out in turn, so each step takes one for each process",
                remedy=f"set across to {processes} if the loss gathers across devices, and to 1 if it does not",
            )
        super().__init__(
            dataset,
            batch_size=batch_size,
            drop_last=drop_last or across > 1 or processes > 1,
            valid_label_columns=valid_label_columns,
            generator=generator,
            seed=seed,
        )
        self.across = across
        self.keys = (conflicts or Conflicts.none()).keys(text_columns(dataset, valid_label_columns or ()))
        self._first: Drawn | None = None
        self._latest: tuple[int, Drawn] | None = None
        if not len(self):
            raise StudioError(
                f"Not one batch of {batch_size * across} rows can be drawn from {len(dataset)} rows.",
                why="there are too few rows, or too few of them may meet in one batch",
                remedy="lower the batch size",
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same in every epoch."""
        if self._first is None:
            self._first = self._draw(0)
        return len(self._first.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of the current epoch (`set_epoch`)."""
        yield from self.drawn(self.epoch).batches

    def drawn(self, epoch: int) -> Drawn:
        """Return the batches of one epoch and how many rows are left over in it."""
        if self._latest is None or self._latest[0] != epoch:
            self._latest = (epoch, self._fitted(epoch))
        return self._latest[1]

    def _fitted(self, epoch: int) -> Drawn:
        """Draw an epoch and make it as long as the first."""
        length = len(self)
        if epoch == 0 and self._first is not None:
            return self._first
        found = self._draw(epoch)
        batches = found.batches[:length]
        used = sum(map(len, batches))
        again = 0
        while len(batches) < length:
            again += 1
            batches = batches + self._draw(epoch, again).batches[: length - len(batches)]
        full = sum(len(batch) == self.batch_size for batch in batches)
        return Drawn(batches, full, self.keys.rows - used)

    def _draw(self, *epoch: int) -> Drawn:
        seed = (self.seed or 0) % 2**63
        return draw_batches(self.keys, self.batch_size, (seed, *epoch), drop_last=self.drop_last, across=self.across)


@dataclass(frozen=True, eq=False)
class ConflictAware:
    """What `batch_sampler` of the training arguments takes; see `conflict_aware`."""

    conflicts: Conflicts
    across: int = 1

    def __call__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> ConflictAwareBatchSampler:
        """Return the sampler of one dataset."""
        return ConflictAwareBatchSampler(
            dataset,
            batch_size,
            drop_last,
            valid_label_columns,
            generator,
            seed,
            conflicts=self.conflicts,
            across=self.across,
        )


def conflict_aware(conflicts: Conflicts, across: int = 1) -> ConflictAware:
    """Return what to give as `batch_sampler` to `SentenceTransformerTrainingArguments`.

    It can be pickled. The arguments' `to_dict` and `to_json_string` leave a callable out, so neither a checkpoint's
    JSON nor the model card names it.

    Args:
        conflicts: texts that must not meet in one batch, as the dataset has them (without prompts).
        across: devices whose batches meet as negatives: their number with `gather_across_devices=True`, else 1.
    """
    return ConflictAware(conflicts, across)


class EpochOnResume(TrainerCallback):  # type: ignore[misc]
    """Tell the sampler its epoch when training goes on in the middle of one.

    To skip the batches that were trained, transformers wraps the sampler once more. With several processes (seen in
    transformers 5.23 with accelerate 1.15) `set_epoch` then stops at a wrapper, and the rest of the epoch is drawn as
    that of epoch 0: some rows twice, others not at all. Add it to the trainer's callbacks when a run may be resumed.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch of the innermost batch sampler."""
        sampler = getattr(kwargs.get("train_dataloader"), "batch_sampler", None)
        while sampler is not None and not hasattr(sampler, "set_epoch"):
            sampler = getattr(sampler, "batch_sampler", None)
        if sampler is not None:
            sampler.set_epoch(int((state.epoch or 0) + 1e-6))


def text_columns(dataset: Dataset, labels: Sequence[str] = ()) -> list[pl.Series]:
    """Return what the batches of a dataset are told apart by: its columns but labels and `dataset_name`, as texts."""
    names = [name for name in dataset.column_names if name not in labels and name != _IGNORED]
    if not names:
        return [pl.Series("", [None] * len(dataset), pl.String)]
    frame = pl.DataFrame(dataset.select_columns(names).with_format("arrow")[:])
    return [_as_texts(column) for column in frame]


def _as_texts(column: pl.Series) -> pl.Series:
    if column.dtype in (pl.String, pl.List(pl.String), pl.Null):
        return column
    if isinstance(column.dtype, pl.Categorical | pl.Enum) or column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.String)
    return pl.Series(column.name, [None if value is None else str(value) for value in column], pl.String)


def _processes() -> int:
    """How many processes train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_world_size())
    return 1
