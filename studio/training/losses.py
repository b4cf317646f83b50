"""Which loss fits which columns, what its parameters are, and making it. Torch is imported only to make one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.errors import ConfigError
from studio.training.spec import LossName, LossPart, RunSpec, Shape

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

_RANKING = (Shape.PAIR, Shape.TRIPLET, Shape.NTUPLE)
_SCORED = (Shape.SCORED, Shape.LABELLED)
_MNRL = ("scale", "directions", "partition_mode", "hardness_mode", "hardness_strength", "gather")
_GIST = ("guide", "temperature", "margin_strategy", "margin", "gather")
_WRAPPER = ("matryoshka", "matryoshka_weights")


@dataclass(frozen=True, slots=True)
class LossAbout:
    """A loss as a person chooses it.

    Attributes:
        title: its class in sentence-transformers.
        shapes: the data it takes.
        why: when to take it, in one sentence.
        parameters: the fields of `LossPart` it knows, besides those of the Matryoshka wrapper, which all know.
        in_batch: whether the other rows of a batch are negatives, so that batch size and sampler matter.
        cached: whether gradients are cached, so that memory follows `mini_batch_size` and not the batch.
    """

    title: str
    shapes: tuple[Shape, ...]
    why: str
    parameters: tuple[str, ...] = ()
    in_batch: bool = False
    cached: bool = False


LOSSES: dict[LossName, LossAbout] = {
    LossName.MNRL: LossAbout(
        "MultipleNegativesRankingLoss",
        _RANKING,
        "Every other passage of the batch is a negative: the first choice for retrieval.",
        _MNRL,
        in_batch=True,
    ),
    LossName.CACHED_MNRL: LossAbout(
        "CachedMultipleNegativesRankingLoss",
        _RANKING,
        "The same loss in mini-batches: large batches on little memory, 2 to 2.4 times slower.",
        (*_MNRL, "mini_batch_size"),
        in_batch=True,
        cached=True,
    ),
    LossName.GIST: LossAbout(
        "GISTEmbedLoss",
        (Shape.PAIR, Shape.TRIPLET),
        "MNRL where a guide model drops in-batch negatives that look like answers: for data nobody has judged.",
        _GIST,
        in_batch=True,
    ),
    LossName.CACHED_GIST: LossAbout(
        "CachedGISTEmbedLoss",
        _RANKING,
        "The same with a guide in mini-batches: large batches on little memory.",
        (*_GIST, "mini_batch_size"),
        in_batch=True,
        cached=True,
    ),
    LossName.TRIPLET: LossAbout(
        "TripletLoss",
        (Shape.TRIPLET,),
        "Only the row's own negative counts, by euclidean distance: for curated triplets and small batches.",
        ("margin",),
    ),
    LossName.COSENT: LossAbout(
        "CoSENTLoss",
        _SCORED,
        "Keeps the order of the scores: the first choice for graded pairs.",
        ("scale",),
    ),
    LossName.ANGLE: LossAbout(
        "AnglELoss",
        _SCORED,
        "CoSENT on angles instead of cosines, which flatten near 1 and -1.",
        ("scale",),
    ),
    LossName.COSINE: LossAbout(
        "CosineSimilarityLoss",
        _SCORED,
        "Brings the cosine to the score itself: for scores that are cosines of a better model.",
    ),
    LossName.CONTRASTIVE: LossAbout(
        "ContrastiveLoss",
        (Shape.LABELLED,),
        "Pulls pairs labelled 1 together and pushes pairs labelled 0 apart, up to a margin.",
        ("margin",),
    ),
    LossName.ONLINE_CONTRASTIVE: LossAbout(
        "OnlineContrastiveLoss",
        (Shape.LABELLED,),
        "The same on the hard pairs of a batch only; usually better than ContrastiveLoss.",
        ("margin",),
    ),
    LossName.MARGIN_MSE: LossAbout(
        "MarginMSELoss",
        (Shape.MARGIN,),
        "Learns by how much a teacher prefers the positive to the negative: distillation of a cross-encoder.",
    ),
}
"""Every loss that a run can have. Shapes as in sentence-transformers' loss overview."""

CACHED = {LossName.MNRL: LossName.CACHED_MNRL, LossName.GIST: LossName.CACHED_GIST}
"""A loss → the one that computes the same in mini-batches."""


def losses_for(shape: Shape) -> list[LossName]:
    """Return the losses that take data of a shape, the usual choice first."""
    return [name for name, about in LOSSES.items() if shape in about.shapes]


def check_loss(part: LossPart, shape: Shape, columns: Sequence[str] = ()) -> None:
    """Check that a loss takes data of a shape and that every parameter that was set is one it knows.

    Args:
        part: the loss and its parameters.
        shape: what the columns of the data are.
        columns: their names in order, for the error.

    Raises:
        ConfigError: it does not take the shape (those that do are named), a parameter is not its own, or its
            parameters contradict each other.
    """
    about = LOSSES[part.name]
    if shape not in about.shapes:
        found = f"{shape} data" + (f" ({', '.join(columns)})" if columns else "")
        raise ConfigError(
            f"{about.title} cannot be trained on {found}.",
            where="loss.name",
            why=f"it takes {_listed(about.shapes)} data, its columns by position",
            remedy=f"use {_listed(losses_for(shape), 'or')}, or other data",
        )
    if foreign := next(iter(sorted(_set_by_hand(part) - {*about.parameters, *_WRAPPER})), None):
        known = [*about.parameters, *_WRAPPER]
        near = difflib.get_close_matches(foreign, known, n=1)
        raise ConfigError(
            f"{about.title} has no parameter `{foreign}`.",
            where=f"loss.{foreign}",
            why="a value that is never used would look as if it mattered",
            remedy=f"leave it at its default; did you mean `{near[0]}`?" if near else "leave it at its default",
        )
    _check_values(part, shape)


def check_losses(spec: RunSpec, shapes: Sequence[tuple[str, Shape, Sequence[str]]]) -> None:
    """Check the loss of each dataset of a run.

    Args:
        spec: the run.
        shapes: name, shape and columns of each dataset.

    Raises:
        ConfigError: as `check_loss`; `where` then names the dataset.
    """
    own = {part.name: part.loss for part in spec.data}
    for name, shape, columns in shapes:
        try:
            check_loss(own.get(name) or spec.loss, shape, columns)
        except ConfigError as error:
            where = f"{error.where}, dataset `{name}`"
            raise ConfigError(error.what, where=where, why=error.why, remedy=error.remedy) from error


def loss_arguments(part: LossPart) -> dict[str, Any]:
    """Return the keyword arguments that a loss is made with, model and guide left out; plain values."""
    match part.name:
        case LossName.MNRL | LossName.CACHED_MNRL:
            arguments: dict[str, Any] = {
                "scale": part.scale,
                "gather_across_devices": part.gather,
                "directions": tuple(part.directions),
                "partition_mode": part.partition_mode,
                "hardness_mode": None if part.hardness_mode == "none" else part.hardness_mode,
                "hardness_strength": part.hardness_strength,
            }
        case LossName.GIST | LossName.CACHED_GIST:
            arguments = {
                "temperature": part.temperature,
                "margin_strategy": part.margin_strategy,
                "margin": 0.0 if part.margin is None else part.margin,
                "gather_across_devices": part.gather,
            }
        case LossName.TRIPLET:
            arguments = {} if part.margin is None else {"triplet_margin": part.margin}
        case LossName.CONTRASTIVE | LossName.ONLINE_CONTRASTIVE:
            arguments = {} if part.margin is None else {"margin": part.margin}
        case LossName.COSENT | LossName.ANGLE:
            arguments = {"scale": part.scale}
        case _:
            arguments = {}
    if LOSSES[part.name].cached:
        arguments["mini_batch_size"] = part.mini_batch_size
    return arguments


def needs_guide(part: LossPart) -> bool:
    """Tell whether a loss needs a second model."""
    return "guide" in LOSSES[part.name].parameters


def build_loss(
    model: SentenceTransformer, spec: RunSpec, part: LossPart, guide: SentenceTransformer | None = None
) -> nn.Module:
    """Make a loss for a model.

    Args:
        model: what is trained.
        spec: the run; with one process nothing is gathered, whatever the loss says.
        part: the loss of one dataset of it.
        guide: of (Cached)GIST: the model that tells false negatives.

    Raises:
        ConfigError: a guide is missing, or a dimension of the Matryoshka wrapper is larger than the model's.
    """
    from sentence_transformers.sentence_transformer import losses

    about = LOSSES[part.name]
    arguments = loss_arguments(part)
    if "gather_across_devices" in arguments:
        arguments["gather_across_devices"] = part.gather and spec.devices.count > 1
    if needs_guide(part):
        if guide is None:
            raise ConfigError(
                f"{about.title} needs a guide model.", where="loss.guide", remedy="name one, or leave it empty"
            )
        arguments["guide"] = guide
    loss: nn.Module = getattr(losses, about.title)(model, **arguments)
    if not part.matryoshka:
        return loss
    size = model.get_embedding_dimension()
    if size is not None and max(part.matryoshka) > size:
        raise ConfigError(
            f"The model's vectors cannot be cut to {max(part.matryoshka)} dimensions.",
            where="loss.matryoshka",
            why=f"they have {size}",
            remedy=f"begin with {size}",
        )
    wrapped: nn.Module = losses.MatryoshkaLoss(
        model, loss, list(part.matryoshka), list(part.matryoshka_weights) or None
    )
    return wrapped


def _set_by_hand(part: LossPart) -> set[str]:
    """Fields that differ from their default: a frozen spec names all of them, so that naming tells nothing."""
    plain = LossPart()
    return {name for name in LossPart.model_fields if name != "name" and getattr(part, name) != getattr(plain, name)}


def _check_values(part: LossPart, shape: Shape) -> None:
    where = why = remedy = ""
    alike = {"query_to_query", "doc_to_doc"}.intersection(part.directions)
    if "query_to_doc" not in part.directions:
        where, why = "loss.directions", "`query_to_doc` holds the positive pair and must be among them"
        remedy = "add query_to_doc"
    elif len(set(part.directions)) < len(part.directions):
        where, why, remedy = "loss.directions", "one is named twice", "name each once"
    elif part.partition_mode == "per_direction" and alike:
        where, why = "loss.partition_mode", f"{min(alike)} holds no positive, so a softmax of its own has no meaning"
        remedy = "use joint"
    elif (part.hardness_mode == "none") != (part.hardness_strength == 0):
        where, why = "loss.hardness_strength", "mode and strength work only together"
        remedy = "set both (papers use 9 for in_batch_negatives, 5 for hard_negatives), or neither"
    elif part.hardness_mode == "hard_negatives" and shape is Shape.PAIR:
        where, why = "loss.hardness_mode", "pairs have no hard negatives to weigh"
        remedy = "use in_batch_negatives, or data with negatives"
    elif part.matryoshka_weights and len(part.matryoshka_weights) != len(part.matryoshka):
        where, why, remedy = "loss.matryoshka_weights", "each dimension needs one weight", "give as many, or none"
    elif list(part.matryoshka) != sorted(set(part.matryoshka), reverse=True) or min(part.matryoshka, default=1) < 1:
        where, why = "loss.matryoshka", "dimensions go from the largest to the smallest, each once"
        remedy = f"for example {sorted({size for size in part.matryoshka if size > 0}, reverse=True)}"
    if where:
        raise ConfigError("The loss cannot be made with these parameters.", where=where, why=why, remedy=remedy)


def _listed(names: Sequence[str], joint: str = "and") -> str:
    *some, last = [str(name) for name in names]
    return f"{', '.join(some)} {joint} {last}" if some else last
