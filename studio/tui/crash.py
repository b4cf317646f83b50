"""When the studio itself fails: a report without a word of the person's data, and one line on the terminal."""

from __future__ import annotations

import platform
import traceback
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from platformdirs import user_state_path
from rich.text import Text
from textual.worker import WorkerFailed

from studio import __version__
from studio.files import write_text

_LIBRARIES = ("textual", "polars", "pyarrow")


class CrashNotice(Exception):  # noqa: N818 - what is shown in the place of an error
    """What the terminal shows after a crash: where the report is, nothing of the error's own text."""

    def __init__(self, kind: str, where: str, report: Path | None) -> None:
        super().__init__(f"{kind} at {where}")
        self.kind, self.where, self.report = kind, where, report

    def __rich__(self) -> Text:
        """The words on the terminal."""
        saved = f"A report without your data is in {self.report}." if self.report else "No report could be saved."
        return Text(
            f"harrier-studio itself failed ({self.kind} at {self.where}). Every decision made before is saved.\n{saved}"
        )


def crash_folder() -> Path:
    """Where crash reports are kept."""
    return user_state_path("harrier-studio") / "crashes"


def report_crash(error: BaseException, doing: str) -> CrashNotice:
    """Save a report of `error` (types, places, versions: no messages, no values) and return what to show.

    Args:
        doing: the name of the panel that was in view.
    """
    if isinstance(error, WorkerFailed):
        error = error.error
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    where = places[-1] if places else "unknown"
    now = datetime.now(UTC)
    lines = [
        f"harrier-studio {__version__}, {now.isoformat(timespec='seconds')}",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
        ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES),
        f"panel: {doing}",
        f"error: {_kinds(error)}",
        "places, outermost first:",
        *(f"  {place}" for place in places),
    ]
    path: Path | None = crash_folder() / f"{now.strftime('%Y%m%dT%H%M%S.%fZ')}.txt"
    try:
        write_text(path, "\n".join(lines) + "\n")  # type: ignore[arg-type]
    except Exception:
        path = None
    return CrashNotice(type(error).__name__, where, path)


def _kinds(error: BaseException) -> str:
    """The error's type and those it came from."""
    kinds = [type(error).__name__]
    while (cause := error.__cause__ or error.__context__) is not None and len(kinds) < 10:
        kinds.append(type(cause).__name__)
        error = cause
    return " from ".join(kinds)
