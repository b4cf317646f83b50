import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import studio.checks
from studio.cleaning import check_project
from studio.errors import UsageError
from studio.project.explaining import explain
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.prompts.prompted import PromptReason
from studio.text.guard import Difference
from studio.text.pii import Kind
from studio.view import evidence as view
from studio.view.bench import Bench
from studio.view.evidence import in_words, row_evidence
from tests.view.test_clusters import ROWS

MakeProject = Callable[..., Project]


@pytest.fixture
def bench(make_project: MakeProject) -> Bench:
    project = make_project([*ROWS, {"query": "leve 5", "positive": "a@b.com", "split": "test"}])
    check_project(project)
    with project.locked():
        apply_auto(project)
    project.ledger.append(Action.KEEP, [Target("r5")], actor="person", reason="seen", note="uma nota")
    return Bench(project.root)


def own_edges(bench: Bench, row_id: str) -> set[tuple[str, str, int, str]]:
    """Edges of the row itself, of checks that compare rows."""
    return {
        (name, edge["role"], bench.rows["row_id"].to_list().index(other), edge["band"])
        for name, stored in bench.evidence().items()
        if name not in view.TEXT_CHECKS
        for edge in stored.evidence.edges.iter_rows(named=True)
        for mine, other in ((edge["a_id"], edge["b_id"]), (edge["b_id"], edge["a_id"]))
        if mine == row_id
    }


def test_it_is_what_explain_says(bench: Bench) -> None:
    for position in range(bench.rows.height):
        found, known = row_evidence(bench, position), explain(bench.project, str(position + 1))
        assert found.row_id == known["row"]["row_id"] and found.source == known["row"]["source"]
        assert [(f.check, f.reason, f.score, f.band, f.evidence) for f in found.flags] == [
            (f["check"], f["reason"], f["score"], f["band"], f["evidence"]) for f in known["flags"]
        ]
        here = {(e.check, e.role, e.other.position, e.band) for e in found.edges}
        told = {(e["check"], e["role"], e["other"]["number"] - 1, e["band"]) for e in known["edges"]}
        assert {edge for edge in told if edge[0] in view.TEXT_CHECKS} <= here
        assert {edge for edge in here if edge[0] not in view.TEXT_CHECKS} == own_edges(bench, found.row_id)
        assert [(d.seq, d.actor, d.action, d.reason) for d in found.decisions] == [
            (d["seq"], d["actor"], d["action"], d["reason"]) for d in known["decisions"]
        ]


def test_a_row_speaks_through_the_first_row_with_an_equal_text(bench: Bench) -> None:
    edges = {(edge.check, edge.other.position): edge for edge in row_evidence(bench, 3).edges}
    edge = edges["near_duplicates", 4]
    assert edge.through == 0
    assert (edge.held, edge.difference, edge.only_here, edge.only_there) == (
        "numbers differ",
        "numbers",
        ("257",),
        ("314",),
    )
    other = {(edge.check, edge.other.position): edge for edge in row_evidence(bench, 4).edges}["near_duplicates", 0]
    assert (other.through, other.only_here, other.only_there) == (None, ("314",), ("257",))


def test_decisions_and_answer_groups(bench: Bench) -> None:
    found = row_evidence(bench, 5)
    last = found.decisions[-1]
    assert (last.actor, last.action, last.note, last.keeper) == ("person", "keep", "uma nota", None)
    repointed = row_evidence(bench, 1)
    assert [(decision.action, decision.keeper) for decision in repointed.decisions] == [("repoint", 0)]
    assert set(repointed.answers_with) >= {0, 2, 3} and repointed.answers_with_count == len(repointed.answers_with)
    assert row_evidence(bench, 10).answers_with == ()
    bench.project.ledger.append(Action.DROP, [Target("r10")], actor="person", reason="seen")
    assert [decision.action for decision in row_evidence(bench, 10).decisions] == ["drop"]


def test_long_texts_and_many_edges_are_cut(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ROWS[0]["positive"] * 4
    project = make_project([(f"pergunta {i}", text) for i in range(8)])
    check_project(project, ["exact_duplicates"])
    monkeypatch.setattr(view, "_EDGES", 3)
    found = row_evidence(Bench(project.root), 0)
    assert (len(found.edges), found.edge_count) == (3, 7)
    assert len(found.edges[0].other.positive) == view.EXCERPT < len(text)
    assert found.answers_with == tuple(range(1, 8))


@pytest.mark.parametrize("position", [-1, 12])
def test_a_row_that_is_not_there(bench: Bench, position: int) -> None:
    with pytest.raises(UsageError, match="no row"):
        row_evidence(bench, position)


def codes() -> set[tuple[str, str]]:
    """Every code that stands in the sources of the checks, with its check."""
    found = {("near_duplicates", f"guard_{difference.value}") for difference in Difference}
    found |= {("pii", f"pii_{kind.value}") for kind in Kind}
    found |= {("prompt_lint", reason.value) for reason in PromptReason}
    found |= {("exact_duplicates", f"contradicting_{field}") for field in ("label", "score")}
    for path in Path(inspect.getfile(studio.checks)).parent.glob("*.py"):
        source = path.read_text("utf-8")
        for pattern in (
            r'reason=pl\.lit\("(\w+)"\)',
            r'_flagg?e?d?\([^"]*"(\w+_\w+|mojibake)"',
            r'REASON = "(\w+)"',
            r'"(\w+_template)"',
            r'pl\.lit\("(below_review|guard_more|boilerplate|several_positives)"\)',
            r'\("((?:query|passage)_too_\w+)"',
            r'_damaged\(pairs, "(\w+)"',
        ):
            found |= {(path.stem.replace("nearness", "near_duplicates"), code) for code in re.findall(pattern, source)}
    return {(check, code) for check, code in found if code != "row_id"}


def test_every_code_has_words() -> None:
    found = codes()
    assert len(found) > 35
    known = {*view._HELD, *view._REASONS}
    assert {code for _, code in found} <= known
    for check, code in found:
        assert in_words(code, check) not in ("", code)


def test_one_code_means_what_its_check_means() -> None:
    assert in_words("boilerplate", "near_duplicates") == "alike only by their boilerplate"
    assert in_words("boilerplate", "boilerplate") == "the passage holds boilerplate"
    assert in_words("several_positives", "containment") != in_words("several_positives", "groups")
    assert in_words(None, "near_duplicates") == ""
    assert in_words("new_code", "x") == "new code"
