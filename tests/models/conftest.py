import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny() -> str:
    """The embedded model; HARRIER_MODEL=<folder> runs these tests on another one, such as a real Harrier."""
    default = Path(__file__).parents[2] / "sample_data" / "harrier-tiny"
    return os.environ.get("HARRIER_MODEL", str(default))
