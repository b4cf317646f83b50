"""Near-duplicate queries: character shingles, exact Jaccard, and a guard that lets nothing but spelling through."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from studio.checks.base import check
from studio.checks.nearness import NearCheck, NearConfig, guard_said, near_edges
from studio.progress import Progress, silent
from studio.project.evidence import Evidence, Role
from studio.text.near import first_at_l2, near_in, open_texts
from studio.text.normalise import Level
from studio.text.shingles import Spec


class NearQueriesConfig(NearConfig):
    """How near is near, how it is found, and how long a shingle is."""

    banded_for: float = Field(default=0.7, gt=0, le=1)
    """The Jaccard from which MinHash finds 98 of 100 pairs. Short texts share many shingles by chance: lower costs."""
    characters: int = Field(default=3, ge=2)
    """Length of a shingle, in characters of the accent-folded query; spaces at both ends count."""


@check
class NearQueries(NearCheck):
    """Queries that ask the same in nearly the same words.

    Short texts need more than a score: *law 8.112* and *law 8.666* are as near as a typing error. An edge is auto only
    if nothing but spelling, case, accents, articles and light prepositions differs; any number, mark, negation or other
    word that one query has and the other lacks, and any other order of the words, holds it for review.
    """

    name = "near_queries"
    version = "1"
    summary = "queries that ask the same in nearly the same words (character shingles, guard for every slot)"
    config_type = NearQueriesConfig
    config: NearQueriesConfig
    role = Role.QUERY
    column = "query"
    strict = True

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit verified query edges between the first rows of distinct queries."""
        rows = pairs.select("row_id", "query").unique("query", keep="first", maintain_order=True)
        texts = open_texts(rows["query"], progress, Level.ACCENTS)
        alone = first_at_l2(rows["query"], *texts.words())
        spec = Spec("char", self.config.characters)
        near = near_in(texts.take(alone).shingles(spec, progress), self.config.sought(), progress)
        edges = self.edges(near_edges(near, rows["row_id"][alone], spec, Role.QUERY).sort("a_id", "b_id"))
        notes = (f"{near.capped} crowded buckets were compared in part; `--method exact` compares all",)
        stats = {"distinct_queries": len(alone), "method": self.config.method, "capped_buckets": near.capped}
        return self.judge(pairs, Evidence(edges=edges, notes=notes if near.capped else (), stats=stats), progress)

    def holds(self) -> pl.Expr:
        """The guard's reason, or that one query says more."""
        if not self.config.guard:
            return pl.lit(None, pl.String)
        more = pl.col("evidence").str.contains(r'"says_more_[ab]": true')
        return pl.coalesce(guard_said(), pl.when(more).then(pl.lit("guard_more")))
