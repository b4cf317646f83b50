"""Personal data in Brazilian texts: where it stands, what stands there instead when it is taken out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Kind(StrEnum):
    """What a text may hold; of two that overlap at equal length the one named first here wins."""

    EMAIL = "email"
    PIX = "pix"
    """A random PIX key: a UUID v4 with the word pix near it."""
    CNPJ = "cnpj"
    """The number of a firm, also the one with letters that is issued since 2026; its check digits hold."""
    CPF = "cpf"
    """The number of a person; its check digits hold."""
    PHONE = "phone"
    """A Brazilian number with its area code."""
    CEP = "cep"
    """A postal code."""


@dataclass(frozen=True)
class Hit:
    """One piece of personal data: `text` stands at `start` to `end`."""

    kind: Kind
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Rule:
    """`shape` is read by Rust's regex too, so that the prefilter can be no narrower than the search.

    Every part of a pattern is bounded or possessive: the time is linear in the text, whatever it is.
    """

    shape: str
    pattern: re.Pattern[str]
    holds: Callable[[str, re.Match[str]], bool]


_NOTHING = r"[^\s\S]"
_NEAR_BEFORE = 20
_NEAR_PIX = 60
_DASH = "[-‐‑–−]"
_LEFT = r"(?<![0-9A-Za-z])(?<![0-9][.,/-])"
_RIGHT = r"(?![0-9A-Za-z])(?![.,/-][0-9])"

_AREA = "(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
_GAP = "[ \u00a0.‐‑–−-]"
_MOBILE = f"9{_GAP}?[0-9]{{4}}{_GAP}?[0-9]{{4}}"
_LANDLINE = f"[2-5][0-9]{{3}}{_GAP}?[0-9]{{4}}"
_PHONE = rf"(?:\+?55{_GAP}{{0,2}})?(?:\(0?{_AREA}\)|0?{_AREA}){_GAP}{{0,2}}(?:{_MOBILE}|{_LANDLINE})"
# Without +55 or parentheses, only what is grouped as people group it; 2019-2020 after a number is two years.
_GROUPED = re.compile(
    rf"(?:55{_GAP}{{1,2}})?0?{_AREA}{_GAP}{{1,2}}"
    rf"(?:9{_GAP}?[0-9]{{4}}{_GAP}[0-9]{{4}}|(?!20[0-9]{{2}}.20)[2-5][0-9]{{3}}{_DASH}[0-9]{{4}})"
)
_PHONE_WORD = re.compile(
    r"\b(?:tel|(?:tele)?fones?|cel|celular(?:es)?|whats\w*|zap|contatos?|ligue|ligar|liga|fax)\b", re.IGNORECASE
)

_CPF = rf"[0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}{_DASH}[0-9]{{2}}|[0-9]{{9}}{_DASH}?[0-9]{{2}}"
_CNPJ = (
    rf"[0-9A-Za-z]{{2}}\.[0-9A-Za-z]{{3}}\.[0-9A-Za-z]{{3}}/[0-9A-Za-z]{{4}}{_DASH}[0-9]{{2}}"
    rf"|[0-9A-Z]{{8}}/?[0-9A-Z]{{4}}{_DASH}?[0-9]{{2}}"
)
_CEP = rf"[0-9]{{5}}{_DASH}[0-9]{{3}}|[0-9]{{2}}\.?[0-9]{{3}}{_DASH}?[0-9]{{3}}"
_FORMATTED_CEP = re.compile("[0-9]{5}-[0-9]{3}")
_LEAST_CEP = "01000000"
# The square brackets are those of `redacted`: what it put there says nothing of what stands near.
_ADDRESS_WORD = re.compile(
    r"(?<!\[)\b(?:cep|endere[çc]o|rua|av|avenida|pra[çc]a|travessa|alameda|rodovia|estrada|bairro|logradouro)\b",
    re.IGNORECASE,
)
_PIX_WORD = re.compile(r"(?<!\[)\bpix\b", re.IGNORECASE)
_UUID4 = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
_EMAIL = re.compile(
    r"(?<![\w.%+-])[.%+-]*+(\w[\w.%+-]*+@(?:[0-9A-Za-zÀ-ÖØ-öø-ÿ][0-9A-Za-zÀ-ÖØ-öø-ÿ-]{0,62}\.)+[A-Za-z]{2,24})(?!\w)"
)

_CPF_WEIGHTS = tuple(range(11, 1, -1))
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def find(text: str, kinds: Collection[Kind] = tuple(Kind)) -> list[Hit]:
    """Return the personal data in `text`, from left to right; of two that overlap the longer one."""
    found = [hit for kind in Kind if kind in kinds for hit in _hits(text, kind)]
    found.sort(key=lambda hit: hit.start - hit.end)
    taken = bytearray(len(text) if len(found) > 1 else 0)
    kept = []
    for hit in found:
        if not any(taken[hit.start : hit.end]):
            taken[hit.start : hit.end] = b"\x01" * (hit.end - hit.start)
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def redacted(text: str, kinds: Collection[Kind] = tuple(Kind)) -> str:
    """Return `text` with the name of the kind, such as `[CPF]`, for each hit; nothing is found in the result."""
    # Again and again: a hit taken out may bring the word "celular" near enough to the digits after it.
    while hits := find(text, kinds):
        parts, at = [], 0
        for hit in hits:
            parts += [text[at : hit.start], f"[{hit.kind.upper()}]"]
            at = hit.end
        text = "".join([*parts, text[at:]])
    return text


def masked(hit: Hit) -> str:
    """Return what may be shown of a hit: its form and its last two characters; of an e-mail only the last label."""
    if hit.kind is Kind.EMAIL:
        return f"***@***.{hit.text.rpartition('.')[2]}"
    return re.sub("[0-9A-Za-z]", "*", hit.text[:-2]) + hit.text[-2:]


def may_hold(column: pl.Expr, kinds: Collection[Kind] = tuple(Kind)) -> pl.Expr:
    """Whether `find` may find something in a text: false only where it finds nothing; one pass over a column."""
    return column.str.contains("|".join(_RULES[kind].shape for kind in Kind if kind in kinds) or _NOTHING)


def _hits(text: str, kind: Kind) -> list[Hit]:
    rule, at, hits = _RULES[kind], 0, []
    while match := rule.pattern.search(text, at):
        if rule.holds(text, match):
            hits.append(Hit(kind, match.start(1), match.end(1), match[1]))
            at = match.end(1)
        else:
            at = match.start() + 1
    return hits


def _bounded(shape: str, holds: Callable[[str, re.Match[str]], bool], left: str = _LEFT, right: str = _RIGHT) -> _Rule:
    return _Rule(shape, re.compile(f"{left}({shape}){right}"), holds)


def _always(text: str, match: re.Match[str]) -> bool:
    return True


def _near(word: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return word.search(text, max(0, start), end) is not None


def _is_pix(text: str, match: re.Match[str]) -> bool:
    return _near(_PIX_WORD, text, match.start(1) - _NEAR_PIX, match.end(1) + _NEAR_PIX)


def _is_phone(text: str, match: re.Match[str]) -> bool:
    written = match[1]
    return (
        "+" in written
        or "(" in written
        or _GROUPED.fullmatch(written) is not None
        or _near(_PHONE_WORD, text, match.start(1) - _NEAR_BEFORE, match.start(1))
    )


def _is_cep(text: str, match: re.Match[str]) -> bool:
    digits = re.sub("[^0-9]", "", match[1])
    return digits >= _LEAST_CEP and (
        _FORMATTED_CEP.fullmatch(match[1]) is not None
        or _near(_ADDRESS_WORD, text, match.start(1) - _NEAR_BEFORE, match.start(1))
    )


def _is_cpf(text: str, match: re.Match[str]) -> bool:
    return _checks(re.sub("[^0-9]", "", match[1]), _CPF_WEIGHTS)


def _is_cnpj(text: str, match: re.Match[str]) -> bool:
    return _checks(re.sub("[^0-9A-Z]", "", match[1].upper()), _CNPJ_WEIGHTS)


def _checks(number: str, weights: tuple[int, ...]) -> bool:
    """Whether both check digits hold; letters count as their ASCII code less 48, as the tax office has it."""
    if len(set(number)) == 1:
        return False
    values = [ord(character) - ord("0") for character in number]
    first = _check_digit(values[:-2], weights[1:])
    return values[-2:] == [first, _check_digit([*values[:-2], first], weights)]


def _check_digit(values: list[int], weights: tuple[int, ...]) -> int:
    rest = sum(value * weight for value, weight in zip(values, weights, strict=True)) % 11
    return 0 if rest < 2 else 11 - rest


_RULES = {
    Kind.EMAIL: _Rule("@", _EMAIL, _always),
    Kind.PIX: _bounded(_UUID4, _is_pix),
    Kind.CNPJ: _bounded(_CNPJ, _is_cnpj),
    Kind.CPF: _bounded(_CPF, _is_cpf),
    Kind.PHONE: _bounded(_PHONE, _is_phone, rf"(?:(?=[(+])|{_LEFT})", "(?!-?[0-9])"),
    Kind.CEP: _bounded(_CEP, _is_cep),
}
