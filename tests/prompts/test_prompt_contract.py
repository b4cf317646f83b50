import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import ConfigError
from studio.prompts.contract import Origin, OriginKind, PromptContract, Role
from studio.prompts.presets import PRESETS, contract_from_task, get_preset

WEB = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
text = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def make(query: str, document: str = "") -> PromptContract:
    return PromptContract.custom(query, document)


@given(text, text, text, text)
def test_hashes_are_equal_only_for_equal_strings(a: str, b: str, c: str, d: str) -> None:
    assert (make(a, b).hash == make(c, d).hash) == ((a, b) == (c, d))


@given(text, st.integers(min_value=0))
def test_moving_text_between_roles_changes_the_hash(joined: str, at: int) -> None:
    cuts = {make(joined[:i], joined[i:]).hash for i in range(len(joined) + 1)}
    assert len(cuts) == len(joined) + 1


def test_the_hash_is_pinned() -> None:
    # Runs, exports and caches of the past carry it: it may never change.
    contract = make(WEB)
    assert contract.hash == "20e0d9673681a28fc13003a354fd86954ccd34145de69ce06a1f6e5970db9443"
    assert contract.short_hash == contract.hash[:12]
    assert contract.hash != make(WEB[:-1]).hash


def test_the_origin_is_not_part_of_the_hash() -> None:
    assert get_preset("web_search_query").contract().hash == make(WEB).hash


@given(text, text, text)
def test_apply_is_concatenation(query: str, document: str, body: str) -> None:
    contract = make(query, document)
    assert contract.apply(Role.QUERY, body) == query + body
    assert contract.apply(Role.DOCUMENT, body) == document + body


@given(text, text, text, text)
def test_dict_round_trip_through_json(query: str, document: str, name: str, detail: str) -> None:
    contract = PromptContract(query, document, Origin(OriginKind.MODEL, name, detail))
    assert PromptContract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract


@pytest.mark.parametrize(
    "change",
    [
        {"query": WEB[:-1]},
        {"query": None},
        {"hash": "0" * 64},
        {"extra": 1},
        {"origin": None},
        {"origin": {"kind": "dream", "name": "x"}},
        {"origin": {"kind": "model"}},
    ],
)
def test_a_changed_dict_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        PromptContract.from_dict(make(WEB).to_dict() | change)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        make("Query: \ud83d")


def test_from_model_prompts() -> None:
    contract = PromptContract.from_model_prompts({"web_search_query": WEB, "doc": "D: "}, document_name="doc")
    assert (contract.query, contract.document) == (WEB, "D: ")
    assert contract.origin == Origin(OriginKind.MODEL, "web_search_query")
    with pytest.raises(ConfigError) as caught:
        PromptContract.from_model_prompts({"web_search_query": WEB}, "web_search_qeury")
    assert "web_search_query" in str(caught.value)


def test_trainer_prompts_name_every_column_of_a_role_and_leave_raw_ones_out() -> None:
    columns = {Role.QUERY: "query", Role.DOCUMENT: ["positive", "negative"]}
    assert make("Q: ").as_trainer_prompts(columns) == {"query": "Q: "}
    both = {"query": "Q: ", "positive": "D: ", "negative": "D: "}
    assert make("Q: ", "D: ").as_trainer_prompts(columns) == both
    assert make("").as_trainer_prompts(columns) == {}


@pytest.mark.parametrize("columns", [{}, {Role.DOCUMENT: "query"}, {Role.QUERY: "q", Role.DOCUMENT: ["p", "q"]}])
def test_trainer_prompts_that_would_be_lost_or_shared_are_refused(columns: dict[Role, str]) -> None:
    with pytest.raises(ConfigError):
        make("Q: ").as_trainer_prompts(columns)


def test_model_prompts_name_both_roles_and_keep_the_others() -> None:
    assert make("Q: ").as_model_prompts({"sts_query": "S", "query": ""}) == {
        "sts_query": "S",
        "query": "Q: ",
        "document": "",
    }


def test_harriers_own_prompts_are_exact() -> None:
    assert PRESETS["web_search_query"].query == WEB
    assert PRESETS["sts_query"].query == "Instruct: Retrieve semantically similar text\nQuery: "
    assert PRESETS["bitext_query"].query == "Instruct: Retrieve parallel sentences\nQuery: "
    assert PRESETS["web_search_query_mteb"].query == WEB[:-1]
    assert PRESETS["none"].contract().as_trainer_prompts({}) == {}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_every_preset_has_untranslated_markers_a_reason_and_its_own_hash(preset) -> None:
    if preset.name != "none":
        assert preset.query.startswith("Instruct: ") and "\nQuery:" in preset.query
    assert preset.why.endswith(".") and preset.document == ""
    assert [other.name for other in PRESETS.values() if other.contract().hash == preset.contract().hash] == [
        preset.name
    ]


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        get_preset("portugese_qa")
    assert "'portuguese_qa'" in str(caught.value)


def test_a_task_is_put_into_the_template_as_it_is() -> None:
    contract = contract_from_task("Given {braces} and 100% câmbio")
    assert contract.query == "Instruct: Given {braces} and 100% câmbio\nQuery: "
    assert contract.document == ""


@pytest.mark.parametrize("task", ["", "  ", "a\nb", "a\u2028b", " a", "a\n", "Instruct: a", "a query: b"])
def test_a_task_that_would_break_the_template_is_refused(task: str) -> None:
    with pytest.raises(ConfigError):
        contract_from_task(task)
