"""Rows are in conflict exactly when they share a text, an answer group or an edge."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.mining import conflicts as module
from studio.mining.conflicts import EDGES_SCHEMA, GROUPS_SCHEMA, Conflicts, RowKeys

TEXTS = [f"t{i}" for i in range(12)]
Row = tuple[str | None, str | None, list[str]]


def make(groups: dict[str, int] | None = None, edges: Sequence[tuple[str, str]] = ()) -> Conflicts:
    groups = groups or {}
    return Conflicts(
        pl.DataFrame({"text": list(groups), "group": list(groups.values())}, schema=GROUPS_SCHEMA),
        pl.DataFrame({"a": [a for a, _ in edges], "b": [b for _, b in edges]}, schema=EDGES_SCHEMA),
    )


def columns(rows: Sequence[Row]) -> list[pl.Series]:
    return [
        pl.Series("query", [row[0] for row in rows], pl.String),
        pl.Series("positive", [row[1] for row in rows], pl.String),
        pl.Series("negatives", [row[2] for row in rows], pl.List(pl.String)),
    ]


def plainly(rows: Sequence[Row], groups: dict[str, int], edges: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """The definition, written out."""
    both = {pair for a, b in edges for pair in ((a, b), (b, a))}
    held = [{text for text in (row[0], row[1], *row[2]) if text is not None} for row in rows]
    return [
        (i, j)
        for i, j in combinations(range(len(rows)), 2)
        if held[i] & held[j]
        or {groups[text] for text in held[i] if text in groups} & {groups[text] for text in held[j] if text in groups}
        or any((a, b) in both for a in held[i] for b in held[j])
    ]


text = st.sampled_from(TEXTS)
row = st.tuples(st.none() | text, st.none() | text, st.lists(text, max_size=2))


@given(
    st.lists(row, max_size=14), st.dictionaries(text, st.integers(0, 3)), st.lists(st.tuples(text, text), max_size=6)
)
def test_rows_share_a_key_exactly_when_they_are_in_conflict(
    rows: list[Row], groups: dict[str, int], edges: list[tuple[str, str]]
) -> None:
    keys = make(groups, edges).keys(columns(rows))
    assert keys.rows == len(rows)
    assert keys.conflicts_between(range(len(rows))) == plainly(rows, groups, edges)
    assert (keys.sizes >= 2).all()


def test_what_each_kind_of_conflict_is() -> None:
    rows: list[Row] = [
        ("q0", "p0", []),
        ("q1", "p1", []),  # of p0's group
        ("p0", "x", []),  # p0 in another column
        ("q3", "p3", []),  # p3 may answer q4
        ("q4", "p4", ["n"]),
        ("q5", "p5", ["n"]),  # the same negative
    ]
    keys = make({"p0": 1, "p1": 1}, [("q4", "p3")]).keys(columns(rows))
    assert keys.conflicts_between(range(6)) == [(0, 1), (0, 2), (1, 2), (3, 4), (4, 5)]
    assert keys.conflicts_between([0, 3, 5]) == []
    assert (keys.degree >= [2, 2, 2, 1, 2, 1]).all()
    assert RowKeys.none(3).degree.tolist() == [0, 0, 0]


def test_a_row_is_never_in_conflict_with_itself() -> None:
    rows: list[Row] = [("q", "p", ["p", "p2", "q"]), ("q2", "p3", [])]
    keys = make({"p": 1, "p2": 1}, [("q", "p2")]).keys(columns(rows))
    assert len(keys.keys) == 0 and keys.conflicts_between([0, 1]) == []


def test_a_row_has_the_key_of_most_rows_first() -> None:
    keys = RowKeys.of(6, np.array([0, 1, 0, 2, 3, 4]), np.array([7, 7, 9, 9, 9, 9]))
    assert [keys.sizes[key] for key in keys.row(0)] == [4, 2]
    assert keys.row(5) == [] and keys.holders.tolist() == [0, 0, 1, 2, 3, 4]


def test_a_text_of_very_many_rows_and_edges_keeps_its_neighbours_apart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WIDEST_STAR", 9)
    rows: list[Row] = [*((f"a{i}", "hub", []) for i in range(4)), *((f"q{i}", f"p{i}", []) for i in range(4))]
    edges = [("q0", "hub"), ("hub", "p1"), ("q2", "hub"), ("q2", "p3")]
    keys = make(edges=edges).keys(columns(rows))
    found = set(keys.conflicts_between(range(8)))
    assert set(plainly(rows, {}, edges)) < found
    assert found - set(plainly(rows, {}, edges)) == {(4, 5), (4, 6), (5, 6)}


def test_columns_that_are_no_columns_of_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Conflicts.none().keys([pl.Series(["a"]), pl.Series(["a", "b"])])
    with pytest.raises(ValueError, match=r"not Int64: 'score'"):
        Conflicts.none().keys([pl.Series("score", [1])])
    assert Conflicts.none().keys([]).rows == 0
    assert Conflicts.none().keys([pl.Series("a", [None, None])]).conflicts_between([0, 1]) == []


def test_the_keys_are_the_same_in_every_process() -> None:
    """Each process of a distributed run makes its own, and must draw the same batches."""
    script = """
import hashlib, polars as pl
from studio.mining.conflicts import Conflicts, EDGES_SCHEMA, GROUPS_SCHEMA
groups = pl.DataFrame({"text": ["p1", "p2", "p3"], "group": [1, 1, 1]}, schema=GROUPS_SCHEMA)
edges = pl.DataFrame({"a": ["q1", "q2"], "b": ["p7", "p8"]}, schema=EDGES_SCHEMA)
columns = [pl.Series([f"q{i % 50}" for i in range(2000)]), pl.Series([f"p{i % 70}" for i in range(2000)])]
keys = Conflicts(groups, edges).keys(columns)
print(hashlib.sha256(keys.keys.tobytes() + keys.offsets.tobytes()).hexdigest())
"""
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout) == 65
