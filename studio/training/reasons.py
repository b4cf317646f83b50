"""Why each setting of a run has the default it has: what the form and the documentation show beside it."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from studio.errors import UsageError
from studio.prompts.contract import nearest
from studio.training.spec import RunSpec

_REASONS = {
    "format": "The version of this file's format.",
    "preset": "The preset the run was made from; nothing is read from it again.",
    "why": "What the run is to show, in your words; the experiments log repeats it.",
    "seed": "12 by convention. Two runs that differ in the seed alone show how much of a gain is chance.",
    "model.id": "The project's model. Start small: what does not help 270m seldom helps 0.6b.",
    "model.revision": "A published Harrier is pinned to its commit, so that the same spec is the same model next year.",
    "model.max_length": "Harrier's own default is 32,768 tokens. 512 holds most passages, and memory follows length; "
    "preflight counts what it cuts.",
    "model.trust_remote_code": "Off: code that comes with a model runs with your rights.",
    "prompts": "The project's contract, frozen when the run is made. Mining, baseline, training, evaluation and the "
    "saved model all use these strings.",
    "data.name": "Events, losses and files call the dataset so.",
    "data.kind": "The curated project. Mined negatives and files of your own can be added.",
    "data.path": "Needed for mined negatives and files only.",
    "data.view": "As decided. `imported` trains on the rows as they came, which shows what curation is worth.",
    "data.negatives": "0: in-batch negatives only. Begin without hard negatives; wrong ones do more harm than none.",
    "data.loss": "The run's loss, unless this data has other columns.",
    "rows": "0: all rows. A small number is for trying out.",
    "loss.name": "MNRL takes every other passage of the batch for a negative: the first choice for query and passage "
    "pairs.",
    "loss.scale": "20 (temperature 0.05), sentence-transformers' default. A higher one sharpens the softmax; Harrier's "
    "own is not published.",
    "loss.directions": "query_to_doc is what retrieval does. doc_to_query makes it symmetric; the others add "
    "negatives of the same kind.",
    "loss.partition_mode": "One softmax over all directions. per_direction averages one a direction (InfoNCE both "
    "ways).",
    "loss.hardness_mode": "Off. It weighs negatives by how near they are, which also weighs false negatives.",
    "loss.hardness_strength": "0: off. Papers use 9 for in_batch_negatives (arXiv 2503.04812) and 5 for hard_negatives "
    "(arXiv 2509.20354).",
    "loss.gather": "Off on one device. On several it makes their passages negatives for each other, as a larger batch "
    "would.",
    "loss.mini_batch_size": "32: what a small GPU holds. It changes memory and speed, never the result.",
    "loss.guide": "Empty: the model as it is before training judges what is a false negative.",
    "loss.temperature": "0.01, the default of the GIST losses.",
    "loss.margin_strategy": "absolute: drop negatives nearer to the query than the positive less the margin.",
    "loss.margin": "The loss's own default: 0 for GIST, 5 for Triplet, 0.5 for Contrastive.",
    "loss.matryoshka": "Off: vectors keep their full length. Turn it on if an index will store shorter ones.",
    "loss.matryoshka_weights": "Equal weights.",
    "lora": "Off: all weights train, which 270m allows on one GPU and which usually gives the better model.",
    "lora.r": "64: enough for retrieval, with a small part of the weights.",
    "lora.alpha": "128, twice the rank: the usual choice.",
    "lora.dropout": "0.1, the usual choice for little data.",
    "lora.target_modules": "Empty: peft's own choice for the architecture, or every linear layer.",
    "lora.quantise": "Off. nf4 holds the frozen base in 4 bits, and costs some quality and speed.",
    "lora.merge": "The final model has the adapters in its weights: servers and exports need nothing of peft.",
    "sampler.name": "No text is twice in a batch, and no two rows meet that answer each other or wait for a verdict: "
    "in-batch negatives are only as true as the batch. It keeps all that no_duplicates guarantees.",
    "sampler.undecided": "Candidates nobody judged are kept apart as well: when in doubt, no false negative.",
    "sampler.several": "Each dataset in proportion to its size; round_robin lets small ones weigh like large ones.",
    "batch.per_device": "Every row of a batch brings a negative to all others, so as large as memory allows.",
    "batch.accumulation": "1. Accumulation smooths the gradient but adds no in-batch negatives: each batch has its "
    "own. For more negatives use cached_mnrl.",
    "batch.evaluation": "64; it changes speed only.",
    "optimiser.name": "AdamW, fused: transformers' default.",
    "optimiser.lr": "5e-6: an instruction-tuned embedder forgets at the 2e-5 that a plain encoder likes. The matrix "
    "tries 0.6 and 2 times this.",
    "optimiser.weight_decay": "0: one epoch of fine-tuning has little to regularise.",
    "optimiser.max_grad_norm": "1.0 cuts the rare large gradient; the curve shows how often.",
    "schedule.epochs": "1. A model that has seen each pair once seldom gains from a second time, and begins to "
    "memorise.",
    "schedule.max_steps": "-1: epochs decide. 0 measures the model as it is.",
    "schedule.kind": "cosine ends gently.",
    "schedule.warmup": "The first 10 % of steps: Adam's averages begin empty.",
    "precision.mode": "auto: bf16 on a GPU that has it, else fp32. Weights stay float32; fp16 overflows in Gemma 3.",
    "precision.tf32": "On: matrix products in TF32 on GPUs that have it, faster at no loss that retrieval shows.",
    "precision.activation_checkpointing": "Off: about 40 % less memory for 30 % more time, when memory is short.",
    "evaluation.splits": "A validation split if there is one: a test split that chooses the checkpoint is no test "
    "any more.",
    "evaluation.times": "10: published fine-tunes were often best before the middle of the run.",
    "evaluation.metric": "nDCG@10, the measure of BEIR and MTEB retrieval.",
    "evaluation.queries": "1,000: enough to see a difference of two points, in seconds.",
    "evaluation.corpus": "20,000 passages: all that answer, and others that distract.",
    "evaluation.patience": "Off: one epoch is short, and the best checkpoint is taken anyway.",
    "checkpoints.every": "At every evaluation, so that the best one is there.",
    "checkpoints.keep": "2, and the best: a checkpoint takes three times the model.",
    "checkpoints.load_best": "The run ends with the best checkpoint, not the last.",
    "devices.use": "auto: a GPU if there is one.",
    "devices.ids": "Empty: those that are free.",
    "devices.count": "1. Several start under torchrun, one process a device.",
    "reporting.to": "Nobody: nothing leaves the machine unless asked for.",
    "reporting.logs": "100 points make a curve and cost nothing.",
    "reporting.hub_id": "Empty: nothing is pushed.",
    "reporting.hub_private": "Private: making it public later is one click, the reverse is not.",
}


def reason(key: str) -> str:
    """Say in a sentence or two why a setting has the default it has.

    Args:
        key: dotted, as in `--set`; the number of a dataset is left out or ignored: `data.0.kind`, `data.kind`.

    Raises:
        UsageError: there is no such setting; the nearest is named.
    """
    plain = ".".join(part for part in key.split(".") if not part.isdigit())
    if plain.startswith("data.loss."):
        plain = plain.removeprefix("data.")
    if plain not in _REASONS:
        raise UsageError(f"There is no setting `{key}`.", remedy=nearest(plain, list(_REASONS)))
    return _REASONS[plain]


def keys() -> list[str]:
    """Return the dotted key of every setting of a run, in the order of the file; prompts count as one."""
    return list(_keys(RunSpec, ""))


def _keys(model: type[BaseModel], above: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        inner = _model(field.annotation)
        if inner is None or key in ("prompts", "data.loss"):
            yield key
        else:
            if key == "lora":
                yield key
            yield from _keys(inner, f"{key}.")


def _model(annotation: Any) -> type[BaseModel] | None:
    """The part that a field holds, alone, in a tuple, or as one of two."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple):
        return next((found for found in map(_model, get_args(annotation)) if found), None)
    return None
