"""Queries or passages of one file, folder or part of a dataset: their ids, their texts, what slices go by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError
from studio.evaluation.trec import as_id, records, refuse, refuse_halves
from studio.pairs.build import Built
from studio.pairs.read import Part, as_records, parts_of
from studio.pairs.roles import NO_ROLES, Roles
from studio.pairs.streams import opened, plain_suffix
from studio.progress import Progress, silent
from studio.text.safe import visible

_IDS = {
    "queries": ("_id", "id", "query_id", "query-id", "qid", "topic_id"),
    "corpus": ("_id", "key", "id", "passage_id", "doc_id", "docid", "document_id", "docno", "pid", "corpus-id"),
}
_TEXTS = {
    "queries": ("text", "query", "question", "title"),
    "corpus": ("text", "passage", "contents", "content", "body", "document", "enunciado"),
}
_ATTRIBUTES = {
    "language": ("language", "lang"),
    "source": ("source", "dataset", "domain", "field"),
    "tags": ("tags", "tag"),
}
_SHOWN = 120


def read_texts(place: Path, role: str, split: str, progress: Progress = silent) -> pl.DataFrame:
    """Read queries or passages: `id`, `text`, `line`, and attributes of queries.

    Args:
        place: a file, a folder saved by `datasets`, or a folder of such files.
        role: `queries` or `corpus`.
        split: taken where the place has several.
        progress: told of lines read.

    Raises:
        InputError: it cannot be read, or no id or no text can be told.
    """
    if place.is_file() and plain_suffix(place) in (".tsv", ".txt"):
        return _tab_separated(place, role, progress)
    if place.is_file():
        return texts_of(Part(place.name, None, records(place, progress)), role)
    by_split = split_parts(place, progress)
    chosen = split if split in by_split else next(iter(by_split))
    if chosen != split and len(by_split) > 1:
        raise InputError(
            f"It cannot be told which {role} belong to the judgements of `{split}`.",
            where=str(place),
            why=f"it has the splits {', '.join(sorted(by_split))}",
        )
    return pl.concat([texts_of(part, role) for part in by_split[chosen]], how="diagonal")


def split_parts(place: Path, progress: Progress = silent, roles: Roles = NO_ROLES) -> dict[str, list[Part]]:
    """The parts of a folder that `datasets` saved, or of plain files, by split; "" where there is none.

    Args:
        place: the folder.
        progress: told of lines read.
        roles: columns named by hand; they tell a file's line of names.

    Raises:
        InputError: it, or a line of it, cannot be read.
    """
    built = Built()
    _, parts = parts_of(place, place.name, roles, built, [], progress)
    by_split: dict[str, list[Part]] = {}
    for part in parts:
        by_split.setdefault(part.split or "", []).append(part)
    refuse(built)
    for part in (part for several in by_split.values() for part in several):
        if not isinstance(part.content, pl.DataFrame):
            refuse_halves(part.content, part.name)
    return by_split


def texts_of(part: Part, role: str) -> pl.DataFrame:
    """The id, the text (its title before it, as BEIR has it) and the attributes of a part's records."""
    lines, ids, texts = [], [], []
    known: dict[str, list[Any]] = {name: [] for name in _ATTRIBUTES}
    columns: dict[str, str] = {}
    for line, record in as_records(part.content):
        if not isinstance(record, dict):
            raise InputError("A line cannot be used.", where=f"{part.name}:{line}", why="it is no object with columns")
        lower = {str(key).lower(): value for key, value in record.items()}
        columns = columns or _columns(lower, role, f"{part.name}:{line}")
        name, text, title = lower.get(columns["id"]), lower.get(columns["text"]), lower.get("title")
        if name is None:
            raise InputError(
                "A line cannot be used.", where=f"{part.name}:{line}", why=f"it has no id (`{columns['id']}`)"
            )
        text = text if isinstance(text, str) else ""
        titled = columns["text"] != "title" and isinstance(title, str) and title
        lines.append(line)
        ids.append(as_id(name))
        texts.append(f"{title} {text}".strip() if titled else text)
        for attribute, value in attributes_of(lower).items():
            known[attribute].append(value)
    table = pl.DataFrame({"id": ids, "text": texts, "line": lines}, schema=_TEXT_SCHEMA)
    if role == "corpus":
        return table
    return table.with_columns(
        pl.Series("language", known["language"], pl.String),
        pl.Series("source", known["source"], pl.String),
        pl.Series("tags", known["tags"], pl.List(pl.String)),
    )


def attributes_of(record: dict[str, Any]) -> dict[str, Any]:
    """The language, the source and the tags of a record with column names in lower case; None, or no tags: unknown."""
    found: dict[str, Any] = {}
    for attribute, names in _ATTRIBUTES.items():
        value = next((record[name] for name in names if record.get(name) is not None), None)
        if attribute == "tags":
            values = value if isinstance(value, list) else [value]
            found[attribute] = [tag for tag in values if isinstance(tag, str) and tag]
        else:
            found[attribute] = value if isinstance(value, str) and value else None
    return found


_TEXT_SCHEMA = pl.Schema({"id": pl.String(), "text": pl.String(), "line": pl.Int64()})


def _tab_separated(path: Path, role: str, progress: Progress) -> pl.DataFrame:
    """Id, tab, text, as MS MARCO writes them; quotes are part of the text. A first line of names is passed over."""
    lines, ids, texts = [], [], []
    columns: list[int] | None = None
    with opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            if number % 100_000 == 0:
                progress(f"read {path.name}", number, None)
            try:
                cells = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                raise InputError(
                    "A line cannot be used.", where=f"{path.name}:{number}", why=f"not UTF-8 (byte {error.start + 1})"
                ) from error
            if number == 1 and cells[0].lower() in _IDS[role]:
                names = {cell.lower(): place for place, cell in enumerate(cells)}
                told = _columns(names, role, f"{path.name}:1")
                columns = [names[told["id"]], names[told["text"]]]
                continue
            if cells == [""]:
                continue
            try:
                chosen = [cells[place] for place in columns] if columns else [cells[0], "\t".join(cells[1:])]
            except IndexError:
                chosen = [""]
            if not chosen[0] or len(cells) < 2:
                raise InputError(
                    "A line cannot be used.",
                    where=f"{path.name}:{number}",
                    why=f"it is not an id, a tab and a text: {visible(' '.join(cells), _SHOWN)}",
                )
            lines.append(number)
            ids.append(chosen[0])
            texts.append(chosen[1])
    return pl.DataFrame({"id": ids, "text": texts, "line": lines}, schema=_TEXT_SCHEMA)


def _columns(record: dict[str, Any], role: str, where: str) -> dict[str, str]:
    """The columns of the id and the text."""
    found = {}
    for what, names in (("id", _IDS[role]), ("text", _TEXTS[role])):
        column = next((name for name in names if name in record), None)
        if column is None:
            raise InputError(
                f"No column can be told to be the {what} of the {role}.",
                where=where,
                why=f"the columns are {', '.join(map(visible, record)) or 'none'}",
                remedy=f"name it {' or '.join(names[:2])}",
            )
        found[what] = column
    return found
