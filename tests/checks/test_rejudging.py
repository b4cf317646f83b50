from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.checks import base
from studio.checks.base import Check, all_checks, configured
from studio.progress import Progress, silent
from studio.project.evidence import Evidence, StoredEvidence
from studio.project.ledger import Action, Target
from studio.project.project import Project

Overrides = dict[str, dict[str, Any]]
MakeProject = Callable[..., Project]

FOOTER = (
    "Este conteúdo foi publicado pela assessoria de comunicação da secretaria de fazenda do estado.\n"
    "Para outras dúvidas procure a unidade de atendimento mais próxima da sua casa em dias úteis."
)
BODIES = [
    "O imposto sobre veículos vence em janeiro de 2023 e pode ser parcelado em cinco vezes iguais e sucessivas.",
    "O imposto sobre veículos vence em janeiro de 2024 e pode ser parcelado em cinco vezes iguais e sucessivas.",
    "O imposto sobre veículos vence em janeiro de 2023 e pode ser parclado em cinco vezes iguais e sucessivas.",
    "Consulta de saldo pelo telefone.",
    "Consulta de saldo e de extrato pelo telefone.",
    "A matrícula na creche exige certidão de nascimento, caderneta de vacinas e comprovante de endereço.",
    "A matrícula na escola exige certidão de nascimento, caderneta de vacinas e comprovante de moradia.",
    "O passaporte fica pronto em seis dias e só o próprio dono pode retirá-lo na polícia federal.",
]
QUERIES = [
    "quando vence o imposto sobre veículos de 2023",
    "quando vence o imposto sobre veículos de 2024",
    "quando vence o impostto sobre veículos de 2023",
    "como consultar o saldo do cartão",
    "como consultar o saldo do cartão pelo telefone",
    "o que levar para a matrícula na creche",
    "o que levar para a matrícula na escola",
    "quem pode retirar o passaporte",
]
ROWS = [
    {"query": query, "positive": f"{body}\n{FOOTER}", "split": "test" if i % 3 == 0 else "train"}
    for i, (query, body) in enumerate(zip(QUERIES, BODIES, strict=True))
]
NAMES = ("near_queries", "near_duplicates")


def check(
    project: Project, names: Sequence[str], **overrides: dict[str, Any]
) -> dict[str, tuple[StoredEvidence, bool]]:
    with project.locked():
        done = base.run_checks(project, configured(project.settings, names, overrides))
    return {stored.check: (stored, already) for stored, already in done}


def fresh(project: Project, name: str, **overrides: dict[str, Any]) -> Evidence:
    """What a run finds that knows of no earlier one."""
    found: dict[str, Evidence] = {}
    for item in configured(project.settings, [name], overrides):
        item.needed = {needed: found[needed] for needed in item.needs}
        found[item.name] = item.run(project.assigned() if item.uses_splits else project.snapshot)
    return found[name]


def runs_of(name: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Note every run of a check from now on."""
    seen: list[str] = []
    kind = all_checks()[name]
    original = kind.run

    def run(self: Check, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        seen.append(self.name)
        return original(self, pairs, progress)

    patch.setattr(kind, "run", run)
    return seen


def forbid_running(name: str, patch: pytest.MonkeyPatch) -> None:
    def run(self: Check, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        raise AssertionError(f"{self.name} ran again")

    patch.setattr(all_checks()[name], "run", run)


def same(one: Evidence, other: Evidence) -> bool:
    return (
        one.edges.equals(other.edges)
        and one.flags.equals(other.flags)
        and (one.notes, dict(one.stats)) == (other.notes, dict(other.stats))
    )


def bands(evidence: Evidence) -> list[tuple[Any, ...]]:
    return evidence.edges.select("a_id", "b_id", "score", "containment", "band", "rejected_by").rows()


BASE: dict[str, Any] = {"floor": 0.2, "review": 0.5, "threshold": 0.7}
JUDGED: Overrides = {
    "lower_threshold": {"threshold": 0.55},
    "equal_threshold": {"threshold": 0.7},
    "higher_review": {"review": 0.65},
    "lower_review": {"review": 0.2},
    "no_guard": {"guard": False},
    "lower_threshold_no_guard": {"threshold": 0.3, "review": 0.3, "guard": False},
    "everything_auto": {"threshold": 0.2, "review": 0.2, "guard": False},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", JUDGED)
def test_judging_again_gives_what_a_fresh_run_gives(
    name: str, case: str, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    first = check(project, [name], **{name: BASE})[name][0]
    assert first.evidence.edges["band"].n_unique() >= 2
    new = BASE | JUDGED[case]
    expected = fresh(project, name, **{name: new})
    forbid_running(name, monkeypatch)
    forbid_running("boilerplate", monkeypatch)
    again, already = check(project, [name], **{name: new})[name]
    assert already == (new == BASE)
    assert same(again.evidence, expected)
    assert same(Project.open(project.root).evidence.load(name).evidence, expected)  # type: ignore[union-attr]
    back, already = check(project, [name], **{name: BASE})[name]
    assert bands(back.evidence) == bands(first.evidence)


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_threshold_gives_the_bands_of_a_fresh_run(
    name: str, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    check(project, [name], **{name: BASE})
    new = BASE | {"threshold": 0.95}
    expected = fresh(project, name, **{name: new})
    forbid_running(name, monkeypatch)
    assert bands(check(project, [name], **{name: new})[name][0].evidence) == bands(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_threshold_gives_the_evidence_of_a_fresh_run(name: str, make_project: MakeProject) -> None:
    project = make_project(ROWS)
    check(project, [name], **{name: BASE})
    new = BASE | {"threshold": 0.95}
    assert same(check(project, [name], **{name: new})[name][0].evidence, fresh(project, name, **{name: new}))


def test_judging_near_duplicates_again_for_boilerplate(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    first = check(project, ["near_duplicates"])["near_duplicates"][0]
    held = first.evidence.edges.filter(pl.col("rejected_by") == "boilerplate")
    assert held.height
    expected = fresh(project, "near_duplicates", near_duplicates={"mask_boilerplate": False})
    forbid_running("near_duplicates", monkeypatch)
    again, already = check(project, ["near_duplicates"], near_duplicates={"mask_boilerplate": False})["near_duplicates"]
    assert not already
    assert same(again.evidence, expected)
    assert "boilerplate" not in again.evidence.edges["rejected_by"].to_list()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [{"floor": 0.4}, {"method": "exact"}, {"seed": 2}, {"num_perm": 128}, {"banded_for": 0.8}, {"max_bucket": 9}],
)
def test_what_decides_the_candidates_makes_it_run_again(
    name: str, change: dict[str, Any], make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    check(project, [name], **{name: BASE})
    expected = fresh(project, name, **{name: BASE | change})
    seen = runs_of(name, monkeypatch)
    again, already = check(project, [name], **{name: BASE | change})[name]
    assert (seen, already) == ([name], False)
    assert same(again.evidence, expected)


@pytest.mark.parametrize("change", [{"min_passages": 3}, {"min_words": 5}, {"min_share": 0.9}, {"warn": 0.1}])
def test_other_boilerplate_makes_near_duplicates_run_again(
    change: dict[str, Any], make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    check(project, NAMES)
    expected = fresh(project, "near_duplicates", boilerplate=change)
    seen = [runs_of(name, monkeypatch) for name in ("boilerplate", *NAMES)]
    again = check(project, NAMES, boilerplate=change)
    assert [len(each) for each in seen] == [1, 0, 1]
    assert same(again["near_duplicates"][0].evidence, expected)
    assert {name: already for name, (_, already) in again.items()} == {
        "boilerplate": False,
        "near_queries": True,
        "near_duplicates": False,
    }


def test_what_has_not_changed_is_stored(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*NAMES, "boilerplate", "containment", "templates", "groups", "leakage"]
    project = make_project(ROWS)
    first = check(project, names)
    assert not any(already for _, already in first.values())
    for name in names:
        forbid_running(name, monkeypatch)
    again = check(Project.open(project.root), names)
    assert all(already for _, already in again.values())
    assert all(same(again[name][0].evidence, first[name][0].evidence) for name in names)
    assert {name: stored.key for name, (stored, _) in again.items()} == {
        name: one.key for name, (one, _) in first.items()
    }


def test_other_bands_of_what_they_need_make_groups_and_leakage_run_again(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    first = check(project, ["groups", "leakage"])
    forbid_running("near_queries", monkeypatch)
    forbid_running("containment", monkeypatch)
    change = {"near_queries": {"guard": False, "threshold": 0.7}}
    expected = {name: first[name][0].evidence for name in ("near_queries", "groups", "leakage")}
    again = check(project, ["groups", "leakage"], **change)
    assert not any(again[name][1] for name in ("near_queries", "groups", "leakage"))
    assert all(again[name][1] for name in ("near_duplicates", "containment", "boilerplate"))
    monkeypatch.undo()
    for name, before in expected.items():
        assert same(again[name][0].evidence, fresh(project, name, **change))
        assert not same(again[name][0].evidence, before)


@pytest.mark.parametrize("act_on", [[], ["passage"], ["pair", "query", "passage", "answer"]])
def test_leakage_is_judged_again(act_on: list[str], make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(ROWS)
    assert check(project, ["leakage"])["leakage"][0].evidence.edges.height
    expected = fresh(project, "leakage", leakage={"act_on": act_on})
    forbid_running("leakage", monkeypatch)
    again, already = check(project, ["leakage"], leakage={"act_on": act_on})["leakage"]
    assert not already
    assert same(again.evidence, expected)


def test_a_row_that_is_put_on_the_other_side_makes_leakage_run_again(make_project: MakeProject) -> None:
    project = make_project([("qual o prazo", "dez dias"), ("qual o prazo?", "um mês")])
    assert check(project, ["leakage"])["leakage"][0].evidence.edges.is_empty()
    project.ledger.append(Action.MOVE, [Target("r0", value="test")], actor="person", reason="à mão")
    again = check(project, ["leakage"], leakage={"act_on": ["pair"]})
    assert {name: already for name, (_, already) in again.items()} == {
        "boilerplate": True,
        "near_duplicates": True,
        "near_queries": True,
        "containment": True,
        "leakage": False,
    }
    found = again["leakage"][0].evidence
    assert found.edges.select("a_id", "b_id", "band").rows() == [("r1", "r0", "review")]
    assert same(found, fresh(project, "leakage", leakage={"act_on": ["pair"]}))
    assert check(project, ["leakage"], leakage={"act_on": ["pair"]})["leakage"][1]


def test_another_version_or_snapshot_makes_it_run_again(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS)
    check(project, ["near_queries"], near_queries=BASE)
    monkeypatch.setattr(all_checks()["near_queries"], "version", "99")
    seen = runs_of("near_queries", monkeypatch)
    again, already = check(project, ["near_queries"], near_queries=BASE | {"guard": False})["near_queries"]
    assert (len(seen), already, again.version) == (1, False, "99")
    assert set(again.evidence.edges["version"]) == {"99"}


levels = st.tuples(*[st.sampled_from([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])] * 2).map(sorted)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(levels, st.booleans()), min_size=1, max_size=3))
def test_judging_many_times_ends_at_the_bands_of_a_fresh_run(
    name: str, changes: list[tuple[list[float], bool]], make_project: MakeProject
) -> None:
    project = make_project(ROWS)
    check(project, [name], **{name: BASE})
    for (review, threshold), guard in changes:
        last = BASE | {"review": review, "threshold": threshold, "guard": guard}
        found = check(project, [name], **{name: last})[name][0]
    assert bands(found.evidence) == bands(fresh(project, name, **{name: last}))


@pytest.mark.parametrize("rows", [[], [("uma só", "e só")]])
def test_small_projects_are_judged_again_as_well(rows: list[tuple[str, str]], make_project: MakeProject) -> None:
    project = make_project(rows)
    names = [*NAMES, "leakage"]
    check(project, names)
    again = check(
        project, names, leakage={"act_on": []}, **{name: {"threshold": 0.9, "guard": False} for name in NAMES}
    )
    assert all(stored.evidence.edges.is_empty() for stored, _ in again.values())


def test_judging_changes_nothing_but_bands_and_what_the_guard_said(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    (item,) = configured(project.settings, ["near_queries"], {"near_queries": BASE | {"threshold": 0.3, "review": 0.3}})
    found = item.run(project.snapshot)
    judged = item.judge(project.snapshot, found)
    assert same(judged, found)
    (other,) = configured(project.settings, ["near_queries"], {"near_queries": BASE})
    assert (
        other.judge(project.snapshot, found)
        .edges.drop("band", "rejected_by", "evidence")
        .equals(found.edges.drop("band", "rejected_by", "evidence"))
    )
