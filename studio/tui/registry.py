"""Every command of the studio, and the screens they belong to."""

from __future__ import annotations

from collections.abc import Mapping

from studio.tui.command import PANELS, Command
from studio.tui.panel import PanelScreen

STUDIO: tuple[Command, ...] = (
    *(
        Command(f"studio.{name}", str(number), f"panel('{name}')", title, f"Go to {title}.", footer=False)
        for number, (name, title, _) in enumerate(PANELS, 1)
    ),
    Command("studio.undo", "u,ctrl+z", "undo", "Undo", "Undo the latest step, of this or an earlier sitting."),
    Command("studio.redo", "U,ctrl+y", "redo", "Redo", "Bring back what was undone last.", footer=False),
    Command("studio.check", "c", "check", "Check", "Run the checks; what is known already is not computed again."),
    Command("studio.cancel", "ctrl+x", "cancel_job", "Cancel", "Stop the long work that runs.", footer=False),
    Command("studio.palette", "ctrl+p", "command_palette", "Palette", "Find any command by its name.", footer=False),
    Command("studio.help", "question_mark,f1", "help", "Help", "Show the keys and words of where you are."),
    Command("studio.quit", "q,ctrl+q,ctrl+c", "quit_studio", "Quit", "Leave; asks only if work would be lost."),
)
"""What works everywhere."""


def panel_screens() -> Mapping[str, type[PanelScreen]]:
    """The screen of every panel, by its name."""
    from studio.tui.duplicates import DuplicatesScreen
    from studio.tui.evaluate import EvaluateScreen
    from studio.tui.export import ExportScreen
    from studio.tui.false_negatives import FalseNegativesScreen
    from studio.tui.pairs import PairsScreen
    from studio.tui.prompts import PromptsScreen
    from studio.tui.runs import RunsScreen
    from studio.tui.train import TrainScreen

    screens: tuple[type[PanelScreen], ...] = (
        PairsScreen,
        DuplicatesScreen,
        FalseNegativesScreen,
        PromptsScreen,
        TrainScreen,
        RunsScreen,
        EvaluateScreen,
        ExportScreen,
    )
    return {screen.place: screen for screen in screens}


def all_commands() -> tuple[Command, ...]:
    """Every command that can be given another key."""
    from studio.tui.contract_editor import EDITOR as CONTRACT
    from studio.tui.dialogs import CONFIRM, DIALOG, TELL
    from studio.tui.editing import EDITOR
    from studio.tui.help import HELP
    from studio.tui.histogram import HISTOGRAM
    from studio.tui.importing import IMPORT
    from studio.tui.matrix_rows import MATRIX
    from studio.tui.new_evaluation import NEW
    from studio.tui.query_screen import QUERY
    from studio.tui.run_log import LOG
    from studio.tui.table import TABLE
    from studio.tui.tour import TOUR
    from studio.tui.welcome import PATH, WELCOME

    own = [command for screen in panel_screens().values() for command in screen.COMMANDS_HERE]
    return (
        *STUDIO,
        *TABLE,
        *own,
        *EDITOR,
        *CONTRACT,
        *HISTOGRAM,
        *LOG,
        *MATRIX,
        *NEW,
        *QUERY,
        *CONFIRM,
        *DIALOG,
        *PATH,
        *TELL,
        *WELCOME,
        *IMPORT,
        *TOUR,
        *HELP,
    )
