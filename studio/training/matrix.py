"""The experiment matrix: one run for each question worth asking first, each differing from the base in one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.errors import InputError, UsageError
from studio.export.audit import MANIFEST
from studio.mining.mined import KIND, Form
from studio.prompts.contract import PromptContract, nearest
from studio.training.losses import CACHED, LOSSES
from studio.training.presets import prompts_named
from studio.training.spec import RunSpec, changed

LETTERS = {
    "B": "zero-shot",
    "C": "learning rate",
    "D": "no prompt",
    "E": "Portuguese instruction",
    "F": "large batches",
    "G": "hard negatives",
    "H": "length",
}
"""A row's letter → its question. The base itself is the middle row of C."""
_RATES = (0.6, 1.0, 2.0)
_BATCHES = (256, 512, 1024)
_LENGTHS = (512, 1024, 2048, 4096, 8192)
_INSTRUCTION = "portuguese_qa"


@dataclass(frozen=True)
class MatrixFacts:
    """What decides which rows can differ from the others.

    Attributes:
        rows: training rows of the base.
        prompts: the project's contract, which a spec without prompts has.
        longest: tokens of the longest text that trains or is evaluated, prompt included; None: not known.
        positions: tokens the model can read; None: not known.
        mined: folder of mined hard negatives, relative to the project; "": there is none.
        negatives: hard negatives a row of that folder.
    """

    rows: int
    prompts: PromptContract
    longest: int | None = None
    positions: int | None = None
    mined: str = ""
    negatives: int = 0


@dataclass(frozen=True)
class MatrixRow:
    """One run of the matrix. `changes`: dotted key → value, from the base. `skipped`: why it is not run, or ""."""

    name: str
    letter: str
    why: str
    changes: Mapping[str, Any]
    spec: RunSpec
    skipped: str = ""


@dataclass(frozen=True)
class _Asked:
    name: str
    why: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""


def matrix(base: RunSpec, facts: MatrixFacts, letters: Sequence[str] = tuple(LETTERS)) -> list[MatrixRow]:
    """Return the rows of the matrix around a base, in the order of their letters.

    B measures the model as it is; C tries 0.6, 1 and 2 times the base's learning rate (3e-6, 5e-6 and 1e-5 around
    5e-6); D has no prompt; E an instruction that names Portuguese; F CachedMNRL with 256, 512 and 1,024 rows; G mined
    hard negatives; H 512 to 8,192 tokens. A row that could not differ from another is there with the reason.

    Args:
        base: what every row changes one thing of.
        facts: see `MatrixFacts`.
        letters: which rows.

    Raises:
        UsageError: there is no row of that letter.
        ConfigError: a change cannot be made to this base.
    """
    if unknown := next((letter for letter in letters if letter not in LETTERS), None):
        raise UsageError(f"The matrix has no row {unknown!r}.", remedy=nearest(unknown, list(LETTERS)))
    asked = [*_zero_shot(), *_rates(base), *_prompts(base, facts), *_batches(base, facts), *_hard(base, facts)]
    asked += _lengths(base, facts)
    return [_row(base, one) for one in asked if one.name[0] in letters]


def newest_mined(root: Path) -> tuple[str, int]:
    """Return the newest folder that `mine` wrote below a project, relative to it, and its negatives a row; or "", 0.

    Folders of the scored form are passed over: their rows are lists, for rerankers.
    """
    found: list[tuple[float, str, int]] = []
    for manifest in (root / "mined").glob(f"*/{MANIFEST}"):
        try:
            document = json.loads(manifest.read_text("utf-8"))
            if document["kind"] != KIND or document["form"] == Form.SCORED:
                continue
            negatives = 1 if document["form"] == Form.TRIPLET else int(document["settings"]["negatives"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "A folder of mined negatives cannot be read.",
                where=str(manifest),
                why=f"{type(error).__name__}: {error}",
                remedy="mine again into that folder, or move it away",
            ) from error
        found.append((manifest.stat().st_mtime, manifest.parent.relative_to(root).as_posix(), negatives))
    return max(found)[1:] if found else ("", 0)


def _row(base: RunSpec, asked: _Asked) -> MatrixRow:
    spec = changed(base, {**asked.changes, "why": asked.why}, f"row {asked.name} of the matrix")
    return MatrixRow(asked.name, asked.name[0], asked.why, asked.changes, spec, asked.skipped)


def _zero_shot() -> Iterator[_Asked]:
    yield _Asked("B-zero-shot", "The model as it is: what every gain is counted from.", {"schedule.max_steps": 0})


def _rates(base: RunSpec) -> Iterator[_Asked]:
    for factor in _RATES:
        rate = float(f"{base.optimiser.lr * factor:.6g}")
        why = "The base itself." if factor == 1 else f"{factor:g} times the base's learning rate."
        yield _Asked(f"C-{_short(rate)}", why, {} if factor == 1 else {"optimiser.lr": rate})


def _prompts(base: RunSpec, facts: MatrixFacts) -> Iterator[_Asked]:
    own = base.prompts.contract() if base.prompts else facts.prompts
    for name, preset, why, same in (
        (
            "D-no-prompt",
            "none",
            "No prompt, in training as in evaluation: what the prompt is worth.",
            "the base has no prompt either",
        ),
        (
            "E-portuguese-instruction",
            _INSTRUCTION,
            "An instruction that names the language and the task, in English as Harrier's are.",
            "the base has this very prompt",
        ),
    ):
        prompts = prompts_named(preset)
        equal = (prompts["query"], prompts["document"]) == (own.query, own.document)
        yield _Asked(name, why, {"prompts": prompts}, same if equal else "")


def _batches(base: RunSpec, facts: MatrixFacts) -> Iterator[_Asked]:
    about = LOSSES[base.loss.name]
    cached = CACHED.get(base.loss.name, base.loss.name)
    across = base.devices.count if base.loss.gather else 1
    for size in _BATCHES:
        skipped = ""
        if not about.in_batch:
            skipped = f"{about.title} takes no negatives from the batch"
        elif size > facts.rows:
            skipped = f"there are {facts.rows:,} training rows, not one such batch"
        elif size == base.batch.per_device * across and base.batch.accumulation == 1:
            skipped = "the base has this batch"
        changes = {"batch.per_device": size // across, "batch.accumulation": 1} | (
            {"loss.name": cached.value} if about.in_batch else {}
        )
        why = f"{size:,} rows in one batch in mini-batches of {base.loss.mini_batch_size}: more negatives a query, at "
        yield _Asked(f"F-batch-{size}", why + "the base's learning rate and in fewer steps.", changes, skipped)


def _hard(base: RunSpec, facts: MatrixFacts) -> Iterator[_Asked]:
    why = "Mined hard negatives: passages that look right and are not."
    mined = {"name": "mined", "kind": "mined", "path": facts.mined, "negatives": facts.negatives}
    if not facts.mined:
        skipped = "there are none yet: look through false negatives, then run `harrier-studio mine`"
        yield _Asked("G-hard-negatives", why, {}, skipped)
    elif any(part.kind == "mined" for part in base.data):
        yield _Asked("G-hard-negatives", why, {}, "the base trains on mined negatives already")
    elif not LOSSES[base.loss.name].in_batch:
        skipped = f"{LOSSES[base.loss.name].title} does not take them as columns"
        yield _Asked("G-hard-negatives", why, {}, skipped)
    else:
        yield _Asked("G-hard-negatives", why, {"data": [mined]})


def _lengths(base: RunSpec, facts: MatrixFacts) -> Iterator[_Asked]:
    longest = facts.longest if facts.longest is not None else max(_LENGTHS)
    reached = {min(longest, base.model.max_length)}
    for length in _LENGTHS:
        skipped = ""
        if length == base.model.max_length:
            skipped = "the base has this length"
        elif facts.positions is not None and length > facts.positions:
            skipped = f"the model reads {facts.positions:,} tokens"
        elif min(longest, length) in reached:
            skipped = f"no text is longer than {min(longest, length):,} tokens: nothing would differ"
        reached.add(min(longest, length))
        why = f"Texts cut at {length:,} tokens instead of {base.model.max_length:,}."
        yield _Asked(f"H-length-{length}", why, {"model.max_length": length}, skipped)


def _short(rate: float) -> str:
    """A learning rate as people write it: 5e-6, not 5e-06."""
    mantissa, _, exponent = f"{rate:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
