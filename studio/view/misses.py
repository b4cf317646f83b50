"""What the Evaluate panel asks to have done with a query that a system missed: send it to where a person decides."""

from __future__ import annotations

from typing import NamedTuple

from studio.evaluation.misses import To, miss, send
from studio.view.bench import Bench
from studio.view.evaluations import loaded


class SentMiss(NamedTuple):
    """What sending came to.

    Attributes:
        to: `pairs` or `answers`.
        sent: rows that were marked, or candidates that wait to be judged now.
        already: how many were there before.
        refused: what was not sent, and why.
        notes: what a person should know.
    """

    to: str
    sent: int
    already: int
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def send_miss(
    bench: Bench,
    evaluation: str,
    is_run: bool,
    system: str,
    query_id: str,
    to: str,
    against: str = "",
    metric: str = "",
) -> SentMiss:
    """Send what a system missed to the pairs or to the queue of false negatives, as one step of undo.

    Args:
        bench: the project.
        evaluation: name of the evaluation or of the run.
        is_run: whether it is a run.
        system: whose miss it is.
        query_id: which query.
        to: `pairs` or `answers`.
        against: the system that did better, or "".
        metric: by which it is a miss; empty: the main one.

    Raises:
        UsageError: there is no such query or system, or what the system retrieved is not known.
        InputError: a file of the evaluation cannot be used.
        UnavailableError: another process holds the project.
    """
    stored, _ = loaded(bench, evaluation, is_run)
    found = miss(stored, query_id, system, against=against, metric=metric)
    sent = send(bench.project, found, To(to))
    refused = tuple(f"{each.passage_id or 'the query'}: {each.why}" for each in sent.refused)
    return SentMiss(sent.to.value, len(sent.rows), sent.already, refused, sent.notes)
