"""What is measured: retrievers and what is made of them, each in a class, and which of them may be compared."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

_RRF_K = 60


class SystemClass(StrEnum):
    """The kind of work a system does for a query; only systems of one class are compared."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"
    RERANKED = "reranked"
    UNKNOWN = "unknown"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dense(_Strict):
    """An embedding model, or the one that a run ended with."""

    kind: Literal["dense"] = "dense"
    model: str = ""
    """A folder, a hub id, a short name, or `harrier-tiny`; empty: that of `run`, or the project's."""
    run: str = ""
    """Name of a run of the project: its final model, with the prompts it was trained with."""
    at: str = Field(default="", pattern=r"^(baseline|checkpoint-[0-9]+)?$")
    """Of a run: `baseline` (its base model before training), `checkpoint-STEP`; empty: its final model."""
    prompts: Literal["contract", "model", "none", "set"] = "contract"
    """The project's (or the run's) contract, the model's own, none, or those that the set's authors name."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens a text is cut at; None: the project's, or the run's."""
    dim: int | None = Field(default=None, ge=1)
    """Leading dimensions that are kept (Matryoshka), then brought to length 1 again; None: all."""
    precision: Literal["float32", "int8", "binary"] = "float32"
    """How the index holds vectors: 4 bytes, 1 byte or 1 bit a dimension."""
    rescore: int = Field(default=0, ge=0)
    """Of int8 and binary: how many times the depth is fetched and scored again with the query in float32; 0: none."""
    device: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Dense:
        if self.model and self.run:
            raise ValueError("it names a model and a run; a run has its own model")
        if self.at and not self.run:
            raise ValueError("`at` is a place of a run, and no run is named")
        if self.run and self.revision:
            raise ValueError("a run has its own revision")
        if self.rescore and self.precision == "float32":
            raise ValueError("only int8 and binary are scored again; float32 is exact already")
        return self


class Lexical(_Strict):
    """BM25 over words."""

    kind: Literal["bm25"] = "bm25"
    words: Literal["plain", "portuguese"] = "portuguese"
    """`plain`: runs of letters and digits without accents; `portuguese`: those without stop words, and stemmed."""
    k1: float = Field(default=1.5, ge=0)
    b: float = Field(default=0.75, ge=0, le=1)


class Hybrid(_Strict):
    """Rankings of several systems made into one."""

    kind: Literal["hybrid"] = "hybrid"
    parts: tuple[Dense | Lexical, ...] = Field(min_length=2)
    how: Literal["rrf", "weighted"] = "rrf"
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009), or a weighted sum of min-max normalised scores."""
    k: int = Field(default=_RRF_K, ge=1)
    """Of RRF: 1 / (k + rank)."""
    weights: tuple[float, ...] = ()
    """Of each part; empty: equal."""
    depth: int = Field(default=100, ge=1)
    """Passages that each part brings."""

    @model_validator(mode="after")
    def _fits(self) -> Hybrid:
        if self.weights and self.how == "rrf":
            raise ValueError("reciprocal rank fusion has no weights; `weighted` has")
        if self.weights and len(self.weights) != len(self.parts):
            raise ValueError(f"{len(self.weights)} weights are given for {len(self.parts)} parts")
        if self.weights and (min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf")):
            raise ValueError("no weight may be negative, and one must be above 0")
        if self.k != _RRF_K and self.how == "weighted":
            raise ValueError("`k` is of reciprocal rank fusion; a weighted sum has none")
        return self


class Reranked(_Strict):
    """A ranking whose first passages a cross-encoder puts in order."""

    kind: Literal["reranked"] = "reranked"
    first: Annotated[Dense | Lexical | Hybrid, Field(discriminator="kind")]
    model: str = Field(min_length=1)
    """The cross-encoder."""
    top: int = Field(default=100, ge=1)
    max_length: int = Field(default=512, ge=8)
    device: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False


class Given(_Strict):
    """Another tool's ranking, in a TREC run file."""

    kind: Literal["given"] = "given"
    path: str = Field(min_length=1)
    of_class: SystemClass = SystemClass.UNKNOWN
    """What made it, as its owner says; what is unknown is compared with nothing."""


System: TypeAlias = Annotated[Dense | Lexical | Hybrid | Reranked | Given, Field(discriminator="kind")]


class Named(NamedTuple):
    """A system and what a table calls it."""

    name: str
    system: Dense | Lexical | Hybrid | Reranked | Given
