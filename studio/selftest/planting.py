"""Plant faults into clean rows: each planted row is written down in an answer key with its kind and its source."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from studio.prompts.presets import get_preset
from studio.selftest.marks import MARKS
from studio.selftest.rows import Planted, Row, Truth
from studio.selftest.variations import (
    CONTAINED,
    OTHER_PASSAGE,
    OTHER_QUERY,
    SAME_PAIR,
    SAME_PASSAGE,
    SAME_QUERY,
    Variation,
    typos,
)

_PLACES = ("no polo Norte", "no polo Sul", "na unidade Centro", "no posto da rodoviária", "na sede rural")
_ASKING = ("Uma dúvida:", "Por gentileza,", "Gostaria de saber:", "Bom dia,", "Alguém sabe dizer:")
_BOILERPLATE = (
    "Consulte sempre o regulamento completo disponível nesta página antes de fazer o seu pedido.",
    "Este conteúdo tem caráter informativo e não substitui a orientação dos nossos atendentes.",
)
_FAMILY = 6
_SENTENCE_SHARE = 0.008
"""Of the rows, those that get one sentence: enough to be boilerplate by the default settings."""
_SLOTS = (
    (
        "Qual o horário da agência {name}?",
        "A agência {name} atende de segunda a sexta, das {a}h às {b}h, e aos sábados até as {c}h, com senha "
        "retirada no totem da entrada e prioridade para idosos e gestantes.",
    ),
    (
        "Quanto custa a segunda via do documento {name}?",
        "A segunda via do documento {name} custa R$ {a},{b}0, é emitida em até {c} dias úteis e pode ser paga "
        "por boleto ou no caixa do próprio atendimento, mediante protocolo.",
    ),
    (
        "Qual o prazo do edital {name}?",
        "O edital {name} recebe inscrições até o dia {a} do mês de {b}, com resultado preliminar em {c} dias e "
        "recurso no prazo indicado na página do processo seletivo.",
    ),
)
_SLOT_NAMES = ("Araucária", "Beija-Flor", "Canela", "Dourado", "Embaúba", "Figueira", "Gralha", "Hibisco")


_Make = Callable[[Row, random.Random], Row | None]
"""Makes a planted row from a clean one, or None where that one offers no place for the fault."""


@dataclass(frozen=True)
class _Kind:
    """A kind of fault: rows made from another row by `make`."""

    name: str
    truth: Truth
    make: _Make
    splits: tuple[str, ...] = ("train", "test")
    """Of which splits the source may be; what is made from it is always a training row."""


def plant(
    rows: Sequence[Row], alternates: Sequence[tuple[Row, str]], seed: int, per_kind: int, population: int = 0
) -> tuple[list[Row], list[Planted]]:
    """Return the rows with `per_kind` faults of each kind planted at random places, and the answer key.

    Each source row serves one fault at most, so that no planted row resembles another planted row. Rows whose
    passage several queries share serve for none. Faults of single rows (half as many a kind) are put into the rows
    themselves.

    Args:
        rows: clean rows; no two passages nearly the same, apart from those that are the same text.
        alternates: independent rows that also answer the query of the row with the given id.
        seed: decides everything that is random.
        per_kind: planted rows a kind; fewer where the rows offer no more.
        population: rows the planted ones will stand among, if more than `rows`.
    """
    rng = random.Random(seed)
    shared = _shared(rows)
    sources = [row for row in rows if row.id not in shared]
    rng.shuffle(sources)
    planted: list[Row] = []
    key: list[Planted] = []
    used: set[str] = set()
    changed: dict[str, Row] = {}
    # A row that an alternate was written for is not changed in place: the key's line is about both texts.
    answered = {row_id for _, row_id in alternates}
    for name, make, count in _in_place(per_kind, max(population, len(rows))):
        free = (row for row in sources if row.id not in used | answered and row.split == "train")
        for source, row in _made(make, free, rng, count):
            used.add(source.id)
            changed[source.id] = row
            key.append(Planted(name, Truth.MARKED, "", row.id))
    for kind in _kinds():
        free = (row for row in sources if row.id not in used and row.split in kind.splits)
        for source, row in _made(kind.make, free, rng, per_kind):
            used.add(source.id)
            planted.append(row)
            key.append(Planted(kind.name, kind.truth, source.id, row.id))
    for row, source_id in alternates:
        planted.append(row)
        key.append(Planted("also_answers", Truth.ALSO_ANSWERS, source_id, row.id))
    for family in _template_families(rng):
        planted += family
        key += [
            Planted("template_slots", truth, one.id, other.id)
            for i, one in enumerate(family)
            for other in family[i + 1 :]
            for truth in (Truth.DISTINCT, Truth.DISTINCT_QUERY)
        ]
        key += [Planted("template_family", Truth.MARKED, "", row.id) for row in family]
    everything = [*(changed.get(row.id, row) for row in rows), *planted]
    rng.shuffle(everything)
    return everything, key


def _made(make: _Make, sources: Iterator[Row], rng: random.Random, count: int) -> list[tuple[Row, Row]]:
    """The first `count` sources that offer a place for the fault, with the row made from each."""
    made: list[tuple[Row, Row]] = []
    for source in sources:
        if len(made) == count:
            break
        row = make(source, rng)
        if row is not None:
            made.append((source, row))
    return made


def _shared(rows: Sequence[Row]) -> set[str]:
    """Ids of rows whose passage other rows have too."""
    counts = Counter(row.passage for row in rows)
    return {row.id for row in rows if counts[row.passage] > 1}


def _in_place(per_kind: int, rows: int) -> Iterator[tuple[str, _Make, int]]:
    """Faults that are put into a row itself: name, how, and into how many rows."""
    for mark in MARKS:
        yield mark.kind, mark.change, max(1, per_kind // 2)
    for sentence in _BOILERPLATE:
        yield "shared_sentence", _with_sentence(sentence), max(_FAMILY, math.ceil(_SENTENCE_SHARE * rows))


def _kinds() -> Iterator[_Kind]:
    groups: tuple[tuple[Truth, Mapping[str, Variation], type[_FromPassage | _FromQuery]], ...] = (
        (Truth.DISTINCT, OTHER_PASSAGE, _FromPassage),
        (Truth.DISTINCT_QUERY, OTHER_QUERY, _FromQuery),
        (Truth.SAME_PAIR, SAME_PAIR, _FromPassage),
        (Truth.SAME_QUERY, SAME_QUERY, _FromQuery),
        (Truth.SAME_PASSAGE, SAME_PASSAGE, _FromPassage),
        (Truth.CONTAINED, CONTAINED, _FromPassage),
    )
    yield _Kind("leaked_pair", Truth.LEAKED, _leaked, splits=("test",))
    for truth, variations, maker in groups:
        for name, variation in variations.items():
            yield _Kind(name, truth, maker(name, truth, variation))
    yield _Kind("query_already_prompted", Truth.PROMPTED, _Prompted("query"))
    yield _Kind("passage_has_query_prompt", Truth.PROMPTED, _Prompted("passage"))


@dataclass(frozen=True)
class _FromPassage:
    """A row with another form of the passage, and a query that fits what became of it."""

    name: str
    truth: Truth
    vary: Variation

    def __call__(self, source: Row, rng: random.Random) -> Row | None:
        passage = self.vary(source.passage, rng)
        if passage is None or (passage == source.passage and self.name != "exact"):
            return None
        if self.truth is Truth.SAME_PAIR:
            query = self.vary(source.query, rng) or source.query
        elif self.truth is Truth.DISTINCT:
            query = f"{source.query.rstrip('?')} {rng.choice(_PLACES)}?"
        else:
            query = _asked(source.query, rng)
        return replace(source, id=f"{source.id}+{self.name}", split="train", query=query, passage=passage)


@dataclass(frozen=True)
class _FromQuery:
    """A row with another form of the query, on the same passage: several queries may share one."""

    name: str
    truth: Truth
    vary: Variation

    def __call__(self, source: Row, rng: random.Random) -> Row | None:
        query = self.vary(source.query, rng)
        if query is None or query == source.query:
            return None
        return replace(source, id=f"{source.id}+{self.name}", split="train", query=query)


@dataclass(frozen=True)
class _Prompted:
    """A row whose query or passage already carries a prompt."""

    side: str

    def __call__(self, source: Row, rng: random.Random) -> Row | None:
        prompts = (get_preset("web_search_query").query, "Instruct: Retrieve the answer\nQuery: ", "query: ")
        prompt = rng.choice(prompts)
        query = _asked(source.query, rng)
        return replace(
            source,
            id=f"{source.id}+prompted_{self.side}",
            split="train",
            query=prompt + query if self.side == "query" else query,
            passage=prompt + source.passage if self.side == "passage" else source.passage,
        )


def _asked(query: str, rng: random.Random) -> str:
    """The same question, asked politely."""
    return f"{rng.choice(_ASKING)} {query[:1].lower()}{query[1:]}"


def _leaked(source: Row, rng: random.Random) -> Row | None:
    """A training row that repeats a test row with a typing error in each text."""
    query, passage = typos(1)(source.query, rng), typos(1)(source.passage, rng)
    if query is None or passage is None:
        return None
    return replace(source, id=f"{source.id}+leaked", split="train", query=query, passage=passage)


def _with_sentence(sentence: str) -> _Make:
    def make(source: Row, rng: random.Random) -> Row | None:
        return replace(source, passage=f"{source.passage} {sentence}")

    return make


def _template_families(rng: random.Random) -> Iterator[list[Row]]:
    """Answers from one template: nearly the same words, other slots, other answers."""
    for number, (query, passage) in enumerate(_SLOTS, 1):
        names = rng.sample(_SLOT_NAMES, _FAMILY)
        yield [
            Row(
                f"template-{number}-{i}",
                "template",
                f"template/{number}",
                "train",
                query.format(name=name),
                passage.format(name=name, a=rng.randrange(7, 11), b=rng.randrange(3, 9) * 2 + 1, c=10 + i),
            )
            for i, name in enumerate(names, 1)
        ]
