"""Search, judge, exposure through the real command line."""

import json
import re
from pathlib import Path

import pytest

from studio.sample import sample_data
from tests.cli.conftest import run
from tests.cli.test_flows import data


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checked and searched project of one field of the sample."""
    folder = tmp_path_factory.mktemp("judging")
    lines = (sample_data() / "pairs.jsonl").read_text("utf-8").splitlines()
    (folder / "bank.jsonl").write_text("\n".join(line for line in lines if json.loads(line)["field"] == "bank"))
    data(run("import", folder / "bank.jsonl", "--project", folder / "p", "--json"))
    data(run("check", "near_duplicates", "near_queries", "--project", folder / "p", "--json"))
    found = data(run("false-negatives", "--project", folder / "p", "--json"))
    assert found["stats"]["candidates"] > 20 and found["notes"]
    return folder / "p"


@pytest.fixture
def project(searched: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(searched, tmp_path / "p"))


def waiting(project: Path, *options: str) -> list[dict[str, object]]:
    return data(run("judge", "--project", project, "--next", "5", "--json", *options))["candidates"]


def test_judge_the_next_undo_it_and_export_both_positives(project: Path, tmp_path: Path) -> None:
    first = waiting(project)[0]
    assert first["query_text"] and first["own_text"] and first["passage_text"]
    ids = "--query", str(first["query_id"]), "--passage", str(first["passage_id"])
    done = data(run("judge", "--project", project, "--set", "also_answers", *ids, "--json"))["judged"][0]
    assert done["verdict"] == "also_answers"
    assert (
        waiting(project)[0]["query_id"] != first["query_id"] or waiting(project)[0]["passage_id"] != first["passage_id"]
    )
    assert data(run("judge", "--stats", "--project", project, "--json"))["also_answers"] >= 1
    out = tmp_path / "out"
    data(run("export", "--project", project, "--out", out, "--format", "flagembedding", "--json"))
    lines = [json.loads(line) for path in (out / "data").glob("*.jsonl") for line in path.read_text().splitlines()]
    entry = next(line for line in lines if line["query"] == first["query_text"])
    assert first["passage_text"] in entry["pos"]
    data(run("verify", out, "--project", project, "--json"))
    data(run("decide", "--undo", "--project", project, "--json"))
    assert waiting(project)[0]["passage_id"] == first["passage_id"]


def test_judgements_from_a_file_are_all_read_before_one_is_written(project: Path, tmp_path: Path) -> None:
    lines = [{**line, "verdict": "does_not"} for line in waiting(project, "--judge", "ana")]
    good = tmp_path / "good.jsonl"
    good.write_text("\n".join(map(json.dumps, lines)))
    assert len(data(run("judge", "--from", good, "--project", project, "--judge", "ana", "--json"))["judged"]) == 5
    data(run("decide", "--undo", "--project", project, "--json"))
    assert data(run("judge", "--stats", "--project", project, "--json"))["judges"] == []
    printed = tmp_path / "printed.json"
    printed.write_text(json.dumps({"candidates": [*lines[:2], {**lines[2], "verdict": "skip"}]}))
    args = "--from", printed, "--project", project, "--judge", "ana", "--json"
    assert [one["verdict"] for one in data(run("judge", *args))["judged"]] == ["does_not", "does_not", "skip"]
    assert data(run("judge", *args))["decisions"] == [], "said already"
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join([json.dumps(lines[0]), '{"query_id": "nobody"}']))
    refused = run("judge", "--from", bad, "--project", project, "--judge", "bia")
    assert refused.returncode == 3 and re.search(r"bad\.jsonl:2", refused.stderr)
    stats = data(run("judge", "--stats", "--project", project, "--json"))
    assert stats["judges"] == [["person:ana", 3]]
    named = waiting(project, "--judge", "bia")
    assert [line["passage_id"] for line in named[:5]], "what ana judged still waits for bia"


@pytest.mark.slow
def test_a_sample_says_how_precise_the_queue_is(project: Path) -> None:
    for line in waiting(project, "--sample"):
        ids = "--query", str(line["query_id"]), "--passage", str(line["passage_id"])
        data(run("judge", "--project", project, "--sample", "--set", "does_not", *ids, "--json"))
    said = run("judge", "--stats", "--project", project).stdout
    assert "standing has not yet been shown" in said
    assert "precision of the queue: 0.00 [0.00, 0.43] of 5 drawn by chance" in said


def test_exposure_before_and_after_with_each_sampler(project: Path) -> None:
    found = data(run("exposure", "--project", project, "--batch", "16", "--simulate", "2", "--json"))
    closed = {gauge["sampler"]: gauge for gauge in found["closed_form"]}
    assert closed["random"]["after"] > closed["no_duplicates"]["after"] > closed["conflict_aware"]["after"] == 0
    counted = {item["sampler"]: item for item in found["simulated"]}
    assert counted["conflict_aware"]["epoch"] == 0 < counted["random"]["epoch"]
    table = run("exposure", "--project", project)
    assert "conflict_aware" in table.stdout and "what nobody found is not counted" in table.stderr


def test_what_cannot_be_judged_is_a_clear_error(project: Path, tmp_path: Path) -> None:
    first = waiting(project)[0]
    query = str(first["query_id"])
    rows = [json.loads(line) for line in (sample_data() / "pairs.jsonl").read_text("utf-8").splitlines()]
    bank = [row for row in rows if row["field"] == "bank"]
    train, test = (str(1 + next(i for i, row in enumerate(bank) if row["split"] == name)) for name in ("train", "test"))
    for arguments, code, words in (
        (("--set", "also_answers", "--query", train, "--passage", test), 2, "leak"),
        (("--set", "does_not", "--query", query), 2, "--passage"),
        (("--set", "does_not", "--query", query, "--passage", query), 2, "own positive"),
        (("--set", "does_not", "--query", query, "--passage", "nobody"), 2, "nobody"),
        (("--set", "perhaps", "--query", query, "--passage", query), 2, "perhaps"),
        (("--query", query), 2, "--set"),
        (("--next", "2", "--stats"), 2, "at once"),
    ):
        refused = run("judge", "--project", project, *arguments)
        assert refused.returncode == code and words in refused.stderr, refused.stderr
    wrong = run("false-negatives", "--project", project, "--set", "margni=0.1")
    assert wrong.returncode == 3 and "did you mean `margin`" in wrong.stderr
    absent = run("false-negatives", "--project", project, "--model", "someone/not-here")
    assert absent.returncode == 4 and "someone/not-here" in absent.stderr and "copy the folder here" in absent.stderr


def test_without_a_search_judging_names_the_command_that_makes_one(pairs_file, tmp_path: Path) -> None:
    data(run("import", pairs_file([("a b", "c d"), ("e f", "g h")]), "--project", tmp_path / "p", "--json"))
    refused = run("judge", "--project", tmp_path / "p")
    assert refused.returncode == 3 and "harrier-studio false-negatives" in refused.stderr
    assert "nobody has looked" in run("exposure", "--project", tmp_path / "p").stderr


@pytest.mark.slow
def test_the_panel_as_plain_lines_shows_the_queue_and_the_gauge(project: Path, tmp_path: Path, pairs_file) -> None:
    plain = run("show", "false_negatives", "--project", project, "--limit", "2").stdout
    first = waiting(project)[0]
    assert f"query {first['query_id']}" in plain and "at batch 128, conflict-aware: 0.00" in plain
    shown = data(run("show", "false_negatives", "--project", project, "--limit", "3", "--json"))
    assert shown["candidates"][0]["passage_id"] == first["passage_id"]
    data(run("import", pairs_file([("a b", "c d"), ("e f", "g h")]), "--project", tmp_path / "new", "--json"))
    fresh = run("show", "false_negatives", "--project", tmp_path / "new")
    assert "nobody has looked" in fresh.stdout and "harrier-studio false-negatives" in fresh.stderr
