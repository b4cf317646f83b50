"""`show`: a panel of the interface as plain lines, for screen readers, logs and pipes. One fact a line, no boxes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.cli.output import emit, emit_json, say
from studio.cli.prompting import preview
from studio.errors import UsageError
from studio.view.bench import Bench
from studio.view.clusters import ClusterDetail, MemberEdge, RoleName, Would, cluster, clusters
from studio.view.exporting import ExportPlan, default_place, plan
from studio.view.find import find
from studio.view.marks import marks, spelled
from studio.view.prompting import ContractReport, contract_report, prompt
from studio.view.where import Where, format, parse

PANELS = ("pairs", "duplicates", "false_negatives", "prompts", "train", "runs", "evaluate", "export")
"""The interface's panels, in the order of their number keys."""
_LIMITS = {"pairs": 50, "duplicates": 20, "false_negatives": 10, "prompts": 1, "runs": 1, "evaluate": 1}
"""How many rows, clusters, previews, runs or evaluations in full are shown unless --limit says otherwise."""
_TEXT = 200
_MEMBERS = 20
_EDGES = 20
_ROLES: tuple[RoleName, ...] = ("passage", "query")


def show(panel: str, root: Path, where: str, limit: int | None, as_json: bool) -> None:
    """Print what a panel of the interface shows.

    Args:
        panel: a name of PANELS.
        root: the project's directory.
        where: a filter, as typed in the interface; for pairs and prompts.
        limit: rows, clusters, previews or runs to show; each panel has its own default.
        as_json: print one JSON document instead.

    Raises:
        UsageError: there is no such panel, or the filter is wrong.
        ProjectError: there is no sound project.
    """
    refuse_unknown(panel)
    if where and panel not in ("pairs", "prompts"):
        raise UsageError(f"`{panel}` takes no filter.", remedy="leave --where out, or show pairs")
    _SHOWN[panel](Bench(root), parse(where), limit or _LIMITS.get(panel, 0), as_json)


def refuse_unknown(panel: str) -> None:
    """Raise UsageError, with the nearest name, if there is no such panel."""
    if panel not in PANELS:
        near = difflib.get_close_matches(panel, PANELS, n=1, cutoff=0.4)
        raise UsageError(
            f"There is no panel `{panel}`.",
            remedy=f"did you mean `{near[0]}`?" if near else f"there are {', '.join(PANELS)}",
        )


def _pairs(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    found = find(bench, where)
    shown = found.positions[:limit].tolist()
    lines = bench.curated()[shown].to_dicts()
    masks = marks(bench).masks
    rows = [
        {
            "number": position + 1,
            "row_id": line["row_id"],
            "status": line["status"],
            "reason": line["reason"],
            "marks": spelled(int(masks[position])),
            "split": line["split"],
            "query": line["query"],
            "passage": line["positive"],
        }
        for position, line in zip(shown, lines, strict=True)
    ]
    if as_json:
        report = {"filter": format(where), "rows": bench.rows.height, "found": found.total, "shown": rows}
        emit_json(report)
        return
    of = f" of {bench.rows.height:,} that the filter {format(where)} leaves" if where else ""
    emit(f"pairs: showing {len(rows):,} of {found.total:,}{of}")
    for row in rows:
        emit()
        said = row["status"] if row["status"] == "kept" else f"{row['status']}, {row['reason']}"
        emit(f"{row['number']}: {said}")
        for word in row["marks"]:
            emit(f"  mark {word}")
        emit(f"  query {_cut(row['query'])}")
        emit(f"  passage {_cut(row['passage'])}")
    if len(rows) < found.total:
        say(f"{found.total - len(rows):,} more: --limit {found.total} shows all, --where narrows")


def _duplicates(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    lists = {role: clusters(bench, role, limit=limit) for role in _ROLES}
    details = {role: [cluster(bench, role, head.id) for head in found.heads] for role, found in lists.items()}
    if as_json:
        emit_json(
            {
                role: {
                    "clusters": found.total,
                    "certain": found.auto,
                    "for_review": found.review,
                    "decided": found.decided,
                    "shown": [asdict(detail) for detail in details[role]],
                }
                for role, found in lists.items()
            }
        )
        return
    for place, (role, found) in enumerate(lists.items()):
        if place:
            emit()
        emit(
            f"duplicates, {role} clusters: showing {len(found.heads):,} of {found.total:,}; "
            f"{found.auto:,} certain, {found.review:,} for review, {found.decided:,} decided"
        )
        for number, detail in enumerate(details[role], 1):
            emit()
            for line in _cluster_lines(number, role, detail):
                emit(line)


def _cluster_lines(number: int, role: RoleName, detail: ClusterDetail) -> Iterator[str]:
    head = detail.head
    ends = ", decided" if head.decided else ""
    yield f"cluster {number}: {head.members:,} texts in {_rows(head.rows)}, best Jaccard {head.score:.3f}{ends}"
    for member in detail.members[:_MEMBERS]:
        part = "keeper" if member.is_keeper else "member"
        score = "" if member.is_keeper or member.score is None else f", Jaccard {member.score:.3f} to the keeper"
        rows = f", {_rows(member.rows)}" if member.rows > 1 else ""
        yield f"  {part} row {member.position + 1}: {member.status}{score}{rows}"
        if member.why:
            yield f"    keeper because {member.why}"
        for would in member.would:
            yield f"    by the auto band: {_would(would)}"
        yield f"    {role} {_cut(member.query if role == 'query' else member.positive)}"
    if detail.head.members > _MEMBERS:
        yield f"  {head.members - min(_MEMBERS, len(detail.members)):,} more members"
    for edge in detail.edges[:_EDGES]:
        yield f"  {_edge(edge)}"
    if detail.edge_count > min(_EDGES, len(detail.edges)):
        yield f"  {detail.edge_count - min(_EDGES, len(detail.edges)):,} more comparisons"


def _would(would: Would) -> str:
    keeper = f", row {would.keeper + 1} stays" if would.keeper is not None else ""
    what = "nothing" if would.action == "none" else f"{would.action} {_rows(would.rows)}"
    return f"{what} ({would.reason}{keeper})"


def _edge(edge: MemberEdge) -> str:
    """Two members compared: how near, what holds them, and the words that only one of them has."""
    parts = [f"rows {edge.a + 1} and {edge.b + 1}: Jaccard {edge.jaccard:.3f}, {edge.band}"]
    if edge.held:
        parts.append(edge.held)
    if edge.difference:
        parts.append(f"differ in {edge.difference}")
    for row, words in ((edge.a, edge.only_a), (edge.b, edge.only_b)):
        if words:
            parts.append(f"only row {row + 1} says {_cut(' '.join(words))}")
    return "; ".join(parts)


def _prompts(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    settings = bench.project.settings
    contract, length = settings.prompts.contract(), settings.model.max_length
    report = contract_report(bench, contract.query, contract.document, length)
    found = find(bench, where).positions[:limit].tolist()
    if as_json:
        texts = [prompt(bench, at, contract.query, contract.document, length).texts for at in found]
        rows = [
            {"number": at + 1, "texts": [asdict(text) for text in each]} for at, each in zip(found, texts, strict=True)
        ]
        emit_json(_contract_json(report) | {"contract": contract.to_dict(), "shown": rows})
        return
    if found:
        preview(bench.project.root, ",".join(str(at + 1) for at in found), None, None, None, None, as_json=False)
    else:
        emit("no row to preview: the filter leaves none")
    emit()
    for line in _contract_lines(report):
        emit(line)


def _contract_json(report: ContractReport) -> dict[str, Any]:
    return {
        "model": report.model,
        "max_length": report.max_length,
        "model_error": report.model_error,
        "lints": [asdict(lint) for lint in report.lints],
        "prompted": [
            {"reason": each.reason, "texts": each.texts, "rows": len(each.positions), "example": each.example}
            for each in report.prompted
        ],
        "counted": report.counted,
        "truncation": [
            {"column": each.column, "rows": each.rows, "cut": len(each.positions), "tokens_lost": each.lost}
            for each in report.truncation
        ],
        "uses": [asdict(use) for use in report.uses],
    }


def _contract_lines(report: ContractReport) -> Iterator[str]:
    for use in report.uses:
        same = {True: "same", False: "OTHER", None: "not compared"}[use.equal]
        yield f"same string in {use.name}: {same}; {use.detail}"
    for each in report.prompted:
        yield (
            f"already prompted: {each.texts:,} texts in {_rows(len(each.positions))} ({each.reason}), "
            f"such as {_cut(each.example)}"
        )
    for column in report.truncation:
        cut = len(column.positions)
        yield (
            f"truncation of {column.column}: {cut:,} of {column.rows:,} rows ({column.share:.1%}) are cut "
            f"at {report.max_length} tokens, {column.lost:,} tokens lost"
        )
    if report.counted != "this":
        yield "truncation: tokens have not been counted with this contract; the interface's Prompts panel counts them"
    if report.model_error:
        yield f"model: {report.model_error}"


def _export(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    fmt = "parquet"
    found = plan(bench, fmt, str(default_place(bench.project.root, fmt)))
    if as_json:
        emit_json(asdict(found))
        return
    for line in _plan_lines(found):
        emit(line)


def _plan_lines(found: ExportPlan) -> Iterator[str]:
    verb = "cannot be written" if found.stopped else "would be written"
    yield f"export: {found.kept:,} of {found.rows:,} pairs {verb} as {found.fmt} to {found.out}"
    if found.earlier:
        yield (
            f"in the place: an export of {found.earlier.project}, {found.earlier.kept:,} rows as {found.earlier.fmt}; "
            "it would be replaced"
        )
    for problem in found.problems:
        yield f"{problem.severity}: {problem.what}" + (f" To do: {problem.remedy}" if problem.remedy else "")
    for outcome in found.outcomes:
        yield f"{outcome.status}: {_rows(outcome.rows)}, {outcome.words}"
    for name, rows in found.splits:
        yield f"split {name}: {_rows(rows)}"
    for name, before, after in (
        ("rows", found.before.rows, found.after.rows),
        ("distinct queries", found.before.queries, found.after.queries),
        ("distinct passages", found.before.passages, found.after.passages),
        ("characters a query, mean", round(found.before.query_chars, 1), round(found.after.query_chars, 1)),
        ("characters a passage, mean", round(found.before.passage_chars, 1), round(found.after.passage_chars, 1)),
    ):
        yield f"{name}: {before:,} before, {after:,} after"
    for file in found.files:
        rows_said = "" if file.rows is None else f", {_rows(file.rows)}"
        columns = f", columns {', '.join(file.columns)}" if file.columns else ""
        yield f"file {file.path}: {file.what}{rows_said}{columns}"
    yield f"command: {found.command}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _cut(text: str, size: int = _TEXT) -> str:
    """A text on one line, of at most `size` characters; how long it is if that is more."""
    line = " ".join(text[: 2 * size].split())
    if len(line) <= size and len(text) <= 2 * size:
        return line
    return f"{line[:size]}… ({len(text):,} characters)"


def _false_negatives(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    from studio.cli.showing_answers import show_false_negatives

    show_false_negatives(bench, limit, as_json)


def _train(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    from studio.cli.showing_training import show_train

    show_train(bench, as_json)


def _runs(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    from studio.cli.showing_training import show_runs

    show_runs(bench, limit, as_json)


def _evaluate(bench: Bench, where: Where, limit: int, as_json: bool) -> None:
    from studio.cli.showing_evaluations import show_evaluate

    show_evaluate(bench, limit, as_json)


_SHOWN: Mapping[str, Any] = {
    "pairs": _pairs,
    "duplicates": _duplicates,
    "false_negatives": _false_negatives,
    "prompts": _prompts,
    "train": _train,
    "runs": _runs,
    "evaluate": _evaluate,
    "export": _export,
}
