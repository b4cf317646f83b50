"""`split` and `rewrite`: changes of many rows that a person asks for."""

from __future__ import annotations

from pathlib import Path

from studio.cli.output import emit, emit_json, emit_table, progress_bar, say
from studio.cli.reports import say_other_settings
from studio.errors import UsageError
from studio.project.project import Project
from studio.project.rewriting import Rewrite, Rewritten, apply_rewrite, plan_rewrite, rows_by_column
from studio.project.splitting import split_project
from studio.text.pii import Kind

_CONTEXT = 40
_SHOWN = 160


def split(root: Path, test: float | None, validation: float | None, seed: int, strict: bool, as_json: bool) -> None:
    """`split`."""
    shares = {name: share for name, share in (("test", test), ("validation", validation)) if share}
    project = Project.open(root)
    say_other_settings(project)
    with progress_bar() as progress, project.locked():
        result = split_project(project, shares, seed, strict=strict, progress=progress)
    counts = result.counts()
    if as_json:
        emit_json(
            {
                "seed": seed,
                "splits": [{"split": name, "rows": rows, "groups": groups} for name, rows, groups in counts],
                "strata": result.strata.to_dicts(),
                "largest_group": result.largest_group,
            }
        )
        return
    total = sum(rows for _, rows, _ in counts)
    emit_table(
        ("split", "rows", "share", "answer groups"),
        [(name, rows, f"{rows / total:.1%}", groups) for name, rows, groups in counts],
    )
    emit()
    table = result.strata.pivot("split", index="stratum", values="rows").fill_null(0).sort("stratum")
    names = [name for name, _, _ in counts]
    emit_table(("stratum", *names), [(row["stratum"], *(row[name] for name in names)) for row in table.to_dicts()])
    say(f"no answer group stands on two sides; the largest has {result.largest_group:,} rows")
    say(f"undo with: harrier-studio decide --undo --project {root}")
    say(f"next: harrier-studio check leakage --project {root}")


def rewrite(root: Path, what: str, kinds: list[str], preview: int, apply: bool, as_json: bool) -> None:
    """`rewrite`."""
    kind = Rewrite(what)
    project = Project.open(root)
    wanted = _kinds(kinds, kind)
    with progress_bar() as progress, project.locked():
        changes = plan_rewrite(project, kind, wanted, progress)
        rows = apply_rewrite(project, kind, changes) if apply else len({change.row_id for change in changes})
    shown = changes[:preview]
    if as_json:
        emit_json(
            {
                "rewrite": what,
                "applied": apply,
                "rows": rows,
                "texts": rows_by_column(changes),
                "preview": [vars(change) for change in shown],
            }
        )
        return
    for change in shown:
        before, after = _around(change)
        emit(f"{change.row_id} {change.column}")
        emit(f"  - {before}")
        emit(f"  + {after}")
    emit(f"{rows:,} rows {'edited' if apply else 'would be edited'}: " + (_by_column(changes) or "nothing to do"))
    if apply and rows:
        say(f"undo with: harrier-studio decide --undo --project {root}")
    elif rows:
        say("nothing was changed; add --apply to do it")


def _kinds(kinds: list[str], rewrite: Rewrite) -> tuple[Kind, ...]:
    if kinds and rewrite is not Rewrite.PII:
        raise UsageError("--kind belongs to `rewrite pii`.")
    try:
        return tuple(Kind(name) for name in kinds) or tuple(Kind)
    except ValueError:
        raise UsageError(
            f"There is no kind of personal data among {', '.join(kinds)}.", remedy=f"known: {', '.join(Kind)}"
        ) from None


def _by_column(changes: list[Rewritten]) -> str:
    return ", ".join(f"{count:,} of {column}" for column, count in rows_by_column(changes).items())


def _around(change: Rewritten) -> tuple[str, str]:
    """Both texts from a little before their first difference on."""
    same = 0
    for old, new in zip(change.before, change.after, strict=False):
        if old != new:
            break
        same += 1
    start = max(0, same - _CONTEXT)
    lead = "…" if start else ""
    before, after = (lead + " ".join(text[start : start + _SHOWN].split()) for text in (change.before, change.after))
    return before, after
