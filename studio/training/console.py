"""What a worker prints: its own words, with the time, and of the libraries only what somebody should know."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

_CHATTY = ("httpx", "httpcore", "huggingface_hub", "urllib3", "filelock", "fsspec", "datasets", "asyncio", "matplotlib")
_SETTINGS = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
    "TQDM_DISABLE": "1",
}
"""Read by the libraries when they are imported. One set by whoever started the worker stays."""


def quiet() -> None:
    """Turn off progress bars and the libraries' small talk; call it before they are imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Nothing forks here, so that tokenising may use every core, whatever the starter had to fear.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def speak(log: Path, rank: int = 0) -> logging.Logger:
    """Send what is logged to standard error and to the run's log, and return the worker's own logger.

    Args:
        log: the run's log. A worker that was launched has it as its standard error already.
        rank: which process this is; others than the first say only what is wrong, and who they are.
    """
    who = "" if rank == 0 else f"[{rank}] "
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if rank == 0 and log.parent.is_dir() and not _is_standard_error(log):
        handlers.append(logging.FileHandler(log, encoding="utf-8"))
    form = logging.Formatter(f"%(asctime)s {who}%(levelname).1s %(name)s: %(message)s", "%H:%M:%S")
    for handler in handlers:
        handler.setFormatter(form)
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    logger = logging.getLogger("worker")
    logger.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    return logger


def _is_standard_error(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(2))
    except OSError:
        return False
