"""What the auto band becomes: decisions a rule may take alone, each resting on evidence that it names.

A passage that another one stands for is never dropped: its queries are re-pointed to the keeper. Only then is a
row dropped: when an equal query already points to the same passage. Rows of protected splits, and rows a person
decided on, are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from studio.project.evidence import Band, Role, StoredEvidence
from studio.project.groups import components
from studio.project.ledger import Action, Decision, Ledger, Target, in_force
from studio.project.project import SPLIT_ACTOR, Project
from studio.project.settings import CurationSettings
from studio.text.equal import equal_at
from studio.text.normalise import Level

ACTOR = "rule:auto@1"
_REMARKS = (Action.TAG, Action.UNTAG, Action.NOTE, Action.JUDGE, Action.ASK)
"""What a person says about a row without deciding what becomes of it."""


@dataclass(frozen=True)
class Step:
    """One decision a rule proposes."""

    action: Action
    reason: str
    targets: list[Target]


@dataclass(frozen=True)
class Applied:
    """What `apply_auto` did: the steps now in force, and whether they were already."""

    steps: tuple[Step, ...]
    unchanged: bool


def apply_auto(project: Project) -> Applied:
    """Bring the ledger in line with the auto band: one transaction, the rule's earlier decisions undone in it.

    Doing it twice changes nothing. The caller holds the project's lock.
    """
    mine = [decision for decision in project.ledger.active() if decision.actor == ACTOR]
    evidence = project.fresh_evidence()
    steps = proposed(project)
    before = project.ledger.targets([decision.seq for decision in mine]).drop("seq")
    after = pl.DataFrame(
        [
            (target.row_id, target.keeper_id, target.score, target.value, target.evidence)
            for step in steps
            for target in step.targets
        ],
        schema=before.schema,
        orient="row",
    )
    if [(d.action, d.reason) for d in mine] == [(s.action, s.reason) for s in steps] and before.equals(after):
        return Applied(tuple(steps), unchanged=True)
    basis = [{"check": item.check, "version": item.version, "config": item.config} for item in evidence]
    project.ledger.supersede(
        ACTOR, [(s.action, s.reason, s.targets) for s in steps], evidence=json.dumps(basis, sort_keys=True)
    )
    return Applied(tuple(steps), unchanged=False)


def proposed(project: Project) -> list[Step]:
    """What the auto band of the project's evidence comes to, beside what persons decided; nothing is written."""
    by_person = decided_by_person(project.ledger.log(), project.ledger)
    # A split that was made here joins no two sides, so its rows need no protection from what stands on their own.
    rows = project.assigned(without=SPLIT_ACTOR)
    return propose(rows, project.fresh_evidence(), by_person, project.settings.curation)


@dataclass(frozen=True)
class ByPerson:
    """Rows (by row_id) that a person decided on; a rule leaves both as they are.

    `settled` rows may stand for others. `withdrawn` rows were dropped, edited or re-pointed: what they say is no
    longer what the evidence saw, so they stand for nobody.
    """

    settled: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()


def propose(
    snapshot: pl.DataFrame,
    evidence: Sequence[StoredEvidence],
    by_person: ByPerson,
    curation: CurationSettings,
) -> list[Step]:
    """Turn the auto band of `evidence` into steps, in the order they must be taken.

    Args:
        snapshot: the rows the evidence is about, each in the split it was assigned to.
        by_person: rows a person decided on; never targets.
        curation: which splits' rows may be keepers and never targets, and where leaked rows go.
    """
    edges = pl.concat([item.evidence.edges for item in evidence]) if evidence else None
    flags = pl.concat([item.evidence.flags for item in evidence]) if evidence else None
    if edges is None or flags is None:
        return []
    rows = _Rows.of(snapshot, by_person, curation.protected_splits)
    auto = edges.filter(pl.col("band") == Band.AUTO.value)
    passages = _keepers(rows, "passage_key", auto.filter(pl.col("check") == "near_duplicates"))
    queries = _keepers(rows, "query_key", auto.filter(pl.col("check") == "near_queries"))
    steps = _repoint_steps(rows, passages)
    if (auto["role"] == Role.PAIR.value).any() or steps or queries.basis:
        steps += _drop_steps(rows, queries, passages)
    dropped = {target.row_id for step in steps if step.action is Action.DROP for target in step.targets}
    edits = _negatives_removed(rows, flags.filter(pl.col("band") == Band.AUTO.value), dropped)
    steps.append(Step(Action.EDIT, "negative_is_positive", edits))
    steps += _leak_steps(rows, auto.filter(pl.col("check") == "leakage"), dropped, curation.leaked_split)
    return [step for step in steps if step.targets]


@dataclass(frozen=True)
class _Rows:
    """The snapshot with what the keep policy asks of each row. Arrays have one entry a row, in snapshot order."""

    table: pl.DataFrame
    index: dict[str, int]
    protected: np.ndarray
    fixed: np.ndarray
    withdrawn: np.ndarray
    rank: np.ndarray
    """0 is the best keeper: a person's decision, a protected split, most queries, longest, earliest."""

    @classmethod
    def of(cls, snapshot: pl.DataFrame, by_person: ByPerson, protected_splits: Sequence[str]) -> _Rows:
        table = snapshot.with_columns(
            equal_at(snapshot["query"], Level.SURFACE).alias("query_key"),
            equal_at(snapshot["positive"], Level.SURFACE).alias("passage_key"),
            pl.col("row_id").is_in(list(by_person.settled)).alias("settled"),
            pl.col("row_id").is_in(list(by_person.withdrawn)).alias("withdrawn"),
            pl.col("split").is_in(list(protected_splits)).fill_null(value=False).alias("protected"),
        ).with_columns(pl.len().over("passage_key").alias("queries"))
        order = table.with_row_index("row").sort(
            "withdrawn",
            "settled",
            "protected",
            "queries",
            pl.col("positive").str.len_chars(),
            "row",
            descending=[False, True, True, True, True, False],
        )["row"]
        rank = np.empty(len(table), np.int64)
        rank[order.to_numpy()] = np.arange(len(table))
        return cls(
            table,
            {row_id: row for row, row_id in enumerate(table["row_id"])},
            table["protected"].to_numpy(),
            (table["settled"] | table["withdrawn"] | table["protected"]).to_numpy(),
            table["withdrawn"].to_numpy(),
            rank,
        )


@dataclass(frozen=True)
class _Keepers:
    """Which row's text stands for each row's text, and why. `keeper[row] == row` where nothing changes."""

    number: np.ndarray
    """Number of each row's own text."""
    keeper: np.ndarray
    score: np.ndarray
    basis: dict[int, str]
    """By row: the edge (as JSON) its standing rests on, where its text is not simply equal to the keeper's."""


def _keepers(rows: _Rows, key: str, edges: pl.DataFrame) -> _Keepers:
    """Give each distinct text of a column a keeper: the best-ranked text it has a verified edge to.

    Every text is joined to a keeper it was itself compared with, never through a chain: what is left over when a
    cluster drifts stays as it is, or finds a keeper of its own. A text that says more than the keeper stays too.
    Texts at Jaccard 1 stand for each other, so an edge of one is an edge of all of them.
    """
    texts = _dense(rows.table[key])
    links = _links(rows, texts, edges)
    twins = [link for link in links if link.score == 1.0 and not (link.a_says_more or link.b_says_more)]
    same, twin_basis = _merged(texts.max(initial=-1) + 1, twins)
    heads = _heads(same[texts], rows.rank)
    neighbours: dict[int, list[tuple[int, float, str]]] = {}
    for link in links:
        a, b = int(same[link.a]), int(same[link.b])
        if not link.b_says_more:
            neighbours.setdefault(a, []).append((b, link.score, link.basis))
        if not link.a_says_more:
            neighbours.setdefault(b, []).append((a, link.score, link.basis))
    keeper_of: dict[int, tuple[int, float, str]] = {}
    settled: set[int] = set()
    for text in sorted(neighbours, key=lambda text: rows.rank[heads[text]]):
        if text not in settled and not rows.withdrawn[heads[text]]:
            settled.add(text)
            for other, score, basis in neighbours[text]:
                if other not in settled:
                    settled.add(other)
                    keeper_of[other] = (text, score, basis)
    keeper, scores, basis_of = np.arange(len(texts)), np.ones(len(texts)), {}
    own = same[texts]
    free = ~rows.fixed
    keeper[free] = heads[own[free]]
    involved = np.zeros(len(heads), bool)
    involved[[*keeper_of, *(int(same[link.a]) for link in twins)]] = True
    for row in np.flatnonzero(free & involved[own]).tolist():
        stands, score, basis = keeper_of.get(int(own[row]), (int(own[row]), 1.0, ""))
        keeper[row], scores[row] = heads[stands], score
        if stands == own[row] and texts[row] != texts[heads[stands]]:
            basis = twin_basis[stands]
        if basis:
            basis_of[row] = basis
    return _Keepers(texts, keeper, scores, basis_of)


def _links(rows: _Rows, texts: np.ndarray, edges: pl.DataFrame) -> list[_Link]:
    said = edges.select(
        "a_id",
        "b_id",
        "score",
        pl.col("evidence").str.contains('"says_more_a": true', literal=True).alias("a_more"),
        pl.col("evidence").str.contains('"says_more_b": true', literal=True).alias("b_more"),
        basis=pl.format(
            '{}"check": "{}", "a_id": "{}", "b_id": "{}", "score": {}{}',
            pl.lit("{"), "check", "a_id", "b_id", "score", pl.lit("}"),
        ),
    )  # fmt: skip
    return [
        _Link(int(texts[rows.index[a_id]]), int(texts[rows.index[b_id]]), *rest)
        for a_id, b_id, *rest in said.iter_rows()
    ]


@dataclass(frozen=True)
class _Link:
    """An auto edge between two numbered texts."""

    a: int
    b: int
    score: float
    a_says_more: bool
    b_says_more: bool
    basis: str


def _dense(keys: pl.Series) -> np.ndarray:
    """Number equal keys alike, from 0."""
    return keys.rank("dense").to_numpy().astype(np.int64) - 1


def _merged(count: int, twins: list[_Link]) -> tuple[np.ndarray, dict[int, str]]:
    """Number texts so that twins share one number, and give for each shared number an edge it rests on."""
    ends = np.array([(link.a, link.b) for link in twins], np.int64).reshape(-1, 2)
    same = components(count, [(ends[:, 0], ends[:, 1])])
    return same, {int(same[link.a]): link.basis for link in twins}


def _heads(numbers: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The best-ranked row of each number."""
    heads = np.full(numbers.max(initial=-1) + 1, -1)
    order = np.argsort(rank)[::-1]
    heads[numbers[order]] = order
    return heads


def _repoint_steps(rows: _Rows, passages: _Keepers) -> list[Step]:
    texts = rows.table["positive"]
    ids = rows.table["row_id"].to_list()
    exact, near = [], []
    for row in np.flatnonzero(passages.keeper != np.arange(len(ids))):
        keeper = int(passages.keeper[row])
        if rows.protected[keeper] and not rows.protected[row]:
            continue  # It would bring a passage of the test split into training.
        basis = passages.basis.get(int(row))
        if basis:
            near.append(Target(ids[row], ids[keeper], float(passages.score[row]), evidence=basis))
        elif texts[int(row)] != texts[keeper]:
            exact.append(Target(ids[row], ids[keeper], 1.0, evidence='{"check": "exact_duplicates"}'))
    return [
        Step(Action.REPOINT, "same_passage", exact),
        Step(Action.REPOINT, "near_duplicate_passage", near),
    ]


def _drop_steps(rows: _Rows, queries: _Keepers, passages: _Keepers) -> list[Step]:
    """Drop rows whose query already points to the same passage, with the same negatives, label and score.

    Queries are the same if they are equal (L2), or one stands for the other.
    """
    near = [queries.basis.get(row) or passages.basis.get(row, "") for row in range(len(rows.rank))]
    frame = rows.table.select("row_id", "negatives", "label", "score").with_columns(
        query=pl.Series(queries.number[queries.keeper]),
        passage=pl.Series(passages.number[passages.keeper]),
        rank=pl.Series(rows.rank),
        fixed=pl.Series(rows.fixed),
        near=pl.Series(near, dtype=pl.String),
        near_score=pl.Series(np.minimum(queries.score, passages.score)),
    )
    frame = frame.with_row_index("row").filter(~pl.Series(rows.withdrawn)).sort("rank")
    group = ["query", "passage", "negatives", "label", "score"]
    frame = frame.with_columns(
        pl.col("row_id").first().over(group).alias("keeper_id"), pl.col("near").first().over(group).alias("keeper_near")
    ).sort("row")
    repeated = frame.filter((pl.col("row_id") != pl.col("keeper_id")) & ~pl.col("fixed"))
    exact, near_targets = [], []
    for row_id, keeper_id, basis, keeper_basis, score in repeated.select(
        "row_id", "keeper_id", "near", "keeper_near", "near_score"
    ).iter_rows():
        rests_on = basis or keeper_basis
        if rests_on and basis != keeper_basis:
            near_targets.append(Target(row_id, keeper_id, score, evidence=rests_on))
        else:
            exact.append(Target(row_id, keeper_id, 1.0, evidence='{"check": "exact_duplicates"}'))
    return [Step(Action.DROP, "duplicate_pair", exact), Step(Action.DROP, "near_duplicate_pair", near_targets)]


def _leak_steps(rows: _Rows, edges: pl.DataFrame, dropped: set[str], leaked_split: str) -> list[Step]:
    """Move training rows that leak into a protected split to a split of their own; one step an axis."""
    steps: dict[str, list[Target]] = {}
    moved: set[str] = set()
    axis = pl.col("evidence").str.extract(r'"axis": "(\w+)"').alias("axis")
    for row_id, other_id, score, name in edges.select("a_id", "b_id", "score", axis).iter_rows():
        if row_id in moved or row_id in dropped or rows.fixed[rows.index[row_id]]:
            continue
        moved.add(row_id)
        basis = json.dumps({"check": "leakage", "a_id": row_id, "b_id": other_id, "axis": name})
        steps.setdefault(f"leaked_{name}", []).append(Target(row_id, other_id, score, leaked_split, basis))
    return [Step(Action.MOVE, reason, targets) for reason, targets in steps.items()]


def _negatives_removed(rows: _Rows, flags: pl.DataFrame, dropped: set[str]) -> list[Target]:
    targets = []
    wanted = flags.filter(pl.col("reason") == "negative_is_positive")
    for row_id, score, evidence in wanted.select("row_id", "score", "evidence").iter_rows():
        row = rows.index[row_id]
        if rows.fixed[row] or row_id in dropped:
            continue
        positions = set(json.loads(evidence)["negatives"])
        negatives = rows.table["negatives"][row].to_list()
        left = [text for position, text in enumerate(negatives) if position not in positions]
        value = json.dumps({"negatives": left}, ensure_ascii=False)
        targets.append(Target(row_id, score=score, value=value, evidence=evidence))
    return targets


def decided_by_person(log: Sequence[Decision], ledger: Ledger) -> ByPerson:
    """Which rows a person has decided on, by the decisions in force."""
    actions = {
        decision.seq: decision.action
        for decision in in_force(log)
        if decision.by_person and decision.action not in _REMARKS
    }
    settled: set[str] = set()
    dropped: set[str] = set()
    rewritten: set[str] = set()
    for seq, row_id in ledger.targets(actions).select("seq", "row_id").iter_rows():
        settled.add(row_id)
        if actions[seq] is Action.DROP:
            dropped.add(row_id)
        elif actions[seq] is Action.KEEP:
            dropped.discard(row_id)
        elif actions[seq] in (Action.EDIT, Action.REPOINT):
            rewritten.add(row_id)
    withdrawn = dropped | rewritten
    return ByPerson(frozenset(settled - withdrawn), frozenset(withdrawn))
