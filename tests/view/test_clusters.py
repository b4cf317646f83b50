import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.checks.base import configured, run_checks
from studio.cleaning import check_project
from studio.errors import UsageError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto, proposed
from studio.text import guard
from studio.text.equal import equal_at
from studio.text.normalise import Level
from studio.view.bench import Bench
from studio.view.clusters import NEAR, Role, RoleName, Which, at_threshold, cluster, clusters
from studio.view.threshold import NearName, judged, proposal, steps

MakeProject = Callable[..., Project]

BODY = (
    "Para renovar o passaporte é preciso agendar pela internet, pagar a taxa de {tax} reais, levar os documentos "
    "originais ao posto da {place} no dia marcado e esperar {days} dias pela entrega do novo documento na unidade."
)
LAW = BODY.format(tax="257", place="Polícia", days="seis")
TYPO = LAW.replace("internet", "intrenet")
OTHER_TAX = BODY.format(tax="314", place="Polícia", days="seis")
OTHER_TYPO = OTHER_TAX.replace("originais", "orignais")
SHORT = "A matrícula na creche exige certidão de nascimento, caderneta de vacinas e comprovante de endereço recente."
LESS = "A matrícula na escola exige certidão de nascimento, caderneta de vacinas e comprovante de moradia recente."
ROWS: list[dict[str, Any]] = [
    {"query": "como renovar o passaporte", "positive": LAW},
    {"query": "quero renovar meu passaporte na polícia federal", "positive": TYPO},
    {"query": "como renovar o passaporte", "positive": LAW},
    {"query": "onde fica o posto de passaportes", "positive": LAW},
    {"query": "quanto custa o passaporte novo", "positive": OTHER_TAX},
    {"query": "qual o preço do passaporte novo hoje", "positive": OTHER_TYPO},
    {"query": "o que levar para a matrícula na creche", "positive": SHORT},
    {"query": "o que levar para a matricula na creche", "positive": LESS},
    {"query": "creche: papéis para matricular", "positive": SHORT.upper()},
    {"query": "documentos da matrícula", "positive": SHORT},
    {"query": "quem pode retirar o documento", "positive": "Só o próprio dono pode retirar o passaporte no posto."},
]


@pytest.fixture
def bench(make_project: MakeProject) -> Bench:
    project = make_project(ROWS)
    check_project(project)
    return Bench(project.root)


def union_find(bench: Bench, role: Role, threshold: float | None, which: Which) -> set[frozenset[int]]:
    """Clusters of rows by plain means, joined over the stored edges one after another."""
    column = {"passage": "positive", "query": "query"}[role]
    numbers = equal_at(bench.rows[column], Level.SURFACE).to_list()
    place = {row_id: at for at, row_id in enumerate(bench.rows["row_id"])}
    parent = {number: number for number in numbers}
    joined: set[int] = set()
    review: set[int] = set()

    def find(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    near = NEAR[role]
    sources = {near: bench.evidence()[near] if threshold is None else judged(bench, near, threshold).stored}
    sources["exact_duplicates"] = bench.evidence()["exact_duplicates"]
    for name, stored in sources.items():
        for edge in stored.evidence.edges.iter_rows(named=True):
            a, b = numbers[place[edge["a_id"]]], numbers[place[edge["b_id"]]]
            band, level = edge["band"], edge["evidence"][11:12]
            if name == "exact_duplicates":
                pair = edge["role"] == "pair" and level in "012"
                spelled = edge["role"] == "passage" and level in "12"
                if a == b:
                    if role != "passage" or not (pair or spelled):
                        continue
                    band = "auto"
                elif edge["role"] != role or band != "review":
                    continue
            if band == "ignore" or (which == "auto" and band != "auto"):
                continue
            joined |= {a, b}
            parent[find(a)] = find(b)
            if band == "review":
                review.add(a)
    reviewed = {find(node) for node in review}
    groups: dict[int, set[int]] = {}
    for row, number in enumerate(numbers):
        if number in joined and (which != "review" or find(number) in reviewed):
            groups.setdefault(find(number), set()).add(row)
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("role", ["passage", "query"])
@pytest.mark.parametrize("which", ["all", "auto", "review"])
@pytest.mark.parametrize("threshold", [None, 0.65, 0.95])
def test_clusters_are_those_of_a_plain_union_find(
    bench: Bench, role: RoleName, which: Which, threshold: float | None
) -> None:
    found = clusters(bench, role, threshold, which)
    details = [cluster(bench, role, head.id, threshold, which) for head in found.heads]
    rows = {frozenset(row for member in detail.members for row in member.positions) for detail in details}
    assert rows == union_find(bench, Role(role), threshold, which)
    assert found.total == len(found.heads) == found.auto + found.review
    for head, detail in zip(found.heads, details, strict=True):
        assert detail.head == head
        assert (head.members, head.rows) == (len(detail.members), sum(member.rows for member in detail.members))
        assert [member.position for member in detail.members if member.is_keeper] == [head.keeper]
        assert bench.rows["row_id"][head.keeper] == head.id


def test_the_inside_of_a_cluster(bench: Bench) -> None:
    detail = cluster(bench, "passage", "r0")
    members = {member.position: member for member in detail.members}
    assert set(members) == {0, 1, 4, 5}
    keeper = members[0]
    assert keeper.is_keeper and keeper.why == "most queries (3)" and keeper.rows == 3 and keeper.positions == (0, 2, 3)
    assert [(would.action, would.keeper, would.rows) for would in keeper.would] == [
        ("drop", 0, 1),
        ("none", None, 1),
        ("none", None, 1),
    ]
    assert [would.positions for would in keeper.would] == [(2,), (), ()]
    assert [(would.action, would.keeper) for would in members[1].would] == [("repoint", 0)]
    assert members[4].sub == members[5].sub != members[0].sub == members[1].sub
    assert detail.head.held == 3 and "numbers differ" in detail.head.reasons
    held = next(edge for edge in detail.edges if {edge.a, edge.b} == {0, 4})
    assert held.held == "held: numbers differ" and held.only_a == ("257",) and held.only_b == ("314",)
    assert held.a_in_b is not None and held.b_in_a is not None
    assert max(held.a_in_b, held.b_in_a) == pytest.approx(held.containment)
    assert members[4].score == pytest.approx(held.jaccard)
    both = held.a_in_b * held.b_in_a / (held.a_in_b + held.b_in_a - held.a_in_b * held.b_in_a)
    assert both == pytest.approx(held.jaccard)


@pytest.mark.parametrize("threshold", [None, 0.65, 0.95])
def test_a_cluster_is_for_review_if_any_of_its_edges_is(bench: Bench, threshold: float | None) -> None:
    mixed = 0
    for role in ("passage", "query"):
        for head in clusters(bench, role, threshold).heads:
            bands = {edge.band for edge in cluster(bench, role, head.id, threshold).edges}
            assert head.for_review == ("review" in bands)
            mixed += bands == {"auto", "review"}
        assert all(head.for_review for head in clusters(bench, role, threshold, "review").heads)
        assert not any(head.for_review for head in clusters(bench, role, threshold, "auto").heads)
    assert mixed


@pytest.mark.parametrize("protected", [False, True])
def test_what_would_be_done_names_the_very_rows(make_project: MakeProject, protected: bool) -> None:
    """Also of a text with more rows than are listed, of which some would be dropped and others stay."""
    many = [
        {"query": f"passaporte {at // 2}", "positive": LAW, "negatives": ["x"] * (at % 7 == 0)} for at in range(160)
    ]
    rows = [{**row, "split": "test" if protected and at % 5 == 0 else "train"} for at, row in enumerate([*ROWS, *many])]
    project = make_project(rows)
    check_project(project)
    bench = Bench(project.root)
    wanted: dict[int, str] = {}
    for step in proposed(project):
        for target in step.targets:
            position = int(bench.rows["row_id"].index_of(target.row_id) or 0)
            # A row that would be re-pointed and then dropped counts as dropped.
            if step.action is Action.DROP or (step.action is Action.REPOINT and wanted.get(position) != "drop"):
                wanted[position] = step.action.value
    found: dict[int, str] = {}
    for head in clusters(bench, "passage").heads:
        for member in cluster(bench, "passage", head.id).members:
            for would in member.would:
                assert len(would.positions) == (would.rows if would.action != "none" else 0)
                assert list(would.positions) == sorted(would.positions)
                if would.action in ("drop", "repoint"):
                    found |= dict.fromkeys(would.positions, would.action)
    assert found == wanted and list(wanted.values()).count("drop") > 50


def test_queries_that_differ_in_accents_alone(bench: Bench) -> None:
    detail = cluster(bench, "query", "r7")
    assert {edge.held for edge in detail.edges if edge.check == "exact_duplicates"} == {"differs in accents"}
    passages = cluster(bench, "passage", "r8", which="auto")
    assert [member.positions for member in passages.members] == [(6, 8, 9)]
    assert ("repoint", 1) in {(would.action, would.rows) for member in passages.members for would in member.would}


def test_keepers_are_those_of_the_rules(bench: Bench) -> None:
    for head in clusters(bench, "passage", which="auto").heads:
        rows = {row for member in cluster(bench, "passage", head.id, which="auto").members for row in member.positions}
        ids = {bench.rows["row_id"][row] for row in rows}
        keepers = {
            target.keeper_id
            for step in proposed(bench.project)
            if step.action is Action.REPOINT
            for target in step.targets
            if target.row_id in ids
        }
        assert keepers <= {head.id}


@pytest.mark.parametrize(
    ("splits", "decided", "keeper", "why"),
    [
        ({1: "test"}, None, 1, "protected split"),
        ({}, (Action.KEEP, "r1"), 1, "decided by a person"),
        ({}, (Action.DROP, "r0"), 3, "most queries (3)"),
        ({}, None, 0, "most queries (3)"),
    ],
)
def test_why_a_keeper_is_it(
    make_project: MakeProject,
    splits: dict[int, str],
    decided: tuple[Action, str] | None,
    keeper: int,
    why: str,
) -> None:
    rows = [{**row, "split": splits.get(at, "train")} for at, row in enumerate(ROWS)]
    rows[2] = {**rows[2], "query": "passaporte vencido"}
    project = make_project(rows)
    check_project(project)
    if decided:
        project.ledger.append(decided[0], [Target(decided[1])], actor="person", reason="seen")
    detail = cluster(Bench(project.root), "passage", "r1", which="auto")
    found = next(member for member in detail.members if member.is_keeper)
    assert (found.position if keeper != 3 else 3, found.why) == (keeper, why)


def test_a_cluster_is_decided_once_every_edge_is(bench: Bench) -> None:
    assert not any(head.decided for head in clusters(bench, "passage").heads)
    with bench.project.locked():
        apply_auto(bench.project)
    assert all(head.decided for head in clusters(bench, "passage", which="auto").heads)
    assert proposal(bench).unchanged
    bench.project.ledger.append(Action.KEEP, [Target("r0"), Target("r4")], actor="person", reason="two taxes")
    head = next(head for head in clusters(bench, "passage").heads if head.members == 4)
    assert head.decided
    members = {member.position: member for member in cluster(bench, "passage", head.id).members}
    assert members[4].would[0].reason == "decided by a person"


def test_the_list_can_be_ordered_and_paged(bench: Bench) -> None:
    heads = clusters(bench, "passage").heads
    assert [(-head.members, -head.rows, head.keeper) for head in heads] == sorted(
        (-head.members, -head.rows, head.keeper) for head in heads
    )
    assert clusters(bench, "passage", offset=1, limit=1).heads == heads[1:2]
    assert [head.keeper for head in clusters(bench, "passage", order="position").heads] == sorted(
        head.keeper for head in heads
    )
    held = [head.held for head in clusters(bench, "passage", order="held").heads]
    assert held == sorted(held, reverse=True)


def test_what_cannot_be_shown_is_said(bench: Bench, make_project: MakeProject, tmp_path: Path) -> None:
    for row_id in ("r10", "no such row"):
        with pytest.raises(UsageError, match="No cluster"):
            cluster(bench, "passage", row_id)
    for threshold in (0.3, 1.2):
        with pytest.raises(UsageError, match="nothing to judge"):
            at_threshold(bench, "near_duplicates", threshold)
    shutil.rmtree(bench.project.root / ".studio" / "evidence")
    with pytest.raises(UsageError, match="has not run"):
        clusters(bench, "query")
    with pytest.raises(UsageError, match="has not run"):
        at_threshold(bench, "near_queries", 0.9)


@pytest.mark.parametrize("check", ["near_duplicates", "near_queries"])
@pytest.mark.parametrize("path", [(0.9, 0.65, 0.8, 1.0, 0.7), (0.6, 0.95), (0.55, 0.85)])
def test_a_threshold_counts_what_a_check_and_the_rules_do(
    bench: Bench, tmp_path: Path, check: NearName, path: tuple[float, ...]
) -> None:
    for step, threshold in enumerate(path):
        found = at_threshold(bench, check, threshold)
        root = tmp_path / f"copy{step}"
        shutil.copytree(bench.project.root, root)
        copy = Project.open(root)
        override: dict[str, Any] = {"threshold": threshold} | ({"review": threshold} if threshold < 0.6 else {})
        with copy.locked():
            *_, (stored, _) = run_checks(copy, configured(copy.settings, [check], {check: override}))
            apply_auto(copy)
        assert judged(bench, check, threshold).stored.evidence.edges.equals(stored.evidence.edges)
        status = copy.curated().rows["status"]
        assert (found.rows_removed, found.queries_repointed) == (
            (status == "removed").sum(),
            (status == "moved").sum(),
        )
        edges = stored.evidence.edges.filter(pl.col("band") == "review")
        assert found.held_for_review == edges["rejected_by"].count()
        assert found.below == edges.height - edges["rejected_by"].count()
        assert found.review_lowered == (threshold < 0.6) and found.review == min(threshold, 0.6)
        again = Bench(root)
        assert (
            found.clusters == clusters(again, "passage" if check == "near_duplicates" else "query", which="auto").total
        )


def test_no_two_texts_are_compared_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    original = guard.compare

    def compare(a: str, b: str, *args: Any, **options: Any) -> guard.Residue:
        seen.append((a, b))
        return original(a, b, *args, **options)

    monkeypatch.setattr("studio.checks.nearness.compare", compare)
    for threshold in (0.75, 0.9, 0.62, 0.8, 0.7, 0.55, 0.65):
        at_threshold(bench, "near_duplicates", threshold)
    assert len(seen) == len(set(seen))


def test_the_steps_are_those_of_the_whole_project(make_project: MakeProject) -> None:
    rows = [
        *ROWS,
        {"query": "como renovar o passaporte", "positive": TYPO, "split": "test"},
        {"query": "prazo?", "positive": "Dez dias.", "negatives": ["Dez dias!", "Cinco dias."]},
    ]
    project = make_project(rows)
    check_project(project)
    project.ledger.append(Action.DROP, [Target("r0")], actor="person", reason="seen")
    bench = Bench(project.root)
    assert steps(bench, bench.evidence()) == proposed(project)
    said = proposal(bench)
    assert [(step.action, step.reason, step.rows) for step in said.steps] == [
        (step.action.value, step.reason, len(step.targets)) for step in proposed(project)
    ]
    assert not said.unchanged
