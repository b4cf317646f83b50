"""Numbers of runs as people read them."""

from __future__ import annotations

from studio.tui.run_numbers import bar, clock, decimal, score_words, signed, size


def test_numbers_read_as_in_papers_and_on_clocks() -> None:
    assert [decimal(value) for value in (0.655, 1.0, -0.25, 0.0, 12.5)] == [".655", "1.000", "-.250", ".000", "12.500"]
    assert [signed(value) for value in (0.043, -0.02, 0.0, 1.5)] == ["+.043", "-.020", "+.000", "+1.500"]
    assert score_words(None) == "–" and score_words(0.612) == ".612"
    assert [clock(value) for value in (0, 59.9, 3_725, 90_000, -1)] == [
        "00:00:00", "00:00:59", "01:02:05", "25:00:00", "00:00:00",
    ]  # fmt: skip
    assert [size(value) for value in (0, 1023, 3 * 2**30, 61.4 * 2**30, 2**40)] == [
        "0 bytes", "1023 bytes", "3.0 GiB", "61 GiB", "1.0 TiB",
    ]  # fmt: skip
    assert bar(0.5, 4) == "██··" and bar(2, 2) == "██" and bar(-1, 2) == "··"
