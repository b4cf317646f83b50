"""A set to evaluate on, by its name: the project's own, a run's, a file or folder, or a benchmark."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from studio.errors import UsageError
from studio.evaluation.benchmarks import load_benchmark, names_a_benchmark, nearest_names
from studio.evaluation.columns import kind_of
from studio.evaluation.held_out import Drawing, held_out
from studio.evaluation.items import queries_with_passages, scored_pairs, triplets
from studio.evaluation.judged_tables import assembled, choose_split, is_judged, read_folder
from studio.evaluation.leaks import leaked
from studio.evaluation.loaded import Loaded
from studio.evaluation.project_tests import attributes_of_rows, frozen, kept_split
from studio.evaluation.sets import About, EvaluationSet, Judged, RetrievalSet, SetKind, SimilaritySet, TripletSet
from studio.evaluation.text_tables import read_texts, split_parts
from studio.evaluation.trec import records
from studio.mining.collection import Collection
from studio.pairs.read import as_records
from studio.pairs.roles import NO_ROLES, Roles
from studio.progress import Progress, silent
from studio.project.curate import Curated
from studio.project.project import SETTINGS_FILE, Project
from studio.runs.folder import RunFolder, existing_run
from studio.text.language import languages_of
from studio.text.safe import visible

HELD_OUT = "held-out"
"""The name of the project's own test."""
_RUN = "run"
_QUERIES, _PASSAGES = 1, 2
"""Told apart in the seeds, so that the one drawing does not depend on the other."""
_TOLD_AT_ONCE = 2_000
_SPLITS = ("test", "validation", "valid", "dev", "eval", "evaluation")
"""Which held-out rows are taken where no split is named: not those that a run chose its checkpoint by, if it can be."""


@dataclass(frozen=True)
class SetOptions:
    """What to take of a set, and how.

    Attributes:
        split: which judgements, rows or part; None: the set's own choice, test before dev before validation.
        queries: at most that many queries, pairs or triplets, drawn by seed; 0: all.
        corpus: at most that many passages: all that are judged, filled up by others drawn by seed; 0: all.
        seed: for the drawing.
        revision: of a dataset on the hub; None: the one that the catalogue names, else the newest.
        self_hits: whether a passage with the query's own id is kept in a ranking, as trec_eval does, or removed, as
            MTEB does for some tasks; None: as the benchmark's authors do, kept otherwise.
        kind: what a file's items are; None: told by their columns.
        roles: columns of a file named by hand: query (the anchor, the left sentence), positive (the right sentence),
            negatives, score.
    """

    split: str | None = None
    queries: int = 0
    corpus: int = 0
    seed: int = 0
    revision: str | None = None
    self_hits: Literal["keep", "remove"] | None = None
    kind: SetKind | None = None
    roles: Roles = NO_ROLES


DEFAULT = SetOptions()


class _Seen(NamedTuple):
    """Who has trained: the project's rows, those of `trained` alone if it is given; `curated`: their outcome."""

    project: Project
    trained: pl.Series | None = None
    curated: Curated | None = None


def collect(
    name: str, project: Project | None, options: SetOptions = DEFAULT, progress: Progress = silent
) -> EvaluationSet:
    """Make the set that a name stands for.

    Args:
        name: `held-out` or `held-out:SPLIT` (the project's own), `run:NAME` (the frozen test of a run, whose scores
            are then comparable with the run's), the path of a file or folder, the name of a benchmark, or the id of a
            dataset on the hub (`org/name`, `org/name:config`). A path wins over a benchmark of the same name.
        project: whose rows, runs and settings count; queries that its training has seen are then marked.
        options: what to take of it.
        progress: told of each step; may stop it.

    Raises:
        UsageError: there is no such set, or an option does not go with it.
        InputError: a file cannot be used; file and line are named.
        ProjectError: the project holds out nothing, or a run's frozen test is damaged.
        UnavailableError: the hub cannot be reached.
    """
    if min(options.queries, options.corpus) < 0:
        raise UsageError("There are no fewer than 0 queries or passages.", remedy="0 takes all of them")
    head, _, rest = name.partition(":")
    if head == HELD_OUT:
        return _own(_needed(project, name), replace(options, split=rest or options.split), progress)
    if head == _RUN and rest:
        return _of_run(_needed(project, name), rest, options, progress)
    path = Path(name)
    if options.revision and (_exists(path) or not names_a_benchmark(name)):
        raise UsageError(f"`{name}` has no revisions.", remedy="only a dataset on the hub has; leave the revision out")
    if _exists(path):
        _refuse_whole(path)
        loaded = _from_path(path, options, progress)
    elif names_a_benchmark(name):
        loaded = load_benchmark(name, options.split, options.revision, options.roles, progress)
    else:
        raise _unknown(name)
    return _made(loaded, project, options, progress)


def _needed(project: Project | None, name: str) -> Project:
    if project is None:
        raise UsageError(f"`{name}` is a set of a project, and none is named.", remedy="name one: --project DIR")
    return project


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _unknown(name: str) -> UsageError:
    near = difflib.get_close_matches(name.lower(), [HELD_OUT], cutoff=0.7) + nearest_names(name)
    return UsageError(
        f"There is no set {name!r}.",
        why="it is no file or folder, no benchmark, and not the id of a dataset (org/name)",
        remedy=f"did you mean {' or '.join(near)}?" if near else f"`{HELD_OUT}` is the project's own test",
    )


def _refuse_whole(path: Path) -> None:
    """Refuse the folder of a project or of a run: many tables of rows lie in it, and none of them alone is the test.

    Raises:
        UsageError: it is one.
    """
    if (path / SETTINGS_FILE).exists():
        raise UsageError(
            f"`{path}` is a project, and no set.",
            remedy=f"its own test is the set `{HELD_OUT}`, with --project {path}",
        )
    if RunFolder(path).spec.exists() and RunFolder(path).data.is_dir():
        raise UsageError(
            f"`{path}` is a run, and no set.",
            remedy=f"its test is the set `{_RUN}:{RunFolder(path).name}` of its project, or the folder {path / 'data'}",
        )


def _own(project: Project, options: SetOptions, progress: Progress) -> RetrievalSet:
    """The project's held-out rows."""
    _retrieval_only(options, HELD_OUT)
    progress("collect the held-out rows", 0, 1)
    curated = project.curated()
    collection = Collection.of(project, curated)
    splits = (kept_split(collection, options.split),) if options.split else _SPLITS
    drawing = Drawing(splits, options.queries, options.corpus, options.seed)
    judged, split, notes = held_out(project, curated, collection, drawing)
    about = About(split, f"project split {split}", in_project=True, notes=notes)
    progress("collect the held-out rows", 1, 1)
    return _finished(judged, about, attributes_of_rows(curated), progress, _Seen(project, None, curated))


def _of_run(project: Project, name: str, options: SetOptions, progress: Progress) -> RetrievalSet:
    """The frozen test of a run, as it is or with fewer queries or passages."""
    _retrieval_only(options, f"run:{name}")
    folder = existing_run(project.root, name)
    if options.split:
        raise UsageError(
            f"The test of the run `{name}` is frozen, so no split can be chosen.",
            remedy=f"use {HELD_OUT}:{options.split}",
        )
    judged, split, trained, notes = frozen(folder)
    judged, drawn = _limited(judged, options)
    if drawn:
        notes += (*drawn, "so scores are not comparable with the run's own")
    about = About(f"run:{name}", f"frozen test of the run {name} (split {split})", in_project=True, notes=notes)
    curated = project.curated()
    return _finished(judged, about, attributes_of_rows(curated), progress, _Seen(project, trained, curated))


def _from_path(path: Path, options: SetOptions, progress: Progress) -> Loaded:
    about = About(path.name.split(".")[0] or str(path), str(path))
    if path.is_dir() and is_judged(path):
        tables = read_folder(path, options.split, progress)
        origin = f"{path} (judgements of {tables.split})" if tables.split else str(path)
        return Loaded(replace(about, origin=origin), tables=tables)
    if path.is_file():
        lines = _of_split(records(path, progress, options.roles), options.split, path)
        return Loaded(about, lines=lines, corpus=lambda: _beside(path, progress), roles=options.roles)
    by_split = split_parts(path, progress, options.roles)
    split = choose_split(list(by_split), options.split, str(path))
    lines = tuple(record for part in by_split[split] for record in as_records(part.content))
    about = replace(about, origin=f"{path} (split {split})") if split else about
    return Loaded(about, lines=lines, roles=options.roles)


def _of_split(lines: Sequence[tuple[int, Any]], split: str | None, path: Path) -> tuple[tuple[int, Any], ...]:
    """The records whose column `split` is the one that is asked for."""
    if split is None:
        return tuple(lines)
    there = [record.get("split") if isinstance(record, dict) else None for _, record in lines]
    if split not in there:
        known = sorted({str(name) for name in there if name is not None})
        raise UsageError(
            f"The file has no rows of the split {split!r}.",
            why=f"its column `split` has {', '.join(map(visible, known))}" if known else "it has no column `split`",
            remedy=f"leave the split out: {path}",
        )
    return tuple(line for line, name in zip(lines, there, strict=True) if name == split)


def _beside(path: Path, progress: Progress) -> pl.DataFrame | None:
    """The passages that lie beside a file of queries, if there are any."""
    places = sorted(place for place in path.parent.iterdir() if place.name.lower().split(".")[0] == "corpus")
    return read_texts(places[0], "corpus", "", progress) if places else None


def _made(loaded: Loaded, project: Project | None, options: SetOptions, progress: Progress) -> EvaluationSet:
    """The set of what was loaded."""
    about = loaded.about
    if options.self_hits is not None:
        about = replace(about, self_hits_removed=options.self_hits == "remove")
    tables = loaded.tables
    if tables is not None:
        _retrieval_only(options, about.name)
    else:
        lines, name = loaded.lines, about.origin
        kind = options.kind or loaded.kind or kind_of(lines, loaded.roles)
        if kind is SetKind.SIMILARITY:
            pairs, drawn = _some(scored_pairs(lines, loaded.roles, name), options)
            return SimilaritySet(pairs, replace(about, notes=about.notes + drawn))
        if kind is SetKind.TRIPLETS:
            items, drawn = _some(triplets(lines, loaded.roles, name), options)
            return TripletSet(items, replace(about, notes=about.notes + drawn))
        tables = queries_with_passages(lines, loaded.roles, name, loaded.corpus)
    judged, notes, attributes = assembled(tables, about.origin)
    judged, drawn = _limited(judged, options)
    about = replace(about, notes=(*about.notes, *notes, *drawn))
    return _finished(judged, about, attributes, progress, _Seen(project) if project else None)


def _retrieval_only(options: SetOptions, name: str) -> None:
    if options.kind not in (None, SetKind.RETRIEVAL):
        raise UsageError(f"`{name}` is a retrieval test, and cannot be read as {options.kind}.")
    if options.roles != NO_ROLES:
        raise UsageError(
            f"`{name}` has no columns to name: its queries, passages and judgements are tables of their own.",
            remedy="leave the columns out",
        )
    if options.self_hits == "remove" and (name == HELD_OUT or name.startswith(f"{_RUN}:")):
        raise UsageError(
            "Self-hits cannot be removed from a test of the project.",
            why="the ids of its queries and of its passages are both row ids, so a query's own passage has its id",
            remedy="leave self_hits out",
        )


def _limited(judged: Judged, options: SetOptions) -> tuple[Judged, tuple[str, ...]]:
    """At most so many queries, and passages: all judged ones of these queries, filled up by others."""
    queries, drawn = _some(judged.queries, options)
    notes = list(drawn)
    qrels = judged.qrels.filter(pl.col("query_id").is_in(queries["query_id"].implode()))
    corpus = judged.corpus
    if options.corpus and corpus.height > options.corpus:
        needed = corpus["passage_id"].is_in(qrels["passage_id"].implode())
        others = np.flatnonzero(~needed.to_numpy())
        room = max(0, options.corpus - int(needed.sum()))
        picks = np.random.default_rng((options.seed, _PASSAGES)).choice(others, min(room, len(others)), replace=False)
        kept = np.sort(np.r_[np.flatnonzero(needed.to_numpy()), picks])
        notes.append(f"passages drawn by seed: {len(kept):,} of {corpus.height:,}; scores are higher than among all")
        corpus = corpus[kept]
    return Judged(queries, corpus, qrels), tuple(notes)


def _some(table: pl.DataFrame, options: SetOptions) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """At most `options.queries` lines of a table, in their order."""
    if not options.queries or table.height <= options.queries:
        return table, ()
    picks = np.random.default_rng((options.seed, _QUERIES)).choice(table.height, options.queries, replace=False)
    return table[np.sort(picks)], (f"evaluated, drawn by seed: {options.queries:,} of {table.height:,}",)


def _finished(
    judged: Judged,
    about: About,
    attributes: pl.DataFrame,
    progress: Progress,
    seen: _Seen | None,
) -> RetrievalSet:
    """Tell the language of each query whose source does not say, and find what training has seen."""
    made = RetrievalSet.of(judged, about, attributes.unique("query_id", keep="first", maintain_order=True))
    unknown = made.attributes["language"].is_null()
    texts = judged.queries["text"].filter(unknown).to_list()
    told: list[str | None] = []
    for low in range(0, len(texts), _TOLD_AT_ONCE):
        progress("tell the languages of queries", low, len(texts))
        told += languages_of(texts[low : low + _TOLD_AT_ONCE])
    languages = made.attributes["language"].scatter(unknown.arg_true(), pl.Series(told, dtype=pl.String))
    made = replace(made, attributes=made.attributes.with_columns(languages.alias("language")))
    if seen is None:
        return made
    return replace(made, leaked=leaked(made, seen.project, seen.trained, progress, seen.curated))
