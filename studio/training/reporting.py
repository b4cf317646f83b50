"""Who else hears of a run: trackio, tensorboard and wandb by their own names, and a model hub. Only if asked."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

from studio.errors import UnavailableError
from studio.runs.folder import RunFolder
from studio.training.spec import RunSpec


def reporters(spec: RunSpec, folder: RunFolder) -> dict[str, Any]:
    """The trainer's arguments about reporting; sets what the reporters read from the environment.

    A resumed run goes on under the same name in each of them. Nothing is sent to a trackio Space.

    Raises:
        UnavailableError: one is not installed.
    """
    for name in spec.reporting.to:
        if importlib.util.find_spec(name) is None:
            raise UnavailableError(
                f"{name} is not installed.",
                where="reporting.to",
                remedy=f"pip install {name}, or take it out of reporting.to",
            )
    project = folder.project.name or "harrier-studio"
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder.root / "tensorboard"))
    os.environ.setdefault("WANDB_PROJECT", project)
    os.environ.setdefault("WANDB_RUN_ID", f"{project}-{folder.name}"[:64])
    os.environ.setdefault("WANDB_RESUME", "allow")
    os.environ.setdefault("WANDB_DIR", str(folder.root))
    os.environ.setdefault("TRACKIO_PROJECT", project)
    return {
        "report_to": list(spec.reporting.to) or "none",
        "project": project,
        "trackio_space_id": None,
        "trackio_static_space_id": False,
        "hub_private_repo": spec.reporting.hub_private,
    }


def push(folder: RunFolder, spec: RunSpec, note: Callable[[str], None]) -> None:
    """Push the final model, if the spec asks for it. Nothing that goes wrong here can lose the run."""
    hub_id = spec.reporting.hub_id
    if not hub_id:
        return
    try:
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(hub_id, private=spec.reporting.hub_private, exist_ok=True)
        api.upload_folder(repo_id=hub_id, folder_path=str(folder.model), commit_message=f"Run {folder.name}")
    except Exception as error:  # the network, the token, the quota: the model is saved already
        why = " ".join(str(error).split())[:300]
        note(
            f"the model was not pushed to {hub_id} ({type(error).__name__}: {why}); it is saved here, and "
            f"`hf upload {hub_id} {folder.model}` pushes it"
        )
        return
    note(f"the model was pushed to {hub_id}")
