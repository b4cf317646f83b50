"""The server behind `harrier-studio serve`: textual-serve, closed to everything but the pages it handed out itself.

textual-serve alone starts a process for whoever connects: it has no login, and its websocket takes connections from
pages of other sites (a browser lets any page open a websocket to this machine). So here

- every address begins with a secret that is new at each start and stands in the printed address only: neither other
  people on this machine nor other pages know it;
- a request whose `Host` is not the served address is refused (a foreign name that was made to resolve to this
  machine), and so is one whose `Origin` is another page;
- the page may load nothing from elsewhere, tell no one where it was, and stand in no frame;
- downloads are closed: the studio offers none;
- nothing of a visitor is logged: textual-serve prints tracebacks with their variables, which hold keys and texts;
- a visitor's process ends with the server, even one that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, web
from textual import messages
from textual.drivers.web_driver import WebDriver
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from studio.errors import StudioError
from studio.text.safe import visible

_LEAVING = 5.0
"""Seconds that visitors' processes get to end by themselves when the server ends."""

ALLOW_CHANGES = "--allow-changes"
READ_ONLY = "--read-only"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StudioServer(Server):
    """Serves one project to this machine's browsers."""

    def __init__(self, root: Path, listening: socket.socket, title: str, *, allow_changes: bool) -> None:
        """Prepare to serve a project.

        Args:
            listening: the bound socket; closing it stays with the caller.
            title: what the page says while it waits for the studio. May hold anything.
        """
        host, port = listening.getsockname()[:2]
        super().__init__(_command(root, allow_changes), host=host, port=port, title=visible(title, 100))
        self._listening = listening
        self._secret = secrets.token_urlsafe(24)
        self._hosts = {f"{name}:{port}" for name in (host, "localhost")} | (
            {host, "localhost"} if port == 80 else set()
        )
        self._open: set[web.WebSocketResponse] = set()
        self._origins = {f"http://{name}" for name in self._hosts}

    @property
    def address(self) -> str:
        """What to open in the browser."""
        return f"{self.public_url}/{self._secret}/"

    def initialize_logging(self) -> None:
        """Leave logging as it is: textual-serve would print tracebacks with the values of variables."""

    async def on_startup(self, app: web.Application) -> None:
        """Say where the studio is."""
        print(f"The studio is at {self.address}", flush=True)
        print("Keep that address to yourself: it opens the project. ctrl+c ends it.", file=sys.stderr, flush=True)

    async def on_shutdown(self, app: web.Application) -> None:
        """Let visitors go at once; the server would first wait for them to leave by themselves."""
        for websocket in set(self._open):
            await websocket.close(code=WSCloseCode.GOING_AWAY)

    async def _make_app(self) -> web.Application:
        """The app of textual-serve below a path that is secret, behind a guard."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        outer = web.Application(middlewares=[guard])
        outer.add_subapp(f"/{self._secret}", await super()._make_app())
        return outer

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in only what the served page itself asks for."""
        origin = request.headers.get("Origin")
        if request.host not in self._hosts or (origin is not None and origin not in self._origins):
            raise web.HTTPForbidden(text="This studio answers to its own page only.")
        inside = request.path.removeprefix(f"/{self._secret}")
        if inside.startswith("/download") or inside.rstrip("/") == "/static":
            raise web.HTTPNotFound
        if inside == "/ws" and origin is None:
            # Every browser says where a websocket comes from.
            raise web.HTTPForbidden(text="This studio answers to its own page only.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(self._headers(request.host))
        return response

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Give a visitor a process, and end it when the visitor leaves."""
        websocket = web.WebSocketResponse(heartbeat=15)
        await websocket.prepare(request)
        self._open.add(websocket)
        visitor = _Visitor(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=lambda: _closed(websocket),
            download_manager=self.download_manager,
        )
        try:
            await visitor.start(
                to_int(request.query.get("width", "80"), 80), to_int(request.query.get("height", ""), 24)
            )
            # What is no message of the page (whoever wrote it knows the secret) ends that visit alone.
            with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError):
                await self._process_messages(websocket, visitor)
        finally:
            self._open.discard(websocket)
            # The page may have gone in the middle of a message to it.
            with contextlib.suppress(ConnectionError):
                await visitor.stop()
        await websocket.close()
        return websocket

    def _headers(self, host: str) -> dict[str, str]:
        own = f"ws://{host}"
        return {
            "Content-Security-Policy": (
                f"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
                f"img-src 'self' data:; font-src 'self' data:; connect-src 'self' {own}; frame-ancestors 'none'; "
                "base-uri 'none'; form-action 'none'"
            ),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }

    def serve(self, debug: bool = False) -> None:
        """Serve until SIGINT or SIGTERM; every visitor's process has ended when this returns."""
        web.run_app(
            self._make_app(),
            sock=self._listening,
            handle_signals=True,
            print=lambda *_: None,
            access_log=None,
            shutdown_timeout=_LEAVING,
        )


def _command(root: Path, allow_changes: bool) -> str:
    """What each visitor gets a process of, as a shell reads it."""
    mode = ALLOW_CHANGES if allow_changes else READ_ONLY
    words = [sys.executable, "-P", "-m", "studio.tui.served", str(root.absolute()), mode]
    # For the shell, in the place of whose process the studio then runs.
    return subprocess.list2cmdline(words) if sys.platform == "win32" else f"exec {shlex.join(words)}"


async def _closed(websocket: web.WebSocketResponse) -> None:
    await websocket.close()


class _Visitor(AppService):
    """The process of one visitor."""

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        return {
            **super()._build_environment(width, height),
            # The very modules of this process: not those of the current folder, where a person's files may lie.
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
            "TEXTUAL_DRIVER": f"{ServedDriver.__module__}:{ServedDriver.__name__}",
        }


class ServedDriver(WebDriver):
    """Textual's driver for the web, which also ends when the server is gone.

    Textual's own stops reading then, and leaves a process that no one can reach.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._write = partial(self._written)

    def _written(self, data: bytes) -> int:
        """Write to the server; when it is gone, the end of input, which comes at the same moment, ends the app."""
        with contextlib.suppress(BrokenPipeError):
            return os.write(self.fileno, data)
        return 0

    def run_input_thread(self) -> None:
        """Read until the end of input, then leave."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            leaving = self._app._post_message(messages.ExitApp())
            asyncio.run_coroutine_threadsafe(leaving, loop=self._loop)


def main() -> None:
    """Run the studio for one visitor: `python -m studio.tui.served PROJECT --read-only` (or `--allow-changes`).

    Not `harrier-studio open`, which rightly refuses to draw where there is no terminal.
    """
    from studio.tui.app import StudioApp

    root, mode = sys.argv[1:]
    try:
        StudioApp(Path(root), read_only=mode != ALLOW_CHANGES).run()
    except StudioError as error:
        print("\n".join(map(visible, str(error).split("\n"))), file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
