"""What the studio remembers for a person: preferences in their config.toml, and the projects opened last.

Also what only the interface can say about those preferences: whether their keys and their theme can be used.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from filelock import FileLock, Timeout
from platformdirs import user_state_path
from textual.theme import BUILTIN_THEMES
from tomlkit.exceptions import TOMLKitError

from studio.errors import ConfigError, StudioError, UnavailableError, UsageError
from studio.files import explained, write_text
from studio.project.settings import UserSettings
from studio.project.user import user_settings_path
from studio.tui.command import keymap
from studio.tui.themes import THEMES

_REMEMBERED = 12
_PATIENCE = 5.0
"""Seconds to wait for another studio that writes the same file."""


def checked(settings: UserSettings, where: str) -> dict[str, str]:
    """The keymap for `App.set_keymap`, once keys and theme are known to be usable.

    Args:
        where: the file the settings come from, for errors.

    Raises:
        ConfigError: there is no such theme, command or key, or two commands would have one key.
    """
    from studio.tui.registry import all_commands

    if unknown := _unknown_theme(settings.interface.theme):
        raise ConfigError(
            f"There is no theme `{settings.interface.theme}`.", where=f"{where}, [interface] theme", remedy=unknown
        )
    return keymap(all_commands(), settings.keymap, settings.interface.keys == "vim", where)


def themed(settings: UserSettings, theme: str | None) -> UserSettings:
    """The settings with a theme that was asked for, if one was.

    Raises:
        UsageError: there is no such theme (the nearest is named).
    """
    if theme is None:
        return settings
    if unknown := _unknown_theme(theme):
        raise UsageError(f"There is no theme `{theme}`.", remedy=unknown)
    return settings.model_copy(update={"interface": settings.interface.model_copy(update={"theme": theme})})


def _unknown_theme(theme: str) -> str | None:
    """What to do about a theme that there is not; None if there is."""
    known = sorted({*BUILTIN_THEMES, *(each.name for each in THEMES)})
    if theme in known:
        return None
    near = difflib.get_close_matches(theme, known, n=1, cutoff=0.4)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"


def remember(name: str, value: Any) -> None:
    """Set `[interface] name = value` in the person's config.toml, keeping everything else as it is.

    Raises:
        ConfigError: the file that is there cannot be understood; it is left as it is.
        UnavailableError: the file cannot be written, or another process does not stop writing it.
    """
    # A link, as those who keep such files in a repository have, stays one: what it points to is replaced.
    path = user_settings_path().resolve()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=_PATIENCE):
                document = _document(path)
                table = document.setdefault("interface", tomlkit.table())
                if not isinstance(table, MutableMapping):
                    raise _damaged(path, "`interface` is no table")
                table[name] = value
                write_text(path, tomlkit.dumps(document))
        except Timeout as error:
            raise UnavailableError(
                "The preference was not saved: another process is writing the settings.",
                where=str(path),
                remedy="try again",
            ) from error


def _document(path: Path) -> tomlkit.TOMLDocument:
    """The file as it is, comments and line ends included."""
    try:
        text = path.read_bytes().decode("utf-8")
        # The studio itself reads the file with tomllib: what that refuses must not be written over either.
        tomllib.loads(text)
        return tomlkit.parse(text)
    except FileNotFoundError:
        return tomlkit.document()
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, TOMLKitError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(
        "The preference was not saved: the settings file is damaged. It was left as it is.",
        where=str(path),
        why=why,
        remedy="mend it as TOML in UTF-8, or move it away; harrier-studio config validate says what is wrong",
    )


def recent_projects() -> list[Path]:
    """Projects opened lately that are still there, the latest first; a damaged list is an empty one."""
    return [path for path in _known_projects() if _is_there(path)]


def remember_project(root: Path) -> None:
    """Put a project first in the list; a place that cannot be written is no reason to fail."""
    root = root.absolute()
    # Those that are not there now stay in the list: their disk may come back.
    latest = [root, *(path for path in _known_projects() if path != root)][:_REMEMBERED]
    try:
        write_text(_recent_file(), json.dumps([str(path) for path in latest], indent=1))
    except (OSError, StudioError):
        return


def _known_projects() -> list[Path]:
    try:
        known = json.loads(_recent_file().read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(path) for path in known if isinstance(path, str)] if isinstance(known, list) else []


def _is_there(path: Path) -> bool:
    try:
        return (path / "studio.toml").exists()
    except (OSError, ValueError):
        return False


def _recent_file() -> Path:
    """Beside the settings where HARRIER_STUDIO_CONFIG names them, so that one variable moves both."""
    if os.environ.get("HARRIER_STUDIO_CONFIG"):
        return user_settings_path().with_name("recent.json")
    return user_state_path("harrier-studio") / "recent.json"
