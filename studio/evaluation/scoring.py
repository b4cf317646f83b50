"""One system on one set, in memory: it is run, and its values are computed by query, by pair or by triplet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.errors import UsageError
from studio.evaluation.metrics import Qrels, by_query, metric
from studio.evaluation.results import F64, SystemResult
from studio.evaluation.running import PAIR_ROLES, Context, Work, class_of, run, similarities
from studio.evaluation.sets import EvaluationSet, RetrievalSet, SimilaritySet
from studio.evaluation.similarity import ACCURACY, COSINE, SPEARMAN, accuracies, spearman
from studio.evaluation.systems import Dense, Named
from studio.progress import Progress, silent

_DEPTH = 100
"""Passages that are ranked at least: a person looks for the gold passage deeper than a metric does."""


def result_of(
    named: Named,
    evaluated: EvaluationSet,
    context: Context,
    metrics: Sequence[str],
    progress: Progress = silent,
    work: Work | None = None,
) -> SystemResult:
    """Run a system and measure it.

    Args:
        named: the system.
        evaluated: the set.
        context: where models, prompts and vectors come from.
        metrics: what is computed of a retrieval set.
        progress: told of what is embedded and searched.
        work: what was computed for the same set before, of a retrieval set; None: nothing.

    Raises:
        InputError: a file, a model or a run cannot be used.
        UnavailableError: a model is out of reach.
        UsageError: the system does not do what the set asks for.
    """
    if isinstance(evaluated, RetrievalSet):
        return _ranked(named, evaluated, context, metrics, progress, work)
    system = named.system
    if not isinstance(system, Dense):
        raise UsageError(
            f"`{named.name}` ranks passages; it has no similarity of two texts.",
            remedy=f"measure it on a retrieval set; {evaluated.kind.value} sets are for embedding models",
        )
    if isinstance(evaluated, SimilaritySet):
        pairs = evaluated.pairs
        roles = PAIR_ROLES[evaluated.kind]
        cosines = similarities(
            system, pairs["left"], pairs["right"], context, roles=roles, about=evaluated.about, progress=progress
        )
        overall = {SPEARMAN: spearman(cosines, pairs["score"].to_numpy())}
        values: dict[str, F64] = {COSINE: cosines.astype(np.float64)}
    else:
        texts = evaluated.triplets
        near, far = (
            similarities(system, texts["anchor"], texts[side], context, about=evaluated.about, progress=progress)
            for side in ("positive", "negative")
        )
        values = {ACCURACY: accuracies(near, far)}
        overall = {ACCURACY: float(values[ACCURACY].mean())}
    return SystemResult(named.name, system, class_of(system), values, overall)


def _ranked(
    named: Named,
    evaluated: RetrievalSet,
    context: Context,
    metrics: Sequence[str],
    progress: Progress,
    work: Work | None,
) -> SystemResult:
    queries, corpus, qrels = evaluated.judged
    depth = min(max([_DEPTH, *(metric(name).k for name in metrics)]), corpus.height)
    ran = run(named, evaluated, context, depth=depth, progress=progress, work=work)
    judged = Qrels.of(queries["query_id"], corpus["passage_id"], qrels, outside=True)
    values = by_query(ran.ranking.indices, judged, metrics)
    overall = {name: float(found.mean()) for name, found in values.items()}
    return SystemResult(
        named.name,
        named.system,
        class_of(named.system),
        values,
        overall,
        ran.ranking,
        described=ran.described,
        notes=tuple(ran.notes),
    )
