"""Candidates for hard negatives: what the retrievers brought, and what is known of each."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.files import atomic_directory
from studio.mining import false_negatives
from studio.mining.asking import asked_lines
from studio.mining.collection import Collection
from studio.mining.relations import judged, relations
from studio.mining.retrieval import Retriever, embeddings_folder, ranked, retrieve, retrieve_lexically, retrievers_of
from studio.mining.settings import EXCLUSIONS, LIFTED, MiningSettings, Reason, mask_of
from studio.models.neighbours import pair_scores
from studio.pairs.schema import UNREADABLE
from studio.progress import Progress, silent
from studio.project.curate import Curated, standing
from studio.project.evidence import Band, StoredEvidence
from studio.project.ledger import Decision
from studio.project.project import Project
from studio.project.verdicts import State
from studio.text.equal import equal_at
from studio.text.normalise import Level

VERSION = "1"
LINE = ["query", "passage"]
_MOST_POSITIVES = 500
"""Places that a query's own positives may take in what is retrieved; the query that has most sets it for all."""

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


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
    found = Found(dense, lexical, answer.own.select(*LINE, "score"), depth, retriever.described())
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
    training = collection.training.select(LINE).unique(maintain_order=True)
    least = found.own.join(training, on=LINE, how="semi").group_by("query").agg(pl.col("score").min().alias("own"))
    lines = _merged(found, settings, depth_of(collection, settings))
    lines = lines.join(least, on="query", how="inner", maintain_order="left")
    lines = lines.with_columns(pl.col("score", "own").cast(pl.Float64))
    lines = lines.with_columns(margin=(pl.col("score") - pl.col("own")) / pl.col("own").abs().clip(lower_bound=1e-9))
    states = judged(collection, log, targets, curated).select(*LINE, pl.col("state").alias("judged"))
    lines = lines.join(states, on=LINE, how="left", maintain_order="left")
    names = [name for name in CANDIDATES_SCHEMA if name in lines.columns]
    lines = lines.select(pl.col(name).cast(CANDIDATES_SCHEMA[name]) for name in names)
    excluded = _excluded(collection, lines, evidence, curated, asked_lines(log, targets, curated, collection))
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
    lines = dense.join(lexical, on=LINE, how=how, coalesce=True).with_columns(pl.coalesce("score", "cosine"))
    # In turn, the encoder first; who stands higher in their own list proposed it first.
    turn = pl.min_horizontal(pl.col("dense_rank") * 2, pl.col("bm25_rank") * 2 + 1)
    by_dense = pl.col("dense_rank") <= pl.col("bm25_rank").fill_null(pl.col("dense_rank"))
    if settings.miners == "bm25":
        turn, by_dense = pl.col("bm25_rank"), pl.lit(value=False)
    lines = lines.with_columns(
        turn=turn, miner=pl.when(by_dense.fill_null(value=False)).then(pl.lit("dense")).otherwise(pl.lit("bm25"))
    ).sort("query", "turn")
    return lines.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("query")).drop("turn", "cosine")


def _excluded(
    collection: Collection,
    lines: pl.DataFrame,
    evidence: list[StoredEvidence],
    curated: Curated,
    sent: pl.DataFrame,
) -> Ints:
    """The bits of the exclusions that apply to each line; `sent`: what a person put before the judges."""
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
        Reason.ALSO_ANSWERS: said(state, State.ALSO_ANSWERS),
        Reason.PARTLY: said(state, State.PARTLY),
        Reason.ANSWER_GROUP: groups_q[query] == groups_p[passage],
        Reason.NEAR_DUPLICATE: _hits(lines, known.filter(pl.col("reason").is_in(["near_passage", "contained"]))),
        Reason.NEAR_QUERY: _hits(lines, known.filter(pl.col("reason") == "near_query")),
        Reason.SAME_SOURCE: _hits(lines, _sharing_source(collection, lines)),
        Reason.UNDECIDED: _hits(lines, _open(collection, evidence, curated))
        | _hits(lines, sent)
        | state.is_in(unsettled).fill_null(value=False).to_numpy(),
    }
    bits = np.zeros(lines.height, np.int64)
    for reason in EXCLUSIONS:
        bits |= applies[reason].astype(np.int64) * mask_of(reason)
    result: Ints = np.where(said(state, State.DOES_NOT), bits & ~mask_of(*LIFTED), bits)
    return result


def said(states: pl.Series, state: State) -> Bools:
    """Whether people settled each line as `state`."""
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
    return lines.select(LINE).join(of_query, on="query").join(of_passage, on=["passage", "source"], how="semi")


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
    marked = pairs.select(LINE).unique().with_columns(hit=pl.lit(value=True))
    joined = lines.select(LINE).join(marked, on=LINE, how="left", maintain_order="left")
    result: Bools = joined["hit"].fill_null(value=False).to_numpy()
    return result
