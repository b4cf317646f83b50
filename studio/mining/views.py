"""Several looks at who may answer what, and how far they support a candidate together.

A query and a passage alone tell a weak retriever little. A passage that also answers is often like the query's own
positive, or is the positive of a like query; BM25 sees what an encoder misses. Each look ranks passages for a query,
and ranks are fused, for scores of different looks cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from studio.mining.collection import Collection
from studio.mining.retrieval import Retrieved, ranked

DIRECT, LIKE_POSITIVE, LIKE_QUERY = "direct", "like_positive", "like_query"
K = 20
"""Of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009, who take 60 for longer lists)."""
_LINE = ["query", "passage"]


def look(collection: Collection, found: Retrieved) -> pl.DataFrame:
    """What one retriever sees: `query`, `passage`, `look` and `rank` (from 1), without known positives.

    `direct`: the passage's rank for the query. `like_positive`: its rank among the passages like a positive of the
    query. `like_query`: the rank of a query it is a positive of, among the queries like this one.
    """
    own = collection.own
    direct = ranked(found.neighbours).select(*_LINE, "rank")
    passages = ranked(found.like_passages).rename({"query": "like", "passage": "other"}).select("like", "other", "rank")
    like_positive = own.join(passages.filter(pl.col("like") != pl.col("other")), left_on="passage", right_on="like")
    queries = ranked(found.like_queries).rename({"query": "like", "passage": "other"}).select("like", "other", "rank")
    like_query = queries.filter(pl.col("like") != pl.col("other")).join(own, left_on="other", right_on="query")
    looks = {
        DIRECT: direct,
        LIKE_POSITIVE: like_positive.select("query", pl.col("other").alias("passage"), "rank"),
        LIKE_QUERY: like_query.select(pl.col("like").alias("query"), "passage", "rank"),
    }
    table = pl.concat([lines.with_columns(pl.lit(name).alias("look")) for name, lines in looks.items()])
    table = table.join(own, on=_LINE, how="anti").group_by(*_LINE, "look").agg(pl.col("rank").min())
    # Known positives, and the text itself, took ranks that no candidate can have.
    place = pl.col("rank").rank("dense").over("query", "look").cast(pl.UInt32)
    return table.with_columns(place.alias("rank")).sort(*_LINE, "look")


def support(looks: Sequence[pl.DataFrame], trust: Sequence[float]) -> pl.DataFrame:
    """Fuse the ranks of several retrievers' looks: `query`, `passage`, `support`.

    support = mean over all looks of (K + 1)/(K + rank), 0 where a look does not see the passage: 1 when every look has
    it first. A retriever's looks weigh as much as it is to be trusted.

    Args:
        looks: of each retriever, from `look`.
        trust: of each retriever, not negative: its `mrr`.
    """
    total = 3 * sum(trust) or 1.0
    part = (K + 1) / (K + pl.col("rank").cast(pl.Float64))
    parts = [lines.select(*_LINE, part=part * weight / total) for lines, weight in zip(looks, trust, strict=True)]
    return pl.concat(parts).group_by(_LINE).agg(support=pl.col("part").sum())
