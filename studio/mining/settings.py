"""How hard negatives are mined, and the reasons why a candidate is not taken."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from studio.project.settings import ProjectSettings, validated


class MiningSettings(BaseModel):
    """How hard negatives are mined: the table `[mining]` of studio.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    miners: Literal["dense", "bm25", "mixed"] = "dense"
    """Who proposes. `mixed`: both in turn, the encoder first; a passage that both propose counts once."""
    negatives: int = Field(default=4, ge=1, le=100)
    """Negatives a query."""
    skip: int = Field(default=0, ge=0)
    """The first so many candidates that pass the rules of score are not taken (`range_min`)."""
    deepest: int = Field(default=100, ge=1, le=2048)
    """Nor are those after so many (`range_max`)."""
    relative_margin: float | None = Field(default=0.05, ge=0, le=1)
    """A negative scores at most own − margin·|own|."""
    absolute_margin: float | None = Field(default=None, ge=0)
    """A negative scores at most own − margin."""
    max_score: float | None = None
    min_score: float | None = None
    sampling: Literal["top", "random"] = "top"
    """Take the first, or draw among all that are left."""
    seed: int = Field(default=0, ge=0)
    cross_encoder: str = ""
    """A sentence-transformers cross-encoder, by folder or hub id; "" for none."""
    cross_max_length: int = Field(default=512, ge=8)
    cross_depth: int = Field(default=30, ge=1)
    """Candidates of one query that the cross-encoder reads, of those that every other rule leaves."""
    cross_margin: float = Field(default=0.0, ge=0)
    """A negative's cross-encoder score is below that of every own positive less this."""
    same_source: Literal["exclude", "allow"] = "exclude"
    """Whether passages of the document that a positive of the query comes from are left out."""

    @model_validator(mode="after")
    def _fits(self) -> MiningSettings:
        if self.negatives > self.deepest - self.skip:
            room = f"skip {self.skip} and deepest {self.deepest}"
            raise ValueError(f"{self.negatives} negatives do not fit between {room}")
        if self.cross_encoder and self.cross_depth < self.negatives:
            raise ValueError(f"cross_depth {self.cross_depth} is less than the {self.negatives} negatives wanted")
        return self


def configured(settings: ProjectSettings, changes: Mapping[str, Any] | None = None) -> MiningSettings:
    """The project's settings of mining, with `changes` by name; a value "none" takes a rule of score away.

    Raises:
        ConfigError: a setting is unknown or wrong, or they contradict each other.
    """
    given = {**settings.mining, **(changes or {})}
    rules = ("relative_margin", "absolute_margin", "max_score", "min_score")
    return validated(
        {name: None if name in rules and value == "none" else value for name, value in given.items()},
        MiningSettings,
        "mining",
    )


class Reason(StrEnum):
    """Why a candidate was not taken: the first that applies, in this order."""

    OWN_POSITIVE = "own_positive"
    """A kept row has this query and this passage."""
    QUERY_ITSELF = "query_itself"
    """The passage is the query's own text (L2)."""
    EVALUATION = "evaluation"
    """A row for evaluation has the passage, or only rows set aside as leaked have it."""
    ALSO_ANSWERS = "also_answers"
    """Judged so."""
    PARTLY = "partly"
    """Judged so."""
    ANSWER_GROUP = "answer_group"
    """Query and passage belong to one answer group."""
    NEAR_DUPLICATE = "near_duplicate"
    """The checks found it like a positive of the query, or one in the other; a guard that tells them apart frees it."""
    NEAR_QUERY = "near_query"
    """It answers a query that the checks found like this one, unless a guard tells the two apart."""
    SAME_SOURCE = "same_source"
    """A positive of the query comes from the same document."""
    UNDECIDED = "undecided"
    """A candidate of the search for false negatives on which nobody, or no agreement, has decided."""
    RELATIVE_MARGIN = "relative_margin"
    ABSOLUTE_MARGIN = "absolute_margin"
    MAX_SCORE = "max_score"
    MIN_SCORE = "min_score"
    SKIPPED = "skipped"
    """Among the first `skip` that pass the rules of score."""
    DEEPER = "deeper"
    """After the first `deepest`."""
    NOT_READ = "not_read"
    """After the first `cross_depth`."""
    CROSS_ENCODER = "cross_encoder"
    """The cross-encoder finds it about as good as an own positive."""
    NOT_DRAWN = "not_drawn"
    """It could have been taken, and others were."""


REASONS = tuple(Reason)
CHOSEN = len(REASONS)
EXCLUSIONS = REASONS[: REASONS.index(Reason.RELATIVE_MARGIN)]
LIFTED = (
    Reason.ANSWER_GROUP, Reason.NEAR_DUPLICATE, Reason.NEAR_QUERY, Reason.SAME_SOURCE, Reason.UNDECIDED,
)  # fmt: skip
"""What a person's "does not" overrules, for it is about this very pair."""


def mask_of(*reasons: Reason) -> int:
    """Reasons as a bit mask: bit i is the i-th of `Reason`."""
    return sum(1 << REASONS.index(reason) for reason in reasons)
