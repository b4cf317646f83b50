"""The tab of hard negatives: what each margin yields, why candidates were rejected, examples, and mining."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static

from studio.errors import Cancelled, StudioError
from studio.tui.candidate_drawing import share
from studio.tui.cluster_drawing import Lines, count
from studio.tui.dialogs import Confirm, Tell
from studio.tui.safe import safe, safe_lines, safe_text

if TYPE_CHECKING:
    from studio.engine.jobs import MinedNegatives
    from studio.mining.plan import MiningExample, MiningPlan, YieldLine
    from studio.tui.app import StudioApp
    from studio.view.mining import MiningAnswer

_DEBOUNCE = 0.06
MARGINS: tuple[float | None, ...] = (None, 0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Relative margins to step through; None: no rule of margin."""
MINERS = ("dense", "bm25", "mixed")
FORMS = ("triplet", "n-tuple", "scored")
"""What a line of the data holds (`studio.mining.mined.Form`)."""
_MOST_NEGATIVES = 100
CHOSEN = "chosen"
REASONS = {
    CHOSEN: "taken as hard negatives",
    "own_positive": "the query's own positive",
    "query_itself": "the query's own text",
    "evaluation": "only for evaluation",
    "also_answers": "judged: also answers",
    "partly": "judged: partly",
    "answer_group": "of its answer group",
    "near_duplicate": "like its own positive",
    "near_query": "answers a like query",
    "same_source": "from the same document",
    "undecided": "may also answer: not judged",
    "relative_margin": "above the margin",
    "absolute_margin": "above the absolute margin",
    "max_score": "above the highest score",
    "min_score": "below the lowest score",
    "skipped": "among the first, skipped",
    "deeper": "deeper than asked",
    "not_read": "not read by the cross-encoder",
    "cross_encoder": "good to the cross-encoder",
    "not_drawn": "fit, but others were taken",
}
"""Reason (`mining.settings.Reason`, and `chosen`) → in a few words."""


class MiningTab(Vertical):
    """Settings and yield above; below, why candidates were rejected at the left and examples at the right."""

    DEFAULT_CSS = """
    MiningTab {
        #mining-settings, #mining-yield, #mining-curve, #mining-notes { height: auto; padding: 0 1; }
        #mining-settings { background: $surface; }
        #mining-notes { text-style: italic; max-height: 3; }
        #mining-notice { height: 1fr; padding: 1 2; display: none; }
        #mining-found { height: 1fr; }
        #mining-panes { height: 1fr; border-top: hkey $panel; }
        #rejections { width: 2fr; min-width: 38; max-width: 50; height: 1fr; }
        #examples { width: 3fr; height: 1fr; padding: 0 1; border-left: vkey $panel; }
        #example { height: auto; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._changes: dict[str, Any] = {}
        """Settings chosen here, over those of studio.toml."""
        self._answer: MiningAnswer | None = None
        self._answers: tuple[Any, ...] = ()
        """What the answer on screen was asked with."""
        self._reason = CHOSEN
        self._form = FORMS[0]

    def compose(self) -> ComposeResult:
        """The settings, then what they yield."""
        yield Static(id="mining-settings", markup=False)
        yield Static(id="mining-notice", markup=False)
        with Vertical(id="mining-found"):
            yield Static(id="mining-yield", markup=False)
            yield Static(id="mining-curve", markup=False)
            yield Static(id="mining-notes", markup=False)
            with Horizontal(id="mining-panes"):
                yield Lines(id="rejections", markup=False)
                with VerticalScroll(id="examples", can_focus=True):
                    yield Static(id="example", markup=False)

    @property
    def _studio(self) -> StudioApp:
        return cast("StudioApp", self.app)

    @property
    def _plan(self) -> MiningPlan | None:
        return self._answer.plan if self._answer else None

    # Asking

    @work(exclusive=True, group="mining", description="plan the mining")
    async def load(self, wait: float = 0.0) -> None:
        """Ask what mining would take, unless that is on screen."""
        session = self._studio.session
        if session is None:
            return
        if self._answers and self._answers[0] != id(session):
            self._changes, self._answer = {}, None
        wanted = (id(session), session.version, *sorted(self._changes.items(), key=str))
        if wanted == self._answers:
            return
        if self._answer is None:
            self._tell("Looking at what was retrieved…")
        try:
            await asyncio.sleep(wait)
            answer = await self._studio.ask("mining_plan", slot="mining_plan", changes=dict(self._changes))
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._answer, self._answers = None, ()
            self._tell(f"What mining would take cannot be said.\n\n{error}")
            return
        self._answer, self._answers = answer, wanted
        self._draw()

    # Drawing

    def _tell(self, words: str) -> None:
        notice = self.query_one("#mining-notice", Static)
        notice.display, self.query_one("#mining-found").display = bool(words), not words
        notice.update(safe_lines(words))

    def _draw(self) -> None:
        answer, plan = self._answer, self._plan
        assert answer is not None
        self.query_one("#mining-settings", Static).update(settings_line(dict(answer.settings), self._form))
        if plan is None:
            self._tell(self._unretrieved(answer))
            return
        self._tell("")
        words = Content.assemble((count(plan.negatives, "hard negative"), "bold"), f": {yield_words(plan)} · m: mine")
        self.query_one("#mining-yield", Static).update(words)
        self.query_one("#mining-curve", Static).update(self._curve(plan))
        notes = self.query_one("#mining-notes", Static)
        notes.display = bool(plan.notes)
        notes.update(safe(" · ".join(plan.notes), 400))
        names = [name for name, _ in self._counted]
        if self._reason not in names:
            self._reason = CHOSEN
        width = max(len(f"{number:,}") for _, number in self._counted)
        lines = [reason_line(name, number, width) for name, number in self._counted]
        self.query_one("#rejections", Lines).fill(lines, names.index(self._reason))
        self._draw_examples()

    @property
    def _counted(self) -> list[tuple[str, int]]:
        """Name and count of what became of the candidates, those taken first."""
        plan = self._plan
        return [(CHOSEN, plan.negatives), *plan.reasons] if plan else []

    def _curve(self, plan: MiningPlan) -> Content:
        """The yield by margin: one bar each, the chosen one marked."""
        room = max(10, min(60, self.size.width - 36))
        names = f"{f'█ all {plan.wanted}':>9} {'▒ some':>7} {'· none':>7}"
        legend = Content.styled("margin".ljust(9 + room) + names, "dim")
        lines = list(plan.curve)
        if self.screen.has_class("-short"):
            # The chosen one and those around it.
            at = next((at for at, line in enumerate(lines) if line.chosen), 0)
            first = max(0, min(at - 2, len(lines) - 5))
            lines = lines[first : first + 5]
        return Content("\n").join([legend, *(curve_line(line, plan.queries, room) for line in lines)])

    def _unretrieved(self, answer: MiningAnswer) -> str:
        return (
            "Hard negatives are passages that stand near a query and do not answer it: training on them teaches most. "
            "Here you see how many queries get enough of them at each margin, why every other candidate was rejected, "
            "and examples, before anything is written. What you judged in the queue is heeded.\n\n"
            f"Nothing can be said yet: {answer.unknown}.\n\n"
            "r retrieves candidates. Texts that are embedded already are not embedded again."
        )

    @on(OptionList.OptionHighlighted, "#rejections")
    def _reason_chosen(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._counted):
            self._reason = self._counted[event.option_index][0]
            self._draw_examples()

    def _draw_examples(self) -> None:
        found = self._examples
        lines = [line for example in found for line in (*example_lines(example), Content(""))]
        empty = [Content.styled("no example", "dim")]
        self.query_one("#example", Static).update(Content("\n").join(lines or empty))
        self.query_one("#examples").scroll_home(animate=False)

    @property
    def _examples(self) -> list[MiningExample]:
        plan = self._plan
        return [example for example in plan.examples if example.reason == self._reason] if plan else []

    @on(OptionList.OptionSelected, "#rejections")
    def full(self) -> None:
        """Show the examples alone."""
        if found := self._examples:
            lines = [line for example in found for line in (*example_lines(example), Content(""))]
            self.app.push_screen(Tell(REASONS.get(self._reason, self._reason), Content("\n").join(lines)))

    # Choosing

    def _now(self, name: str) -> Any:
        """The value of a setting as it is shown."""
        if name in self._changes:
            value = self._changes[name]
            return None if value == "none" else value
        return dict(self._answer.settings).get(name) if self._answer else None

    def _change(self, name: str, value: Any) -> None:
        if self._answer is None:
            return
        self._changes[name] = value
        shown = {**dict(self._answer.settings), name: None if value == "none" else value}
        self.query_one("#mining-settings", Static).update(settings_line(shown, self._form))
        self.load(_DEBOUNCE)

    def move_margin(self, by: int) -> None:
        """Take the next margin of the row."""
        now = self._now("relative_margin")
        size = -1.0 if now is None else float(now)
        sizes = [-1.0 if margin is None else margin for margin in MARGINS]
        beyond = [at for at, other in enumerate(sizes) if (other > size if by > 0 else other < size)]
        if beyond:
            margin = MARGINS[beyond[0] if by > 0 else beyond[-1]]
            self._change("relative_margin", "none" if margin is None else margin)

    def next_miner(self) -> None:
        """Take the next miner."""
        now = self._now("miners")
        if now in MINERS:
            self._change("miners", MINERS[(MINERS.index(now) + 1) % len(MINERS)])

    def more_negatives(self, by: int) -> None:
        """Ask for more negatives a query, or fewer."""
        now = int(self._now("negatives") or 1)
        wanted = min(max(now + by, 1), _MOST_NEGATIVES)
        if wanted != now:
            self._change("negatives", wanted)

    def next_form(self) -> None:
        """Take the next form of what is written."""
        self._form = FORMS[(FORMS.index(self._form) + 1) % len(FORMS)]
        if self._answer is not None:
            self._draw()

    # Working

    def retrieve(self) -> None:
        """Retrieve candidates, and write nothing."""
        self._studio.start_job("mine", "retrieve candidates", self._retrieved, changes_to=dict(self._changes))

    def _retrieved(self, _: Any) -> None:
        self._answers = ()
        self.load()

    @work(exclusive=True, group="ask", description="mine hard negatives")
    async def mine(self) -> None:
        """Mine after a question that says how many, and where to."""
        session, plan, answer, form = self._studio.session, self._plan, self._answer, self._form
        if session is None or answer is None or plan is None or not plan.negatives:
            self._studio.say("No candidate is left to mine." if plan else "r retrieves candidates first.")
            return
        out = await asyncio.to_thread(_place, session.project.root.absolute(), dict(answer.settings), form)
        there = await asyncio.to_thread(out.exists)
        detail = [
            yield_words(plan) + f", as {form}.",
            *(["What was mined there before is replaced whole."] if there else []),
            "Your rows and decisions stay as they are.",
        ]
        question = f"Write {count(plan.negatives, 'hard negative')} to {out}?"
        if await self.app.push_screen_wait(Confirm(question, "\n".join(detail), yes="Mine", no="Leave")):
            chosen = dict(self._changes)
            self._studio.start_job(
                "mine", "mine hard negatives", self._mined, changes_to=chosen, out=str(out), form=form
            )

    def _mined(self, mined: MinedNegatives) -> None:
        self._studio.remark = f"mined to {safe_text(str(mined.path), 60)}"
        self._studio.say(f"{count(mined.negatives, 'hard negative')} written to {mined.path}")
        self._retrieved(mined)


def _place(root: Path, settings: dict[str, Any], form: str) -> Path:
    """Where mined negatives go. Slow the first time: call it in a thread."""
    from studio.mining.mined import Form, default_place
    from studio.mining.settings import MiningSettings

    return default_place(root, MiningSettings.model_validate(settings), Form(form))


def settings_line(settings: dict[str, Any], form: str) -> Content:
    """The settings that mining uses, with the keys that change some of them."""
    margin = settings.get("relative_margin")
    parts = [
        f"miner {settings.get('miners')} (b)",
        f"{settings.get('negatives')} a query (+ -)",
        f"margin {'none' if margin is None else share(margin)} ([ ])",
        f"skip {settings.get('skip')}, to {settings.get('deepest')}",
        f"{settings.get('sampling')}"
        + (f", seed {settings.get('seed')}" if settings.get("sampling") == "random" else ""),
    ]
    parts.append(f"as {form} (F)")
    for name in ("absolute_margin", "max_score", "min_score"):
        if settings.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} {settings[name]}")
    if settings.get("cross_encoder"):
        parts.append(f"cross-encoder {safe_text(str(settings['cross_encoder']), 30)}")
    if settings.get("same_source") == "allow":
        parts.append("same document allowed")
    return safe(" · ".join(parts))


def yield_words(plan: MiningPlan) -> str:
    """How many queries get how many negatives."""
    return f"{plan.enough:,} of {plan.queries:,} queries get all {plan.wanted:,}, {plan.some:,} at least one"


def curve_line(line: YieldLine, queries: int, room: int) -> Content:
    """One margin: a bar of the queries with enough negatives, with some, with none, and their numbers."""
    few, none = line.some - line.enough, queries - line.some
    cells = [round(room * number / max(1, queries)) for number in (line.enough, line.enough + few)]
    bar = "█" * cells[0] + "▒" * (cells[1] - cells[0]) + "·" * (room - cells[1])
    name = "none" if line.margin is None else share(line.margin)
    sign = "▶" if line.chosen else " "
    style = "bold" if line.chosen else ""
    return Content.assemble(
        (f"{sign}{name:>7} ", style), bar, (f"{line.enough:>9,} {few:>7,} {none:>7,}", style),
    )  # fmt: skip


def reason_line(name: str, number: int, width: int) -> Content:
    """One thing that became of candidates, and of how many."""
    words = REASONS.get(name, name.replace("_", " "))
    return Content.assemble(("✓ " if name == CHOSEN else "  "), (f"{number:>{width},} ", "bold"), safe(words, 60))


def example_lines(example: MiningExample) -> Iterator[Content]:
    """A query, its own positive, and the candidate, each with what it scores."""
    judged = f" · judged {safe_text(example.judged.replace('_', ' '), 20)}" if example.judged else ""
    facts = f"{example.margin * 100:+.1f} % · {example.score:.3f} to {example.own:.3f}"
    yield Content.assemble(("query      ", "bold"), safe(example.query))
    yield Content.assemble(("positive   ", "bold"), safe(example.positive))
    yield Content.assemble(("candidate  ", "bold"), safe(example.passage))
    yield safe(f"           {facts} · {example.miner} rank {example.rank:,}{judged}").stylize("dim")
