"""Finding rows, against a plain loop."""

from __future__ import annotations

import operator
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.view.bench import Bench
from studio.view.facets import facets
from studio.view.find import find
from studio.view.languages import language_file
from studio.view.marks import marks, spelled
from studio.view.tokens import token_file
from studio.view.where import ORDERS, Length, Order, Where, parse
from tests.conftest import snapshot
from tests.view.test_marks import store

PHRASES = st.sampled_from(["a", "Ã", "segunda via", "(b", "x.y", "\x1b[", "ß"])
TEXTS = st.lists(PHRASES, max_size=4).map(" ".join)
MAYBE = st.sampled_from([None, "x", "y", ""])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "query": TEXTS,
            "positive": TEXTS,
            "negatives": st.lists(TEXTS, max_size=2),
            "split": MAYBE,
            "label": MAYBE,
            "group": MAYBE,
            "source": st.sampled_from(["a.jsonl:1", "a.jsonl:2", "b:c.csv:9", None]),
            "meta": st.sampled_from([None, '{"k": "A"}']),
            "score": st.sampled_from([None, 0.5, 1.0]),
        }
    ),
    min_size=1,
    max_size=8,
)
NAMES = st.frozensets(st.sampled_from(["x", "y", "", "none"]), max_size=2)
LENGTH = st.builds(
    Length,
    st.sampled_from(["query.chars", "passage.words", "query.tokens"]),
    st.sampled_from(["<", "<=", ">", ">=", "="]),
    st.integers(0, 12),
)
WHERES = st.builds(
    Where,
    text=st.one_of(st.just(""), PHRASES),
    column=st.sampled_from(["any", "query", "passage", "negatives", "source", "meta"]),
    status=st.frozensets(st.sampled_from(["kept", "removed", "edited", "moved", "decided"]), max_size=2),
    checks=st.frozensets(st.sampled_from(["pii", "pii/auto", "pii/review", "leakage"]), max_size=2),
    splits=NAMES,
    labels=NAMES,
    groups=NAMES,
    tags=NAMES,
    languages=st.frozensets(st.sampled_from(["pt", "none"]), max_size=1),
    sources=st.frozensets(st.sampled_from(["a.jsonl", "b:c.csv", "none"]), max_size=1),
    length=st.lists(LENGTH, max_size=2).map(tuple),
    marked=st.booleans(),
    rows=st.lists(st.integers(0, 9).map(lambda n: (n, n + 3)), max_size=2).map(tuple),
)
DECISIONS = st.lists(
    st.tuples(
        st.sampled_from([Action.DROP, Action.KEEP, Action.MOVE, Action.EDIT, Action.TAG, Action.UNTAG, Action.NOTE]),
        st.integers(0, 7),
        st.sampled_from(["person", "rule:auto@1"]),
    ),
    max_size=6,
)
FLAGS = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["auto", "review"])), max_size=4)


@contextmanager
def bench_of(rows: list[dict[str, Any]], decisions: Any = (), flags: Any = ()) -> Iterator[Bench]:
    """A project with rows, decisions (action, row, actor), flags of pii (row, band), tokens and languages."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "p", snapshot(rows), ProjectSettings(name="t"))
        for action, row, actor in decisions:
            value = '{"query": "edited x.y"}' if action is Action.EDIT else "x"
            target = Target(f"r{row % len(rows)}", value=value)
            project.ledger.append(action, [target], actor=actor, reason=f"because_{action.value}")
        store(project, "pii", [{"row_id": f"r{row % len(rows)}", "band": band} for row, band in flags], [])
        token_file(project).parent.mkdir(exist_ok=True)
        tokens = pl.Series(range(len(rows)), dtype=pl.UInt32)
        pl.DataFrame({"query": tokens, "positive": tokens}).write_parquet(token_file(project))
        languages = ["pt" if i % 2 else None for i in range(len(rows))]
        pl.DataFrame({"language": languages}, schema={"language": pl.String}).write_parquet(language_file(project))
        yield Bench(project.root)


def plain(bench: Bench, where: Where, marked: set[int]) -> list[int]:
    """What `find` should find, row by row."""
    active, targets = bench.project.ledger.active(), bench.project.ledger.targets()
    by_seq = dict(targets.select("seq", "row_id").iter_rows())
    people = {by_seq[d.seq] for d in active if d.by_person}
    tagged = set()
    for d in active:
        if d.action is Action.TAG:
            tagged.add(by_seq[d.seq])
        elif d.action is Action.UNTAG:
            tagged.discard(by_seq[d.seq])
    masks = marks(bench).masks.tolist()
    return [
        position
        for position, row in enumerate(bench.curated().iter_rows(named=True))
        if _holds(where, position, row, row["row_id"] in people, row["row_id"] in tagged, masks[position], marked)
    ]


def _holds(
    where: Where, position: int, row: dict[str, Any], decided: bool, tagged: bool, mask: int, marked: set[int]
) -> bool:
    def one_of(chosen: frozenset[str], *values: str | None) -> bool:
        return not chosen or bool(chosen & {"none" if value is None else value for value in values})

    texts = {"query": [row["query"]], "passage": [row["positive"]], "negatives": row["negatives"]}
    texts |= {"any": [text for some in texts.values() for text in some], "source": [row["source"]]}
    texts |= {"meta": [row["meta"]]}
    said = {value.split("/")[0] for value in spelled(mask)} | set(spelled(mask))
    sizes = {
        "query.chars": len(row["query"]),
        "passage.words": sum(any(c.isalnum() for c in word) for word in row["positive"].split()),
        "query.tokens": position,
    }
    ops: dict[str, Callable[[int, int], bool]] = {
        "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq
    }  # fmt: skip
    return (
        any(re.search(re.escape(where.text), text, re.IGNORECASE) for text in texts[where.column] if text is not None)
        or not where.text
    ) and all(
        (
            one_of(where.status, row["status"], *(["decided"] if decided else [])),
            not where.checks or bool(where.checks & said),
            one_of(where.splits, row["split"]),
            one_of(where.labels, row["label"]),
            one_of(where.groups, row["group"]),
            not where.tags or (tagged and "x" in where.tags),
            one_of(where.languages, "pt" if position % 2 else None),
            one_of(where.sources, row["source"] and row["source"].rsplit(":", 1)[0]),
            all(ops[one.op](sizes[one.column], one.number) for one in where.length),
            not where.marked or position in marked,
            not where.rows or any(first <= position <= last for first, last in where.rows),
        )
    )


@settings(deadline=None, max_examples=40)
@given(ROWS, DECISIONS, FLAGS, st.lists(WHERES, min_size=1, max_size=8), st.frozensets(st.integers(0, 7)))
def test_found_is_what_a_loop_finds(
    rows: list[dict[str, Any]], decisions: Any, flags: Any, wheres: list[Where], marked: frozenset[int]
) -> None:
    with bench_of(rows, decisions, flags) as bench:
        some = {position for position in marked if position < len(rows)}
        mask = np.array([position in some for position in range(len(rows))])
        for where in wheres:
            expected = plain(bench, where, some)
            found = find(bench, where, marked=np.array(sorted(some), dtype=np.uint32))
            assert found.positions.dtype == np.uint32
            assert found.positions.tolist() == expected and found.total == len(expected)
            assert find(bench, where, marked=mask).positions.tolist() == expected


@settings(deadline=None, max_examples=20)
@given(ROWS, DECISIONS, FLAGS)
def test_orders(rows: list[dict[str, Any]], decisions: Any, flags: Any) -> None:
    with bench_of(rows, decisions, flags) as bench:
        curated = bench.curated()
        keys: dict[str, list[Any]] = {
            "position": list(range(len(rows))),
            "query": curated["query"].to_list(),
            "passage": curated["positive"].to_list(),
            "query.chars": [len(text) for text in curated["query"]],
            "passage.chars": [len(text) for text in curated["positive"]],
            "query.tokens": list(range(len(rows))),
            "passage.tokens": list(range(len(rows))),
            "score": curated["score"].to_list(),
            "split": curated["split"].to_list(),
            "status": [["kept", "removed", "edited", "moved"].index(status) for status in curated["status"]],
            "flags": [-mask.bit_count() for mask in marks(bench).masks.tolist()],
        }
        assert set(keys) == set(ORDERS)
        for by, key in keys.items():
            for descending in (False, True):
                there = [p for p in range(len(rows)) if key[p] is not None]
                there = sorted(there, key=lambda p: _comparable(key[p]), reverse=False)
                if descending:
                    # Python's reversed sort is stable as well.
                    there = sorted(sorted(there), key=lambda p: _comparable(key[p]), reverse=True)
                expected = there + [p for p in range(len(rows)) if key[p] is None]
                assert find(bench, Where(), Order(by, descending)).positions.tolist() == expected  # type: ignore[arg-type]


def _comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


@settings(deadline=None, max_examples=25)
@given(ROWS, DECISIONS, FLAGS, WHERES)
def test_facets_count_what_is_found(rows: list[dict[str, Any]], decisions: Any, flags: Any, where: Where) -> None:
    with bench_of(rows, decisions, flags) as bench:
        for facet in facets(bench, where):
            without = where.cleared(facet.key)
            assert facet.total == find(bench, without).total
            for value in facet.values:
                assert value.count == find(bench, without.toggled(facet.key, value.value)).total, (facet.key, value)


def test_a_regex_is_searched_whatever_the_case(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("Nota 2024", "x"), ("nota", "y"), ("outra", "NOTA 7")]).root)
    assert find(bench, parse(r"/nota \d|utr/")).positions.tolist() == [0, 2]
    assert find(bench, parse(r"in:query /nota \d/")).positions.tolist() == [0]


@pytest.mark.parametrize("pattern", ["(", "a{1000}{1000}", r"(?<=x)y", r"\1", "[z-a]", "*"])
def test_a_bad_regex_is_named(make_project: Callable[..., Project], pattern: str) -> None:
    bench = Bench(make_project([("a", "b")]).root)
    with pytest.raises(UsageError) as caught:
        find(bench, Where(text=pattern, regex=True))
    assert pattern in str(caught.value.where) and caught.value.why


@pytest.mark.parametrize("text", ["query.tokens>5", "lang:pt"])
def test_what_is_not_computed_is_said(make_project: Callable[..., Project], text: str) -> None:
    bench = Bench(make_project([("a", "b")]).root)
    with pytest.raises(UsageError, match=r"not known|not been counted") as caught:
        find(bench, parse(text))
    assert caught.value.remedy


def test_order_by_tokens_needs_them(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("a", "b")]).root)
    with pytest.raises(UsageError):
        find(bench, Where(), Order("query.tokens"))


def test_no_text_breaks_the_search() -> None:
    with bench_of([{"query": "a\x00b", "positive": "\U0010ffff"}]) as bench:

        @settings(deadline=None, max_examples=300)
        @given(
            text=st.one_of(st.text(max_size=12), st.text("ab()[]{}?*+|^$\\.-,0\x00", max_size=12)), regex=st.booleans()
        )
        def search(text: str, regex: bool) -> None:
            try:
                find(bench, Where(text=text, regex=regex))
            except UsageError as error:
                assert error.remedy

        search()


def test_half_a_character_is_refused(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("a", "b")]).root)
    for where in (Where(text="\ud800"), Where(splits=frozenset({"\udfff"}))):
        with pytest.raises(UsageError):
            find(bench, where)


def test_texts_and_words_are_those_of_the_curated_view(make_project: Callable[..., Project]) -> None:
    project = make_project([("um dois", "a"), ("tres", "b")])
    bench = Bench(project.root)
    assert find(bench, parse("query.words>1")).positions.tolist() == [0]
    assert find(bench, parse("novo")).total == 0
    project.ledger.append(
        Action.EDIT, [Target("r1", value='{"query": "um novo texto"}')], actor="person", reason="edited"
    )
    assert find(bench, parse("query.words>1")).positions.tolist() == [0, 1]
    assert find(bench, parse("query.words=3")).positions.tolist() == [1]
    assert find(bench, parse("NOVO")).positions.tolist() == [1]
    project.ledger.undo()
    assert find(bench, parse("query.words>1")).positions.tolist() == [0]
