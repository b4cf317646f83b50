"""Plant false negatives into a user's own pairs, and measure by them the queue that looks for false negatives.

A planted answer is a row with another query for the same thing, reworded or made of keywords, and a paraphrased
passage: each of the two passages answers both queries. A look-alike is a row whose passage is nearly the same words,
says another thing and stands under a query that asks for that other thing: neither answers the other's query.
Paraphrases are made by rules and a table of Portuguese synonyms, with no model, so that they are the same on every
machine.
"""

from __future__ import annotations

import hashlib
import random
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import polars as pl
from bm25s.stopwords import STOPWORDS_PORTUGUESE

from studio.pairs.schema import SNAPSHOT_SCHEMA
from studio.selftest.measure import Share
from studio.selftest.variations import OTHER_PASSAGE, SAME_QUERY
from studio.text.equal import equal_at
from studio.text.normalise import Level

TRUTH_SCHEMA = pl.Schema(
    {"a": pl.String(), "b": pl.String(), "kind": pl.String(), "answers": pl.Boolean(), "jaccard": pl.Float64()}
)
"""Columns of the truth: `a` the source row, `b` the row made from it; `answers`: each passage answers both queries,
else neither answers the other's; `kind`: `paraphrase` (under a reworded query), `paraphrase_keywords` (under keywords
that both passages have; comparing queries does not find these) or `look_alike_…`; `jaccard`: of the two passages' word
3-grams."""

DEPTHS = (10, 25, 50, 100, 200, 500, 1000)
AIM = 0.45
"""A paraphrase is reworded further while it shares more word 3-grams than this with its source (Jaccard)."""
_LIMIT = 0.6
"""A passage whose paraphrase shares more than this is left alone: it offers too little to reword."""
_MIN_WORDS = 8
_MAX_CHARACTERS = 8_000
_PROTECTED = frozenset({"test", "validation", "valid", "dev", "eval", "evaluation"})
_YES = frozenset({"1", "1.0", "true", "yes", "sim"})
_WORD = re.compile(r"\w+")
_LONG_NUMBER = re.compile(r"\d{19}")

# fmt: off
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    # Verbs
    "fornece": ("oferece", "disponibiliza"), "fornecem": ("oferecem",), "oferece": ("fornece", "disponibiliza"),
    "oferecem": ("fornecem",), "disponibiliza": ("oferece", "fornece"), "provê": ("oferece", "fornece"),
    "contém": ("traz", "reúne"), "contêm": ("trazem", "reúnem"), "permite": ("possibilita",),
    "permite que": ("torna possível que",), "permitem": ("possibilitam",), "inclui": ("abrange",),
    "incluem": ("abrangem",), "incluindo": ("inclusive",), "suporta": ("aceita",), "suportam": ("aceitam",),
    "implementa": ("põe em prática",), "usa": ("utiliza", "emprega"), "usam": ("utilizam", "empregam"),
    "usar": ("utilizar", "empregar"), "usando": ("utilizando", "empregando"), "usado": ("utilizado", "empregado"),
    "usada": ("utilizada", "empregada"), "usados": ("utilizados",), "usadas": ("utilizadas",),
    "utiliza": ("usa",), "utilizar": ("usar",), "utilizando": ("usando",), "utilizado": ("usado",),
    "utilizada": ("usada",), "utilizados": ("usados",), "utilizadas": ("usadas",),
    "pode ser usado para": ("serve para",), "pode ser usada para": ("serve para",),
    "podem ser usados para": ("servem para",), "podem ser usadas para": ("servem para",),
    "pode ser": ("pode vir a ser",), "podem ser": ("podem vir a ser",), "deve ser": ("precisa ser", "tem de ser"),
    "devem ser": ("precisam ser", "têm de ser"), "deve": ("precisa", "tem de"), "devem": ("precisam", "têm de"),
    "precisa de": ("necessita de",), "precisam de": ("necessitam de",), "precisa ser": ("deve ser", "tem de ser"),
    "precisam ser": ("devem ser", "têm de ser"), "é preciso": ("é necessário",), "é necessário": ("é preciso",),
    "você pode": ("é possível",), "pode-se": ("é possível",), "é capaz de": ("consegue",),
    "são capazes de": ("conseguem",), "é possível": ("existe a possibilidade de",), "tem que": ("precisa",),
    "tem": ("possui",), "têm": ("possuem",), "possui": ("tem",), "possuem": ("têm",), "existe": ("há",),
    "existem": ("há",), "criar": ("produzir",), "gerar": ("produzir",), "executar": ("rodar",),
    "mostrar": ("exibir",), "mostra": ("exibe",), "exibir": ("mostrar",), "exibe": ("mostra",),
    "realizar": ("efetuar",), "realiza": ("efetua",), "efetuar": ("realizar",), "receber": ("obter",),
    "envia": ("manda",), "enviar": ("mandar",),
    "enviado": ("encaminhado",), "enviada": ("encaminhada",), "enviados": ("encaminhados",), "começa": ("inicia",),
    "começam": ("iniciam",), "termina": ("acaba",), "terminam": ("acabam",), "custa": ("sai por", "tem o preço de"),
    "custam": ("saem por",), "exige": ("requer",), "exigem": ("requerem",), "requer": ("exige",),
    "solicitar": ("pedir", "requerer"), "pedir": ("solicitar",), "solicite": ("peça",), "pede": ("solicita",),
    "basta": ("é suficiente",), "consulte": ("veja",), "obter": ("conseguir",), "manter": ("conservar",),
    "mantém": ("conserva",), "acontece": ("ocorre",), "acontecem": ("ocorrem",), "ocorre": ("acontece",),
    "demora": ("leva",), "dura": ("tem duração de",), "aparece": ("surge",), "aparecem": ("surgem",),
    "modificar": ("alterar",), "alterar": ("modificar",), "escolher": ("selecionar",),
    "ajuda a": ("auxilia a",), "evita": ("impede",), "garante": ("assegura",),
    "é chamado": ("recebe o nome de",), "é chamada": ("recebe o nome de",), "é baseado em": ("tem por base",),
    "é baseada em": ("tem por base",), "baseado em": ("fundado em",), "baseada em": ("fundada em",),
    "baseados em": ("fundados em",), "baseadas em": ("fundadas em",), "faz parte": ("é parte",),
    # Words that join
    "mas": ("porém", "contudo"), "porém": ("contudo", "mas"), "contudo": ("porém",), "no entanto": ("entretanto",),
    "entretanto": ("no entanto",), "portanto": ("por isso",), "por isso": ("por essa razão",), "pois": ("já que",),
    "porque": ("já que",), "já que": ("uma vez que",), "embora": ("ainda que",), "enquanto": ("ao mesmo tempo que",),
    "além disso": ("ademais", "fora isso"), "além de": ("fora",), "assim como": ("bem como",),
    "bem como": ("assim como",), "tais como": ("a exemplo de",), "por exemplo": ("a título de exemplo",),
    "ou seja": ("isto é",), "isto é": ("ou seja",), "também": ("igualmente", "ainda"), "inclusive": ("até mesmo",),
    "quando": ("no momento em que", "sempre que"), "sempre que": ("toda vez que",), "se houver": ("havendo",),
    "se não houver": ("não havendo",), "em caso de": ("na hipótese de",), "no caso de": ("na hipótese de",),
    "desde que": ("contanto que",), "a menos que": ("salvo se",), "mediante": ("por meio de",),
    "através de": ("por meio de",), "através do": ("por meio do",), "através da": ("por meio da",),
    "através dos": ("por meio dos",), "por meio de": ("através de",), "de acordo com": ("conforme", "segundo"),
    "conforme": ("de acordo com",), "com relação a": ("quanto a",), "em relação a": ("quanto a",),
    "antes do": ("anteriormente ao",), "antes da": ("anteriormente à",), "antes de": ("anteriormente a",),
    "depois do": ("após o",), "depois da": ("após a",), "depois de": ("após",), "após o": ("depois do",),
    "após a": ("depois da",), "durante o": ("ao longo do",), "durante a": ("ao longo da",), "onde": ("em que",),
    "a fim de": ("com o intuito de",), "com o fim de": ("com o intuito de",), "sobre": ("a respeito de",),
    "dentro de": ("no interior de",), "para que": ("a fim de que",),
    # Amounts and times
    "em até": ("em no máximo",), "de até": ("de no máximo",), "no máximo": ("quando muito",),
    "pelo menos": ("no mínimo",), "no mínimo": ("pelo menos",), "mais de": ("acima de",), "menos de": ("abaixo de",),
    "por dia": ("ao dia",), "por mês": ("ao mês",), "por ano": ("ao ano",), "por pessoa": ("para cada pessoa",),
    "todos os dias": ("diariamente",), "uma vez por ano": ("anualmente",),
    "de segunda a sexta-feira": ("em dias de semana",), "de segunda a sexta": ("em dias de semana",),
    "aos sábados": ("nos sábados",), "aos domingos": ("nos domingos",),
    "vários": ("diversos",), "várias": ("diversas",), "diversos": ("vários",),
    "diversas": ("várias",), "muitos": ("numerosos",), "muitas": ("numerosas",), "muito": ("bastante",),
    "alguns": ("certos",), "algumas": ("certas",), "outros": ("demais",), "outras": ("demais",), "apenas": ("somente",),
    "somente": ("apenas",), "só": ("somente", "apenas"), "ambos": ("os dois",), "a maioria": ("a maior parte",),
    # Nouns, of one gender each
    "arquivos": ("ficheiros",), "arquivo": ("ficheiro",), "ficheiros": ("arquivos",), "ficheiro": ("arquivo",),
    "programa": ("software",), "programas": ("softwares",), "usuário": ("utilizador",), "usuários": ("utilizadores",),
    "utilizador": ("usuário",), "utilizadores": ("usuários",), "gerenciador": ("gestor",),
    "conjunto de": ("grupo de",), "coleção de": ("reunião de",), "suporte a": ("apoio a",),
    "suporte para": ("apoio a",), "suporte ao": ("apoio ao",), "aparelho": ("dispositivo",), "prazo": ("período",),
    "pedido": ("requerimento",), "pedidos": ("requerimentos",), "aplicativo": ("app",),
    "e-mail": ("correio eletrônico",),
    "site": ("portal",), "portal": ("site",), "segunda via": ("nova via",), "custo": ("preço",), "valor": ("montante",),
    "início": ("começo",), "fim": ("final",), "local": ("lugar",), "auxílio": ("apoio",), "objetivo": ("propósito",),
    "modo": ("jeito",), "exigência": ("condição",), "tarefas": ("atividades",),
    "funcionalidades": ("funções",), "características": ("particularidades",), "pela internet": ("on-line",),
    # Adjectives and adverbs
    "este pacote": ("o presente pacote", "esse pacote"), "esta biblioteca": ("a presente biblioteca",),
    "este programa": ("o presente programa",), "rápido": ("veloz",), "rápida": ("veloz",), "rápidos": ("velozes",),
    "pequeno": ("reduzido",), "pequena": ("reduzida",), "completo": ("integral",), "completa": ("integral",),
    "fácil de usar": ("de uso fácil",), "simples": ("sem complicação",), "gratuito": ("sem custo",),
    "gratuita": ("sem custo",), "gratuitos": ("sem custo",), "grátis": ("sem custo",), "obrigatório": ("exigido",),
    "obrigatória": ("exigida",), "disponível": ("à disposição",), "disponíveis": ("à disposição",),
    "adicional": ("extra",), "adicionais": ("extras",), "atualmente": ("hoje em dia",),
    "facilmente": ("com facilidade",),
    "automaticamente": ("de forma automática",), "rapidamente": ("com rapidez",), "diretamente": ("de forma direta",),
    "normalmente": ("em geral",), "geralmente": ("em geral",), "especialmente": ("em especial",),
    "principalmente": ("sobretudo",), "totalmente": ("por completo",), "completamente": ("por completo",),
    "imediatamente": ("de imediato",), "anualmente": ("a cada ano",), "mensalmente": ("a cada mês",),
    "gratuitamente": ("sem custo",), "sem custo": ("de graça",),
    "isso porque": ("a razão é que",), "dá para": ("é possível",),
    "sempre": ("invariavelmente",), "nunca": ("em nenhum caso",),
    "em um": ("num",), "em uma": ("numa",), "num": ("em um",), "numa": ("em uma",),
}
# fmt: on
"""Phrases and what stands in for them: of one gender and number, so that the words around them still agree."""

_PHRASE = re.compile(
    r"(?<![\w@/.-])(?:"
    + "|".join(re.escape(phrase) for phrase in sorted(SYNONYMS, key=len, reverse=True))
    + r")(?![\w@/-])",
    re.IGNORECASE,
)
_UNITS = ("dois", "três", "quatro", "cinco", "seis", "sete", "oito", "nove")
_TEENS = ("dez", "onze", "doze", "treze", "quatorze", "quinze", "dezesseis", "dezessete", "dezoito", "dezenove")
_TENS = ("vinte", "trinta", "quarenta", "cinquenta", "sessenta", "setenta", "oitenta", "noventa")
_NUMBERS = {
    **dict(zip(_UNITS, range(2, 10), strict=True)),
    **dict(zip(_TEENS, range(10, 20), strict=True)),
    **dict(zip(_TENS, range(20, 100, 10), strict=True)),
    "duas": 2,
}
_SPELLED = {number: word for word, number in _NUMBERS.items() if word != "duas"}
# One word alone, or tens and units; never a part of a longer number.
_NUMBER_WORDS = re.compile(
    rf"(?<!cento e )(?<!centos e )(?<!mil e )\b(?:({'|'.join(_TENS)}) e ({'|'.join((*_UNITS, 'duas'))})"
    rf"|({'|'.join(_NUMBERS)}))\b(?! e (?:um|uma|{'|'.join(_NUMBERS)}|meia)\b)(?! (?:mil|milhões)\b)"
)
_DIGITS = re.compile(r"(?<![\w.,/:$%ºª-])(?<!R\$ )(?<!\d [ae] )(?:[3-9]|1\d|[2-9]0)(?= [a-zà-ú]{3,})")

_TO_DO = re.compile(
    r"\bpara (?=(?!(?:ar|bar|bazar|calendar|celular|char|escolar|familiar|jar|lugar|linear|mar|militar|molecular"
    r"|nuclear|particular|popular|preliminar|radar|regular|similar|solar|tar|titular|vulgar)\b)"
    r"(?:[a-zà-ú]{2,}[ai]r|ter|ser|ver|ler|(?:faz|ob?t|mant|receb|escrev|fornec|convert|resolv|desenvolv|oferec|traz|proteg|estend|escolh|preench|pod)er)\b)"
)
_TO_DO_INSTEAD = ("a fim de ", "com o fim de ", "com o objetivo de ")
_OF_THE = re.compile(r"\bde (?=[oa]s?\b)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-zà-ú])")
_ABBREVIATED = re.compile(
    r"\b(?:art|arts|dr|dra|sr|sra|av|tel|inc|ltda|ex|obs|pág|vol|ed|etc|cf|nº|n|p)\.$", re.IGNORECASE
)
_ITEM = re.compile(r"\s*(?:[-*•+–]|--)\s+\S")
_LEANING = re.compile(
    r"(?:iss?o|ess[ea]s?|dess[ea]s?|ness[ea]s?|disso|nisso|el[ea]s?|del[ea]s?|assim|então|por isso|porém|contudo|mas|já"
    r"|também|além disso|ademais|fora isso|no entanto|entretanto|isso porque|por essa razão"
    r"|caso contrário|depois|em seguida|ambos|ambas|tal|tais|nele|nela|isto|seu|sua|seus|suas)\b",
    re.IGNORECASE,
)
"""How a sentence begins that points back at the one before it: the two stay together."""
_SMALL = frozenset(
    "o a os as um uma uns umas é são não para se quando em no na nos nas por pelo pela com sem ao à aos às de do "
    "da dos das há este esta esse essa cada todo toda todos todas quem após até caso durante entre já só "
    "também você".split()
)
"""First words that are written small when no sentence begins with them."""
_QUESTION_WORDS = frozenset(
    "qual quais quanto quantos quantas quem que como onde posso preciso existe dá tenho queria gostaria dentro após "
    "depois antes além desde durante sem com por de biblioteca ferramenta utilitários utilitário jogo sistema".split()
)
_FRONTED = re.compile(
    r"((?:Se|Quando|Para|Caso|Após|Depois d[aeo]s?|Antes d[aeo]s?|Em caso de|Durante|Sem|Além d[aeo]s?|Com|Desde que)"
    r" [^,;:()]{5,200}), ([^,;:()]{8,300}[^,;:()\s.!?])([.!?]?)"
)
_TRAILING = re.compile(
    r"([^,;:()]{8,300}?),? ((?:quando|desde que|sempre que|caso|para que) [^,;:()]{5,200}[^,;:()\s.!?])([.!?]?)"
)
_DEPENDENT = re.compile(r"(?:se|quando|caso|quem|embora|enquanto|para|como)\b", re.IGNORECASE)
"""How a clause begins that another one has to follow: no sentence ends after it."""
_JOINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"; (?:e )?"), ". "),
    (re.compile(r", (?:mas|porém) "), ". No entanto, "),
    (re.compile(r", (?:pois|já que|porque) "), ". Isso porque "),
    (re.compile(r", e (?=(?:o|a|os|as|quem|é|são|há|pode|podem)\b)"), ". Além disso, "),
)
"""Where one sentence becomes two."""
_OPENINGS = (
    "Vale saber que", "Convém lembrar que", "Cabe observar que", "É bom saber que", "Note-se que", "Fique sabendo que",
    "Importa dizer que",
)  # fmt: skip
_ASIDES = ("de fato", "vale notar", "a rigor", "vale dizer", "por sua vez", "note-se", "diga-se", "aliás", "enfim")
_BEFORE_ASIDE = re.compile(
    r"(?<=\w) (?=(?:para|com|em|por|na|no|nas|nos|pela|pelo|sem|entre|durante|como|ou|que|se|até)\b)"
)
_SCOPES = (
    ("no regime especial", "No regime especial vale outra regra."),
    ("na unidade de teste", "Na unidade de teste é diferente."),
    ("na edição anterior", "Na edição anterior era assim."),
    ("no modelo antigo", "No modelo antigo era de outro jeito."),
    ("no polo Norte", "No polo Norte vale o que segue."),
)
"""A case apart, as the query asks for it, and as the passage says that it speaks of nothing else."""
_QUESTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^Como faço para "), "Qual é o procedimento para "),
    (re.compile(r"^Como posso "), "De que maneira consigo "),
    (re.compile(r"^Posso (?=\w+(?:ar|er|ir)\b)"), "É permitido "),
    (re.compile(r"^Preciso (?=\w+(?:ar|er|ir)\b)"), "É obrigatório "),
    (re.compile(r"^Quanto custa "), "Por que preço sai "),
    (re.compile(r"^Quanto tempo "), "Quantos dias ou horas "),
    (re.compile(r"^Em quanto tempo "), "Dentro de que prazo "),
    (re.compile(r"^Quem pode "), "Quais pessoas podem "),
    (re.compile(r"^Quais (?:os |as )?"), "Gostaria de saber que "),
    (re.compile(r"^Qual (?:é )?o "), "Queria saber o "),
    (re.compile(r"^Qual (?:é )?a "), "Queria saber a "),
    (re.compile(r"^O que "), "Que coisa "),
    (re.compile(r"^Onde "), "Em que lugar "),
    (re.compile(r"^Como "), "De que modo "),
)
_ASKING = ("Pergunta rápida:", "Por favor, me digam:", "Fiquei na dúvida:", "Olá, pessoal,", "Quem sabe me responde?")
_SEEKING = ("Procuro: {}", "Estou atrás de {}", "Preciso de informação: {}", "{}: onde encontro", "Busco {}, por favor")

_LOOK_ALIKES = ("number", "year", "name", "negation", "numbers_exchanged")


@dataclass(frozen=True)
class PlantedAnswers:
    """Pairs with planted false negatives.

    `frame`: all rows of the source, unchanged and in order, then the planted ones (`SNAPSHOT_SCHEMA`). `truth`:
    `TRUTH_SCHEMA`, one row a planted one. `passed_over`: source rows tried that offered too little to change.
    """

    frame: pl.DataFrame
    truth: pl.DataFrame
    passed_over: int

    def jaccard(self) -> dict[str, float]:
        """Of the paraphrases' word 3-grams with their sources': mean, median, 10th and 90th percentile, largest."""
        found = sorted(self.truth.filter("answers")["jaccard"].to_list())
        if not found:
            return {}
        last = len(found) - 1
        return {
            "mean": statistics.fmean(found),
            "median": statistics.median(found),
            "p10": found[round(0.1 * last)],
            "p90": found[round(0.9 * last)],
            "max": found[last],
        }


def plant_answers(
    pairs: pl.DataFrame,
    n: int,
    seed: int,
    look_alikes: int | None = None,
    protected: AbstractSet[str] = _PROTECTED,
) -> PlantedAnswers:
    """Add `n` rows that answer, and are answered by, a row already there, and look-alikes that do not.

    Sources are training rows whose query and passage no other row has (equal at L2), each used once. Planted rows have
    the split, label and score of their source, no group and no negatives. Rows without enough text, and labelled as
    negatives, are no sources.

    Args:
        pairs: `SNAPSHOT_SCHEMA`.
        n: planted answers; fewer where the pairs offer no more.
        seed: decides everything that is random.
        look_alikes: rows that do not answer; half of `n` when None.
        protected: splits that no source is taken from.
    """
    rng = random.Random(seed)
    order = _sources(pairs, protected)
    rng.shuffle(order)
    wanted = {True: n, False: n // 2 if look_alikes is None else look_alikes}
    count = {True: 0, False: 0}
    rows: list[dict[str, object]] = []
    truth: list[tuple[str, str, str, bool, float]] = []
    texts = _Texts(set(pairs["query"].to_list()), set(pairs["positive"].to_list()))
    passed_over = 0
    for place in order:
        behind = [answers for answers in wanted if count[answers] < wanted[answers]]
        if not behind:
            break
        # Whichever is further behind: where sources run out, both kinds run short alike.
        answers = min(behind, key=lambda kind: count[kind] / wanted[kind])
        source = pairs.row(place, named=True)
        made = (_answer if answers else _look_alike)(source["query"], source["positive"], rng)
        if made is None or not texts.add(made.query, made.passage):
            passed_over += 1
            continue
        count[answers] += 1
        row_id = _row_id(seed, source["row_id"], made.kind)
        rows.append(_row(source, row_id, made))
        shared = trigram_jaccard(source["positive"], made.passage)
        truth.append((source["row_id"], row_id, made.kind, answers, shared))
    planted = pl.DataFrame(rows, schema=SNAPSHOT_SCHEMA)
    return PlantedAnswers(
        pl.concat([pairs.select(SNAPSHOT_SCHEMA.names()), planted]),
        pl.DataFrame(truth, schema=TRUTH_SCHEMA, orient="row"),
        passed_over,
    )


@dataclass(frozen=True)
class AtDepth:
    """The first `entries` of a queue, `depth` asked for.

    `planted`: entries that are planted answers, of all entries: a lower bound of the precision, since the other
    entries may answer too. `look_alikes`: entries known not to answer, of all: a lower bound of the error. `known`:
    planted answers of the entries of which the truth is known. `recall`: planted pairs found, whichever way round, of
    all planted pairs. `unknown`: entries of which nothing is known.
    """

    depth: int
    entries: int
    planted: Share
    look_alikes: Share
    known: Share
    recall: Share
    unknown: int


def measure_queue(
    queue_frame: pl.DataFrame, truth: pl.DataFrame, depths: Sequence[int] = DEPTHS
) -> tuple[AtDepth, ...]:
    """Measure a queue against what was planted, at several depths.

    Args:
        queue_frame: `query_id`, `passage_id` (row ids) in the queue's order; an entry that comes again does not count.
        truth: `TRUTH_SCHEMA`. A planted pair may stand in the queue both ways; recall counts it once.
        depths: entries read; where the queue is shorter, all of it is.

    Raises:
        ValueError: a depth below 1.
    """
    if any(depth < 1 for depth in depths):
        raise ValueError("a depth is below 1")
    answers = {frozenset(pair): told for *pair, told in truth.select("a", "b", "answers").iter_rows()}
    total = sum(answers.values())
    entries = queue_frame.select("query_id", "passage_id").unique(keep="first", maintain_order=True)
    told = [(frozenset(pair), answers.get(frozenset(pair))) for pair in entries.iter_rows()]
    return tuple(_at_depth(depth, told[:depth], total) for depth in depths)


def depth_table(measured: Iterable[AtDepth]) -> pl.DataFrame:
    """One row a depth: each share as value, low and high end of its 95 % interval (null where there is nothing)."""
    lines = []
    for one in measured:
        line: dict[str, object] = {"depth": one.depth, "entries": one.entries, "unknown": one.unknown}
        shares = {"planted": one.planted, "look_alikes": one.look_alikes, "known": one.known, "recall": one.recall}
        for name, share in shares.items():
            low, high = share.interval
            line |= {name: share.hits, f"{name}_share": share.value, f"{name}_low": low, f"{name}_high": high}
        lines.append(line)
    return pl.DataFrame(lines, infer_schema_length=None)


def trigram_jaccard(a: str, b: str) -> float:
    """Jaccard index of the two texts' sets of three consecutive words, in small letters; 0 where one has none."""
    ours, theirs = _trigrams(a), _trigrams(b)
    return len(ours & theirs) / len(ours | theirs) if ours and theirs else 0.0


def paraphrase(text: str, rng: random.Random, aim: float = AIM) -> str | None:
    """Say the same in other words, or None where the text offers too little to reword.

    Sentences are split, fused and put in another order, clauses change places, list items too; phrases give way to
    synonyms and numbers to their other spelling. While the result still shares more than `aim` of its word 3-grams
    with the text, sentences get openings and asides that say nothing.
    """
    if len(text) > _MAX_CHARACTERS or len(_WORD.findall(text)) < _MIN_WORDS:
        return None
    paragraphs = [_reordered(block, rng) for block in _blocks(text)]
    paragraphs = [[_respelled(_swapped(part, rng), rng) for part in parts] for parts in paragraphs]
    result = _written(paragraphs)
    if trigram_jaccard(text, result) > aim:
        result = _written([[_opened(part, rng) for part in parts] for parts in paragraphs])
    result = _with_asides(text, result, aim, rng)
    return result if trigram_jaccard(text, result) <= _LIMIT else None


def reworded_query(query: str, rng: random.Random) -> str | None:
    """Ask the same in other words; None for a query without a word."""
    asked = query.strip()
    if not _WORD.search(asked) or len(asked) > _MAX_CHARACTERS:
        return None
    other = asked
    for pattern, instead in _QUESTIONS:
        if pattern.search(other):
            other = pattern.sub(instead, other, count=1)
            break
    framed = rng.random() < 0.5
    if framed:
        other = SAME_QUERY["query_function_word"](other, rng) or other
    other = _swapped(other, rng)
    if framed or other == asked:
        if asked.endswith("?"):
            other = f"{rng.choice(_ASKING)} {_small(other)}"
        else:
            other = rng.choice(_SEEKING).replace("{}", _small(other))
    return other


def keyword_query(query: str, passage: str, other: str, rng: random.Random) -> str | None:
    """Ask as into a search box: by a few words of the query and more that both passages have.

    None where the query has no word that tells anything, or the passages share too few others.
    """
    asked = list(dict.fromkeys(word.lower() for word in _WORD.findall(query) if _tells(word)))
    shared = set(_WORD.findall(other.lower()))
    words = [word for word in dict.fromkeys(_WORD.findall(passage.lower())) if word in shared and _tells(word)]
    said = [word for word in words if word not in asked]
    if not asked or len(said) < 3:
        return None
    # Long words say more of what a text is about than short ones.
    longest = sorted(said, key=len, reverse=True)[: max(3, len(said) // 2)]
    chosen = [*rng.sample(asked, min(2, len(asked))), *rng.sample(longest, 3)]
    return " ".join(rng.sample(chosen, len(chosen)))


@dataclass(frozen=True)
class _Made:
    """A planted row's texts, and what it is."""

    kind: str
    query: str
    passage: str


@dataclass
class _Texts:
    """Texts that are there already: no planted one may be the same."""

    queries: set[str]
    passages: set[str]

    def add(self, query: str, passage: str) -> bool:
        if query in self.queries or passage in self.passages:
            return False
        self.queries.add(query)
        self.passages.add(passage)
        return True


def _tells(word: str) -> bool:
    """Whether a word tells what a text is about."""
    return 4 <= len(word) <= 30 and word.isalpha() and word.lower() not in STOPWORDS_PORTUGUESE


def _sources(pairs: pl.DataFrame, protected: AbstractSet[str]) -> list[int]:
    """Positions of the rows that may be sources."""
    passages, queries = equal_at(pairs["positive"], Level.SURFACE), equal_at(pairs["query"], Level.SURFACE)
    fit = (
        pairs.select("split", "label", passages.alias("p"), queries.alias("q"))
        .with_row_index("row")
        .filter(
            pl.col("p").is_not_null() & pl.col("p").is_unique() & pl.col("q").is_not_null() & pl.col("q").is_unique(),
            pl.col("split").is_null() | ~pl.col("split").is_in(list(protected)),
            pl.col("label").is_null() | pl.col("label").str.to_lowercase().is_in(list(_YES)),
        )
    )
    return fit["row"].to_list()


def _answer(query: str, passage: str, rng: random.Random) -> _Made | None:
    asked, said = reworded_query(query, rng), paraphrase(passage, rng)
    if asked is None or said is None:
        return None
    # A reworded query alone is found by comparing queries: half of the planted ones leave only the passages to compare.
    sought = keyword_query(query, passage, said, rng) if rng.random() < 0.5 else None
    return _Made("paraphrase", asked, said) if sought is None else _Made("paraphrase_keywords", sought, said)


def _look_alike(query: str, passage: str, rng: random.Random) -> _Made | None:
    """The passage with another value, said of a case apart, under a query that asks for that case."""
    if (
        max(len(passage), len(query)) > _MAX_CHARACTERS
        or len(_WORD.findall(passage)) < _MIN_WORDS
        or not _WORD.search(query)
    ):
        return None
    # Numbers of any length and any count would cost the variations more than they are worth.
    numbers = not _LONG_NUMBER.search(passage) and sum(c.isdigit() for c in passage) < 200
    names = [name for name in _LOOK_ALIKES if numbers or name in ("name", "negation")]
    for name in rng.sample(names, len(names)):
        changed = OTHER_PASSAGE[name](passage, rng)
        if changed is not None and changed != passage:
            asked, said = rng.choice(_SCOPES)
            mark = "?" if query.rstrip().endswith("?") else ""
            return _Made(f"look_alike_{name}", f"{query.rstrip().rstrip('?')} {asked}{mark}", f"{said} {changed}")
    return None


def _row_id(seed: int, source: str, kind: str) -> str:
    return hashlib.blake2b(f"{seed}\0{source}\0{kind}".encode(), digest_size=8).hexdigest()


def _row(source: Mapping[str, object], row_id: str, made: _Made) -> dict[str, object]:
    kept = {name: source[name] for name in ("score", "label", "split")}
    told = {"row_id": row_id, "query": made.query, "positive": made.passage, "negatives": []}
    return {**told, **kept, "source": f"planted:{source['row_id']}"}


def _at_depth(depth: int, told: Sequence[tuple[frozenset[str], bool | None]], total: int) -> AtDepth:
    hits = sum(answers is True for _, answers in told)
    wrong = sum(answers is False for _, answers in told)
    found = len({pair for pair, answers in told if answers})
    return AtDepth(
        depth,
        len(told),
        Share(hits, len(told)),
        Share(wrong, len(told)),
        Share(hits, hits + wrong),
        Share(found, total),
        len(told) - hits - wrong,
    )


def _trigrams(text: str) -> set[tuple[str, str, str]]:
    words = _WORD.findall(text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def _blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of prose as sentences, and runs of list items: (whether a list, parts). Hard line breaks are undone."""
    for paragraph in re.split(r"\n\s*\n", text):
        prose: list[str] = []
        items: list[str] = []
        for line in paragraph.splitlines():
            if _ITEM.match(line):
                if prose:
                    yield False, _sentences(" ".join(prose))
                    prose = []
                items.append(line.strip())
            elif items and line[:1].isspace():
                items[-1] += f" {line.strip()}"
            else:
                if items:
                    yield True, items
                    items = []
                prose.append(line.strip())
        if items:
            yield True, items
        if prose and (sentences := _sentences(" ".join(prose))):
            yield False, sentences


def _sentences(text: str) -> list[str]:
    parts: list[str] = []
    for part in _SENTENCE_END.split(text.strip()):
        if parts and _ABBREVIATED.search(parts[-1]):
            parts[-1] += f" {part}"
        elif part:
            parts.append(part)
    return parts


def _reordered(block: tuple[bool, list[str]], rng: random.Random) -> list[str]:
    """The parts in another order: clauses within sentences, sentences that stand alone, items of a list."""
    listed, parts = block
    if listed:
        return rng.sample(parts, len(parts))
    split = [piece for part in parts for piece in _split(part)]
    runs: list[list[str]] = []
    for sentence in split:
        # A line that ends in a colon announces what comes next.
        if runs and (_LEANING.match(sentence) or runs[-1][-1].endswith(":")):
            runs[-1].append(_turned(sentence))
        else:
            runs.append([_turned(sentence)])
    last = [runs.pop()] if runs and runs[-1][-1].endswith(":") else []
    if len(runs) > 1:
        runs = [*runs[1:], runs[0]] if rng.random() < 0.5 else rng.sample(runs, len(runs))
    return _fused([sentence for run in (*runs, *last) for sentence in run], rng)


def _split(sentence: str) -> list[str]:
    """One sentence as several, where a joint allows it and both sides are long enough."""
    for pattern, instead in _JOINTS:
        joint = pattern.search(sentence)
        if joint is None or "(" in sentence or '"' in sentence:
            continue
        before, after = sentence[: joint.start()], sentence[joint.end() :]
        if _DEPENDENT.match(before):
            continue
        if min(len(_WORD.findall(before)), len(_WORD.findall(after))) < 4:
            continue
        opening = instead.removeprefix(". ")
        return [f"{before}.", *_split(f"{opening}{after}" if opening else _capital(after))]
    return [sentence]


def _turned(sentence: str) -> str:
    """A condition or a purpose at the other end of its sentence."""
    if fronted := _FRONTED.fullmatch(sentence):
        clause, main, mark = fronted.groups()
        return f"{_capital(main)}, {_small(clause)}{mark}"
    if trailing := _TRAILING.fullmatch(sentence):
        main, clause, mark = trailing.groups()
        first = main.partition(" ")[0].lower()
        if first in _SMALL and not _LEANING.match(main) and not _DEPENDENT.match(main):
            return f"{_capital(clause)}, {_small(main)}{mark}"
    return sentence


def _fused(sentences: list[str], rng: random.Random) -> list[str]:
    """Two short sentences in a row as one, now and then."""
    fused: list[str] = []
    for sentence in sentences:
        short = bool(fused) and len(fused[-1]) + len(sentence) < 160 and fused[-1].endswith(".")
        begins = sentence.partition(" ")[0].lower() in _SMALL and not _LEANING.match(sentence)
        if short and begins and "; e " not in fused[-1] and rng.random() < 0.5:
            fused[-1] = f"{fused[-1][:-1]}; e {_small(sentence)}"
        else:
            fused.append(sentence)
    return fused


def _swapped(text: str, rng: random.Random) -> str:
    """Synonyms for the phrases of the table; a phrase keeps its capital. What is in capitals or code stays."""

    def swap(match: re.Match[str]) -> str:
        found = match.group()
        if found[1:] != found[1:].lower():
            return found
        other = rng.choice(SYNONYMS[found.lower()])
        return _capital(other) if found[0].isupper() else other

    text = _OF_THE.sub("d", _PHRASE.sub(swap, text))
    return _TO_DO.sub(lambda match: rng.choice(_TO_DO_INSTEAD), text)


def _respelled(text: str, rng: random.Random) -> str:
    """Numbers in words as digits and the other way round, from 3 to 99."""

    def digits(match: re.Match[str]) -> str:
        tens, units, alone = match.groups()
        return str(_NUMBERS[tens] + _NUMBERS[units] if tens else _NUMBERS[alone])

    if _NUMBER_WORDS.search(text):
        return _NUMBER_WORDS.sub(digits, text)
    return _DIGITS.sub(lambda match: _SPELLED.get(int(match.group()), match.group()), text)


def _opened(sentence: str, rng: random.Random) -> str:
    """The sentence behind words that say nothing, where it begins with a word that may be written small."""
    first = sentence.partition(" ")[0].lower()
    if first not in _SMALL or _LEANING.match(sentence) or sentence.endswith(":"):
        return sentence
    return f"{rng.choice(_OPENINGS)} {_small(sentence)}"


def _with_asides(source: str, text: str, aim: float, rng: random.Random) -> str:
    """Asides before prepositions, where three words in a row are still the source's, until the aim is met."""
    known = _trigrams(source)
    while trigram_jaccard(source, text) > aim:
        words = list(_WORD.finditer(text))
        starts = {word.start(): i for i, word in enumerate(words)}
        ours = [word.group().lower() for word in words]
        places: list[int] = []
        last = -4
        for gap in _BEFORE_ASIDE.finditer(text):
            i = starts.get(gap.end())
            if i is None or i - last < 4 or i < 2:
                continue
            if tuple(ours[i - 1 : i + 2]) in known and tuple(ours[i - 2 : i + 1]) in known:
                places.append(gap.start())
                last = i
        if not places:
            break
        for place in sorted(rng.sample(places, max(1, len(places) // 3)), reverse=True):
            text = f"{text[:place]}, {rng.choice(_ASIDES)},{text[place:]}"
    return text


def _written(paragraphs: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        "\n".join(parts) if all(_ITEM.match(part) for part in parts) else " ".join(parts)
        for parts in paragraphs
        if parts
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    """The text with a small first letter, if its first word is one that may be written small."""
    first = text.partition(" ")[0]
    return text[:1].lower() + text[1:] if first.lower() in _SMALL | _QUESTION_WORDS else text
