"""A refused value is told in the studio's words: what belongs there, and the nearest choice only where one is near."""

from __future__ import annotations

from typing import Any

import pytest

from studio.errors import ConfigError
from studio.project.settings import ProjectSettings, validated
from studio.training.spec import RunSpec, changed


@pytest.mark.parametrize(
    ("key", "value", "why", "remedy"),
    [
        ("batch", 32, "a group of settings", "batch.per_device, batch.accumulation"),
        ("data", "x", "a group of settings", "data.0.name"),
        ("reporting.to", "wand", '"wand" is none of: trackio', "did you mean `wandb`?"),
        ("loss.name", "mnlr", '"mnlr" is none of: mnrl', "did you mean `mnrl`?"),
        ("loss.name", "zzz", "none of: mnrl", "write one of these"),
        ("seed", 1.5, "a whole number belongs there, not 1.5", "write a whole number"),
        ("optimiser.lr", "fast", 'a number belongs there, not "fast"', "write a number"),
        ("optimiser.lr", -1, "it must be above 0, and is -1", "write a number above 0"),
        ("schedule.warmup", 1, "it must be below 1, and is 1", "write a number below 1"),
        ("lora.r", 0, "at least 1", "at least 1"),
        ("precision.tf32", "maybe", "true or false belongs there", "without quotes"),
        ("model.id", 3, "text belongs there, not 3", "in quotes"),
        ("data.0.name", "é", "does not have the form", "in that form"),
        ("data", [], "each dataset needs a name", "change"),
        ("nonsense.foo", 1, "there is no such setting", "known here: batch"),
        ("lr", 1, "there is no such setting", "did you mean `optimiser.lr`?"),
        ("optimizer.lr", 1, "there is no such setting", "did you mean `optimiser`?"),
        ("data.0.viev", "curated", "there is no such setting", "did you mean `view`?"),
        ("seed.x", 1, "one value", "set `seed` itself"),
    ],
)
def test_what_is_wrong_and_what_belongs_there(key: str, value: Any, why: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(RunSpec(), {key: value})
    assert why in (caught.value.why or "")
    assert remedy in (caught.value.remedy or "")
    assert "valid" not in f"{caught.value.why} {caught.value.remedy}", "no words of the library"


def test_a_list_in_a_file_is_written_as_one() -> None:
    with pytest.raises(ConfigError) as caught:
        validated({"reporting": {"to": "wandb"}}, RunSpec, "run.toml")
    assert (caught.value.why, caught.value.remedy) == ('a list belongs there, not "wandb"', 'write ["wandb"]')


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="`name` cannot be used") as caught:
        validated({}, ProjectSettings, "studio.toml")
    assert caught.value.why == "it is missing"


@pytest.mark.parametrize(
    ("key", "value", "there"),
    [
        ("reporting.to", "wandb", ("wandb",)),
        ("reporting.to", "trackio, wandb", ("trackio", "wandb")),
        ("loss.matryoshka", 640, (640,)),
        ("devices.ids", "0,1", (0, 1)),
    ],
)
def test_a_single_value_for_a_list_is_a_list(key: str, value: Any, there: tuple[Any, ...]) -> None:
    part, name = key.split(".")
    assert getattr(getattr(changed(RunSpec(), {key: value}), part), name) == there
