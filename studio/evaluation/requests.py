"""What an evaluation was asked for: `request.json`, by which one that was interrupted goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from studio.errors import InputError
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.systems import Named, System
from studio.files import write_text

FORMAT = 1
"""Of an evaluation's files; another number, and the folder is of another version of the studio."""
SYSTEM: TypeAdapter[Any] = TypeAdapter(System)
"""Reads a system from what JSON holds of it."""


class Request(NamedTuple):
    """What an evaluation was asked for.

    Attributes:
        set_name: as it was written, such as `held-out`, `run:first` or a path.
        options: how the set is made; each by its name.
        systems: in the order of the table.
        metrics: what is computed.
        main: the metric that decides.
        operations: whether the cost of each system is measured.
        command: what to run to make it again.
        made: when, ISO 8601 in UTC.
        packages: name → version of what computes.
        context: what of the project systems take for granted: its model, prompts and length.
    """

    set_name: str
    options: Mapping[str, Any]
    systems: tuple[Named, ...]
    metrics: tuple[str, ...]
    main: str
    operations: bool
    command: tuple[str, ...] = ()
    made: str = ""
    packages: Mapping[str, str] = {}
    context: Mapping[str, str] = {}

    def differs(self, other: Request) -> str:
        """What `other` asks for that this does not, in words; empty if both would give the same table."""
        kinds = {
            "set": (self.set_name, other.set_name),
            "options of the set": (plain(self.options), plain(other.options)),
            "systems": (self.systems, other.systems),
            "metrics": (self.metrics, other.metrics),
            "main metric": (self.main, other.main),
        }
        return ", ".join(name for name, (mine, theirs) in kinds.items() if mine != theirs)


def save_request(folder: EvaluationFolder, request: Request) -> None:
    """Write `request.json`; with it the folder is an evaluation."""
    said = request._asdict()
    said["systems"] = [
        {"name": named.name, "system": named.system.model_dump(mode="json")} for named in request.systems
    ]
    write_json(folder.request, {"format": FORMAT, "name": folder.name, **said})


def load_request(folder: EvaluationFolder) -> Request:
    """Read `request.json`.

    Raises:
        InputError: it is missing or damaged, or of another version.
    """
    said = read_json(folder.request)
    try:
        return Request(
            str(said["set_name"]),
            dict(said["options"]),
            tuple(Named(str(one["name"]), SYSTEM.validate_python(one["system"])) for one in said["systems"]),
            tuple(said["metrics"]),
            str(said["main"]),
            bool(said["operations"]),
            tuple(said["command"]),
            str(said["made"]),
            dict(said["packages"]),
            dict(said["context"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise damaged(folder.request, error) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write strict JSON, whole or not at all; a number that is none becomes null."""
    write_text(path, json.dumps(plain(data), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read one of an evaluation's JSON files.

    Raises:
        InputError: it is missing or damaged, or of another version.
    """
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise InputError(
            "This evaluation was stored by another version of harrier-studio.",
            where=str(path),
            why=f"its format is {said.get('format') if isinstance(said, dict) else None!r}, not {FORMAT}",
            remedy="evaluate again under another name",
        )
    return said


def damaged(path: Path, error: Exception) -> InputError:
    """What is said of a file that is missing or not as it was written."""
    return InputError(
        "A stored evaluation cannot be read.",
        where=str(path),
        why=f"{type(error).__name__}: {error}",
        remedy="evaluate again under another name, or move its folder away",
    )


def plain(value: Any) -> Any:
    """What JSON can hold of a value: mappings and sequences all the way down, and null for a number that is none."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    return str(value)
