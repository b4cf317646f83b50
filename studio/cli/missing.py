"""`misses`: the queries that a system missed, and sending them back to the rows."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.cli.output import emit, emit_json, say
from studio.errors import UsageError
from studio.evaluation.misses import Found, Miss, Sent, To, exported, miss, send_all, worst_first
from studio.evaluation.results import Evaluation
from studio.evaluation.storing import existing_evaluation, load
from studio.files import write_text
from studio.mining.asking import MISSED
from studio.project.project import Project
from studio.text.safe import visible

_TEXT = 200
_PASSAGES = 3
"""Of each kind, a miss; --json has all."""


def misses(
    root: Path,
    name: str,
    queries: Sequence[str],
    system: str | None,
    against: str,
    worst: int,
    metric: str,
    to: str | None,
    everything: bool,
    passages: Sequence[str] | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """`misses`."""
    if to and not (queries or everything):
        raise UsageError("Which misses are to be sent?", remedy="name queries, or add --all for all that are listed")
    if passages and len(queries) != 1:
        raise UsageError("--passage belongs to one query.", remedy="name one QUERY")
    project = Project.open(root)
    evaluation = load(existing_evaluation(root, name))
    whose = _system(evaluation, system, against)
    if queries:
        found = [miss(evaluation, one, whose, passages, against=against, metric=metric) for one in queries]
        lost = len(found)
    else:
        found, lost = worst_first(evaluation, whose, against=against, worst=worst, metric=metric)
    if out:
        write_text(out, "".join(f"{line}\n" for line in exported(found)))
    sent = send_all(project, found, To(to)) if to else None
    if as_json:
        emit_json({"misses": [_document(one) for one in found], "of": lost, "sent": _sent_document(sent)})
        return
    for one in found:
        _emit(one)
    if lost > len(found):
        say(f"the worst {len(found):,} of {lost:,}; more with --worst {lost}")
    if not lost:
        say(f"{visible(whose)} lost nothing" + (f" against {visible(against)}" if against else ""))
    if out:
        say(f"wrote {out}: in split `evaluation`, which nothing trains on; import it with `harrier-studio import`")
    if sent:
        _emit_sent(sent, root)
    elif found and not out:
        say("send them to where they are judged with --send answers, or to the pairs with --send pairs; which: ids, or "
            "--all")  # fmt: skip


def _system(evaluation: Evaluation, system: str | None, against: str) -> str:
    if system is not None:
        return system
    others = [one.name for one in evaluation.systems if one.name != against]
    if len(others) == 1:
        return others[0]
    known = ", ".join(map(visible, others)) or "none"
    raise UsageError("Whose misses?", where=evaluation.name, why=f"systems: {known}", remedy="name one with --system")


def _document(one: Miss) -> dict[str, Any]:
    return {
        **one._asdict(),
        "gold": [found._asdict() for found in one.gold],
        "above": [found._asdict() for found in one.above],
    }


def _sent_document(sent: Sent | None) -> dict[str, Any] | None:
    if sent is None:
        return None
    return {
        "to": sent.to.value,
        "rows": [[row for row in pair if row] for pair in sent.rows],
        "decisions": sent.seqs,
        "already": sent.already,
        "refused": [refused._asdict() for refused in sent.refused],
        "notes": sent.notes,
    }


def _emit(one: Miss) -> None:
    before = "" if one.before is None else f" (was {one.before:.3f})"
    _line(f"{visible(one.query_id)}  {one.metric} {one.value:.3f}{before}  {_cut(one.query)}")
    if one.leaked:
        _line(f"    leaked: {visible(one.leaked)}")
    for found in one.gold[:_PASSAGES]:
        _line(f"    answers, {_place(found)}: {visible(found.passage_id)}  {_cut(found.text)}")
    for found in one.above[:_PASSAGES]:
        _line(f"    above, rank {found.rank}: {visible(found.passage_id)}  {_cut(found.text)}")


def _place(found: Found) -> str:
    if found.rank:
        return f"rank {found.rank}"
    return "not found" if found.text else "not among the passages of the set"


def _line(text: str) -> None:
    """Print a line, broken between words on a terminal only: scripts get one line each."""
    if not sys.stdout.isatty():
        emit(text.rstrip())
        return
    columns = max(shutil.get_terminal_size((120, 24)).columns, 40)
    for line in textwrap.wrap(text, columns, subsequent_indent="        ", break_on_hyphens=False):
        emit(line)


def _emit_sent(sent: Sent, root: Path) -> None:
    for refused in sent.refused:
        about = " ".join(visible(part) for part in (refused.query_id, refused.passage_id) if part)
        say(f"not sent: {about}: {visible(refused.why)}")
    for note in sent.notes:
        say(f"note: {visible(note)}")
    what = f"rows with the tag `{MISSED}`" if sent.to is To.PAIRS else "candidates to be judged"
    already = f"; there before: {sent.already:,}" if sent.already else ""
    say(f"sent: {len(sent.rows):,} {what}{already}")
    if sent.seqs:
        see = f"show pairs --where tag:{MISSED}" if sent.to is To.PAIRS else "judge --next 5"
        say(f"see them with: harrier-studio {see} --project {root}")
        say(f"undo with: harrier-studio decide --undo --project {root}")


def _cut(text: str) -> str:
    return visible(" ".join(text[: _TEXT * 4].split()), _TEXT)
