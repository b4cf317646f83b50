"""What events add up to: joined curves after a resume, gaps where nothing was measured, and no noughts."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from studio.runs.events import Event, EventWriter
from studio.runs.folder import RunFolder
from studio.runs.history import Follower, History, read_history


def fold(*events: tuple[str, int, dict[str, Any]]) -> History:
    history = History()
    history.update([Event(seq, 100.0 + seq, step, type, said) for seq, (type, step, said) in enumerate(events, 1)])
    return history


def train(step: int, **said: Any) -> tuple[str, int, dict[str, Any]]:
    return "train", step, said


def evaluated(step: int, score: float | None, when: str = "training") -> tuple[str, int, dict[str, Any]]:
    return "evaluation", step, {"when": when, "main": "ndcg@10", "score": score}


def test_each_field_has_a_curve_of_its_own_and_a_missing_value_no_point() -> None:
    history = fold(train(1, loss=2.0, lr=1e-5), train(2, loss=None, lr=2e-5), train(3, loss=1.0), train(4, pos="high"))
    assert history.series["loss"] == ([1, 3], [2.0, 1.0])
    assert history.series["lr"] == ([1, 2], [1e-5, 2e-5])
    assert set(history.series) == {"loss", "lr"}
    assert all(0.0 not in curve.values for curve in history.series.values())


def test_a_loss_that_is_no_number_is_a_divergence_and_one_that_is_left_out_is_not() -> None:
    assert fold(train(1, loss=2.0), train(2, lr=1e-5)).diverged is None
    assert fold(train(1, loss=2.0), train(2, loss=None), train(3, loss=None)).diverged == 2
    assert fold(("alert", 7, {"code": "nan", "level": "error", "message": "m"})).diverged == 7
    assert fold(train(1, grad_norm=None, loss=1.0)).diverged is None


def test_a_resumed_attempt_joins_the_curve_where_it_goes_on() -> None:
    history = fold(
        ("started", 0, {"attempt": 1, "resumed_from": None}),
        evaluated(0, 0.5, "baseline"),
        train(1, loss=4.0),
        train(2, loss=3.0),
        evaluated(2, 0.6),
        ("checkpoint", 2, {"path": "checkpoints/checkpoint-2"}),
        train(3, loss=None),
        evaluated(3, 0.9),
        ("checkpoint", 3, {"path": "torn"}),
        ("request", 3, {"request": "stop", "state": "seen"}),
        ("started", 2, {"attempt": 2, "resumed_from": 2}),
    )
    assert history.latest == {"loss": 3.0}
    history.update([Event(12, 112.0, 3, "train", {"loss": 2.0}), Event(13, 113.0, 4, "train", {"loss": 1.0})])
    assert history.series["loss"] == ([1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0])
    assert [event.step for event in history.evaluations] == [0, 2]
    assert [event.step for event in history.checkpoints] == [2]
    assert history.baseline == 0.5
    assert history.diverged is None
    assert history.requests == {}
    assert (history.attempts, history.step) == (2, 4)
    assert history.best is not None
    assert history.best.step == 2


def test_an_attempt_that_begins_again_from_nothing_takes_all_points_with_it() -> None:
    history = fold(
        ("started", 0, {"attempt": 1}),
        evaluated(0, 0.5, "baseline"),
        train(1, loss=4.0),
        ("ended", 1, {"state": "failed", "reason": "r"}),
        ("started", 0, {"attempt": 2, "resumed_from": None}),
    )
    assert history.series["loss"] == ([], [])
    assert history.evaluations == []
    assert history.ended is None
    assert history.step == 0


def test_attempts_are_counted_where_one_of_them_did_not_say_its_number() -> None:
    assert fold(("started", 0, {}), ("started", 0, {"attempt": "x"})).attempts == 2


def test_the_score_is_the_verdicts_else_the_best_else_the_baseline() -> None:
    assert fold().score is None
    assert fold(evaluated(0, 0.5, "baseline")).score == 0.5
    history = fold(evaluated(0, 0.5, "baseline"), evaluated(1, 0.4), evaluated(2, 0.7), evaluated(3, 0.7))
    assert history.score == 0.7
    assert history.best is not None
    assert history.best.step == 2
    assert fold(evaluated(0, 0.5, "baseline"), evaluated(1, None)).score == 0.5
    assert fold(evaluated(1, 0.7), ("verdict", 1, {"verdict": "WIN", "score": 0.6})).score == 0.6


def test_the_time_of_all_attempts_counts_and_the_time_between_them_does_not() -> None:
    history = History()
    for seq, when, type in ((1, 0.0, "started"), (2, 10.0, "note"), (3, 1000.0, "started"), (4, 1005.0, "note")):
        history.update([Event(seq, when, 0, type, {})])
    assert history.seconds == 15.0


def test_phases_and_their_progress() -> None:
    history = fold(("phase", 0, {"phase": "baseline"}), ("progress", 0, {"phase": "baseline", "done": 3, "total": 9}))
    assert history.phase == "baseline"
    assert history.progress is not None
    history.update([Event(3, 200.0, 0, "phase", {"phase": "train"})])
    assert (history.phase, history.progress) == ("train", None)


def test_devices_keep_their_latest_shares() -> None:
    said = [("devices", i, {"devices": [{"index": 0, "utilisation": i / 100}, {"index": 1}, 7]}) for i in range(80)]
    history = fold(*said, ("devices", 80, {"devices": None}))
    assert list(history.utilisation) == [0]
    assert list(history.utilisation[0]) == [i / 100 for i in range(20, 80)]


def test_a_run_made_anew_is_another_history() -> None:
    history = fold(train(1, loss=4.0), train(2, loss=3.0))
    history.update([Event(1, 900.0, 1, "train", {"loss": 9.0})])
    assert history.series["loss"] == ([1], [9.0])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.none(), max_size=2)
)
FIELDS = st.dictionaries(
    st.sampled_from(["attempt", "resumed_from", "loss", "score", "when", "devices", "phase", "request", "code"]), VALUES
)
TYPES = st.sampled_from(["started", "train", "evaluation", "checkpoint", "devices", "phase", "alert", "request", "odd"])


@given(st.lists(st.tuples(TYPES, st.integers(-3, 9), FIELDS), max_size=12))
def test_no_event_however_odd_breaks_it_and_curves_stay_in_order(events: list[tuple[str, int, dict[str, Any]]]) -> None:
    history = fold(*events)
    for curve in history.series.values():
        assert curve.steps == sorted(set(curve.steps))
        assert len(curve.steps) == len(curve.values)
    for listed in (history.evaluations, history.checkpoints):
        assert [event.step for event in listed] == sorted(event.step for event in listed)
    assert history.seconds >= 0


@given(st.lists(st.tuples(TYPES, st.integers(0, 9), FIELDS), max_size=12), st.integers(0, 12))
def test_folding_in_pieces_is_folding_at_once(events: list[tuple[str, int, dict[str, Any]]], cut: int) -> None:
    numbered = [Event(seq, 100.0 + seq, step, type, said) for seq, (type, step, said) in enumerate(events, 1)]
    whole, pieces = History(), History()
    whole.update(numbered)
    pieces.update(numbered[:cut])
    pieces.update(numbered[cut:])
    assert repr(vars(whole)) == repr(vars(pieces))


def test_following_a_file_is_reading_it_whole(run: RunFolder) -> None:
    writer, follower = EventWriter(run.events), Follower(run)
    for step in range(1, 30):
        writer.write("train", step, loss=1 / step)
        if step % 7 == 0:
            follower.read()
    with run.events.open("ab") as stream:
        stream.write(b"damaged\n")
    follower.read()
    assert vars(follower.history) == vars(read_history(run))
    assert follower.history.damaged == 1
    writer.close()
    follower.close()


def test_a_hundred_thousand_events_are_read_in_seconds(run: RunFolder) -> None:
    line = '{{"seq": {0}, "time": {0}.5, "step": {0}, "type": "train", "loss": 0.5, "ema": 0.5, "lr": 1e-05}}\n'
    run.events.write_text("".join(line.format(i) for i in range(1, 100_001)))
    began = time.process_time()
    history = read_history(run)
    assert len(history.series["loss"].steps) == 100_000
    assert time.process_time() - began < 5


def test_only_the_latest_best_checkpoint_is_the_best() -> None:
    history = fold(*(("checkpoint", step, {"best": best}) for step, best in ((10, True), (20, True), (30, False))))
    assert history.best_checkpoint == 20


def test_the_final_evaluation_is_of_the_best_step_and_no_step_of_its_own() -> None:
    history = fold(evaluated(0, 0.2, "baseline"), evaluated(3, 0.4), evaluated(6, 0.3), evaluated(6, 0.4, "final"))
    assert history.best is not None
    assert history.best.step == 3


def test_a_phase_is_news_once_an_attempt() -> None:
    phases = [("phase", 0, {"phase": phase}) for phase in ("train", "save", "train", "save", "final")]
    history = fold(("started", 0, {}), *phases, ("started", 0, {"resumed_from": 0}), *phases)
    assert history.new_phases == [2, 3, 6, 8, 9, 12]
