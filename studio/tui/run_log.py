"""The log of a run: what its worker and libraries print, followed as it grows."""

from __future__ import annotations

import asyncio

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Log, Static

from studio.runs.folder import RunFolder
from studio.runs.tailing import LogReader
from studio.tui.command import Command, bindings
from studio.tui.safe import safe, safe_text

LOG = (
    Command("log.close", "escape,q,l,ctrl+c", "close", "Close", "Back to the runs."),
    Command("log.last", "G", "log_end", "Last", "To the end, and follow it."),
    Command("log.first", "g", "log_start", "First", "To the beginning of what is shown."),
)
_EVERY = 1.0
_MOST_LINES = 5_000
_LONGEST = 2_000
_BYTES = 1 << 20
"""Read at first, from the end."""
_NOTHING = safe("nothing was printed yet")


class RunLog(ModalScreen[None]):
    """The end of a log, and what comes after it."""

    BINDINGS = bindings(LOG)
    DEFAULT_CSS = """
    RunLog {
        #run-log { height: 1fr; background: $surface; }
        #run-log-title { height: 1; text-style: bold; }
        #run-log-torn { height: 1; color: $foreground 70%; }
    }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._of_run = folder.name
        self._reader = LogReader(folder.console, _BYTES)
        self._reading = self._begun = False

    def compose(self) -> ComposeResult:
        """The title, the lines, and the one that is not ended yet."""
        with Vertical(classes="dialog full"):
            yield Static(safe(f"log of {self._of_run}", 200), id="run-log-title")
            yield Log(id="run-log", max_lines=_MOST_LINES)
            yield Static(id="run-log-torn", markup=False)

    def on_mount(self) -> None:
        """Read it, and go on reading."""
        self.query_one(Log).focus()
        self.set_interval(_EVERY, self._read)
        self._read()

    def on_unmount(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self._load()

    @work(exclusive=True, group="run_log", description="read a log")
    async def _load(self) -> None:
        log = self.query_one(Log)
        try:
            lines = await asyncio.to_thread(self._reader.read)
        except OSError as error:
            self.query_one("#run-log-title", Static).update(safe(f"the log cannot be read: {error.strerror}", 300))
            return
        finally:
            self._reading = False
        if lines:
            # Only the last lines are kept: more need not be made harmless.
            log.write_lines([safe_text(line, _LONGEST) for line in lines[-_MOST_LINES:]])
        self._begun = self._begun or bool(lines)
        torn = self._reader.unfinished
        self.query_one("#run-log-torn", Static).update(safe(torn, _LONGEST) if torn or self._begun else _NOTHING)

    def action_log_end(self) -> None:
        """Go to the end."""
        self.query_one(Log).scroll_end(animate=False)

    def action_log_start(self) -> None:
        """Go to the beginning."""
        self.query_one(Log).scroll_home(animate=False)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
