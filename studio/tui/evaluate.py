"""The Evaluate panel: systems in classes, their queries, slices and costs; and what is wrong goes back to the pairs.

It only reads what `evaluate` and the runs have written, so it shows what any process has measured.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList, Static

from studio.errors import Cancelled, StudioError
from studio.tui.cluster_drawing import Lines, Pick, count
from studio.tui.command import Command, bindings
from studio.tui.dialogs import Tell
from studio.tui.evaluate_commands import EVALUATE, HELP_WORDS
from studio.tui.evaluate_drawing import compared_apart, entry_line, head_line, system_lines, table_head, table_line
from studio.tui.following import EVERY, follow
from studio.tui.new_evaluation import NewEvaluation, Wanted
from studio.tui.panel import PanelScreen
from studio.tui.queries_tab import DEBOUNCE, WHICH, Looked, QueriesTab
from studio.tui.safe import safe, safe_lines, safe_text
from studio.tui.slices_tab import BY, CostsTab, SlicesTab

if TYPE_CHECKING:
    from studio.engine.evaluation import Evaluated
    from studio.view.evaluated_pairs import By, Which
    from studio.view.evaluations import Entry, EvaluationsAnswer, Report, SystemLine
    from studio.view.session import Session

_SCROLL = {"cursor_down": "down", "cursor_up": "up", "first": "home", "last": "end"}
_TABS = {"systems": "Systems", "queries": "Queries", "slices": "Slices", "costs": "Operational"}
_PANES = {
    "systems": ("#ev-systems", "#ev-system"),
    "queries": ("#ev-queries", "#ev-query"),
    "slices": ("#ev-slices",),
    "costs": ("#ev-costs",),
}
"""What can have the focus in each tab, from the left."""
_OF_ONE_TAB = {
    "which": "queries", "next_which": "queries", "miss": "queries", "in_pairs": "queries", "by": "slices",
    "next_by": "slices",
}  # fmt: skip
"""Actions that only one tab has."""
_EMPTY = (
    "Nothing was evaluated yet.\n\n"
    "N begins: a set, such as the project's held-out split, and systems, such as BM25, the model as it is and the "
    "latest run. From a command line: harrier-studio evaluate.\n\n"
    "Finished runs are listed here too, with the test that they were made with."
)


class EvaluateScreen(PanelScreen):
    """Evaluations and finished runs at the left; at the right one of them in four tabs."""

    place = "evaluate"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = EVALUATE
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = HELP_WORDS
    DEFAULT_CSS = """
    EvaluateScreen {
        #ev-notice { height: 1fr; padding: 1 2; display: none; }
        #ev-panes { height: 1fr; layout: horizontal; }
        #ev-list { width: 42; height: 1fr; }
        #ev-title { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        #ev-entries { height: 1fr; }
        #ev-view { width: 1fr; height: 1fr; padding: 0 1; border-left: vkey $panel; }
        #ev-choices { height: 1; }
        #ev-choices > * { width: auto; }
        #ev-choices > .gap { width: 1fr; max-width: 4; min-width: 1; }
        #ev-head, #ev-table-head, #ev-query-title { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #ev-head { background: $surface; }
        #ev-of-systems, #ev-of-queries { height: 1fr; }
        #ev-systems { height: auto; max-height: 45%; min-height: 2; }
        #ev-queries { height: 1fr; min-height: 4; }
        #ev-system, #ev-query, #ev-slices, #ev-costs { height: 1fr; scrollbar-gutter: stable; }
        #ev-system, #ev-query { border-top: hkey $panel; }
        #ev-query { max-height: 40%; }
        .ev-text, #ev-query-text { height: auto; }
        &.-narrow #ev-panes { layout: vertical; }
        &.-narrow #ev-list { width: 1fr; height: 4; }
        &.-narrow #ev-view { width: 1fr; border-left: none; padding: 0; }
        &.-narrow #ev-head { padding: 0 1; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._tab_here = "systems"
        self._answer: EvaluationsAnswer | None = None
        self._at_entry: tuple[str, bool] = ("", False)
        """Name of what is shown, and whether it is a run."""
        self._go_to: tuple[str, bool] | None = None
        """What the list is to stand on when it is drawn next."""
        self._references: dict[tuple[str, bool], dict[str, str]] = {}
        self._by_metric = ""
        self._on_system = ""
        """Name of the system under the cursor."""
        self._asking = 0
        self._wanted: Wanted | None = None
        """What was asked for last and did not come about: what the next dialog begins with."""
        self._of: Session | None = None

    def body(self) -> ComposeResult:
        """The list, and the tabs of one evaluation."""
        yield Static(id="ev-notice", markup=False)
        with Vertical(id="ev-panes"):
            with Vertical(id="ev-list"):
                yield Static(id="ev-title", markup=False)
                yield Lines(id="ev-entries", markup=False)
            with Vertical(id="ev-view"):
                with Horizontal(id="ev-choices"):
                    for name, word in _TABS.items():
                        yield Pick(word, f"tab('{name}')", f"ev-tab-{name}")
                    yield Static(classes="gap")
                    for which, word in WHICH.items():
                        yield Pick(word, f"which('{which}')", f"ev-queries-{which}")
                    for by, word in BY.items():
                        yield Pick(word, f"by('{by}')", f"ev-slices-{by}")
                yield Static(id="ev-head", markup=False)
                with Vertical(id="ev-of-systems"):
                    yield Static(id="ev-table-head", markup=False)
                    yield Lines(id="ev-systems", markup=False)
                    with VerticalScroll(id="ev-system", can_focus=True):
                        yield Static(id="ev-system-text", classes="ev-text", markup=False)
                yield QueriesTab(id="ev-of-queries")
                yield SlicesTab(id="ev-slices")
                yield CostsTab(id="ev-costs")

    @property
    def _queries(self) -> QueriesTab:
        return self.query_one(QueriesTab)

    @property
    def _slices(self) -> SlicesTab:
        return self.query_one(SlicesTab)

    def on_mount(self) -> None:
        """Begin on the list, and look again and again."""
        self.query_one("#ev-entries").focus()
        self.set_interval(EVERY, self._tick)

    def changed(self) -> None:
        """Look at the files; begin anew with another project."""
        if self._of is not self.session:
            self._of, self._answer = self.session, None
            self._at_entry, self._on_system, self._references = ("", False), "", {}
        self._draw_choices()
        self._look()

    def on_resize(self, event: Resize) -> None:
        """Draw in the new size."""
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self._draw_choices()
        self._draw_list()
        self._draw_report()
        # What comes into view has its size only then.
        self.call_after_refresh(self._in_new_size)

    def _in_new_size(self) -> None:
        self._draw_report()
        for name in ("#ev-entries", "#ev-systems", "#ev-queries"):
            self.query_one(name, Lines).scroll_to_highlight()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What belongs to another tab is greyed and does nothing."""
        return True if _OF_ONE_TAB.get(action, self._tab_here) == self._tab_here else None

    # Looking

    def _tick(self) -> None:
        follow(self)
        if self.is_current and not self._asking:
            self._look()

    @work(exclusive=True, group="evaluations", description="look at the evaluations")
    async def _look(self, wait: float = 0.0) -> None:
        """Ask what was evaluated, and show it."""
        self._asking += 1
        try:
            await asyncio.sleep(wait)
            name, is_run = self._at_entry
            answer = await self.studio.ask(
                "evaluations",
                slot="evaluations",
                evaluation=name,
                is_run=is_run,
                metric=self._by_metric,
                references=self._references.get(self._at_entry, {}),
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._notice(f"The evaluations cannot be shown.\n\n{error}")
            return
        finally:
            self._asking -= 1
        same, self._answer = self._answer == answer, answer
        if not same:
            self._show_answer()
        elif self._queries.waiting:
            self._draw_report()

    def _show_answer(self) -> None:
        found = self._answer
        assert found is not None
        self._notice("" if found.entries else _EMPTY)
        keys = [_key(entry) for entry in found.entries]
        if keys and self._at_entry not in keys:
            self._at_entry = self._go_to = keys[0]
            self._look()
        self._draw_list()
        self._draw_report()

    def _notice(self, words: str) -> None:
        notice = self.query_one("#ev-notice", Static)
        notice.display, self.query_one("#ev-panes").display = bool(words), not words
        notice.update(safe_lines(words))

    def _draw_list(self) -> None:
        found = self._answer
        if found is None:
            return
        keys = [_key(entry) for entry in found.entries]
        lines = [entry_line(entry, shown=_key(entry) == self._at_entry) for entry in found.entries]
        view = self.query_one("#ev-entries", Lines)
        here = self._go_to or self._at_entry
        self._go_to = None
        _fill(view, lines, keys.index(here) if here in keys else 0)
        runs = sum(entry.is_run for entry in found.entries)
        words = f"{count(len(keys) - runs, 'evaluation')}, {count(runs, 'run')}"
        self.query_one("#ev-title", Static).update(safe(words))

    @on(OptionList.OptionHighlighted, "#ev-entries")
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        entries = self._answer.entries if self._answer else ()
        if event.option_index < len(entries) and (key := _key(entries[event.option_index])) != self._at_entry:
            self._at_entry, self._on_system = key, ""
            self._draw_list()
            self._look(DEBOUNCE)

    # Drawing

    @property
    def _report(self) -> Report | None:
        """What is on screen: what was asked for last may not be there yet."""
        found = self._answer.report if self._answer else None
        return found if found is not None and _key(found.entry) == self._at_entry else None

    @property
    def _system(self) -> SystemLine | None:
        """The system under the cursor."""
        report = self._report
        systems = report.systems if report else ()
        return next((line for line in systems if line.name == self._on_system), next(iter(systems), None))

    def _draw_choices(self) -> None:
        """Show what is chosen, and its tab."""
        chosen = {f"ev-tab-{self._tab_here}", f"ev-queries-{self._queries.which}", f"ev-slices-{self._slices.by}"}
        narrow = self.has_class("-narrow")
        for pick in self.query(Pick):
            name = str(pick.id)
            # Where there is no room only the chosen one is named; its key goes on to the next.
            of_tab = name.startswith(f"ev-{self._tab_here}-") and (name in chosen or not narrow)
            pick.display = name.startswith("ev-tab-") or of_tab
            pick.choose(name in chosen)
        for tab, part in (("systems", "#ev-of-systems"), ("queries", "#ev-of-queries"), ("slices", "#ev-slices"),
                          ("costs", "#ev-costs")):  # fmt: skip
            self.query_one(part).display = tab == self._tab_here

    def _draw_report(self) -> None:
        """Draw the tab that is in view, and have it ask for what it lacks."""
        if self._answer is None or not self.is_mounted:
            return
        report, here = self._report, self._system
        looked = Looked(report, here) if report is not None and here is not None else None
        head = "this cannot be shown" if self._answer.wrong else "reading …"
        self.query_one("#ev-head", Static).update(head_line(report) if report else Content.styled(head, "bold"))
        # Systems show wins and losses too, which are counted with the queries.
        self._queries.look_at(looked)
        if self._tab_here == "systems":
            self._draw_systems(report)
        elif self._tab_here == "slices":
            self._slices.look_at(looked)
        elif self._tab_here == "costs":
            self.query_one(CostsTab).look_at(looked)

    def _draw_systems(self, report: Report | None) -> None:
        view = self.query_one("#ev-systems", Lines)
        if report is None:
            _fill(view, [], None)
            self.query_one("#ev-system-text", Static).update(safe_lines(self._answer.wrong if self._answer else ""))
            return
        width = self._width("#ev-systems")
        classes = [line.of_class for line in report.systems]
        apart = [compared_apart(report, line) for line in report.systems]
        here, to = self._system, any(apart)
        lines = [
            table_line(
                line,
                width,
                first=at == 0 or classes[at - 1] != line.of_class,
                own=apart[at],
                to=to,
                shown=line is here,
            )
            for at, line in enumerate(report.systems)
        ]
        _fill(view, lines, report.systems.index(here) if here else None)
        self.query_one("#ev-table-head", Static).update(table_head(width, to=to))
        self._draw_system()

    @on(QueriesTab.Loaded)
    def _draw_system(self) -> None:
        report, here = self._report, self._system
        if report is not None and here is not None:
            lines = system_lines(report, here, self._queries.pair, self._width("#ev-system"))
            self.query_one("#ev-system-text", Static).update(Content("\n").join(lines))

    def _width(self, of: str) -> int:
        """Columns of a part of the screen, without its scroll bar."""
        return max(self.query_one(of).scrollable_content_region.width, 40)

    @on(OptionList.OptionHighlighted, "#ev-systems")
    def _system_moved(self, event: OptionList.OptionHighlighted) -> None:
        report = self._report
        if report is None or event.option_index >= len(report.systems):
            return
        name = report.systems[event.option_index].name
        if name != self._on_system:
            self._on_system = name
            self.query_one("#ev-system", VerticalScroll).scroll_home(animate=False)
            self._draw_report()

    # Moving about

    @on(OptionList.OptionSelected, "#ev-entries")
    def _enter_entry(self) -> None:
        self.action_pane(1)

    @on(OptionList.OptionSelected, "#ev-systems")
    def _enter_system(self) -> None:
        self.action_tab("queries")

    def action_tab(self, name: str) -> None:
        """Go to a tab."""
        self._tab_here = name
        self.refresh_bindings()
        self._redraw()
        if self.focused is not self.query_one("#ev-entries"):
            self._focusable[1].focus()

    def action_next_tab(self, step: int) -> None:
        """Go to the tab after, or before."""
        names = list(_TABS)
        self.action_tab(names[(names.index(self._tab_here) + step) % len(names)])

    @property
    def _focusable(self) -> list[OptionList | VerticalScroll]:
        """What can have the focus in this tab, from the left."""
        found = [self.query_one(name) for name in ("#ev-entries", *_PANES[self._tab_here])]
        return [pane for pane in found if isinstance(pane, OptionList | VerticalScroll)]

    def action_pane(self, step: int) -> None:
        """Focus the pane before or after."""
        panes = self._focusable
        at = next((at for at, pane in enumerate(panes) if pane is self.focused), 0)
        panes[min(max(at + step, 0), len(panes) - 1)].focus()

    def action_move(self, action: str) -> None:
        """Move in what has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{action}")()
        elif isinstance(self.focused, VerticalScroll):
            getattr(self.focused, f"action_scroll_{_SCROLL[action]}")()

    def action_read(self) -> None:
        """Scroll the last pane; at its end begin again."""
        view = self._focusable[-1]
        if view.scroll_y >= view.max_scroll_y:
            view.scroll_home(animate=False)
        else:
            view.scroll_page_down(animate=False)

    # Choosing

    def action_reference(self) -> None:
        """Have the others of its class compared with the system under the cursor."""
        here = self._system
        if here is None:
            return
        if here.error:
            self.studio.say(f"{here.name} was not run: nothing can be compared with it.", severity="warning")
            return
        self._references.setdefault(self._at_entry, {})[here.of_class] = here.name
        self.studio.say(f"The other systems of its class ({here.of_class}) are compared with {here.name}.")
        self._look()

    def action_next_metric(self) -> None:
        """Make the table by the next metric."""
        if report := self._report:
            names = report.tables
            self._by_metric = names[(names.index(report.metric) + 1) % len(names)]
            self._look()

    def action_system(self, step: int) -> None:
        """Look at the system before or after."""
        report, here = self._report, self._system
        if report is None or here is None:
            return
        at = (report.systems.index(here) + step) % len(report.systems)
        self._on_system = report.systems[at].name
        self._draw_report()

    def action_which(self, which: Which) -> None:
        """Show losses, wins, ties or all."""
        self._queries.which = which
        self._redraw()

    def action_next_which(self) -> None:
        """Show the next of these."""
        names = list(WHICH)
        self.action_which(names[(names.index(self._queries.which) + 1) % len(names)])

    def action_by(self, by: By) -> None:
        """Slice the queries by something else."""
        self._slices.by = by
        self._redraw()

    def action_next_by(self) -> None:
        """Slice them by the next."""
        names = list(BY)
        self.action_by(names[(names.index(self._slices.by) + 1) % len(names)])

    def action_again(self) -> None:
        """Look now."""
        self._look()

    def action_copy(self) -> None:
        """Copy the command that makes the evaluation again."""
        if report := self._report:
            if report.command:
                self.studio.copy(safe_text(shlex.join(report.command)), "the command")
            else:
                self.studio.say("A run is made again in Train and Runs.")

    def action_in_pairs(self) -> None:
        """Show the rows of the query in Pairs."""
        self._queries.show_in_pairs()

    def action_miss(self) -> None:
        """Send what the system missed back; asks where."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was changed.", severity="warning")
        else:
            self._queries.ask_where()

    # A new evaluation

    def action_new(self) -> None:
        """Ask what to evaluate, and start it."""
        if not self._busy():
            self.studio.push_screen(NewEvaluation(self.session.project.root, self._wanted), self._new_chosen)

    def _new_chosen(self, wanted: Wanted | None) -> None:
        if wanted is not None:
            self._wanted = wanted
            self._start("evaluate", **wanted._asdict())

    def action_go_on(self) -> None:
        """Do what is missing of the evaluation."""
        report = self._report
        if report is None or self._busy():
            return
        if report.entry.is_run:
            self.studio.say("A run goes on in Runs.")
        elif report.entry.done and not any(line.error for line in report.systems):
            self.studio.say("Nothing is missing of it.")
        else:
            self._start("evaluate_on", evaluation=report.entry.name)

    def _start(self, job: str, **arguments: Any) -> None:
        self.studio.start_job(job, "evaluation", self._evaluated, failed=self._failed, **arguments)

    def _busy(self) -> bool:
        """Whether nothing can be started; says why."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was done.", severity="warning")
        elif self.studio.job is not None:
            self.studio.say(f"Wait for “{self.studio.job.title}” to end, or cancel it with ctrl+x.", severity="warning")
        return self.session.read_only or self.studio.job is not None

    def _evaluated(self, done: Evaluated) -> None:
        self._wanted = None
        self._at_entry = self._go_to = (done.name, False)
        self._on_system = ""
        ran = done.systems - len(done.failed)
        words = f"{ran:,} of {count(done.systems, 'system')}" if done.failed else count(ran, "system")
        self.studio.remark = f"{safe_text(done.name, 40)}: {words} evaluated"
        if done.failed:
            self.studio.push_screen(Tell("Some systems could not be run", "\n\n".join(done.failed)))
        self._look()

    def _failed(self, error: StudioError) -> None:
        self.studio.push_screen(Tell.error(error))


def _fill(view: Lines, lines: Sequence[Content], place: int | None) -> None:
    """Show lines, standing on one of them; nothing is told, for nobody has moved.

    A cursor that was set here and told later would take back what the person did in between.
    """
    if [str(option.prompt) for option in view.options] == list(map(str, lines)) and view.highlighted == place:
        return
    with view.prevent(OptionList.OptionHighlighted):
        if view.option_count == len(lines):
            for at, line in enumerate(lines):
                view.replace_option_prompt_at_index(at, line)
            view.highlighted = place
        else:
            view.fill(lines, place)


def _key(entry: Entry) -> tuple[str, bool]:
    return entry.name, entry.is_run
