"""Sending misses: which rows they are about, what stands against it, and the decisions that put them there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from studio.evaluation.missed import Found, Miss, To, miss, misses, worst_first
from studio.mining.asking import MISSED
from studio.mining.collection import Collection
from studio.mining.relations import judged
from studio.project.asked import Outranked, asked
from studio.project.curate import Curated
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.splitting import TRAIN
from studio.text.equal import equal_at
from studio.text.normalise import Level

__all__ = ["Found", "Miss", "Refused", "Sent", "To", "exported", "miss", "misses", "send", "send_all", "worst_first"]

_PATIENCE = 60.0
"""Seconds to wait for another process that is deciding."""
_LINE = ["query", "passage"]
EXPORTED_SPLIT = "evaluation"
"""Split of exported misses: one that rules protect and nothing trains on, for they are questions of a test."""


class Refused(NamedTuple):
    """What was not sent: a query, the passage if it is about one, and why."""

    query_id: str
    passage_id: str
    why: str


class Sent(NamedTuple):
    """What sending did.

    Attributes:
        to: where to.
        rows: to the pairs: the rows that were tagged. To the queue: row of the query and row of the passage.
        seqs: the decisions that were written, one step of undo; () if nothing was.
        already: how many were there before.
        refused: what could not be sent.
        notes: what a person should know.
    """

    to: To
    rows: tuple[tuple[str, str], ...]
    seqs: tuple[int, ...]
    already: int
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]


class _Rows:
    """The kept rows of a project, found by the texts of misses."""

    def __init__(self, project: Project, curated: Curated, collection: Collection, several: Sequence[Miss]) -> None:
        self.collection = collection
        self._rows = collection.rows.with_columns(split=pl.col("split").fill_null(TRAIN))
        self._numbers = {
            row_id: (query, passage) for row_id, query, passage in collection.rows.select("row_id", *_LINE).iter_rows()
        }
        self._positions = {row_id: at for at, row_id in enumerate(project.snapshot["row_id"], 1)}
        passages = [found.text for one in several for found in (*one.gold, *one.above)]
        self._queries = _by_text(collection.queries, [one.query for one in several])
        self._passages = _by_text(collection.passages, passages)

    def query(self, one: Miss) -> int | None:
        """The number of its query."""
        known = self._numbers.get(one.query_id) if one.in_project else None
        return known[0] if known else self._queries.get(one.query)

    def passage(self, one: Miss, found: Found) -> int | None:
        """The number of a passage."""
        known = self._numbers.get(found.passage_id) if one.in_project else None
        return known[1] if known else self._passages.get(found.text)

    def of_query(self, number: int) -> pl.DataFrame:
        return self._rows.filter(pl.col("query") == number)

    def of_passage(self, number: int) -> pl.DataFrame:
        return self._rows.filter(pl.col("passage") == number)

    def number(self, row_id: str) -> str:
        """A row's number, as people count."""
        return f"{self._positions[row_id]:,}"


def send(project: Project, one: Miss, to: To) -> Sent:
    """Send one miss, as `send_all` does."""
    return send_all(project, [one], to)


def send_all(
    project: Project,
    several: Sequence[Miss],
    to: To,
    *,
    curated: Curated | None = None,
    collection: Collection | None = None,
) -> Sent:
    """Send misses to where a person decides, as one step of undo. Waits for another process that is deciding.

    To the queue goes each passage that nobody judged and that stands above one that answers, if a row of the project
    has it: one of the query's own split, or, where the query is held out, one of any split. (That a training passage
    answers a test's query completes the test; a test's passage is no positive of a training query.)
    To the pairs goes the row of the query. Texts are the project's if the set was made of it, or if they are equal at
    L2.

    Args:
        project: whose ledger is written.
        several: of one evaluation or of several.
        to: where to.
        curated: the outcomes, if they are at hand.
        collection: made of them.

    Raises:
        UnavailableError: another process holds the project.
        ProjectError: no row is kept.
    """
    with project.locked(wait=_PATIENCE):
        curated = curated or project.curated()
        collection = collection or Collection.of(project, curated)
        rows = _Rows(project, curated, collection, several)
        planned = _candidates(project, curated, rows, several) if to is To.ANSWERS else _tags(project, rows, several)
        seqs = project.ledger.append_step(planned.steps)
    leaked = [f"{one.query_id}: {one.leaked}" for one in several if one.leaked]
    notes = [f"{len(leaked):,} of these queries have leaked ({leaked[0]})"] if leaked else []
    return Sent(to, tuple(planned.rows), tuple(seqs), planned.already, tuple(planned.refused), tuple(notes))


class _Planned(NamedTuple):
    steps: list[tuple[Action, str, list[Target]]]
    rows: list[tuple[str, str]]
    already: int
    refused: list[Refused]


def _candidates(project: Project, curated: Curated, rows: _Rows, several: Sequence[Miss]) -> _Planned:
    log, targets = project.ledger.log(), project.ledger.targets()
    there = set(asked(log, targets).select("query_id", "passage_id", "evidence").iter_rows())
    told = judged(rows.collection, log, targets, curated)
    states = {(query, passage): state for query, passage, state in told.select(*_LINE, "state").iter_rows()}
    own = set(rows.collection.own.iter_rows())
    wanted: list[Target] = []
    refused, already = [], 0
    for one in several:
        query = rows.query(one)
        if query is None:
            refused.append(Refused(one.query_id, "", _no_row(one, "query")))
            continue
        if not one.above:
            refused.append(Refused(one.query_id, "", "everything above what answers it is judged"))
        gold = one.gold[0] if one.gold else None
        for found in one.above:
            passage = rows.passage(one, found)
            why = _against(one, query, passage, own, states)
            pair = None if why or passage is None else _rows_of(rows, query, passage)
            if pair is None or isinstance(pair, str):
                refused.append(Refused(one.query_id, found.passage_id, why or str(pair)))
                continue
            evidence = _outranked(one, found, _row_of(rows, one, gold)).model_dump_json()
            if (*pair, evidence) in there:
                already += 1
                continue
            there.add((*pair, evidence))
            wanted.append(Target(*pair, _margin(one, found), None, evidence))
    reason = "missed in an evaluation"
    pairs = [(target.row_id, str(target.keeper_id)) for target in wanted]
    return _Planned([(Action.ASK, reason, wanted)], pairs, already, refused)


def _no_row(one: Miss, what: str) -> str:
    if one.in_project:
        return f"no kept row has this {what} any more"
    return f"no kept row of the project has this {what}; `misses --out` writes it to a file instead"


def _against(
    one: Miss,
    query: int,
    passage: int | None,
    own: set[tuple[int, int]],
    states: dict[tuple[int, int], str],
) -> str:
    """Why a passage is not asked about, or ""."""
    if passage is None:
        return _no_row(one, "passage")
    if (query, passage) in own:
        return "it is a known positive of this query"
    state = states.get((query, passage))
    return f"it is judged: {state}" if state and state not in ("undecided", "disputed", "skipped") else ""


def _rows_of(rows: _Rows, query: int, passage: int) -> tuple[str, str] | str:
    """A row of the query and one of the passage that may be judged together; if there is none, why that matters."""
    asking, answering = rows.of_query(query), rows.of_passage(passage)
    apart = asking.join(answering, how="cross").filter(pl.col("row_id") != pl.col("row_id_right"))
    one_split = pl.col("split") == pl.col("split_right")
    both = apart.filter(one_split | pl.col("evaluates")).sort(one_split, descending=True, maintain_order=True)
    if both.height:
        first, second = both.select("row_id", "row_id_right").row(0)
        return str(first), str(second)
    of_query, of_passage = asking.row(0, named=True), answering.row(0, named=True)
    return (
        f"row {rows.number(of_passage['row_id'])}, which has it, is in split {of_passage['split']}, the query in "
        f"{of_query['split']}: they cannot be positives of each other; `check leakage` and the pairs are about that"
    )


def _row_of(rows: _Rows, one: Miss, gold: Found | None) -> str:
    """A row whose passage is the best-ranked one that answers; "" where no row has it."""
    number = None if gold is None else rows.passage(one, gold)
    return "" if number is None else str(rows.collection.passages["row_id"][number])


def _outranked(one: Miss, found: Found, gold_id: str) -> Outranked:
    gold = one.gold[0] if one.gold else None
    return Outranked(
        evaluation=one.evaluation,
        system=one.system,
        rank=found.rank or 1,
        score=found.score or 0.0,
        gold_rank=gold.rank if gold else None,
        gold_score=gold.score if gold else None,
        gold_id=gold_id,
        mrr=one.mrr,
    )


def _margin(one: Miss, found: Found) -> float:
    """How far it is above the best-ranked passage that answers, or above all that the ranking left out."""
    gold = one.gold[0].score if one.gold and one.gold[0].score is not None else one.floor
    score = found.score or 0.0
    return 0.0 if gold is None else (score - gold) / max(abs(gold), 1e-9)


def _tags(project: Project, rows: _Rows, several: Sequence[Miss]) -> _Planned:
    tagged, noted = _remarks(project)
    tags: list[Target] = []
    notes: list[Target] = []
    refused, already = [], 0
    for one in several:
        query = rows.query(one)
        if query is None:
            refused.append(Refused(one.query_id, "", _no_row(one, "query")))
            continue
        row_id, words = _asking_row(rows, one, query), _note(rows, one)
        if row_id in tagged and (row_id, words) in noted:
            already += 1
            continue
        evidence = json.dumps({"evaluation": one.evaluation, "system": one.system, "query_id": one.query_id})
        if row_id not in tagged:
            tags.append(Target(row_id, value=MISSED, evidence=evidence))
        notes.append(Target(row_id, score=one.value, value=words, evidence=evidence))
        tagged.add(row_id)
        noted.add((row_id, words))
    steps = [(Action.TAG, "missed in an evaluation", tags), (Action.NOTE, "missed in an evaluation", notes)]
    return _Planned(steps, [(target.row_id, "") for target in notes], already, refused)


def _remarks(project: Project) -> tuple[set[str], set[tuple[str, str]]]:
    """The rows that have the tag, and the notes that rows have."""
    active = {decision.seq: decision.action for decision in project.ledger.active()}
    tagged: set[str] = set()
    noted: set[tuple[str, str]] = set()
    for seq, row_id, value in project.ledger.targets(active).select("seq", "row_id", "value").iter_rows():
        if active[seq] is Action.NOTE:
            noted.add((row_id, value))
        elif value == MISSED and active[seq] is Action.TAG:
            tagged.add(row_id)
        elif value == MISSED and active[seq] is Action.UNTAG:
            tagged.discard(row_id)
    return tagged, noted


def _asking_row(rows: _Rows, one: Miss, query: int) -> str:
    """The row of the query: the one that has a passage which answers, if there is one."""
    asking = rows.of_query(query)
    answers = {rows.passage(one, found) for found in one.gold} - {None}
    both = asking.filter(pl.col("passage").is_in(list(answers)))
    return str((both if both.height else asking)["row_id"][0])


def _note(rows: _Rows, one: Miss) -> str:
    """The words of the miss, with the rows of what stood above."""
    numbers = (rows.passage(one, found) for found in one.above)
    ids = [str(rows.collection.passages["row_id"][number]) for number in numbers if number is not None]
    above = f"; above it, judged by nobody: rows {', '.join(map(rows.number, ids))}" if ids else ""
    leaked = f"; {one.leaked}" if one.leaked else ""
    return one.words + above + leaked


def _by_text(distinct: pl.DataFrame, texts: Sequence[str]) -> dict[str, int]:
    """The numbers of texts among those of a collection, equal at L2."""
    if not texts:
        return {}
    wanted = pl.Series("text", texts, dtype=pl.String)
    keys = equal_at(pl.concat([distinct["text"], wanted]), Level.SURFACE)
    known = {key: number for number, key in enumerate(keys[: distinct.height])}
    found = ((text, known.get(key)) for text, key in zip(texts, keys[distinct.height :], strict=True))
    return {text: number for text, number in found if number is not None}


def exported(several: Iterable[Miss]) -> Iterable[str]:
    """Yield misses as JSON lines that `import` reads: a query and each passage that answers it, and what happened.

    They carry the split `evaluation`: whoever means to train on a test's queries has to say so.
    """
    for one in several:
        happened = {
            "evaluation": one.evaluation,
            "set": one.of_set,
            "system": one.system,
            "metric": one.metric,
            "value": one.value,
            "against": one.against or None,
            "before": one.before,
            "leaked": one.leaked or None,
            "unjudged": [
                {"id": found.passage_id, "rank": found.rank, "retrieval_score": found.score, "passage": found.text}
                for found in one.above
            ],
        }
        for gold in one.gold:
            if gold.text:
                line = {
                    "query": one.query,
                    "positive": gold.text,
                    "split": EXPORTED_SPLIT,
                    "query_id": one.query_id,
                    "passage_id": gold.passage_id,
                    "rank": gold.rank,
                    "missed": happened,
                }
                yield json.dumps(line, ensure_ascii=False)
