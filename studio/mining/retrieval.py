"""Asking retrievers: which passages each query gets, how its own positives score, and at which rank they stand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from studio.mining.collection import Collection
from studio.models.embed import Encoder, embed, model_fingerprint
from studio.models.lexical import BM25Index
from studio.models.load import model_spec
from studio.models.neighbours import Neighbours, nearest, pair_scores
from studio.models.tokenizer import model_prompts
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.project.settings import ProjectSettings, RetrieverSettings
from studio.prompts.contract import Origin, OriginKind, PromptContract
from studio.sample import model_location

BM25 = "bm25"
LIKE = 50
"""Like passages, and like queries, that are asked for."""


@dataclass(frozen=True)
class Retriever:
    """An encoder with the prompts it puts before queries and passages.

    `name`: the model's, with `#2` when it is asked a second time in another way. `same_as_trained`: whether it is the
    model the project trains, so that both share their blind spots.
    """

    name: str
    encoder: Encoder
    contract: PromptContract
    same_as_trained: bool

    def described(self) -> dict[str, str | int]:
        """What its scores depend on: `model`, `revision`, `prompts` (hash) and `max_length`."""
        return {
            "model": self.name,
            "revision": model_fingerprint(self.encoder.spec),
            "prompts": self.contract.hash,
            "max_length": self.encoder.spec.max_length,
        }


@dataclass(frozen=True)
class Retrieved:
    """What one retriever says.

    Attributes:
        neighbours: scores and passage numbers (queries, depth), one line a query of the collection.
        like_passages, like_queries: the passages most like each passage, and the queries most like each query.
        own: `query`, `passage`, `score` (Float32) and `rank` (UInt32, from 1) of every known positive. Of BM25: rank
            null where it is deeper than `depth`, score null then too.
        query_vectors, passage_vectors: float32 (texts, dimensions); None of BM25.
    """

    neighbours: Neighbours
    like_passages: Neighbours
    like_queries: Neighbours
    own: pl.DataFrame
    query_vectors: np.ndarray | None = None
    passage_vectors: np.ndarray | None = None

    @property
    def mrr(self) -> float:
        """How well it finds what is known: the mean over the known positives of 1/rank, 0 for one it does not find."""
        return float((1 / self.own["rank"]).fill_null(0.0).mean())  # type: ignore[arg-type]


def embeddings_folder(project: Project) -> Path:
    """Where the project keeps what was embedded."""
    return project.root / ".studio" / "embeddings"


def retrievers_of(settings: ProjectSettings, named: tuple[RetrieverSettings, ...] = ()) -> tuple[Retriever, ...]:
    """The retrievers to ask: `named`, else those of the settings, else the project's own model.

    Raises:
        InputError: a model's prompts cannot be read.
        UnavailableError: a model is neither here nor within reach.
    """
    own = RetrieverSettings(model=settings.model.id, max_length=settings.model.max_length)
    items = named or settings.retrievers or (own,)
    before = Counter[str]()
    retrievers = []
    for item in items:
        before[item.model] += 1
        number = f"#{before[item.model]}" if before[item.model] > 1 else ""
        retrievers.append(replace(_retriever(settings, item), name=item.model + number))
    return tuple(retrievers)


def _retriever(settings: ProjectSettings, item: RetrieverSettings) -> Retriever:
    spec = model_spec(
        model_location(item.model),
        max_length=item.max_length,
        device=item.device,
        trust_remote_code=item.trust_remote_code,
    )
    contract = settings.prompts.contract()
    if item.prompts == "none":
        contract = PromptContract.custom("", name="none")
    elif item.prompts == "model":
        prompts = model_prompts(spec.id_or_path, spec.revision).prompts
        origin = Origin(OriginKind.MODEL, "query", item.model)
        contract = PromptContract(prompts.get("query", ""), prompts.get("document", ""), origin)
    return Retriever(item.model, Encoder(spec), contract, item.model == settings.model.id)


def retrieve(
    collection: Collection, retriever: Retriever, store: Path, depth: int, progress: Progress = silent
) -> Retrieved:
    """Ask an encoder for the `depth` passages nearest to every query; nothing is embedded a second time."""
    encoder = retriever.encoder
    queries = embed(encoder, collection.queries["text"], retriever.contract.query, store, progress)
    passages = embed(encoder, collection.passages["text"], retriever.contract.document, store, progress)
    own = collection.own
    scores = pair_scores(queries, passages, own["query"].to_numpy(), own["passage"].to_numpy())
    own = own.with_columns(pl.Series("score", scores, dtype=pl.Float32))
    places = own.select(pl.int_range(pl.len()).over("query").alias("place"))["place"].to_numpy()
    # One column a positive of the same query; where a query has fewer, nothing scores higher than infinity.
    thresholds = np.full((collection.queries.height, int(places.max(initial=0)) + 1), np.inf, np.float32)
    thresholds[own["query"].to_numpy(), places] = scores
    found = nearest(queries, passages, depth, thresholds=thresholds, progress=progress)
    ranks = found.above[own["query"].to_numpy(), places] + 1
    own = own.with_columns(pl.Series("rank", ranks, dtype=pl.UInt32))
    like_passages = nearest(passages, passages, LIKE, progress=progress)
    like_queries = nearest(queries, queries, LIKE, progress=progress)
    return Retrieved(found, like_passages, like_queries, own, queries, passages)


def retrieve_lexically(collection: Collection, depth: int, progress: Progress = silent) -> Retrieved:
    """Ask BM25 the same."""
    index = BM25Index(collection.passages["text"], progress)
    found = index.nearest(collection.queries["text"], depth, progress)
    ranks = ranked(found)
    own = collection.own.join(ranks, on=["query", "passage"], how="left", maintain_order="left")
    like_passages = index.nearest(collection.passages["text"], LIKE, progress)
    like_queries = BM25Index(collection.queries["text"], progress).nearest(collection.queries["text"], LIKE, progress)
    return Retrieved(found, like_passages, like_queries, own)


def ranked(found: Neighbours) -> pl.DataFrame:
    """Neighbours as a table: `query`, `passage` (UInt32), `score` (Float32), `rank` (UInt32, from 1)."""
    queries, depth = found.indices.shape
    table = pl.DataFrame(
        {
            "query": np.repeat(np.arange(queries, dtype=np.uint32), depth),
            "passage": found.indices.ravel(),
            "score": found.scores.ravel().astype(np.float32),
            "rank": np.tile(np.arange(1, depth + 1, dtype=np.uint32), queries),
        }
    )
    return table.filter(pl.col("passage") >= 0).with_columns(pl.col("passage").cast(pl.UInt32))
