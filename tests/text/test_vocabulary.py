from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text import vocabulary
from studio.text.shingles import PlainTexts, Spec, word_shingle
from studio.text.vocabulary import Vocabulary


def series(texts: list[str]) -> pl.Series:
    return pl.Series("query", texts, dtype=pl.String)


def test_a_word_is_known_when_three_distinct_texts_use_it() -> None:
    texts = ["o mandato do prefeito", "o mandato do juiz", "mandado e mandato", "mandado de segurança"]
    known = Vocabulary(series(texts))
    assert "mandato" in known
    assert "mandado" not in known
    assert "nunca" not in known
    assert "mandado" in Vocabulary(series(texts), minimum=2)


def test_repeats_of_a_text_and_within_a_text_count_once() -> None:
    assert "lei" not in Vocabulary(series(["lei lei lei lei"] * 9 + ["a lei"]))
    assert "lei" in Vocabulary(series(["lei lei lei lei", "a lei", "da lei"]))


def test_words_are_those_of_l2() -> None:
    known = Vocabulary(series(["A AÇÃO, enfim.", "“Ação” x", "ac\u0327a\u0303o y", "acao"]))
    assert "ação" in known
    assert "acao" not in known
    assert "AÇÃO" not in known
    numbers = Vocabulary(series(["lei 8.112", "8.112 vale", "a 8.112"]))
    assert "8" in numbers and "112" in numbers and "8.112" not in numbers


def test_nothing_is_counted_before_the_first_word_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(*_: object) -> None:
        raise AssertionError("counted")

    monkeypatch.setattr(vocabulary, "open_texts", counted)
    known = Vocabulary(series(["um"]))
    with pytest.raises(AssertionError, match="counted"):
        _ = "um" in known


@pytest.mark.parametrize("texts", [[], [""], ["?!", "...", "\n"], ["\x00", "\U0001f600", "a" * 100_000]])
def test_texts_with_nothing_to_know_are_no_trouble(texts: list[str]) -> None:
    known = Vocabulary(series(texts))
    assert "casa" not in known
    assert "" not in known


@settings(deadline=None, max_examples=200)
@given(word=st.text("abzçãéßø0987ж北", min_size=1, max_size=70))
def test_the_hash_of_a_word_is_that_of_its_shingle(word: str) -> None:
    values = PlainTexts(series([word.replace("ß", "ss")])).shingles(Spec("word", 1)).values
    assert values.tolist() == [word_shingle(word.replace("ß", "ss"))]


word = st.sampled_from(["ação", "acao", "lei", "é", "e", "1994", "servidor", "servidora", "北京", "não"])
texts_of_words = st.lists(st.lists(word, max_size=6).map(" ".join), max_size=12)


@pytest.mark.parametrize("mode", ["plain", "compiled"])
@settings(deadline=None, max_examples=60)
@given(texts=texts_of_words, minimum=st.integers(1, 4))
def test_known_words_are_those_of_a_plain_count(mode: str, texts: list[str], minimum: int) -> None:
    counts = Counter(each for text in set(texts) for each in set(text.split()))
    words = ["ação", "acao", "lei", "é", "e", "1994", "servidor", "servidora", "北京", "não"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARRIER_KERNELS", mode)
        patch.setattr(vocabulary, "_BITS", 20)
        known = Vocabulary(series(texts), minimum)
        assert [each for each in words if each in known] == [each for each in words if counts[each] >= minimum]


@settings(deadline=None, max_examples=60)
@given(texts=texts_of_words)
def test_where_hashes_collide_a_word_may_pass_for_known_but_is_never_lost(texts: list[str]) -> None:
    counts = Counter(each for text in set(texts) for each in set(text.split()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_BITS", 2)
        known = Vocabulary(series(texts))
        assert all(each in known for each, count in counts.items() if count >= 3)
