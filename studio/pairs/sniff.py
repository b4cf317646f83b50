"""What a source looks like from its first rows: columns, samples, roles, and the pairs it would become."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from studio.errors import InputError
from studio.pairs.build import Built
from studio.pairs.folders import judged_collection
from studio.pairs.read import Part, as_records, build, from_tuple, parts_of, samples_of
from studio.pairs.roles import NO_ROLES, Roles, detect, tuple_column
from studio.pairs.schema import UNREADABLE
from studio.pairs.streams import plain_suffix
from studio.progress import silent
from studio.text.safe import visible

HEAD_ROWS = 200
"""Rows that are looked at."""
SAMPLES = 5
SAMPLE_CHARACTERS = 200
NONE = ""
"""As a role: no column plays it, whatever the names say."""
_READ_AT_ONCE = 256 << 20
"""Bytes of a judged collection above which it is not read for a look: none of its parts can be read alone."""
_JUDGED: dict[str, Any] = {"query": "", "positive": "", "negatives": [""], "query_id": "", "passage_id": ""}
_TEXTS = ("query", "positive", "negatives")


@dataclass(frozen=True)
class Column:
    """A column, what it holds in words, and some of its values as text."""

    name: str
    kind: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FirstPair:
    """A row as it would be imported."""

    query: str
    positive: str
    negatives: tuple[str, ...]
    score: float | None
    label: str | None
    group: str | None
    split: str | None


@dataclass(frozen=True)
class Preview:
    """The first pairs under some roles; `refused` of the `read` rows cannot be pairs, `why` says it of the first."""

    pairs: tuple[FirstPair, ...]
    roles: Roles
    meta: tuple[str, ...]
    read: int
    refused: int
    why: str


@dataclass(frozen=True)
class Sniffed:
    """A source by its head.

    Attributes:
        source: the first source.
        format: its format's name.
        bytes: its size; of a folder, that of all its files.
        rows: how many it has, where that costs nothing to know.
        columns: in source order.
        roles: what their names tell; not all may be there.
        problem: why no query or positive can be told, "" when they can.
        tuples: the column whose lists are query, positive and negatives, if the source is made so.
        head: the rows looked at.
    """

    source: str
    format: str
    bytes: int
    rows: int | None
    columns: tuple[Column, ...]
    roles: Roles
    problem: str
    tuples: str | None
    head: Part

    def asked(self, chosen: Roles) -> Roles:
        """What to name by hand so that an import comes to `chosen`: nothing when detection does."""
        if chosen == self.roles:
            return NO_ROLES
        asked = replace(chosen, query=None, positive=None, negatives=()) if self.tuples else chosen
        try:
            found = detect(self._samples(), chosen, self.source)
        except InputError:
            return asked
        added = [name for name, value in vars(found).items() if value and not getattr(chosen, name)]
        none: dict[str, Any] = {name: (NONE,) if name == "negatives" else NONE for name in added}
        return replace(asked, **none)

    def preview(self, chosen: Roles, count: int = 3) -> Preview:
        """The first pairs that an import with these roles would make.

        Raises:
            InputError: there would be no query or no positive.
        """
        asked = self.asked(chosen)
        # Detection is told the outcome here too, so that the person sees what it adds.
        roles = detect(self._samples(), replace(chosen, **_nones(asked)), self.source)
        built = Built()
        build(self.head, asked, self.source, built, silent)
        rows = pl.concat(built.frames).head(count) if built.frames else pl.DataFrame()
        pairs = tuple(
            FirstPair(**{**row, "negatives": tuple(row["negatives"])})
            for row in rows.select(field.name for field in fields(FirstPair)).iter_rows(named=True)
        )
        first = built.rejects[0] if built.rejects else None
        return Preview(
            pairs,
            roles,
            tuple(column.name for column in self.columns if column.name not in roles.columns),
            len(self.head.content),
            len(built.rejects),
            f"line {first.line}: {first.reason} {first.detail}".strip() if first else "",
        )

    def _samples(self) -> dict[str, Any]:
        return _head_samples(self.head, self.tuples)


def _nones(roles: Roles) -> dict[str, Any]:
    return {name: value for name, value in vars(roles).items() if value in (NONE, (NONE,))}


def sniff(sources: Sequence[str | Path]) -> Sniffed:
    """Look at the head of the first source.

    A source whose columns tell no query or no positive is no error here: `problem` says so.

    Raises:
        InputError: there is no such file or folder, it is damaged, of no known format, or holds no row.
    """
    path = Path(sources[0])
    if not os.path.exists(path):  # which, unlike the path's own method, takes every name
        # Only a hub dataset can be read without being here, and a look must not wait for the network.
        raise InputError(
            "There is no such file or folder.",
            where=visible(str(path), 200),
            remedy="check the path; a dataset of the hub is read by: harrier-studio import ORG/NAME --project DIR",
        )
    size = _size(path)
    built = Built()
    if path.is_dir() and size > _READ_AT_ONCE and judged_collection(path):
        fmt, head, count = "judged collection", Part(path.name, None, []), None
        samples, records = _JUDGED, []
    else:
        fmt, parts = parts_of(path, path.name, NO_ROLES, built, [], silent, limit=HEAD_ROWS)
        whole = next(parts, Part(path.name, None, []))
        count = _count(path, fmt, whole, len(built.rejects))
        head = replace(whole, content=whole.content[:HEAD_ROWS])
        samples = samples_of(head.content)
        records = [record for _, record in as_records(head.content)]
    if not samples:
        first = f"; the first: line {built.rejects[0].line} {built.rejects[0].reason}" if built.rejects else ""
        raise InputError(
            "The source holds no row with columns.",
            where=str(path),
            why=f"{len(built.rejects):,} of its first lines cannot be read{first}" if first else "it is empty",
            remedy="choose a file with one query and one passage a row",
        )
    tuples = tuple_column(samples)
    if tuples:
        records = [from_tuple(record, tuples) for record in records]
        samples = _head_samples(head, tuples)
    roles, problem = _detected(samples, str(path))
    columns = tuple(_column(name, records) for name in samples)
    return Sniffed(str(path), fmt, size, count, columns, roles, problem, tuples, head)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    try:
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:
        return 0


def _count(path: Path, fmt: str, head: Part, refused: int) -> int | None:
    """The rows of one file: its head is all there is, or its format says how many there are."""
    if not path.is_file():
        return None
    if len(head.content) != HEAD_ROWS:
        # Fewer: it ended. More: a JSON document, which cannot be read in part.
        return len(head.content) + refused
    if fmt == "parquet" and plain_suffix(path) == path.suffix.lower():
        try:
            return int(pq.read_metadata(path).num_rows)
        except UNREADABLE:
            return None
    return None


def _head_samples(head: Part, tuples: str | None) -> dict[str, Any]:
    samples = samples_of(head.content) if len(head.content) else dict(_JUDGED)
    if tuples is None:
        return samples
    rest = {name: value for name, value in samples.items() if name != tuples}
    return {"query": "", "positive": "", "negatives": [""], **rest}


def _detected(samples: Mapping[str, Any], where: str) -> tuple[Roles, str]:
    """The roles by name; where query or positive are missing, those that are there and the reason."""
    try:
        return detect(samples, NO_ROLES, where), ""
    except InputError as error:
        problem = error.what
    # Whatever is missing is given a name no column has, so that the others are still told.
    for missing in (("query",), ("positive",), ("query", "positive")):
        given: dict[str, Any] = {role: f"\0{role}" for role in missing}
        try:
            found = detect({**samples, **dict.fromkeys(given.values(), "")}, replace(NO_ROLES, **given), where)
        except InputError:
            continue
        taken: dict[str, Any] = dict.fromkeys(missing)
        return replace(found, **taken), problem
    return NO_ROLES, problem


def _column(name: str, records: Sequence[Any]) -> Column:
    values = [record[name] for record in records if isinstance(record, dict) and record.get(name) is not None]
    kinds = dict.fromkeys(_kind(value) for value in values)
    distinct = dict.fromkeys(_shown(value) for value in itertools.islice(values, SAMPLES * 4))
    return Column(name, " or ".join(kinds) or "empty", tuple(itertools.islice(distinct, SAMPLES)))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "yes/no"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        kinds = {_kind(item) for item in value}
        return "list of texts" if kinds <= {"text"} else "list of records" if kinds == {"record"} else "list"
    return "record" if isinstance(value, dict) else "other"


def _shown(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = "…"
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"
