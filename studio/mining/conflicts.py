"""Which rows of a dataset must not meet in one batch, as keys: two rows are in conflict when they share one.

In-batch training takes every other passage of a batch for a negative. That is wrong for a text that occurs twice, for
passages that answer the same query, and for pairs nobody has judged yet. All three become keys of the rows that hold
the texts, so that a batch is free of conflicts when no key occurs in it twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Rows = NDArray[np.int32]

GROUPS_SCHEMA = {"text": pl.String, "group": pl.UInt32}
EDGES_SCHEMA = {"a": pl.String, "b": pl.String}

_WIDEST_STAR = 2_000_000
_VALUE, _GROUP, _EDGE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class RowKeys:
    """The keys of every row, as ragged arrays; a key that only one row has is left out.

    Attributes:
        offsets: int64 (rows + 1,); row r has `keys[offsets[r]:offsets[r + 1]]`.
        keys: int32 (entries,); within a row, the key of most rows first.
        sizes: int32 (number of keys,); how many rows have each key, two or more.
    """

    offsets: NDArray[np.int64]
    keys: NDArray[np.int32]
    sizes: NDArray[np.int32]

    @classmethod
    def none(cls, rows: int) -> RowKeys:
        """Return the keys of `rows` rows that may meet freely."""
        empty = np.empty(0, np.int32)
        return cls(np.zeros(rows + 1, np.int64), empty, empty)

    @classmethod
    def of(cls, rows: int, row: NDArray[np.integer], code: NDArray[np.integer]) -> RowKeys:
        """Return keys from entries, in any order and with repeats: row `row[i]` has the key `code[i]`.

        Args:
            rows: how many rows there are.
            row: (entries,) row numbers, 0 to `rows` - 1.
            code: (entries,) what a key is known by; equal codes are one key.
        """
        # Most codes occur once. They go before the entries are made unique, which costs more, and what only repeats
        # within a row goes after it.
        shared = pl.col("code").is_duplicated()
        found = pl.DataFrame({"row": row, "code": code}).filter(shared).unique().filter(shared)
        if found.is_empty():
            return cls.none(rows)
        holders = found["row"].to_numpy().astype(np.int64)
        _, numbers, sizes = np.unique(found["code"].to_numpy(), return_inverse=True, return_counts=True)
        order = np.lexsort((numbers, -sizes[numbers], holders))
        offsets = np.r_[0, np.cumsum(np.bincount(holders, minlength=rows))]
        return cls(offsets, numbers[order].astype(np.int32), sizes.astype(np.int32))

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    @cached_property
    def holders(self) -> Rows:
        """The row of each entry of `keys`: int32 (entries,)."""
        return np.repeat(np.arange(self.rows, dtype=np.int32), np.diff(self.offsets))

    @property
    def degree(self) -> NDArray[np.int64]:
        """How many other rows each row is in conflict with, int64 (rows,); one met under two keys counts twice."""
        return np.bincount(self.holders, weights=self.sizes[self.keys] - 1, minlength=self.rows).astype(np.int64)

    def row(self, number: int) -> list[int]:
        """Return the keys of one row."""
        found: list[int] = self.keys[self.offsets[number] : self.offsets[number + 1]].tolist()
        return found

    def conflicts_between(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Return the pairs of these rows that share a key, each once, the lower row number first."""
        having: dict[int, list[int]] = {}
        for number in sorted(rows):
            for key in self.row(number):
                having.setdefault(key, []).append(number)
        pairs = {(a, b) for held in having.values() for i, a in enumerate(held) for b in held[i + 1 :]}
        return sorted(pairs)


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Texts that must not meet in one batch. Texts are compared as they are, character by character.

    Attributes:
        groups: `text` (String), `group` (UInt32): the answer group of a text; a text has at most one.
        edges: `a` (String), `b` (String): any two texts: query and passage, two passages, two queries.
    """

    groups: pl.DataFrame
    edges: pl.DataFrame

    @classmethod
    def none(cls) -> Conflicts:
        """Return no conflicts but those of equal texts: what NO_DUPLICATES keeps apart."""
        return cls(pl.DataFrame(schema=GROUPS_SCHEMA), pl.DataFrame(schema=EDGES_SCHEMA))

    def keys(self, columns: Sequence[pl.Series]) -> RowKeys:
        """Return the keys of a dataset's rows: two rows are in conflict exactly when they share one.

        A row has a key for each of its texts (the same key whichever column the text is in, which is what
        sentence-transformers' NO_DUPLICATES guarantees), for the answer group of each of its texts, and for each edge
        at one of its texts. A row is never in conflict with itself.

        An edge's key goes to every row that holds either text. For a text of so many edges and rows that this would be
        more than two million entries, the rows across its edges get the text's own key instead: they are then
        kept apart from one another as well, which is more than asked and never less.

        Args:
            columns: the text columns, String or List(String), all of one length. Null is no text.

        Raises:
            ValueError: the columns differ in length, or one is not of texts.
        """
        if len({len(column) for column in columns}) > 1:
            raise ValueError("columns of one dataset must have one length")
        if not columns:
            return RowKeys.none(0)
        held = pl.concat([_texts(column) for column in columns])
        given = pl.concat([self._groups_of(held), self._edges_of(held)])
        entries = pl.concat([held.rename({"text": "code"}), held.join(given, on="text").select("row", "code")])
        return RowKeys.of(len(columns[0]), entries["row"].to_numpy(), entries["code"].to_numpy())

    def _groups_of(self, held: pl.DataFrame) -> pl.DataFrame:
        """The code that each text gets for its group, where the rows hold two texts of that group."""
        groups = self.groups.select(text=_hashed(pl.col("text")), code=pl.col("group").hash(_GROUP)).unique()
        groups = groups.join(held, on="text", how="semi")
        return groups.filter(pl.col("code").is_duplicated())

    def _edges_of(self, held: pl.DataFrame) -> pl.DataFrame:
        """The codes that texts get for their edges, where the rows hold both ends."""
        edges = self.edges.select(a=_hashed(pl.col("a")), b=_hashed(pl.col("b"))).filter(pl.col("a") != pl.col("b"))
        edges = edges.select(a=pl.min_horizontal("a", "b"), b=pl.max_horizontal("a", "b")).unique()
        for end in ("a", "b"):
            edges = edges.join(held, left_on=end, right_on="text", how="semi")
        if edges.is_empty():
            return pl.DataFrame(schema={"text": pl.UInt64, "code": pl.UInt64})
        ends = pl.concat([edges["a"], edges["b"]]).value_counts(name="edges").rename({"a": "text"})
        rows = held.join(ends, on="text", how="semi").group_by("text").len("rows")
        wide = ends.join(rows, on="text").filter(pl.col("edges").cast(pl.Int64) * pl.col("rows") > _WIDEST_STAR)
        from_a, from_b = pl.col("a").is_in(wide["text"].implode()), pl.col("b").is_in(wide["text"].implode())
        plain = edges.filter(~from_a & ~from_b).with_columns(code=pl.struct("a", "b").hash(_EDGE))
        return pl.concat(
            [
                plain.select(text="a", code="code"),
                plain.select(text="b", code="code"),
                edges.filter(from_a).select(text="b", code="a"),
                edges.filter(from_b & ~from_a).select(text="a", code="b"),
            ]
        )


def _hashed(text: pl.Expr) -> pl.Expr:
    # 64 bits: among ten million texts a collision has a chance of one in 370,000, and costs one needless conflict.
    return text.hash(_VALUE)


def _texts(column: pl.Series) -> pl.DataFrame:
    """Row and hash of each text of a column; a list has several texts, and null is none."""
    frame = pl.DataFrame({"text": column}).with_row_index("row")
    if column.dtype == pl.List(pl.String):
        frame = frame.explode("text")
    elif column.dtype not in (pl.String, pl.Null):
        raise ValueError(f"a column of texts must be String or List(String), not {column.dtype}: {column.name!r}")
    return frame.filter(pl.col("text").is_not_null()).select("row", text=_hashed(pl.col("text").cast(pl.String)))
