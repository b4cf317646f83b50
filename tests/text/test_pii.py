import time
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.text.pii import Hit, Kind, find, masked, may_hold, redacted

UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def found(text: str) -> list[tuple[str, str]]:
    return [(hit.kind.value, hit.text) for hit in find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "datum"),
    [
        ("Escreva para maria.souza+nf@prefeitura.exemplo.gov.br.", "email", "maria.souza+nf@prefeitura.exemplo.gov.br"),
        ("fale com joão@exemplo.com-ramal 2", "email", "joão@exemplo.com"),
        ("(-ana_2@exemplo.com)", "email", "ana_2@exemplo.com"),
        ("Meu CPF é 529.982.247-25, confira.", "cpf", "529.982.247-25"),
        ("cpf:52998224725", "cpf", "52998224725"),
        ("nº529982247–25", "cpf", "529982247–25"),
        ("CNPJ 11.222.333/0001-81", "cnpj", "11.222.333/0001-81"),
        ("a firma 11222333000181 recorreu", "cnpj", "11222333000181"),
        ("CNPJ novo: 12.ABC.345/01DE-35", "cnpj", "12.ABC.345/01DE-35"),
        ("firma 12ABC34501DE35", "cnpj", "12ABC34501DE35"),
        ("Ligue para +55 (11) 98765-4321 agora", "phone", "+55 (11) 98765-4321"),
        ("(21) 3456-7890", "phone", "(21) 3456-7890"),
        ("contato(085)99876.5432", "phone", "(085)99876.5432"),
        ("fale no 55 99912-3456 à tarde", "phone", "55 99912-3456"),
        ("(31)\u00a098765\u20114321", "phone", "(31)\u00a098765\u20114321"),
        ("whatsapp 11987654321", "phone", "11987654321"),
        ("01310-100", "cep", "01310-100"),
        ("CEP: 01.310-100", "cep", "01.310-100"),
        ("na rua Alfa, 01310100", "cep", "01310100"),
        (f"a chave Pix dela é {UUID}", "pix", UUID),
        (f"{UUID.upper()} (pix)", "pix", UUID.upper()),
    ],
)
def test_what_is_found(text: str, kind: str, datum: str) -> None:
    assert found(text) == [(kind, datum)]


@pytest.mark.parametrize(
    "text",
    [
        "CPF 111.111.111-11 e 000.000.000-00",
        "CPF 529.982.247-26",
        "CNPJ 11.222.333/0001-82 e 12.ABC.345/01DE-36",
        "pedido a52998224725 e 5299822472500",
        "processo 0001234-55.2020.8.26.0100",
        "(20) 98765-4321, (11) 1234-5678",
        "protocolo 11987654321",
        "na edição 11 2019-2020",
        "custou R$ 1.234.567,89 em 12/03/2024, art. 37, Lei 12.345-678",
        "código 01310100",
        "00000-000",
        f"registro {UUID}",
        "chave pix 7c9e6679-7425-10de-944b-e07fc1f90ae7",
        "@prefeitura no instagram, a@b, a @ b.com",
        "",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_of_two_that_overlap_the_longer_one_counts() -> None:
    assert found("52998224725@exemplo.com e celular 52998224725") == [
        ("email", "52998224725@exemplo.com"),
        ("cpf", "52998224725"),
    ]


def test_only_the_kinds_asked_for() -> None:
    text = "ana@exemplo.com, 529.982.247-25"
    assert [hit.kind for hit in find(text, [Kind.CPF])] == [Kind.CPF]
    assert redacted(text, [Kind.EMAIL]) == "[EMAIL], 529.982.247-25"
    assert find(text, []) == []


def test_the_name_of_the_kind_stands_where_the_datum_stood() -> None:
    text = f"CPF 529.982.247-25, tel (11) 98765-4321, pix {UUID}, CEP 01310-100: ana@exemplo.com; 11.222.333/0001-81."
    assert redacted(text) == "CPF [CPF], tel [PHONE], pix [PIX], CEP [CEP]: [EMAIL]; [CNPJ]."


def test_a_redaction_hides_also_what_it_brings_to_light() -> None:
    assert redacted("cel ana.maria.da.silva.souza@exemplo.com.br 11987654321") == "cel [EMAIL] [PHONE]"
    assert redacted("01310-100 12345678") == "[CEP] 12345678"


def test_what_is_shown_does_not_tell_the_datum() -> None:
    shown = {kind: masked(Hit(kind, 0, len(text), text)) for kind, text in SAMPLES.items()}
    assert shown == {
        Kind.EMAIL: "***@***.br",
        Kind.PIX: "********-****-****-****-**********e7",
        Kind.CNPJ: "**.***.***/****-81",
        Kind.CPF: "***.***.***-25",
        Kind.PHONE: "(**) *****-**21",
        Kind.CEP: "*****-*00",
    }


SAMPLES = {
    Kind.EMAIL: "ana@exemplo.com.br",
    Kind.PIX: UUID,
    Kind.CNPJ: "11.222.333/0001-81",
    Kind.CPF: "529.982.247-25",
    Kind.PHONE: "(11) 98765-4321",
    Kind.CEP: "01310-100",
}
PIECES = [*SAMPLES.values(), "11222333000181", "12ABC34501DE35", "52998224725", "+55 11 98765-4321", "11987654321"]
PIECES += [
    "01310100",
    "5",
    "12",
    "cel ",
    "CEP ",
    "rua ",
    " pix ",
    "é",
    "\0",
    "\n",
    " ",
    "-",
    ".",
    "/",
    "(",
    ")",
    "@",
    "ª",
]
TEXTS = st.one_of(
    st.text(), st.lists(st.sampled_from(PIECES)).map("".join), st.text("0123456789.-/() +@aAxZ–\u00a0", max_size=80)
)


@given(TEXTS)
def test_hits_stand_where_they_say_in_order_and_apart(text: str) -> None:
    end = 0
    for hit in find(text):
        assert end <= hit.start < hit.end
        assert text[hit.start : hit.end] == hit.text
        end = hit.end


@given(TEXTS)
def test_nothing_is_found_in_what_was_redacted(text: str) -> None:
    assert find(redacted(text)) == []


@given(st.lists(TEXTS, max_size=20))
def test_the_prefilter_lets_every_hit_through(texts: list[str]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    for kinds in (tuple(Kind), *((kind,) for kind in Kind), ()):
        held = frame.select(may_hold(pl.col("text"), kinds)).to_series().to_list()
        assert all(may for text, may in zip(texts, held, strict=True) if find(text, kinds))


def test_the_prefilter_spares_ordinary_texts() -> None:
    texts = ["O prazo é de 30 dias, conforme a Lei 8.112 de 11/12/1990.", "Custa R$ 1.234,56.", ""]
    assert not pl.DataFrame({"text": texts}).select(may_hold(pl.col("text"))).to_series().any()


def _cpf(digits: list[int]) -> str:
    for _ in range(2):
        weights = range(len(digits) + 1, 1, -1)
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) * 10 % 11
        digits = [*digits, rest % 10]
    return "".join(map(str, digits))


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(lambda digits: len(set(digits)) > 1))
def test_every_cpf_is_found_and_none_with_another_check_digit(digits: list[int]) -> None:
    number = _cpf(digits)
    assert [hit.kind for hit in find(f"o {number} é", [Kind.CPF])] == [Kind.CPF]
    other = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert find(f"o {other} é", [Kind.CPF]) == []


HOSTILE = ["a", "a.", "a@", "@a.a", "%", ".-", "1", "1.1.", "1-", "A1", "11 ", "(11", "+55", "pix ", "cel 11987654321 "]
HOSTILE += ["rua 01310100 ", "a@b.co ", "12345678 ", "529.982.247-25 ", UUID + " "]


@pytest.mark.parametrize("work", [find, redacted])
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_line_takes_no_longer_than_its_length(piece: str, work: Callable[[str], object]) -> None:
    line = (piece * 200_000)[:200_000]
    start = time.perf_counter()
    work(line)
    # Linear work takes a tenth of this; quadratic work would take minutes.
    assert time.perf_counter() - start < 3
