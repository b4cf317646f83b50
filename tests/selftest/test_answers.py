import random
import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.sample import sample_data
from studio.selftest.answers import (
    SYNONYMS,
    TRUTH_SCHEMA,
    PlantedAnswers,
    depth_table,
    measure_queue,
    paraphrase,
    plant_answers,
    reworded_query,
    trigram_jaccard,
)

PASSAGE = (
    "O pedido deve ser feito pelo aplicativo em até dez dias úteis, mas a taxa custa R$ 22,00. "
    "Se houver atraso, o valor sobe para R$ 36,50. Quem tem mais de 65 anos usa o serviço sem custo, "
    "e a entrega é feita em casa quando o endereço fica dentro do município."
)


def sample() -> pl.DataFrame:
    read = pl.read_ndjson(sample_data() / "pairs.jsonl")
    return snapshot(read.select(row_id="id", query="query", positive="passage", group="doc_id", split="split"))


def snapshot(rows: pl.DataFrame) -> pl.DataFrame:
    empty = {name: pl.lit(None, dtype=kind) for name, kind in SNAPSHOT_SCHEMA.items() if name not in rows.columns}
    empty["negatives"] = pl.lit([], dtype=pl.List(pl.String))
    return rows.with_columns(**empty).select(SNAPSHOT_SCHEMA.names()).cast(dict(SNAPSHOT_SCHEMA))


def pairs_of(*texts: tuple[str, str], **columns: list[str | None]) -> pl.DataFrame:
    rows = {"row_id": [f"r{i}" for i in range(len(texts))], "query": [q for q, _ in texts]}
    return snapshot(pl.DataFrame({**rows, "positive": [p for _, p in texts], **columns}))


@pytest.fixture(scope="module")
def planted() -> PlantedAnswers:
    return plant_answers(sample(), 100, seed=1)


def test_the_table_of_synonyms_is_large_and_changes_something() -> None:
    assert len(SYNONYMS) >= 120
    assert all(other != phrase and phrase == phrase.lower() for phrase, found in SYNONYMS.items() for other in found)


def test_the_seed_decides_everything(planted: PlantedAnswers) -> None:
    again = plant_answers(sample(), 100, seed=1)
    assert again.frame.equals(planted.frame) and again.truth.equals(planted.truth)
    assert not plant_answers(sample(), 100, seed=2).truth.equals(planted.truth)


def test_the_truth_is_about_rows_that_exist(planted: PlantedAnswers) -> None:
    pairs, frame, truth = sample(), planted.frame, planted.truth
    assert frame.schema == SNAPSHOT_SCHEMA and truth.schema == TRUTH_SCHEMA
    assert frame.head(pairs.height).equals(pairs)
    assert frame["row_id"].is_unique().all()
    assert frame.tail(-pairs.height)["row_id"].to_list() == truth["b"].to_list()
    assert set(truth["a"]) <= set(pairs["row_id"]) and truth["a"].is_unique().all()
    assert truth["answers"].sum() == 100 and (~truth["answers"]).sum() == 50
    kinds = set(truth.filter("answers")["kind"])
    assert kinds == {"paraphrase", "paraphrase_keywords"}
    assert all(kind.startswith("look_alike_") for kind in truth.filter(~pl.col("answers"))["kind"])


def test_planted_texts_are_new_and_paraphrases_are_far(planted: PlantedAnswers) -> None:
    old, new = sample(), planted.frame.tail(150)
    assert not set(new["positive"]) & set(old["positive"]) and new["positive"].is_unique().all()
    assert not set(new["query"]) & set(old["query"]) and new["query"].is_unique().all()
    found = planted.jaccard()
    assert found["mean"] < 0.45 and found["p90"] < 0.5 and found["max"] <= 0.6
    alike = planted.truth.filter(~pl.col("answers"))["jaccard"].mean()
    assert isinstance(alike, float) and alike > 0.7


def test_a_paraphrase_keeps_the_numbers(planted: PlantedAnswers) -> None:
    texts = dict(planted.frame.select("row_id", "positive").iter_rows())
    for a, b in planted.truth.filter("answers").select("a", "b").iter_rows():
        # Small ones may be spelled out, or the other way round; amounts, years and laws may not change.
        assert {n for n in re.findall(r"\d+", texts[a]) if len(n) > 2} <= set(re.findall(r"\d+", texts[b]))


def test_planted_rows_are_training_rows(planted: PlantedAnswers) -> None:
    splits = dict(planted.frame.select("row_id", "split").iter_rows())
    assert {splits[row_id] for row_id in (*planted.truth["a"], *planted.truth["b"])} == {"train"}
    everything = plant_answers(sample(), 10_000, seed=1)
    assert 0 < everything.truth["answers"].sum() < 400
    assert everything.truth["answers"].mean() == pytest.approx(2 / 3, abs=0.1)


def test_sources_without_text_or_with_company_are_passed_over() -> None:
    good = ("Como faço o pedido?", PASSAGE)
    pairs = pairs_of(
        ("vazia?", ""),
        ("uma?", "palavra"),
        ("", PASSAGE + " Nada mais."),
        ("mesma um?", PASSAGE + " Fim."),
        ("mesma dois?", PASSAGE.upper() + " FIM"),
        ("negativa?", PASSAGE + " Ela não responde."),
        ("de teste?", PASSAGE + " Esta é de teste."),
        good,
        label=["1", None, None, None, None, "0", None, None],
        split=["train", None, None, None, None, None, "test", None],
    )
    for seed in range(5):
        found = plant_answers(pairs, 5, seed, look_alikes=0)
        assert found.truth["a"].to_list() == ["r7"]
    assert plant_answers(pairs.head(0), 5, 1).frame.height == 0
    assert plant_answers(pairs.head(3), 5, 1).jaccard() == {}


def test_a_passage_is_said_in_other_words() -> None:
    said = {paraphrase(PASSAGE, random.Random(seed)) for seed in range(10)}
    assert len(said) > 5
    for text in said:
        assert text is not None and trigram_jaccard(PASSAGE, text) < 0.5
        assert "R$ 22,00" in text and "R$ 36,50" in text and "10 dias" in text


def test_numbers_that_belong_to_a_larger_one_stay() -> None:
    text = (
        "Foram cento e vinte mil pessoas, trinta e seis meses, das 8 às 12 horas, 4 a 9 vezes. "
        "O valor de R$ 15 vale para a 3ª via, 50% da taxa e a lei 14.133, mas apenas em 2 casos."
    )
    said = paraphrase(text, random.Random(0), aim=0.9)
    assert said is not None
    for kept in ("cento e vinte mil", "36 meses", "4 a 9 vezes", "R$ 15", "3ª", "50%", "14.133", "2 casos"):
        assert kept in said


def test_items_of_a_list_stay_items() -> None:
    text = (
        "Este pacote contém vários utilitários para usar com arquivos:\n"
        " - um editor rápido e pequeno;\n - um conversor de formatos.\n\nPara instalar, veja o manual."
    )
    said = paraphrase(text, random.Random(1))
    assert said is not None
    assert len([line for line in said.splitlines() if line.startswith("- ")]) == 2


@pytest.mark.parametrize("query", ["", "   ", "?!"])
def test_a_query_without_words_is_not_reworded(query: str) -> None:
    assert reworded_query(query, random.Random(0)) is None


@pytest.mark.parametrize("query", ["Como faço para pedir?", "editor {texto} de {0}", "Posso pagar?", "x"])
def test_a_reworded_query_is_another(query: str) -> None:
    for seed in range(20):
        other = reworded_query(query, random.Random(seed))
        assert other is not None and other != query


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=400) | st.text(alphabet="aàé ,.;:-\n(9{}[\\", max_size=600),
    st.text(max_size=60),
    st.integers(0, 9),
)
def test_hostile_text_does_no_harm(passage: str, query: str, seed: int) -> None:
    found = plant_answers(pairs_of((query, passage), (query + " b", passage + " não é 1 x 2 y a b c")), 2, seed)
    assert found.frame.height == 2 + found.truth.height
    assert not set(found.frame["positive"].tail(-2)) & set(found.frame["positive"].head(2))


@pytest.mark.parametrize(
    "unit", ["a. ", "para ", ", e o a b c d", "se a, ", "9 ", "9" * 60 + " ", "- \n", "é ", "três e "]
)
def test_long_hostile_text_is_soon_done(unit: str) -> None:
    text = (unit * 8_000)[:8_000]
    plant_answers(pairs_of((text[:500], text), (text[:500] + "é", text + "é")), 1, 3)
    paraphrase(text, random.Random(0))


def test_a_queue_is_measured_at_depths() -> None:
    truth = pl.DataFrame(
        [
            ("a1", "b1", "paraphrase", True, 0.4),
            ("a2", "b2", "paraphrase", True, 0.4),
            ("a3", "b3", "paraphrase", True, 0.4),
            ("a4", "b4", "look_alike_number", False, 0.9),
        ],
        schema=TRUTH_SCHEMA,
        orient="row",
    )
    queue = pl.DataFrame(
        [("a1", "b1"), ("a1", "b1"), ("b1", "a1"), ("b4", "a4"), ("x", "y"), ("b2", "a2"), ("a1", "b2")],
        schema=["query_id", "passage_id"],
        orient="row",
    )
    first, third, all_of_it = measure_queue(queue, truth, (1, 3, 100))
    assert (first.planted.hits, first.recall.hits, first.recall.total, first.unknown) == (1, 1, 3, 0)
    # The entry that came again does not count: the third is the look-alike.
    assert (third.entries, third.planted.hits, third.look_alikes.hits, third.recall.hits) == (3, 2, 1, 1)
    assert (third.known.hits, third.known.total) == (2, 3)
    assert (all_of_it.depth, all_of_it.entries, all_of_it.recall.hits, all_of_it.unknown) == (100, 6, 2, 2)
    table = depth_table((first, third, all_of_it))
    assert table["depth"].to_list() == [1, 3, 100]
    assert table["recall_share"].to_list() == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert (table["planted_low"] < table["planted_share"]).all()
    empty = measure_queue(queue.head(0), truth.head(0))
    assert [one.depth for one in empty] == [10, 25, 50, 100, 200, 500, 1000]
    assert depth_table(empty)["planted_share"].null_count() == 7
    with pytest.raises(ValueError, match="below 1"):
        measure_queue(queue, truth, (0,))
