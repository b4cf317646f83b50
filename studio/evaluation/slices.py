"""Scores of parts of the queries: by length, language, source or tag, and by whether training has seen them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.evaluation.comparison import comparable, corrected_for_all, named
from studio.evaluation.metrics import I64, Flags
from studio.evaluation.per_query import retrieval_of, subsets
from studio.evaluation.results import Evaluation
from studio.evaluation.scores import Score, Tally, against, intervals, valueless
from studio.evaluation.significance import Difference

TOO_SMALL = 5
"""With fewer queries nothing is said of a difference."""
_PARTS = 4
"""Quantiles of the lengths."""
_UNKNOWN = "not known"


@dataclass(frozen=True)
class Slice:
    """A part of the queries.

    Attributes:
        name: in words.
        n: queries in it.
        scores: system → its score over them.
        difference: of a from b; None: there is no b, or too few queries.
        p_holm: its p-value, corrected for all slices that are compared.
        tally: of a against b; None: there is no b.
        note: that there are too few queries, or "".
    """

    name: str
    n: int
    scores: Mapping[str, Score]
    difference: Difference | None = None
    p_holm: float | None = None
    tally: Tally | None = None
    note: str = ""


def slices(evaluation: Evaluation, by: str, metric: str = "", a: str = "", b: str = "", seed: int = 0) -> list[Slice]:
    """Score systems on parts of the queries.

    Each part is compared for itself, with the interval and p of `significance.paired`, and the p-values of all are
    corrected together with Holm's method: of many parts, some differ by chance.

    Args:
        evaluation: of a retrieval set.
        by: of SLICES: `length` (characters) and `words` in quarters of the queries, `language`, `source`, `tag` (a
            query is in the slice of each of its tags), or `leaked`.
        metric: what counts; empty: the evaluation's main one.
        a: name of a system; empty: all are scored, and none compared.
        b: name of the system that a is compared with; empty: none.
        seed: for resamples and swaps.

    Returns:
        Lengths and whether leaked in their order, others with the most queries first; those without queries left out.

    Raises:
        UsageError: it is no retrieval set, there is nothing to go by of that name, a system is not there, or the two
            may not be compared.
    """
    retrieval_of(evaluation)
    metric = metric or evaluation.main
    if by not in SLICES:
        raise UsageError(f"Queries are not sliced by {by!r}.", remedy=f"choose one of {', '.join(SLICES)}")
    both = comparable(evaluation, a, b, metric) if a and b else None
    wanted = [named(evaluation, name) for name in (a, b) if name] or list(evaluation.systems)
    some = replace(evaluation, systems=tuple(system for system in wanted if not valueless(system, metric)))
    found = []
    for name, held in SLICES[by](evaluation):
        n = int(held.sum())
        if not n:
            continue
        scores = {system: of[metric] for system, of in intervals(some, (metric,), held, seed).items()}
        row = Slice(name, n, scores)
        if n < TOO_SMALL:
            row = replace(row, note=f"too few queries: fewer than {TOO_SMALL}")
        if both:
            difference, counted, _ = against(evaluation, *both, metric, held, seed)
            row = replace(row, tally=counted, difference=difference if n >= TOO_SMALL else None)
        found.append(row)
    corrected = corrected_for_all([row.difference for row in found])
    return [replace(row, p_holm=p) for row, p in zip(found, corrected, strict=True)]


def _by_characters(evaluation: Evaluation) -> list[tuple[str, Flags]]:
    return _quarters(_texts(evaluation).str.len_chars(), "characters")


def _by_words(evaluation: Evaluation) -> list[tuple[str, Flags]]:
    return _quarters(_texts(evaluation).str.count_matches(r"\S+"), "words")


def _quarters(counts: pl.Series, unit: str) -> list[tuple[str, Flags]]:
    """About as many queries in each, equal lengths together."""
    lengths: I64 = counts.to_numpy().astype(np.int64)
    if not len(lengths):
        return []
    shares = np.arange(1, _PARTS) / _PARTS
    limits = [*np.unique(np.quantile(lengths, shares, method="lower")).tolist(), int(lengths.max())]
    found, least = [], int(lengths.min())
    for limit in dict.fromkeys(limits):
        held = (lengths >= least) & (lengths <= limit)
        words = f"{least:,} to {limit:,} {unit}" if least < limit else f"{least:,} {unit[:-1] if least == 1 else unit}"
        found.append((words, held))
        least = limit + 1
    return found


def _texts(evaluation: Evaluation) -> pl.Series:
    texts = retrieval_of(evaluation).judged.queries["text"]
    if not (texts.str.len_bytes() > 0).any():
        raise UsageError(
            "Queries cannot be sliced by their length.", why="their texts are not known, as only scores were given"
        )
    return texts


def _by_column(name: str) -> Callable[[Evaluation], list[tuple[str, Flags]]]:
    def split(evaluation: Evaluation) -> list[tuple[str, Flags]]:
        return _most_first(retrieval_of(evaluation).attributes[name])

    return split


def _by_tag(evaluation: Evaluation) -> list[tuple[str, Flags]]:
    tags = retrieval_of(evaluation).attributes["tags"]
    each = tags.list.unique().explode()
    known = each.drop_nulls().value_counts().sort("count", "tags", descending=[True, False])["tags"].to_list()
    found = [(str(tag), tags.list.contains(tag).to_numpy()) for tag in known]
    return [*found, ("without a tag", (tags.list.len() == 0).to_numpy())]


def _most_first(values: pl.Series) -> list[tuple[str, Flags]]:
    name = values.name
    counts = values.drop_nulls().value_counts().sort("count", name, descending=[True, False])
    found = [(str(value), (values == value).fill_null(value=False).to_numpy()) for value in counts[name]]
    return [*found, (_UNKNOWN, values.is_null().to_numpy())]


def _by_leak(evaluation: Evaluation) -> list[tuple[str, Flags]]:
    found = subsets(evaluation)
    return [("clean: not seen in training", found.clean), ("leaked: seen in training", found.overlap)]


SLICES: dict[str, Callable[[Evaluation], list[tuple[str, Flags]]]] = {
    "length": _by_characters,
    "words": _by_words,
    "language": _by_column("language"),
    "source": _by_column("source"),
    "tag": _by_tag,
    "leaked": _by_leak,
}
"""What queries can be sliced by."""
