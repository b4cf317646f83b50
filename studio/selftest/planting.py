"""Plant faults into clean rows: each planted row is written down in an answer key with its kind and its source."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from studio.prompts.presets import get_preset
from studio.selftest.variations import CONTAINED, OTHER_PASSAGE, SAME_PAIR, SAME_PASSAGE, Variation

_PLACES = ("no polo Norte", "no polo Sul", "na unidade Centro", "no posto da rodoviária", "na sede rural")
_ASKING = ("Uma dúvida:", "Por gentileza,", "Gostaria de saber:", "Bom dia,", "Alguém sabe dizer:")
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


class Truth(StrEnum):
    """What is true of a planted row and its source."""

    SAME_PAIR = "same_pair"
    SAME_PASSAGE = "same_passage"
    CONTAINED = "contained"
    DISTINCT = "distinct"
    ALSO_ANSWERS = "also_answers"
    PROMPTED = "prompted"


@dataclass(frozen=True)
class Row:
    """A row of the sample: `doc_id` is its source document, `split` train or test."""

    id: str
    field: str
    doc_id: str
    split: str
    query: str
    passage: str


@dataclass(frozen=True)
class Planted:
    """One line of the answer key: `b` was made from `a` (`a` is empty where a row stands for itself)."""

    kind: str
    truth: Truth
    a: str
    b: str


def plant(
    rows: Sequence[Row], alternates: Sequence[tuple[Row, str]], seed: int, per_kind: int
) -> tuple[list[Row], list[Planted]]:
    """Return the rows with `per_kind` faults of each kind planted at random places, and the answer key.

    Each source row serves one fault at most, so that no planted row resembles another planted row. Rows whose
    passage several queries share serve for none.

    Args:
        rows: clean rows; no two passages nearly the same, apart from those that are the same text.
        alternates: independent rows that also answer the query of the row with the given id.
        seed: decides everything that is random.
        per_kind: planted rows a kind; fewer where the rows offer no more.
    """
    rng = random.Random(seed)
    shared = _shared_passages(rows)
    sources = [row for row in rows if row.passage not in shared]
    rng.shuffle(sources)
    planted, key = [], []
    kinds: list[tuple[str, Truth, _Maker | _Prompted]] = [*_text_kinds(), *_prompt_kinds()]
    used: set[str] = set()
    for kind, truth, make in kinds:
        made = 0
        for source in sources:
            if made == per_kind:
                break
            if source.id in used:
                continue
            row = make(source, rng)
            if row is not None:
                used.add(source.id)
                made += 1
                planted.append(row)
                key.append(Planted(kind, truth, source.id, row.id))
    for row, answered in alternates:
        planted.append(row)
        key.append(Planted("also_answers", Truth.ALSO_ANSWERS, answered, row.id))
    for family in _template_families(rng):
        planted += family
        key += [
            Planted("template_slots", Truth.DISTINCT, one.id, other.id)
            for i, one in enumerate(family)
            for other in family[i + 1 :]
        ]
    everything = [*rows, *planted]
    rng.shuffle(everything)
    return everything, key


def _shared_passages(rows: Sequence[Row]) -> set[str]:
    counts = Counter(row.passage for row in rows)
    return {passage for passage, count in counts.items() if count > 1}


def _text_kinds() -> Iterator[tuple[str, Truth, _Maker]]:
    groups: tuple[tuple[Truth, Mapping[str, Variation]], ...] = (
        (Truth.DISTINCT, OTHER_PASSAGE),
        (Truth.SAME_PAIR, SAME_PAIR),
        (Truth.SAME_PASSAGE, SAME_PASSAGE),
        (Truth.CONTAINED, CONTAINED),
    )
    for truth, variations in groups:
        for kind, variation in variations.items():
            yield kind, truth, _Maker(kind, truth, variation)


@dataclass(frozen=True)
class _Maker:
    kind: str
    truth: Truth
    variation: Variation

    def __call__(self, source: Row, rng: random.Random) -> Row | None:
        passage = self.variation(source.passage, rng)
        if passage is None or (passage == source.passage and self.kind != "exact"):
            return None
        if self.truth is Truth.SAME_PAIR:
            query = self.variation(source.query, rng) or source.query
        elif self.truth is Truth.DISTINCT:
            query = f"{source.query.rstrip('?')} {rng.choice(_PLACES)}?"
        else:
            query = f"{rng.choice(_ASKING)} {source.query[0].lower()}{source.query[1:]}"
        return Row(f"{source.id}+{self.kind}", source.field, source.doc_id, "train", query, passage)


def _prompt_kinds() -> Iterator[tuple[str, Truth, _Prompted]]:
    yield "query_already_prompted", Truth.PROMPTED, _Prompted("query")
    yield "passage_has_query_prompt", Truth.PROMPTED, _Prompted("passage")


@dataclass(frozen=True)
class _Prompted:
    side: str

    def __call__(self, source: Row, rng: random.Random) -> Row | None:
        prompts = (get_preset("web_search_query").query, "Instruct: Retrieve the answer\nQuery: ", "query: ")
        prompt = rng.choice(prompts)
        query = f"{rng.choice(_ASKING)} {source.query[0].lower()}{source.query[1:]}"
        return Row(
            f"{source.id}+prompted_{self.side}",
            source.field,
            source.doc_id,
            "train",
            prompt + query if self.side == "query" else query,
            prompt + source.passage if self.side == "passage" else source.passage,
        )


def _template_families(rng: random.Random) -> Iterator[list[Row]]:
    """Answers from one template: nearly the same words, other slots, other answers."""
    for number, (query, passage) in enumerate(_SLOTS, 1):
        names = rng.sample(_SLOT_NAMES, 6)
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
