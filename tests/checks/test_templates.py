import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import Setting
from studio.checks.templates import Templates, TemplatesConfig
from studio.project.evidence import FLAGS_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from tests.conftest import snapshot


def run(queries: Sequence[str], passages: Sequence[str] = (), **config: object) -> Evidence:
    item = Templates(TemplatesConfig(**config), Setting(ProjectSettings(name="t")))
    rows = [
        (query, passages[i] if passages else f"texto {'abcdefghijklmnop'[i % 16]}") for i, query in enumerate(queries)
    ]
    return item.run(snapshot(rows))


def families(evidence: Evidence, reason: str = "query_template") -> dict[str, list[str]]:
    """By pattern, the rows of the family."""
    found: dict[str, list[str]] = {}
    for row_id, why, details in evidence.flags.select("row_id", "reason", "evidence").iter_rows():
        if why == reason:
            found.setdefault(json.loads(details)["pattern"], []).append(row_id)
    return found


ALL = [f"r{i}" for i in range(5)]

FAMILIES = {
    "number": (
        [f"o que diz a lei {n} de hoje?" for n in ("8.112", "8.666", "10.406", "9.394", "13.709")],
        "o que diz a lei ⟨number⟩ de hoje",
    ),
    "year": (
        [f"Calendário do IPVA {year} em São Paulo" for year in range(2020, 2025)],
        "calendário do ⟨name⟩ ⟨number⟩ em ⟨name⟩",
    ),
    "date": (
        [
            f"o que aconteceu em {day} no Brasil?"
            for day in ("10/03/2020", "1/1/99", "3 de maio de 1980", "1º de abril", "2020-01-31")
        ],
        "o que aconteceu em ⟨date⟩ no ⟨name⟩",
    ),
    "name": (
        [
            f"onde fica a prefeitura de {city}?"
            for city in ("Olinda", "São Paulo", "Rio de Janeiro", "Santana dos Matos", "Água Preta")
        ],
        "onde fica a prefeitura de ⟨name⟩",
    ),
    "money": (
        [f"como pagar a taxa de {price} hoje" for price in ("R$ 10", "R$10,50", "US$ 1.000", "€ 3", "r$ 7")],
        "como pagar a taxa de ⟨money⟩ hoje",
    ),
    "mail": (
        [f"para que serve o endereço {who}@exemplo.com.br ?" for who in "abcde"],
        "para que serve o endereço ⟨mail⟩",
    ),
    "url": (
        [f"o que encontro na página https://exemplo.com/{n} hoje" for n in "abcde"],
        "o que encontro na página ⟨url⟩ hoje",
    ),
    "id": ([f"de quem é o cpf 123.456.789-0{n} por favor" for n in range(5)], "de quem é o cpf ⟨id⟩ por favor"),
    "hour": (
        [f"o banco abre às {hour} no sábado" for hour in ("10:30", "9", "8:15", "11", "12:00")],
        "o banco abre às ⟨number⟩ no sábado",
    ),
    "case_and_spacing": (
        [
            "Qual o prazo da Lei 1?",
            "qual o prazo da Lei 2",
            "QUAL o  prazo da Lei 3 ",
            "qual o prazo da Lei 4!",
            "Qual o prazo\tda Lei 5...",
        ],
        "qual o prazo da ⟨name⟩ ⟨number⟩",
    ),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_texts_with_other_slots_are_a_family_and_the_pattern_is_shown(case: str) -> None:
    texts, pattern = FAMILIES[case]
    assert families(run(texts)) == {pattern: ALL}
    assert families(run([f"q{name}" for name in "abcde"], texts), "passage_template") == {pattern: ALL}
    assert families(run(texts[:4])) == {}
    assert families(run(texts[:4], min_family=4)) == {pattern: ALL[:4]}


@pytest.mark.parametrize("case", FAMILIES)
def test_members_of_a_family_are_never_auto_or_for_review(case: str) -> None:
    flags = run(FAMILIES[case][0], FAMILIES[case][0]).flags
    assert set(flags["band"]) == {"ignore"}
    assert set(flags["reason"]) == {"query_template", "passage_template"}
    assert {json.loads(text)["family"] for text in flags["evidence"]} == {5}


VERBS = ["pagar", "emitir", "cancelar", "parcelar", "contestar", "imprimir"]
OTHER_WORDS = {
    "verbs": [f"como {verb} a multa do detran de 2023" for verb in VERBS],
    "verbs_and_numbers": [f"como {verb} a multa {i} do detran" for i, verb in enumerate(VERBS)],
    "lower_case_names": [
        f"onde fica a prefeitura de {city} em 2023" for city in ("olinda", "natal", "belém", "goiás", "macapá")
    ],
    "negation": [
        f"quem{no} pode votar em {2018 + i} no Brasil" for i, no in enumerate(["", " não", " nunca", " nem", " já"])
    ],
    "at_the_beginning": [f"{verb.capitalize()} a multa de 2023 do detran" for verb in VERBS],
    "second_sentence": [f"vence hoje a multa de 2023. {verb.capitalize()} como" for verb in VERBS],
    "numerals": [f"multa por {n} dias de atraso na conta 7" for n in ("dois", "três", "quatro", "cinco", "seis")],
}


@pytest.mark.parametrize("case", OTHER_WORDS)
def test_texts_that_differ_in_other_words_are_no_family(case: str) -> None:
    assert run(OTHER_WORDS[case], OTHER_WORDS[case]).flags.is_empty()


CAPITALS_THAT_ARE_NO_NAMES = {
    "all_capitals": [f"QUAL O PRAZO DA LEI 8112 PARA {verb.upper()} A MULTA" for verb in VERBS],
    "next_line": [f"sobre a multa do detran\n{verb.capitalize()} a multa de 2023" for verb in VERBS],
    "after_a_number": [f"veja o que diz o art. 10 {verb.capitalize()} a multa vencida" for verb in VERBS],
    "after_a_number_and_a_line": [
        f"manual do detran, página 7\n\n{verb.capitalize()} a multa vencida" for verb in VERBS
    ],
}


@pytest.mark.parametrize("case", CAPITALS_THAT_ARE_NO_NAMES)
def test_texts_that_differ_in_other_words_are_no_family_whatever_their_capitals(case: str) -> None:
    assert run(CAPITALS_THAT_ARE_NO_NAMES[case]).flags.is_empty()


def test_equal_texts_are_one_member_and_every_row_is_flagged() -> None:
    laws = [f"o que diz a lei {n}" for n in range(4)]
    assert run(laws * 3).flags.is_empty()
    assert run([*laws, *(law.upper() for law in laws), *(law + "?" for law in laws)]).flags.is_empty()
    found = run([*laws, "o que diz a lei 4", laws[0], "outra coisa"])
    assert families(found) == {"o que diz a lei ⟨number⟩": [*ALL, "r5"]}
    assert {json.loads(text)["family"] for text in found.flags["evidence"]} == {5}


def test_the_pattern_has_words_outside_its_slots() -> None:
    assert families(run([f"lei {n}" for n in range(9)])) == {}
    assert families(run([f"lei {n}" for n in range(9)], min_words=1)).keys() == {"lei ⟨number⟩"}
    assert families(run([str(n) for n in range(9)], min_words=1)) == {}


def test_slots_and_families_are_counted() -> None:
    texts = [f"de {n} a {n + 1} na cidade de Olinda" for n in range(5)]
    laws = [f"o que diz a lei {n}" for n in range(5)]
    found = run(texts + laws)
    assert {(json.loads(text)["slots"], json.loads(text)["family"]) for text in found.flags["evidence"]} == {
        (3, 5),
        (1, 5),
    }
    assert found.stats == {"query_template_families": 2, "passage_template_families": 0}


def test_texts_that_hold_the_marks_of_slots_are_no_slots() -> None:
    found = families(run([f"o valor ⟨de⟩ cada um {name}" for name in ("ana", "bia", "caio", "davi", "eva")]))
    assert found == {}


word = st.sampled_from(["lei", "prazo", "de", "Recife", "2023", "R$ 10", "10/03/2020", "não", "é", "multa"])


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.lists(word, max_size=5).map(" ".join), max_size=14))
def test_members_of_a_family_have_the_same_words_outside_the_slots(texts: list[str]) -> None:
    found = families(run(texts, min_family=2, min_words=1))
    for rows in found.values():
        members = [texts[int(row[1:])].lower() for row in rows]
        outside = {
            tuple(w for w in text.split() if w in {"lei", "prazo", "de", "não", "é", "multa"}) for text in members
        }
        assert len(outside) == 1
        assert len(set(members)) >= 2


HOSTILE = [
    "",
    " ",
    "\n" * 99,
    "x" * 200_000,
    "1 " * 50_000,
    "a A " * 20_000,
    "\x00\x01\x1c 7",
    "⟨⟩⟨number⟩",
    '"}{\\ 3',
    "@" * 9_000,
    "1." * 9_000,
]


@pytest.mark.parametrize(
    "texts", [[], ["o que diz a lei 8.112"], HOSTILE, [text + f" lei {n}" for n in range(5) for text in HOSTILE]]
)
def test_it_is_pure_and_hostile_texts_do_no_harm(texts: list[str]) -> None:
    one, other = run(texts, texts, min_words=1), run(texts, texts, min_words=1)
    assert one.flags.equals(other.flags) and one.stats == other.stats
    assert one.flags.schema == FLAGS_SCHEMA
    assert all(isinstance(json.loads(text), dict) for text in one.flags["evidence"])
    assert one.edges.is_empty()


@pytest.mark.parametrize("wrong", [{"min_family": 1}, {"min_words": 0}, {"family": 5}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TemplatesConfig(**wrong)
