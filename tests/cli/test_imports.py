"""What a front door may load: no interface, and no torch before a model is asked for."""

import subprocess
import sys

import pytest

from tests.cli.conftest import environment

MODULES = "studio.cli.jobs studio.cli.decisions studio.cli.prompting studio.cli.configuring studio.cli.sampling".split()
HEAVY = ("torch", "transformers", "sentence_transformers", "textual", "rich")


@pytest.mark.parametrize("module", ["studio.cli.app", *MODULES])
def test_the_command_line_loads_neither_torch_nor_the_interface(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert result.stdout.strip() == "[]"


def test_help_loads_no_engine() -> None:
    code = (
        "import sys; from studio.cli.main import run; run(['--help']); "
        "print([name for name in ('polars', 'numpy', 'pydantic', 'datasets') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"
