"""Vectors in fewer bytes: one byte or one bit a dimension, searched exactly as they are, and scored again if asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from studio.errors import ConfigError, InputError
from studio.models.neighbours import F32, Neighbours, Vectors, nearest
from studio.progress import Progress, silent

Precision = Literal["float32", "int8", "binary"]
I8 = NDArray[np.int8]

_MOST = 127
_ROWS_AT_ONCE = 16_384
_SCORE_AGAIN = "score again with the query in float32"


def index_bytes(vectors: int, dimensions: int, precision: Precision) -> int:
    """How many bytes an index of that many vectors takes: 4, 1 or 1/8 a dimension, whole bytes a vector."""
    each = {"float32": 4 * dimensions, "int8": dimensions, "binary": (dimensions + 7) // 8}[precision]
    return vectors * each


def truncated(vectors: F32, dimensions: int | None) -> F32:
    """The leading dimensions, brought to length 1 again (Matryoshka; Kusupati et al. 2022); None: all, as they are.

    A vector that has nothing in them stays 0, and scores 0 with everything.

    Raises:
        ConfigError: the vectors have fewer.
    """
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    if dimensions > vectors.shape[1]:
        raise ConfigError(
            f"There are no {dimensions} dimensions to keep.",
            why=f"the model's vectors have {vectors.shape[1]}",
            remedy=f"give at most {vectors.shape[1]}",
        )
    kept = np.array(vectors[:, :dimensions], np.float32)
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    kept /= np.where(lengths > 0, lengths, 1)
    return kept


@dataclass(frozen=True, eq=False)
class Codes:
    """Vectors as an index holds them.

    Attributes:
        values: int8 (vectors, dimensions): of int8 the code, of binary 1 where the number is above 0, else -1. Bits
            are counted by `index_bytes`, and kept as bytes here to be multiplied.
        precision: what they stand for.
        step: of int8: what a code of 1 is worth; 1 of binary.
    """

    values: I8
    precision: Precision
    step: float


def quantised(vectors: F32, precision: Precision) -> Codes:
    """Bring vectors to one byte or one bit a dimension.

    int8: round(127 · x / m) with m the largest magnitude among all the numbers of the index. With one step for all
    dimensions and no offset the integer product of two codes is proportional to that of their vectors, which is what
    is compared. (`quantize_embeddings` of sentence-transformers gives each dimension a range of its own, which is
    meant to be decoded, or scored again, before it is compared; docs/systems.md has the figures of both.)

    binary: the sign, as sentence-transformers' `binary`.

    Raises:
        InputError: a vector holds NaN or infinity.
        ValueError: the precision is float32, which needs no codes.
    """
    if precision == "float32":
        raise ValueError("float32 vectors are no codes")
    values = np.empty(vectors.shape, np.int8)
    blocks = range(0, len(vectors), _ROWS_AT_ONCE)
    # What is no number is the largest of all.
    highest = float(np.max([np.abs(vectors[low : low + _ROWS_AT_ONCE]).max(initial=0) for low in blocks], initial=0))
    _check_finite(highest)
    step = (highest or 1.0) / _MOST if precision == "int8" else 1.0
    for low in blocks:
        rows = slice(low, low + _ROWS_AT_ONCE)
        values[rows] = coded(vectors[rows], precision, step)
    return Codes(values, precision, step)


def _check_finite(highest: float) -> None:
    if not np.isfinite(highest):
        raise InputError(
            "A vector holds a value that is no number.",
            why="NaN or infinity: the model's precision may be too low for it",
            remedy="encode again with float32; `doctor` shows whether the model works",
        )


def coded(vectors: F32, precision: Precision, step: float) -> I8:
    """The codes of vectors, int8 of their shape, where `step` is what a code of 1 is worth (int8)."""
    if precision == "binary":
        return np.where(vectors > 0, 1, -1).astype(np.int8)
    codes: I8 = np.clip(np.rint(vectors / np.float32(step)), -_MOST, _MOST).astype(np.int8)
    return codes


def nearest_codes(
    queries: F32, passages: Codes, k: int, *, rescore: int = 0, device: str | None = None, progress: Progress = silent
) -> Neighbours:
    """Find the k passages whose codes have the largest product with the query's, exactly.

    The query is coded as the passages are. Without rescoring a score is that product brought back to the scale of a
    cosine (int8: times both steps; binary: over the dimensions, which is 1 - 2 · Hamming distance / dimensions). Many
    binary codes tie: the lower row comes first. With rescoring k · `rescore` passages are fetched and ordered anew by
    the product of the float32 query with their codes (Yamada et al. 2021): the index needs nothing more for that.

    Args:
        queries: float32 (queries, dimensions), of length 1.
        passages: the index.
        k: passages to return a query.
        rescore: how many times k is fetched and scored again; 0: none.
        device: as `studio.models.neighbours.nearest`.
        progress: told of each block of queries; what it raises stops the search.

    Raises:
        UsageError: k is negative, or the dimensions differ.
        InputError: a query holds NaN or infinity.
    """
    _check_finite(float(np.abs(queries).max(initial=0)))
    asked = coded(queries, passages.precision, passages.step)
    wanted = min(k * max(1, rescore), len(passages.values))
    # Blocks are brought to float32 as they are read; a sum of whole numbers below 2²⁴ is exact in it.
    codes = cast("Vectors", asked), cast("Vectors", passages.values)
    found = nearest(*codes, max(k, wanted), device=device, progress=progress)
    worth = passages.step**2 if passages.precision == "int8" else 1 / max(1, queries.shape[1])
    if not rescore:
        return Neighbours((found.scores * np.float32(worth)).astype(np.float32), found.indices, found.above)
    scale = passages.step if passages.precision == "int8" else 1 / np.sqrt(max(1, queries.shape[1]))
    result = Neighbours.none(len(queries), k)
    for row, (query, rows) in enumerate(zip(queries, found.indices, strict=True)):
        there = np.sort(rows[rows >= 0])
        # Summed in float64, so that copies of a passage score the same wherever they stand.
        products = passages.values[there].astype(np.float64) @ query.astype(np.float64)
        scores = (products * scale).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:k]
        result.scores[row, : len(order)], result.indices[row, : len(order)] = scores[order], there[order]
        if row % 256 == 0:
            progress(_SCORE_AGAIN, row, len(queries))
    progress(_SCORE_AGAIN, len(queries), len(queries))
    return result


def pair_scores_of_codes(left: F32, right: Codes, *, rescored: bool = False) -> F32:
    """The product of each left vector with the right code beside it, on the scale of a cosine: float32 (pairs,).

    Args:
        left: float32 (pairs, dimensions), of length 1.
        right: as many codes.
        rescored: whether the left side stays float32; else it is coded as the right one is.
    """
    dimensions = max(1, left.shape[1])
    own = left if rescored else coded(left, right.precision, right.step)
    each = right.step if right.precision == "int8" else 1 / np.sqrt(dimensions)
    products = np.einsum("ij,ij->i", own.astype(np.float64), right.values.astype(np.float64))
    scores: F32 = (products * (each if rescored else each**2)).astype(np.float32)
    return scores
