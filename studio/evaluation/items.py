"""A table whose rows are the test: queries with their passages, scored pairs of sentences, or triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from studio.errors import InputError
from studio.evaluation.columns import (
    POSITIVES,
    Lines,
    as_number,
    columns_by_role,
    each_once,
    is_empty,
    number_in,
    samples_of,
    wrong,
)
from studio.evaluation.judged_tables import Tables
from studio.evaluation.text_tables import attributes_of
from studio.evaluation.trec import as_id
from studio.pairs.roles import Roles, detect
from studio.text.equal import equal_at
from studio.text.normalise import Level
from studio.text.safe import visible

_QUERY_IDS = ("query_id", "query-id", "qid", "_id", "id")
_PASSAGE_IDS = ("passage_id", "corpus_id", "corpus-id", "doc_id", "docid", "pid")
_GRADES = ("relevance", "grade", "rel")
_NO, _YES = 0.0, 1.0


def scored_pairs(lines: Lines, roles: Roles, name: str) -> pl.DataFrame:
    """Read scored pairs of sentences: `pair_id`, `left`, `right`, `score`.

    Args:
        lines: each record with its line.
        roles: columns named by hand: query, positive and score.
        name: the source, for errors.

    Raises:
        InputError: a column is missing, a text is empty, or a score is no number; the line is named.
    """
    columns = columns_by_role(lines, name, roles, score=True)
    rows = []
    for line, record in lines:
        values = _lower(record, name, line)
        score = number_in(values, columns["score"], name, line)
        if score is None:
            raise wrong(name, line, f"it has no score (`{visible(columns['score'])}`)")
        texts = [_text(values, columns[side], name, line) for side in ("left", "right")]
        rows.append((f"s{line}", *texts, score))
    schema = {"pair_id": pl.String, "left": pl.String, "right": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def triplets(lines: Lines, roles: Roles, name: str) -> pl.DataFrame:
    """Read triplets: `triplet_id`, `anchor`, `positive`, `negative`; each of several negatives makes one.

    Args:
        lines: each record with its line.
        roles: columns named by hand: query, positive and negatives.
        name: the source, for errors.

    Raises:
        InputError: a column is missing or a text is empty; the line is named.
    """
    found = each_once(detect(samples_of(lines, name), roles, name), name)
    if not found.negatives:
        raise InputError("The triplets have no negative.", where=name, remedy="name the column: --negative COLUMN")
    rows: list[tuple[str, str, str, str]] = []
    for line, record in lines:
        values = _lower(record, name, line)
        anchor, positive = (
            _text(values, (column or "").lower(), name, line) for column in (found.query, found.positive)
        )
        for column in found.negatives:
            value = values.get(column.lower())
            for negative in value if isinstance(value, list) else [value]:
                if not isinstance(negative, str) or not negative.strip():
                    raise wrong(name, line, f"`{visible(column)}` has no text")
                rows.append((f"t{line}.{len(rows)}", anchor, positive, negative))
    schema = dict.fromkeys(("triplet_id", "anchor", "positive", "negative"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


_ATTRIBUTES = pl.Schema({"language": pl.String(), "source": pl.String(), "tags": pl.List(pl.String())})
_PASSAGES = {"query": pl.Int64, "id": pl.String, "text": pl.String, "relevance": pl.Float64, "line": pl.Int64}
"""Passages as the records name them: the query's number, an id or null, a text or null, how relevant, the line."""
_Given = list[tuple[int, str | None, str | None, float, int]]


def queries_with_passages(lines: Lines, roles: Roles, name: str, corpus: Callable[[], pl.DataFrame | None]) -> Tables:
    """Read queries with their passages as tables that are not yet fitted together (`judged_tables.assembled`).

    A record has a query and, in one column throughout, its positives: a text, a list of texts, a list of objects with
    `text` and perhaps `id` and `relevance`, or an object of ids with a relevance each. Its negatives are judged 0. A
    record with a `relevance` or a `label` (a number, true or false) says with it how relevant its positive is; one with
    a score counts from half the highest score on; one with neither answers. Records with the same query, equal at L2,
    are one query; so are passages without ids.

    Args:
        lines: each record with its line.
        roles: columns named by hand.
        name: the source, for errors.
        corpus: reads the passages beside the source (`id`, `text`, `line`), which ids are looked up in; None: none.

    Raises:
        InputError: a record cannot be used (its line is named), or it names ids and there is no corpus.
    """
    columns = columns_by_role(lines, name, roles, score=False)
    highest = max(
        (s for _, r in lines if (s := as_number(_lower(r, name, 0).get(columns["score"]))) is not None), default=0
    )
    asked: list[str] = []
    ids: list[str | None] = []
    attributes: list[dict[str, Any]] = []
    given: _Given = []
    unsaid = 0
    for line, record in lines:
        values = _lower(record, name, line)
        asked.append(_text(values, columns["query"], name, line))
        ids.append(_first_id(values, _QUERY_IDS))
        attributes.append(attributes_of(values))
        _refuse_elsewhere(values, columns["positives"], roles, name, line)
        own = _own_relevance(values, columns, highest, name, line)
        unsaid += own is None
        own = _YES if own is None else own
        _take(values.get(columns["positives"]), own, _first_id(values, _PASSAGE_IDS), len(asked) - 1, line, given, name)
        for column in columns["negatives"].split("\n"):
            _take(values.get(column), _NO, None, len(asked) - 1, line, given, name)
    queries = pl.DataFrame(attributes, schema=_ATTRIBUTES).with_columns(
        pl.Series("text", asked, pl.String),
        pl.Series("id", ids, pl.String),
        pl.Series("line", [line for line, _ in lines]),
    )
    told = columns["label"] or columns["score"]
    notes = []
    if told and unsaid:
        notes.append(f"lines without `{visible(told)}`, whose passages count as answers: {unsaid:,}")
    elif told and not columns["label"]:
        notes.append(f"passages count as answers from a `{visible(told)}` of {highest / 2:g} on")
    return _fitted(queries, pl.DataFrame(given, schema=_PASSAGES, orient="row"), name, corpus, notes)


def _fitted(
    queries: pl.DataFrame,
    passages: pl.DataFrame,
    name: str,
    corpus: Callable[[], pl.DataFrame | None],
    notes: list[str],
) -> Tables:
    """Give every query and passage one id, and every pair one relevance: the highest."""
    queries = queries.with_columns(first=equal_at(queries["text"], Level.SURFACE))
    one_id = pl.coalesce(pl.col("id").drop_nulls().first().over("first"), pl.format("q{}", pl.col("first") + 1))
    queries = queries.with_columns(id=one_id)
    bare = passages.filter(pl.col("text").is_null())
    beside = corpus() if bare.height else None
    if bare.height and beside is None:
        raise InputError(
            "The positives are ids, and there is no corpus to look them up in.",
            where=f"{name}:{bare['line'][0]}",
            remedy="put the passages beside it as corpus.jsonl, an object with _id and text on each line",
        )
    own = passages.filter(pl.col("text").is_not_null())
    own = own.with_columns(first=equal_at(own["text"], Level.SURFACE))
    # A text without an id has that of the same text with one, if there is such.
    same_id = pl.coalesce("id", pl.col("id").drop_nulls().first().over("first"), pl.format("p{}", pl.col("first") + 1))
    named = own.with_columns(borrowed=pl.col("id").is_null(), id=same_id)
    pairs = pl.concat([named.select("query", "id", "relevance"), bare.select("query", "id", "relevance")])
    qrels = (
        pairs.with_columns(query_id=queries["id"].gather(pairs["query"]))
        .group_by("query_id", pl.col("id").alias("passage_id"), maintain_order=True)
        .agg(pl.col("relevance").max())
    )
    texts = named.sort("borrowed", maintain_order=True).select("id", "text", "line", "borrowed")
    spelled = texts.filter("borrowed").unique("id", keep="first", maintain_order=True)
    spelled = spelled.join(texts.filter(~pl.col("borrowed")), on="id", how="anti", maintain_order="left")
    texts = pl.concat([texts.filter(~pl.col("borrowed")), spelled]).drop("borrowed")
    whole = texts if beside is None else pl.concat([beside, texts])
    distinct = queries["first"].n_unique()
    if distinct < queries.height:
        notes.append(f"lines whose query another asks, too (equal at L2): {queries.height - distinct:,}")
    if beside is None:
        notes.append(
            f"the corpus is the passages of the source itself ({texts['id'].n_unique():,}): scores are higher than "
            "among more"
        )
    queries = queries.unique("first", keep="first", maintain_order=True).drop("first")
    return Tables(queries, whole.unique(["id", "text"], keep="first", maintain_order=True), qrels, "", tuple(notes))


def _take(
    value: Any, relevance: float, passage_id: str | None, query: int, line: int, given: _Given, name: str
) -> None:
    """Note the passages that a cell holds."""

    def add(one_id: str | None, text: str | None, grade: float) -> None:
        given.append((query, one_id, text, grade, line))

    if value is None or (isinstance(value, str) and not value.strip()):
        return
    if isinstance(value, str):
        add(passage_id, value, relevance)
    elif isinstance(value, dict) and "text" not in value:
        for key, grade in value.items():
            number = as_number(grade)
            if number is None:
                raise wrong(name, line, f"the relevance of {visible(str(key), 60)} is not a finite number")
            add(as_id(key), None, number)
    else:
        for item in value if isinstance(value, list) else [value]:
            text = item.get("text") if isinstance(item, dict) else item
            if not isinstance(text, str) or not text.strip():
                raise wrong(name, line, "a passage is neither a text nor an object with a text")
            if isinstance(item, str):
                add(None, item, relevance)
            else:
                grade = next((item[key] for key in _GRADES if item.get(key) is not None), relevance)
                number = as_number(grade)
                if number is None:
                    raise wrong(name, line, f"the relevance {visible(str(grade), 60)!r} is not a finite number")
                add(_first_id(item, (*_PASSAGE_IDS, "_id", "id")), text, number)


def _own_relevance(
    values: dict[str, Any], columns: dict[str, str], highest: float, name: str, line: int
) -> float | None:
    """How relevant a record says that its positive is; None: it does not say."""
    for column in (*_GRADES, columns["label"]):
        number = number_in(values, column, name, line, words=column == columns["label"])
        if number is not None:
            return number
    score = number_in(values, columns["score"], name, line)
    if score is None:
        return None
    return _YES if score > 0 and score >= highest / 2 else _NO


def _refuse_elsewhere(values: dict[str, Any], column: str, roles: Roles, name: str, line: int) -> None:
    """Refuse a record whose answers seem to be in another column than those of the others.

    Raises:
        InputError: it lacks the column, or has nothing there and something in another of a usual name.
    """
    others = () if roles.positive else (key for key in POSITIVES if key != column and not is_empty(values.get(key)))
    other = next(iter(others), None)
    if column in values and not (is_empty(values[column]) and other):
        return
    held = f" but `{visible(other)}`" if other else f": its columns are {', '.join(map(visible, values))}"
    raise InputError(
        "A line cannot be used.",
        where=f"{name}:{line}",
        why=f"it has no `{visible(column)}`, where other lines have their answers,{held}".replace(",:", ":"),
        remedy="call the column alike in every line; a query that nothing answers has an empty list there",
    )


def _lower(record: Any, name: str, line: int) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise wrong(name, line, "it is no object with columns")
    return {str(key).lower(): value for key, value in record.items()}


def _text(values: dict[str, Any], column: str, name: str, line: int) -> str:
    text = values.get(column)
    if not isinstance(text, str) or not text.strip():
        raise wrong(name, line, f"`{visible(column)}` has no text")
    return text


def _first_id(values: dict[str, Any], names: tuple[str, ...]) -> str | None:
    value = next((values[name] for name in names if values.get(name) is not None), None)
    return None if value is None or isinstance(value, (list, dict)) else as_id(value)
