"""The studio in a browser on this machine: `harrier-studio serve`."""

from __future__ import annotations

import errno
import importlib.util
import socket
import sys
from pathlib import Path

from studio.errors import UnavailableError, UsageError
from studio.project.project import Project

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ADDRESS = "127.0.0.1"
"""Where it listens, whichever of the names was given: one address, so that the port is free or it is not."""


def serve(root: Path, port: int, allow_changes: bool, host: str = _ADDRESS) -> None:
    """Serve a project's studio to the browsers of this machine until ctrl+c.

    Args:
        port: 0 takes any that is free.
        allow_changes: let whoever has the printed address decide, edit and export; else it is read-only.
        host: only a name of this machine itself is accepted.

    Raises:
        UsageError: the host is not this machine, or there is no such port.
        ProjectError: there is no project at `root`.
        ConfigError: its settings are wrong.
        UnavailableError: the extra `serve` is not installed, or the port is taken.
    """
    if host not in _LOOPBACK:
        raise UsageError(
            "The studio is served to this machine only.",
            where=f"--host {host}",
            why="there is no login, and whoever reaches it would see all of your data",
            remedy=f"on the other machine: ssh -L {port}:{_ADDRESS}:{port} {socket.gethostname()}, then open it there",
        )
    if not 0 <= port <= 65535:
        raise UsageError("There is no such port.", where=f"--port {port}", remedy="give one from 1024 to 65535")
    if importlib.util.find_spec("textual_serve") is None:
        raise UnavailableError(
            "Serving the studio needs textual-serve, which is not installed.",
            remedy='pip install "harrier-studio[serve]"',
        )
    project = Project.open(root)
    listening = _listening(port)
    # Imported late: it brings a web server and the interface with it.
    from studio.tui.served import StudioServer

    with listening:
        StudioServer(root, listening, project.settings.name, allow_changes=allow_changes).serve()


def _listening(port: int) -> socket.socket:
    """A socket that has the port already: between asking whether it is free and taking it, no one else can."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        # A port whose last connections are just being closed is free.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_ADDRESS, port))
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        raise UnavailableError(
            f"The port {port} is taken by another program." if taken else f"The port {port} cannot be used.",
            where=f"{_ADDRESS}:{port}",
            why=error.strerror,
            remedy="give another one with --port, or --port 0 for any that is free",
        ) from error
    listening.listen()
    return listening
