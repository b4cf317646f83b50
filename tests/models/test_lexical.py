from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import Cancelled, UsageError
from studio.models import lexical
from studio.models.lexical import BM25Index
from studio.models.neighbours import Neighbours

_WORDS = "taxa conta luz água agua prazo recurso".split()
_TEXTS = st.lists(st.sampled_from(_WORDS), max_size=8).map(" ".join)


def _cut(text: str) -> list[str]:
    letters = unicodedata.normalize("NFKD", text.lower())
    return re.findall(r"\w+", "".join(letter for letter in letters if not unicodedata.combining(letter)))


def _brute(passages: Sequence[str], queries: Sequence[str], k: int) -> list[list[tuple[int, float]]]:
    """Lucene's BM25, term by term."""
    counts = [Counter(_cut(passage)) for passage in passages]
    sizes = [count.total() for count in counts]
    average = sum(sizes) / max(len(sizes), 1)
    found = []
    for query in queries:
        scores = [0.0] * len(passages)
        for word in _cut(query):
            holding = sum(word in count for count in counts)
            idf = math.log(1 + (len(passages) - holding + 0.5) / (holding + 0.5))
            for row, count in enumerate(counts):
                if word in count:
                    length = 1 - 0.75 + 0.75 * sizes[row] / average
                    scores[row] += idf * count[word] / (count[word] + 1.5 * length)
        ranked = sorted((-round(score, 5), row) for row, score in enumerate(scores) if score)
        found.append([(row, -score) for score, row in ranked[:k]])
    return found


def _search(passages: Sequence[str], queries: Sequence[str], k: int) -> Neighbours:
    return BM25Index(pl.Series(passages, dtype=pl.String)).nearest(pl.Series(queries, dtype=pl.String), k)


def _check(found: Neighbours, expected: list[list[tuple[int, float]]], k: int) -> None:
    assert found.scores.shape == found.indices.shape == (len(expected), k)
    assert found.above.shape == (len(expected), 0)
    for scores, indices, wanted in zip(found.scores, found.indices, expected, strict=True):
        assert indices.tolist() == [row for row, _ in wanted] + [-1] * (k - len(wanted))
        np.testing.assert_allclose(scores, [score for _, score in wanted] + [-np.inf] * (k - len(wanted)), atol=2e-5)


@given(st.lists(_TEXTS, max_size=12), st.lists(_TEXTS, max_size=5), st.integers(0, 15))
def test_equals_the_formula_with_ties_by_row(passages: list[str], queries: list[str], k: int) -> None:
    _check(_search(passages, queries, k), _brute(passages, queries, k), k)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(_TEXTS, min_size=1, max_size=12), st.lists(_TEXTS, max_size=5), st.integers(1, 15))
def test_compiled_search_is_the_same(passages: list[str], queries: list[str], k: int) -> None:
    plain = _search(passages, queries, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "_WORTH_COMPILING", 0)
        compiled = _search(passages, queries, k)
    np.testing.assert_array_equal(plain.scores, compiled.scores)
    np.testing.assert_array_equal(plain.indices, compiled.indices)


def test_of_many_equal_passages_the_first_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = ["prazo de recurso", "outra coisa", *["prazo de entrega"] * 40, "prazo prazo prazo"]
    for worth in (0, 10**12):
        monkeypatch.setattr(lexical, "_WORTH_COMPILING", worth)
        found = _search(passages, ["prazo", "entrega", "recurso"], 4)
        assert found.indices.tolist() == [[42, 0, 2, 3], [2, 3, 4, 5], [0, -1, -1, -1]]


def test_accents_case_forms_and_marks_are_folded() -> None:
    passages = ["A ÁGUA é cara", "o a\u0301gua\u00adceiro", "ﬁnanças", "o ﬁm"]
    found = _search(passages, ["agua", "água", "AGUA", "financas", "aguaceiro", "fim?"], 2)
    assert found.indices[:, 0].tolist() == [0, 0, 0, 2, 1, 3]
    assert (found.indices[:, 1] == -1).all()


def test_a_repeated_word_of_the_query_counts_as_often() -> None:
    passages = ["luz luz conta", "água", "conta"]
    once, twice = _search(passages, ["luz"], 1), _search(passages, ["luz luz"], 1)
    np.testing.assert_allclose(twice.scores, 2 * once.scores, rtol=1e-6)


@pytest.mark.parametrize("query", ["", "   ", "?!", "\x00\x1b[", "desconhecida", "\u200b"])
def test_a_query_without_a_known_word_finds_nothing(query: str) -> None:
    found = _search(["a conta de luz", "o prazo"], [query, "prazo"], 2)
    assert found.indices.tolist() == [[-1, -1], [1, -1]]
    assert np.isneginf(found.scores[0]).all()


@pytest.mark.parametrize("passages", [[], ["", "?!"]])
def test_passages_without_words_are_never_found(passages: list[str]) -> None:
    found = _search(passages, ["conta", ""], 3)
    assert (found.indices == -1).all() and found.indices.shape == (2, 3)


def test_hostile_text_is_text() -> None:
    long = "palavra" * 28_572
    passages = [long, "a\x00prazo\x1b[31m\u202econta", "luz " * 50_000, "<eos> [SEP] $(rm)", "👍🏽 ﷽ ½ 1٣"]
    assert all(len(text.encode()) > 199_999 for text in (passages[0], passages[2]))
    found = _search(passages, [long, "prazo", "luz", "sep", "1٣", "\x1b[31mconta"], 1)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4, 1]
    # No lone surrogate gets this far: a column of texts cannot hold one.
    with pytest.raises(UnicodeEncodeError):
        pl.Series(["\ud800"])


def test_a_missing_text_has_no_words() -> None:
    index = BM25Index(pl.Series(["conta", None, "luz"]))
    assert index.nearest(pl.Series(["luz", None]), 2).indices.tolist() == [[2, -1], [-1, -1]]
    assert index.nearest(pl.Series([None, None]), 1).indices.tolist() == [[-1], [-1]]


def test_tells_of_each_block_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "_QUERIES_A_BLOCK", 2)
    told: list[tuple[str, int, int | None]] = []

    def tell(step: str, done: int, total: int | None) -> None:
        told.append((step, done, total))
        if (step, done) == ("search by words", 4):
            raise Cancelled

    index = BM25Index(pl.Series(["conta", "luz"]), tell)
    with pytest.raises(Cancelled):
        index.nearest(pl.Series(["luz"] * 5), 1, tell)
    assert told == [("index words", done, 2) for done in (0, 2)] + [("search by words", done, 5) for done in (0, 2, 4)]


def test_says_nothing_on_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    _search(["conta", "luz"], ["luz"], 1)
    assert capfd.readouterr() == ("", "")


def test_refuses_a_negative_k() -> None:
    with pytest.raises(UsageError):
        _search(["conta"], ["conta"], -1)


def _portuguese(passages: Sequence[str], queries: Sequence[str], k: int) -> Neighbours:
    return BM25Index(pl.Series(passages), words="portuguese").nearest(pl.Series(queries), k)


def test_portuguese_words_meet_in_their_stems_whatever_their_accents() -> None:
    passages = ["As contas da luz", "obrigações do condômino", "o prazo de recurso", "dos e das que não são"]
    asked = ["conta", "obrigacao", "OBRIGAÇÃO", "condominos", "recorrer dos prazos"]
    found = _portuguese(passages, asked, 2)
    assert found.indices.tolist() == [[0, -1], [1, -1], [1, -1], [1, -1], [2, -1]]


@pytest.mark.parametrize("query", ["o que é que não são", "", "?!", "dos", "até você", "ate voce"])
def test_a_query_of_portuguese_stop_words_finds_nothing(query: str) -> None:
    assert _portuguese(["dos que não são", "até você"], [query], 2).indices.tolist() == [[-1, -1]]


@given(st.lists(st.lists(st.sampled_from("conta contas luz o de prazo prazos".split()), max_size=6), max_size=8))
def test_portuguese_is_plain_over_the_stems(texts: list[list[str]]) -> None:
    stems = {"conta": "cont", "contas": "cont", "prazo": "praz", "prazos": "praz", "luz": "luz"}
    passages = [" ".join(words) for words in texts]
    cut = [" ".join(stems[word] for word in words if word in stems) for words in texts]
    index = BM25Index(pl.Series(passages, dtype=pl.String), words="portuguese")
    found = index.nearest(pl.Series(["contas de luz", "o prazo"]), 5)
    wanted = _search(cut, ["cont luz", "praz"], 5)
    np.testing.assert_array_equal(found.indices, wanted.indices)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)


def test_hostile_text_has_portuguese_words_too() -> None:
    passages = ["palavra" * 28_572, "a\x00prazos\x1b[31m\u202econta", "luzes " * 50_000, "👍🏽 ﷽ 1٣", "東京の天気"]
    found = _portuguese([*passages, *passages[2:]], ["prazo", "luz", "1٣", "palavra", "東京の天気"], 1)
    assert found.indices[:, 0].tolist() == [1, 2, 3, -1, 4]


def test_k1_and_b_change_what_length_and_repetition_count() -> None:
    passages, query = pl.Series(["prazo", "prazo prazo e mais do mesmo e mais"]), pl.Series(["prazo"])
    assert BM25Index(passages).nearest(query, 2).indices[0, 0] == 0
    assert BM25Index(passages, b=0.0).nearest(query, 2).indices[0, 0] == 1
    flat = BM25Index(passages, k1=0.0).nearest(query, 2)
    assert flat.scores[0, 0] == pytest.approx(flat.scores[0, 1])
