import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.text.normalise import Level, normalised


def at(text: str, level: Level) -> str:
    return pl.DataFrame({"t": [text]}).select(normalised(pl.col("t"), level)).item()


@pytest.mark.parametrize(
    ("a", "b", "level"),
    [
        ("Olá  mundo", " Olá mundo\n", Level.SPACING),
        ("cafe\u0301", "café", Level.SPACING),
        ("“Olá”, mundo!", 'olá", mundo', Level.SURFACE),
        ("ＡＢＣ", "abc", Level.SURFACE),
        ("segunda\u200b via", "segunda via", Level.SURFACE),
        ("Rio–Niterói", "rio-niterói", Level.SURFACE),
        ("avó", "avô", Level.ACCENTS),
    ],
)
def test_texts_are_equal_from_their_level_on(a: str, b: str, level: Level) -> None:
    assert all(at(a, other) == at(b, other) for other in Level if other >= level)
    assert at(a, Level(level - 1)) != at(b, Level(level - 1))


@pytest.mark.parametrize(
    ("a", "b"), [("10²", "102"), ("1½", "112"), ("8.112", "8112"), ("R$ 1,5", "R$ 15"), ("2023", "2024"), ("-5", "5")]
)
def test_numbers_are_never_normalised_into_each_other(a: str, b: str) -> None:
    assert at(a, Level.ACCENTS) != at(b, Level.ACCENTS)


@given(st.text(st.characters(codec="utf-8")))
def test_each_level_ignores_all_that_the_one_before_it_ignores(text: str) -> None:
    for level in (Level.SPACING, Level.SURFACE, Level.ACCENTS):
        assert at(at(text, Level(level - 1)), level) == at(text, level)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_different_numbers_stay_different(a: int, b: int) -> None:
    one, other = (at(f"Artigo {n}.", Level.ACCENTS) for n in (a, b))
    assert (one == other) == (a == b)
