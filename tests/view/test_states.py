"""What differs from the import."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.view.bench import Bench
from studio.view.states import TOUCHED_SCHEMA, changed, decided, tags


def test_nothing_decided(make_project: Callable[..., Project]) -> None:
    now = changed(Bench(make_project([("a", "b"), ("c", "d")]).root))
    assert now.touched.is_empty() and now.touched.schema == TOUCHED_SCHEMA
    assert now.status.tolist() == [0, 0] and now.status.dtype == np.uint8
    assert (now.kept, now.undo_steps, now.redo_steps, now.last_seq) == (2, 0, 0, 0)


def test_each_decision_shows(make_project: Callable[..., Project]) -> None:
    project = make_project([(f"q{i}", f"p{i}") for i in range(7)])
    bench, ledger = Bench(project.root), project.ledger
    ledger.append(Action.DROP, [Target("r1", keeper_id="r0")], actor="rule:auto@1", reason="duplicate_pair")
    ledger.append(Action.EDIT, [Target("r2", value='{"query": "new"}')], actor="person", reason="edited")
    ledger.append(Action.MOVE, [Target("r3", value="test")], actor="person", reason="moved")
    ledger.append(Action.KEEP, [Target("r4")], actor="person", reason="kept")
    ledger.append(Action.TAG, [Target("r5", value="x"), Target("r2", value="x")], actor="person", reason="tag")
    ledger.append(Action.NOTE, [Target("r5", value="one")], actor="person", reason="note")
    ledger.append(Action.NOTE, [Target("r5", value="two")], actor="person", reason="note")
    now = changed(bench)
    assert now.touched["position"].to_list() == [1, 2, 3, 4, 5]
    assert now.status.tolist() == [0, 1, 2, 3, 0, 0, 0]
    assert now.touched["tags"].to_list() == [[], ["x"], [], [], ["x"]]
    assert now.touched["notes"].to_list() == [[], [], [], [], ["one", "two"]]
    assert now.touched["query"].to_list()[1] == "new" and now.touched["split"].to_list()[2] == "test"
    assert now.touched.row(0, named=True)["keeper_id"] == "r0"
    assert now.touched.row(0, named=True)["rule"] == "rule:auto@1"
    assert (now.kept, now.last_seq, now.undo_steps, now.redo_steps) == (6, 7, 7, 0)
    assert decided(bench).tolist() == [False, False, True, True, True, True, False]
    ledger.undo()
    now = changed(bench)
    assert now.touched["notes"].to_list()[-1] == ["one"]
    assert (now.undo_steps, now.redo_steps, now.last_seq) == (6, 1, 8)


def test_a_tag_taken_away_and_given_again(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b")])
    bench = Bench(project.root)
    for action in (Action.TAG, Action.UNTAG):
        project.ledger.append(action, [Target("r0", value="x")], actor="person", reason="tag")
    assert tags(bench).is_empty() and changed(bench).touched["tags"].to_list() == [[]]
    project.ledger.undo()
    assert tags(bench)["tag"].to_list() == ["x"]


def test_a_negative_that_follows_a_repointed_passage_shows(make_project: Callable[..., Project]) -> None:
    rows = [
        {"query": "a", "positive": "keeper"},
        {"query": "b", "positive": "copy"},
        {"query": "c", "positive": "d", "negatives": ["copy"]},
    ]
    project = make_project(rows)
    project.ledger.append(Action.REPOINT, [Target("r1", keeper_id="r0")], actor="rule:auto@1", reason="near")
    touched = changed(Bench(project.root)).touched
    assert touched["position"].to_list() == [1, 2]
    assert touched["negatives"].to_list()[1] == ["keeper"]
    assert touched["status"].to_list() == ["moved", "kept"]
