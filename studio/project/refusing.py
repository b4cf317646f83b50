"""Why a value of a settings file is refused, in words of the person who wrote it, and what belongs there instead."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_NEAR = 0.6
"""Least likeness (difflib) of a word that may have been meant."""
_SHOWN = 40
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_KINDS = {
    "bool": ("true or false", "write true or false, without quotes"),
    "int": ("a whole number", "write a whole number"),
    "float": ("a number", "write a number"),
    "finite": ("a number", "write a number"),
    "string": ("text", "write it in quotes"),
}


class Refusal(NamedTuple):
    """What is wrong with settings. `key`: dotted; "" where several keys contradict each other."""

    key: str
    why: str
    remedy: str


def refusal(error: ValidationError, model: type[BaseModel]) -> Refusal:
    """The first thing that is wrong.

    Args:
        error: what validating as `model` raised.
        model: the settings.
    """
    first = error.errors()[0]
    place = first["loc"]
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        return Refusal(key, "there is no such setting", _nearest_key(model, place))
    return Refusal(key, *_value(first, key, model))


def is_list(model: type[BaseModel], key: str) -> bool:
    """Whether a dotted key of settings holds a list of single values."""
    kinds = list(_kinds(_annotation(model, key.split("."))))
    return any(get_origin(kind) in (tuple, list) for kind in kinds)


def _value(first: ErrorDetails, key: str, model: type[BaseModel]) -> tuple[str, str]:
    kind, context, given = first["type"], first.get("ctx", {}), first["input"]
    told = _told(given)
    if kind == "missing":
        return "it is missing", f"write it: {key} = …"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return _of_group(first["loc"], key, model)
    if kind in ("tuple_type", "list_type"):
        return f"a list belongs there, not {told}", f"write {_told(as_list(given))}"
    if kind in ("enum", "literal_error"):
        return _choice(given, re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]])
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        limit = f"{words} {context[bound]:g}"
        return f"it must be {limit}, and is {told}", f"write a number {limit}"
    if kind == "string_pattern_mismatch":
        return f"{told} does not have the form `{context['pattern']}`", "write it in that form"
    if kind == "string_too_short":
        return "it must not be empty", "write some text"
    if kind == "value_error":
        return str(context["error"]), "change the value"
    for name, (belongs, remedy) in _KINDS.items():
        if kind.startswith(f"{name}_"):
            return f"{belongs} belongs there, not {told}", remedy
    return first["msg"], "change the value"


def as_list(value: Any) -> list[Any]:
    """What a single value means where a list belongs: `a, b` in one text is two values."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _of_group(place: Sequence[int | str], key: str, model: type[BaseModel]) -> tuple[str, str]:
    inner = _model(_annotation(model, place))
    why = "it is a group of settings, not one value"
    if inner is None:
        return why, f"write [{key}] with a setting on each line"
    return why, f"set what is in it: {', '.join(f'{key}.{name}' for name in inner.model_fields)}"


def _choice(given: Any, choices: Sequence[str]) -> tuple[str, str]:
    listed = ", ".join(choices)
    near = difflib.get_close_matches(str(given), choices, n=1, cutoff=_NEAR)
    why = f"{_told(given)} is none of: {listed}"
    return why, f"did you mean `{near[0]}`?" if near else "write one of these"


def _nearest_key(model: type[BaseModel], place: Sequence[int | str]) -> str:
    parent: type[BaseModel] = _model(_annotation(model, place[:-1])) or model
    known, last = list(parent.model_fields), str(place[-1])
    inside = [f"{name}.{last}" for name in known if last in _fields(parent.model_fields[name].annotation)]
    if inside:
        return f"did you mean {' or '.join(f'`{name}`' for name in inside)}?"
    near = difflib.get_close_matches(last, known, n=1, cutoff=_NEAR)
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"


def _annotation(model: type[BaseModel], place: Sequence[int | str]) -> Any:
    """The type of what is at a place of settings; None where there is nothing."""
    found: Any = model
    for part in place:
        if str(part).isdigit():
            inside = (kind for kind in _kinds(found) if get_origin(kind) in (tuple, list))
            found = next((get_args(kind)[0] for kind in inside), None)
        else:
            field = _fields(found).get(str(part))
            found = field.annotation if field else None
    return found


def _model(annotation: Any) -> type[BaseModel] | None:
    return next((kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _fields(annotation: Any) -> dict[str, Any]:
    inner = _model(annotation)
    return dict(inner.model_fields) if inner else {}


def _kinds(annotation: Any) -> Iterator[Any]:
    """A type, or those of a union."""
    if get_origin(annotation) in (Union, types.UnionType):
        yield from get_args(annotation)
    else:
        yield annotation


def _told(value: Any) -> str:
    """A value as TOML writes it, as far as it is short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
