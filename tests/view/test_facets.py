"""Facets: what is listed (that the counts are right is tested with `find`)."""

from __future__ import annotations

from collections.abc import Callable

from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.view.bench import Bench
from studio.view.facets import SHOWN, facets
from studio.view.where import Where, parse


def test_a_long_facet_says_how_much_it_lists_and_lists_what_is_chosen(make_project: Callable[..., Project]) -> None:
    rows = [{"query": f"q{i}", "positive": "p", "group": f"g{min(i, 60):02}"} for i in range(64)]
    bench = Bench(make_project(rows).root)
    by_key = {facet.key: facet for facet in facets(bench, parse("group:g59,absent"))}
    group = by_key["group"]
    assert group.note == "50 of 61" and len(group.values) == SHOWN + 2
    assert (group.values[0].value, group.values[0].count) == ("g60", 4)
    assert [(one.value, one.count) for one in group.values[-2:]] == [("absent", 0), ("g59", 1)]
    assert group.total == 64 and by_key["split"].total == 1


def test_only_what_the_project_has(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b")])
    bench = Bench(project.root)
    keys = ["split", "status", "reason", "check", "query.chars", "passage.chars", "source"]
    assert [facet.key for facet in facets(bench, Where())] == keys
    project.ledger.append(Action.TAG, [Target("r0", value="\x1b[31mred")], actor="person", reason="tag")
    tag = facets(bench, Where())[-1]
    assert (tag.key, tag.values[0].label) == ("tag", "⟨U+001B⟩[31mred")


def test_lengths_are_in_buckets(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("x" * n, "p") for n in (0, 20, 21, 50, 10_000, 10_001)]).root)
    query = next(facet for facet in facets(bench, Where()) if facet.key == "query.chars")
    assert [(one.label, one.count) for one in query.values] == [
        ("0–20", 2), ("21–50", 2), ("5,001–10,000", 1), ("10,001 and more", 1)
    ]  # fmt: skip
