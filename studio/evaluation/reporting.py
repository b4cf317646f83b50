"""What an evaluation came to, gathered for whoever tells of it, and told as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from studio.errors import UsageError
from studio.evaluation.comparison import Row, Table, compare, named
from studio.evaluation.per_query import subsets
from studio.evaluation.requests import plain
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.scores import Score, intervals
from studio.evaluation.sets import RetrievalSet, SimilaritySet
from studio.evaluation.slices import Slice, slices
from studio.evaluation.systems import SystemClass


class Report(NamedTuple):
    """An evaluation with all that is said of it.

    Attributes:
        evaluation: what was measured.
        table: its systems by one metric, over all queries.
        clean: the same over the queries that training has not seen; None: it has seen none, or all.
        overlap: over those that it has.
        scores: system → metric → score with its interval.
        sliced: what the slices go by → the slices; each system is scored, and two are compared if two were named.
        pair: the two systems that the slices compare, or ("", "").
    """

    evaluation: Evaluation
    table: Table
    clean: Table | None
    overlap: Table | None
    scores: Mapping[str, Mapping[str, Score]]
    sliced: Mapping[str, Sequence[Slice]]
    pair: tuple[str, str]


def report(
    evaluation: Evaluation,
    metric: str = "",
    references: Sequence[str] = (),
    by: Sequence[str] = (),
    pair: tuple[str, str] = ("", ""),
) -> Report:
    """Compare the systems and gather all that is said of them.

    Args:
        evaluation: what was measured.
        metric: what the table is by; empty: the one that decides.
        references: names of systems; each is what the others of its class are compared with.
        by: what slices go by (`slices.SLICES`).
        pair: the two systems that slices compare, the first with the second; empty: none are compared.

    Raises:
        UsageError: a system, metric or kind of slice is not there, or two systems may not be compared.
    """
    metric = metric or evaluation.main
    if metric not in evaluation.metrics:
        raise UsageError(
            f"The metric {metric!r} was not computed in this evaluation.",
            remedy=f"choose one of {', '.join(evaluation.metrics)}, or evaluate with --metric {metric}",
        )
    chosen = _by_class(evaluation, references)
    clean = overlap = None
    evaluated = evaluation.evaluated
    if isinstance(evaluated, RetrievalSet) and evaluated.leaked.height:
        kept = subsets(evaluation)
        clean, overlap = (compare(evaluation, metric, chosen, only=flags) if flags.any() else None for flags in kept)
    return Report(
        evaluation,
        compare(evaluation, metric, chosen),
        clean,
        overlap,
        intervals(evaluation),
        {kind: slices(evaluation, kind, metric, *pair) for kind in by},
        pair,
    )


def pair_of(evaluation: Evaluation, metric: str = "", references: Sequence[str] = ()) -> tuple[str, str]:
    """The two systems to look at together: the last that is compared, and its reference; empty names if none is.

    Args:
        evaluation: with the systems.
        metric: what they are compared by; empty: the one that decides.
        references: as in `report`; if there are any, the reference is one of them.

    Raises:
        UsageError: a reference is not there, or has no values of the metric.
    """
    rows = compare(evaluation, metric, _by_class(evaluation, references)).rows
    found = [row for row in rows if row.difference and (not references or row.reference in references)]
    # A model that is only cut or coded differently is less of a comparison than one with the reference of its class.
    heads = {row.name for row in rows if row.is_reference}
    found = [row for row in found if row.reference in heads] or found
    return (found[-1].name, found[-1].reference) if found else ("", "")


def _by_class(evaluation: Evaluation, references: Sequence[str]) -> dict[SystemClass, str]:
    return {named(evaluation, name).of_class: name for name in references}


def as_json(report: Report, per_query: bool = False) -> dict[str, Any]:
    """The report for a JSON document; a number that is none is null.

    Args:
        report: what to tell.
        per_query: whether every system has its values by query, too.
    """
    evaluation, evaluated = report.evaluation, report.evaluation.evaluated
    about: dict[str, Any] = {
        "kind": evaluated.kind.value,
        "size": evaluated.size,
        **vars(evaluated.about),
        "identity": evaluated.identity,
    }
    if isinstance(evaluated, RetrievalSet):
        about |= {"passages": evaluated.judged.corpus.height, "leaked": evaluated.leaked["query_id"].n_unique()}
    systems = [{**_row(row), **_result(report, evaluation, row.name, per_query)} for row in report.table.rows]
    found: dict[str, Any] = plain({
        "name": evaluation.name,
        "set": about,
        "metric": report.table.metric,
        "main": evaluation.main,
        "metrics": evaluation.metrics,
        "made": evaluation.made,
        "command": evaluation.command,
        "systems": systems,
        "notes": [*report.table.notes, *evaluation.notes],
        "clean": _table(report.clean),
        "overlap": _table(report.overlap),
        "slices": {kind: [_slice(one) for one in found] for kind, found in report.sliced.items()},
        "compared": {"system": report.pair[0], "with": report.pair[1]} if all(report.pair) else None,
    })  # fmt: skip
    return found


def unable(evaluation: Evaluation) -> list[SystemResult]:
    """The systems that could not be run."""
    return [system for system in evaluation.systems if system.error]


def _table(table: Table | None) -> dict[str, Any] | None:
    if table is None:
        return None
    return {"n": table.n, "systems": [_row(row) for row in table.rows], "notes": table.notes}


def _row(row: Row) -> dict[str, Any]:
    found = {
        **vars(row),
        "class": row.of_class.value,
        "difference": row.difference._asdict() if row.difference else None,
        "verdict": row.judgement.verdict.value if row.judgement else None,
        "line": row.judgement.line if row.judgement else None,
    }
    return {name: value for name, value in found.items() if name not in ("of_class", "judgement")}


def _result(report: Report, evaluation: Evaluation, name: str, per_query: bool) -> dict[str, Any]:
    result = evaluation.system(name)
    if result is None:
        return {}
    scores = {metric: score._asdict() for metric, score in report.scores.get(name, {}).items()}
    # Of what a run measured itself only the mean is known of most metrics.
    for metric, value in result.overall.items():
        scores.setdefault(metric, {"value": value, "low": None, "high": None})
    found: dict[str, Any] = {
        "metrics": scores,
        "operations": result.operations._asdict() if result.operations else None,
        "described": result.described,
        "system": result.system.model_dump(mode="json") if result.system else None,
        "notes": result.notes,
    }
    if per_query:
        ids = ids_of(evaluation)
        found["per_query"] = {
            metric: dict(zip(ids, values.tolist(), strict=True)) for metric, values in result.values.items()
        }
    return found


def ids_of(evaluation: Evaluation) -> list[str]:
    """Of the queries, pairs or triplets, in the order of their values."""
    evaluated = evaluation.evaluated
    if isinstance(evaluated, RetrievalSet):
        return evaluated.judged.queries["query_id"].to_list()
    if isinstance(evaluated, SimilaritySet):
        return evaluated.pairs["pair_id"].cast(pl.String).to_list()
    return evaluated.triplets["triplet_id"].cast(pl.String).to_list()


def _slice(one: Slice) -> dict[str, Any]:
    return {
        "name": one.name,
        "n": one.n,
        "scores": {system: score._asdict() for system, score in one.scores.items()},
        "difference": one.difference._asdict() if one.difference else None,
        "p_holm": one.p_holm,
        "tally": one.tally._asdict() if one.tally else None,
        "note": one.note,
    }
