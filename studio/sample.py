"""Where the embedded sample project and model are: beside the code in a checkout, inside the package when installed."""

from __future__ import annotations

from pathlib import Path

from studio.errors import UnavailableError

TINY_MODEL = "harrier-tiny"
"""The name under which settings refer to the embedded model."""


def sample_data() -> Path:
    """Return the folder of the sample data.

    Raises:
        UnavailableError: this installation came without it.
    """
    package = Path(__file__).parent
    for folder in (package / "sample_data", package.parent / "sample_data"):
        if (folder / TINY_MODEL / "modules.json").exists():
            return folder
    raise UnavailableError(
        "This installation has no sample data.",
        where=str(package),
        why="it should lie in sample_data/",
        remedy="install harrier-studio again from its wheel or its source tree",
    )


def model_location(model_id: str) -> str:
    """Turn the model id of a project's settings into what loads it: a path for the embedded one, else the id."""
    return str(sample_data() / TINY_MODEL) if model_id == TINY_MODEL else model_id
