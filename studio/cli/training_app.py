"""The commands that train: train, resume, matrix, eject. Each imports the engine only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from studio.cli.app import AsJson, ProjectDir

training_app = typer.Typer()

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name.")]
SpecSet = Annotated[
    Optional[list[str]],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the run spec, such as optimiser.lr (repeatable)."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return as soon as it is started; it goes on by itself.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait in the project's queue until its devices are free.")]


def _named(run: Optional[str]) -> Optional[str]:
    """Refuse an empty name: a script that lost it would get the default one, and another run."""
    if run is not None and not run.strip():
        raise typer.BadParameter("a run's name is not empty; leave --run out for the preset's name")
    return run


@training_app.command()
def train(
    project: ProjectDir = Path("."),
    run: Annotated[
        Optional[str],
        typer.Option("--run", help="What the run is called (default: the preset's name).", callback=_named),
    ] = None,
    preset: Annotated[
        Optional[str],
        typer.Option(
            help="Where to start from (default: first_try, or tiny for the embedded model).", show_default=False
        ),
    ] = None,
    spec: Annotated[
        Optional[Path], typer.Option("--spec", metavar="FILE", help="A run spec to start from instead of a preset.")
    ] = None,
    set_: SpecSet = None,
    detach: Detach = False,
    queue: Queue = False,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="One step with the real batch, as the run `smoke`: does it work, and does it fit?"
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the checks, the spec and the command; exit with 1 if one fails.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Start although a check fails.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train: check what can go wrong, make the run, start it, and follow it until it ends.

    The run is a process of its own: ctrl+c, a closed terminal or a lost connection end the watching, not the run.
    Exit codes: 0 it is done, 1 it failed or was stopped, or with --dry-run a check fails; 3 a check fails.
    """
    from studio.cli import training

    training.train(
        project,
        training.Asked(run or "", preset, spec, tuple(set_ or ()), smoke),
        training.How(detach, queue, dry_run, force, yes, as_json),
    )


@training_app.command()
def resume(
    run: RunName,
    project: ProjectDir = Path("."),
    detach: Detach = False,
    queue: Queue = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped, failed or was killed, from its last checkpoint, with the same data order."""
    from studio.cli import training

    training.resume(project, run, training.How(detach, queue, as_json=as_json))


@training_app.command()
def matrix(
    project: ProjectDir = Path("."),
    base: Annotated[
        Optional[str],
        typer.Option(help="Preset that every row starts from (default: as `train` has it).", show_default=False),
    ] = None,
    spec: Annotated[
        Optional[Path], typer.Option("--spec", metavar="FILE", help="A run spec to start from instead of a preset.")
    ] = None,
    rows: Annotated[
        str, typer.Option(metavar="LETTERS", help="Which rows, such as B,C,D (default: all that can differ).")
    ] = "",
    set_: SpecSet = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the runs.")] = "",
    detach: Detach = False,
    table: Annotated[bool, typer.Option("--table", help="Queue nothing; print the table of what is there.")] = False,
    out: Annotated[
        Optional[Path], typer.Option("--out", "-o", metavar="FILE", help="Write the table as Markdown, too.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the rows and why others are left out.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; a matrix never does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue the experiment matrix and end in one table: each row against zero-shot, with interval and p-value.

    A row whose run is there with the same spec is not run again, so that a matrix that was stopped goes on.
    """
    from studio.cli import training_matrix

    training_matrix.matrix(
        project,
        training_matrix.Wanted(base, spec, rows, tuple(set_ or ()), prefix),
        detach=detach,
        table=table,
        out=out,
        dry_run=dry_run,
        as_json=as_json,
    )


@training_app.command()
def eject(
    run: RunName,
    project: ProjectDir = Path("."),
    slurm: Annotated[bool, typer.Option("--slurm", help="A batch script for Slurm instead.")] = False,
    ssh: Annotated[
        Optional[str], typer.Option("--ssh", metavar="HOST", help="The commands for another machine instead.")
    ] = None,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", metavar="FILE", help="Write it there.")] = None,
) -> None:
    """Print a run as a plain sentence-transformers script, equal in effect.

    Of the studio it imports one piece at most, the conflict-aware sampler, and says what to write instead.
    """
    from studio.cli import training

    training.eject(project, run, slurm, ssh, out)
