"""Other tools for near-duplicates, each used as its own documentation shows; for `near_duplicates.py`.

Imports NumPy, polars and the tool itself, nothing of the studio, so that it runs in an environment that has only those.
A tool is set up outside the clock (imports, input in the form it takes) and returns the function to be timed. Texts
come as lower-cased words with single spaces; the shingles are three words, or all of a shorter text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

SHINGLE = 3
SEED = 1


@dataclass(frozen=True)
class Task:
    """What every tool is given."""

    texts: pl.Series
    threshold: float
    permutations: int
    folder: Path
    """Empty, for a tool that reads or writes files."""


class Found(NamedTuple):
    """What a tool found."""

    rows: NDArray[np.int64] | NDArray[np.bool_]
    """Pairs of rows, shape (n, 2); or a flag for each text: dropped as a duplicate."""
    jaccard: NDArray[np.float64] | None = None


Run = Callable[[], Found]


class Peer(NamedTuple):
    """A tool: what to install, what to import, how to use it."""

    package: str
    module: str
    prepare: Callable[[Task], Run]


def _datasketch(task: Task) -> Run:
    """`MinHash.bulk` and `MinHashLSH`: each text asks for those before it. Bands decide; nothing is verified."""
    from datasketch import MinHash, MinHashLSH

    texts = task.texts.to_list()

    def run() -> Found:
        sets = ([shingle.encode() for shingle in shingles] for shingles in _shingled(texts))
        minhashes = MinHash.bulk(sets, num_perm=task.permutations, seed=SEED)
        index = MinHashLSH(threshold=task.threshold, num_perm=task.permutations)
        matches = []
        for row, minhash in enumerate(minhashes):
            matches.append(index.query(minhash))
            index.insert(row, minhash)
        return Found(_pairs(np.arange(len(texts)), matches))

    return run


def _rensa(task: Task) -> Run:
    """The deduplicator: a text is dropped when its estimate with a kept one reaches the threshold."""
    from rensa import RMinHashDeduplicator

    texts = task.texts.to_list()

    def run() -> Found:
        index = RMinHashDeduplicator(threshold=task.threshold, num_perm=task.permutations, use_lsh=True, seed=SEED)
        kept = index.add_pairs((str(row), shingles) for row, shingles in enumerate(_shingled(texts)))
        return Found(~np.array(kept, bool))

    return run


def _rensa_lsh(task: Task) -> Run:
    """The index by itself. Bands decide; nothing is verified."""
    from rensa import RMinHash, RMinHashLSH

    texts = task.texts.to_list()
    bands = _rensa_bands(task)

    def run() -> Found:
        minhashes = RMinHash.from_token_sets(_shingled(texts), num_perm=task.permutations, seed=SEED)
        index = RMinHashLSH(threshold=task.threshold, num_perm=task.permutations, num_bands=bands)
        index.insert_many(minhashes)
        return Found(_pairs(np.arange(len(texts)), index.query_all(minhashes)))

    return run


def _rensa_rho(task: Task) -> Run:
    """The pipeline of rensa's own benchmark. Every text in a shared band is flagged, the first of its kind too."""
    from rensa import RMinHash, RMinHashLSH

    texts = task.texts.to_list()
    bands = _rensa_bands(task)

    def run() -> Found:
        matrix = RMinHash.digest_matrix_from_token_sets_rho(_shingled(texts), num_perm=task.permutations, seed=SEED)
        index = RMinHashLSH(threshold=task.threshold, num_perm=task.permutations, num_bands=bands)
        return Found(np.array(index.query_duplicate_flags_matrix_one_shot(matrix), bool))

    return run


def _rensa_bands(task: Task) -> int:
    """The bands rensa's deduplicator takes by default; its index has no default of its own."""
    table = ((0.9, 4), (0.8, 8), (0.7, 16), (0.5, 32), (0.0, task.permutations // 2))
    most = next(bands for least, bands in table if task.threshold >= least)
    return next(bands for bands in range(most, 0, -1) if task.permutations % bands == 0)


def _gaoya(task: Task) -> Run:
    """Bulk insertion and bulk query on all cores, filtered by the estimate.

    Texts of fewer words than a shingle are left out: gaoya takes them all for the same empty set. Distinct ones match
    nothing anyway.
    """
    from gaoya.minhash import MinHashStringIndex

    rows = np.flatnonzero((task.texts.str.count_matches(" ", literal=True) >= SHINGLE - 1).to_numpy())
    texts = task.texts.gather(rows).to_list()

    def run() -> Found:
        index = MinHashStringIndex(
            hash_size=32,
            jaccard_threshold=task.threshold,
            num_bands=None,
            band_size=None,
            num_hashes=task.permutations,
            analyzer="word",
            ngram_range=(SHINGLE, SHINGLE),
            id_container="smallvec",
        )
        index.par_bulk_insert_docs(rows.tolist(), texts)
        return Found(_pairs(rows, index.par_bulk_query(texts)))

    return run


def _text_dedup(task: Task) -> Run:
    """The command `text_dedup.minhash`, called in this process; it reads and writes a folder and forks workers.

    It keeps one text of each cluster, not always the first. So that flags mean the same for all, the first counts as
    kept here. It takes no seed.
    """
    from datasets import Dataset
    from text_dedup import minhash

    source, target, cache = (str(task.folder / name) for name in ("source", "target", "cache"))
    Dataset.from_dict({"text": task.texts.to_list()}).save_to_disk(source)
    options = {
        "path": source,
        "output": target,
        "cache_dir": cache,
        "column": "text",
        "ngram": SHINGLE,
        "min_length": 1,
        "num_perm": task.permutations,
        "threshold": task.threshold,
        "hash_func": "xxh3",
    }
    arguments = ["--local", *(f"--{name}={value}" for name, value in options.items())]

    def run() -> Found:
        minhash.main(args=arguments, standalone_mode=False)
        rows = np.array(sorted(minhash.uf.parent), np.int64)
        roots = np.array([minhash.uf.find(row) for row in rows.tolist()], np.int64)
        dropped = np.ones(len(rows), bool)
        dropped[np.unique(roots, return_index=True)[1]] = False
        flags = np.zeros(len(task.texts), bool)
        flags[rows[dropped]] = True
        return Found(flags)

    return run


def _shingled(texts: Sequence[str]) -> Iterator[list[str]]:
    for text in texts:
        words = text.split(" ")
        yield [" ".join(three) for three in zip(words, words[1:], words[2:], strict=False)] or [text]


def _pairs(rows: NDArray[np.int64], matches: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Row `rows[i]` beside each of `matches[i]`, in both directions and with itself if the tool says so."""
    sizes = np.fromiter(map(len, matches), np.int64, len(matches))
    others = np.fromiter((other for match in matches for other in match), np.int64, int(sizes.sum()))
    return np.stack([np.repeat(rows, sizes), others], axis=1)


PEERS = {
    "datasketch": Peer("datasketch", "datasketch", _datasketch),
    "rensa": Peer("rensa", "rensa", _rensa),
    "rensa lsh": Peer("rensa", "rensa", _rensa_lsh),
    "rensa rho": Peer("rensa", "rensa", _rensa_rho),
    "text-dedup": Peer("text-dedup", "text_dedup", _text_dedup),
    "gaoya": Peer("gaoya", "gaoya", _gaoya),
}
