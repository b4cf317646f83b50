import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import Setting
from studio.checks.boilerplate import Boilerplate, BoilerplateConfig, without_boilerplate
from studio.checks.near_duplicates import NearDuplicates, NearDuplicatesConfig
from studio.project.evidence import FLAGS_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from studio.text.segments import segment_key, spans_of
from tests.conftest import snapshot

COOKIES = "Esta página usa cookies para melhorar sua experiência."
RIGHTS = "Todos os direitos reservados ao portal."
SUBJECTS = ["ipva", "iptu", "fgts", "inss", "cnh", "rg", "mei", "irpf", "siape", "sus"]


def run(passages: Sequence[str], **config: object) -> Evidence:
    item = Boilerplate(BoilerplateConfig(**config), Setting(ProjectSettings(name="t")))
    return item.run(snapshot([(f"q{i}", passage) for i, passage in enumerate(passages)]))


def cut(passages: Sequence[str], evidence: Evidence) -> dict[str, list[str]]:
    """By row, the texts of the spans."""
    return {
        row_id: [passages[int(row_id[1:])][start:stop] for start, stop in json.loads(details)["spans"]]
        for row_id, details in evidence.flags.select("row_id", "evidence").iter_rows()
    }


def test_a_sentence_that_five_passages_share_is_found_and_one_that_four_share_is_not() -> None:
    passages = [f"Como pagar o {name} atrasado. {COOKIES}" for name in SUBJECTS[:5]]
    passages = [text + f"\n{RIGHTS}" if i < 4 else text for i, text in enumerate(passages)]
    found = run(passages)
    assert cut(passages, found) == {f"r{i}": [COOKIES] for i in range(5)}
    assert found.stats["segments"] == 1
    assert found.stats["from_passages"] == 5
    assert found.stats["most_common"] == [{"passages": 5, "text": segment_key(COOKIES)}]
    assert cut(passages, run(passages, min_passages=4))["r0"] == [COOKIES, RIGHTS]
    assert run(passages, min_passages=6).flags.is_empty()


def test_case_and_marks_at_the_edges_do_not_hide_it() -> None:
    lines = [COOKIES, COOKIES.upper(), f"• {COOKIES[:-1]}", f"“{COOKIES}”", f"- {COOKIES.lower()[:-1]}!!!"]
    passages = [f"Assunto {name}.\n\n{line}" for name, line in zip(SUBJECTS, lines, strict=False)]
    assert cut(passages, run(passages)) == {f"r{i}": [line] for i, line in enumerate(lines)}


def test_repeats_inside_one_passage_and_equal_passages_count_once() -> None:
    often = [f"{COOKIES} " * 6, f"O {SUBJECTS[0]} vence hoje. {COOKIES}"]
    assert run(often, min_passages=3).flags.is_empty()
    assert run(often * 5, min_passages=3).flags.is_empty()
    found = run(often * 2, min_passages=2)
    assert found.flags["row_id"].to_list() == ["r0", "r1", "r2", "r3"]
    assert cut(often * 2, found)["r2"] == [COOKIES] * 6


def test_the_share_of_the_passages_decides_where_it_is_the_greater() -> None:
    passages = [f"Assunto número {i} do portal" + (f". {COOKIES}" if i < 19 else "") for i in range(200)]
    assert run(passages, min_share=0.095).flags.height == 19
    assert run(passages, min_share=0.1).flags.is_empty()
    assert run(passages, min_share=0.1).stats["from_passages"] == 20


def test_exactly_the_share_is_enough() -> None:
    passages = [f"Assunto número {i} do portal" + (f". {COOKIES}" if i < 7 else "") for i in range(100)]
    assert run(passages, min_share=0.07).flags.height == 7


def test_shorter_sentences_are_not_counted() -> None:
    passages = [f"Sobre o {name} de hoje. Leia mais aqui. Leia mais sobre isso." for name in SUBJECTS]
    assert cut(passages, run(passages))["r0"] == ["Leia mais sobre isso."]
    assert cut(passages, run(passages, min_words=3))["r0"] == ["Leia mais aqui.", "Leia mais sobre isso."]


def test_the_score_is_the_share_of_words_and_decides_the_band() -> None:
    passages = [f"O {name} vence hoje sem falta. {RIGHTS}" for name in SUBJECTS[:5]]
    passages += [f"O {SUBJECTS[5]} vence. {RIGHTS}", RIGHTS]
    flags = run(passages).flags
    assert dict(flags.select("row_id", "score").iter_rows()) == {
        **{f"r{i}": 6 / 12 for i in range(5)},
        "r5": pytest.approx(6 / 9),
        "r6": 1.0,
    }
    assert flags["band"].to_list() == ["ignore"] * 5 + ["review"] * 2
    assert set(run(passages, warn=0.4).flags["band"]) == {"review"}
    assert set(run(passages, warn=1).flags["band"]) == {"ignore"}


def test_every_row_of_a_flagged_passage_has_its_flag() -> None:
    passages = [f"O {name} vence hoje. {RIGHTS}" for name in SUBJECTS] + ["nada", f"O ipva vence hoje. {RIGHTS}"]
    flags = run(passages).flags
    assert flags["row_id"].to_list() == [*(f"r{i}" for i in range(10)), "r11"]
    assert flags["evidence"][0] == flags["evidence"][10]
    assert set(flags["reason"]) == {"boilerplate"}


def test_what_is_left_without_boilerplate() -> None:
    passages = [f"O {name} vence hoje.\n{COOKIES}\n\nPague no banco {name}. {RIGHTS}" for name in SUBJECTS]
    passages = ["Nada disso aqui.", *passages, COOKIES]
    rows = snapshot([("q", passage) for passage in passages]).select("row_id", "positive")
    bare = without_boilerplate(rows, run(passages).flags)
    assert bare.rows()[0] == (1, "O ipva vence hoje.\nPague no banco ipva.")
    assert bare.rows()[-1] == (11, "")
    assert bare["row"].to_list() == list(range(1, 12))
    assert without_boilerplate(rows.head(0), run(passages).flags).is_empty()
    assert without_boilerplate(rows, run([]).flags).is_empty()


piece = st.sampled_from(
    [
        COOKIES,
        COOKIES.upper(),
        f"• {RIGHTS}",
        RIGHTS,
        "O prazo é de dez dias.",
        "o prazo é de dez dias",
        "Sim.",
        "a b c d",
    ]
)
passage_lists = st.lists(st.lists(piece, max_size=5).map("\n".join), max_size=9)


@settings(deadline=None, max_examples=60)
@given(passages=passage_lists, least=st.integers(2, 4), share=st.sampled_from([0.0, 0.25, 0.5]))
def test_flags_are_those_of_a_plain_loop(passages: list[str], least: int, share: float) -> None:
    distinct = dict.fromkeys(passages)
    keys = {text: [segment_key(text[slice(*span)]) for span in spans_of(text)] for text in distinct}
    expected = {}
    for i, text in enumerate(passages):
        common = []
        for key, (start, stop) in zip(keys[text], spans_of(text), strict=True):
            holders = sum(key in keys[other] for other in distinct)
            if len(key.split()) >= 4 and holders >= least and holders >= share * len(distinct):
                common.append(text[start:stop])
        if common:
            expected[f"r{i}"] = common
    found = run(passages, min_passages=least, min_share=share)
    assert cut(passages, found) == expected
    scores = dict(found.flags.select("row_id", "score").iter_rows())
    words = {row: sum(len(part.split()) for part in parts) for row, parts in expected.items()}
    assert scores == {row: pytest.approx(n / len(passages[int(row[1:])].split())) for row, n in words.items()}


HOSTILE = [
    "",
    " ",
    "\n" * 500,
    "x" * 200_000,
    f"{COOKIES} " * 4_000,
    "\x00\x01\x1b[2J a b c d",
    "\u2029" * 9,
    '"}{\\',
    "?!. " * 9,
]


@pytest.mark.parametrize(
    "passages",
    [[], ["uma só passagem com várias palavras"], HOSTILE, HOSTILE + [f"{text}\n{RIGHTS}" for text in HOSTILE]],
)
def test_it_is_pure_and_hostile_passages_do_no_harm(passages: list[str]) -> None:
    one, other = run(passages, min_passages=2), run(passages, min_passages=2)
    assert one.flags.equals(other.flags) and one.stats == other.stats
    assert one.flags.schema == FLAGS_SCHEMA
    assert all(json.loads(text)["spans"] for text in one.flags["evidence"])
    assert one.flags["score"].is_between(0, 1).all()
    assert one.edges.is_empty()
    assert json.loads(json.dumps(one.stats)) == one.stats


@pytest.mark.parametrize("wrong", [{"min_passages": 1}, {"min_share": 2}, {"min_words": 0}, {"warn": -1}, {"other": 1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BoilerplateConfig(**wrong)


FOOTER = (
    "Este conteúdo foi publicado pela assessoria de comunicação da secretaria de fazenda do estado.\n"
    "Para outras dúvidas procure a unidade de atendimento mais próxima da sua casa em dias úteis.\n"
    "A reprodução é permitida desde que citada a fonte e mantido o texto original por inteiro."
)
BODIES = [
    "Consulta de saldo.",
    "Consulta de saldo e extrato pelo aplicativo.",
    "O imposto sobre veículos vence em janeiro e pode ser parcelado em cinco vezes iguais e sucessivas.",
    "Quem perdeu o cartão deve ligar para a central e pedir o bloqueio imediato antes de qualquer compra.",
    "A matrícula na creche exige certidão de nascimento, caderneta de vacinas e comprovante de endereço.",
    "O passaporte fica pronto em seis dias e só o próprio dono pode retirá-lo na polícia federal.",
]


def near(
    passages: Sequence[str], *, masked: bool = True, **config: object
) -> dict[tuple[str, str], tuple[str, str | None, dict[str, Any]]]:
    item = NearDuplicates(NearDuplicatesConfig(mask_boilerplate=masked, **config), Setting(ProjectSettings(name="t")))
    item.needed = {"boilerplate": run(passages)}
    edges = item.run(snapshot([(f"q{i}", passage) for i, passage in enumerate(passages)])).edges
    return {
        (row["a_id"], row["b_id"]): (row["band"], row["rejected_by"], json.loads(row["evidence"]))
        for row in edges.iter_rows(named=True)
    }


def test_passages_that_share_boilerplate_only_are_held() -> None:
    passages = [f"{body}\n{FOOTER}" for body in BODIES]
    band, reason, details = near(passages)["r0", "r1"]
    assert (band, reason) == ("review", "boilerplate")
    assert details["masked"] == 0.2  # 1 of 5 word shingles of the two bodies
    band, reason, details = near(passages, masked=False)["r0", "r1"]
    assert (band, reason) == ("auto", None)
    assert details["masked"] == 0.2


def test_the_guard_is_named_before_the_boilerplate() -> None:
    passages = [f"{body}\n{FOOTER}" for body in ["Vale até 2023.", "Vale até 2024.", *BODIES[2:]]]
    assert near(passages)["r0", "r1"][:2] == ("review", "guard_numbers")
    assert near(passages, guard=False)["r0", "r1"][:2] == ("review", "boilerplate")
    assert near(passages, guard=False, masked=False)["r0", "r1"][:2] == ("auto", None)


def test_duplicates_of_each_other_stay_auto_though_both_have_boilerplate() -> None:
    long = f"{BODIES[2]} {BODIES[3]}"
    passages = [
        f"{body}\n{FOOTER}" for body in [long, long.replace("parcelado", "parcleado"), *BODIES[4:], *BODIES[:2]]
    ]
    band, reason, details = near(passages)["r0", "r1"]
    assert (band, reason) == ("auto", None)
    assert details["masked"] == round(30 / 36, 4)  # three of the 33 word shingles of each are the typing error's


def test_many_copies_of_one_passage_with_a_typing_error_each_are_auto() -> None:
    first = "A segunda via da fatura pode ser emitida pelo portal do cliente com o número da instalação."
    long = f"{first} {' '.join(BODIES[2:])}"
    typos = [
        ("fatura", "ftaura"),
        ("emitida", "emtiida"),
        ("portal", "potral"),
        ("cliente", "cleinte"),
        ("número", "núemro"),
    ]
    copies = [long, *(long.replace(*typo) for typo in typos)]
    assert near(copies, masked=False)["r0", "r1"][:2] == ("auto", None)
    assert near(copies[:4])["r0", "r1"][:2] == ("auto", None)
    assert near(copies)["r0", "r1"][:2] == ("auto", None)


def test_boilerplate_in_one_passage_only_masks_nothing() -> None:
    body = " ".join(BODIES[2:])
    passages = [
        body,
        f"{body} Todos os direitos são reservados",
        *(f"{text} Todos os direitos são reservados" for text in BODIES[2:]),
    ]
    assert "masked" not in near(passages)["r0", "r1"][2]
    assert near(passages)["r0", "r1"][:2] == ("auto", None)
