"""What a run leaves: the model with its prompts and card, the adapter beside it, and the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer

from studio.evaluation.verdict import Judgement
from studio.files import atomic_directory, write_text
from studio.models.load import load_model
from studio.prompts.contract import PromptContract
from studio.runs.folder import RunFolder
from studio.training import building
from studio.training.data import Prepared
from studio.training.spec import RunSpec

ADAPTER = "adapter"
"""Folder of the low-rank adapters in a run's folder."""
_ALIKE = 0.99


class Measured(NamedTuple):
    """An evaluation: metric → mean, and query → value of the metric that decides."""

    metrics: dict[str, float]
    per_query: dict[str, float]


def save_model(
    model: SentenceTransformer,
    folder: RunFolder,
    spec: RunSpec,
    contract: PromptContract,
    card: str,
    texts: Sequence[str],
    note: Callable[[str], None],
) -> None:
    """Save what a run ends with, whole or not at all; adapters also on their own, and merged if the spec says so.

    Args:
        model: as it was trained.
        folder: the run.
        spec: its spec.
        contract: the prompts it was trained with.
        card: the model card.
        texts: queries; the merged model must give them the vectors of the trained one.
        note: told if it does not.

    Raises:
        UnavailableError: the disk is full.
    """
    model.prompts = building.trained_prompts(model, contract)
    if spec.lora is not None:
        _save(model, folder.root / ADAPTER, card)
        if spec.lora.merge:
            merged = _merged(folder, spec, contract)
            cosine = _least_cosine(model, merged, contract.query, texts)
            if not cosine > _ALIKE:
                note(f"the merged model is not quite the trained one: cosine {cosine:.4f} at least")
            model = merged
    _save(model, folder.model, card)


def write_result(
    folder: RunFolder,
    prepared: Prepared,
    metric: str,
    baseline: Measured,
    final: Measured,
    judgement: Judgement | None,
    step: int,
    best: int | None,
    smoke: dict[str, Any] | None = None,
) -> None:
    """Write `result.json`.

    Args:
        folder: the run.
        prepared: its data.
        metric: the one that decides.
        baseline: before training.
        final: of the model that was saved.
        judgement: None: nothing was trained, or it was a smoke test.
        step: steps that the saved weights have seen.
        best: step of the best evaluation.
        smoke: what a smoke test found; None: it was another run.

    Raises:
        UnavailableError: the disk is full.
    """
    result = {
        "format": 1,
        "run": folder.name,
        "metric": metric,
        "split": prepared.split,
        "queries": prepared.queries,
        "passages": prepared.passages,
        "data": prepared.hash,
        "baseline": baseline._asdict(),
        "final": final._asdict() | {"step": step},
        "best_step": best,
        "verdict": fields_of(judgement) if judgement else None,
        **({"smoke": smoke} if smoke else {}),
    }
    write_text(folder.result, json.dumps(result, ensure_ascii=False, indent=1) + "\n")


def write_measured(path: Path, measured: Measured) -> None:
    """Keep an evaluation.

    Raises:
        UnavailableError: the disk is full.
    """
    write_text(path, json.dumps(measured._asdict(), ensure_ascii=False) + "\n")


def read_measured(path: Path) -> Measured | None:
    """Read what `write_measured` wrote; None: it is not there, or damaged."""
    try:
        said = json.loads(path.read_text("utf-8"))
        return Measured(dict(said["metrics"]), dict(said["per_query"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fields_of(judgement: Judgement) -> dict[str, Any]:
    """A verdict as an event and the result have it."""
    found = judgement.difference
    return {
        "verdict": judgement.verdict.value,
        "score": judgement.score,
        "baseline": judgement.baseline,
        "delta": judgement.delta,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "n": found.n,
        "minimal": found.minimal,
        "line": judgement.line,
    }


def _save(model: SentenceTransformer, place: Path, card: str) -> None:
    with atomic_directory(place) as beside:
        model.save_pretrained(str(beside), create_model_card=False)
        (beside / "README.md").write_text(card, "utf-8")


def _merged(folder: RunFolder, spec: RunSpec, contract: PromptContract) -> SentenceTransformer:
    """The base model with the adapters in its weights, on the CPU."""
    from peft import PeftModel

    base = load_model(building.spec_of_model(spec.model, "cpu"))
    adapted = PeftModel.from_pretrained(base[0].model, str(folder.root / ADAPTER))
    base[0].model = adapted.merge_and_unload()
    base.prompts = building.trained_prompts(base, contract)
    return base


def _least_cosine(one: SentenceTransformer, other: SentenceTransformer, prompt: str, texts: Sequence[str]) -> float:
    vectors = [
        np.asarray(model.encode(list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=False), float)
        for model in (one, other)
    ]
    return float((vectors[0] * vectors[1]).sum(1).min())
