import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.checks.base import configured
from studio.checks.leakage import Leakage, LeakageConfig
from studio.project.evidence import EDGES_SCHEMA, Evidence
from studio.project.settings import CurationSettings, ProjectSettings
from studio.text import contained
from studio.text.normalise import Level, normalised
from tests.conftest import snapshot

Row = tuple[str, str, str | None]
PROTECTED = {"test", "validation", "valid", "dev", "eval", "evaluation"}


def table(rows: Sequence[Row]) -> pl.DataFrame:
    return snapshot([{"query": query, "positive": positive, "split": split} for query, positive, split in rows])


def run(rows: Sequence[Row], protected: Sequence[str] | None = None, **config: object) -> Evidence:
    """Run the check after those it needs, on the same rows."""
    project = ProjectSettings(name="t")
    if protected is not None:
        project = project.model_copy(update={"curation": CurationSettings(protected_splits=tuple(protected))})
    found: dict[str, Evidence] = {}
    for item in configured(project, ["leakage"], {"leakage": config}):
        item.needed = {name: found[name] for name in item.needs}
        found[item.name] = item.run(table(rows))
    return found["leakage"]


def edges(evidence: Evidence) -> dict[tuple[str, str], tuple[str, str, str]]:
    """By row and axis: the protected row, the kind and the band."""
    found = {}
    for row in evidence.edges.iter_rows(named=True):
        details = json.loads(row["evidence"])
        key = (row["a_id"], details["axis"])
        assert key not in found
        found[key] = (row["b_id"], details["kind"], row["band"])
    return found


ASKED = "quais documentos preciso para renovar o passaporte"
OTHER = "qual é o horário de atendimento da prefeitura de Olinda"
ANSWER = (
    "Para renovar o passaporte leve a identidade, o título de eleitor, o comprovante de quitação militar e o recibo "
    "da taxa, que pode ser paga em qualquer banco até o dia anterior ao atendimento marcado na polícia federal."
)
ELSE = "A prefeitura atende de segunda a sexta, das oito às catorze horas, no prédio da avenida principal do centro."
THIRD = "O boleto do condomínio vence no quinto dia útil e pode ser pago por aplicativo sem nenhum custo adicional."


def test_the_pair_is_on_both_sides() -> None:
    found = edges(run([(ASKED, ANSWER, "train"), (ASKED.upper() + "?", ANSWER + ".", "test")]))
    assert found == {
        ("r0", "pair"): ("r1", "equal", "auto"),
        ("r0", "query"): ("r1", "equal", "auto"),
        ("r0", "passage"): ("r1", "equal", "review"),
    }


def test_the_edge_goes_from_the_unprotected_row_wherever_it_stands() -> None:
    found = run([(ASKED, ANSWER, "dev"), (ASKED, ELSE, None), (OTHER, THIRD, "train")])
    assert edges(found) == {("r1", "query"): ("r0", "equal", "auto")}
    assert found.edges["role"].to_list() == ["query"]
    assert found.stats == {"protected_rows": 1, "leaking_rows": 1}


def test_a_passage_on_both_sides_is_for_review() -> None:
    found = run([(ASKED, ANSWER, "test"), (OTHER, ANSWER, "train")])
    assert edges(found) == {("r1", "passage"): ("r0", "equal", "review")}
    assert found.edges["role"].to_list() == ["passage"]


def test_a_near_query_is_certain_where_the_guard_allows() -> None:
    typo = ASKED.replace("documentos", "documetnos")
    assert edges(run([(ASKED, ANSWER, "test"), (typo, ELSE, "train")])) == {("r1", "query"): ("r0", "near", "auto")}
    law = "o que diz o artigo 121 do código penal brasileiro"
    held = edges(run([(law, ANSWER, "test"), (law.replace("121", "122"), ELSE, "train")]))
    assert held == {("r1", "query"): ("r0", "possible", "review")}


def test_the_score_of_a_near_leak_is_that_of_the_near_texts() -> None:
    rows = [(ASKED, ANSWER, "test"), (ASKED.replace("documentos", "documetnos"), ELSE, "train")]
    item = configured(ProjectSettings(name="t"), ["near_queries"])[0]
    expected = item.run(table(rows)).edges["score"].to_list()
    assert run(rows).edges["score"].to_list() == expected


def test_a_near_passage_is_certain_and_for_review() -> None:
    typo = ANSWER.replace("comprovante", "comprovnate")
    found = edges(run([(ASKED, ANSWER, "test"), (OTHER, typo, "train")]))
    assert found == {("r1", "passage"): ("r0", "near", "review")}


def test_a_near_pair_is_a_pair() -> None:
    rows = [
        (ASKED, ANSWER, "test"),
        (ASKED.replace("documentos", "documetnos"), ANSWER.replace("banco", "banoc"), "train"),
    ]
    assert edges(run(rows)) == {
        ("r1", "pair"): ("r0", "near", "auto"),
        ("r1", "query"): ("r0", "near", "auto"),
        ("r1", "passage"): ("r0", "near", "review"),
    }


def test_a_passage_inside_a_protected_one_holds_its_answer_and_the_other_way_round() -> None:
    inside = ANSWER.split(", que")[0]
    for rows in (
        [(ASKED, ANSWER, "test"), (OTHER, inside, "train")],
        [(ASKED, inside, "test"), (OTHER, ANSWER, "train")],
    ):
        found = run(rows)
        assert edges(found) == {("r1", "answer"): ("r0", "possible", "review")}
        assert found.edges["role"].to_list() == ["cross"]
        assert found.edges["score"].to_list() == [1.0]


def test_an_answer_leaks_though_some_other_row_has_the_query_too() -> None:
    inside = ANSWER.split(", que")[0]
    rows = [(ASKED, ANSWER, "test"), (OTHER, inside, "train"), (ASKED, inside, "train")]
    assert edges(run(rows))["r1", "answer"] == ("r0", "possible", "review")


def test_every_training_row_with_the_text_leaks_to_the_first_protected_row_with_it() -> None:
    rows = [
        (ASKED, THIRD, "train"),
        (ASKED, ANSWER, "test"),
        (ASKED, ELSE, "test"),
        (ASKED + "?", THIRD + "!", "train"),
    ]
    assert edges(run(rows)) == {("r0", "query"): ("r1", "equal", "auto"), ("r3", "query"): ("r1", "equal", "auto")}


def test_equal_is_told_before_near() -> None:
    typo = ASKED.replace("documentos", "documetnos")
    rows = [(typo, THIRD, "test"), (ASKED, ELSE, "test"), (ASKED, ANSWER, "train"), (ASKED + "s", ANSWER, None)]
    found = edges(run(rows))
    assert found["r2", "query"] == ("r1", "equal", "auto")
    assert found["r3", "query"][1] == "near"
    scores = {row["a_id"]: row["score"] for row in run(rows).edges.iter_rows(named=True)}
    assert scores["r2"] == 1.0


def test_near_is_told_before_possible() -> None:
    law = "o que diz o artigo 121 do código penal brasileiro"
    rows = [
        (law.replace("121", "122"), ELSE, "test"),
        (law.replace("código", "cdóigo"), THIRD, "test"),
        (law, ANSWER, None),
    ]
    assert edges(run(rows)) == {("r2", "query"): ("r1", "near", "auto")}


def test_leaks_within_one_side_are_none() -> None:
    rows = [(ASKED, ANSWER, "train"), (ASKED, ANSWER, None), (OTHER, ELSE, "test"), (OTHER, ELSE, "dev")]
    assert edges(run(rows)) == {}


@pytest.mark.parametrize("splits", [(None, None), ("train", "outro"), ("test", "test"), ("Test", "train")])
def test_without_two_sides_nothing_leaks(splits: tuple[str | None, str | None]) -> None:
    found = run([(ASKED, ANSWER, split) for split in splits])
    assert found.edges.is_empty()
    assert bool(found.notes) == ("test" not in splits)


def test_which_splits_are_protected_is_the_projects_word() -> None:
    rows = [(ASKED, ANSWER, "test"), (ASKED, ELSE, "ouro")]
    assert edges(run(rows)) == {("r1", "query"): ("r0", "equal", "auto")}
    assert edges(run(rows, protected=["ouro"])) == {("r0", "query"): ("r1", "equal", "auto")}
    assert edges(run(rows, protected=["ouro", "test"])) == {}


def test_no_split_may_be_protected() -> None:
    assert run([(ASKED, ANSWER, "test"), (ASKED, ELSE, "train")], protected=[]).edges.is_empty()


@pytest.mark.parametrize(
    "act_on", [(), ("pair",), ("query",), ("passage", "pair"), ("pair", "query", "passage", "answer")]
)
def test_act_on_decides_what_is_auto(act_on: tuple[str, ...]) -> None:
    inside = ANSWER.split(", que")[0]
    rows = [(ASKED, ANSWER, "test"), (ASKED, ANSWER, "train"), (OTHER, inside, "train")]
    found = edges(run(rows, act_on=act_on))
    assert {axis: band for (row, axis), (_, _, band) in found.items() if row == "r1"} == {
        axis: "auto" if axis in act_on else "review" for axis in ("pair", "query", "passage")
    }
    assert found["r2", "answer"] == ("r0", "possible", "review")


@pytest.mark.parametrize("wrong", [{"act_on": ["title"]}, {"acton": ["pair"]}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LeakageConfig(**wrong)


word = st.sampled_from(["lei", "Lei", "prazo", "multa", "Olinda", "olinda", "2023", "2024", "não", "de"])
text = st.lists(word, min_size=1, max_size=6).map(" ".join)
chunk = st.tuples(st.integers(0, 12), st.integers(8, 14)).map(
    lambda cut: " ".join(f"p{i}" for i in range(cut[0], sum(cut)))
)
row_lists = st.lists(
    st.tuples(text, text | chunk, st.sampled_from([None, "train", "train", "test", "dev", "eval"])), max_size=12
)


@settings(deadline=None, max_examples=12)
@given(rows=row_lists, act_on=st.sets(st.sampled_from(["pair", "query", "passage", "answer"])))
def test_whatever_the_rows_the_protected_side_never_gives_way(rows: list[Row], act_on: set[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contained, "_SLOT_BITS", 14)
        found = run(rows, act_on=sorted(act_on))
        assert found.edges.equals(run(rows, act_on=sorted(act_on)).edges)
    leaks = edges(found)
    surface = {
        "query": normal([row[0] for row in rows]),
        "passage": normal([row[1] for row in rows]),
    }
    surface["pair"] = list(zip(surface["query"], surface["passage"], strict=True))
    protected = [row[2] in PROTECTED for row in rows]
    for (a, axis), (b, kind, band) in leaks.items():
        assert not protected[int(a[1:])]
        assert protected[int(b[1:])]
        assert band == ("auto" if axis in act_on and kind != "possible" else "review")
        same = axis != "answer" and surface[axis][int(a[1:])] == surface[axis][int(b[1:])]
        assert (kind == "equal") == same
    for axis, keys in surface.items():
        for i, key in enumerate(keys):
            others = [j for j, other in enumerate(keys) if protected[j] and other == key]
            if not protected[i] and others:
                assert leaks[f"r{i}", axis][:2] == (f"r{others[0]}", "equal")
    assert found.stats["protected_rows"] == sum(protected)
    assert found.stats["leaking_rows"] == len({a for a, _ in leaks})


def normal(texts: list[str]) -> list[str]:
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    return frame.select(normalised(pl.col("t"), Level.SURFACE)).to_series().to_list()


HOSTILE = ["", " ", "\n" * 99, "x" * 200_000, "\x00\x01\x1c 7", '"}{\\ 3', "\u0301", "a b " * 300]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("uma", "só", "test")],
        [("uma", "só", None)],
        [(text, text, "test" if i % 2 else None) for i, text in enumerate(HOSTILE * 2 + [HOSTILE[0]])],
        [(text, text + " x", split) for text in HOSTILE for split in ("dev", "train")],
    ],
)
def test_it_is_pure_and_hostile_texts_do_no_harm(rows: list[Row]) -> None:
    one, other = run(rows), run(rows)
    assert one.edges.equals(other.edges) and (one.stats, one.notes) == (other.stats, other.notes)
    assert one.edges.schema == EDGES_SCHEMA
    assert all(isinstance(json.loads(text), dict) for text in one.edges["evidence"])
    assert json.loads(json.dumps(one.stats)) == one.stats
    assert one.flags.is_empty()


def test_the_order_of_edges_is_stable_and_runs_with_the_rows_of_each_axis() -> None:
    rows = [(ASKED, ANSWER, "test"), *((ASKED, ELSE, "train") for _ in range(40))]
    found = run(rows).edges
    assert found["a_id"].to_list() == [f"r{i}" for i in range(1, 41)]
    assert Leakage.needs == ("near_duplicates", "near_queries", "containment")
