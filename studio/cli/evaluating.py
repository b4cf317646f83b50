"""`evaluate`: systems on sets, and other tools' runs, told as tables, JSON, Markdown and a page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, cast

import typer

from studio.cli.output import say
from studio.cli.telling import Show, check_files, steps, tell
from studio.errors import Cancelled, ConfigError, ExitCode, UsageError
from studio.evaluation import evaluating
from studio.evaluation.benchmarks import expanded
from studio.evaluation.checking import check_references
from studio.evaluation.collecting import SetOptions
from studio.evaluation.metrics import METRICS, metric
from studio.evaluation.parsing import distinct, parse, read_systems, ready
from studio.evaluation.reporting import unable
from studio.evaluation.requests import load_request
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import RetrievalSet, SetKind
from studio.evaluation.storing import evaluation_folder, existing_evaluation, free_name, plain_name
from studio.evaluation.systems import Named, SystemClass
from studio.evaluation.trec_runs import of_trec_runs
from studio.evaluation.wording import numbered
from studio.pairs.roles import NO_ROLES, Roles
from studio.project.project import Project

_COSTS = "; what each costs is measured, too, which takes its time: --no-operations leaves that out"


class Wanted(NamedTuple):
    """What is evaluated: names of sets, systems as written, a file of systems, ready-made comparisons, a name, cost."""

    sets: tuple[str, ...]
    systems: tuple[str, ...]
    file: Path | None
    ready: tuple[str, ...]
    name: str | None
    operations: bool


class Drawn(NamedTuple):
    """What is taken of a set, and how it is read (`SetOptions`)."""

    split: str | None = None
    queries: int = 0
    corpus: int = 0
    seed: int = 0
    revision: str | None = None
    self_hits: str | None = None
    kind: str | None = None
    roles: Roles = NO_ROLES


def evaluate(root: Path, wanted: Wanted, drawn: Drawn, show: Show) -> None:
    """`evaluate`."""
    project = Project.open(root)
    check_files(show)
    main = _metric(show)
    if _goes_on(project, wanted, drawn):
        folder = existing_evaluation(project.root, cast(str, wanted.name))
        check_references(show.references, load_request(folder).systems)
        with steps() as progress, _resumable(project, folder.name):
            found = [evaluating.go_on(project, folder.name, progress)]
        _told(found, show)
        return
    systems = _systems(project, wanted)
    check_references(show.references, systems)
    sets = tuple(one for asked in wanted.sets or ("held-out",) for one in expanded(asked))
    options = _options(drawn, sets)
    found = []
    for place, set_name in enumerate(sets):
        name = _name(project, wanted.name, set_name, len(sets))
        say(f"{name}: {numbered(len(systems), 'system')} on {set_name}" + (_COSTS if wanted.operations else ""))
        with steps() as progress, _resumable(project, name, sets[place + 1 :]):
            found.append(
                evaluating.evaluate(
                    project,
                    name,
                    set_name,
                    options,
                    systems,
                    METRICS,
                    main,
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
    check_files(show)
    main = _metric(show)
    if len({path.resolve() for path in runs}) < len(runs):
        say("a run that is named twice is scored once")
    with steps() as progress:
        found = of_trec_runs(runs, qrels, SystemClass(of_class), main, progress=progress)
    _told([found], show)


def _metric(show: Show) -> str:
    """The metric that decides.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return metric(show.metric or METRICS[0]).name
    except ConfigError as error:
        raise UsageError(error.what, where=error.where, why=error.why, remedy=error.remedy) from error


def _options(drawn: Drawn, sets: Sequence[str]) -> SetOptions:
    """What to take of the sets.

    Raises:
        UsageError: columns are named, and a set is the project's own or a run's.
    """
    own = next((name for name in sets if name.split(":")[0] in ("held-out", "run")), None)
    if drawn.roles != NO_ROLES and own is not None:
        raise UsageError(
            f"`{own}` has no columns to be named.",
            remedy="--query, --positive, --negative and --score name columns of a file: --set FILE",
        )
    return SetOptions(
        drawn.split,
        drawn.queries,
        drawn.corpus,
        drawn.seed,
        drawn.revision,
        cast(Literal["keep", "remove"] | None, drawn.self_hits),
        SetKind(drawn.kind) if drawn.kind else None,
        drawn.roles,
    )


@contextmanager
def _resumable(project: Project, name: str, after: Sequence[str] = ()) -> Iterator[None]:
    """Say how to go on with an evaluation that is interrupted; `after`: sets that had to wait for it."""
    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        if evaluation_folder(project.root, name).request.exists():
            command = ["harrier-studio", "evaluate", "--project", str(project.root), "--name", name]
            say(f"go on with it: {shlex.join(command)}")
        if after:
            say(f"not begun: {', '.join(after)}")
        raise


def _told(evaluations: Sequence[Evaluation], show: Show) -> None:
    """Tell evaluations, and exit with 1 if a system could not be run."""
    tell(evaluations, show)
    failed = [(one, system) for one in evaluations for system in unable(one)]
    if not failed:
        return
    whole = sum(len(one.systems) for one in evaluations)
    said = f"{len(failed)} of {numbered(whole, 'system')} could not be run"
    # BM25 will never say how alike two sentences are; a model that is missing may be there the next time.
    again = [
        one.name for one, system in failed if isinstance(one.evaluated, RetrievalSet) or system.of_class == "dense"
    ]
    if again:
        said += f"; to try again: harrier-studio evaluate --name {again[0]}"
    say(said)
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
    kept = list(distinct(found))
    if len(kept) < len(found):
        say("a system that is named twice is measured once")
    return kept
