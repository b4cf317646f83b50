"""What words and bytes are worth: BM25's ways to cut words, and vectors in 4 bytes, 1 byte and 1 bit a dimension.

    python tests/benchmarks/systems.py PROJECT [--model harrier-tiny] [--run NAME] [--dims 64,32]

The project's held-out queries are searched for among its passages. Each line has nDCG@10, MRR@10 and Recall@100, and
the difference of nDCG@10 from the first line of its block with its 95 % interval and p (paired bootstrap and
randomisation). "stem, fold" and "fold, stem" are other orders than the studio's, made here with bm25s alone; each is
asked the queries as they are and without accents. "sentence-transformers int8" are the codes of its
`quantize_embeddings`, calibrated on the passages: "product" multiplies them as they are, "decoded" brings them back to
numbers first. Vectors are kept in the project's cache. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import bm25s
import numpy as np
import polars as pl
import Stemmer
from bm25s.stopwords import STOPWORDS_PORTUGUESE
from sentence_transformers.util.quantization import quantize_embeddings

from studio.evaluation.held_out import Drawing, held_out
from studio.evaluation.metrics import F64, I32, Qrels, by_query
from studio.evaluation.running import Context, Work, context_of
from studio.evaluation.sets import About, RetrievalSet
from studio.evaluation.significance import paired
from studio.evaluation.systems import Dense, Lexical
from studio.evaluation.vectors import resolve
from studio.mining.collection import Collection
from studio.models.embed import embed
from studio.models.neighbours import nearest
from studio.project.project import Project
from studio.text.normalise import Level, normalised

_NAMES = ("ndcg@10", "mrr@10", "recall@100")
_DEPTH = 100
Words = list[list[str]]


class _Block:
    """Lines that are compared with the first of them."""

    def __init__(self, title: str, qrels: Qrels) -> None:
        print(f"\n{title:44} {'nDCG@10':>8} {'MRR@10':>8} {'R@100':>8}   difference of nDCG@10")
        self._qrels = qrels
        self._first: F64 | None = None

    def line(self, name: str, ranked: I32) -> None:
        values = by_query(ranked, self._qrels, _NAMES)
        told = ""
        if self._first is None:
            self._first = values["ndcg@10"]
        else:
            found = paired(values["ndcg@10"], self._first)
            told = f"{found.delta:+.4f} [{found.low:+.4f}, {found.high:+.4f}] p {found.p:.4f}"
        print(f"{name:44}", *(f"{values[metric].mean():8.4f}" for metric in _NAMES), f"  {told}")


def _folded(texts: pl.Series) -> pl.Series:
    return texts.to_frame().select(normalised(pl.first(), Level.ACCENTS)).to_series()


def _words(texts: pl.Series) -> Words:
    return (
        texts.to_frame()
        .select(normalised(pl.first(), Level.SURFACE).str.extract_all(r"[\p{L}\p{N}\p{M}]+"))
        .to_series()
        .to_list()
    )


def _fold(words: Sequence[str]) -> list[str]:
    return _folded(pl.Series(words, dtype=pl.String)).to_list()


def _searched(passages: Words, queries: Words) -> I32:
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(passages, show_progress=False)
    ranked = np.full((len(queries), _DEPTH), -1, np.int32)
    for row, words in enumerate(queries):
        known = [word for word in words if word in index.vocab_dict]
        if known:
            scores = index.get_scores(known)
            hits = np.flatnonzero(scores)
            best = hits[np.lexsort((hits, -scores[hits]))][:_DEPTH]
            ranked[row, : len(best)] = best
    return ranked


def _orders() -> dict[str, Callable[[list[str]], list[str]]]:
    stem = Stemmer.Stemmer("portuguese").stemWords
    stop = set(_fold(list(STOPWORDS_PORTUGUESE)))

    def kept(words: list[str]) -> list[str]:
        return [word for word, folded in zip(words, _fold(words), strict=True) if folded not in stop]

    return {
        "stop words out": lambda words: _fold(kept(words)),
        "stop words out; stem, fold": lambda words: _fold(stem(kept(words))),
        "stop words out; fold, stem": lambda words: stem(_fold(kept(words))),
    }


def _lexical(evaluated: RetrievalSet, context: Context, qrels: Qrels) -> None:
    bare = evaluated.judged.queries.with_columns(_folded(evaluated.judged.queries["text"]).alias("text"))
    without = RetrievalSet.of(evaluated.judged._replace(queries=bare), evaluated.about)
    for title, asked in (("BM25, queries as they are", evaluated), ("BM25, queries without accents", without)):
        block, work = _Block(title, qrels), Work(asked, context)
        block.line("plain", work.ran(Lexical(words="plain"), _DEPTH).ranking.indices)
        block.line("portuguese", work.ran(Lexical(), _DEPTH).ranking.indices)
        passages, queries = _words(asked.judged.corpus["text"]), _words(asked.judged.queries["text"])
        for name, cut in _orders().items():
            block.line(name, _searched([cut(words) for words in passages], [cut(words) for words in queries]))


def _quantised(evaluated: RetrievalSet, context: Context, qrels: Qrels, whole: Dense, dims: list[int]) -> None:
    work = Work(evaluated, context)
    for dim in (None, *dims):
        block = _Block(f"{whole.run or whole.model}, {f'{dim} dimensions' if dim else 'all dimensions'}", qrels)
        for precision, again in (
            ("float32", 0),
            ("int8", 0),
            ("int8", 4),
            ("binary", 0),
            ("binary", 4),
            ("binary", 10),
        ):
            system = whole.model_copy(update={"dim": dim, "precision": precision, "rescore": again})
            name = precision + (f", {again} times the depth scored again" if again else "")
            block.line(name, work.ran(system, _DEPTH).ranking.indices)
        if dim is None:
            _peer(block, evaluated, context, whole)


def _peer(block: _Block, evaluated: RetrievalSet, context: Context, whole: Dense) -> None:
    found = resolve(whole, context, evaluated.about)
    asked = np.array(embed(found.encoder, evaluated.judged.queries["text"], found.contract.query, context.store))
    there = np.array(embed(found.encoder, evaluated.judged.corpus["text"], found.contract.document, context.store))
    codes = [
        quantize_embeddings(part, "int8", calibration_embeddings=there).astype(np.float32) for part in (asked, there)
    ]
    block.line("sentence-transformers int8, product", nearest(codes[0], codes[1], _DEPTH).indices)
    low, high = there.min(axis=0), there.max(axis=0)
    decoded = [(low + (part + 128.5) * (high - low) / 255).astype(np.float32) for part in codes]
    block.line("sentence-transformers int8, decoded", nearest(decoded[0], decoded[1], _DEPTH).indices)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--model", default="harrier-tiny")
    parser.add_argument("--run", default="")
    parser.add_argument("--dims", default="64,32")
    wanted = parser.parse_args()
    project = Project.open(wanted.project)
    curated = project.curated()
    judged, split, _ = held_out(project, curated, Collection.of(project, curated), Drawing())
    evaluated = RetrievalSet.of(judged, About(split, str(wanted.project)))
    qrels = Qrels.of(evaluated.judged.queries["query_id"], evaluated.judged.corpus["passage_id"], judged.qrels)
    context = context_of(project)
    print(f"split {split}: {evaluated.size} queries, {evaluated.judged.corpus.height} passages")
    _lexical(evaluated, context, qrels)
    dims = [int(dim) for dim in wanted.dims.split(",") if dim]
    _quantised(evaluated, context, qrels, Dense(model=wanted.model), dims)
    if wanted.run:
        _quantised(evaluated, context, qrels, Dense(run=wanted.run), dims)


if __name__ == "__main__":
    main()
