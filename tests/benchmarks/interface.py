"""How fast the interface opens and answers keys: the table of pairs beside two others, and the whole app.

    python tests/benchmarks/interface.py [--rows 10000 100000 1000000] [--only table|app] [--keys 60] [--seed 1]
                                         [--keep FOLDER]

Generated rows (as in checks.py) are written once a size, to a folder that goes again, or that stays where --keep says
and is used again. Each table, and the app, opens them from there in a process of its own.

*key* runs from posting a key event to the app, as a driver does, to the end of the first frame drawn after the cursor
moved: the app runs on its own loop with a driver that renders every frame to the bytes of a terminal and drops them,
and `App.post_display_hook` tells when a frame is done. Pilot is not used: it waits some 65 ms after every key. Keys
come at random moments, so the wait for the next tick of Textual's frame timer (up to 17 ms) is in the figures.

Tables: *open* runs from after the imports to the end of the first frame with rows in it. The other two, which hold all
rows, are given the first 100 characters of each text. DataTable is measured up to 100,000 rows; fastdatatable measures
each cell that is not ASCII. Memory is what the process gained since its imports.

The app: `StudioApp` on a project that `import_project` made of a file, without decisions or evidence, with its engine
process and the Pairs panel with its detail pane. *open* runs to the end of the first frame with rows in it, from the
start of the process (from just before it was asked for, so Python and all imports count) and from making the app;
decisions and marks are in when `StudioApp.ready` is set. Keys are pressed once the engine has nothing more to do:
down, page down, and `d`, which drops the row; how long after the last `d` the engine had replayed all of them is told
apart. A search runs from the last letter typed to the frame with the rows found, which includes the 0.2 s that the
panel waits for another letter. Then all checks run in the engine, begun anew without evidence whenever they end, and
the same keys are pressed again. Memory is all that the process holds: RSS, and on Linux that part of it which is no
file (RssAnon). The project is taken back to what it was after the import.

Run by hand; it is no test. Other programs on the machine are in the figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any


def _measure(name: str, folder: Path, keys: int, started: float) -> None:
    """Measure one thing in this process; print the figures as JSON."""
    # Imported here: what one measurement has no use for would count as its start and its memory.
    if name == "app":
        from tests.benchmarks.interface_app import measure_app

        print(json.dumps(asdict(measure_app(folder, keys, started))))
        return
    from tests.benchmarks.interface_table import measure

    figures = measure(name, folder, keys)
    print(json.dumps(figures and asdict(figures)))


def _in_process(name: str, folder: Path, keys: int) -> dict[str, Any] | None:
    command = [sys.executable, __file__, "--measure", name, "--folder", str(folder), "--keys", str(keys)]
    command += ["--started", str(time.time())]
    figures: dict[str, Any] | None = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def _tables(count: int, seed: int, keys: int, place: Path) -> None:
    """Print one line a table."""
    from tests.benchmarks.interface_table import DATA_TABLE_MOST, TABLES, Figures, line, write_table

    folder = place / f"rows-{count}-{seed}"
    write_table(count, seed, folder)
    for name in TABLES:
        if name == "DataTable" and count > DATA_TABLE_MOST:
            print(f"{count:>10,}  {name:<14} not measured: takes more than 20 s to open")
            continue
        figures = _in_process(name, folder, keys)
        print(
            line(count, name, Figures(**figures)) if figures else f"{count:>10,}  {name:<14} not installed", flush=True
        )


def _app(count: int, seed: int, keys: int, place: Path) -> None:
    """Print the figures of the app."""
    from tests.benchmarks.interface_app import AppFigures, Memory, make_project, print_app

    root = place / f"project-{count}-{seed}"
    make_project(count, seed, root)
    found = _in_process("app", root, keys)
    assert found is not None
    memory = {name: Memory(**found[name]) for name in ("memory_open", "memory_end")}
    print_app(count, AppFigures(**{**found, **memory}))


def main() -> None:
    """Measure every table and the app at every size, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", choices=("table", "app"))
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where generated files stay, to be used again")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        _measure(options.measure, options.folder, options.keys, options.started)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        if options.only != "app":
            from tests.benchmarks.interface_table import print_heading

            print_heading(options.keys)
            for count in options.rows:
                _tables(count, options.seed, options.keys, place)
        if options.only != "table":
            for count in options.rows:
                _app(count, options.seed, options.keys, place)


if __name__ == "__main__":
    main()
