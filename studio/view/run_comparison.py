"""Two runs beside one another: whether they measured the same, how far apart they are, and what was set otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from studio.errors import ConfigError, StudioError
from studio.evaluation.significance import Difference
from studio.files import sha256_of
from studio.runs.folder import RunFolder
from studio.runs.summary import RunSummary
from studio.training.comparing import compare
from studio.training.presets import changes_from
from studio.training.spec import RunSpec, read_spec
from studio.view.bench import Bench
from studio.view.evidence import remembered

_PAIRS = 64
"""Pairs of runs whose comparison is remembered."""
_MEASURED = ("queries.parquet", "corpus.parquet", "qrels.parquet")
"""Files of a run's data that decide what its scores are about."""


def apart(found: Sequence[RunSummary], pinned: RunSummary | None) -> frozenset[str]:
    """Names of the runs whose score is over another number of queries than the others'."""
    scored = [run for run in found if run.score is not None and run.queries is not None]
    counts = Counter(run.queries for run in scored)
    usual = pinned.queries if pinned and pinned.queries is not None else max(counts, key=counts.__getitem__, default=0)
    return frozenset(run.name for run in scored if run.queries != usual)


def judged(bench: Bench, run: RunSummary, base: RunSummary) -> tuple[bool, Difference | None, str]:
    """Whether two runs measured the same, the difference query by query if so, and what is to be said of it."""
    if run.name == base.name:
        return True, None, "reference"
    own, other = run_of(bench, run.name), run_of(bench, base.name)
    if run.main and base.main and run.main != base.main:
        return False, None, f"by {run.main}: not comparable"
    counts = run.queries, base.queries
    if _measured(bench, own) != _measured(bench, other) or (None not in counts and counts[0] != counts[1]):
        return False, None, "other queries: not comparable"
    stamps = _stamp(own), _stamp(other)
    if not all(stamps):
        if run.diverged is not None:
            return True, None, f"diverged at step {run.diverged:,}"
        return True, None, "" if run.score is None or base.score is None else "when both have ended"

    def make() -> Difference | str:
        try:
            found = next(row for row in compare([other, own], base.name).rows if row.name == run.name)
        except (StudioError, OSError):
            # One run that cannot be read must not keep the others from being shown.
            return "cannot be read"
        return found.difference or found.note

    found = remembered(bench, "runs compared", (own.name, other.name, stamps), make, keep=_PAIRS)
    return (True, None, found) if isinstance(found, str) else (True, found, "")


def _measured(bench: Bench, folder: RunFolder) -> tuple[str, ...]:
    """What the run's scores are about: the content of queries, passages and judgements; "" if missing."""
    files = [folder.data / name for name in _MEASURED]
    try:
        stamps = tuple(path.stat().st_mtime_ns for path in files)
        return remembered(
            bench, "runs measured", (folder.name, stamps), lambda: tuple(map(sha256_of, files)), keep=_PAIRS
        )
    except OSError:
        return ("",) * len(files)


def _stamp(folder: RunFolder) -> int:
    """When the run's result was written; 0: it has none."""
    try:
        return folder.result.stat().st_mtime_ns
    except OSError:
        return 0


def settings_that_differ(bench: Bench, name: str, base: str) -> tuple[tuple[str, str], ...]:
    """Settings in which a run differs from another, and their values in it."""
    one, other = spec_of(run_of(bench, name)), spec_of(run_of(bench, base))
    if one is None or other is None or name == base:
        return ()
    return tuple((key, _said(now)) for key, (_, now) in changes_from(one, other).items())


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("origin") or value.get("name") or "on")
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "–"
    return "–" if value is None else str(value)


def spec_of(folder: RunFolder) -> RunSpec | None:
    """The frozen spec; None: it cannot be read, which must not keep the others from being shown."""
    try:
        return read_spec(folder.spec)
    except ConfigError:
        return None


def run_of(bench: Bench, name: str) -> RunFolder:
    """The folder of a run, whether it is there or not."""
    return RunFolder(bench.project.root / "runs" / name)
