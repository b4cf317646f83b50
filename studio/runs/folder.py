"""Where the files of a run are. Worker and viewers share nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from studio.errors import InputError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_RUNS = "runs"


@dataclass(frozen=True, order=True)
class RunFolder:
    """One run, below `runs/` of a project."""

    root: Path

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.root.name

    @property
    def project(self) -> Path:
        """The project's directory."""
        return self.root.parent.parent

    @property
    def spec(self) -> Path:
        """The frozen run spec (`studio.training.spec.RunSpec`). It is written last: with it the folder is a run."""
        return self.root / "run.toml"

    @property
    def about(self) -> Path:
        """JSON: the command, when it was made, packages, git state, hash of the data, decisions it rests on."""
        return self.root / "about.json"

    @property
    def data(self) -> Path:
        """Folder of the frozen data: what trains, what is evaluated, what must not meet in a batch."""
        return self.root / "data"

    @property
    def events(self) -> Path:
        """What happened, a JSON object a line (`studio.runs.events`)."""
        return self.root / "events.jsonl"

    @property
    def console(self) -> Path:
        """All that the worker and its libraries print; appended to by every attempt."""
        return self.root / "console.log"

    @property
    def heartbeat(self) -> Path:
        """JSON, replaced every few seconds: the worker's process and what it is at (`studio.runs.liveness`)."""
        return self.root / "heartbeat"

    @property
    def control(self) -> Path:
        """Folder of requests to the worker (`studio.runs.control`)."""
        return self.root / "control"

    @property
    def result(self) -> Path:
        """JSON: verdict, metrics and per-query values of the baseline and of the final model."""
        return self.root / "result.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of `checkpoint-STEP` folders."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the model that the run ends with, prompts and card included."""
        return self.root / "model"


def run_folder(project: Path, name: str) -> RunFolder:
    """The folder of a run, whether it is there or not.

    Raises:
        UsageError: a run cannot be called that.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"A run cannot be called {name!r}.",
            remedy="use letters, digits, dots, dashes and underscores, 80 at most, a letter or digit first",
        )
    return RunFolder(project / _RUNS / name)


def existing_run(project: Path, name: str) -> RunFolder:
    """The folder of a run that is there.

    Raises:
        UsageError: a run cannot be called that.
        InputError: there is none; those that are there are named.
    """
    folder = run_folder(project, name)
    if not folder.spec.exists():
        known = ", ".join(run.name for run in run_folders(project)) or "there is none yet"
        raise InputError(f"There is no run `{name}`.", where=str(project / _RUNS), remedy=f"known: {known}")
    return folder


def run_folders(project: Path) -> list[RunFolder]:
    """Every run of a project, by name."""
    return sorted(
        RunFolder(spec.parent) for spec in (project / _RUNS).glob("*/run.toml") if _NAME.fullmatch(spec.parent.name)
    )
