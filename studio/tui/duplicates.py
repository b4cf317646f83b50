"""The Duplicates panel: clusters of near-equal texts, what differs in them, the threshold, and decisions about them."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import polars as pl
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from studio.engine.jobs import Accepted
from studio.errors import Cancelled, StudioError, UsageError
from studio.project.ledger import Action
from studio.project.project import SETTINGS_FILE, Project
from studio.project.settings import ProjectSettings, validated, write_settings
from studio.text.normalise import Level, normalised
from studio.tui.cluster_drawing import (
    Lines,
    Pick,
    cluster_line,
    count,
    facts_of,
    head_line,
    member_line,
    proposed_words,
    quoted,
)
from studio.tui.command import Command, bindings
from studio.tui.dialogs import Confirm, Tell
from studio.tui.diff_view import Compared, DiffView
from studio.tui.panel import PanelScreen
from studio.tui.safe import safe, safe_lines, safe_text
from studio.view.session import Session, Shown, Step

if TYPE_CHECKING:
    from studio.project.rows import Row
    from studio.view.clusters import ClusterDetail, ClusterHead, Clusters, Member, ThresholdCounts
    from studio.view.threshold import Proposal

SHOWN_MOST = 2_000
"""Clusters in the list: a list of more opens slowly, and `f` or the threshold finds what matters among them."""
_DEBOUNCE = 0.06
"""Seconds that a held key is waited for before the engine is asked."""
_CHECKS = {"passage": "near_duplicates", "query": "near_queries"}
_TEXTS = {"passage": "passages", "query": "queries"}
_BANDS = {"all": "All", "auto": "Auto", "review": "Review"}

DUPLICATES = (
    Command("duplicates.accept", "a", "accept", "Accept", "Do with this cluster what the rule would; a held one asks."),
    Command("duplicates.different", "x", "different", "Different", "These say different things: keep all of them."),
    Command(
        "duplicates.keeper", "m", "make_keeper", "Keeper", "Let the selected row stand for the others.", footer=False
    ),
    Command(
        "duplicates.accept_all", "A", "accept_all", "All auto", "Accept every cluster of the auto band in one step."
    ),
    Command("duplicates.next", "n", "undecided(1)", "Next", "To the next cluster that is not decided."),
    Command(
        "duplicates.previous", "N", "undecided(-1)", "Previous", "To the one before that is not decided.", footer=False
    ),
    Command(
        "duplicates.lower", "left_square_bracket", "threshold(-1)", "Lower", "Threshold down by 0.01.", footer=False
    ),
    Command(
        "duplicates.higher", "right_square_bracket", "threshold(1)", "Higher", "Threshold up by 0.01.", footer=False
    ),
    Command(
        "duplicates.much_lower", "left_curly_bracket", "threshold(-5)", "Lower", "Threshold down by 0.05.", footer=False
    ),
    Command(
        "duplicates.much_higher", "right_curly_bracket", "threshold(5)", "Higher", "Threshold up by 0.05.", footer=False
    ),
    Command(
        "duplicates.save_threshold",
        "S",
        "save_threshold",
        "Save threshold",
        "Keep this threshold for the project.",
        footer=False,
    ),
    Command(
        "duplicates.band",
        "f",
        "next_band",
        "Filter",
        "All clusters, those of the auto band, those held for review.",
        footer=False,
    ),
    Command(
        "duplicates.role", "t", "other_role", "Texts", "Duplicates among passages, or among queries.", footer=False
    ),
    Command(
        "duplicates.show_rows",
        "p",
        "show_rows",
        "In Pairs",
        "Show these rows in Pairs; enter on a row does the same.",
        footer=False,
    ),
    Command(
        "duplicates.full",
        "v,enter",
        "full",
        "In full",
        "Show the two texts in full with all differences.",
        footer=False,
    ),
    Command("duplicates.left", "left,h", "pane(-1)", "Left", "To the list of clusters.", footer=False),
    Command(
        "duplicates.right",
        "right,l",
        "pane(1)",
        "Right",
        "To the rows of the cluster, then to the texts.",
        footer=False,
    ),
    Command("duplicates.down", "j", "move('cursor_down')", "Down", "One line down.", footer=False),
    Command("duplicates.up", "k", "move('cursor_up')", "Up", "One line up.", footer=False),
    Command("duplicates.first", "g", "move('first')", "First", "To the first line.", footer=False),
    Command("duplicates.last", "G", "move('last')", "Last", "To the last line.", footer=False),
)


class Judging(NamedTuple):
    """The settings of a near check that say how near is near."""

    threshold: float
    review: float
    floor: float

    @classmethod
    def of(cls, settings: ProjectSettings, role: str) -> Judging:
        """What the project says, else what the check itself has. Slow the first time: call it in a thread."""
        from studio.checks.nearness import NearConfig

        table = settings.checks.get(_CHECKS[role], {})
        return cls(*(float(table.get(name, NearConfig.model_fields[name].default)) for name in cls._fields))


@dataclass(frozen=True)
class Text:
    """A member of a cluster with all rows that have its text, the member's own row first."""

    member: Member
    rows: tuple[Shown, ...]


@dataclass
class Joining:
    """Rows that are given another row's passage, and rows that then repeat another one, by the row that stays."""

    repointed: dict[int, list[int]] = field(default_factory=dict)
    dropped: dict[int, list[int]] = field(default_factory=dict)
    protected: int = 0
    """How many of these rows are in a protected split."""

    def steps(self, reason: str) -> list[Step]:
        """The decisions, in the order they are taken."""
        return [
            Step(action, rows, reason, keeper=keeper)
            for action, by_keeper in ((Action.REPOINT, self.repointed), (Action.DROP, self.dropped))
            for keeper, rows in by_keeper.items()
            if rows
        ]

    def words(self) -> str:
        """What it comes to."""
        moved, gone = (sum(map(len, rows.values())) for rows in (self.repointed, self.dropped))
        parts = [f"re-point {count(moved, 'query', 'queries')}"] * bool(moved)
        return " and ".join([*parts, *[f"drop {count(gone, 'row')}"] * bool(gone)]) or "nothing to change"


def joined_by_rule(members: Iterable[Member]) -> Joining:
    """Join just the rows that the rule would join."""
    found = Joining()
    by_action = {"repoint": found.repointed, "drop": found.dropped}
    for member in members:
        for would in member.would:
            if would.keeper is not None and would.action in by_action:
                by_action[would.action].setdefault(would.keeper, []).extend(would.positions)
    return found


def joined_to(keeper: Shown, texts: Sequence[Text], role: str, protected: Iterable[str]) -> Joining:
    """Join every row to one, as a person may: other passages are replaced by its own, repeated rows are dropped.

    Of queries only rows with the same passage repeat one another; the others stay.
    """
    found, shielded = Joining(), set(protected)
    keys = _keys(texts, role)
    rows = [shown for text in texts for shown in text.rows]
    first = {keys[keeper.row.position]: keeper.row.position}
    for shown in rows:
        position = shown.row.position
        standing = first.setdefault(keys[position], position)
        if standing != position:
            found.dropped.setdefault(standing, []).append(position)
        elif role == "passage" and position != keeper.row.position and shown.row.positive != keeper.row.positive:
            found.repointed.setdefault(keeper.row.position, []).append(position)
        else:
            continue
        found.protected += shown.split in shielded or keeper.split in shielded
    return found


def _keys(texts: Sequence[Text], role: str) -> dict[int, Hashable]:
    """By position what makes rows with one passage (or, of queries, one query) repeat each other."""
    rows = [shown.row for text in texts for shown in text.rows]
    other = pl.DataFrame({"text": [row.query if role == "passage" else row.positive for row in rows]})
    plain = other.select(normalised(pl.col("text"), Level.SURFACE))["text"].to_list()
    return {row.position: (text, row.negatives, row.label, row.score) for row, text in zip(rows, plain, strict=True)}


def save_threshold(session: Session, role: str, threshold: float) -> None:
    """Write the threshold to studio.toml as it is now, other settings untouched, and take it into the session.

    A `review` above the threshold comes down with it. Reads and writes files: call it in a thread.

    Raises:
        ConfigError: studio.toml is wrong, or the check cannot have this threshold.
        UnavailableError: another process writes to the project.
    """
    from studio.checks.base import configured

    project, check = session.project, _CHECKS[role]
    with project.locked():
        settings = Project.open(project.root).settings
        table = {**settings.checks.get(check, {}), "threshold": threshold}
        if Judging.of(settings, role).review > threshold:
            table["review"] = threshold
        document = settings.model_dump(mode="json", exclude_none=True)
        document["checks"] = {**document["checks"], check: table}
        path = project.root / SETTINGS_FILE
        changed = validated(document, ProjectSettings, str(path))
        configured(changed, [check])
        write_settings(path, changed)
    project.settings = changed


class DuplicatesScreen(PanelScreen):
    """Clusters at the left; the rows of one and what differs in them at the right."""

    place = "duplicates"
    COMMANDS_HERE: ClassVar[tuple[Command, ...]] = DUPLICATES
    BINDINGS = bindings(COMMANDS_HERE)
    HELP_TEXT = (
        "Passages (or queries: t) that nearly say the same stand together in clusters, the largest first.\n"
        "★ is the keeper: the text that would stand for the others. Nothing is lost: the other rows keep their query "
        "and are re-pointed to the keeper's passage; only a row that then repeats another one is dropped.\n"
        "≈ auto: so near, with nothing but wording between them, that the rule would decide alone. ? held: numbers, "
        "names or a negation differ. ~ near: some are less near than the threshold, or differ in accents. The last two "
        "need your eyes.\n"
        "[-…-] only the keeper has, {+…+} only the selected row has.\n"
        "The threshold is how near counts as the same; move it and see what it would come to. Nothing is kept of "
        "that until S saves it. Every decision is one step that u undoes."
    )
    DEFAULT_CSS = """
    DuplicatesScreen {
        #choices, #counts { height: 1; padding: 0 1; }
        #choices > * { width: auto; }
        #choices > .gap { width: 3; }
        #counts { background: $surface; }
        #notice { height: 1fr; padding: 1 2; display: none; }
        #panes { height: 1fr; layout: horizontal; }
        #list { width: 2fr; min-width: 34; }
        #list-title, #head { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        #clusters { height: 1fr; }
        #cluster { width: 3fr; border-left: vkey $panel; }
        #members { height: auto; max-height: 9; }
        #diff { height: 1fr; border-top: hkey $panel; }
    }
    DuplicatesScreen.-short #members { max-height: 5; }
    DuplicatesScreen.-narrow {
        #panes { layout: vertical; }
        #list { width: 1fr; height: 6; }
        #cluster { width: 1fr; height: 1fr; border-left: none; }
        #members { max-height: 4; }
        #choices > .gap { width: 1; }
        #diff { border-top: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._role = "passage"
        self._which = "all"
        self._threshold: float | None = None
        """None: the one the project has."""
        self._judging: Judging | None = None
        self._counts: ThresholdCounts | None = None
        self._clusters: Clusters | None = None
        self._detail: ClusterDetail | None = None
        self._at = (0, "")
        """Place and id of the cluster the list stands on."""
        self._decided_now: set[str] = set()
        """Clusters decided here since the engine was asked last."""
        self._shows: tuple[Any, ...] = ()
        """What the list on screen was asked with."""

    # Drawing

    def body(self) -> ComposeResult:
        """Choices and counts above, list and cluster below."""
        with Horizontal(id="choices"):
            yield Pick("Passages", "role('passage')", "role-passage")
            yield Pick("Queries", "role('query')", "role-query")
            yield Static(classes="gap")
            for which, word in _BANDS.items():
                yield Pick(word, f"band('{which}')", f"band-{which}")
            yield Static(classes="gap")
            yield Pick("[-]", "threshold(-1)")
            yield Static(id="threshold", markup=False)
            yield Pick("[+]", "threshold(1)")
            yield Static(id="unsaved", markup=False)
        yield Static(id="counts", markup=False)
        yield Static(id="notice", markup=False)
        with Vertical(id="panes"):
            with Vertical(id="list"):
                yield Static(id="list-title", markup=False)
                yield Lines(id="clusters", markup=False)
            with Vertical(id="cluster"):
                yield Static(id="head", markup=False)
                yield Lines(id="members", classes="short", markup=False)
                yield DiffView(id="diff")

    def on_mount(self) -> None:
        """Begin on the list."""
        self.query_one("#clusters").focus()

    def changed(self) -> None:
        """Load anew what depends on decisions and evidence; while a decision is being written, only redraw."""
        if self.studio.saving:
            self._draw_members()
        else:
            self._load()

    @work(exclusive=True, group="clusters", description="load clusters")
    async def _load(self, wait: float = 0.0) -> None:
        """Ask for the counts and the list, unless they are those on screen."""
        session = self.session
        wanted = (id(session), session.version, self._role, self._which, self._threshold)
        if wanted == self._shows:
            return
        if self._clusters is None:
            self._tell("Looking at what the checks found…")
        try:
            self._judging = await asyncio.to_thread(Judging.of, session.project.settings, self._role)
            self._draw_choices("…")
            await asyncio.sleep(wait)
            self._counts = await self.studio.ask(
                "threshold", slot="threshold", check=_CHECKS[self._role], threshold=self._shown_threshold
            )
            self._draw_choices()
            self._clusters = await self.studio.ask(
                "clusters",
                slot="clusters",
                role=self._role,
                threshold=self._threshold,
                which=self._which,
                limit=SHOWN_MOST,
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except UsageError as error:
            self._failed(f"No duplicates looked for yet. c runs the checks.\n\n{error.what}")
            return
        except StudioError as error:
            self._failed(f"The duplicates cannot be shown.\n\n{error}\n\nc runs the checks anew.")
            return
        self._shows = wanted
        self._decided_now.clear()
        self._draw_list()

    def _failed(self, text: str) -> None:
        self._shows, self._counts, self._clusters, self._detail = (), None, None, None
        self._draw_choices(" ")
        self._tell(text)

    def _tell(self, text: str) -> None:
        """Show a sentence in place of list and cluster; without one, show these."""
        notice = self.query_one("#notice", Static)
        notice.display, self.query_one("#panes").display = bool(text), not text
        notice.update(safe_lines(text))

    @property
    def _shown_threshold(self) -> float:
        if self._threshold is not None:
            return self._threshold
        return self._judging.threshold if self._judging else 1.0

    def _draw_choices(self, instead: str = "") -> None:
        """Show what is chosen, and what the threshold comes to; `instead` stands where that is not known yet."""
        for role in _CHECKS:
            self.query_one(f"#role-{role}", Pick).choose(role == self._role)
        for which in _BANDS:
            self.query_one(f"#band-{which}", Pick).choose(which == self._which)
        self.query_one("#threshold", Static).update(
            Content.assemble(" threshold ", (f"{self._shown_threshold:.2f}", "bold"), " ")
        )
        self.query_one("#unsaved", Static).update("" if self._threshold is None else " not saved: S")
        counts = self._counts
        if counts is not None and not instead:
            instead = (
                f"{count(counts.clusters, 'cluster')} joined · {count(counts.rows_removed, 'row')} removed · "
                f"{count(counts.queries_repointed, 'query', 'queries')} re-pointed · {counts.held_for_review:,} held"
            )
        self.query_one("#counts", Static).update(safe(instead))

    def _draw_list(self) -> None:
        """Show the list, standing where it stood."""
        found = self._clusters
        assert found is not None
        if not found.heads:
            self._detail = None
            self._tell(self._nothing())
            return
        self._tell("")
        ids = [head.id for head in found.heads]
        at = ids.index(self._at[1]) if self._at[1] in ids else min(self._at[0], len(ids) - 1)
        width = max(len(f"{head.rows:,}") for head in found.heads)
        self.query_one("#clusters", Lines).fill([self._line(head, width) for head in found.heads], at)
        kind = {"all": "", "auto": "auto ", "review": "review "}[self._which]
        part = f"showing the first {len(ids):,} of " if len(ids) < found.total else ""
        self.query_one("#list-title", Static).update(
            safe(f"{part}{count(found.total, f'{kind}cluster')}, largest first · {found.decided:,} decided")
        )

    def _nothing(self) -> str:
        kind = {"all": "No", "auto": "No certain", "review": "No uncertain"}[self._which]
        hint = "f: all of them. " if self._which != "all" else ""
        return (
            f"{kind} duplicates among the {_TEXTS[self._role]} at a threshold of {self._shown_threshold:.2f}.\n\n"
            f"{hint}[: a lower threshold. t: the other texts. f: another filter."
        )

    def _line(self, head: ClusterHead, width: int) -> Content:
        return cluster_line(head, width, decided=head.decided or head.id in self._decided_now)

    # The cluster

    @on(OptionList.OptionHighlighted, "#clusters")
    def _cluster_chosen(self, event: OptionList.OptionHighlighted) -> None:
        if self._clusters is not None and event.option_index < len(self._clusters.heads):
            head = self._clusters.heads[event.option_index]
            self._at = (event.option_index, head.id)
            self._open(head)

    @work(exclusive=True, group="cluster", description="open a cluster")
    async def _open(self, head: ClusterHead) -> None:
        try:
            await asyncio.sleep(_DEBOUNCE if self._detail else 0)
            detail: ClusterDetail = await self.studio.ask(
                "cluster", slot="cluster", role=self._role, id=head.id, threshold=self._threshold, which=self._which
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self._detail = None
            self.query_one("#members", Lines).fill([], None)
            self.query_one(DiffView).show(None, f"This cluster cannot be shown. {error}")
            return
        before = self._member
        self._detail = detail
        self.query_one("#head", Static).update(head_line(detail))
        positions = [member.position for member in detail.members]
        stay = (
            positions.index(before.position) if before and before.position in positions else min(1, len(positions) - 1)
        )
        self.query_one("#members", Lines).fill([self._member_line(member) for member in detail.members], stay)

    @property
    def _member(self) -> Member | None:
        """The selected member."""
        at = self.query_one("#members", Lines).highlighted
        return self._detail.members[at] if self._detail and at is not None and at < len(self._detail.members) else None

    def _member_line(self, member: Member) -> Content:
        return member_line(member, self._role, int(self.session.status[member.position]))

    def _draw_members(self) -> None:
        """Draw the members anew: their status may be another one."""
        if self._detail is not None:
            members = self.query_one("#members", Lines)
            members.fill([self._member_line(member) for member in self._detail.members], members.highlighted)

    @on(OptionList.OptionHighlighted, "#members")
    def _member_chosen(self, event: OptionList.OptionHighlighted) -> None:
        if (member := self._member) is not None and self._detail is not None:
            self._compare(self._detail, member)

    @work(exclusive=True, group="compare", description="compare two texts")
    async def _compare(self, detail: ClusterDetail, member: Member) -> None:
        self.query_one(DiffView).show(await self._compared(detail, member))

    async def _compared(self, detail: ClusterDetail, member: Member) -> Compared:
        """The keeper and a member, or, when it is the keeper that is selected, the member nearest to it."""
        keeper = detail.members[0]
        other = member if not member.is_keeper else next(iter(detail.members[1:]), keeper)
        positions = [keeper.position, other.position]
        if other is keeper:
            # One text, several rows: the one that differs in its bytes says most.
            rows = await asyncio.to_thread(self.session.rows.read, keeper.positions)
            positions[1] = next(
                (row.position for row in rows if self._text(row) != self._text(rows[0])),
                next((position for position in keeper.positions if position != keeper.position), keeper.position),
            )
        a, b = await asyncio.to_thread(self.session.rows.read, positions)
        facts = facts_of(detail, keeper, other)
        if self._role == "query":
            same = "the same passage" if a.positive == b.positive else "different passages"
            facts.append(f"they have {same}: {safe_text(a.positive, 90)}")
        titles = (f"★ row {a.position + 1:,}", f"row {b.position + 1:,}")
        return await asyncio.to_thread(Compared.of, titles, (self._text(a), self._text(b)), facts)

    def _text(self, row: Row) -> str:
        return row.positive if self._role == "passage" else row.query

    # Moving about

    @on(OptionList.OptionSelected, "#clusters")
    def _enter_cluster(self) -> None:
        self.query_one("#members").focus()

    @on(OptionList.OptionSelected, "#members")
    def _enter_member(self) -> None:
        self.action_show_rows()

    def action_pane(self, step: int) -> None:
        """Focus the pane at the left or right."""
        panes = [self.query_one(name) for name in ("#clusters", "#members", "#diff")]
        at = next((at for at, pane in enumerate(panes) if pane.has_focus), 0)
        panes[max(0, min(len(panes) - 1, at + step))].focus()

    def action_move(self, action: str) -> None:
        """Move in the list that has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{action}")()
        elif isinstance(self.focused, DiffView):
            getattr(self.focused, f"action_scroll_{_SCROLL[action]}")()

    def action_undecided(self, step: int) -> None:
        """Go to the next cluster that is not decided, around the end if need be."""
        heads = self._clusters.heads if self._clusters else ()
        for distance in range(1, len(heads) + 1):
            at = (self._at[0] + step * distance) % len(heads)
            if not heads[at].decided and heads[at].id not in self._decided_now:
                self.query_one("#clusters", Lines).highlighted = at
                return
        self.studio.say("Every cluster of this list is decided.")

    def action_band(self, which: str) -> None:
        """Show the clusters of one band, or all."""
        self._which = which
        self._ask_anew()

    def action_next_band(self) -> None:
        """Show those of the next band."""
        bands = list(_BANDS)
        self.action_band(bands[(bands.index(self._which) + 1) % len(bands)])

    def action_role(self, role: str) -> None:
        """Show duplicates among passages, or queries; each has a threshold of its own."""
        if role != self._role:
            self._role, self._threshold, self._judging = role, None, None
            self._ask_anew()

    def action_other_role(self) -> None:
        """Show the other texts."""
        self.action_role("query" if self._role == "passage" else "passage")

    def action_threshold(self, hundredths: int) -> None:
        """Move the threshold; nothing is kept of that until it is saved."""
        judging = self._judging
        if judging is None:
            return
        threshold = round(min(max(self._shown_threshold + hundredths / 100, judging.floor), 1.0), 2)
        if threshold == self._shown_threshold:
            edge = "everything under it was never recorded" if threshold < 1 else "nothing is nearer than equal"
            self.studio.say(f"The threshold stays at {threshold:.2f}: {edge}.")
            return
        self._threshold = None if threshold == judging.threshold else threshold
        self._ask_anew()

    def _ask_anew(self) -> None:
        self._draw_choices("…")
        self._load(_DEBOUNCE)

    def action_show_rows(self) -> None:
        """Show the rows of the selected member and of the keeper in Pairs."""
        self._show_rows()

    @work(exclusive=True, group="show", description="show rows in Pairs")
    async def _show_rows(self) -> None:
        member, detail = self._member, self._detail
        if member is None or detail is None:
            return
        keeper = detail.members[0]
        texts = await self._texts([keeper] if member is keeper else [keeper, member])
        positions = sorted(shown.row.position for text in texts for shown in text.rows)
        words = (
            f"rows {keeper.position + 1:,} and {member.position + 1:,}"
            if member is not keeper
            else f"row {keeper.position + 1:,}"
        )
        self.studio.show_rows(positions, f"the texts of {words}")

    @work(exclusive=True, group="show", description="show texts in full")
    async def action_full(self) -> None:
        """Show both texts in full."""
        member, detail = self._member, self._detail
        if member is not None and detail is not None:
            compared = await self._compared(detail, member)
            self.app.push_screen(Tell(f"{compared.title_a} and {compared.title_b}", compared.in_full()))

    # Deciding

    async def _texts(self, members: Sequence[Member]) -> list[Text]:
        """The members with every row they have."""
        cut = [member for member in members if member.rows > len(member.positions)]
        numbers: Any = await self.studio.ask("text_numbers", role=self._role) if cut else None
        texts = []
        for member in members:
            positions = list(member.positions)
            if member in cut:
                positions = (numbers == member.positions[0]).nonzero()[0].tolist()
            positions.sort(key=lambda position: (position != member.position, position))
            texts.append(Text(member, tuple(await asyncio.to_thread(self.session.shown, positions))))
        return texts

    def _refused(self) -> bool:
        """Whether nothing may be changed; says so."""
        if self.session.read_only:
            self.studio.say("This studio is read-only; nothing was changed.", severity="warning")
        return self.session.read_only

    def _decide(self, detail: ClusterDetail, steps: Sequence[Step], said: str) -> None:
        """Decide, and go on with the next cluster."""
        self._decided_now.add(detail.head.id)
        self.studio.decide(steps, said)
        found = self._clusters
        if found is not None:
            width = max(len(f"{head.rows:,}") for head in found.heads)
            place = next((at for at, head in enumerate(found.heads) if head.id == detail.head.id), None)
            if place is not None:
                clusters = self.query_one("#clusters", Lines)
                clusters.replace_option_prompt_at_index(place, self._line(found.heads[place], width))
                if any(not head.decided and head.id not in self._decided_now for head in found.heads):
                    self.action_undecided(1)

    @property
    def _protected(self) -> tuple[str, ...]:
        return self.session.project.settings.curation.protected_splits

    @work(exclusive=True, group="decide", description="accept a cluster")
    async def action_accept(self) -> None:
        """Do what the rule would; where it would do nothing, join all to the keeper after a question."""
        detail = self._detail
        if detail is None or self._refused():
            return
        if detail.head.decided:
            self.studio.say("This cluster is decided already: u undoes, m chooses another keeper, x keeps all apart.")
            return
        if self._too_large(detail):
            return
        by_rule = joined_by_rule(detail.members)
        if steps := by_rule.steps(f"near-duplicate {self._role}, accepted"):
            self._decide(detail, steps, f"accepted: {by_rule.words()}")
            return
        if (texts := await self._all_texts(detail)) is not None:
            await self._join(detail, texts, texts[0].rows[0], f"held {self._role} accepted")

    @work(exclusive=True, group="decide", description="make a row the keeper")
    async def action_make_keeper(self) -> None:
        """Join all to the selected member's row."""
        detail, member = self._detail, self._member
        if detail is None or member is None or self._refused():
            return
        texts = await self._all_texts(detail)
        if texts is None:
            return
        chosen = next(text for text in texts if text.member.position == member.position)
        await self._join(detail, texts, chosen.rows[0], "another keeper chosen")

    def _too_large(self, detail: ClusterDetail) -> bool:
        """Whether the cluster has more texts than are shown, so that it is not decided as one; says so."""
        too_large = len(detail.members) < detail.head.members
        if too_large:
            self.studio.say(
                f"This cluster has {detail.head.members:,} texts, too many to decide at a glance. "
                "A accepts what is certain; ] makes the clusters smaller.",
                severity="warning",
            )
        return too_large

    async def _all_texts(self, detail: ClusterDetail) -> list[Text] | None:
        """Every row of the cluster; None, and a word about it, when it is too large or its rows cannot be read."""
        if self._too_large(detail):
            return None
        try:
            return await self._texts(detail.members)
        except StudioError as error:
            self.studio.fail(error)
            return None

    async def _join(self, detail: ClusterDetail, texts: Sequence[Text], keeper: Shown, reason: str) -> None:
        """Join all rows to one; ask first where something differs or a protected split is concerned."""
        joining = joined_to(keeper, texts, self._role, self._protected)
        steps = joining.steps(reason)
        if not steps:
            self.studio.say(
                "Nothing would change: every row of this cluster has a passage of its own. x keeps them as they are."
                if self._role == "query"
                else "Nothing would change: the passages of this cluster are the same."
            )
            return
        others = [f"Held because {' and '.join(detail.head.reasons)}."] if detail.head.held else []
        others += [f"Row {edge.a + 1:,}: {quoted(edge.only_a)}. Row {edge.b + 1:,}: {quoted(edge.only_b)}."
                   for edge in detail.edges if edge.band != "auto" and (edge.only_a or edge.only_b)][:4]  # fmt: skip
        if not others and any(edge.band != "auto" for edge in detail.edges):
            others = ["They are less near than the threshold asks for."]
        if joining.protected:
            others.append(f"{count(joining.protected, 'row')} of a protected split would be changed, or give its text.")
        if others and not await self.app.push_screen_wait(
            Confirm(
                f"Let row {keeper.number:,} stand for the others: {joining.words()}?",
                "\n".join([*others, "One step; u undoes it."]),
                yes="Join them",
                no="Leave",
            )
        ):
            return
        # Kept by a person, so that no rule takes away what the others now rest on.
        kept = Step(Action.KEEP, [keeper.row.position], reason)
        self._decide(detail, [kept, *steps], f"row {keeper.number:,} stands for the others: {joining.words()}")

    @work(exclusive=True, group="decide", description="keep a cluster's rows")
    async def action_different(self) -> None:
        """Keep every row of the cluster as it is."""
        detail = self._detail
        if detail is None or self._refused():
            return
        texts = await self._all_texts(detail)
        if texts is not None:
            positions = [shown.row.position for text in texts for shown in text.rows]
            said = f"different: {count(len(positions), 'row')} kept as they are"
            self._decide(detail, [Step(Action.KEEP, positions, "not duplicates")], said)

    @work(exclusive=True, group="decide", description="accept all auto clusters")
    async def action_accept_all(self) -> None:
        """Accept the auto band of every check, as one step, after its count."""
        if self._refused():
            return
        if self._threshold is not None:
            self.studio.say(
                f"The threshold {self._threshold:.2f} is not saved: S saves it, and then A accepts.", severity="warning"
            )
            return
        try:
            proposal: Proposal = await self.studio.ask("proposal", slot="proposal")
            counts: ThresholdCounts = await self.studio.ask(
                "threshold", slot="threshold", check=_CHECKS[self._role], threshold=self._shown_threshold
            )
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.studio.fail(error)
            return
        if proposal.unchanged or not proposal.rows:
            self.studio.say("Nothing to accept: the auto band is in force already, or empty.")
            return
        if await self.app.push_screen_wait(
            Confirm(
                f"Accept all that is certain: {proposed_words(proposal, counts)}?",
                "One step; u undoes it.",
                yes="Accept",
                no="Leave",
            )
        ):
            self.studio.start_job("accept_auto", "accept the auto band", self._accepted_all, changes=True)

    def _accepted_all(self, accepted: Accepted) -> None:
        words = ", ".join(f"{step.action} {step.rows:,}" for step in accepted.steps)
        self.studio.remark = f"accepted: {words} rows · what is left touches rows no rule may change"

    @work(exclusive=True, group="decide", description="save the threshold")
    async def action_save_threshold(self) -> None:
        """Write the threshold to the project's settings and judge what was found with it."""
        threshold, role = self._threshold, self._role
        if self._refused():
            return
        if threshold is None:
            self.studio.say(f"The threshold {self._shown_threshold:.2f} is the project's already.")
            return
        if self.studio.job is not None:
            self.studio.say(f"Wait for “{self.studio.job.title}” to end, or cancel it with ctrl+x.", severity="warning")
            return
        try:
            await asyncio.to_thread(save_threshold, self.session, role, threshold)
            await self.studio.ask("refresh")
        except (Cancelled, asyncio.CancelledError):
            return
        except StudioError as error:
            self.studio.fail(error)
            return
        self._threshold = None
        self.studio.start_job("check", f"judge at {threshold:.2f}", changes=True, names=[_CHECKS[role]])


_SCROLL = {"cursor_down": "down", "cursor_up": "up", "first": "home", "last": "end"}
