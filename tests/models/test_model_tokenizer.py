import json
import random
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import Cancelled, ConfigError, InputError, UnavailableError
from studio.models.tokenizer import load_tokenizer, model_prompts
from studio.prompts.contract import PromptContract, Role
from studio.prompts.preview import preview_rows, preview_text

ODD = [
    "Como pedir?",
    "a  b\u00a0c",
    "e\u0301 ﬁ 👍🏽",
    "x\n\n\ny",
    " antes",
    "a via da fatura",
    "x  <novo>  y",
    "don't <eos> 2ª",
    "",
    "\x00\u202e",
]


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(value | changes))


def assert_same_as_the_model(folder: Path, max_length: int = 12) -> None:
    from sentence_transformers import SentenceTransformer

    from studio.models.doctor import attended_ids

    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = max_length
    tokenizer = load_tokenizer(str(folder))
    for text in [*ODD, "palavra " * 30]:
        assert list(tokenizer.encode(text, max_length).ids) == attended_ids(model, text), text


CONFIGS: dict[str, dict[str, object]] = {
    "GemmaTokenizer": {"tokenizer_class": "GemmaTokenizer"},
    "GemmaTokenizerFast": {"tokenizer_class": "GemmaTokenizerFast"},
    "Qwen2Tokenizer": {"tokenizer_class": "Qwen2Tokenizer"},
    "no class named": {"tokenizer_class": None},
    "PreTrainedTokenizerFast": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "flags without effect": {"add_eos_token": False, "add_bos_token": False},
    "left truncation": {"truncation_side": "left"},
    "left padding": {"padding_side": "left"},
    "a new special token": {"mask_token": "<novo>"},
    "a special token with flags": {
        "mask_token": {"__type": "AddedToken", "content": "<novo>", "lstrip": True, "rstrip": True}
    },
    "extra tokens, one a word of the vocabulary": {"extra_special_tokens": ["via", "fatura", "<extra>"]},
    "a word of the vocabulary as special token": {"sep_token": "via"},
    "extra tokens of Gemma": {"tokenizer_class": "GemmaTokenizer", "extra_special_tokens": ["via", "<extra>"]},
    "added tokens as transformers 4 wrote them": {
        "tokenizer_class": "GemmaTokenizer",
        "added_tokens_decoder": {
            str(id_): {
                "content": content,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for id_, content in enumerate(["<pad>", "<eos>", "<bos>", "<unk>"])
        },
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_ids_follow_transformers_whatever_the_config_says(copy: Path, name: str) -> None:
    edit(copy / "tokenizer_config.json", **CONFIGS[name])
    assert_same_as_the_model(copy)


def test_lower_case_and_saved_truncation_and_padding(copy: Path) -> None:
    edit(copy / "sentence_bert_config.json", do_lower_case=True)
    config = json.loads((copy / "tokenizer_config.json").read_text())
    kept = {key: value for key, value in config.items() if not key.endswith("_side")}
    (copy / "tokenizer_config.json").write_text(json.dumps(kept))
    edit(
        copy / "tokenizer.json",
        truncation={"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 9},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
    )
    tokenizer = load_tokenizer(str(copy))
    assert (tokenizer.truncation_side, tokenizer.padding_side) == ("left", "left")
    assert_same_as_the_model(copy)


def test_a_missing_end_of_sequence_token_shows(copy: Path) -> None:
    edit(copy / "tokenizer.json", post_processor=None)
    preview = preview_text("oi", PromptContract.custom("Q: "), Role.QUERY, load_tokenizer(str(copy)), 16)
    assert not preview.eos_is_last and preview.pooled_token != "<eos>"


def test_doubts_are_told(copy: Path) -> None:
    assert load_tokenizer(str(copy)).doubts == ()
    edit(copy / "tokenizer_config.json", tokenizer_class="T5Tokenizer")
    edit(copy / "sentence_bert_config.json", processing_kwargs={"text": {"max_length": 3}})
    assert len(load_tokenizer(str(copy)).doubts) == 2


def test_preview_of_a_row(tiny: str) -> None:
    contract = PromptContract.custom("Instruct: x\nQuery: ")
    pairs = pl.DataFrame({"row_id": ["r"], "query": ["Como?"], "positive": ["a" * 500], "negatives": [["<eos> b", ""]]})
    (row,) = preview_rows(pairs, contract, load_tokenizer(tiny), 32)
    query, positive, first, second = row.texts
    assert [(text.column, text.index) for text in row.texts] == [
        ("query", None),
        ("positive", None),
        ("negatives", 0),
        ("negatives", 1),
    ]
    assert query.raw == "Instruct: x\nQuery: Como?" and query.visible.startswith("Instruct:␠x⏎Query:␠")
    assert query.tokens[-1] == query.pooled_token == "<eos>" and query.pooled_position == query.attended - 1
    assert "".join(query.tokens).removeprefix("<bos>").removesuffix("<eos>") == query.visible
    assert query.cut_at is None and query.tokens_lost == 0 and query.prompt_tokens > 0
    assert positive.tokens_after == 32 and positive.tokens_lost == positive.tokens_before - 32 > 0
    assert positive.cut_at is not None and 0 < positive.cut_at < 500 and positive.prompt_tokens == 0
    assert first.special_in_text == 1 and second.raw == ""
    assert json.loads(json.dumps(row.to_dict()))["texts"][1]["cut_at"] == positive.cut_at


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(4, 40))
def test_what_is_read_and_what_is_cut_make_the_text(tiny: str, text: str, max_length: int) -> None:
    preview = preview_text(text, PromptContract.custom("Q: "), Role.QUERY, load_tokenizer(tiny), max_length)
    assert preview.tokens_before - preview.tokens_lost == preview.tokens_after == len(preview.ids) <= max_length
    assert len(preview.tokens) == len(preview.ids)
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
    assert not [char for token in preview.tokens for char in token if unicodedata.category(char) in hidden]
    assert (preview.cut_at is None) == (preview.tokens_lost == 0)


def test_the_cut_point_falls_before_a_character_read_in_part(tiny: str) -> None:
    tokenizer, contract = load_tokenizer(tiny), PromptContract.custom("")
    for max_length in range(4, 12):
        preview = preview_text("👍👍👍👍", contract, Role.DOCUMENT, tokenizer, max_length)
        kept = preview.tokens_after - 2
        per_character = (preview.tokens_before - 2) / 4
        assert preview.cut_at in (None, int(kept // per_character))


def test_left_truncation_reads_the_end(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", truncation_side="left")
    preview = preview_text("x" * 50 + "fim", PromptContract.custom(""), Role.QUERY, load_tokenizer(str(copy)), 8)
    read = "".join(preview.tokens).removeprefix("<bos>").removesuffix("<eos>")
    assert preview.cut_at is not None and preview.raw[preview.cut_at :] == read


def test_counts_tell_progress_can_be_stopped_and_name_the_bad_text(tiny: str) -> None:
    tokenizer = load_tokenizer(tiny)
    seen: list[tuple[int, int | None]] = []
    texts = pl.Series(["palavra " * 5000] * 120)
    counts = tokenizer.token_counts(texts, lambda step, done, total: seen.append((done, total)))
    assert counts.dtype == pl.UInt32 and len(seen) > 1 and seen[-1] == (120, 120)
    assert tokenizer.token_counts([]).to_list() == []

    def stop(step: str, done: int, total: int | None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        tokenizer.token_counts(texts, stop)
    for bad in ("\ud83d", None):
        with pytest.raises(InputError) as caught:
            tokenizer.token_counts(["a", bad])  # type: ignore[list-item]
        assert "text 1" in str(caught.value)
    with pytest.raises(InputError, match="trainer would stop"):
        tokenizer.encode("\udc00")
    with pytest.raises(ConfigError):
        tokenizer.encode("a", 2)
    with pytest.raises(ConfigError):
        preview_text("a", PromptContract.custom(""), Role.QUERY, tokenizer, 0)


def test_threads_share_a_tokenizer(tiny: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tokenizer = load_tokenizer(tiny)
    lengths = random.Random(1).choices(range(4, 60), k=200)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda length: len(tokenizer.encode("palavra " * 100, length).ids), lengths))
    assert found == lengths


def test_prompts_are_read_without_loading(copy: Path) -> None:
    path = copy / "config_sentence_transformers.json"
    edit(path, prompts={"web_search_query": "W: ", "query": None}, default_prompt_name="web_search_query")
    found = model_prompts(str(copy))
    assert found.prompts == {"web_search_query": "W: ", "query": ""}
    assert found.default_prompt_name == "web_search_query"
    path.unlink()
    assert model_prompts(str(copy)).prompts == {}
    edit(path, prompts=["a"])
    with pytest.raises(InputError):
        model_prompts(str(copy))


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "modules.json", "config.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]"])
def test_a_damaged_file_is_named(copy: Path, file: str, content: bytes) -> None:
    (copy / file).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(copy))
    assert file in str(caught.value)


def test_what_is_not_there() -> None:
    with pytest.raises(InputError):
        load_tokenizer("/no/such/folder")
    with pytest.raises(InputError):
        load_tokenizer(__file__)
    with pytest.raises(UnavailableError) as caught:
        load_tokenizer("microsoft/harrier-oss-v1-270m", "31de22b673913c7d658c0f03f792d77c2dcf8ebd")
    assert "huggingface-cli download" in str(caught.value)


def test_neither_torch_nor_transformers_is_loaded_for_a_preview(tiny: str) -> None:
    script = f"""
import sys
import unicodedata
import polars as pl
import studio.prompts.preview, studio.prompts.lint, studio.models.tokenizer, studio.models.load, studio.models.doctor
from studio.prompts.contract import PromptContract
contract = PromptContract.custom("Instruct: x\\nQuery: ")
pairs = pl.DataFrame({{"row_id": ["r"], "query": ["a"], "positive": ["b"], "negatives": [["c"]]}})
tokenizer = studio.models.tokenizer.load_tokenizer({tiny!r})
assert studio.prompts.preview.preview_rows(pairs, contract, tokenizer, 32)[0].texts[0].eos_is_last
tokenizer.token_counts(pairs["query"])
studio.prompts.lint.lint_contract(contract, studio.models.tokenizer.model_prompts({tiny!r}))
studio.prompts.lint.find_prompted_rows(pairs, contract)
studio.models.doctor.versions()
heavy = {{"torch", "transformers", "sentence_transformers", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
