"""Count what the checks found of what was planted: precision and recall by detector and by kind of fault."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from studio.checks.base import configured, run_check
from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.progress import Progress, silent
from studio.project.curate import Status
from studio.project.evidence import Band, Role, StoredEvidence
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings
from studio.selftest.planting import Planted, Row, Truth

_Z = 1.959964  # two-sided 95 %
_FOUND = (Band.AUTO, Band.REVIEW)
_ALIKE = (Truth.SAME_PAIR, Truth.SAME_PASSAGE, Truth.CONTAINED, Truth.PROMPTED)
"""Planted rows whose passage stands in for its source's: naming the two together is right."""


@dataclass(frozen=True)
class Share:
    """`hits` of `total`, with its 95 % Wilson score interval (Wilson 1927)."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """The share, or None of nothing."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the 95 % interval."""
        n = self.total
        if not n:
            return 0.0, 1.0
        p, z2 = self.hits / n, _Z * _Z
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class KindResult:
    """What was found of one kind of planted fault: `auto` and `found` (auto or review) of `planted`."""

    kind: str
    truth: Truth
    planted: int
    auto: Share
    found: Share


@dataclass(frozen=True)
class DetectorResult:
    """One detector against everything it is meant to find.

    `precision`: of what it put in the auto band, how much is true. `precision_review`: the same of auto and review
    together. `recall`: of what it should find, how much is in either band.
    """

    detector: str
    precision: Share
    precision_review: Share
    recall: Share


@dataclass(frozen=True)
class Measured:
    """The whole measurement; `false_removals`: rows removed or re-pointed by the rules that should not have been."""

    rows: int
    kinds: tuple[KindResult, ...]
    detectors: tuple[DetectorResult, ...]
    false_removals: Share


def measure(rows: Sequence[Row], key: Sequence[Planted], progress: Progress = silent) -> Measured:
    """Run all checks and the auto rules on planted rows, in a throw-away project, and compare with the key."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "selftest", as_snapshot(rows), ProjectSettings(name="selftest"))
        found = [run_check(project, item, progress)[0] for item in configured(project.settings)]
        apply_auto(project)
        curated = project.curated().rows
    return compare(rows, key, found, curated)


def as_snapshot(rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as SNAPSHOT_SCHEMA, with their id as row_id."""
    return pl.DataFrame(
        [
            {
                "row_id": row.id,
                "query": row.query,
                "positive": row.passage,
                "negatives": [],
                "group": row.doc_id,
                "split": row.split,
                "source": f"selftest:{number}",
            }
            for number, row in enumerate(rows, 1)
        ],
        schema=SNAPSHOT_SCHEMA,
    )


def compare(
    rows: Sequence[Row], key: Sequence[Planted], found: Sequence[StoredEvidence], curated: pl.DataFrame
) -> Measured:
    """Compare evidence and outcome, both in terms of the rows' own ids, with the key."""
    bands = _bands(found)
    true_pairs = _true_pairs(key)
    kinds = _by_kind(key, bands)
    detectors = []
    for detector, role, truths in (
        ("exact_duplicates", Role.PAIR, {Truth.SAME_PAIR}),
        ("near_duplicates", Role.PASSAGE, {Truth.SAME_PASSAGE}),
    ):
        edges = {pair: band for (check, kind, pair), band in bands.items() if check == detector and kind == role}
        correct = {pair for truth in _ALIKE for pair in true_pairs[truth]}
        wanted = {pair for truth in truths for pair in true_pairs[truth]}
        auto = [pair for pair, band in edges.items() if band is Band.AUTO]
        both = [pair for pair, band in edges.items() if band in _FOUND]
        detectors.append(
            DetectorResult(
                detector,
                Share(sum(pair in correct for pair in auto), len(auto)),
                Share(sum(pair in correct for pair in both), len(both)),
                Share(sum(pair in edges and edges[pair] in _FOUND for pair in wanted), len(wanted)),
            )
        )
    detectors.append(_prompt_lint(key, bands))
    return Measured(len(rows), tuple(kinds), tuple(detectors), _false_removals(key, curated))


_Pair = frozenset[str]


def _bands(found: Iterable[StoredEvidence]) -> dict[tuple[str, str, _Pair], Band]:
    """The band of each edge and flag, by check, role (or reason) and rows."""
    bands = {}
    for stored in found:
        for a, b, role, band in stored.evidence.edges.select("a_id", "b_id", "role", "band").iter_rows():
            bands[stored.check, role, frozenset((a, b))] = Band(band)
        for row_id, reason, band in stored.evidence.flags.select("row_id", "reason", "band").iter_rows():
            bands[stored.check, reason, frozenset((row_id,))] = Band(band)
    return bands


def _true_pairs(key: Sequence[Planted]) -> dict[Truth, set[_Pair]]:
    pairs: dict[Truth, set[_Pair]] = defaultdict(set)
    for line in key:
        pairs[line.truth].add(frozenset((line.a, line.b)))
    return pairs


def _by_kind(key: Sequence[Planted], bands: dict[tuple[str, str, _Pair], Band]) -> list[KindResult]:
    """Found means: any edge between the two rows, or for prompts any flag on the row, in that band."""
    best: dict[_Pair, Band] = {}
    order = list(Band)
    for (_, role, pair), band in bands.items():
        if role != Role.QUERY and (pair not in best or order.index(band) < order.index(best[pair])):
            best[pair] = band
    results = []
    for kind in dict.fromkeys(line.kind for line in key):
        lines = [line for line in key if line.kind == kind]
        truth = lines[0].truth
        seen = [best.get(frozenset((line.b,) if truth is Truth.PROMPTED else (line.a, line.b))) for line in lines]
        auto = sum(band is Band.AUTO for band in seen)
        either = sum(band in _FOUND for band in seen)
        results.append(KindResult(kind, truth, len(lines), Share(auto, len(lines)), Share(either, len(lines))))
    return results


def _prompt_lint(key: Sequence[Planted], bands: dict[tuple[str, str, _Pair], Band]) -> DetectorResult:
    flagged = {row for (check, _, pair) in bands if check == "prompt_lint" for row in pair}
    wanted = {line.b for line in key if line.truth is Truth.PROMPTED}
    right = len(flagged & wanted)
    none = Share(0, 0)
    return DetectorResult("prompt_lint", none, Share(right, len(flagged)), Share(right, len(wanted)))


def _false_removals(key: Sequence[Planted], curated: pl.DataFrame) -> Share:
    """Of the rows a rule removed or re-pointed, those whose keeper is not the same pair or passage by the key."""
    together: dict[str, set[str]] = defaultdict(set)
    for line in key:
        if line.truth in _ALIKE:
            together[line.a].add(line.b)
            together[line.b].add(line.a)
    changed = curated.filter(pl.col("status").is_in([Status.REMOVED.value, Status.MOVED.value]))
    wrong = sum(keeper not in together[row_id] for row_id, keeper in changed.select("row_id", "keeper_id").iter_rows())
    return Share(wrong, changed.height)


def measured_report(measured: Measured) -> dict[str, Any]:
    """The measurement as plain values; a share as hits, total, value and interval."""

    def share(one: Share) -> dict[str, Any]:
        return {"hits": one.hits, "total": one.total, "value": one.value, "interval": list(one.interval)}

    def flat(item: KindResult | DetectorResult) -> dict[str, Any]:
        return {name: share(value) if isinstance(value, Share) else value for name, value in vars(item).items()}

    return {
        "rows": measured.rows,
        "kinds": [flat(item) for item in measured.kinds],
        "detectors": [flat(item) for item in measured.detectors],
        "false_removals": share(measured.false_removals),
    }
