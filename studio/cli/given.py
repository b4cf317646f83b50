"""Settings given on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from studio.errors import UsageError


def toml_value(text: str) -> Any:
    """Read a value as TOML; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def changes(settings: Iterable[str], example: str) -> dict[str, Any]:
    """Read `key=value` settings.

    Args:
        settings: as given.
        example: one that makes sense for this command.

    Raises:
        UsageError: one is not of that form.
    """
    result: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (equals and key.strip()):
            raise UsageError(f"`--set {setting}` is not of the form KEY=VALUE.", remedy=f"for example: --set {example}")
        result[key.strip()] = toml_value(value.strip())
    return result
