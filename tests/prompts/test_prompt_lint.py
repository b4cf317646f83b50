import polars as pl
import pytest

from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.prompts.contract import PromptContract
from studio.prompts.lint import ModelPrompts, Severity, lint_contract
from studio.prompts.presets import PRESETS
from studio.prompts.prompted import PROMPTED_SCHEMA, PromptReason, find_prompted_rows

WEB = PRESETS["web_search_query"].query
HARRIER = ModelPrompts({name: PRESETS[name].query for name in ("web_search_query", "sts_query", "bitext_query")})


def codes(query: str, document: str = "", model: ModelPrompts | None = None) -> set[str]:
    return {lint.code for lint in lint_contract(PromptContract.custom(query, document), model)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (WEB, set()),
        ("", set()),
        ("query: ", set()),
        (WEB[:-1], {"no_trailing_space"}),
        (WEB + " ", {"double_space", "no_marker_end"}),
        ("Instruct: find", {"no_marker_end"}),
        (WEB.replace("Query: ", "Query:\u00a0"), {"lookalike", "no_marker_end"}),
        (WEB.replace("Instruct:", "Instruct\uff1a"), {"lookalike"}),
        (WEB.replace("\n", "\r\n"), {"crlf"}),
        (WEB.replace("\n", "\\n"), {"literal_newline", "no_marker_end"}),
        (WEB.replace("\n", ".\n"), {"full_stop"}),
        ("Instrução: ache passagens\nConsulta: ", {"translated_marker"}),
        ("Instruct: ache\nPergunta: ", {"translated_marker", "no_marker_end"}),
        (WEB.replace("a web", "a  web"), {"double_space"}),
    ],
)
def test_the_strings(query: str, expected: set[str]) -> None:
    assert codes(query) == expected


def test_the_models_own_prompt_has_only_trap_a() -> None:
    assert codes(WEB, model=HARRIER) == {"no_query_prompt"}


@pytest.mark.parametrize(
    ("query", "document", "model", "expected"),
    [
        ("", "", HARRIER, "query_empty"),
        (WEB, "passage: ", HARRIER, "document_prompted"),
        (PRESETS["portuguese_qa"].query, "", HARRIER, "not_own_prompt"),
        (WEB[:-1], "", HARRIER, "whitespace_differs"),
        (WEB, "", ModelPrompts({**HARRIER.prompts, "query": ""}), "query_prompt_empty"),
        (WEB, "", ModelPrompts({**HARRIER.prompts, "query": "query: "}), "query_prompt_differs"),
        (WEB, "", ModelPrompts(HARRIER.prompts, "web_search_query"), "default_prompt_name"),
    ],
)
def test_the_fit_to_a_model(query: str, document: str, model: ModelPrompts, expected: str) -> None:
    assert expected in codes(query, document, model)


def test_a_model_set_up_from_the_contract_is_clean() -> None:
    contract = PromptContract.custom(WEB)
    assert lint_contract(contract, ModelPrompts(contract.as_model_prompts(HARRIER.prompts))) == []


def test_a_white_space_difference_names_the_byte_and_worst_comes_first() -> None:
    lints = lint_contract(PromptContract.custom("Instruct:\u00a0" + WEB[10:]), HARRIER)
    differs = next(lint for lint in lints if lint.code == "whitespace_differs")
    assert "from byte 9 on" in differs.message and "⍽" in differs.message
    assert lints[0].severity is Severity.FAIL
    assert all(lint.remedy for lint in lints)


def pairs(*rows: tuple[str, str, list[str]]) -> pl.DataFrame:
    data = [
        {"row_id": str(at), "query": query, "positive": positive, "negatives": negatives}
        for at, (query, positive, negatives) in enumerate(rows)
    ]
    empty = dict.fromkeys(SNAPSHOT_SCHEMA)
    return pl.DataFrame([empty | row for row in data], schema=SNAPSHOT_SCHEMA)


CONTRACT = PromptContract.custom(WEB)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        (WEB + "q", WEB),
        (WEB[:-1] + "q", WEB[:-1]),
        ("Instruct: a\nQuery: b", "Instruct: a\nQuery: "),
        ("INSTRUCT:a", "INSTRUCT:"),
        ("query: b", "query: "),
        ("Query: b", "Query: "),
        ("\ufeff query: b", "\ufeff query: "),
        ("search_query: b", "search_query: "),
        ("task: search result | query: b", "task: search result | query: "),
        (
            "Represent this sentence for searching relevant passages: b",
            "Represent this sentence for searching relevant passages: ",
        ),
        (
            "Represent the question for retrieving supporting documents: b",
            "Represent the question for retrieving supporting documents: ",
        ),
        ("Instrução: a\nConsulta: b", "Instrução: a\nConsulta: "),
    ],
)
def test_prompts_are_found_in_queries_and_in_passages(text: str, prefix: str) -> None:
    found = find_prompted_rows(pairs((text, text, ["clean", text])), CONTRACT)
    assert found.schema == PROMPTED_SCHEMA
    assert found["reason"].to_list() == [
        PromptReason.QUERY_ALREADY_PROMPTED,
        PromptReason.PASSAGE_HAS_QUERY_PROMPT,
        PromptReason.PASSAGE_HAS_QUERY_PROMPT,
    ]
    assert found["column"].to_list() == ["query", "positive", "negatives"]
    assert found["index"].to_list() == [None, None, 1]
    assert set(found["prefix"]) == {prefix} and set(found["chars"]) == {len(prefix)} and set(found["score"]) == {1.0}


def test_passage_prefixes_and_markers_inside() -> None:
    found = find_prompted_rows(pairs(("passage: a", "title: none | text: a", ["x Instruct: a\nQuery: b"])), CONTRACT)
    assert found["reason"].to_list() == [
        PromptReason.QUERY_HAS_PASSAGE_PROMPT,
        PromptReason.PASSAGE_ALREADY_PROMPTED,
        PromptReason.PROMPT_MARKER_INSIDE,
    ]


def test_a_custom_prompt_is_matched_literally() -> None:
    odd = PromptContract.custom("Q (a|b)* \\d: ", "D+ ")
    rows = pairs(("Q (a|b)* \\d: x", "D+ x", []), ("Q aab 1: x", "DD x", []), ("q (a|b)* \\d: x", "d+ x", []))
    found = find_prompted_rows(rows, odd)
    assert found["row_id"].to_list() == ["0", "0"]
    assert found["prefix"].to_list() == ["Q (a|b)* \\d: ", "D+ "]


def test_honest_text_is_left_alone() -> None:
    honest = [
        "Instrução: leia antes de usar",
        "Instrução Normativa 3",
        "Consulta: valores",
        "A query é lenta",
        "My query: why",
        "",
        "passagem: aérea",
        "Represent yourself: how?",
    ]
    assert find_prompted_rows(pairs(*((text, text, [text]) for text in honest)), CONTRACT).is_empty()


def test_nulls_and_no_rows() -> None:
    rows = pairs(("a", "b", [])).with_columns(query=pl.lit(None, pl.String), negatives=pl.lit(None, pl.List(pl.String)))
    assert find_prompted_rows(rows, CONTRACT).is_empty()
    assert find_prompted_rows(pairs(), CONTRACT).schema == PROMPTED_SCHEMA
