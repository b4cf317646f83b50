import json

from studio.checks.base import Setting
from studio.checks.exact_duplicates import ExactConfig, ExactDuplicates
from studio.project.evidence import Evidence
from studio.project.settings import ProjectSettings
from tests.conftest import snapshot


def run(rows: list, **config: object) -> Evidence:
    return ExactDuplicates(ExactConfig(**config), Setting(ProjectSettings(name="t"))).run(snapshot(rows))


def edges(evidence: Evidence) -> set[tuple[str, str, str, str, str]]:
    return {
        (a, b, role, band, json.loads(level)["level"])
        for a, b, role, band, level in evidence.edges.select("a_id", "b_id", "role", "band", "evidence").iter_rows()
    }


def test_each_repeat_points_to_the_first_at_the_strictest_level() -> None:
    rows = [("Como pagar?", "No banco."), ("Como pagar?", "No banco."), ("como  pagar", "“No banco”")]
    assert edges(run(rows)) == {
        (a, b, role, band, level)
        for a, b, level in (("r0", "r1", "L0"), ("r0", "r2", "L2"))
        for role, band in (("pair", "auto"), ("query", "ignore"), ("passage", "ignore"))
    }


def test_accents_alone_are_for_a_person() -> None:
    found = edges(run([("meu avô", "bisavô"), ("meu avó", "bisavó")]))
    assert {(role, band, level) for _, _, role, band, level in found} == {
        ("pair", "review", "L3"),
        ("query", "review", "L3"),
        ("passage", "review", "L3"),
    }


def test_the_same_passage_under_another_query_is_no_duplicate_pair() -> None:
    found = edges(run([("a b", "p"), ("c d", "p"), ("a b", "z")]))
    assert {(a, b, role) for a, b, role, *_ in found} == {("r0", "r1", "passage"), ("r0", "r2", "query")}
    assert {band for *_, band, _ in found} == {"ignore"}


def test_triplets_with_other_negatives_are_not_the_same_row() -> None:
    one = {"query": "q", "positive": "p"}
    found = edges(run([one | {"negatives": ["n1"]}, one | {"negatives": ["n2"]}, one | {"negatives": ["n1"]}]))
    assert {(a, b) for a, b, role, *_ in found if role == "pair"} == {("r0", "r2")}


def test_numbers_keep_texts_apart() -> None:
    assert edges(run([("lei 8.112", "área de 10² m"), ("lei 8112", "área de 102 m")])) == set()


def test_texts_of_marks_only_are_equal_only_to_themselves() -> None:
    found = edges(run([("?", "p1"), ("!", "p2"), ("?", "p3")]))
    assert {(a, b) for a, b, *_ in found} == {("r0", "r2")}


def test_a_negative_that_answers_the_query_is_flagged_with_its_position() -> None:
    rows = [
        {"query": "q", "positive": "certo", "negatives": ["errado", "Certo."]},
        {"query": "Q?", "positive": "outro certo", "negatives": ["certo"]},
        {"query": "z", "positive": "nada", "negatives": ["certo"]},
    ]
    flags = run(rows).flags.filter(run(rows).flags["reason"] == "negative_is_positive")
    assert flags["row_id"].to_list() == ["r0", "r1"]
    assert [json.loads(e) for e in flags["evidence"]] == [
        {"negatives": [1], "answered_by": ["r0"]},
        {"negatives": [0], "answered_by": ["r0"]},
    ]
    assert set(flags["band"]) == {"auto"}


def test_contradicting_labels_are_for_review_and_never_merged() -> None:
    rows = [{"query": "q", "positive": "p", "label": "1"}, {"query": "q", "positive": "p", "label": "0"}]
    evidence = run(rows)
    assert evidence.flags["reason"].to_list() == ["contradicting_label"] * 2
    assert "pair" not in evidence.edges["role"].to_list()
