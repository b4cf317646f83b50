"""Vectors of texts, computed once: whatever was embedded before, with the same model and prompt, is read from disk."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from studio.errors import ConfigError, InputError, UnavailableError
from studio.files import sha256_of
from studio.models.load import Dtype, ModelSpec, choose_dtype, load_model, positions
from studio.models.locate import locate, read_modules
from studio.models.neighbours import F32
from studio.models.vectors import VectorStore, Writer, text_hashes
from studio.progress import Progress, silent

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_LAYOUT = 1
"""Part of every key: another number, and no older folder is read."""
_STEP = "embed texts"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTENT = {".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py"}
_BATCH_ON_CPU, _BATCH = 16, 32
_MOST_A_CHUNK = 16_384
_SHORT_SECONDS, _LONG_SECONDS = 0.5, 2.0
_WORTH_SEVERAL = 4_096
"""Texts from which on every CUDA device is used unasked: a process for each takes seconds to start."""
_LENGTH_TOLERANCE = 0.02
"""How far from 1 a normalised vector may be: bfloat16 keeps 8 bits of each number."""
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

_content: dict[Path, tuple[tuple[int, int, int], str]] = {}
_kept: tuple[ModelSpec, str, SentenceTransformer] | None = None
_busy = threading.RLock()
"""Held while the kept model is looked at or computes: a tokenizer serves one thread."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model and how its vectors are computed.

    Attributes:
        spec: the model, how long its texts, in which precision, and where (`device` None: CUDA or MPS if there is
            one, else the CPU).
        batch_size: texts read at once; None takes 16 on a CPU and 32 elsewhere. Halved when memory runs out.
        devices: several, such as `("cuda:0", "cuda:1")`: one process each. () takes `spec.device`, or, when that is
            None, every CUDA device once there are thousands of texts.

    Raises:
        ConfigError: the batch size is below 1.
    """

    spec: ModelSpec
    batch_size: int | None = None
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError("A batch needs at least one text.", why=f"batch_size is {self.batch_size}")


def embed(
    encoder: Encoder, texts: Sequence[str] | pl.Series, prompt: str, store: Path, progress: Progress = silent
) -> F32:
    """Return the vectors of texts, of length 1.

    The model is loaded only if some text was never embedded with it; it then stays loaded (`loaded_model`). Missing
    texts are encoded once each, the longest first, in chunks of a second or two. Every chunk is on the disk before
    the next begins, so that a kill or `Cancelled` loses one at most.

    Args:
        encoder: the model.
        texts: any number; equal ones are encoded once.
        prompt: the exact string put before each text. It is passed as it is, "" too: the model's own prompts and its
            default prompt never apply.
        store: the folder of all caches, such as `.studio/embeddings`; this one is `store/<embedding_key>/`.
        progress: told `load the model`, then `embed texts` after each chunk, counting only texts that were missing,
            so that its pace is the model's own texts/s. What it raises stops the work.

    Returns:
        float32 (texts, dim), in the order of the texts. A view of the file where its order is the same.

    Raises:
        InputError: a text is null or holds half a surrogate pair, the model gives a vector that is not of length 1,
            the model's files or the cache cannot be used.
        UnavailableError: the hub is out of reach, the memory does not hold one text, the disk is full, or another
            process is embedding with the same model and prompt.
        ConfigError: the precision or the maximum length does not suit the model, or it brings code of its own.
    """
    column = _as_column(texts)
    _check_prompt(prompt)
    about = _about(encoder, prompt)
    vectors = VectorStore(store / _key(about), about, {"model": encoder.spec.id_or_path})
    hashes = text_hashes(column)
    rows = vectors.find(hashes)
    if (rows < 0).any():
        with vectors.writing(progress) as writer:
            _fill(encoder, prompt, column, hashes, vectors.find(hashes), writer, progress)
        rows = vectors.find(hashes)
    return vectors.take(rows)


def embedding_key(encoder: Encoder, prompt: str) -> str:
    """Return the name of the cache folder: 32 hex digits over the model's fingerprint, prompt, maximum length, dtype.

    Raises:
        InputError: the model's files cannot be read, or the prompt holds half a surrogate pair.
        UnavailableError: a hub id without a commit that is neither in the cache nor within reach.
        ConfigError: the precision does not suit the device.
    """
    _check_prompt(prompt)
    return _key(_about(encoder, prompt))


def model_fingerprint(spec: ModelSpec) -> str:
    """Return what tells one state of a model from another.

    For a hub id that is `id@commit`, and nothing is asked of the hub if `spec.revision` is a commit. For a folder it
    is the sha256 over names and contents of its weights, tokenizer and configuration files, wherever it stands; the
    hash of a file is remembered in this process as long as its size and time stay the same.

    Raises:
        InputError: there is no such folder, or it is no sentence-transformers folder.
        UnavailableError: the model is neither in the cache nor within reach.
    """
    if Path(spec.id_or_path).expanduser().is_dir():
        folder = Path(spec.id_or_path).expanduser().resolve()
    else:
        if spec.revision and _COMMIT.fullmatch(spec.revision):
            return f"{spec.id_or_path}@{spec.revision}"
        folder = locate(spec.id_or_path, spec.revision)
        if _COMMIT.fullmatch(folder.name):
            return f"{spec.id_or_path}@{folder.name}"
    return files_fingerprint(folder, _content_files(folder))


def files_fingerprint(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 over names and contents of a folder's files, in the order given.

    The hash of a file is remembered in this process as long as its size and time stay the same.
    """
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder).as_posix()}\0{_content_of(file)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def loaded_model(spec: ModelSpec) -> SentenceTransformer:
    """Return a model, loading it unless it is the one loaded last: one is kept for the whole process.

    A folder whose files have changed is loaded anew. The kept model is wherever it computed last; `release_model`
    lets it go. Not for training, which would change it under those who embed.

    Raises:
        StudioError: see `load_model`.
    """
    global _kept
    fingerprint = model_fingerprint(spec)
    spec = replace(spec, dtype=choose_dtype(spec.dtype, "", spec.device))
    anywhere = replace(spec, device=None)
    with _busy:
        if _kept is None or _kept[:2] != (anywhere, fingerprint):
            release_model()
            _kept = (anywhere, fingerprint, load_model(spec))
        return _kept[2]


def release_model() -> None:
    """Let go of the model that is kept loaded, and of its memory on the device; before training, say."""
    global _kept
    with _busy:
        if _kept is not None:
            _kept = None
            gc.collect()
            _empty_device()


def _fill(
    encoder: Encoder,
    prompt: str,
    texts: pl.Series,
    hashes: NDArray[np.uint64],
    rows: NDArray[np.int64],
    writer: Writer,
    progress: Progress,
) -> None:
    """Encode the texts that have no row, each once, and append them."""
    order = _missing(texts, hashes, rows)
    if not len(order):
        return
    dtype = _dtype(encoder)
    devices = _devices(encoder, len(order))
    progress("load the model", 0, 1)
    model = loaded_model(replace(encoder.spec, dtype=dtype, device=devices[0] if len(devices) == 1 else "cpu"))
    progress("load the model", 1, 1)
    _check_length(model, encoder.spec)
    batch = encoder.batch_size or (_BATCH_ON_CPU if devices[0].startswith("cpu") else _BATCH)
    with _computing(model, devices) as where:
        size = batch * len(devices)
        done = 0
        progress(_STEP, 0, len(order))
        while done < len(order):
            chunk = order[done : done + size]
            started = time.monotonic()
            try:
                with _busy:
                    vectors = _encode(model, texts.gather(chunk).to_list(), prompt, batch, where)
            except RuntimeError as error:
                if not any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                    raise
                batch = _smaller(batch, error, encoder.spec)
                size = batch * len(devices)
                continue
            writer.append(hashes[chunk], _of_length_1(vectors, chunk, dtype))
            done += len(chunk)
            progress(_STEP, done, len(order))
            seconds = time.monotonic() - started
            if seconds < _SHORT_SECONDS:
                size = min(2 * size, max(_MOST_A_CHUNK, size))
            elif seconds > _LONG_SECONDS:
                size = max(size // 2, batch * len(devices))


def _encode(model: SentenceTransformer, texts: list[str], prompt: str, batch: int, where: dict[str, Any]) -> F32:
    if "pool" in where:
        where = {**where, "chunk_size": batch}
    encoded = model.encode(
        texts,
        prompt=prompt,
        batch_size=batch,
        normalize_embeddings=True,
        convert_to_numpy=True,
        show_progress_bar=False,
        **where,
    )
    return np.asarray(encoded, np.float32)


@contextmanager
def _computing(model: SentenceTransformer, devices: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the arguments of `encode` that say where: one device, or a pool of processes that ends with the block."""
    if len(devices) == 1:
        yield {"device": devices[0]}
        return
    pool = model.start_multi_process_pool(list(devices))
    try:
        yield {"pool": pool}
    finally:
        model.stop_multi_process_pool(pool)


def _of_length_1(vectors: F32, chunk: NDArray[np.int64], dtype: str) -> F32:
    """Check that the vectors are of length 1, as far as their precision goes, and make them so in float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(~(np.abs(lengths[:, 0] - 1) <= _LENGTH_TOLERANCE))
    if len(wrong):
        remedy = "run `doctor` on the model, and look at the text: it may leave no token"
        if dtype == "float16":
            remedy = "use bfloat16, or float32 on a GPU without it: float16 ends at 65,504, and Gemma passes that"
        elif dtype == "bfloat16":
            remedy = "use float32, and run `doctor` on the model"
        raise InputError(
            "The model gives a vector that is no direction.",
            where=f"text {chunk[wrong[0]]} (counted from 0)",
            why=f"its length is {lengths[wrong[0], 0]:.4g} and not 1, computed in {dtype}"
            + (f"; so are {len(wrong) - 1} more of the {len(chunk)} around it" if len(wrong) > 1 else ""),
            remedy=remedy,
        )
    scaled: F32 = vectors / lengths
    return scaled


def _smaller(batch: int, error: RuntimeError, spec: ModelSpec) -> int:
    if batch == 1:
        raise UnavailableError(
            "The memory does not hold one text.",
            where=spec.id_or_path,
            why=str(error).splitlines()[0],
            remedy=f"give a smaller maximum length (now {spec.max_length}), or use another device",
        ) from error
    _empty_device()
    return batch // 2


def _empty_device() -> None:
    """Give freed memory of CUDA devices back to other processes; without importing torch for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _missing(texts: pl.Series, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the texts to encode: the first of equal ones, the longest first."""
    at = np.flatnonzero(rows < 0)
    frame = pl.DataFrame(
        {"at": at, "high": hashes[at, 0], "low": hashes[at, 1], "chars": texts.gather(at).str.len_chars()}
    )
    frame = frame.unique(["high", "low"], keep="first", maintain_order=True)
    return frame.sort("chars", descending=True, maintain_order=True)["at"].to_numpy()


def _devices(encoder: Encoder, texts: int) -> tuple[str, ...]:
    if encoder.devices:
        return encoder.devices
    if encoder.spec.device is not None:
        return (encoder.spec.device,)
    import torch
    from sentence_transformers.util import get_device_name

    several = torch.cuda.device_count()
    if several > 1 and texts >= _WORTH_SEVERAL:
        return tuple(f"cuda:{number}" for number in range(several))
    return (get_device_name(),)


def _dtype(encoder: Encoder) -> Dtype:
    # float16 is refused for a Gemma when it is loaded: its vectors are in no cache.
    return choose_dtype(encoder.spec.dtype, "", encoder.devices[0] if encoder.devices else encoder.spec.device)


def _check_length(model: SentenceTransformer, spec: ModelSpec) -> None:
    network = getattr(model[0], "model", None)
    limit = positions(getattr(network, "config", None))
    if limit is not None and spec.max_length > limit:
        raise ConfigError(
            f"The model cannot read {spec.max_length} tokens.",
            where=spec.id_or_path,
            why=f"it has {limit} positions",
            remedy=f"give a maximum length of at most {limit}",
        )


def _about(encoder: Encoder, prompt: str) -> dict[str, str | int]:
    """What vectors depend on; their manifest says so too."""
    return {
        "layout": _LAYOUT,
        "fingerprint": model_fingerprint(encoder.spec),
        "prompt": prompt,
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(),
        "max_length": encoder.spec.max_length,
        "dtype": _dtype(encoder),
    }


def _key(about: dict[str, str | int]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def _content_files(folder: Path) -> list[Path]:
    """The files a model is loaded from: beside modules.json, and in the folders it names."""
    inner = {str(module.get("path", "")) for module in read_modules(folder)} - {""}
    files = {*folder.iterdir(), *(file for path in inner for file in (folder / path).rglob("*"))}
    return sorted(file for file in files if file.suffix in _CONTENT and file.is_file())


def _content_of(file: Path) -> str:
    at = file.stat()
    state = (at.st_size, at.st_mtime_ns, at.st_ino)
    known = _content.get(file)
    if known is None or known[0] != state:
        known = _content[file] = (state, sha256_of(file))
    return known[1]


def _check_prompt(prompt: str) -> None:
    if _SURROGATE.search(prompt):
        raise InputError(
            "The prompt holds half a surrogate pair, which is no character.", why=repr(prompt), remedy="type it again"
        )


def _as_column(texts: Sequence[str] | pl.Series) -> pl.Series:
    try:
        column = texts.cast(pl.String) if isinstance(texts, pl.Series) else pl.Series(list(texts), dtype=pl.String)
    except (TypeError, UnicodeEncodeError) as error:
        for at, text in enumerate(texts):
            if not isinstance(text, str) or _SURROGATE.search(text):
                raise _unreadable(at, text) from error
        raise
    if column.null_count():
        raise _unreadable(int(column.is_null().arg_max() or 0), None)
    return column


def _unreadable(at: int, text: object) -> InputError:
    why = "it holds half a surrogate pair, which is no character"
    return InputError(
        "A text cannot be embedded.",
        where=f"text {at} (counted from 0)",
        why=why if isinstance(text, str) else "it is null" if text is None else f"it is {type(text).__name__}, no text",
        remedy="drop or repair the row",
    )
