from collections.abc import Callable

import pytest

from studio.checks.base import configured, run_checks
from studio.errors import UsageError
from studio.project.explaining import explain
from studio.project.project import Project
from studio.project.rules import apply_auto
from tests.checks.test_near_duplicates import LONG

ROWS = [("Como pago?", LONG), ("como pago", LONG.replace("senha", "snha")), ("Prazo de 2023?", "São dez dias.")]


def test_a_row_is_explained_before_and_after_the_rule(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    before = explain(project, "r1")
    assert before["outcome"]["status"] == "kept"
    assert [(step["action"], step["reason"], step["keeper_id"]) for step in before["would"]] == [
        ("repoint", "near_duplicate_passage", "r0"),
        ("drop", "near_duplicate_pair", "r0"),
    ]
    edges = {(edge["check"], edge["other"]["row_id"], edge["band"]) for edge in before["edges"]}
    assert ("near_duplicates", "r0", "auto") in edges
    assert ("exact_duplicates", "r0", "ignore") in edges
    apply_auto(project)
    after = explain(project, "2")
    assert (after["outcome"]["status"], after["outcome"]["keeper_id"]) == ("removed", "r0")
    assert [decision["actor"] for decision in after["decisions"]] == ["rule:auto@1"] * 2


def test_flags_carry_their_evidence(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    flags = {flag["reason"]: flag["evidence"] for flag in explain(project, "r2")["flags"]}
    assert flags["passage_too_short"]["words"] == 3


def test_a_row_speaks_through_the_first_row_with_its_text(make_project: Callable[..., Project]) -> None:
    project = make_project([*ROWS, ("Outra pergunta sobre isso?", LONG)])
    run_checks(project, configured(project.settings))
    edges = {(edge["check"], edge["other"]["row_id"], edge["through"]) for edge in explain(project, "r3")["edges"]}
    assert ("near_duplicates", "r1", "r0") in edges
    assert not any(other == "r3" for _, other, _ in edges)


@pytest.mark.parametrize("name", ["0", "4", "r9", "-1", "x"])
def test_a_row_that_is_not_there_is_named(make_project: Callable[..., Project], name: str) -> None:
    with pytest.raises(UsageError, match=f"no row `{name}`"):
        explain(make_project(ROWS), name)
