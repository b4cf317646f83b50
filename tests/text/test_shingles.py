import re
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.fast import CompiledTexts
from studio.text.normalise import Level, normalised
from studio.text.ragged import Ragged
from studio.text.shingles import PlainTexts, Spec, Texts, word_shingle

texts_of_words = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=12
)


CODES = [code for code in (*range(0x20, 0x34000), *range(0xDFFF0, 0xE0200)) if not 0xD800 <= code < 0xE000]
KINDS = [PlainTexts, CompiledTexts]
SPECS = [Spec("word", 1), Spec("word", 2), Spec("word", 3), Spec("char", 4)]


def at(texts: list[str], level: Level = Level.SURFACE) -> list[str]:
    return pl.DataFrame({"t": pl.Series(texts, dtype=pl.String)}).select(normalised(pl.col("t"), level))["t"].to_list()


def cut(kind: type[Texts], texts: list[str], spec: Spec) -> Ragged:
    return kind(pl.Series(texts, dtype=pl.String)).shingles(spec)


def words_of(text: str) -> list[str]:
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text)
    return re.sub(" +", " ", kept).strip(" ").split(" ") if kept.strip(" ") else []


def reference(text: str, spec: Spec) -> set[str]:
    words = words_of(text)
    units = words if spec.unit == "word" else list(f" {' '.join(words)} ") if words else []
    size = min(spec.size, len(units))
    return {"\0".join(units[i : i + size]) for i in range(len(units) - size + 1)} if units else set()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(texts=texts_of_words)
def test_words_are_those_of_a_plain_loop_over_the_l2_text(kind: type[Texts], texts: list[str]) -> None:
    counts, keys = kind(pl.Series(texts)).words()
    plain = [words_of(text) for text in at(texts)]
    assert counts.tolist() == [len(words) for words in plain]
    for i in range(len(texts)):
        for j in range(i):
            assert (keys[i] == keys[j]) == (plain[i] == plain[j])


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(texts=texts_of_words, spec=st.sampled_from(SPECS))
def test_shingle_sets_have_the_sizes_and_overlaps_of_plain_sets(
    kind: type[Texts], texts: list[str], spec: Spec
) -> None:
    sets = cut(kind, texts, spec)
    plain = [reference(text, spec) for text in at(texts)]
    assert sets.sizes.tolist() == [len(one) for one in plain]
    values = [set(sets.values[a:b].tolist()) for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    for i in range(len(texts)):
        for j in range(i):
            assert len(values[i] & values[j]) == len(plain[i] & plain[j])


@settings(deadline=None, max_examples=300)
@given(texts_of_words, st.sampled_from(SPECS), st.sampled_from([Level.SURFACE, Level.ACCENTS]))
def test_compiled_kernels_cut_as_numpy_does(texts: list[str], spec: Spec, level: Level) -> None:
    plain, compiled = (kind(pl.Series(texts), level) for kind in KINDS)
    for ours, theirs in zip(plain.words(), compiled.words(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one, other = plain.shingles(spec), compiled.shingles(spec)
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("level", [Level.SURFACE, Level.ACCENTS])
def test_every_character_is_folded_alike_by_both(level: Level) -> None:
    texts = pl.Series([f"x{chr(code)}y {chr(code)}" for code in CODES])
    plain, compiled = (kind(texts, level).words() for kind in KINDS)
    different = np.flatnonzero((plain[0] != compiled[0]) | (plain[1] != compiled[1]))
    assert [texts[int(row)] for row in different] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_the_same_shingles_wherever_it_stands_in_a_column(kind: type[Texts]) -> None:
    text = "a segunda via da fatura está disponível no portal"
    alone = cut(kind, [text], Spec("word", 2)).values
    column = kind(pl.Series(["x y z", text, "", text + " hoje"]))
    among = column.shingles(Spec("word", 2))
    np.testing.assert_array_equal(among.values[among.offsets[1] : among.offsets[2]], alone)
    np.testing.assert_array_equal(column.take(np.array([2, 1])).shingles(Spec("word", 2)).values, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_longer_than_one_block_are_cut_in_full(kind: type[Texts]) -> None:
    texts = [f"palavra{i} outra coisa qualquer {'x' * 5000}" for i in range(1700)]
    assert kind(pl.Series(texts)).words()[0].tolist() == [5] * 1700
    assert cut(kind, texts, Spec("word", 2)).sizes.tolist() == [4] * 1700


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "   ", "?!…", "\u200b"])
def test_texts_without_words_have_no_shingles(kind: type[Texts], text: str) -> None:
    assert cut(kind, [text, "um dois"], Spec("char", 4)).sizes.tolist()[0] == 0


@pytest.mark.parametrize("word", ["a", "matrícula", "ônibus", "x" * 200])
def test_the_shingle_of_one_word_is_that_of_a_column(word: str) -> None:
    assert cut(PlainTexts, [word], Spec("word", 1)).values.tolist() == [word_shingle(word)]
