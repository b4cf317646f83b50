"""What the embedding cache costs and saves: texts/s of `embed` against plain `encode`, and of reading it again.

    python tests/benchmarks/encoding.py data.parquet passage [--model sample_data/harrier-tiny] [--texts 2000]

Both encode the same distinct texts, on the same loaded model, with the same prompt, at the batch size `embed` chooses.
The texts are dealt into rounds, as like each other as they can be, and each round is measured with both, taking turns
at going first: what else the machine does hits both alike. Processor seconds are those of all threads. Run by hand;
it is no test, and it prints no text.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from studio.models.embed import Encoder, embed, loaded_model
from studio.models.load import ModelSpec

TINY = Path(__file__).parents[2] / "sample_data" / "harrier-tiny"
PROMPT = "Query: "


def main() -> None:
    """Print one line a way of getting the vectors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path, help="a .parquet or .jsonl file")
    parser.add_argument("column")
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    read = pl.scan_parquet if given.file.suffix == ".parquet" else pl.scan_ndjson
    column = read(given.file).select(given.column).collect().to_series().drop_nulls().unique(maintain_order=True)
    texts = column.head(given.texts)
    encoder = Encoder(ModelSpec(given.model, given.max_length, device=given.device))
    batch = 16 if given.device == "cpu" else 32
    model = loaded_model(encoder.spec)
    model.encode(texts.head(batch).to_list(), prompt=PROMPT, show_progress_bar=False)

    print(f"{len(texts):,} texts of {texts.str.len_chars().mean():.0f} characters, at most {given.max_length} tokens")
    print(f"{'':<28}{'seconds':>9}{'texts/s':>11}{'processor s':>13}")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        by_length = texts.gather(texts.str.len_chars().arg_sort())
        clocks = np.zeros((2, 2))
        worst = 1.0
        for number in range(given.rounds):
            part = by_length.gather_every(given.rounds, number)
            found: list[np.ndarray] = [np.empty(0)] * 2
            for which in (number % 2, 1 - number % 2):
                wall, processor = time.perf_counter(), time.process_time()
                if which:
                    found[1] = embed(encoder, part, PROMPT, store)
                else:
                    found[0] = model.encode(
                        part.to_list(),
                        prompt=PROMPT,
                        batch_size=batch,
                        normalize_embeddings=True,
                        show_progress_bar=False,
                    )
                clocks[which] += time.perf_counter() - wall, time.process_time() - processor
            worst = min(worst, float((found[0] * found[1]).sum(axis=1).min()))
        for name, (wall, processor) in zip(("plain encode", "embed, nothing cached"), clocks, strict=True):
            print(f"{name:<28}{wall:9.2f}{len(texts) / wall:11,.0f}{processor:13.2f}")
        wall, processor = time.perf_counter(), time.process_time()
        embed(encoder, texts, PROMPT, store)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"{'embed, everything cached':<28}{wall:9.3f}{len(texts) / wall:11,.0f}{processor:13.3f}")
        ratio = clocks[0] / clocks[1]
        print(
            f"embed / plain: {ratio[0]:.2f} of the texts/s, {ratio[1]:.2f} by processor time; lowest cosine {worst:.6f}"
        )


if __name__ == "__main__":
    main()
