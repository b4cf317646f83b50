"""An evaluation that a request may end early, told alike to every process of a run."""

from __future__ import annotations

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator

from studio.training.alerts import broken_vectors
from studio.training.callbacks import ABORTED
from studio.training.evaluating import RetrievalEvaluator
from studio.training.telling import Teller


class Aborted(Exception):  # noqa: N818 - a request, not an error
    """An evaluation must end now; `why` is the value of its `aborted`."""

    def __init__(self, why: float) -> None:
        super().__init__(why)
        self.why = why


class Interruptible(BaseEvaluator):  # type: ignore[misc]
    """The evaluator, which a request may end early; all processes hear of it in its metrics.

    Args:
        inner: what measures.
        teller: told of vectors that are no numbers.
    """

    def __init__(self, inner: RetrievalEvaluator, teller: Teller) -> None:
        super().__init__()
        self.inner, self.primary_metric, self._teller = inner, inner.primary_metric, teller

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Measure, or say why not."""
        try:
            metrics = self.inner(model, output_path, epoch, steps)
        except Aborted as aborted:
            return {ABORTED: aborted.why}
        if self.inner.broken:
            self._teller.alert(broken_vectors(self.inner.broken))
        return metrics
