"""Views a person keeps: a filter and an order under a name, in the project's `.studio/views.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from studio.errors import ProjectError, UsageError
from studio.files import write_text
from studio.project.project import Project
from studio.view.where import ORDERS, Order, parse

_LONGEST_NAME = 200


@dataclass(frozen=True)
class SavedView:
    """`where` is a filter as typed (`where.parse` reads it)."""

    name: str
    where: str
    order: Order = field(default_factory=Order)


class SavedViews:
    """The saved views of a project, in the order they were first saved. Every change is on disk at once."""

    def __init__(self, project: Project) -> None:
        self._path = project.root / ".studio" / "views.json"

    def list(self) -> list[SavedView]:
        """All views.

        Raises:
            ProjectError: the file is damaged.
        """
        try:
            views = json.loads(self._path.read_text("utf-8"))["views"]
            return [_read(view) for view in views]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProjectError(
                "The saved views of this project cannot be read.",
                where=str(self._path),
                why=str(error),
                remedy="mend that file, or delete it: only the saved views are lost with it",
            ) from error

    def save(self, name: str, where_text: str, order: Order | None = None) -> None:
        """Keep a view; one of the same name is replaced, in its place.

        Raises:
            UsageError: the name is empty or too long, or the filter cannot be read.
            ProjectError: the file is damaged.
            UnavailableError: it cannot be written.
        """
        name = name.strip()
        if not name or len(name) > _LONGEST_NAME:
            raise UsageError(
                "A view needs a name.", where=repr(name[:40]), remedy=f"give one of 1 to {_LONGEST_NAME} characters"
            )
        parse(where_text)
        views = {view.name: view for view in self.list()}
        views[name] = SavedView(name, where_text, order or Order())
        self._write(views)

    def remove(self, name: str) -> None:
        """Forget a view.

        Raises:
            UsageError: there is none of that name.
            ProjectError: the file is damaged.
            UnavailableError: it cannot be written.
        """
        views = {view.name: view for view in self.list()}
        if name not in views:
            raise UsageError(f"There is no saved view `{name}`.", remedy=f"saved: {', '.join(views) or 'none'}")
        del views[name]
        self._write(views)

    def _write(self, views: dict[str, SavedView]) -> None:
        records = [
            {"name": view.name, "where": view.where, "by": view.order.by, "descending": view.order.descending}
            for view in views.values()
        ]
        # Escaped, because a name may hold half a character, which UTF-8 cannot.
        write_text(self._path, json.dumps({"format": 1, "views": records}, indent=2) + "\n")


def _read(view: dict[str, object]) -> SavedView:
    name, where, by, descending = (view[key] for key in ("name", "where", "by", "descending"))
    if not (isinstance(name, str) and isinstance(where, str) and isinstance(descending, bool)):
        raise ValueError("a view has a value of the wrong kind")
    if by not in ORDERS:
        raise ValueError(f"rows cannot be ordered by {by!r}")
    return SavedView(name, where, Order(by, descending))  # type: ignore[arg-type] # one of ORDERS
