from collections.abc import Callable

import polars as pl

from studio.checks.base import configured, run_checks
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.splitting import split_project
from tests.checks.test_near_duplicates import LONG

SHORTER = LONG.removesuffix(" com senha")
OTHER = (
    "o horário de funcionamento da biblioteca é de segunda a sexta das oito às vinte horas e aos sábados até o meio "
    "dia exceto em feriados municipais quando a casa permanece fechada ao público em geral por decreto do prefeito"
)


def decided(make_project: Callable[..., Project], rows: list) -> tuple[Project, dict[str, dict]]:
    project = make_project(rows)
    run_checks(project, configured(project.settings))
    apply_auto(project)
    return project, {row["row_id"]: row for row in project.curated().rows.iter_rows(named=True)}


def test_a_repeated_pair_is_dropped_for_the_first(make_project: Callable[..., Project]) -> None:
    _, rows = decided(make_project, [("Como?", "Assim."), ("como", "assim"), ("como", "assado")])
    assert (rows["r1"]["status"], rows["r1"]["keeper_id"], rows["r1"]["reason"]) == ("removed", "r0", "duplicate_pair")
    assert rows["r2"]["status"] == "kept"


def test_a_near_duplicate_passage_is_repointed_and_its_query_stays(make_project: Callable[..., Project]) -> None:
    _, rows = decided(make_project, [("Q um", LONG), ("Q dois", SHORTER), ("Q três", OTHER)])
    assert (rows["r1"]["status"], rows["r1"]["positive"], rows["r1"]["query"]) == ("moved", LONG, "Q dois")
    assert rows["r1"]["keeper_score"] > 0.8
    assert rows["r0"]["group_id"] == rows["r1"]["group_id"]


def test_an_equal_query_on_a_near_duplicate_passage_is_dropped_with_its_score(
    make_project: Callable[..., Project],
) -> None:
    _, rows = decided(make_project, [("Q um", LONG), ("q um", SHORTER)])
    assert (rows["r1"]["status"], rows["r1"]["reason"]) == ("removed", "near_duplicate_pair")
    assert rows["r1"]["keeper_id"] == "r0"
    assert 0.8 < rows["r1"]["keeper_score"] < 1


def test_the_keeper_has_most_queries_before_it_is_longest(make_project: Callable[..., Project]) -> None:
    same = LONG.replace("senha", "snha")
    _, rows = decided(make_project, [("a", LONG), ("b", same), ("c", same)])
    assert rows["r0"]["status"] == "moved"
    assert rows["r0"]["positive"] == same


def test_a_keeper_that_says_less_takes_nobody_over(make_project: Callable[..., Project]) -> None:
    _, rows = decided(make_project, [("a", LONG + " pessoal"), ("b", LONG), ("c", LONG)])
    assert rows["r0"]["status"] == "kept"


def test_protected_rows_are_keepers_and_are_never_changed(make_project: Callable[..., Project]) -> None:
    rows = [
        {"query": "a", "positive": LONG, "split": "train"},
        {"query": "a", "positive": LONG, "split": "train"},
        {"query": "a", "positive": LONG, "split": "test"},
        {"query": "z", "positive": SHORTER, "split": "test"},
    ]
    _, out = decided(make_project, rows)
    assert {row_id: row["status"] for row_id, row in out.items()} == {
        "r0": "removed",
        "r1": "removed",
        "r2": "kept",
        "r3": "kept",
    }
    assert {out["r0"]["keeper_id"], out["r1"]["keeper_id"]} == {"r2"}


def test_a_chain_that_drifts_is_not_merged_through(make_project: Callable[..., Project]) -> None:
    words = LONG.split(" ")
    variants = [" ".join(f"v{k}" if k < 2 * i else w for k, w in enumerate(words)) for i in range(4)]
    project = make_project([(f"q{i}", text) for i, text in enumerate(variants)])
    run_checks(
        project, configured(project.settings, overrides={"near_duplicates": {"guard": False, "threshold": 0.85}})
    )
    apply_auto(project)
    edges = project.evidence.load("near_duplicates").evidence.edges  # type: ignore[union-attr]
    auto = {frozenset(pair) for pair in edges.filter(pl.col("band") == "auto").select("a_id", "b_id").iter_rows()}
    moved = project.curated().rows.filter(pl.col("status") == "moved")
    for row_id, keeper_id in moved.select("row_id", "keeper_id").iter_rows():
        assert frozenset((row_id, keeper_id)) in auto


def test_applying_twice_changes_nothing_and_new_evidence_replaces_the_old(make_project: Callable[..., Project]) -> None:
    project, _ = decided(make_project, [("a", LONG), ("b", SHORTER), ("c", OTHER), ("C?", OTHER)])
    before = project.ledger.log()
    assert apply_auto(project).unchanged
    assert project.ledger.log() == before
    run_checks(project, configured(project.settings, ["near_duplicates"], {"near_duplicates": {"threshold": 0.99}}))
    assert not apply_auto(project).unchanged
    assert project.curated().rows["status"].to_list() == ["kept", "kept", "kept", "removed"]


def test_what_a_person_decided_is_left_alone(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "p"), ("a", "p")])
    project.ledger.append(Action.KEEP, [Target("r1")], actor="person", reason="on purpose")
    run_checks(project, configured(project.settings))
    apply_auto(project)
    assert project.curated().rows["status"].to_list() == ["removed", "kept"]


def test_a_negative_that_answers_is_taken_out_of_the_negatives(make_project: Callable[..., Project]) -> None:
    rows = [{"query": "q", "positive": "certo", "negatives": ["Certo!", "errado"]}, {"query": "z", "positive": "y"}]
    _, out = decided(make_project, rows)
    assert out["r0"]["negatives"] == ["errado"]
    assert (out["r0"]["status"], out["r0"]["reason"]) == ("edited", "negative_is_positive")


def test_texts_with_equal_shingles_share_their_edges(make_project: Callable[..., Project]) -> None:
    one = "um dois tres quatro cinco seis sete oito nove dez onze doze um dois"
    turned = one.replace("tres quatro", "tres, quatro")
    longer = one + " treze"
    _, out = decided(make_project, [("a", one), ("b", turned), ("c", longer), ("d", longer)])
    assert out["r0"]["keeper_id"] == out["r1"]["keeper_id"] == "r2"
    assert out["r2"]["status"] == "kept"


def after_person(make_project: Callable[..., Project], rows: list, action: Action, target: Target) -> list[str]:
    project = make_project(rows)
    project.ledger.append(action, [target], actor="person", reason="by hand")
    run_checks(project, configured(project.settings))
    apply_auto(project)
    return project.curated().rows["status"].to_list()


def test_a_row_a_person_dropped_stands_for_nobody(make_project: Callable[..., Project]) -> None:
    rows = [("a", "p"), ("a", "p"), ("a", "p")]
    assert after_person(make_project, rows, Action.DROP, Target("r0")) == ["removed", "kept", "removed"]


def test_a_passage_a_person_dropped_takes_no_queries_over(make_project: Callable[..., Project]) -> None:
    rows = [("a", LONG), ("b", SHORTER), ("c", SHORTER + " enfim")]
    statuses = after_person(make_project, rows, Action.DROP, Target("r0"))
    assert statuses == ["removed", "moved", "kept"]


def test_a_row_a_person_edited_stands_for_nobody(make_project: Callable[..., Project]) -> None:
    edit = Target("r0", value='{"query": "outra pergunta"}')
    assert after_person(make_project, [("a", "p"), ("a", "p")], Action.EDIT, edit) == ["edited", "kept"]


def test_a_training_row_is_given_no_passage_of_a_test_row(make_project: Callable[..., Project]) -> None:
    rows = [
        {"query": "Onde emito?", "positive": LONG, "split": "test"},
        {"query": "Quem atende?", "positive": SHORTER, "split": "train"},
    ]
    _, out = decided(make_project, rows)
    assert (out["r1"]["positive"], out["r1"]["status"]) == (SHORTER, "kept")


def test_a_split_made_here_brings_no_duplicate_back(make_project: Callable[..., Project]) -> None:
    pairs = [
        (f"Pergunta {i} sobre o caso {i * 7}?", f"Resposta {i * 13} do caso {i} com prazo {i}.") for i in range(40)
    ]
    project, before = decided(make_project, [*pairs, *pairs])
    split_project(project, {"test": 0.5}, seed=1)
    run_checks(project, configured(project.settings))
    apply_auto(project)
    after = {row["row_id"]: row["status"] for row in project.curated().rows.iter_rows(named=True)}
    removed = {row_id for row_id, row in before.items() if row["status"] == "removed"}
    assert removed
    assert {row_id for row_id, status in after.items() if status == "removed"} == removed
