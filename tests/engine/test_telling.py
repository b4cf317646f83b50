"""How progress is told: how often, and how much time is left."""

import threading

import pytest

from studio.engine import server
from studio.engine.protocol import Failed, Progressed, failed
from studio.engine.server import Pace, Reporter
from studio.errors import Cancelled, UnavailableError


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(server, "time", clock)
    return clock


@pytest.fixture
def told() -> list[Progressed]:
    return []


@pytest.fixture
def reporter(told: list[Progressed], clock: Clock) -> Reporter:
    return Reporter(told.append, threading.Event())


def test_ten_a_second_and_the_first_and_last_of_each_step(
    reporter: Reporter, told: list[Progressed], clock: Clock
) -> None:
    for done in range(1_001):
        reporter("many", done, 1_000)
        clock.now += 0.001
    for done in range(50):
        reporter("unknown", done, None)
    reporter("last", 0, 2)
    reporter("last", 1, 2)
    reporter.finish()
    many = [progressed.done for progressed in told if progressed.step == "many"]
    assert many[0] == 0 and many[-1] == 1_000 and 10 <= len(many) <= 13
    rest = [(progressed.step, progressed.done) for progressed in told if progressed.step != "many"]
    assert rest == [("unknown", 0), ("unknown", 49), ("last", 0), ("last", 1)]


def test_a_step_that_begins_anew_is_another_step(reporter: Reporter, told: list[Progressed], clock: Clock) -> None:
    for done in range(5):
        reporter("check", done, 10)
    reporter("check", 0, 10)
    assert [progressed.done for progressed in told] == [0, 4, 0]
    clock.now += 10
    reporter("check", 5, 10)
    assert told[-1].seconds_left == pytest.approx(10), "the pace is that of the second time"


def test_a_cancelled_job_is_stopped() -> None:
    cancelled = threading.Event()
    reporter = Reporter(lambda _: None, cancelled)
    reporter("work", 0, 1)
    cancelled.set()
    with pytest.raises(Cancelled):
        reporter("work", 1, 1)


def test_the_time_left_is_what_the_pace_says() -> None:
    pace = Pace(0.0, 0)
    assert pace.seconds_left(0.0, 0, 100) is None
    assert pace.seconds_left(0.1, 1, 100) is None, "too early to tell"
    assert pace.seconds_left(1.0, 10, 100) == pytest.approx(9.0)
    assert pace.seconds_left(5.0, 50, 100) == pytest.approx(5.0)
    assert pace.seconds_left(10.0, 100, 100) == 0.0
    assert pace.seconds_left(10.0, 100, None) is None


def test_the_time_left_follows_a_new_pace_and_no_single_report() -> None:
    pace = Pace(0.0, 0)
    for second in range(1, 21):
        steady = pace.seconds_left(second, second * 10, 1_000)
    assert steady == pytest.approx(80.0)
    after_a_pause = pace.seconds_left(22.0, 200, 1_000)
    assert after_a_pause is not None and 80 < after_a_pause < 160
    for second in range(1, 41):
        slower = pace.seconds_left(22.0 + second, 200 + second, 1_000)
    assert slower == pytest.approx(760.0, rel=0.02)


def test_a_step_that_gets_nowhere_has_no_time_left() -> None:
    pace = Pace(0.0, 0)
    assert pace.seconds_left(30.0, 0, 100) is None


def test_out_of_memory_is_told_with_its_remedy() -> None:
    assert failed(1, MemoryError()).kind is UnavailableError
    assert isinstance(Failed(1, Cancelled).error(), Cancelled)
