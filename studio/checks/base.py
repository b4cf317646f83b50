"""What a check is. A new check is one file in this folder with one class decorated by `@check`."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import pkgutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from studio.errors import ConfigError, UsageError
from studio.progress import Progress, silent
from studio.project.evidence import EDGES_SCHEMA, FLAGS_SCHEMA, Band, Evidence, StoredEvidence
from studio.project.project import Project
from studio.project.settings import ProjectSettings, validated


class CheckConfig(BaseModel):
    """Base of every check's settings: the table `[checks.<name>]` of studio.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Setting:
    """What a check may know besides the rows: the project's settings (prompts, protected splits)."""

    project: ProjectSettings


class Check(ABC):
    """A pure function from rows to evidence: same rows, same configuration, same evidence."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Changes whenever the same rows and configuration would give other evidence."""
    summary: ClassVar[str]
    """One line for `--help` and the docs: what it finds."""
    config_type: ClassVar[type[CheckConfig]] = CheckConfig
    judging: ClassVar[frozenset[str]] = frozenset()
    """Settings that only decide bands: with another value of these, what was found before is judged again."""
    uses_splits: ClassVar[bool] = False
    """Whether the evidence depends on which split a row is in now, not only at import."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Checks whose evidence this one reads: they run first."""

    def __init__(self, config: CheckConfig, setting: Setting) -> None:
        self.config = config
        self.setting = setting
        self.needed: Mapping[str, Evidence] = {}
        """By name, the evidence of the checks in `needs` for the same rows; set before `run`."""

    @abstractmethod
    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Look at `pairs` (SNAPSHOT_SCHEMA) and return what was found."""

    def judge(self, pairs: pl.DataFrame, found: Evidence, progress: Progress = silent) -> Evidence:
        """Set the bands of what was found with other `judging` settings; the same as running anew."""
        raise NotImplementedError(f"{self.name} names judging settings and does not judge")

    def depends_on(self) -> dict[str, Any]:
        """Everything but the rows and the version that the evidence depends on; stored with it."""
        return self.config.model_dump(mode="json")

    def flags(self, found: pl.DataFrame) -> pl.DataFrame:
        """Complete `row_id, reason, score, band, evidence` to FLAGS_SCHEMA."""
        return self._completed(found, FLAGS_SCHEMA)

    def edges(self, found: pl.DataFrame) -> pl.DataFrame:
        """Complete `a_id, b_id, role, score, containment, band, rejected_by, evidence` to EDGES_SCHEMA."""
        return self._completed(found, EDGES_SCHEMA)

    def _completed(self, found: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
        named = found.with_columns(check=pl.lit(self.name), version=pl.lit(self.version))
        return named.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


C = TypeVar("C", bound=type[Check])

_REGISTRY: dict[str, type[Check]] = {}


def check(kind: C) -> C:
    """Class decorator: make a check known by its name."""
    _REGISTRY[kind.name] = kind
    return kind


@cache
def all_checks() -> Mapping[str, type[Check]]:
    """Every check in this folder, by name, in the order of their names."""
    package = importlib.import_module("studio.checks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"studio.checks.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def configured(
    settings: ProjectSettings, names: Iterable[str] = (), overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Check]:
    """Build the named checks (all when none is named) from settings and `--set` overrides.

    Raises:
        UsageError: there is no such check (the nearest is named).
        ConfigError: a setting is unknown or wrong.
    """
    known = all_checks()
    wanted = list(dict.fromkeys(names)) or list(known)
    for name in wanted:
        if name not in known:
            raise UsageError(f"There is no check `{name}`.", remedy=_nearest(name, known))
    wanted = _with_needs(wanted, known)
    tables: dict[str, dict[str, Any]] = {}
    for origin, source in (("studio.toml", settings.checks), ("--set", overrides or {})):
        for name, table in source.items():
            if name not in known:
                raise ConfigError(f"There is no check `{name}`.", where=origin, remedy=_nearest(name, known))
            tables.setdefault(name, {}).update(table)
    return [
        known[name](validated(tables.get(name, {}), known[name].config_type, f"checks.{name}"), Setting(settings))
        for name in wanted
    ]


def _with_needs(names: Sequence[str], known: Mapping[str, type[Check]]) -> list[str]:
    """The names and what they need, each after what it needs."""
    ordered: dict[str, None] = {}
    for name in names:
        for needed in _with_needs(known[name].needs, known):
            ordered.setdefault(needed)
        ordered.setdefault(name)
    return list(ordered)


def run_checks(
    project: Project, items: Sequence[Check], progress: Progress = silent
) -> list[tuple[StoredEvidence, bool]]:
    """Run checks (each after those it needs) on the project's snapshot and store what they find.

    Returns each check's evidence and whether it was stored already. The caller holds the project's lock.
    """
    results: dict[str, tuple[StoredEvidence, bool]] = {}
    for number, item in enumerate(items, 1):

        def told(step: str, done: int, total: int | None, name: str = f"{number}/{len(items)} {item.name}") -> None:
            progress(f"{name}: {step}", done, total)

        needed = {name: results[name][0] for name in item.needs}
        results[item.name] = _run_check(project, item, needed, told)
    return list(results.values())


def _run_check(
    project: Project, item: Check, needed: Mapping[str, StoredEvidence], progress: Progress
) -> tuple[StoredEvidence, bool]:
    config, snapshot = item.depends_on(), project.settings.snapshot
    pairs = project.assigned() if item.uses_splits else project.snapshot
    if item.uses_splits:
        config |= {"splits": splits_key(pairs)}
    if needed:
        config |= {"needs": {name: stored.key for name, stored in needed.items()}}
    stored = project.evidence.load(item.name)
    same = stored is not None and (stored.version, stored.snapshot) == (item.version, snapshot)
    if stored and same and stored.config == config:
        return stored, True
    item.needed = {name: other.evidence for name, other in needed.items()}
    start = time.perf_counter()
    if stored and same and _computed(stored.config, item) == _computed(config, item):
        evidence = item.judge(pairs, stored.evidence, progress)
    else:
        evidence = item.run(pairs, progress)
    stored = StoredEvidence(item.name, item.version, config, snapshot, time.perf_counter() - start, evidence)
    project.evidence.save(stored)
    return stored, False


def splits_key(pairs: pl.DataFrame) -> str:
    """Name which split every row is in: 16 hex digits, stored with the evidence of checks that use splits."""
    return hashlib.sha256("\n".join(pairs["split"].fill_null("")).encode()).hexdigest()[:16]


def _computed(config: Mapping[str, Any], item: Check) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in item.judging}


def counts_by_band(evidence: Evidence) -> pl.DataFrame:
    """Count what was found: kind (flag, edge), what (reason or role), band, count."""
    flags = evidence.flags.group_by(pl.lit("flag").alias("kind"), pl.col("reason").alias("what"), "band").len("count")
    edges = evidence.edges.group_by(pl.lit("edge").alias("kind"), pl.col("role").alias("what"), "band").len("count")
    order = pl.Enum([band.value for band in Band])
    return pl.concat([edges, flags]).sort("kind", "what", pl.col("band").cast(order))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
