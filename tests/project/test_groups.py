import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.project.groups import Links, components, first_of, joined_by, joined_by_edges


def links(*pairs: tuple[int, int]) -> Links:
    one, other = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(one, np.int64), np.array(other, np.int64)


def union_find(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """For each node the smallest one it is joined to."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(node) for node in range(count)]


graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=6), min_size=1)
    )
)


@settings(deadline=None, max_examples=200)
@given(graph=graphs)
def test_components_are_those_of_union_find(graph: tuple[int, list[list[tuple[int, int]]]]) -> None:
    count, parts = graph
    numbers = components(count, [links(*part) for part in parts])
    assert first_of(numbers).tolist() == union_find(count, [pair for part in parts for pair in part])
    assert sorted(set(numbers.tolist())) == list(range(len(set(numbers.tolist()))))


def test_nodes_without_links_stand_alone() -> None:
    assert first_of(components(3, [links()])).tolist() == [0, 1, 2]
    assert first_of(components(4, [links((3, 1)), links()])).tolist() == [0, 1, 2, 1]


def test_links_may_come_one_by_one() -> None:
    assert first_of(components(3, (part for part in [links((0, 1)), links((1, 2))]))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("times", [2, 128, 256, 512])
def test_a_link_said_many_times_is_one_link(times: int) -> None:
    assert first_of(components(3, [links(*[(0, 2)] * times)])).tolist() == [0, 1, 0]


def test_no_nodes_make_no_components() -> None:
    assert components(0, [links()]).tolist() == []
    assert first_of(components(0, [links()])).tolist() == []


def test_no_links_at_all_leave_every_node_alone() -> None:
    assert first_of(components(2, [])).tolist() == [0, 1]


def test_nulls_join_nothing_and_equal_values_join_to_the_first() -> None:
    one, other = joined_by(pl.Series(["a", None, "b", "a", None, "a", ""]))
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [(0, 0), (2, 2), (3, 0), (5, 0), (6, 6)]


@settings(deadline=None, max_examples=100)
@given(values=st.lists(st.sampled_from(["a", "b", "A", "", None]), max_size=12))
def test_joined_by_joins_what_is_equal(values: list[str | None]) -> None:
    first = first_of(components(len(values), [joined_by(pl.Series(values, dtype=pl.String))])).tolist()
    assert first == [i if value is None else values.index(value) for i, value in enumerate(values)]


@pytest.mark.parametrize("values", [[], [None, None]])
def test_nothing_and_only_nulls_join_nothing(values: list[None]) -> None:
    one, other = joined_by(pl.Series(values, dtype=pl.String))
    assert (one.tolist(), other.tolist()) == ([], [])
    assert one.dtype == other.dtype == np.int64


def test_edges_join_rows_by_their_ids_in_the_order_of_the_edges() -> None:
    ids = pl.Series(["x9", "x1", "x5"])
    edges = pl.DataFrame({"a_id": ["x5", "x9", "x5"], "b_id": ["x1", "x5", "x1"], "score": [1.0, 0.5, 0.2]})
    one, other = joined_by_edges(ids, edges)
    assert (one.tolist(), other.tolist()) == ([2, 0, 2], [1, 2, 1])
    none = joined_by_edges(ids, edges.head(0))
    assert [part.tolist() for part in none] == [[], []]


def test_all_ways_of_joining_work_together() -> None:
    queries = pl.Series(["q", "q", None, "z", None])
    passages = pl.Series([None, "p", "p", None, None])
    edges = pl.DataFrame({"a_id": ["r3"], "b_id": ["r2"]})
    ids = pl.Series([f"r{i}" for i in range(5)])
    found = components(5, [joined_by(queries), joined_by(passages), joined_by_edges(ids, edges)])
    assert first_of(found).tolist() == [0, 0, 0, 0, 4]


@settings(deadline=None, max_examples=100)
@given(numbers=st.lists(st.integers(0, 5), max_size=15))
def test_first_of_names_the_first_row_of_each_number(numbers: list[int]) -> None:
    assert first_of(np.array(numbers, np.int64)).tolist() == [numbers.index(number) for number in numbers]
