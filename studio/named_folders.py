"""What a project keeps in folders with names that people give: runs, evaluations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from studio.errors import InputError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, order=True)
class NamedFolder:
    """One folder, two levels below a project."""

    root: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.root.name

    @property
    def project(self) -> Path:
        """The project's directory."""
        return self.root.parent.parent


class Shelf(NamedTuple):
    """Where the folders of one kind are.

    `folder`: below the project. `mark`: the file that makes a folder one of them. `one`: what one of them is called.
    """

    folder: str
    mark: str
    one: str

    def place(self, project: Path, name: str) -> Path:
        """The folder of that name, whether it is there or not.

        Raises:
            UsageError: it cannot be called that.
        """
        if not _NAME.fullmatch(name):
            article = "An" if self.one[0] in "aeiou" else "A"
            raise UsageError(
                f"{article} {self.one} cannot be called {name!r}.",
                remedy="use letters, digits, dots, dashes and underscores, 80 at most, a letter or digit first",
            )
        return project / self.folder / name

    def existing(self, project: Path, name: str) -> Path:
        """The folder of that name, which is there.

        Raises:
            UsageError: it cannot be called that.
            InputError: there is none; those that are there are named.
        """
        folder = self.place(project, name)
        if not (folder / self.mark).exists():
            known = ", ".join(path.name for path in self.all_of(project)) or "there is none yet"
            raise InputError(
                f"There is no {self.one} `{name}`.", where=str(project / self.folder), remedy=f"known: {known}"
            )
        return folder

    def all_of(self, project: Path) -> list[Path]:
        """Every folder of a project, by name."""
        found = (path.parent for path in (project / self.folder).glob(f"*/{self.mark}"))
        return sorted(folder for folder in found if _NAME.fullmatch(folder.name))
