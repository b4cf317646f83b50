"""Make harrier-tiny: a small model with Harrier's architecture, pooling, normalisation, prompts and special tokens.

    python sample_data/make_harrier_tiny.py --pairs FILE.parquet … --out sample_data/harrier-tiny

FILE holds columns `query` and `passage`. Nothing of the sample project is seen, so that fine-tuning on it can be shown.
Everything random comes from --seed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import Gemma3TextConfig, Gemma3TextModel, PreTrainedTokenizerFast

from studio.files import atomic_directory
from studio.prompts.presets import PRESETS

HERE = Path(__file__).parent
VOCABULARY = 8192
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
PROMPTS = {name: PRESETS[name].query for name in ("web_search_query", "sts_query", "bitext_query")}
HELD_OUT_QUERIES, HELD_OUT_PASSAGES = 500, 6000
QUERY_TOKENS, PASSAGE_TOKENS = 48, 112


@dataclass(frozen=True)
class Data:
    """Training pairs, and a held-out set: queries, the passages they are searched in, relevant passages by query."""

    train: list[tuple[str, str]]
    queries: list[str]
    passages: list[str]
    relevant: list[set[int]]


def load_data(files: list[Path], rng: random.Random) -> Data:
    """Read pairs and hold out queries whose passage, and the query itself, occur nowhere in training."""
    pairs = [
        row
        for file in files
        for row in pl.read_parquet(file, columns=["query", "passage"]).unique(maintain_order=True).iter_rows()
    ]
    passages = list(dict.fromkeys(passage for _, passage in pairs))
    rng.shuffle(passages)
    answers: dict[str, set[str]] = {}
    for query, passage in pairs:
        answers.setdefault(query, set()).add(passage)
    held_queries = rng.sample(sorted(answers), min(HELD_OUT_QUERIES, len(answers) // 10))
    held = {passage for query in held_queries for passage in answers[query]}
    corpus = [*held, *(passage for passage in passages if passage not in held)][:HELD_OUT_PASSAGES]
    place = {passage: index for index, passage in enumerate(corpus)}
    train = [(q, p) for q, p in pairs if p not in held and q not in held_queries]
    relevant = [{place[passage] for passage in answers[query]} for query in held_queries]
    return Data(train, held_queries, corpus, relevant)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE that wraps every text in <bos> … <eos>, also when it is cut."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *list(PROMPTS.values()) * 50], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="right",
        model_max_length=32768,
    )


def make_model() -> Gemma3TextModel:
    """A Gemma-3 text model with full attention in every layer, about 2 M parameters."""
    layers = 4
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        query_pre_attn_scalar=32,
        max_position_embeddings=32768,
        layer_types=["full_attention"] * layers,
        rope_theta=1e6,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        use_bidirectional_attention=False,
    )
    return Gemma3TextModel(config)


class Encoder(nn.Module):
    """Token ids to unit vectors: the hidden state of the last attended token."""

    def __init__(self, model: Gemma3TextModel, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer

    def forward(self, texts: list[str], length: int) -> torch.Tensor:
        """Return vectors of shape (len(texts), 128)."""
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        hidden = self.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        last = batch["attention_mask"].sum(dim=1) - 1
        return nn.functional.normalize(hidden[torch.arange(len(texts)), last], dim=-1)

    @torch.no_grad()
    def encode(self, texts: list[str], length: int) -> torch.Tensor:
        """The same without gradients, in batches of similar length, in the order given."""
        self.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.empty(len(texts), 128)
        for low in range(0, len(order), 128):
            index = order[low : low + 128]
            vectors[index] = self([texts[i] for i in index], length)
        self.train()
        return vectors


def ndcg10(encoder: Encoder, data: Data) -> float:
    """Mean nDCG@10 of the held-out queries, binary relevance, by cosine."""
    prompt = PROMPTS["web_search_query"]
    passages = encoder.encode(data.passages, 256)
    queries = encoder.encode([prompt + query for query in data.queries], 128)
    top = (queries @ passages.T).topk(10).indices.tolist()
    scores = []
    for found, relevant in zip(top, data.relevant, strict=True):
        gain = sum(1 / math.log2(rank + 2) for rank, index in enumerate(found) if index in relevant)
        scores.append(gain / sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant)))))
    return float(np.mean(scores))


def cropped(passage: str, rng: random.Random) -> tuple[str, str] | None:
    """One sentence of a passage as a query, and mostly the rest as its passage (inverse cloze)."""
    sentences = [s for s in re.split(r"(?<=[.!?;])\s+|\n+", passage) if len(s.split()) >= 4]
    if len(sentences) < 2:
        return None
    chosen = rng.randrange(len(sentences))
    rest = passage if rng.random() < 0.15 else " ".join(s for i, s in enumerate(sentences) if i != chosen)
    words = sentences[chosen].split()
    start = rng.randrange(max(1, len(words) - 12))
    return " ".join(words[start : start + rng.randrange(4, 13)]), rest


def batches(data: Data, steps: int, size: int, rng: random.Random) -> list[list[tuple[str, str]]]:
    """Batches without a repeated query or passage; the share of crops falls from all to a fifth."""
    passages = sorted({passage for _, passage in data.train})
    result = []
    for step in range(steps):
        crops = max(0.2, 1 - 2.5 * step / steps)
        batch: dict[str, str] = {}
        seen: set[str] = set()
        while len(batch) < size:
            pair = cropped(rng.choice(passages), rng) if rng.random() < crops else rng.choice(data.train)
            if pair and pair[0] not in batch and pair[1] not in seen:
                batch[pair[0]] = pair[1]
                seen.add(pair[1])
        result.append(list(batch.items()))
    return result


def train(encoder: Encoder, data: Data, steps: int, size: int, rate: float, rng: random.Random) -> None:
    """InfoNCE both ways with in-batch negatives; AdamW, warm-up a tenth, cosine."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / (0.08 * steps), 0.5 * (1 + math.cos(math.pi * s / steps)) + 0.01)
    )
    prompt, start = PROMPTS["web_search_query"], time.time()
    for step, batch in enumerate(batches(data, steps, size, rng), 1):
        scale = 20 + 20 * step / steps
        queries = encoder([prompt + query for query, _ in batch], QUERY_TOKENS)
        passages = encoder([passage for _, passage in batch], PASSAGE_TOKENS)
        scores = scale * queries @ passages.T
        target = torch.arange(len(batch))
        loss = (nn.functional.cross_entropy(scores, target) + nn.functional.cross_entropy(scores.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps:
            shown = f" nDCG@10 {ndcg10(encoder, data):.4f}" if step % 150 == 0 or step == steps else ""
            print(f"step {step} loss {loss.item():.3f} {time.time() - start:.0f} s{shown}", flush=True)


def save(encoder: Encoder, out: Path, card: str) -> None:
    """Assemble the sentence-transformers modules and replace `out` in one step."""
    with atomic_directory(out) as folder:
        hf = folder / "hf"
        encoder.model.save_pretrained(hf)
        encoder.tokenizer.save_pretrained(hf)
        transformer = Transformer(str(hf))
        model = SentenceTransformer(
            modules=[transformer, Pooling(128, pooling_mode="lasttoken", include_prompt=True), Normalize()],
            prompts=PROMPTS,
            device="cpu",
        )
        model.save(str(folder / "st"), create_model_card=False)
        for path in sorted((folder / "st").rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(folder / "st")
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
        for left in (hf, folder / "st"):
            for path in sorted(left.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            left.rmdir()
        (folder / "sentence_bert_config.json").unlink(missing_ok=True)
        config_path = folder / "config_sentence_transformers.json"
        config = json.loads(config_path.read_text("utf-8"))
        config["prompts"], config["default_prompt_name"] = PROMPTS, None
        config_path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        (folder / "README.md").write_text(card, "utf-8")


CARD = """---
license: mit
language: pt
library_name: sentence-transformers
---
# harrier-tiny

A stand-in for microsoft/harrier-oss-v1-270m in tests and in the demo, not a model for use. Same architecture
(Gemma-3 text, decoder-only, full attention), last-token pooling on `<eos>`, L2 normalisation, prompts and special
tokens; byte-level BPE of {vocabulary:,} entries, {parameters:,} parameters, float32.

Trained on a CPU with InfoNCE on Portuguese Debian package descriptions, {steps} steps of {size} pairs; nothing of the
sample project was seen. nDCG@10 {score:.3f} on {queries} held-out queries over {passages:,}
passages, none of them seen in training.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("sample_data/harrier-tiny")
model.max_seq_length = 512  # like Harrier it names no limit of its own
queries = model.encode(["segunda via da conta de luz"], prompt_name="web_search_query")
passages = model.encode(["A segunda via da fatura sai no portal."])
```
"""


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=HERE / "harrier-tiny")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    data = load_data(options.pairs, rng)
    print(f"{len(data.train)} training pairs, {len(data.queries)} held-out queries over {len(data.passages)} passages")
    encoder = Encoder(make_model(), make_tokenizer([text for pair in data.train for text in pair]))
    train(encoder, data, options.steps, options.batch, options.rate, rng)
    card = CARD.format(
        vocabulary=VOCABULARY,
        parameters=sum(p.numel() for p in encoder.parameters()),
        steps=options.steps,
        size=options.batch,
        score=ndcg10(encoder, data),
        queries=len(data.queries),
        passages=len(data.passages),
    )
    save(encoder, options.out, card)


if __name__ == "__main__":
    main()
