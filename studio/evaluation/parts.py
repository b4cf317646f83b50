"""The parts of a stored evaluation: the frozen set, and each system's result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.requests import FORMAT, SYSTEM, damaged, read_json, write_json
from studio.evaluation.results import F64, Operations, Ranking, SystemResult
from studio.evaluation.sets import About, EvaluationSet, Judged, RetrievalSet, SetKind, SimilaritySet, TripletSet
from studio.evaluation.systems import SystemClass
from studio.files import atomic_directory

_ABOUT, _VALUES, _INDICES, _SCORES = "about.json", "values.parquet", "indices.npy", "scores.npy"


def save_set(folder: EvaluationFolder, evaluated: EvaluationSet) -> None:
    """Freeze the set."""
    with atomic_directory(folder.data) as beside:
        for name, table in _tables(evaluated).items():
            table.write_parquet(beside / f"{name}.parquet", compression="zstd")
        known = {"kind": evaluated.kind.value, "size": evaluated.size, "identity": evaluated.identity}
        write_json(beside / _ABOUT, {"format": FORMAT, **known, "about": asdict(evaluated.about)})


def load_set(folder: EvaluationFolder) -> EvaluationSet:
    """Read the frozen set.

    Raises:
        InputError: it is missing or damaged.
    """
    said = read_json(folder.data / _ABOUT)
    try:
        about = About(**{**said["about"], "notes": tuple(said["about"]["notes"])})
        kind = SetKind(said["kind"])
        if kind is SetKind.SIMILARITY:
            return SimilaritySet(_table(folder, "pairs"), about)
        if kind is SetKind.TRIPLETS:
            return TripletSet(_table(folder, "triplets"), about)
        judged = Judged(_table(folder, "queries"), _table(folder, "corpus"), _table(folder, "qrels"))
        # The corpus was in its order when it was frozen.
        return RetrievalSet(judged, about, _table(folder, "attributes"), _table(folder, "leaked"))
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise damaged(folder.data, error) from error


def set_is_frozen(folder: EvaluationFolder) -> bool:
    """Whether the set is on disk, whole."""
    return (folder.data / _ABOUT).exists()


def set_identity(folder: EvaluationFolder) -> str:
    """The identity of the frozen set, without reading its texts.

    Raises:
        InputError: it is missing or damaged.
    """
    return str(read_json(folder.data / _ABOUT).get("identity", ""))


def save_system(folder: EvaluationFolder, place: int, result: SystemResult) -> None:
    """Write a system's result whole, at its place in the request."""
    with atomic_directory(_system_folder(folder, place)) as beside:
        if result.values:
            pl.DataFrame({name: values.astype(np.float64) for name, values in result.values.items()}).write_parquet(
                beside / _VALUES, compression="zstd"
            )
        if result.ranking is not None:
            np.save(beside / _INDICES, result.ranking.indices)
            np.save(beside / _SCORES, result.ranking.scores)
        write_json(
            beside / _ABOUT,
            {
                "format": FORMAT,
                "name": result.name,
                "system": result.system.model_dump(mode="json") if result.system else None,
                "of_class": result.of_class.value,
                "overall": result.overall,
                "described": result.described,
                "operations": result.operations._asdict() if result.operations else None,
                "notes": result.notes,
                "error": result.error,
            },
        )


def load_system(folder: EvaluationFolder, place: int) -> SystemResult | None:
    """Read a system's result; None: it has none yet.

    Raises:
        InputError: it is damaged.
    """
    own = _system_folder(folder, place)
    if not own.exists():
        return None
    said = read_json(own / _ABOUT)
    try:
        values: dict[str, F64] = {}
        if (own / _VALUES).exists():
            values = {column.name: column.to_numpy() for column in pl.read_parquet(own / _VALUES)}
        ranking = None
        if (own / _INDICES).exists():
            ranking = Ranking(np.load(own / _INDICES), np.load(own / _SCORES))
        return SystemResult(
            said["name"],
            None if said["system"] is None else SYSTEM.validate_python(said["system"]),
            SystemClass(said["of_class"]),
            values,
            {name: float("nan") if value is None else float(value) for name, value in said["overall"].items()},
            ranking,
            _operations(said["operations"]),
            said["described"],
            tuple(said["notes"]),
            said["error"],
        )
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise damaged(own, error) from error


def _tables(evaluated: EvaluationSet) -> dict[str, pl.DataFrame]:
    if isinstance(evaluated, SimilaritySet):
        return {"pairs": evaluated.pairs}
    if isinstance(evaluated, TripletSet):
        return {"triplets": evaluated.triplets}
    return {**evaluated.judged._asdict(), "attributes": evaluated.attributes, "leaked": evaluated.leaked}


def _table(folder: EvaluationFolder, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder.data / f"{name}.parquet")


def _system_folder(folder: EvaluationFolder, place: int) -> Path:
    return folder.systems / f"{place:03d}"


def _operations(said: Mapping[str, Any] | None) -> Operations | None:
    if said is None:
        return None
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    # JSON has no word for a number that is none; of these fields only the dimension may be unknown.
    known.update({key: math.nan for key, value in known.items() if value is None and key != "dimension"})
    return Operations(**known)
