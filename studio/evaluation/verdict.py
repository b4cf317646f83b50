"""Is the trained model better than it was? One word, and the line that says why."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from studio.evaluation.significance import Difference

WIN_FROM = 0.005
"""From this difference on it is a win; below 0 a regression."""
_ROUNDING = 1e-9


class Verdict(StrEnum):
    """What a run came to."""

    WIN = "WIN"
    MARGINAL = "MARGINAL"
    REGRESSION = "REGRESSION"


class Judgement(NamedTuple):
    """A verdict and what it rests on; `difference`: that of the paired queries."""

    verdict: Verdict
    score: float
    baseline: float
    difference: Difference

    @property
    def delta(self) -> float:
        """How much the score is above the baseline."""
        return self.score - self.baseline

    @property
    def line(self) -> str:
        """`VERDICT: WIN | score=0.6550 | baseline=0.6120 | delta=+0.0430 | ci=[+0.0210,+0.0650] p=0.0004 n=500`."""
        found = self.difference
        return (
            f"VERDICT: {self.verdict} | score={self.score:.4f} | baseline={self.baseline:.4f} | "
            f"delta={self.delta:+.4f} | ci=[{found.low:+.4f},{found.high:+.4f}] p={found.p:.4f} n={found.n}"
        )


def verdict(score: float, baseline: float, difference: Difference) -> Judgement:
    """Judge a run by its score: WIN from +0.005 on, MARGINAL from 0, else REGRESSION; no number is a regression.

    The word does not say whether chance explains the difference; the interval and p beside it do.

    Args:
        score: of the trained model.
        baseline: of the same model before training, with the same prompts and queries.
        difference: by query (`significance.paired`).
    """
    delta = score - baseline + _ROUNDING
    found = Verdict.WIN if delta >= WIN_FROM else Verdict.MARGINAL if delta >= 0 else Verdict.REGRESSION
    return Judgement(found, score, baseline, difference)
