import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import Setting
from studio.checks.containment import Containment, ContainmentConfig
from studio.project.evidence import EDGES_SCHEMA, Evidence
from studio.project.settings import ProjectSettings
from tests.conftest import snapshot

SMALL = "o passaporte fica pronto em seis dias úteis e só o próprio dono pode retirá-lo na polícia federal"
LARGE = (
    "Para viajar ao exterior é preciso agendar o atendimento. O passaporte fica pronto em seis dias úteis e só o "
    "próprio dono pode retirá-lo na Polícia Federal, com documento de identidade e comprovante de pagamento da taxa."
)
BOOK = [f"palavra{i}" for i in range(400)]


def run(rows: Sequence[str | tuple[str, str]], **config: object) -> Evidence:
    item = Containment(ContainmentConfig(**config), Setting(ProjectSettings(name="t")))
    return item.run(snapshot([(f"q{i}", row) if isinstance(row, str) else row for i, row in enumerate(rows)]))


def edges(evidence: Evidence) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (row["a_id"], row["b_id"]): {**row, **json.loads(row["evidence"])}
        for row in evidence.edges.iter_rows(named=True)
    }


def window(start: int, stop: int) -> str:
    return " ".join(BOOK[start:stop])


def test_a_chunk_inside_a_chunk_is_a_false_negative_of_another_query() -> None:
    found = edges(run([LARGE, SMALL]))
    assert list(found) == [("r1", "r0")]
    edge = found["r1", "r0"]
    assert (edge["kind"], edge["case"], edge["band"], edge["rejected_by"]) == (
        "inside",
        "false_negative",
        "review",
        None,
    )
    assert edge["words"] == [19, 38]
    assert edge["role"] == "passage"
    assert edge["score"] == edge["containment"] == 1.0


def test_one_query_may_have_both_as_positives() -> None:
    question = "Quem pode retirar o passaporte?"
    for asked in (question, question.upper().rstrip("?")):
        edge = edges(run([(question, SMALL), (asked, LARGE)]))["r0", "r1"]
        assert (edge["case"], edge["band"], edge["rejected_by"]) == ("several_positives", "ignore", "several_positives")
    edge = edges(run([(question, SMALL), ("Quem pode tirar o passaporte?", LARGE)]))["r0", "r1"]
    assert (edge["case"], edge["band"], edge["rejected_by"]) == ("false_negative", "review", None)


def test_it_is_enough_that_some_rows_of_both_passages_share_a_query() -> None:
    rows = [("quando?", SMALL), ("onde?", LARGE), ("quem retira?", LARGE), ("quem retira?", SMALL)]
    found = edges(run(rows))
    assert list(found) == [("r0", "r1")]
    assert found["r0", "r1"]["case"] == "several_positives"


def test_it_is_enough_that_a_text_equal_at_l2_has_the_query() -> None:
    rows = [("quando?", SMALL), ("onde?", LARGE), ("quem retira?", LARGE.upper()), ("quem retira?", SMALL)]
    assert edges(run(rows))["r0", "r1"]["case"] == "several_positives"


def test_the_share_of_shingles_decides() -> None:
    words = SMALL.split()
    other = " ".join([*words[:-1], "militar"])
    found = edges(run([LARGE, other]))
    assert found["r1", "r0"]["containment"] == pytest.approx(14 / 15)
    assert edges(run([LARGE, other], threshold=0.95)) == {}
    assert edges(run([LARGE, other.replace("militar", "militar sem demora")], threshold=0.85)).keys() == set()


def test_short_passages_are_not_looked_for() -> None:
    seven = " ".join(SMALL.split()[:7])
    assert edges(run([LARGE, seven])) == {}
    assert edges(run([LARGE, seven], min_words=7)).keys() == {("r1", "r0")}


def test_near_duplicates_are_left_to_their_check() -> None:
    assert edges(run([SMALL, SMALL + " sempre"])) == {}
    assert edges(run([SMALL, SMALL + " sempre"], max_jaccard=1)).keys() == {("r0", "r1")}
    assert edges(run([SMALL, SMALL.upper() + "."], max_jaccard=1)) == {}


def test_sliding_windows_overlap_from_the_earlier_to_the_later() -> None:
    found = edges(run([window(60, 160), window(0, 100), window(120, 220), window(300, 400)]))
    assert {pair: (edge["kind"], edge["containment"]) for pair, edge in found.items()} == {
        ("r1", "r0"): ("overlap", 0.4),
        ("r0", "r2"): ("overlap", 0.4),
    }
    assert {edge["case"] for edge in found.values()} == {"false_negative"}
    assert edges(run([("q", window(0, 100)), ("q", window(60, 160))]))["r0", "r1"]["case"] == "several_positives"


def test_windows_share_at_least_overlap_words() -> None:
    assert edges(run([window(0, 100), window(71, 171)])) == {}
    assert edges(run([window(0, 100), window(70, 170)])).keys() == {("r0", "r1")}
    assert edges(run([window(0, 100), window(71, 171)], overlap_words=29)).keys() == {("r0", "r1")}


def test_windows_that_are_near_duplicates_are_left_to_their_check() -> None:
    assert edges(run([window(0, 100), window(2, 102)])) == {}


def test_a_pair_has_one_edge_though_it_is_inside_and_overlaps() -> None:
    inner = [*BOOK[70:100], *BOOK[:30]]
    found = edges(run([" ".join(inner), " ".join([*BOOK[:100], *inner])], max_jaccard=1))
    assert len(found) == len({frozenset(pair) for pair in found})


def test_shingles_that_very_many_passages_hold_are_not_followed_and_a_note_says_so() -> None:
    parts = [f"{window(10 * i, 10 * i + 10)} {SMALL}" for i in range(8)]
    found = run([SMALL, *parts])
    assert len(edges(found)) == 8
    assert found.notes == ()
    capped = run([SMALL, *parts], max_holders=4)
    assert edges(capped) == {}
    assert "common shingles were not followed" in capped.notes[0]


word = st.sampled_from(["ana", "bebe", "cafe", "doce"])
chunks = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=7)


@example(cuts=[(0, 23), (1, 23)], asked=["a"] * 7)
@settings(deadline=None, max_examples=25)
@given(cuts=chunks, asked=st.lists(st.sampled_from(["a", "b", "c"]), min_size=7, max_size=7))
def test_edges_are_those_of_a_plain_loop(cuts: list[tuple[int, int]], asked: list[str]) -> None:
    texts = [BOOK[start : start + size] for start, size in cuts]
    rows = [(query, " ".join(words)) for query, words in zip(asked, texts, strict=False)]
    first = {tuple(words): i for i, words in reversed(list(enumerate(texts))) if len(words) >= 8}
    expected = {}
    for i, j in itertools.permutations(first.values(), 2):
        a, b = ({tuple(texts[k][n : n + 5]) for n in range(len(texts[k]) - 4)} for k in (i, j))
        end = [n for n in range(10, min(len(texts[i]), len(texts[j]))) if texts[i][-n:] == texts[j][:n]]
        apart = len(a & b) < 0.9 * len(a | b)
        inside = (len(a), j) < (len(b), i) and len(a & b) >= 0.9 * len(a) and apart
        both = {q for q, words in zip(asked, texts, strict=False) if words == texts[i]} & {
            q for q, words in zip(asked, texts, strict=False) if words == texts[j]
        }
        case = "several_positives" if both else "false_negative"
        if inside:
            expected[f"r{i}", f"r{j}"] = ("inside", case)
        elif end and apart:
            expected[f"r{i}", f"r{j}"] = ("overlap", case)
    found = edges(run(rows, overlap_words=10, max_jaccard=0.9))
    assert {pair: (edge["kind"], edge["case"]) for pair, edge in found.items()} == expected
    assert list(found) == sorted(found)


HOSTILE = [
    "",
    " ",
    "\n" * 99,
    "x" * 200_000,
    "a b " * 500,
    "b a " * 500,
    "\x00\x01\x1c" * 9,
    "\u0301" * 50,
    '"}{\\ ' * 20,
]


@pytest.mark.parametrize("mode", ["plain", "compiled"])
@pytest.mark.parametrize(
    "rows", [[], [LARGE], HOSTILE, [*HOSTILE, *(f"{text} {LARGE}" for text in HOSTILE), LARGE, SMALL]]
)
def test_it_is_pure_and_hostile_passages_do_no_harm(
    rows: list[str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARRIER_KERNELS", mode)
    one, other = run(rows), run(rows)
    assert one.edges.equals(other.edges) and (one.stats, one.notes) == (other.stats, other.notes)
    assert one.edges.schema == EDGES_SCHEMA
    assert all(isinstance(json.loads(text), dict) for text in one.edges["evidence"])
    assert (one.edges["a_id"] != one.edges["b_id"]).all()
    assert one.flags.is_empty()
    assert not one.edges["band"].is_in(["auto"]).any()


def test_both_kinds_of_kernels_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        LARGE,
        SMALL,
        window(0, 90),
        window(50, 150),
        window(60, 80),
        SMALL.upper(),
        "Ação " * 20,
        "ac\u0327a\u0303o² " * 12,
    ]
    found = {}
    for mode in ("plain", "compiled"):
        monkeypatch.setenv("HARRIER_KERNELS", mode)
        found[mode] = run(rows).edges
    assert found["plain"].equals(found["compiled"]) and found["plain"].height == 4


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"size": 1}, {"min_words": 1}, {"overlap_words": 7}, {"holders": 9}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ContainmentConfig(**wrong)
