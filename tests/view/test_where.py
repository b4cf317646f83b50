"""Reading and writing a filter."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.view.marks import BANDS, CHECKS
from studio.view.where import (
    COLUMNS,
    LENGTHS,
    MOST_NUMBER,
    OPERATORS,
    STATUS_VALUES,
    Length,
    Where,
    format,
    parse,
    spans_of,
)

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text('ab: ,"\\/-.<>=\n\t\u202e\x1b'),
    st.sampled_from(["in:query", "is:", "rows:1", "/a/", "a/ b", "query.chars<5", "foo:bar", '"', "\\", "/a b"]),
)
VALUES = st.frozensets(TEXTS, max_size=3)
NUMBERS = st.integers(0, MOST_NUMBER)
WHERES = st.builds(
    Where,
    text=TEXTS,
    regex=st.booleans(),
    column=st.sampled_from(COLUMNS),
    status=st.frozensets(st.sampled_from(STATUS_VALUES)),
    reasons=VALUES,
    checks=st.frozensets(st.sampled_from([*CHECKS, *(f"{c}/{b}" for c in CHECKS for b in BANDS)]), max_size=3),
    splits=VALUES,
    languages=VALUES,
    sources=VALUES,
    groups=VALUES,
    tags=VALUES,
    labels=VALUES,
    length=st.lists(st.builds(Length, st.sampled_from(LENGTHS), st.sampled_from(OPERATORS), NUMBERS), max_size=3).map(
        tuple
    ),
    marked=st.booleans(),
    rows=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)).map(lambda s: (s[0], sum(s)))).map(tuple),
)


@given(WHERES)
def test_what_is_written_is_read_back(where: Where) -> None:
    assert parse(format(where)) == where


@given(TEXTS)
def test_whatever_is_typed_is_read_or_refused_in_words(text: str) -> None:
    try:
        where = parse(text)
    except UsageError as error:
        assert error.what and error.where and error.remedy
    else:
        assert parse(format(where)) == where


def test_the_whole_syntax() -> None:
    text = (
        'split:train status:removed,edited check:near_duplicates/review lang:pt source:faq.jsonl tag:x group:"a, b" '
        'label:1 reason:duplicate_pair query.chars<5 passage.words>=200 in:query is:marked rows:3,14-20 "segunda via"'
    )
    assert parse(text) == Where(
        text="segunda via",
        column="query",
        status=frozenset({"removed", "edited"}),
        reasons=frozenset({"duplicate_pair"}),
        checks=frozenset({"near_duplicates/review"}),
        splits=frozenset({"train"}),
        languages=frozenset({"pt"}),
        sources=frozenset({"faq.jsonl"}),
        groups=frozenset({"a, b"}),
        tags=frozenset({"x"}),
        labels=frozenset({"1"}),
        length=(Length("query.chars", "<", 5), Length("passage.words", ">=", 200)),
        marked=True,
        rows=((2, 2), (13, 19)),
    )


def test_words_are_one_phrase_wherever_they_stand() -> None:
    assert parse("  segunda  split:train via ") == Where(text="segunda via", splits=frozenset({"train"}))
    assert parse("Nota: fiscal 10:30 a/b").text == "Nota: fiscal 10:30 a/b"


def test_a_regex_ends_at_the_last_slash_before_a_space() -> None:
    assert parse(r"/a/b c\/d/ split:train") == Where(text=r"a/b c\/d", regex=True, splits=frozenset({"train"}))
    assert parse("/usr").text == "/usr"
    assert not parse("//")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("slit:train", "`split`"),
        ("status:removd", "`removed`"),
        ("check:near_duplicate", "`near_duplicates`"),
        ("query.char<5", "`query.chars`"),
        ("query.chars<five", "query.chars<100"),
        ("rows:0", "from 1"),
        ("rows:9-3", "from 1"),
        ("split:a,", "split:x"),
        ('"open', "end it"),
        ("/a/ words", "leave one"),
        ("\ud800", "delete"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert remedy in str(caught.value.remedy)
    assert caught.value.where


def test_a_span_of_all_numbers_costs_nothing() -> None:
    assert parse(f"rows:1-{MOST_NUMBER}").rows == ((0, MOST_NUMBER - 1),)


@pytest.mark.parametrize("piece", ["/a ", '"a" ', "a:: ", "query.chars<1 ", "rows:1,3 ", "\\ ", "split:x,", "a" * 9])
def test_reading_takes_time_in_proportion(piece: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(UsageError):
        format(parse(piece * 20_000))
    assert time.perf_counter() - start < 5


def test_positions_become_spans() -> None:
    assert spans_of([5, 3, 4, 9, 3]) == ((3, 5), (9, 9))


def test_toggling() -> None:
    where = Where().toggled("split", "train").toggled("split", "test")
    assert where.splits == {"train", "test"}
    assert where.toggled("split", "train").toggled("split", "test") == Where()
    bucket, other = ((Length("query.chars", ">=", low), Length("query.chars", "<=", low + 9)) for low in (0, 10))
    assert where.toggled("query.chars", bucket).toggled("query.chars", other).length == other
    assert where.toggled("query.chars", bucket).toggled("query.chars", bucket) == where


def test_truth() -> None:
    assert not Where(column="query")
    assert Where(rows=((0, 0),))
