"""What a project holds, in numbers: the answer to `info`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from studio.pairs.schema import shape_of
from studio.project.project import Project
from studio.text.language import languages_of

_LANGUAGE_SAMPLE = 2_000
_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def summarise(project: Project) -> dict[str, Any]:
    """Return shape, counts, lengths, languages and decisions of a project as plain JSON-able values.

    Lengths are characters and whitespace-separated words at the 0, 5, 50, 95 and 100 % quantiles. Languages are those
    of at most 2,000 rows, evenly spaced.
    """
    pairs = project.snapshot
    curated = project.curated()
    rows = curated.rows
    return {
        "project": project.settings.name,
        "path": str(project.root),
        "snapshot": project.settings.snapshot,
        "shape": shape_of(pairs).value,
        "rows": pairs.height,
        "kept": curated.kept.height,
        "rejected": sum(source.rejected for source in project.settings.sources),
        "distinct": {
            "queries": pairs["query"].n_unique(),
            "positives": pairs["positive"].n_unique(),
            "answer_groups": rows["group_id"].n_unique(),
        },
        "negatives_per_row": _quantiles(pairs["negatives"].list.len()),
        "lengths": {
            column: {
                "characters": _quantiles(pairs[column].str.len_chars()),
                "words": _quantiles(pairs[column].str.split(" ").list.len()),
            }
            for column in ("query", "positive")
        },
        "splits": {str(split or "none"): count for split, count in _counts(rows, "split")},
        "languages": {column: _languages(pairs[column]) for column in ("query", "positive")},
        "sources": [source.model_dump(mode="json") for source in project.settings.sources],
        "decisions": [
            {"status": status, "reason": reason, "rows": count}
            for status, reason, count in curated.counts().iter_rows()
        ],
        "evidence": {
            stored.check: {
                "flags": stored.evidence.flags.height,
                "edges": stored.evidence.edges.height,
                "review": sum(
                    frame.filter(pl.col("band") == "review").height
                    for frame in (stored.evidence.flags, stored.evidence.edges)
                ),
            }
            for stored in project.evidence.load_all()
        },
    }


def _quantiles(numbers: pl.Series) -> list[int]:
    return [int(numbers.quantile(q, "nearest") or 0) for q in _QUANTILES]


def _counts(rows: pl.DataFrame, column: str) -> list[tuple[Any, int]]:
    return list(rows.group_by(column).len().sort("len", column, descending=[True, False]).iter_rows())


def _languages(column: pl.Series) -> dict[str, float]:
    """Share of each language in an even sample."""
    step = max(1, -(-len(column) // _LANGUAGE_SAMPLE))
    sample = column.gather_every(step).str.slice(0, 1_000).to_list()
    counted = Counter(code or "unknown" for code in languages_of(sample))
    return {code: round(count / len(sample), 4) for code, count in counted.most_common()} if sample else {}
