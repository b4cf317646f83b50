"""`preview` and `doctor`: what the model will read, and whether model and installation are sound."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import polars as pl
import typer

from studio import __version__
from studio.cli.output import emit, emit_json, emit_table, say
from studio.errors import ExitCode, StudioError, UsageError
from studio.models.doctor import Status, examine, versions
from studio.models.golden import golden
from studio.models.load import Dtype, model_spec
from studio.models.tokenizer import load_tokenizer, model_prompts
from studio.project.project import Project
from studio.project.user import user_settings_path
from studio.prompts.contract import PromptContract
from studio.prompts.lint import lint_contract
from studio.prompts.presets import get_preset
from studio.prompts.preview import RowPreview, TextPreview, preview_rows
from studio.sample import TINY_MODEL, model_location, sample_data

_DEFAULT_SAMPLE = 3


def preview(
    root: Path,
    rows: str | None,
    sample: int | None,
    model: str | None,
    max_length: int | None,
    prompt: str | None,
    as_json: bool,
) -> None:
    """`preview`."""
    if rows and sample:
        raise UsageError("--rows and --sample cannot be asked for at once.")
    project = Project.open(root)
    chosen = _chosen(project.curated().rows, rows, sample)
    contract = get_preset(prompt).contract() if prompt else project.settings.prompts.contract()
    model_id = model or project.settings.model.id
    limit = max_length or project.settings.model.max_length
    location = model_location(model_id)
    previews = preview_rows(chosen, contract, load_tokenizer(location), limit)
    lints = lint_contract(contract, model_prompts(location))
    if as_json:
        emit_json(
            {
                "contract": contract.to_dict(),
                "model": model_id,
                "lints": [asdict(lint) for lint in lints],
                "rows": [row.to_dict() for row in previews],
            }
        )
        return
    _emit_contract(contract, model_id, limit)
    for lint in lints:
        say(f"{lint.severity}: {lint.message.rstrip('.')}; to do: {lint.remedy}")
    for number, row in zip(chosen["number"], previews, strict=True):
        emit()
        _emit_row(number, row)


def _chosen(rows: pl.DataFrame, asked: str | None, sample: int | None) -> pl.DataFrame:
    """The rows asked for, in the order asked, with their `number` from 1."""
    rows = rows.with_row_index("number", offset=1)
    if asked is None:
        count = min(sample or _DEFAULT_SAMPLE, rows.height)
        return rows[[i * rows.height // count for i in range(count)]]
    index = {row_id: number for number, row_id in rows.select("number", "row_id").iter_rows()}
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in asked.split(","))):
        low, dash, high = part.partition("-")
        if part in index:
            numbers.append(index[part])
        elif low.isdecimal() and (high.isdecimal() if dash else True):
            numbers += range(int(low), int(high or low) + 1)
        else:
            raise UsageError(f"`{part}` is no row number, range or row_id.", remedy="for example: --rows 1,5,10-12")
    outside = [number for number in numbers if not 1 <= number <= rows.height]
    if outside or not numbers:
        raise UsageError(f"There is no row {outside[0] if outside else asked!r}.", why=f"rows are 1 to {rows.height}")
    return rows[[number - 1 for number in numbers]]


def _emit_contract(contract: PromptContract, model_id: str, limit: int) -> None:
    from studio.prompts.visible import visible

    emit(f"contract {contract.short_hash}, from {contract.origin.kind} {contract.origin.name}")
    emit(f"  query     {visible(contract.query) or '(none)'}")
    emit(f"  document  {visible(contract.document) or '(none)'}")
    emit(f"model {model_id}, {limit} tokens at most")


def _emit_row(number: int, row: RowPreview) -> None:
    emit(f"row {number} ({row.row_id})")
    for text in row.texts:
        _emit_text(text, row.max_length)


def _emit_text(text: TextPreview, limit: int) -> None:
    name = text.column if text.index is None else f"{text.column}[{text.index}]"
    counts = f"{text.tokens_after} of {limit} tokens"
    if text.tokens_lost:
        counts += f", {text.tokens_lost} lost: cut at character {text.cut_at} of {len(text.raw)}"
    emit(f"  {name}: {counts}")
    emit(f"    reads   {text.visible}")
    emit(f"    tokens  {' '.join(text.tokens)}")
    emit(f"    ids     {' '.join(map(str, text.ids))}")
    last = "yes" if text.eos_is_last else "NO: another token is pooled"
    emit(f"    pooled  position {text.pooled_position}: {text.pooled_token}; end of sequence is last: {last}")
    if text.prompt_merged:
        emit("    note    one token holds the end of the prompt and the start of the text")
    if text.special_in_text:
        emit(f"    note    {text.special_in_text} special tokens are written out in the text itself")


def doctor(
    model: str | None,
    max_length: int,
    dtype: Dtype,
    device: str | None,
    trust_remote_code: bool,
    with_golden: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """`doctor`: the installation, and the model that is named, the project's, or the embedded one, as it is loaded."""
    if project is not None and not with_golden:
        raise UsageError("--project belongs to --golden.", remedy="add --golden: it compares the prompts")
    settings = Project.open(project).settings if project else None
    contract = settings.prompts.contract() if settings else None
    model = model or (settings.model.id if settings else TINY_MODEL)
    spec = model_spec(
        model_location(model),
        max_length=max_length,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    say(f"loading {model} …")
    items = [*_installation(), *(asdict(finding) for finding in examine(spec))]
    if with_golden:
        items += [asdict(finding) for finding in golden(spec, contract, str(project))]
    if as_json:
        emit_json({"version": __version__, "versions": versions(), "findings": items})
    else:
        emit_table(("package", "version"), [("harrier-studio", __version__), *versions().items()])
        emit()
        emit_table(("status", "what", "found"), [(i["status"], i["code"], i["message"]) for i in items])
        for item in items:
            if item["remedy"] and item["status"] != Status.PASS:
                say(f"{item['code']}: {item['remedy']}")
    if any(item["status"] == Status.FAIL for item in items):
        raise typer.Exit(ExitCode.FINDINGS)


def _installation() -> list[dict[str, str]]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    items = [
        _item("python", Status.PASS, f"{sys.version.split()[0]} at {sys.executable}"),
        _item("disk", Status.PASS if free > 1 else Status.WARN, f"{free:.1f} GiB free here", "free some space"),
        _item("settings", Status.PASS, f"your settings: {user_settings_path()}"),
    ]
    try:
        items.append(_item("sample", Status.PASS, f"sample data at {sample_data()}"))
    except StudioError as error:
        items.append(_item("sample", Status.FAIL, error.what, error.remedy or ""))
    return items


def _item(code: str, status: Status, message: str, remedy: str = "") -> dict[str, str]:
    return {"code": code, "status": status, "message": message, "remedy": remedy}
