"""Near-duplicate passages: candidates by MinHash (or all of them), every one verified by exact Jaccard."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import Field

from studio.checks.base import check
from studio.checks.boilerplate import without_boilerplate
from studio.checks.nearness import NearCheck, NearConfig, guard_said, near_edges
from studio.progress import Progress, silent
from studio.project.evidence import Evidence, Role
from studio.text.minhash import banding_for_recall, intersections
from studio.text.near import Near, first_at_l2, near_in, open_texts
from studio.text.ragged import I64
from studio.text.shingles import Spec, Texts


class NearDuplicatesConfig(NearConfig):
    """How near is near, how it is found, and which shingles a text of which length is cut into."""

    long_words: int = 40
    """From this many words on a text is cut into shingles of `long_size` words, below into `short_size`."""
    long_size: int = Field(default=3, ge=1)
    short_size: int = Field(default=2, ge=1)
    tiny_words: int = 12
    """Below this many words a text is cut into shingles of `tiny_size` characters."""
    tiny_size: int = Field(default=4, ge=1)
    mask_boilerplate: bool = True
    """Hold pairs for review that are under the threshold once boilerplate is masked in both."""


@dataclass(frozen=True)
class _Family:
    """Texts compared by one kind of shingle: a pair belongs to the family of its shorter text."""

    spec: Spec
    low: int
    high: float


@check
class NearDuplicates(NearCheck):
    """Passages that are nearly the same text.

    Texts equal at L2 count as one (the exact check has them). A pair is compared by the shingles of its shorter
    text: words by `long_size` or `short_size`, or characters. Texts of very different length (the longer has over
    1.25/floor times the words) are never near-duplicates by Jaccard and are not compared.
    """

    name = "near_duplicates"
    version = "2"
    summary = "passages that are nearly the same (MinHash candidates, exact Jaccard, guard, boilerplate masked)"
    config_type = NearDuplicatesConfig
    config: NearDuplicatesConfig
    judging = NearCheck.judging | {"mask_boilerplate"}
    needs = ("boilerplate",)
    role = Role.PASSAGE
    column = "positive"

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit verified passage edges between the first rows of distinct texts."""
        rows = pairs.select("row_id", "positive").unique("positive", keep="first", maintain_order=True)
        texts = open_texts(rows["positive"], progress)
        words, keys = texts.words()
        alone = first_at_l2(rows["positive"], words, keys)
        rows, texts, words = rows[alone], texts.take(alone), words[alone]
        parts, capped = [], 0
        for family in self._families():
            near = self._family(texts, words, family, progress)
            capped += near.capped
            masked = self._masked(rows, near, family.spec)
            parts.append(near_edges(near, rows["row_id"], family.spec, Role.PASSAGE, masked))
        edges = self.edges(pl.concat(parts).sort("a_id", "b_id"))
        notes = (f"{capped} crowded buckets were compared in part; `--method exact` compares all",) if capped else ()
        stats = {"distinct_passages": rows.height, "method": self.config.method, "capped_buckets": capped}
        if self.config.method == "minhash":
            banding = banding_for_recall(self.config.num_perm, self.config.banded_for)
            stats |= {"bands": banding.bands, "band_rows": banding.rows}
        return self.judge(pairs, Evidence(edges=edges, notes=notes, stats=stats), progress)

    def holds(self) -> pl.Expr:
        """The guard's reason, or that the likeness is boilerplate."""
        guard = guard_said() if self.config.guard else pl.lit(None, pl.String)
        if not self.config.mask_boilerplate:
            return guard
        masked = pl.col("evidence").str.extract(r'"masked": ([\d.]+)').cast(pl.Float64) < self.config.threshold
        if self.config.guard:
            # Where neither says anything that the other does not, it is all the same what of it is boilerplate.
            masked &= pl.col("evidence").str.contains(r'"says_more_[ab]": true')
        return pl.coalesce(guard, pl.when(masked).then(pl.lit("boilerplate")))

    def _families(self) -> list[_Family]:
        config = self.config
        return [
            _Family(Spec("char", config.tiny_size), 1, config.tiny_words),
            _Family(Spec("word", config.short_size), config.tiny_words, config.long_words),
            _Family(Spec("word", config.long_size), config.long_words, math.inf),
        ]

    def _family(self, texts: Texts, words: I64, family: _Family, progress: Progress) -> Near:
        """Pairs of positions in `texts` that belong to the family."""
        reach = 1.25 / self.config.floor
        members = np.flatnonzero((words >= family.low) & (words < family.high * reach))
        if not ((words[members] < family.high).any() and len(members) > 1):
            members = members[:0]
        sets = texts.take(members).shingles(family.spec, progress)
        found = near_in(sets, self.config.sought(), progress)
        lengths = words[members][found.pairs]
        shorter, longer = lengths.min(axis=1), lengths.max(axis=1)
        near = found.take((shorter >= family.low) & (shorter < family.high) & (longer <= shorter * reach))
        return Near(members[near.pairs], near.shared, near.sizes, near.capped)

    def _masked(self, rows: pl.DataFrame, near: Near, spec: Spec) -> np.ndarray:
        """Jaccard of each pair with the boilerplate of both texts left out; NaN where not both have some."""
        masked = np.full(len(near.pairs), np.nan)
        flags = self.needed["boilerplate"].flags if "boilerplate" in self.needed else None
        if flags is None or flags.is_empty():
            return masked
        bare = without_boilerplate(rows, flags)
        place = np.full(rows.height, -1)
        place[bare["row"].to_numpy()] = np.arange(bare.height)
        pairs = place[near.pairs]
        both = (pairs >= 0).all(axis=1)
        if both.any():
            sets = open_texts(bare["text"]).shingles(spec)
            shared = intersections(sets, pairs[both])
            masked[both] = shared / np.maximum(sets.sizes[pairs[both]].sum(axis=1) - shared, 1)
        return masked
