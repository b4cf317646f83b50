"""What the queue of false negatives draws: a candidate's line, its texts and why it is there, the gauge, the tally."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from studio.project.verdicts import State, Verdict
from studio.tui.cluster_drawing import count
from studio.tui.diff_view import Compared, drawn
from studio.tui.safe import safe, safe_lines, safe_text
from studio.view.session import PERSON

if TYPE_CHECKING:
    from studio.mining.exposing import Gauge
    from studio.mining.summary import JudgingSummary
    from studio.project.settings import ProjectSettings
    from studio.view.judging import CandidateDetail, CandidateHead, ExposureAnswer, QueueAnswer

LIKE = 0.6
"""Likeness from which two passages are shown as a comparison: below it nearly every word would be marked."""
STACKED_BELOW = 100
"""Columns of a screen under which the texts do not stand beside each other."""
_SHOWN = 4_000
"""Characters of each text that are drawn."""
_WORD = re.compile(r"\w+")
_SHORTEST = 4
"""Letters of a word that is worth pointing at; a number is at any length."""

VERDICT_WORDS = {
    Verdict.ALSO_ANSWERS.value: "also answers",
    Verdict.DOES_NOT.value: "does not answer",
    Verdict.PARTLY.value: "answers partly",
    Verdict.SKIP.value: "skipped",
}
_MARKS = {
    State.UNDECIDED.value: "·",
    State.ALSO_ANSWERS.value: "✓",
    State.DOES_NOT.value: "✗",
    State.PARTLY.value: "~",
    State.SKIPPED.value: "–",
    State.DISPUTED.value: "!",
    Verdict.SKIP.value: "–",
}
_STATE_WORDS = {
    State.UNDECIDED.value: "not judged",
    State.ALSO_ANSWERS.value: "also answers",
    State.DOES_NOT.value: "does not answer",
    State.PARTLY.value: "answers partly",
    State.SKIPPED.value: "nobody could tell",
    State.DISPUTED.value: "the judges differ",
}
REASONS = {
    "missed": ("missed", ""),
    "near_passage": ("near copy", "nearly the same text"),
    "contained": ("contained", "one text holds the other"),
    "near_query": ("query copy", "nearly the same query"),
    "shared_answer": ("shared", "their queries have a positive in common"),
    "outranks": ("outranks", ""),
    "within_margin": ("near", ""),
    "like_positive": ("like positive", "like it to a retriever"),
    "like_query": ("like query", "its query is like this one to a retriever"),
    "same_source": ("source", "from the same document"),
}
"""Reason → in one or two words, and beside the own positive, unless another line says it; what tells most first."""
_IMPLIED = {"near_passage": "like_positive", "near_query": "like_query"}
"""Reason → another one that it makes plain."""


def by_weight(reasons: Sequence[str]) -> list[str]:
    """Reasons, what tells most first, without those that others make plain."""
    implied = {_IMPLIED.get(reason) for reason in reasons}
    order = list(REASONS)
    known = [reason for reason in order if reason in reasons and reason not in implied]
    return [*known, *(reason for reason in reasons if reason not in order)]


_HELD = {
    "numbers": "numbers differ",
    "marks": "marks that mean something differ",
    "negation": "only one has a negation or exclusion",
    "names": "names differ",
    "words": "each has a word that the other lacks",
    "order": "the same words in another order",
    "more": "one says more than the other",
    "template": "one pattern filled in otherwise",
}
"""What speaks against a candidate (a guard of the checks, or the template) → in words."""
SAMPLERS = {
    "random": "any order",
    "no_duplicates": "no duplicates",
    "answer_groups": "groups apart",
    "conflict_aware": "conflict-aware",
}


def candidate_line(head: CandidateHead, said: str, *, blind: bool) -> Content:
    """One candidate: its mark, its margin, why it is here, and the query.

    Args:
        head: the line.
        said: a verdict given a moment ago, or "".
        blind: show nothing of what other judges said.
    """
    mark = mark_of(head, said, blind=blind)
    reasons = by_weight(head.reasons)
    why = REASONS.get(reasons[0], (safe_text(reasons[0], 20),))[0] if reasons else ""
    why += f" +{len(reasons) - 1}" if len(reasons) > 1 else ""
    return Content.assemble(
        (f"{mark} ", "bold"),
        (f"{'≥' if head.at_least else ''}{head.margin * 100:+5.1f}% ", ""),
        (f"{why} ", "bold"),
        safe(head.query, 120).stylize("" if mark in "·!" else "dim"),
    )


def mark_of(head: CandidateHead, said: str, *, blind: bool) -> str:
    """The sign of what is known of a candidate."""
    state = said or head.mine if said or blind else head.state
    return "=" if head.certain and state in ("", State.UNDECIDED.value) else _MARKS.get(state, "·")


def amount(number: float) -> str:
    """A number of expected things, as many digits as can matter."""
    if number == 0:
        return "0"
    if number < 0.005:
        return "under 0.01"
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def share(part: float) -> str:
    """A share in percent."""
    return f"{amount(part * 100)} %"


def fraction(number: float) -> str:
    """A number from 0 to 1 with two digits and no leading zero."""
    return f"{number:.2f}".removeprefix("0") if number < 1 else "1.0"


def size_words(answer: ExposureAnswer) -> str:
    """The batch that a gauge is for."""
    if answer.devices == 1:
        return f"batch {answer.batch:,}"
    return f"batch {answer.batch:,} on {answer.devices} devices"


def gauge_lines(answer: ExposureAnswer, width: int, *, table: bool) -> Content:
    """What the next run meets, in one line of `width` columns if that is enough; as a `table`, each sampler too."""
    by_name = {gauge.sampler: gauge for gauge in answer.gauges}
    first, decided, aware = (by_name.get(name) for name in ("random", "answer_groups", "conflict_aware"))
    if first is None or decided is None or aware is None:
        return safe(answer.unknown)
    size, hit = size_words(answer), share(first.hit_before)
    before, after, none = ((amount(number), "bold") for number in (first.before, decided.after, aware.after))
    lead, met, judged = f"{size}: ", " false negatives, ", "; groups apart "
    forms = (
        (f"at {lead}", before, " false negatives a batch, ", (hit, "bold"), " of queries; after your decisions, with "
         "answer groups apart, ", after, "; with the conflict-aware sampler ", none),
        (lead, before, met, f"{hit} of queries hit", judged, after, "; conflict-aware ", none),
        (lead, before, met, f"{hit} hit", judged, after, "; conflict-aware ", none),
    )  # fmt: skip
    drawn_forms = [Content.assemble(*form) for form in forms]
    line = next((form for form in drawn_forms if form.cell_length <= width), drawn_forms[-1])
    lines = [line]
    if answer.unknown:
        lines.append(safe(answer.unknown).stylize("italic"))
    elif table:
        lines += [_sampler_line(gauge) for gauge in answer.gauges]
    return Content("\n").join(lines)


def _sampler_line(gauge: Gauge) -> Content:
    """What one sampler's batches hold: as the rows came → as you decided."""
    name = SAMPLERS.get(gauge.sampler, gauge.sampler)
    return safe(
        f"  {name:<14}  a batch {amount(gauge.before)} → {amount(gauge.after)}"
        f"  an epoch {amount(gauge.epoch_before)} → {amount(gauge.epoch_after)}"
        f"  queries hit {share(gauge.hit_before)} → {share(gauge.hit_after)}"
    )


def summary_line(said: JudgingSummary, *, narrow: bool) -> Content:
    """What the judges came to, in one line."""
    counts = (
        ("✓", said.also_answers, "also answer"),
        ("✗", said.does_not, "do not"),
        ("~", said.partly, "partly"),
        ("–", said.skipped, "skipped"),
        ("!", said.disputed, "disputed"),
    )
    each = [f"{mark}{number:,}" if narrow else f"{mark} {number:,} {words}" for mark, number, words in counts if number]
    parts = [f"judged {said.judged:,}" + (": " if each else "") + (" " if narrow else ", ").join(each)]
    for agreed in said.agreements:
        if agreed.both:
            kappa = "–" if agreed.kappa is None else fraction(agreed.kappa)
            names = "" if narrow else f" {judge_name(agreed.one)} and {judge_name(agreed.other)}"
            parts.append(f"κ{names} {kappa} on {agreed.both:,}")
    if said.precision is not None:
        right = round(said.precision * said.sampled)
        interval = f"{fraction(said.precision)} [{fraction(said.low)}–{fraction(said.high)}]"
        parts.append(
            f"by chance {right:,}/{said.sampled:,}: {interval}"
            if narrow
            else f"of {said.sampled:,} drawn by chance {right:,} also answer: {interval}"
        )
    if said.ambiguous:
        parts.append(count(said.ambiguous, "ambiguous query", "ambiguous queries"))
    return safe(" · ".join(parts))


def judge_name(actor: str) -> str:
    """What a judge is called: the part after `person:`, or `person`."""
    return safe_text(actor.partition(":")[2] or actor, 20)


def empty_words(found: QueueAnswer, show: str, judge: str, settings: ProjectSettings) -> str:
    """Why the list of a queue is empty, and what to do."""
    if not found.searched:
        return _unsearched(settings)
    if not found.total:
        notes = "\n\n".join(("", *found.notes))
        return f"The search found no passage that may also answer another row's query.{notes}\n\nr searches again."
    if show == "judged":
        return "Nothing is judged yet. f: what is waiting."
    if judge != PERSON:
        return f"{judge_name(judge)} has judged all candidates. f: all of them. J: another judge."
    sure = f"; of {count(found.certain, 'one', 'others')} the checks are sure" if found.certain else ""
    return f"All candidates are judged{sure}. f: all of them. t: hard negatives."


def _unsearched(settings: ProjectSettings) -> str:
    models = [retriever.model for retriever in settings.retrievers] or [settings.model.id]
    own = (
        f"{safe_text(models[0], 60)} is also the model to be trained, and shares its blind spots: [[retrievers]] in "
        "studio.toml names another one.\n\n"
        if settings.model.id == models[0]
        else ""
    )
    return (
        "Nobody has looked for false negatives yet.\n\n"
        "In training every query is pushed away from all other passages of its batch, those that also answer it "
        "included. The search finds these: passages that the checks call alike, and passages that "
        f"{safe_text(' and '.join(models), 120)} ranks about as high as the query's own positive. Nothing is "
        f"decided by it: you judge them, the costliest first.\n\n{own}"
        "r searches. All texts are embedded the first time; that is kept."
    )


class CandidateView(VerticalScroll, can_focus=True):
    """A candidate: the query above, its own positive at the left, the candidate at the right, and why it is asked."""

    DEFAULT_CSS = """
    CandidateView {
        padding: 0 1;
        & > Static { height: auto; }
        & > #fn-texts { height: auto; margin: 1 0; }
        & #fn-own, & #fn-other { width: 1fr; height: auto; }
        & #fn-other { margin-left: 2; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._upside = False
        """Whether the candidate stands first."""

    def on_resize(self) -> None:
        """Where the texts stand below each other, what is judged comes first."""
        upside = self.app.size.width < STACKED_BELOW
        if upside != self._upside:
            self._upside = upside
            first, last = ("#fn-other", "#fn-own") if upside else ("#fn-own", "#fn-other")
            self.query_one("#fn-texts").move_child(self.query_one(first), before=self.query_one(last))

    def compose(self) -> ComposeResult:
        """The query, what is known of the two, the texts, and what else is worth knowing."""
        yield Static(id="fn-query", markup=False)
        yield Static(id="fn-facts", markup=False)
        with Horizontal(id="fn-texts"):
            yield Static(id="fn-own", markup=False)
            yield Static(id="fn-other", markup=False)
        yield Static(id="fn-more", markup=False)

    def show(self, detail: CandidateDetail, compared: Compared | None, judge: str, often: str) -> None:
        """Show a candidate.

        Args:
            detail: the candidate.
            compared: own positive and candidate word by word, where they are like each other.
            judge: the actor who judges; see `hidden`.
            often: how often the two meet, in words.
        """
        left, right = texts_of(detail, compared)
        self._update(
            "#fn-query", Content.assemble(("query  ", "dim"), safe_lines(detail.query.strip(), 1_000).stylize("bold"))
        )
        self._update("#fn-facts", Content("\n").join([*why_lines(detail), *_said_lines(detail, judge)]))
        self._update("#fn-own", Content("\n").join([*own_title(detail), left]))
        self._update("#fn-other", Content("\n").join([*other_title(detail), right]))
        self._update("#fn-more", Content("\n").join(more_lines(detail, often)))
        self.query_one("#fn-texts").display = True

    def clear(self, instead: str = "") -> None:
        """Show a sentence in place of a candidate."""
        for name in ("#fn-facts", "#fn-own", "#fn-other", "#fn-more"):
            self._update(name, Content(""))
        self.query_one("#fn-texts").display = False
        self._update("#fn-query", safe_lines(instead))

    def _update(self, name: str, content: Content) -> None:
        self.query_one(name, Static).update(content)


def hidden(detail: CandidateDetail, judge: str) -> bool:
    """Whether what others said is kept from this judge: a named one judges blind, or agreement would say nothing."""
    return judge != PERSON and judge not in dict(detail.verdicts)


def texts_of(detail: CandidateDetail, compared: Compared | None) -> tuple[Content, Content]:
    """The own positive and the candidate, with what tells them apart, or with the words that the query has too."""
    if compared is not None:
        same_a, same_b = frozenset({"same", "only_a"}), frozenset({"same", "only_b"})
        return drawn(compared.parts, same_a, _SHOWN), drawn(compared.parts, same_b, _SHOWN)
    words = _words(detail.query)
    return _pointed(detail.own, words), _pointed(detail.passage, words)


def _words(text: str) -> frozenset[str]:
    found = (match.group().casefold() for match in _WORD.finditer(text))
    return frozenset(word for word in found if len(word) >= _SHORTEST or word.isdigit())


def _pointed(text: str, words: frozenset[str]) -> Content:
    """A text in which the words that the query has too are underlined."""
    content = safe_lines(text, _SHOWN)
    for match in _WORD.finditer(content.plain):
        if match.group().casefold() in words:
            content = content.stylize("bold underline", *match.span())
    return content


def own_title(detail: CandidateDetail) -> list[Content]:
    """What the own positive is and how it scores."""
    facts = [f"row {detail.positions[1] + 1:,}"]
    if detail.at_least:
        facts.append(f"not found, so at most {detail.own_score:.3f}")
    else:
        facts += [f"score {detail.own_score:.3f}", _rank("rank", detail.own_rank)]
    facts += [f"cross-encoder {detail.cross_own:.2f}"] if detail.cross_own is not None else []
    return [Content.assemble(("its own positive", "bold underline"), (" · ".join(["", *facts]), "dim"))]


def other_title(detail: CandidateDetail) -> list[Content]:
    """What the candidate is, how it scores, and which query it is the positive of."""
    facts = [f"row {detail.positions[2] + 1:,}", f"score {detail.score:.3f}", _rank("rank", detail.rank)]
    facts += [_rank("2nd", detail.second_rank)] if detail.second_rank is not None else []
    facts += [_rank("BM25", detail.bm25_rank)]
    facts += [f"cross-encoder {detail.cross:.2f}"] if detail.cross is not None else []
    return [
        Content.assemble(("candidate", "bold underline"), (" · ".join(["", *facts]), "dim")),
        Content.assemble(("answers: ", "dim"), safe(detail.passage_query, 200).stylize("italic")),
    ]


def _rank(name: str, rank: int | None) -> str:
    return f"{name} {rank:,}" if rank is not None else f"{name} –"


def why_lines(detail: CandidateDetail) -> Iterator[Content]:
    """The margin, why the candidate is asked about, and what speaks against it."""
    above = f"{abs(detail.margin) * 100:.1f} % {'above' if detail.margin > 0 else 'below'} its own positive"
    above = f"at least {above}" if detail.at_least else above
    words = [REASONS.get(reason, ("", safe_text(reason, 40)))[1] for reason in by_weight(detail.reasons)]
    words += [f"likeness {fraction(detail.likeness)}"] if detail.likeness is not None else []
    yield Content.assemble((above, "bold"), *(f" · {word}" for word in words if word))
    for asked in detail.asked:
        yield Content.assemble(("sent from an evaluation ", "bold"), safe(asked, 160))
    if detail.certain:
        yield Content("= the checks are sure that it also answers: it is a known positive without your word")
    if detail.held_by:
        held = "; ".join(_HELD.get(name, safe_text(name.replace("_", " "), 40)) for name in detail.held_by)
        yield Content.assemble((" against it ", "bold reverse"), f" {held}")


def _said_lines(detail: CandidateDetail, judge: str) -> Iterator[Content]:
    """What the judges said, unless this one is to judge without knowing."""
    if detail.verdicts and hidden(detail, judge):
        yield Content.styled("what others said is shown after your verdict", "dim")
    elif detail.verdicts:
        each = ", ".join(f"{judge_name(name)}: {VERDICT_WORDS.get(said, said)}" for name, said in detail.verdicts)
        yield safe(f"{_MARKS.get(detail.state, '·')} {_STATE_WORDS.get(detail.state, detail.state)} ({each})")


def more_lines(detail: CandidateDetail, often: str) -> Iterator[Content]:
    """How likely it also answers, how often the two meet, and how many answers the query has already."""
    rests = f"calibrated on {detail.calibrated_on:,}" if detail.calibrated_on else "a guess: nothing is judged yet"
    if not detail.certain and detail.state in (State.UNDECIDED.value, State.DISPUTED.value, State.SKIPPED.value):
        yield safe(f"also answers with probability {fraction(detail.probability)} ({rests})").stylize("dim")
    yield safe(f"{often} · expected damage {amount(detail.damage)}").stylize("dim")
    if detail.answers:
        yield safe(f"{count(detail.answers, 'passage')} also {'answers' if detail.answers == 1 else 'answer'} this "
                   "query by judgement; more than 7 make it ambiguous").stylize("dim")  # fmt: skip


def in_full(detail: CandidateDetail, compared: Compared | None, judge: str, often: str) -> Content:
    """Everything about a candidate in one text."""
    left, right = texts_of(detail, compared)
    gap: Sequence[Content] = [Content("")]
    return Content("\n").join(
        [
            Content.styled("query", "bold"), safe_lines(detail.query.strip()), *gap, *own_title(detail), left, *gap,
            *other_title(detail), right, *gap, *why_lines(detail), *_said_lines(detail, judge),
            *more_lines(detail, often),
        ]
    )  # fmt: skip
