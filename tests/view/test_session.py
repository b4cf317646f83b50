"""A session: rows as they stand, decisions at once, and what the engine says of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.errors import UnavailableError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rows import RowFile
from studio.view.bench import Bench
from studio.view.session import EDITED, KEPT, MOVED, REMOVED, Session, Step, edit_value
from studio.view.states import changed


def _session(project: Project, **options: bool) -> Session:
    return Session(project, RowFile.of(project), **options)


def _caught_up(session: Session) -> Session:
    session.apply(changed(Bench(session.project.root)))
    return session


def test_a_decision_shows_at_once_and_stays_when_the_engine_has_caught_up(make_project: Callable[..., Project]) -> None:
    session = _session(make_project([("a", "p"), ("b", "p2"), ("c", "p3")]))
    steps = [Step(Action.DROP, [1], "dropped by hand")]
    session.expect(steps)
    assert (session.status.tolist(), session.kept) == ([KEPT, REMOVED, KEPT], 2)
    session.decide(steps)
    _caught_up(session)
    assert (session.status.tolist(), session.kept, session.undo_steps) == ([KEPT, REMOVED, KEPT], 2, 1)
    assert session.shown([1])[0].by_person


def test_an_answer_from_before_the_latest_decision_is_not_taken(make_project: Callable[..., Project]) -> None:
    session = _session(make_project([("a", "p"), ("b", "p2")]))
    early = changed(Bench(session.project.root))
    steps = [Step(Action.DROP, [0], "x")]
    session.expect(steps)
    session.decide(steps)
    session.apply(early)
    assert session.status[0] == REMOVED


def test_several_decisions_of_one_step_are_undone_together(make_project: Callable[..., Project]) -> None:
    session = _session(make_project([("a", "p"), ("b", "p2"), ("c", "p3")]))
    session.decide([Step(Action.KEEP, [2], "first")])
    session.decide([Step(Action.REPOINT, [1], "near", keeper=0), Step(Action.DROP, [2], "same")])
    _caught_up(session)
    assert session.status.tolist() == [KEPT, MOVED, REMOVED]
    assert session.shown([1])[0].positive == "p"
    assert session.undo_steps == 2
    assert [decision.action for decision in session.undo()] == [Action.REPOINT, Action.DROP]
    _caught_up(session)
    assert (session.status.tolist(), session.undo_steps, session.redo_steps) == ([KEPT, KEPT, KEPT], 1, 1)
    assert len(session.redo()) == 2
    assert _caught_up(session).status.tolist() == [KEPT, MOVED, REMOVED]


def test_edits_tags_and_notes_are_shown(make_project: Callable[..., Project]) -> None:
    session = _session(make_project([("a", "p"), ("b", "p2")]))
    session.decide([Step(Action.EDIT, [0], "edited by hand", edit_value({"query": "novo"}))])
    session.decide([Step(Action.TAG, [0, 1], "tagged", "ver")])
    session.decide([Step(Action.UNTAG, [1], "untagged", "ver")])
    session.decide([Step(Action.NOTE, [1], "note", "olhar")])
    first, second = _caught_up(session).shown([0, 1])
    assert (first.query, first.status, first.tags) == ("novo", EDITED, ("ver",))
    assert (second.tags, second.notes, second.by_person) == ((), ("olhar",), False)


def test_a_read_only_session_decides_nothing(make_project: Callable[..., Project]) -> None:
    session = _session(make_project([("a", "p")]), read_only=True)
    for attempt in (lambda: session.decide([Step(Action.DROP, [0], "x")]), session.undo, session.redo):
        with pytest.raises(UnavailableError, match="read-only"):
            attempt()
    assert session.project.ledger.log() == []


def test_what_another_process_decides_is_noticed_once_and_own_decisions_are_not(
    make_project: Callable[..., Project],
) -> None:
    session = _caught_up(_session(make_project([("a", "p"), ("b", "p2")])))
    assert not session.behind()
    session.decide([Step(Action.DROP, [0], "x")])
    session.undo()
    session.redo()
    assert not session.behind()
    # Looking is no writing.
    _caught_up(session)
    assert not session.behind()
    other = Project.open(session.project.root)
    with other.locked():
        other.ledger.append_step([(Action.TAG, "there", [Target(session.row_id(1), value="ver")])], actor="person")
    assert session.behind() and not session.behind()
    assert _caught_up(session).undo_steps == 2 and not session.behind()


_STEP = st.tuples(st.sampled_from([Action.KEEP, Action.DROP, Action.EDIT]), st.integers(0, 3))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_STEP, min_size=1, max_size=6))
def test_what_is_expected_is_what_comes(make_project: Callable[..., Project], asked: list[tuple[Action, int]]) -> None:
    project = make_project([("a", "p"), ("b", "p2"), ("c", "p3"), ("d", "p4")])
    while project.ledger.undo():
        pass
    session = _caught_up(_session(project))
    for number, (action, position) in enumerate(asked):
        value = json.dumps({"query": f"texto {number}"}) if action is Action.EDIT else None
        step = Step(action, [position], "x", value)
        session.expect([step])
        session.decide([step])
    expected = session.kept, [shown.query for shown in session.shown(range(4))]
    removed = [status == REMOVED for status in session.status]
    _caught_up(session)
    assert (session.kept, [shown.query for shown in session.shown(range(4))]) == expected
    assert [status == REMOVED for status in session.status] == removed
