"""Several runs in one table: each against zero-shot, query by query, and only where the same was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.errors import InputError
from studio.evaluation.comparison import corrected_for_all
from studio.evaluation.significance import Difference, paired
from studio.files import sha256_of
from studio.runs.folder import RunFolder
from studio.runs.history import History, number, read_history
from studio.runs.state import State, standing
from studio.training.spec import RunSpec, read_spec

_MEASURED = ("queries.parquet", "corpus.parquet", "qrels.parquet")
"""What must be equal for two scores to be about the same thing."""


@dataclass(frozen=True)
class Compared:
    """One run of the table.

    Attributes:
        name: the run's.
        why: what it is to show.
        state: what it is doing.
        score: of the main metric in the end; None: it has none yet.
        difference: from the reference, over the queries; None: not comparable, or it is the reference.
        p_holm: the difference's p-value, corrected for the number of rows that are compared.
        note: why there is no difference, or what else to know; or "".
        diverged: step at which the loss was no number any more, or None.
        best_step: step of the best evaluation; None: none was made while training.
        seconds: how long it worked.
        spec: the frozen spec.
    """

    name: str
    why: str
    state: State
    score: float | None
    difference: Difference | None
    p_holm: float | None
    note: str
    diverged: int | None
    best_step: int | None
    seconds: float
    spec: RunSpec


@dataclass(frozen=True)
class Comparison:
    """Runs against one of them. `reference`: its name, "" if none of them measured anything; `metric`: what counts."""

    reference: str
    metric: str
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]

    @property
    def over(self) -> bool:
        """Whether every run has ended."""
        return all(row.state in (State.DONE, State.FAILED, State.STOPPED, State.LOST) for row in self.rows)


@dataclass(frozen=True)
class _Read:
    folder: RunFolder
    spec: RunSpec
    history: History
    state: State
    values: Mapping[str, float]
    measured: tuple[str, ...]


def compare(folders: Sequence[RunFolder], reference: str = "") -> Comparison:
    """Compare runs with one of them.

    The difference is that of the mean over queries, with the 95 % interval of a paired bootstrap and the p-value of a
    paired randomisation test (`studio.evaluation.significance`); the p-values of all rows together are corrected with
    Holm's method.

    Args:
        folders: the runs, in the order of the table.
        reference: name of the run that the others are compared with; empty: the first zero-shot run, else the first.

    Raises:
        InputError: none of them is called like the reference.
        ConfigError: the spec of a run cannot be read.
    """
    runs = [_read(folder) for folder in folders]
    against = _reference(runs, reference)
    found = [_compared(run, against) for run in runs]
    corrected = corrected_for_all([row.difference for row in found])
    rows = tuple(replace(row, p_holm=p) for row, p in zip(found, corrected, strict=True))
    notes = tuple(_notes(runs))
    return Comparison(
        against.folder.name if against else "", runs[0].spec.evaluation.metric if runs else "", rows, notes
    )


def lines_of(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table as text: its header and its lines."""
    header = (
        "run", "state", comparison.metric, f"Δ to {comparison.reference or '-'}", "95 % interval", "p", "p (Holm)",
        "best step", "lr", "batch", "length", "loss", "time", "note",
    )  # fmt: skip
    return header, [_line(row, comparison) for row in comparison.rows]


def markdown(comparison: Comparison) -> str:
    """The table as Markdown, with what each row is to show below it."""
    header, lines = lines_of(comparison)
    text = [_row(header), _row(["---"] * len(header)), *map(_row, lines), ""]
    text += [f"- `{row.name}`: {_flat(row.why)}" for row in comparison.rows if row.why]
    text += ["", *(f"Note: {note}" for note in comparison.notes)] if comparison.notes else []
    text += [
        "",
        f"Δ is the difference of mean {comparison.metric} over the queries; its interval is a paired bootstrap, p a "
        "paired randomisation test, corrected with Holm's method for the rows of this table.",
    ]
    return "\n".join(text) + "\n"


def report(comparison: Comparison) -> dict[str, Any]:
    """The table for a JSON document."""
    return {
        "reference": comparison.reference,
        "metric": comparison.metric,
        "rows": [
            {
                **{key: value for key, value in vars(row).items() if key not in ("difference", "spec")},
                "difference": row.difference._asdict() if row.difference else None,
                "lr": row.spec.optimiser.lr,
                "batch": row.spec.effective_batch,
                "negatives": row.spec.negatives,
                "max_length": row.spec.model.max_length,
                "loss": row.spec.loss.name.value,
            }
            for row in comparison.rows
        ],
        "notes": list(comparison.notes),
    }


def _read(folder: RunFolder) -> _Read:
    history = read_history(folder)
    return _Read(
        folder,
        read_spec(folder.spec),
        history,
        standing(folder, history).state,
        _values(folder),
        tuple(sha256_of(folder.data / name) for name in _MEASURED),
    )


def _values(folder: RunFolder) -> dict[str, float]:
    """The main metric of every query in the end; nothing where the run did not come to that."""
    try:
        said = json.loads(folder.result.read_text("utf-8"))
        return {str(query): float(value) for query, value in said["final"]["per_query"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _reference(runs: Sequence[_Read], name: str) -> _Read | None:
    if name:
        found = next((run for run in runs if run.folder.name == name), None)
        if found is None:
            raise InputError(f"There is no run `{name}` among those that are compared.")
        return found
    measured = [run for run in runs if run.values]
    zero_shot = [run for run in measured if run.spec.schedule.max_steps == 0]
    return next(iter([*zero_shot, *measured]), None)


def _compared(run: _Read, against: _Read | None) -> Compared:
    difference, note = None, ""
    if run.values and against and run is not against:
        if run.measured != against.measured or run.values.keys() != against.values.keys():
            note = "not measured on the same queries and passages"
        elif run.spec.evaluation.metric != against.spec.evaluation.metric:
            note = f"measured by {run.spec.evaluation.metric}"
        else:
            queries = sorted(run.values)
            mine, theirs = (np.array([side.values[query] for query in queries]) for side in (run, against))
            difference = paired(mine, theirs, seed=run.spec.seed)
    elif run is against:
        note = "reference"
    best = run.history.best
    score = float(np.mean(list(run.values.values()))) if run.values else number(run.history.score)
    return Compared(
        run.folder.name,
        run.spec.why,
        run.state,
        score,
        difference,
        None,
        f"diverged at step {run.history.diverged}" if run.history.diverged is not None else note,
        run.history.diverged,
        best.step if best else None,
        run.history.seconds,
        run.spec,
    )


def _notes(runs: Sequence[_Read]) -> list[str]:
    rest = {
        json.loads(run.folder.about.read_text("utf-8")).get("decisions") for run in runs if run.folder.about.exists()
    }
    if len(rest) > 1:
        return ["these runs were made before and after decisions, so that they do not train on the same rows"]
    return []


def _line(row: Compared, comparison: Comparison) -> tuple[str, ...]:
    found = row.difference
    return (
        row.name,
        row.state.value,
        "" if row.score is None else f"{row.score:.4f}",
        f"{found.delta:+.4f}" if found else "",
        f"[{found.low:+.4f}, {found.high:+.4f}]" if found else "",
        f"{found.p:.4f}" if found else "",
        "" if row.p_holm is None else f"{row.p_holm:.4f}",
        "" if row.best_step is None else f"{row.best_step:,}",
        "" if row.spec.schedule.max_steps == 0 else f"{row.spec.optimiser.lr:.3g}",
        "" if row.spec.schedule.max_steps == 0 else f"{row.spec.effective_batch:,}",
        f"{row.spec.model.max_length:,}",
        "" if row.spec.schedule.max_steps == 0 else row.spec.loss.name.value,
        f"{row.seconds:,.0f} s",
        row.note,
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_flat(cell) for cell in cells) + " |"


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
