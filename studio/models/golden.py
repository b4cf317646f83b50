"""Golden checks: a model computes what its parts say it must, keeps it when it is saved, and has the prompts it should.

The doctor looks for known faults. Here nothing is looked for: the vectors are computed a second time by other means,
and must be the same.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from studio.errors import StudioError
from studio.models.doctor import Finding, Status
from studio.models.load import ModelSpec, load_model
from studio.models.locate import locate, transformer_folder
from studio.models.neighbours import F32
from studio.models.tokenizer import model_prompts
from studio.prompts.contract import PromptContract

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOLERANCE = 1e-5
"""How far numbers of two vectors may be apart, both computed in float32."""
TEXTS = (
    "Como pedir a segunda via da fatura?",
    "A segunda via da fatura está no portal do cliente, em Contas, e pode ser paga até o vencimento.",
    "prazo",
    "O prazo para recurso é de dez dias úteis. " * 12,
    "½ kg · naïve café – 👍🏽",
)
"""Of different lengths, so that in one batch all but the longest are padded."""


def golden(spec: ModelSpec, contract: PromptContract | None = None, project: str = "DIR") -> list[Finding]:
    """Compute vectors by other means and compare; never raises `StudioError`, which is its last finding.

    Codes: `raw_left`, `raw_right` (transformers alone, with the last attended token, padded on either side),
    `saved_again` (saved, loaded, computed), `saved_prompts` (those of the saved copy), `contract` (the model's `query`
    and `document` prompts are those of a contract, byte for byte; only if one is given. It fails for a model that the
    studio trained, which was saved with them; any other may have its own or none, which is worth knowing).

    Args:
        spec: the model; computed in float32 whatever it says.
        contract: prompts that the model is meant to have.
        project: where that contract is from, for the commands that are named.
    """
    findings: list[Finding] = []
    code = "load"
    try:
        if contract is not None:
            code = "contract"
            findings.append(_contract(spec, contract, project))
        code = "load"
        spec = replace(spec, dtype="float32")
        model = load_model(spec)
        vectors = _encoded(model, TEXTS)
        code = "raw"
        findings += _raw(spec, model, vectors)
        code = "saved_again"
        findings += _saved(spec, model, vectors)
    except StudioError as error:
        findings.append(Finding(code, Status.FAIL, error.what, error.remedy or error.why or ""))
    except Exception as error:  # the libraries raise whatever they meet
        findings.append(Finding(code, Status.FAIL, f"The check broke off: {type(error).__name__}: {error}"))
    return findings


def last_token_vectors(spec: ModelSpec, texts: Sequence[str], side: Literal["left", "right"]) -> F32:
    """Compute vectors with transformers alone: the hidden state of the last attended token, of length 1.

    Padding is on one side, and the last token is found by the attention mask, not by its place.

    Args:
        spec: the model; float32, on its device or the processor.
        texts: in one batch.
        side: where shorter texts are padded.

    Raises:
        InputError, UnavailableError: the model's files cannot be used.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(transformer_folder(locate(spec.id_or_path, spec.revision)))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side, local_files_only=True)
    network = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    network = network.to(spec.device or "cpu").eval()
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=spec.max_length, return_tensors="pt")
    batch = batch.to(network.device)
    with torch.no_grad():
        hidden = network(**batch).last_hidden_state
    mask = batch["attention_mask"]
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * places).argmax(dim=1)
    pooled = hidden[torch.arange(len(hidden), device=hidden.device), last]
    vectors: F32 = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
    return vectors


def _encoded(model: SentenceTransformer, texts: Sequence[str]) -> F32:
    vectors: F32 = model.encode(list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False)
    return vectors


def _apart(one: F32, other: F32) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def _raw(spec: ModelSpec, model: SentenceTransformer, vectors: F32) -> Iterator[Finding]:
    kinds = [type(module).__name__ for module in model]
    mode = next((getattr(module, "pooling_mode", "") for module in model if type(module).__name__ == "Pooling"), "")
    if mode != "lasttoken" or set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        message = f"Not compared: this model is {', '.join(kinds)}{f' ({mode})' if mode else ''}, not a last token."
        yield Finding("raw", Status.PASS, message)
        return
    for side in ("left", "right"):
        apart = _apart(vectors, last_token_vectors(spec, TEXTS, "left" if side == "left" else "right"))
        message = f"transformers alone, padded {side}, with the last attended token: {apart:.1e} apart at most"
        if apart <= TOLERANCE:
            yield Finding(f"raw_{side}", Status.PASS, f"{message}.")
        else:
            remedy = "do not trust its vectors: pooling, padding or precision is not what its files say"
            yield Finding(f"raw_{side}", Status.FAIL, f"{message}; {TOLERANCE:.0e} is allowed.", remedy)


def _saved(spec: ModelSpec, model: SentenceTransformer, vectors: F32) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="harrier-studio-") as place:
        folder = Path(place) / "model"
        model.save_pretrained(str(folder), create_model_card=False)
        again = load_model(replace(spec, id_or_path=str(folder), revision=None))
        apart = _apart(vectors, _encoded(again, TEXTS))
        before, after = model_prompts(spec.id_or_path, spec.revision), model_prompts(str(folder))
    message = f"Saved and loaded again it gives vectors {apart:.1e} apart at most"
    if apart <= TOLERANCE:
        yield Finding("saved_again", Status.PASS, f"{message}.")
    else:
        yield Finding("saved_again", Status.FAIL, f"{message}.", "do not save it with these library versions")
    kept = {name: prompt for name, prompt in after.prompts.items() if prompt or name in before.prompts}
    if kept == dict(before.prompts) and after.default_prompt_name == before.default_prompt_name:
        yield Finding("saved_prompts", Status.PASS, f"The saved copy has its {len(kept)} prompts, byte for byte.")
    else:
        yield Finding("saved_prompts", Status.FAIL, "The saved copy has other prompts.", "write them anew after saving")


def _contract(spec: ModelSpec, contract: PromptContract, project: str) -> Finding:
    prompts = model_prompts(spec.id_or_path, spec.revision).prompts
    wanted = {"query": contract.query, "document": contract.document}
    wrong = [
        name
        for name, prompt in wanted.items()
        if prompts.get(name, "").encode("utf-8", "surrogatepass") != prompt.encode("utf-8", "surrogatepass")
    ]
    if not wrong:
        message = f"`query` and `document` are those of the contract, byte for byte ({contract.hash[:12]})."
        return Finding("contract", Status.PASS, message)
    told = "; ".join(
        f"`{name}` is {repr(prompts[name]) if name in prompts else 'not there'}, the contract says {wanted[name]!r}"
        for name in wrong
    )
    where = shlex.quote(project)
    if _trained_here(spec):
        remedy = "do not use it as it is: train it anew, or pass the prompt itself whenever you encode"
        return Finding("contract", Status.FAIL, f"Its prompts are not the contract's: {told}.", remedy)
    remedy = (
        f"`harrier-studio train --project {where}` saves the contract's prompts with the model that it trains; with "
        "this one pass the prompt itself whenever you encode, as the studio does"
    )
    message = f"This model was not trained with the contract, and its prompts are not the contract's: {told}."
    return Finding("contract", Status.WARN, message, remedy)


def _trained_here(spec: ModelSpec) -> bool:
    """Whether the studio trained a model: the tags of its card say so, in checkpoints too."""
    folder = locate(spec.id_or_path, spec.revision, weights=False)
    try:
        card = (folder / "README.md").read_text("utf-8", errors="replace")
    except OSError:
        return False
    head = card.split("\n---", 1)[0] if card.startswith("---") else ""
    return "- harrier-studio" in head.splitlines()
