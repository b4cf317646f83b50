"""Running systems on a set: what each ranks first for every query. What two systems share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from studio.errors import StudioError, UnavailableError, UsageError
from studio.evaluation.fusion import cut, reciprocal_ranks, weighted_sum, without
from studio.evaluation.results import F32, I32, Ranking
from studio.evaluation.sets import About, RetrievalSet, SetKind
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked, SystemClass
from studio.evaluation.trec import read_run
from studio.evaluation.trec_scores import positions
from studio.evaluation.vectors import Context, context_of, described, resolve
from studio.files import sha256_of
from studio.models.embed import embed, files_fingerprint
from studio.models.lexical import BM25Index
from studio.models.load import model_spec
from studio.models.neighbours import Neighbours, nearest, pair_scores
from studio.models.quantising import nearest_codes, pair_scores_of_codes, quantised, truncated
from studio.models.rerank import rerank
from studio.progress import Progress, silent
from studio.prompts.contract import Role
from studio.sample import model_location

__all__ = ["PAIR_ROLES", "Context", "Ran", "Work", "class_of", "context_of", "run", "run_all", "similarities"]

AnySystem: TypeAlias = Dense | Lexical | Hybrid | Reranked | Given
Described: TypeAlias = Mapping[str, str | int | float]

PAIR_ROLES = {SetKind.SIMILARITY: (Role.QUERY, Role.QUERY), SetKind.TRIPLETS: (Role.QUERY, Role.DOCUMENT)}
"""Which prompts the two sides of a pair get: sentences that are compared are both queries, as Harrier's authors do."""

_CLASSES = {
    "dense": SystemClass.DENSE,
    "bm25": SystemClass.LEXICAL,
    "hybrid": SystemClass.HYBRID,
    "reranked": SystemClass.RERANKED,
}
_MODEL_FILES = {".json", ".safetensors", ".bin", ".model", ".txt"}


class Ran(NamedTuple):
    """What a system came out with.

    Attributes:
        ranking: the first passages of each query.
        described: what it depends on: model, revision, prompts, lengths; of parts, with their number before it.
        notes: what a person should know.
    """

    ranking: Ranking
    described: Described
    notes: tuple[str, ...]


def class_of(system: AnySystem) -> SystemClass:
    """With which systems this one may be compared."""
    return system.of_class if isinstance(system, Given) else _CLASSES[system.kind]


def run(
    named: Named,
    evaluated: RetrievalSet,
    context: Context,
    depth: int = 100,
    progress: Progress = silent,
    work: Work | None = None,
) -> Ran:
    """Rank the passages of a set for each of its queries.

    Vectors are read from the cache where they are there, and stored where they are not. Where the set says so, the
    passage with the query's own id is taken out of every ranking before anything is made of it.

    Args:
        named: the system.
        evaluated: the set.
        context: what systems are run with.
        depth: passages a query; fewer where the set has fewer.
        progress: told of each step; what it raises stops the work.
        work: of the same set and context: what earlier systems had in common with this one is not done again.

    Raises:
        StudioError: the system cannot be run: its model or file is missing or broken, or its options contradict it.
    """
    return (work or Work(evaluated, context)).ran(named.system, depth, progress)


def run_all(
    systems: Sequence[Named],
    evaluated: RetrievalSet,
    context: Context,
    depth: int = 100,
    progress: Progress = silent,
) -> Iterator[tuple[Named, Ran | StudioError]]:
    """Run systems one after another; one that cannot be run gives its reason, and the others go on.

    Raises:
        Cancelled: progress asked for it.
    """
    work = Work(evaluated, context)
    for named in systems:
        try:
            yield named, run(named, evaluated, context, depth, progress, work)
        except StudioError as error:
            yield named, error
        except (RuntimeError, OSError, MemoryError, ValueError) as error:  # what libraries raise of a broken model
            why = f"{type(error).__name__}: {error}"
            yield named, UnavailableError("The system could not be run.", where=named.name, why=why)


def similarities(
    system: AnySystem,
    left: pl.Series,
    right: pl.Series,
    context: Context,
    *,
    roles: tuple[Role, Role] = (Role.QUERY, Role.DOCUMENT),
    about: About | None = None,
    progress: Progress = silent,
) -> F32:
    """The cosine of each pair of texts, float32 (pairs,).

    Args:
        system: a dense one; its dimensions and precision apply.
        left: texts.
        right: as many.
        context: what systems are run with.
        roles: which prompt each side gets; see PAIR_ROLES.
        about: of the set, for systems that want its prompt.
        progress: told of each step.

    Raises:
        UsageError: the system is not dense, and gives no cosine.
        StudioError: its model cannot be used.
    """
    if not isinstance(system, Dense):
        raise UsageError(
            "Only an embedding model says how alike two texts are.",
            why=f"this system is {class_of(system)}: it ranks passages for a query",
            remedy="leave it out of sets of pairs and triplets",
        )
    found = resolve(system, context, about)
    one, other = (
        truncated(embed(found.encoder, texts, found.contract.prompt(role), context.store, progress), system.dim)
        for texts, role in zip((left, right), roles, strict=True)
    )
    if system.precision == "float32":
        same = np.arange(len(left))
        return pair_scores(one, other, same, same)
    return pair_scores_of_codes(one, quantised(other, system.precision), rescored=system.rescore > 0)


class Work:
    """What was computed for one set: rankings by system, the last model's vectors, what a cross-encoder said."""

    def __init__(self, evaluated: RetrievalSet, context: Context) -> None:
        """Begin with nothing.

        Args:
            evaluated: the set.
            context: what systems are run with.
        """
        judged = evaluated.judged
        self._about, self._context = evaluated.about, context
        self._query_ids, self._passage_ids = judged.queries["query_id"], judged.corpus["passage_id"]
        self._queries, self._passages = judged.queries["text"], judged.corpus["text"]
        self._own = self._own_passages() if evaluated.about.self_hits_removed else None
        self._rankings: dict[AnySystem, tuple[int, Ran]] = {}
        self._vectors: tuple[object, F32, F32] | None = None
        self._indexes: dict[Lexical, BM25Index] = {}
        self._read: dict[object, dict[int, float]] = {}

    def ran(self, system: AnySystem, depth: int, progress: Progress = silent) -> Ran:
        """Run a system to a depth, unless it was run to that depth or deeper before."""
        depth = min(depth, len(self._passages))
        known = self._rankings.get(system)
        if known is None or known[0] < depth:
            known = self._rankings[system] = depth, self._fresh(system, depth, progress)
        return known[1]._replace(ranking=cut(known[1].ranking, depth))

    def _fresh(self, system: AnySystem, depth: int, progress: Progress) -> Ran:
        if isinstance(system, Hybrid):
            return self._fused(system, depth, progress)
        if isinstance(system, Reranked):
            return self._reranked(system, depth, progress)
        if isinstance(system, Dense):
            return self._dense(system, depth, progress)
        return self._lexical(system, depth, progress) if isinstance(system, Lexical) else self._given(system, depth)

    def _dense(self, system: Dense, depth: int, progress: Progress) -> Ran:
        found = resolve(system, self._context, self._about)
        key = (found.spec, found.contract.query, found.contract.document)
        if self._vectors is None or self._vectors[0] != key:
            self._vectors = None
            store = self._context.store
            queries = embed(found.encoder, self._queries, found.contract.query, store, progress)
            passages = embed(found.encoder, self._passages, found.contract.document, store, progress)
            self._vectors = key, queries, passages
        queries, passages = (truncated(vectors, system.dim) for vectors in self._vectors[1:])
        device = found.spec.device

        def search(wanted: int) -> Neighbours:
            if system.precision == "float32":
                return nearest(queries, passages, wanted, device=device, progress=progress)
            codes = quantised(passages, system.precision)
            return nearest_codes(queries, codes, wanted, rescore=system.rescore, device=device, progress=progress)

        told = {**described(found, system), "dimensions": queries.shape[1]}
        return Ran(self._without_own(search, depth), told, ())

    def _lexical(self, system: Lexical, depth: int, progress: Progress) -> Ran:
        index = self._indexes.get(system)
        if index is None:
            index = BM25Index(self._passages, progress, words=system.words, k1=system.k1, b=system.b)
            self._indexes[system] = index
        ranking = self._without_own(lambda wanted: index.nearest(self._queries, wanted, progress), depth)
        silent_ = int((ranking.indices < 0).all(axis=1).sum())
        notes = (f"queries that share no word with any passage: {silent_:,}",) if silent_ else ()
        told: Described = {"words": system.words, "k1": system.k1, "b": system.b}
        return Ran(ranking, told, notes)

    def _given(self, system: Given, depth: int) -> Ran:
        """Another tool's run: equal scores by passage id, the last first, as trec_eval ranks them."""
        path = Path(system.path).expanduser()
        lines = read_run(path)
        known = lines.filter(pl.col("query_id").is_in(self._query_ids.implode()))
        if self._own is not None:
            known = known.filter(pl.col("query_id") != pl.col("passage_id"))
        # A passage that is not in the corpus keeps its place: it was ranked, and is not relevant.
        ranking = Ranking(*positions(known, self._query_ids, self._passage_ids, depth))
        strange = ~known["passage_id"].is_in(self._passage_ids.implode())
        asked = lines["query_id"].unique()
        counts = (
            (int((~asked.is_in(self._query_ids.implode())).sum()), "queries of the run that are not in the set"),
            (
                int((~self._query_ids.is_in(asked.implode())).sum()),
                "queries of the set that are not in the run, each of which is 0",
            ),
            (int(strange.sum()), "lines of the run whose passages are not in the corpus; they keep their ranks"),
        )
        told: Described = {"file": str(path), "sha256": sha256_of(path), "tag": lines["tag"][0]}
        return Ran(ranking, told, tuple(f"{what}: {count:,}" for count, what in counts if count))

    def _fused(self, system: Hybrid, depth: int, progress: Progress) -> Ran:
        parts = [self.ran(part, max(depth, system.depth), progress) for part in system.parts]
        rankings = [cut(part.ranking, system.depth) for part in parts]
        if system.how == "rrf":
            ranking = reciprocal_ranks(rankings, system.k, depth)
        else:
            ranking = weighted_sum(rankings, system.weights, depth)
        told: dict[str, str | int | float] = {"how": system.how, "depth": system.depth}
        told |= {"k": system.k} if system.how == "rrf" else {}
        for number, (part, weight) in enumerate(zip(parts, system.weights or repeat(1.0), strict=False), start=1):
            told |= {f"{number} weight": weight} if system.how == "weighted" else {}
            told |= {f"{number} {key}": value for key, value in part.described.items()}
        notes = tuple(f"part {n}: {note}" for n, part in enumerate(parts, start=1) for note in part.notes)
        return Ran(ranking, told, notes)

    def _reranked(self, system: Reranked, depth: int, progress: Progress) -> Ran:
        """The first passages in the cross-encoder's order; those it does not read stay below, in theirs."""
        before = self.ran(system.first, max(depth, system.top), progress)
        ranking = cut(before.ranking, max(depth, system.top))
        row, column = np.nonzero(ranking.indices[:, : system.top] >= 0)
        scores = self._judged(system, row, ranking.indices[row, column], progress)
        indices, values = ranking.indices.copy(), ranking.scores.copy()
        values[row, column] = scores
        low = np.full(len(indices), np.inf, np.float32)
        np.minimum.at(low, row, scores)
        low = np.where(np.isfinite(low), low, np.float32(0))
        rest = np.arange(1, max(0, indices.shape[1] - system.top) + 1, dtype=np.float32)
        below = indices[:, system.top :] >= 0
        values[:, system.top :] = np.where(below, low[:, None] - rest, -np.inf)
        order = np.lexsort((indices, -values), axis=1)
        ordered = Ranking(np.take_along_axis(indices, order, axis=1), np.take_along_axis(values, order, axis=1))
        told = {f"first {key}": value for key, value in before.described.items()}
        told |= {"cross_encoder": system.model, "revision": _revision(system), "top": system.top}
        told["max_length"] = system.max_length
        notes = before.notes
        if below.any():
            notes += (f"only the first {system.top} passages of each query were read by the cross-encoder",)
        return Ran(cut(ordered, depth), told, notes)

    def _judged(self, system: Reranked, row: np.ndarray, place: I32, progress: Progress) -> F32:
        """What the cross-encoder says of pairs of a query and a passage; each is read once, whoever found it."""
        spec = model_spec(
            model_location(system.model),
            max_length=system.max_length,
            revision=system.revision,
            device=system.device or self._context.device,
            trust_remote_code=system.trust_remote_code,
        )
        known = self._read.setdefault(spec, {})
        keys = (row.astype(np.int64) * max(1, len(self._passages)) + place).tolist()
        new = [at for at, key in enumerate(keys) if key not in known]
        asked, passages = self._queries.gather(row[new]).to_list(), self._passages.gather(place[new]).to_list()
        for at, score in zip(new, rerank(spec, list(zip(asked, passages, strict=True)), progress), strict=True):
            known[keys[at]] = float(score)
        return np.array([known[key] for key in keys], np.float32)

    def _own_passages(self) -> I32:
        """The position of the passage that has the query's id; -1: there is none."""
        passages = self._passage_ids.alias("query_id").to_frame().with_row_index("passage")
        asked = self._query_ids.alias("query_id").to_frame()
        found = asked.join(passages, on="query_id", how="left", maintain_order="left")["passage"]
        return found.cast(pl.Int32).fill_null(-1).to_numpy()

    def _without_own(self, search: Callable[[int], Neighbours], depth: int) -> Ranking:
        if self._own is None or (self._own < 0).all():
            found = search(depth)
            return Ranking(found.indices, found.scores)
        found = search(min(depth + 1, len(self._passages)))
        return without(Ranking(found.indices, found.scores), self._own, depth)


def _revision(system: Reranked) -> str:
    """What tells one state of a cross-encoder from another: a commit, or a hash over the files of its folder."""
    folder = Path(system.model).expanduser()
    if not folder.is_dir():
        return f"{system.model}@{system.revision}" if system.revision else system.model
    files = (file for file in sorted(folder.rglob("*")) if file.suffix in _MODEL_FILES and file.is_file())
    return files_fingerprint(folder, files)
