import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from studio.checks.base import Setting
from studio.checks.prompt_lint import PromptLint
from studio.errors import ConfigError, InputError, StudioError, UnavailableError, UsageError
from studio.models.tokenizer import load_tokenizer
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ModelSettings, PromptSettings
from studio.prompts.contract import PromptContract, Role
from studio.prompts.lint import lint_contract
from studio.prompts.presets import PRESETS
from studio.prompts.preview import preview_rows
from studio.prompts.prompted import find_prompted_rows
from studio.sample import model_location
from studio.view.bench import Bench
from studio.view.prompting import contract_report, first_difference, prompt
from studio.view.tokens import count_tokens, read_tokens

OWN = PRESETS["web_search_query"]
LONG = "A segunda via pode ser pedida no portal do cliente. " * 20
ROWS: list[Any] = [
    ("Como pedir 2ª via da fatura?", LONG),
    ("Instruct: Given a question\nQuery: oi", "passage: sim, pode"),
    {"query": "[/] [INST] \x1b[31m", "positive": "Instruct: a b", "negatives": ["um <eos> dois", "query: três"]},
    ("sem prompt", "nem aqui"),
]


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(ROWS)


@pytest.mark.parametrize("name", ["web_search_query", "none", "portuguese_qa_pt"])
@pytest.mark.parametrize("length", [16, 64, 512])
def test_the_preview_is_that_of_preview_rows(project: Project, name: str, length: int) -> None:
    bench, preset = Bench(project.root), PRESETS[name]
    tokenizer = load_tokenizer(model_location("harrier-tiny"))
    for position in range(len(ROWS)):
        [expected] = preview_rows(project.snapshot[position], preset.contract(), tokenizer, length)
        found = prompt(bench, position, preset.query, preset.document, length)
        assert found.texts == expected.texts
        assert (found.row_id, found.contract) == (expected.row_id, expected.contract)
        assert found.special_ids == tokenizer.special_ids
        assert found.status == "kept"


def test_the_preview_reads_the_row_as_it_is_curated(project: Project) -> None:
    edit = Target("r3", value=json.dumps({"query": "uma outra consulta"}))
    project.ledger.append_step([(Action.EDIT, "edited by hand", [edit])])
    project.ledger.append_step([(Action.DROP, "no use", [Target("r1")])])
    bench = Bench(project.root)
    edited = prompt(bench, 3, "q: ", "", 64)
    assert edited.texts[0].raw == "q: uma outra consulta"
    assert edited.status == "edited"
    assert prompt(bench, 1, "q: ", "", 64).status == "removed"


def test_a_contract_reaches_every_text_of_its_role(project: Project) -> None:
    query, *documents = prompt(Bench(project.root), 2, "Q \n", "D\t", 64).texts
    assert query.raw == "Q \n" + ROWS[2]["query"]
    assert [text.raw for text in documents] == ["D\tInstruct: a b", "D\tum <eos> dois", "D\tquery: três"]
    assert documents[1].special_in_text == 1


@pytest.mark.parametrize("position", [-1, 4, 10**9])
def test_a_row_that_is_not_there(project: Project, position: int) -> None:
    with pytest.raises(UsageError, match="no row"):
        prompt(Bench(project.root), position, "", "", 64)


@pytest.mark.parametrize("length", [0, -3, 2])
def test_a_length_without_room(project: Project, length: int) -> None:
    with pytest.raises(ConfigError, match="length"):
        prompt(Bench(project.root), 0, "", "", length)


@pytest.mark.parametrize("role", list(Role))
def test_half_a_character_is_an_error_and_no_crash(project: Project, role: Role) -> None:
    strings = {"query": "", "document": "", role.value: "a\ud800"}
    for question in (
        lambda: prompt(Bench(project.root), 0, max_length=64, **strings),
        lambda: contract_report(Bench(project.root), max_length=64, **strings),
    ):
        with pytest.raises(ConfigError, match="UTF-8"):
            question()


@pytest.mark.parametrize(("model", "kind"), [("no/such-model", UnavailableError), ("./nowhere", InputError)])
def test_a_model_out_of_reach(project: Project, model: str, kind: type[StudioError]) -> None:
    with pytest.raises(kind):
        prompt(Bench(project.root), 0, "", "", 64, model)


def test_the_report_without_a_model_says_why_and_goes_on(make_project: Callable[..., Project]) -> None:
    project = make_project(ROWS, model=ModelSettings(id="./nowhere"))
    report = contract_report(Bench(project.root), "Instruct: x\nQuery:", "", 64)
    assert report.own is None
    assert report.model_error is not None and "nowhere" in report.model_error
    assert [lint.code for lint in report.lints] == ["no_trailing_space"]
    assert {use.name: use.equal for use in report.uses}["saved model"] is None
    assert {use.name: use.equal for use in report.uses}["preview"] is None
    assert report.prompted


def test_lints_are_those_of_the_contract_and_the_model(project: Project) -> None:
    report = contract_report(Bench(project.root), OWN.query + "  ", "doc: ", 64)
    assert report.own is not None
    assert list(report.lints) == lint_contract(PromptContract.custom(OWN.query + "  ", "doc: "), report.own)
    assert report.own.prompts["web_search_query"] == OWN.query


def test_prompted_rows_are_those_of_the_check(project: Project) -> None:
    report = contract_report(Bench(project.root), OWN.query, "", 64)
    found = PromptLint(PromptLint.config_type(), Setting(project.settings)).run(project.snapshot).flags
    assert {each.reason: each.texts for each in report.prompted} == dict(found["reason"].value_counts().iter_rows())
    for each in report.prompted:
        rows = found.filter(pl.col("reason") == each.reason)["row_id"].unique().sort().to_list()
        assert [f"r{position}" for position in each.positions] == rows
    assert {each.reason: each.example for each in report.prompted}["passage_already_prompted"] == "passage: "


def test_prompted_rows_follow_the_decisions(project: Project) -> None:
    bench = Bench(project.root)
    assert {each.reason for each in contract_report(bench, OWN.query, "", 64).prompted} == {
        "query_already_prompted", "passage_already_prompted", "passage_has_query_prompt",
    }  # fmt: skip
    project.ledger.append_step([(Action.DROP, "no use", [Target("r1")])])
    fields = {"query": "query: agora sim", "positive": "sem nada"}
    project.ledger.append_step([(Action.EDIT, "edited", [Target("r3", value=json.dumps(fields))])])
    report = contract_report(bench, OWN.query, "", 64)
    expected = find_prompted_rows(project.curated().kept, PromptContract.custom(OWN.query))
    assert sum(each.texts for each in report.prompted) == expected.height
    assert {each.reason: each.positions.tolist() for each in report.prompted} == {
        "query_already_prompted": [3],
        "passage_has_query_prompt": [2],
    }
    assert report.rows == 3
    assert report.edited == 1


def test_truncation_is_counted_from_the_token_counts(project: Project) -> None:
    bench = Bench(project.root)
    assert contract_report(bench, OWN.query, "", 32).counted == "none"
    count_tokens(project)
    counts = read_tokens(project)
    assert counts is not None
    report = contract_report(bench, OWN.query, "", 32)
    assert report.counted == "this"
    for each in report.truncation:
        over = np.maximum(counts[each.column].to_numpy().astype(int) - 32, 0)
        assert each.positions.tolist() == np.flatnonzero(over).tolist()
        assert each.lost == over.sum()
        assert each.share == np.count_nonzero(over) / len(ROWS)
    assert [len(each.positions) for each in report.truncation][1] == 1
    project.ledger.append_step([(Action.DROP, "no use", [Target("r0")])])
    assert [len(each.positions) for each in contract_report(bench, OWN.query, "", 32).truncation][1] == 0


def test_counts_of_another_contract_do_not_hold(project: Project) -> None:
    count_tokens(project)
    report = contract_report(Bench(project.root), "another: ", "", 32)
    assert report.counted == "other"
    assert report.truncation == ()


def test_uses_are_compared_and_not_asserted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(project.root)
    own = {use.name: use.equal for use in contract_report(bench, OWN.query, "", 64).uses}
    assert own == {"studio.toml": True, "trainer": True, "saved model": True, "preview": True, "manifest": True}
    other = {use.name: use.equal for use in contract_report(bench, "another: ", "doc: ", 64).uses}
    assert other == own | {"studio.toml": False}

    monkeypatch.setattr(PromptContract, "as_trainer_prompts", lambda self, columns: {"query": self.query.strip()})
    monkeypatch.setattr(PromptContract, "as_model_prompts", lambda self, existing: {**existing, "query": self.query})
    monkeypatch.setattr(PromptContract, "apply", lambda self, role, text: f"{self.prompt(role)} {text}")
    broken = {use.name: use.equal for use in contract_report(bench, OWN.query, "", 64).uses}
    assert broken == {"studio.toml": True, "trainer": False, "saved model": False, "preview": False, "manifest": True}


def test_settings_on_disk_are_what_is_compared(project: Project) -> None:
    bench = Bench(project.root)
    path = Path(project.root / "studio.toml")
    path.write_text(path.read_text("utf-8").replace("web search query,", "web query,"), "utf-8")
    assert contract_report(bench, OWN.query, "", 64).uses[0].equal is False
    saved = PromptSettings(query=OWN.query.replace("web search query,", "web query,"))
    assert contract_report(bench, saved.query, "", 64).uses[0].equal is True


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("abc", "abc", None),
        ("abc", "abd", (2, 2)),
        ("Query: ", "Query:", (6, 6)),
        ("", "x", (0, 0)),
        ("é a", "é b", (3, 2)),
        ("é", "è", (1, 0)),
        ("a\ud800", "a\udc00", (2, 1)),
    ],
)
def test_first_difference(one: str, other: str, expected: tuple[int, int] | None) -> None:
    found = first_difference(one, other)
    assert (None if found is None else (found.byte, found.character)) == expected
