"""The curated view: a pure replay of decisions over the snapshot. Same inputs, same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from studio.project.groups import components, first_of, joined_by, joined_by_edges
from studio.project.ledger import Action, Decision, in_force
from studio.project.verdicts import State, pairs_in_state, settled, verdicts
from studio.text.equal import equal_at
from studio.text.normalise import Level

REWRITE_ACTOR = "rule:rewrite"
"""Beginning of the actors that edit texts when a person asks for it."""


class Status(StrEnum):
    """What became of a row of the snapshot."""

    KEPT = "kept"
    REMOVED = "removed"
    EDITED = "edited"
    MOVED = "moved"
    """Kept, with its query re-pointed to another row's passage, or in another split."""


@dataclass(frozen=True)
class Curated:
    """The outcome of every row of a snapshot.

    `rows` has one line a snapshot row, in snapshot order: the snapshot's columns with edits applied, and
    `status`, `reason`, `keeper_id`, `group_id` (answer group), `also_answers` (`also_answering`), `cluster_id` (the row
    whose passage stands for a cluster), `decision_id` (seq), `keeper_score`, `rule` (actor of the deciding line).
    """

    rows: pl.DataFrame

    @property
    def kept(self) -> pl.DataFrame:
        """The rows that go into a dataset."""
        return self.rows.filter(pl.col("status") != Status.REMOVED.value)

    def counts(self) -> pl.DataFrame:
        """Rows by `status` and `reason`, most first."""
        return (
            self.rows.group_by("status", "reason")
            .len("rows")
            .sort("rows", "status", "reason", descending=[True, False, False])
        )


Numbering = Callable[[str, pl.Series], pl.Series]
"""Numbers the texts of a column (its name, its texts): equal numbers, and only these, are equal at L2."""


def _numbered(column: str, texts: pl.Series) -> pl.Series:
    return equal_at(texts, Level.SURFACE)


def resolve(
    snapshot: pl.DataFrame, log: Sequence[Decision], targets: pl.DataFrame, numbered: Numbering = _numbered
) -> Curated:
    """Replay the decisions in force over `snapshot`.

    A person's decision wins over a rule's; among equals the later wins. A row a person keeps is neither removed
    nor re-pointed by a rule. A rule's decision in favour of a row that a person drops does not count, so that nothing
    is lost with the keeper. Re-pointing follows chains to their end; a cycle leaves the row's own text.

    Args:
        snapshot: the imported rows, in order, as `SNAPSHOT_SCHEMA`.
        log: the whole ledger, or any part that is meant to count.
        targets: the ledger's targets, as `TARGETS_SCHEMA`.
        numbered: how to tell which texts are equal; for who resolves the same snapshot again and again.
    """
    rows = outcomes(snapshot, log, targets)
    return Curated(rows.with_columns(answer_groups(rows, log, targets, numbered), also_answering(rows, log, targets)))


def outcomes(snapshot: pl.DataFrame, log: Sequence[Decision], targets: pl.DataFrame) -> pl.DataFrame:
    """The rows of `resolve` without `group_id`, which takes longest."""
    acts = _counting(log, targets)
    presence = _latest(acts, Action.KEEP, Action.DROP).filter(pl.col("action") == Action.DROP.value)
    passages = _latest(acts, Action.KEEP, Action.REPOINT).filter(pl.col("action") == Action.REPOINT.value)
    splits = _latest(acts, Action.MOVE)
    rows = _with_edits(snapshot, acts)
    rows = _repointed(rows, passages)
    rows = _without_judged_negatives(rows, verdicts(log, targets))
    rows = rows.with_columns(
        split=pl.coalesce(_lookup(rows, splits, "value"), pl.col("split")),
    )
    outcome = _outcome(rows, presence, passages, splits)
    return rows.with_columns(*outcome).drop("edit_id", "edit_reason")


def answer_groups(
    rows: pl.DataFrame, log: Sequence[Decision], targets: pl.DataFrame, numbered: Numbering = _numbered
) -> pl.Series:
    """Answer groups: rows joined by the same query, the same passage (both L2), a GROUP decision, or a verdict.

    The row that stands for a removed one also stands for it in verdicts. A verdict on rows of different splits joins
    nothing: it says what a test's query is answered by, and takes no row out of training.

    Args:
        rows: the outcomes, whose texts count.

    Returns:
        One `group_id` a row: the row_id of the group's first row.
    """
    names = _lookup(rows, _latest(_counting(log, targets), Action.GROUP), "value")
    texts = (numbered(column, rows[column]) for column in ("query", "positive"))
    answers = _of_one_split(rows, standing(rows, pairs_in_state(verdicts(log, targets), State.ALSO_ANSWERS)))
    judged = joined_by_edges(rows["row_id"], answers.rename({"query_id": "a_id", "passage_id": "b_id"}))
    links = [*map(joined_by, texts), joined_by(names), judged]
    return rows["row_id"].gather(first_of(components(rows.height, links))).alias("group_id")


def also_answering(rows: pl.DataFrame, log: Sequence[Decision], targets: pl.DataFrame) -> pl.Series:
    """The passages judged to also answer each row's query, its own aside: a list of texts a row, in order of judgement.

    A judgement counts both ways, for the two rows are one answer group, unless somebody judged the other way round by
    itself. Rows of different splits give each other nothing: a test passage is no positive of a training query.
    """
    states = standing(rows, settled(verdicts(log, targets)))
    also = states.filter(pl.col("state") == State.ALSO_ANSWERS.value).drop("state")
    turned = also.select(pl.col("passage_id").alias("query_id"), pl.col("query_id").alias("passage_id"))
    turned = turned.join(states, on=["query_id", "passage_id"], how="anti", maintain_order="left")
    kept = rows.filter(pl.col("status") != Status.REMOVED.value)
    answers = _answers(kept, _of_one_split(kept, pl.concat([also, turned]))).rename({"positive": "answer"})
    lines = rows.select("row_id", "query", "positive").join(answers, on="query", maintain_order="left_right")
    lines = lines.filter(pl.col("answer") != pl.col("positive"))
    lists = lines.group_by("row_id", maintain_order=True).agg(pl.col("answer").alias("also_answers"))
    found = rows.select("row_id").join(lists, on="row_id", how="left", maintain_order="left")
    return found["also_answers"].fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


def _of_one_split(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The judged pairs whose two rows are there and in one split."""
    splits = rows.select("row_id", pl.col("split").fill_null(""))
    for column, split in (("query_id", "asking"), ("passage_id", "answering")):
        known = splits.select(pl.col("row_id").alias(column), pl.col("split").alias(split))
        pairs = pairs.join(known, on=column, maintain_order="left")
    return pairs.filter(pl.col("asking") == pl.col("answering")).drop("asking", "answering")


def _answers(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Judged pairs of rows as texts, `query` and `positive`, each once; those with another row are left out."""
    queries = rows.select(pl.col("row_id").alias("query_id"), "query")
    passages = rows.select(pl.col("row_id").alias("passage_id"), "positive")
    named = pairs.join(queries, on="query_id", maintain_order="left")
    named = named.join(passages, on="passage_id", maintain_order="left")
    return named.select("query", "positive").unique(maintain_order=True)


def standing(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Put the rows that stand for removed ones into judged pairs (`query_id`, `passage_id`)."""
    removed = rows.filter((pl.col("status") == Status.REMOVED.value) & pl.col("keeper_id").is_not_null())
    keepers = dict(removed.select("row_id", "keeper_id").iter_rows())
    return pairs.with_columns(pl.col("query_id", "passage_id").replace(keepers)) if keepers else pairs


def _counting(log: Sequence[Decision], targets: pl.DataFrame) -> pl.DataFrame:
    """What the decisions in force say of their rows, without what others overrule."""
    return _without_overruled(_without_lost_keepers(_acts(log, targets)))


def _acts(log: Sequence[Decision], targets: pl.DataFrame) -> pl.DataFrame:
    """Join the decisions in force to their rows: TARGETS_SCHEMA plus action, reason, actor, person."""
    active = in_force(log)
    decisions = pl.DataFrame(
        [(d.seq, str(d.action), d.reason, d.actor, d.by_person) for d in active],
        schema={
            "seq": pl.Int64,
            "action": pl.String,
            "reason": pl.String,
            "actor": pl.String,
            "person": pl.Boolean,
        },
        orient="row",
    )
    return targets.join(decisions, on="seq", how="inner", maintain_order="left")


def _without_lost_keepers(acts: pl.DataFrame) -> pl.DataFrame:
    by_person = _latest(acts.filter("person"), Action.KEEP, Action.DROP)
    lost = by_person.filter(pl.col("action") == Action.DROP.value)["row_id"].to_list()
    return acts.filter(pl.col("person") | ~pl.col("keeper_id").is_in(lost).fill_null(value=False))


def _without_overruled(acts: pl.DataFrame) -> pl.DataFrame:
    """Leave out a rule's drop of a row that a person gave another text or passage: they meant it to stay."""
    rewritten = acts.filter(pl.col("person") & pl.col("action").is_in([Action.EDIT.value, Action.REPOINT.value]))
    kept = pl.col("row_id").is_in(rewritten["row_id"].to_list())
    return acts.filter(pl.col("person") | (pl.col("action") != Action.DROP.value) | ~kept)


def _latest(acts: pl.DataFrame, *actions: Action) -> pl.DataFrame:
    """The winning line of each row among `actions`: a person's before a rule's, then the latest."""
    chosen = acts.filter(pl.col("action").is_in([action.value for action in actions]))
    return chosen.sort("person", "seq", maintain_order=True).unique("row_id", keep="last", maintain_order=True)


def _lookup(rows: pl.DataFrame, acts: pl.DataFrame, column: str) -> pl.Series:
    """`column` of `acts` for each of `rows`, null where the row has none."""
    return rows.select("row_id").join(acts.select("row_id", column), on="row_id", how="left", maintain_order="left")[
        column
    ]


def _with_edits(snapshot: pl.DataFrame, acts: pl.DataFrame) -> pl.DataFrame:
    """Apply edits field by field; `edit_id` and `edit_reason` are those of the row's latest edit, or null."""
    edits: dict[str, dict[str, object]] = {}
    latest: dict[str, tuple[int, str]] = {}
    # What `rewrite` edits was made from the outcome of the automatic rule, so it stands after it whatever came first.
    rewritten = pl.col("actor").str.starts_with(REWRITE_ACTOR)
    chosen = acts.filter(pl.col("action") == Action.EDIT.value).with_columns(rewritten.alias("rewritten"))
    ordered = chosen.sort("person", "rewritten", "seq", maintain_order=True)
    for row_id, seq, value, reason in ordered.select("row_id", "seq", "value", "reason").iter_rows():
        edits.setdefault(row_id, {}).update(json.loads(value))
        latest[row_id] = seq, reason
    ids = pl.DataFrame(
        [(row_id, *edit) for row_id, edit in latest.items()],
        schema={"row_id": pl.String, "edit_id": pl.Int64, "edit_reason": pl.String},
        orient="row",
    )
    rows = snapshot.join(ids, on="row_id", how="left", maintain_order="left")
    for field in ("query", "positive", "negatives"):
        changed = {row_id: value[field] for row_id, value in edits.items() if field in value}
        if changed:
            new = pl.DataFrame(
                {"row_id": list(changed), "new": list(changed.values())},
                schema={"row_id": pl.String, "new": snapshot.schema[field]},
            )
            rows = rows.join(new, on="row_id", how="left", maintain_order="left")
            rows = rows.with_columns(pl.coalesce("new", field).alias(field)).drop("new")
    return rows


def _repointed(rows: pl.DataFrame, passages: pl.DataFrame) -> pl.DataFrame:
    """Give re-pointed rows their keeper's passage, and negatives that lost their text the text that replaced it."""
    if passages.is_empty():
        return rows
    target = dict(passages.select("row_id", "keeper_id").iter_rows())
    ends = {row_id: _end_of_chain(row_id, target) for row_id in target}
    moves = pl.DataFrame({"row_id": list(ends), "end": list(ends.values())}, schema_overrides={"end": pl.String})
    texts = rows.select(pl.col("row_id").alias("end"), pl.col("positive").alias("new"))
    moves = moves.join(texts, on="end", how="left", maintain_order="left")
    before = rows["positive"]
    rows = rows.join(moves.select("row_id", "new"), on="row_id", how="left", maintain_order="left")
    rows = rows.with_columns(pl.coalesce("new", "positive").alias("positive")).drop("new")
    replaced = dict(
        pl.DataFrame({"old": before, "new": rows["positive"]})
        .filter(pl.col("old") != pl.col("new"))
        .unique()
        .iter_rows()
    )
    for text in rows["positive"].unique():
        replaced.pop(text, None)
    return rows.with_columns(_negatives_replaced(rows, replaced)) if replaced else rows


def _without_judged_negatives(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Take out of each row's negatives the passages that were judged to answer its query, wholly or in part."""
    judged = pairs_in_state(found, State.ALSO_ANSWERS, State.PARTLY)
    if judged.is_empty() or not (rows["negatives"].list.len() > 0).any():
        return rows
    answers = _answers(rows, judged).group_by("query").agg(pl.col("positive").alias("answering"))
    known = dict(answers.iter_rows())
    negatives = [
        [text for text in negatives if text not in known[query]] if query in known else negatives
        for query, negatives in zip(rows["query"], rows["negatives"].to_list(), strict=True)
    ]
    return rows.with_columns(pl.Series("negatives", negatives, dtype=rows.schema["negatives"]))


def _end_of_chain(row_id: str, target: dict[str, str]) -> str:
    seen = {row_id}
    end = target[row_id]
    while end in target:
        if end in seen:
            return row_id
        seen.add(end)
        end = target[end]
    return end


def _negatives_replaced(rows: pl.DataFrame, replaced: dict[str, str]) -> pl.Series:
    touched = rows["negatives"].list.eval(pl.element().is_in(list(replaced))).list.any()
    result = []
    for positive, negatives, hit in zip(rows["positive"], rows["negatives"].to_list(), touched, strict=True):
        if hit:
            mapped = dict.fromkeys(replaced.get(text, text) for text in negatives)
            mapped.pop(positive, None)
            negatives = list(mapped)
        result.append(negatives)
    return pl.Series("negatives", result, dtype=rows.schema["negatives"])


def _outcome(
    rows: pl.DataFrame, presence: pl.DataFrame, passages: pl.DataFrame, splits: pl.DataFrame
) -> list[pl.Series]:
    """status, reason, keeper_id, cluster_id, decision_id, keeper_score, rule of each row."""
    frame = rows.select("row_id", "edit_id", "edit_reason")
    for name, acts in (("drop", presence), ("move", passages), ("split", splits)):
        part = acts.select(
            "row_id",
            pl.col("seq").alias(f"{name}_seq"),
            pl.col("reason").alias(f"{name}_reason"),
            pl.col("keeper_id").alias(f"{name}_keeper"),
            pl.col("score").alias(f"{name}_score"),
            pl.col("actor").alias(f"{name}_actor"),
        )
        frame = frame.join(part, on="row_id", how="left", maintain_order="left")
    dropped, moved, split = (pl.col(f"{name}_seq").is_not_null() for name in ("drop", "move", "split"))
    edited = pl.col("edit_id").is_not_null()

    def first(field: str) -> pl.Expr:
        return pl.coalesce(f"drop_{field}", f"move_{field}", f"split_{field}")

    outcome = frame.select(
        status=pl.when(dropped)
        .then(pl.lit(Status.REMOVED.value))
        .when(moved | split)
        .then(pl.lit(Status.MOVED.value))
        .when(edited)
        .then(pl.lit(Status.EDITED.value))
        .otherwise(pl.lit(Status.KEPT.value)),
        reason=pl.coalesce(
            first("reason"),
            pl.when(edited).then(pl.coalesce("edit_reason", pl.lit("edited"))).otherwise(pl.lit("kept")),
        ),
        keeper_id=first("keeper"),
        decision_id=pl.coalesce(first("seq"), "edit_id"),
        keeper_score=first("score"),
        rule=first("actor"),
        cluster_id=pl.col("move_keeper"),
    )
    heads = passages.select(pl.col("keeper_id").alias("row_id")).unique()
    outcome = outcome.with_columns(
        cluster_id=pl.when(rows["row_id"].is_in(heads["row_id"].to_list()) & pl.col("cluster_id").is_null())
        .then(rows["row_id"])
        .otherwise("cluster_id")
    )
    return outcome.get_columns()
