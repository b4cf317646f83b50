"""The form over a run spec: where values come from, what may be typed, and the command that says the same."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Any

import pytest

from studio.cli.training import asked_spec
from studio.errors import ConfigError, UsageError
from studio.project.project import Project
from studio.project.settings import ModelSettings, ProjectSettings
from studio.training.presets import PRESETS, starting
from studio.training.reasons import keys
from studio.training.spec import RunSpec, changed
from studio.view.run_command import changes, command
from studio.view.training import (
    Origin,
    Setting,
    dataset_of,
    edited,
    negatives_words,
    restored,
    settings,
    with_data,
    without_data,
)

BASE = PRESETS["first_try"].spec


def one(spec: RunSpec, key: str, base: RunSpec = BASE) -> Setting:
    return next(setting for setting in settings(spec, base) if setting.key == key)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_setting_stands_in_the_form_with_its_reason(name: str) -> None:
    spec = changed(PRESETS[name].spec, {"lora": {}, "data.0.loss": {"name": "mnrl"}})
    shown = settings(spec, PRESETS[name].spec)
    plain = {".".join(part for part in setting.key.split(".") if not part.isdigit()) for setting in shown}
    assert plain >= set(keys()) - {"format", "preset"}
    assert all(setting.why and setting.value and setting.default for setting in shown)
    assert all(setting.origin is not Origin.YOURS for setting in settings(PRESETS[name].spec, PRESETS[name].spec))


def test_where_a_value_comes_from_is_said() -> None:
    spec = changed(BASE, {"optimiser.lr": 1e-5})
    lr, batch, seed = one(spec, "optimiser.lr"), one(spec, "batch.per_device"), one(spec, "seed")
    assert (lr.origin, lr.value, lr.preset, lr.default) == (Origin.YOURS, "1e-05", "5e-06", "5e-06")
    assert (batch.origin, batch.value, batch.default) == (Origin.PRESET, "128", "64")
    assert seed.origin is Origin.DEFAULT
    assert one(spec, "prompts").value == "the project's contract" and one(spec, "lora").value == "off"


def test_what_the_loss_does_not_know_is_marked() -> None:
    unused = {setting.key for setting in settings(BASE, BASE) if not setting.used}
    assert unused == {
        f"loss.{name}" for name in ("mini_batch_size", "guide", "temperature", "margin_strategy", "margin")
    }
    cached = edited(BASE, "loss.name", "cached_mnrl")
    assert one(cached, "loss.mini_batch_size").used


@pytest.mark.parametrize(
    ("key", "typed", "found"),
    [
        ("optimiser.lr", " 1e-5 ", 1e-5),
        ("rows", "1,000", 1000),
        ("loss.directions", "query_to_doc, doc_to_query", ["query_to_doc", "doc_to_query"]),
        ("loss.matryoshka", "640, 320", [640, 320]),
        ("evaluation.splits", "", []),
        ("loss.margin", "", None),
        ("why", "less is more", "less is more"),
        ("lora", {}, "on"),
        ("data.0.loss", {"name": "gist"}, "gist"),
    ],
)
def test_what_is_typed_becomes_the_value(key: str, typed: Any, found: Any) -> None:
    spec = edited(BASE, key, typed)
    value = one(spec, key).value if found in ("on", "gist") else spec.model_dump(mode="json")
    for part in key.split(".") if isinstance(value, dict) else ():
        value = value[int(part)] if part.isdigit() else value[part]
    assert value == found


@pytest.mark.parametrize(
    ("key", "typed", "words"),
    [
        ("optimiser.lr", "fast", "a number belongs there"),
        ("optimiser.lr", "-1", "above 0"),
        ("seed", "1.5", "a whole number"),
        ("loss.directions", "query_to_doc, up", "query_to_query"),
        ("data.0.name", "with space", "does not have the form"),
    ],
)
def test_what_cannot_be_is_said_in_words_and_changes_nothing(key: str, typed: str, words: str) -> None:
    with pytest.raises(ConfigError, match=key) as error:
        edited(BASE, key, typed)
    assert words in str(error.value)


def test_every_offer_can_be_taken() -> None:
    spec = changed(BASE, {"lora": {}, "data.0.loss": {"name": "mnrl"}})
    for setting in settings(spec, BASE):
        for offer in setting.offers:
            taken = edited(spec, setting.key, offer.value)
            if setting.key != "prompts":
                assert one(taken, setting.key).value == offer.words


@pytest.mark.parametrize(
    "changes_made",
    [
        {},
        {"optimiser.lr": 1e-5, "seed": 13, "loss.gather": True, "devices.count": 2},
        {"lora": {}, "lora.r": 8},
        {"lora": {}},
        {"why": "does “it” help? $HOME 'x'", "reporting.to": ["tensorboard", "trackio"], "data.0.negatives": 2},
        {"why": "12", "model.id": "none"},
        {"prompts": {"query": "Instruct: x\nQuery: ", "document": "", "origin": "custom:mine"}},
        {"data.0.loss": {"name": "gist", "guide": "guide-model"}, "loss.margin": 0.1},
        {"data": [{"name": "a"}, {"name": "b", "kind": "file", "path": "b c.jsonl", "loss": {"name": "cosent"}}]},
    ],
)
def test_the_command_makes_the_very_run_that_the_form_shows(changes_made: dict[str, Any]) -> None:
    spec = changed(BASE, changes_made)
    words = shlex.split(command(Path("/a project"), "C", "first_try", spec, BASE))
    assert words[:6] == ["harrier-studio", "train", "--project", "/a project", "--run", "C"]
    given = [word for before, word in itertools.pairwise(words) if before == "--set"]
    assert len(given) == len(changes(spec, BASE))
    project: Any = None
    assert asked_spec(project, "first_try", None, given) == spec


def test_settings_go_back_to_the_preset() -> None:
    spec = changed(BASE, {"optimiser.lr": 1e-5, "lora": {"r": 8}, "data.0.path": "x"})
    assert restored(spec, BASE, "optimiser.lr").optimiser.lr == 5e-6
    inner = restored(spec, BASE, "lora.r").lora
    assert inner is not None and inner.r == 64
    assert restored(spec, BASE, "lora").lora is None
    assert restored(spec, BASE, "data.0.path").data[0].path == ""
    other = restored(with_data(spec), BASE, "data.1.kind")
    assert other.data[1].kind == "project"


def test_datasets_come_and_go() -> None:
    two = with_data(BASE)
    three = with_data(two)
    assert [part.name for part in three.data] == ["project", "more1", "more2"]
    assert {setting.section for setting in settings(three, BASE)} >= {"data 1", "data 3"}
    assert dataset_of("data.1.kind") == 1 and dataset_of("seed") == -1
    assert [part.name for part in without_data(three, 1).data] == ["project", "more2"]
    with pytest.raises(UsageError, match="needs a dataset"):
        without_data(BASE, 0)


def test_negatives_are_counted_and_accumulation_adds_none() -> None:
    assert "127 negatives: 128 × (1 + 0 hard) − 1" in negatives_words(BASE)
    more = changed(BASE, {"batch.accumulation": 4, "devices.count": 2, "data.0.negatives": 1})
    words = negatives_words(more)
    assert "255 negatives" in words and "step of 1,024 rows" in words
    assert "adds no negatives" in words and "do not share theirs" in words
    gathered = negatives_words(changed(more, {"loss.gather": True}))
    assert "511 negatives: 128 × 2 devices × (1 + 1 hard) − 1" in gathered
    assert "no in-batch negatives" in negatives_words(changed(BASE, {"loss.name": "cosent"}))


def test_the_form_begins_with_what_suits_the_project(tmp_path: Path) -> None:
    assert starting(ProjectSettings(name="x"))[0] == "tiny"
    name, spec = starting(ProjectSettings(name="x", model=ModelSettings(id="my/model", max_length=300)))
    assert (name, spec.model.id, spec.model.max_length) == ("first_try", "my/model", 300)
    project: Any = Project.__new__(Project)
    project.settings = ProjectSettings(name="x", model=ModelSettings(id="my/model", max_length=300))
    assert asked_spec(project, None, None, []) == spec
