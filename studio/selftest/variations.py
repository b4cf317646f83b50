"""Seeded ways to change a text: some leave what it says (near-duplicates), some change it (hard non-duplicates)."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Mapping

from bm25s.stopwords import STOPWORDS_PORTUGUESE

Variation = Callable[[str, random.Random], str | None]
"""Changes a text, or returns None where the text offers nothing to change."""

_FILLERS = ("de modo geral", "conforme informado", "como já avisado", "em regra", "vale lembrar", "na prática")
_OPENINGS = (
    "Central de Atendimento ao Cidadão, portal oficial de serviços.",
    "Página inicial, Serviços, Perguntas frequentes.",
    "Comunicado aos usuários deste serviço público.",
)
_CLOSINGS = (
    "Esta resposta foi útil? Avalie este artigo.",
    "Todos os direitos reservados ao órgão responsável.",
    "Atualizado pela equipe de conteúdo do portal.",
)
_NAMES = ("Alvorada", "Bonfim", "Cachoeirinha", "Diamantina", "Esperança", "Floresta", "Guarani", "Horizonte")
_AT = ("aos sábados", "para menores", "pelo telefone", "no exterior", "para estrangeiros")
_AFFIRMED = re.compile(r"(?<!não) (é|são|pode|podem|precisa|precisam|deve|devem|aceita|há|vale|inclui|funciona) ")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")


def typos(count: int) -> Variation:
    """Make `count` typing errors, each in another word of five letters or more."""

    def vary(text: str, rng: random.Random) -> str | None:
        words = text.split(" ")
        eligible = [i for i, word in enumerate(words) if word.isalpha() and len(word) >= 5]
        if len(eligible) < count:
            return None
        for i in rng.sample(eligible, count):
            words[i] = _mistyped(words[i], rng)
        return " ".join(words)

    return vary


def _mistyped(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    dropped = word[:at] + word[at + 1 :]
    doubled = word[:at] + word[at] + word[at:]
    return rng.choice([form for form in (swapped, dropped, doubled) if form != word])


def _spacing(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(1, len(words)) if len(words) > 1 else 0
    return "  ".join((" ".join(words[:at]), " ".join(words[at:]))).strip() + "\n"


def _case_and_marks(text: str, rng: random.Random) -> str:
    return rng.choice((text.upper(), text.lower(), f"“{text}”")).rstrip(".?! ")


def without_accents(text: str, rng: random.Random) -> str | None:
    """Drop every accent; None where there is none."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return plain if plain != text else None


def _filler(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    words.insert(rng.randrange(1, max(2, len(words))), f"{rng.choice(_FILLERS)},")
    return " ".join(words)


def _reorder(text: str, rng: random.Random) -> str | None:
    sentences = _SENTENCE_END.split(text)
    if len(sentences) < 2:
        return None
    return " ".join((*sentences[1:], sentences[0]))


def _truncation(text: str, rng: random.Random) -> str | None:
    words = text.split(" ")
    return " ".join(words[: -max(2, len(words) // 10)]) if len(words) >= 20 else None


def _opening(text: str, rng: random.Random) -> str:
    return f"{rng.choice(_OPENINGS)} {text}"


def _closing(text: str, rng: random.Random) -> str:
    return f"{text} {rng.choice(_CLOSINGS)}"


def _chunk(text: str, rng: random.Random) -> str | None:
    sentences = _SENTENCE_END.split(text)
    return " ".join(sentences[: len(sentences) // 2 + len(sentences) % 2]) if len(sentences) >= 2 else None


def _number(text: str, rng: random.Random) -> str | None:
    found = [match for match in re.finditer(r"\d+", text) if not match.group().startswith("0")]
    if not found:
        return None
    match = rng.choice(found)
    low = 10 ** (len(match.group()) - 1)
    other = rng.choice([n for n in (rng.randrange(low, 10 * low) for _ in range(9)) if str(n) != match.group()])
    return f"{text[: match.start()]}{other}{text[match.end() :]}"


def _year(text: str, rng: random.Random) -> str | None:
    years = re.findall(r"\b20\d\d\b", text)
    if not years:
        return None
    year = rng.choice(years)
    return re.sub(rf"\b{year}\b", str(int(year) + rng.choice((-2, -1, 1, 2))), text)


def _name(text: str, rng: random.Random) -> str | None:
    inside = [
        match for match in re.finditer(r"(?<=[a-zà-ú,] )[A-ZÀ-Ú][a-zà-ú]{3,}", text) if match.group() not in _NAMES
    ]
    if not inside:
        return None
    name = rng.choice(inside).group()
    return text.replace(name, rng.choice(_NAMES))


def _exchanged(text: str, rng: random.Random) -> str | None:
    """Two different numbers change places; each stands before another word than the other."""
    found = list(re.finditer(r"\b\d+\b(?= (\w+))", text))
    pairs = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.group() != b.group() and a[1] != b[1]]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return f"{text[: a.start()]}{b.group()}{text[a.end() : b.start()]}{a.group()}{text[b.end() :]}"


def _word_from_elsewhere(text: str, rng: random.Random) -> str | None:
    """A word gives way to another one that the text has somewhere else."""
    found = list(re.finditer(r"\b[a-zà-ú]{6,}\b", text))
    found = [match for match in found if match.group() not in STOPWORDS_PORTUGUESE]
    apart = [(a, b) for a in found for b in found if a.group()[:3] != b.group()[:3]]
    if not apart:
        return None
    a, b = rng.choice(apart)
    return f"{text[: a.start()]}{b.group()}{text[a.end() :]}"


def _negation(text: str, rng: random.Random) -> str | None:
    found = list(_AFFIRMED.finditer(text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]} não{text[match.start() :]}"


def _window(text: str, rng: random.Random) -> str | None:
    """The end of the text, and a page's usual end after it: a window that slid on."""
    words = text.split(" ")
    if len(words) < 48:
        return None
    return " ".join((*words[-34:], *_CLOSINGS[:2], rng.choice(_OPENINGS)))


def _query_function_word(text: str, rng: random.Random) -> str | None:
    """Add or drop an article or preposition that changes nothing."""
    words = text.split(" ")
    small = [i for i, word in enumerate(words) if i and word in ("o", "a", "os", "as", "do", "da")]
    if small:
        at = rng.choice(small)
        return " ".join(words[:at] + words[at + 1 :])
    return None


def _query_place(text: str, rng: random.Random) -> str:
    return f"{text.rstrip('?')} {rng.choice(_AT)}?"


def _query_without(text: str, rng: random.Random) -> str | None:
    found = list(_AFFIRMED.finditer(text)) or list(re.finditer(r"\b(?:com|posso|precisa|tem|pode) ", text))
    if not found:
        return None
    match = rng.choice(found)
    if match.group() == "com ":
        return f"{text[: match.start()]}sem {text[match.end() :]}"
    return f"{text[: match.start()]} não {text[match.start() :].strip()}".replace("  ", " ")


def _query_number(text: str, rng: random.Random) -> str:
    """Another year or law: where the query names none, one is named in neither's favour."""
    return _number(text, rng) or f"{text.rstrip('?')} em {rng.randrange(2015, 2026)}?"


SAME_PAIR: Mapping[str, Variation] = {
    "exact": lambda text, rng: text,
    "spacing": _spacing,
    "case_and_marks": _case_and_marks,
    "accents": without_accents,
}
"""Applied to query and passage: the row is the same pair again."""

SAME_PASSAGE: Mapping[str, Variation] = {
    "typo_1": typos(1),
    "typo_2": typos(2),
    "typo_3": typos(3),
    "filler": _filler,
    "reorder": _reorder,
    "truncation": _truncation,
    "boilerplate_prefix": _opening,
    "boilerplate_suffix": _closing,
}
"""Applied to the passage: it says the same, nearly word for word."""

SAME_QUERY: Mapping[str, Variation] = {
    "query_typo": typos(1),
    "query_function_word": _query_function_word,
}
"""Applied to the query: it asks the same, nearly word for word."""

CONTAINED: Mapping[str, Variation] = {"chunk": _chunk, "window": _window}
"""Applied to the passage: a part of it, or its end and more."""

OTHER_PASSAGE: Mapping[str, Variation] = {
    "numbers_exchanged": _exchanged,
    "word_from_elsewhere": _word_from_elsewhere,
    "number": _number,
    "year": _year,
    "name": _name,
    "negation": _negation,
}
"""Applied to the passage: nearly the same words, another answer. Never a duplicate."""

OTHER_QUERY: Mapping[str, Variation] = {
    "query_number": _query_number,
    "query_name": lambda text, rng: _name(text, rng) or f"{text.rstrip('?')} em {rng.choice(_NAMES)}?",
    "query_negation": _query_without,
    "query_place": _query_place,
}
"""Applied to the query: nearly the same words, another question."""
