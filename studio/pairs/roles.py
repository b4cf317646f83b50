"""Which column of a source plays which role, by the names people really use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.errors import InputError
from studio.text.safe import visible

_SAMPLE_CHARACTERS = 40
_QUERY = [
    "query",
    "search_query",
    "question",
    "anchor",
    "premise",
    "pergunta",
    "consulta",
    "queries",
    "questions",
    "sentence1",
    "sentence_1",
    "text1",
    "texta",
    "query_text",
    "question_text",
    "input",
    "instruction",
    "prompt",
    "user_query",
    "q",
]
_POSITIVE = [
    "positive",
    "pos",
    "positives",
    "positive_passages",
    "positive_passage",
    "positive_ctxs",
    "document",
    "doc",
    "passage",
    "answer",
    "context",
    "response",
    "positivo",
    "resposta",
    "passagem",
    "documento",
    "hypothesis",
    "sentence2",
    "sentence_2",
    "text2",
    "textb",
    "passage_text",
    "document_text",
    "chunk",
    "content",
    "output",
    "completion",
    "answers",
    "text",
]
_SCORE = ["score", "similarity", "similarity_score", "relevance_score", "scores"]
_LABEL = ["label", "labels"]
_GROUP = ["group", "group_id", "doc_id", "document_id", "docid", "source_doc", "source_document", "source_id", "url"]
_SPLIT = ["split", "subset", "partition"]
_NEGATIVE = re.compile(r"^(hard)?(neg|negatives?|negativepassages?|negativectxs|negativos?)\d*$")
_TUPLES = ["texts", "set", "sentences", "tuple"]


@dataclass(frozen=True)
class Roles:
    """Which source column plays which role; None (or empty): no column does, or none is known yet.

    In what was named by hand, "" (negatives: a single "") says that no column does, whatever the names tell.
    """

    query: str | None = None
    positive: str | None = None
    negatives: tuple[str, ...] = ()
    score: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Every column that has a role."""
        single = (self.query, self.positive, self.score, self.label, self.group, self.split)
        return frozenset(column for column in (*single, *self.negatives) if column)


NO_ROLES = Roles()
"""Nothing is named by hand."""


def names_a_role(column: str) -> bool:
    """Whether a column name is one that people give to a query or a passage: the mark of a header line."""
    return _plain(column) in {_plain(name) for name in (*_QUERY, *_POSITIVE)} - {"q", "text"}


def detect(samples: Mapping[str, Any], asked: Roles, where: str) -> Roles:
    """Complete the roles that were asked for by the names of the columns.

    Args:
        samples: every column with a value it holds, in source order.
        asked: what was named by hand; it wins.
        where: the source, for errors.

    Raises:
        InputError: a named column does not exist (the nearest is suggested), or no query or positive can be told.
    """
    for column in sorted(asked.columns):
        if column not in samples:
            near = difflib.get_close_matches(column, list(samples), n=1)
            raise InputError(
                f"There is no column `{column}`.",
                where=where,
                why=f"the columns are {', '.join(map(visible, samples)) or 'none'}",
                remedy=f"did you mean `{visible(near[0])}`?" if near else None,
            )
    free: dict[str, str] = {_plain(column): column for column in reversed(list(samples)) if column not in asked.columns}

    def first(names: Sequence[str], fits: type | tuple[type, ...] = object) -> str | None:
        for name in names:
            column = free.get(_plain(name))
            if column is not None and isinstance(samples[column], fits):
                del free[_plain(name)]
                return column
        return None

    def told(given: str | None, names: Sequence[str], fits: type | tuple[type, ...] = object) -> str | None:
        return first(names, fits) if given is None else given or None

    found = replace(asked, query=told(asked.query, _QUERY))
    found = replace(found, positive=told(asked.positive, _POSITIVE))
    negatives = [column for column in samples if _NEGATIVE.match(_plain(column)) and column in free.values()]
    found = replace(
        found,
        negatives=tuple(column for column in asked.negatives or negatives if column),
        score=told(asked.score, _SCORE, (int, float, str)),
        label=told(asked.label, _LABEL, (int, float, str)),
        group=told(asked.group, _GROUP, (int, str)),
        split=told(asked.split, _SPLIT, str),
    )
    missing = [role for role in ("query", "positive") if getattr(found, role) is None]
    if missing:
        shown = "; ".join(f"{visible(c, 60)} (like {visible(str(v), _SAMPLE_CHARACTERS)})" for c, v in samples.items())
        raise InputError(
            f"No column can be told to be the {' or the '.join(missing)}.",
            where=where,
            why=f"the columns are: {shown or 'none'}",
            remedy="name them: " + " ".join(f"--{role} COLUMN" for role in missing),
        )
    return found


def tuple_column(samples: Mapping[str, Any]) -> str | None:
    """The column that holds whole tuples [query, positive, negative…], when no other column names a role."""
    if any(names_a_role(column) for column in samples):
        return None
    return next((c for c, v in samples.items() if _plain(c) in _TUPLES and isinstance(v, list)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
