"""`mine` through its own function, and the plan that the panel shows."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from studio.cli.mining import mine
from studio.errors import ConfigError, UsageError
from studio.mining.plan import dry_run
from studio.mining.settings import configured
from studio.project.project import Project
from studio.project.verdicts import Verdict, judge
from studio.view.bench import Bench
from studio.view.mining import mining_plan

ROWS = [(f"pergunta \x1b[31m{n}", f"a resposta {n} é outra") for n in range(8)]
USUAL: dict[str, Any] = {
    "changes": ["relative_margin=none"], "models": [], "miner": None, "negatives": 2, "margin": None, "out": None,
    "name": "", "form": "triplet", "fmt": "parquet", "short": "drop", "write": False, "as_json": False,
}  # fmt: skip
MakeProject = Callable[..., Project]


def test_the_plan_is_printed_and_nothing_is_written(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(ROWS).root
    mine(root, **USUAL)
    out, err = capsys.readouterr()
    assert "8 queries, 8 passages, 64 candidates: 16 negatives; 8 queries with 2 or more, 8 with any" in out
    assert "own_positive      8  a positive of the query" in out
    assert "\x1b" not in out and "⟨U+001B⟩[31m" in out
    assert "--set=relative_margin=none --negatives=2 --write" in err
    assert "nobody has looked for false negatives" in err
    assert not (root / "mined").exists()


def test_it_is_written_and_told_in_json(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_project(ROWS).root
    mine(root, **{**USUAL, "write": True, "form": "n-tuple", "miner": "mixed"})
    out, err = capsys.readouterr()
    assert "data/train.parquet" in out and "8 lines of data written" in err
    assert pl.read_parquet(root / "mined/mixed-n-tuple/data/train.parquet").height == 8
    mine(root, **{**USUAL, "write": True, "as_json": True, "name": "mine", "fmt": "jsonl"})
    said = json.loads(capsys.readouterr().out)
    assert said["negatives"] == 16 and said["manifest"]["counts"]["queries"] == 8
    assert Path(said["path"]) == root / "mined/mine"
    mine(root, **{**USUAL, "as_json": True, "margin": 0.1, "changes": []})
    said = json.loads(capsys.readouterr().out)
    assert said["settings"]["relative_margin"] == 0.1 and "manifest" not in said
    assert [line["margin"] for line in said["curve"]] == [0, 0.02, 0.05, 0.1, 0.2]


def test_a_wrong_request_is_told(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_project(ROWS).root
    for wrong, error in (
        ({"changes": ["marginn=1"]}, ConfigError),
        ({"changes": ["margin"]}, UsageError),
        ({"models": ["a", "b"]}, UsageError),
        ({"name": "a/b"}, UsageError),
        ({"negatives": 101}, ConfigError),
    ):
        with pytest.raises(error):
            mine(root, **{**USUAL, **wrong})
    mine(root, **{**USUAL, "name": "x"})
    assert "nothing is written without --write" in capsys.readouterr().err


def test_the_panel_reads_what_the_job_retrieved(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    changes = {"relative_margin": "none", "negatives": 2}
    bench = Bench(project.root)
    before = mining_plan(bench, changes)
    assert (before.plan, before.needs_embedding) == (None, True) and "retrieved" in before.unknown
    said = dry_run(project, configured(project.settings, changes))
    after = mining_plan(bench, changes)
    assert after.plan is not None and not after.needs_embedding
    assert (after.plan.curve, after.plan.reasons, after.plan.examples) == (said.curve, said.reasons, said.examples)
    assert dict(after.settings)["negatives"] == 2
    assert pickle.loads(pickle.dumps(after)) == after
    other = mining_plan(bench, {"relative_margin": 0.2})
    assert other.plan is not None and other.plan.negatives < said.negatives
    assert mining_plan(bench, {"miners": "mixed"}).needs_embedding
    with pytest.raises(ConfigError):
        mining_plan(bench, {"marginn": 0.2})


def test_a_judgement_shows_in_the_plan_at_once(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    changes = {"relative_margin": "none", "negatives": 2}
    dry_run(project, configured(project.settings, changes))
    bench = Bench(project.root)
    assert "partly" not in dict(mining_plan(bench, changes).plan.reasons)
    judge(project.ledger, "r0", "r1", Verdict.PARTLY)
    assert dict(mining_plan(bench, changes).plan.reasons)["partly"] == 1


def test_a_model_that_is_not_here_is_told_in_words(make_project: MakeProject) -> None:
    project = make_project(ROWS, retrievers=({"model": "nobody/nothing"},))
    answer = mining_plan(Bench(project.root))
    assert answer.needs_embedding and "nobody/nothing" in answer.unknown
