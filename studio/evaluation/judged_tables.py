"""Queries, passages and judgements as tables of their own: a folder of files, or the parts of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError, UsageError
from studio.evaluation.sets import Judged
from studio.evaluation.text_tables import read_texts, split_parts
from studio.evaluation.trec import qrels_lines, qrels_of, records_as_qrels
from studio.pairs.folders import split_of
from studio.pairs.read import as_records
from studio.pairs.streams import plain_suffix
from studio.progress import Progress, silent
from studio.text.safe import visible

_PLACES = {
    "corpus": ("corpus", "collection", "docs", "doc", "documents", "passages"),
    "queries": ("queries", "query", "topics", "questions"),
    "qrels": ("qrels", "qrel", "relevance", "judgements", "judgments", "default"),
}
"""What files, and folders of saved datasets, are called; `default` is the hub's name of the judgements."""
_SPLITS = ("test", "dev", "validation", "train", "")
"""Which judgements are taken where none are named; the first that are there."""
_SHOWN = 120


@dataclass(frozen=True)
class Tables:
    """The three tables as they were read.

    Attributes:
        queries: `id`, `text`, `line`, and `language`, `source`, `tags` where the source has them.
        corpus: `id`, `text`, `line`.
        qrels: `query_id`, `passage_id`, `relevance`.
        split: which judgements these are; "" where they have no name.
        notes: what was left out so far.
    """

    queries: pl.DataFrame
    corpus: pl.DataFrame
    qrels: pl.DataFrame
    split: str
    notes: tuple[str, ...] = ()


def is_judged(folder: Path) -> bool:
    """Whether a folder holds queries, passages and judgements in files or folders of their own."""
    return all(_places(folder, role) for role in _PLACES)


def read_folder(folder: Path, split: str | None = None, progress: Progress = silent) -> Tables:
    """Read a BEIR folder, one like MS MARCO's, or any with a file or saved dataset each.

    The files are told by the beginning of their names (`corpus.jsonl`, `collection.tsv`, `queries.dev.tsv`,
    `qrels/test.tsv`, `qrel.csv`, …); a folder saved by `datasets`, or of Parquet files, counts as a file.

    Args:
        folder: where they are.
        split: which judgements; None: test, dev, validation or train, the first that are there.
        progress: told of lines read.

    Raises:
        InputError: a file is missing or cannot be read, or a line of it cannot be used.
        UsageError: there are no judgements of that split.
    """
    for role, names in _PLACES.items():
        if not _places(folder, role):
            raise InputError(
                "The folder is no judged collection.",
                where=str(folder),
                why=f"there is no file for the {role}",
                remedy=f"name one of them {', '.join(names[:2])} (.jsonl, .tsv, .csv, .parquet)",
            )
    judged = dict(_judged_by_split(folder))
    chosen = choose_split(list(judged), split, str(folder))
    found = judged[chosen]
    if isinstance(found, Path):
        qrels = qrels_of(qrels_lines(found, progress), found.name)
    else:
        qrels = qrels_of(records_as_qrels(*found), found[1])
    queries = [read_texts(place, "queries", chosen, progress) for place in _of_split(folder, chosen)]
    corpus = [read_texts(place, "corpus", chosen, progress) for place in _places(folder, "corpus")]
    notes = () if len(judged) == 1 else (f"judgements of `{chosen}`; there: {', '.join(sorted(judged))}",)
    return Tables(pl.concat(queries, how="diagonal"), pl.concat(corpus), qrels, chosen, notes)


def choose_split(there: Sequence[str], asked: str | None, where: str) -> str:
    """The split to take: the one that was asked for, or the first of test, dev, validation and train.

    Raises:
        UsageError: there is no such split.
    """
    if asked is not None:
        same = [name for name in there if name == asked or split_of(name) == split_of(asked) is not None]
        if same:
            return asked if asked in there else same[0]
        raise UsageError(
            f"There are no judgements of the split {visible(asked)!r} in {where}.",
            remedy=f"there: {', '.join(visible(name) or 'one without a name' for name in sorted(there)) or 'none'}",
        )
    return next((name for name in _SPLITS if name in there), sorted(there)[0])


def assembled(tables: Tables, where: str) -> tuple[Judged, tuple[str, ...], pl.DataFrame]:
    """Fit the tables together, as TREC's tools take them.

    A query without any judgement is left out; one without a relevant passage stays, and counts 0. A judged passage
    that is not in the corpus stays among the judgements: if it is relevant no system can find it, and it counts.

    Args:
        tables: as they were read.
        where: for errors.

    Returns:
        The test, what a person should know, and the queries' attributes.

    Raises:
        InputError: an id has two texts, or no judgement is of a query that is there.
    """
    notes = list(tables.notes)
    queries, corpus = (
        _once(table, what, where, notes) for table, what in ((tables.queries, "query"), (tables.corpus, "passage"))
    )
    if corpus.is_empty():
        raise InputError("There is no passage to search.", where=where)
    qrels = tables.qrels
    known = qrels.filter(pl.col("query_id").is_in(queries["id"].implode()))
    if known.is_empty():
        such = ", ".join(visible(name, 40) for name in queries["id"].head(2))
        others = ", ".join(visible(name, 40) for name in qrels["query_id"].head(2))
        raise InputError(
            "No judgement is of a query that is there.",
            where=where,
            why=f"the queries' ids are such as {such or 'none'}; the judgements' are such as {others or 'none'}",
        )
    if known.height < qrels.height:
        notes.append(f"judgements of queries that are not there, which are left out: {qrels.height - known.height:,}")
    lost = known.join(corpus.select("id"), left_on="passage_id", right_on="id", how="anti")
    if lost.height:
        relevant = lost.filter(pl.col("relevance") > 0).height
        notes.append(
            f"judged passages outside the corpus: {lost.height:,}; relevant among them: {relevant:,}, which count, as "
            "in trec_eval, and which no system can find"
        )
    asked_for = queries.filter(pl.col("id").is_in(known["query_id"].implode()))
    if asked_for.height < queries.height:
        notes.append(f"queries without any judgement, which are left out: {queries.height - asked_for.height:,}")
    answered = known.filter(pl.col("relevance") > 0)["query_id"].n_unique()
    if answered < asked_for.height:
        notes.append(
            f"queries without a relevant passage, which count 0 for every system: {asked_for.height - answered:,}"
        )
    attributes = asked_for.drop("text", "line").rename({"id": "query_id"})
    made = Judged(asked_for.select(query_id="id", text="text"), corpus.select(passage_id="id", text="text"), known)
    return made, tuple(notes), attributes


def _once(table: pl.DataFrame, what: str, where: str, notes: list[str]) -> pl.DataFrame:
    """The lines that have a text, each id once."""
    empty = table.filter(pl.col("text").str.strip_chars() == "").height
    plural = "queries" if what == "query" else f"{what}s"
    if empty:
        notes.append(f"{plural} without text, which are left out: {empty:,}")
        table = table.filter(pl.col("text").str.strip_chars() != "")
    alone = table.unique(["id", "text"], keep="first", maintain_order=True)
    for bad in alone.filter(pl.col("id").is_duplicated()).head(1)["id"]:
        lines = alone.filter(pl.col("id") == bad)["line"]
        raise InputError(
            f"Two texts have the id of one {what}.",
            where=where,
            why=f"{what} {visible(bad, _SHOWN)} has one text in line {lines[0]} and another in line {lines[1]}",
            remedy="give each text an id of its own",
        )
    if alone.height < table.height:
        notes.append(f"{plural} that are there again, which count once: {table.height - alone.height:,}")
    return alone


def _places(folder: Path, role: str) -> list[Path]:
    """The files and folders of a role, those of the first name that there is."""
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for name in _PLACES[role]:
        found = [path for path in there if path.name.lower().split(".")[0] == name and _is_table(path)]
        if found:
            return found
    return []


def _is_table(path: Path) -> bool:
    if path.is_dir():
        return True
    return plain_suffix(path) in (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".arrow")


def _judged_by_split(folder: Path) -> Iterable[tuple[str, Path | tuple[Any, str]]]:
    return [found for place in _places(folder, "qrels") for found in _judgements(place)]


def _judgements(place: Path) -> Iterable[tuple[str, Path | tuple[Any, str]]]:
    """The judgements of a place, by split: a file, or (records, name) of a saved dataset."""
    if place.is_file():
        rest = place.name.split(".", 1)[1] if "." in place.name else ""
        return [(split_of(rest) or "", place)]
    files = [path for path in sorted(place.iterdir()) if path.is_file() and plain_suffix(path) in (".tsv", ".txt")]
    files = files or [path for path in sorted(place.iterdir()) if path.is_file() and plain_suffix(path) == ".jsonl"]
    if files:
        return [(split_of(path.name) or path.name.split(".")[0], path) for path in files]
    return [
        (split, ([record for part in parts for record in as_records(part.content)], parts[0].name))
        for split, parts in split_parts(place).items()
    ]


def _of_split(folder: Path, split: str) -> list[Path]:
    """The places of queries; of several files those named for the split, if there are any."""
    places = _places(folder, "queries")
    same = [path for path in places if split and split_of(path.name.partition(".")[2]) == split_of(split)]
    return same or places
