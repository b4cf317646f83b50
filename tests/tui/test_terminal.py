"""The real program in a pseudo-terminal: what reaches the terminal, how it is left, and what is left behind."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.project.project import Project
from tests.tui.test_hostile import hostile_project

SECONDS = 90.0
"""How long anything may take before a test fails; a machine that does other things at once is slow."""
_QUIET = 0.4
"""Seconds without a byte after which the screen is taken to be drawn."""

_PROGRAM = """
import sys
from pathlib import Path
import studio.tui.app
from studio.tui.app import StudioApp

class Studio(StudioApp):
    CSS_PATH = Path(studio.tui.app.__file__).with_name("studio.tcss")

    def action_undo(self):
        text = "patient Ana Souza \\x1b]0;pwn\\x07"
        if len(sys.argv) > 2:
            raise ValueError(text)
        super().action_undo()

    async def reload(self, *, marks=True):
        await super().reload(marks=marks)
        Path(sys.argv[1], "engine").write_text(str(self.engine and self.engine.pid))

studio = Studio(Path(sys.argv[1]))
studio.run()
sys.exit(studio.return_code or 0)
"""

_ALLOWED = re.compile(
    rb"""
      \x1b\[[0-9;:]*m                       # colours and styles
    | \x1b\[[0-9;]*[HABCDJK]                # moving and erasing
    | \x1b\[\?(25|1000|1002|1003|1004|1006|1015|1016|1049|2004|2026|2048|7|1048)[hl]  # modes
    | \x1b\[\?(2026|2048)\$p                # which modes the terminal has
    | \x1b\[[><=]\d*u                       # the keyboard protocol of kitty
    | \x1b\[\d+(;\d+)*t                     # the size of the window
    | \x1b\[c | \x1b\[>c | \x1b\[6n | \x1b\[0?\ q
    | \x1bP\+q[0-9a-fA-F;]*\x1b\\\\
    | \x1b\[>4;[12]m | \x1b\[>0?q
    | \x1b\]22;[a-z-]*\x07                # the shape of the pointer
    """,
    re.VERBOSE,
)
_FORBIDDEN = (
    b"\x1b]",
    b"\x07",
    b"\x00",
    b"\x08",
    b"\x7f",
    *(chr(code).encode() for code in (0x85, 0x9B, 0x9C, 0x9D, 0x200B, 0x200D, 0x2028, 0x202E, 0x2066, 0xFEFF, 0xE0041)),
)
"""What stands in the data, as a terminal would get it."""


class Terminal:
    """A program and the terminal it runs on."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "CACHE", "CONFIG", "DATA")}
        paths = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        own = {"TERM": "xterm-256color", "HOME": str(home), "PYTHONPATH": paths, "EDITOR": "true"}
        settings = {"HARRIER_STUDIO_CONFIG": str(home / "config.toml")}
        unset = ("NO_COLOR", "COLORTERM", "TERM_PROGRAM", "VISUAL", "COLUMNS", "LINES", "LC_TERMINAL")
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, **places, **settings, **own},
            start_new_session=True,
        )
        self.output = b""
        self._closed = False

    def read(self, seconds: float) -> bool:
        """Take what comes within some seconds; return whether anything came."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        self.output += os.read(self._master, 65_536)
        return True

    def until(self, condition: Callable[[], bool]) -> None:
        """Read until something is the case."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not in time; the terminal got: {self.output[-3_000:]!r}"
            self.read(0.05)

    def shows(self, words: bytes) -> None:
        """Read until words come that were not there before."""
        start = len(self.output)
        self.until(lambda: words in self.output[start:])

    def settle(self) -> None:
        """Read until nothing more comes."""
        deadline = time.monotonic() + SECONDS
        while self.read(_QUIET) and time.monotonic() < deadline:
            pass

    def press(self, keys: str) -> None:
        """Type, and read what comes of it."""
        os.write(self._master, keys.encode())
        self.settle()

    def ended(self) -> int:
        """Read until the program has ended; return its exit code."""
        self.until(lambda: self.process.poll() is not None)
        self.settle()
        assert self.process.returncode is not None
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection or a closed window does."""
        os.close(self._master)
        os.close(self.slave)
        self._closed = True
        # A shell that ends sends both to what it leaves behind.
        for number in (signal.SIGHUP, signal.SIGCONT):
            self.process.send_signal(number)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for below in psutil.Process(self.process.pid).children(recursive=True):
                below.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self._closed:
            os.close(self._master)
            os.close(self.slave)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return hostile_project(tmp_path / "project")


@pytest.fixture
def terminal(project: Project, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*more: str) -> Terminal:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        started.append(Terminal([str(project.root), *more], home))
        started[-1].until((project.root / "engine").exists)
        started[-1].settle()
        return started[-1]

    yield start
    for one in started:
        one.close()


def engine_pid(project: Project) -> int:
    return int((project.root / "engine").read_text())


def assert_nothing_left(terminal: Terminal, project: Project) -> None:
    """The engine is gone, and the terminal is as it was."""
    pid = engine_pid(project)

    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    terminal.until(gone)
    for process in psutil.process_iter(["cmdline"]):
        assert str(project.root) not in " ".join(process.info["cmdline"] or []), process
    assert termios.tcgetattr(terminal.slave) == terminal.before
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?1003h", b"\x1b[?1003l")):
        assert terminal.output.rfind(off) > terminal.output.rfind(on), f"{off!r} does not follow"
    assert terminal.output.rfind(b"\x1b[?2004l") > terminal.output.rfind(b"\x1b[?2004h")


def assert_nothing_steers(output: bytes) -> None:
    """No byte of the data is one a terminal obeys, and every sequence is one that Textual sends."""
    left = _ALLOWED.sub(b"", output)
    for bad in _FORBIDDEN:
        at = left.find(bad)
        assert at < 0, f"{bad!r} reached the terminal: {left[max(0, at - 60) : at + 60]!r}"
    at = left.find(b"\x1b")
    assert at < 0, f"an unknown sequence: {left[at : at + 40]!r}"
    output.decode("utf-8")


def test_no_data_steers_the_terminal(terminal: Callable[..., Terminal], project: Project) -> None:
    screen = terminal()
    for keys in ("\x1b[B" * 9, "\x1b[B" * 9, "\r", "\x1b", "?", "\x1b", "f", "\x1b[B\r", "\x1b", "\x1b", "h", "\x1b"):
        screen.press(keys)
    for keys in ("e", "\x1b", "v", "\x1b", "/[INST]\r", "\x1b", "\x10theme", "\x1b", "2", "4", "8", "1"):
        screen.press(keys)
    # A person may paste what they have copied from the data.
    for keys in ("t", "\x1b[200~[/] \x1b]0;pwn\x07\u202e\x1b[201~", "\r"):
        screen.press(keys)
    screen.press("q")
    assert screen.ended() == 0
    assert b"[INST]" in screen.output
    assert_nothing_steers(screen.output)
    assert_nothing_left(screen, project)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(number: signal.Signals, terminal: Callable[..., Terminal], project: Project) -> None:
    screen = terminal()
    screen.process.send_signal(number)
    screen.ended()
    assert_nothing_left(screen, project)
    assert_nothing_steers(screen.output)
    assert b"Traceback" not in screen.output


def test_a_terminal_that_is_gone_takes_the_studio_with_it(terminal: Callable[..., Terminal], project: Project) -> None:
    screen = terminal()
    engine = psutil.Process(engine_pid(project))
    screen.hang_up()
    screen.process.wait(SECONDS)
    psutil.wait_procs([engine], SECONDS)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE


def test_a_fault_in_a_handler(terminal: Callable[..., Terminal], project: Project, tmp_path: Path) -> None:
    screen = terminal("fail")
    start = len(screen.output)
    screen.press("u")
    assert screen.ended() != 0
    said = screen.output[start:]
    assert b"harrier-studio itself failed (ValueError at <string>" in said
    for secret in (b"Souza", b"Traceback", b"\x1b]0"):
        assert secret not in said
    assert_nothing_steers(screen.output)
    assert_nothing_left(screen, project)
    [report] = (tmp_path / "home" / "state").rglob("*.txt")
    assert "Souza" not in report.read_text("utf-8")


def test_a_killed_engine_is_said_and_started_again(terminal: Callable[..., Terminal], project: Project) -> None:
    screen = terminal()
    first = engine_pid(project)
    os.kill(first, signal.SIGKILL)
    screen.until(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE)
    # The next decision is written by this process, and a new engine says what it comes to.
    screen.press("d")
    screen.until(lambda: engine_pid(project) != first)
    assert [decision.action for decision in project.ledger.log()][-1] == "drop"
    os.kill(engine_pid(project), signal.SIGSTOP)
    os.write(screen._master, b"c")
    screen.until(lambda: b"checks" in screen.output)
    os.kill(engine_pid(project), signal.SIGKILL)
    screen.shows(b"ended unexpectedly")
    screen.settle()
    screen.press("?")
    screen.press("\x1b")
    screen.press("q")
    assert screen.ended() == 0
    assert_nothing_left(screen, project)
    assert_nothing_steers(screen.output)


def test_a_killed_studio_leaves_no_engine(terminal: Callable[..., Terminal], project: Project) -> None:
    screen = terminal()
    pid = engine_pid(project)
    screen.process.kill()
    screen.until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    screen.ended()
