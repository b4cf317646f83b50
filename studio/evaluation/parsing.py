"""Systems as people write them: one line each on the command line, or tables of a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from studio.errors import ConfigError, StudioError, UsageError
from studio.evaluation.naming import COMPOSED, OPTIONS, PROJECT, describe, distinct, name_of
from studio.evaluation.ready import READY, ready
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked, System
from studio.project.settings import M, validated
from studio.prompts.contract import nearest
from studio.text.safe import visible

__all__ = ["READY", "describe", "distinct", "name_of", "parse", "parse_all", "read_systems", "ready"]

_NAME = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|([^,()"':]+?))\s*:\s+""", re.DOTALL)
_OPTION = re.compile(r"([A-Za-z][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PLACE = re.compile(r"(baseline|checkpoint-[0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KINDS = {
    "dense": "a model",
    "bm25": "bm25",
    "given": "a TREC run",
    "hybrid": "a hybrid",
    "reranked": "reranking",
}
_SHOWN = 200
_LONGEST_NAME = 200
_HOW = "such as `bm25`, `harrier-tiny,dim=64`, `run:NAME`, `rrf(harrier-tiny + bm25)`, `rerank(bm25, MODEL, top=50)`"


class _Token(NamedTuple):
    """A word, or one of `, ( ) +`. `at`: where it begins, from 0. `quoted`: it begins with a quote."""

    text: str
    at: int
    word: bool
    quoted: bool = False


class _Systems(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    system: tuple[System, ...]


def parse(text: str) -> Named:
    """Read one system.

    `bm25`, a model (a folder, a hub id, a short name, `project` for the project's), `run:NAME`, `run:NAME@baseline`,
    `run:NAME@checkpoint-STEP`, `trec:FILE`, each with options after commas; `rrf(A + B, k=60)`,
    `weighted(A + B, weights=.7/.3)`, `rerank(A, MODEL, top=100)`. `NAME: ` before it names it. What holds a blank, a
    comma, a bracket, a quote or (within brackets) a plus stands in quotes.

    Raises:
        UsageError: it cannot be read, or an option or its name is what none can be; the place is named.
    """
    return _Parser(text).named()


def parse_all(texts: Iterable[str]) -> tuple[Named, ...]:
    """Read several systems, each with a name of its own.

    Raises:
        UsageError: one cannot be read, or two were given one name.
    """
    return distinct(map(parse, texts))


def read_systems(path: Path) -> tuple[Named, ...]:
    """Read a TOML file of `[[system]]` tables: `spec`, as `parse` reads it, or `kind` and its fields; and `name`.

    Raises:
        ConfigError: the file is missing, no TOML, has an unknown key or a value that cannot be used.
        UsageError: a `spec` cannot be read, or two systems were given one name.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("The list of systems cannot be read.", where=str(path), why=str(error)) from error
    tables = data.get("system")
    if set(data) - {"system"} or not isinstance(tables, list) or not tables:
        unknown = ", ".join(sorted(f"`{visible(key, 40)}`" for key in set(data) - {"system"}))
        raise ConfigError(
            "The list of systems cannot be read.",
            where=str(path),
            why=f"it holds {unknown}" if unknown else "it has no [[system]] table",
            remedy="write one [[system]] table a system, with `spec` or with `kind` and its fields",
        )
    found = []
    for number, table in enumerate(tables, start=1):
        where = f"{path}, system {number}"
        if not isinstance(table, dict):
            raise ConfigError("A system cannot be read.", where=where, why="it is no table")
        name, spec = table.get("name"), table.get("spec")
        rest = {key: value for key, value in table.items() if key != "name"}
        if spec is not None:
            if set(rest) != {"spec"} or not isinstance(spec, str):
                raise ConfigError("A system cannot be read.", where=where, why="beside `spec` there is `name` only")
            read = parse(spec)
        else:
            system = validated({"system": [rest]}, _Systems, where).system[0]
            read = Named(name_of(system), system)
        found.append(read if name is None else Named(_checked(name, where), read.system))
    return distinct(found)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[_Token] = []
        self._next = 0

    def named(self) -> Named:
        found = _NAME.match(self._text)
        self._tokens = self._cut(found.end() if found else 0)
        system = self._system()
        if token := self._peek():
            self._refuse_option(system.kind)
            raise self._wrong(f"`{_shown(token.text)}` does not belong here", token.at)
        if found is None:
            return Named(name_of(system), system)
        given = re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found[1] is not None else found[2].strip()
        return Named(_checked(given, f"`{_shown(self._text)}`", UsageError), system)

    def _system(self) -> Dense | Lexical | Hybrid | Reranked | Given:
        token = self._word("a system")
        if not token.quoted and token.text in COMPOSED and self._is("("):
            self._next += 1
            system = self._reranked(token) if token.text == "rerank" else self._hybrid(token)
            if not self._is(")"):
                self._refuse_option(system.kind)
            self._take(")")
            return system
        kind, data = self._leaf(token)
        data |= self._options(kind)
        if kind == "dense":
            return self._made(Dense, data, token)
        return self._made(Lexical, data, token) if kind == "bm25" else self._made(Given, data, token)

    def _leaf(self, token: _Token) -> tuple[str, dict[str, Any]]:
        text = token.text
        if not token.quoted:
            if text == "bm25":
                return "bm25", {}
            if text == PROJECT:
                return "dense", {}
            if text.startswith("trec:") and len(text) > 5:
                return "given", {"path": text.removeprefix("trec:")}
            if text.startswith("run:") and len(text) > 4:
                run, _, at = text.removeprefix("run:").partition("@")
                if not _PLACE.fullmatch(at):
                    why = f"a run has no place `{_shown(at)}`"
                    raise self._wrong(
                        why, token.at, f"`run:{_shown(run)}@baseline` or `run:{_shown(run)}@checkpoint-200`"
                    )
                return "dense", {"run": run, "at": at}
            if option := _OPTION.fullmatch(text):
                why = f"`{_shown(option[1])}=` stands where a system is to begin"
                raise self._wrong(
                    why, token.at, f"to name it write `{_shown(option[1])}: …`; quote a path that has a ="
                )
            if text in ("run:", "trec:") or not text:
                raise self._wrong(f"`{text}` names nothing", token.at, _HOW)
        if not text:
            raise self._wrong("the model's name is empty", token.at, _HOW)
        return "dense", {"model": text}

    def _hybrid(self, begins: _Token) -> Hybrid:
        parts: list[Any] = [self._part()]
        while self._is("+"):
            self._next += 1
            parts.append(self._part())
        if len(parts) < 2:
            raise self._wrong("a hybrid needs two parts with a + between them", begins.at, "rrf(harrier-tiny + bm25)")
        options = self._options("hybrid")
        if "weights" in options:
            options["weights"] = tuple(options["weights"].split("/"))
        return self._made(Hybrid, {"how": begins.text, "parts": tuple(parts), **options}, begins)

    def _part(self) -> Dense | Lexical:
        token = self._peek()
        part = self._system()
        if not isinstance(part, Dense | Lexical):
            at = token.at if token else len(self._text)
            raise self._wrong("a part of a hybrid is a model, a run or bm25", at, "rrf(harrier-tiny + bm25)")
        return part

    def _reranked(self, begins: _Token) -> Reranked:
        token = self._peek()
        first = self._system()
        if isinstance(first, Reranked | Given):
            at = token.at if token else len(self._text)
            raise self._wrong("what is reranked is a model, a run, bm25 or a hybrid", at, "rerank(bm25, MODEL)")
        self._take(",")
        model = self._word("the cross-encoder")
        if not model.quoted and (option := _OPTION.fullmatch(model.text)):
            lost = option[1] in OPTIONS["reranked"]
            why = "the cross-encoder is missing" if lost else f"`{option[1]}` is no option of {_KINDS[first.kind]}"
            raise self._wrong(why, model.at, "rerank(bm25, MODEL, top=50)")
        data = {"first": first, "model": model.text, **self._options("reranked")}
        return self._made(Reranked, data, begins)

    def _options(self, kind: str) -> dict[str, Any]:
        """The options of that kind that stand here, after commas; others are left to what is around."""
        found: dict[str, Any] = {}
        while self._is(",") and self._next + 1 < len(self._tokens):
            token = self._tokens[self._next + 1]
            option = _OPTION.fullmatch(token.text) if token.word and not token.quoted else None
            if option is None or option[1] not in OPTIONS[kind]:
                break
            field = OPTIONS[kind][option[1]]
            if field in found:
                raise self._wrong(f"`{option[1]}` is given twice", token.at)
            if not option[2]:
                raise self._wrong(f"`{option[1]}` has no value", token.at)
            found[field] = option[2]
            self._next += 2
        return found

    def _made(self, model: type[M], data: dict[str, Any], token: _Token) -> M:
        where = f"`{_shown(self._text)}`, from character {token.at + 1}"
        try:
            return validated(data, model, where)
        except ConfigError as error:
            # It is no file of settings that is wrong, but what was asked for.
            raise UsageError(error.what, where=error.where, why=error.why, remedy=error.remedy) from error

    def _refuse_option(self, kind: str) -> None:
        """Say so if an option stands here that there is none of."""
        token = self._tokens[self._next + 1] if self._is(",") and self._next + 1 < len(self._tokens) else None
        option = _OPTION.fullmatch(token.text) if token and token.word and not token.quoted else None
        if token and option:
            why = f"`{_shown(option[1])}` is no option of {_KINDS[kind]}"
            raise self._wrong(why, token.at, nearest(option[1], list(OPTIONS[kind])))

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _is(self, sign: str) -> bool:
        token = self._peek()
        return token is not None and not token.word and token.text == sign

    def _take(self, sign: str) -> None:
        if not self._is(sign):
            token = self._peek()
            at = token.at if token else len(self._text)
            stands = f"`{_shown(token.text)}` stands there" if token else "the text ends there"
            raise self._wrong(f"a `{sign}` is missing: {stands}", at)
        self._next += 1

    def _word(self, what: str) -> _Token:
        token = self._peek()
        if token is None or not token.word:
            at = token.at if token else len(self._text)
            raise self._wrong(f"{what} is missing", at, _HOW)
        self._next += 1
        return token

    def _cut(self, at: int) -> list[_Token]:
        """The text from `at` on as words and signs. A plus is a sign within brackets only."""
        tokens: list[_Token] = []
        text, inside = self._text, 0
        while at < len(text):
            letter = text[at]
            if letter.isspace():
                at += 1
            elif letter in ",()" or (letter == "+" and inside):
                inside += (letter == "(") - (letter == ")")
                tokens.append(_Token(letter, at, word=False))
                at += 1
            else:
                token, at = self._cut_word(at, inside > 0)
                if tokens and tokens[-1].word:
                    raise self._wrong("a comma is missing, or quotes around what holds a blank", token.at)
                tokens.append(token)
        return tokens

    def _cut_word(self, begin: int, inside: bool) -> tuple[_Token, int]:
        parts, at, text = [], begin, self._text
        while at < len(text) and not text[at].isspace() and text[at] not in ",()" and not (inside and text[at] == "+"):
            if text[at] not in "\"'":
                parts.append(text[at])
                at += 1
                continue
            quote, opened = text[at], at
            at += 1
            while at < len(text) and text[at] != quote:
                at += quote == '"' and text[at] == "\\" and at + 1 < len(text)
                parts.append(text[at])
                at += 1
            if at >= len(text):
                raise self._wrong("the quotes are not closed", opened)
            at += 1
        return _Token("".join(parts), begin, word=True, quoted=text[begin] in "\"'"), at

    def _wrong(self, why: str, at: int, remedy: str = "") -> UsageError:
        return UsageError(
            "This system cannot be read.",
            where=f"`{_shown(self._text)}`, character {at + 1}",
            why=why,
            remedy=remedy or _HOW,
        )


def _checked(name: object, where: str, refused: type[StudioError] = ConfigError) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or _CONTROL.search(name):
        raise refused(
            "A system cannot be called that.",
            where=where,
            why=f"its name is {_shown(str(name))!r}",
            remedy=f"use 1 to {_LONGEST_NAME} letters, none of them a control character",
        )
    return name


def _shown(text: str) -> str:
    return visible(text, _SHOWN)
