"""What the data files of an export look like: one writer a format, each loading in its real consumer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from studio.export.subsets import Subset


class Format(StrEnum):
    """Formats of the data files."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"
    HF = "hf"
    """A folder for `datasets.load_from_disk`."""
    FLAGEMBEDDING = "flagembedding"
    """JSON lines `{"query", "pos": […], "neg": […]}`, one a query."""
    TEVATRON = "tevatron"
    """JSON lines with `positive_passages` and `negative_passages`, each `{"docid", "title", "text"}`."""
    BEIR = "beir"
    """corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""


@dataclass(frozen=True)
class DataFile:
    """A written file (path inside the export), its rows, and which row of the project each of them comes from.

    `row_ids` and `positions` are aligned: a row may share a position where a format merges rows of one query.
    """

    path: str
    rows: int
    row_ids: list[str]
    positions: list[int]


Writer = Callable[[list[Subset], Path], list[DataFile]]


def write_data(subsets: list[Subset], fmt: Format, out: Path) -> list[DataFile]:
    """Write subsets below `out/data` in a format; return what was written, in a fixed order."""
    (out / "data").mkdir()
    return _WRITERS[fmt](subsets, out)


def _tables(suffix: str, write: Callable[[pl.DataFrame, Path], Any]) -> Writer:
    def writer(subsets: list[Subset], out: Path) -> list[DataFile]:
        files = []
        for subset in subsets:
            path = f"data/{subset.place}.{suffix}"
            (out / path).parent.mkdir(exist_ok=True)
            write(subset.columns, out / path)
            files.append(_in_order(path, subset))
        return files

    return writer


def _in_order(path: str, subset: Subset) -> DataFile:
    ids = subset.rows["row_id"].to_list()
    return DataFile(path, len(ids), ids, list(range(len(ids))))


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path, quote_style="non_numeric")


def _write_hf(subsets: list[Subset], out: Path) -> list[DataFile]:
    import datasets

    datasets.disable_progress_bars()
    files = []
    for folder in dict.fromkeys(subset.folder for subset in subsets):
        parts = {}
        members = [subset for subset in subsets if subset.folder == folder]
        for subset in members:
            frame = subset.columns
            data = datasets.Dataset.from_dict(frame.to_dict(as_series=False), features=_features(frame))
            # The library draws a fingerprint at random; one made from the rows keeps two exports identical.
            data._fingerprint = _short_hash("\n".join(subset.rows["row_id"]))
            parts[subset.split] = data
        datasets.DatasetDict(parts).save_to_disk(out / "data" / folder)
        files += [_in_order(f"data/{subset.place}/data-00000-of-00001.arrow", subset) for subset in members]
    return files


def _features(frame: pl.DataFrame) -> Any:
    import datasets

    kinds = {pl.String: "string", pl.Float64: "float64", pl.Int64: "int64"}
    return datasets.Features({name: datasets.Value(kinds[type(dtype)]) for name, dtype in frame.schema.items()})


def _write_flagembedding(subsets: list[Subset], out: Path) -> list[DataFile]:
    def line(query: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
        positives = _positives(rows)
        record: dict[str, Any] = {"query": query, "pos": positives, "neg": _negatives(rows)}
        if len(positives) == len(rows) and all(row["score"] is not None for row in rows):
            record["pos_scores"] = [row["score"] for row in rows]
        return record

    return _by_query(subsets, out, line)


def _write_tevatron(subsets: list[Subset], out: Path) -> list[DataFile]:
    def line(query: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "query_id": _short_hash(query),
            "query": query,
            "positive_passages": [_passage(text) for text in _positives(rows)],
            "negative_passages": [_passage(text) for text in _negatives(rows)],
        }

    return _by_query(subsets, out, line)


def _passage(text: str) -> dict[str, str]:
    return {"docid": _short_hash(text), "title": "", "text": text}


def _positives(rows: list[Mapping[str, Any]]) -> list[str]:
    """The positives of all rows of a query, and what was judged to also answer it."""
    own = [row["positive"] for row in rows]
    return [*own, *dict.fromkeys(text for row in rows for text in row["also_answers"] if text not in own)]


def _negatives(rows: list[Mapping[str, Any]]) -> list[str]:
    """The negatives of all rows of a query, once each, without those that are positives of it."""
    positives = set(_positives(rows))
    return [text for text in dict.fromkeys(text for row in rows for text in row["negatives"]) if text not in positives]


def _by_query(
    subsets: list[Subset], out: Path, line: Callable[[str, list[Mapping[str, Any]]], dict[str, Any]]
) -> list[DataFile]:
    files = []
    for split, rows in _by_split(subsets).items():
        path = f"data/{split}.jsonl"
        queries = _grouped(rows)
        _write_lines(out / path, (line(query, group) for query, group in queries.items()))
        ids = [row["row_id"] for group in queries.values() for row in group]
        positions = [place for place, group in enumerate(queries.values()) for _ in group]
        files.append(DataFile(path, len(queries), ids, positions))
    return files


def _write_beir(subsets: list[Subset], out: Path) -> list[DataFile]:
    splits = _by_split(subsets)
    rows = [row for part in splits.values() for row in part]
    passages = dict.fromkeys(text for row in rows for text in (row["positive"], *row["negatives"]))
    queries = dict.fromkeys(row["query"] for row in rows)
    corpus = ({"_id": _short_hash(text), "title": "", "text": text} for text in passages)
    _write_lines(out / "data/corpus.jsonl", corpus)
    _write_lines(out / "data/queries.jsonl", ({"_id": _short_hash(text), "text": text} for text in queries))
    (out / "data/qrels").mkdir()
    files = [DataFile("data/corpus.jsonl", len(passages), [], []), DataFile("data/queries.jsonl", len(queries), [], [])]
    for split, part in splits.items():
        path = f"data/qrels/{split}.tsv"
        judged: dict[tuple[str, str], int] = {}
        places = []
        for row in part:
            places.append(judged.setdefault((_short_hash(row["query"]), _short_hash(row["positive"])), len(judged)))
            for text in row["also_answers"]:
                judged.setdefault((_short_hash(row["query"]), _short_hash(text)), len(judged))
        lines = [f"{query}\t{passage}\t1\n" for query, passage in judged]
        (out / path).write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf-8")
        files.append(DataFile(path, len(judged), [row["row_id"] for row in part], places))
    return files


def _by_split(subsets: list[Subset]) -> dict[str, list[dict[str, Any]]]:
    splits: dict[str, list[dict[str, Any]]] = {}
    for subset in subsets:
        splits.setdefault(subset.split, []).extend(subset.rows.iter_rows(named=True))
    return splits


def _grouped(rows: list[dict[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    queries: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        queries.setdefault(row["query"], []).append(row)
    return queries


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_WRITERS: dict[Format, Writer] = {
    Format.PARQUET: _tables("parquet", lambda frame, path: frame.write_parquet(path)),
    Format.JSONL: _tables("jsonl", lambda frame, path: frame.write_ndjson(path)),
    Format.CSV: _tables("csv", _write_csv),
    Format.HF: _write_hf,
    Format.FLAGEMBEDDING: _write_flagembedding,
    Format.TEVATRON: _write_tevatron,
    Format.BEIR: _write_beir,
}
