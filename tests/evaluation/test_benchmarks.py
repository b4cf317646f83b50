"""Benchmarks by name: what the catalogue says, and the loaders, on local folders laid out as the hub's datasets are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from studio.errors import InputError, UnavailableError, UsageError
from studio.evaluation.benchmarks import BENCHMARKS, GROUPS, expanded, load_benchmark, names_a_benchmark, nearest_names
from studio.evaluation.collecting import collect
from studio.evaluation.items import scored_pairs
from studio.evaluation.judged_tables import assembled
from studio.evaluation.sets import SetKind

CORPUS = [{"_id": "d1", "text": "no banco"}, {"_id": "d2", "text": "dez dias"}, {"_id": "q1", "text": "a própria"}]
QUERIES = [{"_id": "q1", "text": "como pagar"}, {"_id": "q2", "text": "qual o prazo"}, {"_id": "q3", "text": "e daí"}]
QRELS = [("q1", "d1", 1), ("q2", "d2", 2)]


def hub_like(folder: Path, **configs: dict[str, list[dict[str, Any]]]) -> str:
    """A dataset as the hub holds it: Parquet files of each split, and a card that names the configurations."""
    card = ["---", "configs:"]
    for config, splits in configs.items():
        name = config.replace("_", "-")
        card += [f"- config_name: {name}", "  data_files:"]
        for split, rows in splits.items():
            place = folder / name / f"{split}.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows).to_parquet(str(place))
            card += [f"  - split: {split}", f"    path: {name}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return str(folder)


def qrels(*more: tuple[str, str, int]) -> list[dict[str, Any]]:
    return [{"query-id": query, "corpus-id": passage, "score": grade} for query, passage, grade in (*QRELS, *more)]


def test_a_dataset_in_mtebs_layout_is_loaded_with_its_own_split(tmp_path: Path) -> None:
    place = hub_like(
        tmp_path / "scifact",
        default={"test": qrels(), "train": qrels()[:1]},
        corpus={"corpus": CORPUS},
        queries={"queries": QUERIES},
    )
    loaded = load_benchmark("SciFact", place=place)
    assert loaded.tables is not None and loaded.tables.split == "test"
    judged, notes, _ = assembled(loaded.tables, "x")
    assert judged.qrels.rows() == QRELS
    assert judged.queries["query_id"].to_list() == ["q1", "q2"]
    assert notes == ("queries without any judgement, which are left out: 1",)
    assert load_benchmark("scifact", "train", place=place).tables.qrels.height == 1  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="'dev'"):
        load_benchmark("SciFact", "dev", place=place)


def test_nano_sets_and_subsets_by_language_are_told_by_their_configurations(tmp_path: Path) -> None:
    nano = hub_like(
        tmp_path / "nano",
        corpus={"train": CORPUS},
        queries={"train": QUERIES},
        qrels={"train": [{"query-id": "q1", "corpus-id": "d1"}]},
    )
    loaded = load_benchmark("NanoNQ", place=nano)
    assert loaded.tables is not None and loaded.tables.qrels.rows() == [("q1", "d1", 1.0)]
    assert (loaded.about.name, loaded.about.self_hits_removed) == ("NanoNQ", False)
    subsets = hub_like(
        tmp_path / "many",
        pt_corpus={"test": CORPUS},
        pt_queries={"test": QUERIES},
        pt_qrels={"test": qrels()},
        en_corpus={"test": CORPUS[:1]},
        en_queries={"test": QUERIES[:1]},
        en_qrels={"test": qrels()[:1]},
    )
    loaded = load_benchmark("Wikipedia-pt", place=subsets)
    assert loaded.tables is not None and loaded.tables.corpus.height == 3
    loaded = load_benchmark("someone/wikipedia:en", place=subsets)
    assert loaded.tables is not None and loaded.tables.corpus.height == 1


def test_datasets_of_plain_files_are_read_as_their_authors_lay_them_out(tmp_path: Path) -> None:
    (tmp_path / "topics").mkdir()
    (tmp_path / "qrels").mkdir()
    (tmp_path / "quati_1M.tsv").write_text('passage_id\tpassage\nclueweb-1\tNo "banco".\nclueweb-2\tDez dias.\n')
    (tmp_path / "topics/quati_test_topics.tsv").write_text("query_id\tquery\n1\tComo pagar?\n")
    (tmp_path / "qrels/quati_1M_qrels.txt").write_text("1 0 clueweb-1 3\n1 0 clueweb-2 0\n")
    loaded = load_benchmark("quati", place=str(tmp_path))
    assert loaded.tables is not None
    judged, notes, _ = assembled(loaded.tables, "x")
    assert judged.qrels.rows() == [("1", "clueweb-1", 3.0), ("1", "clueweb-2", 0.0)]
    assert judged.corpus["text"].to_list() == ['No "banco".', "Dez dias."]
    assert not notes
    (tmp_path / "doc.csv").write_text('ID,KEY,ENUNCIADO,EXCERTO\n1,ACORDAO-1,"Texto, com vírgula",longo\n')
    (tmp_path / "query.csv").write_text("ID,TEXT,SOURCE\n7,licitação,log\n")
    (tmp_path / "qrel.csv").write_text("QUERY_ID,DOC_ID,SCORE,ENGINE,RANK\n7,ACORDAO-1,3,bm25,1\n")
    loaded = load_benchmark("JurisTCU", place=str(tmp_path))
    assert loaded.tables is not None
    judged, _, attributes = assembled(loaded.tables, "x")
    assert judged.corpus.rows() == [("ACORDAO-1", "Texto, com vírgula")]
    assert judged.qrels.rows() == [("7", "ACORDAO-1", 3.0)]
    assert attributes["source"].to_list() == ["log"]


def test_assin2_is_scored_pairs_and_its_entailment_too(tmp_path: Path) -> None:
    texts = [{"premise": "um", "hypothesis": "dois"}, {"premise": "três", "hypothesis": "quatro"}]
    scores = [
        {"relatedness_score": 4.5, "entailment_judgment": 1},
        {"relatedness_score": 1.0, "entailment_judgment": 0},
    ]
    rows = [{**text, **score} for text, score in zip(texts, scores, strict=True)]
    place = hub_like(tmp_path / "assin2", default={"train": rows[:1], "test": rows})
    for name, expected in (("ASSIN2", [4.5, 1.0]), ("assin2-rte", [1.0, 0.0])):
        loaded = load_benchmark(name, place=place)
        assert loaded.kind is SetKind.SIMILARITY
        assert scored_pairs(loaded.lines, loaded.roles, "x")["score"].to_list() == expected
    assert load_benchmark("someone/pairs", place=place).kind is None


def test_what_is_not_laid_out_as_it_should_be_is_refused(tmp_path: Path) -> None:
    place = hub_like(
        tmp_path / "odd",
        corpus={"one": CORPUS, "two": CORPUS},
        queries={"test": QUERIES},
        qrels={"test": qrels()},
    )
    with pytest.raises(InputError, match="cannot be told which corpus"):
        load_benchmark("someone/odd", place=place)


@pytest.mark.parametrize("name", ["NanoNQ", "Quati", "JurisTCU", "ASSIN2", "someone/something"])
def test_without_a_network_the_way_around_is_said(name: str) -> None:
    with pytest.raises(UnavailableError, match="hub") as refused:
        collect(name, None)
    assert "save_to_disk" in (refused.value.remedy or "")


def test_what_harrier_was_trained_on_is_marked_and_guesses_are_said_to_be_guesses() -> None:
    marked = {name: known.trained_on.split(":")[0] for name, known in BENCHMARKS.items() if known.trained_on}
    assert marked["NanoMSMARCO"] == marked["FEVER"] == "in Harrier's training data"
    assert marked["NanoHotpotQA"] == marked["STSB-pt"] == "likely in Harrier's training data"
    assert not marked.keys() & {"NanoArguAna", "SCIDOCS", "Quati", "JurisTCU", "ASSIN2", "WebFAQ-pt"}


def test_prompts_and_self_hits_are_those_of_the_authors() -> None:
    assert BENCHMARKS["ArguAna"].self_hits_removed and not BENCHMARKS["NanoArguAna"].self_hits_removed
    prompts = {name: known.instruction for name, known in BENCHMARKS.items()}
    assert prompts["NanoArguAna"] == prompts["ArguAna"] == "Given a claim, find documents that refute the claim"
    assert prompts["ASSIN2"] == "Retrieve semantically similar text"


def test_the_catalogue_of_the_documentation_is_the_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs/evaluation_sets.md").read_text("utf-8")
    told = {line.split(" |")[0].strip("| ").removesuffix(" (similarity)"): line for line in page.splitlines()}
    for name, known in BENCHMARKS.items():
        badge = {"": " | | ", "in": " | **yes** | ", "likely": " | *likely* | "}[known.trained_on.split(" ")[0]]
        assert f"`{known.dataset}{':' if known.config else ''}{known.config}`" in told[name]
        assert badge in told[name]
        assert told[name].endswith("removed |") == known.self_hits_removed


def test_names_are_found_whatever_their_case_and_groups_are_spelled_out() -> None:
    assert len(expanded("nanobeir")) == len(GROUPS["NanoBEIR"]) == 13
    assert set(GROUPS["NanoBEIR"]) <= BENCHMARKS.keys()
    assert expanded("Quati") == ("Quati",)
    assert names_a_benchmark("nilc-nlp/assin2") and names_a_benchmark("nanonq") and not names_a_benchmark("nanonqq")
    assert "NanoNQ" in nearest_names("NanoNQQ")
    assert len({known.name.lower() for known in BENCHMARKS.values()}) == len(BENCHMARKS)
