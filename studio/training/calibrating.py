"""What the smoke test measured corrects the estimate of memory of the runs that are like it."""

from __future__ import annotations

from contextlib import suppress

from studio.errors import StudioError
from studio.models.load import model_spec
from studio.models.tokenizer import load_tokenizer
from studio.runs.events import EventReader
from studio.runs.folder import RunFolder
from studio.sample import model_location
from studio.training.data import load_prepared
from studio.training.lengths import measure
from studio.training.memory import (
    calibrated_factor,
    calibration_key,
    estimate,
    model_facts,
    read_calibration,
    write_calibration,
)
from studio.training.spec import read_spec


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
    where = model_spec(model_location(spec.model.id), revision=spec.model.revision)
    lengths = measure(load_prepared(folder.data), spec, load_tokenizer(where.id_or_path, where.revision))
    said = estimate(spec, model_facts(spec.model.id, spec.model.revision), lengths, device="cuda")
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
