"""What a source of a set holds, before it is a set: three tables, or rows that are the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from studio.evaluation.judged_tables import Tables
from studio.evaluation.sets import About, SetKind
from studio.pairs.roles import NO_ROLES, Roles


def _nothing_beside() -> pl.DataFrame | None:
    return None


@dataclass(frozen=True)
class Loaded:
    """A source that was read.

    Attributes:
        about: what to know.
        tables: queries, passages and judgements; None: the lines are the test.
        lines: records, each with its line.
        corpus: reads the passages that the lines' ids are of; None: there are none.
        roles: columns named by hand, or by the catalogue.
        kind: what the lines are; None: told by their columns.
    """

    about: About
    tables: Tables | None = None
    lines: tuple[tuple[int, Any], ...] = ()
    corpus: Callable[[], pl.DataFrame | None] = _nothing_beside
    roles: Roles = NO_ROLES
    kind: SetKind | None = None
