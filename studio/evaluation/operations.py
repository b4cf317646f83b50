"""What a system costs to run: measured in a fresh process, and, for what is cut of texts, counted over all of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from studio.errors import UnavailableError
from studio.evaluation.results import Operations
from studio.evaluation.sets import RetrievalSet
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked
from studio.evaluation.vectors import Context, Resolved, resolve
from studio.models.load import ModelSpec, model_spec
from studio.models.locate import locate, read_json, transformer_folder
from studio.models.timing import DensePart, LexicalPart, Loading, RerankPart, Timed, TimingRequest
from studio.models.tokenizer import load_tokenizer
from studio.progress import Progress, silent

MOST_PASSAGES, MOST_QUERIES = 512, 200
"""Encoded, and asked one by one, against the clock."""
_STEP = "measure what it costs"
_LOOK = 0.2
"""Seconds between two looks at whether the measurement is done, or is to be stopped."""
_SHOWN = 600


def measure(
    named: Named, evaluated: RetrievalSet, context: Context, progress: Progress = silent, depth: int = 100
) -> Operations | None:
    """Measure what a system costs on a set; None of another tool's ranking, which is not run here.

    Seconds and memory are those of `python -m studio.models.timing`, which does nothing else: up to 512 passages are
    encoded, and up to 200 queries asked one at a time, each encoded and searched for in the whole index. A hybrid is
    what all its parts take; a cross-encoder reads as many passages a query as it is given. What is cut at the maximum
    length is counted over all texts, prompts and special tokens included, of all encoders.

    Args:
        named: the system.
        evaluated: the set; its vectors are read from the cache if `run` was there before.
        context: what systems are run with.
        progress: told of each step; what it raises stops the measurement.
        depth: passages a query.

    Raises:
        StudioError: the system cannot be run.
    """
    parts, reader = _parts(named.system)
    if not parts:
        return None
    judged = evaluated.judged
    resolved = {part: resolve(part, context, evaluated.about) for part in parts if isinstance(part, Dense)}
    cut = [
        _cut(found, judged.queries["text"], judged.corpus["text"], progress) for found in _encoders(resolved.values())
    ]
    with tempfile.TemporaryDirectory(prefix="harrier-studio-") as place:
        files = Path(place) / "passages.parquet", Path(place) / "queries.parquet"
        judged.corpus.select("text").write_parquet(files[0])
        # Queries lie in the set in any order; spread over it, they are as long as its queries are.
        every = max(1, judged.queries.height // MOST_QUERIES)
        judged.queries.select("text").gather_every(every).head(MOST_QUERIES).write_parquet(files[1])
        request = TimingRequest(
            parts=tuple(_described(part, resolved) for part in parts),
            reranker=_reranker(reader, context),
            passages=files[0],
            queries=files[1],
            sample=MOST_PASSAGES,
            depth=depth,
            store=context.store,
        )
        found = _ask(request, progress)
    return Operations(
        device=found.device,
        load_seconds=found.load_seconds,
        passages_per_second=found.passages_per_second,
        query_p50=found.query_p50,
        query_p95=found.query_p95,
        index_bytes=found.index_bytes,
        dimension=found.dimension,
        peak_memory=found.peak_memory,
        truncated=(sum(one[0] for one in cut), sum(one[1] for one in cut)),
        tokens_cut=(sum(one[2] for one in cut), sum(one[3] for one in cut)),
        sample=found.sample,
    )


def _parts(
    system: Dense | Lexical | Hybrid | Reranked | Given,
) -> tuple[tuple[Dense | Lexical, ...], Reranked | None]:
    """What of a system searches, and what reads what was found."""
    if isinstance(system, Reranked):
        return _parts(system.first)[0], system
    if isinstance(system, Hybrid):
        return system.parts, None
    return (system,) if isinstance(system, Dense | Lexical) else (), None


def _described(part: Dense | Lexical, resolved: dict[Dense, Resolved]) -> DensePart | LexicalPart:
    if isinstance(part, Lexical):
        return LexicalPart(words=part.words, k1=part.k1, b=part.b)
    found = resolved[part]
    return DensePart(
        model=_loading(found.spec),
        query_prompt=found.contract.query,
        document_prompt=found.contract.document,
        dim=part.dim,
        precision=part.precision,
        rescore=part.rescore,
    )


def _reranker(system: Reranked | None, context: Context) -> RerankPart | None:
    if system is None:
        return None
    spec = model_spec(
        system.model,
        max_length=system.max_length,
        revision=system.revision,
        device=system.device or context.device,
        trust_remote_code=system.trust_remote_code,
    )
    return RerankPart(model=_loading(spec), top=system.top)


def _loading(spec: ModelSpec) -> Loading:
    return Loading(**asdict(spec))


def _encoders(resolved: Iterable[Resolved]) -> Iterator[Resolved]:
    """Each model with its prompts and length once: two precisions of it read the same tokens."""
    seen = set()
    for found in resolved:
        key = found.spec, found.contract.query, found.contract.document
        if key not in seen:
            seen.add(key)
            yield found


def _cut(found: Resolved, queries: pl.Series, passages: pl.Series, progress: Progress) -> tuple[int, int, int, int]:
    """How many queries and passages are cut, and how many of their tokens nothing reads."""
    folder = locate(found.spec.id_or_path, found.spec.revision, weights=False)
    if "model_type" not in read_json(transformer_folder(folder) / "config.json"):
        return 0, 0, 0, 0  # no transformer: such as StaticEmbedding, which reads whole texts
    tokenizer = load_tokenizer(found.spec.id_or_path, found.spec.revision)
    cut, lost = [], []
    for texts, prompt in ((queries, found.contract.query), (passages, found.contract.document)):
        over = tokenizer.token_counts(prompt + texts, progress).cast(pl.Int64) - found.spec.max_length
        cut.append(int((over > 0).sum()))
        lost.append(int(over.clip(0).sum()))
    return cut[0], cut[1], lost[0], lost[1]


def _ask(request: TimingRequest, progress: Progress) -> Timed:
    """Have it measured in a process of its own, which ends with the wait for it."""
    command = [sys.executable, "-P", "-m", "studio.models.timing"]
    with tempfile.TemporaryFile() as answers, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as given:
        given.write(request.model_dump_json().encode())
        given.seek(0)
        with subprocess.Popen(command, stdin=given, stdout=answers, stderr=said) as process:
            try:
                while process.poll() is None:
                    progress(_STEP, 0, 1)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK)
            except BaseException:
                process.kill()
                raise
        for stream in (answers, said):
            stream.seek(0)
        try:
            found = Timed.model_validate_json(answers.read())
            why = found.error
        except ValidationError:
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            why = f"it ended with {process.returncode}: {lines[-1][:_SHOWN] if lines else 'it said nothing'}"
    if why:
        raise UnavailableError("What the system costs could not be measured.", why=why)
    progress(_STEP, 1, 1)
    return found
