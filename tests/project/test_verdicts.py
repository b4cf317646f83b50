import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from studio.errors import UsageError
from studio.export.formats import Format
from studio.export.project import export_project
from studio.project.project import Project
from studio.project.verdicts import AMBIGUOUS_TAG, Judgement, State, Verdict, judge, judge_all, settled, verdicts

ROWS = [("como pagar a conta", "no banco"), ("onde pago a fatura", "na lotérica"), ("qual o prazo", "dez dias")]


def states(project: Project) -> dict[tuple[str, str], str]:
    found = settled(verdicts(project.ledger.log(), project.ledger.targets()))
    return {(query, passage): state for query, passage, state in found.iter_rows()}


def say(project: Project, query: str, passage: str, verdict: Verdict, actor: str = "person") -> None:
    with project.locked():
        judge(project.ledger, query, passage, verdict, actor=actor, margin=0.1)


def test_the_latest_verdict_of_a_judge_counts_and_undo_brings_back_the_one_before(make_project) -> None:
    project = make_project(ROWS)
    say(project, "r0", "r1", Verdict.DOES_NOT)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    assert states(project) == {("r0", "r1"): State.ALSO_ANSWERS}
    project.ledger.undo()
    assert states(project) == {("r0", "r1"): State.DOES_NOT}


def test_judges_who_differ_leave_it_disputed_and_a_skip_is_no_opinion(make_project) -> None:
    project = make_project(ROWS)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS, "person:ana")
    say(project, "r0", "r1", Verdict.SKIP, "person:bia")
    assert states(project)["r0", "r1"] == State.ALSO_ANSWERS
    say(project, "r0", "r1", Verdict.DOES_NOT, "person:bia")
    assert states(project)["r0", "r1"] == State.DISPUTED
    say(project, "r0", "r2", Verdict.SKIP)
    assert states(project)["r0", "r2"] == State.SKIPPED


def test_a_passage_that_also_answers_makes_one_answer_group_and_deletes_nothing(make_project) -> None:
    project = make_project(ROWS)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    rows = project.curated().rows
    assert rows["status"].unique().to_list() == ["kept"]
    assert rows["group_id"].to_list() == ["r0", "r0", "r2"]
    assert rows["also_answers"].to_list() == [["na lotérica"], ["no banco"], []]
    say(project, "r0", "r1", Verdict.PARTLY)
    assert project.curated().rows["group_id"].to_list() == ["r0", "r1", "r2"]


def test_a_verdict_of_its_own_beats_what_follows_the_other_way_round(make_project) -> None:
    project = make_project(ROWS)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    say(project, "r1", "r0", Verdict.DOES_NOT)
    assert project.curated().rows["also_answers"].to_list() == [["na lotérica"], [], []]


def test_rows_of_different_splits_give_each_other_no_positive(make_project) -> None:
    rows = [{"query": q, "positive": p, "split": s} for (q, p), s in zip(ROWS, ("train", "test", None), strict=True)]
    project = make_project(rows)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    assert project.curated().rows["also_answers"].to_list() == [[], [], []]


def test_saying_the_same_again_decides_nothing_and_a_sitting_is_one_step(make_project) -> None:
    project = make_project(ROWS)
    lines = [Judgement("r0", "r1", Verdict.ALSO_ANSWERS), Judgement("r0", "r2", Verdict.DOES_NOT)]
    assert len(judge_all(project.ledger, lines).seqs) == 2
    assert judge_all(project.ledger, lines).seqs == []
    assert len(judge_all(project.ledger, lines, actor="person:ana").seqs) == 2
    project.ledger.undo()
    project.ledger.undo()
    assert states(project) == {}


def test_the_row_that_stands_for_a_removed_one_takes_over_its_verdicts(make_project) -> None:
    from studio.project.ledger import Action, Target

    project = make_project([*ROWS, ("como pagar a minha conta", "no banco")])
    say(project, "r3", "r1", Verdict.ALSO_ANSWERS)
    project.ledger.append(Action.DROP, [Target("r3", "r0")], actor="rule:x@1", reason="near_duplicate_pair")
    rows = project.curated().rows
    assert rows["group_id"].to_list()[:2] == ["r0", "r0"]
    assert rows["also_answers"][0].to_list() == ["na lotérica"]


def test_what_answers_wholly_or_in_part_is_no_hard_negative(make_project) -> None:
    rows = [{"query": q, "positive": p, "negatives": ["dez dias", "na lotérica", "outra coisa"]} for q, p in ROWS[:1]]
    project = make_project([*rows, *ROWS[1:]])
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    say(project, "r0", "r2", Verdict.PARTLY)
    assert project.curated().rows["negatives"][0].to_list() == ["outra coisa"]


def test_the_eighth_answer_makes_a_query_ambiguous_and_one_undo_takes_both_back(make_project) -> None:
    project = make_project([("o que fazer", "nada"), *((f"pergunta {i}", f"resposta número {i}") for i in range(8))])
    for i in range(1, 9):
        say(project, "r0", f"r{i}", Verdict.ALSO_ANSWERS)
    tags = project.ledger.targets().filter(pl.col("value") == AMBIGUOUS_TAG)
    assert tags["row_id"].to_list() == ["r0"]
    undone = project.ledger.undo()
    assert [decision.action for decision in undone] == ["judge", "tag"]
    assert len(states(project)) == 7


def test_a_querys_own_passage_cannot_be_judged(make_project) -> None:
    with pytest.raises(UsageError):
        judge(make_project(ROWS).ledger, "r0", "r0", Verdict.SKIP)


@pytest.mark.parametrize("fmt", [Format.FLAGEMBEDDING, Format.TEVATRON, Format.BEIR])
def test_formats_by_query_carry_both_positives(make_project: Callable[..., Project], tmp_path: Path, fmt) -> None:
    project = make_project(ROWS)
    say(project, "r0", "r1", Verdict.ALSO_ANSWERS)
    export_project(project, tmp_path / "out", fmt)
    data = tmp_path / "out" / "data"
    if fmt is Format.BEIR:
        qrels = (data / "qrels/train.tsv").read_text().splitlines()[1:]
        assert len(qrels) == len(set(qrels)) == 5
        return
    first = json.loads((data / "train.jsonl").read_text().splitlines()[0])
    positives = first["pos"] if fmt is Format.FLAGEMBEDDING else [p["text"] for p in first["positive_passages"]]
    assert positives == ["no banco", "na lotérica"]
