"""`false-negatives`, `judge`, `exposure`: who else answers a query, and what that costs a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from studio.cli.given import changes
from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.errors import InputError, UsageError
from studio.mining.agreement import Calibration
from studio.mining.collection import Collection
from studio.mining.exposing import UNSEARCHED, exposures, simulated
from studio.mining.false_negatives import FAR, NAME, configured, rows_key, search
from studio.mining.judging import Queue, queue, queue_if_any
from studio.mining.retrieval import retrievers_of
from studio.mining.summary import JudgingSummary, summary
from studio.project.curate import Curated
from studio.project.explaining import find_row
from studio.project.ledger import Ledger
from studio.project.project import Project
from studio.project.settings import RetrieverSettings
from studio.project.verdicts import Drawn, Judgement, Verdict, judge_all, verdicts

_TEXT = 400


def false_negatives(root: Path, models: list[str], cross_encoder: str | None, set_: list[str], as_json: bool) -> None:
    """`false-negatives`."""
    project = Project.open(root)
    given = changes(set_, "margin=0.1")
    if cross_encoder is not None:
        given["cross_encoder"] = cross_encoder
    settings = configured(project.settings, given)
    named = tuple(RetrieverSettings(model=model, max_length=project.settings.model.max_length) for model in models)
    with progress_bar() as progress:
        stored = search(project, settings, retrievers_of(project.settings, named), progress)
    stats = stored.evidence.stats
    if as_json:
        emit_json({"stats": stats, "notes": stored.evidence.notes, "seconds": stored.seconds, "config": stored.config})
        return
    emit_table(
        ("found", "count"),
        [
            ("queries of training rows", stats["queries"]),
            ("their passages", stats["passages"]),
            ("candidates", stats["candidates"]),
            ("queries with one", stats["queries_with_candidates"]),
            (f"rows with {FAR}", stats["own_positive_far"]),
        ],
    )
    for note in stored.evidence.notes:
        say(f"note: {note}")
    say(f"{stored.seconds:.1f} s; next: harrier-studio judge --project {root}")


def judge(
    root: Path,
    next_: int | None,
    verdict: str | None,
    query: str | None,
    passage: str | None,
    source: Path | None,
    sample: bool,
    seed: int,
    judge_name: str | None,
    stats: bool,
    as_json: bool,
) -> None:
    """`judge`: one of --next, --set, --from, --stats; --next when none is named."""
    asked = [name for name, on in (("--next", next_), ("--set", verdict), ("--from", source), ("--stats", stats)) if on]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} cannot be asked for at once.", remedy="one command for each")
    if (query or passage) and not verdict:
        raise UsageError("--query and --passage belong to --set.", remedy="add --set also_answers, or another verdict")
    project = Project.open(root)
    actor = f"person:{judge_name}" if judge_name else "person"
    drawn: Drawn = "sample" if sample else "damage"
    waiting = _Waiting(project, drawn, seed)
    if verdict:
        if not (query and passage):
            raise UsageError("A verdict is on a --query and a --passage.", remedy="`judge --next` shows both rows")
        ids = project.snapshot["row_id"]
        lines = [Judgement(ids[find_row(project, query)], ids[find_row(project, passage)], Verdict(verdict))]
        _write(waiting, lines, actor, drawn, as_json)
    elif source:
        _write(waiting, list(_read(source, set(project.snapshot["row_id"]))), actor, drawn, as_json)
    elif stats:
        _emit_summary(summary(project, waiting.queue), waiting.queue.calibration, as_json)
    else:
        _emit_next(waiting, next_ or 1, actor, as_json)


class _Waiting:
    """The queue of a project, read once for a command."""

    def __init__(self, project: Project, drawn: Drawn, seed: int) -> None:
        self.project = project
        self.curated: Curated = project.curated()
        found = next((stored for stored in project.fresh_evidence() if stored.check == NAME), None)
        collection = Collection.of(project, self.curated)
        self.queue: Queue = queue(project, found, self.curated, collection, drawn, seed)
        if found and found.config.get("rows") != rows_key(collection):
            say("note: the rows changed since the search; run `harrier-studio false-negatives` again to see new ones")

    def texts(self, judgements: list[Judgement], *others: str) -> dict[str, dict[str, Any]]:
        """By row_id: `number` (from 1), `query` and `positive` of the rows that judgements are about, and of others."""
        ids = [*others, *(row_id for one in judgements for row_id in one[:2])]
        rows = self.curated.rows.with_row_index("number", 1).filter(pl.col("row_id").is_in(ids))
        return {
            row["row_id"]: row for row in rows.select("row_id", "number", "query", "positive").iter_rows(named=True)
        }


def _write(waiting: _Waiting, lines: list[Judgement], actor: str, drawn: Drawn, as_json: bool) -> None:
    """Write verdicts, the margin of each candidate with it; all are one step of undo."""
    _refuse_across_splits(waiting, lines)
    known = waiting.queue.lines.select("query_id", "passage_id", "margin")
    margins = {(query_id, passage_id): margin for query_id, passage_id, margin in known.iter_rows()}
    judged = [one._replace(margin=margins.get((one.query_id, one.passage_id))) for one in lines]
    project = waiting.project
    with project.locked():
        made = judge_all(project.ledger, judged, actor=actor, drawn=drawn)
    if as_json:
        emit_json({"judged": [one._asdict() for one in judged], "decisions": made.seqs, "ambiguous": made.ambiguous})
        return
    texts = waiting.texts(judged)
    for one in judged:
        emit(f"{one.query_id} {one.passage_id}: {one.verdict.value}")
        emit(f"  query    {_cut(texts[one.query_id]['query'])}")
        emit(f"  passage  {_cut(texts[one.passage_id]['positive'])}")
        if one.margin is None:
            say(f"note: {one.query_id} {one.passage_id} is no candidate of the search")
    for query_id in made.ambiguous:
        say(f"{query_id}: more than seven passages also answer it; tagged as ambiguous")
    if not made.seqs:
        say("already said; nothing changed")
    else:
        what = "all of it" if len(made.seqs) > 1 else "it"
        say(f"undo {what} with: harrier-studio decide --undo --project {project.root}")


def _refuse_across_splits(waiting: _Waiting, lines: list[Judgement]) -> None:
    """A test's passage is no positive of a training query; that a training passage answers a test's query only tells.

    Raises:
        UsageError: the rows of a judgement are in different splits, and its query is not held out.
    """
    splits = dict(waiting.curated.rows.select("row_id", pl.col("split").fill_null("train")).iter_rows())
    held_out = waiting.project.settings.curation.protected_splits
    for one in lines:
        of_query, of_passage = splits[one.query_id], splits[one.passage_id]
        if of_query != of_passage and of_query not in held_out and one.verdict is Verdict.ALSO_ANSWERS:
            raise UsageError(
                f"{one.query_id} is in split {of_query} and {one.passage_id} in {of_passage}.",
                why="as positives of each other's queries they would leak from one to the other",
                remedy="judge rows of one split; `split` and `check leakage` are about what lies across",
            )


def _read(path: Path, known: set[str]) -> Iterator[Judgement]:
    """Read verdicts from JSON lines, or from what `--next --json` printed with a `verdict` put to each candidate.

    Raises:
        InputError: the file or a line cannot be used.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "The verdicts cannot be read.", where=str(path), why=str(error), remedy="give a file of JSON lines"
        ) from error
    lines = _printed(text) or text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _verdict(line, f"{path}:{number}", known)


def _printed(text: str) -> list[str]:
    """The candidates with a verdict in a document that `--next --json` printed, as JSON lines; [] of any other text."""
    try:
        candidates = json.loads(text)["candidates"]
        return [json.dumps(candidate) for candidate in candidates if "verdict" in candidate]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []


def _verdict(line: str, where: str, known: set[str]) -> Judgement:
    try:
        record = json.loads(line)
        query_id, passage_id, verdict = record["query_id"], record["passage_id"], record["verdict"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(
            "This line is no verdict.",
            where=where,
            why=f"{type(error).__name__}: {error}",
            remedy='write {"query_id": …, "passage_id": …, "verdict": …} in each line',
        ) from error
    for row_id in (query_id, passage_id):
        if row_id not in known:
            raise InputError(f"There is no row `{row_id}` in this project.", where=where)
    if query_id == passage_id:
        raise InputError("A query's own passage is no candidate.", where=where)
    if verdict not in list(Verdict):
        raise InputError(f"`{verdict}` is no verdict.", where=where, remedy=f"use one of {', '.join(Verdict)}")
    return Judgement(query_id, passage_id, Verdict(verdict))


def _emit_next(waiting: _Waiting, count: int, actor: str, as_json: bool) -> None:
    """Print the next candidates with their texts."""
    ledger: Ledger = waiting.project.ledger
    named = actor != "person"
    open_ = waiting.queue.waiting(actor if named else None, verdicts(ledger.log(), ledger.targets()) if named else None)
    shown = [_candidate(waiting, line) for line in open_.head(count).iter_rows(named=True)]
    if as_json:
        emit_json({"waiting": open_.height, "of": waiting.queue.lines.height, "candidates": shown})
        return
    for line in shown:
        bound = "at least " if line["at_least"] else ""
        emit(
            f"row {line['query_row']:,} {line['query_id']}  candidate {line['passage_row']:,} {line['passage_id']}  "
            f"probability {line['probability']:.2f}  damage {line['damage']:.2f}  margin {bound}{line['margin']:+.3f}  "
            f"rank {line['rank'] or '-'} (own {line['own_rank'] or '-'})  {', '.join(line['reasons'])}"
        )
        for asked in line["asked"]:
            emit(f"  sent from an evaluation: {asked}")
        if line["held_by"]:
            emit(f"  but: {', '.join(line['held_by'])} differ")
        for name in ("query", "own", "passage"):
            emit(f"  {name:8} {_cut(line[name + '_text'])}")
    if shown:
        first = shown[0]
        say(
            f"{open_.height:,} of {waiting.queue.lines.height:,} candidates are waiting; judge the first with: "
            f"harrier-studio judge --project {waiting.project.root} --set also_answers|does_not|partly|skip "
            f"--query {first['query_id']} --passage {first['passage_id']}"
        )
    else:
        say("nothing is waiting to be judged")


def _candidate(waiting: _Waiting, line: dict[str, Any]) -> dict[str, Any]:
    """A line of the queue with row numbers and texts in the place of numbers that only the engine knows."""
    named = {name: line[f"{name}_id"] for name in ("query", "own", "passage")}
    texts = waiting.texts([Judgement(named["query"], named["passage"], Verdict.SKIP)], named["own"])
    columns = {"query": "query", "own": "positive", "passage": "positive"}
    return {
        **{name: value for name, value in line.items() if name not in ("query", "passage", "direct")},
        **{f"{name}_row": texts[row_id]["number"] for name, row_id in named.items()},
        **{f"{name}_text": texts[row_id][columns[name]] for name, row_id in named.items()},
    }


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else line[: _TEXT - 1] + "…"


def _emit_summary(said: JudgingSummary, calibration: Calibration, as_json: bool) -> None:
    losses = {name: getattr(calibration, name) for name in ("brier", "base_brier", "log_loss", "base_log_loss")}
    if as_json:
        emit_json({**said._asdict(), "agreements": [item._asdict() for item in said.agreements], **losses})
        return
    names = ("judged", "also_answers", "does_not", "partly", "skipped", "disputed", "ambiguous")
    emit_table(("candidates", "count"), [(name, getattr(said, name)) for name in names])
    emit()
    for judge_name, count in said.judges:
        emit(f"{judge_name} judged {count:,}")
    for item in said.agreements:
        kappa = "undefined" if item.kappa is None else f"{item.kappa:.2f}"
        observed = "" if item.observed is None else f", agree on {item.observed:.0%}"
        emit(f"{item.one} and {item.other}: {item.both:,} judged by both{observed}, kappa {kappa}")
    if said.precision is None:
        emit("precision of the queue: not known; judge some with --sample")
    else:
        emit(
            f"precision of the queue: {said.precision:.2f} [{said.low:.2f}, {said.high:.2f}] "
            f"of {said.sampled:,} drawn by chance (Wilson, 95 %)"
        )
    half = "beyond ±1" if said.half is None else f"{said.half:+.3f}"
    emit(f"standing at which half also answer: {half} (rests on: {said.rests_on}, {said.calibrated_on:,} judged)")
    if calibration.trustworthy:
        emit("the standing tells more than the base rate (leave-one-out Brier and log loss)")
    elif calibration.n:
        emit("the standing has not yet been shown to tell more than the base rate (leave-one-out Brier and log loss)")
    emit(f"false negatives to expect among those waiting: {said.expected:.1f}")


def exposure(root: Path, batch: int, devices: int, gather: bool, simulate: int | None, as_json: bool) -> None:
    """`exposure`."""
    project = Project.open(root)
    curated = project.curated()
    collection = Collection.of(project, curated)
    found = next((stored for stored in project.fresh_evidence() if stored.check == NAME), None)
    asked = queue_if_any(project, found, curated, collection)
    lines, calibration = (asked.lines, asked.calibration) if asked else (None, None)
    gauges = exposures(project, project.snapshot, collection, curated, lines, batch, devices, gather)
    counted = []
    if simulate:
        with progress_bar() as progress:
            counted = simulated(project, collection, curated, lines, batch, devices, gather, simulate, progress)
    if as_json:
        emit_json(
            {
                "batch": batch,
                "devices": devices,
                "gather": gather,
                "rows": collection.training.height,
                "closed_form": [gauge._asdict() for gauge in gauges],
                "simulated": [count._asdict() for count in counted],
                "searched": found is not None,
            }
        )
        return
    emit_table(
        ("sampler", "a batch, before", "after", "an epoch, before", "after", "queries hit, before", "after"),
        [
            (
                gauge.sampler,
                gauge.before,
                gauge.after,
                gauge.epoch_before,
                gauge.epoch_after,
                f"{gauge.hit_before:.1%}",
                f"{gauge.hit_after:.1%}",
            )
            for gauge in gauges
        ],
    )
    if counted:
        emit()
        emit_table(
            ("sampler", f"a batch, drawn {simulate} epochs", "an epoch", "queries hit", "batches", "rows left over"),
            [
                (item.sampler, item.batch, item.epoch, f"{item.hit:.1%}", item.batches, item.left_over)
                for item in counted
            ],
        )
    rows = collection.training.height
    size = batch * devices if gather else batch
    shared = f" ({devices} × {batch}, shared by all devices)" if gather and devices > 1 else " on each device"
    say(f"batch {size}{shared}; {rows:,} training rows as decided; what nobody found is not counted")
    if size > rows:
        say(f"note: a batch of {size:,} is more than there are rows; the figures are for one batch of all {rows:,}")
    if gather and devices == 1:
        say("note: --gather changes nothing with one device")
    if calibration is not None:
        words = {"prior": "a guess: nothing is judged yet", "few": f"few judgements: {calibration.n:,}"}
        rests = words.get(calibration.rests_on, f"{calibration.n:,} judgements")
        say(f"how likely undecided candidates are rests on {rests}")
    if found is None:
        say(f"note: {UNSEARCHED}")
