"""Whole flows through the real command line."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.checks.base import all_checks
from studio.sample import sample_data
from studio.selftest.sample import clean_rows
from tests.checks.test_near_duplicates import LONG
from tests.cli.conftest import COMMAND, environment, run

PAIRS = [
    ("Como pagar a fatura?", LONG),
    ("como pagar a fatura", LONG.upper()),
    ("Onde pago?", LONG.replace("senha", "snha")),
    ("Instruct: x\nQuery: prazo", "Dez dias."),
    ("\x1b[31mvermelho\u202e [bold]", "\x9b2Jlimpa <eos>"),
]


def data(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_main_job_step_by_step(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project, out = tmp_path / "project", tmp_path / "out"
    imported = data(run("import", pairs_file(PAIRS), "--project", project, "--json"))
    assert (imported["pairs"], imported["rejected"]) == (5, 0)
    assert data(run("info", "--project", project, "--json"))["shape"] == "pairs"
    checks = {part["check"]: part for part in data(run("check", "--project", project, "--json"))}
    assert set(checks) == set(all_checks())
    assert {"kind": "edge", "what": "pair", "band": "auto", "count": 1} in checks["exact_duplicates"]["found"]
    assert not any(part["cached"] for part in checks.values())
    assert all(part["cached"] for part in data(run("check", "--project", project, "--json")))
    decided = data(run("decide", "--auto", "--project", project, "--json"))
    assert (decided["kept"], decided["rows"]) == (4, 5)
    shown = data(run("preview", "--rows", "1,3-4", "--project", project, "--json"))
    assert [text["column"] for text in shown["rows"][0]["texts"]] == ["query", "positive"]
    assert shown["rows"][1]["texts"][1]["raw"] == LONG
    assert all(text["eos_is_last"] for row in shown["rows"] for text in row["texts"])
    exported = data(run("export", "--project", project, "--out", out, "--format", "jsonl", "--json"))
    assert exported["manifest"]["kept"] == 4
    lines = [json.loads(line) for line in (out / "data/train.jsonl").read_text("utf-8").split("\n") if line]
    assert lines[3] == {"query": PAIRS[4][0], "positive": PAIRS[4][1]}
    verified = data(run("verify", out, "--project", project, "--json"))
    assert {item["status"] for item in verified["items"]} == {"ok"}


def test_decisions_are_undone_redone_listed_and_read_from_a_file(
    pairs_file: Callable[..., Path], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    data(run("import", pairs_file(PAIRS), "--project", project, "--json"))
    ids = pl.read_parquet(project / ".studio" / "snapshot.parquet")["row_id"].to_list()
    dropped = data(run("decide", "--drop", ids[3], "--reason", "not a question", "--project", project, "--json"))
    assert dropped["kept"] == 4
    assert data(run("decide", "--undo", "--project", project, "--json"))["kept"] == 5
    assert data(run("decide", "--redo", "--project", project, "--json"))["kept"] == 4
    listed = data(run("decide", "--list", "--project", project, "--json"))["decisions"]
    assert [line["action"] for line in listed] == ["drop", "undo", "redo"]
    assert [line["in_force"] for line in listed] == [True, False, False]
    requests = tmp_path / "decisions.jsonl"
    requests.write_text(
        json.dumps({"action": "keep", "row_ids": [ids[3]]})
        + "\n"
        + json.dumps({"action": "edit", "row_ids": [ids[0]], "value": json.dumps({"query": "nova"}), "note": "typo"})
    )
    assert data(run("decide", "--from", requests, "--project", project, "--json"))["kept"] == 5
    for line in ('{"action": "keep", "row_ids": ["nobody"]}', "{", '{"action": "kep", "row_ids": []}', "[]"):
        requests.write_text(json.dumps({"action": "drop", "row_ids": ids}) + "\n" + line)
        refused = run("decide", "--from", requests, "--project", project)
        assert refused.returncode == 3
        assert f"{requests}:2" in refused.stderr
    assert data(run("decide", "--list", "--project", project, "--json"))["kept"] == 5


def test_decisions_of_an_export_restore_a_project(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    source, out = pairs_file(PAIRS), tmp_path / "out"
    for name in ("one", "two"):
        data(run("import", source, "--project", tmp_path / name, "--json"))
    run("check", "--project", tmp_path / "one")
    run("decide", "--auto", "--project", tmp_path / "one")
    run("decide", "--undo", "--project", tmp_path / "one")
    first = data(run("export", "--project", tmp_path / "one", "--out", out, "--json"))["manifest"]
    run("decide", "--from", out / "decisions.jsonl", "--project", tmp_path / "two")
    second = data(run("export", "--project", tmp_path / "two", "--out", tmp_path / "out2", "--json"))["manifest"]
    assert first["files"]["data/train.parquet"] == second["files"]["data/train.parquet"]


def test_clean_does_it_all_in_one_go_and_keeps_no_project(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    source, out = pairs_file(PAIRS), tmp_path / "out"
    result = data(run("clean", source, "--out", out, "--set", "near_duplicates.threshold=0.99", "--json"))
    assert (result["rows"], result["kept"]) == (5, 4)
    near = next(part for part in result["checks"] if part["check"] == "near_duplicates")
    assert near["config"]["threshold"] == 0.99
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs.parquet"]
    assert {item["status"] for item in data(run("verify", out, "--source", source, "--json"))["items"]} == {"ok"}
    exact = data(run("clean", source, "--out", out, "--method", "exact", "--json"))
    assert next(p for p in exact["checks"] if p["check"] == "near_duplicates")["stats"]["method"] == "exact"


def test_clean_takes_columns_by_name_and_verifies_with_them(tmp_path: Path) -> None:
    source, out = tmp_path / "x.csv", tmp_path / "out"
    source.write_text("a;b;c\nq1;p1;n1\nq2;p2;n2\n")
    names = ("--query", "a", "--positive", "b", "--negative", "c")
    assert data(run("clean", source, "--out", out, *names, "--json"))["kept"] == 2
    assert pl.read_parquet(out / "data/train.parquet").columns == ["query", "positive", "negative_1"]
    assert run("verify", out, "--source", source).returncode == 0
    source.write_text("a;b;c\nq1;changed;n1\n")
    assert run("verify", out, "--source", source).returncode == 1


def test_the_demo_runs_the_main_job_on_the_sample_project(tmp_path: Path) -> None:
    report = data(run("demo", "--out", tmp_path / "out", "--json", TMPDIR=str(tmp_path)))
    assert report["verified"]
    assert 0 < report["kept"] < report["rows"]
    words = run("demo", "--project", tmp_path / "kept", TMPDIR=str(tmp_path))
    assert words.returncode == 0
    assert "pairs kept" in words.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "out"]


def test_hostile_text_reaches_no_terminal(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    said = [run("import", pairs_file(PAIRS), "--project", project)]
    said += [run(*words, "--project", project) for words in (["info"], ["check"], ["preview", "--sample", "5"])]
    said.append(run("preview", "--sample", "5", "--json", "--project", project))
    for result in said:
        assert result.returncode == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "nonsense"),
        (["import"], 2, "FILE"),
        (["check", "near_duplicate"], 2, "near_duplicates"),
        (["check", "--set", "x"], 2, "CHECK.KEY=VALUE"),
        (["check", "--set", "near_duplicates.treshold=1"], 3, "threshold"),
        (["check", "--set", "near_duplicates.threshold=9"], 3, "checks.near_duplicates"),
        (["check", "--set", "nothing.x=1"], 3, "nothing"),
        (["decide", "--auto", "--undo"], 2, "at once"),
        (["decide", "--auto"], 3, "check"),
        (["decide", "--drop", "zz"], 2, "zz"),
        (["preview", "--rows", "99"], 2, "99"),
        (["preview", "--prompt", "web"], 3, "web_search_query"),
        (["export", "--out", "."], 3, "left alone"),
        (["verify", "."], 3, "not an export"),
        (["import", "no-such-file", "--project", "new"], 3, "no-such-file"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    pairs_file: Callable[..., Path], tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    project = tmp_path / "project"
    data(run("import", pairs_file(PAIRS), "--project", project, "--json"))
    result = run(*arguments, cwd=project)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_fail_on_makes_findings_the_exit_code(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    run("import", pairs_file(PAIRS), "--project", project)
    assert run("check", "prompt_lint", "--fail-on", "auto", "--project", project).returncode == 0
    assert run("check", "prompt_lint", "--fail-on", "review", "--project", project).returncode == 1
    assert run("check", "exact_duplicates", "--fail-on", "auto", "--project", project).returncode == 1


def test_strict_imports_nothing_when_a_row_is_bad(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"query": "q", "positive": "p"}\n{"query": "q"}\n')
    refused = run("import", source, "--project", tmp_path / "project", "--strict")
    assert refused.returncode == 3
    assert "a.jsonl:2" in refused.stderr
    assert not (tmp_path / "project").exists()
    assert run("import", source, "--project", tmp_path / "project").returncode == 0
    reject = json.loads((tmp_path / "project" / "rejects.jsonl").read_text("utf-8"))
    assert (reject["line"], reject["reason"]) == (2, "missing_positive")


def test_settings_are_shown_validated_and_mended_in_words(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    changes = {"HARRIER_STUDIO_CONFIG": str(config)}
    assert run("config", "path", **changes).stdout.strip() == str(config)
    assert data(run("config", "show", "--json", **changes))["checks"]["near_duplicates"]["threshold"] == 0.8
    config.write_text("[checks.near_duplicates]\nthreshold = 0.9\n[model]\nmax_length = 64\n")
    assert run("config", "validate", **changes).returncode == 0
    project = tmp_path / "project"
    run("import", pairs_file(PAIRS), "--project", project, **changes)
    shown = data(run("config", "show", "--project", project, "--json", **changes))
    assert (shown["checks"]["near_duplicates"]["threshold"], shown["model"]["max_length"]) == (0.9, 64)
    config.write_text("[modle]\nid = 'x'\n")
    broken = run("config", "validate", **changes)
    assert broken.returncode == 3
    assert "did you mean `model`" in broken.stderr
    assert str(config) in broken.stderr


def test_a_reader_that_goes_away_is_no_fault(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    run("import", pairs_file([(f"q{i}", f"p{i} " * 200) for i in range(200)]), "--project", project)
    command = [*COMMAND, "preview", "--sample", "200", "--project", str(project)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert b"rror" not in process.stderr.read()
    assert process.wait(60) == 0


def test_help_is_quick_and_names_every_command() -> None:
    text = run("--help").stdout
    commands = ("demo", "import", "info", "check", "decide", "preview", "export", "verify", "clean", "config", "doctor")
    assert all(f"  {command} " in text for command in commands)
    for command in commands:
        assert run(command, "--help").returncode == 0


def test_the_doctor_finds_the_embedded_model_sound() -> None:
    report = data(run("doctor", "--json"))
    assert not [item for item in report["findings"] if item["status"] == "fail"]
    assert report["versions"]["torch"]


def test_the_doctor_examines_a_model_as_it_would_be_loaded() -> None:
    refused = run("doctor", "--dtype", "float16", "--json")
    assert refused.returncode == 1
    failed = [item for item in json.loads(refused.stdout)["findings"] if item["status"] == "fail"]
    assert [item["code"] for item in failed] == ["dtype"] and "65,504" in failed[0]["remedy"]


def test_a_prompt_preset_goes_from_import_to_the_card(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    data(run("clean", pairs_file(PAIRS), "--out", out, "--prompt", "portuguese_qa", "--json"))
    prompts = json.loads((out / "manifest.json").read_text("utf-8"))["prompts"]
    assert prompts["query"].startswith("Instruct: Given a question in Portuguese")
    assert prompts["query"].endswith("\nQuery: ")
    assert json.dumps(prompts["query"]) in (out / "README.md").read_text("utf-8")
    run("import", pairs_file(PAIRS), "--project", tmp_path / "project")
    late = run("import", pairs_file(PAIRS), "--project", tmp_path / "project", "--prompt", "legal")
    assert (late.returncode, "another prompt contract" in late.stderr) == (3, True)
    assert data(run("decide", "--drop", "2", "--project", tmp_path / "project", "--json"))["kept"] == len(PAIRS) - 1
    refused = run("clean", pairs_file(PAIRS), "--out", out, "--prompt", "portugese_qa")
    assert (refused.returncode, "portuguese_qa" in refused.stderr) == (3, True)


def test_a_split_is_made_checked_and_exported(tmp_path: Path) -> None:
    project, out = tmp_path / "project", tmp_path / "out"
    rows = [(f"Pergunta número {i} sobre o assunto {i * 7}?", f"Resposta {i * 13} do caso {i}.") for i in range(60)]
    source = tmp_path / "pairs.parquet"
    pl.DataFrame(rows, schema={"query": pl.String, "positive": pl.String}, orient="row").write_parquet(source)
    data(run("import", source, "--project", project, "--json"))
    data(run("check", "--project", project, "--json"))
    made = data(run("split", "--project", project, "--test", "0.2", "--seed", "4", "--json"))
    assert {part["split"]: part["rows"] for part in made["splits"]} == {"train": 48, "test": 12}
    found = {part["check"]: part for part in data(run("check", "leakage", "--project", project, "--json"))}
    assert found["leakage"]["stats"]["protected_rows"] == 12
    files = data(run("export", "--project", project, "--out", out, "--json"))["manifest"]["files"]
    assert (files["data/train.parquet"]["rows"], files["data/test.parquet"]["rows"]) == (48, 12)
    assert run("verify", out, "--project", project).returncode == 0


def test_texts_are_rewritten_after_a_look_and_only_when_asked(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    data(run("import", pairs_file([("De quem?", "De ana@exemplo.org.")]), "--project", project, "--json"))
    looked = run("rewrite", "pii", "--project", project)
    assert "+ De [EMAIL]." in looked.stdout
    assert "1 rows would be edited" in looked.stdout
    assert data(run("info", "--project", project, "--json"))["decisions"][0]["status"] == "kept"
    assert data(run("rewrite", "pii", "--project", project, "--apply", "--json"))["rows"] == 1
    assert data(run("info", "--project", project, "--json"))["decisions"][0]["reason"] == "rewrite_pii"
    assert run("rewrite", "pii", "--kind", "rg", "--project", project).returncode == 2
    assert run("rewrite", "boilerplate", "--project", project).returncode == 3


def test_a_row_is_explained_in_words_and_as_json(pairs_file: Callable[..., Path], tmp_path: Path) -> None:
    project = tmp_path / "project"
    data(run("import", pairs_file(PAIRS), "--project", project, "--json"))
    data(run("check", "--project", project, "--json"))
    words = run("check", "--explain", "2", "--project", project)
    assert words.returncode == 0
    assert "by the auto band: " in words.stdout
    assert "duplicate_pair" in words.stdout
    assert data(run("check", "--explain", "2", "--project", project, "--json"))["number"] == 2
    assert run("check", "--explain", "99", "--project", project).returncode == 2
    assert "\x1b" not in run("check", "--explain", "5", "--project", project).stdout


def test_the_selftest_runs_on_own_rows(tmp_path: Path) -> None:
    project = tmp_path / "project"
    clean = pl.DataFrame([(row.query, row.passage) for row in clean_rows(sample_data())[0]], orient="row")
    source = tmp_path / "clean.parquet"
    clean.rename({"column_0": "query", "column_1": "passage"}).write_parquet(source)
    data(run("import", source, "--project", project, "--json"))
    measured = data(run("selftest", "--project", project, "--per-kind", "3", "--seed", "7", "--json"))
    detectors = {part["detector"]: part for part in measured["detectors"]}
    assert detectors["near_duplicates"]["precision"]["value"] == 1
    assert measured["false_removals"]["hits"] == 0
    assert not (project / ".studio" / "evidence").exists()
