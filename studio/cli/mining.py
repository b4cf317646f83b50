"""`mine`: hard negatives for the training rows, first as a plan."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from studio.cli.given import changes as read_changes
from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.errors import UsageError
from studio.mining.mined import Form, Mined, Short, TableFormat, default_place
from studio.mining.mined import mine as write_mined
from studio.mining.plan import MiningExample, MiningPlan, dry_run
from studio.mining.retrieval import Retriever, retrievers_of
from studio.mining.settings import MiningSettings, Reason, configured
from studio.project.project import Project
from studio.project.settings import RetrieverSettings

_WORDS = {
    Reason.OWN_POSITIVE: "a positive of the query",
    Reason.QUERY_ITSELF: "the query's own text",
    Reason.EVALUATION: "belongs to evaluation, or was set aside as leaked",
    Reason.ALSO_ANSWERS: "judged: also answers",
    Reason.PARTLY: "judged: partly",
    Reason.ANSWER_GROUP: "of the query's answer group",
    Reason.NEAR_DUPLICATE: "like a positive of the query, or one in the other",
    Reason.NEAR_QUERY: "answers a query like this one",
    Reason.SAME_SOURCE: "from a document that a positive comes from",
    Reason.UNDECIDED: "may also answer: nobody has decided",
    Reason.RELATIVE_MARGIN: "scores within the relative margin, or above",
    Reason.ABSOLUTE_MARGIN: "scores within the absolute margin, or above",
    Reason.MAX_SCORE: "scores above max_score",
    Reason.MIN_SCORE: "scores below min_score",
    Reason.SKIPPED: "among the first that are skipped",
    Reason.DEEPER: "deeper than the deepest",
    Reason.NOT_READ: "beyond what the cross-encoder reads",
    Reason.CROSS_ENCODER: "as good as a positive, says the cross-encoder",
    Reason.NOT_DRAWN: "could serve; others were taken",
}


def mine(
    root: Path,
    changes: list[str],
    models: list[str],
    miner: str | None,
    negatives: int | None,
    margin: float | None,
    out: Path | None,
    name: str,
    form: str,
    fmt: TableFormat,
    short: str,
    write: bool,
    as_json: bool,
) -> None:
    """`mine`: the plan, or with `write` the files."""
    project = Project.open(root)
    given = read_changes(changes, "relative_margin=0.1")
    named = {"miners": miner, "negatives": negatives, "relative_margin": margin}
    given |= {key: value for key, value in named.items() if value is not None}
    settings = configured(project.settings, given)
    place = out or default_place(root, settings, Form(form), name)
    if (out or name) and not write:
        say("note: nothing is written without --write")
    with progress_bar() as progress:
        retriever = _retriever(project, models)
        if not write:
            said = dry_run(project, settings, retriever, progress)
        else:
            done = write_mined(
                project,
                settings,
                place,
                form=Form(form),
                fmt=fmt,
                short=Short(short),
                retriever=retriever,
                progress=progress,
            )
            said = done.plan
    if as_json:
        emit_json(_report(settings, said, done if write else None))
        return
    if write:
        _emit_written(done)
    else:
        _emit_plan(said)
    for note in done.notes if write else said.notes:
        say(f"note: {note}")
    if not write:
        options = [f"--set={change}" for change in changes] + [f"--model={model}" for model in models]
        options += [f"--{key}={value}" for key, value in _flags(miner, negatives, margin, out, name, form, fmt, short)]
        command = shlex.join(["harrier-studio", "mine", "--project", str(root), *options, "--write"])
        say(f"write them to {place} with: {command}")


def _flags(*values: object) -> list[tuple[str, object]]:
    names = ("miner", "negatives", "margin", "out", "name", "form", "format", "short")
    usual = {"form": Form.TRIPLET.value, "format": "parquet", "short": Short.DROP.value, "name": ""}
    pairs = zip(names, values, strict=True)
    return [(name, value) for name, value in pairs if value is not None and value != usual.get(name)]


def _retriever(project: Project, models: Sequence[str]) -> Retriever:
    if len(models) > 1:
        raise UsageError(
            "One model mines.", why=f"{len(models)} are named", remedy="name one; BM25 joins it with --miner mixed"
        )
    length = project.settings.model.max_length
    named = tuple(RetrieverSettings(model=model, max_length=length) for model in models)
    return retrievers_of(project.settings, named)[0]


def _emit_plan(said: MiningPlan) -> None:
    emit(
        f"{said.queries:,} queries, {said.passages:,} passages, {said.candidates:,} candidates: {said.negatives:,} "
        f"negatives; {said.enough:,} queries with {said.wanted} or more, {said.some:,} with any"
    )
    emit()
    header = ("", "margin", f"queries with {said.wanted}", "with any", "negatives", "rejected by margin")
    emit_table(
        header,
        [
            (
                "→" if line.chosen else "",
                "none" if line.margin is None else f"{line.margin:g}",
                line.enough,
                line.some,
                line.negatives,
                f"{line.rejected:.1%}",
            )
            for line in said.curve
        ],
    )
    emit()
    rows = [(reason, count, _WORDS[Reason(reason)]) for reason, count in said.reasons]
    emit_table(("candidates", "count", "because"), [*rows, ("chosen", said.negatives, "")])
    # One of each here; --json has all.
    for example in _first_of_each(said.examples):
        emit()
        emit(
            f"{example.reason}  query {example.query_id}  passage {example.passage_id}  {example.miner} rank "
            f"{example.rank}  score {example.score:.3f}  own {example.own:.3f}  margin {example.margin:+.3f}"
            + (f"  judged {example.judged}" if example.judged else "")
        )
        for label, text in (("query", example.query), ("own", example.positive), ("passage", example.passage)):
            emit(f"  {label:8} {text}")


def _first_of_each(examples: Iterable[MiningExample]) -> list[MiningExample]:
    found: dict[str, MiningExample] = {}
    for example in examples:
        found.setdefault(example.reason, example)
    return list(found.values())


def _emit_written(done: Mined) -> None:
    files = done.manifest["files"]
    emit_table(("file", "rows", "bytes"), [(path, file["rows"], file["bytes"]) for path, file in files.items()])
    counts = done.manifest["counts"]
    lines = sum(file["rows"] or 0 for path, file in files.items() if path.startswith("data/"))
    say(f"{lines:,} lines of data written to {done.path}; negatives.parquet names each negative of them")
    if counts["rows_left_out"]:
        say(f"{counts['rows_left_out']:,} rows with too few negatives are left out; --short keep keeps them")


def _report(settings: MiningSettings, said: MiningPlan, done: Mined | None) -> dict[str, Any]:
    """The JSON document."""
    report = {
        "settings": settings.model_dump(mode="json"),
        **said._asdict(),
        "curve": [line._asdict() for line in said.curve],
        "reasons": dict(said.reasons),
        "examples": [example._asdict() for example in said.examples],
    }
    if done:
        report |= {"notes": done.notes, "path": str(done.path), "manifest": done.manifest}
    return report
