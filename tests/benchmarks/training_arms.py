"""Does curation help a training run, and does the conflict-aware sampler? The tiny model, trained on the same pairs in
several arms, measured on clean queries.

    PYTHONPATH=. python tests/benchmarks/training_arms.py --sample --seeds 3 --steps 80 --json OUT.json
    PYTHONPATH=. python tests/benchmarks/training_arms.py --pairs FILE --query COLUMN --positive COLUMN \\
        --seeds 3 --steps 60 --batch 128 --lr 5e-4 --json OUT.json

All arms share the model, the prompts (the project's contract), the loss (MultipleNegativesRankingLoss, scale 20), the
number of steps, the batch size and the learning rate. `--sample`: the sample project, its answer key for verdicts, its
clean hand-written test queries. `--pairs`: 500 queries of a parquet file are held out before anything else, the same
ones that were when harrier-tiny was made from such a file; then answers are planted among the rest
(`studio.selftest.answers`), `--times` for each of `--planted` rows.

Rows that repeat a test row, or share an answer with one, are taken out of all arms: this is not about leaks. Verdicts
are the truth, so curation is as good as a person who sees every candidate and never errs. A known false negative is a
row that answers the anchor's query by the truth (the key, or what was planted) or by equal texts. Same arguments, same
table: each run trains on one CPU thread. The arm "answers together" is a control: its batches are filled with rows that
answer one another, to see whether the measure notices false negatives at all. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.cleaning import check_project, import_project
from studio.export.formats import Format
from studio.export.project import export_project
from studio.mining.conflicts import Conflicts
from studio.mining.exposing import conflicts_of
from studio.models.lexical import BM25Index
from studio.models.load import ModelSpec, load_model
from studio.pairs.read import Roles, read_pairs
from studio.project.curate import Curated, Status
from studio.project.groups import components, joined_by, joined_by_edges
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.settings import ProjectSettings
from studio.project.verdicts import Verdict
from studio.prompts.contract import Role
from studio.sample import TINY_MODEL, sample_data
from studio.selftest.answers import plant_answers
from studio.selftest.rows import Truth
from studio.selftest.sample import clean_rows
from studio.text.equal import equal_at
from studio.text.normalise import Level

Floats = NDArray[np.float64]

_TOGETHER = "together"
_METRICS = ("nDCG@10", "MRR@10", "Recall@10")
_DEPTH = 10
_RESAMPLES = 10_000
_ANSWERING = frozenset(Truth) - {Truth.DISTINCT, Truth.DISTINCT_QUERY, Truth.MARKED}
"""Lines of the answer key whose rows answer each other's queries."""
_TINY_SEED = 12
"""The seed that harrier-tiny was made with."""
_CONTRACT = ProjectSettings(name="arms").prompts.contract()


@dataclass(frozen=True)
class Judged:
    """What models are measured on: `relevant` holds, for each query, the positions of its passages in `corpus`."""

    queries: list[str]
    corpus: list[str]
    relevant: list[set[int]]


@dataclass(frozen=True)
class Arm:
    """What is trained on: `rows` has `row_id`, `query`, `positive`; `sampler` is a name of ST's, or conflicts."""

    name: str
    rows: pl.DataFrame
    sampler: str | Conflicts
    """"batch_sampler" is ST's default; _TOGETHER fills batches with rows that answer one another."""


@dataclass(frozen=True)
class Setting:
    """A set of pairs: how it is judged, its arms, and for each row the group of rows that answer one another."""

    name: str
    judged: Judged
    arms: list[Arm]
    label: dict[str, int]
    about: dict[str, Any]


@dataclass
class Trained:
    """One run: values by metric and query, known false negatives met (pairs, anchors), and what was drawn."""

    scores: dict[str, Floats]
    met: int
    hit: int
    anchors: int
    batches: int
    left_over: int
    short: int
    seconds: float
    drawn: list[list[int]] = field(default_factory=list)


def sample_setting(work: Path) -> Setting:
    """The sample project: its faults, its answer key, and its clean rows of the test split."""
    folder = sample_data()
    project, _ = import_project(
        work / "project", [folder / "pairs.jsonl"], defaults=ProjectSettings(name="sample"), browsable=False
    )
    ids = project.snapshot.select(pl.col("meta").str.json_path_match("$.id").alias("id"), "row_id")
    known = dict(ids.iter_rows())
    key = [json.loads(line) for line in (folder / "answer_key.jsonl").read_text("utf-8").splitlines()]
    answers = [(known[line["a"]], known[line["b"]], line["truth"]) for line in key if line["truth"] in _ANSWERING]
    verdicts = [(a, b) for a, b, truth in answers if truth == Truth.ALSO_ANSWERS]

    rows, alternates = clean_rows(folder)
    corpus = list(dict.fromkeys([row.passage for row in rows] + [row.passage for row, _ in alternates]))
    place = {text: number for number, text in enumerate(corpus)}
    asked = {row.id: row.query for row in rows}
    relevant: dict[str, set[int]] = {row.query: set() for row in rows if row.split == "test"}
    told = [(row.query, row.passage) for row in rows] + [(asked[to], row.passage) for row, to in alternates]
    for query, passage in told:
        if query in relevant:
            relevant[query].add(place[passage])
    judged = Judged(list(relevant), corpus, list(relevant.values()))
    return _setting("sample", work, project, [(a, b) for a, b, _ in answers], verdicts, judged)


def planted_setting(work: Path, options: argparse.Namespace) -> Setting:
    """A file of pairs with held-out queries and planted answers."""
    pairs = read_pairs([options.pairs], roles=Roles(query=options.query, positive=options.positive)).pairs
    query = equal_at(pairs["query"], Level.SURFACE)
    held = query.filter(pairs["query"].is_in(_held_out(options)))
    pairs = pairs.with_columns(
        split=pl.when(query.is_in(held.implode())).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    test, sources = pairs.filter(pl.col("split") == "test"), pairs.filter(pl.col("split") == "train")
    sources = sources.sample(min(options.rows, sources.height), seed=0)
    # Each round takes the same sources, in another order.
    some = sources.sample(min(options.planted, sources.height), seed=0)
    rounds = [plant_answers(some, some.height, seed, look_alikes=0) for seed in range(options.times)]
    planted = pl.concat([made.frame.tail(made.truth.height) for made in rounds])
    answers = list(pl.concat([made.truth for made in rounds]).select("a", "b").iter_rows())
    rows = pl.concat([test, sources, planted]).unique("row_id", maintain_order=True)
    project = Project.create(work / "project", rows, ProjectSettings(name="planted"))
    return _setting(Path(options.pairs).stem, work, project, answers, answers, _judged_by_groups(work, pairs))


def _held_out(options: argparse.Namespace) -> list[str]:
    """The queries that `sample_data/make_harrier_tiny.py` holds out of a file: a model made from it knows none."""
    pairs = pl.read_parquet(options.pairs, columns=[options.query, options.positive]).unique(maintain_order=True)
    rng = random.Random(_TINY_SEED)
    rng.shuffle(pairs[options.positive].unique(maintain_order=True).to_list())
    return rng.sample(sorted(pairs[options.query].unique()), options.held_out)


def _judged_by_groups(work: Path, pairs: pl.DataFrame) -> Judged:
    """The test queries of all pairs, and as relevant every passage of their answer groups by the checks' auto band."""
    whole = Project.create(work / "whole", pairs, ProjectSettings(name="whole"))
    check_project(whole)
    with whole.locked():
        apply_auto(whole)
    groups = whole.curated().rows.select("row_id", "group_id")
    pairs = pairs.join(groups, on="row_id", maintain_order="left").with_columns(
        asked=equal_at(pairs["query"], Level.SURFACE), key=equal_at(pairs["positive"], Level.SURFACE)
    )
    corpus = pairs.unique("key", keep="first", maintain_order=True).with_row_index("place")
    numbered = pairs.join(corpus.select("key", "place"), on="key", maintain_order="left")
    relevant: dict[str, set[int]] = {}
    for group, place in numbered.select("group_id", "place").iter_rows():
        relevant.setdefault(group, set()).add(place)
    tested = pairs.filter(pl.col("split") == "test").unique("asked", keep="first", maintain_order=True)
    return Judged(
        tested["query"].to_list(), corpus["positive"].to_list(), [relevant[group] for group in tested["group_id"]]
    )


def _setting(
    name: str,
    work: Path,
    project: Project,
    answers: Sequence[tuple[str, str]],
    verdicts: Sequence[tuple[str, str]],
    judged: Judged,
) -> Setting:
    """Check, decide, judge and export the project, and make the arms of what comes out."""
    label = dict(zip(project.snapshot["row_id"], _labels(project.snapshot, answers).tolist(), strict=True))
    check_project(project)
    told = json.dumps({"drawn": "damage"})
    targets = [Target(a, b, None, Verdict.ALSO_ANSWERS.value, told) for a, b in verdicts]
    with project.locked():
        apply_auto(project)
        project.ledger.append_step([(Action.JUDGE, "judged: also_answers", targets)], actor="person")
    curated = project.curated()
    barred = _barred(curated, project, label)
    allowed = ~pl.col("row_id").is_in(list(barred))

    raw = project.snapshot.filter((pl.col("split") == "train") & allowed).select("row_id", "query", "positive")
    export_project(project, work / "export", Format.PARQUET)
    sidecar = pl.read_parquet(work / "export" / "sidecar.parquet").filter(pl.col("file") == "data/train.parquet")
    table = pl.read_parquet(work / "export" / "data" / "train.parquet")
    exported = sidecar.sort("position").select("row_id").hstack(table.select("query", "positive")).filter(allowed)

    # The same conflicts on the rows as they were imported: nothing removed, nothing re-pointed.
    texts = project.snapshot.select("row_id", "query", "positive", "split")
    kept = curated.rows.drop("query", "positive", "split").with_columns(status=pl.lit(Status.KEPT.value))
    imported = Curated(kept.join(texts, on="row_id", maintain_order="left").select(curated.rows.columns))
    arms = [
        Arm("raw", raw, "batch_sampler"),
        Arm("raw, answers together", raw, _TOGETHER),
        Arm("raw, no duplicates", raw, "no_duplicates"),
        Arm("raw, conflict-aware", raw, conflicts_of(project, imported)),
        Arm("curated, no duplicates", exported, "no_duplicates"),
        Arm("curated, conflict-aware", exported, conflicts_of(project, curated)),
    ]
    about = {
        "rows imported": project.snapshot.height,
        "training rows taken out of all arms": len(barred),
        "verdicts": len(verdicts),
        "decisions": curated.counts().to_dicts(),
    }
    return Setting(name, judged, arms, label, about)


def _labels(rows: pl.DataFrame, answers: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """Number the groups of rows that answer one another: by the truth, or by equal texts."""
    edges = pl.DataFrame(answers, schema={"a_id": pl.String, "b_id": pl.String}, orient="row")
    equal = (joined_by(equal_at(rows[column], Level.SURFACE)) for column in ("query", "positive"))
    return components(rows.height, [*equal, joined_by_edges(rows["row_id"], edges)])


def _barred(curated: Curated, project: Project, label: dict[str, int]) -> set[str]:
    """Training rows that leak into the test rows, or are in an answer group with one."""
    rows = curated.rows.select("row_id", "group_id", pl.col("split").alias("now")).with_columns(
        truth=pl.Series([label[row_id] for row_id in curated.rows["row_id"]]), was=project.snapshot["split"]
    )
    test = rows.filter(pl.col("was") == "test")
    near = pl.col("group_id").is_in(test["group_id"].to_list()) | pl.col("truth").is_in(test["truth"].to_list())
    leaked = pl.col("now") == project.settings.curation.leaked_split
    return set(rows.filter((pl.col("was") == "train") & (leaked | near))["row_id"])


def train(arm: Arm, seed: int, options: argparse.Namespace, setting: Setting) -> Trained:
    """Train a fresh model on one arm and measure it."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import PrinterCallback
    from transformers.utils import logging

    from studio.training.sampler import conflict_aware

    logging.set_verbosity_error()
    drawn: list[list[int]] = []
    groups = {(query, positive): setting.label[row_id] for row_id, query, positive in arm.rows.iter_rows()}

    sampler: Any = arm.sampler
    if isinstance(sampler, Conflicts):
        sampler = conflict_aware(sampler)
    elif sampler == _TOGETHER:
        sampler = _together([setting.label[row_id] for row_id in arm.rows["row_id"]])

    class Recording(SentenceTransformerDataCollator):
        """Takes down whose rows each batch is made of."""

        def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
            drawn.append([groups[row["query"], row["positive"]] for row in features])
            return super().__call__(features)

    class Trainer(SentenceTransformerTrainer):
        data_collator_class = Recording

    started = time.perf_counter()
    model = _model(options)
    with tempfile.TemporaryDirectory() as out:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=out,
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            learning_rate=options.lr,
            warmup_steps=options.steps // 10,
            seed=seed,
            batch_sampler=sampler,
            prompts=_CONTRACT.as_trainer_prompts({Role.QUERY: "query", Role.DOCUMENT: "positive"}),
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict(arm.rows.select("query", "positive").to_dict(as_series=False)),
            loss=MultipleNegativesRankingLoss(model, scale=20.0),
        )
        trainer.remove_callback(PrinterCallback)
        epoch = [len(batch) for batch in trainer.get_train_dataloader().batch_sampler]
        trainer.train()
    # The loader reads a batch ahead.
    del drawn[options.steps :]
    sizes = [Counter(batch) for batch in drawn]
    return Trained(
        scores=measure(model, setting.judged, options.batch),
        met=sum(n * (n - 1) for found in sizes for n in found.values()),
        hit=sum(n for found in sizes for n in found.values() if n > 1),
        anchors=sum(map(len, drawn)),
        batches=len(epoch),
        left_over=arm.rows.height - sum(epoch),
        short=sum(size < options.batch for size in epoch),
        seconds=time.perf_counter() - started,
        drawn=drawn,
    )


def _together(labels: Sequence[int]) -> Any:
    """A batch sampler that keeps rows of one label in a row, the labels in random order."""
    from sentence_transformers.base.sampler import DefaultBatchSampler

    class Together(DefaultBatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            rng = np.random.default_rng((self.seed, self.epoch))
            rows = np.argsort(rng.permutation(max(labels) + 1)[labels], kind="stable")
            batches = [rows[at : at + self.batch_size].tolist() for at in range(0, len(rows), self.batch_size)]
            yield from (batches[number] for number in rng.permutation(len(batches)))

        def __len__(self) -> int:
            return -(-len(labels) // self.batch_size)

    return Together


def _model(options: argparse.Namespace) -> Any:
    import torch

    torch.set_num_threads(1)
    spec = ModelSpec(str(sample_data() / TINY_MODEL), options.max_length, dtype="float32", device="cpu")
    return load_model(spec)


def measure(model: Any, judged: Judged, batch_size: int) -> dict[str, Floats]:
    """Search the corpus with a model, the prompts as in training; one value a metric and query."""
    sides = ((judged.queries, Role.QUERY), (judged.corpus, Role.DOCUMENT))
    queries, passages = (
        model.encode(texts, prompt=_CONTRACT.prompt(role), batch_size=batch_size, normalize_embeddings=True)
        for texts, role in sides
    )
    best = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :_DEPTH]
    return scores_of(best, judged.relevant)


def scores_of(best: NDArray[np.integer], relevant: Sequence[set[int]]) -> dict[str, Floats]:
    """nDCG, reciprocal rank and recall of the first ten passages, one value a query.

    Args:
        best: (queries, 10) passages found, the best first; -1 is none.
        relevant: the passages that answer, by query.
    """
    hits = np.array([[place in answers for place in row] for row, answers in zip(best.tolist(), relevant, strict=True)])
    many = np.array([len(answers) for answers in relevant])
    discount = 1 / np.log2(np.arange(_DEPTH) + 2)
    ideal = np.cumsum(discount)[np.minimum(many, _DEPTH) - 1]
    first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return dict(zip(_METRICS, (hits @ discount / ideal, first, hits.sum(axis=1) / many), strict=True))


def _checked(model: Any, judged: Judged, ours: dict[str, Floats], batch_size: int) -> None:
    """Compare with sentence-transformers' own evaluator."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    evaluator = InformationRetrievalEvaluator(
        {str(i): text for i, text in enumerate(judged.queries)},
        {str(i): text for i, text in enumerate(judged.corpus)},
        {str(i): {str(place) for place in places} for i, places in enumerate(judged.relevant)},
        query_prompt=_CONTRACT.query,
        corpus_prompt=_CONTRACT.document,
        batch_size=batch_size,
        write_csv=False,
    )
    found = evaluator(model)
    for name, theirs in zip(_METRICS, ("ndcg@10", "mrr@10", "recall@10"), strict=True):
        value = float(found[f"cosine_{theirs}"])
        # Texts that are equal once they are cut tie, and who comes first is chance.
        if abs(value - ours[name].mean()) > 1e-3:
            raise SystemExit(f"{name}: {ours[name].mean()} here, {value} by sentence-transformers")


def _bm25(judged: Judged) -> dict[str, Floats]:
    found = BM25Index(pl.Series(judged.corpus)).nearest(pl.Series(judged.queries), _DEPTH)
    return scores_of(found.indices, judged.relevant)


def _interval(differences: Floats) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over queries."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[picks].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def report(setting: Setting, runs: dict[str, list[Trained]], fixed: dict[str, dict[str, Floats]]) -> dict[str, Any]:
    """Means, seeds, paired differences and exposure of every arm."""
    base = runs["raw"]
    arms = {}
    for arm in setting.arms:
        found = runs[arm.name]
        line: dict[str, Any] = {"rows": arm.rows.height}
        for name in _METRICS:
            values = np.array([run.scores[name] for run in found])
            ours = values - np.array([run.scores[name] for run in base])
            line[name] = {
                "mean": float(values.mean()),
                "seeds": values.mean(axis=1).tolist(),
                "to raw": float(ours.mean()),
                "to raw, seeds": ours.mean(axis=1).tolist(),
                "to raw, interval": _interval(ours.mean(axis=0)),
            }
        steps = sum(len(run.drawn) for run in found)
        line["false negatives a step"] = sum(run.met for run in found) / steps
        line["anchors hit"] = sum(run.hit for run in found) / sum(run.anchors for run in found)
        line["rows trained on"] = sum(run.anchors for run in found) / len(found)
        for name in ("batches", "left_over", "short", "seconds"):
            line[name] = [getattr(run, name) for run in found]
        arms[arm.name] = line
    return {
        "name": setting.name,
        "queries": len(setting.judged.queries),
        "passages": len(setting.judged.corpus),
        "relevant a query": float(np.mean([len(found) for found in setting.judged.relevant])),
        **setting.about,
        "untrained": {who: {name: float(values.mean()) for name, values in by.items()} for who, by in fixed.items()},
        "arms": arms,
    }


def table(found: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = [
        "| arm | rows | nDCG@10 | seeds | against raw [95 %] | MRR@10 | recall@10 | false negatives a step "
        "| anchors hit | rows left over an epoch |",
        "| --- | --: | --: | --- | --- | --: | --: | --: | --: | --: |",
    ]
    for who, by in found["untrained"].items():
        first, *others = (f"{by[name]:.3f}" for name in _METRICS)
        lines.append(f"| {who} | | {first} | | | {others[0]} | {others[1]} | | | |")
    for who, line in found["arms"].items():
        main = line["nDCG@10"]
        low, high = main["to raw, interval"]
        against = "" if who == "raw" else f"{main['to raw']:+.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(
            f"| {who} | {line['rows']:,} | {main['mean']:.3f} | {' '.join(f'{v:.3f}' for v in main['seeds'])} "
            f"| {against} | {line['MRR@10']['mean']:.3f} | {line['Recall@10']['mean']:.3f} "
            f"| {line['false negatives a step']:.2f} | {line['anchors hit']:.2%} | {max(line['left_over'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the arms that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="the sample project")
    parser.add_argument("--pairs", help="a file of pairs to plant answers in")
    parser.add_argument("--query", help="its column of queries")
    parser.add_argument("--positive", help="its column of passages")
    parser.add_argument("--held-out", type=int, default=500, help="test queries (500)")
    parser.add_argument("--rows", type=int, default=1500, help="other rows to train on, at most (1500)")
    parser.add_argument("--planted", type=int, default=1000, help="of these, rows that answers are planted for (1000)")
    parser.add_argument("--times", type=int, default=8, help="planted answers a row (8)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--max-length", type=int, default=96)
    parser.add_argument("--arms", help="only arms whose names hold one of these words, with commas; raw always runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1); the table is the same")
    parser.add_argument("--json", type=Path, help="where to write everything")
    options = parser.parse_args()
    if options.sample == bool(options.pairs):
        parser.error("give --sample or --pairs")

    with tempfile.TemporaryDirectory() as folder:
        setting = sample_setting(Path(folder)) if options.sample else planted_setting(Path(folder), options)
    model = _model(options)
    untrained = measure(model, setting.judged, options.batch)
    _checked(model, setting.judged, untrained, options.batch)
    fixed = {"BM25": _bm25(setting.judged), "not trained": untrained}
    words = options.arms.split(",") if options.arms else [""]
    setting.arms[:] = [arm for arm in setting.arms if arm.name == "raw" or any(word in arm.name for word in words)]
    runs: dict[str, list[Trained]] = {arm.name: [] for arm in setting.arms}
    todo = [(seed, arm) for seed in range(options.seeds) for arm in setting.arms]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(train, arm, seed, options, setting) for seed, arm in todo]
        for (seed, arm), future in zip(todo, waiting, strict=True):
            run = future.result()
            runs[arm.name].append(run)
            value = run.scores["nDCG@10"].mean()
            print(f"seed {seed}, {arm.name}: nDCG@10 {value:.4f}, {run.met} met, {run.seconds:.0f} s", flush=True)
    found = {"arguments": {k: str(v) for k, v in vars(options).items()}, **report(setting, runs, fixed)}
    print(f"\n{found['queries']} queries, {found['passages']} passages\n\n{table(found)}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
