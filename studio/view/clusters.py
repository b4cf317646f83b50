"""Clusters of near-equal texts: a list by size, the inside of one, and what another threshold would make of them.

A member of a cluster is a distinct text (texts equal at L2 count as one, as in the checks) with all rows that have it.
Members are joined by the edges of the near check of the role and by the review band of the exact check (texts that
differ in accents alone). Passages also have clusters of one member: rows that are one pair, and passages that are
equal, but not to the byte. The same passage under several queries is no cluster.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.project.curate import REWRITE_ACTOR
from studio.project.evidence import Band, Role, StoredEvidence
from studio.project.groups import I64, components
from studio.project.ledger import Action
from studio.project.project import SPLIT_ACTOR
from studio.project.rules import decided_by_person
from studio.project.splitting import TRAIN
from studio.view.bench import Bench
from studio.view.evidence import (
    COLUMN,
    EXCERPT,
    decisions_in_force,
    edge_ends,
    in_words,
    positions_of,
    remembered,
    text_numbers,
)
from studio.view.threshold import NEAR, NearName, judged, outcome, steps

Which = Literal["auto", "review", "all"]
RoleName = Literal["passage", "query"]
Order = Literal["size", "rows", "score", "held", "position"]
Bool = np.ndarray
TEXT = 4_000
"""Characters of a member's texts that are shown; the row itself has all of them."""
_POSITIONS = 50
_SETTLING = frozenset({Action.KEEP, Action.DROP, Action.REPOINT, Action.EDIT, Action.GROUP})
"""What a decision must be to settle a pair of rows; a split, a tag, a rewriting by pattern say nothing of it."""
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class ClusterHead:
    """One line of the list of clusters.

    `id` is the row_id of the keeper, `keeper` its position. `members` counts distinct texts, `rows` all their rows.
    `score` is the best Jaccard in it. `for_review`: some edge is in the review band, whatever the others are. `held`
    counts edges over the threshold that something holds for a person, and `reasons` says what, most frequent first.
    `decided`: a decision is in force about an end of every edge. `text` is
    the beginning of the keeper's text, in one line.
    """

    id: str
    keeper: int
    members: int
    rows: int
    score: float
    for_review: bool
    held: int
    reasons: tuple[str, ...]
    decided: bool
    text: str


@dataclass(frozen=True)
class Clusters:
    """A stretch of the list. `total` counts the whole list, of which `auto` have no edge for review."""

    heads: tuple[ClusterHead, ...]
    total: int
    auto: int
    review: int
    decided: int


@dataclass(frozen=True)
class Would:
    """What `decide --auto` would do to so many rows of a member, and why, in words.

    `action` is that of the step which says most of a row: `drop`, else `repoint`, else another; `none` without one.
    `positions` are these rows, ascending; () for `none`: these can be most of a dataset, and nothing is done to them.
    """

    action: str
    reason: str
    keeper: int | None
    rows: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Member:
    """One distinct text of a cluster.

    `position` is the row that shows it: the keeper's own, else the first with this text. `rows` counts the rows with
    this text, `positions` are the first 50 of them. `query` and `positive` are cut at TEXT characters. `sub` numbers
    the parts of the cluster that the auto band alone joins, from 0. `score` is the Jaccard to the keeper, None where
    the two were not found near each other. `why` says why the keeper is it, "" for the others.
    """

    position: int
    row_id: str
    query: str
    positive: str
    status: str
    split: str
    is_keeper: bool
    why: str
    sub: int
    score: float | None
    would: tuple[Would, ...]
    rows: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class MemberEdge:
    """What was found about two members, named by the rows that the check compared.

    `a_in_b` is the share of a's shingles that b has, `b_in_a` the other way round; None for an edge of the exact
    check. `held` says why it waits for a person ("held: numbers differ", "below the threshold"), "" in the auto band.
    """

    a: int
    b: int
    check: str
    jaccard: float
    containment: float | None
    a_in_b: float | None
    b_in_a: float | None
    band: str
    rejected_by: str | None
    held: str
    difference: str | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


@dataclass(frozen=True)
class ClusterDetail:
    """The inside of a cluster: its keeper first, then by score. At most `limit` members and the edges among these."""

    head: ClusterHead
    members: tuple[Member, ...]
    edges: tuple[MemberEdge, ...]
    edge_count: int


@dataclass(frozen=True)
class ThresholdCounts:
    """What the auto band of a check would come to at a threshold, every other check as it is.

    `clusters` are those that the rules would act on for the check's role. `rows_removed` and `queries_repointed` count
    rows (one that is both counts as removed). `held_for_review` and `below` count edges for review: over the threshold
    and held by something, and under it. `review` is the setting in force, lowered with the threshold where
    `review_lowered`.
    """

    threshold: float
    clusters: int
    rows_removed: int
    queries_repointed: int
    held_for_review: int
    below: int
    review: float
    review_lowered: bool


def clusters(
    bench: Bench,
    role: RoleName,
    threshold: float | None = None,
    which: Which = "all",
    order: Order = "size",
    offset: int = 0,
    limit: int = 1_000,
) -> Clusters:
    """List the clusters of a role's texts.

    Args:
        threshold: that of the near check; None for the one it ran with.
        which: `auto` for what the auto band alone joins, `review` for clusters with an edge for review (what the auto
            band joins in them is part of them), `all` for those and for the clusters that have no such edge.
        order: `size` (members, then rows), `rows`, `score`, `held`: most first; `position`: by the keeper's. What is
            equal stands by position.

    Raises:
        UsageError: the checks have not run, or there is nothing to judge at this threshold.
    """
    found = _found(bench, Role(role), threshold, which)
    table = found.table
    orders = {
        "size": (-table["members"], -table["rows"]),
        "rows": (-table["rows"],),
        "score": (-table["score"],),
        "held": (-table["held"], -table["members"]),
        "position": (),
    }
    keys = [table["keeper"], *(key for key in reversed(orders[order]))]
    places = np.lexsort([key.to_numpy() for key in keys])[offset : offset + limit]
    chosen = table[places]
    for_review = int(table["for_review"].sum())
    return Clusters(
        tuple(_heads(bench, Role(role), chosen)),
        table.height,
        table.height - for_review,
        for_review,
        int(found.table["decided"].sum()),
    )


def cluster(
    bench: Bench,
    role: RoleName,
    id: str,
    threshold: float | None = None,
    which: Which = "all",
    limit: int = 500,
) -> ClusterDetail:
    """Show the inside of the cluster that holds the row `id` (the keeper's row_id, or any other row's).

    Raises:
        UsageError: no cluster holds that row; the checks have not run, or have nothing to judge at this threshold.
    """
    kind = Role(role)
    found = _found(bench, kind, threshold, which)
    row = int(positions_of(bench, pl.Series([id]))[0])
    place = found.cluster_of(int(text_numbers(bench, kind)[row])) if row >= 0 else None
    if place is None:
        raise UsageError(f"No cluster of this list holds the row `{id}`.", remedy="open one from the list of clusters")
    members = _members(bench, kind, found, place, limit)
    shown = np.isin(found.nodes, text_numbers(bench, kind)[[member.position for member in members]])
    lines = np.flatnonzero(found.edge_cluster == place)
    among = np.isin(found.node_a[lines], found.nodes[shown]) & np.isin(found.node_b[lines], found.nodes[shown])
    edges = [_member_edge(found, line) for line in lines[among].tolist()]
    edges.sort(key=lambda edge: (-edge.jaccard, edge.a, edge.b))
    head = next(_heads(bench, kind, found.table[place]))
    return ClusterDetail(head, tuple(members), tuple(edges), len(lines))


def at_threshold(bench: Bench, check: NearName, threshold: float) -> ThresholdCounts:
    """Count what the rules would do if the check had another threshold; nothing is computed or compared again.

    Args:
        threshold: Jaccard, from the check's `floor` to 1. Under the `review` setting it takes that down with it.

    Raises:
        UsageError: the check has not run, or there is nothing to judge at this threshold.
    """
    found = judged(bench, check, threshold)
    role = next(role for role, name in NEAR.items() if name == check)
    proposed = steps(bench, {**bench.evidence(), check: found.stored})
    removed, repointed = (
        {target.row_id for step in proposed if step.action is action for target in step.targets}
        for action in (Action.DROP, Action.REPOINT)
    )
    edges = found.stored.evidence.edges
    review = edges.filter(pl.col("band") == Band.REVIEW.value)
    over = int((review["score"] >= threshold).sum())
    return ThresholdCounts(
        threshold,
        _found(bench, role, threshold, "auto").table.height,
        len(removed),
        len(repointed - removed),
        over,
        review.height - over,
        found.review,
        found.lowered,
    )


@dataclass(frozen=True)
class _Found:
    """The edges of a role (`edges`: EDGES_SCHEMA columns), the texts they join, and the clusters these make.

    A text is named by the position of its first row. `table` has one line a cluster, in the order of their numbers.
    """

    evidence: Mapping[str, StoredEvidence]
    edges: pl.DataFrame
    ends: tuple[I64, I64]
    node_a: I64
    node_b: I64
    nodes: I64
    """Every text in a cluster, ascending."""
    node_cluster: I64
    edge_cluster: I64
    node_sub: I64
    """For each text the number of what the auto band alone joins it to, over all clusters."""
    table: pl.DataFrame

    def cluster_of(self, node: int) -> int | None:
        place = int(np.searchsorted(self.nodes, node))
        return int(self.node_cluster[place]) if place < len(self.nodes) and self.nodes[place] == node else None

    def scores_to(self, node: int, lines: I64) -> dict[int, float]:
        """For each text with one of the edges `lines` to `node` the best score."""
        scores: dict[int, float] = {}
        a, b, score = self.node_a[lines], self.node_b[lines], self.edges["score"].to_numpy()[lines]
        for one, other in ((a, b), (b, a)):
            for text, value in zip(other[one == node].tolist(), score[one == node].tolist(), strict=True):
                scores[text] = max(value, scores.get(text, 0.0))
        return scores

    @cached_property
    def auto(self) -> Bool:
        """Which edges are in the auto band."""
        return (self.edges["band"] == Band.AUTO.value).to_numpy()


def _found(bench: Bench, role: Role, threshold: float | None, which: Which) -> _Found:
    evidence = dict(bench.evidence())
    check = NEAR[role]
    missing = [name for name in ("exact_duplicates", check) if name not in evidence]
    if missing:
        raise UsageError(
            f"`{missing[0]}` has not run on these rows.", remedy=f"harrier-studio check {' '.join(missing)}"
        )
    if threshold is not None:
        evidence[check] = judged(bench, check, threshold).stored
    log = bench.log()
    key = (
        *(which, log[-1].seq if log else 0, bench.project.settings.curation),
        *(evidence["exact_duplicates"].key, evidence[check].key),
    )
    return remembered(bench, f"clusters of {role}", key, lambda: _make(bench, role, evidence, which), keep=6)


def _make(bench: Bench, role: Role, evidence: Mapping[str, StoredEvidence], which: Which) -> _Found:
    parts = [_exact_edges(bench, role, evidence["exact_duplicates"]), _near_edges(bench, evidence[NEAR[role]])]
    edges = pl.concat([part[0] for part in parts])
    a, b = (np.concatenate([part[1][side] for part in parts]) for side in (0, 1))
    numbers = text_numbers(bench, role)
    auto = (edges["band"] == Band.AUTO.value).to_numpy()
    kept = auto if which == "auto" else np.ones(len(a), bool)
    if which == "review":
        nodes, place_a, place_b = _places(numbers, a, b)
        cluster_of = components(len(nodes), [(place_a, place_b)])
        kept = np.isin(cluster_of[place_a], cluster_of[place_a[~auto]])
    edges, a, b, auto = edges.filter(pl.Series(kept, dtype=pl.Boolean)), a[kept], b[kept], auto[kept]
    nodes, place_a, place_b = _places(numbers, a, b)
    cluster_of = components(len(nodes), [(place_a, place_b)])
    sub = components(len(nodes), [(place_a[auto], place_b[auto])])
    keeper, rows = _keepers(bench, role, nodes, cluster_of)
    held = pl.col("for_review") & pl.col("rejected_by").is_not_null()
    lines = edges.select("score", "rejected_by").with_columns(
        cluster=pl.Series(cluster_of[place_a]),
        for_review=pl.Series(~auto, dtype=pl.Boolean),
        settled=pl.Series(_settled(bench, numbers, a, b), dtype=pl.Boolean),
    )
    table = lines.group_by("cluster").agg(
        pl.col("score").max(),
        held.sum().cast(pl.Int64).alias("held"),
        pl.col("for_review").any(),
        pl.col("settled").all().alias("decided"),
        pl.col("rejected_by").filter(held).alias("codes"),
    )
    table = table.sort("cluster").with_columns(
        members=pl.Series(np.bincount(cluster_of), dtype=pl.Int64),
        rows=pl.Series(rows, dtype=pl.Int64),
        keeper=pl.Series(keeper, dtype=pl.Int64),
    )
    return _Found(
        evidence, edges, (a, b), nodes[place_a], nodes[place_b], nodes, cluster_of, cluster_of[place_a], sub, table
    )


def _places(numbers: I64, a: I64, b: I64) -> tuple[I64, I64, I64]:
    """The distinct texts at the ends of edges, ascending, and the places of the two ends' texts among them."""
    nodes, places = np.unique(numbers[np.concatenate([a, b])], return_inverse=True)
    return nodes, places[: len(a)], places[len(a) :]


def _near_edges(bench: Bench, stored: StoredEvidence) -> tuple[pl.DataFrame, tuple[I64, I64]]:
    edges = stored.evidence.edges
    chosen = (edges["band"] != Band.IGNORE.value).to_numpy()
    a, b = edge_ends(bench, stored)
    return edges.filter(pl.Series(chosen)), (a[chosen], b[chosen])


def _exact_edges(bench: Bench, role: Role, stored: StoredEvidence) -> tuple[pl.DataFrame, tuple[I64, I64]]:
    """Edges of the exact check that join texts, or rows with one text that the rules join; these are auto."""
    edges = stored.evidence.edges
    a, b = edge_ends(bench, stored)
    numbers = text_numbers(bench, role)
    one_text = pl.Series(numbers[a] == numbers[b], dtype=pl.Boolean)
    level = pl.col("evidence").str.extract(r'"L(\d)"').cast(pl.Int8)
    own = pl.col("role") == role.value
    joins = own & (pl.col("band") == Band.REVIEW.value) & ~one_text
    if role is Role.PASSAGE:
        # A query that differs in accents alone is a matter of the queries.
        one_pair = (pl.col("role") == Role.PAIR.value) & (level <= 2)
        joins |= one_text & (one_pair | (own & (level > 0)))
    chosen = edges.select(joins).to_series()
    rules = pl.when(one_text.filter(chosen)).then(pl.lit(Band.AUTO.value)).otherwise("band")
    mask = chosen.to_numpy()
    return edges.filter(chosen).with_columns(band=rules), (a[mask], b[mask])


def _settled(bench: Bench, numbers: I64, a: I64, b: I64) -> Bool:
    """Edges of which a decision in force is about an end: a row with that text, or, within one text, that very row."""
    active, targets = decisions_in_force(bench)
    counts = [
        seq
        for seq, decision in active.items()
        if decision.action in _SETTLING and not decision.actor.startswith(REWRITE_ACTOR)
    ]
    rows = targets.filter(pl.col("seq").is_in(counts) & (pl.col("position") >= 0))["position"].to_numpy()
    row_decided = np.zeros(len(numbers), bool)
    row_decided[rows] = True
    text_decided = np.zeros(len(numbers), bool)
    text_decided[numbers[rows]] = True
    by_text = text_decided[numbers[a]] | text_decided[numbers[b]]
    return np.where(numbers[a] == numbers[b], row_decided[a] | row_decided[b], by_text)


@dataclass(frozen=True)
class _Standing:
    """What the rules ask of a row that may stand for others (`rules.propose`); one entry a row."""

    withdrawn: Bool
    settled: Bool
    protected: Bool
    queries: I64
    length: I64

    def order(self, rows: I64, groups: I64) -> I64:
        """Places in `rows`, by group and then from the best keeper down."""
        return np.lexsort(
            (
                rows,
                -self.length[rows],
                -self.queries[rows],
                ~self.protected[rows],
                ~self.settled[rows],
                self.withdrawn[rows],
                groups,
            )
        )

    def why(self, keeper: int, rivals: I64) -> str:
        """What sets the keeper apart from other rows, in words: each thing in which it is before some of them."""
        rivals = rivals[~self.withdrawn[rivals]]
        words = []
        for kind, name in (
            (self.settled, "decided by a person"),
            (self.protected, "protected split"),
            (self.queries, f"most queries ({self.queries[keeper]})"),
            (self.length, "longest"),
        ):
            level = kind[rivals] == kind[keeper]
            if not level.all():
                words.append(name)
                rivals = rivals[level]
        if len(rivals) or not words:
            words.append("earliest")
        return ", ".join(words)


def _standing(bench: Bench) -> _Standing:
    log = bench.log()

    def stand() -> _Standing:
        people = decided_by_person(log, bench.project.ledger)
        count = bench.rows.height
        passages = text_numbers(bench, Role.PASSAGE)
        split = bench.project.assigned(without=SPLIT_ACTOR)["split"]
        protected = split.is_in(list(bench.project.settings.curation.protected_splits)).fill_null(value=False)

        def mask(row_ids: frozenset[str]) -> Bool:
            marked = np.zeros(count, bool)
            marked[positions_of(bench, pl.Series(sorted(row_ids), dtype=pl.String))] = True
            return marked

        return _Standing(
            mask(people.withdrawn),
            mask(people.settled),
            protected.to_numpy(),
            np.bincount(passages, minlength=count)[passages],
            remembered(
                bench, "lengths", None, lambda: bench.rows["positive"].str.len_chars().cast(pl.Int64)
            ).to_numpy(),
        )

    key = (log[-1].seq if log else 0, bench.project.settings.curation)
    return remembered(bench, "standing", key, stand)


def _keepers(bench: Bench, role: Role, nodes: I64, cluster_of: I64) -> tuple[I64, I64]:
    """For each cluster the position of its keeper, and how many rows it has."""
    rows, groups = _rows_of(bench, role, nodes, cluster_of)
    order = _standing(bench).order(rows, groups)
    _, first = np.unique(groups[order], return_index=True)
    return rows[order][first], np.bincount(groups, minlength=cluster_of.max(initial=-1) + 1)


def _rows_of(bench: Bench, role: Role, nodes: I64, labels: I64) -> tuple[I64, I64]:
    """All rows with one of the texts, ascending, and for each the label of its text."""
    numbers = text_numbers(bench, role)
    label = np.full(len(numbers), -1)
    label[nodes] = labels
    of_row = label[numbers]
    rows = np.flatnonzero(of_row >= 0)
    return rows, of_row[rows]


def _heads(bench: Bench, role: Role, table: pl.DataFrame) -> Iterator[ClusterHead]:
    texts = bench.rows[COLUMN[role]].gather(table["keeper"])
    ids = bench.rows["row_id"].gather(table["keeper"])
    columns = table.select("keeper", "members", "rows", "score", "for_review", "held", "codes", "decided").iter_rows()
    for row_id, text, (keeper, members, rows, score, for_review, held, codes, decided) in zip(
        ids, texts, columns, strict=True
    ):
        reasons = tuple(in_words(code, NEAR[role]) for code, _ in Counter(codes).most_common())
        excerpt = _SPACE.sub(" ", text[:EXCERPT]).strip()
        yield ClusterHead(row_id, keeper, members, rows, score, for_review, held, reasons, decided, excerpt)


def _members(bench: Bench, role: Role, found: _Found, place: int, limit: int) -> list[Member]:
    numbers, standing = text_numbers(bench, role), _standing(bench)
    inside = found.node_cluster == place
    nodes, subs = found.nodes[inside], found.node_sub[inside]
    _, subs = np.unique(subs, return_inverse=True)
    keeper = int(found.table["keeper"][place])
    own = int(numbers[keeper])
    lines = np.flatnonzero(found.edge_cluster == place)
    scores = found.scores_to(own, lines)
    order = sorted(range(len(nodes)), key=lambda at: (nodes[at] != own, -scores.get(int(nodes[at]), 0.0), nodes[at]))
    chosen = order[:limit]
    rows, groups = _rows_of(bench, role, nodes[chosen], np.arange(len(chosen)))
    others = _rows_of(bench, role, nodes, np.arange(len(nodes)))[0]
    rivals = others[numbers[others] != own] if len(nodes) > 1 else others[others != keeper]
    left = _Left(bench, role, found, keeper, lines)
    status, split = (bench.curated()[column] for column in ("status", "split"))
    members = []
    for group, at in enumerate(chosen):
        node = int(nodes[at])
        same = rows[groups == group]
        position = keeper if node == own else node
        members.append(
            Member(
                position,
                bench.rows["row_id"][position],
                bench.rows["query"][position][:TEXT],
                bench.rows["positive"][position][:TEXT],
                status[position],
                split[position] or TRAIN,
                node == own,
                standing.why(keeper, rivals) if node == own else "",
                int(subs[at]),
                1.0 if node == own else scores.get(node),
                left.would(same, node),
                len(same),
                tuple(same[:_POSITIONS].tolist()),
            )
        )
    return members


class _Left:
    """What the rules would do to the rows of a cluster, and why they leave the others as they are."""

    def __init__(self, bench: Bench, role: Role, found: _Found, keeper: int, lines: I64) -> None:
        self._bench, self._role, self._found, self._keeper = bench, role, found, keeper
        self._own = int(text_numbers(bench, role)[keeper])
        self._outcome = outcome(bench, found.evidence)
        self._standing = _standing(bench)
        self._lines: dict[int, list[int]] = {}
        for line in lines.tolist():
            for node in {int(found.node_a[line]), int(found.node_b[line])}:
                self._lines.setdefault(node, []).append(line)

    def would(self, rows: I64, node: int) -> tuple[Would, ...]:
        """Sort the rows of a text by what would become of them; what changes most comes first."""
        ids = self._bench.rows["row_id"].gather(rows).to_list()
        sorted_rows: dict[tuple[str, str, str | None], list[int]] = {}
        for row, row_id in zip(rows.tolist(), ids, strict=True):
            if row_id in self._outcome:
                step, keeper_id = self._outcome[row_id]
                kind = step.action.value, in_words(step.reason, ""), keeper_id
            else:
                kind = "none", self._why_not(row, node), None
            sorted_rows.setdefault(kind, []).append(row)
        keepers = [keeper_id for _, _, keeper_id in sorted_rows]
        places = positions_of(self._bench, pl.Series(keepers, dtype=pl.String)).tolist()
        found = [
            Would(action, reason, place if place >= 0 else None, len(same), () if action == "none" else tuple(same))
            for ((action, reason, _), same), place in zip(sorted_rows.items(), places, strict=True)
        ]
        return tuple(sorted(found, key=lambda would: (would.action == "none", -would.rows, would.reason)))

    def _why_not(self, row: int, node: int) -> str:
        standing = self._standing
        if standing.withdrawn[row] or standing.settled[row]:
            return "decided by a person"
        if row == self._keeper:
            return "it is the keeper"
        if standing.protected[row]:
            return "protected split"
        if node == self._own:
            return "another query of the same passage" if self._role is Role.PASSAGE else "another passage"
        return self._why_apart(node)

    def _why_apart(self, node: int) -> str:
        """Why a text is not joined to the keeper: what is said of its edge to it, or else of its strongest one."""
        found = self._found
        best = max(
            self._lines[node],
            key=lambda line: (
                self._own in (found.node_a[line], found.node_b[line]), found.auto[line], found.edges["score"][line]
            ),
        )  # fmt: skip
        if not found.auto[best]:
            return _held(found.edges["rejected_by"][best], found.edges["check"][best])
        side = "a" if found.node_a[best] == node else "b"
        if f'"says_more_{side}": true' in found.edges["evidence"][best]:
            return "it says more than the other"
        if self._role is Role.QUERY:
            return "another passage"
        if self._own not in (found.node_a[best], found.node_b[best]):
            return "near to others, not to the keeper"
        return "the keeper is in a protected split" if self._standing.protected[self._keeper] else "it stays"


def _held(rejected_by: str | None, check: str) -> str:
    """Why an edge for review is not in the auto band."""
    if rejected_by:
        return f"held: {in_words(rejected_by, check)}"
    return "below the threshold" if check in NEAR.values() else "differs in accents"


def _member_edge(found: _Found, line: int) -> MemberEdge:
    said = found.edges.row(line, named=True)
    evidence = json.loads(said["evidence"])
    shared, sizes = evidence.get("shared"), evidence.get("sizes", (0, 0))
    a_in_b, b_in_a = (shared / size if size else None for size in sizes)
    auto = said["band"] == Band.AUTO.value
    return MemberEdge(
        int(found.ends[0][line]),
        int(found.ends[1][line]),
        said["check"],
        said["score"],
        said["containment"],
        a_in_b,
        b_in_a,
        said["band"],
        said["rejected_by"],
        "" if auto else _held(said["rejected_by"], said["check"]),
        evidence.get("difference"),
        tuple(evidence.get("only_a", ())),
        tuple(evidence.get("only_b", ())),
    )
