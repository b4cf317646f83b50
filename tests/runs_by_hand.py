"""Folders of runs as a worker would leave them, written by hand: every time in them is one that was chosen."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.project.settings import write_settings
from studio.runs.folder import RunFolder
from studio.training.presets import PRESETS
from studio.training.spec import RunSpec

BEGAN = 1_700_000_000.0
GONE = {"pid": 4_000_000, "process_start": 1.0}
"""A process that no machine has."""


class Writer:
    """Appends events with chosen times: one a second, from BEGAN."""

    def __init__(self, folder: RunFolder, seq: int = 0) -> None:
        self._path, self.seq = folder.events, seq

    def write(self, type: str, step: int, **fields: Any) -> None:
        self.seq += 1
        record = {"seq": self.seq, "time": BEGAN + self.seq, "step": step, "type": type, **fields}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def begin(self, process: dict[str, Any] = GONE, attempt: int = 1, resumed_from: int | None = None) -> None:
        import platform

        self.write("started", resumed_from or 0, attempt=attempt, host=platform.node(), devices=["cpu"],
                   world_size=1, resumed_from=resumed_from, **process)  # fmt: skip

    def train(self, step: int, steps: int, loss: float | None, ema: float | None = None) -> None:
        share = step / steps
        self.write("train", step, epoch=share, loss=loss, ema=loss if ema is None else ema, lr=5e-6 * (1 - share),
                   grad_norm=2.0, clipped=False, pos=0.6 + 0.2 * share, neg=0.45 - 0.14 * share,
                   margin=0.15 + 0.34 * share, accuracy=0.7 + 0.2 * share, samples_per_second=1840.0,
                   tokens_per_second=212_000.0, data_wait=0.01, padding=0.07, eta=(steps - step) * 1.5)  # fmt: skip

    def evaluate(self, step: int, score: float, when: str = "training", best: bool = False) -> None:
        self.write("evaluation", step, when=when, metrics={"ndcg@10": score, "mrr@10": score - 0.05}, main="ndcg@10",
                   score=score, best=best, queries=500, seconds=3.0)  # fmt: skip


def made(root: Path, name: str, spec: RunSpec | None = None) -> RunFolder:
    """A run of a project that nobody started."""
    folder = RunFolder(root / "runs" / name)
    folder.root.mkdir(parents=True)
    write_settings(folder.spec, spec or PRESETS["first_try"].spec)
    return folder


def trained(
    root: Path,
    name: str,
    spec: RunSpec | None = None,
    *,
    steps: int = 600,
    upto: int | None = None,
    gain: float = 0.04,
    diverged: int | None = None,
    end: str | None = "done",
    process: dict[str, Any] = GONE,
    seed: int = 1,
) -> RunFolder:
    """A run that came to a step, with curves, evaluations and, of its checkpoints, the best and the last.

    Args:
        root: the project's directory.
        name: the run's.
        spec: what it did.
        steps: that it was to do.
        upto: the step it came to; None: all.
        gain: what its score is above the baseline at its best.
        diverged: the step from which its loss is no number.
        end: how it ended; None: without a last word.
        process: whose it is, as in `started`.
        seed: of the noise.
    """
    folder, drawn = made(root, name, spec), random.Random(seed)
    writer = Writer(folder)
    writer.begin(process)
    writer.write("plan", 0, max_steps=steps, epochs=1, batch=128, effective_batch=128, negatives=127, rows=steps * 128)
    writer.write("phase", 0, phase="baseline")
    writer.evaluate(0, 0.612, "baseline", best=True)
    writer.write("phase", 0, phase="train")
    ema, best = None, 0.612
    kept: dict[str, int] = {}
    for step in range(10, (steps if upto is None else upto) + 1, 10):
        loss = 0.3 + 2.5 * math.exp(-4 * step / steps) + drawn.random() * 0.25
        ema = loss if ema is None else 0.9 * ema + 0.1 * loss
        lost = diverged is not None and step >= diverged
        writer.train(step, steps, None if lost else round(loss, 4), None if lost else round(ema, 4))
        if step % 60 == 0 and not lost:
            score = round(0.612 + gain * math.sin(step / steps * 2.4), 4)
            writer.evaluate(step, score, best=score > best)
            writer.write("checkpoint", step, path=f"checkpoints/checkpoint-{step}", bytes=3 * 2**30, best=score > best,
                         requested=False, seconds=1.0)  # fmt: skip
            kept["best" if score > best else "last"] = step
            best = max(best, score)
    for step in kept.values():
        (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    if diverged is not None:
        writer.write("alert", diverged, code="nan", level="error", message="The loss is no number.",
                     remedies=["lower optimiser.lr", "set precision.mode to bf16"])  # fmt: skip
    if end == "done":
        line = f"VERDICT: WIN | score={best:.4f} | baseline=0.6120 | delta={best - 0.612:+.4f}"
        writer.write("verdict", steps, verdict="WIN", score=best, baseline=0.612, delta=best - 0.612, low=0.02,
                     high=0.06, p=0.0004, n=500, line=line)  # fmt: skip
    if end:
        writer.write("ended", steps, state=end, reason="the loss is no number" if diverged else "", seconds=1.0)
    return folder


def queued(root: Path, names: Sequence[str]) -> None:
    """Runs that wait, in this order."""
    for place, name in enumerate(names):
        (made(root, name).root / "queued").write_text(json.dumps({"time": BEGAN + place}))
