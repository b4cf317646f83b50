"""Sources that are folders: judged collections (BEIR, MS MARCO), saved datasets, and folders of plain files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.errors import InputError
from studio.pairs.rejects import Reject, RejectReason
from studio.pairs.streams import json_lines, opened, plain_suffix

_SPLITS = {"train": "train", "training": "train", "test": "test", "dev": "dev", "validation": "validation"}
_SPLITS |= {"valid": "validation", "val": "validation", "eval": "validation"}


def split_of(stem: str) -> str | None:
    """The split a file is named for: train-00000-of-00002 → train."""
    first = stem.lower().replace("_", "-").replace(".", "-").split("-")[0]
    return _SPLITS.get(first)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` saved this folder with `save_to_disk`."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def judged_collection(folder: Path) -> Callable[[list[Reject], list[str]], Iterator[tuple[str, str, Any]]] | None:
    """A reader of (file, split, (line, record)) if the folder is a judged collection, else None.

    Each judgement above zero is a record with query, positive, negatives (passages judged zero for that query) and
    the ids and the relevance; the split is the name of the judgement file.
    """
    beir = [_one(folder, stem, (".jsonl",)) for stem in ("corpus", "queries")]
    if all(beir) and (folder / "qrels").is_dir():
        return lambda rejects, notes: _judged(folder, _beir(beir[0], rejects), _beir(beir[1], rejects), rejects, notes)
    marco = [_one(folder, stem, (".tsv", ".txt")) for stem in ("collection", "queries")]
    if all(marco) and _qrels(folder):
        return lambda rejects, notes: _judged(
            folder, _marco(marco[0], rejects), _marco(marco[1], rejects), rejects, notes
        )
    return None


def _one(folder: Path, stem: str, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.split(".")[0] == stem and plain_suffix(path) in suffixes
    )


def _qrels(folder: Path) -> list[Path]:
    inside = folder / "qrels"
    places = inside.iterdir() if inside.is_dir() else folder.glob("qrels*")
    return sorted(path for path in places if path.is_file() and plain_suffix(path) in (".tsv", ".txt"))


def _beir(files: list[Path], rejects: list[Reject]) -> dict[str, str]:
    texts = {}
    for path in files:
        with opened(path) as stream:
            for line, record in json_lines(stream, path.name, rejects):
                text = record.get("text") if isinstance(record, dict) else None
                if not isinstance(text, str) or "_id" not in record:
                    raw = json.dumps(record, ensure_ascii=False, default=str)
                    rejects.append(Reject(path.name, line, RejectReason.NOT_TEXT, "no _id or no text", raw))
                    continue
                title = record.get("title")
                texts[str(record["_id"])] = f"{title} {text}" if isinstance(title, str) and title else text
    return texts


def _marco(files: list[Path], rejects: list[Reject]) -> dict[str, str]:
    texts = {}
    for path in files:
        with opened(path) as stream:
            for number, raw in enumerate(stream, 1):
                try:
                    name, tab, text = raw.decode("utf-8").rstrip("\r\n").partition("\t")
                except UnicodeDecodeError as error:
                    shown = raw.decode("utf-8", "backslashreplace")
                    rejects.append(
                        Reject(path.name, number, RejectReason.INVALID_UTF8, f"byte {error.start + 1}", shown)
                    )
                    continue
                if tab:
                    texts[name] = text
    return texts


def _judged(
    folder: Path, corpus: dict[str, str], queries: dict[str, str], rejects: list[Reject], notes: list[str]
) -> Iterator[tuple[str, str, Any]]:
    used: set[str] = set()
    for path in _qrels(folder):
        name = path.relative_to(folder).as_posix()
        split = split_of(path.name.removeprefix("qrels").lstrip(".-_")) or path.name.split(".")[0]
        judged = list(_judgements(path, name, rejects))
        zero: dict[str, list[str]] = {}
        for _, query_id, doc_id, relevance in judged:
            if relevance <= 0 and doc_id in corpus:
                zero.setdefault(query_id, []).append(doc_id)
        for line, query_id, doc_id, relevance in judged:
            used.add(doc_id)
            if relevance <= 0:
                continue
            if query_id not in queries or doc_id not in corpus:
                what = f"query {query_id}" if query_id not in queries else f"passage {doc_id}"
                rejects.append(
                    Reject(name, line, RejectReason.UNKNOWN_ID, f"there is no {what}", f"{query_id}\t{doc_id}")
                )
                continue
            negatives = zero.get(query_id, [])
            record: dict[str, Any] = {
                "query": queries[query_id],
                "positive": corpus[doc_id],
                "negatives": [corpus[other] for other in negatives],
                "query_id": query_id,
                "passage_id": doc_id,
                "relevance": relevance,
            }
            if negatives:
                record["negative_ids"] = negatives
            yield name, split, (line, record)
    left = len(corpus.keys() - used)
    if left:
        notes.append(f"{left:,} passages of the corpus are judged for no query; they make no pair and were left out")


def _judgements(path: Path, name: str, rejects: list[Reject]) -> Iterator[tuple[int, str, str, float]]:
    """Yield (line, query id, passage id, relevance) of TREC's four columns or BEIR's three."""
    with opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            cells = raw.decode("utf-8", "replace").split()
            if not cells or (number == 1 and "query-id" in cells[0]):
                continue
            try:
                yield number, cells[0], cells[-2], float(cells[-1])
            except (IndexError, ValueError):
                detail = "a judgement is query, passage and relevance"
                rejects.append(Reject(name, number, RejectReason.WRONG_ARITY, detail, " ".join(cells)))


def saved_splits(folder: Path) -> dict[str | None, Any]:
    """The splits of a folder written by `datasets`, as polars tables.

    Raises:
        InputError: it is damaged.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        return _tables(datasets.load_from_disk(str(folder)))
    except Exception as error:  # `datasets` lets errors of many libraries through
        raise InputError("The saved dataset cannot be read.", where=str(folder), why=_short(error)) from error


def hub_splits(name: str) -> dict[str | None, Any]:
    """The splits of a dataset on the hub (`org/name`, or `org/name:config`), as polars tables.

    Raises:
        InputError: there is no such dataset, or it needs code or a configuration to be named.
        UnavailableError: the hub cannot be reached, and the dataset is not in the local cache.
    """
    import os

    from studio.errors import UnavailableError

    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    datasets.disable_progress_bars()
    repository, _, config = name.partition(":")
    offline = datasets.config.HF_HUB_OFFLINE
    try:
        if not offline:
            HfApi().dataset_info(repository, timeout=10)
    except RepositoryNotFoundError as error:
        raise InputError("There is no such file, folder or hub dataset.", where=name, why=_short(error)) from error
    except Exception:  # whatever the network raised: only the cache is left
        offline = True
    try:
        if offline:
            datasets.config.HF_HUB_OFFLINE = True
        return _tables(datasets.load_dataset(repository, config or None))
    except Exception as error:
        if offline:
            raise UnavailableError(
                "There is no such file or folder, and the hub cannot be reached.",
                where=name,
                why=_short(error),
                remedy=(
                    "where there is a network, load the dataset and `save_to_disk(FOLDER)`, then import FOLDER; "
                    "or fill the cache there and set HF_HUB_OFFLINE=1 here"
                ),
            ) from error
        raise InputError("The hub dataset cannot be loaded.", where=name, why=_short(error)) from error


def _tables(loaded: Any) -> dict[str | None, Any]:
    if hasattr(loaded, "items"):
        return {str(split): part.with_format(None).to_polars() for split, part in loaded.items()}
    return {None: loaded.with_format(None).to_polars()}


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
