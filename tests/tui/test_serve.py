"""The studio in a real browser, and everything that its server must refuse."""

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.cli import serving
from studio.cli.serving import serve
from studio.errors import ProjectError, UnavailableError, UsageError
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from tests.conftest import snapshot

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra `serve`")
pytest.importorskip("textual_serve", reason="needs the extra `serve`")

SECONDS = 90.0
"""How long anything may take before a test fails: a browser on a machine that does other things at once is slow."""
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
browser_needed = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser: install the system package chromium, or name one in CHROMIUM"
)
_SERVE = (
    "import sys; from pathlib import Path; from studio.cli.serving import serve; "
    "serve(Path(sys.argv[1]), 0, sys.argv[2] == 'changes')"
)
# The page keeps its terminal to itself; this notes it where it is made, so that a test can read its lines.
_FIND_TERMINAL = """
window.terminals = [];
Object.defineProperty(Object.prototype, '_core', {
  configurable: true,
  set(value) {
    Object.defineProperty(this, '_core', {value, writable: true, configurable: true, enumerable: true});
    if (value && value.buffer && value.textarea !== null) window.terminals.push(this);
  },
});
"""
_LINES = """
(() => {
  const terminal = window.terminals.find(one => one.buffer && one.buffer.active && one.focus);
  if (!terminal) return '';
  const buffer = terminal.buffer.active, lines = [];
  for (let y = 0; y < terminal.rows; y++) lines.push(buffer.getLine(buffer.viewportY + y)?.translateToString(true));
  return lines.join('\\n');
})()
"""
_FOCUS = "window.terminals.find(one => one.focus).focus()"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    rows = [(f"what is {at} [INST]", f"this is {at} \x1b]0;pwn\x07") for at in range(40)]
    return Project.create(
        tmp_path / "a project's $(place); echo 'x", snapshot(rows), ProjectSettings(name="my-corpus [/]")
    )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing is read from, or written into, the home of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "CACHE", "CONFIG", "DATA")}
    paths = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    own = {"HOME": str(home), "HARRIER_STUDIO_CONFIG": str(home / "config.toml"), "PYTHONPATH": paths, **places}
    return {**os.environ, **own}


class Served:
    """A server as a process."""

    def __init__(self, root: Path, environment: dict[str, str], mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(root), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert words, self.process.communicate()[1]
        self.url = words[-1]
        self.origin = self.url.rsplit("/", 2)[0]

    def below(self) -> list[psutil.Process]:
        """Every process that came of it."""
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def start(project: Project, environment: dict[str, str]) -> Iterator[Callable[[str], Served]]:
    started: list[Served] = []

    def begin(mode: str = "read-only") -> Served:
        started.append(Served(project.root, environment, mode))
        return started[-1]

    yield begin
    for served in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in served.below():
                process.kill()
        served.process.kill()
        served.process.communicate()


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until something is the case that nothing tells of; return it."""
    deadline = time.monotonic() + SECONDS
    while not (found := await condition()):
        assert time.monotonic() < deadline, "it did not come to be in time"
        await asyncio.sleep(0.02)
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(processes: list[psutil.Process]) -> None:
    """Wait until all of these have ended."""

    async def ended() -> bool:
        return not any(alive(one) for one in processes)

    await until(ended)


class Page:
    """One page of a browser, driven as its developer tools drive it."""

    def __init__(self, tools: Any) -> None:
        self._tools = tools
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.answered: list[str] = []
        """Addresses that the page got something from."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the developer tools and wait for its answer."""
        message: dict[str, Any] = {"id": next(self._ids), "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._tools.send_json(message)
        while True:
            answer = await asyncio.wait_for(self._tools.receive_json(), SECONDS)
            if answer.get("method") == "Network.responseReceived":
                self.answered.append(answer["params"]["response"]["url"])
            if answer.get("id") == message["id"]:
                assert "error" not in answer, answer
                return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Open an address."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=_FIND_TERMINAL)
        await self.call("Page.navigate", url=url)

    async def evaluate(self, words: str) -> Any:
        """The value of an expression in the page."""
        result = await self.call("Runtime.evaluate", expression=words, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def shows(self, words: str) -> str:
        """Wait until the page's terminal shows these words; return all it shows."""
        shown = ""

        async def there() -> bool:
            nonlocal shown
            shown = str(await self.evaluate(_LINES) or "")
            return words in shown

        try:
            await until(there)
        except AssertionError:
            raise AssertionError(f"{words!r} is not shown:\n{shown}") from None
        return shown

    async def press(self, key: str) -> None:
        """Press a key that types a character."""
        await self.evaluate(_FOCUS)
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A browser without a window."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--window-size=1200,800", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        while True:
            line = await asyncio.wait_for(process.stderr.readline(), SECONDS)
            assert line, "the browser did not start"
            if line.startswith(b"DevTools listening on "):
                break
        # What else it says must not fill the pipe.
        draining = asyncio.ensure_future(process.stderr.read())
        address = line.split()[-1].decode()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as tools,
        ):
            yield Page(tools)
        draining.cancel()
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        for one in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.kill()
        await process.wait()


@browser_needed
def test_a_person_looks_at_a_project_in_a_browser(
    start: Callable[..., Served], project: Project, tmp_path: Path
) -> None:
    async def run() -> None:
        served = start()
        async with browser(tmp_path / "browser") as page:
            await page.open(served.url)
            shown = await page.shows("my-corpus [/]")
            assert "read-only" in shown
            assert "what is 0 [INST]" in await page.shows("what is 0")
            await page.press("?")
            await page.shows("esc: close")
            await page.press("q")
            await page.shows("40 pairs")
            await page.press("d")
            await page.shows("This studio is read-only; nothing was changed.")
            await page.press("E")
            await page.shows("read-only")
            await page.press("y")
            await page.shows("clipboard")
            assert not project.ledger.log()
            # textual-serve's page names a font of another site; the page may not load it.
            assert [url for url in page.answered if not url.startswith((served.origin, "data:", "blob:"))] == []
            assert any(url.startswith(served.url) for url in page.answered)
            processes = served.below()
            assert processes
            await page.call("Page.close")
            await gone(processes)
        assert served.process.poll() is None

    asyncio.run(run())


@browser_needed
def test_with_allow_changes_a_decision_is_made(start: Callable[..., Served], project: Project, tmp_path: Path) -> None:
    async def run() -> None:
        served = start("changes")
        async with browser(tmp_path / "browser") as page:
            await page.open(served.url)
            assert "read-only" not in await page.shows("40 of 40 pairs kept")
            await page.press("d")
            await page.shows("39 of 40 pairs kept")
            await page.shows("undo 1")
            [decision] = project.ledger.log()
            assert decision.action == "drop"
            await page.press("E")
            await page.shows("Not done")

    asyncio.run(run())


def _websocket(served: Served) -> str:
    return served.url.replace("http", "ws") + "ws?width=100&height=30"


async def _first_screen(page: Any) -> None:
    """Wait until the project is on the screen."""
    shown = b""
    while b"my-corpus" not in shown:
        message = await asyncio.wait_for(page.receive(), SECONDS)
        assert message.type is aiohttp.WSMsgType.BINARY, f"{message}; before it: {shown!r}"
        shown += message.data


@pytest.mark.parametrize(
    "ending", ["leave", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGTERM", "SIGINT", "SIGKILL"))]
)
def test_no_process_is_left(ending: str, start: Callable[..., Served]) -> None:
    async def run() -> None:
        served = start()
        async with aiohttp.ClientSession() as session:
            page = await session.ws_connect(_websocket(served), origin=served.origin)
            await _first_screen(page)

            async def engine() -> bool:
                return any("studio.engine.server" in " ".join(one.cmdline()) for one in served.below())

            await until(engine)
            processes = served.below()
            if ending == "leave":
                await page.close()
            else:
                served.process.send_signal(getattr(signal, ending))
            await gone(processes)
            if ending != "leave":
                code = await asyncio.to_thread(served.process.wait, SECONDS)
                assert code == (-signal.SIGKILL if ending == "SIGKILL" else 0)
            if ending in ("SIGTERM", "SIGINT"):
                assert served.process.stderr is not None
                assert "Traceback" not in served.process.stderr.read()

    asyncio.run(run())


def test_other_pages_and_other_names_are_refused(start: Callable[..., Served]) -> None:
    """A foreign page may open a websocket to this machine, and may make a name of its own resolve to it."""

    async def run() -> None:
        served = start()
        port = served.origin.rsplit(":", 1)[1]
        async with aiohttp.ClientSession() as session:

            async def status(url: str, **headers: str) -> int:
                async with session.get(url, headers=headers) as answer:
                    return int(answer.status)

            assert await status(served.url) == 200
            assert await status(served.url, Host=f"localhost:{port}") == 200
            for host in (
                "evil.example",
                f"evil.example:{port}",
                "127.0.0.1",
                f"0.0.0.0:{port}",
                f"127.0.0.1.evil:{port}",
            ):
                assert await status(served.url, Host=host) == 403, host
            assert await status(served.url, Origin="http://evil.example") == 403
            for path in ("/", "/ws", "/static/js/textual.js", "/x/ws", f"/{'x' * 32}/"):
                assert await status(served.origin + path) in (403, 404), path
            for path in ("static/", "static", "download/x", "%64ownload/x"):
                assert await status(served.url + path) == 404, path
            for origin in (
                "http://evil.example",
                f"http://evil.example:{port}",
                "null",
                f"https://127.0.0.1:{port}",
                None,
            ):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(_websocket(served), origin=origin)
                assert refused.value.status == 403, origin
            assert not served.below(), "a process was started for a page that was refused"
            async with session.get(served.url) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert "my-corpus [/]" in await answer.text()
            other = await session.ws_connect(_websocket(served), origin=f"http://localhost:{port}")
            await asyncio.wait_for(other.receive(), SECONDS)
            await other.close()

    asyncio.run(run())


def test_what_is_no_message_ends_one_visit_alone(start: Callable[..., Served]) -> None:
    async def run() -> None:
        served = start()
        async with aiohttp.ClientSession() as session:
            for nonsense in ("[]", "not json", '["stdin", 7]'):
                page = await session.ws_connect(_websocket(served), origin=served.origin)
                await page.send_str(nonsense)
                while (await asyncio.wait_for(page.receive(), SECONDS)).type is aiohttp.WSMsgType.BINARY:
                    pass
                assert page.closed
            page = await session.ws_connect(_websocket(served), origin=served.origin)
            await asyncio.wait_for(page.receive(), SECONDS)
            await page.close()
        served.process.send_signal(signal.SIGTERM)
        said = (await asyncio.to_thread(served.process.communicate))[1]
        assert "Traceback" not in said

    asyncio.run(run())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.5", "example.org", ""])
def test_only_this_machine_is_served(host: str, project: Project) -> None:
    with pytest.raises(UsageError, match="this machine only") as refused:
        serve(project.root, 8000, False, host)
    assert "no login" in str(refused.value)


def test_a_taken_port_is_named(project: Project) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UnavailableError, match="taken by another program"):
            serve(project.root, other.getsockname()[1], False)
    with pytest.raises(UsageError, match="no such port"):
        serve(project.root, 70_000, False)


def test_the_missing_extra_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError) as missing:
        serve(project.root, 0, False)
    assert 'pip install "harrier-studio[serve]"' in str(missing.value)
    monkeypatch.undo()
    assert importlib.util.find_spec("textual_serve")


def test_no_project_is_an_error_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(ProjectError):
        serve(tmp_path, 0, False)


def test_the_served_address_is_new_each_time(start: Callable[..., Served]) -> None:
    addresses = {start().url, start().url}
    assert len(addresses) == 2
    assert all(len(url.rsplit("/", 2)[1]) >= 32 for url in addresses)
    assert json.dumps(sorted(addresses)).isascii()
