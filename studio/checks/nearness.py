"""What checks for near-equal texts share: settings, edges with their evidence, and the bands."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from studio.checks.base import Check, CheckConfig
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence, Role
from studio.text.guard import compare
from studio.text.near import Method, Near, Sought
from studio.text.shingles import Spec
from studio.text.vocabulary import Vocabulary


class NearConfig(CheckConfig):
    """How near is near, and how it is found."""

    method: Method = "minhash"
    """`exact` finds every pair at or above `floor` without MinHash."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard at or above which a pair is in the auto band, unless something holds it."""
    review: float = Field(default=0.6, gt=0, le=1)
    """Jaccard at or above which a pair is worth a person's look."""
    floor: float = Field(default=0.5, gt=0, le=1)
    """Candidates below this Jaccard are not recorded at all."""
    banded_for: float = Field(default=0.6, gt=0, le=1)
    """The Jaccard from which MinHash finds 98 of 100 pairs; between `floor` and this, fewer."""
    num_perm: int = Field(default=256, ge=16, le=1024)
    """Length of a MinHash signature."""
    seed: int = 1
    """Seed of datasketch's permutations."""
    guard: bool = True
    """Hold pairs for review whose numbers, negation, names or content words differ."""
    max_bucket: int = Field(default=100, ge=4)
    """Rows of one bucket of equal bands that are compared all to all; in a larger one each row meets some."""

    @model_validator(mode="after")
    def _ordered(self) -> NearConfig:
        if not self.floor <= self.review <= self.threshold:
            raise ValueError("floor <= review <= threshold must hold")
        return self

    def sought(self) -> Sought:
        """What to look for in the sets of shingles."""
        return Sought(self.floor, self.banded_for, self.method, self.num_perm, self.seed, self.max_bucket)


class NearCheck(Check):
    """A check whose edges are verified pairs of near-equal texts in one column."""

    role: ClassVar[Role]
    column: ClassVar[str]
    strict: ClassVar[bool] = False
    """Whether the guard counts small words and their order too."""
    judging = frozenset({"threshold", "review", "guard"})
    config: NearConfig

    @abstractmethod
    def holds(self) -> pl.Expr:
        """What keeps an edge over the threshold out of the auto band: a reason, or null."""

    def judge(self, pairs: pl.DataFrame, found: Evidence, progress: Progress = silent) -> Evidence:
        """Set the bands; the guard looks at edges that it has not seen and that could be in the auto band."""
        config = self.config
        edges = self._guarded(pairs, found.edges, progress)
        score = pl.col("score")
        held = pl.coalesce(self.holds(), pl.lit(None, pl.String))
        edges = edges.with_columns(
            rejected_by=pl.when(score < config.review)
            .then(pl.lit("below_review"))
            .when(score >= config.threshold)
            .then(held)
        ).with_columns(
            band=pl.when(score < config.review)
            .then(pl.lit(Band.IGNORE.value))
            .when((score < config.threshold) | pl.col("rejected_by").is_not_null())
            .then(pl.lit(Band.REVIEW.value))
            .otherwise(pl.lit(Band.AUTO.value))
        )
        return Evidence(found.flags, self.edges(edges), found.notes, found.stats)

    def _guarded(self, pairs: pl.DataFrame, edges: pl.DataFrame, progress: Progress) -> pl.DataFrame:
        """Add the guard's residue to the evidence of every edge over the threshold that lacks it."""
        seen = pl.col("evidence").str.contains('"difference": ', literal=True)
        over = pl.col("score") >= self.config.threshold
        # What a lower threshold left behind goes, so that the evidence is that of a fresh run.
        bare = pl.col("evidence").str.replace(r', "difference": .*$', "}")
        edges = edges.with_columns(evidence=pl.when(seen & ~over).then(bare).otherwise("evidence"))
        due = over & ~seen
        numbered = edges.with_row_index("edge")
        chosen = numbered.filter(due)
        if chosen.is_empty():
            return edges
        texts = pairs.select("row_id", self.column)
        both = chosen.join(texts.rename({"row_id": "a_id", self.column: "a"}), on="a_id", maintain_order="left")
        both = both.join(texts.rename({"row_id": "b_id", self.column: "b"}), on="b_id", maintain_order="left")
        known = Vocabulary(pairs[self.column])
        added = []
        for done, (a, b, evidence) in enumerate(both.select("a", "b", "evidence").iter_rows()):
            added.append(f"{evidence[:-1]}, {compare(a, b, known, strict=self.strict).to_json()[1:]}")
            if done % 10_000 == 0:
                progress("compare what near-duplicates say", done, both.height)
        lines = edges["evidence"].scatter(both["edge"], pl.Series(added, dtype=pl.String))
        return edges.with_columns(evidence=lines)


def near_edges(
    near: Near, row_ids: pl.Series, spec: Spec, role: Role, masked: np.ndarray | None = None
) -> pl.DataFrame:
    """Edges of verified pairs, not yet judged.

    Args:
        near: pairs of positions in `row_ids`.
        masked: for each pair its Jaccard without boilerplate, NaN where there is none in both.
    """
    sizes = pl.DataFrame({"shared": near.shared, "one": near.sizes[:, 0], "other": near.sizes[:, 1]})
    text = pl.format(
        f'{{}}"shingles": "{spec}", "shared": {{}}, "sizes": [{{}}, {{}}]', pl.lit("{"), "shared", "one", "other"
    )
    if masked is not None:
        score = pl.lit(pl.Series(masked)).round(4)
        text = text + pl.when(score.is_nan()).then(pl.lit("")).otherwise(pl.format(', "masked": {}', score))
    evidence = sizes.select((text + "}").alias("evidence")).to_series()
    return pl.DataFrame(
        {
            "a_id": row_ids.gather(near.pairs[:, 0]),
            "b_id": row_ids.gather(near.pairs[:, 1]),
            "score": near.jaccard,
            "containment": near.containment,
            "band": pl.Series([None], dtype=pl.String).new_from_index(0, len(evidence)),
            "rejected_by": pl.Series([None], dtype=pl.String).new_from_index(0, len(evidence)),
            "evidence": evidence,
        }
    ).with_columns(role=pl.lit(role.value))


def guard_said() -> pl.Expr:
    """`guard_<difference>` where the guard found one, else null."""
    return "guard_" + pl.col("evidence").str.extract(r'"difference": "(\w+)"')
