"""How long the texts of a run are in tokens: what is cut, and what a batch holds once it is padded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.models.tokenizer import StudioTokenizer
from studio.progress import Progress, silent
from studio.training.data import Prepared, judged, train_frame
from studio.training.spec import RunSpec

Counts = NDArray[np.int64]

LABELS = ("score", "label")
"""Columns of the frozen data that are no texts."""
_MOST = 10_000
"""Rows of a dataset that are measured; a percentile of so many is exact enough."""
_BATCHES = 200


class Cut(NamedTuple):
    """What truncation does to a column: `share` of its texts are cut, which lose `lost` of their tokens on average."""

    column: str
    texts: int
    share: float
    lost: float


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of texts with their prompts and special tokens, before truncation.

    Attributes:
        limit: tokens that are kept.
        datasets: name → text column → one number a row, in the rows' order.
        queries, corpus: of the test.
        sampled: whether some rows were left out.
    """

    limit: int
    datasets: dict[str, dict[str, Counts]]
    queries: Counts
    corpus: Counts
    sampled: bool

    @property
    def longest(self) -> int:
        """Tokens of the longest text that was measured."""
        return max((int(counts.max(initial=0)) for counts in self._all()), default=0)

    def cuts(self) -> list[Cut]:
        """Tell for each column how much of it is cut."""
        named = [
            (f"{name}.{column}" if len(self.datasets) > 1 else column, counts)
            for name, columns in self.datasets.items()
            for column, counts in columns.items()
        ]
        return [self._cut(*item) for item in [*named, ("test queries", self.queries), ("test passages", self.corpus)]]

    def batch_tokens(self, rows: int, seed: int = 0) -> int:
        """Tokens in memory at once when a batch goes through the model whole, padding included.

        The query column is padded to its own longest text, the others together to theirs, as sentence-transformers
        embeds them. Of batches that are drawn at random this is the largest, for that one must fit.

        Args:
            rows: of a batch on one device.
            seed: of the drawing.
        """
        return max((self._largest(list(columns.values()), rows, seed) for columns in self.datasets.values()), default=0)

    def mini_batch_tokens(self, rows: int, size: int, seed: int = 0) -> int:
        """Tokens in memory at once with a cached loss: `size` texts of one column, padded to the longest of them."""
        size = min(size, rows)
        return max(
            (self._largest([counts], size, seed) for columns in self.datasets.values() for counts in columns.values()),
            default=0,
        )

    def _largest(self, columns: list[Counts], rows: int, seed: int) -> int:
        query, *others = [np.minimum(counts, self.limit) for counts in columns]
        if not query.size:
            return 0
        rows = min(rows, query.size)
        rng = np.random.default_rng(seed)
        found = 0
        # At least one epoch of batches: the longest text is in one of them.
        for _ in range(max(1, min(_BATCHES, query.size // rows))):
            picks = rng.choice(query.size, rows, replace=False)
            tokens = rows * int(query[picks].max())
            if others:
                tokens += rows * len(others) * max(int(column[picks].max()) for column in others)
            found = max(found, tokens)
        return found

    def _cut(self, name: str, counts: Counts) -> Cut:
        over = counts[counts > self.limit]
        lost = float(np.mean(1 - self.limit / over)) if over.size else 0.0
        return Cut(name, counts.size, over.size / counts.size if counts.size else 0.0, lost)

    def _all(self) -> Iterable[Counts]:
        yield from (counts for columns in self.datasets.values() for counts in columns.values())
        yield self.queries
        yield self.corpus


def measure(prepared: Prepared, spec: RunSpec, tokenizer: StudioTokenizer, progress: Progress = silent) -> Lengths:
    """Count the tokens of what a run trains on and is evaluated with.

    Of a dataset or a test with more than 10,000 rows, so many are drawn by the run's seed.

    Args:
        prepared: the frozen data.
        spec: the run, with its prompts.
        tokenizer: of its model.
        progress: told of each column; may stop it.

    Raises:
        ProjectError: a file of the data cannot be read.
        InputError: a text cannot be tokenised.
    """
    assert spec.prompts is not None, "a run's prompts are frozen before its texts are measured"
    sampled = False
    tables = [(part.name, train_frame(prepared, part.name)) for part in prepared.datasets]
    test = judged(prepared)

    def drawn(table: pl.DataFrame) -> pl.DataFrame:
        nonlocal sampled
        if table.height <= _MOST:
            return table
        sampled = True
        return table.sample(_MOST, seed=spec.seed)

    def counted(texts: pl.Series, prompt: str) -> Counts:
        prompted = pl.select(pl.lit(prompt) + texts).to_series()
        return tokenizer.token_counts(prompted, progress).cast(pl.Int64).to_numpy()

    datasets = {}
    for name, table in tables:
        rows = drawn(table)
        datasets[name] = {
            column: counted(rows[column], spec.prompts.query if column == "query" else spec.prompts.document)
            for column in rows.columns
            if column not in LABELS
        }
    queries = counted(drawn(test.queries)["text"], spec.prompts.query)
    corpus = counted(drawn(test.corpus)["text"], spec.prompts.document)
    return Lengths(spec.model.max_length, datasets, queries, corpus, sampled)
