"""Hard negatives: passages that stand near a query and do not answer it, and why each of the others was not taken.

The rules of score are those of `sentence_transformers.util.mine_hard_negatives` (since #3821): margins against the
lowest-scoring positive of the query, then the top few are skipped among those that passed. What is known of a pair
(positives, judgements, near-duplicates, documents, evaluation) is left out after that, so that with the same settings
the picks hold all of that function's, less those left out. docs/hard_negatives.md says why each rule is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.files import atomic_directory
from studio.mining import false_negatives
from studio.mining.collection import Collection
from studio.mining.relations import judged, relations
from studio.mining.retrieval import Retriever, embeddings_folder, ranked, retrieve, retrieve_lexically, retrievers_of
from studio.models.load import model_spec
from studio.models.neighbours import pair_scores
from studio.models.rerank import rerank
from studio.pairs.schema import UNREADABLE
from studio.progress import Progress, silent
from studio.project.curate import Curated, standing
from studio.project.evidence import Band, StoredEvidence
from studio.project.ledger import Decision
from studio.project.project import Project
from studio.project.settings import ProjectSettings, validated
from studio.project.verdicts import State
from studio.sample import model_location
from studio.text.equal import equal_at
from studio.text.normalise import Level

VERSION = "1"
MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Relative margins of the yield curve."""
_LINE = ["query", "passage"]
_MOST_POSITIVES = 500
"""Places that a query's own positives may take in what is retrieved; the query that has most sets it for all."""
_EXAMPLES = 3
_EXCERPT = 200

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class MiningSettings(BaseModel):
    """How hard negatives are mined: the table `[mining]` of studio.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    miners: Literal["dense", "bm25", "mixed"] = "dense"
    """Who proposes. `mixed`: both in turn, the encoder first; a passage that both propose counts once."""
    negatives: int = Field(default=4, ge=1, le=100)
    """Negatives a query."""
    skip: int = Field(default=0, ge=0)
    """The first so many candidates that pass the rules of score are not taken (`range_min`)."""
    deepest: int = Field(default=100, ge=1, le=2048)
    """Nor are those after so many (`range_max`)."""
    relative_margin: float | None = Field(default=0.05, ge=0, le=1)
    """A negative scores at most own − margin·|own|."""
    absolute_margin: float | None = Field(default=None, ge=0)
    """A negative scores at most own − margin."""
    max_score: float | None = None
    min_score: float | None = None
    sampling: Literal["top", "random"] = "top"
    """Take the first, or draw among all that are left."""
    seed: int = Field(default=0, ge=0)
    cross_encoder: str = ""
    """A sentence-transformers cross-encoder, by folder or hub id; "" for none."""
    cross_max_length: int = Field(default=512, ge=8)
    cross_depth: int = Field(default=30, ge=1)
    """Candidates of one query that the cross-encoder reads, of those that every other rule leaves."""
    cross_margin: float = Field(default=0.0, ge=0)
    """A negative's cross-encoder score is below that of every own positive less this."""
    same_source: Literal["exclude", "allow"] = "exclude"
    """Whether passages of the document that a positive of the query comes from are left out."""

    @model_validator(mode="after")
    def _fits(self) -> MiningSettings:
        if self.negatives > self.deepest - self.skip:
            room = f"skip {self.skip} and deepest {self.deepest}"
            raise ValueError(f"{self.negatives} negatives do not fit between {room}")
        if self.cross_encoder and self.cross_depth < self.negatives:
            raise ValueError(f"cross_depth {self.cross_depth} is less than the {self.negatives} negatives wanted")
        return self


def configured(settings: ProjectSettings, changes: Mapping[str, Any] | None = None) -> MiningSettings:
    """The project's settings of mining, with `changes` by name; a value "none" takes a rule of score away.

    Raises:
        ConfigError: a setting is unknown or wrong, or they contradict each other.
    """
    given = {**settings.mining, **(changes or {})}
    rules = ("relative_margin", "absolute_margin", "max_score", "min_score")
    return validated(
        {name: None if name in rules and value == "none" else value for name, value in given.items()},
        MiningSettings,
        "mining",
    )


class Reason(StrEnum):
    """Why a candidate was not taken: the first that applies, in this order."""

    OWN_POSITIVE = "own_positive"
    """A kept row has this query and this passage."""
    QUERY_ITSELF = "query_itself"
    """The passage is the query's own text (L2)."""
    EVALUATION = "evaluation"
    """A row for evaluation has the passage, or only rows set aside as leaked have it."""
    ALSO_ANSWERS = "also_answers"
    """Judged so."""
    PARTLY = "partly"
    """Judged so."""
    ANSWER_GROUP = "answer_group"
    """Query and passage belong to one answer group."""
    NEAR_DUPLICATE = "near_duplicate"
    """The checks found it like a positive of the query, or one in the other; a guard that tells them apart frees it."""
    NEAR_QUERY = "near_query"
    """It answers a query that the checks found like this one, unless a guard tells the two apart."""
    SAME_SOURCE = "same_source"
    """A positive of the query comes from the same document."""
    UNDECIDED = "undecided"
    """A candidate of the search for false negatives on which nobody, or no agreement, has decided."""
    RELATIVE_MARGIN = "relative_margin"
    ABSOLUTE_MARGIN = "absolute_margin"
    MAX_SCORE = "max_score"
    MIN_SCORE = "min_score"
    SKIPPED = "skipped"
    """Among the first `skip` that pass the rules of score."""
    DEEPER = "deeper"
    """After the first `deepest`."""
    NOT_READ = "not_read"
    """After the first `cross_depth`."""
    CROSS_ENCODER = "cross_encoder"
    """The cross-encoder finds it about as good as an own positive."""
    NOT_DRAWN = "not_drawn"
    """It could have been taken, and others were."""


_REASONS = tuple(Reason)
_CHOSEN = len(_REASONS)
_EXCLUSIONS = _REASONS[: _REASONS.index(Reason.RELATIVE_MARGIN)]
_LIFTED = (
    Reason.ANSWER_GROUP, Reason.NEAR_DUPLICATE, Reason.NEAR_QUERY, Reason.SAME_SOURCE, Reason.UNDECIDED,
)  # fmt: skip
"""What a person's "does not" overrules, for it is about this very pair."""


def _bit(*reasons: Reason) -> int:
    return sum(1 << _REASONS.index(reason) for reason in reasons)


@dataclass(frozen=True)
class Found:
    """What the retrievers brought for the queries that train.

    Attributes:
        dense: `query`, `passage`, `score` (Float32), `rank` (from 1).
        lexical: the same of BM25, and `cosine`, the encoder's score; None when BM25 was not asked.
        own: `query`, `passage`, `score` of every known positive.
        depth: passages a query.
        described: `Retriever.described`.
    """

    dense: pl.DataFrame
    lexical: pl.DataFrame | None
    own: pl.DataFrame
    depth: int
    described: dict[str, str | int]


CANDIDATES_SCHEMA = pl.Schema(
    {
        "query": pl.UInt32(),
        "passage": pl.UInt32(),
        "miner": pl.String(),
        "rank": pl.UInt32(),
        "dense_rank": pl.UInt32(),
        "bm25_rank": pl.UInt32(),
        "score": pl.Float64(),
        "bm25_score": pl.Float64(),
        "own": pl.Float64(),
        "margin": pl.Float64(),
        "cross": pl.Float64(),
        "cross_own": pl.Float64(),
        "judged": pl.String(),
        "rejected_by": pl.String(),
    }
)
"""One line a retrieved candidate, by query and rank.

`query`, `passage`: numbers in the collection. `miner`: who proposed it first, dense or bm25. `rank`: its place among
all that were proposed for the query, own positives too, from 1; `dense_rank`, `bm25_rank`: under each miner, null where
it did not bring it. `score`: cosine of the encoder, whoever proposed it. `own`: the lowest score of a positive that the
query trains with. sentence-transformers takes that too, and it is the careful choice: a passage that scores between two
positives looks as much like an answer as the lower of them. `margin`: (score − own)/|own|. `cross`, `cross_own`: raw
scores of the cross-encoder, of those it read. `judged`: a `State`, null where nobody judged. `rejected_by`: a `Reason`;
null of those chosen.
"""


@dataclass(frozen=True)
class Pool:
    """Candidates and what is known of them; rules of score and drawing are applied by `candidates`, as often as wanted.

    Attributes:
        collection: the numbers are its.
        lines: CANDIDATES_SCHEMA without `cross`, `cross_own`, `rejected_by`.
        excluded: (lines,) bits of the exclusions, in the order of `Reason`.
        trained: (lines,) whether the passage is a positive that the query trains with.
        own: `query`, `passage`, `score` of every known positive.
        described: of the encoder.
        notes: what a person should know.
    """

    collection: Collection
    lines: pl.DataFrame
    excluded: Ints
    trained: Bools
    own: pl.DataFrame
    described: dict[str, str | int]
    notes: tuple[str, ...] = ()


def depth_of(collection: Collection, settings: MiningSettings) -> int:
    """How many passages a query asks for: `deepest`, and room for the positives of the query that has most."""
    positives = min(int(collection.queries["rows"].to_numpy().max(initial=0)), _MOST_POSITIVES)
    return min(settings.deepest + positives, collection.passages.height)


def find(
    project: Project,
    collection: Collection,
    settings: MiningSettings,
    retriever: Retriever,
    progress: Progress = silent,
) -> Found:
    """Ask the retrievers, unless what they said is stored already; store it.

    Raises:
        InputError, UnavailableError, ConfigError: the model cannot be used.
        UnavailableError: the disk is full.
    """
    known = stored(project, collection, settings, retriever)
    if known:
        return known
    depth = depth_of(collection, settings)
    answer = retrieve(collection, retriever, embeddings_folder(project), depth, progress)
    trains = collection.queries.filter(pl.col("rows") > 0).select(pl.col("number").alias("query"))
    dense = ranked(answer.neighbours).join(trains, on="query", how="semi", maintain_order="left")
    lexical = None
    if settings.miners != "dense":
        words = retrieve_lexically(collection, depth, progress).neighbours
        lexical = ranked(words).join(trains, on="query", how="semi", maintain_order="left")
        assert answer.query_vectors is not None and answer.passage_vectors is not None
        numbers = lexical["query"].to_numpy(), lexical["passage"].to_numpy()
        scores = pair_scores(answer.query_vectors, answer.passage_vectors, *numbers)
        lexical = lexical.with_columns(pl.Series("cosine", scores, dtype=pl.Float32))
    found = Found(dense, lexical, answer.own.select(*_LINE, "score"), depth, retriever.described())
    _store(_folder(project), _key(collection, retriever), found)
    return found


def stored(project: Project, collection: Collection, settings: MiningSettings, retriever: Retriever) -> Found | None:
    """What was retrieved before for these very rows, model and prompts, at least as deep; else None. Loads no model.

    Raises:
        InputError, UnavailableError: the model's files are not there.
    """
    key, wanted = _key(collection, retriever), depth_of(collection, settings)
    for folder in sorted(_folder(project).glob(f"{key}-*")):
        miners, _, depth = folder.name.removeprefix(f"{key}-").partition("-")
        if not depth.isdigit() or int(depth) < wanted or (settings.miners != "dense" and miners != "both"):
            continue
        try:
            tables = {name: pl.read_parquet(folder / f"{name}.parquet", glob=False) for name in ("dense", "own")}
            lexical = pl.read_parquet(folder / "lexical.parquet", glob=False) if miners == "both" else None
        except UNREADABLE:
            # Gone this moment, or damaged: it is made again.
            continue
        return Found(tables["dense"], lexical, tables["own"], int(depth), retriever.described())
    return None


def _folder(project: Project) -> Path:
    return project.root / ".studio" / "mining"


def _key(collection: Collection, retriever: Retriever) -> str:
    described = json.dumps([VERSION, false_negatives.rows_key(collection), retriever.described()], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _store(root: Path, key: str, found: Found) -> None:
    name = f"{key}-{'both' if found.lexical is not None else 'dense'}-{found.depth}"
    with atomic_directory(root / name) as beside:
        found.dense.write_parquet(beside / "dense.parquet")
        found.own.write_parquet(beside / "own.parquet")
        if found.lexical is not None:
            found.lexical.write_parquet(beside / "lexical.parquet")
    for other in root.iterdir():
        # A name with a dot is what another process writes at this moment.
        if other.name != name and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)


def prepared(
    project: Project,
    settings: MiningSettings,
    retriever: Retriever | None = None,
    progress: Progress = silent,
    curated: Curated | None = None,
) -> Pool:
    """Everything up to the rules of score: retrieve, and read from the project what is known of each pair.

    Args:
        project: whose kept rows are mined.
        settings: only `miners` and `deepest` matter here.
        retriever: the encoder; None for the first of the project's.
        progress: told of each stage; may stop it.
        curated: the outcome of every row, if it is at hand.

    Raises:
        ProjectError: no row is kept.
        InputError, UnavailableError, ConfigError: a model cannot be used.
    """
    curated = curated or project.curated()
    collection = Collection.of(project, curated)
    retriever = retriever or retrievers_of(project.settings)[0]
    found = find(project, collection, settings, retriever, progress)
    notes = () if not retriever.same_as_trained else ("the encoder that mines is the model to be trained",)
    log, targets = project.ledger.log(), project.ledger.targets()
    return pool_of(collection, found, settings, project.fresh_evidence(), log, targets, curated, notes)


def pool_of(
    collection: Collection,
    found: Found,
    settings: MiningSettings,
    evidence: Iterable[StoredEvidence],
    log: list[Decision],
    targets: pl.DataFrame,
    curated: Curated,
    notes: tuple[str, ...] = (),
) -> Pool:
    """Merge what the miners brought and mark what is known of each pair.

    Args:
        collection: of the rows `curated` keeps.
        found: what was retrieved, at least as deep as wanted.
        settings: only `miners` and `deepest` matter here.
        evidence: near_duplicates, containment, near_queries and false_negatives are read.
        log: the ledger.
        targets: its targets.
        curated: the outcomes.
        notes: to go before those made here.
    """
    evidence = list(evidence)
    training = collection.training.select(_LINE).unique(maintain_order=True)
    least = found.own.join(training, on=_LINE, how="semi").group_by("query").agg(pl.col("score").min().alias("own"))
    lines = _merged(found, settings, depth_of(collection, settings))
    lines = lines.join(least, on="query", how="inner", maintain_order="left")
    lines = lines.with_columns(pl.col("score", "own").cast(pl.Float64))
    lines = lines.with_columns(margin=(pl.col("score") - pl.col("own")) / pl.col("own").abs().clip(lower_bound=1e-9))
    states = judged(collection, log, targets, curated).select(*_LINE, pl.col("state").alias("judged"))
    lines = lines.join(states, on=_LINE, how="left", maintain_order="left")
    names = [name for name in CANDIDATES_SCHEMA if name in lines.columns]
    lines = lines.select(pl.col(name).cast(CANDIDATES_SCHEMA[name]) for name in names)
    excluded = _excluded(collection, lines, evidence, curated)
    search = next((item for item in evidence if item.check == false_negatives.NAME), None)
    if search is None:
        notes += ("nobody has looked for false negatives: passages that also answer may be among these negatives",)
    elif search.config.get("rows") != false_negatives.rows_key(collection):
        notes += ("the rows have changed since the search for false negatives",)
    return Pool(collection, lines, excluded, _hits(lines, training), found.own, found.described, notes)


def _merged(found: Found, settings: MiningSettings, depth: int) -> pl.DataFrame:
    """One line a query and passage, in the order in which they were proposed."""
    dense = found.dense.filter(pl.col("rank") <= depth).rename({"rank": "dense_rank"})
    if found.lexical is None or settings.miners == "dense":
        lines = dense.with_columns(
            miner=pl.lit("dense"),
            rank="dense_rank",
            bm25_rank=pl.lit(None, dtype=pl.UInt32),
            bm25_score=pl.lit(None, dtype=pl.Float32),
        )
        return lines.sort("query", "rank")
    lexical = found.lexical.filter(pl.col("rank") <= depth).rename({"rank": "bm25_rank", "score": "bm25_score"})
    how: Literal["full", "right"] = "full" if settings.miners == "mixed" else "right"
    lines = dense.join(lexical, on=_LINE, how=how, coalesce=True).with_columns(pl.coalesce("score", "cosine"))
    # In turn, the encoder first; who stands higher in their own list proposed it first.
    turn = pl.min_horizontal(pl.col("dense_rank") * 2, pl.col("bm25_rank") * 2 + 1)
    by_dense = pl.col("dense_rank") <= pl.col("bm25_rank").fill_null(pl.col("dense_rank"))
    if settings.miners == "bm25":
        turn, by_dense = pl.col("bm25_rank"), pl.lit(value=False)
    lines = lines.with_columns(
        turn=turn, miner=pl.when(by_dense.fill_null(value=False)).then(pl.lit("dense")).otherwise(pl.lit("bm25"))
    ).sort("query", "turn")
    return lines.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("query")).drop("turn", "cosine")


def _excluded(collection: Collection, lines: pl.DataFrame, evidence: list[StoredEvidence], curated: Curated) -> Ints:
    """The bits of the exclusions that apply to each line."""
    known = relations(collection, evidence, curated).filter(pl.col("held_by").is_null())
    state = lines["judged"]
    query, passage = lines["query"].to_numpy(), lines["passage"].to_numpy()
    unsettled = [State.UNDECIDED.value, State.SKIPPED.value, State.DISPUTED.value]
    usable = (~collection.passages["evaluates"] & (collection.passages["rows"] > 0)).to_numpy()
    groups_q, groups_p = _groups(collection, "query"), _groups(collection, "passage")
    same = equal_at(pl.concat([collection.queries["text"], collection.passages["text"]]), Level.SURFACE).to_numpy()
    applies = {
        Reason.OWN_POSITIVE: _hits(lines, collection.own),
        Reason.QUERY_ITSELF: same[query] == same[passage.astype(np.int64) + collection.queries.height],
        Reason.EVALUATION: ~usable[passage],
        Reason.ALSO_ANSWERS: _is(state, State.ALSO_ANSWERS),
        Reason.PARTLY: _is(state, State.PARTLY),
        Reason.ANSWER_GROUP: groups_q[query] == groups_p[passage],
        Reason.NEAR_DUPLICATE: _hits(lines, known.filter(pl.col("reason").is_in(["near_passage", "contained"]))),
        Reason.NEAR_QUERY: _hits(lines, known.filter(pl.col("reason") == "near_query")),
        Reason.SAME_SOURCE: _hits(lines, _sharing_source(collection, lines)),
        Reason.UNDECIDED: _hits(lines, _open(collection, evidence, curated))
        | state.is_in(unsettled).fill_null(value=False).to_numpy(),
    }
    bits = np.zeros(lines.height, np.int64)
    for reason in _EXCLUSIONS:
        bits |= applies[reason].astype(np.int64) * _bit(reason)
    result: Ints = np.where(_is(state, State.DOES_NOT), bits & ~_bit(*_LIFTED), bits)
    return result


def _is(states: pl.Series, state: State) -> Bools:
    result: Bools = (states == state.value).fill_null(value=False).to_numpy()
    return result


def _groups(collection: Collection, side: str) -> NDArray[Any]:
    """The answer group of each query, or passage, by number: rows with equal texts are always in one group."""
    named = collection.rows.with_columns(pl.col("group_id").rank("dense").alias("code"))
    codes: NDArray[Any] = named.group_by(side).agg(pl.col("code").first()).sort(side)["code"].to_numpy()
    return codes


def _sharing_source(collection: Collection, lines: pl.DataFrame) -> pl.DataFrame:
    sources = collection.rows.filter(pl.col("source").is_not_null())
    of_query = sources.select("query", "source").unique()
    of_passage = sources.select("passage", "source").unique()
    return lines.select(_LINE).join(of_query, on="query").join(of_passage, on=["passage", "source"], how="semi")


def _open(collection: Collection, evidence: list[StoredEvidence], curated: Curated) -> pl.DataFrame:
    """The candidates of the search for false negatives, as numbers; judgements are looked at elsewhere."""
    edges = [
        stored.evidence.edges.filter(pl.col("band") != Band.IGNORE.value).select(
            pl.col("a_id").alias("query_id"), pl.col("b_id").alias("passage_id")
        )
        for stored in evidence
        if stored.check == false_negatives.NAME
    ]
    if not edges:
        return collection.own.clear()
    return collection.numbered(standing(curated.rows, pl.concat(edges)))


def _hits(lines: pl.DataFrame, pairs: pl.DataFrame) -> Bools:
    """Whether each line's query and passage are among `pairs`."""
    marked = pairs.select(_LINE).unique().with_columns(hit=pl.lit(value=True))
    joined = lines.select(_LINE).join(marked, on=_LINE, how="left", maintain_order="left")
    result: Bools = joined["hit"].fill_null(value=False).to_numpy()
    return result


def candidates(pool: Pool, settings: MiningSettings, cross: pl.DataFrame | None = None) -> pl.DataFrame:
    """Apply the rules of score and draw: every candidate as CANDIDATES_SCHEMA, those chosen with a null reason.

    A candidate that people judged not to answer is freed from what guards against false negatives: margins,
    `max_score`, `skip`, the cross-encoder, and the exclusions of `_LIFTED`. `min_score` and `deepest` still apply.

    Args:
        pool: of the same `miners` and `deepest`.
        settings: the rules.
        cross: what `read` returned; None leaves the cross-encoder out.
    """
    names = pl.Series([reason.value for reason in _REASONS] + [None], dtype=pl.String)
    table = pool.lines.with_columns(
        *_crossed(pool, cross), rejected_by=names.gather(_Rules(pool, settings).codes(cross))
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in CANDIDATES_SCHEMA.items())


def read(pool: Pool, settings: MiningSettings, progress: Progress = silent) -> pl.DataFrame | None:
    """Let the cross-encoder read what all other rules leave.

    Returns:
        `query`, `passage`, `cross`, `cross_own` (the lowest score of a positive that the query trains with); None
        without a cross-encoder.

    Raises:
        InputError, UnavailableError, ConfigError: the cross-encoder cannot be used.
    """
    if not settings.cross_encoder:
        return None
    rules = _Rules(pool, settings)
    lines = pool.lines.filter(pl.Series(rules.first(rules.at().allowed, settings.cross_depth))).select(_LINE)
    collection = pool.collection
    own = collection.training.select(_LINE).unique(maintain_order=True)
    own = own.join(lines, on="query", how="semi", maintain_order="left")
    pairs = pl.concat([lines, own])
    texts = zip(
        collection.queries["text"].gather(pairs["query"]),
        collection.passages["text"].gather(pairs["passage"]),
        strict=True,
    )
    spec = model_spec(model_location(settings.cross_encoder), max_length=settings.cross_max_length)
    scored = pairs.with_columns(pl.Series("cross", rerank(spec, list(texts), progress), dtype=pl.Float64))
    least = scored[lines.height :].group_by("query").agg(pl.col("cross").min().alias("cross_own"))
    return scored[: lines.height].join(least, on="query", how="left", maintain_order="left")


def _crossed(pool: Pool, cross: pl.DataFrame | None) -> list[pl.Series]:
    """What the cross-encoder said of each line, `cross` and `cross_own`; null where it did not read."""
    names = ["cross", "cross_own"]
    if cross is None:
        return [pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, pool.lines.height) for name in names]
    return pool.lines.select(_LINE).join(cross, on=_LINE, how="left", maintain_order="left").select(names).get_columns()


class _Reach(NamedTuple):
    """Lines at one relative margin: `near` break it, `skipped` and `deeper` miss the window, `allowed` may be drawn."""

    near: Bools
    skipped: Bools
    deeper: Bools
    allowed: Bools


class _Rules:
    """The rules of score over all lines of a pool at once; `at` answers for any relative margin.

    Attributes:
        excluded: (lines,) bits of the exclusions that count under these settings.
    """

    def __init__(self, pool: Pool, settings: MiningSettings) -> None:
        self._pool, self._settings = pool, settings
        lines = pool.lines
        query = lines["query"].to_numpy()
        self._firsts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.empty(0, np.int64)
        self._sizes = np.diff(np.r_[self._firsts, len(query)])
        self._score, self._own = lines["score"].to_numpy(), lines["own"].to_numpy()[self._firsts]
        self._cleared = _is(lines["judged"], State.DOES_NOT)
        self.excluded = pool.excluded & ~(_bit(Reason.SAME_SOURCE) if settings.same_source == "allow" else 0)
        broken = self._broken_bits()
        self._passing = (broken == 0) & ~pool.trained
        freed = _bit(Reason.ABSOLUTE_MARGIN, Reason.MAX_SCORE)
        self._broken = np.where(self._cleared, broken & ~freed, broken)
        self._open = (self.excluded == 0) & (self._broken == 0)

    def _broken_bits(self) -> Ints:
        """The rules that each line breaks, but for the relative margin, before anybody's judgement frees it."""
        settings, score = self._settings, self._score
        bits = np.zeros(len(score), np.int64)
        if settings.absolute_margin is not None:
            own = np.repeat(self._own, self._sizes)
            bits |= (score + settings.absolute_margin > own) * _bit(Reason.ABSOLUTE_MARGIN)
        if settings.max_score is not None:
            bits |= (score > settings.max_score) * _bit(Reason.MAX_SCORE)
        if settings.min_score is not None:
            bits |= (score < settings.min_score) * _bit(Reason.MIN_SCORE)
        return bits

    def at(self, margin: float | Literal["set"] | None = "set") -> _Reach:
        """What a relative margin leaves; without one, the margin of the settings."""
        if margin == "set":
            margin = self._settings.relative_margin
        near = np.zeros(len(self._score), bool)
        if margin is not None:
            near = self._score > np.repeat(self._own - np.abs(self._own) * margin, self._sizes)
        # What passed counts here whether it is left out or not, as in sentence-transformers, which knows of no reason
        # to leave it out.
        place = self._count(self._passing & ~near)
        skipped = (place <= self._settings.skip) & ~self._cleared
        deeper = place > self._settings.deepest
        return _Reach(near, skipped, deeper, self._open & (~near | self._cleared) & ~skipped & ~deeper)

    def _count(self, marked: Bools) -> NDArray[np.int32]:
        """How many lines of the same query, up to and with each line, are marked."""
        running = np.cumsum(marked, dtype=np.int32)
        before = np.r_[np.int32(0), running][self._firsts]
        result: NDArray[np.int32] = running - np.repeat(before, self._sizes)
        return result

    def first(self, marked: Bools, count: int) -> Bools:
        """The first `count` marked lines of each query."""
        result: Bools = marked & (self._count(marked) <= count)
        return result

    def by_query(self, marked: Bools) -> NDArray[np.int32]:
        """How many lines of each query are marked."""
        if not len(marked):
            return np.empty(0, np.int32)
        result: NDArray[np.int32] = np.add.reduceat(marked, self._firsts, dtype=np.int32)
        return result

    def codes(self, cross: pl.DataFrame | None = None) -> NDArray[np.int8]:
        """The place in `Reason` of each line's reason; one past the last of those chosen."""
        near, skipped, deeper, allowed = self.at()
        unread = worse = np.zeros(len(allowed), bool)
        if cross is not None:
            reads = self.first(allowed, self._settings.cross_depth)
            unread = allowed & ~reads
            score, own = _crossed(self._pool, cross)
            like = (score >= own - self._settings.cross_margin).fill_null(value=False).to_numpy()
            worse = reads & like & ~self._cleared
            allowed = reads & ~worse
        known = self.excluded | self._broken | (near & ~self._cleared) * _bit(Reason.RELATIVE_MARGIN)
        # The lowest bit is the first reason.
        codes: NDArray[np.int8] = np.log2(np.maximum(known & -known, 1)).astype(np.int8)
        codes[known == 0] = _CHOSEN
        later = (
            (skipped, Reason.SKIPPED),
            (deeper, Reason.DEEPER),
            (unread, Reason.NOT_READ),
            (worse, Reason.CROSS_ENCODER),
            (~self._drawn(allowed), Reason.NOT_DRAWN),
        )
        for marked, reason in later:
            codes[marked & (codes == _CHOSEN)] = _REASONS.index(reason)
        return codes

    def _drawn(self, allowed: Bools) -> Bools:
        wanted = self._settings.negatives
        drawn = self.first(allowed, wanted)
        if self._settings.sampling == "top":
            return drawn
        queries = self._pool.collection.queries["row_id"]
        numbers = self._pool.lines["query"]
        for place in np.flatnonzero(self.by_query(allowed) > wanted):
            low = self._firsts[place]
            part = slice(low, low + self._sizes[place])
            among = np.flatnonzero(allowed[part])
            # Seeded by the query, so that other rows have no part in the draw.
            name = hashlib.sha256(queries[int(numbers[int(low)])].encode()).digest()[:8]
            generator = np.random.default_rng([self._settings.seed, int.from_bytes(name, "big")])
            drawn[part] = False
            drawn[low + generator.choice(among, wanted, replace=False)] = True
        return drawn


class YieldLine(NamedTuple):
    """What one relative margin leaves, all else as set and without the cross-encoder.

    `enough`: queries with as many negatives as wanted; `some`: with at least one. `rejected`: share (0..1) of the
    candidates without an exclusion that the margin rejects.
    """

    margin: float | None
    chosen: bool
    enough: int
    some: int
    negatives: int
    rejected: float


class MiningExample(NamedTuple):
    """One candidate with excerpts of its texts; `reason` is a `Reason`, or "chosen". `positive`: the lowest-scoring."""

    reason: str
    query_id: str
    passage_id: str
    query: str
    positive: str
    passage: str
    miner: str
    rank: int
    score: float
    own: float
    margin: float
    judged: str


class MiningPlan(NamedTuple):
    """What mining would take.

    `queries`: that train. `candidates`: retrieved for them. `negatives`, `enough`, `some`: as in YieldLine, with the
    cross-encoder if it read. `reasons`: name and count, in the order of `Reason`, those that occur.
    """

    queries: int
    passages: int
    candidates: int
    wanted: int
    negatives: int
    enough: int
    some: int
    curve: tuple[YieldLine, ...]
    reasons: tuple[tuple[str, int], ...]
    examples: tuple[MiningExample, ...]
    notes: tuple[str, ...]


def plan(pool: Pool, settings: MiningSettings, cross: pl.DataFrame | None = None) -> MiningPlan:
    """Say what `settings` would take of a pool; cheap enough to follow a slider.

    Args:
        pool: of the same `miners` and `deepest`.
        settings: the rules.
        cross: what `read` returned; None leaves the cross-encoder out.
    """
    rules = _Rules(pool, settings)
    codes = rules.codes(cross)
    counted = np.bincount(codes, minlength=_CHOSEN + 1).tolist()
    taken = rules.by_query(codes == _CHOSEN)
    queries, some = int((pool.collection.queries["rows"] > 0).sum()), int((taken > 0).sum())
    notes = pool.notes
    if settings.cross_encoder and cross is None:
        notes += ("the cross-encoder was not asked: it will reject more",)
    if queries > some:
        notes += (f"{queries - some:,} of {queries:,} queries get no negative",)
    chosen = settings.relative_margin
    margins = [None, *MARGINS] if chosen is None else sorted({*MARGINS, chosen})
    return MiningPlan(
        queries=queries,
        passages=pool.collection.passages.height,
        candidates=len(codes),
        wanted=settings.negatives,
        negatives=counted[_CHOSEN],
        enough=int((taken >= settings.negatives).sum()),
        some=some,
        curve=tuple(_yield(rules, settings, margin) for margin in margins),
        reasons=tuple((reason.value, count) for reason, count in zip(_REASONS, counted, strict=False) if count),
        examples=tuple(_examples(pool, codes)),
        notes=notes,
    )


def _yield(rules: _Rules, settings: MiningSettings, margin: float | None) -> YieldLine:
    reach = rules.at(margin)
    left = np.minimum(rules.by_query(reach.allowed), settings.negatives)
    free = rules.excluded == 0
    return YieldLine(
        margin,
        margin == settings.relative_margin,
        int((left == settings.negatives).sum()),
        int((left > 0).sum()),
        int(left.sum()),
        float((reach.near & free).sum() / max(1, free.sum())),
    )


def _examples(pool: Pool, codes: NDArray[np.int8]) -> Iterator[MiningExample]:
    """The candidates that stand highest, a few a reason, each of another query."""
    queries, passages = pool.collection.queries, pool.collection.passages
    query, rank = pool.lines["query"].to_numpy(), pool.lines["rank"].to_numpy()
    training = pool.collection.training.select(_LINE).unique()
    owns = pool.own.join(training, on=_LINE, how="semi").sort("score", "passage").unique("query", keep="first")
    own = dict(owns.select(_LINE).iter_rows())
    for code in (_CHOSEN, *range(_CHOSEN)):
        left = np.flatnonzero(codes == code)
        for _ in range(_EXAMPLES):
            if not len(left):
                break
            at = int(left[rank[left].argmin()])
            left = left[query[left] != query[at]]
            line = pool.lines.row(at, named=True)
            yield MiningExample(
                reason="chosen" if code == _CHOSEN else _REASONS[code].value,
                query_id=queries["row_id"][line["query"]],
                passage_id=passages["row_id"][line["passage"]],
                query=_excerpt(queries["text"][line["query"]]),
                positive=_excerpt(passages["text"][own[line["query"]]]),
                passage=_excerpt(passages["text"][line["passage"]]),
                miner=line["miner"],
                rank=line["rank"],
                score=line["score"],
                own=line["own"],
                margin=line["margin"],
                judged=line["judged"] or "",
            )


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def dry_run(
    project: Project, settings: MiningSettings, retriever: Retriever | None = None, progress: Progress = silent
) -> MiningPlan:
    """Do all of mining but writing, the cross-encoder too.

    Raises:
        ProjectError: no row is kept.
        InputError, UnavailableError, ConfigError: a model cannot be used.
    """
    pool = prepared(project, settings, retriever, progress)
    return plan(pool, settings, read(pool, settings, progress))
