"""Passages by the words they share with a query: BM25 as Lucene computes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.models.neighbours import F32, I32, Neighbours
from studio.progress import Progress, silent
from studio.text.near import open_texts
from studio.text.normalise import Level, normalised
from studio.text.ragged import Ragged, concatenate, offsets_of

Words = Literal["plain", "portuguese"]
_Cut: TypeAlias = Callable[[pl.Series, Progress], Ragged]
_STEP = "search by words"
_QUERIES_A_BLOCK = 1000
_WORTH_COMPILING = 500_000_000
"""Queries × passages from which bm25s's numba backend saves more than the seven seconds it takes to compile."""
_TEXTS_A_BLOCK = 20_000
_WORD = r"[\p{L}\p{N}\p{M}]+"
_ACCENTED = {
    "cao": "ção",
    "coes": "ções",
    "avel": "ável",
    "ivel": "ível",
    "ancia": "ância",
    "encia": "ência",
    "encias": "ências",
}
"""The endings that Snowball's Portuguese stemmer knows with their accents only."""
_ENDING = re.compile(f"({'|'.join(_ACCENTED)})$")


class BM25Index:
    """Passages, ready to be searched by words: bm25s, method `lucene`.

    Words are the studio's own, runs of letters and digits of the normalised text, with accents folded: people type
    queries without them, and an own positive must not sink in the ranking for that. (For telling texts apart the
    studio keeps them: avó is not avô. A ranking can afford what a decision cannot.) `plain` has no stemming, which
    must know the language, and no list of stop words: their weight is low by their frequency. `portuguese` leaves out
    bm25s's Portuguese stop words and stems the others with Snowball's Portuguese stemmer, both after folding, so that
    a query without accents is the same query; the endings that the stemmer knows with accents only get them back
    before it (docs/systems.md has what each order is worth). Where a script puts no spaces between words, a run is a
    whole phrase and BM25 finds little.

    A column of polars cannot hold a lone surrogate, control characters part words, and a missing text has none.
    """

    def __init__(
        self,
        passages: pl.Series,
        progress: Progress = silent,
        *,
        words: Words = "plain",
        k1: float = 1.5,
        b: float = 0.75,
    ) -> None:
        """Index passages.

        Args:
            passages: texts; their positions are the rows that `nearest` returns.
            progress: told of the steps; what it raises stops the work.
            words: what passages and queries are cut into.
            k1: how slowly a word that is repeated stops to count for more.
            b: how much a passage's length counts against it, 0 to 1.
        """
        import bm25s

        progress("index words", 0, len(passages))
        self._cut = _CUTS[words]
        known_words = self._cut(passages, progress)
        self._vocabulary = np.unique(known_words.values)
        self._passages = len(passages)
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b, csc_backend="scipy")
        if len(self._vocabulary):
            # bm25s wants lists: with one object a word, not one a place, they are a quarter of the size.
            known = np.arange(len(self._vocabulary)).astype(object)
            passages_words = _lists(Ragged(known[self._known(known_words).values], known_words.offsets))
            vocabulary = {number: number for number in known}
            self._index.index((passages_words, vocabulary), create_empty_token=False, show_progress=False)
        progress("index words", len(passages), len(passages))

    def nearest(self, queries: pl.Series, k: int, progress: Progress = silent) -> Neighbours:
        """Find the k passages with the highest BM25 score of each query.

        A passage that shares no word with a query is no neighbour of it, so rows may end in -1 and -inf, and a query
        without a known word has nothing else. A word that a query repeats counts as often. Equal scores: the lower
        row first. `above` has no columns.

        Args:
            queries: texts.
            k: passages to return a query.
            progress: told of each block of queries; what it raises stops the search.

        Raises:
            UsageError: k is negative.
        """
        if k < 0:
            raise UsageError("The number of neighbours must not be negative.", why=f"it is {k}")
        result = Neighbours.none(len(queries), k)
        progress(_STEP, 0, len(queries))
        if k == 0 or not len(self._vocabulary):
            return result
        compiled = len(queries) * self._passages >= _WORTH_COMPILING and find_spec("numba") is not None
        search = self._compiled if compiled else self._plain
        for low in range(0, len(queries), _QUERIES_A_BLOCK):
            asked = self._known(self._cut(queries[low : low + _QUERIES_A_BLOCK], progress))
            rows = np.flatnonzero(asked.sizes)
            for row, (scores, indices) in zip(rows.tolist(), search(_lists(asked.take(rows)), k), strict=True):
                result.scores[low + row, : len(scores)] = scores
                result.indices[low + row, : len(indices)] = indices
            progress(_STEP, min(low + _QUERIES_A_BLOCK, len(queries)), len(queries))
        return result

    @property
    def posting_bytes(self) -> int:
        """What the posting lists take: for each word, its passages and their scores."""
        if not len(self._vocabulary):
            return 0
        return sum(int(self._index.scores[name].nbytes) for name in ("data", "indices", "indptr"))

    def _known(self, words: Ragged) -> Ragged:
        """The numbers of the words that a passage has; the others score nothing."""
        numbers = np.searchsorted(self._vocabulary, words.values)
        hit = self._vocabulary[np.minimum(numbers, len(self._vocabulary) - 1)] == words.values
        return Ragged(numbers[hit].astype(np.uint32), offsets_of(np.bincount(words.rows[hit], minlength=len(words))))

    def _plain(self, queries: list[list[int]], k: int) -> Iterator[tuple[F32, I32]]:
        for query in queries:
            scores = self._index.get_scores_from_ids(query)
            hits = np.flatnonzero(scores)
            if len(hits) > k:
                last = np.partition(scores[hits], len(hits) - k)[len(hits) - k]
                hits = hits[scores[hits] >= last]
            yield _ordered(scores[hits], hits.astype(np.int32), k)

    def _compiled(self, queries: list[list[int]], k: int) -> Iterator[tuple[F32, I32]]:
        if not queries:
            return
        import numba

        self._index.backend = "numba"
        # One more than wanted shows whether passages tie for the last place: of those, bm25s keeps any.
        wanted = min(k + 1, self._passages)
        found = self._index.retrieve(queries, k=wanted, show_progress=False, n_threads=numba.get_num_threads())
        for query, scores, indices in zip(queries, found.scores, found.documents, strict=True):
            if wanted > k and scores[k - 1] == scores[k] > 0:
                yield from self._plain([query], k)
            else:
                yield _ordered(scores[scores > 0], indices[scores > 0], k)


def _plain_words(texts: pl.Series, progress: Progress) -> Ragged:
    """One 64-bit hash a word, in order."""
    return open_texts(texts.cast(pl.String).fill_null(""), progress, Level.ACCENTS).sequences()


def _portuguese_words(texts: pl.Series, progress: Progress) -> Ragged:
    """One 64-bit hash a stem, in order, without stop words."""
    parts = []
    for low in range(0, len(texts), _TEXTS_A_BLOCK):
        progress("stem words", low, len(texts))
        block = texts[low : low + _TEXTS_A_BLOCK].cast(pl.String).fill_null("").alias("word").to_frame()
        words = block.select(normalised(pl.col("word"), Level.ACCENTS).str.extract_all(_WORD)).with_row_index("row")
        words = words.explode("word").drop_nulls()
        stems = words.join(_stems(words["word"].unique()), on="word", maintain_order="left")
        sizes = np.bincount(stems["row"].to_numpy(), minlength=len(block))
        parts.append(Ragged(stems["hash"].to_numpy(), offsets_of(sizes)))
    return concatenate(parts)


def _stems(words: pl.Series) -> pl.DataFrame:
    """`word` and `hash`, of its stem; stop words are left out."""
    import Stemmer

    content = words.filter(~words.is_in(_stop_words().implode()))
    accented = [_ENDING.sub(lambda found: _ACCENTED[found[1]], word) for word in content]
    # A stemmer serves one thread.
    stems = pl.DataFrame({"stem": Stemmer.Stemmer("portuguese").stemWords(accented)}, schema={"stem": pl.String})
    folded = stems.select(normalised(pl.col("stem"), Level.ACCENTS)).to_series()
    return pl.DataFrame({"word": content, "hash": folded.hash()})


@cache
def _stop_words() -> pl.Series:
    from bm25s.stopwords import STOPWORDS_PORTUGUESE

    words = pl.DataFrame({"word": STOPWORDS_PORTUGUESE}).select(normalised(pl.col("word"), Level.ACCENTS))
    return words.to_series().unique(maintain_order=True)


_CUTS: dict[Words, _Cut] = {"plain": _plain_words, "portuguese": _portuguese_words}


def _lists(rows: Ragged) -> list[list[int]]:
    bounds = rows.offsets.tolist()
    return [rows.values[low:high].tolist() for low, high in pairwise(bounds)]


def _ordered(scores: F32, indices: I32, k: int) -> tuple[F32, I32]:
    """The k best, equal scores by row."""
    order = np.lexsort((indices, -scores))[:k]
    return scores[order], indices[order]
