"""The Export panel: what will be written, for whom, with what wrong with it; then writing it and verifying it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from studio.errors import Cancelled, StudioError
from studio.project.curate import Status
from studio.tui.command import Command, bindings
from studio.tui.dialogs import AskText, Confirm, Tell
from studio.tui.panel import PanelScreen
from studio.tui.safe import safe, safe_text
from studio.view.exporting import FORMATS, ExportPlan, Severity, Side, default_place

if TYPE_CHECKING:
    from studio.engine.jobs import Exported, Verified
    from studio.view.session import Session

_PROBLEM = {
    Severity.STOPS: ("✗ stops", "bold $error"),
    Severity.WARNS: ("⚠ warning", "bold $warning"),
    Severity.NOTE: ("· note", "bold"),
}
_STATUS = {Status.KEPT: "○", Status.REMOVED: "✗", Status.EDITED: "✎", Status.MOVED: "→"}
_VERDICT = {
    "ok": ("✓ same", "$success"),
    "different": ("✗ different", "bold $error"),
    "skipped": ("– skipped", ""),
}
_COMPARED = {
    "files": "hashes of the files",
    "rows": "decisions, replayed",
    "reasons": "reasons and keepers",
    "positions": "places in the data",
    "rebuild": "data, built again",
    "sources": "source files",
    "audit": "the audit itself",
}
_LINES = 24
"""Reasons, splits or files listed at most; the rest is counted."""
_HASH = 12
_NARROWEST = 16
"""Columns a text is wrapped in at least."""


@dataclass
class _Done:
    """What was done at one place in this sitting."""

    exported: Exported | None = None
    verified: Verified | None = None


class ExportScreen(PanelScreen):
    """Choose a format and a place, see what will be written, write and verify it."""

    place = "export"
    COMMANDS_HERE = (
        Command("export.write", "w,enter", "write", "Write", "Write it; asks before it replaces one.", priority=True),
        Command("export.format", "f", "format(1)", "Format", "To the next format; the arrows do the same."),
        Command("export.format_back", "F", "format(-1)", "Format back", "To the format before.", footer=False),
        Command("export.place", "o", "place", "Directory", "Choose where to write."),
        Command("export.verify", "v", "verify", "Verify", "Replay the audit of what is written there and compare."),
        Command("export.copy", "y", "copy", "Copy", "Copy the command that does the same without the studio."),
        Command("export.again", "r,f5", "again", "Again", "Look again at the project and the place.", footer=False),
        Command("export.page_down", "pagedown,space", "page(1)", "Page", "Read on.", footer=False, priority=True),
        Command("export.page_up", "pageup", "page(-1)", "Page back", "Read back.", footer=False, priority=True),
    )  # fmt: skip
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "Export writes the rows that your decisions left, ready to train with. Nothing is written before you press w.\n"
        "At the left: the format (arrows or f; each says for whom it is), the directory (o), and the command that\n"
        "does the same without the studio (y copies it). At the right: what will be written, counted by reason, and\n"
        "what is wrong with it: ✗ stops the export, ⚠ is a warning, · is good to know.\n"
        "The data files hold only what a trainer may see, in the order it takes the columns; ids, groups, scores and\n"
        "sources are in sidecar.parquet beside them. The same project gives the same bytes, every time.\n"
        "v verifies: it replays your decisions, builds the data again and compares every file with what was written."
    )
    DEFAULT_CSS = """
    ExportScreen {
        #export-panes { height: 1fr; layout: vertical; }
        #export-choice { width: 100%; height: auto; padding: 0 1; border-bottom: solid $primary 50%; }
        #formats, #formats:focus { height: auto; max-height: 9; border: none; padding: 0; }
        #export-where { height: auto; }
        #export-report { width: 1fr; height: 1fr; padding: 0 1; }
        &.-wide #export-panes { layout: horizontal; }
        &.-wide #export-choice {
            width: 56; height: 1fr; border-bottom: none; border-right: solid $primary 50%;
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._fmt = next(iter(FORMATS))
        self._chosen_place: Path | None = None
        self._plan: ExportPlan | None = None
        self._error: StudioError | None = None
        self._done: dict[str, _Done] = {}
        self._of: Session | None = None
        self._waiting: str | None = None
        """The title of the job that this panel started and has not heard the end of."""

    def body(self) -> ComposeResult:
        """The choices at the left, what comes of them at the right."""
        width = max(map(len, FORMATS))
        options = [
            Option(Content.assemble((f"{name:<{width}}  ", "bold"), words), id=name) for name, words in FORMATS.items()
        ]
        with Horizontal(id="export-panes"):
            with Vertical(id="export-choice"):
                yield OptionList(*options, id="formats", markup=False, compact=True)
                yield Static(id="export-where", markup=False)
            with VerticalScroll(id="export-report", can_focus=True):
                yield Static(id="export-text", markup=False)

    def changed(self) -> None:
        """Plan anew: decisions, evidence or the place may be other ones."""
        if self._of is not self.session:
            self._of, self._chosen_place, self._done = self.session, None, {}
            self._plan = self._error = None
        formats = self.query_one("#formats", OptionList)
        if formats.highlighted is None:
            formats.highlighted = list(FORMATS).index(self._fmt)
            formats.focus()
        self._ask()

    @property
    def out(self) -> Path:
        """Where the export goes."""
        return self._chosen_place or default_place(self.session.project.root.absolute(), self._fmt)

    def _ask(self) -> None:
        self._show()
        self._load(self._fmt, str(self.out))

    @work(exclusive=True, group="export_plan", description="plan the export")
    async def _load(self, fmt: str, out: str) -> None:
        try:
            plan, error = await self.studio.ask("export_plan", slot="export", fmt=fmt, out=out), None
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as failed:
            plan, error = None, failed
        self._plan, self._error = plan, error
        self._show()

    # Choosing

    @on(OptionList.OptionHighlighted, "#formats")
    def _format_chosen(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_id and event.option_id != self._fmt:
            self._fmt = event.option_id
            self._ask()

    def action_format(self, by: int) -> None:
        """Go to the next format, or the one before."""
        names = list(FORMATS)
        self.query_one("#formats", OptionList).highlighted = (names.index(self._fmt) + by) % len(names)

    def action_place(self) -> None:
        """Ask where to write."""
        now = str(self.out)
        dialog = AskText("Directory to export to", now, "Leave it empty for the project's own exports folder.")
        self.studio.push_screen(dialog, partial(self._place_chosen, safe_text(now)))

    def _place_chosen(self, shown: str, answer: str | None) -> None:
        # What was shown may not be the path itself where that holds control characters.
        if answer is None or answer == shown:
            return
        self._chosen_place = Path(answer.strip()).expanduser().absolute() if answer.strip() else None
        self._ask()

    def action_copy(self) -> None:
        """Copy the command that does the same."""
        if self._plan is not None:
            self.studio.copy(self._plan.command, "The command")

    def action_again(self) -> None:
        """Look again."""
        self._ask()

    def action_page(self, by: int) -> None:
        """Scroll the report."""
        report = self.query_one("#export-report", VerticalScroll)
        if by > 0:
            report.scroll_page_down(animate=False)
        else:
            report.scroll_page_up(animate=False)

    # Writing and verifying

    def action_write(self) -> None:
        """Write, after a question if an earlier export is in the place."""
        plan = self._current()
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was written.", severity="warning")
        elif self.studio.saving:
            self.studio.say("A decision is being saved; press w again in a moment.", severity="warning")
        elif plan is None:
            self.studio.say("The rows are still being counted; press w again in a moment.", severity="warning")
        elif plan.stopped:
            stops = [problem for problem in plan.problems if problem.severity is Severity.STOPS]
            text = "\n\n".join(f"{each.what}\ndo: {each.remedy}" if each.remedy else each.what for each in stops)
            self.studio.push_screen(Tell("Not written", text))
        elif plan.earlier is None:
            self._write(plan.fmt, plan.out, sure=True)
        else:
            earlier = plan.earlier
            same = "" if earlier.project == self.session.project.settings.name else f" of the project {earlier.project}"
            detail = (
                f"It holds {earlier.kept:,} rows{same} as {earlier.fmt} ({earlier.files:,} files), and will hold "
                f"{plan.kept:,} as {plan.fmt}.\nIt is replaced whole, in one step; if writing fails it stays as it is."
            )
            question = Confirm(f"Replace the export in {plan.out}?", detail, yes="Replace", no="Keep it")
            self.studio.push_screen(question, partial(self._write, plan.fmt, plan.out))

    def _write(self, fmt: str, out: str, sure: bool | None) -> None:
        if sure:
            self._start("export", partial(self._written, out), out=out, fmt=fmt)

    def _written(self, out: str, exported: Exported) -> None:
        self._done[out] = _Done(exported)
        self.studio.remark = f"exported to {safe_text(out, 60)}; v verifies it"
        self.query_one("#export-report", VerticalScroll).scroll_home(animate=False)
        self._ask()

    def action_verify(self) -> None:
        """Verify what is in the place."""
        plan = self._current()
        if plan is None or plan.earlier is None:
            self.studio.say("There is no export in this place yet; w writes one.", severity="warning")
        else:
            self._start("verify", partial(self._verified, plan.out), out=plan.out)

    def _verified(self, out: str, verified: Verified) -> None:
        self._done.setdefault(out, _Done()).verified = verified
        ends = "all is as it was written" if verified.sound else "SOMETHING DIFFERS"
        self.studio.remark = f"verified {safe_text(out, 60)}: {ends}"
        self.query_one("#export-report", VerticalScroll).scroll_home(animate=False)
        self._show()

    def _start(self, name: str, done: Any, **arguments: Any) -> None:
        if self.studio.job is None:
            self._waiting = name
        self.studio.start_job(name, name, done, **arguments)

    def _job_heard(self, _: object) -> None:
        super()._job_heard(_)
        if self._waiting is not None and self.studio.job is None:
            # However it ended: what is in the place now is for the plan to say.
            self._waiting = None
            self._ask()

    def _current(self) -> ExportPlan | None:
        """The plan, if it is one for what is chosen now."""
        plan = self._plan
        return plan if plan is not None and (plan.fmt, plan.out) == (self._fmt, str(self.out)) else None

    # Drawing

    def on_resize(self, event: Resize) -> None:
        """Cut the paths and lines to the new width."""
        if self._of is not None:
            self._show()

    def _show(self) -> None:
        if not self.is_mounted or self.studio.session is None:
            return
        self.query_one("#export-where", Static).update(self._where())
        self.query_one("#export-text", Static).update(Content("\n").join(self._report(self._width())))

    def _width(self) -> int:
        """Columns of the report; before it has been laid out, some."""
        columns: int = self.query_one("#export-text", Static).size.width
        return max(columns, 40)

    def _where(self) -> Content:
        """The directory and the command, in full where there is room."""
        place, plan = safe_text(str(self.out)), self._current()
        same = safe_text(plan.command) if plan else "…"
        if self.has_class("-wide"):
            lines = [("directory (o changes it)", place), ("the same without the studio (y copies it)", same)]
            parts = [part for label, text in lines for part in ("\n", (label, "bold"), f"\n{text}\n")]
            return Content.assemble(*parts)
        if self.has_class("-short"):
            room = max(self.size.width - 14, 10)
            place, same = _end(place, room), _beginning(same, room)
        return Content.assemble(("to (o)    ", "bold"), place, "\n", ("same (y)  ", "bold"), same)

    def _report(self, width: int) -> Iterator[Content]:
        if self._error is not None:
            yield Content.styled("✗ The export cannot be planned.", "bold $error")
            yield from map(safe, str(self._error).split("\n"))
            yield Content("r tries again")
            return
        plan = self._current()
        if plan is None:
            yield Content("counting what will be written …")
            return
        yield from self._headline(plan)
        yield from _done_lines(self._done.get(plan.out, _Done()), width)
        yield from _problem_lines(plan, width)
        yield from _outcome_lines(plan, width)
        yield from _split_lines(plan, width)
        yield from _change_lines(plan.before, plan.after, width)
        yield from _file_lines(plan, width)

    def _headline(self, plan: ExportPlan) -> Iterator[Content]:
        counts = f"{plan.kept:,} of {plan.rows:,} pairs"
        if plan.stopped:
            yield Content.styled(f"✗ nothing can be written as {plan.fmt} ({counts} kept): see below", "bold $error")
        elif self.session.read_only:
            yield Content.styled(f"{counts} would be written as {plan.fmt}; this studio is read-only", "bold")
        else:
            yield Content.styled(f"{counts} will be written as {plan.fmt}: w or enter writes", "bold")
        earlier = plan.earlier
        if earlier is not None:
            yield Content(
                f"an export is in the place: {earlier.kept:,} rows as {safe_text(earlier.fmt, 20)}, "
                f"{earlier.files:,} files: v verifies it"
            )


def _done_lines(done: _Done, width: int) -> Iterator[Content]:
    """What was written and verified at this place in this sitting."""
    if done.verified is not None:
        sound = done.verified.sound
        words = "✓ verified: all is as it was written" if sound else "✗ verified: something differs"
        yield from _heading(words, "bold $success" if sound else "bold $error")
        for item in done.verified.items:
            verdict, style = _VERDICT[item.status]
            name = _COMPARED.get(item.code, item.code)
            head = Content.assemble("  ", (f"{verdict:<12}", style), f"{name:<20}  ")
            yield from _hanging(head, safe(item.message, 1_000), width)
    if done.exported is not None:
        yield from _heading(f"✓ written to {safe_text(str(done.exported.path))}", "bold $success")
        for note in done.exported.notes:
            yield from _hanging(Content("  · "), safe(note, 1_000), width)
        yield from _table([("rows", "sha256", "file"), *_written_rows(done.exported.files)], width, right=(0,))


def _problem_lines(plan: ExportPlan, width: int) -> Iterator[Content]:
    if not plan.problems:
        return
    yield from _heading("before you write")
    for problem in sorted(plan.problems, key=lambda each: list(Severity).index(each.severity)):
        word, style = _PROBLEM[problem.severity]
        yield from _hanging(Content.assemble("  ", (f"{word:<9}", style), "  "), safe(problem.what, 1_000), width)
        if problem.remedy:
            yield from _hanging(Content(" " * 13 + "→ "), safe(problem.remedy, 400), width)


def _outcome_lines(plan: ExportPlan, width: int) -> Iterator[Content]:
    yield from _heading("what becomes of the rows")
    shown = [(f"{o.rows:,}", f"{_STATUS[Status(o.status)]} {o.status}", safe_text(o.words, 70)) for o in plan.outcomes]
    yield from _table(_first(shown, sum(o.rows for o in plan.outcomes[_LINES:]), "reasons"), width, right=(0,))


def _split_lines(plan: ExportPlan, width: int) -> Iterator[Content]:
    if len(plan.splits) < 2:
        return
    yield from _heading("kept rows by split")
    shown = [(f"{rows:,}", safe_text(name, 60)) for name, rows in plan.splits]
    yield from _table(_first(shown, sum(rows for _, rows in plan.splits[_LINES:]), "splits"), width, right=(0,))


def _change_lines(before: Side, after: Side, width: int) -> Iterator[Content]:
    yield from _heading("before and after")
    counts = [
        ("rows", before.rows, after.rows),
        ("distinct queries", before.queries, after.queries),
        ("distinct passages", before.passages, after.passages),
    ]
    lengths = [
        ("characters a query, mean", before.query_chars, after.query_chars),
        ("characters a passage, mean", before.passage_chars, after.passage_chars),
    ]
    lines = [("", "before", "after", "change")]
    lines += [(name, f"{old:,}", f"{new:,}", _change(old, new)) for name, old, new in counts]
    lines += [(name, f"{old:,.1f}", f"{new:,.1f}", _change(old, new)) for name, old, new in lengths]
    yield from _table(lines, width, right=(1, 2, 3))


def _change(old: float, new: float) -> str:
    if old == new:
        return "same"
    return f"{(new - old) / old:+.1%}" if old else ""


def _file_lines(plan: ExportPlan, width: int) -> Iterator[Content]:
    data = [file for file in plan.files if file.data]
    yield from _heading("files a trainer reads")
    alike = len({file.columns for file in data}) == 1
    shown = [
        (
            "" if file.rows is None else f"{file.rows:,}",
            safe_text(file.path, 60),
            file.what if alike else ", ".join(file.columns),
        )
        for file in data
    ]
    yield from _table(_first(shown, sum(file.rows or 0 for file in data[_LINES:]), "files"), width, right=(0,))
    if alike:
        yield from _hanging(Content("  columns, in this order: "), Content(", ".join(data[0].columns)), width)
    yield from _heading("files beside them, for audit")
    yield from _table([(file.path, file.what) for file in plan.files if not file.data], width, right=())
    sidecar = next((file for file in plan.files if not file.data and file.columns), None)
    if sidecar is not None:
        yield from _hanging(Content(f"  {sidecar.path}: "), Content(", ".join(sidecar.columns)), width)


def _first(lines: Sequence[tuple[str, ...]], rest: int, what: str) -> list[tuple[str, ...]]:
    """The first lines, and a last one that counts those left out."""
    shown = list(lines[:_LINES])
    if len(lines) > _LINES:
        shown.append((f"{rest:,}", f"in {len(lines) - _LINES:,} more {what}", *[""] * (len(lines[0]) - 2)))
    return shown


def _written_rows(files: Mapping[str, Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    lines = [
        ("" if entry["rows"] is None else f"{entry['rows']:,}", str(entry["sha256"])[:_HASH], safe_text(path, 70))
        for path, entry in files.items()
    ]
    return lines[: 2 * _LINES] + ([("", "", f"and {len(lines) - 2 * _LINES:,} more")] if lines[2 * _LINES :] else [])


def _heading(words: str, style: str = "bold underline") -> list[Content]:
    return [Content(""), Content.styled(words, style)]


def _table(lines: Sequence[tuple[str, ...]], width: int, right: Sequence[int]) -> Iterator[Content]:
    """Aligned columns; those of `right` to the right, the last one wrapped. Cells are safe already."""
    cells = [[Content(text, strip_control_codes=False) for text in line] for line in lines]
    widths = [max(cell.cell_length for cell in column) for column in zip(*cells, strict=True)]
    for line in cells:
        head = Content("  ")
        for at, (cell, room) in enumerate(zip(line, widths, strict=True)):
            gap = Content(" " * (room - cell.cell_length))
            if at == len(line) - 1 and at not in right:
                yield from _hanging(head, cell, width)
            else:
                head += (gap + cell if at in right else cell + gap) + Content("  ")
        if len(line) - 1 in right:
            yield head


def _hanging(head: Content, text: Content, width: int) -> Iterator[Content]:
    """`text` after `head`, its further lines below its first; where that leaves no room, as it comes."""
    indent = head.cell_length
    if width - indent < _NARROWEST:
        yield head + text
        return
    for at, line in enumerate(text.wrap(width - indent)):
        yield (head if at == 0 else Content(" " * indent)) + line


def _end(text: str, room: int) -> str:
    """The end of a path, which tells more than its beginning."""
    return text if len(text) <= room else "…" + text[-(room - 1) :]


def _beginning(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
