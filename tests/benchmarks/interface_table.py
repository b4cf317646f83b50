"""How fast the table of pairs opens and answers keys beside two others; run through interface.py, which says more."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles

import polars as pl
import psutil
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.widget import Widget
from textual.widgets import DataTable

from studio.project.rows import RowFile, write_rows
from studio.tui.safe import safe_text
from studio.tui.table import PairTable, TableRow

SIZE = (120, 40)
DATA_TABLE_MOST = 100_000
_WAIT = 60.0
"""Seconds after which a frame that does not come is an error."""


@dataclass(frozen=True)
class Figures:
    """What one app took: seconds, and bytes gained."""

    opened: float
    down: list[float]
    page: list[float]
    memory_open: int
    memory: int


class ByteDriver(HeadlessDriver):
    """No terminal, but frames are rendered for one."""

    @property
    def is_headless(self) -> bool:
        """Headless apps do not render their frames to bytes."""
        return False


class FrameClock:
    """Tells when a running app has drawn."""

    def __init__(self, app: App[object]) -> None:
        self._awaited: tuple[Callable[[], bool], asyncio.Future[float]] | None = None
        app.post_display_hook = self._drawn  # type: ignore[method-assign]

    async def frame(self, shows: Callable[[], bool]) -> float:
        """Wait for the end of the first frame at which `shows` is true."""
        future = asyncio.get_running_loop().create_future()
        self._awaited = (shows, future)
        return await asyncio.wait_for(future, _WAIT)

    def _drawn(self) -> None:
        now = time.perf_counter()
        if self._awaited is not None and self._awaited[0]():
            _, future = self._awaited
            self._awaited = None
            future.set_result(now)


async def measure_keys(
    app: App[object], clock: FrameClock, key: str, place: Callable[[], int | None], times: int, seed: int = 1
) -> list[float]:
    """Press one key at random moments; return the seconds until each had moved `place` and was drawn."""
    gaps = random.Random(seed)
    taken = []
    for _ in range(times):
        await asyncio.sleep(gaps.uniform(0.02, 0.06))
        before = place()
        start = time.perf_counter()
        app.post_message(events.Key(key, None))
        taken.append(await clock.frame(lambda before=before: place() != before) - start)
    return taken


async def measure_table(
    app: App[object], place: Callable[[], int | None], keys: int, *, started: float, memory_before: int
) -> Figures:
    """Run an app that has just been made and measure it from the moment `started`.

    `place` tells where its cursor is, None before there are rows. Whatever loads the machine meanwhile is started
    before, by the caller.
    """
    process = psutil.Process()
    app.driver_class = ByteDriver
    clock = FrameClock(app)
    running = asyncio.create_task(app.run_async(size=SIZE))
    opened = await clock.frame(lambda: place() is not None) - started
    memory_open = process.memory_info().rss - memory_before
    await asyncio.sleep(0.5)
    down = await measure_keys(app, clock, "down", place, keys)
    page = await measure_keys(app, clock, "pagedown", place, keys)
    memory = process.memory_info().rss - memory_before
    app.exit()
    await running
    return Figures(opened, down, page, memory_open, memory)


class RowFileSource:
    """All rows of a file, in its order."""

    version = 0

    def __init__(self, rows: RowFile) -> None:
        self._rows = rows
        self.read = False

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, start: int, stop: int) -> list[TableRow]:
        """The rows of one screen."""
        self.read = True
        return [
            TableRow(row.position + 1, " ", False, row.query, row.positive, row.split or "", False)
            for row in self._rows.read(range(start, stop))
        ]


class _One(App[object]):
    """An app of one table."""

    def __init__(self, table: Widget, fill: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.table = table
        self._fill = fill

    def compose(self) -> ComposeResult:
        yield self.table

    def on_mount(self) -> None:
        self._fill()
        self.table.focus()


def _pair_table(folder: Path) -> tuple[_One, Callable[[], int | None]]:
    source = RowFileSource(RowFile(folder))
    table = PairTable(source)
    return _One(table), lambda: table.cursor if source.read else None


def _texts(folder: Path) -> pl.DataFrame:
    rows = pl.read_ipc(folder / "rows.arrow", columns=["query", "positive", "split"])
    return rows.with_columns(pl.all().str.head(100)).with_row_index("#", 1)


def _data_table(folder: Path) -> tuple[_One, Callable[[], int | None]]:
    table: DataTable[Text] = DataTable(cursor_type="row")

    def fill() -> None:
        for name, width in (("#", 7), ("query", 36), ("passage", 60), ("flags", 8)):
            table.add_column(name, width=width)
        for number, *cells in _texts(folder).iter_rows():
            table.add_row(str(number), *(Text(safe_text(cell)) for cell in cells))

    return _One(table, fill), lambda: table.cursor_row if table.is_mounted and table.row_count else None


def _fast_data_table(folder: Path) -> tuple[_One, Callable[[], int | None]]:
    from textual_fastdatatable import ArrowBackend
    from textual_fastdatatable import DataTable as FastDataTable

    table = FastDataTable(
        backend=ArrowBackend(_texts(folder).to_arrow()),
        cursor_type="row",
        render_markup=False,
        max_column_content_width=60,
    )
    return _One(table), lambda: table.cursor_row if table.is_mounted and table.row_count else None


TABLES: dict[str, Callable[[Path], tuple[_One, Callable[[], int | None]]]] = {
    "PairTable": _pair_table,
    "DataTable": _data_table,
    "fastdatatable": _fast_data_table,
}


def write_table(count: int, seed: int, folder: Path) -> None:
    """Write generated rows so that a `RowFile` can read them, unless they are there."""
    if folder.exists():
        return
    # Imported here: the processes that measure have no use for the checks that these bring along.
    from tests.benchmarks.checks import rows_of
    from tests.benchmarks.near_generated import generate

    passages = generate(count, seed)
    write_rows(rows_of(passages.str.split(" ").list.head(9).list.join(" ").alias("query"), passages), folder)


def percentiles(taken: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    cuts = quantiles(taken, n=20, method="inclusive")
    return cuts[9], cuts[18]


def measure(name: str, folder: Path, keys: int) -> Figures | None:
    """Measure one table in this process; None if it is not installed."""
    if name == "fastdatatable" and find_spec("textual_fastdatatable") is None:
        return None

    async def run() -> Figures:
        memory = psutil.Process().memory_info().rss
        started = time.perf_counter()
        app, place = TABLES[name](folder)
        return await measure_table(app, place, keys, started=started, memory_before=memory)

    return asyncio.run(run())


def print_heading(keys: int) -> None:
    """Print what the columns are."""
    print(f"{SIZE[0]}×{SIZE[1]}; {keys} keys; open in s; key to frame in ms; memory gained in MiB")
    names = ("down p50", "p95", "page p50", "p95", "mem open", "mem end")
    print(f"{'rows':>10}  {'table':<14}{'open':>9}" + "".join(f"{n:>{10 if 'm' in n else 9}}" for n in names))


def line(count: int, name: str, figures: Figures) -> str:
    """What is printed of one table."""
    times = "".join(f"{1000 * value:9.1f}" for taken in (figures.down, figures.page) for value in percentiles(taken))
    memory = f"{figures.memory_open / 2**20:10.1f}{figures.memory / 2**20:10.1f}"
    return f"{count:>10,}  {name:<14}{figures.opened:9.3f}{times}{memory}"
