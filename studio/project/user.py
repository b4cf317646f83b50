"""The person's own settings: defaults that every new project starts from."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_config_path

from studio.project.settings import ProjectSettings, PromptSettings, UserSettings, read_settings
from studio.prompts.presets import get_preset


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


def new_project_settings(name: str, preset: str | None = None) -> ProjectSettings:
    """Settings of a new project: the person's defaults, with the prompts of a preset if one is named.

    Raises:
        ConfigError: the person's settings are wrong, or there is no such preset.
    """
    mine = user_settings()
    prompts = mine.prompts
    if preset:
        chosen = get_preset(preset)
        prompts = PromptSettings(query=chosen.query, document=chosen.document, origin=f"preset:{chosen.name}")
    return ProjectSettings(name=name, prompts=prompts, model=mine.model, curation=mine.curation, checks=mine.checks)
