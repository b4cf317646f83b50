"""What a run comes from: the command, the packages, the state of git, the data and the decisions it rests on."""

from __future__ import annotations

import json
import platform
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from studio import __version__
from studio.models.load import preset_of
from studio.models.locate import locate
from studio.project.project import Project
from studio.project.settings import PromptSettings
from studio.runs.folder import RunFolder
from studio.sample import TINY_MODEL
from studio.training.data import Prepared
from studio.training.spec import ModelPart, RunSpec

_PACKAGES = (
    "torch",
    "sentence-transformers",
    "transformers",
    "accelerate",
    "peft",
    "datasets",
    "tokenizers",
    "numpy",
    "polars",
    "pyarrow",
)
_GIT_SECONDS = 20


def frozen(spec: RunSpec, project: Project) -> RunSpec:
    """The spec with nothing left to what the project, the hub or the place of the command say later.

    The prompts are written out, a published model gets its revision, and a folder its whole path.

    Raises:
        InputError: there is no such model folder.
        UnavailableError: the model is neither in the cache nor within reach of the hub.
    """
    prompts = spec.prompts or PromptSettings.model_validate(project.settings.prompts.model_dump())
    loss = spec.loss
    if loss.guide:
        loss = loss.model_copy(update={"guide": _frozen_model(ModelPart(id=loss.guide)).id})
    return spec.model_copy(update={"prompts": prompts, "model": _frozen_model(spec.model), "loss": loss})


def latest_decision(project: Project) -> int:
    """Number of the latest decision of a project; 0: there is none."""
    return max((decision.seq for decision in project.ledger.log()), default=0)


def about(project: Project, prepared: Prepared, argv: Sequence[str], decisions: int) -> dict[str, Any]:
    """What `about.json` says.

    Args:
        project: whose rows train.
        prepared: the data of the run.
        argv: the command that made the run, program first; empty: not made by a command.
        decisions: number of the latest decision that the data rest on.
    """
    return {
        "tool": f"harrier-studio {__version__}",
        "time": time.time(),
        "command": shlex.join(argv),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": _packages(),
        "git": _git(project.root),
        "data": prepared.hash,
        "snapshot": project.settings.snapshot,
        "decisions": decisions,
    }


def decisions_of(folder: RunFolder) -> int | None:
    """The latest decision that a run's data rest on; None: its record cannot be read."""
    try:
        return int(json.loads(folder.about.read_text("utf-8"))["decisions"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _frozen_model(part: ModelPart) -> ModelPart:
    if part.id == TINY_MODEL:
        return part
    folder = Path(part.id).expanduser()
    if folder.is_dir():
        return part.model_copy(update={"id": str(folder.resolve())})
    preset = preset_of(part.id)
    name = preset.id if preset else part.id
    revision = part.revision or (preset.revision if preset else None)
    found = locate(name, revision, weights=False)
    # The hub's cache keeps each commit in a folder of that name: what a branch points to today.
    if found.parent.name == "snapshots":
        revision = found.name
    return part.model_copy(update={"id": name, "revision": revision})


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(root: Path) -> dict[str, Any] | None:
    """Commit of the work tree that the project lies in, and whether it holds changes; None outside of git."""
    commit = _asked_git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _asked_git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(status), "branch": _asked_git(root, "branch", "--show-current") or ""}


def _asked_git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
