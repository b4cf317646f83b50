import json
import time
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import Setting, all_checks
from studio.checks.quality import Quality, QualityConfig
from studio.project.evidence import FLAGS_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from studio.text.normalise import Level, normalised
from studio.text.quality_marks import controls, copies, has_controls
from tests.conftest import snapshot

QUERY = "Qual é o prazo para recorrer da multa?"
PASSAGE = "O recurso deve ser entregue em até trinta dias, contados do recebimento da notificação."


def run(rows: list[Any], **config: Any) -> Evidence:
    return Quality(QualityConfig(**config), Setting(ProjectSettings(name="t"))).run(snapshot(rows))


def flags(evidence: Evidence) -> list[tuple[str, str, dict[str, Any]]]:
    return [(row, reason, json.loads(e)) for row, reason, e in evidence.flags["row_id", "reason", "evidence"].rows()]


def of(reason: str, rows: list[Any], **config: Any) -> dict[str, dict[str, Any]]:
    """What is said for one reason, by row."""
    said = [(row, evidence) for row, found, evidence in flags(run(rows, **config)) if found == reason]
    assert len(dict(said)) == len(said), "one flag a row and reason"
    return dict(said)


def passage(text: str) -> tuple[str, str]:
    return (QUERY, text)


def test_it_is_known_by_its_name() -> None:
    assert all_checks()["quality"] is Quality


def test_a_good_pair_has_no_flags() -> None:
    rows = [
        (QUERY, PASSAGE),
        (
            "Onde fica a secretaria de saúde?",
            "A secretaria fica na “Rua Alfa”, nº 5 – 2º andar, e abre às 8h (exceto feriados).",
        ),
        (
            "A NÃO INCIDÊNCIA DA TAXA É AUTOMÁTICA?",
            "NÃO. A isenção é dada à vista do pedido; a irmã do servidor também pode pedir.",
        ),
        ("Quando x < y e y > z?", "Se a < b e b < c, então a < c; a propriedade vale para todos os números reais."),
    ]
    evidence = run(rows)
    assert flags(evidence) == []
    assert evidence.notes == ()
    assert evidence.flags.schema == FLAGS_SCHEMA


def test_everything_is_for_a_person() -> None:
    evidence = run([("a", "b"), (PASSAGE, PASSAGE), passage("<br>")])
    assert set(evidence.flags["band"]) == {"review"}
    assert evidence.flags["score"].is_between(0, 1).all()


@pytest.mark.parametrize(
    ("reason", "row", "words"),
    [
        ("query_too_short", ("prazo – recurso?", PASSAGE), 2),
        ("passage_too_short", passage("Em até trinta dias contados da notificação da multa."), 9),
        ("query_too_long", ("prazo " * 101, PASSAGE), 101),
        ("passage_too_long", passage("prazo " * 1501 + "."), 1501),
    ],
)
def test_lengths_are_counted_in_words(reason: str, row: tuple[str, str], words: int) -> None:
    column = reason.partition("_")[0].replace("passage", "positive")
    assert of(reason, [row, (QUERY, PASSAGE)]) == {"r0": {"column": column, "words": words}}


def test_lengths_can_be_set() -> None:
    assert of("query_too_short", [("multa", PASSAGE)], query_min_words=1) == {}
    assert of("passage_too_long", [passage(PASSAGE)], passage_max_words=12)["r0"]["words"] == 14


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert of("query_too_short", [("如何支付罚款", PASSAGE)]) == {}


def test_a_query_that_stands_in_its_passage() -> None:
    rows = [
        ("prazo  para RECORRER da multa?", "O prazo para recorrer da multa é de trinta dias após a notificação."),
        ("prazo para recorrer", "O prazo para recorrer da multa é de trinta dias."),
        ("artigo 1º da lei", "Conforme o ARTIGO 1o DA LEI, todos são iguais."),
        ("valor do benefício final", "O valor do bene\ufb01\u0301cio… valor do bene\u00adf\u00edcio final."),
        ("taxa de 10² metros", "A taxa de 102 metros é maior."),
    ]
    assert set(of("query_in_passage", rows)) == {"r0", "r2", "r3"}


def test_a_query_that_is_its_passage_is_not_also_inside_it() -> None:
    rows = [("Qual o prazo do recurso?", "“qual o  prazo do recurso”"), ("multa", "Multa."), ("?", "!")]
    assert set(of("query_equals_passage", rows)) == {"r0", "r1"}
    assert of("query_in_passage", rows) == {}


WORDS = st.sampled_from(
    [
        "taxa",
        "Taxa",
        "o",
        "1º",
        "1o",
        "bene\ufb01cio",
        "beneficio",
        "aví\u00adso",
        "aviso",
        "10²",
        "10",
        "ß",
        "ss",
        "é",
        "e\u0301",
    ]
    + ["\u212a", "k", "…", "-", "–", ".", "?", "(", "“", "ｔaxa", "№", "no", "½", "İ", "\u200b", "º", "\0"]
)
PHRASE = st.lists(st.tuples(WORDS, st.sampled_from([" ", "", "  ", "\n", "\u00a0"])), max_size=6).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(st.tuples(PHRASE, PHRASE), st.tuples(PHRASE, PHRASE).map(lambda p: (p[0], p[1] + p[0] + p[1]))),
        max_size=8,
    )
)
def test_copies_are_those_that_normalising_everything_would_find(rows: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"query": pl.String, "positive": pl.String}, orient="row").with_row_index("row")
    keys = frame.select("row", *(normalised(pl.col(name), Level.SURFACE) for name in ("query", "positive")))
    expected = {(row, query == key) for row, query, key in keys.iter_rows() if query and query in key}
    assert set(copies(frame.lazy())["row", "equal"].rows()) == expected


def test_a_passage_that_is_a_question() -> None:
    rows = [
        passage("Qual é o prazo para recorrer da multa de trânsito no art.5 da lei?”"),
        passage("Qual é o prazo? O prazo é de trinta dias contados da notificação."),
        passage("O prazo é de trinta dias. Quer saber mais?"),
        passage(" ".join(["quem"] * 31) + "?"),
        passage("?"),
    ]
    assert set(of("passage_is_question", rows)) == {"r0"}


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        (" contados,", ","),
        (" contados -", "-"),
        (" contados (", "("),
        (" contados de", "de"),
        (" contados (o\n ", "o"),
        (" e o órgão que", "que"),
        (" of the", "the"),
        (" contados en el", "el"),
        (" contados...", "..."),
        (" contados…", "…"),
    ],
)
def test_a_passage_that_breaks_off(end: str, shown: str) -> None:
    text = "O recurso deve ser entregue em até trinta dias sempre" + end
    assert of("truncated_answer", [passage(text)]) == {"r0": {"column": "positive", "ends": shown}}


@pytest.mark.parametrize("end", [".", "", " contados", " vitamina A", " (…)", " [...]", ":", ";", " onde?”", " saúde"])
def test_a_passage_that_may_end_so(end: str) -> None:
    assert of("truncated_answer", [passage("O recurso deve ser entregue em até trinta dias sempre" + end)]) == {}


def test_a_title_may_end_anyhow() -> None:
    assert of("truncated_answer", [passage("Multas, taxas e")]) == {}


def test_text_that_was_decoded_wrongly_is_shown_put_right() -> None:
    wrong = PASSAGE.encode().decode("cp1252")
    assert of("mojibake", [passage(wrong), passage(PASSAGE)]) == {"r0": {"column": "positive", "fixed": PASSAGE}}


def test_of_a_long_text_only_the_place_is_shown() -> None:
    shown = of("mojibake", [passage("taxa " * 1000 + "de inscriÃ§Ã£o " * 100)])["r0"]["fixed"]
    assert "de inscrição" in shown
    assert len(shown) == 200


def test_the_replacement_character_tells_of_a_loss() -> None:
    assert of("mojibake", [("inscri\ufffd\ufffdo da taxa", PASSAGE)]) == {"r0": {"column": "query"}}


def test_the_first_damaged_text_of_a_row_is_named_and_the_others_counted() -> None:
    row = {"query": QUERY, "positive": PASSAGE, "negatives": ["sim", "nÃ£o", "tambÃ©m\x07"]}
    assert of("mojibake", [row]) == {"r0": {"column": "negatives", "index": 1, "fixed": "não", "others": 1}}
    assert of("control_characters", [row]) == {
        "r0": {"column": "negatives", "index": 2, "code_points": ["U+0007"], "count": 1}
    }


def test_control_characters_are_named_by_their_code_points() -> None:
    rows = [passage("um\x00 dois\x1b\x1b três\u202e"), passage("um\tdois\r\ntrês\u200b")]
    assert of("control_characters", rows) == {
        "r0": {"column": "positive", "code_points": ["U+0000", "U+001B", "U+202E"], "count": 4}
    }


@given(st.lists(st.one_of(st.text(), st.text("a\t\n\r\x0b\x7f\x85\u202a\u202f\u2069\u206a", max_size=5)), max_size=10))
def test_both_ways_to_look_for_controls_agree(texts: list[str]) -> None:
    found = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(has_controls(pl.col("text")))
    assert found.to_series().to_list() == [bool(controls(text)) for text in texts]


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("um<br/>dois", "html_tag", "<br/>"),
        ('veja <a href="/x">aqui</a>', "html_tag", '<a href="/x">'),
        ("um &nbsp; dois", "html_entity", "&nbsp;"),
        ("d&#39;água", "html_entity", "&#39;"),
        ("a [[Página|página]] diz", "wiki_link", "[[Página|página]]"),
        ("em [b]negrito[/b]", "bbcode", "[/b]"),
        ("veja [aqui](https://exemplo.com/a)", "markdown_link", "[aqui](https://exemplo.com/a)"),
    ],
)
def test_markup_is_named(text: str, kind: str, found: str) -> None:
    assert of("markup_leftovers", [(text, "<p>")]) == {"r0": {"column": "query", "kind": kind, "found": found}}
    assert of("markup_leftovers", [passage(text)])["r0"]["column"] == "positive"


@pytest.mark.parametrize(
    "text", ["a < b e c > d", "a<b", "<3", "[i] um [ii] dois", "P&D; Q&A", "f(x)[1](dois)", "<nome>"]
)
def test_signs_are_no_markup(text: str) -> None:
    assert of("markup_leftovers", [passage(text)]) == {}


PORTUGUESE = "Não sei até quando ainda posso recorrer da multa que recebi na semana passada, alguém sabe?"
SPANISH = "El plazo para presentar el recurso es de treinta días desde la notificación de la sanción."
ENGLISH = "The appeal has to be filed within thirty days after the notice of the fine was received."


def test_a_language_that_is_rare_in_its_column_is_wrong() -> None:
    rows = [(f"Qual é o prazo para recorrer da multa número {i}?", f"{PASSAGE} Caso {i}.") for i in range(20)]
    found = of("wrong_language", [*rows, (rows[0][0], ENGLISH)])
    assert found.keys() == {"r20"}
    assert found["r20"]["column"] == "positive" and found["r20"]["language"] == "en"
    assert found["r20"]["confidence"] >= 0.7


def test_languages_that_are_common_belong_here_unless_they_are_named() -> None:
    rows = [passage(PASSAGE), passage(ENGLISH)]
    assert of("wrong_language", rows) == {}
    assert of("wrong_language", rows, languages=("pt",)).keys() == {"r1"}
    with pytest.raises(ValidationError):
        QualityConfig(languages=("gl",))


def test_query_and_passage_in_different_languages() -> None:
    found = of("language_mismatch", [(PORTUGUESE, PASSAGE), (PORTUGUESE, SPANISH), (PORTUGUESE, ENGLISH)])
    assert {row: (said["query_language"], said["positive_language"]) for row, said in found.items()} == {
        "r1": ("pt", "es"),
        "r2": ("pt", "en"),
    }


def test_short_and_doubtful_texts_are_not_judged() -> None:
    rows = [("the appeal has been", PASSAGE), ("1 2 3 4 5 6", PASSAGE), ("如 何 支 付 罚 款", PASSAGE)]
    assert of("language_mismatch", rows) == {}
    assert (
        of("language_mismatch", [("requisitos para obtener la licencia municipal", PASSAGE)], language_confidence=0.99)
        == {}
    )


def test_beyond_the_sample_rows_are_chosen_evenly_and_that_is_said() -> None:
    rows = [(f"{PORTUGUESE} {i}", f"{ENGLISH} Case {i}.") for i in range(40)]
    evidence = run(rows, language_sample=20)
    mismatched = evidence.flags.filter(pl.col("reason") == "language_mismatch")["row_id"].to_list()
    assert mismatched == [f"r{i}" for i in range(0, 40, 4)]
    assert "of 80 distinct texts, 20 were judged" in evidence.notes[0]
    assert run(rows).notes == ()


def test_a_passage_far_from_the_usual_length() -> None:
    usual = [passage(" ".join(f"palavra{i}" for i in range(20 + i % 7)) + ".") for i in range(60)]
    usual = [(query, f"{text} {i}.") for i, (query, text) in enumerate(usual)]
    odd = [passage("palavra " * 900 + "."), passage("uma.")]
    found = of("length_outlier", [*usual, *odd])
    assert found.keys() == {"r60", "r61"}
    assert found["r60"] == {"column": "positive", "words": 900, "z": found["r60"]["z"], "median_words": 24}
    assert found["r60"]["z"] > 4 and found["r61"]["z"] < -4
    assert of("length_outlier", [*usual[:40], *odd]) == {}, "forty passages tell nothing"
    assert of("length_outlier", [*usual[:3] * 30, *odd]) == {}, "repeats count once"


def test_where_most_passages_have_one_length_none_is_far_from_it() -> None:
    assert of("length_outlier", [*(passage(f"tema {i}") for i in range(60)), passage("tema " * 99)]) == {}


HOSTILE = st.one_of(st.text(), st.text("aé ?.,<>[]&;\x00\x85\u202eÃ©\ufffd\u0301", max_size=30))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({"query": HOSTILE, "positive": HOSTILE, "negatives": st.lists(HOSTILE)}), max_size=6)
)
def test_any_text_is_judged_once_a_reason_and_always_alike(rows: list[dict[str, Any]]) -> None:
    evidence = run(rows)
    assert evidence.flags.equals(run(rows).flags)
    assert not evidence.flags.select("row_id", "reason").is_duplicated().any()
    assert all(isinstance(json.loads(text), dict) for text in evidence.flags["evidence"])


@pytest.mark.parametrize("piece", ["<a ", "[[", "[a](", "Ã", "a?", "(", " ", "\x00", "inscriÃ§Ã£o", "<b x="])
def test_a_hostile_line_takes_no_longer_than_its_length(piece: str) -> None:
    line = (piece * 200_000)[:200_000]
    start = time.perf_counter()
    run([{"query": line, "positive": line, "negatives": [line]}])
    assert time.perf_counter() - start < 3
