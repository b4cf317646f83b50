"""`show false_negatives`: the queue, what a run will meet and what the judges came to, as plain lines."""

from __future__ import annotations

from typing import Any

from studio.cli.output import emit, emit_json, say
from studio.view.bench import Bench
from studio.view.judging import CandidateDetail, ExposureAnswer, QueueAnswer, exposure, fn_candidate, fn_queue

_TEXT = 200
_SAMPLERS = {
    "random": "any order",
    "no_duplicates": "no duplicates",
    "answer_groups": "answer groups apart",
    "conflict_aware": "conflict-aware",
}


def show_false_negatives(bench: Bench, limit: int, as_json: bool) -> None:
    """Print the first `limit` candidates that wait, the gauge, and the state of judging."""
    queue, gauge = fn_queue(bench, most=limit), exposure(bench)
    details = [fn_candidate(bench, head.query_id, head.passage_id) for head in queue.heads]
    if as_json:
        emit_json(_plain(queue, gauge, details))
        return
    for line in gauge.gauges:
        emit(
            f"at batch {gauge.batch}, {_SAMPLERS[line.sampler]}: {line.before:.2f} false negatives a batch imported, "
            f"{line.after:.2f} decided; {line.hit_before:.1%} and {line.hit_after:.1%} of queries hit"
        )
    if not queue.searched:
        emit("false_negatives: nobody has looked for them yet")
        say(f"next: harrier-studio false-negatives --project {bench.project.root}")
        return
    emit(f"false_negatives: showing {len(details):,} of {queue.waiting:,} waiting, {queue.total:,} in all")
    if queue.stale:
        say("the rows changed since the search; run `harrier-studio false-negatives` again to see new ones")
    for detail in details:
        emit()
        emit(f"query {detail.query_id} {_cut(detail.query)}")
        found = f"not found, score at most {detail.own_score:.3f}"
        if not detail.at_least:
            found = f"score {detail.own_score:.3f}, rank {detail.own_rank or '-'}"
        emit(f"  own positive, {found}: {_cut(detail.own)}")
        rank = detail.rank or "beyond the depth"
        emit(f"  candidate {detail.passage_id}, score {detail.score:.3f}, rank {rank}: {_cut(detail.passage)}")
        bound = "at least " if detail.at_least else ""
        emit(f"  margin {bound}{detail.margin:+.1%}, probability {detail.probability:.2f}, {', '.join(detail.reasons)}")
        for asked in detail.asked:
            emit(f"  sent from an evaluation: {asked}")
        if detail.held_by:
            emit(f"  against it: {', '.join(detail.held_by)} differ")


def _plain(queue: QueueAnswer, gauge: ExposureAnswer, details: list[CandidateDetail]) -> dict[str, Any]:
    return {
        "searched": queue.searched,
        "stale": queue.stale,
        "waiting": queue.waiting,
        "total": queue.total,
        "certain": queue.certain,
        "exposure": {"batch": gauge.batch, "samplers": [line._asdict() for line in gauge.gauges]},
        "judged": queue.summary._asdict() if queue.summary else None,
        "candidates": [detail._asdict() for detail in details],
    }


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else line[: _TEXT - 1] + "…"
