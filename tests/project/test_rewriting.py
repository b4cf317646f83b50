from collections.abc import Callable

import polars as pl
import pytest

from studio.checks.base import configured, run_checks
from studio.errors import ProjectError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rewriting import Rewrite, apply_rewrite, plan_rewrite
from studio.project.rules import apply_auto
from studio.text.pii import Kind

TAIL = "Consulte sempre o regulamento completo antes de pedir."
TOPICS = ["a fatura", "o alvará", "a creche", "o exame", "o livro", "a poda"]
MAIL, CPF = "ana.lima@exemplo.org", "529.982.247-25"


def rewritten(project: Project, kind: Rewrite, **options: object) -> list[tuple[str, str, str]]:
    changes = plan_rewrite(project, kind, **options)  # type: ignore[arg-type]
    apply_rewrite(project, kind, changes)
    return [(change.row_id, change.column, change.after) for change in changes]


def with_tails() -> list[tuple[str, str]]:
    return [(f"Onde peço {topic}?", f"Quem quer {topic} vai ao balcão {i}. {TAIL}") for i, topic in enumerate(TOPICS)]


def test_boilerplate_is_cut_and_undo_brings_it_back(make_project: Callable[..., Project]) -> None:
    project = make_project([*with_tails(), ("Só isso?", TAIL)])
    run_checks(project, configured(project.settings, ["boilerplate"]))
    changes = rewritten(project, Rewrite.BOILERPLATE)
    assert changes[0] == ("r0", "positive", "Quem quer a fatura vai ao balcão 0.")
    assert len(changes) == len(TOPICS)
    rows = project.curated().rows
    assert rows["positive"][6] == TAIL
    assert rows["status"].to_list()[:6] == ["edited"] * 6
    assert project.ledger.undo()
    assert project.curated().rows["positive"].equals(project.snapshot["positive"])


def test_boilerplate_needs_its_check(make_project: Callable[..., Project]) -> None:
    with pytest.raises(ProjectError, match="has not looked"):
        plan_rewrite(make_project(with_tails()), Rewrite.BOILERPLATE)


def test_a_passage_that_a_person_edited_keeps_what_they_wrote(make_project: Callable[..., Project]) -> None:
    project = make_project(with_tails())
    run_checks(project, configured(project.settings, ["boilerplate"]))
    project.ledger.append(Action.EDIT, [Target("r2", value='{"positive": "Meu texto."}')], actor="person", reason="x")
    assert "r2" not in {row_id for row_id, *_ in rewritten(project, Rewrite.BOILERPLATE)}
    assert project.curated().rows["positive"][2] == "Meu texto."


def test_personal_data_is_redacted_everywhere_and_only_the_kinds_asked_for(
    make_project: Callable[..., Project],
) -> None:
    row = {"query": f"De quem é o CPF {CPF}?", "positive": f"De {MAIL}.", "negatives": ["Nada.", f"Escreva a {MAIL}"]}
    project = make_project([row, ("Nada aqui?", "Nada.")])
    changes = rewritten(project, Rewrite.PII, kinds=(Kind.EMAIL,))
    assert {(column, after) for _, column, after in changes} == {
        ("positive", "De [EMAIL]."),
        ("negatives", "Escreva a [EMAIL]"),
    }
    curated = project.curated().rows.row(0, named=True)
    assert curated["query"] == row["query"]
    assert curated["negatives"] == ["Nada.", "Escreva a [EMAIL]"]
    assert [after for _, _, after in rewritten(project, Rewrite.PII)] == ["De quem é o CPF [CPF]?"]
    assert plan_rewrite(project, Rewrite.PII) == []


def test_what_was_redacted_stays_so_when_the_rule_runs_again(make_project: Callable[..., Project]) -> None:
    rows = [
        {"query": "Como pago?", "positive": f"Escreva a {MAIL}.", "negatives": ["Outra coisa.", f"Ligue ou {MAIL}"]},
        {"query": "como pago", "positive": "Outra coisa.", "negatives": ["Nada disso vale."]},
    ]
    project = make_project(rows)
    run_checks(project, configured(project.settings))
    apply_auto(project)
    rewritten(project, Rewrite.PII)
    project.ledger.append(Action.KEEP, [Target("r1")], actor="person", reason="x")
    apply_auto(project)
    texts = project.curated().kept.select(pl.concat_list("query", "positive", pl.col("negatives").list.join(" ")))
    assert MAIL not in " ".join(texts.to_series().explode())
    assert "Outra coisa." not in project.curated().rows["negatives"][0]


def test_wrong_decodings_are_mended(make_project: Callable[..., Project]) -> None:
    project = make_project([("Horário da agÃªncia?", "A agência abre às dez."), ("São João?", "É feriado.")])
    assert rewritten(project, Rewrite.MOJIBAKE) == [("r0", "query", "Horário da agência?")]
    assert project.curated().rows["query"][0] == "Horário da agência?"


def test_nothing_to_do_appends_nothing(make_project: Callable[..., Project]) -> None:
    project = make_project([("Como?", "Assim.")])
    assert apply_rewrite(project, Rewrite.PII, plan_rewrite(project, Rewrite.PII)) == 0
    assert project.ledger.log() == []
