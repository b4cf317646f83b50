"""The review queue of false negatives: what to judge first, what was judged, and what that says of the rest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from studio.errors import ProjectError
from studio.mining.agreement import Calibration, calibrate
from studio.mining.asking import MISSED, asked_lines
from studio.mining.collection import Collection
from studio.mining.false_negatives import CANDIDATE_FIELDS
from studio.mining.relations import judged
from studio.mining.standing import PRIOR, standing, trusted_margin
from studio.project.curate import Curated
from studio.project.evidence import Band, StoredEvidence
from studio.project.project import Project
from studio.project.verdicts import Drawn, State

SCALE = 20.0
"""Of MultipleNegativesRankingLoss (temperature .05): how sharply its softmax tells scores apart."""
_LINE = ["query", "passage"]
QUEUE_SCHEMA = pl.Schema(
    {
        "query_id": pl.String(),
        "passage_id": pl.String(),
        "own_id": pl.String(),
        "query": pl.UInt32(),
        "passage": pl.UInt32(),
        "score": pl.Float64(),
        "own": pl.Float64(),
        "margin": pl.Float64(),
        "at_least": pl.Boolean(),
        "support": pl.Float64(),
        "standing": pl.Float64(),
        "rank": pl.UInt32(),
        "own_rank": pl.UInt32(),
        "second_rank": pl.UInt32(),
        "bm25_rank": pl.UInt32(),
        "reasons": pl.List(pl.String()),
        "held_by": pl.List(pl.String()),
        "likeness": pl.Float64(),
        "cross": pl.Float64(),
        "cross_own": pl.Float64(),
        "certain": pl.Boolean(),
        "meetings": pl.UInt64(),
        "probability": pl.Float64(),
        "damage": pl.Float64(),
        "state": pl.String(),
        "direct": pl.Boolean(),
        "asked": pl.List(pl.String()),
    }
)
"""One line a candidate. The fields of the evidence are those of `false_negatives.CANDIDATE_FIELDS`, and:

`query`, `passage`: numbers in the collection. `certain`: the checks are sure. `meetings`: training rows with the query
times training rows with the passage. `at_least`: the own positive was not found: `own` is null, and the margin is the
least that it can be. `standing`: of `studio.mining.standing`. `probability`: that it also answers (`Calibration`).
`damage`: see `queue`. `state`: a `State`. `direct`: judged itself, not only the other way round.
`asked`: in which evaluations a system put it above the query's own positive, in words, where a person sent it here
(`mining.asking`); where the search did not bring it, its scores and ranks are that system's.
"""


@dataclass(frozen=True)
class Queue:
    """Candidates in the order in which they are worth judging, and how the margin was calibrated."""

    lines: pl.DataFrame
    calibration: Calibration
    collection: Collection

    def waiting(self, judge: str | None = None, given: pl.DataFrame | None = None) -> pl.DataFrame:
        """The lines still to be judged: undecided or disputed ones, or, for a judge, those they said nothing of.

        Args:
            judge: an actor; None for what nobody settled.
            given: the verdicts in force (VERDICTS_SCHEMA); needed with `judge`.
        """
        open_ = self.lines.filter(~pl.col("certain"))
        if judge is None or given is None:
            return open_.filter(pl.col("state").is_in([State.UNDECIDED.value, State.DISPUTED.value]))
        mine = given.filter(pl.col("judge") == judge).select("query_id", "passage_id")
        return open_.join(mine, on=["query_id", "passage_id"], how="anti", maintain_order="left")


def queue(
    project: Project,
    found: StoredEvidence | None,
    curated: Curated,
    collection: Collection,
    order: Drawn = "damage",
    seed: int = 0,
) -> Queue:
    """Order the candidates of a search by expected damage, or by chance.

    damage = probability · meetings · push / place. `push` is the share of the in-batch softmax that the candidate takes
    beside the own positive alone, 1/(1 + e^(−scale·|own|·margin)), with the margin as in `standing`: the gradient that
    pushes it away. `place` counts the candidates of one query, likeliest first, so that one vague query does not fill
    the top of the queue. What a person sent and nobody settled comes before all others; an estimate of the search's
    precision (the order by chance) is about what the search brought.

    Args:
        project: its ledger says what was judged, and what was sent.
        found: the evidence of `false_negatives.search`; None: nobody searched.
        curated: the outcomes; candidates with a row that is not kept are left out.
        collection: of the same outcomes.
        order: what comes first.
        seed: of the sample.

    Raises:
        ProjectError: no search was made, and nothing was sent.
    """
    made = queue_if_any(project, found, curated, collection, order, seed)
    if made is None:
        raise ProjectError(
            "Nobody has looked for false negatives yet.",
            where=str(project.root),
            remedy=f"run `harrier-studio false-negatives --project {project.root}`",
        )
    return made


def queue_if_any(
    project: Project,
    found: StoredEvidence | None,
    curated: Curated,
    collection: Collection,
    order: Drawn = "damage",
    seed: int = 0,
) -> Queue | None:
    """As `queue`; None where no search was made and nothing was sent."""
    asked = asked_lines(project.ledger.log(), project.ledger.targets(), curated, collection)
    if found is None and asked.is_empty():
        return None
    lines = _candidates(found, asked, collection)
    states = judged(collection, project.ledger.log(), project.ledger.targets(), curated)
    lines = lines.join(states, on=["query", "passage"], how="left", maintain_order="left").with_columns(
        pl.col("state").fill_null(State.UNDECIDED.value), pl.col("direct").fill_null(value=False)
    )
    trust = float(next(iter(found.evidence.stats["mrr"].values()))) if found else float(asked["trust"][0])
    lines = lines.with_columns(standing=standing(trust))
    calibration = _calibrated(lines)
    rows = collection.queries["rows"], collection.passages["rows"]
    lines = lines.with_columns(
        (rows[0].gather(lines["query"]).cast(pl.UInt64) * rows[1].gather(lines["passage"])).alias("meetings"),
        pl.Series("probability", _probability(lines, calibration)),
    )
    # A cosine is at most 1; other scores, which have no such bound, weigh as if they were cosines.
    push = 1 / (1 + (-SCALE * trusted_margin(trust) * most_own().abs().clip(upper_bound=1)).exp())
    place = pl.col("probability").rank("ordinal", descending=True).over("query")
    lines = lines.with_columns(damage=pl.col("probability") * pl.col("meetings") * push / place)
    if order == "sample":
        lines = lines.filter("searched")
        lines = lines.with_columns(_drawn(lines, seed)).sort("drawn", maintain_order=True)
    else:
        open_ = pl.col("state").is_in([State.UNDECIDED.value, State.DISPUTED.value]) & ~pl.col("certain")
        sent = (pl.col("asked").list.len() > 0) & open_
        lines = lines.sort(sent, "damage", descending=[True, True], maintain_order=True)
    ordered = lines.select(pl.col(name).cast(dtype) for name, dtype in QUEUE_SCHEMA.items())
    return Queue(ordered, calibration, collection)


def most_own() -> pl.Expr:
    """The own positive's score; where it is not known, what it is at most by the bound that the margin is."""
    bound = pl.col("score") / (1 + pl.col("margin").clip(lower_bound=0))
    return pl.when(pl.col("at_least")).then(bound).otherwise(pl.col("own"))


def _candidates(found: StoredEvidence | None, asked: pl.DataFrame, collection: Collection) -> pl.DataFrame:
    """What the search brought, without what it rejected, and what a person sent: with `searched` and `asked`."""
    there = asked.drop("trust")
    if found is None:
        return there.with_columns(searched=pl.lit(value=False))
    edges = found.evidence.edges
    rejected = edges.filter(pl.col("band") == Band.IGNORE.value)
    if asked.height:
        rejected = collection.numbered(rejected, "a_id", "b_id").join(asked, on=_LINE, how="semi").drop(_LINE)
    read = [_read(edges.filter(pl.col("band") != Band.IGNORE.value)).with_columns(searched=pl.lit(value=True))]
    if asked.height and rejected.height:
        read.append(_read(rejected).with_columns(searched=pl.lit(value=False)))
    lines = collection.numbered(pl.concat(read)).join(collection.own, on=_LINE, how="anti", maintain_order="left")
    lines = lines.with_columns(at_least=pl.lit(value=False))
    if asked.is_empty():
        return lines.with_columns(asked=pl.lit([], dtype=pl.List(pl.String)))
    lines = lines.join(asked.select(*_LINE, "asked"), on=_LINE, how="left", maintain_order="left")
    missed = pl.when(pl.col("asked").is_not_null()).then(pl.lit([MISSED])).otherwise(pl.lit([], pl.List(pl.String)))
    lines = lines.with_columns(reasons=missed.list.concat("reasons"), asked=pl.col("asked").fill_null([]))
    new = there.join(lines, on=_LINE, how="anti", maintain_order="left").with_columns(searched=pl.lit(value=False))
    return pl.concat([lines, new.select(lines.columns)])


def _read(edges: pl.DataFrame) -> pl.DataFrame:
    """Open the JSON of the search's edges."""
    fields = {name: dtype for name, dtype in QUEUE_SCHEMA.items() if name in ("own_id", *CANDIDATE_FIELDS)}
    return edges.select(
        pl.col("a_id").alias("query_id"),
        pl.col("b_id").alias("passage_id"),
        "score",
        (pl.col("band") == Band.AUTO.value).alias("certain"),
        pl.col("evidence").str.json_decode(pl.Struct(dict(fields))).alias("fields"),
    ).unnest("fields")


def _calibrated(lines: pl.DataFrame) -> Calibration:
    """Learn from what people said, not from what follows the other way round."""
    told = lines.filter(
        pl.col("direct") & pl.col("state").is_in([State.ALSO_ANSWERS.value, State.DOES_NOT.value, State.PARTLY.value])
    )
    answers = (told["state"] == State.ALSO_ANSWERS.value).to_numpy()
    return calibrate(told["standing"].to_numpy(), answers, PRIOR)


def _probability(lines: pl.DataFrame, calibration: Calibration) -> np.ndarray:
    """That a candidate also answers: 1 or 0 where it is known, else by its standing."""
    guessed = calibration.probability(lines["standing"].to_numpy())
    known_yes = (lines["certain"] | (lines["state"] == State.ALSO_ANSWERS.value)).to_numpy()
    known_no = lines["state"].is_in([State.DOES_NOT.value, State.PARTLY.value]).to_numpy()
    result: np.ndarray = np.where(known_yes, 1.0, np.where(known_no, 0.0, guessed))
    return result


def _drawn(lines: pl.DataFrame, seed: int) -> pl.Series:
    """A place by chance that depends on the candidate and the seed only: the order stays as the queue changes."""
    names = (lines["query_id"] + lines["passage_id"]).to_list()
    digests = [hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:16] for name in names]
    return pl.Series("drawn", digests)
