from __future__ import annotations

import ast
import re

import pytest

from studio.prompts.contract import PromptContract
from studio.training.card import Shown, card
from studio.training.spec import RunSpec, changed

QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "


def shown(contract: PromptContract | None = None, spec: RunSpec | None = None) -> Shown:
    return Shown(
        "C-5e-6",
        spec or changed(RunSpec(), {"model.id": "microsoft/harrier-oss-v1-270m", "model.revision": "31de22b"}),
        contract or PromptContract.custom(QUERY),
        "abc123",
        7_941,
        "validation",
        500,
        20_000,
        400,
        {"ndcg@10": 0.612, "mrr@10": 0.55},
        {"ndcg@10": 0.655, "mrr@10": 0.61},
        "VERDICT: WIN | score=0.6550 | baseline=0.6120 | delta=+0.0430 | ci=[+0.0210,+0.0650] p=0.0004 n=500",
    )


def snippets(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)


def test_the_snippets_are_python_and_name_the_prompts_byte_for_byte() -> None:
    first, second = snippets(card(shown()))
    ast.parse(first)
    assert "encode_query" in first and "encode_document" in first and "prompt" not in first
    given = [
        ast.literal_eval(keyword.value)
        for node in ast.walk(ast.parse(second))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "prompt"
    ]
    assert given == [QUERY, ""]


@pytest.mark.parametrize("spec", [RunSpec(), changed(RunSpec(), {"reporting.hub_id": "me/model"})])
def test_a_snippet_has_prompt_or_prompt_name_and_never_both(spec: RunSpec) -> None:
    for snippet in snippets(card(shown(spec=spec))):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.Call):
                named = {keyword.arg for keyword in node.keywords}
                assert not {"prompt", "prompt_name"} <= named
    assert "me/model" in card(shown(spec=spec)) or not spec.reporting.hub_id


def test_it_tells_what_the_model_was_trained_on_and_what_it_came_to() -> None:
    text = card(shown())
    for part in ("base_model: microsoft/harrier-oss-v1-270m", "31de22b", "VERDICT: WIN", "0.6120", "0.6550", "abc123"):
        assert part in text, part
    assert "7,941" in text and "step 400" in text and "20,000 passages" in text
    # A folder of somebody's machine is no base model that a hub could know.
    assert "base_model" not in card(shown(spec=changed(RunSpec(), {"model.id": "/home/me/model"})))


@pytest.mark.parametrize("query", ["a | b ` c `` d: ", "```\n# no\n```", '"quoted" \\ and\ttab: '])
def test_a_prompt_cannot_break_the_page(query: str) -> None:
    text = card(shown(PromptContract.custom(query, "passage: ")))
    assert "\n# no" not in text
    for line in text.splitlines():
        if line.startswith("| query"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 4
    _, second = snippets(text)
    assert ast.parse(second)


def test_a_checkpoint_has_no_results_of_its_own_yet() -> None:
    text = card(shown()._replace(final={}, line=""))
    assert "VERDICT" not in text and "0.6120" in text and "0.6550" not in text
