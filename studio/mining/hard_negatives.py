"""Hard negatives: passages that stand near a query and do not answer it, and why each of the others was not taken.

The rules of score are those of `sentence_transformers.util.mine_hard_negatives` (since #3821): margins against the
lowest-scoring positive of the query, then the top few are skipped among those that passed. What is known of a pair
(positives, judgements, near-duplicates, documents, evaluation) is left out after that, so that with the same settings
the picks hold all of that function's, less those left out. docs/hard_negatives.md says why each rule is there.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.mining.pool import CANDIDATES_SCHEMA, LINE, Bools, Ints, Pool, said
from studio.mining.settings import CHOSEN, REASONS, MiningSettings, Reason, mask_of
from studio.models.load import model_spec
from studio.models.rerank import rerank
from studio.progress import Progress, silent
from studio.project.verdicts import State
from studio.sample import model_location


def candidates(pool: Pool, settings: MiningSettings, cross: pl.DataFrame | None = None) -> pl.DataFrame:
    """Apply the rules of score and draw: every candidate as CANDIDATES_SCHEMA, those chosen with a null reason.

    A candidate that people judged not to answer is freed from what guards against false negatives: margins,
    `max_score`, `skip`, the cross-encoder, and the exclusions of `LIFTED`. `min_score` and `deepest` still apply.

    Args:
        pool: of the same `miners` and `deepest`.
        settings: the rules.
        cross: what `read` returned; None leaves the cross-encoder out.
    """
    names = pl.Series([reason.value for reason in REASONS] + [None], dtype=pl.String)
    table = pool.lines.with_columns(
        *_crossed(pool, cross), rejected_by=names.gather(Rules(pool, settings).codes(cross))
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in CANDIDATES_SCHEMA.items())


def read(pool: Pool, settings: MiningSettings, progress: Progress = silent) -> pl.DataFrame | None:
    """Let the cross-encoder read what all other rules leave.

    Returns:
        `query`, `passage`, `cross`, `cross_own` (the lowest score of a positive that the query trains with); None
        without a cross-encoder.

    Raises:
        InputError, UnavailableError, ConfigError: the cross-encoder cannot be used.
    """
    if not settings.cross_encoder:
        return None
    rules = Rules(pool, settings)
    lines = pool.lines.filter(pl.Series(rules.first(rules.at().allowed, settings.cross_depth))).select(LINE)
    collection = pool.collection
    own = collection.training.select(LINE).unique(maintain_order=True)
    own = own.join(lines, on="query", how="semi", maintain_order="left")
    pairs = pl.concat([lines, own])
    texts = zip(
        collection.queries["text"].gather(pairs["query"]),
        collection.passages["text"].gather(pairs["passage"]),
        strict=True,
    )
    spec = model_spec(model_location(settings.cross_encoder), max_length=settings.cross_max_length)
    scored = pairs.with_columns(pl.Series("cross", rerank(spec, list(texts), progress), dtype=pl.Float64))
    least = scored[lines.height :].group_by("query").agg(pl.col("cross").min().alias("cross_own"))
    return scored[: lines.height].join(least, on="query", how="left", maintain_order="left")


def _crossed(pool: Pool, cross: pl.DataFrame | None) -> list[pl.Series]:
    """What the cross-encoder said of each line, `cross` and `cross_own`; null where it did not read."""
    names = ["cross", "cross_own"]
    if cross is None:
        return [pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, pool.lines.height) for name in names]
    return pool.lines.select(LINE).join(cross, on=LINE, how="left", maintain_order="left").select(names).get_columns()


class _Reach(NamedTuple):
    """Lines at one relative margin: `near` break it, `skipped` and `deeper` miss the window, `allowed` may be drawn."""

    near: Bools
    skipped: Bools
    deeper: Bools
    allowed: Bools


class Rules:
    """The rules of score over all lines of a pool at once; `at` answers for any relative margin.

    Attributes:
        excluded: (lines,) bits of the exclusions that count under these settings.
    """

    def __init__(self, pool: Pool, settings: MiningSettings) -> None:
        self._pool, self._settings = pool, settings
        lines = pool.lines
        query = lines["query"].to_numpy()
        self._firsts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.empty(0, np.int64)
        self._sizes = np.diff(np.r_[self._firsts, len(query)])
        self._score, self._own = lines["score"].to_numpy(), lines["own"].to_numpy()[self._firsts]
        self._cleared = said(lines["judged"], State.DOES_NOT)
        self.excluded = pool.excluded & ~(mask_of(Reason.SAME_SOURCE) if settings.same_source == "allow" else 0)
        broken = self._broken_bits()
        self._passing = (broken == 0) & ~pool.trained
        freed = mask_of(Reason.ABSOLUTE_MARGIN, Reason.MAX_SCORE)
        self._broken = np.where(self._cleared, broken & ~freed, broken)
        self._open = (self.excluded == 0) & (self._broken == 0)

    def _broken_bits(self) -> Ints:
        """The rules that each line breaks, but for the relative margin, before anybody's judgement frees it."""
        settings, score = self._settings, self._score
        bits = np.zeros(len(score), np.int64)
        if settings.absolute_margin is not None:
            own = np.repeat(self._own, self._sizes)
            bits |= (score + settings.absolute_margin > own) * mask_of(Reason.ABSOLUTE_MARGIN)
        if settings.max_score is not None:
            bits |= (score > settings.max_score) * mask_of(Reason.MAX_SCORE)
        if settings.min_score is not None:
            bits |= (score < settings.min_score) * mask_of(Reason.MIN_SCORE)
        return bits

    def at(self, margin: float | Literal["set"] | None = "set") -> _Reach:
        """What a relative margin leaves; without one, the margin of the settings."""
        if margin == "set":
            margin = self._settings.relative_margin
        near = np.zeros(len(self._score), bool)
        if margin is not None:
            near = self._score > np.repeat(self._own - np.abs(self._own) * margin, self._sizes)
        # What passed counts here whether it is left out or not, as in sentence-transformers, which knows of no reason
        # to leave it out.
        place = self._count(self._passing & ~near)
        skipped = (place <= self._settings.skip) & ~self._cleared
        deeper = place > self._settings.deepest
        return _Reach(near, skipped, deeper, self._open & (~near | self._cleared) & ~skipped & ~deeper)

    def _count(self, marked: Bools) -> NDArray[np.int32]:
        """How many lines of the same query, up to and with each line, are marked."""
        running = np.cumsum(marked, dtype=np.int32)
        before = np.r_[np.int32(0), running][self._firsts]
        result: NDArray[np.int32] = running - np.repeat(before, self._sizes)
        return result

    def first(self, marked: Bools, count: int) -> Bools:
        """The first `count` marked lines of each query."""
        result: Bools = marked & (self._count(marked) <= count)
        return result

    def by_query(self, marked: Bools) -> NDArray[np.int32]:
        """How many lines of each query are marked."""
        if not len(marked):
            return np.empty(0, np.int32)
        result: NDArray[np.int32] = np.add.reduceat(marked, self._firsts, dtype=np.int32)
        return result

    def codes(self, cross: pl.DataFrame | None = None) -> NDArray[np.int8]:
        """The place in `Reason` of each line's reason; one past the last of those chosen."""
        near, skipped, deeper, allowed = self.at()
        unread = worse = np.zeros(len(allowed), bool)
        if cross is not None:
            reads = self.first(allowed, self._settings.cross_depth)
            unread = allowed & ~reads
            score, own = _crossed(self._pool, cross)
            like = (score >= own - self._settings.cross_margin).fill_null(value=False).to_numpy()
            worse = reads & like & ~self._cleared
            allowed = reads & ~worse
        known = self.excluded | self._broken | (near & ~self._cleared) * mask_of(Reason.RELATIVE_MARGIN)
        # The lowest bit is the first reason.
        codes: NDArray[np.int8] = np.log2(np.maximum(known & -known, 1)).astype(np.int8)
        codes[known == 0] = CHOSEN
        later = (
            (skipped, Reason.SKIPPED),
            (deeper, Reason.DEEPER),
            (unread, Reason.NOT_READ),
            (worse, Reason.CROSS_ENCODER),
            (~self._drawn(allowed), Reason.NOT_DRAWN),
        )
        for marked, reason in later:
            codes[marked & (codes == CHOSEN)] = REASONS.index(reason)
        return codes

    def _drawn(self, allowed: Bools) -> Bools:
        wanted = self._settings.negatives
        drawn = self.first(allowed, wanted)
        if self._settings.sampling == "top":
            return drawn
        queries = self._pool.collection.queries["row_id"]
        numbers = self._pool.lines["query"]
        for place in np.flatnonzero(self.by_query(allowed) > wanted):
            low = self._firsts[place]
            part = slice(low, low + self._sizes[place])
            among = np.flatnonzero(allowed[part])
            # Seeded by the query, so that other rows have no part in the draw.
            name = hashlib.sha256(queries[int(numbers[int(low)])].encode()).digest()[:8]
            generator = np.random.default_rng([self._settings.seed, int.from_bytes(name, "big")])
            drawn[part] = False
            drawn[low + generator.choice(among, wanted, replace=False)] = True
        return drawn
