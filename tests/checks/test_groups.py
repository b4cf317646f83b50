import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.checks.base import Setting
from studio.checks.groups import Groups
from studio.project.evidence import EDGES_SCHEMA, FLAGS_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from tests.conftest import snapshot


def near(*pairs: tuple[int, int], band: str = "auto") -> Evidence:
    records = [{"a_id": f"r{a}", "b_id": f"r{b}", "band": band, "score": 0.9, "evidence": "{}"} for a, b in pairs]
    return Evidence(edges=pl.DataFrame(records, schema=EDGES_SCHEMA))


def run(
    rows: Sequence[dict[str, Any] | tuple[str, str]], queries: Evidence | None = None, passages: Evidence | None = None
) -> Evidence:
    item = Groups(Groups.config_type(), Setting(ProjectSettings(name="t")))
    item.needed = {"near_duplicates": passages or Evidence(), "near_queries": queries or Evidence()}
    return item.run(snapshot(rows))


def flags(evidence: Evidence, reason: str) -> dict[str, tuple[str, int, int]]:
    """By row: the first row of the group, its rows, and how many distinct ones."""
    found = evidence.flags.filter(pl.col("reason") == reason)
    details = {row_id: json.loads(text) for row_id, text in found.select("row_id", "evidence").iter_rows()}
    return {row_id: (one["first"], one["rows"], one["distinct"]) for row_id, one in details.items()}


def test_a_query_with_several_passages() -> None:
    found = run(
        [("Qual o prazo?", "dez dias"), ("qual o prazo", "um mês"), ("qual o prazo", "Dez dias."), ("e?", "sim")]
    )
    assert flags(found, "several_positives") == {f"r{i}": ("r0", 3, 2) for i in range(3)}
    assert flags(found, "several_queries") == {}


def test_a_passage_with_several_queries() -> None:
    found = run(
        [("a?", "outra"), ("qual o prazo", "Dez dias"), ("quanto tempo", "dez dias."), ("quanto tempo?", "dez dias")]
    )
    assert flags(found, "several_queries") == {f"r{i}": ("r1", 3, 2) for i in (1, 2, 3)}
    assert flags(found, "several_positives") == {}


def test_the_same_pair_again_is_an_answer_group_and_nothing_else() -> None:
    found = run([("qual o prazo", "dez dias"), ("Qual o prazo?", "Dez dias.")])
    assert found.flags["reason"].to_list() == ["answer_group"] * 2


def test_passages_of_one_source() -> None:
    rows = [
        {"query": f"q{i}", "positive": text, "group": group}
        for i, (text, group) in enumerate(
            [("um", "doc1"), ("dois", "doc1"), ("três", None), ("quatro", None), ("um", "doc2")]
        )
    ]
    assert flags(run(rows), "same_source") == {"r0": ("r0", 2, 2), "r1": ("r0", 2, 2)}
    same = [{"query": f"q{i}", "positive": "Um!" if i else "um", "group": "d"} for i in range(2)]
    assert flags(run(same), "same_source") == {}


def test_answer_groups_join_through_queries_passages_and_near_edges() -> None:
    rows = [("a", "1"), ("a", "2"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "4"), ("f", "6"), ("g", "7")]
    assert flags(run(rows), "answer_group") == {
        **{f"r{i}": ("r0", 3, 3) for i in range(3)},
        **{f"r{i}": ("r4", 2, 2) for i in (4, 5)},
    }
    joined = run(rows, queries=near((2, 3)), passages=near((3, 4), (7, 6)))
    assert flags(joined, "answer_group") == {
        **{f"r{i}": ("r0", 6, 6) for i in range(6)},
        **{f"r{i}": ("r6", 2, 2) for i in (6, 7)},
    }
    assert joined.stats == {"answer_groups": 2, "rows_in_largest": 6}


@pytest.mark.parametrize("band", ["review", "ignore"])
def test_what_is_not_certain_joins_nothing(band: str) -> None:
    found = run([("a", "1"), ("b", "2")], queries=near((0, 1), band=band), passages=near((0, 1), band=band))
    assert found.flags.is_empty()
    assert found.stats == {"answer_groups": 2, "rows_in_largest": 1}


def test_nothing_is_wrong_with_a_group() -> None:
    rows = [{"query": q, "positive": p, "group": "g"} for q, p in [("a", "1"), ("a", "2"), ("b", "2")]]
    found = run(rows).flags
    assert set(found["band"]) == {"ignore"}
    assert set(found["reason"]) == {"several_positives", "several_queries", "same_source", "answer_group"}


def test_queries_of_marks_alone_join_nothing() -> None:
    assert run([("?", "O prazo é de dez dias"), ("...", "Recife fica em Pernambuco")]).flags.is_empty()


letters = st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.sampled_from(["g", "h", None]))
pairs_of_rows = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3)


def groups_by_hand(keys: list[Any], others: list[Any]) -> dict[str, tuple[str, int, int]]:
    found = {}
    for i, key in enumerate(keys):
        members = [j for j, other in enumerate(keys) if other == key and key is not None]
        distinct = {others[j] for j in members}
        if len(distinct) > 1:
            found[f"r{i}"] = (f"r{members[0]}", len(members), len(distinct))
    return found


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(letters, max_size=10), queries=pairs_of_rows, passages=pairs_of_rows)
def test_flags_are_those_of_a_plain_loop(
    rows: list[tuple[str, str, str | None]], queries: list[tuple[int, int]], passages: list[tuple[int, int]]
) -> None:
    queries, passages = ([(a, b) for a, b in part if max(a, b) < len(rows)] for part in (queries, passages))
    found = run([{"query": q, "positive": p, "group": g} for q, p, g in rows], near(*queries), near(*passages))
    asked, answers, sources = ([row[k] for row in rows] for k in range(3))
    assert flags(found, "several_positives") == groups_by_hand(asked, answers)
    assert flags(found, "several_queries") == groups_by_hand(answers, asked)
    assert flags(found, "same_source") == groups_by_hand(sources, answers)
    label = list(range(len(rows)))
    links = [(i, j) for i in label for j in label if asked[i] == asked[j] or answers[i] == answers[j]]
    for _ in rows:
        for a, b in [*links, *queries, *passages]:
            label[a] = label[b] = min(label[a], label[b])
    assert flags(found, "answer_group") == groups_by_hand(label, list(range(len(rows))))


HOSTILE = ["", " ", "\n" * 99, "x" * 200_000, "\x00\x01\x1c 7", '"}{\\ 3', "\u0301"]


@pytest.mark.parametrize(
    "rows", [[], [("uma", "só")], [(text, text) for text in HOSTILE], [(t, u) for t in HOSTILE for u in HOSTILE]]
)
def test_it_is_pure_and_hostile_texts_do_no_harm(rows: list[tuple[str, str]]) -> None:
    one, other = run(rows), run(rows)
    assert one.flags.equals(other.flags) and one.stats == other.stats
    assert one.flags.schema == FLAGS_SCHEMA
    assert all(isinstance(json.loads(text), dict) for text in one.flags["evidence"])
    assert json.loads(json.dumps(one.stats)) == one.stats
