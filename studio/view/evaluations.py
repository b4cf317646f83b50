"""What the Evaluate panel asks: the evaluations and finished runs of a project, and the table of one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from studio.errors import StudioError
from studio.evaluation.comparison import Row, compare
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.results import Evaluation, Operations, SystemResult
from studio.evaluation.scores import Score, intervals, valueless
from studio.evaluation.sets import RetrievalSet, SetKind
from studio.evaluation.significance import Difference
from studio.evaluation.storing import evaluation_folders, load, of_runs
from studio.evaluation.systems import Dense, SystemClass
from studio.runs.folder import RunFolder, run_folders
from studio.view.bench import Bench
from studio.view.evidence import remembered

_KEPT = 3
"""Evaluations whose tables are in memory."""
_TABLES = 32
"""Comparisons that are remembered: each draws ten thousand samples a system."""


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
        name: the evaluation's, or the run's.
        is_run: whether it is a finished run, with the test that it was made with.
        made: when its last file was written, in seconds since 1970.
        done: whether all that was asked for is there.
        systems: how many are finished, those that could not be run too.
        failed: how many of these could not be run.
    """

    name: str
    is_run: bool
    made: float
    done: bool
    systems: int
    failed: int = 0


class SystemLine(NamedTuple):
    """One system of the table.

    Attributes:
        name: what it is called.
        of_class: with whom it is compared.
        score: by the metric asked for; None: there is none.
        low: lower end of the score's own 95 % interval.
        high: upper end.
        is_reference: whether the others of its class are compared with it.
        reference: the name of the one it is compared with; "" if it is with none.
        difference: from that one, over the same queries.
        p: of the difference, after Holm over the whole table.
        verdict: WIN, MARGINAL or REGRESSION; empty of what is not compared.
        line: the verdict in full.
        wins: queries on which it is better.
        ties: on which both are equal.
        losses: on which it is worse.
        refused: why it is not compared, or "".
        error: why it could not be run, or "".
        metrics: name → score, of all metrics.
        spread: name → the 95 % interval of each score.
        operations: what running it costs; None: not measured.
        size: dimensions that its index keeps, where that is known.
        precision: how its index holds vectors; empty of what has none.
        family: what it has in common with the same model at other sizes and precisions; empty of what has none.
        described: what its values depend on.
        notes: what a person should know.
        ranked: whether it is known which passages it found.
    """

    name: str
    of_class: str
    score: float | None
    low: float | None
    high: float | None
    is_reference: bool
    reference: str
    difference: Difference | None
    p: float | None
    verdict: str
    line: str
    wins: int
    ties: int
    losses: int
    refused: str
    error: str
    metrics: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    operations: Operations | None
    size: int | None
    precision: str
    family: str
    described: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    ranked: bool


class Report(NamedTuple):
    """One evaluation.

    Attributes:
        entry: its line in the list.
        set_name: what it was measured on.
        origin: where that came from.
        kind: what the set asks.
        queries: how many, or pairs, or triplets.
        passages: of a retrieval set.
        leaked: queries that training has seen.
        trained_on: why the model may have been trained on the set, or "".
        in_project: whether ids are those of the project's rows.
        main: the metric that decides.
        metric: the one that the table is by.
        tables: the metrics that a table can be by.
        metrics: all there are.
        systems: in classes, the reference of each first.
        notes: what a person should know.
        command: what makes it again.
    """

    entry: Entry
    set_name: str
    origin: str
    kind: SetKind
    queries: int
    passages: int
    leaked: int
    trained_on: str
    in_project: bool
    main: str
    metric: str
    tables: tuple[str, ...]
    metrics: tuple[str, ...]
    systems: tuple[SystemLine, ...]
    notes: tuple[str, ...]
    command: tuple[str, ...]


class EvaluationsAnswer(NamedTuple):
    """The evaluations and finished runs of a project, newest first.

    `report`: of the one asked for, if there is one. `wrong`: why that one cannot be shown, or "".
    """

    entries: tuple[Entry, ...]
    report: Report | None
    wrong: str


def evaluations(
    bench: Bench,
    evaluation: str = "",
    is_run: bool = False,
    metric: str = "",
    references: Mapping[str, str] | None = None,
) -> EvaluationsAnswer:
    """List what was evaluated, and tell one of it in full; what was computed before is not computed again.

    Args:
        bench: the project.
        evaluation: name of the evaluation or run to tell.
        is_run: whether it is a run.
        metric: what the table is by; empty or unknown: the one that decides.
        references: class → name of the system that the others of it are compared with.
    """
    found = entries(bench.project.root)
    entry = next((each for each in found if each.name == evaluation and each.is_run == is_run), None)
    if entry is None:
        return EvaluationsAnswer(found, None, "")
    try:
        return EvaluationsAnswer(found, report(bench, entry, metric, references or {}), "")
    except StudioError as error:
        # One that cannot be read must not keep the others from being shown.
        return EvaluationsAnswer(found, None, str(error))


def entries(root: Path) -> tuple[Entry, ...]:
    """The evaluations and finished runs of a project, newest first; of them only how each system ended is read."""
    found = [_of_evaluation(folder) for folder in evaluation_folders(root)]
    found += [Entry(run.name, True, made, True, 2) for run in run_folders(root) if (made := _written(run.result))]
    return tuple(sorted(found, key=lambda entry: (-entry.made, entry.name)))


def _of_evaluation(folder: EvaluationFolder) -> Entry:
    try:
        # A name with a dot before it is a system that is being written.
        systems = [path for path in folder.systems.glob("[!.]*") if path.is_dir()]
    except OSError:
        systems = []
    failed = sum(_not_run(system / "about.json", _written(system)) for system in systems)
    done = _written(folder.report)
    latest = max([_written(folder.request), *map(_written, systems)])
    return Entry(folder.name, False, done or latest, bool(done), len(systems), failed)


@lru_cache(maxsize=4_096)
def _not_run(about: Path, written: float) -> bool:
    """Whether a system that was stored then could not be run; read once, for the list is made every second."""
    try:
        said = json.loads(about.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        # `load` says what is wrong with it.
        return False
    return isinstance(said, dict) and bool(said.get("error"))


def _written(path: Path) -> float:
    """When a file was written; 0: it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def loaded(bench: Bench, name: str, is_run: bool) -> tuple[Evaluation, tuple[str, bool, float, int]]:
    """An evaluation, read again only when its files changed, and a key of what was read.

    Raises:
        InputError: there is none, or a file of it cannot be used.
    """
    if is_run:
        folder = RunFolder(bench.project.root / "runs" / name)
        key = (name, True, _written(folder.result), 2)
        return remembered(bench, "evaluations", key, lambda: of_runs([folder]), keep=_KEPT), key
    stored = EvaluationFolder(bench.project.root / "evaluations" / name)
    entry = _of_evaluation(stored)
    key = (name, False, entry.made, entry.systems)
    return remembered(bench, "evaluations", key, lambda: load(stored), keep=_KEPT), key


def report(bench: Bench, entry: Entry, metric: str, references: Mapping[str, str]) -> Report:
    """One evaluation with the comparison of its systems by a metric.

    Raises:
        InputError: a file of it cannot be used.
    """
    evaluation, key = loaded(bench, entry.name, entry.is_run)
    by = metric if metric in by_query(evaluation) else evaluation.main
    chosen = {
        system.of_class: system.name
        for name in references.values()
        if (system := evaluation.system(name)) is not None and not valueless(system, by)
    }
    wanted = (key, by, tuple(sorted(chosen.items())))
    return remembered(bench, "evaluation tables", wanted, lambda: _report(entry, evaluation, by, chosen), keep=_TABLES)


def _report(entry: Entry, evaluation: Evaluation, metric: str, references: Mapping[SystemClass, str]) -> Report:
    evaluated, table, spread = evaluation.evaluated, compare(evaluation, metric, references), intervals(evaluation)
    lines = [_line(evaluation, row, spread.get(row.name, {})) for row in table.rows]
    classes = list(dict.fromkeys(line.of_class for line in lines))
    lines.sort(key=lambda line: (classes.index(line.of_class), not line.is_reference))
    retrieval = isinstance(evaluated, RetrievalSet)
    return Report(
        entry,
        evaluated.about.name,
        evaluated.about.origin,
        evaluated.kind,
        evaluated.size,
        evaluated.judged.corpus.height if isinstance(evaluated, RetrievalSet) else 0,
        evaluated.leaked.height if isinstance(evaluated, RetrievalSet) else 0,
        evaluated.about.trained_on,
        retrieval and evaluated.about.in_project,
        evaluation.main,
        metric,
        by_query(evaluation),
        evaluation.metrics,
        tuple(lines),
        (*table.notes, *evaluation.notes, *evaluated.about.notes),
        evaluation.command,
    )


def by_query(evaluation: Evaluation) -> tuple[str, ...]:
    """The metrics that some system has values of, query by query: what a table can be by."""
    systems = evaluation.systems
    found = tuple(name for name in evaluation.metrics if any(not valueless(system, name) for system in systems))
    return found or (evaluation.main,)


def _line(evaluation: Evaluation, row: Row, spread: Mapping[str, Score]) -> SystemLine:
    result = evaluation.system(row.name)
    assert result is not None
    size, precision, family = _index(result)
    judged = row.judgement
    return SystemLine(
        row.name,
        row.of_class.value,
        row.score,
        row.low,
        row.high,
        row.is_reference,
        row.reference,
        row.difference,
        row.p_holm,
        judged.verdict.value if judged else "",
        judged.line if judged else "",
        row.wins,
        row.ties,
        row.losses,
        row.refused,
        row.error,
        result.overall,
        {name: (score.low, score.high) for name, score in spread.items()},
        result.operations,
        size,
        precision,
        family,
        tuple((name, str(value)) for name, value in (result.described or {}).items()),
        result.notes,
        result.ranking is not None,
    )


def _index(result: SystemResult) -> tuple[int | None, str, str]:
    """Dimensions, precision and family of what has vectors: what truncation and quantisation curves are made of."""
    system = result.system
    if not isinstance(system, Dense):
        return None, "", ""
    dimension = system.dim or (result.operations.dimension if result.operations else None)
    alike = system.model_copy(update={"dim": None, "precision": "float32", "rescore": 0})
    return dimension, system.precision, alike.model_dump_json()
