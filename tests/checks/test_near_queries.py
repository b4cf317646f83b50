import itertools
import json
import unicodedata
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import Setting
from studio.checks.near_queries import NearQueries, NearQueriesConfig
from studio.project.evidence import EDGES_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from studio.text.normalise import Level, normalised
from tests.conftest import snapshot

LOW = {"method": "exact", "threshold": 0.1, "review": 0.1, "floor": 0.1}
"""Nothing but the guard stands between a pair and the auto band."""
MODES = ("plain", "compiled")


def run(queries: Sequence[str], **config: object) -> Evidence:
    item = NearQueries(NearQueriesConfig(**config), Setting(ProjectSettings(name="t")))
    return item.run(snapshot([(query, f"passagem {i}") for i, query in enumerate(queries)]))


def verdict(evidence: Evidence, a: str = "r0", b: str = "r1") -> tuple[str, str | None] | None:
    for row in evidence.edges.iter_rows(named=True):
        if (row["a_id"], row["b_id"]) == (a, b):
            return row["band"], row["rejected_by"]
    return None


SAME = {
    "transposed": ("qual o prazo para pedir a restituição", "qual o prazo para pedir a restitiução"),
    "dropped_letter": (
        "como emitir a segunda via da fatura de energia",
        "como emitir a segunda via da fatura de enrgia",
    ),
    "doubled_letter": ("quais documentos preciso para o passaporte", "quais documentoss preciso para o passaporte"),
    "two_in_a_long_word": ("requisitos da aposentadoria por invalidez", "requisitos da aposentdoira por invalidez"),
    "no_accents": (
        "a pensão alimentícia é obrigatória após a separação",
        "a pensao alimenticia e obrigatoria apos a separacao",
    ),
    "one_accent": ("onde fica a agência do inss em Maceió", "onde fica a agencia do inss em Maceió"),
    "name_accent": ("horário da biblioteca de São Luís", "horário da biblioteca de Sao Luis"),
    "upper_case": ("como renovar o documento pela internet", "COMO RENOVAR DOCUMENTO PELA INTERNET"),
    "question_mark": ("posso sacar o fgts para reformar a casa?", "Posso, sacar o FGTS para reformar a casa"),
    "dashes": ("seguro desemprego: quem tem direito", "seguro-desemprego - quem tem direito?"),
    "articles": ("qual o valor da multa por atraso na entrega", "qual é o valor da multa por atraso na entrega"),
    "prepositions": (
        "documentos para matrícula de aluno estrangeiro",
        "documentos para a matrícula de aluno estrangeiro",
    ),
    "spacing": ("como   parcelar a dívida ativa da união", "como parcelar a dívida ativa da união?!  "),
    "quotes": (
        "o que significa “fumus boni iuris” no processo civil",
        "o que significa 'fumus boni iuris' no processo civil",
    ),
}
"""Pairs with only spelling, accents, case, punctuation or function words between them."""

OTHER = {
    "law": ("o que diz a lei 8.112 sobre licitações e contratos", "o que diz a lei 8.666 sobre licitações e contratos"),
    "law_one_digit": (
        "o que diz o artigo 121 do código penal brasileiro",
        "o que diz o artigo 122 do código penal brasileiro",
    ),
    "law_separator": ("texto integral da lei 8.112 atualizada", "texto integral da lei 81.12 atualizada"),
    "year": (
        "calendário de pagamento do ipva de 2023 na capital",
        "calendário de pagamento do ipva de 2024 na capital",
    ),
    "year_on_one_side": (
        "calendário de pagamento do ipva na capital",
        "calendário de pagamento do ipva na capital 2024",
    ),
    "state": (
        "alíquota do icms interestadual na Bahia para varejistas",
        "alíquota do icms interestadual no Paraná para varejistas",
    ),
    "state_same_article": ("alíquota do imposto estadual em Goiás", "alíquota do imposto estadual em Minas"),
    "with_without": ("viajar para o exterior com visto de turista", "viajar para o exterior sem visto de turista"),
    "legal": ("o aborto é legal nos casos previstos em lei", "o aborto é ilegal nos casos previstos em lei"),
    "trade": (
        "imposto de importação de máquinas agrícolas usadas",
        "imposto de exportação de máquinas agrícolas usadas",
    ),
    "city": ("horário da prefeitura de Santo André no feriado", "horário da prefeitura de Santa Maria no feriado"),
    "city_lower_case": (
        "horário da prefeitura de santo andré no feriado",
        "horário da prefeitura de santa maria no feriado",
    ),
    "direction": ("passagem de ônibus de Recife para Olinda", "passagem de ônibus de Olinda para Recife"),
    "direction_lower_case": ("passagem de ônibus de recife para olinda", "passagem de ônibus de olinda para recife"),
    "who_sues": ("empregado pode processar o patrão por danos", "patrão pode processar o empregado por danos"),
    "only_on_one_side": (
        "bolsa de estudo para estrangeiros no Brasil",
        "bolsa de estudo de mestrado para estrangeiros no Brasil",
    ),
    "only_on_the_other": (
        "inscrição no vestibular de medicina da universidade federal",
        "inscrição no vestibular da universidade federal",
    ),
    "amount": ("taxa de R$ 10 para emitir o documento", "taxa de R$ 100 para emitir o documento"),
    "amount_cents": ("taxa de R$ 10,50 para emitir o documento", "taxa de R$ 10,05 para emitir o documento"),
    "currency_name": (
        "quanto custa o ingresso em US$ 10 na bilheteria",
        "quanto custa o ingresso em R$ 10 na bilheteria",
    ),
    "ordinal": ("conteúdo do 1º ano do ensino médio", "conteúdo do 2º ano do ensino médio"),
    "ordinal_feminine": ("quem joga na 1ª divisão do campeonato", "quem joga na 2ª divisão do campeonato"),
    "not": ("quem pode receber o auxílio emergencial", "quem não pode receber o auxílio emergencial"),
    "except": ("funciona todos os dias e domingos e feriados", "funciona todos os dias exceto domingos e feriados"),
    "never": ("quem já contribuiu para a previdência social", "quem nunca contribuiu para a previdência social"),
    "forbidden": ("é permitido estacionar na calçada da escola", "é proibido estacionar na calçada da escola"),
    "letter_in_a_name": ("biografia do escritor Márcio Souza", "biografia da escritora Márcia Souza"),
    "letter_in_a_name_only": ("certidão de nascimento de Mariana Alves", "certidão de nascimento de Marianna Alves"),
    "letter_in_a_surname": (
        "processo movido por Joana Souza contra o banco",
        "processo movido por Joana Sousa contra o banco",
    ),
    "roman": ("quando nasceu Dom Pedro I do Brasil", "quando nasceu Dom Pedro II do Brasil"),
    "roman_lower_case": ("quando nasceu dom pedro i do brasil", "quando nasceu dom pedro ii do brasil"),
    "unit": ("conversão de 10 km em milhas terrestres", "conversão de 10 kg em milhas terrestres"),
    "hour": ("o banco abre às 10h no centro da cidade", "o banco abre às 11h no centro da cidade"),
    "date": ("o que aconteceu em 10/03/2020 no congresso", "o que aconteceu em 03/10/2020 no congresso"),
    "percent": ("aumento de 10% na conta de luz", "aumento de 15% na conta de luz"),
    "before": ("posso comer antes do exame de sangue", "posso comer depois do exame de sangue"),
    "more_or_less": ("cidades com mais de 50 mil habitantes", "cidades com menos de 50 mil habitantes"),
    "debit": ("taxa do cartão de crédito no exterior", "taxa do cartão de débito no exterior"),
    "grandparents": ("pensão por morte da avó materna", "pensão por morte do avô materno"),
    "grandparents_accent": ("pensão por morte de avó aposentada", "pensão por morte de avô aposentada"),
    "country": ("quais são os países do pais mais citado", "quais são os países do país mais citado"),
    "buyer": ("direitos do comprador do imóvel na planta", "direitos do vendedor do imóvel na planta"),
    "inclusion": ("pedido de inclusão no cadastro nacional", "pedido de exclusão no cadastro nacional"),
    "one_more_number": ("tabela do imposto de renda mensal", "tabela do imposto de renda mensal 2"),
    "numbers_turned": ("diferença salarial de 2022 para 2023", "diferença salarial de 2023 para 2022"),
    "superscript": ("calcular o volume de 10² caixas iguais", "calcular o volume de 10³ caixas iguais"),
    "superscript_unit": ("preço do concreto usinado por m²", "preço do concreto usinado por m³"),
    "model": ("manual do celular galaxy s21 em português", "manual do celular galaxy s22 em português"),
    "short_words": ("como cuidar do gato em casa", "como cuidar do pato em casa"),
    "minimum": ("qual a nota mínima para passar no exame", "qual a nota máxima para passar no exame"),
    "nobody": ("quem foi eleito ninguém sabe ao certo", "quem foi eleito alguém sabe ao certo"),
    "chinese": ("北京 大学 在 哪里 2023", "北京 大学 在 哪里 2024"),
    "letter": ("a vitamina A e o corpo humano", "a vitamina E e o corpo humano"),
    "said_twice": (
        "o imposto da Bahia e do Paraná devido para a Bahia",
        "o imposto da Bahia e do Paraná devido para o Paraná",
    ),
}
"""Pairs with another number, name, negation or word between them: another question."""

MISSED = {
    "blood": ("quem pode doar sangue A+ no hemocentro", "quem pode doar sangue A- no hemocentro"),
    "language": ("curso gratuito de C++ para iniciantes", "curso gratuito de C# para iniciantes"),
    "currency": ("quanto valem 10 € em reais", "quanto valem 10 $ em reais"),
    "percent_sign": ("desconto de 10 % na conta de água", "desconto de 10 na conta de água"),
    "minus": ("freezer a -5 graus conserva vacina", "freezer a 5 graus conserva vacina"),
    "letter_lower_case": ("benefícios da vitamina a para o corpo", "benefícios da vitamina e para o corpo"),
    "month": ("calendário do bolsa família em junho", "calendário do bolsa família em julho"),
    "hyper": ("sintomas de hipertensão arterial em idosos", "sintomas de hipotensão arterial em idosos"),
    "macro": ("livro de macroeconomia para concursos", "livro de microeconomia para concursos"),
    "employer": ("direitos do empregador doméstico", "direitos do empregado doméstico"),
    "ratify": ("como ratificar o edital do concurso", "como retificar o edital do concurso"),
    "decomposed": ("pensão por morte da avo\u0301 paterna", "pensão por morte da avo\u0302 paterna"),
    "prepositions_turned": (
        "horário do primeiro ônibus de Recife para Olinda aos domingos",
        "horário do primeiro ônibus para Recife de Olinda aos domingos",
    ),
    "against": (
        "modelo de ação com o município por danos morais e materiais",
        "modelo de ação contra o município por danos morais e materiais",
    ),
    "who": (
        "quem pode pedir a revisão da pensão alimentícia na justiça federal",
        "como pode pedir a revisão da pensão alimentícia na justiça federal",
    ),
    "daughter": (
        "guarda do filho menor de idade depois da separação judicial dos pais",
        "guarda da filha menor de idade depois da separação judicial dos pais",
    ),
}
"""Slot changes that pass for spelling, punctuation or function words."""

HELD_IN_VAIN = {
    "minimum": ("qual é o valor do salário mínimo neste ano", "qual é o valor do salario minimo neste ano"),
    "not": ("como não pagar imposto sobre a herança", "como nao pagar imposto sobre a herança"),
    "no": ("documentos para alugar imóvel em Recife antigo", "documentos para alugar imóvel no Recife antigo"),
    "capitals": ("como renovar a carteira pela internet", "COMO RENOVAR A CARTEIRA PELA INTERNTE"),
}
"""Only accents, function words or a typing error between them, and still not auto."""


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARRIER_KERNELS", "plain")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("case", SAME)
def test_spelling_and_function_words_are_auto(case: str) -> None:
    for pair in (SAME[case], SAME[case][::-1]):
        found = run(pair, threshold=0.6)
        surface = pl.DataFrame({"q": pair}).select(normalised(pl.col("q"), Level.SURFACE)).to_series()
        # Queries equal at L2 are the exact check's: they count as one here.
        assert verdict(found) == (None if surface.n_unique() == 1 else ("auto", None)), found.edges[
            "evidence"
        ].to_list()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("case", OTHER)
def test_no_slot_change_is_ever_auto(case: str) -> None:
    assert (verdict(run(OTHER[case])) or ("none",))[0] != "auto"
    for pair in (OTHER[case], OTHER[case][::-1]):
        band, reason = verdict(run(pair, **LOW)) or ("none", "")
        assert band == "review" and str(reason).startswith("guard_"), pair


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("case", MISSED)
def test_no_slot_change_hidden_in_small_words_or_marks_is_auto(case: str) -> None:
    assert (verdict(run(MISSED[case])) or ("none",))[0] != "auto"


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("case", HELD_IN_VAIN)
def test_accents_and_function_words_are_auto_also_in_words_the_guard_watches(case: str) -> None:
    assert verdict(run(HELD_IN_VAIN[case], threshold=0.6)) == ("auto", None)


TWO_WORDS = {
    "branch": ("qual o horário do banco amanhã cedo", "qual o horário do branco amanhã cedo"),
    "people": ("onde mora a cantora marina lima", "onde mora a cantora maria lima"),
    "tower": ("endereço da prova de natação adulta", "endereço da proa de natação adulta"),
}
"""A letter left out makes a typing error, or another word that other queries use too."""
FILLERS = ("xadrez {} amanhã", "vulcão {} dormindo", "quibe {} frito")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("case", TWO_WORDS)
def test_two_words_that_many_queries_use_are_no_typing_error(case: str) -> None:
    a, b = TWO_WORDS[case]
    (one,), (other,) = set(a.split()) - set(b.split()), set(b.split()) - set(a.split())
    many = [filler.format(word) for word in (one, other) for filler in FILLERS]
    assert verdict(run([a, b, *many])) == ("review", "guard_words")
    assert verdict(run([a, b, *many], **LOW)) == ("review", "guard_words")
    rarely = [filler.format(word) for word in (one, other) for filler in FILLERS[:1]]
    assert verdict(run([a, b, *rarely], threshold=0.7)) == ("auto", None)


@pytest.mark.parametrize("config", [{}, LOW, {"method": "exact"}, {"characters": 4, "guard": False}])
def test_both_kinds_of_kernels_find_the_same(config: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [query for pairs in (SAME, OTHER, MISSED, HELD_IN_VAIN) for pair in pairs.values() for query in pair]
    found = {}
    for mode in MODES:
        monkeypatch.setenv("HARRIER_KERNELS", mode)
        found[mode] = run([*queries, *HOSTILE], **config)
    assert found["plain"].edges.equals(found["compiled"].edges)
    assert found["plain"].edges.height > len(queries) / 3
    assert (found["plain"].stats, found["plain"].notes) == (found["compiled"].stats, found["compiled"].notes)
    in_pairs = [(f"r{i}", f"r{i + 1}") for i in range(0, len(queries), 2)]
    bands = {(a, b): band for a, b, band in found["plain"].edges.select("a_id", "b_id", "band").iter_rows()}
    if config.get("guard", True):
        others = in_pairs[len(SAME) : len(SAME) + len(OTHER)]
        assert [pair for pair in others if bands.get(pair) == "auto"] == []


def test_without_the_guard_the_score_decides() -> None:
    law = OTHER["law"]
    assert verdict(run(law, guard=False, threshold=0.7)) == ("auto", None)
    assert verdict(run(law, guard=False, threshold=1)) == ("review", None)
    assert verdict(run(law, guard=False, threshold=1, review=1)) == ("ignore", "below_review")


def test_who_says_more_is_held_and_the_evidence_says_who() -> None:
    edge = run(OTHER["only_on_one_side"], **LOW).edges.row(0, named=True)
    said = json.loads(edge["evidence"])
    assert edge["rejected_by"] == "guard_more"
    assert (said["says_more_a"], said["says_more_b"], said["only_b"]) == (False, True, ["de", "mestrado"])


def test_queries_equal_at_l2_count_as_one_and_the_first_row_speaks() -> None:
    a, b = SAME["transposed"]
    found = run([a, a.upper() + "?", b, b + "!"], threshold=0.6)
    assert found.edges.select("a_id", "b_id").rows() == [("r0", "r2")]
    assert found.stats["distinct_queries"] == 2


def test_a_query_that_differs_by_an_accent_from_another_keeps_its_own_neighbours() -> None:
    fruit, knew, typo = (
        "cesta de coco ralado no mercado",
        "cesta de cocô ralado no mercado",
        "cesta de cocô ralado no mercadoo",
    )
    assert verdict(run([knew, typo], threshold=0.7)) == ("auto", None)
    assert verdict(run([fruit, knew, typo], threshold=0.7), "r1", "r2") == ("auto", None)


word = st.sampled_from(["Ação", "acao", "lei", "LEI", "8.112", "8.666", "não", "é", "e", "à", "Olinda", "olindà", "a"])
query_lists = st.lists(
    st.lists(word, min_size=0, max_size=7).map(" ".join) | st.text("aáb1. ?-\t", max_size=12), min_size=0, max_size=8
)


def folded(queries: Sequence[str], level: Level) -> list[str]:
    frame = pl.DataFrame({"q": queries}, schema={"q": pl.String})
    return frame.select(normalised(pl.col("q"), level)).to_series().to_list()


def grams(query: str) -> frozenset[str]:
    """Padded character 3-grams of the words of an accent-folded query."""
    letters = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in query)
    padded = f" {' '.join(letters.split())} "
    return frozenset(padded[i : i + 3] for i in range(len(padded) - 2)) if padded.strip() else frozenset()


def plain_loop(queries: Sequence[str], floor: float) -> dict[tuple[str, str], float]:
    """Every near pair of distinct queries; those with the very same grams are paired with the first of them."""
    first: dict[str, int] = {}
    for i, surface in enumerate(folded(queries, Level.SURFACE)):
        first.setdefault(surface, i)
    sets = {i: grams(query) for i, query in enumerate(folded(queries, Level.ACCENTS)) if i in first.values()}
    heads: dict[frozenset[str], int] = {}
    found = {}
    for i, own in sets.items():
        if own and heads.setdefault(own, i) != i:
            found[f"r{heads[own]}", f"r{i}"] = 1.0
    for (i, a), (j, b) in itertools.combinations(sets.items(), 2):
        if a != b and len(a & b) >= floor * len(a | b):
            found[f"r{i}", f"r{j}"] = len(a & b) / len(a | b)
    return found


@pytest.mark.parametrize("mode", MODES)
@settings(deadline=None, max_examples=60)
@given(queries=query_lists)
def test_scores_are_the_jaccard_of_padded_trigrams_of_the_folded_query(mode: str, queries: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARRIER_KERNELS", mode)
        found = run(queries, method="exact").edges
    scores = {(a, b): score for a, b, score in found.select("a_id", "b_id", "score").iter_rows()}
    expected = plain_loop(queries, 0.5)
    assert {pair: pytest.approx(score) for pair, score in expected.items()} == scores
    assert found.select("a_id", "b_id").equals(found.sort("a_id", "b_id").select("a_id", "b_id"))
    sets = dict(enumerate(map(grams, folded(queries, Level.ACCENTS))))
    for edge in found.iter_rows(named=True):
        a, b = sets[int(edge["a_id"][1:])], sets[int(edge["b_id"][1:])]
        details = json.loads(edge["evidence"])
        assert (details["shingles"], details["shared"], details["sizes"]) == ("char-3", len(a & b), [len(a), len(b)])
        assert edge["containment"] == pytest.approx(len(a & b) / min(len(a), len(b)))


def test_minhash_finds_nearly_all_that_the_exact_method_finds() -> None:
    queries = [f"valor da taxa {i} no estado {i * 7 % 50} em {1990 + i % 30}" for i in range(300)]
    edges = run(queries, method="exact").edges.filter(pl.col("score") >= 0.7)
    exact = {tuple(edge) for edge in edges.select("a_id", "b_id").iter_rows()}
    minhash = {tuple(edge) for edge in run(queries).edges.select("a_id", "b_id").iter_rows()}
    assert len(exact & minhash) >= 0.95 * len(exact) > 100


HOSTILE = [
    "",
    " ",
    "\n\n",
    "?!",
    "\x00\x01\x1c\x7f",
    "\u200b\u00ad",
    "é" * 5_000,
    "a b " * 5_000,
    "\U0001f600",
    "\u0301",
    '"}{"\\',
    "ﷺ" * 50,
    "1" * 3_000,
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("queries", [[], ["só uma pergunta"], HOSTILE, HOSTILE + [query + " x" for query in HOSTILE]])
def test_it_is_pure_and_hostile_queries_do_no_harm(
    queries: list[str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARRIER_KERNELS", mode)
    one, other = run(queries, **LOW), run(queries, **LOW)
    assert one.edges.equals(other.edges) and (one.stats, one.notes) == (other.stats, other.notes)
    assert one.edges.schema == EDGES_SCHEMA
    assert all(isinstance(json.loads(text), dict) for text in one.edges["evidence"])
    assert (one.edges["a_id"] != one.edges["b_id"]).all()


@pytest.mark.parametrize(
    "wrong", [{"characters": 1}, {"threshold": 0.5}, {"floor": 0.7}, {"review": 0}, {"letters": 3}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NearQueriesConfig(**wrong)
