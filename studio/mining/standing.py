"""How likely a candidate is to answer, before and after anybody judged: one number that the calibration rests on."""

from __future__ import annotations

import polars as pl

from studio.mining.agreement import Prior, calibrate

PRIOR = Prior(spread=0.7, shape=6.0)
"""Narrower than a bare margin deserves: what a standing takes from other looks has been discounted already. Chosen on
the sample project, where it expects about twice the planted answers before anything is judged, and about their number
after thirty judgements."""
UNLIKELY = 0.015
"""Candidates less likely than this, before anything is judged, are recorded and not asked about."""
_HELD = 3.0
"""What a guard takes off the logarithm of the odds: numbers or names differ, or the slots of one template."""


def standing(trust: float) -> pl.Expr:
    """The margin in the light of the other looks: what the probability is calibrated on.

    The margin counts as much as its retriever is to be trusted, and beyond ±.1 as ±.1: there it says more of the own
    positive than of the candidate. Support s multiplies the prior odds by s³, and what holds the two apart by 1/20: in
    units of the margin, their logarithm over the prior's slope.

    Args:
        trust: of the first retriever, its MRR on the known positives.
    """
    odds = 3 * pl.col("support").clip(lower_bound=0.02).log() - _HELD * (pl.col("held_by").list.len() > 0)
    return trusted_margin(trust) + odds / PRIOR.slope


def trusted_margin(trust: float) -> pl.Expr:
    """The margin as far as its retriever is to be trusted with it."""
    return trust * pl.col("margin").clip(-0.1, 0.1)


def unlikely(lines: pl.DataFrame, trust: float) -> pl.Series:
    """Whether each candidate is too unlikely to ask about. `lines` has `margin`, `support` and `held_by`."""
    expected = calibrate([], [], PRIOR).probability(lines.select(standing(trust)).to_series().to_numpy())
    return pl.Series(expected < UNLIKELY)
