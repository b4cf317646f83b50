"""Prompts by name: Harrier's own, task prompts in its template, and ablations that show what a byte is worth."""

from __future__ import annotations

from dataclasses import dataclass

from studio.errors import ConfigError
from studio.prompts.contract import Origin, OriginKind, PromptContract, nearest

INSTRUCT_MARKER = "Instruct:"
QUERY_MARKER = "Query:"
"""The two markers Harrier was trained with. They are never translated, whatever the language of the task."""


def query_prompt(task: str) -> str:
    """Put a task into Harrier's template: `Instruct: {task}` newline `Query: `, with its trailing space."""
    return f"{INSTRUCT_MARKER} {task}\n{QUERY_MARKER} "


@dataclass(frozen=True, slots=True)
class Preset:
    """A prompt with a name. `why` is one sentence; an ablation is for comparing, not for a first run."""

    name: str
    query: str
    why: str
    document: str = ""
    ablation: bool = False

    def contract(self) -> PromptContract:
        """Return the contract this preset stands for."""
        return PromptContract(self.query, self.document, Origin(OriginKind.PRESET, self.name, self.why))


_WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
_PRESETS = (
    Preset("web_search_query", query_prompt(_WEB_SEARCH), "Harrier's own retrieval prompt: the safest start."),
    Preset("sts_query", query_prompt("Retrieve semantically similar text"), "Harrier's own prompt for similarity."),
    Preset("bitext_query", query_prompt("Retrieve parallel sentences"), "Harrier's own prompt for translations."),
    Preset(
        "portuguese_qa",
        query_prompt("Given a question in Portuguese, retrieve passages that answer the question"),
        "Says the language and the task in English, the language of Harrier's instructions.",
    ),
    Preset(
        "customer_support",
        query_prompt("Given a customer question in Portuguese, retrieve support articles that answer the question"),
        "For help centres and support bases in Portuguese.",
    ),
    Preset(
        "public_services",
        query_prompt(
            "Given a citizen's question about public services in Portuguese, retrieve passages that answer the question"
        ),
        "For government portals and service catalogues in Portuguese.",
    ),
    Preset(
        "legal",
        query_prompt("Given a legal question in Portuguese, retrieve statutes and rulings that answer the question"),
        "For legislation and case law in Portuguese.",
    ),
    Preset(
        "portuguese_qa_pt",
        query_prompt("Dada uma pergunta em português, recupere passagens que respondam à pergunta"),
        "The same task worded in Portuguese, markers untranslated: measures what the wording's language is worth.",
        ablation=True,
    ),
    Preset(
        "web_search_query_mteb",
        f"{INSTRUCT_MARKER} {_WEB_SEARCH}\n{QUERY_MARKER}",
        "mteb's template has no space after `Query:`; the published scores were measured with it.",
        ablation=True,
    ),
    Preset("none", "", "No prompt at all: measures what the prompt is worth.", ablation=True),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _PRESETS}
"""Every preset by name. The first three are the exact strings of `config_sentence_transformers.json`, the same in
harrier-oss-v1-270m and -0.6b."""


def get_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        ConfigError: there is none; the closest name is suggested.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no prompt preset named {name!r}.", remedy=nearest(name, list(PRESETS)))
    return PRESETS[name]


def contract_from_task(task: str) -> PromptContract:
    """Return the contract of a task in a person's own words, in Harrier's template; documents stay raw.

    Raises:
        ConfigError: the task is empty, has a line break or space around it, or repeats a marker of the template.
    """
    why = None
    if not task.strip():
        why = "it is empty"
    elif task != task.strip():
        why = "it has white space around it"
    elif len(task.splitlines()) > 1:
        why = "it has a line break, and the template has one of its own"
    elif any(marker.lower() in task.lower() for marker in (INSTRUCT_MARKER, QUERY_MARKER)):
        why = "it repeats a marker, and the template adds both"
    if why:
        raise ConfigError(
            "The task cannot be put into the template.",
            where=repr(task),
            why=why,
            remedy="give the sentence alone, such as: Given a question, retrieve passages that answer it",
        )
    return PromptContract(query_prompt(task), "", Origin(OriginKind.CUSTOM, "task", task))
