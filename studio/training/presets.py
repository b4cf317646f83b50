"""Run specs to start from, each with the reason why it is as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.errors import UsageError
from studio.project.settings import ProjectSettings
from studio.prompts.contract import nearest
from studio.prompts.presets import get_preset
from studio.sample import TINY_MODEL
from studio.training.reasons import keys, reason
from studio.training.spec import (
    BatchPart,
    CheckpointPart,
    EvaluationPart,
    LossName,
    LossPart,
    ModelPart,
    OptimiserPart,
    PrecisionPart,
    RunSpec,
    SamplerPart,
    SchedulePart,
    changed,
)

__all__ = [
    "DEFAULT",
    "PRESETS",
    "Preset",
    "changes_from",
    "get_run_preset",
    "keys",
    "prompts_named",
    "reason",
    "starting",
]


@dataclass(frozen=True)
class Preset:
    """A run spec with a name. `unverified` says what nobody has tried, or ""."""

    name: str
    title: str
    why: str
    spec: RunSpec
    unverified: str = ""


def prompts_named(name: str) -> dict[str, str]:
    """Return the settings of the prompts that a preset of `studio.prompts.presets` names, as a spec holds them."""
    found = get_preset(name)
    return {"query": found.query, "document": found.document, "origin": f"preset:{name}"}


_FIRST = RunSpec(
    model=ModelPart(id="harrier-oss-v1-270m", max_length=512),
    loss=LossPart(name=LossName.MNRL, directions=("query_to_doc",)),
    sampler=SamplerPart(name="conflict_aware"),
    batch=BatchPart(per_device=128, accumulation=1, evaluation=128),
    optimiser=OptimiserPart(lr=5e-6),
    schedule=SchedulePart(epochs=1, kind="cosine", warmup=0.1),
    precision=PrecisionPart(mode="bf16"),
    evaluation=EvaluationPart(times=10),
    checkpoints=CheckpointPart(every=1, keep=2, load_best=True),
)
_CACHED = {"loss.name": "cached_mnrl", "batch.per_device": 512}
_ADAPTERS = {
    "lora": {"r": 64, "alpha": 128, "dropout": 0.1},
    "loss.name": "cached_mnrl",
    "optimiser.lr": 1e-4,
}
_QUANTISED = _ADAPTERS | {
    "model.id": "harrier-oss-v1-27b",
    "lora": {"r": 16, "alpha": 32, "dropout": 0.05, "quantise": "nf4", "merge": False},
    "loss.mini_batch_size": 4,
    "optimiser.lr": 5e-5,
    "precision.activation_checkpointing": True,
    "evaluation.times": 4,
    "evaluation.queries": 300,
    "evaluation.corpus": 5_000,
    "batch.evaluation": 8,
}
_TINY = {
    "model.id": "harrier-tiny",
    "model.max_length": 160,
    "batch.per_device": 32,
    "batch.evaluation": 64,
    "optimiser.lr": 1e-3,
    "schedule.epochs": 4,
    "precision.mode": "fp32",
    "devices.use": "cpu",
}


def _preset(name: str, title: str, why: str, changes: Mapping[str, Any], unverified: str = "") -> Preset:
    spec = changed(_FIRST, {**changes, "preset": name}, f"the preset {name}")
    return Preset(name, title, why, spec, unverified)


_PRESETS = (
    _preset(
        "first_try",
        "First try",
        "Harrier 270m, all weights, pairs alone: the run that every other one is compared with. 128 rows in one batch "
        "give each query 127 negatives; accumulation would give fewer. The conflict-aware sampler keeps the "
        "no-duplicates guarantee, and answer groups and undecided pairs apart besides. Ten evaluations, because "
        "published fine-tunes were often best before the middle.",
        {},
    ),
    _preset(
        "zero_shot",
        "Zero-shot (B)",
        "No training: what the model finds as it is, with the contract's prompts. No gain means anything without it.",
        {"schedule.max_steps": 0},
    ),
    _preset(
        "no_prompt",
        "No prompt (D)",
        "The first try with no prompt, in training as in evaluation: what the instruction is worth.",
        {"prompts": prompts_named("none")},
    ),
    _preset(
        "portuguese_instruction",
        "Portuguese instruction (E)",
        "The first try with an instruction that names the language and the task: whether it pays to word one.",
        {"prompts": prompts_named("portuguese_qa")},
    ),
    _preset(
        "cached",
        "Large batch (F)",
        "CachedMNRL with 512 rows a batch on the memory of 32: more negatives a query, 2 to 2.4 times slower. This, "
        "and not accumulation, is how to have more negatives than fit.",
        _CACHED,
    ),
    _preset(
        "hard_negatives",
        "Hard negatives (G)",
        "The first try on what `mine` wrote: each query also meets passages that look right and are not. Look "
        "through the mined rows first: a false negative among them is taught as wrong.",
        {"data": [{"name": "mined", "kind": "mined", "path": "mined/dense-triplet", "negatives": 1}]},
    ),
    _preset(
        "long_passages",
        "Long passages (H)",
        "The first try at 2,048 tokens, with activation checkpointing and mini-batches: for passages that 512 cuts.",
        {
            "model.max_length": 2048,
            "loss.name": "cached_mnrl",
            "loss.mini_batch_size": 8,
            "precision.activation_checkpointing": True,
        },
    ),
    _preset(
        "lora_0_6b",
        "0.6b with LoRA",
        "The next model up with adapters only: about 10 GB where all weights take 24. Few weights "
        "need a learning rate some twenty times higher; CachedMNRL keeps the batch at 128.",
        {**_ADAPTERS, "model.id": "harrier-oss-v1-0.6b"},
    ),
    _preset(
        "qlora_27b",
        "27b with QLoRA",
        "The largest model with its base in 4 bits (about 15.5 GB), adapters, mini-batches of 4 and activation "
        "checkpointing.",
        _QUANTISED,
        "Nobody is known to have trained this; it is reported that 27b does not load with sentence-transformers 5 "
        "and later. Run the smoke test before anything else, and expect to change it.",
    ),
    _preset(
        "tiny",
        "Tiny, on a CPU",
        "The embedded model in float32: minutes on a laptop, to see the whole path work. It is small and barely "
        "trained, so it learns at a rate that would ruin Harrier; its scores say nothing about Harrier's.",
        _TINY,
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}
"""Every preset by name. They are starting points: the matrix (`studio.training.matrix`) tells which way is better."""

DEFAULT = "first_try"
"""The preset of a run that names none."""


def starting(project: ProjectSettings) -> tuple[str, RunSpec]:
    """The preset that suits a project's model, and its spec with that model and its length."""
    model = project.model
    if model.id == TINY_MODEL:
        return "tiny", PRESETS["tiny"].spec
    base = PRESETS[DEFAULT].spec
    return DEFAULT, changed(base, {"model.id": model.id, "model.max_length": model.max_length}, "studio.toml")


def get_run_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name not in PRESETS:
        raise UsageError(f"There is no preset `{name}`.", remedy=nearest(name, list(PRESETS)))
    return PRESETS[name]


def changes_from(spec: RunSpec, base: RunSpec) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which a run differs from another: dotted key → (base's value, the run's).

    Where it came from (`preset`, `why`) is no difference; the datasets are compared as a whole.
    """
    one, other = _flat(base), _flat(spec)
    differing = {key: (one.get(key), other.get(key)) for key in [*one, *(key for key in other if key not in one)]}
    return {key: pair for key, pair in differing.items() if pair[0] != pair[1] and key not in ("preset", "why")}


def _flat(spec: RunSpec) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        if isinstance(value, dict) and name != "prompts":
            flat.update({f"{name}.{inner}": held for inner, held in value.items()})
        else:
            flat[name] = value
    return flat
