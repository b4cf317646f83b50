"""What is wrong with a prompt contract before any text meets it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from studio.prompts.contract import PromptContract, Role
from studio.prompts.presets import INSTRUCT_MARKER, QUERY_MARKER
from studio.prompts.prompted import PROMPTED_SCHEMA, PromptReason, find_prompted_rows
from studio.prompts.visible import visible

__all__ = ["PROMPTED_SCHEMA", "Lint", "ModelPrompts", "PromptReason", "Severity", "find_prompted_rows", "lint_contract"]

_DOCUMENT_NAMES = ("document", "passage", "corpus")
_TRANSLATED = re.compile(
    r"\b(instru(?:ção|ções|cao|coes|cción|ccion)|consulta|pergunta|tarefa)\s*[:\uFF1A]", re.IGNORECASE
)
_LOOKALIKES = {
    "\N{NO-BREAK SPACE}": "a no-break space, not a space",
    "\N{NARROW NO-BREAK SPACE}": "a narrow no-break space, not a space",
    "\N{IDEOGRAPHIC SPACE}": "an ideographic space, not a space",
    "\N{FULLWIDTH COLON}": "a full-width colon, not ':'",
    "\N{RATIO}": "a ratio sign, not ':'",
    "\N{MODIFIER LETTER COLON}": "a modifier colon, not ':'",
    "\N{ZERO WIDTH SPACE}": "a zero-width space",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "a byte-order mark",
    "\N{WORD JOINER}": "a word joiner",
    "\N{SOFT HYPHEN}": "a soft hyphen",
    "\N{LINE SEPARATOR}": "a line separator, not a line feed",
    "\N{PARAGRAPH SEPARATOR}": "a paragraph separator, not a line feed",
}


class Severity(StrEnum):
    """How bad a lint is: `fail` means the model will not see what was meant."""

    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Lint:
    """One finding about a contract: a stable `code`, what is the case, and what to do."""

    code: str
    severity: Severity
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ModelPrompts:
    """What a model says about its prompts (`config_sentence_transformers.json`).

    `prompts`: name → string, as saved. `default_prompt_name`: the prompt plain `encode` applies, or None.
    """

    prompts: Mapping[str, str]
    default_prompt_name: str | None = None

    @property
    def instruct(self) -> bool:
        """Whether any of the model's own prompts is an instruction."""
        return any(prompt.startswith(INSTRUCT_MARKER) for prompt in self.prompts.values())

    @property
    def documents_raw(self) -> bool:
        """Whether the model puts nothing before documents."""
        return not any(self.prompts.get(name) for name in _DOCUMENT_NAMES)


def lint_contract(contract: PromptContract, model: ModelPrompts | None = None) -> list[Lint]:
    """Examine a contract, and how it fits a model if one is given; worst first.

    Codes about the strings: `no_marker_end`, `no_trailing_space`, `lookalike`, `crlf`, `literal_newline`,
    `translated_marker`, `full_stop`, `double_space`. About the model: `query_empty`, `document_prompted`,
    `not_own_prompt`, `whitespace_differs`. About the model's own traps (sentence-transformers 6.2): `no_query_prompt`,
    `query_prompt_empty`, `query_prompt_differs`, `default_prompt_name`.
    """
    lints = [lint for role in Role for lint in _string_lints(role, contract.prompt(role))]
    if model is not None:
        lints += [*_fit_lints(contract, model), *_model_lints(contract, model)]
    order = [Severity.FAIL, Severity.WARN, Severity.INFO]
    return sorted(lints, key=lambda lint: order.index(lint.severity))


def _string_lints(role: Role, prompt: str) -> Iterator[Lint]:
    warn, fail = Severity.WARN, Severity.FAIL
    for at, char in enumerate(prompt):
        if char in _LOOKALIKES:
            where = f"character {at} of the {role} prompt is {_LOOKALIKES[char]} ({visible(char)})"
            yield Lint("lookalike", fail, f"{where}.", "type it again on a plain keyboard")
    if "\r" in prompt:
        yield Lint("crlf", fail, f"The {role} prompt has a carriage return.", "use a line feed alone (LF, not CRLF)")
    if "\\n" in prompt:
        message = f"The {role} prompt has a backslash and an n where a line break was meant."
        yield Lint(
            "literal_newline", fail, message, "put a real line break; in TOML use a basic string (double quotes)"
        )
    if marker := _TRANSLATED.search(prompt):
        message = f"The {role} prompt has a translated marker, {visible(marker[0])}."
        yield Lint(
            "translated_marker", warn, message, "keep `Instruct:` and `Query:`; translate only the task, if at all"
        )
    if "  " in prompt:
        message = f"The {role} prompt has two spaces in a row at character {prompt.index('  ')}."
        yield Lint("double_space", warn, message, "use one space, unless the model was trained with two")
    if not prompt.startswith(INSTRUCT_MARKER):
        return
    if ".\n" in prompt:
        message = f"The {role} prompt has a full stop before its line break: e5-mistral's style, not Harrier's."
        yield Lint("full_stop", warn, message, "remove the full stop")
    if prompt.endswith(QUERY_MARKER):
        message = f"The {role} prompt ends in `Query:` without its trailing space; Harrier's own prompts have one."
        yield Lint(
            "no_trailing_space", warn, message, "add the space, or keep it out on purpose to match mteb's scores"
        )
    elif not prompt.endswith(f"\n{QUERY_MARKER} "):
        ending = visible(prompt[-12:])
        message = f"The {role} prompt does not end in a line break and `Query: `; it ends in {ending}."
        yield Lint("no_marker_end", warn, message, "end it with a line break, `Query:` and one space")


def _fit_lints(contract: PromptContract, model: ModelPrompts) -> Iterator[Lint]:
    if not contract.query and model.instruct:
        message = "The query prompt is empty, but this model was trained to read an instruction before queries."
        yield Lint(
            "query_empty", Severity.WARN, message, "use one of the model's own prompts; keep none as an ablation"
        )
    if contract.document and model.instruct and model.documents_raw:
        message = "The document prompt is not empty, but this model encodes documents raw."
        yield Lint("document_prompted", Severity.WARN, message, "leave the document prompt empty")
    own = {name: prompt for name, prompt in model.prompts.items() if prompt}
    if not contract.query or not own or contract.query in own.values():
        return
    for name, prompt in own.items():
        if "".join(prompt.split()) == "".join(contract.query.split()):
            at = _first_difference(contract.query.encode(), prompt.encode())
            message = (
                f"The query prompt differs from the model's {name!r} only by white space, from byte {at} on: "
                f"{visible(contract.query)} against {visible(prompt)}"
            )
            remedy = f"take {name!r} from the model, or keep the difference as a named ablation"
            yield Lint("whitespace_differs", Severity.WARN, message, remedy)
            return
    message = f"The query prompt is none of the model's own ({', '.join(own)})."
    yield Lint(
        "not_own_prompt", Severity.INFO, message, "fine after training with it; measure it against the model's own"
    )


def _model_lints(contract: PromptContract, model: ModelPrompts) -> Iterator[Lint]:
    remedy = "put the contract on the model (`as_model_prompts`) before it is used or saved, and pass the prompt itself"
    saved = model.prompts.get("query")
    if contract.query and saved is None:
        message = "The model has no `query` prompt: its `encode_query` is silently unprompted."
        yield Lint("no_query_prompt", Severity.WARN, message, remedy)
    elif contract.query and not saved:
        message = 'The model carries `"query": ""`: whoever loads it and calls `encode_query` drops the prompt.'
        yield Lint("query_prompt_empty", Severity.WARN, message, remedy)
    elif saved and saved != contract.query:
        message = f"The model's own `query` prompt is another one: {visible(saved)}."
        yield Lint("query_prompt_differs", Severity.WARN, message, remedy)
    if model.default_prompt_name is not None:
        name = visible(model.default_prompt_name)
        message = f"The model sets default_prompt_name to {name}: plain `encode` would prompt documents too."
        yield Lint("default_prompt_name", Severity.WARN, message, "unset it, and encode by role")


def _first_difference(one: bytes, other: bytes) -> int:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))
