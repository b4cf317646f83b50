import polars as pl

from studio.mining.collection import Collection
from studio.mining.relations import judged, relations
from studio.project.evidence import EDGES_SCHEMA, Evidence, StoredEvidence
from studio.project.ledger import Action, Target
from studio.project.verdicts import Verdict, judge

ROWS = [
    ("como pagar a conta", "pague no banco"),
    ("onde pago a fatura", "pague no caixa do banco"),
    ("qual o prazo", "dez dias"),
    ("qual o prazo", "dez dias corridos"),
    ("quando vence", "dez dias"),
]


SPLITS = ["train", "test", None, None, "leaked"]


def stored(check: str, role: str, *edges: tuple[str, str, float, str, str | None]) -> StoredEvidence:
    frame = pl.DataFrame(
        [
            {"a_id": a, "b_id": b, "role": role, "check": check, "version": "1", "score": score, "band": band,
             "rejected_by": held, "evidence": "{}"}
            for a, b, score, band, held in edges
        ],
        schema=EDGES_SCHEMA,
    )  # fmt: skip
    return StoredEvidence(check, "1", {}, "", 0.0, Evidence(edges=frame))


def found(project, *evidence: StoredEvidence) -> set[tuple[str, str, str, bool, str | None]]:
    curated = project.curated()
    collection = Collection.of(project, curated)
    table = relations(collection, evidence, curated)
    queries, passages = collection.queries["text"], collection.passages["text"]
    return {
        (queries[line["query"]], passages[line["passage"]], line["reason"], line["certain"], line["held_by"])
        for line in table.iter_rows(named=True)
    }


def test_like_passages_are_crossed_with_each_others_queries(make_project) -> None:
    edge = stored("near_duplicates", "passage", ("r0", "r1", 0.9, "auto", None))
    shared = {line for line in found(make_project(ROWS)) if line[2] == "shared_answer"}
    assert found(make_project(ROWS), edge) - shared == {
        ("como pagar a conta", "pague no caixa do banco", "near_passage", True, None),
        ("onde pago a fatura", "pague no banco", "near_passage", True, None),
    }


def test_like_queries_are_crossed_with_each_others_passages_and_a_guard_is_named(make_project) -> None:
    edge = stored("near_queries", "query", ("r0", "r2", 0.7, "review", "guard_words"))
    near = {line for line in found(make_project(ROWS), edge) if line[2] == "near_query"}
    assert near == {
        ("como pagar a conta", "dez dias", "near_query", False, "words"),
        ("como pagar a conta", "dez dias corridos", "near_query", False, "words"),
        ("qual o prazo", "pague no banco", "near_query", False, "words"),
    }


def test_a_query_that_shares_an_answer_may_have_the_others_of_it(make_project) -> None:
    assert found(make_project(ROWS)) == {("quando vence", "dez dias corridos", "shared_answer", False, None)}


def test_known_positives_and_ignored_edges_are_no_relations(make_project) -> None:
    edges = stored("near_duplicates", "passage", ("r2", "r3", 0.9, "auto", None), ("r0", "r1", 0.55, "ignore", None))
    lines = found(make_project(ROWS), edges)
    assert lines == {
        ("quando vence", "dez dias corridos", "near_passage", True, None),
        ("quando vence", "dez dias corridos", "shared_answer", False, None),
    }


def test_edges_of_a_removed_row_go_to_the_row_that_stands_for_it(make_project) -> None:
    project = make_project([*ROWS, ("como eu pago a conta", "pague no  banco")])
    project.ledger.append(Action.DROP, [Target("r5", "r0")], actor="rule:x@1", reason="near_duplicate_pair")
    lines = found(project, stored("near_duplicates", "passage", ("r5", "r1", 0.9, "auto", None)))
    assert ("como pagar a conta", "pague no caixa do banco", "near_passage", True, None) in lines


def test_a_collection_knows_each_text_once_and_which_rows_train(make_project) -> None:
    rows = [{"query": q, "positive": p, "split": s} for (q, p), s in zip(ROWS, SPLITS, strict=True)]
    collection = Collection.of(make_project(rows))
    assert collection.queries.select("text", "rows").rows() == [
        ("como pagar a conta", 1), ("onde pago a fatura", 0), ("qual o prazo", 2), ("quando vence", 0),
    ]  # fmt: skip
    assert collection.passages.filter("evaluates")["text"].to_list() == ["pague no caixa do banco"]
    assert collection.training["row_id"].to_list() == ["r0", "r2", "r3"]


def test_verdicts_are_told_by_text_not_by_row(make_project) -> None:
    project = make_project(ROWS)
    judge(project.ledger, "r4", "r0", Verdict.DOES_NOT)
    judge(project.ledger, "r2", "r4", Verdict.ALSO_ANSWERS)
    curated = project.curated()
    table = judged(Collection.of(project, curated), project.ledger.log(), project.ledger.targets(), curated)
    assert table.rows() == [(3, 0, "does_not", True)], "the passage of r4 is the query's own by r2"
