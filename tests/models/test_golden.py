"""Vectors computed by other means are the same, and what is saved is what was there."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from studio.models.doctor import Finding, Status
from studio.models.golden import TEXTS, TOLERANCE, golden, last_token_vectors
from studio.models.load import ModelSpec, load_model, model_spec
from studio.models.tokenizer import model_prompts
from studio.prompts.contract import PromptContract
from studio.training.building import trained_prompts


@pytest.fixture
def copy(tiny: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


CARD = "---\nlibrary_name: sentence-transformers\ntags:\n- retrieval\n- harrier-studio\n---\n\n# a run\n"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def found(spec: ModelSpec, contract: PromptContract | None = None) -> dict[str, Finding]:
    return {finding.code: finding for finding in golden(spec, contract)}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("max_length", [512, 16])
def test_transformers_alone_gives_the_vectors_of_sentence_transformers(tiny: str, side: str, max_length: int) -> None:
    spec = ModelSpec(tiny, max_length, dtype="float32", device="cpu")
    vectors = load_model(spec).encode(list(TEXTS), prompt="", show_progress_bar=False)
    assert np.abs(last_token_vectors(spec, TEXTS, side) - vectors).max() <= TOLERANCE


def test_the_embedded_model_is_golden(tiny: str) -> None:
    findings = found(ModelSpec(tiny, 128, device="cpu"))
    assert {code: finding.status for code, finding in findings.items()} == dict.fromkeys(
        ("raw_left", "raw_right", "saved_again", "saved_prompts"), Status.PASS
    )


def test_a_pooling_that_takes_another_token_is_found(copy: Path) -> None:
    edit(copy / "1_Pooling" / "config.json", include_prompt=True, pooling_mode="mean")
    assert found(ModelSpec(str(copy), 128, device="cpu"))["raw"].message.startswith("Not compared")
    # What the files say is last-token pooling, over weights that are others than those that were read.
    shutil.rmtree(copy / "2_Normalize")
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps(modules[:2]))
    edit(copy / "1_Pooling" / "config.json", pooling_mode="cls")
    assert "cls" in found(ModelSpec(str(copy), 128, device="cpu"))["raw"].message


def test_prompts_are_compared_with_the_contract_byte_for_byte(copy: Path) -> None:
    spec = ModelSpec(str(copy), 128, device="cpu")
    contract = PromptContract.custom("Instruct: Responda\nQuery: ", name="x")
    # A base model has no such prompts: that is no fault of it.
    finding = found(spec, contract)["contract"]
    assert finding.status is Status.WARN and "not trained with the contract" in finding.message
    assert "harrier-studio train --project DIR" in finding.remedy
    # One that the studio trained says so on its card.
    (copy / "README.md").write_text(CARD)
    assert found(spec, contract)["contract"].status is Status.FAIL
    edit(copy / "config_sentence_transformers.json", prompts={"query": contract.query, "document": ""})
    assert found(spec, contract)["contract"].status is Status.PASS
    # A space that nobody sees is another prompt.
    edit(copy / "config_sentence_transformers.json", prompts={"query": contract.query[:-1], "document": ""})
    finding = found(spec, contract)["contract"]
    assert finding.status is Status.FAIL and "Responda" in finding.message


def test_what_a_run_saves_has_the_prompts_of_its_contract(tiny: str, tmp_path: Path) -> None:
    contract = PromptContract.custom("Instruct: Responda  à pergunta\nQuery: ", name="x")
    model = load_model(ModelSpec(tiny, 128, dtype="float32", device="cpu"))
    model.prompts = trained_prompts(model, contract)
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    statuses = {
        code: finding.status for code, finding in found(ModelSpec(str(tmp_path / "saved"), 128), contract).items()
    }
    assert set(statuses.values()) == {Status.PASS} and "contract" in statuses


def test_a_model_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    findings = golden(ModelSpec(str(tmp_path / "none"), 128, device="cpu"))
    assert [finding.status for finding in findings] == [Status.FAIL]


CARD_QUERIES = ["how much protein should a female eat", "summit define"]
CARD_PASSAGES = [
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day. "
    "But, as you can see from this chart, you'll need to increase that if you're expecting or training for a marathon. "
    "Check out the chart below to see how much protein you should be eating each day.",
    "Definition of summit for English Language Learners. : 1  the highest point of a mountain : the top of a mountain. "
    ": 2  the highest level. : 3  a meeting or series of meetings between the leaders of two or more governments.",
]
# What the model's card gives, as curiosity-ai/sentence-transformers-sharp #17 quotes it.
CARD_COSINES = [[0.6457, 0.2545], [0.2997, 0.6741]]


@pytest.mark.network
@pytest.mark.skipif(os.environ.get("HARRIER_CARD") != "1", reason="fetches half a gigabyte; set HARRIER_CARD=1")
def test_the_example_on_the_card_of_harrier_270m(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    spec = model_spec("harrier-oss-v1-270m", dtype="float32", device="cpu")
    model = load_model(spec)
    prompt = model_prompts(spec.id_or_path, spec.revision).prompts["web_search_query"]
    queries = model.encode(CARD_QUERIES, prompt=prompt, show_progress_bar=False)
    passages = model.encode(CARD_PASSAGES, prompt="", show_progress_bar=False)
    assert np.abs(queries @ passages.T - np.array(CARD_COSINES)).max() < 0.01
    assert np.abs(last_token_vectors(spec, CARD_PASSAGES, "left") - passages).max() <= TOLERANCE
