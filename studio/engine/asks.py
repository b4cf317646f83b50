"""What the engine answers at once, by name, and the project that it answers about."""

from __future__ import annotations

import importlib
import operator
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import ProjectError, UsageError
from studio.project.project import Project
from studio.view.bench import Bench

Function = Callable[..., Any]

ASKS: dict[str, Function | str] = {
    "refresh": "studio.view.bench:Bench.refresh",
    "find": "studio.view.find:find",
    "facets": "studio.view.facets:facets",
    "histogram": "studio.view.histograms:histogram",
    "status": "studio.view.states:changed",
    "marks": "studio.view.marks:marks",
    "row_evidence": "studio.view.evidence:row_evidence",
    "clusters": "studio.view.clusters:clusters",
    "cluster": "studio.view.clusters:cluster",
    "threshold": "studio.view.clusters:at_threshold",
    "prompt": "studio.view.prompting:prompt",
    "contract": "studio.view.prompting:contract_report",
    "export_plan": "studio.view.exporting:plan",
    "proposal": "studio.view.threshold:proposal",
    "fn_queue": "studio.view.judging:fn_queue",
    "fn_candidate": "studio.view.judging:fn_candidate",
    "exposure": "studio.view.judging:exposure",
    "mining_plan": "studio.view.mining:mining_plan",
    "runs": "studio.view.runs:runs",
    "pin_baseline": "studio.view.runs:pin_baseline",
    "evaluations": "studio.view.evaluations:evaluations",
    "evaluated_pair": "studio.view.evaluated_pairs:evaluated_pair",
    "evaluation_query": "studio.view.evaluated_pairs:evaluation_query",
    "evaluation_slices": "studio.view.evaluated_pairs:evaluation_slices",
    "rows_of_query": "studio.view.evaluated_pairs:rows_of_query",
    "send_miss": "studio.view.misses:send_miss",
    "text_numbers": "studio.view.evidence:text_numbers",
}
"""Questions about the open project: each function gets the `Bench` and the named arguments of the ask.

`module:function` is imported when it is first asked for, so that the engine starts fast.
"""


class Desk:
    """The projects the engine works on. Asks use the one `Bench` of the latest; every job gets a `Project` of its own.

    The rows, by far the largest part, are in memory once for both. Safe to use from several threads; the bench
    itself belongs to the thread that answers asks.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._bench: Bench | None = None
        self._unlearned: Bench | None = None
        self._rows: tuple[str, pl.DataFrame] | None = None

    def open(self, root: Path) -> Bench:
        """Read a project, all but rows that are in memory already, and keep it for `bench`.

        Raises:
            ProjectError: there is no sound project at `root`.
            ConfigError: its studio.toml is wrong.
        """
        with self._lock:
            self._bench = None
            bench = Bench(root)
            self._give_rows(bench.project)
            self._bench = self._unlearned = bench
            return bench

    def rest(self) -> None:
        """Nobody waits for an ask: do beforehand what takes seconds at a million rows, and what few asks need."""
        with self._lock:
            bench, self._unlearned = self._unlearned, None
        if bench:
            threading.Thread(target=bench.learn_equal_texts, name="equal texts", daemon=True).start()

    def bench(self, root: Path) -> Bench:
        """A project for asks, read if it is another one than before. Raises what `open` raises."""
        with self._lock:
            if self._bench and self._bench.project.root == root:
                return self._bench
            return self.open(root)

    def project(self, root: Path) -> Project:
        """A project for a job: settings, ledger and evidence of its own. Raises what `open` raises."""
        # A job that comes while the rows are read waits for them here, and does not read them a second time.
        with self._lock:
            project = Project.open(root)
            self._give_rows(project)
            return project

    def _give_rows(self, project: Project) -> None:
        if self._rows and self._rows[0] == project.settings.snapshot:
            project.__dict__["snapshot"] = self._rows[1]
        else:
            self._rows = project.settings.snapshot, project.snapshot


@dataclass(frozen=True)
class Context:
    """The project that one request is about, whatever was opened since it was made."""

    desk: Desk
    root: Path | None

    def bench(self) -> Bench:
        """The project for an ask.

        Raises:
            ProjectError: none was opened, or it cannot be read.
            ConfigError: its studio.toml is wrong.
        """
        return self.desk.bench(self._opened_root())

    def project(self) -> Project:
        """The project for a job, read anew but for its rows. Raises what `bench` raises."""
        return self.desk.project(self._opened_root())

    def open(self) -> Bench:
        """The project for an ask, read anew but for its rows. Raises what `bench` raises."""
        return self.desk.open(self._opened_root())

    def _opened_root(self) -> Path:
        if self.root is None:
            raise ProjectError("No project is open in the engine.", remedy="open one first")
        return self.root


def ping(context: Context) -> int:
    """The id of the engine's process."""
    return os.getpid()


def open_project(context: Context) -> dict[str, Any]:
    """Read the project; return its `name`, `rows` (a count) and `snapshot` (id).

    Raises:
        ProjectError: there is no sound project.
        ConfigError: its studio.toml is wrong.
    """
    bench = context.open()
    settings = bench.project.settings
    return {"name": settings.name, "rows": bench.rows.height, "snapshot": settings.snapshot}


OF_THE_ENGINE: dict[str, Function] = {"ping": ping, "open": open_project}
"""Questions to the engine itself: each function gets the `Context`."""


def answer(context: Context, name: str, arguments: Mapping[str, Any]) -> Any:
    """Answer one ask.

    Raises:
        UsageError: there is no such ask.
        StudioError: whatever the function raises.
    """
    if name in OF_THE_ENGINE:
        return OF_THE_ENGINE[name](context, **arguments)
    function = named(name, ASKS)
    return function(context.bench(), **arguments)


def named(name: str, known: Mapping[str, Function | str]) -> Function:
    """The function of a name. A name that is not in the list may say where its function is: `module:function`.

    Raises:
        UsageError: it is no such name.
    """
    found = known.get(name, name)
    if not isinstance(found, str):
        return found
    module, colon, path = found.partition(":")
    if not colon:
        raise UsageError(f"The engine knows no `{name}`.", remedy=f"known: {', '.join(known)}")
    function: Function = operator.attrgetter(path)(importlib.import_module(module))
    return function
