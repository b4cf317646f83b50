"""The rows of a matrix as runs in the queue. One that is there with the same spec is not made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from studio.errors import StudioError, UsageError
from studio.files import scratch_directory
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.tokenizer import load_tokenizer
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.runs.folder import RunFolder, run_folder
from studio.runs.state import State, standing
from studio.sample import model_location
from studio.training.data import prepare
from studio.training.launch import Approve, create, enqueue
from studio.training.lengths import measure
from studio.training.matrix import MatrixFacts, MatrixRow, newest_mined
from studio.training.provenance import decisions_of, frozen, latest_decision
from studio.training.queue import ensure_dispatcher
from studio.training.spec import RunSpec, read_spec


class MatrixRun(NamedTuple):
    """A row and what became of it. `folder`: None where there is no run, and `said` tells why."""

    row: MatrixRow
    folder: RunFolder | None
    said: str


def queue_rows(
    project: Project,
    rows: Sequence[MatrixRow],
    prefix: str = "",
    *,
    progress: Progress = silent,
    argv: Sequence[str] = (),
    approve: Approve | None = None,
) -> list[MatrixRun]:
    """Make the runs of a matrix and queue them, in order; what is there already is taken as it is, or gone on with.

    Args:
        project: whose rows train.
        rows: of `studio.training.matrix.matrix`; those that are skipped are passed over.
        prefix: put before the names of the runs.
        progress: told of each run that is made.
        argv: the command that asked for it, for the record.
        approve: sees each row's spec and data before its run is made; a row that it refuses is left out and told of.

    Raises:
        UsageError: a run of that name is there with another spec, or was made before later decisions.
        UnavailableError: the disk is full, or the model is out of reach.
    """
    wanted = [row for row in rows if not row.skipped]
    here = {row.name: _there(project, prefix + row.name, row.spec) for row in wanted}
    made: list[MatrixRun] = []
    for place, row in enumerate(rows):
        progress("make the runs", place, len(rows))
        if row.skipped:
            made.append(MatrixRun(row, None, row.skipped))
            continue
        folder = here[row.name]
        if folder is None:
            try:
                folder = create(project, prefix + row.name, row.spec, argv=argv, approve=approve)
            except StudioError as error:
                if approve is None:
                    raise
                made.append(MatrixRun(row, None, f"{error.what} {error.why or ''}".strip()))
                continue
        made.append(MatrixRun(row, folder, _queued(folder)))
    progress("make the runs", len(rows), len(rows))
    if any(run.said == State.QUEUED for run in made):
        ensure_dispatcher(project.root)
    return made


def facts_of(project: Project, base: RunSpec, progress: Progress = silent) -> MatrixFacts:
    """What decides which rows of a matrix can differ on a project's data.

    The data of the base are prepared for it, and thrown away.

    Raises:
        ConfigError: the data do not suit the base.
        InputError, UnavailableError: a file of it, or its model, cannot be read.
    """
    whole = frozen(base, project)
    tokenizer = load_tokenizer(model_location(whole.model.id), whole.model.revision)
    with scratch_directory(project.root / "runs" / "matrix") as scratch:
        prepared = prepare(project, whole, scratch, progress)
        lengths = measure(prepared, whole, tokenizer, progress)
    mined, negatives = newest_mined(project.root)
    return MatrixFacts(
        rows=prepared.rows,
        prompts=project.settings.prompts.contract(),
        longest=lengths.longest,
        positions=_positions(whole),
        mined=mined,
        negatives=negatives,
    )


def _positions(spec: RunSpec) -> int | None:
    """Tokens that a model can read, by its configuration; None where that is not said."""
    folder = locate(model_location(spec.model.id), spec.model.revision, weights=False)
    found = read_json(transformer_folder(folder) / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) else None


def _there(project: Project, name: str, spec: RunSpec) -> RunFolder | None:
    """The run of a row, if it is there; it must be this very row."""
    folder = run_folder(project.root.resolve(), name)
    if not folder.root.exists():
        return None
    remedy = "give this matrix names of its own with --prefix"
    if not folder.spec.exists() or read_spec(folder.spec) != frozen(spec, project):
        raise UsageError(f"There is a run `{name}` already, with another spec.", where=str(folder.root), remedy=remedy)
    if decisions_of(folder) != latest_decision(project):
        why = "the rows of a matrix must train on the same data"
        raise UsageError(
            f"The run `{name}` was made before later decisions.", where=str(folder.root), why=why, remedy=remedy
        )
    return folder


def _queued(folder: RunFolder) -> str:
    """Put a run into the queue, unless it is over, failed or on its way; say what it is."""
    state = standing(folder).state
    if state not in (State.STOPPED, State.LOST):
        return state.value
    enqueue(folder)
    return State.QUEUED.value
