"""Small evaluations with known values, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from studio.evaluation.metrics import METRICS, by_query
from studio.evaluation.per_query import qrels_of
from studio.evaluation.results import Evaluation, Ranking, SystemResult
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.systems import SystemClass

JUDGED = {"query_id": pl.String, "passage_id": pl.String, "relevance": pl.Float64}


def retrieval_set(
    qrels: Mapping[str, Mapping[str, float]],
    passages: Sequence[str],
    attributes: pl.DataFrame | None = None,
    leaked: Mapping[str, str] | None = None,
) -> RetrievalSet:
    """Queries `q…` with their judgements over passages `p…`."""
    lines = [(query, passage, grade) for query, grades in qrels.items() for passage, grade in grades.items()]
    queries = pl.DataFrame({"query_id": list(qrels), "text": [f"pergunta {query}" for query in qrels]})
    corpus = pl.DataFrame({"passage_id": list(passages), "text": [f"trecho {passage}" for passage in passages]})
    why = None if leaked is None else pl.DataFrame({"query_id": list(leaked), "why": list(leaked.values())})
    judged = Judged(queries, corpus, pl.DataFrame(lines, schema=JUDGED, orient="row"))
    return RetrievalSet.of(judged, About("test", "made for a test"), attributes, why)


def ranked(evaluated: RetrievalSet, runs: Sequence[Sequence[str]], depth: int) -> Ranking:
    """The passages of each query, the best first."""
    place = {passage: at for at, passage in enumerate(evaluated.judged.corpus["passage_id"])}
    indices, scores = np.full((len(runs), depth), -1, np.int32), np.full((len(runs), depth), -np.inf, np.float32)
    for row, run in enumerate(runs):
        indices[row, : len(run)] = [place[passage] for passage in run]
        scores[row, : len(run)] = 1 / np.arange(1, len(run) + 1)
    return Ranking(indices, scores)


def system(
    evaluated: RetrievalSet,
    name: str,
    ranking: Ranking | None = None,
    values: Mapping[str, Any] | None = None,
    of_class: SystemClass = SystemClass.DENSE,
    **more: Any,
) -> SystemResult:
    """A system with a ranking, or with values alone."""
    if ranking is not None:
        values = by_query(ranking.indices, qrels_of(evaluated), METRICS)
    found = {metric: np.asarray(of, np.float64) for metric, of in (values or {}).items()}
    overall = {metric: float(of.mean()) for metric, of in found.items()}
    return SystemResult(name, more.pop("system", None), of_class, found, overall, ranking, **more)


def evaluation(evaluated: Any, *systems: SystemResult, main: str = "ndcg@10") -> Evaluation:
    """All of them on one set."""
    return Evaluation("e", evaluated, main, tuple(systems[0].values) if systems else (), systems)
