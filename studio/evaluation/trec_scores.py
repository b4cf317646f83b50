"""The scores of a TREC run as a ranking, in trec_eval's order."""

from __future__ import annotations

import numpy as np
import polars as pl

from studio.evaluation.metrics import F32, I32


def positions(run: pl.DataFrame, query_ids: pl.Series, passage_ids: pl.Series, depth: int) -> tuple[I32, F32]:
    """The first passages of each query; lines of other queries are left out.

    Scores decide and not the ranks that the run's tool gave. They are compared in single precision, equal ones by
    passage id, the last first. A passage that is not among `passage_ids` keeps its rank, at which then nothing is.

    Args:
        run: `query_id`, `passage_id`, `score` (a number), each query and passage together once.
        query_ids: of the queries, each once.
        passage_ids: of the passages, each once, in any order.
        depth: how many at most.

    Returns:
        int32 (queries, depth) positions in `passage_ids`, the best first, -1 where there is none; and the scores,
        float32, -inf behind the last line.
    """
    queries, passages = (
        ids.alias(f"{name}_id").to_frame().with_row_index(name).lazy()
        for ids, name in ((query_ids, "query"), (passage_ids, "passage"))
    )
    lines = (
        run.lazy()
        .join(queries, on="query_id")
        .join(passages, on="passage_id", how="left")
        .with_columns(pl.col("score").cast(pl.Float32))
        .sort("query", "score", "passage_id", descending=[False, True, True])
        .with_columns(rank=pl.int_range(pl.len()).over("query"))
        .filter(pl.col("rank") < depth)
    )
    found = lines.select("query", "rank", pl.col("passage").cast(pl.Int32).fill_null(-1), "score").collect()
    shape = query_ids.len(), depth
    ranked, scores = np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)
    at = found["query"].to_numpy(), found["rank"].to_numpy()
    ranked[at], scores[at] = found["passage"].to_numpy(), found["score"].to_numpy()
    return ranked, scores
