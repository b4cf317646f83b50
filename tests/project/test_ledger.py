import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import ProjectError
from studio.project.ledger import Action, Ledger, Target, from_lines, in_force, to_lines


def test_undo_and_redo_append_and_survive_reopening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = Ledger(path).append(Action.DROP, [Target("r1")], actor="person", reason="bad")
    second = Ledger(path).append(Action.KEEP, [Target("r2")], actor="person", reason="good")
    assert [d.seq for d in Ledger(path).undo()] == [second]
    assert [d.seq for d in Ledger(path).active()] == [first]
    assert [d.seq for d in Ledger(path).undo()] == [first]
    assert Ledger(path).undo() == []
    assert [d.seq for d in Ledger(path).redo()] == [first]
    assert [d.seq for d in Ledger(path).redo()] == [second]
    assert Ledger(path).redo() == []
    assert [d.seq for d in Ledger(path).active()] == [first, second]
    assert len(Ledger(path).log()) == 6


def test_a_new_decision_ends_what_can_be_redone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.append(Action.DROP, [Target("r1")], actor="person", reason="a")
    ledger.undo()
    ledger.append(Action.DROP, [Target("r2")], actor="person", reason="b")
    assert ledger.redo() == []


def test_a_decision_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def targets() -> object:
        yield Target("r1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger.append(Action.DROP, targets(), actor="person", reason="x")  # type: ignore[arg-type]
    assert ledger.log() == []
    assert ledger.targets().is_empty()


def test_a_rule_that_runs_again_replaces_its_own_decisions_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    mine = ledger.append(Action.DROP, [Target("r0")], actor="person", reason="mine")
    ledger.supersede("rule:x@1", [(Action.DROP, "a", [Target("r1")])], evidence=None)
    new = ledger.supersede("rule:x@1", [(Action.DROP, "b", [Target("r2")])], evidence=None)
    assert [d.seq for d in ledger.active()] == [mine, *new]


def test_what_a_rule_did_in_one_go_is_undone_and_redone_in_one_go(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    mine = ledger.append(Action.DROP, [Target("r0")], actor="person", reason="mine")
    ledger.supersede("rule:x@1", [(Action.DROP, "old", [Target("r9")])], evidence=None)
    steps = [(Action.REPOINT, "a", [Target("r1", "r0")]), (Action.DROP, "b", [Target("r2")])]
    made = ledger.supersede("rule:x@1", steps, evidence=None)
    assert [d.seq for d in ledger.undo()] == made
    assert [d.seq for d in ledger.active()] == [mine]
    assert [d.seq for d in ledger.redo()] == made
    assert [d.seq for d in ledger.active()] == [mine, *made]
    ledger.undo()
    assert [d.seq for d in ledger.undo()] == [mine]
    assert [d.seq for d in ledger.redo()] == [mine]
    assert [d.seq for d in ledger.redo()] == made


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ProjectError, match="damaged"):
        Ledger(path).log()


texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["drop", "keep", "undo", "redo"]), texts, st.floats(0, 1))))
def test_decisions_jsonl_carries_the_whole_ledger(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.sqlite")
    for action, text, score in steps:
        if action in ("undo", "redo"):
            ledger.undo() if action == "undo" else ledger.redo()
        else:
            targets = [Target("r1", "r2", score, text, text), Target("r3")]
            ledger.append(
                Action(action),
                targets,
                actor="person",
                reason="r",
                note=text,
                evidence=json.dumps([text], ensure_ascii=False),
            )
    log, targets = ledger.log(), ledger.targets()
    lines = list(to_lines(log, targets))
    again, targets_again = from_lines(lines)
    assert again == log
    assert targets_again.equals(targets)
    assert in_force(again) == [d for d in again if d.seq in {active.seq for active in ledger.active()}]
