import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.text.diff import Kind, Part, Why, word_diff
from studio.text.guard import Difference, compare

WORDS = st.lists(
    st.sampled_from([*"ab", "não", "8.112", "Bahia", " ", "  ", "\n", "%", "-", "e\u0301", "."]), max_size=60
)
TEXTS = st.one_of(st.text(max_size=60), WORDS.map("".join), WORDS.map(" ".join))


def covers(a: str, b: str) -> list[Part]:
    parts = word_diff(a, b)
    assert "".join(part.a for part in parts) == a
    assert "".join(part.b for part in parts) == b
    for part in parts:
        assert (part.a == part.b) == (part.kind is Kind.SAME)
        assert part.a or part.b
        assert part.kind is not Kind.ONLY_A or not part.b
        assert part.kind is not Kind.ONLY_B or not part.a
        assert part.kind is not Kind.SAME or part.why is None
    return parts


def whys(a: str, b: str) -> set[tuple[str, Why | None]]:
    return {((part.a or part.b).strip(), part.why) for part in word_diff(a, b) if part.kind is not Kind.SAME}


@given(TEXTS, TEXTS)
@settings(max_examples=400)
def test_the_parts_are_both_texts(a: str, b: str) -> None:
    covers(a, b)


@given(TEXTS)
def test_a_text_is_the_same_as_itself(text: str) -> None:
    assert word_diff(text, text) == ([Part(Kind.SAME, text, text)] if text else [])


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_shared_edges_and_changed_middles(head: str, a: str, b: str, tail: str) -> None:
    covers(f"{head} {a} {tail}", f"{head} {b} {tail}")


def test_what_differs_is_named() -> None:
    assert whys(
        "A lei 8.112 de 1990 não se aplica a João, que recebe 10 % de abono.",
        "A lei 8.666 de 1990 se aplica a Maria, que recebe 10 de adicional.",
    ) == {
        ("8.112", Why.NUMBER),
        ("8.666", Why.NUMBER),
        ("não", Why.NEGATION),
        ("João", Why.NAME),
        ("Maria", Why.NAME),
        ("%", Why.MARK),
        ("abono", Why.WORD),
        ("adicional", Why.WORD),
    }


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Como pedir a senha", "como pedir a senha"),
        ("a conta do usuário", "a conta de usuário"),
        ("o prazo de entrega", "o prazo de entega"),
        ("informação ao público", "informacao ao publico"),
        ("sim, pode", "sim pode"),
    ],
)
def test_what_holds_no_pair_has_no_name(a: str, b: str) -> None:
    assert {why for _, why in whys(a, b)} == {None}
    assert compare(a, b).difference is None


def test_white_space_is_a_difference_of_its_own_only_where_nothing_else_differs() -> None:
    assert word_diff("um  dois", "um dois")[1] == Part(Kind.ONLY_A, " ", "", Why.SPACE)
    assert word_diff("um dois", "um dois três")[1:] == [Part(Kind.ONLY_B, "", " três", Why.WORD)]


@pytest.mark.parametrize(
    ("a", "b", "held"),
    [
        ("prazo de 5 dias", "prazo de 6 dias", Difference.NUMBERS),
        ("programa em C", "programa em C++", Difference.MARKS),
        ("nota A-", "nota A", Difference.MARKS),
        ("saldo de 5", "saldo de -5", Difference.MARKS),
        ("sem taxa", "com taxa", Difference.NEGATION),
        ("is there no fee", "is there a fee", Difference.NEGATION),
    ],
)
def test_it_names_what_the_guard_holds(a: str, b: str, held: Difference) -> None:
    assert compare(a, b).difference is held
    named = {Difference.NUMBERS: Why.NUMBER, Difference.MARKS: Why.MARK, Difference.NEGATION: Why.NEGATION}[held]
    assert named in {why for _, why in whys(a, b)}


def test_em_o_is_no_negation() -> None:
    assert {why for _, why in whys("moro no centro de Recife", "moro ao centro de Recife")} == {None}


def _long(words: list[str], changes: int) -> tuple[str, str]:
    chance = random.Random(3)
    changed = list(words)
    for _ in range(changes):
        changed[chance.randrange(len(changed))] = f"outra{chance.randrange(100)}"
    return " ".join(words), " ".join(changed)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        _long(random.Random(1).choices([f"palavra{i}" for i in range(3000)], k=20_000), 300),
        ("a b " * 50_000, "b a c " * 33_000),
        ("x" * 200_000 + "+", "x" * 199_999 + "y+"),
        ("." * 100_000 + "y" + "." * 99_999, "." * 200_000),
        ("1.a" * 60_000, "1.b" * 60_000),
        (
            " ".join(random.Random(5).choices("abcdefgh", k=90_000)),
            " ".join(random.Random(6).choices("abcdefgh", k=90_000)),
        ),
    ],
    ids=["few changes", "repeated words", "one word", "marks", "numbers", "few words"],
)
def test_long_texts_take_a_moment(a: str, b: str) -> None:
    start = time.perf_counter()
    parts = covers(a, b)
    assert time.perf_counter() - start < 10, "a bound far above what it takes, and far below a quadratic comparison"
    assert parts


def test_long_texts_with_few_changes_stay_aligned() -> None:
    a, b = _long(random.Random(1).choices([f"palavra{i}" for i in range(3000)], k=20_000), 300)
    same = sum(len(part.a) for part in word_diff(a, b) if part.kind is Kind.SAME)
    assert same > 0.95 * len(a)


def test_texts_that_go_on_too_long_are_aligned_by_chunks() -> None:
    words = random.Random(2).choices([f"p{i}" for i in range(60)], k=20_000)
    a, b = " ".join(["início", *words, "fim"]), " ".join(["começo", *words[:9000], "no meio", *words[9000:], "final"])
    same = sum(len(part.a) for part in covers(a, b) if part.kind is Kind.SAME)
    assert same > 0.9 * len(a)
