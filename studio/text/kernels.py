"""Which columns are worth compiled kernels, and compiling them once a machine. Small columns never wait for that."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from studio.progress import Progress, silent

if TYPE_CHECKING:
    from types import ModuleType

WORTH_COMPILING = 60_000_000
"""Bytes of text from which compiling (some 20 s, once a machine) saves time."""
WORTH_LOADING = 8_000_000
"""Bytes of text from which loading kernels that are compiled already (about a second) saves time."""


def fast(size: int, progress: Progress = silent) -> ModuleType | None:
    """Return `studio.text.fast` if a column of so many bytes is worth compiled kernels, else None.

    The environment variable `HARRIER_KERNELS` may say `plain` or `compiled` for columns of every size.
    """
    choice = os.environ.get("HARRIER_KERNELS", "")
    if choice == "plain" or find_spec("numba") is None:
        return None
    if _LOADED:
        return _LOADED[0]
    limit = WORTH_LOADING if _marker().exists() else WORTH_COMPILING
    return _loaded(progress) if choice == "compiled" or size >= limit else None


@cache
def _folder() -> Path:
    sources = [Path(__file__).with_name(name).read_bytes() for name in ("compiled.py", "fast.py")]
    versions = f"{metadata.version('numba')} {metadata.version('numpy')} {sys.version_info[:3]}"
    key = hashlib.sha256(b"".join([*sources, versions.encode()])).hexdigest()[:12]
    return Path(platformdirs.user_cache_dir("harrier-studio")) / f"kernels-{key}"


def _marker() -> Path:
    return _folder() / "ready"


_LOADED: list[ModuleType] = []
"""The kernels, once they are loaded and every one of them was called."""


def _loaded(progress: Progress) -> ModuleType:
    """Import the kernels, compiling them first where no earlier run left them."""
    # numba reads the variable when it is imported, which is now.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_folder()))
    from studio.text import fast

    fresh = not _marker().exists()
    for done, total in fast.warm():
        if fresh:
            progress("compile the near-duplicate kernels (once on this machine)", done, total)
    with suppress(OSError):
        _marker().parent.mkdir(parents=True, exist_ok=True)
        _marker().touch()
    _LOADED.append(fast)
    return fast
