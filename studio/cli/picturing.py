"""`screenshot`: a panel of the interface as an SVG picture, drawn without a terminal. Same project, same picture."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from studio.cli.output import say
from studio.cli.showing import refuse_unknown
from studio.errors import UsageError
from studio.files import write_text
from studio.project.project import Project
from studio.project.rows import RowFile

_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_SMALLEST, _LARGEST = (20, 5), (500, 200)


def picture(panel: str, root: Path, size: str, out: Path | None, theme: str | None, keys: str) -> None:
    """Write a picture of a panel, to stdout when there is no `out`. Nothing of the project is changed.

    Args:
        panel: which panel.
        root: the project's directory.
        size: columns and lines, such as `140x40`.
        out: the file to write.
        theme: another theme than the person's own.
        keys: keys to press first, with spaces between them, by Textual's names.

    Raises:
        UsageError: there is no such panel, size or theme, or the keys leave the studio.
        ProjectError: there is no sound project.
        UnavailableError: the file cannot be written, or the interface does not come to rest.
    """
    refuse_unknown(panel)
    columns, lines = _size(size)
    # Read here once, so that what is wrong is an error with its exit code and not a picture of one.
    RowFile.of(Project.open(root))
    # The interface is loaded only here: no other command may need it.
    from studio.tui.picture import draw

    svg = draw(panel, root, (columns, lines), theme, keys.split())
    if out is None:
        sys.stdout.write(svg)
        return
    write_text(out, svg)
    say(f"{out}: {panel}, {columns}x{lines}")


def _size(size: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(size.strip().lower())
    columns, lines = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (_SMALLEST[0] <= columns <= _LARGEST[0] and _SMALLEST[1] <= lines <= _LARGEST[1]):
        raise UsageError(
            f"`{size}` is no size of a terminal.",
            remedy=f"columns x lines, from {_SMALLEST[0]}x{_SMALLEST[1]} to {_LARGEST[0]}x{_LARGEST[1]}, like 140x40",
        )
    return columns, lines
