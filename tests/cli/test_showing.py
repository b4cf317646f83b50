"""Panels as plain text and as pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.checks.base import configured, run_checks
from studio.cli.picturing import picture
from studio.cli.showing import PANELS, show
from studio.errors import ProjectError, UsageError
from studio.evaluation.systems import Dense, Lexical
from studio.project.ledger import Action, Target
from studio.project.project import Project
from tests.checks.test_near_duplicates import LONG
from tests.cli.conftest import environment
from tests.evaluations_by_hand import COST, retrieval, stored
from tests.runs_by_hand import trained

Make = Callable[..., Project]
ROWS: list[Any] = [
    ("como pagar a fatura", LONG),
    ("onde pagar a fatura", LONG.replace("senha", "snha")),
    ("qual o prazo", "O prazo é de dez dias. " + "x" * 900),
    ("pergunta \x1b[31m[/]", "resposta com\nduas linhas"),
]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_pairs_one_fact_a_line(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    project.ledger.append_step([(Action.DROP, "too long", [Target("r2")])])
    show("pairs", project.root, "", None, as_json=False)
    out = lines(capsys)
    assert out[0] == "pairs: showing 4 of 4"
    assert "3: removed, too long" in out and "1: kept" in out
    assert any(line.startswith("  mark near_duplicates/") for line in out)
    assert any("(923 characters)" in line for line in out)
    assert "\x1b" not in "".join(out)


def test_pairs_by_filter_and_limit(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project([(f"pergunta {i}", f"resposta {i}") for i in range(60)])
    show("pairs", project.root, "rows:11-40", 5, as_json=False)
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "pairs: showing 5 of 30 of 60 that the filter rows:11-40 leaves"
    assert next(line for line in captured.out.splitlines() if line.endswith(": kept")) == "11: kept"
    assert "25 more" in captured.err
    show("pairs", project.root, "", None, as_json=False)
    assert lines(capsys)[0] == "pairs: showing 50 of 60"
    with pytest.raises(UsageError, match="no key"):
        show("pairs", project.root, "splitt:train", None, as_json=False)


def test_duplicates_name_the_keeper_and_why(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS)
    with pytest.raises(UsageError, match="has not run"):
        show("duplicates", project.root, "", None, as_json=False)
    run_checks(project, configured(project.settings))
    show("duplicates", project.root, "", None, as_json=False)
    out = lines(capsys)
    assert out[0].startswith("duplicates, passage clusters: showing 1 of 1")
    assert any(re.fullmatch(r"  keeper row [12]: kept", line) for line in out)
    assert any("keeper because" in line for line in out)
    assert any(line.startswith("  rows 1 and 2: Jaccard 0.") for line in out)


def test_prompts_show_the_contract_and_a_row(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS[:1])
    show("prompts", project.root, "", None, as_json=False)
    out = "\n".join(lines(capsys))
    assert "contract " in out and "row 1 (r0)" in out and "same string in trainer: same" in out
    assert "<eos>" in out


def test_export_is_the_plan(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS)
    show("export", project.root, "", None, as_json=False)
    out = lines(capsys)
    assert out[0].startswith("export: 4 of 4 pairs would be written as parquet to ")
    assert "kept: 4 rows, as imported" in out
    assert out[-1].startswith("command: harrier-studio export --project ")


@pytest.mark.parametrize("panel", ["pairs", "duplicates", "prompts", "train", "runs", "export"])
def test_json_is_one_document(make_project: Make, capsys: pytest.CaptureFixture[str], panel: str) -> None:
    project = make_project(ROWS)
    run_checks(project, configured(project.settings))
    capsys.readouterr()
    show(panel, project.root, "", 2, as_json=True)
    assert json.loads(capsys.readouterr().out)


def test_train_shows_every_setting_with_its_reason_and_the_command(
    make_project: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(ROWS)
    show("train", project.root, "", None, as_json=False)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("train: preset tiny: ")
    assert any(line.startswith("batch.per_device: 32, the preset's; ") for line in out)
    assert not any(line.startswith("loss.guide") for line in out)
    assert out[-2].startswith("negatives: A query meets 31 negatives")
    assert out[-1] == f"command: harrier-studio train --project {project.root} --run tiny --preset tiny"


def test_runs_shows_every_run_and_the_first_in_full(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS)
    trained(project.root, "good")
    trained(project.root, "gone", upto=120, end=None)
    show("runs", project.root, "", None, as_json=False)
    out = capsys.readouterr().out
    assert out.startswith("runs: 2, 0 at work\n") and "good: done, 100% done, ndcg@10 0.6518" in out
    assert "gone: lost, 20% done" in out and "its process is gone" in out and "similarity" in out


def test_an_evaluation_is_shown_in_lines_and_as_json(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(ROWS)
    show("evaluate", project.root, "", None, as_json=False)
    said = capsys.readouterr()
    assert said.out == "evaluate: 0 evaluations, 0 finished runs\n" and "harrier-studio evaluate" in said.err
    pairs = [(f"question {at}?", f"answer {at}") for at in range(12)]
    systems = [
        ("before", Dense(model="a"), [2] * 12),
        ("after", Dense(run="x"), [1] * 12),
        ("words", Lexical(), "no"),
    ]
    stored(project.root, "first", retrieval(pairs), systems, cost=COST)
    show("evaluate", project.root, "", None, as_json=False)
    out = capsys.readouterr().out
    assert "first: 3 systems" in out and "dense, after: 1.0000" in out and "12 wins, 0 ties, 0 losses" in out
    assert "VERDICT: WIN" in out and "not run: no" in out and "4.2 ms (p50)" in out
    show("evaluate", project.root, "", None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [line["wins"] for line in told["shown"][0]["systems"]] == [0, 12, 0]


def test_what_cannot_be_shown_is_said(make_project: Make, tmp_path: Path) -> None:
    project = make_project(ROWS)
    with pytest.raises(UsageError) as error:
        show("duplicate", project.root, "", None, as_json=False)
    assert "duplicates" in str(error.value)
    with pytest.raises(UsageError, match="takes no filter"):
        show("export", project.root, "split:test", None, as_json=False)
    with pytest.raises(ProjectError):
        show("pairs", tmp_path, "", None, as_json=False)


def test_the_panels_are_those_of_the_interface() -> None:
    from studio.tui.registry import panel_screens

    assert tuple(panel_screens()) == PANELS


@pytest.mark.parametrize("module", ["studio.cli.showing", "studio.cli.picturing"])
def test_neither_loads_the_interface(module: str) -> None:
    code = f"import sys, {module}; print([n for n in ('torch', 'transformers', 'textual', 'rich') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(("panel", "keys"), [("export", ""), ("pairs", "down down space")])
def test_a_picture_is_the_same_twice(make_project: Make, tmp_path: Path, panel: str, keys: str) -> None:
    project = make_project(ROWS)
    for name in ("one.svg", "two.svg"):
        picture(panel, project.root, "100x30", tmp_path / name, "harrier-light", keys)
    svg = (tmp_path / "one.svg").read_text("utf-8")
    assert svg == (tmp_path / "two.svg").read_text("utf-8")
    assert svg.startswith("<svg") and "terminal-" not in svg
    # The project's name is `test`; Rich writes spaces as no-break ones.
    assert ("&#160;test&#160;" in svg and "[8&#160;Export]" in svg) or panel == "pairs"
    assert project.ledger.log() == []


def test_a_picture_goes_to_stdout(make_project: Make, capsys: pytest.CaptureFixture[str]) -> None:
    picture("export", make_project(ROWS).root, "80x24", None, None, "question_mark")
    assert capsys.readouterr().out.startswith("<svg")


def test_pictures_that_cannot_be_drawn(make_project: Make, tmp_path: Path) -> None:
    project = make_project(ROWS)
    for panel, size, theme, keys in (
        ("exports", "80x24", None, ""),
        ("export", "80", None, ""),
        ("export", "9000x9000", None, ""),
        ("export", "80x24", "harrier-drak", ""),
        ("export", "80x24", None, "q"),
    ):
        with pytest.raises(UsageError):
            picture(panel, project.root, size, tmp_path / "p.svg", theme, keys)
    with pytest.raises(ProjectError):
        picture("export", tmp_path / "nowhere", "80x24", tmp_path / "p.svg", None, "")
    assert not (tmp_path / "p.svg").exists()
