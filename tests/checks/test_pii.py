import json
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from studio.checks.base import Setting, all_checks
from studio.checks.pii import Pii, PiiConfig
from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.project.evidence import FLAGS_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from studio.text.pii import find
from tests.conftest import snapshot


def run(rows: list[Any], **config: Any) -> Evidence:
    return Pii(PiiConfig(**config), Setting(ProjectSettings(name="t"))).run(snapshot(rows))


def flags(evidence: Evidence) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row, reason, json.loads(e)) for row, reason, e in evidence.flags["row_id", "reason", "evidence"].rows()]


def test_it_is_known_by_its_name() -> None:
    assert all_checks()["pii"] is Pii


def test_one_flag_for_each_row_column_and_kind() -> None:
    rows = [
        ("De quem é o CPF 529.982.247-25?", "É de ana@exemplo.com; antes era de rui@exemplo.org e 529.982.247-25."),
        ("Qual o prazo?", "São trinta dias."),
    ]
    evidence = run(rows)
    assert flags(evidence) == [
        ("r0", "pii_cpf", {"column": "query", "count": 1, "shown": "***.***.***-25"}),
        ("r0", "pii_email", {"column": "positive", "count": 2, "shown": "***@***.com"}),
        ("r0", "pii_cpf", {"column": "positive", "count": 1, "shown": "***.***.***-25"}),
    ]
    assert set(evidence.flags["band"]) == {"review"}
    assert evidence.flags.schema == FLAGS_SCHEMA


def test_negatives_are_searched_and_the_first_is_named() -> None:
    negatives = ["nada aqui", "ligue (11) 98765-4321", "ligue (11) 98765-4322 ou (11) 98765-4323"]
    assert flags(run([{"query": "q", "positive": "p", "negatives": negatives}])) == [
        ("r0", "pii_phone", {"column": "negatives", "index": 1, "count": 3, "shown": "(**) *****-**21"})
    ]


def test_every_row_with_the_same_text_is_flagged() -> None:
    assert [row for row, *_ in flags(run([("q", "CEP 01310-100")] * 3))] == ["r0", "r1", "r2"]


def test_the_evidence_does_not_hold_the_datum() -> None:
    uuid = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    text = f"ana@exemplo.com 529.982.247-25 11.222.333/0001-81 (11) 98765-4321 01310-100 pix {uuid}"
    evidence = "".join(run([("q", text)]).flags["evidence"])
    assert len(find(text)) == 6
    assert not any(hit.text in evidence for hit in find(text))


def test_kinds_can_be_chosen_and_must_be_known() -> None:
    rows = [("q", "ana@exemplo.com, CPF 529.982.247-25")]
    assert [reason for _, reason, _ in flags(run(rows, kinds=("cpf",)))] == ["pii_cpf"]
    for kinds in (("rg",), ()):
        with pytest.raises(ValidationError):
            PiiConfig(kinds=kinds)


def test_a_table_without_rows_or_data_has_no_flags() -> None:
    assert run([]).flags.is_empty()
    assert run([("", ""), ("\x00", "\u202e" * 10)]).flags.is_empty()
    assert (
        Pii(PiiConfig(), Setting(ProjectSettings(name="t"))).run(pl.DataFrame(schema=SNAPSHOT_SCHEMA)).edges.is_empty()
    )
