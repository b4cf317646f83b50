"""What a spec asks for, made: the model, its adapters, the data sets, the losses and the trainer's arguments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from torch import nn

from studio.errors import ConfigError, UnavailableError
from studio.models.load import ModelSpec, choose_dtype, load_model, model_spec
from studio.models.locate import locate
from studio.prompts.contract import PromptContract, Role
from studio.runs.folder import RunFolder
from studio.sample import model_location
from studio.training.data import Prepared, PreparedSet, conflicts, train_frame
from studio.training.losses import build_loss, needs_guide
from studio.training.reporting import reporters
from studio.training.sampler import conflict_aware
from studio.training.spec import ModelPart, RunSpec

_LABELS = ("label", "labels", "score", "scores")
_SAMPLERS = {"random": "batch_sampler"}
"""Names that sentence-transformers has another word for."""


def device_of(spec: RunSpec) -> str:
    """Where this process trains: `cpu`, `cuda:0`, `mps`.

    Raises:
        UnavailableError: the spec asks for a device that is not there.
    """
    use = spec.devices.use
    if use == "cpu":
        return "cpu"
    if use != "mps" and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
    if use != "cuda" and torch.backends.mps.is_available():
        return "mps"
    if use != "auto":
        raise UnavailableError(
            f"There is no {use} device.",
            where="devices.use",
            remedy="set devices.use = auto; `python -c 'import torch; print(torch.cuda.is_available())'` tells more",
        )
    return "cpu"


def precision_of(spec: RunSpec, device: str) -> str:
    """What autocast computes in: `bf16`, `fp16` or `fp32` (none)."""
    if spec.precision.mode != "auto":
        return spec.precision.mode
    capable = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if capable else "fp32"


def autocast_of(precision: str) -> torch.dtype | None:
    """The type of autocast; None for fp32."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def spec_of_model(part: ModelPart, device: str) -> ModelSpec:
    """How the model that is trained is loaded: in float32, since Adam needs it."""
    return model_spec(
        model_location(part.id),
        max_length=part.max_length,
        revision=part.revision,
        dtype="float32",
        device=device,
        trust_remote_code=part.trust_remote_code,
    )


def build_model(spec: RunSpec, device: str, precision: str) -> SentenceTransformer:
    """Load the model, and add the adapters if there are to be any.

    Raises:
        ConfigError: the precision does not suit the model, or it has no layer that the adapters name.
        InputError: the model cannot be read.
        UnavailableError: it is out of reach, or peft or bitsandbytes is missing.
    """
    if spec.lora is not None and spec.lora.quantise != "none":
        model = _quantised(spec, device)
    else:
        model = load_model(spec_of_model(spec.model, device))
    if precision == "fp16":
        choose_dtype("float16", str(getattr(getattr(model[0], "config", None), "model_type", "")), device)
    if spec.lora is not None:
        _add_adapters(model, spec)
    return model


def trained_prompts(model: SentenceTransformer, contract: PromptContract) -> dict[str, str]:
    """What the saved model's `prompts` say: the base model's own, and the trained ones as `query` and `document`."""
    return {**model.prompts, "query": contract.query, "document": contract.document}


def column_prompts(contract: PromptContract, prepared: Prepared) -> dict[str, Any]:
    """The trainer's `prompts`: by column, and by dataset where there are several. It never looks at the model's own."""
    found = {part.name: _prompts_of(contract, part) for part in prepared.datasets}
    return found if len(found) > 1 else next(iter(found.values()))


def build_datasets(prepared: Prepared) -> Dataset | DatasetDict:
    """What trains, column-exact, held in memory."""
    made = {part.name: Dataset(train_frame(prepared, part.name).to_arrow()) for part in prepared.datasets}
    return DatasetDict(made) if len(made) > 1 else next(iter(made.values()))


def build_losses(model: SentenceTransformer, spec: RunSpec, device: str) -> nn.Module | dict[str, nn.Module]:
    """The loss of each dataset; one for all where none has its own.

    Raises:
        ConfigError: a loss cannot be made with these parameters.
        InputError: the guide model cannot be read.
        UnavailableError: the guide model is out of reach.
    """
    guides: dict[str, SentenceTransformer] = {}
    parts = {part.name: part.loss or spec.loss for part in spec.data}
    made: dict[str, nn.Module] = {}
    for name, part in parts.items():
        guide = None
        if needs_guide(part):
            wanted = spec.model.model_copy(update={"id": part.guide, "revision": None}) if part.guide else spec.model
            guide = guides.setdefault(part.guide, load_model(spec_of_model(wanted, device)))
        made[name] = build_loss(model, spec, part, guide)
    return made if any(part.loss for part in spec.data) and len(made) > 1 else next(iter(made.values()))


def build_arguments(
    folder: RunFolder, spec: RunSpec, prepared: Prepared, contract: PromptContract, device: str, precision: str
) -> SentenceTransformerTrainingArguments:
    """The trainer's arguments. When to log, evaluate and save is decided by the run's callback at each step.

    Raises:
        UnavailableError: a reporter is not installed.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    cpu = device == "cpu"
    if spec.precision.tf32 and device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    sampler: Any = _SAMPLERS.get(spec.sampler.name, spec.sampler.name)
    if sampler == "conflict_aware":
        sampler = conflict_aware(conflicts(prepared), processes if spec.loss.gather else 1)
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder.checkpoints),
        run_name=folder.name,
        seed=spec.seed,
        prompts=column_prompts(contract, prepared),
        batch_sampler=sampler,
        multi_dataset_batch_sampler=spec.sampler.several,
        per_device_train_batch_size=spec.batch.per_device,
        per_device_eval_batch_size=spec.batch.evaluation,
        gradient_accumulation_steps=spec.batch.accumulation,
        num_train_epochs=spec.schedule.epochs,
        max_steps=spec.schedule.max_steps,
        optim=spec.optimiser.name,
        learning_rate=spec.optimiser.lr,
        weight_decay=spec.optimiser.weight_decay,
        max_grad_norm=spec.optimiser.max_grad_norm,
        lr_scheduler_type=spec.schedule.kind,
        warmup_steps=spec.schedule.warmup,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        activation_checkpointing=spec.precision.activation_checkpointing,
        use_cpu=cpu,
        ddp_backend="gloo" if cpu and processes > 1 else None,
        dataloader_pin_memory=not cpu,
        save_strategy="steps",
        eval_strategy="no",
        logging_strategy="no",
        # A loss that is no number must be seen, not averaged away.
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        **reporters(spec, folder),
    )


def _prompts_of(contract: PromptContract, part: PreparedSet) -> dict[str, str]:
    texts = [column for column in part.columns if column not in _LABELS]
    return contract.as_trainer_prompts({Role.QUERY: texts[0], Role.DOCUMENT: texts[1:]})


def _quantised(spec: RunSpec, device: str) -> SentenceTransformer:
    """The base in 4 bits (QLoRA, Dettmers 2023), computed in bfloat16; only adapters are trained."""
    _needed("bitsandbytes", "qlora")
    if not device.startswith("cuda"):
        raise ConfigError("4-bit weights need a CUDA device.", where="lora.quantise", remedy="set lora.quantise = none")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    wanted = spec_of_model(spec.model, device)
    model = SentenceTransformer(
        str(locate(wanted.id_or_path, wanted.revision)),
        local_files_only=True,
        trust_remote_code=wanted.trust_remote_code,
        model_kwargs={"dtype": torch.bfloat16, "quantization_config": config, "device_map": {"": device}},
    )
    model.max_seq_length = wanted.max_length
    return model


def _add_adapters(model: SentenceTransformer, spec: RunSpec) -> None:
    _needed("peft", "lora")
    from peft import LoraConfig, TaskType
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    from transformers import set_seed

    part = spec.lora
    assert part is not None
    kind = str(model.transformers_model.config.model_type)
    targets: Sequence[str] | str = list(part.target_modules) or KNOWN.get(kind) or "all-linear"
    # The adapters begin at random; every process and every attempt must begin alike.
    set_seed(spec.seed)
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=part.r,
        lora_alpha=part.alpha,
        lora_dropout=part.dropout,
        target_modules=targets,
    )
    try:
        model.add_adapter(config)
    except ValueError as error:
        raise ConfigError(
            "The adapters fit no layer of the model.",
            where="lora.target_modules",
            why=" ".join(str(error).split())[:300],
            remedy="leave it empty, or name its linear layers, such as q_proj",
        ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "lora_" in name


def _needed(package: str, extra: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise UnavailableError(
            f"{package} is not installed.",
            why="the spec asks for low-rank adapters",
            remedy=f"pip install 'harrier-studio[{extra}]'",
        )
