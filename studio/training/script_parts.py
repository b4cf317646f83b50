"""The parts of an ejected script that measure and that lay out training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from studio.evaluation.metrics import metric
from studio.training.data import Prepared
from studio.training.lengths import LABELS
from studio.training.spec import RunSpec

_IR_KEYS = {"ndcg": "ndcg", "mrr": "mrr", "recall": "recall", "map": "map", "success": "accuracy"}
"""Kind of a metric → what InformationRetrievalEvaluator calls it."""


def evaluation(spec: RunSpec) -> Iterator[str]:
    """The evaluator, and MAIN, the key of the metric that decides.

    Raises:
        ConfigError: there is no such metric.
    """
    found = metric(spec.evaluation.metric)
    key = _IR_KEYS[found.kind]
    argument = "accuracy_at_k" if key == "accuracy" else "precision_recall_at_k" if key == "recall" else f"{key}_at_k"
    yield "class Retrieval(InformationRetrievalEvaluator):"
    yield '    """In the precision of training."""'
    yield ""
    yield "    def __call__(self, model, *args, **kwargs):"
    kind = "torch.float16" if spec.precision.mode == "fp16" else "torch.bfloat16"
    enabled = "True" if spec.precision.mode == "fp16" else "bf16"
    yield f"        with torch.autocast(model.device.type, dtype={kind}, enabled={enabled}):"
    yield "            return super().__call__(model, *args, **kwargs)"
    yield ""
    yield ""
    yield "def table(name):"
    yield '    return parquet.read_table(DATA / f"{name}.parquet").to_pylist()'
    yield ""
    yield ""
    yield "relevant = {}"
    yield 'for line in table("qrels"):'
    yield '    relevant.setdefault(line["query_id"], set()).add(line["passage_id"])'
    yield "evaluator = Retrieval("
    yield '    queries={line["query_id"]: line["text"] for line in table("queries")},'
    yield '    corpus={line["passage_id"]: line["text"] for line in table("corpus")},'
    yield "    relevant_docs=relevant,"
    yield "    # Explicitly: Harrier has no prompt of the name `query`, and without one it would search unprompted."
    yield "    query_prompt=QUERY_PROMPT,"
    yield "    corpus_prompt=DOCUMENT_PROMPT,"
    yield f"    {argument}=[{found.k}],"
    yield f"    batch_size={spec.batch.evaluation},"
    yield ")"
    yield f'MAIN = "eval_cosine_{key}@{found.k}"'


def arguments(spec: RunSpec, prepared: Prepared) -> Iterator[str]:
    """When to evaluate, save and log, and the trainer's arguments."""
    yield "class Evenly(TrainerCallback):"
    yield '    """Evaluates and saves evenly spread, after the last step too, and logs then and often between."""'
    yield ""
    yield "    def on_step_end(self, args, state, control, **kwargs):"
    yield "        def steps(times):"
    yield "            return {math.ceil(state.max_steps * number / times) for number in range(1, times + 1)}"
    yield ""
    yield "        last = state.global_step == state.max_steps"
    yield "        control.should_evaluate = state.global_step in steps(EVALUATIONS)"
    if spec.checkpoints.every == 1:
        yield "        control.should_save = control.should_evaluate or last"
    else:
        every = spec.checkpoints.every
        yield f"        due = sorted(steps(EVALUATIONS))[{every - 1} :: {every}]"
        yield "        control.should_save = state.global_step in due or last"
    yield f"        logs = state.global_step == 1 or state.global_step in steps({spec.reporting.logs})"
    yield "        control.should_log = logs or control.should_evaluate or control.should_save"
    yield ""
    yield ""
    yield "arguments = SentenceTransformerTrainingArguments("
    for name, value in _given(spec, prepared).items():
        yield f"    {name}={value},"
    yield ")"


def _given(spec: RunSpec, prepared: Prepared) -> Mapping[str, str]:
    """The trainer's arguments, each as it is written."""
    texts = {part.name: [name for name in part.columns if name not in LABELS] for part in prepared.datasets}
    prompts = {name: _prompts(spec, columns) for name, columns in texts.items()}
    several = "{" + ", ".join(f"{literal(name)}: {told}" for name, told in prompts.items()) + "}"
    gathered = spec.devices.count if spec.loss.gather else 1
    samplers = {
        "conflict_aware": f"conflict_aware(conflicts(load_prepared(DATA)), {gathered})",
        "random": '"batch_sampler"',
    }
    times = spec.evaluation.times
    huge = "10**9"
    return {
        "output_dir": 'str(OUT / "checkpoints")',
        "seed": literal(spec.seed),
        "prompts": several if len(prompts) > 1 else next(iter(prompts.values())),
        "batch_sampler": samplers.get(spec.sampler.name, literal(spec.sampler.name)),
        "multi_dataset_batch_sampler": literal(spec.sampler.several),
        "per_device_train_batch_size": literal(spec.batch.per_device),
        "per_device_eval_batch_size": literal(spec.batch.evaluation),
        "gradient_accumulation_steps": literal(spec.batch.accumulation),
        "num_train_epochs": literal(spec.schedule.epochs),
        "max_steps": literal(spec.schedule.max_steps),
        "optim": literal(spec.optimiser.name),
        "learning_rate": literal(spec.optimiser.lr),
        "weight_decay": literal(spec.optimiser.weight_decay),
        "max_grad_norm": literal(spec.optimiser.max_grad_norm),
        "lr_scheduler_type": literal(spec.schedule.kind),
        "warmup_steps": literal(spec.schedule.warmup),
        "bf16": "bf16",
        "fp16": literal(spec.precision.mode == "fp16"),
        "activation_checkpointing": literal(spec.precision.activation_checkpointing),
        "use_cpu": "not cuda",
        "ddp_backend": 'None if cuda else "gloo"' if spec.devices.count > 1 else "None",
        "dataloader_pin_memory": "cuda",
        # The callback says when; the intervals only have to be there.
        "eval_strategy": '"steps"' if times else '"no"',
        "eval_steps": huge if times else "None",
        "save_strategy": '"steps"',
        "save_steps": huge,
        "save_total_limit": literal(spec.checkpoints.keep),
        "load_best_model_at_end": literal(spec.checkpoints.load_best and times > 0),
        "metric_for_best_model": "MAIN" if times else "None",
        "greater_is_better": "True" if times else "None",
        "logging_strategy": '"steps"',
        "logging_steps": huge,
        "logging_nan_inf_filter": "False",
        "disable_tqdm": "True",
        "report_to": literal(list(spec.reporting.to) or "none"),
    }


def _prompts(spec: RunSpec, columns: list[str]) -> str:
    """The trainer's prompts of one dataset, as they are written: it never looks at the model's own."""
    assert spec.prompts is not None, "a run's prompts are frozen when it is made"
    query, *others = columns
    named = [f"{literal(query)}: QUERY_PROMPT"] if spec.prompts.query else []
    named += [f"{literal(name)}: DOCUMENT_PROMPT" for name in others if spec.prompts.document]
    return "{" + ", ".join(named) + "}"


def literal(value: Any) -> str:
    """A value as Python; texts in double quotes where that needs no escape."""
    if isinstance(value, str) and "'" not in value and '"' not in value:
        return f'"{repr(value)[1:-1]}"'
    if isinstance(value, tuple | list):
        inner = ", ".join(map(literal, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return repr(value)
