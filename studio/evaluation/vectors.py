"""The model that a dense system stands for: which files, which prompts, how long its texts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from studio.errors import ConfigError, InputError, UsageError
from studio.evaluation.sets import About
from studio.evaluation.systems import Dense
from studio.mining.retrieval import embeddings_folder
from studio.models.embed import Encoder, model_fingerprint
from studio.models.load import ModelSpec, model_spec
from studio.models.tokenizer import model_prompts
from studio.project.project import Project
from studio.project.settings import ModelSettings, ProjectSettings, PromptSettings, validated
from studio.prompts.contract import Origin, OriginKind, PromptContract
from studio.runs.folder import RunFolder, existing_run
from studio.sample import model_location

BASELINE = "baseline"
_CHECKPOINT = "checkpoint-"
_WHOLE = "whole.json"
"""What a checkpoint has once every part of it is written."""
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names under which `encode_document` of sentence-transformers looks for a prompt, in its order."""


@dataclass(frozen=True)
class Context:
    """What systems are run with.

    Attributes:
        project: whose runs may be named; None: no system may name a run.
        store: folder of all cached vectors.
        contract: the prompts of systems that ask for the project's.
        model: the project's model, for systems that name none; "": there is none.
        max_length: tokens a text is cut at, where a system does not say.
        device: where a system does not say; None: chosen.
    """

    project: Project | None
    store: Path
    contract: PromptContract
    model: str = ""
    max_length: int = ModelSettings().max_length
    device: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A dense system, found.

    Attributes:
        encoder: what computes its vectors.
        contract: the prompts it puts before texts.
        model: its name: a folder, a hub id, or `harrier-tiny`.
    """

    encoder: Encoder
    contract: PromptContract
    model: str

    @property
    def spec(self) -> ModelSpec:
        """What loads the model."""
        return self.encoder.spec


class _Model(BaseModel):
    """What is needed of a run's `[model]`; its other keys are the run's own business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    revision: str | None = None
    max_length: int = Field(ge=8)
    trust_remote_code: bool = False


class _Loss(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    matryoshka: tuple[int, ...] = ()


class _Run(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    model: _Model
    prompts: PromptSettings
    loss: _Loss = _Loss()


def context_of(project: Project) -> Context:
    """The context of a project: its vectors, prompts, model and lengths.

    Raises:
        ConfigError: its settings cannot be used.
    """
    settings: ProjectSettings = project.settings
    return Context(
        project,
        embeddings_folder(project),
        settings.prompts.contract(),
        settings.model.id,
        settings.model.max_length,
    )


def resolve(dense: Dense, context: Context, about: About | None = None) -> Resolved:
    """Find a dense system's model and prompts; nothing is loaded.

    Args:
        dense: the system.
        context: what it is run with.
        about: of the set, whose authors may name a prompt.

    Raises:
        UsageError: it names a run, and there is no project.
        InputError: there is no such run, or the run has not that model.
        ConfigError: it names no model and neither does the context, or the set names no prompt and it asks for it.
        UnavailableError: its own prompts are asked for and the model is out of reach.
    """
    if dense.run:
        return _of_run(dense, context, about)
    model = dense.model or context.model
    if not model:
        raise ConfigError("This system names no model.", remedy="give a folder, a hub id or `harrier-tiny`")
    spec = model_spec(
        model_location(model),
        max_length=dense.max_length or context.max_length,
        revision=dense.revision,
        device=dense.device or context.device,
        trust_remote_code=dense.trust_remote_code,
    )
    return Resolved(Encoder(spec), _prompts(dense, spec, context.contract, about), model)


def matryoshka_of(project: Project, run: str) -> tuple[int, ...]:
    """The dimensions that a run was trained to work at; empty: only the whole vector.

    Raises:
        UsageError: a run cannot be called that.
        InputError: there is no such run.
        ConfigError: its spec cannot be read.
    """
    return _read(existing_run(project.root, run)).loss.matryoshka


def described(resolved: Resolved, dense: Dense) -> dict[str, str | int | float]:
    """What the values of a dense system depend on.

    Raises:
        InputError: the model's files cannot be read.
        UnavailableError: the model is neither in the cache nor within reach.
    """
    told: dict[str, str | int | float] = {
        "model": resolved.model,
        "revision": model_fingerprint(resolved.spec),
        "query_prompt": resolved.contract.query,
        "document_prompt": resolved.contract.document,
        "prompts": resolved.contract.hash,
        "max_length": resolved.spec.max_length,
        "precision": dense.precision,
    }
    if dense.run:
        told["run"] = f"{dense.run}@{dense.at}" if dense.at else dense.run
    if dense.dim:
        told["dim"] = dense.dim
    if dense.rescore:
        told["rescore"] = dense.rescore
    return told


def _of_run(dense: Dense, context: Context, about: About | None) -> Resolved:
    if context.project is None:
        raise UsageError(f"The run `{dense.run}` is of a project, and none is given.", remedy="give `--project DIR`")
    folder = existing_run(context.project.root, dense.run)
    run = _read(folder)
    code = dense.trust_remote_code or run.model.trust_remote_code
    lengths: dict[str, Any] = {
        "max_length": dense.max_length or run.model.max_length,
        "device": dense.device or context.device,
        "trust_remote_code": code,
    }
    if dense.at == BASELINE:
        model = run.model.id
        spec = model_spec(model_location(model), revision=run.model.revision, **lengths)
    else:
        path = _folder(folder, dense.at)
        model = f"{folder.name}/{path.relative_to(folder.root).as_posix()}"
        spec = ModelSpec(str(path), **lengths)
    return Resolved(Encoder(spec), _prompts(dense, spec, run.prompts.contract(), about), model)


def _read(folder: RunFolder) -> _Run:
    """What a run's spec says of its model and prompts: it is frozen, and never what the project says now."""
    try:
        said: Mapping[str, Any] = tomllib.loads(folder.spec.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("The spec of a run cannot be read.", where=str(folder.spec), why=str(error)) from error
    return validated(dict(said), _Run, str(folder.spec))


def _folder(folder: RunFolder, at: str) -> Path:
    """The folder of a run's final model, or of one of its checkpoints."""
    whole = sorted(
        (path.parent for path in folder.checkpoints.glob(f"{_CHECKPOINT}*/{_WHOLE}")),
        key=lambda path: (len(path.name), path.name),
    )
    known = ", ".join(path.name for path in whole) or "none"
    if at:
        found = next((path for path in whole if path.name == at), None)
        if found is None:
            raise InputError(
                f"The run `{folder.name}` has no `{at}`.",
                where=str(folder.checkpoints),
                why=f"whole checkpoints: {known}",
                remedy=f"use one of these, `{BASELINE}`, or nothing for its final model",
            )
        return found
    if not (folder.model / "modules.json").exists():
        raise InputError(
            f"The run `{folder.name}` has no final model.",
            where=str(folder.model),
            why=f"it did not come to its end, or its model was removed; whole checkpoints: {known}",
            remedy="resume it, or name a checkpoint: "
            + (f"run:{folder.name}@{whole[-1].name}" if whole else "none yet"),
        )
    return folder.model


def _prompts(dense: Dense, spec: ModelSpec, contract: PromptContract, about: About | None) -> PromptContract:
    if dense.prompts == "none":
        return PromptContract.custom("", name="none")
    if dense.prompts == "set":
        if about is None or about.query_prompt is None:
            raise ConfigError(
                "The set names no prompt.",
                where=about.name if about else None,
                why="its authors say none for its queries, or it was made here",
                remedy="use `prompts=contract`, `prompts=model` or `prompts=none`",
            )
        return PromptContract.custom(about.query_prompt, name=about.name)
    if dense.prompts == "model":
        own = model_prompts(spec.id_or_path, spec.revision)
        default = own.prompts.get(own.default_prompt_name or "", "")
        query = own.prompts.get("query", default)
        document = next((own.prompts[name] for name in _DOCUMENT_PROMPTS if name in own.prompts), default)
        return PromptContract(query, document, Origin(OriginKind.MODEL, "query", spec.id_or_path))
    return contract
