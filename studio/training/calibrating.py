"""What the smoke test measured corrects the estimate of memory of the runs that are like it."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from typing import Any, NamedTuple

from studio.errors import StudioError
from studio.models.load import model_spec
from studio.models.tokenizer import load_tokenizer
from studio.runs.events import EventReader
from studio.runs.folder import RunFolder
from studio.sample import model_location
from studio.training.data import load_prepared
from studio.training.lengths import measure
from studio.training.memory import (
    MemoryEstimate,
    calibrated_factor,
    calibration_key,
    estimate,
    model_facts,
    read_calibration,
    write_calibration,
)
from studio.training.spec import RunSpec, read_spec

SMOKE_OK = "smoke test: ok"
"""What is said of a smoke test where another run has its verdict."""
_PROCESS = "the process"


class Fit(NamedTuple):
    """What a smoke test measured. Bytes.

    Attributes:
        peak: the most that it took.
        of: the device whose tensors that were, or `the process`, libraries included.
        estimated: what preflight says of the same step; None: it could not tell.
    """

    peak: int
    of: str
    estimated: int | None

    @property
    def line(self) -> str:
        """`smoke test: ok | peak 5.31 GB on NVIDIA H200 | estimated 5.10 GB`."""
        where = f"of {self.of}" if self.of == _PROCESS else f"on {self.of}"
        estimated = "not estimated" if self.estimated is None else f"estimated {gigabytes(self.estimated)}"
        return f"{SMOKE_OK} | peak {gigabytes(self.peak)} {where} | {estimated}"

    def fields(self) -> dict[str, Any]:
        """As the event and the result of a smoke test have it."""
        return {"verdict": SMOKE_OK, "line": self.line, **self._asdict()}


def fit(folder: RunFolder, peak: int | None = None, device: str = "") -> Fit:
    """Say what a smoke test took, from within its process, beside what was estimated.

    Args:
        folder: its run.
        peak: of the tensors on its CUDA device, in bytes; None: it had none, and the process counts.
        device: the name of that device.
    """
    spec = read_spec(folder.spec)
    try:
        name = device if peak is not None else "cpu"
        factor = read_calibration(folder.project, calibration_key(spec, name))
        said = _estimate(folder, spec, "cpu" if peak is None else "cuda", factor)
        estimated = said.total if peak is None else said.allocated
    except StudioError:
        # That the step works has been seen; a figure that is missing does not change it.
        estimated = None
    if peak is not None:
        return Fit(peak, device, estimated)
    # Linux counts in kB, macOS in bytes.
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Fit(largest, _PROCESS, estimated)


def gigabytes(size: int) -> str:
    """Bytes as the checks before a run tell them."""
    return f"{size / 1e9:.2f} GB" if size < 1e10 else f"{size / 1e9:.0f} GB"


def learn_from(folder: RunFolder) -> float | None:
    """Take what a run on a CUDA device measured as the correction for runs of the same model, device and precision.

    Nothing is learnt from a run on a CPU, where nobody counts the tensors, from one that is still at its first step,
    and from one whose peak was not one of activations.

    Returns:
        The factor, now also in the project's calibration; None where there is none to learn.

    Raises:
        StudioError: a file of the run, or its model, cannot be read.
    """
    peak, name, steps, ended = 0, "", 0, False
    for event in EventReader(folder.events).read():
        if event.type == "devices":
            peak = max(peak, event.fields.get("peak") or 0)
            known = event.fields.get("devices") or []
            name = str(known[0].get("name", "")) if known else name
        elif event.type == "train":
            steps = max(steps, event.step)
        elif event.type == "ended":
            ended = event.fields.get("state") == "done"
    if not (peak and name and steps and ended):
        return None
    spec = read_spec(folder.spec)
    said = _estimate(folder, spec, "cuda")
    factor = calibrated_factor(said, peak, steps)
    if factor is not None:
        key = calibration_key(spec, name)
        write_calibration(folder.project, key, factor, run=folder.name, peak=peak, tokens=said.tokens)
    return factor


def learnt(folder: RunFolder, key: str) -> float | None:
    """Return the factor for a key, after learning from a smoke test if there is a newer one.

    Raises:
        InputError: the calibration is damaged.
    """
    calibration = folder.project / ".studio" / "calibration.json"
    if folder.spec.exists() and folder.events.exists():
        newer = not calibration.exists() or folder.events.stat().st_mtime > calibration.stat().st_mtime
        if newer:
            # A broken smoke test teaches nothing; what was learnt before still counts.
            with suppress(StudioError):
                learn_from(folder)
    return read_calibration(folder.project, key)


def _estimate(folder: RunFolder, spec: RunSpec, device: str, factor: float | None = None) -> MemoryEstimate:
    where = model_spec(model_location(spec.model.id), revision=spec.model.revision)
    lengths = measure(load_prepared(folder.data), spec, load_tokenizer(where.id_or_path, where.revision))
    facts = model_facts(spec.model.id, spec.model.revision)
    return estimate(spec, facts, lengths, device=device, factor=factor)
