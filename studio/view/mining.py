"""What mining would take now, for the panel: read from what was retrieved before, with no model loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from studio.errors import InputError, UnavailableError
from studio.mining.collection import Collection
from studio.mining.plan import MiningPlan, plan
from studio.mining.pool import Pool, depth_of, pool_of, stored
from studio.mining.retrieval import Retriever, retrievers_of
from studio.mining.settings import MiningSettings, configured
from studio.project.curate import Curated
from studio.view.bench import Bench
from studio.view.evidence import remembered


class MiningAnswer(NamedTuple):
    """What mining would take, if the retrievers were asked already.

    `plan`: None as long as they were not. `needs_embedding`: the job `mine` (without writing) has to run first.
    `unknown`: why nothing can be said, in words, or "". `settings`: name and value of every setting, as used here.
    """

    plan: MiningPlan | None
    needs_embedding: bool
    unknown: str
    settings: tuple[tuple[str, str | int | float | None], ...]


def mining_plan(bench: Bench, changes: Mapping[str, Any] | None = None) -> MiningAnswer:
    """Say what mining would take of the rows as decided.

    Args:
        bench: the project.
        changes: settings by name, over those of studio.toml; other margins cost milliseconds.

    Raises:
        ConfigError: a setting is unknown or wrong.
        ProjectError: no row is kept.
    """
    settings = configured(bench.project.settings, changes)
    named = tuple(settings.model_dump(mode="json").items())
    curated, collection = _collected(bench)
    try:
        retriever = retrievers_of(bench.project.settings)[0]
        pool = _pool(bench, settings, retriever, curated, collection)
    except (InputError, UnavailableError) as error:
        return MiningAnswer(None, True, str(error), named)
    except _NotRetrievedError:
        return MiningAnswer(None, True, "no candidates have been retrieved for these rows yet", named)
    return MiningAnswer(plan(pool, settings), False, "", named)


class _NotRetrievedError(Exception):
    """Nobody asked the retrievers for these rows, this deep."""


def _collected(bench: Bench) -> tuple[Curated, Collection]:
    """The rows as decided, put together again only when a decision or the settings change them."""

    def make() -> tuple[Curated, Collection]:
        groups = bench.answer_groups()
        if groups is None:
            bench.learn_equal_texts()
            groups = bench.answer_groups()
        assert groups is not None
        curated = Curated(bench.curated().with_columns(groups))
        return curated, Collection.of(bench.project, curated)

    return remembered(bench, "collection", _decided(bench), make)


def _pool(
    bench: Bench, settings: MiningSettings, retriever: Retriever, curated: Curated, collection: Collection
) -> Pool:
    evidence = bench.evidence()

    def make() -> Pool:
        found = stored(bench.project, collection, settings, retriever)
        if found is None:
            raise _NotRetrievedError
        targets = bench.project.ledger.targets()
        return pool_of(collection, found, settings, evidence.values(), bench.log(), targets, curated)

    runs = tuple((name, item.key, item.seconds) for name, item in evidence.items())
    described = tuple(retriever.described().items())
    key = (_decided(bench), runs, described, settings.miners, depth_of(collection, settings))
    return remembered(bench, "mining", key, make)


def _decided(bench: Bench) -> tuple[int, str]:
    """What the rows as decided depend on."""
    log = bench.log()
    return log[-1].seq if log else 0, bench.project.settings.curation.model_dump_json()
