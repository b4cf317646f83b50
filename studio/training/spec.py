"""The run spec: all that a training run depends on, in one readable file. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.errors import ConfigError
from studio.project.refusing import as_list, is_list
from studio.project.settings import PromptSettings, read_settings, validated


class Shape(StrEnum):
    """What the columns of training data are, in their order: a loss takes them by position."""

    PAIR = "pair"
    """query, positive"""
    TRIPLET = "triplet"
    """query, positive, negative"""
    NTUPLE = "ntuple"
    """query, positive, negative_1 … negative_n"""
    SCORED = "scored"
    """query, passage, score (0 to 1, or any order of likeness)"""
    LABELLED = "labelled"
    """query, passage, label (0 or 1)"""
    MARGIN = "margin"
    """query, positive, negative, score: the teacher's score of the positive less that of the negative"""


class LossName(StrEnum):
    """The losses, by the name the spec has for them."""

    MNRL = "mnrl"
    CACHED_MNRL = "cached_mnrl"
    GIST = "gist"
    CACHED_GIST = "cached_gist"
    TRIPLET = "triplet"
    COSENT = "cosent"
    ANGLE = "angle"
    COSINE = "cosine"
    CONTRASTIVE = "contrastive"
    ONLINE_CONTRASTIVE = "online_contrastive"
    MARGIN_MSE = "margin_mse"


Direction = Literal["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Strict):
    """What is trained."""

    id: str = "harrier-tiny"
    """A folder, a hub id, a short name such as `harrier-oss-v1-270m`, or `harrier-tiny`."""
    revision: str | None = None
    max_length: int = Field(default=512, ge=8)
    """Tokens a text is cut at, prompt and special tokens included."""
    trust_remote_code: bool = False


class LoraPart(_Strict):
    """Train low-rank adapters (peft) instead of all weights."""

    r: int = Field(default=64, ge=1)
    alpha: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    target_modules: tuple[str, ...] = ()
    """Names of linear layers; empty: peft's choice for the architecture, or all linear layers."""
    quantise: Literal["none", "nf4"] = "none"
    """`nf4` loads the base in 4 bits (QLoRA; needs bitsandbytes and a CUDA device)."""
    merge: bool = True
    """Whether the final model has the adapters merged into its weights."""


class LossPart(_Strict):
    """The loss and its parameters; those that it does not know must be left alone."""

    name: LossName = LossName.MNRL
    scale: float = Field(default=20.0, gt=0)
    """Of (Cached)MNRL, CoSENT and AnglE: 1/temperature."""
    directions: tuple[Direction, ...] = ("query_to_doc",)
    partition_mode: Literal["joint", "per_direction"] = "joint"
    hardness_mode: Literal["none", "in_batch_negatives", "hard_negatives", "all_negatives"] = "none"
    hardness_strength: float = Field(default=0.0, ge=0)
    gather: bool = False
    """Whether devices share their passages as negatives."""
    mini_batch_size: int = Field(default=32, ge=1)
    """Of the cached losses: what is in memory at once."""
    guide: str = ""
    """Of (Cached)GIST: the model that tells false negatives; empty: the model as it is before training."""
    temperature: float = Field(default=0.01, gt=0)
    """Of (Cached)GIST."""
    margin_strategy: Literal["absolute", "relative"] = "absolute"
    margin: float | None = None
    """Of (Cached)GIST (default 0), Triplet (default 5, euclidean) and (Online)Contrastive (default .5)."""
    matryoshka: tuple[int, ...] = ()
    """Dimensions that must work when vectors are cut to them, largest first; empty: only the whole vector."""
    matryoshka_weights: tuple[float, ...] = ()


class DataPart(_Strict):
    """One dataset of a run."""

    name: str = Field(default="project", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")
    kind: Literal["project", "mined", "file"] = "project"
    """The project's curated rows; a folder that `mine` wrote; or a file of pairs, triplets, scored pairs."""
    path: str = ""
    """Of `mined` and `file`, relative to the project."""
    view: Literal["curated", "imported"] = "curated"
    """Of `project`: as decided, or as imported (to see what curation is worth)."""
    negatives: int = Field(default=0, ge=0)
    """How many hard negatives of a row are used as columns; rows with fewer are left out, and counted."""
    loss: LossPart | None = None
    """Another loss than the run's for this dataset."""


class SamplerPart(_Strict):
    """Who meets whom in a batch."""

    name: Literal["conflict_aware", "no_duplicates", "no_duplicates_hashed", "random", "group_by_label"] = (
        "conflict_aware"
    )
    undecided: bool = True
    """Of `conflict_aware`: whether candidates that nobody judged are kept apart too."""
    several: Literal["proportional", "round_robin"] = "proportional"
    """How several datasets take turns."""


class BatchPart(_Strict):
    """How much at once."""

    per_device: int = Field(default=64, ge=1)
    accumulation: int = Field(default=1, ge=1)
    """Batches a step. It adds no in-batch negatives: each batch has its own."""
    evaluation: int = Field(default=64, ge=1)


class OptimiserPart(_Strict):
    """How weights move."""

    name: str = "adamw_torch_fused"
    """A name of transformers' `optim`."""
    lr: float = Field(default=5e-6, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class SchedulePart(_Strict):
    """How long, and how the learning rate goes."""

    epochs: float = Field(default=1.0, gt=0)
    max_steps: int = Field(default=-1, ge=-1)
    """Steps instead of epochs; -1: epochs count; 0: only the baseline (zero-shot)."""
    kind: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps in which the learning rate rises."""


class PrecisionPart(_Strict):
    """Numbers and memory."""

    mode: Literal["auto", "bf16", "fp32", "fp16"] = "auto"
    """Weights are float32 and autocast computes in this; auto: bf16 on a CUDA device that has it, else fp32."""
    tf32: bool = True
    activation_checkpointing: bool = False
    """Compute activations twice: about 40 % less memory, 30 % more time."""


class EvaluationPart(_Strict):
    """What is measured before, while and after training: retrieval of held-out queries' passages."""

    splits: tuple[str, ...] = ("validation", "valid", "dev", "test", "eval", "evaluation")
    """The first of these that has rows is evaluated."""
    times: int = Field(default=10, ge=0)
    """Evaluations while training, evenly spread; the one after the last step is among them."""
    metric: str = "ndcg@10"
    """Which decides what is best, and the verdict."""
    queries: int = Field(default=1000, ge=0)
    """At most that many queries, drawn by seed; 0: all."""
    corpus: int = Field(default=20_000, ge=0)
    """At most that many passages: all that answer, filled up from the project's others, drawn by seed; 0: all."""
    patience: int = Field(default=0, ge=0)
    """Stop after that many evaluations without a better one; 0: never."""


class CheckpointPart(_Strict):
    """What is kept."""

    every: int = Field(default=1, ge=1)
    """Save at every n-th evaluation."""
    keep: int = Field(default=2, ge=1)
    load_best: bool = True
    """End with the best checkpoint instead of the last."""


class DevicesPart(_Strict):
    """Where it runs."""

    use: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    ids: tuple[int, ...] = ()
    """CUDA devices; empty: `count` that are free."""
    count: int = Field(default=1, ge=1)
    """Processes. More than one start under torchrun: one a device (gloo on CPU)."""


class ReportingPart(_Strict):
    """Who else hears of it. Nothing leaves the machine unless it is asked for."""

    to: tuple[Literal["trackio", "tensorboard", "wandb"], ...] = ()
    logs: int = Field(default=100, ge=1)
    """Log lines a run, evenly spread."""
    hub_id: str = ""
    """Push the final model to this hub repository; a failure never loses the run."""
    hub_private: bool = True


class RunSpec(_Strict):
    """One run, whole. `preset` and `why` say where it comes from and what it is to show."""

    format: Literal[1] = 1
    preset: str = ""
    why: str = ""
    seed: int = 12
    model: ModelPart = ModelPart()
    prompts: PromptSettings | None = None
    """None: the project's contract, which is frozen here when the run is made."""
    data: tuple[DataPart, ...] = (DataPart(),)
    rows: int = Field(default=0, ge=0)
    """At most that many training rows a dataset, the first ones; 0: all."""
    loss: LossPart = LossPart()
    lora: LoraPart | None = None
    sampler: SamplerPart = SamplerPart()
    batch: BatchPart = BatchPart()
    optimiser: OptimiserPart = OptimiserPart()
    schedule: SchedulePart = SchedulePart()
    precision: PrecisionPart = PrecisionPart()
    evaluation: EvaluationPart = EvaluationPart()
    checkpoints: CheckpointPart = CheckpointPart()
    devices: DevicesPart = DevicesPart()
    reporting: ReportingPart = ReportingPart()

    @model_validator(mode="after")
    def _names_differ(self) -> RunSpec:
        names = [part.name for part in self.data]
        if not names or len(set(names)) != len(names):
            raise ValueError("each dataset needs a name of its own, and there must be one")
        return self

    @property
    def negatives(self) -> int:
        """In-batch and hard negatives that a query meets at once: batch × devices (if gathered) × (1 + hard) - 1.

        Accumulation is not in it: each batch has its own.
        """
        across = self.devices.count if self.loss.gather else 1
        return self.batch.per_device * across * (1 + max(part.negatives for part in self.data)) - 1

    @property
    def effective_batch(self) -> int:
        """Rows a step of the optimiser."""
        return self.batch.per_device * self.batch.accumulation * self.devices.count


def changed(spec: RunSpec, changes: Mapping[str, Any], where: str = "the run spec") -> RunSpec:
    """The spec with some keys changed: `{"optimiser.lr": 1e-5, "seed": 13}`; `data.0.negatives` reaches into a list.

    A part that is not there yet, such as `lora`, begins with its defaults; `lora = None` takes it away. A single value
    for a list, such as `{"reporting.to": "wandb"}`, is a list of one; text with commas is several.

    Args:
        spec: what to start from.
        changes: dotted key → value.
        where: what errors call the place of the changes.

    Raises:
        ConfigError: there is no such key (the nearest is named), or a value cannot be used.
    """
    data = spec.model_dump(mode="json")
    for key, value in changes.items():
        *parents, last = key.split(".")
        if isinstance(value, str | int | float) and is_list(RunSpec, key):
            value = as_list(value)
        inner: Any = data
        for parent in parents:
            inner = _entered(inner, parent, key, where)
        if isinstance(inner, list):
            inner[_place(inner, last, key, where)] = value
        else:
            inner[last] = value
    return validated(data, RunSpec, where)


def read_spec(path: Path) -> RunSpec:
    """Read `run.toml`, or a spec that a person wrote.

    Raises:
        ConfigError: it is missing, no TOML, has an unknown key or a value that cannot be used.
    """
    return read_settings(path, RunSpec)


def _entered(inner: Any, part: str, key: str, where: str) -> Any:
    if isinstance(inner, list):
        return inner[_place(inner, part, key, where)]
    if inner.get(part) is None:
        inner[part] = {}
    if not isinstance(inner[part], dict | list):
        why, remedy = f"`{part}` is one value, without parts", f"set `{part}` itself"
        raise ConfigError(f"The setting `{key}` cannot be used.", where=where, why=why, remedy=remedy)
    return inner[part]


def _place(inner: list[Any], part: str, key: str, where: str) -> int:
    if not part.isdigit() or int(part) >= len(inner):
        raise ConfigError(
            f"The setting `{key}` cannot be used.",
            where=where,
            why=f"a number from 0 to {len(inner) - 1} belongs there",
        )
    return int(part)
