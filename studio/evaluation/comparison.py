"""Systems in one table: each against the reference of its class, query by query, and what is not comparable refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from studio.errors import UsageError
from studio.evaluation.caveats import caveats
from studio.evaluation.metrics import Flags
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.scores import Score, Tally, against, counted, intervals, undefined, valueless
from studio.evaluation.sets import RetrievalSet, SimilaritySet
from studio.evaluation.significance import Difference, holm
from studio.evaluation.similarity import SPEARMAN
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Reranked, SystemClass
from studio.evaluation.verdict import Judgement, verdict
from studio.evaluation.wording import numbered


@dataclass(frozen=True)
class Row:
    """One system of a table.

    Attributes:
        name: what it is called.
        of_class: with whom it may be compared.
        score: by the table's metric; None: it has none.
        low: lower end of the score's own 95 % bootstrap interval.
        high: upper end.
        reference: the system it is compared with; "" if it is with none.
        is_reference: whether the others of its class are compared with it.
        difference: from the reference, over the queries.
        p_holm: the difference's p-value, corrected for all that the table compares.
        judgement: the verdict on the difference.
        wins: queries on which it is better than the reference; of pairs of sentences nothing is counted.
        ties: on which both are equal.
        losses: on which it is worse.
        refused: why it is not compared, or "".
        error: why it could not be run, or "".
    """

    name: str
    of_class: SystemClass
    score: float | None = None
    low: float | None = None
    high: float | None = None
    reference: str = ""
    is_reference: bool = False
    difference: Difference | None = None
    p_holm: float | None = None
    judgement: Judgement | None = None
    wins: int = 0
    ties: int = 0
    losses: int = 0
    refused: str = ""
    error: str = ""


@dataclass(frozen=True)
class Table:
    """Systems on one set by one metric; `n`: queries (or pairs, triplets) it is over; `notes`: what to know of it."""

    metric: str
    n: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


class Pair(NamedTuple):
    """One system against another; `judgement` holds both scores and the difference."""

    a: str
    b: str
    metric: str
    judgement: Judgement
    tally: Tally


def refusal(a: SystemResult, b: SystemResult) -> str:
    """Why two systems are not compared; "" if they are.

    Systems of two classes do not do the same work, and what is not known to be of one class is compared with nothing.
    Two models whose vectors are cut or coded differently are not compared, as the one's difference would be taken for
    the other's; one model with itself in two forms is. Vectors of a form that nobody knows are compared with whole ones
    only.
    """
    for system in (a, b):
        if system.error:
            return f"{system.name} could not be run"
        if system.of_class is SystemClass.UNKNOWN:
            return f"the class of {system.name} is not known, so that it is compared with nothing"
    if a.of_class is not b.of_class:
        return f"{a.of_class} is not compared with {b.of_class}"
    mine, theirs = _dense_parts(a.system), _dense_parts(b.system)
    for one, other in ((a, b), (b, a)):
        if (one.system is None or isinstance(one.system, Given)) and not _is_whole(other):
            return f"the vectors of {other.name} are cut or coded, and it is not known how those of {one.name} are held"
    if not mine or not theirs or set(map(_model, mine)) == set(map(_model, theirs)):
        return ""
    forms = [", ".join(sorted({_form(part) for part in parts})) for parts in (mine, theirs)]
    if forms[0] == forms[1]:
        return ""
    return f"vectors of {forms[0]} are not compared with those of {forms[1]} of another model"


def compare(
    evaluation: Evaluation,
    metric: str = "",
    references: Mapping[SystemClass, str] | None = None,
    seed: int = 0,
    only: Flags | None = None,
) -> Table:
    """Compare each system with the reference of its class.

    A model in a form that may not be compared with that reference is compared with itself in its own form, where that
    is in the table. The difference is that of the means over queries, with the 95 % interval of a paired bootstrap and
    the p-value of a paired randomisation test (`studio.evaluation.significance`; of pairs of sentences:
    `spearman_difference`). The p-values of the whole table are corrected together with Holm's method.

    Args:
        evaluation: the systems, in the order of the table.
        metric: what counts; empty: the evaluation's main one.
        references: class → name of the system that the others of it are compared with; of any other class it is the
            first system that could be run, one with whole float32 vectors if there is one.
        seed: for resamples and swaps.
        only: (queries,) which of them count; None: all.

    Raises:
        UsageError: a reference is not there, of another class, or could not be run; or no query counts.
    """
    metric = metric or evaluation.main
    chosen = _references(evaluation, metric, references or {})
    scores = intervals(evaluation, (metric,), only, seed)
    chosen = {of: one for of, one in chosen.items() if math.isfinite(scores[one.name][metric].value)}
    rows = [_row(evaluation, system, chosen, metric, only, seed, scores) for system in evaluation.systems]
    corrected = corrected_for_all([row.difference for row in rows])
    rows = [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]
    n = counted(evaluation, only)
    return Table(metric, n, tuple(rows), tuple(_notes(evaluation, metric, rows, n, only)))


def pair(evaluation: Evaluation, a: str, b: str, metric: str = "", seed: int = 0, only: Flags | None = None) -> Pair:
    """Compare two systems, a with b.

    Args:
        evaluation: with both of them.
        a: name of the one.
        b: name of the other, the baseline of the verdict.
        metric: what counts; empty: the evaluation's main one.
        seed: for resamples and swaps.
        only: (queries,) which of them count; None: all.

    Raises:
        UsageError: one of them is not there, they may not be compared (the refusal is named), or no query counts.
    """
    metric = metric or evaluation.main
    mine, theirs = comparable(evaluation, a, b, metric)
    counted(evaluation, only)
    difference, found, scores = against(evaluation, mine, theirs, metric, only, seed)
    return Pair(a, b, metric, verdict(*scores, difference), found)


def comparable(evaluation: Evaluation, a: str, b: str, metric: str) -> tuple[SystemResult, SystemResult]:
    """Two systems by name that may be compared by a metric.

    Raises:
        UsageError: one is not there or has no values, or they may not be compared.
    """
    mine, theirs = named(evaluation, a), named(evaluation, b)
    why = refusal(mine, theirs) or valueless(mine, metric) or valueless(theirs, metric)
    if why:
        raise UsageError(f"`{a}` is not compared with `{b}`.", why=why, remedy="choose two systems of one class")
    return mine, theirs


def named(evaluation: Evaluation, name: str) -> SystemResult:
    """The system of that name.

    Raises:
        UsageError: there is none.
    """
    found = evaluation.system(name)
    if found is None:
        there = ", ".join(f"`{system.name}`" for system in evaluation.systems)
        raise UsageError(f"There is no system `{name}` in this evaluation.", remedy=f"choose one of {there}")
    return found


def corrected_for_all(differences: Sequence[Difference | None]) -> list[float | None]:
    """Holm's p-value of each difference, among all that there are; None where there is none."""
    corrected = iter(holm([found.p for found in differences if found]))
    return [next(corrected) if found else None for found in differences]


def _row(
    evaluation: Evaluation,
    system: SystemResult,
    references: Mapping[SystemClass, SystemResult],
    metric: str,
    only: Flags | None,
    seed: int,
    scores: Mapping[str, Mapping[str, Score]],
) -> Row:
    if system.error:
        return Row(system.name, system.of_class, error=system.error)
    row = Row(system.name, system.of_class, refused=valueless(system, metric))
    if row.refused:
        return row
    score = scores[system.name][metric]
    if not math.isfinite(score.value):
        return replace(row, refused=undefined(evaluation, system, metric))
    row = replace(row, score=score.value, low=score.low, high=score.high)
    reference = references.get(system.of_class)
    if reference is system:
        return replace(row, is_reference=True)
    refused = refusal(system, system if reference is None else reference)
    if refused:
        reference = next((other for other in evaluation.systems if _is_own_form(other, system, metric)), None)
    if reference is None:
        return replace(row, refused=refused)
    difference, found, values = against(evaluation, system, reference, metric, only, seed)
    return replace(
        row,
        reference=reference.name,
        difference=difference,
        judgement=verdict(*values, difference),
        wins=found.wins,
        ties=found.ties,
        losses=found.losses,
    )


def _references(
    evaluation: Evaluation, metric: str, wanted: Mapping[SystemClass, str]
) -> dict[SystemClass, SystemResult]:
    """The reference of each class; the unknown has none."""
    found: dict[SystemClass, SystemResult] = {}
    for of_class, name in wanted.items():
        system = named(evaluation, name)
        why = valueless(system, metric)
        if system.of_class is not of_class:
            why = f"it is {system.of_class}"
        elif of_class is SystemClass.UNKNOWN:
            why = "what is not known to be of one class is compared with nothing"
        if why:
            raise UsageError(f"`{name}` cannot be the reference of the class `{of_class}`.", why=why)
        found[of_class] = system
    usable = [system for system in evaluation.systems if not valueless(system, metric)]
    for system in (*filter(_is_whole, usable), *usable):
        found.setdefault(system.of_class, system)
    found.pop(SystemClass.UNKNOWN, None)
    return found


def _notes(evaluation: Evaluation, metric: str, rows: Sequence[Row], n: int, only: Flags | None) -> list[str]:
    evaluated = evaluation.evaluated
    retrieval = isinstance(evaluated, RetrievalSet)
    of = "query" if retrieval else "pair" if isinstance(evaluated, SimilaritySet) else "triplet"
    notes = [numbered(n, of) if n == evaluated.size else f"{n:,} of {numbered(evaluated.size, of)}"]
    notes += _power(metric, rows)
    refused = sum(bool(row.refused) for row in rows)
    failed = sum(bool(row.error) for row in rows)
    if refused:
        verb = "is" if refused == 1 else "are"
        notes.append(f"{refused:,} of {numbered(len(rows), 'system')} {verb} compared with nothing; each row says why")
    if failed:
        notes.append(f"{failed:,} of {numbered(len(rows), 'system')} could not be run")
    notes += caveats(evaluation, [(row.name, row.reference) for row in rows if row.reference])
    if isinstance(evaluated, RetrievalSet) and only is None and evaluated.leaked.height:
        leaked = evaluated.leaked["query_id"].n_unique()
        verb = "is" if leaked == 1 else "are"
        notes.append(f"{leaked:,} of {numbered(n, 'query')} {verb} leaked: training has seen them or their answer")
    return notes


def _power(metric: str, rows: Sequence[Row]) -> list[str]:
    """The smallest true difference that would be seen."""
    # Two systems that never differ have no spread, so that nothing follows from it.
    least = [row.difference.minimal for row in rows if row.difference and 0 < row.difference.minimal < math.inf]
    if not least:
        return []
    # From the lowest value to the highest: correlations begin at -1.
    widest = 2.0 if metric == SPEARMAN else 1.0
    if min(least) >= widest:
        return ["with so few, and so different from one another, even the largest difference possible is easily missed"]
    low, high = (f"{min(end, widest):.4f}" for end in (min(least), max(least)))
    size = low if low == high else f"{low} to {high}, by row,"
    return [
        f"a true difference of {size} would be seen in four of five such experiments (at 5 %); "
        "a smaller one is easily missed"
    ]


def _dense_parts(system: Dense | Lexical | Hybrid | Reranked | Given | None) -> tuple[Dense, ...]:
    """The embedding models that a system asks."""
    if isinstance(system, Dense):
        return (system,)
    if isinstance(system, Hybrid):
        return tuple(part for part in system.parts if isinstance(part, Dense))
    return _dense_parts(system.first) if isinstance(system, Reranked) else ()


def _is_whole(system: SystemResult) -> bool:
    """Whether all its vectors, if it has any, are whole and in float32."""
    return all(part.dim is None and part.precision == "float32" for part in _dense_parts(system.system))


def _is_own_form(other: SystemResult, system: SystemResult, metric: str) -> bool:
    """Whether the other is the same model with whole vectors, and has values."""
    same = _is_whole(other) and not _is_whole(system) and not refusal(other, system)
    return same and not valueless(other, metric)


def _model(system: Dense) -> tuple[str, str, str, str | None]:
    return system.model, system.run, system.at, system.revision


def _form(system: Dense) -> str:
    """How the index holds vectors, in words."""
    size = f"{system.dim} dimensions" if system.dim else "all dimensions"
    rescored = f", rescored {system.rescore} times" if system.rescore else ""
    return f"{size} in {system.precision}{rescored}"
