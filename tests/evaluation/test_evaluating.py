"""Evaluations are made, interrupted, killed, gone on with and refused, on real systems."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from studio.errors import Cancelled, ConfigError, InputError, UnavailableError, UsageError
from studio.evaluation.collecting import SetOptions
from studio.evaluation.evaluating import evaluate, go_on
from studio.evaluation.parsing import parse
from studio.evaluation.results import Evaluation
from studio.evaluation.sets import SetKind
from studio.evaluation.storing import done, evaluation_folder, evaluation_folders, load
from studio.evaluation.summary import evaluation_summaries
from studio.evaluation.systems import SystemClass
from studio.evaluation.trec_runs import of_trec_runs
from studio.project.project import Project
from studio.project.settings import PromptSettings
from tests.cli.conftest import environment

WORDS = ["prazo", "recurso", "luz", "água", "multa", "boleto", "matrícula", "taxa", "lixo", "condomínio"]
ROWS = [
    {
        "query": f"qual {WORDS[n % 10]} de {WORDS[(n * 3 + 1) % 10]} {n}",
        "positive": f"O {WORDS[n % 10]} vale para {WORDS[(n * 3 + 1) % 10]} no caso {n}, até o fim do mês {n % 12}.",
        "split": "test" if n % 4 == 0 else "train",
    }
    for n in range(40)
]
SYSTEMS = ["bm25", "bm25,words=plain", "gone: no/such-model"]


@pytest.fixture
def project(make_project) -> Project:
    return make_project(ROWS)


def made(project: Project, name: str = "one", systems: list[str] = SYSTEMS, **more) -> Evaluation:
    nameds = [parse(text) for text in systems]
    return evaluate(project, name, "held-out", SetOptions(), nameds, operations=False, **more)


def test_a_system_that_cannot_be_run_keeps_its_reason_and_the_others_go_on(project) -> None:
    found = made(project, argv=["harrier-studio", "evaluate"])
    folder = evaluation_folder(project.root, "one")
    first, second, gone = found.systems
    assert "no/such-model" in gone.error and not gone.values and done(folder)
    assert first.of_class is second.of_class is SystemClass.LEXICAL
    assert first.overall["ndcg@10"] == pytest.approx(first.values["ndcg@10"].mean())
    assert first.overall["success@1"] > 0.5 and first.ranking.indices.shape == (10, 40)
    assert found.command == ("harrier-studio", "evaluate") and found.evaluated.about.in_project
    report = json.loads(folder.report.read_text())
    assert report["systems"][0]["metrics"]["ndcg@10"]["value"] == first.overall["ndcg@10"]
    assert report["systems"][2]["error"] == gone.error
    summary = evaluation_summaries(project.root)[0]
    assert (summary.name, summary.state, summary.failed, summary.queries, summary.systems) == ("one", "done", 1, 10, 3)
    # Again: only what could not be run is tried.
    kept = (folder.systems / "000").stat().st_ino
    tried = (folder.systems / "002").stat().st_ino
    again = made(project)
    assert [one.overall for one in again.systems] == [one.overall for one in found.systems]
    assert (folder.systems / "000").stat().st_ino == kept and (folder.systems / "002").stat().st_ino != tried


def test_another_request_under_the_same_name_is_refused_and_changes_nothing(project) -> None:
    made(project)
    before = {path: path.read_bytes() for path in evaluation_folder(project.root, "one").root.rglob("*.json")}
    with pytest.raises(UsageError, match="asked for something else") as refused:
        made(project, systems=["bm25"])
    assert "systems" in str(refused.value)
    with pytest.raises(UsageError, match="asked for something else"):
        evaluate(project, "one", "held-out", SetOptions(queries=3), [parse(text) for text in SYSTEMS])
    with pytest.raises(UsageError, match="Two systems are called 'a'"):
        made(project, "two", ["a: bm25", "a: harrier-tiny"])
    with pytest.raises(ConfigError, match="no metric"):
        made(project, "two", main="ndgc@10")
    with pytest.raises((InputError, UsageError)):
        evaluate(project, "two", "no-such-set-anywhere.jsonl", SetOptions(), [parse("bm25")])
    # A name that was mistyped leaves no trace.
    assert [folder.name for folder in evaluation_folders(project.root)] == ["one"]
    assert not evaluation_folder(project.root, "two").root.exists()
    after = {path: path.read_bytes() for path in evaluation_folder(project.root, "one").root.rglob("*.json")}
    assert after == before


def test_what_was_cancelled_goes_on_by_its_name_on_the_frozen_set(project) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if step.startswith("bm25 plain"):
            raise Cancelled

    systems = ["bm25", "bm25 plain: bm25,words=plain"]
    with pytest.raises(Cancelled):
        made(project, systems=systems, progress=stop)
    folder = evaluation_folder(project.root, "one")
    half = load(folder)
    assert [one.name for one in half.systems] == ["bm25"] and not done(folder)
    assert evaluation_summaries(project.root)[0].state == "unfinished"
    other = project.settings.model_copy(update={"prompts": PromptSettings(query="outra: ", origin="custom:x")})
    with pytest.raises(UsageError, match="cannot go on as it began") as refused:
        go_on(Project(project.root, other), "one")
    assert "prompts changed, and bm25 plain" in str(refused.value)
    whole = go_on(project, "one")
    assert go_on(Project(project.root, other), "one").made == whole.made
    assert [one.name for one in whole.systems] == ["bm25", "bm25 plain"] and done(folder)
    straight = made(project, "two", systems)
    for one, other in zip(whole.systems, straight.systems, strict=True):
        assert one.overall == other.overall
        np.testing.assert_array_equal(one.ranking.indices, other.ranking.indices)


def test_what_was_stopped_while_the_set_was_read_goes_on_with_the_systems_asked_for(project) -> None:
    def stop(step: str, done: int, total: int | None) -> None:
        if step == "collect the held-out rows":
            raise Cancelled

    with pytest.raises(Cancelled):
        made(project, systems=["bm25", "mine: bm25,words=plain"], progress=stop)
    summary = evaluation_summaries(project.root)[0]
    assert (summary.name, summary.state, summary.systems) == ("one", "unfinished", 2)
    with pytest.raises(InputError, match="only been asked for"):
        load(evaluation_folder(project.root, "one"))
    assert [one.name for one in go_on(project, "one").systems] == ["bm25", "mine"]


@pytest.mark.parametrize("spec", ["bm52", "run:fist", "trec:nofile.run", "harrier-tiny,dim=999", "x:bm25"])
def test_a_system_that_is_mistyped_leaves_no_trace(project, spec) -> None:
    with pytest.raises((ConfigError, InputError, UsageError)):
        made(project, systems=["bm25", spec])
    assert evaluation_folders(project.root) == [] and not evaluation_folder(project.root, "one").root.exists()


def test_a_line_is_shown_before_each_system_and_before_the_set(project) -> None:
    steps: list[str] = []
    made(project, systems=["bm25"], progress=lambda step, done, total: steps.append(step))
    assert steps[0] == "begin" and "bm25: system 1 of 1" in steps


KILLED = """
import sys
from pathlib import Path
from studio.evaluation.collecting import SetOptions
from studio.evaluation.evaluating import evaluate
from studio.evaluation.parsing import parse
from studio.project.project import Project
from studio.project.settings import PromptSettings

def hang(step, done, total):
    if step.startswith("second"):
        print("at the second", flush=True)
        sys.stdin.read()

systems = [parse("bm25"), parse("second: bm25,words=plain")]
evaluate(Project.open(Path(sys.argv[1])), "one", "held-out", SetOptions(), systems, operations=False, progress=hang)
"""


def test_a_killed_evaluation_loses_the_system_at_work_and_no_more(project) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(project.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert worker.stdout.readline() == "at the second\n"
    with pytest.raises(UnavailableError, match="another process"):
        go_on(project, "one")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    worker.stdin.close()
    folder = evaluation_folder(project.root, "one")
    kept = (folder.systems / "000" / "about.json").stat().st_ino
    assert [one.name for one in load(folder).systems] == ["bm25"]
    found = go_on(project, "one")
    assert [one.name for one in found.systems] == ["bm25", "second"] and done(folder)
    assert (folder.systems / "000" / "about.json").stat().st_ino == kept


def test_pairs_are_measured_by_spearman_and_triplets_by_accuracy(project, tmp_path) -> None:
    pl.DataFrame(
        {"sentence1": [row["query"] for row in ROWS[:6]], "sentence2": [row["positive"] for row in ROWS[:6]],
         "score": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]}
    ).write_ndjson(tmp_path / "sts.jsonl")  # fmt: skip
    nameds = [parse("harrier-tiny"), parse("bm25")]
    found = evaluate(project, "sts", str(tmp_path / "sts.jsonl"), SetOptions(kind=SetKind.SIMILARITY), nameds)
    dense, lexical = found.systems
    assert found.metrics == ("spearman",) and found.main == "spearman"
    assert -1 <= dense.overall["spearman"] <= 1 and dense.values["cosine"].shape == (6,)
    assert "ranks passages" in lexical.error
    pl.DataFrame(
        {"anchor": [row["query"] for row in ROWS[:6]], "positive": [row["positive"] for row in ROWS[:6]],
         "negative": [row["positive"] for row in ROWS[6:12]]}
    ).write_ndjson(tmp_path / "triplets.jsonl")  # fmt: skip
    found = evaluate(project, "t", str(tmp_path / "triplets.jsonl"), SetOptions(kind=SetKind.TRIPLETS), nameds[:1])
    values = found.systems[0].values["accuracy"]
    assert set(values) <= {0.0, 1.0} and found.systems[0].overall["accuracy"] == values.mean()
    assert evaluation_summaries(project.root)[0].metric in ("spearman", "accuracy")


def test_other_tools_runs_need_judgements_alone(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("q1 0 d1 1\nq1 0 d2 2\nq2 0 d3 1\nq3 0 d9 1\n")
    (tmp_path / "a.run").write_text(
        "q1 Q0 d1 1 1.0 a\nq1 Q0 d2 2 2.0 a\nq2 Q0 d4 1 9 a\nq2 Q0 d3 2 8 a\nq7 Q0 d3 1 8 a\n"
    )
    (tmp_path / "b.run").write_text("q1 Q0 d2 1 3.5 b\nq2 Q0 d3 2 8 b\n")
    runs = [tmp_path / "a.run", tmp_path / "b.run"]
    found = of_trec_runs(runs, tmp_path / "q.txt", SystemClass.DENSE)
    a, b = found.systems
    assert [one.name for one in found.systems] == ["a", "b"] and found.evaluated.size == 3
    # By its scores and not its ranks, a has q1's better passage first; q3, that nothing was found for, counts as 0.
    assert a.values["ndcg@10"] == pytest.approx([1.0, 1 / np.log2(3), 0.0])
    assert b.values["mrr@10"].tolist() == [1.0, 1.0, 0.0]
    assert any("1 of 3" in note for note in a.notes) and any("not judged" in note for note in a.notes)
    again = of_trec_runs([*runs, tmp_path / "a.run"], tmp_path / "q.txt", main="recall@20")
    assert [one.name for one in again.systems] == ["a", "b"] and again.metrics[0] == "recall@20"
