"""What the Prompts panel draws: the two strings, a row as the model reads it, and the findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from studio.prompts.contract import OriginKind, PromptContract, Role
from studio.prompts.lint import Lint, Severity
from studio.prompts.prompted import PromptReason
from studio.prompts.visible import visible
from studio.tui.safe import safe, safe_text
from studio.view.prompting import first_difference

if TYPE_CHECKING:
    import numpy as np

    from studio.prompts.preview import TextPreview
    from studio.view.prompting import ContractReport, PromptedRows, RowPrompt, Truncation

PROMPT_END = "┃"
"""Stands where the prompt ends."""
SIGNS = {Severity.FAIL: "✗ fail", Severity.WARN: "! warn", Severity.INFO: "· info"}
"""How bad a finding is."""
OK = "✓ ok"
_TOKENS_DRAWN = 4_000
"""Tokens drawn of one row, shared by its texts: more is slow to lay out, and no one reads it."""
_TOKENS_AT_LEAST = 60
_STRING_DRAWN = 2_000
_LABEL = 10
_LEGEND = f"{PROMPT_END} the prompt ends · ␠ space · ⏎ line break · ⇥ tab · ⟨…⟩ what has no sign of its own"
_ORIGINS = {
    OriginKind.MODEL: "from the model's own",
    OriginKind.PRESET: "from preset",
    OriginKind.CUSTOM: "typed by hand",
}
_PROMPTED = {
    PromptReason.QUERY_ALREADY_PROMPTED: ("query", "queries", "already with a query prompt (would be prompted twice)"),
    PromptReason.QUERY_HAS_PASSAGE_PROMPT: ("query", "queries", "with a prefix that is meant for passages"),
    PromptReason.PASSAGE_HAS_QUERY_PROMPT: ("passage", "passages", "with a query prompt"),
    PromptReason.PASSAGE_ALREADY_PROMPTED: ("passage", "passages", "already with a passage prompt"),
    PromptReason.PROMPT_MARKER_INSIDE: ("text", "texts", "with `Instruct: … Query:` further inside"),
}
"""One, more, and what they are, by why they are suspected."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One line of the findings: what it says, and what `enter` does with it.

    `rows`: positions to show in Pairs, `why` says in words which they are; `detail`: what is told instead when there
    are none; `count`: whether enter counts the tokens.
    """

    sign: str
    text: str
    rows: np.ndarray | None = None
    why: str = ""
    detail: str = ""
    count: bool = False


# The strings and the tokens


def origin_words(contract: PromptContract) -> str:
    """Where the contract comes from."""
    origin = contract.origin
    name = f" {safe_text(origin.name, 40)}" if origin.kind is not OriginKind.CUSTOM else ""
    return _ORIGINS[origin.kind] + name


def contract_lines(contract: PromptContract, width: int) -> list[Content]:
    """Both strings, every character to be seen."""
    return [line for role in Role for line in _string_lines(role.value, contract.prompt(role), width)]


def compared_lines(this: PromptContract, other: PromptContract, width: int) -> list[Content]:
    """Both strings of the other contract, underlined from where they differ, and from which byte that is."""
    lines: list[Content] = []
    said: list[Content] = []
    for role in Role:
        difference = first_difference(this.prompt(role), other.prompt(role))
        from_character = None if difference is None else difference.character
        lines += _string_lines(role.value, other.prompt(role), width, from_character)
        if difference is not None:
            said.append(Content.styled(f"≠ {role.value} differs from byte {difference.byte} on", "bold"))
    return [*lines, *(said or [Content("= both strings are equal, byte for byte")])]


def _string_lines(name: str, text: str, width: int, differs_from: int | None = None) -> list[Content]:
    shown = visible(text[:_STRING_DRAWN])
    mark = len(shown) if differs_from is None else len(visible(text[: min(differs_from, _STRING_DRAWN)]))
    lines: list[Content] = []
    at = 0
    for line in folded(shown, max(10, width - _LABEL)) or ["(none)"]:
        label = name if not lines else ""
        same = max(0, min(len(line), mark - at))
        at += len(line)
        lines.append(Content.assemble((label.ljust(_LABEL), "bold"), line[:same], (line[same:], "underline bold")))
    if shown == "" and differs_from is None:
        lines = [Content.assemble((name.ljust(_LABEL), "bold"), "(none)")]
    if len(text) > _STRING_DRAWN:
        lines.append(Content(f"{'':{_LABEL}}… showing {_STRING_DRAWN:,} of {len(text):,} characters"))
    return lines


def folded(shown: str, width: int) -> list[str]:
    """Break a visible string after line breaks and, where it is too wide, after spaces; nothing is added or lost."""
    lines: list[str] = []
    line, used = "", 0
    for piece in _pieces(shown):
        size = Content(piece).cell_length
        if line and used + size > width:
            lines.append(line)
            line, used = "", 0
        if size > width:
            *full, line = _chopped(piece, width)
            lines += full
            used = Content(line).cell_length
        else:
            line, used = line + piece, used + size
        if line.endswith("⏎"):
            lines.append(line)
            line, used = "", 0
    return [*lines, line] if line else lines


def _pieces(shown: str) -> Iterator[str]:
    start = 0
    for at, char in enumerate(shown):
        if char in "␠⏎":
            yield shown[start : at + 1]
            start = at + 1
    if start < len(shown):
        yield shown[start:]


def _chopped(piece: str, width: int) -> list[str]:
    parts, used = [""], 0
    for char in piece:
        size = Content(char).cell_length
        if used + size > width:
            parts.append("")
            used = 0
        parts[-1] += char
        used += size
    return parts


def row_lines(row: RowPrompt, against: RowPrompt | None, *, ids: bool) -> list[Content]:
    """Every text of a row; `against` is the same row under the contract it is compared with."""
    most = max(_TOKENS_AT_LEAST, _TOKENS_DRAWN // len(row.texts))
    lines: list[Content] = []
    for at, text in enumerate(row.texts):
        same = against.texts[at] if against is not None and at < len(against.texts) else None
        lines += [*_text_lines(text, row, same, most, ids=ids), Content("")]
    if row.doubts:
        lines.append(safe(f"! the trainer's ids may differ: {'; '.join(row.doubts)}", 400))
    return lines if against is not None else [*lines, Content.styled(_LEGEND, "dim")]


def _text_lines(
    text: TextPreview, row: RowPrompt, against: TextPreview | None, most: int, *, ids: bool
) -> Iterator[Content]:
    names = {"query": "query", "positive": "passage"}
    name = names.get(text.column) or f"negative {(text.index or 0) + 1}"
    counts = f"{text.tokens_after:,} of {row.max_length:,} tokens"
    if text.prompt_tokens:
        merged = f"the prompt alone has {text.prompt_tokens}"
        counts += f" · {merged if text.prompt_merged else f'the first {text.prompt_tokens} are the prompt'}"
    if text.tokens_lost:
        counts += f" · ✂ {text.tokens_lost:,} lost"
    if against is not None:
        counts += f" · {_difference_words(text, against)}"
    yield Content.assemble((name, "bold"), f"  {counts}")
    yield _tokens(text, row, most)
    if ids:
        yield Content.assemble(("ids ", "bold"), _ids(text.ids, most))
    if text.cut_at is not None:
        yield _cut(text, row)
    if not text.eos_is_last:
        yield Content.styled("✗ the last token is not the end of sequence: another one is pooled", "bold")
    if text.prompt_merged:
        yield Content("· one token holds the end of the prompt and the start of the text")
    if text.special_in_text:
        yield Content(f"! {text.special_in_text} special tokens are written out in the text itself")


def _tokens(text: TextPreview, row: RowPrompt, most: int) -> Content:
    """The tokens with spaces between them (their own spaces are ␠), and what is pooled."""
    total = len(text.tokens)
    head, tail = (total, total) if total <= most else (most * 3 // 4, total - most // 4)
    # With the start cut off, or a token on both sides, there is no place between two tokens to mark.
    prompt_ends = None if text.prompt_merged or (row.cut_side == "left" and text.tokens_lost) else text.prompt_tokens
    parts: list[str | tuple[str, str]] = []
    for at in (*range(head), *range(tail, total)):
        if at == tail and tail > head:
            parts.append((f"… {tail - head:,} tokens not drawn … ", "dim"))
        if at and at == prompt_ends:
            parts.append((f"{PROMPT_END} ", "bold"))
        special = text.ids[at] in row.special_ids
        parts.append((text.tokens[at], "reverse") if special else text.tokens[at])
        parts.append(" ")
        if at == text.pooled_position:
            parts.append(("◀ pooled here", "bold"))
    return Content.assemble(*parts) if parts else Content("(no token at all)")


def _ids(ids: Sequence[int], most: int) -> str:
    if len(ids) <= most:
        return " ".join(map(str, ids))
    head, tail = ids[: most * 3 // 4], ids[len(ids) - most // 4 :]
    return f"{' '.join(map(str, head))} … {' '.join(map(str, tail))}"


def _cut(text: TextPreview, row: RowPrompt) -> Content:
    assert text.cut_at is not None
    if row.cut_side == "left":
        return Content(f"✂ what comes before character {text.cut_at:,} of {len(text.raw):,} is not read")
    rest = visible(text.raw[text.cut_at : text.cut_at + 60])
    survives = " · the end of sequence survives ✓" if text.eos_is_last else ""
    where = f"✂ cut at character {text.cut_at:,} of {len(text.raw):,}, not read: "
    return Content.assemble(where, (rest, "strike"), ("…" if text.cut_at + 60 < len(text.raw) else ""), survives)


def _difference_words(text: TextPreview, against: TextPreview) -> str:
    if text.ids == against.ids:
        return "= the same tokens"
    pairs = zip(text.ids, against.ids, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(text.ids), len(against.ids)))
    more = text.tokens_before - against.tokens_before
    count = f"{more:+,} tokens" if more else "as many tokens"
    return f"≠ {count}, other ones from token {at + 1:,} on"


# Findings


def finding_line(finding: Finding) -> Content:
    """A finding as the list shows it."""
    rows = 0 if finding.rows is None else len(finding.rows)
    more = f" · enter: show {_number(rows, 'row')}" if rows else ""
    return Content.assemble((f"{finding.sign:<7}", "bold"), safe_text(finding.text, 600), (more, "italic"))


def _number(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def lint_line(lint: Lint) -> Content:
    """A lint with what to do, as the editor shows it."""
    words = f"{lint.message.rstrip('.')} · to do: {lint.remedy}"
    return Content.assemble((f"{SIGNS[lint.severity]:<7}", "bold"), safe_text(words, 600))


def findings_of(report: ContractReport) -> Iterator[Finding]:
    """Everything a report says, the worst first."""
    order = [*SIGNS.values(), OK]
    found = [*map(_lint_finding, report.lints), *map(_prompted_finding, report.prompted)]
    found += [*_truncation_findings(report), *_use_findings(report)]
    if report.model_error is not None:
        text = f"the model cannot be read: {report.model_error.splitlines()[0]}"
        found.append(Finding(SIGNS[Severity.WARN], text, detail=report.model_error))
    if not report.prompted:
        found.append(Finding(OK, f"none of the {report.rows:,} kept rows carries a prompt already"))
    yield from sorted(found, key=lambda finding: order.index(finding.sign))


def _lint_finding(lint: Lint) -> Finding:
    detail = f"{lint.message}\n\nTo do: {lint.remedy}\n\n({lint.code})"
    return Finding(SIGNS[lint.severity], lint.message.rstrip("."), detail=detail)


def _prompted_finding(prompted: PromptedRows) -> Finding:
    one, more, words = _PROMPTED[PromptReason(prompted.reason)]
    text = f"{_number(prompted.texts, one, more)} {words}, mostly “{visible(prompted.example[:60])}”"
    return Finding(SIGNS[Severity.WARN], text, prompted.positions, f"{more} {words}")


def _truncation_findings(report: ContractReport) -> Iterable[Finding]:
    if report.counted == "none":
        return [Finding(SIGNS[Severity.INFO], "what is cut is not known yet · t: count tokens of all rows", count=True)]
    if report.counted == "other":
        text = "tokens were counted for another contract and do not hold for this one · t: count tokens of all rows"
        return [Finding(SIGNS[Severity.INFO], text, count=True)]
    edited = f" (counted as imported; {_number(report.edited, 'row')} edited since)" if report.edited else ""
    cut = [each for each in report.truncation if len(each.positions)]
    if not cut:
        text = f"no query and no passage of {report.rows:,} kept rows is cut at {report.max_length:,} tokens{edited}"
        return [Finding(OK, text)]
    return [_cut_finding(each, report.max_length, edited) for each in cut]


def _cut_finding(cut: Truncation, max_length: int, edited: str) -> Finding:
    one, more = ("passage", "passages") if cut.column == "positive" else ("query", "queries")
    count = _number(len(cut.positions), one, more)
    share = f"{cut.share:.1%}" if cut.share >= 0.001 else "under 0.1%"
    text = f"{count} ({share}) cut at {max_length:,} tokens: {_number(cut.lost, 'token')} lost{edited}"
    return Finding(SIGNS[Severity.WARN], text, cut.positions, f"{more} cut at {max_length:,} tokens")


def _use_findings(report: ContractReport) -> Iterator[Finding]:
    marks = {True: "✓", False: "✗", None: "?"}
    text = "  ".join(f"{use.name} {marks[use.equal]}" for use in report.uses)
    detail = "\n".join(f"{marks[use.equal]} {use.name}: {use.detail}" for use in report.uses)
    if any(use.equal is False for use in report.uses):
        sign = SIGNS[Severity.FAIL]
    else:
        sign = OK if all(use.equal for use in report.uses) else SIGNS[Severity.INFO]
    yield Finding(sign, f"same string in  {text}", detail=detail)
