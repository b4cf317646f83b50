"""What the False negatives panel asks: the queue, one candidate in full, what the judges came to, what a run meets."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

import polars as pl

from studio.errors import UsageError
from studio.mining.collection import Collection
from studio.mining.exposing import UNSEARCHED, Gauge, exposures
from studio.mining.false_negatives import NAME, rows_key
from studio.mining.judging import Queue, most_own, queue_if_any
from studio.mining.summary import JudgingSummary, summary
from studio.project.curate import Curated
from studio.project.evidence import StoredEvidence
from studio.project.verdicts import Drawn, State, verdicts
from studio.view.bench import Bench

Show = Literal["waiting", "all", "judged"]
MOST = 2_000
TEXT = 4_000
"""Characters of a text that are shown; the row itself has all of them."""
_EXCERPT = 200


class CandidateHead(NamedTuple):
    """One line of the queue. `mine`: the verdict of the judge who asks, or ""; `query`: its beginning, in one line.

    `at_least`: the margin is the least it can be, as of `CandidateDetail`.
    """

    query_id: str
    passage_id: str
    query: str
    state: str
    margin: float
    damage: float
    probability: float
    certain: bool
    reasons: tuple[str, ...]
    mine: str
    at_least: bool = False


class QueueAnswer(NamedTuple):
    """The queue as it stands.

    `searched`: somebody has looked for false negatives, or sent a miss of an evaluation. `stale`: decisions changed the
    rows since. `heads`: the first lines. `waiting`: candidates to be judged; `total`: all of them; `certain`: those of
    which the checks are sure. `notes`: of the search.
    """

    searched: bool
    stale: bool
    heads: tuple[CandidateHead, ...]
    waiting: int
    total: int
    certain: int
    summary: JudgingSummary | None
    notes: tuple[str, ...]


class CandidateDetail(NamedTuple):
    """One candidate with its texts, cut at TEXT characters. The numbers are those of `mining.judging.QUEUE_SCHEMA`.

    `positions`: of the rows of the query, of its own positive, of the candidate. `passage_query`: the query that the
    candidate is the positive of. `verdicts`: judge and verdict. `answers`: passages judged to also answer the query.
    `calibrated_on`: judgements that the probability rests on. `asked`: in which evaluations a system put it above the
    own positive, where a person sent it here. `at_least`: none of them found the own positive, so that its score is not
    known: `own_score` is what it is at most, and the margin the least it can be.
    """

    query_id: str
    passage_id: str
    own_id: str
    positions: tuple[int, int, int]
    query: str
    own: str
    passage: str
    passage_query: str
    score: float
    own_score: float
    margin: float
    rank: int | None
    own_rank: int | None
    second_rank: int | None
    bm25_rank: int | None
    cross: float | None
    cross_own: float | None
    likeness: float | None
    reasons: tuple[str, ...]
    held_by: tuple[str, ...]
    probability: float
    damage: float
    meetings: int
    certain: bool
    state: str
    verdicts: tuple[tuple[str, str], ...]
    answers: int
    calibrated_on: int
    asked: tuple[str, ...] = ()
    at_least: bool = False


class ExposureAnswer(NamedTuple):
    """What a run meets. `rows`: training rows as decided. `unknown`: what is not known yet, in words, or ""."""

    batch: int
    devices: int
    gather: bool
    rows: int
    gauges: tuple[Gauge, ...]
    unknown: str


_COLLECTED: WeakKeyDictionary[Bench, tuple[int, Collection]] = WeakKeyDictionary()
_QUEUES: WeakKeyDictionary[Bench, dict[Any, Queue | None]] = WeakKeyDictionary()


def fn_queue(
    bench: Bench, order: Drawn = "damage", show: Show = "waiting", judge: str = "person", most: int = MOST
) -> QueueAnswer:
    """The queue in an order: what is to be judged (by anyone), all of it, or what is judged.

    Args:
        bench: the project.
        order: `damage` or `sample`.
        show: which lines.
        judge: whose verdicts are `mine`. For a named judge a line waits until that judge has judged it.
        most: lines returned.
    """
    found = _found(bench)
    whole = _queue(bench, found, order)
    if whole is None:
        return QueueAnswer(False, False, (), 0, 0, 0, None, ())
    given = verdicts(bench.log(), bench.project.ledger.targets())
    waiting = whole.waiting(judge, given) if judge != "person" else whole.waiting()
    lines = {"waiting": waiting, "all": whole.lines, "judged": whole.lines.filter(_judged())}[show]
    mine = given.filter(pl.col("judge") == judge).select("query_id", "passage_id", pl.col("verdict").alias("mine"))
    shown = lines.head(most).join(mine, on=["query_id", "passage_id"], how="left", maintain_order="left")
    texts = whole.collection.queries["text"].gather(shown["query"])
    heads = tuple(
        CandidateHead(
            line["query_id"],
            line["passage_id"],
            " ".join(text[: _EXCERPT * 4].split())[:_EXCERPT],
            line["state"],
            line["margin"],
            line["damage"],
            line["probability"],
            line["certain"],
            tuple(line["reasons"]),
            line["mine"] or "",
            line["at_least"],
        )
        for line, text in zip(shown.iter_rows(named=True), texts, strict=True)
    )
    return QueueAnswer(
        True,
        found is not None and found.config.get("rows") != rows_key(whole.collection),
        heads,
        waiting.height,
        whole.lines.height,
        int(whole.lines["certain"].sum()),
        summary(bench.project, whole),
        found.evidence.notes if found else (UNSEARCHED,),
    )


def fn_candidate(bench: Bench, query_id: str, passage_id: str) -> CandidateDetail:
    """One candidate of the queue.

    Raises:
        UsageError: it is not in the queue (any more).
    """
    whole = _queue(bench, _found(bench), "damage")
    this = (pl.col("query_id") == query_id) & (pl.col("passage_id") == passage_id)
    if whole is None or (lines := whole.lines.filter(this)).is_empty():
        raise UsageError("This candidate is not in the queue any more.", remedy="ask for the queue again")
    line = lines.row(0, named=True)
    rows = bench.curated()
    ids = (query_id, line["own_id"], passage_id)
    known = bench.places.filter(pl.col("row_id").is_in(list(ids)))
    place = dict(known.select("row_id", "position").iter_rows())
    positions = (place[ids[0]], place[ids[1]], place[ids[2]])
    query, own, passage = (rows.row(position, named=True) for position in positions)
    given = verdicts(bench.log(), bench.project.ledger.targets()).filter(this)
    answering = whole.lines.filter(
        (pl.col("query") == line["query"]) & (pl.col("state") == State.ALSO_ANSWERS.value)
    ).height
    return CandidateDetail(
        query_id,
        passage_id,
        line["own_id"],
        positions,
        query["query"][:TEXT],
        own["positive"][:TEXT],
        passage["positive"][:TEXT],
        passage["query"][:TEXT],
        line["score"],
        lines.select(most_own()).item(),
        line["margin"],
        line["rank"],
        line["own_rank"],
        line["second_rank"],
        line["bm25_rank"],
        line["cross"],
        line["cross_own"],
        line["likeness"],
        tuple(line["reasons"]),
        tuple(line["held_by"]),
        line["probability"],
        line["damage"],
        line["meetings"],
        line["certain"],
        line["state"],
        tuple(given.select("judge", "verdict").iter_rows()),
        answering,
        whole.calibration.n,
        tuple(line["asked"]),
        line["at_least"],
    )


def exposure(bench: Bench, batch: int = 128, devices: int = 1, gather: bool = False) -> ExposureAnswer:
    """The false negatives that a run with these batches meets, before and after decisions, by sampler.

    Raises:
        UsageError: a batch of fewer than two rows, or no device.
    """
    collection, found = _collection(bench), _found(bench)
    whole = _queue(bench, found, "damage")
    lines = whole.lines if whole else None
    gauges = exposures(bench.project, bench.rows, collection, _curated(bench), lines, batch, devices, gather)
    unknown = "" if found else UNSEARCHED
    return ExposureAnswer(batch, devices, gather, collection.training.height, gauges, unknown)


def _judged() -> pl.Expr:
    return pl.col("state") != State.UNDECIDED.value


def _found(bench: Bench) -> StoredEvidence | None:
    return bench.evidence().get(NAME)


def _curated(bench: Bench) -> Curated:
    """The outcomes; nothing asked here needs the answer groups, which take longest."""
    return Curated(bench.curated().with_columns(group_id=pl.lit(None, dtype=pl.String)))


def _collection(bench: Bench) -> Collection:
    """The kept rows, collected again only when the ledger grew."""
    log = bench.log()
    last = log[-1].seq if log else 0
    known = _COLLECTED.get(bench)
    if known is None or known[0] != last:
        known = last, Collection.of(bench.project, _curated(bench))
        _COLLECTED[bench] = known
    return known[1]


def _queue(bench: Bench, found: StoredEvidence | None, order: Drawn) -> Queue | None:
    """The queue, ordered again only when the ledger grew or another search was made; None where there is nothing."""
    log = bench.log()
    key = (order, log[-1].seq if log else 0, found.key if found else "", found.seconds if found else 0.0)
    known = _QUEUES.setdefault(bench, {})
    if key not in known:
        for old in [old for old in known if old[1:] != key[1:]]:
            del known[old]
        known[key] = queue_if_any(bench.project, found, _curated(bench), _collection(bench), order)
    return known[key]
