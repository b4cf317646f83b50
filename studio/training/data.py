"""The data of a run, frozen: what trains, what is evaluated, what must not meet in a batch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from studio.errors import ProjectError
from studio.evaluation.held_out import Drawing, held_out
from studio.evaluation.sets import Judged
from studio.files import explained, sha256_of, write_text
from studio.mining.collection import Collection
from studio.mining.conflicts import Conflicts
from studio.mining.exposing import conflicts_of
from studio.pairs.schema import UNREADABLE
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.training.rows import Held, PartRows, as_imported, check_views, rows_of
from studio.training.spec import RunSpec, Shape

ABOUT = "data.json"
_FORMAT = 1
_JUDGED = ("queries", "corpus", "qrels")
_CONFLICTS = ("conflicts-texts", "conflicts-edges")


class PreparedSet(NamedTuple):
    """One dataset: its columns are what the loss takes, in order. `left_out`: rows that do not train, by reason."""

    name: str
    shape: Shape
    columns: tuple[str, ...]
    rows: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class Prepared:
    """Frozen data on disk.

    Attributes:
        root: the folder.
        datasets: what trains, in the order of the spec.
        queries: how many are evaluated.
        passages: how many they are searched among.
        split: what is evaluated.
        hash: sha256 over the contents of all files, in hex.
        notes: what a person should know.
    """

    root: Path
    datasets: tuple[PreparedSet, ...]
    queries: int
    passages: int
    split: str
    hash: str
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Training rows of all datasets."""
        return sum(part.rows for part in self.datasets)


def prepare(project: Project, spec: RunSpec, out: Path, progress: Progress = silent) -> Prepared:
    """Freeze the data that a spec asks for. Same project, same spec: same bytes.

    For each dataset `train-NAME.parquet` has the columns of its shape and nothing else, and `rows-NAME.parquet` the
    `row_id` of each line (null where a line is of no row of the project). `queries`, `corpus` and `qrels` are the test
    (`held_out`), `conflicts-texts` and `conflicts-edges` the conflicts for the sampler; `data.json` tells of all of it
    and is written last.

    Only rows of no protected, evaluated or leaked split train, and none whose query is in a protected or evaluated
    split, equal at L2.

    Args:
        project: whose rows train and test.
        spec: which, and for which loss.
        out: a folder; made if it is not there.
        progress: told of each step; may stop it.

    Raises:
        ProjectError: no row is held out, or none is left to train with.
        ConfigError: a dataset has no hard negatives, or no rows of the kind that is asked for.
        InputError: a file or a folder of mined negatives cannot be used.
        UnavailableError: `out` cannot be written.
    """
    steps = iter(range(1, len(spec.data) + 4))
    total = len(spec.data) + 3

    def step() -> None:
        progress("freeze the data", next(steps), total)

    progress("freeze the data", 0, total)
    check_views(spec)
    curated = project.curated()
    collection = Collection.of(project, curated)
    measured = spec.evaluation
    drawing = Drawing(measured.splits, measured.queries, measured.corpus, spec.seed)
    judged, split, notes = held_out(project, curated, collection, drawing)
    step()
    held = Held.of(project, curated, collection, spec.evaluation.splits)
    parts: list[tuple[PreparedSet, PartRows]] = []
    for part in spec.data:
        found = rows_of(part, (part.loss or spec.loss).name, held, spec.rows)
        columns = tuple(found.frame.columns)
        parts.append((PreparedSet(part.name, found.shape, columns, found.frame.height, found.left_out), found))
        notes += found.notes
        step()
    imported = any(part.kind == "project" and part.view == "imported" for part in spec.data)
    together = conflicts_of(
        project, as_imported(project, curated) if imported else curated, undecided=spec.sampler.undecided
    )
    step()
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        for table, name in zip((*judged, together.groups, together.edges), (*_JUDGED, *_CONFLICTS), strict=True):
            table.write_parquet(out / f"{name}.parquet")
        for made, found in parts:
            found.frame.write_parquet(_train_file(out, made.name))
            found.row_ids.to_frame("row_id").write_parquet(out / f"rows-{made.name}.parquet")
    about = {
        "format": _FORMAT,
        "datasets": [made._asdict() for made, _ in parts],
        "queries": judged.queries.height,
        "passages": judged.corpus.height,
        "split": split,
        "notes": list(notes),
        "files": {name: sha256_of(out / name) for name in _files([made.name for made, _ in parts])},
    }
    write_text(out / ABOUT, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    step()
    return _prepared(out, about)


def load_prepared(path: Path) -> Prepared:
    """Read what `prepare` wrote, and check that no file of it was changed.

    Raises:
        ProjectError: it is missing, damaged or changed.
    """
    try:
        about = json.loads((path / ABOUT).read_text("utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']} is not known here")
        prepared = _prepared(path, about)
        changed = [name for name, digest in about["files"].items() if sha256_of(path / name) != digest]
    except UNREADABLE as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    if changed:
        raise _damaged(path / changed[0], "it is not what was frozen")
    return prepared


def train_frame(prepared: Prepared, name: str) -> pl.DataFrame:
    """The columns that a dataset's loss takes, in order.

    Raises:
        ProjectError: the file cannot be read.
    """
    return _read(_train_file(prepared.root, name))


def train_rows(prepared: Prepared, name: str) -> pl.Series:
    """The `row_id` of each line of a dataset; null: of no row of the project.

    Raises:
        ProjectError: the file cannot be read.
    """
    return _read(prepared.root / f"rows-{name}.parquet")["row_id"]


def judged(prepared: Prepared) -> Judged:
    """The retrieval test.

    Raises:
        ProjectError: a file cannot be read.
    """
    return Judged(*(_read(prepared.root / f"{name}.parquet") for name in _JUDGED))


def conflicts(prepared: Prepared) -> Conflicts:
    """The texts that must not meet in one batch.

    Raises:
        ProjectError: a file cannot be read.
    """
    return Conflicts(*(_read(prepared.root / f"{name}.parquet") for name in _CONFLICTS))


def _prepared(root: Path, about: dict[str, Any]) -> Prepared:
    datasets = tuple(
        PreparedSet(part["name"], Shape(part["shape"]), tuple(part["columns"]), part["rows"], part["left_out"])
        for part in about["datasets"]
    )
    whole = hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in about["files"].items()).encode())
    return Prepared(
        root,
        datasets,
        about["queries"],
        about["passages"],
        about["split"],
        whole.hexdigest(),
        tuple(about["notes"]),
    )


def _files(datasets: list[str]) -> list[str]:
    names = [*_JUDGED, *_CONFLICTS, *(f"{kind}-{name}" for name in datasets for kind in ("train", "rows"))]
    return sorted(f"{name}.parquet" for name in names)


def _train_file(root: Path, name: str) -> Path:
    return root / f"train-{name}.parquet"


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, glob=False)
    except UNREADABLE as error:
        raise _damaged(path, " ".join(str(error).split())) from error


def _damaged(path: Path, why: str) -> ProjectError:
    return ProjectError(
        "The frozen data of the run cannot be used.",
        where=str(path),
        why=why,
        remedy="restore it, or start the run again under another name",
    )
