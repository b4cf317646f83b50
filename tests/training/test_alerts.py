from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.training.alerts import Figures, Watch, is_out_of_memory, out_of_memory
from studio.training.spec import RunSpec, changed

SPEC = RunSpec()
GOOD = {"grad_norm": 1.0, "lr": 5e-6, "pos": 0.8, "neg": 0.3, "margin": 0.5, "data_wait": 0.01}


def falling(lines: int, **changes: float) -> list[Figures]:
    """The log of a run that goes well."""
    return [Figures(2.0 * 0.95**n, share=n / lines, **{**GOOD, **changes}) for n in range(lines)]


def codes(lines: list[Figures], spec: RunSpec = SPEC) -> list[str]:
    watch = Watch(spec)
    return [alert.code for line in lines for alert in watch.line(line)]


def test_a_run_that_goes_well_raises_nothing() -> None:
    assert codes(falling(100)) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_an_error(loss: float) -> None:
    [alert] = Watch(SPEC).line(Figures(loss))
    assert alert.code == "nan" and alert.level == "error" and "1e-06" in alert.remedies[0]


def test_so_is_a_gradient_and_fp16_is_the_first_suspect() -> None:
    [alert] = Watch(changed(SPEC, {"precision.mode": "fp16"})).line(Figures(0.5, grad_norm=math.inf))
    assert "gradient norm is inf" in alert.message and "precision.mode" in alert.remedies[0]


def test_a_spike_is_told_once() -> None:
    lines = falling(40)
    lines[25] = lines[25]._replace(loss=6.0)
    lines[26] = lines[26]._replace(loss=6.0)
    assert codes(lines) == ["spike"]


def test_noise_is_no_spike() -> None:
    assert codes([Figures(1.0 + 0.1 * (n % 5), share=n / 60, lr=0) for n in range(60)]) == []


def test_gradients_that_explode() -> None:
    lines = falling(30)
    lines[20] = lines[20]._replace(grad_norm=50.0)
    assert codes(lines) == ["explosion"]


def test_a_plateau_while_there_is_much_left_to_do() -> None:
    flat = [Figures(1.0, share=n / 100, **GOOD) for n in range(100)]
    assert codes(flat) == ["plateau"]
    # At the end of a cosine the loss stands still because the learning rate is gone.
    assert codes([line._replace(lr=1e-8) for line in flat]) == []


@pytest.mark.parametrize(
    "changes", [{"pos": 0.3, "neg": 0.299, "margin": 0.001}, {"pos": 0.995, "neg": 0.99, "margin": 0.005}]
)
def test_a_model_that_tells_nothing_apart(changes: dict[str, float]) -> None:
    assert codes(falling(40, **changes)) == ["collapse"]
    # One line may be a hard batch, and an untrained model tells nothing yet.
    assert codes([line._replace(share=0.01) for line in falling(40, **changes)]) == []
    assert codes([*falling(20), falling(20, **changes)[-1]]) == []


def test_cosines_of_scored_pairs_do_not_collapse() -> None:
    spec = changed(SPEC, {"loss.name": "cosent"})
    assert codes(falling(40, pos=0.5, neg=0.499, margin=0.001), spec) == []


def test_waiting_for_data_is_told_and_told_again_when_it_comes_back() -> None:
    slow = falling(10, data_wait=0.7)
    assert codes([*slow, *falling(10), *slow]) == ["stall", "stall"]


def test_evaluations_below_the_baseline_and_without_a_fault() -> None:
    watch = Watch(SPEC)
    assert [alert.code for alert in watch.evaluation(1.0, None, 100, first=True)] == ["perfect"]
    assert watch.evaluation(0.7, 0.7, 100) == []
    assert [alert.code for alert in watch.evaluation(0.6, 0.7, 100)] == ["below_baseline"]
    assert watch.evaluation(0.6, 0.7, 100) == []  # it was said
    assert [alert.code for alert in watch.evaluation(1.0, 0.7, 100)] == ["perfect"]
    assert Watch(SPEC).evaluation(1.0, 0.5, 5) == []  # five queries say nothing


def test_heat_and_a_full_disk() -> None:
    watch = Watch(SPEC)
    assert [alert.code for alert in watch.devices([55.0, None, 91.0])] == ["hot"]
    assert watch.devices([]) == []
    assert watch.disk(10 * 2**30, 2**30) == []
    [alert] = watch.disk(3 * 2**30, 2 * 2**30)
    assert alert.code == "disk_low" and "3.0 GiB" in alert.message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_ran_out_is_known(error: Exception) -> None:
    assert is_out_of_memory(error) and not is_out_of_memory(ValueError("a shape"))


def test_remedies_for_memory_are_ranked_and_fit_the_run() -> None:
    plain = out_of_memory(SPEC, "tried 2 GiB").remedies
    assert plain[0].startswith("the same loss in mini-batches") and "cached_mnrl" in plain[0]
    assert [word in " ".join(plain) for word in ("activation_checkpointing", "lora", "max_length", "devices")] == [
        True
    ] * 4
    spec = changed(SPEC, {"loss.name": "cached_mnrl", "precision.activation_checkpointing": True, "lora": {}})
    cached = out_of_memory(spec, "").remedies
    assert cached[0].endswith("loss.mini_batch_size = 16") and not any("lora" in remedy for remedy in cached)
    assert "batch.evaluation = 32" in out_of_memory(SPEC, "", evaluating=True).remedies[0]


@given(
    st.lists(
        st.builds(
            Figures,
            st.floats(allow_nan=True, allow_infinity=True),
            st.none() | st.floats(0, 1e9),
            st.floats(0, 1),
            *[st.none() | st.floats(-1, 1)] * 3,
            st.none() | st.floats(0, 1),
            st.floats(0, 1),
        ),
        max_size=60,
    )
)
def test_whatever_comes_each_alert_is_whole(lines: list[Figures]) -> None:
    watch = Watch(SPEC)
    for line in lines:
        for alert in watch.line(line):
            assert alert.code and alert.message and alert.level in ("warning", "error") and alert.remedies
