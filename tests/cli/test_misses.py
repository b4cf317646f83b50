"""`misses` by the real command line: listed, sent, judged, taken back, and written for another project."""

import json
from pathlib import Path

import pytest

from studio.project.project import Project
from tests.cli.conftest import run
from tests.evaluation.test_misses import ROWS


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("misses")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")
    assert run("import", folder / "rows.jsonl", "--project", folder / "p").returncode == 0
    options = ("--set", "held-out:test", "--system", "lexical: bm25", "--no-operations", "--name", "final")
    done = run("evaluate", "--project", folder / "p", *options)
    assert done.returncode == 0, done.stderr
    return folder / "p"


def test_a_miss_is_listed_sent_judged_and_taken_back(evaluated: Path, tmp_path: Path) -> None:
    project = ("--project", evaluated)
    listed = json.loads(run("misses", "final", *project, "--json").stdout)
    (missed,) = listed["misses"]
    assert missed["system"] == "lexical" and missed["query"] == ROWS[3]["query"] and listed["sent"] is None
    assert {found["text"] for found in missed["above"]} == {ROWS[4]["positive"], ROWS[5]["positive"]}
    assert ROWS[5]["positive"] in run("misses", "final", *project).stdout and listed["of"] == 1

    sent = json.loads(run("misses", "final", *project, "--send", "answers", "--all", "--json").stdout)["sent"]
    # A training passage may complete a test.
    assert len(sent["rows"]) == 2 and not sent["refused"]
    asked = json.loads(run("judge", *project, "--next", "3", "--json").stdout)
    candidate = next(one for one in asked["candidates"] if one["passage_text"] == ROWS[4]["positive"])
    assert len(asked["candidates"]) == 2 and candidate["asked"][0].startswith("lexical in final")
    # BM25 did not find the own positive: how it scores is not known.
    assert candidate["own"] is None and candidate["own_rank"] is None and candidate["at_least"] is True
    ids = ("--query", candidate["query_id"], "--passage", candidate["passage_id"])
    assert run("judge", *project, "--set", "also_answers", *ids).returncode == 0
    # The verdict, then what was sent.
    for _ in range(2):
        assert run("decide", *project, "--undo").returncode == 0
    assert run("judge", *project, "--next", "3").returncode != 0

    one = run("misses", "final", missed["query_id"], *project, "--send", "pairs")
    assert one.returncode == 0 and "sent: 1 rows with the tag `missed`" in one.stderr
    assert ROWS[3]["query"] in run("show", "pairs", *project, "--where", "tag:missed").stdout
    # Decisions that an export wrote can be read again, those of this kind too.
    assert run("misses", "final", *project, "--send", "answers", "--all").returncode == 0
    assert run("export", *project, "--out", tmp_path / "out").returncode == 0
    lines = (tmp_path / "out" / "decisions.jsonl").read_text("utf-8")
    assert '"action": "ask"' in lines
    assert run("decide", *project, "--from", tmp_path / "out" / "decisions.jsonl").returncode == 0


def test_misses_are_written_as_pairs_that_import_reads(evaluated: Path, tmp_path: Path) -> None:
    out = tmp_path / "missed.jsonl"
    assert run("misses", "final", "--project", evaluated, "--out", out).returncode == 0
    assert run("import", out, "--project", tmp_path / "q").returncode == 0
    rows = Project.open(tmp_path / "q").snapshot
    assert rows["split"].to_list() == ["evaluation"] and rows["query"].to_list() == [ROWS[3]["query"]]
    assert "lexical" in rows["meta"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none",), "no evaluation"),
        (("final", "--metric", "ndcg@7"), "no values by ndcg@7"),
        (("final", "--send", "answers"), "Which misses"),
        (("final", "--passage", "x"), "one QUERY"),
    ],
)
def test_what_cannot_be_listed_is_said(evaluated: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("misses", *arguments, "--project", evaluated)
    assert done.returncode not in (0, 70) and words in done.stderr
