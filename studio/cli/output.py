"""What commands print: data on stdout (text or JSON), words on stderr, progress on a terminal's stderr only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studio.text.safe import json_safe, visible, width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from studio.progress import Progress


def say(text: str) -> None:
    """Say something to the person, on stderr. Line breaks are ours; everything else is made safe."""
    print("\n".join(visible(line) for line in text.split("\n")), file=sys.stderr, flush=True)


def emit(text: str = "") -> None:
    """Print a line of data on stdout, made safe for a terminal."""
    print(visible(text))


def emit_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    print(json_safe(json.dumps(data, ensure_ascii=False, indent=2, default=str)))


def emit_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with aligned columns; numbers to the right."""
    lines = [list(row) for row in rows]
    body = [[_cell(value) for value in line] for line in lines]
    numeric = [all(isinstance(line[i], int | float | None) for line in lines) for i in range(len(header))]
    widths = [max(map(width, column)) for column in zip(list(header), *body, strict=True)]
    for row in [list(header), *body]:
        cells = [
            " " * (size - width(cell)) + cell if right else cell + " " * (size - width(cell))
            for cell, size, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return visible(str(value))


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yield a progress callback that draws on stderr when that is a terminal, and is silent otherwise."""
    if not sys.stderr.isatty():
        from studio.progress import silent

        yield silent
        return
    from tqdm import tqdm

    bar: tqdm[Any] | None = None
    step_shown = ""

    def draw(step: str, done: int, total: int | None) -> None:
        nonlocal bar, step_shown
        if bar is None or step != step_shown:
            if bar is not None:
                bar.close()
            bar, step_shown = tqdm(total=total, desc=step, unit="", leave=False, file=sys.stderr, delay=0.3), step
        if total is not None:
            bar.total = total
        bar.update(done - bar.n)
        if total is not None and done >= total:
            # A step that is done leaves the line to whatever is said next.
            bar.close()
            bar = None

    try:
        yield draw
    finally:
        if bar is not None:
            bar.close()
