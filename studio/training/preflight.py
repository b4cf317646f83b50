"""Everything that has wasted a training run, asked before the first GPU second. Each answer has its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from studio.errors import ConfigError, InputError, ProjectError, StudioError
from studio.files import scratch_directory
from studio.models.load import model_spec
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.tokenizer import StudioTokenizer, load_tokenizer
from studio.progress import Progress, silent
from studio.project.project import Project
from studio.project.settings import PromptSettings
from studio.runs.folder import run_folder
from studio.sample import model_location
from studio.training import data_checks, setup_checks
from studio.training.data import Prepared, prepare
from studio.training.items import Item, failed, passed
from studio.training.lengths import measure
from studio.training.memory import ModelFacts, model_facts
from studio.training.spec import RunSpec

__all__ = ["CODES", "Item", "preflight"]

CODES = {
    "name": "whether a run can be called that",
    "columns": "row 1 as the model sees it, and what was left out",
    "loss": "whether the loss takes the columns and knows its parameters",
    "empty": "texts without a letter",
    "prompts": "whether mining, training and evaluation have one contract",
    "double_prompts": "texts that carry a prompt of their own",
    "eos": "whether texts end in the token that is pooled, truncated ones too",
    "model": "what the doctor finds",
    "precision": "whether it suits model and device",
    "truncation": "what the maximum length cuts",
    "max_length": "whether the model reads so many tokens",
    "batches": "rows that share texts or answers, against the batch size",
    "leakage": "what both trains and is evaluated",
    "learning_rate": "whether a model survives it",
    "metric": "whether it exists",
    "multiples": "whether evaluations, checkpoints and steps fit each other",
    "versions": "libraries",
    "disk": "room for checkpoints",
    "rows": "enough to learn from",
    "memory": "estimated from real lengths, corrected by the smoke test",
    "negatives": "how many a query meets",
    "devices": "whether they are there",
    "data": "whether the data can be prepared at all",
}
"""Every code of an item, and what it is about."""


def preflight(
    project: Project,
    spec: RunSpec,
    name: str = "",
    *,
    prepared: Prepared | None = None,
    progress: Progress = silent,
) -> list[Item]:
    """Check a run before it is made. Takes seconds for a model that is loaded (up to 1.5 billion weights).

    What cannot be checked at all is a failing item, never an error.

    Args:
        project: whose rows train.
        spec: the run; prompts that it leaves open are the project's.
        name: what the run is to be called; "": not asked.
        prepared: its frozen data; None: they are prepared beside the project and thrown away.
        progress: told of each step; may stop it.

    Returns:
        The items, in the order of `CODES` as far as they apply.
    """
    whole = spec
    if spec.prompts is None:
        prompts = PromptSettings.model_validate(project.settings.prompts.model_dump())
        whole = spec.model_copy(update={"prompts": prompts})
    named = list(_name(project, name)) if name and prepared is None else []
    if prepared is not None:
        return named + _all(project, whole, prepared, progress)
    try:
        with scratch_directory(project.root / "runs" / "preflight") as scratch:
            return named + _all(project, whole, prepare(project, whole, scratch, progress), progress)
    except (ConfigError, InputError, ProjectError) as error:
        return [*named, _of_error("data", error), *_without_data(whole)]


def _all(project: Project, spec: RunSpec, prepared: Prepared, progress: Progress) -> list[Item]:
    tables = data_checks.Tables.of(prepared)
    devices = setup_checks.chosen(spec)
    progress("preflight", 0, None)
    items = [
        *data_checks.columns(spec, prepared, tables),
        *data_checks.empty(prepared, tables),
        *data_checks.prompts(project, spec, tables),
        *data_checks.leakage(project, prepared, tables),
        data_checks.amount(spec, prepared),
    ]
    if spec.schedule.max_steps == 0:
        batches = data_checks.Batches(0, 0, 0, 0)
    else:
        batches, drawn = data_checks.duplicates(spec, prepared, tables)
        items += [*drawn, setup_checks.negatives(spec, batches)]
    items += [
        setup_checks.learning_rate(spec),
        *setup_checks.plan(spec, batches),
        setup_checks.versions(spec),
        setup_checks.devices_of(spec, devices),
    ]
    try:
        facts, tokenizer, positions = _model(spec)
        lengths = measure(prepared, spec, tokenizer, progress)
    except StudioError as error:
        items.append(_of_error("model", error))
    else:
        items += data_checks.truncation(spec, lengths, positions)
        items += [
            setup_checks.precision(spec, facts, devices),
            setup_checks.disk(project, spec, facts),
            setup_checks.memory(project.root, spec, facts, lengths, devices),
        ]
        progress("doctor", 0, None)
        items += setup_checks.model(spec, facts, tokenizer)
    order = list(CODES)
    return sorted(items, key=lambda item: order.index(item.code))


def _name(project: Project, name: str) -> Iterator[Item]:
    try:
        folder = run_folder(project.root, name)
    except StudioError as error:
        yield _of_error("name", error)
        return
    if folder.root.exists():
        remedy = "choose another name, or resume that run"
        yield failed("name", f"There is a run `{name}` already.", remedy)
    else:
        yield passed("name", f"The run will be in {folder.root}.")


def _model(spec: RunSpec) -> tuple[ModelFacts, StudioTokenizer, int | None]:
    where = model_spec(model_location(spec.model.id), revision=spec.model.revision)
    facts = model_facts(spec.model.id, spec.model.revision)
    folder = transformer_folder(locate(where.id_or_path, where.revision, weights=False))
    positions = read_json(folder / "config.json").get("max_position_embeddings")
    tokenizer = load_tokenizer(where.id_or_path, where.revision)
    return facts, tokenizer, positions if isinstance(positions, int) else None


def _without_data(spec: RunSpec) -> list[Item]:
    """What can be said of a run without data."""
    checks: list[Callable[[], Item]] = [
        lambda: setup_checks.versions(spec),
        lambda: setup_checks.devices_of(spec, setup_checks.chosen(spec)),
        lambda: setup_checks.negatives(spec),
        lambda: setup_checks.learning_rate(spec),
    ]
    return [check() for check in checks]


def _of_error(code: str, error: StudioError) -> Item:
    where = f" ({Path(error.where).name if '/' in error.where else error.where})" if error.where else ""
    return failed(code, " ".join(filter(None, (error.what.rstrip(".") + where + ".", error.why))), error.remedy or "")
