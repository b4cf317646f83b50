"""Faults of single rows, planted in place: each is for one check to flag, with the reason it should give."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from studio.selftest.rows import Row
from studio.text.pii import find

_FOREIGN = (
    "Please bring an identity document and proof of address to the front desk before the end of the month, "
    "otherwise the request will be cancelled without further notice.",
    "You can ask for a second copy of the bill through our website or by calling the service desk on working days "
    "between eight in the morning and six in the evening.",
    "Les demandes doivent être déposées au guichet avant la fin du mois avec une pièce d'identité et un justificatif "
    "de domicile récent, sans quoi elles seront rejetées.",
    "Borrowed items must be returned to the counter within two weeks; after that, a small fee is charged for every "
    "day of delay until the whole account is settled.",
    "The office is closed on public holidays, and letters that arrive on those days are only answered during the "
    "following week by the person in charge.",
)
_CUT_AFTER = re.compile(r"\b(?:de|da|do|que|para|com|em|por)(?= )")
_SHORT = ("Sim, pode.", "Não, somente no balcão.", "Veja no portal.", "Até sexta-feira.", "Ligue para a central.")
_CONTROLS = ("\x07", "\x1b[31m", "\u202e", "\x00", "\x9b")


@dataclass(frozen=True)
class Mark:
    """A fault that `check` should flag with `reason` on the very row."""

    kind: str
    check: str
    reason: str
    change: Callable[[Row, random.Random], Row | None]
    """The row with the fault, or None where the row offers no place for it."""


def _mojibake(row: Row, rng: random.Random) -> Row | None:
    damaged = row.passage.encode("utf-8").decode("latin-1")
    return replace(row, passage=damaged) if damaged != row.passage else None


def _control(row: Row, rng: random.Random) -> Row | None:
    at = rng.randrange(len(row.passage))
    return replace(row, passage=row.passage[:at] + rng.choice(_CONTROLS) + row.passage[at:])


def _markup(row: Row, rng: random.Random) -> Row | None:
    return replace(row, passage=f"<p>{row.passage.replace(', ', ',&nbsp;', 1)}</p>")


def _truncated(row: Row, rng: random.Random) -> Row | None:
    ends = [match.end() for match in _CUT_AFTER.finditer(row.passage) if len(row.passage[: match.end()].split()) >= 12]
    return replace(row, passage=row.passage[: rng.choice(ends)]) if ends else None


def _copied(row: Row, rng: random.Random) -> Row | None:
    return replace(row, passage=f"{row.query} {row.passage}") if len(row.query.split()) >= 4 else None


def _short(row: Row, rng: random.Random) -> Row | None:
    return replace(row, passage=rng.choice(_SHORT))


def _foreign(row: Row, rng: random.Random) -> Row | None:
    return replace(row, passage=f"{rng.choice(_FOREIGN)} ({rng.randrange(100, 999)})")


def _cpf(row: Row, rng: random.Random) -> Row | None:
    if find(row.passage):
        return None
    digits = _with_check_digits([rng.randrange(10) for _ in range(9)], range(10, 1, -1), range(11, 1, -1))
    return replace(row, passage=f"{row.passage} Contato de {digits[:3]}.{digits[3:6]}.{digits[6:9]}-{digits[9:]}.")


def _cnpj(row: Row, rng: random.Random) -> Row | None:
    if find(row.passage):
        return None
    weights = (5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    digits = _with_check_digits([*(rng.randrange(10) for _ in range(8)), 0, 0, 0, 1], weights, (6, *weights))
    shown = f"{digits[:2]}.{digits[2:5]}.{digits[5:8]}/{digits[8:12]}-{digits[12:]}"
    return replace(row, passage=f"{row.passage} CNPJ {shown}.")


def _with_check_digits(digits: list[int], first: Iterable[int], second: Iterable[int]) -> str:
    """Append the two modulo-11 check digits of Brazil's tax numbers."""
    for weights in (first, second):
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
        digits = [*digits, 0 if rest < 2 else 11 - rest]
    return "".join(map(str, digits))


def _mail(row: Row, rng: random.Random) -> Row | None:
    if find(row.query):
        return None
    return replace(row, query=f"{row.query} responder para maria.souza{rng.randrange(10, 99)}@exemplo.com.br")


MARKS = (
    Mark("mojibake", "quality", "mojibake", _mojibake),
    Mark("control_characters", "quality", "control_characters", _control),
    Mark("markup", "quality", "markup_leftovers", _markup),
    Mark("cut_off", "quality", "truncated_answer", _truncated),
    Mark("query_copied", "quality", "query_in_passage", _copied),
    Mark("too_short", "quality", "passage_too_short", _short),
    Mark("other_language", "quality", "wrong_language", _foreign),
    Mark("cpf", "pii", "pii_cpf", _cpf),
    Mark("cnpj", "pii", "pii_cnpj", _cnpj),
    Mark("email", "pii", "pii_email", _mail),
)
