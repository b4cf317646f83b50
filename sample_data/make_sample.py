"""Make the sample project's pairs: the hand-written rows, with faults planted among them and an answer key.

    python sample_data/make_sample.py [--seed 1]

writes `pairs.jsonl` (id, field, doc_id, split, query, passage) and `answer_key.jsonl` (kind, truth, a, b) beside this
file. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.files import write_text
from studio.selftest.planting import plant
from studio.selftest.sample import PER_KIND, clean_rows

HERE = Path(__file__).parent


def main() -> None:
    """Read the hand-written rows, plant, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    rows, alternates = clean_rows(HERE)
    planted, key = plant(rows, alternates, seed, PER_KIND)
    _write(HERE / "pairs.jsonl", (asdict(row) for row in planted))
    _write(HERE / "answer_key.jsonl", (asdict(line) for line in key))
    print(f"{len(rows)} clean rows, {len(planted)} in all, {len(key)} lines in the answer key")


def _write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


if __name__ == "__main__":
    main()
