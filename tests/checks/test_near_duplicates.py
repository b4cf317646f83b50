import itertools
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.checks.base import Setting
from studio.checks.near_duplicates import NearDuplicates, NearDuplicatesConfig
from studio.project.evidence import Evidence
from studio.project.settings import ProjectSettings
from studio.text.normalise import Level, normalised
from studio.text.shingles import PlainTexts, Spec
from tests.conftest import snapshot

LONG = (
    "a segunda via da fatura de energia pode ser emitida pelo portal do cliente informando o número da instalação e o "
    "documento do titular da conta sem nenhum custo adicional todos os dias da semana inclusive nos feriados nacionais "
    "e também pelo aplicativo do celular com senha"
)


def run(passages: list[str], **config: object) -> Evidence:
    item = NearDuplicates(NearDuplicatesConfig(**config), Setting(ProjectSettings(name="t")))
    return item.run(snapshot([(f"q{i}", passage) for i, passage in enumerate(passages)]))


def bands(evidence: Evidence) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {
        (a, b): (band, why)
        for a, b, band, why in evidence.edges.select("a_id", "b_id", "band", "rejected_by").iter_rows()
    }


def test_a_typing_error_is_auto_and_a_changed_number_is_held() -> None:
    number = f"{LONG} até 2023"
    found = bands(run([LONG, LONG.replace("instalação", "instalçaão"), number, number.replace("2023", "2024")]))
    assert found["r0", "r1"] == ("auto", None)
    assert found["r2", "r3"] == ("review", "guard_numbers")
    assert bands(run([number, number.replace("2023", "2024")], guard=False))["r0", "r1"] == ("auto", None)


def test_scores_are_the_exact_jaccard_of_the_shingles_named() -> None:
    other = LONG.replace("portal do cliente", "site da empresa")
    edge = run([LONG, other]).edges.row(0, named=True)
    details = json.loads(edge["evidence"])
    assert details["shingles"] == "word-3"
    words = [text.split(" ") for text in (LONG, other)]
    a, b = ({tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in words)
    assert edge["score"] == pytest.approx(len(a & b) / len(a | b))
    assert edge["containment"] == pytest.approx(len(a & b) / min(len(a), len(b)))


def test_texts_equal_at_l2_count_as_one() -> None:
    found = run([LONG, LONG.upper() + ".", LONG.replace("senha", "senhas")])
    assert list(bands(found)) == [("r0", "r2")]


def test_the_same_shingles_in_another_order_are_at_jaccard_one() -> None:
    passage = "um dois tres quatro cinco seis sete oito nove dez onze doze um dois"
    turned = "tres quatro cinco seis sete oito nove dez onze doze um dois tres"
    edge = run([passage, turned]).edges.row(0, named=True)
    assert edge["score"] == 1.0


@pytest.mark.parametrize(
    ("words", "unit"), [(5, "char-4"), (11, "char-4"), (12, "word-2"), (39, "word-2"), (40, "word-3")]
)
def test_the_shorter_text_decides_the_shingles_also_across_a_limit(words: int, unit: str) -> None:
    text = " ".join(f"palavra{i}" for i in range(words))
    edges = run([text, text + " x"], floor=0.3, review=0.3, threshold=0.9).edges
    assert [json.loads(e)["shingles"] for e in edges["evidence"]] == [unit]


def test_no_text_and_no_words_give_no_edges() -> None:
    assert bands(run(["?!", "...", "—"])) == {}
    assert bands(run(["só um texto"])) == {}


word = st.sampled_from(["ana", "bebe", "cafe", "doce", "em", "fita", "gato", "hoje", "isto", "joga"])
passage_lists = st.lists(st.lists(word, min_size=1, max_size=50).map(" ".join), min_size=2, max_size=14)


def brute_force(passages: list[str], config: NearDuplicatesConfig) -> dict[tuple[str, str], float]:
    frame = pl.DataFrame({"t": passages}).select(normalised(pl.col("t"), Level.SURFACE).alias("t")).with_row_index("i")
    frame = frame.unique("t", keep="first", maintain_order=True)
    texts = dict(zip(frame["i"], frame["t"], strict=True))
    counts = dict(zip(frame["i"], PlainTexts(frame["t"]).words()[0].tolist(), strict=True))
    found = {}
    for i, j in itertools.combinations(texts, 2):
        low, high = sorted((counts[i], counts[j]))
        if high > low * 1.25 / config.floor:
            continue
        spec = Spec("char", 4) if low < 12 else Spec("word", 2) if low < 40 else Spec("word", 3)
        sets = PlainTexts(pl.Series([texts[i], texts[j]])).shingles(spec)
        a, b = (set(sets.values[sets.offsets[k] : sets.offsets[k + 1]].tolist()) for k in (0, 1))
        score = len(a & b) / len(a | b)
        if score >= config.floor:
            found[f"r{i}", f"r{j}"] = score
    return found


@given(passage_lists)
def test_the_exact_method_finds_every_pair_a_plain_loop_finds(passages: list[str]) -> None:
    found = run(passages, method="exact")
    scores = {(a, b): s for a, b, s in found.edges.select("a_id", "b_id", "score").iter_rows()}
    expected = brute_force(passages, NearDuplicatesConfig())
    twins = {pair for pair, score in expected.items() if score == 1.0}
    assert {pair: pytest.approx(score) for pair, score in expected.items() if pair not in twins and pair in scores} == {
        pair: score for pair, score in scores.items() if pair not in twins
    }
    missing = {pair for pair in expected if pair not in scores}
    heads = dict.fromkeys(twins)
    assert all(_through_twins(pair, scores, heads) for pair in missing)


def _through_twins(pair: tuple[str, str], scores: dict, twins: dict) -> bool:
    """A text with the very same shingles as an earlier one is represented by it."""
    alike = {pair[0]: {pair[0]}, pair[1]: {pair[1]}}
    for a, b in twins:
        for row in pair:
            if row in (a, b):
                alike[row] |= {a, b}
    return any((x, y) in scores or (y, x) in scores or x == y for x in alike[pair[0]] for y in alike[pair[1]])


def test_minhash_finds_nearly_all_that_the_exact_method_finds() -> None:
    passages = [" ".join(f"w{(i * 7 + k) % 400}" for k in range(45 + i % 9)) for i in range(400)]
    exact = {pair for pair, (band, _) in bands(run(passages, method="exact")).items() if band != "ignore"}
    minhash = {pair for pair, (band, _) in bands(run(passages)).items() if band != "ignore"}
    assert minhash <= exact
    assert len(minhash) >= 0.95 * len(exact) > 100


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="floor <= review <= threshold"):
        NearDuplicatesConfig(threshold=0.5)
