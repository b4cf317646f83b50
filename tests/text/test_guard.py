import pytest

from studio.text.guard import Difference, compare

BASE = "A Lei 8.112 de 2023 vale na Bahia para quem paga com desconto até o dia 10 de cada mês."


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (BASE.replace("8.112", "8.666"), Difference.NUMBERS),
        (BASE.replace("2023", "2024"), Difference.NUMBERS),
        (BASE.replace("Bahia", "Paraná"), Difference.NAMES),
        (BASE.replace("com desconto", "sem desconto"), Difference.NEGATION),
        (BASE.replace("vale", "não vale"), Difference.NEGATION),
        (BASE.replace("desconto", "multa"), Difference.WORDS),
        (BASE.replace(" de 2023", ""), Difference.NUMBERS),
    ],
)
def test_a_changed_slot_is_a_difference(other: str, difference: Difference) -> None:
    assert compare(BASE, other).difference is difference
    assert compare(other, BASE).difference is difference


@pytest.mark.parametrize(
    "other",
    [
        BASE,
        BASE.upper(),
        BASE.replace("desconto", "desocnto"),
        BASE.replace("até", "ate"),
        "Vale lembrar: " + BASE,
        BASE + " Esta resposta foi útil?",
    ],
)
def test_what_says_the_same_is_no_difference(other: str) -> None:
    assert compare(BASE, other).difference is None


def test_it_tells_which_side_says_more() -> None:
    longer = compare(BASE, BASE + " Leve também o comprovante.")
    assert (longer.says_more_a, longer.says_more_b) == (False, True)


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        (
            "o pacote traz vídeo e som, e este módulo cuida do vídeo da casa",
            "o pacote traz vídeo e som, e este módulo cuida do som da casa",
            Difference.WORDS,
        ),
        (
            "tome 5 mg do xarope, não 5 ml, e guarde os ml restantes do frasco",
            "tome 5 ml do xarope, não 5 ml, e guarde os ml restantes do frasco",
            Difference.WORDS,
        ),
        (
            "custa 20 reais para alunos e 40 para docentes da casa",
            "custa 40 reais para alunos e 20 para docentes da casa",
            Difference.NUMBERS,
        ),
        ("primeiro 20 reais. Depois 40 dias.", "Depois 40 dias. primeiro 20 reais.", None),
        ("a casa e a casa amarela", "a casa amarela", None),
    ],
)
def test_a_word_or_number_in_anothers_place_is_a_difference(a: str, b: str, difference: Difference | None) -> None:
    assert compare(a, b).difference == difference
    assert compare(b, a).difference == difference
