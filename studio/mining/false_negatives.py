"""The search for false negatives: passages that may also answer a query whose own positive is another one.

Three stages. What the checks know already: like passages, like queries, containment. A bi-encoder with the contract's
prompts: a passage is a candidate when it comes within a relative margin of the query's own positive (NV-Retriever's
rule, arXiv 2407.15831, as sentence-transformers has it: s ≥ own − margin·|own|), when it is among the few most like
that positive, or answers one of the few queries most like this one; BM25 is asked for the latter two as well. Then, if
one is named, a cross-encoder over the nearest of them. Nothing is decided here: a person judges, in the order of
`studio.mining.judging`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from studio.mining.collection import Collection
from studio.mining.relations import relations
from studio.mining.retrieval import (
    BM25,
    Retrieved,
    Retriever,
    embeddings_folder,
    ranked,
    retrieve,
    retrieve_lexically,
    retrievers_of,
)
from studio.mining.standing import unlikely
from studio.mining.views import DIRECT, LIKE_POSITIVE, LIKE_QUERY, look, support
from studio.models.load import model_spec
from studio.models.neighbours import pair_scores
from studio.models.rerank import rerank
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.evidence import EDGES_SCHEMA, FLAGS_SCHEMA, Band, Evidence, Role, StoredEvidence
from studio.project.project import Project
from studio.project.settings import ProjectSettings, validated
from studio.sample import model_location

NAME = "false_negatives"
VERSION = "1"
FAR = "own_positive_far"
"""Reason of the flag on rows whose own positive stands far down under every retriever and BM25: label noise."""
_LINE = ["query", "passage"]


class SearchSettings(BaseModel):
    """How the search looks: the table `[false_negatives]` of studio.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(default=50, ge=1, le=2048)
    """Passages a retriever is asked for, a query."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """A candidate scores at least own − margin·|own|, own being the score of the query's best-scoring positive."""
    alike: int = Field(default=5, ge=0)
    """For each retriever: passages most like the own positive, and queries most like the query, that it may bring."""
    most: int = Field(default=20, ge=1)
    """Candidates of one query that retrievers may bring, those first that most looks support."""
    far: int = Field(default=20, ge=1)
    """Rank beyond which an own positive counts as far away."""
    cross_encoder: str = ""
    """A sentence-transformers cross-encoder, by folder or hub id; "" for none."""
    cross_depth: int = Field(default=10, ge=1)
    """Candidates of one query that the cross-encoder reads."""
    cross_margin: float = Field(default=0.0, ge=0)
    """A candidate stays when its cross-encoder score is at least the own positive's less this."""
    cross_max_length: int = Field(default=512, ge=8)


def search(
    project: Project, settings: SearchSettings, retrievers: Sequence[Retriever] = (), progress: Progress = silent
) -> StoredEvidence:
    """Look for false negatives among the rows that train, and store what is found as evidence.

    Each edge (role `cross`) names a row of the query (`a_id`), a row of the passage (`b_id`), the cosine of the first
    retriever (`score`) and, as JSON, see `CANDIDATE_FIELDS`. Rows whose own positive is far away get a flag.

    Args:
        project: whose kept rows are searched.
        settings: how.
        retrievers: whom to ask; the first decides on candidates, a second gives its ranks. None: as in the settings.
        progress: told of each stage; may stop it. What was embedded by then is kept.

    Raises:
        ProjectError: no row is kept.
        InputError, UnavailableError, ConfigError: a model cannot be used.
    """
    start = time.perf_counter()
    asked = tuple(retrievers) or retrievers_of(project.settings)
    curated = project.curated()
    collection = Collection.of(project, curated)
    store = embeddings_folder(project)
    answers = [retrieve(collection, retriever, store, settings.depth, progress) for retriever in asked]
    lexical = retrieve_lexically(collection, settings.depth, progress)
    candidates = _candidates(collection, answers, lexical, project, curated, settings)
    if settings.cross_encoder:
        candidates = _reranked(collection, candidates, settings, progress)
    trust = {
        name: round(found.mrr, 4)
        for name, found in zip((*(item.name for item in asked), BM25), (*answers, lexical), strict=True)
    }
    edges = _edges(collection, candidates, next(iter(trust.values())))
    flags = _far(collection, [*answers, lexical], [*(item.name for item in asked), BM25], settings)
    stored = StoredEvidence(
        NAME,
        VERSION,
        {
            **settings.model_dump(mode="json"),
            "retrievers": [retriever.described() for retriever in asked],
            "rows": rows_key(collection),
        },
        project.settings.snapshot,
        time.perf_counter() - start,
        Evidence(flags, edges, notes=_notes(asked), stats=_stats(collection, edges, flags) | {"mrr": trust}),
    )
    with project.locked("evidence"):
        project.evidence.save(stored)
    return stored


def configured(settings: ProjectSettings, changes: Mapping[str, Any] | None = None) -> SearchSettings:
    """The project's settings of the search, with `changes` by name.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """
    return validated({**settings.false_negatives, **(changes or {})}, SearchSettings, "false_negatives")


def rows_key(collection: Collection) -> str:
    """Name the texts and splits that a search saw, in 16 hex digits: another key means that decisions changed them."""
    digest = hashlib.sha256()
    for table in (collection.queries, collection.passages):
        digest.update("\0".join(table["text"]).encode("utf-8", "surrogatepass"))
        digest.update(table["rows"].to_numpy().tobytes())
    digest.update(collection.own.to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _candidates(
    collection: Collection,
    answers: Sequence[Retrieved],
    lexical: Retrieved,
    project: Project,
    curated: Curated,
    settings: SearchSettings,
) -> pl.DataFrame:
    """One line a candidate: query, passage, score, own, margin, ranks, reasons."""
    first = answers[0]
    best = first.own.sort("score", descending=True, maintain_order=True).unique(
        "query", keep="first", maintain_order=True
    )
    best = best.select("query", pl.col("passage").alias("own_passage"), pl.col("score").alias("own"), "rank")
    best = best.rename({"rank": "own_rank"})
    looks = [look(collection, found) for found in (*answers, lexical)]
    known = relations(collection, project.fresh_evidence(), curated)
    known = known.filter(_in_training(collection, known))
    # A guard that says two texts differ is no reason to ask; beside another reason it is worth knowing.
    asking = known.filter(pl.col("held_by").is_null())
    seen = [_within_margin(collection, ranked(first.neighbours), best, settings), _alike(collection, looks, settings)]
    supported = support(looks, [found.mrr for found in (*answers, lexical)])
    pairs = pl.concat([part.select(_LINE) for part in seen]).unique(maintain_order=True)
    pairs = pairs.join(supported, on=_LINE, how="left", maintain_order="left")
    pairs = pairs.sort("query", "support", descending=[False, True], nulls_last=True, maintain_order=True)
    pairs = pairs.filter(pl.int_range(pl.len()).over("query") < settings.most)
    pairs = pl.concat([pairs.select(_LINE), asking.select(_LINE)]).unique(maintain_order=True)
    queries, passages = pairs["query"].to_numpy(), pairs["passage"].to_numpy()
    assert first.query_vectors is not None and first.passage_vectors is not None
    scores = pair_scores(first.query_vectors, first.passage_vectors, queries, passages)
    table = pairs.with_columns(pl.Series("score", scores, dtype=pl.Float64)).join(
        best, on="query", how="left", maintain_order="left"
    )
    table = table.with_columns(margin=_margin())
    table = table.join(supported, on=_LINE, how="left", maintain_order="left").with_columns(
        pl.col("support").fill_null(0.0)
    )
    ranks = {"rank": first.neighbours, "bm25_rank": lexical.neighbours}
    if len(answers) > 1:
        ranks["second_rank"] = answers[1].neighbours
    for name, found in ranks.items():
        lines = ranked(found).select(*_LINE, pl.col("rank").alias(name))
        table = table.join(lines, on=_LINE, how="left", maintain_order="left")
    return _with_reasons(collection, table, known, looks, project, settings)


def _alike(collection: Collection, looks: Sequence[pl.DataFrame], settings: SearchSettings) -> pl.DataFrame:
    """Passages most like a positive of the query, or positives of the queries most like it, for any retriever."""
    near = pl.concat([lines.filter((pl.col("look") != DIRECT) & (pl.col("rank") <= settings.alike)) for lines in looks])
    return near.filter(_in_training(collection, near)).select(_LINE)


def _within_margin(
    collection: Collection, near: pl.DataFrame, best: pl.DataFrame, settings: SearchSettings
) -> pl.DataFrame:
    """The bi-encoder's candidates: near enough to the own positive, and in training."""
    strangers = near.join(collection.own, on=_LINE, how="anti", maintain_order="left").join(best, on="query")
    strangers = strangers.filter(_in_training(collection, strangers))
    enough = strangers.with_columns(margin=_margin()).filter(pl.col("margin") >= -settings.margin)
    return enough.filter(pl.int_range(pl.len()).over("query") < settings.most).select(_LINE)


def _margin() -> pl.Expr:
    """How far a candidate is above the own positive, as a share of the own score's magnitude."""
    own = pl.col("own").cast(pl.Float64)
    return (pl.col("score").cast(pl.Float64) - own) / own.abs().clip(lower_bound=1e-9)


def _in_training(collection: Collection, pairs: pl.DataFrame) -> pl.Series:
    queries = collection.queries["rows"].gather(pairs["query"]) > 0
    return queries & (collection.passages["rows"].gather(pairs["passage"]) > 0)


def _with_reasons(
    collection: Collection,
    table: pl.DataFrame,
    known: pl.DataFrame,
    looks: Sequence[pl.DataFrame],
    project: Project,
    settings: SearchSettings,
) -> pl.DataFrame:
    """Say of each candidate why it is one (`reasons`, `certain`, `likeness`) and what speaks against it (`held_by`)."""
    free = known.filter(pl.col("held_by").is_null()).group_by(_LINE, maintain_order=True)
    named = free.agg(pl.col("reason").alias("known"), pl.col("certain").any(), pl.col("score").max().alias("likeness"))
    guards = known.filter(pl.col("held_by").is_not_null()).group_by(_LINE)
    held = guards.agg(pl.col("held_by").unique().sort().alias("guards"))
    near = pl.concat([lines.filter(pl.col("rank") <= settings.alike) for lines in looks]).group_by(_LINE)
    alike = near.agg(pl.col("look").unique().alias("looks"))
    for extra in (named, held, alike):
        table = table.join(extra, on=_LINE, how="left", maintain_order="left")
    margin, look_names = pl.col("margin"), pl.col("looks").fill_null([])
    own = [
        pl.when(margin > 0).then(pl.lit("outranks")),
        pl.when(margin.is_between(-settings.margin, 0)).then(pl.lit("within_margin")),
        *(pl.when(look_names.list.contains(name)).then(pl.lit(name)) for name in (LIKE_POSITIVE, LIKE_QUERY)),
        pl.when(_same_source(collection, table)).then(pl.lit("same_source")),
    ]
    template = pl.when(_same_template(collection, table, project)).then(pl.lit("template"))
    return table.with_columns(
        reasons=pl.concat_list(own).list.drop_nulls().list.concat(pl.col("known").fill_null([])),
        certain=pl.col("certain").fill_null(value=False),
        held_by=pl.col("guards").fill_null([]).list.concat(pl.concat_list(template).list.drop_nulls()),
    )


def _same_source(collection: Collection, pairs: pl.DataFrame) -> pl.Series:
    """Whether a positive of the query and the passage come from one document."""
    sources = collection.rows.filter(pl.col("source").is_not_null())
    of_query = sources.select("query", pl.col("source").alias("shared")).unique()
    of_passage = sources.select("passage", pl.col("source").alias("shared")).unique()
    return _share(pairs, of_query, of_passage)


def _same_template(collection: Collection, pairs: pl.DataFrame, project: Project) -> pl.Series:
    """Whether the query and a query of the passage have one pattern with other slots, or their passages have."""
    flags = [stored.evidence.flags for stored in project.fresh_evidence() if stored.check == "templates"]
    if not flags:
        return pl.repeat(value=False, n=pairs.height, eager=True)
    patterns = pl.concat(flags).select(
        "row_id", (pl.col("reason") + pl.col("evidence").str.json_path_match("$.pattern")).alias("shared")
    )
    patterns = collection.rows.join(patterns, on="row_id", maintain_order="left")
    return _share(pairs, patterns.select("query", "shared").unique(), patterns.select("passage", "shared").unique())


def _share(pairs: pl.DataFrame, of_query: pl.DataFrame, of_passage: pl.DataFrame) -> pl.Series:
    """Whether something that rows of the query have (`shared`) is also had by rows of the passage, one bool a pair."""
    lines = pairs.select(_LINE)
    hits = lines.join(of_query, on="query").join(of_passage, on=["passage", "shared"])
    marked = lines.join(hits.select(*_LINE, same=True).unique(), on=_LINE, how="left", maintain_order="left")
    return marked["same"].fill_null(value=False)


def _reranked(
    collection: Collection, table: pl.DataFrame, settings: SearchSettings, progress: Progress
) -> pl.DataFrame:
    """Let the cross-encoder read the nearest candidates of each query and its own positive."""
    ordered = table.sort("query", "score", descending=[False, True], maintain_order=True)
    read = ordered.filter(pl.int_range(pl.len()).over("query") < settings.cross_depth)
    own = read.select("query", pl.col("own_passage").alias("passage")).unique(maintain_order=True)
    pairs = pl.concat([read.select(_LINE), own])
    texts = zip(
        collection.queries["text"].gather(pairs["query"]),
        collection.passages["text"].gather(pairs["passage"]),
        strict=True,
    )
    spec = model_spec(model_location(settings.cross_encoder), max_length=settings.cross_max_length)
    scores = pairs.with_columns(pl.Series("cross", rerank(spec, list(texts), progress), dtype=pl.Float64))
    table = table.join(scores.unique(_LINE), on=_LINE, how="left", maintain_order="left")
    owns = scores.rename({"passage": "own_passage", "cross": "cross_own"}).unique(["query", "own_passage"])
    table = table.join(owns, on=["query", "own_passage"], how="left", maintain_order="left")
    below = (pl.col("cross") < pl.col("cross_own") - settings.cross_margin) & ~pl.col("certain")
    return table.with_columns(rejected_by=pl.when(below).then(pl.lit("cross_encoder")))


def _edges(collection: Collection, table: pl.DataFrame, trust: float) -> pl.DataFrame:
    """Complete candidates to EDGES_SCHEMA."""
    fields = [name for name in CANDIDATE_FIELDS if name in table.columns]
    by_reader = pl.col("rejected_by") if "rejected_by" in table.columns else pl.lit(None, dtype=pl.String)
    rejected = by_reader.fill_null(pl.when(unlikely(table, trust) & ~pl.col("certain")).then(pl.lit("unlikely")))
    band = (
        pl.when(rejected.is_not_null())
        .then(pl.lit(Band.IGNORE.value))
        .when("certain")
        .then(pl.lit(Band.AUTO.value))
        .otherwise(pl.lit(Band.REVIEW.value))
    )
    own_id = collection.passages["row_id"].gather(table["own_passage"])
    evidence = pl.struct(
        pl.Series("own_id", own_id),
        *(pl.col(name).round(6) if table.schema[name].is_float() else pl.col(name) for name in fields),
    ).struct.json_encode()
    return table.select(
        pl.Series("a_id", collection.queries["row_id"].gather(table["query"])),
        pl.Series("b_id", collection.passages["row_id"].gather(table["passage"])),
        role=pl.lit(Role.CROSS.value),
        check=pl.lit(NAME),
        version=pl.lit(VERSION),
        score="score",
        containment=pl.lit(None, dtype=pl.Float64),
        band=band,
        rejected_by=rejected,
        evidence=evidence,
    ).cast(EDGES_SCHEMA)


CANDIDATE_FIELDS = (
    "own", "margin", "support", "rank", "own_rank", "second_rank", "bm25_rank", "reasons", "likeness", "held_by",
    "cross", "cross_own",
)  # fmt: skip
"""What the evidence of an edge says, besides `own_id` (a row whose positive is the query's best-scoring own one).

`own`: its score. `margin`: (score − own)/|own|. `support`: of `studio.mining.views`. `rank`, `own_rank`: of the passage
and of the own positive, from 1. `second_rank`, `bm25_rank`: of the passage under the second retriever and BM25, null
beyond the depth. `reasons`: outranks, within_margin, like_positive, like_query, same_source, and those of `relations`.
`likeness`: the highest score of the checks' edges. `held_by`: guards that say two texts differ, or `template`: one
pattern with other slots. `cross`, `cross_own`: the cross-encoder's scores.
"""


def _far(
    collection: Collection, answers: Sequence[Retrieved], names: Sequence[str], settings: SearchSettings
) -> pl.DataFrame:
    """Flag training rows whose own positive is beyond `far` for every retriever and for BM25."""
    table = collection.own
    for number, answer in enumerate(answers):
        ranks = answer.own.select(*_LINE, pl.col("rank").alias(f"rank_{number}"))
        table = table.join(ranks, on=_LINE, how="left", maintain_order="left")
    everywhere = pl.all_horizontal(
        (pl.col(f"rank_{number}") > settings.far).fill_null(value=True) for number in range(len(answers))
    )
    table = table.filter(everywhere)
    by_name = pl.struct(pl.col(f"rank_{number}").alias(name) for number, name in enumerate(names))
    table = table.with_columns(evidence=by_name.struct.json_encode(), score=1 - 1 / pl.col("rank_0"))
    rows = collection.training.join(table, on=_LINE, how="inner", maintain_order="left")
    return rows.select(
        "row_id",
        check=pl.lit(NAME),
        version=pl.lit(VERSION),
        reason=pl.lit(FAR),
        score="score",
        band=pl.lit(Band.REVIEW.value),
        evidence="evidence",
    ).cast(FLAGS_SCHEMA)


def _notes(asked: Sequence[Retriever]) -> tuple[str, ...]:
    if not any(retriever.same_as_trained for retriever in asked):
        return ()
    return (
        "the retriever is the model to be trained, and shares its blind spots; name another one with --model, or in "
        "[[retrievers]] of studio.toml",
    )


def _stats(collection: Collection, edges: pl.DataFrame, flags: pl.DataFrame) -> dict[str, Any]:
    asked = edges.filter(pl.col("band") != Band.IGNORE.value)
    return {
        "queries": int((collection.queries["rows"] > 0).sum()),
        "passages": int((collection.passages["rows"] > 0).sum()),
        "candidates": asked.height,
        "queries_with_candidates": asked["a_id"].n_unique(),
        "unlikely": edges.height - asked.height,
        "own_positive_far": flags.height,
    }
