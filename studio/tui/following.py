"""Taking in what another process decided: a panel looks at the ledger's files, and asks the engine if they changed."""

from __future__ import annotations

from studio.tui.panel import PanelScreen

EVERY = 1.0
"""Seconds from look to look."""


def follow(panel: PanelScreen) -> None:
    """Have every panel show what decisions come to, if another process wrote some since the last look."""
    studio = panel.studio
    if not panel.is_current or studio.session is None or studio.saving or not studio.ready.is_set():
        return
    if studio.session.behind():
        panel.run_worker(studio.reload(), group="follow", exclusive=True, description="take in decisions")
