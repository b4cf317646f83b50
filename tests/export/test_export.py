import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from studio.checks.base import configured, run_checks
from studio.errors import InputError, ProjectError, UnavailableError
from studio.export import project as exporting
from studio.export.formats import Format
from studio.export.project import export_project
from studio.export.verify import VerifyReport, verify_export
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rewriting import Rewrite, apply_rewrite, plan_rewrite
from studio.project.rules import apply_auto
from tests.checks.test_near_duplicates import LONG

HOSTILE = '[bold]\x1b[31m\u202e\x00 "aspas", vírgula;\ttab\r\nlinha\u2028fim 😀 ' + "x" * 2000
ROWS: list[Any] = [
    {"query": "como pagar", "positive": LONG, "split": "train", "group": "doc-1", "meta": '{"k":1}'},
    {"query": "onde pagar", "positive": LONG.replace("senha", "snha"), "split": "train"},
    {"query": "Como pagar?", "positive": LONG, "split": "train"},
    {"query": HOSTILE, "positive": HOSTILE + "p", "split": "train"},
    {"query": "teste", "positive": "passagem de teste", "split": "test"},
]


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def decided(make_project: Callable[..., Project]) -> Callable[..., Project]:
    def make(rows: list[Any] = ROWS) -> Project:
        project = make_project(rows)
        run_checks(project, configured(project.settings))
        apply_auto(project)
        return project

    return make


def found(report: VerifyReport) -> dict[str, str]:
    return {item.code: item.status.value for item in report.items}


@pytest.mark.parametrize("fmt", Format)
def test_two_exports_are_byte_identical_and_verify(
    decided: Callable[..., Project], tmp_path: Path, fmt: Format
) -> None:
    project = decided()
    for name in ("one", "two"):
        export_project(project, tmp_path / name, fmt)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    report = verify_export(tmp_path / "one", project=project)
    assert set(found(report).values()) == {"ok"}, report.items


@pytest.mark.parametrize("fmt", Format)
def test_replacing_an_export_leaves_no_trace_of_the_old_one(
    decided: Callable[..., Project], tmp_path: Path, fmt: Format
) -> None:
    project = decided()
    export_project(project, tmp_path / "out", Format.JSONL)
    export_project(project, tmp_path / "out", fmt)
    assert verify_export(tmp_path / "out").sound
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]


def test_every_row_of_the_snapshot_has_exactly_one_line(decided: Callable[..., Project], tmp_path: Path) -> None:
    export_project(decided(), tmp_path / "out", Format.PARQUET)
    rows = pl.read_parquet(tmp_path / "out" / "rows.parquet")
    assert rows.columns[:8] == [
        "row_id",
        "status",
        "reason",
        "keeper_id",
        "group_id",
        "cluster_id",
        "decision_id",
        "source",
    ]
    assert rows.select("row_id", "status", "reason", "keeper_id").rows() == [
        ("r0", "kept", "kept", None),
        ("r1", "moved", "near_duplicate_passage", "r0"),
        ("r2", "removed", "duplicate_pair", "r0"),
        ("r3", "kept", "kept", None),
        ("r4", "kept", "kept", None),
    ]
    decisions = [json.loads(line) for line in (tmp_path / "out" / "decisions.jsonl").read_text("utf-8").splitlines()]
    assert set(decisions[0]) == {"seq", "time", "actor", "action", "row_ids", "reason", "evidence", "note", "undo_of"}
    edges = pl.read_parquet(tmp_path / "out" / "edges.parquet")
    assert edges.columns == [
        "a_id",
        "b_id",
        "role",
        "check",
        "version",
        "score",
        "containment",
        "band",
        "rejected_by",
        "evidence",
    ]


EXPECTED = [("como pagar", LONG), ("onde pagar", LONG), (HOSTILE, HOSTILE + "p")]


@pytest.mark.parametrize(("fmt", "loader"), [("parquet", "parquet"), ("jsonl", "json"), ("csv", "csv")])
def test_tables_load_in_datasets_with_the_texts_exact(
    decided: Callable[..., Project], tmp_path: Path, fmt: str, loader: str
) -> None:
    out = tmp_path / "out"
    export_project(decided(), out, Format(fmt))
    cache = str(tmp_path / "cache")
    data = datasets.load_dataset(loader, data_files=str(out / f"data/train.{fmt}"), split="train", cache_dir=cache)
    assert data.column_names == ["query", "positive"]
    if fmt == "csv":
        with (out / "data/train.csv").open(encoding="utf-8", newline="") as stream:
            assert list(map(tuple, csv.reader(stream)))[1:] == EXPECTED
        assert len(data) == 3
    else:
        assert [(row["query"], row["positive"]) for row in data] == EXPECTED
    through_card = datasets.load_dataset(str(out), cache_dir=cache)
    assert {split: len(part) for split, part in through_card.items()} == {"train": 3, "test": 1}


def test_an_hf_export_loads_from_disk(decided: Callable[..., Project], tmp_path: Path) -> None:
    export_project(decided(), tmp_path / "out", Format.HF)
    data = datasets.load_from_disk(str(tmp_path / "out" / "data"))
    assert [(row["query"], row["positive"]) for row in data["train"]] == EXPECTED
    assert data["test"].column_names == ["query", "positive"]


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


SHARED: list[Any] = [
    {"query": "a", "positive": "p1", "negatives": ["n1", "p2"]},
    {"query": "a", "positive": "p2", "negatives": ["n2"]},
    {"query": "b", "positive": "p1", "negatives": ["n1"]},
]


def test_flagembedding_and_tevatron_have_one_line_a_query(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(SHARED)
    export_project(project, tmp_path / "fe", Format.FLAGEMBEDDING)
    assert jsonl(tmp_path / "fe/data/train.jsonl") == [
        {"query": "a", "pos": ["p1", "p2"], "neg": ["n1", "n2"]},
        {"query": "b", "pos": ["p1"], "neg": ["n1"]},
    ]
    export_project(project, tmp_path / "tv", Format.TEVATRON)
    lines = jsonl(tmp_path / "tv/data/train.jsonl")
    assert set(lines[0]) == {"query_id", "query", "positive_passages", "negative_passages"}
    assert [passage["text"] for passage in lines[0]["positive_passages"]] == ["p1", "p2"]
    assert set(lines[0]["positive_passages"][0]) == {"docid", "title", "text"}
    assert lines[0]["positive_passages"][0]["docid"] == lines[1]["positive_passages"][0]["docid"]


def test_beir_ids_join_corpus_queries_and_judgements(make_project: Callable[..., Project], tmp_path: Path) -> None:
    export_project(make_project(SHARED), tmp_path / "out", Format.BEIR)
    data = tmp_path / "out" / "data"
    corpus = {line["_id"]: line["text"] for line in jsonl(data / "corpus.jsonl")}
    queries = {line["_id"]: line["text"] for line in jsonl(data / "queries.jsonl")}
    with (data / "qrels/train.tsv").open(encoding="utf-8", newline="") as stream:
        judged = list(csv.DictReader(stream, delimiter="\t"))
    assert list(judged[0]) == ["query-id", "corpus-id", "score"]
    assert {(queries[line["query-id"]], corpus[line["corpus-id"]], line["score"]) for line in judged} == {
        ("a", "p1", "1"),
        ("a", "p2", "1"),
        ("b", "p1", "1"),
    }
    assert set(corpus.values()) == {"p1", "p2", "n1", "n2"}


def test_rows_of_unlike_kinds_go_to_folders_of_one_arity_each(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    rows: list[Any] = [
        {"query": "a", "positive": "p", "negatives": ["1", "2", "3"], "meta": '{"x":1}'},
        {"query": "b", "positive": "q", "negatives": ["4", "5"]},
        {"query": "c", "positive": "r"},
        {"query": "d", "positive": "s", "score": 0.5},
        {"query": "e", "positive": "t", "label": "1"},
    ]
    result = export_project(make_project(rows), tmp_path / "out", Format.PARQUET)
    data = tmp_path / "out" / "data"
    columns = {
        file.relative_to(data).as_posix(): pl.read_parquet_schema(file) for file in sorted(data.rglob("*.parquet"))
    }
    assert {name: list(schema) for name, schema in columns.items()} == {
        "labelled/train.parquet": ["query", "positive", "label"],
        "ntuple/train.parquet": ["query", "positive", "negative_1", "negative_2"],
        "pair/train.parquet": ["query", "positive"],
        "scored/train.parquet": ["query", "positive", "score"],
    }
    assert columns["labelled/train.parquet"]["label"] == pl.Int64
    assert any("1 negatives beyond the first 2" in note for note in result.notes)
    sidecar = pl.read_parquet(tmp_path / "out" / "sidecar.parquet")
    assert sidecar.filter(pl.col("row_id") == "r0")["negatives"].to_list() == [["1", "2", "3"]]
    assert sidecar.filter(pl.col("row_id") == "r0")["meta"].item() == '{"x":1}'
    loaded = datasets.load_dataset(str(tmp_path / "out"), "ntuple", cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].column_names == ["query", "positive", "negative_1", "negative_2"]


def test_the_trainer_takes_the_exported_columns(decided: Callable[..., Project], tmp_path: Path) -> None:
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from studio.sample import TINY_MODEL, sample_data

    project = decided()
    export_project(project, tmp_path / "out", Format.PARQUET)
    data = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out/data/train.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    model = SentenceTransformer(str(sample_data() / TINY_MODEL), device="cpu")
    model.max_seq_length = 64
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "run"), use_cpu=True, prompts={"query": project.settings.prompts.query}, max_steps=1
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, loss=MultipleNegativesRankingLoss(model)
    )
    assert trainer.train().global_step == 1


def test_something_else_in_the_place_is_never_overwritten(decided: Callable[..., Project], tmp_path: Path) -> None:
    mine = tmp_path / "out"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="left alone"):
        export_project(decided(), mine, Format.PARQUET)
    assert files(mine) == {"thesis.txt": b"mine"}


def test_files_put_beside_an_earlier_export_are_not_swept_away(decided: Callable[..., Project], tmp_path: Path) -> None:
    project, out = decided(), tmp_path / "out"
    export_project(project, out, Format.PARQUET)
    (out / "data" / "notes.txt").write_text("mine")
    before = files(out)
    with pytest.raises(InputError, match="left alone") as caught:
        export_project(project, out, Format.JSONL)
    assert str(caught.value.where).endswith("notes.txt")
    assert files(out) == before


def test_a_link_to_an_export_stays_a_link(decided: Callable[..., Project], tmp_path: Path) -> None:
    project, link = decided(), tmp_path / "link"
    export_project(project, tmp_path / "real", Format.PARQUET)
    link.symlink_to(tmp_path / "real")
    export_project(project, link, Format.JSONL)
    assert link.is_symlink()
    assert (tmp_path / "real" / "data" / "train.jsonl").exists()
    assert verify_export(link, project=project).sound


@pytest.mark.parametrize(
    ("row", "formats"),
    [
        ({"label": "0"}, (Format.FLAGEMBEDDING, Format.TEVATRON, Format.BEIR)),
        ({"score": 0.1}, (Format.TEVATRON, Format.BEIR)),
    ],
)
def test_a_format_without_labels_never_makes_positives_of_them(
    make_project: Callable[..., Project], tmp_path: Path, row: dict[str, Any], formats: tuple[Format, ...]
) -> None:
    project = make_project([{"query": "q", "positive": "p", **row}])
    for fmt in formats:
        with pytest.raises(ProjectError, match="no place for a"):
            export_project(project, tmp_path / "out", fmt)
    assert not (tmp_path / "out").exists()
    export_project(project, tmp_path / "out", Format.PARQUET)


def test_a_full_disk_leaves_the_old_export_whole(
    decided: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, out = decided(), tmp_path / "out"
    export_project(project, out, Format.PARQUET)
    before = files(out)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exporting, "write_evidence", full)
    with pytest.raises(UnavailableError, match="untouched"):
        export_project(project, out, Format.JSONL)
    assert files(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]


def test_an_empty_outcome_is_refused(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project([("q", "p")])
    project.ledger.append(Action.DROP, [Target("r0")], actor="person", reason="all")
    with pytest.raises(ProjectError, match="nothing to export"):
        export_project(project, tmp_path / "out", Format.PARQUET)


def edit_rows(out: Path) -> None:
    path = out / "rows.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(status=pl.lit("kept")).write_parquet(path)


def edit_decisions(out: Path) -> None:
    path = out / "decisions.jsonl"
    path.write_text(path.read_text("utf-8").replace('"r2"', '"r3"'), "utf-8")


def edit_edges(out: Path) -> None:
    path = out / "edges.parquet"
    pl.read_parquet(path).clear().write_parquet(path)


@pytest.mark.parametrize(
    ("tamper", "codes"),
    [
        (lambda out: (out / "data/train.parquet").write_bytes(b"x"), {"files"}),
        (lambda out: (out / "extra.txt").write_text("x"), {"files"}),
        (lambda out: (out / "README.md").unlink(), {"files"}),
        (edit_rows, {"files", "rows", "positions"}),
        (edit_decisions, {"files", "rows", "rebuild"}),
        (edit_edges, {"files", "reasons"}),
        (lambda out: (out / "decisions.jsonl").write_text("{}\n"), {"files", "audit"}),
        (lambda out: (out / "rows.parquet").write_bytes(b"PAR1"), {"files", "audit"}),
    ],
)
def test_every_tampering_is_seen(
    decided: Callable[..., Project], tmp_path: Path, tamper: Callable[[Path], object], codes: set[str]
) -> None:
    project, out = decided(), tmp_path / "out"
    export_project(project, out, Format.PARQUET)
    tamper(out)
    report = verify_export(out, project=project)
    different = {code for code, status in found(report).items() if status == "different"}
    assert codes <= different
    assert not report.sound


@pytest.mark.parametrize("content", ["", "[]", "{", '{"tool": "other"}', '{"tool": "harrier-studio", "files": {}}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="not an export"):
        verify_export(tmp_path)


def test_the_card_says_the_exact_prompt_and_escapes_names(decided: Callable[..., Project], tmp_path: Path) -> None:
    project = decided()
    project.settings = project.settings.model_copy(update={"name": "x\n---\n\x1b[31m"})
    export_project(project, tmp_path / "out", Format.PARQUET)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert json.dumps(project.settings.prompts.query) in card
    assert "\x1b" not in card
    assert card.count("\n---\n") == 1


def test_evidence_quotes_no_personal_data_that_was_redacted(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    text = "O responsÃ¡vel atende pelo endereço ana.lima@exemplo.org todos os dias Ãºteis da semana inteira."
    project = make_project([("De quem é?", text), ("Outra?", "Nada de mais aqui para ver, siga em frente.")])
    run_checks(project, configured(project.settings))
    apply_rewrite(project, Rewrite.PII, plan_rewrite(project, Rewrite.PII))
    export_project(project, tmp_path / "out", Format.PARQUET)
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or b"ana.lima@" not in file.read_bytes()
        if file.suffix == ".parquet":
            assert "ana.lima@" not in str(pl.read_parquet(file).to_dicts())
