"""Checkpoints on disk: which are whole, which is the latest, which may go. A killed save leaves a torn one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from studio.files import write_text

_MARK = "whole.json"
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoint(NamedTuple):
    """A whole checkpoint.

    `step`: steps that were done. `processes`: how many trained together. `over`: training is over with it, although
    steps are left (early stopping). `size`: bytes.
    """

    path: Path
    step: int
    processes: int
    over: bool
    size: int


def folder_of(root: Path, step: int) -> Path:
    """The folder of the checkpoint of a step, as transformers calls it."""
    return root / f"checkpoint-{step}"


def begin(path: Path) -> None:
    """Say that a checkpoint is about to be written: it is not whole until `finish`."""
    (path / _MARK).unlink(missing_ok=True)


def finish(path: Path, processes: int, *, over: bool = False) -> Checkpoint:
    """Say that a checkpoint is whole: every process has written its part.

    Raises:
        UnavailableError: the disk is full.
    """
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    write_text(path / _MARK, json.dumps({"processes": processes, "over": over, "size": size}))
    return Checkpoint(path, _step(path), processes, over, size)


def whole(root: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run, the latest last."""
    found = []
    for path in _folders(root):
        try:
            said = json.loads((path / _MARK).read_text("utf-8"))
            found.append(Checkpoint(path, _step(path), int(said["processes"]), bool(said["over"]), int(said["size"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def whence(root: Path) -> str:
    """Where a run that is resumed goes on, in words."""
    saved = whole(root)
    return f"goes on from step {saved[-1].step:,}" if saved else "begins anew: nothing of its training was saved"


def remove_torn(root: Path) -> list[str]:
    """Remove what a killed save left, and return the names of what is gone."""
    kept = {checkpoint.path for checkpoint in whole(root)}
    torn = [path for path in _folders(root) if path not in kept]
    for path in torn:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in torn]


def rotate(root: Path, keep: int, best: int | None) -> list[str]:
    """Remove the oldest whole checkpoints and return their names; the latest `keep` and the best one stay."""
    found = whole(root)
    old = [checkpoint for checkpoint in found[: max(0, len(found) - keep)] if checkpoint.step != best]
    for checkpoint in old:
        # Not whole any more before its first file goes.
        begin(checkpoint.path)
        shutil.rmtree(checkpoint.path, ignore_errors=True)
    return [checkpoint.path.name for checkpoint in old]


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.name.rsplit("-", 1)[1])
