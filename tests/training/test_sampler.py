"""The sampler under sentence-transformers' trainer, accelerate's sharding and real processes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler, ProportionalBatchSampler
from torch.utils.data import ConcatDataset

from studio.errors import StudioError
from studio.mining.batches import Drawn
from studio.mining.conflicts import EDGES_SCHEMA, GROUPS_SCHEMA, Conflicts
from studio.sample import TINY_MODEL, sample_data
from studio.training.sampler import ConflictAwareBatchSampler, conflict_aware, text_columns


def groups_of(size: int, rows: int) -> Conflicts:
    """Passages p0, p1, … in answer groups of `size`, and an edge from each tenth query to a passage far off."""
    groups = pl.DataFrame(
        {"text": [f"passage {i}" for i in range(rows)], "group": np.arange(rows) // size}, schema=GROUPS_SCHEMA
    )
    ends = range(0, rows, 10)
    edges = pl.DataFrame(
        {"a": [f"query {i}" for i in ends], "b": [f"passage {(i + rows // 2) % rows}" for i in ends]},
        schema=EDGES_SCHEMA,
    )
    return Conflicts(groups, edges)


def pairs(rows: int) -> Dataset:
    return Dataset.from_dict(
        {"query": [f"query {i}" for i in range(rows)], "positive": [f"passage {i}" for i in range(rows)]}
    )


def free_of_conflicts(sampler: ConflictAwareBatchSampler, batch: list[int]) -> bool:
    return sampler.keys.conflicts_between(batch) == []


def test_epochs_have_no_conflicts_and_one_length() -> None:
    sampler = conflict_aware(groups_of(4, 1_000))(pairs(1_000), 32, False, seed=3)
    assert len(sampler) == 32
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert len(epochs[-1]) == len(sampler)
        assert all(free_of_conflicts(sampler, batch) for batch in epochs[-1])
        assert sorted(row for batch in epochs[-1] for row in batch) == list(range(1_000))
        assert sampler.drawn(epoch).left_over == 0
    assert epochs[0] != epochs[1] != epochs[2]
    again = conflict_aware(groups_of(4, 1_000))(pairs(1_000), 32, False, seed=3)
    again.set_epoch(2)
    assert list(again) == epochs[2]
    assert list(conflict_aware(groups_of(4, 1_000))(pairs(1_000), 32, False, seed=-1)) != epochs[0]


def test_an_epoch_of_another_length_is_cut_or_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ConflictAwareBatchSampler(pairs(10), 2, False)
    drawings = {
        (1,): Drawn([[0, 1], [2, 3], [4, 5]], 3, 4),
        (1, 1): Drawn([[1, 2]], 1, 8),
        (1, 2): Drawn([[3, 4], [5, 6]], 2, 6),
        (2,): Drawn([[i, i + 1] for i in range(9)], 9, 0),
    }
    monkeypatch.setattr(sampler, "_draw", lambda *epoch: drawings[epoch])
    assert sampler.drawn(1) == Drawn([[0, 1], [2, 3], [4, 5], [1, 2], [3, 4]], 5, 4)
    assert sampler.drawn(2) == Drawn([[i, i + 1] for i in range(5)], 5, 0)


def test_texts_are_all_columns_but_labels() -> None:
    data = Dataset.from_dict(
        {
            "query": ["a", "b", "c", "d"],
            "positive": ["b", "x", "y", "z"],
            "negatives": [["n", "m"], ["m"], [], []],
            "number": [1, 2, 3, 3],
            "score": [1.0, 1.0, 1.0, 1.0],
            "dataset_name": ["one"] * 4,
        }
    )
    assert [column.name for column in text_columns(data, ["score"])] == ["query", "positive", "negatives", "number"]
    sampler = ConflictAwareBatchSampler(data, 4, False, valid_label_columns=["label", "score"])
    assert sampler.keys.conflicts_between(range(4)) == [(0, 1), (2, 3)]
    # A dataset that was filtered or shuffled is the rows it shows.
    part = ConflictAwareBatchSampler(data.select([3, 0, 2]), 3, False, valid_label_columns=["score"])
    assert part.keys.conflicts_between(range(3)) == [(0, 2)]
    only_labels = ConflictAwareBatchSampler(data.select_columns(["score", "dataset_name"]), 2, False, ["score"])
    assert len(only_labels) == 2


def test_it_keeps_what_no_duplicates_keeps() -> None:
    rng = np.random.default_rng(0)
    texts = [[f"t{i}" for i in rng.integers(300, size=600)] for _ in range(3)]
    data = Dataset.from_dict({"anchor": texts[0], "positive": texts[1], "negative": texts[2]})

    def repeats(batches: list[list[int]]) -> int:
        count = 0
        for batch in batches:
            held = [text for row in batch for text in {column[row] for column in texts}]
            count += len(held) - len(set(held))
        return count

    theirs = list(NoDuplicatesBatchSampler(data, 16, False, seed=1))
    ours = ConflictAwareBatchSampler(data, 16, False, seed=1)
    assert repeats(theirs) == repeats(list(ours)) == 0
    assert ours.drawn(0).full >= sum(len(batch) == 16 for batch in theirs)


def test_what_cannot_be_drawn_is_said() -> None:
    one_answer = Dataset.from_dict({"query": ["a", "b", "c"], "positive": ["same"] * 3})
    with pytest.raises(StudioError, match="Not one batch of 4 rows can be drawn from 3 rows") as caught:
        ConflictAwareBatchSampler(one_answer, 4, False)
    assert caught.value.remedy == "lower the batch size"
    with pytest.raises(StudioError, match="batch of 20 rows"):
        ConflictAwareBatchSampler(pairs(16), 10, False, across=2)


def test_the_factory_survives_a_pickle() -> None:
    factory = conflict_aware(groups_of(4, 100), across=2)
    again = pickle.loads(pickle.dumps(factory))
    assert list(again(pairs(100), 8, False)) == list(factory(pairs(100), 8, False))


@pytest.mark.parametrize("drop_last", [False, True])
def test_two_shards_are_disjoint_and_free_of_conflicts_together(drop_last: bool) -> None:
    """accelerate deals the batches out in turn."""

    def shards(epoch: int) -> list[list[list[int]]]:
        dealt = []
        for process in range(2):
            sampler = conflict_aware(groups_of(8, 1_000), across=2)(pairs(1_000), 24, drop_last, seed=5)
            sampler.set_epoch(epoch)
            dealt.append(list(BatchSamplerShard(sampler, num_processes=2, process_index=process)))
        return dealt

    first, second = shards(0)
    assert [first, second] == shards(0) != shards(1)
    assert len(first) == len(second) == 1_000 // 48
    rows = [row for batch in first + second for row in batch]
    assert len(rows) == len(set(rows)) and all(len(batch) == 24 for batch in first + second)
    sampler = conflict_aware(groups_of(8, 1_000))(pairs(1_000), 24, False)
    assert all(free_of_conflicts(sampler, a + b) for a, b in zip(first, second, strict=True))


def test_several_datasets_are_drawn_from_in_proportion() -> None:
    data = [pairs(300), pairs(100)]
    parts = [conflict_aware(groups_of(5, 300))(part, 16, False) for part in data]
    both = ProportionalBatchSampler(ConcatDataset(data), parts)
    epochs = []
    for epoch in range(2):
        both.set_epoch(epoch)
        epochs.append(list(both))
        assert len(epochs[-1]) == len(both) == 19 + 7
        assert sorted(row for batch in epochs[-1] for row in batch) == list(range(400))
        for batch in epochs[-1]:
            part = int(batch[0] >= 300)
            assert free_of_conflicts(parts[part], [row - 300 * part for row in batch])
    assert epochs[0] != epochs[1]


TRAIN = """
import json, os, sys
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from tests.training.test_sampler import Recorded, groups_of, pairs
from studio.training.sampler import EpochOnResume, conflict_aware

out, model_path, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = SentenceTransformer(model_path, device="cpu")
model.max_seq_length = 16
data = pairs(options["rows"])
arguments = SentenceTransformerTrainingArguments(
    output_dir=out, use_cpu=True, report_to=[], save_strategy="steps", logging_strategy="no", disable_tqdm=True,
    batch_sampler=conflict_aware(groups_of(4, options["rows"]), across=options["across"]), **options["arguments"],
)
loss = MultipleNegativesRankingLoss(model, gather_across_devices=options["across"] > 1)
trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss,
                                     callbacks=[EpochOnResume()])
trainer.data_collator = Recorded(trainer.data_collator)
result = trainer.train(resume_from_checkpoint=options.get("resume"))
rank = int(os.environ.get("RANK", 0))
seen = {"step": result.global_step, "steps": trainer.state.max_steps, "batches": trainer.data_collator.batches}
with open(f"{out}/seen-{rank}.json", "w") as file:
    json.dump(seen, file)
"""


class Recorded:
    """A collator that keeps the rows of every batch it is given."""

    def __init__(self, collator: Any) -> None:
        self.collator, self.batches = collator, []
        self.valid_label_columns = collator.valid_label_columns

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        self.batches.append([int(row["query"].split()[1]) for row in features])
        return self.collator(features)


def trained(out: Path, options: dict[str, Any], processes: int = 1) -> list[dict[str, Any]]:
    """Train in processes of their own; what each of them saw."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    script = out.parent / "train.py"
    script.write_text(TRAIN)
    command = [sys.executable, *launcher, str(script), str(out), str(sample_data() / TINY_MODEL), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    return [json.loads((out / f"seen-{rank}.json").read_text()) for rank in range(processes)]


def test_the_trainer_trains_saves_and_resumes_with_it(tmp_path: Path) -> None:
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    def trainer(steps: int) -> SentenceTransformerTrainer:
        model = SentenceTransformer(str(sample_data() / TINY_MODEL), device="cpu")
        model.max_seq_length = 16
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / "run"),
            use_cpu=True,
            report_to=[],
            per_device_train_batch_size=16,
            max_steps=steps,
            save_steps=5,
            save_strategy="steps",
            disable_tqdm=True,
            batch_sampler=conflict_aware(groups_of(2, 48)),
        )
        assert "batch_sampler" not in arguments.to_dict() and json.loads(arguments.to_json_string())
        made = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=pairs(48), loss=MultipleNegativesRankingLoss(model)
        )
        made.data_collator = Recorded(made.data_collator)
        return made

    first = trainer(5)
    assert first.train().global_step == 5
    assert (tmp_path / "run" / "checkpoint-5" / "README.md").is_file()
    # Three batches an epoch: the second epoch is resumed after two of its batches.
    resumed = trainer(9)
    assert resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-5")).global_step == 9
    sampler = conflict_aware(groups_of(2, 48))(pairs(48), 16, False, seed=42)
    whole = [batch for epoch in range(3) for batch in sampler.drawn(epoch).batches]
    assert [len(batch) for batch in whole] == [16] * 9
    # The loader collates one batch ahead.
    assert first.data_collator.batches[:5] == whole[:5]
    assert resumed.data_collator.batches == whole[5:]


@pytest.mark.slow
@pytest.mark.parametrize("across", [1, 2])
def test_two_processes_get_batches_that_may_meet(tmp_path: Path, across: int) -> None:
    """Two real processes (gloo), two epochs; with gathered negatives a step is free of conflicts as a whole."""
    options = {"rows": 100, "across": across, "arguments": {"per_device_train_batch_size": 12, "num_train_epochs": 2}}
    seen = trained(tmp_path / "run", options, processes=2)
    assert [process["step"] for process in seen] == [8, 8] == [process["steps"] for process in seen]
    sampler = conflict_aware(groups_of(4, 100), across=across)(pairs(100), 12, True, seed=42)
    for epoch in range(2):
        batches = [process["batches"][4 * epoch : 4 * epoch + 4] for process in seen]
        assert [batch for step in zip(*batches, strict=True) for batch in step] == sampler.drawn(epoch).batches
        for step in zip(*batches, strict=True):
            assert all(free_of_conflicts(sampler, batch) for batch in step)
            assert across == 1 or free_of_conflicts(sampler, step[0] + step[1])


@pytest.mark.slow
def test_two_processes_go_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    options = {
        "rows": 100,
        "across": 2,
        "arguments": {"per_device_train_batch_size": 12, "max_steps": 6, "save_steps": 6},
    }
    trained(tmp_path / "run", options, processes=2)
    options["arguments"]["max_steps"] = 8
    seen = trained(tmp_path / "run", options | {"resume": str(tmp_path / "run" / "checkpoint-6")}, processes=2)
    sampler = conflict_aware(groups_of(4, 100), across=2)(pairs(100), 12, True, seed=42)
    resumed = [batch for step in zip(*(process["batches"] for process in seen), strict=True) for batch in step]
    assert resumed == sampler.drawn(1).batches[4:]
