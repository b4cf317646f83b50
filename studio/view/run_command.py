"""The command that makes a run: the preset, and what is set besides."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from studio.training.spec import DataPart, LoraPart, LossPart, RunSpec

_UNSAID = ("format", "preset")
"""What is never set."""


def changes(spec: RunSpec, preset: RunSpec) -> dict[str, Any]:
    """What must be set to come from a preset to the spec: dotted key → value, as JSON knows it."""
    now, before = spec.model_dump(mode="json"), preset.model_dump(mode="json")
    return dict(_differences(now, before, "", _UNSAID))


def command(root: Path, name: str, preset: str, spec: RunSpec, base: RunSpec) -> str:
    """The command that makes and starts this run."""
    words = ["harrier-studio", "train", "--project", str(root), "--run", name]
    if preset:
        words += ["--preset", preset]
    for key, value in changes(spec, base).items():
        words += ["--set", f"{key}={_as_given(value)}"]
    return shlex.join(words)


def _differences(
    now: Mapping[str, Any], before: Mapping[str, Any], above: str, unsaid: Sequence[str] = ()
) -> Iterator[tuple[str, Any]]:
    for name, value in now.items():
        old, key = before.get(name), f"{above}{name}"
        if name in unsaid or value == old:
            continue
        if name == "prompts" or value is None:
            yield key, value
        elif isinstance(value, dict):
            yield from _differences(value, old if isinstance(old, dict) else _fresh(key), f"{key}.")
            if not isinstance(old, dict) and value == _fresh(key):
                yield key, {}
        elif _same_parts(value, old):
            for at, (each, was) in enumerate(zip(value, old or [], strict=True)):
                yield from _differences(each, was, f"{key}.{at}.")
        elif key == "data":
            # As short as it can be said.
            yield key, [part.model_dump(mode="json", exclude_defaults=True) for part in map(_dataset, value)]
        else:
            yield key, value


def _dataset(data: Mapping[str, Any]) -> DataPart:
    return DataPart.model_validate(data)


def _as_given(value: Any) -> str:
    """A value as `--set` reads it: TOML, where a bare word is a text, and `none` takes a part away."""
    if not isinstance(value, str):
        return "none" if value is None else _toml(value)
    try:
        tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value if value.strip() == value and value != "none" else _toml(value)
    return _toml(value)


def _toml(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # What JSON writes of the rest is TOML too.
    return json.dumps(value, ensure_ascii=False)


def _same_parts(value: Any, old: Any) -> bool:
    """Whether both are as many parts, so that they can be compared one by one."""
    return (
        isinstance(value, Sequence)
        and isinstance(old, Sequence)
        and len(value) == len(old)
        and bool(value)
        and isinstance(value[0], dict)
    )


def _fresh(key: str) -> dict[str, Any]:
    """A part with its defaults, as it is before anything in it is set."""
    model: type[BaseModel] = LoraPart if key == "lora" else LossPart
    return model().model_dump(mode="json")
