"""Where the files of an evaluation are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.named_folders import NamedFolder


@dataclass(frozen=True, order=True)
class EvaluationFolder(NamedFolder):
    """One evaluation, below `evaluations/` of a project."""

    @property
    def request(self) -> Path:
        """JSON: the set, the systems and the metrics asked for, the command and the packages; written first."""
        return self.root / "request.json"

    @property
    def data(self) -> Path:
        """Folder of the frozen set: its tables as Parquet, and `about.json`."""
        return self.root / "set"

    @property
    def systems(self) -> Path:
        """Folder with one folder a finished system: its ranking, its values by query, and `about.json`."""
        return self.root / "systems"

    @property
    def report(self) -> Path:
        """JSON: the whole report. It is written last: with it the evaluation is done."""
        return self.root / "report.json"
