import re
from collections import Counter

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from studio.text import segments
from studio.text.segments import segment_key, shared_segments, spans_among, spans_of, without

sentence = st.sampled_from(
    [
        "Esta página usa cookies.",
        "ESTA PÁGINA USA COOKIES",
        "  esta página usa cookies!  ",
        "Leia mais sobre o assunto",
        "Todos os direitos reservados ao portal…",
        "• Todos os direitos reservados ao portal",
        "R$ 1.500,00 por mês",
        "— ",
        "",
        "O Art. 5º diz que todos são iguais?",
    ]
)
passage = st.lists(sentence, max_size=6).flatmap(
    lambda parts: st.lists(st.sampled_from([" ", "\n", "\n\n", "\t", "\r\n", "  \n "]), min_size=6, max_size=6).map(
        lambda gaps: "".join(part + gap for part, gap in zip(parts, gaps, strict=False))
    )
)
anything = passage | st.text(" \nab.!?…é\t\r\u00a0", max_size=30) | st.text(max_size=40)


@settings(deadline=None, max_examples=300)
@given(text=anything)
def test_spans_and_the_white_space_between_them_are_the_text(text: str) -> None:
    spans = spans_of(text)
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    assert edges == sorted(edges)
    assert all(start < stop for start, stop in spans)
    gaps = [text[stop:start] for stop, start in zip(edges[::2], edges[1::2], strict=True)]
    assert not "".join(gaps).strip()
    assert "".join(gap + text[slice(*span)] for gap, span in zip(gaps, [*spans, (len(text),) * 2], strict=True)) == text
    # A line end inside a segment is one where the text goes on: in lower case, or after a long line.
    wrapped = r"(?<![^\n]{50}[^\n.!?…:])\n(?![a-zß-öø-ÿ])"
    assert not any(re.search(wrapped, text[slice(*span)]) for span in spans)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("\n\n\n", []),
        ("um só", ["um só"]),
        ("Vale em 2023. Não vale em 2024!  Vale?\nSim…", ["Vale em 2023.", "Não vale em 2024!", "Vale?", "Sim…"]),
        ("a lei 8.112 vale", ["a lei 8.112 vale"]),
        ("Linha um\nLinha dois\n\n\nlinha três\n- quatro", ["Linha um", "Linha dois", "linha três", "- quatro"]),
        (
            "um parágrafo quebrado\nno meio\né um só\n \nparágrafo",
            ["um parágrafo quebrado\nno meio\né um só", "parágrafo"],
        ),
        ("Fim.", ["Fim."]),
        ("Fim. ", ["Fim."]),
    ],
)
def test_texts_are_cut_at_line_ends_and_after_sentences(text: str, parts: list[str]) -> None:
    assert [text[slice(*span)] for span in spans_of(text)] == parts


@pytest.mark.parametrize(
    "variant", ["Leia Também:", "  leia também…", "• LEIA TAMBÉM", "“Leia também”.", "- leia também |"]
)
def test_case_and_marks_at_the_edges_make_no_difference(variant: str) -> None:
    assert segment_key(variant) == "leia também"
    assert segment_key("leia, também") != "leia também"
    assert segment_key("Leia \n\ttambém.") == "leia também"


def plain_count(texts: list[str], minimum: int, min_words: int) -> tuple[dict[str, int], list[int]]:
    held = [{segment_key(text[slice(*span)]) for span in spans_of(text)} for text in texts]
    held = [{key for key in keys if key and len(key.split()) >= min_words} for keys in held]
    counts = Counter(key for keys in held for key in keys)
    shared = {key: n for key, n in counts.items() if n >= minimum}
    return shared, [row for row, keys in enumerate(held) if keys & shared.keys()]


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(passage, max_size=8, unique=True), minimum=st.integers(2, 4), min_words=st.integers(2, 4))
def test_shared_segments_are_those_of_a_plain_count(texts: list[str], minimum: int, min_words: int) -> None:
    shared, rows = shared_segments(pl.Series(texts, dtype=pl.String), minimum, min_words)
    expected, expected_rows = plain_count(texts, minimum, min_words)
    assert shared == expected
    assert rows.to_list() == expected_rows
    assert list(shared) == sorted(shared, key=lambda key: (-shared[key], key))


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(st.text(" \nab.!ÉİΣßﬁ\t\r", max_size=14), max_size=8, unique=True))
def test_letters_of_many_scripts_are_counted_alike(texts: list[str]) -> None:
    shared, rows = shared_segments(pl.Series(texts, dtype=pl.String), 2, 2)
    assert (shared, rows.to_list()) == plain_count(texts, 2, 2)


def test_counting_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Passagem número {i}. Esta página usa cookies. Isso é tudo\n{i}" for i in range(25)]
    whole = shared_segments(pl.Series(texts), 5, 4)
    monkeypatch.setattr(segments, "_ROWS_A_BLOCK", 4)
    blocks = shared_segments(pl.Series(texts), 5, 4)
    assert whole[0] == blocks[0] == {"esta página usa cookies": 25}
    assert whole[1].to_list() == blocks[1].to_list() == list(range(25))


def test_a_repeat_inside_one_text_counts_once() -> None:
    texts = pl.Series(["Esta página usa cookies. " * 10, "Nada aqui.\nEsta página usa\ncookies!"])
    assert shared_segments(texts, 2, 4)[0] == {"esta página usa cookies": 2}
    assert shared_segments(texts, 3, 4)[0] == {}


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(passage, min_size=2, max_size=8, unique=True))
def test_what_is_counted_is_found_again_in_every_text_that_was_counted(texts: list[str]) -> None:
    shared, rows = shared_segments(pl.Series(texts), 2, 2)
    found = [{segment_key(text[slice(*span)]) for span in spans_among(text, shared)} for text in texts]
    assert [row for row, keys in enumerate(found) if keys] == rows.to_list()
    assert Counter(key for keys in found for key in keys) == shared


def test_nothing_is_no_segment() -> None:
    texts = pl.Series(["Um\n---\nDois", "Três\n\n* *\nQuatro", "Cinco\n***\nSeis"])
    assert shared_segments(texts, 3, 1)[0] == {}


@pytest.mark.parametrize("mark", [".\x1c", ".\x1d", ".\x1e", ".\x1f", "\u2029"])
def test_rare_separators_are_counted_as_they_are_cut(mark: str) -> None:
    texts = [f"Texto {i}{mark}Esta página usa cookies" for i in range(3)]
    shared, rows = shared_segments(pl.Series(texts), 3, 4)
    assert (shared, rows.to_list()) == plain_count(texts, 3, 4)


@settings(deadline=None, max_examples=200)
@given(text=anything, data=st.data())
@example("", None)
def test_without_leaves_what_was_not_cut(text: str, data: st.DataObject | None) -> None:
    spans = spans_of(text)
    cut = [span for span in spans if data and data.draw(st.booleans())]
    kept = [text[slice(*span)] for span in spans if span not in cut]
    assert without(text, cut).split() == " ".join(kept).split()
    assert without(text, []) == text.rstrip()
    assert without(text, spans).strip() == ""


def test_without_cuts_the_span_and_the_white_space_after_it_and_nothing_else() -> None:
    text = "  Início da página. Leia mais aqui.\n\nO prazo é de 10 dias.   Leia mais aqui. Fim \n"
    spans = spans_among(text, {"leia mais aqui"})
    assert [text[slice(*span)] for span in spans] == ["Leia mais aqui.", "Leia mais aqui."]
    assert without(text, spans) == "  Início da página. O prazo é de 10 dias.   Fim"


@pytest.mark.parametrize(
    "text",
    ["x" * 200_000, "palavra " * 25_000, "\n" * 200_000, " " * 200_000, ". " * 100_000, "\x00\x01 \x1b[2J a b c d"],
)
def test_hostile_texts_are_cut_in_good_time(text: str) -> None:
    shared, rows = shared_segments(pl.Series([text, text + "z"]), 2, 4)
    assert (shared, rows.to_list()) == plain_count([text, text + "z"], 2, 4)
    assert without(text, spans_of(text)).strip() == ""
    assert spans_among(text, {}) == []


def test_no_texts_share_nothing() -> None:
    shared, rows = shared_segments(pl.Series([], dtype=pl.String), 2, 1)
    assert (shared, rows.to_list()) == ({}, [])


def test_a_long_line_that_ends_no_sentence_goes_on() -> None:
    text = "Esta suíte de escritório é uma substituição aproximada para o\nOffice de outra empresa.\nMenu\nServiços"
    assert [text[a:b] for a, b in spans_of(text)] == [text[:86], "Menu", "Serviços"]
    column = pl.Series([f"{text}\n{i}" for i in range(3)])
    keys, _ = shared_segments(column, 3, 1)
    assert set(keys) == {" ".join(text[:85].lower().split()), "menu", "serviços"}
