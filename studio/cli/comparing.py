"""`compare`: evaluations and runs that are there, opened again in one table, and two systems query by query."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

from studio.cli.output import emit, emit_json
from studio.cli.telling import Show, check_files, print_grid, tell
from studio.errors import ProjectError, UsageError
from studio.evaluation.comparison import named, refusal
from studio.evaluation.opening import opened
from studio.evaluation.per_query import PerQuery, against, detail
from studio.evaluation.reporting import pair_of
from studio.evaluation.requests import plain
from studio.evaluation.results import Evaluation
from studio.evaluation.tables import Grid, score, signed
from studio.evaluation.wording import shortened
from studio.runs.folder import run_folder
from studio.text.safe import visible

_SHOWN_CHARACTERS = 300
_FIRST = 3
"""Passages of each system that a regression is shown with."""


def compare(root: Path, names: tuple[str, ...], show: Show, worst: int) -> None:
    """`compare`; `worst`: queries of the two systems that are listed, 0 for the table."""
    if not (root / "studio.toml").exists():
        raise ProjectError(
            "There is no harrier-studio project here.", where=str(root), remedy="name one with --project"
        )
    check_files(show)
    evaluation = opened(root.resolve(), names)
    both = () if show.references else _two(root, evaluation, names)
    if not worst:
        tell([evaluation], show._replace(references=both[1:] if _comparable(evaluation, both) else show.references))
        return
    a, b = both or pair_of(evaluation, show.metric, show.references)
    if not a:
        raise UsageError(
            "Two systems of one class are needed to go query by query.",
            why=f"there are {', '.join(f'`{one.name}` ({one.of_class})' for one in evaluation.systems)}",
            remedy="name both as EVALUATION/SYSTEM, the new one first and the baseline second",
        )
    found = against(evaluation, a, b, show.metric)
    if show.as_json:
        emit_json(_as_json(evaluation, found, worst))
    else:
        _print(evaluation, found, worst)


def _two(root: Path, evaluation: Evaluation, names: tuple[str, ...]) -> tuple[str, ...]:
    """The two systems that two names stand for, the new one and the baseline; none if they stand for others, too."""
    if len(names) != 2:
        return ()
    there = {system.name for system in evaluation.systems}
    found: list[str] = []
    for name in names:
        of, _, system = name.removeprefix("evaluation:").removeprefix("run:").partition("/")
        if not system and (name.startswith("evaluation:") or not run_folder(root, of).spec.exists()):
            return ()
        # Where two systems have one name, that of their evaluation, or `runs`, stands before it.
        known = (system, f"{of}/{system}") if system else (of, f"runs/{of}")
        found += [called for called in known if called in there][:1]
    return tuple(found) if len(set(found)) == 2 else ()


def _comparable(evaluation: Evaluation, both: tuple[str, ...]) -> bool:
    """Whether the table holds two systems that may be compared, so that the second can be the reference."""
    return len(both) == 2 == len(evaluation.systems) and not refusal(*(named(evaluation, name) for name in both))


def _as_json(evaluation: Evaluation, found: PerQuery, worst: int) -> Any:
    def listed(places: Any) -> list[Any]:
        return [_query(evaluation, found, place) for place in places[:worst].tolist()]

    return plain(
        {
            "system": found.a,
            "with": found.b,
            "metric": found.metric,
            "wins": found.tally.wins,
            "ties": found.tally.ties,
            "losses": found.tally.losses,
            "moves": [move._asdict() for move in found.moves],
            "regressions": listed(found.regressions),
            "gains": listed(found.gains),
        }
    )


def _query(evaluation: Evaluation, found: PerQuery, place: int) -> dict[str, Any]:
    line = found.queries.row(place, named=True)
    told = detail(evaluation, line["query_id"], [found.a, found.b])
    return {
        **line,
        "gold": [{**vars(gold), "places": {name: at._asdict() if at else None for name, at in gold.places.items()}}
                 for gold in told.gold],
        "retrieved": {name: [one._asdict() for one in ranked] for name, ranked in told.retrieved.items()},
    }  # fmt: skip


def _print(evaluation: Evaluation, found: PerQuery, worst: int) -> None:
    columns = shutil.get_terminal_size((120, 24)).columns
    emit(f"{shortened(found.a)} (new) against {shortened(found.b)} (baseline), by {found.metric}")
    emit(f"{found.tally.wins:,} better, {found.tally.ties:,} alike, {found.tally.losses:,} worse")
    if found.moves:
        emit()
        lines = tuple((move.name, f"{move.queries:,}") for move in found.moves)
        print_grid(Grid("Where the first passage that answers moved to", ("move", "queries"), lines), columns)
    if not len(found.regressions):
        emit()
        emit("no query is worse")
    for place in found.regressions[:worst].tolist():
        _print_query(evaluation, found, place, columns)
    rest = len(found.regressions) - worst
    if rest > 0:
        emit()
        emit(f"and {rest:,} more; --worst shows more of them")


def _print_query(evaluation: Evaluation, found: PerQuery, place: int, columns: int) -> None:
    line = found.queries.row(place, named=True)
    told = detail(evaluation, line["query_id"], [found.a, found.b], _FIRST)
    emit()
    emit(f"{signed(line['delta'])}  {score(line['b'])} to {score(line['a'])}  query {line['query_id']}"
         + (f"  leaked: {line['leaked']}" if line["leaked"] else ""))  # fmt: skip
    _text("  query", line["text"], columns)
    for gold in told.gold:
        ranks = ", ".join(f"{name}: {f'rank {at.rank}' if at else 'not found'}" for name, at in gold.places.items())
        _text(f"  answer, grade {gold.grade:g}" + (f" ({ranks})" if ranks else ""), gold.text or "outside", columns)
    for name, ranked in told.retrieved.items():
        for one in ranked:
            grade = "nobody judged it" if one.grade is None else f"grade {one.grade:g}"
            _text(f"  {name}, rank {one.rank}, {one.score:.4f}, {grade}", one.text, columns)


def _text(label: str, text: str, columns: int) -> None:
    whole = f"{visible(label)}: {visible(text, _SHOWN_CHARACTERS)}"
    for line in textwrap.wrap(whole, max(columns, 40), subsequent_indent="      ", break_on_hyphens=False):
        emit(line)
