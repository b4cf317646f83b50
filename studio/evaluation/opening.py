"""Evaluations and runs by their names, in one table where they were measured on the same thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from studio.errors import InputError, UsageError
from studio.evaluation.comparison import named
from studio.evaluation.results import Evaluation, Ranking, SystemResult
from studio.evaluation.sets import RetrievalSet, difference
from studio.evaluation.storing import evaluation_folder, evaluation_folders, load, of_runs
from studio.runs.folder import run_folder, run_folders

_RUN, _EVALUATION = "run:", "evaluation:"


class _Place(NamedTuple):
    """What a name stands for: a run or an evaluation, and of that perhaps one system."""

    is_run: bool
    name: str
    system: str = ""


def opened(project: Path, names: Sequence[str]) -> Evaluation:
    """Open what is named, as one evaluation.

    Args:
        project: the project's directory.
        names: each an evaluation, one system of it (`EVALUATION/SYSTEM`), or a finished run; `run:` or `evaluation:`
            before it tells two of one name apart.

    Returns:
        The systems in the order of the names; where two have one name, with that of their evaluation before it.

    Raises:
        InputError: there is nothing of that name, it cannot be read, or two were not measured on the same thing.
        UsageError: a name is of both a run and an evaluation, or an evaluation has no such system.
    """
    places = [_place(project, name) for name in names]
    runs = [run_folder(project, place.name) for place in places if place.is_run]
    of_all_runs = of_runs(runs) if runs else None
    if of_all_runs and len(runs) == len(places):
        return of_all_runs
    stored = {place.name: load(evaluation_folder(project, place.name)) for place in places if not place.is_run}
    if len(stored) == 1 and not runs:
        found = next(iter(stored.values()))
        wanted = [named(found, place.system).name for place in places if place.system]
        return found if len(wanted) < len(places) else replace(found, systems=_chosen(found, wanted))
    return _merged(places, stored, of_all_runs)


def _place(project: Path, name: str) -> _Place:
    first, _, system = name.removeprefix(_EVALUATION).removeprefix(_RUN).partition("/")
    run = not system and not name.startswith(_EVALUATION) and run_folder(project, first).spec.exists()
    evaluation = not name.startswith(_RUN) and evaluation_folder(project, first).request.exists()
    if run and evaluation:
        raise UsageError(
            f"There is both a run and an evaluation called `{first}`.",
            remedy=f"write {_RUN}{first} or {_EVALUATION}{first}",
        )
    if not run and not evaluation:
        known = [f"evaluation {folder.name}" for folder in evaluation_folders(project)]
        known += [f"run {folder.name}" for folder in run_folders(project)]
        raise InputError(
            f"There is no evaluation or run `{first}`.",
            where=str(project),
            remedy=f"known: {', '.join(known) or 'there is none yet'}",
        )
    return _Place(run, first, system)


def _chosen(evaluation: Evaluation, names: Sequence[str]) -> tuple[SystemResult, ...]:
    return tuple(named(evaluation, name) for name in dict.fromkeys(names))


def _merged(places: Sequence[_Place], stored: dict[str, Evaluation], runs: Evaluation | None) -> Evaluation:
    """Systems of several evaluations over the queries of the first."""
    parts: dict[str, tuple[Evaluation, list[SystemResult]]] = {}
    for place in places:
        key = _RUN if place.is_run else place.name
        evaluation = runs if place.is_run and runs else stored[place.name]
        _, systems = parts.setdefault(key, (evaluation, []))
        systems += _chosen(evaluation, [place.system]) if place.system else evaluation.systems
    first = next(iter(parts.values()))[0]
    metrics = [name for name in first.metrics if all(name in part.metrics for part, _ in parts.values())]
    found: list[tuple[str, SystemResult]] = []
    for key, (evaluation, systems) in parts.items():
        order = _order(first, evaluation)
        for system in {one.name: one for one in systems}.values():
            told = _reordered(system, order)
            if not any(_same(told, other) for _, other in found):
                found.append(("runs" if key == _RUN else key, told))
    times = Counter(system.name for _, system in found)
    results = [
        replace(system, name=f"{whose}/{system.name}") if times[system.name] > 1 else system for whose, system in found
    ]
    main = first.main if first.main in metrics else (metrics or [""])[0]
    if not main:
        raise InputError("These evaluations have no metric in common.", remedy="evaluate them with the same --metric")
    notes = dict.fromkeys(note for part, _ in parts.values() for note in part.notes)
    return Evaluation("", first.evaluated, main, tuple(metrics), tuple(results), notes=tuple(notes))


def _same(one: SystemResult, other: SystemResult) -> bool:
    """Whether two evaluations measured one system, with one outcome."""
    mine, theirs = ((part.name, part.system, part.described, part.overall) for part in (one, other))
    return one.system is not None and mine == theirs


def _order(first: Evaluation, other: Evaluation) -> list[int] | None:
    """Where the other has each query of the first; None: both have them in one order."""
    mine, theirs = first.evaluated, other.evaluated
    if mine is theirs:
        return None
    names = (first.name or "the runs", other.name or "the runs")
    if mine.kind is not theirs.kind or mine.identity != theirs.identity:
        raise InputError(
            f"{names[0]} and {names[1]} were not measured on the same thing, so their scores do not compare.",
            why=difference(mine, theirs, names),
            remedy="evaluate all systems on one set: harrier-studio evaluate --set NAME --system …",
        )
    if not isinstance(mine, RetrievalSet) or not isinstance(theirs, RetrievalSet):
        return None
    wanted = mine.judged.queries.select("query_id")
    there = theirs.judged.queries.select("query_id").with_row_index("place")
    order: list[int] = wanted.join(there, on="query_id", how="left", maintain_order="left")["place"].to_list()
    return None if order == list(range(len(order))) else order


def _reordered(system: SystemResult, order: list[int] | None) -> SystemResult:
    if order is None:
        return system
    values = {name: found[order] for name, found in system.values.items()}
    ranking = system.ranking
    if ranking is not None:
        # The passages are the same and in the one order that all sets have them in.
        ranking = Ranking(ranking.indices[order], ranking.scores[order])
    return replace(system, values=values, ranking=ranking)
