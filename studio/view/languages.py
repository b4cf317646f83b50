"""The language of every query, among those told apart: judged once, kept in the project's cache."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from studio.files import atomic_file
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.text.language import languages_of
from studio.view.tokens import read_cached

_ROWS_AT_ONCE = 200
"""Judging lets no other Python run (nothing is asked or cancelled meanwhile), so it goes in small blocks."""
_CHARACTERS = 1_000


def language_file(project: Project) -> Path:
    """Where the languages of the project's rows are kept, whether they are there or not."""
    return project.root / ".studio" / "cache" / f"languages-{project.settings.snapshot}.parquet"


def read_languages(project: Project) -> pl.DataFrame | None:
    """`language` (String, ISO 639-1, null where nothing can be told) of every query, in order; None if not judged."""
    return read_cached(language_file(project))


def tell_languages(project: Project, progress: Progress = silent) -> Path:
    """Judge the first 1,000 characters of every query; return the file (see `read_languages`).

    Languages that are there already are kept. Stops when `progress` raises `Cancelled`, and nothing is written then.

    Raises:
        UnavailableError: the disk is full.
    """
    path = language_file(project)
    if read_cached(path) is not None:
        return path
    queries = project.snapshot["query"].str.slice(0, _CHARACTERS)
    found: list[str | None] = []
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        progress("tell languages", start, len(queries))
        found += languages_of(queries.slice(start, _ROWS_AT_ONCE).to_list())
    progress("tell languages", len(queries), len(queries))
    with atomic_file(path) as beside:
        pl.DataFrame({"language": found}, schema={"language": pl.String}).write_parquet(beside)
    return path
