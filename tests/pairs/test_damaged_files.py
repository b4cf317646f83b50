"""A few hundred damaged files of every format: each is read, or is an error that says where."""

import gzip
import io
import json
import random
from pathlib import Path

import polars as pl
import pytest

from studio.errors import StudioError
from studio.pairs.read import read_pairs

FRAME = pl.DataFrame(
    {"query": [f"pergunta {i} ção" for i in range(30)], "positive": [f"resposta {i}\nlinha" for i in range(30)]}
)
CASES = 40


def originals() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for suffix, write in (
        (".parquet", FRAME.write_parquet),
        (".arrow", FRAME.write_ipc),
        (".feather", FRAME.write_ipc_stream),
        (".jsonl", FRAME.write_ndjson),
        (".csv", FRAME.write_csv),
    ):
        buffer = io.BytesIO()
        write(buffer)
        made[suffix] = buffer.getvalue()
    made[".json"] = json.dumps(FRAME.to_dicts()).encode()
    made[".tsv"] = made[".csv"].replace(b",", b"\t")
    made[".jsonl.gz"] = gzip.compress(made[".jsonl"])
    return made


def damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        flipped = bytearray(data)
        for _ in range(rng.randrange(1, 20)):
            flipped[rng.randrange(len(flipped))] = rng.randrange(256)
        return bytes(flipped)
    if kind == 2:
        return rng.choice(others)
    if kind == 3:
        return data[:at] + rng.choice(others)[at // 2 :]
    if kind == 4:
        return (
            data[:at] + rng.choice((b'"' * 999, b"[" * 5000, b"\0" * 99, b"\xff" * 9, b"1e999", b"{}" * 50)) + data[at:]
        )
    return rng.randbytes(rng.randrange(200))


@pytest.mark.parametrize("suffix", originals())
def test_damaged_files_are_read_or_refused_in_words(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(f"damage{suffix}")
    made = originals()
    for case in range(CASES):
        path = tmp_path / f"case{case}{suffix}"
        path.write_bytes(damaged(made[suffix], list(made.values()), rng))
        try:
            imported = read_pairs([path])
        except StudioError as error:
            assert error.where
        else:
            assert imported.pairs["query"].null_count() == 0
            assert (imported.pairs["query"].str.len_chars() > 0).all()
