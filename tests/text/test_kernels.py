import os
import subprocess
import sys
from pathlib import Path

import pytest

from studio.text import kernels
from tests.cli.conftest import ROOT

SHOW = """
import sys
from studio.text import kernels
steps = []
for _ in range(2):
    kernels.fast({size}, lambda step, done, total: steps.append(step))
print("numba" in sys.modules, len(steps), steps[:1])
"""


def fresh(size: int, cache: Path, **changes: str) -> str:
    """What a new process, with an empty cache of its own, loads for a column of so many bytes."""
    environment = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "HARRIER_KERNELS")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), **changes}
    command = [sys.executable, "-c", SHOW.format(size=size)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=240).stdout


def test_a_small_column_never_waits_for_a_compiler(tmp_path: Path) -> None:
    assert fresh(kernels.WORTH_COMPILING - 1, tmp_path).startswith("False 0")
    assert fresh(10**12, tmp_path, HARRIER_KERNELS="plain").startswith("False 0")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder is named by XDG_CACHE_HOME")
def test_compiling_is_a_shown_step_once_a_machine(tmp_path: Path) -> None:
    assert fresh(kernels.WORTH_COMPILING, tmp_path).startswith("True 4 ['compile the near-duplicate kernels")
    assert fresh(kernels.WORTH_LOADING, tmp_path).startswith("True 0")


def test_without_numba_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    monkeypatch.setenv("HARRIER_KERNELS", "compiled")
    assert kernels.fast(10**12) is None
