"""Evaluating: a set is frozen, systems are run on it one by one, and each result is on disk before the next begins."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from studio import __version__
from studio.errors import Cancelled, StudioError, UnavailableError, UsageError
from studio.evaluation.checking import check_systems
from studio.evaluation.collecting import SetOptions, collect
from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.metrics import METRICS, metric
from studio.evaluation.operations import measure
from studio.evaluation.parts import load_set, load_system, save_set, save_system, set_is_frozen
from studio.evaluation.reporting import as_json, report
from studio.evaluation.requests import FORMAT, Request, load_request, save_request, write_json
from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.running import Context, Work, class_of, context_of
from studio.evaluation.scoring import result_of
from studio.evaluation.sets import EvaluationSet, RetrievalSet
from studio.evaluation.storing import done, evaluation_folder, existing_evaluation, load
from studio.evaluation.systems import Named
from studio.files import explained
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.text.safe import visible

_PACKAGES = (
    "torch", "sentence-transformers", "transformers", "tokenizers", "bm25s", "PyStemmer", "numpy", "polars", "scipy",
)  # fmt: skip
_NAME_SHOWN = 40
_OPTIONS: TypeAdapter[SetOptions] = TypeAdapter(SetOptions)


def evaluate(
    project: Project,
    name: str,
    set_name: str,
    options: SetOptions,
    systems: Sequence[Named],
    metrics: Sequence[str] = METRICS,
    main: str = METRICS[0],
    *,
    operations: bool = True,
    argv: Sequence[str] = (),
    progress: Progress = silent,
) -> Evaluation:
    """Run systems on a set and store all of it below the project.

    A killed evaluation loses at most the system at work: asked for again under its name, it goes on with what is
    missing, and tries again what could not be run. A system that is known to be none is refused before anything is
    stored (`checking`); one that cannot be run keeps its reason, and the others go on.

    Args:
        project: where it is stored, and whose model, prompts and runs the systems may name.
        name: of the evaluation.
        set_name: as `collecting.collect` reads it.
        options: of the set.
        systems: each with a name of its own, in the order of the table.
        metrics: of retrieval; those of pairs and triplets are what they are.
        main: the metric that decides.
        operations: whether the cost of each system is measured, too.
        argv: the command, program first.
        progress: told of every step, with the system's name before it.

    Raises:
        UsageError: it cannot be called that, no system is named or two have one name, a system names what is not
            there, or an evaluation of this name was asked for something else.
        ConfigError: there is no such metric, or a model has fewer dimensions than are to be kept.
        InputError: the set, or what a system names, cannot be read.
        UnavailableError: the set is out of reach, or another process is at this evaluation.
    """
    twice = [system for system, times in Counter(named.name for named in systems).items() if times > 1]
    if not systems or twice:
        raise UsageError(
            f"Two systems are called {twice[0]!r}." if twice else "No system is named.",
            remedy="give each a name of its own, such as --system 'mine: harrier-tiny'",
        )
    main = metric(main).name
    request = Request(
        set_name,
        _OPTIONS.dump_python(options, mode="json"),
        tuple(systems),
        tuple(dict.fromkeys([main, *(metric(asked).name for asked in metrics)])),
        main,
        operations,
        tuple(argv),
        datetime.now(UTC).isoformat(timespec="seconds"),
        _versions(),
        _taken_for_granted(project),
    )
    folder = evaluation_folder(project.root, name)
    with _held(folder):
        progress("begin", 0, None)
        if folder.request.exists():
            stored = load_request(folder)
            differs = stored.differs(request)
            if differs:
                raise UsageError(
                    f"There is an evaluation `{name}` already, and it was asked for something else.",
                    where=str(folder.root),
                    why=f"different: {differs}",
                    remedy="choose another name, or leave out all but the name to go on with it",
                )
            return _carried_out(project, folder, stored, None, progress)
        check_systems(systems, project)
        # Before the set is looked at, which can take long: what is stopped there goes on by its name, too.
        save_request(folder, request)
        try:
            evaluated = collect(set_name, project, options, progress)
        except Cancelled:
            raise
        except Exception:
            # A name that was mistyped leaves no trace.
            folder.request.unlink()
            raise
        return _carried_out(project, folder, request, evaluated, progress)


def go_on(project: Project, name: str, progress: Progress = silent) -> Evaluation:
    """Do what is missing of an evaluation, as it was asked for.

    Raises:
        InputError: there is none of that name, or it is damaged.
        UsageError: the project's model, prompts or length changed since it began.
        UnavailableError: another process is at this evaluation, or its set, not frozen yet, is out of reach.
    """
    folder = existing_evaluation(project.root, name)
    with _held(folder):
        return _carried_out(project, folder, load_request(folder), None, progress)


def _carried_out(
    project: Project, folder: EvaluationFolder, request: Request, evaluated: EvaluationSet | None, progress: Progress
) -> Evaluation:
    if set_is_frozen(folder):
        evaluated = load_set(folder)
    else:
        evaluated = evaluated or collect(request.set_name, project, _OPTIONS.validate_python(request.options), progress)
        save_set(folder, evaluated)
    if request.context != _taken_for_granted(project):
        _refuse_to_mix(project, folder, request)
    context, changed = context_of(project), not done(folder)
    work = Work(evaluated, context) if isinstance(evaluated, RetrievalSet) else None
    for place, named in enumerate(request.systems):
        if _finished(folder, place):
            continue
        told = _under(progress, named.name)
        told(f"system {place + 1} of {len(request.systems)}", 0, None)
        result = _result(named, evaluated, context, request, work, told)
        save_system(folder, place, result)
        changed = True
    evaluation = load(folder)
    if changed:
        write_json(folder.report, {"format": FORMAT, **as_json(report(evaluation))})
    return evaluation


def _refuse_to_mix(project: Project, folder: EvaluationFolder, request: Request) -> None:
    """Systems that read the project's texts in two ways do not belong in one table.

    Raises:
        UsageError: the project's model, prompts or length are others by now, and a system is still to come.
    """
    now = _taken_for_granted(project)
    missing = [named.name for place, named in enumerate(request.systems) if not _finished(folder, place)]
    if missing:
        raise UsageError(
            f"The evaluation `{folder.name}` cannot go on as it began.",
            where=str(folder.root),
            why=f"since then the project's {', '.join(name for name in now if request.context.get(name) != now[name])} "
            f"changed, and {', '.join(missing)} would be read in another way than the others",
            remedy="evaluate under another name, or put the setting back",
        )


def _finished(folder: EvaluationFolder, place: int) -> bool:
    found = load_system(folder, place)
    return found is not None and not found.error


def _taken_for_granted(project: Project) -> dict[str, str]:
    """What a system that names nothing of its own has from the project."""
    model, prompts = project.settings.model, project.settings.prompts.contract()
    return {"model": model.id, "prompts": prompts.hash, "length": str(model.max_length)}


def _result(
    named: Named,
    evaluated: EvaluationSet,
    context: Context,
    request: Request,
    work: Work | None,
    progress: Progress,
) -> SystemResult:
    """A system's result, or why it has none."""
    try:
        result = result_of(named, evaluated, context, request.metrics, progress, work)
    except StudioError as error:
        return SystemResult(named.name, named.system, class_of(named.system), {}, {}, error=_sentence(error))
    except (RuntimeError, OSError, MemoryError, ValueError) as error:  # what libraries raise of a broken model
        why = f"{type(error).__name__}: {error}"
        return SystemResult(named.name, named.system, class_of(named.system), {}, {}, error=why)
    if not request.operations or not isinstance(evaluated, RetrievalSet):
        return result
    try:
        return replace(result, operations=measure(named, evaluated, context, progress))
    except StudioError as error:
        return replace(result, notes=(*result.notes, f"its cost could not be measured: {_sentence(error)}"))


def _sentence(error: StudioError) -> str:
    """An error on one line."""
    where = f" ({error.where})" if error.where else ""
    told = "; ".join(part for part in (error.why, error.remedy) if part)
    return error.what.rstrip(".") + where + (f": {told}" if told else "")


def _under(progress: Progress, name: str) -> Progress:
    """Tell of each step with the system's name before it."""
    shown = visible(name, _NAME_SHOWN)

    def told(step: str, done: int, total: int | None) -> None:
        progress(f"{shown}: {step}", done, total)

    return told


@contextmanager
def _held(folder: EvaluationFolder) -> Iterator[None]:
    """Keep a second process from the same evaluation; a killed one lets go of it."""
    there = folder.root.exists()
    with explained(folder.root):
        folder.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.root / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UnavailableError(
            f"The evaluation `{folder.name}` is being made by another process.",
            where=str(folder.root),
            remedy="wait for it, or evaluate under another name",
        ) from None
    try:
        yield
    finally:
        lock.release()
        if not there and not folder.request.exists():
            shutil.rmtree(folder.root, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {"harrier-studio": __version__}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
