"""How many planted false negatives the queue brings, at which depth, and how many of them a run's batches hold.

    python tests/benchmarks/false_negatives.py FILE [--model harrier-tiny …] [--plant 400] [--seed 1] [--batch 128]
    python tests/benchmarks/false_negatives.py sample

FILE is anything `import` reads. Passages are paraphrased and moved under new queries (`studio.selftest.answers`), and
look-alikes that do not answer are planted beside them. The duplicates are decided by the rule first, as a user would.
`sample` takes the sample project and the `also_answers` of its own answer key. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import polars as pl

from studio.cleaning import check_project, import_project
from studio.mining.batches import draw_batches
from studio.mining.collection import Collection
from studio.mining.conflicts import Conflicts, RowKeys
from studio.mining.exposing import conflicts_of
from studio.mining.exposure import answer_counts, expected, simulate
from studio.mining.false_negatives import configured, search
from studio.mining.judging import queue
from studio.mining.retrieval import retrievers_of
from studio.project.curate import Curated, standing
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings, RetrieverSettings
from studio.sample import sample_data
from studio.selftest.answers import DEPTHS, TRUTH_SCHEMA, depth_table, measure_queue, plant_answers


def prepared(root: Path, source: str, plant: int, seed: int) -> tuple[Project, pl.DataFrame]:
    """A checked project with the duplicates decided, and who answers whom in it."""
    settings = ProjectSettings(name="planted")
    if source == "sample":
        project, _ = import_project(root / "p", [str(sample_data() / "pairs.jsonl")], defaults=settings)
        truth = _answer_key(project.snapshot)
    else:
        read, _ = import_project(root / "read", [source], defaults=settings)
        planted = plant_answers(read.snapshot, plant, seed)
        print("paraphrases, word-3-gram Jaccard:", {k: round(v, 3) for k, v in planted.jaccard().items()})
        project, truth = Project.create(root / "p", planted.frame, settings), planted.truth
    start = time.perf_counter()
    check_project(project)
    with project.locked():
        apply_auto(project)
    print(f"checks and rule: {time.perf_counter() - start:.1f} s, {project.curated().kept.height:,} rows kept")
    return project, truth


def _answer_key(snapshot: pl.DataFrame) -> pl.DataFrame:
    names = [json.loads(meta or "{}").get("id") for meta in snapshot["meta"]]
    row_ids = dict(zip(names, snapshot["row_id"], strict=True))
    lines = (json.loads(line) for line in (sample_data() / "answer_key.jsonl").read_text("utf-8").splitlines())
    pairs = [(row_ids[line["a"]], row_ids[line["b"]]) for line in lines if line["kind"] == "also_answers"]
    rows = [(a, b, "also_answers", True, None) for a, b in pairs]
    return pl.DataFrame(rows, schema=TRUTH_SCHEMA, orient="row")


def met(project: Project, truth: pl.DataFrame, batch: int, epochs: int = 3) -> None:
    """Count the false negatives of the truth that drawn batches hold, on the rows as imported and as decided."""
    as_imported = Curated(
        project.snapshot.with_columns(status=pl.lit("kept"), keeper_id=pl.lit(None, pl.String), group_id="row_id")
    )
    for name, curated in (("as imported", as_imported), ("as decided", project.curated())):
        collection = Collection.from_rows(curated.kept, project.settings.curation)
        pairs = truth.filter("answers").select(pl.col("a").alias("query_id"), pl.col("b").alias("passage_id"))
        both = pl.concat([pairs, pairs.select(query_id="passage_id", passage_id="query_id")])
        planted = collection.numbered(standing(project.curated().rows, both) if name == "as decided" else both)
        answers = pl.concat([collection.own, planted.select("query", "passage")]).unique(maintain_order=True)
        answers = answers.with_columns(weight=pl.lit(1.0))
        rows = collection.training
        texts = rows.join(curated.rows.select("row_id", "query", "positive"), on="row_id", maintain_order="left")
        columns = [texts["query_right"], texts["positive"]]
        keys = {"random": RowKeys.none(rows.height), "no_duplicates": Conflicts.none().keys(columns)}
        if name == "as decided":
            keys["conflict_aware"] = conflicts_of(project, curated).keys(columns)
        closed = expected(answer_counts(rows.select("query", "passage"), answers), batch)
        print(f"{name}, {rows.height:,} rows: random, closed form {closed.per_epoch:.1f} an epoch")
        for sampler, kept_apart in keys.items():
            drawn = [draw_batches(kept_apart, batch, (0, epoch)) for epoch in range(epochs)]
            found = [simulate(rows.select("query", "passage"), answers, epoch.batches) for epoch in drawn]
            print(
                f"  {sampler:15} a batch {sum(f.per_batch for f in found) / epochs:7.3f}  an epoch "
                f"{sum(f.per_epoch for f in found) / epochs:8.1f}  queries hit {found[0].anchors_hit:.2%}  "
                f"left over {drawn[0].left_over}"
            )


def main() -> None:
    """Measure one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--plant", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    pl.Config.set_tbl_cols(-1)
    pl.Config.set_tbl_rows(40)
    pl.Config.set_tbl_width_chars(160)
    with tempfile.TemporaryDirectory() as scratch:
        project, truth = prepared(Path(scratch), given.source, given.plant, given.seed)
        named = tuple(
            RetrieverSettings(model=model, max_length=given.max_length) for model in given.model or ["harrier-tiny"]
        )
        stored = search(project, configured(project.settings), retrievers_of(project.settings, named))
        print(f"search: {stored.seconds:.1f} s, {stored.evidence.stats}")
        curated = project.curated()
        collection = Collection.of(project, curated)
        lines = queue(project, stored, curated, collection).lines
        for kind, part in truth.partition_by("kind", as_dict=True, maintain_order=True).items():
            if part["answers"].all():
                others = truth.filter(~pl.col("answers"))
                table = depth_table(measure_queue(lines, pl.concat([part, others]), (*DEPTHS, lines.height)))
                shares = ("planted_share", "look_alikes", "recall_share", "recall_low", "recall_high")
                print(kind[0], part.height, "planted", table.select("depth", "planted", *shares))
        met(project, truth, given.batch)


if __name__ == "__main__":
    main()
