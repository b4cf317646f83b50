"""Checks of a run's frozen data: columns as the model sees them, prompts, batches, leaks, lengths, amount."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from studio.errors import ConfigError
from studio.export.audit import MANIFEST
from studio.mining.batches import Drawn, draw_batches
from studio.project.project import Project
from studio.project.settings import PromptSettings
from studio.prompts.contract import PromptContract
from studio.prompts.prompted import find_prompted_rows
from studio.text.equal import equal_at
from studio.text.normalise import Level
from studio.text.safe import visible
from studio.training.data import Prepared, conflicts, judged, train_frame, train_rows
from studio.training.items import Item, failed, passed, warned
from studio.training.lengths import LABELS, Lengths
from studio.training.losses import LOSSES, check_losses
from studio.training.rows import BLANK
from studio.training.spec import RunSpec

_SHOWN = 60
_NAMED = 3
_ON_PASSAGES = 'write act_on = ["pair", "query", "passage"] below [checks.leakage] in studio.toml, then '
"""A rule acts on pairs and queries alone by default: several queries may well share a passage."""
_FEW = 500
_MANY_PROMPTED = 0.01
_MANY_CUT = 0.05
_HALF = 0.5


class Batches(NamedTuple):
    """What the sampler makes of the data: batches of an epoch, those of them that are full, and steps in all."""

    batches: int
    full: int
    left_over: int
    steps: int


class Tables(NamedTuple):
    """Frozen data as tables: by dataset what trains, and the texts of the test."""

    train: dict[str, pl.DataFrame]
    queries: pl.DataFrame
    corpus: pl.DataFrame
    qrels: pl.DataFrame

    @classmethod
    def of(cls, prepared: Prepared) -> Tables:
        """Read them.

        Raises:
            ProjectError: a file cannot be read.
        """
        train = {part.name: train_frame(prepared, part.name) for part in prepared.datasets}
        return cls(train, *judged(prepared))

    def texts(self) -> Iterator[tuple[str, pl.Series]]:
        """Every column of texts that trains, with its name."""
        for name, table in self.train.items():
            for column in table.columns:
                if column not in LABELS:
                    yield (f"{name}.{column}" if len(self.train) > 1 else column), table[column]


def columns(spec: RunSpec, prepared: Prepared, tables: Tables) -> Iterator[Item]:
    """Each dataset's first row as the model sees it, and whether the loss takes these columns."""
    try:
        check_losses(spec, [(part.name, part.shape, part.columns) for part in prepared.datasets])
    except ConfigError as error:
        yield failed("loss", " ".join(filter(None, (error.what, error.why))), error.remedy or "")
    else:
        names = dict.fromkeys(LOSSES[(part.loss or spec.loss).name].title for part in spec.data)
        yield passed("loss", f"{', '.join(names)} takes these columns.")
    contract = (spec.prompts or PromptSettings()).contract()
    for part in prepared.datasets:
        table = tables.train[part.name]
        seen = [
            f"{name} {_shown(contract.query if name == 'query' else contract.document, str(table[name][0]))}"
            if name not in LABELS
            else f"{name} {table[name][0]:g}"
            for name in (part.columns if table.height else ())
        ]
        message = f"{part.name} ({part.shape}, {part.rows:,} rows), row 1 as the model sees it: {' · '.join(seen)}"
        left = {reason: count for reason, count in part.left_out.items() if count}
        told = "; ".join(f"{count:,} {reason}" for reason, count in left.items())
        yield passed("columns", message + (f". Left out: {told}" if told else ""))


def empty(prepared: Prepared, tables: Tables) -> Iterator[Item]:
    """Texts without a letter: their vectors are those of the prompt, or of nothing, and can become NaN."""
    out = sum(part.left_out.get(BLANK, 0) for part in prepared.datasets)
    mend = "drop or mend these rows: `harrier-studio check` flags them in its check `quality`"
    found = [(name, _empty(texts)) for name, texts in tables.texts()]
    found += [("test queries", _empty(tables.queries["text"])), ("test passages", _empty(tables.corpus["text"]))]
    if told := ", ".join(f"{name} {count:,}" for name, count in found if count):
        yield failed("empty", f"Empty texts: {told}.", mend)
    elif out:
        yield warned("empty", f"{out:,} rows with an empty text are left out.", mend)
    else:
        yield passed("empty", "No text is empty.")


def prompts(project: Project, spec: RunSpec, tables: Tables) -> Iterator[Item]:
    """Whether mining, training, evaluation and the saved model have one contract, and no text carries a prompt."""
    own = project.settings.prompts.contract()
    contract = spec.prompts.contract() if spec.prompts else own
    others = [f"the project has {own.short_hash}"] if contract.hash != own.hash else []
    for part in spec.data:
        mined = _mined_hash(project.root / part.path) if part.kind == "mined" else ""
        if mined and mined != contract.hash:
            others.append(f"{part.name} was mined with {mined[:12]}")
    if others:
        message = f"The run's prompts ({contract.short_hash}) are not those used elsewhere: {'; '.join(others)}."
        yield warned("prompts", message, "meant as an ablation it is fine; else set the project's contract, mine again")
    else:
        message = f"One contract ({contract.short_hash}) for baseline, training, evaluation and the saved model."
        yield passed("prompts", message)
    queries = [table["query"] for table in tables.train.values()]
    asked = pl.concat([*queries, tables.queries["text"]])
    answers = [texts for name, texts in tables.texts() if not name.endswith("query")]
    passages = pl.concat([*(texts.rename("text") for texts in answers), tables.corpus["text"]])
    double = _prompted(asked, "query", contract) + _prompted(passages, "positive", contract)
    share = double / max(1, asked.len() + passages.len())
    if not double:
        yield passed("double_prompts", "No text carries a prompt of its own.")
        return
    message = f"{double:,} texts begin with a prompt, or hold one: they would be prompted twice."
    remedy = "let the check `prompt_lint` show them, and strip what is no part of the text"
    yield (failed if share >= _MANY_PROMPTED else warned)("double_prompts", message, remedy)


def duplicates(spec: RunSpec, prepared: Prepared, tables: Tables) -> tuple[Batches, list[Item]]:
    """Draw an epoch as the sampler would: how many batches there are, and how many rows find no place in one."""
    total = full = left = shared = 0
    items = []
    for part in prepared.datasets:
        draw = _drawing(spec, prepared, tables, part.name)
        drawn = draw(spec.batch.per_device, spec.devices.count > 1)
        total, full, left = total + len(drawn.batches), full + drawn.full, left + drawn.left_over
        if not drawn.full:
            items.append(_no_batch(spec, part.rows, part.name, draw))
        elif spec.devices.count > 1 and drawn.left_over:
            # With one process short batches train too: what is left over then is due to the rows alone.
            shared += draw(spec.batch.per_device, False).left_over
        else:
            shared += drawn.left_over
    in_batch = any(LOSSES[(part.loss or spec.loss).name].in_batch for part in spec.data)
    if spec.sampler.name == "random" and in_batch:
        message = "The random sampler lets equal texts and known answers meet, and the loss takes them for negatives."
        items.append(warned("batches", message, "set sampler.name = conflict_aware"))
    per_epoch = math.ceil(total / spec.devices.count / spec.batch.accumulation)
    epochs = math.ceil(per_epoch * spec.schedule.epochs)
    steps = spec.schedule.max_steps if spec.schedule.max_steps >= 0 else epochs
    told = f"{total:,} batches an epoch, {steps:,} steps in all; {left:,} rows find no place in an epoch"
    if full and left >= _MANY_CUT * prepared.rows:
        items.append(_left_over(spec, told, left, shared, prepared.rows))
    elif not items:
        items.append(passed("batches", f"{told}."))
    return Batches(total, full, left, steps), items


def _drawing(spec: RunSpec, prepared: Prepared, tables: Tables, name: str) -> Callable[[int, bool], Drawn]:
    """Return what draws an epoch of a dataset: by rows a batch, and whether all batches are full."""
    if spec.sampler.name == "random":
        count = tables.train[name].height
        return lambda size, whole: Drawn([[]] * math.ceil(count / size), count // size, 0)
    texts = [texts for column, texts in tables.train[name].to_dict().items() if column not in LABELS]
    held = conflicts(prepared)
    keys = (held if spec.sampler.name == "conflict_aware" else held.none()).keys(texts)
    gathered = spec.devices.count if any((part.loss or spec.loss).gather for part in spec.data) else 1
    return lambda size, whole: draw_batches(
        keys, size, (spec.seed, 0), drop_last=whole, across=gathered if whole else 1
    )


def _no_batch(spec: RunSpec, rows: int, name: str, draw: Callable[[int, bool], Drawn]) -> Item:
    message = f"Not one batch of {spec.batch.per_device:,} rows can be drawn: {name} has {rows:,} rows that train"
    message += "." if rows < spec.batch.per_device else ", and too many of them share texts or answers."
    sizes = (2**power for power in range(spec.batch.per_device.bit_length() - 1, 0, -1))
    fits = next((size for size in sizes if size < spec.batch.per_device and draw(size, True).full), 0)
    remedy = f"set batch.per_device = {fits}, or add rows" if fits else "add rows: not even two can be in one batch"
    return failed("batches", message, remedy)


def _left_over(spec: RunSpec, told: str, left: int, shared: int, rows: int) -> Item:
    """Tell why rows are in no batch: they share texts, or several processes take full batches only."""
    told, count = f"{told} ({left / rows:.0%})", spec.devices.count
    if 2 * shared >= left:
        message = f"{told}: too many rows share texts or answers for batches of {spec.batch.per_device}."
        return warned("batches", message, "decide duplicates, lower batch.per_device, or use more epochs")
    message = f"{told}: {count} processes take full batches only, and these rows fill none. Each epoch leaves others."
    return warned("batches", message, "lower batch.per_device, set devices.count = 1, or use more epochs")


def leakage(project: Project, prepared: Prepared, tables: Tables) -> Iterator[Item]:
    """Whether what is evaluated also trains: queries exactly (L2), the passages that answer them, and near ones."""
    asked = pl.concat([table["query"] for table in tables.train.values()])
    tested = tables.queries["text"]
    same = int(_among(tested, asked).sum())
    if same:
        message = f"{same:,} of {tested.len():,} test queries also train."
        rows = _rows_with(prepared, tables, "query", tested)
        yield failed("leakage", message, _set_aside(rows))
    answers = [texts for name, texts in tables.texts() if name.endswith("positive")]
    known = pl.concat([texts.rename("text") for texts in answers]) if answers else pl.Series([], dtype=pl.String)
    relevant = tables.qrels.join(tables.corpus, on="passage_id")
    shared = relevant.filter(_among(relevant["text"], known))["query_id"].n_unique()
    checked = any(stored.check == "leakage" for stored in project.fresh_evidence())
    if shared:
        rows = _rows_with(prepared, tables, "positive", relevant["text"])
        message = (
            f"{shared:,} of {tested.len():,} test queries have an answer that is a training positive "
            f"({rows.lines:,} training rows): scores may flatter."
        )
        yield warned("leakage", message, _set_aside(rows, _ON_PASSAGES))
    elif not checked:
        message = "No test query and no passage that answers one is in training, letter by letter."
        remedy = "the check `leakage` has not been run: it also finds near-duplicates on both sides"
        yield warned("leakage", message, remedy)
    elif not same:
        yield passed("leakage", "No test query and no passage that answers one is in training.")


class _Rows(NamedTuple):
    """How many lines train, and the rows of the project that they are of."""

    lines: int
    ids: list[str]


def _rows_with(prepared: Prepared, tables: Tables, column: str, texts: pl.Series) -> _Rows:
    """The lines whose text in a column is equal at L2 to one of these."""
    count, ids = 0, []
    for name, table in tables.train.items():
        if column in table.columns:
            found = _among(table[column], texts)
            count += int(found.sum())
            ids += train_rows(prepared, name).filter(found).drop_nulls().to_list()
    return _Rows(count, list(dict.fromkeys(ids)))


def _set_aside(rows: _Rows, setting: str = "") -> str:
    """What takes rows out of training: a person, or a rule; `setting` is what it needs in studio.toml."""
    if not rows.ids:
        return "take these rows out of the files that they come from: they are no rows of the project"
    shown = " ".join(f"--drop {row}" for row in rows.ids[:_NAMED])
    more = f" …` ({len(rows.ids):,} rows)" if len(rows.ids) > _NAMED else "`"
    return (
        f"drop them: `harrier-studio decide {shown}{more}; or let the rule set them and their likes aside: "
        f"{setting}`harrier-studio check leakage`, then `harrier-studio decide --auto`"
    )


def truncation(spec: RunSpec, lengths: Lengths, positions: int | None) -> Iterator[Item]:
    """How much is cut at the run's maximum length."""
    limit = spec.model.max_length
    if positions is not None and limit > positions:
        yield failed("max_length", f"The model reads {positions:,} tokens, not {limit:,}.", f"use at most {positions}")
    cuts = [cut for cut in lengths.cuts() if cut.share > 0]
    of = "a sample of the texts" if lengths.sampled else "the texts"
    if not cuts:
        yield passed("truncation", f"Nothing of {of} is cut at {limit:,} tokens (longest: {lengths.longest:,}).")
        return
    told = ", ".join(f"{cut.column} {cut.share:.1%} (losing {cut.lost:.0%} of their tokens)" for cut in cuts)
    worst = max(cut.share for cut in cuts)
    message = f"At {limit:,} tokens these are cut: {told}; the longest has {lengths.longest:,}."
    if worst < _MANY_CUT:
        yield passed("truncation", message)
        return
    remedy = f"raise model.max_length (memory follows), or split long passages; {lengths.longest:,} cuts nothing"
    prompt_alone = worst > _HALF and any(cut.column.endswith("queries") for cut in cuts if cut.share > _HALF)
    yield (failed if prompt_alone else warned)("truncation", message, remedy)


def amount(spec: RunSpec, prepared: Prepared) -> Item:
    """Whether there are enough rows to hope for anything."""
    if spec.schedule.max_steps == 0:
        return passed("rows", f"{prepared.queries:,} queries are evaluated; nothing is trained.")
    message = (
        f"{prepared.rows:,} training rows, {prepared.queries:,} test queries among {prepared.passages:,} passages."
    )
    if prepared.rows < _FEW:
        remedy = (
            "with fewer than 500 pairs try first what needs no training: an instruction that names the task (row E of "
            "the matrix), BM25 beside the encoder, a reranker. Then label more pairs; what is gained from so few "
            "rows is often chance, so look at the interval of the verdict and at other seeds"
        )
        return warned("rows", message, remedy)
    return passed("rows", message)


def _shown(prompt: str, text: str) -> str:
    whole = prompt + text
    return f"“{visible(whole, len(prompt) + _SHOWN)}”"


def _empty(texts: pl.Series) -> int:
    return int((texts.fill_null("").str.strip_chars().str.len_chars() == 0).sum())


def _prompted(texts: pl.Series, column: str, contract: PromptContract) -> int:
    """How many of the texts carry a prompt; each text counts once."""
    unique = texts.drop_nulls().unique(maintain_order=True)
    ids = pl.Series("row_id", range(unique.len()), dtype=pl.Int64).cast(pl.String)
    none = pl.Series([""] * unique.len(), dtype=pl.String)
    frame = pl.DataFrame({"row_id": ids, "query": none, "positive": none}).with_columns(
        unique.alias(column), pl.lit([], dtype=pl.List(pl.String)).alias("negatives")
    )
    return find_prompted_rows(frame, contract)["row_id"].n_unique()


def _among(texts: pl.Series, others: pl.Series) -> pl.Series:
    """Which of the texts are equal at L2 to one of the others."""
    numbers = equal_at(pl.concat([texts.rename("text"), others.rename("text")]), Level.SURFACE)
    return numbers.head(texts.len()).is_in(numbers.tail(others.len()).implode())


def _mined_hash(folder: Path) -> str:
    """The hash of the contract that a folder was mined with; "" where it does not say."""
    try:
        return str(json.loads((folder / MANIFEST).read_text("utf-8"))["prompts"]["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
