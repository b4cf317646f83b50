"""Equal texts are told as if all were looked at anew."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from studio.text.equal import equal_at
from studio.text.normalise import Level
from studio.view.equality import EqualTexts
from tests.conftest import snapshot

TEXT = st.sampled_from(["Onde pago?", "onde  pago?", "ONDE PAGO", "onde", "!!", "!! ", "x", "Pago onde?", "…"])


def _classes(numbers: pl.Series) -> set[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for at, number in enumerate(numbers):
        found.setdefault(number, set()).add(at)
    return {frozenset(members) for members in found.values()}


@given(st.lists(TEXT, min_size=1, max_size=6), st.dictionaries(st.integers(0, 5), TEXT, max_size=4))
def test_numbers_after_a_change_are_those_of_a_fresh_look(texts: list[str], changes: dict[int, str]) -> None:
    many = texts * 25
    equal = EqualTexts(snapshot([(text, "p") for text in many]))
    changed = [changes.get(at, text) for at, text in enumerate(many)]
    column = pl.Series(changed)
    assert _classes(equal.numbered("query", column)) == _classes(equal_at(column, Level.SURFACE))
