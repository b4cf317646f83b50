"""Retrieval metrics by query, as trec_eval computes them.

Its conventions: the gain of a passage is its relevance (linear), what nobody judged has none, a relevance above 0 is
relevant, equal scores are ranked by passage id, the last first, and a query that finds nothing counts as 0.
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

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

METRICS = ("ndcg@10", "mrr@10", "recall@1", "recall@10", "recall@100", "map@100", "success@10")
"""What every evaluation reports."""
_NAME = re.compile(r"([a-z]+)@([1-9][0-9]{0,3})")


class Metric(NamedTuple):
    """A metric of the first `k` passages; `kind`: ndcg, mrr, recall, map or success."""

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


@dataclass(frozen=True, eq=False)
class Qrels:
    """Who is relevant for whom, by position.

    Attributes:
        queries: how many queries there are.
        keys: int64, ascending: query · passages + passage of each judged pair.
        grades: float64, the relevance of each; 0 where it was below.
        passages: how many passages there are.
        offsets: int64 (queries + 1,); query q's grades above 0 are `ideal[offsets[q]:offsets[q + 1]]`.
        ideal: float64, within a query the highest first.
    """

    queries: int
    passages: int
    keys: I64
    grades: F64
    offsets: I64
    ideal: F64

    @classmethod
    def of(cls, query_ids: pl.Series, passage_ids: pl.Series, qrels: pl.DataFrame) -> Qrels:
        """Number judgements by the position of their query and passage.

        Args:
            query_ids: of the queries, each once.
            passage_ids: of the passages, each once.
            qrels: `query_id`, `passage_id`, `relevance`.

        Raises:
            InputError: a judgement is of a query or passage that is not there, or is there twice.
        """
        numbered = qrels
        for ids, column, number in ((query_ids, "query_id", "query"), (passage_ids, "passage_id", "passage")):
            known = ids.alias(column).to_frame().with_row_index(number)
            numbered = numbered.join(known, on=column, how="left", maintain_order="left")
        unknown = numbered.filter(pl.col("query").is_null() | pl.col("passage").is_null())
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

    def of_ranks(self, ranked: I32) -> F64:
        """The grade of each ranked passage, 0 where nobody judged it: the shape of `ranked`."""
        if not len(self.keys):
            return np.zeros(ranked.shape)
        wanted = np.arange(len(ranked), dtype=np.int64)[:, None] * self.passages + ranked
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found: F64 = np.where((self.keys[places] == wanted) & (ranked >= 0), self.grades[places], 0.0)
        return found

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

    Args:
        ranked: (queries, depth) positions of passages, the best first; below 0: none.
        qrels: who is relevant.
        names: what to compute. A metric deeper than `ranked` takes what there is.

    Returns:
        name → float64 (queries,). A query for which nothing is relevant has 0.

    Raises:
        ConfigError: there is no such metric.
    """
    grades = qrels.of_ranks(ranked)
    values = {}
    for kind, k in (metric(name) for name in names):
        values[Metric(kind, k).name] = _KINDS[kind](grades[:, :k], qrels, k)
    return values


def _ndcg(grades: F64, qrels: Qrels, k: int) -> F64:
    discount = 1 / np.log2(np.arange(k) + 2)
    return _share(grades @ discount[: grades.shape[1]], qrels.ideal_ranks(k) @ discount)


def _mrr(grades: F64, qrels: Qrels, k: int) -> F64:
    hits = grades > 0
    found: F64 = np.where(_found(hits), 1 / (_first(hits) + 1), 0.0)
    return found


def _recall(grades: F64, qrels: Qrels, k: int) -> F64:
    return _share((grades > 0).sum(axis=1), qrels.relevant)


def _map(grades: F64, qrels: Qrels, k: int) -> F64:
    hits = grades > 0
    precision = np.cumsum(hits, axis=1) / (np.arange(hits.shape[1]) + 1)
    return _share((precision * hits).sum(axis=1), qrels.relevant)


def _success(grades: F64, qrels: Qrels, k: int) -> F64:
    return _found(grades > 0).astype(np.float64)


_KINDS: dict[str, Callable[[F64, Qrels, int], F64]] = {
    "ndcg": _ndcg,
    "mrr": _mrr,
    "recall": _recall,
    "map": _map,
    "success": _success,
}


def _found(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each row has a hit."""
    result: NDArray[np.bool_] = np.any(hits, axis=1)
    return result


def _first(hits: NDArray[np.bool_]) -> I64:
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
