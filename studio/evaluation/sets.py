"""What systems are measured on: queries with judged passages, pairs with a human score, or triplets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import polars as pl

from studio.evaluation.metrics import trec_order

QUERY_ATTRIBUTES = pl.Schema(
    {
        "query_id": pl.String(),
        "language": pl.String(),
        "source": pl.String(),
        "tags": pl.List(pl.String()),
    }
)
"""What slices go by; a value is null, and `tags` empty, where nothing is known."""


class SetKind(StrEnum):
    """What a set asks of a system."""

    RETRIEVAL = "retrieval"
    SIMILARITY = "similarity"
    TRIPLETS = "triplets"


class Judged(NamedTuple):
    """A retrieval test.

    Attributes:
        queries: `query_id`, `text`.
        corpus: `passage_id`, `text`.
        qrels: `query_id`, `passage_id`, `relevance` (Float64; 0 or below: judged, and not relevant). A passage may be
            none of the corpus: if it is relevant it counts among those to be found, as in trec_eval.
    """

    queries: pl.DataFrame
    corpus: pl.DataFrame
    qrels: pl.DataFrame


@dataclass(frozen=True)
class About:
    """What a person should know of a set.

    Attributes:
        name: short, such as `test`, `NanoNQ` or a folder's name.
        origin: where it came from, such as `project split test`, a path, or a dataset id with its revision.
        in_project: whether its query and passage ids are row ids of the project.
        query_prompt: the whole prompt that its authors put before queries; None: they name none.
        trained_on: why the model may have been trained on it (the badge), or "".
        self_hits_removed: whether a passage with the query's own id is taken out of the ranking, as MTEB does and
            trec_eval does not.
        notes: what was left out, drawn, or otherwise changes what a score means.
    """

    name: str
    origin: str
    in_project: bool = False
    query_prompt: str | None = None
    trained_on: str = ""
    self_hits_removed: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RetrievalSet:
    """Queries, passages and who answers whom.

    Attributes:
        judged: the corpus in `trec_order`, so that equal scores listed by position rank as trec_eval ranks them.
        about: what to know.
        attributes: QUERY_ATTRIBUTES, one line a query, in their order.
        leaked: `query_id`, `why`: queries that training has seen, or whose answer it has.
    """

    judged: Judged
    about: About
    attributes: pl.DataFrame
    leaked: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"query_id": pl.String, "why": pl.String}))

    kind = SetKind.RETRIEVAL

    @classmethod
    def of(
        cls,
        judged: Judged,
        about: About,
        attributes: pl.DataFrame | None = None,
        leaked: pl.DataFrame | None = None,
    ) -> RetrievalSet:
        """Put the corpus in order and fill in what is not known of the queries.

        Args:
            judged: the corpus in any order.
            about: what to know.
            attributes: `query_id` and any of QUERY_ATTRIBUTES' columns, of any of the queries.
            leaked: `query_id`, `why`.
        """
        ordered = judged._replace(corpus=judged.corpus[trec_order(judged.corpus["passage_id"])])
        known = pl.DataFrame(schema={"query_id": pl.String}) if attributes is None else attributes
        known = known.with_columns(
            pl.lit(None, dtype=kind).alias(name) for name, kind in QUERY_ATTRIBUTES.items() if name not in known.columns
        )
        lines = judged.queries.select("query_id").join(known, on="query_id", how="left", maintain_order="left")
        lines = lines.select(QUERY_ATTRIBUTES.names()).cast(dict(QUERY_ATTRIBUTES))  # type: ignore[arg-type]
        lines = lines.with_columns(pl.col("tags").fill_null([]))
        return cls(ordered, about, lines) if leaked is None else cls(ordered, about, lines, leaked)

    @property
    def size(self) -> int:
        """How many queries there are."""
        return self.judged.queries.height

    @property
    def identity(self) -> str:
        """A hash of ids, texts and judgements: scores over equal identities are about the same thing."""
        return identity(self.judged)


@dataclass(frozen=True, eq=False)
class SimilaritySet:
    """Pairs of sentences and how alike people find them (STS); systems are measured by Spearman's correlation.

    `pairs`: `pair_id`, `left`, `right`, `score` (Float64, any scale, higher is more alike).
    """

    pairs: pl.DataFrame
    about: About

    kind = SetKind.SIMILARITY

    @property
    def size(self) -> int:
        """How many pairs there are."""
        return self.pairs.height

    @property
    def identity(self) -> str:
        """A hash of ids, texts and scores."""
        return _hash(self.pairs)


@dataclass(frozen=True, eq=False)
class TripletSet:
    """Anchors, each with a passage that must score higher than another; systems are measured by their accuracy.

    `triplets`: `triplet_id`, `anchor`, `positive`, `negative` (texts).
    """

    triplets: pl.DataFrame
    about: About

    kind = SetKind.TRIPLETS

    @property
    def size(self) -> int:
        """How many triplets there are."""
        return self.triplets.height

    @property
    def identity(self) -> str:
        """A hash of ids and texts."""
        return _hash(self.triplets)


EvaluationSet: TypeAlias = RetrievalSet | SimilaritySet | TripletSet


def difference(mine: EvaluationSet, theirs: EvaluationSet, names: tuple[str, str]) -> str:
    """What two sets differ in, counted by id.

    Args:
        mine: a set.
        theirs: another.
        names: what to call them.

    Returns:
        One clause a table, such as `judgements: 230 in both, 1 only in b; the same: queries, passages`.
    """
    if mine.kind is not theirs.kind:
        return f"{names[0]} asks of {mine.kind.value}, {names[1]} of {theirs.kind.value}"
    same, said = [], []
    for (what, one), other in zip(_keyed(mine).items(), _keyed(theirs).values(), strict=True):
        both = one.join(other, on="key", suffix="_there")
        changed = both.filter(pl.col("value") != pl.col("value_there")).height
        counts = {
            "alike in both": both.height - changed,
            f"only in {names[0]}": one.height - both.height,
            f"only in {names[1]}": other.height - both.height,
            "changed under their ids": changed,
        }
        if one.height == other.height == counts["alike in both"]:
            same.append(what)
        else:
            said.append(f"{what}: " + ", ".join(f"{count:,} {where}" for where, count in counts.items() if count))
    return "; ".join(said + ([f"the same: {', '.join(same)}"] if same else []))


def _keyed(found: EvaluationSet) -> dict[str, pl.DataFrame]:
    """The tables of a set as `key`, which is unique, and `value`."""
    if isinstance(found, RetrievalSet):
        judged = found.judged
        qrels = judged.qrels.select("query_id", "passage_id", pl.col("relevance").cast(pl.Float64))
        keyed = {"queries": (judged.queries, 1), "passages": (judged.corpus, 1), "judgements": (qrels, 2)}
    else:
        table = found.pairs if isinstance(found, SimilaritySet) else found.triplets
        keyed = {"pairs" if isinstance(found, SimilaritySet) else "triplets": (table, 1)}
    return {
        what: table.select(
            key=pl.struct(table.columns[:ids]),
            value=pl.concat_str(pl.all().exclude(table.columns[:ids]).cast(pl.String), separator="\0"),
        )
        for what, (table, ids) in keyed.items()
    }


def identity(judged: Judged) -> str:
    """A hash of a retrieval test's ids, texts and judgements, whatever the order of its tables."""
    queries = judged.queries.select("query_id", "text").sort("query_id")
    corpus = judged.corpus.select("passage_id", "text").sort("passage_id")
    qrels = judged.qrels.select("query_id", "passage_id", pl.col("relevance").cast(pl.Float64))
    return _hash(queries, corpus, qrels.sort("query_id", "passage_id"))


def _hash(*tables: pl.DataFrame) -> str:
    whole = hashlib.sha256()
    for table in tables:
        for line in table.iter_rows():
            whole.update(repr(line).encode("utf-8", "surrogatepass"))
    return whole.hexdigest()
