import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.mining.agreement import (
    Calibration,
    Prior,
    agreement,
    calibrate,
    cohen_kappa,
    sampled_precision,
    wilson,
)

VERDICTS = ("also_answers", "partly", "does_not")
AXIS = np.linspace(-1.5, 1.5, 301)


@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS)), max_size=40))
def test_kappa_is_that_of_scikit_learn(both: list[tuple[str, str]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    a, b = [one for one, _ in both], [other for _, other in both]
    ours = cohen_kappa(a, b)
    if not both:
        assert ours is None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(a, b)
    assert ours == pytest.approx(theirs) if ours is not None else math.isnan(theirs)


def test_kappa_of_unequal_lengths_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 verdicts against 0"):
        cohen_kappa(["partly"], [])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962), (0, 0, 0.0, 1.0)],
)
def test_wilson_has_the_known_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_wilson_of_no_share_is_an_error(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson(successes, n)


def test_agreement_counts_what_both_judged() -> None:
    a = {1: "also_answers", 2: "does_not", 3: "partly", 4: "skip", 5: "does_not"}
    b = {2: "does_not", 3: "also_answers", 1: "also_answers", 4: "skip", 6: "partly"}
    found = agreement(a, b)
    assert found.n == 3
    assert found.observed == pytest.approx(2 / 3)
    assert found.interval == wilson(2, 3)
    assert found.kappa == cohen_kappa(["x", "y", "z"], ["x", "y", "x"])
    assert found.confusion["partly"] == {"also_answers": 1, "does_not": 0, "partly": 0}
    assert sum(count for row in found.confusion.values() for count in row.values()) == 3


def test_agreement_of_nothing_is_unknown() -> None:
    found = agreement({1: "partly"}, {2: "partly"})
    assert (found.n, found.observed, found.kappa, found.interval, found.confusion) == (0, None, None, (0.0, 1.0), {})


def test_sampled_precision_with_and_without_partial_answers() -> None:
    found = sampled_precision({"also_answers": 8, "does_not": 1, "partly": 1, "skip": 40})
    assert (found.full.value, found.full.n) == (0.8, 10)
    assert found.full.interval == wilson(8, 10)
    assert found.with_partly.interval == wilson(9, 10)
    nothing = sampled_precision({"skip": 3})
    assert nothing.full.value is None and nothing.full.interval == (0.0, 1.0)
    with pytest.raises(ValueError, match="negative"):
        sampled_precision({"partly": -1})


def test_without_judgements_the_prior_speaks() -> None:
    found = calibrate([], [])
    assert (found.n, found.positives, found.rests_on, found.trustworthy) == (0, 0, "prior", False)
    assert found.probability([0.0, -0.1, -0.2]) == pytest.approx([0.32, 0.15, 0.08], abs=0.01)
    assert found.half == pytest.approx(0.07, abs=0.01)
    assert found.brier is None and found.log_loss is None and found.base_brier is None
    low, high = found.interval([0.0])
    assert low[0] < 0.03 and high[0] > 0.85


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-3, 3), st.booleans()) | st.tuples(st.sampled_from([-0.05, 0.0, 0.02]), st.booleans()),
        max_size=40,
    )
)
def test_the_curve_rises_and_stays_inside_its_interval(judged: list[tuple[float, bool]]) -> None:
    found = calibrate([margin for margin, _ in judged], [answer for _, answer in judged])
    curve = found.probability(AXIS)
    assert (np.diff(curve[np.abs(AXIS) < 0.99]) > 0).all()
    assert (np.diff(curve) >= 0).all()
    assert ((curve > 0) & (curve < 1)).all()
    low, high = found.interval([-0.2, 0.0, 0.1])
    assert (low <= high).all()
    if found.half is not None:
        assert found.probability([found.half]) == pytest.approx([0.5], abs=1e-6)


@pytest.mark.parametrize(
    ("margins", "answers"),
    [([0.0, 0.02, -0.01], [True] * 3), ([-0.1, -0.05, 0.05], [False, False, True]), ([0.01], [False])],
)
def test_a_few_judgements_make_nobody_sure(margins: list[float], answers: list[bool]) -> None:
    found = calibrate(margins, answers)
    assert found.rests_on == "few" and not found.trustworthy
    assert found.probability([0.0])[0] == pytest.approx(0.45, abs=0.3)
    low, high = found.interval([0.0])
    assert high[0] - low[0] > 0.5


@pytest.mark.parametrize(("answer", "low", "high"), [(False, 0.0, 0.06), (True, 0.9, 0.99)])
def test_thirty_of_one_kind_overrule_the_prior(answer: bool, low: float, high: float) -> None:
    found = calibrate(np.linspace(-0.05, 0.02, 30), [answer] * 30)
    assert low < found.probability([0.0])[0] < high
    assert not found.trustworthy


def test_separable_judgements_make_no_step() -> None:
    margins = np.linspace(-0.2, 0.1, 30)
    found = calibrate(margins, margins > -0.05)
    assert found.half == pytest.approx(-0.05, abs=0.02)
    # A maximum likelihood fit would say 0 and 1 on either side of the gap.
    low, high = found.probability([-0.07, -0.03])
    assert 0.1 < low < 0.5 < high < 0.9


@pytest.mark.parametrize(("at_zero", "slope"), [(-1.0, 25.0), (1.0, 15.0), (-0.5, 60.0)])
def test_a_planted_curve_is_recovered(at_zero: float, slope: float) -> None:
    rng = np.random.default_rng(7)
    margins = rng.normal(-0.06, 0.1, 500)
    answers = rng.random(500) < 1 / (1 + np.exp(-(at_zero + slope * margins)))
    found = calibrate(margins, answers)
    assert found.rests_on == "judgements" and found.trustworthy
    axis = np.linspace(-0.25, 0.15, 41)
    truth = 1 / (1 + np.exp(-(at_zero + slope * axis)))
    assert np.abs(found.probability(axis) - truth).mean() < 0.05
    low, high = found.interval(axis, level=0.99)
    assert ((low <= truth) & (truth <= high)).mean() > 0.9
    assert found.half == pytest.approx(-at_zero / slope, abs=0.03)


def test_leave_one_out_is_what_fitting_again_gives() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 0.1, 40)
    answers = rng.random(40) < 1 / (1 + np.exp(1 - 20 * margins))
    seen = []
    for i in range(40):
        rest = np.arange(40) != i
        says = calibrate(margins[rest], answers[rest]).probability([margins[i]])[0]
        seen.append(says if answers[i] else 1 - says)
    found = calibrate(margins, answers)
    assert found.log_loss == pytest.approx(-np.log(seen).mean(), rel=0.01)
    assert found.brier == pytest.approx(((1 - np.asarray(seen)) ** 2).mean(), rel=0.01)


def test_margins_that_say_nothing_are_not_trusted() -> None:
    rng = np.random.default_rng(11)
    found = calibrate(rng.normal(0, 0.1, 200), rng.random(200) < 0.3)
    assert found.base_brier == pytest.approx(0.21, abs=0.03)
    assert found.brier is not None and found.brier > 0.95 * (found.base_brier or 0)


def test_far_margins_count_as_one() -> None:
    assert calibrate([5.0, -9.0], [True, False]) == calibrate([1.0, -1.0], [True, False])
    found = calibrate([], [], Prior(centre=2.0))
    assert found.probability([4.0])[0] == found.probability([1.0])[0]


def test_shapes_and_what_is_no_number() -> None:
    found = calibrate([], [])
    assert isinstance(found, Calibration)
    assert found.probability(np.zeros((2, 3))).shape == (2, 3)
    assert np.isnan(found.probability([math.nan]))[0]
    for margins, answers in (([0.0], []), ([[0.0]], [[True]]), ([math.nan], [True]), ([math.inf], [True])):
        with pytest.raises(ValueError, match="margin"):
            calibrate(margins, answers)
    with pytest.raises(ValueError, match="level"):
        found.interval([0.0], level=1.0)
