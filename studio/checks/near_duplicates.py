"""Near-duplicate passages: candidates by MinHash (or all of them), every one verified by exact Jaccard."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from studio.checks.base import Check, CheckConfig, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence, Role
from studio.text.guard import compare
from studio.text.minhash import Pairs, banding_for_recall, candidates, intersections, prefix_join, signatures
from studio.text.normalise import Level, normalised
from studio.text.ragged import I64, Ragged, row_hash
from studio.text.shingles import Spec, shingle, word_counts


class NearDuplicatesConfig(CheckConfig):
    """How near is near, and how it is found."""

    method: Literal["minhash", "exact"] = "minhash"
    """`exact` finds every pair at or above `floor` without MinHash."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard at or above which a pair is in the auto band, unless the guard holds it."""
    review: float = Field(default=0.6, gt=0, le=1)
    """Jaccard at or above which a pair is worth a person's look."""
    floor: float = Field(default=0.5, gt=0, le=1)
    """Candidates below this Jaccard are not recorded at all."""
    num_perm: int = Field(default=256, ge=16, le=1024)
    """Length of a MinHash signature."""
    seed: int = 1
    """Seed of datasketch's permutations."""
    long_words: int = 40
    """From this many words on a text is cut into shingles of `long_size` words, below into `short_size`."""
    long_size: int = Field(default=3, ge=1)
    short_size: int = Field(default=2, ge=1)
    tiny_words: int = 12
    """Below this many words a text is cut into shingles of `tiny_size` characters."""
    tiny_size: int = Field(default=4, ge=1)
    guard: bool = True
    """Hold pairs for review whose numbers, negation, names or content words differ."""
    max_bucket: int = Field(default=1000, ge=2)
    """How many of the next rows a row is compared with inside one bucket of equal bands."""

    @model_validator(mode="after")
    def _ordered(self) -> NearDuplicatesConfig:
        if not self.floor <= self.review <= self.threshold:
            raise ValueError("floor <= review <= threshold must hold")
        return self


@dataclass(frozen=True)
class _Family:
    """Texts compared by one kind of shingle: a pair belongs to the family of its shorter text."""

    spec: Spec
    low: int
    high: float


@check
class NearDuplicates(Check):
    """Passages that are nearly the same text.

    Texts equal at L2 count as one (the exact check has them). A pair is compared by the shingles of its shorter
    text: words by `long_size` or `short_size`, or characters. Texts of very different length (the longer has over
    1.25/floor times the words) are never near-duplicates by Jaccard and are not compared.
    """

    name = "near_duplicates"
    version = "1"
    summary = "passages that are nearly the same (MinHash candidates, exact Jaccard, guard for numbers and names)"
    config_type = NearDuplicatesConfig
    config: NearDuplicatesConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit verified passage edges between the first rows of distinct texts."""
        texts = (
            pairs.select("row_id", "positive", normalised(pl.col("positive"), Level.SURFACE).alias("text"))
            .unique("text", keep="first", maintain_order=True)
            .filter(pl.col("text") != "")
        )
        words = word_counts(texts["text"].to_list())
        parts, capped = [], 0
        for family in self._families():
            part, cut = self._family_edges(texts, words, family, progress)
            parts.append(part)
            capped += cut
        edges = pl.concat(parts)
        notes = [f"{capped} crowded buckets were compared in part; `--method exact` compares all"] if capped else []
        stats = {"distinct_passages": texts.height, "method": self.config.method, "capped_buckets": capped}
        if self.config.method == "minhash":
            banding = banding_for_recall(self.config.num_perm, self.config.review)
            stats |= {"bands": banding.bands, "band_rows": banding.rows}
        return Evidence(edges=self.edges(edges.sort("a_id", "b_id")), notes=tuple(notes), stats=stats)

    def _families(self) -> list[_Family]:
        config = self.config
        return [
            _Family(Spec("char", config.tiny_size), 1, config.tiny_words),
            _Family(Spec("word", config.short_size), config.tiny_words, config.long_words),
            _Family(Spec("word", config.long_size), config.long_words, math.inf),
        ]

    def _family_edges(
        self, texts: pl.DataFrame, words: I64, family: _Family, progress: Progress
    ) -> tuple[pl.DataFrame, int]:
        reach = 1.25 / self.config.floor
        rows = np.flatnonzero((words >= family.low) & (words < family.high * reach))
        if not ((words[rows] < family.high).any() and len(rows) > 1):
            return _edge_frame([]), 0
        members = texts[rows]
        sets = shingle(members["text"].to_list(), family.spec, progress)
        distinct, twins = _collapsed(sets)
        chosen = sets.take(distinct)
        found, capped = self._candidates(chosen, progress)
        shared = intersections(chosen, found, progress)
        sizes = chosen.sizes[found]
        union = sizes.sum(axis=1) - shared
        jaccard = shared / np.maximum(union, 1)
        kept = jaccard >= self.config.floor
        near = np.concatenate([distinct[found[kept]], twins])
        jaccard = np.concatenate([jaccard[kept], np.ones(len(twins))])
        shared = np.concatenate([shared[kept], sets.sizes[twins[:, 0]]])
        lengths = words[rows][near]
        shorter, longer = lengths.min(axis=1), lengths.max(axis=1)
        here = (shorter >= family.low) & (shorter < family.high) & (longer <= shorter * reach)
        near, jaccard, shared = near[here], jaccard[here], shared[here]
        containment = shared / np.maximum(sets.sizes[near].min(axis=1), 1)
        return self._described(members, near, jaccard, containment, shared, sets.sizes[near], family.spec), capped

    def _candidates(self, sets: Ragged, progress: Progress) -> tuple[Pairs, int]:
        config = self.config
        if config.method == "exact":
            return prefix_join(sets, config.floor, progress), 0
        banding = banding_for_recall(config.num_perm, config.review)
        signature = signatures(sets, config.num_perm, config.seed, progress)
        return candidates(signature, banding, config.max_bucket, progress)

    def _described(
        self,
        members: pl.DataFrame,
        near: Pairs,
        jaccard: np.ndarray,
        containment: np.ndarray,
        shared: I64,
        sizes: I64,
        spec: Spec,
    ) -> pl.DataFrame:
        ids, texts = members["row_id"].to_list(), members["positive"].to_list()
        lines = []
        for (a, b), score, inside, common, size in zip(
            near.tolist(), jaccard.tolist(), containment.tolist(), shared.tolist(), sizes.tolist(), strict=True
        ):
            evidence: dict[str, object] = {"shingles": str(spec), "shared": common, "sizes": size}
            rejected_by = None
            if score < self.config.review:
                band, rejected_by = Band.IGNORE, "below_review"
            elif score < self.config.threshold:
                band = Band.REVIEW
            else:
                band = Band.AUTO
                residue = compare(texts[a], texts[b])
                evidence |= asdict(residue)
                if self.config.guard and residue.difference:
                    band, rejected_by = Band.REVIEW, f"guard_{residue.difference}"
            lines.append((ids[a], ids[b], score, inside, band, rejected_by, json.dumps(evidence, ensure_ascii=False)))
        return _edge_frame(lines)


def _collapsed(sets: Ragged) -> tuple[I64, Pairs]:
    """First row of each distinct set, and (first, other) for every row that repeats a set. Empty sets are left out."""
    filled = np.flatnonzero(sets.sizes)
    keys = row_hash(sets)[filled]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    head = filled[first[inverse]]
    again = head != filled
    return np.sort(filled[first]), np.stack([head[again], filled[again]], axis=1)


def _edge_frame(lines: list[tuple[str, str, float, float, Band, str | None, str]]) -> pl.DataFrame:
    schema = {
        "a_id": pl.String,
        "b_id": pl.String,
        "score": pl.Float64,
        "containment": pl.Float64,
        "band": pl.String,
        "rejected_by": pl.String,
        "evidence": pl.String,
    }
    return pl.DataFrame(lines, schema=schema, orient="row").with_columns(role=pl.lit(Role.PASSAGE.value))
