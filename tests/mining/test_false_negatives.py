import json
from pathlib import Path

import polars as pl
import pytest

from studio.errors import ConfigError, ProjectError
from studio.mining.collection import Collection
from studio.mining.exposing import conflicts_of, exposures, simulated
from studio.mining.false_negatives import CANDIDATE_FIELDS, FAR, NAME, configured, rows_key, search
from studio.mining.judging import QUEUE_SCHEMA, queue
from studio.mining.retrieval import embeddings_folder, retrieve, retrieve_lexically, retrievers_of
from studio.mining.standing import standing
from studio.mining.summary import summary
from studio.mining.views import look, support
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ProjectSettings, RetrieverSettings
from studio.project.verdicts import State, Verdict, judge
from studio.sample import sample_data
from tests.conftest import snapshot


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """120 rows of the sample, searched once; tests that decide work on a copy."""
    lines = [json.loads(line) for line in (sample_data() / "pairs.jsonl").read_text("utf-8").splitlines()]
    picked = [line for line in lines if line["field"] in ("bank", "library")][:120]
    rows = [
        {"query": line["query"], "positive": line["passage"], "split": line["split"], "group": line["doc_id"]}
        for line in picked
    ]
    project = Project.create(tmp_path_factory.mktemp("mining") / "p", snapshot(rows), ProjectSettings(name="searched"))
    search(project, configured(project.settings))
    return project


@pytest.fixture
def project(searched: Project, tmp_path: Path) -> Project:
    import shutil

    shutil.copytree(searched.root, tmp_path / "copy")
    return Project.open(tmp_path / "copy")


def lines_of(project: Project, **options: object) -> pl.DataFrame:
    curated = project.curated()
    return queue(project, project.evidence.load(NAME), curated, Collection.of(project, curated), **options).lines


def test_the_search_names_each_candidate_with_scores_ranks_and_reasons(searched: Project) -> None:
    edges = searched.evidence.load(NAME).evidence.edges
    assert edges.height > 50
    assert set(edges["role"]) == {"cross"} and set(edges["band"]) <= {"auto", "review", "ignore"}
    first = json.loads(edges["evidence"][0])
    assert {"own_id", *CANDIDATE_FIELDS} - set(first) == {"second_rank", "cross", "cross_own"}
    assert first["reasons"]


def test_what_the_search_says_is_what_the_vectors_say(searched: Project) -> None:
    collection = Collection.of(searched)
    found = retrieve(collection, retrievers_of(searched.settings)[0], embeddings_folder(searched), 50)
    scores = found.query_vectors @ found.passage_vectors.T
    lines = lines_of(searched)
    for line in lines.head(100).iter_rows(named=True):
        own = max(scores[line["query"], p] for q, p in collection.own.iter_rows() if q == line["query"])
        score = scores[line["query"], line["passage"]]
        assert line["score"] == pytest.approx(score, abs=1e-5)
        assert line["own"] == pytest.approx(own, abs=1e-5)
        assert line["margin"] == pytest.approx((score - own) / abs(own), abs=1e-4)
        if line["rank"] is not None:
            assert line["rank"] == 1 + (scores[line["query"]] > score + 1e-6).sum()
    for query, passage, _, rank in found.own.iter_rows():
        assert rank == 1 + (scores[query] > scores[query, passage] + 1e-6).sum()


def test_only_training_rows_are_candidates_and_no_known_positive_is(searched: Project) -> None:
    collection = Collection.of(searched)
    lines = lines_of(searched)
    training = set(collection.training["query"]), set(collection.training["passage"])
    assert set(lines["query"]) <= training[0] and set(lines["passage"]) <= training[1]
    assert lines.join(collection.own, on=["query", "passage"]).is_empty()


@pytest.mark.slow
def test_every_passage_within_the_margin_is_a_candidate_unless_it_is_unlikely(searched: Project) -> None:
    collection = Collection.of(searched)
    settings = configured(searched.settings, {"most": 10_000, "depth": 200})
    found = retrieve(collection, retrievers_of(searched.settings)[0], embeddings_folder(searched), 200)
    stored = search(searched, settings)
    try:
        pairs = collection.numbered(stored.evidence.edges, "a_id", "b_id").select("query", "passage")
        seen = set(pairs.iter_rows())
        scores = found.query_vectors @ found.passage_vectors.T
        own = {}
        for query, passage in collection.own.iter_rows():
            own[query] = max(own.get(query, -1.0), scores[query, passage])
        known = set(collection.own.iter_rows())
        for query in set(collection.training["query"]):
            for passage in set(collection.training["passage"]):
                near = scores[query, passage] >= own[query] - 0.05 * abs(own[query]) + 1e-6
                if near and (query, passage) not in known:
                    assert (query, passage) in seen
    finally:
        search(searched, configured(searched.settings))


def test_rows_whose_own_positive_nobody_finds_get_a_flag_with_all_ranks(searched: Project) -> None:
    flags = searched.evidence.load(NAME).evidence.flags
    assert set(flags["reason"]) <= {FAR}
    for line in flags["evidence"]:
        ranks = json.loads(line)
        assert ranks["harrier-tiny"] > 20 and (ranks["bm25"] is None or ranks["bm25"] > 20)


def test_looks_leave_out_known_positives_and_count_ranks_from_one(searched: Project) -> None:
    collection = Collection.of(searched)
    lines = look(collection, retrieve_lexically(collection, 50))
    assert lines.join(collection.own, on=["query", "passage"]).is_empty()
    assert lines.group_by("query", "look").agg(pl.col("rank").min())["rank"].unique().to_list() == [1]
    fused = support([lines], [0.5])
    assert fused["support"].is_between(0, 1).all()
    everywhere = (
        lines.group_by("query", "passage").agg(firsts=(pl.col("rank") == 1).sum()).filter(pl.col("firsts") == 3)
    )
    best = fused.join(everywhere, on=["query", "passage"])
    assert best["support"].to_list() == pytest.approx([1.0] * best.height)


def test_standing_rises_with_margin_and_support_and_falls_where_a_guard_holds() -> None:
    lines = pl.DataFrame(
        {
            "margin": [0.0, 0.1, 0.0, 0.0, 5.0],
            "support": [0.5, 0.5, 0.9, 0.5, 0.5],
            "held_by": [[], [], [], ["numbers"], []],
        },
        schema_overrides={"held_by": pl.List(pl.String)},
    )
    base, farther, supported, held, beyond = lines.select(standing(0.8)).to_series()
    assert held < base < min(farther, supported) and beyond == farther


def test_the_queue_is_ordered_by_damage_and_the_sample_by_chance(project: Project) -> None:
    lines = lines_of(project)
    assert lines.schema == QUEUE_SCHEMA
    assert lines["damage"].is_sorted(descending=True)
    sample, other = lines_of(project, order="sample"), lines_of(project, order="sample", seed=1)
    assert set(sample.select("query_id", "passage_id").rows()) == set(lines.select("query_id", "passage_id").rows())
    assert sample["query_id"].to_list() != other["query_id"].to_list()
    top = sample.row(0, named=True)
    judge(project.ledger, top["query_id"], top["passage_id"], Verdict.DOES_NOT)
    again = lines_of(project, order="sample")
    assert again.select("query_id", "passage_id").equals(sample.select("query_id", "passage_id"))


def test_judgements_settle_a_candidate_and_teach_the_rest(project: Project) -> None:
    before = lines_of(project)
    for line in before.filter(~pl.col("certain")).head(40).iter_rows(named=True):
        judge(project.ledger, line["query_id"], line["passage_id"], Verdict.DOES_NOT, margin=line["margin"])
    after = lines_of(project)
    told = after.filter(pl.col("state") == State.DOES_NOT.value)
    assert told.height == 40 and told["probability"].sum() == 0
    both = before.join(after, on=["query_id", "passage_id"]).filter(pl.col("state_right") == State.UNDECIDED.value)
    both = both.filter(~pl.col("certain"))
    assert (both["probability_right"] <= both["probability"] + 1e-9).all()


def test_the_summary_counts_agreement_and_the_precision_of_the_sample_only(project: Project) -> None:
    sample = lines_of(project, order="sample").filter(~pl.col("certain")).head(10)
    for number, line in enumerate(sample.iter_rows(named=True)):
        verdict = Verdict.ALSO_ANSWERS if number < 4 else Verdict.DOES_NOT
        pair = line["query_id"], line["passage_id"]
        judge(project.ledger, *pair, verdict, actor="person:ana", drawn="sample")
        second = Verdict.DOES_NOT if number == 0 else verdict
        judge(project.ledger, *pair, second, actor="person:bia", drawn="sample")
    other = lines_of(project).filter((pl.col("state") == "undecided") & ~pl.col("certain")).row(0, named=True)
    judge(project.ledger, other["query_id"], other["passage_id"], Verdict.ALSO_ANSWERS)
    curated = project.curated()
    said = summary(project, queue(project, project.evidence.load(NAME), curated, Collection.of(project, curated)))
    assert (said.disputed, said.sampled, said.precision) == (1, 9, pytest.approx(3 / 9))
    assert said.low < 3 / 9 < said.high
    agreement = said.agreements[[(a.one, a.other) for a in said.agreements].index(("person:ana", "person:bia"))]
    assert agreement.both == 10 and agreement.observed == pytest.approx(0.9) and 0.7 < agreement.kappa < 0.9


def test_candidates_of_dropped_rows_leave_the_queue_and_the_search_is_stale(project: Project) -> None:
    top = lines_of(project).row(0, named=True)
    stored = project.evidence.load(NAME)
    assert stored.config["rows"] == rows_key(Collection.of(project))
    project.ledger.append(Action.DROP, [Target(top["query_id"])], actor="person", reason="dropped by hand")
    assert top["query_id"] not in lines_of(project)["query_id"].to_list()
    assert stored.config["rows"] != rows_key(Collection.of(project))


def test_what_is_judged_changes_what_a_batch_meets_and_what_may_meet(project: Project) -> None:
    def gauges() -> dict[str, float]:
        curated = project.curated()
        collection = Collection.of(project, curated)
        found = exposures(project, project.snapshot, collection, curated, lines_of(project), 16)
        return {gauge.sampler: gauge.after for gauge in found}

    def may_meet(a: str, b: str) -> bool:
        curated = project.curated()
        training = Collection.of(project, curated).training["row_id"].to_list()
        kept = curated.kept.filter(pl.col("row_id").is_in(training))
        keys = conflicts_of(project).keys([kept["query"], kept["positive"]])
        at = [kept["row_id"].to_list().index(row_id) for row_id in (a, b)]
        return not keys.conflicts_between(at)

    lines = lines_of(project).filter(~pl.col("certain") & (pl.col("reasons").list.len() == 1))
    asked = set(lines_of(project).select("query", "passage").iter_rows())
    rows = Collection.of(project).rows
    single = rows.filter((pl.len().over("query") == 1) & (pl.len().over("passage") == 1))
    at = {row["row_id"]: row for row in single.iter_rows(named=True)}
    pairs = lines.filter(pl.col("reasons").list.first() == "outranks").select("query_id", "passage_id").iter_rows()
    ids = next((a, b) for a, b in pairs if a in at and b in at and (at[b]["query"], at[a]["passage"]) not in asked)
    undecided = gauges()
    assert undecided["random"] >= undecided["no_duplicates"] >= undecided["answer_groups"] > 0
    assert undecided["conflict_aware"] == 0
    assert not may_meet(*ids)
    judge(project.ledger, *ids, Verdict.ALSO_ANSWERS)
    also = gauges()
    assert also["random"] > undecided["random"] and not may_meet(*ids)
    judge(project.ledger, *ids, Verdict.DOES_NOT)
    assert gauges()["random"] < undecided["random"] and may_meet(*ids)
    assert gauges()["answer_groups"] < undecided["answer_groups"]
    judge(project.ledger, *ids, Verdict.PARTLY)
    assert not may_meet(*ids)


def test_drawn_batches_meet_what_the_closed_form_says_and_conflict_aware_ones_nothing(project: Project) -> None:
    curated = project.curated()
    collection = Collection.of(project, curated)
    lines = lines_of(project)
    closed = {gauge.sampler: gauge for gauge in exposures(project, project.snapshot, collection, curated, lines, 8)}
    counted = {item.sampler: item for item in simulated(project, collection, curated, lines, 8, epochs=30)}
    assert counted["random"].epoch == pytest.approx(closed["random"].epoch_after, rel=0.15)
    assert counted["answer_groups"].epoch == pytest.approx(closed["answer_groups"].epoch_after, rel=0.15)
    assert counted["conflict_aware"].epoch == 0


def test_what_also_answers_settles_the_other_way_round_as_well(project: Project) -> None:
    lines = lines_of(project).filter(~pl.col("certain"))
    turned = lines.select(pl.col("passage_id").alias("query_id"), pl.col("query_id").alias("passage_id"))
    pair = lines.join(turned, on=["query_id", "passage_id"], maintain_order="left").row(0, named=True)
    judge(project.ledger, pair["query_id"], pair["passage_id"], Verdict.ALSO_ANSWERS)
    states = {(a, b): state for a, b, state in lines_of(project).select("query_id", "passage_id", "state").iter_rows()}
    assert states.get((pair["passage_id"], pair["query_id"]), "own") in ("also_answers", "own")
    judge(project.ledger, pair["query_id"], pair["passage_id"], Verdict.DOES_NOT)
    states = {(a, b): state for a, b, state in lines_of(project).select("query_id", "passage_id", "state").iter_rows()}
    assert states[pair["passage_id"], pair["query_id"]] == "undecided"


@pytest.mark.slow
def test_a_second_retriever_and_one_without_prompts_give_their_ranks(project: Project) -> None:
    first = RetrieverSettings(model="harrier-tiny")
    second = RetrieverSettings(model="harrier-tiny", prompts="none", max_length=64)
    asked = retrievers_of(project.settings, (first, second))
    assert asked[0].contract.hash != asked[1].contract.hash and asked[1].contract.query == ""
    stored = search(project, configured(project.settings), asked)
    assert [item["max_length"] for item in stored.config["retrievers"]] == [512, 64]
    assert lines_of(project)["second_rank"].drop_nulls().len() > 0


def test_unknown_settings_and_an_unsearched_project_are_clear_errors(make_project) -> None:
    project = make_project([("a b", "c d"), ("e f", "g h")])
    with pytest.raises(ConfigError, match="margni"):
        configured(project.settings, {"margni": 0.1})
    curated = project.curated()
    with pytest.raises(ProjectError, match="looked"):
        queue(project, None, curated, Collection.of(project, curated))


def test_one_row_and_odd_texts_are_searched_without_a_fault(make_project) -> None:
    odd = "a\x00b \x1b[31m ‮ [bold]x[/bold]"
    project = make_project([("só uma pergunta", odd), (odd, "resposta " * 3000), ("?", "!")])
    stored = search(project, configured(project.settings))
    assert stored.evidence.stats["queries"] == 3
