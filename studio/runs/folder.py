"""Where the files of a run are. Worker and viewers share nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.named_folders import NamedFolder, Shelf

_RUNS = Shelf("runs", "run.toml", "run")


@dataclass(frozen=True, order=True)
class RunFolder(NamedFolder):
    """One run, below `runs/` of a project."""

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
    return RunFolder(_RUNS.place(project, name))


def existing_run(project: Path, name: str) -> RunFolder:
    """The folder of a run that is there.

    Raises:
        UsageError: a run cannot be called that.
        InputError: there is none; those that are there are named.
    """
    return RunFolder(_RUNS.existing(project, name))


def run_folders(project: Path) -> list[RunFolder]:
    """Every run of a project, by name."""
    return [RunFolder(path) for path in _RUNS.all_of(project)]
