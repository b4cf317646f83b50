"""How many planted false negatives the queue brings, at which depth, and what judging them does to a run's exposure.

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
from studio.mining.collection import Collection
from studio.mining.exposing import exposures
from studio.mining.false_negatives import configured, search
from studio.mining.judging import queue
from studio.mining.retrieval import retrievers_of
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings, RetrieverSettings
from studio.project.verdicts import Verdict
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


def perfect_judge(project: Project, lines: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Judge these lines of the queue as the truth says; what was not planted counts as not answering."""
    planted = {frozenset(pair) for pair in truth.filter("answers").select("a", "b").iter_rows()}
    told = [
        Target(*ids, value=(Verdict.ALSO_ANSWERS if frozenset(ids) in planted else Verdict.DOES_NOT).value)
        for ids in lines.select("query_id", "passage_id").iter_rows()
    ]
    project.ledger.append(Action.JUDGE, told, actor="person:oracle", reason="judged by the truth")


def main() -> None:
    """Measure one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--plant", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    pl.Config.set_tbl_cols(-1)
    pl.Config.set_tbl_rows(40)
    pl.Config.set_tbl_width_chars(160)
    with tempfile.TemporaryDirectory() as folder:
        project, truth = prepared(Path(folder), given.source, given.plant, given.seed)
        named = tuple(RetrieverSettings(model=model) for model in given.model)
        stored = search(project, configured(project.settings), retrievers_of(project.settings, named))
        print(f"search: {stored.seconds:.1f} s, {stored.evidence.stats}")
        curated = project.curated()
        collection = Collection.of(project, curated)
        lines = queue(project, stored, curated, collection).lines
        for kind, part in truth.partition_by("kind", as_dict=True, maintain_order=True).items():
            if part["answers"].all():
                others = truth.filter(~pl.col("answers"))
                table = depth_table(measure_queue(lines, pl.concat([part, others]), DEPTHS))
                shares = ("planted_share", "look_alikes", "recall_share", "recall_low", "recall_high")
                print(kind[0], part.height, "planted", table.select("depth", "planted", *shares))
        for depth in (0, 200, 1000):
            perfect_judge(project, lines.head(depth), truth) if depth else None
            judged = queue(project, stored, curated, collection).lines
            for gauge in exposures(project, project.snapshot, collection, curated, judged, given.batch):
                print(f"judged {depth:>5}  {gauge.sampler:15} a batch {gauge.before:8.2f} -> {gauge.after:8.2f}")


if __name__ == "__main__":
    main()
