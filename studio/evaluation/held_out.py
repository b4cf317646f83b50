"""What a run is measured on: held-out queries, the passages that answer them, and others to search among."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from studio.errors import ProjectError
from studio.evaluation.sets import Judged
from studio.mining.collection import Collection
from studio.mining.relations import judged as judged_pairs
from studio.project.curate import Curated
from studio.project.ledger import Action
from studio.project.project import Project
from studio.project.verdicts import State

_LINE = ["query", "passage"]
_GRADE = r"^[1-9][0-9]{0,3}(\.0+)?$"
_POSITIVE_LABEL = r"^(?i)(1|1\.0+|true|yes)$"
_NAMED = "to evaluate as the set `held-out:SPLIT`, to train in the spec's `evaluation.splits`"
_QUERIES, _CORPUS = 1, 2
"""Told apart in the seeds, so that the one drawing does not depend on the other."""


class Drawing(NamedTuple):
    """Which held-out rows are measured, and how many.

    Attributes:
        splits: the first of these that has kept rows is taken.
        queries: at most that many, drawn by seed; 0: all.
        corpus: at most that many passages: all that answer, filled up from the project's others; 0: all.
        seed: for the drawing.
    """

    splits: tuple[str, ...] = ("validation", "valid", "dev", "test", "eval", "evaluation")
    queries: int = 0
    corpus: int = 0
    seed: int = 0


def held_out(
    project: Project, curated: Curated, collection: Collection, drawing: Drawing
) -> tuple[Judged, str, tuple[str, ...]]:
    """Make the test of a project's evaluation split, which is the first of `drawing.splits` that has kept rows.

    A query's passages are the positives of all kept rows that have it (texts equal at L2 are one text, in whatever
    split), those that were judged to answer it too, and those of rows that a person put in one answer group with it.
    What answers in part is not among them. A relevance above 1 comes from the `relevance` of an imported collection of
    judgements. The positive of a row with a label counts when the label is 1; that of a row with a score when
    the score is at least half the highest.

    Args:
        project: for its ledger.
        curated: the outcomes.
        collection: made of them.
        drawing: which splits, how many queries and passages; ids and texts keep the order of the rows.

    Returns:
        The test, the split's name, and what a person should know.

    Raises:
        ProjectError: no row is held out, or no passage answers a held-out query.
    """
    there = collection.rows["split"].unique().to_list()
    split = next((name for name in drawing.splits if name in there), None)
    if split is None:
        known = ", ".join(sorted(f"`{name}`" for name in there if name)) or "none"
        raise ProjectError(
            "No row is held out, so a model cannot be measured.",
            where=str(project.root),
            why=f"none of the splits {', '.join(drawing.splits)} has rows; there: {known}",
            remedy=f"run `harrier-studio split --project {project.root}`, or name another split: {_NAMED}",
        )
    asked = collection.rows.filter(pl.col("split") == split)["query"].unique().sort()
    answers = _answers(project, curated, collection)
    judged = asked.filter(asked.is_in(answers["query"].implode()))
    if judged.is_empty():
        raise ProjectError(
            "No passage answers a held-out query, so a model cannot be measured.",
            where=str(project.root),
            why=f"all rows of the split `{split}` have a label or a score that says so",
            remedy=f"hold out rows whose passages answer, or name another split: {_NAMED}",
        )
    notes = []
    if judged.len() < asked.len():
        notes.append(f"held-out queries that no passage answers, which are left out: {asked.len() - judged.len():,}")
    chosen = _drawn(judged, drawing.queries, (drawing.seed, _QUERIES))
    if chosen.len() < judged.len():
        notes.append(f"held-out queries drawn by seed: {chosen.len():,} of {judged.len():,}")
    qrels = answers.filter(pl.col("query").is_in(chosen.implode())).sort(*_LINE)
    corpus = _corpus(collection, qrels["passage"].unique(), drawing.corpus, drawing.seed)
    whole = collection.passages.height
    if corpus.len() < whole:
        notes.append(f"passages drawn by seed: {corpus.len():,} of {whole:,}; scores are higher than among all")
    return Judged(*_tables(collection, chosen, corpus, qrels)), split, tuple(notes)


def _answers(project: Project, curated: Curated, collection: Collection) -> pl.DataFrame:
    """Every query and passage that answers it: `query`, `passage` (numbers), `relevance`, each pair once."""
    told = judged_pairs(collection, project.ledger.log(), project.ledger.targets(), curated)
    also = told.filter(pl.col("state") == State.ALSO_ANSWERS.value).select(_LINE)
    also = pl.concat([also, _grouped(project, collection)]).with_columns(relevance=pl.lit(1.0))
    pairs = pl.concat([_own(curated, collection), also])
    denied = told.filter(pl.col("direct") & (pl.col("state") == State.DOES_NOT.value))
    pairs = pairs.join(denied, on=_LINE, how="anti", maintain_order="left")
    return pairs.group_by(_LINE, maintain_order=True).agg(pl.col("relevance").max())


def _own(curated: Curated, collection: Collection) -> pl.DataFrame:
    """The positives of the rows themselves."""
    rows = collection.rows.select("row_id", *_LINE).join(
        curated.rows.select("row_id", "label", "score", "meta"), on="row_id", maintain_order="left"
    )
    grade = pl.col("meta").str.json_path_match("$.relevance")
    highest = pl.col("score").filter(pl.col("label").is_null()).max()
    answers = (
        pl.when(pl.col("label").is_not_null())
        .then(pl.col("label").str.contains(_POSITIVE_LABEL))
        .when(pl.col("score").is_not_null())
        .then((pl.col("score") > 0) & (pl.col("score") >= highest / 2))
        .otherwise(pl.lit(value=True))
    )
    graded = pl.when(grade.str.contains(_GRADE)).then(grade.cast(pl.Float64, strict=False)).otherwise(pl.lit(1.0))
    return rows.filter(answers).select(*_LINE, graded.alias("relevance"))


def _grouped(project: Project, collection: Collection) -> pl.DataFrame:
    """The queries and passages of rows that a person put in one answer group by name."""
    seqs = [
        decision.seq for decision in project.ledger.active() if decision.action is Action.GROUP and decision.by_person
    ]
    named = project.ledger.targets(seqs).unique("row_id", keep="last", maintain_order=True).select("row_id", "value")
    rows = collection.rows.select("row_id", *_LINE).join(named, on="row_id", maintain_order="left")
    return (
        rows.select("query", "value")
        .join(rows.select("passage", "value"), on="value")
        .select(_LINE)
        .unique(maintain_order=True)
    )


def _corpus(collection: Collection, relevant: pl.Series, most: int, seed: int) -> pl.Series:
    """The numbers of the passages to search: all that are relevant, then others until there are `most`."""
    numbers = collection.passages["number"]
    if not most or numbers.len() <= most:
        return numbers
    others = numbers.filter(~numbers.is_in(relevant.implode()))
    filled = _drawn(others, max(0, most - relevant.len()), (seed, _CORPUS), none=relevant.len() >= most)
    return pl.concat([relevant, filled]).sort()


def _drawn(numbers: pl.Series, most: int, seed: tuple[int, ...], *, none: bool = False) -> pl.Series:
    """At most `most` of the numbers (0: all of them), in their order."""
    if none:
        return numbers.clear()
    if not most or numbers.len() <= most:
        return numbers
    picks = np.random.default_rng(seed).choice(numbers.len(), most, replace=False)
    return numbers.gather(np.sort(picks))


def _tables(
    collection: Collection, queries: pl.Series, corpus: pl.Series, qrels: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    asked = collection.queries.select("number", pl.col("row_id").alias("query_id"), "text")
    found = collection.passages.select("number", pl.col("row_id").alias("passage_id"), "text")
    ids = qrels.select(
        asked["query_id"].gather(qrels["query"]), found["passage_id"].gather(qrels["passage"]), "relevance"
    )
    return asked[queries].drop("number"), found[corpus].drop("number"), ids
