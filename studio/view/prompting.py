"""What the model would read of a row, and what is to be said of a prompt contract and of the data under it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl

from studio.errors import ConfigError, StudioError, UsageError
from studio.models.tokenizer import StudioTokenizer, load_tokenizer, model_prompts
from studio.project.curate import Status
from studio.project.project import Project
from studio.project.settings import PromptSettings
from studio.prompts.contract import PromptContract, Role
from studio.prompts.lint import Lint, ModelPrompts, lint_contract
from studio.prompts.presets import PRESETS, Preset
from studio.prompts.preview import TextPreview, preview_rows, preview_text
from studio.prompts.prompted import find_prompted_rows
from studio.sample import model_location
from studio.view.bench import Bench
from studio.view.evidence import remembered
from studio.view.tokens import read_tokens

_COLUMNS = ("query", "positive")
_FOUND_KEPT = 4
_PROBE = "uma pergunta de teste"


@dataclass(frozen=True, slots=True)
class RowPrompt:
    """One row as the model reads it under a contract.

    Attributes:
        position, row_id: which row. `status`: what became of it (a `Status`).
        contract: the hash of the contract. `model`, `max_length`: whose tokenizer, and where it cuts.
        cut_side: the side on which a text that is too long loses tokens.
        special_ids: the ids of the model's special tokens.
        doubts: why the ids may differ from the trainer's; empty for Harrier.
        texts: query, positive, then the negatives in order, with the texts as they are curated.
    """

    position: int
    row_id: str
    status: str
    contract: str
    model: str
    max_length: int
    cut_side: Literal["left", "right"]
    special_ids: frozenset[int]
    doubts: tuple[str, ...]
    texts: tuple[TextPreview, ...]


@dataclass(frozen=True, eq=False, slots=True)
class PromptedRows:
    """Kept rows whose texts carry a prompt already.

    `reason`: a `PromptReason`; `texts`: how many texts; `positions`: of their rows, ascending (uint32); `example`: the
    prefix that was found most often, as written.
    """

    reason: str
    texts: int
    positions: np.ndarray
    example: str


@dataclass(frozen=True, eq=False, slots=True)
class Truncation:
    """How one column of the kept rows fares at the maximum length.

    `rows`: kept rows. `lost`: tokens that are not read. `positions`: of the rows that are cut, ascending (uint32).
    """

    column: str
    rows: int
    lost: int
    positions: np.ndarray

    @property
    def share(self) -> float:
        """The part of the kept rows that is cut, from 0 to 1."""
        return len(self.positions) / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Use:
    """One use of the contract: whether it takes the very same strings; None when that could not be compared."""

    name: str
    equal: bool | None
    detail: str


@dataclass(frozen=True, eq=False, slots=True)
class ContractReport:
    """What is to be said of a contract.

    Attributes:
        hash, short_hash: of the two strings.
        model, max_length: of the project's model, and the limit in tokens.
        lints: about the strings and how they fit the model, worst first.
        rows: kept rows, which `prompted` and `truncation` are about.
        prompted: rows that carry a prompt already, by reason.
        counted: whether tokens were counted with this contract, with another one (`other`: that of the project, whose
            counts do not hold here), or not at all (`none`).
        truncation: one a column, empty unless `counted` is `this`. Negatives are not counted.
        edited: kept rows whose texts are others than the imported ones, which were counted.
        uses: every use of the contract, compared.
        own: the model's own prompts, None when they cannot be read; `model_error` then says why.
        presets: the studio's presets.
    """

    hash: str
    short_hash: str
    model: str
    max_length: int
    lints: tuple[Lint, ...]
    rows: int
    prompted: tuple[PromptedRows, ...]
    counted: Literal["this", "other", "none"]
    truncation: tuple[Truncation, ...]
    edited: int
    uses: tuple[Use, ...]
    own: ModelPrompts | None
    model_error: str | None
    presets: tuple[Preset, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two strings begin to differ: `byte` in UTF-8 and `character`, both from 0."""

    byte: int
    character: int


def prompt(
    bench: Bench, position: int, query: str, document: str, max_length: int, model: str | None = None
) -> RowPrompt:
    """Show one row, as it is curated, the way the model reads it.

    Args:
        bench: the project.
        position: the row.
        query: the prompt before queries.
        document: the prompt before the passage and the negatives.
        max_length: tokens a text is cut at, special tokens included.
        model: a folder, a hub id or `harrier-tiny`; the project's own when None.

    Raises:
        UsageError: there is no such row.
        ConfigError: a prompt is no text, or `max_length` leaves no room.
        InputError: the model or a text of the row cannot be used.
        UnavailableError: the model is out of reach.
    """
    contract = PromptContract.custom(query, document)
    if not 0 <= position < bench.rows.height:
        raise UsageError(f"There is no row {position + 1:,}.", why=f"rows are 1 to {bench.rows.height:,}")
    model = model or bench.project.settings.model.id
    tokenizer = _tokenizer(model_location(model))
    row = bench.curated()[position]
    [preview] = preview_rows(row, contract, tokenizer, max_length)
    return RowPrompt(
        position,
        preview.row_id,
        row["status"][0],
        contract.hash,
        model,
        max_length,
        tokenizer.truncation_side,
        tokenizer.special_ids,
        tokenizer.doubts,
        preview.texts,
    )


def contract_report(bench: Bench, query: str, document: str, max_length: int) -> ContractReport:
    """Say what there is to say of a contract: faults, rows that carry a prompt, truncation, uses.

    A model that cannot be reached is no error here: what needs it is left out, and `model_error` says so.

    Raises:
        ConfigError: a prompt is no text, or studio.toml is wrong.
    """
    contract = PromptContract.custom(query, document)
    model = bench.project.settings.model.id
    own: ModelPrompts | None = None
    model_error: str | None = None
    try:
        own = model_prompts(model_location(model))
    except StudioError as error:
        model_error = str(error)
    curated = bench.curated()
    counted, truncation = _truncation(bench, contract, max_length)
    return ContractReport(
        contract.hash,
        contract.short_hash,
        model,
        max_length,
        tuple(lint_contract(contract, own)),
        int((curated["status"] != Status.REMOVED.value).sum()),
        _prompted(bench, contract),
        counted,
        truncation,
        _edited(bench),
        _uses(bench, contract, own, model_error, max_length),
        own,
        model_error,
        tuple(PRESETS.values()),
    )


def first_difference(one: str, other: str) -> Difference | None:
    """Where two strings begin to differ; None when they are equal."""
    if one == other:
        return None
    # Two different characters may share their first bytes, so bytes are compared on their own.
    return Difference(
        _shared(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")), _shared(one, other)
    )


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    return next(
        (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )


@lru_cache(maxsize=4)
def _tokenizer(location: str) -> StudioTokenizer:
    return load_tokenizer(location)


# Rows that carry a prompt


def _prompted(bench: Bench, contract: PromptContract) -> tuple[PromptedRows, ...]:
    """Search what was changed anew, and take what is known of the rest; removed rows do not count."""
    curated = bench.curated()
    changed = curated.filter(pl.col("status").is_in([Status.EDITED.value, Status.MOVED.value]))
    unchanged = curated.filter(pl.col("status") == Status.KEPT.value).select("row_id")
    found = pl.concat(
        [
            _prompted_as_imported(bench, contract).join(unchanged, on="row_id", how="semi", maintain_order="left"),
            find_prompted_rows(changed, contract),
        ]
    ).join(bench.places, on="row_id", how="left", maintain_order="left")
    result = []
    for (reason,), rows in found.group_by("reason", maintain_order=True):
        positions = rows["position"].unique().sort().to_numpy()
        common = rows["prefix"].value_counts(sort=True)["prefix"][0]
        result.append(PromptedRows(str(reason), rows.height, positions, str(common)))
    return tuple(sorted(result, key=lambda each: (-each.texts, each.reason)))


def _prompted_as_imported(bench: Bench, contract: PromptContract) -> pl.DataFrame:
    """Prompted texts among the imported rows: the search takes seconds at a million, and a decision changes few."""
    return remembered(
        bench, "prompted rows", contract.hash, lambda: find_prompted_rows(bench.rows, contract), keep=_FOUND_KEPT
    )


# Truncation


def _truncation(
    bench: Bench, contract: PromptContract, max_length: int
) -> tuple[Literal["this", "other", "none"], tuple[Truncation, ...]]:
    project = bench.project
    settings = PromptSettings(query=contract.query, document=contract.document, origin="custom")
    # Counts are kept by contract, so those of a contract that was the project's once still hold.
    this = Project(project.root, project.settings.model_copy(update={"prompts": settings}))
    counts = read_tokens(this)
    if counts is None or counts.height != bench.rows.height:
        return ("none" if read_tokens(project) is None else "other"), ()
    kept = (bench.curated()["status"] != Status.REMOVED.value).to_numpy()
    result = []
    for column in _COLUMNS:
        over = np.maximum(counts[column].to_numpy().astype(np.int64) - max_length, 0) * kept
        result.append(Truncation(column, int(kept.sum()), int(over.sum()), np.flatnonzero(over).astype(np.uint32)))
    return "this", tuple(result)


def _edited(bench: Bench) -> int:
    """Kept rows with another query or passage than was imported."""
    both = bench.curated().select("status", *_COLUMNS)
    differs = pl.lit(value=False)
    for column in _COLUMNS:
        differs = differs | (pl.col(column) != pl.col(f"imported_{column}"))
    imported = bench.rows.select(pl.col(column).alias(f"imported_{column}") for column in _COLUMNS)
    return (
        pl.concat([both, imported], how="horizontal")
        .filter((pl.col("status") != Status.REMOVED.value) & differs)
        .height
    )


# Uses


def _uses(
    bench: Bench, contract: PromptContract, own: ModelPrompts | None, model_error: str | None, max_length: int
) -> tuple[Use, ...]:
    return (
        _use_of_settings(bench, contract),
        _use_of_trainer(bench, contract),
        _use_of_model(contract, own, model_error),
        _use_of_preview(bench, contract, max_length),
        _use_of_manifest(contract),
    )


def _use_of_settings(bench: Bench, contract: PromptContract) -> Use:
    """studio.toml as it is on disk: what check, tokens and export take."""
    saved = Project.open(bench.project.root).settings.prompts.contract()
    if saved.hash == contract.hash:
        return Use("studio.toml", True, "checks, token counts and exports take these very strings")
    return Use("studio.toml", False, f"checks, token counts and exports take {saved.short_hash} until this is saved")


def _use_of_trainer(bench: Bench, contract: PromptContract) -> Use:
    most = bench.rows["negatives"].list.len().max()
    negatives = [f"negative_{at}" for at in range(1, (most if isinstance(most, int) else 0) + 1)]
    columns = {Role.QUERY: ["query"], Role.DOCUMENT: ["positive", *negatives]}
    taken = contract.as_trainer_prompts(columns)
    equal = all(
        taken.get(column, "") == contract.prompt(role) for role, names in columns.items() for column in names
    ) and set(taken) <= {name for names in columns.values() for name in names}
    named = ", ".join(taken) or "no column"
    return Use("trainer", equal, f"the training arguments put a prompt before: {named}")


def _use_of_model(contract: PromptContract, own: ModelPrompts | None, model_error: str | None) -> Use:
    if own is None:
        return Use("saved model", None, f"the model cannot be read: {(model_error or '').splitlines()[0]}")
    saved = contract.as_model_prompts(own.prompts)
    equal = all(saved.get(role.value) == contract.prompt(role) for role in Role)
    kept = [name for name in own.prompts if name not in set(Role)]
    beside = f"; beside them it keeps {', '.join(kept)}" if kept else ""
    return Use("saved model", equal, f"`query` and `document` are written on the model when it is saved{beside}")


def _use_of_preview(bench: Bench, contract: PromptContract, max_length: int) -> Use:
    """Tokenise a probe, and compare the string that was tokenised."""
    try:
        tokenizer = _tokenizer(model_location(bench.project.settings.model.id))
        raws = {role: preview_text(_PROBE, contract, role, tokenizer, max_length).raw for role in Role}
    except StudioError as error:
        return Use("preview", None, f"there is no preview: {error.what}")
    equal = all(raw == contract.prompt(role) + _PROBE for role, raw in raws.items())
    return Use("preview", equal, "the tokens shown here are made of these very strings")


def _use_of_manifest(contract: PromptContract) -> Use:
    """What an export writes down, read back as whoever reads it would."""
    try:
        back = PromptContract.from_dict(json.loads(json.dumps(contract.to_dict(), ensure_ascii=False)))
    except ConfigError as error:
        return Use("manifest", False, f"an export's manifest would not be read back: {error.what}")
    return Use("manifest", back.hash == contract.hash, f"an export writes down both strings and {contract.short_hash}…")
