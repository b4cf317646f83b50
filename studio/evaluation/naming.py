"""What a system is called in a table, and how it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from studio.errors import UsageError
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked
from studio.text.safe import visible

PROJECT = "project"
"""The word for the project's own model."""
COMPOSED = ("rrf", "weighted", "rerank")
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "dense": {
        "dim": "dim",
        "precision": "precision",
        "rescore": "rescore",
        "prompts": "prompts",
        "length": "max_length",
        "device": "device",
        "revision": "revision",
        "code": "trust_remote_code",
    },
    "bm25": {"words": "words", "k1": "k1", "b": "b"},
    "given": {"class": "of_class"},
    "hybrid": {"k": "k", "depth": "depth", "weights": "weights"},
    "reranked": {
        "top": "top",
        "length": "max_length",
        "device": "device",
        "revision": "revision",
        "code": "trust_remote_code",
    },
}
"""Kind of system → option as it is written → field."""

_PLAIN = re.compile(r"[\w./@~:=-]+")
_KEYWORD = re.compile(r"bm25|project|(run|trec):.*|[A-Za-z][A-Za-z0-9_]*=.*", re.DOTALL)
_PROMPTS = {"model": "own prompts", "none": "no prompt", "set": "the set's prompt"}


def name_of(system: Dense | Lexical | Hybrid | Reranked | Given) -> str:
    """What a system is called unless a person names it; two that differ in what they find have different names.

    The last part of a path or hub id stands for a model, so two models may share a name: see `distinct`.
    """
    if isinstance(system, Dense):
        return _dense_name(system)
    if isinstance(system, Lexical):
        told = [f"k1 {system.k1:g}"] if system.k1 != 1.5 else []
        told += [f"b {system.b:g}"] if system.b != 0.75 else []
        return " ".join(["bm25", *([system.words] if system.words != "portuguese" else []), *told])
    if isinstance(system, Hybrid):
        told = [f"k {system.k}"] if system.k != 60 else []
        told += ["/".join(f"{weight:g}" for weight in system.weights)] if system.weights else []
        told += [f"depth {system.depth}"] if system.depth != 100 else []
        return " ".join([system.how, " + ".join(map(name_of, system.parts)), *told])
    if isinstance(system, Reranked):
        told = [f"top {system.top}"] if system.top != 100 else []
        told += [f"{system.max_length} tokens"] if system.max_length != 512 else []
        return " ".join([name_of(system.first), "reranked by", _short(system.model), *told])
    return _short(system.path)


def describe(named: Named) -> str:
    """A system as the command line takes it: `studio.evaluation.parsing.parse` reads the same system from it.

    Its name is left out where it is the one it would be given.
    """
    text = _described(named.system)
    return text if named.name == name_of(named.system) else f"{_quoted(named.name, forced=True)}: {text}"


def distinct(systems: Iterable[Named]) -> tuple[Named, ...]:
    """Give each system a name of its own, in order; one that is there twice, name and all, is kept once.

    Raises:
        UsageError: a person gave two systems one name.
    """
    kept: dict[str, Named] = {}
    for named in systems:
        name, number = named.name, 1
        while name in kept and kept[name].system != named.system:
            if named.name != name_of(named.system) and kept[name].name != name_of(kept[name].system):
                raise UsageError(
                    f"Two systems are called {visible(named.name)!r}.",
                    why=f"{describe(kept[name])} and {describe(named)}",
                    remedy="give each a name of its own",
                )
            number += 1
            name = f"{named.name} #{number}"
        kept.setdefault(name, Named(name, named.system))
    return tuple(kept.values())


def _dense_name(system: Dense) -> str:
    if system.run:
        base = f"run {system.run}" + (f"@{system.at}" if system.at else "")
    else:
        base = _short(system.model) if system.model else "project's model"
    told = [f"@{system.revision[:8]}"] if system.revision else []
    told += [_PROMPTS[system.prompts]] if system.prompts != "contract" else []
    told += [f"{system.max_length} tokens"] if system.max_length else []
    told += [f"dim {system.dim}"] if system.dim else []
    told += [system.precision] if system.precision != "float32" else []
    told += [f"rescored {system.rescore}"] if system.rescore else []
    return " ".join([base, *told])


def _short(path: str) -> str:
    return PurePath(path).name or path


def _described(system: Dense | Lexical | Hybrid | Reranked | Given) -> str:
    options = [
        f"{option}={_value(getattr(system, field))}"
        for option, field in OPTIONS[system.kind].items()
        if getattr(system, field) != type(system).model_fields[field].default
    ]
    if isinstance(system, Hybrid):
        return f"{system.how}({', '.join([' + '.join(map(_described, system.parts)), *options])})"
    if isinstance(system, Reranked):
        return f"rerank({', '.join([_described(system.first), _quoted(system.model), *options])})"
    if isinstance(system, Lexical):
        base = "bm25"
    elif isinstance(system, Given):
        base = f"trec:{_quoted(system.path)}"
    elif system.run:
        base = f"run:{_quoted(system.run + (f'@{system.at}' if system.at else ''))}"
    else:
        base = _quoted(system.model) if system.model else PROJECT
    return ",".join([base, *options])


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(repr, value))
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(str(value)) if isinstance(value, str) else repr(value)


def _quoted(text: str, *, forced: bool = False) -> str:
    """Text as one word: in quotes where it holds what has a meaning, or would be read as a word of its own."""
    plain = _PLAIN.fullmatch(text) and not _KEYWORD.fullmatch(text)
    if plain and not (forced and ":" in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
