"""The entry point: runs a command and turns whatever stops it into words and a documented exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer
from typer.main import get_command

from studio.cli.answers_app import answers_app
from studio.cli.app import app
from studio.cli.dispatch import with_open
from studio.cli.evaluation_app import evaluation_app
from studio.cli.misses_app import misses_app
from studio.cli.output import say
from studio.cli.runs_app import runs_app
from studio.cli.training_app import training_app
from studio.errors import Cancelled, ExitCode, StudioError

_PROGRAM = "harrier-studio"
app.add_typer(answers_app)
app.add_typer(training_app)
app.add_typer(runs_app)
app.add_typer(evaluation_app)
app.add_typer(misses_app)
# Typer carries click inside or beside it, by version; this finds the base of its errors in both.
_ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def main() -> None:
    """Run `harrier-studio` and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as done:
        return done.exit_code
    except StudioError as error:
        say(f"error: {error}")
        return error.exit_code
    except _ClickException as error:
        error.show()  # type: ignore[attr-defined]
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort, Cancelled):
        say("interrupted; nothing is half-written")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout went away (`… | head`): not a fault, and nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except MemoryError:
        say("error: The machine ran out of memory; nothing was changed.\n  do: close other programs, or use fewer rows")
        return ExitCode.UNAVAILABLE
    except Exception as error:
        if os.environ.get("HARRIER_STUDIO_DEBUG"):
            raise
        _report_fault(error)
        return ExitCode.INTERNAL
    return ExitCode.OK


def _invoke(arguments: list[str]) -> None:
    """Run a command without click's own handling of errors, which knows other exit codes than ours."""
    if f"_{_PROGRAM.upper().replace('-', '_')}_COMPLETE" in os.environ:
        app(arguments, prog_name=_PROGRAM)
        return
    command = get_command(app)
    arguments = with_open(arguments, command.commands)  # type: ignore[attr-defined]
    with command.make_context(_PROGRAM, arguments) as context:
        command.invoke(context)


def _report_fault(error: Exception) -> None:
    """Name the place of a fault of our own. The message is left out: it may hold text from data."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "unknown"
    say(
        f"error: harrier-studio itself failed ({type(error).__name__}); what was on disk before is untouched.\n"
        f"  where: {where}\n"
        "  do: run it again with HARRIER_STUDIO_DEBUG=1 and report the traceback"
    )


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
