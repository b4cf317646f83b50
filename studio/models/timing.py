"""What searching with models costs, measured in a process of its own: `python -m studio.models.timing` < REQUEST.

The request is JSON (`TimingRequest`), the answer one line of JSON (`Timed`) on the standard output. Nothing else runs
in the process, so that its memory and its first second are those of the system alone. Libraries are imported before any
clock is started.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from studio.errors import StudioError
from studio.models.embed import Encoder, embed
from studio.models.lexical import BM25Index
from studio.models.load import Dtype, ModelSpec, load_model
from studio.models.neighbours import F32
from studio.models.quantising import Precision, coded, index_bytes, quantised, truncated

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WARM_UP = 3
"""Queries and batches that are not timed: the first ones also set up what all of them use."""
_BATCH = 32
_BLOCK = 16_384
_BITS = np.array([bin(number).count("1") for number in range(256)], np.uint16)
"""Bits that are set in each byte."""

Search = Callable[[str], Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Loading(_Strict):
    """The fields of a `ModelSpec`."""

    id_or_path: str
    max_length: int
    revision: str | None = None
    dtype: Dtype = "auto"
    device: str | None = None
    trust_remote_code: bool = False

    @property
    def spec(self) -> ModelSpec:
        """What loads the model."""
        return ModelSpec(**self.model_dump())


class DensePart(_Strict):
    """An embedding model and how its index holds vectors."""

    kind: Literal["dense"] = "dense"
    model: Loading
    query_prompt: str
    document_prompt: str
    dim: int | None = None
    precision: Precision = "float32"
    rescore: int = 0


class LexicalPart(_Strict):
    """A BM25 index."""

    kind: Literal["bm25"] = "bm25"
    words: Literal["plain", "portuguese"]
    k1: float
    b: float


class RerankPart(_Strict):
    """A cross-encoder over the first `top` passages."""

    model: Loading
    top: int


class TimingRequest(_Strict):
    """What to measure.

    Attributes:
        parts: what searches; each is asked every query.
        reranker: what reads what they found; None: nothing.
        passages: Parquet file with the column `text`: the whole index.
        queries: Parquet file with the column `text`: those that are timed.
        sample: passages that are encoded against the clock.
        depth: passages a query.
        store: folder of the cached vectors; what is missing there is embedded first.
    """

    parts: tuple[DensePart | LexicalPart, ...]
    reranker: RerankPart | None = None
    passages: Path
    queries: Path
    sample: int
    depth: int
    store: Path


class Timed(_Strict):
    """What was measured; the fields are those of `studio.evaluation.results.Operations`. `error`: why nothing was."""

    device: str = ""
    load_seconds: float = 0.0
    passages_per_second: float = 0.0
    query_p50: float = 0.0
    query_p95: float = 0.0
    index_bytes: int = 0
    dimension: int | None = None
    peak_memory: int = 0
    sample: tuple[int, int] = (0, 0)
    error: str = ""


class _Clock:
    """What the parts of a system add up to."""

    def __init__(self) -> None:
        self.load = self.seconds_a_passage = 0.0
        self.index_bytes = 0
        self.dimension: int | None = None
        self.devices: dict[str, None] = {}
        self.searches: list[Search] = []


def timed(request: TimingRequest) -> Timed:
    """Measure a system in this process.

    Raises:
        StudioError: a model cannot be loaded, or it gives no vectors.
    """
    texts = pl.read_parquet(request.passages, glob=False)["text"]
    queries = pl.read_parquet(request.queries, glob=False)["text"].to_list()
    clock = _Clock()
    for part in request.parts:
        if isinstance(part, DensePart):
            import_module("sentence_transformers")
            _dense(part, texts, request, clock)
        else:
            _lexical(part, texts, request.depth, clock)
    read = _reader(request.reranker, texts, clock)
    seconds = []
    asked = queries[:_WARM_UP] + queries
    for number, query in enumerate(asked):
        start = time.perf_counter()
        for search in clock.searches:
            search(query)
        read(query)
        if number >= min(_WARM_UP, len(queries)):
            seconds.append(time.perf_counter() - start)
    p50, p95 = np.percentile(seconds, [50, 95]).tolist() if seconds else (0.0, 0.0)
    return Timed(
        device=", ".join(dict.fromkeys(_device_words(device) for device in clock.devices)),
        load_seconds=clock.load,
        passages_per_second=1 / clock.seconds_a_passage if clock.seconds_a_passage else 0.0,
        query_p50=p50,
        query_p95=p95,
        index_bytes=clock.index_bytes,
        dimension=clock.dimension,
        peak_memory=_peak_memory(clock.devices),
        sample=(min(request.sample, len(texts)), len(queries)),
    )


def _dense(part: DensePart, texts: pl.Series, request: TimingRequest, clock: _Clock) -> None:
    spec = part.model.spec
    start = time.perf_counter()
    model = load_model(spec)
    clock.load += time.perf_counter() - start
    device = str(model.device)
    clock.devices[device] = None
    sample = texts.head(request.sample).to_list()
    _encode(model, sample[:_BATCH], part.document_prompt)
    start = time.perf_counter()
    _encode(model, sample, part.document_prompt)
    if sample:
        clock.seconds_a_passage += (time.perf_counter() - start) / len(sample)
    vectors = truncated(embed(Encoder(spec), texts, part.document_prompt, request.store), part.dim)
    clock.dimension = vectors.shape[1] if clock.dimension is None else clock.dimension
    clock.index_bytes += index_bytes(len(vectors), vectors.shape[1], part.precision)
    search = _index(vectors, part, min(request.depth, len(texts)), device)

    def ask(query: str) -> Any:
        return search(truncated(_encode(model, [query], part.query_prompt), part.dim)[0])

    clock.searches.append(ask)


def _encode(model: SentenceTransformer, texts: Sequence[str], prompt: str) -> F32:
    encoded = model.encode(
        list(texts),
        prompt=prompt,
        batch_size=_BATCH,
        normalize_embeddings=True,
        convert_to_numpy=True,
        show_progress_bar=False,
    )
    return np.asarray(encoded, np.float32)


def _index(vectors: F32, part: DensePart, k: int, device: str) -> Callable[[F32], Any]:
    """An exact index that is held as its precision says: float32 and int8 on the device of the model."""
    import torch

    fetched = min(k * max(1, part.rescore), len(vectors))
    if part.precision == "float32":
        # A cache is mapped from its file; an index is memory.
        whole = torch.from_numpy(np.array(vectors, np.float32)).to(device)
        return lambda query: (whole @ torch.from_numpy(query).to(device)).topk(k).indices.cpu()
    codes = quantised(vectors, part.precision)
    if part.precision == "int8":
        held = torch.from_numpy(codes.values).to(device)

        def by_bytes(query: F32) -> Any:
            asked = torch.from_numpy(coded(query, "int8", codes.step).astype(np.float32)).to(device)
            scores = torch.cat([block.float() @ asked for block in held.split(_BLOCK)])
            rows = scores.topk(fetched).indices
            if not part.rescore:
                return rows.cpu()
            again = held[rows].float() @ torch.from_numpy(query).to(device)
            return rows[again.topk(k).indices].cpu()

        return by_bytes
    bits = np.packbits(codes.values > 0, axis=1)

    def by_bits(query: F32) -> Any:
        apart = _BITS[bits ^ np.packbits(query > 0)].sum(axis=1)
        rows = np.argpartition(apart, fetched - 1)[:fetched]
        if not part.rescore:
            return rows[np.argsort(apart[rows], kind="stable")]
        signs = np.unpackbits(bits[rows], axis=1, count=len(query)).astype(np.float32) * 2 - 1
        return rows[np.argsort(-(signs @ query), kind="stable")[:k]]

    return by_bits


def _lexical(part: LexicalPart, texts: pl.Series, depth: int, clock: _Clock) -> None:
    # The first index of a process also sets up what reads words.
    BM25Index(texts.head(1), words=part.words, k1=part.k1, b=part.b)
    start = time.perf_counter()
    index = BM25Index(texts, words=part.words, k1=part.k1, b=part.b)
    seconds = time.perf_counter() - start
    clock.load += seconds
    clock.seconds_a_passage += seconds / max(1, len(texts))
    clock.index_bytes += index.posting_bytes
    clock.devices["cpu"] = None
    clock.searches.append(lambda query: index.nearest(pl.Series([query]), depth))


def _reader(part: RerankPart | None, texts: pl.Series, clock: _Clock) -> Search:
    """What a cross-encoder does for a query: reading as many passages as it is given."""
    if part is None:
        return lambda query: None
    from studio.models.rerank import load_cross_encoder, scored

    start = time.perf_counter()
    model = load_cross_encoder(part.model.spec)
    clock.load += time.perf_counter() - start
    clock.devices[str(model.device)] = None
    # Which passages does not matter to the clock, only how long they are.
    step = max(1, len(texts) // part.top)
    passages = texts.gather_every(step).head(part.top).to_list()
    return lambda query: scored(model, [(query, passage) for passage in passages])


def _device_words(device: str) -> str:
    if device == "cpu":
        # An index of words needs no torch, and its process is not to load it for a word.
        loaded = sys.modules.get("torch")
        if loaded is None:
            return "cpu"
        threads = loaded.get_num_threads()
        return f"cpu, {threads} {'thread' if threads == 1 else 'threads'}"
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return device


def _peak_memory(devices: Iterable[str]) -> int:
    """The most bytes that this process held: on the CUDA devices it computed on if there are any, else in memory.

    On Linux that is VmHWM of /proc: `getrusage` also counts what the process was before it became this program.
    """
    cuda = [device for device in devices if device.startswith("cuda")]
    if cuda:
        import torch

        return sum(int(torch.cuda.max_memory_allocated(device)) for device in cuda)
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(most) if platform.system() == "Darwin" else int(most) * 1024


def main() -> None:
    """Read a request, measure, and print what was found."""
    # What libraries print goes to the standard error, so that the answer is alone on its line.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        found = timed(TimingRequest.model_validate_json(sys.stdin.buffer.read()))
    except StudioError as error:
        found = Timed(error=str(error))
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        stream.write(found.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
