"""Mined negatives on disk: what a trainer reads, where each negative comes from, and why the others were not taken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import polars as pl

from studio import __version__
from studio.errors import InputError, ProjectError, UsageError
from studio.export.audit import MANIFEST, TOOL, write_manifest
from studio.files import atomic_directory, sha256_of
from studio.mining.collection import Collection
from studio.mining.false_negatives import rows_key
from studio.mining.hard_negatives import candidates, read
from studio.mining.plan import MiningPlan, plan
from studio.mining.pool import Pool, prepared
from studio.mining.retrieval import Retriever, retrievers_of
from studio.mining.settings import MiningSettings
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.project import Project
from studio.text.safe import visible

KIND = "hard negatives"
SHORT = "short"
"""Reason, in rejected.parquet, of negatives that were chosen for rows that then had too few to be written."""
TableFormat = Literal["parquet", "jsonl"]
_LIBRARIES = ("polars", "numpy", "torch", "sentence-transformers", "bm25s")


class Form(StrEnum):
    """What one line of the data holds."""

    TRIPLET = "triplet"
    """`query, positive, negative`: a line a negative."""
    NTUPLE = "n-tuple"
    """`query, positive, negative_1 … negative_n`: a line a training row."""
    SCORED = "scored"
    """`query, passages, scores, labels`: a line a training row; its positive is the first passage, with label 1."""


class Short(StrEnum):
    """What becomes of training rows with too few negatives: fewer than wanted in n-tuples, none in the other forms."""

    DROP = "drop"
    KEEP = "keep"
    """They go to files of their own, one for each number of negatives, since a dataset needs one arity."""


@dataclass(frozen=True)
class Mined:
    """What was written where. `notes`: what a person should know."""

    path: Path
    manifest: dict[str, Any]
    plan: MiningPlan
    notes: tuple[str, ...]


def default_place(root: Path, settings: MiningSettings, form: Form, name: str = "") -> Path:
    """Where mined negatives go unless a person says otherwise.

    Raises:
        UsageError: `name` is no name of a folder.
    """
    name = name or f"{settings.miners}-{form}"
    if name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise UsageError(f"`{name}` is no name of a folder.", remedy="to write anywhere else, give --out")
    return root / "mined" / name


def mine(
    project: Project,
    settings: MiningSettings,
    out: Path,
    *,
    form: Form = Form.TRIPLET,
    fmt: TableFormat = "parquet",
    short: Short = Short.DROP,
    retriever: Retriever | None = None,
    progress: Progress = silent,
) -> Mined:
    """Mine and write to `out` in one step; what was mined there before is replaced whole. Same project, same bytes.

    Args:
        project: whose kept training rows get negatives.
        settings: how.
        out: the folder.
        form: what a line holds.
        fmt: of the data files.
        short: what becomes of rows with too few negatives.
        retriever: the encoder; None for the first of the project's.
        progress: told of each stage; may stop it.

    Raises:
        ProjectError: no row is kept, rows have labels, or there is no negative to write.
        InputError: `out` holds something else.
        InputError, UnavailableError, ConfigError: a model cannot be used, or `out` cannot be written.
    """
    out = out.resolve()
    _refuse_foreign(out)
    curated = project.curated()
    if curated.kept["label"].null_count() < curated.kept.height:
        raise ProjectError(
            "The rows have labels, and mined negatives have no place for them.",
            why="a pair would count as positive whatever its label says",
            remedy="import the positive pairs only",
        )
    retriever = retriever or retrievers_of(project.settings)[0]
    pool = prepared(project, settings, retriever, progress, curated)
    cross = read(pool, settings, progress)
    table, said = candidates(pool, settings, cross), plan(pool, settings, cross)
    if not said.negatives:
        raise ProjectError(
            "No candidate is left, so there is no negative to write.",
            where=str(project.root),
            remedy="look at the reasons with `harrier-studio mine`, then take a smaller margin or a larger `deepest`",
        )
    data = _Data.of(pool.collection, curated, table, pool.own, settings.negatives, form, short)
    if not data.files:
        raise ProjectError(
            f"No row has {settings.negatives} negatives, so there is nothing to write.",
            why=f"the most that a row has is {data.most}",
            remedy="ask for fewer --negatives, or keep such rows with --short keep",
        )
    steps = iter(range(1, 4))
    with atomic_directory(out) as beside:
        for path, frame in data.files.items():
            file = beside / f"{path}.{fmt}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if fmt == "parquet":
                frame.write_parquet(file)
            else:
                frame.write_ndjson(file)
        progress("write negatives", next(steps), 3)
        _sidecar(pool, table, data, fmt).write_parquet(beside / "negatives.parquet")
        _rejected(pool.collection, table, data).write_parquet(beside / "rejected.parquet")
        progress("write negatives", next(steps), 3)
        files = {f"{path}.{fmt}": frame.height for path, frame in data.files.items()}
        notes = (*said.notes, *data.notes)
        (beside / "README.md").write_text(_card(project, settings, pool, said, files, form, fmt, notes), "utf-8")
        document = _manifest(project, settings, pool, said, form, fmt, short, data, beside, files)
        write_manifest(document, beside)
        progress("write negatives", next(steps), 3)
    return Mined(out, document, said, notes)


@dataclass(frozen=True)
class _Data:
    """The data files, by path without suffix, and where each negative went.

    `places`: `path`, `line`, `place` (from 1), `positive_id`, `query`, `passage`. `dropped`: rows that were left out.
    `most`: negatives of the row that has most.
    """

    files: dict[str, pl.DataFrame]
    places: pl.DataFrame
    rows: int
    dropped: int
    most: int
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        collection: Collection,
        curated: Curated,
        table: pl.DataFrame,
        own: pl.DataFrame,
        wanted: int,
        form: Form,
        short: Short,
    ) -> _Data:
        texts = curated.rows.select("row_id", pl.col("query").alias("query_text"), pl.col("positive").alias("positive"))
        rows = collection.training.select("row_id", "query", "passage").join(
            texts, on="row_id", how="left", maintain_order="left"
        )
        rows = rows.join(own, on=["query", "passage"], how="left", maintain_order="left")
        chosen = table.filter(pl.col("rejected_by").is_null())
        chosen = chosen.with_columns(negative=collection.passages["text"].gather(chosen["passage"]))
        picks = chosen.group_by("query", maintain_order=True).agg(
            pl.col("passage").alias("numbers"), pl.col("score").alias("negative_scores"), pl.col("negative")
        )
        rows = rows.join(picks, on="query", how="left", maintain_order="left").with_columns(
            count=pl.col("negative").list.len().fill_null(0)
        )
        needed = wanted if form is Form.NTUPLE else 1
        enough = rows.filter(pl.col("count") >= needed)
        poor = rows.filter(pl.col("count") < needed)
        parts = {"data/train": enough}
        if short is Short.KEEP:
            parts |= {
                f"data/short_{count}/train": poor.filter(pl.col("count") == count)
                for count in sorted(poor["count"].unique().to_list(), reverse=True)
            }
        parts = {path: part for path, part in parts.items() if part.height}
        notes = []
        if poor.height:
            fewer = f"fewer than {needed} negatives" if needed > 1 else "no negative"
            did = "kept in files of their own" if short is Short.KEEP else "left out; --short keep writes them"
            notes.append(f"{poor.height:,} of {rows.height:,} training rows have {fewer}: {did}")
        if (collection.training["negatives"].list.len() > 0).any():
            notes.append("negatives that were imported are not among the mined ones; `export` writes those")
        places = [_places(path, part, form) for path, part in parts.items()]
        return cls(
            {path: _shaped(part, form) for path, part in parts.items()},
            pl.concat(places) if places else _places("", rows.clear(), form),
            rows.height,
            0 if short is Short.KEEP else poor.height,
            int(rows["count"].to_numpy().max(initial=0)),
            tuple(notes),
        )


def _shaped(rows: pl.DataFrame, form: Form) -> pl.DataFrame:
    """The columns a trainer gets; all rows of an n-tuple have equally many negatives."""
    query = pl.col("query_text").alias("query")
    if not rows["count"][0]:
        return rows.select(query, "positive")
    if form is Form.TRIPLET:
        return rows.select(query, "positive", "negative").explode("negative")
    if form is Form.NTUPLE:
        count = rows["count"][0]
        return rows.select(
            query, "positive", *(pl.col("negative").list.get(i).alias(f"negative_{i + 1}") for i in range(count))
        )
    return rows.select(
        query,
        pl.concat_list("positive", "negative").alias("passages"),
        pl.concat_list(pl.col("score").cast(pl.Float64), "negative_scores").alias("scores"),
        pl.concat_list(pl.lit(1, pl.Int64), pl.col("negative").list.eval(pl.lit(0, pl.Int64))).alias("labels"),
    )


def _places(path: str, rows: pl.DataFrame, form: Form) -> pl.DataFrame:
    """Where each negative of a file is."""
    table = rows.with_row_index("line").select(
        pl.lit(path).alias("path"),
        pl.col("line").cast(pl.Int64),
        pl.col("row_id").alias("positive_id"),
        "query",
        pl.col("score").cast(pl.Float64).alias("positive_score"),
        pl.col("numbers").alias("passage"),
    )
    table = table.filter(pl.col("passage").list.len() > 0).explode("passage")
    table = table.with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("line"))
    if form is Form.TRIPLET:
        table = table.with_columns(line=pl.int_range(pl.len(), dtype=pl.Int64))
    return table


def _sidecar(pool: Pool, table: pl.DataFrame, data: _Data, fmt: str) -> pl.DataFrame:
    """One line a negative of the data, in the order of the data."""
    collection = pool.collection
    joined = data.places.join(table, on=["query", "passage"], how="left", maintain_order="left")
    return joined.select(
        (pl.col("path") + f".{fmt}").alias("file"),
        "line",
        "place",
        collection.queries["row_id"].gather(joined["query"]).alias("query_id"),
        "positive_id",
        collection.passages["row_id"].gather(joined["passage"]).alias("passage_id"),
        "miner",
        "rank",
        "dense_rank",
        "bm25_rank",
        "score",
        "bm25_score",
        "positive_score",
        "own",
        "margin",
        "cross",
        "cross_own",
        "judged",
        *(pl.lit(value).alias(name) for name, value in pool.described.items()),
    )


def _rejected(collection: Collection, table: pl.DataFrame, data: _Data) -> pl.DataFrame:
    """Every candidate that is in no data file, with its reason."""
    written = data.places.select("query", "passage").unique()
    left = table.join(written, on=["query", "passage"], how="anti", maintain_order="left")
    return left.select(
        collection.queries["row_id"].gather(left["query"]).alias("query_id"),
        collection.passages["row_id"].gather(left["passage"]).alias("passage_id"),
        *(name for name in table.columns if name not in ("query", "passage", "rejected_by")),
        pl.col("rejected_by").fill_null(SHORT),
    )


def _manifest(
    project: Project,
    settings: MiningSettings,
    pool: Pool,
    said: MiningPlan,
    form: Form,
    fmt: str,
    short: Short,
    data: _Data,
    out: Path,
    rows: dict[str, int],
) -> dict[str, Any]:
    """Describe what was mined; nothing in it depends on when or where."""
    return {
        # Not the tool's bare name: an export does not take a folder of negatives for an earlier export of its own.
        "tool": f"{TOOL} mine",
        "kind": KIND,
        "versions": {TOOL: __version__} | {name: metadata.version(name) for name in _LIBRARIES},
        "project": project.settings.name,
        "snapshot": project.settings.snapshot,
        "rows_key": rows_key(pool.collection),
        "settings": settings.model_dump(mode="json"),
        "form": form.value,
        "format": fmt,
        "short": short.value,
        "retriever": pool.described,
        "prompts": project.settings.prompts.contract().to_dict(),
        "counts": {
            "queries": said.queries,
            "passages": said.passages,
            "candidates": said.candidates,
            "negatives": said.negatives,
            "queries_with_enough": said.enough,
            "queries_with_some": said.some,
            "training_rows": data.rows,
            "rows_left_out": data.dropped,
        },
        "rejected": dict(said.reasons),
        "yield": [line._asdict() for line in said.curve],
        "files": {
            path: {"sha256": sha256_of(out / path), "bytes": (out / path).stat().st_size, "rows": rows.get(path)}
            for path in sorted(file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file())
        },
    }


def _card(
    project: Project,
    settings: MiningSettings,
    pool: Pool,
    said: MiningPlan,
    files: dict[str, int],
    form: Form,
    fmt: str,
    notes: tuple[str, ...],
) -> str:
    """README.md, with the front matter by which `datasets.load_dataset` finds the files."""
    lines = ["---", "task_categories:", "- text-retrieval", "configs:"]
    for path in files:
        folder = Path(path).parent.name
        lines += [f"- config_name: {'default' if folder == 'data' else folder}", "  data_files:"]
        lines += ["  - split: train", f"    path: {path}"]
    lines += ["---", "", f"# Hard negatives of {visible(project.settings.name)}", ""]
    lines += [
        f"{said.negatives:,} negatives for {said.some:,} of {said.queries:,} queries, mined with harrier-studio "
        f"({settings.miners}; {visible(str(pool.described['model']))}).",
        "",
        "| file | rows |",
        "| --- | ---: |",
        *(f"| `{path}` | {rows:,} |" for path, rows in files.items()),
        "",
    ]
    loader = {"parquet": "parquet", "jsonl": "json"}[fmt]
    first = next(iter(files))
    columns = '.select_columns(["query", "passages", "labels"])' if form is Form.SCORED else ""
    lines += [
        "```python",
        "from datasets import load_dataset",
        "",
        f'train = load_dataset("{loader}", data_files="{first}", split="train"){columns}',
        "```",
        "",
        "`negatives.parquet`: where each negative comes from, by file and line. `rejected.parquet`: every candidate "
        "that was not taken, and why. `manifest.json`: settings, model, counts, a hash of each file.",
        *(["", *(f"- {note[0].upper()}{note[1:]}." for note in notes)] if notes else []),
    ]
    return "\n".join(lines) + "\n"


def _refuse_foreign(out: Path) -> None:
    """Refuse a place that holds anything but the files of an earlier run.

    Raises:
        InputError: it does.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        document = json.loads((out / MANIFEST).read_text("utf-8"))
        known = {MANIFEST, *document["files"]} if document["kind"] == KIND else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    there = {file.relative_to(out).as_posix() for file in out.rglob("*") if not file.is_dir()} if out.is_dir() else {""}
    foreign = sorted(there - known)
    if foreign:
        raise InputError(
            "There is something else in the place for the negatives; it was left alone.",
            where=str(out / foreign[0]),
            why="no earlier `mine` wrote it",
            remedy="choose another --out, or move it away",
        )
