"""The form over a run spec: every setting with its value, where that comes from, why, and what else it may be."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from studio.errors import UsageError
from studio.project.settings import PromptSettings
from studio.prompts.presets import PRESETS as PROMPTS
from studio.text.safe import visible
from studio.training.losses import LOSSES
from studio.training.reasons import reason
from studio.training.spec import DataPart, LoraPart, LossName, LossPart, RunSpec, changed

_HIDDEN = ("format", "preset")
"""What a person never sets."""
_GENERAL = "run"
"""Section of the settings that belong to no part."""
_PLACED = {"prompts": ("prompts", "contract"), "lora": ("lora", "adapters"), "rows": ("data", "rows")}
"""Settings that stand in another section than their key says."""
NOTHING = "–"
"""How a setting without a value is shown."""
_PROMPT_LETTERS = 60


class Origin(StrEnum):
    """Where the value of a setting comes from."""

    DEFAULT = "default"
    PRESET = "preset"
    YOURS = "yours"


class Offer(NamedTuple):
    """One value that a setting may have: as it is given to `edited`, in words, and why."""

    value: Any
    words: str
    remark: str


class Setting(NamedTuple):
    """One line of the form.

    `key`: as in `--set`. `name`: its last part. `value`, `preset`, `default`: in words, as it is, as the preset has
    it, and as every run has it. `why`: of the default. `offers`: what it may be; none: it is typed, and `typed` is
    what stands in the input to begin with. `kind`: in words, what may be typed. `used`: whether the loss chosen
    knows it.
    """

    key: str
    section: str
    name: str
    value: str
    preset: str
    default: str
    origin: Origin
    why: str
    offers: tuple[Offer, ...]
    typed: str
    kind: str
    used: bool


def settings(spec: RunSpec, preset: RunSpec) -> list[Setting]:
    """Every setting of a run, in order.

    Args:
        spec: the run.
        preset: what it was made from.
    """
    return [
        _setting(key, annotation, spec, preset)
        for key, annotation in _keys(spec, "")
        if key.split(".")[0] not in _HIDDEN
    ]


def edited(spec: RunSpec, key: str, value: Any) -> RunSpec:
    """The spec with a setting as it was typed or chosen.

    Args:
        spec: the run.
        key: of the setting, as in `Setting.key`.
        value: the value of an offer, or what was typed: numbers in digits, lists with commas, nothing for none.

    Raises:
        ConfigError: it cannot be that.
    """
    annotation = dict(_keys(spec, ""))[key]
    return changed(spec, {key: _read(value, annotation) if isinstance(value, str) else value}, "the form")


def with_data(spec: RunSpec) -> RunSpec:
    """The spec with one dataset more, for a file of mined hard negatives or another file."""
    names = {part.name for part in spec.data}
    name = next(name for number in range(1, len(names) + 2) if (name := f"more{number}") not in names)
    parts = [*spec.data, DataPart(name=name, kind="mined")]
    return changed(spec, {"data": [part.model_dump(mode="json") for part in parts]}, "the form")


def without_data(spec: RunSpec, number: int) -> RunSpec:
    """The spec without a dataset.

    Raises:
        UsageError: it is the only one.
    """
    if len(spec.data) == 1:
        raise UsageError("A run needs a dataset.", remedy="change this one instead")
    parts = [part.model_dump(mode="json") for at, part in enumerate(spec.data) if at != number]
    return changed(spec, {"data": parts}, "the form")


def dataset_of(key: str) -> int:
    """The number of the dataset that a setting belongs to; the last for one of no dataset."""
    parts = key.split(".")
    return int(parts[1]) if parts[0] == "data" and len(parts) > 1 else -1


def restored(spec: RunSpec, preset: RunSpec, key: str) -> RunSpec:
    """The spec with one setting as the preset has it."""
    found, value = _value(preset, key)
    if not found:
        section, _, name = key.rpartition(".")
        model = LossPart if section.endswith("loss") else LoraPart if section == "lora" else DataPart
        value = model.model_fields[name].get_default()
    return changed(spec, {key: _plain(value)}, "the form")


def negatives_words(spec: RunSpec) -> str:
    """How many negatives a query meets, where they come from, and that accumulation adds none."""
    batch, devices = spec.batch, spec.devices.count
    used = {part.loss.name if part.loss else spec.loss.name for part in spec.data}
    if not any(LOSSES[name].in_batch for name in used):
        hard = max(part.negatives for part in spec.data)
        return f"{spec.loss.name} takes no in-batch negatives; a step is {spec.effective_batch:,} rows, each with " + (
            f"{hard} of its own." if hard else "what stands in its columns."
        )
    hard = max(part.negatives for part in spec.data)
    across = f" × {devices} devices" if devices > 1 and spec.loss.gather else ""
    words = f"A query meets {spec.negatives:,} negatives: {batch.per_device:,}{across} × (1 + {hard} hard) − 1."
    if devices > 1 and not spec.loss.gather:
        words += f" {devices} devices do not share theirs (loss.gather)."
    if batch.accumulation > 1:
        words += (
            f" Accumulation of {batch.accumulation} makes a step of {spec.effective_batch:,} rows and adds no "
            "negatives: each batch has its own."
        )
    else:
        words += f" A step is {spec.effective_batch:,} rows. Accumulation would add no negatives."
    return words


def _keys(part: BaseModel, above: str) -> Iterator[tuple[str, Any]]:
    """Key and annotation of every setting; a part that may be missing is one itself, and has some when it is there."""
    for name, field in type(part).model_fields.items():
        value, key = getattr(part, name), f"{above}{name}"
        if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for at, each in enumerate(value):
                yield from _keys(each, f"{key}.{at}.")
        elif isinstance(value, PromptSettings) or (value is None and _part(field.annotation)):
            yield key, field.annotation
        elif isinstance(value, BaseModel):
            if _part(field.annotation) and NoneType in get_args(field.annotation):
                yield key, field.annotation
            yield from _keys(value, f"{key}.")
        else:
            yield key, field.annotation


def _setting(key: str, annotation: Any, spec: RunSpec, preset: RunSpec) -> Setting:
    _, value = _value(spec, key)
    there, before = _value(preset, key)
    default = _default(key)
    if not there:
        before = default
    origin = Origin.YOURS if value != before else Origin.PRESET if value != default else Origin.DEFAULT
    place, _, name = key.rpartition(".")
    loss = _value(spec, place)[1] if place.endswith("loss") else None
    section, shown = _PLACED.get(key) or (_section(place, len(spec.data)), name)
    offers = tuple(_offers(key, annotation))
    nothing = next((offer.words for offer in offers if offer.value is None), NOTHING)
    return Setting(
        key,
        section,
        shown,
        _words(value, nothing),
        _words(before, nothing),
        _words(default, nothing),
        origin,
        reason(key),
        offers,
        _typed(value),
        _kind(annotation),
        not isinstance(loss, LossPart) or name in ("name", *LOSSES[loss.name].parameters) or "matryoshka" in name,
    )


def _section(place: str, datasets: int) -> str:
    """What a part is called; datasets are numbered from 1 when there are several."""
    words = [str(int(part) + 1) if part.isdigit() else part for part in place.split(".")]
    return " ".join(word for word in words if datasets > 1 or not word.isdigit()) or _GENERAL


def _value(spec: RunSpec, key: str) -> tuple[bool, Any]:
    """Whether there is such a setting, and its value."""
    inner: Any = spec
    for part in key.split("."):
        if isinstance(inner, tuple) and part.isdigit() and int(part) < len(inner):
            inner = inner[int(part)]
        elif isinstance(inner, BaseModel) and part in type(inner).model_fields:
            inner = getattr(inner, part)
        else:
            return False, None
    return True, inner


def _default(key: str) -> Any:
    """What every run has there unless something is said."""
    plain = [part for part in key.split(".") if not part.isdigit()]
    model: type[BaseModel] = RunSpec
    for part in plain[:-1]:
        annotation = model.model_fields[part].annotation
        inner = _part(annotation) or next(filter(None, map(_part, get_args(annotation))), None)
        assert inner is not None, key
        model = inner
    return model.model_fields[plain[-1]].get_default()


def _offers(key: str, annotation: Any) -> Iterator[Offer]:
    """What a setting may be, if that can be listed."""
    if key == "prompts":
        yield Offer(None, "the project's contract", "what the Prompts panel shows; frozen when the run is made")
        for preset in PROMPTS.values():
            settings = {"query": preset.query, "document": preset.document, "origin": f"preset:{preset.name}"}
            yield Offer(settings, preset.name, visible(preset.query, _PROMPT_LETTERS))
        yield Offer({"query": "", "document": "", "origin": "custom:none"}, "none", "no prompt at all: an ablation")
    elif key == "lora":
        yield Offer(None, "off", "train all weights")
        yield Offer({}, "on", "train low-rank adapters")
    elif _part(annotation) is LossPart:
        yield Offer(None, "the run's loss", "")
        for name, about in LOSSES.items():
            yield Offer({"name": name.value}, name.value, about.why)
    elif annotation is LossName:
        for name, about in LOSSES.items():
            yield Offer(name.value, name.value, about.why)
    elif annotation is bool:
        yield Offer(True, "yes", "")
        yield Offer(False, "no", "")
    elif get_origin(annotation) is Literal:
        for each in get_args(annotation):
            yield Offer(each, str(each), "")


def _read(text: str, annotation: Any) -> Any:
    """What was typed, as the setting takes it; pydantic says what is wrong with it."""
    typed = text.strip()
    if get_origin(annotation) is tuple:
        return [part.strip() for part in typed.split(",") if part.strip()]
    if NoneType in get_args(annotation) and not typed:
        return None
    return typed.replace(",", "").replace("_", "") if _number(annotation) else typed


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None or isinstance(value, BaseModel) else str(value)


def _words(value: Any, nothing: str = NOTHING) -> str:
    """A value as the form shows it; `nothing`: what it is called where there is none."""
    if value is None:
        return nothing
    if isinstance(value, PromptSettings):
        return f"{value.origin} “{visible(value.query, _PROMPT_LETTERS)}”" if value.query else f"{value.origin}, none"
    if isinstance(value, LossPart):
        return value.name.value
    if isinstance(value, BaseModel):
        return "on"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return visible(_typed(value), 200) or NOTHING


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        words = f"one or more of {', '.join(get_args(inner))}" if get_origin(inner) is Literal else "a list"
        return f"{words}, with commas; empty for none"
    optional = "; empty for none" if NoneType in get_args(annotation) else ""
    if _number(annotation):
        return ("a whole number" if int in (annotation, *get_args(annotation)) else "a number") + optional
    return "text" + optional


def _number(annotation: Any) -> bool:
    return any(kind in (int, float) for kind in (annotation, *get_args(annotation)))


def _part(annotation: Any) -> type[BaseModel] | None:
    """The part that an annotation is, or may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(_part, get_args(annotation))), None)
    return None


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value
