"""Count what the checks found of what was planted: by detector and by kind of fault."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from studio.checks.base import configured, run_checks
from studio.checks.boilerplate import REASON as BOILERPLATE
from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.progress import Progress, silent
from studio.project.curate import Status
from studio.project.evidence import Band, Role, StoredEvidence
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings
from studio.selftest.clusters import BCubed, b_cubed
from studio.selftest.marks import MARKS
from studio.selftest.rows import Planted, Row, Truth

_Z = 1.959964  # two-sided 95 %
_FOUND = (Band.AUTO, Band.REVIEW)
Pair = frozenset[str]
"""One or two row ids: a flag's row, or an edge's rows."""
Finding = tuple[str, str, Pair]
"""Check, reason of a flag or role of an edge, and rows."""

_SAME_PASSAGE = frozenset({Truth.SAME_PAIR, Truth.SAME_PASSAGE, Truth.CONTAINED, Truth.PROMPTED, Truth.SAME_QUERY,
                           Truth.LEAKED})  # fmt: skip
"""Planted rows whose passage stands for its source's, or lies in it: naming the two together is right."""
_SAME_QUERY = _SAME_PASSAGE
"""Their queries ask what the source's asks, as well: with a typing error, politely, or behind a prompt."""


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
class _Detector:
    """What one check is measured by.

    `roles`: the role of its edges or the reasons of its flags that count. `right`: of two rows named together, what
    may be true of them. `wanted`: what it should find. `judged`: whether the auto band is its claim; else review.
    """

    check: str
    roles: frozenset[str]
    right: AbstractSet[Truth]
    wanted: AbstractSet[Truth]


_DETECTORS = (
    _Detector("exact_duplicates", frozenset({Role.PAIR}), {Truth.SAME_PAIR}, {Truth.SAME_PAIR}),
    _Detector("near_duplicates", frozenset({Role.PASSAGE}), _SAME_PASSAGE, {Truth.SAME_PASSAGE, Truth.LEAKED}),
    _Detector("near_queries", frozenset({Role.QUERY}), _SAME_QUERY, {Truth.SAME_QUERY, Truth.LEAKED}),
    _Detector("containment", frozenset({Role.PASSAGE}), _SAME_PASSAGE, {Truth.CONTAINED}),
    _Detector("leakage", frozenset(Role), _SAME_PASSAGE, {Truth.LEAKED}),
)
_FLAGS: dict[str, tuple[str, frozenset[str]]] = {
    **{mark.kind: (mark.check, frozenset({mark.reason})) for mark in MARKS},
    "shared_sentence": (BOILERPLATE, frozenset({BOILERPLATE})),
    "template_family": ("templates", frozenset({"query_template", "passage_template"})),
    "query_already_prompted": ("prompt_lint", frozenset({"query_already_prompted"})),
    "passage_has_query_prompt": ("prompt_lint", frozenset({"passage_has_query_prompt"})),
}
"""By kind of fault, the check and the reasons under which single rows should be flagged."""
_ALSO_RIGHT = frozenset(
    {
        ("truncation", "quality", "truncated_answer"),
        ("chunk", "quality", "passage_too_short"),
        ("query_already_prompted", "quality", "wrong_language"),
        ("passage_has_query_prompt", "quality", "wrong_language"),
        ("boilerplate_prefix", BOILERPLATE, BOILERPLATE),
        ("boilerplate_suffix", BOILERPLATE, BOILERPLATE),
        ("window", BOILERPLATE, BOILERPLATE),
        ("passage_has_query_prompt", BOILERPLATE, BOILERPLATE),
        ("other_language", "templates", "passage_template"),
    }
)
"""What else a fault brings with it: a truncated copy is cut off, prompts are English, a closing is boilerplate."""


@dataclass(frozen=True)
class KindResult:
    """What was found of one kind of planted fault: `auto` and `found` (any band for flags) of `planted`.

    `by`: the detector that is meant to find it, or for what is no fault, the one that must not act on it.
    """

    kind: str
    truth: Truth
    by: str
    planted: int
    auto: Share
    found: Share


@dataclass(frozen=True)
class DetectorResult:
    """One detector against everything it is meant to find.

    `precision`: of what it put in the auto band, how much is true. `precision_review`: the same of auto and review
    together (for flags of every band). `recall`: of what it should find, how much it has.
    """

    detector: str
    precision: Share
    precision_review: Share
    recall: Share


@dataclass(frozen=True)
class Measured:
    """The whole measurement.

    `passages`, `queries`: clusters over the auto band against the true ones. `false_removals`: rows removed,
    re-pointed or moved by the rules that should not have been.
    """

    rows: int
    kinds: tuple[KindResult, ...]
    detectors: tuple[DetectorResult, ...]
    passages: BCubed | None
    queries: BCubed | None
    false_removals: Share


def measure(
    rows: Sequence[Row],
    key: Sequence[Planted],
    settings: ProjectSettings | None = None,
    natural: AbstractSet[Finding] = frozenset(),
    progress: Progress = silent,
) -> Measured:
    """Run all checks and the auto rules on planted rows, in a throw-away project, and compare with the key.

    Args:
        settings: of the project whose rows these are; the defaults when None.
        natural: what the checks find in the rows before anything is planted: neither right nor wrong.
    """
    found, curated = run_on(rows, settings, progress)
    return compare(rows, key, found, curated, natural)


def run_on(
    rows: Sequence[Row], settings: ProjectSettings | None, progress: Progress = silent
) -> tuple[dict[Finding, Band], pl.DataFrame]:
    """What the checks find in the rows, and the outcome of the auto rules."""
    settings = (settings or ProjectSettings(name="selftest")).model_copy(update={"snapshot": "", "sources": ()})
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "selftest", as_snapshot(rows), settings)
        found = [stored for stored, _ in run_checks(project, configured(project.settings), progress)]
        apply_auto(project)
        return findings(found), project.curated().rows


def flags_of(rows: Sequence[Row], progress: Progress = silent) -> frozenset[Finding]:
    """Flags in clean rows: e-mail addresses in an honest text, for instance. Edges there would be wrong."""
    found, _ = run_on(rows, None, progress)
    return frozenset(finding for finding in found if len(finding[2]) == 1)


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


def findings(found: Iterable[StoredEvidence]) -> dict[Finding, Band]:
    """The band of each edge and flag, by check, role or reason, and rows."""
    bands: dict[Finding, Band] = {}
    for stored in found:
        for a, b, role, band in stored.evidence.edges.select("a_id", "b_id", "role", "band").iter_rows():
            bands[stored.check, role, frozenset((a, b))] = Band(band)
        for row_id, reason, band in stored.evidence.flags.select("row_id", "reason", "band").iter_rows():
            bands[stored.check, reason, frozenset((row_id,))] = Band(band)
    return bands


def compare(
    rows: Sequence[Row],
    key: Sequence[Planted],
    found: dict[Finding, Band],
    curated: pl.DataFrame,
    natural: AbstractSet[Finding] = frozenset(),
) -> Measured:
    """Compare findings and outcome, both in terms of the rows' own ids, with the key."""
    # What is natural in a source is natural in what was made from it.
    made_from = {line.b: line.a for line in key if line.a}
    new = {
        (check, what, ids): band
        for (check, what, ids), band in found.items()
        if (check, what, ids) not in natural
        and (check, what, frozenset(made_from.get(row, row) for row in ids)) not in natural
    }
    pairs: dict[Truth, set[Pair]] = defaultdict(set)
    for line in key:
        if line.a:
            pairs[line.truth].add(frozenset((line.a, line.b)))
    detectors = [_edges_result(detector, pairs, new) for detector in _DETECTORS]
    ids = [row.id for row in rows]
    return Measured(
        len(rows),
        tuple(_kind_result(kind, key, found) for kind in dict.fromkeys(line.kind for line in key)),
        (*detectors, *_flag_results(key, new)),
        _clusters(ids, new, {("exact_duplicates", Role.PASSAGE), ("near_duplicates", Role.PASSAGE)}, pairs, key),
        _clusters(ids, new, {("exact_duplicates", Role.QUERY), ("near_queries", Role.QUERY)}, pairs, key),
        _false_removals(key, curated),
    )


def _edges_result(detector: _Detector, pairs: dict[Truth, set[Pair]], found: dict[Finding, Band]) -> DetectorResult:
    edges = {
        ids: _best(found, detector.check, detector.roles, ids)
        for check, role, ids in found
        if check == detector.check and role in detector.roles
    }
    right = {pair for truth in detector.right for pair in pairs[truth]}
    wanted = {pair for truth in detector.wanted for pair in pairs[truth]}
    auto = [pair for pair, band in edges.items() if band is Band.AUTO]
    both = [pair for pair, band in edges.items() if band in _FOUND]
    return DetectorResult(
        detector.check,
        Share(sum(pair in right for pair in auto), len(auto)),
        Share(sum(pair in right for pair in both), len(both)),
        Share(sum(edges.get(pair) in _FOUND for pair in wanted), len(wanted)),
    )


def _flag_results(key: Sequence[Planted], found: dict[Finding, Band]) -> list[DetectorResult]:
    """Flags of the reasons that were planted; what else a check flags is not judged."""
    results = []
    for check in dict.fromkeys(check for check, _ in _FLAGS.values()):
        kinds = {kind: reasons for kind, (name, reasons) in _FLAGS.items() if name == check}
        wanted = {(min(reasons), line.b) for line in key for reasons in [kinds.get(line.kind)] if reasons}
        names = {reason: min(reasons) for reasons in kinds.values() for reason in reasons}
        spared = {
            (names[reason], line.b) for line in key for reason in names if (line.kind, check, reason) in _ALSO_RIGHT
        }
        flagged = {
            (names[reason], next(iter(rows))) for (name, reason, rows) in found if name == check and reason in names
        }
        flagged -= spared - wanted
        hits = len(flagged & wanted)
        results.append(DetectorResult(check, Share(0, 0), Share(hits, len(flagged)), Share(hits, len(wanted))))
    return results


def _kind_result(kind: str, key: Sequence[Planted], found: dict[Finding, Band]) -> KindResult:
    lines = [line for line in key if line.kind == kind and line.truth is not Truth.DISTINCT_QUERY] or [
        line for line in key if line.kind == kind
    ]
    truth = lines[0].truth
    if kind in _FLAGS:
        check, reasons = _FLAGS[kind]
        bands = [
            next(
                (found[check, r, frozenset((line.b,))] for r in reasons if (check, r, frozenset((line.b,))) in found),
                None,
            )
            for line in lines
        ]
        flagged = sum(band is not None for band in bands)
        auto = sum(band is Band.AUTO for band in bands)
        return KindResult(kind, truth, check, len(lines), Share(auto, len(lines)), Share(flagged, len(lines)))
    by = _meant_for(truth)
    roles = next((detector.roles for detector in _DETECTORS if detector.check == by), frozenset(Role))
    bands = [_best(found, by, roles, frozenset((line.a, line.b))) for line in lines]
    auto = sum(band is Band.AUTO for band in bands)
    either = sum(band in _FOUND for band in bands)
    return KindResult(kind, truth, by, len(lines), Share(auto, len(lines)), Share(either, len(lines)))


def _meant_for(truth: Truth) -> str:
    return {
        Truth.SAME_PAIR: "exact_duplicates",
        Truth.SAME_QUERY: "near_queries",
        Truth.DISTINCT_QUERY: "near_queries",
        Truth.CONTAINED: "containment",
        Truth.LEAKED: "leakage",
    }.get(truth, "near_duplicates")


def _best(found: dict[Finding, Band], check: str, roles: Iterable[str], pair: Pair) -> Band | None:
    order = list(Band)
    bands = [found[check, role, pair] for role in roles if (check, role, pair) in found]
    return min(bands, key=order.index, default=None)


def _clusters(
    ids: Sequence[str],
    found: dict[Finding, Band],
    sources: AbstractSet[tuple[str, str]],
    pairs: dict[Truth, set[Pair]],
    key: Sequence[Planted],
) -> BCubed | None:
    """Clusters of planted rows and their sources: equal texts and the auto band, against what was planted."""
    planted = {row for line in key for row in (line.a, line.b) if row}
    predicted = [
        rows
        for (check, role, rows), band in found.items()
        if (check, role) in sources and rows <= planted and (band is Band.AUTO or check == "exact_duplicates")
    ]
    queries = any(role == Role.QUERY for _, role in sources)
    # A passage whose part was planted is another text: containment is no duplicate. Polite queries say a little more.
    truths = (
        {Truth.SAME_PAIR, Truth.SAME_QUERY, Truth.LEAKED}
        if queries
        else _SAME_PASSAGE - {Truth.CONTAINED} | {Truth.DISTINCT_QUERY}
    )
    true = [pair for truth in truths for pair in pairs[truth] if not _is_template(pair)]
    return b_cubed([row for row in ids if row in planted], predicted, true)


def _is_template(pair: Pair) -> bool:
    return all(row.startswith("template-") for row in pair)


def _false_removals(key: Sequence[Planted], curated: pl.DataFrame) -> Share:
    """Of the rows a rule removed, re-pointed or moved, those whose keeper is not the same by the key."""
    together: dict[str, set[str]] = defaultdict(set)
    planted = {row for line in key for row in (line.a, line.b)}
    for line in key:
        if line.truth in _SAME_PASSAGE:
            together[line.a].add(line.b)
            together[line.b].add(line.a)
    changed = curated.filter(pl.col("status").is_in([Status.REMOVED.value, Status.MOVED.value]))
    outcome = [
        pair for pair in changed.select("row_id", "keeper_id").iter_rows() if pair[0] in planted or pair[1] in planted
    ]
    return Share(sum(keeper not in together[row_id] for row_id, keeper in outcome), len(outcome))


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
        "b_cubed": {
            "passages": asdict(measured.passages) if measured.passages else None,
            "queries": asdict(measured.queries) if measured.queries else None,
        },
        "false_removals": share(measured.false_removals),
    }
