"""What the engine does at length, by name: one at a time, with progress, and it can be cancelled.

Whatever a job writes is whole or not there, so the process may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from studio.progress import Progress

if TYPE_CHECKING:
    from studio.cleaning import Overrides
    from studio.engine.asks import Context, Function
    from studio.mining.mined import TableFormat
    from studio.pairs.roles import Roles

# What a job needs is imported when it runs: the interface imports this module for the types of the results only.


class Checked(NamedTuple):
    """What one check found. `seconds`: how long it took; `reused`: whether that was stored already."""

    check: str
    flags: int
    edges: int
    seconds: float
    reused: bool


class AcceptedStep(NamedTuple):
    """One decision of the auto band and how many rows it is about."""

    action: str
    reason: str
    rows: int


class Accepted(NamedTuple):
    """The decisions of the auto band now in force; `unchanged`: they were before."""

    steps: tuple[AcceptedStep, ...]
    unchanged: bool


class Exported(NamedTuple):
    """Where an export is, the manifest's entry of each file by name, and what a person should know about them."""

    path: Path
    files: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


class VerifiedItem(NamedTuple):
    """One comparison: its stable code, how it ended (ok, different, skipped) and what was seen."""

    code: str
    status: str
    message: str


class Verified(NamedTuple):
    """All comparisons of an export; `sound`: none differs."""

    sound: bool
    items: tuple[VerifiedItem, ...]


class ImportedSource(NamedTuple):
    """One source: records read, pairs made of them, records rejected, and what a person should know."""

    path: str
    records: int
    pairs: int
    rejected: int
    notes: tuple[str, ...]


class ImportedProject(NamedTuple):
    """A new project: its rows, how many records were rejected, and both by source."""

    root: Path
    rows: int
    rejected: int
    sources: tuple[ImportedSource, ...]


class MinedNegatives(NamedTuple):
    """Where mined negatives were written (None: only retrieved), how many, and what a person should know."""

    path: Path | None
    negatives: int
    notes: tuple[str, ...]


class Searched(NamedTuple):
    """What a search for false negatives found: counts by name, seconds, what a person should know."""

    stats: dict[str, Any]
    seconds: float
    notes: tuple[str, ...]


def check(
    context: Context, progress: Progress, *, names: Sequence[str] = (), overrides: Overrides | None = None
) -> list[Checked]:
    """Run the named checks (all when none is named).

    Raises:
        UsageError: there is no such check.
        ConfigError: a setting is unknown or wrong.
        UnavailableError: another process writes to the project, or the disk is full.
    """
    from studio.cleaning import check_project

    found = check_project(context.project(), names, overrides, progress)
    return [
        Checked(stored.check, stored.evidence.flags.height, stored.evidence.edges.height, stored.seconds, reused)
        for stored, reused in found
    ]


def accept_auto(context: Context, progress: Progress) -> Accepted:
    """Bring the ledger in line with the auto band.

    Raises:
        UnavailableError: another process writes to the project.
    """
    from studio.project.rules import apply_auto

    project = context.project()
    with project.locked():
        progress("apply the auto band", 0, 1)
        applied = apply_auto(project)
        progress("apply the auto band", 1, 1)
    steps = tuple(AcceptedStep(step.action.value, step.reason, len(step.targets)) for step in applied.steps)
    return Accepted(steps, applied.unchanged)


def export(context: Context, progress: Progress, *, out: str | Path, fmt: str = "parquet") -> Exported:
    """Export the curated rows to `out` in a format (a value of `studio.export.formats.Format`).

    Raises:
        ProjectError: no row is kept, or the format cannot hold the labels or scores of the rows.
        InputError: `out` holds something that is no part of an earlier export.
        UnavailableError: the disk is full, or `out` cannot be written.
    """
    from studio.export.formats import Format
    from studio.export.project import export_project

    project = context.project()
    result = export_project(project, Path(out), Format(fmt), progress=progress)
    return Exported(result.path, result.manifest["files"], result.notes)


def verify(context: Context, progress: Progress, *, out: str | Path) -> Verified:
    """Verify an export of the open project.

    Raises:
        InputError: `out` is not an export.
    """
    from studio.export.verify import verify_export

    report = verify_export(Path(out), project=context.project(), progress=progress)
    items = tuple(VerifiedItem(item.code, item.status.value, item.message) for item in report.items)
    return Verified(report.sound, items)


def import_sources(
    context: Context,
    progress: Progress,
    *,
    root: str | Path,
    sources: Sequence[str | Path],
    roles: Roles | None = None,
    strict: bool = False,
    preset: str | None = None,
) -> ImportedProject:
    """Read sources into a new project at `root`, with the person's defaults; the project is not opened.

    Args:
        context: not used; an import needs no open project.
        progress: told of every source and row.
        root: the new project's directory.
        sources: files, folders, or ids of hub datasets.
        roles: columns named by hand.
        strict: take the first rejected row as an error.
        preset: the name of the prompt preset to start with, else the person's own prompts.

    Raises:
        InputError: a source cannot be read, holds no pairs, or, when strict, has a bad row.
        ProjectError: `root` already holds other pairs.
        ConfigError: the person's settings are wrong, or there is no such preset.
        UnavailableError: a hub dataset cannot be reached, or the disk is full.
    """
    from studio.cleaning import import_project
    from studio.project.user import new_project_settings

    root = Path(root)
    defaults = new_project_settings(root.absolute().name, preset)
    _, imported = import_project(root, sources, roles=roles, strict=strict, defaults=defaults, progress=progress)
    return ImportedProject(
        root,
        imported.pairs.height,
        imported.rejects.height,
        tuple(
            ImportedSource(source.path, source.rows, source.pairs, source.rejected, source.notes)
            for source in imported.sources
        ),
    )


def tokens(context: Context, progress: Progress) -> Path:
    """Count the tokens of every query and passage; return the file (see `studio.view.tokens`).

    Raises:
        InputError: the model's tokenizer cannot be used.
        UnavailableError: the model is out of reach, or the disk is full.
    """
    from studio.view.tokens import count_tokens

    return count_tokens(context.project(), progress)


def languages(context: Context, progress: Progress) -> Path:
    """Tell the language of every query; return the file (see `studio.view.languages`).

    Raises:
        UnavailableError: the disk is full.
    """
    from studio.view.languages import tell_languages

    return tell_languages(context.project(), progress)


def false_negatives(context: Context, progress: Progress, *, changes: Mapping[str, Any] | None = None) -> Searched:
    """Look for false negatives, with `changes` to the project's settings of the search.

    Raises:
        ConfigError: a setting is unknown or wrong.
        InputError: a model cannot be used.
        UnavailableError: a model is out of reach, another process checks this project, or the disk is full.
    """
    from studio.mining.false_negatives import configured, search

    project = context.project()
    stored = search(project, configured(project.settings, changes), progress=progress)
    return Searched(dict(stored.evidence.stats), stored.seconds, stored.evidence.notes)


def mine(
    context: Context,
    progress: Progress,
    *,
    changes_to: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    form: str = "triplet",
    fmt: TableFormat = "parquet",
    short: str = "drop",
) -> MinedNegatives:
    """Mine hard negatives into `out`, or without it only ask the retrievers, so that the plan can be drawn.

    Args:
        context: the open project.
        progress: told of every step.
        changes_to: settings of `[mining]` for this run, by name.
        out: the folder to write.
        form: a value of `studio.mining.mined.Form`.
        fmt: parquet or jsonl.
        short: what becomes of rows with too few negatives (`studio.mining.mined.Short`).

    Raises:
        ConfigError: a setting is unknown or wrong.
        InputError: a model cannot be used, or `out` holds something that no mining wrote.
        UnavailableError: a model is out of reach, or the disk is full.
    """
    from studio.mining.mined import Form, Short
    from studio.mining.mined import mine as write
    from studio.mining.pool import prepared
    from studio.mining.settings import configured

    project = context.project()
    settings = configured(project.settings, changes_to)
    if out is None:
        prepared(project, settings, progress=progress)
        return MinedNegatives(None, 0, ())
    done = write(project, settings, Path(out), form=Form(form), fmt=fmt, short=Short(short), progress=progress)
    return MinedNegatives(done.path, done.plan.negatives, done.notes)


JOBS: dict[str, Function | str] = {
    "check": check,
    "accept_auto": accept_auto,
    "export": export,
    "verify": verify,
    "import_sources": import_sources,
    "tokens": tokens,
    "languages": languages,
    "false_negatives": false_negatives,
    "mine": mine,
    "preflight": "studio.engine.training:preflight",
    "launch": "studio.engine.training:launch",
    "smoke": "studio.engine.training:smoke",
    "matrix_plan": "studio.engine.training:matrix_plan",
    "matrix": "studio.engine.training:matrix",
    "evaluate": "studio.engine.evaluation:evaluate",
    "evaluate_on": "studio.engine.evaluation:go_on",
}
"""Each function gets the `Context`, a progress callback and the named arguments of the job.

As in `ASKS`, `module:function` is imported when it is first run.
"""


def work(context: Context, progress: Progress, name: str, arguments: Mapping[str, Any]) -> Any:
    """Do one job.

    Raises:
        UsageError: there is no such job.
        Cancelled: the progress callback stopped it.
        StudioError: whatever the function raises.
    """
    from studio.engine.asks import named

    return named(name, JOBS)(context, progress, **arguments)
