"""What a project knows of its tests: the splits of its kept rows, what slices go by, and the test that a run froze."""

from __future__ import annotations

import difflib
import json
import tomllib

import polars as pl

from studio.errors import ProjectError, UsageError
from studio.evaluation.sets import Judged
from studio.evaluation.text_tables import attributes_of
from studio.files import sha256_of
from studio.mining.collection import Collection
from studio.pairs.schema import UNREADABLE
from studio.project.curate import Curated
from studio.runs.folder import RunFolder
from studio.text.safe import visible


def kept_split(collection: Collection, asked: str) -> str:
    """A split that has kept rows.

    Raises:
        UsageError: this one has none; the nearest is suggested.
    """
    there = sorted(name for name in collection.rows["split"].unique() if name)
    if asked in there:
        return asked
    near = difflib.get_close_matches(asked.lower(), there, n=1)
    raise UsageError(
        f"No kept row of the project is of the split {visible(asked)!r}.",
        why=f"the splits are {', '.join(map(visible, there))}" if there else "no row has a split",
        remedy=f"did you mean `held-out:{visible(near[0])}`?" if near else "`held-out` alone takes the test split",
    )


def frozen(folder: RunFolder) -> tuple[Judged, str, pl.Series, tuple[str, ...]]:
    """A run's test, its split, the ids of the rows that trained, and what to know.

    Raises:
        ProjectError: a file of it is missing, or not what was frozen.
    """
    try:
        about = json.loads((folder.data / "data.json").read_text("utf-8"))
        names = ["queries.parquet", "corpus.parquet", "qrels.parquet"]
        for name in names:
            if sha256_of(folder.data / name) != about["files"][name]:
                raise ValueError(f"{name} is not what was frozen")
        judged = Judged(*(pl.read_parquet(folder.data / name, glob=False) for name in names))
        rows = [pl.read_parquet(path, glob=False)["row_id"] for path in sorted(folder.data.glob("rows-*.parquet"))]
        measured = tomllib.loads(folder.spec.read_text("utf-8")).get("evaluation", {})
        split, corpus = str(about["split"]), int(measured.get("corpus", 0))
    except UNREADABLE as error:
        raise ProjectError(
            "The frozen test of the run cannot be used.",
            where=str(folder.data),
            why=" ".join(str(error).split())[:300],
            remedy="restore it, or evaluate on `held-out`",
        ) from error
    trained = pl.concat(rows).drop_nulls().unique() if rows else pl.Series("row_id", [], pl.String)
    notes: tuple[str, ...] = ()
    if corpus and judged.corpus.height >= corpus:
        notes = (
            f"passages that the run's spec lets be searched: at most {corpus:,}; scores are higher than among all",
        )
    return judged, split, trained, notes


def attributes_of_rows(curated: Curated) -> pl.DataFrame:
    """What slices go by, of every row: what its columns say, and the file it came from."""
    rows = curated.rows.select("row_id", "source", "meta")
    known = [attributes_of(_object(meta)) for meta in rows["meta"]]
    files = rows["source"].str.replace(r":\d+$", "")
    return pl.DataFrame(
        {
            "query_id": rows["row_id"],
            "language": [item["language"] for item in known],
            "source": [item["source"] or file for item, file in zip(known, files, strict=True)],
            "tags": [item["tags"] for item in known],
        },
        schema_overrides={"language": pl.String, "tags": pl.List(pl.String)},
    )


def _object(meta: str | None) -> dict[str, object]:
    found = json.loads(meta) if meta else {}
    return {str(key).lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
