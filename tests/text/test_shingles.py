import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.shingles import Spec, shingle, word_counts

texts_of_words = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=12
)


def words_of(text: str) -> list[str]:
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text)
    return re.sub(" +", " ", kept).strip(" ").split(" ") if kept.strip(" ") else []


def reference(text: str, spec: Spec) -> set[str]:
    words = words_of(text)
    units = words if spec.unit == "word" else list(f" {' '.join(words)} ") if words else []
    size = min(spec.size, len(units))
    return {"\0".join(units[i : i + size]) for i in range(len(units) - size + 1)} if units else set()


@settings(deadline=None)
@given(texts_of_words)
def test_word_counts_are_those_of_a_plain_loop(texts: list[str]) -> None:
    assert word_counts(texts).tolist() == [len(words_of(text)) for text in texts]


@settings(deadline=None)
@given(texts_of_words, st.sampled_from([Spec("word", 1), Spec("word", 2), Spec("word", 3), Spec("char", 4)]))
def test_shingle_sets_have_the_sizes_and_overlaps_of_plain_sets(texts: list[str], spec: Spec) -> None:
    sets = shingle(texts, spec)
    plain = [reference(text, spec) for text in texts]
    assert sets.sizes.tolist() == [len(one) for one in plain]
    values = [set(sets.values[a:b].tolist()) for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    for i in range(len(texts)):
        for j in range(i):
            assert len(values[i] & values[j]) == len(plain[i] & plain[j])


def test_a_text_has_the_same_shingles_wherever_it_stands_in_a_column() -> None:
    text = "a segunda via da fatura está disponível no portal"
    alone = shingle([text], Spec("word", 2)).values
    among = shingle(["x y z", text, "", text + " hoje"], Spec("word", 2))
    np.testing.assert_array_equal(among.values[among.offsets[1] : among.offsets[2]], alone)


def test_columns_longer_than_one_block_are_cut_in_full() -> None:
    texts = [f"palavra{i} outra coisa qualquer {'x' * 5000}" for i in range(1700)]
    assert word_counts(texts).tolist() == [5] * 1700
    assert shingle(texts, Spec("word", 2)).sizes.tolist() == [4] * 1700


@pytest.mark.parametrize("text", ["", "   ", "?!…", "\u200b"])
def test_texts_without_words_have_no_shingles(text: str) -> None:
    assert shingle([text, "um dois"], Spec("char", 4)).sizes.tolist()[0] == 0
