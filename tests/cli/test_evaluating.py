"""`evaluate`, `compare` and the list of evaluations, as a person and a script meet them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from studio.cli.main import run as main
from studio.project.project import Project
from tests.cli.conftest import run
from tests.evaluation.test_evaluating import ROWS

BM25 = ["--system", "bm25", "--system", "plain: bm25,words=plain", "--no-operations"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one evaluation, `first`."""
    from studio.project.settings import ProjectSettings
    from tests.conftest import snapshot

    root = tmp_path_factory.mktemp("cli") / "project"
    Project.create(root, snapshot(ROWS), ProjectSettings(name="test"))
    done = run("evaluate", "--project", root, "--name", "first", *BM25, "--json")
    assert done.returncode == 0, done.stderr
    (root / "said.json").write_text(done.stdout)
    return root


def test_evaluations_are_made_listed_and_opened_again(project, tmp_path) -> None:
    said = json.loads((project / "said.json").read_text())
    assert [one["name"] for one in said["systems"]] == ["bm25", "plain"]
    assert said["command"][:2] == ["harrier-studio", "evaluate"]
    page, text = tmp_path / "page.html", tmp_path / "table.md"
    again = run("compare", "first", "--project", project, "--by", "length", "--html", page, "--markdown", text)
    assert again.returncode == 0, again.stderr
    score = f"{said['systems'][0]['score']:.4f}"
    assert score in again.stdout and score in page.read_text() and score in text.read_text()
    assert "plain: VERDICT: " in again.stdout and "By length" in again.stdout
    listed = run("runs", "--project", project)
    assert "first" in listed.stdout and "no run yet" in listed.stderr
    both = json.loads(run("runs", "--project", project, "--json", "--evaluations").stdout)
    assert both["runs"] == [] and both["evaluations"][0]["name"] == "first"
    assert json.loads(run("runs", "--project", project, "--json").stdout) == []


def test_the_table_fits_a_narrow_and_a_wide_terminal(project) -> None:
    for columns in (80, 140):
        shown = run("compare", "first", "--project", project, COLUMNS=str(columns))
        # Every metric is there, below one another where there is no room beside.
        assert all(name in shown.stdout for name in ("recall@5 ", "recall@50", "success@10", "judged@10"))
        table = [line for line in shown.stdout.splitlines() if not line.startswith(("note:", "plain: ", "first: "))]
        assert max(map(len, table)) <= columns
    assert "95 % interval of Δ" in shown.stdout


def test_two_systems_go_query_by_query(project) -> None:
    names = ["first/bm25", "first/plain"]
    told = run("compare", *names, "--project", project, "--queries", "--reference", "bm25")
    assert told.returncode == 0 and "plain (new) against bm25 (baseline), by ndcg@10" in told.stdout
    assert "better" in told.stdout and "found by neither" in told.stdout
    # The first is the new one and the second its baseline, whichever was asked for first in the evaluation.
    said = json.loads(run("compare", *names, "--project", project, "--queries", "--json").stdout)
    back = json.loads(run("compare", *names[::-1], "--project", project, "--queries", "--json").stdout)
    assert (said["system"], said["with"]) == ("bm25", "plain") == (back["with"], back["system"])
    assert (said["wins"], said["losses"]) == (back["losses"], back["wins"])
    table = json.loads(run("compare", *names, "--project", project, "--json").stdout)
    assert [one["is_reference"] for one in table["systems"]] == [False, True]
    assert said["wins"] + said["ties"] + said["losses"] == 10
    assert sum(move["queries"] for move in said["moves"]) == 10
    alone = run("compare", "first/bm25", "--project", project, "--queries")
    assert alone.returncode == 2 and "Two systems of one class" in alone.stderr


def test_a_system_that_cannot_be_run_is_said_and_tried_again_by_name(project, tmp_path) -> None:
    listed = tmp_path / "systems.toml"
    listed.write_text('[[system]]\nspec = "bm25"\n[[system]]\nname = "gone"\nkind = "dense"\nmodel = "no/such"\n')
    more = ["--systems", listed, "--no-operations", "--queries", "4"]
    done = run("evaluate", "--project", project, "--set", "held-out:test", "--set", "held-out", "--name", "two", *more)
    assert done.returncode == 1 and "2 of 4 systems could not be run" in done.stderr
    assert "gone: could not be run" in done.stdout and "4 queries among" in done.stdout
    assert done.stdout.count("By every metric") == 2
    other = run("evaluate", "--project", project, "--name", "two-held-out-test", "--system", "bm25")
    assert other.returncode == 2 and "asked for something else" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["evaluate", "--set", "no-such-file.jsonl", "--name", "never", *BM25], 2, "no-such-file"),
        (["evaluate", "--system", "rrf(bm25"], 2, "rrf(bm25"),
        (["evaluate", "--metric", "ndgc@10", *BM25], 2, "did you mean"),
        (["evaluate", "--system", "harrier-tiny,dim=0"], 2, "dim"),
        (["evaluate", "--name", "never", "--system", "bm52"], 2, "did you mean `bm25`"),
        (["evaluate", "--name", "never", "--reference", "bm52", *BM25], 2, "did you mean `bm25`"),
        (["evaluate", "--name", "never", "--html", "/dev/null/x.html", *BM25], 2, "it is a file"),
        (["evaluate", "--name", "never", "--markdown", "gone/x.md", *BM25], 2, "it is not there"),
        (["evaluate", "--name", "never", "--query", "q", *BM25], 2, "has no columns to be named"),
        (["evaluate", "--name", "first", "--reference", "nobody"], 2, "systems: `bm25`, `plain`"),
        (["evaluate", "--trec-run", "a.run"], 2, "--qrels is missing"),
        (["compare", "nothing"], 3, "known: evaluation first"),
        (["compare", "first", "--metric", "ndcg@20"], 2, "was not computed"),
        (["compare", "first", "--reference", "nobody"], 2, "nobody"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(project, arguments, code, words, capsys) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    assert main([*arguments, "--project", str(project)]) == code
    signal.signal(signal.SIGTERM, handler)
    said = capsys.readouterr()
    assert said.out == "" and words in said.err
    assert not (project / "evaluations" / "never").exists()


def test_columns_of_other_names_are_named_by_hand(project, tmp_path) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text("".join(json.dumps({"frage": one["query"], "antwort": one["positive"]}) + "\n" for one in ROWS[:6]))
    named = ["--query", "frage", "--positive", "antwort", "--kind", "retrieval"]
    done = run("evaluate", "--project", project, "--set", odd, "--name", "odd", *BM25, *named, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["set"]["size"] == 6, done.stderr
    again = run("evaluate", "--project", project, "--name", "odd")
    assert again.returncode == 0 and "odd, 6 queries" in again.stdout
    other = run("evaluate", "--project", project, "--set", odd, "--name", "odd", *BM25, "--query", "frage")
    assert other.returncode != 0


def test_an_interrupted_evaluation_says_how_it_goes_on(project, monkeypatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("studio.evaluation.evaluating.collect", stop)
    assert main(["evaluate", "--project", str(project), "--name", "cut", *BM25]) == 130
    said = capsys.readouterr().err
    assert f"go on with it: harrier-studio evaluate --project {project} --name cut" in said
    assert "cut: 2 systems on held-out" in said and "--no-operations" not in said
    monkeypatch.undo()
    assert main(["evaluate", "--project", str(project), "--name", "cut", "--json"]) == 0
    signal.signal(signal.SIGTERM, handler)
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["systems"]] == ["bm25", "plain"]


def test_what_can_never_be_run_is_not_to_be_tried_again(project, tmp_path) -> None:
    pairs = tmp_path / "sts.jsonl"
    pairs.write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n' * 3)
    more = ["--system", "bm25", "--system", "bm25"]
    done = run("evaluate", "--project", project, "--set", pairs, "--name", "sts", *more)
    assert done.returncode == 1 and "1 of 1 system could not be run" in done.stderr
    assert "try again" not in done.stderr and "named twice is measured once" in done.stderr


def test_runs_of_other_tools_need_no_project(tmp_path) -> None:
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d2 2\nq2 0 d3 1\n")
    (tmp_path / "a.run").write_text("q1 Q0 d1 1 2.0 a\nq2 Q0 d3 1 2.0 a\n")
    (tmp_path / "b.run").write_text("q1 Q0 d2 1 2.0 b\nq2 Q0 d2 1 2.0 \x1b[31m\n")
    pair = ["--trec-run", "a.run", "--trec-run", "b.run", "--qrels", "qrels.txt"]
    said = json.loads(run("evaluate", *pair, "--json", "--per-query", cwd=tmp_path).stdout)
    assert [one["refused"] != "" for one in said["systems"]] == [True, True]
    assert said["systems"][0]["per_query"]["success@1"] == {"q1": 1.0, "q2": 1.0}
    told = run("evaluate", *pair, "--class", "dense", cwd=tmp_path)
    assert told.returncode == 0 and "b: VERDICT: REGRESSION" in told.stdout and "\x1b" not in told.stdout
    (tmp_path / "bad.run").write_text("q1 Q0 d1 1 2.0 a\nq2 d3 1 2.0 a\n")
    bad = run("evaluate", "--trec-run", "bad.run", "--qrels", "qrels.txt", cwd=tmp_path)
    assert bad.returncode == 3 and "bad.run:2" in bad.stderr and bad.stdout == ""
