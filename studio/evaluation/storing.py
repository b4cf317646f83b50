"""Evaluations on disk: a folder each, of which every part is whole as soon as it is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from studio.errors import InputError
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.parts import load_set, load_system, set_is_frozen
from studio.evaluation.requests import load_request
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.sets import About, EvaluationSet, Judged, RetrievalSet, SimilaritySet, identity
from studio.evaluation.similarity import ACCURACY, SPEARMAN
from studio.evaluation.systems import Dense, SystemClass
from studio.evaluation.wording import numbered
from studio.named_folders import Shelf
from studio.runs.folder import RunFolder
from studio.runs.summary import read_toml

_EVALUATIONS = Shelf("evaluations", "request.json", "evaluation")


def evaluation_folder(project: Path, name: str) -> EvaluationFolder:
    """The folder of an evaluation, whether it is there or not.

    Raises:
        UsageError: an evaluation cannot be called that.
    """
    return EvaluationFolder(_EVALUATIONS.place(project, name))


def existing_evaluation(project: Path, name: str) -> EvaluationFolder:
    """The folder of an evaluation that is there.

    Raises:
        UsageError: an evaluation cannot be called that.
        InputError: there is none; those that are there are named.
    """
    return EvaluationFolder(_EVALUATIONS.existing(project, name))


def evaluation_folders(project: Path) -> list[EvaluationFolder]:
    """Every evaluation of a project, finished or not, by name."""
    return [EvaluationFolder(path) for path in _EVALUATIONS.all_of(project)]


def free_name(project: Path, wanted: str) -> str:
    """A name that no evaluation has: `plain_name` of what is wanted, with a number if it is taken."""
    short = plain_name(wanted)
    name, number = short, 1
    while (project / _EVALUATIONS.folder / name).exists():
        number += 1
        name = f"{short}-{number}"
    return name


def plain_name(wanted: str) -> str:
    """What is wanted without what the name of an evaluation cannot hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")[:60] or "evaluation"


def done(folder: EvaluationFolder) -> bool:
    """Whether every system of the request has its result, or the reason why it has none."""
    return folder.report.exists()


def load(folder: EvaluationFolder) -> Evaluation:
    """Open an evaluation, finished or not; what is not there yet is said in its notes.

    Raises:
        InputError: it is damaged, or its set is not frozen yet.
    """
    request = load_request(folder)
    if not set_is_frozen(folder):
        raise InputError(
            f"The evaluation `{folder.name}` has only been asked for: its queries and passages are not collected.",
            where=str(folder.root),
            remedy=f"go on with it: harrier-studio evaluate --project {folder.project} --name {folder.name}",
        )
    found = [load_system(folder, place) for place in range(len(request.systems))]
    missing = [named.name for named, result in zip(request.systems, found, strict=True) if result is None]
    notes: tuple[str, ...] = ()
    if missing:
        notes = (
            f"it is not finished: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} still to come; "
            f"`harrier-studio evaluate --name {folder.name}` goes on",
        )
    evaluated = load_set(folder)
    metrics = metrics_of(evaluated, request.metrics)
    return Evaluation(
        folder.name,
        evaluated,
        metrics[0],
        metrics,
        tuple(result for result in found if result is not None),
        request.made,
        request.command,
        notes,
    )


def metrics_of(evaluated: EvaluationSet, asked: Sequence[str]) -> tuple[str, ...]:
    """What is computed on a set, the metric that decides first; of pairs and triplets it is what they have."""
    if isinstance(evaluated, RetrievalSet):
        return tuple(asked)
    return (SPEARMAN,) if isinstance(evaluated, SimilaritySet) else (ACCURACY,)


def of_runs(folders: Sequence[RunFolder]) -> Evaluation:
    """What runs themselves measured, in one table: each run's end, and what its model was before training.

    Only the main metric is known by query, and nothing of the rankings.

    Args:
        folders: the runs; those that measured nothing have an error for a result.

    Raises:
        InputError: there is none, their tests or their metrics are not the same, or a frozen test cannot be read.
    """
    read = [_Run(folder) for folder in folders]
    if not read:
        raise InputError("There is no run to compare.")
    first = read[0]
    for other in read[1:]:
        why = first.differs(other)
        if why:
            raise InputError(
                f"The runs `{first.name}` and `{other.name}` cannot be compared.",
                where=str(other.folder.root),
                why=why,
                remedy=f"evaluate both on one set: harrier-studio evaluate --system run:{first.name} "
                f"--system run:{other.name}",
            )
    order = first.judged.queries["query_id"].to_list()
    finals = [run.result("final", order) for run in read]
    baselines: list[SystemResult] = []
    for run in read:
        before = run.result("baseline", order)
        if not before.error and not any(_same(before, known, first.metric) for known in (*baselines, *finals)):
            baselines.append(before)
    # What a run before training and a zero-shot run say alike is said once, and first: the others are held against it.
    zero_shot = [final for run, final in zip(read, finals, strict=True) if run.untrained]
    trained = [final for run, final in zip(read, finals, strict=True) if not run.untrained]
    about = About(
        name="runs' own test",
        origin=f"the frozen test of run {first.name}",
        in_project=True,
        notes=("each run measured itself; only its main metric is known by query",),
    )
    metrics = tuple(dict.fromkeys([first.metric, *(name for run in finals for name in run.overall)]))
    return Evaluation(
        "", RetrievalSet.of(first.judged, about), first.metric, metrics, (*zero_shot, *baselines, *trained)
    )


class _Run:
    """A run's frozen test and what it came to."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.name = folder, folder.name
        self.spec = read_toml(folder.spec)
        try:
            tables = [pl.read_parquet(folder.data / f"{name}.parquet") for name in ("queries", "corpus", "qrels")]
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError("A run's frozen test cannot be read.", where=str(folder.data), why=str(error)) from error
        self.judged = Judged(*tables)
        self.identity = identity(self.judged)
        try:
            self.said: Mapping[str, Any] = json.loads(folder.result.read_text("utf-8"))
        except (OSError, ValueError):
            self.said = {}
        self.untrained = self.spec.get("schedule", {}).get("max_steps") == 0
        self.metric = str(self.said.get("metric") or self.spec.get("evaluation", {}).get("metric", "ndcg@10"))

    def differs(self, other: _Run) -> str:
        """Why the scores of two runs are not about the same thing, or ""."""
        if self.identity != other.identity:
            mine, theirs = (
                f"{numbered(run.judged.queries.height, 'query')} among {numbered(run.judged.corpus.height, 'passage')}"
                for run in (self, other)
            )
            return f"their tests differ in ids, texts or judgements: {mine}, and {theirs}"
        if self.metric != other.metric:
            return f"the one was measured by {self.metric}, the other by {other.metric}"
        return ""

    def result(self, when: str, order: list[str]) -> SystemResult:
        """The run at its end (`final`) or before training (`baseline`)."""
        name = self.name if when == "final" else f"{self.name}@baseline"
        model, prompts = self.spec.get("model", {}), self.spec.get("prompts", {})
        described: dict[str, str | int | float] = {
            "model": str(model.get("id", "")),
            "revision": str(model.get("revision", "")),
            "prompts": str(prompts.get("origin", "")),
            "max_length": int(model.get("max_length", 0)),
            **{f"{role}_prompt": str(prompts[role]) for role in ("query", "document") if role in prompts},
        }
        # As what it would be evaluated, so that the rules of comparing know its form.
        system = Dense(run=self.name, at="" if when == "final" else "baseline")
        try:
            said = self.said[when]
            values = np.array([said["per_query"][query] for query in order], np.float64)
            overall = {str(key): float(value) for key, value in said["metrics"].items()}
        except (KeyError, TypeError, ValueError):
            why = "the run has not come to its end" if when == "final" else "the run measured no baseline"
            return SystemResult(name, system, SystemClass.DENSE, {}, {}, described=described, error=why)
        return SystemResult(name, system, SystemClass.DENSE, {self.metric: values}, overall, described=described)


def _same(one: SystemResult, other: SystemResult, metric: str) -> bool:
    """Whether two results are the same values of the same model read in the same way."""
    if metric not in one.values or metric not in other.values or one.described != other.described:
        return False
    return bool(np.array_equal(one.values[metric], other.values[metric]))
