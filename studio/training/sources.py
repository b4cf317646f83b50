"""Rows of a run that are not taken from the project itself: negatives that `mine` wrote, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from studio.errors import ConfigError, InputError
from studio.export.audit import MANIFEST
from studio.files import sha256_of
from studio.mining.false_negatives import rows_key
from studio.mining.mined import KIND, Form
from studio.pairs.read import read_pairs
from studio.pairs.schema import UNREADABLE
from studio.training.shaping import POOL_SCHEMA
from studio.training.spec import DataPart

if TYPE_CHECKING:
    from studio.training.rows import Held

Pool = tuple[pl.DataFrame, dict[str, int], tuple[str, ...]]
"""Rows as POOL_SCHEMA, what was left out, what a person should know."""
NOT_NOW = "mined for a row that does not train now"
_ELSEWHERE = "held out for evaluation"


def mined_rows(part: DataPart, held: Held) -> Pool:
    """Read a folder of mined negatives. Only rows that train now, with the texts they have now, are taken.

    In triplets every line is a row, unless several negatives a row are asked for.

    Raises:
        ConfigError: no negatives are asked for.
        InputError: it is no folder of this project's mined negatives, or a file of it was changed.
    """
    folder = held.project.root / part.path
    manifest = _manifest(folder, part)
    if manifest["snapshot"] != held.project.settings.snapshot:
        raise InputError(
            "These negatives were mined for another project.",
            where=str(folder),
            remedy='mine for this one, or take the file itself with kind = "file"',
        )
    form = Form(manifest["form"])
    if not part.negatives:
        raise ConfigError(
            f"The dataset `{part.name}` is of mined negatives and uses none.",
            where=f"data, `{part.name}`: negatives = 0",
            remedy='set negatives to 1 or more; for pairs alone, take kind = "project"',
        )
    files = [name for name in manifest["files"] if name.startswith("data/")]
    pool = pl.concat([_pool(_table(folder / name, manifest["files"][name]), form, part) for name in files])
    now = held.training.select("query", "positive", "row_id").unique(["query", "positive"], keep="first")
    matched = pool.drop("row_id").join(now, on=["query", "positive"], maintain_order="left")
    notes: tuple[str, ...] = ()
    if manifest["rows_key"] != rows_key(held.collection):
        notes = (f"`{part.name}`: decisions have changed the rows since these negatives were mined",)
    return matched.select(POOL_SCHEMA.names()), {NOT_NOW: pool.height - matched.height}, notes


def file_rows(part: DataPart, held: Held) -> Pool:
    """Read a file of pairs, triplets or scored pairs. Rows of a held-out split are left out.

    Raises:
        InputError: it cannot be read.
    """
    if not part.path:
        raise ConfigError(f"The dataset `{part.name}` needs a path.", where=f"data, `{part.name}`: path")
    read = read_pairs([held.project.root / part.path])
    rows = read.pairs.filter(~held.is_held_out & ~held.is_leaked)
    rejected = read.rejects.height
    notes = (f"`{part.name}`: {rejected:,} records of the file are no pairs, and are left out",) if rejected else ()
    pool = rows.with_columns(row_id=pl.lit(None), scores=pl.lit(None)).select(POOL_SCHEMA.names()).cast(POOL_SCHEMA)
    return pool, {_ELSEWHERE: read.pairs.height - rows.height}, notes


def _manifest(folder: Path, part: DataPart) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        if not part.path or document["kind"] != KIND:
            raise ValueError("its manifest is of something else")
        return {key: document[key] for key in ("snapshot", "form", "files", "rows_key")}
    except UNREADABLE as error:
        raise InputError(
            "This is no folder of mined negatives.",
            where=str(folder),
            why=" ".join(str(error).split()),
            remedy="run `harrier-studio mine`, and give the folder that it names, relative to the project",
        ) from error


def _table(path: Path, told: dict[str, Any]) -> pl.DataFrame:
    try:
        if sha256_of(path) != told["sha256"]:
            raise ValueError("its manifest tells of other contents")
        # Bytes, not the path: polars would read brackets in it as a pattern.
        return pl.read_ndjson(path.read_bytes()) if path.suffix == ".jsonl" else pl.read_parquet(path, glob=False)
    except UNREADABLE as error:
        raise InputError(
            "A file of mined negatives cannot be used.",
            where=str(path),
            why=" ".join(str(error).split()),
            remedy="mine again",
        ) from error


def _pool(table: pl.DataFrame, form: Form, part: DataPart) -> pl.DataFrame:
    if form is Form.SCORED and "passages" in table.columns:
        passages = pl.col("passages")
        rows = table.select("query", passages.list.first().alias("positive"), passages.list.slice(1), "scores")
        rows = rows.rename({"passages": "negatives"})
    elif "negative" in table.columns and part.negatives > 1:
        rows = table.group_by("query", "positive", maintain_order=True).agg(pl.col("negative").alias("negatives"))
    else:
        names = [name for name in table.columns if name.startswith("negative")]
        negatives = pl.concat_list(names) if names else pl.lit([], pl.List(pl.String))
        rows = table.select("query", "positive", negatives.alias("negatives"))
    missing = [pl.lit(None).alias(name) for name in POOL_SCHEMA.names() if name not in rows.columns]
    return rows.with_columns(missing).select(POOL_SCHEMA.names()).cast(POOL_SCHEMA)
