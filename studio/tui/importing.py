"""A raw file becomes a project: its columns, which of them is what, the first pairs, and where the project goes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Button, Footer, Input, Label, Select, Static

from studio.errors import InputError, StudioError, UsageError
from studio.pairs.roles import NO_ROLES, Roles
from studio.pairs.sniff import Preview, Sniffed, sniff
from studio.pairs.streams import plain_suffix
from studio.text.safe import width
from studio.tui.command import Command, bindings
from studio.tui.dialogs import Tell
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from studio.engine.jobs import ImportedProject
    from studio.tui.app import StudioApp

IMPORT = (
    Command("import.start", "ctrl+s", "start", "Import", "Make the project and open it."),
    Command("import.back", "escape", "back", "Back", "Leave; nothing was written."),
)
_SINGLE = ("query", "positive", "score", "label", "group", "split")
_WORDS = {
    "query": "Query",
    "positive": "Positive",
    "negatives": "Negatives",
    "score": "Score",
    "label": "Label",
    "group": "Group",
    "split": "Split",
}
_NO_COLUMN = -1
_BAD_ROWS = (("set aside, with the reason", False), ("stop at the first one", True))
_FORMATS = {"jsonl": "JSON lines", "json": "JSON", "csv": "CSV", "tsv": "TSV", "parquet": "Parquet", "arrow": "Arrow"}
_NAME_COLUMNS = 24
_KIND_COLUMNS = 15
_REJECTS_SHOWN = 5
_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]


class ImportScreen(Screen[None]):
    """Make a project of a file or of a dataset folder."""

    BINDINGS = bindings(IMPORT)
    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = _BREAKPOINTS
    HELP_TEXT: ClassVar[str] = (
        "Nothing is written before you import, and the file itself is never changed.\n"
        "A query and a positive are needed. Negatives are passages known not to answer; the group names the document\n"
        "a passage comes from, so that parts of one document stay in one split. A column without a role is kept with\n"
        "its row as meta data. Rows that cannot be pairs are set aside with the reason, or end the import if told to."
    )
    DEFAULT_CSS = """
    ImportScreen {
        #import-title { height: 1; padding: 0 1; background: $panel; }
        #import-form { height: 1fr; padding: 0 1; }
        #import-left, #import-right, #import-table { height: auto; }
        &.-wide #import-panes { layout: horizontal; height: auto; }
        &.-wide #import-left { width: 58%; padding-right: 2; }
        &.-wide #import-right { width: 42%; }
        &.-narrow #import-panes { layout: vertical; height: auto; }
        .import-heading { text-style: bold; margin-top: 1; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #import-columns { height: auto; max-height: 8; }
        &.-wide #import-columns { max-height: 16; }
        #import-columns Static { text-wrap: nowrap; text-overflow: ellipsis; width: 100%; }
        #import-columns:focus { background: $surface; }
        .import-role { height: 1; }
        .import-role Label { width: 12; }
        .import-role Select, .import-role Input { width: 1fr; }
        .-here Label, .-here .import-heading { text-style: reverse bold; }
        .import-role Select:focus { background: $primary 40%; text-style: bold; }
        #import-waiting { margin-top: 1; }
        #import-preview { height: auto; }
        #import-problem { height: auto; max-height: 6; padding: 0 1; text-style: bold; }
        #import-target { padding: 0 1; }
        #import-buttons { height: 1; padding: 0 1; }
        #import-buttons Button { margin-right: 2; min-width: 12; }
        #import-buttons Button:focus { text-style: reverse bold; }
        #import-hint { width: 1fr; color: $foreground 80%; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, place: Path) -> None:
        """Prepare to look at `place`: a file, or a folder that is a dataset or holds some files of pairs."""
        super().__init__()
        self._source = place
        self._sniffed: Sniffed | None = None
        self._chosen = NO_ROLES
        self._fits = False
        self._importing = False

    @property
    def studio(self) -> StudioApp:
        """The app, as what it is."""
        return cast("StudioApp", self.app)

    def compose(self) -> ComposeResult:
        """Title, form, problem, buttons."""
        name = safe_text(self._source.name or str(self._source), 60)
        yield Static(Content.assemble(("harrier-studio", "bold"), f"   new project from {name}"), id="import-title")
        with VerticalScroll(id="import-form", can_focus=False):
            yield Static("Reading the first rows …", id="import-waiting", markup=False)
        yield Static(id="import-problem", markup=False)
        with Horizontal(id="import-target", classes="import-role"):
            yield Label(Content("Project in"))
            yield Input(_editable(str(default_root(self._source))), id="import-place", compact=True)
        with Horizontal(id="import-buttons"):
            yield Button(Content("Import"), id="import-start", variant="primary", compact=True, disabled=True)
            yield Button(Content("Back"), id="import-back", compact=True)
            yield Static(id="import-hint", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Mark the part that has the focus by more than a colour."""
        for part in self.query(".import-role, .import-part"):
            part.set_class(part in event.widget.ancestors_with_self, "-here")

    def on_mount(self) -> None:
        """Look at the source."""
        self.studio.job_signal.subscribe(self, self._job_heard)
        self._look()

    # What the source holds

    @work(group="sniff", exclusive=True, description="look at the file")
    async def _look(self) -> None:
        try:
            sniffed = await asyncio.to_thread(sniff, [self._source])
        except StudioError as error:
            # There is nothing to choose or to import: only the words and the way back.
            self.query_one("#import-waiting", Static).update(_words(error))
            self.query_one("#import-target").display = self.query_one("#import-start").display = False
            self.query_one("#import-back").focus()
            return
        self._sniffed, self._chosen = sniffed, sniffed.roles
        form = self.query_one("#import-form")
        # Meant for the whole form at once: no half of it is drawn.
        with self.app.batch_update():
            await self.query_one("#import-waiting").remove()
            await form.mount_all(self._form(sniffed))
        self.query_one("#import-query").focus()
        self._preview()

    def _form(self, sniffed: Sniffed) -> Sequence[Widget]:
        columns = Vertical(
            Vertical(
                Static(self._about(sniffed), classes="import-heading"),
                VerticalScroll(Static(id="import-column-lines", markup=False), id="import-columns"),
                id="import-table",
                classes="import-part",
            ),
            Static(Content("Which column is what"), classes="import-heading"),
            *self._roles(sniffed),
            id="import-left",
        )
        pairs = Vertical(
            Static(Content("The first pairs"), classes="import-heading", id="import-pairs-heading"),
            Static(id="import-preview", markup=False),
            id="import-right",
            classes="import-part",
        )
        # With the keys it can be reached, and the form scrolls there, where it does not fit on the screen.
        pairs.can_focus = True
        return [Vertical(columns, pairs, id="import-panes")]

    def _about(self, sniffed: Sniffed) -> Content:
        parts = [_FORMATS.get(sniffed.format, sniffed.format), _size(sniffed.bytes)]
        if sniffed.rows is not None:
            parts.append(f"{sniffed.rows:,} rows")
        parts.append(f"{len(sniffed.columns)} columns")
        return Content(" · ".join(parts))

    def _roles(self, sniffed: Sniffed) -> Sequence[Widget]:
        # The lists of a source of tuples always are query, positive, negatives.
        fixed = bool(sniffed.tuples)
        rows = [self._role(role, f"import-{role}", getattr(sniffed.roles, role), fixed) for role in _SINGLE[:2]]
        more: tuple[str | None, ...] = () if fixed else (None,)
        rows += [self._negatives(at, column, fixed) for at, column in enumerate((*sniffed.roles.negatives, *more))]
        rows += [self._role(role, f"import-{role}", getattr(sniffed.roles, role)) for role in _SINGLE[2:]]
        bad = Select(_BAD_ROWS, allow_blank=False, value=False, id="import-strict", compact=True)
        return [*rows, Horizontal(Label(Content("Bad rows")), bad, classes="import-role")]

    def _role(self, role: str, name: str, column: str | None, fixed: bool = False) -> Widget:
        """One line of the form: a role and the column that plays it."""
        assert self._sniffed is not None
        names = [column.name for column in self._sniffed.columns]
        options = [(Content("(none)"), _NO_COLUMN)]
        options += [(safe(name, 40), at) for at, name in enumerate(names) if name]
        select: Select[int] = Select(
            options,
            allow_blank=False,
            value=names.index(column) if column else _NO_COLUMN,
            id=name,
            compact=True,
            disabled=fixed,
        )
        return Horizontal(Label(Content(_WORDS[role])), select, classes="import-role")

    def _negatives(self, at: int, column: str | None, fixed: bool = False) -> Widget:
        line = self._role("negatives", f"import-negatives-{at}", column, fixed)
        line.add_class("import-negatives")
        return line

    # What is chosen

    @on(Select.Changed)
    async def _changed(self) -> None:
        sniffed = self._sniffed
        if sniffed is None:
            return
        listed = [self._chosen_in(select) for select in self.query(".import-negatives Select").results(Select)]
        negatives = tuple(dict.fromkeys(column for column in listed if column))
        single: dict[str, Any] = {role: self._chosen_in(self.query_one(f"#import-{role}", Select)) for role in _SINGLE}
        if listed and None not in listed:
            # There always is a line for one more.
            last = list(self.query(".import-negatives"))[-1]
            await self.query_one("#import-left").mount(self._negatives(len(listed), None), after=last)
        chosen = replace(NO_ROLES, negatives=negatives, **single)
        if chosen != self._chosen:
            self._chosen = chosen
            self._preview()

    def _chosen_in(self, select: Select[Any]) -> str | None:
        assert self._sniffed is not None
        at = select.value
        return self._sniffed.columns[at].name if isinstance(at, int) and at != _NO_COLUMN else None

    @work(group="preview", exclusive=True, description="show the first pairs")
    async def _preview(self) -> None:
        sniffed, chosen = self._sniffed, self._chosen
        assert sniffed is not None
        problem: StudioError | None = _unfit(chosen, sniffed)
        shown = None
        if problem is None:
            try:
                shown = await asyncio.to_thread(sniffed.preview, chosen)
            except StudioError as error:
                problem = error
        self._fits = problem is None
        self.refresh_bindings()
        self.query_one("#import-start", Button).disabled = not self._fits
        roles = shown.roles if shown else chosen
        self.query_one("#import-column-lines", Static).update(_column_lines(sniffed, roles))
        self.query_one("#import-preview", Static).update(_pair_lines(shown) if shown else Content("(none yet)"))
        self._show_problem(problem)

    def _show_problem(self, error: StudioError | None) -> None:
        self.query_one("#import-problem", Static).update(_words(error) if error else Content(""))
        below = "The first pairs are below." if self.has_class("-narrow") else "The file itself is never changed."
        self.query_one("#import-hint", Static).update(Content("" if error else below))

    # Importing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Import is offered when there is something to import, and dim until it can be."""
        if action != "start":
            return True
        return False if self._sniffed is None else self._fits or None

    @on(Button.Pressed, "#import-start")
    @on(Input.Submitted, "#import-place")
    def action_start(self) -> None:
        """Import and open."""
        sniffed = self._sniffed
        if sniffed is None or not self._fits or self._importing or self.studio.job is not None:
            return
        typed = self.query_one("#import-place", Input).value.strip()
        if not typed:
            self._show_problem(UsageError("The project needs a directory.", remedy="type a path; ~ is your home"))
            self.query_one("#import-place").focus()
            return
        self._importing = True
        self._show_problem(None)
        self.studio.start_job(
            "import_sources",
            "import",
            done=self._done,
            failed=self._show_problem,
            root=os.path.abspath(os.path.expanduser(typed)),
            sources=[str(self._source)],
            roles=sniffed.asked(self._chosen),
            strict=bool(self.query_one("#import-strict", Select).value),
        )

    def _job_heard(self, _: object) -> None:
        job = self.studio.job
        self.query_one("#import-form").disabled = job is not None
        self.query_one("#import-start", Button).disabled = job is not None or not self._fits
        if job is not None:
            self.query_one("#import-hint", Static).update(Content(job.words()))
        elif self._importing:
            self._importing = False
            self.query_one("#import-hint", Static).update(Content(self.studio.remark))

    async def _done(self, result: ImportedProject) -> None:
        read = sum(source.records for source in result.sources)
        notes = [note for source in result.sources for note in source.notes]
        if not result.rejected and not notes:
            self.studio.say(f"{read:,} rows were read; none was rejected.")
            self.studio.open_project(result.root)
            return
        words = await asyncio.to_thread(_outcome, result, read, notes)

        def told(_: None) -> None:
            self.studio.open_project(result.root)

        self.app.push_screen(Tell("Imported", words), told)

    @on(Button.Pressed, "#import-back")
    def action_back(self) -> None:
        """Leave."""
        if self._importing:
            self.studio.say("The import is running; ctrl+x cancels it.", severity="warning")
            return
        first = len(self.app.screen_stack) <= 2 and self.studio.session is None
        self.app.pop_screen()
        if first:
            self.studio.welcome()


def default_root(source: Path) -> Path:
    """Beside the source, or where one stands if nothing can be written there."""
    stem = source.name
    if not source.is_dir():
        suffix = plain_suffix(source)
        stem = stem[: stem.lower().rindex(suffix)] if suffix else stem.split(".")[0]
    parent = source.absolute().parent
    return (parent if os.access(parent, os.W_OK) else Path.cwd()) / f"{stem or source.name}-studio"


def _unfit(roles: Roles, sniffed: Sniffed) -> StudioError | None:
    """Why these roles cannot be, in the words of this form."""
    missing = [_WORDS[role].lower() for role in ("query", "positive") if not getattr(roles, role)]
    if missing:
        return InputError(
            f"No column is the {' or the '.join(missing)}.",
            why="its name is none of the usual ones" if roles == sniffed.roles else None,
            remedy="choose it below “Which column is what”",
        )
    taken: dict[str, str] = {}
    for role, columns in vars(roles).items():
        for column in columns if isinstance(columns, tuple) else (columns,):
            if column and column in taken:
                both = f"{_WORDS[taken[column]].lower()} and {_WORDS[role].lower()}"
                return InputError(
                    "One column has two roles.", where=safe_text(column, 60), why=both, remedy="choose another for one"
                )
            if column:
                taken[column] = role
    return None


def _words(error: StudioError) -> Content:
    return Content.assemble("✗ ", safe_lines(str(error), 2_000))


def _column_lines(sniffed: Sniffed, roles: Roles) -> Content:
    """A line a column: name, kind, role, sample values."""
    of = {column: role for role in _SINGLE if (column := getattr(roles, role))}
    of |= dict.fromkeys(roles.negatives, "negatives")
    shown = ["column", *(safe_text(column.name, _NAME_COLUMNS) for column in sniffed.columns)]
    names = min(max(map(width, shown)), _NAME_COLUMNS)
    kinds = min(max(4, *(len(column.kind) for column in sniffed.columns)), _KIND_COLUMNS)
    lines = [Content.styled(f"{'column':{names}}  {'kind':{kinds}}  {'role':9}  values", "bold")]
    for column in sniffed.columns:
        name = safe_text(column.name, _NAME_COLUMNS)
        role = of.get(column.name)
        values = " · ".join(safe_text(value, 60) for value in column.values)
        lines.append(
            Content.assemble(
                name + " " * max(names - width(name), 0),
                f"  {column.kind[:kinds]:{kinds}}  ",
                (f"{_WORDS[role] if role else 'meta':9}", "bold" if role else "dim"),
                f"  {values}",
            )
        )
    return Content("\n").join(lines)


def _pair_lines(preview: Preview) -> Content:
    lines: list[Content] = []
    for number, pair in enumerate(preview.pairs, 1):
        lines.append(Content.assemble((f"{number} ", "bold"), safe(pair.query, 160)))
        lines.append(Content.assemble("  → ", safe(pair.positive, 220)))
        lines += [Content.assemble("  ✗ ", safe(text, 120)) for text in pair.negatives[:2]]
        if len(pair.negatives) > 2:
            lines.append(Content(f"  ✗ and {len(pair.negatives) - 2} more negatives"))
        others = [
            f"{role}: {safe_text(str(value), 40)}"
            for role in ("score", "label", "group", "split")
            if (value := getattr(pair, role)) is not None
        ]
        if others:
            lines.append(Content.styled(f"  {' · '.join(others)}", "dim"))
    if not preview.read:
        lines.append(Content("Too large to look into before it is imported."))
    elif not preview.pairs:
        lines.append(Content(f"None of the first {preview.read:,} rows can be a pair."))
    if preview.refused:
        why = safe_text(preview.why, 160)
        lines.append(Content(f"{preview.refused:,} of the first {preview.read:,} rows would be set aside ({why})."))
    if preview.meta:
        names = ", ".join(safe_text(name, 30) for name in preview.meta[:12])
        more = f" and {len(preview.meta) - 12} more" if len(preview.meta) > 12 else ""
        lines.append(Content(f"Kept as meta data: {names}{more}"))
    return Content("\n").join(lines)


def _outcome(result: ImportedProject, read: int, notes: Sequence[str]) -> str:
    """What became of the rows, with the first of those that were rejected."""
    lines = [f"{read:,} rows were read: {result.rows:,} pairs, {result.rejected:,} rejected.", *notes]
    if result.rejected:
        path = Path(result.root) / "rejects.jsonl"
        lines += ["", f"The rejected rows, each with its reason, are in {path}"]
        with path.open(encoding="utf-8") as stream:
            for line in itertools.islice(stream, _REJECTS_SHOWN):
                bad = json.loads(line)
                lines.append(f"  {bad['file']}:{bad['line']}  {bad['reason']} {bad['detail'] or ''}".rstrip())
        if result.rejected > _REJECTS_SHOWN:
            lines.append(f"  … and {result.rejected - _REJECTS_SHOWN:,} more")
    return "\n".join(lines)


def _editable(text: str) -> str:
    """A path for an input, which draws what it holds: what cannot be drawn safely is left to be typed."""
    return text if safe_text(text) == text else ""


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GB"
