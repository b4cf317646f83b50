"""What watching costs: a run through the worker against a plain `SentenceTransformerTrainer` script, in turn.

    python -m tests.benchmarks.training --rounds 3
    python -m tests.benchmarks.training --device cuda --size 270m --batch 64 --length 256 --words 120 --steps 200

Both train in a fresh process on the same frozen data, with the same model, steps, batches (the conflict-aware
sampler), seed, threads and number of log lines, in the order worker, plain, plain, worker, …. Samples a second are
those between the log line of the first tenth and the last one, so that neither loading nor warming up counts; nothing
is evaluated or saved in between. CPU seconds of the process over the same steps are told too: on a machine that does
other work besides they say more than the clock. `--size 270m` is a model of Harrier-270m's sizes with random weights;
on CUDA bf16, with peak memory against the plain script and against the estimate. Run by hand; it is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from studio.pairs.read import Roles, read_pairs
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.runs.folder import RunFolder
from studio.runs.history import Follower
from studio.sample import TINY_MODEL, sample_data
from studio.training.launch import create
from studio.training.spec import RunSpec, changed, read_spec

_LOGS = 50
_270M = {
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "vocab_size": 262_144,
    "layer_types": ["full_attention"] * 18,
}
"""Harrier-270m's configuration (research/training.md §1.1)."""


class Ran(NamedTuple):
    """One training: samples a second, CPU seconds and peak bytes on the device (None on CPU) over the same steps."""

    samples: float
    cpu: float
    peak: int | None


def through_the_worker(folder: RunFolder, spec: RunSpec, first: int) -> Ran:
    """Train as the studio does, and look on from outside as anybody would."""
    with folder.console.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "studio.training.worker", str(folder.root)], stdout=out, stderr=out
        )
    watched, follower = psutil.Process(process.pid), Follower(folder)
    times: dict[int, tuple[float, float]] = {}
    peak = None
    while process.poll() is None or not times:
        for event in follower.read():
            if event.type == "train":
                used = watched.cpu_times()
                times[event.step] = event.time, used.user + used.system
            if event.type == "devices":
                peak = event.fields["peak"]
        time.sleep(0.005)
    if process.returncode:
        raise SystemExit(folder.console.read_text()[-3_000:])
    return _between(times, first, spec, peak)


def plainly(folder: RunFolder, spec: RunSpec, first: int) -> Ran:
    """Train with the script below."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "times.json"
        command = [sys.executable, "-m", "tests.benchmarks.training", "--script", str(folder.root), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3_000:])
        said = json.loads(out.read_text())
    return _between({int(step): tuple(at) for step, at in said["times"].items()}, first, spec, said["peak"])


def script(root: Path, out: Path) -> None:
    """What somebody would write who does not know the studio."""
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    from studio.training.building import device_of, precision_of
    from studio.training.data import conflicts, load_prepared, train_frame
    from studio.training.sampler import conflict_aware

    spec, data = read_spec(root / "run.toml"), load_prepared(root / "data")
    assert spec.prompts
    device = device_of(spec)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    where = str(sample_data() / TINY_MODEL) if spec.model.id == TINY_MODEL else spec.model.id
    model = SentenceTransformer(where, device=device, model_kwargs={"dtype": torch.float32})
    model.max_seq_length = spec.model.max_length
    times: dict[int, tuple[float, float]] = {}

    class Times(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if "loss" in kwargs["logs"]:
                times[state.global_step] = time.time(), time.process_time()

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out.parent / "plain"),
        max_steps=spec.schedule.max_steps,
        per_device_train_batch_size=spec.batch.per_device,
        learning_rate=spec.optimiser.lr,
        warmup_steps=spec.schedule.warmup,
        lr_scheduler_type="cosine",
        seed=spec.seed,
        prompts={"query": spec.prompts.query},
        batch_sampler=conflict_aware(conflicts(data)),
        use_cpu=device == "cpu",
        bf16=precision_of(spec, device) == "bf16",
        logging_steps=max(1, spec.schedule.max_steps // spec.reporting.logs),
        save_strategy="no",
        report_to="none",
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset(train_frame(data, "project").to_arrow()),
        loss=MultipleNegativesRankingLoss(model, scale=spec.loss.scale),
        callbacks=[Times()],
    ).train()
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else None
    out.write_text(json.dumps({"times": times, "peak": peak}))


def _between(times: dict[int, tuple[float, float]], first: int, spec: RunSpec, peak: int | None) -> Ran:
    last = spec.schedule.max_steps
    (began, used), (ended, used_then) = times[first], times[last]
    return Ran((last - first) * spec.batch.per_device / (ended - began), used_then - used, peak)


def make_project(root: Path, rows: int, words: int) -> Project:
    """Made-up pairs, each its own; a hundred are held out."""
    rng = random.Random(0)
    vocabulary = [f"{a}{b}" for a in ("casa", "fatura", "prazo", "conta", "banco") for b in ("", "s", "inha", "ão")]
    lines = [
        {
            "query": f"pergunta {number}: " + " ".join(rng.choices(vocabulary, k=max(1, words // 6))),
            "positive": f"resposta {number}: " + " ".join(rng.choices(vocabulary, k=words)),
            "split": "validation" if number < 100 else "train",
        }
        for number in range(rows + 100)
    ]
    file = root / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), "utf-8")
    pairs = read_pairs([file], roles=Roles(query="query", positive="positive", split="split")).pairs
    return Project.create(root / "project", pairs, ProjectSettings(name="benchmark"))


def make_270m(root: Path) -> str:
    """A model of Harrier-270m's sizes with random weights and the tiny model's tokenizer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    model = SentenceTransformer(str(sample_data() / TINY_MODEL), device="cpu")
    config = AutoConfig.from_pretrained(str(sample_data() / TINY_MODEL), **_270M)
    model[0].model = AutoModel.from_config(config, dtype=torch.float32)
    model.save_pretrained(str(root / "random-270m"))
    return str(root / "random-270m")


def main() -> None:
    """Run both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--words", type=int, default=30, help="words a passage")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", default="tiny", choices=["tiny", "270m"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.script:
        script(*given.script)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        project = make_project(root, given.steps * given.batch, given.words)
        model = make_270m(root) if given.size == "270m" else TINY_MODEL
        changes = {
            "model.id": model,
            "model.max_length": given.length,
            "devices.use": given.device,
            "batch.per_device": given.batch,
            "schedule.max_steps": given.steps,
            "evaluation.times": 1,
            "evaluation.queries": 10,
            "evaluation.corpus": 100,
            "reporting.logs": min(_LOGS, given.steps),
        }
        spec = changed(RunSpec(), changes)
        # A step that both log: every n-th is.
        every = max(1, given.steps // spec.reporting.logs)
        first = max(every, given.steps // 10 // every * every)
        ran: dict[str, list[Ran]] = {"worker": [], "plain": []}
        for number in range(given.rounds):
            order = ["worker", "plain"] if number % 2 == 0 else ["plain", "worker"]
            folder = create(project, f"round-{number}", spec)
            for name in order:
                began = os.getloadavg()[0]
                found = (through_the_worker if name == "worker" else plainly)(folder, spec, first)
                ran[name].append(found)
                memory = "" if found.peak is None else f", peak {found.peak / 2**30:.2f} GiB"
                print(
                    f"round {number + 1} {name:6}  {found.samples:9.1f} samples/s  {found.cpu:7.2f} CPU s{memory}"
                    f"  (load {began:.1f})",
                    flush=True,
                )
        report = _report(ran, folder, spec)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1))


def _report(ran: dict[str, list[Ran]], folder: RunFolder, spec: RunSpec) -> dict[str, Any]:
    pairs = list(zip(ran["worker"], ran["plain"], strict=True))
    speed = [worker.samples / plain.samples for worker, plain in pairs]
    cpu = [plain.cpu / worker.cpu for worker, plain in pairs]
    print(f"worker / plain: samples/s {statistics.median(speed):.4f} (median of {len(speed)}: "
          f"{', '.join(f'{value:.3f}' for value in speed)}); CPU seconds, plain / worker: {statistics.median(cpu):.4f} "
          f"({', '.join(f'{value:.3f}' for value in cpu)})")  # fmt: skip
    report: dict[str, Any] = {"samples": speed, "cpu": cpu, "runs": dict(ran)}
    if pairs[0][0].peak is not None:
        report["estimate"] = _estimated(folder, spec)
        print(f"estimated peak {report['estimate'] / 2**30:.2f} GiB")
    return report


def _estimated(folder: RunFolder, spec: RunSpec) -> int:
    from studio.models.tokenizer import load_tokenizer
    from studio.training.data import load_prepared
    from studio.training.lengths import measure
    from studio.training.memory import estimate, model_facts

    whole = read_spec(folder.spec)
    lengths = measure(load_prepared(folder.data), whole, load_tokenizer(spec.model.id))
    return estimate(whole, model_facts(spec.model.id), lengths, device="cuda").allocated


if __name__ == "__main__":
    main()
