"""What an export would write, before it is written: counts, files, columns, and what a person should know first."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

import polars as pl

from studio.checks.base import all_checks, configured, splits_key
from studio.errors import StudioError, UsageError
from studio.export.audit import MANIFEST
from studio.export.formats import Format
from studio.export.project import refuse_foreign, refuse_what_does_not_fit
from studio.export.subsets import Subset, subsets_of
from studio.project.curate import Curated, Status
from studio.project.evidence import Band
from studio.project.ledger import Action, in_force
from studio.project.rules import ACTOR
from studio.view.bench import Bench
from studio.view.states import acts

FORMATS: Mapping[str, str] = {
    Format.PARQUET.value: "sentence-transformers, datasets",
    Format.JSONL.value: "sentence-transformers, line by line",
    Format.CSV.value: "spreadsheets and small tools",
    Format.HF.value: "datasets.load_from_disk",
    Format.FLAGEMBEDDING.value: "FlagEmbedding (BGE), a query a line",
    Format.TEVATRON.value: "Tevatron, a query a line",
    Format.BEIR.value: "evaluation: corpus, queries, qrels",
}
"""Every format and whom it is for."""

_REASONS: Mapping[tuple[str, str], str] = {
    (Status.KEPT, "kept"): "as imported",
    (Status.REMOVED, "duplicate_pair"): "the same pair as a row that stays",
    (Status.REMOVED, "near_duplicate_pair"): "nearly the same pair as a row that stays",
    (Status.MOVED, "same_passage"): "query re-pointed to an equal passage",
    (Status.MOVED, "near_duplicate_passage"): "query re-pointed to a nearly equal passage",
    (Status.EDITED, "negative_is_positive"): "a negative that was a positive taken out",
    (Status.EDITED, "rewrite_boilerplate"): "boilerplate cut out",
    (Status.EDITED, "rewrite_pii"): "personal data redacted",
    (Status.EDITED, "rewrite_mojibake"): "wrong decodings mended",
    (Status.EDITED, "edited"): "text edited",
}
_BY_QUERY: Mapping[Format, tuple[str, ...]] = {
    Format.FLAGEMBEDDING: ("query", "pos", "neg"),
    Format.TEVATRON: ("query_id", "query", "positive_passages", "negative_passages"),
}
"""Fields of the formats that write one line a query."""

_RUN = "run the checks (c, or `harrier-studio check`)"
_SIDECAR = (
    "row_id", "file", "position", "group_id", "cluster_id", "group", "split", "status", "score", "label", "negatives",
    "source", "meta",
)  # fmt: skip


class Severity(StrEnum):
    """How much a problem matters."""

    STOPS = "stops"
    """Nothing can be written until it is solved."""
    WARNS = "warns"
    """It can be written; whoever trains with it may regret it."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Problem:
    """What a person should know before the export is written, and what to do about it ("": nothing)."""

    severity: Severity
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Outcome:
    """Rows of one status and reason; `words` say the reason plainly."""

    status: str
    reason: str
    words: str
    rows: int


@dataclass(frozen=True)
class PlannedFile:
    """A file of the export: path inside it, rows (None where they are not counted), columns, and what it is for."""

    path: str
    rows: int | None
    columns: tuple[str, ...]
    what: str
    data: bool = False
    """Whether a trainer reads it; all else is the audit."""


@dataclass(frozen=True)
class Side:
    """The rows before or after curation: counts, and mean lengths in characters."""

    rows: int
    queries: int
    passages: int
    query_chars: float
    passage_chars: float


@dataclass(frozen=True)
class Earlier:
    """An export that is in the place already, and would be replaced."""

    project: str
    fmt: str
    kept: int
    files: int


@dataclass(frozen=True)
class ExportPlan:
    """What `export` would do now."""

    fmt: str
    out: str
    rows: int
    kept: int
    outcomes: tuple[Outcome, ...]
    splits: tuple[tuple[str, int], ...]
    files: tuple[PlannedFile, ...]
    before: Side
    after: Side
    problems: tuple[Problem, ...]
    earlier: Earlier | None
    command: str

    @property
    def stopped(self) -> bool:
        """Whether nothing can be written."""
        return any(problem.severity is Severity.STOPS for problem in self.problems)


def plan(bench: Bench, fmt: str, out: str) -> ExportPlan:
    """Say what an export of the project as it stands now would write to `out`.

    Raises:
        UsageError: there is no such format.
        ProjectError: the project is damaged.
    """
    if fmt not in FORMATS:
        raise UsageError(f"There is no format `{fmt}`.", remedy=f"known: {', '.join(FORMATS)}")
    known, place = _measured(bench), Path(out)
    return ExportPlan(
        fmt=fmt,
        out=out,
        rows=bench.rows.height,
        kept=known.after.rows,
        outcomes=known.outcomes,
        splits=tuple((name, part.rows) for name, part in known.splits.items()),
        files=(*_data_files(known, Format(fmt)), *_audit_files(known)),
        before=known.before,
        after=known.after,
        problems=tuple(_problems(bench, known, Format(fmt), place)),
        earlier=_earlier(place),
        command=command(bench.project.root, fmt, place),
    )


def default_place(root: Path, fmt: str) -> Path:
    """Where an export goes unless a person says otherwise."""
    return root / "exports" / fmt


def command(root: Path, fmt: str, out: Path) -> str:
    """The command line that does the same without the interface, ready for a shell."""
    return shlex.join(["harrier-studio", "export", "--project", str(root), "--out", str(out), "--format", fmt])


def reason_words(status: str, reason: str) -> str:
    """A reason in plain words; what a person wrote as one stays as it is."""
    if words := _REASONS.get((status, reason)):
        return words
    if reason.startswith("leaked_"):
        return f"set apart: {reason[7:]} shared with a protected split"
    if reason.startswith("split_seed_"):
        return f"put in another split (seed {reason[11:]})"
    return reason


@dataclass(frozen=True)
class _Split:
    """Kept rows of one split, and what formats that merge rows of one query make of them."""

    rows: int
    queries: int
    judgements: int
    """Distinct pairs of query and passage."""


@dataclass(frozen=True)
class _Part:
    """A subset without its rows."""

    place: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Measured:
    """What follows from the curated rows alone, whatever the format and the place."""

    outcomes: tuple[Outcome, ...]
    parts: tuple[_Part, ...]
    notes: tuple[str, ...]
    splits: dict[str, _Split]
    corpus: int
    scored: bool
    labelled: bool
    before: Side
    after: Side


_KNOWN: WeakKeyDictionary[Bench, tuple[pl.DataFrame, _Measured]] = WeakKeyDictionary()


def _measured(bench: Bench) -> _Measured:
    """Measure the curated rows, again only when a decision has changed them."""
    curated = bench.curated()
    known = _KNOWN.get(bench)
    if known is None or known[0] is not curated:
        known = curated, _measure(bench.rows, Curated(curated))
        _KNOWN[bench] = known
    return known[1]


def _measure(snapshot: pl.DataFrame, curated: Curated) -> _Measured:
    kept = curated.kept
    subsets, notes = subsets_of(kept)
    passages = pl.concat([kept["positive"], kept["negatives"].explode().drop_nulls().alias("positive")])
    return _Measured(
        outcomes=tuple(
            Outcome(status, reason, reason_words(status, reason), rows)
            for status, reason, rows in curated.counts().iter_rows()
        ),
        parts=tuple(_Part(part.place, part.rows.height, tuple(part.columns.columns)) for part in subsets),
        notes=tuple(notes),
        splits={
            name: _split([part for part in subsets if part.split == name])
            for name in dict.fromkeys(part.split for part in subsets)
        },
        corpus=passages.n_unique(),
        scored=kept.height > 0 and kept["score"].null_count() == 0,
        labelled=kept["label"].null_count() < kept.height,
        before=_side(snapshot),
        after=_side(kept),
    )


def _split(parts: list[Subset]) -> _Split:
    rows = pl.concat([part.rows.select("query", "positive") for part in parts])
    return _Split(rows.height, rows["query"].n_unique(), rows.n_unique())


def _side(rows: pl.DataFrame) -> Side:
    # The mean of no rows is null.
    lengths = rows.select(pl.col("query", "positive").str.len_chars().mean().fill_null(0.0)).row(0)
    return Side(rows.height, rows["query"].n_unique(), rows["positive"].n_unique(), *lengths)


def _data_files(known: _Measured, fmt: Format) -> Iterator[PlannedFile]:
    """The files a trainer reads, as `write_data` names them."""
    if fmt is Format.BEIR:
        queries = known.after.queries
        yield PlannedFile("data/corpus.jsonl", known.corpus, ("_id", "title", "text"), "passages", data=True)
        yield PlannedFile("data/queries.jsonl", queries, ("_id", "text"), "queries", data=True)
        for name, split in known.splits.items():
            columns = ("query-id", "corpus-id", "score")
            yield PlannedFile(f"data/qrels/{name}.tsv", split.judgements, columns, "which answers which", data=True)
    elif fmt in _BY_QUERY:
        scores = ("pos_scores",) if fmt is Format.FLAGEMBEDDING and known.scored else ()
        for name, split in known.splits.items():
            yield PlannedFile(
                f"data/{name}.jsonl", split.queries, (*_BY_QUERY[fmt], *scores), "one query a line", data=True
            )
    else:
        for part in known.parts:
            path = f"data/{part.place}.{fmt}"
            if fmt is Format.HF:
                path = f"data/{part.place}/data-00000-of-00001.arrow"
            yield PlannedFile(path, part.rows, part.columns, "training rows", data=True)


def _audit_files(known: _Measured) -> Iterator[PlannedFile]:
    rows, kept = known.before.rows, known.after.rows
    yield PlannedFile("sidecar.parquet", kept, _SIDECAR, "what a trainer must not see, by row")
    yield PlannedFile("rows.parquet", rows, (), "what became of every imported row")
    yield PlannedFile("edges.parquet", None, (), "evidence about two rows, rejected too")
    yield PlannedFile("flags.parquet", None, (), "evidence about one row")
    yield PlannedFile("decisions.jsonl", None, (), "every decision in order, undone too")
    yield PlannedFile("README.md", None, (), "the dataset's card")
    yield PlannedFile("manifest.json", None, (), "settings, counts, a hash a file")


def _problems(bench: Bench, known: _Measured, fmt: Format, out: Path) -> Iterator[Problem]:
    if not known.after.rows:
        yield Problem(Severity.STOPS, "No row is kept, so there is nothing to export.", "keep rows in Pairs, or undo")
    for refuse in (
        partial(refuse_what_does_not_fit, Curated(bench.curated()), fmt),
        partial(_refuse_place, out),
    ):
        try:
            refuse()
        except StudioError as error:
            yield _stopping(error)
    yield from _evidence_problems(bench)
    yield from _auto_problems(bench)
    if edited := _edited(bench):
        what = f"Edited texts in {edited:,} of the kept rows; the checks look at the texts as imported."
        yield Problem(Severity.NOTE, what)
    yield from (Problem(Severity.NOTE, f"{note[0].upper()}{note[1:]}.") for note in known.notes)


def _stopping(error: StudioError) -> Problem:
    parts = [error.what, f"Where: {error.where}." if error.where else "", f"Why: {error.why}." if error.why else ""]
    return Problem(Severity.STOPS, " ".join(filter(None, parts)), error.remedy or "")


def _refuse_place(out: Path) -> None:
    """Refuse a place that the export would refuse, or that cannot be written."""
    out = out.resolve()
    parent = next((folder for folder in (out, *out.parents) if os.path.lexists(folder)), out)
    if parent != out and not parent.is_dir():
        raise UsageError("The export's place lies below a file.", where=str(parent), remedy="choose another directory")
    if not os.access(parent, os.W_OK) or (out.exists() and not os.access(out.parent, os.W_OK)):
        raise UsageError("The export's place cannot be written.", where=str(parent), remedy="choose another directory")
    refuse_foreign(out)


def _evidence_problems(bench: Bench) -> Iterator[Problem]:
    """Checks that have not run, and those that ran with other settings, another version or before a split."""
    found = bench.evidence()
    missing = [name for name in all_checks() if name not in found]
    if not found:
        yield Problem(Severity.WARNS, "No check has run: nobody looked for duplicates or leaks.", _RUN)
    elif missing:
        yield Problem(Severity.WARNS, f"Checks that have not run: {', '.join(missing)}.", _RUN)
    old = []
    for item in configured(bench.project.settings):
        stored = found.get(item.name)
        if stored is None:
            continue
        other = any(stored.config.get(name) != value for name, value in item.depends_on().items())
        moved = item.uses_splits and stored.config.get("splits") != splits_key(bench.project.assigned())
        if other or moved or stored.version != item.version:
            old.append(item.name)
    if old:
        yield Problem(
            Severity.WARNS,
            f"Checks that ran before the settings, the splits or their version changed: {', '.join(old)}.",
            _RUN,
        )


def _auto_problems(bench: Bench) -> Iterator[Problem]:
    """Certain findings that no decision in force rests on, or decisions that rest on other evidence than there is."""
    evidence = bench.evidence()
    certain = sum(
        frame.filter(pl.col("band") == Band.AUTO.value).height
        for stored in evidence.values()
        for frame in (stored.evidence.flags, stored.evidence.edges)
    )
    applied = [decision for decision in in_force(bench.log()) if decision.actor == ACTOR]
    remedy = "accept them in Duplicates, or run `harrier-studio decide --auto`"
    if certain and not applied:
        yield Problem(Severity.WARNS, f"{certain:,} certain findings of the checks have not been applied.", remedy)
    basis = [{"check": one.check, "version": one.version, "config": one.config} for one in evidence.values()]
    now = json.dumps(sorted(basis, key=lambda one: str(one["check"])), sort_keys=True)
    if applied and any(decision.evidence != now for decision in applied):
        yield Problem(
            Severity.WARNS, "Checks have run again since their certain findings were applied.", f"to be sure: {remedy}"
        )


def _edited(bench: Bench) -> int:
    """How many kept rows an edit in force is about."""
    edits = acts(bench).filter(pl.col("action") == Action.EDIT.value)["position"].unique()
    return int((bench.curated()["status"].gather(edits) != Status.REMOVED.value).sum())


def _earlier(out: Path) -> Earlier | None:
    """What an export that is there already says of itself."""
    try:
        document = json.loads((out / MANIFEST).read_text("utf-8"))
        return Earlier(str(document["project"]), str(document["format"]), int(document["kept"]), len(document["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
