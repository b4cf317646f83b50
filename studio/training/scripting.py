"""A run as a plain script: what the worker does, without watching, stopping and resuming."""

from __future__ import annotations

from collections.abc import Iterator

from studio.errors import ConfigError
from studio.evaluation.verdict import WIN_FROM
from studio.models.load import model_spec
from studio.runs.folder import RunFolder
from studio.sample import model_location
from studio.text.safe import visible
from studio.training.data import Prepared
from studio.training.losses import LOSSES, loss_arguments, needs_guide
from studio.training.script_parts import arguments, evaluation, literal
from studio.training.spec import LossPart, RunSpec


def script_of(folder: RunFolder, spec: RunSpec, prepared: Prepared) -> str:
    """Write the script.

    Args:
        folder: the run's.
        spec: its frozen spec, prompts included.
        prepared: its frozen data.

    Raises:
        ConfigError: the metric that decides does not exist.
    """
    return _text(
        _head(folder, spec),
        _imports(spec),
        _settings(folder, spec),
        _model(spec),
        _data(spec, prepared),
        _loss(spec),
        evaluation(spec),
        arguments(spec, prepared),
        _run(spec),
    )


def _head(folder: RunFolder, spec: RunSpec) -> Iterator[str]:
    yield f'"""The run `{folder.name}`, as harrier-studio\'s worker trains it, in plain sentence-transformers.'
    yield ""
    start = f"torchrun --standalone --nproc-per-node {spec.devices.count}" if spec.devices.count > 1 else "python"
    yield f"    {start} SCRIPT [RUN_FOLDER]"
    yield ""
    yield "It reads the run's frozen data and writes beside them, into `ejected`; it does not touch the run. Equal are"
    yield "data, prompts, batches, loss, optimiser, schedule and seed: on the same machine the losses are the same."
    yield "Left out are watching, requests, alerts, resuming and the paired test of the verdict. The evaluator is"
    yield "sentence-transformers' own, which takes relevance as yes or no; the worker's knows grades."
    yield '"""'
    if spec.why:
        yield f"# Why: {visible(spec.why)}"


def _imports(spec: RunSpec) -> Iterator[str]:
    yield "import math"
    yield "import sys"
    yield "from pathlib import Path"
    yield ""
    yield "import pyarrow.parquet as parquet"
    yield "import torch"
    yield f"from datasets import Dataset{', DatasetDict' if len(spec.data) > 1 else ''}"
    if spec.lora:
        yield "from peft import LoraConfig, TaskType"
        if not spec.lora.target_modules:
            yield "from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"
    yield "from sentence_transformers import ("
    yield "    SentenceTransformer,"
    yield "    SentenceTransformerTrainer,"
    yield "    SentenceTransformerTrainingArguments,"
    yield ")"
    yield "from sentence_transformers.sentence_transformer import losses"
    yield "from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator"
    names = ["TrainerCallback"]
    names += ["BitsAndBytesConfig"] if spec.lora and spec.lora.quantise != "none" else []
    names += ["EarlyStoppingCallback"] if spec.evaluation.patience else []
    yield f"from transformers import {', '.join([*sorted(names), 'set_seed'])}"
    if spec.sampler.name == "conflict_aware":
        yield ""
        yield "# The only part of the studio: it keeps texts that answer each other out of one batch. Without it, set"
        yield '# batch_sampler="no_duplicates" below: other batches, and answers among the negatives.'
        yield "from studio.training.data import conflicts, load_prepared"
        yield "from studio.training.sampler import conflict_aware"


def _settings(folder: RunFolder, spec: RunSpec) -> Iterator[str]:
    assert spec.prompts is not None, "a run's prompts are frozen when it is made"
    yield f"RUN = Path(sys.argv[1] if len(sys.argv) > 1 else {literal(str(folder.root))})"
    yield 'DATA, OUT = RUN / "data", RUN / "ejected"'
    yield f"QUERY_PROMPT = {literal(spec.prompts.query)}"
    yield f"DOCUMENT_PROMPT = {literal(spec.prompts.document)}"
    yield f"EVALUATIONS = {spec.evaluation.times}"
    yield ""
    yield f"set_seed({spec.seed})"
    match spec.devices.use:
        case "cpu":
            yield "cuda = False"
        case "cuda":
            yield "cuda = True"
        case _:
            yield "cuda = torch.cuda.is_available()"
    match spec.precision.mode:
        case "auto":
            yield "bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)"
        case mode:
            yield f"bf16 = {mode == 'bf16'}"
    if spec.precision.tf32:
        yield "if cuda:"
        yield '    torch.set_float32_matmul_precision("high")'


def _model(spec: RunSpec) -> Iterator[str]:
    where = model_spec(model_location(spec.model.id), revision=spec.model.revision)
    quantised = spec.lora is not None and spec.lora.quantise != "none"
    if quantised:
        yield "quantised = BitsAndBytesConfig("
        yield "    load_in_4bit=True,"
        yield '    bnb_4bit_quant_type="nf4",'
        yield "    bnb_4bit_compute_dtype=torch.bfloat16,"
        yield "    bnb_4bit_use_double_quant=True,"
        yield ")"
    else:
        yield "# Weights in float32, since Adam needs them; autocast computes in less where it may."
    yield "model = SentenceTransformer("
    yield f"    {literal(where.id_or_path)},"
    if where.revision:
        yield f"    revision={literal(where.revision)},"
    if spec.model.trust_remote_code:
        yield "    trust_remote_code=True,"
    if quantised:
        yield '    model_kwargs={"dtype": torch.bfloat16, "quantization_config": quantised, "device_map": {"": 0}},'
    else:
        yield '    device=None if cuda else "cpu",'
        yield '    model_kwargs={"dtype": torch.float32},'
    yield ")"
    yield f"model.max_seq_length = {spec.model.max_length}"
    yield "# What is saved knows its prompts: `encode_query` and `encode_document` are right afterwards."
    yield 'model.prompts = {**model.prompts, "query": QUERY_PROMPT, "document": DOCUMENT_PROMPT}'
    if spec.lora is None:
        return
    yield ""
    part = spec.lora
    if part.target_modules:
        yield f"targets = {literal(list(part.target_modules))}"
    else:
        yield "kind = model.transformers_model.config.model_type"
        yield 'targets = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(kind) or "all-linear"'
    yield f"set_seed({spec.seed})"
    yield "model.add_adapter("
    yield "    LoraConfig("
    yield "        task_type=TaskType.FEATURE_EXTRACTION,"
    yield f"        r={part.r},"
    yield f"        lora_alpha={part.alpha},"
    yield f"        lora_dropout={part.dropout},"
    yield "        target_modules=targets,"
    yield "    )"
    yield ")"
    yield "for name, parameter in model.named_parameters():"
    yield '    parameter.requires_grad = "lora_" in name'


def _data(spec: RunSpec, prepared: Prepared) -> Iterator[str]:
    yield "# The columns go to the loss by position; there are no others, for each would be taken for a negative."
    for part in prepared.datasets:
        yield f"# {part.name}: {', '.join(part.columns)} ({part.rows:,} rows)"
    if len(prepared.datasets) > 1:
        yield "train = DatasetDict("
        yield "    {"
        for part in prepared.datasets:
            yield f'        "{part.name}": Dataset(parquet.read_table(DATA / "train-{part.name}.parquet")),'
        yield "    }"
        yield ")"
    else:
        yield f'train = Dataset(parquet.read_table(DATA / "train-{prepared.datasets[0].name}.parquet"))'


def _loss(spec: RunSpec) -> Iterator[str]:
    parts = {part.name: part.loss or spec.loss for part in spec.data}
    one = not any(part.loss for part in spec.data)
    if any(needs_guide(part) for part in parts.values()):
        where = {model_location(part.guide or spec.model.id) for part in parts.values() if needs_guide(part)}
        if len(where) > 1:
            raise ConfigError("A script has one guide model.", where="loss.guide", remedy="use one guide for all data")
        guide = model_spec(next(iter(where)), revision=None)
        yield "guide = SentenceTransformer("
        yield f"    {literal(guide.id_or_path)},"
        if guide.revision:
            yield f"    revision={literal(guide.revision)},"
        yield '    device=None if cuda else "cpu",'
        yield '    model_kwargs={"dtype": torch.float32},'
        yield ")"
        yield f"guide.max_seq_length = {spec.model.max_length}"
    if one:
        yield from _assigned("loss", spec, spec.loss)
        return
    for name, part in parts.items():
        yield from _assigned(f"loss_{_variable(name)}", spec, part)
    yield f"loss = {{{', '.join(f'{literal(name)}: loss_{_variable(name)}' for name in parts)}}}"


def _assigned(variable: str, spec: RunSpec, part: LossPart) -> Iterator[str]:
    known = loss_arguments(part)
    if "gather_across_devices" in known:
        known["gather_across_devices"] = part.gather and spec.devices.count > 1
    guide = ["guide=guide"] if needs_guide(part) else []
    given = [*guide, *(f"{name}={literal(value)}" for name, value in known.items())]
    yield f"{variable} = losses.{LOSSES[part.name].title}("
    yield "    model,"
    for line in given:
        yield f"    {line},"
    yield ")"
    if part.matryoshka:
        weights = list(part.matryoshka_weights) or None
        yield f"{variable} = losses.MatryoshkaLoss(model, {variable}, {list(part.matryoshka)!r}, {weights!r})"


def _run(spec: RunSpec) -> Iterator[str]:
    callbacks = ["Evenly()"]
    if spec.evaluation.patience:
        callbacks.append(f"EarlyStoppingCallback({spec.evaluation.patience})")
    yield "trainer = SentenceTransformerTrainer("
    yield "    model=model,"
    yield "    args=arguments,"
    yield "    train_dataset=train,"
    yield "    loss=loss,"
    yield "    evaluator=evaluator,"
    yield f"    callbacks=[{', '.join(callbacks)}],"
    yield ")"
    yield "baseline = trainer.evaluate()[MAIN]"
    if spec.schedule.max_steps == 0:
        yield "if trainer.is_world_process_zero():"
        yield '    print(f"{MAIN}: {baseline:.4f}, not trained")'
        return
    if spec.devices.count > 1:
        yield "# It is prepared for evaluation only; else training would take it for prepared, and not share gradients."
        yield "model._is_accelerate_prepared = False"
    yield "trainer.train()"
    yield "score = trainer.evaluate()[MAIN]"
    yield "if trainer.is_world_process_zero():"
    if spec.lora and spec.lora.merge and spec.lora.quantise == "none":
        yield "    # The adapters become part of the weights: servers and exports need nothing of peft."
        yield "    model[0].model = model[0].model.merge_and_unload()"
    yield '    model.save_pretrained(str(OUT / "model"))'
    yield "    delta = score - baseline"
    yield f'    verdict = "WIN" if delta >= {WIN_FROM} else "MARGINAL" if delta >= 0 else "REGRESSION"'
    yield '    print(f"VERDICT: {verdict} | score={score:.4f} | baseline={baseline:.4f} | delta={delta:+.4f}")'


def _variable(name: str) -> str:
    return name.replace("-", "_")


def _text(*blocks: Iterator[str]) -> str:
    """The blocks, an empty line between two; two before and after a class at the top."""
    lines: list[str] = []
    for block in blocks:
        part = list(block)
        lines += (["", ""] if part[0].startswith("class ") else [""]) if lines else []
        lines += part
    return "\n".join(lines) + "\n"
