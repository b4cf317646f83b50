"""`evaluate`: systems on sets, and other tools' runs, told as tables, JSON, Markdown and a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

import typer

from studio.cli.output import progress_bar, say
from studio.cli.telling import Show, tell
from studio.errors import ExitCode, UsageError
from studio.evaluation import evaluating
from studio.evaluation.benchmarks import expanded
from studio.evaluation.collecting import SetOptions
from studio.evaluation.metrics import METRICS
from studio.evaluation.parsing import distinct, parse, read_systems, ready
from studio.evaluation.reporting import unable
from studio.evaluation.results import Evaluation
from studio.evaluation.storing import evaluation_folder, existing_evaluation, free_name, plain_name
from studio.evaluation.systems import Named, SystemClass
from studio.evaluation.trec_runs import of_trec_runs
from studio.project.project import Project


class Wanted(NamedTuple):
    """What is evaluated: names of sets, systems as written, a file of systems, ready-made comparisons, a name, cost."""

    sets: tuple[str, ...]
    systems: tuple[str, ...]
    file: Path | None
    ready: tuple[str, ...]
    name: str | None
    operations: bool


class Drawn(NamedTuple):
    """What is taken of a set (`SetOptions`)."""

    split: str | None = None
    queries: int = 0
    corpus: int = 0
    seed: int = 0
    revision: str | None = None
    self_hits: str | None = None


def evaluate(root: Path, wanted: Wanted, drawn: Drawn, show: Show) -> None:
    """`evaluate`."""
    project = Project.open(root)
    if _goes_on(project, wanted, drawn):
        folder = existing_evaluation(project.root, cast(str, wanted.name))
        with progress_bar() as progress:
            found = [evaluating.go_on(project, folder.name, progress)]
        _told(found, show)
        return
    systems = _systems(project, wanted)
    sets = tuple(one for asked in wanted.sets or ("held-out",) for one in expanded(asked))
    options = SetOptions(
        drawn.split,
        drawn.queries,
        drawn.corpus,
        drawn.seed,
        drawn.revision,
        cast(Literal["keep", "remove"] | None, drawn.self_hits),
    )
    found = []
    for set_name in sets:
        name = _name(project, wanted.name, set_name, len(sets))
        with progress_bar() as progress:
            found.append(
                evaluating.evaluate(
                    project,
                    name,
                    set_name,
                    options,
                    systems,
                    METRICS,
                    show.metric or METRICS[0],
                    operations=wanted.operations,
                    argv=("harrier-studio", *sys.argv[1:]),
                    progress=progress,
                )
            )
        say(f"stored as {name}; again: harrier-studio compare {name} --project {root}")
    _told(found, show)


def evaluate_runs(runs: tuple[Path, ...], qrels: Path | None, of_class: str, show: Show) -> None:
    """`evaluate --trec-run`."""
    if not runs or qrels is None:
        raise UsageError(
            "A run is scored by judgements.",
            why="--trec-run is missing" if not runs else "--qrels is missing",
            remedy="name both: harrier-studio evaluate --trec-run RUN --qrels QRELS",
        )
    with progress_bar() as progress:
        found = of_trec_runs(runs, qrels, SystemClass(of_class), show.metric or METRICS[0], progress=progress)
    _told([found], show)


def _told(evaluations: Sequence[Evaluation], show: Show) -> None:
    """Tell evaluations, and exit with 1 if a system could not be run."""
    tell(evaluations, show)
    failed = sum(len(unable(one)) for one in evaluations)
    if failed:
        whole = sum(len(one.systems) for one in evaluations)
        say(f"{failed} of {whole} systems could not be run; `evaluate --name NAME` tries them again")
        raise typer.Exit(ExitCode.FINDINGS)


def _goes_on(project: Project, wanted: Wanted, drawn: Drawn) -> bool:
    """Whether nothing but the name of an evaluation that is there was given."""
    if wanted.name is None or wanted.sets or wanted.systems or wanted.file or wanted.ready or drawn != Drawn():
        return False
    return evaluation_folder(project.root, wanted.name).request.exists()


def _name(project: Project, wanted: str | None, set_name: str, sets: int) -> str:
    """What an evaluation is called: as asked, after its set, or, of several sets, after both."""
    short = Path(set_name).name if Path(set_name).exists() else set_name
    if wanted is None:
        return free_name(project.root, short)
    return wanted if sets == 1 else f"{wanted}-{plain_name(short)}"


def _systems(project: Project, wanted: Wanted) -> list[Named]:
    found = [parse(text) for text in wanted.systems]
    if wanted.file is not None:
        found += read_systems(wanted.file)
    names = wanted.ready or (() if found else ("default",))
    found += [named for name in names for named in ready(name, project)]
    return list(distinct(found))
