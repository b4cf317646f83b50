"""How names and counts are written in sentences, tables and plots."""

from __future__ import annotations

_NAME = 60


def shortened(name: str, limit: int = _NAME, end: int | None = None) -> str:
    """A name with its middle left out where it is long: what tells two apart is often at the end.

    Args:
        name: the name.
        limit: characters, the mark of the omission included.
        end: characters of the end that stay; None: a third of the limit.
    """
    if len(name) <= limit:
        return name
    end = limit // 3 if end is None else end
    return f"{name[: limit - end - 1]}…{name[-end:]}"


def numbered(count: int, one: str) -> str:
    """A count with its noun: `1 query`, `1,200 queries`."""
    many = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
    return f"{count:,} {one if count == 1 else many}"
