"""Each loss against each shape: what is refused before anything loads, and a real step where it is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from studio.errors import ConfigError
from studio.models.load import ModelSpec, load_model
from studio.sample import TINY_MODEL, model_location
from studio.training.losses import CACHED, LOSSES, build_loss, check_loss, check_losses, losses_for, needs_guide
from studio.training.spec import DataPart, LossName, LossPart, RunSpec, Shape, changed

QUERIES = ["Como pedir a segunda via?", "Onde renovar o passaporte?", "Qual o prazo do recurso?", "Posso trocar?"]
PASSAGES = ["A segunda via sai no portal.", "Na Polícia Federal.", "Dez dias úteis.", "Em até sete dias."]
OTHERS = ["O boleto vence dia dez.", "O visto é outro.", "O prazo da defesa é outro.", "A loja fica no centro."]
COLUMNS = {
    Shape.PAIR: [QUERIES, PASSAGES],
    Shape.TRIPLET: [QUERIES, PASSAGES, OTHERS],
    Shape.NTUPLE: [QUERIES, PASSAGES, OTHERS, OTHERS[::-1]],
    Shape.SCORED: [QUERIES, PASSAGES],
    Shape.LABELLED: [QUERIES, PASSAGES],
    Shape.MARGIN: [QUERIES, PASSAGES, OTHERS],
}
LABELS = {
    Shape.SCORED: torch.tensor([0.9, 0.1, 0.5, 0.3]),
    Shape.LABELLED: torch.tensor([1, 0, 1, 0]),
    Shape.MARGIN: torch.tensor([0.3, 0.5, 0.1, 0.2]),
}
FITTING = [(name, shape) for name, about in LOSSES.items() for shape in about.shapes]


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(ModelSpec(model_location(TINY_MODEL), 32, dtype="float32", device="cpu"))


def step(model: Any, part: LossPart, shape: Shape) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and the gradients of one batch."""
    model.train()
    model.zero_grad()
    guide = load_model(ModelSpec(model_location(TINY_MODEL), 32, dtype="float32", device="cpu"))
    loss = build_loss(model, RunSpec(loss=part), part, guide if needs_guide(part) else None)
    value = loss([model.preprocess(texts) for texts in COLUMNS[shape]], LABELS.get(shape))
    value.backward()
    named = model.named_parameters()
    return float(value), {name: weight.grad.clone() for name, weight in named if weight.grad is not None}


@pytest.mark.parametrize(("name", "shape"), FITTING)
def test_a_loss_trains_on_every_shape_it_names(model: Any, name: LossName, shape: Shape) -> None:
    part = LossPart(name=name, mini_batch_size=2) if LOSSES[name].cached else LossPart(name=name)
    check_loss(part, shape)
    value, gradients = step(model, part, shape)
    assert value > 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert sum(float(gradient.abs().sum()) for gradient in gradients.values()) > 0
    wrapped, _ = step(model, part.model_copy(update={"matryoshka": (128, 32)}), shape)
    assert wrapped > 0 and wrapped != pytest.approx(value)


@pytest.mark.parametrize(("plain", "cached"), list(CACHED.items()))
def test_a_cached_loss_computes_what_the_plain_one_does(model: Any, plain: LossName, cached: LossName) -> None:
    value, gradients = step(model, LossPart(name=plain), Shape.TRIPLET)
    other, others = step(model, LossPart(name=cached, mini_batch_size=2), Shape.TRIPLET)
    assert other == pytest.approx(value, rel=1e-4)
    assert gradients.keys() == others.keys()
    assert all(torch.allclose(gradients[name], others[name], atol=1e-4) for name in gradients)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"scale": 50.0}, Shape.PAIR),
        ({"directions": ["query_to_doc", "doc_to_query"]}, Shape.PAIR),
        ({"directions": ["query_to_doc", "doc_to_query"], "partition_mode": "per_direction"}, Shape.PAIR),
        ({"hardness_mode": "hard_negatives", "hardness_strength": 5.0}, Shape.TRIPLET),
        ({"name": "triplet", "margin": 0.5}, Shape.TRIPLET),
        ({"name": "contrastive", "margin": 0.2}, Shape.LABELLED),
        ({"name": "gist", "temperature": 0.1, "margin": 0.1}, Shape.PAIR),
        ({"name": "cosent", "scale": 5.0}, Shape.SCORED),
    ],
)
def test_parameters_reach_the_loss(model: Any, changes: dict[str, Any], shape: Shape) -> None:
    part = changed(RunSpec(), {f"loss.{key}": value for key, value in changes.items()}).loss
    check_loss(part, shape)
    assert step(model, part, shape)[0] != pytest.approx(step(model, LossPart(name=part.name), shape)[0], rel=1e-6)


@pytest.mark.parametrize("shape", list(Shape))
def test_the_wrong_shape_is_refused_and_losses_that_fit_are_named(shape: Shape) -> None:
    for name in LossName:
        if shape in LOSSES[name].shapes:
            continue
        with pytest.raises(ConfigError) as error:
            check_loss(LossPart(name=name), shape, ["query", "passage"])
        assert str(losses_for(shape)[0]) in str(error.value.remedy)
        assert "query, passage" in error.value.what
    assert losses_for(shape)


@pytest.mark.parametrize(
    ("changes", "shape", "said"),
    [
        ({"margin": 0.3}, Shape.PAIR, "no parameter `margin`"),
        ({"name": "triplet", "scale": 10.0}, Shape.TRIPLET, "no parameter `scale`"),
        ({"mini_batch_size": 8}, Shape.PAIR, "no parameter `mini_batch_size`"),
        ({"directions": ["doc_to_query"]}, Shape.PAIR, "query_to_doc"),
        ({"directions": ["query_to_doc", "query_to_doc"]}, Shape.PAIR, "twice"),
        ({"directions": ["query_to_doc", "doc_to_doc"], "partition_mode": "per_direction"}, Shape.PAIR, "joint"),
        ({"hardness_mode": "all_negatives"}, Shape.PAIR, "only together"),
        ({"hardness_strength": 9.0}, Shape.PAIR, "only together"),
        ({"hardness_mode": "hard_negatives", "hardness_strength": 5.0}, Shape.PAIR, "no hard negatives"),
        ({"matryoshka": [64, 128]}, Shape.PAIR, "[128, 64]"),
        ({"matryoshka": [128, 64], "matryoshka_weights": [1.0]}, Shape.PAIR, "one weight"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any], shape: Shape, said: str) -> None:
    part = changed(RunSpec(), {f"loss.{key}": value for key, value in changes.items()}).loss
    with pytest.raises(ConfigError, match=r"(?s).") as error:
        check_loss(part, shape)
    assert said in str(error.value)


def test_each_dataset_is_checked_against_its_own_loss() -> None:
    scored = DataPart(name="scores", kind="file", path="x.csv", loss=LossPart(name=LossName.COSENT))
    spec = RunSpec(data=(DataPart(), scored))
    pairs, scores = ("project", Shape.PAIR, ("query", "positive")), ("scores", Shape.SCORED, ("query", "passage"))
    check_losses(spec, [pairs, scores])
    with pytest.raises(ConfigError) as error:
        check_losses(spec, [("project", Shape.SCORED, ("query", "passage")), scores])
    assert "dataset `project`" in str(error.value.where)


def test_a_dimension_that_the_model_does_not_have_is_refused(model: Any) -> None:
    part = LossPart(matryoshka=(256, 64))
    with pytest.raises(ConfigError, match="256 dimensions"):
        build_loss(model, RunSpec(loss=part), part)
    with pytest.raises(ConfigError, match="guide"):
        build_loss(model, RunSpec(), LossPart(name=LossName.GIST))
