"""Datasets on the hub, or local copies of them, as the sources of sets: judged collections and tables of items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from studio.errors import InputError, UnavailableError
from studio.evaluation.judged_tables import Tables, choose_split
from studio.evaluation.text_tables import read_texts, texts_of
from studio.evaluation.trec import qrels_lines, qrels_of, records_as_qrels
from studio.pairs.read import Part, as_records
from studio.progress import Progress, silent
from studio.text.safe import visible

_JUDGEMENTS = ("qrels", "default", "relevance")


def judged_configs(dataset: str, config: str, revision: str | None) -> tuple[str, str, str] | None:
    """The configurations of corpus, queries and judgements in MTEB's layout, or None if the dataset has another.

    Args:
        dataset: its id, or a local folder with the same layout.
        config: a subset such as `pt`; "": the whole.
        revision: commit, tag or branch; None: the newest.

    Raises:
        InputError: there is no such dataset, or it cannot be loaded.
        UnavailableError: the hub cannot be reached.
    """
    there = _configs(dataset, revision)
    before = f"{config}-" if config else ""
    queries = next((name for name in (f"{before}queries", f"{before}query") if name in there), None)
    qrels = next((before + name for name in _JUDGEMENTS if before + name in there), config)
    if f"{before}corpus" not in there or queries is None or qrels not in there:
        return None
    return f"{before}corpus", queries, qrels


def load_judged(
    dataset: str, configs: tuple[str, str, str], split: str | None, revision: str | None, progress: Progress = silent
) -> Tables:
    """Load a judged collection whose corpus, queries and judgements are configurations of one dataset.

    Args:
        dataset: its id, or a local folder.
        configs: of corpus, queries and judgements.
        split: which judgements; None: test, dev, validation or train, the first that are there.
        revision: commit, tag or branch; None: the newest.
        progress: told of each configuration.

    Raises:
        InputError: it cannot be loaded, or is laid out in another way.
        UsageError: there are no judgements of that split.
        UnavailableError: the hub cannot be reached.
    """
    corpus, queries, qrels = configs
    judged = load_splits(dataset, qrels, revision, progress)
    chosen = choose_split(list(judged), split, dataset)
    relevant = qrels_of(records_as_qrels(as_records(judged[chosen]), f"{dataset}/{qrels}"), f"{dataset}/{qrels}")
    tables = []
    for config, role in ((queries, "queries"), (corpus, "corpus")):
        splits = load_splits(dataset, config, revision, progress)
        if chosen not in splits and len(splits) > 1:
            raise InputError(
                f"It cannot be told which {role} belong to the judgements of `{visible(chosen)}`.",
                where=f"{dataset}/{config}",
                why=f"it has the splits {', '.join(map(visible, sorted(splits)))}",
            )
        name = chosen if chosen in splits else next(iter(splits))
        tables.append(texts_of(Part(f"{dataset}/{config}", name, splits[name]), role))
    return Tables(tables[0], tables[1], relevant, chosen)


def load_files(dataset: str, files: tuple[str, str, str], revision: str | None, progress: Progress = silent) -> Tables:
    """Load a judged collection whose corpus, queries and judgements are files of a dataset that has no configurations.

    Args:
        dataset: its id, or a local folder.
        files: of corpus, queries and judgements.
        revision: commit, tag or branch; None: the newest.
        progress: told of lines read.

    Raises:
        InputError: a file is not there, or cannot be read.
        UnavailableError: the hub cannot be reached.
    """
    paths = []
    for name in files:
        progress(f"fetch {name}", 0, 1)
        paths.append(_file(dataset, name, revision))
        progress(f"fetch {name}", 1, 1)
    corpus, queries = (
        read_texts(path, role, "", progress) for path, role in zip(paths, ("corpus", "queries"), strict=False)
    )
    return Tables(queries, corpus, qrels_of(qrels_lines(paths[2], progress), paths[2].name), "")


def load_splits(
    dataset: str, config: str | None, revision: str | None, progress: Progress = silent
) -> dict[str, pl.DataFrame]:
    """The splits of one configuration, as tables.

    Raises:
        InputError: there is no such dataset or configuration, or it cannot be loaded.
        UnavailableError: the hub cannot be reached, and the dataset is not in the local cache.
    """
    where = f"{dataset}/{config}" if config else dataset
    progress(f"load {where}", 0, 1)
    datasets, offline = _reached(dataset, revision)
    try:
        loaded = datasets.load_dataset(dataset, config, revision=revision)
        splits = {str(name): part.with_format(None).to_polars() for name, part in loaded.items()}
    except Exception as error:  # `datasets` lets errors of many libraries through
        raise _unloaded(where, offline, error) from error
    progress(f"load {where}", 1, 1)
    return splits


def _configs(dataset: str, revision: str | None) -> Sequence[str]:
    datasets, offline = _reached(dataset, revision)
    try:
        found: Sequence[str] = datasets.get_dataset_config_names(dataset, revision=revision)
    except Exception as error:  # `datasets` lets errors of many libraries through
        raise _unloaded(dataset, offline, error) from error
    return found


def _reached(dataset: str, revision: str | None) -> tuple[Any, bool]:
    """`datasets`, and whether only what is on this machine can be loaded."""
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    datasets.disable_progress_bars()
    if Path(dataset).is_dir():
        return datasets, False
    if not datasets.config.HF_HUB_OFFLINE:
        try:
            HfApi().dataset_info(dataset, revision=revision, timeout=10)
            return datasets, False
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise InputError(
                "There is no such set, file, folder or dataset on the hub.", where=dataset, why=_short(error)
            ) from error
        except Exception:  # whatever the network raised: only the cache is left
            datasets.config.HF_HUB_OFFLINE = True
    return datasets, True


def _file(dataset: str, name: str, revision: str | None) -> Path:
    """A file of a dataset on this machine."""
    if Path(dataset).is_dir():
        return Path(dataset) / name
    _, offline = _reached(dataset, revision)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(dataset, name, repo_type="dataset", revision=revision, local_files_only=offline))
    except Exception as error:  # the hub's client lets errors of many libraries through
        raise _unloaded(f"{dataset}/{name}", offline, error) from error


def _unloaded(where: str, offline: bool, error: Exception) -> InputError | UnavailableError:
    if not offline:
        return InputError("The dataset cannot be loaded.", where=where, why=_short(error))
    return UnavailableError(
        "The hub cannot be reached, and the dataset is not on this machine.",
        where=where,
        why=_short(error),
        remedy=(
            "where there is a network, load each part and `save_to_disk` it as corpus, queries and qrels of one folder "
            "(or the rows as one folder), and name that folder as the set; "
            "or fill the cache there and set HF_HUB_OFFLINE=1 here"
        ),
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
