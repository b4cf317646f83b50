"""`config`: the settings files from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel

from studio.checks.base import all_checks, configured
from studio.cli.output import emit, emit_json, say
from studio.project.project import SETTINGS_FILE
from studio.project.settings import ProjectSettings, UserSettings, read_settings
from studio.project.user import user_settings, user_settings_path


def path() -> None:
    """`config path`."""
    emit(str(user_settings_path()))


def show(root: Path | None, as_json: bool) -> None:
    """`config show`: every setting in force, each check's defaults filled in."""
    settings, where = _load(root)
    data: dict[str, Any] = settings.model_dump(mode="json", exclude_none=True)
    data["checks"] = {item.name: item.config.model_dump(mode="json") for item in configured(_as_project(settings))}
    if as_json:
        emit_json(data)
    else:
        say(f"from {where}")
        for line in tomlkit.dumps(data).rstrip().split("\n"):
            emit(line)


def validate(root: Path | None, as_json: bool) -> None:
    """`config validate`."""
    settings, where = _load(root)
    configured(_as_project(settings))
    if isinstance(settings, UserSettings):
        # Only the interface knows its commands and themes; it is not loaded for the other commands.
        from studio.tui.preferences import checked

        checked(settings, where)
    if as_json:
        emit_json({"settings": where, "checks": list(all_checks())})
    else:
        emit(f"{where}: ok ({len(all_checks())} checks known)")


def _load(root: Path | None) -> tuple[BaseModel, str]:
    if root is not None:
        file = root / SETTINGS_FILE
        return read_settings(file, ProjectSettings), str(file)
    file = user_settings_path()
    return user_settings(), str(file) if file.exists() else f"defaults (there is no {file})"


def _as_project(settings: BaseModel) -> ProjectSettings:
    if isinstance(settings, UserSettings):
        return ProjectSettings(name="defaults", checks=settings.checks)
    assert isinstance(settings, ProjectSettings)
    return settings
