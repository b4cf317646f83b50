"""docs/runs.md says what events there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.runs.events import EVENT_TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")


def test_every_type_of_event_is_documented_and_no_other() -> None:
    table = PAGE[PAGE.index("## Events") : PAGE.index("There is one writer")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(EVENT_TYPES)


@pytest.mark.parametrize("type", EVENT_TYPES)
def test_every_field_of_an_event_is_documented(type: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{type}` |"))
    names = set(re.findall(r"\w+", row))
    for field in re.findall(r"[a-z]+(?:_[a-z]+)+", EVENT_TYPES[type]):
        assert field in names
