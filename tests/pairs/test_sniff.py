import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from studio.errors import InputError
from studio.pairs.read import read_pairs
from studio.pairs.roles import NO_ROLES, Roles
from studio.pairs.sniff import HEAD_ROWS, SAMPLE_CHARACTERS, SAMPLES, Sniffed, sniff
from tests.tui.test_safe import HOSTILE

ROWS = [{"question": f"q{i}", "answer": f"a{i}", "lang": "pt", "score": i / 10} for i in range(7)]


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def made(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    frame, path = pl.DataFrame(rows), folder / f"faq.{kind}"
    match kind:
        case "jsonl":
            lines(path, *rows)
        case "json":
            path.write_text(json.dumps({"data": rows}), "utf-8")
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "parquet":
            frame.write_parquet(path)
        case "arrow":
            frame.write_ipc(path)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines(folder / "plain", *rows).read_bytes()))
        case "folder":
            path.mkdir()
            lines(path / "train.jsonl", *rows)
        case "saved":
            datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


KINDS = ["jsonl", "json", "csv", "tsv", "parquet", "arrow", "jsonl.gz", "folder", "saved"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_shows_its_columns_roles_and_first_pairs(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind, ROWS)
    sniffed = sniff([path])
    assert [column.name for column in sniffed.columns] == ["question", "answer", "lang", "score"]
    assert sniffed.columns[0].kind == "text" and sniffed.columns[0].values == tuple(f"q{i}" for i in range(SAMPLES))
    assert sniffed.columns[2].values == ("pt",)
    assert sniffed.roles == Roles(query="question", positive="answer", score="score") and not sniffed.problem
    assert sniffed.bytes > 0 and sniffed.rows == (None if path.is_dir() else len(ROWS))
    preview = sniffed.preview(sniffed.roles)
    imported = read_pairs([path], roles=sniffed.asked(sniffed.roles)).pairs
    assert [pair.query for pair in preview.pairs] == imported["query"].head(3).to_list() == ["q0", "q1", "q2"]
    assert [pair.score for pair in preview.pairs] == imported["score"].head(3).to_list()
    assert preview.meta == ("lang",)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_head_is_looked_at(tmp_path: Path, kind: str) -> None:
    rows = [{"query": f"q{i}", "positive": f"a{i}"} for i in range(3 * HEAD_ROWS)]
    sniffed = sniff([made(tmp_path, kind, rows)])
    assert sniffed.preview(sniffed.roles).read == HEAD_ROWS
    assert sniffed.rows in (None, len(rows))


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_the_rows_are_told_where_that_is_cheap(tmp_path: Path, kind: str) -> None:
    rows = [{"query": f"q{i}", "positive": f"a{i}"} for i in range(2 * HEAD_ROWS)]
    assert sniff([made(tmp_path, kind, rows)]).rows == len(rows)


def test_a_judged_collection_is_shown_as_the_pairs_it_makes(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.jsonl", {"_id": "d1", "text": "p"}, {"_id": "d2", "text": "n"})
    lines(tmp_path / "queries.jsonl", {"_id": "q1", "text": "q"})
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n", "utf-8")
    sniffed = sniff([tmp_path])
    assert sniffed.format == "judged collection"
    [pair] = sniffed.preview(sniffed.roles).pairs
    assert (pair.query, pair.positive, pair.negatives) == ("q", "p", ("n",))


def test_tuples_are_shown_as_what_their_places_mean(tmp_path: Path) -> None:
    sniffed = sniff([lines(tmp_path / "a.jsonl", {"texts": ["q", "p", "n"], "id": 3}, ["q2", "p2"])])
    assert sniffed.tuples == "texts"
    assert [column.name for column in sniffed.columns] == ["query", "positive", "negatives", "id"]
    assert sniffed.asked(sniffed.roles) == NO_ROLES
    assert sniffed.preview(sniffed.roles).pairs[0].negatives == ("n",)


def test_what_cannot_be_told_is_said_and_the_rest_is_told(tmp_path: Path) -> None:
    sniffed = sniff([lines(tmp_path / "a.jsonl", {"a": "x", "passage": "y", "split": "train"})])
    assert sniffed.problem == "No column can be told to be the query."
    assert sniffed.roles == Roles(positive="passage", split="split")
    neither = sniff([lines(tmp_path / "b.jsonl", {"a": "x", "b": "y", "neg": "z"})])
    assert "query or the positive" in neither.problem and neither.roles == Roles(negatives=("neg",))
    with pytest.raises(InputError, match="No column can be told"):
        neither.preview(neither.roles)


def outcome(sniffed: Sniffed, path: Path, chosen: Roles) -> None:
    """The preview and the import of a choice come to the same roles."""
    assert sniffed.preview(chosen).roles == chosen
    assert read_pairs([path], roles=sniffed.asked(chosen)).sources[0].roles == chosen


def test_a_choice_is_what_an_import_comes_to(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p", "neg": "n", "score": 1, "url": "u", "text": "t"}
    path = lines(tmp_path / "a.jsonl", row)
    sniffed = sniff([path])
    assert sniffed.roles == Roles("query", "positive", ("neg",), "score", None, "url")
    assert sniffed.asked(sniffed.roles) == NO_ROLES
    outcome(sniffed, path, Roles("text", "positive", ("neg",), "score", None, "url"))
    outcome(sniffed, path, Roles("query", "positive", ("neg", "text"), "score", None, "url"))


def test_a_column_can_be_denied_its_role(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p", "neg": "n", "score": 1, "url": "u"}
    path = lines(tmp_path / "a.jsonl", row)
    sniffed = sniff([path])
    outcome(sniffed, path, Roles("query", "positive"))
    outcome(sniffed, path, Roles("query", "positive", ("neg",)))
    assert sniffed.preview(Roles("query", "positive")).meta == ("neg", "score", "url")


def test_rows_that_would_be_set_aside_are_counted(tmp_path: Path) -> None:
    rows = [{"query": "q", "positive": "p"}, {"query": None, "positive": "p"}, {"query": "q2", "positive": 3}]
    sniffed = sniff([lines(tmp_path / "a.jsonl", *rows)])
    preview = sniffed.preview(sniffed.roles)
    assert (preview.read, preview.refused, len(preview.pairs)) == (3, 2, 1)
    assert preview.why.startswith("line 2: missing_query")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_values_come_through(tmp_path: Path, text: str) -> None:
    path = lines(tmp_path / "a.jsonl", {text: text, "query": "q", "positive": "p"})
    cut = text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"
    sniffed = sniff([path])
    column = sniffed.columns[0]
    assert column.name == text and column.values == (cut,)
    assert sniffed.preview(sniffed.roles).meta == (text,)


def test_long_and_nested_values_are_cut(tmp_path: Path) -> None:
    record = {"query": "x" * 5_000, "positive": ["p1", "p2"], "more": {"a": list(range(500))}, "none": None, "n": 1}
    columns = {column.name: column for column in sniff([lines(tmp_path / "a.jsonl", record)]).columns}
    assert len(columns["query"].values[0]) == len(columns["more"].values[0]) == SAMPLE_CHARACTERS
    kinds = [columns[name].kind for name in ("query", "positive", "more", "none", "n")]
    assert kinds == ["text", "list of texts", "record", "empty", "number"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "no row"),
        ("a.jsonl", b"not json\n", "no row"),
        ("a.parquet", b"PAR1 damaged", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"query": "q"}\n' * 50_000)[:-40], "damaged"),
        ("a.bin", b"\x00\x01", "not known"),
        ("a.csv", "query,positive\n".encode("utf-16"), "UTF-16"),
    ],
    ids=range(6),
)
def test_what_cannot_be_read_is_the_readers_error(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        sniff([tmp_path / name])


@pytest.mark.parametrize("name", ["missing.jsonl", "org/name", "a\0b", "x" * 5_000], ids=range(4))
def test_a_missing_file_is_told_without_asking_the_network(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.pairs.read.hub_splits", lambda name: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        sniff([name])


def test_a_folder_without_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file"):
        sniff([tmp_path])
