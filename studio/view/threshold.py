"""What the rules would do with the evidence there is, and with another threshold, nothing being computed again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from studio.checks.base import configured
from studio.checks.nearness import NearCheck, NearConfig
from studio.errors import UsageError
from studio.project.evidence import Band, Evidence, Role, StoredEvidence
from studio.project.groups import I64
from studio.project.ledger import TARGETS_SCHEMA, Action
from studio.project.project import Project
from studio.project.rules import ACTOR, Step, proposed
from studio.view.bench import Bench
from studio.view.evidence import edge_ends, positions_of, remembered, text_numbers

NearName = Literal["near_duplicates", "near_queries"]
NEAR: Mapping[Role, NearName] = {Role.PASSAGE: "near_duplicates", Role.QUERY: "near_queries"}
"""The check whose threshold decides about a role's texts."""
_COMPARED_AHEAD = 20_000
"""Edges that the guard looks at ahead, when a threshold is first tried, so that none waits while it slides."""

_KEPT = 4
"""Thresholds of which the outcome is kept: a screen asks several things of one."""


@dataclass(frozen=True)
class Proposed:
    """One step of the rules: what it does, why (the code that the ledger will have), and to how many rows."""

    action: str
    reason: str
    rows: int


@dataclass(frozen=True)
class Proposal:
    """What accepting the auto band would do now. `rows` counts each row once; `unchanged`: it is done already."""

    steps: tuple[Proposed, ...]
    rows: int
    unchanged: bool


def proposal(bench: Bench) -> Proposal:
    """Say what `apply_auto` would do with the evidence there is, without doing it."""
    found = steps(bench, bench.evidence())
    mine = [decision for decision in bench.project.ledger.active() if decision.actor == ACTOR]
    before = bench.project.ledger.targets([decision.seq for decision in mine]).drop("seq")
    after = [
        (target.row_id, target.keeper_id, target.score, target.value, target.evidence)
        for step in found
        for target in step.targets
    ]
    same = [(decision.action, decision.reason) for decision in mine] == [(step.action, step.reason) for step in found]
    lines = pl.DataFrame(after, schema={n: t for n, t in TARGETS_SCHEMA.items() if n != "seq"}, orient="row")
    return Proposal(
        tuple(Proposed(step.action.value, step.reason, len(step.targets)) for step in found),
        len({line[0] for line in after}),
        same and before.equals(lines),
    )


@dataclass(frozen=True)
class Judged:
    """A check's evidence at another threshold. `review` is the one in force, lowered where `lowered` is set."""

    stored: StoredEvidence
    review: float
    lowered: bool


def judged(bench: Bench, check: NearName, threshold: float) -> Judged:
    """Judge what the check found with another threshold; no two texts are compared twice on one bench.

    A threshold under the `review` setting takes that setting down with it.

    Args:
        threshold: Jaccard from which on pairs are in the auto band, from the check's `floor` to 1.

    Raises:
        UsageError: the check has not run on these rows, or there is nothing to judge at this threshold.
    """
    evidence = bench.evidence()
    if check not in evidence:
        raise UsageError(f"`{check}` has not run on these rows.", remedy=f"harrier-studio check {check}")
    stored = evidence[check]
    item = _with_threshold(bench, stored, threshold)
    item.needed = {name: evidence[name].evidence for name in item.needs if name in evidence}
    lowered = bool(threshold < stored.config["review"])
    if threshold == stored.config["threshold"]:
        return Judged(stored, item.config.review, lowered)

    def judge() -> StoredEvidence:
        found = item.judge(bench.rows, _lowest(bench, stored, threshold))
        config = {**stored.config, "threshold": threshold, "review": item.config.review}
        return replace(stored, config=config, evidence=found)

    return Judged(
        remembered(bench, f"judged {check}", (stored.key, threshold), judge, _KEPT), item.config.review, lowered
    )


def _with_threshold(bench: Bench, stored: StoredEvidence, threshold: float) -> NearCheck:
    """The check as it was configured when it ran, but for the threshold."""
    if not stored.config["floor"] <= threshold <= 1:
        raise UsageError(
            f"There is nothing to judge at a threshold of {threshold:g}.",
            remedy=f"choose one from {stored.config['floor']:g} (floor: what lies below is not recorded) to 1",
        )
    ran_with = {name: value for name, value in stored.config.items() if name != "needs"}
    ran_with |= {"threshold": threshold, "review": min(stored.config["review"], threshold)}
    *_, item = configured(bench.project.settings, [stored.check], {stored.check: ran_with})
    assert isinstance(item, NearCheck) and isinstance(item.config, NearConfig)
    return item


def _lowest(bench: Bench, stored: StoredEvidence, threshold: float) -> Evidence:
    """The evidence judged at the lowest threshold that was asked for: it holds all that the guard ever said."""
    name = f"lowest of {stored.check}"
    start = remembered(bench, name, stored.key, lambda: _Lowest(stored.config["threshold"], stored.evidence))
    if threshold < start.threshold:
        score = stored.evidence.edges["score"]
        # The first time, as many edges as take no more than a moment: what comes later is then compared already.
        ahead = min(threshold, stored.config["review"])
        if ((score >= ahead) & (score < start.threshold)).sum() > _COMPARED_AHEAD:
            ahead = threshold
        start.evidence = _with_threshold(bench, stored, ahead).judge(bench.rows, start.evidence)
        start.threshold = ahead
    return start.evidence


@dataclass
class _Lowest:
    """The lowest threshold so far and the evidence judged at it."""

    threshold: float
    evidence: Evidence


def steps(bench: Bench, evidence: Mapping[str, StoredEvidence]) -> list[Step]:
    """What the rules would do with this evidence (`rules.proposed`), beside the decisions in force."""
    return remembered(bench, "steps", _key(bench, evidence), lambda: proposed(_Concerned(bench, evidence)), _KEPT)


def outcome(bench: Bench, evidence: Mapping[str, StoredEvidence]) -> Mapping[str, tuple[Step, str | None]]:
    """By row_id the step that `steps` would take about a row, and its keeper's row_id; of several what wins: a drop."""

    def sort() -> Mapping[str, tuple[Step, str | None]]:
        # The rules drop after they re-point; what comes after (edits, moves) leaves such a row where it is.
        order = sorted(
            steps(bench, evidence), key=lambda step: (step.action is Action.DROP, step.action is Action.REPOINT)
        )
        return {target.row_id: (step, target.keeper_id) for step in order for target in step.targets}

    return remembered(bench, "outcome", _key(bench, evidence), sort, _KEPT)


def _key(bench: Bench, evidence: Mapping[str, StoredEvidence]) -> Hashable:
    log = bench.log()
    keys = tuple(stored.key for stored in evidence.values())
    return log[-1].seq if log else 0, bench.project.settings.curation, keys


class _Concerned(Project):
    """The project with other evidence, and only those rows that its auto band can do anything about.

    The rules number the texts of all rows anew each time, which is nearly all they do; and most rows stand alone.
    """

    def __init__(self, bench: Bench, evidence: Mapping[str, StoredEvidence]) -> None:
        super().__init__(bench.project.root, bench.project.settings)
        self.ledger = bench.project.ledger
        self._auto = [_auto_band(stored) for stored in evidence.values()]
        self.snapshot = bench.rows.filter(pl.Series(_concerned(bench, evidence, self._auto)))

    def fresh_evidence(self) -> list[StoredEvidence]:
        """The evidence that is given, of which the rules read the auto band."""
        return self._auto


def _auto_band(stored: StoredEvidence) -> StoredEvidence:
    auto = pl.col("band") == Band.AUTO.value
    evidence = stored.evidence
    return replace(stored, evidence=Evidence(evidence.flags.filter(auto), evidence.edges.filter(auto)))


def _concerned(bench: Bench, evidence: Mapping[str, StoredEvidence], auto: list[StoredEvidence]) -> np.ndarray:
    """Rows (as a mask) that a rule may act on, and all those that have a say in which of them is kept.

    These are rows that repeat another row, passages equal but not to the byte, texts with an auto edge, rows with an
    auto flag; and, since a passage's queries are counted, every row with the passage of one of them.
    """
    passages, queries = text_numbers(bench, Role.PASSAGE), text_numbers(bench, Role.QUERY)
    some = remembered(bench, "repeated", None, lambda: _repeated(bench, passages, queries)).copy()
    for stored in auto:
        edges = evidence[stored.check].evidence.edges
        if stored.evidence.edges.height:
            chosen = (edges["band"] == Band.AUTO.value).to_numpy()
            ends = np.concatenate([end[chosen] for end in edge_ends(bench, evidence[stored.check])])
            some[ends] = True
            if stored.check == NEAR[Role.QUERY]:
                some |= _marked(queries, ends)[queries]
        some[positions_of(bench, stored.evidence.flags["row_id"])] = True
    return _marked(passages, np.flatnonzero(some))[passages]


def _marked(numbers: I64, rows: I64) -> np.ndarray:
    marked = np.zeros(len(numbers), bool)
    marked[numbers[rows]] = True
    return marked


def _repeated(bench: Bench, passages: I64, queries: I64) -> np.ndarray:
    """Rows equal to another row in query and passage (L2), and passages equal to another one, but not to the byte."""
    frame = pl.DataFrame({"query": queries, "passage": passages})
    pairs = frame.select(pl.len().over("query", "passage") > 1).to_series()
    texts = bench.rows["positive"]
    spelled = texts != texts.gather(passages)
    return (pairs | spelled).to_numpy().copy()
