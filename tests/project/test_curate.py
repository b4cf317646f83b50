import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from studio.project.curate import Status, resolve
from studio.project.ledger import TARGETS_SCHEMA, Action, Decision
from tests.conftest import snapshot

ROWS = [("como pagar", "no banco"), ("onde pagar", "no banco "), ("qual prazo", "dez dias"), ("prazo?", "10 dias")]


def ledger(*steps: tuple[Action, str, dict[str, dict[str, object]]]) -> tuple[list[Decision], pl.DataFrame]:
    """Steps as (action, actor, {row_id: target fields})."""
    log, targets = [], []
    for seq, (action, actor, rows) in enumerate(steps, 1):
        undo_of = rows.pop("undo_of", None)
        log.append(Decision(seq, "t", actor, action, f"{action}-reason", None, None, undo_of, len(rows)))
        targets += [{"seq": seq, "row_id": row_id, **fields} for row_id, fields in rows.items()]
    return log, pl.DataFrame(targets, schema=TARGETS_SCHEMA)


def outcome(*steps: tuple[Action, str, dict[str, dict[str, object]]], rows: object = ROWS) -> dict[str, dict]:
    curated = resolve(snapshot(rows), *ledger(*steps))
    return {row["row_id"]: row for row in curated.rows.iter_rows(named=True)}


def test_without_decisions_every_row_is_kept_as_it_was() -> None:
    rows = resolve(snapshot(ROWS), *ledger()).rows
    assert rows["status"].unique().to_list() == [Status.KEPT]
    assert rows["positive"].to_list() == [positive for _, positive in ROWS]


def test_a_dropped_row_names_its_keeper_its_score_and_its_rule() -> None:
    row = outcome((Action.DROP, "rule:x@1", {"r1": {"keeper_id": "r0", "score": 0.9}}))["r1"]
    assert (row["status"], row["keeper_id"], row["keeper_score"], row["rule"]) == ("removed", "r0", 0.9, "rule:x@1")
    assert (row["reason"], row["decision_id"]) == ("drop-reason", 1)


def test_repointing_gives_the_keepers_text_and_keeps_the_query() -> None:
    rows = outcome((Action.REPOINT, "rule:x@1", {"r1": {"keeper_id": "r0"}}))
    assert (rows["r1"]["query"], rows["r1"]["positive"], rows["r1"]["status"]) == ("onde pagar", "no banco", "moved")
    assert rows["r0"]["cluster_id"] == rows["r1"]["cluster_id"] == "r0"


def test_repointing_follows_chains_and_edits_and_survives_cycles() -> None:
    chain = (Action.REPOINT, "rule:x@1", {"r1": {"keeper_id": "r2"}, "r2": {"keeper_id": "r3"}})
    edit = (Action.EDIT, "person", {"r3": {"value": json.dumps({"positive": "novo"})}})
    assert outcome(chain, edit)["r1"]["positive"] == "novo"
    cycle = (Action.REPOINT, "rule:x@1", {"r1": {"keeper_id": "r2"}, "r2": {"keeper_id": "r1"}})
    assert outcome(cycle)["r1"]["positive"] == "no banco "


def test_a_person_wins_over_a_rule_before_and_after() -> None:
    keep = (Action.KEEP, "person", {"r1": {}})
    drop = (Action.DROP, "rule:x@1", {"r1": {"keeper_id": "r0"}})
    move = (Action.REPOINT, "rule:x@1", {"r1": {"keeper_id": "r0"}})
    for steps in ((keep, drop, move), (drop, move, keep)):
        row = outcome(*[(a, b, dict(c)) for a, b, c in steps])["r1"]
        assert (row["status"], row["positive"]) == ("kept", "no banco ")


def test_undone_decisions_do_not_count_until_redone() -> None:
    drop = (Action.DROP, "person", {"r1": {}})
    undo = (Action.UNDO, "person", {"undo_of": 1})
    redo = (Action.REDO, "person", {"undo_of": 1})
    assert outcome(drop, dict_copy(undo))["r1"]["status"] == "kept"
    assert outcome(drop, dict_copy(undo), dict_copy(redo))["r1"]["status"] == "removed"


def test_what_a_rule_removed_comes_back_when_a_person_drops_its_keeper() -> None:
    drop = (Action.DROP, "rule:x@1", {"r1": {"keeper_id": "r0"}})
    move = (Action.REPOINT, "rule:x@1", {"r2": {"keeper_id": "r0"}})
    by_hand = (Action.DROP, "person", {"r0": {}})
    rows = outcome(*map(dict_copy, (drop, move, by_hand)))
    assert [rows[f"r{i}"]["status"] for i in range(3)] == ["removed", "kept", "kept"]
    assert rows["r2"]["positive"] == "dez dias"
    kept_again = (Action.KEEP, "person", {"r0": {}})
    rows = outcome(*map(dict_copy, (drop, move, by_hand, kept_again)))
    assert [rows[f"r{i}"]["status"] for i in range(3)] == ["kept", "removed", "moved"]


def test_a_persons_repointing_or_edit_wins_over_a_rules_drop() -> None:
    drop = (Action.DROP, "rule:x@1", {"r1": {"keeper_id": "r0"}})
    move = (Action.REPOINT, "person", {"r1": {"keeper_id": "r2"}})
    edit = (Action.EDIT, "person", {"r1": {"value": json.dumps({"query": "nova"})}})
    assert outcome(*map(dict_copy, (drop, move)))["r1"]["positive"] == "dez dias"
    assert outcome(*map(dict_copy, (drop, move)))["r1"]["status"] == "moved"
    assert outcome(*map(dict_copy, (edit, drop)))["r1"]["status"] == "edited"


def dict_copy(step: tuple[Action, str, dict]) -> tuple[Action, str, dict]:
    return step[0], step[1], dict(step[2])


def test_negatives_follow_a_repointed_passage_and_never_equal_the_positive() -> None:
    rows = [
        {"query": "a", "positive": "texto um"},
        {"query": "b", "positive": "texto  um"},
        {"query": "c", "positive": "outro", "negatives": ["texto  um", "livre"]},
        {"query": "d", "positive": "texto um", "negatives": ["texto  um", "livre"]},
    ]
    rows_out = outcome((Action.REPOINT, "rule:x@1", {"r1": {"keeper_id": "r0"}}), rows=rows)
    assert rows_out["r2"]["negatives"] == ["texto um", "livre"]
    assert rows_out["r3"]["negatives"] == ["livre"]


def test_edits_apply_field_by_field_and_moves_change_the_split() -> None:
    rows = outcome(
        (Action.EDIT, "person", {"r0": {"value": json.dumps({"query": "x"})}}),
        (Action.EDIT, "person", {"r0": {"value": json.dumps({"positive": "y"})}}),
        (Action.MOVE, "person", {"r2": {"value": "test"}}),
    )
    assert (rows["r0"]["query"], rows["r0"]["positive"], rows["r0"]["status"]) == ("x", "y", "edited")
    assert (rows["r2"]["split"], rows["r2"]["status"]) == ("test", "moved")


def test_answer_groups_join_same_queries_same_passages_and_named_groups() -> None:
    rows = [("Q1", "p1"), ("q1 ", "p2"), ("q3", "P2."), ("q4", "p4"), ("q5", "p5")]
    groups = outcome((Action.GROUP, "person", {"r3": {"value": "g"}, "r4": {"value": "g"}}), rows=rows)
    assert [groups[f"r{i}"]["group_id"] for i in range(5)] == ["r0", "r0", "r0", "r3", "r3"]


actions = st.sampled_from([Action.KEEP, Action.DROP, Action.REPOINT])
ids = st.sampled_from([f"r{i}" for i in range(4)])


@given(st.lists(st.tuples(actions, st.sampled_from(["person", "rule:x@1"]), ids, ids), max_size=8))
def test_replay_is_pure_and_every_row_has_exactly_one_line(steps: list) -> None:
    def made() -> tuple[list[Decision], pl.DataFrame]:
        return ledger(*((action, actor, {row: {"keeper_id": keeper}}) for action, actor, row, keeper in steps))

    first, second = resolve(snapshot(ROWS), *made()).rows, resolve(snapshot(ROWS), *made()).rows
    assert first.equals(second)
    assert first["row_id"].to_list() == ["r0", "r1", "r2", "r3"]
    assert set(first["positive"]) <= {positive for _, positive in ROWS}
    assert first["query"].to_list() == [query for query, _ in ROWS]
