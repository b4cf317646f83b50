"""The model card of a run: how to use the model exactly as it was trained, what it was trained on, what it came to.

It quotes no training row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from studio.prompts.contract import PromptContract
from studio.training.spec import RunSpec


class Shown(NamedTuple):
    """What a card tells of a run.

    Attributes:
        run: its name.
        spec: its frozen spec.
        contract: the prompts it was trained with.
        data: sha256 of the frozen data.
        rows: training rows.
        split: what was evaluated.
        queries: how many.
        passages: among how many they were searched.
        step: steps that the weights have seen.
        baseline: metric → value before training; empty: not measured.
        final: the same of these weights; empty: not measured.
        line: the verdict, or "".
    """

    run: str
    spec: RunSpec
    contract: PromptContract
    data: str
    rows: int
    split: str
    queries: int
    passages: int
    step: int
    baseline: dict[str, float]
    final: dict[str, float]
    line: str


def card(shown: Shown) -> str:
    """Return the README.md of a model."""
    spec = shown.spec
    parts = [
        _head(spec),
        f"# {shown.run}",
        f"A sentence-transformers model for retrieval, fine-tuned from `{spec.model.id}`"
        + (f" (revision `{spec.model.revision}`)" if spec.model.revision else "")
        + ". Its vectors are compared by cosine.",
        "## Use",
        "Queries and passages are encoded differently. The model knows how:",
        _python(
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{_place(shown)}")',
            f"model.max_seq_length = {spec.model.max_length}",
            'queries = model.encode_query(["…"])',
            'passages = model.encode_document(["…"])',
            "scores = model.similarity(queries, passages)",
        ),
        "Where only `encode` can be called, or a server takes texts as they are, pass the prompt itself, byte for "
        "byte (give `prompt` or `prompt_name`, never both):",
        _python(
            f'queries = model.encode(["…"], prompt={json.dumps(shown.contract.query, ensure_ascii=False)})',
            f'passages = model.encode(["…"], prompt={json.dumps(shown.contract.document, ensure_ascii=False)})',
        ),
        "## Prompts",
        _table(
            ("role", "prompt", "in the saved model"),
            [
                ("query", _code(shown.contract.query), "`query`"),
                ("document", _code(shown.contract.document), "`document`"),
            ],
        ),
        f"Contract `{shown.contract.hash}`: the same strings in training, in every evaluation and here.",
        *_results(shown),
        "## Training",
        _table(("setting", "value"), _settings(shown)),
        f"The data are frozen with the run; their hash is `{shown.data}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(spec: RunSpec) -> str:
    """The metadata that hubs read. The license is that of the base model and of the data: not ours to say."""
    lines = ["---", "library_name: sentence-transformers", "pipeline_tag: feature-extraction", "tags:"]
    lines += ["- sentence-transformers", "- feature-extraction", "- retrieval", "- harrier-studio"]
    if "/" in spec.model.id and not spec.model.id.startswith(("/", ".", "~")):
        lines.append(f"base_model: {spec.model.id}")
    return "\n".join([*lines, "---"])


def _place(shown: Shown) -> str:
    return shown.spec.reporting.hub_id or f"runs/{shown.run}/model"


def _results(shown: Shown) -> list[str]:
    if not shown.final and not shown.baseline:
        return []
    names = list(shown.final or shown.baseline)
    rows = [(name, _figure(shown.baseline.get(name)), _figure(shown.final.get(name))) for name in names]
    parts = [
        "## Results",
        f"{shown.queries:,} queries of the split `{shown.split}`, searched among {shown.passages:,} passages; "
        f"weights of step {shown.step:,}.",
        _table(("metric", "before training", "this model"), rows),
    ]
    return [*parts, f"`{shown.line}`"] if shown.line else parts


def _settings(shown: Shown) -> list[tuple[str, str]]:
    spec = shown.spec
    losses = {part.name: (part.loss or spec.loss).name.value for part in spec.data}
    rows = [
        ("rows", f"{shown.rows:,}"),
        ("loss", ", ".join(dict.fromkeys(losses.values()))),
        ("batch", f"{spec.effective_batch:,} ({spec.batch.per_device} a device)"),
        ("negatives a query", f"{spec.negatives:,}"),
        ("sampler", spec.sampler.name),
        ("learning rate", f"{spec.optimiser.lr:g}, {spec.schedule.kind}, warm-up {spec.schedule.warmup:g}"),
        ("steps", f"{shown.step:,}"),
        ("tokens a text", f"{spec.model.max_length:,} at most"),
        ("precision", f"float32 weights, {spec.precision.mode}"),
        ("seed", str(spec.seed)),
    ]
    if spec.lora is not None:
        rows.insert(2, ("adapters", f"LoRA, rank {spec.lora.r}, alpha {spec.lora.alpha}"))
    if spec.loss.matryoshka:
        rows.insert(2, ("dimensions", ", ".join(map(str, spec.loss.matryoshka)) + " (vectors may be cut to these)"))
    return rows


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _code(text: str) -> str:
    """A string as one line of code, every character of it visible; backticks cannot end it early."""
    if not text:
        return "none"
    written = json.dumps(text, ensure_ascii=False)
    fence = "`" * (max((len(run) for run in _ticks(written)), default=0) + 1)
    return f"{fence} {written} {fence}" if len(fence) > 1 else f"`{written}`"


def _ticks(text: str) -> list[str]:
    return ["`" * len(part) for part in "".join(c if c == "`" else " " for c in text).split()]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
