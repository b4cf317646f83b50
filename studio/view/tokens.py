"""How many tokens the project's model makes of every query and passage: counted once, kept in the project's cache."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import polars as pl

from studio.files import atomic_file
from studio.models.tokenizer import StudioTokenizer, load_tokenizer
from studio.pairs.schema import UNREADABLE
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.prompts.contract import Role
from studio.sample import model_location

_ROWS_AT_ONCE = 100_000
"""A text with its prompt before it is a copy; this bounds how many there are at once."""
_COLUMNS = {"query": Role.QUERY, "positive": Role.DOCUMENT}


def token_file(project: Project) -> Path:
    """Where the counts for the project's rows, model and prompts are kept, whether they are there or not."""
    settings = project.settings
    parts = (settings.model.id, settings.prompts.contract().hash, settings.snapshot)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return project.root / ".studio" / "cache" / f"tokens-{key}.parquet"


def read_tokens(project: Project) -> pl.DataFrame | None:
    """The counts: `query` and `positive` (UInt32), one line a row, in order; None where they were not counted yet.

    Prompt and special tokens are included, nothing is cut: with a limit of N tokens a text has `min(count, N)`.
    """
    return read_cached(token_file(project))


def count_tokens(project: Project, progress: Progress = silent) -> Path:
    """Count the tokens of every query and passage, each with its prompt; return the file (see `read_tokens`).

    Counts that are there already are kept. Stops when `progress` raises `Cancelled`, and nothing is written then.

    Raises:
        InputError: the model's tokenizer cannot be used.
        UnavailableError: the model is out of reach, or the disk is full.
    """
    path = token_file(project)
    if read_cached(path) is not None:
        return path
    contract = project.settings.prompts.contract()
    tokenizer = load_tokenizer(model_location(project.settings.model.id))
    counts = pl.DataFrame(
        [
            _counts(tokenizer, project.snapshot[column], contract.prompt(role), column, progress)
            for column, role in _COLUMNS.items()
        ]
    )
    with atomic_file(path) as beside:
        counts.write_parquet(beside)
    return path


def read_cached(path: Path) -> pl.DataFrame | None:
    """The table in a file of the cache; None when it is missing or damaged, since it can be made again."""
    try:
        return pl.read_parquet(path, glob=False)
    except UNREADABLE:
        return None


def _counts(tokenizer: StudioTokenizer, texts: pl.Series, prompt: str, column: str, progress: Progress) -> pl.Series:
    counts = pl.Series(column, dtype=pl.UInt32)
    progress(f"count tokens of {column}", 0, len(texts))
    for start in range(0, len(texts), _ROWS_AT_ONCE):
        block = texts.slice(start, _ROWS_AT_ONCE)
        told = partial(_tell, progress, f"count tokens of {column}", start, len(texts))
        counts.append(tokenizer.token_counts(prompt + block if prompt else block, told))
    return counts


def _tell(progress: Progress, step: str, before: int, rows: int, _: str, done: int, total: int | None) -> None:
    """Tell of one block's progress as a part of the whole column's."""
    progress(step, before + done, rows)
