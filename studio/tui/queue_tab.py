"""The tab of the queue: the gauge, the candidates, one of them with its texts, and what judges say of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from studio.errors import Cancelled, StudioError
from studio.project.verdicts import AMBIGUOUS_AFTER, Drawn, Judged, State, Verdict
from studio.tui.candidate_drawing import (
    LIKE,
    VERDICT_WORDS,
    CandidateView,
    amount,
    candidate_line,
    empty_words,
    gauge_lines,
    in_full,
    judge_name,
    size_words,
    summary_line,
)
from studio.tui.cluster_drawing import Lines, count
from studio.tui.dialogs import AskText, Tell
from studio.tui.diff_view import Compared
from studio.tui.safe import safe, safe_lines, safe_text
from studio.view.session import PERSON

if TYPE_CHECKING:
    from studio.engine.jobs import Searched
    from studio.tui.app import StudioApp
    from studio.view.judging import CandidateDetail, CandidateHead, ExposureAnswer, QueueAnswer, Show
    from studio.view.session import Session

DEBOUNCE = 0.06
"""Seconds that a held key is waited for before the engine is asked."""
_ROOMY = 36
"""Lines of a screen from which there is room for more than must be said."""
_LARGEST_BATCH = 1 << 20
_MOST_DEVICES = 1 << 12
_JUDGE_LETTERS = 40
_WAITING = (State.UNDECIDED.value, State.DISPUTED.value)
_Key = tuple[str, str]


class _Asked(NamedTuple):
    """What the list on screen was asked with: another one is asked for when any of it changes."""

    session: int
    version: int
    order: Drawn
    show: Show
    judge: str


class QueueTab(Vertical):
    """The list at the left, the candidate it stands on at the right.

    `which`: the lines shown. `order`: theirs. `judge`: the actor who judges.
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.which: Show = "waiting"
        self.order: Drawn = "damage"
        self.judge = PERSON
        self._batch, self._devices = 128, 1
        self._found: QueueAnswer | None = None
        self._gauge: ExposureAnswer | None = None
        self._detail: CandidateDetail | None = None
        self._compared: Compared | None = None
        self._open_key: _Key | None = None
        """The candidate whose texts are on screen."""
        self._at: tuple[int, _Key] = (0, ("", ""))
        """Place and key of the candidate that the list stands on."""
        self._said: dict[_Key, str] = {}
        """Verdicts given since the engine was asked last."""
        self._given: list[_Key] = []
        """What was judged here, the latest last: undo goes back there."""
        self._asked: _Asked | None = None

    def compose(self) -> ComposeResult:
        """What is known in numbers above, list and candidate below."""
        yield Static(id="gauge", markup=False)
        yield Static(id="tally", markup=False)
        yield Static(id="fn-note", markup=False)
        yield Static(id="fn-notice", markup=False)
        with Vertical(id="fn-panes"):
            with Vertical(id="fn-list"):
                yield Static(id="fn-list-title", markup=False)
                yield Lines(id="candidates", markup=False)
            yield CandidateView(id="candidate")

    def on_resize(self, event: events.Resize) -> None:
        """Say as much as there is room for."""
        self._draw_numbers()

    @property
    def _studio(self) -> StudioApp:
        return cast("StudioApp", self.app)

    @property
    def _session(self) -> Session:
        session = self._studio.session
        assert session is not None
        return session

    def changed(self) -> None:
        """Load anew what depends on decisions and evidence; what is being written is shown already."""
        if self._asked is not None and self._asked.session != id(self._session):
            self.judge, self._said, self._given = PERSON, {}, []
            self._found = self._gauge = self._detail = self._open_key = None
        if not self._studio.saving:
            self.load()

    # Drawing

    def _draw_numbers(self) -> None:
        """Show the gauge, the tally of judgements, and what to know of the search."""
        narrow, roomy = (
            self.screen.has_class("-narrow"),
            self.screen.size.width >= 100 and self.screen.size.height >= _ROOMY,
        )
        gauge, tally, note = (self.query_one(name, Static) for name in ("#gauge", "#tally", "#fn-note"))
        words = gauge_lines(self._gauge, self.size.width - 2, table=roomy) if self._gauge else Content("counting…")
        gauge.update(words)
        found = self._found
        said = found.summary if found else None
        tally.display = said is not None and said.judged > 0
        if said is not None:
            tally.update(summary_line(said, narrow=narrow))
        worth = " ".join(found.notes) if found is not None and roomy else ""
        if found is not None and found.stale:
            worth = "! rows changed since the search; r searches again"
        note.display = bool(worth)
        note.update(safe(worth, 300))

    def draw_notice(self) -> None:
        """Show a sentence in place of list and candidate where there is none."""
        found = self._found
        words = ""
        if self._studio.job is not None and self._studio.job.name == "false_negatives" and not (found and found.heads):
            words = "Looking for false negatives. The line below says how far it is; ctrl+x stops it."
        elif found is None:
            words = "Looking at what was found and judged…"
        elif not found.heads:
            words = empty_words(found, self.which, self.judge, self._session.project.settings)
        self._tell(words)

    def _tell(self, words: str) -> None:
        notice = self.query_one("#fn-notice", Static)
        notice.display, self.query_one("#fn-panes").display = bool(words), not words
        notice.update(safe_lines(words))

    # The queue

    @work(exclusive=True, group="queue", description="load the queue")
    async def load(self, wait: float = 0.0) -> None:
        """Ask for the list and the gauge, unless they are those on screen."""
        session = self._session
        wanted = _Asked(id(session), session.version, self.order, self.which, self.judge)
        if wanted == self._asked:
            return
        self.draw_notice()
        self._draw_numbers()
        try:
            await asyncio.sleep(wait)
            self._found = await self._studio.ask(
                "fn_queue", slot="fn_queue", order=self.order, show=self.which, judge=self.judge
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._asked, self._found, self._detail = None, None, None
            self._tell(f"The queue cannot be shown.\n\n{error}\n\nr searches anew.")
            return
        self._asked = wanted
        self._draw_list()
        self._measure()

    @work(exclusive=True, group="exposure", description="count what a run meets")
    async def _measure(self, wait: float = 0.0) -> None:
        """Ask what a run with this batch meets."""
        try:
            await asyncio.sleep(wait)
            self._gauge = await self._studio.ask(
                "exposure", slot="exposure", batch=self._batch, devices=self._devices, gather=self._devices > 1
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.query_one("#gauge", Static).update(safe(f"What a run meets cannot be counted: {error.what}"))
            return
        self._draw_numbers()

    def _draw_list(self) -> None:
        """Show the list, standing where it stood, or on what was just undone."""
        found = self._found
        assert found is not None
        keys = [_key(head) for head in found.heads]
        place, key = self._at
        if not self._studio.saving:
            self._said.clear()
            unsaid = {_key(head) for head in found.heads if not head.mine}
            while self._given and self._given[-1] in unsaid:
                key = self._given.pop()
        place = keys.index(key) if key in keys else max(0, min(place, len(keys) - 1))
        self.draw_notice()
        self._draw_numbers()
        self.query_one("#candidates", Lines).fill([self._line(head) for head in found.heads], place)
        if not keys:
            self._detail = None
        part = f", first {len(keys):,} shown" if len(keys) < self._listed(found) else ""
        how = "by chance, for precision · " if self.order == "sample" else ""
        sure = f" · {found.certain:,} certain" if found.certain else ""
        words = f"{how}{found.waiting:,} waiting of {found.total:,}{part}{sure}"
        self.query_one("#fn-list-title", Static).update(safe(words))

    def _listed(self, found: QueueAnswer) -> int:
        """How many lines there are under this filter."""
        judged = found.summary.judged if found.summary else 0
        return {"waiting": found.waiting, "all": found.total, "judged": judged}[self.which]

    def _line(self, head: CandidateHead) -> Content:
        return candidate_line(head, self._said.get(_key(head), ""), blind=self.judge != PERSON and not head.mine)

    @on(OptionList.OptionHighlighted, "#candidates")
    def _chosen(self, event: OptionList.OptionHighlighted) -> None:
        if self._found is not None and event.option_index < len(self._found.heads):
            head = self._found.heads[event.option_index]
            self._at = (event.option_index, _key(head))
            self._open(head)

    @work(exclusive=True, group="candidate", description="open a candidate")
    async def _open(self, head: CandidateHead) -> None:
        view = self.query_one(CandidateView)
        try:
            await asyncio.sleep(DEBOUNCE if self._detail else 0)
            detail: CandidateDetail = await self._studio.ask(
                "fn_candidate", slot="fn_candidate", query_id=head.query_id, passage_id=head.passage_id
            )
            compared = None
            if detail.likeness is not None and detail.likeness >= LIKE:
                titles, texts = ("its own positive", "the candidate"), (detail.own, detail.passage)
                compared = await asyncio.to_thread(Compared.of, titles, texts, ())
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._detail = self._open_key = None
            view.clear(f"This candidate cannot be shown. {error}")
            return
        if self._open_key != _key(head):
            view.scroll_home(animate=False)
        self._detail, self._compared, self._open_key = detail, compared, _key(head)
        view.show(detail, compared, self.judge, self._often(detail))

    def _often(self, detail: CandidateDetail) -> str:
        """How often query and candidate meet in the batches of the gauge."""
        gauge = self._gauge
        pairs = f"{count(detail.meetings, 'pair')} of rows"
        if gauge is None or gauge.rows < 2:
            return f"the two can meet in {pairs}"
        others = min(gauge.batch * (gauge.devices if gauge.gather else 1), gauge.rows) - 1
        often = amount(detail.meetings * others / (gauge.rows - 1))
        return f"the two meet {often} times an epoch at {size_words(gauge)} ({pairs})"

    # Judging

    def verdict(self, verdict: str) -> None:
        """Say what the candidate on screen is, and go on."""
        detail = self._detail
        if detail is None or not (self._found and self._found.heads):
            return
        key = self._at[1]
        if self._open_key != key:
            # A verdict is only ever about texts that were shown.
            self._studio.remark = "the texts of this candidate are not shown yet"
            self._studio.job_signal.publish(None)
            return
        self._said[key] = verdict
        self._given.append(key)
        self._studio.judge(
            *key,
            Verdict(verdict),
            margin=detail.margin,
            drawn=self.order,
            actor=self.judge,
            said=f"{VERDICT_WORDS[verdict]}: row {detail.positions[0] + 1:,} and the passage of row "
            f"{detail.positions[2] + 1:,}",
            done=self._judged,
        )
        self._go_on()

    def _judged(self, judged: Judged) -> None:
        if judged.ambiguous:
            self._studio.say(
                f"More than {AMBIGUOUS_AFTER} passages also answer this query: it is tagged as ambiguous. It may ask "
                "for nothing in particular; Pairs can edit or drop it."
            )

    def _go_on(self) -> None:
        """Mark the line, and go to the next one that waits, around the end if need be."""
        assert self._found is not None
        heads, (place, _) = self._found.heads, self._at
        lines = self.query_one("#candidates", Lines)
        lines.replace_option_prompt_at_index(place, self._line(heads[place]))
        for distance in range(1, len(heads)):
            at = (place + distance) % len(heads)
            if self._waits(heads[at]):
                lines.highlighted = at
                return
        self._studio.say("Nothing else waits in this list.")

    def _waits(self, head: CandidateHead) -> bool:
        if head.certain or _key(head) in self._said:
            return False
        return not head.mine if self.judge != PERSON else head.state in _WAITING

    def ask_judge(self) -> None:
        """Ask who judges."""
        said = self._found.summary if self._found else None
        known = [judge_name(judge) for judge, _ in said.judges] if said else []
        hint = "A named judge does not see what others said before judging. “person” is nobody in particular."
        self.app.push_screen(AskText("Who judges?", judge_name(self.judge), hint, known), self._judge_chosen)

    def _judge_chosen(self, answer: str | None) -> None:
        if answer is None:
            return
        name = safe_text(answer.strip(), _JUDGE_LETTERS)
        self.judge = f"{PERSON}:{name}" if name and name != PERSON else PERSON
        self._given.clear()
        # The screen shows who judges, and has this load.
        self._studio.changed_signal.publish(None)

    # Choosing and doing

    def change_batch(self, by: int) -> None:
        """Halve or double the batch."""
        batch = min(max(self._batch * 2 if by > 0 else self._batch // 2, 2), _LARGEST_BATCH)
        if batch != self._batch:
            self._batch = batch
            self._measure(DEBOUNCE)

    def change_devices(self, by: int) -> None:
        """Halve or double the devices."""
        devices = min(max(self._devices * 2 if by > 0 else self._devices // 2, 1), _MOST_DEVICES)
        if devices != self._devices:
            self._devices = devices
            self._measure(DEBOUNCE)

    def search(self) -> None:
        """Look for false negatives."""
        self._studio.start_job("false_negatives", "false negatives", self._searched, changes=True)
        self.draw_notice()

    def _searched(self, searched: Searched) -> None:
        found = int(searched.stats.get("candidates", 0))
        queries = int(searched.stats.get("queries_with_candidates", 0))
        self._studio.remark = f"false negatives: {count(found, 'candidate')} of {count(queries, 'query', 'queries')}"

    @on(OptionList.OptionSelected, "#candidates")
    def full(self) -> None:
        """Show the texts in full."""
        if (detail := self._detail) is not None:
            title = f"row {detail.positions[0] + 1:,} and the passage of row {detail.positions[2] + 1:,}"
            self.app.push_screen(Tell(title, in_full(detail, self._compared, self.judge, self._often(detail))))

    def show_rows(self) -> None:
        """Show the rows of query, own positive and candidate in Pairs."""
        if (detail := self._detail) is not None:
            positions = sorted(set(detail.positions))
            words = ", ".join(f"{position + 1:,}" for position in positions)
            self._studio.show_rows(positions, f"a candidate, its query and its own positive: rows {words}")


def _key(head: CandidateHead) -> _Key:
    return head.query_id, head.passage_id
