"""Split a project's rows so that no answer group stands on two sides: group-disjoint, stratified, seeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from studio.errors import ProjectError, UsageError
from studio.progress import Progress, silent
from studio.project.curate import Status
from studio.project.evidence import Band
from studio.project.groups import components, first_of, joined_by, joined_by_edges
from studio.project.ledger import Action, Target
from studio.project.project import SPLIT_ACTOR, Project
from studio.text.equal import equal_at
from studio.text.language import languages_of
from studio.text.normalise import Level

TRAIN = "train"
_LANGUAGE_CHARACTERS = 200
_LANGUAGE_SAMPLE = 200_000
_CERTAIN = {"near_queries": (Band.AUTO,), "near_duplicates": (Band.AUTO,), "containment": (Band.AUTO, Band.REVIEW)}
_STRICT = dict.fromkeys(_CERTAIN, (Band.AUTO, Band.REVIEW))


@dataclass(frozen=True)
class Split:
    """Which row goes where.

    `rows`: `row_id, split, group, stratum` of every kept row that was free to go anywhere; `strata`: rows by `stratum`
    and split; `largest_group`: rows of the largest group.
    """

    rows: pl.DataFrame
    strata: pl.DataFrame
    largest_group: int

    def counts(self) -> list[tuple[str, int, int]]:
        """Split, rows and groups, largest split first."""
        counts = self.rows.group_by("split").agg(pl.len().alias("rows"), pl.col("group").n_unique().alias("groups"))
        return list(counts.sort("rows", "split", descending=[True, False]).iter_rows())


def split_project(
    project: Project, shares: Mapping[str, float], seed: int, *, strict: bool = False, progress: Progress = silent
) -> Split:
    """Assign the kept rows that are in no protected split to `shares` and the rest to `train`; append it to the ledger.

    Rows joined by an equal query or passage, a near-duplicate of either, containment, or a common source stay on one
    side. An earlier split is replaced. The caller holds the project's lock.

    Args:
        shares: share of the free rows by name of split, such as {"test": 0.1}.
        strict: also keep together what near_queries and near_duplicates have for review.

    Raises:
        UsageError: the shares are not between 0 and 1, or leave nothing to train on.
        ProjectError: the checks whose evidence is needed have not run.
    """
    if not shares or min(shares.values()) <= 0 or sum(shares.values()) >= 1 or TRAIN in shares:
        raise UsageError(
            "These shares cannot be split off.",
            why=f"{dict(shares)}",
            remedy="give shares over 0 that sum to less than 1",
        )
    rows = _rows(project)
    rows = rows.with_columns(group=_groups(project, rows, strict))
    # A group that a protected row belongs to stays where it is.
    rows = rows.filter(~pl.col("protected").any().over("group"))
    progress("split", 1, 3)
    rows = rows.with_columns(stratum=_strata(rows))
    progress("split", 2, 3)
    assigned = rows.join(_dealt(rows, shares, seed), on="group", maintain_order="left")
    moved = assigned.filter(pl.col("assigned") != pl.col("split").fill_null(TRAIN))
    moves = [Target(row_id, value=name) for row_id, name in moved.select("row_id", "assigned").iter_rows()]
    # Rows that are where they should be need no decision; a row without a split is a training row.
    project.ledger.supersede(SPLIT_ACTOR, [(Action.MOVE, f"split_seed_{seed}", moves)], evidence=None)
    progress("split", 3, 3)
    kept = assigned.filter("kept").select("row_id", pl.col("assigned").alias("split"), "group", "stratum")
    strata = kept.group_by("stratum", "split").len("rows").sort("stratum", "split")
    return Split(kept, strata, max(kept.group_by("group").len("rows")["rows"].to_list(), default=0))


def _rows(project: Project) -> pl.DataFrame:
    """Every row where it was imported or a person put it: its texts, source, `protected`, and whether it is `kept`.

    Removed rows go with their group, so that none of them is on another side should it come back.
    """
    rows = project.assigned(without=SPLIT_ACTOR).select(
        "row_id", "query", "positive", pl.col("group").alias("source_group"), "split"
    )
    protected = pl.col("split").is_in(list(project.settings.curation.protected_splits)).fill_null(value=False)
    kept = project.curated().rows["status"] != Status.REMOVED.value
    return rows.with_columns(protected.alias("protected"), kept.alias("kept"))


def _groups(project: Project, rows: pl.DataFrame, strict: bool) -> pl.Series:
    """Number the rows of a group alike: the position of its first row."""
    texts = (equal_at(rows[column], Level.SURFACE) for column in ("query", "positive"))
    links = [*map(joined_by, texts), joined_by(rows["source_group"])]
    for name, bands in (_STRICT if strict else _CERTAIN).items():
        stored = project.evidence.load(name)
        if stored is None or stored.snapshot != project.settings.snapshot:
            raise ProjectError(
                f"`{name}` has not looked at these rows, so groups are not known.",
                where=str(project.root),
                remedy=f"run `harrier-studio check --project {project.root}` first",
            )
        edges = stored.evidence.edges.filter(pl.col("band").is_in([band.value for band in bands]))
        links.append(joined_by_edges(rows["row_id"], edges))
    return pl.Series(first_of(components(rows.height, links)))


def _strata(rows: pl.DataFrame) -> pl.Series:
    """Language and length of the group's first passage, the same for every row of the group."""
    heads = rows.unique("group", keep="first", maintain_order=True)
    passages = heads["positive"]
    sample = passages.head(_LANGUAGE_SAMPLE).str.slice(0, _LANGUAGE_CHARACTERS).to_list()
    languages = [name or "?" for name in languages_of(sample)] + ["?"] * (len(passages) - len(sample))
    words = passages.str.count_matches(r"\S+")
    thirds = [words.quantile(share) or 0 for share in (1 / 3, 2 / 3)]
    frame = pl.DataFrame({"language": languages, "words": words}).select(
        stratum=pl.format(
            "{} {}",
            "language",
            pl.when(pl.col("words") <= thirds[0])
            .then(pl.lit("short"))
            .when(pl.col("words") <= thirds[1])
            .then(pl.lit("medium"))
            .otherwise(pl.lit("long")),
        )
    )
    of_group = heads.select("group").with_columns(frame["stratum"])
    return rows.select("group").join(of_group, on="group", maintain_order="left")["stratum"]


def _dealt(rows: pl.DataFrame, shares: Mapping[str, float], seed: int) -> pl.DataFrame:
    """Deal groups out, stratum by stratum in random order, each to the split that lacks most kept rows.

    What a split lacks is carried from one stratum to the next, so that small strata do not all round to one side.

    Returns:
        `group` and the split it is `assigned`.
    """
    groups = rows.group_by("group", maintain_order=True).agg(
        pl.col("stratum").first(), pl.col("kept").sum().alias("size")
    )
    order = np.random.default_rng(seed).permutation(groups.height)
    groups = groups[order].sort("stratum", maintain_order=True)
    names = [TRAIN, *shares]
    quota = np.array([1 - sum(shares.values()), *shares.values()])
    lacking = np.zeros(len(names))
    assigned = []
    for size in groups["size"]:
        lacking += quota * size
        side = int(lacking.argmax())
        lacking[side] -= size
        assigned.append(names[side])
    return groups.select("group").with_columns(assigned=pl.Series(assigned, dtype=pl.String))
