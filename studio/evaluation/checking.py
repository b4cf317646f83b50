"""What is wrong with systems and can be known before anything is measured: names, files, dimensions that are none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from studio.errors import ConfigError, InputError, StudioError, UsageError
from studio.evaluation.naming import PROJECT, describe
from studio.evaluation.ready import READY, dimensions_of
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked
from studio.evaluation.vectors import context_of, resolve
from studio.models.load import MODEL_PRESETS
from studio.project.project import Project
from studio.runs.folder import run_folder, run_folders
from studio.sample import TINY_MODEL
from studio.text.safe import visible

_SHOWN = 200
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def check_systems(systems: Sequence[Named], project: Project) -> None:
    """Refuse a system that cannot be run whatever happens; nothing is loaded, and no hub is asked.

    What only running shows (a model on the hub that is not on this machine, a vector that is NaN) is left to it.

    Args:
        systems: that are asked for.
        project: whose model and runs they may name.

    Raises:
        UsageError: there is no such model or run; the nearest names are told.
        InputError: a run has no such checkpoint or no model, or a TREC file is not there.
        ConfigError: a model has fewer dimensions than are to be kept.
    """
    for named in systems:
        for part in _parts(named.system):
            if isinstance(part, Given):
                _check_file(part, named)
            elif isinstance(part, Dense):
                _check_model(part, named, project)
        if isinstance(named.system, Reranked):
            _check_name(named.system.model, named, project)


def check_references(references: Sequence[str], systems: Sequence[Named]) -> None:
    """Refuse a reference that no system is called.

    Raises:
        UsageError: there is none of that name; the nearest is told.
    """
    names = [named.name for named in systems]
    for reference in references:
        if reference not in names:
            near = difflib.get_close_matches(reference, names, n=2)
            there = ", ".join(f"`{visible(name, _SHOWN)}`" for name in names)
            raise UsageError(
                f"There is no system `{visible(reference, _SHOWN)}` to be the reference.",
                why=f"systems: {there}",
                remedy=f"did you mean {_either(near)}?" if near else "name one of these",
            )


def _parts(system: Dense | Lexical | Hybrid | Reranked | Given) -> tuple[Dense | Lexical | Given, ...]:
    if isinstance(system, Reranked):
        return _parts(system.first)
    return system.parts if isinstance(system, Hybrid) else (system,)


def _check_file(system: Given, named: Named) -> None:
    if not Path(system.path).expanduser().is_file():
        raise InputError("There is no such run file.", where=system.path, why=_asked(named), remedy="check the path")


def _check_model(system: Dense, named: Named, project: Project) -> None:
    if system.run:
        if not run_folder(project.root, system.run).spec.exists():
            raise _unknown(f"There is no run `{system.run}`.", f"run:{system.run}", named, project)
    elif system.model:
        _check_name(system.model, named, project)
    # Its own prompts may be on the hub, and those of the set are not known yet; both are asked for when it is run.
    found = resolve(system.model_copy(update={"prompts": "contract"}), context_of(project))
    folder = Path(found.spec.id_or_path).expanduser()
    if system.dim is None or not folder.is_dir():
        return
    try:
        whole = dimensions_of(folder)
    except StudioError:
        # What is wrong with the folder is said by whoever loads it.
        return
    if whole and system.dim > whole:
        raise ConfigError(
            f"The model has {whole:,} dimensions, so {system.dim:,} cannot be kept.",
            where=_asked(named),
            remedy=f"use dim={whole} or less, or leave `dim` out for all",
        )


def _check_name(model: str, named: Named, project: Project) -> None:
    if model == TINY_MODEL or model in MODEL_PRESETS:
        return
    path = Path(model).expanduser()
    try:
        if path.is_dir() or (_HUB_ID.fullmatch(model) and not path.exists()):
            return
        if path.is_file():
            raise UsageError(
                "A model is a folder, and this is a file.",
                where=_asked(named),
                remedy=f"another tool's run is written trec:{visible(model, _SHOWN)}",
            )
    except OSError:
        # Such as a name that is longer than a path can be.
        pass
    raise _unknown(f"There is no model `{visible(model, _SHOWN)}`.", model, named, project)


def _unknown(what: str, asked: str, named: Named, project: Project) -> UsageError:
    """Say what is not there, and which names are near."""
    runs = [f"run:{folder.name}" for folder in run_folders(project.root)]
    near = difflib.get_close_matches(asked, ["bm25", PROJECT, TINY_MODEL, *MODEL_PRESETS, *runs], n=2)
    if asked in READY:
        remedy = f"`{asked}` is a ready-made comparison: --ready {asked}"
    elif ":" in asked and not asked.startswith("run:"):
        name, _, rest = asked.partition(":")
        remedy = f"to name a system write a blank after the colon: '{visible(name, 40)}: {visible(rest, 80)}'"
    elif near:
        remedy = f"did you mean {_either(near)}?"
    else:
        known = ", ".join(runs) or "there is none yet"
        remedy = f"use bm25, {PROJECT}, a model's folder or hub id (owner/name), or a run ({known})"
    return UsageError(what, where=_asked(named), remedy=remedy)


def _asked(named: Named) -> str:
    return f"system `{visible(describe(named), _SHOWN)}`"


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{visible(name, _SHOWN)}`" for name in names)
