"""Answer groups: rows joined by what is certain, as connected components."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

I64 = NDArray[np.int64]
Links = tuple[I64, I64]
"""Two arrays of positions: the i-th of one is joined to the i-th of the other."""


def components(count: int, links: Iterable[Links]) -> I64:
    """Number the connected components of `count` nodes; nodes with equal numbers are joined, directly or not."""
    # Imported here: an interface that opens a project joins nothing, and scipy takes long to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nothing = np.empty(0, np.int64)
    one, other = (np.concatenate(part) for part in zip((nothing, nothing), *links, strict=True))
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    result: I64 = numbers.astype(np.int64)
    return result


def joined_by(values: pl.Series) -> Links:
    """Join each row to the first with an equal value; nulls join nothing."""
    frame = values.alias("value").to_frame().with_row_index("row").filter(pl.col("value").is_not_null())
    first = frame.select(pl.col("row").first().over("value")).to_series()
    return frame["row"].to_numpy().astype(np.int64), first.to_numpy().astype(np.int64)


def joined_by_edges(row_ids: pl.Series, edges: pl.DataFrame) -> Links:
    """Join the two rows of each edge."""
    rows = row_ids.alias("row_id").to_frame().with_row_index("row")
    ends = edges.select("a_id", "b_id")
    ends = ends.join(rows.rename({"row_id": "a_id", "row": "a"}), on="a_id", maintain_order="left")
    ends = ends.join(rows.rename({"row_id": "b_id", "row": "b"}), on="b_id", maintain_order="left")
    return ends["a"].to_numpy().astype(np.int64), ends["b"].to_numpy().astype(np.int64)


def first_of(numbers: I64) -> I64:
    """For each row the first row with its number."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    result: I64 = first[inverse]
    return result
