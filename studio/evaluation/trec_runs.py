"""Other tools' runs, scored by judgements alone: no project, no texts, no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from studio.evaluation.metrics import METRICS, Qrels, by_query, metric, trec_order
from studio.evaluation.results import Evaluation, Ranking, SystemResult
from studio.evaluation.sets import About, Judged, RetrievalSet
from studio.evaluation.systems import Given, SystemClass
from studio.evaluation.trec import read_qrels, read_run
from studio.evaluation.trec_scores import positions
from studio.progress import Progress, silent


def of_trec_runs(
    runs: Sequence[Path],
    qrels: Path,
    of_class: SystemClass = SystemClass.UNKNOWN,
    main: str = METRICS[0],
    *,
    progress: Progress = silent,
) -> Evaluation:
    """Score runs as `trec_eval -c` does: every judged query counts, and one that nothing was found for is 0.

    Args:
        runs: TREC run files; each is called after its file, and one that is named again counts once.
        qrels: judgements, as `trec.read_qrels` reads them.
        of_class: what made the runs; the unknown is compared with nothing.
        main: the metric that decides.
        progress: told of lines read.

    Raises:
        ConfigError: there is no such metric.
        InputError: a file cannot be read; file and line are named.
    """
    main = metric(main).name
    names = tuple(dict.fromkeys([main, *METRICS]))
    judged = read_qrels(qrels, progress)
    runs = list({path.resolve(): path for path in runs}.values())
    read = [read_run(path, progress) for path in runs]
    queries = judged["query_id"].unique().sort()
    passages = pl.concat([judged["passage_id"], *(run["passage_id"] for run in read)]).unique()
    passages = passages.gather(trec_order(passages))
    numbered = Qrels.of(queries, passages, judged)
    depth = max(metric(name).k for name in names)
    systems = []
    for path, name, run in zip(runs, _names(runs), read, strict=True):
        ranking = Ranking(*positions(run, queries, passages, depth))
        values = by_query(ranking.indices, numbered, names)
        asked = run["query_id"].unique()
        systems.append(
            SystemResult(
                name,
                Given(path=str(path), of_class=of_class),
                of_class,
                values,
                {key: float(found.mean()) for key, found in values.items()},
                ranking,
                described={"tag": run["tag"][0], "lines": run.height},
                notes=_notes(queries, asked),
            )
        )
    about = About(name=qrels.name, origin=str(qrels), notes=("scores and judgements only: no text is known",))
    texts = pl.lit("").alias("text")
    tables = (queries.to_frame().with_columns(texts), passages.alias("passage_id").to_frame().with_columns(texts))
    return Evaluation("", RetrievalSet.of(Judged(*tables, judged), about), main, names, tuple(systems))


def _notes(judged: pl.Series, asked: pl.Series) -> tuple[str, ...]:
    missing = judged.len() - int(judged.is_in(asked.implode()).sum())
    beyond = asked.len() - int(asked.is_in(judged.implode()).sum())
    notes = []
    if missing:
        notes.append(f"judged queries that it found nothing for, which count 0: {missing:,} of {judged.len():,}")
    if beyond:
        notes.append(f"queries of it that are not judged, and count nowhere: {beyond:,}")
    return tuple(notes)


def _names(runs: Sequence[Path]) -> list[str]:
    """The names of the files without what says their kind; their paths where two would be the same."""
    short = [path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name for path in runs]
    times = Counter(short)
    named = [name if times[name] == 1 else str(path) for name, path in zip(short, runs, strict=True)]
    again = Counter[str]()
    for place, name in enumerate(named):
        again[name] += 1
        if again[name] > 1:
            named[place] = f"{name} ({again[name]})"
    return named
