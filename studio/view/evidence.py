"""What is known of one row, in words: fast enough to follow a cursor."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.errors import UsageError
from studio.project.evidence import Role, StoredEvidence
from studio.project.groups import I64
from studio.project.ledger import Decision, in_force
from studio.view.bench import Bench

T = TypeVar("T")

COLUMN = {Role.QUERY: "query", Role.PASSAGE: "positive"}
"""The column that a role compares."""
TEXT_CHECKS = frozenset({"near_duplicates", "near_queries", "containment"})
"""Checks that compare distinct texts: an edge of a text's first row is one of every row with that text."""
EXCERPT = 400
"""Characters that are shown of another row's texts."""
_MANY = 200
"""From so many ids on, a join is faster than to look each of them up."""
_EDGES = 200
_GROUP = 20

_HELD = {
    "below_review": "too little alike",
    "guard_numbers": "numbers differ",
    "guard_marks": "marks that mean something differ",
    "guard_negation": "only one has a negation or exclusion",
    "guard_names": "names differ",
    "guard_words": "each has a word that the other lacks",
    "guard_order": "the same words in another order",
    "guard_more": "one says more than the other",
    "boilerplate": "alike only by their boilerplate",
    "several_positives": "both answer one query",
}
_REASONS = {
    "negative_is_positive": "a negative is an answer to the query",
    "contradicting_label": "the same pair has another label elsewhere",
    "contradicting_score": "the same pair has another score elsewhere",
    "boilerplate": "the passage holds boilerplate",
    "query_template": "the query follows a pattern of many",
    "passage_template": "the passage follows a pattern of many",
    "several_positives": "the query has several passages",
    "several_queries": "the passage has several queries",
    "same_source": "other rows come from the same source",
    "answer_group": "belongs to a group of answers",
    "query_too_short": "the query is too short",
    "query_too_long": "the query is too long",
    "passage_too_short": "the passage is too short",
    "passage_too_long": "the passage is too long",
    "query_in_passage": "the passage repeats the query",
    "query_equals_passage": "query and passage are the same",
    "passage_is_question": "the passage is a question",
    "truncated_answer": "the passage is cut off",
    "mojibake": "wrongly decoded characters",
    "control_characters": "control characters",
    "markup_leftovers": "leftovers of markup",
    "wrong_language": "another language than expected",
    "language_mismatch": "query and passage are in different languages",
    "length_outlier": "the passage's length is far from the others'",
    "pii_email": "holds an e-mail address",
    "pii_phone": "holds a phone number",
    "pii_cpf": "holds a CPF",
    "pii_cnpj": "holds a CNPJ",
    "pii_cep": "holds a CEP",
    "pii_pix": "holds a PIX key",
    "query_already_prompted": "the query already begins with an instruction",
    "query_has_passage_prompt": "the query begins with a passage prompt",
    "passage_has_query_prompt": "the passage carries a query prompt",
    "passage_already_prompted": "the passage already begins with a prompt",
    "prompt_marker_inside": "a prompt stands inside the text",
}
_STEPS = {
    "same_passage": "the passage is the same but for spelling",
    "near_duplicate_passage": "the passage is nearly the same",
    "duplicate_pair": "the pair is there already",
    "near_duplicate_pair": "nearly the same pair is there already",
    "leaked_pair": "the pair is also in a protected split",
    "leaked_query": "the query is also in a protected split",
    "leaked_passage": "the passage is also in a protected split",
    "leaked_answer": "the answer is also in a protected split",
}
_EDGE_CHECKS = TEXT_CHECKS | {"exact_duplicates", "leakage"}


def in_words(rejected_by: str | None, check: str) -> str:
    """Say what a code means: why an edge is held (`rejected_by`), what a flag says, why a rule decides (`reason`).

    Args:
        check: the check whose edge or flag it is, "" for a rule's; one code may mean different things in two checks.

    Returns:
        A phrase without a full stop; "" for no code. A code that is not known is returned with spaces.
    """
    if rejected_by is None:
        return ""
    tables = (_HELD, _REASONS) if check in _EDGE_CHECKS else (_REASONS, _STEPS, _HELD)
    return next((table[rejected_by] for table in tables if rejected_by in table), rejected_by.replace("_", " "))


@dataclass(frozen=True)
class Flag:
    """What a check says of the row; `words` is `reason` for people, `evidence` the check's own object."""

    check: str
    reason: str
    words: str
    score: float | None
    band: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Other:
    """Another row: its position from 0, and the beginning of its texts (EXCERPT characters)."""

    position: int
    row_id: str
    query: str
    positive: str


@dataclass(frozen=True)
class Edge:
    """What a check says of the row and another one.

    `rejected_by` is the code, `held` the same in words. `through` is the position of the row that stands first for the
    row's text, where the edge is that row's; else None. `only_here`, `only_there`: words that one of the two lacks.
    """

    check: str
    role: str
    other: Other
    through: int | None
    score: float | None
    containment: float | None
    band: str
    rejected_by: str | None
    held: str
    difference: str | None
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Decided:
    """A decision in force about the row; `time` as the ledger has it (UTC), `keeper` a position or None."""

    seq: int
    time: str
    actor: str
    action: str
    reason: str
    keeper: int | None
    score: float | None
    note: str | None


@dataclass(frozen=True)
class RowEvidence:
    """Everything known of one row.

    `edges` are the strongest ones, `edge_count` is how many there are. `answers_with` are positions of other rows of
    the answer group (the first 20), `answers_with_count` how many others it has.
    """

    position: int
    row_id: str
    source: str
    flags: tuple[Flag, ...]
    edges: tuple[Edge, ...]
    edge_count: int
    decisions: tuple[Decided, ...]
    answers_with: tuple[int, ...]
    answers_with_count: int


def row_evidence(bench: Bench, position: int) -> RowEvidence:
    """Collect what is known of a row: flags, edges with other rows, decisions in force, its answer group.

    Raises:
        UsageError: there is no such row.
    """
    if not 0 <= position < bench.rows.height:
        raise UsageError(f"There is no row {position + 1:,} in this project.")
    edges, count = _edges(bench, position)
    others, answers = _answers_with(bench, position)
    return RowEvidence(
        position,
        bench.rows["row_id"][position],
        bench.rows["source"][position],
        _flags(bench, position),
        edges,
        count,
        _decisions(bench, position),
        others,
        answers,
    )


def _answers_with(bench: Bench, position: int) -> tuple[tuple[int, ...], int]:
    """Other rows of the answer group, and how many: none while the groups are still being worked out."""
    groups = bench.answer_groups()
    if groups is None:
        return (), 0
    members = (groups == groups[position]).arg_true()
    return tuple(other for other in members.head(_GROUP + 1).to_list() if other != position)[:_GROUP], len(members) - 1


def remembered(bench: Bench, name: str, key: Hashable, make: Callable[[], T], keep: int = 1) -> T:
    """Return what `make` gave for the bench under this name and key; of each name the latest `keep` keys are kept.

    What is remembered must not hold the bench, so that it goes when the bench goes.
    """
    known = _MEMORY.setdefault(bench, {}).setdefault(name, {})
    if key not in known:
        made = make()
        while len(known) >= keep:
            del known[next(iter(known))]
        known[key] = made
    result: T = known[key]
    return result


_MEMORY: WeakKeyDictionary[Bench, dict[str, dict[Hashable, Any]]] = WeakKeyDictionary()


def text_numbers(bench: Bench, role: Role) -> I64:
    """For each row the position of the first row whose text in the role's column is equal (L2)."""

    result: I64 = bench.text_numbers(COLUMN[role])
    return result


def edge_ends(bench: Bench, stored: StoredEvidence) -> tuple[I64, I64]:
    """Positions of the two rows of each edge, in the order of the edges."""
    edges = stored.evidence.edges

    def ends() -> tuple[I64, I64]:
        return positions_of(bench, edges["a_id"]), positions_of(bench, edges["b_id"])

    # Judging changes bands and words of edges, never which they are: one answer for all thresholds.
    computed = (stored.snapshot, stored.version, edges.height, edges["a_id"].hash().sum(), edges["b_id"].hash().sum())
    return remembered(bench, f"ends of {stored.check}", computed, ends)


def positions_of(bench: Bench, row_ids: pl.Series) -> I64:
    """Positions of rows given by their row_ids; -1 for null and for ids that are not there."""
    if len(row_ids) > _MANY:
        found = row_ids.alias("row_id").to_frame().join(bench.places, on="row_id", how="left", maintain_order="left")
        return found["position"].cast(pl.Int64).fill_null(-1).to_numpy()
    hashes, order = remembered(bench, "hashes of row_ids", None, lambda: _sorted_hashes(bench.rows["row_id"]))
    places = np.full(len(row_ids), -1)
    for at, (row_id, hashed) in enumerate(zip(row_ids.to_list(), row_ids.hash().to_numpy(), strict=True)):
        start, stop = np.searchsorted(hashes, hashed, "left"), np.searchsorted(hashes, hashed, "right")
        places[at] = next((row for row in order[start:stop].tolist() if bench.rows["row_id"][row] == row_id), -1)
    return places


def _sorted_hashes(row_ids: pl.Series) -> tuple[NDArray[np.uint64], I64]:
    """The hashes of all ids, ascending, and the position of each."""
    hashes = row_ids.hash().to_numpy()
    order = np.argsort(hashes)
    return hashes[order], order


def decisions_in_force(bench: Bench) -> tuple[Mapping[int, Decision], pl.DataFrame]:
    """The decisions in force by `seq`, and their targets (TARGETS_SCHEMA) with the `position` of each, by position."""
    log = bench.log()

    def read() -> tuple[Mapping[int, Decision], pl.DataFrame]:
        active = {decision.seq: decision for decision in in_force(log)}
        targets = bench.project.ledger.targets(active)
        targets = targets.with_columns(position=pl.Series(positions_of(bench, targets["row_id"]), dtype=pl.Int64))
        return active, targets.sort("position", "seq", maintain_order=True)

    return remembered(bench, "decisions", log[-1].seq if log else 0, read)


@dataclass(frozen=True)
class _Index:
    """Which lines of a table are about a row: `lines[...]` of equal `rows`, which are sorted."""

    rows: I64
    lines: I64

    @classmethod
    def of(cls, *columns: I64) -> _Index:
        """Index the lines by each of `columns` (positions of rows)."""
        rows = np.concatenate(columns)
        order = np.argsort(rows, kind="stable")
        return cls(rows[order], np.tile(np.arange(len(columns[0])), len(columns))[order])

    def at(self, row: int) -> I64:
        start, stop = np.searchsorted(self.rows, [row, row + 1])
        return self.lines[start:stop]


def _flags(bench: Bench, position: int) -> tuple[Flag, ...]:
    found = []
    for name, stored in bench.evidence().items():
        flags = stored.evidence.flags
        make = partial(_index_of_flags, bench, flags)
        index = remembered(bench, f"flags of {name}", stored.key, make)
        for reason, score, band, evidence in (
            flags[index.at(position)].select("reason", "score", "band", "evidence").iter_rows()
        ):
            found.append(Flag(name, reason, in_words(reason, name), score, band, json.loads(evidence)))
    return tuple(found)


def _index_of_flags(bench: Bench, flags: pl.DataFrame) -> _Index:
    return _Index.of(positions_of(bench, flags["row_id"]))


def _edges(bench: Bench, position: int) -> tuple[tuple[Edge, ...], int]:
    """The strongest edges of the row, and how many it has."""
    if all(stored.evidence.edges.is_empty() for stored in bench.evidence().values()):
        # To tell which texts are equal takes seconds at a million rows, and nothing was found yet.
        return (), 0
    first = {role.value: int(text_numbers(bench, role)[position]) for role in COLUMN}
    found: list[tuple[float, str, int, int, StoredEvidence, int]] = []
    for name, stored in bench.evidence().items():
        edges = stored.evidence.edges
        if edges.is_empty():
            continue
        a, b = edge_ends(bench, stored)
        index = remembered(bench, f"edges of {name}", stored.key, partial(_Index.of, a, b))
        standing = {position, *first.values()} if name in TEXT_CHECKS else {position}
        for mine in standing:
            lines = index.at(mine)
            near = edges["score"].gather(lines).fill_null(0).to_list()
            roles = edges["role"].gather(lines).to_list()
            for line, score, role in zip(lines.tolist(), near, roles, strict=True):
                other = int(b[line]) if a[line] == mine else int(a[line])
                if other != position and mine in (position, first.get(role)):
                    found.append((-score, name, other, line, stored, mine))
    found.sort(key=lambda edge: edge[:4])
    shown = found[:_EDGES]
    others = {other: _other(bench, other) for other in {edge[2] for edge in shown}}
    return tuple(_edge(position, others[other], line, stored, mine, edge_ends(bench, stored))
                 for _, _, other, line, stored, mine in shown), len(found)  # fmt: skip


def _other(bench: Bench, position: int) -> Other:
    rows = bench.rows
    query, positive = rows["query"][position], rows["positive"][position]
    return Other(position, rows["row_id"][position], query[:EXCERPT], positive[:EXCERPT])


def _edge(position: int, other: Other, line: int, stored: StoredEvidence, mine: int, ends: tuple[I64, I64]) -> Edge:
    said = stored.evidence.edges.row(line, named=True)
    evidence = json.loads(said["evidence"])
    here, there = ("a", "b") if ends[0][line] == mine else ("b", "a")
    return Edge(
        stored.check,
        said["role"],
        other,
        None if mine == position else mine,
        said["score"],
        said["containment"],
        said["band"],
        said["rejected_by"],
        in_words(said["rejected_by"], stored.check),
        evidence.get("difference"),
        tuple(evidence.get(f"only_{here}", ())),
        tuple(evidence.get(f"only_{there}", ())),
        evidence,
    )


def _decisions(bench: Bench, position: int) -> tuple[Decided, ...]:
    active, targets = decisions_in_force(bench)
    start = targets["position"].search_sorted(position, "left")
    stop = targets["position"].search_sorted(position, "right")
    about = targets[start:stop]
    keepers = positions_of(bench, about["keeper_id"]).tolist() if about["keeper_id"].count() else [-1] * about.height
    found = []
    for seq, score, keeper in zip(about["seq"].to_list(), about["score"].to_list(), keepers, strict=True):
        decision = active[seq]
        found.append(
            Decided(
                seq,
                decision.time,
                decision.actor,
                decision.action.value,
                decision.reason,
                keeper if keeper >= 0 else None,
                score,
                decision.note,
            )
        )
    return tuple(found)
