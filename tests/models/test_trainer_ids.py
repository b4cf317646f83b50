"""The promise of the preview: its ids are the ids of the trainer's collator, for every row, role and byte."""

from pathlib import Path

import polars as pl
import pytest

from studio.models.doctor import attended_ids
from studio.models.load import ModelSpec, load_model
from studio.models.tokenizer import load_tokenizer
from studio.prompts.contract import PromptContract, Role
from studio.prompts.presets import PRESETS, get_preset
from studio.prompts.preview import preview_rows, preview_text

HOSTILE = [
    "Como pedir a 2ª via da fatura?",
    "",
    " ",
    "\n\n\t  \r\n",
    "emoji 👍🏽👩‍👩‍👧 ❤️ 🇧🇷",
    "direita \u202eesquerda\u202c \u200f\u2066x\u2069",
    "nulo \x00 no meio",
    "controle \x1b[31m \x07 \x08 \x7f",
    "acento e\u0301 a\u0303o combinado e é precomposto",
    "<eos> <bos> <pad> escritos <eos>",
    "Instruct: já tem\nQuery: instrução",
    "\ufeffBOM e \u200bzero e \u00a0nbsp",
    "ﷺ ½ ﬁ Å 漢字 ไทย",
    "https://exemplo.com.br/foto.png",
    "palavra" * 300,
    ("linha de duzentos quilobytes " * 8000)[:200_000],
    "\U0010ffff\ue000\u0378",
]
CONTRACTS = {name: preset.contract() for name, preset in PRESETS.items()} | {
    "both": PromptContract.custom("Q:\u00a0👍 ", "passage\n: "),
    "longer than the limit": PromptContract.custom("Instruct: " + "muito " * 400 + "\nQuery: "),
}


def shifted(by: int) -> list[str]:
    return HOSTILE[by:] + HOSTILE[:by]


@pytest.fixture(scope="module")
def model(tiny: str):
    return load_model(ModelSpec(tiny, 48, device="cpu"))


def trainer_ids(model, columns: dict[str, list[str]], prompts: dict[str, str], folder: Path) -> list[tuple]:
    """The attended ids of every column of every row, from the batch the trainer would train on, sorted."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        prompts=prompts,
        per_device_train_batch_size=len(HOSTILE),
        use_cpu=True,
        report_to="none",
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        loss=MultipleNegativesRankingLoss(model),
    )
    (batch,) = trainer.get_train_dataloader()
    rows = []
    for at in range(len(HOSTILE)):
        row = []
        for column in columns:
            mask = batch[f"{column}_attention_mask"][at].bool()
            row.append(tuple(batch[f"{column}_input_ids"][at][mask].tolist()))
        rows.append(tuple(row))
    return sorted(rows)


@pytest.mark.parametrize("max_length", [8, 48, 400])
@pytest.mark.parametrize("name", ["web_search_query", "none", "both"])
def test_the_preview_shows_the_ids_of_the_trainers_batch(
    model, tiny: str, tmp_path: Path, name: str, max_length: int
) -> None:
    contract = CONTRACTS[name]
    columns = {"query": HOSTILE, "positive": shifted(5), "negative": shifted(11)}
    model.max_seq_length = max_length
    prompts = contract.as_trainer_prompts({Role.QUERY: "query", Role.DOCUMENT: ["positive", "negative"]})
    expected = trainer_ids(model, columns, prompts, tmp_path)

    pairs = pl.DataFrame(
        {
            "row_id": [str(at) for at in range(len(HOSTILE))],
            "query": columns["query"],
            "positive": columns["positive"],
            "negatives": [[text] for text in columns["negative"]],
        }
    )
    previews = preview_rows(pairs, contract, load_tokenizer(tiny), max_length)
    assert sorted(tuple(text.ids for text in row.texts) for row in previews) == expected
    assert any(text.tokens_lost for row in previews for text in row.texts)
    assert all(text.eos_is_last and text.attended <= max_length for row in previews for text in row.texts)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_preview_shows_the_ids_and_the_prompt_length_of_encode(model, tiny: str, name: str) -> None:
    contract, tokenizer = CONTRACTS[name], load_tokenizer(tiny)
    model.max_seq_length = 48
    model[0]._prompt_length_mapping.clear()
    for text in HOSTILE:
        # What `model.encode(text, prompt=…)` does before the forward pass.
        features = model.preprocess([text], prompt=contract.query or None)
        ids = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
        preview = preview_text(text, contract, Role.QUERY, tokenizer, 48)
        assert list(preview.ids) == ids
        assert preview.prompt_tokens == int(features.get("prompt_length", 0))


def test_counts_of_many_texts_are_the_counts_of_the_model(model, tiny: str) -> None:
    counts = load_tokenizer(tiny).token_counts(HOSTILE)
    model.max_seq_length = 1_000_000
    assert counts.to_list() == [len(attended_ids(model, text)) for text in HOSTILE]
    model.max_seq_length = 48
    assert [min(count, 48) for count in counts] == [len(attended_ids(model, text)) for text in HOSTILE]


def test_the_pooled_token_is_the_one_whose_state_is_the_vector(model, tiny: str) -> None:
    import torch

    model.max_seq_length = 48
    contract = get_preset("web_search_query").contract()
    tokenizer = load_tokenizer(tiny)
    for text in ("curta", "palavra " * 100):
        preview = preview_text(text, contract, Role.QUERY, tokenizer, 48)
        with torch.inference_mode():
            states = model[0].auto_model(torch.tensor([preview.ids])).last_hidden_state[0]
            vector = model.encode(text, prompt=contract.query, convert_to_tensor=True)
        pooled = torch.nn.functional.normalize(states[preview.pooled_position], dim=0)
        assert torch.allclose(pooled, vector, atol=1e-5)
