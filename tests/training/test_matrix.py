"""The matrix has a row for each question, each differing from its base in one thing, and says what it skips."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.errors import InputError, UsageError
from studio.project.settings import PromptSettings
from studio.prompts.presets import get_preset
from studio.training.losses import check_loss
from studio.training.matrix import LETTERS, MatrixFacts, MatrixRow, matrix, newest_mined
from studio.training.presets import PRESETS, changes_from, prompts_named
from studio.training.spec import RunSpec, Shape, changed

FIRST = PRESETS["first_try"].spec
CONTRACT = PromptSettings().contract()
FACTS = MatrixFacts(5_000, CONTRACT, longest=9_000, positions=32_768, mined="mined/dense-triplet", negatives=1)


def named(rows: list[MatrixRow]) -> dict[str, MatrixRow]:
    return {row.name: row for row in rows}


def skipped(base: RunSpec, facts: MatrixFacts) -> dict[str, str]:
    return {row.name: row.skipped for row in matrix(base, facts) if row.skipped}


def test_the_whole_matrix_around_the_first_try() -> None:
    rows = matrix(FIRST, FACTS)
    assert [row.name for row in rows] == [
        "B-zero-shot", "C-3e-6", "C-5e-6", "C-1e-5", "D-no-prompt", "E-portuguese-instruction", "F-batch-256",
        "F-batch-512", "F-batch-1024", "G-hard-negatives", "H-length-512", "H-length-1024", "H-length-2048",
        "H-length-4096", "H-length-8192",
    ]  # fmt: skip
    assert {row.letter for row in rows} == set(LETTERS)
    assert skipped(FIRST, FACTS) == {"H-length-512": "the base has this length"}
    found = named(rows)
    assert [found[name].spec.optimiser.lr for name in ("C-3e-6", "C-5e-6", "C-1e-5")] == [3e-6, 5e-6, 1e-5]
    assert found["B-zero-shot"].spec.schedule.max_steps == 0
    assert found["F-batch-1024"].spec.loss.name == "cached_mnrl" and found["F-batch-1024"].spec.negatives == 1023
    assert found["G-hard-negatives"].spec.data[0].path == "mined/dense-triplet"
    assert found["H-length-8192"].spec.model.max_length == 8192
    for row in rows:
        assert set(changes_from(row.spec, FIRST)) <= set(row.changes)
        assert row.spec.why == row.why
        check_loss(row.spec.loss, Shape.TRIPLET if row.letter == "G" else Shape.PAIR)


def test_rows_that_cannot_differ_are_skipped_with_their_reason() -> None:
    found = skipped(PRESETS["tiny"].spec, MatrixFacts(521, CONTRACT, longest=300, positions=2048))
    assert "521 training rows" in found["F-batch-1024"]
    assert "mine" in found["G-hard-negatives"]
    assert set(found) == {
        "F-batch-1024", "G-hard-negatives", "H-length-1024", "H-length-2048", "H-length-4096", "H-length-8192",
    }  # fmt: skip
    assert "300 tokens" in found["H-length-1024"] and "2,048" in found["H-length-4096"]
    bare = changed(FIRST, {"prompts": prompts_named("none")})
    assert "no prompt" in skipped(bare, FACTS)["D-no-prompt"]
    told = get_preset("portuguese_qa").contract()
    assert "this very prompt" in skipped(FIRST, MatrixFacts(5_000, told))["E-portuguese-instruction"]


def test_a_loss_without_in_batch_negatives_has_no_row_of_large_batches() -> None:
    found = skipped(changed(FIRST, {"loss.name": "triplet"}), FACTS)
    assert all("no negatives from the batch" in found[f"F-batch-{size}"] for size in (256, 512, 1024))
    large = changed(FIRST, {"loss.name": "cached_mnrl", "batch.per_device": 512})
    assert skipped(large, FACTS)["F-batch-512"] == "the base has this batch"
    two = changed(FIRST, {"devices.count": 2, "loss.gather": True})
    assert named(matrix(two, FACTS))["F-batch-512"].spec.negatives == 511


def test_letters_choose_rows() -> None:
    assert [row.letter for row in matrix(FIRST, FACTS, ["B", "D"])] == ["B", "D"]
    with pytest.raises(UsageError):
        matrix(FIRST, FACTS, ["Z"])


def test_the_newest_mined_folder_is_found(tmp_path: Path) -> None:
    assert newest_mined(tmp_path) == ("", 0)

    def mined(name: str, form: str, age: int) -> Path:
        manifest = tmp_path / "mined" / name / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"kind": "hard negatives", "form": form, "settings": {"negatives": 4}}))
        os.utime(manifest, (1_000 - age, 1_000 - age))
        return manifest

    mined("dense-triplet", "triplet", 20)
    mined("dense-n-tuple", "n-tuple", 10)
    mined("dense-scored", "scored", 0)
    assert newest_mined(tmp_path) == ("mined/dense-n-tuple", 4)
    (tmp_path / "mined" / "dense-scored" / "manifest.json").write_text("{")
    with pytest.raises(InputError):
        newest_mined(tmp_path)
