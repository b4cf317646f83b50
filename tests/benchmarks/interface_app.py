"""How fast the whole app opens and answers keys; run through interface.py, which says what is measured.

Imports little: what this module brings along counts as the app's own start.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from textual import events

from tests.benchmarks.interface_table import SIZE, ByteDriver, FrameClock, measure_keys, percentiles

DECISIONS = 20
_QUIET = 0.1
"""Share of a core below which the engine counts as idle, in this many half seconds one after the other."""
_QUIET_TIMES = 4
_WAIT = 120.0
_MIB = 2**20


@dataclass(frozen=True)
class Memory:
    """Bytes: of the interface, of those what is its own (None where the system does not tell), of its engine."""

    interface: int
    own: int | None
    engine: int


@dataclass(frozen=True)
class AppFigures:
    """What the app took: seconds, those of keys by name, and memory after opening and at the end."""

    open_from_process: float
    open_from_app: float
    ready_from_process: float
    keys: dict[str, list[float]]
    confirmed: float
    search: float
    runs: int
    memory_open: Memory
    memory_end: Memory


def make_project(count: int, seed: int, root: Path) -> None:
    """Import generated rows into a project at `root`, unless there is one; it starts without decisions and evidence."""
    if not (root / "studio.toml").exists():
        # In a process of its own: what the generator and the import hold is large.
        command = [sys.executable, "-c", _MAKE, str(count), str(seed), str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    forget_work(root)


_MAKE = """
import sys
from pathlib import Path
from studio.cleaning import import_project
from tests.benchmarks.checks import rows_of
from tests.benchmarks.near_generated import generate

count, seed, root = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
passages = generate(count, seed)
rows = rows_of(passages.str.split(" ").list.head(9).list.join(" ").alias("query"), passages)
source = root.with_name(f"{root.name}.parquet")
source.parent.mkdir(parents=True, exist_ok=True)
rows.select("query", "positive", "split").write_parquet(source)
import_project(root, [source])
"""


def forget_work(root: Path) -> None:
    """Take a project back to what it was after the import."""
    for path in (root / ".studio").glob("ledger.sqlite*"):
        path.unlink()
    forget_evidence(root)


def forget_evidence(root: Path) -> None:
    """Take away what the checks found, so that they run again in full."""
    shutil.rmtree(root / ".studio" / "evidence", ignore_errors=True)


def measure_app(root: Path, keys: int, started: float) -> AppFigures:
    """Run the app on a project in this process, which was started for that (at `time.time()`), and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        # Neither the settings nor the recent projects of whoever measures.
        os.environ["HARRIER_STUDIO_CONFIG"] = str(Path(folder) / "config.toml")
        return asyncio.run(_measured(root, keys, started))


async def _measured(root: Path, keys: int, started: float) -> AppFigures:
    from studio.tui.app import StudioApp

    process_started = time.perf_counter() - (time.time() - started)
    app_started = time.perf_counter()
    app = StudioApp(root)
    app.driver_class = ByteDriver
    clock = FrameClock(app)
    running = asyncio.create_task(app.run_async(size=SIZE))
    ready = asyncio.create_task(_moment(app.ready))
    opened = await clock.frame(lambda: _Pairs.drawn(app) is not None)
    ready_at = await asyncio.wait_for(ready, _WAIT)
    pairs = _Pairs(app, clock)
    await pairs.quiet()
    memory_open = _memory(app.engine.pid)
    taken = {
        "down": await pairs.keys("down", keys),
        "page": await pairs.keys("pagedown", keys),
        "decide": await pairs.keys("d", DECISIONS),
    }
    start = time.perf_counter()
    await _until(lambda: app.saving == 0 and app.session.undo_steps >= DECISIONS)
    confirmed = time.perf_counter() - start
    await pairs.quiet()
    search = await pairs.search()
    load = _Load(app, root)
    async with load:
        taken["down, checking"] = await pairs.keys("down", keys)
        taken["page, checking"] = await pairs.keys("pagedown", keys)
        taken["decide, checking"] = await pairs.keys("d", DECISIONS)
    memory_end = _memory(app.engine.pid)
    app.exit()
    await running
    forget_work(root)
    return AppFigures(
        opened - process_started,
        opened - app_started,
        ready_at - process_started,
        taken,
        confirmed,
        search,
        load.runs,
        memory_open,
        memory_end,
    )


class _Pairs:
    """The Pairs panel of a running app."""

    def __init__(self, app, clock: FrameClock) -> None:
        self._app, self._clock = app, clock

    @staticmethod
    def drawn(app) -> int | None:
        """The place of the cursor in the latest frame; None before rows were drawn."""
        table = next(iter(app.screen.query("PairTable")), None)
        return table._view.cursor if table is not None and table._strips else None

    async def keys(self, key: str, times: int) -> list[float]:
        """Press a key many times; see `measure_keys`."""
        return await measure_keys(self._app, self._clock, key, lambda: self.drawn(self._app), times)

    async def search(self) -> float:
        """Type two words of a row in the middle; return the seconds from the last letter to the rows found."""
        rows = self._app.session.rows
        [row] = rows.read([len(rows) // 2])
        phrase = " ".join(row.positive.split()[2:4])
        table = self._app.screen.query_one("PairTable")
        all_rows = table.source
        self._app.post_message(events.Key("slash", "/"))
        await asyncio.sleep(0.5)
        for letter in phrase:
            await asyncio.sleep(random.Random(letter).uniform(0.02, 0.06))
            start = time.perf_counter()
            self._app.post_message(events.Key(letter, letter))
        found = await self._clock.frame(lambda: table.source is not all_rows and table._strips)
        some_rows = table.source
        self._app.post_message(events.Key("escape", None))
        await self._clock.frame(lambda: table.source is not some_rows and table._strips)
        return found - start

    async def quiet(self) -> None:
        """Wait until the engine has nothing more to do; it begins some work only when it was not asked for a while."""
        engine = psutil.Process(self._app.engine.pid)
        engine.cpu_percent()
        start = time.perf_counter()
        quiet = 0
        while quiet < _QUIET_TIMES and time.perf_counter() - start < _WAIT:
            await asyncio.sleep(0.5)
            quiet = quiet + 1 if engine.cpu_percent() < 100 * _QUIET else 0


class _Load:
    """Checks of all rows in the engine, begun again whenever they end; stopped by the key that cancels."""

    def __init__(self, app, root: Path) -> None:
        self._app, self._root = app, root
        self.runs = 0

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._keep_running())
        await _until(lambda: self._app.job is not None and self._app.job.progress is not None)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._app.action_cancel_job()
        await _until(lambda: self._app.job is None)

    async def _keep_running(self) -> None:
        while True:
            if self._app.job is None:
                await asyncio.to_thread(forget_evidence, self._root)
                self._app.action_check()
                self.runs += 1
            await asyncio.sleep(0.01)


async def _moment(event: asyncio.Event) -> float:
    await event.wait()
    return time.perf_counter()


async def _until(true: Callable[[], object]) -> None:
    async def watch() -> None:
        while not true():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(watch(), _WAIT)


def _memory(engine: int) -> Memory:
    process = psutil.Process()
    own = None
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        own = int(fields["RssAnon"].split()[0]) * 1024 if "RssAnon" in fields else None
    return Memory(process.memory_info().rss, own, psutil.Process(engine).memory_info().rss)


def print_app(count: int, figures: AppFigures) -> None:
    """Print one line a figure, beside its aim."""
    print(f"\n{count:,} rows, the whole app; checks begun {figures.runs} times")
    print(f"  {'':<34}{'p50':>9}{'p95':>9}   aim")
    _one("open, from the process's start", figures.open_from_process, "s", 1.5)
    _one("open, from the app's start", figures.open_from_app, "s", None)
    _one("decisions and marks are in", figures.ready_from_process, "s", None)
    for name, taken in figures.keys.items():
        _two(f"key to frame: {name}", taken, 50 if "checking" in name else 40)
    _one(f"{DECISIONS} decisions confirmed after", figures.confirmed, "s", None)
    _one("search, last letter to rows", figures.search, "s", None)
    for when, memory in (("open", figures.memory_open), ("at the end", figures.memory_end)):
        _one(f"interface, {when}", memory.interface / _MIB, "MiB", 500)
        if memory.own is not None:
            _one(f"  its own (RssAnon), {when}", memory.own / _MIB, "MiB", None)
        _one(f"engine, {when}", memory.engine / _MIB, "MiB", None)


def _one(name: str, value: float, unit: str, aim: float | None) -> None:
    shown = f"{value:.2f} {unit}" if unit == "s" else f"{value:.0f} {unit}"
    print(f"  {name:<34}{shown:>18}   {_aim(value, aim, unit)}".rstrip())


def _two(name: str, taken: list[float], aim: float) -> None:
    half, most = (1000 * value for value in percentiles(taken))
    print(f"  {name:<34}{half:>9.1f}{most:>9.1f}   {_aim(most, aim, 'ms')}")


def _aim(value: float, aim: float | None, unit: str) -> str:
    if aim is None:
        return ""
    return f"< {aim:g} {unit}" + ("" if value < aim else "   OVER")
