from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import ConfigError, InputError
from studio.models.neighbours import F32, nearest
from studio.models.quantising import (
    Precision,
    index_bytes,
    nearest_codes,
    pair_scores_of_codes,
    quantised,
    truncated,
)


def _unit(rows: int, dimensions: int, seed: int = 0) -> F32:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_index_takes_the_bytes_it_says() -> None:
    assert index_bytes(1000, 640, "float32") == 2_560_000
    assert index_bytes(1000, 640, "int8") == 640_000
    assert index_bytes(1000, 640, "binary") == 80_000
    assert index_bytes(3, 10, "binary") == 6


def test_leading_dimensions_are_of_length_1_again() -> None:
    vectors = _unit(5, 16)
    vectors[4, :4] = 0
    kept = truncated(vectors, 4)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), [1, 1, 1, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(kept[0], vectors[0, :4] / np.linalg.norm(vectors[0, :4]), rtol=1e-6)
    assert truncated(vectors, None) is vectors and truncated(vectors, 16) is vectors
    with pytest.raises(ConfigError, match="17 dimensions"):
        truncated(vectors, 17)


@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from(["int8", "binary"]), st.sampled_from([0, 1, 3]))
def test_search_over_codes_is_that_of_a_plain_loop(seed: int, count: int, precision: Precision, rescore: int) -> None:
    passages, queries, k = _unit(count, 24, seed), _unit(3, 24, seed + 1), 5
    if precision == "int8":
        step = float(np.abs(passages).max()) / 127
        code = [[max(-127, min(127, round(x / step))) for x in row] for row in (passages.tolist())]
        asked = [[max(-127, min(127, round(x / step))) for x in row] for row in (queries.tolist())]
    else:
        code, asked = ([[1 if x > 0 else -1 for x in row] for row in part.tolist()] for part in (passages, queries))
    codes = quantised(passages, precision)
    assert np.abs(codes.values - np.array(code)).max() <= (precision == "int8")  # a half may be rounded either way
    code = codes.values.astype(int).tolist()
    found = nearest_codes(queries, codes, k, rescore=rescore)
    for row in range(3):
        products = [sum(a * b for a, b in zip(asked[row], each, strict=True)) for each in code]
        order = sorted(range(count), key=lambda place: (-products[place], place))
        if rescore:
            again = np.array(code, np.float64) @ queries[row].astype(np.float64)
            order = sorted(order[: k * rescore], key=lambda place: (-np.float32(again[place]), place))
        there = found.indices[row][found.indices[row] >= 0].tolist()
        assert len(there) == min(k, count)
        if precision == "binary":
            assert there == order[:k]
        assert (np.diff(found.scores[row][: len(there)]) <= 0).all()


def test_a_byte_a_dimension_finds_what_float32_finds_and_scores_on_its_scale() -> None:
    passages, queries = _unit(500, 64), _unit(20, 64, 7)
    exact = nearest(queries, passages, 10)
    for rescore in (0, 4):
        found = nearest_codes(queries, quantised(passages, "int8"), 10, rescore=rescore)
        shared = [len(set(a) & set(b)) for a, b in zip(exact.indices.tolist(), found.indices.tolist(), strict=True)]
        assert np.mean(shared) > 9
        np.testing.assert_allclose(found.scores, exact.scores, atol=0.02)


def test_scoring_again_brings_back_what_bits_lost() -> None:
    passages = _unit(500, 64)
    queries = passages[:40] + 0.1 * _unit(40, 64, 3)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    exact = nearest(queries, passages, 10).indices.tolist()

    def shared(rescore: int) -> float:
        found = nearest_codes(queries, quantised(passages, "binary"), 10, rescore=rescore).indices.tolist()
        return float(np.mean([len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]))

    assert shared(8) > shared(0) + 0.5


def test_copies_of_a_passage_score_the_same_and_come_in_order() -> None:
    passages = np.repeat(_unit(3, 32), 5, axis=0)
    for precision in ("int8", "binary"):
        for rescore in (0, 2):
            found = nearest_codes(passages[[0]], quantised(passages, precision), 5, rescore=rescore)
            assert found.indices[0].tolist() == [0, 1, 2, 3, 4]
            assert len(set(found.scores[0].tolist())) == 1


def test_pairs_of_codes_score_as_the_search_does() -> None:
    passages, queries = _unit(6, 32), _unit(6, 32, 5)
    for precision in ("int8", "binary"):
        codes = quantised(passages, precision)
        for rescored in (False, True):
            found = nearest_codes(queries, codes, 6, rescore=int(rescored))
            scores = {(q, p): s for q in range(6) for p, s in zip(found.indices[q], found.scores[q], strict=True)}
            pairs = pair_scores_of_codes(queries, codes, rescored=rescored)
            np.testing.assert_allclose(pairs, [scores[at, at] for at in range(6)], rtol=1e-5)


def test_signs_are_those_of_sentence_transformers() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    vectors = _unit(4, 32)
    vectors[0, 0] = 0
    packed = quantize_embeddings(vectors, "ubinary")
    np.testing.assert_array_equal(np.packbits(quantised(vectors, "binary").values > 0, axis=1), packed)


def test_what_is_no_number_is_refused_and_nothing_is_found_in_nothing() -> None:
    broken = _unit(2, 8)
    broken[0, 0] = np.nan
    with pytest.raises(InputError):
        nearest_codes(broken, quantised(_unit(3, 8), "int8"), 2)
    with pytest.raises(InputError):
        quantised(broken, "binary")
    assert nearest_codes(_unit(2, 8), quantised(np.empty((0, 8), np.float32), "int8"), 2).indices.tolist() == [
        [-1, -1],
        [-1, -1],
    ]
    with pytest.raises(ValueError, match="no codes"):
        quantised(_unit(1, 8), "float32")
