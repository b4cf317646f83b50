"""The person's own settings: defaults that every new project starts from."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_config_path

from studio.project.settings import ProjectSettings, UserSettings, read_settings


def user_settings_path() -> Path:
    """Where the file is, or would be; HARRIER_STUDIO_CONFIG names another place."""
    named = os.environ.get("HARRIER_STUDIO_CONFIG")
    return Path(named) if named else user_config_path("harrier-studio") / "config.toml"


def user_settings() -> UserSettings:
    """Read the person's settings; all defaults when there is no file.

    Raises:
        ConfigError: the file is there and wrong.
    """
    path = user_settings_path()
    return read_settings(path, UserSettings) if path.exists() else UserSettings()


def new_project_settings(name: str) -> ProjectSettings:
    """Settings of a new project: the person's defaults."""
    mine = user_settings()
    return ProjectSettings(
        name=name, prompts=mine.prompts, model=mine.model, curation=mine.curation, checks=mine.checks
    )
