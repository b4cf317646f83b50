import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.equal import equal_at
from studio.text.normalise import Level, normalised

words = st.sampled_from(["Avó", "avô", "avo", "AVÓ", "10²", "102", "é", "“x”", "x", "?", "...", "", " ", "ﬁm", "fim"])
texts = st.lists(st.one_of(words, st.text(max_size=4), st.lists(words, max_size=3).map(" ".join)), max_size=15)


@settings(deadline=None)
@given(texts, st.sampled_from(list(Level)))
def test_equal_texts_share_the_number_of_the_first(column: list[str], level: Level) -> None:
    series = pl.Series(column, dtype=pl.String)
    forms = series.alias("t").to_frame().select(normalised(pl.col("t"), level)).to_series().to_list()
    numbers = equal_at(series, level).to_list()
    for i, (text, form) in enumerate(zip(column, forms, strict=True)):
        same = [j for j in range(i + 1) if column[j] == text or (forms[j] == form and any(map(str.isalnum, form)))]
        assert numbers[i] == same[0]


def test_nulls_are_equal_to_nothing() -> None:
    assert equal_at(pl.Series(["a", None, "A", None]), Level.SURFACE).to_list() == [0, None, 0, None]


@pytest.mark.parametrize("level", list(Level))
def test_an_empty_column_has_no_numbers(level: Level) -> None:
    assert equal_at(pl.Series([], dtype=pl.String), level).to_list() == []
