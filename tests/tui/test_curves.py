"""Curves in braille dots: where points come to lie, gaps, marks, and that every line has the width asked for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.tui.curves import NARROWEST, Curve, Mark, chart, number, spark

_NAN = math.nan


def drawn(*curves: Curve, width: int = 40, height: int = 6, **more: object) -> list[str]:
    return [str(line) for line in chart(curves, width, height, **more)]  # type: ignore[arg-type]


def test_a_rising_line_goes_from_corner_to_corner() -> None:
    lines = drawn(Curve([0, 100], [1.0, 2.0]))
    assert lines[0].startswith(" 2.000 ┤") and lines[4].startswith(" 1.000 ┤")
    assert lines[0][-1] != " " and lines[4][8] != " " and lines[0][8] == " "
    assert lines[5].startswith("       └0") and lines[5].endswith("step 100")


def test_what_is_no_number_breaks_the_line_and_an_end_in_it_is_marked() -> None:
    whole = drawn(Curve(range(5), [1.0, 1.0, 1.0, 1.0, 1.0]))
    broken = drawn(Curve(range(5), [1.0, 1.0, _NAN, 1.0, 1.0]))
    row = next(at for at, line in enumerate(whole) if any("⠀" < sign <= "⣿" for sign in line))
    assert " " not in whole[row][8:] and "   " in broken[row][8:] and "✗" not in "".join(broken)
    ended = drawn(Curve(range(5), [1.0, 2.0, 3.0, _NAN, math.inf], sign="A"), last=10)
    assert "✗A" in "".join(ended)


def test_several_lines_are_told_apart_where_they_end() -> None:
    lines = "".join(drawn(Curve([0, 9], [1, 2], sign="A"), Curve([0, 9], [1, 2], sign="B"), last=20))
    assert "A" in lines and "B" in lines


def test_a_baseline_is_dotted_and_the_best_is_a_star() -> None:
    lines = drawn(Curve([0, 50], [0.6, 0.7]), baseline=0.6, marks=[Mark(50, 0.7)], last=100)
    assert lines[4].count("·") > 10 and "★" in lines[0] and "·" not in lines[0]


def test_logarithms_only_of_what_has_them() -> None:
    curve = Curve([0, 1, 2], [0.01, 0.1, 1.0])
    assert drawn(curve, height=8, log=True)[3].startswith(" 0.100 ┤")
    assert drawn(curve, height=8)[3].startswith(" 0.505 ┤")
    assert drawn(Curve([0, 1], [-1.0, 1.0]), log=True)[0].startswith(" 1.000 ┤")


@pytest.mark.parametrize("curve", [Curve([], []), Curve([0, 1], [_NAN, math.inf])])
def test_nothing_measured_is_said(curve: Curve) -> None:
    lines = drawn(curve)
    assert lines[0] == "nothing measured yet" and len(lines) == 6


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=60),
    st.integers(NARROWEST, 120),
    st.integers(3, 30),
    st.booleans(),
)
def test_every_curve_fits(points: list[tuple[int, float]], width: int, height: int, log: bool) -> None:
    points.sort(key=lambda point: point[0])
    curve = Curve([step for step, _ in points], [value for _, value in points], sign="A")
    lines = chart([curve], width, height, log=log)
    assert len(lines) == height
    assert all(line.cell_length in (width, len("nothing measured yet"), 0) for line in lines)


def test_numbers_are_short() -> None:
    values = [0.0, 0.655, 2.1, 64.25, 512.3, 1840.2, 2e5, 4.1e-6, -0.5, _NAN, math.inf]
    assert [number(value) for value in values] == [
        "0.000", "0.655", "2.100", "64.25", "512.3", "1840", "2e+05", "4e-06", "-0.500", "nan", "inf",
    ]  # fmt: skip


def test_the_latest_values_are_bars() -> None:
    assert spark([0.0, 0.5, 1.0, None], 8, 1.0) == "▁▅█ "
    assert spark([5.0, 10.0], 1) == "█" and spark([], 4) == "" and spark([0.0], 4) == "▁"
