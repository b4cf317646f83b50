"""The evaluator of a run: the same queries, passages and prompts before, while and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import polars as pl
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator

from studio.evaluation.metrics import F64, I32, METRICS, Qrels, by_query, metric, trec_order
from studio.evaluation.sets import Judged
from studio.models.neighbours import F32, nearest
from studio.progress import Progress, silent
from studio.prompts.contract import PromptContract, Role

STEP = "evaluate"
_SEARCHED_AT_ONCE = 1024


class RetrievalEvaluator(BaseEvaluator):  # type: ignore[misc]
    """Encodes queries and passages with the contract's prompts, searches exactly, and measures as trec_eval does.

    Texts are encoded the longest first, a batch on each process at a time; between two such chunks `between` is
    called, which may raise to end the evaluation. A vector that is no number, such as a diverged model gives, finds
    nothing and is not found; `broken` counts them.

    Under several processes sentence-transformers' trainer calls this on rank 0 and shares the encoding; what `between`
    raises then ends the others with a RuntimeError.

    Attributes:
        primary_metric: what decides.
        values: metric → a value a query, of the latest evaluation, in the order of `query_ids`.
        query_ids: the queries.
        broken: vectors that were no numbers in the latest evaluation.
    """

    def __init__(
        self,
        judged: Judged,
        contract: PromptContract,
        *,
        main: str = "ndcg@10",
        batch_size: int = 64,
        autocast: torch.dtype | None = None,
        between: Callable[[], None] = lambda: None,
        progress: Progress = silent,
    ) -> None:
        """Lay out the test.

        Args:
            judged: queries, passages and who answers whom.
            contract: the prompts; they are passed as they are, and the model's own never apply.
            main: the metric that decides; computed besides those of every evaluation.
            batch_size: texts at once, on each device.
            autocast: what training computes in, if not in the weights' precision.
            between: called between two chunks, on the process that drives.
            progress: told of texts encoded and queries searched.

        Raises:
            ConfigError: there is no such metric.
            InputError: a judgement is of a query or passage that is not there.
        """
        super().__init__()
        self.primary_metric = metric(main).name
        self.names = tuple(dict.fromkeys([self.primary_metric, *METRICS]))
        self.contract, self.batch_size, self.autocast = contract, batch_size, autocast
        self.between, self.progress = between, progress
        # A search lists equal scores by position; in this order of passages that is trec_eval's order.
        corpus = judged.corpus[trec_order(judged.corpus["passage_id"])]
        self.queries, self.passages = judged.queries["text"], corpus["text"]
        self.query_ids: list[str] = judged.queries["query_id"].to_list()
        self.passage_ids: list[str] = corpus["passage_id"].to_list()
        self.qrels = Qrels.of(judged.queries["query_id"], corpus["passage_id"], judged.qrels)
        self.values: dict[str, F64] = {}
        self.broken = 0
        self._done = 0

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Measure a model; the mean of each metric over all queries.

        Args:
            model: as it is on its device.
            output_path: not used; sentence-transformers passes it.
            epoch: not used.
            steps: not used.
        """
        self._done = 0
        queries = self._encoded(model, self.queries, Role.QUERY)
        passages = self._encoded(model, self.passages, Role.DOCUMENT)
        ranked = self._searched(queries, passages, str(model.device))
        self.values = by_query(ranked, self.qrels, self.names)
        return {name: float(values.mean()) for name, values in self.values.items()}

    def _encoded(self, model: SentenceTransformer, texts: pl.Series, role: Role) -> F32:
        """Vectors of length 1, float32, in the order of the texts; a row of NaN where the model gave no numbers."""
        order = np.argsort(-texts.str.len_chars().to_numpy().astype(np.int64), kind="stable")
        vectors: F32 | None = None
        size = self.batch_size * _processes()
        for low in range(0, len(order), size):
            self.between()
            chunk = order[low : low + size]
            with self._precision(model):
                found: Any = model.encode(
                    texts.gather(chunk).to_list(),
                    prompt=self.contract.prompt(role),
                    batch_size=self.batch_size,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
            part = np.asarray(found, np.float32)
            with np.errstate(all="ignore"):
                part = part / np.linalg.norm(part, axis=1, keepdims=True)
            if vectors is None:
                vectors = np.empty((len(order), part.shape[1]), np.float32)
            vectors[chunk] = part
            self._tell(len(chunk))
        self.between()
        return np.empty((0, 0), np.float32) if vectors is None else vectors

    def _searched(self, queries: F32, passages: F32, device: str) -> I32:
        """The first passages of each query: positions, -1 where there is none."""
        asking, there = (np.flatnonzero(np.isfinite(part).all(axis=1)) for part in (queries, passages))
        self.broken = len(queries) + len(passages) - len(asking) - len(there)
        depth = min(max(metric(name).k for name in self.names), len(passages))
        ranked = np.full((len(queries), depth), -1, np.int32)
        whole = passages if len(there) == len(passages) else passages[there]
        for low in range(0, len(asking) if len(there) else 0, _SEARCHED_AT_ONCE):
            self.between()
            rows = asking[low : low + _SEARCHED_AT_ONCE]
            found = nearest(queries[rows], whole, depth, device=device).indices
            ranked[rows] = np.where(found >= 0, there[found], -1)
            self._tell(len(rows))
        return ranked

    def _tell(self, more: int) -> None:
        self._done += more
        self.progress(STEP, self._done, 2 * self.queries.len() + self.passages.len())

    @contextmanager
    def _precision(self, model: SentenceTransformer) -> Iterator[None]:
        """Compute as training does."""
        whole = self.autocast is None
        with nullcontext() if whole else torch.autocast(model.device.type, dtype=self.autocast):
            yield


def _processes() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_world_size())
    return 1
