"""The False negatives panel: a queue of passages that may also answer a query, to be judged; and hard negatives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import OptionList, Static

from studio.project.verdicts import Drawn
from studio.tui.candidate_drawing import judge_name
from studio.tui.cluster_drawing import Pick
from studio.tui.command import Command, bindings
from studio.tui.following import EVERY, follow
from studio.tui.mining_tab import MiningTab
from studio.tui.panel import PanelScreen
from studio.tui.queue_tab import DEBOUNCE, QueueTab
from studio.tui.safe import safe

if TYPE_CHECKING:
    from studio.view.judging import Show

_SHOWS: dict[Show, str] = {"waiting": "Waiting", "all": "All", "judged": "Judged"}
_ORDERS: dict[Drawn, str] = {"damage": "Damage", "sample": "Sample"}
_TABS = {"queue": "Queue", "hard": "Hard negatives"}
_OF_QUEUE = ("verdict", "show", "next_show", "order", "next_order", "judge", "show_rows", "devices")
_OF_HARD = ("mine", "miner", "negatives", "form")
"""Actions that only one tab has."""
_SCROLL = {"cursor_down": "down", "cursor_up": "up", "first": "home", "last": "end"}


def _of_queue(name: str, keys: str, action: str, label: str, words: str, *, footer: bool = False) -> Command:
    return Command(f"false_negatives.{name}", keys, action, label, words, footer=footer)


FALSE_NEGATIVES = (
    _of_queue("yes", "y", "verdict('also_answers')", "Also answers", "It also answers: both become one answer group.",
              footer=True),
    _of_queue("no", "n", "verdict('does_not')", "Does not", "It does not answer, and may serve as a hard negative.",
              footer=True),
    _of_queue("partly", "p", "verdict('partly')", "Partly", "It answers partly: neither a positive nor a negative.",
              footer=True),
    _of_queue("skip", "s", "verdict('skip')", "Skip", "You cannot tell; somebody else may.", footer=True),
    _of_queue("tab", "t", "next_tab", "Tab", "To the queue, or to the hard negatives.", footer=True),
    _of_queue("search", "r,f5", "search", "Search", "Look for false negatives; what was embedded is not done again."),
    _of_queue("show", "f", "next_show", "Filter", "Show what is waiting, all of it, or what is judged."),
    _of_queue("order", "o", "next_order", "Order", "The costliest first, or drawn by chance, to estimate precision."),
    _of_queue("judge", "J", "judge", "Who judges", "Say who judges, so that two of you can be compared."),
    _of_queue("full", "v,enter", "full", "In full", "Show the texts in full."),
    _of_queue("show_rows", "w", "show_rows", "In Pairs", "Show the three rows in Pairs."),
    _of_queue("read", "space", "read", "Read on", "Scroll the texts, the list keeps the focus."),
    _of_queue("lower", "left_square_bracket", "step(-1)", "Lower", "Queue: half the batch. Hard negatives: a smaller "
              "margin."),
    _of_queue("higher", "right_square_bracket", "step(1)", "Higher", "Queue: twice the batch. Hard negatives: a larger "
              "margin."),
    _of_queue("fewer_devices", "left_curly_bracket", "devices(-1)", "Fewer devices", "Half as many devices."),
    _of_queue("more_devices", "right_curly_bracket", "devices(1)", "More devices", "Twice as many devices."),
    _of_queue("mine", "m", "mine", "Mine", "Hard negatives: mine them; asks first, and says where they will be."),
    _of_queue("miner", "b", "miner", "Miner", "Hard negatives: by embeddings, by BM25, or by both."),
    _of_queue("more", "plus", "negatives(1)", "One more", "Hard negatives: one more for each query."),
    _of_queue("fewer", "minus", "negatives(-1)", "One fewer", "Hard negatives: one fewer for each query."),
    _of_queue("form", "F", "form", "Form", "Hard negatives: write triplets, n-tuples, or scored lists."),
    _of_queue("left", "left,h", "pane(-1)", "Left", "To the list."),
    _of_queue("right", "right,l", "pane(1)", "Right", "To the texts."),
    _of_queue("down", "j", "move('cursor_down')", "Down", "One line down."),
    _of_queue("up", "k", "move('cursor_up')", "Up", "One line up."),
    _of_queue("first", "g", "move('first')", "First", "To the first line."),
    _of_queue("last", "G", "move('last')", "Last", "To the last line."),
)  # fmt: skip


class FalseNegativesScreen(PanelScreen):
    """The queue at the left and a candidate's texts at the right; or the tab of hard negatives."""

    place = "false_negatives"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = FALSE_NEGATIVES
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "In training every query is pushed away from all other passages of its batch. A false negative is such a "
        "passage that also answers the query. The queue shows them, the costliest first: above the query, at the left "
        "its own positive, at the right the candidate.\n"
        "y also answers: both rows become one answer group; no pair is deleted. n does not: it may serve as a hard "
        "negative. p partly: it is left out of negatives. s skip: you cannot tell. Each is one step that u undoes, and "
        "goes on to the next that waits.\n"
        "Signs: · waits, ✓ also answers, ✗ does not, ~ partly, – skipped, ! the judges differ, = the checks are sure.\n"
        "The percent is how far the candidate scores above (+) or below (-) the query's own positive. Damage is how "
        "likely it also answers, times how often the two meet, times how hard they are pushed apart.\n"
        "The gauge says how many false negatives a batch of the next run meets and how many queries are hit by one, as "
        "the rows came and as you judged; [ and ] change the batch, { and } the devices.\n"
        "o draws by chance: only what was drawn so says how precise the queue is. J names who judges: a named judge "
        "does not see what others said before judging, and κ says how far two agree beyond chance.\n"
        "Hard negatives (t): how many queries get enough negatives at each margin, why candidates are rejected, and "
        "mining them to a folder."
    )
    DEFAULT_CSS = """
    FalseNegativesScreen {
        #fn-choices { height: 1; padding: 0 1; }
        #fn-choices > * { width: auto; }
        #fn-choices > .gap { width: 1fr; max-width: 4; min-width: 1; }
        #queue { height: 1fr; }
        #gauge, #tally, #fn-note { height: auto; max-height: 5; padding: 0 1; }
        #gauge, #tally { background: $surface; }
        #fn-note { text-style: italic; }
        #fn-notice { height: 1fr; padding: 1 2; display: none; }
        #fn-panes { height: 1fr; layout: horizontal; }
        #fn-list { width: 2fr; min-width: 36; max-width: 64; }
        #fn-list-title { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        #candidates { height: 1fr; }
        #candidate { width: 3fr; height: 1fr; border-left: vkey $panel; }
        #mining { display: none; height: 1fr; }
        &.-narrow #fn-panes { layout: vertical; }
        &.-narrow #fn-list { width: 1fr; max-width: 100%; height: 25%; min-height: 4; }
        &.-narrow #candidate { width: 1fr; border-left: none; }
        &.-narrow #fn-query { background: $panel; }
        &.-narrow #fn-texts { layout: vertical; margin: 0; }
        &.-narrow #fn-own, &.-narrow #fn-other { width: 100%; margin: 0; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._tab = "queue"

    def body(self) -> ComposeResult:
        """Choices above; below them one of the tabs."""
        with Horizontal(id="fn-choices"):
            for name, word in _TABS.items():
                yield Pick(word, f"tab('{name}')", f"tab-{name}")
            yield Static(classes="gap")
            for show, word in _SHOWS.items():
                yield Pick(word, f"show('{show}')", f"show-{show}")
            yield Static(classes="gap")
            for order, word in _ORDERS.items():
                yield Pick(word, f"order('{order}')", f"order-{order}")
            yield Static(classes="gap")
            yield Pick("", "judge", "who")
        yield QueueTab(id="queue")
        yield MiningTab(id="mining")

    @property
    def queue(self) -> QueueTab:
        """The tab of the queue."""
        return self.query_one(QueueTab)

    @property
    def mining(self) -> MiningTab:
        """The tab of hard negatives."""
        return self.query_one(MiningTab)

    def on_mount(self) -> None:
        """Begin on the list, and look again and again whether another process decided something."""
        self.query_one("#candidates").focus()
        self.set_interval(EVERY, partial(follow, self))

    def changed(self) -> None:
        """Load anew what depends on decisions and evidence."""
        self._draw_choices()
        if self._tab == "queue":
            self.queue.changed()
        elif not self.studio.saving:
            self.mining.load()

    def _job_heard(self, _: object) -> None:
        super()._job_heard(_)
        self.queue.draw_notice()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What belongs to the other tab is greyed and does nothing."""
        return None if action in (_OF_HARD if self._tab == "queue" else _OF_QUEUE) else True

    def _draw_choices(self) -> None:
        """Show what is chosen, and its tab."""
        queue, on_queue = self.queue, self._tab == "queue"
        chosen = {f"tab-{self._tab}", f"show-{queue.which}", f"order-{queue.order}"}
        for pick in self.query(Pick):
            pick.display = on_queue or str(pick.id).startswith("tab-")
            if pick.id != "who":
                pick.choose(pick.id in chosen)
        self.query_one("#who", Pick).update(safe(f"judge: {judge_name(queue.judge)}"))
        queue.display, self.mining.display = on_queue, not on_queue

    def _refused(self) -> bool:
        """Whether nothing may be changed; says so."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was changed.", severity="warning")
        return self.session.read_only

    # Both tabs

    def action_tab(self, name: str) -> None:
        """Go to a tab."""
        self._tab = name
        self.refresh_bindings()
        self.changed()
        self.query_one("#candidates" if name == "queue" else "#rejections").focus()

    def action_next_tab(self) -> None:
        """Go to the other tab."""
        self.action_tab(_next(_TABS, self._tab))

    def action_step(self, by: int) -> None:
        """Halve or double the batch; on the other tab move the margin."""
        if self._tab == "queue":
            self.queue.change_batch(by)
        else:
            self.mining.move_margin(by)

    def action_search(self) -> None:
        """Look for false negatives; on the other tab for hard negatives."""
        if not self._refused():
            (self.queue.search if self._tab == "queue" else self.mining.retrieve)()

    def action_full(self) -> None:
        """Show the texts in full."""
        (self.queue if self._tab == "queue" else self.mining).full()

    def action_read(self) -> None:
        """Scroll the texts; at their end begin again."""
        view: VerticalScroll = self._panes[1]
        if view.scroll_y >= view.max_scroll_y:
            view.scroll_home(animate=False)
        else:
            view.scroll_page_down(animate=False)

    @property
    def _panes(self) -> tuple[OptionList, VerticalScroll]:
        """The list and the texts of this tab."""
        names = ("#candidates", "#candidate") if self._tab == "queue" else ("#rejections", "#examples")
        return self.query_one(names[0], OptionList), self.query_one(names[1], VerticalScroll)

    def action_pane(self, step: int) -> None:
        """Focus the list or the texts."""
        self._panes[step > 0].focus()

    def action_move(self, action: str) -> None:
        """Move in what has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{action}")()
        elif isinstance(self.focused, VerticalScroll):
            getattr(self.focused, f"action_scroll_{_SCROLL[action]}")()

    # The queue

    def action_verdict(self, verdict: str) -> None:
        """Say what the candidate on screen is, and go on."""
        if not self._refused():
            self.queue.verdict(verdict)

    def action_judge(self) -> None:
        """Ask who judges."""
        self.queue.ask_judge()

    def action_show(self, which: Show) -> None:
        """Show what is waiting, all, or what is judged."""
        self.queue.which = which
        self._queue_anew()

    def action_next_show(self) -> None:
        """Show the next of these."""
        self.action_show(_next(_SHOWS, self.queue.which))

    def action_order(self, order: Drawn) -> None:
        """Put the costliest first, or draw by chance."""
        self.queue.order = order
        self._queue_anew()

    def action_next_order(self) -> None:
        """Take the other order."""
        self.action_order(_next(_ORDERS, self.queue.order))

    def _queue_anew(self) -> None:
        self._draw_choices()
        self.queue.load(DEBOUNCE)

    def action_devices(self, by: int) -> None:
        """Halve or double the devices."""
        self.queue.change_devices(by)

    def action_show_rows(self) -> None:
        """Show the three rows in Pairs."""
        self.queue.show_rows()

    # Hard negatives

    def action_mine(self) -> None:
        """Mine hard negatives."""
        if not self._refused():
            self.mining.mine()

    def action_miner(self) -> None:
        """Take the next miner."""
        self.mining.next_miner()

    def action_negatives(self, by: int) -> None:
        """One negative more or fewer for each query."""
        self.mining.more_negatives(by)

    def action_form(self) -> None:
        """Take the next form of what mining writes."""
        self.mining.next_form()


def _next(choices: Iterable[Any], current: Any) -> Any:
    """The choice after the current one, around the end."""
    names = list(choices)
    return names[(names.index(current) + 1) % len(names)]
