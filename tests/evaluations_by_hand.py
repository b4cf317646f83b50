"""Evaluations on disk as `evaluate` leaves them, with rankings chosen by hand: where each query's answer stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from studio.evaluation.folder import EvaluationFolder
from studio.evaluation.metrics import METRICS, by_query
from studio.evaluation.parts import save_set, save_system
from studio.evaluation.per_query import qrels_of
from studio.evaluation.requests import FORMAT, Request, save_request
from studio.evaluation.results import Operations, Ranking, SystemResult
from studio.evaluation.running import class_of
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked
from studio.runs.folder import RunFolder
from tests.runs_by_hand import made as made_run

System = Dense | Lexical | Hybrid | Reranked | Given
BEGAN = 1_700_000_000
DEPTH = 12
COST = Operations("cpu, 2 threads", 1.5, 1234.0, 0.0042, 0.0101, 64 * 40, 64, 300 << 20, (1, 2), (10, 250), (40, 20))


def retrieval(
    pairs: Sequence[tuple[str, str]], leaked: Mapping[str, str] | None = None, **about: object
) -> RetrievalSet:
    """A set of which query r0, r1, … is answered by passage r0, r1, …, as the ids of a project's rows are."""
    ids = [f"r{at}" for at in range(len(pairs))]
    judged = Judged(
        pl.DataFrame({"query_id": ids, "text": [query for query, _ in pairs]}),
        pl.DataFrame({"passage_id": ids, "text": [passage for _, passage in pairs]}),
        pl.DataFrame({"query_id": ids, "passage_id": ids, "relevance": [1.0] * len(ids)}),
    )
    known = {
        "query_id": ids,
        "source": ["faq" if at % 2 else "manual" for at in range(len(ids))],
        "language": ["pt"] * len(ids),
    }
    why = pl.DataFrame({"query_id": list(leaked or {}), "why": list((leaked or {}).values())},
                       schema={"query_id": pl.String, "why": pl.String})  # fmt: skip
    words = {"name": "test", "origin": "project split test", "in_project": True, **about}
    return RetrievalSet.of(judged, About(**words), pl.DataFrame(known), why)  # type: ignore[arg-type]


def result(
    evaluated: RetrievalSet, named: Named, ranks: Sequence[int | None], cost: Operations | None = None
) -> SystemResult:
    """A system that has the answer of each query at a rank from 1; None: it has not found it."""
    corpus = evaluated.judged.corpus["passage_id"].to_list()
    places = {passage: place for place, passage in enumerate(corpus)}
    depth = min(DEPTH, len(corpus) - 1)
    lines = []
    for query_id, rank in zip(evaluated.judged.queries["query_id"], ranks, strict=True):
        others = [place for place in range(len(corpus)) if place != places[query_id]]
        line = others if rank is None else [*others[: rank - 1], places[query_id], *others[rank - 1 :]]
        lines.append(line[:depth])
    indices = np.array(lines, np.int32)
    scores = np.tile(np.linspace(0.9, 0.1, depth, dtype=np.float32), (len(lines), 1))
    values = by_query(indices, qrels_of(evaluated), METRICS)
    overall = {name: float(column.mean()) for name, column in values.items()}
    return SystemResult(named.name, named.system, class_of(named.system), values, overall, Ranking(indices, scores),
                        cost, {"model": named.name, "max_length": 64}, ("measured by hand",))  # fmt: skip


def stored(
    root: Path,
    name: str,
    evaluated: RetrievalSet,
    systems: Sequence[tuple[str, System, Sequence[int | None] | str]],
    *,
    cost: Operations | None = None,
    finished: int | None = None,
    made: float = BEGAN,
) -> EvaluationFolder:
    """Write an evaluation.

    Args:
        root: the project's directory.
        name: the evaluation's.
        evaluated: the set.
        systems: name, system, and the ranks of the answers, or why it could not be run.
        cost: of each system; None: not measured.
        finished: how many systems are done; None: all.
        made: when, in seconds since 1970.
    """
    folder = EvaluationFolder(root / "evaluations" / name)
    folder.root.mkdir(parents=True)
    named = tuple(Named(each, system) for each, system, _ in systems)
    command = ("harrier-studio", "evaluate", "--project", "p", "--name", name)
    save_request(folder, Request("held-out", {}, named, METRICS, METRICS[0], cost is not None, command, "2023-11-14"))
    save_set(folder, evaluated)
    for place, ((_, _, ranks), each) in enumerate(zip(systems, named, strict=True)):
        if finished is not None and place >= finished:
            break
        if isinstance(ranks, str):
            save_system(folder, place, SystemResult(each.name, each.system, class_of(each.system), {}, {}, error=ranks))
        else:
            save_system(folder, place, result(evaluated, each, ranks, cost))
    if finished is None:
        folder.report.write_text(json.dumps({"format": FORMAT}))
    for path in (folder.request, folder.report, *folder.systems.glob("*")):
        if path.exists():
            os.utime(path, (made, made))
    return folder


def finished_run(root: Path, pairs: Sequence[tuple[str, str]], name: str, baseline: float, final: float) -> RunFolder:
    """A run that has ended, with its frozen test and the values of its queries."""
    folder = made_run(root, name)
    folder.data.mkdir()
    evaluated = retrieval(pairs)
    for table, frame in evaluated.judged._asdict().items():
        frame.write_parquet(folder.data / f"{table}.parquet")
    said = {
        when: {"metrics": {"ndcg@10": value}, "per_query": dict.fromkeys((f"r{at}" for at in range(len(pairs))), value)}
        for when, value in (("baseline", baseline), ("final", final))
    }
    folder.result.write_text(json.dumps({"metric": "ndcg@10", **said}))
    return folder
