"""Retrieval metrics by query, as trec_eval computes them.

Its conventions: the gain of a passage is its relevance (linear), what nobody judged has none, a relevance above 0 is
relevant, scores are compared in single precision, equal ones are ranked by passage id, the last first, and a query
that finds nothing counts as 0.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.errors import ConfigError, InputError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

METRICS = (
    "ndcg@10", "mrr@10", "recall@5", "recall@10", "recall@50", "recall@100", "map@100",
    "success@1", "success@5", "success@10", "judged@10",
)  # fmt: skip
"""What every evaluation reports."""
_NAME = re.compile(r"([a-z]+)@([1-9][0-9]{0,3})")


class Metric(NamedTuple):
    """A metric of the first `k` passages; `kind`: ndcg, mrr, recall, map, success or judged."""

    kind: str
    k: int

    @property
    def name(self) -> str:
        """Such as `ndcg@10`."""
        return f"{self.kind}@{self.k}"


def metric(name: str) -> Metric:
    """Read the name of a metric, such as `ndcg@10`.

    Raises:
        ConfigError: there is no such metric; the nearest is named.
    """
    found = _NAME.fullmatch(name)
    if found and found[1] in _KINDS:
        return Metric(found[1], int(found[2]))
    near = difflib.get_close_matches(name.lower(), METRICS, n=1, cutoff=0.5)
    raise ConfigError(
        f"There is no metric {name!r}.",
        why=f"known: {', '.join(_KINDS)}, each with a depth, such as ndcg@10",
        remedy=f"did you mean `{near[0]}`?" if near else "use `ndcg@10`",
    )


class Ranks(NamedTuple):
    """The ranked passages of each query: (queries, depth) each.

    Attributes:
        grades: float64, their relevance; 0 where it was below, where nobody judged, and where there is none.
        judged: whether somebody judged them.
        there: whether there is a passage at that rank.
    """

    grades: F64
    judged: Flags
    there: Flags

    def first(self, k: int) -> Ranks:
        """The first k ranks."""
        return Ranks(self.grades[:, :k], self.judged[:, :k], self.there[:, :k])


@dataclass(frozen=True, eq=False)
class Qrels:
    """Who is relevant for whom, by position.

    Attributes:
        queries: how many queries there are.
        keys: int64, ascending: query · passages + passage of each judged pair.
        grades: float64, the relevance of each; 0 where it was below.
        passages: how many passages there are.
        offsets: int64 (queries + 1,); query q's grades above 0 are `ideal[offsets[q]:offsets[q + 1]]`, those of
            relevant passages outside the corpus among them.
        ideal: float64, within a query the highest first.
    """

    queries: int
    passages: int
    keys: I64
    grades: F64
    offsets: I64
    ideal: F64

    @classmethod
    def of(cls, query_ids: pl.Series, passage_ids: pl.Series, qrels: pl.DataFrame, *, outside: bool = False) -> Qrels:
        """Number judgements by the position of their query and passage.

        Args:
            query_ids: of the queries, each once.
            passage_ids: of the passages, each once.
            qrels: `query_id`, `passage_id`, `relevance`.
            outside: whether a judged passage may be outside the corpus; if it is relevant it counts among those to
                be found, as in trec_eval, which does not know the corpus.

        Raises:
            InputError: a judgement is of a query or passage that is not there, or is there twice.
        """
        numbered = qrels
        for ids, column, number in ((query_ids, "query_id", "query"), (passage_ids, "passage_id", "passage")):
            known = ids.alias(column).to_frame().with_row_index(number)
            numbered = numbered.join(known, on=column, how="left", maintain_order="left")
        lost = pl.col("query").is_null() if outside else pl.col("query").is_null() | pl.col("passage").is_null()
        unknown = numbered.filter(lost)
        twice = qrels.filter(qrels.select("query_id", "passage_id").is_duplicated())
        for bad, why in ((unknown, "there is no such query or passage"), (twice, "it is judged twice")):
            for query_id, passage_id in bad.head(1).select("query_id", "passage_id").iter_rows():
                raise InputError(
                    "A judgement cannot be used.", where=f"query {query_id}, passage {passage_id}", why=why
                )
        count = passage_ids.len()
        pairs = numbered.select(
            pl.col("query").cast(pl.Int64), pl.col("passage").cast(pl.Int64), pl.col("relevance").clip(0)
        ).sort("query", "passage")
        best = pairs.filter(pl.col("relevance") > 0).sort("query", "relevance", descending=[False, True])
        pairs = pairs.drop_nulls("passage")
        held = np.bincount(best["query"].to_numpy(), minlength=query_ids.len())
        return cls(
            query_ids.len(),
            count,
            (pairs["query"] * count + pairs["passage"]).to_numpy(),
            pairs["relevance"].to_numpy().astype(np.float64),
            np.r_[0, np.cumsum(held)].astype(np.int64),
            best["relevance"].to_numpy().astype(np.float64),
        )

    @property
    def relevant(self) -> I64:
        """How many passages are relevant for each query."""
        return np.diff(self.offsets)

    def of_ranks(self, ranked: I32) -> Ranks:
        """What is known of each ranked passage."""
        there = ranked >= 0
        if not len(self.keys):
            return Ranks(np.zeros(ranked.shape), np.zeros(ranked.shape, np.bool_), there)
        wanted = np.arange(len(ranked), dtype=np.int64)[:, None] * self.passages + ranked
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        judged = (self.keys[places] == wanted) & there
        return Ranks(np.where(judged, self.grades[places], 0.0), judged, there)

    def ideal_ranks(self, k: int) -> F64:
        """The grades of the best possible ranking's first k passages: (queries, k)."""
        table = np.zeros((self.queries, k))
        counts = np.minimum(self.relevant, k)
        row = np.repeat(np.arange(self.queries), counts)
        column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        table[row, column] = self.ideal[self.offsets[row] + column]
        return table


def trec_order(passage_ids: Sequence[str] | pl.Series) -> I64:
    """The positions of passages, by id, the last first.

    A search over passages in this order that lists equal scores by position ranks as trec_eval does.
    """
    ids = pl.Series("id", passage_ids, dtype=pl.String)
    return ids.arg_sort(descending=True).to_numpy().astype(np.int64)


def by_query(ranked: I32, qrels: Qrels, names: Sequence[str] = METRICS) -> dict[str, F64]:
    """Compute metrics for each query.

    nDCG (Järvelin and Kekäläinen 2002) is DCG over that of the best ranking of all judged passages, DCG the sum of
    relevance / log2(rank + 1); MRR's value is 1 / rank of the first relevant passage; AP the mean, over all relevant
    passages, of the precision at each one found. Recall and AP are over all relevant passages, however small k is.
    Judged is the share of the passages found, at most k, that somebody judged: the lower it is, the less the others
    say.

    Args:
        ranked: (queries, depth) positions of passages, the best first; below 0: none.
        qrels: who is relevant.
        names: what to compute. A metric deeper than `ranked` takes what there is.

    Returns:
        name → float64 (queries,). A query for which nothing is relevant has 0 (of judged: for which nothing is found).

    Raises:
        ConfigError: there is no such metric.
    """
    ranks = qrels.of_ranks(ranked)
    values = {}
    for kind, k in (metric(name) for name in names):
        values[Metric(kind, k).name] = _KINDS[kind](ranks.first(k), qrels, k)
    return values


def first_relevant(ranked: I32, qrels: Qrels) -> I64:
    """The rank of each query's first relevant passage, from 1; 0: it is deeper than `ranked`, or there is none."""
    hits = qrels.of_ranks(ranked).grades > 0
    found: I64 = np.where(hits.any(axis=1), _first(hits) + 1, 0)
    return found


def _ndcg(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    discount = 1 / np.log2(np.arange(k) + 2)
    return _share(ranks.grades @ discount[: ranks.grades.shape[1]], qrels.ideal_ranks(k) @ discount)


def _mrr(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    hits = ranks.grades > 0
    found: F64 = np.where(hits.any(axis=1), 1 / (_first(hits) + 1), 0.0)
    return found


def _recall(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    return _share((ranks.grades > 0).sum(axis=1), qrels.relevant)


def _map(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    hits = ranks.grades > 0
    precision = np.cumsum(hits, axis=1) / (np.arange(hits.shape[1]) + 1)
    return _share((precision * hits).sum(axis=1), qrels.relevant)


def _success(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    hits: Flags = np.any(ranks.grades > 0, axis=1)
    return hits.astype(np.float64)


def _judged(ranks: Ranks, qrels: Qrels, k: int) -> F64:
    return _share(ranks.judged.sum(axis=1), ranks.there.sum(axis=1))


_KINDS: dict[str, Callable[[Ranks, Qrels, int], F64]] = {
    "ndcg": _ndcg,
    "mrr": _mrr,
    "recall": _recall,
    "map": _map,
    "success": _success,
    "judged": _judged,
}


def _first(hits: Flags) -> I64:
    """The column of the first hit of each row; 0 where there is none."""
    if not hits.shape[1]:
        return np.zeros(len(hits), np.int64)
    found: I64 = hits.argmax(axis=1)
    return found


def _share(part: F64 | I64, whole: F64 | I64) -> F64:
    """Part over whole, 0 where the whole is 0."""
    result = np.zeros(len(part))
    np.divide(part, whole, out=result, where=whole > 0)
    return result
