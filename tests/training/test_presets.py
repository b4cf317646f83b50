"""The presets are what their names promise, and every setting has its reason."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.errors import UsageError
from studio.project.settings import read_settings, write_settings
from studio.prompts.presets import PRESETS as PROMPTS
from studio.training.losses import LOSSES, check_loss, losses_for
from studio.training.matrix import LETTERS
from studio.training.presets import DEFAULT, PRESETS, changes_from, get_run_preset, keys, reason
from studio.training.spec import LoraPart, RunSpec, Shape, changed


def test_first_try_is_what_the_plan_of_the_studio_names() -> None:
    spec = PRESETS[DEFAULT].spec
    assert spec.model.id == "harrier-oss-v1-270m" and spec.model.max_length == 512
    assert spec.loss.name == "mnrl" and spec.loss.directions == ("query_to_doc",)
    assert (spec.optimiser.lr, spec.schedule.warmup, spec.schedule.kind) == (5e-6, 0.1, "cosine")
    assert (spec.precision.mode, spec.schedule.epochs, spec.evaluation.times) == ("bf16", 1, 10)
    assert spec.effective_batch == 128 and spec.negatives == 127
    assert spec.sampler.name == "conflict_aware"
    assert spec.lora is None and spec.prompts is None


def test_each_preset_is_whole_and_its_loss_fits_its_data(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        assert preset.name == name == preset.spec.preset
        assert preset.title and preset.why.endswith(".")
        shape = Shape.TRIPLET if preset.spec.data[0].negatives else Shape.PAIR
        check_loss(preset.spec.loss, shape)
        path = tmp_path / f"{name}.toml"
        write_settings(path, preset.spec)
        assert read_settings(path, RunSpec) == preset.spec
    assert {name for name, preset in PRESETS.items() if preset.unverified} == {"qlora_27b"}


def test_presets_of_one_question_differ_from_the_first_try_in_that_alone() -> None:
    base = PRESETS[DEFAULT].spec
    assert changes_from(base, base) == {}
    assert changes_from(PRESETS["zero_shot"].spec, base) == {"schedule.max_steps": (-1, 0)}
    assert list(changes_from(PRESETS["no_prompt"].spec, base)) == ["prompts"]
    assert list(changes_from(PRESETS["hard_negatives"].spec, base)) == ["data"]
    prompts = PRESETS["portuguese_instruction"].spec.prompts
    assert prompts is not None and prompts.query == PROMPTS["portuguese_qa"].query
    assert PRESETS["no_prompt"].spec.prompts is not None and PRESETS["no_prompt"].spec.prompts.query == ""
    tiny = changes_from(PRESETS["tiny"].spec, base)
    assert tiny["precision.mode"] == ("bf16", "fp32") and tiny["devices.use"] == ("auto", "cpu")


def test_every_setting_has_a_reason_and_no_reason_is_left_over() -> None:
    found = keys()
    assert len(set(found)) == len(found)
    assert all(reason(key).endswith((".", "?")) for key in found)
    assert reason("data.0.kind") == reason("data.kind")
    assert reason("data.0.loss.scale") == reason("loss.scale")
    assert "negatives" in reason("batch.accumulation")
    with pytest.raises(UsageError) as error:
        reason("optimizer.lr")
    assert "optimiser.lr" in str(error.value.remedy)
    flat = set(in_file(RunSpec(lora=LoraPart()).model_dump()))
    assert flat <= {*found}, flat - {*found}


def in_file(data: dict[str, Any], above: str = "") -> Iterator[str]:
    """The dotted keys of a spec as it is written."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from in_file(value, f"{above}{key}.")
        elif key == "data":
            yield from (f"data.{name}" for name in value[0])
        else:
            yield above + key


def test_accumulation_adds_no_negatives_and_gathering_does() -> None:
    spec = RunSpec()
    more = changed(spec, {"batch.accumulation": 8})
    assert more.negatives == spec.negatives == 63
    assert more.effective_batch == 8 * spec.effective_batch
    assert changed(spec, {"devices.count": 4}).negatives == 63
    assert changed(spec, {"devices.count": 4, "loss.gather": True, "data.0.negatives": 2}).negatives == 64 * 4 * 3 - 1


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        get_run_preset("first-try")
    assert "first_try" in str(error.value.remedy)


def test_deciding_about_a_run_imports_no_torch() -> None:
    code = (
        "import sys; from studio.training import presets, matrix, losses, memory, preflight, ejecting; "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'textual') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_documentation_names_every_preset_loss_and_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "presets.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in PRESETS)
    assert all(f"`{name}`" in text for name in LOSSES)
    assert all(f"| {letter} |" in text for letter in LETTERS)
    told = dict(re.findall(r"^\| (\S+) \| [^|]* \| ((?:`\w+`(?:, )?)+) \|$", text, re.MULTILINE))
    for shape in Shape:
        names = told["n-tuple" if shape is Shape.NTUPLE else str(shape)]
        assert sorted(re.findall(r"`(\w+)`", names)) == sorted(losses_for(shape))
