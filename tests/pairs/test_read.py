import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.errors import InputError, UnavailableError
from studio.pairs.read import Imported, Roles, describe_source, read_pairs, write_rejects
from studio.pairs.schema import SNAPSHOT_SCHEMA, Shape, shape_of


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return path


def texts(imported: Imported) -> list[tuple[str, str, list[str]]]:
    return list(imported.pairs.select("query", "positive", "negatives").iter_rows())


@pytest.mark.parametrize(
    ("query", "positive"),
    [
        ("query", "positive"),
        ("question", "answer"),
        ("anchor", "positive"),
        ("premise", "hypothesis"),
        ("Pergunta", "Resposta"),
        ("query", "passage"),
        ("search_query", "document"),
        ("sentence1", "sentence2"),
        ("input", "output"),
        ("prompt", "response"),
        ("question", "context"),
        ("query-text", "passage_text"),
    ],
)
def test_names_people_use_are_recognised(tmp_path: Path, query: str, positive: str) -> None:
    path = lines(tmp_path / "a.jsonl", {"id": 7, query: "q", positive: "p", "lang": "pt"})
    imported = read_pairs([path])
    assert texts(imported) == [("q", "p", [])]
    assert json.loads(imported.pairs["meta"][0]) == {"id": 7, "lang": "pt"}
    assert imported.pairs["source"][0] == "a.jsonl:1"


def test_the_surer_name_wins_and_the_other_column_is_kept(tmp_path: Path) -> None:
    imported = read_pairs([lines(tmp_path / "a.jsonl", {"context": "c", "positive": "p", "query": "q"})])
    assert texts(imported) == [("q", "p", [])]
    assert json.loads(imported.pairs["meta"][0]) == {"context": "c"}


def test_roles_named_by_hand_win(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"query": "no", "positive": "p", "meu": "q", "x": "n1", "y": "n2", "s": "0.5"})
    imported = read_pairs([path], roles=Roles(query="meu", negatives=("x", "y"), score="s"))
    assert texts(imported) == [("q", "p", ["n1", "n2"])]
    assert imported.pairs["score"].to_list() == [0.5]
    with pytest.raises(InputError, match="no column `querry`") as caught:
        read_pairs([path], roles=Roles(query="querry"))
    assert "`query`" in str(caught.value.remedy)


def test_flagembedding_lines_become_one_row_a_positive(tmp_path: Path) -> None:
    record = {"query": "q", "pos": ["p1", "p2"], "neg": ["n1", "n2"], "pos_scores": [0.9, 0.8], "prompt": "x"}
    imported = read_pairs([lines(tmp_path / "a.jsonl", record)])
    assert texts(imported) == [("q", "p1", ["n1", "n2"]), ("q", "p2", ["n1", "n2"])]
    assert imported.pairs["source"].to_list() == ["a.jsonl:1", "a.jsonl:1#2"]
    assert json.loads(imported.pairs["meta"][1]) == {"pos_scores": [0.9, 0.8], "prompt": "x"}


def test_tevatron_passages_keep_their_ids(tmp_path: Path) -> None:
    record = {
        "query_id": "7",
        "query": "q",
        "positive_passages": [{"docid": "d1", "title": "T", "text": "p"}],
        "negative_passages": [{"docid": "d2", "title": "", "text": "n"}],
    }
    imported = read_pairs([lines(tmp_path / "a.jsonl", record)])
    assert texts(imported) == [("q", "T p", ["n"])]
    meta = json.loads(imported.pairs["meta"][0])
    assert meta == {"query_id": "7", "positive_passages_ids": ["d1"], "negative_passages_ids": ["d2"]}


def test_a_beir_folder_becomes_one_row_a_judgement(tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines(
        folder / "corpus.jsonl", *({"_id": f"d{i}", "title": "T" if i == 1 else "", "text": f"p{i}"} for i in range(4))
    )
    lines(folder / "queries.jsonl", {"_id": "q1", "text": "um"}, {"_id": "q2", "text": "dois"})
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td9\t1\n")
    imported = read_pairs([folder])
    assert texts(imported) == [("um", "T p1", ["p2"])]
    assert imported.pairs.select("split", "source").row(0) == ("test", "beir/qrels/test.tsv:2")
    assert json.loads(imported.pairs["meta"][0])["relevance"] == 2
    assert imported.rejects.select("line", "reason").rows() == [(4, "unknown_id")]
    assert "judged for no query" in imported.sources[0].notes[0]


def test_an_ms_marco_folder_and_its_triples(tmp_path: Path) -> None:
    folder = tmp_path / "marco"
    folder.mkdir()
    (folder / "collection.tsv").write_text('0\tum "texto\n1\toutro\n')
    (folder / "queries.train.tsv").write_text("9\tpergunta\n")
    (folder / "qrels.train.tsv").write_text("9\t0\t0\t1\n")
    assert texts(read_pairs([folder])) == [("pergunta", 'um "texto', [])]
    triples = tmp_path / "triples.tsv"
    triples.write_text('q "1\tp1\tn1\nq2\tp2\tn2\n')
    imported = read_pairs([triples])
    assert texts(imported) == [('q "1', "p1", ["n1"]), ("q2", "p2", ["n2"])]
    assert shape_of(imported.pairs) is Shape.TRIPLETS


def test_tables_of_every_format_give_the_same_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"query": ["a", "b"], "answer": ["x\ny", 'z "w"'], "score": [0.5, None], "n": [1, 2]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.arrow")
    frame.write_ipc_stream(tmp_path / "a.feather")
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text(json.dumps(frame.to_dicts()))
    frame.write_parquet(tmp_path / "without-suffix")
    expected = [("a", "x\ny", 0.5), ("b", 'z "w"', None)]
    for name in ("a.parquet", "a.arrow", "a.feather", "a.csv", "a.tsv", "a.jsonl", "a.json", "without-suffix"):
        rows = read_pairs([tmp_path / name]).pairs
        assert rows.select("query", "positive", "score").rows() == expected, name
        assert rows.schema == SNAPSHOT_SCHEMA


def test_saved_datasets_and_folders_carry_their_splits(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict({"query": ["q"], "positive": ["p"], "negative": ["n"]})
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "hf")
    assert read_pairs([tmp_path / "hf"]).pairs["split"].to_list() == ["train", "test"]
    data.save_to_disk(tmp_path / "one")
    assert texts(read_pairs([tmp_path / "one"])) == [("q", "p", ["n"])]
    folder = tmp_path / "plain" / "data"
    folder.mkdir(parents=True)
    pl.DataFrame({"query": ["q"], "positive": ["p"]}).write_parquet(folder / "train-00000-of-00001.parquet")
    lines(folder / "validation.jsonl", {"query": "v", "positive": "p"})
    rows = read_pairs([tmp_path / "plain"]).pairs
    assert rows.select("query", "split").rows() == [("q", "train"), ("v", "validation")]


def test_tuples_scores_and_labels(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", ["q", "p", "n1", "n2"], ["only one"], {"texts": ["a", "b"]})
    imported = read_pairs([path])
    assert texts(imported) == [("q", "p", ["n1", "n2"]), ("a", "b", [])]
    assert imported.rejects["reason"].to_list() == ["wrong_arity"]
    scored = read_pairs([lines(tmp_path / "s.jsonl", {"sentence1": "a", "sentence2": "b", "score": 4})]).pairs
    assert shape_of(scored) is Shape.SCORED
    labelled = read_pairs([lines(tmp_path / "l.jsonl", {"sentence1": "a", "sentence2": "b", "label": True})]).pairs
    assert (shape_of(labelled), labelled["label"].to_list()) == (Shape.LABELLED, ["1"])


BAD_LINES = [
    (b'{"query": "q", "positive": ', "broken_json"),
    (b"[" * 100_000, "broken_json"),
    (b"42", "not_an_object"),
    (b'{"positive": "p"}', "missing_query"),
    (b'{"query": "q"}', "missing_positive"),
    (b'{"query": " \\u200b\\n", "positive": "p"}', "empty_query"),
    (b'{"query": "q", "positive": ""}', "empty_positive"),
    (b'{"query": "q", "positive": "\xff"}', "invalid_utf8"),
    (b'{"query": "\\ud800", "positive": "p"}', "lone_surrogate"),
    (b'{"query": 3, "positive": "p"}', "not_text"),
    (b'{"query": "q", "positive": [["p"]]}', "not_text"),
    (b'{"query": "q", "positive": "p", "score": "alto"}', "bad_score"),
    (b'{"query": "q", "positive": "p", "score": 1e999}', "bad_score"),
]


def test_every_bad_row_is_listed_with_its_line_and_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = b'{"query": "q", "positive": "p", "score": 1}'
    path.write_bytes(b"\n".join([good, *(line for line, _ in BAD_LINES), b"", good]))
    imported = read_pairs([path])
    assert imported.pairs["source"].to_list() == ["a.jsonl:1", f"a.jsonl:{len(BAD_LINES) + 3}"]
    expected = [("a.jsonl", number, reason) for number, (_, reason) in enumerate(BAD_LINES, 2)]
    assert imported.rejects.select("file", "line", "reason").rows() == expected
    write_rejects(imported.rejects, tmp_path / "rejects.jsonl")
    assert len((tmp_path / "rejects.jsonl").read_text("utf-8").splitlines()) == len(BAD_LINES)
    with pytest.raises(InputError) as caught:
        read_pairs([path], strict=True)
    assert caught.value.where == "a.jsonl:2"


def test_bad_cells_of_tables_are_listed_with_their_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'query,answer\r\n"duas\r\nlinhas",ok\r\nso um\r\n,vazio\r\n\xff\xfe,x\r\nq,p\r\n')
    imported = read_pairs([path])
    assert texts(imported) == [("duas\r\nlinhas", "ok", []), ("q", "p", [])]
    assert imported.rejects.select("line", "reason").rows() == [
        (4, "wrong_arity"),
        (5, "empty_query"),
        (6, "invalid_utf8"),
    ]
    pl.DataFrame({"query": ["a", None, "c"], "positive": ["x", "y", None]}).write_parquet(tmp_path / "a.parquet")
    rows = read_pairs([tmp_path / "a.parquet"]).rejects.select("line", "reason").rows()
    assert rows == [(2, "missing_query"), (3, "missing_positive")]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_read_and_damaged_ones_named(tmp_path: Path, suffix: str) -> None:
    plain = b"".join(b'{"query": "q%d", "positive": "p%d"}\n' % (i, i * i) for i in range(5000))
    data = (
        gzip.compress(plain) if suffix == ".gz" else zstandard.compress(plain[:999]) + zstandard.compress(plain[999:])
    )
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(data)
    assert read_pairs([path]).pairs.height == 5000
    for damaged in (data[: len(data) // 2], b"not compressed at all", data[:30] + b"\0\0\0\0" + data[34:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            read_pairs([path])
        assert caught.value.where == str(path)


def test_what_cannot_be_read_says_what_where_why_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "utf16.csv").write_bytes("query,answer\n".encode("utf-16"))
    (tmp_path / "x.unknown").write_bytes(b"\0\1\2")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + b"\0" * 50)
    (tmp_path / "folder").mkdir()
    lines(tmp_path / "roles.jsonl", {"foo": "\x1b[31mtexto", "bar": "b"})
    for name in ("no-such-file", "empty.jsonl", "utf16.csv", "x.unknown", "bad.parquet", "folder", "roles.jsonl"):
        with pytest.raises(InputError) as caught:
            read_pairs([tmp_path / name])
        assert caught.value.where
        assert "\x1b" not in str(caught.value)
    assert "--query" in str(caught.value)


def test_an_unreachable_hub_is_named_with_the_offline_way() -> None:
    with pytest.raises(UnavailableError, match="hub cannot be reached") as caught:
        read_pairs(["some-org/some-dataset"])
    assert "save_to_disk" in str(caught.value.remedy)


def test_the_same_files_give_the_same_bytes_and_ids_are_unique(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one = lines(tmp_path / "a.jsonl", *({"query": "q", "positive": "p"} for _ in range(50)))
    other = lines(tmp_path / "x" / "a.jsonl", {"query": "q", "positive": "p"})
    first, second = (read_pairs([one, other]).pairs for _ in range(2))
    assert first.equals(second)
    assert first["row_id"].n_unique() == 51
    assert first["source"][50] == "x/a.jsonl:1"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert read_pairs([one.rename(moved / "a.jsonl")]).pairs["row_id"].to_list() == (
        read_pairs([moved / "a.jsonl"]).pairs["row_id"].to_list()
    )


def test_a_source_is_described_without_reading_it_all(tmp_path: Path) -> None:
    fmt, columns, roles = describe_source(lines(tmp_path / "a.jsonl", {"id": 1, "question": "q", "answer": "a"}))
    assert (fmt, list(columns), roles.query, roles.positive) == (
        "jsonl",
        ["id", "question", "answer"],
        "question",
        "answer",
    )


readable = st.text(st.characters(codec="utf-8"), min_size=1).map(lambda text: text + "x")
hostile = st.sampled_from(
    ["[bold]x[/]", "\x1b[31mx\x9b", "\u202ex\u200b", "x\x00", "x" * 200_000, "\r\nx\u2028", '"x,";\t']
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(readable | hostile, readable | hostile), min_size=1, max_size=6))
def test_text_is_stored_exactly_as_it_was_given(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(rows, schema={"query": pl.String, "positive": pl.String}, orient="row")
    frame.write_parquet(tmp_path / "a.parquet")
    lines(tmp_path / "a.jsonl", *frame.to_dicts())
    frame.write_csv(tmp_path / "a.csv", quote_style="always")
    for name in ("a.parquet", "a.jsonl", "a.csv"):
        assert read_pairs([tmp_path / name]).pairs.select("query", "positive").rows() == rows, name


def test_values_nested_to_the_limit_are_kept_or_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    nested = ["[" * depth + "]" * depth for depth in (10, 300, 600, 900, 960, 990)]
    path.write_text("".join(f'{{"query": "q", "positive": "p", "x": {value}}}\n' for value in nested))
    imported = read_pairs([path])
    assert imported.pairs.height + imported.rejects.height == len(nested)
    assert imported.pairs.height >= 2


def test_a_broken_quote_swallows_no_good_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('query,answer\nq1,p1\nkaputt,"offen\nq2,"Um ""p2""."\nq3,"zwei\nzeilen"\nq4,"nie zu\nq5,p5\n')
    imported = read_pairs([path])
    assert texts(imported) == [("q1", "p1", []), ("q2", 'Um "p2".', []), ("q3", "zwei\nzeilen", []), ("q5", "p5", [])]
    assert imported.rejects.select("line", "reason").rows() == [(3, "wrong_arity"), (7, "wrong_arity")]
    assert imported.pairs["source"].to_list() == ["a.csv:2", "a.csv:4", "a.csv:5", "a.csv:8"]
    assert imported.rejects["raw"][0].startswith('kaputt,"offen')
