"""The table of several runs: what is compared, with what, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from studio.errors import InputError
from studio.runs.events import EventWriter
from studio.runs.folder import RunFolder
from studio.runs.state import State
from studio.training.comparing import Comparison, compare, lines_of, markdown, report
from studio.training.launch import create
from studio.training.spec import changed
from tests.training.test_launch import ROWS, SPEC

QUERIES = [f"q{n}" for n in range(60)]
ZERO = changed(SPEC, {"schedule.max_steps": 0})


def ended(project, name: str, values: dict[str, float] | None, spec=SPEC, state: str = "done") -> RunFolder:
    """A run as its worker leaves it."""
    folder = create(project, name, changed(spec, {"why": f"Why | {name}"}))
    events = EventWriter(folder.events)
    events.write("started", 0, attempt=1, pid=1, process_start=0.0, host="h", resumed_from=None)
    if values is None:
        events.write("train", 3, loss=float("nan"), lr=1.0)
    events.write("ended", 3, state=state, reason="", seconds=1.0)
    events.close()
    if values is not None:
        folder.result.write_text(json.dumps({"final": {"per_query": values}}))
    return folder


@pytest.fixture
def values() -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(3)
    base = rng.uniform(0.2, 0.6, len(QUERIES))
    better = base + rng.normal(0.1, 0.05, len(QUERIES))
    same = base + rng.normal(0, 0.1, len(QUERIES))
    return {
        name: dict(zip(QUERIES, map(float, drawn), strict=True))
        for name, drawn in (("base", base), ("better", better), ("same", same))
    }


def test_runs_are_compared_with_zero_shot_query_by_query(make_project, values) -> None:
    project = make_project(ROWS)
    folders = [
        ended(project, "better", values["better"]),
        ended(project, "same", values["same"]),
        ended(project, "zero", values["base"], ZERO),
        ended(project, "wild", None, state="failed"),
        create(project, "waits", SPEC),
    ]
    found = compare(folders)
    assert (found.reference, found.metric, found.notes) == ("zero", "ndcg@10", ())
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["better", "same", "zero", "wild", "waits"]
    better, same = rows["better"], rows["same"]
    assert better.difference is not None and same.difference is not None
    apart = np.mean(list(values["better"].values())) - np.mean(list(values["base"].values()))
    assert better.difference.delta == pytest.approx(apart)
    assert better.difference.low > 0 and better.difference.p < 0.001 < same.difference.p
    assert better.p_holm == pytest.approx(2 * better.difference.p) and same.p_holm == same.difference.p
    assert rows["zero"].difference is None and rows["zero"].note == "reference"
    assert (rows["wild"].state, rows["wild"].diverged, rows["wild"].score) == (State.FAILED, 3, None)
    assert rows["wild"].note == "diverged at step 3"
    assert compare(folders, "same").rows[0].difference is not None
    with pytest.raises(InputError, match="no run `nobody`"):
        compare(folders, "nobody")
    text = markdown(found)
    assert "| better | done |" in text and "Why \\| better" in text and "paired bootstrap" in text
    assert len({len(line) for line in lines_of(found)[1]} | {len(lines_of(found)[0])}) == 1
    assert json.loads(json.dumps(report(found)))["rows"][0]["difference"]["n"] == 60


def test_what_was_not_measured_alike_is_not_compared(make_project, values) -> None:
    project = make_project(ROWS)
    zero = ended(project, "zero", values["base"], ZERO)
    fewer = ended(project, "fewer", {query: values["same"][query] for query in QUERIES[:50]})
    corpus = ended(project, "corpus", values["same"], changed(SPEC, {"evaluation.corpus": 5}))
    metric = ended(project, "metric", values["same"], changed(SPEC, {"evaluation.metric": "mrr@10"}))
    found = {row.name: row for row in compare([zero, fewer, corpus, metric]).rows}
    for name in ("fewer", "corpus"):
        assert found[name].difference is None and "same queries and passages" in found[name].note
    assert found["metric"].note == "measured by mrr@10"


def test_runs_from_before_and_after_decisions_are_told_apart(make_project, values) -> None:
    project = make_project(ROWS)
    zero = ended(project, "zero", values["base"], ZERO)
    later = ended(project, "later", values["same"])
    about = json.loads(later.about.read_text())
    Path(later.about).write_text(json.dumps(about | {"decisions": 4}))
    assert "before and after decisions" in compare([zero, later]).notes[0]


def test_nothing_to_compare(make_project) -> None:
    assert compare([]) == Comparison("", "", (), ())
    only = compare([create(make_project(ROWS), "one", SPEC)])
    assert only.reference == "" and only.rows[0].score is None
