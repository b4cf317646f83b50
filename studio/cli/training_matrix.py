"""`matrix`: queue the rows, watch them end, and print them in one table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from studio.cli.following import LOOK_SECONDS, OVER
from studio.cli.output import emit_json, emit_table, progress_bar, say
from studio.cli.training import Gate, How, asked_spec
from studio.errors import ExitCode, UsageError
from studio.files import write_text
from studio.project.project import Project
from studio.runs.folder import RunFolder, run_folder
from studio.runs.summary import RunList, RunSummary
from studio.training.comparing import Comparison, compare, lines_of, markdown, report
from studio.training.matrix import LETTERS, MatrixRow
from studio.training.matrix import matrix as rows_of
from studio.training.matrix_runs import MatrixRun, facts_of, queue_rows
from studio.training.queue import ensure_dispatcher, served, waiting

_QUEUE_SECONDS = 5.0


class Wanted(NamedTuple):
    """Which matrix: what its base starts from and changes, which rows, and how its runs are called."""

    base: str | None = None
    spec: Path | None = None
    rows: str = ""
    changes: Sequence[str] = ()
    prefix: str = ""


def matrix(
    root: Path, wanted: Wanted, *, detach: bool, table: bool, out: Path | None, dry_run: bool, as_json: bool
) -> None:
    """`matrix`."""
    project = Project.open(root)
    base = asked_spec(project, wanted.base, wanted.spec, wanted.changes)
    with progress_bar() as progress:
        rows = rows_of(base, facts_of(project, base, progress), _letters(wanted.rows))
    for row in rows:
        run_folder(project.root, wanted.prefix + row.name)
    if dry_run:
        _emit_rows(rows, wanted.prefix, as_json)
        return
    if table:
        folders = [run_folder(project.root.resolve(), wanted.prefix + row.name) for row in rows]
        _finish([folder for folder in folders if folder.spec.exists()], rows, out, as_json)
        return
    with progress_bar() as progress:
        gate = Gate(project, "", How(yes=True))
        argv = ["harrier-studio", *sys.argv[1:]]
        made = queue_rows(project, rows, wanted.prefix, progress=progress, argv=argv, approve=gate)
    _say_made(made, wanted.prefix)
    folders = [run.folder for run in made if run.folder]
    if not detach:
        _watch(project.root, folders, {run.folder.name: run.said for run in made if run.folder})
        _finish(folders, rows, out, as_json)
        return
    if as_json:
        emit_json({"rows": [_made_report(run, wanted.prefix) for run in made]})
    say("they go on by themselves; the table so far: the same command with --table")


def _letters(text: str) -> tuple[str, ...]:
    return tuple(letter.strip().upper() for letter in text.split(",") if letter.strip()) or tuple(LETTERS)


def _emit_rows(rows: Sequence[MatrixRow], prefix: str, as_json: bool) -> None:
    if as_json:
        emit_json({"rows": [_row_report(row, prefix) for row in rows]})
        return
    changes = [", ".join(f"{key}={_value(value)}" for key, value in row.changes.items()) for row in rows]
    emit_table(
        ("run", "changes", "left out because"),
        [(prefix + row.name, change, row.skipped) for row, change in zip(rows, changes, strict=True)],
    )
    say("nothing was made or queued")


def _row_report(row: MatrixRow, prefix: str) -> dict[str, Any]:
    return {
        "run": prefix + row.name,
        "letter": row.letter,
        "why": row.why,
        "changes": dict(row.changes),
        "skipped": row.skipped,
    }


def _made_report(run: MatrixRun, prefix: str) -> dict[str, Any]:
    return {**_row_report(run.row, prefix), "folder": str(run.folder.root) if run.folder else None, "state": run.said}


def _value(value: Any) -> str:
    if isinstance(value, dict) and "origin" in value:
        return str(value["origin"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say_made(made: Sequence[MatrixRun], prefix: str) -> None:
    for run in made:
        say(f"{prefix}{run.row.name}: " + (run.said if run.folder else f"left out: {run.said}"))


def _watch(root: Path, folders: Sequence[RunFolder], told: dict[str, str]) -> None:
    """Say what becomes of each run until all are over.

    Args:
        root: the project.
        folders: the runs.
        told: run → the state that was told of it.

    Raises:
        typer.Exit: the person interrupted the watching; the runs go on.
    """
    names = {folder.name for folder in folders}
    looked = time.monotonic()
    runs = RunList(root.resolve())
    try:
        while True:
            now = [run for run in runs.read() if run.name in names]
            for run in now:
                if told.get(run.name) != run.state.value:
                    told[run.name] = run.state.value
                    say(f"{run.name}: {run.state.value}{_score(run)}")
            if all(run.state in OVER for run in now):
                return
            # A dispatcher that was killed is started again by whoever watches.
            if time.monotonic() - looked > _QUEUE_SECONDS and waiting(root):
                looked = time.monotonic()
                if not served(root):
                    ensure_dispatcher(root)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        say("\nthe runs go on; the table so far: the same command with --table")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        runs.close()


def _score(run: RunSummary) -> str:
    if run.state not in OVER:
        return ""
    score = f", {run.main} {run.score:.4f}" if run.score is not None else ""
    verdict = f" {run.verdict} (p = {run.p:.4f}, {run.queries:,} queries)" if run.verdict and run.p is not None else ""
    return score + verdict + (f": {run.why}" if run.state.value in ("failed", "lost") else "")


def _finish(folders: Sequence[RunFolder], rows: Sequence[MatrixRow], out: Path | None, as_json: bool) -> None:
    """Print the table, and write it.

    Raises:
        UsageError: there is no run to compare.
        typer.Exit: with 1, a run did not end well.
    """
    if not folders:
        raise UsageError("There is no run of this matrix yet.", remedy="leave --table out to queue it")
    comparison = compare(folders)
    if as_json:
        left_out = [{"run": row.name, "why": row.skipped} for row in rows if row.skipped]
        emit_json({**report(comparison), "left_out": left_out})
    else:
        emit_table(*lines_of(comparison))
    for note in comparison.notes:
        say(f"note: {note}")
    if out:
        write_text(out, markdown(comparison))
        say(f"written to {out}")
    if _went_wrong(comparison):
        raise typer.Exit(ExitCode.FINDINGS)


def _went_wrong(comparison: Comparison) -> bool:
    return any(row.state in OVER and row.state.value != "done" for row in comparison.rows)
