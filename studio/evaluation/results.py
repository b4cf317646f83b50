"""What evaluating found: a ranking and values by query of each system, and what running it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.evaluation.sets import EvaluationSet
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Reranked, SystemClass

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]


class Ranking(NamedTuple):
    """The first passages of each query.

    Attributes:
        indices: (queries, depth) positions in the set's corpus, the best first; -1 where there is none.
        scores: (queries, depth), descending; -inf where there is none. Equal scores: the lower position first.
    """

    indices: I32
    scores: F32


class Operations(NamedTuple):
    """What a system costs, measured in a process of its own on the device named.

    Attributes:
        device: such as `cpu, 2 threads` or a GPU's name.
        load_seconds: until the model, or the index, is ready.
        passages_per_second: encoded or indexed.
        query_p50: median seconds of one query, alone: encoded and searched.
        query_p95: the 95th percentile of that.
        index_bytes: what the vectors, or the posting lists, take.
        dimension: numbers a vector; None of systems without vectors.
        peak_memory: bytes of the process, on the device if it has memory of its own.
        truncated: queries and passages that were cut at the maximum length.
        tokens_cut: tokens of queries and passages that nothing read.
        sample: passages and queries that were timed.
    """

    device: str
    load_seconds: float
    passages_per_second: float
    query_p50: float
    query_p95: float
    index_bytes: int
    dimension: int | None
    peak_memory: int
    truncated: tuple[int, int]
    tokens_cut: tuple[int, int]
    sample: tuple[int, int]


@dataclass(frozen=True, eq=False)
class SystemResult:
    """One system on one set.

    Attributes:
        name: what the table calls it.
        system: what it is; None where only scores are known, as of a run's own evaluation.
        of_class: with whom it may be compared.
        values: metric → (queries,) in the set's order. Of pairs: `spearman` has each pair's own cosine under
            `cosine`; of triplets: `accuracy`.
        overall: metric → the mean over all queries, or the correlation.
        ranking: of retrieval; None of the others, and where it is not known.
        operations: None: not measured.
        described: model, revision, prompts, lengths: what its values depend on.
        notes: what a person should know.
        error: why it could not be run, or "". Then there are no values.
    """

    name: str
    system: Dense | Lexical | Hybrid | Reranked | Given | None
    of_class: SystemClass
    values: Mapping[str, F64]
    overall: Mapping[str, float]
    ranking: Ranking | None = None
    operations: Operations | None = None
    described: Mapping[str, str | int | float] | None = None
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Several systems on one set, as it was stored.

    Attributes:
        name: the folder's, or `` of one that was not stored.
        evaluated: the set.
        main: the metric that decides.
        metrics: all that were computed.
        systems: in the order they were asked for.
        made: when, ISO 8601 in UTC.
        command: what to run to make it again.
        notes: what a person should know.
    """

    name: str
    evaluated: EvaluationSet
    main: str
    metrics: tuple[str, ...]
    systems: tuple[SystemResult, ...]
    made: str = ""
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def system(self, name: str) -> SystemResult | None:
        """The system of that name, if there is one."""
        return next((found for found in self.systems if found.name == name), None)
