"""Near-duplicates of a text column: this studio beside other tools, one process each, one table.

    python tests/benchmarks/near_duplicates.py FILE.parquet --column passage [--rows N] [--shuffle SEED]
    python tests/benchmarks/near_duplicates.py --generate 1000000 --seed 1 [--only studio,rensa]
    ... --peers-python /path/to/python   where the other tools are installed, if not here

Every tool gets the same texts (lower-cased words, single spaces; no two the same set of shingles), three-word
shingles and the same number of permutations. Seconds run from texts in memory to pairs or flags. All tools are
imported before the clock starts, the studio's compiled kernels too where the column is worth them (about a second;
compiling them, once a machine, some 15 s). Peak MB is all of the tool's process (of the largest one, if it forks).
Truth is the studio's exact join. A tool that only flags texts to drop is judged by its flags: precision is how many
of them have a true neighbour, recall how many of the texts with an earlier true neighbour were flagged. Run by hand;
it is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from near_peers import PEERS, SEED, SHINGLE, Found, Run, Task
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
"""Pairs packed as (smaller row << 32) | larger row, sorted, each once."""

Flags = NDArray[np.bool_]

_TRUTH = "studio exact"
_CLOSE = 0.8
_TEXTS = "texts.parquet"


def _studio(method: Literal["exact", "minhash"]) -> Callable[[Task], Run]:
    def prepare(task: Task) -> Run:
        from studio.text import kernels
        from studio.text.near import near_pairs
        from studio.text.shingles import Spec

        kernels.fast(int(task.texts.str.len_bytes().sum()))

        def run() -> Found:
            near = near_pairs(
                task.texts,
                Spec("word", SHINGLE),
                floor=task.threshold,
                num_perm=task.permutations,
                seed=SEED,
                method=method,
            )
            return Found(near.pairs, near.jaccard)

        return run

    return prepare


_STUDIO = {_TRUTH: _studio("exact"), "studio minhash": _studio("minhash")}
_TOOLS = [*_STUDIO, *PEERS]


@dataclass(frozen=True)
class _Outcome:
    """One tool's run."""

    tool: str
    seconds: float = 0
    peak: float = 0
    version: str = ""
    trouble: str = ""


def _prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write the texts that every tool gets."""
    if options.generate:
        from near_generated import generate

        column = generate(options.generate, options.seed)
    else:
        column = pl.read_parquet(options.file, columns=[options.column], n_rows=options.rows).to_series()
    from studio.text.near import near_pairs
    from studio.text.normalise import Level, normalised
    from studio.text.shingles import Spec

    words = normalised(pl.first(), Level.SURFACE).str.extract_all(r"[\p{L}\p{N}\p{M}]+").list.join(" ")
    texts = column.to_frame().select(words.alias("text")).filter(pl.first() != "").unique(maintain_order=True)
    # Texts of one and the same shingle set count once, too: the studio pairs only the first of them with the others.
    twins = near_pairs(texts.to_series(), Spec("word", SHINGLE), floor=1.0, method="exact").pairs[:, 1]
    texts = texts.filter(~pl.Series(_flags(twins, len(texts))))
    if options.shuffle is not None:
        texts = texts.sample(fraction=1, shuffle=True, seed=options.shuffle)
    texts.write_parquet(folder / _TEXTS)


def _work(tool: str, options: argparse.Namespace, folder: Path) -> dict[str, float | str]:
    """Run one tool in this process and leave what it found in `folder`."""
    if tool in PEERS:
        peer = PEERS[tool]
        if find_spec(peer.module) is None:
            return {"trouble": f"skipped: not installed (pip install {peer.package})"}
        prepare, release = peer.prepare, version(peer.package)
    else:
        prepare, release = _STUDIO[tool], ""
    texts = pl.read_parquet(folder / _TEXTS).to_series()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        run = prepare(Task(texts, options.threshold, options.permutations, Path(scratch)))
        start = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - start
    own, forked = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    kilobytes = max(own, forked) / (1024 if sys.platform == "darwin" else 1)
    _save(folder, tool, found)
    return {"seconds": seconds, "peak": kilobytes / 1024, "version": release}


def _save(folder: Path, tool: str, found: Found) -> None:
    if found.rows.ndim == 1:
        np.save(folder / f"{tool}.npy", found.rows)
        return
    low, high = found.rows.min(axis=1), found.rows.max(axis=1)
    keys, first = np.unique((low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64), return_index=True)
    apart = low[first] != high[first]
    np.save(folder / f"{tool}.npy", keys[apart])
    if found.jaccard is not None:
        np.save(folder / f"{tool}.jaccard.npy", found.jaccard[first][apart])


def _launch(task: str, folder: Path, python: str) -> tuple[str, str]:
    """Start this script again for one task; return its last line, and what went wrong, if anything."""
    command = [python, __file__, *sys.argv[1:], "--worker", task, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return "", f"failed: {signal.Signals(-done.returncode).name}"
    if done.returncode:
        return "", f"failed: {([line for line in done.stderr.splitlines() if line.strip()] or ['?'])[-1][:100]}"
    return (done.stdout.splitlines() or [""])[-1], ""


def _measure(tool: str, folder: Path, python: str) -> _Outcome:
    line, trouble = _launch(tool, folder, python)
    return _Outcome(tool, trouble=trouble) if trouble else _Outcome(tool, **json.loads(line))


@dataclass(frozen=True)
class _Truth:
    """Every pair at the threshold, and those of them that are close."""

    pairs: Keys
    close: Keys
    texts: int

    @classmethod
    def load(cls, folder: Path, texts: int) -> _Truth:
        """Read what the exact join found."""
        pairs = np.load(folder / f"{_TRUTH}.npy")
        return cls(pairs, pairs[np.load(folder / f"{_TRUTH}.jaccard.npy") >= _CLOSE], texts)

    def judge_pairs(self, found: Keys) -> tuple[float, float, float]:
        """Precision, recall, and recall of the close pairs."""
        right, close = (len(np.intersect1d(found, pairs, assume_unique=True)) for pairs in (self.pairs, self.close))
        return right / max(len(found), 1), right / max(len(self.pairs), 1), close / max(len(self.close), 1)

    def judge_flags(self, dropped: Flags) -> tuple[float, float, float]:
        """The same of texts: whether they have a neighbour, and whether those with an earlier one were dropped."""
        later, close = (_flags(_high(pairs), self.texts) for pairs in (self.pairs, self.close))
        involved = later | _flags(_low(self.pairs), self.texts)
        return _share(dropped & involved, dropped), _share(dropped & later, later), _share(dropped & close, close)


def _low(keys: Keys) -> NDArray[np.int64]:
    return (keys >> np.uint64(32)).astype(np.int64)


def _high(keys: Keys) -> NDArray[np.int64]:
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _flags(rows: NDArray[np.int64], count: int) -> Flags:
    flags: Flags = np.zeros(count, bool)
    flags[rows] = True
    return flags


def _share(part: Flags, whole: Flags) -> float:
    return float(part.sum() / max(whole.sum(), 1))


def _print_table(outcomes: list[_Outcome], folder: Path, texts: int) -> None:
    truth = None if any(o.trouble for o in outcomes if o.tool == _TRUTH) else _Truth.load(folder, texts)
    print(f"{'tool':<16}{'version':<9}{'seconds':>9}{'peak MB':>9}{'found':>18}", end="")
    print(f"{'precision':>11}{'recall':>8}{f'recall@{_CLOSE}':>12}")
    for outcome in outcomes:
        if outcome.trouble:
            print(f"{outcome.tool:<25}{outcome.trouble}")
            continue
        found = np.load(folder / f"{outcome.tool}.npy")
        flags = found.dtype == np.bool_
        count = f"{int(found.sum()):,} flags" if flags else f"{len(found):,} pairs"
        scores = ["-"] * 3
        if truth:
            scores = [f"{score:.3f}" for score in (truth.judge_flags(found) if flags else truth.judge_pairs(found))]
        print(f"{outcome.tool:<16}{outcome.version:<9}{outcome.seconds:>9.2f}{outcome.peak:>9,.0f}{count:>18}", end="")
        print("{:>11}{:>8}{:>12}".format(*scores))


def _compare(options: argparse.Namespace) -> None:
    """Run the chosen tools one after another and print one table."""
    wanted = tuple(filter(None, options.only.split(","))) or ("",)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A child's peak begins at its parent's: texts and pairs stay out of this process while tools run.
        _, trouble = _launch("prepare", folder, sys.executable)
        if trouble:
            sys.exit(f"preparing the texts {trouble}")
        outcomes = []
        for tool in _TOOLS:
            # Truth is needed for whatever is chosen.
            if tool == _TRUTH or tool.startswith(wanted):
                print(f"{tool} ...", file=sys.stderr, flush=True)
                outcomes.append(_measure(tool, folder, options.peers_python if tool in PEERS else sys.executable))
        texts = pl.scan_parquet(folder / _TEXTS).select(pl.len()).collect().item()
        print(f"{texts:,} distinct texts, J >= {options.threshold}, {options.permutations} permutations, ", end="")
        print(f"{os.cpu_count()} cores")
        _print_table(outcomes, folder, texts)


def main() -> None:
    """Read the options; compare, or do one task of a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", type=Path, nargs="?")
    source.add_argument("--generate", type=int, metavar="N", help="make up N texts instead of reading a file")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up texts")
    parser.add_argument("--column", default="passage")
    parser.add_argument("--rows", type=int, help="read only the first ROWS")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="put the texts in another order")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--permutations", type=int, default=128)
    parser.add_argument("--only", default="", help=f"beginnings of names, comma-separated: {', '.join(_TOOLS)}")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has the other tools")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is None:
        _compare(options)
    elif options.worker == "prepare":
        _prepare(options, options.folder)
    else:
        print(json.dumps(_work(options.worker, options, options.folder)))


if __name__ == "__main__":
    main()
