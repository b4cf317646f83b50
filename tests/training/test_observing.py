from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from studio.training.gpu import Gpus
from studio.training.observing import Clock, Counted, Counter, Embeddings, likeness, rows_and_columns, smoothed
from studio.training.spec import LossName, LossPart, RunSpec, Shape


def unit(*angles: float) -> torch.Tensor:
    """Vectors in a plane, by their angle in degrees."""
    radians = torch.deg2rad(torch.tensor(angles))
    return torch.stack([radians.cos(), radians.sin()], 1)


def test_cosines_of_pairs_are_of_each_query_with_its_own_and_all_others() -> None:
    found = likeness([unit(0, 90), 3 * unit(0, 60)], Shape.PAIR)
    assert found.pos == pytest.approx((1 + 0.8660254) / 2)
    assert found.neg == pytest.approx((0.5 + 0) / 2, abs=1e-6)
    assert found.margin == pytest.approx((found.pos or 0) - (found.neg or 0))
    assert found.accuracy == 1.0


def test_hard_negatives_count_as_negatives() -> None:
    found = likeness([unit(0, 90), unit(0, 90), unit(0, 45)], Shape.TRIPLET)
    # The first query's hard negative is as near as its positive: it is not nearer to its positive.
    assert found.accuracy == 0.5 and found.pos == pytest.approx(1)
    assert found.neg == pytest.approx((0 + 1 + 0.7071068 + 0 + 0 + 0.7071068) / 6, abs=1e-6)


def test_a_batch_of_one_has_no_negatives() -> None:
    assert likeness([unit(0), unit(60)], Shape.PAIR) == (pytest.approx(0.5, abs=1e-6), None, None, None)


def test_scored_and_labelled_pairs_are_split_by_their_scores() -> None:
    columns = [unit(0, 0, 0), unit(0, 60, 90)]
    found = likeness(columns, Shape.SCORED, torch.tensor([1.0, 0.6, 0.1]))
    assert (found.pos, found.neg) == (pytest.approx(0.75, abs=1e-6), pytest.approx(0, abs=1e-6))
    assert likeness(columns, Shape.LABELLED, torch.tensor([1, 1, 1])).pos is None
    margin = likeness([unit(0, 0), unit(0, 90), unit(90, 0)], Shape.MARGIN, torch.tensor([0.5, 0.1]))
    assert margin.accuracy == 0.5 and margin.margin == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "part",
    [
        LossPart(),
        LossPart(name=LossName.CACHED_MNRL, mini_batch_size=2),
        LossPart(matryoshka=(128, 32)),
        LossPart(name=LossName.CACHED_MNRL, mini_batch_size=2, matryoshka=(128, 32)),
        LossPart(name=LossName.GIST),
        LossPart(name=LossName.CACHED_GIST, mini_batch_size=2),
    ],
    ids=["mnrl", "cached", "matryoshka", "cached matryoshka", "gist", "cached gist"],
)
def test_the_vectors_of_every_loss_are_those_of_its_columns(part: LossPart) -> None:
    """However a loss computes its batch, what is looked at are the vectors of its columns, in order."""
    from studio.models.load import ModelSpec, load_model
    from studio.sample import TINY_MODEL, sample_data
    from studio.training.losses import build_loss, needs_guide

    spec = ModelSpec(str(sample_data() / TINY_MODEL), 16, dtype="float32", device="cpu")
    model = load_model(spec)
    texts = [["a", "bb", "ccc", "d d"], ["e e", "f", "g g g", "h"], ["i", "j j", "k", "l"]]
    inputs: dict[str, Any] = {}
    for name, column in zip(("query", "positive", "negative"), texts, strict=True):
        inputs |= {f"{name}_{key}": value for key, value in model.preprocess(column).items()}
    assert rows_and_columns(inputs) == (4, 3)
    loss = build_loss(model, RunSpec(), part, load_model(spec) if needs_guide(part) else None)
    features = [{key.split("_", 1)[1]: value for key, value in inputs.items() if key.startswith(name)} for name in
                ("query", "positive", "negative")]  # fmt: skip
    kept = Embeddings(model)
    with kept.kept(inputs):
        value = loss(features, None)
    value.backward()
    found = kept.likeness(Shape.TRIPLET)
    model.eval()
    expected = likeness([torch.as_tensor(model.encode(column)) for column in texts], Shape.TRIPLET)
    assert found == pytest.approx(expected, abs=1e-5)
    assert kept.likeness(Shape.TRIPLET) is None  # it was taken
    assert not model._forward_hooks


def test_packed_texts_are_not_looked_at() -> None:
    assert rows_and_columns({"query_input_ids": torch.zeros(7)}) == (0, 0)
    assert rows_and_columns({}) == (0, 0)


def test_batches_are_counted_when_they_are_trained_on() -> None:
    counter = Counter()
    counter.made(Counted(4, 40, 50))
    counter.made(Counted(2, 10, 12))
    counter.trained()
    assert counter.take() == (4, 40, 50) and counter.take() == (0, 0, 0)
    counter.trained()
    counter.trained()
    assert counter.take() == (2, 10, 12)


def test_the_clock_leaves_out_pauses_and_counts_waits() -> None:
    clock = Clock()
    with clock.paused():
        time.sleep(0.05)
    with clock.waiting(torch.device("cpu")):
        time.sleep(0.02)
    seconds, waited = clock.take()
    assert 0.02 <= waited <= seconds < 0.05
    assert clock.take()[1] == 0


def test_the_average_starts_at_the_first_value() -> None:
    assert smoothed(None, 3.0) == 3.0 and smoothed(3.0, 2.0) == pytest.approx(2.9)


def test_without_a_driver_there_are_no_gpus() -> None:
    assert Gpus("").read() == [] and Gpus("").names == []
