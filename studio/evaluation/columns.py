"""Which columns of a table of items hold what, and the numbers that their cells hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from studio.errors import InputError
from studio.evaluation.sets import SetKind
from studio.pairs.roles import NO_ROLES, Roles, detect
from studio.text.safe import visible

Lines = Sequence[tuple[int, Any]]
"""Records, each with its line."""
POSITIVES = ("positives", "positive_passages", "relevant", "answers", "positive")
_LABELS = ("labels", "label")
_SENTENCES = (
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("premise", "hypothesis"),
)
_SCORES = ("score", "similarity_score", "relatedness_score", "similarity", *_LABELS)
_SAID = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
"""What a label may say in words."""


def kind_of(lines: Lines, roles: Roles = NO_ROLES) -> SetKind:
    """What the records are items of, by the columns of all of them: a score that cannot be read is a score.

    Args:
        lines: each record with its line.
        roles: columns named by hand; which sentences and which anchor they name is not known, so other names than
            these kinds usually have mean queries and their passages.
    """
    lower = {key.lower(): value for key, value in _columns(record for _, record in lines).items()}
    query, positive, score = (name and name.lower() for name in (roles.query, roles.positive, roles.score))
    named = {name for name in (query, positive) if name}
    pairs = any(named <= {*sides} <= lower.keys() for sides in _SENTENCES)
    scores = [name for name in _SCORES if name in lower] if score is None else [score] if score else []
    # A label in words, as of inference, is no score.
    if pairs and any(name not in _LABELS or as_number(lower.get(name)) is not None for name in scores):
        return SetKind.SIMILARITY
    triplet = [positive or "positive", *(map(str.lower, roles.negatives) if roles.negatives else ["negative"])]
    if (query or "anchor") == "anchor" in lower and all(isinstance(lower.get(name), str) for name in triplet):
        return SetKind.TRIPLETS
    return SetKind.RETRIEVAL


def columns_by_role(lines: Lines, name: str, roles: Roles, *, score: bool) -> dict[str, str]:
    """The columns by what they hold, in lower case; "" where there is none. Several negatives: one a line."""
    sample = samples_of(lines, name)
    lower = {key.lower(): key for key in sample}
    query, positive = roles.query, roles.positive
    if score:
        left, right = next(((lower[a], lower[b]) for a, b in _SENTENCES if a in lower and b in lower), (None, None))
        query = query or (right if positive == left else left)
        positive = positive or (left if query == right else right)
    else:
        positive = positive or next((lower[key] for key in POSITIVES if key in lower and lower[key] != query), None)
    scores = [lower[key] for key in _SCORES if key in lower] if score else []
    number = next((key for key in scores if as_number(sample[key]) is not None), scores[0] if scores else None)
    asked = Roles(query, positive, roles.negatives, number if roles.score is None else roles.score, roles.label)
    found = each_once(detect(sample, asked, name), name)
    if score and found.score is None:
        raise InputError(
            "No column can be told to be the score.",
            where=name,
            why=f"the columns are {', '.join(map(visible, sample))}",
            remedy="name it: --score COLUMN",
        )
    query, positive = (found.query or "").lower(), (found.positive or "").lower()
    return {
        "query": query, "left": query, "positives": positive, "right": positive,
        "negatives": "\n".join(column.lower() for column in found.negatives),
        "score": (found.score or "").lower(), "label": (found.label or "").lower(),
    }  # fmt: skip


def each_once(found: Roles, name: str) -> Roles:
    """The roles as they are, if no column has two of them.

    Raises:
        InputError: one has.
    """
    named = [column.lower() for column in (found.query, found.positive, *found.negatives, found.score) if column]
    for column in named:
        if named.count(column) > 1:
            raise InputError(f"The column `{visible(column)}` is named twice.", where=name, remedy="name another")
    return found


def _columns(records: Iterable[Any]) -> dict[str, Any]:
    """Each column with the first value that is not null."""
    found: dict[str, Any] = {}
    for record in records:
        for key, value in record.items() if isinstance(record, dict) else ():
            if found.get(str(key)) is None:
                found[str(key)] = value
    return found


def samples_of(lines: Lines, name: str) -> dict[str, Any]:
    """Each column with the first value that is not null.

    Raises:
        InputError: there is none, or a record has no columns.
    """
    for line, record in lines:
        if not isinstance(record, dict):
            raise wrong(name, line, "it is no object with columns")
    found = _columns(record for _, record in lines)
    if not found:
        raise InputError("There is no item.", where=name, why="it is empty")
    return found


def number_in(values: dict[str, Any], column: str, name: str, line: int, *, words: bool = False) -> float | None:
    """The number that a cell holds, or one of its `words`, such as `true`; None: it is empty.

    Raises:
        InputError: it holds something else.
    """
    value = values.get(column)
    if is_empty(value):
        return None
    number, known = as_number(value), "true, false or a finite number" if words else "a finite number"
    if words and number is None and isinstance(value, str):
        number = _SAID.get(value.strip().lower())
    if number is None:
        raise InputError(
            "A line cannot be used.",
            where=f"{name}:{line}",
            why=f"`{visible(column)}` is {visible(str(value), 60)!r}, not {known}",
            remedy="mend the line; leaving it out would change what is measured",
        )
    return number


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: null, blank text, an empty list or object."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text; None: it is none."""
    if value is None or isinstance(value, (list, dict)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def wrong(name: str, line: int, why: str, remedy: str | None = None) -> InputError:
    """What is said of a line that cannot be used."""
    return InputError("A line cannot be used.", where=f"{name}:{line}", why=why, remedy=remedy)
